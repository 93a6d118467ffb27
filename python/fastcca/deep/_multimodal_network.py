"""The network of the multimodal autoencoder: its layers, their start, what it is shown while it learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastcca.deep._pretraining import pretrain_layers
from fastcca.deep._training import Source
from fastcca.deep.encoders import MLP, activation_of

__all__ = ["DropoutSchedule", "MultimodalNetwork", "dropout_schedule", "pretrain"]


class MultimodalNetwork(nn.Module):
    """Encoders of all modalities, a layer that they share, decoders of all modalities from that.

    With h_m the output of the encoder of modality m, zero where it is not given,

        z = s(W [h_1 ... h_M] M / (number given) + b)

    The factor keeps the shared layer's inputs at the same size whatever is given; without ``rescale`` it is
    1.
    """

    def __init__(
        self,
        encoders: Sequence[nn.Module],
        decoders: Sequence[nn.Module],
        widths: Sequence[int],
        n_components: int,
        activation: Any,
        rescale: bool,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.shared = nn.Linear(sum(widths), n_components)
        nn.init.kaiming_normal_(self.shared.weight, nonlinearity="relu")
        nn.init.zeros_(self.shared.bias)
        self.activation = activation_of(activation)()
        self.decoders = nn.ModuleList(decoders)
        self.widths = list(widths)
        self.rescale = rescale

    def join(self, inputs: Sequence[Tensor | None], given: Tensor) -> Tensor:
        """[h_1 ... h_M] as the shared layer sees it; an input of None is given in no row."""
        factor = (
            len(inputs) / given.sum(dim=1, keepdim=True) if self.rescale else given.new_ones(len(given), 1)
        )
        hidden = []
        for m, x in enumerate(inputs):
            if x is None:
                hidden.append(given.new_zeros(len(given), self.widths[m]))
            else:
                hidden.append(self.encoders[m](x) * (given[:, m : m + 1] * factor))
        return torch.cat(hidden, dim=1)

    def encode(self, inputs: Sequence[Tensor | None], given: Tensor) -> Tensor:
        z: Tensor = self.activation(self.shared(self.join(inputs, given)))
        return z

    def forward(self, inputs: Sequence[Tensor | None], given: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The shared layer and the reconstructions; ``given`` is a (rows, M) matrix of 0 and 1."""
        z = self.encode(inputs, given)
        return z, [decoder(z) for decoder in self.decoders]


def pretrain(
    network: MultimodalNetwork,
    sources: Sequence[Source],
    present: NDArray[np.bool_],
    rows: NDArray[np.intp],
    kind: str,
    activation: Any,
) -> None:
    """Each modality by itself on the rows that have it, then the shared layer on those that have all.

    The network is built of :class:`MLP`; the decoders become the transposes of the encoders.
    """
    for m, (source, encoder, decoder) in enumerate(
        zip(sources, network.encoders, network.decoders, strict=True)
    ):
        below, above = linear_layers(encoder), linear_layers(decoder)[1:]
        if below:
            back = pretrain_layers(below, activation, source.rows(rows[present[rows, m]]), kind)
            # From the first hidden layer of the decoder on: the encoder's layers, backwards.
            for layer, twin, bias in zip(reversed(below), above, reversed(back), strict=True):
                with torch.no_grad():
                    twin.weight.copy_(layer.weight.T)
                    twin.bias.copy_(bias)
    complete = rows[present[rows].all(axis=1)]
    if not len(complete):
        return
    with torch.no_grad():
        network.eval()
        given = torch.ones(len(complete), len(sources)).to(network.shared.weight)
        joined = network.join([source.rows(complete) for source in sources], given)
    # Where every modality has hidden layers, what the shared one sees are their activations.
    visible = "bernoulli" if all(linear_layers(e) for e in network.encoders) else "gaussian"
    (bias,) = pretrain_layers([network.shared], activation, joined, kind, visible=visible)
    start = 0
    for decoder, width in zip(network.decoders, network.widths, strict=True):
        part = slice(start, start + width)
        with torch.no_grad():
            first = linear_layers(decoder)[0]
            first.weight.copy_(network.shared.weight[:, part].T)
            first.bias.copy_(bias[part])
        start += width


def linear_layers(module: nn.Module) -> list[nn.Linear]:
    """Those of the MLP that the module is or holds; none where it holds none."""
    found = next((part for part in module.modules() if isinstance(part, MLP)), None)
    return [] if found is None else found.linear_layers()


class DropoutSchedule:
    """Draws for each row which modalities the network is shown.

    Each of ``subsets``, rows of 0 and 1, by its share; without them every subset but the empty one alike.
    """

    def __init__(self, subsets: Tensor | None = None, shares: Sequence[float] = ()) -> None:
        self.subsets, self.shares = subsets, torch.tensor(shares)

    def draw(self, present: Tensor) -> Tensor:
        """(rows, M) of 0 and 1: of what is present a random subset, all of it where that would be nothing."""
        n = len(present)
        if self.subsets is None:
            # Fair coins, thrown again until one shows heads: every subset but the empty one alike.
            kept = torch.zeros_like(present)
            while bool((empty := kept.sum(dim=1) == 0).any()):
                kept[empty] = torch.randint(0, 2, (int(empty.sum()), present.shape[1])).to(present)
        else:
            kept = self.subsets.to(present)[torch.multinomial(self.shares, n, replacement=True)]
        kept = kept * present
        return torch.where(kept.sum(dim=1, keepdim=True) > 0, kept, present)


def dropout_schedule(names: Sequence[str], given: Any) -> DropoutSchedule:
    """From the parameter ``modality_dropout`` of the estimator."""
    if given == "subsets":
        return DropoutSchedule()
    if given is None:
        given = {tuple(names): 1.0}
    if not isinstance(given, Mapping) or not given:
        raise ValueError(
            "modality_dropout must be 'subsets', None or a mapping from tuples of names to shares, "
            f"got {given!r}"
        )
    rows, shares = [], []
    for subset, share in given.items():
        members = (subset,) if isinstance(subset, str) else tuple(subset)
        unknown = [name for name in members if name not in names]
        if unknown:
            raise ValueError(
                f"modality_dropout names an unknown modality {unknown[0]!r}: there are {', '.join(names)}"
            )
        if not members or not isinstance(share, (int, float)) or not 0 <= share < float("inf"):
            raise ValueError(
                "modality_dropout must map tuples of names, none empty, to shares that are not negative, "
                f"got {share!r} for {subset!r}"
            )
        rows.append([float(name in members) for name in names])
        shares.append(float(share))
    if not sum(shares) > 0:
        raise ValueError("the shares of modality_dropout must not all be zero")
    return DropoutSchedule(torch.tensor(rows), shares)
