"""How the multimodal autoencoder is trained: which error it lowers, on which rows, until when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastcca.deep._multimodal_network import DropoutSchedule, MultimodalNetwork
from fastcca.deep._training import Best, Schedule, Source, chunks, keep_best, minibatches
from fastcca.errors import NumericalError

__all__ = ["CHUNK", "AutoencoderEpoch", "best_epoch", "inputs_of", "train"]

CHUNK = 2000  # rows outside of minibatches that are in the network at once


@dataclass
class AutoencoderEpoch:
    """What a callback learns after each epoch; it stops the training by returning True."""

    number: int
    loss: float
    validation_loss: float | None
    learning_rate: float
    model: Any = field(default=None, repr=False)


def inputs_of(sources: Sequence[Source | None], rows: Any, present: Tensor) -> list[Tensor | None]:
    """The modalities of these rows, zero where they are missing."""
    return [
        None if source is None else torch.where(present[:, m : m + 1] > 0, source.rows(rows), 0.0)
        for m, source in enumerate(sources)
    ]


def train(
    network: MultimodalNetwork,
    sources: Mapping[str, Source],
    present: NDArray[np.bool_],
    dropout: DropoutSchedule,
    weights: Mapping[str, float],
    plan: Schedule,
    train_rows: NDArray[np.intp],
    validation_rows: NDArray[np.intp] | None,
    after_epoch: Callable[[AutoencoderEpoch], bool],
) -> Best:
    """Trains in place and leaves the network at its best epoch, also when interrupted.

    Best is the lowest validation loss; without validation rows, the last complete epoch.
    """
    like = next(iter(sources.values())).mean

    def loss(rows: NDArray[np.intp], where: str) -> Tensor:
        here = torch.from_numpy(present[rows]).to(like)
        inputs: list[Any] = inputs_of(list(sources.values()), rows, here)
        hidden = network.hidden(inputs)
        total = here.new_zeros(())
        for share, given in dropout.shown(here):
            outputs = network.decode(network.code(hidden, given))
            for m, (name, x, out) in enumerate(zip(sources, inputs, outputs, strict=True)):
                if not bool(torch.isfinite(out.detach()).all()):
                    raise NumericalError(
                        f"the reconstruction of {name} is NaN or infinite in {where}; "
                        "try a smaller learning_rate"
                    )
                # Σ over the rows that have it of ‖x̂ - x‖², over their number and the modality's width
                error = ((out - x) * here[:, m : m + 1]).square().sum()
                mean = error / (here[:, m].sum().clamp(min=1) * out.shape[1])
                total = total + share * weights[name] * mean
        return total

    @torch.no_grad()
    def validation_loss() -> float | None:
        if validation_rows is None:
            return None
        network.eval()
        state = torch.get_rng_state()
        torch.manual_seed(0)  # the same subsets in each epoch
        total = 0.0
        for part in chunks(len(validation_rows), CHUNK):
            rows = validation_rows[part]
            total += float(loss(rows, "validation")) * len(rows) / len(validation_rows)
        torch.set_rng_state(state)
        return total

    def epochs() -> Iterator[AutoencoderEpoch]:
        for number, mean_loss, rate in minibatches(network, plan, train_rows, loss):
            yield AutoencoderEpoch(number, mean_loss, validation_loss(), rate)

    def score(epoch: AutoencoderEpoch) -> float:
        return float(epoch.number) if epoch.validation_loss is None else -epoch.validation_loss

    best = keep_best(network, epochs(), score, after_epoch, plan.patience)
    if not all(bool(torch.isfinite(p).all()) for p in network.parameters()):
        raise NumericalError("the trained network has weights that are not finite; lower learning_rate")
    return best


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int:
    """The number of the epoch that :func:`train` keeps, from what it told after each."""
    losses = [h["validation_loss"] for h in history]
    if not losses or losses[0] is None:
        return len(losses)
    return 1 + int(np.argmin(losses))
