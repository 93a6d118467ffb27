"""CCA: values against plain references, published figures, invariances, roads of the solver."""

import threading
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_linnerud
from sklearn.linear_model import LinearRegression

from fastcca import CCA, CCACV, Moments
from reference import estimators as ref

pytestmark = pytest.mark.core


def two_views(rng, n=120, p=7, q=5, shared=3, noise=0.7, offset=3.0):
    common = rng.normal(size=(n, shared))
    X = common @ rng.normal(size=(shared, p)) + noise * rng.normal(size=(n, p)) + offset
    Y = common @ rng.normal(size=(shared, q)) + noise * rng.normal(size=(n, q)) - offset
    return X, Y


# ---- values


@pytest.mark.parametrize("solver", ["covariance", "qr", "gram"])
@pytest.mark.parametrize("reg", [0.0, 0.3, (0.01, 2.0)])
@pytest.mark.parametrize(("p", "q"), [(1, 1), (1, 3), (2, 17), (7, 5), (16, 15), (31, 33)])
def test_solution_matches_reference(rng, solver, reg, p, q):
    X, Y = two_views(rng, n=90, p=p, q=q)
    pair = reg if isinstance(reg, tuple) else (reg, reg)
    A, B, d = ref.cca(X, Y, min(p, q), pair)
    cca = CCA(reg=reg, solver=solver).fit(X, Y)
    assert cca.solver_ == solver
    assert cca.n_components_ == min(p, q)
    np.testing.assert_allclose(cca.singular_values_, d, atol=1e-10)
    well_apart = np.diff(np.append(d, -1.0)) < -1e-4
    well_apart[1:] &= well_apart[:-1]
    np.testing.assert_allclose(cca.x_weights_[:, well_apart], A[:, well_apart], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(cca.y_weights_[:, well_apart], B[:, well_apart], rtol=1e-6, atol=1e-8)
    zx, zy = cca.transform_views(X, Y)
    np.testing.assert_allclose(cca.canonical_correlations_, ref.correlations(zx, zy), atol=1e-9)
    assert cca.total_correlation_ == pytest.approx(d.sum(), abs=1e-9)
    if reg == 0:
        np.testing.assert_array_equal(cca.canonical_correlations_, cca.singular_values_)


@pytest.mark.parametrize("solver", ["covariance", "qr", "gram"])
@pytest.mark.parametrize("reg", [0.0, 0.2])
def test_loadings_and_regressions(rng, solver, reg):
    X, Y = two_views(rng)
    X_new, Y_new = two_views(rng, n=11)
    cca = CCA(n_components=3, reg=reg, solver=solver).fit(X, Y)
    zx, zy = cca.transform_views(X, Y)
    np.testing.assert_allclose(cca.x_loadings_, ref.cross_correlations(X, zx), atol=1e-9)
    np.testing.assert_allclose(cca.y_loadings_, ref.cross_correlations(Y, zy), atol=1e-9)
    np.testing.assert_allclose(cca.x_cross_loadings_, ref.cross_correlations(X, zy), atol=1e-9)
    np.testing.assert_allclose(cca.y_cross_loadings_, ref.cross_correlations(Y, zx), atol=1e-9)
    z_new = cca.transform(X_new)
    np.testing.assert_allclose(cca.predict(X_new), ref.least_squares(zx, Y, z_new), atol=1e-9)
    np.testing.assert_allclose(
        cca.predict_x(Y_new), ref.least_squares(zy, X, cca.transform_y(Y_new)), atol=1e-9
    )
    np.testing.assert_allclose(cca.inverse_transform(z_new), ref.least_squares(zx, X, z_new), atol=1e-9)
    assert cca.score(X_new, Y_new) == pytest.approx(
        ref.correlations(z_new, cca.transform_y(Y_new)).mean(), abs=1e-12
    )


def test_full_model_is_ordinary_least_squares(rng):
    X, Y = two_views(rng, p=4, q=6)
    X_new = two_views(rng, n=9, p=4, q=6)[0]
    cca = CCA().fit(X, Y)
    np.testing.assert_allclose(cca.predict(X_new), LinearRegression().fit(X, Y).predict(X_new), atol=1e-10)
    np.testing.assert_allclose(cca.inverse_transform(cca.transform(X_new)), X_new, atol=1e-9)


def test_linnerud_as_published():
    # Physiological and exercise measurements of 20 men, the textbook example of SAS's CANCORR procedure.
    exercise, physiological = load_linnerud(return_X_y=True)
    cca = CCA().fit(physiological, exercise)
    np.testing.assert_allclose(cca.canonical_correlations_, [0.795608, 0.200556, 0.072570], atol=5e-7)
    np.testing.assert_allclose(cca.x_weights_[:, 0], [-0.031404688, 0.4932416756, -0.008199315], rtol=1e-7)
    np.testing.assert_allclose(cca.y_weights_[:, 0], [-0.066113986, -0.016846231, 0.0139715689], rtol=1e-7)
    np.testing.assert_allclose(cca.x_loadings_[:, 0], [0.6206, 0.9254, -0.3328], atol=5e-5)
    np.testing.assert_allclose(cca.y_loadings_[:, 0], [-0.7276, -0.8177, -0.1622], atol=5e-5)
    np.testing.assert_allclose(cca.x_cross_loadings_[:, 0], [0.4938, 0.7363, -0.2648], atol=5e-5)
    np.testing.assert_allclose(cca.y_cross_loadings_[:, 0], [-0.5789, -0.6506, -0.1290], atol=5e-5)
    standardised = CCA(scale=True).fit(physiological, exercise)
    np.testing.assert_allclose(
        (standardised.x_weights_[:, 0] * standardised.x_scale_), [-0.7754, 1.5793, -0.0591], atol=5e-5
    )


@pytest.mark.parametrize("solver", ["covariance", "qr", "gram"])
def test_scale_is_fit_to_standardised_columns(rng, solver):
    X, Y = two_views(rng)
    X *= np.geomspace(1e-3, 1e3, X.shape[1])
    X[:, 2] = 4.0
    sx, sy = X.std(axis=0, ddof=1), Y.std(axis=0, ddof=1)
    sx[2] = 1.0
    scaled = CCA(reg=0.1, scale=True, solver=solver).fit(X, Y)
    plain = CCA(reg=0.1, solver=solver).fit(X / sx, Y / sy)
    np.testing.assert_allclose(scaled.singular_values_, plain.singular_values_, atol=1e-12)
    np.testing.assert_allclose(scaled.canonical_correlations_, plain.canonical_correlations_, atol=1e-10)
    signs = np.sign((scaled.transform(X) * plain.transform(X / sx)).sum(axis=0))
    np.testing.assert_allclose(scaled.transform(X) * signs, plain.transform(X / sx), atol=1e-9)
    np.testing.assert_allclose(scaled.x_scale_, sx, rtol=1e-12)
    largest = np.abs(scaled.x_weights_).argmax(axis=0)
    assert (scaled.x_weights_[largest, np.arange(scaled.n_components_)] > 0).all()


@pytest.mark.parametrize("solver", ["covariance", "qr", "gram"])
def test_weights_count_as_repetitions(rng, solver):
    X, Y = two_views(rng, n=60)
    w = rng.integers(0, 4, size=60).astype(float)
    weighted = CCA(reg=0.05, solver=solver).fit(X, Y, sample_weight=w)
    repeated = CCA(reg=0.05, solver=solver).fit(
        np.repeat(X, w.astype(int), axis=0), np.repeat(Y, w.astype(int), axis=0)
    )
    for name in ("x_weights_", "y_weights_", "singular_values_", "canonical_correlations_", "x_loadings_"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name), atol=1e-9, err_msg=name)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-9)
    repeats = np.repeat(X, w.astype(int), axis=0), np.repeat(Y, w.astype(int), axis=0)
    assert weighted.score(X, Y, sample_weight=w) == pytest.approx(weighted.score(*repeats), abs=1e-12)


