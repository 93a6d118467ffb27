"""TwoViewPipeline: steps of preprocessing for both views, and no row seen that is held out."""

import io
import pickle
import sys
from typing import ClassVar

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, OneHotEncoder, StandardScaler

import fastcca
from fastcca.inference import bootstrap, permutation_test
from fastcca.plotting import CorrelationDisplay, LoadingDisplay, VariateDisplay
from fastcca.retrieval import CrossViewSearch

pytestmark = pytest.mark.filterwarnings("ignore:the best ridge")


@pytest.fixture
def views(rng):
    z = rng.normal(size=(120, 3))
    X = z @ rng.normal(size=(3, 12)) + 0.7 * rng.normal(size=(120, 12)) + 3.0
    Y = z @ rng.normal(size=(3, 9)) + 0.7 * rng.normal(size=(120, 9)) - 1.0
    return X * np.linspace(0.2, 5, 12), Y


def pipeline(model=None, **options):
    return fastcca.TwoViewPipeline(
        x=[StandardScaler(), PCA(6)], y=[PCA(5)], model=model or fastcca.CCA(2), **options
    )


def by_hand(X, Y):
    """What the steps of ``pipeline`` make of these rows, fitted to them."""
    x_steps, y_steps = make_pipeline(StandardScaler(), PCA(6)), PCA(5)
    return x_steps.fit(X), y_steps.fit(Y)


@pytest.mark.parametrize(
    "model",
    [
        fastcca.CCA(2),
        fastcca.CCA(2, reg=0.3),
        fastcca.KernelCCA(2, rank=20),
        fastcca.PLSSVD(2),
        fastcca.PLSRegression(2),
        fastcca.SparseCCA(2, 0.7),
    ],
    ids=lambda model: type(model).__name__,
)
def test_it_is_the_model_of_the_transformed_views(model, views):
    X, Y = views
    of_x, of_y = by_hand(X, Y)
    tx, ty = of_x.transform(X), of_y.transform(Y)
    alone = clone(model).fit(tx, ty)
    whole = pipeline(model).fit(X, Y)
    np.testing.assert_allclose(whole.transform(X), alone.transform(tx), atol=1e-12)
    np.testing.assert_allclose(whole.transform_y(Y), alone.transform_y(ty), atol=1e-12)
    for ours, theirs in zip(whole.transform_views(X, Y), alone.transform_views(tx, ty), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_allclose(whole.predict(X), of_y.inverse_transform(alone.predict(tx)), atol=1e-10)
    np.testing.assert_allclose(whole.predict_x(Y), of_x.inverse_transform(alone.predict_x(ty)), atol=1e-10)
    z = alone.transform(tx)
    expected = of_x.inverse_transform(alone.inverse_transform(z))
    np.testing.assert_allclose(whole.inverse_transform(z), expected, atol=1e-10)
    expected = of_y.inverse_transform(alone.inverse_transform_y(z))
    np.testing.assert_allclose(whole.inverse_transform_y(z), expected, atol=1e-10)
    assert whole.score(X, Y) == pytest.approx(alone.score(tx, ty), abs=1e-12)
    np.testing.assert_allclose(whole.canonical_correlations_, alone.canonical_correlations_, atol=1e-12)
    assert whole.n_components_ == alone.n_components_


def test_loadings_are_correlations_of_the_columns_as_they_came(views):
    X, Y = views
    X[:, 3] = 1e9 + np.arange(120)
    X[:, 4] = 7.1
    model = pipeline().fit(X, Y)
    zx, zy = model.transform_views(X, Y)
    for columns, loadings, z in ((X, model.x_loadings_, zx), (Y, model.y_loadings_, zy)):
        for j in range(columns.shape[1]):
            constant = columns is X and j == 4
            expected = [0 if constant else np.corrcoef(columns[:, j], z[:, k])[0, 1] for k in range(2)]
            np.testing.assert_allclose(loadings[j], expected, atol=1e-8)


def test_missing_values_before_an_imputer(views, rng):
    X, Y = views
    X[rng.random(X.shape) < 0.1] = np.nan
    model = fastcca.TwoViewPipeline(x=[SimpleImputer(), PCA(6)], model=fastcca.CCA(2)).fit(X, Y)
    z = model.transform(X)
    column, present = X[:, 2], np.isfinite(X[:, 2])
    expected = np.corrcoef(column[present], z[present, 0])[0, 1]
    assert model.x_loadings_[2, 0] == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="NaN"):
        fastcca.TwoViewPipeline(model=fastcca.CCA()).fit(X, Y)


