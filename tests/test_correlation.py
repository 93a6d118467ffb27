"""The correlation loss: values, gradients, the awkward cases, what is refused."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcca import CCA, Moments, _core
from fastcca.errors import NumericalError
from fastcca.functional import (
    correlation_coefficients,
    correlation_factor,
    correlation_gradients,
    correlation_loss,
)
from reference import correlation as ref

pytestmark = pytest.mark.core
Array = npt.NDArray[np.float64]


def views(rng: np.random.Generator, m: int, d1: int, d2: int) -> tuple[Array, Array]:
    """Two views that share signals of different strengths, neither centred nor white."""
    latent = rng.standard_normal((m, max(d1, d2))) * np.linspace(2, 0.3, max(d1, d2))
    H1 = latent[:, :d1] @ rng.standard_normal((d1, d1)) / np.sqrt(d1) + rng.standard_normal((m, d1)) + 3
    H2 = latent[:, :d2] @ rng.standard_normal((d2, d2)) / np.sqrt(d2) + rng.standard_normal((m, d2)) - 1
    return H1, H2


def with_singular_values(rng: np.random.Generator, m: int, D: list[float]) -> tuple[Array, Array]:
    """Two white views (reg 0) whose T has exactly these singular values, in bases of their own."""
    d = len(D)
    Q, _ = np.linalg.qr(np.column_stack([np.ones(m), rng.standard_normal((m, 2 * d))]))
    Q = Q[:, 1:] * np.sqrt(m - 1)
    Z1, Z2 = Q[:, :d], Q[:, :d] * D + Q[:, d:] * np.sqrt(1 - np.square(D))
    rotations = [np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(2)]
    return Z1 @ rotations[0], Z2 @ rotations[1]


def relative(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    return float(np.linalg.norm(np.subtract(a, b)) / np.linalg.norm(b))


def difference_quotient(
    H1: Array, H2: Array, E1: Array, E2: Array, step: float = 1e-5, **options: object
) -> float:
    """The loss's derivative in the direction (E1, E2)."""
    up = correlation_loss(H1 + step * E1, H2 + step * E2, gradient=False, **options)[0]  # type: ignore[arg-type]
    down = correlation_loss(H1 - step * E1, H2 - step * E2, gradient=False, **options)[0]  # type: ignore[arg-type]
    return (up - down) / (2 * step)


@pytest.mark.parametrize("objective", ["trace_norm", "frobenius"])
@pytest.mark.parametrize("reg", [0.0, 0.3, (1e-4, 2.0)])
@pytest.mark.parametrize(
    ("d1", "d2", "k"),
    [
        (1, 1, None),
        (2, 5, None),
        (5, 3, 2),
        (7, 7, None),
        (7, 7, 3),
        (15, 16, 4),
        (17, 15, None),
        (33, 31, 1),
        (33, 33, None),
    ],
)
def test_equals_the_reference(
    rng: np.random.Generator,
    d1: int,
    d2: int,
    k: int | None,
    reg: float | tuple[float, float],
    objective: str,
) -> None:
    H1, H2 = views(rng, 90, d1, d2)
    value, grad1, grad2 = correlation_loss(H1, H2, k, reg, objective)  # type: ignore[arg-type]
    pair = reg if isinstance(reg, tuple) else (reg, reg)
    expected = ref.correlation_loss(H1, H2, k, pair, objective)
    assert value == pytest.approx(expected[0], rel=1e-12)
    assert relative(grad1, expected[1]) < 1e-9
    assert relative(grad2, expected[2]) < 1e-9


@pytest.mark.parametrize("objective", ["trace_norm", "frobenius"])
@pytest.mark.parametrize("reg", [0.0, 0.2])
@pytest.mark.parametrize(("d1", "d2", "k"), [(4, 4, None), (5, 3, None), (3, 6, 2), (4, 4, 2)])
def test_gradient_equals_difference_quotients(
    rng: np.random.Generator, d1: int, d2: int, k: int | None, reg: float, objective: str
) -> None:
    H1, H2 = views(rng, 25, d1, d2)
    options = {"n_components": k, "reg": reg, "objective": objective}
    _, grad1, grad2 = correlation_loss(H1, H2, **options)  # type: ignore[arg-type]
    for _ in range(3):
        E1, E2 = rng.standard_normal(H1.shape), rng.standard_normal(H2.shape)
        slope = difference_quotient(H1, H2, E1, E2, **options)
        assert np.vdot(grad1, E1) + np.vdot(grad2, E2) == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("objective", ["trace_norm", "frobenius"])
