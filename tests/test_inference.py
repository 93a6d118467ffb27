"""Tests of correlations: values, error rates under the null, what is refused."""

import tracemalloc
import warnings

import numpy as np
import pytest
from scipy.stats import binom, kstest, norm
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from fastcca import CCA, CCACV, KernelCCA, KernelCCACV, TwoViewPipeline
from fastcca.datasets import make_two_views
from fastcca.errors import NumericalError
from fastcca.inference import bootstrap, permutation_test, wilks_test


def test_wilks_by_hand():
    # p = q = 2, n = 20: lambda = (1 - .25)(1 - .04); t = sqrt((16 - 4) / (4 + 4 - 5)) = 2
    test = wilks_test([0.5, 0.2], 20, 2, 2)
    assert test.statistic == pytest.approx([0.75 * 0.96, 0.96], abs=1e-15)
    root = np.sqrt(0.72)
    assert test.df1.tolist() == [4, 1]
    assert test.df2.tolist() == [32, 17]  # 2 (19 - 5/2) - 2 + 1, and 16.5 - 1/2 + 1
    assert test.f == pytest.approx([(1 - root) / root * 32 / 4, 0.04 / 0.96 * 17], rel=1e-14)
    assert test.chi2 == pytest.approx([-16.5 * np.log(0.72), -16.5 * np.log(0.96)], rel=1e-14)


def test_wilks_of_one_column_is_the_f_test_of_a_regression(rng):
    X = rng.standard_normal((40, 3))
    y = X[:, 0] + rng.standard_normal(40)
    cca = CCA().fit(X, y)
    design = np.column_stack([np.ones(40), X])
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    total = ((y - y.mean()) ** 2).sum()
    f = (total - residual @ residual) / 3 / (residual @ residual / 36)
    test = wilks_test(cca.canonical_correlations_, 40, 3, 1)
    assert test.f == pytest.approx([f], rel=1e-10)
    assert (test.df1[0], test.df2[0]) == (3, 36)


def test_wilks_p_values_are_uniform_under_the_null(rng):
    p_values = []
    for _ in range(300):
        X, y = rng.standard_normal((30, 4)), rng.standard_normal((30, 3))
        p_values.append(wilks_test(CCA().fit(X, y).canonical_correlations_, 30, 4, 3).p_value[0])
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_wilks_of_a_fit_counts_ranks():
    # dummies of three groups have rank 2. MANOVA of statsmodels 0.14: Wilks's lambda 0.624922134896176,
    # F 1.85492905762878 on 4 and 28, p 0.146377431565541
    rng = np.random.default_rng(69)
    groups = np.repeat([0, 1, 2], 6)
    Y = rng.normal(size=(18, 2)) + 0.5 * groups[:, None] * [1, 0.4]
    cca = CCA().fit(np.eye(3)[groups], Y)
    test = wilks_test(cca)
    assert test.statistic[0] == pytest.approx(0.624922134896176, rel=1e-12)
    assert (test.df1[0], test.df2[0]) == (4, 28)
    assert test.f[0] == pytest.approx(1.85492905762878, rel=1e-12)
    assert test.p_value[0] == pytest.approx(0.146377431565541, rel=1e-12)
    mixed = rng.permutation(18)  # folds of contiguous rows
    for same in (
        CCA().fit(np.eye(3)[groups][:, 1:], Y),
        CCA(solver="qr").fit(np.eye(3)[groups], Y),
        CCA(solver="gram").fit(np.repeat(np.eye(3)[groups], 7, axis=1), Y),  # 21 columns of rank 2
        CCACV(regs=[0.0]).fit(np.eye(3)[groups][mixed], Y[mixed]),
    ):
        assert wilks_test(same).p_value[0] == pytest.approx(0.146377431565541, rel=1e-9)


def test_wilks_of_as_many_rows_as_ranks_and_one():
    # OLS of statsmodels 0.14: F 1.7122495802401194, p 0.5302900996508035
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(9, 7)), rng.normal(size=9)
    cca = CCA().fit(X, y)
    for test in (wilks_test(cca), wilks_test(cca.canonical_correlations_, 9, 7, 1)):
        assert (test.df1[0], test.df2[0]) == (7, 1)
        assert test.f[0] == pytest.approx(1.7122495802401194, rel=1e-9)
        assert test.p_value[0] == pytest.approx(0.5302900996508035, rel=1e-9)


def test_wilks_of_weighted_rows_is_that_of_repeated_ones(rng):
    X, y = rng.standard_normal((25, 3)), rng.standard_normal((25, 2))
    counts = rng.integers(1, 4, size=25)
    weighted = CCA().fit(X, y, sample_weight=counts)
    repeated = CCA().fit(np.repeat(X, counts, axis=0), np.repeat(y, counts, axis=0))
    assert weighted.n_samples_ == repeated.n_samples_ == counts.sum()
    np.testing.assert_allclose(wilks_test(weighted).p_value, wilks_test(repeated).p_value, rtol=1e-9)


def test_wilks_of_a_fit_in_parts(rng):
    X, y = rng.standard_normal((40, 3)), rng.standard_normal((40, 2))
    parts = CCA().partial_fit(X[:25], y[:25]).partial_fit(X[25:], y[25:])
    np.testing.assert_allclose(wilks_test(parts).p_value, wilks_test(CCA().fit(X, y)).p_value, rtol=1e-9)


def test_wilks_refuses_what_does_not_hold(rng):
    X, y = rng.standard_normal((12, 4)), rng.standard_normal((12, 3))
    for ridged in (CCA(reg=0.1), CCA(reg=(0, 1e-9)), CCACV(regs=[0.1], cv=2)):
        with pytest.raises(ValueError, match=r"ridge, reg = \(.*permutation_test"):
            wilks_test(ridged.fit(X, y))
    with pytest.raises(ValueError, match=r"all min.* = 3 correlations, but only 2 were computed"):
        wilks_test(CCA(2).fit(X, y))
    with pytest.raises(ValueError, match=r"at least rank of X \+ rank of y \+ 1 = 8 rows, got n_samples = 7"):
        wilks_test(_fit_quietly(CCA(), X[:7], y[:7]))
    with pytest.raises(NotFittedError):
        wilks_test(CCA())
    with pytest.raises(TypeError, match="KernelCCA: use permutation_test"):
        wilks_test(KernelCCA(1).fit(X, y))
    with pytest.raises(TypeError, match="give none"):
        wilks_test(CCA().fit(X, y), 12, 4, 3)
    with pytest.raises(TypeError, match="takes a fitted CCA or CCACV, or canonical correlations with n_samp"):
        wilks_test([0.5, 0.3])


