"""Search by sample and by label in the space of a label embedding."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastcca._models.files import Schema
from fastcca.retrieval._docs import documented
from fastcca.retrieval._index import Backend, Found, ModelSearch
from fastcca.retrieval._saved import projected


@documented
class LabelSearch(ModelSearch):
    """Search of a gallery by image and by label, in the space of a label embedding.

    Parameters
    ----------
    model : fitted label embedding
        It has ``transform``, which maps samples to the space of the labels, ``classes_`` and
        ``label_embedding_``. Rows are compared by its ``similarity`` where it has one, else by distance.
    backend, n_threads, index_factory, index_parameters
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

    _schema = Schema("LabelSearch", 2, fields="index_")

    _usual_similarity = "euclidean"

    def __init__(
        self,
        model: Any,
        *,
        backend: Backend = "core",
        n_threads: int | None = None,
        index_factory: str | None = None,
        index_parameters: str | None = None,
    ) -> None:
        missing = [name for name in ("transform", "classes_", "label_embedding_") if not hasattr(model, name)]
        if missing:
            raise TypeError(
                "model must be a fitted label embedding, "
                f"a {type(model).__name__} has no {' and no '.join(missing)}"
            )
        self.model = model
        self.backend = backend
        self.n_threads = n_threads
        self.index_factory = index_factory
        self.index_parameters = index_parameters
        self._empty_index()

    def fit(self, gallery: ArrayLike, ids: ArrayLike | None = None) -> "LabelSearch":
        """Map the rows to search into the space of the labels.

        Parameters
        ----------
        gallery : array_like of shape (m, p)
            Samples, in the units of the model's training data. Large arrays are read block by block, from
            the disk if they are memory maps.
        {ids_of_gallery}

        {returns_label_search}
        """
        self.index_ = self._empty_index().fit(projected(self.model.transform, gallery), ids)
        return self

    def add(self, gallery: ArrayLike, ids: ArrayLike | None = None) -> "LabelSearch":
        """Add samples, as :meth:`SearchIndex.add` does.

        Parameters
        ----------
        gallery : array_like of shape (r, p)
            Samples, in the units of the model's training data.
        {ids_of_new_rows}

        {returns_label_search}
        """
        self._check_gallery("add")
        self.index_.add(projected(self.model.transform, gallery), ids)
        return self

    def remove(self, ids: ArrayLike) -> "LabelSearch":
        """Take samples out of the gallery, as :meth:`SearchIndex.remove` does.

        {ids}

        {returns_label_search}
        """
        self._check_gallery("remove")
        self.index_.remove(ids)
        return self

    def search(self, queries: ArrayLike, k: int = 10) -> Found:
        """The ``k`` rows of the gallery that are most like each sample.

        Parameters
        ----------
        queries : array_like of shape (n, p)
            Samples, in the units of the model's training data.
        {k}

        {returns_found}
        """
        self._check_gallery("search")
        return self.search_points(projected(self.model.transform, queries), k)

    def search_labels(self, labels: ArrayLike, k: int = 10) -> Found:
        """The ``k`` rows of the gallery that are nearest to each label.

        Parameters
        ----------
        labels : array_like of shape (n,), or one label
            Out of the model's ``classes_``, or of its ``superclasses_`` if it has such.
        {k}

        {returns_found}
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
        {k}

        {returns_found}
        """
        self._check_gallery("search")
        return self.index_.search(np.asarray(points), k)
