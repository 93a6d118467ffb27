"""Confounds of any number of views: the fit to what they leave, against residuals by least squares."""

import numpy as np
import pytest
from sklearn.model_selection import KFold, LeaveOneOut, ShuffleSplit

import fastcca
from fastcca import CCA, GCCA, MCCA, MCCACV, Moments, NumericalError

pytestmark = [pytest.mark.core, pytest.mark.filterwarnings("ignore:the best ridge")]

KINDS = pytest.mark.parametrize("kind", [MCCA, GCCA])
DIMS = {"a": 5, "b": 4, "c": 3}


def residuals(A, Z, weights=None, rows=None):
    """By least squares on the given rows, of all rows; the mean of the columns stays."""
    rows = np.arange(len(A)) if rows is None else rows
    rows = rows[np.isfinite(A[rows]).all(axis=1)]
    w = np.ones(len(Z)) if weights is None else weights
    design = np.column_stack([np.ones(len(Z)), Z])
    root = np.sqrt(w)[rows, np.newaxis]
    B = np.linalg.lstsq(root * design[rows], root * A[rows], rcond=None)[0][1:]
    return A - (Z - np.average(Z[rows], axis=0, weights=w[rows])) @ B


@pytest.fixture
def data(rng):
    n = 150
    Z = rng.normal(size=(n, 2)) + 2.0
    t = rng.normal(size=(n, 2))
    views = {
        name: 2 * Z @ rng.normal(size=(2, d)) + t @ rng.normal(size=(2, d)) + rng.normal(size=(n, d)) - 1.0
        for name, d in DIMS.items()
    }
    return views, Z


@KINDS
@pytest.mark.parametrize("options", [{}, {"reg": {"a": 0.3}}, {"scale": True, "reg": 0.1}])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_fit_to_the_residuals(kind, options, weighted, data, rng):
    views, Z = data
    w = rng.integers(0, 3, len(Z)).astype(float) if weighted else None
    model = kind(3, **options).fit(views, confounds=Z, sample_weight=w)
    left = {name: residuals(view, Z, w) for name, view in views.items()}
    expected = kind(3, **options).fit(left, sample_weight=w)
    assert model.confounds_rank_ == 2
    assert expected.confounds_rank_ == 0
    for name in ("eigenvalues_", "canonical_correlations_", "pairwise_correlations_"):
        np.testing.assert_allclose(getattr(model, name), getattr(expected, name), atol=1e-10)
    z = model.transform(views, confounds=Z)
    for name, view in left.items():
        np.testing.assert_allclose(model.weights_[name], expected.weights_[name], atol=1e-10)
        np.testing.assert_allclose(model.loadings_[name], expected.loadings_[name], atol=1e-10)
        np.testing.assert_allclose(z[name], expected.transform_view(name, view), atol=1e-9)
        np.testing.assert_array_equal(z[name], model.transform_view(name, views[name], confounds=Z))
    np.testing.assert_allclose(
        model.common_variate(views, confounds=Z), expected.common_variate(left), atol=1e-9
    )
    two = {name: left[name] for name in "ac"}
    given = {name: views[name] for name in "ac"}
    np.testing.assert_allclose(
        model.common_variate(given, confounds=Z), expected.common_variate(two), atol=1e-9
    )
    assert model.score(views, confounds=Z) == pytest.approx(expected.score(left), abs=1e-10)
    # the prediction of what is left, and what the confounds explain
    predicted = model.predict_views(given, confounds=Z)["b"]
    explained = views["b"] - left["b"]
    np.testing.assert_allclose(predicted, expected.predict_views(two)["b"] + explained, atol=1e-9)


def test_predictions_are_least_squares_on_scores_and_confounds(data):
    views, Z = data
    model = MCCA(3).fit(views, confounds=Z)
    design = np.column_stack([np.ones(len(Z)), Z, model.transform_view("a", views["a"], confounds=Z)])
    expected = design @ np.linalg.lstsq(design, views["c"], rcond=None)[0]
    np.testing.assert_allclose(
        model.predict_views({"a": views["a"]}, ["c"], confounds=Z)["c"], expected, atol=1e-9
    )


