"""What scikit-learn users take for granted: its own checks, frames, pipelines, searches, copies."""

import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastcca
from fastcca import embedding
from fastcca.fusion import EarlyFusion


@parametrize_with_checks(
    [
        fastcca.CCA(),
        fastcca.CCACV(),
        fastcca.KernelCCA(),
        fastcca.KernelCCACV(),
        fastcca.PLSCanonical(1),
        fastcca.PLSRegression(1),
        fastcca.PLSRegressionCV(),
        fastcca.PLSSVD(1),
        fastcca.ProbabilisticCCA(reg=0.1),
        fastcca.SparseCCA(),
        fastcca.SparseCCACV(penalties=[0.3, 1.0]),
        fastcca.TwoViewPipeline(),
        fastcca.TwoViewPipeline(x=StandardScaler(), y=[StandardScaler()], model=fastcca.CCA(1, reg=0.1)),
        embedding.NearestClassMean(),
        embedding.RidgeEmbedding(),
        embedding.AttributeLabelEmbedding(),
        embedding.HierarchyLabelEmbedding(),
        embedding.AttributeHierarchyLabelEmbedding(),
        embedding.UnifiedSemanticEmbedding(),
        EarlyFusion(),
        embedding.JointEmbedding(),
        embedding.LargeMarginEmbedding(),
        embedding.LargeMarginTaxonomyEmbedding(),
        embedding.WARPEmbedding(),
    ]
)
@pytest.mark.filterwarnings("ignore:n - 1 = ")  # CCA of fewer rows than columns, without a ridge
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture
def views(rng):
    common = rng.normal(size=(80, 2))
    return (
        np.hstack([common, rng.normal(size=(80, 2))]) + 0.3 * rng.normal(size=(80, 4)),
        np.hstack([common, rng.normal(size=(80, 1))]) + 0.3 * rng.normal(size=(80, 3)),
    )


ESTIMATORS = [fastcca.CCA(n_components=2, reg=0.01), fastcca.CCACV(n_components=2, regs=[0.01, 0.1], cv=3)]
each_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=["CCA", "CCACV"])


@each_estimator
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_frames_give_names_to_both_views(estimator, frame, views):
    X, Y = views
    xf = frame({name: X[:, i] for i, name in enumerate("abcd")})
    yf = frame({name: Y[:, i] for i, name in enumerate("uvw")})
    model = clone(estimator).fit(xf, yf)
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.y_feature_names_in_.tolist() == list("uvw")
    np.testing.assert_allclose(model.transform(xf), clone(estimator).fit(X, Y).transform(X), atol=1e-12)
    np.testing.assert_allclose(model.transform_y(yf), clone(estimator).fit(X, Y).transform_y(Y), atol=1e-12)
    with pytest.raises(ValueError, match=r"names of y should match .* column 0 is 'v', was 'u'"):
        model.transform_y(yf[["v", "u", "w"]])
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(xf[["b", "a", "c", "d"]])
    # a refit to plain arrays forgets the names
    model.fit(X, Y)
    assert not hasattr(model, "feature_names_in_")
    assert not hasattr(model, "y_feature_names_in_")


@pytest.mark.parametrize(
    "series", [pd.Series, lambda values, name: pl.Series(name, values)], ids=["pandas", "polars"]
)
def test_series_as_y(series, views):
    X, Y = views
    model = fastcca.CCA().fit(X, series(Y[:, 0], name="target"))
    assert model.y_feature_names_in_.tolist() == ["target"]
    np.testing.assert_array_equal(model.predict(X), fastcca.CCA().fit(X, Y[:, 0]).predict(X))


@each_estimator
@pytest.mark.parametrize(("container", "frame"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_set_output(estimator, container, frame, views):
    X, Y = views
    expected = clone(estimator).fit(X, Y).transform(X)
    model = clone(estimator).set_output(transform=container)
    out = model.fit_transform(X, Y)
    assert isinstance(out, frame)
    prefix = type(estimator).__name__.lower()
    assert list(out.columns) == [f"{prefix}0", f"{prefix}1"]
    np.testing.assert_allclose(out.to_numpy(), expected, atol=1e-12)
    assert model.get_feature_names_out().tolist() == [f"{prefix}0", f"{prefix}1"]
    zx, zy = model.transform_views(X, Y)
    assert type(zx) is type(zy) is np.ndarray


@each_estimator
def test_copies_keep_the_fit(estimator, views, tmp_path):
    X, Y = views
    model = clone(estimator).fit(X, Y)
    joblib.dump(model, tmp_path / "model.joblib")
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        np.testing.assert_array_equal(copy.transform(X), model.transform(X))
        np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    assert clone(model).get_params() == estimator.get_params()
    assert not hasattr(clone(model), "x_weights_")
    grown = pickle.loads(pickle.dumps(fastcca.CCA().partial_fit(X[:40], Y[:40]))).partial_fit(X[40:], Y[40:])
    np.testing.assert_allclose(grown.singular_values_, fastcca.CCA().fit(X, Y).singular_values_, atol=1e-12)


@each_estimator
def test_pipeline_with_cca_in_the_middle_and_at_the_end(estimator, views):
    X, Y = views
    middle = make_pipeline(StandardScaler(), clone(estimator), Ridge(alpha=1e-9)).fit(X, Y)
    scores = clone(estimator).fit(StandardScaler().fit_transform(X), Y)
    z = scores.transform(StandardScaler().fit_transform(X))
    np.testing.assert_allclose(middle.predict(X), Ridge(alpha=1e-9).fit(z, Y).predict(z), atol=1e-9)
    end = make_pipeline(StandardScaler(), clone(estimator)).fit(X, Y)
    np.testing.assert_allclose(end.transform(X), z, atol=1e-12)
    assert end.score(X, Y) == pytest.approx(scores.score(StandardScaler().fit_transform(X), Y), abs=1e-12)


def test_grid_search_and_cross_validation(views):
    X, Y = views
    search = GridSearchCV(
        fastcca.CCA(n_components=1), {"reg": [1e-3, 1.0], "scale": [False, True]}, cv=3
    ).fit(X, Y)
    assert 0.5 < search.best_score_ <= 1.0
    assert search.best_estimator_.n_components_ == 1
    by_hand = [
        fastcca.CCA(n_components=1, reg=1.0).fit(X[train], Y[train]).score(X[test], Y[test])
        for train, test in (
            (np.r_[27:80], np.r_[0:27]),
            (np.r_[0:27, 54:80], np.r_[27:54]),
            (np.r_[0:54], np.r_[54:80]),
        )
    ]
    np.testing.assert_allclose(
        cross_val_score(fastcca.CCA(n_components=1, reg=1.0), X, Y, cv=3), by_hand, atol=1e-12
    )


def test_parameters_are_stored_as_given():
    regs = np.array([0.1])
    assert fastcca.CCACV(regs=regs).regs is regs
    assert fastcca.CCA(reg=(1, 2)).get_params() == {
        "n_components": None,
        "reg": (1, 2),
        "scale": False,
        "solver": "auto",
        "n_threads": None,
        "shrinkage": None,
        "missing": "error",
    }
    assert repr(fastcca.CCA(reg=0.5)) == "CCA(reg=0.5)"


def test_public_names():
    for name in fastcca.__all__:
        assert getattr(fastcca, name) is not None
    assert set(fastcca.__all__) <= set(dir(fastcca))
    with pytest.raises(AttributeError, match="no attribute 'PCA'"):
        fastcca.PCA  # noqa: B018