# ---- moments: parts and the whole


def assert_same_fit(a, b, atol=1e-12):
    np.testing.assert_allclose(a.singular_values_, b.singular_values_, atol=atol)
    np.testing.assert_allclose(a.x_mean_, b.x_mean_, atol=atol)
    for name in ("x_weights_", "y_weights_"):
        scale = np.abs(getattr(b, name)).max()
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=100 * atol * scale)


@pytest.mark.parametrize("cuts", [[40], [2, 3, 7, 8, 100], [60, 61]])
def test_partial_fit_and_merged_moments_equal_one_fit(rng, cuts):
    X, Y = two_views(rng)
    whole = CCA(reg=0.1).fit(X, Y)
    parts = [part for part in zip(np.split(X, cuts), np.split(Y, cuts), strict=True) if len(part[0])]
    grown = CCA(reg=0.1)
    for part in parts:
        grown.partial_fit(*part)
    assert_same_fit(grown, whole)
    merged = sum((Moments().update(*part) for part in reversed(parts)), Moments())
    assert_same_fit(CCA(reg=0.1).fit_moments(merged), whole)
    after_fit = CCA(reg=0.1).fit(*parts[0]) if len(parts[0][0]) >= 7 else grown
    if after_fit is not grown:
        for part in parts[1:]:
            after_fit.partial_fit(*part)
        assert_same_fit(after_fit, whole)


