"""Classes and the nodes above them as rows of one matrix: whose parent is whose, and what excludes what."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcca.functional.hinge import ConstraintTable
from fastcca.taxonomy import Taxonomy

__all__ = ["LabelGraph", "check_taxonomy", "label_graph"]


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
        raise TypeError(f"taxonomy must be a Taxonomy or None, got {type(taxonomy).__name__}")
    missing = [label for label in classes.tolist() if label not in taxonomy]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ValueError(f"taxonomy has no node {', '.join(map(repr, missing[:3]))}{more}, which y holds")
    if taxonomy.root in classes.tolist():
        raise ValueError(f"the class {taxonomy.root!r} is the root of taxonomy, whose embedding is 0")


def label_graph(taxonomy: Taxonomy | None, classes: NDArray[Any]) -> LabelGraph:
    """The classes and every node above one of them. Without a taxonomy all classes are below the root."""
    check_taxonomy(taxonomy, classes)
    labels = classes.tolist()
    n = len(labels)
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
