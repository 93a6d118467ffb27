"""MCCA, GCCA and MCCACV against their direct forms from the rows, against cca-zoo, and against CCA."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold, LeaveOneOut, ShuffleSplit

import fastcca
from fastcca import CCA, GCCA, MCCA, MCCACV, Moments, NumericalError
from reference import multiview as reference

pytestmark = [pytest.mark.core, pytest.mark.filterwarnings("ignore:n - 1 = ")]


def three_views(rng, n=200, dims=(6, 4, 5)):
    common = rng.normal(size=(n, 2))
    return {
        name: common @ rng.normal(size=(2, d)) + rng.normal(size=(n, d)) + 3.0
        for name, d in zip(("a", "b", "c"), dims, strict=True)
    }


@pytest.fixture
def views(rng):
    return three_views(rng)


@pytest.mark.parametrize("regs", [(0.0, 0.0, 0.0), (0.5, 0.1, 2.0)])
@pytest.mark.parametrize("weighted", [False, True])
def test_mcca_is_the_eigenproblem_of_the_rows(views, rng, regs, weighted):
    weights = rng.integers(0, 4, 200).astype(float) if weighted else None
    model = MCCA(n_components=3, reg=dict(zip("abc", regs, strict=True))).fit(views, sample_weight=weights)
    expected, values = reference.mcca(list(views.values()), 3, regs, weights)
    np.testing.assert_allclose(model.eigenvalues_, values, rtol=1e-10)
    for name, W in zip("abc", expected, strict=True):
        np.testing.assert_allclose(model.weights_[name], W, atol=1e-10)
    if weighted:
        rows = np.repeat(np.arange(200), weights.astype(int))
        repeated = MCCA(n_components=3, reg=regs).fit([v[rows] for v in views.values()])
        np.testing.assert_allclose(repeated.weights_["view1"], model.weights_["b"], atol=1e-10)
        np.testing.assert_allclose(
            repeated.canonical_correlations_, model.canonical_correlations_, atol=1e-12
        )


@pytest.mark.parametrize("regs", [(0.0, 0.0, 0.0), (0.5, 0.1, 2.0)])
@pytest.mark.parametrize("omega", [(1.0, 1.0, 1.0), (2.0, 0.5, 1.0)])
def test_gcca_is_the_sum_of_projectors(views, regs, omega):
    model = GCCA(n_components=3, reg=regs, view_weights=omega).fit(views)
    expected, values, g = reference.gcca(list(views.values()), 3, regs, omega)
    np.testing.assert_allclose(model.eigenvalues_, values, rtol=1e-10)
    for name, W in zip("abc", expected, strict=True):
        np.testing.assert_allclose(model.weights_[name], W, atol=1e-10)
    np.testing.assert_allclose(model.common_variate(views), g, atol=1e-9)


@pytest.mark.parametrize("reg", [0.0, 0.7])
def test_with_two_views_mcca_is_cca(views, reg):
    X, Y = views["a"], views["b"]
    cca, mcca = CCA(reg=reg).fit(X, Y), MCCA(reg=reg).fit([X, Y])
    np.testing.assert_allclose(mcca.eigenvalues_, 1 + cca.singular_values_, atol=1e-12)
    np.testing.assert_allclose(mcca.weights_["view0"], cca.x_weights_, atol=1e-10)
    np.testing.assert_allclose(mcca.weights_["view1"], cca.y_weights_, atol=1e-10)
    np.testing.assert_allclose(mcca.canonical_correlations_, cca.canonical_correlations_, atol=1e-12)
    np.testing.assert_allclose(mcca.predict_views([X, None])["view1"], cca.predict(X), atol=1e-9)
    assert mcca.score([X, Y]) == pytest.approx(cca.score(X, Y), abs=1e-12)
    assert mcca.n_components_ == cca.n_components_ == 4


@pytest.mark.parametrize("kind", [MCCA, GCCA])
@pytest.mark.parametrize("reg", [0.0, 0.3])
def test_a_view_of_weight_two_is_one_given_twice(views, kind, reg):
    a, b, c = views.values()
    once = kind(n_components=2, reg=reg, view_weights={"a": 2.0}).fit(views)
    twice = kind(n_components=2, reg=reg).fit([a, a, b, c])
    np.testing.assert_allclose(once.eigenvalues_, twice.eigenvalues_, rtol=1e-11)
    np.testing.assert_allclose(once.weights_["a"], twice.weights_["view0"], atol=1e-10)
    np.testing.assert_allclose(once.weights_["b"], twice.weights_["view2"], atol=1e-10)
    np.testing.assert_allclose(once.common_variate(views), twice.common_variate([a, a, b, c]), atol=1e-9)


def test_the_correlations_are_those_of_the_scores(views):
    model = MCCA(n_components=2, reg=0.4).fit(views)
    scores = model.transform(views)
    expected = reference.pairwise_correlations([scores[name] for name in "abc"])
    np.testing.assert_allclose(model.pairwise_correlations_, expected, atol=1e-12)
    i, j = np.triu_indices(3, 1)
    np.testing.assert_allclose(model.canonical_correlations_, expected[i, j].mean(axis=0), atol=1e-12)
    assert model.score(views) == pytest.approx(model.canonical_correlations_.mean(), abs=1e-12)
    loadings = [[np.corrcoef(x, z)[0, 1] for z in scores["b"].T] for x in views["b"].T]
    np.testing.assert_allclose(model.loadings_["b"], loadings, atol=1e-12)
    np.testing.assert_array_equal(model.transform_view("b", views["b"]), scores["b"])


def test_against_cca_zoo(views):
    zoo = pytest.importorskip("cca_zoo.linear")
    arrays = list(views.values())
    ours = GCCA(n_components=2).fit(views)
    theirs = zoo.GCCA(n_components=2).fit(arrays)
    mcca = zoo.MCCA(n_components=2).fit(arrays)
    for z, z_gcca, z_mcca in zip(
        ours.transform(views).values(), theirs.transform(arrays), mcca.transform(arrays), strict=True
    ):
        for j in range(2):
            assert abs(np.corrcoef(z[:, j], z_gcca[:, j])[0, 1]) == pytest.approx(1, abs=1e-8)
            assert abs(np.corrcoef(z[:, j], z_mcca[:, j])[0, 1]) == pytest.approx(1, abs=1e-8)


def test_streams_merges_and_moments_are_the_batch(views):
    whole = MCCA(n_components=2, reg=0.1).fit(views)
    grown = MCCA(n_components=2, reg=0.1)
    for start in (0, 60, 130):
        grown.partial_fit({name: v[start : start + (60 if start == 0 else 70)] for name, v in views.items()})
    a, b, c = views.values()
    parts = Moments().update(a[:90], b[:90], c[:90]) + Moments().update(a[90:], b[90:], c[90:])
    of_moments = MCCA(n_components=2, reg=0.1).fit_moments(parts, names=["a", "b", "c"])
    for other in (grown, of_moments):
        assert other.views_ == ("a", "b", "c")
        assert other.n_samples_ == 200
        for name in views:
            np.testing.assert_allclose(other.weights_[name], whole.weights_[name], atol=1e-12)
        np.testing.assert_allclose(other.canonical_correlations_, whole.canonical_correlations_, atol=1e-12)


def test_scale_is_that_of_standardised_columns(views):
    units = {"a": np.array([1.0, 10, 0.1, 5, 2, 3]), "b": 7.0, "c": 0.3}
    given = {name: v * units[name] for name, v in views.items()}
    standard = {name: (v - v.mean(0)) / v.std(0, ddof=1) for name, v in given.items()}
    model, expected = MCCA(2, reg=0.5, scale=True).fit(given), MCCA(2, reg=0.5).fit(standard)
    for name, z in model.transform(given).items():
        np.testing.assert_allclose(
            np.abs(z), np.abs(expected.transform_view(name, standard[name])), atol=1e-10
        )
    first = model.weights_["a"]
    assert (first[np.abs(first).argmax(0), [0, 1]] > 0).all()


# ---- rows that lack a view


def with_holes(views, rng, fraction=0.3):
    holes = {name: v.copy() for name, v in views.items()}
    n = len(holes["a"])
    for name in ("b", "c"):
        holes[name][rng.random(n) < fraction] = np.nan
    return holes


def test_rows_that_lack_a_view_count_pairwise(views, rng):
    holes = with_holes(views, rng)
    S = pd.DataFrame(np.hstack(list(holes.values()))).cov().to_numpy()  # pandas, too, takes pairs
    model = MCCA(n_components=2).fit(holes)
    np.testing.assert_allclose(model.moments_.scatter / (model.moments_.n - 1), S, atol=1e-11)
    assert np.linalg.eigvalsh(S)[0] > 0  # nothing to repair here
    expected, values = reference.mcca_of_covariance(S, (6, 4, 5), 2)
    np.testing.assert_allclose(model.eigenvalues_, values, rtol=1e-10)
    for name, W in zip("abc", expected, strict=True):
        np.testing.assert_allclose(model.weights_[name], W, atol=1e-10)
        np.testing.assert_allclose(model.means_[name], np.nanmean(holes[name], axis=0), atol=1e-12)
    have = {name: ~np.isnan(v).any(axis=1) for name, v in holes.items()}
    assert model.n_samples_ == 200
    assert model.pairwise_n_[1, 2] == (have["b"] & have["c"]).sum()
    grown = MCCA(n_components=2).partial_fit({k: v[:80] for k, v in holes.items()})
    grown.partial_fit({k: v[80:] for k, v in holes.items()})
    np.testing.assert_allclose(grown.weights_["c"], model.weights_["c"], atol=1e-10)


def test_what_is_not_positive_semidefinite_is_repaired(rng):
    n = 45
    t = rng.normal(size=n)
    a, b, c = (np.column_stack([s * t, rng.normal(size=n)]) for s in (1.0, 1.0, 1.0))
    a[:15], b[15:30], c[30:] = np.nan, np.nan, np.nan
    c[:15, 0] *= -1  # each pair is seen on rows of its own, and these contradict one another
    S = pd.DataFrame(np.hstack([a, b, c])).cov().to_numpy()
    assert np.linalg.eigvalsh(S)[0] < -0.1
    model = MCCA(n_components=1).fit({"a": a, "b": b, "c": c})
    repaired = model.moments_.scatter / (model.moments_.n - 1)
    np.testing.assert_allclose(repaired, reference.nearest_covariance(S), atol=1e-12)
    assert np.linalg.eigvalsh(repaired)[0] > -1e-12


def test_common_variate_and_predictions_regress_on_what_is_there(views, rng):
    model = GCCA(n_components=2, reg=0.1).fit(views)
    z, g = model.transform(views), model.common_variate(views)
    design = np.column_stack([np.ones(200), z["a"], z["c"]])
    without_b = {"a": views["a"], "c": views["c"]}

    def fitted(target):
        return design @ np.linalg.lstsq(design, target, rcond=None)[0]

    np.testing.assert_allclose(model.common_variate(without_b), fitted(g), atol=1e-9)
    np.testing.assert_allclose(model.predict_views(without_b)["b"], fitted(views["b"]), atol=1e-9)
    # row by row
    holes = with_holes(views, rng)
    mixed = model.common_variate(holes)
    lacks = np.isnan(holes["b"]).all(axis=1) & ~np.isnan(holes["c"]).all(axis=1)
    np.testing.assert_allclose(mixed[lacks], fitted(g)[lacks], atol=1e-9)
    complete = ~np.isnan(np.hstack(list(holes.values()))).any(axis=1)
    np.testing.assert_allclose(mixed[complete], g[complete], atol=1e-12)
    filled = model.predict_views(holes)
    assert sorted(filled) == ["b", "c"]
    np.testing.assert_allclose(filled["b"][lacks], fitted(views["b"])[lacks], atol=1e-9)
    assert np.isfinite(filled["b"]).all()
    # of a view that is there, from the others alone
    np.testing.assert_allclose(model.predict_views(views, ["b"])["b"], fitted(views["b"]), atol=1e-9)


# ---- the contract


@pytest.mark.parametrize("kind", [MCCA, GCCA])
def test_float32_and_threads(views, kind):
    single = {name: v.astype(np.float32) for name, v in views.items()}
    model, double = kind(2, reg=0.1).fit(single), kind(2, reg=0.1).fit(views)
    for name in views:
        assert model.weights_[name].dtype == np.float32
        np.testing.assert_allclose(model.weights_[name], double.weights_[name], atol=2e-5)
    assert model.transform(single)["a"].dtype == model.common_variate(single).dtype == np.float32
    for n_threads in (2, 7):
        other = kind(2, reg=0.1, n_threads=n_threads).fit(views)
        for name in views:
            np.testing.assert_array_equal(other.weights_[name], double.weights_[name])


def test_a_rank_deficient_and_a_constant_column(views):
    views = dict(views)
    a = views["a"]
    views["a"] = np.column_stack([a, a[:, 0] + a[:, 1], np.full(200, 3.0)])
    model, plain = MCCA(2).fit(views), MCCA(2).fit({**views, "a": a})
    assert model.ranks_ == {"a": 6, "b": 4, "c": 5}
    assert (model.weights_["a"][7] == 0).all()
    np.testing.assert_allclose(model.eigenvalues_, plain.eigenvalues_, atol=1e-10)
    with pytest.warns(UserWarning, match="n_components=5 is reduced to 4"):
        MCCA(5).fit([np.hstack([v[:, :4], v[:, :3]]) for v in views.values()])


@pytest.mark.filterwarnings("default:n - 1 = ")
def test_too_few_rows_are_said(views):
    few = {name: v[:8] for name, v in views.items()}
    with pytest.warns(UserWarning, match="n - 1 = 7 is too few"):
        MCCA(2).fit(few)


@pytest.mark.parametrize("kind", [MCCA, GCCA, MCCACV])
def test_bad_input(views, kind):
    a, b, c = views.values()
    with pytest.raises(ValueError, match="takes two views or more, got 1"):
        kind().fit([a])
    with pytest.raises(ValueError, match="same number of rows, got 200 in 'a', 199 in 'b'"):
        kind().fit({"a": a, "b": b[1:]})
    with pytest.raises(NumericalError, match="b has rank 0: every one of its columns is constant"):
        kind().fit({"a": a, "b": np.ones_like(b), "c": c})
    with pytest.raises(ValueError, match="n_components=6 is more than 5, the second largest"):
        kind(6).fit(views)
    with pytest.raises(ValueError, match="n_components must be an integer >= 1 or None"):
        kind(0).fit(views)
    with pytest.raises(ValueError, match="view_weights must be positive, got 0 for 'b'"):
        kind(view_weights={"b": 0}).fit(views)
    with pytest.raises(ValueError, match="names an unknown modality 'd'"):
        kind(view_weights={"d": 1.0}).fit(views)
    with pytest.raises(ValueError, match="scale must be True or False"):
        kind(scale="yes").fit(views)
    bad = a.copy()
    bad[3, 2] = np.nan
    with pytest.raises(ValueError, match="Input a contains NaN: the first is at row 3, column 2"):
        kind().fit({"a": bad, "b": b})


@pytest.mark.parametrize("kind", [MCCA, GCCA])
def test_bad_ridges_moments_and_rows(views, kind):
    a, b, c = views.values()
    for reg in (-1.0, "big", [1.0, 2.0], np.nan, {"a": -1}, True):
        with pytest.raises(ValueError, match="reg"):
            kind(reg=reg).fit(views)
    with pytest.raises(ValueError, match="two views or more, got 1"):
        kind().fit_moments(Moments().update(a))
    with pytest.raises(TypeError, match=r"must be fastcca\.Moments, got list"):
        kind().fit_moments([a])
    with pytest.raises(ValueError, match="the name 'a' is given twice"):
        kind().fit_moments(Moments().update(a, b, c), names=["a", "b", "a"])
    with pytest.raises(ValueError, match="one text for each of the 3 views"):
        kind().fit_moments(Moments().update(a, b, c), names=["a", "b"])
    model = kind(2).fit(views)
    with pytest.raises(ValueError, match="a has 5 features, but"):
        model.transform({"a": a[:, :5]})
    with pytest.raises(ValueError, match="unknown modality 'z'"):
        model.transform_view("z", a)
    with pytest.raises(ValueError, match="row 1 lacks view 'a'"):
        model.transform({"a": np.where(np.arange(200)[:, None] == 1, np.nan, a), "b": b})
    with pytest.raises(ValueError, match="view 'c' is missing"):
        model.partial_fit({"a": a, "b": b})
    with pytest.raises(ValueError, match="there is no view 'z'"):
        model.predict_views(views, ["z"])
    half = (
        np.where(np.arange(200)[:, None] < 100, np.nan, a),
        np.where(np.arange(200)[:, None] < 100, b, np.nan),
    )
    with pytest.raises(ValueError, match="'view0' and 'view1' have 0 rows in common"):
        kind(2).fit([*half, c])


# ---- cross-validation


@pytest.mark.parametrize("method", ["mcca", "gcca"])
@pytest.mark.parametrize("cv", [3, KFold(4, shuffle=True, random_state=0), ShuffleSplit(3, random_state=0)])
def test_cv_is_the_loop_of_fits(views, method, cv, rng):
    few = {name: v[:60] for name, v in views.items()}
    weights = rng.integers(1, 3, 60).astype(float)
    regs = [0.01, {"a": 1.0, "c": 0.2}, (5.0, 5.0, 1.0), 20.0]
    search = MCCACV(2, regs=regs, method=method, cv=cv).fit(few, sample_weight=weights)
    kind = MCCA if method == "mcca" else GCCA
    splits = list((KFold(cv) if isinstance(cv, int) else cv).split(few["a"]))
    for i, (train, test) in enumerate(splits):
        for j, reg in enumerate(regs):
            model = kind(2, reg=reg).fit({n: v[train] for n, v in few.items()}, sample_weight=weights[train])
            score = model.score({n: v[test] for n, v in few.items()}, sample_weight=weights[test])
            assert search.cv_results_[f"split{i}_test_score"][j] == pytest.approx(score, abs=1e-10)
    best = kind(2, reg=search.reg_).fit(few, sample_weight=weights)
    np.testing.assert_allclose(search.weights_["b"], best.weights_["b"], atol=1e-10)
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()
    assert search.common_variate(few).shape == (60, 2)


def test_single_rows_held_out_are_scored_together(views):
    few = {name: v[:25] for name, v in views.items()}
    search = MCCACV(1, regs=[0.5, 5.0], cv=LeaveOneOut()).fit(few)
    for j, reg in enumerate([0.5, 5.0]):
        held_out = {name: np.empty(25) for name in few}
        for train, test in LeaveOneOut().split(few["a"]):
            model = MCCA(1, reg=reg).fit({n: v[train] for n, v in few.items()})
            for name, z in model.transform({n: v[test] for n, v in few.items()}).items():
                held_out[name][test] = z[:, 0]
        Z = np.array(list(held_out.values()))
        sums = Z @ Z.T
        r = sums / np.sqrt(np.outer(np.diag(sums), np.diag(sums)))
        expected = np.mean(r[np.triu_indices(3, 1)])
        assert search.cv_results_["mean_test_score"][j] == pytest.approx(expected, abs=1e-10)


def test_cv_with_rows_that_lack_views(views, rng):
    holes = with_holes(views, rng)
    search = MCCACV(1, regs=[0.1, 10.0], cv=3).fit(holes)
    assert search.pairwise_n_[1, 2] < 200
    for i, (train, test) in enumerate(KFold(3).split(holes["a"])):
        for j, reg in enumerate([0.1, 10.0]):
            model = MCCA(1, reg=reg).fit({n: v[train] for n, v in holes.items()})
            z = {n: (v[test] - model.means_[n]) @ model.weights_[n][:, 0] for n, v in holes.items()}
            r = pd.DataFrame(z).corr().to_numpy()  # of pairs, too
            expected = r[np.triu_indices(3, 1)].mean()
            assert search.cv_results_[f"split{i}_test_score"][j] == pytest.approx(expected, abs=1e-10)


def test_bad_grids(views):
    for regs in ([], 1.0, "x", [-1.0]):
        with pytest.raises(ValueError, match="regs"):
            MCCACV(regs=regs).fit(views)
    with pytest.raises(ValueError, match="method must be one of 'mcca', 'gcca', got 'pca'"):
        MCCACV(method="pca").fit(views)


def test_frames_keep_their_column_names(views):
    frames = {
        name: pd.DataFrame(v, columns=[f"{name}{j}" for j in range(v.shape[1])]) for name, v in views.items()
    }
    model = MCCA(2).fit(frames)
    np.testing.assert_array_equal(model.weights_["a"], MCCA(2).fit(views).weights_["a"])
    assert list(model.get_feature_names_out()) == ["mcca0", "mcca1"]
    with pytest.raises(ValueError, match="The feature names of a should match"):
        model.transform({"a": frames["a"].iloc[:, ::-1]})


def test_saved_without_moments(views, tmp_path):
    model = MCCA(2).fit(views)
    model.save(tmp_path / "m.safetensors", moments=False)
    loaded = fastcca.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.common_variate(views), model.common_variate(views))
    with pytest.raises(ValueError, match="saved without moments"):
        loaded.partial_fit(views)
