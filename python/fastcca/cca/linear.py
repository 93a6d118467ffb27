"""Regularised canonical correlation analysis: :class:`CCA`, and what every linear map of two views shares."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag
from scipy.stats import t as student
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.arrays import check_same_rows
from fastcca._arguments.parameters import (
    FLAG,
    MISSING,
    N_COMPONENTS,
    N_THREADS,
    RIDGES,
    check_n_components,
    choice,
    number,
)
from fastcca._arguments.sparse import dense, is_sparse
from fastcca._arguments.warn import unsaid, warn
from fastcca._models.docs import documented
from fastcca._models.files import Schema
from fastcca._models.missing import MissingValues
from fastcca._models.shared_part import SharedPart
from fastcca._models.statistics import (
    ScoreStatistics,
    Weights,
    cast_weights,
    column_statistics,
    finite_scores,
    rows_at_once,
    score_statistics,
)
from fastcca._models.two_view import TwoViewTransformer, View
from fastcca.cca.partial import (
    Confounding,
    check_confounds,
    confounding_of_rows,
    moments_with,
    partial_moments,
)
from fastcca.cca.shrinkage import SHRINKAGE, ledoit_wolf, oracle_approximating, shrunk_moments
from fastcca.errors import NumericalError
from fastcca.functional.linalg import product
from fastcca.functional.matrix_free import solve_matrix_free
from fastcca.functional.moments import Moments
from fastcca.functional.solver import Solution, solve_gram, solve_moments, solve_qr
from fastcca.metrics import column_correlations

__all__ = [
    "CCA",
    "MOST_ERROR",
    "SOLVERS",
    "LinearTwoView",
    "Translation",
    "column_scales",
    "column_variances",
    "fine_error",
]


SOLVERS = ("auto", "covariance", "qr", "gram")
# Bytes of sparse views up to which they are fitted as dense ones, which every solver can take …
SMALL = 2**26
# … columns of both views up to which the others are solved by their moments …
MOST_SPARSE = 8192
# … and where the iteration for more of them ends.
RESIDUAL, MOST_ITERATIONS = 1e-8, 1000

DOUBLE = float(np.finfo(np.float64).eps)
# Estimated error of correlations above which moments do not serve …
MOST_ERROR = 5e-7
# … and that orthogonal factors of the data are reported from.
MOST_LOSS = 1e-4

Dtypes = tuple[np.dtype[Any], np.dtype[Any]]
Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]


class Translation(NamedTuple):
    """What ``translate`` gives.

    Attributes
    ----------
    predicted : ndarray of shape (n, q) or (n, p)
        The other view.
    low, high : ndarray of the same shape
        Ends of the interval of each value.
    """

    predicted: NDArray[Any]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


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


@documented
class LinearTwoView(MissingValues, SharedPart, TwoViewTransformer):
    """A linear map of each view: what :class:`CCA` and :class:`CCACV` share."""

    _schema = Schema(
        fields="singular_values_ total_correlation_ x_loadings_ y_loadings_ x_cross_loadings_ "
        "y_cross_loadings_ solver_ moments_ n_samples_ x_rank_ y_rank_ "
        "x_weights_ y_weights_ x_scale_ y_scale_ "
        "confounds_rank_",
        optional="confounds_mean_ x_confounds_coef_ y_confounds_coef_ reg_ shrinkage_",
    )
    _constraints = {  # noqa: RUF012
        "n_components": N_COMPONENTS,
        "scale": FLAG,
        "solver": choice(*SOLVERS),
        "n_threads": N_THREADS,
    }

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
    total_correlation_: float
    solver_: str
    reg_: Any
    shrinkage_: tuple[float, float]
    x_rank_: int
    y_rank_: int
    n_samples_: float
    confounds_rank_: int
    confounds_mean_: NDArray[np.float64]
    x_confounds_coef_: NDArray[np.float64]
    y_confounds_coef_: NDArray[np.float64]

    def _scores(self, view: View, data: NDArray[Any], confounds: NDArray[Any] | None = None) -> NDArray[Any]:
        if self._confounding is not None and confounds is None:
            raise ValueError(
                f"this {type(self).__name__} was fitted with confounds: pass those of "
                "these rows, confounds=..."
            )
        weights, mean = (self.x_weights_, self.x_mean_) if view == "X" else (self.y_weights_, self.y_mean_)
        scores = finite_scores(view, data, weights, mean)
        if self._confounding is not None and confounds is not None:
            # (X - Z B) W = X W - Z (B W)
            weights = weights.astype(data.dtype, copy=False)
            explained = self._confounding.coefficients[0 if view == "X" else 1] @ weights
            scores -= (confounds - self._confounding.mean) @ explained
        return scores

    # ---- confounds

    def _check_confounds(
        self, confounds: Any, n_rows: int, *, reset: bool, missing: bool = False
    ) -> NDArray[Any] | None:
        fitted = None if reset else self._confounding
        return check_confounds(type(self).__name__, confounds, n_rows, fitted, reset=reset, missing=missing)

    def transform(
        self,
        X: ArrayLike,
        y: Any = None,
        confounds: ArrayLike | None = None,
        *,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Scores of the first view.

        {rows}
        {ignored_y}
        confounds : array_like of shape (n, c), optional
            Confounds of these rows, where the fit was given some: what they explain, by the coefficients of
            the fit, is taken out first.
        {out}

        {returns_scores}

        {raises_not_fitted}
        ValueError
            For a wrong number of features, NaN or infinity, or confounds that are missing or not expected.
        """
        checked = self._check_view("X", X)
        Z = self._check_confounds(confounds, checked.shape[0], reset=False)
        return self._scores_in("X", checked, out, *([] if Z is None else [Z]))

    def transform_y(
        self, y: ArrayLike, confounds: ArrayLike | None = None, *, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Scores of the second view.

        Parameters
        ----------
        y : array_like of shape (n, q), or (n,) if q is 1
            Rows in the units of the training data.
        {confounds}
        {out}

        Returns
        -------
        ndarray of shape (n, n_components_)
            In the dtype of ``y``; a data frame after ``set_output``.

        {raises_not_fitted}
        ValueError
            As in :meth:`transform`.
        """
        scores = self._scores_of_y(y, confounds, out)
        return _wrap_data_with_container("transform", scores, y, self)  # type: ignore[no-any-return]

    def _rows_at_once(self, data: NDArray[Any]) -> int:
        return rows_at_once(data)

    def _scores_of_y(
        self, y: ArrayLike, confounds: ArrayLike | None, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        checked = self._check_view("y", y)
        Z = self._check_confounds(confounds, checked.shape[0], reset=False)
        return self._scores_in("y", checked, out, *([] if Z is None else [Z]))

    def transform_views(
        self, X: ArrayLike, y: ArrayLike, confounds: ArrayLike | None = None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Scores of both views as plain arrays.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows of the first view.
        y : array_like of shape (m, q)
            Rows of the second view; without confounds they need not be paired with those of ``X``.
        {confounds}

        {returns_both_scores}
        """
        checked = self._check_view("X", X)
        Z = self._check_confounds(confounds, checked.shape[0], reset=False)
        return self._scores("X", checked, Z), self._scores_of_y(y, confounds)

    def predict(self, X: ArrayLike, confounds: ArrayLike | None = None) -> NDArray[Any]:
        """The second view as the least-squares regression of y on the ``n_components_`` scores of ``X``.

        With every component and ``reg=0`` this is ordinary least squares of y on X, and on the confounds
        where there are some.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows of the first view.
        {confounds}

        {returns_y}

        {example_of_predict}
        """
        checked = self._check_view("X", X)
        Z = self._check_confounds(confounds, checked.shape[0], reset=False)
        predicted = self._regress(self._scores("X", checked, Z), self._y_on_x, self.y_mean_)
        predicted = self._with_explained(predicted, 1, Z)
        return predicted.ravel() if self._y_is_vector else predicted

    def predict_x(self, y: ArrayLike, confounds: ArrayLike | None = None) -> NDArray[Any]:
        """The first view as the least-squares regression of X on the ``n_components_`` scores of ``y``.

        Parameters
        ----------
        y : array_like of shape (n, q)
            Rows of the second view.
        {confounds}

        {returns_x}
        """
        checked = self._check_view("y", y)
        Z = self._check_confounds(confounds, checked.shape[0], reset=False)
        predicted = self._regress(self._scores("y", checked, Z), self._x_on_y, self.x_mean_)
        return self._with_explained(predicted, 0, Z)

    def translate(
        self,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        confounds: ArrayLike | None = None,
        confidence: float = 0.95,
    ) -> Translation:
        r"""One view as the other predicts it, with intervals for a new row.

        The values are those of :meth:`predict` or :meth:`predict_x`. An interval of a column is that of
        linear regression on all columns of the view that is given, and on the confounds:
        :math:`\hat y \pm t\, s \sqrt{1 + h}` with the residual deviation s, which counts the ranks of that
        view and of the confounds as degrees of freedom, and the leverage h of the row.

        Parameters
        ----------
        X : array_like of shape (n, p), optional
            Rows of the first view, for the second.
        y : array_like of shape (n, q), optional
            Rows of the second view, for the first. One of the two is given.
        {confounds_of_rows}
        confidence : float, default=0.95
            Coverage of each interval.

        Returns
        -------
        Translation
            ``predicted``, ``low`` and ``high``, each of shape (n, q) or (n, p).

        {raises_not_fitted}
        ValueError
            For both views or none, a model without its moments, no more rows than columns in training; as
            :meth:`predict`.

        Notes
        -----
        Without a ridge and with all components (``n_components`` of the smaller number of columns) these are
        the prediction intervals of least squares, exact for normal errors. With fewer components, or a ridge,
        the residuals hold what these leave out, and the intervals are wider accordingly.

        References
        ----------
        G. A. F. Seber and A. J. Lee, "Linear Regression Analysis", Wiley 2003, chapter 5.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCA
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(500, 3))
        >>> Y = X[:, :2] + 0.5 * rng.normal(size=(500, 2))
        >>> model = CCA().fit(X[:400], Y[:400])
        >>> predicted, low, high = model.translate(X[400:])
        >>> bool(0.9 < ((low < Y[400:]) & (Y[400:] < high)).mean() < 0.99)
        True
        """
        check_is_fitted(self)
        level = number(above=0, below=1)("confidence", confidence)
        if (X is None) == (y is None):
            raise ValueError(
                "translate takes rows of X or of y, got " + ("both" if y is not None else "neither")
            )
        if self.moments_ is None:
            raise ValueError(
                "translate takes the moments of the fit, which were not kept: there were more features than "
                "samples, or the model was saved without moments"
            )
        sx, sy, *of_confounds = self.moments_.slices
        rows: Any
        if X is not None:
            rows, predicted, view = self._check_view("X", X), self.predict(X, confounds), "X"
            own, wanted, rank, B = sx, sy, self.x_rank_, self.coef_.T
        else:
            assert y is not None
            rows, predicted, view = self._check_view("y", y), self.predict_x(y, confounds), "y"
            own, wanted, rank = sy, sx, self.y_rank_
            B = self.y_weights_ @ self._x_on_y
        rows = dense(rows)
        place = np.arange(len(self.moments_.mean))
        given = np.concatenate([place[s] for s in (own, *of_confounds)])
        confounding = self._confounding
        if confounding is not None:
            # B'(x - C_x'z) + C_y'z = B'x + (C_y - C_x B)'z
            of = confounding.coefficients if X is not None else confounding.coefficients[::-1]
            B = np.vstack([B, of[1] - of[0] @ B])
            rank += confounding.rank
            Z: Any = self._check_confounds(confounds, len(rows), reset=False)
            rows = np.hstack([rows, Z])
        n = float(self.moments_.n)
        freedom = n - 1 - rank
        if freedom < 1:
            raise ValueError(
                f"intervals take more rows than columns: {n:g} rows leave nothing of a rank of {rank} "
                f"of {view}{' and of the confounds' if confounding else ''}"
            )
        S, B = self.moments_.scatter, np.asarray(B, dtype=np.float64)
        # of y - B'x: S_yy - 2 B'S_xy + B'S_xx B
        left = S.diagonal()[wanted] - 2 * (B * S[given, wanted]).sum(axis=0)
        within = S[np.ix_(given, given)]
        left = left + (B * (within @ B)).sum(axis=0)
        deviation = np.sqrt(left.clip(min=0.0) / freedom)
        scale = np.sqrt(np.where(within.diagonal() > 0, within.diagonal(), 1.0))
        inverse = np.linalg.pinv(within / np.outer(scale, scale), rcond=1e-12, hermitian=True)
        away = (rows - self.moments_.mean[given]) / scale
        leverage = 1 / n + np.einsum("ij,ij->i", away @ inverse, away)
        half = student.ppf((1 + level) / 2, freedom) * np.sqrt(1 + leverage)[:, np.newaxis] * deviation
        half = half.reshape(predicted.shape)
        return Translation(predicted, predicted - half, predicted + half)

    def _with_explained(self, predicted: NDArray[Any], view: int, Z: NDArray[Any] | None) -> NDArray[Any]:
        if self._confounding is None or Z is None:
            return predicted
        explained = (Z - self._confounding.mean) @ self._confounding.coefficients[view]
        return np.asarray(predicted + explained, dtype=predicted.dtype)

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        confounds: ArrayLike | None = None,
    ) -> float:
        """Mean canonical correlation on these rows, which ``GridSearchCV`` maximises.

        {rows_to_score}
        {confounds}

        {returns_mean_correlation}
        """
        check_is_fitted(self)
        X, y, weights = self._check_pair(X, y, sample_weight, reset=False)
        if X.shape[0] < 2:
            raise ValueError(f"score needs at least 2 rows to correlate: X has 1 sample (shape={X.shape})")
        Z = self._check_confounds(confounds, X.shape[0], reset=False)
        zx, zy = self._scores("X", X, Z), self._scores("y", y, Z)
        return float(column_correlations(zx, zy, sample_weight=weights).mean())

    def _fit_partial(self, X: NDArray[Any], y: NDArray[Any], Z: NDArray[Any], weights: Weights) -> None:
        """Fit to what the confounds leave of checked arrays."""
        self._parameters(X.shape[1], y.shape[1])
        dtypes = X.dtype, y.dtype
        wide = len(X) < max(X.shape[1], y.shape[1]) + Z.shape[1]
        moments = None if wide else moments_with(X, y, Z, weights, self.n_threads)
        cautious = self.solver == "auto"
        if moments is None:  # they would be larger than the data
            confounding = confounding_of_rows((X, y), Z, weights, n_threads=self.n_threads)
        elif self.solver in ("auto", "covariance") and self._fit_partial_moments(
            moments, dtypes, cautious=cautious
        ):
            return
        else:
            _, confounding = partial_moments(moments, n_threads=self.n_threads)
        # from the residuals themselves
        with unsaid("n - 1 = "):  # the rows that the confounds take are counted here
            self._fit_arrays(confounding.residuals(0, X, Z), confounding.residuals(1, y, Z), weights)
        ranks, reg = (self.x_rank_, self.y_rank_), RIDGES("reg", getattr(self, "reg_", self.reg))
        rows = len(X) if weights is None else int(np.count_nonzero(weights))
        _warn_if_undetermined(ranks, reg, rows - confounding.rank)
        self.moments_ = moments
        self._set_confounding(confounding)

    def _fit_partial_moments(self, moments: Moments, dtypes: Dtypes, *, cautious: bool = False) -> bool:
        """Fit to moments of X, y and confounds; with ``cautious`` not to inaccurate ones. Returns whether."""
        partial, confounding = partial_moments(moments, n_threads=self.n_threads)
        k, reg = self._parameters(*partial.dims)
        if partial.n - confounding.rank <= 1:
            raise ValueError(
                f"{confounding.rank} confounds leave nothing of n = {partial.n:g} rows to correlate"
            )
        columns = self._columns(*_moment_statistics(partial), _smallest_variance(partial))
        if cautious and not _representable(partial):
            return False
        units, solution = self._solve_moments(partial, columns, k, reg)
        errors = _errors(solution, partial)
        if cautious and (max(errors) > fine_error(dtypes, partial.n) or any(solution.dropped)):
            return False
        fit = self._statistics(partial, columns, units, solution, errors, reg)
        self._adopt("covariance", fit, moments, moments.n, dtypes, reg, moments.n - confounding.rank)
        self._set_confounding(confounding)
        return True

    @property
    def _confounding(self) -> Confounding | None:
        if not getattr(self, "confounds_rank_", 0):
            return None
        coefficients = self.x_confounds_coef_, self.y_confounds_coef_
        return Confounding(self.confounds_mean_, coefficients, self.confounds_rank_)

    def _set_confounding(self, confounding: Confounding | None) -> None:
        if confounding is None:
            for name in ("confounds_mean_", "x_confounds_coef_", "y_confounds_coef_"):
                if hasattr(self, name):
                    delattr(self, name)
            self.confounds_rank_ = 0
            return
        self.confounds_mean_ = confounding.mean
        self.x_confounds_coef_, self.y_confounds_coef_ = confounding.coefficients
        self.confounds_rank_ = confounding.rank

    # ---- what tests and reports ask

    def _maps(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.x_weights_, self.y_weights_

    def _view_moments(self) -> Moments | None:
        moments = getattr(self, "moments_", None)
        if moments is None or len(moments.dims) == 2:
            return moments
        return partial_moments(moments, n_threads=self.n_threads)[0]

    def _ridges_of_fit(self) -> tuple[float, float]:
        """Given, or chosen by cross-validation."""
        return RIDGES("reg", self.reg_ if hasattr(self, "reg_") else self.reg)  # type: ignore[no-any-return]

    def _all_correlations(self) -> tuple[Floats, float, int, int]:
        if self._ridges_of_fit() != (0.0, 0.0):
            raise ValueError(
                f"Wilks's test does not hold for correlations with a ridge, reg = {self._ridges_of_fit()}: "
                "use permutation_test, or fit with reg=0"
            )
        if getattr(self, "n_samples_", None) is None or not hasattr(self, "x_rank_"):
            raise ValueError("this model was saved by an earlier version without its ranks: fit it again")
        p, q = self.x_rank_, self.y_rank_
        if self.n_components_ < min(p, q):
            raise ValueError(
                f"Wilks's test takes all min(rank of X, rank of y) = {min(p, q)} correlations, but only "
                f"{self.n_components_} were computed: fit with n_components=None"
            )
        # confounds take as many degrees of freedom as they have rank
        n = self.n_samples_ - getattr(self, "confounds_rank_", 0)
        return np.asarray(self.canonical_correlations_, dtype=np.float64).clip(0.0, 1.0), n, p, q

    # ---- scikit-learn's names

    @property
    def x_rotations_(self) -> NDArray[Any]:
        """``x_weights_``, by the name that scikit-learn has for what ``transform`` multiplies by."""
        return self.x_weights_

    @property
    def y_rotations_(self) -> NDArray[Any]:
        """``y_weights_``, likewise."""
        return self.y_weights_

    @property
    def coef_(self) -> NDArray[Any]:
        """Regression coefficients of shape (q, p): ``predict(X) = (X - x_mean_) @ coef_.T + intercept_``."""
        coefficients: NDArray[Any] = (self.x_weights_ @ self._y_on_x).T
        return coefficients

    @property
    def intercept_(self) -> NDArray[Any]:
        """The predicted y of a row at ``x_mean_``, shape (q,): ``y_mean_``."""
        return self.y_mean_

    # ---- the fit

    def _fit_arrays(
        self, X: NDArray[Any], y: NDArray[Any], weights: Weights, moments: Moments | None = None
    ) -> None:
        """Fit to checked arrays, whose moments (with products in double) may be known already."""
        self._set_confounding(None)
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
        self._set_confounding(None)
        k, reg = self._parameters(*moments.dims)
        if moments.n <= 1:
            raise ValueError(f"moments must hold at least 2 rows, got n_samples = {moments.n:g}")
        columns = self._columns(*_moment_statistics(moments), _smallest_variance(moments))
        units, solution = self._solve_moments(moments, columns, k, reg)
        fit = self._statistics(moments, columns, units, solution, _errors(solution, moments), reg)
        self._adopt("covariance", fit, moments, moments.n, dtypes, reg, moments.n)

    def _ridges(self) -> tuple[float, float]:
        return RIDGES("reg", self.reg)  # type: ignore[no-any-return]

    def _parameters(self, p: int, q: int) -> tuple[int, tuple[float, float]]:
        return check_n_components(self.n_components, p, q), self._ridges()

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
        if max(errors) > fine_error(dtypes, moments.n):
            if k < min(moments.dims):  # what stands just below the k-th pair may have changed places with it
                units, solution = self._solve_moments(moments, columns, min(k + 8, *moments.dims), reg)
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
        if any(solution.dropped) or max(errors) > fine_error((X.dtype, y.dtype), moments.n):
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
            return solution, scores.scatter / (scores.n - 1)  # indistinguishable from rounding
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
        """Set every attribute of a fit to ``rows`` rows."""
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
        self.x_weights_, self.y_weights_ = (
            cast_weights("X", weights[0], x_dtype),
            cast_weights("y", weights[1], y_dtype),
        )
        self.x_mean_, self.y_mean_ = columns.means
        self.x_scale_, self.y_scale_ = columns.scales[0].astype(x_dtype), columns.scales[1].astype(y_dtype)
        self.singular_values_ = solution.singular_values.astype(np.result_type(x_dtype, y_dtype))
        known = solution.singular_values if reg == (0, 0) else None
        self._set_statistics(statistics, dtypes, canonical_correlations=known)
        self.total_correlation_ = float(self.singular_values_.sum())


def dense_if_small(X: Any, y: Any) -> tuple[Any, Any]:
    """Both views as arrays where these are small, which is quicker; else as they are."""
    bytes_ = X.shape[0] * (X.shape[1] * X.dtype.itemsize + y.shape[1] * y.dtype.itemsize)
    if bytes_ > SMALL:
        return X, y
    return dense(X), dense(y)


def _errors(solution: Solution, moments: Moments) -> list[float]:
    """What the rounding of the moments may cost the correlations, by view: ρ cond²."""
    return [
        float(moments.rounding[s].max() * condition**2)
        for s, condition in zip(moments.slices, solution.condition, strict=True)
    ]


def fine_error(dtypes: Sequence[np.dtype[Any]], n: float = 0.0) -> float:
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
        most, because = max(MOST_ERROR, fine_error(dtypes, n)), "for moments, which square that"
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


def column_scales(moments: Moments, scale: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variances of the stacked columns, and what a fit divides them by: with ``scale`` their deviations."""
    if moments.n <= 1:
        raise ValueError(f"moments must hold at least 2 rows, got n_samples = {moments.n:g}")
    variances = column_variances(moments)
    for name, s in zip("Xy", moments.slices, strict=True):
        if not np.isfinite(variances[s]).all():
            raise NumericalError(f"the variances of {name} overflow: rescale its columns")
        if not variances[s].any():
            raise NumericalError(f"{name} has rank 0: every one of its columns is constant")
    return variances, np.sqrt(np.where(variances > 0, variances, 1.0)) if scale else np.ones_like(variances)


def _moment_statistics(moments: Moments) -> tuple[Pair, Pair]:
    """Mean and variance of the columns of both views."""
    mean, variance = moments.mean, column_variances(moments)
    sx, sy = moments.slices
    return (mean[sx], variance[sx]), (mean[sy], variance[sy])


def _estimated(rule: str, trace: float, squares: float, fourth: float | None, n: float, p: int) -> float:
    if rule == "oas":
        return oracle_approximating(trace, squares, n, p)
    assert fourth is not None
    return ledoit_wolf(trace, squares, fourth, n, p)


def _fourth_power(data: NDArray[Any], mean: Floats, units: Floats, weights: Weights) -> float:
    """Mean over the rows of the fourth power of the norm of a row, centred and in units."""
    total, step = 0.0, max(1, 2**20 // data.shape[1])
    for start in range(0, len(data), step):
        rows = slice(start, start + step)
        z = (data[rows] - mean) / units
        squares = np.einsum("ij,ij->i", z, z) ** 2
        total += float(squares.sum() if weights is None else squares @ weights[rows])
    return total / (len(data) if weights is None else float(weights.sum()))


def _gram_powers(data: NDArray[Any], mean: Floats, units: Floats, weights: Weights) -> tuple[float, float]:
    """tr S² with S over n, and the mean fourth power, of a view with more columns than rows."""
    w = np.ones(len(data)) if weights is None else weights
    z = (data - mean) / units
    K = z @ z.T
    return float(w @ (K * K) @ w / w.sum() ** 2), float(w @ K.diagonal() ** 2 / w.sum())


@documented
class CCA(LinearTwoView):
    r"""Canonical correlation analysis with a ridge.

    Finds for two paired views the directions :math:`w_1, w_2` along which they correlate most, one pair after
    the other, each uncorrelated with those before:

    .. math:: \max_{W_1, W_2} \operatorname{tr}(W_1^\top S_{12} W_2)
       \quad\text{subject to}\quad W_i^\top (S_{ii} + r_i I) W_i = I.

    Covariances are divided by N - 1; sample weights count as repetitions, N is their sum. The solution is
    computed from the moments of the data, by the singular values of
    :math:`T = (S_{11} + r_1 I)^{-1/2} S_{12} (S_{22} + r_2 I)^{-1/2}`, or from the data where moments are not
    accurate enough.

    Parameters
    ----------
    n_components : int, optional
        Number of pairs of directions, at most min(p, q), which is the default. The rank of the data may
        leave fewer: see ``n_components_``; there is a warning where a number was given.
    reg : float or tuple of two float, default=0.0
        Ridge r >= 0 of both views or (r1, r2), added to the variances: in the units of a variance, or, with
        ``scale=True``, relative to it.
    scale : bool, default=False
        Divide each column by its standard deviation first, so that the ridge penalises all columns equally.
        Weights are given for the columns as they came. Without a ridge it changes nothing but rounding.
    shrinkage : float, "ledoit-wolf", "oas" or pair of them, optional
        In the place of ``reg``: covariances are :math:`(1 - \tau) S_{ii} + \tau \mu_i I` with the mean
        variance :math:`\mu_i` of the view's columns. 0 is CCA, 1 partial least squares (:class:`PLSSVD`);
        "ledoit-wolf" and "oas" estimate :math:`\tau` of each view, see ``shrinkage_``.
    {missing}
    solver : {"auto", "covariance", "qr", "gram", "iterative"}, default="auto"
        "covariance" works on the moments, the fastest; of views that are not well-conditioned it goes through
        the data once more, to multiply float32 data in double or to refine the correlations. "qr" works on
        orthogonal factors of the data (Björck and Golub), accurate up to condition numbers of 1e13; "gram"
        on n × n matrices, for more features than samples. "auto" takes "gram" where a view has more features
        than there are rows, "qr" where the estimated condition number of a regularised view, its columns
        brought to unit variance, exceeds 5e4 or directions that are not constant columns would be dropped,
        and "covariance" otherwise; see ``solver_``. "iterative" finds ``n_components`` leading pairs by
        products with the views alone, see :func:`~fastcca.functional.solve_matrix_free`: for very many
        columns, of sparse views above all. Of sparse views "auto" takes "covariance" for up to 8192 columns
        in all (small ones, up to 64 MB, are fitted as dense views), else "iterative".
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.

    Attributes
    ----------
    x_weights_, y_weights_ : ndarray of shape (p, n_components_), (q, n_components_)
        ``transform(X) = (X - x_mean_) @ x_weights_``. In each column of ``x_weights_`` the entry of largest
        magnitude is positive. Constant columns have weight 0.
    singular_values_ : ndarray of shape (n_components_,)
        Those of T in decreasing order: the regularised canonical correlations.
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
    x_rotations_, y_rotations_, coef_, intercept_ : ndarray
        scikit-learn's names: the weights, and the regression of y on X that ``predict`` computes,
        ``(X - x_mean_) @ coef_.T + intercept_``.
    x_scale_, y_scale_ : ndarray of shape (p,), (q,)
        What the columns were divided by: their standard deviation with ``scale=True`` (1 for a constant
        column), else 1.
    moments_ : Moments or None
        What the solution was computed from, and what ``partial_fit`` adds to (with confounds, of X, y
        and these); None where there are more features than samples.
    solver_ : str
        The solver that was used.
    n_components_ : int
        Number of pairs of directions found: ``min(n_components, x_rank_, y_rank_)``.
    shrinkage_ : tuple of float
        :math:`\tau` of both views; only with ``shrinkage``. ``reg_`` are the ridges with the same directions,
        :math:`\mu_i \tau / (1 - \tau)`.
    x_rank_, y_rank_ : int
        Numerical ranks of the centred views, see Notes. A view of more than 512 columns whose missing
        directions the ridge carries counts the columns that vary.
    n_samples_ : float
        Number of rows N; with sample weights their sum.
    n_incomplete_, n_iter_ : int
        Rows with missing values, with ``missing`` "drop" or "em": left out of ``n_samples_``, or counted; and
        iterations of the latter.
    confounds_rank_ : int
        Rank of the confounds, 0 without: tests of the correlations take N − ``confounds_rank_`` for N.
    confounds_mean_, x_confounds_coef_, y_confounds_coef_ : ndarray of shape (c,), (c, p), (c, q)
        What the confounds explain of X is ``(Z - confounds_mean_) @ x_confounds_coef_``; only with confounds.
    n_features_in_, n_y_features_in_ : int
        p and q.
    feature_names_in_, y_feature_names_in_ : ndarray of str
        Column names of the views, where they were data frames with text as column names.

    {raises_in_fit}
    {raises_if_constant}

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

    _schema = Schema("CCA")
    _constraints = {  # noqa: RUF012
        **LinearTwoView._constraints,
        "solver": choice(*SOLVERS, "iterative"),
        "reg": RIDGES,
        "shrinkage": SHRINKAGE,
        "missing": MISSING,
    }
    _takes_sparse = True

    def __init__(
        self,
        n_components: int | None = None,
        reg: float | tuple[float, float] = 0.0,
        scale: bool = False,
        solver: Literal["auto", "covariance", "qr", "gram", "iterative"] = "auto",
        n_threads: int | None = None,
        shrinkage: Any = None,
        missing: Literal["error", "drop", "em"] = "error",
    ) -> None:
        self.n_components = n_components
        self.reg = reg
        self.scale = scale
        self.solver = solver
        self.n_threads = n_threads
        self.shrinkage = shrinkage
        self.missing = missing

    def _ridges(self) -> tuple[float, float]:
        return super()._ridges() if self.shrinkage is None else self.reg_

    # ---- shrinkage

    def _start(self) -> tuple[float | str, float | str] | None:
        """The shrinkage asked for; forgets that of an earlier fit."""
        for name in ("shrinkage_", "reg_"):
            if hasattr(self, name):
                delattr(self, name)
        if self.shrinkage is None:
            return None
        if RIDGES("reg", self.reg) != (0.0, 0.0):
            raise ValueError(f"give reg or shrinkage, not both: got reg={self.reg!r}")
        return SHRINKAGE("shrinkage", self.shrinkage)  # type: ignore[no-any-return]

    def _fit_shrunk(
        self,
        given: tuple[float | str, float | str],
        moments: Moments,
        dtypes: Dtypes,
        rows: tuple[NDArray[Any], NDArray[Any]] | None = None,
        weights: Weights = None,
        *,
        confounded: bool = False,
    ) -> None:
        """Fit to moments of two views, or of three with confounds; the rows are for Ledoit and Wolf."""
        two, confounding = (
            partial_moments(moments, n_threads=self.n_threads) if confounded else (moments, None)
        )
        self.reg_ = (0.0, 0.0)
        k, _ = self._parameters(*two.dims)
        if two.n <= 1:
            raise ValueError(f"moments must hold at least 2 rows, got n_samples = {two.n:g}")
        columns = self._columns(*_moment_statistics(two), _smallest_variance(two))
        units = columns.scales if self.scale else columns.ones
        scaled = two.scaled(1 / np.concatenate(units)) if self.scale else two
        taus, ridges = [], []
        for i, (tau, s) in enumerate(zip(given, scaled.slices, strict=True)):
            S = scaled.scatter[s, s] / scaled.n
            if isinstance(tau, str):
                if tau == "ledoit-wolf" and rows is None:
                    raise ValueError(
                        "shrinkage='ledoit-wolf' takes the rows, which moments do not hold: use 'oas', "
                        "a number, or fit"
                    )
                fourth = None if rows is None else _fourth_power(rows[i], columns.means[i], units[i], weights)
                tau = _estimated(tau, float(S.trace()), float((S * S).sum()), fourth, scaled.n, len(S))
            mean = float(S.trace()) * scaled.n / (scaled.n - 1) / max(1, int((~scaled.constant[s]).sum()))
            taus.append(tau)
            ridges.append(mean * tau / (1 - tau) if tau < 1 else np.inf)
        shrunk, factor = shrunk_moments(scaled, (taus[0], taus[1]))
        solution = solve_moments(shrunk, k, 0.0, self.n_threads)
        errors = _errors(solution, shrunk)
        fit = self._statistics(two, columns, units, solution, errors, (1.0, 1.0))
        plain = replace(solution, singular_values=solution.singular_values / factor)
        taken = 0 if confounding is None else confounding.rank
        penalties = (taus[0], taus[1])
        self._adopt(
            "covariance",
            fit._replace(solution=plain),
            moments,
            moments.n,
            dtypes,
            penalties,
            moments.n - taken,
        )
        self._set_confounding(confounding)
        self.shrinkage_, self.reg_ = (taus[0], taus[1]), (ridges[0], ridges[1])

    def _fit_shrunk_wide(
        self,
        given: tuple[float | str, float | str],
        X: NDArray[Any],
        y: NDArray[Any],
        weights: Weights,
    ) -> None:
        """Fit to views of more features than samples, through the ridges with the same directions."""
        taus, ridges = [], []
        for name, a, tau in zip("Xy", (X, y), given, strict=True):
            mean, variance = column_statistics(name, a, weights)
            varying = variance > 0
            units = np.sqrt(np.where(varying, variance, 1.0)) if self.scale else np.ones_like(variance)
            n = float(len(a) if weights is None else weights.sum())
            if isinstance(tau, str):
                trace = float((variance / units**2).sum()) * (n - 1) / n
                squares, fourth = _gram_powers(a, mean, units, weights)
                tau = _estimated(tau, trace, squares, fourth, n, a.shape[1])
            if tau == 1:
                raise ValueError(f"shrinkage=1 of {name}, which has more features than samples: use PLSSVD")
            unit = float((variance / units**2)[varying].mean()) if varying.any() else 0.0
            taus.append(tau)
            ridges.append(unit * tau / (1 - tau))
        self.reg_ = (ridges[0], ridges[1])
        self._fit_arrays(X, y, weights)
        # (1 − τ) S + τ μ I = (1 − τ) (S + r I)
        fx, fy = (1 / np.sqrt(1 - tau) for tau in taus)
        self.x_weights_ = self.x_weights_ * self.x_weights_.dtype.type(fx)
        self.y_weights_ = self.y_weights_ * self.y_weights_.dtype.type(fy)
        self._y_on_x, self._x_on_x = self._y_on_x / float(fx), self._x_on_x / float(fx)
        self._x_on_y, self._y_on_y = self._x_on_y / float(fy), self._y_on_y / float(fy)
        factors = np.repeat([fx, fy], self.n_components_)
        self._score_covariance = self._score_covariance * np.outer(factors, factors)
        self.singular_values_ = self.singular_values_ * self.singular_values_.dtype.type(fx * fy)
        self.total_correlation_ = float(self.singular_values_.sum())
        self.shrinkage_ = (taus[0], taus[1])

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        confounds: ArrayLike | None = None,
    ) -> "CCA":
        """Fit to paired rows.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, p)
            First view. float32 and float64 arrays are read in place: C or F order, strided, read-only,
            memory-mapped. float32 gives float32 results. Sparse matrices and arrays of SciPy are never made
            dense as a whole; entries that stand twice are summed.
        y : array_like of shape (n, q) or (n,)
            Second view: row i belongs to row i of ``X``.
        {fit_weights}
        confounds : array_like of shape (n, c), optional
            Variables of the same rows, such as age or site, whose linear effect is taken out of both views
            first: partial CCA. Later rows bring theirs, ``transform(X, confounds=Z)``.

        {returns_self}

        Raises
        ------
        ValueError
            See :class:`CCA`; for confounds of other rows, or that span a view.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCA
        >>> rng = np.random.default_rng(0)
        >>> age = rng.normal(size=(500, 1))
        >>> X, y = age + rng.normal(size=(500, 3)), age + rng.normal(size=(500, 2))
        >>> bool(CCA(1).fit(X, y).canonical_correlations_[0] > 0.6)
        True
        >>> bool(CCA(1).fit(X, y, confounds=age).canonical_correlations_[0] < 0.15)
        True
        """
        takes = self._takes_missing
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=True, missing=takes)
        shrinkage = self._start()
        Z = self._check_confounds(confounds, x_checked.shape[0], reset=True, missing=takes)
        if Z is not None:
            check_same_rows(X=X, confounds=confounds)
        views = {"X": x_checked, "y": y_checked, **({} if Z is None else {"confounds": Z})}
        tables = {"X": X, "y": y, "confounds": confounds}
        incomplete = self._incomplete(views, tables)
        if incomplete is not None and self.missing == "em":
            self._fit_em(views, tables, weights, shrinkage)
            return self
        if incomplete is not None:
            kept = self._complete(incomplete, views, tables)
            x_checked, y_checked = x_checked[kept], y_checked[kept]
            Z, weights = (None if a is None else a[kept] for a in (Z, weights))
        solver = self.solver
        if is_sparse(x_checked) or is_sparse(y_checked):
            solver = self._sparse_solver(x_checked.shape[1] + y_checked.shape[1])
            if solver == "covariance":
                self._fit_sparse(shrinkage, x_checked, y_checked, Z, weights)
                return self
        if solver == "iterative":
            self._fit_iterative(shrinkage, x_checked, y_checked, Z, weights)
        elif shrinkage is not None:
            self._fit_rows_shrunk(shrinkage, x_checked, y_checked, Z, weights)
        elif Z is None:
            self._fit_arrays(x_checked, y_checked, weights)
        else:
            self._fit_partial(x_checked, y_checked, Z, weights)
        return self

    def _fit_em(
        self,
        views: dict[str, NDArray[Any]],
        tables: dict[str, Any],
        weights: Weights,
        shrinkage: tuple[float | str, float | str] | None,
    ) -> None:
        """Fit to the moments of rows some of whose values are missing."""
        self._refuse_data_solvers("missing='em'")
        moments = self._em_moments(views, tables, weights)
        dtypes = views["X"].dtype, views["y"].dtype
        if shrinkage is not None:
            self._fit_shrunk(shrinkage, moments, dtypes, confounded=len(views) == 3)
        elif len(views) == 3:
            self._fit_partial_moments(moments, dtypes)
        else:
            self._fit_moments(moments, dtypes)

    # ---- sparse views, and very many columns

    def _sparse_solver(self, columns: int) -> str:
        if self.solver in ("qr", "gram"):
            raise ValueError(
                f"solver={self.solver!r} takes dense views: use 'auto', 'covariance' or 'iterative', or "
                "toarray()"
            )
        if self.solver == "auto":
            return "covariance" if columns <= MOST_SPARSE else "iterative"
        return self.solver

    def _fit_sparse(
        self,
        shrinkage: tuple[float | str, float | str] | None,
        X: NDArray[Any],
        y: NDArray[Any],
        Z: NDArray[Any] | None,
        weights: Weights,
    ) -> None:
        """Fit to views of which one is sparse: to their moments, or as dense ones if they are small."""
        dtypes = X.dtype, y.dtype
        if shrinkage is None and Z is None:
            full = dense_if_small(X, y)
            if not any(map(is_sparse, full)):
                self._fit_arrays(*full, weights)
                return
        moments = (
            self._moments(X, y, weights) if Z is None else moments_with(X, y, Z, weights, self.n_threads)
        )
        if shrinkage is not None:
            self._fit_shrunk(shrinkage, moments, dtypes, confounded=Z is not None)
        elif Z is not None:
            self._fit_partial_moments(moments, dtypes)
        else:
            self._fit_moments(moments, dtypes)

    def _fit_iterative(
        self,
        shrinkage: tuple[float | str, float | str] | None,
        X: NDArray[Any],
        y: NDArray[Any],
        Z: NDArray[Any] | None,
        weights: Weights,
    ) -> None:
        """Fit by products with the views alone."""
        if shrinkage is not None:
            raise ValueError("solver='iterative' takes no shrinkage: give reg")
        if Z is not None:
            raise ValueError("solver='iterative' takes no confounds: take another solver, or fewer columns")
        if self.n_components is None:
            raise ValueError(
                "solver='iterative', which very many columns take, finds the leading pairs: give n_components"
            )
        k, reg = self._parameters(X.shape[1], y.shape[1])
        found = solve_matrix_free(
            X,
            y,
            k,
            reg,
            weights,
            scale=self.scale,
            tol=RESIDUAL,
            max_iter=MOST_ITERATIONS,
            n_threads=self.n_threads,
        )
        worst = float(found.residuals.max())
        if worst > RESIDUAL and found.n_iter >= MOST_ITERATIONS:
            warn(
                f"the solver ended after {found.n_iter} iterations with a residual of {worst:.0e}, above "
                f"{RESIDUAL:.0e}: the last pairs may be inaccurate. Raise reg, or ask for other "
                "n_components, so that the last pair stands apart from the next"
            )
        rows = X.shape[0] if weights is None else int(np.count_nonzero(weights))
        varying = [int((variance > 0).sum()) for variance in found.variances]
        solution = Solution(
            x_weights=found.x_weights * found.scales[0][:, np.newaxis],
            y_weights=found.y_weights * found.scales[1][:, np.newaxis],
            singular_values=found.singular_values,
            rank=(min(varying[0], rows - 1), min(varying[1], rows - 1)),
            condition=(1.0, 1.0),
            dropped=(False, False),
            lost=(0.0, 0.0),
        )
        wx, wy, sign = _in_units(solution, found.scales)
        signs = np.tile(sign, 2)
        statistics = ScoreStatistics(
            found.score_covariance * np.outer(signs, signs),
            found.x_covariance * signs,
            found.y_covariance * signs,
            *found.variances,
        )
        columns = Columns(found.means, found.variances, found.scales)
        n = float(rows if weights is None else weights.sum())
        self._set_confounding(None)
        fit = Fit(solution, (wx, wy), columns, statistics, (0.0, 0.0))
        self._adopt("iterative", fit, None, n, (X.dtype, y.dtype), reg, rows)

    def _fit_rows_shrunk(
        self,
        shrinkage: tuple[float | str, float | str],
        X: NDArray[Any],
        y: NDArray[Any],
        Z: NDArray[Any] | None,
        weights: Weights,
    ) -> None:
        if self.solver not in ("auto", "covariance"):
            raise ValueError(f"shrinkage takes solver='auto' or 'covariance', got {self.solver!r}")
        self.reg_ = (0.0, 0.0)
        self._parameters(X.shape[1], y.shape[1])
        if len(X) < max(X.shape[1], y.shape[1]) and self.solver == "auto":
            if Z is None:
                self._fit_shrunk_wide(shrinkage, X, y, weights)
                return
            confounding = confounding_of_rows((X, y), Z, weights, n_threads=self.n_threads)
            parts = confounding.residuals(0, X, Z), confounding.residuals(1, y, Z)
            self._fit_shrunk_wide(shrinkage, *parts, weights)
            self._set_confounding(confounding)
            return
        moments = (
            self._moments(X, y, weights) if Z is None else moments_with(X, y, Z, weights, self.n_threads)
        )
        rows = X, y
        if Z is not None and "ledoit-wolf" in shrinkage:
            _, confounding = partial_moments(moments, n_threads=self.n_threads)
            rows = confounding.residuals(0, X, Z), confounding.residuals(1, y, Z)
        dtypes = X.dtype, y.dtype
        self._fit_shrunk(shrinkage, moments, dtypes, rows, weights, confounded=Z is not None)

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        confounds: ArrayLike | None = None,
    ) -> "CCA":
        """Add rows to those fitted so far and solve again, from the moments alone.

        The result is that of one ``fit`` to all rows, to rounding. Each call solves; for very many small
        chunks collect :class:`~fastcca.Moments` instead and call :meth:`fit_moments` once.

        Parameters
        ----------
        X : array_like of shape (n, p)
            New rows of the first view. The first call takes at least two rows.
        y : array_like of shape (n, q) or (n,)
            The paired rows of the second view.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row.
        confounds : array_like of shape (n, c), optional
            As in ``fit``, in every call or in none.

        {returns_self}

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
        self._refuse_em("partial_fit")
        takes = self._takes_missing
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=first, missing=takes)
        dtypes = x_checked.dtype, y_checked.dtype
        shrinkage = self._start()
        Z = self._check_confounds(confounds, x_checked.shape[0], reset=first, missing=takes)
        views = {"X": x_checked, "y": y_checked, **({} if Z is None else {"confounds": Z})}
        tables = {"X": X, "y": y, "confounds": confounds}
        before = 0 if first else getattr(self, "n_incomplete_", 0)
        incomplete = self._incomplete(views, tables)
        if takes:
            self.n_incomplete_ += before
        if incomplete is not None:
            kept = self._complete(incomplete, views, tables, least=2 if first else 0)
            if not len(kept):
                return self
            x_checked, y_checked = x_checked[kept], y_checked[kept]
            Z, weights = (None if a is None else a[kept] for a in (Z, weights))
        if Z is not None or self._confounding is not None:
            if Z is None:
                raise ValueError("the rows so far had confounds: pass those of these rows, confounds=...")
            moments = moments_with(x_checked, y_checked, Z, weights, self.n_threads)
            if not first and self.moments_ is not None:
                moments = self.moments_ + moments
                dtypes = self.x_weights_.dtype, self.y_weights_.dtype
            if shrinkage is None:
                self._fit_partial_moments(moments, dtypes)
            else:
                self._fit_shrunk(shrinkage, moments, dtypes, confounded=True)
            return self
        moments = self._moments(x_checked, y_checked, weights)
        if not first and self.moments_ is not None:
            moments = self.moments_ + moments
            dtypes = self.x_weights_.dtype, self.y_weights_.dtype
        if shrinkage is None:
            self._fit_moments(moments, dtypes)
        else:
            self._fit_shrunk(shrinkage, moments, dtypes)
        return self

    def fit_moments(self, moments: Moments, confounds: bool = False) -> "CCA":
        """Fit to the moments of both views: of files read in chunks, or merged from several machines.

        Parameters
        ----------
        moments : Moments
            Of two views of p and q columns, ``Moments().update(X, y)``.
        confounds : bool, default=False
            Whether the moments are of three views, the last of them confounds, ``Moments().update(X, y, Z)``.

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
        dtypes = self._check_moments(moments, confounds=confounds)
        shrinkage = self._start()
        if shrinkage is not None:
            self._fit_shrunk(shrinkage, moments.copy(), dtypes, confounded=confounds)
        elif confounds:
            self._fit_partial_moments(moments.copy(), dtypes)
        else:
            self._fit_moments(moments.copy(), dtypes)
        return self

    def _refuse_data_solvers(self, method: str) -> None:
        if self.solver in ("qr", "gram", "iterative"):
            raise ValueError(
                f"solver={self.solver!r} needs the data, but {method} has their moments alone: "
                "use solver='auto' or 'covariance', or fit"
            )