def _fit_quietly(model, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return model.fit(X, y)


def test_permutation_statistic_is_the_fit(rng):
    views = make_two_views(80, (5, 3), (0.8, 0.4), random_state=0)
    for estimator in (CCA(), CCA(reg=(0.3, 0.1)), CCA(reg=0.2, scale=True), CCA(n_components=2)):
        test = permutation_test(estimator, views.X, views.y, n_permutations=2, random_state=0)
        fitted = CCA(**estimator.get_params()).fit(views.X, views.y)
        np.testing.assert_allclose(test.statistic, fitted.singular_values_, atol=1e-10)


def _reference_singular_values(X, y, reg=(0.0, 0.0)):
    """Those of T by NumPy's SVD of columns of unit variance; with a ridge by rows below the data."""
    bases = []
    for a, r in zip((X, y), reg, strict=True):
        a = a - a.mean(axis=0)
        if r == 0:
            a = a / np.where(a.std(axis=0) > 0, a.std(axis=0), 1)
            U, s, _ = np.linalg.svd(a, full_matrices=False)
            bases.append(U[:, s > 1e-12 * s[0]])
        else:
            below = np.sqrt(r * (len(a) - 1)) * np.eye(a.shape[1])
            bases.append(np.linalg.svd(np.vstack([a, below]), full_matrices=False)[0][: len(a)])
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)


def _permutation_inputs():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(61, 3))
    years = np.arange(1960.0, 2021)
    thin = np.column_stack([years, years**2, years**3])
    yield "powers of years", CCA(), thin, y + ((thin - thin.mean(0)) / thin.std(0))[:, :1], 1e-5
    for sizes in ((20, 20, 21), (1, 30, 30), (7, 7, 47)):
        yield f"dummies {sizes}", CCA(), np.eye(3)[np.repeat([0, 1, 2], sizes)], y, 1e-9
    near = rng.normal(size=(61, 4))
    near[:, 1] = near[:, 0] + 1e-8 * (near[:, 1] + 3 * y[:, 1])
    yield "columns 1e-8 apart", CCA(), near, y, 1e-6
    yield "columns 1e-8 apart, qr", CCA(solver="qr"), near, y, 1e-6
    wide = rng.normal(size=(61, 150))
    yield "wide", CCA(reg=(20.0, 0.1)), wide, y, 1e-10
    yield "wide, qr", CCA(reg=(20.0, 0.1), solver="qr"), wide, y, 1e-10
    yield "wide, covariance", CCA(reg=(20.0, 0.1), solver="covariance"), wide, y, 1e-10
    yield "two wide views", CCA(2, reg=5.0), wide, rng.normal(size=(61, 90)), 1e-10
    yield "chosen ridge", CCACV(regs=[0.3, 3.0]), rng.normal(size=(61, 5)), y, 1e-10


@pytest.mark.parametrize(
    ("estimator", "X", "y", "tol"),
    [pytest.param(*rest, id=name) for name, *rest in _permutation_inputs()],
)
def test_permutations_take_what_fit_takes(estimator, X, y, tol):
    test = permutation_test(estimator, X, y, n_permutations=5, random_state=3)
    fitted = estimator.fit(X, y)
    np.testing.assert_allclose(test.statistic, fitted.singular_values_, atol=tol)
    reg = np.broadcast_to(fitted.reg_ if isinstance(fitted, CCACV) else fitted.reg, 2)
    k = fitted.n_components_
    np.testing.assert_allclose(test.statistic, _reference_singular_values(X, y, reg)[:k], atol=tol)
    shuffles = np.random.RandomState(3)
    for permuted in test.permuted:
        expected = _reference_singular_values(X, y[shuffles.permutation(len(y))], reg)
        assert permuted[0] == pytest.approx(expected[0], abs=tol)


def test_equal_groups_as_dummies_are_tested_as_without_one(rng):
    y = rng.standard_normal((60, 3))
    X = np.eye(3)[np.repeat([0, 1, 2], 20)]
    options = {"n_permutations": 99, "random_state": 0}
    whole, without = (permutation_test(CCA(), views, y, **options) for views in (X, X[:, 1:]))
    assert whole.p_value.tolist() == without.p_value.tolist()
    np.testing.assert_allclose(whole.permuted, without.permuted, atol=1e-10)


def test_a_later_pair_is_cca_of_the_shuffled_rest_given_those_set_aside(rng):
    X = rng.standard_normal((30, 4))
    y = X[:, :3] @ rng.standard_normal((3, 3)) + rng.standard_normal((30, 3))
    test = permutation_test(CCA(), X, y, n_permutations=4, random_state=5)
    Qx, Qy = (np.linalg.svd(a - a.mean(axis=0), full_matrices=False)[0] for a in (X, y))
    U, _, Vt = np.linalg.svd(Qx.T @ Qy)
    zx, zy = Qx @ U, Qy @ Vt.T
    shuffles = np.random.RandomState(5)
    for permuted in test.permuted:
        order = shuffles.permutation(30)
        for j in (1, 2):
            rest = zy[order, j:]
            rest = rest - zx[:, :j] @ (zx[:, :j].T @ rest)  # the residual of what is set aside
            basis = np.linalg.svd(rest, full_matrices=False)[0]
            expected = np.linalg.svd(zx[:, j:].T @ basis, compute_uv=False)[0]
            assert permuted[j] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "estimator",
    [
        KernelCCA(2, reg=1e-2),
        KernelCCA(2, reg=1e-2, rank=25),
        KernelCCA(2, reg=(0.05, 0.1), penalty="bach-jordan"),
        KernelCCA(2, kernel="linear", reg=0.0),
        KernelCCA(2, kernel=("polynomial", "laplacian"), degree=2),
    ],
)
@pytest.mark.parametrize("n", [60, 420])  # the larger fit takes every row as a landmark
def test_kernels_are_permuted_in_their_features(estimator, n):
    rng = np.random.default_rng(n)
    X, y = rng.standard_normal((n, 2)), rng.standard_normal((n, 2))
    y[:, 0] += X[:, 0] ** 2
    test = permutation_test(estimator, X, y, n_permutations=3, random_state=1)
    fitted = estimator.fit(X, y)
    np.testing.assert_allclose(test.statistic, fitted.singular_values_, atol=1e-7)
    again = KernelCCA(
        2,
        kernel=fitted.kernel,
        gamma=(fitted.x_gamma_, fitted.y_gamma_),
        reg=fitted.reg,
        penalty=fitted.penalty,
        degree=fitted.degree,
    )
    shuffles = np.random.RandomState(1)
    for permuted in test.permuted:
        order = shuffles.permutation(n)
        again.fit(X, y[order], landmarks=(fitted.x_landmarks_, fitted.y_landmarks_))
        assert permuted[0] == pytest.approx(again.singular_values_[0], abs=1e-6)