def test_fit_moments_leaves_the_moments_to_their_owner(rng):
    X, Y = two_views(rng)
    moments = Moments().update(X, Y)
    cca = CCA().fit_moments(moments)
    before = cca.singular_values_.copy()
    moments.update(X[:50], -Y[:50])
    cca.partial_fit(X[:2], Y[:2])
    assert moments.n == 170
    np.testing.assert_allclose(
        cca.singular_values_,
        CCA().fit(np.vstack([X, X[:2]]), np.vstack([Y, Y[:2]])).singular_values_,
        atol=1e-12,
    )
    assert not np.allclose(before, cca.singular_values_, atol=1e-12)


def test_rows_added_may_weigh_little(rng):
    X, Y = two_views(rng)
    weights = rng.uniform(0.1, 1.0, len(X))
    cca = CCA().partial_fit(X[:40], Y[:40], sample_weight=weights[:40])
    for i in range(40, len(X)):
        cca.partial_fit(X[i : i + 1], Y[i : i + 1], sample_weight=weights[i : i + 1])
    assert_same_fit(cca, CCA().fit(X, Y, sample_weight=weights))


@pytest.mark.parametrize("solver", ["covariance", "qr", "gram"])
@pytest.mark.parametrize("n", [25, 90])
def test_rows_without_weight_may_hold_anything(rng, solver, n):
    X, Y = rng.normal(size=(n, 30)), rng.normal(size=(n, 4))
    weights = np.ones(n)
    weights[::9] = 0
    kept = weights > 0
    expected = CCA(2, reg=0.5, solver=solver).fit(X[kept], Y[kept])
    X[~kept] = 1e12
    got = CCA(2, reg=0.5, solver=solver).fit(X, Y, sample_weight=weights)
    for name in ("singular_values_", "x_weights_", "y_weights_", "x_mean_", "x_loadings_"):
        np.testing.assert_allclose(
            getattr(got, name), getattr(expected, name), rtol=0, atol=1e-9, err_msg=name
        )
    X[~kept] = 1e18
    assert got.score(X, Y, sample_weight=weights) == pytest.approx(expected.score(X[kept], Y[kept]), rel=1e-9)


def test_score_does_not_depend_on_the_sum_of_the_weights(rng):
    X, Y = two_views(rng)
    cca, weights = CCA().fit(X, Y), rng.integers(0, 4, len(X))
    expected = cca.score(np.repeat(X, weights, axis=0), np.repeat(Y, weights, axis=0))
    assert cca.score(X, Y, sample_weight=weights / weights.sum()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("solver", ["covariance", "qr", "gram"])
def test_of_weights_of_one_magnitude_the_first_is_positive(rng, solver, scale):
    for _ in range(8):  # rounding makes now the one, now the other the larger
        x = rng.normal(size=(203, 1))
        X = np.hstack([x, -x, rng.normal(size=(203, 3))])
        Y = np.hstack([x + rng.normal(size=(203, 1)), rng.normal(size=(203, 2))])
        weights = CCA(1, reg=0.1, scale=scale, solver=solver).fit(X, Y).x_weights_[:, 0]
        assert weights[0] > 0
        assert weights[1] == pytest.approx(-weights[0], rel=1e-10)


def test_failed_partial_fit_changes_nothing(rng):
    X, Y = two_views(rng)
    cca = CCA().partial_fit(X[:60], Y[:60])
    bad = X[60:].copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="X contains NaN"):
        cca.partial_fit(bad, Y[60:])
    cca.partial_fit(X[60:], Y[60:])
    assert_same_fit(cca, CCA().fit(X, Y))


