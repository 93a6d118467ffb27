"""Large-margin losses of embeddings as operators of PyTorch: value and gradients from the compiled core."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fastcca.deep._hinge_operator import (
    forward,
    forward_pairs,
    hinge_operator,
    operator_value,
    pair_operator,
)

__all__ = ["HingeEmbeddingLoss", "PairEmbeddingLoss"]

Similarity = Literal["euclidean", "cosine"]
Reduction = Literal["mean", "sum"]
Violators = Literal["sum", "worst"]

_INTEGERS = frozenset((torch.int64, torch.int32, torch.int16, torch.uint8))


class HingeEmbeddingLoss(nn.Module):
    """Large-margin loss of a batch against the embeddings of its classes: a scalar to minimise.

    With D(z, u) = ||z - u||² or minus the cosine, the loss of a sample z of class y is
    sum_c max(0, margin + D(z, u_y) - D(z, u_c)) over all other classes c. Both the network that gives z and
    the embeddings u may be learnt.

    Parameters
    ----------
    margin : float or Tensor of shape (C, C), default=1.0
        One for all, or the cost of taking class y (row) for class c (column).
    similarity : {"euclidean", "cosine"}
        D: the squared Euclidean distance, or minus the cosine.
    reduction : {"mean", "sum"}
        Over the batch.
    violators : {"sum", "worst"}
        Whether to sum over all classes that violate the margin, or to take the worst alone.

    Notes
    -----
    On the CPU the tensors are read in place by the compiled core, see
    :func:`fastcca.functional.hinge_embedding_loss`; on other devices the same formulas run in PyTorch.
    ``torch.compile`` and ``torch.export`` see one operator. Half precision is computed in float32, also
    within autocast. ``torch.func`` differentiates it (``grad``, ``vmap``, ``jvp``); there is no second
    derivative.

    References
    ----------
    Weinberger & Chapelle, "Large margin taxonomy embedding for document categorization", NIPS 2008.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import HingeEmbeddingLoss
    >>> _ = torch.manual_seed(0)
    >>> net, classes = torch.nn.Linear(6, 2), torch.nn.Embedding(3, 2)
    >>> loss = HingeEmbeddingLoss()(net(torch.randn(10, 6)), classes.weight, torch.randint(3, (10,)))
    >>> loss.backward()
    >>> bool(loss > 0), classes.weight.grad.shape
    (True, torch.Size([3, 2]))
    """

    costs: Tensor | None

    def __init__(
        self,
        margin: float | Tensor = 1.0,
        similarity: Similarity = "euclidean",
        reduction: Reduction = "mean",
        violators: Violators = "sum",
    ) -> None:
        super().__init__()
        if isinstance(margin, Tensor):
            if margin.ndim != 2 or margin.shape[0] != margin.shape[1] or not margin.is_floating_point():
                raise ValueError(
                    f"margin must be a number or a square matrix of costs, got {margin.dtype} "
                    f"{tuple(margin.shape)}"
                )
            if not bool(torch.isfinite(margin).all()):
                raise ValueError("margin contains NaN or infinity")
        self.margin = 0.0 if isinstance(margin, Tensor) else _number(margin)
        self.register_buffer("costs", margin if isinstance(margin, Tensor) else None)
        self.similarity = _one_of("similarity", similarity, ("euclidean", "cosine"))
        self.reduction = _one_of("reduction", reduction, ("mean", "sum"))
        self.violators = _one_of("violators", violators, ("sum", "worst"))

    def extra_repr(self) -> str:
        margin = "a matrix" if self.costs is not None else f"{self.margin}"
        return f"margin={margin}, similarity={self.similarity!r}, reduction={self.reduction!r}"

    def forward(self, Z: Tensor, U: Tensor, y: Tensor) -> Tensor:
        """The loss of rows ``Z`` (B, d) of classes ``y`` (B,) against the class embeddings ``U`` (C, d)."""
        Z, U = _checked(Z, U, "Z", "U")
        if not isinstance(y, Tensor) or y.dtype not in _INTEGERS:
            raise TypeError(f"y must be a tensor of integers, got {_kind(y)}")
        if y.ndim != 1 or len(y) != len(Z) or y.device != Z.device:
            raise ValueError(
                f"y must hold one class for each of the {len(Z)} rows of Z on {Z.device}, got shape "
                f"{tuple(y.shape)} on {y.device}"
            )
        costs = self.costs
        if costs is not None:
            if costs.shape[0] != U.shape[0]:
                raise ValueError(f"U has {U.shape[0]} classes, but margin is of {costs.shape[0]}")
            costs = costs.to(Z.dtype)
        gradient = torch.is_grad_enabled() and (Z.requires_grad or U.requires_grad)
        weight = 1 / len(Z) if self.reduction == "mean" else 1.0
        options = (
            y if y.dtype == torch.int64 else y.long(),
            costs,
            self.margin,
            self.similarity,
            self.violators,
            weight,
            gradient,
        )
        return operator_value(hinge_operator, forward, options, Z, U)


class PairEmbeddingLoss(nn.Module):
    """Two-way large-margin loss of a batch of pairs: each row nearer to its partner than to any other row.

    The sum of two :class:`HingeEmbeddingLoss`: of the rows of the first view against those of the second,
    and the other way around, where the partner takes the place of the class and the other rows of the batch
    that of the other classes.

    Parameters
    ----------
    margin : float, default=1.0
        In the units of D.
    similarity : {"euclidean", "cosine"}
        D: the squared Euclidean distance, or minus the cosine.
    reduction : {"mean", "sum"}
        Over the pairs of the batch.
    hardest : bool, default=False
        Whether the nearest violator alone counts, instead of the sum over all.

    Notes
    -----
    Without negatives, minimising D(f(x), g(y)) over pairs alone, every row may go to one and the same point.
    See :class:`HingeEmbeddingLoss` for devices, precision and compilation.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import PairEmbeddingLoss
    >>> pairs = torch.eye(3)
    >>> PairEmbeddingLoss()(pairs, pairs), PairEmbeddingLoss()(pairs, pairs.roll(1, 0)).item()
    (tensor(0.), 8.0)
    """

    def __init__(
        self,
        margin: float = 1.0,
        similarity: Similarity = "euclidean",
        reduction: Reduction = "mean",
        hardest: bool = False,
    ) -> None:
        super().__init__()
        self.margin = _number(margin)
        self.similarity = _one_of("similarity", similarity, ("euclidean", "cosine"))
        self.reduction = _one_of("reduction", reduction, ("mean", "sum"))
        self.hardest = hardest

    def extra_repr(self) -> str:
        return (
            f"margin={self.margin}, similarity={self.similarity!r}, reduction={self.reduction!r}, "
            f"hardest={self.hardest}"
        )

    def forward(self, Z1: Tensor, Z2: Tensor) -> Tensor:
        """The loss of rows ``Z1`` (B, d) paired with rows ``Z2`` (B, d)."""
        Z1, Z2 = _checked(Z1, Z2, "Z1", "Z2")
        if Z1.shape[0] != Z2.shape[0]:
            raise ValueError(f"Z1 has {Z1.shape[0]} rows and Z2 has {Z2.shape[0]}: they must be paired")
        gradient = torch.is_grad_enabled() and (Z1.requires_grad or Z2.requires_grad)
        violators = "worst" if self.hardest else "sum"
        weight = 1 / len(Z1) if self.reduction == "mean" else 1.0
        options = (self.margin, self.similarity, violators, weight, gradient)
        return operator_value(pair_operator, forward_pairs, options, Z1, Z2)


def _number(margin: Any) -> float:
    if not isinstance(margin, Real) or isinstance(margin, bool) or not 0 <= float(margin) < math.inf:
        raise ValueError(f"margin must be finite and not negative, got {margin!r}")
    return float(margin)


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return str(value)


def _kind(value: Any) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__


def _checked(A: Tensor, B: Tensor, a: str, b: str) -> tuple[Tensor, Tensor]:
    for name, H in ((a, A), (b, B)):
        if not isinstance(H, Tensor) or not H.is_floating_point():
            raise TypeError(f"{name} must be a floating-point tensor, got {_kind(H)}")
        if H.ndim != 2 or H.shape[0] == 0 or H.shape[1] == 0:
            raise ValueError(f"{name} must have shape (rows, columns), got {tuple(H.shape)}")
    if A.device != B.device:
        raise ValueError(f"{a} is on {A.device} and {b} on {B.device}: they must be on one device")
    if A.shape[1] != B.shape[1]:
        raise ValueError(f"{a} has {A.shape[1]} columns and {b} has {B.shape[1]}: they must be of one space")
    if A.dtype == B.dtype and A.dtype in (torch.float32, torch.float64):
        return A, B
    dtype = torch.promote_types(torch.promote_types(A.dtype, B.dtype), torch.float32)
    return A.to(dtype), B.to(dtype)