def test_kernels_of_unrelated_views_are_not_significant():
    p_values = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((40, 3)), rng.standard_normal((40, 3))
        test = permutation_test(KernelCCA(1), X, y, n_permutations=19, random_state=seed)
        assert test.statistic[0] > 0.8
        p_values.append(test.p_value[0])
    assert np.sum(np.array(p_values) <= 0.05) <= binom.ppf(0.999, 40, 0.05)
    assert 0.35 < np.mean(p_values) < 0.65


@pytest.mark.filterwarnings("ignore:the best ridge:UserWarning")
def test_ridges_are_chosen_for_every_shuffle():
    # the rank of the data among all shuffles, each by the ridge that it chose, and that rank's rank
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((30, 8)), rng.standard_normal((30, 5))
    y[:, 0] += 0.4 * X[:, 0]
    search = CCACV(1, regs=[1e-3, 0.1, 1.0, 10.0], cv=3)
    test = permutation_test(search, X, y, n_permutations=19, random_state=2)
    shuffles = np.random.RandomState(2)
    orders = [np.arange(30), *(shuffles.permutation(30) for _ in range(19))]
    chosen = [clone(search).fit(X, y[order]).reg_ for order in orders]
    assert len(set(chosen)) > 1
    ranks = []
    for reg in chosen:
        values = np.array([_reference_singular_values(X, y[order], (reg, reg))[0] for order in orders])
        ranks.append(np.sum(values >= values[len(ranks)] * (1 - 1e-9)))
    assert test.p_value[0] == np.mean(np.array(ranks) <= ranks[0])


def _null_views(kind, rng):
    """Views, an estimator, and which correlation is zero with none of the earlier ones."""
    if kind == "dummies":
        return CCA(1), np.eye(4)[rng.permutation(np.repeat(np.arange(4), 6))], rng.standard_normal((24, 3)), 0
    if kind == "wide":
        return CCA(1, reg=(50.0, 0.1)), rng.standard_normal((25, 200)), rng.standard_normal((25, 3)), 0
    if kind == "rank-deficient":
        X = rng.standard_normal((24, 3)) @ rng.standard_normal((3, 6))
        return CCA(1), X, rng.standard_normal((24, 2)) @ rng.standard_normal((2, 4)), 0
    n, p, q, true, estimator = {
        "later pairs": (30, 10, 8, (0.99, 0.98, 0.97), CCA(4)),
        "later pairs, more columns of y": (30, 8, 10, (0.99, 0.98, 0.97), CCA(4)),
        "later pairs with a ridge": (30, 10, 8, (0.99, 0.98, 0.97), CCA(4, reg=0.1)),
    }[kind]
    X, y = rng.standard_normal((n, p)), rng.standard_normal((n, q))
    for i, c in enumerate(true):
        y[:, i] = c * X[:, i] + np.sqrt(1 - c * c) * y[:, i]
    return estimator, X, y, len(true)


@pytest.mark.parametrize(
    "kind",
    [
        "dummies",
        "wide",
        "rank-deficient",
        "later pairs",
        "later pairs, more columns of y",
        "later pairs with a ridge",
    ],
)
def test_level_of_the_permutation_test(kind):
    count, level = 200, 0.05
    hits = 0
    for seed in range(count):
        rng = np.random.default_rng(seed)
        estimator, X, y, null = _null_views(kind, rng)
        test = permutation_test(estimator, X, y, n_permutations=19, random_state=seed)
        hits += test.p_value[null] <= level
    assert hits <= binom.ppf(0.999, count, level)
    if "ridge" not in kind:
        assert hits >= binom.ppf(0.001, count, level)


def test_a_test_of_residuals_rejects_too_often():
    count, hits = 200, 0
    for seed in range(count):
        rng = np.random.default_rng(seed)
        C = rng.standard_normal((40, 10))
        X, y = (rng.standard_normal((40, 3)) + C @ rng.standard_normal((10, 3)) for _ in range(2))
        R = np.eye(40) - np.column_stack([np.ones(40), C]) @ np.linalg.pinv(np.column_stack([np.ones(40), C]))
        test = permutation_test(CCA(1), R @ X, R @ y, n_permutations=19, random_state=seed)
        hits += test.p_value[0] <= 0.05
    assert hits > binom.ppf(0.999, count, 0.05)  # hence confounds=


def test_confounds_are_taken_out_of_statistics(rng):
    C = rng.standard_normal((50, 2)) + 1e3
    X, y = rng.standard_normal((50, 3)) + C[:, :1], rng.standard_normal((50, 2)) - C[:, :1]
    R = np.eye(50) - np.column_stack([np.ones(50), C]) @ np.linalg.pinv(np.column_stack([np.ones(50), C]))
    for confounds in (C, np.column_stack([C, C[:, 0] + 2 * C[:, 1], np.ones(50)])):
        test = permutation_test(CCA(), X, y, confounds=confounds, n_permutations=9, random_state=0)
        np.testing.assert_allclose(test.statistic, _reference_singular_values(R @ X, R @ y), atol=1e-9)
    # a column that is a confound leaves the others to be tested
    test = permutation_test(CCA(), np.column_stack([X, C]), y, confounds=C, n_permutations=9, random_state=0)
    np.testing.assert_allclose(test.statistic, _reference_singular_values(R @ X, R @ y), atol=1e-9)
    with pytest.raises(ValueError, match="confounds leave nothing of y"):
        permutation_test(CCA(), X, C, confounds=C)
    with pytest.raises(ValueError, match="confounds must have 50 rows"):
        permutation_test(CCA(), X, y, confounds=C[:-1])
    with pytest.raises(ValueError, match="confounds contains NaN"):
        permutation_test(CCA(), X, y, confounds=C * np.nan)


