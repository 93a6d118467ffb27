"""Tests of correlations: values, error rates under the null, what is refused."""

import numpy as np
import pytest
from scipy.stats import kstest

from fastcca import CCA, KernelCCA
from fastcca.datasets import make_two_views
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


def test_permutation_statistic_is_the_fit(rng):
    views = make_two_views(80, (5, 3), (0.8, 0.4), random_state=0)
    for estimator in (CCA(), CCA(reg=(0.3, 0.1)), CCA(reg=0.2, scale=True), CCA(n_components=2)):
        test = permutation_test(estimator, views.X, views.y, n_permutations=2, random_state=0)
        fitted = CCA(**estimator.get_params()).fit(views.X, views.y)
        np.testing.assert_allclose(test.statistic, fitted.singular_values_, atol=1e-10)


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


def test_groups_confine_the_shuffle(rng):
    # a difference between groups is all that the views share
    groups = np.repeat([0, 1, 2, 3], 15)
    confined = []
    for seed in range(40):
        X = rng.standard_normal((60, 2)) + 3 * groups[:, None]
        y = rng.standard_normal((60, 2)) - 3 * groups[:, None]
        options = {"n_permutations": 39, "random_state": seed}
        assert permutation_test(CCA(), X, y, **options).p_value[0] == 1 / 40
        confined.append(permutation_test(CCA(), X, y, groups=groups, **options).p_value[0])
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
    low, high = found.interval("x_loadings")
    assert np.all((low <= fitted.x_loadings_ + 0.02) & (fitted.x_loadings_ - 0.02 <= high))
    assert np.all(found.standard_error("y_loadings") < 0.2)


def test_a_resample_is_a_fit_to_the_rows_drawn(rng):
    X, y = rng.standard_normal((25, 3)), rng.standard_normal((25, 2))
    found = bootstrap(CCA(reg=0.1), X, y, n_bootstrap=2, random_state=3)
    counts = np.random.RandomState(3).multinomial(25, np.full(25, 1 / 25))
    rows = np.repeat(np.arange(25), counts)
    fitted = CCA(reg=0.1).fit(X[rows], y[rows])
    assert sorted(found.canonical_correlations[0]) == pytest.approx(sorted(fitted.canonical_correlations_))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda X, y: wilks_test([0.5], 20, 3, 2), r"all min\(p, q\) = 2"),
        (lambda X, y: wilks_test([1.5, 0.5], 20, 3, 2), "between 0 and 1"),
        (lambda X, y: wilks_test([0.5, 0.2], 6, 3, 2), "permutation_test"),
        (lambda X, y: wilks_test([0.2, 0.5], 20, 3, 2), "in falling order"),
        (lambda X, y: permutation_test(CCA(), X, y, n_permutations=0), "n_permutations"),
        (lambda X, y: permutation_test(CCA(), X, y[:-1]), "inconsistent numbers of samples"),
        (lambda X, y: permutation_test(CCA(), X, y, groups=[1, 2]), "groups must have shape"),
        (lambda X, y: permutation_test(CCA(), X, y, groups=np.arange(10)), "nothing to shuffle"),
        (lambda X, y: bootstrap(CCA(), X, y, n_bootstrap=1), "n_bootstrap"),
        (lambda X, y: bootstrap(CCA(), X, y, confidence=1.0), "confidence"),
        (lambda X, y: bootstrap(CCA(), X * np.nan, y), "NaN"),
    ],
)
def test_bad_input(call, match, rng):
    X, y = rng.standard_normal((10, 3)), rng.standard_normal((10, 2))
    with pytest.raises(ValueError, match=match):
        call(X, y)


@pytest.mark.parametrize("test", [permutation_test, bootstrap])
def test_only_linear_models_and_whole_numbers(rng, test):
    X = rng.standard_normal((20, 2))
    count = "n_permutations" if test is permutation_test else "n_bootstrap"
    for wrong in (KernelCCA(1), "cca", None):
        with pytest.raises(TypeError, match=f"estimator must be a CCA, got {type(wrong).__name__}"):
            test(wrong, X, X)
    for number in (9.5, "9", True, None):
        with pytest.raises(ValueError, match=f"{count} must be a whole number >= "):
            test(CCA(), X, X, **{count: number})
