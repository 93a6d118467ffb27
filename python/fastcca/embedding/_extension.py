"""Classes that no row was seen of: a fitted model that knows them from their parent and their attributes."""

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastcca._models.files import Schema
from fastcca.embedding._attributes import label_vectors
from fastcca.embedding._base import LabelEmbedding
from fastcca.embedding._checks import check_number

__all__ = ["ExtensibleEmbedding"]


class ExtensibleEmbedding(LabelEmbedding):
    """A label embedding that can place a label without a row of it."""

    _schema = Schema(optional="lowered=_lowered")

    def with_classes(
        self, labels: Iterable[Any], attributes: Any = None, *, only: bool = False, seen_penalty: float = 0
    ) -> Any:
        """A copy of the fitted model that knows further classes: zero-shot classification.

        Parameters
        ----------
        labels : iterable of labels
            Nodes of ``taxonomy``, if there is one, or labels with a vector in ``attributes``.
        attributes : mapping or DataFrame, optional
            Their attributes, label by label, in the columns and units of the constructor's ``attributes``,
            which may hold them already: that is where they come from by default.
        only : bool, default=False
            Leave the classes of the fit out: rows are known to be of the new ones.
        seen_penalty : float, default=0
            What the decisions for the classes of the fit are lowered by: a model prefers the classes that it
            was trained for, and some held-out rows tell by how much.

        Returns
        -------
        estimator
            A copy; the model itself stays as it is.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            For a label that was in the fit, or of which neither a parent nor attributes are known.

        References
        ----------
        W.-L. Chao, S. Changpinyo, B. Gong and F. Sha, "An empirical study and analysis of generalized
        zero-shot learning for object recognition in the wild", ECCV 2016, for ``seen_penalty``.
        """
        check_is_fitted(self)
        check_number("seen_penalty", seen_penalty)
        new = list(dict.fromkeys(np.asarray(list(labels)).tolist()))
        if not new:
            raise ValueError("labels must hold at least one label")
        seen = self.classes_.tolist()
        known = [label for label in new if label in seen]
        if known:
            raise ValueError(f"labels holds {known[0]!r}, which was a class of the fit")
        given = self.attributes if attributes is None else attributes
        vectors = None
        if given is not None:
            source = label_vectors(given, np.asarray(new if attributes is not None else seen))
            vectors = source.of(new)
        placed = self._place(new, vectors)
        model = copy.copy(self)
        everything = new if only else seen + new
        rows = (
            placed if only else np.vstack([self.label_embedding_, placed.astype(self.label_embedding_.dtype)])
        )
        lowered = np.zeros(len(everything))
        if not only:
            lowered[: len(seen)] = -seen_penalty
        model.classes_, order = np.unique(
            np.asarray(everything, dtype=_common(self.classes_, new)), return_index=True
        )
        model.label_embedding_ = rows[order].astype(self.label_embedding_.dtype)
        model._lowered = lowered[order]
        return model

    def _place(self, labels: list[Any], vectors: NDArray[np.float64] | None) -> NDArray[Any]:
        """The embeddings of new labels, from their attributes where these are known."""
        raise NotImplementedError

    def _near(self, z: NDArray[np.float64], *, relative: bool = False) -> NDArray[np.float64]:
        decisions = super()._near(z, relative=relative)
        lowered = getattr(self, "_lowered", None)
        return decisions if lowered is None else decisions + lowered


def _common(classes: NDArray[Any], new: list[Any]) -> Any:
    return object if classes.dtype.kind == "O" else np.result_type(classes, np.asarray(new))
