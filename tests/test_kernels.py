"""Kernel matrices and incomplete Cholesky against slow references."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import RBF
from sklearn.metrics import pairwise

import fastcca
from fastcca.errors import NumericalError
from fastcca.functional import incomplete_cholesky, kernel_matrix, median_gamma
from fastcca.functional.kernels import Kernel, factorise
from reference import kernels as ref

pytestmark = pytest.mark.core

KERNELS = ["rbf", "laplacian", "polynomial", "linear", "cosine"]
POSITIVE_SEMIDEFINITE: list[dict[str, Any]] = [
    {"kernel": "rbf", "gamma": 0.1},
    {"kernel": "laplacian", "gamma": 0.1},
    {"kernel": "polynomial", "gamma": 0.2, "degree": 3, "coef0": 1.0},
    {"kernel": "linear"},
    {"kernel": "cosine"},
]

Array = NDArray[Any]


def layouts(a: Array) -> list[Array]:
    """The same rows in every arrangement of memory that is to be read in place."""
    wide = np.zeros((2 * len(a), 3 * a.shape[1]), dtype=a.dtype)
    wide[::2, ::3] = a
    frozen = a.copy()
    frozen.flags.writeable = False
    return [np.ascontiguousarray(a), np.asfortranarray(a), wide[::2, ::3], a[::-1].copy()[::-1], frozen]


# kernel_matrix


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (2, 3, 5), (17, 33, 7), (16, 15, 31), (300, 65, 2)])
def test_kernels_match_the_definition(kernel: str, n: int, m: int, d: int, rng: np.random.Generator) -> None:
    X, Y = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    X[0] = 0  # without a direction
    K = kernel_matrix(X, Y, kernel=kernel, gamma=0.3, degree=4, coef0=0.5)
    expected = ref.kernel(X, Y, kernel, gamma=0.3, degree=4, coef0=0.5)
    np.testing.assert_allclose(K, expected, rtol=2e-13, atol=1e-13 * np.abs(expected).max())
    square = kernel_matrix(X, kernel=kernel, gamma=0.3, degree=4, coef0=0.5)
    np.testing.assert_array_equal(square, square.T)
    expected = ref.kernel(X, X, kernel, gamma=0.3, degree=4, coef0=0.5)
    np.testing.assert_allclose(square, expected, rtol=2e-13, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_are_those_of_scikit_learn(kernel: str, rng: np.random.Generator) -> None:
    X, Y = rng.normal(size=(40, 6)), rng.normal(size=(30, 6))
    parameters = {"polynomial": {"degree": 2, "coef0": 3.0}}.get(kernel, {})
    if kernel in ("rbf", "laplacian", "polynomial"):
        parameters["gamma"] = 0.7
    expected = pairwise.pairwise_kernels(X, Y, metric=kernel, **parameters)
    np.testing.assert_allclose(
        kernel_matrix(X, Y, kernel=kernel, **parameters), expected, rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_of_float32_stay_float32(kernel: str, rng: np.random.Generator) -> None:
    X, Y = rng.normal(size=(70, 19)).astype(np.float32), rng.normal(size=(35, 19)).astype(np.float32)
    K = kernel_matrix(X, Y, kernel=kernel, gamma=0.05)
    assert K.dtype == np.float32
    expected = ref.kernel(X, Y, kernel, gamma=0.05)
    np.testing.assert_allclose(K, expected, atol=2e-6 * np.abs(expected).max())
    assert kernel_matrix(X, Y.astype(np.float64), kernel=kernel).dtype == np.float64


def test_distances_far_from_the_origin(rng: np.random.Generator) -> None:
    # Centred before the product: 1e6 away, squared lengths of 1e13 would leave no digit in float32.
    X = rng.integers(-4, 5, size=(50, 8)).astype(np.float32)
    K = kernel_matrix(X, kernel="rbf", gamma=0.01)
    moved = kernel_matrix(X + np.float32(1e6), kernel="rbf", gamma=0.01)
    np.testing.assert_allclose(moved, K, atol=1e-6)


def test_the_diagonal_is_exact_and_no_distance_is_negative(rng: np.random.Generator) -> None:
    X = rng.normal(size=(100, 30))
    X[50:] = X[:50] * (1 + 1e-15)  # equal but for rounding
    for dtype in (np.float32, np.float64):
        K = kernel_matrix(X.astype(dtype), gamma=1e3)
        assert np.all(np.diag(K) == 1)
        assert K.max() == 1
        assert kernel_matrix(X.astype(dtype), X.astype(dtype), gamma=1e3).max() <= 1


def test_exponentials_across_the_range() -> None:
    # The vectorised exponential, against the library's: a few units in the last place.
    x = np.concatenate([np.linspace(0, 1, 1001), np.geomspace(1e-8, 690, 4001)])[:, None]
    K = kernel_matrix(x, np.zeros((1, 1)), kernel="laplacian", gamma=1.0)
    np.testing.assert_allclose(K, np.exp(-x), rtol=1e-15)
    x = x[x < 80].astype(np.float32)[:, None]
    K = kernel_matrix(x, np.zeros((1, 1), dtype=np.float32), kernel="laplacian", gamma=1.0)
    np.testing.assert_allclose(K, np.exp(-x.astype(np.float64)), rtol=3e-7)
    assert np.all(kernel_matrix([[0.0]], [[1e3]], gamma=1.0) < 1e-300)


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_layouts_and_threads(kernel: str, rng: np.random.Generator) -> None:
    X, Y = rng.normal(size=(301, 9)), rng.normal(size=(77, 9))
    K = kernel_matrix(X, Y, kernel=kernel, gamma=0.2)
    for x in layouts(X):
        np.testing.assert_array_equal(kernel_matrix(x, Y, kernel=kernel, gamma=0.2), K)
    for n_threads in (1, 2, 7):
        np.testing.assert_array_equal(kernel_matrix(X, Y, kernel=kernel, gamma=0.2, n_threads=n_threads), K)


def test_kernel_matrix_calls_a_function(rng: np.random.Generator) -> None:
    X, Y = rng.normal(size=(30, 4)), rng.normal(size=(20, 4))
    np.testing.assert_allclose(
        kernel_matrix(X, Y, kernel=RBF(2.0)), ref.kernel(X, Y, "rbf", 1 / 8), rtol=1e-13
    )
    np.testing.assert_array_equal(kernel_matrix(X, kernel=lambda a, b: a @ b.T), X @ X.T)


# median_gamma


def test_median_gamma_of_all_pairs(rng: np.random.Generator) -> None:
    X = rng.normal(size=(60, 5)) + 100
    assert median_gamma(X) == pytest.approx(ref.median_gamma(X), rel=1e-10)
    # Copies, weights and rows of weight 0 change nothing.
    weights = rng.integers(0, 3, size=60)
    expected = ref.median_gamma(X[weights > 0])
    assert median_gamma(X, sample_weight=weights) == pytest.approx(expected, rel=1e-10)
    assert median_gamma(np.repeat(X, weights, axis=0)) == pytest.approx(expected, rel=1e-10)
    assert median_gamma(np.ones((5, 2))) == 1.0


def test_median_gamma_of_a_sample(rng: np.random.Generator) -> None:
    X = rng.normal(size=(20_000, 10))
    # Squared distances of normal rows are 2 chi²(10), of median about 2 · 9.34.
    assert median_gamma(X) == pytest.approx(1 / 18.68, rel=0.05)
    assert median_gamma(X) == median_gamma(X.copy())
    few = np.tile(rng.normal(size=(30, 10)), (400, 1))  # 12000 rows, 30 of them distinct
    assert median_gamma(few) == pytest.approx(ref.median_gamma(few[:30]), rel=1e-10)


# incomplete_cholesky


@pytest.mark.parametrize("parameters", POSITIVE_SEMIDEFINITE, ids=lambda p: p["kernel"])
def test_blocks_of_one_are_the_textbook_loop(parameters: dict[str, Any], rng: np.random.Generator) -> None:
    X = rng.normal(size=(90, 12)) * np.linspace(0.5, 2, 90)[:, None]
    K = kernel_matrix(X, **parameters)
    G, pivots, trace = incomplete_cholesky(X, rank=25, tol=1e-6, block=1, **parameters)
    expected, expected_pivots, expected_trace = ref.greedy_cholesky(K, 25, 1e-6)
    np.testing.assert_array_equal(pivots, expected_pivots)
    np.testing.assert_allclose(G, expected, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(trace, expected_trace, atol=1e-9 * np.trace(K))


@pytest.mark.parametrize("pivoting", ["greedy", "random", "uniform"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 2, 3, 17, 33, 700])
def test_the_factor_is_one(pivoting: str, dtype: Any, n: int, rng: np.random.Generator) -> None:
    X = rng.normal(size=(n, 8)).astype(dtype)
    K = kernel_matrix(X.astype(np.float64), gamma=0.05)
    G, pivots, trace = incomplete_cholesky(
        X, gamma=0.05, rank=120, tol=0.0, pivoting=pivoting, random_state=3
    )
    small = 1e-12 if dtype == np.float64 else 2e-5
    m = len(pivots)
    assert G.dtype == dtype
    assert G.shape == (n, min(n, 120)) == (n, m)
    assert len(set(pivots)) == m == len(trace)
    # Lower triangular at the pivots, where the kernel is reproduced, and nowhere above it.
    np.testing.assert_array_equal(np.triu(G[pivots], 1), 0)
    np.testing.assert_allclose(G @ G[pivots].T, K[:, pivots], atol=small)
    assert np.all(np.diag(K) - np.sum(G.astype(float) ** 2, axis=1) > -small)
    expected = [n - np.sum(G[:, : i + 1].astype(float) ** 2) for i in range(m)]
    np.testing.assert_allclose(trace, expected, atol=small * n)
    assert np.all(np.diff(trace) <= 0)


@pytest.mark.parametrize("pivoting", ["greedy", "random", "uniform"])
def test_it_stops_at_the_tolerance(pivoting: str, rng: np.random.Generator) -> None:
    X = rng.normal(size=(400, 3))
    for tol in (0.3, 1e-3, 1e-9):
        _, pivots, trace = incomplete_cholesky(X, gamma=0.1, tol=tol, pivoting=pivoting, random_state=0)
        assert trace[-1] <= tol * 400
        assert len(pivots) == 1 or trace[-2] > tol * 400


def test_greedy_blocks_do_about_as_well_as_the_loop(rng: np.random.Generator) -> None:
    X = np.vstack([rng.normal(size=(1500, 5)), 8 * rng.normal(size=(30, 5))])
    loop = incomplete_cholesky(X, gamma=0.05, rank=200, block=1, tol=0)
    blocks = incomplete_cholesky(X, gamma=0.05, rank=200, block=64, tol=0)
    assert blocks.residual_trace[-1] < 1.15 * loop.residual_trace[-1]
    # A candidate close to another one of its block is put back: no pivot is worth less than half of the best.
    residual = np.ones(len(X))
    for t, pivot in enumerate(blocks.pivots):
        if t % 64 == 0:
            assert residual[pivot] >= 0.25 * residual.max()
        residual -= blocks.features[:, t] ** 2


def test_random_pivots_have_their_distribution(rng: np.random.Generator) -> None:
    # Two pivots of five points: the chance of each pair follows from the definition, draw after draw.
    X = np.array([[0.0], [0.1], [1.0], [2.5], [4.0]])
    K = kernel_matrix(X, gamma=0.5)
    expected = np.zeros((5, 5))
    for i in range(5):
        d = np.diag(K - np.outer(K[:, i], K[:, i]) / K[i, i]).clip(0)
        d[i] = 0
        expected[i] = 1 / 5 * d / d.sum()
    counts = np.zeros((5, 5))
    draws = 4000
    for seed in range(draws):
        _, (i, j), _ = incomplete_cholesky(
            X, gamma=0.5, rank=2, block=4, pivoting="random", random_state=seed
        )
        counts[i, j] += 1
    chi2 = np.sum((counts - draws * expected)[expected > 0] ** 2 / (draws * expected[expected > 0]))
    assert chi2 < 43.8  # 19 degrees of freedom, 0.1%
    assert counts[expected == 0].sum() == 0


def test_random_pivots_do_not_chase_outliers(rng: np.random.Generator) -> None:
    # 100 outliers, far from everything: greedy spends its pivots on them, one each.
    X = np.vstack([rng.normal(size=(900, 2)), 1e3 * rng.normal(size=(100, 2))])
    left = {
        pivoting: incomplete_cholesky(
            X, gamma=0.5, rank=60, pivoting=pivoting, random_state=1
        ).residual_trace[-1]
        for pivoting in ("greedy", "random", "uniform")
    }
    assert left["random"] < 0.6 * left["greedy"]
    assert left["uniform"] < 0.6 * left["greedy"]


@pytest.mark.parametrize("pivoting", ["random", "uniform"])
def test_seeds(pivoting: str, rng: np.random.Generator) -> None:
    X = rng.normal(size=(200, 4))
    first, again, other = (
        incomplete_cholesky(X, rank=20, pivoting=pivoting, random_state=seed).pivots for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


def test_the_generator_is_portable() -> None:
    X = np.arange(10.0)[:, None]
    pivots = incomplete_cholesky(X, gamma=10.0, rank=10, pivoting="uniform", random_state=0).pivots
    np.testing.assert_array_equal(np.sort(pivots), np.arange(10))
    assert pivots.tolist() == [3, 6, 5, 2, 7, 1, 0, 9, 8, 4]


@pytest.mark.parametrize("pivoting", ["greedy", "random", "uniform"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_threads_and_layouts_give_the_same_bits(pivoting: str, dtype: Any, rng: np.random.Generator) -> None:
    X = rng.normal(size=(1200, 6)).astype(dtype)
    options: dict[str, Any] = {"rank": 150, "pivoting": pivoting, "random_state": 0}
    expected = incomplete_cholesky(X, **options)
    for n_threads in (1, 2, 7):
        again = incomplete_cholesky(X, n_threads=n_threads, **options)
        for got, want in zip(again, expected, strict=True):
            np.testing.assert_array_equal(got, want)
    for x in layouts(X):
        np.testing.assert_array_equal(incomplete_cholesky(x, **options).features, expected.features)


@pytest.mark.parametrize("pivoting", ["greedy", "random", "uniform"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_duplicates_stop_early(pivoting: str, dtype: Any, rng: np.random.Generator) -> None:
    X = np.tile(rng.normal(size=(40, 20)), (10, 1)).astype(dtype)
    G, pivots, _ = incomplete_cholesky(X, gamma=0.01, rank=200, tol=0.0, pivoting=pivoting, random_state=0)
    assert len(pivots) == 40
    assert len(set(pivots % 40)) == 40
    np.testing.assert_allclose(
        G @ G.T, kernel_matrix(X, gamma=0.01), atol=1e-12 if dtype == np.float64 else 3e-6
    )
    assert incomplete_cholesky(np.ones((5, 3), dtype=dtype)).features.tolist() == [[1]] * 5


@pytest.mark.parametrize("pivoting", ["greedy", "random", "uniform"])
def test_linear_kernel_stops_at_the_rank_of_the_data(pivoting: str, rng: np.random.Generator) -> None:
    X = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 12))
    G, pivots, _ = incomplete_cholesky(X, kernel="linear", tol=0, pivoting=pivoting, random_state=0)
    assert len(pivots) == 3
    np.testing.assert_allclose(G @ G.T, X @ X.T, atol=1e-11)


@pytest.mark.parametrize("kernel", [RBF(2.0), lambda a, b: kernel_matrix(a, b, gamma=1 / 8)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_callable_gives_what_the_built_in_kernel_gives(
    kernel: Any, dtype: Any, rng: np.random.Generator
) -> None:
    X = rng.normal(size=(333, 5)).astype(dtype)
    got = incomplete_cholesky(X, kernel=kernel, rank=64, tol=0)
    assert got.features.dtype == dtype
    # Equal residuals may be taken in another order, no more.
    want = incomplete_cholesky(X, gamma=1 / 8, rank=64, tol=0)
    assert got.residual_trace[-1] == pytest.approx(want.residual_trace[-1], rel=0.1)
    K = ref.kernel(X, X, "rbf", 1 / 8)
    G = got.features
    np.testing.assert_allclose(
        G @ G[got.pivots].T, K[:, got.pivots], atol=1e-12 if dtype == np.float64 else 2e-5
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 50), st.integers(0, 2**31 - 1))
def test_residual_is_never_negative_and_features_are_finite(n: int, d: int, rank: int, seed: int) -> None:
    X = np.random.default_rng(seed).integers(-2, 3, size=(n, d)).astype(float)  # with duplicates
    for pivoting in ("greedy", "random", "uniform"):
        G, pivots, trace = incomplete_cholesky(
            X, gamma=0.3, rank=rank, tol=0, pivoting=pivoting, random_state=seed
        )
        assert np.all(np.isfinite(G))
        assert len(pivots) <= min(rank, len(np.unique(X, axis=0)))
        assert np.all(trace >= 0)
        np.testing.assert_allclose(trace[-1], max(n - np.sum(G**2), 0), atol=1e-9 * n)


# Bad input


def test_kernels_that_are_not_positive_semidefinite(rng: np.random.Generator) -> None:
    X = rng.normal(size=(60, 3))
    with pytest.raises(
        NumericalError, match=r"not positive semidefinite: after \d+ pivots the residual of row \d+"
    ):
        incomplete_cholesky(X, kernel=lambda a, b: np.tanh(a @ b.T - 1) + 1.0)
    with pytest.raises(NumericalError, match=r"k\(x, x\) at row \d+ is -"):
        incomplete_cholesky(X, kernel=lambda a, b: -(a @ b.T))
    with pytest.raises(NumericalError, match="not positive semidefinite"):
        incomplete_cholesky(X, kernel="polynomial", gamma=1.0, degree=2, coef0=-1.0)
    with pytest.raises(NumericalError, match="trace 0"):
        incomplete_cholesky(np.zeros((4, 2)), kernel="linear")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rank": 0}, "rank must be an integer >= 1, got 0"),
        ({"rank": 2.5}, "rank must be an integer >= 1, got 2.5"),
        ({"rank": True}, "rank must be an integer >= 1, got True"),
        ({"tol": -1e-9}, "tol must be a finite number >= 0 and < 1, got -1e-09"),
        ({"tol": 1.0}, "tol must be a finite number >= 0 and < 1, got 1.0"),
        ({"tol": np.nan}, "tol must be a finite number >= 0 and < 1, got nan"),
        ({"tol": "small"}, "tol must be a finite number >= 0 and < 1, got 'small'"),
        ({"gamma": 0.0}, "gamma must be a finite number > 0 or 'median', got 0.0"),
        ({"gamma": -1}, "gamma must be a finite number > 0 or 'median', got -1"),
        ({"gamma": np.inf}, "gamma must be a finite number > 0 or 'median', got inf"),
        ({"gamma": "mean"}, "gamma must be a finite number > 0 or 'median', got 'mean'"),
        ({"kernel": "sigmoid"}, "kernel must be one of 'rbf', "),
        ({"degree": 0}, "degree must be an integer from 1 to 2147483647, got 0"),
        ({"degree": 2.5}, "degree must be an integer from 1 to 2147483647, got 2.5"),
        ({"coef0": np.nan}, "coef0 must be a finite number, got nan"),
        ({"pivoting": "best"}, "pivoting must be one of 'greedy', 'random', 'uniform', got 'best'"),
        ({"block": 0}, "block must be an integer >= 1 or None, got 0"),
    ],
)
def test_parameters_out_of_range(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        incomplete_cholesky(np.eye(5), **parameters)


def test_data_that_are_no_data() -> None:
    bad = np.ones((6, 3))
    bad[4, 1] = np.nan
    for function in (kernel_matrix, incomplete_cholesky, median_gamma):
        with pytest.raises(ValueError, match="Input X contains NaN: the first is at row 4, column 1"):
            function(bad)
        with pytest.raises(ValueError, match=r"0 (samples|feature)"):
            function(np.empty((0, 3)))
        with pytest.raises(ValueError, match="X: Complex data not supported"):
            function(bad + 1j)
    with pytest.raises(ValueError, match="Input Y contains infinity: the first is at row 0, column 2"):
        kernel_matrix(np.ones((2, 3)), [[0, 0, np.inf]])
    with pytest.raises(ValueError, match="Y must have X's number of columns, 3, got 2"):
        kernel_matrix(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="overflows"):
        kernel_matrix(np.array([[0.0], [1e200]]), gamma=1.0)


@pytest.mark.parametrize("function", [kernel_matrix, incomplete_cholesky])
def test_callables_that_do_not_do(function: Any) -> None:
    X = np.arange(12.0).reshape(6, 2)
    with pytest.raises(ValueError, match=r"kernel: the callable returned shape \(6,\) for 6 and 6 rows"):
        function(X, kernel=lambda a, b: np.ones(len(a)))
    with pytest.raises(ValueError, match="kernel: the callable returned nan at row 0, column 0"):
        function(X, kernel=lambda a, b: np.full((len(a), len(b)), np.nan))
    with pytest.raises(ValueError, match="must return real numbers, got dtype complex128"):
        function(X, kernel=lambda a, b: a @ b.T * 1j)
    with pytest.raises(ZeroDivisionError):
        function(X, kernel=lambda a, b: 1 / 0)


def test_callables_that_are_not_symmetric(rng: np.random.Generator) -> None:
    X = rng.normal(size=(50, 3))
    with pytest.raises(ValueError, match="not symmetric"):
        incomplete_cholesky(X, kernel=lambda a, b: np.exp(-np.abs(a[:, :1] - 2 * b[:, :1].T)), rank=20)


def test_threads_are_those_asked_for(rng: np.random.Generator) -> None:
    before = fastcca.get_num_threads()
    incomplete_cholesky(rng.normal(size=(50, 3)), n_threads=3)
    assert fastcca.get_num_threads() == before


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str], rng: np.random.Generator) -> None:
    incomplete_cholesky(rng.normal(size=(300, 3)), rank=50, verbose=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "X: pivots" in captured.err
    assert "residual=" in captured.err


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cosines_at_any_scale(dtype: type) -> None:
    X = np.random.default_rng(5).standard_normal((9, 4)).astype(dtype)
    expected = kernel_matrix(X.astype(np.float64), kernel="cosine")
    for exponent in (np.finfo(dtype).maxexp - 4, np.finfo(dtype).minexp + 4):
        scaled = X * dtype(2.0**exponent)
        np.testing.assert_allclose(kernel_matrix(scaled, kernel="cosine"), expected, atol=1e-6)
        np.testing.assert_allclose(kernel_matrix(X, scaled, kernel="cosine"), expected, atol=1e-6)
        G, _, _ = incomplete_cholesky(scaled, rank=4, kernel="cosine")
        np.testing.assert_allclose(G @ G.T, expected, atol=1e-5)


# ---- the ends of the range -----------------------------------------------------------------------------


def exact_kernel(X, Y, kernel, gamma):
    """In extended precision, of the numbers that the arrays hold."""
    a, b = X.astype(np.longdouble), Y.astype(np.longdouble)
    difference = a[:, None] - b[None]
    width = np.sqrt(np.longdouble(gamma)) if kernel == "rbf" else np.longdouble(gamma)
    scaled = difference * width
    distance = (scaled**2).sum(-1) if kernel == "rbf" else np.abs(scaled).sum(-1)
    return np.exp(-distance).astype(np.float64)


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float32, s) for s in (1e-38, 1e-30, 1e-20, 1e-12, 1e12, 1e17)]
    + [(np.float64, s) for s in (1e-150, 1e-100, 1e100, 1e140)],
)
def test_kernels_of_tiny_and_huge_numbers(kernel, dtype, scale):
    """With a gamma of the data's scale the values are those of data of ordinary size."""
    rng = np.random.default_rng(0)
    X, Y = ((rng.normal(size=(n, 3)) * scale).astype(dtype) for n in (40, 7))
    gamma = 0.3 / float(scale) ** (2 if kernel == "rbf" else 1)
    for rows in (Y, X[:1]):
        K = kernel_matrix(rows, X, kernel=kernel, gamma=gamma)
        assert K.dtype == dtype
        np.testing.assert_allclose(
            K, exact_kernel(rows, X, kernel, gamma), atol=3e-5 if dtype == np.float32 else 1e-12
        )
    K = kernel_matrix(X, kernel=kernel)  # gamma="median"
    assert np.isfinite(K).all()
    if kernel == "rbf":
        off = K[np.triu_indices(40, 1)]
        assert 0.3 < np.median(off) < 0.45  # exp(-1) at the median distance


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gamma", [5e-324, 1e-300, 1e-45, 1e39, 1e300, 1.7e308])
def test_kernels_of_any_gamma_hold_no_nan(kernel, dtype, gamma):
    X = np.random.default_rng(0).normal(size=(30, 3)).astype(dtype)
    X[3] = X[2]
    K = kernel_matrix(X, kernel=kernel, gamma=gamma)
    expected = exact_kernel(X, X, kernel, gamma)
    np.testing.assert_allclose(K, expected, atol=1e-6)


