"""Search of one view by the other, both projected by a model of two views."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._arguments.parameters import NOT_NEGATIVE, choice
from fastcca._models.files import Schema
from fastcca.retrieval._docs import documented
from fastcca.retrieval._index import Backend, Found, ModelSearch
from fastcca.retrieval._saved import projected

ViewName = Literal["x", "y"]


@documented
class CrossViewSearch(ModelSearch):
    """Search of one view by the other: both are projected by a fitted model, and compared.

    By the model's own ``similarity`` where it has one, as JointEmbedding does, else by their cosines.

    Parameters
    ----------
    model : fitted CCA, KernelCCA, DeepCCA, JointEmbedding or the like
        It has ``transform`` for the first view and ``transform_y`` for the second.
    gallery_view : {"x", "y"}, default="y"
        Which view the gallery is.
    correlation_power : float, default=0.0
        Each pair of variates is multiplied by its canonical correlation to this power first, so that pairs
        which agree well count more; 0 leaves them as they are.
    backend, n_threads, index_factory, index_parameters
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

    _schema = Schema("CrossViewSearch", 2, fields="index_")

    _usual_similarity = "cosine"

    def __init__(
        self,
        model: Any,
        *,
        gallery_view: ViewName = "y",
        correlation_power: float = 0.0,
        backend: Backend = "core",
        n_threads: int | None = None,
        index_factory: str | None = None,
        index_parameters: str | None = None,
    ) -> None:
        for name in ("transform", "transform_y"):
            if not callable(getattr(model, name, None)):
                raise TypeError(
                    "model must have the methods transform and transform_y, "
                    f"a {type(model).__name__} has no {name}"
                )
        _check_view("gallery_view", gallery_view)
        NOT_NEGATIVE("correlation_power", correlation_power)
        if correlation_power > 0 and not hasattr(model, "canonical_correlations_"):
            raise TypeError(
                "correlation_power needs canonical_correlations_, "
                f"which a {type(model).__name__} does not have"
            )
        self.model = model
        self.gallery_view = gallery_view
        self.correlation_power = correlation_power
        self.backend = backend
        self.n_threads = n_threads
        self.index_factory = index_factory
        self.index_parameters = index_parameters
        self._empty_index()

    def fit(self, gallery: ArrayLike, ids: ArrayLike | None = None) -> "CrossViewSearch":
        """Project the rows to search.

        Parameters
        ----------
        gallery : array_like of shape (m, p) or (m, q)
            Rows of the view ``gallery_view``, in the units of the model's training data. Large arrays are
            read block by block, from the disk if they are memory maps.
        {ids_of_gallery}

        {returns_cross_view_search}
        """
        self.index_ = self._empty_index().fit(self._project(gallery, self.gallery_view), ids)
        return self

    def add(self, gallery: ArrayLike, ids: ArrayLike | None = None) -> "CrossViewSearch":
        """Add rows of the view ``gallery_view``, as :meth:`SearchIndex.add` does.

        Parameters
        ----------
        gallery : array_like of shape (r, p) or (r, q)
            Rows in the units of the model's training data.
        {ids_of_new_rows}

        {returns_cross_view_search}
        """
        self._check_gallery("add")
        self.index_.add(self._project(gallery, self.gallery_view), ids)
        return self

    def remove(self, ids: ArrayLike) -> "CrossViewSearch":
        """Take rows out of the gallery, as :meth:`SearchIndex.remove` does.

        {ids}

        {returns_cross_view_search}
        """
        self._check_gallery("remove")
        self.index_.remove(ids)
        return self

    def search(self, queries: ArrayLike, k: int = 10, *, view: ViewName | None = None) -> Found:
        """The ``k`` best rows of the gallery for each query.

        Parameters
        ----------
        queries : array_like of shape (n, p) or (n, q)
            Rows of a view, in the units of the model's training data.
        {k}
        view : {"x", "y"}, optional
            Which view the queries are; by default the one that the gallery is not.

        {returns_found}
        """
        if view is None:
            view = "x" if self.gallery_view == "y" else "y"
        _check_view("view", view)
        self._check_gallery("search")
        return self.index_.search(self._project(queries, view), k)

    def _project(self, data: ArrayLike, view: ViewName) -> NDArray[Any]:
        scores = projected(self.model.transform if view == "x" else self.model.transform_y, data)
        if self.correlation_power == 0:
            return scores
        # A negative correlation is one of the held-out kind: a pair that says nothing.
        correlations = np.maximum(self.model.canonical_correlations_, 0.0)
        weighted: NDArray[Any] = scores * (correlations**self.correlation_power).astype(scores.dtype)
        return weighted


def _check_view(name: str, view: Any) -> None:
    choice("x", "y")(name, view)
