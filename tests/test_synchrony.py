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
        (lambda d, X, y: stack_frames(X, before=-1), "before must be an integer >= 0, got -1"),
        (lambda d, X, y: stack_frames(X, after=1.5), r"after must be an integer .*, got 1\.5"),
        (
            lambda d, X, y: lagged_correlation(X[:, :4], y, 3.0),
            r"max_lag must be an integer .*, got 3\.0",
        ),
        (lambda d, X, y: d.windows(X, y, length=50.0), r"length must be an integer .*, got 50\.0"),
        (lambda d, X, y: d.windows(X, y, length=50, hop=2.5), r"hop must be an integer .*, got 2\.5"),
        (lambda d, X, y: clone(d).set_params(context=1.0).fit(X, y), "context must be an integer"),
        (lambda d, X, y: clone(d).set_params(max_lag="5").fit(X, y), "max_lag must be an integer"),
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


# ---- how far a lag is to be trusted


def autoregressive(n, seed, phi=0.6, k=2):
    """Two streams of noisy mixtures of k autoregressive signals."""
    rng = np.random.default_rng(seed)
    noise, signal = rng.standard_normal((n + 100, k)), np.zeros((n + 100, k))
    for t in range(1, n + 100):
        signal[t] = phi * signal[t - 1] + noise[t]
    mixtures = np.random.default_rng(7)
    return tuple(
        signal[100:] @ mixtures.standard_normal((k, p)) + 0.5 * rng.standard_normal((n, p)) for p in (5, 4)
    )


@pytest.fixture(scope="module")
def detector():
    return SynchronyDetector(max_lag=15).fit(*autoregressive(2000, 0))


@pytest.mark.parametrize("late", [-14, -4, 0, 4, 14])
def test_a_lag_within_the_range_is_sure(detector, late):
    X, y = autoregressive(700, 1)
    found = detector.detect(X[100:600], y[100 - late : 600 - late])
    assert (found.lag, found.at_edge) == (late, False)
    assert found.confidence > 0.999
    assert found.lags[found.correlation.argmax()] == late
    assert found.n_frames.tolist() == [500 - abs(lag) for lag in range(-15, 16)]


def test_a_lag_at_the_end_of_the_range_or_beyond_is_warned_of(detector):
    X, y = autoregressive(1000, 1)
    with pytest.warns(UserWarning, match=r"largest at lag 15, the end of the lags looked at \(max_lag=15\)"):
        assert detector.detect(X[16:], y[:-16]).at_edge
    with pytest.warns(UserWarning, match="largest at lag -15, the end of the lags"):
        assert detector.lag(X[:-16], y[16:]) == -15
    for late in (25, 40):
        assert detector.detect(X[late:], y[:-late]).confidence < 0.95
        with pytest.warns(UserWarning, match="is one that unrelated streams reach too"):
            detector.lag(X[late:], y[:-late])
    with pytest.warns(UserWarning, match=r"in 5 of 5 windows of high confidence .*max_lag=15"):
        assert detector.windows(X[15:], y[:-15], 197).at_edge.all()
    alone = SynchronyDetector(max_lag=0).fit(X, y).detect(X, y)
    assert (alone.lag, alone.at_edge) == (0, False)


@pytest.mark.filterwarnings("ignore:the correlation is largest at lag")
@pytest.mark.parametrize(("phi", "n", "k"), [(0.0, 100, 1), (0.6, 300, 2), (0.95, 300, 1), (1.0, 300, 1)])
def test_unrelated_streams_are_seldom_confident(phi, n, k):
    """At most one in 20, within the binomial error of 200 pairs; the autocorrelation is allowed for."""
    mixing = SynchronyDetector(CCA(n_components=k, reg=1e-3), max_lag=10).fit(
        *autoregressive(1000, 0, phi, k)
    )
    sure = [
        mixing.detect(
            autoregressive(n, 2 * i + 1, phi, k)[0], autoregressive(n, 2 * i + 2, phi, k)[1]
        ).confidence
        > 0.95
        for i in range(200)
    ]
    assert sum(sure) <= 18  # of 10; P(more) = .006