@pytest.mark.parametrize("estimator", [CCA(2, reg=0.1), KernelCCA(2)])
def test_permutations_do_not_depend_on_threads(estimator, rng):
    X, y = rng.standard_normal((150, 12)), rng.standard_normal((150, 9))
    one, three = (
        permutation_test(estimator.set_params(n_threads=n), X, y, n_permutations=9, random_state=0)
        for n in (1, 3)
    )
    assert one.permuted.tobytes() == three.permuted.tobytes()
    assert one.statistic.tobytes() == three.statistic.tobytes()


@pytest.mark.parametrize("reg", [0.0, 0.5])
def test_a_permuted_statistic_is_a_fit_to_permuted_rows(reg, rng):
    X, y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2))
    test = permutation_test(CCA(reg=reg), X, y, n_permutations=3, random_state=7)
    shuffles = np.random.RandomState(7)
    for permuted in test.permuted:
        fitted = CCA(reg=reg).fit(X, y[shuffles.permutation(30)])
        assert permuted[0] == pytest.approx(fitted.singular_values_[0], abs=1e-10)


def test_permutation_finds_two_pairs_of_three():
    views = make_two_views(150, (4, 3), (0.9, 0.5), random_state=1)
    test = permutation_test(CCA(), views.X, views.y, n_permutations=199, random_state=0)
    assert test.p_value[0] == test.p_value[1] == 1 / 200
    assert test.p_value[2] > 0.05
    assert np.all(np.diff(test.p_value) >= 0)


def test_permutation_p_values_under_the_null(rng):
    # after a strong first pair the second correlation's p-value must still be uniform
    p_values = []
    for _ in range(120):
        t = rng.standard_normal(40)
        X = np.column_stack([t, rng.standard_normal((40, 2))])
        y = np.column_stack([t + 0.3 * rng.standard_normal(40), rng.standard_normal((40, 2))])
        p_values.append(
            permutation_test(CCA(), X, y, n_permutations=49, random_state=rng.integers(2**31)).p_value
        )
    first, second, _ = np.transpose(p_values)
    assert np.all(first == 1 / 50)
    assert 0.4 < np.mean(second) < 0.65
    assert np.mean(second <= 0.1) < 0.2


def test_blocks_confine_the_shuffle(rng):
    # a difference between groups is all that the views share
    groups = np.repeat([0, 1, 2, 3], 15)
    confined = []
    for seed in range(40):
        X = rng.standard_normal((60, 2)) + 3 * groups[:, None]
        y = rng.standard_normal((60, 2)) - 3 * groups[:, None]
        options = {"n_permutations": 39, "random_state": seed}
        assert permutation_test(CCA(), X, y, **options).p_value[0] == 1 / 40
        confined.append(permutation_test(CCA(), X, y, blocks=groups, **options).p_value[0])
    assert 0.35 < np.mean(confined) < 0.7


def test_bootstrap_intervals(rng):
    views = make_two_views(1600, (4, 3), (0.9, 0.6), random_state=2)
    found = bootstrap(CCA(n_components=2), views.X, views.y, n_bootstrap=150, random_state=0)
    low, high = found.interval()
    assert np.all(low < [0.9, 0.6])
    assert np.all(high > [0.9, 0.6])
    # the standard error of a correlation: (1 - rho²) / sqrt(n)
    expected = (1 - np.array([0.9, 0.6]) ** 2) / 40
    np.testing.assert_allclose(found.standard_error(), expected, rtol=0.35)
    fitted = CCA(n_components=2).fit(views.X, views.y)
    for name in ("x_loadings", "y_loadings", "x_weights", "y_weights"):
        low, high = found.interval(name)
        value, error = getattr(fitted, f"{name}_"), found.standard_error(name)
        assert low.shape == value.shape
        assert np.all((low <= value + error) & (value - error <= high))
        np.testing.assert_allclose(high - low, 2 * 1.96 * error, rtol=0.5, atol=1e-6)
    assert np.all(found.standard_error("y_loadings") < 0.2)


def _resampled_inputs():
    rng = np.random.default_rng(8)
    X, y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    y[:, 0] += 2 * X[:, 0]
    y[:, 1] += X[:, 1]
    X[:, 2] *= 5
    wide = np.hstack([X, rng.standard_normal((30, 50))])
    yield "no ridge", CCA(), X, y
    yield "ridge", CCA(reg=(0.3, 0.1)), X, y
    yield "ridge, scaled", CCA(reg=0.2, scale=True), X, y
    yield "qr", CCA(solver="qr"), X, y
    yield "years", CCA(), np.column_stack([X[:, :1] + 2000, (X[:, :1] + 2000) ** 2]), y
    yield "dummies", CCA(), np.eye(3)[np.arange(30) % 3], y
    yield "wide", CCA(1, reg=(5.0, 0.1)), wide, y
    yield "wide, scaled", CCA(1, reg=(5.0, 0.1), scale=True), wide, y
    yield "chosen ridge", CCACV(regs=[0.3, 3.0], cv=2), X, y


