"""What estimators of any number of views (modalities) share."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.arrays import as_weights
from fastcca._arguments.modalities import Modalities, Names, check_modalities, named
from fastcca._models.docs import documented
from fastcca._models.files import SavedModel, Schema
from fastcca._models.into import check_out, scores_into
from fastcca._models.report import Report
from fastcca._models.statistics import Weights, column_statistics, least_squares, loadings, rows_at_once
from fastcca._models.summaries import summary_of_views
from fastcca.errors import NumericalError
from fastcca.functional.multiview import patterns
from fastcca.metrics import column_correlations

__all__ = ["MultiViewModel", "ViewStatistics", "mean_of_pairs", "scaled_statistics", "statistics_of_views"]

_SLAB = 4096  # rows of a view whose scores are held at a time


def scaled_statistics(
    name: str, rows: NDArray[Any], by_column: bool | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and variances of the columns; a single row has no variance.

    Refuses a variance that overflows, and one that vanishes although the column varies, where it is to scale
    by: that of each column, of their sum, or (None) of neither.
    """
    if len(rows) < 2:
        return rows[0].astype(np.float64), np.zeros(rows.shape[1])
    mean, variance = column_statistics(name, rows, None)
    if not np.isfinite(variance).all():
        raise NumericalError(f"the variance of {name} overflows: scale it down")
    if by_column is not None:
        small = (variance if by_column else variance.sum()) <= 16 * np.finfo(float).tiny
        if np.any(small) and (small & (rows != rows[0]).any(axis=0)).any():
            raise NumericalError(f"the variance of {name} underflows: scale it up")
    return mean, variance


class ViewStatistics(NamedTuple):
    """Covariances of the m k training scores, those of one view next to each other, by views in order."""

    scores: NDArray[np.float64]  # (m k, m k)
    columns: list[NDArray[np.float64]]  # (p_i, m k) each: of a view's columns with all scores
    variances: list[NDArray[np.float64]]  # (p_i,) each
    common: NDArray[np.float64]  # (m, k): factors of each view's scores in the common variate


def statistics_of_views(
    data: Sequence[NDArray[Any]],
    means: Sequence[NDArray[np.float64]],
    variances: list[NDArray[np.float64]],
    weights: Weights,
    scores: Callable[[slice], NDArray[np.float64]],
    common: NDArray[np.float64],
) -> ViewStatistics:
    """The statistics from the data, in one pass by blocks of rows.

    ``scores(rows)`` gives the centred scores of those rows, shape (rows, m k), in float64. A view without a
    mean is one whose columns are not known.
    """
    n_rows = len(data[0])
    w = np.ones(n_rows) if weights is None else weights
    width = common.size
    between = np.zeros((width, width))
    columns = [np.zeros((len(mean), width)) for mean in means]
    for start in range(0, n_rows, _SLAB):
        rows = slice(start, start + _SLAB)
        z = scores(rows)
        weighted = z * w[rows, np.newaxis]
        between += z.T @ weighted
        for view, mean, total in zip(data, means, columns, strict=True):
            if len(total):
                total += (view[rows] - mean).T @ weighted
    freedom = w.sum() - 1
    return ViewStatistics(between / freedom, [c / freedom for c in columns], variances, common)


