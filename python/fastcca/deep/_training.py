"""How networks are trained, whatever the model: rows, minibatches, L-BFGS, the best epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastcca.deep.networks import trained_parameters
from fastcca.errors import NumericalError

__all__ = [
    "Best",
    "Epoch",
    "Feed",
    "Resumable",
    "RowFeed",
    "Schedule",
    "Source",
    "batches",
    "chunks",
    "compiled",
    "encode",
    "generator_states",
    "keep_best",
    "learning_rate",
    "minibatches",
    "minimize",
    "rows_like",
    "set_generator_states",
    "split_rows",
    "torch_environment",
    "tried",
]

AnyEpoch = TypeVar("AnyEpoch", bound="Epoch")
Rows = NDArray[np.intp]


# ---- rows


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


def split_rows(n: int, fraction: float, least: int, groups: Any, random: Any) -> tuple[Rows, Rows | None]:
    """The rows to train on and those set aside, in ascending order; None for fewer than ``least`` of these.

    ``groups``, one label a row or None, are not divided: groups are set aside in random order until they hold
    the fraction of the rows, but not more than half of all rows; the smallest where none is as small as that.
    """
    wanted = int(n * fraction)
    if groups is None:
        order = random.permutation(n)
        if wanted < least:
            return np.sort(order), None
        return np.sort(order[wanted:]), np.sort(order[:wanted])
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise ValueError(f"groups must have shape ({n},), one label a row, got {labels.shape}")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError(f"groups contains NaN: the first is at row {int(np.isnan(labels).argmax())}")
    _, member, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise ValueError("groups must hold at least two labels: the rows of one cannot be on both sides")
    taken = np.zeros(len(sizes), dtype=bool)
    for group in random.permutation(len(sizes)):
        total = sizes[taken].sum()
        taken[group] = total < wanted and 2 * (total + sizes[group]) <= n
    if wanted and not taken.any():
        taken[sizes.argmin()] = True
    aside = taken[member.reshape(-1)]
    if min(wanted, aside.sum()) < least:
        return np.arange(n), None
    return np.flatnonzero(~aside), np.flatnonzero(aside)


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
    """A network's first run on a few rows: the error of what it cannot take names it."""
    try:
        yield
    except (RuntimeError, IndexError) as error:
        raise ValueError(f"{network} cannot take {given}: {error}") from error


def rows_like(weight: Tensor, X: Any) -> Tensor:
    """``X`` as finite rows for a layer of these weights, of their width, dtype and device."""
    x = torch.as_tensor(X if isinstance(X, Tensor) else np.asarray(X)).detach()
    x = x.to(weight.device, weight.dtype)
    if x.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"X must have shape (n, {weight.shape[1]}), got {tuple(x.shape)}")
    if not len(x):
        raise ValueError("X has no rows")
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"X contains NaN, infinity or numbers beyond {str(x.dtype).removeprefix('torch.')}")
    return x


# ---- epochs


@dataclass(kw_only=True)
class Epoch:
    """What a callback is given after each epoch."""

    number: int
    loss: float
    learning_rate: float
    _fitted: Callable[[], Any] = field(default=lambda: None, repr=False, compare=False)

    @property
    def model(self) -> Any:
        """The estimator, fitted with the parameters of this epoch.

        It is fitted when it is asked for, and goes on training afterwards.
        """
        return self._fitted()

    @property
    def score(self) -> float:
        """What is highest at the best epoch."""
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        """The row of ``history_``."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_")}
        return {"epoch": values.pop("number"), **values}


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


def keep_best(
    best: Best,
    epochs: Iterator[AnyEpoch],
    after_epoch: Callable[[AnyEpoch], bool],
    patience: int | None,
    save: Callable[[AnyEpoch, bool], None] = lambda epoch, ends: None,
) -> None:
    """Runs through the epochs and leaves the networks as they were at the highest score.

    Also when interrupted. ``after_epoch`` is called after each epoch and ends the training by returning
    True, as do ``patience`` epochs without a higher score. ``save`` is called last, with whether it ends.
    """
    try:
        for epoch in epochs:
            best.offer(epoch.score, epoch.number)
            ends = after_epoch(epoch)
            ends = ends or (patience is not None and epoch.number - best.epoch >= patience)
            save(epoch, ends)
            if ends:
                break
    finally:
        # Interrupted or failed: what was best so far is what is kept.
        best.restore()
        best.networks.eval()


# ---- optimisers


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a network is optimised on minibatches, and when that ends."""

    optimizer: str | Callable[..., Any] = "adam"  # or a maker: of the parameters
    learning_rate: float = 1e-3
    schedule: str | Callable[..., Any] = "cosine"  # or a maker of a scheduler: of the optimiser
    warmup: float = 0.1
    weight_decay: float = 0.0
    n_epochs: int = 30
    batch_size: int = 1000
    patience: int | None = None
    clip_norm: float | None = None
    compile: bool = False
    autocast: torch.dtype | None = None

    def autocasting(self, device: torch.device, enabled: bool = True) -> torch.autocast:
        """The context in which the networks run in training."""
        enabled = enabled and self.autocast is not None
        return torch.autocast(device.type, self.autocast or torch.bfloat16, enabled=enabled)