@pytest.mark.parametrize(
    ("estimator", "X", "y"), [pytest.param(*rest, id=name) for name, *rest in _resampled_inputs()]
)
def test_a_resample_is_a_fit_to_the_rows_drawn(estimator, X, y):
    found = bootstrap(estimator, X, y, n_bootstrap=3, random_state=3)
    if isinstance(estimator, CCACV):
        estimator = CCA(reg=clone(estimator).fit(X, y).reg_)
    draws = np.random.RandomState(3)
    for i, correlations in enumerate(found.canonical_correlations):
        rows = np.repeat(np.arange(30), draws.multinomial(30, np.full(30, 1 / 30)))
        fitted = clone(estimator).fit(X[rows], y[rows])
        order = np.argsort(-correlations)
        np.testing.assert_allclose(correlations[order], fitted.canonical_correlations_, atol=1e-6)
        for name in ("x_loadings", "y_loadings", "x_weights", "y_weights"):
            value = getattr(fitted, f"{name}_")
            ours = getattr(found, name)[i][:, order]
            tol = 1e-5 * np.abs(value).max()
            if "weights" in name and np.linalg.matrix_rank(X - X.mean(0)) < X.shape[1] and not fitted.reg:
                continue  # of dummies other weights give the same scores
            np.testing.assert_allclose(np.abs(ours), np.abs(value), atol=tol)
        for side, data in (("x", X[rows]), ("y", y[rows])):
            value = getattr(fitted, f"{side}_cross_loadings_")
            ours = getattr(found, f"{side}_cross_loadings")[i][:, order]
            varies = data.std(axis=0) > 0
            np.testing.assert_allclose(np.abs(ours)[varies], np.abs(value)[varies], atol=1e-5)
            redundancy = getattr(found, f"{side}_redundancy")[i][order]
            np.testing.assert_allclose(redundancy, (value[varies] ** 2).mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("with_confounds", [False, True], ids=["", "confounds"])
@pytest.mark.parametrize("with_weights", [False, True], ids=["", "weights"])
@pytest.mark.parametrize(
    "estimator",
    [
        CCA(2),
        CCA(2, reg=(0.3, 0.1), scale=True),
        CCA(2, solver="qr"),
        CCACV(2, regs=[0.01, 0.1], cv=3),
        TwoViewPipeline(x=[StandardScaler()], y=[], model=CCA(2, reg=0.2)),
    ],
    ids=["plain", "ridge", "qr", "chosen", "pipeline"],
)
def test_intervals_of_rows_drawn_with_their_confounds_and_weights(
    estimator, with_weights, with_confounds, rng
):
    n, b = 200, 19
    X, y, Z = (rng.standard_normal((n, p)) for p in (4, 3, 2))
    y[:, 0] += 3 * X[:, 0] + Z[:, 0]
    y[:, 1] += X[:, 1] - Z[:, 1]
    X[:, 2:] += 2 * Z
    weights = rng.integers(0, 4, n) * 0.7
    given = {}
    if with_weights:
        given["sample_weight"] = weights
    if with_confounds:
        given["confounds"] = Z
    found = bootstrap(estimator, X, y, n_bootstrap=b, random_state=3, **given)
    if isinstance(estimator, TwoViewPipeline):  # whose steps are held
        mean, scale = np.average(X, axis=0, weights=given.get("sample_weight")), None
        scale = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=given.get("sample_weight")))
        X, estimator = (X - mean) / scale, estimator.model
    whole = clone(estimator).fit(X, y, **given)
    if isinstance(estimator, CCACV):
        estimator = CCA(2, reg=whole.reg_)
    draws, refits = np.random.RandomState(3), []
    for _ in range(b):
        rows = np.repeat(np.arange(n), draws.multinomial(n, np.full(n, 1 / n)))
        refits.append(clone(estimator).fit(X[rows], y[rows], **{name: a[rows] for name, a in given.items()}))
    names = ["canonical_correlations"]
    names += [f"{s}_{of}" for s in "xy" for of in ("loadings", "cross_loadings", "weights")]
    for name in names:
        values = np.array([getattr(fit, f"{name}_") for fit in refits])
        own = getattr(whole, f"{name}_")
        if name != "canonical_correlations":
            signs = np.array([(fit.x_weights_ * whole.x_weights_).sum(axis=0) for fit in refits])
            values *= np.sign(signs)[:, np.newaxis, :]
        np.testing.assert_allclose(found.estimate(name), own, rtol=0, atol=1e-10, err_msg=name)
        expected = np.quantile(values, [0.025, 0.975], axis=0, method="weibull")
        np.testing.assert_allclose(
            found.interval(name, "percentile"), expected, rtol=0, atol=1e-10, err_msg=name
        )
    low, high = found.interval()
    assert (low < whole.canonical_correlations_).all()
    assert (high <= 1).all()
    assert (low < high).all()


def test_a_false_discovery_rate(rng):
    # two of twenty columns carry the pair
    X, y = rng.standard_normal((300, 20)), rng.standard_normal((300, 3))
    y[:, 0] += X[:, 0] - X[:, 1]
    found = bootstrap(CCA(1), X, y, n_bootstrap=200, random_state=0)
    for name in ("x_weights", "x_loadings", "x_cross_loadings"):
        plain, adjusted = (found.p_value(name, adjusted=a)[:, 0] for a in (False, True))
        assert set(np.flatnonzero(adjusted < 0.01)) == {0, 1}
        # Benjamini and Hochberg's step-up: the largest rank i with p <= a i / n selects all before it
        for level in (0.01, 0.05, 0.2, 0.5):
            ordered = np.sort(plain)
            below = np.flatnonzero(ordered <= level * np.arange(1, 21) / 20)
            selected = plain <= ordered[below[-1]] if len(below) else np.zeros(20, bool)
            assert ((adjusted <= level) == selected).all()
    ratio = CCA(1).fit(X, y).x_weights_[:, 0] / found.standard_error("x_weights")[:, 0]
    np.testing.assert_allclose(
        found.p_value("x_weights", adjusted=False)[:, 0], 2 * norm.sf(abs(ratio)), rtol=1e-8
    )
    with pytest.raises(ValueError, match="name must be one of 'x_loadings'"):
        found.p_value("x_redundancy")


def test_intervals_of_redundancies():
    views = make_two_views(2000, (3, 2), [0.8], random_state=5)
    found = bootstrap(CCA(), views.X, views.y, n_bootstrap=150, random_state=0)
    fitted = CCA().fit(views.X, views.y)
    for side in "xy":
        hat = (getattr(fitted, f"{side}_cross_loadings_") ** 2).mean(axis=0)
        resampled = getattr(found, f"{side}_redundancy")
        low, high = found.interval(f"{side}_redundancy")
        first, last = found.interval(f"{side}_redundancy", "percentile")
        np.testing.assert_allclose(low, np.maximum(2 * hat - last, 0), atol=1e-10)
        np.testing.assert_allclose(high, 2 * hat - first, atol=1e-10)
        assert low[0] < hat[0] < high[0]
        assert high[0] - low[0] < 0.1
        np.testing.assert_allclose(found.standard_error(f"{side}_redundancy"), resampled.std(axis=0, ddof=1))
    low, high = found.interval("x_cross_loadings")
    assert np.all((low <= fitted.x_cross_loadings_) & (fitted.x_cross_loadings_ <= high))


