"""A gallery that is searched exactly, and what a search finds."""

from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._arguments.arrays import as_matrix
from fastcca._arguments.parameters import N_THREADS, choice
from fastcca._config import get_num_threads
from fastcca._models.atomic_fit import AtomicFit
from fastcca.functional.retrieval import (
    Similarity,
    check_k,
    check_similarity,
    gallery_and_queries,
    top_k,
)
from fastcca.retrieval._faiss import FaissProposals

Backend = Literal["core", "faiss"]


class Found(NamedTuple):
    """What a search found.

    Attributes
    ----------
    indices : ndarray of shape (n, k)
        int64, rows of the gallery, the best first; of equal scores the lower row first.
    scores : ndarray of shape (n, k)
        Their similarities, or squared distances where the similarity is ``"euclidean"``.
    """

    indices: NDArray[np.int64]
    scores: NDArray[Any]


class SearchIndex(AtomicFit):
    """A gallery that is searched exactly: every query is compared with every row.

    Parameters
    ----------
    similarity : {"cosine", "inner_product", "euclidean"}, default="cosine"
        What makes a row good, as for :func:`fastcca.functional.top_k`.
    backend : {"core", "faiss"}, default="core"
        "core" is :func:`fastcca.functional.top_k`. "faiss" lets faiss's flat index propose the candidates; it
        gives the same answer: what is proposed is scored and ordered as by the core, and queries for which
        rounding in faiss may have decided are searched by the core. It needs the package ``faiss-cpu`` and
        a copy of the gallery; galleries of float64 are searched by the core.
    n_threads : int, optional
        By default the number that :func:`fastcca.set_num_threads` set. The results do not depend on it.

    Attributes
    ----------
    gallery_ : ndarray of shape (m, d)
        The gallery, not copied where it was an array of float32 or float64: do not change it.
    backend_ : {"core", "faiss"}
        Which one is in use.

    Raises
    ------
    ImportError
        For ``backend="faiss"`` where faiss is not installed.
    ValueError
        For unknown names; in ``fit`` and ``search`` as :func:`fastcca.functional.top_k`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.retrieval import SearchIndex
    >>> index = SearchIndex().fit([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    >>> found = index.search([[0.0, 1.0]], k=2)
    >>> found.indices, found.scores.round(3)
    (array([[1, 2]]), array([[1.   , 0.707]]))
    """

    gallery_: NDArray[Any]
    backend_: Backend

    def __init__(
        self,
        similarity: Similarity = "cosine",
        *,
        backend: Backend = "core",
        n_threads: int | None = None,
    ) -> None:
        check_similarity(similarity)
        N_THREADS("n_threads", n_threads)
        choice("core", "faiss")("backend", backend)
        if backend == "faiss" and find_spec("faiss") is None:
            raise ImportError("backend='faiss' needs the package faiss: pip install faiss-cpu")
        self.similarity = similarity
        self.backend = backend
        self.n_threads = n_threads

    def fit(self, gallery: ArrayLike) -> "SearchIndex":
        """Take the rows to search.

        Parameters
        ----------
        gallery : array_like of shape (m, d)
            float32 or float64, of any strides; read at each search, where NaN and infinity are refused.

        Returns
        -------
        SearchIndex
            The index itself.
        """
        self.gallery_ = as_matrix("gallery", gallery)
        self.backend_ = self.backend if self.gallery_.dtype == np.float32 else "core"
        self._proposals = FaissProposals(self.gallery_, self.similarity) if self.backend_ == "faiss" else None
        return self

    def search(self, queries: ArrayLike, k: int = 10) -> Found:
        """The ``k`` best rows of the gallery for each query.

        Parameters
        ----------
        queries : array_like of shape (n, d)
            One dimension is one query.
        k : int, default=10
            From 1 to m.

        Returns
        -------
        Found
            ``indices`` and ``scores``, both (n, k).
        """
        if not hasattr(self, "gallery_"):
            raise ValueError("there is no gallery yet: call fit before search")
        gallery, q = gallery_and_queries(self.gallery_, queries)
        check_k(k, len(gallery))
        if self._proposals is None or q.dtype != np.float32 or len(q) == 0:
            return self._core(q, gallery, k)
        rows, certain = self._proposals.propose(q, int(k), self.n_threads or get_num_threads())
        if not certain.any():
            return self._core(q, gallery, k)
        found = self._core(q, gallery[rows], k)
        found = Found(rows[found.indices], found.scores)
        if not certain.all():
            for mine, whole in zip(found, self._core(q[~certain], gallery, k), strict=True):
                mine[~certain] = whole
        return found

    def _core(self, queries: NDArray[Any], gallery: NDArray[Any], k: int) -> Found:
        return Found(*top_k(queries, gallery, k, similarity=self.similarity, n_threads=self.n_threads))

    def __repr__(self) -> str:
        gallery = f", gallery of {self.gallery_.shape}" if hasattr(self, "gallery_") else ""
        return f"SearchIndex({self.similarity!r}, backend={self.backend!r}{gallery})"
