"""faiss's indexes as a source of candidates."""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.arrays import refuse_non_finite
from fastcca.functional.linalg import unit_rows
from fastcca.functional.retrieval import Similarity

__all__ = ["FaissCandidates", "FaissProposals"]

_BLOCK = 2**21  # numbers of candidates' rows scored at a time


class _Faiss:
    """The package, and rows as it wants them."""

    index: Any

    def __init__(self, similarity: Similarity) -> None:
        self.faiss = import_module("faiss")
        self.similarity = similarity

    def _prepared(self, a: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """Rows as faiss wants them, and the largest of their lengths, not finite if a number is not."""
        rows = np.ascontiguousarray(a)
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
        largest = float(lengths.max(initial=0.0))
        if self.similarity != "cosine" or not np.isfinite(largest):
            return rows, largest
        scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        return rows * scale[:, np.newaxis].astype(np.float32), 1.0

    def _search(
        self, vectors: NDArray[np.float32], k: int, n_threads: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        before = self.faiss.omp_get_max_threads()
        self.faiss.omp_set_num_threads(n_threads)
        try:
            scores, rows = self.index.search(vectors, k)
        finally:
            self.faiss.omp_set_num_threads(before)
        return scores, rows


class FaissProposals(_Faiss):
    """Rows of a gallery among which the best are, as faiss's flat index finds them."""

    def __init__(self, gallery: NDArray[np.float32], similarity: Similarity) -> None:
        super().__init__(similarity)
        vectors, self.largest = self._prepared(gallery)
        make = self.faiss.IndexFlatL2 if similarity == "euclidean" else self.faiss.IndexFlatIP
        self.index = make(gallery.shape[1])
        self.index.add(vectors)

    def propose(
        self, queries: NDArray[np.float32], k: int, n_threads: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows among which the k best of each query are, and for which queries that is certain."""
        wanted = min(self.index.ntotal, k + 8 + k // 8)
        vectors, largest = self._prepared(queries)
        if not np.isfinite(self.largest + largest):  # the core says where
            return np.arange(0), np.zeros(len(queries), dtype=bool)
        scores, rows = self._search(vectors, wanted, n_threads)
        if wanted == self.index.ntotal:
            return np.arange(wanted), np.ones(len(queries), dtype=bool)
        # A product of d terms is rounded by less than d eps |x| |q|, a distance taken from three by four
        # times that: what is left out cannot be among the k best if the last one proposed is further behind.
        size = self.largest * largest if self.similarity != "euclidean" else (self.largest + largest) ** 2
        rounding = 8 * (vectors.shape[1] + 4) * float(np.finfo(np.float32).eps) * size
        gap = np.abs(scores[:, k - 1].astype(np.float64) - scores[:, -1])
        return np.unique(rows), gap > rounding


class FaissCandidates(_Faiss):
    """The rows that an index made by faiss's factory finds, with their scores computed from the gallery."""

    def __init__(
        self, gallery: NDArray[Any], similarity: Similarity, factory: str, parameters: str | None
    ) -> None:
        super().__init__(similarity)
        refuse_non_finite("gallery", gallery)
        faiss, self.gallery = self.faiss, gallery
        metric = faiss.METRIC_L2 if similarity == "euclidean" else faiss.METRIC_INNER_PRODUCT
        vectors, _ = self._prepared(gallery.astype(np.float32, copy=False))
        try:
            self.index = faiss.index_factory(gallery.shape[1], factory, metric)
            if not self.index.is_trained:
                self.index.train(vectors)
            self.index.add(vectors)
            if parameters is not None:
                faiss.ParameterSpace().set_index_parameters(self.index, parameters)
        except RuntimeError as error:
            more = f", index_parameters={parameters!r}" if parameters else ""
            given = f"index_factory={factory!r}{more}"
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(
                f"faiss refuses {given} for a gallery of shape {gallery.shape}: {reason}"
            ) from None

    def find(self, queries: NDArray[Any], k: int, n_threads: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Rows and scores (n, k), the best first; -1 with the worst score where faiss finds fewer."""
        refuse_non_finite("queries", queries)
        vectors, _ = self._prepared(queries.astype(np.float32, copy=False))
        _, rows = self._search(vectors, k, n_threads)
        far = self.similarity == "euclidean"
        scores = np.empty(rows.shape)
        step = max(1, _BLOCK // (k * queries.shape[1]))
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            scores[part] = self._scores(queries[part], rows[part])
        scores[rows < 0] = np.inf if far else -np.inf
        # of equal scores the lower row first, those that are none last
        order = np.lexsort((rows, scores if far else -scores), axis=1)
        return (
            np.take_along_axis(rows, order, axis=1),
            np.take_along_axis(scores, order, axis=1).astype(queries.dtype),
        )

    def _scores(self, queries: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        q = queries.astype(np.float64, copy=False)
        found = self.gallery[rows].astype(np.float64, copy=False)
        if self.similarity == "euclidean":
            found = found - q[:, np.newaxis]
            return np.asarray(np.einsum("nkd,nkd->nk", found, found))
        if self.similarity == "cosine":
            q = unit_rows(q)
            found = unit_rows(found.reshape(-1, found.shape[2])).reshape(found.shape)
        return np.asarray(np.einsum("nkd,nd->nk", found, q))
