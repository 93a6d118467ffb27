"""Missing values: left out, or taken into account by maximum likelihood."""

import io
import warnings
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.base import clone
from sklearn.model_selection import KFold

import fastcca
from fastcca import cli
from fastcca.datasets import make_two_views
from fastcca.functional import em_moments
from fastcca.functional.missing import conditional_means
from fastcca.metrics import column_correlations
from reference import missing as reference


def holes(data, rate, rng, keep=0):
    out = data.copy()
    out[keep:][rng.random(out[keep:].shape) < rate] = np.nan
    return out


pytestmark = pytest.mark.filterwarnings("ignore:the best ridge")


@pytest.fixture
def rows(rng):
    """Correlated columns of very different units and means."""
    data = rng.normal(size=(150, 6)) @ rng.normal(size=(6, 6)) + rng.normal(size=(150, 6))
    return holes(data * [1, 10, 0.01, 1, 1e3, 1] + 5.0, 0.15, rng)


@pytest.fixture
def views():
    data = make_two_views(300, (5, 4), (0.9, 0.6, 0.3), random_state=0)
    return data.X, data.y


# ---- the moments


@pytest.mark.parametrize("n_iter", [1, 2])
def test_an_iteration_is_that_of_the_reference(n_iter, rows):
    mean, S = reference.em(rows, n_iter)
    with pytest.warns(UserWarning, match=f"have not converged after {n_iter} iterations"):
        found = em_moments(rows, max_iter=n_iter)
    assert (found.n_iter, found.converged) == (n_iter, False)
    scale = np.sqrt(S.diagonal())
    np.testing.assert_allclose((found.moments.mean - mean) / scale, 0, atol=1e-12)
    ours = found.moments.scatter / found.moments.n
    np.testing.assert_allclose((ours - S) / np.outer(scale, scale), 0, atol=1e-12)
    assert found.log_likelihood[-1] == pytest.approx(reference.log_likelihood(rows, mean, S), abs=1e-8)


@pytest.mark.parametrize("rate", [0.05, 0.3])
@pytest.mark.parametrize("threads", [1, 3])
def test_it_ends_at_the_maximum_and_never_falls(rate, threads, rng):
    data = rng.normal(size=(150, 5)) @ rng.normal(size=(5, 5)) + rng.normal(size=(150, 5))
    data = holes(data, rate, rng)
    found = em_moments(data[:, :3], data[:, 3:], tol=1e-9, n_threads=threads)
    assert found.converged
    assert len(found.log_likelihood) == found.n_iter + 1
    assert (np.diff(found.log_likelihood) > -1e-9 * np.abs(found.log_likelihood[-1])).all()
    mean, S = reference.em(data, 400)
    np.testing.assert_allclose(found.moments.mean, mean, atol=1e-6)
    np.testing.assert_allclose(found.moments.scatter / found.moments.n, S, atol=1e-6)
    assert found.log_likelihood[-1] == pytest.approx(reference.log_likelihood(data, mean, S), abs=1e-7)
    assert found.n_incomplete == np.isnan(data).any(axis=1).sum()
    assert found.moments.dims == (3, 2)
    # of no use is a step of the reference from here
    again, _ = reference.em_step(data, found.moments.mean, found.moments.scatter / found.moments.n)
    np.testing.assert_allclose(again, found.moments.mean, atol=1e-8)


def test_steps_between_iterations_save_most_of_them(rng):
    """Of columns that are nearly dependent rows with a hole say little: plain EM would take thousands."""
    data = holes(rng.normal(size=(400, 15)) @ rng.normal(size=(15, 15)), 0.1, rng)
    found = em_moments(data)
    assert found.converged
    assert found.n_iter < 300
    assert (np.diff(found.log_likelihood) > -1e-6 * np.abs(found.log_likelihood[-1])).all()


