"""What every estimator over two paired views offers: the scikit-learn contract, written once.

An estimator derives from :class:`TwoViewTransformer`, checks its input with :meth:`_check_pair`, solves,
calls :meth:`_set_statistics`, and implements :meth:`_scores`. Everything else (transform, predict, score,
names, dtypes, save) follows.
"""

from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted, validate_data

from fastcca._arguments.arrays import (
    as_matrix,
    as_weights,
    check_same_length,
    check_same_rows,
    column_names,
    filled_masked,
    finite_matrix,
)
from fastcca._arguments.sparse import as_rows
from fastcca._models.docs import documented
from fastcca._models.files import SavedModel, Schema
from fastcca._models.into import check_out, scores_into
from fastcca._models.report import Report
from fastcca._models.statistics import ScoreStatistics, Weights, least_squares, loadings, score_statistics
from fastcca._models.summaries import summary_of_two_views
from fastcca.errors import NumericalError
from fastcca.functional.moments import Moments
from fastcca.metrics import column_correlations

__all__ = ["ScoreStatistics", "TwoViewTransformer", "View", "Weights", "score_statistics"]

View = Literal["X", "y"]

LOADINGS = ("x_loadings_", "y_loadings_", "x_cross_loadings_", "y_cross_loadings_")


@documented
class TwoViewTransformer(
    SavedModel,
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Base of the estimators that map two paired views into one space."""

    _schema = Schema(
        fields="n_components_ n_features_in_ n_y_features_in_ y_is_vector=_y_is_vector "
        "canonical_correlations_ x_mean_ y_mean_ y_on_x=_y_on_x x_on_y=_x_on_y x_on_x=_x_on_x "
        "y_on_y=_y_on_y",
        optional="feature_names_in_ y_feature_names_in_ score_covariance=_score_covariance "
        "x_variance=_x_variance y_variance=_y_variance",
    )

    _takes_sparse: ClassVar[bool] = False  # whether views may be sparse matrices

    n_components_: int
    n_features_in_: int
    n_y_features_in_: int
    singular_values_: NDArray[Any]
    # where scores go is no metadata of the rows
    __metadata_request__transform = {"out": UNUSED}  # noqa: RUF012

    canonical_correlations_: NDArray[Any]
    x_mean_: NDArray[Any]
    y_mean_: NDArray[Any]
    x_loadings_: NDArray[Any]
    y_loadings_: NDArray[Any]
    x_cross_loadings_: NDArray[Any]
    y_cross_loadings_: NDArray[Any]
    _y_is_vector: bool
    # regressions of the centred columns of a view on k scores, (k, p) or (k, q)
    _y_on_x: NDArray[Any]
    _x_on_y: NDArray[Any]
    _x_on_x: NDArray[Any]
    _y_on_y: NDArray[Any]
    _score_covariance: NDArray[np.float64]  # (2k, 2k): of the training scores of both views
    _x_variance: NDArray[np.float64]  # of the columns; only where loadings are those of `_set_loadings`
    _y_variance: NDArray[np.float64]

    # ---- what a subclass gives

    def _scores(self, view: View, data: NDArray[Any]) -> NDArray[Any]:
        """Scores of checked rows, in their dtype; refuses NaN and infinity with the position."""
        raise NotImplementedError

    def _rows_at_once(self, data: NDArray[Any]) -> int:
        """How many rows are transformed at a time into a given array, so that its values are the same."""
        return max(1, int(data.shape[0]))

    def _maps(self) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
        """What centred columns are multiplied by to be scores, where they are linear."""
        return None, None

    def _view_moments(self) -> Moments | None:
        """Moments of both views, less what confounds explain, where the fit kept them."""
        return None

    def _all_correlations(self) -> tuple[NDArray[np.float64], float, int, int]:
        """All correlations of a plain linear fit, its degrees of freedom and one, its ranks: what tests take.

        Raises where no test of Gaussian data holds, and says why.
        """
        raise ValueError(
            f"tests of Gaussian data are for the correlations of a CCA without a ridge, not of a "
            f"{type(self).__name__}"
        )

    # ---- input

    def _check_pair(
        self, X: Any, y: Any, sample_weight: Any = None, *, reset: bool, missing: bool = False
    ) -> tuple[NDArray[Any], NDArray[Any], Weights]:
        """Both views as 2-d float arrays, and the weights; sets (without reset, checks) names and widths.

        Values may be ``missing``: they are NaN.
        """
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )
        check_same_rows(X=X, y=y, sample_weight=sample_weight)
        if missing:
            X, y = filled_masked(X), filled_masked(y)
        as_view = as_rows if self._takes_sparse and not missing else as_matrix
        options = {"frames_finite": False} if missing else {}
        x_checked = as_view("X", X, min_rows=2 if reset else 1, **options)
        y_checked = as_view("y", y, vector=True, min_rows=2 if reset else 1, **options)
        check_same_length(X=x_checked, y=y_checked)
        weights = as_weights(sample_weight, x_checked.shape[0], more_than=1.0 if reset else 0.0)
        validate_data(self, X, y, reset=reset, skip_check_array=True)
        if reset:
            self.n_features_in_ = x_checked.shape[
                1
            ]  # also of a buffer, whose columns scikit-learn cannot count
            self.n_y_features_in_ = y_checked.shape[1]
            self._y_is_vector = len(y.shape if hasattr(y, "shape") else np.asarray(y).shape) == 1
            self._set_y_names(column_names(y))
        else:
            self._check_y_columns(y, y_checked)
        return x_checked, y_checked, weights

    def _check_moments(self, moments: Any, *, confounds: bool = False) -> tuple[np.dtype[Any], np.dtype[Any]]:
        """What moments to fit to are of: sets the widths, forgets the names, and gives the dtypes."""
        if not isinstance(moments, Moments):
            raise TypeError(f"moments must be fastcca.Moments, got {type(moments).__name__}")
        if confounds and len(moments.dims) != 3:
            raise ValueError(
                f"moments must be of two views and the confounds, got {len(moments.dims)} views: "
                "Moments().update(X, y, Z)"
            )
        if not confounds and len(moments.dims) != 2:
            raise ValueError(f"moments must be of two views, got {len(moments.dims)}: Moments().update(X, y)")
        self.n_features_in_, self.n_y_features_in_ = moments.dims[:2]
        self._y_is_vector = False
        self._set_y_names(None)
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        single, double = np.dtype(np.float32), np.dtype(np.float64)
        x_dtype, y_dtype = (
            single if moments.eps[s].max() > np.finfo(np.float64).eps else double for s in moments.slices[:2]
        )
        return x_dtype, y_dtype

    def _check_view(self, view: View, data: Any) -> NDArray[Any]:
        """One view of a fitted estimator as a 2-d float array of the right width."""
        check_is_fitted(self)
        as_view = as_rows if self._takes_sparse else as_matrix
        checked: NDArray[Any] = as_view(view, data, vector=view == "y")
        if view == "X":
            validate_data(self, data, reset=False, skip_check_array=True)
        else:
            self._check_y_columns(data, checked)
        return checked

    def _set_y_names(self, names: NDArray[np.object_] | None) -> None:
        if names is not None:
            self.y_feature_names_in_ = names
        elif hasattr(self, "y_feature_names_in_"):
            del self.y_feature_names_in_

    def _check_y_columns(self, y: Any, checked: NDArray[Any]) -> None:
        if checked.shape[1] != self.n_y_features_in_:
            raise ValueError(
                f"y has {checked.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_y_features_in_} features as input"
            )
        names, fitted = column_names(y), getattr(self, "y_feature_names_in_", None)
        if names is not None and fitted is not None and list(names) != list(fitted):
            first = next(i for i, pair in enumerate(zip(names, fitted, strict=True)) if pair[0] != pair[1])
            raise ValueError(
                "The feature names of y should match those that were passed during fit: "
                f"column {first} is {names[first]!r}, was {fitted[first]!r}"
            )

    def _scores_in(self, view: View, data: NDArray[Any], out: Any, *beside: NDArray[Any]) -> NDArray[Any]:
        """Scores of checked rows, written into ``out`` if there is one."""
        if out is None:
            return self._scores(view, data, *beside)
        check_out(out, data, len(self.canonical_correlations_), view)
        # what confounds explain is one product of all rows
        rows_at_once = max(1, data.shape[0]) if beside else self._rows_at_once(data)
        return scores_into(partial(self._scores, view), view, data, out, rows_at_once, *beside)

    # ---- after the solution

    def _set_statistics(
        self,
        statistics: ScoreStatistics,
        dtypes: tuple[np.dtype[Any], np.dtype[Any]],
        *,
        canonical_correlations: NDArray[np.float64] | None = None,
    ) -> None:
        """Correlations, loadings and regressions from the covariances of the scores.

        ``singular_values_`` is set before. ``canonical_correlations`` are given where they are known better
        than these covariances give.
        """
        k = len(self.singular_values_)
        zz = self._score_covariance = statistics.scores
        self._x_variance, self._y_variance = statistics.x_variance, statistics.y_variance
        variance = self._score_variance()
        if canonical_correlations is None:
            scale = np.sqrt(variance[:k]) * np.sqrt(variance[k:])  # their product may underflow
            canonical_correlations = np.divide(
                zz[:k, k:].diagonal(), scale, out=np.zeros(k), where=scale > 0
            ).clip(-1.0, 1.0)
        x_dtype, y_dtype = dtypes
        self.canonical_correlations_ = canonical_correlations.astype(np.result_type(x_dtype, y_dtype))

        self._set_loadings(statistics.x, statistics.y, dtypes)

        on_x = least_squares(zz[:k, :k], np.vstack([statistics.y[:, :k], statistics.x[:, :k]]).T)
        on_y = least_squares(zz[k:, k:], np.vstack([statistics.x[:, k:], statistics.y[:, k:]]).T)
        q = len(statistics.y)
        self._y_on_x, self._x_on_x = on_x[:, :q].astype(y_dtype), on_x[:, q:].astype(x_dtype)
        p = len(statistics.x)
        self._x_on_y, self._y_on_y = on_y[:, :p].astype(x_dtype), on_y[:, p:].astype(y_dtype)

    def _score_variance(self) -> NDArray[np.float64]:
        k = len(self._score_covariance) // 2
        variance = self._score_covariance.diagonal().copy()
        # a score without variance beyond rounding (its ridge alone gave it a place) correlates with nothing
        for block in (slice(0, k), slice(k, 2 * k)):
            d = max(len(self._x_variance), len(self._y_variance), 1)
            variance[block][variance[block] <= 4 * d * np.finfo(float).eps * variance[block].max()] = 0.0
        return variance

    def _set_loadings(
        self, x: NDArray[np.float64], y: NDArray[np.float64], dtypes: tuple[np.dtype[Any], np.dtype[Any]]
    ) -> None:
        """From the covariances of the columns with the scores of both views, (p, 2k) and (q, 2k)."""
        k, variance = x.shape[1] // 2, self._score_variance()
        x_loadings = loadings(x, self._x_variance, variance).astype(dtypes[0])
        y_loadings = loadings(y, self._y_variance, variance).astype(dtypes[1])
        self.x_loadings_, self.x_cross_loadings_ = x_loadings[:, :k], x_loadings[:, k:]
        self.y_loadings_, self.y_cross_loadings_ = y_loadings[:, k:], y_loadings[:, :k]

    def _follows(self) -> frozenset[str]:
        return frozenset(LOADINGS) if "_x_variance" in vars(self) else super()._follows()

    def _set_what_follows(self) -> None:
        """Loadings from the regressions: cov(c, z) = coefficients' cov(z, z)."""
        super()._set_what_follows()
        if "_x_variance" in vars(self):
            k, zz = self.n_components_, self._score_covariance
            zx, zy = zz[:k, :k], zz[k:, k:]
            x = np.hstack([self._x_on_x.T @ zx, self._x_on_y.T @ zy])
            y = np.hstack([self._y_on_x.T @ zx, self._y_on_y.T @ zy])
            self._set_loadings(x, y, (self._x_on_x.dtype, self._y_on_y.dtype))

    # ---- what users call

    def transform(self, X: ArrayLike, y: Any = None, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Scores of the first view.

        {rows}
        {ignored_y}
        {out}

        {returns_scores}

        {raises_for_rows}
        """
        return self._scores_in("X", self._check_view("X", X), out)

    def transform_y(self, y: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Scores of the second view.

        Parameters
        ----------
        y : array_like of shape (n, q), or (n,) if q is 1
            Rows in the units of the training data.
        {out}

        Returns
        -------
        ndarray of shape (n, n_components_)
            In the dtype of ``y``; a data frame after ``set_output``, as that of :meth:`transform`.

        {raises_for_rows}
        """
        scores = self._scores_in("y", self._check_view("y", y), out)
        return _wrap_data_with_container("transform", scores, y, self)  # type: ignore[no-any-return]

    def transform_views(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Scores of both views, ``(transform(X), transform_y(y))``, as plain arrays.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows of the first view.
        y : array_like of shape (m, q)
            Rows of the second view; they need not be paired with those of ``X``.

        {returns_both_scores}

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCA
        >>> X = np.random.default_rng(0).normal(size=(50, 3))
        >>> zx, zy = CCA().fit(X, X[:, :2]).transform_views(X, X[:, :2])
        >>> bool(np.allclose(zx, zy))
        True
        """
        return self._scores("X", self._check_view("X", X)), self._scores("y", self._check_view("y", y))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The second view as the least-squares regression of y on the ``n_components_`` scores of ``X``.

        With every component and ``reg=0`` this is ordinary least squares of y on X.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows of the first view.

        {returns_y}

        {example_of_predict}
        """
        z = self._scores("X", self._check_view("X", X))
        predicted = self._regress(z, self._y_on_x, self.y_mean_)
        return predicted.ravel() if self._y_is_vector else predicted

    def predict_x(self, y: ArrayLike) -> NDArray[Any]:
        """The first view as the least-squares regression of X on the ``n_components_`` scores of ``y``.

        Parameters
        ----------
        y : array_like of shape (n, q)
            Rows of the second view.

        {returns_x}
        """
        z = self._scores("y", self._check_view("y", y))
        return self._regress(z, self._x_on_y, self.x_mean_)

    def inverse_transform(self, Z: ArrayLike) -> NDArray[Any]:
        """The first view as the least-squares regression of X on its own scores.

        {x_scores}

        Returns
        -------
        ndarray of shape (n, p)
            In the units of X. Exact if there are as many components as X has dimensions.
        """
        check_is_fitted(self)
        return self._regress(self._check_scores(Z), self._x_on_x, self.x_mean_)

    def inverse_transform_y(self, Z: ArrayLike) -> NDArray[Any]:
        """The second view as the least-squares regression of y on its own scores.

        {y_scores}

        Returns
        -------
        ndarray of shape (n, q), or (n,) if the fit was on a 1-d y
            In the units of y. Exact if there are as many components as y has dimensions.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCA
        >>> X = np.random.default_rng(0).normal(size=(50, 3))
        >>> cca = CCA().fit(X, X[:, :2])
        >>> bool(np.allclose(cca.inverse_transform_y(cca.transform_y(X[:, :2])), X[:, :2]))
        True
        """
        check_is_fitted(self)
        y = self._regress(self._check_scores(Z), self._y_on_y, self.y_mean_)
        return y.ravel() if self._y_is_vector else y

    def _check_scores(self, Z: ArrayLike) -> NDArray[Any]:
        z = finite_matrix("Z", Z)
        if z.shape[1] != self.n_components_:
            raise ValueError(f"Z has {z.shape[1]} columns, but there are {self.n_components_} components")
        return z

    @staticmethod
    def _regress(z: NDArray[Any], coefficients: NDArray[Any], mean: NDArray[Any]) -> NDArray[Any]:
        if not coefficients.shape[1]:
            raise ValueError("the kernel of this view is precomputed: its columns are not known to predict")
        # in the wider dtype: targets in float64 keep their digits when the rows come in float32
        dtype = np.result_type(z, coefficients)
        with np.errstate(over="ignore", invalid="ignore"):
            out: NDArray[Any] = z.astype(dtype, copy=False) @ coefficients.astype(dtype, copy=False)
            out += mean.astype(dtype, copy=False)
        if not np.isfinite(out).all():
            raise NumericalError(f"the predicted values overflow {dtype}: rescale the data")
        return out

    def summary(self) -> Report:
        """What the fit found, as named tables.

        Correlations (of a plain linear CCA with adjusted ones, standard errors and tests), coefficients,
        loadings, cross-loadings, redundancies; see :func:`fastcca.report`, which takes the rows as well.

        {returns_report}

        {raises_not_fitted}
        """
        return summary_of_two_views(self)

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Mean canonical correlation on these rows, which ``GridSearchCV`` maximises.

        {rows_to_score}

        {returns_mean_correlation}

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCA
        >>> X = np.random.default_rng(0).normal(size=(50, 3))
        >>> round(CCA().fit(X[:40], X[:40, :2]).score(X[40:], X[40:, :2]), 6)
        1.0
        """
        check_is_fitted(self)
        X, y, weights = self._check_pair(X, y, sample_weight, reset=False)
        if X.shape[0] < 2:
            raise ValueError(f"score needs at least 2 rows to correlate: X has 1 sample (shape={X.shape})")
        zx, zy = self._scores("X", X), self._scores("y", y)
        return float(column_correlations(zx, zy, sample_weight=weights).mean())

    @property
    def _n_features_out(self) -> int:  # read by get_feature_names_out
        return self.n_components_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = self._takes_sparse
        tags.target_tags.single_output = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