def test_components_keep_their_signs_and_order():
    views = make_two_views(300, (5, 4), (0.8, 0.6), random_state=3)
    found = bootstrap(CCA(2), views.X, views.y, n_bootstrap=60, random_state=0)
    fitted = CCA(2).fit(views.X, views.y)
    for name in ("x_weights", "y_weights", "x_loadings", "y_loadings"):
        resampled, value = getattr(found, name), getattr(fitted, f"{name}_")
        cosines = np.einsum("bpk,pk->bk", resampled, value)
        cosines /= np.linalg.norm(resampled, axis=1) * np.linalg.norm(value, axis=0)
        assert cosines.min() > 0.5


def test_coverage_of_intervals():
    count, n, d, true = 40, 100, 6, np.array([0.8, 0.5])
    mix = np.linalg.qr(np.random.default_rng(99).standard_normal((d, d)))[0] * np.linspace(1, 2, d)
    loadings = mix[:, :2] / np.linalg.norm(mix, axis=1)[:, None]
    weights = np.linalg.inv(mix).T[:, :2]
    inside = {"corrected": 0, "percentile": 0, "x_loadings": 0, "x_weights": 0}
    for seed in range(count):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((n, d)), rng.standard_normal((n, d))
        y[:, :2] = true * X[:, :2] + np.sqrt(1 - true**2) * y[:, :2]
        X = X @ mix.T
        found = bootstrap(CCA(2), X, y, n_bootstrap=100, random_state=seed)
        for method in ("corrected", "percentile"):
            low, high = found.interval(method=method)
            inside[method] += (low <= true) & (true <= high)
        sign = np.sign(np.einsum("pk,pk->k", found.x_weights.mean(axis=0), mix @ mix.T @ weights))
        for name, right in (("x_loadings", loadings * sign), ("x_weights", weights * sign)):
            low, high = found.interval(name)
            inside[name] += np.mean((low <= right) & (right <= high), axis=0)
    least = binom.ppf(0.001, count, 0.95)
    assert np.all(inside["corrected"] >= least), inside
    assert np.all(inside["percentile"] < least), inside  # the bias of training correlations, twice
    assert np.all(inside["x_loadings"] >= least), inside
    assert np.all(inside["x_weights"] >= least), inside


@pytest.mark.parametrize("seed", range(4))
def test_of_many_rows_the_corrected_interval_is_the_basic_one(seed):
    # whose bias is nothing beside its width; chance moves the mean of resamples' covariances more than that
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((20_000, 2)), rng.standard_normal((20_000, 2))
    y[:, 0] = 0.7 * X[:, 0] + np.sqrt(0.51) * y[:, 0]
    found = bootstrap(CCA(1), X, y, n_bootstrap=60, random_state=seed)
    width = {m: np.diff(found.interval(method=m), axis=0)[0] for m in ("corrected", "basic")}
    np.testing.assert_allclose(width["corrected"], width["basic"], rtol=0.02)
    for name in ("x_loadings", "x_weights"):
        raw = getattr(found, name)
        whole = sum(found.interval(name)) / 2
        if name == "x_loadings":
            raw = np.arctanh(raw.clip(-1 + 1e-15, 1 - 1e-15))
            whole = sum(np.arctanh(end) for end in found.interval(name)) / 2
            ends = np.arctanh(found.interval(name)[1])
        else:
            ends = found.interval(name)[1]
        expected = np.quantile(np.abs(raw - whole), 0.95, axis=0, method="weibull")
        np.testing.assert_allclose(ends - whole, expected, rtol=0.02)


def test_of_few_rows_weights_vary_as_those_of_samples_do():
    # 50 rows, 10 + 10 columns: resamples' weights vary by a quarter more than samples' do
    widths, covered = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((50, 10)), rng.standard_normal((50, 10))
        y[:, 0] = 0.9 * X[:, 0] + np.sqrt(0.19) * y[:, 0]
        found = bootstrap(CCA(1), X, y, n_bootstrap=60, random_state=seed)
        low, high = found.interval("x_weights")
        resampled = np.quantile(np.abs(found.x_weights - (low + high) / 2), 0.95, axis=0)
        widths.append((high - low)[1:] / 2 / resampled[1:])
        covered.append(((low < 0) & (high > 0))[1:].mean())
    assert 0.75 < np.mean(widths) < 0.97
    assert 0.92 < np.mean(covered) < 0.99


def test_the_correction_takes_the_bias_out():
    # a sample's second correlation of two unrelated 8-column views beside a strong pair is near .5
    centre = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((100, 8)), rng.standard_normal((100, 8))
        y[:, 0] = 0.9 * X[:, 0] + np.sqrt(0.19) * y[:, 0]
        found = bootstrap(CCA(2), X, y, n_bootstrap=60, random_state=seed)
        (low, high), naive = found.interval(), found.interval(method="percentile")
        assert low[1] == 0
        assert naive[0][1] > 0.3
        centre.append([low[0], high[0]])
    assert abs(np.mean(centre) - 0.9) < 0.025