def test_the_null_variance_is_bartletts():
    """Of two AR(1) streams the variance of a correlation is (1 + ab) / (1 - ab) / n."""
    from scipy.signal import lfilter

    from fastcca.synchrony import _null_variance

    rng = np.random.default_rng(0)
    for a, b in ((0.0, 0.5), (0.8, 0.6), (-0.7, -0.7)):
        x, y = (lfilter([1], [1, -phi], rng.standard_normal(100_000))[:, np.newaxis] for phi in (a, b))
        assert _null_variance(x, y) == pytest.approx((1 + a * b) / (1 - a * b), rel=0.1)
        both = np.hstack([x, lfilter([1], [1, -a], rng.standard_normal((100_000, 1)), axis=0)])
        pair = np.hstack([y, lfilter([1], [1, -b], rng.standard_normal((100_000, 1)), axis=0)])
        assert _null_variance(both, pair) == pytest.approx(2 * (1 + a * b) / (1 - a * b), rel=0.1)


# ---- frames that are missing, lengths that differ, pictures that stand still


def test_missing_frames_are_left_out():
    X, y = autoregressive(900, 3)
    rng = np.random.default_rng(0)
    holes = y.copy()
    holes[rng.random(900) < 0.2, 1] = np.nan
    holes[100:130] = np.nan
    for context in (0, 1):
        options = {"context": context, "max_lag": 6}
        with pytest.raises(
            ValueError, match=r"Input y contains NaN: .*; missing='omit' leaves such frames out"
        ):
            SynchronyDetector(**options).fit(X, holes)
        model = SynchronyDetector(missing="omit", **options).fit(X, holes)
        stacked = stack_frames(holes, context, context)
        kept = ~np.isnan(stacked).any(axis=1)
        expected = CCA(n_components=1, reg=1e-3, scale=True).fit(
            stack_frames(X, context, context)[kept], stacked[kept]
        )
        np.testing.assert_array_equal(model.estimator_.x_weights_, expected.x_weights_)
        found = model.detect(X[3:], holes[:-3])
        assert found.lag == 3
        assert found.confidence > 0.999
        # by hand, one pair of frames after the other; at the ends the frames with context are others
        zx = expected.transform(stack_frames(X[3:], context, context))[:, 0]
        zy = np.full(897, np.nan)
        late = stack_frames(holes[:-3], context, context)
        here = ~np.isnan(late).any(axis=1)
        zy[here] = expected.transform_y(late[here])[:, 0]
        for lag, value, count in zip(found.lags, found.correlation, found.n_frames, strict=True):
            pairs = np.array(
                [(zx[t], zy[t + lag]) for t in range(897) if 0 <= t + lag < 897 and here[t + lag]]
            )
            assert len(pairs) == count
            assert value == pytest.approx(np.corrcoef(pairs.T)[0, 1], abs=1e-10)
    np.testing.assert_allclose(
        lagged_correlation(zx[:, None], zy[:, None], 6, missing="omit"), found.correlation, atol=1e-12
    )
    with pytest.raises(ValueError, match="infinity"):
        model.detect(X, np.where(np.isnan(holes), np.inf, holes))
    with pytest.raises(ValueError, match="every frame of the stream y is missing"):
        model.detect(X, y * np.nan)
    with pytest.raises(ValueError, match="0 frames in common that neither misses, of 900"):
        model.fit(X, y * np.nan)


def test_streams_of_different_lengths_begin_together(detector):
    X, y = autoregressive(600, 3)
    with pytest.raises(ValueError, match="same length, got 600 and 500 frames; lengths='any' takes them as"):
        detector.detect(X, y[:500])
    model = SynchronyDetector(max_lag=15, lengths="any").fit(X, y[:500])
    same = SynchronyDetector(max_lag=15).fit(X[:500], y[:500])
    np.testing.assert_array_equal(model.estimator_.x_weights_, same.estimator_.x_weights_)
    for a, b, late in ((X[4:], y[:400], 4), (X[:300], y[3:], -3)):
        found = model.detect(a, b)
        assert found.lag == late
        assert found.n_frames.tolist() == [
            sum(0 <= t + lag < len(b) for t in range(len(a))) for lag in range(-15, 16)
        ]
        n = min(len(a), len(b))
        np.testing.assert_array_equal(model.windows(a, b, 100).start, np.arange(0, n - 99, 100))
    one, two = X[:300, :1], y[:280, :1]
    found = lagged_correlation(one, two, 5, lengths="any")
    assert found[0] == pytest.approx(np.corrcoef(one[5:285, 0], two[:280, 0])[0, 1], abs=1e-12)
    assert found[10] == pytest.approx(np.corrcoef(one[:275, 0], two[5:, 0])[0, 1], abs=1e-12)


