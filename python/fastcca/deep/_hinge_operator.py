"""The hinge losses as operators of PyTorch, and the shorter way to them in eager mode."""

from __future__ import annotations

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
    "pair_operator",
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


def forward_pairs(
    Z1: Tensor, Z2: Tensor, margin: float, similarity: str, violators: str, weight: float, gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Both ways; what the one says of Z2 is added to what the other says of it."""
    options = (margin, similarity, violators, weight, gradient)
    y = torch.arange(len(Z1), device=Z1.device)
    value, grad1, grad2 = forward(Z1, Z2, y, None, *options)
    back, back2, back1 = forward(Z2, Z1, y, None, *options)
    return value + back, grad1.add_(back1), grad2.add_(back2)


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
) -> tuple[Tensor, Tensor, Tensor]:
    return _fake(Z, U, gradient)


@pair_operator.register_fake
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


def operator_value(operator: Any, function: Any, options: tuple[Any, ...], Z: Tensor, U: Tensor) -> Tensor:
    if type(Z) in _PLAIN and type(U) in _PLAIN and not torch.compiler.is_compiling():
        if transformed(Z, U):
            return value_under_transforms(function, (*options[:-1], True), Z, U, _NO_SECOND)
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
    """The operator in PyTorch's own operations, on any device, in the precision of its arguments."""
    with torch.autocast(Z.device.type, enabled=False):
        return _torch_hinge_loss(Z, U, y, costs, margin, similarity, violators, weight, gradient)


def _torch_hinge_loss(
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
