"""The fit of a kernel map of each view: what KernelCCA and KernelCCACV share."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcca import _core
from fastcca._kernel_features import (
    CALLED_SLAB,
    FeatureSums,
    LandmarkView,
    choose_landmarks,
    collect,
    solve_features,
)
from fastcca._two_view import ScoreStatistics, TwoViewTransformer, View, Weights, score_statistics
from fastcca._validation import as_matrix, check_reg, refuse_non_finite
from fastcca._warn import warn
from fastcca.errors import NumericalError
from fastcca.functional.kernels import Kernel, check_rank

__all__ = ["KernelTwoView"]

PENALTIES = ("ridge", "bach-jordan")
MOST_RESIDUAL = 0.7  # of the trace of a kernel, without a warning

# Where every row may be a landmark, n × n factors are cheaper than moments of 2n features between these n.
DUAL_ROWS = range(400, 12001)

Array = NDArray[Any]
Pair = tuple[Any, Any]


class KernelTwoView(TwoViewTransformer):
    """A kernel map of each view: what :class:`KernelCCA` and :class:`KernelCCACV` share."""

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

    x_weights_: NDArray[np.float64]
    y_weights_: NDArray[np.float64]
    x_landmarks_: Array
    y_landmarks_: Array
    x_gamma_: float
    y_gamma_: float
    _x_offset: NDArray[np.float64]
    _y_offset: NDArray[np.float64]
    _sums: tuple[Any, ...]
    _for_partial_fit = ("_sums",)

    def _scores(self, view: View, data: Array) -> Array:
        x = view == "X"
        kernel = self._kernels((self.x_gamma_, self.y_gamma_))[0 if x else 1]
        landmarks, coefficients, offset = (
            (self.x_landmarks_, self.x_weights_, self._x_offset)
            if x
            else (self.y_landmarks_, self.y_weights_, self._y_offset)
        )
        landmarks = landmarks.astype(data.dtype, copy=False)

        def scores(rows: Array) -> Array:
            return _core.kernel_scores(
                rows, landmarks, kernel.spec, coefficients, offset, view, self.n_threads or 0
            ).T

        if not callable(kernel.kernel):
            return scores(data)
        refuse_non_finite(view, data)
        slabs = [slice(i, i + CALLED_SLAB) for i in range(0, len(data), CALLED_SLAB)]
        return np.concatenate([scores(kernel.matrix(data[rows], landmarks)) for rows in slabs])

    # ---- parameters

    def _kernels(self, gamma: Any) -> tuple[Kernel, Kernel]:
        kernels, gammas = _pair_of(self.kernel, "kernel"), _pair_of(gamma, "gamma")
        x, y = (Kernel(k, g, self.degree, self.coef0, "kernel") for k, g in zip(kernels, gammas, strict=True))
        return x, y

    def _check_parameters(self) -> None:
        check_rank(self.rank, self.tol, self.pivoting)
        if self.penalty not in PENALTIES:
            raise ValueError(f"penalty must be one of {PENALTIES}, got {self.penalty!r}")
        n = self.n_components
        if n is not None and (not isinstance(n, Integral) or isinstance(n, bool) or n < 1):
            raise ValueError(f"n_components must be a whole number >= 1 or None, got {n!r}")

    # ---- the fit

    def _choose_views(
        self, kernels: tuple[Kernel, Kernel], X: Array, Y: Array, weights: Weights, landmarks: Pair | None
    ) -> tuple[LandmarkView, LandmarkView]:
        """Landmarks of both views, from the rows or given; sets ``x_landmark_indices_``."""
        views = []
        for view, kernel, data, given in zip("Xy", kernels, (X, Y), landmarks or (None, None), strict=True):
            options = {
                "pivoting": self.pivoting,
                "random_state": self.random_state,
                "n_threads": self.n_threads,
                "verbose": self.verbose,
            }
            indices = None
            if given is None:
                indices = choose_landmarks(
                    kernel, data, weights, view, rank=int(self.rank), tol=self.tol, **options
                )
                points = data[indices]
            else:
                name = f"landmarks[{0 if view == 'X' else 1}]"
                points = as_matrix(name, given, vector=view == "y")
                refuse_non_finite(name, points)
                if points.shape[1] != data.shape[1]:
                    raise ValueError(f"{name} has {points.shape[1]} features, {view} has {data.shape[1]}")
                points = points.astype(data.dtype, copy=False)
                # In an order, and without those, that the others determine.
                options["pivoting"] = "greedy"
                kept = choose_landmarks(kernel, points, None, name, rank=len(points), tol=0.0, **options)
                points = points[kept]
            chosen = LandmarkView.of(kernel, points, self.n_threads)
            views.append(chosen)
            setattr(
                self, f"{view.lower()}_landmark_indices_", None if indices is None else indices[: chosen.rank]
            )
        return views[0], views[1]

    def _fit_kernels(
        self, X: Array, Y: Array, weights: Weights, gamma: Any, reg: Any, landmarks: Pair | None = None
    ) -> FeatureSums | None:
        """Fit to checked arrays; what a later ``partial_fit`` may go on from."""
        self._check_parameters()
        regs = check_reg(reg)
        refuse_non_finite("X", X)
        refuse_non_finite("y", Y)
        kernels = self._fitted_kernels(gamma, X, Y, weights)
        if (
            landmarks is None
            and weights is None
            and self.rank >= len(X)
            and len(X) in DUAL_ROWS
            and min(regs) > 0
            and self._fit_dual(kernels, X, Y, regs)
        ):
            return None
        views = self._choose_views(kernels, X, Y, weights, landmarks)
        sums = collect(*views, X, Y, weights, self.n_threads, self.verbose)
        self._fit_sums(views, sums, regs, (X.dtype, Y.dtype))
        return sums

    def _fitted_kernels(self, gamma: Any, X: Array, Y: Array, weights: Weights) -> tuple[Kernel, Kernel]:
        kx, ky = self._kernels(gamma)
        return kx.fitted(X, weights), ky.fitted(Y, weights)

    def _fit_dual(self, kernels: tuple[Kernel, Kernel], X: Array, Y: Array, reg: tuple[float, float]) -> bool:
        """With every row a landmark. False, with nothing set, if that road is closed."""
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
        found = _core.solve_dual(Kx, Ky, bach_jordan, (cx, cy), k, float(self.tol), self.n_threads or 0)
        if found is None:
            return False
        singular_values, ax, ay, zx, zy = found
        sign = _signs(ax)
        ax, ay, zx, zy = (a * sign for a in (ax, ay, zx, zy))
        self.x_landmark_indices_, self.y_landmark_indices_ = np.arange(n), np.arange(n)
        self._adopt(
            kernels,
            (np.array(X), np.array(Y)),
            (ax, ay),
            (means[0] @ ax, means[1] @ ay),
            (0.0, 0.0),
            singular_values,
        )
        x_mean, y_mean = (data.mean(axis=0, dtype=np.float64) for data in (X, Y))
        variances = tuple(data.var(axis=0, dtype=np.float64, ddof=1) for data in (X, Y))
        statistics = score_statistics(
            X, Y, None, (x_mean, y_mean), variances, lambda rows: np.hstack([zx[rows], zy[rows]])
        )
        self._finish(statistics, (x_mean, y_mean), (X.dtype, Y.dtype))
        return True

    def _fit_sums(
        self,
        views: tuple[LandmarkView, LandmarkView],
        sums: FeatureSums,
        reg: tuple[float, float],
        dtypes: tuple[np.dtype[Any], np.dtype[Any]],
    ) -> None:
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
                f"n_components={self.n_components} is cut to {found}, the smaller rank of the features "
                f"(X {solution.rank[0]}, y {solution.rank[1]})"
            )
        sx, sy = moments.slices
        ax, ay = (
            _core.landmark_coefficients(view.factor, w, self.n_threads or 0)
            for view, w in zip(views, (solution.x_weights, solution.y_weights), strict=True)
        )
        sign = _signs(ax)
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
        n, p = moments.n, views[0].points.shape[1]
        of_x, of_y = moments.scatter[:, sx] @ wx, moments.scatter[:, sy] @ wy
        between = np.block([[wx.T @ of_x[sx], wx.T @ of_y[sx]], [wy.T @ of_x[sy], wy.T @ of_y[sy]]]) / (n - 1)
        cross = sums.cross - np.outer(moments.mean, sums.column_sum)
        with_scores = np.hstack([cross[sx].T @ wx, cross[sy].T @ wy]) / (n - 1)
        mean = sums.column_sum / n
        with np.errstate(over="ignore", invalid="ignore"):
            variance = np.maximum(sums.column_square - n * mean**2, 0.0) / (n - 1)
        if not np.isfinite(variance).all():
            name = "X" if not np.isfinite(variance[:p]).all() else "y"
            raise NumericalError(f"the variances of {name} overflow: scale its columns down")
        shift = np.concatenate(
            [view.points.mean(axis=0, dtype=np.float64).astype(np.result_type(*dtypes)) for view in views]
        )
        mean = mean + shift
        statistics = ScoreStatistics(between, with_scores[:p], with_scores[p:], variance[:p], variance[p:])
        self._finish(statistics, (mean[:p], mean[p:]), dtypes)

    def _adopt(
        self,
        kernels: tuple[Kernel, Kernel],
        landmarks: tuple[Array, Array],
        coefficients: tuple[NDArray[np.float64], NDArray[np.float64]],
        offsets: tuple[NDArray[np.float64], NDArray[np.float64]],
        residuals: tuple[float, ...],
        singular_values: NDArray[np.float64],
    ) -> None:
        self.x_landmarks_, self.y_landmarks_ = landmarks
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
