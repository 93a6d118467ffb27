"""The ``attributes`` of label embeddings: a vector for each label, however it was given."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LabelVectors", "label_vectors"]


@dataclass(frozen=True)
class LabelVectors:
    """Vectors of the classes of a fit, and of further labels that it did not see."""

    labels: NDArray[Any]  # the classes in their order, then the other labels, sorted
    vectors: NDArray[np.float64]  # (n_labels, n_attributes)
    names: tuple[str, ...] | None  # of the attributes, where a data frame gave them

    def of(self, labels: Any) -> NDArray[np.float64]:
        """The vectors of some labels; refuses, by name, one that has none."""
        row = {label: i for i, label in enumerate(self.labels.tolist())}
        wanted = np.asarray(labels).tolist()
        missing = [label for label in wanted if label not in row]
        if missing:
            raise ValueError(f"attributes has no vector for {_some(missing)}")
        return self.vectors[[row[label] for label in wanted]]


def label_vectors(attributes: Any, classes: NDArray[Any]) -> LabelVectors:
    """What the constructor argument ``attributes`` says of the labels ``classes``, which are sorted.

    Parameters
    ----------
    attributes : mapping, DataFrame or array_like
        A mapping from label to vector; a pandas data frame with the labels as index, one column an
        attribute; or an array with one row a class in the order of ``classes``. A mapping and a frame may
        hold labels beyond ``classes``.
    classes : ndarray of shape (n_classes,)
        ``classes_`` of the estimator.

    Raises
    ------
    ValueError
        For a class without a vector, vectors of different lengths, a label that is there twice, an array of
        another number of rows, anything that is not a finite number.
    """
    names = None
    if isinstance(attributes, Mapping):
        given = list(attributes)
        rows = [np.asarray(attributes[label]) for label in given]
        for label, row in zip(given, rows, strict=True):
            if row.ndim != 1 or row.shape != rows[0].shape:
                raise ValueError(
                    f"attributes must hold vectors of one length: {given[0]!r} has shape {rows[0].shape}, "
                    f"{label!r} has shape {row.shape}"
                )
        table = np.array(rows)
    elif hasattr(attributes, "index") and hasattr(attributes, "columns"):
        given = attributes.index.tolist()
        names = tuple(str(name) for name in attributes.columns)
        table = np.asarray(attributes)
    else:
        table = np.asarray(attributes)
        if table.ndim != 2 or len(table) != len(classes):
            raise ValueError(
                "attributes as an array must have one row for each of the "
                f"{len(classes)} classes in sorted order, got shape {table.shape}"
            )
        given = classes.tolist()
    return _table(given, table, names, classes.tolist(), classes.dtype)


def _table(
    given: list[Any], table: NDArray[Any], names: tuple[str, ...] | None, classes: list[Any], dtype: Any
) -> LabelVectors:
    row = {label: i for i, label in enumerate(given)}
    if len(row) < len(given):
        twice = [label for label in row if given.count(label) > 1]
        raise ValueError(f"attributes holds {_some(twice)} more than once")
    missing = [label for label in classes if label not in row]
    if missing:
        raise ValueError(f"attributes has no vector for {_some(missing)}, which y holds")
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(f"attributes must give each label at least one number, got shape {table.shape}")
    try:
        values = table.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"attributes must hold numbers: {error}") from None
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise ValueError(f"attributes of {given[int(bad.argmax())]!r} contain NaN or infinity")
    known = set(classes)
    others = [label for label in given if label not in known]
    with contextlib.suppress(TypeError):  # labels of mixed kinds keep the order in which they were given
        others = sorted(others)
    labels = classes + others
    array = np.array(labels, dtype=object if dtype.kind == "O" else None)
    return LabelVectors(array, values[[row[label] for label in labels]], names)


def _some(labels: list[Any]) -> str:
    shown = ", ".join(repr(label) for label in labels[:3])
    return shown if len(labels) <= 3 else f"{shown} and {len(labels) - 3} more"
