"""From two kernels to weights of features: landmarks, moments of their features, the one solver."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from tqdm import tqdm

from fastcca import _core
from fastcca._two_view import Weights
from fastcca._validation import refuse_non_finite
from fastcca._warn import warn
from fastcca.errors import NumericalError
from fastcca.functional._arrays import thread_count
from fastcca.functional.kernels import Kernel, factorise
from fastcca.functional.moments import Moments, from_parts
from fastcca.functional.solver import Solution, solve_moments

__all__ = ["CALLED_SLAB", "FeatureSums", "LandmarkView", "choose_landmarks", "collect", "solve_features"]

# Landmarks are chosen among all rows while the features of that choice take at most this many bytes, else
# among a sample of so many rows. Uniform pivots do not look at the features: for them a few more
# rows than the rank are enough, to stand in for copies.
SELECTION_BYTES = 2**30
SAMPLED_ROWS = 256
LEAST_PART = 1e-10
_SLAB = 16384  # rows handed to the core at a time: what a progress bar and an interrupt see
CALLED_SLAB = 2048  # the same where kernel values come from Python

Array = NDArray[Any]


@dataclass(frozen=True)
class LandmarkView:
    """One view's landmarks: their rows, the kernel, and the Cholesky factor of its values between them."""

    kernel: Kernel
    points: Array  # (m, d)
    factor: NDArray[np.float64]  # (m, m), lower

    @property
    def rank(self) -> int:
        return len(self.points)

    @staticmethod
    def of(kernel: Kernel, points: Array, n_threads: int | None) -> LandmarkView:
        """Landmarks in the order of their pivots. Those whose pivot is lost to rounding are left out."""
        K = np.asarray(kernel.matrix(np.asarray(points, dtype=np.float64), None, n_threads), dtype=np.float64)
        m = len(K)
        while True:
            factor, failed = _core.landmark_factor(K[:m, :m], thread_count(n_threads))
            if failed < 0:
                return LandmarkView(kernel, np.ascontiguousarray(points[:m]), factor)
            if failed == 0:
                raise NumericalError(
                    f"{kernel.name}: the kernel is not positive semidefinite at the first landmark"
                )
            m = failed


@dataclass(frozen=True)
class FeatureSums:
    """What the fit needs of rows; sums, which add up over parts of the data."""

    moments: Moments  # of the features of both views
    cross: NDArray[np.float64]  # (mx + my, p + q): features with the columns of both views, less their shift
    column_sum: NDArray[np.float64]  # (p + q,)
    column_square: NDArray[np.float64]  # (p + q,)
    residual: NDArray[np.float64]  # (2, 2): per view, the trace left out and the whole trace

    def __add__(self, other: FeatureSums) -> FeatureSums:
        fields = ("moments", "cross", "column_sum", "column_square", "residual")
        with np.errstate(over="ignore", invalid="ignore"):  # whoever uses the sums looks at them
            return FeatureSums(*(getattr(self, name) + getattr(other, name) for name in fields))


