"""Networks: the non-saturating sigmoid of Andrew et al., fully connected encoders, modes of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = [
    "MLP",
    "GaussianNoise",
    "NonSaturatingSigmoid",
    "TrainedModule",
    "activation_of",
    "evaluation",
    "trained_parameters",
]


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
        if getattr(torch.compiler, "is_exporting", lambda: False)():
            # Cardano's form, by operators that ONNX has too, in float64 as digits of it cancel:
            # |s| = w - 1/w, w = (|a| + sqrt(1 + a²))^(1/3), a = 3x/2
            a = 1.5 * x.double().abs()
            w = (a + (a * a + 1).sqrt()).pow(1 / 3)
            return ((w - 1 / w) * x.double().sign()).to(x.dtype)
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


class GaussianNoise(nn.Module):
    """Adds independent noise of standard deviation ``std`` while training, nothing in evaluation.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import GaussianNoise
    >>> GaussianNoise(0.5).eval()(torch.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        if not std >= 0:
            raise ValueError(f"std must not be negative, got {std!r}")
        self.std = float(std)

    def extra_repr(self) -> str:
        return f"std={self.std}"

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.std == 0:
            return x
        return torch.add(x, torch.randn_like(x), alpha=self.std)


class MLP(nn.Sequential):
    """A fully connected network: hidden layers with an activation, a linear output layer.

    Parameters
    ----------
    n_inputs : int
        Width of the input.
    widths : sequence of int
        Widths of the hidden layers, the output's last.
    activation : str or callable
        "nonsaturating" (Andrew et al.), "relu", "gelu", "silu", "leaky_relu", "sigmoid", "tanh", "identity",
        or anything that returns a module when called.
    input_noise : float
        Standard deviation of Gaussian noise on the inputs while training.
    dropout : float
        Fraction of hidden units dropped while training.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import MLP
    >>> MLP(8, [16, 3], activation="nonsaturating")(torch.zeros(2, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        n_inputs: int,
        widths: Sequence[int],
        activation: str | Callable[[], nn.Module] = "relu",
        input_noise: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        sizes = [int(n_inputs), *(int(w) for w in widths)]
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"n_inputs and widths must be positive, got {n_inputs!r} and {list(widths)!r}")
        make = activation_of(activation)
        layers: list[nn.Module] = [GaussianNoise(input_noise)] if input_noise else []
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            linear = nn.Linear(n_in, n_out)
            # Variances are kept from layer to layer (He et al., 2015); no unit starts with an offset.
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
            layers.append(linear)
            if i < len(sizes) - 2:
                layers.append(make())
                if dropout:
                    layers.append(nn.Dropout(dropout))
        super().__init__(*layers)
        self.n_inputs, self.n_outputs, self.activation = sizes[0], sizes[-1], activation

    def linear_layers(self) -> list[nn.Linear]:
        return [layer for layer in self if isinstance(layer, nn.Linear)]


def activation_of(activation: str | Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The maker of an activation, by name or as it is."""
    if callable(activation):
        return activation
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)} or a callable, got {activation!r}")
    return ACTIVATIONS[activation]


def layer_widths(hidden: Any) -> list[int] | None:
    """The widths of hidden layers, None for what is none."""
    try:
        widths = [int(w) for w in hidden]
    except (TypeError, ValueError):
        return None
    return None if any(w < 1 for w in widths) else widths


class TrainedModule(nn.Module):
    """Modules that are in evaluation mode when :meth:`keep_modes` is called stay in it while training."""

    def keep_modes(self) -> None:
        self.frozen = [m for m in self.modules() if not m.training and m is not self]

    def train(self, mode: bool = True) -> TrainedModule:
        super().train(mode)
        for module in getattr(self, "frozen", ()):
            module.training = False
        return self


@contextmanager
def evaluation(*modules: nn.Module) -> Iterator[None]:
    """The modules in evaluation mode, and all parts of them in their own modes afterwards."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def trained_parameters(networks: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    parameters = [p for p in networks.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("there is nothing to train: no parameter of the networks has requires_grad=True")
    return parameters
