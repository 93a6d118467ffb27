"""Sparse restricted Boltzmann machines, trained by contrastive divergence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from fastcca._arguments.parameters import (
    FRACTION,
    LEARNING_RATE,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_INTEGER,
    number,
)
from fastcca.deep._atomic_fit import AtomicModule
from fastcca.deep._training import rows_like
from fastcca.errors import NumericalError

__all__ = ["RBM"]


class RBM(AtomicModule):
    """A restricted Boltzmann machine with Gaussian or binary visible and binary hidden units.

    With visible v, hidden h, weights W, biases c of the visible and b of the hidden units, the energy is

        E(v, h) = v'v / (2 s²) - (c'v + b'h + h'W v) / s²,

    the first term being absent for binary units,

    so that p(h_j = 1 | v) = sigmoid((b_j + w_j'v) / s²), and v given h is Gaussian of mean c + W'h and
    variance s², or binary of probabilities sigmoid((c + W'h) / s²).

    Parameters
    ----------
    n_visible, n_hidden : int
        Numbers of units.
    visible : {"gaussian", "bernoulli"}
        "gaussian" for centred data of variances near 1, "bernoulli" for numbers in [0, 1].
    sigma : float
        The s above.
    sparsity : float
        The fraction of the rows for which a hidden unit should be on.
    sparsity_cost : float
        Weight of the penalty sum_j (sparsity - mean over the batch of p(h_j | v))²; 0 for none.
    weight_decay : float
        Weight of the penalty ||W||² / 2.

    References
    ----------
    Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation, 2002.
    Lee, Ekanadham & Ng, "Sparse deep belief net model for visual area V2", NIPS 2007. Ngiam, Khosla, Kim,
    Nam, Lee & Ng, "Multimodal deep learning", ICML 2011.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import RBM
    >>> _ = torch.manual_seed(0)
    >>> X = torch.bernoulli(torch.full((500, 1), 0.5)).expand(500, 6)  # all six are on or none is
    >>> model = RBM(6, 4, "bernoulli", sparsity_cost=0.0).fit(X, n_epochs=100, learning_rate=0.1)
    >>> on, off = model.free_energy(torch.tensor([[1.0] * 6, [1, 0, 1, 0, 1, 0]]))
    >>> bool(on < off - 2)  # at least e² times as probable
    True
    """

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        visible: Literal["gaussian", "bernoulli"] | str = "gaussian",
        sigma: float = 1.0,
        sparsity: float = 0.05,
        sparsity_cost: float = 1.0,
        weight_decay: float = 1e-4,
    ) -> None:
        super().__init__()
        POSITIVE_INTEGER("n_visible", n_visible)
        POSITIVE_INTEGER("n_hidden", n_hidden)
        if visible not in ("gaussian", "bernoulli"):
            raise ValueError(f"visible must be 'gaussian' or 'bernoulli', got {visible!r}")
        POSITIVE("sigma", sigma)
        number(above=0, below=1)("sparsity", sparsity)
        NOT_NEGATIVE("sparsity_cost", sparsity_cost)
        NOT_NEGATIVE("weight_decay", weight_decay)
        self.gaussian = visible == "gaussian"
        self.sigma = float(sigma)
        self.sparsity, self.sparsity_cost, self.weight_decay = sparsity, sparsity_cost, weight_decay
        # Small random weights: no unit is on or off for all rows at the start.
        self.weight = nn.Parameter(torch.randn(n_hidden, n_visible) * min(0.01, n_visible**-0.5))
        self.visible_bias = nn.Parameter(torch.zeros(n_visible))
        self.hidden_bias = nn.Parameter(torch.zeros(n_hidden))

    def extra_repr(self) -> str:
        kind = "gaussian" if self.gaussian else "bernoulli"
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, {kind!r}, sigma={self.sigma}"

    def forward(self, v: Tensor) -> Tensor:
        """p(h = 1 | v), (n, n_hidden)."""
        p: Tensor = torch.sigmoid((v @ self.weight.T + self.hidden_bias) / self.sigma**2)
        return p

    def reconstruct(self, h: Tensor) -> Tensor:
        """The mean of the visible units given the hidden ones, (n, n_visible)."""
        mean: Tensor = h @ self.weight + self.visible_bias
        if self.gaussian:
            return mean
        return torch.sigmoid(mean / self.sigma**2)

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log sum over h of exp(-E(v, h)), (n,): the negative log-likelihood up to a constant."""
        # Σ_h exp((b'h + h'Wv) / s²) = Π_j (1 + exp((b_j + w_j'v) / s²))
        hidden = softplus((v @ self.weight.T + self.hidden_bias) / self.sigma**2).sum(dim=1)
        outside = v @ self.visible_bias / self.sigma**2
        if self.gaussian:
            outside = outside - v.square().sum(dim=1) / (2 * self.sigma**2)
        energy: Tensor = -outside - hidden
        return energy

    @torch.no_grad()
    def gibbs(self, v: Tensor, steps: int = 1) -> Tensor:
        """A sample of the visible units after this number of rounds of sampling h given v and v given h."""
        for _ in range(steps):
            v = self.reconstruct(torch.bernoulli(self(v)))
            v = v + self.sigma * torch.randn_like(v) if self.gaussian else torch.bernoulli(v)
        return v

    def contrast(self, data: Tensor, model: Tensor) -> Tensor:
        """Mean free energy of the data minus that of samples of the model.

        Its gradient is that of the negative log-likelihood where ``model`` follows the machine's distribution
        (-d log p(v) = dF(v) - E[dF]), and contrastive divergence where it is :meth:`gibbs` of the data.
        """
        return self.free_energy(data).mean() - self.free_energy(model).mean()

    def _penalty(self, data: Tensor) -> Tensor:
        # λ Σ_j (ρ - mean p(h_j | v))² + decay ‖W‖² / 2
        off_target = self.sparsity - self(data).mean(dim=0)
        decay = 0.5 * self.weight_decay * self.weight.square().sum()
        penalty: Tensor = self.sparsity_cost * off_target.square().sum() + decay
        return penalty

    def fit(
        self,
        X: Any,
        n_epochs: int = 20,
        batch_size: int = 100,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        steps: int = 1,
        callback: Callable[[int, float], None] | None = None,
    ) -> RBM:
        """Train by contrastive divergence.

        Parameters
        ----------
        X : array or tensor of shape (n, n_visible)
            Converted to the dtype and device of the weights; in [0, 1] for binary visible units.
        n_epochs, batch_size, learning_rate, momentum
            Of stochastic gradient descent.
        steps : int
            Steps of Gibbs sampling from each row.
        callback : callable, optional
            Called with (epoch, mean squared error per unit of reconstructing the last batch) after each
            epoch.

        Returns
        -------
        RBM
            Itself.

        Raises
        ------
        ValueError
            For arguments out of range, data without rows, of another width, with NaN or infinity, or outside
            [0, 1] for binary visible units.
        fastcca.errors.NumericalError
            If the weights diverge.
        """
        for name, value in {"n_epochs": n_epochs, "batch_size": batch_size, "steps": steps}.items():
            POSITIVE_INTEGER(name, value)
        LEARNING_RATE("learning_rate", learning_rate)
        FRACTION("momentum", momentum)
        x = rows_like(self.weight, X)
        if not self.gaussian and not bool(((x >= 0) & (x <= 1)).all()):
            raise ValueError("X must be in [0, 1] for bernoulli visible units")
        optimizer = torch.optim.SGD(self.parameters(), lr=learning_rate, momentum=momentum)
        for epoch in range(1, n_epochs + 1):
            for index in torch.split(torch.randperm(len(x)), batch_size):
                v = x[index.to(x.device)]
                optimizer.zero_grad(set_to_none=True)
                loss = self.contrast(v, self.gibbs(v, steps)) + self._penalty(v)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            with torch.no_grad():  # of the last batch: it only monitors the training
                error = float((self.reconstruct(self(v)) - v).square().mean())
            if not np.isfinite(error):
                raise NumericalError(
                    f"the weights of the RBM are not finite after epoch {epoch}; "
                    "scale the data to variances near 1 or lower the learning rate"
                )
            if callback is not None:
                callback(epoch, error)
        return self
