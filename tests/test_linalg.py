"""Inverse square root, polar factor, leading singular triplets: values, awkward matrices, what is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcca.errors import NumericalError
from fastcca.functional import inverse_sqrt, polar, truncated_svd
from fastcca.functional.linalg import largest_eigenvalues, product, solve_positive
from reference import linalg as ref

pytestmark = pytest.mark.core
Array = npt.NDArray[np.float64]
SIZES = [1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 130]


def basis(rng: np.random.Generator, n: int, k: int) -> Array:
    return np.linalg.qr(rng.standard_normal((n, k)))[0]


def with_singular_values(rng: np.random.Generator, p: int, q: int, s: npt.ArrayLike) -> Array:
    s = np.asarray(s)
    return (basis(rng, p, len(s)) * s) @ basis(rng, q, len(s)).T


def positive_definite(rng: np.random.Generator, d: int, condition: float = 1e3) -> Array:
    V = basis(rng, d, d)
    S = (V * np.geomspace(1, 1 / condition, d)) @ V.T
    return (S + S.T) / 2


def check_svd(A: Array, k: int, expected: npt.ArrayLike, tol: float = 1e-12) -> None:
    U, s, Vt = truncated_svd(A, k)
    assert U.shape == (A.shape[0], k)
    assert Vt.shape == (k, A.shape[1])
    scale = max(np.max(expected), np.finfo(float).tiny)
    np.testing.assert_allclose(s, np.asarray(expected)[:k], rtol=0, atol=1e-13 * scale)
    assert np.all(np.diff(s) <= 0)
    assert np.all(s >= 0)
    np.testing.assert_allclose(U.T @ U, np.eye(k), rtol=0, atol=1e-13)
    np.testing.assert_allclose(Vt @ Vt.T, np.eye(k), rtol=0, atol=1e-13)
    assert np.max(np.linalg.norm(A @ Vt.T - U * s, axis=0)) <= tol * scale
    assert np.max(np.linalg.norm(A.T @ U - Vt.T * s, axis=0)) <= tol * scale
    assert np.all(U[np.argmax(np.abs(U), axis=0), np.arange(k)] > 0)


# Inverse square root


@pytest.mark.parametrize("d", SIZES)
def test_inverse_sqrt_equals_the_reference(rng: np.random.Generator, d: int) -> None:
    S = positive_definite(rng, d)
    W = inverse_sqrt(S)
    np.testing.assert_allclose(W, ref.inverse_sqrt(S, 0), rtol=0, atol=1e-11 * np.abs(W).max())
    np.testing.assert_allclose(W @ S @ W, np.eye(d), rtol=0, atol=1e-11)
    np.testing.assert_array_equal(W, W.T)


def test_inverse_sqrt_in_fifty_digits(rng: np.random.Generator) -> None:
    S = positive_definite(rng, 6, 1e2)
    np.testing.assert_allclose(inverse_sqrt(S), ref.precise_inverse_sqrt(S), rtol=0, atol=1e-13 * 10)


def test_inverse_sqrt_of_a_singular_matrix_roots_its_pseudo_inverse(
    rng: np.random.Generator,
) -> None:
    V = basis(rng, 20, 12)
    S = (V * np.linspace(1, 4, 12)) @ V.T
    S = (S + S.T) / 2
    W = inverse_sqrt(S)
    np.testing.assert_allclose(W @ W, np.linalg.pinv(S, rcond=1e-10, hermitian=True), rtol=0, atol=1e-12)
    assert np.linalg.matrix_rank(W) == 12


def test_inverse_sqrt_drops_what_lies_at_or_below_the_floor() -> None:
    S = np.diag([4.0, 1.0, 0.01, 0.0])
    np.testing.assert_allclose(inverse_sqrt(S, floor=0.1), np.diag([0.5, 1, 0, 0]), rtol=0, atol=1e-15)
    np.testing.assert_allclose(inverse_sqrt(S, floor=0.25), np.diag([0.5, 0, 0, 0]), rtol=0, atol=1e-15)
    np.testing.assert_allclose(inverse_sqrt(S, floor=0.0), np.diag([0.5, 1, 10, 0]), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(inverse_sqrt(np.zeros((3, 3))), np.zeros((3, 3)))


def test_inverse_sqrt_at_extreme_scales(rng: np.random.Generator) -> None:
    S = positive_definite(rng, 9)
    for scale in (2.0**-600, 2.0**600):
        np.testing.assert_allclose(
            inverse_sqrt(scale * S) * np.sqrt(scale), inverse_sqrt(S), rtol=0, atol=1e-11
        )


def test_inverse_sqrt_refuses_an_indefinite_matrix() -> None:
    with pytest.raises(NumericalError, match=r"positive semi-definite.*from -1 to 2.*ridge"):
        inverse_sqrt(np.diag([2.0, -1.0]))
    with pytest.raises(NumericalError, match="positive semi-definite"):
        inverse_sqrt(-np.eye(3))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_inverse_sqrt_follows_rotations(d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    S, Q = positive_definite(rng, d, 50), basis(rng, d, d)
    R = Q @ S @ Q.T
    np.testing.assert_allclose(inverse_sqrt((R + R.T) / 2), Q @ inverse_sqrt(S) @ Q.T, rtol=0, atol=1e-11)


# Polar factor


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("condition", [1, 10, 90, 1e6])  # by the iteration and by the decomposition
def test_polar_equals_the_reference(rng: np.random.Generator, n: int, condition: float) -> None:
    for m in (n, n + 4):
        T = with_singular_values(rng, m, n, np.geomspace(3, 3 / condition, n))
        P = polar(T)
        atol = 1e-15 * max(100, 20 * condition)
        np.testing.assert_allclose(P, ref.polar(T), rtol=0, atol=atol)
        np.testing.assert_allclose(P.T @ P, np.eye(n), rtol=0, atol=1e-13)
        np.testing.assert_allclose(polar(T.T), P.T, rtol=0, atol=atol)


def test_polar_in_fifty_digits(rng: np.random.Generator) -> None:
    for condition in (2, 50, 1e4):
        T = with_singular_values(rng, 7, 4, np.geomspace(1, 1 / condition, 4))
        np.testing.assert_allclose(
            polar(T), ref.precise_polar(T), rtol=0, atol=1e-15 * max(10, 3 * condition)
        )


def test_polar_of_a_rank_deficient_matrix_is_a_partial_isometry(rng: np.random.Generator) -> None:
    for m, n, rank in [(9, 6, 4), (6, 9, 1), (40, 40, 17)]:
        U, V = basis(rng, m, rank), basis(rng, n, rank)
        T = (U * np.linspace(1, 3, rank)) @ V.T
        np.testing.assert_allclose(polar(T), U @ V.T, rtol=0, atol=1e-13)
        # In float32 the dropped values are rounding of float32.
        single = polar(T.astype(np.float32))
        np.testing.assert_allclose(single, U @ V.T, rtol=0, atol=3e-6)
    np.testing.assert_array_equal(polar(np.zeros((3, 5))), np.zeros((3, 5)))


def test_polar_of_an_orthogonal_matrix_is_itself(rng: np.random.Generator) -> None:
    Q = basis(rng, 150, 150)
    for scale in (1e-200, 1.0, 1e200):
        np.testing.assert_allclose(polar(scale * Q), Q, rtol=0, atol=1e-14)


def test_polar_with_a_zero_column_keeps_it(rng: np.random.Generator) -> None:
    T = rng.standard_normal((8, 5))
    T[:, 2] = 0
    P = polar(T)
    np.testing.assert_allclose(P[:, 2], 0, rtol=0, atol=1e-15)
    np.testing.assert_allclose(np.delete(P, 2, 1), ref.polar(np.delete(T, 2, 1)), rtol=0, atol=1e-13)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 18), st.integers(1, 18), st.integers(0, 2**32 - 1))
def test_polar_follows_rotations_and_maximises_the_trace(m: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    s = rng.uniform(0.2, 1, min(m, n))
    T = with_singular_values(rng, m, n, s)
    P = polar(T)
    np.testing.assert_allclose(np.sum(P * T), np.sum(s), rtol=1e-12)
    Q, R = basis(rng, m, m), basis(rng, n, n)
    np.testing.assert_allclose(polar(Q @ T @ R), Q @ P @ R, rtol=0, atol=1e-12)


# Singular value decomposition


@pytest.mark.parametrize("p", SIZES)
def test_svd_whole(rng: np.random.Generator, p: int) -> None:
    for q in (p, max(1, p // 2), p + 3):
        A = rng.standard_normal((p, q))
        check_svd(A, min(p, q), np.linalg.svd(A, compute_uv=False))


def test_svd_in_fifty_digits(rng: np.random.Generator) -> None:
    A = rng.standard_normal((7, 5))
    s = ref.singular_values(A)
    np.testing.assert_allclose(truncated_svd(A, 5)[1], s, rtol=0, atol=2e-15 * s[0])


@pytest.mark.parametrize(
    "s",
    [
        np.zeros(12),
        np.ones(12),
        np.repeat([1.0, 0.5], 6),
        np.repeat([1.0, 0.0], 6),
        np.geomspace(1, 1e-16, 12),
        np.concatenate([[1.0], np.full(11, 1e-9)]),
        np.concatenate([np.ones(4), np.full(4, 1e-8), np.zeros(4)]),
    ],
)
@pytest.mark.parametrize("shape", [(12, 12), (20, 12), (12, 33)])
def test_svd_with_awkward_spectra(rng: np.random.Generator, s: Array, shape: tuple[int, int]) -> None:
    A = with_singular_values(rng, *shape, s)
    for k in (1, 5, 12):
        check_svd(A, k, s)


def test_svd_at_extreme_scales(rng: np.random.Generator) -> None:
    A = rng.standard_normal((9, 6))
    s = truncated_svd(A, 6)[1]
    for scale in (2.0**-900, 2.0**900):
        np.testing.assert_array_equal(truncated_svd(scale * A, 6)[1], scale * s)


# Large enough for the block Krylov iteration: it converges …
@pytest.mark.parametrize(
    "s",
    [
        np.geomspace(1, 1e-6, 420),
        np.concatenate([np.ones(3), np.full(5, 0.9), np.linspace(0.3, 0, 412)]),
        np.concatenate([np.linspace(1, 0.5, 4), np.zeros(416)]),  # rank below k
        np.ones(420),
    ],
    ids=["decay", "repeated", "rank", "isometry"],
)
def test_svd_krylov(rng: np.random.Generator, s: Array) -> None:
    check_svd(with_singular_values(rng, 450, 420, s), 8, s)


# … or, among values that lie close together, leaves the matrix to the full decomposition.
def test_svd_falls_back(rng: np.random.Generator) -> None:
    s = np.linspace(1, 0.99, 420)
    check_svd(with_singular_values(rng, 420, 430, s), 6, s)


def test_svd_tolerance(rng: np.random.Generator) -> None:
    s = np.geomspace(1, 1e-3, 420)
    A = with_singular_values(rng, 420, 420, s)
    U, values, Vt = truncated_svd(A, 4, tol=1e-5)
    np.testing.assert_allclose(values, s[:4], rtol=0, atol=1e-7)
    assert np.max(np.linalg.norm(A.T @ U - Vt.T * values, axis=0)) <= 1e-5


# All three


FUNCTIONS: list[Callable[..., Any]] = [
    lambda S, **kw: inverse_sqrt(S, **kw),
    lambda S, **kw: polar(S, **kw),
    lambda S, **kw: truncated_svd(S, min(S.shape), **kw)[0],
    lambda S, **kw: truncated_svd(S, 1, **kw)[2],
]


@pytest.mark.parametrize("f", FUNCTIONS)
def test_layouts_do_not_matter(rng: np.random.Generator, f: Callable[..., Any]) -> None:
    S = positive_definite(rng, 17, 20)
    expected = f(S)
    padded = np.zeros((34, 51))
    padded[::2, ::3] = S
    frozen = S.copy()
    frozen.flags.writeable = False
    for layout in (
        np.asfortranarray(S),
        padded[::2, ::3],
        frozen,
        S[::-1, ::-1].copy()[::-1, ::-1],
        S.tolist(),
    ):
        np.testing.assert_array_equal(f(np.asarray(layout)), expected)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_float32_comes_back_as_float32(rng: np.random.Generator, f: Callable[..., Any]) -> None:
    S = positive_definite(rng, 12, 20).astype(np.float32)
    result = f(S)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, f(S.astype(np.float64)).astype(np.float32))


@pytest.mark.parametrize("d", [33, 300, 450])
@pytest.mark.parametrize("condition", [30, 1e5])
def test_any_number_of_threads_gives_the_same_bits(
    rng: np.random.Generator, d: int, condition: float
) -> None:
    S = positive_definite(rng, d, condition)
    for f in (inverse_sqrt, polar, lambda S, **kw: truncated_svd(S, 5, **kw)[0]):
        one = f(S, n_threads=1)
        for n_threads in (2, 7):
            np.testing.assert_array_equal(f(S, n_threads=n_threads), one)


@pytest.mark.parametrize(
    ("f", "name"), [(inverse_sqrt, "S"), (polar, "T"), (lambda A: truncated_svd(A, 1), "A")]
)
def test_bad_matrices_are_refused(f: Callable[..., Any], name: str) -> None:
    bad = np.eye(4)
    bad[2, 1] = bad[1, 2] = np.nan
    with pytest.raises(ValueError, match=f"{name} contains NaN: the first is at row 1, column 2"):
        f(bad)
    bad[2, 1] = bad[1, 2] = -np.inf
    with pytest.raises(ValueError, match=f"{name} contains infinity"):
        f(bad)
    with pytest.raises(ValueError, match=f"{name} has 0 samples"):
        f(np.zeros((0, 3)))
    with pytest.raises(ValueError, match=f"{name}: Expected 2D array, got 3D"):
        f(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match=f"{name}: Complex data not supported"):
        f(np.eye(2) * 1j)
    with pytest.raises(ValueError, match=f"{name} must hold numbers"):
        f([["a", "b"], ["c", "d"]])


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"S must be square, got shape \(2, 3\)"):
        inverse_sqrt(np.ones((2, 3)))
    with pytest.raises(ValueError, match="S must be symmetric"):
        inverse_sqrt([[1.0, 0.5], [0.4, 1.0]])
    for floor in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match=r"floor must be a finite number >= 0 and < 1"):
            inverse_sqrt(np.eye(2), floor)
    with pytest.raises(ValueError, match=r"k=3 is more than min\(p, q\) = 2"):
        truncated_svd(np.ones((2, 5)), 3)
    for k in (0, 1.5):
        with pytest.raises(ValueError, match=f"k must be an integer >= 1, got {k}"):
            truncated_svd(np.ones((2, 5)), k)  # type: ignore[arg-type]
    for tol in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="tol must be a finite number > 0"):
            truncated_svd(np.ones((2, 5)), 1, tol)


# ---- products and solutions


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 17, 5), (33, 400, 20), (200, 15, 31)])
@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_product_is_numpys(shape, order, rng):
    m, k, n = shape
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    if order == "strided":
        a = np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3]
    else:
        a = np.asarray(a, order=order)
    np.testing.assert_allclose(product(a, b), a @ b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("d", [1, 2, 16, 33])
def test_solve_positive(d, rng):
    a = rng.standard_normal((d, d + 3))
    a, b = a @ a.T, rng.standard_normal((d, 7))
    np.testing.assert_allclose(a @ solve_positive(a, b), b, rtol=0, atol=1e-9)


def test_solve_positive_refuses_what_is_singular():
    ones = np.ones((3, 3))
    assert solve_positive(ones, ones) is None
    assert solve_positive(np.diag([1.0, 1e-12]), np.eye(2), floor=1e-10) is None
    assert solve_positive(np.diag([1.0, np.nan]), np.eye(2)) is None


def test_largest_eigenvalues_of_a_stack(rng: np.random.Generator) -> None:
    for n in (1, 2, 3, 4, 7, 16, 33):
        A = rng.standard_normal((21, n, n))
        stack = A + np.swapaxes(A, 1, 2)
        beside = np.eye(n, k=1) + np.eye(n, k=-1)
        stack[3], stack[4], stack[5] = 0.0, np.eye(n), np.ones((n, n))
        stack[6], stack[7] = np.diag(np.arange(n) - n), np.diag(np.abs(np.arange(n) - n // 2)) + beside
        stack[8] = 1e-9 * stack[9] + np.eye(n)  # all near 1
        for i in range(10, 16):  # of low rank: what is left after some steps is the rounding of rounding
            stack[i] = A[i][:, : i - 9] @ A[i][:, : i - 9].T
        found = largest_eigenvalues(stack)
        size = np.abs(stack).sum(axis=2).max(axis=1)
        error = found - np.linalg.eigvalsh(stack)[:, -1]
        assert (np.abs(error) <= 1e-15 * (n + 4) * size).all()
        for n_threads in (1, 2, 7):
            np.testing.assert_array_equal(largest_eigenvalues(stack, n_threads), found)
        for some in (slice(0, 1), slice(5, 14), slice(20, None, -1)):  # whoever stands beside it
            np.testing.assert_array_equal(largest_eigenvalues(stack[some]), found[some])
