"""The training loop of the label embeddings that have no closed form: Adam with a cosine decay."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcca.errors import NumericalError

__all__ = ["Adam", "Minimum", "batch_rows", "minimise"]

Array = NDArray[Any]
Parameters = dict[str, Array]
# (parameters, rows of the batch or None for all) -> value, gradients
Objective = Callable[[Parameters, NDArray[np.int64] | None], tuple[float, Mapping[str, Array]]]


class Minimum(NamedTuple):
    """Where :func:`minimise` ended, and the objective on the way, one value an epoch."""

    parameters: Parameters
    loss_curve: NDArray[np.float64]


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


def minimise(
    objective: Objective,
    start: Mapping[str, Array],
    *,
    n_rows: int,
    n_epochs: int,
    learning_rate: float,
    batch_size: int | None,
    rng: np.random.Generator,
    project: Callable[[Parameters], None] | None = None,
) -> Minimum:
    """Minimise by Adam, the rate falling from ``learning_rate`` to 0 along half a cosine.

    Parameters
    ----------
    objective : callable
        Value and gradients on some rows (None: all). Parameters without a gradient stay as they are.
    start : mapping of str to array
        First values, which are copied.
    n_rows, batch_size : int, int or None
        More rows than a batch holds are shuffled into batches of nearly equal size; else each step takes all.
    n_epochs : int
        Passes over the rows.
    learning_rate : float
        First step, as a share of each parameter's root mean square.
    rng : Generator
        Of the shuffles.
    project : callable, optional
        Called after each step to put the parameters back, in place, where they may be.
    """
    parameters = {name: np.array(value) for name, value in start.items()}
    adam = Adam(parameters)
    curve = np.zeros(n_epochs)
    n_steps = n_epochs * len(batch_rows(n_rows, batch_size, np.random.default_rng(0)))
    for epoch in range(n_epochs):
        batches = batch_rows(n_rows, batch_size, rng)
        for rows in batches:
            value, gradients = objective(parameters, rows)
            if not np.isfinite(value):
                raise NumericalError(
                    f"the objective became {value} in epoch {epoch + 1}: a smaller learning_rate may help, "
                    f"now {learning_rate:g}"
                )
            curve[epoch] += value / len(batches)
            adam.step(
                parameters, gradients, 0.5 * learning_rate * (1.0 + np.cos(np.pi * adam.count / n_steps))
            )
            if project is not None:
                project(parameters)
    return Minimum(parameters, curve)
