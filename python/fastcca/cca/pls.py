"""Partial least squares from moments: :class:`PLSRegression`, :class:`PLSCanonical`, :class:`PLSSVD`."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.arrays import column_names, refuse_non_finite
from fastcca._arguments.parameters import FLAG, MISSING, N_THREADS, POSITIVE_INTEGER, anything, at_most
from fastcca._arguments.sparse import is_sparse
from fastcca._arguments.warn import warn
from fastcca._models.docs import documented
from fastcca._models.files import Schema
from fastcca._models.missing import MissingValues
from fastcca._models.shared_part import SharedPart
from fastcca._models.statistics import (
    Weights,
    cast_weights,
    finite_scores,
    least_squares,
    project,
    rows_at_once,
)
from fastcca._models.two_view import TwoViewTransformer, View
from fastcca.cca.linear import column_scales
from fastcca.cca.model_selection import adopt_features, pools, row_splits, search_results, splits_of
from fastcca.errors import NumericalError
from fastcca.functional.linalg import product
from fastcca.functional.missing import column_labels, completed, conditional_means
from fastcca.functional.moments import Moments
from fastcca.functional.pls import PLSFactors, pls_canonical, pls_regression, pls_svd

__all__ = ["PLSSVD", "PLSCanonical", "PLSRegression", "PLSRegressionCV"]

Floats = NDArray[np.float64]
Self = TypeVar("Self", bound="FittedToMoments")


class PartialLeastSquares(SharedPart, TwoViewTransformer):
    """What the estimators of partial least squares share: their input and scores."""

    _schema = Schema(
        fields="x_weights_ y_weights_ x_rotations_ y_rotations_ x_scale_ y_scale_ moments_ n_samples_ "
        "x_map=_map_x y_map=_map_y",
        optional="singular_values_ x_loadings_ y_loadings_ coef_ intercept_",
    )
    _constraints = {"scale": FLAG, "n_threads": N_THREADS}  # noqa: RUF012

    n_components: int
    scale: bool
    n_threads: int | None

    x_weights_: NDArray[Any]
    y_weights_: NDArray[Any]
    x_rotations_: NDArray[Any]
    y_rotations_: NDArray[Any]
    x_scale_: NDArray[Any]
    y_scale_: NDArray[Any]
    moments_: Moments | None
    n_samples_: float

    # ---- what a subclass gives

    def _most_components(self, p: int, q: int) -> int:
        return min(p, q)

    def _factors(self, Sxx: Floats, Sxy: Floats, Syy: Floats, k: int, rounding: float) -> PLSFactors:
        raise NotImplementedError

    def _maps(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self._map_x, self._map_y

    def _follows(self) -> frozenset[str]:
        def same(name: str, computed: NDArray[Any]) -> bool:
            known = getattr(self, name)
            return bool(known.dtype == computed.dtype and np.array_equal(known, computed))

        return frozenset(name for name, computed in self._computed().items() if same(name, computed))

    def _set_what_follows(self) -> None:
        for side in "xy":  # what the maps are computed from
            if not hasattr(self, f"{side}_rotations_"):
                setattr(self, f"{side}_rotations_", getattr(self, f"{side}_weights_").copy(order="K"))
        for name, computed in self._computed().items():
            if not hasattr(self, name):
                setattr(self, name, computed)

    def _computed(self) -> dict[str, NDArray[Any]]:
        """What other attributes are, but for rounding to float32 or a deflation."""
        return {
            "x_rotations_": self.x_weights_,
            "y_rotations_": self.y_weights_,
            "_map_x": self.x_rotations_ / self.x_scale_[:, np.newaxis],
            "_map_y": self.y_rotations_ / self.y_scale_[:, np.newaxis],
        }

    def _view_moments(self) -> Moments | None:
        return getattr(self, "moments_", None)

    # ---- the fit

    def _check_components(self, p: int, q: int) -> None:
        most = self._most_components(p, q)
        at_most("n_components", int(self.n_components), most, f"{most}: X has {p} and y has {q} features")

    def _moments(self, X: NDArray[Any], y: NDArray[Any], weights: Weights) -> Moments:
        return Moments().update(X, y, sample_weight=weights, dtype=np.float64, n_threads=self.n_threads)

    def _fit_moments(self, moments: Moments, dtypes: tuple[np.dtype[Any], np.dtype[Any]]) -> None:
        factors, scales, S = self._solve(moments, int(self.n_components))
        k = factors.x_rotations.shape[1]
        if k < self.n_components:
            warn(
                f"n_components={self.n_components} is reduced to {k}: nothing that X and y share is left "
                "beyond"
            )
        sx, sy = moments.slices
        x_dtype, y_dtype = dtypes
        self.n_components_ = k
        self.x_mean_, self.y_mean_ = moments.mean[sx], moments.mean[sy]
        self.x_scale_, self.y_scale_ = scales[sx].astype(x_dtype), scales[sy].astype(y_dtype)
        self._map_x = cast_weights("X", factors.x_rotations / scales[sx, np.newaxis], x_dtype)
        self._map_y = cast_weights("y", factors.y_rotations / scales[sy, np.newaxis], y_dtype)
        self.x_weights_, self.y_weights_ = (
            factors.x_weights.astype(x_dtype),
            factors.y_weights.astype(y_dtype),
        )
        self.x_rotations_ = factors.x_rotations.astype(x_dtype)
        self.y_rotations_ = factors.y_rotations.astype(y_dtype)
        self._set_more(factors, (scales[sx], scales[sy]), dtypes)
        self.moments_, self.n_samples_ = moments, float(moments.n)
        self.singular_values_ = factors.covariances.astype(np.result_type(x_dtype, y_dtype))

        Rx, Ry = factors.x_rotations, factors.y_rotations
        sides = ((Rx, sx), (Ry, sy))
        # Covariances of the scores with the columns, and with the other scores.
        with_columns = np.vstack([self._product(R.T, S[own]) for R, own in sides])
        among = np.hstack([self._product(with_columns[:, own], R) for R, own in sides])
        self._score_covariance = (among + among.T) / 2
        xx, yy = among[:k, :k], among[k:, k:]
        across, scale = among[:k, k:].diagonal(), np.sqrt(xx.diagonal() * yy.diagonal())
        r = np.divide(across, scale, out=np.zeros_like(across), where=scale > 0).clip(-1.0, 1.0)
        self.canonical_correlations_ = r.astype(np.result_type(x_dtype, y_dtype))
        of_x, of_y = with_columns[:k], with_columns[k:]
        self._x_on_y = (least_squares(yy, of_y[:, sx]) * scales[sx]).astype(x_dtype)
        self._y_on_x = (least_squares(xx, of_x[:, sy]) * scales[sy]).astype(y_dtype)
        self._x_on_x = (least_squares(xx, of_x[:, sx]) * scales[sx]).astype(x_dtype)
        self._y_on_y = (least_squares(yy, of_y[:, sy]) * scales[sy]).astype(y_dtype)

    def _product(self, A: Floats, B: Floats) -> Floats:
        return product(A, B, self.n_threads)

    def _set_more(
        self, factors: PLSFactors, scales: tuple[Floats, Floats], dtypes: tuple[np.dtype[Any], np.dtype[Any]]
    ) -> None:
        """What only some of the estimators have."""

    def _solve(self, moments: Moments, k: int) -> tuple[PLSFactors, Floats, Floats]:
        """Factors of the columns divided by their scales, these, and the covariances of such columns."""
        variances, scales = column_scales(moments, self.scale)
        S = moments.scatter / ((moments.n - 1) * scales[:, np.newaxis])
        S /= scales
        S[variances == 0, :] = 0.0
        S[:, variances == 0] = 0.0
        sx, sy = moments.slices
        rounding = max(float(np.finfo(np.float64).eps), float(moments.rounding.max()))
        factors = self._factors(S[sx, sx], np.ascontiguousarray(S[sx, sy]), S[sy, sy], k, rounding)
        if not factors.x_rotations.shape[1]:
            raise NumericalError("X and y have no covariance at all: there is nothing to find")
        return factors, scales, S

    # ---- scores

    def _rows_at_once(self, data: NDArray[Any]) -> int:
        return rows_at_once(data)

    def _scores(self, view: View, data: NDArray[Any]) -> NDArray[Any]:
        weights, mean = (self._map_x, self.x_mean_) if view == "X" else (self._map_y, self.y_mean_)
        return finite_scores(view, data, weights, mean)


@documented
class FittedToMoments(MissingValues, PartialLeastSquares):
    """PLS with a given number of components: fits to rows, sparse ones too, and to moments."""

    _takes_sparse = True
    _constraints = {  # noqa: RUF012
        **PartialLeastSquares._constraints,
        "n_components": POSITIVE_INTEGER,
        "missing": MISSING,
    }

    def __init__(
        self,
        n_components: int = 2,
        scale: bool = True,
        n_threads: int | None = None,
        missing: Literal["error", "drop", "em"] = "error",
    ) -> None:
        self.n_components = n_components
        self.scale = scale
        self.n_threads = n_threads
        self.missing = missing

    def fit(self: Self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to paired rows.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Predictors, read in place. float32 gives float32 results.
        y : array_like of shape (n, q) or (n,)
            Targets; row i belongs to row i of ``X``.
        {fit_weights}

        {returns_self}

        Raises
        ------
        ValueError
            For parameters out of range, views that are not numbers or do not pair, NaN or infinity.
        NumericalError
            If every column of X or of y is constant.
        """
        takes = self._takes_missing
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=True, missing=takes)
        self._check_components(x_checked.shape[1], y_checked.shape[1])
        moments = self._moments_of(x_checked, y_checked, weights, {"X": X, "y": y})
        self._fit_moments(moments, (x_checked.dtype, y_checked.dtype))
        return self

    def _moments_of(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        weights: Weights,
        tables: dict[str, Any],
        least: int = 2,
    ) -> Moments:
        """Moments of rows that may have missing values."""
        views = {"X": X, "y": y}
        incomplete = self._incomplete(views, tables)
        if incomplete is None:
            return self._moments(X, y, weights)
        if self.missing == "em":
            return self._em_moments(views, tables, weights)
        kept = self._complete(incomplete, views, tables, least=least)
        return self._moments(X[kept], y[kept], None if weights is None else weights[kept])

    def partial_fit(self: Self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Add rows to those fitted so far and solve again, from the moments alone.

        {new_rows}
        y : array_like of shape (n, q) or (n,)
            Their targets.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row.

        Returns
        -------
        self
            The fitted estimator, equal to that of one ``fit`` to all rows to rounding.

        {raises_without_moments}
        """
        first = not hasattr(self, "moments_")
        if not first and self.moments_ is None:
            raise ValueError("partial_fit cannot go on from a model that was saved without moments")
        self._refuse_em("partial_fit")
        takes = self._takes_missing
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=first, missing=takes)
        before = 0 if first else getattr(self, "n_incomplete_", 0)
        tables = {"X": X, "y": y}
        moments = self._moments_of(x_checked, y_checked, weights, tables, least=2 if first else 0)
        if takes:
            self.n_incomplete_ += before
        dtypes = x_checked.dtype, y_checked.dtype
        if not first and self.moments_ is not None:
            moments = self.moments_ + moments
            dtypes = self.x_weights_.dtype, self.y_weights_.dtype
        self._check_components(*moments.dims)
        self._fit_moments(moments, dtypes)
        return self

    def fit_moments(self: Self, moments: Moments) -> Self:
        """Fit to the moments of both views: of files read in chunks, or merged from several machines.

        {moments_of_two_views}

        Returns
        -------
        self
            The fitted estimator; float32 if the moments saw float32 data.

        {raises_for_other_moments}
        """
        dtypes = self._check_moments(moments)
        self._check_components(*moments.dims)
        self._fit_moments(moments.copy(), dtypes)
        return self


@documented
class DeflatedPLS(
    RegressorMixin,  # type: ignore[misc]
    MultiOutputMixin,  # type: ignore[misc]
    PartialLeastSquares,
):
    """PLS that deflates, and predicts: regression and canonical."""

    _schema = Schema(fields="coef_ intercept_ x_loadings_ y_loadings_")

    coef_: NDArray[Any]
    intercept_: NDArray[Any]

    def _set_more(
        self, factors: PLSFactors, scales: tuple[Floats, Floats], dtypes: tuple[np.dtype[Any], np.dtype[Any]]
    ) -> None:
        self.x_loadings_ = factors.x_loadings.astype(dtypes[0])
        self.y_loadings_ = factors.y_loadings.astype(dtypes[1])
        coef = factors.x_rotations @ factors.y_loadings.T / scales[0][:, np.newaxis] * scales[1]
        self.coef_ = cast_weights("y", coef.T, np.result_type(*dtypes))
        self.intercept_ = self.y_mean_.astype(dtypes[1])

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Coefficient of determination of the predictions, averaged over the columns of y.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, p)
            Predictors.
        y : array_like or sparse matrix of shape (n, q)
            The targets.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        float
        """
        known: Any = y
        targets = known.toarray() if is_sparse(known) else known
        return float(RegressorMixin.score(self, X, targets, sample_weight))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Targets of these rows, ``(X - x_mean_) @ coef_.T + intercept_``.

        {rows}

        {returns_y}

        {raises_for_rows}
        """
        data = self._check_view("X", X)
        with np.errstate(over="ignore", invalid="ignore"):
            coefficients = self.coef_.T.astype(np.result_type(data, self.coef_), copy=False)
            out = project(data.astype(coefficients.dtype, copy=False), coefficients, self.x_mean_)
            out += self.y_mean_.astype(out.dtype)
        if not np.isfinite(out).all():
            refuse_non_finite("X", data)
            raise NumericalError(f"the predicted values overflow {out.dtype}: rescale the data")
        return out.ravel() if self._y_is_vector else out

    def inverse_transform(self, Z: ArrayLike) -> NDArray[Any]:
        """X as its scores and loadings give it.

        {x_scores}

        {returns_x}
        """
        check_is_fitted(self)
        return self._regress(self._check_scores(Z), self.x_loadings_.T * self.x_scale_, self.x_mean_)

    def inverse_transform_y(self, Z: ArrayLike) -> NDArray[Any]:
        """y as its scores and loadings give it.

        {y_scores}

        {returns_y}
        """
        check_is_fitted(self)
        y = self._regress(self._check_scores(Z), self.y_loadings_.T * self.y_scale_, self.y_mean_)
        return y.ravel() if self._y_is_vector else y


@documented
class PLSRegression(FittedToMoments, DeflatedPLS):
    """Partial least squares regression from the moments of the data.

    scikit-learn's ``PLSRegression`` at its tightest tolerance, its names, signs and predictions, computed
    from one pass over the data: rows can be streamed, merged and weighted.

    Parameters
    ----------
    n_components : int, default=2
        Number of components, at most the number of columns of X.
    scale : bool, default=True
        Divide the columns of both views by their standard deviation first.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.
    {missing}

    Attributes
    ----------
    coef_ : ndarray of shape (q, p)
        ``predict(X) = (X - x_mean_) @ coef_.T + intercept_``.
    intercept_ : ndarray of shape (q,)
        Mean of y.
    x_weights_, y_weights_ : ndarray of shape (p, n_components_), (q, n_components_)
        Directions in the deflated views. In each column of ``x_weights_`` the entry of largest magnitude is
        positive.
    x_loadings_, y_loadings_ : ndarray of shape (p, n_components_), (q, n_components_)
        Regressions of the (scaled) columns on the scores of X.
    x_rotations_, y_rotations_ : ndarray of shape (p, n_components_), (q, n_components_)
        ``transform(X) = (X - x_mean_) / x_scale_ @ x_rotations_``.
    canonical_correlations_ : ndarray of shape (n_components_,)
        Pearson correlations of the training scores of X and y.
    singular_values_ : ndarray of shape (n_components_,)
        Largest singular value of the deflated covariances between the views.
    x_mean_, y_mean_, x_scale_, y_scale_ : ndarray
        Means of the columns, and what these were divided by.
    moments_ : Moments
        What the solution was computed from, and what ``partial_fit`` adds to.
    n_components_ : int
        Components found: fewer than asked for, with a warning, where nothing of y is left.
    n_samples_ : float
        Number of rows; with sample weights their sum.
    n_incomplete_, n_iter_ : int
        Rows with missing values, with ``missing`` "drop" or "em", and iterations of the latter.
    n_features_in_, n_y_features_in_ : int
        p and q.

    Raises
    ------
    ValueError
        In ``fit``: more components than X has columns, data that are not numbers or do not pair, NaN or
        infinity.
    NumericalError
        In ``fit``: every column of X or of y is constant, or X and y have no covariance. (It is a ValueError
        as well.)

    Warns
    -----
    UserWarning
        If ``n_components`` is reduced.

    Notes
    -----
    Moments take memory for (p + q)² numbers whatever the number of rows. There are no ``x_scores_`` of the
    training rows: ``transform(X)`` gives them.

    See Also
    --------
    PLSRegressionCV : Chooses the number of components by cross-validation.

    {dayal_macgregor}

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import PLSRegression
    >>> rng = np.random.default_rng(0)
    >>> t = rng.normal(size=(100, 1))
    >>> X = t + 0.1 * rng.normal(size=(100, 20))
    >>> pls = PLSRegression(n_components=1).fit(X, 3 * t[:, 0])
    >>> round(pls.score(X, 3 * t[:, 0]), 2)
    1.0
    """

    _schema = Schema("PLSRegression")

    def _most_components(self, p: int, q: int) -> int:
        return p

    def _factors(self, Sxx: Floats, Sxy: Floats, Syy: Floats, k: int, rounding: float) -> PLSFactors:
        return pls_regression(Sxx, Sxy, k, rounding, self.n_threads)


@documented
class PLSCanonical(FittedToMoments, DeflatedPLS):
    """Partial least squares of two views, each deflated by its own scores, from the moments of the data.

    scikit-learn's ``PLSCanonical`` at its tightest tolerance, its names, signs and predictions.

    {components_as_pls_regression}

    Attributes
    ----------
    x_loadings_, y_loadings_ : ndarray of shape (p, n_components_), (q, n_components_)
        Regressions of the (scaled) columns of a view on its own scores.
    coef_, intercept_, x_weights_, y_weights_, x_rotations_, y_rotations_, canonical_correlations_, \
singular_values_, x_mean_, y_mean_, x_scale_, y_scale_, moments_, n_components_, n_samples_, n_features_in_, \
n_y_features_in_
        As in :class:`PLSRegression`.

    {raises_as_pls_regression}

    References
    ----------
    J. A. Wegelin, "A survey of partial least squares (PLS) methods, with emphasis on the two-block case",
    University of Washington, technical report 371, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import PLSCanonical
    >>> rng = np.random.default_rng(0)
    >>> t = rng.normal(size=(100, 2))
    >>> X, y = t @ rng.normal(size=(2, 5)), t @ rng.normal(size=(2, 4))
    >>> PLSCanonical(n_components=2).fit(X, y).transform_y(y).shape
    (100, 2)
    """

    _schema = Schema("PLSCanonical")

    def _factors(self, Sxx: Floats, Sxy: Floats, Syy: Floats, k: int, rounding: float) -> PLSFactors:
        return pls_canonical(Sxx, Sxy, Syy, k, rounding, self.n_threads)


@documented
class PLSSVD(FittedToMoments):
    """Partial least squares by the singular vectors of the covariances between two views, without deflation.

    The directions of largest covariance: CCA with a penalty so large that the views' own covariances do not
    matter.

    {components_as_pls_regression}

    Attributes
    ----------
    x_weights_, y_weights_ : ndarray of shape (p, n_components_), (q, n_components_)
        Singular vectors: ``transform(X) = (X - x_mean_) / x_scale_ @ x_weights_``. In each column of
        ``x_weights_`` the entry of largest magnitude is positive.
    singular_values_ : ndarray of shape (n_components_,)
        Covariances of the scores, descending.
    canonical_correlations_, x_rotations_, y_rotations_, x_mean_, y_mean_, x_scale_, y_scale_, moments_, \
n_components_, n_samples_, n_features_in_, n_y_features_in_
        As in :class:`PLSRegression`; the rotations are the weights.

    {raises_as_pls_regression}

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import PLSSVD
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(50, 4)), rng.normal(size=(50, 3))
    >>> pls = PLSSVD(n_components=1, scale=False).fit(X, y)
    >>> S = (X - X.mean(0)).T @ (y - y.mean(0)) / 49
    >>> bool(np.isclose(pls.singular_values_[0], np.linalg.norm(S, 2)))
    True
    """

    _schema = Schema("PLSSVD")

    def _factors(self, Sxx: Floats, Sxy: Floats, Syy: Floats, k: int, rounding: float) -> PLSFactors:
        return pls_svd(Sxy, k, rounding, self.n_threads)


@documented
class PLSRegressionCV(MissingValues, DeflatedPLS):
    """:class:`PLSRegression` with the number of components chosen by cross-validation, from one pass.

    What a fold trains on is the total of the moments minus the fold; one run of the algorithm gives every
    number of components, and the errors of the rows held out follow from their moments.

    Parameters
    ----------
    max_components : int, default=10
        All numbers of components from 1 to this are compared.
    cv : int, splitter or iterable, default=5
        As in scikit-learn: the number of contiguous folds, a splitter, or pairs of row indices (train, test).
        Where a test part has fewer than five rows the held-out rows of all splits are scored together.
    scale : bool, default=True
        Divide the columns by their standard deviation in the training rows first.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.
    {missing}
        With "em" the moments of each split are those of its training rows; what is missing of the X of a row
        held out is filled in by its conditional mean given the rest of X, and missing targets are not scored.

    Attributes
    ----------
    n_components_ : int
        The number with the best mean score; the smallest among equals.
    best_score_, best_index_ : float, int
        Its mean held-out R², the average over the targets, and its place in ``cv_results_``.
    cv_results_ : dict
        As ``GridSearchCV(PLSRegression(), {"n_components": ...})`` gives it, with
        ``split{i}_test_score``, ``mean_test_score`` and so on.
    mse_ : ndarray of shape (max_components,)
        Mean squared error over all rows held out and all targets.
    n_splits_ : int
        Number of splits.
    best_estimator_ : PLSRegression
        Fitted to all rows.
    n_incomplete_, n_iter_ : int
        As in :class:`PLSRegression`.
    coef_, x_weights_, ... : ndarray
        Every fitted attribute of ``best_estimator_``; the methods use them.

    Raises
    ------
    ValueError, NumericalError
        As in :class:`PLSRegression`; folds too small.

    References
    ----------
    O.-C. G. Engstrøm and M. H. Jensen, "Fast partition-based cross-validation with centering and scaling for
    X'X and X'Y", arXiv:2401.13185.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import PLSRegressionCV
    >>> rng = np.random.default_rng(0)
    >>> t = rng.normal(size=(100, 2))
    >>> X = t @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(size=(100, 8))
    >>> y = t + 0.5 * rng.normal(size=(100, 2))
    >>> PLSRegressionCV(max_components=5).fit(X, y).n_components_
    2
    """

    _takes_sparse = True
    _schema = Schema(
        "PLSRegressionCV", 2, fields="n_splits_ cv_results_ best_index_ best_score_ best_estimator_ mse_"
    )
    _constraints = {  # noqa: RUF012
        **PartialLeastSquares._constraints,
        "max_components": POSITIVE_INTEGER,
        "missing": MISSING,
        "cv": anything("a number of folds or a splitter"),  # by scikit-learn
    }

    def __init__(
        self,
        max_components: int = 10,
        cv: Any = 5,
        scale: bool = True,
        n_threads: int | None = None,
        missing: Literal["error", "drop", "em"] = "error",
    ) -> None:
        self.max_components = max_components
        self.cv = cv
        self.scale = scale
        self.n_threads = n_threads
        self.missing = missing

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> "PLSRegressionCV":
        """Choose the number of components, and fit with it to all rows.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Predictors.
        y : array_like of shape (n, q) or (n,)
            Targets; row i belongs to row i of ``X``.
        {cv_weights_and_groups}

        {returns_self}

        Raises
        ------
        ValueError
            See :class:`PLSRegressionCV`.
        """
        takes = self._takes_missing
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=True, missing=takes)
        if not takes:
            refuse_non_finite("X", x_checked)  # a position within a fold means nothing to the caller
            refuse_non_finite("y", y_checked)
        most = min(int(self.max_components), x_checked.shape[1])
        model = PLSRegression(most, self.scale, self.n_threads)
        model._check_components(x_checked.shape[1], y_checked.shape[1])
        views, tables = {"X": x_checked, "y": y_checked}, {"X": X, "y": y}
        incomplete = self._incomplete(views, tables)
        if incomplete is not None and self.missing == "em":
            splits = row_splits(self.cv, x_checked, y, groups, weights)
            self._fit_em(model, views, tables, weights, splits, most)
            return self
        if incomplete is not None:
            kept = self._complete(incomplete, views, tables)
            splits = splits_of(self.cv, kept, x_checked, y, groups, weights)
            x_checked, y_checked = x_checked[kept], y_checked[kept]
            weights = None if weights is None else weights[kept]
        else:
            splits = row_splits(self.cv, x_checked, y, groups, weights)

        def collect(rows: Any) -> Moments:
            run = len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all()
            part: Any = slice(int(rows[0]), int(rows[-1]) + 1) if run else rows
            w = None if weights is None else weights[part]
            return model._moments(x_checked[part], y_checked[part], w)

        tests = [collect(test) for _, test in splits]
        n = x_checked.shape[0]
        each_once = (np.bincount(np.concatenate([test for _, test in splits]), minlength=n) == 1).all()
        whole = [(np.bincount(np.concatenate(split), minlength=n) == 1).all() for split in splits]
        if each_once and all(whole):
            total = sum(tests, Moments())
        else:
            total = model._moments(x_checked, y_checked, weights)
        held_out = []
        for (train, _), test, is_whole in zip(splits, tests, whole, strict=True):
            training = total - test if is_whole else collect(train)
            held_out.append(_of_moments(_held_out_errors(model, training, test, most), test))
        self._choose(total, held_out, pools(splits), (x_checked.dtype, y_checked.dtype))
        return self

    def _choose(
        self,
        total: Moments,
        held_out: "list[_HeldOut]",
        pooled: bool,
        dtypes: tuple[np.dtype[Any], np.dtype[Any]],
    ) -> None:
        """The number of components by its scores on the rows held out, and the fit with it to all rows."""
        errors = np.sum([part.errors for part in held_out], axis=0)
        if pooled:
            scores = _r2(errors, _HeldOut.together(held_out))
        else:
            scores = np.array([_r2(part.errors, part.variation) for part in held_out])
        self.cv_results_ = search_results([{"n_components": a + 1} for a in range(len(errors))], scores)
        self.n_splits_ = len(held_out)
        self.mse_ = (errors / np.sum([part.n for part in held_out], axis=0)).mean(axis=1)
        ties = np.flatnonzero(self.cv_results_["rank_test_score"] == 1)
        self.best_index_ = int(ties[0])
        self.best_score_ = float(self.cv_results_["mean_test_score"][self.best_index_])

        missing: Any = self.missing
        best = PLSRegression(self.best_index_ + 1, self.scale, self.n_threads, missing)
        adopt_features(best, self)
        for name in ("n_incomplete_", "n_iter_"):
            if hasattr(self, name):
                setattr(best, name, getattr(self, name))
        best._fit_moments(total, dtypes)
        self.best_estimator_ = best
        parameters = best.get_params()
        self.__dict__.update({name: value for name, value in vars(best).items() if name not in parameters})

    def _fit_em(
        self,
        model: PLSRegression,
        views: dict[str, NDArray[Any]],
        tables: dict[str, Any],
        weights: Weights,
        splits: list[Any],
        most: int,
    ) -> None:
        """Of rows that have missing values: by moments of maximum likelihood, those of a split by its own."""
        X, y = views.values()
        labels = column_labels({name: column_names(tables[name]) for name in views}, views)
        held_out = []
        for i, (train, test) in enumerate(splits):
            w = None if weights is None else weights[train]
            parts = {name: a[train] for name, a in views.items()}
            training = completed(parts, w, labels, n_threads=self.n_threads).moments
            x_training = training.slices[0]
            S = training.scatter[x_training, x_training] / (training.n - 1)
            filled = conditional_means(X[test].astype(np.float64), training.mean[x_training], S)
            w = np.ones(len(test)) if weights is None else weights[test]
            found = _of_rows(model, training, filled, y[test].astype(np.float64), w, most)
            if not pools(splits) and not (found.n > 0).all():
                raise ValueError(f"cv: split {i} has no test row with a value of target {found.n.argmin()}")
            held_out.append(found)
        moments = self._em_moments(views, tables, weights)
        self._choose(moments, held_out, pools(splits), (X.dtype, y.dtype))


class _HeldOut(NamedTuple):
    """Targets of rows held out: how far predictions are off, and how much they vary."""

    errors: Floats  # (most, q) sums of squares
    n: Floats  # (q,) rows that have the target
    mean: Floats
    variation: Floats  # (q,) sums of squares about the mean

    @staticmethod
    def together(parts: "Sequence[_HeldOut]") -> Floats:
        """The variation of the targets of all parts, about their common mean."""
        n, mean = np.array([part.n for part in parts]), np.array([part.mean for part in parts])
        grand = (n * mean).sum(axis=0) / n.sum(axis=0)
        within = np.sum([part.variation for part in parts], axis=0)
        return np.asarray(within + (n * (mean - grand) ** 2).sum(axis=0))


def _of_moments(errors: Floats, test: Moments) -> _HeldOut:
    target = test.slices[1]
    n = np.full(errors.shape[1], test.n)
    return _HeldOut(errors, n, test.mean[target], test.scatter.diagonal()[target])


def _of_rows(
    model: PLSRegression, training: Moments, X: Floats, y: Floats, weights: Floats, most: int
) -> _HeldOut:
    """Of rows some of whose targets are missing."""
    factors, scales, _ = model._solve(training, most)
    sx, sy = training.slices
    scores = (X - training.mean[sx]) @ (factors.x_rotations / scales[sx, np.newaxis])
    Q = factors.y_loadings * scales[sy, np.newaxis]
    w = np.where(np.isnan(y), 0.0, weights[:, np.newaxis])
    rest = np.where(np.isnan(y), 0.0, y - training.mean[sy])
    n = w.sum(axis=0)
    mean = np.divide((w * rest).sum(axis=0), n, out=np.zeros_like(n), where=n > 0)
    variation = (w * (rest - mean) ** 2).sum(axis=0)
    errors = np.empty((most, y.shape[1]))
    for a in range(most):
        if a < scores.shape[1]:
            rest = rest - np.outer(scores[:, a], Q[:, a])
        errors[a] = (w * rest**2).sum(axis=0)
    return _HeldOut(errors, n, mean + training.mean[sy], variation)


def _held_out_errors(model: PLSRegression, training: Moments, test: Moments, most: int) -> Floats:
    """Sums of squared errors of the rows held out, by number of components and target: (most, q).

    With r_j the rotations and q_j the loadings of y in the units of the data, and moments of the rows about
    the training means: Σ (y − Σ_j q_j r_j'x)² = M_yy − 2 Σ_j q_j r_j'M_xy + Σ_ij q_i q_j r_i'M_xx r_j.
    """
    factors, scales, _ = model._solve(training, most)
    sx, sy = training.slices
    R = factors.x_rotations / scales[sx, np.newaxis]
    Q = factors.y_loadings * scales[sy, np.newaxis]
    away = test.mean - training.mean
    M = test.scatter + test.n * np.outer(away, away)
    G, H = R.T @ M[sx, sx] @ R, R.T @ M[sx, sy]  # (a, a), (a, q)
    out = np.empty((most, Q.shape[0]))
    error = M[sy, sy].diagonal().copy()
    for a in range(most):
        if a < R.shape[1]:
            q = Q[:, a]
            error = error - 2 * q * H[a] + q * q * G[a, a] + 2 * q * (Q[:, :a] @ G[:a, a])
        out[a] = error.clip(min=0.0)
    return out


def _r2(errors: Floats, variation: Floats) -> Floats:
    """Mean over the targets of R², with scikit-learn's values for targets that do not vary: 1 or 0."""
    varies = variation > 0
    r2 = 1 - np.divide(errors, variation, out=np.ones_like(errors), where=varies)
    r2[:, ~varies] = errors[:, ~varies] == 0
    return np.asarray(r2.mean(axis=1))