def test_refit_starts_anew(rng):
    X, Y = two_views(rng)
    cca = CCA().fit(X[:50], Y[:50]).fit(X, Y)
    assert cca.moments_.n == len(X)
    assert_same_fit(cca, CCA().fit(X, Y), atol=0)


# ---- the roads of the solver


def ill_conditioned(rng, condition, rho=0.998, n=2000, p=12):
    """Views whose first canonical correlation is ``rho``, along the direction of least variance of X."""
    Z = rng.normal(size=(n, 2 * p))
    Z, _ = np.linalg.qr(Z - Z.mean(axis=0))
    Zx, E = Z[:, :p], Z[:, p:]
    rhos = np.r_[np.linspace(0.05, 0.3, p - 1), rho]
    Y = Zx * rhos + E * np.sqrt(1 - rhos**2)
    rotation, _ = np.linalg.qr(rng.normal(size=(p, p)))
    return Zx * np.geomspace(1.0, 1.0 / condition, p) @ rotation.T, Y


def test_auto_keeps_accuracy_at_condition_6e8(rng):
    X, Y = ill_conditioned(rng, 6e8)
    cca = CCA(n_components=1).fit(X, Y)
    assert cca.solver_ == "qr"
    assert cca.canonical_correlations_[0] == pytest.approx(0.998, abs=1e-6)
    zx, zy = cca.transform_views(X, Y)
    assert ref.correlations(zx, zy)[0] == pytest.approx(0.998, abs=1e-6)


def test_auto_stays_on_covariances_where_they_do(rng):
    X, Y = ill_conditioned(rng, 1e4)
    cca = CCA(n_components=1).fit(X, Y)
    assert cca.solver_ == "covariance"
    assert cca.canonical_correlations_[0] == pytest.approx(0.998, abs=1e-7)
    # a ridge cures the condition
    X, Y = ill_conditioned(rng, 6e8)
    cured = CCA(n_components=1, reg=1e-9).fit(X, Y)
    assert cured.solver_ == "covariance"


def test_moments_alone_warn_where_the_data_would_be_needed(rng):
    X, Y = ill_conditioned(rng, 6e8)
    with pytest.warns(UserWarning, match=r"X is ill-conditioned.*solver='auto' or 'qr'"):
        CCA(n_components=1).fit_moments(Moments().update(X, Y))
    with pytest.warns(UserWarning, match="X is ill-conditioned"):
        CCA(n_components=1, solver="covariance").fit(X, Y)


@pytest.mark.parametrize(
    ("n", "p", "q", "solver"), [(20, 30, 4, "gram"), (20, 4, 30, "gram"), (20, 20, 4, "qr")]
)
def test_more_features_than_rows(rng, n, p, q, solver):
    X, Y = two_views(rng, n=n, p=p, q=q)
    ranks = f"{min(p, n - 1)} \\(X\\) and {min(q, n - 1)} \\(y\\)"
    with pytest.warns(
        UserWarning, match=f"n - 1 = 19 is too few for ranks of {ranks}: 4 of the correlations"
    ):
        cca = CCA().fit(X, Y)
    assert cca.solver_ == solver
    assert cca.n_components_ == min(p, q)
    # whatever y is, X of full row rank explains it
    np.testing.assert_allclose(cca.canonical_correlations_, 1.0, atol=1e-9)
    ridge = CCA(reg=0.5).fit(X, Y)
    assert ridge.solver_ == ("gram" if solver == "gram" else "covariance")
    A, B, d = ref.cca(X, Y, 4, (0.5, 0.5))
    np.testing.assert_allclose(ridge.singular_values_, d, atol=1e-9)
    np.testing.assert_allclose(np.abs(ridge.x_weights_[:, 0]), np.abs(A[:, 0]), atol=1e-8)
    np.testing.assert_allclose(np.abs(ridge.y_weights_[:, 0]), np.abs(B[:, 0]), atol=1e-8)
    zx, zy = ridge.transform_views(X, Y)
    np.testing.assert_allclose(ridge.canonical_correlations_, ref.correlations(zx, zy), atol=1e-9)
    np.testing.assert_allclose(ridge.x_loadings_, ref.cross_correlations(X, zx), atol=1e-9)