def test_resamples_that_lack_a_component():
    rng = np.random.default_rng(84)
    X = np.column_stack([rng.normal(size=40), np.arange(40) < 2])  # a dummy that 2 rows of 40 have
    y = X + rng.normal(size=(40, 2)) * [1, 0.3]
    with pytest.warns(UserWarning, match=r"170 of 200 resamples have every component: in resample \d+"):
        found = bootstrap(CCA(), X, y, random_state=0)
    lacking = np.isnan(found.canonical_correlations)
    assert lacking.any(axis=1).sum() == 30
    counts = np.random.RandomState(0)
    drawn = np.array([counts.multinomial(40, np.full(40, 1 / 40))[:2].sum() for _ in range(200)])
    assert np.array_equal(lacking.any(axis=1), drawn == 0)
    for name in ("canonical_correlations", "x_loadings", "y_loadings", "x_weights", "y_weights"):
        for method in ("corrected", "basic", "percentile"):
            low, high = found.interval(name, method)
            assert np.all(low <= high)  # no NaN
        assert np.isfinite(found.standard_error(name)).all()
    full = found.canonical_correlations[drawn > 0]
    np.testing.assert_allclose(found.standard_error()[1], full[:, 1].std(ddof=1), rtol=0.2)
    # the only column is constant in a third of the resamples
    with pytest.warns(UserWarning, match=r"130 of 200 resamples .* in resample 2, the first of these"):
        found = bootstrap(CCA(), X[:30, :1], (np.arange(30) < 1).astype(float), random_state=0)
    assert np.isfinite(found.interval()).all()
    with pytest.raises(
        NumericalError, match=r"only [01] of 2 resamples have every component: in resample \d"
    ):
        bootstrap(CCA(), X[:30, :1], (np.arange(30) < 1).astype(float), n_bootstrap=2, random_state=2)


def test_intervals_of_one_column_and_of_perfect_pairs(rng):
    X = rng.standard_normal((50, 2))
    found = bootstrap(CCA(), X, X[:, 0] + rng.standard_normal(50), n_bootstrap=40, random_state=0)
    assert [end.tolist() for end in found.interval("y_loadings")] in ([[[1.0]]] * 2, [[[-1.0]]] * 2)
    found = bootstrap(CCA(), X, X, n_bootstrap=40, random_state=0)
    low, high = found.interval()
    np.testing.assert_allclose([low, high], 1, atol=1e-9)


def test_too_few_rows_for_a_correction(rng):
    X, y = rng.standard_normal((40, 30)), rng.standard_normal((40, 5))
    found = bootstrap(CCA(1, reg=1.0), X, y, n_bootstrap=20, random_state=0)
    with pytest.warns(UserWarning, match="40 rows are too few for the ranks of the views, 35 in all"):
        low, _ = found.interval()
    np.testing.assert_array_equal(low, found.interval(method="basic")[0])
    with pytest.raises(ValueError, match="name must be one of 'canonical_correlations'"):
        found.interval("z")
    with pytest.raises(ValueError, match="method must be one of 'corrected'"):
        found.interval(method="bca")
    with pytest.raises(ValueError, match="name must be one of"):
        found.standard_error("z")


@pytest.mark.parametrize("estimator", [CCA(2), CCA(2, reg=0.5)])
def test_resamples_do_not_depend_on_threads(estimator, rng):
    X, y = rng.standard_normal((150, 12)), rng.standard_normal((150, 9))
    one, three = (
        bootstrap(estimator.set_params(n_threads=n), X, y, n_bootstrap=9, random_state=0) for n in (1, 3)
    )
    for name in ("canonical_correlations", "x_loadings", "y_cross_loadings", "y_weights"):
        assert getattr(one, name).tobytes() == getattr(three, name).tobytes()
    assert np.array(one.interval()).tobytes() == np.array(three.interval()).tobytes()


