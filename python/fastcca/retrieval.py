"""Exact search: of one gallery, across the views of a model, by image and by label of a label embedding."""

from importlib import import_module
from importlib.util import find_spec
from numbers import Real
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._build import get_num_threads
from fastcca._validation import as_matrix, check_n_threads
from fastcca.functional.retrieval import (
    Similarity,
    check_k,
    check_similarity,
    gallery_and_queries,
    top_k,
)

__all__ = ["CrossViewSearch", "Found", "LabelSearch", "SearchIndex"]

Backend = Literal["core", "faiss"]
ViewName = Literal["x", "y"]


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


class SearchIndex:
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
        check_n_threads(n_threads)
        if backend not in ("core", "faiss"):
            raise ValueError(f"backend must be 'core' or 'faiss', got {backend!r}")
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
        self._proposals = _Faiss(self.gallery_, self.similarity) if self.backend_ == "faiss" else None
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


class _Faiss:
    """faiss's flat index as a source of candidates."""

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


class CrossViewSearch:
    """Search of one view by the other: both are projected by a fitted model, and compared.

    By the model's own ``similarity`` where it has one, as JointEmbedding does, else by their cosines.

    Parameters
    ----------
    model : fitted CCA, KernelCCA, DeepCCA, JointEmbedding or alike
        It has ``transform`` for the first view and ``transform_y`` for the second.
    gallery_view : {"x", "y"}, default="y"
        Which view the gallery is.
    correlation_power : float, default=0.0
        Each pair of variates is multiplied by its canonical correlation to this power first, so that pairs
        which agree well count more; 0 leaves them as they are.
    backend, n_threads
        As for :class:`SearchIndex`.

    Attributes
    ----------
    index_ : SearchIndex
        Of the projected gallery.

    Raises
    ------
    TypeError
        For a model without the two methods, or without correlations to scale by.
    ValueError
        For unknown names or a negative power; in ``fit`` and ``search`` as the model and
        :func:`fastcca.functional.top_k`.

    References
    ----------
    Y. Gong, Q. Ke, M. Isard and S. Lazebnik, "A multi-view embedding space for modeling internet images,
    tags, and their semantics", IJCV 106, 2014 (the scaling, there to the power of 4).

    Examples
    --------
    >>> from fastcca import CCA
    >>> from fastcca.datasets import make_two_views
    >>> from fastcca.retrieval import CrossViewSearch
    >>> views = make_two_views(1000, (6, 5), (0.99, 0.98, 0.97, 0.96, 0.95), random_state=0)
    >>> search = CrossViewSearch(CCA().fit(views.X, views.y)).fit(views.y[:50])
    >>> search.search(views.X[:50], k=3).indices[:4, 0]
    array([0, 1, 2, 3])
    """

    index_: SearchIndex

    def __init__(
        self,
        model: Any,
        *,
        gallery_view: ViewName = "y",
        correlation_power: float = 0.0,
        backend: Backend = "core",
        n_threads: int | None = None,
    ) -> None:
        for name in ("transform", "transform_y"):
            if not callable(getattr(model, name, None)):
                raise TypeError(
                    f"model must have the methods transform and transform_y, {_kind(model)} has no {name}"
                )
        _check_view("gallery_view", gallery_view)
        power: Any = correlation_power
        if not isinstance(power, Real) or not 0 <= float(power) < np.inf:
            raise ValueError(f"correlation_power must be a number >= 0, got {correlation_power!r}")
        if correlation_power > 0 and not hasattr(model, "canonical_correlations_"):
            raise TypeError(
                f"correlation_power needs canonical_correlations_, which {_kind(model)} does not have"
            )
        self.model = model
        self.gallery_view = gallery_view
        self.correlation_power = correlation_power
        similarity: Similarity = getattr(model, "similarity", "cosine")
        self._empty = SearchIndex(similarity, backend=backend, n_threads=n_threads)

    def fit(self, gallery: ArrayLike) -> "CrossViewSearch":
        """Project the rows to search.

        Parameters
        ----------
        gallery : array_like of shape (m, p) or (m, q)
            Rows of the view ``gallery_view``, in the units of the model's training data.

        Returns
        -------
        CrossViewSearch
            The search itself.
        """
        self.index_ = self._empty.fit(self._project(gallery, self.gallery_view))
        return self

    def search(self, queries: ArrayLike, k: int = 10, *, view: ViewName | None = None) -> Found:
        """The ``k`` best rows of the gallery for each query.

        Parameters
        ----------
        queries : array_like of shape (n, p) or (n, q)
            Rows of a view, in the units of the model's training data.
        k : int, default=10
            From 1 to m.
        view : {"x", "y"}, optional
            Which view the queries are; by default the one that the gallery is not.

        Returns
        -------
        Found
            ``indices`` and ``scores``, both (n, k).
        """
        if not hasattr(self, "index_"):
            raise ValueError("there is no gallery yet: call fit before search")
        if view is None:
            view = "x" if self.gallery_view == "y" else "y"
        _check_view("view", view)
        return self.index_.search(self._project(queries, view), k)

    def _project(self, data: ArrayLike, view: ViewName) -> NDArray[Any]:
        scores = np.asarray(self.model.transform(data) if view == "x" else self.model.transform_y(data))
        if self.correlation_power == 0:
            return scores
        # A negative correlation is one of the held-out kind: a pair that says nothing.
        correlations = np.maximum(self.model.canonical_correlations_, 0.0)
        weighted: NDArray[Any] = scores * (correlations**self.correlation_power).astype(scores.dtype)
        return weighted