def test_weights_are_repetitions(rows, rng):
    w = rng.integers(0, 4, len(rows))
    weighted = em_moments(rows, sample_weight=w, tol=1e-10)
    repeated = em_moments(np.repeat(rows, w, axis=0), tol=1e-10)
    assert weighted.moments.n == w.sum()
    np.testing.assert_allclose(weighted.moments.mean, repeated.moments.mean, rtol=1e-6)
    np.testing.assert_allclose(weighted.log_likelihood[-1], repeated.log_likelihood[-1], rtol=1e-9)


def test_whole_views_and_empty_rows(rng):
    data = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5))
    data[:60, :2] = np.nan
    data[100:130, 2:] = np.nan
    data[190:] = np.nan
    found = em_moments(data[:, :2], data[:, 2:], tol=1e-10)
    assert (found.n_left_out, found.n_incomplete, found.moments.n) == (10, 90, 190.0)
    mean, S = reference.em(data[:190], 800)
    np.testing.assert_allclose(found.moments.mean, mean, atol=1e-6)
    np.testing.assert_allclose(found.moments.scatter / 190, S, atol=1e-5)


def test_none_missing_are_the_moments(rng):
    data = rng.normal(size=(50, 3))
    found = em_moments(data[:, :2], data[:, 2:])
    expected = fastcca.Moments().update(data[:, :2], data[:, 2:], dtype=np.float64)
    np.testing.assert_array_equal(found.moments.scatter, expected.scatter)
    assert (found.n_iter, found.n_incomplete, found.converged) == (0, 0, True)
    data[:5] = np.nan
    assert em_moments(data).moments.n == 45


def test_constant_columns_are_set_aside(rows):
    with_constant = np.column_stack([rows, np.full(len(rows), 0.1)])
    with_constant[3, -1] = np.nan
    found, without = em_moments(with_constant), em_moments(rows)
    np.testing.assert_allclose(found.moments.scatter[:-1, :-1], without.moments.scatter, rtol=1e-3, atol=1e-6)
    assert found.moments.mean[-1] == pytest.approx(0.1, abs=1e-15)
    assert not found.moments.scatter[-1].any()
    assert found.moments.constant[-1]
    complete = np.column_stack([rng_rows := np.arange(12.0).reshape(6, 2) % 5, np.ones(6)])
    complete[2, -1] = np.nan
    alone = em_moments(complete)
    assert alone.converged
    np.testing.assert_allclose(alone.moments.scatter[:2, :2], fastcca.Moments().update(rng_rows).scatter)


def test_what_cannot_be_estimated(rows, rng):
    frame = pd.DataFrame(rows, columns=list("abcdef"))
    frame["e"] = np.nan
    with pytest.raises(ValueError, match=r"column 4 \('e'\) of X has no value at all"):
        em_moments(frame, rows[:, :1])
    with pytest.raises(ValueError, match="more rows than columns, got 6 rows and 6 columns"):
        em_moments(rows[:6])
    twice = np.column_stack([rows, rows[:, 0] + rows[:, 1]])
    with pytest.raises(fastcca.NumericalError, match=r"depend on one another.*column 0 of views\[0\]"):
        em_moments(twice)
    infinite = rows.copy()
    infinite[7, 2] = np.inf
    with pytest.raises(ValueError, match="contains infinity: the first is at row 7, column 2"):
        em_moments(infinite)
    for options, match in (({"max_iter": 0}, "max_iter"), ({"tol": 0.0}, "tol must be")):
        with pytest.raises(ValueError, match=match):
            em_moments(rows, **options)


def test_conditional_means_are_regressions(rows, rng):
    mean, S = reference.em(rows, 50)
    filled = conditional_means(rows, mean, S)
    for row, out in zip(rows, filled, strict=True):
        o, m = np.flatnonzero(~np.isnan(row)), np.flatnonzero(np.isnan(row))
        expected = mean[m] + S[np.ix_(m, o)] @ np.linalg.solve(S[np.ix_(o, o)], row[o] - mean[o])
        np.testing.assert_allclose(out[m], expected, rtol=1e-6)
        np.testing.assert_array_equal(out[o], row[o])
    np.testing.assert_array_equal(conditional_means(np.full((1, 6), np.nan), mean, S)[0], mean)


# ---- the estimators


