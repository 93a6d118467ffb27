"""Confounds: CCA of what they leave, against residuals by least squares."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut, ShuffleSplit

import fastcca
from fastcca import CCA, CCACV, Moments, NumericalError
from fastcca.inference import wilks_test

pytestmark = [pytest.mark.core, pytest.mark.filterwarnings("ignore:the best ridge")]


def confounded(rng, n=120, p=5, q=4, c=3):
    Z = rng.normal(size=(n, c)) + 2.0
    t = rng.normal(size=(n, 1))
    X = Z @ rng.normal(size=(c, p)) + t + rng.normal(size=(n, p)) + 1.0
    Y = Z @ rng.normal(size=(c, q)) + t + rng.normal(size=(n, q)) - 1.0
    return X, Y, Z


def residuals(A, Z, weights=None, rows=None):
    """By least squares on the given rows, of all rows; the mean of the columns stays."""
    rows = slice(None) if rows is None else rows
    design = np.column_stack([np.ones(len(Z)), Z])
    root = np.ones(len(Z)) if weights is None else np.sqrt(weights)
    fit = root[rows, None] * design[rows], root[rows, None] * A[rows]
    B = np.linalg.lstsq(*fit, rcond=None)[0][1:]
    mean = np.average(Z[rows], axis=0, weights=None if weights is None else weights[rows])
    return A - (Z - mean) @ B


@pytest.fixture
def data(rng):
    return confounded(rng)


@pytest.mark.parametrize("solver", ["auto", "covariance", "qr", "gram"])
@pytest.mark.parametrize("reg", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_cca_of_the_residuals(data, rng, solver, reg, weighted):
    X, Y, Z = data
    w = rng.integers(0, 3, len(X)).astype(float) if weighted else None
    model = CCA(reg=reg, solver=solver).fit(X, Y, confounds=Z, sample_weight=w)
    rx, ry = residuals(X, Z, w), residuals(Y, Z, w)
    expected = CCA(reg=reg, solver="qr").fit(rx, ry, sample_weight=w)
    np.testing.assert_allclose(model.canonical_correlations_, expected.canonical_correlations_, atol=1e-10)
    np.testing.assert_allclose(model.singular_values_, expected.singular_values_, atol=1e-10)
    np.testing.assert_allclose(model.x_weights_, expected.x_weights_, atol=1e-9)
    np.testing.assert_allclose(model.transform(X, confounds=Z), expected.transform(rx), atol=1e-9)
    np.testing.assert_allclose(model.transform_y(Y, confounds=Z), expected.transform_y(ry), atol=1e-9)
    np.testing.assert_allclose(model.x_loadings_, expected.x_loadings_, atol=1e-9)
    assert model.score(X, Y, confounds=Z) == pytest.approx(expected.score(rx, ry), abs=1e-10)
    assert model.confounds_rank_ == 3
    assert expected.confounds_rank_ == 0


def test_predictions_are_least_squares_on_both(data):
    X, Y, Z = data
    model = CCA().fit(X, Y, confounds=Z)
    design = np.column_stack([np.ones(len(X)), X, Z])
    expected = design @ np.linalg.lstsq(design, Y, rcond=None)[0]
    # all four components of y's rank: the regression on the scores is that on X
    np.testing.assert_allclose(model.predict(X, confounds=Z), expected, atol=1e-9)
    scores = np.column_stack([np.ones(len(X)), model.transform_y(Y, confounds=Z), Z])
    expected_x = scores @ np.linalg.lstsq(scores, X, rcond=None)[0]
    np.testing.assert_allclose(model.predict_x(Y, confounds=Z), expected_x, atol=1e-9)
    zx, zy = model.transform_views(X, Y, confounds=Z)
    np.testing.assert_array_equal(zx, model.transform(X, confounds=Z))
    np.testing.assert_array_equal(zy, model.transform_y(Y, confounds=Z))


def test_dependent_and_constant_confounds_change_nothing(data):
    X, Y, Z = data
    more = np.column_stack([Z, Z[:, 0] - Z[:, 1], np.ones(len(Z))])
    model, plain = CCA().fit(X, Y, confounds=more), CCA().fit(X, Y, confounds=Z)
    assert model.confounds_rank_ == 3
    np.testing.assert_allclose(model.canonical_correlations_, plain.canonical_correlations_, atol=1e-10)
    np.testing.assert_allclose(model.transform(X, confounds=more), plain.transform(X, confounds=Z), atol=1e-8)


def test_a_column_that_is_a_confound_has_weight_zero(data):
    X, Y, Z = data
    with_confound = np.column_stack([X, Z[:, 0] * 3 + 1])
    model, plain = CCA().fit(with_confound, Y, confounds=Z), CCA().fit(X, Y, confounds=Z)
    assert (model.x_weights_[-1] == 0).all()
    np.testing.assert_allclose(model.canonical_correlations_, plain.canonical_correlations_, atol=1e-10)


def test_streams_and_moments(data):
    X, Y, Z = data
    whole = CCA(reg=0.1).fit(X, Y, confounds=Z)
    grown = CCA(reg=0.1).partial_fit(X[:50], Y[:50], confounds=Z[:50])
    grown.partial_fit(X[50:], Y[50:], confounds=Z[50:])
    moments = Moments().update(X[:70], Y[:70], Z[:70]) + Moments().update(X[70:], Y[70:], Z[70:])
    for other in (grown, CCA(reg=0.1).fit_moments(moments, confounds=True)):
        np.testing.assert_allclose(other.x_weights_, whole.x_weights_, atol=1e-12)
        np.testing.assert_allclose(
            other.transform(X, confounds=Z), whole.transform(X, confounds=Z), atol=1e-11
        )
    with pytest.raises(ValueError, match="the rows so far had confounds"):
        grown.partial_fit(X, Y)
    with pytest.raises(ValueError, match="was fitted without confounds"):
        CCA().partial_fit(X, Y).partial_fit(X, Y, confounds=Z)


def test_wide_views(rng):
    X, Y, Z = confounded(rng, n=40, p=90, q=3)
    model = CCA(reg=1.0).fit(X, Y, confounds=Z)
    expected = CCA(reg=1.0).fit(residuals(X, Z), residuals(Y, Z))
    assert model.solver_ == "gram"
    assert model.moments_ is None
    np.testing.assert_allclose(model.canonical_correlations_, expected.canonical_correlations_, atol=1e-10)
    np.testing.assert_allclose(
        model.transform(X, confounds=Z), expected.transform(residuals(X, Z)), atol=1e-9
    )


def test_nearly_spanned_columns_are_fitted_from_the_residuals(data, rng):
    X, Y, Z = data
    X = X + 1e6 * Z[:, :1]  # what is left is a millionth
    model = CCA().fit(X, Y, confounds=Z)
    expected = CCA(solver="qr").fit(residuals(X, Z), residuals(Y, Z))
    np.testing.assert_allclose(model.canonical_correlations_, expected.canonical_correlations_, atol=1e-7)


def test_tests_take_the_degrees_of_freedom_off(rng):
    # independent given the confounds: with N - rank the test holds its level, with N it does not
    rejected = {"right": 0, "naive": 0}
    for _ in range(200):
        Z = rng.normal(size=(40, 15))
        X, Y = (Z @ rng.normal(size=(15, d)) + rng.normal(size=(40, d)) for d in (4, 3))
        model = CCA().fit(X, Y, confounds=Z)
        rejected["right"] += wilks_test(model).p_value[0] < 0.05
        naive = CCA().fit(residuals(X, Z), residuals(Y, Z))
        rejected["naive"] += wilks_test(naive).p_value[0] < 0.05
    assert rejected["right"] <= 20  # 10 expected, standard deviation 3.1
    assert rejected["naive"] >= 50  # 43 per cent expected


@pytest.mark.parametrize("cv", [4, KFold(3, shuffle=True, random_state=1), ShuffleSplit(3, random_state=0)])
@pytest.mark.parametrize("scale", [False, True])
def test_cv_learns_what_confounds_explain_from_training_rows(data, rng, cv, scale):
    X, Y, Z = data
    w = rng.integers(1, 3, len(X)).astype(float)
    regs = [0.0, 0.01, 1.0]
    search = CCACV(2, regs=regs, cv=cv, scale=scale).fit(X, Y, confounds=Z, sample_weight=w)
    splits = (KFold(cv) if isinstance(cv, int) else cv).split(X)
    for i, (train, test) in enumerate(splits):
        rx, ry = residuals(X, Z, w, train), residuals(Y, Z, w, train)
        for j, reg in enumerate(regs):
            model = CCA(2, reg=reg, scale=scale).fit(rx[train], ry[train], sample_weight=w[train])
            score = model.score(rx[test], ry[test], sample_weight=w[test])
            assert search.cv_results_[f"split{i}_test_score"][j] == pytest.approx(score, abs=1e-9)
            again = CCA(2, reg=reg, scale=scale)
            again.fit(X[train], Y[train], confounds=Z[train], sample_weight=w[train])
            score = again.score(X[test], Y[test], confounds=Z[test], sample_weight=w[test])
            assert search.cv_results_[f"split{i}_test_score"][j] == pytest.approx(score, abs=1e-9)
    best = CCA(2, reg=search.reg_, scale=scale).fit(X, Y, confounds=Z, sample_weight=w)
    np.testing.assert_allclose(search.transform(X, confounds=Z), best.transform(X, confounds=Z), atol=1e-10)


def test_single_rows_held_out_and_wide_folds(rng):
    X, Y, Z = confounded(rng, n=20, p=3, q=2, c=2)
    search = CCACV(1, regs=[0.1, 1.0], cv=LeaveOneOut()).fit(X, Y, confounds=Z)
    for j, reg in enumerate([0.1, 1.0]):
        zx, zy = np.empty(20), np.empty(20)
        for train, test in LeaveOneOut().split(X):
            model = CCA(1, reg=reg).fit(X[train], Y[train], confounds=Z[train])
            zx[test] = model.transform(X[test], confounds=Z[test])[:, 0]
            zy[test] = model.transform_y(Y[test], confounds=Z[test])[:, 0]
        expected = zx @ zy / np.sqrt(zx @ zx * (zy @ zy))
        assert search.cv_results_["mean_test_score"][j] == pytest.approx(expected, abs=1e-9)
    X, Y, Z = confounded(rng, n=30, p=50, q=2, c=2)
    search = CCACV(1, regs=[1.0, 10.0], cv=3).fit(X, Y, confounds=Z)
    train, test = next(KFold(3).split(X))
    model = CCA(1, reg=10.0).fit(X[train], Y[train], confounds=Z[train])
    score = model.score(X[test], Y[test], confounds=Z[test])
    assert search.cv_results_["split0_test_score"][1] == pytest.approx(score, abs=1e-9)


def test_files_routing_and_a_refit_without(data, tmp_path):
    X, Y, Z = data
    model = CCA(2, reg=0.1).fit(X, Y, confounds=Z)
    model.save(tmp_path / "m.safetensors")
    loaded = fastcca.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.transform(X, confounds=Z), model.transform(X, confounds=Z))
    model.fit(X, Y)
    assert model.confounds_rank_ == 0
    assert not hasattr(model, "confounds_mean_")
    model.transform(X)
    with fastcca_routing():
        asked = CCA(2).set_fit_request(confounds=True).set_score_request(confounds=True)
        grid = GridSearchCV(asked, {"reg": [0.1, 1.0]}, cv=3).fit(X, Y, confounds=Z)
    ours = CCACV(2, regs=[0.1, 1.0], cv=3).fit(X, Y, confounds=Z)
    np.testing.assert_allclose(
        grid.cv_results_["mean_test_score"], ours.cv_results_["mean_test_score"], atol=1e-10
    )


def fastcca_routing():
    import sklearn

    return sklearn.config_context(enable_metadata_routing=True)


def test_float32(data):
    single = [a.astype(np.float32) for a in data]
    model = CCA(2).fit(single[0], single[1], confounds=single[2])
    double = CCA(2).fit(data[0], data[1], confounds=data[2])
    assert model.transform(single[0], confounds=single[2]).dtype == np.float32
    np.testing.assert_allclose(model.canonical_correlations_, double.canonical_correlations_, atol=1e-5)


def test_bad_confounds(data):
    X, Y, Z = data
    with pytest.raises(NumericalError, match="the confounds span X: nothing of it is left"):
        CCA().fit(Z @ np.ones((3, 2)) + 1, Y, confounds=Z)
    with pytest.raises(NumericalError, match="the confounds span y"):
        CCACV(regs=[0.1]).fit(X, Z[:, :2], confounds=Z)
    with pytest.raises(NumericalError, match="confounds has rank 0"):
        CCA().fit(X, Y, confounds=np.ones((len(X), 2)))
    with pytest.raises(ValueError, match="confounds must have the rows of X, 120, got 119"):
        CCA().fit(X, Y, confounds=Z[1:])
    bad = Z.copy()
    bad[4, 1] = np.inf
    with pytest.raises(ValueError, match="confounds contains infinity: the first is at row 4, column 1"):
        CCA().fit(X, Y, confounds=bad)
    model = CCA(2).fit(X, Y, confounds=Z)
    for call in (model.transform, model.transform_y, model.predict, model.predict_x):
        rows = Y if call in (model.transform_y, model.predict_x) else X
        with pytest.raises(ValueError, match="was fitted with confounds: pass those of these rows"):
            call(rows)
        with pytest.raises(ValueError, match="confounds has 2 columns, but the fit had 3"):
            call(rows, confounds=Z[:, :2])
        with pytest.raises(ValueError, match="confounds contains NaN"):
            call(rows, confounds=np.where(bad > 1e9, np.nan, bad))
    with pytest.raises(ValueError, match="was fitted without confounds, and takes none"):
        CCA().fit(X, Y).transform(X, confounds=Z)
    with pytest.raises(ValueError, match="two views and the confounds, got 2 views"):
        CCA().fit_moments(Moments().update(X, Y), confounds=True)