def test_frames_with_text(rng):
    n = 150
    site = rng.choice(["a", "b", "c"], n)
    age = rng.normal(size=n)
    X = pd.DataFrame({"site": site, "age": age, "iq": rng.normal(size=n)})
    Y = pd.DataFrame({"u": age + 0.5 * rng.normal(size=n), "v": (site == "a") + 0.3 * rng.normal(size=n)})
    steps = ColumnTransformer([("s", OneHotEncoder(drop="first"), ["site"])], remainder="passthrough")
    model = fastcca.TwoViewPipeline(x=steps, y=StandardScaler(), model=fastcca.CCA(2)).fit(X, Y)
    assert (model.canonical_correlations_ > 0.6).all()
    assert model.feature_names_in_.tolist() == ["site", "age", "iq"]
    assert model.y_feature_names_in_.tolist() == ["u", "v"]
    assert not hasattr(model, "x_loadings_")
    assert model.y_loadings_.shape == (2, 2)
    with pytest.raises(ValueError, match="feature names"):
        model.transform(X[["age", "site", "iq"]])
    with pytest.raises(ValueError, match="feature names of y"):
        model.transform_y(Y[["v", "u"]])
    model.set_params(x=None).fit(X[["age", "iq"]].to_numpy(), Y.to_numpy())  # forgets the names
    assert not hasattr(model, "feature_names_in_")
    assert not hasattr(model, "y_feature_names_in_")


def test_a_vector_comes_back_as_one(views):
    X, Y = views
    for steps in (None, StandardScaler()):
        model = fastcca.TwoViewPipeline(x=PCA(6), y=steps).fit(X, Y[:, 0])
        expected = fastcca.CCA().fit(PCA(6).fit_transform(X), Y[:, 0]).predict(PCA(6).fit(X).transform(X))
        np.testing.assert_allclose(model.predict(X), expected, atol=1e-10)
        assert model.transform_y(Y[:, 0]).shape == (120, 1)
        assert model.inverse_transform_y(model.transform_y(Y[:, 0])) == pytest.approx(Y[:, 0], abs=1e-10)
    series = fastcca.TwoViewPipeline(y=StandardScaler()).fit(X, pd.Series(Y[:, 0], name="target"))
    assert series.y_feature_names_in_.tolist() == ["target"]


# ---- parameters


def test_parameters_have_names():
    model = pipeline(fastcca.CCA(2, reg=0.1))
    params = model.get_params()
    assert params["x__pca__n_components"] == 6
    assert params["y__pca__n_components"] == 5
    assert params["model__reg"] == 0.1
    assert params["x__pca"] is model.x[1]
    assert set(model.get_params(deep=False)) == {"x", "y", "model"}
    model.set_params(x__pca__n_components=3, model__reg=0.5, y__pca="passthrough")
    assert (model.x[1].n_components, model.model.reg, model.y[0][1]) == (3, 0.5, "passthrough")
    model.set_params(y__pca=PCA(2), y__pca__whiten=True)
    assert (model.y[0][1].n_components, model.y[0][1].whiten) == (2, True)
    twice = fastcca.TwoViewPipeline(x=[StandardScaler(), PCA(2), StandardScaler()])
    assert {"x__standardscaler-1", "x__standardscaler-2", "x__pca"} <= set(twice.get_params())
    named = fastcca.TwoViewPipeline(x=Pipeline([("reduce", PCA(2))]), y=[("z", StandardScaler())])
    named.set_params(x__reduce__n_components=1, y__z__with_std=False, x__reduce=PCA(4))
    assert named.x.named_steps["reduce"].n_components == 1
    assert named.get_params()["y__z__with_std"] is False


