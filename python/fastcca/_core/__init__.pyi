# The functions of the compiled bindings, whichever CPU level does the work.

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

eigen: str
levels_built: list[str]

def cpu_supports(level: str) -> bool: ...
def use_level(table: Any) -> None: ...
def level() -> str: ...
def compiler() -> str: ...
def use_amx() -> bool: ...
def allow_amx(allowed: bool) -> None: ...
def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...

# moments
def moments(
    views: Sequence[NDArray[np.float32]] | Sequence[NDArray[np.float64]],
    names: Sequence[str],
    weights: NDArray[np.float64] | None,
    in_double: bool,
    n_threads: int,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...

class MomentsStream64:
    def __init__(self, columns: int) -> None: ...
    def add(self, views: Sequence[NDArray[np.float64]], names: Sequence[str], n_threads: int) -> None: ...
    def finish(
        self, n_threads: int
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...

class MomentsStream32:
    def __init__(self, columns: int) -> None: ...
    def add(self, views: Sequence[NDArray[np.float32]], names: Sequence[str], n_threads: int) -> None: ...
    def finish(
        self, n_threads: int
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...

# linalg
def inverse_sqrt(S: NDArray[np.float64], floor: float, n_threads: int) -> NDArray[np.float64]: ...
def polar(T: NDArray[np.float64], eps: float, n_threads: int) -> NDArray[np.float64]: ...
def truncated_svd(
    A: NDArray[np.float64], k: int, tol: float, n_threads: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
def largest_eigenvalues(stack: NDArray[np.float64], n: int, n_threads: int) -> NDArray[np.float64]: ...
def product(A: NDArray[np.float64], B: NDArray[np.float64], n_threads: int) -> NDArray[np.float64]: ...
def add_sparse_products(
    starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    out: NDArray[np.float64],
    n_threads: int,
) -> None: ...
def solve_positive(
    A: NDArray[np.float64], B: NDArray[np.float64], floor: float, n_threads: int
) -> NDArray[np.float64] | None: ...

# solver
_Moments = tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
_Solution = tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    tuple[int, int],
    tuple[float, float],
    tuple[bool, bool],
    tuple[float, float],
]

def whiten_moments(
    moments: _Moments, start: int, width: int, reg: float, name: str, n_threads: int
) -> tuple[NDArray[np.float64], int, float, bool, float]: ...
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

# correlation
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
    rounding: float,
    factor: NDArray[np.float64] | None,
    n_threads: int,
) -> tuple[float, NDArray[np.float64], float, bool]: ...
def correlation_factor(
    H1: NDArray[Any], H2: NDArray[Any], mean: NDArray[np.float64], n_threads: int
) -> NDArray[np.float64]: ...

# contrastive
def contrastive_loss(
    A: NDArray[Any],
    B: NDArray[Any],
    shift: int,
    a_codes: NDArray[np.int64] | None,
    b_codes: NDArray[np.int64] | None,
    codes: str,
    a_weights: NDArray[np.float64] | None,
    b_weights: NDArray[np.float64] | None,
    a_weight: float,
    b_weight: float,
    scale: float,
    bias: float,
    loss: str,
    similarity: str,
    gradient: bool,
    n_threads: int,
) -> tuple[float, NDArray[Any] | None, NDArray[Any] | None, float, float]: ...

# hinge
_Table = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]

def hinge_loss(
    Z: NDArray[Any],
    U: NDArray[Any],
    y: NDArray[np.int64],
    weights: NDArray[np.float64] | None,
    weight: float,
    margin: float,
    costs: NDArray[Any] | None,
    table: _Table | None,
    similarity: str,
    loss: str,
    seed: int,
    gradient: bool,
    n_threads: int,
) -> tuple[float, NDArray[Any] | None, NDArray[Any] | None, int]: ...

# warp
def warp_epoch(
    X: NDArray[Any],
    y: NDArray[np.int64],
    order: NDArray[np.int64],
    W: NDArray[Any],
    V: NDArray[Any],
    learning_rate: float,
    margin: float,
    max_norm: float,
    seed: int,
    positive_starts: NDArray[np.int64] | None,
    positives: NDArray[np.int64] | None,
) -> tuple[float, int, int]: ...

# kernels
_Kernel = tuple[str, float, int, float]  # name, gamma, degree, coef0
# landmarks, factor, kernel, shift, whether the factor waits for the end
_Map = tuple[NDArray[Any], NDArray[np.float64], _Kernel, NDArray[Any], bool]
# kernel's input, columns, k(x, x), features
_Input = tuple[NDArray[Any], NDArray[Any], NDArray[np.float64] | None, NDArray[Any] | None]
_Three = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
# moments, sums with and of the columns, (left out, whole) of each view's trace
_FeatureSums = tuple[
    tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    _Three,
    tuple[tuple[float, float], tuple[float, float]],
]

def kernel_matrix(
    X: NDArray[Any], Y: NDArray[Any] | None, kernel: _Kernel, n_threads: int
) -> NDArray[Any]: ...
def kernel_scores(
    X: NDArray[Any],
    landmarks: NDArray[Any],
    kernel: _Kernel,
    coefficients: NDArray[np.float64],
    offset: NDArray[np.float64],
    name: str,
    n_threads: int,
) -> NDArray[Any]: ...

class PivotedCholesky64:
    @overload
    def __init__(
        self,
        X: NDArray[np.float64],
        kernel: _Kernel,
        rank: int,
        tol: float,
        pivoting: str,
        block: int,
        seed: int,
        weights: NDArray[np.float64] | None,
        name: str,
    ) -> None: ...
    @overload
    def __init__(
        self,
        diagonal: NDArray[np.float64],
        columns: Callable[[list[int]], NDArray[Any]],
        square: Callable[[list[int]], NDArray[Any]],
        rank: int,
        tol: float,
        pivoting: str,
        block: int,
        seed: int,
        weights: NDArray[np.float64] | None,
        name: str,
    ) -> None: ...
    def step(self, n_threads: int) -> bool: ...
    def take_features(self) -> NDArray[np.float64]: ...
    @property
    def pivots(self) -> list[int]: ...
    @property
    def residual_trace(self) -> NDArray[np.float64]: ...
    @property
    def rank(self) -> int: ...
    @property
    def trace(self) -> float: ...

class FeatureMoments64:
    def __init__(self, x: _Map, y: _Map, with_cross: bool, names: Sequence[str]) -> None: ...
    def add(self, x: _Input, y: _Input, weights: NDArray[np.float64] | None, n_threads: int) -> None: ...
    def finish(self, n_threads: int) -> _FeatureSums: ...

class PivotedCholesky32:
    @overload
    def __init__(
        self,
        X: NDArray[np.float32],
        kernel: _Kernel,
        rank: int,
        tol: float,
        pivoting: str,
        block: int,
        seed: int,
        weights: NDArray[np.float64] | None,
        name: str,
    ) -> None: ...
    @overload
    def __init__(
        self,
        diagonal: NDArray[np.float64],
        columns: Callable[[list[int]], NDArray[Any]],
        square: Callable[[list[int]], NDArray[Any]],
        rank: int,
        tol: float,
        pivoting: str,
        block: int,
        seed: int,
        weights: NDArray[np.float64] | None,
        name: str,
    ) -> None: ...
    def step(self, n_threads: int) -> bool: ...
    def take_features(self) -> NDArray[np.float32]: ...
    @property
    def pivots(self) -> list[int]: ...
    @property
    def residual_trace(self) -> NDArray[np.float64]: ...
    @property
    def rank(self) -> int: ...
    @property
    def trace(self) -> float: ...

class FeatureMoments32:
    def __init__(self, x: _Map, y: _Map, with_cross: bool, names: Sequence[str]) -> None: ...
    def add(self, x: _Input, y: _Input, weights: NDArray[np.float64] | None, n_threads: int) -> None: ...
    def finish(self, n_threads: int) -> _FeatureSums: ...

def landmark_factor(K: NDArray[np.float64], n_threads: int) -> tuple[NDArray[np.float64], int]: ...
def landmark_coefficients(
    factor: NDArray[np.float64], weights: NDArray[np.float64], n_threads: int
) -> NDArray[np.float64]: ...
def solve_dual(
    Kx: NDArray[np.float64],
    Ky: NDArray[np.float64],
    bach_jordan: bool,
    shift: tuple[float, float],
    components: int,
    tol: float,
    n_threads: int,
) -> (
    tuple[
        NDArray[np.float64],
        NDArray[np.float64],
        NDArray[np.float64],
        NDArray[np.float64],
        NDArray[np.float64],
    ]
    | None
): ...

# retrieval
def top_k(
    gallery: NDArray[np.float32] | NDArray[np.float64],
    queries: NDArray[np.float32] | NDArray[np.float64],
    similarity: str,
    k: int,
    n_threads: int,
) -> tuple[NDArray[np.int64], NDArray[Any]]: ...