@pytest.mark.parametrize("value", ["drop", None, 3])
@pytest.mark.parametrize("name", ["missing", "lengths"])
def test_rules_are_named(name, value):
    X, y = autoregressive(50, 3)
    with pytest.raises(ValueError, match=f"{name} must be one of '.*', '.*', got {value!r}"):
        SynchronyDetector(**{name: value}).fit(X, y)
    with pytest.raises(ValueError, match=f"{name} must be one of"):
        lagged_correlation(X[:, :2], y[:, :2], 3, **{name: value})


@pytest.mark.parametrize("context", [0, 2])
def test_windows_in_which_a_stream_stands_still_are_marked(context):
    X, y = autoregressive(1000, 4)
    model = SynchronyDetector(context=context, max_lag=15).fit(X, y)
    still = y.copy()
    still[300:400] = still[300]
    found = model.windows(X, still, 100)
    assert found.constant.tolist() == [i == 3 for i in range(10)]
    assert (found.lag[3], found.score[3], found.confidence[3]) == (0, 0, 0)
    assert not found.correlation[3].any()
    assert (found.confidence[[0, 1, 2, 5, 6, 7, 8, 9]] > 0.999).all()
    assert (found.lag == 0).all()


def test_a_picture_that_stands_still_for_a_part_correlates_by_its_rest_alone(detector):
    """Rounding makes variates of equal frames differ a little, which must not pass for a signal."""
    X, y = autoregressive(200, 5)
    still = y.copy()
    still[5:] = still[5]
    correlation = detector.correlation(X, still)
    zero = np.arange(-15, 16) >= 5  # of these lags only equal frames are left
    np.testing.assert_array_equal(correlation[zero], 0)
    assert correlation[~zero].all()


@pytest.mark.parametrize("count", [1_000_001, 2**31, 2**70])
def test_contexts_beyond_all_measure_are_refused(count):
    for name in ("before", "after"):
        with pytest.raises(ValueError, match=f"{name} must be at most 1000000 frames, got {count}"):
            stack_frames([1.0, 2.0], **{name: count})


# ---- critical values, reports, real speech


def test_the_confidence_is_that_of_normal_scores(detector):
    from scipy.stats import norm, rankdata, t

    from fastcca.synchrony import _null_variance

    X, y = autoregressive(400, 5)
    found = detector.detect(X, y)
    scores = [norm.ppf((rankdata(z[:, 0]) - 0.5) / len(z))[:, np.newaxis] for z in detector._variates(X, y)]
    np.testing.assert_allclose(found.ranked, lagged_correlation(*scores, 15), atol=1e-12)
    at = found.lag + 15
    r, freedom = found.ranked[at], found.n_frames[at] / _null_variance(*scores) - 2
    p = 31 * t.sf(r * np.sqrt(freedom / (1 - r**2)), freedom)  # Bonferroni over the lags
    assert found.confidence == pytest.approx(1 - p, abs=1e-9)
    for lag in (-15, 0, 15):
        critical, freedom = found.critical[lag + 15], found.n_frames[lag + 15] / _null_variance(*scores) - 2
        assert 31 * t.sf(critical * np.sqrt(freedom / (1 - critical**2)), freedom) == pytest.approx(0.05)
    unrelated = detector.detect(X, autoregressive(400, 6)[1])
    assert found.confidence > 0.95 > unrelated.confidence
    assert (unrelated.ranked < unrelated.critical)[unrelated.lag + 15]


