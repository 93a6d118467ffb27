"""Wilks's test: the likelihood ratio of Gaussian data without a ridge."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from scipy.stats import f as f_distribution
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.parameters import check_count
from fastcca._models.two_view import TwoViewTransformer
from fastcca.cca.linear import LinearTwoView
from fastcca.inference._model import ridge_of

__all__ = ["WilksTest", "wilks_test"]

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
    fitted: Any,
    n_samples: float | None = None,
    n_features_x: int | None = None,
    n_features_y: int | None = None,
) -> WilksTest:
    """Wilks's test of the canonical correlations of Gaussian data, without a ridge.

    Parameters
    ----------
    fitted : CCA, CCACV or array_like of shape (min(p, q),)
        A fitted estimator, which knows its number of rows and the ranks of its views; or all canonical
        correlations of the training data in descending order, with the three numbers below.
    n_samples : float, optional
        Rows n that the correlations come from; at least p + q + 1. Not with an estimator.
    n_features_x, n_features_y : int, optional
        Ranks p and q of the centred views: the numbers of columns where none depends on the others (of the
        dummies of g groups g - 1). Not with an estimator.

    Returns
    -------
    WilksTest
        Entry k tests that the correlations k, k + 1, ... are all zero.

    Raises
    ------
    TypeError
        For an estimator of another kind, correlations without their three numbers, an estimator with them.
    ValueError
        Where the test does not hold: an estimator with a ridge or fewer than min(p, q) components, fewer than
        p + q + 1 rows. For correlations that are not all min(p, q), in [0, 1], in descending order.
    NotFittedError
        For an estimator before ``fit``.

    See Also
    --------
    permutation_test : For data that are not Gaussian, few rows, or a ridge.

    Notes
    -----
    After a fit with sample weights n is their sum: right where a weight is the number of times that a row was
    observed, not for weights of importance or precision. A ridge of 0 that :class:`~fastcca.CCACV` chose
    is that of a plain fit.

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
    >>> (wilks_test(cca).p_value < 0.01).tolist()
    [True, False, False]
    >>> (wilks_test(cca.canonical_correlations_, 300, 4, 3).p_value < 0.01).tolist()
    [True, False, False]
    """
    given = n_samples, n_features_x, n_features_y
    if isinstance(fitted, TwoViewTransformer):
        if any(number is not None for number in given):
            raise TypeError(
                "a fitted estimator knows n_samples, n_features_x and n_features_y (its ranks): give none"
            )
        return _test(*_of_estimator(fitted))
    if any(number is None for number in given):
        raise TypeError(
            "wilks_test takes a fitted CCA or CCACV, or canonical correlations with n_samples, n_features_x "
            f"and n_features_y; got {type(fitted).__name__} and {given}"
        )
    if not isinstance(n_samples, Real) or isinstance(n_samples, bool) or not 0 < float(n_samples) < np.inf:
        raise ValueError(f"n_samples must be a positive number, got {n_samples!r}")
    p, q = check_count("n_features_x", n_features_x), check_count("n_features_y", n_features_y)
    return _test(_checked_correlations(fitted, p, q), float(n_samples), p, q)


def _of_estimator(fitted: TwoViewTransformer) -> tuple[Floats, float, int, int]:
    """All correlations of a fit, its number of rows, its ranks."""
    if not isinstance(fitted, LinearTwoView):
        raise TypeError(
            f"Wilks's test is one of linear correlations: it takes a CCA or CCACV, got "
            f"{type(fitted).__name__}: use permutation_test"
        )
    check_is_fitted(fitted)
    reg = ridge_of(fitted)
    if reg != (0.0, 0.0):
        raise ValueError(
            f"Wilks's test does not hold for correlations with a ridge, reg = {reg}: "
            "use permutation_test, or fit with reg=0"
        )
    n = getattr(fitted, "n_samples_", None)
    if n is None or not hasattr(fitted, "x_rank_"):
        raise ValueError("this model was saved by an earlier version without its ranks: fit it again")
    p, q = fitted.x_rank_, fitted.y_rank_
    if fitted.n_components_ < min(p, q):
        raise ValueError(
            f"Wilks's test takes all min(rank of X, rank of y) = {min(p, q)} correlations, but only "
            f"{fitted.n_components_} were computed: fit with n_components=None"
        )
    # confounds take as many degrees of freedom as they have rank
    n -= getattr(fitted, "confounds_rank_", 0)
    return np.asarray(fitted.canonical_correlations_, dtype=np.float64).clip(0.0, 1.0), n, p, q


def _checked_correlations(values: Any, p: int, q: int) -> Floats:
    rho = np.asarray(values, dtype=np.float64)
    if rho.shape != (min(p, q),):
        raise ValueError(
            f"canonical_correlations must be all min(p, q) = {min(p, q)} of them, got shape {rho.shape}"
        )
    if not np.all((rho >= 0) & (rho <= 1)):
        raise ValueError("canonical_correlations must lie between 0 and 1")
    if np.any(np.diff(rho) > 1e-6):  # more than float32 rounds
        raise ValueError(f"canonical_correlations must be in descending order, got {rho.tolist()}")
    return rho


def _test(rho: Floats, n: float, p: int, q: int) -> WilksTest:
    # the residual covariance of one view given the other has n - 1 - p degrees of freedom and rank q
    if n < p + q + 1:
        raise ValueError(
            f"Wilks's test takes at least rank of X + rank of y + 1 = {p + q + 1} rows, "
            f"got n_samples = {n:g}: use permutation_test"
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
