"""What the deep estimators share: the check of parameters, the run of a training, callbacks, files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import nn
from tqdm import tqdm

from fastcca._arguments.parameters import (
    BATCH_SIZE,
    CALLABLES,
    FLAG,
    FRACTION,
    LEARNING_RATE,
    N_EPOCHS,
    N_THREADS,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_INTEGER,
    RANDOM_STATE,
    Constraint,
    anything,
    choice,
)
from fastcca._models.atomic_fit import keep_after
from fastcca.deep._checkpoint import Checkpoint, open_checkpoint
from fastcca.deep._files import SavedDeepModel
from fastcca.deep._training import (
    Best,
    Epoch,
    Rows,
    Schedule,
    batches,
    keep_best,
    split_rows,
    torch_environment,
)

__all__ = [
    "OWN_TRAINING",
    "SHARED",
    "DeepEstimator",
    "MakesOptimizer",
    "MakesScheduler",
    "or_callable",
    "refuse_both",
]


MakesOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
MakesScheduler = Callable[[torch.optim.Optimizer], Any]


def _is_device(value: Any) -> bool:
    try:
        if value is None:  # which torch.device takes for its default
            return False
        torch.empty(0, device=torch.device(value))
    # PyTorch asserts that it was built for CUDA, and raises RuntimeError for most else
    except (TypeError, ValueError, RuntimeError, AssertionError):
        return False
    return True


def or_callable(constraint: Constraint) -> Constraint:
    """The same, or a callable that makes what the words stand for."""
    return Constraint(
        f"{constraint.expected} or a callable", lambda value: callable(value) or constraint.accepts(value)
    )


# By name: the same parameter means the same in every deep estimator.
SHARED: Mapping[str, Constraint] = {
    "n_components": POSITIVE_INTEGER,
    "hidden": anything("widths of layers"),  # with the views, which may have their own
    "activation": anything("the name of an activation or a callable"),  # where networks are built
    "learning_rate": LEARNING_RATE,
    "schedule": choice("cosine", "constant"),
    "n_epochs": N_EPOCHS.or_none,
    "batch_size": BATCH_SIZE,
    "weight_decay": NOT_NEGATIVE,
    "input_noise": NOT_NEGATIVE,
    "dropout": FRACTION,
    "validation_fraction": FRACTION,
    "patience": POSITIVE_INTEGER.or_none,
    "scale": choice("view", "columns"),
    "device": Constraint("one that PyTorch has here", _is_device),
    "dtype": choice("float32", "float64"),
    "autocast": choice(None, "bfloat16", "float16"),
    "random_state": RANDOM_STATE,
    "verbose": FLAG,
    "callbacks": CALLABLES,
    "n_threads": N_THREADS,
}


# Of estimators that take optimisers and schedulers of the user's own.
OWN_TRAINING: Mapping[str, Constraint] = {
    "optimizer": or_callable(choice("adam", "adamw")),
    "schedule": or_callable(choice("cosine", "constant")),
    "clip_norm": POSITIVE.or_none,
    "compile": FLAG,
}


class DeepEstimator(SavedDeepModel):
    """An estimator whose fit trains networks by epochs.

    A subclass adds the ``_constraints`` of parameters of its own, and in its ``fit`` calls, in this order,
    :meth:`_check_parameters`, :meth:`_environment`, :meth:`_split` and :meth:`_train`.
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = SHARED
    _least_validation_rows: ClassVar[int]
    _default_batches: ClassVar[tuple[int, int, int]]  # of a training, and how few and many epochs that is

    n_epochs: int | None
    batch_size: int
    validation_fraction: float
    device: str
    autocast: str | None
    random_state: Any
    verbose: bool
    callbacks: Sequence[Callable[[Any], bool | None]]
    n_threads: int | None
    history_: list[dict[str, Any]]
    best_epoch_: int

    def _check_parameters(self) -> None:
        """Refuses parameters that do not go together; each by itself is checked before, by its constraint."""

    def _schedule(self, n: int) -> dict[str, Any]:
        """The fields of :class:`Schedule` for ``n`` rows."""
        n_epochs = self.n_epochs
        if n_epochs is None:
            wanted, least, most = self._default_batches
            n_epochs = int(np.clip(np.ceil(wanted / batches(n, self.batch_size)[1]), least, most))
        names = ("optimizer", "learning_rate", "schedule", "weight_decay", "batch_size", "patience")
        own = [name for name in ("clip_norm", "compile") if hasattr(self, name)]
        autocast = None if self.autocast is None else getattr(torch, self.autocast)
        given = {name: getattr(self, name) for name in (*names, *own)}
        return {"n_epochs": n_epochs, "autocast": autocast, **given}

    def _open_checkpoint(self, path: Any, networks: nn.Module, arrays: Iterable[Any]) -> Checkpoint | None:
        """The checkpoint of a fit that begins with these networks; ``arrays`` say which data it is of."""
        told = ("callbacks", "verbose", "n_threads", "device", *self._own_modules)
        params = self.get_params(deep=False)  # type: ignore[attr-defined]
        said = {name: value for name, value in params.items() if name not in told}
        return open_checkpoint(path, self.random_state, networks, self.device, said, arrays)

    @contextmanager
    def _environment(self) -> Iterator[Any]:
        """PyTorch's generators and threads as the parameters have them; gives the RandomState."""
        random = check_random_state(self.random_state)
        seed, device = int(random.randint(2**31)), torch.device(self.device)
        with torch_environment(seed, self.n_threads, device):
            yield random

    def _split(self, n: int, validation: Any, groups: Any, random: Any) -> tuple[Rows, Rows | None]:
        """The rows to train on, and those set aside to choose the best epoch by."""
        fraction = 0.0 if validation is not None else self.validation_fraction
        return split_rows(n, fraction, self._least_validation_rows, groups, random)

    def _train(
        self,
        networks: nn.Module,
        schedule: Schedule,
        epochs: Iterator[Epoch],
        keep: Callable[[], None],
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Trains the networks, ends with those of the best epoch, and makes this the estimator of these.

        The best epoch has the highest :attr:`Epoch.score`. ``keep`` sets the attributes of a fit with the
        networks as they are. Interrupted, a first fit keeps the best epoch so far. With a ``checkpoint`` the
        training goes on where that one's ended, and is saved after each epoch.
        """
        first = not hasattr(self, self._saved_networks[0])
        best = Best(networks)
        self.history_ = []
        self.best_epoch_ = 0
        if checkpoint is not None:
            checkpoint.resume(networks, best, self.history_)
            if checkpoint.finished:
                epochs = iter(())

        def save(epoch: Epoch, ends: bool) -> None:
            if checkpoint is not None:
                ends = ends or epoch.number >= schedule.n_epochs
                checkpoint.save(epoch.number, networks, best, self.history_, ends)

        def keep_best_epoch() -> None:
            self.best_epoch_ = best.epoch
            keep()

        with tqdm(total=schedule.n_epochs, disable=not self.verbose, unit="epoch") as bar:
            try:
                keep_best(
                    best, epochs, lambda epoch: self._after_epoch(epoch, bar, keep), schedule.patience, save
                )
            except KeyboardInterrupt as interrupt:
                if first:
                    keep_best_epoch()
                    keep_after(interrupt, self)
                raise
        keep_best_epoch()

    def _after_epoch(self, epoch: Epoch, bar: Any, keep: Callable[[], None]) -> bool:
        """Whether a callback asks to stop."""
        row = epoch.record()
        self.history_.append(row)
        bar.update()
        hidden = ("epoch", "learning_rate")
        bar.set_postfix({k: f"{v:.3g}" for k, v in row.items() if k not in hidden and v is not None})
        fitted = False

        def model() -> Any:  # the first that asks for the model has it fitted, for all of them
            nonlocal fitted
            if not fitted:
                self.best_epoch_ = epoch.number
                keep()
                fitted = True
            return self

        epoch._fitted = model
        answers = [bool(callback(epoch)) for callback in self.callbacks]  # each is called
        epoch._fitted = lambda: self  # whoever kept the epoch has the estimator as it is by then
        return any(answers)


def refuse_both(validation: Any, groups: Any) -> None:
    if validation is not None and groups is not None:
        raise ValueError("validation and groups are two ways to choose the rows to validate on: give one")