def test_duplicate_and_constant_columns(rng):
    X, Y = two_views(rng)
    plain = CCA().fit(X, Y)
    doubled = CCA().fit(np.column_stack([X, X[:, 0], X[:, 1] - 2 * X[:, 2]]), Y)
    assert doubled.solver_ == "qr"
    np.testing.assert_allclose(doubled.singular_values_, plain.singular_values_, atol=1e-10)
    np.testing.assert_allclose(
        np.abs(doubled.transform(np.column_stack([X, X[:, 0], X[:, 1] - 2 * X[:, 2]]))),
        np.abs(plain.transform(X)),
        atol=1e-8,
    )
    constants = np.column_stack([np.full(len(X), 0.1), X, np.zeros(len(X)), np.full(len(X), 1e8)])
    with_constants = CCA().fit(constants, Y)
    assert with_constants.solver_ == "covariance"
    np.testing.assert_allclose(with_constants.singular_values_, plain.singular_values_, atol=1e-12)
    np.testing.assert_array_equal(with_constants.x_weights_[[0, 8, 9]], 0.0)
    np.testing.assert_array_equal(with_constants.x_loadings_[[0, 8, 9]], 0.0)
    np.testing.assert_allclose(with_constants.x_weights_[1:8], plain.x_weights_, atol=1e-10)


def test_a_ridge_beyond_all_variance(rng):
    X, Y = two_views(rng)
    correlations = [CCA(reg=reg).fit(X, Y).canonical_correlations_ for reg in (1e100, 1e200)]
    np.testing.assert_allclose(*correlations, atol=1e-10)


@pytest.mark.parametrize("solver", ["covariance", "qr"])
def test_a_score_without_variance_correlates_with_nothing(rng, solver):
    # X varies along two directions of its four columns, one of which y knows nothing about: the second pair
    # of directions has singular value 0, and nothing but the ridge says where it lies
    Z, _ = np.linalg.qr(rng.normal(size=(40, 5)) - rng.normal(size=(40, 5)).mean(axis=0))
    Z, _ = np.linalg.qr(Z - Z.mean(axis=0))
    X = 6 * Z[:, [0, 0, 0, 1]]
    Y = 6 * (Z[:, [0, 2]] + Z[:, [3, 4]])
    cca = CCA(reg=0.1, solver=solver).fit(X, Y)
    np.testing.assert_allclose(cca.singular_values_, ref.cca(X, Y, 2, (0.1, 0.1))[2], atol=1e-10)
    assert abs(cca.singular_values_[1]) < 1e-10
    np.testing.assert_allclose(cca.canonical_correlations_, [np.sqrt(0.5), 0.0], atol=1e-6)
    zx = cca.transform(X)
    np.testing.assert_allclose(cca.predict(X), ref.least_squares(zx[:, :1], Y, zx[:, :1]), atol=1e-6)
    assert np.isfinite(cca.x_loadings_).all()


def test_rank_cuts_the_number_of_components(rng):
    X, Y = two_views(rng, p=6, q=5)
    X = X[:, :2] @ rng.normal(size=(2, 6))
    assert CCA().fit(X, Y).n_components_ == 2
    with pytest.warns(UserWarning, match=r"n_components=4 is reduced to 2, .*\(X 2, y 5\)"):
        cca = CCA(n_components=4).fit(X, Y)
    assert (cca.x_rank_, cca.y_rank_) == (2, 5)
    assert cca.transform(X).shape == (len(X), 2)
    assert cca.get_feature_names_out().tolist() == ["cca0", "cca1"]
    np.testing.assert_allclose(cca.singular_values_, ref.cca(X, Y, 2)[2], atol=1e-9)


