"""The hinge losses as operators of PyTorch, and the shorter way to them in eager mode."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from fastcca import _core
from fastcca.deep._eager import is_one
from fastcca.deep._transforms import transformed, value_under_transforms

__all__ = [
    "forward",
    "forward_pairs",
    "hinge_operator",
    "operator_value",
    "other_groups",
    "pair_operator",
    "sample_losses",
    "torch_hinge_loss",
]

_NO_SECOND = "the hinge loss has no second derivative: it cannot be differentiated twice"


def forward(
    Z: Tensor,
    U: Tensor,
    y: Tensor,
    costs: Tensor | None,
    margin: float,
    similarity: str,
    violators: str,
    weight: float,
    gradient: bool,
    weights: Tensor | None = None,
    negatives: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Value and both gradients (empty where none is asked for), the samples' losses times ``weight``.

    ``weights`` (B,) take the place of ``weight``; ``negatives`` (classes, C) says which nodes are negative
    for samples of a class, all but its own by default. ``violators`` may be "softmax" too.
    """
    if not _runs_in_core(Z):
        return torch_hinge_loss(
            Z, U, y, costs, margin, similarity, violators, weight, gradient, weights, negatives
        )
    table = None
    if negatives is not None:
        if violators in ("sum", "worst", "rank"):  # what costs -inf violates no margin
            costs = (Z.new_tensor(margin) if costs is None else costs).where(negatives, -math.inf)
        else:
            table = _table(negatives)
    value, grad_Z, grad_U, _ = _core.hinge_loss(
        Z.detach().numpy(),
        U.detach().numpy(),
        y.numpy(),
        None if weights is None else weights.double().contiguous().numpy(),
        weight,
        margin,
        None if costs is None else costs.numpy(),
        table,
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


def _runs_in_core(Z: Tensor) -> bool:
    return Z.device.type == "cpu"


def _table(negatives: Tensor) -> tuple[Any, Any, Any, Any]:
    """One pair a class, its own node and its negative ones: a constraint table of the core."""
    n_classes = len(negatives)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), negatives.sum(1).cumsum(0)])
    own = torch.arange(n_classes + 1)
    return own.numpy(), own[:-1].numpy(), starts.numpy(), negatives.nonzero()[:, 1].contiguous().numpy()


