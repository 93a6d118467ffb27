"""What is known about labels besides their rows: a taxonomy, attributes; classes placed by these alone."""

import contextlib
import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.parameters import NUMBER, anything
from fastcca.embedding._docs import documented
from fastcca.functional.hinge import ConstraintTable
from fastcca.taxonomy import Taxonomy

__all__ = [
    "ATTRIBUTES",
    "TAXONOMY",
    "LabelGraph",
    "LabelVectors",
    "ZeroShotMixin",
    "check_taxonomy",
    "label_costs",
    "label_graph",
    "label_vectors",
]

# Checked with the classes of a fit, by check_taxonomy and label_vectors.
TAXONOMY = anything("a fastcca.taxonomy.Taxonomy or None")
ATTRIBUTES = anything("a mapping, a data frame, an array or None")


# ---- a taxonomy


@dataclass(frozen=True)
class LabelGraph:
    """The nodes that the embeddings of a taxonomy stand for: classes first, then their superclasses.

    The root is none of them: its embedding is 0, and the ancestors of a node exclude it.
    """

    nodes: tuple[Any, ...]
    n_classes: int
    parent: NDArray[np.int64]  # (n_nodes,), -1 below the root
    ancestors: tuple[tuple[int, ...], ...]  # of each node, the nearest first
    siblings: tuple[tuple[int, ...], ...]

    @property
    def superclasses(self) -> tuple[Any, ...]:
        """The nodes that are no classes."""
        return self.nodes[self.n_classes :]

    def from_the_root(self) -> list[int]:
        """The nodes by their depth: each after its ancestors."""
        return sorted(range(len(self.nodes)), key=lambda i: len(self.ancestors[i]))

    def constraints(self) -> ConstraintTable:
        """L_S: each ancestor of a class against that ancestor's siblings."""
        return ConstraintTable.from_lists(
            [
                [(s, self.siblings[s]) for s in self.ancestors[label] if self.siblings[s]]
                for label in range(self.n_classes)
            ]
        )

    def exclusive(self) -> NDArray[np.float64]:
        r"""Q in :math:`\sum_c \sum_{o \in P_c \cup S_c} \lVert\beta_c + \beta_o\rVert^2 = tr(B^T Q B)`.

        P_c are the ancestors of a node and S_c its siblings.
        """
        n = len(self.nodes)
        pairs = np.zeros((n, n))
        for c in range(n):
            pairs[c, list(self.ancestors[c] + self.siblings[c])] = 1.0
        # |b_c + b_o|^2 = |b_c|^2 + |b_o|^2 + 2 b_c . b_o
        return np.diag(pairs.sum(axis=0) + pairs.sum(axis=1)) + pairs + pairs.T

    def means_below(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(n_nodes, k) from (n_classes, k): a class its row, a superclass the mean of the classes below."""
        below = np.zeros((len(self.nodes), self.n_classes))
        below[np.arange(self.n_classes), np.arange(self.n_classes)] = 1.0
        for label in range(self.n_classes):
            inner = [s for s in self.ancestors[label] if s >= self.n_classes]
            below[inner, label] = 1.0
        below /= below.sum(axis=1, keepdims=True)
        return below @ np.asarray(values, dtype=np.float64)

    def above(self, values: NDArray[Any], at_root: Any = 0.0) -> NDArray[Any]:
        """The row of each node's parent; ``at_root`` below the root."""
        out = values[self.parent]  # -1 takes the last row, to be replaced
        out[self.parent < 0] = at_root
        return out

    def add_to_parents(self, values: NDArray[Any]) -> NDArray[Any]:
        """The transpose of :meth:`above`: for each node the sum of the rows of its children."""
        out = np.zeros_like(values)
        has = self.parent >= 0
        np.add.at(out, self.parent[has], values[has])
        return out


def check_taxonomy(taxonomy: Any, classes: NDArray[Any]) -> None:
    """Refuse what is no taxonomy, or one that lacks a class."""
    if taxonomy is None:
        return
    if not isinstance(taxonomy, Taxonomy):
        raise TypeError(
            f"taxonomy must be a fastcca.taxonomy.Taxonomy or None, got {type(taxonomy).__name__}"
        )
    missing = [label for label in classes.tolist() if label not in taxonomy]
    if missing:
        raise ValueError(f"taxonomy has no node {_some(missing)}, which y holds")


def label_graph(taxonomy: Taxonomy | None, classes: NDArray[Any]) -> LabelGraph:
    """The classes and every node above one of them. Without a taxonomy all classes are below the root."""
    check_taxonomy(taxonomy, classes)
    labels = classes.tolist()
    n = len(labels)
    if taxonomy is not None and taxonomy.root in labels:
        raise ValueError(f"the class {taxonomy.root!r} is the root of taxonomy, whose embedding is 0")
    if taxonomy is None:
        others = tuple(tuple(o for o in range(n) if o != c) for c in range(n))
        return LabelGraph(tuple(labels), n, np.full(n, -1), ((),) * n, others)
    kept = set(labels)
    for label in labels:
        kept.update(taxonomy.ancestors(label))
    nodes = labels + [node for node in taxonomy.nodes if node in kept and node not in set(labels)]
    place = {node: i for i, node in enumerate(nodes)}

    def places(some: tuple[Any, ...]) -> tuple[int, ...]:
        return tuple(place[node] for node in some if node in place)

    return LabelGraph(
        tuple(nodes),
        n,
        np.array([place.get(taxonomy.parent(node), -1) for node in nodes], dtype=np.int64),
        tuple(places(taxonomy.ancestors(node)) for node in nodes),
        tuple(places(taxonomy.siblings(node)) for node in nodes),
    )


def label_costs(taxonomy: Taxonomy, classes: NDArray[Any]) -> NDArray[np.float64]:
    """(C, C): path lengths between the classes in the taxonomy, relative to the mean of different classes."""
    check_taxonomy(taxonomy, classes)
    paths = taxonomy.distances(classes.tolist()).astype(np.float64)
    return paths / paths[~np.eye(len(classes), dtype=bool)].mean()  # type: ignore[no-any-return]


# ---- attributes


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
        For a class without a vector, vectors of different lengths, a label given twice, an array with another
        number of rows, anything that is not a finite number.
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
    """Some labels in a message."""
    shown = ", ".join(repr(label) for label in labels[:3])
    return shown if len(labels) <= 3 else f"{shown} and {len(labels) - 3} more"


# ---- classes without rows


@documented
class ZeroShotMixin:
    """For label embeddings that can place a label without a row of it, by :meth:`_place`."""

    attributes: Any
    classes_: NDArray[Any]
    label_embedding_: NDArray[Any]
    decision_offset_: NDArray[np.float64]

    def _place(self, labels: list[Any], vectors: NDArray[np.float64] | None) -> NDArray[Any]:
        """The embeddings of new labels, from their attributes where these are known."""
        raise NotImplementedError

    def with_classes(
        self,
        labels: Iterable[Any],
        attributes: Any = None,
        *,
        only: bool = False,
        seen_calibration: float = 0,
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
        seen_calibration : float, default=0
            The calibration factor of calibrated stacking: the decisions for the classes of the fit are
            lowered by it, as a model prefers the classes that it was trained on. It is chosen on held-out
            rows, by ``best_calibration`` of :func:`fastcca.metrics.seen_unseen_curve`.

        Returns
        -------
        estimator
            A copy; the model itself stays as it is. The offsets of its decisions are ``decision_offset_``.

        {raises_not_fitted}
        ValueError
            For a label that was in the fit, or of which neither a parent nor attributes are known.

        References
        ----------
        W.-L. Chao, S. Changpinyo, B. Gong and F. Sha, "An empirical study and analysis of generalized
        zero-shot learning for object recognition in the wild", ECCV 2016, for ``seen_calibration``.
        """
        check_is_fitted(self)
        NUMBER("seen_calibration", seen_calibration)
        if isinstance(labels, (str, bytes)):
            raise ValueError(f"labels must be a list of labels, got the text {labels!r}")
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
            table = label_vectors(given, np.asarray(new if attributes is not None else seen))
            vectors = table.of(new)
        placed = self._place(new, vectors).astype(self.label_embedding_.dtype)
        everything = new if only else seen + new
        embedding = placed if only else np.vstack([self.label_embedding_, placed])
        offset = np.zeros(len(everything))
        if not only:
            offset[: len(seen)] = getattr(self, "decision_offset_", 0.0) - seen_calibration
        model = copy.copy(self)
        model.classes_, order = np.unique(
            np.asarray(everything, dtype=_common_dtype(self.classes_, new)), return_index=True
        )
        model.label_embedding_ = embedding[order]
        model.decision_offset_ = offset[order]
        return model


def _common_dtype(classes: NDArray[Any], new: list[Any]) -> Any:
    return object if classes.dtype.kind == "O" else np.result_type(classes, np.asarray(new))