def test_large_mean_costs_no_digits(rng):
    X, Y = two_views(rng, offset=0.0)
    far = CCA().fit(X + 2.0**26, Y - 2.0**26)  # shifts that the data carry to 2^-26
    near = CCA().fit((X + 2.0**26) - 2.0**26, (Y - 2.0**26) + 2.0**26)
    np.testing.assert_allclose(far.singular_values_, near.singular_values_, atol=1e-12)
    np.testing.assert_allclose(far.transform(X + 2.0**26), near.transform((X + 2.0**26) - 2.0**26), atol=1e-7)


# ---- dtypes, layout, memory, threads


def test_each_view_is_judged_by_its_own_precision(rng):
    X, Y = two_views(rng, offset=0.0)
    far = X + 2.0**26  # to float32 a constant
    for x, y in ((far, Y.astype(np.float32)), (Y.astype(np.float32), far)):
        expected = CCA().fit(x - x.mean(axis=0), y - y.mean(axis=0)).singular_values_
        np.testing.assert_allclose(CCA().fit(x, y).singular_values_, expected, atol=1e-6)
        moments = Moments().update(x, y)
        fitted = CCA().fit_moments(moments)
        assert (fitted.x_weights_.dtype, fitted.y_weights_.dtype) == (x.dtype, y.dtype)
        np.testing.assert_allclose(fitted.singular_values_, expected, atol=1e-6)
        searched = CCACV(regs=[0.0], cv=3).fit(x, y)
        np.testing.assert_allclose(searched.best_estimator_.singular_values_, expected, atol=1e-6)


def test_predictions_keep_the_digits_of_float64_targets(rng):
    X, Y = two_views(rng, offset=0.0)
    x = X.astype(np.float32)
    near, far = CCA().fit(x, Y), CCA().fit(x, Y + 1e6)
    np.testing.assert_allclose(far.predict(x) - 1e6, near.predict(x), atol=1e-5)
    assert far.predict(x).dtype == np.float64


STATISTICS = ("_score_covariance", "_x_variance", "_y_variance")  # of scores and columns, in float64


@pytest.mark.parametrize("solver", ["covariance", "qr", "gram"])
def test_float32_stays(rng, solver):
    X, Y = two_views(rng)
    exact = CCA(reg=0.1, solver=solver).fit(X, Y)
    cca = CCA(reg=0.1, solver=solver).fit(X.astype(np.float32), Y.astype(np.float32))
    arrays = {name: value for name, value in vars(cca).items() if isinstance(value, np.ndarray)}
    assert len(arrays) >= 12
    for name, value in arrays.items():  # float32 would round a mean that is large beside the spread
        assert value.dtype == (np.float64 if name in ("x_mean_", "y_mean_", *STATISTICS) else np.float32), (
            name
        )
    np.testing.assert_allclose(cca.singular_values_, exact.singular_values_, atol=2e-6)
    for out in (
        *cca.transform_views(X.astype(np.float32), Y.astype(np.float32)),
        cca.predict(X.astype(np.float32)),
    ):
        assert out.dtype == np.float32
    assert cca.transform(X).dtype == np.float64
    mixed = CCA(reg=0.1).fit(X.astype(np.float32), (Y > 0).astype(int))
    assert (mixed.x_weights_.dtype, mixed.y_weights_.dtype) == (np.float32, np.float64)
    half = CCA(reg=0.1).fit(X.astype(np.float16), Y.astype(np.float16))
    assert half.x_weights_.dtype == np.float32


def test_integers_booleans_and_numbers_in_objects(rng):
    X = rng.integers(-5, 6, size=(80, 3))
    Y = X[:, :2] + rng.integers(-5, 6, size=(80, 2))
    expected = CCA().fit(X.astype(float), Y.astype(float)).singular_values_
    for variant in (X, X.astype(np.int8), X.astype(object), X.tolist()):
        np.testing.assert_allclose(CCA().fit(variant, Y).singular_values_, expected, atol=1e-14)
    np.testing.assert_allclose(
        CCA().fit(X > 0, Y).singular_values_, CCA().fit((X > 0).astype(float), Y).singular_values_, atol=1e-14
    )


