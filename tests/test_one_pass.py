"""What linear estimators have from moments: rows that stream, merge and are taken out; folds; their peers."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

import fastcca
from fastcca import similarity

pytestmark = [pytest.mark.core, pytest.mark.filterwarnings("ignore:the best ridge")]

TIGHT = {"max_iter": 5000, "tol": 1e-12}
ESTIMATORS = {
    "cca": fastcca.CCA(3, solver="covariance"),
    "ridge": fastcca.CCA(3, reg=0.1),
    "shrinkage": fastcca.CCA(3, shrinkage=0.3),
    "oas": fastcca.CCA(3, shrinkage="oas"),
    "mcca": fastcca.MCCA(3, reg=0.1),
    "gcca": fastcca.GCCA(3, reg=0.1),
    "pls": fastcca.PLSRegression(3),
    "canonical": fastcca.PLSCanonical(3),
    "svd": fastcca.PLSSVD(3),
    "pmd": fastcca.SparseCCA(2, 0.7, **TIGHT),
    "elastic net": fastcca.SparseCCA(2, 0.05, "elastic-net", **TIGHT),
    "probabilistic": fastcca.ProbabilisticCCA(2),
}
ANSWERS = (
    "weights_ eigenvalues_ canonical_correlations_ singular_values_ x_weights_ y_weights_ x_rotations_ "
    "x_loadings_ y_loadings_ coef_ intercept_ x_factors_ y_factors_ x_noise_ y_noise_ loadings_ means_ "
    "x_mean_"
)


@pytest.fixture
def data(rng):
    t = rng.normal(size=(240, 3)) * [3, 2, 1.2]
    X, Y = (t @ rng.normal(size=(3, d)) + rng.normal(size=(240, d)) + 1.0 for d in (8, 6))
    return X, Y


def answers(model):
    """Every number that the fit found, flat, by name."""
    found = {}
    for name in ANSWERS.split():
        value = getattr(model, name, None)
        if isinstance(value, dict):
            found |= {f"{name} {key}": part for key, part in value.items()}
        elif value is not None:
            found[name] = value
    assert len(found) >= 4
    return found


def same(model, expected, atol):
    other = answers(expected)
    for name, value in answers(model).items():
        scale = max(1.0, float(np.abs(other[name]).max()))
        np.testing.assert_allclose(value, other[name], rtol=0, atol=atol * scale, err_msg=name)


def fitted(model, X, Y):
    return (
        clone(model).fit({"view0": X, "view1": Y})
        if isinstance(model, fastcca.MCCA | fastcca.GCCA)
        else clone(model).fit(X, Y)
    )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_streams_merges_and_differences_are_the_batch(name, data):
    model, (X, Y) = ESTIMATORS[name], data
    whole = fitted(model, X, Y)

    def moments(rows):
        return fastcca.Moments().update(X[rows], Y[rows])

    merged = clone(model).fit_moments(moments(slice(100)) + moments(slice(100, None)))
    same(merged, whole, 1e-12)
    if hasattr(model, "partial_fit"):
        grown = clone(model)
        for rows in (slice(70), slice(70, 71), slice(71, 200), slice(200, None)):
            if isinstance(model, fastcca.MCCA | fastcca.GCCA):
                grown.partial_fit([X[rows], Y[rows]])
            else:
                grown.partial_fit(X[rows], Y[rows])
        same(grown, whole, 1e-12)
    rest = clone(model).fit_moments(moments(slice(None)) - moments(slice(30, 90)))
    kept = np.r_[0:30, 90:240]
    same(rest, fitted(model, X[kept], Y[kept]), 1e-12)


def test_similarities_too(data):
    X, Y = data
    layers = {"x": X, "y": Y, "z": np.sin(X[:, :4] + Y[:, :1])}
    for method in ("cka", "debiased_cka", "svcca", "pwcca", "mean_cca", "procrustes"):
        expected = similarity.compare(layers, method).values
        parts = [similarity.Activations(), similarity.Activations()]
        for i, rows in enumerate((slice(70), slice(70, 72), slice(72, 200), slice(200, None))):
            parts[i % 2].update({name: view[rows] for name, view in layers.items()})
        merged = similarity.compare(parts[0] + parts[1], method).values
        np.testing.assert_allclose(merged, expected, atol=1e-12, err_msg=method)


# Cross-validation is the loop of separate fits

FOLDS = KFold(4, shuffle=True, random_state=0)


def loop(X, Y, models, score):
    """Scores (splits, models) of fits to the training rows."""
    out = np.empty((FOLDS.get_n_splits(), len(models)))
    for i, (train, test) in enumerate(FOLDS.split(X)):
        for j, model in enumerate(models):
            out[i, j] = score(fitted(model, X[train], Y[train]), X[test], Y[test])
    return out


def held_out(model, X, Y):
    return model.score([X, Y]) if isinstance(model, fastcca.MCCA | fastcca.GCCA) else model.score(X, Y)


@pytest.mark.parametrize(
    ("search", "models"),
    [
        (fastcca.CCACV(2, regs=[0.01, 1.0], cv=FOLDS), [fastcca.CCA(2, reg=r) for r in (0.01, 1.0)]),
        (fastcca.MCCACV(2, [0.01, 1.0], cv=FOLDS), [fastcca.MCCA(2, r) for r in (0.01, 1.0)]),
        (fastcca.MCCACV(2, [0.01, 1.0], "gcca", cv=FOLDS), [fastcca.GCCA(2, r) for r in (0.01, 1.0)]),
        (
            fastcca.SparseCCACV(2, [0.3, (0.4, 0.6), 1.0], cv=FOLDS, **TIGHT),
            [fastcca.SparseCCA(2, c, **TIGHT) for c in (0.3, (0.4, 0.6), 1.0)],
        ),
        (
            fastcca.SparseCCACV(2, [0.05, 0.2], "elastic-net", cv=FOLDS, **TIGHT),
            [fastcca.SparseCCA(2, c, "elastic-net", **TIGHT) for c in (0.05, 0.2)],
        ),
        (fastcca.PLSRegressionCV(4, cv=FOLDS), [fastcca.PLSRegression(k + 1) for k in range(4)]),
    ],
)
def test_cv_is_the_loop_of_fits(search, models, data):
    X, Y = data
    search = clone(search).fit([X, Y]) if isinstance(search, fastcca.MCCACV) else clone(search).fit(X, Y)
    expected = loop(X, Y, models, held_out)
    for i, scores in enumerate(expected):
        np.testing.assert_allclose(search.cv_results_[f"split{i}_test_score"], scores, rtol=0, atol=1e-10)
    same(search.best_estimator_, fitted(models[search.best_index_], X, Y), 1e-10)


def test_held_out_likelihoods_are_the_loop_of_fits(data):
    X, Y = data
    model = fastcca.ProbabilisticCCA(max_components=6, cv=FOLDS).fit(X, Y)
    expected = loop(
        X, Y, [fastcca.ProbabilisticCCA(k + 1) for k in range(6)], lambda m, x, y: m.log_density(x, y).sum()
    )
    np.testing.assert_allclose(model.held_out_, expected.sum(axis=0) / len(X), rtol=1e-10)


# Peers, where they are installed and right


def test_against_cca_zoo(data):
    zoo = pytest.importorskip("cca_zoo")
    X, Y = data
    sx, sy = X.std(axis=0, ddof=1), Y.std(axis=0, ddof=1)
    import cca_zoo.linear
    import cca_zoo.sparse

    assert zoo is not None
    for bound in (0.5, 0.7, 1.0):  # the first pair: later ones come from other deflations
        ours = fastcca.SparseCCA(1, bound, **TIGHT).fit(X, Y)
        theirs = cca_zoo.sparse.PMDCCA(1, l1_bound=bound, tol=1e-12, max_iter=5000).fit([X / sx, Y / sy])
        for w, other, scale in (
            (ours.x_weights_, theirs.weights_[0], sx),
            (ours.y_weights_, theirs.weights_[1], sy),
        ):
            u, v = (a[:, 0] / np.linalg.norm(a[:, 0]) for a in (w * scale[:, np.newaxis], other))
            np.testing.assert_allclose(np.abs(u @ v), 1, atol=1e-8)
    Z = X[:, :2]
    views = [X[:, 2:5], X[:, 5:], Y]
    ours = fastcca.MCCA(2).fit(views, confounds=Z)
    theirs = cca_zoo.linear.PartialCCA(2).fit(views, partials=Z)
    scores = ours.transform(views, confounds=Z)
    for z, other in zip(scores.values(), theirs.transform(views, partials=Z), strict=True):
        for j in range(2):
            assert abs(np.corrcoef(z[:, j], other[:, j])[0, 1]) == pytest.approx(1, abs=1e-8)


def test_against_ikpls(data):
    fast = pytest.importorskip("ikpls.fast_cross_validation.numpy", reason="pip install ikpls")
    X, Y = data
    splits = np.empty(len(X), dtype=int)
    for i, (_, test) in enumerate(FOLDS.split(X)):
        splits[test] = i
    search = fastcca.PLSRegressionCV(5, cv=FOLDS).fit(X, Y)
    for algorithm in (1, 2):
        found = fast.PLS(algorithm=algorithm, ddof=1).cross_validate(
            X, Y, 5, splits, lambda true, all_of: [r2_score(true, one) for one in all_of], n_jobs=1, verbose=0
        )
        for i, scores in found.items():
            np.testing.assert_allclose(search.cv_results_[f"split{i}_test_score"], scores, rtol=0, atol=1e-10)