def test_correlations_are_those_of_the_complete_data():
    off, chosen = [], []
    for seed in range(6):
        data = make_two_views(2000, (8, 6), (0.9, 0.6, 0.3), random_state=seed)
        rng = np.random.default_rng(seed + 100)
        X, Y = holes(data.X, 0.1, rng), holes(data.y, 0.1, rng)
        complete = fastcca.CCA(3).fit(data.X, data.y).canonical_correlations_
        model = fastcca.CCA(3, missing="em").fit(X, Y)
        off.append(model.canonical_correlations_ - complete)
        assert model.n_samples_ == 2000
        assert model.n_incomplete_ == (np.isnan(X).any(axis=1) | np.isnan(Y).any(axis=1)).sum()
        assert model.n_iter_ >= 1
        if seed < 2:
            search = fastcca.CCACV(3, regs=[1e-3, 1e-1, 10.0], missing="em", cv=3).fit(X, Y)
            whole = fastcca.CCACV(3, regs=[1e-3, 1e-1, 10.0], cv=3).fit(data.X, data.y)
            chosen.append(search.cv_results_["mean_test_score"] - whole.cv_results_["mean_test_score"])
    assert (np.sqrt(np.mean(np.square(off), axis=0)) < 0.02).all()
    assert (np.abs(np.mean(off, axis=0)) < 0.01).all()
    # scores of rows held out are lower, as some of their values are unknown, and no more than that
    assert (np.array(chosen) < 0).all()
    assert (np.array(chosen) > -0.1).all()


ESTIMATORS = [
    fastcca.CCA(2),
    fastcca.CCA(2, reg=0.3, scale=True),
    fastcca.CCA(2, shrinkage="oas"),
    fastcca.CCACV(2, regs=[0.1, 1.0], cv=3),
    fastcca.PLSRegression(2),
    fastcca.PLSRegressionCV(4, cv=3),
    fastcca.PLSCanonical(2),
    fastcca.PLSSVD(2),
]
each = pytest.mark.parametrize("model", ESTIMATORS, ids=lambda m: repr(m)[:30])


@each
@pytest.mark.parametrize("missing", ["drop", "em"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_with_none_missing_the_fit_is_the_same_bit_by_bit(model, missing, dtype, views):
    X, Y = (view.astype(dtype) for view in views)
    plain = clone(model).fit(X, Y)
    other = clone(model).set_params(missing=missing).fit(X, Y)
    for name, value in vars(plain).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(other, name), value, err_msg=name)
    assert other.n_incomplete_ == 0
    assert not hasattr(other, "n_iter_")


@each
def test_rows_are_left_out_with_a_warning(model, views, rng):
    X, Y = holes(views[0], 0.03, rng), holes(views[1], 0.03, rng)
    X[:40, 2] = np.nan
    w = rng.uniform(0.5, 2, 300)
    kept = ~(np.isnan(X).any(axis=1) | np.isnan(Y).any(axis=1))
    expected = clone(model).fit(X[kept], Y[kept], sample_weight=w[kept])
    frames = pd.DataFrame(X, columns=list("abcde")), pd.DataFrame(Y, columns=list("uvwx"))
    lacks = np.isnan(X[:, 2]).sum()
    said = rf"^{300 - kept.sum()} of 300 rows have missing values .* column 2 \('c'\) of X lacks {lacks}$"
    with pytest.warns(UserWarning, match=said) as caught:
        found = clone(model).set_params(missing="drop").fit(*frames, sample_weight=w)
    assert caught[0].filename == __file__
    for name, value in vars(expected).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)
    assert found.n_samples_ == pytest.approx(w[kept].sum())
    assert found.n_incomplete_ == 300 - kept.sum()
    assert found.feature_names_in_.tolist() == list("abcde")
    assert not hasattr(found.set_params(missing="error").fit(*views), "n_incomplete_")


