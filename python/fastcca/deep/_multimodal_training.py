"""How the multimodal autoencoder is trained: which error it lowers, on which rows, until when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastcca.deep._multimodal_network import DropoutSchedule, MultimodalNetwork
from fastcca.deep._training import Best, Schedule, Source, chunks, evaluation, keep_best, minibatches
from fastcca.errors import NumericalError

__all__ = ["AutoencoderEpoch", "Rows", "best_epoch", "inputs_of", "train"]


class Rows(NamedTuple):
    """Modalities, and which rows of them are meant."""

    sources: Mapping[str, Source | None]
    present: NDArray[np.bool_]  # (n, M)
    rows: NDArray[np.intp]


@dataclass
class AutoencoderEpoch:
    """What a callback is given after each epoch; it stops the training by returning True."""

    number: int
    loss: float
    validation_loss: float | None
    learning_rate: float
    fitted: Callable[[], Any] = field(default=lambda: None, repr=False)

    @property
    def model(self) -> Any:
        """The estimator, fitted with the parameters of this epoch."""
        return self.fitted()


def inputs_of(sources: Sequence[Source | None], rows: Any, present: Tensor) -> list[Tensor | None]:
    """The modalities of these rows, zero where they are missing."""
    return [
        None if source is None else torch.where(present[:, m : m + 1] > 0, source.rows(rows), 0.0)
        for m, source in enumerate(sources)
    ]


def train(
    network: MultimodalNetwork,
    training: Rows,
    validation: Rows | None,
    dropout: DropoutSchedule,
    weights: Mapping[str, float],
    plan: Schedule,
    after_epoch: Callable[[AutoencoderEpoch], bool],
) -> Best:
    """Trains in place and leaves the network at its best epoch, also when interrupted.

    Best is the lowest loss of the ``validation`` rows; without such rows, the last complete epoch.
    """
    like = network.shared.weight.detach()

    def loss(
        data: Rows, rows: NDArray[np.intp], counts: Tensor, where: str, generator: torch.Generator | None
    ) -> Tensor:
        """The part of these rows in the loss of a batch of which ``counts`` rows have each modality."""
        here = torch.from_numpy(data.present[rows]).to(like)
        inputs: list[Any] = inputs_of(list(data.sources.values()), rows, here)
        hidden = network.hidden(inputs)
        total = here.new_zeros(())
        for share, given in dropout.shown(here, generator):
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
                total = total + share * weights[name] * mean
        return total

    def counts_of(data: Rows, rows: NDArray[np.intp]) -> Tensor:
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
                for part in chunks(len(validation.rows), plan.batch_size)
            )

    def epochs() -> Iterator[AutoencoderEpoch]:
        for number, mean_loss, rate in minibatches(network, plan, training.rows, batch_loss):
            yield AutoencoderEpoch(number, mean_loss, validation_loss(), rate)

    def score(epoch: AutoencoderEpoch) -> float:
        return float(epoch.number) if epoch.validation_loss is None else -epoch.validation_loss

    best = keep_best(network, epochs(), score, after_epoch, plan.patience)
    if not all(bool(torch.isfinite(p).all()) for p in network.parameters()):
        raise NumericalError("the trained network has weights that are not finite; lower learning_rate")
    return best


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int:
    """The number of the epoch that :func:`train` keeps, from the history."""
    losses = [h["validation_loss"] for h in history]
    if not losses or losses[0] is None:
        return len(losses)
    return 1 + int(np.argmin(losses))
