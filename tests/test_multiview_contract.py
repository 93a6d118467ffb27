"""What users take for granted of the estimators of many views: copies, files, names, weights, threads."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import fastcca
from fastcca import GCCA, MCCA, MCCACV, KernelMCCA, NumericalError
from reference import multiview as reference

pytestmark = pytest.mark.filterwarnings("ignore:n - 1 = ")

ESTIMATORS = [
    MCCA(2, reg=0.1),
    GCCA(2, reg={"a": 0.5}),
    MCCACV(2, regs=[0.1, 1.0], cv=3),
    KernelMCCA(2, gamma=0.05, reg=1e-2, tol=1e-13),
]
each = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)


@pytest.fixture
def views(rng):
    common = rng.normal(size=(90, 2))
    return {
        name: common @ rng.normal(size=(2, d)) + rng.normal(size=(90, d)) + 1.0
        for name, d in (("a", 4), ("b", 3), ("c", 5))
    }


def answers(model, views):
    return [*model.transform(views).values(), model.common_variate(views)]


def assert_same(model, other, views, atol=0.0):
    for a, b in zip(answers(model, views), answers(other, views), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


@each
def test_copies(estimator, views):
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert repr(copy) == repr(estimator)
    before = copy.get_params()
    fitted = copy.fit(views)
    assert fitted is copy
    assert copy.get_params() == before
    assert_same(pickle.loads(pickle.dumps(fitted)), fitted, views)
    assert not hasattr(clone(fitted), "weights_")
    assert clone(estimator).set_params(n_components=1).fit(views).n_components_ == 1


@each
def test_files(estimator, views, tmp_path):
    model = clone(estimator).fit(views)
    model.save(tmp_path / "model.safetensors")
    loaded = fastcca.load(tmp_path / "model.safetensors")
    assert type(loaded) is type(model)
    assert loaded.get_params() == model.get_params()
    assert set(vars(loaded)) == set(vars(model))
    assert_same(loaded, model, views)
    assert loaded.score(views) == model.score(views)
    with pytest.raises(NotFittedError):
        clone(estimator).save(tmp_path / "not.npz")


@each
def test_before_fit(estimator, views):
    for call in ("transform", "common_variate", "predict_views", "score"):
        with pytest.raises(NotFittedError):
            getattr(clone(estimator), call)(views)


@each
def test_a_fit_that_fails_changes_nothing(estimator, views):
    model = clone(estimator).fit(views)
    before, state = answers(model, views), dict(vars(model))
    with pytest.raises(
        NumericalError, match=r"every one of its columns is constant|is the same to its kernel"
    ):
        model.fit({"a": views["a"][:50], "z": np.ones((50, 2))})
    assert vars(model) == state
    for a, b in zip(answers(model, views), before, strict=True):
        np.testing.assert_array_equal(a, b)


@each
def test_weights_are_repetitions(estimator, views, rng):
    weights = rng.integers(0, 3, 90)
    rows = np.repeat(np.arange(90), weights)
    cv = {}
    if isinstance(estimator, MCCACV):  # the same rows in the same folds
        thirds = [np.arange(0, 30), np.arange(30, 60), np.arange(60, 90)]
        every = np.arange(90)
        splits = [(np.setdiff1d(every, t), t) for t in thirds]
        cv = {"cv": splits}
    weighted = clone(estimator).set_params(**cv).fit(views, sample_weight=weights)
    if cv:
        places = [np.flatnonzero(np.isin(rows, t)) for t in thirds]
        cv = {"cv": [(np.setdiff1d(np.arange(len(rows)), p), p) for p in places]}
    repeated = clone(estimator).set_params(**cv).fit({name: v[rows] for name, v in views.items()})
    # greedy landmarks of repeated rows are others, of the same features up to their tolerance
    assert_same(weighted, repeated, views, atol=1e-5 if isinstance(estimator, KernelMCCA) else 1e-9)
    assert weighted.n_samples_ == repeated.n_samples_ == weights.sum()
    score = weighted.score(views, sample_weight=weights)
    assert score == pytest.approx(weighted.score({n: v[rows] for n, v in views.items()}), abs=1e-12)


@each
def test_threads_and_layouts_are_bitwise(estimator, views):
    model = clone(estimator).fit(views)
    for n_threads in (1, 2, 7):
        assert_same(clone(estimator).set_params(n_threads=n_threads).fit(views), model, views)
    fortran = {name: np.asfortranarray(v) for name, v in views.items()}
    assert_same(clone(estimator).fit(fortran), model, views, atol=1e-12)


@each
def test_float32(estimator, views):
    single = {name: v.astype(np.float32) for name, v in views.items()}
    model, double = clone(estimator).fit(single), clone(estimator).fit(views)
    assert {a.dtype for a in answers(model, single)} == {np.dtype(np.float32)}
    for a, b in zip(answers(model, single), answers(double, views), strict=True):
        if isinstance(estimator, KernelMCCA):  # which coefficient is the largest, rounding decides
            b = b * np.sign((a * b).sum(axis=0))
        np.testing.assert_allclose(a, b, atol=5e-4)
    mixed = clone(estimator).fit({**views, "a": single["a"]}).transform({**views, "a": single["a"]})
    assert (mixed["a"].dtype, mixed["b"].dtype) == (np.float32, np.float64)


@each
def test_names_of_views_and_columns(estimator, views):
    frames = {
        name: pd.DataFrame(v, columns=[f"{name}{j}" for j in range(v.shape[1])]) for name, v in views.items()
    }
    model = clone(estimator).fit(frames)
    assert model.views_ == ("a", "b", "c")
    # by name, in any order
    shuffled = {name: frames[name] for name in ("c", "a", "b")}
    np.testing.assert_allclose(model.common_variate(shuffled), model.common_variate(frames), atol=1e-12)
    assert list(model.transform(shuffled)) == ["c", "a", "b"]
    with pytest.raises(ValueError, match="The feature names of b should match"):
        model.transform({"b": frames["b"].rename(columns={"b0": "x"})})
    if not isinstance(estimator.get_params().get("reg"), dict):
        listed = clone(estimator).fit(list(views.values()))
        assert listed.views_ == ("view0", "view1", "view2")
    names = model.get_feature_names_out()
    assert list(names) == [f"{type(model).__name__.lower()}{j}" for j in range(2)]


@each
def test_scores_are_those_of_the_rows(estimator, views):
    model = clone(estimator).fit(views)
    z = model.transform(views)
    r = reference.pairwise_correlations(list(z.values()))
    np.testing.assert_allclose(model.pairwise_correlations_, r, atol=1e-10)
    assert model.score(views) == pytest.approx(r[np.triu_indices(3, 1)].mean(), abs=1e-10)
    rows = model.common_variate({n: v[:1] for n, v in views.items()})
    np.testing.assert_allclose(rows, model.common_variate(views)[:1], atol=1e-12)
