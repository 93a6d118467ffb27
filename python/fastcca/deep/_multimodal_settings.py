"""What the parameters of :class:`~fastcca.deep.MultimodalAutoencoder` mean: the training, the networks."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fastcca.deep._multimodal_network import MultimodalNetwork
from fastcca.deep._parameters import check_parameters
from fastcca.deep._training import Schedule, Source, batches, encode, evaluation, tried
from fastcca.deep.encoders import MLP, GaussianNoise, activation_of

if TYPE_CHECKING:
    from fastcca.deep.multimodal import MultimodalAutoencoder

__all__ = ["build", "check_settings", "plan_of", "rebuilt"]

Own = dict[str, dict[str, nn.Module]]


def check_settings(model: MultimodalAutoencoder) -> None:
    """Refuses parameters out of range, whatever the data; the message names the first."""
    check_parameters(
        model,
        {
            "modality_forms": ("drawn", "all"),
            "presence": (False, True),
            "rescale": (False, True),
            "verbose": (False, True),
            "optimizer": ("adam", "adamw"),
            "schedule": ("cosine", "constant"),
            "pretrain": (None, "denoising", "rbm"),
            "scale": ("view", "columns"),
            "dtype": ("float32", "float64"),
        },
        positive_integers=("n_components", "batch_size"),
        optional=("epochs", "patience"),
        not_negative=("weight_decay", "input_noise"),
        shares=("dropout", "validation_fraction"),
    )
    for name in ("encoders", "decoders"):
        modules = getattr(model, name)
        if modules is not None and not (
            isinstance(modules, Mapping) and all(isinstance(m, nn.Module) for m in modules.values())
        ):
            raise ValueError(f"{name} must map names to torch.nn.Module, got {modules!r}")
    if model.pretrain is not None and (model.encoders or model.decoders):
        raise ValueError(
            "pretrain works on the built-in networks: leave encoders and decoders None or pretrain None"
        )
    if model.pretrain == "rbm" and model.activation != "sigmoid":
        raise ValueError(
            f"pretrain='rbm' gives probabilities of hidden units: it needs activation='sigmoid', "
            f"got {model.activation!r}"
        )


def plan_of(model: MultimodalAutoencoder, n: int) -> Schedule:
    """The training of ``n`` rows that the parameters ask for."""
    n_batches = batches(n, model.batch_size)[1]
    return Schedule(
        optimizer=model.optimizer,
        learning_rate=model.learning_rate,
        schedule=model.schedule,
        epochs=model.epochs or int(np.clip(np.ceil(3000 / n_batches), 20, 300)),
        batch_size=model.batch_size,
        weight_decay=model.weight_decay,
        patience=model.patience,
    )


def build(
    model: MultimodalAutoencoder, sources: Sequence[Source], present: NDArray[np.bool_]
) -> tuple[MultimodalNetwork, list[int]]:
    """The network before training, tried on two rows, and what its encoders return."""
    device, dtype = sources[0].device, sources[0].dtype
    own = _own(model)
    n_rows = min(2, model.batch_size)
    encoders, widths = [], []
    for m, (name, source) in enumerate(zip(model.modalities_, sources, strict=True)):
        encoder = _encoder(model, name, own).to(device, dtype)
        with tried(f"the encoder of {name}", f"rows of {source.data.shape[1]} features"), evaluation(encoder):
            H = encode(encoder, source, n_rows, np.flatnonzero(present[:, m])[:n_rows])
        if H.ndim != 2 or not H.is_floating_point():
            raise ValueError(
                f"the encoder of {name} must return a (rows, outputs) float tensor, got {tuple(H.shape)}"
            )
        encoders.append(encoder)
        widths.append(H.shape[1])
    network = _network(model, widths, encoders, own).to(device, dtype)
    z = torch.zeros(n_rows, model.n_components, dtype=dtype, device=device)
    for name, decoder in zip(model.modalities_, network.decoders, strict=True):
        given = f"rows of n_components={model.n_components}"
        with tried(f"the decoder of {name}", given), evaluation(decoder), torch.no_grad():
            shape = tuple(decoder(z).shape)
        if shape != (n_rows, len(model.means_[name])):
            raise ValueError(
                f"the decoder of {name} must return (rows, {len(model.means_[name])}), got {shape} for "
                f"{n_rows} rows"
            )
    return network, widths


def rebuilt(model: MultimodalAutoencoder, widths: Sequence[int]) -> MultimodalNetwork:
    """A network of the architecture of the fitted one, for weights that were saved."""
    own = _own(model)
    return _network(model, widths, [_encoder(model, name, own) for name in model.modalities_], own)


def _network(
    model: MultimodalAutoencoder, widths: Sequence[int], encoders: Sequence[nn.Module], own: Own
) -> MultimodalNetwork:
    decoders = [_decoder(model, name, own) for name in model.modalities_]
    return MultimodalNetwork(
        encoders, decoders, widths, model.n_components, model.activation, model.rescale, model.presence
    )


def _encoder(model: MultimodalAutoencoder, name: str, own: Own) -> nn.Module:
    if name in own["encoders"]:
        return own["encoders"][name]
    width, hidden = len(model.means_[name]), _hidden(model, name)
    if not hidden:
        return nn.Sequential(GaussianNoise(model.input_noise))
    body = MLP(width, hidden, model.activation, model.input_noise, model.dropout)
    return nn.Sequential(body, activation_of(model.activation)())


def _decoder(model: MultimodalAutoencoder, name: str, own: Own) -> nn.Module:
    if name in own["decoders"]:
        return own["decoders"][name]
    layers = [*reversed(_hidden(model, name)), len(model.means_[name])]
    return MLP(model.n_components, layers, model.activation, dropout=model.dropout)


def _own(model: MultimodalAutoencoder) -> Own:
    """Copies of the user's own modules; what these share, the copies share."""
    own = {"encoders": dict(model.encoders or {}), "decoders": dict(model.decoders or {})}
    for which, modules in own.items():
        unknown = [key for key in modules if key not in model.modalities_]
        if unknown:
            raise ValueError(
                f"{which} names an unknown modality {unknown[0]!r}: there are {', '.join(model.modalities_)}"
            )
    return copy.deepcopy(own)


def _hidden(model: MultimodalAutoencoder, name: str) -> list[int]:
    """The widths of the hidden layers of a modality's encoder."""
    hidden: Any = model.hidden
    if isinstance(hidden, Mapping):
        unknown = [key for key in hidden if key not in model.modalities_]
        if unknown:
            known = ", ".join(model.modalities_)
            raise ValueError(f"hidden names an unknown modality {unknown[0]!r}: there are {known}")
        hidden = hidden.get(name, (256,))
    try:
        widths = [int(w) for w in hidden]
    except (TypeError, ValueError):
        widths = [0]
    if any(w < 1 for w in widths):
        raise ValueError(f"hidden must be widths of layers, or a mapping of such, got {model.hidden!r}")
    return widths
