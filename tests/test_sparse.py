"""Sparse CCA against slow versions from the rows: bisection, scikit-learn's elastic net, loops of fits."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import ElasticNet
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut

import fastcca
from fastcca import Moments, NumericalError, SparseCCA, SparseCCACV
from fastcca.cca import stability_selection
from fastcca.functional.sparse import unit_with_bound

pytestmark = [pytest.mark.core, pytest.mark.filterwarnings("ignore:the alternation does not settle")]


def two_views(rng, n=120, p=15, q=10):
    X, Y = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    Y[:, :2] += 1.5 * (X[:, 2:3] + X[:, 3:4])
    Y[:, 5] += X[:, 9]
    return X * rng.uniform(0.5, 5, size=p) + 1.0, Y * rng.uniform(0.5, 5, size=q)


@pytest.fixture
def data(rng):
    return two_views(rng)


def standardised(A):
    return (A - A.mean(0)) / A.std(0, ddof=1)


def by_bisection(a, bound):
    """Soft thresholding to a 1-norm, the threshold by bisection."""

    def unit(t):
        s = np.sign(a) * np.maximum(np.abs(a) - t, 0)
        return s / np.linalg.norm(s)

    if np.abs(unit(0.0)).sum() <= bound:
        return unit(0.0)
    low, high = 0.0, np.abs(a).max() * (1 - 1e-12)
    for _ in range(100):
        t = (low + high) / 2
        low, high = (t, high) if np.abs(unit(t)).sum() > bound else (low, t)
    return unit(high)


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("p", [1, 2, 7, 50])
def test_the_threshold_is_exact(rng, p, fraction):
    bound = max(1.0, fraction * np.sqrt(p))
    for _ in range(20):
        a = rng.normal(size=p) * rng.uniform(0.1, 10)
        u = unit_with_bound(a, bound)
        np.testing.assert_allclose(np.linalg.norm(u), 1, rtol=1e-12)
        assert np.abs(u).sum() <= bound * (1 + 1e-9)
        np.testing.assert_allclose(u, by_bisection(a, bound), atol=1e-7)
    np.testing.assert_array_equal(unit_with_bound(np.array([0.0, -2.0, 2.0]), 1.0), [0, -1, 0])
    np.testing.assert_array_equal(unit_with_bound(np.zeros(3), 1.0), np.zeros(3))


def pmd(X, Y, k, penalty):
    """The alternation from the standardised rows."""
    X, Y = standardised(X), standardised(Y)
    S = X.T @ Y / (len(X) - 1)
    bounds = [max(1.0, c * np.sqrt(A.shape[1])) for c, A in zip(penalty, (X, Y), strict=True)]
    out = []
    for _ in range(k):
        v = np.linalg.svd(S)[2][0]
        for _ in range(2000):
            u = by_bisection(S @ v, bounds[0])
            v = by_bisection(S.T @ u, bounds[1])
        d = u @ S @ v
        S = S - d * np.outer(u, v)
        out.append((u, v, d))
    return out


@pytest.mark.parametrize("penalty", [(0.4, 0.4), (0.6, 0.35), (1.0, 1.0)])
def test_pmd_is_the_alternation_from_the_rows(data, penalty):
    X, Y = data
    model = SparseCCA(2, penalty, tol=1e-13, max_iter=5000).fit(X, Y)
    for j, (u, v, d) in enumerate(pmd(X, Y, 2, penalty)):
        wx, wy = u / X.std(0, ddof=1), v / Y.std(0, ddof=1)
        sign = np.sign(wx[np.abs(wx).argmax()])
        np.testing.assert_allclose(model.x_weights_[:, j], sign * wx, atol=1e-6)
        np.testing.assert_allclose(model.y_weights_[:, j], sign * wy, atol=1e-6)
        assert model.singular_values_[j] == pytest.approx(d, abs=1e-8)
    zx, zy = model.transform_views(X, Y)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(zx.T, zy.T, strict=True)]
    np.testing.assert_allclose(model.canonical_correlations_, r, atol=1e-10)
    assert not hasattr(model, "total_correlation_")


@pytest.mark.parametrize("l1_ratio", [1.0, 0.6])
def test_elastic_net_is_alternating_regressions(data, l1_ratio):
    X, Y = (standardised(A) for A in data)
    n = len(X)
    penalty = (0.15, 0.2)
    model = SparseCCA(1, penalty, "elastic-net", l1_ratio, tol=1e-12).fit(*data)
    v = np.linalg.svd(X.T @ Y)[2][0]
    v /= np.std(Y @ v, ddof=1)
    options = {"l1_ratio": l1_ratio, "fit_intercept": False, "tol": 1e-14, "max_iter": 10**6}
    for _ in range(300):  # of the regressions' sums over n, ours over n - 1
        u = ElasticNet(penalty[0] * (n - 1) / n, **options).fit(X, Y @ v).coef_
        u /= np.std(X @ u, ddof=1)
        v = ElasticNet(penalty[1] * (n - 1) / n, **options).fit(Y, X @ u).coef_
        v /= np.std(Y @ v, ddof=1)
    sign = np.sign((u / data[0].std(0, ddof=1))[np.abs(u / data[0].std(0, ddof=1)).argmax()])
    np.testing.assert_allclose(model.x_weights_[:, 0] * data[0].std(0, ddof=1), sign * u, atol=1e-7)
    np.testing.assert_allclose(model.y_weights_[:, 0] * data[1].std(0, ddof=1), sign * v, atol=1e-7)
    assert (model.x_weights_ == 0).any()
    np.testing.assert_array_equal(model.x_weights_[:, 0] == 0, u == 0)


def test_without_a_penalty_the_elastic_net_is_cca(data):
    X, Y = data
    model = SparseCCA(2, 0.0, "elastic-net", max_iter=20000, tol=1e-13).fit(X, Y)
    cca = fastcca.CCA(2).fit(X, Y)
    np.testing.assert_allclose(model.canonical_correlations_, cca.canonical_correlations_, atol=1e-8)
    np.testing.assert_allclose(model.x_weights_, cca.x_weights_, atol=1e-5)


@pytest.mark.parametrize("method", ["pmd", "elastic-net"])
def test_streams_weights_threads_and_dtypes(data, rng, method):
    X, Y = data
    make = SparseCCA(2, 0.4 if method == "pmd" else 0.1, method)
    whole = fastcca_clone(make).fit(X, Y)
    moments = Moments().update(X[:50], Y[:50]) + Moments().update(X[50:], Y[50:])
    grown = fastcca_clone(make).partial_fit(X[:50], Y[:50]).partial_fit(X[50:], Y[50:])
    for other in (grown, fastcca_clone(make).fit_moments(moments)):
        np.testing.assert_allclose(other.x_weights_, whole.x_weights_, atol=1e-8)
    w = rng.integers(0, 3, len(X))
    rows = np.repeat(np.arange(len(X)), w)
    np.testing.assert_allclose(
        fastcca_clone(make).fit(X, Y, sample_weight=w).x_weights_,
        fastcca_clone(make).fit(X[rows], Y[rows]).x_weights_,
        atol=1e-8,
    )
    for n_threads in (1, 2, 7):
        again = fastcca_clone(make).set_params(n_threads=n_threads).fit(X, Y)
        np.testing.assert_array_equal(again.x_weights_, whole.x_weights_)
    single = fastcca_clone(make).fit(X.astype(np.float32), Y.astype(np.float32))
    assert single.transform(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(single.x_weights_, whole.x_weights_, atol=1e-4)


def fastcca_clone(model):
    from sklearn.base import clone

    return clone(model)


def test_top_features_have_names(data):
    X, Y = data
    frames = (
        pd.DataFrame(X, columns=[f"gene{i}" for i in range(15)]),
        pd.DataFrame(Y, columns=[f"trait{i}" for i in range(10)]),
    )
    model = SparseCCA(2, 0.4).fit(*frames)
    top = model.top_features(2)
    assert {name for name, _ in top["X"]} == {"gene2", "gene3"}
    assert {name for name, _ in top["y"]} == {"trait0", "trait1"}
    assert abs(top["X"][0][1]) >= abs(top["X"][1][1])
    w = model.x_weights_[:, 0] * model.x_scale_
    assert dict(model.top_features(15)["X"]) == {f"gene{i}": w[i] for i in range(15) if w[i]}
    assert SparseCCA(1, 0.4).fit(X, Y).top_features(1)["y"][0][0] in ("y0", "y1")
    with pytest.raises(ValueError, match="component must be from 0 to 1, got 2"):
        model.top_features(component=2)


@pytest.mark.parametrize("method", ["pmd", "elastic-net"])
def test_cv_is_grid_search(data, method):
    X, Y = data
    penalties = [0.3, 0.5, (0.4, 0.8), 1.0] if method == "pmd" else [0.05, 0.1, (0.2, 0.1), 0.3]
    search = SparseCCACV(2, penalties, method, cv=KFold(4, shuffle=True, random_state=0)).fit(X, Y)
    grid = GridSearchCV(
        SparseCCA(2, method=method), {"penalty": penalties}, cv=KFold(4, shuffle=True, random_state=0)
    ).fit(X, Y)
    for name, values in grid.cv_results_.items():
        if name.endswith("test_score") and not name.startswith("rank"):
            np.testing.assert_allclose(search.cv_results_[name], values, atol=1e-8, err_msg=name)
    assert search.penalty_ == grid.best_params_["penalty"]
    np.testing.assert_allclose(search.x_weights_, grid.best_estimator_.x_weights_, atol=1e-8)
    assert search.top_features(3) == search.best_estimator_.top_features(3)
    assert len(SparseCCACV(method=method, cv=3).fit(X, Y).cv_results_["params"]) == 20


def test_single_rows_held_out_are_scored_together(data):
    X, Y = (a[:20] for a in data)
    search = SparseCCACV(1, [0.4, 1.0], cv=LeaveOneOut()).fit(X, Y)
    for j, penalty in enumerate([0.4, 1.0]):
        zx, zy = np.empty(20), np.empty(20)
        for train, test in LeaveOneOut().split(X):
            model = SparseCCA(1, penalty).fit(X[train], Y[train])
            zx[test], zy[test] = model.transform(X[test])[:, 0], model.transform_y(Y[test])[:, 0]
        expected = zx @ zy / np.sqrt(zx @ zx * (zy @ zy))
        assert search.cv_results_["mean_test_score"][j] == pytest.approx(expected, abs=1e-8)


def test_stability_selection(data):
    X, Y = data
    found = stability_selection(SparseCCA(1, 0.4), X, Y, n_pairs=10, random_state=0)
    assert found.n_fits == 20
    chosen_x, chosen_y = found.selected(0.95)
    assert {2, 3} <= set(chosen_x.tolist())
    assert {0, 1} <= set(chosen_y.tolist())
    assert found.x_frequency.shape == (15, 1)
    again = stability_selection(SparseCCA(1, 0.4), X, Y, n_pairs=10, random_state=0)
    np.testing.assert_array_equal(found.x_frequency, again.x_frequency)
    # the same halves, by fits to their rows
    state = np.random.RandomState(0)
    blocks = [np.sort(part) for part in np.array_split(state.permutation(len(X)), 20)]
    counts = np.zeros(15)
    for _ in range(10):
        half = np.concatenate([blocks[i] for i in state.permutation(20)[:10]])
        for rows in (half, np.setdiff1d(np.arange(len(X)), half)):
            counts += SparseCCA(1, 0.4).fit(X[rows], Y[rows]).x_weights_[:, 0] != 0
    np.testing.assert_allclose(found.x_frequency[:, 0], counts / 20, atol=1e-12)
    with pytest.raises(TypeError, match="must be a SparseCCA or a SparseCCACV, got CCA"):
        stability_selection(fastcca.CCA(), X, Y)
    with pytest.raises(ValueError, match="n_blocks=61 is more than half the number of rows"):
        stability_selection(SparseCCA(), X, Y, n_blocks=61)


def test_bad_input(data):
    X, Y = data
    for penalty in (0, 1.5, (0.3, 0.0)):
        with pytest.raises(ValueError, match="penalty of method='pmd' must be above 0 and at most 1"):
            SparseCCA(penalty=penalty).fit(X, Y)
    for penalty in (-1, "x", (0.1, 0.2, 0.3), np.nan):
        with pytest.raises(ValueError, match="penalty must be a finite number >= 0 or a pair"):
            SparseCCA(penalty=penalty).fit(X, Y)
    with pytest.raises(ValueError, match="method must be one of 'pmd', 'elastic-net', got 'lasso'"):
        SparseCCA(method="lasso").fit(X, Y)
    with pytest.raises(NumericalError, match="the penalty leaves no column of X"):
        SparseCCA(penalty=1.0, method="elastic-net").fit(X, Y)
    with pytest.raises(NumericalError, match="y has rank 0"):
        SparseCCA().fit(X, np.ones((120, 2)))
    with pytest.raises(ValueError, match=r"n_components=11 is more than min\(p, q\) = 10"):
        SparseCCA(11).fit(X, Y)
    with pytest.raises(ValueError, match="penalties must be a sequence of penalties"):
        SparseCCACV(penalties=[]).fit(X, Y)
    with pytest.raises(NumericalError, match="no covariance at all"):
        SparseCCA().fit([[-1.0], [0.0], [1.0]], [1.0, 0.0, 1.0])
    with pytest.warns(UserWarning, match="n_components=2 is reduced to 1"):
        SparseCCA(2, 1.0).fit(X[:, :2], X[:, :1] * [1.0, 2.0])


def test_files(data, tmp_path):
    X, Y = data
    for model in (SparseCCA(2, 0.4), SparseCCACV(1, [0.3, 0.6])):
        model.fit(X, Y).save(tmp_path / "m.safetensors")
        loaded = fastcca.load(tmp_path / "m.safetensors")
        np.testing.assert_array_equal(loaded.transform(X), model.transform(X))
        assert loaded.top_features() == model.top_features()
