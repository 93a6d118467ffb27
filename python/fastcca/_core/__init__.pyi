# One stub for the extension modules of every CPU level: they offer the same names.

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

level: str
compiler: str
eigen: str
levels_built: list[str]

def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...

# moments
def moments(
    views: Sequence[NDArray[np.float32]] | Sequence[NDArray[np.float64]],
    names: Sequence[str],
    weights: NDArray[np.float64] | None,
    n_threads: int,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...

# solver
_Moments = tuple[float, NDArray[np.float64], NDArray[np.float64], float]
_Solution = tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    tuple[int, int],
    tuple[float, float],
    tuple[bool, bool],
]

def solve_moments(
    moments: _Moments, p: int, n_components: int, reg: tuple[float, float], n_threads: int
) -> _Solution: ...
def solve_data(
    X: NDArray[np.float32] | NDArray[np.float64],
    y: NDArray[np.float32] | NDArray[np.float64],
    sample_weight: NDArray[np.float64] | None,
    n_components: int,
    reg: tuple[float, float],
    gram: bool,
    n_threads: int,
) -> _Solution: ...
def held_out_correlations(
    folds: Sequence[tuple[_Moments, _Moments]],
    total_variation: NDArray[np.float64],
    p: int,
    regs: Sequence[tuple[float, float]],
    n_components: int,
    n_threads: int,
) -> NDArray[np.float64]: ...

# losses
def correlation_loss(
    H1: NDArray[Any],
    H2: NDArray[Any],
    k: int,
    reg1: float,
    reg2: float,
    squares: bool,
    gradient: bool,
    n_threads: int,
) -> tuple[float, NDArray[Any] | None, NDArray[Any] | None]: ...
def correlation_gradients(
    H1: NDArray[Any], H2: NDArray[Any], mean: NDArray[np.float64], A: NDArray[np.float64], n_threads: int
) -> tuple[NDArray[Any], NDArray[Any]]: ...
def correlation_coefficients(
    n: float,
    mean: NDArray[np.float64],
    scatter: NDArray[np.float64],
    d1: int,
    k: int,
    reg1: float,
    reg2: float,
    squares: bool,
    eps: float,
    n_threads: int,
) -> tuple[float, NDArray[np.float64]]: ...
