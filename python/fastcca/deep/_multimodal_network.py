"""The network of the multimodal autoencoder: its layers, its pretraining, the modalities it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastcca.deep._pretraining import pretrain_layers
from fastcca.deep._training import Source, chunks
from fastcca.deep.networks import MLP, TrainedModule, activation_of, evaluation

__all__ = ["MultimodalNetwork", "SubsetSampling", "pretrain", "subset_sampling"]

MOST_MODALITIES = 8  # of which every subset is shown at each step


class MultimodalNetwork(TrainedModule):
    """Encoders of all modalities, a joint representation, decoders of all modalities from that.

    With h_m the output of the encoder of modality m, zero where it is not given,

        z = s(W [h_1 ... h_M] M / (number given) + b)

    The factor, that of inverted dropout, keeps the scale of the joint layer's inputs whatever is given;
    without ``inverted_dropout`` it is 1. With ``missing_indicator`` rows that lack a modality have weights of
    their own, initialised as the others, and a vector for each modality that they lack:

        z = s(W' [h_1 ... h_M] + b + Σ v_k over the modalities k that are missing)
    """

    def __init__(
        self,
        encoders: Sequence[nn.Module],
        decoders: Sequence[nn.Module],
        widths: Sequence[int],
        n_components: int,
        activation: Any,
        inverted_dropout: bool,
        missing_indicator: bool = False,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.shared = nn.Linear(sum(widths), n_components)
        nn.init.kaiming_normal_(self.shared.weight, nonlinearity="relu")
        nn.init.zeros_(self.shared.bias)
        self.activation = activation_of(activation)()
        self.decoders = nn.ModuleList(decoders)
        self.widths = list(widths)
        self.inverted_dropout = inverted_dropout
        self.missing_indicator = missing_indicator
        if missing_indicator:
            self.partial = nn.Linear(sum(widths), n_components, bias=False)
            self.missing = nn.Parameter(torch.zeros(len(self.widths), n_components))
            self.init_partial()
        self.keep_modes()

    @torch.no_grad()
    def init_partial(self) -> None:
        """Initialises the weights of incomplete rows as those of complete ones."""
        if self.missing_indicator:
            self.partial.weight.copy_(self.shared.weight)

    def hidden(self, inputs: Sequence[Tensor | None]) -> list[Tensor | None]:
        """h_1 ... h_M; an input of None is given in no row."""
        return [None if x is None else encoder(x) for x, encoder in zip(inputs, self.encoders, strict=True)]

    def join(self, hidden: Sequence[Tensor | None], given: Tensor) -> Tensor:
        """[h_1 ... h_M] as the input of the joint layer; ``given`` is a (rows, M) matrix of 0 and 1."""
        factor = (
            len(hidden) / given.sum(dim=1, keepdim=True)
            if self.inverted_dropout
            else given.new_ones(given.shape[0], 1)
        )
        parts = []
        for m, h in enumerate(hidden):
            if h is None:
                parts.append(given.new_zeros(given.shape[0], self.widths[m]))
            else:
                parts.append(h * (given[:, m : m + 1] * factor))
        return torch.cat(parts, dim=1)

    def code(self, hidden: Sequence[Tensor | None], given: Tensor) -> Tensor:
        """The joint representation, from the outputs of the encoders."""
        joined = self.join(hidden, given)
        inward: Tensor = self.shared(joined)
        if self.missing_indicator:
            lacks = 1 - given
            partial = self.partial(joined) + self.shared.bias + lacks @ self.missing
            inward = torch.where(lacks.sum(dim=1, keepdim=True) > 0, partial, inward)
        z: Tensor = self.activation(inward)
        return z

    def encode(self, inputs: Sequence[Tensor | None], given: Tensor) -> Tensor:
        return self.code(self.hidden(inputs), given)

    def decode(self, z: Tensor) -> list[Tensor]:
        return [decoder(z) for decoder in self.decoders]

    def forward(self, inputs: Sequence[Tensor | None], given: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The joint representation and the reconstructions."""
        z = self.encode(inputs, given)
        return z, self.decode(z)


def pretrain(
    network: MultimodalNetwork,
    sources: Sequence[Source],
    present: NDArray[np.bool_],
    rows: NDArray[np.intp],
    kind: str,
    activation: Any,
    chunk: int = 1000,
) -> None:
    """Each modality by itself on the rows that have it, then the joint layer on those that have all.

    The network is built of :class:`MLP`; the decoders become the transposes of the encoders.
    """
    for m, (source, encoder, decoder) in enumerate(
        zip(sources, network.encoders, network.decoders, strict=True)
    ):
        below, above = linear_layers(encoder), linear_layers(decoder)[1:]
        if below:
            biases = pretrain_layers(below, activation, source.rows(rows[present[rows, m]]), kind)
            # From the first hidden layer of the decoder on: the encoder's layers, backwards.
            for layer, twin, bias in zip(reversed(below), above, reversed(biases), strict=True):
                with torch.no_grad():
                    twin.weight.copy_(layer.weight.T)
                    twin.bias.copy_(bias)
    complete = rows[present[rows].all(axis=1)]
    if not len(complete):
        return
    parts = []
    with torch.no_grad(), evaluation(network):
        for part in chunks(len(complete), chunk):
            index = complete[part]
            given = torch.ones(len(index), len(sources)).to(network.shared.weight)
            parts.append(network.join(network.hidden([source.rows(index) for source in sources]), given))
    joined = torch.cat(parts)
    # Where every modality has hidden layers, the inputs of the joint layer are their activations.
    visible = "bernoulli" if all(linear_layers(e) for e in network.encoders) else "gaussian"
    (bias,) = pretrain_layers([network.shared], activation, joined, kind, visible=visible)
    network.init_partial()
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


class SubsetSampling:
    """Which modalities the network is shown: each of ``subsets``, rows of 0 and 1, with its probability.

    Without ``subsets`` every subset but the empty one with equal probability. If ``exhaustive`` a batch is
    shown in all of them, else each row in one that is sampled.
    """

    def __init__(
        self,
        subsets: Tensor | None = None,
        probabilities: Sequence[float] = (),
        exhaustive: bool = False,
    ) -> None:
        self.subsets, self.probabilities = subsets, torch.tensor(probabilities)
        self.exhaustive = exhaustive

    def masks(self, present: Tensor, generator: torch.Generator | None = None) -> list[tuple[float, Tensor]]:
        """The masks of a batch with their weights: of what is present a subset, all where that is empty.

        ``present`` and the masks are (rows, M) of 0 and 1.
        """
        n = len(present)
        if self.exhaustive and self.subsets is not None:
            weights = (self.probabilities / self.probabilities.sum()).tolist()
            masks = [subset.expand(n, -1).to(present) for subset in self.subsets]
        else:
            weights, masks = [1.0], [self.sample(present, generator)]
        kept = [mask * present for mask in masks]
        return [
            (weight, torch.where(k.sum(dim=1, keepdim=True) > 0, k, present))
            for weight, k in zip(weights, kept, strict=True)
            if weight > 0
        ]

    def sample(self, present: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """For each row one of the subsets, whatever is present."""
        if self.subsets is not None:
            drawn = torch.multinomial(self.probabilities, len(present), replacement=True, generator=generator)
            return self.subsets.to(present)[drawn.to(present.device)]
        # Bernoulli(1/2) masks with rejection of the empty subset: all others are equally probable.
        kept = torch.zeros_like(present)
        while bool((empty := kept.sum(dim=1) == 0).any()):
            size = int(empty.sum()), present.shape[1]
            kept[empty] = torch.randint(0, 2, size, generator=generator).to(present)
        return kept


def subset_sampling(names: Sequence[str], given: Any, exhaustive: bool = False) -> SubsetSampling:
    """From the parameter ``modality_dropout`` of the estimator."""
    if given == "subsets" and not exhaustive:
        return SubsetSampling()
    if given == "subsets":
        if len(names) > MOST_MODALITIES:
            raise ValueError(
                f"modality_subsets='exhaustive': {len(names)} modalities have {2 ** len(names) - 1} subsets; "
                "name some of them in modality_dropout, or let modality_subsets be 'sampled'"
            )
        given = {subset: 1.0 for size in range(1, len(names) + 1) for subset in combinations(names, size)}
    if given is None:
        given = {tuple(names): 1.0}
    if not isinstance(given, Mapping) or not given:
        raise ValueError(
            "modality_dropout must be 'subsets', None or a mapping from tuples of names to weights, "
            f"got {given!r}"
        )
    rows, weights = [], []
    for subset, weight in given.items():
        members = (subset,) if isinstance(subset, str) else tuple(subset)
        unknown = [name for name in members if name not in names]
        if unknown:
            raise ValueError(
                f"modality_dropout names an unknown modality {unknown[0]!r}: there are {', '.join(names)}"
            )
        if not members or not isinstance(weight, Real) or not 0 <= float(weight) < float("inf"):
            raise ValueError(
                "modality_dropout must map tuples of names, none empty, to weights that are not negative, "
                f"got {weight!r} for {subset!r}"
            )
        rows.append([float(name in members) for name in names])
        weights.append(float(weight))
    if not sum(weights) > 0:
        raise ValueError("the weights of modality_dropout must not all be zero")
    return SubsetSampling(torch.tensor(rows), weights, exhaustive)
