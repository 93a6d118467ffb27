"""How the encoders of Deep CCA are trained: the loss of a batch or of all rows, and its epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastcca._arguments.warn import warn
from fastcca.deep._training import Epoch, Schedule, Source, batches, chunks, encode, minibatches, minimize
from fastcca.deep.losses.correlation import CorrelationLoss
from fastcca.deep.networks import TrainedModule, evaluation, trained_parameters
from fastcca.errors import NumericalError
from fastcca.functional import correlation_loss

__all__ = [
    "DeepCCAEpoch",
    "EncoderPair",
    "Plan",
    "check_outputs",
    "epochs_of",
    "full_batch_gradient",
    "warn_of_small_batches",
]

VIEWS = ("X", "y")


class EncoderPair(TrainedModule):
    """The two encoders, and two decoders where reconstruction counts."""

    def __init__(self, encoders: list[nn.Module], decoders: list[nn.Module]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.decoders = nn.ModuleList(decoders)
        self.keep_modes()


@dataclass(frozen=True, kw_only=True)
class Plan(Schedule):
    """How the encoders are trained, and by which loss."""

    loss: CorrelationLoss
    chunk: int = 2000
    reconstruction: float = 0.0
    autocast: torch.dtype | None = None
    augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None


@dataclass(kw_only=True)
class DeepCCAEpoch(Epoch):
    """What a callback of :class:`DeepCCA` is given after each epoch; returning True ends the training.

    Attributes
    ----------
    number : int
        The epoch, from 1.
    loss : float
        What is minimised: the mean over the batches, or the value for all rows with ``optimizer="lbfgs"``.
    learning_rate : float
        Of the last batch.
    train_correlation : float
        Total correlation of the outputs, of training batches their mean.
    validation_correlation : float or None
        Total correlation of the outputs for the validation rows.
    model : DeepCCA
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
    networks: EncoderPair,
    sources: list[Source],
    plan: Plan,
    rows: NDArray[np.intp],
    validation: tuple[list[Source], NDArray[np.intp]] | None,
) -> Iterator[DeepCCAEpoch]:
    """Trains in place, an epoch at a time, and measures the total correlation of the ``validation`` rows."""
    run = _lbfgs if plan.optimizer == "lbfgs" else _minibatches
    for epoch in run(networks, sources, plan, rows):
        if validation is not None:
            held_out, held_out_rows = validation
            epoch.validation_correlation = correlation_of(networks, held_out, plan, held_out_rows)
        yield epoch


def _minibatches(
    networks: EncoderPair, sources: list[Source], plan: Plan, rows: NDArray[np.intp]
) -> Iterator[DeepCCAEpoch]:
    device = sources[0].device.type
    n_batches = batches(len(rows), plan.batch_size)[1]
    correlation = 0.0

    def batch_loss(index: NDArray[np.intp], where: str) -> Tensor:
        nonlocal correlation
        inputs = [s.rows(index) for s in sources]
        if plan.augment is not None:
            inputs = list(plan.augment(*inputs))
        with torch.autocast(device, plan.autocast or torch.bfloat16, enabled=plan.autocast is not None):
            outputs = [e(x) for e, x in zip(networks.encoders, inputs, strict=True)]
        check_outputs(outputs, where)
        value: Tensor = plan.loss(*outputs)
        correlation += total_correlation(value, outputs, plan.loss) / n_batches
        if plan.reconstruction:
            with torch.autocast(device, plan.autocast or torch.bfloat16, enabled=plan.autocast is not None):
                for decoder, H, x in zip(networks.decoders, outputs, inputs, strict=True):
                    value = value + plan.reconstruction * (decoder(H) - x).square().sum() / len(index)
        return value

    for number, total, rate in minibatches(networks, plan, rows, batch_loss):
        yield DeepCCAEpoch(number=number, loss=total, learning_rate=rate, train_correlation=correlation)
        correlation = 0.0


