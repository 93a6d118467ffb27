"""The non-saturating sigmoid of Andrew et al., and activations by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["NonSaturatingSigmoid"]


class NonSaturatingSigmoid(nn.Module):
    """The inverse of g(y) = y³/3 + y: like a sigmoid near 0, growing as the cube root far out.

    Computed in closed form, s(x) = 2 sinh(asinh(3x/2) / 3), with the derivative s'(x) = 1 / (s(x)² + 1).

    References
    ----------
    Andrew, Arora, Bilmes & Livescu, "Deep canonical correlation analysis", ICML 2013.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import NonSaturatingSigmoid
    >>> y = NonSaturatingSigmoid()(torch.tensor([0.0, 4 / 3, -12.0]))
    >>> [round(v, 4) for v in y.tolist()], [round(v, 4) for v in (y**3 / 3 + y).tolist()]
    ([0.0, 1.0, -3.0], [0.0, 1.3333, -12.0])
    """

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, _Inverse.apply(x))  # type: ignore[no-untyped-call]


class _Inverse(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        # With a = 3x/2, asinh(a) = 2 asinh(b) where b = a / 2q and q = sqrt((1 + sqrt(1 + a²)) / 2), and
        # asinh(b) = log1p(b + b · b / (1 + q)) for b >= 0: accurate near 0, nothing in it overflows, and much
        # faster than torch.asinh on the CPU. The closed form is odd.
        if x.dtype.itemsize < 4:  # too few digits for the steps between
            return _Inverse.forward(x.float()).to(x.dtype)
        q = torch.hypot(x, x.new_full((), 2 / 3)).mul_(0.75).add_(0.5).sqrt_()
        q.clamp_(max=torch.finfo(x.dtype).max)  # of an infinite x: no infinity over infinity
        b = x.abs().mul_(0.75).div_(q)
        y = torch.div(b, q.add_(1), out=q)
        y = torch.addcmul(b, b, y, out=y).log1p_().mul_(2 / 3).sinh_().mul_(2)
        return torch.copysign(y, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        (s,) = ctx.saved_tensors
        return cast(Tensor, upstream / (s * s + 1))


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "nonsaturating": NonSaturatingSigmoid,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}