@each
def test_moments_of_all_rows(model, views, rng):
    X, Y = holes(views[0], 0.05, rng), holes(views[1], 0.05, rng)
    found = clone(model).set_params(missing="em").fit(X, Y)
    moments = em_moments(X, Y).moments
    if isinstance(model, fastcca.CCACV):
        expected = fastcca.CCA(2, reg=found.reg_).fit_moments(moments)
    elif isinstance(model, fastcca.PLSRegressionCV):
        expected = fastcca.PLSRegression(found.n_components_).fit_moments(moments)
    else:
        expected = clone(model).fit_moments(moments)
    np.testing.assert_array_equal(found.x_weights_, expected.x_weights_)
    np.testing.assert_array_equal(found.canonical_correlations_, expected.canonical_correlations_)
    memory = io.BytesIO()
    found.save(memory)
    memory.seek(0)
    loaded = fastcca.load(memory)
    assert (loaded.n_incomplete_, loaded.n_iter_, loaded.missing) == (
        found.n_incomplete_,
        found.n_iter_,
        "em",
    )


def test_values_that_are_missing_in_every_way(views):
    X, Y = views
    holed = X.copy()
    holed[3, 1] = np.nan
    expected = fastcca.CCA(2, missing="em").fit(holed, Y).canonical_correlations_
    objects = X.astype(object)
    objects[3, 1] = None
    masked = np.ma.masked_array(X, mask=np.isnan(holed))
    nullable = pd.DataFrame(X).convert_dtypes()
    nullable.iloc[3, 1] = pd.NA
    for data in (objects, masked, nullable, holed.tolist()):
        found = fastcca.CCA(2, missing="em").fit(data, Y).canonical_correlations_
        np.testing.assert_array_equal(found, expected)
        with pytest.raises((ValueError, TypeError)):
            fastcca.CCA(2).fit(data, Y)


def test_a_pattern_that_depends_on_what_is_there(rng):
    """Missing at random, not completely at random: rows left out would lie."""
    n = 4000
    x = rng.normal(size=(n, 1))
    y = 0.8 * x + 0.6 * rng.normal(size=(n, 1))
    y[x[:, 0] > 0.3] = np.nan
    assert fastcca.CCA(missing="em").fit(x, y).canonical_correlations_[0] == pytest.approx(0.8, abs=0.02)
    with pytest.warns(UserWarning, match="left out"):
        assert fastcca.CCA(missing="drop").fit(x, y).canonical_correlations_[0] < 0.7


def test_confounds(views, rng):
    X, Y = views
    Z = rng.normal(size=(300, 2))
    X, Y = X + Z[:, :1], Y + Z[:, :1]
    holed = holes(X, 0.05, rng), Y, holes(Z, 0.05, rng)
    found = fastcca.CCA(2, missing="em").fit(*holed[:2], confounds=holed[2])
    expected = fastcca.CCA(2).fit_moments(em_moments(*holed).moments, confounds=True)
    np.testing.assert_allclose(found.canonical_correlations_, expected.canonical_correlations_, atol=1e-12)
    assert found.confounds_rank_ == 2
    whole = fastcca.CCA(2).fit(X, Y, confounds=Z)
    np.testing.assert_allclose(found.canonical_correlations_, whole.canonical_correlations_, atol=0.03)
    chosen = fastcca.CCACV(2, regs=[0.01, 0.1, 1.0], cv=3, missing="em").fit(*holed[:2], confounds=holed[2])
    alone = fastcca.CCACV(2, regs=[0.01, 0.1, 1.0], cv=3).fit(X, Y, confounds=Z)
    assert chosen.best_score_ == pytest.approx(alone.best_score_, abs=0.06)
    kept = ~(np.isnan(holed[0]).any(axis=1) | np.isnan(holed[2]).any(axis=1))
    with pytest.warns(UserWarning, match="left out"):
        dropped = fastcca.CCA(2, missing="drop").fit(*holed[:2], confounds=holed[2])
    np.testing.assert_array_equal(
        dropped.x_weights_, fastcca.CCA(2).fit(X[kept], Y[kept], confounds=Z[kept]).x_weights_
    )