@pytest.mark.parametrize(
    ("D", "k"),
    [([0.8, 0.5, 0.5, 0.5], None), ([0.7, 0.7, 0.7], None), ([0.9, 0.9, 0.4, 0.2], 2), ([0.6] * 5, None)],
)
def test_repeated_singular_values(
    rng: np.random.Generator, D: list[float], k: int | None, objective: str
) -> None:
    H1, H2 = with_singular_values(rng, 40, D)
    f = np.abs if objective == "trace_norm" else np.square
    value, grad1, grad2 = correlation_loss(H1, H2, k, 0.0, objective)  # type: ignore[arg-type]
    assert value == pytest.approx(-f(D[:k]).sum(), rel=1e-12)
    for _ in range(3):
        E1, E2 = rng.standard_normal(H1.shape), rng.standard_normal(H2.shape)
        slope = difference_quotient(H1, H2, E1, E2, n_components=k, reg=0.0, objective=objective)
        assert np.vdot(grad1, E1) + np.vdot(grad2, E2) == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4])
@pytest.mark.parametrize(("d", "k"), [(8, None), (33, None), (33, 10), (64, None)])
@pytest.mark.parametrize("objective", ["trace_norm", "frobenius"])
def test_float32_agrees_with_float64(
    rng: np.random.Generator, d: int, k: int | None, condition: float, objective: str
) -> None:
    H1, H2 = views(rng, 500, d, d)
    scale = np.logspace(0, -np.log10(condition) / 2, d)
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    H1, H2 = (H1 @ (Q * scale) @ Q.T).astype(np.float32), H2.astype(np.float32)
    single = correlation_loss(H1, H2, k, 1e-6, objective)  # type: ignore[arg-type]
    double = correlation_loss(H1.astype(np.float64), H2.astype(np.float64), k, 1e-6, objective)  # type: ignore[arg-type]
    assert single[0] == pytest.approx(double[0], rel=1e-5)
    for a, b in zip(single[1:], double[1:], strict=True):
        assert a is not None
        assert b is not None
        assert a.dtype == np.float32
        assert relative(a, b) < 1e-4


@pytest.mark.parametrize("condition", [1e2, 1e3, 1e4])
@pytest.mark.parametrize("d", [8, 64])
def test_ill_conditioned_float32_gets_the_gradient_of_its_values(
    rng: np.random.Generator, d: int, condition: float
) -> None:
    """Where products are taken in double, all that is lost is the rounding of the gradient to float32."""
    spread = np.logspace(0, -np.log10(condition), d)
    H1, H2 = views(rng, 8 * d, d, d)
    H1, H2 = (
        (H * spread @ np.linalg.qr(rng.standard_normal((d, d)))[0]).astype(np.float32) for H in (H1, H2)
    )
    reg = 1e-4 / condition**2
    single = correlation_loss(H1, H2, None, reg)
    double = correlation_loss(H1.astype(np.float64), H2.astype(np.float64), None, reg)
    assert single[0] == pytest.approx(double[0], rel=1e-9)
    for a, b in zip(single[1:], double[1:], strict=True):
        assert a is not None
        assert b is not None
        assert relative(a, b) < 1e-7


# Where others return NaN


