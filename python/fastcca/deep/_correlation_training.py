"""How the encoders of Deep CCA and DGCCA are trained: the loss of a batch or of all rows, and its epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastcca._arguments.warn import warn
from fastcca.deep._batches import Batches
from fastcca.deep._training import (
    Epoch,
    Resumable,
    RowFeed,
    Schedule,
    Source,
    batches,
    chunks,
    compiled,
    encode,
    minibatches,
    minimize,
)
from fastcca.deep.large_batch import backward_in_chunks
from fastcca.deep.losses.correlation import CorrelationLoss
from fastcca.deep.networks import TrainedModule, evaluation, trained_parameters
from fastcca.errors import NumericalError

__all__ = [
    "DeepCCAEpoch",
    "Encoders",
    "Plan",
    "check_outputs",
    "epochs_of",
    "epochs_of_batches",
    "exact_correlation",
    "full_batch_gradient",
    "outputs_of",
    "warn_of_small_batches",
]

VIEWS = ("X", "y")


class Encoders(TrainedModule):
    """The encoders of the views, and as many decoders where reconstruction counts."""

    def __init__(self, encoders: list[nn.Module], decoders: list[nn.Module]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.decoders = nn.ModuleList(decoders)
        self.keep_modes()


@dataclass(frozen=True, kw_only=True)
class Plan(Schedule):
    """How the encoders are trained, and by which loss."""

    loss: CorrelationLoss
    views: Sequence[str] = VIEWS
    chunk: int = 2000
    reconstruction: float = 0.0
    augment: Callable[..., Sequence[Tensor]] | None = None


@dataclass(kw_only=True)
class DeepCCAEpoch(Epoch):
    """What a callback is given after each epoch of :class:`DeepCCA` or :class:`DeepGCCA`.

    Returning True ends the training.

    Attributes
    ----------
    number : int
        The epoch, from 1.
    loss : float
        What is minimised: the mean over the batches, or the value for all rows with ``optimizer="lbfgs"``.
    learning_rate : float
        Of the last batch.
    train_correlation : float
        Total correlation of the outputs, of training batches their mean. Of more than two views the mean over
        the pairs of them, or with "maxvar" (Σ λ - r) / (K - 1), the λ being the r largest eigenvalues of the
        sum of K projections; of two views that is the total correlation.
    validation_correlation : float or None
        The same of the outputs for the validation rows.
    model : DeepCCA or DeepGCCA
        The estimator, fitted with the parameters of this epoch (a pass over the data): it can be scored and
        saved. It is fitted when it is asked for, and goes on training afterwards.
    """

    train_correlation: float
    validation_correlation: float | None = None

    @property
    def score(self) -> float:
        if self.validation_correlation is None:
            return float(self.number)
        return self.validation_correlation


def epochs_of(
    networks: Encoders,
    sources: list[Source],
    plan: Plan,
    rows: NDArray[np.intp],
    validation: tuple[list[Source], NDArray[np.intp]] | None,
    checkpoint: Resumable | None = None,
) -> Iterator[DeepCCAEpoch]:
    """Trains in place, an epoch at a time, and measures the total correlation of the ``validation`` rows."""
    with compiled(networks.encoders, plan.compile):
        epochs = (
            _lbfgs(networks, sources, plan, rows, checkpoint)
            if plan.optimizer == "lbfgs"
            else _minibatches(networks, _PairedRows(sources, rows, plan.batch_size), plan, checkpoint)
        )
        for epoch in epochs:
            if validation is not None:
                held_out, held_out_rows = validation
                epoch.validation_correlation = correlation_of(networks, held_out, plan, held_out_rows)
            yield epoch


def epochs_of_batches(
    networks: Encoders,
    pairs: Batches,
    plan: Plan,
    validation: Batches | None,
    checkpoint: Resumable | None = None,
) -> Iterator[DeepCCAEpoch]:
    """The same on batches as they come."""
    with compiled(networks.encoders, plan.compile):
        for epoch in _minibatches(networks, pairs, plan, checkpoint):
            if validation is not None:
                outputs = outputs_of(networks.encoders, validation, plan.views)
                epoch.validation_correlation = exact_correlation(outputs, plan.loss)
            yield epoch


class _PairedRows:
    """Batches of rows of all views."""

    def __init__(self, sources: list[Source], rows: NDArray[np.intp], batch_size: int) -> None:
        self.sources, self.feed = sources, RowFeed(rows, batch_size)
        self.n_batches, self.device = self.feed.n_batches, sources[0].device

    def __iter__(self) -> Iterator[list[Tensor]]:
        for index in self.feed:
            yield [source.rows(index) for source in self.sources]


def _minibatches(
    networks: Encoders, pairs: Batches | _PairedRows, plan: Plan, checkpoint: Resumable | None
) -> Iterator[DeepCCAEpoch]:
    device, n_batches = pairs.device, pairs.n_batches
    correlation = 0.0

    def batch_loss(inputs: list[Any], where: str) -> Tensor:
        nonlocal correlation
        if plan.augment is not None:
            inputs = list(plan.augment(*inputs))
        with plan.autocasting(device):
            outputs = [e(x) for e, x in zip(networks.encoders, inputs, strict=True)]
        check_outputs(outputs, where, plan.views)
        value: Tensor = plan.loss(*outputs)
        correlation += total_correlation(value, outputs, plan.loss) / n_batches
        if plan.reconstruction:
            with plan.autocasting(device):
                for decoder, H, x in zip(networks.decoders, outputs, inputs, strict=True):
                    value = value + plan.reconstruction * (decoder(H) - x).square().sum() / len(H)
        return value

    for number, total, rate in minibatches(networks, plan, pairs, batch_loss, checkpoint):
        yield DeepCCAEpoch(number=number, loss=total, learning_rate=rate, train_correlation=correlation)
        correlation = 0.0


def _lbfgs(
    networks: Encoders,
    sources: list[Source],
    plan: Plan,
    rows: NDArray[np.intp],
    checkpoint: Resumable | None,
) -> Iterator[DeepCCAEpoch]:
    parameters = trained_parameters(networks)
    correlations: dict[float, float] = {}  # by the objective's value at the same point
    number = 1 + (checkpoint.number if checkpoint else 0)

    def evaluate() -> float:
        loss, correlation = full_batch_gradient(networks, sources, plan, rows, f"epoch {number}")
        value = loss + (penalty(networks, plan.weight_decay) if plan.weight_decay else 0.0)
        correlations[value] = correlation
        return value

    for value in minimize(parameters, evaluate, plan.n_epochs, checkpoint=checkpoint):
        yield DeepCCAEpoch(
            number=number, loss=value, learning_rate=1.0, train_correlation=correlations[value]
        )
        number += 1


def full_batch_gradient(
    networks: Encoders,
    sources: list[Source],
    plan: Plan,
    index: NDArray[np.intp] | None = None,
    where: str = "training",
) -> tuple[float, float]:
    """The loss over all rows and its correlation part; the exact gradient is added to ``.grad``.

    No more than one chunk's graph and the outputs are ever held, whatever the number of rows. The networks
    run in evaluation mode: what they compute must not depend on the chunk or on chance.
    """
    networks.eval()
    n = len(sources[0]) if index is None else len(index)
    parts = list(chunks(n, plan.chunk))
    inputs: list[Tensor] = []

    def run(i: int) -> list[Tensor]:
        inputs[:] = [s.rows(parts[i] if index is None else index[parts[i]]) for s in sources]
        return [encoder(x) for encoder, x in zip(networks.encoders, inputs, strict=True)]

    def reconstruction(_: int, outputs: Sequence[Tensor]) -> Tensor | None:
        if not plan.reconstruction:
            return None
        errors = (
            (decoder(H) - x).square().sum()
            for decoder, H, x in zip(networks.decoders, outputs, inputs, strict=True)
        )
        return plan.reconstruction * sum(errors, inputs[0].new_zeros(())) / n

    total, outputs, value = backward_in_chunks(
        run, len(parts), plan.loss, [networks], lambda H: check_outputs(H, where, plan.views), reconstruction
    )
    return float(total), total_correlation(value, outputs, plan.loss)


def penalty(networks: Encoders, weight_decay: float) -> float:
    """λ/2 ‖θ‖² over all parameters that are trained, its gradient λ θ added to ``.grad``."""
    total = 0.0
    for p in trained_parameters(networks):
        total += 0.5 * weight_decay * float(p.detach().square().sum())
        if p.grad is not None:
            p.grad.add_(p.detach(), alpha=weight_decay)
    return total


def total_correlation(value: Tensor, outputs: list[Tensor], loss: CorrelationLoss) -> float:
    """What the outputs' total correlation is where the loss has this value; see :class:`DeepCCAEpoch`."""
    if loss.objective == "frobenius":
        return exact_correlation(outputs, loss)
    n_views, found = len(outputs), float(value.detach())
    if loss.objective == "maxvar":
        return (loss.n_components or min(H.shape[1] for H in outputs)) - found / (n_views - 1)
    return -found / (n_views * (n_views - 1) // 2)


@torch.no_grad()
def exact_correlation(outputs: list[Tensor], loss: CorrelationLoss) -> float:
    """Total correlation of the outputs, by the exact small problem."""
    objective: Any = "maxvar" if loss.objective == "maxvar" else "trace_norm"
    exact = CorrelationLoss(loss.n_components, loss.reg, objective)
    return total_correlation(exact(*outputs), outputs, exact)


def correlation_of(networks: Encoders, sources: list[Source], plan: Plan, index: NDArray[np.intp]) -> float:
    """Total correlation of the outputs on rows; the networks keep their mode."""
    with evaluation(*networks.encoders):
        outputs = [
            encode(e, s, plan.chunk, index).double().cpu()
            for e, s in zip(networks.encoders, sources, strict=True)
        ]
    return exact_correlation(outputs, plan.loss)


@torch.no_grad()
def outputs_of(
    encoders: Iterable[nn.Module], batches: Iterable[Sequence[Any]], views: Sequence[str]
) -> list[Tensor]:
    """Outputs of all batches, a matrix for each encoder, in double on the CPU."""
    parts: list[list[Tensor]] = []
    with evaluation(*encoders):
        for inputs in batches:
            outputs = [encoder(x) for encoder, x in zip(encoders, inputs, strict=True)]
            check_outputs(outputs, "a pass over the data", views)
            if len({len(H) for H in outputs}) > 1:
                raise ValueError(
                    f"the encoders return {[len(H) for H in outputs]} rows for one batch: they must be paired"
                )
            parts.append([H.double().cpu() for H in outputs])
    if not parts:
        raise ValueError("there are no batches")
    return [torch.cat(of_view) for of_view in zip(*parts, strict=True)]


def check_outputs(outputs: list[Tensor], where: str, views: Sequence[str]) -> None:
    """Refuses what is not a finite matrix of numbers for each view."""
    for name, H in zip(views, outputs, strict=True):
        if not isinstance(H, Tensor) or H.ndim != 2 or not H.is_floating_point():
            shape = tuple(H.shape) if isinstance(H, Tensor) else type(H).__name__
            raise ValueError(f"the encoder of {name} must return a (rows, outputs) float tensor, got {shape}")
        if not bool(torch.isfinite(H).all()):
            raise NumericalError(
                f"the encoder of {name} returned NaN or infinity in {where}; "
                "try a smaller learning_rate or a larger reg"
            )


def warn_of_small_batches(plan: Plan, n: int, n_outputs: int) -> None:
    """Where batches of n rows have no more rows than outputs, so that the loss cannot vary."""
    rows = n
    if plan.optimizer != "lbfgs":
        used, n_batches = batches(n, plan.batch_size)
        rows = -(-used // n_batches)
    if rows - 1 > n_outputs:
        return
    plan.loss._has_warned = True  # once is enough
    what = f"{n} training" if rows == n else f"batch_size={plan.batch_size} makes batches of {rows}"
    warn(
        f"{what} rows for networks with {n_outputs} outputs: their correlations are 1 by counting, whatever "
        f"the networks, but for reg={plan.loss.reg!r}; take at least ten times as many rows as components"
    )
