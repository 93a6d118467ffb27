"""Losses whose value and gradients are computed together, as operators of PyTorch.

A loss of n tensors, two batches say, is given as ``compute(*tensors, gradient, *options)``, which returns the
value and a gradient of the shape of each tensor (without rows where ``gradient`` is False).
:class:`ClosedFormLoss` makes an operator of it that autograd, ``torch.compile``, ``torch.export`` and the
transforms of ``torch.func`` know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from fastcca.errors import NumericalError

__all__ = ["ClosedFormLoss", "apply_eagerly", "common_precision", "is_eager", "scalar", "transformed"]

Compute = Callable[..., tuple[Tensor, ...]]

_PLAIN = (Tensor, nn.Parameter)


class ClosedFormLoss:
    """The operator ``fastcca::name`` of a function that computes value and gradients.

    ``title`` names the loss in the error of who differentiates it twice: there are no second derivatives.
    """

    def __init__(self, name: str, title: str, compute: Compute, n_tensors: int = 2) -> None:
        self.compute = compute
        self.n_tensors = n_tensors
        self.no_second = f"{title} has no second derivative: it cannot be differentiated twice"
        self.operator = torch.library.custom_op(f"fastcca::{name}", compute, mutates_args=())
        self.operator.register_fake(self._fake)
        self.operator.register_autograd(self._backward, setup_context=_setup)

    def __call__(self, *arguments: Any) -> Tensor:
        """The value, a scalar that can be differentiated with respect to the tensors, the first arguments."""
        tensors, options = arguments[: self.n_tensors], arguments[self.n_tensors :]
        gradient = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        if torch.compiler.is_compiling() or not is_eager(*tensors):
            value: Tensor = self.operator(*tensors, gradient, *options)[0]
            return value
        if transformed(*tensors):
            n = self.n_tensors
            return _Value.apply(self.compute, self.no_second, n, *tensors, True, *options)  # type: ignore[no-any-return, no-untyped-call]
        return apply_eagerly(self.compute, self.no_second, tensors, gradient, *options)

    def _backward(
        self, ctx: Any, upstream: Tensor | None, *second: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        if any(s is not None for s in second):
            raise RuntimeError(self.no_second)
        gradients = ctx.saved_tensors
        none: tuple[None, ...] = (None,) * ctx.n_options
        if upstream is None:
            return (None,) * len(gradients) + none
        needed = ctx.needs_input_grad[-len(gradients) - ctx.n_options :]
        scaled = (upstream * g if wanted else None for g, wanted in zip(gradients, needed, strict=False))
        return *scaled, *none

    def _fake(self, *arguments: Any) -> tuple[Tensor, ...]:
        tensors, gradient = arguments[: self.n_tensors], arguments[self.n_tensors]
        like = [t.new_empty(t.shape if gradient else (0, *t.shape[1:])) for t in tensors]
        return tensors[0].new_empty(()), *like


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*output[1:])
    ctx.n_options = len(inputs) - len(output) + 1


# ---- eager mode


def is_eager(*tensors: Tensor) -> bool:
    """Whether nobody wants to see the operator: no subclass of Tensor, no dispatch mode."""
    if any(type(t) not in _PLAIN for t in tensors):
        return False
    return not getattr(torch._C, "_len_torch_dispatch_stack", lambda: 1)()


def apply_eagerly(
    compute: Compute, no_second: str, tensors: tuple[Tensor, ...], *options: Any, again: bool = True
) -> Tensor:
    """The value without the way through PyTorch's dispatcher, which takes longer than a small batch.

    The gradients are handed out as they are, without a copy; who goes backward twice has them computed again,
    or, where that is not possible (``again=False``), copies of those kept.
    """
    return _Eager.apply(compute, no_second, options, again, *tensors)  # type: ignore[no-any-return, no-untyped-call]


class _Eager(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, compute: Compute, no_second: str, options: Any, again: bool, *tensors: Tensor
    ) -> Tensor:
        value, *ctx.gradients = compute(*tensors, *options)
        ctx.save_for_backward(*tensors)
        ctx.compute, ctx.no_second, ctx.options, ctx.again = compute, no_second, options, again
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.again:
            gradients, ctx.gradients = ctx.gradients, None
            gradients = gradients or ctx.compute(*ctx.saved_tensors, *ctx.options)[1:]
        else:
            gradients = [g.clone() for g in ctx.gradients]
        if not is_one(upstream):  # PyTorch's threads would spin on beside those of the core
            gradients = [g.mul_(upstream.detach()) for g in gradients]
        if torch.is_grad_enabled():  # create_graph=True: the graph of the gradients is wanted, and ends here
            gradients = [_refusing(g, ctx.no_second) for g in gradients]
        needed = ctx.needs_input_grad[4:]
        wanted = (g if w else None for g, w in zip(gradients, needed, strict=True))
        return None, None, None, None, *wanted


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


def scalar(value: float, dtype: torch.dtype, overflow: str) -> Tensor:
    """The value of a loss, summed in double; where ``dtype`` cannot hold it, NumericalError of this text."""
    if abs(value) > torch.finfo(dtype).max:
        raise NumericalError(overflow)
    return torch.scalar_tensor(value, dtype=dtype)


def common_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All in the widest of their dtypes, float32 at least."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return tuple(_widened(tensor, dtype) for tensor in tensors)


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
    def forward(compute: Compute, no_second: str, n_tensors: int, *inputs: Any) -> Tensor:
        return compute(*inputs)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.compute, ctx.no_second, ctx.n_tensors, *rest = inputs
        tensors = [x for x in rest if isinstance(x, Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.others = [None if isinstance(x, Tensor) else (x,) for x in rest]

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients = [upstream * g for g in _gradients(ctx)]
        return None, None, None, *gradients, *(None,) * (len(ctx.others) - ctx.n_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        # Σ ⟨gradient, tangent⟩
        along = zip(_gradients(ctx), tangents[3 : 3 + ctx.n_tensors], strict=True)
        parts = [(g * t).sum() for g, t in along if t is not None]
        total: Tensor = sum(parts[1:], parts[0])
        return total

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        rows = [_Value.apply(*x) for x in _items(info, in_dims, inputs)]  # type: ignore[no-untyped-call]
        return torch.stack(rows), 0


class _Gradients(torch.autograd.Function):
    """The gradients, which are not to be differentiated."""

    @staticmethod
    def forward(compute: Compute, no_second: str, *inputs: Any) -> tuple[Tensor, ...]:
        return tuple(compute(*inputs)[1:])

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
        items = [_Gradients.apply(*x) for x in _items(info, in_dims, inputs)]  # type: ignore[no-untyped-call]
        stacked = tuple(torch.stack(part) for part in zip(*items, strict=True))
        return stacked, (0,) * len(stacked)


def _gradients(ctx: Any) -> tuple[Tensor, ...]:
    tensors = iter(ctx.saved_tensors)
    inputs = [next(tensors) if other is None else other[0] for other in ctx.others]
    return _Gradients.apply(ctx.compute, ctx.no_second, *inputs)  # type: ignore[no-any-return, no-untyped-call]


def _items(info: Any, in_dims: tuple[int | None, ...], inputs: tuple[Any, ...]) -> Iterator[list[Any]]:
    """The inputs of each call that vmap stands for."""
    for i in range(info.batch_size):
        yield [x if dim is None else x.select(dim, i) for x, dim in zip(inputs, in_dims, strict=True)]