def test_clones_share_nothing_and_a_fit_leaves_what_was_given(views):
    model = pipeline()
    twin = clone(model).set_params(x__pca__n_components=2, model__reg=9.0)
    assert (model.x[1].n_components, model.model.reg) == (6, 0.0)
    assert (twin.x[1].n_components, twin.model.reg) == (2, 9.0)
    before = joblib.hash(model.get_params())
    model.fit(*views)
    assert joblib.hash(model.get_params()) == before
    assert not hasattr(model.x[1], "components_")
    assert not hasattr(clone(model), "model_")


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (
            lambda: fastcca.TwoViewPipeline(x=[3]),
            TypeError,
            "the step 'int' of x must have fit and transform",
        ),
        (lambda: fastcca.TwoViewPipeline(x=3), ValueError, "x must be a transformer, a sequence of them"),
        (
            lambda: fastcca.TwoViewPipeline(y=[("a__b", PCA(1))]),
            ValueError,
            "steps of y must differ and hold no",
        ),
        (lambda: fastcca.TwoViewPipeline(x=[("a", PCA(1)), ("a", PCA(1))]), ValueError, "must differ"),
        (lambda: fastcca.TwoViewPipeline(model=PCA(2)), TypeError, "model must be an estimator of two views"),
        (
            lambda: fastcca.TwoViewPipeline(x=PCA(2), model=fastcca.ProbabilisticCCA(max_components=2)),
            ValueError,
            "rows that the steps have seen",
        ),
    ],
)
def test_what_is_refused(make, error, match, views):
    with pytest.raises(error, match=match):
        make().fit(*views)


def test_other_errors(views):
    X, Y = views
    with pytest.raises(ValueError, match=r"Invalid parameter 'x__pca__n_components' for estimator Two"):
        fastcca.TwoViewPipeline().set_params(x__pca__n_components=2)
    with pytest.raises(ValueError, match="model is None, which has no parameters"):
        fastcca.TwoViewPipeline().set_params(model__reg=2)
    with pytest.raises(NotFittedError):
        pipeline().transform(X)
    with pytest.raises(ValueError, match="same number of rows, got 120 and 100"):
        pipeline().fit(X, Y[:100])
    with pytest.raises(ValueError, match=r"groups is not for this model: CCA\.fit"):
        pipeline().fit(X, Y, groups=np.arange(120))
    with pytest.raises(ValueError, match=r"the step 'normalizer' of y has no inverse_transform"):
        fastcca.TwoViewPipeline(y=Normalizer()).fit(X, Y).predict(X)
    with pytest.raises(ValueError, match="at least 5 test rows"):
        pipeline(fastcca.CCACV(2, cv=60)).fit(X, Y)
    with pytest.raises(ValueError, match="requires y to be passed"):
        pipeline().fit(X, None)


# ---- no step sees rows that are held out


