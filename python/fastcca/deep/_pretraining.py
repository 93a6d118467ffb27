"""Initial weights for the built-in networks, layer by layer; for paired views a linear CCA on top."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastcca.deep._training import Source, encode
from fastcca.deep.denoising import DenoisingAutoencoder
from fastcca.deep.networks import MLP
from fastcca.deep.rbm import RBM

__all__ = ["LinearMap", "pretrain_encoders", "pretrain_layers", "some_rows"]

LinearMap = tuple[NDArray[Any], NDArray[Any]]  # of rows h of outputs: (h - mean) weights

# Rows that the pretraining sees at most: it initialises, it does not fit.
MAX_ROWS = 20000


def some_rows(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """The rows to pretrain on."""
    if len(rows) <= MAX_ROWS:
        return rows
    return np.sort(rows[torch.randperm(len(rows)).numpy()[:MAX_ROWS]])


def pretrain_layers(
    layers: Sequence[nn.Linear],
    activation: str | Callable[[], nn.Module],
    x: Tensor,
    kind: str = "denoising",
    *,
    optimizer: str = "adam",
    visible: str = "gaussian",
) -> list[Tensor]:
    """Sets linear layers, each followed by the activation, in place; returns the biases of the decoder.

    "denoising" trains a stack of :class:`DenoisingAutoencoder`, whose decoder has none; "rbm" one
    :class:`RBM` on the hidden probabilities of the other, the first with ``visible`` units.
    """
    if kind == "denoising":
        model = DenoisingAutoencoder(layers[0].in_features, [a.out_features for a in layers], activation)
        model.to(x.device, x.dtype)
        if optimizer == "lbfgs":
            model.fit(x)
        else:
            batch_size = int(np.clip(len(x) // 20, 50, 500))
            model.fit(x, "adam", n_epochs=_epochs(len(x), batch_size, 400, 5), batch_size=batch_size)
        for layer, trained in zip(layers, model.layers, strict=True):
            layer.load_state_dict(trained.state_dict())
        return [x.new_zeros(layer.in_features) for layer in layers]
    biases = []
    for layer in layers:
        machine = RBM(layer.in_features, layer.out_features, visible).to(x.device, x.dtype)
        machine.fit(x, n_epochs=_epochs(len(x), 100, 600, 20))
        with torch.no_grad():
            layer.weight.copy_(machine.weight / machine.sigma**2)
            layer.bias.copy_(machine.hidden_bias / machine.sigma**2)
            x = machine(x)
        biases.append(machine.visible_bias.detach())
        visible = "bernoulli"
    return biases


def _epochs(n: int, batch_size: int, steps: int, least: int) -> int:
    """As many as give some ``steps`` batches, at least ``least`` and at most 40 times that."""
    return int(np.clip(np.ceil(steps * batch_size / n), least, 40 * least))


def pretrain_encoders(
    encoders: Iterable[nn.Module],
    sources: Sequence[Source],
    rows: NDArray[np.intp],
    optimizer: Any,
    chunk: int,
    maps: Callable[[list[NDArray[np.float64]], int, float], list[LinearMap]],
) -> None:
    """Sets the weights of MLPs of paired views in place: hidden layers, and outputs by a linear CCA.

    ``maps`` gives that, of the last hidden layers, for a number of components and a ridge relative to their
    variances.
    """
    rows = some_rows(rows)
    networks = [e for e in encoders if isinstance(e, MLP)]
    hidden = []
    for encoder, source in zip(networks, sources, strict=True):
        *below, _ = encoder.linear_layers()
        if below:
            pretrain_layers(below, encoder.activation, source.rows(rows), optimizer=optimizer)
        body = nn.Sequential(*list(encoder)[:-1]).eval()
        hidden.append(encode(body, source, chunk, rows).double().cpu().numpy())
    # The outputs begin as the canonical variates of the last hidden layers.
    last = [encoder.linear_layers()[-1] for encoder in networks]
    k = min(*(layer.out_features for layer in last), *(H.shape[1] for H in hidden))
    for layer, (mean, weights) in zip(last, maps(hidden, k, 1e-2), strict=True):
        n_found = weights.shape[1]  # the rank may leave fewer
        with torch.no_grad():
            layer.weight[:n_found] = torch.from_numpy(weights.T).to(layer.weight)
            layer.bias[:n_found] = torch.from_numpy(-(mean @ weights)).to(layer.bias)
