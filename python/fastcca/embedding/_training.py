"""How label embeddings without a closed form are trained: the loss against the labels, and Adam."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from fastcca._arguments.parameters import BATCH_SIZE, LEARNING_RATE, N_EPOCHS, N_THREADS, RANDOM_STATE, choice
from fastcca.errors import NumericalError
from fastcca.functional.hinge import ConstraintTable, hinge_embedding_loss

__all__ = [
    "LOSSES",
    "SIMILARITY",
    "TRAINING",
    "Adam",
    "LabelLoss",
    "Minimum",
    "Objective",
    "Parameters",
    "Schedule",
    "batch_rows",
    "label_loss",
    "minimise",
    "seed_of",
]

Array = NDArray[Any]
Parameters = dict[str, Array]
# (parameters, rows of the batch or None for all) -> value, gradients
Objective = Callable[[Parameters, NDArray[np.int64] | None], tuple[float, Mapping[str, Array]]]
LabelLoss = Literal["hinge", "hardest", "rank", "softmax"]

# The parameter ``loss`` of the estimators, as arguments of the kernel.
LOSSES: dict[LabelLoss, dict[str, Any]] = {
    "hinge": {"negatives": "sum"},
    "hardest": {"negatives": "hardest"},
    "rank": {"negatives": "rank"},
    "softmax": {"loss": "softmax"},
}

SIMILARITY = choice("euclidean", "cosine")
# The constraints of the parameters that every training has.
TRAINING = {
    "n_epochs": N_EPOCHS,
    "learning_rate": LEARNING_RATE,
    "batch_size": BATCH_SIZE.or_none,
    "random_state": RANDOM_STATE,
    "n_threads": N_THREADS,
}


def label_loss(
    Z: Array,
    U: Array,
    y: NDArray[np.int64],
    loss: LabelLoss,
    weight: NDArray[np.float64] | None = None,
    table: ConstraintTable | None = None,
    *,
    gradient: bool = True,
    **options: Any,
) -> tuple[float, Array, Array]:
    """The weighted mean loss of rows Z of classes y against the labels U, with its gradients by Z and U.

    With ``table`` other pairs of nodes take the place of a class and all others. ``options`` are margin,
    similarity and n_threads of the kernel. The gradients are zeros without ``gradient``.
    """
    value, of_z, of_u, _ = hinge_embedding_loss(
        Z, U, y, table=table, sample_weight=weight, gradient=gradient, **options, **LOSSES[loss]
    )
    return value, np.zeros_like(Z) if of_z is None else of_z, np.zeros_like(U) if of_u is None else of_u


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: epochs, the initial learning rate, the size of a batch (None: all rows)."""

    n_epochs: int
    learning_rate: float
    batch_size: int | None

    @classmethod
    def of(cls, estimator: Any) -> "Schedule":
        """From the parameters of an estimator."""
        return cls(int(estimator.n_epochs), float(estimator.learning_rate), estimator.batch_size)

    def n_steps(self, n_rows: int) -> int:
        """Steps of all epochs over that many rows."""
        return self.n_epochs * len(batch_rows(n_rows, self.batch_size, np.random.default_rng(0)))

    def rate(self, step: int, n_steps: int) -> float:
        """Cosine annealing: η (1 + cos(π step / n_steps)) / 2."""
        rate: float = 0.5 * self.learning_rate * (1.0 + np.cos(np.pi * step / n_steps))
        return rate


def seed_of(random_state: Any) -> int:
    """A seed, drawn once a fit, so that fits to parts of the data have the same first values."""
    return int(check_random_state(random_state).randint(2**31 - 1))


class Minimum(NamedTuple):
    """Where :func:`minimise` ended, and the objective on the way, one value an epoch."""

    parameters: Parameters
    loss_curve: NDArray[np.float64]


def minimise(
    objective: Objective,
    start: Mapping[str, Array],
    n_rows: int,
    schedule: Schedule,
    rng: np.random.Generator,
) -> Minimum:
    """Minimise by Adam with cosine annealing, from ``start`` (copied), on batches shuffled by ``rng``.

    ``objective`` gives value and gradients on some rows (None: all). Parameters without a gradient stay as
    they are.
    """
    parameters = {name: np.array(value) for name, value in start.items()}
    adam = Adam(parameters)
    curve = np.zeros(schedule.n_epochs)
    n_steps = schedule.n_steps(n_rows)
    for epoch in range(schedule.n_epochs):
        batches = batch_rows(n_rows, schedule.batch_size, rng)
        for rows in batches:
            value, gradients = objective(parameters, rows)
            if not np.isfinite(value):
                raise NumericalError(
                    f"the objective became {value} in epoch {epoch + 1}: a smaller learning_rate may help, "
                    f"now {schedule.learning_rate:g}"
                )
            curve[epoch] += value / len(batches)
            adam.step(parameters, gradients, schedule.rate(adam.count, n_steps))
    return Minimum(parameters, curve)


class Adam:
    """Adam whose steps are measured in units of each parameter's own size.

    A step of rate η moves an array by about η times the root mean square of its first value, so that one rate
    serves maps and labels of any scale.
    """

    def __init__(self, start: Mapping[str, Array], betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.betas = betas
        self.count = 0
        self.unit = {
            name: float(np.sqrt(np.mean(np.square(a, dtype=np.float64)))) for name, a in start.items()
        }
        # an array that starts at zero (an intercept) moves in the units of the others
        other = max(self.unit.values(), default=1.0) or 1.0
        self.unit = {name: unit or other for name, unit in self.unit.items()}
        self.first = {name: np.zeros_like(a) for name, a in start.items()}
        self.second = {name: np.zeros_like(a) for name, a in start.items()}

    def step(self, parameters: Parameters, gradients: Mapping[str, Array], rate: float) -> None:
        """Change the parameters in place."""
        self.count += 1
        b1, b2 = self.betas
        for name, gradient in gradients.items():
            m, v = self.first[name], self.second[name]
            # m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g²
            m += (1.0 - b1) * (gradient - m)
            v += (1.0 - b2) * (gradient * gradient - v)
            # x <- x - η m̂ / (sqrt(v̂) + ε), ε small against the gradient's own size
            scale = np.sqrt(v / (1.0 - b2**self.count))
            scale += 1e-8 * scale.max(initial=0.0) + np.finfo(scale.dtype).tiny
            parameters[name] -= (rate * self.unit[name] / (1.0 - b1**self.count)) * (m / scale)


def batch_rows(
    n_rows: int, batch_size: int | None, rng: np.random.Generator
) -> list[NDArray[np.int64] | None]:
    """One epoch: all rows at once (None), or shuffled batches of nearly equal size."""
    if batch_size is None or n_rows <= batch_size:
        return [None]
    return list(np.array_split(rng.permutation(n_rows), -(-n_rows // batch_size)))