def test_rows_held_out_are_filled_from_their_own_view(views, rng):
    """By hand: moments of the training rows, each view's regressions on itself, correlations."""
    X, Y = holes(views[0], 0.08, rng), holes(views[1], 0.08, rng)
    X[10] = np.nan
    regs, cv = [0.01, 1.0], KFold(3, shuffle=True, random_state=0)
    found = fastcca.CCACV(2, regs=regs, cv=cv, missing="em").fit(X, Y)
    for i, (train, test) in enumerate(cv.split(X)):
        moments = em_moments(X[train], Y[train]).moments
        test = test[test != 10]
        x, y = (
            conditional_means(a[test], moments.mean[s], moments.covariance(j, j))
            for j, (a, s) in enumerate(zip((X, Y), moments.slices, strict=True))
        )
        for j, reg in enumerate(regs):
            expected = fastcca.CCA(2, reg=reg).fit_moments(moments).score(x, y)
            assert found.cv_results_[f"split{i}_test_score"][j] == pytest.approx(expected, abs=1e-10)
    with pytest.raises(ValueError, match="at least 5 test rows"):
        fastcca.CCACV(2, cv=100, missing="em").fit(X, Y)


def test_splits_count_rows_of_all(views):
    X, Y = views
    X[5:25, 0] = np.nan
    kept = np.r_[0:5, 25:300]
    splits = [(np.arange(100, 300), np.arange(100)), (np.arange(200), np.arange(200, 300))]
    with pytest.warns(UserWarning, match="20 of 300 rows"):
        found = fastcca.CCACV(2, regs=[0.1, 1.0], cv=splits, missing="drop").fit(X, Y)
    inner = [(np.flatnonzero(np.isin(kept, a)), np.flatnonzero(np.isin(kept, b))) for a, b in splits]
    expected = fastcca.CCACV(2, regs=[0.1, 1.0], cv=inner).fit(X[kept], Y[kept])
    np.testing.assert_array_equal(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )


def test_components_by_rows_held_out(views, rng):
    """By hand: moments of the training rows, X filled by its own regressions, the targets that are there."""
    X, Y = holes(views[0], 0.08, rng), holes(views[1], 0.08, rng)
    w = rng.uniform(0.5, 2, 300)
    cv = KFold(3, shuffle=True, random_state=0)
    found = fastcca.PLSRegressionCV(3, cv=cv, missing="em").fit(X, Y, sample_weight=w)
    squares, counts = np.zeros((3, 4)), np.zeros(4)
    for i, (train, test) in enumerate(cv.split(X)):
        moments = em_moments(X[train], Y[train], sample_weight=w[train]).moments
        x = conditional_means(X[test], moments.mean[:5], moments.covariance(0, 0))
        there = ~np.isnan(Y[test])
        counts += w[test] @ there
        for k in (1, 2, 3):
            predicted = fastcca.PLSRegression(k).fit_moments(moments).predict(x)
            r2 = []
            for j in range(4):
                y, v = Y[test][there[:, j], j], w[test][there[:, j]]
                error = v @ (y - predicted[there[:, j], j]) ** 2
                squares[k - 1, j] += error
                r2.append(1 - error / (v @ (y - np.average(y, weights=v)) ** 2))
            score = found.cv_results_[f"split{i}_test_score"][k - 1]
            assert score == pytest.approx(np.mean(r2), abs=1e-10)
    np.testing.assert_allclose(found.mse_, (squares / counts).mean(axis=1), rtol=1e-10)
    one_by_one = fastcca.PLSRegressionCV(3, cv=100, missing="em").fit(X[:100], Y[:100])  # pooled
    assert one_by_one.cv_results_["mean_test_score"].max() <= 1


VIEWS = [fastcca.MCCA(2), fastcca.MCCA(2, reg=0.3, scale=True), fastcca.GCCA(2, reg=0.1)]
SEARCH = fastcca.MCCACV(2, [0.1, 1.0], cv=3)
of_views = pytest.mark.parametrize("model", VIEWS, ids=lambda m: repr(m)[:30])