def test_nested_cross_validation_is_the_loop_by_hand(views):
    X, Y = views
    grid = {"x__pca__n_components": [3, 6], "y__pca__n_components": [2, 5], "model__reg": [0.01, 1.0]}
    inner, outer = KFold(4), KFold(3)
    search = GridSearchCV(pipeline(), grid, cv=inner)
    found = cross_val_score(search, X, Y, cv=outer)

    def score(train, test, a, b, reg):
        of_x = make_pipeline(StandardScaler(), PCA(a)).fit(X[train])
        of_y = PCA(b).fit(Y[train])
        model = fastcca.CCA(2, reg=reg).fit(of_x.transform(X[train]), of_y.transform(Y[train]))
        zx = model.transform(of_x.transform(X[test]))
        zy = model.transform_y(of_y.transform(Y[test]))
        return np.mean([np.corrcoef(zx[:, i], zy[:, i])[0, 1] for i in range(2)])

    expected = []
    for train, test in outer.split(X):
        means = {}
        for a in (3, 6):
            for b in (2, 5):
                for reg in (0.01, 1.0):
                    parts = [(train[i], train[j]) for i, j in inner.split(train)]
                    means[a, b, reg] = np.mean([score(i, j, a, b, reg) for i, j in parts])
        expected.append(score(train, test, *max(means, key=means.get)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_model_that_cross_validates_is_the_loop_by_hand(weighted, views, rng):
    X, Y = views
    w = rng.uniform(0.5, 2.0, 120) if weighted else None
    regs, cv = [1e-3, 0.1, 10.0], KFold(4, shuffle=True, random_state=0)
    model = pipeline(fastcca.CCACV(2, regs=regs, cv=cv)).fit(X, Y, sample_weight=w)
    scores = np.empty((4, 3))
    for i, (train, test) in enumerate(cv.split(X)):
        of_x = StandardScaler().fit(X[train], sample_weight=None if w is None else w[train])
        reduced = PCA(6).fit(of_x.transform(X[train]))
        of_y = PCA(5).fit(Y[train])
        tx, ty = reduced.transform(of_x.transform(X)), of_y.transform(Y)
        for j, reg in enumerate(regs):
            cca = fastcca.CCA(2, reg=reg).fit(tx[train], ty[train], None if w is None else w[train])
            scores[i, j] = cca.score(tx[test], ty[test], None if w is None else w[test])
    for i in range(4):
        np.testing.assert_allclose(model.cv_results_[f"split{i}_test_score"], scores[i], rtol=0, atol=1e-12)
    best = scores.mean(axis=0).argmax()
    assert model.best_index_ == best
    assert model.best_params_ == {"reg": regs[best]}
    assert model.best_score_ == pytest.approx(scores.mean(axis=0).max(), abs=1e-12)
    assert model.n_splits_ == 4
    expected = pipeline(fastcca.CCA(2, reg=regs[best])).fit(X, Y, sample_weight=w)
    np.testing.assert_array_equal(model.transform(X), expected.transform(X))
    assert type(model.model_) is fastcca.CCA


class Spy(TransformerMixin, BaseEstimator):
    """Notes the first column of each fit."""

    seen: ClassVar[list] = []

    def fit(self, X, y=None):
        Spy.seen.append(X[:, 0].copy())
        return self

    def transform(self, X):
        return X


@pytest.mark.parametrize("side", ["x", "y"])
def test_no_step_sees_a_row_that_is_held_out(side, views):
    X, Y = views
    number = np.arange(120.0)
    (X if side == "x" else Y)[:, 0] = number
    cv = KFold(5)
    trained = [number[train] for train, _ in cv.split(X)]
    spied = fastcca.TwoViewPipeline(**{side: [Spy()]}, model=fastcca.CCACV(2, regs=[0.1, 1.0], cv=cv))
    Spy.seen.clear()
    spied.fit(X, Y)
    assert len(Spy.seen) == 6
    for seen, expected in zip(Spy.seen, [*trained, number], strict=True):
        np.testing.assert_array_equal(seen, expected)
    Spy.seen.clear()
    GridSearchCV(spied.set_params(model=fastcca.CCA(2)), {"model__reg": [0.1]}, cv=cv).fit(X, Y)
    for seen, expected in zip(Spy.seen, [*trained, number], strict=True):
        np.testing.assert_array_equal(seen, expected)


def test_selection_by_the_other_view_finds_nothing_in_noise():
    honest, leaked = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(100, 2000)), rng.normal(size=100)
        select = SelectKBest(f_regression, k=5)
        search = fastcca.CCACV(1, regs=[0.1, 1.0], cv=5)
        leaked.append(clone(search).fit(select.fit_transform(X, y), y).best_score_)
        honest.append(fastcca.TwoViewPipeline(x=select, model=search).fit(X, y).best_score_)
        nested = GridSearchCV(
            fastcca.TwoViewPipeline(x=select), {"model": [fastcca.CCA(1, reg=0.1)]}, cv=5
        ).fit(X, y)
        honest.append(nested.best_score_)
    assert np.mean(leaked) > 0.5
    assert abs(np.mean(honest)) < 0.15


@pytest.mark.parametrize(
    "model",
    [
        fastcca.KernelCCACV(2, regs=[1e-3, 1e-1], rank=20, cv=3),
        fastcca.SparseCCACV(1, penalties=[0.5, 0.9], cv=3),
        fastcca.PLSRegressionCV(4, cv=3),
        fastcca.CCACV(2, cv=3),
    ],
    ids=lambda model: type(model).__name__,
)
def test_every_model_that_cross_validates(model, views):
    X, Y = views
    found = pipeline(model).fit(X, Y)
    assert len(found.cv_results_["params"]) == len(found.cv_results_["mean_test_score"]) > 1
    assert found.best_params_ == found.cv_results_["params"][found.best_index_]
    of_x, of_y = by_hand(X, Y)
    tx, ty = of_x.transform(X), of_y.transform(Y)
    best = clone(found.model_).fit(tx, ty)
    np.testing.assert_allclose(found.transform(X), best.transform(tx), atol=1e-12)
    # without steps it is the model's own search
    plain = fastcca.TwoViewPipeline(model=model).fit(X, Y)
    alone = clone(model).fit(X, Y)
    assert plain.best_score_ == alone.best_score_
    np.testing.assert_array_equal(plain.transform(X), alone.transform(X))


def test_groups_and_confounds_reach_the_model(views, rng):
    X, Y = views
    Z = rng.normal(size=(120, 2))
    X, Y = X + 3 * Z[:, :1], Y + 3 * Z[:, :1]
    model = pipeline().fit(X, Y, confounds=Z)
    of_x, of_y = by_hand(X, Y)
    alone = fastcca.CCA(2).fit(of_x.transform(X), of_y.transform(Y), confounds=Z)
    np.testing.assert_allclose(model.canonical_correlations_, alone.canonical_correlations_, atol=1e-12)
    np.testing.assert_allclose(
        model.transform(X, confounds=Z), alone.transform(of_x.transform(X), confounds=Z), atol=1e-12
    )
    assert model.score(X, Y, confounds=Z) == pytest.approx(alone.canonical_correlations_.mean(), abs=1e-10)
    groups = np.repeat(np.arange(12), 10)
    order = rng.permutation(120)
    search = pipeline(fastcca.CCACV(2, regs=[0.1, 1.0], cv=GroupKFold(4)))
    Spy.seen.clear()
    search.set_params(x=[Spy(), PCA(6)]).fit(
        np.column_stack([groups[order], X]), Y, groups=groups[order], confounds=Z
    )
    for seen in Spy.seen[:4]:
        assert len(np.unique(seen)) == 9
    with pytest.raises(ValueError, match=r"confounds is not for this model: PLSSVD\.fit"):
        pipeline(fastcca.PLSSVD(1)).fit(X, Y, confounds=Z)


# ---- files


@pytest.mark.parametrize(
    "model", [fastcca.CCA(2), fastcca.CCACV(2, regs=[0.1, 1.0]), fastcca.KernelCCA(2, rank=10)]
)
def test_files(model, views):
    X, Y = views
    pytest.importorskip("skops.io")
    fitted = pipeline(model).set_output(transform="pandas").fit(X, Y)
    memory = io.BytesIO()
    fitted.save(memory)
    memory.seek(0)
    loaded = fastcca.load(memory)
    assert repr(loaded) == repr(fitted)
    for name in ("transform", "predict"):
        np.testing.assert_array_equal(getattr(loaded, name)(X), getattr(fitted, name)(X))
    assert list(loaded.transform(X).columns) == ["twoviewpipeline0", "twoviewpipeline1"]
    assert loaded.get_params()["x__pca__n_components"] == 6
    assert hasattr(loaded, "cv_results_") == isinstance(model, fastcca.CCACV)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(X), fitted.transform(X))