def test_with_two_views_it_is_partial_cca(data):
    views, Z = data
    X, Y = views["a"], views["b"]
    pair, many = CCA(reg=0.2).fit(X, Y, confounds=Z), MCCA(reg=0.2).fit([X, Y], confounds=Z)
    np.testing.assert_allclose(many.eigenvalues_, 1 + pair.singular_values_, atol=1e-12)
    np.testing.assert_allclose(many.canonical_correlations_, pair.canonical_correlations_, atol=1e-12)
    np.testing.assert_allclose(
        np.abs(many.transform_view("view0", X, confounds=Z)),
        np.abs(pair.transform(X, confounds=Z)),
        atol=1e-10,
    )


@KINDS
def test_streams_moments_and_files(kind, data, tmp_path):
    views, Z = data
    whole = kind(2, reg=0.1).fit(views, confounds=Z)
    parts = [{name: view[rows] for name, view in views.items()} for rows in (slice(60), slice(60, None))]
    grown = kind(2, reg=0.1).partial_fit(parts[0], confounds=Z[:60])
    grown.save(tmp_path / "half.safetensors")
    again = fastcca.load(tmp_path / "half.safetensors")
    moments = Moments().update(*views.values(), Z)
    for other in (
        grown.partial_fit(parts[1], confounds=Z[60:]),
        again.partial_fit(parts[1], confounds=Z[60:]),
        kind(2, reg=0.1).fit_moments(moments, names=list(views), confounds=True),
    ):
        for name in views:
            np.testing.assert_allclose(other.weights_[name], whole.weights_[name], atol=1e-12)
            np.testing.assert_allclose(other.confounds_coef_[name], whole.confounds_coef_[name], atol=1e-12)
    with pytest.raises(ValueError, match="was fitted with confounds: pass those of these rows"):
        grown.partial_fit(views)
    with pytest.raises(ValueError, match="was fitted without confounds, and takes none"):
        kind(2).partial_fit(views).partial_fit(views, confounds=Z)
    plain = whole.fit(views)
    assert plain.confounds_rank_ == 0
    assert not hasattr(plain, "confounds_coef_")


@KINDS
def test_rows_that_lack_views(kind, data):
    views, Z = data
    holes = {name: view.copy() for name, view in views.items()}
    holes["b"][:40] = np.nan
    holes["c"][30:50] = np.nan
    holes["c"] = np.column_stack([holes["c"], 3 * Z[:, 0] + 1])  # nothing is left of the last column
    holes["c"][30:50, -1] = np.nan
    model = kind(2, reg=0.1).fit(holes, confounds=Z)
    left = {name: residuals(view, Z) for name, view in holes.items()}
    left["c"][:, -1] = np.where(np.isnan(left["c"][:, 0]), np.nan, 1.0)
    expected = kind(2, reg=0.1).fit(left)
    np.testing.assert_allclose(model.eigenvalues_, expected.eigenvalues_, atol=1e-10)
    for name in views:
        np.testing.assert_allclose(model.weights_[name], expected.weights_[name], atol=1e-9)
    np.testing.assert_allclose(
        model.common_variate(holes, confounds=Z), expected.common_variate(left), atol=1e-9
    )
    assert model.pairwise_n_.shape == (3, 3)
    search = MCCACV(2, [0.1, 1.0], "mcca" if kind is MCCA else "gcca", KFold(3, shuffle=True, random_state=0))
    search.fit(holes, confounds=Z)
    for i, (train, test) in enumerate(search.cv.split(Z)):
        left = {name: residuals(view, Z, None, train) for name, view in holes.items()}
        left["c"][:, -1] = np.where(np.isnan(left["c"][:, 0]), np.nan, 1.0)
        fitted = kind(2, reg=0.1).fit({name: view[train] for name, view in left.items()})
        scores = []
        for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
            pair = {name: left[name][test] for name in (one, other)}
            both = np.all([np.isfinite(view).all(axis=1) for view in pair.values()], axis=0)
            scores.append(fitted.score({name: view[both] for name, view in pair.items()}))
        assert search.cv_results_[f"split{i}_test_score"][0] == pytest.approx(np.mean(scores), abs=1e-9)


