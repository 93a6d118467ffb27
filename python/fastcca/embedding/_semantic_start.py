"""Where unified semantic embedding starts: attributes in its units, first values of its parameters."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcca.embedding._graph import LabelGraph
from fastcca.embedding._ridge import ridge_path
from fastcca.embedding._source import Source
from fastcca.embedding._training_data import TrainingData

__all__ = ["KnownAttributes", "beta_scale", "first_values"]

Array = NDArray[Any]

OWN_SUPERCLASS, OWN_ATTRIBUTES = 0.5, 1.0  # lengths beside a class's own axis


@dataclass(frozen=True)
class KnownAttributes:
    """Attributes of rows and classes, as they were given and in units of their standard deviation."""

    rows: NDArray[np.float64]  # (n, n_attributes), as given
    signed: NDArray[np.float64]  # (n, n_attributes), centred, in units
    classes: NDArray[np.float64]  # (n_classes, n_attributes), in units
    mean: NDArray[np.float64]  # (n_attributes,), of the classes, in units: the root's
    unit: float

    @classmethod
    def of(cls, data: TrainingData, classes: NDArray[np.float64] | None) -> "KnownAttributes":
        """From vectors of the classes, or of the rows in ``data.extra["attributes"]``."""
        share = data.share
        if classes is None:
            rows = data.extra["attributes"]
            classes = data.class_means(rows)
        else:
            rows = classes[data.y]
        centred = rows - share @ rows
        unit = float(np.sqrt(np.mean(share @ centred**2))) or 1.0
        return cls(rows, centred / unit, classes / unit, classes.mean(axis=0) / unit, unit)

    def pattern(self, graph: LabelGraph) -> NDArray[np.float64]:
        """(n_nodes, n_attributes): what each node has more of than its parent."""
        nodes = graph.means_below(self.classes)
        return np.maximum(nodes - graph.above(nodes, self.mean), 0.0)  # type: ignore[no-any-return]


def first_values(
    data: TrainingData,
    graph: LabelGraph,
    known: KnownAttributes | None,
    source: Source | None,
    n_components: int,
    n_attributes: int,
    rng: np.random.Generator,
    structured: bool,
    reg: float,
) -> dict[str, Array]:
    """Classes on the axes, superclasses at their means, the map by ridge regression; or the source's."""
    n_classes = graph.n_classes
    if source is not None:
        return _from_source(data, graph, known, source)
    if structured:
        return _structured(data, graph, known, reg)
    # as many axes as there are, the other classes in directions of their own
    axes = np.eye(n_classes, n_components)
    more = rng.standard_normal((max(n_classes - n_components, 0), n_components))
    axes[n_components:] = more / np.linalg.norm(more, axis=1, keepdims=True)
    U = graph.means_below(axes)
    if known is None:
        A = rng.standard_normal((n_attributes, n_components))
    else:
        A = (known.classes - known.mean).T @ axes
    length = np.linalg.norm(A, axis=1, keepdims=True)
    A = np.divide(A, length, out=np.zeros_like(A), where=length > 0)
    W, b = next(ridge_path(data, axes, [reg]))
    values = {"W": W, "b": b, "U": U, "A": A, "B": np.zeros((len(graph.nodes), len(A)))}
    return {name: value.astype(data.features.dtype) for name, value in values.items()}


def _structured(
    data: TrainingData, graph: LabelGraph, known: KnownAttributes | None, reg: float
) -> dict[str, Array]:
    """Each node its parent, an axis of its own, and what its attributes say on axes of theirs."""
    n, n_attributes = len(graph.nodes), 0 if known is None else known.classes.shape[1]
    pattern = np.zeros((n, n_attributes)) if known is None else known.pattern(graph)
    spread = np.sqrt((pattern[: graph.n_classes] ** 2).sum(axis=1).mean())
    B = pattern * (OWN_ATTRIBUTES / spread if spread > 0 else 0.0)
    U = np.hstack([np.diag(np.where(np.arange(n) < graph.n_classes, 1.0, OWN_SUPERCLASS)), B])
    for i in sorted(range(n), key=lambda i: len(graph.ancestors[i])):
        if graph.parent[i] >= 0:
            U[i] += U[graph.parent[i]]
    length = np.sqrt((U[: graph.n_classes] ** 2).sum(axis=1).mean())
    U, B = U / length, B / length
    A = np.hstack([np.zeros((n_attributes, n)), np.eye(n_attributes)])
    W, b = next(ridge_path(data, U[: graph.n_classes], [reg]))
    values = {"W": W, "b": b, "U": U, "A": A, "B": B}
    return {name: value.astype(data.features.dtype) for name, value in values.items()}


def _from_source(
    data: TrainingData, graph: LabelGraph, known: KnownAttributes | None, source: Source
) -> dict[str, Array]:
    dtype = data.features.dtype
    d = source.weights.shape[1]
    A = np.zeros((0, d)) if source.attributes is None else source.attributes
    if known is not None and source.attributes is not None and len(A) != known.classes.shape[1]:
        raise ValueError(f"source has {len(A)} attributes, attributes has {known.classes.shape[1]}")
    pattern = np.zeros((len(graph.nodes), len(A))) if known is None else known.pattern(graph)
    if source.attributes is None:
        pattern = np.zeros((len(graph.nodes), 0))
    informed = bool((graph.parent >= 0).any()) or bool(pattern.any())
    if informed:
        U = np.zeros((len(graph.nodes), d))
        for i in sorted(range(len(graph.nodes)), key=lambda i: len(graph.ancestors[i])):
            above = U[graph.parent[i]] if graph.parent[i] >= 0 else 0.0
            U[i] = source.nodes.get(graph.nodes[i], above + source.beta_scale * pattern[i] @ A)
    else:
        means = data.class_means() @ source.weights + source.intercept
        U = graph.means_below(source.mean_scale * means)
    values = {
        "W": source.weights,
        "b": source.intercept,
        "U": U,
        "A": A,
        "B": source.beta_scale * pattern,
    }
    return {name: np.array(value, dtype=dtype) for name, value in values.items()}


def beta_scale(graph: LabelGraph, U: Array, A: Array, pattern: Array | None) -> float:
    """The s >= 0 for which s times what the attributes say comes nearest to u_c - u_parent."""
    if pattern is None:
        return 0.0
    spread = pattern @ A
    length = float((spread * spread).sum())
    return max(float(((U - graph.above(U)) * spread).sum()) / length, 0.0) if length > 0 else 0.0
