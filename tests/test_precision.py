"""Linear CCA keeps the digits that the data have: at any condition number, scale, dtype and rank."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV

from fastcca import CCA, CCACV, Moments, NumericalError
from fastcca.functional import solve_gram, solve_qr
from reference import solver as ref

pytestmark = pytest.mark.core

RHO = np.array([0.9, 0.7, 0.5, 0.3, 0.1])


def conditioned(seed, condition, dtype=np.float64, n=400, p=6, rho=RHO):
    """Views with these condition numbers along random directions."""
    rng = np.random.default_rng(seed)
    q = len(rho)
    A, B = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    B = rho * A[:, :q] + np.sqrt(1 - rho**2) * B

    def stretched(Z):
        d = Z.shape[1]
        left, right = (np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(2))
        return (Z @ (left * np.geomspace(1, 1 / condition, d)) @ right).astype(dtype)

    return stretched(A), stretched(B)


def by_qr(X, Y):
    q1, q2 = (np.linalg.qr(Z - Z.mean(axis=0))[0] for Z in (X, Y))
    return np.linalg.svd(q1.T @ q2, compute_uv=False)


def pearson(cca, X, Y):
    return ref.pearson(*cca.transform_views(X, Y))


# Condition numbers


@pytest.mark.filterwarnings("ignore:. is ill-conditioned for moments")
@pytest.mark.parametrize("solver", ["auto", "covariance", "qr", "gram"])
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, 5, 6])
def test_float32_is_as_accurate_as_its_qr(solver, exponent):
    for seed in range(3):
        X, Y = conditioned(seed, 10.0**exponent, np.float32)
        exact = by_qr(X.astype(float), Y.astype(float))
        cca = CCA(solver=solver).fit(X, Y)
        error = np.abs(cca.canonical_correlations_ - exact).max()
        assert error < max(5e-7, 10 * np.abs(by_qr(X, Y) - exact).max())
        assert cca.canonical_correlations_.dtype == np.float32


@pytest.mark.parametrize("exponent", [1, 3, 5, 5.95, 7, 9])
def test_float64_is_as_accurate_as_qr(exponent):
    for seed in range(3):
        X, Y = conditioned(seed, 10.0**exponent, n=120, rho=np.array([1 - 1e-9, 0.9, 0.5, 0.2, 0.05]))
        exact = ref.exact_correlations(Y, X)
        found = CCA().fit(X, Y).canonical_correlations_
        assert np.abs(found - exact).max() < max(2e-14, 10 * np.abs(by_qr(X, Y) - exact).max())


@pytest.mark.parametrize("k", [1, 3, None])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("reg", [0.0, 1e-7])
def test_what_the_covariance_solver_refines_is_what_qr_finds(k, scale, reg):
    X, Y = conditioned(3, 3e3)
    weights = np.random.default_rng(0).integers(1, 4, size=len(X)).astype(float)
    cca, qr = (CCA(k, reg, scale, solver).fit(X, Y, weights) for solver in ("auto", "qr"))
    assert cca.solver_ == "covariance"
    for name in ("singular_values_", "canonical_correlations_", "x_loadings_", "y_cross_loadings_"):
        np.testing.assert_allclose(getattr(cca, name), getattr(qr, name), atol=1e-10, err_msg=name)
    np.testing.assert_allclose(cca.transform(X), qr.transform(X), atol=1e-7)
    np.testing.assert_allclose(cca.predict(X), qr.predict(X), atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reg", [0.0, 1e-3])
@pytest.mark.parametrize("condition", [1.0, 1e3, 1e5])
def test_correlations_are_those_of_the_training_scores(dtype, reg, condition):
    X, Y = conditioned(1, condition, dtype)
    cca = CCA(reg=reg).fit(X, Y)
    # of float32 the scores themselves are rounded, by its precision times the condition number
    tolerance = 1e-9 if dtype == np.float64 else 2e-6 + 2e-9 * condition
    np.testing.assert_allclose(cca.canonical_correlations_, pearson(cca, X, Y), atol=tolerance)


def test_chunks_of_float32_are_multiplied_in_double():
    X, Y = conditioned(0, 2e3, np.float32)
    exact = by_qr(X.astype(float), Y.astype(float))
    cca = CCA().partial_fit(X[:200], Y[:200]).partial_fit(X[200:], Y[200:])
    np.testing.assert_allclose(cca.canonical_correlations_, exact, atol=3e-7)


def test_moments_that_are_not_accurate_enough_say_by_how_much():
    X, Y = conditioned(0, 2e3, np.float32)
    with pytest.warns(UserWarning, match=r"ill-conditioned for moments.*may be off by \d"):
        CCA().fit_moments(Moments().update(X, Y))
    CCA().fit_moments(Moments().update(X, Y, dtype=np.float64))
    X, Y = conditioned(0, 1e6)
    with pytest.warns(UserWarning, match=r"ill-conditioned for moments.*may be off by \d"):
        CCA().fit_moments(Moments().update(X, Y))


def test_data_that_no_arithmetic_of_this_precision_serves_say_so():
    X, Y = conditioned(0, 1e13)
    with pytest.warns(UserWarning, match=r"may be off by \d"):
        CCA(reg=(0.0, 1.0)).fit(X, Y)


@pytest.mark.parametrize("reg", [1e-3, 3e-3, 1e-2])
@pytest.mark.parametrize("solver", ["auto", "covariance", "qr"])
def test_a_ridge_hides_no_direction_of_float32(reg, solver):
    data = load_wine().data
    X, Y = data[:, :6], data[:, 6:]
    # sqrt(S + rI) by eigenvalues in float64
    whiten = []
    for Z in (X, Y):
        values, vectors = np.linalg.eigh(np.cov(Z, rowvar=False) + reg * np.eye(Z.shape[1]))
        whiten.append(vectors / np.sqrt(values))
    S12 = np.cov(X, Y, rowvar=False)[:6, 6:]
    exact = np.linalg.svd(whiten[0].T @ S12 @ whiten[1], compute_uv=False)
    cca = CCA(reg=reg, solver=solver).fit(X.astype(np.float32), Y.astype(np.float32))
    np.testing.assert_allclose(cca.singular_values_, exact, atol=2e-4)
    assert (cca.x_rank_, cca.y_rank_) == (6, 7)


@pytest.mark.filterwarnings("ignore:the best ridge, 0.001, is the smallest")
def test_cross_validation_of_float32_chooses_as_float64_does():
    data = load_wine().data[np.random.default_rng(0).permutation(178)]
    regs = [1e-3, 3e-3, 1e-2, 1e-1, 1.0, 10.0]
    X, Y = data[:, :6], data[:, 6:]
    plain = GridSearchCV(CCA(4), {"reg": regs}).fit(X, Y)
    for dtype in (np.float32, np.float64):
        search = CCACV(4, regs=regs).fit(X.astype(dtype), Y.astype(dtype))
        np.testing.assert_allclose(
            search.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"], atol=1e-4
        )
        assert search.reg_ == plain.best_params_["reg"] == 1e-3


# Units and scales


@pytest.mark.parametrize("solver", ["auto", "covariance", "qr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reg", [0.0, 0.1])
def test_no_unit_of_measurement_decides(solver, dtype, reg):
    rng = np.random.default_rng(0)
    A = rng.normal(size=(300, 3))
    Y = A[:, :2] + 0.3 * rng.normal(size=(300, 2))
    units = np.array([1.0, 1e-11, 1e9])
    plain = CCA(reg=reg, scale=True, solver=solver).fit(A, Y)
    apart = CCA(reg=reg, scale=True, solver=solver).fit((A * units).astype(dtype), Y.astype(dtype))
    tolerance = 1e-12 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(apart.singular_values_, plain.singular_values_, atol=tolerance)
    assert apart.x_rank_ == 3
    if reg == 0:
        unscaled = CCA(solver=solver).fit((A * units).astype(dtype), Y.astype(dtype))
        np.testing.assert_allclose(unscaled.singular_values_, by_qr(A, Y), atol=tolerance)


def test_columns_of_small_units_from_many_rows():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(100_000, 2))
    Y = A + 0.3 * rng.normal(size=(100_000, 2))
    np.testing.assert_allclose(CCA().fit(A * [1, 1e-11], Y).canonical_correlations_, by_qr(A, Y), atol=1e-13)


@pytest.mark.parametrize("solver", ["auto", "covariance", "qr", "gram"])
@pytest.mark.parametrize("scale", [1e-100, 1e-40, 1e40, 1e100])
def test_scales(solver, scale):
    X, Y = conditioned(5, 10.0)
    cca = CCA(solver=solver).fit(X * scale, Y / scale)
    np.testing.assert_allclose(cca.canonical_correlations_, by_qr(X, Y), atol=1e-13)
    np.testing.assert_allclose(pearson(cca, X * scale, Y / scale), by_qr(X, Y), atol=1e-12)


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-20, 1e20, 1e30])
def test_scales_of_float32(scale):
    X, Y = conditioned(5, 1.0)
    X, Y = (X * scale).astype(np.float32), Y.astype(np.float32)
    np.testing.assert_allclose(
        CCA().fit(X, Y).canonical_correlations_, by_qr(X.astype(float), Y.astype(float)), atol=1e-6
    )


@pytest.mark.parametrize("solve", [solve_qr, solve_gram])
@pytest.mark.parametrize("scale", [1e-160, 1e-300])
def test_squares_that_underflow(solve, scale):
    X, Y = conditioned(6, 10.0, n=60)
    solution = solve(X * scale, Y)
    assert solution.rank == (6, 5)
    np.testing.assert_allclose(solution.singular_values, by_qr(X, Y), atol=1e-13)
    wide = np.random.default_rng(0).normal(size=(20, 40))
    expected = solve(wide, Y[:20], reg=1.0).singular_values
    np.testing.assert_allclose(
        solve(wide * scale, Y[:20], reg=(scale**2, 1.0)).singular_values if scale > 1e-150 else expected,
        expected,
    )


def test_powers_of_years():
    rng = np.random.default_rng(0)
    year = np.arange(1960.0, 2021)
    s = (year - year.mean()) / year.std()
    Y = np.column_stack([np.polyval(rng.normal(size=5), s) + 0.3 * rng.normal(size=61) for _ in range(3)])
    X, centred = (np.column_stack([a, a**2, a**3, a**4]) for a in (year, s))
    for scale in (False, True):
        np.testing.assert_allclose(
            CCA(scale=scale).fit(X, Y).canonical_correlations_, by_qr(centred, Y), atol=1e-6
        )


# Ranks


def rounded_sums(kind, dtype, rng):
    """A view of one column too many, and the same without it."""
    if kind == "sum":
        a, b = rng.normal(size=(2, 500)).astype(dtype)
        return np.column_stack([a, b, a + b]), np.column_stack([a, b])
    if kind == "sum of large means":
        a, b = (1013.25 + 5 * rng.normal(size=(2, 500))).astype(dtype)
        return np.column_stack([a, b, a + b]), np.column_stack([a, b])
    if kind == "mean of months":
        months = (20.0 + rng.normal(size=(500, 12))).astype(dtype)
        return np.column_stack([months, months.mean(axis=1)]), months
    if kind == "other units":
        celsius = (15 + 8 * rng.normal(size=(500, 2))).astype(dtype)
        return np.column_stack([celsius, celsius[:, 0] * dtype(1.8) + dtype(32)]), celsius
    counts = rng.gamma(1.0, size=(500, 8)).astype(dtype)
    proportions = counts / counts.sum(axis=1, keepdims=True)
    return proportions, proportions[:, 1:]


@pytest.mark.parametrize("solver", ["auto", "qr", "covariance"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "kind", ["sum", "sum of large means", "mean of months", "other units", "proportions"]
)
def test_a_sum_of_columns_is_a_sum_though_rounded(kind, dtype, solver):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, independent = rounded_sums(kind, dtype, rng)
        spread = independent.astype(float)
        spread = (spread - spread.mean(axis=0)) / spread.std(axis=0)
        Y = (spread @ rng.normal(size=(spread.shape[1], 15)) + 5 * rng.normal(size=(500, 15))).astype(dtype)
        exact = CCA().fit(independent.astype(float), Y.astype(float))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cca = CCA(solver=solver).fit(X, Y)
        assert cca.x_rank_ == cca.n_components_ == independent.shape[1]
        np.testing.assert_allclose(cca.canonical_correlations_, exact.canonical_correlations_, atol=2e-4)
        np.testing.assert_allclose(cca.transform(X).var(axis=0, ddof=1), 1, atol=2e-3)
        np.testing.assert_allclose(cca.transform(X[:1]), cca.transform(X)[:1], rtol=1e-4, atol=1e-4)


def test_what_is_left_out_for_rounding_is_said():
    rng = np.random.default_rng(0)
    X, _ = rounded_sums("sum", np.float32, rng)
    Y = rng.normal(size=(500, 4)).astype(np.float32)
    with pytest.warns(
        UserWarning, match=r"X is ill-conditioned.* 3 columns that vary have rank 2.* to \de-08"
    ):
        CCA().fit(X, Y)
    CCA(reg=1e-3).fit(X, Y)  # a ridge carries it


def test_a_large_mean_beside_columns_that_are_nearly_equal_costs_no_direction():
    rng = np.random.default_rng(0)
    common = rng.normal(size=(2000, 1))
    B = common + 0.3 * rng.normal(size=(2000, 3))
    X = (B + 1e6).astype(np.float32)
    Y = (B[:, :2] - B[:, 1:] + rng.normal(size=(2000, 2))).astype(np.float32)
    cca = CCA().fit(X, Y)
    assert cca.x_rank_ == 3
    exact = by_qr(X.astype(float), Y.astype(float))
    np.testing.assert_allclose(cca.canonical_correlations_, exact, atol=1e-6)
    # the mean is kept in double
    np.testing.assert_allclose(cca.transform(X).mean(axis=0, dtype=float), 0, atol=1e-5)


def test_a_noisy_column_takes_no_clean_direction_along():
    rng = np.random.default_rng(0)
    a, c = rng.normal(size=(2, 500))
    fine = a + 1e-9 * rng.normal(size=500)
    coarse = c + 1e9  # known to 1e-7
    X = np.column_stack([a, fine, coarse, coarse + 1e-7 * rng.normal(size=500)])
    y = (fine - a) * 1e9 + 0.3 * rng.normal(size=500)
    with pytest.warns(UserWarning, match="4 columns that vary have rank 3"):
        cca = CCA().fit(X, y)
    assert cca.canonical_correlations_[0] == pytest.approx(by_qr(X[:, :3], y[:, None])[0], abs=1e-3)


# Too few rows


def test_correlations_that_are_one_by_counting_are_said_to_be():
    X = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [2.0, 2.0, 2.0], [3.0, 5.0, 4.0]]
    Y = [[0.1, -0.2], [0.9, 1.1], [6.2, 5.9], [11.9, 12.3]]
    match = r"n - 1 = 3 is too few for ranks of 3 \(X\) and 2 \(y\): 2 of the correlations are 1.*reg > 0"
    for fit in (
        lambda: CCA(n_components=1).fit(X, Y),
        lambda: CCA(n_components=1, solver="qr").fit(X, Y),
        lambda: CCA(n_components=1).fit_moments(Moments().update(X, Y)),
    ):
        with pytest.warns(UserWarning, match=match) as caught:
            cca = fit()
        assert len(caught) == 1
        assert cca.canonical_correlations_[0] == pytest.approx(1, abs=1e-9)
    CCA(n_components=1, reg=0.1).fit(X, Y)


def test_one_row_more_than_ranks_is_enough():
    rng = np.random.default_rng(0)
    CCA().fit(rng.normal(size=(8, 4)), rng.normal(size=(8, 3)))
    with pytest.warns(UserWarning, match="1 of the correlations"):
        CCA().fit(rng.normal(size=(7, 4)), rng.normal(size=(7, 3)))


# Moments


def test_double_products_of_float32_are_those_of_the_converted_data():
    rng = np.random.default_rng(0)
    for n, d in ((7, 3), (300, 20), (9000, 33)):
        X = (rng.normal(size=(n, d)) + 100).astype(np.float32)
        weights = rng.uniform(0.5, 2, size=n)
        for w in (None, weights):
            one = Moments().update(X, X[:, :2], sample_weight=w, dtype=np.float64)
            two = Moments().update(X.astype(float), X[:, :2].astype(float), sample_weight=w)
            np.testing.assert_allclose(one.scatter, two.scatter, rtol=1e-12, atol=1e-10 * n)
            np.testing.assert_allclose(one.mean, two.mean, rtol=1e-14)
            assert one.eps.min() == np.finfo(np.float32).eps
            assert one.rounding.max() == np.finfo(np.float64).eps
    with pytest.raises(ValueError, match="dtype must be float64 or None"):
        Moments().update(X, dtype=np.float32)


def test_rows_taken_out_leave_their_digits_or_a_refusal():
    rng = np.random.default_rng(0)
    B = rng.normal(size=(1000, 4))
    B[:, 2] = 0.6 * B[:, 0] + 0.8 * B[:, 2]
    A = 1e3 * rng.normal(size=(1000, 4))
    Z = np.vstack([A, B])
    expected = by_qr(B[:, :2], B[:, 2:])
    for dtype in (np.float32, np.float64):
        whole, out = (
            Moments().update(M[:, :2].astype(dtype), M[:, 2:].astype(dtype), dtype=np.float64) for M in (Z, A)
        )
        left = CCA().fit_moments(whole - out)
        np.testing.assert_allclose(left.canonical_correlations_, expected, atol=1e-5)
        assert (whole - out).rounding.max() > 1e-11
    whole, out = (Moments().update(M[:, :2].astype("f4"), M[:, 2:].astype("f4")) for M in (Z, A))
    with pytest.raises(NumericalError, match=r"column 0.*0\.\d digits remain"):
        whole - out
    # with some digits left the fit says how many
    whole, out = (
        Moments().update(M[:, :2].astype("f4"), M[:, 2:].astype("f4"))
        for M in (np.vstack([A / 50, B]), A / 50)
    )
    with pytest.warns(UserWarning, match="correlations may be off by 1e-04|correlations may be off by 2e-04"):
        CCA().fit_moments(whole - out)