def _lbfgs(
    networks: EncoderPair, sources: list[Source], plan: Plan, rows: NDArray[np.intp]
) -> Iterator[DeepCCAEpoch]:
    parameters = trained_parameters(networks)
    correlations: dict[float, float] = {}  # by the objective's value at the same point
    number = 1

    def evaluate() -> float:
        loss, correlation = full_batch_gradient(networks, sources, plan, rows, f"epoch {number}")
        value = loss + (penalty(networks, plan.weight_decay) if plan.weight_decay else 0.0)
        correlations[value] = correlation
        return value

    for value in minimize(parameters, evaluate, plan.n_epochs):
        yield DeepCCAEpoch(
            number=number, loss=value, learning_rate=1.0, train_correlation=correlations[value]
        )
        number += 1


def full_batch_gradient(
    networks: EncoderPair,
    sources: list[Source],
    plan: Plan,
    index: NDArray[np.intp] | None = None,
    where: str = "training",
) -> tuple[float, float]:
    """The loss over all rows and its correlation part; the exact gradient is added to ``.grad``.

    Pass 1 computes the outputs in chunks without a graph; the loss gives its gradient with respect to them;
    pass 2 runs every chunk forwards again and that gradient backwards. No more than one chunk's graph and the
    outputs are ever held, whatever the number of rows. The networks run in evaluation mode: what
    they compute must not depend on the chunk or on chance.
    """
    networks.eval()
    n = len(sources[0]) if index is None else len(index)
    with torch.no_grad():
        outputs = [encode(e, s, plan.chunk, index) for e, s in zip(networks.encoders, sources, strict=True)]
    check_outputs(outputs, where)
    leaves = [H.requires_grad_() for H in outputs]
    value = plan.loss(*leaves)
    gradients = torch.autograd.grad(value, leaves)
    total = float(value.detach())
    for rows in chunks(n, plan.chunk):
        take = rows if index is None else index[rows]
        for i, (encoder, source) in enumerate(zip(networks.encoders, sources, strict=True)):
            x = source.rows(take)
            H = encoder(x)
            parts = [(H, gradients[i][rows])]
            if plan.reconstruction:
                error = plan.reconstruction * (networks.decoders[i](H) - x).square().sum() / n
                total += float(error.detach())
                parts.append((error, torch.ones_like(error)))
            parts = [(tensor, gradient) for tensor, gradient in parts if tensor.requires_grad]
            if parts:  # none of an encoder that is frozen
                torch.autograd.backward([tensor for tensor, _ in parts], [gradient for _, gradient in parts])
    return total, total_correlation(value, outputs, plan.loss)


def penalty(networks: EncoderPair, weight_decay: float) -> float:
    """λ/2 ‖θ‖² over all parameters that are trained, its gradient λ θ added to ``.grad``."""
    total = 0.0
    for p in trained_parameters(networks):
        total += 0.5 * weight_decay * float(p.detach().square().sum())
        if p.grad is not None:
            p.grad.add_(p.detach(), alpha=weight_decay)
    return total


def total_correlation(value: Tensor, outputs: list[Tensor], loss: CorrelationLoss) -> float:
    """What the outputs' total correlation is where the loss has this value."""
    if loss.objective == "trace_norm":
        return -float(value.detach())
    with torch.no_grad():
        return -float(CorrelationLoss(loss.n_components, loss.reg)(*outputs))


def correlation_of(
    networks: EncoderPair, sources: list[Source], plan: Plan, index: NDArray[np.intp]
) -> float:
    """Total correlation of the outputs on rows, by an exact small CCA; the networks keep their mode."""
    with evaluation(*networks.encoders):
        outputs = [
            encode(e, s, plan.chunk, index).double().cpu().numpy()
            for e, s in zip(networks.encoders, sources, strict=True)
        ]
    loss = plan.loss
    return -correlation_loss(outputs[0], outputs[1], loss.n_components, loss.reg, gradient=False)[0]


def check_outputs(outputs: list[Tensor], where: str) -> None:
    """Refuses what is not a pair of finite matrices of numbers."""
    for name, H in zip(VIEWS, outputs, strict=True):
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
