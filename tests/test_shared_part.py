"""What two views share: denoising, translation with intervals, rows whose views disagree."""

import io

import numpy as np
import pytest
from scipy.stats import t as student

import fastcca
from fastcca import (
    CCA,
    CCACV,
    PLSSVD,
    Moments,
    PLSCanonical,
    PLSRegression,
    ProbabilisticCCA,
    SparseCCA,
)
from fastcca.datasets import make_two_views

pytestmark = pytest.mark.filterwarnings("ignore:the best ridge")


def shared(rng, n=600, p=8, q=6, noise=1.0):
    """Two views of one signal, and the part of each that comes from it."""
    z = rng.normal(size=(n, 2))
    A, B = rng.normal(size=(2, p)), rng.normal(size=(2, q))
    return (
        z @ A + noise * rng.normal(size=(n, p)) + 2.0,
        z @ B + noise * rng.normal(size=(n, q)),
        z @ A + 2.0,
        z @ B,
    )


# ---- denoising


@pytest.mark.parametrize("k", [1, 2, 6])
def test_it_is_the_posterior_mean_of_the_probabilistic_model(k, rng):
    X, Y, _, _ = shared(rng)
    model = ProbabilisticCCA(k).fit(X, Y)
    mean, _ = model.posterior(X, Y)
    found = model.denoise(X, Y)
    np.testing.assert_allclose(found.X, mean @ model.x_factors_.T + X.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(found.y, mean @ model.y_factors_.T + Y.mean(axis=0), atol=1e-9)
    plain = CCA(k).fit(X, Y).denoise(X, Y)
    np.testing.assert_allclose(plain.X, found.X, atol=1e-9)
    np.testing.assert_allclose(plain.x_error, np.linalg.norm(X - plain.X, axis=1), atol=1e-12)
    kept = 1 - ((Y - plain.y) ** 2).sum() / ((Y - Y.mean(axis=0)) ** 2).sum()
    assert plain.y_kept == pytest.approx(kept, abs=1e-12)


@pytest.mark.parametrize(
    "model",
    [
        CCA(2),
        CCA(2, reg=5.0),
        CCA(2, reg=(0.1, 20.0), scale=True),
        CCA(2, shrinkage=0.2),
        CCACV(2, cv=3),
        SparseCCA(2, 0.9),
        PLSSVD(2),
        PLSCanonical(2),
        PLSRegression(2),
    ],
    ids=lambda model: repr(model)[:40],
)
def test_noise_of_one_view_goes(model, rng):
    X, Y, x_signal, y_signal = shared(rng, n=2000, noise=1.5)
    model.fit(X[:1000], Y[:1000])
    found = model.denoise(X[1000:], Y[1000:])
    for given, clean, signal in (
        (X[1000:], found.X, x_signal[1000:]),
        (Y[1000:], found.y, y_signal[1000:]),
    ):
        assert ((clean - signal) ** 2).mean() < 0.35 * ((given - signal) ** 2).mean()
    assert 0 < found.x_kept < 1


def test_scores_of_any_length(rng):
    """What a ridge does to the length of the scores makes no difference to what is kept."""
    X, Y, _, _ = shared(rng)
    model = CCA(2, reg=3.0).fit(X, Y)
    zx, zy = model.transform_views(X, Y)
    u, v = (z / z.std(axis=0, ddof=1) for z in (zx, zy))
    r = np.array([np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(2)])
    kept = r * (u + v) / (1 + r)
    on = np.linalg.lstsq(u, X - X.mean(axis=0), rcond=None)[0]
    np.testing.assert_allclose(model.denoise(X, Y).X, kept @ on + X.mean(axis=0), atol=1e-9)


def test_unrelated_components_leave_the_mean(rng):
    X, Y = rng.normal(size=(200000, 2)), rng.normal(size=(200000, 2))
    found = CCA().fit(X, Y).denoise(X, Y)
    assert found.x_kept < 0.02
    same = CCA().fit(X, X).denoise(X, X)
    np.testing.assert_allclose(same.X, X, atol=1e-9)
    assert same.x_kept == pytest.approx(1.0)


def test_forms_of_the_answer(rng):
    X, Y, _, _ = shared(rng)
    single = CCA(1).fit(X.astype(np.float32), Y.astype(np.float32)).denoise(X.astype(np.float32), Y)
    assert (single.X.dtype, single.y.dtype) == (np.float32, np.float64)
    vector = CCA().fit(X, Y[:, 0]).denoise(X, Y[:, 0])
    assert vector.y.shape == (600,)
    assert vector.y_error.shape == (600,)
    Z = rng.normal(size=(600, 1))
    a, b = X + 3 * Z, Y - 2 * Z
    with_confounds = CCA(2).fit(a, b, confounds=Z).denoise(a, b, confounds=Z)
    np.testing.assert_allclose(
        with_confounds.X - 3 * Z, CCA(2).fit(X, Y, confounds=Z).denoise(X, Y, confounds=Z).X, atol=1e-9
    )
    model, memory = CCA(2).fit(X, Y), io.BytesIO()
    model.save(memory)
    memory.seek(0)
    np.testing.assert_array_equal(fastcca.load(memory).denoise(X, Y).X, model.denoise(X, Y).X)
    with pytest.raises(ValueError, match="same number of rows, got 600 and 5"):
        model.denoise(X, Y[:5])
    with pytest.raises(ValueError, match="contains NaN"):
        model.denoise(np.where(X > 3, np.nan, X), Y)


# ---- translation


def test_intervals_are_those_of_least_squares(rng):
    n, p, q = 60, 4, 3
    X = rng.normal(size=(n, p)) @ rng.normal(size=(p, p)) + 1
    Y = X @ rng.normal(size=(p, q)) + rng.normal(size=(n, q))
    new = rng.normal(size=(7, p)) * 2
    design = np.column_stack([np.ones(n), X])
    B = np.linalg.lstsq(design, Y, rcond=None)[0]
    s = np.sqrt(((Y - design @ B) ** 2).sum(axis=0) / (n - p - 1))
    row = np.column_stack([np.ones(7), new])
    h = np.einsum("ij,jk,ik->i", row, np.linalg.inv(design.T @ design), row)
    from scipy.stats import t

    half = t.ppf(0.95, n - p - 1) * np.sqrt(1 + h)[:, None] * s
    predicted, low, high = CCA().fit(X, Y).translate(new, confidence=0.9)
    np.testing.assert_allclose(predicted, row @ B, atol=1e-10)
    np.testing.assert_allclose(low, row @ B - half, atol=1e-10)
    np.testing.assert_allclose(high, row @ B + half, atol=1e-10)
    # the other way round
    design, row = np.column_stack([np.ones(n), Y]), np.column_stack([np.ones(7), Y[:7]])
    B = np.linalg.lstsq(design, X, rcond=None)[0]
    s = np.sqrt(((X - design @ B) ** 2).sum(axis=0) / (n - q - 1))
    h = np.einsum("ij,jk,ik->i", row, np.linalg.inv(design.T @ design), row)
    half = t.ppf(0.975, n - q - 1) * np.sqrt(1 + h)[:, None] * s
    back = CCA().fit(X, Y).translate(y=Y[:7])
    np.testing.assert_allclose(back.high - back.predicted, half, atol=1e-9)
    np.testing.assert_allclose(back.predicted, row @ B, atol=1e-9)


def test_intervals_with_confounds_are_those_of_regression_on_them_too(rng):
    n, p, q = 60, 4, 4
    Z = rng.normal(size=(n, 2)) * [1, 50] + 7
    X = rng.normal(size=(n, p)) + Z[:, :1]
    Y = X @ rng.normal(size=(p, q)) + 0.1 * Z[:, 1:] + rng.normal(size=(n, q))
    model = CCA(scale=True).fit(X, Y, confounds=Z)
    new, z = rng.normal(size=(7, p)) * 2, rng.normal(size=(7, 2)) + 7
    for given, wanted, rows, options in ((X, Y, new, {"X": new}), (Y, X, new[::-1], {"y": new[::-1]})):
        design = np.column_stack([np.ones(n), given, Z])
        B = np.linalg.lstsq(design, wanted, rcond=None)[0]
        freedom = n - p - 3
        s = np.sqrt(((wanted - design @ B) ** 2).sum(axis=0) / freedom)
        row = np.column_stack([np.ones(7), rows, z])
        h = np.einsum("ij,jk,ik->i", row, np.linalg.inv(design.T @ design), row)
        half = student.ppf(0.975, freedom) * np.sqrt(1 + h)[:, None] * s
        found = model.translate(**options, confounds=z)
        np.testing.assert_allclose(found.predicted, row @ B, rtol=1e-8)
        np.testing.assert_allclose(found.high - found.low, 2 * half, rtol=1e-8)


@pytest.mark.parametrize("model", [CCA(), CCA(1), CCA(2, reg=0.5), CCACV(2, cv=3)], ids=repr)
def test_intervals_hold_as_many_as_they_say(model, rng):
    inside = []
    for seed in range(25):
        own = np.random.default_rng(seed)
        views = make_two_views(300, (6, 4), (0.9, 0.6), random_state=seed)
        X, Y = views.X @ own.normal(size=(6, 6)), views.y @ own.normal(size=(4, 4))
        model.fit(X[:100], Y[:100])
        _, low, high = model.translate(X[100:])
        inside.append(((low < Y[100:]) & (Y[100:] < high)).mean())
        _, low, high = model.translate(y=Y[100:])
        inside.append(((low < X[100:]) & (X[100:] < high)).mean())
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_what_translate_refuses(rng):
    X, Y, _, _ = shared(rng)
    model = CCA(2).fit(X, Y)
    for options, match in (
        ({}, "rows of X or of y, got neither"),
        ({"X": X, "y": Y}, "got both"),
        ({"X": X, "confidence": 1.0}, "confidence must be a finite number > 0 and < 1"),
    ):
        with pytest.raises(ValueError, match=match):
            model.translate(**options)
    with pytest.raises(ValueError, match="fitted with confounds: pass those"):
        CCA(2).fit(X, Y, confounds=X[:, :1] + rng.normal(size=(600, 1))).translate(X)
    with pytest.raises(ValueError, match="fitted without confounds"):
        model.translate(X, confounds=X[:, :1])
    few = CCA(2, reg=1.0).fit(X[:10], Y[:10], confounds=rng.normal(size=(10, 2)))
    with pytest.raises(ValueError, match="nothing of a rank of 9 of X and of the confounds"):
        few.translate(X, confounds=rng.normal(size=(600, 2)))
    with pytest.raises(ValueError, match="moments of the fit, which were not kept"):
        CCA(2, reg=1.0).fit(X[:7], Y[:7]).translate(X)
    few = Moments().update(X[:8], Y[:8])
    with pytest.raises(ValueError, match="8 rows leave nothing of a rank of 7 of X"):
        CCA(2, reg=1.0).fit_moments(few).translate(X)
    vector = CCA().fit(X, Y[:, 0]).translate(X)
    assert vector.low.shape == vector.predicted.shape == (600,)


# ---- rows that disagree


@pytest.mark.parametrize(
    "model", [CCA(2), CCA(2, reg=1.0), PLSSVD(2), SparseCCA(2, 0.9)], ids=lambda m: type(m).__name__
)
def test_p_values_are_uniform_where_rows_belong_together(model):
    p = []
    for seed in range(20):
        views = make_two_views(1200, (5, 4), (0.9, 0.6), random_state=seed)
        model.fit(views.X[:1000], views.y[:1000])
        p.append(model.disagreement(views.X[1000:], views.y[1000:]).p_value)
    p = np.concatenate(p)
    for level in (0.01, 0.05, 0.5):
        assert (p < level).mean() == pytest.approx(level, abs=0.25 * level + 0.005)


def test_the_score_is_a_distance_of_variates(rng):
    X, Y, _, _ = shared(rng)
    model = CCA(3).fit(X, Y)
    zx, zy = model.transform_views(X, Y)
    delta = zx - zy
    D = np.cov(delta.T)
    expected = np.einsum("ij,jk,ik->i", delta, np.linalg.inv(D), delta)
    np.testing.assert_allclose(model.disagreement(X, Y).score, expected, rtol=1e-8)
    # far out, but together
    far = np.argmax(np.abs(zx[:, 0]))
    assert model.disagreement(X, Y).p_value[far] > 1e-3


def test_rows_that_are_paired_wrongly_are_found(rng):
    views = make_two_views(1000, (6, 5), (0.98, 0.95, 0.9), random_state=0)
    model = CCA(3).fit(views.X[:500], views.y[:500])
    Y = views.y[500:].copy()
    wrong = np.arange(20)
    Y[wrong] = Y[np.roll(wrong, 1)]
    found = model.disagreement(views.X[500:], Y)
    assert (found.p_value[wrong] < 0.01).mean() > 0.7
    assert (found.p_value[20:] < 0.01).mean() < 0.03
    assert set(found.p_value.argsort()[:8]) < set(wrong)


def test_views_that_are_the_same(rng):
    X = rng.normal(size=(100, 3))
    model = CCA().fit(X, X)
    moved = X.copy()
    moved[4] += 0.1
    found = model.disagreement(X, moved)
    assert found.p_value[4] < 1e-10
    assert found.p_value[:4].min() > 0.01
    few = CCA(3, reg=0.1).fit(X[:4], X[:4]).disagreement(X[:4], X[:4])
    assert np.isfinite(few.p_value).all()
