"""CCACV against GridSearchCV over CCA: the same scores by another way."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    RepeatedKFold,
    ShuffleSplit,
    TimeSeriesSplit,
)

from fastcca import CCA, CCACV
from fastcca.cca import model_selection

# the grids here are short, and what lies beyond them is of no account but where the test says so
pytestmark = [pytest.mark.core, pytest.mark.filterwarnings("ignore:the best ridge")]

REGS = [1e-4, 1e-2, 1.0, 30.0]


def two_views(rng, n=90, p=9, q=6):
    common = rng.normal(size=(n, 3))
    X = common @ rng.normal(size=(3, p)) + rng.normal(size=(n, p)) + 2.0
    Y = common @ rng.normal(size=(3, q)) + rng.normal(size=(n, q)) - 1.0
    return X, Y


def assert_same_search(ours, theirs, atol=1e-8):
    """Layout and values of cv_results_, and the model that was chosen."""
    a, b = ours.cv_results_, theirs.cv_results_
    assert [param["reg"] for param in a["params"]] == [param["reg"] for param in b["params"]]
    assert list(a["param_reg"]) == list(b["param_reg"])
    assert isinstance(a["param_reg"], np.ma.MaskedArray)
    names = [name for name in b if name.endswith("test_score")]
    assert set(a) == {"params", "param_reg", *names}
    for name in names:
        np.testing.assert_allclose(
            a[name], b[name], atol=0 if name.startswith("rank") else atol, err_msg=name
        )
    assert a["rank_test_score"].dtype == b["rank_test_score"].dtype
    assert ours.best_score_ == pytest.approx(theirs.best_score_, abs=atol)
    assert ours.best_index_ == theirs.best_index_
    assert ours.reg_ == theirs.best_params_["reg"]
    assert ours.n_splits_ == theirs.n_splits_


def count_fits(monkeypatch):
    fits = []
    monkeypatch.setattr(
        model_selection,
        "column_correlations",
        lambda *a, _f=model_selection.column_correlations, **k: fits.append(1) or _f(*a, **k),
    )
    return fits


SPLITTERS = {
    "contiguous": 5,
    "shuffled": KFold(4, shuffle=True, random_state=0),
    "repeated": RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
    "random": ShuffleSplit(4, test_size=0.2, random_state=0),
    "part": ShuffleSplit(4, test_size=0.2, train_size=0.4, random_state=0),
    "time": TimeSeriesSplit(4),
    "indices": [(np.arange(40), np.arange(40, 90)), (list(range(50, 90)), list(range(20)))],
    "repeats": [(np.r_[0:40, 0:40], np.r_[50:60, 50:60, 70:90])],
}


@pytest.mark.parametrize("name", SPLITTERS)
@pytest.mark.parametrize("scale", [False, True])
def test_same_scores_as_grid_search(rng, monkeypatch, name, scale):
    fits = count_fits(monkeypatch)
    X, Y = two_views(rng)
    cv = SPLITTERS[name]
    ours = CCACV(n_components=2, regs=REGS, cv=cv, scale=scale).fit(X, Y)
    theirs = GridSearchCV(CCA(n_components=2, scale=scale), {"reg": REGS}, cv=cv).fit(X, Y)
    assert_same_search(ours, theirs)
    assert not fits, "every score comes from moments"


@pytest.mark.parametrize("n_components", [None, 1, 6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_components_and_dtypes(rng, n_components, dtype):
    X, Y = (view.astype(dtype) for view in two_views(rng))
    ours = CCACV(n_components=n_components, regs=[0.0, *REGS]).fit(X, Y)
    theirs = GridSearchCV(CCA(n_components=n_components), {"reg": [0.0, *REGS]}).fit(X, Y)
    assert_same_search(ours, theirs, atol=1e-8 if dtype == np.float64 else 2e-5)
    assert ours.x_weights_.dtype == dtype


def test_default_grid_and_grid_for_each_view(rng):
    X, Y = two_views(rng)
    default = CCACV(n_components=2).fit(X, Y)
    units = X.var(axis=0, ddof=1).mean(), Y.var(axis=0, ddof=1).mean()
    np.testing.assert_allclose(
        [p["reg"] for p in default.cv_results_["params"]], np.outer(np.logspace(-6, 3, 19), units)
    )
    scaled = CCACV(n_components=2, scale=True).fit(X, Y)
    np.testing.assert_allclose([p["reg"] for p in scaled.cv_results_["params"]], np.logspace(-6, 3, 19))
    gx, gy = np.array([1e-3, 1.0]), [1e-2, 0.5, 2.0]
    ours = CCACV(n_components=2, regs=(gx, gy)).fit(X, Y)
    pairs = [(a, b) for a in gx.tolist() for b in gy]
    assert_same_search(ours, GridSearchCV(CCA(n_components=2), {"reg": pairs}).fit(X, Y))


def test_groups(rng):
    X, Y = two_views(rng)
    groups = rng.integers(0, 6, size=len(X))
    ours = CCACV(n_components=2, regs=REGS, cv=GroupKFold(3)).fit(X, Y, groups=groups)
    theirs = GridSearchCV(CCA(n_components=2), {"reg": REGS}, cv=GroupKFold(3)).fit(X, Y, groups=groups)
    assert_same_search(ours, theirs)


def test_weights_count_as_repetitions(rng):
    X, Y = two_views(rng)
    w = rng.integers(1, 4, size=len(X))
    folds = np.arange(len(X)) % 4
    rows = np.repeat(np.arange(len(X)), w)
    splits = [(np.flatnonzero(folds != f), np.flatnonzero(folds == f)) for f in range(4)]
    repeated_splits = [(np.flatnonzero(folds[rows] != f), np.flatnonzero(folds[rows] == f)) for f in range(4)]
    for scale in (False, True):
        weighted = CCACV(2, regs=REGS, cv=splits, scale=scale).fit(X, Y, sample_weight=w.astype(float))
        repeated = CCACV(2, regs=REGS, cv=repeated_splits, scale=scale).fit(X[rows], Y[rows])
        np.testing.assert_allclose(
            weighted.cv_results_["mean_test_score"], repeated.cv_results_["mean_test_score"], atol=1e-10
        )
        np.testing.assert_allclose(weighted.x_weights_, repeated.x_weights_, atol=1e-8)


@pytest.mark.parametrize("shape", [(30, 50, 4), (30, 4, 50), (30, 50, 60), (30, 27, 5)])
@pytest.mark.parametrize("scale", [False, True])
def test_more_features_than_training_rows(rng, shape, scale):
    n, p, q = shape
    X, Y = two_views(rng, n=n, p=p, q=q)
    regs = [1e-3, 1.0, 30.0]  # without a ridge everything correlates perfectly, in no particular order
    ours = CCACV(n_components=2, regs=regs, scale=scale).fit(X, Y)
    theirs = GridSearchCV(CCA(n_components=2, scale=scale), {"reg": regs}).fit(X, Y)
    assert_same_search(ours, theirs, atol=1e-7)


def test_ridges_that_do_not_cure_the_condition_are_fitted(rng, monkeypatch):
    fits = count_fits(monkeypatch)
    X, Y = two_views(rng, n=200)
    X[:, 1] = X[:, 0] + 1e-8 * X[:, 1]
    regs = [0.0, 1e-16, 1e-2, 1.0]
    ours = CCACV(n_components=2, regs=regs, cv=3).fit(X, Y)
    assert len(fits) == 2 * 3
    assert_same_search(ours, GridSearchCV(CCA(n_components=2), {"reg": regs}, cv=3).fit(X, Y), atol=1e-6)


def test_columns_that_are_constant_in_some_folds(rng):
    X, Y = two_views(rng)
    X[:, 0] = 0.3
    X[7, 1:2] = 5.0
    X[:7, 1] = X[8:, 1] = 0.1  # varies in one fold's held-out rows alone
    for scale in (False, True):
        ours = CCACV(regs=REGS, scale=scale).fit(X, Y)
        assert_same_search(ours, GridSearchCV(CCA(scale=scale), {"reg": REGS}).fit(X, Y))


def test_many_folds_are_taken_in_batches(rng, monkeypatch):
    X, Y = two_views(rng)
    cv = KFold(9)
    whole = CCACV(n_components=2, regs=REGS, cv=cv).fit(X, Y)
    monkeypatch.setattr(model_selection, "FOLDS_BYTES", 2 * 8 * 15**2)
    batched = CCACV(n_components=2, regs=REGS, cv=cv).fit(X, Y)
    np.testing.assert_allclose(
        batched.cv_results_["mean_test_score"], whole.cv_results_["mean_test_score"], atol=1e-12
    )


def test_the_search_is_the_best_model(rng):
    X, Y = two_views(rng)
    search = CCACV(n_components=2, regs=REGS).fit(X, Y)
    best = search.best_estimator_
    assert isinstance(best, CCA)
    assert best.reg == search.reg_
    alone = CCA(n_components=2, reg=search.reg_).fit(X, Y)
    np.testing.assert_allclose(search.singular_values_, alone.singular_values_, atol=1e-12)
    for call in ("transform", "predict"):
        np.testing.assert_array_equal(getattr(search, call)(X), getattr(best, call)(X))
        np.testing.assert_allclose(getattr(search, call)(X), getattr(alone, call)(X), atol=1e-10)
    np.testing.assert_array_equal(search.transform_y(Y), best.transform_y(Y))
    assert search.score(X, Y) == best.score(X, Y)
    for name, value in vars(best).items():
        if name.endswith("_"):
            assert getattr(search, name) is value, name


def test_among_equals_the_largest_ridge(rng):
    # one column on either side: a ridge changes nothing, every score is the same
    X, Y = two_views(rng, p=1, q=1)
    assert CCACV(regs=[0.1, 10.0, 1.0]).fit(X, Y).reg_ == 10.0
    search = CCACV(regs=([0.1, 3.0], [1.0, 2.0])).fit(X, Y)
    scores = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(scores, scores[0], atol=1e-12)


def test_threads_change_no_bit(rng):
    X, Y = two_views(rng, n=300, p=40, q=33)
    scores = [
        CCACV(n_components=5, regs=REGS, n_threads=t).fit(X, Y).cv_results_["mean_test_score"]
        for t in (1, 2, 7)
    ]
    np.testing.assert_array_equal(scores[1], scores[0])
    np.testing.assert_array_equal(scores[2], scores[0])


@pytest.mark.parametrize("shape", [(90, 9, 6), (30, 40, 5)], ids=["tall", "wide"])
@pytest.mark.parametrize("units", [1e-6, 1e3, (1e5, 1e-3)])
def test_units_of_measurement_make_no_difference(rng, shape, units):
    X, Y = two_views(rng, *shape)
    X[:, 3] = 7.0  # constant: not counted
    fx, fy = units if isinstance(units, tuple) else (units, units)
    one, other = CCACV(2).fit(X, Y), CCACV(2).fit(X * fx, Y * fy)
    assert other.best_index_ == one.best_index_
    np.testing.assert_allclose(other.reg_, np.multiply(one.reg_, (fx**2, fy**2)), rtol=1e-9)
    np.testing.assert_allclose(
        other.cv_results_["mean_test_score"], one.cv_results_["mean_test_score"], atol=1e-7
    )
    np.testing.assert_allclose(other.transform(X * fx), one.transform(X), rtol=1e-6, atol=1e-7)
    weights = rng.integers(1, 3, size=shape[0]).astype(float)
    a = CCACV(2).fit(X * fx, Y * fy, sample_weight=weights).reg_
    np.testing.assert_allclose(
        a, np.multiply(CCACV(2).fit(X, Y, sample_weight=weights).reg_, (fx**2, fy**2)), rtol=1e-9
    )


def pooled(X, Y, splits, model, weights=None):
    """Correlations over all held-out rows at once, each row's scores about its training rows' means."""
    zx, zy, w = [], [], []
    for train, test in splits:
        fitted = clone(model).fit(X[train], Y[train], None if weights is None else weights[train])
        zx.append((X[test] - fitted.x_mean_) @ fitted.x_weights_)
        zy.append((Y[test] - fitted.y_mean_) @ fitted.y_weights_)
        w.append(np.ones(len(test)) if weights is None else weights[test])
    zx, zy, w = np.vstack(zx), np.vstack(zy), np.concatenate(w)[:, None]
    return np.mean((w * zx * zy).sum(0) / np.sqrt((w * zx**2).sum(0) * (w * zy**2).sum(0)))


@pytest.mark.parametrize("shape", [(36, 4, 3), (14, 20, 3), (14, 20, 18)])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize(
    "cv", [LeaveOneOut(), KFold(7), ShuffleSplit(9, test_size=3, random_state=0)], ids=["one", "two", "some"]
)
def test_tiny_test_parts_are_pooled(rng, shape, scale, cv):
    X, Y = two_views(rng, *shape)
    splits = list(cv.split(X))
    if isinstance(cv, KFold) and shape[0] == 36:
        splits = list(KFold(12).split(X))
    regs = [1e-2, 1.0, 10.0]
    for weights in (None, rng.integers(1, 4, size=len(X)).astype(float)):
        search = CCACV(2, regs=regs, cv=splits, scale=scale).fit(X, Y, sample_weight=weights)
        results = search.cv_results_
        expected = [pooled(X, Y, splits, CCA(2, reg=reg, scale=scale), weights) for reg in regs]
        np.testing.assert_allclose(results["mean_test_score"], expected, atol=1e-7)
        assert set(results) == {"params", "param_reg", "mean_test_score", "rank_test_score"}
        assert search.n_splits_ == len(splits)
        assert search.best_score_ == pytest.approx(max(expected))


def test_leave_one_out_tells_relation_from_none(rng):
    X, Y = two_views(rng, 60, 5, 4)
    regs = [0.1, 1.0, 10.0]
    related = CCACV(1, regs=regs, cv=LeaveOneOut()).fit(X, Y).best_score_
    none = CCACV(1, regs=regs, cv=LeaveOneOut()).fit(X, rng.normal(size=(60, 4))).best_score_
    assert related > 0.7
    assert none < 0.4
    assert abs(related - CCACV(1, regs=regs, cv=10).fit(X, Y).best_score_) < 0.15


def test_pooled_rows_must_leave_something_to_correlate(rng):
    X, Y = two_views(rng)
    with pytest.raises(ValueError, match="1 test row in all, at least 2"):
        CCACV(cv=[(np.arange(80), [85])]).fit(X, Y)
    with pytest.raises(ValueError, match=r"split 0 has 1 train row\(s\), at least 2 are needed"):
        CCACV(cv=[([3], np.arange(10, 80))]).fit(X, Y)
    with pytest.raises(ValueError, match="sums to 0 over the test rows of all splits, expected more than 0"):
        CCACV(cv=[(np.arange(80), [85]), (np.arange(80), [86])]).fit(X, Y, np.r_[np.ones(80), np.zeros(10)])
    one_empty = np.r_[np.ones(89), 0.0]
    CCACV(2, regs=[0.1], cv=LeaveOneOut()).fit(X, Y, one_empty)


@pytest.mark.filterwarnings("error:the best ridge")
def test_the_best_ridge_at_an_end_of_the_grid_is_told(rng):
    X, Y = two_views(rng, n=60, p=20, q=15)
    best = max(CCACV(2).fit(X, Y).reg_)
    with pytest.warns(UserWarning, match=r"the best ridge, \S+, is the largest of the grid \(1e-06 to"):
        CCACV(2, regs=[1e-6, 1e-5, best / 1e3]).fit(X, Y)
    with pytest.warns(UserWarning, match="is the smallest of the grid"):
        CCACV(2, regs=[1e2 * best, 1e3 * best, 1e4 * best]).fit(X, Y)
    with pytest.warns(UserWarning, match=r"the best ridge of y, \S+, is the largest of the grid"):
        CCACV(2, regs=([1e-2 * best, best, 1e2 * best], [1e-6, 1e-5, best / 1e3])).fit(X, Y)
    CCACV(2, regs=[1e-2 * best, best, 1e2 * best]).fit(X, Y)
    CCACV(2, regs=[best, 1e3 * best]).fit(X, Y)  # two ridges compared: no inner one
    # nothing is gained without a ridge, and below 0 there is none
    X, Y = two_views(rng, n=3000, p=3, q=3)
    CCACV(3).fit(X, Y)
    search = CCACV(3, regs=[0.0, 1.0, 10.0]).fit(X, Y)
    assert search.reg_ == 0.0


@pytest.mark.parametrize("scale", [False, True])
def test_weights_of_a_fold_may_sum_to_less_than_one(rng, scale):
    X, Y = two_views(rng)
    search = CCACV(n_components=2, regs=REGS, scale=scale)
    weights = rng.uniform(0.5, 1.0, len(X))
    weights *= 4 / weights.sum()
    scores = search.fit(X, Y, sample_weight=weights).cv_results_
    for i, (train, test) in enumerate(KFold(5).split(X)):
        for j, reg in enumerate(REGS):
            cca = CCA(2, reg=reg, scale=scale).fit(X[train], Y[train], sample_weight=weights[train])
            expected = cca.score(X[test], Y[test], sample_weight=weights[test])
            assert scores[f"split{i}_test_score"][j] == pytest.approx(expected, abs=1e-10)


def test_masks_and_negative_indices_are_rows(rng):
    X, Y = two_views(rng)
    mask = np.arange(90) < 60
    plain, masks, negative = (
        CCACV(regs=REGS, cv=[split]).fit(X, Y).cv_results_["mean_test_score"]
        for split in (
            (np.arange(60), np.arange(60, 90)),
            (mask, ~mask),
            (np.arange(60), -np.arange(30, 0, -1)),
        )
    )
    np.testing.assert_array_equal(masks, plain)
    np.testing.assert_array_equal(negative, plain)