@pytest.mark.filterwarnings("ignore:the correlation is largest at lag")
def test_unrelated_streams_of_uneven_loudness_are_seldom_confident(detector):
    """Words of 30 frames whose loudness varies by a factor of 20: at most one in 20 within its error."""
    sure = 0
    for i in range(100):
        streams = []
        for j, z in enumerate((autoregressive(300, 2 * i + 1)[0], autoregressive(300, 2 * i + 2)[1])):
            loud = np.random.default_rng(1000 + 2 * i + j).standard_normal(11)
            words = np.repeat(np.exp(1.5 * loud), 30)[:300] * np.abs(np.sin(np.arange(300) * np.pi / 30))
            streams.append((z + 3) * words[:, np.newaxis])
        sure += detector.detect(*streams).confidence > 0.95
    assert sure <= 11  # of 5; P(more) = .004


def test_the_report_has_lag_and_confidence(detector):
    X, y = autoregressive(500, 1)
    found = detector.detect(X[4:], y[:-4])
    report = fastcca.report(detector, X[4:], y[:-4], names=("film", "sound"))
    row = report["synchrony"]
    assert row.index == ("sound after film",)
    assert (row["Lag"][0], row["Frames"][0]) == (4, 492)
    assert row["Confidence"][0] == found.confidence > 0.99
    np.testing.assert_array_equal(report["lags"]["Correlation"], found.correlation)
    np.testing.assert_array_equal(report["lags"]["Of ranks"], found.ranked)
    np.testing.assert_array_equal(report["lags"]["Critical value (5 %)"], found.critical)
    assert report.notes == []
    assert "sound after film" in str(report)
    unrelated = fastcca.report(detector, X, autoregressive(500, 2)[1])
    assert unrelated["synchrony"]["Confidence"][0] < 0.95
    assert "is one that unrelated streams reach too" in unrelated.notes[0]
    at_end = fastcca.report(detector, X[15:], y[:-15])
    assert "the end of the lags looked at (max_lag=15)" in at_end.notes[0]


def test_a_picture_in_the_report(detector):
    pytest.importorskip("matplotlib")
    X, y = autoregressive(300, 1)
    assert "Correlation at each lag" in fastcca.report(detector, X, y, pictures=True).pictures


def test_a_report_of_streams_refuses(detector):
    X, y = autoregressive(100, 1)
    with pytest.raises(ValueError, match="takes the two streams that it is to judge"):
        fastcca.report(detector)
    with pytest.raises(TypeError, match="takes two streams and their names, no weights"):
        fastcca.report(detector, X, y, permutations=99)
    with pytest.raises(NotFittedError):
        fastcca.report(SynchronyDetector(), X, y)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the correlation is largest at lag")
def test_speech_in_noise_as_loud_is_told_from_other_speech(data_home):
    """Two recordings with noises of their own at 0 dB; voices that the detector never met; windows of 2 s."""
    from fastcca.datasets import add_noise, load_spoken_digits, speech_features

    digits = load_spoken_digits(data_home, features=None)
    streams = []
    for speaker in ("jackson", "lucas", "theo"):
        rows = np.random.default_rng(0).permutation(np.flatnonzero(digits.speaker == speaker))[:300]
        spoken = np.concatenate([digits.waveforms[i] / np.abs(digits.waveforms[i]).max() for i in rows])
        n = 100 * len(spoken) // digits.sample_rate
        streams.append(
            [
                speech_features(
                    add_noise([spoken], 0.0, random_state=seed), digits.sample_rate, n_slices=n
                ).reshape(n, -1)
                for seed in (1, 2)
            ]
        )
    learnt = [np.vstack([pair[i] for pair in streams[:2]]) for i in (0, 1)]
    detector = SynchronyDetector(context=2, max_lag=25).fit(*learnt)
    x, y = streams[2]
    confidence, related = [], []
    starts = np.arange(20, len(x) - 220, 200)
    for i, start in enumerate(starts):
        for begin in (start - (7 * i % 41 - 20), starts[(i + len(starts) // 2) % len(starts)]):
            confidence.append(detector.detect(x[start : start + 200], y[begin : begin + 200]).confidence)
            related.append(begin != starts[(i + len(starts) // 2) % len(starts)])
    assert len(starts) > 40
    assert roc_auc_score(related, confidence) >= 0.99
