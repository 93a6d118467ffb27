"""Large-margin losses of embeddings as operators of PyTorch: value and gradients from the compiled core."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fastcca import _core

__all__ = ["HingeEmbeddingLoss", "PairEmbeddingLoss"]

Similarity = Literal["euclidean", "cosine"]
Reduction = Literal["mean", "sum"]
Violators = Literal["sum", "worst"]

_INTEGERS = frozenset((torch.int64, torch.int32, torch.int16, torch.uint8))
_NO_SECOND = "the hinge loss has no second derivative: it cannot be differentiated twice"


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
    ``torch.compile`` and ``torch.export`` see one operator. Half precision is computed in float32. There is
    no second derivative.

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
        return _value(_hinge, _forward, options, Z, U)


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
        return _value(_pairs, _forward_pairs, options, Z1, Z2)


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


def _forward(
    Z: Tensor,
    U: Tensor,
    y: Tensor,
    costs: Tensor | None,
    margin: float,
    similarity: str,
    violators: str,
    weight: float,
    gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Value and both gradients (empty where none is asked for), the samples' losses times ``weight``."""
    if Z.device.type != "cpu":
        return torch_hinge_loss(Z, U, y, costs, margin, similarity, violators, weight, gradient)
    value, grad_Z, grad_U, _ = _core.hinge_loss(
        Z.detach().numpy(),
        U.detach().numpy(),
        y.numpy(),
        None,
        weight,
        margin,
        None if costs is None else costs.numpy(),
        None,
        similarity,
        violators,
        0,
        gradient,
        0,
    )
    loss = torch.scalar_tensor(value, dtype=Z.dtype)
    if grad_Z is None or grad_U is None:
        return loss, Z.new_empty(0, Z.shape[1]), Z.new_empty(0, Z.shape[1])
    return loss, torch.from_numpy(grad_Z), torch.from_numpy(grad_U)


