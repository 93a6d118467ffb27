"""Losses whose value and gradients are computed together, as operators of PyTorch.

A loss of two batches A and B is given as ``compute(A, B, gradient, *options)``, which returns the value and
the gradients with respect to A and B (empty where ``gradient`` is False). :class:`ClosedFormLoss` makes an
operator of it that autograd, ``torch.compile``, ``torch.export`` and the transforms of ``torch.func`` know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from fastcca.errors import NumericalError

__all__ = ["ClosedFormLoss", "apply_eagerly", "common_precision", "is_eager", "transformed"]

Compute = Callable[..., tuple[Tensor, Tensor, Tensor]]

_PLAIN = (Tensor, nn.Parameter)


class ClosedFormLoss:
    """The operator ``fastcca::name`` of a function that computes value and gradients.

    ``title`` names the loss in the error of who differentiates it twice: there are no second derivatives.
    """

    def __init__(self, name: str, title: str, compute: Compute) -> None:
        self.compute = compute
        self.no_second = f"{title} has no second derivative: it cannot be differentiated twice"
        self.operator = torch.library.custom_op(f"fastcca::{name}", compute, mutates_args=())
        self.operator.register_fake(_fake)
        self.operator.register_autograd(self._backward, setup_context=_setup)

    def __call__(self, A: Tensor, B: Tensor, *options: Any) -> Tensor:
        """The value, a scalar that can be differentiated with respect to A and B."""
        gradient = torch.is_grad_enabled() and (A.requires_grad or B.requires_grad)
        if torch.compiler.is_compiling() or not is_eager(A, B):
            value: Tensor = self.operator(A, B, gradient, *options)[0]
            return value
        if transformed(A, B):
            return _Value.apply(self.compute, self.no_second, A, B, True, *options)  # type: ignore[no-any-return, no-untyped-call]
        return apply_eagerly(self.compute, self.no_second, A, B, gradient, *options)

    def _backward(
        self, ctx: Any, upstream: Tensor | None, *second: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        if any(s is not None for s in second):
            raise RuntimeError(self.no_second)
        gradients = ctx.saved_tensors
        none: tuple[None, ...] = (None,) * ctx.n_options
        if upstream is None:
            return None, None, *none
        needed = ctx.needs_input_grad[-2 - ctx.n_options :]
        A, B = (upstream * g if wanted else None for g, wanted in zip(gradients, needed, strict=False))
        return A, B, *none


def _fake(A: Tensor, B: Tensor, gradient: bool, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    rows = (A.shape[0], B.shape[0]) if gradient else (0, 0)
    return A.new_empty(()), A.new_empty(rows[0], A.shape[1]), B.new_empty(rows[1], B.shape[1])


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1], output[2])
    ctx.n_options = len(inputs) - 2


# ---- eager mode


def is_eager(A: Tensor, B: Tensor) -> bool:
    """Whether nobody wants to see the operator: no subclass of Tensor, no dispatch mode."""
    if type(A) not in _PLAIN or type(B) not in _PLAIN:
        return False
    return not getattr(torch._C, "_len_torch_dispatch_stack", lambda: 1)()


def apply_eagerly(
    compute: Compute, no_second: str, A: Tensor, B: Tensor, *options: Any, again: bool = True
) -> Tensor:
    """The value without the way through PyTorch's dispatcher, which takes longer than a small batch.

    The gradients are handed out as they are, without a copy; who goes backward twice has them computed again,
    or, where that is not possible (``again=False``), copies of those kept.
    """
    return _Eager.apply(compute, no_second, options, again, A, B)  # type: ignore[no-any-return, no-untyped-call]


class _Eager(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, compute: Compute, no_second: str, options: Any, again: bool, A: Tensor, B: Tensor
    ) -> Tensor:
        value, *ctx.gradients = compute(A, B, *options)
        ctx.save_for_backward(A, B)
        ctx.compute, ctx.no_second, ctx.options, ctx.again = compute, no_second, options, again
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.again:
            gradients, ctx.gradients = ctx.gradients, None
            one, two = gradients or ctx.compute(*ctx.saved_tensors, *ctx.options)[1:]
        else:
            one, two = (g.clone() for g in ctx.gradients)
        if not is_one(upstream):  # PyTorch's threads would spin on beside those of the core
            scale = upstream.detach()
            one, two = one.mul_(scale), two.mul_(scale)
        if torch.is_grad_enabled():  # create_graph=True: the graph of the gradients is wanted, and ends here
            one, two = (_refusing(g, ctx.no_second) for g in (one, two))
        *_, of_first, of_second = ctx.needs_input_grad
        return None, None, None, None, one if of_first else None, two if of_second else None


class _Refuse(torch.autograd.Function):
    """A gradient as it is, which cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, no_second: str, gradient: Tensor) -> Tensor:
        ctx.no_second = no_second
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> None:
        raise RuntimeError(ctx.no_second)