def test_any_layout_gives_the_same(rng):
    X, Y = two_views(rng)
    expected = CCA().fit(X, Y)
    padded = np.zeros((2 * len(X), 2 * X.shape[1]))
    padded[::2, ::2] = X
    readonly = X.copy()
    readonly.flags.writeable = False
    for variant in (np.asfortranarray(X), padded[::2, ::2], readonly, X[::-1][::-1], X.astype(">f8")):
        got = CCA().fit(variant, Y)
        np.testing.assert_allclose(got.x_weights_, expected.x_weights_, atol=1e-12)
        np.testing.assert_allclose(got.transform(variant), expected.transform(X), atol=1e-12)


def test_vector_y(rng):
    X, Y = two_views(rng, q=1)
    column, vector = CCA().fit(X, Y), CCA().fit(X, Y[:, 0])
    np.testing.assert_array_equal(vector.x_weights_, column.x_weights_)
    assert column.predict(X).shape == (len(X), 1)
    np.testing.assert_array_equal(vector.predict(X), column.predict(X)[:, 0])
    np.testing.assert_array_equal(vector.transform_y(Y[:, 0]), column.transform_y(Y))
    assert vector.score(X, Y[:, 0]) == column.score(X, Y)
    # the one canonical correlation is the multiple correlation
    residual = Y[:, 0] - LinearRegression().fit(X, Y[:, 0]).predict(X)
    r2 = 1 - (residual**2).sum() / ((Y - Y.mean()) ** 2).sum()
    assert vector.canonical_correlations_[0] ** 2 == pytest.approx(r2, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", ["covariance", "qr", "gram"])
def test_threads_change_no_bit(rng, dtype, solver):
    X, Y = two_views(rng, n=700, p=67, q=41)
    X, Y = X.astype(dtype), Y.astype(dtype)
    fits = [CCA(n_components=9, reg=1e-3, solver=solver, n_threads=t).fit(X, Y) for t in (1, 2, 7)]
    for other in fits[1:]:
        for name in (
            "x_weights_",
            "y_weights_",
            "singular_values_",
            "x_loadings_",
            "canonical_correlations_",
        ):
            np.testing.assert_array_equal(getattr(other, name), getattr(fits[0], name))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_mapped_data_are_not_copied(rng, tmp_path):
    n, d = 50_000, 256
    views = []
    for name in "xy":
        data = np.memmap(tmp_path / name, dtype=np.float32, mode="w+", shape=(n, d))
        data[:] = rng.normal(size=(n, d))
        data.flush()
        views.append(np.memmap(tmp_path / name, dtype=np.float32, mode="r", shape=(n, d)))
    del data

    def anonymous():
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

    CCA(n_components=2).fit(views[0][:1000], views[1][:1000])
    before, peak, done = anonymous(), [0], threading.Event()

    def watch():
        while not done.wait(0.002):
            peak[0] = max(peak[0], anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        cca = CCA(n_components=2).fit(*views)
        cca.score(*views)
    finally:
        done.set()
        watcher.join()
    assert cca.solver_ == "covariance"
    assert peak[0] - before < n * d * 4  # less than one view, although two were read three times


# ---- invariants


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(25, 60), p=st.integers(1, 9), q=st.integers(1, 9))
def test_invariances(seed, n, p, q):
    rng = np.random.default_rng(seed)
    X, Y = two_views(rng, n=n, p=p, q=q)
    fit = CCA(reg=0.1).fit(X, Y)
    moved = CCA(reg=0.1).fit(X + rng.normal(size=p), Y - 7.0)
    np.testing.assert_allclose(moved.singular_values_, fit.singular_values_, atol=1e-10)
    swapped = CCA(reg=0.1).fit(Y, X)
    np.testing.assert_allclose(swapped.singular_values_, fit.singular_values_, atol=1e-10)
    rotation, _ = np.linalg.qr(rng.normal(size=(p, p)))
    rotated = CCA(reg=0.1).fit(X @ rotation, Y)
    np.testing.assert_allclose(rotated.singular_values_, fit.singular_values_, atol=1e-10)
    np.testing.assert_allclose(rotated.canonical_correlations_, fit.canonical_correlations_, atol=1e-8)
    assert (np.diff(fit.singular_values_) <= 1e-12).all()
    assert (fit.singular_values_ >= 0).all()
    assert (fit.singular_values_ <= 1).all()
    np.testing.assert_allclose(fit.fit_transform(X, Y), fit.transform(X), atol=1e-12)
    # without a ridge any invertible map of a view changes nothing
    mixing = rng.normal(size=(q, q)) + 3 * np.eye(q)
    if np.linalg.cond(mixing) < 1e3:
        plain, mapped = CCA().fit(X, Y), CCA().fit(X, Y @ mixing)
        np.testing.assert_allclose(mapped.singular_values_, plain.singular_values_, atol=1e-8)


def test_parameters_are_checked_in_fit_only(rng):
    X, Y = two_views(rng)
    cca = CCA(n_components=-3, reg="none", solver="magic")
    assert cca.set_params(solver="auto", reg=0.0, n_components=2).fit(X, Y).n_components_ == 2


def test_no_warning_on_good_data(rng):
    X, Y = two_views(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CCA(n_components=3).fit(X, Y)


def test_the_names_of_scikit_learn(rng):
    X = rng.normal(size=(60, 4)) + np.array([5.0, 0, 0, -3])
    Y = X[:, :3] @ rng.normal(size=(3, 3)) + rng.normal(size=(60, 3)) + 7.0
    cca = CCA(2, reg=0.3).fit(X, Y)
    assert cca.coef_.shape == (3, 4)
    predicted = (X - cca.x_mean_) @ cca.coef_.T + cca.intercept_
    np.testing.assert_allclose(cca.predict(X), predicted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(cca.transform(X), (X - cca.x_mean_) @ cca.x_rotations_, atol=1e-12)
    np.testing.assert_allclose(cca.transform_y(Y), (Y - cca.y_mean_) @ cca.y_rotations_, atol=1e-12)
    full = CCA().fit(X, Y)
    slopes = np.linalg.lstsq(np.c_[X, np.ones(60)], Y, rcond=None)[0]
    np.testing.assert_allclose(full.coef_, slopes[:4].T, atol=1e-10)


@pytest.mark.parametrize("model", [CCA(2), CCA(), CCA(2, solver="qr"), CCA(2, reg=0.1, scale=True)])
def test_both_views_come_back_from_their_scores(model, rng):
    X = rng.normal(size=(40, 5))
    Y = X[:, :3] + rng.normal(size=(40, 3)) + np.array([1.0, 2, 3])
    zx, zy = model.fit(X, Y).transform_views(X, Y)
    for z, data, back in ((zx, X, model.inverse_transform(zx)), (zy, Y, model.inverse_transform_y(zy))):
        centred = data - data.mean(axis=0)
        expected = z @ np.linalg.lstsq(z, centred, rcond=None)[0] + data.mean(axis=0)
        np.testing.assert_allclose(back, expected, atol=1e-10)
    with pytest.raises(ValueError, match="Z has 7 columns, but there are"):
        model.inverse_transform_y(np.ones((2, 7)))
    flat = CCA().fit(X, Y[:, 0])
    np.testing.assert_allclose(flat.inverse_transform_y(flat.transform_y(Y[:, 0])), Y[:, 0], atol=1e-12)


def test_frames_of_scores_of_both_views(rng):
    X = pd.DataFrame(rng.normal(size=(20, 3)), index=[f"row {i}" for i in range(20)])
    Y = pd.DataFrame(X.to_numpy()[:, :2] + rng.normal(size=(20, 2)), index=X.index)
    cca = CCA(2).set_output(transform="pandas").fit(X, Y)
    scores = cca.transform_y(Y)
    assert list(scores.columns) == ["cca0", "cca1"] == list(cca.transform(X).columns)
    assert list(scores.index) == list(Y.index)
    np.testing.assert_allclose(scores, cca.transform_views(X, Y)[1])
    assert isinstance(cca.predict_x(Y), np.ndarray)