def forward_pairs(
    Z1: Tensor,
    Z2: Tensor,
    margin: float,
    similarity: str,
    violators: str,
    weight: float,
    gradient: bool,
    weights: Tensor | None = None,
    groups: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Both ways; what the one says of Z2 is added to what the other says of it."""
    options = (margin, similarity, violators, weight, gradient, weights, other_groups(groups))
    y = torch.arange(len(Z1), device=Z1.device)
    value, grad1, grad2 = forward(Z1, Z2, y, None, *options)
    back, back2, back1 = forward(Z2, Z1, y, None, *options)
    return value + back, grad1.add_(back1), grad2.add_(back2)


def other_groups(groups: Tensor | None) -> Tensor | None:
    """Which rows are of another group, (B, B)."""
    return None if groups is None else groups[:, None] != groups


hinge_operator = torch.library.custom_op("fastcca::hinge_embedding_loss", forward, mutates_args=())
pair_operator = torch.library.custom_op("fastcca::pair_embedding_loss", forward_pairs, mutates_args=())


@hinge_operator.register_fake
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
    weights: Tensor | None = None,
    negatives: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    return _fake(Z, U, gradient)


@pair_operator.register_fake
def _(
    Z1: Tensor,
    Z2: Tensor,
    margin: float,
    similarity: str,
    violators: str,
    weight: float,
    gradient: bool,
    weights: Tensor | None = None,
    groups: Tensor | None = None,
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


hinge_operator.register_autograd(_backward, setup_context=_setup)
pair_operator.register_autograd(_backward, setup_context=_setup)


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
        if not is_one(upstream):  # PyTorch's threads would spin on beside those of the core
            scale = upstream.detach()
            one, two = one.mul_(scale), two.mul_(scale)
        if torch.is_grad_enabled():  # the graph of these is wanted: it ends here
            one, two = _refusing(one), _refusing(two)
        _, _, of_first, of_other = ctx.needs_input_grad
        return None, None, one if of_first else None, two if of_other else None


def _refusing(gradient: Tensor) -> Tensor:
    return _Refuse.apply(gradient.requires_grad_())  # type: ignore[no-any-return, no-untyped-call]


_PLAIN = (Tensor, nn.Parameter)


def operator_value(operator: Any, function: Any, options: dict[str, Any], Z: Tensor, U: Tensor) -> Tensor:
    """The scalar, by the shortest way that serves."""
    if type(Z) in _PLAIN and type(U) in _PLAIN and not torch.compiler.is_compiling():
        if transformed(Z, U):
            values = tuple({**options, "gradient": True}.values())
            return value_under_transforms(function, values, Z, U, _NO_SECOND)
        return _Direct.apply(function, tuple(options.values()), Z, U)  # type: ignore[no-any-return, no-untyped-call]
    value: Tensor = operator(Z, U, *options.values())[0]
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
    weights: Tensor | None = None,
    negatives: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator in PyTorch's own operations, on any device, in the precision of its arguments."""
    with torch.autocast(Z.device.type, enabled=False):
        Z, U = Z.detach(), U.detach()
        z, u, lengths, D = _distances(Z, U, similarity)
        values, W = _forms(D, y, margin if costs is None else costs[y], violators, negatives)
        scale = Z.new_full((len(Z),), weight) if weights is None else weights.to(Z.dtype)
        value = (scale * values).sum()
        if not gradient:
            return value, Z.new_empty(0, Z.shape[1]), Z.new_empty(0, Z.shape[1])
        W = W * scale[:, None]
        P, Q = W @ u, W.T @ z
        if lengths is None:
            return value, 2 * P, 2 * (Q - W.sum(0)[:, None] * u)
        grads = [
            torch.where(a > 0, (G - x * (x * G).sum(1, keepdim=True)) / a, 0)
            for G, x, a in zip((P, Q), (z, u), lengths, strict=True)
        ]
        return value, grads[0], grads[1]


def sample_losses(
    Z: Tensor,
    U: Tensor,
    y: Tensor,
    costs: Tensor | None,
    margin: float,
    similarity: str,
    violators: str,
    negatives: Tensor | None = None,
) -> Tensor:
    """The loss of each sample (B,), differentiated by PyTorch itself."""
    with torch.autocast(Z.device.type, enabled=False):
        D = _distances(Z, U, similarity)[3]
        delta: Any = margin if costs is None else costs[y]
        return _forms(D, y, delta, violators, negatives)[0]


def _distances(Z: Tensor, U: Tensor, similarity: str) -> tuple[Tensor, Tensor, list[Tensor] | None, Tensor]:
    """z and u as D is made of them, their lengths for the cosine, and D up to a term of the row."""
    if similarity == "cosine":
        lengths = [torch.linalg.vector_norm(H, dim=1, keepdim=True) for H in (Z, U)]
        z, u = (
            torch.where(a > 0, H / torch.where(a > 0, a, 1), 0) for H, a in zip((Z, U), lengths, strict=True)
        )
        return z, u, lengths, -z @ u.T
    # less the mean of U, and less ‖z‖², neither of which changes a difference of distances
    shift = U.detach().mean(0)
    z, u = Z - shift, U - shift
    return z, u, None, u.square().sum(1) - 2 * z @ u.T


def _forms(
    D: Tensor, y: Tensor, delta: Any, violators: str, negatives: Tensor | None
) -> tuple[Tensor, Tensor]:
    """From D (B, C) the samples' losses (B,) and W (B, C), their derivatives by -D, whose rows sum to 0."""
    own = y[:, None]
    e = D.gather(1, own) - D
    if negatives is None:
        negative = torch.ones_like(e, dtype=torch.bool).scatter(1, own, False)
    else:
        negative = negatives[y].scatter(1, own, False)
    if violators == "softmax":
        # log(1 + Σ_c exp(e_c)), the 1 being that of e_y = 0
        e = e.where(negative.scatter(1, own, True), -math.inf).scatter(1, own, 0)
        W = torch.softmax(e, 1)
        return torch.logsumexp(e, 1), _balanced(W, own)
    v = delta + e
    positive = v.clamp(min=0).where(negative, 0)
    if violators == "sum":
        W = (positive > 0).to(D.dtype)
    elif violators == "rank":
        # L(r)/r, L(r) = 1 + 1/2 + … + 1/r
        steps = 1 / torch.arange(1, D.shape[1] + 1, dtype=D.dtype, device=D.device)
        weight_of = torch.cat([steps.new_zeros(1), steps.cumsum(0) * steps])
        mask = positive > 0
        W = mask * weight_of[mask.sum(1, keepdim=True)]
    else:
        if violators == "semihard":
            farther = negative & (e < 0)
            hard = v.where(farther, -math.inf)
            easy = v.where(negative, math.inf)
            at = torch.where(farther.any(1, keepdim=True), hard.argmax(1, True), easy.argmin(1, True))
        else:
            at = positive.argmax(1, True)
        W = torch.zeros_like(D).scatter(1, at, (positive.gather(1, at) > 0).to(D.dtype))
    return (W * positive).sum(1), _balanced(W, own)


def _balanced(W: Tensor, own: Tensor) -> Tensor:
    """W with the entry of the own node such that each row sums to 0."""
    W = W.scatter(1, own, 0)
    return W.scatter(1, own, -W.sum(1, keepdim=True))
