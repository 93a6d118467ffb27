"""Sparse canonical correlation analysis, its cross-validation and stability selection."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.arrays import refuse_non_finite
from fastcca._arguments.parameters import (
    FLAG,
    N_THREADS,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_INTEGER,
    RANDOM_STATE,
    anything,
    at_most,
    choice,
    integer,
    number,
    real_pair,
)
from fastcca._arguments.warn import warn
from fastcca._models.docs import documented
from fastcca._models.files import Schema
from fastcca._models.shared_part import SharedPart
from fastcca._models.statistics import ScoreStatistics, Weights, cast_weights, finite_scores, rows_at_once
from fastcca._models.two_view import TwoViewTransformer, View
from fastcca.cca.linear import column_scales, column_variances
from fastcca.cca.model_selection import (
    PooledScores,
    adopt_features,
    pools,
    row_splits,
    score_products,
    search_results,
)
from fastcca.errors import NumericalError
from fastcca.functional.moments import Moments
from fastcca.functional.multiview import fixed_signs
from fastcca.functional.sparse import SparsePairs, elastic_net, first_directions, penalised_decomposition

__all__ = ["SparseCCA", "SparseCCACV", "StabilitySelection", "stability_selection"]

Floats = NDArray[np.float64]
Pair = tuple[float, float]
PENALTIES = real_pair(NOT_NEGATIVE)


class Standard(NamedTuple):
    """Covariances of columns that were divided by their scales, and these."""

    S: Floats
    scales: Floats
    slices: tuple[slice, ...]


@documented
class SparseTwoView(SharedPart, TwoViewTransformer):
    """What :class:`SparseCCA` and :class:`SparseCCACV` share."""

    _takes_sparse = True
    _schema = Schema(
        fields="singular_values_ x_loadings_ y_loadings_ x_cross_loadings_ y_cross_loadings_ "
        "moments_ n_samples_ n_iter_ x_scale_ y_scale_ x_weights_ y_weights_"
    )
    _constraints = {  # noqa: RUF012
        "n_components": POSITIVE_INTEGER,
        "method": choice("pmd", "elastic-net"),
        "l1_ratio": number(0, 1),
        "scale": FLAG,
        "max_iter": POSITIVE_INTEGER,
        "tol": POSITIVE,
        "n_threads": N_THREADS,
    }

    n_components: int
    method: str
    l1_ratio: float
    scale: bool
    max_iter: int
    tol: float
    n_threads: int | None

    x_weights_: NDArray[Any]
    y_weights_: NDArray[Any]
    x_scale_: NDArray[Any]
    y_scale_: NDArray[Any]
    moments_: Moments | None
    n_iter_: int
    n_samples_: float

    def _rows_at_once(self, data: NDArray[Any]) -> int:
        return rows_at_once(data)

    def _scores(self, view: View, data: NDArray[Any]) -> NDArray[Any]:
        weights, mean = (self.x_weights_, self.x_mean_) if view == "X" else (self.y_weights_, self.y_mean_)
        return finite_scores(view, data, weights, mean)

    def _maps(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.x_weights_, self.y_weights_

    def _view_moments(self) -> Moments | None:
        return getattr(self, "moments_", None)

    def top_features(self, n: int = 10, component: int = 0) -> dict[str, list[tuple[str, float]]]:
        """The columns of largest weight, in standard deviations, by name.

        Parameters
        ----------
        n : int, default=10
            At most this many of each view; columns of weight 0 are left out.
        component : int, default=0
            Of which pair of directions.

        Returns
        -------
        dict
            "X" and "y": lists of (name, weight) by decreasing magnitude. The weight is that of the column
            divided by its scale; columns without a name are called "x0", "x1", ..., "y0", ...

        {raises_not_fitted}
        ValueError
            If there is no such component.
        """
        check_is_fitted(self)
        n = POSITIVE_INTEGER("n", n)
        if not 0 <= component < self.n_components_:
            raise ValueError(f"component must be from 0 to {self.n_components_ - 1}, got {component!r}")
        out = {}
        for view, weights, scale, names in (
            ("X", self.x_weights_, self.x_scale_, getattr(self, "feature_names_in_", None)),
            ("y", self.y_weights_, self.y_scale_, getattr(self, "y_feature_names_in_", None)),
        ):
            w = weights[:, component] * scale
            order = np.argsort(-np.abs(w), kind="stable")[:n]
            out[view] = [
                (str(names[i]) if names is not None else f"{view.lower()}{i}", float(w[i]))
                for i in order.tolist()
                if w[i] != 0
            ]
        return out

    # ---- the fit

    def _moments(self, X: NDArray[Any], y: NDArray[Any], weights: Weights) -> Moments:
        return Moments().update(X, y, sample_weight=weights, dtype=np.float64, n_threads=self.n_threads)

    def _standard(self, moments: Moments) -> Standard:
        variances, scales = column_scales(moments, self.scale)
        S = moments.scatter / (moments.n - 1) / np.outer(scales, scales)
        S[variances == 0, :] = 0.0
        S[:, variances == 0] = 0.0
        return Standard(S, scales, moments.slices)

    def _pairs(self, standard: Standard, penalty: Pair, k: int, start: Floats | None = None) -> SparsePairs:
        S, _, (sx, sy) = standard
        options: dict[str, Any] = {"max_iter": int(self.max_iter), "tol": float(self.tol)}
        options["n_threads"] = self.n_threads
        S12 = np.ascontiguousarray(S[sx, sy])
        if self.method == "pmd":
            p, q = S12.shape
            bounds = max(1.0, penalty[0] * np.sqrt(p)), max(1.0, penalty[1] * np.sqrt(q))
            return penalised_decomposition(S12, k, bounds, start=start, **options)
        return elastic_net(
            S[sx, sx], S12, S[sy, sy], k, penalty, float(self.l1_ratio), start=start, **options
        )

    def _penalty(self, penalty: Any, name: str) -> Pair:
        """A penalty for each view, in the range of the method."""
        pair: Pair = PENALTIES(name, penalty)
        if self.method == "pmd" and not all(0 < part <= 1 for part in pair):
            raise ValueError(f"{name} of method='pmd' must be above 0 and at most 1, got {penalty!r}")
        return pair

    def _fit_moments(
        self, moments: Moments, penalty: Pair, dtypes: tuple[np.dtype[Any], np.dtype[Any]]
    ) -> None:
        p, q = moments.dims
        k = at_most(
            "n_components",
            int(self.n_components),
            min(p, q),
            f"min(p, q) = {min(p, q)}: X has {p} and y has {q} features",
        )
        standard = self._standard(moments)
        found = self._pairs(standard, penalty, k)
        if not found.converged:
            warn(f"the alternation does not settle within max_iter={self.max_iter}: raise max_iter or tol")
        sx, sy = moments.slices
        wx, wy = found.x / standard.scales[sx, np.newaxis], found.y / standard.scales[sy, np.newaxis]
        signs = fixed_signs(wx)
        wx, wy = wx * signs, wy * signs
        count = wx.shape[1]
        if count < k:
            warn(f"n_components={k} is reduced to {count}: nothing that X and y share is left beyond")
        x_dtype, y_dtype = dtypes
        self.n_components_, self.n_iter_ = count, max(found.n_iter)
        self.moments_, self.n_samples_ = moments, float(moments.n)
        self.x_weights_, self.y_weights_ = cast_weights("X", wx, x_dtype), cast_weights("y", wy, y_dtype)
        self.x_mean_, self.y_mean_ = moments.mean[sx], moments.mean[sy]
        self.x_scale_ = standard.scales[sx].astype(x_dtype)
        self.y_scale_ = standard.scales[sy].astype(y_dtype)
        self.singular_values_ = found.covariances.astype(np.result_type(*dtypes))
        variances = column_variances(moments)
        with_scores = moments.scatter @ block_diag(wx, wy) / (moments.n - 1)
        between = block_diag(wx, wy).T @ with_scores
        statistics = ScoreStatistics(between, with_scores[sx], with_scores[sy], variances[sx], variances[sy])
        self._set_statistics(statistics, dtypes)


@documented
class SparseCCA(SparseTwoView):
    r"""Sparse canonical correlation analysis: directions with few columns, from the moments of the data.

    "pmd", the penalised matrix decomposition of Witten, Tibshirani and Hastie (2009), takes the covariances
    between the views alone, as if those within were the identity:

    .. math:: \max u^\top S_{12} v \quad\text{subject to}\quad \|u\|_2 \le 1,\ \|v\|_2 \le 1,\
       \|u\|_1 \le c_1 \sqrt p,\ \|v\|_1 \le c_2 \sqrt q.

    "elastic-net", iterative penalised least squares (Mai and Zhang 2019), is canonical correlation analysis
    with a penalty:

    .. math:: \min \tfrac12 \operatorname{E} (u^\top x - v^\top y)^2 + \lambda_1 P(u) + \lambda_2 P(v)
       \quad\text{with}\quad P(u) = \alpha \|u\|_1 + \tfrac{1 - \alpha}2 \|u\|_2^2,

    each direction brought to a score of variance 1 after its turn.

    Parameters
    ----------
    n_components : int, default=1
        Number of pairs of directions, at most min(p, q). Each after the first is found in what the others
        leave of the covariances.
    penalty : float or tuple of two float, default=0.3
        Of both views or (x, y). "pmd": the bound c of the 1-norm relative to √p, above 0 and at most 1 (no
        sparsity); 1/√p or less leaves one column. "elastic-net": λ >= 0, larger is sparser; with ``scale`` no
        column is left from 1 on.
    method : {"pmd", "elastic-net"}, default="pmd"
        See above.
    l1_ratio : float, default=1.0
        α of the elastic net.
    scale : bool, default=True
        Divide the columns by their standard deviation first. Weights are given for the columns as they came.
    max_iter, tol : int, float, default=500, 1e-9
        The alternation ends where no entry of a direction changes by more than ``tol``.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.

    Attributes
    ----------
    x_weights_, y_weights_ : ndarray of shape (p, n_components_), (q, n_components_)
        ``transform(X) = (X - x_mean_) @ x_weights_``; zeros where a column is left out. In each column of
        ``x_weights_`` the entry of largest magnitude is positive.
    canonical_correlations_ : ndarray of shape (n_components_,)
        Pearson correlations of the training scores.
    singular_values_ : ndarray of shape (n_components_,)
        Covariances :math:`u^\top S_{12} v` of the (scaled) columns' scores in what earlier pairs leave.
    x_loadings_, y_loadings_, x_cross_loadings_, y_cross_loadings_ : ndarray
        As in :class:`CCA`.
    x_mean_, y_mean_, x_scale_, y_scale_ : ndarray
        Means of the columns, and what these were divided by.
    n_iter_ : int
        Alternations of the pair that took most.
    moments_ : Moments
        What the solution was computed from, and what ``partial_fit`` adds to.
    n_components_ : int
        Pairs found.
    n_samples_ : float
        Number of rows; with sample weights their sum.
    n_features_in_, n_y_features_in_ : int
        p and q.

    {raises_in_fit}
    NumericalError
        In ``fit``: every column of a view is constant, no covariance at all, or a penalty that leaves no
        column. (It is a ValueError as well.)

    Warns
    -----
    UserWarning
        If the alternation does not settle; if ``n_components`` is reduced.

    Notes
    -----
    Both problems are convex in each direction alone, not in both: the solution is the one that the first
    singular vectors lead to.

    See Also
    --------
    SparseCCACV : Chooses the penalty by cross-validation.
    fastcca.cca.stability_selection : Which columns are chosen again and again.

    References
    ----------
    D. M. Witten, R. Tibshirani and T. Hastie, "A penalized matrix decomposition, with applications to sparse
    principal components and canonical correlation analysis", Biostatistics 10, 2009.

    Q. Mai and X. Zhang, "An iterative penalized least squares approach to sparse canonical correlation
    analysis", Biometrics 75, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import SparseCCA
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(300, 30)), rng.normal(size=(300, 20))
    >>> y[:, :2] += X[:, 3:4] + X[:, 4:5]
    >>> sparse = SparseCCA(penalty=0.25).fit(X, y)
    >>> sorted(name for name, _ in sparse.top_features(2)["X"])
    ['x3', 'x4']
    """

    _schema = Schema("SparseCCA")
    _constraints = {**SparseTwoView._constraints, "penalty": PENALTIES}  # noqa: RUF012

    def __init__(
        self,
        n_components: int = 1,
        penalty: float | Pair = 0.3,
        method: Literal["pmd", "elastic-net"] = "pmd",
        l1_ratio: float = 1.0,
        scale: bool = True,
        max_iter: int = 500,
        tol: float = 1e-9,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.penalty = penalty
        self.method = method
        self.l1_ratio = l1_ratio
        self.scale = scale
        self.max_iter = max_iter
        self.tol = tol
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> "SparseCCA":
        """Fit to paired rows.

        Parameters
        ----------
        X : array_like of shape (n, p)
            First view, read in place. float32 gives float32 results.
        y : array_like of shape (n, q) or (n,)
            Second view: row i belongs to row i of ``X``.
        {fit_weights}

        {returns_self}

        Raises
        ------
        ValueError
            See :class:`SparseCCA`.
        """
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=True)
        penalty = self._penalty(self.penalty, "penalty")
        moments = self._moments(x_checked, y_checked, weights)
        self._fit_moments(moments, penalty, (x_checked.dtype, y_checked.dtype))
        return self

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> "SparseCCA":
        """Add rows to those fitted so far and solve again, from the moments alone.

        {new_rows}
        y : array_like of shape (n, q) or (n,)
            The paired rows of the second view.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row.

        Returns
        -------
        SparseCCA
            The fitted estimator, equal to that of one ``fit`` to all rows to rounding.

        {raises_without_moments}
        """
        first = not hasattr(self, "moments_")
        if not first and self.moments_ is None:
            raise ValueError("partial_fit cannot go on from a model that was saved without moments")
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=first)
        penalty = self._penalty(self.penalty, "penalty")
        moments = self._moments(x_checked, y_checked, weights)
        dtypes = x_checked.dtype, y_checked.dtype
        if not first and self.moments_ is not None:
            moments = self.moments_ + moments
            dtypes = self.x_weights_.dtype, self.y_weights_.dtype
        self._fit_moments(moments, penalty, dtypes)
        return self

    def fit_moments(self, moments: Moments) -> "SparseCCA":
        """Fit to the moments of both views: of files read in chunks, or merged from several machines.

        {moments_of_two_views}

        Returns
        -------
        SparseCCA
            The fitted estimator; float32 if the moments saw float32 data.

        {raises_for_other_moments}
        """
        dtypes = self._check_moments(moments)
        penalty = self._penalty(self.penalty, "penalty")
        self._fit_moments(moments.copy(), penalty, dtypes)
        return self


@documented
class SparseCCACV(SparseTwoView):
    """:class:`SparseCCA` with the penalty chosen by cross-validation: the whole path from one pass.

    The moments of every fold are taken once; what a fold trains on is the total minus the fold.

    Parameters
    ----------
    n_components : int, default=1
        As in :class:`SparseCCA`.
    penalties : sequence, optional
        Penalties to compare, each a number for both views or a pair (x, y). By default 20 numbers: for "pmd"
        from 0.05 to 1, for "elastic-net" from 0.01 to 0.9 of the largest that leaves a column of both views.
    method, l1_ratio, scale, max_iter, tol, n_threads
        As in :class:`SparseCCA`.
    cv : int, splitter or iterable, default=5
        As in scikit-learn: the number of contiguous folds, a splitter, or pairs of row indices (train, test).
        Where a test part has fewer than five rows the held-out rows of all splits are scored together, as in
        :class:`CCACV`.

    Attributes
    ----------
    penalty_ : float or tuple of two float
        The penalty with the best mean score; among equals the sparsest.
    best_score_, best_index_ : float, int
        Its mean held-out correlation, and its place in ``cv_results_``.
    best_estimator_ : SparseCCA
        Fitted to all rows with it.
    cv_results_ : dict
        As ``GridSearchCV`` gives it. A score is the mean over components of the Pearson correlation of
        held-out scores; one that is constant, or whose penalty leaves no column in a fold, counts 0.
    n_splits_ : int
        Number of splits.
    x_weights_, canonical_correlations_, ... : ndarray
        Every fitted attribute of ``best_estimator_``; the methods use them.

    Raises
    ------
    ValueError, NumericalError
        As in :class:`SparseCCA`; an empty grid, folds too small.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import SparseCCACV
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(100, 30)), rng.normal(size=(100, 20))
    >>> y[:, :2] += X[:, 3:4] + X[:, 4:5]
    >>> search = SparseCCACV(penalties=[0.25, 0.5, 1.0]).fit(X, y)
    >>> search.penalty_
    0.25
    """

    _schema = Schema(
        "SparseCCACV", fields="n_splits_ cv_results_ best_index_ best_score_ penalty_ best_estimator_"
    )
    _constraints = {  # noqa: RUF012
        **SparseTwoView._constraints,
        "penalties": anything("a sequence of penalties"),  # checked with the data
        "cv": anything("a number of folds or a splitter"),  # by scikit-learn
    }

    def __init__(
        self,
        n_components: int = 1,
        penalties: Sequence[float | Pair] | None = None,
        method: Literal["pmd", "elastic-net"] = "pmd",
        l1_ratio: float = 1.0,
        cv: Any = 5,
        scale: bool = True,
        max_iter: int = 500,
        tol: float = 1e-9,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.penalties = penalties
        self.method = method
        self.l1_ratio = l1_ratio
        self.cv = cv
        self.scale = scale
        self.max_iter = max_iter
        self.tol = tol
        self.n_threads = n_threads

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> "SparseCCACV":
        """Choose the penalty, and fit with it to all rows.

        {paired_views_in_folds}

        {returns_self}

        Raises
        ------
        ValueError
            See :class:`SparseCCACV`.
        """
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=True)
        refuse_non_finite("X", x_checked)  # a position within a fold means nothing to the caller
        refuse_non_finite("y", y_checked)
        p, q = x_checked.shape[1], y_checked.shape[1]
        k = at_most("n_components", int(self.n_components), min(p, q), f"min(p, q) = {min(p, q)}")
        splits = row_splits(self.cv, x_checked, y, groups, weights)

        def collect(rows: Any) -> Moments:
            run = rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all()
            part: Any = slice(int(rows[0]), int(rows[-1]) + 1) if run else rows
            w = None if weights is None else weights[part]
            return self._moments(x_checked[part], y_checked[part], w)

        n = x_checked.shape[0]
        tests = [collect(test) for _, test in splits]
        whole = [(np.bincount(np.concatenate(split), minlength=n) == 1).all() for split in splits]
        each_once = (np.bincount(np.concatenate([test for _, test in splits]), minlength=n) == 1).all()
        if each_once and all(whole):
            total = sum(tests, Moments())
        else:
            total = self._moments(x_checked, y_checked, weights)
        grid = self._grid(total)
        pairs = [self._penalty(penalty, "penalties") for penalty in grid]
        pooled = PooledScores(len(grid), k)
        scores = np.empty((len(splits), len(grid)))
        for i, ((train, _), test, is_whole) in enumerate(zip(splits, tests, whole, strict=True)):
            training = total - test if is_whole else collect(train)
            standard = self._standard(training)
            away = test.mean - training.mean
            about = test.scatter + test.n * np.outer(away, away)
            sx, sy = standard.slices
            _, start = first_directions(np.ascontiguousarray(standard.S[sx, sy]), self.n_threads)
            for j, pair in enumerate(pairs):
                found = self._weights(standard, pair, k, start)
                scores[i, j] = _held_out(test.scatter, standard.slices, found)
                pooled.add(j, *score_products(about, standard.slices, found))
        self.n_splits_ = len(splits)
        self.cv_results_ = search_results(
            [{"penalty": penalty} for penalty in grid], pooled.scores() if pools(splits) else scores
        )
        ties = np.flatnonzero(self.cv_results_["rank_test_score"] == 1)
        sparser = -1 if self.method == "pmd" else 1
        self.best_index_ = int(max(ties, key=lambda j: sparser * sum(pairs[j])))
        self.best_score_ = float(self.cv_results_["mean_test_score"][self.best_index_])
        self.penalty_ = grid[self.best_index_]
        parameters = {name: getattr(self, name) for name in SparseTwoView._constraints}
        best = SparseCCA(penalty=self.penalty_, **parameters)
        adopt_features(best, self)
        best._fit_moments(total, pairs[self.best_index_], (x_checked.dtype, y_checked.dtype))
        self.best_estimator_ = best
        own = best.get_params()
        self.__dict__.update({name: value for name, value in vars(best).items() if name not in own})
        return self

    def _weights(self, standard: Standard, pair: Pair, k: int, start: Floats) -> tuple[Floats, Floats]:
        """Of the columns as they came; none where the penalty leaves no column."""
        sx, sy = standard.slices
        try:
            found = self._pairs(standard, pair, k, start)
        except NumericalError:
            return np.zeros((sx.stop - sx.start, 1)), np.zeros((sy.stop - sy.start, 1))
        return found.x / standard.scales[sx, np.newaxis], found.y / standard.scales[sy, np.newaxis]

    def _grid(self, total: Moments) -> list[Any]:
        if self.penalties is not None:
            if isinstance(self.penalties, str) or not np.iterable(self.penalties) or not len(self.penalties):
                raise ValueError(f"penalties must be a sequence of penalties, got {self.penalties!r}")
            return [
                tuple(map(float, penalty))
                if np.iterable(penalty) and not isinstance(penalty, str)
                else penalty
                for penalty in self.penalties
            ]
        if self.method == "pmd":
            return [float(value) for value in np.linspace(0.05, 1.0, 20)]
        standard = self._standard(total)
        sx, sy = standard.slices
        S12 = standard.S[sx, sy]
        u, v = first_directions(np.ascontiguousarray(S12), self.n_threads)
        v = v / np.sqrt(max(float(v @ standard.S[sy, sy] @ v), 1e-300))
        u = u / np.sqrt(max(float(u @ standard.S[sx, sx] @ u), 1e-300))
        largest = min(np.abs(S12 @ v).max(), np.abs(S12.T @ u).max()) / max(float(self.l1_ratio), 1e-3)
        return [float(value) for value in largest * np.geomspace(0.01, 0.9, 20)]


def _held_out(M: Floats, slices: tuple[slice, ...], weights: tuple[Floats, Floats]) -> float:
    across, x, y = score_products(M, slices, weights)
    scale = np.sqrt(x.clip(min=0.0)) * np.sqrt(y.clip(min=0.0))
    r = np.divide(across, scale, out=np.zeros_like(across), where=scale > 0).clip(-1.0, 1.0)
    return float(r.mean())


@dataclass(frozen=True)
class StabilitySelection:
    """How often each column is chosen in fits to halves of the rows.

    Attributes
    ----------
    x_frequency, y_frequency : ndarray of shape (p, k), (q, k)
        Fraction of the fits in which a column has a weight, by component.
    n_fits : int
        Number of fits.
    """

    x_frequency: Floats
    y_frequency: Floats
    n_fits: int

    def selected(self, threshold: float = 0.6) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Columns of X and of y that are chosen in at least this fraction of the fits, in any component.

        Parameters
        ----------
        threshold : float, default=0.6
            Meinshausen and Bühlmann recommend 0.6 to 0.9.

        Returns
        -------
        tuple of two ndarray of int
        """
        threshold = number(0, 1)("threshold", threshold)
        return (
            np.flatnonzero(self.x_frequency.max(axis=1) >= threshold),
            np.flatnonzero(self.y_frequency.max(axis=1) >= threshold),
        )


