"""Partial least squares against scikit-learn at its tightest tolerance, and against loops of fits."""

import numpy as np
import pytest
from sklearn import cross_decomposition as theirs
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut, ShuffleSplit

import fastcca
from fastcca import PLSSVD, Moments, NumericalError, PLSCanonical, PLSRegression, PLSRegressionCV

pytestmark = pytest.mark.core

TIGHT = {"tol": 1e-30, "max_iter": 10**6}
COMMON = ("x_weights_", "y_weights_", "x_loadings_", "y_loadings_", "x_rotations_", "y_rotations_", "coef_")


def two_views(rng, n=80, p=9, q=5):
    t = rng.normal(size=(n, 3))
    X = t @ rng.normal(size=(3, p)) + rng.normal(size=(n, p)) + 3.0
    Y = t @ rng.normal(size=(3, q)) + rng.normal(size=(n, q)) - 2.0
    return X * rng.uniform(0.1, 10, size=p), Y * rng.uniform(0.1, 10, size=q)


@pytest.fixture
def data(rng):
    return two_views(rng)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("name", ["PLSRegression", "PLSCanonical"])
def test_names_signs_and_values_are_scikit_learns(data, name, k, scale):
    X, Y = data
    ours = {"PLSRegression": PLSRegression, "PLSCanonical": PLSCanonical}[name](k, scale).fit(X, Y)
    peer = getattr(theirs, name)(k, scale=scale, **TIGHT).fit(X, Y)
    for attribute in COMMON:
        expected = getattr(peer, attribute)
        atol = 1e-8 * np.abs(expected).max()
        np.testing.assert_allclose(getattr(ours, attribute), expected, atol=atol, err_msg=attribute)
    np.testing.assert_allclose(ours.intercept_, peer.intercept_, atol=1e-10)
    np.testing.assert_allclose(ours.predict(X), peer.predict(X), atol=1e-8 * np.abs(Y).max())
    zx, zy = peer.transform(X, Y)
    np.testing.assert_allclose(ours.transform(X), zx, atol=1e-8 * np.abs(zx).max())
    np.testing.assert_allclose(ours.transform_y(Y), zy, atol=1e-8 * np.abs(zy).max())
    np.testing.assert_allclose(
        ours.inverse_transform(zx), peer.inverse_transform(zx), atol=1e-8 * np.abs(X).max()
    )
    np.testing.assert_allclose(
        ours.inverse_transform_y(zy), peer.inverse_transform(zx, zy)[1], atol=1e-8 * np.abs(Y).max()
    )
    assert ours.score(X, Y) == pytest.approx(peer.score(X, Y), abs=1e-9)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(zx.T, zy.T, strict=True)]
    np.testing.assert_allclose(ours.canonical_correlations_, r, atol=1e-8)


def test_many_components_and_one_target(rng):
    X, Y = two_views(rng, n=60, p=30, q=4)
    for y in (Y, Y[:, 0]):
        ours = PLSRegression(25).fit(X, y)
        peer = theirs.PLSRegression(25, **TIGHT).fit(X, y)
        np.testing.assert_allclose(ours.predict(X), peer.predict(X), atol=1e-8 * np.abs(y).max())
        assert ours.predict(X).shape == y.shape
    # with every component: least squares
    design = np.column_stack([np.ones(60), X])
    expected = design @ np.linalg.lstsq(design, Y, rcond=None)[0]
    np.testing.assert_allclose(PLSRegression(30).fit(X, Y).predict(X), expected, atol=1e-7)


