"""Layer-wise pretraining by denoising autoencoders with tied weights (Andrew et al., section 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fastcca._arguments.parameters import LEARNING_RATE, NOT_NEGATIVE, POSITIVE_INTEGER
from fastcca.deep._atomic_fit import AtomicModule
from fastcca.deep._training import minimize, rows_like
from fastcca.deep.networks import activation_of
from fastcca.errors import NumericalError

__all__ = ["DenoisingAutoencoder"]


class DenoisingAutoencoder(AtomicModule):
    """A stack of denoising autoencoders with tied weights, trained one layer after the other.

    Each layer sees inputs with Gaussian noise and is trained to undo it: with s the activation,

        mean over the rows of ||W' s(W (x + noise) + b) - x||² + weight_decay (||W||² + ||b||²).

    Parameters
    ----------
    n_inputs : int
        Width of the input, which should be centred and of variances near 1.
    widths : sequence of int
        Widths of the layers.
    activation : str or callable
        As for :class:`MLP`.
    noise : float
        Standard deviation of the noise, relative to that of the layer's inputs.
    weight_decay : float
        Weight of the quadratic penalty.

    References
    ----------
    Vincent, Larochelle, Bengio & Manzagol, "Extracting and composing robust features with denoising
    autoencoders", ICML 2008. Andrew, Arora, Bilmes & Livescu, "Deep canonical correlation analysis",
    ICML 2013.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import DenoisingAutoencoder
    >>> _ = torch.manual_seed(0)
    >>> X = torch.randn(200, 2) @ torch.randn(2, 6)
    >>> model = DenoisingAutoencoder(6, [8], noise=0.1).fit(X, max_iter=30)
    >>> bool((model(X) - X).square().mean() < 0.1 * X.square().mean())
    True
    """

    def __init__(
        self,
        n_inputs: int,
        widths: Sequence[int],
        activation: str | Callable[[], nn.Module] = "nonsaturating",
        noise: float = 0.3,
        weight_decay: float = 1e-4,
    ) -> None:
        super().__init__()
        POSITIVE_INTEGER("n_inputs", n_inputs)
        if not isinstance(widths, (Sequence, np.ndarray)) or isinstance(widths, str) or not len(widths):
            raise ValueError(f"widths must be those of at least one layer, got {widths!r}")
        for width in widths:
            POSITIVE_INTEGER("each of widths", width)
        NOT_NEGATIVE("noise", noise)
        NOT_NEGATIVE("weight_decay", weight_decay)
        layers = [nn.Linear(a, b) for a, b in pairwise([n_inputs, *widths])]
        self.layers = nn.ModuleList(layers)
        self.activation = activation_of(activation)()
        self.noise = noise
        self.weight_decay = weight_decay
        for layer in layers:
            # W'W near the identity on the layer's row space: a reconstruction from the start.
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def linear_layers(self) -> list[nn.Linear]:
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def encode(self, x: Tensor) -> Tensor:
        """The last layer's outputs."""
        for layer in self.layers:
            x = self.activation(layer(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction through all layers and back."""
        x = self.encode(x)
        for layer in reversed(self.linear_layers()):
            x = x @ layer.weight
        return x

    def fit(
        self,
        X: Any,
        optimizer: Literal["lbfgs", "adam"] = "lbfgs",
        max_iter: int = 50,
        n_epochs: int = 5,
        batch_size: int = 500,
        learning_rate: float = 1e-3,
        chunk: int = 4096,
        callback: Callable[[int, int, float], None] | None = None,
    ) -> DenoisingAutoencoder:
        """Train layer after layer.

        Parameters
        ----------
        X : array or tensor of shape (n, n_inputs)
            Converted to the dtype and device of the weights.
        optimizer : {"lbfgs", "adam"}
            "lbfgs": ``max_iter`` iterations on all rows, the noise drawn once. "adam": ``n_epochs`` passes in
            batches of ``batch_size`` at ``learning_rate``, fresh noise for each; for large data.
        max_iter, n_epochs, batch_size, learning_rate
            See ``optimizer``.
        chunk : int
            Rows whose graph is held at once by "lbfgs".
        callback : callable, optional
            Called with (layer, iteration or epoch, loss) after each.

        Returns
        -------
        DenoisingAutoencoder
            Itself.

        Raises
        ------
        ValueError
            For arguments out of range, data without rows, of another width, with NaN or infinity.
        fastcca.errors.NumericalError
            If the loss is not finite.
        """
        if optimizer not in ("lbfgs", "adam"):
            raise ValueError(f"optimizer must be 'lbfgs' or 'adam', got {optimizer!r}")
        counts = {"max_iter": max_iter, "n_epochs": n_epochs, "batch_size": batch_size, "chunk": chunk}
        for name, value in counts.items():
            POSITIVE_INTEGER(name, value)
        LEARNING_RATE("learning_rate", learning_rate)
        x = rows_like(self.linear_layers()[0].weight, X)
        for number, layer in enumerate(self.linear_layers()):
            std = self.noise * float(x.var(dim=0, correction=0).mean().sqrt())
            if optimizer == "lbfgs":
                losses = self._lbfgs(layer, x, std, max_iter, chunk)
            else:
                losses = self._adam(layer, x, std, n_epochs, batch_size, learning_rate)
            for i, loss in enumerate(losses):
                if not np.isfinite(loss):
                    raise NumericalError(
                        f"the loss of layer {number} is not finite after iteration {i + 1}; "
                        "scale the data to variances near 1 or lower the learning rate"
                    )
                if callback is not None:
                    callback(number, i + 1, loss)
            if number + 1 < len(self.layers):
                with torch.no_grad():
                    x = torch.cat([self.activation(layer(part)) for part in torch.split(x, chunk)])
        return self

    def loss(self, layer: nn.Linear, x: Tensor, noise: Tensor) -> Tensor:
        """Sum over the rows of the squared error of undoing the noise."""
        error: Tensor = self.activation(layer(x + noise)) @ layer.weight - x
        return error.square().sum()

    def _penalty(self, layer: nn.Linear) -> Tensor:
        return self.weight_decay * (layer.weight.square().sum() + layer.bias.square().sum())

    def _lbfgs(self, layer: nn.Linear, x: Tensor, std: float, max_iter: int, chunk: int) -> Any:
        # One draw of the noise for all evaluations, from a seed per chunk rather than kept.
        seed = int(torch.randint(2**62, ()).item())
        generator = torch.Generator(device=x.device)

        def evaluate() -> float:
            total = 0.0
            for i, part in enumerate(torch.split(x, chunk)):
                generator.manual_seed(seed + i)
                noise = torch.randn(part.shape, generator=generator, device=x.device, dtype=x.dtype) * std
                error = self.loss(layer, part, noise) / len(x)
                error.backward()  # type: ignore[no-untyped-call]
                total += float(error.detach())
            decay = self._penalty(layer)
            decay.backward()  # type: ignore[no-untyped-call]
            return total + float(decay.detach())

        return minimize(list(layer.parameters()), evaluate, max_iter)

    def _adam(
        self, layer: nn.Linear, x: Tensor, std: float, n_epochs: int, batch_size: int, learning_rate: float
    ) -> Any:
        optimizer = torch.optim.Adam(layer.parameters(), lr=learning_rate)
        for _ in range(n_epochs):
            total = 0.0
            for index in torch.split(torch.randperm(len(x)), batch_size):
                part = x[index.to(x.device)]
                error = self.loss(layer, part, std * torch.randn_like(part)) / len(part)
                optimizer.zero_grad(set_to_none=True)
                (error + self._penalty(layer)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += float(error.detach()) * len(part) / len(x)
            yield total
