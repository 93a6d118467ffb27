"""Kernel canonical correlation analysis by incomplete Cholesky factors: :class:`KernelCCA`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from tqdm import tqdm

from fastcca._arguments.arrays import as_matrix, narrowed, refuse_non_finite
from fastcca._arguments.parameters import (
    DEGREE,
    FLAG,
    FRACTION,
    N_COMPONENTS,
    N_THREADS,
    NUMBER,
    POSITIVE_INTEGER,
    RANDOM_STATE,
    RIDGES,
    at_most,
    choice,
    real_pair,
    thread_count,
)
from fastcca._arguments.warn import warn
from fastcca._models.docs import documented
from fastcca._models.files import Schema
from fastcca._models.two_view import ScoreStatistics, TwoViewTransformer, View, Weights, score_statistics
from fastcca.cca.precomputed import (
    KERNEL_OR_PRECOMPUTED,
    PRECOMPUTED,
    PrecomputedKernel,
    bound,
    check_precomputed,
    is_precomputed,
    row_numbers,
)
from fastcca.errors import NumericalError
from fastcca.functional.kernels import (
    GAMMA,
    PIVOTING,
    Kernel,
    KernelFunction,
    factorise,
    feature_moments,
    kernel_scores,
    landmark_coefficients,
    landmark_factor,
    solve_dual,
)
from fastcca.functional.moments import Moments, from_parts
from fastcca.functional.solver import Solution, solve_moments

__all__ = ["KernelCCA"]


# Landmarks are chosen among all rows while the features of that choice take at most this many bytes, else
# among a sample of so many rows. Uniform pivots do not look at the features: for them a few more
# rows than the rank are enough, to stand in for copies.
SELECTION_BYTES = 2**30
SAMPLED_ROWS = 256
LEAST_PART = 1e-10
LATE_ERROR = 0.01  # of covariances, relative to the ridge: a bound, some thousand times what it comes to
INVERSE_ITERATIONS = 8
_SLAB = 16384  # rows handed to the core at a time: what a progress bar and an interrupt see
CALLED_SLAB = 2048  # the same where kernel values come from Python

Array = NDArray[Any]
VIEWS: tuple[View, View] = ("X", "y")
FloatPair = tuple[NDArray[np.float64], NDArray[np.float64]]
Features = tuple[Array | None, Array | None]  # (n, m) of each view, more columns than landmarks allowed


@dataclass(frozen=True)
class LandmarkView:
    """One view's landmarks: their rows, the kernel, and the Cholesky factor of its values between them."""

    kernel: Kernel
    points: Array  # (m, d)
    factor: NDArray[np.float64]  # (m, m), lower

    @property
    def rank(self) -> int:
        return len(self.points)

    @property
    def shift(self) -> Array:
        """About the means of the view's columns: those of the landmarks."""
        means: Array = self.columns_of(self.points).mean(axis=0, dtype=np.float64)
        return means

    def columns_of(self, rows: Array) -> Array:
        """The columns of the data, of which a precomputed kernel knows none."""
        return rows[:, :0] if is_precomputed(self.kernel) else rows

    def may_wait(self, reg: float) -> bool:
        """Whether the features' covariances may come from those of kernel values, L⁻¹ from both sides.

        Of kernel values up to κ, that is off by eps m κ² over the smallest eigenvalue of K = L Lᵀ at most, by
        the features a root of it: little next to the ridge it must be.
        """
        largest = np.einsum("ij,ij->i", self.factor, self.factor).max()
        v = np.random.RandomState(0).standard_normal(self.rank)
        growth = 0.0
        for _ in range(INVERSE_ITERATIONS):
            v /= np.linalg.norm(v)
            v = solve_triangular(
                self.factor, solve_triangular(self.factor, v, lower=True), lower=True, trans=1
            )
            growth = float(np.linalg.norm(v))  # of 1 / the smallest eigenvalue, from below
        eps = float(np.finfo(np.float64).eps)
        return bool(eps * self.rank * largest**2 * growth <= LATE_ERROR * reg)

    @staticmethod
    def of(kernel: Kernel, points: Array, n_threads: int | None) -> LandmarkView:
        """Landmarks in the order of their pivots. Those whose pivot is lost to rounding are left out."""
        K = np.asarray(kernel.matrix(np.asarray(points, dtype=np.float64), None, n_threads), dtype=np.float64)
        m = len(K)
        while True:
            factor, failed = landmark_factor(K[:m, :m], n_threads)
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
    kernel: Kernel, data: Array, weights: Weights, name: str, **options: Any
) -> NDArray[np.intp]:
    """Row indices of the pivots of an incomplete Cholesky factorisation."""
    return landmarks_and_features(kernel, data, weights, name, **options)[0]