def _forward_pairs(
    Z1: Tensor, Z2: Tensor, margin: float, similarity: str, violators: str, weight: float, gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Both ways; what the one says of Z2 is added to what the other says of it."""
    options = (margin, similarity, violators, weight, gradient)
    y = torch.arange(len(Z1), device=Z1.device)
    value, grad1, grad2 = _forward(Z1, Z2, y, None, *options)
    back, back2, back1 = _forward(Z2, Z1, y, None, *options)
    return value + back, grad1.add_(back1), grad2.add_(back2)


_hinge = torch.library.custom_op("fastcca::hinge_embedding_loss", _forward, mutates_args=())
_pairs = torch.library.custom_op("fastcca::pair_embedding_loss", _forward_pairs, mutates_args=())


@_hinge.register_fake
def _(
    Z: Tensor,
    U: Tensor,
    y: Tensor,
    costs: Tensor | None,
    margin: float,
    similarity: str,
    violators: str,
    weight: float,
    gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return _fake(Z, U, gradient)


@_pairs.register_fake
def _(
    Z1: Tensor, Z2: Tensor, margin: float, similarity: str, violators: str, weight: float, gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return _fake(Z1, Z2, gradient)


def _fake(Z: Tensor, U: Tensor, gradient: bool) -> tuple[Tensor, Tensor, Tensor]:
    rows, nodes = (Z.shape[0], U.shape[0]) if gradient else (0, 0)
    return Z.new_empty(()), Z.new_empty(rows, Z.shape[1]), Z.new_empty(nodes, Z.shape[1])


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1], output[2])
    ctx.others = len(inputs) - 2


def _backward(ctx: Any, upstream: Tensor | None, *second: Tensor | None) -> tuple[Tensor | None, ...]:
    if any(s is not None for s in second):
        raise RuntimeError(_NO_SECOND)
    first, other = ctx.saved_tensors
    needed = ctx.needs_input_grad[-2 - ctx.others :]
    none: tuple[None, ...] = (None,) * ctx.others
    if upstream is None:
        return None, None, *none
    return upstream * first if needed[0] else None, upstream * other if needed[1] else None, *none


_hinge.register_autograd(_backward, setup_context=_setup)
_pairs.register_autograd(_backward, setup_context=_setup)


class _Refuse(torch.autograd.Function):
    """A gradient as it is, which cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> None:
        raise RuntimeError(_NO_SECOND)


class _Direct(torch.autograd.Function):
    """The operators without the way through PyTorch's dispatcher, which takes longer than a small batch.

    The gradients are handed out as they are, without a copy; who goes backward twice has them computed again.
    """

    @staticmethod
    def forward(ctx: Any, function: Any, options: tuple[Any, ...], Z: Tensor, U: Tensor) -> Tensor:
        value: Tensor
        value, *ctx.gradients = function(Z, U, *options)
        ctx.save_for_backward(Z, U)
        ctx.function, ctx.options = function, options
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        one, two = gradients or ctx.function(*ctx.saved_tensors, *ctx.options)[1:]
        # spared where it can be seen to be 1: PyTorch's threads would spin on beside those of the core
        if upstream.device.type != "cpu" or upstream.item() != 1.0:
            scale = upstream.detach()
            one, two = one.mul_(scale), two.mul_(scale)
        if torch.is_grad_enabled():  # the graph of these is wanted: it ends here
            one, two = _refusing(one), _refusing(two)
        _, _, of_first, of_other = ctx.needs_input_grad
        return None, None, one if of_first else None, two if of_other else None


def _refusing(gradient: Tensor) -> Tensor:
    return _Refuse.apply(gradient.requires_grad_())  # type: ignore[no-any-return, no-untyped-call]


_PLAIN = (Tensor, nn.Parameter)


def _value(operator: Any, function: Any, options: tuple[Any, ...], Z: Tensor, U: Tensor) -> Tensor:
    if type(Z) in _PLAIN and type(U) in _PLAIN and not torch.compiler.is_compiling():
        return _Direct.apply(function, options, Z, U)  # type: ignore[no-any-return, no-untyped-call]
    value: Tensor = operator(Z, U, *options)[0]
    return value


def torch_hinge_loss(
    Z: Tensor,
    U: Tensor,
    y: Tensor,
    costs: Tensor | None,
    margin: float,
    similarity: str,
    violators: str,
    weight: float,
    gradient: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator in PyTorch's own operations, on any device."""
    Z, U = Z.detach(), U.detach()
    cosine = similarity == "cosine"
    if cosine:
        lengths = [torch.linalg.vector_norm(H, dim=1, keepdim=True) for H in (Z, U)]
        z, u = (torch.where(a > 0, H / a, 0) for H, a in zip((Z, U), lengths, strict=True))
        D = -z @ u.T
    else:  # less the mean of U, and less ‖z‖², neither of which changes a difference of distances
        shift = U.mean(0)
        z, u = Z - shift, U - shift
        D = u.square().sum(1) - 2 * z @ u.T
    own = y[:, None]
    v = (margin if costs is None else costs[y]) + D.gather(1, own) - D
    v = v.scatter(1, own, 0).clamp_(min=0)
    if violators == "worst":
        largest, at = v.max(1, keepdim=True)
        v = torch.zeros_like(v).scatter_(1, at, largest)
    value = weight * v.sum()
    if not gradient:
        return value, Z.new_empty(0, Z.shape[1]), Z.new_empty(0, Z.shape[1])
    W = weight * (v > 0).to(Z.dtype)  # -dLoss/dD, whose rows sum to 0
    W.scatter_(1, own, -W.sum(1, keepdim=True))
    P, Q = W @ u, W.T @ z
    if not cosine:
        return value, 2 * P, 2 * (Q - W.sum(0)[:, None] * u)
    grads = [
        torch.where(a > 0, (G - x * (x * G).sum(1, keepdim=True)) / a, 0)
        for G, x, a in zip((P, Q), (z, u), lengths, strict=True)
    ]
    return value, grads[0], grads[1]
