"""Large-margin losses of embeddings: samples near the node of their class, far from the other nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastcca import _core
from fastcca._arguments.arrays import (
    as_matrix,
    as_weights,
    check_same_rows,
    common_float,
    contiguous,
    narrowed,
    refuse_non_finite,
)
from fastcca._arguments.parameters import thread_count
from fastcca.errors import NumericalError
from fastcca.functional._docs import documented

__all__ = ["ConstraintTable", "hinge_embedding_loss"]

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
Similarity = Literal["euclidean", "cosine"]
Negatives = Literal["sum", "hardest", "semihard", "rank", "warp"]
Loss = Literal["hinge", "softmax"]
Reduction = Literal["mean", "sum"]

NEGATIVES = ("sum", "hardest", "semihard", "rank", "warp")
# What the core calls them where it is another name.
IN_CORE = {"hardest": "worst"}


@dataclass(frozen=True, eq=False)
class ConstraintTable:
    """Which positive nodes a sample of each class is to be nearer to than to which negative ones.

    Class y has pairs of a positive node and its negative nodes; a sample of the class contributes the loss of
    each of them. With ancestors as positive nodes and their siblings as negative ones the table holds the
    constraints of a taxonomy. Nodes count the rows of the matrix of embeddings.

    Parameters
    ----------
    class_start : ndarray of shape (n_classes + 1,)
        Class y has the pairs ``class_start[y]`` to ``class_start[y + 1] - 1``.
    positives : ndarray of shape (n_pairs,)
        The positive node of each pair.
    negative_start : ndarray of shape (n_pairs + 1,)
        Pair j has the negative nodes ``negatives[negative_start[j]:negative_start[j + 1]]``.
    negatives : ndarray
        The negative nodes of all pairs.

    Raises
    ------
    ValueError
        For starts that do not fit, negative indices, a node that is both positive and negative in a pair.

    See Also
    --------
    from_lists : The same from lists of pairs.

    Examples
    --------
    Class 0 has an ancestor, node 2, with the sibling 3; class 1 has none.

    >>> from fastcca.functional import ConstraintTable
    >>> table = ConstraintTable.from_lists([[(2, [3])], []])
    >>> table.n_classes, table.n_pairs, table.n_nodes
    (2, 1, 4)
    """

    class_start: Indices
    positives: Indices
    negative_start: Indices
    negatives: Indices

    def __post_init__(self) -> None:
        for name in ("class_start", "positives", "negative_start", "negatives"):
            given = np.asarray(getattr(self, name))
            if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
                raise ValueError(f"{name} must be a 1-d array of integers, got {given.dtype} {given.shape}")
            array = given.astype(np.int64)  # a copy: nobody changes it under the kernel
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        _check_starts("class_start", self.class_start, self.n_pairs)
        _check_starts("negative_start", self.negative_start, len(self.negatives))
        if len(self.negative_start) != self.n_pairs + 1:
            raise ValueError(
                f"negative_start has {len(self.negative_start)} entries, expected {self.n_pairs + 1}: "
                "one more than there are pairs"
            )
        for name in ("positives", "negatives"):
            nodes = getattr(self, name)
            if nodes.size and nodes.min() < 0:
                raise ValueError(f"{name} must hold nodes >= 0, got {nodes.min()}")
        own = np.repeat(self.positives, np.diff(self.negative_start)) == self.negatives
        if own.any():
            node = int(self.negatives[own][0])
            raise ValueError(f"node {node} is positive and negative in one pair")

    @classmethod
    def from_lists(cls, constraints: Sequence[Sequence[tuple[int, Sequence[int]]]]) -> ConstraintTable:
        """From a list for each class of its pairs ``(positive node, [negative node, …])``.

        Parameters
        ----------
        constraints : sequence of sequences of (int, sequence of int)
            As many as there are classes; a class without pairs has an empty list.

        Returns
        -------
        ConstraintTable
        """
        pairs = [pair for of_class in constraints for pair in of_class]
        return cls(
            np.cumsum([0, *(len(of_class) for of_class in constraints)]),
            np.array([positive for positive, _ in pairs]),
            np.cumsum([0, *(len(negatives) for _, negatives in pairs)]),
            np.array([node for _, negatives in pairs for node in negatives]),
        )

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return len(self.class_start) - 1

    @property
    def n_pairs(self) -> int:
        """The number of pairs of all classes."""
        return len(self.positives)

    @property
    def n_nodes(self) -> int:
        """The number of nodes that the table refers to: one more than its largest index."""
        return 1 + max(
            (int(nodes.max()) for nodes in (self.positives, self.negatives) if nodes.size), default=-1
        )


def _check_starts(name: str, starts: Indices, total: int) -> None:
    if not starts.size or starts[0] != 0 or starts[-1] != total or (np.diff(starts) < 0).any():
        raise ValueError(f"{name} must ascend from 0 to {total}")


@documented
def hinge_embedding_loss(
    Z: npt.ArrayLike,
    U: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    margin: float | npt.ArrayLike = 1.0,
    similarity: Similarity = "euclidean",
    reduction: Reduction = "mean",
    negatives: Negatives = "sum",
    loss: Loss = "hinge",
    table: ConstraintTable | None = None,
    sample_weight: npt.ArrayLike | None = None,
    seed: int = 0,
    gradient: bool = True,
    n_threads: int | None = None,
) -> tuple[float, Array | None, Array | None, int]:
    """Large-margin loss of samples against the embeddings of their classes, with its gradients.

    With D(z, u) = ||z - u||² or minus the cosine, a sample z of class y violates the margin of class c by
    v_c = margin + D(z, u_y) - D(z, u_c), and its loss is the sum of the positive v_c over all other classes:
    it is to be nearer to its class than to any other, by the margin. A ``table`` replaces (y, all others) by
    other pairs of positive and negative nodes.

    Parameters
    ----------
    Z : array-like of shape (n, d)
        Embedded samples. float32 and float64 arrays are read in place.
    U : array-like of shape (n_nodes, d)
        Embeddings of the nodes: classes, and whatever else ``table`` names.
    y : array-like of int, shape (n,)
        The classes, from 0: rows of U, or classes of ``table``.
    margin : float or array-like of shape (n_classes, n_nodes)
        One for all, or the cost of taking a sample of class y for node c, in the units of D.
    similarity : {"euclidean", "cosine"}
        D: the squared Euclidean distance, or minus the cosine of the angle. A vector of zeros has cosine 0
        with everything, and no gradient.
    reduction : {"mean", "sum"}
        Over samples.
    negatives : {"sum", "hardest", "semihard", "rank", "warp"}
        Reduction over the v_c of a pair: "sum", all that are positive; "hardest", the largest, that of the
        hardest negative; "semihard", the largest of the nodes that are farther than the positive one, or,
        where there is none, the smallest; "rank", the sum times L(r)/r, where r is the number of positive
        ones and L(r) = 1 + 1/2 + ... + 1/r; "warp", an estimate of "rank" by sampling: negative nodes are
        drawn until one violates its margin, at most as many times as there are, m; found at draw t, its v_c
        is multiplied by L(floor(m/t)). Gradients hold L fixed.
    loss : {"hinge", "softmax"}
        "softmax" is log(1 + sum_c exp(D(z, u_y) - D(z, u_c))), the log-loss of classes at negative distances
        as logits. ``margin`` and ``negatives`` have no effect on it.
    table : ConstraintTable, optional
        Pairs of positive and negative nodes of each class. By default a class against all other rows of U.
    sample_weight : array-like of shape (n,), optional
        Not negative; the mean is weighted.
    seed : int
        Seed of the sampling of "warp", which depends on it and on the row alone.
    {gradient_and_threads}

    Returns
    -------
    value : float
        The loss, >= 0.
    grad_Z : ndarray of shape (n, d), or None
    grad_U : ndarray of shape (n_nodes, d), or None
        Its gradients (subgradients where v_c = 0), float32 if both Z and U are. None if ``gradient`` is
        False.
    n_violations : int
        The number of positive v_c; for "warp", of pairs in which one was found; for "softmax", of negative
        nodes that are nearer than the positive one.

    Raises
    ------
    ValueError
        For NaN or infinity (with the first position), shapes that do not fit, classes out of range.
    fastcca.errors.NumericalError
        If the loss or a gradient overflows.

    Notes
    -----
    "hardest" can collapse an embedding that is learned from scratch: where all samples and nodes are nearly
    one point the largest v_c is about the margin for every sample, and its gradient contracts them further.
    "sum" and "semihard" do not.

    float32 data are multiplied in float32 and summed in float64. With squared distances the mean of the rows
    of U is subtracted from Z and U, which changes nothing but the rounding. The cost is 6 n d n_nodes flops.

    References
    ----------
    Weston, Bengio & Usunier, "WSABIE: scaling up to large vocabulary image annotation", IJCAI 2011.

    Schroff, Kalenichenko & Philbin, "FaceNet: a unified embedding for face recognition and clustering", CVPR
    2015 ("semihard").

    Hwang & Sigal, "A unified semantic embedding: relating taxonomies and attributes", NIPS 2014.

    Examples
    --------
    A sample between two classes, a little nearer to its own:

    >>> import numpy as np
    >>> from fastcca.functional import hinge_embedding_loss
    >>> Z, U = np.array([[0.4, 0.0]]), np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    >>> value, grad_Z, grad_U, n_violations = hinge_embedding_loss(Z, U, [0])
    >>> round(value, 6), n_violations
    (0.8, 1)
    >>> grad_Z
    array([[2., 0.]])
    """
    check_same_rows(Z=Z, y=y, sample_weight=sample_weight)
    z, u = common_float([as_matrix("Z", Z, vector=True), as_matrix("U", U, vector=True)])
    n, n_nodes = len(z), len(u)
    if z.shape[1] != u.shape[1] or z.shape[1] == 0:
        raise ValueError(f"Z and U must have the same columns, at least one, got {z.shape} and {u.shape}")
    if n == 0 or n_nodes == 0:
        raise ValueError(f"Z and U must have rows, got {z.shape} and {u.shape}")
    labels = _labels(y, n)
    if table is not None and not isinstance(table, ConstraintTable):
        raise TypeError(f"table must be a ConstraintTable or None, got {type(table).__name__}")
    if table is not None and table.n_nodes > n_nodes:
        raise ValueError(f"table has {table.n_nodes} nodes, but U has {n_nodes} rows")
    n_classes = n_nodes if table is None else table.n_classes
    number, costs = _margin(margin, (n_classes, n_nodes), z.dtype)
    if not isinstance(gradient, (bool, np.bool_)):
        raise ValueError(f"gradient must be True or False, got {gradient!r}")
    for name, value, allowed in (
        ("similarity", similarity, ("euclidean", "cosine")),
        ("reduction", reduction, ("mean", "sum")),
        ("negatives", negatives, NEGATIVES),
        ("loss", loss, ("hinge", "softmax")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    if not isinstance(seed, Integral) or not 0 <= seed < 2**64:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, got {seed!r}")
    weights, weight = None, 1.0 / n if reduction == "mean" else 1.0
    if sample_weight is not None:
        weights = as_weights(sample_weight, n)
        if reduction == "mean":
            total = weights.sum()
            if total == 0:
                raise ValueError("sample_weight must contain at least one weight that is not zero")
            weights = weights / total
    value, grad_Z, grad_U, n_violations = _core.hinge_loss(
        z,
        u,
        labels,
        weights,
        weight,
        number,
        costs,
        None
        if table is None
        else (table.class_start, table.positives, table.negative_start, table.negatives),
        similarity,
        IN_CORE.get(negatives, negatives) if loss == "hinge" else "softmax",
        int(seed),
        gradient,
        thread_count(n_threads),
    )
    for name, grad in (("Z", grad_Z), ("U", grad_U)):
        if grad is not None and not np.isfinite(grad).all():
            raise NumericalError(f"the gradient of {name} overflows {grad.dtype}: scale the weights down")
    return value, grad_Z, grad_U, n_violations


def _labels(y: npt.ArrayLike, n: int) -> Indices:
    labels = np.asarray(y)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"y must hold integers, the rows of U, got dtype {labels.dtype}")
    if labels.shape != (n,):
        raise ValueError(f"y must hold one class for each of the {n} rows of Z, got shape {labels.shape}")
    return contiguous(labels, np.int64)


def _margin(
    margin: float | npt.ArrayLike, shape: tuple[int, int], dtype: np.dtype[Any]
) -> tuple[float, Array | None]:
    """One margin for all and None, or 0 and the matrix of costs."""
    if isinstance(margin, Real) and not isinstance(margin, bool):
        if not 0 <= float(margin) < math.inf:
            raise ValueError(f"margin must be finite and not negative, got {margin!r}")
        return float(margin), None
    costs = np.asarray(margin)
    if costs.ndim != 2:
        raise ValueError(f"margin must be a number or a matrix of costs, got {margin!r}")
    costs = narrowed(as_matrix("margin", costs, vector=True), dtype, "margin")
    if costs.shape != shape:
        raise ValueError(f"margin must have shape (classes, nodes) = {shape}, got {costs.shape}")
    refuse_non_finite("margin", costs)
    if costs.min() < 0:
        raise ValueError(f"margin must not be negative, got a cost of {costs.min():g}")
    return 0.0, costs


def batch_hinge_loss(
    Z: Array,
    U: Array,
    y: Indices,
    weights: float | Array,
    margin: float | Array,
    table: tuple[Indices, Indices, Indices, Indices] | None,
    similarity: str,
    negatives: str,
    gradient: bool,
) -> tuple[float, Array | None, Array | None]:
    """The kernel on arrays that were checked already: a call of microseconds, for the losses of batches.

    ``weights`` are those of the samples' losses, or one for all; ``margin`` one for all or a matrix of costs;
    ``table`` the parts of a :class:`ConstraintTable`; ``negatives`` may be "softmax" too.
    """
    weight, of_samples = (weights, None) if isinstance(weights, float) else (1.0, weights)
    number, costs = (margin, None) if isinstance(margin, float) else (0.0, margin)
    kind = IN_CORE.get(negatives, negatives)
    value, grad_Z, grad_U, _ = _core.hinge_loss(
        Z, U, y, of_samples, weight, number, costs, table, similarity, kind, 0, gradient, 0
    )
    return value, grad_Z, grad_U