def root(a):
    return np.sqrt(np.abs(a))


def test_steps_with_code_of_the_user_are_not_saved(views, monkeypatch):
    pytest.importorskip("skops.io")
    X, Y = views
    model = fastcca.TwoViewPipeline(x=[FunctionTransformer(root)], model=fastcca.CCA(2)).fit(X, Y)
    with pytest.raises(TypeError, match=r"TwoViewPipeline\.x\.0 holds a .*root, which cannot be stored"):
        model.save(io.BytesIO())
    fastcca.TwoViewPipeline(x=[FunctionTransformer(np.sqrt)], model=fastcca.CCA(2)).fit(np.abs(X), Y).save(
        io.BytesIO()
    )
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(ImportError, match="a model with a PCA takes the package skops"):
        fastcca.TwoViewPipeline(x=PCA(2)).fit(X, Y).save(io.BytesIO())
    fastcca.TwoViewPipeline().fit(X, Y).save(io.BytesIO())  # no step, no need


# ---- what people do with it


def test_search_and_pictures(views):
    X, Y = views
    pyplot = pytest.importorskip("matplotlib.pyplot")
    model = pipeline().fit(X, Y)
    search = CrossViewSearch(model, correlation_power=2.0).fit(Y)
    zx, zy = model.transform_views(X, Y)
    weights = model.canonical_correlations_**2
    cosine = (zx * weights) @ (zy * weights).T
    cosine /= np.linalg.norm(zx * weights, axis=1)[:, None] * np.linalg.norm(zy * weights, axis=1)
    np.testing.assert_array_equal(search.search(X, 1).indices[:, 0], cosine.argmax(axis=1))
    drawn = CorrelationDisplay.from_estimator(model, {"train": (X, Y)})
    np.testing.assert_allclose(drawn.correlations["train"], model.canonical_correlations_, atol=1e-12)
    assert VariateDisplay.from_estimator(model, X, Y).correlation == pytest.approx(
        model.canonical_correlations_[0]
    )
    np.testing.assert_array_equal(LoadingDisplay.from_estimator(model).x_loadings, model.x_loadings_[:, 0])
    pyplot.close("all")


