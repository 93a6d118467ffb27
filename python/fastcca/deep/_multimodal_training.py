"""How the multimodal autoencoder is trained: the loss of a batch, and its epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastcca.deep._multimodal_network import MultimodalNetwork, SubsetSampling
from fastcca.deep._training import Epoch, Schedule, Source, chunks, minibatches
from fastcca.deep.networks import evaluation
from fastcca.errors import NumericalError

__all__ = ["AutoencoderEpoch", "ModalityRows", "epochs_of", "inputs_of"]


class ModalityRows(NamedTuple):
    """Modalities, and which rows of them are meant."""

    sources: Mapping[str, Source | None]
    present: NDArray[np.bool_]  # (n, M)
    rows: NDArray[np.intp]


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
    training: ModalityRows,
    validation: ModalityRows | None,
    sampling: SubsetSampling,
    weights: Mapping[str, float],
    schedule: Schedule,
) -> Iterator[AutoencoderEpoch]:
    """Trains in place, an epoch at a time, and measures the loss of the ``validation`` rows."""
    like = network.shared.weight.detach()

    def loss(
        data: ModalityRows,
        rows: NDArray[np.intp],
        counts: Tensor,
        where: str,
        generator: torch.Generator | None,
    ) -> Tensor:
        """The part of these rows in the loss of a batch of which ``counts`` rows have each modality."""
        here = torch.from_numpy(data.present[rows]).to(like)
        inputs: list[Any] = inputs_of(list(data.sources.values()), rows, here)
        hidden = network.hidden(inputs)
        total = here.new_zeros(())
        for weight, given in sampling.masks(here, generator):
            outputs = network.decode(network.code(hidden, given))
            for m, (name, x, out) in enumerate(zip(data.sources, inputs, outputs, strict=True)):
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

    def counts_of(data: ModalityRows, rows: NDArray[np.intp]) -> Tensor:
        return torch.from_numpy(data.present[rows].sum(axis=0)).to(like)

    def batch_loss(rows: NDArray[np.intp], where: str) -> Tensor:
        return loss(training, rows, counts_of(training, rows), where, None)

    @torch.no_grad()
    def validation_loss() -> float | None:
        if validation is None:
            return None
        generator = torch.Generator().manual_seed(0)  # the same subsets in each epoch
        counts = counts_of(validation, validation.rows)
        with evaluation(network):
            return sum(
                float(loss(validation, validation.rows[part], counts, "validation", generator))
                for part in chunks(len(validation.rows), schedule.batch_size)
            )

    for number, mean_loss, rate in minibatches(network, schedule, training.rows, batch_loss):
        yield AutoencoderEpoch(
            number=number, loss=mean_loss, learning_rate=rate, validation_loss=validation_loss()
        )
