"""How networks are trained: data on their way to them, gradients, optimisers, stopping.

The first half serves every model, the second, from :class:`Plan` on, the two encoders of Deep CCA. Nothing
here knows of scikit-learn; the estimators do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastcca.deep._lbfgs import minimize
from fastcca.deep.correlation_loss import CorrelationLoss
from fastcca.errors import NumericalError
from fastcca.functional.correlation import correlation_loss

__all__ = [
    "Best",
    "Epoch",
    "Plan",
    "Schedule",
    "Source",
    "TrainedModule",
    "batches",
    "call_back",
    "encode",
    "evaluation",
    "full_batch_gradient",
    "keep_best",
    "minibatches",
    "train",
    "tried",
]

VIEWS = ("X", "y")
AnyEpoch = TypeVar("AnyEpoch")


class Source:
    """Rows of one view on their way into a network: centred, scaled, on the device, a batch at a time.

    The array itself is not copied; memory maps stay on disk.
    """

    def __init__(
        self,
        data: NDArray[Any],
        mean: NDArray[Any],
        scale: NDArray[Any],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.data = data
        self.device, self.dtype = device, dtype
        self.mean = torch.as_tensor(mean, dtype=dtype, device=device)
        self.factor = torch.as_tensor(1 / scale, dtype=dtype, device=device)
        # Doubles become narrower once they are centred: before, a large mean would take all their digits.
        # Nor has a narrow number the reciprocal of every narrow scale.
        self.wide: tuple[Tensor, Tensor] | None = None
        ordinary = np.min(scale) > 1e-30 and np.max(scale) < 1e30
        if dtype != torch.float64 and (data.dtype == np.float64 or not ordinary):
            self.wide = torch.as_tensor(mean, dtype=torch.float64), torch.as_tensor(1 / scale).double()

    def __len__(self) -> int:
        return len(self.data)

    def rows(self, index: Any) -> Tensor:
        block = torch.from_numpy(np.array(self.data[index], order="C"))  # a copy
        if self.wide is not None:
            return block.double().sub_(self.wide[0]).mul_(self.wide[1]).to(self.device, self.dtype)
        return (block.to(self.device, self.dtype) - self.mean) * self.factor


class TrainedModule(nn.Module):
    """Modules that are in evaluation mode when :meth:`keep_modes` is called stay in it while training."""

    def keep_modes(self) -> None:
        self.frozen = [m for m in self.modules() if not m.training and m is not self]

    def train(self, mode: bool = True) -> TrainedModule:
        super().train(mode)
        for module in getattr(self, "frozen", ()):
            module.training = False
        return self


@contextmanager
def evaluation(*modules: nn.Module) -> Iterator[None]:
    """The modules in evaluation mode, and all parts of them in their own modes afterwards."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a network is optimised on minibatches, and when that ends."""

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.1
    weight_decay: float = 0.0
    epochs: int = 30
    batch_size: int = 1000
    patience: int | None = None


class Best:
    """The parameters at the best epoch so far."""

    def __init__(self, networks: nn.Module) -> None:
        self.networks = networks
        self.score = -math.inf
        self.epoch = 0
        self.state: dict[str, Tensor] | None = None

    def offer(self, score: float, epoch: int) -> None:
        if math.isfinite(score) and score > self.score:
            self.score, self.epoch = score, epoch
            self.state = {name: t.detach().clone() for name, t in self.networks.state_dict().items()}

    def restore(self) -> None:
        if self.state is not None:
            self.networks.load_state_dict(self.state)


