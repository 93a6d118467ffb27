"""A gallery that is searched exactly, and what a search finds."""

import copy
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._arguments.arrays import as_matrix, narrowed
from fastcca._arguments.parameters import N_THREADS, choice
from fastcca._config import get_num_threads
from fastcca._models.files import Schema, Writer
from fastcca.functional.retrieval import (
    Similarity,
    check_k,
    check_similarity,
    gallery_and_queries,
    top_k,
)
from fastcca.retrieval._docs import documented
from fastcca.retrieval._faiss import FaissCandidates, FaissProposals
from fastcca.retrieval._saved import SavedSearch

Backend = Literal["core", "faiss"]


class Found(NamedTuple):
    """What a search found.

    Attributes
    ----------
    indices : ndarray of shape (n, k)
        int64, rows of the gallery, the best first; of equal scores the lower row first. Their ids are
        ``ids_[indices]`` of the search.
    scores : ndarray of shape (n, k)
        Their similarities, or squared distances where the similarity is ``"euclidean"``.
    """

    indices: NDArray[np.int64]
    scores: NDArray[Any]


@documented
class SearchIndex(SavedSearch):
    """A gallery that is searched exactly, every query against every row, or by any index of faiss.

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
    index_factory : str, optional
        With ``backend="faiss"``: an approximate index, as ``faiss.index_factory`` describes it, such as
        "IVF64,Flat" or "HNSW32". It is trained on the gallery, in float32, at the first search after ``fit``,
        ``add`` or ``remove``, and its rows may lack some of the best; their scores are computed from the
        gallery. Where it finds fewer than k, the rest are row -1, with a score of -inf, or inf for distances.
    index_parameters : str, optional
        What faiss's ``ParameterSpace`` sets of it, such as "nprobe=8".

    Attributes
    ----------
    gallery_ : ndarray of shape (m, d)
        The gallery, not copied where it was an array of float32 or float64: do not change it.
    ids_ : ndarray of shape (m,)
        The id of each row: as given, or numbers from 0, which stay with a row when others are removed.
    backend_ : {"core", "faiss"}
        Which one is in use.

    Raises
    ------
    ImportError
        For ``backend="faiss"`` where faiss is not installed.
    ValueError
        For unknown names, an ``index_factory`` without faiss as the backend; in ``fit`` and ``search`` as
        :func:`fastcca.functional.top_k`, and for an index that faiss refuses.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.retrieval import SearchIndex
    >>> index = SearchIndex().fit([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    >>> found = index.search([[0.0, 1.0]], k=2)
    >>> found.indices, found.scores.round(3)
    (array([[1, 2]]), array([[1.   , 0.707]]))
    >>> index = index.add([[0.0, 1.0]]).remove([1])
    >>> index.ids_[index.search([[0.0, 1.0]], k=2).indices]
    array([[3, 2]])
    """

    _schema = Schema("SearchIndex", 2, fields="gallery_ backend_ ids_")

    gallery_: NDArray[Any]
    backend_: Backend
    ids_: NDArray[Any]
    _faiss: tuple[NDArray[Any], FaissProposals | FaissCandidates]  # of a gallery

    def __init__(
        self,
        similarity: Similarity = "cosine",
        *,
        backend: Backend = "core",
        n_threads: int | None = None,
        index_factory: str | None = None,
        index_parameters: str | None = None,
    ) -> None:
        check_similarity(similarity)
        N_THREADS("n_threads", n_threads)
        choice("core", "faiss")("backend", backend)
        if backend == "faiss" and find_spec("faiss") is None:
            raise ImportError("backend='faiss' needs the package faiss: pip install 'fastcca[faiss]'")
        self.similarity = similarity
        self.backend = backend
        self.n_threads = n_threads
        check_factory(backend, index_factory, index_parameters)
        self.index_factory = index_factory
        self.index_parameters = index_parameters

    def fit(self, gallery: ArrayLike, ids: ArrayLike | None = None) -> "SearchIndex":
        """Take the rows to search.

        Parameters
        ----------
        gallery : array_like of shape (m, d)
            float32 or float64, of any strides; read at each search, where NaN and infinity are refused.
        {ids_of_gallery}

        {returns_index}

        Raises
        ------
        ValueError
            For ids of another number, or one that is given twice.
        """
        rows = as_matrix("gallery", gallery)
        given = np.arange(len(rows)) if ids is None else _checked_ids(ids, len(rows))
        self._take(rows, given)
        return self

    def add(self, rows: ArrayLike, ids: ArrayLike | None = None) -> "SearchIndex":
        """Add rows behind those that are there, which takes a copy of the gallery.

        Parameters
        ----------
        rows : array_like of shape (r, d)
            In the precision of the gallery.
        {ids_of_new_rows}

        {returns_index}

        Raises
        ------
        ValueError
            Before ``fit``; for rows of another length, ids that are there already, or none where those so far
            are text.
        """
        self._check_gallery("add")
        added = as_matrix("rows", rows)
        if added.shape[1] != self.gallery_.shape[1]:
            raise ValueError(f"rows must have {self.gallery_.shape[1]} columns, got {added.shape[1]}")
        if ids is not None:
            given = _checked_ids(ids, len(added))
        elif self.ids_.dtype.kind in "iu":
            given = np.arange(len(added)) + (int(self.ids_.max(initial=-1)) + 1)
        else:
            raise ValueError("ids must be given, as those of the rows so far are no numbers")
        every = _checked_ids(np.concatenate([self.ids_, given]), len(self.ids_) + len(given))
        grown = np.concatenate([self.gallery_, narrowed(added, self.gallery_.dtype, "rows")])
        self._take(grown, every)
        return self

    def remove(self, ids: ArrayLike) -> "SearchIndex":
        """Take rows out; those that stay keep their order and their ids.

        {ids}

        {returns_index}

        Raises
        ------
        ValueError
            Before ``fit``, for an id that is not there, or if no row would be left.
        """
        self._check_gallery("remove")
        gone = np.atleast_1d(np.asarray(ids))
        missing = gone[~np.isin(gone, self.ids_)]
        if len(missing):
            raise ValueError(f"there is no row with the id {missing[0]!s}")
        stay = ~np.isin(self.ids_, gone)
        if not stay.any():
            raise ValueError("remove would leave no row")
        self._take(self.gallery_[stay], self.ids_[stay])
        return self

    def _take(self, gallery: NDArray[Any], ids: NDArray[Any]) -> None:
        # a flat index of float32 says nothing certain of float64
        exact = self.index_factory is None and gallery.dtype != np.float32
        backend: Backend = "core" if exact else self.backend
        self.__dict__.update(gallery_=gallery, ids_=ids, backend_=backend)  # all at once
        self.__dict__.pop("_faiss", None)

    def _proposals(self) -> FaissProposals | FaissCandidates | None:
        """What proposes candidates, made at the first search of a gallery."""
        if self.backend_ != "faiss":
            return None
        known = self.__dict__.get("_faiss")
        if known is None or known[0] is not self.gallery_:
            made: FaissProposals | FaissCandidates
            if self.index_factory is None:
                made = FaissProposals(self.gallery_, self.similarity)
            else:
                made = FaissCandidates(
                    self.gallery_, self.similarity, self.index_factory, self.index_parameters
                )
            known = self._faiss = self.gallery_, made
        return known[1]

    def _packed(self, writer: Writer, where: str) -> dict[str, Any]:
        plain = copy.copy(self)
        plain.__dict__.pop("_faiss", None)
        return super(SearchIndex, plain)._packed(writer, where)

    def search(self, queries: ArrayLike, k: int = 10) -> Found:
        """The ``k`` best rows of the gallery for each query.

        Parameters
        ----------
        queries : array_like of shape (n, d)
            One dimension is one query.
        {k}

        {returns_found}
        """
        self._check_gallery("search")
        gallery, q = gallery_and_queries(self.gallery_, queries)
        check_k(k, len(gallery))
        approximate = self.index_factory is not None
        proposals = self._proposals() if (approximate or q.dtype == np.float32) and len(q) else None
        if proposals is None:
            return self._core(q, gallery, k)
        threads = self.n_threads or get_num_threads()
        if isinstance(proposals, FaissCandidates):
            return Found(*proposals.find(q, int(k), threads))
        rows, certain = proposals.propose(q, int(k), threads)
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
        factory = "" if self.index_factory is None else f", index_factory={self.index_factory!r}"
        return f"SearchIndex({self.similarity!r}, backend={self.backend!r}{factory}{gallery})"