@documented
class MultiViewModel(SavedModel, BaseEstimator):  # type: ignore[misc]
    """Base of the estimators that map any number of views into one space.

    An estimator derives from it, checks its input with :meth:`_check_fit`, solves, calls
    :meth:`_set_view_statistics`, and implements :meth:`_scores`. Everything else follows.
    """

    _schema = Schema(
        fields="views_ n_components_ n_features_in_ means_ column_names=_columns loadings_ "
        "canonical_correlations_ pairwise_correlations_ score_covariances=_score_covariances "
        "column_covariances=_column_covariances common_factors=_common_factors",
        optional="column_variances=_column_variances",
    )

    _takes_sparse: ClassVar[bool] = False  # whether views may be sparse matrices

    views_: tuple[str, ...]
    n_components_: int
    n_features_in_: int
    means_: dict[str, NDArray[np.float64]]
    loadings_: dict[str, NDArray[Any]]
    canonical_correlations_: NDArray[Any]
    pairwise_correlations_: NDArray[Any]
    _columns: dict[str, Names]
    _score_covariances: NDArray[np.float64]
    _column_covariances: dict[str, NDArray[np.float64]]
    _column_variances: dict[str, NDArray[np.float64]]
    _common_factors: NDArray[np.float64]

    # ---- what a subclass gives

    def _scores(self, name: str, data: NDArray[Any]) -> NDArray[Any]:
        """Scores of checked, finite rows of one view, in their dtype."""
        raise NotImplementedError

    @property
    def _widths(self) -> dict[str, int]:
        return {name: len(mean) for name, mean in self.means_.items()}

    # ---- input

    def _check_fit(
        self, views: Any, sample_weight: Any, *, reset: bool = True, missing: bool = False
    ) -> tuple[Modalities, Weights]:
        """Two views or more, and the weights; sets (without reset, checks) names, widths and columns.

        Values of a row may be ``missing``.
        """
        owner = type(self).__name__
        given = named(views)
        if len(given) < 2:
            raise ValueError(
                f"{owner} takes two views or more, got 1: a mapping name -> array, or a list of arrays"
            )
        fitted = None if reset else self._widths
        names = None if reset else self._columns
        found = check_modalities(views, owner, fitted, names, sparse=self._takes_sparse, missing=missing)
        weights = as_weights(sample_weight, found.n_rows, more_than=1.0 if reset else 0.0)
        if reset:
            self.views_ = tuple(found.data)
            self._columns = found.names
            self.n_features_in_ = sum(a.shape[1] for a in found.data.values())
        elif set(found.data) != set(self.views_):
            absent = next(name for name in self.views_ if name not in found.data)
            raise ValueError(f"view {absent!r} is missing: rows that lack it must be NaN throughout")
        return found, weights

    def _check_rows(self, views: Any, *, whole: bool = False) -> Modalities:
        """Views of a fitted estimator, some of which may be missing; with ``whole`` none in any row."""
        check_is_fitted(self)
        widths = self._widths
        owner = type(self).__name__
        found = check_modalities(views, owner, widths, self._columns, sparse=self._takes_sparse)
        if whole:
            for name, present in found.present.items():
                if not present.all():
                    raise ValueError(
                        f"row {int(np.argmin(present))} lacks view {name!r}: such rows are for "
                        "common_variate and predict_views"
                    )
        return found

    # ---- after the solution

    def _set_view_statistics(self, statistics: ViewStatistics, dtypes: Sequence[np.dtype[Any]]) -> None:
        """Correlations, loadings and what predictions take, from the covariances of the scores."""
        m = len(self.views_)
        k = self.n_components_ = statistics.common.shape[1]
        zz = self._score_covariances = statistics.scores.copy()
        self._column_covariances = dict(zip(self.views_, statistics.columns, strict=True))
        self._column_variances = dict(zip(self.views_, statistics.variances, strict=True))
        scale = np.sqrt(self._score_variances())
        across = zz.reshape(m, k, m, k)[:, np.arange(k), :, np.arange(k)]  # (k, m, m)
        scales = scale.reshape(m, k).T
        outer = scales[:, :, np.newaxis] * scales[:, np.newaxis, :]
        r = np.divide(across, outer, out=np.zeros_like(outer), where=outer > 0).clip(-1.0, 1.0)
        dtype = np.result_type(*dtypes)
        self.pairwise_correlations_ = np.moveaxis(r, 0, -1).astype(dtype)
        self.canonical_correlations_ = mean_of_pairs(r).astype(dtype)
        self._set_loadings(dtypes)
        self._common_factors = statistics.common

    def _score_variances(self) -> NDArray[np.float64]:
        k = self.n_components_
        variance = self._score_covariances.diagonal().copy()
        d = max(len(v) for v in self._column_variances.values())
        for i in range(len(self.views_)):  # a score without variance beyond rounding correlates with nothing
            block = slice(i * k, (i + 1) * k)
            variance[block][variance[block] <= 4 * d * np.finfo(float).eps * variance[block].max()] = 0.0
        return variance

    def _set_loadings(self, dtypes: Sequence[np.dtype[Any]]) -> None:
        k, variance = self.n_components_, self._score_variances()
        self.loadings_ = {}
        for i, (name, view_dtype) in enumerate(zip(self.views_, dtypes, strict=True)):
            block = slice(i * k, (i + 1) * k)
            own = self._column_covariances[name][:, block], self._column_variances[name], variance[block]
            self.loadings_[name] = loadings(*own).astype(view_dtype)

    def _loading_dtypes(self) -> list[np.dtype[Any]] | None:
        """Those of the views of the fit, or None where nothing that was kept has them."""
        return None

    def _follows(self) -> frozenset[str]:
        known = "_column_variances" in vars(self) and self._loading_dtypes() is not None
        return frozenset({"loadings_"}) if known else super()._follows()

    def _set_what_follows(self) -> None:
        super()._set_what_follows()
        dtypes = self._loading_dtypes()
        if dtypes is not None:
            self._set_loadings(dtypes)

    # ---- what users call

    def transform(self, views: Any) -> dict[str, NDArray[Any]]:
        """Scores of each view.

        Parameters
        ----------
        views : mapping of str to array_like of shape (n, p_i), or sequence of such
            As for ``fit``; views may be left out of a mapping.

        {returns_scores_by_view}

        {raises_not_fitted}
        ValueError
            For an unknown view, a wrong number of features or rows, a row that lacks a view, NaN or infinity.
        """
        return self._transformed(self._check_rows(views, whole=True))

    def _transformed(self, found: Modalities) -> dict[str, NDArray[Any]]:
        return {name: self._scores(name, data) for name, data in found.data.items()}

    def transform_view(self, name: str, X: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Scores of one view.

        {one_view}
        {out}

        {returns_scores_of_view}

        {raises_not_fitted}
        ValueError
            For an unknown view, a wrong number of features, NaN or infinity.
        """
        return self._scores_of_view(name, self._check_rows({name: X}, whole=True), out)

    def _scores_of_view(self, name: str, found: Modalities, out: NDArray[Any] | None) -> NDArray[Any]:
        data = found.data[name]
        if out is None:
            return self._scores(name, data)
        check_out(out, data, self.n_components_, name)
        return scores_into(partial(self._scores, name), name, data, out, self._rows_at_once(name, data))

    def _rows_at_once(self, name: str, data: NDArray[Any]) -> int:
        """How many rows are transformed at a time into a given array, so that its values are the same."""
        return rows_at_once(data)

    def common_variate(self, views: Any) -> NDArray[Any]:
        """What the views have in common, of variance 1 in the training rows.

        {common_variate}

        {incomplete_views}

        {returns_common_variate}
        """
        return self._common_of(self._check_rows(views))

    def _common_of(self, found: Modalities) -> NDArray[Any]:
        m, k = self._common_factors.shape
        factors = np.vstack([np.diag(row) for row in self._common_factors])  # (m k, k)

        def coefficients(have: list[int]) -> NDArray[np.float64]:
            if len(have) == m:
                return factors
            return self._regression(have, self._score_covariances @ factors)

        return self._regressed(found, coefficients, np.zeros(k))

    def predict_views(self, views: Any, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Views as their least-squares regression on the scores of the views that each row has.

        {incomplete_views}
        {views_to_predict}

        {returns_predicted_views}
        """
        return self._predicted(self._check_rows(views), names)

    def _predicted(self, found: Modalities, names: Sequence[str] | None) -> dict[str, NDArray[Any]]:
        if names is None:
            names = [n for n in self.views_ if n not in found.data or not found.present[n].all()]
        out = {}
        for name in names:
            if name not in self.views_:
                raise ValueError(f"there is no view {name!r}: there are {', '.join(self.views_)}")
            target, place = self._column_covariances[name].T, self.views_.index(name)

            def coefficients(
                have: list[int], target: NDArray[Any] = target, place: int = place
            ) -> NDArray[np.float64]:
                others = [i for i in have if i != place] or have
                B = self._regression(others, target)
                if others == have:
                    return B
                full = np.zeros((len(have) * self.n_components_, B.shape[1]))
                full[np.repeat([i != place for i in have], self.n_components_)] = B
                return full

            out[name] = self._regressed(found, coefficients, self.means_[name])
        return out

    def _regression(self, have: list[int], target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coefficients on some views' scores of centred targets with these covariances with all scores."""
        k = self.n_components_
        rows = np.concatenate([np.arange(i * k, (i + 1) * k) for i in have])
        return np.asarray(least_squares(self._score_covariances[np.ix_(rows, rows)], target[rows]))

    def _regressed(
        self,
        found: Modalities,
        coefficients: Callable[[list[int]], NDArray[np.float64]],
        mean: NDArray[np.float64],
    ) -> NDArray[Any]:
        """mean + scores of the views that a row has @ the coefficients for just these views."""
        order = [name for name in self.views_ if name in found.data]
        dtype = np.result_type(*(found.data[name] for name in order))
        out = np.empty((found.n_rows, len(mean)), dtype=dtype)
        for pattern, rows in patterns([found.present[name] for name in order]):
            have = [order[i] for i in pattern]
            B = coefficients([self.views_.index(name) for name in have])
            parts = [found.data[name] if rows is None else found.data[name][rows] for name in have]
            z = np.hstack([self._scores(name, part) for name, part in zip(have, parts, strict=True)])
            with np.errstate(over="ignore", invalid="ignore"):
                values = z @ B.astype(z.dtype, copy=False) + mean.astype(z.dtype, copy=False)
            if not np.isfinite(values).all():
                raise NumericalError(f"the predicted values overflow {z.dtype}: rescale the data")
            out[slice(None) if rows is None else rows] = values
        return out

    def summary(self) -> Report:
        """What the fit found, as named tables: correlations, coefficients, loadings, redundancies.

        {returns_report}

        {raises_not_fitted}
        """
        return summary_of_views(self)

    def score(self, views: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Mean correlation of the views' scores on these rows.

        {views_to_score}

        {returns_mean_of_pairs}
        """
        return self._score_of(self._check_rows(views, whole=True), sample_weight)

    def _score_of(self, found: Modalities, sample_weight: Any) -> float:
        if len(found.data) < 2 or found.n_rows < 2:
            raise ValueError(
                f"score takes two views or more of two rows or more, got {len(found.data)} of {found.n_rows}"
            )
        weights = as_weights(sample_weight, found.n_rows, more_than=0.0)
        scores = [self._scores(name, data) for name, data in found.data.items()]
        pairs = [
            column_correlations(a, b, sample_weight=weights).mean()
            for a, b in itertools.combinations(scores, 2)
        ]
        return float(np.mean(pairs))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the components: the class's in lower case, then their numbers.

        {returns_names}
        """
        check_is_fitted(self)
        return np.array(
            [f"{type(self).__name__.lower()}{j}" for j in range(self.n_components_)], dtype=object
        )


def mean_of_pairs(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the entries above the diagonal of each of the matrices (..., m, m)."""
    i, j = np.triu_indices(matrices.shape[-1], 1)
    return np.asarray(matrices[..., i, j].mean(axis=-1))