@pytest.mark.parametrize("scale", [True, False])
def test_pls_svd(data, scale):
    X, Y = data
    ours = PLSSVD(3, scale).fit(X, Y)
    peer = theirs.PLSSVD(3, scale=scale).fit(X, Y)
    zx, zy = peer.transform(X, Y)
    np.testing.assert_allclose(ours.transform(X), zx, atol=1e-9 * np.abs(zx).max())
    np.testing.assert_allclose(ours.transform_y(Y), zy, atol=1e-9 * np.abs(zy).max())
    np.testing.assert_allclose(ours.x_weights_, peer.x_weights_, atol=1e-10)
    np.testing.assert_allclose(ours.y_weights_, peer.y_weights_, atol=1e-10)
    covariances = [np.cov(a, b)[0, 1] for a, b in zip(zx.T, zy.T, strict=True)]
    np.testing.assert_allclose(ours.singular_values_, covariances, rtol=1e-9)
    assert not hasattr(ours, "coef_")
    design = np.column_stack([np.ones(len(X)), zx])
    expected = design @ np.linalg.lstsq(design, Y, rcond=None)[0]
    np.testing.assert_allclose(ours.predict(X), expected, atol=1e-8 * np.abs(Y).max())


@pytest.mark.parametrize("kind", [PLSRegression, PLSCanonical, PLSSVD])
def test_streams_weights_and_threads(data, rng, kind):
    X, Y = data
    whole = kind(3).fit(X, Y)
    grown = kind(3).partial_fit(X[:30], Y[:30]).partial_fit(X[30:], Y[30:])
    moments = Moments().update(X[:50], Y[:50]) + Moments().update(X[50:], Y[50:])
    for other in (grown, kind(3).fit_moments(moments)):
        np.testing.assert_allclose(other.x_rotations_, whole.x_rotations_, atol=1e-11)
        np.testing.assert_allclose(other.predict(X), whole.predict(X), atol=1e-10 * np.abs(Y).max())
    for n_threads in (1, 2, 7):
        again = kind(3, n_threads=n_threads).fit(X, Y)
        np.testing.assert_array_equal(again.x_rotations_, whole.x_rotations_)
    w = rng.integers(0, 4, len(X))
    rows = np.repeat(np.arange(len(X)), w)
    weighted, repeated = kind(3).fit(X, Y, sample_weight=w), kind(3).fit(X[rows], Y[rows])
    np.testing.assert_allclose(weighted.x_rotations_, repeated.x_rotations_, atol=1e-10)
    assert weighted.n_samples_ == w.sum()
    single = kind(3).fit(X.astype(np.float32), Y.astype(np.float32))
    assert single.predict(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(single.predict(X), whole.predict(X), atol=2e-4 * np.abs(Y).max())


@pytest.mark.parametrize("kind", [PLSRegression, PLSCanonical, PLSSVD, PLSRegressionCV])
def test_files(data, kind, tmp_path):
    X, Y = data
    model = kind().fit(X, Y[:, :3])
    model.save(tmp_path / "m.safetensors")
    loaded = fastcca.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_array_equal(loaded.transform_y(Y[:, :3]), model.transform_y(Y[:, :3]))
    assert loaded.get_params() == model.get_params()


def test_constant_columns_and_ranks(data):
    X, Y = data
    constant = np.column_stack([X, np.full(len(X), 7.0)])
    for kind in (PLSRegression, PLSCanonical, PLSSVD):
        model = kind(2).fit(constant, Y)
        assert (model.x_rotations_[-1] == 0).all()
        np.testing.assert_allclose(model.predict(constant), kind(2).fit(X, Y).predict(X), atol=1e-8)
    low = X[:, :2] @ np.ones((2, 6)) * np.arange(1, 7) + X[:, :1]
    with pytest.warns(UserWarning, match="n_components=5 is reduced to 2"):
        model = PLSRegression(5).fit(low, Y)
    design = np.column_stack([np.ones(len(X)), X[:, :2]])
    expected = design @ np.linalg.lstsq(design, Y, rcond=None)[0]
    np.testing.assert_allclose(model.predict(low), expected, atol=1e-8 * np.abs(Y).max())


def test_bad_input(data):
    X, Y = data
    for kind in (PLSRegression, PLSCanonical, PLSSVD, PLSRegressionCV):
        with pytest.raises(NumericalError, match="y has rank 0: every one of its columns is constant"):
            kind().fit(X, np.ones((len(X), 2)))
        with pytest.raises(NumericalError, match="X has rank 0"):
            kind().fit(np.ones_like(X), Y)
        with pytest.raises(ValueError, match="scale must be True or False"):
            kind(scale=2).fit(X, Y)
        with pytest.raises(ValueError, match="NaN"):
            kind().fit(np.where(X[3, 1] == X, np.nan, X), Y)
    with pytest.raises(ValueError, match="n_components=10 is more than 9: X has 9 and y has 5 features"):
        PLSRegression(10).fit(X, Y)
    for kind in (PLSCanonical, PLSSVD):
        with pytest.raises(ValueError, match="n_components=6 is more than 5"):
            kind(6).fit(X, Y)
        with pytest.raises(ValueError, match="n_components must be"):
            kind(0).fit(X, Y)
        with pytest.raises(ValueError, match="moments must be of two views, got 3"):
            kind().fit_moments(Moments().update(X, Y, Y))
        with pytest.raises(TypeError, match=r"moments must be fastcca\.Moments"):
            kind().fit_moments(X)
    with pytest.raises(NumericalError, match="no covariance at all"):
        PLSRegression(1).fit([[-1.0], [0.0], [1.0]], [1.0, 0.0, 1.0])
    assert not hasattr(PLSRegressionCV(), "partial_fit")


@pytest.mark.parametrize("cv", [4, KFold(5, shuffle=True, random_state=0), ShuffleSplit(3, random_state=1)])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("one", [True, False])
def test_cv_is_grid_search(data, cv, scale, one):
    X, Y = data
    y = Y[:, 0] if one else Y
    search = PLSRegressionCV(8, cv=cv, scale=scale).fit(X, y)
    grid = {"n_components": list(range(1, 9))}
    peer = GridSearchCV(theirs.PLSRegression(scale=scale, **TIGHT), grid, cv=cv).fit(X, y)
    for name, values in peer.cv_results_.items():
        if name.endswith("test_score") and not name.startswith("rank"):
            np.testing.assert_allclose(search.cv_results_[name], values, atol=1e-9, err_msg=name)
    assert search.n_components_ == peer.best_params_["n_components"]
    assert search.best_score_ == pytest.approx(peer.best_score_, abs=1e-9)
    np.testing.assert_allclose(search.predict(X), peer.predict(X), atol=1e-8 * np.abs(Y).max())
    errors = np.zeros(8)
    count = 0
    for train, test in (KFold(cv) if isinstance(cv, int) else cv).split(X):
        count += len(test)
        for a in range(8):
            fitted = clone(peer.estimator).set_params(n_components=a + 1).fit(X[train], y[train])
            errors[a] += ((fitted.predict(X[test]) - y[test]) ** 2).sum()
    np.testing.assert_allclose(search.mse_, errors / count / (1 if one else 5), rtol=1e-9)


def test_cv_with_weights_and_single_rows(data, rng):
    X, Y = data
    w = rng.integers(1, 4, len(X))
    rows = np.repeat(np.arange(len(X)), w)
    splits = list(KFold(4).split(X))
    repeated = [tuple(np.flatnonzero(np.isin(rows, part)) for part in split) for split in splits]
    weighted = PLSRegressionCV(5, cv=splits).fit(X, Y, sample_weight=w)
    plain = PLSRegressionCV(5, cv=repeated).fit(X[rows], Y[rows])
    np.testing.assert_allclose(
        weighted.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"], atol=1e-10
    )
    few, y = X[:20], Y[:20, 0]
    search = PLSRegressionCV(3, cv=LeaveOneOut()).fit(few, y)
    for a in range(3):
        held_out = np.empty(20)
        for train, test in LeaveOneOut().split(few):
            fitted = theirs.PLSRegression(a + 1, **TIGHT).fit(few[train], y[train])
            held_out[test] = fitted.predict(few[test]).ravel()
        r2 = 1 - ((held_out - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()
        assert search.cv_results_["mean_test_score"][a] == pytest.approx(r2, abs=1e-9)