def check_factory(backend: Any, index_factory: Any, index_parameters: Any) -> None:
    """Refuse what describes no index, or one for another backend."""
    for name, value in (("index_factory", index_factory), ("index_parameters", index_parameters)):
        if value is not None and (not isinstance(value, str) or not value):
            raise ValueError(f"{name} must be text as faiss reads it, or None, got {value!r}")
    if index_factory is not None and backend != "faiss":
        raise ValueError(f"index_factory is for backend='faiss', got backend={backend!r}")
    if index_parameters is not None and index_factory is None:
        raise ValueError("index_parameters are those of an index_factory: give one")


def _checked_ids(ids: ArrayLike, n: int) -> NDArray[Any]:
    given = np.asarray(ids)
    if given.shape != (n,):
        raise ValueError(f"ids must have shape ({n},), one for each row, got {given.shape}")
    if given.dtype.kind not in "iuUO":
        raise ValueError(f"ids must be integers or text, got dtype {given.dtype}")
    different, count = np.unique(given, return_counts=True)
    if len(different) < n:
        raise ValueError(f"ids must be different, {different[count.argmax()]!s} is given twice")
    return given


class ModelSearch(SavedSearch):
    """What the searches across views and by label share: an index of what a model makes of rows."""

    _usual_similarity: ClassVar[Similarity]  # of a model that names none

    model: Any
    backend: Backend
    n_threads: int | None
    index_factory: str | None
    index_parameters: str | None
    index_: SearchIndex

    def _empty_index(self) -> SearchIndex:
        similarity: Similarity = getattr(self.model, "similarity", self._usual_similarity)
        return SearchIndex(
            similarity,
            backend=self.backend,
            n_threads=self.n_threads,
            index_factory=self.index_factory,
            index_parameters=self.index_parameters,
        )

    @property
    def ids_(self) -> NDArray[Any]:
        """The id of each row of the gallery, shape (m,)."""
        return self.index_.ids_
