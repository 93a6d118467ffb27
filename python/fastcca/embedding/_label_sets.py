"""Samples with several labels: what is given of them, and what a fit learns from."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from fastcca._arguments.arrays import column_names
from fastcca.functional.hinge import ConstraintTable

__all__ = ["LabelSets", "Membership", "best_threshold", "membership"]

MOST_NEGATIVES = 2**28  # of a table, 8 bytes each


@dataclass(frozen=True)
class Membership:
    """Which labels each row has."""

    classes: NDArray[Any]  # (n_classes,)
    member: csr_array  # (n, n_classes), True where a row has a label, its columns sorted


@dataclass(frozen=True)
class LabelSets:
    """The distinct sets of labels of the rows of a fit; a pair is a set and one of its labels, in order."""

    member: csr_array  # (n_sets, n_classes)

    @classmethod
    def of(cls, member: csr_array) -> tuple["LabelSets", NDArray[np.intp]]:
        """The distinct rows of a matrix, and which of them each of its rows is."""
        known: dict[bytes, int] = {}
        parts = (
            member.indices[a:b].tobytes() for a, b in zip(member.indptr, member.indptr[1:], strict=False)
        )
        number = np.array([known.setdefault(part, len(known)) for part in parts], dtype=np.intp)
        first = np.unique(number, return_index=True)[1]
        return cls(csr_array(member[first])), number

    def pairs(self, number: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """For rows with these sets: the row of each pair, and which pair it is."""
        start, count = self.member.indptr[number].astype(np.int64), np.diff(self.member.indptr)[number]
        rows = np.repeat(np.arange(len(number)), count)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        return rows, start[rows] + within

    @property
    def labels(self) -> NDArray[np.int64]:
        """The label of each pair."""
        return np.asarray(self.member.indices, dtype=np.int64)

    @property
    def of_pair(self) -> NDArray[np.intp]:
        """The set of each pair."""
        return np.repeat(np.arange(self.member.shape[0]), np.diff(self.member.indptr))

    @cached_property
    def table(self) -> ConstraintTable:
        """Each pair's label against all labels that are not in its set."""
        n_sets, n_classes = self.member.shape
        count = np.diff(self.member.indptr)
        negatives = count * (n_classes - count)
        if negatives.sum() > MOST_NEGATIVES:
            raise ValueError(
                f"y has {n_sets} different sets of labels out of {n_classes}, whose comparisons do not fit "
                "into memory: fit to fewer rows or labels"
            )
        parts = []
        for s in range(n_sets):
            others = np.ones(n_classes, dtype=bool)
            others[self.member.indices[self.member.indptr[s] : self.member.indptr[s + 1]]] = False
            parts.append(np.tile(np.flatnonzero(others), count[s]))
        per_pair = np.repeat(n_classes - count, count)
        return ConstraintTable(
            np.arange(len(self.labels) + 1),
            self.labels,
            np.concatenate([[0], np.cumsum(per_pair)]),
            np.concatenate(parts),
        )


def membership(y: Any, n: int, classes: NDArray[Any] | None = None) -> Membership:
    """The labels of each row, from an indicator matrix or from sets of labels (of ``classes``, if given).

    Raises
    ------
    ValueError
        For another number of rows or columns, entries other than 0 and 1, labels of a set that do not sort or
        are not known.
    """
    found = _of_sets(y, classes) if isinstance(y, list | tuple) and _is_set(y) else _of_matrix(y, classes)
    if found.member.shape[0] != n:
        raise ValueError(f"X and y must have the same number of rows, got {n} and {found.member.shape[0]}")
    return found


def _is_set(y: Any) -> bool:
    return len(y) > 0 and isinstance(y[0], set | frozenset)


def _of_sets(y: Any, known: NDArray[Any] | None) -> Membership:
    for i, labels in enumerate(y):
        if not isinstance(labels, set | frozenset):
            raise ValueError(f"y must hold a set of labels for each row, got {labels!r} at row {i}")
    try:
        every = sorted({label for labels in y for label in labels}) if known is None else known.tolist()
    except TypeError as error:
        raise ValueError(f"the labels of y must be of one kind, numbers or text ({error})") from None
    place = {label: i for i, label in enumerate(every)}
    unknown = next((label for labels in y for label in labels if label not in place), None)
    if unknown is not None:
        raise ValueError(f"y has the label {unknown!r}, which is none of classes_")
    columns = [sorted(place[label] for label in labels) for labels in y]
    indptr: Any = np.cumsum([0, *map(len, columns)])
    indices = np.array([c for row in columns for c in row], dtype=np.int64)
    data = np.ones(len(indices), dtype=bool)
    classes = np.array(every) if known is None else known
    return Membership(classes, csr_array((data, indices, indptr), shape=(len(y), len(every))))


def _of_matrix(y: Any, known: NDArray[Any] | None) -> Membership:
    names = column_names(y)
    sparse: bool = issparse(y)
    matrix: Any = csr_array(y) if sparse else np.asarray(y)
    values: NDArray[Any] = matrix.data if sparse else matrix
    try:
        other = values[(values != 0) & (values != 1)] if values.dtype.kind in "biuf" else values.ravel()[:1]
    except (TypeError, ValueError):
        other = values.ravel()[:1]
    if len(other):
        raise ValueError(
            "y with several columns must be an indicator matrix, 1 where a row has a label and 0 elsewhere, "
            f"got {other.tolist()[0]!r}; give label sets as a list of sets"
        )
    member: Any = csr_array(matrix, dtype=bool)
    member.sum_duplicates()
    member.eliminate_zeros()
    member.sort_indices()
    if known is not None and member.shape[1] != len(known):
        raise ValueError(f"y has {member.shape[1]} columns, one for each label, classes_ has {len(known)}")
    classes = np.arange(member.shape[1]) if names is None else np.asarray(names)
    return Membership(classes if known is None else known, member)


def best_threshold(
    probability: NDArray[np.float64], member: NDArray[np.bool_], weight: NDArray[np.float64]
) -> float:
    """The t for which the labels of probability >= t have the largest micro-averaged F1.

    F1 = 2 TP / (found + true), over all rows and labels; halfway between the probabilities on both sides.
    """
    order = np.argsort(-probability, axis=None, kind="stable")
    p = probability.ravel()[order]
    w = np.repeat(weight, probability.shape[1])[order]
    hits = w * member.ravel()[order]
    f1 = 2 * np.cumsum(hits) / (np.cumsum(w) + hits.sum())
    last = np.append(p[1:] < p[:-1], True)  # of equal probabilities, which are taken together
    best = int(np.flatnonzero(last)[np.argmax(f1[last])])
    below = p[best + 1] if best + 1 < len(p) else 0.0
    return float((p[best] + below) / 2)
