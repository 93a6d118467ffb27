"""Tests of canonical correlations of Gaussian data without a ridge, and what corrects them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from scipy.stats import f as f_distribution

__all__ = [
    "MultivariateTests",
    "WilksTest",
    "adjusted_correlations",
    "multivariate_tests",
    "sequential_wilks",
    "standard_errors",
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


@dataclass(frozen=True)
class MultivariateTests:
    """Four statistics of the hypothesis that all correlations are zero, with their F approximations."""

    names: tuple[str, ...]
    statistic: Floats
    f: Floats
    df1: Floats
    df2: Floats
    p_value: Floats
    s: int
    m: float
    nu: float


def sequential_wilks(rho: Floats, n: float, p: int, q: int) -> WilksTest:
    """From all min(p, q) correlations (along the last axis) of n rows, of views of ranks p and q."""
    # the residual covariance of one view given the other has n - 1 - p degrees of freedom and rank q
    if n < p + q + 1:
        raise ValueError(
            f"Wilks's test takes at least rank of X + rank of y + 1 = {p + q + 1} rows, "
            f"got n_samples = {n:g}: use permutation_test"
        )
    k = np.arange(rho.shape[-1])
    a, b = p - k, q - k
    with np.errstate(divide="ignore"):
        log_wilks = np.cumsum(np.log1p(-(rho**2))[..., ::-1], axis=-1)[..., ::-1]
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


def multivariate_tests(rho: Floats, n: float, p: int, q: int) -> MultivariateTests:
    """Wilks's lambda, Pillai's trace, the Hotelling–Lawley trace and Roy's root, of all correlations.

    The Hotelling–Lawley trace by McKeon's approximation where ν > 0, Roy's root by the F that bounds it from
    above (J. J. McKeon, "F approximations to the distribution of Hotelling's T₀²", Biometrika 61, 1974;
    K. C. S. Pillai, "Some new test criteria in multivariate analysis", Annals of Mathematical Statistics 26,
    1955).
    """
    wilks = sequential_wilks(rho, n, p, q)
    s, r = min(p, q), max(p, q)
    m, nu = (abs(p - q) - 1) / 2, (n - p - q - 2) / 2
    square = rho**2
    with np.errstate(divide="ignore"):
        ratio = square / (1 - square)
    pillai, trace, root = square.sum(), ratio.sum(), ratio[0]
    one, two = s * (2 * m + s + 1), s * (2 * nu + s + 1)
    with np.errstate(divide="ignore"):
        f_pillai = (2 * nu + s + 1) / (2 * m + s + 1) * pillai / (s - pillai)
    if nu > 0:
        # b of McKeon, whose terms vanish where ν = 1
        b_less_one = np.inf if nu == 1 else (p + 2 * nu) * (q + 2 * nu) / (2 * (2 * nu + 1) * (nu - 1)) - 1
        df_trace = 4 + (p * q + 2) / b_less_one
        f_trace = trace / ((df_trace - 2) / (2 * nu)) * df_trace / (p * q)
    else:
        df_trace = 2 * (s * nu + 1)
        f_trace = df_trace * trace / (s**2 * (2 * m + s + 1))
    f_root = root * (n - 1 - r) / r
    f = np.array([wilks.f[0], f_pillai, f_trace, f_root])
    df1 = np.array([wilks.df1[0], one, p * q, r], dtype=np.float64)
    df2 = np.array([wilks.df2[0], two, df_trace, n - 1 - r])
    return MultivariateTests(
        ("Wilks's lambda", "Pillai's trace", "Hotelling-Lawley trace", "Roy's largest root"),
        np.array([wilks.statistic[0], pillai, trace, root]),
        f,
        df1,
        df2,
        np.asarray(f_distribution.sf(f, df1, df2)),
        s,
        m,
        nu,
    )


def standard_errors(rho: Floats, n: float) -> Floats:
    """Of sample correlations, approximately: (1 - ρ²) / √(n - 1)."""
    return np.asarray((1 - rho**2) / np.sqrt(n - 1))


def adjusted_correlations(rho: Floats, n: float, p: int, q: int) -> Floats:
    """All correlations less their bias to order 1 / n; may be negative.

    NaN where it cannot be computed (a correlation of zero, two that are equal), and where it exceeds the one
    before (D. N. Lawley, "Tests of significance in canonical analysis", Biometrika 46, 1959).
    """
    square = rho**2
    distance = square[:, None] - square
    np.fill_diagonal(distance, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        # ρ - (1 - ρ²) (p + q - 2 - ρ² + 2 (1 - ρ²) Σ_j ρ_j² / (ρ² - ρ_j²)) / (2 (n - 1) ρ)
        others = (square / distance).sum(axis=1)
        bracket = p + q - 2 - square + 2 * (1 - square) * others
        adjusted = rho - (1 - square) / (2 * (n - 1) * rho) * bracket
    least = np.inf
    for i, value in enumerate(adjusted):
        if not value <= least:
            adjusted[i] = np.nan
        else:
            least = value
    adjusted[~np.isfinite(adjusted)] = np.nan
    return np.asarray(adjusted)
