"""The fit of a linear map of each view: which road to the solution, and what follows from it."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcca._statistics import ScoreStatistics, Weights, score_statistics
from fastcca._two_view import TwoViewTransformer, View
from fastcca._validation import check_n_components, check_n_threads, check_reg, refuse_non_finite
from fastcca._warn import warn
from fastcca.errors import NumericalError
from fastcca.functional.linalg import product
from fastcca.functional.moments import Moments
from fastcca.functional.solver import Solution, solve_gram, solve_moments, solve_qr

__all__ = ["MAX_CONDITION", "SOLVERS", "LinearTwoView", "column_variances"]

SOLVERS = ("auto", "covariance", "qr", "gram")

# Above this condition number of a view its covariance, which squares it, loses more than four digits in
# sixteen.
MAX_CONDITION = 1e6

Dtypes = tuple[np.dtype[Any], np.dtype[Any]]
Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


class Columns(NamedTuple):
    """What is known of the columns of X and y."""

    means: Pair
    variances: Pair
    scales: Pair  # the weights are for columns divided by these


class LinearTwoView(TwoViewTransformer):
    """A linear map of each view: what :class:`CCA` and :class:`CCACV` share."""

    n_components: int | None
    reg: float | tuple[float, float]
    scale: bool
    solver: str
    n_threads: int | None

    x_weights_: NDArray[Any]
    y_weights_: NDArray[Any]
    x_scale_: NDArray[Any]
    y_scale_: NDArray[Any]
    moments_: Moments | None
    solver_: str
    x_rank_: int
    y_rank_: int
    n_samples_: float

    def _scores(self, view: View, data: NDArray[Any]) -> NDArray[Any]:
        weights, mean = (self.x_weights_, self.x_mean_) if view == "X" else (self.y_weights_, self.y_mean_)
        scores = _project(data, weights.astype(data.dtype, copy=False), mean.astype(data.dtype, copy=False))
        # NaN and infinity in the data reach their row's scores: a look at those spares a pass over the data
        if not np.isfinite(scores).all():
            refuse_non_finite(view, data)
            raise NumericalError(
                f"the scores of {view} overflow {data.dtype}: rescale the data or use float64"
            )
        return scores

    # ---- the fit

    def _fit_arrays(
        self, X: NDArray[Any], y: NDArray[Any], weights: Weights, moments: Moments | None = None
    ) -> None:
        """Fit to checked arrays, whose moments may be known already."""
        k, reg = self._parameters(X.shape[1], y.shape[1])
        wide = len(X) < max(X.shape[1], y.shape[1])
        solver = "gram" if self.solver == "auto" and wide else self.solver
        # moments of more features than samples would be larger than the data
        if moments is None and not (wide and solver in ("qr", "gram")):
            moments = Moments().update(X, y, sample_weight=weights, n_threads=self.n_threads)
        dtypes = X.dtype, y.dtype
        if moments is not None and solver in ("auto", "covariance"):
            if self._fit_covariance(moments, dtypes, k, reg, cautious=solver == "auto"):
                return
            solver = "qr"
        self._fit_data(X, y, weights, moments, k, reg, solver)

    def _fit_moments(self, moments: Moments, dtypes: Dtypes) -> None:
        k, reg = self._parameters(*moments.dims)
        if moments.n <= 1:
            raise ValueError(f"moments must hold at least 2 rows, got n_samples = {moments.n:g}")
        self._fit_covariance(moments, dtypes, k, reg, cautious=False)

    def _parameters(self, p: int, q: int) -> tuple[int, tuple[float, float]]:
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {', '.join(map(repr, SOLVERS))}, got {self.solver!r}")
        if not isinstance(self.scale, (bool, np.bool_)):
            raise ValueError(f"scale must be True or False, got {self.scale!r}")
        check_n_threads(self.n_threads)
        return check_n_components(self.n_components, p, q), check_reg(self.reg)

    def _fit_covariance(
        self, moments: Moments, dtypes: Dtypes, k: int, reg: tuple[float, float], *, cautious: bool
    ) -> bool:
        """From moments alone. Where they will not do: False, nothing set, if ``cautious``, else a warning."""
        columns = self._columns(*_moment_statistics(moments), dtypes)
        try:
            units = moments.scaled(1 / np.concatenate(columns.scales)) if self.scale else moments
            solution = solve_moments(units, k, reg, self.n_threads)
        except NumericalError:
            if cautious:
                return False
            raise
        doubtful = [c > MAX_CONDITION or d for c, d in zip(solution.condition, solution.dropped, strict=True)]
        if any(doubtful):
            if cautious:
                return False
            view = doubtful.index(True)
            warn(
                f"{'Xy'[view]} is ill-conditioned (estimated condition number "
                f"{solution.condition[view]:.1e}), and moments square that: correlations may be wrong. "
                "Fit the data with solver='auto' or 'qr', or raise reg"
            )
        wx, wy = _in_units(solution, columns.scales)
        # covariances of all columns with the scores: S W
        sx, sy = moments.slices
        of_x, of_y = (
            product(moments.scatter[:, s], w, self.n_threads) / (moments.n - 1)
            for s, w in ((sx, wx), (sy, wy))
        )
        with_x, with_y = (np.hstack([of_x[s], of_y[s]]) for s in (sx, sy))
        if reg == (0, 0):  # W'SW = I and W₁'S₁₂W₂ = D by construction
            one, d = np.eye(wx.shape[1]), np.diag(solution.singular_values)
            between = np.block([[one, d], [d, one]])
        else:
            between = np.vstack(
                [product(w.T, with_, self.n_threads) for w, with_ in ((wx, with_x), (wy, with_y))]
            )
        statistics = ScoreStatistics(between, with_x, with_y, *columns.variances)
        self._adopt("covariance", solution, (wx, wy), columns, moments, moments.n, statistics, dtypes, reg)
        return True

    def _fit_data(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        weights: Weights,
        moments: Moments | None,
        k: int,
        reg: tuple[float, float],
        solver: str,
    ) -> None:
        """From the data themselves, by orthogonal factors or n × n matrices."""
        dtypes = X.dtype, y.dtype
        if moments is None:
            columns = self._columns(
                _column_statistics("X", X, weights), _column_statistics("y", y, weights), dtypes
            )
        else:
            columns = self._columns(*_moment_statistics(moments), dtypes)
        sx, sy = columns.scales
        ux, uy = (X / sx.astype(X.dtype), y / sy.astype(y.dtype)) if self.scale else (X, y)
        solve = solve_gram if solver == "gram" else solve_qr
        solution = solve(ux, uy, k, reg, sample_weight=weights, n_threads=self.n_threads)
        del ux, uy
        wx, wy = _in_units(solution, columns.scales)
        mx, my = columns.means

        def scores(rows: slice) -> NDArray[np.float64]:
            return np.hstack([(X[rows] - mx) @ wx, (y[rows] - my) @ wy])

        statistics = score_statistics(X, y, weights, columns.means, columns.variances, scores)
        n = float(len(X) if weights is None else weights.sum())
        self._adopt(solver, solution, (wx, wy), columns, moments, n, statistics, dtypes, reg)

    def _columns(self, x: Pair, y: Pair, dtypes: Dtypes) -> Columns:
        """From the means and variances of both views' columns."""
        scales = []
        for name, (mean, variance), dtype in zip("Xy", (x, y), dtypes, strict=True):
            if variance.max() <= 16 * np.finfo(dtype).tiny:
                raise NumericalError(
                    f"every column of {name} is constant"
                    + (
                        ", or its square too small for float arithmetic: scale it up"
                        if variance.any() or np.abs(mean).max() < np.sqrt(np.finfo(dtype).tiny)
                        else ""
                    )
                )
            scales.append(
                np.sqrt(np.where(variance > 0, variance, 1.0)) if self.scale else np.ones_like(variance)
            )
        return Columns((x[0], y[0]), (x[1], y[1]), (scales[0], scales[1]))

    def _adopt(
        self,
        solver: str,
        solution: Solution,
        weights: Pair,
        columns: Columns,
        moments: Moments | None,
        n_samples: float,
        statistics: ScoreStatistics,
        dtypes: Dtypes,
        reg: tuple[float, float],
    ) -> None:
        """Set every attribute of the fit."""
        found = len(solution.singular_values)
        if self.n_components is not None and found < self.n_components:
            warn(
                f"n_components={self.n_components} is cut to {found}, the smaller rank of the two views "
                f"(X {solution.rank[0]}, y {solution.rank[1]})"
            )
        x_dtype, y_dtype = dtypes
        self.solver_, self.n_components_, self.moments_ = solver, found, moments
        self.x_rank_, self.y_rank_ = solution.rank
        self.n_samples_ = float(n_samples)
        self.x_weights_, self.y_weights_ = weights[0].astype(x_dtype), weights[1].astype(y_dtype)
        self.x_mean_, self.y_mean_ = columns.means[0].astype(x_dtype), columns.means[1].astype(y_dtype)
        self.x_scale_, self.y_scale_ = columns.scales[0].astype(x_dtype), columns.scales[1].astype(y_dtype)
        self.singular_values_ = solution.singular_values.astype(np.result_type(x_dtype, y_dtype))
        known = solution.singular_values if reg == (0, 0) else None
        self._set_statistics(statistics, dtypes, canonical_correlations=known)