def test_tests_take_the_views_as_the_steps_make_them(views):
    X, Y = views
    of_x, of_y = by_hand(X, Y)
    tx, ty = of_x.transform(X), of_y.transform(Y)
    ours = permutation_test(pipeline(), X, Y, n_permutations=49, random_state=0)
    alone = permutation_test(fastcca.CCA(2), tx, ty, n_permutations=49, random_state=0)
    np.testing.assert_allclose(ours.permuted, alone.permuted, atol=1e-12)
    ours = bootstrap(pipeline(), X, Y, n_bootstrap=20, random_state=0)
    alone = bootstrap(fastcca.CCA(2), tx, ty, n_bootstrap=20, random_state=0)
    np.testing.assert_allclose(ours.x_loadings, alone.x_loadings, atol=1e-12)
    select = fastcca.TwoViewPipeline(x=SelectKBest(f_regression, k=2), model=fastcca.CCA(1))
    with pytest.raises(ValueError, match="a step of x cannot be fitted to x alone"):
        permutation_test(select, X, Y[:, 0])
    # a level that holds: PCA sees a view alone
    rng = np.random.default_rng(1)
    p = [
        permutation_test(
            fastcca.TwoViewPipeline(x=PCA(3), y=PCA(2), model=fastcca.CCA(1)),
            rng.normal(size=(30, 20)),
            rng.normal(size=(30, 10)),
            n_permutations=39,
            random_state=i,
        ).p_value[0]
        for i in range(60)
    ]
    assert 0.3 < np.mean(p) < 0.7