@pytest.mark.parametrize("test", [permutation_test, bootstrap])
def test_more_features_than_samples_take_no_square_of_them(test, rng):
    X, y = rng.standard_normal((40, 5000)), rng.standard_normal((40, 3))
    option = {"n_permutations": 19} if test is permutation_test else {"n_bootstrap": 19}
    tracemalloc.start()
    try:
        test(CCA(1, reg=(500.0, 0.1)), X, y, **option, random_state=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5000**2 * 8 / 4


def test_symmetric_intervals_of_loadings_and_weights(rng):
    X, y = rng.standard_normal((60, 3)), rng.standard_normal((60, 2))
    y[:, 0] += X[:, 0]
    found = bootstrap(CCA(2), X, y, n_bootstrap=39, random_state=0)
    fitted = CCA(2).fit(X, y)
    estimates = {"x_weights": fitted.x_weights_, "y_loadings": fitted.y_loadings_}
    for name, turn, back in (("x_weights", np.array, np.array), ("y_loadings", np.arctanh, np.tanh)):
        centre = turn(estimates[name])
        # of moments that vary as those of samples do, not of resamples
        resampled = found._shrunk[name[0]].resampled(name[2:])
        distance = np.sort(np.abs(turn(resampled) - centre), axis=0)[37]  # 38 of 40: 95 %
        np.testing.assert_allclose(
            found.interval(name), back([centre - distance, centre + distance]), rtol=1e-9
        )


def test_the_correction_takes_resamples_that_vary_as_samples_do():
    # 60 rows, 10 + 10 columns: resamples themselves vary by a third more than samples of the population
    def z(rng):
        X, y = rng.standard_normal((60, 10)), rng.standard_normal((60, 10))
        y[:, 0] = 0.8 * X[:, 0] + 0.6 * y[:, 0]
        q = [np.linalg.qr(v - v.mean(axis=0))[0] for v in (X, y)]
        return X, y, np.arctanh(np.linalg.svd(q[0].T @ q[1], compute_uv=False)[0])

    samples = np.std([z(np.random.default_rng(seed))[2] for seed in range(400)])
    spread, inside, width, basic = [], 0, 0, 0
    for seed in range(30):
        X, y, _ = z(np.random.default_rng(seed))
        found = bootstrap(CCA(1), X, y, n_bootstrap=100, random_state=seed)
        spread.append(found._correction.resampled[:, 0].std())
        low, high = found.interval()
        inside += low[0] <= 0.8 <= high[0]
        width += high[0] - low[0]
        low, high = found.interval(method="basic")
        basic += high[0] - low[0]
    assert 0.9 < np.mean(spread) / samples < 1.2
    assert inside >= binom.ppf(0.001, 30, 0.95)
    assert width < basic


ODD = {
    "plain": lambda X: X,
    "apart": lambda X: X * [1e140, 1e-140, 1.0],
    "constant": lambda X: np.column_stack([X, np.full(len(X), 1.7e308)]),
    "rounded": lambda X: np.column_stack([X, np.full(len(X), 0.1)]),
}


@pytest.mark.parametrize("kind", ODD)
def test_columns_of_any_scale_and_constant_ones(rng, kind):
    X, y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    y += X[:, :2]
    c = np.column_stack([rng.standard_normal(30) * 1e200, np.full(30, 1.7e308), np.full(30, 0.3)])
    odd = ODD[kind](X)
    for options, cca in (({}, CCA(1)), ({"confounds": c}, CCA(1)), ({}, CCA(1, reg=0.1, scale=True))):
        found = permutation_test(cca, odd, y, n_permutations=9, random_state=0, **options)
        plain = {name: value[:, :1] / 1e200 for name, value in options.items()}
        right = permutation_test(cca, X, y, n_permutations=9, random_state=0, **plain)
        np.testing.assert_allclose(found.permuted, right.permuted, rtol=1e-9)
    for cca in (CCA(1), CCA(1, reg=0.1, scale=True)):
        found = bootstrap(cca, odd, y, n_bootstrap=9, random_state=0)
        right = bootstrap(cca, X, y, n_bootstrap=9, random_state=0)
        np.testing.assert_allclose(found.canonical_correlations, right.canonical_correlations, rtol=1e-9)
        # signs follow the largest weight, which depends on the units
        sign = np.sign(found.x_loadings[0, 0, 0] * right.x_loadings[0, 0, 0])
        np.testing.assert_allclose(sign * found.x_loadings[:, :3], right.x_loadings, rtol=1e-8)
        low, high = found.interval("x_loadings")
        ends = right.interval("x_loadings")
        np.testing.assert_allclose(low[:3], ends[0] if sign > 0 else -ends[1], rtol=1e-8)
        assert np.isnan(found.x_loadings[:, 3:]).all()  # of a constant column
        assert np.isfinite(low[:3]).all()
        assert np.isfinite(high[:3]).all()
        found.standard_error("x_weights")


def test_confounds_beside_data_that_overflow(rng):
    X, y = rng.standard_normal((30, 2)), rng.standard_normal((30, 2))
    with pytest.raises(ValueError, match="overflows: scale the data down"):
        permutation_test(CCA(), X * [1.5e308 / np.abs(X).max(), 1], y, confounds=y[:, 0], n_permutations=1)


@pytest.mark.parametrize("reg", [(0.0, 0.0), (50.0, 200.0)])
def test_permutations_of_wide_views(rng, reg):
    n, p, q = 90, 300, 200
    X, y = rng.standard_normal((n, p)), rng.standard_normal((n, q))

    def factor(view, r):
        U, s, _ = np.linalg.svd(view - view.mean(axis=0), full_matrices=False)
        U, s = U[:, : n - 1], s[: n - 1]
        return U * (s / np.sqrt(s**2 + (n - 1) * r))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # without a ridge all correlations are 1
        found = permutation_test(CCA(1, reg=reg), X, y, n_permutations=5, random_state=3)
    fx, fy = factor(X, reg[0]), factor(y, reg[1])
    draws = np.random.RandomState(3)
    right = [np.linalg.norm(fx.T @ fy[draws.permutation(n)], 2) for _ in range(5)]
    np.testing.assert_allclose(found.permuted[:, 0], right, rtol=1e-10)
    np.testing.assert_allclose(found.statistic, np.linalg.norm(fx.T @ fy, 2), rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda X, y: wilks_test([0.5], 20, 3, 2), r"all min\(p, q\) = 2"),
        (lambda X, y: wilks_test([1.5, 0.5], 20, 3, 2), "between 0 and 1"),
        (lambda X, y: wilks_test([0.5, 0.2], 5, 3, 2), "permutation_test"),
        (lambda X, y: wilks_test([0.5, 0.2], np.nan, 3, 2), "n_samples must be a positive number"),
        (lambda X, y: wilks_test([0.5, 0.2], 20, 3, 0), "n_features_y"),
        (lambda X, y: wilks_test([0.2, 0.5], 20, 3, 2), "in descending order"),
        (lambda X, y: permutation_test(CCA(), X, y, n_permutations=0), "n_permutations"),
        (lambda X, y: permutation_test(CCA(), X, y[:-1]), "same number of rows"),
        (lambda X, y: permutation_test(CCA(), X, y, blocks=[1, 2]), "blocks must have shape"),
        (lambda X, y: permutation_test(CCA(), X, y, blocks=np.arange(10)), "nothing to exchange"),
        (lambda X, y: bootstrap(CCA(), X, y, n_bootstrap=1), "n_bootstrap"),
        (lambda X, y: bootstrap(CCA(), X, y, confidence=1.0), "confidence"),
        (lambda X, y: bootstrap(CCA(), X, y, confidence="high"), "confidence must be a number"),
        (
            lambda X, y: bootstrap(CCA(), X, y, n_bootstrap=2**31),
            "n_bootstrap must be an integer from 2 to 10000000",
        ),
        (
            lambda X, y: permutation_test(CCA(), X, y, n_permutations=2**31),
            "n_permutations must be an integer from 1 to 10000000",
        ),
        (lambda X, y: bootstrap(CCA(), X * np.nan, y), "NaN"),
    ],
)
def test_bad_input(call, match, rng):
    X, y = rng.standard_normal((10, 3)), rng.standard_normal((10, 2))
    with pytest.raises(ValueError, match=match):
        call(X, y)


@pytest.mark.parametrize("test", [permutation_test, bootstrap])
def test_estimators_and_counts_are_checked(rng, test):
    X = rng.standard_normal((20, 2))
    count = "n_permutations" if test is permutation_test else "n_bootstrap"
    for wrong in ("cca", None, *([KernelCCA(1)] if test is bootstrap else [])):
        with pytest.raises(TypeError, match=f"estimator must be a CCA.* CCACV.*, got {type(wrong).__name__}"):
            test(wrong, X, X)
    for number in (9.5, "9", True, None):
        with pytest.raises(ValueError, match=f"{count} must be an integer from . to 10000000"):
            test(CCA(), X, X, **{count: number})
    with pytest.raises(TypeError, match=r"chooses widths and regularisation|got KernelCCACV"):
        test(KernelCCACV(1), X, X)


def test_a_ridge_that_leaves_nothing_to_vary(rng):
    X = (1e-20 * rng.standard_normal((28, 3))).astype(np.float32)
    y = (1e-40 * rng.standard_normal((28, 2))).astype(np.float32)
    found = bootstrap(CCA(1, reg=0.1), X, y, n_bootstrap=9, random_state=0)
    assert not found.canonical_correlations.any()