def landmarks_and_features(
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
) -> tuple[NDArray[np.intp], Array | None]:
    """The same, and the features of all rows where they were chosen among all."""
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
            return pivots, factor.take_features()[: len(pivots)].T
        pivots = rows[pivots]
        if len(pivots) == rank:
            break
    return pivots, None


def _varying_part(kernel: Kernel, data: Array, weights: Weights, name: str) -> float:
    """The part of the kernel's trace that centring leaves, where it may be little; warns of too little."""
    if kernel.kernel not in ("linear", "polynomial") and not is_precomputed(kernel):
        return 1.0
    rows = data if weights is None else data[weights > 0]
    rows = rows[:: max(1, len(rows) // SAMPLED_ROWS)].astype(np.float64)
    K = np.asarray(kernel.matrix(rows), dtype=np.float64)
    trace = float(K.trace())
    part = (trace - float(K.mean()) * len(K)) / trace if trace > 0 else 1.0
    eps = float(np.finfo(np.float64).eps)
    part = min(1.0, max(part, eps))
    if 16 * eps < part < LEAST_PART:  # below that nothing varies, which is an error later
        kind = PRECOMPUTED if is_precomputed(kernel) else kernel.kernel
        warn(
            f"the values of {name}'s {kind} kernel vary by {part:.0e} of their size: directions are "
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
    features: Features = (None, None),
    *,
    reg: float = 0.0,
    with_cross: bool = True,
) -> FeatureSums:
    """One pass over the data, whose ``features`` may be known.

    ``reg``: the ridge of the one fit that the sums are for; 0 where they are kept, added or subtracted.
    ``with_cross=False``: without products of the features with the columns of the data.
    """
    dtype = np.result_type(X.dtype, Y.dtype)
    maps = []
    for view, known in zip((x, y), features, strict=True):
        late = known is None and dtype == np.float64 and reg > 0 and view.may_wait(reg)
        # The columns' shift is a function of the landmarks, so that sums of several passes add up.
        points, shift = view.points.astype(dtype, copy=False), view.shift.astype(dtype)
        maps.append((points, view.factor, view.kernel.spec, shift, late))
    sums = feature_moments(dtype == np.float32, maps[0], maps[1], with_cross)
    called = callable(x.kernel.kernel) or callable(y.kernel.kernel)
    slab = CALLED_SLAB if called else _SLAB

    def part(view: LandmarkView, data: Array, known: Array | None, at: slice) -> tuple[Any, ...]:
        rows = data[at].astype(dtype, copy=False)
        some = None if known is None else known[at, : view.rank].astype(dtype, copy=False)
        if not callable(view.kernel.kernel):
            return rows, rows, None, some
        values = view.kernel.matrix(rows, view.points) if some is None else some
        return values, view.columns_of(rows), view.kernel.diagonal(rows), some

    with tqdm(total=len(X), desc="moments: rows", disable=not verbose) as bar:
        for start in range(0, len(X), slab):
            rows = slice(start, min(start + slab, len(X)))
            w = None if weights is None else weights[rows]
            try:
                of_x, of_y = part(x, X, features[0], rows), part(y, Y, features[1], rows)
                sums.add(of_x, of_y, w, thread_count(n_threads))
            except ValueError:
                refuse_non_finite("X", X)  # positions count from the start of the data
                refuse_non_finite("y", Y)
                raise
            bar.update(rows.stop - rows.start)
    # float32 features are summed in float64: their covariances are good to far below float32's epsilon.
    eps = np.full(x.rank + y.rank, np.finfo(np.float64).eps)
    moments, (cross, column_sum, column_square), traces = sums.finish(thread_count(n_threads))
    moments = from_parts((x.rank, y.rank), eps, *moments)
    return FeatureSums(moments, cross, column_sum, column_square, np.array(traces))


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


KEPT_BYTES = 2**23  # moments up to this size are kept after fit, for partial_fit to go on from
MOST_COLUMNS = 250  # of both views, whose covariances with features are taken in the pass over these


MOST_RESIDUAL = 0.7  # of the trace of a kernel, without a warning

# Where every row may be a landmark, n × n factors are cheaper than moments of 2n features between these n.
DUAL_ROWS = range(400, 12001)

Pair = tuple[Any, Any]


class KernelTwoView(TwoViewTransformer):
    """A kernel map of each view: what :class:`KernelCCA` and :class:`KernelCCACV` share."""

    _schema = Schema(
        fields="singular_values_ total_correlation_ x_loadings_ y_loadings_ x_cross_loadings_ "
        "y_cross_loadings_ x_landmark_indices_ y_landmark_indices_ "
        "x_landmarks_ y_landmarks_ x_weights_ y_weights_ "
        "x_offset=_x_offset y_offset=_y_offset solver_ x_gamma_ y_gamma_ x_rank_ y_rank_ x_residual_ "
        "y_residual_"
    )
    _constraints = {  # noqa: RUF012
        "n_components": N_COMPONENTS,
        "kernel": real_pair(KERNEL_OR_PRECOMPUTED),
        "degree": DEGREE,
        "coef0": NUMBER,
        "penalty": choice("ridge", "bach-jordan"),
        "rank": POSITIVE_INTEGER,
        "tol": FRACTION,
        "pivoting": PIVOTING,
        "random_state": RANDOM_STATE,
        "n_threads": N_THREADS,
        "verbose": FLAG,
    }

    n_components: int | None
    kernel: Any
    degree: int
    coef0: float
    penalty: str
    rank: int
    tol: float
    pivoting: str
    random_state: Any
    n_threads: int | None
    verbose: bool

    solver_: str
    total_correlation_: float
    x_weights_: NDArray[np.float64]
    y_weights_: NDArray[np.float64]
    x_landmarks_: Array | None
    y_landmarks_: Array | None
    x_landmark_indices_: NDArray[np.intp] | None
    y_landmark_indices_: NDArray[np.intp] | None
    x_gamma_: float
    y_gamma_: float
    _x_offset: NDArray[np.float64]
    _y_offset: NDArray[np.float64]
    _sums: tuple[Any, ...]
    _for_partial_fit = ("_sums",)

    def _rows_at_once(self, data: Array) -> int:
        return _SLAB

    def _scores(self, view: View, data: Array) -> Array:
        x = view == "X"
        kernel = self._kernels((self.x_gamma_, self.y_gamma_))[0 if x else 1]
        landmarks, indices, coefficients, offset = (
            (self.x_landmarks_, self.x_landmark_indices_, self.x_weights_, self._x_offset)
            if x
            else (self.y_landmarks_, self.y_landmark_indices_, self.y_weights_, self._y_offset)
        )
        dtype = data.dtype
        if landmarks is None:  # of a precomputed kernel: the data are its values
            landmarks = np.empty((len(coefficients), 1), dtype=dtype)
        with np.errstate(over="ignore"):
            converted = landmarks.astype(dtype, copy=False)
        if np.isfinite(converted).all():
            landmarks = converted
        else:  # rows of a narrower type than the fit's, which does not hold its landmarks
            data = data.astype(landmarks.dtype)

        def scores(rows: Array) -> Array:
            found = kernel_scores(rows, landmarks, kernel, coefficients, offset, view, self.n_threads)
            return found.astype(dtype, copy=False)

        if not callable(kernel.kernel):
            return scores(data)
        refuse_non_finite(view, data)
        if indices is not None and is_precomputed(kernel):
            return scores(data[:, indices])
        slabs = [slice(i, i + CALLED_SLAB) for i in range(0, len(data), CALLED_SLAB)]
        return np.concatenate([scores(kernel.matrix(data[rows], landmarks)) for rows in slabs])

    # ---- parameters

    def _kernels(self, gamma: Any) -> tuple[Kernel, Kernel]:
        kernels, gammas = _pair_of(self.kernel, "kernel"), _pair_of(gamma, "gamma")
        x, y = (
            Kernel(PrecomputedKernel() if is_precomputed(k) else k, g, self.degree, self.coef0, "kernel")
            for k, g in zip(kernels, gammas, strict=True)
        )
        return x, y

    @property
    def _precomputed(self) -> tuple[bool, bool]:
        """Which views are kernel matrices."""
        x, y = map(is_precomputed, _pair_of(self.kernel, "kernel"))
        return x, y

    def _check_kernels(self, X: Array, Y: Array) -> None:
        """Refuse NaN and infinity, and matrices that are no kernels where they should be."""
        for name, data, precomputed in zip("Xy", (X, Y), self._precomputed, strict=True):
            refuse_non_finite(name, data)
            if precomputed:
                check_precomputed(name, data, self.n_threads)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        first = self.kernel[0] if isinstance(self.kernel, (tuple, list)) and self.kernel else self.kernel
        tags.input_tags.pairwise = is_precomputed(first)
        return tags

    # ---- the fit

    def _choose_views(
        self, kernels: tuple[Kernel, Kernel], X: Array, Y: Array, weights: Weights, landmarks: Pair | None
    ) -> tuple[tuple[LandmarkView, LandmarkView], Features]:
        """Landmarks of both views, from the rows or given, and what is known of the rows' features.

        Sets ``x_landmark_indices_``.
        """
        views, known = [], []
        for view, kernel, data, given in zip("Xy", kernels, (X, Y), landmarks or (None, None), strict=True):
            options = {
                "pivoting": self.pivoting,
                "random_state": self.random_state,
                "n_threads": self.n_threads,
                "verbose": self.verbose,
            }
            indices = features = None
            if given is None:
                indices, features = landmarks_and_features(
                    kernel, data, weights, view, rank=int(self.rank), tol=self.tol, **options
                )
                points = data[indices]
            else:
                name = f"landmarks[{0 if view == 'X' else 1}]"
                if is_precomputed(kernel):
                    raise ValueError(f"{name} cannot be given: the kernel of {view} is precomputed")
                points = as_matrix(name, given, vector=view == "y")
                refuse_non_finite(name, points)
                if points.shape[1] != data.shape[1]:
                    raise ValueError(f"{name} has {points.shape[1]} features, {view} has {data.shape[1]}")
                points = narrowed(points, data.dtype, name)
                # In an order, and without those, that the others determine.
                options["pivoting"] = "greedy"
                kept = choose_landmarks(kernel, points, None, name, rank=len(points), tol=0.0, **options)
                points = points[kept]
            chosen = LandmarkView.of(kernel, points, self.n_threads)
            views.append(chosen)
            known.append(features)
            setattr(
                self, f"{view.lower()}_landmark_indices_", None if indices is None else indices[: chosen.rank]
            )
        return (views[0], views[1]), (known[0], known[1])

    def _fit_kernels(
        self, X: Array, Y: Array, weights: Weights, gamma: Any, reg: Any, landmarks: Pair | None = None
    ) -> FeatureSums | None:
        """Fit to checked arrays; what a later ``partial_fit`` may go on from."""
        regs = RIDGES("reg", reg)
        self._check_kernels(X, Y)
        kernels = self._fitted_kernels(gamma, X, Y, weights)
        X, Y = (row_numbers(kernel, data) for kernel, data in zip(kernels, (X, Y), strict=True))
        if (
            landmarks is None
            and weights is None
            and self.rank >= len(X)
            and len(X) in DUAL_ROWS
            and min(regs) > 0
            and self._fit_dual(kernels, X, Y, regs)
        ):
            return None
        views, features = self._choose_views(kernels, X, Y, weights, landmarks)
        dtypes = X.dtype, Y.dtype
        take = partial(collect, *views, X, Y, weights, self.n_threads, self.verbose, features)
        if 8 * (views[0].rank + views[1].rank) ** 2 <= KEPT_BYTES:
            sums = take()
            self._fit_sums(views, sums, regs, dtypes)
            return sums
        # Covariances of so many features with many columns take longer than those of the scores do later.
        again = X.shape[1] + Y.shape[1] > MOST_COLUMNS and not any(callable(k.kernel) for k in kernels)
        sums = take(reg=min(regs), with_cross=not again)
        self._fit_sums(views, sums, regs, dtypes, (X, Y, weights, features) if again else None)
        return None

    def _fitted_kernels(self, gamma: Any, X: Array, Y: Array, weights: Weights) -> tuple[Kernel, Kernel]:
        if self.n_components is not None:
            at_most("n_components", self.n_components, self.rank, f"rank = {self.rank}, the most landmarks")
        kx, ky = self._kernels(gamma)
        return bound(kx, X).fitted(X, weights), bound(ky, Y).fitted(Y, weights)

    def _fit_dual(self, kernels: tuple[Kernel, Kernel], X: Array, Y: Array, reg: tuple[float, float]) -> bool:
        """With every row a landmark. False, with nothing set, where that method does not apply."""
        n = len(X)
        k = min(int(self.n_components or 10), n - 1)
        if 3 * (k + 10) > n:
            return False
        Kx, Ky = (
            kernel.matrix(data.astype(np.float64, copy=False), None, self.n_threads)
            for kernel, data in zip(kernels, (X, Y), strict=True)
        )
        bach_jordan = self.penalty == "bach-jordan"
        cx, cy = (n * r / 2 if bach_jordan else (n - 1) * r for r in reg)
        means = Kx.mean(axis=0), Ky.mean(axis=0)
        found = solve_dual(Kx, Ky, bach_jordan, (cx, cy), k, float(self.tol), self.n_threads)
        if found is None:
            return False
        singular_values, ax, ay, zx, zy = found
        sign = _signs(ax)
        ax, ay, zx, zy = (a * sign for a in (ax, ay, zx, zy))
        self.solver_ = "full"
        self.x_landmark_indices_, self.y_landmark_indices_ = np.arange(n), np.arange(n)
        self._adopt(
            kernels,
            (np.array(X), np.array(Y)),
            (ax, ay),
            (means[0] @ ax, means[1] @ ay),
            (0.0, 0.0),
            singular_values,
        )
        dtypes = X.dtype, Y.dtype
        X, Y = (a[:, :0] if is_precomputed(kernel) else a for kernel, a in zip(kernels, (X, Y), strict=True))
        x_mean, y_mean = (data.mean(axis=0, dtype=np.float64) for data in (X, Y))
        variances = tuple(data.var(axis=0, dtype=np.float64, ddof=1) for data in (X, Y))
        statistics = score_statistics(
            X, Y, None, (x_mean, y_mean), variances, lambda rows: np.hstack([zx[rows], zy[rows]])
        )
        self._finish(statistics, (x_mean, y_mean), dtypes)
        return True

    def _fit_sums(
        self,
        views: tuple[LandmarkView, LandmarkView],
        sums: FeatureSums,
        reg: tuple[float, float],
        dtypes: tuple[np.dtype[Any], np.dtype[Any]],
        rows: tuple[Array, Array, Weights, Features] | None = None,
    ) -> None:
        """From the sums, and from the rows for what the sums do not say of their columns."""
        moments = sums.moments
        if moments.n <= 1:
            raise ValueError(f"kernel CCA takes more than 1 sample, got n_samples = {moments.n:g}")
        for name, view, s in zip("Xy", views, moments.slices, strict=True):
            # The features of equal rows are equal: what is left of their scatter is rounding.
            if moments.scatter[s, s].trace() <= 1e-12 * sums.residual["Xy".index(name), 1]:
                raise NumericalError(
                    f"every row of {name} is the same to the kernel {view.kernel.kernel!r}: "
                    "there is nothing to correlate"
                )
        k = int(self.n_components or 10)
        solution = solve_features(moments, min(k, *moments.dims), reg, self.penalty, self.n_threads)
        found = len(solution.singular_values)
        if self.n_components is not None and found < k:
            warn(
                f"n_components={self.n_components} is reduced to {found}, the smaller rank of the features "
                f"(X {solution.rank[0]}, y {solution.rank[1]})"
            )
        sx, sy = moments.slices
        ax, ay = (
            landmark_coefficients(view.factor, w, self.n_threads)
            for view, w in zip(views, (solution.x_weights, solution.y_weights), strict=True)
        )
        sign = _signs(ax)
        self.solver_ = "incomplete-cholesky"
        wx, wy, ax, ay = (a * sign for a in (solution.x_weights, solution.y_weights, ax, ay))
        offsets = moments.mean[sx] @ wx, moments.mean[sy] @ wy
        left = tuple(float(part / whole) for part, whole in sums.residual)
        for name, view, part in zip("Xy", views, left, strict=True):
            if part > MOST_RESIDUAL:
                warn(
                    f"the {view.rank} landmarks of {name} leave out {part:.0%} of its kernel's trace: "
                    "the solution is that of another kernel. Raise rank, or widen the kernel (smaller gamma)"
                )
        self._adopt(
            (views[0].kernel, views[1].kernel),
            (views[0].points, views[1].points),
            (ax, ay),
            offsets,
            left,
            solution.singular_values,
        )

        # Covariances of the scores with each other and with the columns of the data.
        n, p = moments.n, len(views[0].shift)
        mean = sums.column_sum / n
        with np.errstate(over="ignore", invalid="ignore"):
            variance = np.maximum(sums.column_square - n * mean**2, 0.0) / (n - 1)
        if not np.isfinite(variance).all():
            name = "X" if not np.isfinite(variance[:p]).all() else "y"
            raise NumericalError(f"the variances of {name} overflow: scale its columns down")
        mean += np.concatenate([view.shift.astype(np.result_type(*dtypes)) for view in views])
        means, variances = (mean[:p], mean[p:]), (variance[:p], variance[p:])
        if rows is None:
            of_x, of_y = moments.scatter[:, sx] @ wx, moments.scatter[:, sy] @ wy
            between = np.block([[wx.T @ of_x[sx], wx.T @ of_y[sx]], [wy.T @ of_x[sy], wy.T @ of_y[sy]]])
            cross = sums.cross - np.outer(moments.mean, sums.column_sum)
            with_scores = np.hstack([cross[sx].T @ wx, cross[sy].T @ wy]) / (n - 1)
            statistics = ScoreStatistics(between / (n - 1), with_scores[:p], with_scores[p:], *variances)
        else:
            X, Y, weights, features = rows
            scores = self._scores_at((X, Y), features, (wx, wy), offsets)
            statistics = score_statistics(X, Y, weights, means, variances, scores)
        self._finish(statistics, means, dtypes)

    def _scores_at(
        self, data: tuple[Array, Array], features: Features, of_features: FloatPair, offsets: FloatPair
    ) -> Callable[[slice], NDArray[np.float64]]:
        """Scores of rows of both views, next to each other, from the features where they are known."""

        def scores(rows: slice) -> NDArray[np.float64]:
            x, y = (
                self._scores(view, of_view[rows]) if known is None else known[rows, : len(w)] @ w - offset
                for view, of_view, known, w, offset in zip(
                    VIEWS, data, features, of_features, offsets, strict=True
                )
            )
            return np.hstack([x, y]).astype(np.float64, copy=False)

        return scores

    def _adopt(
        self,
        kernels: tuple[Kernel, Kernel],
        landmarks: tuple[Array, Array],
        coefficients: tuple[NDArray[np.float64], NDArray[np.float64]],
        offsets: tuple[NDArray[np.float64], NDArray[np.float64]],
        residuals: tuple[float, ...],
        singular_values: NDArray[np.float64],
    ) -> None:
        self.x_landmarks_, self.y_landmarks_ = (
            None if is_precomputed(kernel) else points
            for kernel, points in zip(kernels, landmarks, strict=True)
        )
        self.x_weights_, self.y_weights_ = coefficients
        self._x_offset, self._y_offset = offsets
        self.x_gamma_, self.y_gamma_ = (float(kernel.gamma) for kernel in kernels)
        self.x_rank_, self.y_rank_ = len(landmarks[0]), len(landmarks[1])
        self.x_residual_, self.y_residual_ = residuals
        self.singular_values_ = singular_values

    def _finish(
        self,
        statistics: ScoreStatistics,
        means: tuple[NDArray[np.float64], NDArray[np.float64]],
        dtypes: tuple[np.dtype[Any], np.dtype[Any]],
    ) -> None:
        self.n_components_ = len(self.singular_values_)
        self.x_mean_, self.y_mean_ = (mean.astype(dtype) for mean, dtype in zip(means, dtypes, strict=True))
        self.singular_values_ = self.singular_values_.astype(np.result_type(*dtypes))
        self._set_statistics(statistics, dtypes)
        self.total_correlation_ = float(self.singular_values_.sum())


def _signs(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """The entry of largest magnitude in each column of x's coefficients is to be positive."""
    largest = np.take_along_axis(coefficients, np.abs(coefficients).argmax(axis=0)[None], axis=0)[0]
    return np.where(largest < 0, -1.0, 1.0)


def _pair_of(value: Any, name: str) -> Pair:
    """A value for both views, or one for each."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name} must be one value or a pair (x, y), got {len(value)} values")
        return value[0], value[1]
    return value, value


Kernels = str | KernelFunction | tuple[str | KernelFunction, str | KernelFunction]
Gammas = float | str | tuple[float | str, float | str]


@documented
class KernelCCA(KernelTwoView):
    r"""Kernel canonical correlation analysis of two paired views.

    Finds functions of each view, in the space of its kernel, whose values are maximally correlated. Each
    view's kernel matrix K is approximated by an incomplete Cholesky factor, K ≈ G Gᵀ, whose m pivots are the
    view's landmarks; kernel CCA is then linear CCA of the centred features G, of which one pass over the data
    takes the moments. Features of up to 1 GiB a view are held for that pass; of more, the landmarks are
    chosen among a sample of the rows, and the features computed a chunk at a time. Nothing of size n × n is
    formed, and only the landmarks are kept.

    Parameters
    ----------
    n_components : int, optional
        Number of pairs of functions; by default 10, or the smaller rank if that is less.
    kernel : str, callable or pair of them, default="rbf"
        "rbf", "laplacian", "polynomial", "linear", "cosine" (:func:`fastcca.functional.kernel_matrix`), a
        function of two arrays of rows that returns their kernel values, or "precomputed": the view is its
        kernel matrix (n, n) in ``fit``, symmetric and positive semidefinite, and afterwards kernel values
        between new rows and all rows of the fit, (m, n). A pair gives each view its own.
    gamma : float, "median" or pair of them, default="median"
        Width of rbf and laplacian kernels, scale of the polynomial. "median": 1 / the median of the squared
        distances in that view, for laplacian of those in the 1-norm
        (:func:`fastcca.functional.median_gamma`).
    reg : float or pair of float, default=1e-4
        Regularisation of each view, r or κ below.
    penalty : {"ridge", "bach-jordan"}, default="ridge"
        What the kernel functions are normalised by, with N the number of rows and K centred: "ridge"
        K²/(N - 1) + r K, or "bach-jordan" (K + N κ/2 I)². They shrink direction by direction, differently.
    degree, coef0 : int, float
        Of the polynomial kernel (gamma <x, z> + coef0)^degree.
    rank : int, default=1000
        The largest number of landmarks of a view; above n it means n.
    tol : float, default=1e-8
        In [0, 1). Landmarks are added until they leave out at most this part of the kernel's trace; of
        linear, polynomial and precomputed kernels, whose values may be large compared with what varies in
        them, of that of the centred kernel.
    pivoting : {"greedy", "random", "uniform"}, default="greedy"
        How landmarks are chosen: see :func:`fastcca.functional.incomplete_cholesky`; among all rows as long
        as n · rank numbers take at most a gibibyte, else among a fixed sample of that many rows.
    random_state : int, RandomState or None
        Seeds the choice of landmarks, unless it is greedy.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.
    verbose : bool, default=False
        Show progress bars on stderr: pivots with their residual, then rows.

    Attributes
    ----------
    x_landmarks_, y_landmarks_ : ndarray of shape (m, p), (m, q)
        The rows that the functions are expanded in; None of a precomputed kernel.
    x_landmark_indices_, y_landmark_indices_ : ndarray of shape (m,) or None
        Where they stood in the training data (in the first chunk after ``partial_fit``); None where given.
    x_weights_, y_weights_ : ndarray of shape (m, n_components_)
        Coefficients of the functions, always in float64: scores are k(x, landmarks) @ weights less a
        constant. In each column of ``x_weights_`` the entry of largest magnitude is positive.
    x_rank_, y_rank_ : int
        Number of landmarks.
    x_residual_, y_residual_ : float
        The fraction of the trace of the kernel matrix over the training rows that the landmarks leave out.
    x_gamma_, y_gamma_ : float
        The widths used.
    singular_values_ : ndarray of shape (n_components_,)
        Correlations in the penalised metric; ``total_correlation_`` is their sum.
    canonical_correlations_ : ndarray of shape (n_components_,)
        Pearson correlations of the training scores.
    x_loadings_, y_loadings_, x_cross_loadings_, y_cross_loadings_ : ndarray
        Pearson correlations of the views' columns with the scores of their own and of the other view; no rows
        of a precomputed kernel.
    x_mean_, y_mean_ : ndarray
        Column means; none of a precomputed kernel.
    solver_ : {"incomplete-cholesky", "full"}
        Which solver ran: on the features of the landmarks, or on n × n factors with every row a landmark.
    n_components_, n_features_in_, n_y_features_in_ : int
        Number of pairs of functions, p and q.

    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, views that are not numbers or do not pair, NaN or infinity, a
        callable kernel that returns another shape or NaN, a precomputed one that is not square or not
        symmetric. In ``predict`` and the like: where the view to predict is a precomputed kernel.
    NumericalError
        In ``fit``: a kernel that is not positive semidefinite, rows that are all the same.

    See Also
    --------
    KernelCCACV : Chooses widths and regularisation by cross-validation.
    fastcca.functional.incomplete_cholesky : The features on their own.

    Notes
    -----
    Where every row may be a landmark (rank >= n, some hundreds of rows or more) the same solution comes from
    two n × n Cholesky factors, which are then cheaper than moments of 2n features.

    scikit-learn's cross-validation slices the kernel matrix of X; of y it takes rows alone, so that
    precomputed kernels of both views are for :class:`KernelCCACV`.

    References
    ----------
    F. R. Bach and M. I. Jordan, "Kernel independent component analysis", JMLR 3, 2002.

    D. R. Hardoon, S. Szedmak and J. Shawe-Taylor, "Canonical correlation analysis: an overview with
    application to learning methods", Neural Computation 16, 2004.

    D. Lopez-Paz, S. Sra, A. Smola, Z. Ghahramani and B. Schölkopf, "Randomized nonlinear component analysis",
    ICML 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import KernelCCA
    >>> rng = np.random.default_rng(0)
    >>> angle = rng.uniform(0, 2 * np.pi, size=(600, 1))
    >>> X = np.hstack([np.cos(angle), np.sin(angle)]) + 0.1 * rng.normal(size=(600, 2))
    >>> y = np.cos(2 * angle) + 0.1 * rng.normal(size=(600, 1))
    >>> kcca = KernelCCA(n_components=1, reg=1e-3).fit(X[:300], y[:300])
    >>> bool(kcca.score(X[300:], y[300:]) > 0.95)
    True
    """

    _schema = Schema("KernelCCA", partial_fit="sums=_sums")
    _constraints = {**KernelTwoView._constraints, "gamma": real_pair(GAMMA), "reg": RIDGES}  # noqa: RUF012

    def __init__(
        self,
        n_components: int | None = None,
        kernel: Kernels = "rbf",
        gamma: Gammas = "median",
        reg: float | tuple[float, float] = 1e-4,
        penalty: Literal["ridge", "bach-jordan"] = "ridge",
        degree: int = 3,
        coef0: float = 1,
        rank: int = 1000,
        tol: float = 1e-8,
        pivoting: Literal["greedy", "random", "uniform"] = "greedy",
        random_state: Any = None,
        n_threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.reg = reg
        self.penalty = penalty
        self.degree = degree
        self.coef0 = coef0
        self.rank = rank
        self.tol = tol
        self.pivoting = pivoting
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        landmarks: tuple[ArrayLike | None, ArrayLike | None] | None = None,
    ) -> KernelCCA:
        """Fit to paired rows.

        Parameters
        ----------
        X : array_like of shape (n, p)
            First view. float32 and float64 arrays are read in place: C or F order, strided, read-only,
            memory-mapped. float32 gives float32 results.
        y : array_like of shape (n, q) or (n,)
            Second view: row i belongs to row i of ``X``.
        {fit_weights}
        landmarks : pair of array_like, optional
            Rows to use as landmarks of either view in the place of a choice (None: choose). Those that others
            determine are left out.

        {returns_self}

        Raises
        ------
        ValueError
            See :class:`KernelCCA`.
        """
        X, y, weights = self._check_pair(X, y, sample_weight, reset=True)
        sums = self._fit_kernels(X, y, weights, self.gamma, self.reg, _check_landmarks(landmarks))
        self.__dict__.pop("_sums", None)
        if sums is not None and not any(self._precomputed):
            self._sums = tuple(vars(sums).values())
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        landmarks: tuple[ArrayLike | None, ArrayLike | None] | None = None,
    ) -> KernelCCA:
        """Add rows to those fitted so far and solve again.

        The first call fixes widths and landmarks: from its rows, or as given. Further calls add their rows'
        moments; the result is that of one ``fit`` to all rows with these landmarks. After ``fit`` it goes on
        only if there are no more than some 500 landmarks of each view: beyond that ``fit`` keeps no moments.

        Parameters
        ----------
        X : array_like of shape (n, p)
            New rows of the first view.
        y : array_like of shape (n, q) or (n,)
            The paired rows of the second view.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row.
        landmarks : pair of array_like, optional
            As in ``fit``; in the first call only.

        {returns_self}

        Raises
        ------
        ValueError
            As in ``fit``; after a ``fit`` that kept no moments; for landmarks in a later call.
        """
        if any(self._precomputed):
            raise ValueError(
                "partial_fit takes rows: a precomputed kernel has no values between new rows. Fit to the "
                "whole matrix"
            )
        first = not hasattr(self, "x_landmarks_")
        if not first and not hasattr(self, "_sums"):
            raise ValueError(
                "partial_fit cannot go on from a fit with this many landmarks, or one saved without moments: "
                "start with partial_fit on a new estimator"
            )
        if not first and landmarks is not None:
            raise ValueError(
                "landmarks are fixed by the first call of partial_fit: they cannot be given again"
            )
        X, y, weights = self._check_pair(X, y, sample_weight, reset=first)
        reg = RIDGES("reg", self.reg)
        points: Any = None if first else (self.x_landmarks_, self.y_landmarks_)
        dtypes = (X.dtype, y.dtype) if first else (points[0].dtype, points[1].dtype)
        if first:
            self._check_kernels(X, y)
            kernels = self._fitted_kernels(self.gamma, X, y, weights)
            views, features = self._choose_views(kernels, X, y, weights, _check_landmarks(landmarks))
        else:
            kernels = self._kernels((self.x_gamma_, self.y_gamma_))
            of_x, of_y = (
                LandmarkView.of(kernel, rows, self.n_threads)
                for kernel, rows in zip(kernels, points, strict=True)
            )
            views, features = (of_x, of_y), (None, None)
        sums = collect(*views, X, y, weights, self.n_threads, self.verbose, features)
        if not first:
            sums = FeatureSums(*self._sums) + sums
        self._fit_sums(views, sums, reg, dtypes)
        self._sums = tuple(vars(sums).values())
        return self

    def _fit_parts(
        self,
        X: Array,
        y: Array,
        weights: Weights,
        sums_of: Callable[[LandmarkView, LandmarkView], FeatureSums],
    ) -> None:
        """Fit to rows that lie elsewhere: widths and landmarks from these, ``sums_of`` all for landmarks."""
        if any(self._precomputed):
            raise ValueError(
                "a precomputed kernel has no values between rows of parts: fit to the whole matrix"
            )
        reg = RIDGES("reg", self.reg)
        self._check_kernels(X, y)
        kernels = self._fitted_kernels(self.gamma, X, y, weights)
        views, _ = self._choose_views(kernels, X, y, weights, None)
        self.x_landmark_indices_ = self.y_landmark_indices_ = None  # which count from these rows
        self._fit_sums(views, sums_of(*views), reg, (X.dtype, y.dtype))


def _check_landmarks(landmarks: Any) -> tuple[Any, Any] | None:
    if landmarks is None:
        return None
    if not isinstance(landmarks, (tuple, list)) or len(landmarks) != 2:
        raise ValueError(f"landmarks must be a pair (rows of X, rows of y), got {type(landmarks).__name__}")
    return landmarks[0], landmarks[1]
