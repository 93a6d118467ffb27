"""Encoders: fully connected networks with an activation of choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fastcca.deep.activations import ACTIVATIONS

__all__ = ["MLP", "GaussianNoise"]


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
        Share of hidden units dropped while training.

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
