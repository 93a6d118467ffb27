"""Moments of covariances, of sliding windows and of groups, against NumPy."""

import numpy as np
import pytest

from fastcca import CCA, Moments
from fastcca.functional import group_moments, rolling_moments

pytestmark = pytest.mark.core


@pytest.fixture
def data(rng):
    return rng.normal(size=(200, 4)) + 5.0, rng.normal(size=(200, 3))


def test_moments_of_a_published_covariance(data):
    X, Y = data
    both = np.hstack([X, Y])
    moments = Moments.from_covariance(np.cov(both.T), 200, (4, 3), both.mean(0))
    taken = Moments().update(X, Y)
    np.testing.assert_allclose(moments.scatter, taken.scatter, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(moments.mean, taken.mean)
    rho = CCA().fit(X, Y).canonical_correlations_
    np.testing.assert_allclose(CCA().fit_moments(moments).canonical_correlations_, rho, atol=1e-12)
    # correlations are invariant to scale
    of_correlations = Moments.from_covariance(np.corrcoef(both.T), 200, [4, 3])
    np.testing.assert_allclose(CCA().fit_moments(of_correlations).canonical_correlations_, rho, atol=1e-12)


def test_covariances_that_are_none():
    eye = np.eye(3)
    for S, n, dims, mean, message in (
        (eye, 10, (2, 2), None, r"S must have shape \(4, 4\) to fit dims \(2, 2\), got \(3, 3\)"),
        (eye + np.triu(np.ones((3, 3)), 1), 10, (2, 1), None, "S must be symmetric"),
        (-eye, 10, (2, 1), None, "S must be positive semidefinite"),
        (eye * np.nan, 10, (2, 1), None, "contains NaN"),
        (eye, 1, (2, 1), None, "n must be a finite number > 1, got 1"),
        (eye, 10, (2, 1), np.zeros(2), "mean must hold 3 finite numbers"),
        (eye, 10, (2.5, 0.5), None, "dims of moments must be"),
    ):
        with pytest.raises(ValueError, match=message):
            Moments.from_covariance(S, n, dims, mean)


@pytest.mark.parametrize(("window", "step"), [(20, 1), (30, 7), (5, 5), (10, 25), (200, 1)])
def test_windows_are_those_of_their_rows(data, window, step):
    X, Y = data
    X = X + 1e3 * np.linspace(0, 1, 200)[:, None]  # a trend
    starts = []
    for start, moments in rolling_moments(X, Y, window=window, step=step):
        starts.append(start)
        rows = slice(start, start + window)
        assert moments.n == window
        S = np.cov(np.hstack([X[rows], Y[rows]]).T)
        np.testing.assert_allclose(moments.scatter / (window - 1), S, rtol=1e-9, atol=1e-8)
        np.testing.assert_allclose(moments.mean[:4], X[rows].mean(0))
    assert starts == list(range(0, 200 - window + 1, step))


def test_bad_windows(data):
    X, Y = data
    for call, message in (
        (lambda: rolling_moments(X, Y, window=201), "window=201 is more than the 200 rows"),
        (lambda: rolling_moments(X, Y, window=1), "window must be an integer >= 2"),
        (lambda: rolling_moments(X, Y, window=5, step=0), "step must be an integer >= 1"),
        (lambda: rolling_moments(X, Y[1:], window=5), "must have the same number of rows"),
        (lambda: rolling_moments(window=5), "at least one view"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_groups_are_taken_apart(data, rng):
    X, Y = data
    labels = rng.choice(["a", "b", "c"], size=200)
    w = rng.integers(0, 3, 200).astype(float)
    X = X + np.where(labels == "a", 3.0, 0.0)[:, None]
    both = np.hstack([X, Y])
    found = group_moments(X, Y, labels=labels, sample_weight=w)
    assert list(found.groups) == ["a", "b", "c"]
    rows = np.repeat(np.arange(200), w.astype(int))
    repeated, named = both[rows], labels[rows]
    within = sum((named == g).sum() * np.cov(repeated[named == g].T, ddof=0) for g in ("a", "b", "c"))
    total = len(rows) * np.cov(repeated.T, ddof=0)
    np.testing.assert_allclose(found.within.scatter, within, atol=1e-9)
    np.testing.assert_allclose(found.total.scatter, total, atol=1e-9)
    np.testing.assert_allclose(found.between.scatter, total - within, atol=1e-9)
    assert found.total.n == len(rows)
    # CCA within the groups is CCA given the labels
    dummies = (labels[:, None] == np.array(["b", "c"])).astype(float)
    given = CCA().fit(X, Y, confounds=dummies, sample_weight=w)
    np.testing.assert_allclose(
        CCA().fit_moments(found.within).canonical_correlations_, given.canonical_correlations_, atol=1e-10
    )
    with pytest.raises(ValueError, match="labels must have one entry for each of the 200 rows, got 3"):
        group_moments(X, labels=[1, 2, 3])
    with pytest.raises(ValueError, match="at least one view"):
        group_moments(labels=[])


def test_groups_of_little_weight_far_apart():
    """Squares of such means overflow, what they weigh does not."""
    x = np.array([0.0, 1e150, 3e150, 1e160, 1.00001e160, 1.00003e160])[:, np.newaxis]
    w = np.array([1e-20, 2e-20, 1e-20, 3e-20, 1e-20, 2e-20])
    found = group_moments(x, labels=list("aaabbb"), sample_weight=w)
    a, b = x[:3, 0] @ w[:3] / w[:3].sum(), x[3:, 0] @ w[3:] / w[3:].sum()
    want = w[:3].sum() * (w[3:].sum() / w.sum()) * (b - a) * (b - a)
    np.testing.assert_allclose(found.between.scatter.item(), want, rtol=1e-13)