def stability_selection(
    estimator: SparseTwoView,
    X: ArrayLike,
    y: ArrayLike,
    n_pairs: int = 50,
    n_blocks: int = 20,
    random_state: Any = None,
) -> StabilitySelection:
    """Fit to random halves of the rows and to the other halves, and count which columns are chosen.

    Rows are dealt at random to blocks, whose moments are taken in one pass; a half is the sum of half of the
    blocks, the other half what is left of the total.

    Parameters
    ----------
    estimator : SparseCCA, or fitted SparseCCACV
        Of which parameters, and penalty, the fits are.
    X : array_like of shape (n, p)
        First view.
    y : array_like of shape (n, q)
        Second view: row i belongs to row i of ``X``.
    n_pairs : int, default=50
        Number of halves and other halves: 2 ``n_pairs`` fits.
    n_blocks : int, default=20
        Number of blocks, from 4 to half the number of rows; each takes memory for (p + q)² numbers.
    random_state : int, RandomState or None
        For the blocks and the halves.

    Returns
    -------
    StabilitySelection

    Raises
    ------
    TypeError
        For another estimator.
    ValueError
        As in ``fit``, and for fewer rows than twice the blocks.

    References
    ----------
    N. Meinshausen and P. Bühlmann, "Stability selection", J. R. Statist. Soc. B 72, 2010. R. D. Shah and
    R. J. Samworth, "Variable selection with error control: another look at stability selection", J. R.
    Statist. Soc. B 75, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import SparseCCA
    >>> from fastcca.cca import stability_selection
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(300, 30)), rng.normal(size=(300, 20))
    >>> y[:, :2] += X[:, 3:4] + X[:, 4:5]
    >>> found = stability_selection(SparseCCA(penalty=0.25), X, y, n_pairs=20, random_state=0)
    >>> found.selected(0.9)[0].tolist()
    [3, 4]
    """
    if not isinstance(estimator, SparseTwoView):
        raise TypeError(f"estimator must be a SparseCCA or a SparseCCACV, got {type(estimator).__name__}")
    n_pairs = POSITIVE_INTEGER("n_pairs", n_pairs)
    RANDOM_STATE("random_state", random_state)
    penalty = getattr(estimator, "penalty_" if isinstance(estimator, SparseCCACV) else "penalty")
    parameters = {name: getattr(estimator, name) for name in SparseTwoView._constraints}
    model = SparseCCA(penalty=penalty, **parameters)
    pair = model._penalty(penalty, "penalty")
    x_checked, y_checked, _ = model._check_pair(X, y, reset=True)
    k = min(int(model.n_components), x_checked.shape[1], y_checked.shape[1])
    n = x_checked.shape[0]
    n_blocks = integer(4)("n_blocks", n_blocks)
    at_most("n_blocks", n_blocks, n // 2, f"half the number of rows, {n // 2}")
    rng = check_random_state(random_state)
    blocks = [
        model._moments(x_checked[rows], y_checked[rows], None)
        for rows in (np.sort(part) for part in np.array_split(rng.permutation(n), n_blocks))
    ]
    total = sum(blocks, Moments())
    counts = np.zeros((x_checked.shape[1], k)), np.zeros((y_checked.shape[1], k))
    for _ in range(n_pairs):
        half = sum((blocks[i] for i in rng.permutation(n_blocks)[: n_blocks // 2]), Moments())
        for part in (half, total - half):
            try:
                found = model._pairs(model._standard(part), pair, k)
            except NumericalError:  # no column is left: none is chosen
                continue
            for count, w in zip(counts, (found.x, found.y), strict=True):
                count[:, : w.shape[1]] += w != 0
    fits = 2 * n_pairs
    return StabilitySelection(counts[0] / fits, counts[1] / fits, fits)
