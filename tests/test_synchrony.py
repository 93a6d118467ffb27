"""Streams in and out of step: lags, scores, ends, what is refused."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score

import fastcca
from fastcca import CCA, KernelCCA
from fastcca.synchrony import SynchronyDetector, lagged_correlation, stack_frames


@pytest.fixture
def streams(rng):
    """Two streams of 3000 frames with two smooth common signals."""
    common = np.cumsum(rng.standard_normal((3000, 2)), axis=0)
    common -= np.array([np.convolve(c, np.ones(50) / 50, mode="same") for c in common.T]).T
    X = common @ rng.standard_normal((2, 5)) + rng.standard_normal((3000, 5))
    y = common @ rng.standard_normal((2, 4)) + rng.standard_normal((3000, 4))
    return X, y


def test_frames_with_their_neighbours(rng):
    X = rng.standard_normal((6, 2))
    stacked = stack_frames(X, before=2, after=1)
    assert stacked.shape == (6, 8)
    for t in range(6):
        expected = np.concatenate([X[min(max(t + s, 0), 5)] for s in (-2, -1, 0, 1)])
        np.testing.assert_array_equal(stacked[t], expected)
    np.testing.assert_array_equal(stack_frames(X), X)


def test_lagged_correlation_is_corrcoef_of_the_overlap(rng):
    a, b = rng.standard_normal((20, 3)), rng.standard_normal((20, 3))
    b[:, 2] = 4.0  # a constant column counts 0
    got = lagged_correlation(a, b, 4)
    for lag, value in zip(range(-4, 5), got, strict=True):
        u = [a[t] for t in range(20) if 0 <= t + lag < 20]
        v = [b[t + lag] for t in range(20) if 0 <= t + lag < 20]
        expected = sum(np.corrcoef(np.array(u)[:, j], np.array(v)[:, j])[0, 1] for j in range(2))
        assert value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("estimator", [None, CCA(n_components=2), KernelCCA(2, rank=100)])
@pytest.mark.parametrize("late", [-7, 0, 1, 12])
def test_the_lag_is_found(streams, estimator, late):
    X, y = streams
    detector = SynchronyDetector(estimator, context=2, max_lag=15).fit(X[:1500], y[:1500])
    # y late by so many frames: its frame t + late belongs to the frame t of X
    assert detector.lag(X[1600:2600], y[1600 - late : 2600 - late]) == late
    assert detector.correlation(X[1600:2600], y[1600:2600]).argmax() == 15


def test_windows_tell_streams_in_step_from_others(streams):
    X, y = streams
    detector = SynchronyDetector(CCA(n_components=2, reg=1e-3), max_lag=10).fit(X[:1000], y[:1000])
    in_step = detector.windows(X[1000:], y[1000:], length=100, hop=50)
    off = detector.windows(X[1000:-5], y[1005:], length=100, hop=50)
    np.testing.assert_array_equal(in_step.start, np.arange(0, 1901, 50))
    assert np.mean(in_step.lag == 0) > 0.9
    assert np.mean(off.lag == -5) > 0.9
    scores = np.concatenate([in_step.score, off.score])
    truth = np.repeat([1, 0], [len(in_step.score), len(off.score)])
    assert roc_auc_score(truth, scores) > 0.95
    for result in (in_step, off):
        others = np.delete(result.correlation, 10, axis=1).max(axis=1)
        np.testing.assert_allclose(result.score, result.correlation[:, 10] - others)


def test_a_clone_is_not_fitted_and_the_estimator_is_left_alone(streams):
    X, y = streams
    inner = CCA(n_components=2)
    detector = SynchronyDetector(inner).fit(X, y)
    assert not hasattr(inner, "x_weights_")
    assert not hasattr(clone(detector), "estimator_")


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda d, X, y: d.lag(X[:50], y[:40]), "same length"),
        (lambda d, X, y: d.lag(X[:5], y[:5]), "max_lag"),
        (lambda d, X, y: d.lag(np.where(X > 2, np.nan, X), y), "NaN"),
        (lambda d, X, y: d.windows(X, y, length=5), "length"),
        (lambda d, X, y: d.windows(X, y, length=50, hop=0), "hop"),
        (lambda d, X, y: lagged_correlation(X[:, :2], y, 3), "same shape"),
        (lambda d, X, y: lagged_correlation(X[:, :4], y, -1), "max_lag"),
        (lambda d, X, y: stack_frames(X, before=-1), "before must be a whole number >= 0, got -1"),
        (lambda d, X, y: stack_frames(X, after=1.5), r"after must be a whole number .*, got 1\.5"),
        (
            lambda d, X, y: lagged_correlation(X[:, :4], y, 3.0),
            r"max_lag must be a whole number .*, got 3\.0",
        ),
        (lambda d, X, y: d.windows(X, y, length=50.0), r"length must be a whole number .*, got 50\.0"),
        (lambda d, X, y: d.windows(X, y, length=50, hop=2.5), r"hop must be a whole number .*, got 2\.5"),
        (lambda d, X, y: clone(d).set_params(context=1.0).fit(X, y), "context must be a whole number"),
        (lambda d, X, y: clone(d).set_params(max_lag="5").fit(X, y), "max_lag must be a whole number"),
    ],
)
def test_bad_input(streams, call, match):
    X, y = streams
    detector = SynchronyDetector(max_lag=10).fit(X, y)
    with pytest.raises(ValueError, match=match):
        call(detector, X, y)


@pytest.mark.parametrize("estimator", [None, KernelCCA(2, rank=50)])
def test_a_detector_is_a_file(streams, estimator, tmp_path):
    X, y = streams
    detector = SynchronyDetector(estimator, context=1, max_lag=12).fit(X[:1000], y[:1000])
    detector.save(tmp_path / "detector.npz")
    loaded = fastcca.load(tmp_path / "detector.npz")
    assert isinstance(loaded, SynchronyDetector)
    assert repr(loaded.get_params()) == repr(detector.get_params())
    np.testing.assert_array_equal(loaded.correlation(X, y), detector.correlation(X, y))
    with pytest.raises(NotFittedError):
        clone(detector).save(tmp_path / "detector.npz")


def test_constant_columns_count_nothing_whatever_their_mean_is_rounded_to():
    constant = np.full((7, 1), 0.1)  # the mean of seven of these is another number
    np.testing.assert_array_equal(lagged_correlation(constant, constant, 2), np.zeros(5))


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e170, 1e300])
def test_correlations_do_not_depend_on_the_scale(rng, scale):
    a, b = rng.standard_normal((2, 50, 2))
    expected = [
        sum(
            np.corrcoef(a[max(-lag, 0) : 50 - max(lag, 0), i], b[max(lag, 0) : 50 + min(lag, 0), i])[0, 1]
            for i in range(2)
        )
        for lag in range(-3, 4)
    ]
    np.testing.assert_allclose(lagged_correlation(a, b, 3), expected, atol=1e-14)
    np.testing.assert_allclose(lagged_correlation(scale * a, scale * b, 3), expected, atol=1e-14)


@pytest.mark.parametrize("estimator", [None, KernelCCA(2, rank=50)])
def test_a_constant_stream_has_no_lag(streams, estimator):
    X, y = streams
    detector = SynchronyDetector(estimator, context=1, max_lag=10).fit(X, y)
    still = np.full_like(X, 0.1)
    with pytest.raises(ValueError, match="the stream X is constant: there is no correlation at any lag"):
        detector.lag(still, y)
    with pytest.raises(ValueError, match="the stream y is constant: there is no correlation at any lag"):
        detector.lag(X, np.zeros_like(y))
    assert detector.lag(X, y) == 0
    # a still window among others is no error
    halves = detector.windows(np.vstack([X[:100], still[:100]]), y[:200], length=100)
    assert halves.lag[0] == 0
    assert np.isfinite(halves.score).all()