def _project(data: NDArray[Any], weights: NDArray[Any], mean: NDArray[Any]) -> NDArray[Any]:
    """(data - mean) weights by blocks of rows; centred first, so that a large mean costs no digits."""
    out = np.empty((len(data), weights.shape[1]), dtype=data.dtype)
    step = max(1, 2**19 // data.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):  # the caller looks at the result
        for start in range(0, len(data), step):
            rows = slice(start, start + step)
            np.matmul(data[rows] - mean, weights, out=out[rows])
    return out


def _in_units(solution: Solution, scales: Pair) -> Pair:
    """Weights for the columns in their own units; the largest entry of each column of x is positive."""
    wx, wy = solution.x_weights / scales[0][:, None], solution.y_weights / scales[1][:, None]
    # As in the core: of magnitudes equal up to rounding the first decides.
    size = np.abs(wx)
    first = (size >= size.max(axis=0) * (1 - 1e-12)).argmax(axis=0)
    sign = np.where(np.take_along_axis(wx, first[None], axis=0) < 0, -1.0, 1.0)
    return wx * sign, wy * sign


def column_variances(moments: Moments) -> NDArray[np.float64]:
    """Variances of the stacked columns, 0 exactly for the constant ones."""
    variances: NDArray[np.float64] = moments.scatter.diagonal() / (moments.n - 1)
    return np.where(moments.constant, 0.0, variances)


def _moment_statistics(moments: Moments) -> tuple[Pair, Pair]:
    """Mean and variance of the columns of both views."""
    mean, variance = moments.mean, column_variances(moments)
    sx, sy = moments.slices
    return (mean[sx], variance[sx]), (mean[sy], variance[sy])


def _column_statistics(name: str, a: NDArray[Any], weights: Weights) -> Pair:
    """The same of one view with more columns than rows, in blocks of columns."""
    refuse_non_finite(name, a)
    w = np.ones(len(a)) if weights is None else weights
    mean, variance = np.empty(a.shape[1]), np.empty(a.shape[1])
    step = max(1, 2**20 // len(a))
    for start in range(0, a.shape[1], step):
        block = slice(start, start + step)
        centred = a[:, block].astype(np.float64)
        shift = centred[w.argmax()].copy()  # a row that counts: one without weight may hold anything
        centred -= shift  # a constant column becomes exactly 0
        offset = w @ centred / w.sum()
        centred -= offset
        mean[block] = shift + offset
        variance[block] = np.einsum("ij,ij,i->j", centred, centred, w) / (w.sum() - 1)
    return mean, variance