def awkward(name: str, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    H1, H2 = views(rng, 60, 8, 8)
    if name == "dead units":
        H1[:, [0, 3]] = 0
        H2[:, 5] = 0
    elif name == "constant outputs":
        H1[:] = 7.3
        H2[:, 1] = -0.1
    elif name == "all constant":
        H1[:], H2[:] = 0.1, 1e6
    elif name == "identical views":
        H2 = H1.copy()
    elif name == "white views":
        H1 = np.linalg.qr(H1 - H1.mean(0))[0] * np.sqrt(59)
        H2 = np.linalg.qr(H2 - H2.mean(0))[0] * np.sqrt(59)
    elif name == "white identical views":
        H1 = H2 = np.linalg.qr(H1 - H1.mean(0))[0] * np.sqrt(59)
    elif name == "fewer rows than columns":
        H1, H2 = H1[:5], H2[:5]
    elif name == "two rows":
        H1, H2 = H1[:2], H2[:2]
    elif name == "repeated columns":
        H1[:, 4] = H1[:, 1]
        H2[:] = H2[:, :1]
    elif name == "large means":
        H1 += 1e4
        H2 -= 1e5
    return H1.astype(np.float32), H2.astype(np.float32)


AWKWARD = [
    "dead units",
    "constant outputs",
    "all constant",
    "identical views",
    "white views",
    "white identical views",
    "fewer rows than columns",
    "two rows",
    "repeated columns",
    "large means",
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("objective", ["trace_norm", "frobenius"])
@pytest.mark.parametrize("k", [None, 3])
@pytest.mark.parametrize("name", AWKWARD)
def test_finite_and_a_descent_direction(
    rng: np.random.Generator, name: str, k: int | None, objective: str, dtype: type
) -> None:
    H1, H2 = (H.astype(dtype) for H in awkward(name, rng))
    value, grad1, grad2 = correlation_loss(H1, H2, k, 1e-4, objective)  # type: ignore[arg-type]
    assert -(k or 8) - 1e-5 <= value <= 1e-9
    assert grad1 is not None
    assert grad2 is not None
    assert np.isfinite(grad1).all()
    assert np.isfinite(grad2).all()
    # A short step against the gradient does not raise the loss (to rounding).
    size = max(np.abs(grad1).max(), np.abs(grad2).max(), 1e-12)
    A, B = H1.astype(np.float64), H2.astype(np.float64)
    step = 1e-5 / size
    after = correlation_loss(A - step * grad1, B - step * grad2, k, 1e-4, objective, gradient=False)[0]  # type: ignore[arg-type]
    assert after <= correlation_loss(A, B, k, 1e-4, objective, gradient=False)[0] + 1e-9  # type: ignore[arg-type]


def test_a_dead_unit_takes_no_part(rng: np.random.Generator) -> None:
    H1, H2 = views(rng, 50, 5, 4)
    expected = correlation_loss(H1, H2, reg=0)
    with_dead = np.insert(H1, 2, 0.7, axis=1)
    value, grad1, grad2 = correlation_loss(with_dead, H2, reg=0)
    assert grad1 is not None
    assert value == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(np.delete(grad1, 2, axis=1), expected[1], atol=1e-13)
    np.testing.assert_allclose(grad2, expected[2], atol=1e-13)
    np.testing.assert_array_equal(grad1[:, 2], 0)


def test_a_correlation_of_zero_has_a_bounded_subgradient(rng: np.random.Generator) -> None:
    H1, H2 = with_singular_values(rng, 40, [0.8, 0.0, 0.0])
    value, grad1, grad2 = correlation_loss(H1, H2, reg=0)
    assert value == pytest.approx(-0.8, rel=1e-12)
    # The gradient of white views: at most one unit vector per direction and view, over sqrt(m - 1).
    for grad in (grad1, grad2):
        assert grad is not None
        assert np.linalg.norm(grad, 2) <= 1.0001 / np.sqrt(39)


# Outputs of low rank


def check_against_singular_values(
    found: tuple[float, npt.ArrayLike | None, npt.ArrayLike | None],
    H1: npt.NDArray[np.floating],
    H2: npt.NDArray[np.floating],
    reg: float,
    value_tolerance: float,
    gradient_tolerance: float,
    k: int | None = None,
    objective: str = "trace_norm",
) -> None:
    value, *gradients = ref.by_singular_values(H1, H2, (reg, reg), k, objective)
    assert found[0] == pytest.approx(value, rel=value_tolerance, abs=value_tolerance)
    both = np.hstack([g for g in found[1:] if g is not None])
    assert relative(both, np.hstack(gradients)) < gradient_tolerance


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seeds", [range(40), range(40, 80), range(80, 120)])
def test_outputs_of_low_rank(seeds: range, dtype: type) -> None:
    for seed in seeds:
        H1, H2, reg = ref.low_rank_problem(seed, 300, 64)
        H1, H2 = H1.astype(dtype), H2.astype(dtype)
        tolerances = (1e-9, 1e-7) if dtype == np.float64 else (1e-4, 1e-3)
        check_against_singular_values(correlation_loss(H1, H2, reg=reg), H1, H2, reg, *tolerances)


@pytest.mark.parametrize("seed", range(20))
def test_outputs_of_low_rank_with_other_objectives(seed: int) -> None:
    H1, H2, reg = ref.low_rank_problem(seed, 120, 32)
    d = min(H1.shape[1], H2.shape[1])
    squares = correlation_loss(H1, H2, reg=reg, objective="frobenius")
    check_against_singular_values(squares, H1, H2, reg, 1e-9, 1e-7, objective="frobenius")
    if d > 1:
        check_against_singular_values(correlation_loss(H1, H2, d - 1, reg), H1, H2, reg, 1e-9, 1e-7, d - 1)


def test_outputs_of_low_rank_in_parts() -> None:
    for seed in range(60):
        H1, H2, reg = ref.low_rank_problem(seed, 300, 64)
        cut = len(H1) // 3
        moments = Moments().update(H1[:cut], H2[:cut]) + Moments().update(H1[cut:], H2[cut:])
        value, A = correlation_coefficients(moments, reg=reg)
        gradients = correlation_gradients(H1, H2, moments.mean, A)
        check_against_singular_values((value, *gradients), H1, H2, reg, 1e-9, 1e-7)


def in_parts(
    H1: Array, H2: Array, reg: float, objective: str = "trace_norm", n_threads: int = 1
) -> tuple[float, Array, Array]:
    """Moments and R factors of three parts, combined."""
    parts = [slice(0, 1), slice(1, len(H1) // 3 + 1), slice(len(H1) // 3 + 1, None)]
    moments = Moments()
    for part in parts:
        moments = moments + Moments().update(H1[part], H2[part], dtype=np.float64)
    options = {"n_threads": n_threads}
    R = np.vstack([correlation_factor(H1[part], H2[part], moments.mean, **options) for part in parts])
    np.testing.assert_allclose(R.T @ R, moments.scatter, atol=1e-12 * moments.scatter.max())
    value, A = correlation_coefficients(moments, None, reg, objective, factor=R, **options)  # type: ignore[arg-type]
    return value, *correlation_gradients(H1, H2, moments.mean, A, **options)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-6)])
@pytest.mark.parametrize("seeds", [range(30), range(30, 60)])
def test_outputs_of_low_rank_in_parts_by_their_factors(seeds: range, dtype: type, tolerance: float) -> None:
    # Rounding to float32 fills the directions that outputs lack, with 1e-8 of the others: moments lose that.
    for seed in seeds:
        H1, H2, reg = ref.low_rank_problem(seed, 300, 64)
        H1, H2 = H1.astype(dtype), H2.astype(dtype)
        check_against_singular_values(in_parts(H1, H2, reg), H1, H2, reg, tolerance, 100 * tolerance)


def test_factors_give_the_same_for_every_thread_count() -> None:
    H1, H2, reg = ref.low_rank_problem(3, 3000, 40)
    H1, H2 = H1.astype(np.float32), H2.astype(np.float32)
    one = in_parts(H1, H2, reg)
    for n_threads in (2, 7):
        for a, b in zip(one, in_parts(H1, H2, reg, n_threads=n_threads), strict=True):
            np.testing.assert_array_equal(a, b)


def test_factors_without_a_ridge_and_of_constant_columns() -> None:
    rng = np.random.default_rng(5)
    Z = rng.normal(size=(200, 3))
    H1 = np.column_stack([Z[:, :2], Z[:, 0] + 1e-10 * Z[:, 2], np.full(200, 0.7)])
    H2 = np.column_stack([Z + rng.normal(size=(200, 3)), np.zeros(200)])
    value, grad1, grad2 = in_parts(H1, H2, 0.0)
    exact, expected1, expected2 = ref.by_singular_values(H1[:, :3], H2[:, :3])
    assert value == pytest.approx(exact, rel=1e-6)
    assert np.linalg.norm(grad1[:, :3] - expected1) < 1e-5 * np.linalg.norm(expected1)
    assert np.linalg.norm(grad2[:, :3] - expected2) < 1e-5 * np.linalg.norm(expected2)
    assert not grad1[:, 3].any()
    assert not grad2[:, 3].any()


def test_factors_check_their_arguments(rng: np.random.Generator) -> None:
    H1, H2 = views(rng, 20, 4, 3)
    moments = Moments().update(H1, H2)
    with pytest.raises(ValueError, match=r"mean must have shape \(7,\), got \(6,\)"):
        correlation_factor(H1, H2, moments.mean[1:])
    with pytest.raises(ValueError, match="Input H2 contains NaN: the first is at row 0, column 0"):
        correlation_factor(H1, H2 * np.nan, moments.mean)
    with pytest.raises(ValueError, match="H1 and H2 must have the same number of rows, got 20 and 19"):
        correlation_factor(H1, H2[1:], moments.mean)
    with pytest.raises(ValueError, match=r"factor must have 7 columns, got shape \(7, 6\)"):
        correlation_coefficients(moments, factor=np.eye(7, 6))
    with pytest.raises(ValueError, match="Input factor contains infinity"):
        correlation_coefficients(moments, factor=np.full((7, 7), np.inf))
    single = Moments().update(H1.astype(np.float32), H2.astype(np.float32))
    with pytest.raises(ValueError, match="a factor needs moments of products in float64"):
        correlation_coefficients(single, factor=np.eye(7))


@pytest.mark.parametrize("scale", [1e-30, 1e-41])
def test_gradients_that_overflow_are_refused(rng: np.random.Generator, scale: float) -> None:
    H1, H2 = views(rng, 20, 3, 2)
    H1 = (scale * H1).astype(np.float32)
    H2 = H2.astype(np.float32)
    if scale == 1e-30:
        _, grad1, grad2 = correlation_loss(H1, H2, reg=0.0)
        assert np.isfinite(grad1).all()
        assert np.isfinite(grad2).all()
        return
    with pytest.raises(
        NumericalError, match=r"gradient of the correlation loss overflows float32.*scale them"
    ):
        correlation_loss(H1, H2, reg=(0.0, 0.0))
    value, _, _ = correlation_loss(H1, H2, reg=(0.0, 0.0), gradient=False)
    assert -2 <= value < 0


@pytest.mark.parametrize("seed", [24, 50])
def test_eigenvalues_that_are_rounding_of_zeros_converge(seed: int) -> None:
    # QR iterations of tridiagonal matrices do not, for parts of these that are rounding beside the rest.
    H1, H2, reg = ref.low_rank_problem(seed, 400, 30)
    check_against_singular_values(correlation_loss(H1, H2, reg=reg), H1, H2, reg, 1e-9, 1e-7)


@pytest.mark.parametrize("reg", [1e-2, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_few_rows_at_any_scale_and_small_ridges(rng: np.random.Generator, scale: float, reg: float) -> None:
    H1, H2 = (scale * H for H in views(rng, 8, 10, 10))
    found = correlation_loss(H1, H2, reg=reg)
    value, grad1, grad2 = ref.by_singular_values(H1, H2, (reg, reg))
    assert found[0] == pytest.approx(value, rel=1e-11)
    # Where all correlations are 1 but for the ridge the gradient is the rounding of what cancels.
    noise = 1e-13 / scale
    np.testing.assert_allclose(found[1], grad1, rtol=1e-6, atol=noise + 1e-7 * np.abs(grad1).max())
    np.testing.assert_allclose(found[2], grad2, rtol=1e-6, atol=noise + 1e-7 * np.abs(grad2).max())


def test_a_copied_output_counts_as_one_of_twice_the_variance(rng: np.random.Generator) -> None:
    H1, H2 = views(rng, 500, 9, 9)
    longer = H1.copy()
    longer[:, 0] *= np.sqrt(2)
    for reg in (1e-2, 1e-3, 1e-4):
        copied = correlation_loss(np.column_stack([H1, H1[:, 0]]), H2, reg=reg)
        assert copied[0] == pytest.approx(correlation_loss(longer, H2, reg=reg)[0], rel=1e-12)


@pytest.mark.parametrize("exponent", [5, 6, 7, 7.5, 8])
def test_no_ridge_and_ill_conditioned_as_accurate_as_qr(exponent: float) -> None:
    rng = np.random.default_rng(int(exponent * 10))
    Q = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    B = rng.normal(size=(60, 5))
    H1 = B @ (Q * np.logspace(0, -exponent, 5)) @ Q.T
    H2 = 0.7 * B + 0.7 * rng.normal(size=(60, 5))
    # The span of H1 is that of its QR factor; values of their product.
    bases = [np.linalg.qr(H - H.mean(0))[0] for H in (H1, H2)]
    exact = -np.linalg.svd(bases[0].T @ bases[1], compute_uv=False).sum()
    value, grad1, grad2 = correlation_loss(H1, H2, reg=0)
    assert value == pytest.approx(exact, abs=1e-15 * 10**exponent)
    assert value == pytest.approx(-CCA(solver="qr").fit(H1, H2).total_correlation_, abs=1e-15 * 10**exponent)
    _, expected1, expected2 = ref.by_singular_values(H1, H2)
    assert relative(grad1, expected1) < 1e-14 * 10**exponent
    assert relative(grad2, expected2) < 1e-14 * 10**exponent


def ill_conditioned_float32() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    B = rng.normal(size=(400, 8))
    H1 = B @ (Q * np.logspace(0, -3, 8)) @ Q.T
    return H1.astype(np.float32), (0.7 * B + 0.7 * rng.normal(size=(400, 8))).astype(np.float32)


def test_moments_that_are_not_precise_enough_say_so() -> None:
    H1, H2 = ill_conditioned_float32()
    exact = ref.by_singular_values(H1, H2, (1e-8, 1e-8))[0]
    assert correlation_loss(H1, H2, reg=1e-8)[0] == pytest.approx(exact, rel=1e-9)
    doubles = Moments().update(H1, H2, dtype=np.float64)
    assert correlation_coefficients(doubles, reg=1e-8)[0] == pytest.approx(exact, rel=1e-8)
    with pytest.warns(
        UserWarning, match=r"known to 1e-07 .*reg=1e-08.* may be off by .*dtype=numpy.float64"
    ) as caught:
        value, _ = correlation_coefficients(Moments().update(H1, H2), reg=1e-8)
    stated = float(str(caught[0].message).split("off by ")[1].split(" ")[0])
    assert abs(value / exact - 1) < stated < 0.1
    # float64 with a condition number of 1e7
    rng = np.random.default_rng(70)
    B = rng.normal(size=(60, 5))
    tilted = B * np.logspace(0, -7, 5) @ np.linalg.qr(rng.normal(size=(5, 5)))[0]
    with pytest.warns(
        UserWarning, match=r"known to 2e-16 .* of its value: take a larger reg, or pass a factor"
    ):
        correlation_coefficients(Moments().update(tilted, B + rng.normal(size=(60, 5))), reg=0)


# Invariants


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 17),
    st.integers(1, 17),
    st.sampled_from(["trace_norm", "frobenius"]),
    st.booleans(),
)
def test_invariants(seed: int, d1: int, d2: int, objective: str, truncate: bool) -> None:
    rng = np.random.default_rng(seed)
    H1, H2 = views(rng, 60, d1, d2)
    k = max(1, min(d1, d2) // 2) if truncate else None

    def loss(A: Array, B: Array, reg: float = 0.1) -> tuple[float, Array, Array]:
        return correlation_loss(A, B, k, reg, objective)  # type: ignore[arg-type,return-value]

    value, grad1, grad2 = loss(H1, H2)
    swapped = loss(H2, H1)
    assert swapped[0] == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(swapped[2], grad1, atol=1e-8)
    moved = loss(H1 + 100, H2 - 50)
    assert moved[0] == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(moved[1], grad1, atol=1e-8)
    Q = np.linalg.qr(rng.standard_normal((d1, d1)))[0]
    turned = loss(H1 @ Q, H2)
    assert turned[0] == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(turned[1], grad1 @ Q, atol=1e-8)
    # Translations leave the loss alone, and so, without ridge, do scalings.
    np.testing.assert_allclose(grad1.sum(0), 0, atol=1e-10)
    np.testing.assert_allclose(grad2.sum(0), 0, atol=1e-10)
    _, free1, free2 = loss(H1, H2, 0.0)
    assert np.vdot(free1, H1) == pytest.approx(0, abs=1e-8)
    assert np.vdot(free2, H2) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_layout_in_place(rng: np.random.Generator, dtype: type) -> None:
    H1, H2 = (H.astype(dtype) for H in views(rng, 70, 9, 6))
    value, grad1, grad2 = correlation_loss(H1, H2)
    wide = np.zeros((140, 24), dtype)
    wide[::2, 3:21:2] = H1
    strided = wide[::2, 3:21:2]
    strided.flags.writeable = False
    other = correlation_loss(strided, np.asfortranarray(H2))
    assert other[0] == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(other[1], grad1, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(other[2], grad2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("m", "d"), [(100, 5), (3000, 40), (1000, 150)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bitwise_equal_for_every_number_of_threads(
    rng: np.random.Generator, m: int, d: int, dtype: type
) -> None:
    H1, H2 = (H.astype(dtype) for H in views(rng, m, d, d))
    for objective, k in (("trace_norm", None), ("frobenius", None), ("trace_norm", d // 2)):
        one, *others = (correlation_loss(H1, H2, k, 1e-3, objective, n_threads=t) for t in (1, 2, 7))  # type: ignore[arg-type]
        for other in others:
            assert other[0] == one[0]
            assert np.array_equal(other[1], one[1])  # type: ignore[arg-type]
            assert np.array_equal(other[2], one[2])  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_of_a_batch_combine(rng: np.random.Generator, dtype: type) -> None:
    H1, H2 = (H.astype(dtype) for H in views(rng, 80, 6, 9))
    whole = correlation_loss(H1, H2, 4, (1e-3, 1e-2))
    parts = [slice(0, 11), slice(11, 50), slice(50, 80)]
    moments = Moments()
    for part in parts:
        moments += Moments().update(H1[part], H2[part])
    value, A = correlation_coefficients(moments, 4, (1e-3, 1e-2))
    assert value == pytest.approx(whole[0], rel=1e-6 if dtype == np.float32 else 1e-13)
    grads = [correlation_gradients(H1[part], H2[part], moments.mean, A) for part in parts]
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    assert relative(np.vstack([g[0] for g in grads]), whole[1]) < tolerance  # type: ignore[arg-type]
    assert relative(np.vstack([g[1] for g in grads]), whole[2]) < tolerance  # type: ignore[arg-type]


# What is refused


def test_bad_input_is_named(rng: np.random.Generator) -> None:
    H1, H2 = views(rng, 20, 4, 3)
    with pytest.raises(ValueError, match="H1 and H2 must have the same number of rows, got 20 and 19"):
        correlation_loss(H1, H2[1:])
    with pytest.raises(ValueError, match="at least 2 samples, got 1"):
        correlation_loss(H1[:1], H2[:1])
    with pytest.raises(ValueError, match="H2 has 0 feature"):
        correlation_loss(H1, H2[:, :0])
    for k in (0, 4, -1, 1.5, True):
        with pytest.raises(
            ValueError,
            match=r"n_components must be an integer >= 1 or None|=4 is more than min\(d1, d2\) = 3",
        ):
            correlation_loss(H1, H2, k)  # type: ignore[arg-type]
    for reg in (-1e-9, np.nan, np.inf, (1.0,), "x", (0.1, -0.1)):
        with pytest.raises(ValueError, match="reg must be"):
            correlation_loss(H1, H2, reg=reg)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="objective must be one of 'trace_norm', 'frobenius', got 'sum'"):
        correlation_loss(H1, H2, objective="sum")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Complex data not supported"):
        correlation_loss(H1 * 1j, H2)
    H2[7, 1] = np.nan
    with pytest.raises(ValueError, match="H2 contains NaN: the first is at row 7, column 1"):
        correlation_loss(H1, H2)
    H1[3, 2] = np.inf
    with pytest.raises(ValueError, match="H1 contains infinity: the first is at row 3, column 2"):
        correlation_loss(H1, H2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_ill_posed_batch_names_a_reg_that_helps(rng: np.random.Generator, dtype: type) -> None:
    H1, H2 = (H.astype(dtype) for H in views(rng, 6, 4, 9))
    with pytest.raises(
        NumericalError, match=r"H2: .*9 columns over 6 rows.*fewer rows than columns.*a reg of"
    ) as error:
        correlation_loss(H1, H2, reg=0)
    reg = float(str(error.value).split("a reg of ")[1].split(" ")[0])
    value, grad1, _ = correlation_loss(H1, H2, reg=reg)
    assert -4 <= value < 0
    assert np.isfinite(grad1).all()  # type: ignore[arg-type]


def test_coefficients_and_gradients_check_their_arguments(rng: np.random.Generator) -> None:
    H1, H2 = views(rng, 20, 4, 3)
    with pytest.raises(ValueError, match="moments must be of two views, got 1"):
        correlation_coefficients(Moments().update(H1))
    moments = Moments().update(H1, H2)
    _, A = correlation_coefficients(moments)
    with pytest.raises(ValueError, match="mean and A must have shapes"):
        correlation_gradients(H1, H2, moments.mean[1:], A)
    for empty in (Moments().update(H1[:, :0], H2), Moments().update(H1, H2[:, :0])):
        with pytest.raises(ValueError, match=r"moments must be of views that have columns, got \("):
            correlation_coefficients(empty)


def test_the_core_checks_the_sizes_it_is_given(rng: np.random.Generator) -> None:
    H1, H2 = views(rng, 20, 4, 3)
    mean, S, rest = np.zeros(7), np.eye(7), (0.1, 0.1, False, 1e-16, 1e-16, None, 1)
    for d1 in (-1, 0, 7, 8, 2**62):
        with pytest.raises(ValueError, match="both views must have columns"):
            _core.correlation_coefficients(20.0, mean, S, d1, 1, *rest)
    for k in (-1, 0, 4, 2**62):
        with pytest.raises(ValueError, match=r"k must be from 1 to min\(d1, d2\)"):
            _core.correlation_coefficients(20.0, mean, S, 4, k, *rest)
        with pytest.raises(ValueError, match=r"k must be from 1 to min\(d1, d2\)"):
            _core.correlation_loss(H1, H2, k, 0.1, 0.1, False, True, 1)
    for wrong_mean, wrong_S in ((mean[1:], S), (mean, S[1:]), (mean, S[:, 1:])):
        with pytest.raises(ValueError, match="scatter must be square"):
            _core.correlation_coefficients(20.0, wrong_mean, wrong_S, 4, 1, *rest)
    for n in (1.0, -3.0, np.nan):
        with pytest.raises(ValueError, match="at least 2 samples"):
            _core.correlation_coefficients(n, mean, S, 4, 1, *rest)
    for entry in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinity"):
            _core.correlation_coefficients(20.0, mean, np.where(S > 0, entry, 0.0), 4, 1, *rest)
    with pytest.raises(ValueError, match="the same number of rows"):
        _core.correlation_loss(H1, H2[1:], 1, 0.1, 0.1, False, True, 1)
    with pytest.raises(ValueError, match="must have columns"):
        _core.correlation_loss(H1, H2[:, :0], 1, 0.1, 0.1, False, True, 1)
    with pytest.raises(ValueError, match="at least 2 samples"):
        _core.correlation_loss(H1[:1], H2[:1], 1, 0.1, 0.1, False, True, 1)
    with pytest.raises(ValueError, match="mean must have an entry"):
        _core.correlation_gradients(H1, H2, mean[1:], S, 1)
    for wrong in (S[1:], S[:, 1:]):
        with pytest.raises(ValueError, match="A must be square"):
            _core.correlation_gradients(H1, H2, mean, wrong, 1)
    with pytest.raises(ValueError, match="the same number of rows"):
        _core.correlation_gradients(H1, H2[1:], mean, S, 1)