def learning_rate(plan: Schedule, progress: float) -> float:
    """The rate at this share of the training: a linear rise, then constant or a half cosine down to 0."""
    if progress < plan.warmup:
        return plan.learning_rate * max(progress, 1e-3) / plan.warmup
    if plan.schedule == "constant":
        return plan.learning_rate
    share = (progress - plan.warmup) / (1 - plan.warmup)
    return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def keep_best(
    networks: nn.Module,
    epochs: Iterator[AnyEpoch],
    score: Callable[[AnyEpoch], float],
    after_epoch: Callable[[AnyEpoch], bool],
    patience: int | None,
) -> Best:
    """Runs through the epochs and leaves the networks as they were at the highest score.

    Also when interrupted. ``after_epoch`` is called after each epoch and ends the training by returning
    True, as do ``patience`` epochs without a higher score.
    """
    best = Best(networks)
    try:
        for number, epoch in enumerate(epochs, start=1):
            best.offer(score(epoch), number)
            if after_epoch(epoch):
                break
            if patience is not None and number - best.epoch >= patience:
                break
    finally:
        # Interrupted or failed: what was best so far is what is kept.
        best.restore()
        networks.eval()
    return best


def minibatches(
    networks: nn.Module,
    schedule: Schedule,
    rows: NDArray[np.intp],
    batch_loss: Callable[[NDArray[np.intp], str], Tensor],
) -> Iterator[tuple[int, float, float]]:
    """Adam or AdamW; after each epoch its number, the mean loss and the last learning rate.

    ``batch_loss`` is given the rows of a batch and words for where the training stands.
    """
    parameters = trained_parameters(networks)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    optimizer = kinds[schedule.optimizer](
        parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    n_rows, n_batches = batches(len(rows), schedule.batch_size)
    for number in range(1, schedule.epochs + 1):
        networks.train()
        # Batches of nearly equal size, whose order and members torch's generator draws.
        order = rows[torch.randperm(len(rows)).numpy()[:n_rows]]
        total = 0.0
        for b, index in enumerate(np.array_split(order, n_batches)):
            rate = learning_rate(schedule, (number - 1 + b / n_batches) / schedule.epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            value = batch_loss(index, f"epoch {number}")
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(value.detach()) / n_batches
        yield number, total, rate


def batches(n: int, batch_size: int) -> tuple[int, int]:
    """How many of n rows an epoch trains on, and in how many batches of at most ``batch_size``.

    All rows, but where one would be left for a batch of its own, for which normalisation by the batch has no
    variance: then all but one, another in each epoch.
    """
    n_batches = math.ceil(n / batch_size)
    if n // n_batches == 1 < min(n, batch_size):
        return n - 1, (n - 1) // 2
    return n, n_batches


def trained_parameters(networks: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    parameters = [p for p in networks.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("there is nothing to train: no parameter of the networks has requires_grad=True")
    return parameters


@dataclass(frozen=True)
class Plan(Schedule):
    """What :func:`train` is to do."""

    loss: CorrelationLoss
    chunk: int = 2000
    reconstruction: float = 0.0
    autocast: torch.dtype | None = None
    augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None


@dataclass
class Epoch:
    """What a callback is given after each epoch; it stops the training by returning True."""

    number: int
    loss: float
    train_correlation: float
    validation_correlation: float | None
    learning_rate: float
    fitted: Callable[[], Any] = field(default=lambda: None, repr=False)

    @property
    def model(self) -> Any:
        """The estimator, fitted with the parameters of this epoch."""
        return self.fitted()


def call_back(
    epoch: Any, callbacks: Sequence[Callable[[Any], Any]], model: Any, fit: Callable[[], None]
) -> bool:
    """Whether a callback asks to stop. The first that asks for the model has it fitted, for all of them."""
    done = False

    def fitted() -> Any:
        nonlocal done
        if not done:
            fit()
            done = True
        return model

    epoch.fitted = fitted
    answers = [bool(callback(epoch)) for callback in callbacks]  # each is called
    epoch.fitted = lambda: model  # whoever kept the epoch has the estimator as it is by then
    return any(answers)


class Networks(TrainedModule):
    """The two encoders, and two decoders where reconstruction counts."""

    def __init__(self, encoders: list[nn.Module], decoders: list[nn.Module]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.decoders = nn.ModuleList(decoders)
        self.keep_modes()


def chunks(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


@torch.no_grad()
def encode(encoder: nn.Module, source: Source, chunk: int, index: NDArray[np.intp] | None = None) -> Tensor:
    """Outputs for all rows (or those of ``index``), without a graph, in the encoder's present mode."""
    n = len(source) if index is None else len(index)
    out: Tensor | None = None
    for rows in chunks(n, chunk):
        block = encoder(source.rows(rows if index is None else index[rows]))
        if not isinstance(block, Tensor) or len(block) != rows.stop - rows.start:
            found = tuple(block.shape) if isinstance(block, Tensor) else type(block).__name__
            raise ValueError(
                f"an encoder must return one row of outputs per row, got {found} "
                f"for {rows.stop - rows.start} rows"
            )
        if out is None:
            out = block.new_empty((n, *block.shape[1:]))
        out[rows] = block
    if out is None:
        raise ValueError("there are no rows to encode")
    return out


@contextmanager
def tried(network: str, given: str) -> Iterator[None]:
    """A network's first run on a few rows: what it cannot take is told with its name."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(f"{network} cannot take {given}: {error}") from error


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


def full_batch_gradient(
    networks: Networks,
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


def penalty(networks: Networks, weight_decay: float) -> float:
    """λ/2 ‖θ‖² over all parameters that are trained, its gradient λ θ added to ``.grad``."""
    total = 0.0
    for p in trained_parameters(networks):
        total += 0.5 * weight_decay * float(p.detach().square().sum())
        if p.grad is not None:
            p.grad.add_(p.detach(), alpha=weight_decay)
    return total


def total_correlation(value: Tensor, outputs: list[Tensor], loss: CorrelationLoss) -> float:
    """What the outputs' total correlation is where the loss has this value."""
    if loss.objective == "trace":
        return -float(value.detach())
    with torch.no_grad():
        return -float(CorrelationLoss(loss.k, loss.reg)(*outputs))


def correlation_of(networks: Networks, sources: list[Source], plan: Plan, index: NDArray[np.intp]) -> float:
    """Total correlation of the outputs on rows, by an exact small CCA; the networks keep their mode."""
    with evaluation(*networks.encoders):
        outputs = [
            encode(e, s, plan.chunk, index).double().cpu().numpy()
            for e, s in zip(networks.encoders, sources, strict=True)
        ]
    k = plan.loss.k
    return -correlation_loss(outputs[0], outputs[1], k, plan.loss.reg, gradient=False)[0]


def train(
    networks: Networks,
    sources: list[Source],
    plan: Plan,
    train_rows: NDArray[np.intp],
    validation: tuple[list[Source], NDArray[np.intp]] | None,
    after_epoch: Callable[[Epoch], bool],
) -> Best:
    """Trains in place and leaves the networks at their best epoch, also when interrupted.

    Best is the highest correlation of the ``validation`` rows; without such rows, the last complete epoch.
    ``after_epoch`` is called after each epoch and ends the training by returning True.
    """
    run = _lbfgs if plan.optimizer == "lbfgs" else _minibatches

    def score(epoch: Epoch) -> float:
        if validation is None:
            return float(epoch.number)
        held_out, held_out_rows = validation
        epoch.validation_correlation = correlation_of(networks, held_out, plan, held_out_rows)
        return epoch.validation_correlation

    return keep_best(networks, run(networks, sources, plan, train_rows), score, after_epoch, plan.patience)


def _minibatches(
    networks: Networks, sources: list[Source], plan: Plan, rows: NDArray[np.intp]
) -> Iterator[Epoch]:
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
        yield Epoch(number, total, correlation, None, rate)
        correlation = 0.0


def _lbfgs(networks: Networks, sources: list[Source], plan: Plan, rows: NDArray[np.intp]) -> Iterator[Epoch]:
    parameters = trained_parameters(networks)
    correlations: dict[float, float] = {}  # by the objective's value at the same point
    number = 1

    def evaluate() -> float:
        loss, correlation = full_batch_gradient(networks, sources, plan, rows, f"epoch {number}")
        value = loss + (penalty(networks, plan.weight_decay) if plan.weight_decay else 0.0)
        correlations[value] = correlation
        return value

    for value in minimize(parameters, evaluate, plan.epochs):
        yield Epoch(number, value, correlations[value], None, 1.0)
        number += 1
