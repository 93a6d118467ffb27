"""Losses given by value and gradients, under torch.func's transforms and forward-mode differentiation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["transformed", "value_under_transforms"]


def transformed(*tensors: Tensor) -> bool:
    """Whether a transform of torch.func is at work, or one of the tensors carries a forward-mode tangent."""
    if getattr(torch._C, "_are_functorch_transforms_active", lambda: False)():
        return True
    if getattr(forward_ad, "_current_level", 0) < 0:  # no forward mode
        return False
    return any(forward_ad.unpack_dual(t).tangent is not None for t in tensors)  # type: ignore[no-untyped-call]


def value_under_transforms(
    function: Any, options: tuple[Any, ...], A: Tensor, B: Tensor, no_second: str
) -> Tensor:
    """The first of the value and gradients ``function(A, B, *options)``, for any transform to differentiate.

    ``no_second`` are the words of the error where the gradients themselves would be differentiated.
    """
    return _Value.apply(function, no_second, A, B, *options)  # type: ignore[no-any-return, no-untyped-call]


class _Value(torch.autograd.Function):
    @staticmethod
    def forward(function: Any, no_second: str, *inputs: Any) -> Tensor:
        value: Tensor = function(*inputs)[0]
        return value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.function, ctx.no_second, *rest = inputs
        tensors = [x for x in rest if isinstance(x, Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.others = [None if isinstance(x, Tensor) else (x,) for x in rest]

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        one, two = _gradients(ctx)
        return None, None, upstream * one, upstream * two, *(None,) * (len(ctx.others) - 2)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        # Σ ⟨gradient, tangent⟩
        parts = [(g * t).sum() for g, t in zip(_gradients(ctx), tangents[2:4], strict=True) if t is not None]
        total: Tensor = sum(parts[1:], parts[0])
        return total

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        rows = [_Value.apply(*_of_batch(i, inputs, in_dims)) for i in range(info.batch_size)]  # type: ignore[no-untyped-call]
        return torch.stack(rows), 0


class _Gradients(torch.autograd.Function):
    """The two gradients, which are not to be differentiated."""

    @staticmethod
    def forward(function: Any, no_second: str, *inputs: Any) -> tuple[Tensor, Tensor]:
        _, one, two = function(*inputs)
        return one, two

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.no_second = inputs[1]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        raise RuntimeError(ctx.no_second)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        raise RuntimeError(ctx.no_second)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        pairs = [_Gradients.apply(*_of_batch(i, inputs, in_dims)) for i in range(info.batch_size)]  # type: ignore[no-untyped-call]
        return tuple(torch.stack(part) for part in zip(*pairs, strict=True)), (0, 0)


def _gradients(ctx: Any) -> tuple[Tensor, Tensor]:
    tensors = iter(ctx.saved_tensors)
    inputs = [next(tensors) if other is None else other[0] for other in ctx.others]
    return _Gradients.apply(ctx.function, ctx.no_second, *inputs)  # type: ignore[no-any-return, no-untyped-call]


def _of_batch(i: int, inputs: tuple[Any, ...], in_dims: tuple[int | None, ...]) -> list[Any]:
    return [x if dim is None else x.select(dim, i) for x, dim in zip(inputs, in_dims, strict=True)]