@pytest.mark.parametrize("method", ["mcca", "gcca"])
@pytest.mark.parametrize("cv", [4, KFold(3, shuffle=True, random_state=1), ShuffleSplit(3, random_state=0)])
@pytest.mark.parametrize("options", [{}, {"scale": True}])
def test_cv_learns_what_confounds_explain_from_training_rows(method, cv, options, data, rng):
    views, Z = data
    w = rng.integers(1, 3, len(Z)).astype(float)
    regs = [0.0, 0.01, 1.0]
    search = MCCACV(2, regs, method, cv, **options).fit(views, confounds=Z, sample_weight=w)
    kind = MCCA if method == "mcca" else GCCA
    splits = list((KFold(cv) if isinstance(cv, int) else cv).split(Z))
    for i, (train, test) in enumerate(splits):
        left = {name: residuals(view, Z, w, train) for name, view in views.items()}
        for j, reg in enumerate(regs):
            fitted = kind(2, reg, **options).fit(
                {n: v[train] for n, v in left.items()}, sample_weight=w[train]
            )
            expected = fitted.score({n: v[test] for n, v in left.items()}, sample_weight=w[test])
            assert search.cv_results_[f"split{i}_test_score"][j] == pytest.approx(expected, abs=1e-10)
    best = kind(2, search.reg_, **options).fit(views, confounds=Z, sample_weight=w)
    for name in views:
        np.testing.assert_allclose(search.weights_[name], best.weights_[name], atol=1e-10)
        np.testing.assert_allclose(
            search.transform(views, confounds=Z)[name], best.transform(views, confounds=Z)[name], atol=1e-10
        )
    assert search.confounds_rank_ == 2
    assert not hasattr(search.fit(views), "confounds_coef_")


def test_leave_one_out_is_pooled(data):
    views, Z = ({name: view[:30] for name, view in data[0].items()}, data[1][:30])
    search = MCCACV(1, [0.1, 1.0], cv=LeaveOneOut()).fit(views, confounds=Z)
    for j, reg in enumerate((0.1, 1.0)):
        scores = np.empty((30, 3))
        for i in range(30):
            train = np.delete(np.arange(30), i)
            left = [residuals(view, Z, None, train) for view in views.values()]
            fitted = MCCA(1, reg).fit([view[train] for view in left])
            for v, view in enumerate(left):
                scores[i, v] = fitted.transform_view(f"view{v}", view[[i]])[0, 0]
        products = scores.T @ scores
        scale = np.sqrt(products.diagonal())
        expected = (products / np.outer(scale, scale))[np.triu_indices(3, 1)].mean()
        assert search.cv_results_["mean_test_score"][j] == pytest.approx(expected, abs=1e-10)


def test_float32(data):
    views, Z = data
    expected = MCCA(2, reg=0.1).fit(views, confounds=Z)
    single = {name: view.astype(np.float32) for name, view in views.items()}
    model = MCCA(2, reg=0.1).fit(single, confounds=Z.astype(np.float32))
    np.testing.assert_allclose(model.canonical_correlations_, expected.canonical_correlations_, atol=1e-6)
    z = model.transform_view("a", single["a"], confounds=Z)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, expected.transform_view("a", views["a"], confounds=Z), atol=1e-4)
    assert model.predict_views({"a": single["a"]}, ["b"], confounds=Z)["b"].dtype == np.float32


def test_confounds_that_do_not_do(data):
    views, Z = data
    model = MCCA(2)
    with pytest.raises(ValueError, match="confounds must have the rows of the views, 150, got 149"):
        model.fit(views, confounds=Z[1:])
    with pytest.raises(ValueError, match="confounds contains NaN"):
        model.fit(views, confounds=np.where(Z > 4, np.nan, Z))
    with pytest.raises(NumericalError, match="the confounds span b: nothing of it is left"):
        model.fit(views, confounds=np.hstack([Z, views["b"]]))
    with pytest.raises(NumericalError, match="confounds"):
        model.fit(views, confounds=np.ones(150))
    with pytest.raises(ValueError, match="was fitted without confounds, and takes none"):
        model.fit(views).transform(views, confounds=Z)
    model.fit(views, confounds=Z)
    for method in ("transform", "common_variate", "predict_views", "score"):
        with pytest.raises(ValueError, match="was fitted with confounds: pass those of these rows"):
            getattr(model, method)(views)
    with pytest.raises(ValueError, match="confounds has 1 columns, but the fit had 2"):
        model.transform(views, confounds=Z[:, 0])
    moments = Moments().update(views["a"], views["b"])
    with pytest.raises(ValueError, match="two views or more besides the confounds, got 1"):
        MCCA().fit_moments(moments, confounds=True)