def learning_rate(schedule: Schedule, progress: float) -> float:
    """The rate at this fraction of the training: linear warm-up, then constant or cosine annealing to 0."""
    if progress < schedule.warmup:
        return schedule.learning_rate * max(progress, 1e-3) / schedule.warmup
    if schedule.schedule == "constant":
        return schedule.learning_rate
    fraction = (progress - schedule.warmup) / (1 - schedule.warmup)
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))


def batches(n: int, batch_size: int) -> tuple[int, int]:
    """How many of n rows an epoch trains on, and in how many batches of at most ``batch_size``.

    All rows, but where one would be left for a batch of its own, for which normalisation by the batch has no
    variance: then all but one, another in each epoch.
    """
    n_batches = math.ceil(n / batch_size)
    if n // n_batches == 1 < min(n, batch_size):
        return n - 1, (n - 1) // 2
    return n, n_batches


class Feed(Protocol):
    """What an epoch trains on: batches, whatever they are, as often as it is iterated over."""

    @property
    def n_batches(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class RowFeed:
    """Batches of nearly equal size of row numbers, whose order and members torch's generator draws."""

    def __init__(self, rows: Rows, batch_size: int) -> None:
        self.rows = rows
        self.n_rows, self.n_batches = batches(len(rows), batch_size)

    def __iter__(self) -> Iterator[Rows]:
        order = self.rows[torch.randperm(len(self.rows)).numpy()[: self.n_rows]]
        yield from np.array_split(order, self.n_batches)


class Resumable(Protocol):
    """What :class:`fastcca.deep._checkpoint.Checkpoint` is for an optimiser."""

    notes: dict[str, Any]

    @property
    def number(self) -> int: ...

    def attach(self, name: str, part: Any) -> None: ...

    def resume_generators(self) -> None: ...


def minibatches(
    networks: nn.Module,
    schedule: Schedule,
    feed: Feed | Rows,
    batch_loss: Callable[[Any, str], Tensor],
    checkpoint: Resumable | None = None,
) -> Iterator[tuple[int, float, float]]:
    """An optimiser on minibatches; after each epoch its number, the mean loss and the last learning rate.

    ``batch_loss`` is given a batch, by default the numbers of its rows, and words for the point of the
    training. With a ``checkpoint`` of an earlier run the epochs after it follow.
    """
    feed = RowFeed(feed, schedule.batch_size) if isinstance(feed, np.ndarray) else feed
    parameters = trained_parameters(networks)
    optimizer = _optimizer(parameters, schedule)
    scheduler = schedule.schedule(optimizer) if callable(schedule.schedule) else None
    first_rates = [group["lr"] for group in optimizer.param_groups]
    # Gradients in float16 vanish below 6e-8: the loss is scaled up, the gradients back before the step.
    device = parameters[0].device
    scaler = torch.amp.GradScaler(device.type, enabled=schedule.autocast == torch.float16)
    if checkpoint is not None:
        checkpoint.attach("optimizer", optimizer)
        if scaler.is_enabled():
            checkpoint.attach("scaler", scaler)
        if scheduler is not None:
            checkpoint.attach("scheduler", scheduler)
        checkpoint.resume_generators()
    n_batches, rate = feed.n_batches, 0.0
    for number in range(1 + (checkpoint.number if checkpoint else 0), schedule.n_epochs + 1):
        networks.train()
        total = 0.0
        for b, batch in enumerate(feed):
            if scheduler is None:
                rate = learning_rate(schedule, (number - 1 + b / n_batches) / schedule.n_epochs)
                for group, first in zip(optimizer.param_groups, first_rates, strict=True):
                    group["lr"] = rate * (first / schedule.learning_rate)
            rate = float(optimizer.param_groups[0]["lr"])
            optimizer.zero_grad(set_to_none=True)
            with _computable(schedule, device):
                value = batch_loss(batch, f"epoch {number}")
                scaler.scale(value).backward()  # type: ignore[no-untyped-call]
            if schedule.clip_norm is not None:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(parameters, schedule.clip_norm)
            scaler.step(optimizer)
            if _scale_kept(scaler, f"epoch {number}") and scheduler is not None:
                scheduler.step()
            total += float(value.detach()) / n_batches
        yield number, total, rate


def _scale_kept(scaler: torch.amp.GradScaler, where: str) -> bool:
    """Adapts the scale; False where the gradients overflowed, so that the step was left out."""
    before = scaler.get_scale()
    scaler.update()
    after = scaler.get_scale()
    if after < 2.0**-24:  # some 40 batches in a row
        raise NumericalError(
            f"gradients are NaN or infinity in {where}, however small their scale: "
            "try a smaller learning_rate or autocast='bfloat16'"
        )
    return after >= before


@contextmanager
def _computable(schedule: Schedule, device: torch.device) -> Iterator[None]:
    """The error of operators that a device lacks in half precision names the parameter."""
    try:
        yield
    except RuntimeError as error:  # NotImplementedError is one
        if schedule.autocast is None or "not implemented for" not in str(error):
            raise
        kind = str(schedule.autocast).removeprefix("torch.")
        raise ValueError(f"autocast={kind!r}: {device} cannot compute the networks so: {error}") from error


def _optimizer(parameters: list[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    if callable(schedule.optimizer):
        made = schedule.optimizer(parameters)
        if not isinstance(made, torch.optim.Optimizer):
            raise ValueError(f"optimizer must return a torch.optim.Optimizer, got {type(made).__name__}")
        return made
    kinds: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    built: torch.optim.Optimizer = kinds[schedule.optimizer](
        parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    return built


def _compiled_call(module: nn.Module) -> Callable[..., Any]:
    """What ``module.compile()`` sets, but of an ``nn.Sequential`` too.

    The compiler skips a call whose first frame is PyTorch's own, with all that is in it.
    """

    inner: Callable[..., Any] = module._call_impl

    def call(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    compiled_call: Callable[..., Any] = torch.compile(call)
    return compiled_call


@contextmanager
def compiled(modules: Iterable[nn.Module], wanted: bool) -> Iterator[None]:
    """The modules compiled by ``torch.compile`` meanwhile, in place."""
    modules = list(modules) if wanted else []
    for module in modules:
        module._compiled_call_impl = _compiled_call(module)
    try:
        yield
    finally:
        for module in modules:
            module._compiled_call_impl = None


def minimize(
    parameters: list[nn.Parameter],
    evaluate: Callable[[], float],
    iterations: int,
    history: int = 20,
    checkpoint: Resumable | None = None,
) -> Iterator[float]:
    """Full-batch L-BFGS: the objective after each iteration; ends early where no step lowers it any more.

    No point is evaluated twice.

    ``evaluate`` returns the objective and leaves its gradient in the parameters' ``.grad``.
    """
    optimizer = torch.optim.LBFGS(
        parameters,
        lr=1.0,
        max_iter=1,
        max_eval=25,
        history_size=history,
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )
    # Each step of the optimiser begins by evaluating the point at which the last one ended.
    known: list[tuple[list[Tensor], float, list[Tensor]]] = []

    def closure() -> float:
        for point, value, gradient in known:
            if all(torch.equal(p, q) for p, q in zip(parameters, point, strict=True)):
                for p, g in zip(parameters, gradient, strict=True):
                    p.grad = g.clone()
                return value
        for p in parameters:
            p.grad = torch.zeros_like(p)
        value = evaluate()
        gradients = [p.grad.clone() for p in parameters if p.grad is not None]
        known.append(([p.detach().clone() for p in parameters], value, gradients))
        return value

    if checkpoint is not None:
        checkpoint.attach("optimizer", optimizer)
        checkpoint.resume_generators()
        if checkpoint.notes.get("no step lowers it"):
            return
    for _ in range(checkpoint.number if checkpoint else 0, iterations):
        before = [p.detach().clone() for p in parameters]
        optimizer.step(closure)  # type: ignore[no-untyped-call]
        now = next(
            (e for e in known if all(torch.equal(p, q) for p, q in zip(parameters, e[0], strict=True))), None
        )
        known[:] = [now] if now is not None else []
        ends = all(torch.equal(p, q) for p, q in zip(parameters, before, strict=True))
        if checkpoint is not None:
            checkpoint.notes["no step lowers it"] = ends
        yield closure()
        if ends:
            return


# ---- the PyTorch that a fit runs in


@contextmanager
def torch_environment(seed: int, n_threads: int | None, device: torch.device) -> Iterator[None]:
    """The generators of the CPU and of ``device`` started from ``seed``, PyTorch's threads set.

    Both are as before afterwards. The generators of other devices are not touched.
    """
    before = torch.get_num_threads()
    # Layers such as dropout draw from the devices' own generators: those take the states of local ones.
    kept = generator_states({torch.device("cpu"), device})
    try:
        for d, _ in kept:
            _set_generator_state(d, torch.Generator(device=d).manual_seed(seed).get_state())
        if n_threads is not None:
            torch.set_num_threads(n_threads)
        yield
    finally:
        torch.set_num_threads(before)
        set_generator_states(kept)


def generator_states(devices: Iterable[torch.device]) -> list[tuple[torch.device, Tensor]]:
    """The states of the generators of those devices that have one."""
    return [(d, _generator_state(d)) for d in devices if _has_generator(d)]


def set_generator_states(states: Iterable[tuple[torch.device, Tensor]]) -> None:
    for device, state in states:
        _set_generator_state(device, state)


def _has_generator(device: torch.device) -> bool:
    return device.type == "cpu" or hasattr(getattr(torch, device.type, None), "set_rng_state")


def _generator_state(device: torch.device) -> Tensor:
    state: Tensor
    if device.type == "cpu":
        state = torch.random.get_rng_state()
    elif device.type == "mps":  # there is one only
        state = torch.mps.get_rng_state()
    else:
        state = getattr(torch, device.type).get_rng_state(device)
    return state


def _set_generator_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cpu":
        torch.random.set_rng_state(state)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        getattr(torch, device.type).set_rng_state(state, device)