def assert_same_fit(found, expected):
    for name, value in vars(expected).items():
        for part in value.values() if isinstance(value, dict) else [value]:
            if isinstance(part, np.ndarray) and part.dtype.kind == "f":
                other = getattr(found, name)
                if isinstance(value, dict):
                    other = next(other[key] for key in value if value[key] is part)
                np.testing.assert_array_equal(other, part, err_msg=name)


@pytest.mark.parametrize("model", [*VIEWS, SEARCH], ids=lambda m: repr(m)[:30])
@pytest.mark.parametrize("missing", ["drop", "em"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_views_without_missing_values(model, missing, dtype, views):
    X, Y = (view.astype(dtype) for view in views)
    given = {"a": X, "b": Y, "c": X[:, :2] + Y[:, :2]}
    found = clone(model).set_params(missing=missing).fit(given)
    assert_same_fit(found, clone(model).fit(given))
    assert found.n_incomplete_ == 0


@of_views
def test_many_views_with_missing_values(model, views, rng):
    given = {
        "a": holes(views[0], 0.03, rng),
        "b": holes(views[1], 0.03, rng),
        "c": views[0][:, :2] + views[1][:, :2] + rng.normal(size=(300, 2)),
    }
    given["b"][:30] = np.nan  # which lack the view whole
    w = rng.uniform(0.5, 2, 300)
    kept = ~np.isnan(np.hstack(list(given.values()))).any(axis=1)
    with pytest.raises(ValueError, match="Input a contains NaN"):
        clone(model).fit(given)
    expected = clone(model).fit({name: view[kept] for name, view in given.items()}, sample_weight=w[kept])
    with pytest.warns(UserWarning, match=rf"^{300 - kept.sum()} of 300 rows have missing values") as caught:
        found = clone(model).set_params(missing="drop").fit(given, sample_weight=w)
    assert caught[0].filename == __file__
    assert_same_fit(found, expected)
    assert found.n_incomplete_ == 300 - kept.sum()
    moments = em_moments(*given.values(), sample_weight=w, names=list(given)).moments
    found = clone(model).set_params(missing="em").fit(given, sample_weight=w)
    expected = clone(model).fit_moments(moments, names=list(given))
    for name in given:
        np.testing.assert_array_equal(found.weights_[name], expected.weights_[name])
    np.testing.assert_array_equal(found.eigenvalues_, expected.eigenvalues_)
    assert found.n_incomplete_ == 300 - kept.sum()
    assert found.n_iter_ > 0
    memory = io.BytesIO()
    found.save(memory)
    memory.seek(0)
    assert fastcca.load(memory).n_iter_ == found.n_iter_


def test_many_views_held_out(views, rng):
    """By hand: moments of the training rows, each view filled from itself and the confounds, correlations."""
    Z = rng.normal(size=(300, 1))
    given = {
        "a": holes(views[0] + Z, 0.05, rng),
        "b": holes(views[1], 0.05, rng),
        "c": views[0][:, :2] + views[1][:, :2] + rng.normal(size=(300, 2)),
    }
    given["b"][:30] = np.nan
    w = rng.uniform(0.5, 2, 300)
    regs, cv = [0.01, 1.0], KFold(3, shuffle=True, random_state=0)
    for confounds in (None, Z):
        with_confounds = [*given.values()] if confounds is None else [*given.values(), confounds]
        found = fastcca.MCCACV(2, regs, cv=cv, missing="em").fit(given, sample_weight=w, confounds=confounds)
        for i, (train, test) in enumerate(cv.split(Z)):
            moments = em_moments(*(a[train] for a in with_confounds), sample_weight=w[train]).moments
            S, rows = moments.scatter / (moments.n - 1), []
            for s, a in zip(moments.slices, given.values(), strict=False):
                columns = np.r_[s, np.arange(11, len(S))]
                known = a[test] if confounds is None else np.hstack([a[test], Z[test]])
                filled = conditional_means(known, moments.mean[columns], S[np.ix_(columns, columns)])
                rows.append(np.where(np.isnan(a[test]).all(axis=1)[:, None], np.nan, filled[:, : a.shape[1]]))
            there = [~np.isnan(a[:, 0]) for a in rows]
            filled = {name: np.nan_to_num(a) for name, a in zip(given, rows, strict=True)}
            for j, reg in enumerate(regs):
                one = fastcca.MCCA(2, reg).fit_moments(moments, list(given), confounds=confounds is not None)
                scores = list(
                    one.transform(filled, confounds=None if confounds is None else Z[test]).values()
                )
                expected = np.mean(
                    [
                        column_correlations(scores[s][both], scores[t][both], sample_weight=w[test][both])
                        for s, t in combinations(range(3), 2)
                        for both in [there[s] & there[t]]
                    ]
                )
                assert found.cv_results_[f"split{i}_test_score"][j] == pytest.approx(expected, abs=1e-10)
        best = fastcca.MCCA(2, found.reg_, missing="em").fit(given, sample_weight=w, confounds=confounds)
        assert_same_fit(found, best)
        assert (found.n_incomplete_, found.n_iter_) == (best.n_incomplete_, best.n_iter_)
    kept = np.flatnonzero(~np.isnan(np.hstack(list(given.values()))).any(axis=1))
    place = np.full(300, -1)
    place[kept] = np.arange(len(kept))
    splits = [tuple(part[part >= 0] for part in (place[train], place[test])) for train, test in cv.split(Z)]
    expected = fastcca.MCCACV(2, regs, cv=splits).fit(
        {name: a[kept] for name, a in given.items()}, confounds=Z[kept]
    )
    with pytest.warns(UserWarning, match=f"{300 - len(kept)} of 300 rows"):
        found = fastcca.MCCACV(2, regs, cv=list(cv.split(Z)), missing="drop").fit(given, confounds=Z)
    np.testing.assert_array_equal(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
    assert_same_fit(found, expected)
    one_by_one = fastcca.MCCACV(2, regs, cv=100, missing="em").fit(
        {name: a[30:130] for name, a in given.items()}
    )
    assert 0 < one_by_one.best_score_ < 1  # pooled


def test_many_views_and_confounds(views, rng):
    Z = rng.normal(size=(300, 2))
    given = [views[0] + Z[:, :1], holes(views[1], 0.05, rng)]
    Z = holes(Z, 0.05, rng)
    found = fastcca.MCCA(2, missing="em").fit(given, confounds=Z)
    expected = fastcca.MCCA(2).fit_moments(em_moments(*given, Z).moments, confounds=True)
    np.testing.assert_allclose(found.weights_["view0"], expected.weights_["view0"], atol=1e-12)
    kept = ~np.isnan(np.hstack([*given, Z])).any(axis=1)
    with pytest.warns(UserWarning, match="left out"):
        found = fastcca.MCCA(2, missing="drop").fit(given, confounds=Z)
    expected = fastcca.MCCA(2).fit([view[kept] for view in given], confounds=Z[kept])
    np.testing.assert_array_equal(found.weights_["view0"], expected.weights_["view0"])
    first, rest = slice(0, 150), slice(150, None)
    parts = fastcca.MCCA(2, missing="drop")
    for rows in (first, rest):
        with pytest.warns(UserWarning, match="left out"):
            parts.partial_fit([v[rows] for v in given], confounds=Z[rows])
    np.testing.assert_allclose(parts.weights_["view0"], expected.weights_["view0"], atol=1e-10)
    assert parts.n_incomplete_ == (~kept).sum()
    with pytest.raises(ValueError, match="partial_fit has some of them"):
        fastcca.MCCA(missing="em").partial_fit(given)
    broken = given[0].copy()
    broken[2, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        fastcca.MCCA(missing="em").fit([broken, given[1]])


def test_chunks(views):
    X, Y = views
    X[[3, 4, 200]] = np.nan
    kept = ~np.isnan(X).any(axis=1)
    for model in (fastcca.CCA(2, missing="drop"), fastcca.PLSSVD(2, missing="drop")):
        with pytest.warns(UserWarning, match="left out"):
            model.partial_fit(X[:150], Y[:150])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.partial_fit(X[150:], Y[150:]).partial_fit(X[3:5], Y[3:5])
        assert model.n_incomplete_ == 5
        expected = clone(model).fit(X[kept], Y[kept])
        np.testing.assert_allclose(model.x_weights_, expected.x_weights_, atol=1e-10)
    for model in (fastcca.CCA(missing="em"), fastcca.PLSSVD(missing="em")):
        with pytest.raises(ValueError, match="missing='em' takes all rows at once, partial_fit has some"):
            model.partial_fit(X, Y)


def test_what_is_refused(views):
    X, Y = views
    with pytest.raises(ValueError, match="missing must be one of 'error', 'drop', 'em', got 'mean'"):
        fastcca.CCA(missing="mean").fit(X, Y)
    X[:, 1] = np.nan
    with pytest.raises(
        ValueError, match="missing='drop' leaves 0 of 300 rows: most are missing in one column"
    ):
        fastcca.CCA(missing="drop").fit(X, Y)
    with pytest.raises(ValueError, match=r"column 1 of X has no value at all: leave it out"):
        fastcca.CCA(missing="em").fit(X, Y)
    X[:-1, 1] = 1.0
    with pytest.raises(ValueError, match="solver='qr' needs the data, but missing='em'"):
        fastcca.CCA(missing="em", solver="qr").fit(X, Y)
    with pytest.raises(ValueError, match="contains NaN: the first is at row 299, column 1"):
        fastcca.CCA().fit(X, Y)
    X[4, 3] = -np.inf
    for missing in ("drop", "em"):
        with pytest.raises(ValueError, match="Input X contains infinity: the first is at row 4, column 3"):
            fastcca.CCA(missing=missing).fit(X, Y)


# ---- the command line


def test_command_line(views, tmp_path):
    X, Y = views
    X, Y = X.copy(), Y.copy()
    X[3:8, 1] = np.nan
    text = [",".join("NA" if np.isnan(v) else repr(float(v)) for v in row) for row in X]
    (tmp_path / "X.csv").write_text("\n".join(["a,b,c,d,e", *text]) + "\n")
    blank = [",".join(repr(float(v)) for v in row) for row in Y]
    blank[0] = "," + blank[0].split(",", 1)[1]
    Y[0, 0] = np.nan
    (tmp_path / "Y.csv").write_text("\n".join(["u,v,w,x", *blank]) + "\n")

    def run(*options):
        out = tmp_path / "m.safetensors"
        arguments = ["fit", tmp_path / "X.csv", tmp_path / "Y.csv", "-k", 2, "-o", out, *options]
        return CliRunner().invoke(cli.main, [str(a) for a in arguments])

    result = run()
    assert result.exit_code != 0
    assert "'NA' is not a number" in result.stderr
    for missing in ("drop", "em"):
        result = run("--missing", missing)
        assert result.exit_code == 0, result.stderr
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = fastcca.CCA(2, missing=missing).fit(X, Y)
        np.testing.assert_array_equal(
            fastcca.load(tmp_path / "m.safetensors").x_weights_, expected.x_weights_
        )
        what = "294; 6 with missing values, left out"
        assert (
            what if missing == "drop" else "300; 6 with missing values, of the rows counted"
        ) in result.stdout
        assert ("column 1 ('b') of X lacks 5" in result.stderr) == (missing == "drop")
        assert run("--missing", missing, "--cv", 3).exit_code == 0
        assert run("--missing", missing, "--method", "pls").exit_code == 0
        assert run("--missing", missing, "--method", "pls", "--cv", 3).exit_code == 0
        result = run("--missing", missing, "--method", "gcca")
        assert result.exit_code == 0, result.stderr
        assert what[:20] in result.stdout or missing == "em"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = fastcca.GCCA(2, missing=missing).fit({"X": X, "Y": Y})
        found = fastcca.load(tmp_path / "m.safetensors").weights_
        np.testing.assert_array_equal(found["Y"], expected.weights_["Y"])
    result = run("--missing", "em", "--method", "sparse")
    assert result.exit_code != 0
    assert "--missing is for --method cca" in result.stderr
