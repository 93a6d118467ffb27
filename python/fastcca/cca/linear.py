"""Regularised canonical correlation analysis: :class:`CCA`, and what every linear map of two views shares."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag

from fastcca._arguments.parameters import check_n_components, check_n_threads, check_reg, refuse_non_finite
from fastcca._arguments.warn import warn
from fastcca._models.statistics import ScoreStatistics, Weights, column_statistics, score_statistics
from fastcca._models.two_view import TwoViewTransformer, View
from fastcca.errors import NumericalError
from fastcca.functional.linalg import product
from fastcca.functional.moments import Moments
from fastcca.functional.solver import Solution, solve_gram, solve_moments, solve_qr

__all__ = ["CCA", "SOLVERS", "LinearTwoView", "column_variances"]


SOLVERS = ("auto", "covariance", "qr", "gram")

DOUBLE = float(np.finfo(np.float64).eps)
# Estimated error of correlations above which moments do not serve …
MOST_ERROR = 5e-7
# … and that orthogonal factors of the data are reported from.
MOST_LOSS = 1e-4

Dtypes = tuple[np.dtype[Any], np.dtype[Any]]
Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


class Columns(NamedTuple):
    """What is known of the columns of X and y."""

    means: Pair
    variances: Pair
    scales: Pair  # standard deviations with ``scale=True``, else ones

    @property
    def ones(self) -> Pair:
        return np.ones_like(self.scales[0]), np.ones_like(self.scales[1])


class Fit(NamedTuple):
    """What a method finds."""

    solution: Solution
    weights: Pair  # of the columns as they came
    columns: Columns
    statistics: ScoreStatistics
    errors: Sequence[float]  # estimates of what rounding cost the correlations, by view


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
        with np.errstate(over="ignore"):  # weights beyond float32 make scores that are found below
            weights = weights.astype(data.dtype, copy=False)
        scores = _project(data, weights, mean)
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
        """Fit to checked arrays, whose moments (with products in double) may be known already."""
        k, reg = self._parameters(X.shape[1], y.shape[1])
        wide = len(X) < max(X.shape[1], y.shape[1])
        solver = "gram" if self.solver == "auto" and wide else self.solver
        rows = len(X) if weights is None else int(np.count_nonzero(weights))
        n = float(len(X) if weights is None else weights.sum())
        if solver in ("auto", "covariance"):
            moments, fit = self._fit_of_data(X, y, weights, moments, k, reg, cautious=solver == "auto")
            if fit is not None:
                self._adopt("covariance", fit, moments, n, (X.dtype, y.dtype), reg, rows)
                return
            solver = "qr"
        # moments of more features than samples would be larger than the data
        elif moments is None and not wide:
            moments = self._moments(X, y, weights)
        fit = self._fit_data(X, y, weights, moments, k, reg, solver)
        self._adopt(solver, fit, moments, n, (X.dtype, y.dtype), reg, rows)

    def _fit_moments(self, moments: Moments, dtypes: Dtypes) -> None:
        k, reg = self._parameters(*moments.dims)
        if moments.n <= 1:
            raise ValueError(f"moments must hold at least 2 rows, got n_samples = {moments.n:g}")
        columns = self._columns(*_moment_statistics(moments), _smallest_variance(moments))
        units, solution = self._solve_moments(moments, columns, k, reg)
        fit = self._statistics(moments, columns, units, solution, _errors(solution, moments), reg)
        self._adopt("covariance", fit, moments, moments.n, dtypes, reg, moments.n)

    def _parameters(self, p: int, q: int) -> tuple[int, tuple[float, float]]:
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {', '.join(map(repr, SOLVERS))}, got {self.solver!r}")
        if not isinstance(self.scale, (bool, np.bool_)):
            raise ValueError(f"scale must be True or False, got {self.scale!r}")
        check_n_threads(self.n_threads)
        return check_n_components(self.n_components, p, q), check_reg(self.reg)

    def _moments(self, X: NDArray[Any], y: NDArray[Any], weights: Weights, **options: Any) -> Moments:
        options = {"dtype": np.float64, **options}
        return Moments().update(X, y, sample_weight=weights, n_threads=self.n_threads, **options)

    def _fit_of_data(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        weights: Weights,
        moments: Moments | None,
        k: int,
        reg: tuple[float, float],
        *,
        cautious: bool,
    ) -> tuple[Moments, Fit | None]:
        """By the covariance method, with what the data can add where their moments are not accurate enough.

        Products in float32 serve well-conditioned views of float32 data, else those in double do. From there
        the correlations of float64 data are refined. Where that is not enough: no fit if ``cautious``, else a
        warning.
        """
        dtypes = X.dtype, y.dtype
        if moments is None and all(dtype == np.float32 for dtype in dtypes):
            fit = self._fit_single(X, y, weights, k, reg)
            if fit is not None:
                return fit
        if moments is None:
            moments = self._moments(X, y, weights)
        columns = self._columns(*_moment_statistics(moments), _smallest_variance(moments))
        if cautious and not _representable(moments):
            return moments, None
        units, solution = self._solve_moments(moments, columns, k, reg)
        errors = _errors(solution, moments)
        if cautious and (max(errors) > MOST_ERROR or any(solution.dropped)):
            return moments, None
        between = None
        if max(errors) > _fine_error(dtypes, moments.n):
            if k < min(moments.dims):  # what stands just below the k-th pair may have changed places with it
                units, solution = self._solve_moments(moments, columns, k + 8, reg)
            solution, between = self._refined(X, y, weights, columns, units, solution, k, reg)
            # what moments have left out is not within the span, to be refined there
            if len(solution.singular_values) == k:
                errors = [(16 * error) ** 2 for error in errors]
        return moments, self._statistics(moments, columns, units, solution, errors, reg, between)

    def _fit_single(
        self, X: NDArray[Any], y: NDArray[Any], weights: Weights, k: int, reg: tuple[float, float]
    ) -> tuple[Moments, Fit] | None:
        """From products in float32, where these are accurate enough."""
        try:
            moments = self._moments(X, y, weights, dtype=None)
        except NumericalError:  # overflow, which products in double spare
            return None
        if not _representable(moments):
            return None
        columns = self._columns(*_moment_statistics(moments), _smallest_variance(moments))
        units, solution = self._solve_moments(moments, columns, k, reg)
        errors = _errors(solution, moments)
        if any(solution.dropped) or max(errors) > _fine_error((X.dtype, y.dtype), moments.n):
            return None
        return moments, self._statistics(moments, columns, units, solution, errors, reg)

    def _solve_moments(
        self, moments: Moments, columns: Columns, k: int, reg: tuple[float, float]
    ) -> tuple[Pair, Solution]:
        """The solution, and what the columns were divided by for it."""
        if self.scale and reg != (0, 0):
            scaled = moments.scaled(1 / np.concatenate(columns.scales))
            return columns.scales, solve_moments(scaled, k, reg, self.n_threads)
        return columns.ones, solve_moments(moments, k, reg, self.n_threads)  # scales change rounding alone

    def _refined(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        weights: Weights,
        columns: Columns,
        units: Pair,
        solution: Solution,
        k: int,
        reg: tuple[float, float],
    ) -> tuple[Solution, NDArray[np.float64]]:
        """The solution within the span of its weights, from the scores of the data, and these' covariances.

        Weights from moments are off by ε cond², those from a triangular factor by ε cond, and correlations
        within their span by the square of that. The rounding of the scores, ε cond in each row, is as random
        as the rows are many.
        """
        wx, wy = solution.x_weights / units[0][:, None], solution.y_weights / units[1][:, None]
        mx, my = columns.means
        scores = Moments()
        step = max(1, 2**20 // (X.shape[1] + y.shape[1]))
        for start in range(0, len(X), step):
            rows = slice(start, start + step)
            w = None if weights is None else weights[rows]
            zx, zy = (product(a[rows] - m, b, self.n_threads) for a, m, b in ((X, mx, wx), (y, my, wy)))
            scores.update(zx, zy, sample_weight=w, n_threads=self.n_threads)
        penalised = scores.copy()
        penalised.scatter = scores.scatter.copy()
        for s, r, w in zip(scores.slices, reg, (solution.x_weights, solution.y_weights), strict=True):
            # W'(S + rI)W of the weights that the ridge is for
            penalised.scatter[s, s] += (scores.n - 1) * r * product(w.T, w, self.n_threads)
        within = solve_moments(penalised, min(k, len(solution.singular_values)), 0.0, self.n_threads)
        if len(within.singular_values) < min(k, len(solution.singular_values)):
            return solution, scores.scatter / (scores.n - 1)  # not to be told from rounding any more
        rx, ry = within.x_weights, within.y_weights
        refined = replace(
            solution,
            x_weights=product(solution.x_weights, rx, self.n_threads),
            y_weights=product(solution.y_weights, ry, self.n_threads),
            singular_values=within.singular_values,
        )
        blocks = block_diag(rx, ry)
        return refined, blocks.T @ scores.scatter @ blocks / (scores.n - 1)

    def _statistics(
        self,
        moments: Moments,
        columns: Columns,
        units: Pair,
        solution: Solution,
        errors: Sequence[float],
        reg: tuple[float, float],
        between: NDArray[np.float64] | None = None,
    ) -> Fit:
        """Weights in the units of the data, and covariances; those between the scores may be known."""
        wx, wy, sign = _in_units(solution, units)
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
        elif between is None:
            between = np.vstack(
                [product(w.T, with_, self.n_threads) for w, with_ in ((wx, with_x), (wy, with_y))]
            )
        else:
            between = between * np.outer(np.tile(sign, 2), np.tile(sign, 2))
        statistics = ScoreStatistics(between, with_x, with_y, *columns.variances)
        return Fit(solution, (wx, wy), columns, statistics, errors)

    def _fit_data(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        weights: Weights,
        moments: Moments | None,
        k: int,
        reg: tuple[float, float],
        solver: str,
    ) -> Fit:
        """From the data themselves, by orthogonal factors or n × n matrices."""
        if moments is None:
            known = column_statistics("X", X, weights), column_statistics("y", y, weights)
        else:
            known = _moment_statistics(moments)
        columns = self._columns(*known)
        ux, uy, units = X, y, columns.ones
        if self.scale and reg != (0, 0):
            units = columns.scales
            ux, uy = (a / s.astype(a.dtype) for a, s in zip((X, y), units, strict=True))
        solve = solve_gram if solver == "gram" else solve_qr
        solution = solve(ux, uy, k, reg, sample_weight=weights, n_threads=self.n_threads)
        del ux, uy
        errors = [DOUBLE * condition for condition in solution.condition]
        solution, between = self._refined(X, y, weights, columns, units, solution, k, reg)
        wx, wy, sign = _in_units(solution, units)
        mx, my = columns.means

        def scores(rows: slice) -> NDArray[np.float64]:
            return np.hstack([(X[rows] - mx) @ wx, (y[rows] - my) @ wy])

        statistics = score_statistics(X, y, weights, columns.means, columns.variances, scores)
        statistics = replace(statistics, scores=between * np.outer(np.tile(sign, 2), np.tile(sign, 2)))
        return Fit(solution, (wx, wy), columns, statistics, errors)

    def _columns(self, x: Pair, y: Pair, smallest: float = float(np.finfo(np.float64).tiny)) -> Columns:
        """From the means and variances of both views' columns."""
        scales = []
        for name, (mean, variance) in zip("Xy", (x, y), strict=True):
            if variance.max() <= 16 * smallest:
                raise NumericalError(
                    f"every column of {name} is constant"
                    + (
                        ", or its square too small for float arithmetic: scale it up"
                        if variance.any() or np.abs(mean).max() < np.sqrt(smallest)
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
        fit: Fit,
        moments: Moments | None,
        n_samples: float,
        dtypes: Dtypes,
        reg: tuple[float, float],
        rows: float,
    ) -> None:
        """Set every attribute of the fit to so many rows."""
        solution, weights, columns, statistics, *_ = fit
        found = len(solution.singular_values)
        if self.n_components is not None and found < self.n_components:
            warn(
                f"n_components={self.n_components} is reduced to {found}, the smaller rank of the two views "
                f"(X {solution.rank[0]}, y {solution.rank[1]})"
            )
        elif not _warn_if_undetermined(solution.rank, reg, rows):
            for view in (0, 1):
                _warn_of_rounding(view, solver, fit, dtypes, n_samples)
        x_dtype, y_dtype = dtypes
        self.solver_, self.n_components_, self.moments_ = solver, found, moments
        self.x_rank_, self.y_rank_ = solution.rank
        self.n_samples_ = float(n_samples)
        self.x_weights_, self.y_weights_ = _cast("X", weights[0], x_dtype), _cast("y", weights[1], y_dtype)
        self.x_mean_, self.y_mean_ = columns.means
        self.x_scale_, self.y_scale_ = columns.scales[0].astype(x_dtype), columns.scales[1].astype(y_dtype)
        self.singular_values_ = solution.singular_values.astype(np.result_type(x_dtype, y_dtype))
        known = solution.singular_values if reg == (0, 0) else None
        self._set_statistics(statistics, dtypes, canonical_correlations=known)


def _errors(solution: Solution, moments: Moments) -> list[float]:
    """What the rounding of the moments may cost the correlations, by view: ρ cond²."""
    return [
        float(moments.rounding[s].max() * condition**2)
        for s, condition in zip(moments.slices, solution.condition, strict=True)
    ]


def _fine_error(dtypes: Dtypes, n: float = 0.0) -> float:
    """Such errors no fit is to be better than: of the size that orthogonal factors in this dtype have.

    The rounding of sums over many rows is that of many short ones, which average out.
    """
    averaged = min(4.0, max(1.0, float(np.sqrt(n / 1000))))
    return float(64 * averaged * np.finfo(np.result_type(*dtypes)).eps)


def _smallest_variance(moments: Moments) -> float:
    """The smallest normal number of the type that the products were taken in."""
    single = moments.rounding.max(initial=0.0) >= np.finfo(np.float32).eps
    return float(np.finfo(np.float32 if single else np.float64).tiny)


def _representable(moments: Moments) -> bool:
    """Whether no column that varies is near underflow in the type of the products."""
    squares = moments.scatter.diagonal() / moments.n
    small = squares < _smallest_variance(moments) / DOUBLE
    return not (small & ((squares > 0) | (moments.offset != 0))).any()


def _warn_if_undetermined(rank: tuple[int, int], reg: tuple[float, float], rows: float) -> bool:
    """Where so few rows determine nothing. Returns whether."""
    freedom = rows - 1
    free = sum(r for r, penalty in zip(rank, reg, strict=True) if penalty == 0)
    both = reg == (0, 0)
    if not (freedom < free if both else 0 < freedom <= free):
        return False
    ones = f"{free - freedom:g} of the correlations are" if both else "correlations are"
    warn(
        f"n - 1 = {freedom:g} is too few for ranks of {rank[0]} (X) and {rank[1]} (y): {ones} 1 whatever "
        "the data, and the weights are not determined. Give both views a ridge (reg > 0), fewer columns or "
        "more rows",
    )
    return True


def _warn_of_rounding(view: int, solver: str, fit: Fit, dtypes: Dtypes, n: float) -> None:
    """Of directions that are left out, or of digits that are lost."""
    name, solution, error = "Xy"[view], fit.solution, fit.errors[view]
    if solver == "covariance":
        most, because = max(MOST_ERROR, _fine_error(dtypes, n)), "for moments, which square that"
        cure = (
            "Fit the data with solver='auto' or 'qr', raise reg, or take moments of float32 data with "
            "update(..., dtype=np.float64)"
        )
    else:
        most, because, cure = MOST_LOSS, "for its precision", "Leave dependent columns out, or raise reg"
    ill = f"{name} is ill-conditioned {because}"
    # exact dependence, of dummies or copies, is no matter of rounding: the rank says it
    exact = solver != "covariance" and solution.lost[view] <= 2 * DOUBLE
    if solution.dropped[view] and exact:
        return
    if solution.dropped[view]:
        varying = int((fit.columns.variances[view] > 0).sum())
        warn(
            f"{ill}: the {varying} columns that vary have rank {solution.rank[view]}. What is left out are "
            f"directions of standard deviation up to {solution.lost[view]:.0e}, where each column has 1: "
            f"rounding alone. Weights are not unique. {cure}"
        )
    elif error > most:
        warn(
            f"{ill} (estimated condition number {solution.condition[view]:.1e}): correlations may be off by "
            f"{min(1.0, error):.0e}. {cure}"
        )


def _cast(name: str, weights: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        out = weights.astype(dtype)
    if not np.isfinite(out).all():
        raise NumericalError(f"the weights of {name} overflow {dtype}: scale its columns up or use float64")
    return out


def _project(data: NDArray[Any], weights: NDArray[Any], mean: NDArray[Any]) -> NDArray[Any]:
    """(data - mean) weights by blocks of rows; centred first, so that a large mean costs no digits."""
    out = np.empty((len(data), weights.shape[1]), dtype=data.dtype)
    step = max(1, 2**19 // data.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):  # the caller looks at the result
        near = mean.astype(data.dtype)
        # what the mean loses in float32: as much of a standard deviation as the mean is large
        rest = ((mean - near) @ weights).astype(data.dtype) if data.dtype != mean.dtype else None
        for start in range(0, len(data), step):
            rows = slice(start, start + step)
            np.matmul(data[rows] - near, weights, out=out[rows])
            if rest is not None:
                out[rows] -= rest
    return out


def _in_units(solution: Solution, units: Pair) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Weights for the columns as they came, and their signs: the largest entry of x's columns is positive."""
    wx, wy = solution.x_weights / units[0][:, None], solution.y_weights / units[1][:, None]
    # As in the core: of magnitudes equal up to rounding the first decides.
    size = np.abs(wx)
    first = (size >= size.max(axis=0) * (1 - 1e-12)).argmax(axis=0)
    sign = np.where(np.take_along_axis(wx, first[None], axis=0)[0] < 0, -1.0, 1.0)
    return wx * sign, wy * sign, sign


def column_variances(moments: Moments) -> NDArray[np.float64]:
    """Variances of the stacked columns, 0 exactly for the constant ones."""
    variances: NDArray[np.float64] = moments.scatter.diagonal() / (moments.n - 1)
    return np.where(moments.constant, 0.0, variances)


def _moment_statistics(moments: Moments) -> tuple[Pair, Pair]:
    """Mean and variance of the columns of both views."""
    mean, variance = moments.mean, column_variances(moments)
    sx, sy = moments.slices
    return (mean[sx], variance[sx]), (mean[sy], variance[sy])


class CCA(LinearTwoView):
    r"""Canonical correlation analysis with a ridge.

    Finds for two paired views the directions :math:`w_1, w_2` along which they correlate most, one pair after
    the other, each uncorrelated with those before:

    .. math:: \max_{W_1, W_2} \operatorname{tr}(W_1^\top S_{12} W_2)
       \quad\text{subject to}\quad W_i^\top (S_{ii} + r_i I) W_i = I.

    Covariances are divided by N - 1; sample weights count as repetitions, N is their sum. The solution is
    computed from the moments of the data, by the singular values of
    :math:`T = (S_{11} + r_1 I)^{-1/2} S_{12} (S_{22} + r_2 I)^{-1/2}`, or from the data where moments will
    not do.

    Parameters
    ----------
    n_components : int, optional
        Number of pairs of directions, at most min(p, q), which is the default. The rank of the data may
        leave fewer; ``n_components_`` tells, and a warning does where a number was given.
    reg : float or tuple of two float, default=0.0
        Ridge r >= 0 of both views or (r1, r2), added to the variances: in the units of a variance, or, with
        ``scale=True``, a share of it.
    scale : bool, default=False
        Divide each column by its standard deviation first, so that the ridge weighs all columns alike.
        Weights are given for the columns as they came. Without a ridge it changes nothing but rounding.
    solver : {"auto", "covariance", "qr", "gram"}, default="auto"
        "covariance" works on the moments, the fastest; of views that are not well-conditioned it goes through
        the data once more, to multiply float32 data in double or to refine the correlations. "qr" works on
        orthogonal factors of the data (Björck and Golub), accurate up to condition numbers of 1e13; "gram"
        on n × n matrices, for more features than samples. "auto" takes "gram" where a view has more features
        than there are rows, "qr" where the estimated condition number of a regularised view, its columns
        brought to unit variance, exceeds 5e4 or directions that are not constant columns would be dropped,
        and "covariance" otherwise; see ``solver_``.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.

    Attributes
    ----------
    x_weights_, y_weights_ : ndarray of shape (p, n_components_), (q, n_components_)
        ``transform(X) = (X - x_mean_) @ x_weights_``. In each column of ``x_weights_`` the entry of largest
        magnitude is positive. Constant columns have weight 0.
    singular_values_ : ndarray of shape (n_components_,)
        Those of T, falling: the correlations counted with the ridge.
    canonical_correlations_ : ndarray of shape (n_components_,)
        Pearson correlations of the training scores; equal to ``singular_values_`` where ``reg`` is 0.
    total_correlation_ : float
        Sum of ``singular_values_``.
    x_loadings_, y_loadings_ : ndarray of shape (p, n_components_), (q, n_components_)
        Pearson correlation of each column with the scores of its own view.
    x_cross_loadings_, y_cross_loadings_ : ndarray of shape (p, n_components_), (q, n_components_)
        Pearson correlation of each column with the scores of the other view.
    x_mean_, y_mean_ : ndarray of shape (p,), (q,)
        Column means, always in float64.
    x_scale_, y_scale_ : ndarray of shape (p,), (q,)
        What the columns were divided by: their standard deviation with ``scale=True`` (1 for a constant
        column), else 1.
    moments_ : Moments or None
        What the solution was computed from, and what ``partial_fit`` adds to; None where there are more
        features than samples.
    solver_ : str
        The solver that was used.
    n_components_ : int
        Number of pairs of directions found: ``min(n_components, x_rank_, y_rank_)``.
    x_rank_, y_rank_ : int
        Numerical ranks of the centred views, see Notes. A view of more than 512 columns whose missing
        directions the ridge carries counts the columns that vary.
    n_samples_ : float
        Number of rows N; with sample weights their sum.
    n_features_in_, n_y_features_in_ : int
        p and q.
    feature_names_in_, y_feature_names_in_ : ndarray of str
        Column names of the views, where they were data frames with text as column names.

    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, views that are not numbers or do not pair, NaN or infinity.
    NumericalError
        In ``fit``: every column of a view is constant. (It is a ValueError as well.)

    Warns
    -----
    UserWarning
        If n - 1 is less than the sum of the ranks without a ridge, so that correlations are 1 whatever the
        data; if a direction is left out because it may be the rounding of the data; if a view is so
        ill-conditioned that correlations may be wrong, with an estimate of the error; if ``n_components`` is
        reduced.

    Notes
    -----
    Ranks are judged on columns brought to unit variance. A direction v of them is left out where its standard
    deviation is what rounding in the arithmetic leaves, or at most sum :math:`|v_j| \epsilon_j
    \mathrm{rms}_j / \mathrm{sd}_j`: the entries of column j are known to :math:`\epsilon_j` times their size,
    with the machine epsilon of their dtype. A float32 column that is the sum of two others counts as that
    sum, however large its mean.

    See Also
    --------
    CCACV : Chooses the ridge by cross-validation.

    References
    ----------
    H. Hotelling, "Relations between two sets of variates", Biometrika 28, 1936.

    H. D. Vinod, "Canonical ridge and econometrics of joint production", Journal of Econometrics 4, 1976.

    Å. Björck and G. H. Golub, "Numerical methods for computing angles between linear subspaces",
    Mathematics of Computation 27, 1973.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import CCA
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(500, 2))
    >>> X = np.hstack([common, rng.normal(size=(500, 3))])
    >>> Y = np.hstack([rng.normal(size=(500, 2)), common + 0.5 * rng.normal(size=(500, 2))])
    >>> cca = CCA(n_components=2).fit(X, Y)
    >>> cca.canonical_correlations_.round(2)
    array([0.9 , 0.89])
    >>> zx, zy = cca.transform_views(X, Y)
    >>> bool(np.isclose(np.corrcoef(zx[:, 0], zy[:, 0])[0, 1], cca.canonical_correlations_[0]))
    True
    """

    def __init__(
        self,
        n_components: int | None = None,
        reg: float | tuple[float, float] = 0.0,
        scale: bool = False,
        solver: Literal["auto", "covariance", "qr", "gram"] = "auto",
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.reg = reg
        self.scale = scale
        self.solver = solver
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> "CCA":
        """Fit to paired rows.

        Parameters
        ----------
        X : array_like of shape (n, p)
            First view. float32 and float64 arrays are read in place: C or F order, strided, read-only,
            memory-mapped. float32 gives float32 results.
        y : array_like of shape (n, q) or (n,)
            Second view, row by row the partners of ``X``.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row; their sum must exceed 1.

        Returns
        -------
        CCA
            The fitted estimator.

        Raises
        ------
        ValueError
            See :class:`CCA`.
        """
        self._fit_arrays(*self._check_pair(X, y, sample_weight, reset=True))
        return self

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> "CCA":
        """Add rows to those fitted so far and solve again, from the moments alone.

        The result is that of one ``fit`` to all rows, to rounding. Each call solves; for very many small
        chunks collect :class:`~fastcca.Moments` instead and call :meth:`fit_moments` once.

        Parameters
        ----------
        X : array_like of shape (n, p)
            New rows of the first view. The first call takes at least two rows.
        y : array_like of shape (n, q) or (n,)
            Their partners.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row.

        Returns
        -------
        CCA
            The fitted estimator.

        Raises
        ------
        ValueError
            As in ``fit``; for ``solver="qr"`` or ``"gram"``, which need all rows at once; after a ``fit`` to
            more features than samples, which keeps no moments, and for a model saved without them.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCA
        >>> X = np.random.default_rng(0).normal(size=(50, 3))
        >>> Y = X[:, :2] + np.random.default_rng(1).normal(size=(50, 2))
        >>> grown = CCA().partial_fit(X[:30], Y[:30]).partial_fit(X[30:], Y[30:])
        >>> bool(np.allclose(grown.singular_values_, CCA().fit(X, Y).singular_values_))
        True
        """
        self._refuse_data_solvers("partial_fit")
        first = not hasattr(self, "moments_")
        if not first and self.moments_ is None:
            raise ValueError(
                "partial_fit cannot go on from this fit, of which no moments were kept: it had more features "
                "than samples, or was saved without moments. Start with partial_fit on a new estimator"
            )
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=first)
        moments = self._moments(x_checked, y_checked, weights)
        dtypes = x_checked.dtype, y_checked.dtype
        if not first and self.moments_ is not None:
            moments = self.moments_ + moments
            dtypes = self.x_weights_.dtype, self.y_weights_.dtype
        self._fit_moments(moments, dtypes)
        return self

    def fit_moments(self, moments: Moments) -> "CCA":
        """Fit to the moments of both views: of files read in chunks, or merged from several machines.

        Parameters
        ----------
        moments : Moments
            Of two views of p and q columns, ``Moments().update(X, y)``.

        Returns
        -------
        CCA
            The fitted estimator; float32 if the moments saw float32 data.

        Raises
        ------
        ValueError
            For moments of other than two views or of fewer than two rows; for ``solver="qr"`` or ``"gram"``,
            which need the data.
        TypeError
            For anything that is not :class:`~fastcca.Moments`.

        Warns
        -----
        UserWarning
            If a view is too ill-conditioned for moments alone.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCA, Moments
        >>> rng = np.random.default_rng(0)
        >>> moments = Moments()
        >>> for _ in range(10):
        ...     X = rng.normal(size=(100, 3))
        ...     _ = moments.update(X, X[:, :2] + rng.normal(size=(100, 2)))
        >>> CCA().fit_moments(moments).n_components_
        2
        """
        self._refuse_data_solvers("fit_moments")
        if not isinstance(moments, Moments):
            raise TypeError(f"moments must be fastcca.Moments, got {type(moments).__name__}")
        if len(moments.dims) != 2:
            raise ValueError(f"moments must be of two views, got {len(moments.dims)}: Moments().update(X, y)")
        self.n_features_in_, self.n_y_features_in_ = moments.dims
        self._y_is_vector = False
        self._set_y_names(None)
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        dtypes = [
            np.dtype(np.float32 if moments.eps[s].max() > np.finfo(np.float64).eps else np.float64)
            for s in moments.slices
        ]
        self._fit_moments(moments.copy(), (dtypes[0], dtypes[1]))
        return self

    def _refuse_data_solvers(self, method: str) -> None:
        if self.solver in ("qr", "gram"):
            raise ValueError(
                f"solver={self.solver!r} needs the data, but {method} has their moments alone: "
                "use solver='auto' or 'covariance', or fit"
            )