def test_median_gamma_at_the_ends_of_the_range():
    X = np.random.default_rng(0).normal(size=(50, 3))
    expected = median_gamma(X)
    for exponent in (-300, -40, 40, 300):
        assert median_gamma(np.ldexp(X, exponent)) == np.ldexp(expected, -2 * exponent)
    for exponent in (-540, 540):
        with pytest.raises(NumericalError, match="the median distance between rows"):
            median_gamma(np.ldexp(X, exponent))


@pytest.mark.parametrize("degree", [2**31, 2**70])
def test_degrees_beyond_counting(degree):
    with pytest.raises(ValueError, match=f"degree must be an integer from 1 to 2147483647, got {degree}"):
        kernel_matrix(np.eye(2), kernel="polynomial", degree=degree)


def test_blocks_and_ranks_beyond_the_rows():
    X = np.random.default_rng(0).normal(size=(20, 2))
    expected = incomplete_cholesky(X, rank=20, block=20)
    for huge in (2**31, 2**63, 2**70):
        found = incomplete_cholesky(X, rank=huge, block=huge)
        np.testing.assert_array_equal(found.features, expected.features)


class OtherDiagonal:
    """A kernel whose diagonal is not that of its values, by a factor."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, X, Y):
        return np.exp(-((X[:, None] - Y[None]) ** 2).sum(-1))

    def diag(self, X):
        return np.full(len(X), self.factor)


@pytest.mark.parametrize("pivoting", ["greedy", "random", "uniform"])
@pytest.mark.parametrize("factor", [0.5, 0.99, 1.01, 2.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_diagonal_that_disagrees_is_refused(pivoting, factor, dtype):
    X = np.random.default_rng(0).normal(size=(60, 2)).astype(dtype)
    with pytest.raises(NumericalError, match="the kernel disagrees with its diagonal: k"):
        incomplete_cholesky(
            X, kernel=OtherDiagonal(factor), pivoting=pivoting, rank=60, tol=0, random_state=0
        )


@pytest.mark.parametrize("pivoting", ["greedy", "random", "uniform"])
@pytest.mark.parametrize("factor", [1 - 9e-4, 1 - 1e-6, 1 + 1e-6, 1 + 9e-4])
def test_a_diagonal_that_nearly_agrees_ends(pivoting, factor):
    """More is left by the diagonal than by the values: no strategy tries for ever."""
    X = np.random.default_rng(0).normal(size=(200, 1))
    try:
        found = incomplete_cholesky(
            X, kernel=OtherDiagonal(factor), pivoting=pivoting, rank=200, tol=0, random_state=0
        )
    except NumericalError:
        return
    assert np.isfinite(found.features).all()


@pytest.mark.parametrize("weight", [1e-290, 1e290, 1e305])
def test_random_pivots_of_heavy_and_light_rows(weight):
    """Weights times residuals beyond the largest number, or below the smallest: the same pivots."""
    X = np.random.default_rng(0).normal(size=(50, 3))
    weights = np.random.default_rng(1).uniform(1, 2, 50)
    k = Kernel("polynomial", 1.0, 2)
    factors = [
        factorise(k, X, 12, 0.0, "random", random_state=3, sample_weight=w)
        for w in (weights, weights * weight)
    ]
    assert factors[0].pivots == factors[1].pivots
    with pytest.raises(NumericalError, match="the trace of the kernel matrix overflows"):
        factorise(k, X, 12, 0.0, "random", random_state=3, sample_weight=weights * 1e307)


def test_a_callable_whose_products_overflow_is_named():
    def huge(X, Y):
        return np.finfo(X.dtype).max / 1e6 * np.tanh(X @ Y.T)

    X = np.random.default_rng(0).normal(size=(30, 3))
    for dtype in (np.float32, np.float64):
        try:
            found = incomplete_cholesky(X.astype(dtype), kernel=huge, rank=5)
        except (NumericalError, ValueError):
            continue
        assert np.isfinite(found.features).all()


def test_uniform_pivots_in_float32_are_positive_semidefinite():
    """Smooth kernels in two dimensions: few pivots explain most rows, and rounding adds up."""
    for seed in (3, 14, 30, 33):
        X = np.random.default_rng(seed).normal(size=(2000, 2)).astype(np.float32)
        found = incomplete_cholesky(X, gamma=3.0, pivoting="uniform", rank=400, random_state=seed)
        lengths = (found.features.astype(np.float64) ** 2).sum(axis=1)
        assert lengths.max() < 1 + 1e-3  # k(x, x) = 1