def choose_landmarks(
    kernel: Kernel,
    data: Array,
    weights: Weights,
    name: str,
    *,
    rank: int,
    tol: float,
    pivoting: str,
    random_state: Any,
    n_threads: int | None,
    verbose: bool,
) -> NDArray[np.intp]:
    """Row indices of the pivots of an incomplete Cholesky factorisation."""
    rank = min(rank, len(data))
    tol *= _varying_part(kernel, data, weights, name)
    counted = np.arange(len(data)) if weights is None else np.flatnonzero(weights)
    many = max(2 * rank, SELECTION_BYTES // (rank * data.itemsize))
    pivots = np.empty(0, dtype=np.intp)
    for most in (rank + rank // 4, many) if pivoting == "uniform" else (many,):
        rows = None
        if len(counted) > most:
            rows = np.sort(np.random.RandomState(0).choice(counted, most, replace=False))
        factor = factorise(
            kernel,
            data if rows is None else data[rows],
            rank,
            tol,
            pivoting,
            random_state=random_state,
            sample_weight=weights if weights is None or rows is None else weights[rows],
            name=name,
            n_threads=n_threads,
            verbose=verbose,
        )
        pivots = np.asarray(factor.pivots, dtype=np.intp)
        if rows is None:
            break
        pivots = rows[pivots]
        if len(pivots) == rank:
            break
    return pivots


def _varying_part(kernel: Kernel, data: Array, weights: Weights, name: str) -> float:
    """The part of the kernel's trace that centring leaves, where it may be little; warns of too little."""
    if kernel.kernel not in ("linear", "polynomial"):
        return 1.0
    rows = data if weights is None else data[weights > 0]
    rows = rows[:: max(1, len(rows) // SAMPLED_ROWS)].astype(np.float64)
    K = np.asarray(kernel.matrix(rows), dtype=np.float64)
    trace = float(K.trace())
    part = (trace - float(K.mean()) * len(K)) / trace if trace > 0 else 1.0
    eps = float(np.finfo(np.float64).eps)
    part = min(1.0, max(part, eps))
    if 16 * eps < part < LEAST_PART:  # below that nothing varies, which is an error later
        warn(
            f"the values of {name}'s {kernel.kernel} kernel vary by {part:.0e} of their size: directions are "
            "lost to rounding. Centre the columns of the data, for instance by StandardScaler"
        )
    return part


def collect(
    x: LandmarkView,
    y: LandmarkView,
    X: Array,
    Y: Array,
    weights: Weights,
    n_threads: int | None,
    verbose: bool,
) -> FeatureSums:
    """One pass over the data."""
    dtype = np.result_type(X.dtype, Y.dtype)
    core = _core.FeatureMoments32 if dtype == np.float32 else _core.FeatureMoments64
    # The columns' shift is a function of the landmarks, so that sums of several passes add up.
    shifts = [view.points.mean(axis=0, dtype=np.float64).astype(dtype) for view in (x, y)]
    maps = [
        (view.points.astype(dtype, copy=False), view.factor, view.kernel.spec, shift)
        for view, shift in zip((x, y), shifts, strict=True)
    ]
    sums = core(maps[0], maps[1], ["X", "y"])
    called = callable(x.kernel.kernel) or callable(y.kernel.kernel)
    slab = CALLED_SLAB if called else _SLAB

    def part(view: LandmarkView, rows: Array) -> tuple[Array, Array, NDArray[np.float64] | None]:
        rows = rows.astype(dtype, copy=False)
        if not callable(view.kernel.kernel):
            return rows, rows, None
        return view.kernel.matrix(rows, view.points), rows, view.kernel.diagonal(rows)

    with tqdm(total=len(X), desc="moments: rows", disable=not verbose) as bar:
        for start in range(0, len(X), slab):
            rows = slice(start, min(start + slab, len(X)))
            w = None if weights is None else weights[rows]
            try:
                sums.add(part(x, X[rows]), part(y, Y[rows]), w, thread_count(n_threads))
            except ValueError:
                refuse_non_finite("X", X)  # positions count from the start of the data
                refuse_non_finite("y", Y)
                raise
            bar.update(rows.stop - rows.start)
    # float32 features are summed in float64: their covariances are good to far below float32's epsilon.
    eps = np.full(x.rank + y.rank, np.finfo(np.float64).eps)
    moments = from_parts((x.rank, y.rank), eps, *sums.finish(thread_count(n_threads)))
    return FeatureSums(moments, *sums.columns, np.array(sums.residuals))


def solve_features(
    moments: Moments, k: int, reg: tuple[float, float], penalty: str, n_threads: int | None
) -> Solution:
    """Weights of centred features.

    The ridge penalty is that of linear CCA. Bach and Jordan's, in the features' covariance C and
    c = N κ / (2 (N - 1)), replaces C by (C + cI) C⁻¹ (C + cI) = C + 2cI + c²C⁻¹, which is a ridge of 1 for
    the features times B, where B Bᵀ = (2cI + c²C⁻¹)⁻¹. With C = R Rᵀ, which may be singular,
    B Bᵀ = R (2c RᵀR + c²I)⁻¹ Rᵀ.
    """
    if penalty == "ridge" or reg == (0.0, 0.0):
        return solve_moments(moments, k, reg, n_threads)
    maps = []
    for view, kappa in enumerate(reg):
        C = moments.covariance(view, view)
        if kappa == 0:
            raise ValueError("reg must be positive for both views, or 0 for both, with penalty='bach-jordan'")
        c = moments.n * kappa / (2 * (moments.n - 1))
        R = _semidefinite_factor(C)
        H = 2 * c * (R.T @ R)
        H[np.diag_indices_from(H)] += c * c
        maps.append(solve_triangular(cholesky(H, lower=True), R.T, lower=True).T)
    none = np.zeros_like(moments.shift)
    sx, sy = moments.slices
    bx, by = maps
    across = bx.T @ moments.scatter[sx, sy] @ by
    scatter = np.block(
        [[bx.T @ moments.scatter[sx, sx] @ bx, across], [across.T, by.T @ moments.scatter[sy, sy] @ by]]
    )
    mapped = from_parts(moments.dims, moments.eps, moments.n, none, none, scatter)
    solution = solve_moments(mapped, k, 1.0, n_threads)
    return replace(solution, x_weights=bx @ solution.x_weights, y_weights=by @ solution.y_weights)


def _semidefinite_factor(C: NDArray[np.float64]) -> NDArray[np.float64]:
    """R with R Rᵀ = C up to rounding, for a positive semidefinite C: centred features are dependent."""
    jitter = len(C) * np.finfo(np.float64).eps * C.diagonal().max()
    for _ in range(8):
        try:
            shifted = C.copy()
            shifted[np.diag_indices_from(C)] += jitter
            factor: NDArray[np.float64] = cholesky(shifted, lower=True)
            return factor
        except LinAlgError:
            jitter *= 10
    raise NumericalError("the features' covariance is not positive semidefinite")