def _refusing(gradient: Tensor, no_second: str) -> Tensor:
    return _Refuse.apply(no_second, gradient.requires_grad_())  # type: ignore[no-any-return, no-untyped-call]


def is_one(upstream: Tensor) -> bool:
    """Whether the value is at hand and 1, as after a plain ``loss.backward()``: a pass that can be spared."""
    if type(upstream) is not Tensor or upstream.device.type != "cpu":
        return False
    try:
        return bool(upstream.item() == 1)
    except RuntimeError:  # under vmap
        return False


# ---- precision


def common_precision(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the wider of their dtypes, float32 at least."""
    dtype = torch.promote_types(torch.promote_types(A.dtype, B.dtype), torch.float32)
    return _widened(A, dtype), _widened(B, dtype)


def _widened(H: Tensor, dtype: torch.dtype) -> Tensor:
    if H.dtype == dtype:
        return H
    # Of half precision a gradient that overflows is a matter of the gradient scaler, which looks for it.
    half = H.dtype.itemsize < 4
    if half or torch.compiler.is_compiling() or not is_eager(H, H) or transformed(H):
        return H.to(dtype)
    return _Widen.apply(H, dtype)  # type: ignore[no-any-return, no-untyped-call]


class _Widen(torch.autograd.Function):
    """A conversion whose gradient is refused where it overflows the narrower dtype."""

    @staticmethod
    def forward(ctx: Any, H: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.narrow = H.dtype
        return H.to(dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        gradient = upstream.to(ctx.narrow)
        if bool(torch.isinf(gradient).any()) and bool(torch.isfinite(upstream).all()):
            dtype = str(ctx.narrow).removeprefix("torch.")
            raise NumericalError(f"the gradient overflows {dtype}: give both batches in one dtype")
        return gradient, None


# ---- torch.func's transforms and forward-mode differentiation


def transformed(*tensors: Tensor) -> bool:
    """Whether a transform of torch.func is at work, or one of the tensors carries a forward-mode tangent."""
    if getattr(torch._C, "_are_functorch_transforms_active", lambda: False)():
        return True
    if getattr(forward_ad, "_current_level", 0) < 0:  # no forward mode
        return False
    return any(forward_ad.unpack_dual(t).tangent is not None for t in tensors)  # type: ignore[no-untyped-call]


class _Value(torch.autograd.Function):
    @staticmethod
    def forward(compute: Compute, no_second: str, *inputs: Any) -> Tensor:
        return compute(*inputs)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.compute, ctx.no_second, *rest = inputs
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
        rows = [_Value.apply(*x) for x in _items(info, in_dims, inputs)]  # type: ignore[no-untyped-call]
        return torch.stack(rows), 0


class _Gradients(torch.autograd.Function):
    """The two gradients, which are not to be differentiated."""

    @staticmethod
    def forward(compute: Compute, no_second: str, *inputs: Any) -> tuple[Tensor, Tensor]:
        _, one, two = compute(*inputs)
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
        pairs = [_Gradients.apply(*x) for x in _items(info, in_dims, inputs)]  # type: ignore[no-untyped-call]
        return tuple(torch.stack(part) for part in zip(*pairs, strict=True)), (0, 0)


def _gradients(ctx: Any) -> tuple[Tensor, Tensor]:
    tensors = iter(ctx.saved_tensors)
    inputs = [next(tensors) if other is None else other[0] for other in ctx.others]
    return _Gradients.apply(ctx.compute, ctx.no_second, *inputs)  # type: ignore[no-any-return, no-untyped-call]


def _items(info: Any, in_dims: tuple[int | None, ...], inputs: tuple[Any, ...]) -> Iterator[list[Any]]:
    """The inputs of each call that vmap stands for."""
    for i in range(info.batch_size):
        yield [x if dim is None else x.select(dim, i) for x, dim in zip(inputs, in_dims, strict=True)]
