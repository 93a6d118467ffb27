"""The three roads of the solver against dense formulas, against each other, and where data are awkward."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastcca
from fastcca.errors import NumericalError
from fastcca.functional import Moments, held_out_correlations, solve_gram, solve_moments, solve_qr
from reference import solver as ref

pytestmark = pytest.mark.core


def solve_covariance(X, y, n_components=None, reg=0.0, sample_weight=None, n_threads=None):
    moments = Moments().update(X, y, sample_weight=sample_weight)
    return solve_moments(moments, n_components, reg, n_threads)


ROADS = {"covariance": solve_covariance, "qr": solve_qr, "gram": solve_gram}
every_road = pytest.mark.parametrize("solve", ROADS.values(), ids=ROADS.keys())


def two_views(seed, n, p, q, shared=4):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, shared)) * np.linspace(2, 0.5, shared)
    X = Z @ rng.normal(size=(shared, p)) + rng.normal(size=(n, p)) + 3.0
    Y = Z @ rng.normal(size=(shared, q)) + rng.normal(size=(n, q)) - 1.0
    return X, Y


def assert_solves(solution, expected, tolerance=1e-10):
    W1, W2, D = expected
    np.testing.assert_allclose(solution.singular_values, D, rtol=0, atol=tolerance)
    np.testing.assert_allclose(solution.x_weights, W1, rtol=0, atol=tolerance * np.abs(W1).max())
    np.testing.assert_allclose(solution.y_weights, W2, rtol=0, atol=tolerance * np.abs(W2).max())


# Values


@every_road
@pytest.mark.parametrize("reg", [0.0, 0.5, (1e-3, 2.0)])
@pytest.mark.parametrize(
    ("n", "p", "q"), [(200, 7, 5), (60, 1, 17), (75, 16, 33), (40, 31, 3), (300, 15, 15)]
)
def test_all_roads_give_the_dense_solution(solve, n, p, q, reg):
    X, Y = two_views(n + p + q, n, p, q)
    pair = reg if isinstance(reg, tuple) else (reg, reg)
    solution = solve(X, Y, reg=reg)
    assert_solves(solution, ref.cca(X, Y, min(p, q), pair))
    assert solution.rank == (p, q)
    assert solution.dropped == (False, False)


@every_road
def test_sample_weights_are_repetitions(solve):
    X, Y = two_views(1, 60, 6, 4)
    counts = np.random.default_rng(2).integers(0, 5, size=60)
    repeated = solve(np.repeat(X, counts, axis=0), np.repeat(Y, counts, axis=0), reg=(0.1, 0.2))
    weighted = solve(X, Y, reg=(0.1, 0.2), sample_weight=counts)
    assert_solves(weighted, (repeated.x_weights, repeated.y_weights, repeated.singular_values))
    assert_solves(weighted, ref.cca(X, Y, 4, (0.1, 0.2), counts))


@every_road
def test_correlations_to_ten_digits_of_a_fifty_digit_reference(solve):
    X, Y = two_views(3, 30, 4, 5)
    exact = ref.exact_correlations(X, Y)
    np.testing.assert_allclose(solve(X, Y).singular_values, exact, rtol=0, atol=1e-10)


@every_road
@pytest.mark.parametrize("reg", [0.01, 1.0])
def test_more_features_than_samples(solve, reg):
    X, Y = two_views(4, 30, 50, 40)
    solution = solve(X, Y, n_components=5, reg=reg)
    assert_solves(solution, ref.cca(X, Y, 5, (reg, reg), ranks=(29, 29)))
    assert solution.rank == (29, 29)
    assert solution.dropped == (False, False)
    S = np.cov(X, rowvar=False) + reg * np.eye(50)
    if solve is solve_covariance:
        S /= np.sqrt(np.outer(S.diagonal(), S.diagonal()))
    assert solution.condition[0] == pytest.approx(np.sqrt(np.linalg.cond(S)), rel=0.5)


@every_road
def test_more_features_than_samples_without_ridge_correlate_fully(solve):
    X, Y = two_views(5, 20, 20, 31)
    solution = solve(X, Y)
    assert solution.rank == (19, 19)
    assert solution.dropped == (True, True)
    np.testing.assert_allclose(solution.singular_values, np.ones(19), rtol=0, atol=1e-9)
    # The scores are what the weights promise: uncorrelated, of variance 1, the pairs equal.
    Zx, Zy = ref.centred(X)[0] @ solution.x_weights, ref.centred(Y)[0] @ solution.y_weights
    np.testing.assert_allclose(Zx.T @ Zx / 19, np.eye(19), rtol=0, atol=1e-9)
    np.testing.assert_allclose(Zx, Zy, rtol=0, atol=1e-7)


@pytest.mark.parametrize("solve", [solve_qr, solve_gram])
def test_a_thin_view_beside_a_wide_one(solve):
    X, Y = two_views(6, 25, 60, 3)
    assert_solves(solve(X, Y, reg=(0.3, 0.0)), ref.cca(X, Y, 3, (0.3, 0.0), ranks=(24, 3)))
    swapped = solve(Y, X, reg=(0.0, 0.3))
    assert_solves(swapped, ref.cca(Y, X, 3, (0.0, 0.3), ranks=(3, 24)))


def test_qr_keeps_the_digits_that_covariances_lose():
    rng = np.random.default_rng(7)
    n, rho = 5000, 0.998
    z = rng.normal(size=n)
    # The direction that correlates has a spread of 2e-9 of the largest.
    Q = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    latent = rng.normal(size=(n, 8))
    latent[:, 7] = z
    X = latent * np.append(np.ones(7), 1 / 6e8) @ Q.T
    Y = rng.normal(size=(n, 4))
    Y[:, 0] = rho * z + np.sqrt(1 - rho**2) * rng.normal(size=n)
    truth = ref.cca(latent, Y, 1)[2][0]
    solution = solve_qr(X, Y, 1)
    assert solution.singular_values[0] == pytest.approx(truth, abs=1e-6)
    assert solution.condition[0] == pytest.approx(6e8, rel=0.1)
    assert solution.rank == (8, 4)
    # The covariance road sees that it cannot.
    covariance = solve_covariance(X, Y, 1)
    assert covariance.condition[0] > 1e6
    assert covariance.dropped == (True, False)


@every_road
def test_correlation_one_is_exact_and_never_above(solve):
    X, _ = two_views(8, 100, 6, 1)
    solution = solve(X, X @ np.random.default_rng(0).normal(size=(6, 4)))
    np.testing.assert_allclose(solution.singular_values, np.ones(4), rtol=0, atol=1e-13)
    assert solution.singular_values.max() <= 1


# Ranks


@every_road
@pytest.mark.parametrize("reg", [0.0, 0.2])
def test_constant_and_dependent_columns(solve, reg):
    X, Y = two_views(9, 80, 5, 4)
    A = np.column_stack([X[:, 0], np.full(80, 1e5), X, X[:, 1] + X[:, 2], np.zeros(80)])
    solution = solve(A, Y, reg=reg)
    W1, W2, D = ref.cca(A, Y, 4, (reg, reg), ranks=(5, 4))
    W1[[1, 8]] = 0  # rounding, in the reference
    assert_solves(solution, (*ref.fix_signs(W1, W2), D))
    assert np.all(solution.x_weights[[1, 8]] == 0)
    assert solution.rank == (5, 4)
    assert solution.dropped == (reg == 0, False)


@every_road
def test_rank_cuts_the_number_of_components(solve):
    X, Y = two_views(10, 50, 3, 6)
    X = X @ np.random.default_rng(1).normal(size=(3, 7))
    for reg in (0.0, 1.0):
        solution = solve(X, Y, n_components=6, reg=reg)
        assert solution.singular_values.shape == (3,)
        assert solution.x_weights.shape == (7, 3)
        assert_solves(solution, ref.cca(X, Y, 3, (reg, reg), ranks=(3, 6)))


@every_road
@pytest.mark.parametrize("constant", ["X", "y"])
def test_a_view_without_variation_is_named(solve, constant):
    X, Y = two_views(11, 20, 3, 2)
    if constant == "X":
        X = np.full((20, 3), 0.1)
    else:
        Y = np.zeros((20, 2))
    with pytest.raises(NumericalError, match=f"^{constant} has rank 0"):
        solve(X, Y)


@pytest.mark.parametrize("solve", [solve_qr, solve_gram])
@pytest.mark.parametrize("scale", [1e200, 1e307])
def test_a_view_whose_variances_overflow_is_named(solve, scale):
    X, Y = two_views(27, 20, 3, 2)
    with pytest.raises(NumericalError, match="variances of y overflow"):
        solve(X, Y * scale)


def test_moments_that_overflow_are_named():
    X, Y = two_views(28, 20, 3, 2)
    moments = Moments().update(X, Y)
    moments.scatter = moments.scatter.copy()
    moments.scatter[0, 0] = np.inf
    with pytest.raises(NumericalError, match="variances of X overflow"):
        solve_moments(moments)


@every_road
def test_views_are_judged_on_their_own_scale(solve):
    X, Y = two_views(12, 60, 4, 3)
    plain, scaled = solve(X, Y), solve(X * 1e-9, Y * 1e6)
    np.testing.assert_allclose(scaled.singular_values, plain.singular_values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(scaled.x_weights * 1e-9, plain.x_weights, rtol=1e-9)
    assert scaled.rank == (4, 3)


@every_road
def test_means_far_larger_than_the_spread(solve):
    X, Y = two_views(13, 60, 4, 3)
    X, Y = X.round(4), Y.round(4)
    shifted = solve(X + 2.0**26, Y - 2.0**24)
    exact = solve((X + 2.0**26) - 2.0**26, (Y - 2.0**24) + 2.0**24)
    assert_solves(shifted, (exact.x_weights, exact.y_weights, exact.singular_values))


# The sign rule


@every_road
def test_the_largest_weight_is_positive_and_ties_go_to_the_first(solve):
    X, Y = two_views(14, 90, 6, 6)
    W = solve(X, Y).x_weights
    assert np.all(W[np.abs(W).argmax(0), np.arange(6)] > 0)
    # Columns of opposite sign have weights of one magnitude: the first one is positive.
    x = X[:, :1]
    W = solve(np.hstack([x, -x]), Y).x_weights
    assert W[0, 0] > 0
    assert W[1, 0] == pytest.approx(-W[0, 0], rel=1e-9)


# Inputs


@pytest.mark.parametrize("solve", [solve_qr, solve_gram])
@pytest.mark.parametrize("wide", [False, True])
def test_float32_is_computed_in_double(solve, wide):
    X, Y = two_views(15, 40, 60 if wide else 6, 4)
    X32, Y32 = X.astype(np.float32), Y.astype(np.float32)
    expected = solve(X32.astype(np.float64), Y32.astype(np.float64), reg=0.1)
    for x, y in ((X32, Y32), (X32, Y32.astype(np.float64)), (X32.astype(np.float64), Y32)):
        solution = solve(x, y, reg=0.1)
        assert solution.x_weights.dtype == np.float64
        np.testing.assert_array_equal(solution.x_weights, expected.x_weights)
        np.testing.assert_array_equal(solution.singular_values, expected.singular_values)


def test_float32_moments_near_the_double_solution():
    X, Y = two_views(16, 3000, 6, 4)
    X, Y = X.astype(np.float32), Y.astype(np.float32)
    assert_solves(solve_covariance(X, Y), ref.cca(X, Y, 4), 1e-4)
    # Duplicates are found at the precision of float32.
    solution = solve_covariance(np.hstack([X, X[:, :2]]), Y)
    assert solution.rank == (6, 4)
    assert solution.dropped == (True, False)


@pytest.mark.parametrize("solve", [solve_qr, solve_gram])
def test_any_strides_are_read_in_place(solve):
    X, Y = two_views(17, 50, 8, 6)
    expected = solve(X, Y, reg=0.1)
    padded = np.zeros((100, 24))
    padded[::2, ::3] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    for x in (np.asfortranarray(X), padded[::2, ::3], X[::-1][::-1], read_only):
        np.testing.assert_array_equal(solve(x, Y, reg=0.1).x_weights, expected.x_weights)
    one = solve(X, Y[:, 0])
    np.testing.assert_array_equal(one.y_weights, solve(X, Y[:, :1]).y_weights)


@every_road
@pytest.mark.parametrize(("n", "p", "q"), [(700, 40, 33), (1300, 7, 5), (90, 130, 120)])
@pytest.mark.parametrize("k", [3, None])
def test_bitwise_the_same_for_every_number_of_threads(solve, n, p, q, k):
    X, Y = two_views(18, n, p, q)
    one, two, seven = (solve(X, Y, k, 0.1, n_threads=t) for t in (1, 2, 7))
    for other in (two, seven):
        np.testing.assert_array_equal(one.x_weights, other.x_weights)
        np.testing.assert_array_equal(one.y_weights, other.y_weights)
        np.testing.assert_array_equal(one.singular_values, other.singular_values)


@pytest.mark.parametrize("solve", [solve_qr, solve_gram])
def test_bad_data_are_refused(solve):
    X, Y = two_views(19, 20, 3, 2)
    for bad, word in ((np.nan, "NaN"), (-np.inf, "infinity")):
        broken = X.copy()
        broken[11, 2] = bad
        with pytest.raises(ValueError, match=f"X contains {word}.* row 11, column 2"):
            solve(broken, Y)
    with pytest.raises(ValueError, match="same number of rows, got 20 and 19"):
        solve(X, Y[1:])
    with pytest.raises(ValueError, match="more than 1 sample, got n = 1"):
        solve(X[:1], Y[:1])
    with pytest.raises(ValueError, match="y has 0 feature"):
        solve(X, Y[:, :0])
    with pytest.raises(ValueError, match="sample_weight"):
        solve(X, Y, sample_weight=-np.ones(20))


@every_road
def test_bad_parameters_are_refused(solve):
    X, Y = two_views(20, 20, 3, 2)
    for reg in (-1.0, (1.0, -0.1), np.nan, (1.0, 2.0, 3.0), "much"):
        with pytest.raises(ValueError, match=r"regs? must be"):
            solve(X, Y, reg=reg)
    with pytest.raises(ValueError, match="n_components must be an integer >= 1"):
        solve(X, Y, n_components=0)
    with pytest.raises(ValueError, match="n_components must be an integer"):
        solve(X, Y, n_components=1.5)


def test_moments_of_other_than_two_views_are_refused():
    X, Y = two_views(21, 20, 3, 2)
    with pytest.raises(ValueError, match="two views"):
        solve_moments(Moments().update(X))
    with pytest.raises(ValueError, match="two views"):
        solve_moments(Moments())
    with pytest.raises(ValueError, match="more than 1 sample"):
        solve_moments(Moments().update(X[:1], Y[:1]))


# Invariants


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000), p=st.integers(1, 9), q=st.integers(1, 9), road=st.sampled_from(list(ROADS))
)
def test_invariants(seed, p, q, road):
    solve = ROADS[road]
    X, Y = two_views(seed, 60, p, q)
    rng = np.random.default_rng(seed)
    reg = (0.1, 0.3)
    base = solve(X, Y, reg=reg)
    expected = (base.x_weights, base.y_weights, base.singular_values)
    # Translation changes nothing.
    assert_solves(solve(X + rng.normal(size=p), Y - 5, reg=reg), expected, 1e-8)
    # The views change places.
    swapped = solve(Y, X, reg=reg[::-1])
    np.testing.assert_allclose(swapped.singular_values, base.singular_values, atol=1e-10)
    signs = np.sign((swapped.y_weights * base.x_weights).sum(0))
    np.testing.assert_allclose(swapped.y_weights * signs, base.x_weights, atol=1e-6)
    # A rotation of a view rotates its weights.
    Q = np.linalg.qr(rng.normal(size=(p, p)))[0]
    rotated = solve(X @ Q, Y, reg=reg)
    np.testing.assert_allclose(rotated.singular_values, base.singular_values, atol=1e-10)
    back = Q @ rotated.x_weights
    signs = np.sign((back * base.x_weights).sum(0))
    np.testing.assert_allclose(back * signs, base.x_weights, atol=1e-6)
    # Every row twice, with the degrees of freedom that come with it.
    twice = solve(np.vstack([X, X]), np.vstack([Y, Y]), reg=reg)
    weighted = solve(X, Y, reg=reg, sample_weight=np.full(60, 2.0))
    assert_solves(weighted, (twice.x_weights, twice.y_weights, twice.singular_values), 1e-8)
    # The weights whiten: W1'(S + rI)W1 = I, W1'S12 W2 = D.
    (Xc, N), (Yc, _) = ref.centred(X), ref.centred(Y)
    k = min(p, q)
    W1, W2 = base.x_weights, base.y_weights
    np.testing.assert_allclose(W1.T @ (Xc.T @ Xc / (N - 1) + reg[0] * np.eye(p)) @ W1, np.eye(k), atol=1e-10)
    np.testing.assert_allclose(W1.T @ Xc.T @ Yc @ W2 / (N - 1), np.diag(base.singular_values), atol=1e-10)


# Cross-validation


def folds_of(X, Y, n_folds):
    return [Moments().update(X[i::n_folds], Y[i::n_folds]) for i in range(n_folds)]


def separate_fits(X, Y, n_folds, regs, k):
    out = np.full((n_folds, len(regs), k), np.nan)
    for i in range(n_folds):
        test = np.arange(len(X)) % n_folds == i
        for j, reg in enumerate(regs):
            s = solve_covariance(X[~test], Y[~test], k, reg)
            rho = ref.pearson(X[test] @ s.x_weights, Y[test] @ s.y_weights)
            out[i, j, : len(rho)] = rho
    return out


@pytest.mark.parametrize("k", [2, 6])
@pytest.mark.parametrize("mean", [0.0, 1e4])
def test_held_out_correlations_are_those_of_separate_fits(k, mean):
    X, Y = two_views(22, 400, 9, 6)
    X += mean
    regs = [0.0, 1e-3, (0.1, 5.0), 100.0]
    result = held_out_correlations(Moments().update(X, Y), folds_of(X, Y, 5), regs, k)
    np.testing.assert_allclose(result, separate_fits(X, Y, 5, regs, k), rtol=0, atol=1e-8)


def test_held_out_correlations_with_awkward_columns():
    X, Y = two_views(23, 100, 5, 4)
    X = np.column_stack([X, X[:, 0], np.full(100, 7.0), np.zeros(100)])
    X[::5, 7] = 1e3 * np.arange(20)  # constant but in the first fold
    Y[:, 3] = Y[:, 0] - Y[:, 1]
    regs = [0.0, 1e-2, 10.0]
    result = held_out_correlations(Moments().update(X, Y), folds_of(X, Y, 5), regs, 4)
    expected = separate_fits(X, Y, 5, regs, 4)
    assert np.all(np.isnan(result[:, :, 3]))
    assert np.all(np.isfinite(result[:, :, :3]))
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-8)


def test_a_constant_held_out_score_counts_zero():
    X, Y = two_views(24, 60, 3, 2)
    Y[::4] = 2.5  # the first fold's second view does not vary
    result = held_out_correlations(Moments().update(X, Y), folds_of(X, Y, 4), [0.0, 0.1], 2)
    assert np.all(result[0] == 0)
    assert np.all(result[1:, :, 0] > 0.1)
    # One row held out: nothing varies.
    one = Moments().update(X[1:2], Y[1:2])
    assert np.all(held_out_correlations(Moments().update(X, Y), [one], [0.1], 1) == 0)


def test_held_out_correlations_are_bitwise_the_same_for_every_number_of_threads():
    X, Y = two_views(25, 300, 40, 33)
    total, folds = Moments().update(X, Y), folds_of(X, Y, 3)
    one, two, seven = (held_out_correlations(total, folds, [0.0, 1.0], 4, n_threads=t) for t in (1, 2, 7))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, seven)


def test_held_out_correlations_refuse_what_is_no_fold():
    X, Y = two_views(26, 20, 3, 2)
    total = Moments().update(X, Y)
    with pytest.raises(ValueError, match=r"folds\[0\].dims"):
        held_out_correlations(total, [Moments().update(X[:5], Y[:5, :1])], [0.1])
    with pytest.raises(ValueError, match=r"folds\[0\] leaves n = 0"):
        held_out_correlations(total, [total], [0.1])
    with pytest.raises(ValueError, match=r"folds\[0\] holds no rows: n = 0"):
        held_out_correlations(total, [Moments().update(X[:0], Y[:0])], [0.1])
    with pytest.raises(ValueError, match=r"regs? must be"):
        held_out_correlations(total, folds_of(X, Y, 4), [-0.1])
    Y[1:] = 0
    with pytest.raises(NumericalError, match="training part of a fold of y has rank 0"):
        held_out_correlations(Moments().update(X, Y), folds_of(X, Y, 20), [0.1])


def test_solution_is_exported():
    assert fastcca.functional.Solution.__dataclass_params__.frozen


def test_a_ridge_carries_what_many_columns_lack():
    rng = np.random.default_rng(11)
    X = rng.standard_normal((900, 560)) @ rng.standard_normal((560, 600)) / 20  # rank 560 of 600
    Y = X[:, :4] + rng.standard_normal((900, 4))
    for reg, tolerance in ((1e-6, 1e-6), (0.1, 1e-10)):
        solution = solve_moments(Moments().update(X, Y), 3, reg)
        assert_solves(solution, ref.cca(X, Y, 3, (reg, reg), ranks=(560, 4)), tolerance)
    # More components than the view has directions: they are counted after all.
    Z = X[:, :30] @ rng.standard_normal((30, 600))
    solution = solve_moments(Moments().update(Z, X), 40, 0.1)
    assert solution.rank[0] == 30
    assert solution.x_weights.shape == (600, 30)
