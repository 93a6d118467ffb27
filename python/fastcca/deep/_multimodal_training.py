"""How the multimodal autoencoder is trained: the loss of a batch, and its epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastcca.deep._multimodal_network import MultimodalNetwork, SubsetSampling
from fastcca.deep._training import Epoch, Resumable, RowFeed, Schedule, Source, chunks, compiled, minibatches
from fastcca.deep.networks import evaluation
from fastcca.errors import NumericalError

__all__ = ["AutoencoderEpoch", "BatchItems", "Item", "ModalityRows", "RowItems", "epochs_of", "inputs_of"]

Item = tuple[list[Tensor | None], Tensor]  # of a batch: the modalities, and which rows have them


class ModalityRows(NamedTuple):
    """Modalities, and which rows of them are meant."""

    sources: Mapping[str, Source | None]
    present: NDArray[np.bool_]  # (n, M)
    rows: NDArray[np.intp]

    def item(self, index: NDArray[np.intp], like: Tensor) -> Item:
        here = torch.from_numpy(self.present[index]).to(like)
        return inputs_of(list(self.sources.values()), index, here), here


class RowItems:
    """Batches of rows of arrays, drawn by torch's generator or (``in_order``) in their order."""

    def __init__(self, data: ModalityRows, batch_size: int, like: Tensor, in_order: bool = False) -> None:
        self.data, self.batch_size, self.like, self.in_order = data, batch_size, like, in_order
        self.feed = RowFeed(data.rows, batch_size)
        self.n_batches = self.feed.n_batches

    def __iter__(self) -> Iterator[Item]:
        rows = self.data.rows
        parts = (rows[part] for part in chunks(len(rows), self.batch_size))
        for index in parts if self.in_order else self.feed:
            yield self.data.item(index, self.like)

    def counts(self) -> Tensor:
        """How many rows have each modality."""
        return torch.from_numpy(self.data.present[self.data.rows].sum(axis=0)).to(self.like)


class BatchItems:
    """Batches as they come; ``item`` checks and scales one."""

    def __init__(self, batches: Any, item: Callable[[Any], Item]) -> None:
        self.batches, self.item, self.n_batches = batches, item, batches.n_batches

    def __iter__(self) -> Iterator[Item]:
        return map(self.item, self.batches.data)

    def counts(self) -> Tensor:
        return torch.stack([here.sum(0) for _, here in self]).sum(0)


@dataclass(kw_only=True)
class AutoencoderEpoch(Epoch):
    """What a callback of :class:`MultimodalAutoencoder` is given after each epoch; True ends the training.

    Attributes
    ----------
    number : int
        The epoch, from 1.
    loss : float
        Mean over the batches.
    learning_rate : float
        Of the last batch.
    validation_loss : float or None
        The loss of the validation rows.
    model : MultimodalAutoencoder
        The estimator, fitted with the parameters of this epoch: it can be scored and saved. It goes on
        training afterwards.
    """

    validation_loss: float | None = None

    @property
    def score(self) -> float:
        return float(self.number) if self.validation_loss is None else -self.validation_loss


def inputs_of(sources: Sequence[Source | None], rows: Any, present: Tensor) -> list[Tensor | None]:
    """The modalities of these rows, zero where they are missing."""
    return [
        None if source is None else torch.where(present[:, m : m + 1] > 0, source.rows(rows), 0.0)
        for m, source in enumerate(sources)
    ]


def epochs_of(
    network: MultimodalNetwork,
    names: Sequence[str],
    training: RowItems | BatchItems,
    validation: RowItems | BatchItems | None,
    sampling: SubsetSampling,
    weights: Mapping[str, float],
    schedule: Schedule,
    checkpoint: Resumable | None = None,
) -> Iterator[AutoencoderEpoch]:
    """Trains in place, an epoch at a time, and measures the loss of the ``validation`` rows."""

    def loss(item: Item, counts: Tensor, where: str, generator: torch.Generator | None) -> Tensor:
        """The part of these rows in the loss of a batch of which ``counts`` rows have each modality."""
        inputs, here = item
        casting = schedule.autocasting(here.device, network.training)
        with casting:
            hidden = network.hidden(inputs)
        total = here.new_zeros(())
        for weight, given in sampling.masks(here, generator):
            with casting:
                outputs = network.decode(network.code(hidden, given))
            for m, (name, x, out) in enumerate(zip(names, inputs, outputs, strict=True)):
                if not bool(torch.isfinite(out.detach()).all()):
                    raise NumericalError(
                        f"the reconstruction of {name} is NaN or infinite in {where}; "
                        "try a smaller learning_rate"
                    )
                if x is None:
                    continue
                # Σ over the rows that have it of ‖x̂ - x‖², over their number and the modality's width
                error = ((out - x) * here[:, m : m + 1]).square().sum()
                mean = error / (counts[m].clamp(min=1) * out.shape[1])
                total = total + weight * weights[name] * mean
        return total

    def batch_loss(item: Item, where: str) -> Tensor:
        return loss(item, item[1].sum(0), where, None)

    @torch.no_grad()
    def validation_loss() -> float | None:
        if validation is None:
            return None
        generator = torch.Generator().manual_seed(0)  # the same subsets in each epoch
        counts = validation.counts()
        with evaluation(network):
            return sum(float(loss(item, counts, "validation", generator)) for item in validation)

    with compiled((*network.encoders, *network.decoders), schedule.compile):
        for number, mean_loss, rate in minibatches(network, schedule, training, batch_loss, checkpoint):
            yield AutoencoderEpoch(
                number=number, loss=mean_loss, learning_rate=rate, validation_loss=validation_loss()
            )