class LabelSearch:
    """Search of a gallery by image and by label, in the space of a label embedding.

    Parameters
    ----------
    model : fitted label embedding
        It has ``transform``, which maps samples to the space of the labels, ``classes_`` and
        ``label_embedding_``. Rows are compared by its ``similarity`` where it has one, else by distance.
    backend, n_threads
        As for :class:`SearchIndex`.

    Attributes
    ----------
    index_ : SearchIndex
        Of the gallery in the space of the labels.

    Raises
    ------
    TypeError
        For a model without these.
    ValueError
        For labels that the model does not know; in ``fit`` and the searches as the model and
        :func:`fastcca.functional.top_k`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.embedding import NearestClassMean
    >>> from fastcca.retrieval import LabelSearch
    >>> X = np.array([[0.0, 0.0], [0.2, 0.0], [4.0, 1.0], [4.2, 1.0]])
    >>> model = NearestClassMean().fit(X, ["cat", "cat", "whale", "whale"])
    >>> search = LabelSearch(model).fit([[3.9, 1.0], [0.1, 0.1], [2.0, 0.0]])
    >>> search.search_labels(["cat", "whale"], k=2).indices
    array([[1, 2],
           [0, 2]])
    >>> search.search([[0.0, 0.0]], k=1).indices
    array([[1]])
    """

    index_: SearchIndex

    def __init__(self, model: Any, *, backend: Backend = "core", n_threads: int | None = None) -> None:
        missing = [name for name in ("transform", "classes_", "label_embedding_") if not hasattr(model, name)]
        if missing:
            raise TypeError(
                f"model must be a fitted label embedding, {_kind(model)} has no {' and no '.join(missing)}"
            )
        self.model = model
        similarity: Similarity = getattr(model, "similarity", "euclidean")
        self._empty = SearchIndex(similarity, backend=backend, n_threads=n_threads)

    def fit(self, gallery: ArrayLike) -> "LabelSearch":
        """Map the rows to search into the space of the labels.

        Parameters
        ----------
        gallery : array_like of shape (m, p)
            Samples, in the units of the model's training data.

        Returns
        -------
        LabelSearch
            The search itself.
        """
        self.index_ = self._empty.fit(np.asarray(self.model.transform(gallery)))
        return self

    def search(self, queries: ArrayLike, k: int = 10) -> Found:
        """The ``k`` rows of the gallery that are most like each sample.

        Parameters
        ----------
        queries : array_like of shape (n, p)
            Samples, in the units of the model's training data.
        k : int, default=10
            From 1 to m.

        Returns
        -------
        Found
            ``indices`` and ``scores``, both (n, k).
        """
        return self.search_points(self.model.transform(queries), k)

    def search_labels(self, labels: ArrayLike, k: int = 10) -> Found:
        """The ``k`` rows of the gallery that are nearest to each label.

        Parameters
        ----------
        labels : array_like of shape (n,), or one label
            Out of the model's ``classes_``, or of its ``superclasses_`` if it has such.
        k : int, default=10
            From 1 to m.

        Returns
        -------
        Found
            ``indices`` and ``scores``, both (n, k).
        """
        known = np.asarray(self.model.classes_).tolist()
        vectors = [np.asarray(self.model.label_embedding_)]
        if len(getattr(self.model, "superclasses_", ())) > 0:
            known = [*known, *self.model.superclasses_]
            vectors.append(np.asarray(self.model.superclass_embedding_))
        wanted = np.atleast_1d(np.asarray(labels)).tolist()
        if unknown := [label for label in wanted if label not in known]:
            some = ", ".join(map(repr, known[:10])) + (" …" if len(known) > 10 else "")
            raise ValueError(f"the model does not know the labels {unknown[:5]}; its classes are {some}")
        return self.search_points(np.vstack(vectors)[[known.index(label) for label in wanted]], k)

    def search_points(self, points: ArrayLike, k: int = 10) -> Found:
        """The ``k`` rows of the gallery that are nearest to points in the space of the labels.

        Parameters
        ----------
        points : array_like of shape (n, d)
            The embedding of a class that the model was not fitted with, say.
        k : int, default=10
            From 1 to m.

        Returns
        -------
        Found
            ``indices`` and ``scores``, both (n, k).
        """
        if not hasattr(self, "index_"):
            raise ValueError("there is no gallery yet: call fit before search")
        return self.index_.search(np.asarray(points), k)


def _kind(model: Any) -> str:
    return f"a {type(model).__name__}"


def _check_view(name: str, view: Any) -> None:
    if view not in ("x", "y"):
        raise ValueError(f"{name} must be 'x' or 'y', got {view!r}")
