"""faiss's flat index as a source of candidates."""

from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from fastcca.functional.retrieval import Similarity


class FaissProposals:
    """Rows of a gallery among which the best are, as faiss finds them."""

    def __init__(self, gallery: NDArray[np.float32], similarity: Similarity) -> None:
        self.faiss = import_module("faiss")
        self.similarity = similarity
        vectors, self.largest = self._prepared(gallery)
        make = self.faiss.IndexFlatL2 if similarity == "euclidean" else self.faiss.IndexFlatIP
        self.index = make(gallery.shape[1])
        self.index.add(vectors)

    def _prepared(self, a: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """Rows as faiss wants them, and the largest of their lengths, not finite if a number is not."""
        rows = np.ascontiguousarray(a)
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
        largest = float(lengths.max(initial=0.0))
        if self.similarity != "cosine" or not np.isfinite(largest):
            return rows, largest
        scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        return rows * scale[:, np.newaxis].astype(np.float32), 1.0

    def propose(
        self, queries: NDArray[np.float32], k: int, n_threads: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows among which the k best of each query are, and for which queries that is certain."""
        wanted = min(self.index.ntotal, k + 8 + k // 8)
        vectors, largest = self._prepared(queries)
        if not np.isfinite(self.largest + largest):  # the core says where
            return np.arange(0), np.zeros(len(queries), dtype=bool)
        before = self.faiss.omp_get_max_threads()
        self.faiss.omp_set_num_threads(n_threads)
        try:
            scores, rows = self.index.search(vectors, wanted)
        finally:
            self.faiss.omp_set_num_threads(before)
        if wanted == self.index.ntotal:
            return np.arange(wanted), np.ones(len(queries), dtype=bool)
        # A product of d terms is rounded by less than d eps |x| |q|, a distance taken from three by four
        # times that: what is left out cannot be among the k best if the last one proposed is further behind.
        size = self.largest * largest if self.similarity != "euclidean" else (self.largest + largest) ** 2
        rounding = 8 * (vectors.shape[1] + 4) * float(np.finfo(np.float32).eps) * size
        gap = np.abs(scores[:, k - 1].astype(np.float64) - scores[:, -1])
        return np.unique(rows), gap > rounding
