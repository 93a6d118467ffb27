"""Are the correlations of a linear CCA real, and how well are they known?

Wilks's test (Gaussian data, no ridge), a permutation test (any data, any ridge) and the bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import chi2
from scipy.stats import f as f_distribution
from sklearn.base import clone
from sklearn.utils import check_random_state

from fastcca._linear import LinearTwoView
from fastcca._validation import as_matrix, check_count, check_reg
from fastcca.cca import CCA
from fastcca.functional.linalg import inverse_sqrt
from fastcca.functional.moments import Moments

__all__ = [
    "BootstrapResult",
    "PermutationTest",
    "WilksTest",
    "bootstrap",
    "permutation_test",
    "wilks_test",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WilksTest:
    """Tests that all correlations from the k-th on are zero, for every k.

    Attributes
    ----------
    statistic : ndarray of shape (k,)
        Wilks's lambda, the product of 1 - rho² over the correlations from this one on.
    f, df1, df2, p_value : ndarray of shape (k,)
        Rao's F approximation (exact where two or fewer columns are left in a view).
    chi2, chi2_df, chi2_p_value : ndarray of shape (k,)
        Bartlett's chi-squared approximation.
    """

    statistic: Floats
    f: Floats
    df1: Floats
    df2: Floats
    p_value: Floats
    chi2: Floats
    chi2_df: Floats
    chi2_p_value: Floats


def wilks_test(
    canonical_correlations: ArrayLike, n_samples: int, n_features_x: int, n_features_y: int
) -> WilksTest:
    """Wilks's test of the canonical correlations of Gaussian data, without a ridge.

    Parameters
    ----------
    canonical_correlations : array_like of shape (min(p, q),)
        All of them, of the training data, in falling order: ``canonical_correlations_`` of a
        :class:`~fastcca.CCA` fitted with ``reg=0`` and all components.
    n_samples : int
        Rows n that they come from; more than p + q + 1.
    n_features_x, n_features_y : int
        Columns p and q (of full rank).

    Returns
    -------
    WilksTest
        Entry k tests that the correlations k, k + 1, ... are all zero.

    Raises
    ------
    ValueError
        If there are not min(p, q) correlations in [0, 1] in falling order, or too few rows.

    See Also
    --------
    permutation_test : For data that are not Gaussian, few rows, or a ridge.

    References
    ----------
    C. R. Rao, "Linear Statistical Inference and Its Applications", 2nd ed., Wiley 1973, section 8c.5;
    M. S. Bartlett, "Further aspects of the theory of multiple regression", Proc. Camb. Phil. Soc. 34, 1938.

    Examples
    --------
    >>> from fastcca import CCA
    >>> from fastcca.datasets import make_two_views
    >>> from fastcca.inference import wilks_test
    >>> views = make_two_views(300, (4, 3), correlations=[0.8], random_state=0)
    >>> cca = CCA().fit(views.X, views.y)
    >>> (wilks_test(cca.canonical_correlations_, 300, 4, 3).p_value < 0.01).tolist()
    [True, False, False]
    """
    rho = np.asarray(canonical_correlations, dtype=np.float64)
    p, q, n = n_features_x, n_features_y, n_samples
    if rho.shape != (min(p, q),):
        raise ValueError(
            f"canonical_correlations must be all min(p, q) = {min(p, q)} of them, got shape {rho.shape}"
        )
    if not np.all((rho >= 0) & (rho <= 1)):
        raise ValueError("canonical_correlations must lie between 0 and 1")
    if np.any(np.diff(rho) > 1e-6):  # more than float32 rounds
        raise ValueError(f"canonical_correlations must be in falling order, got {rho.tolist()}")
    if n <= p + q + 1:
        raise ValueError(
            f"n_samples must exceed n_features_x + n_features_y + 1 = {p + q + 1}, got {n}: "
            "use permutation_test"
        )
    k = np.arange(len(rho))
    a, b = p - k, q - k
    with np.errstate(divide="ignore"):
        log_wilks = np.cumsum(np.log1p(-(rho**2))[::-1])[::-1]
    # Rao: the t-th root of lambda, where t makes the F distribution exact for a or b of at most 2.
    small = a**2 + b**2 - 5
    t = np.where(small > 0, np.sqrt(np.maximum(a**2 * b**2 - 4, 0) / np.where(small > 0, small, 1)), 1.0)
    multiplier = n - 1 - (p + q + 1) / 2
    df1 = (a * b).astype(np.float64)
    df2 = multiplier * t - df1 / 2 + 1
    root = np.exp(log_wilks / t)
    with np.errstate(divide="ignore"):
        f = (1 - root) / root * df2 / df1
    statistic = -multiplier * log_wilks
    return WilksTest(
        np.exp(log_wilks),
        f,
        df1,
        df2,
        np.asarray(f_distribution.sf(f, df1, df2)),
        statistic,
        df1.copy(),
        np.asarray(chi2.sf(statistic, df1)),
    )


@dataclass(frozen=True)
class PermutationTest:
    """What :func:`permutation_test` found.

    Attributes
    ----------
    statistic : ndarray of shape (k,)
        The singular values of T, as fitted: without a ridge the canonical correlations.
    p_value : ndarray of shape (k,)
        For each the probability of one as large where the views are unrelated beyond the pairs before it;
        corrected for testing them in turn, so that they never fall.
    permuted : ndarray of shape (n_permutations, k)
        The statistic of each permutation.
    """

    statistic: Floats
    p_value: Floats
    permuted: Floats


def permutation_test(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    n_permutations: int = 999,
    groups: ArrayLike | None = None,
    random_state: Any = None,
) -> PermutationTest:
    """Permutation test of every correlation of a linear CCA, one after the other.

    For the k-th the variates of the pairs before it are set aside, in both views, and the rows of the rest
    of ``y`` are shuffled: testing it on data that still hold the earlier pairs would be far from exact. A
    shuffle leaves the covariances within the views as they are: each costs one product, n p q
    multiply-adds.

    Parameters
    ----------
    estimator : CCA
        Fitted or not: ``n_components`` (how many are tested), ``reg`` and ``scale`` are read.
    X : array_like of shape (n, p)
    y : array_like of shape (n, q) or (n,)
        The two views. Their rows must be exchangeable; repeated measurements are within ``groups``, the
        samples of a time series are not.
    n_permutations : int
        Shuffles; the smallest possible p-value is 1 / (n_permutations + 1).
    groups : array_like of shape (n,), optional
        Rows are shuffled within groups of equal labels only.
    random_state : int, RandomState or None
        Of the shuffles.

    Returns
    -------
    PermutationTest

    Raises
    ------
    TypeError
        For an estimator that is no CCA.
    ValueError
        For NaN or infinity, different numbers of rows, fewer than one permutation, groups of the wrong
        length or with a single row each.

    References
    ----------
    Winkler, Renaud, Smith & Nichols, "Permutation inference for canonical correlation analysis",
    NeuroImage 220, 2020.

    Examples
    --------
    >>> from fastcca import CCA
    >>> from fastcca.datasets import make_two_views
    >>> from fastcca.inference import permutation_test
    >>> views = make_two_views(200, (4, 3), correlations=[0.8], random_state=0)
    >>> test = permutation_test(CCA(reg=0.1), views.X, views.y, n_permutations=199, random_state=0)
    >>> (test.p_value < 0.05).tolist()
    [True, False, False]
    """
    _check_estimator(estimator, CCA)
    check_count("n_permutations", n_permutations)
    a, b = as_matrix("X", X, min_rows=2), as_matrix("y", y, vector=True, min_rows=2)
    shuffle = _shuffler(len(a), groups)
    moments = Moments().update(a, b)
    model = clone(estimator).fit_moments(moments)
    k = model.n_components_
    reg = check_reg(model.reg)
    zx, zy, values = _rotated(a, b, moments, reg, (model.x_scale_, model.y_scale_))
    statistic = values[:k]
    rng = check_random_state(random_state)
    permuted = np.empty((n_permutations, k))
    for i in range(n_permutations):
        T = zx.T @ zy[shuffle(rng)] / (moments.n - 1)
        for j in range(k):
            permuted[i, j] = np.linalg.norm(T[j:, j:], 2)
    # as large up to rounding counts: a shuffle may be the identity
    reached = (permuted >= statistic * (1 - 1e-10)).sum(axis=0)
    p_value = np.maximum.accumulate((reached + 1) / (n_permutations + 1))
    return PermutationTest(statistic, p_value, permuted)


def _check_estimator(estimator: Any, kind: type) -> None:
    if not isinstance(estimator, kind):
        raise TypeError(f"estimator must be a CCA, got {type(estimator).__name__}")


def _rotated(
    X: NDArray[Any], y: NDArray[Any], moments: Moments, reg: tuple[float, float], scales: tuple[Any, Any]
) -> tuple[Floats, Floats, Floats]:
    """All variates of both views, those without a partner too, and the singular values of T."""
    sx, sy = moments.slices
    whitening = []
    for i, (r, scale) in enumerate(zip(reg, scales, strict=True)):
        S = moments.covariance(i, i) / np.outer(scale, scale)
        S[np.diag_indices_from(S)] += r
        whitening.append(inverse_sqrt(S) / np.asarray(scale, dtype=np.float64)[:, None])
    T = whitening[0].T @ moments.covariance(0, 1) @ whitening[1]
    U, values, Vt = np.linalg.svd(T, full_matrices=True)
    zx = (X - moments.mean[sx]) @ (whitening[0] @ U)
    zy = (y - moments.mean[sy]) @ (whitening[1] @ Vt.T)
    return zx, zy, values


def _shuffler(n: int, groups: ArrayLike | None) -> Callable[[np.random.RandomState], NDArray[np.intp]]:
    """Draws permutations of n rows, within the groups."""
    if groups is None:
        return lambda rng: rng.permutation(n)
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise ValueError(f"groups must have shape ({n},), one label a row, got {labels.shape}")
    _, codes = np.unique(labels, return_inverse=True)
    members = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    if max(map(len, members)) < 2:
        raise ValueError("groups leaves nothing to shuffle: every row has a label of its own")

    def shuffle(rng: np.random.RandomState) -> NDArray[np.intp]:
        order = np.arange(n)
        for rows in members:
            order[rows] = rng.permutation(rows)
        return order

    return shuffle


@dataclass(frozen=True)
class BootstrapResult:
    """What :func:`bootstrap` found: for each quantity its standard error and its confidence interval.

    Attributes
    ----------
    canonical_correlations : ndarray of shape (n_bootstrap, k)
    x_loadings, y_loadings : ndarray of shape (n_bootstrap, p, k), (n_bootstrap, q, k)
        Of each resample, its components matched with those of the data.
    confidence : float
        Coverage of :meth:`interval`.
    """

    canonical_correlations: Floats
    x_loadings: Floats
    y_loadings: Floats
    confidence: float

    def interval(self, name: str = "canonical_correlations") -> tuple[Floats, Floats]:
        """Lower and upper ends of the percentile interval of the attribute ``name``."""
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(getattr(self, name), [tail, 1 - tail], axis=0)
        return low, high

    def standard_error(self, name: str = "canonical_correlations") -> Floats:
        """Standard deviation of the attribute ``name`` over the resamples."""
        error: Floats = getattr(self, name).std(axis=0, ddof=1)
        return error


def bootstrap(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    n_bootstrap: int = 200,
    confidence: float = 0.95,
    random_state: Any = None,
) -> BootstrapResult:
    """Bootstrap of the correlations and loadings of a linear CCA.

    Rows are drawn with replacement, as pairs; a row drawn m times gets weight m, so that nothing is copied.
    The components of a resample come in another order and with other signs: each is matched with the
    component of the data whose x variates it correlates with the most.

    Training correlations are biased upwards, the more so in resamples, which repeat rows: the
    intervals show how stable they are, not what they would be on new data.

    Parameters
    ----------
    estimator : CCA
        Its parameters are those of every fit.
    X : array_like of shape (n, p)
    y : array_like of shape (n, q) or (n,)
        The two views.
    n_bootstrap : int
        Resamples, at least 2.
    confidence : float
        Coverage of the intervals, between 0 and 1.
    random_state : int, RandomState or None
        Of the draws.

    Returns
    -------
    BootstrapResult

    Raises
    ------
    TypeError
        For an estimator that is no CCA.
    ValueError
        For fewer than two resamples, a confidence outside (0, 1), and what ``fit`` refuses.

    References
    ----------
    Efron & Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall 1993.

    Examples
    --------
    >>> from fastcca import CCA
    >>> from fastcca.datasets import make_two_views
    >>> from fastcca.inference import bootstrap
    >>> views = make_two_views(500, (4, 3), correlations=[0.8], random_state=0)
    >>> found = bootstrap(CCA(n_components=1), views.X, views.y, random_state=0)
    >>> low, high = found.interval()
    >>> bool(low[0] < 0.8 < high[0])
    True
    """
    _check_estimator(estimator, LinearTwoView)  # CCACV as well
    check_count("n_bootstrap", n_bootstrap, low=2)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    a, b = as_matrix("X", X, min_rows=2), as_matrix("y", y, vector=True, min_rows=2)
    whole = clone(estimator).fit(a, b)
    k = whole.n_components_
    moments = Moments().update(a, b)
    covariance = moments.covariance(0, 0)
    rng = check_random_state(random_state)
    parts: dict[str, list[Floats]] = {
        name: [] for name in ("canonical_correlations", "x_loadings", "y_loadings")
    }
    for _ in range(n_bootstrap):
        counts = rng.multinomial(len(a), np.full(len(a), 1 / len(a))).astype(np.float64)
        again = clone(estimator).fit(a, b, sample_weight=counts)
        # correlations of the x variates of both fits, over all rows
        between = whole.x_weights_.T @ covariance @ again.x_weights_
        spread = np.sqrt(np.einsum("ij,ik,kj->j", again.x_weights_, covariance, again.x_weights_))
        between = between / np.where(spread > 0, spread, 1)
        mine, theirs = linear_sum_assignment(-np.abs(between))
        sign = np.where(between[mine, theirs] < 0, -1.0, 1.0)
        for name in parts:
            values = np.asarray(getattr(again, f"{name}_"), dtype=np.float64)[..., theirs]
            kept = np.full((*values.shape[:-1], k), np.nan)
            kept[..., mine] = values if values.ndim == 1 else values * sign
            parts[name].append(kept)
    stacked = {name: np.stack(values) for name, values in parts.items()}
    return BootstrapResult(confidence=confidence, **stacked)
