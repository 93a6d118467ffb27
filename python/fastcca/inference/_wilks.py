"""Wilks's test: the likelihood ratio of Gaussian data without a ridge."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.parameters import POSITIVE_INTEGER
from fastcca._models.correlation_tests import WilksTest, sequential_wilks
from fastcca._models.two_view import TwoViewTransformer
from fastcca.cca.linear import LinearTwoView

__all__ = ["WilksTest", "wilks_test"]

Floats = NDArray[np.float64]


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
        return sequential_wilks(*_of_estimator(fitted))
    if any(number is None for number in given):
        raise TypeError(
            "wilks_test takes a fitted CCA or CCACV, or canonical correlations with n_samples, n_features_x "
            f"and n_features_y; got {type(fitted).__name__} and {given}"
        )
    if not isinstance(n_samples, Real) or isinstance(n_samples, bool) or not 0 < float(n_samples) < np.inf:
        raise ValueError(f"n_samples must be a positive number, got {n_samples!r}")
    p, q = POSITIVE_INTEGER("n_features_x", n_features_x), POSITIVE_INTEGER("n_features_y", n_features_y)
    return sequential_wilks(_checked_correlations(fitted, p, q), float(n_samples), p, q)


def _of_estimator(fitted: TwoViewTransformer) -> tuple[Floats, float, int, int]:
    """All correlations of a fit, its number of rows, its ranks."""
    if not isinstance(fitted, LinearTwoView):
        raise TypeError(
            f"Wilks's test is one of linear correlations: it takes a CCA or CCACV, got "
            f"{type(fitted).__name__}: use permutation_test"
        )
    check_is_fitted(fitted)
    return fitted._all_correlations()


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
