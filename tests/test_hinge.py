"""The hinge loss of embeddings: values, gradients, tables of constraints, what is refused."""

import pickle

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcca.errors import NumericalError
from fastcca.functional import ConstraintTable, hinge_embedding_loss, warp_epoch
from reference import hinge as ref

pytestmark = pytest.mark.core
Array = npt.NDArray[np.float64]

NEGATIVES = ["sum", "hardest", "semihard", "rank", "warp", "softmax"]


def problem(rng: np.random.Generator, n: int, d: int, K: int) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Samples about their classes, at a spread that leaves some margins violated and others not."""
    U = rng.standard_normal((K, d)) / np.sqrt(d)
    y = rng.integers(K, size=n)
    return U[y] + rng.standard_normal((n, d)) / np.sqrt(d), U, y


def options(negatives: str) -> dict[str, str]:
    return {"loss": "softmax"} if negatives == "softmax" else {"negatives": negatives}


def a_taxonomy(rng: np.random.Generator, n_classes: int, n_nodes: int) -> list[list[tuple[int, list[int]]]]:
    """Some pairs for each class, with shared nodes, empty classes and empty negatives."""
    constraints = []
    for y in range(n_classes):
        pairs = []
        for _ in range(0 if y == 1 else int(rng.integers(1, 4))):
            positive, *negatives = rng.permutation(n_nodes)[: int(rng.integers(1, n_nodes + 1))]
            pairs.append((int(positive), [int(c) for c in negatives]))
        constraints.append(pairs)
    return constraints


def assert_equal(got: tuple[object, ...], expected: tuple[object, ...], tolerance: float = 1e-11) -> None:
    assert got[0] == pytest.approx(expected[0], rel=tolerance, abs=tolerance)
    np.testing.assert_allclose(got[1], expected[1], rtol=tolerance, atol=tolerance)  # type: ignore[arg-type]
    np.testing.assert_allclose(got[2], expected[2], rtol=tolerance, atol=tolerance)  # type: ignore[arg-type]
    assert got[3] == expected[3]


# By hand: classes at 0, 1 and 3 on a line, the sample at 0.4 and of class 0. The squared distances are
# 0.16, 0.36 and 6.76, so v = (0.8, -5.6); the gradient of v_1 by z is 2 (u_1 - u_0) = 2, by u_0 it is
# 2 (u_0 - z) = -0.8, by u_1 it is 2 (z - u_1) = -1.2.


def test_three_classes_by_hand() -> None:
    Z, U = np.array([[0.4]]), np.array([[0.0], [1.0], [3.0]])
    for negatives in ("sum", "hardest", "rank"):
        got = hinge_embedding_loss(Z, U, [0], negatives=negatives)  # type: ignore[arg-type]
        assert_equal(got, (0.8, [[2.0]], [[-0.8], [-1.2], [0.0]], 1))
    # With a margin of 7 the third violates too: v = (6.8, 0.4), and v_2 has the gradients 6, -0.8 and -5.2.
    two = hinge_embedding_loss(Z, U, [0], margin=7)
    assert_equal(two, (7.2, [[8.0]], [[-1.6], [-1.2], [-5.2]], 2))
    # L(2)/2 = 3/4 of it
    rank = hinge_embedding_loss(Z, U, [0], margin=7, negatives="rank")
    assert_equal(rank, (5.4, [[6.0]], [[-1.2], [-0.9], [-3.9]], 2))
    hardest = hinge_embedding_loss(Z, U, [0], margin=7, negatives="hardest")
    assert_equal(hardest, (6.8, [[2.0]], [[-0.8], [-1.2], [0.0]], 2))
    # The costs of class 0: 1 for class 1, 7 for class 2.
    costs = np.array([[0, 1, 7], [1, 0, 7], [7, 7, 0]])
    assert_equal(hinge_embedding_loss(Z, U, [0], margin=costs), (1.2, [[8.0]], [[-1.6], [-1.2], [-5.2]], 2))
    # log(e^-0.16 + e^-0.36 + e^-6.76) + 0.16
    value = hinge_embedding_loss(Z, U, [0], loss="softmax")[0]
    assert value == pytest.approx(np.log(1 + np.exp(-0.2) + np.exp(-6.6)), rel=1e-14)


def test_three_classes_by_hand_cosine() -> None:
    # At 0°, 90° and 180°, the sample at 0°: D = -1, 0, 1, so v = (0, -1) + (margin - 1 + 1): with a margin of
    # 3/2, v = (1/2, -1/2). Turning z or u_0 changes D(z, u_0) to second order only.
    Z, U = np.array([[2.0, 0.0]]), np.array([[3.0, 0.0], [0.0, 4.0], [-1.0, 0.0]])
    got = hinge_embedding_loss(Z, U, [0], margin=1.5, similarity="cosine")
    assert_equal(got, (0.5, [[0.0, 0.5]], [[0.0, 0.0], [0.25, 0.0], [0.0, 0.0]], 1))


def test_a_table_by_hand() -> None:
    # Node 2 is the parent of class 0, node 3 its sibling: a sample at 0 is 1 and 4 away from them (squared
    # distances), so with a margin of 5 it violates by 2; class 1 has no pairs.
    U = np.array([[9.0], [9.0], [1.0], [-2.0]])
    table = ConstraintTable.from_lists([[(2, [3])], []])
    got = hinge_embedding_loss([[0.0], [0.0]], U, [0, 1], margin=5, table=table)
    assert_equal(got, (1.0, [[-3.0], [0.0]], [[0.0], [0.0], [1.0], [2.0]], 1))


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize(
    ("n", "d", "K"), [(1, 1, 1), (3, 2, 2), (7, 5, 3), (16, 15, 17), (70, 7, 33), (33, 31, 5), (9, 3, 130)]
)
def test_equals_the_reference(
    rng: np.random.Generator, n: int, d: int, K: int, negatives: str, similarity: str
) -> None:
    Z, U, y = problem(rng, n, d, K)
    for margin in (0.3, rng.uniform(0, 2, (K, K))):
        got = hinge_embedding_loss(
            Z,
            U,
            y,
            margin=margin,
            similarity=similarity,
            seed=5,
            **options(negatives),  # type: ignore[arg-type]
        )
        assert_equal(got, ref.hinge_embedding_loss(Z, U, y, margin, similarity, negatives, seed=5))


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_tables_equal_the_reference(rng: np.random.Generator, negatives: str, similarity: str) -> None:
    for n_classes, n_nodes in ((2, 3), (7, 17)):
        Z, U, y = problem(rng, 31, 5, n_nodes)
        y %= n_classes
        constraints = a_taxonomy(rng, n_classes, n_nodes)
        table = ConstraintTable.from_lists(constraints)
        for margin in (0.5, rng.uniform(0, 2, (n_classes, n_nodes))):
            got = hinge_embedding_loss(
                Z,
                U,
                y,
                margin=margin,
                similarity=similarity,
                table=table,
                seed=3,
                **options(negatives),  # type: ignore[arg-type]
            )
            expected = ref.hinge_embedding_loss(Z, U, y, margin, similarity, negatives, constraints, seed=3)
            assert_equal(got, expected)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_a_table_of_all_others_is_the_default(rng: np.random.Generator, negatives: str) -> None:
    Z, U, y = problem(rng, 300, 6, 19)
    table = ConstraintTable.from_lists(ref.flat(19))
    whole = hinge_embedding_loss(Z, U, y, **options(negatives))  # type: ignore[arg-type]
    assert_equal(hinge_embedding_loss(Z, U, y, table=table, **options(negatives)), whole)  # type: ignore[arg-type]


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("negatives", ["sum", "hardest", "softmax"])
def test_gradient_equals_difference_quotients(
    rng: np.random.Generator, negatives: str, similarity: str
) -> None:
    Z, U, y = problem(rng, 12, 4, 6)
    kwargs = {"similarity": similarity, **options(negatives)}
    _, grad_Z, grad_U, _ = hinge_embedding_loss(Z, U, y, **kwargs)  # type: ignore[arg-type]
    for _ in range(3):
        E, F, h = rng.standard_normal(Z.shape), rng.standard_normal(U.shape), 1e-6
        up, down = (
            hinge_embedding_loss(Z + s * E, U + s * F, y, gradient=False, **kwargs)[0]  # type: ignore[arg-type]
            for s in (h, -h)
        )
        assert np.vdot(grad_Z, E) + np.vdot(grad_U, F) == pytest.approx((up - down) / (2 * h), rel=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("negatives", ["sum", "rank", "softmax"])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_float32_agrees_with_float64(
    rng: np.random.Generator, negatives: str, similarity: str, offset: float
) -> None:
    Z, U, y = (a.astype(np.float32) if a.dtype == np.float64 else a for a in problem(rng, 130, 33, 70))
    if similarity == "euclidean":  # a common offset costs no digits
        Z, U = Z + np.float32(offset), U + np.float32(offset)
    kwargs = {"similarity": similarity, **options(negatives)}
    single = hinge_embedding_loss(Z, U, y, **kwargs)  # type: ignore[arg-type]
    double = hinge_embedding_loss(Z.astype(np.float64), U.astype(np.float64), y, **kwargs)  # type: ignore[arg-type]
    assert single[0] == pytest.approx(double[0], rel=1e-5)
    for a, b in zip(single[1:3], double[1:3], strict=True):
        assert a is not None
        assert a.dtype == np.float32
        assert np.linalg.norm(a - b) < 1e-4 * np.linalg.norm(b)  # type: ignore[operator,arg-type]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 17), st.integers(2, 17), st.sampled_from(NEGATIVES))
def test_invariants(seed: int, d: int, K: int, negatives: str) -> None:
    rng = np.random.default_rng(seed)
    Z, U, y = problem(rng, 20, d, K)

    def loss(A: Array, B: Array, labels: npt.NDArray[np.int64] = y, **more: object) -> tuple[object, ...]:
        return hinge_embedding_loss(A, B, labels, **options(negatives), **more)  # type: ignore[arg-type]

    value, grad_Z, grad_U, count = loss(Z, U)
    assert_equal(loss(Z + 3, U + 3), (value, grad_Z, grad_U, count), 1e-9)
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    assert_equal(loss(Z @ Q, U @ Q), (value, grad_Z @ Q, grad_U @ Q, count), 1e-9)  # type: ignore[operator]
    # Nothing moves the whole.
    np.testing.assert_allclose(grad_Z.sum(0) + grad_U.sum(0), 0, atol=1e-10)  # type: ignore[attr-defined]
    # A weight is a repetition.
    weights = rng.integers(0, 3, 20)
    if negatives == "warp" or weights.sum() == 0:  # the draws belong to the row
        return
    again = np.repeat(np.arange(20), weights)
    repeated = loss(Z[again], U, y[again])
    weighted = loss(Z, U, sample_weight=weights)
    assert weighted[0] == pytest.approx(repeated[0], rel=1e-10)
    np.testing.assert_allclose(weighted[2], repeated[2], atol=1e-10)  # type: ignore[arg-type]
    summed = loss(Z, U, sample_weight=weights, reduction="sum")
    assert summed[0] == pytest.approx(weights.sum() * weighted[0], rel=1e-10)  # type: ignore[operator]
    np.testing.assert_allclose(summed[1], weights.sum() * weighted[1], atol=1e-9)  # type: ignore[operator,arg-type]


def test_warp_estimates_rank(rng: np.random.Generator) -> None:
    # Of m negatives r violate: the first violator comes at draw t with probability (1 - r/m)^(t-1) r/m.
    Z, U, y = problem(rng, 1, 3, 9)
    v = 1 + ((Z - U[y]) ** 2).sum() - ((Z - U) ** 2).sum(1)
    v = np.delete(v, y)
    m, r = len(v), int((v > 0).sum())
    assert 1 < r < m, (r, m)
    p = r / m
    expected = sum((1 - p) ** (t - 1) * p * ref.harmonic(m // t) for t in range(1, m + 1)) * v[v > 0].mean()
    n = 20000
    got = hinge_embedding_loss(np.repeat(Z, n, 0), U, np.repeat(y, n), negatives="warp")
    assert got[0] == pytest.approx(expected, rel=0.03)
    other = hinge_embedding_loss(np.repeat(Z, n, 0), U, np.repeat(y, n), negatives="warp", seed=1)
    assert other[0] != got[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize(("n", "d", "K"), [(9, 4, 5), (700, 17, 90), (130, 17, 1500)])
def test_bitwise_equal_for_every_number_of_threads(
    rng: np.random.Generator, n: int, d: int, K: int, negatives: str, dtype: type
) -> None:
    Z, U, y = problem(rng, n, d, K)
    Z, U = Z.astype(dtype), U.astype(dtype)
    table = ConstraintTable.from_lists(a_taxonomy(rng, K, min(K, 40)))
    for constraints in (None, table):
        one, *others = (
            hinge_embedding_loss(Z, U, y, table=constraints, n_threads=t, **options(negatives))  # type: ignore[arg-type]
            for t in (1, 2, 7)
        )
        for other in others:
            assert (other[0], other[3]) == (one[0], one[3])
            np.testing.assert_array_equal(other[1], one[1])  # type: ignore[arg-type]
            np.testing.assert_array_equal(other[2], one[2])  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("with_table", [False, True])
def test_any_layout_in_place(rng: np.random.Generator, dtype: type, with_table: bool) -> None:
    Z, U, y = problem(rng, 70, 9, 15)
    Z, U = Z.astype(dtype), U.astype(dtype)
    table = ConstraintTable.from_lists(a_taxonomy(rng, 15, 15)) if with_table else None
    costs = rng.uniform(0.5, 2, (15, 15)).astype(dtype)
    whole = hinge_embedding_loss(Z, U, y, margin=costs, table=table)
    wide = np.zeros((140, 24), dtype)
    wide[::2, 3:21:2] = Z
    strided = wide[::2, 3:21:2]
    strided.flags.writeable = False
    wide_y = np.repeat(y, 2).astype(np.int32)[::2]
    other = hinge_embedding_loss(
        strided, np.asfortranarray(U), wide_y, margin=np.asfortranarray(costs), table=table
    )
    assert_equal(other, whole, 1e-5 if dtype == np.float32 else 1e-12)


def test_without_gradients(rng: np.random.Generator) -> None:
    Z, U, y = problem(rng, 40, 5, 9)
    for negatives in NEGATIVES:
        whole = hinge_embedding_loss(Z, U, y, **options(negatives))  # type: ignore[arg-type]
        value = hinge_embedding_loss(Z, U, y, gradient=False, **options(negatives))  # type: ignore[arg-type]
        assert value == (whole[0], None, None, whole[3])


def test_zero_vectors_have_cosine_zero(rng: np.random.Generator) -> None:
    Z, U, y = problem(rng, 20, 4, 5)
    Z[3], U[2] = 0, 0
    got = hinge_embedding_loss(Z, U, y, similarity="cosine")
    assert_equal(got, ref.hinge_embedding_loss(Z, U, y, similarity="cosine"))
    assert not got[1][3].any()  # type: ignore[index]


def test_far_from_one_in_scale(rng: np.random.Generator) -> None:
    Z, U, y = problem(rng, 20, 4, 5)
    for scale in (1e-160, 1e150):
        got = hinge_embedding_loss(Z * scale, U * scale, y, similarity="cosine")
        expected = hinge_embedding_loss(Z, U, y, similarity="cosine")
        assert_equal((got[0], got[1] * scale, got[2] * scale, got[3]), expected, 1e-10)  # type: ignore[operator]
    with pytest.raises(NumericalError, match="overflows: scale Z and U down"):
        hinge_embedding_loss(Z * 1e160, U, y)
    with pytest.raises(NumericalError, match="overflows"):
        hinge_embedding_loss((Z * 1e20).astype(np.float32), (U * 1e20).astype(np.float32), y)
    # The softmax of distances far beyond what exp can hold
    assert_equal(
        hinge_embedding_loss(Z * 1e3, U * 1e3, y, loss="softmax"),
        ref.hinge_embedding_loss(Z * 1e3, U * 1e3, y, negatives="softmax"),
        1e-9,
    )


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("negatives", ["sum", "rank", "softmax"])
def test_low_rank_and_copied_rows(rng: np.random.Generator, negatives: str, similarity: str) -> None:
    # Samples on a line through 0, nodes of which there are but two: whole classes at one distance
    Z = np.outer(rng.standard_normal(30), rng.standard_normal(6))
    U = rng.standard_normal((2, 6))[[0, 0, 1, 1, 1, 0, 1]]
    y = rng.integers(7, size=30)
    Z[4] *= 1e-12
    for dtype, tolerance in ((np.float64, 1e-11), (np.float32, 1e-4)):
        z, u = Z.astype(dtype), U.astype(dtype)
        # the cosine's gradient by a short row is as large as that row is short
        rows = np.arange(30) != 4 if similarity == "cosine" else np.arange(30) >= 0
        got = hinge_embedding_loss(z, u, y, similarity=similarity, **options(negatives))  # type: ignore[arg-type]
        expected = ref.hinge_embedding_loss(z, u, y, 1.0, similarity, negatives)
        assert got[0] == pytest.approx(expected[0], rel=tolerance)
        np.testing.assert_allclose(got[1][rows], expected[1][rows], rtol=tolerance, atol=tolerance)  # type: ignore[index]
        length = np.linalg.norm(expected[1][4])
        assert np.linalg.norm(got[1][4] - expected[1][4]) <= tolerance * max(length, 1)  # type: ignore[index]
        np.testing.assert_allclose(got[2], expected[2], rtol=tolerance, atol=tolerance)  # type: ignore[arg-type]


# Tables


def test_a_table_is_a_value() -> None:
    table = ConstraintTable.from_lists([[(3, [0, 1]), (2, [])], [], [(0, [4])]])
    assert (table.n_classes, table.n_pairs, table.n_nodes) == (3, 3, 5)
    np.testing.assert_array_equal(table.class_start, [0, 2, 2, 3])
    np.testing.assert_array_equal(table.positives, [3, 2, 0])
    np.testing.assert_array_equal(table.negative_start, [0, 2, 2, 3])
    np.testing.assert_array_equal(table.negatives, [0, 1, 4])
    with pytest.raises(ValueError, match="read-only"):
        table.positives[0] = 1
    again = pickle.loads(pickle.dumps(table))
    np.testing.assert_array_equal(again.negatives, table.negatives)
    assert ConstraintTable.from_lists([]).n_nodes == 0


def test_what_a_table_refuses() -> None:
    with pytest.raises(ValueError, match="node 2 is positive and negative in one pair"):
        ConstraintTable.from_lists([[(2, [1, 2])]])
    with pytest.raises(ValueError, match="negatives must hold nodes >= 0, got -1"):
        ConstraintTable.from_lists([[(2, [-1])]])
    with pytest.raises(ValueError, match="class_start must ascend from 0 to 1"):
        ConstraintTable([0, 2, 1], [0], [0, 0], [])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="negative_start has 3 entries, expected 2"):
        ConstraintTable([0, 1], [0], [0, 0, 0], [])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="positives must be a 1-d array of integers"):
        ConstraintTable([0, 1], [0.5], [0, 0], [])  # type: ignore[arg-type,list-item]


# What is refused


def test_bad_input_is_named(rng: np.random.Generator) -> None:
    Z, U, y = problem(rng, 20, 4, 5)
    for bad_y, match in (
        (y[1:], "one class for each of the 20 rows of Z"),
        (y + 0.5, "y must hold integers"),
        (y + 5, r"y must hold classes from 0 to 4, got \d at row 0"),
        (y - 5, r"y must hold classes from 0 to 4, got -\d at row 0"),
    ):
        with pytest.raises(ValueError, match=match):
            hinge_embedding_loss(Z, U, bad_y)
    with pytest.raises(ValueError, match="the same columns"):
        hinge_embedding_loss(Z, U[:, 1:], y)
    with pytest.raises(ValueError, match="must have rows"):
        hinge_embedding_loss(Z[:0], U, y[:0])
    for margin in (-1, np.nan, np.inf, "x", np.ones(5)):
        with pytest.raises(ValueError, match="margin must be"):
            hinge_embedding_loss(Z, U, y, margin=margin)
    with pytest.raises(
        ValueError, match=r"margin must have shape \(classes, nodes\) = \(5, 5\), got \(4, 5\)"
    ):
        hinge_embedding_loss(Z, U, y, margin=np.ones((4, 5)))
    with pytest.raises(ValueError, match="margin contains NaN: the first is at row 0, column 0"):
        hinge_embedding_loss(Z, U, y, margin=np.full((5, 5), np.nan))
    with pytest.raises(ValueError, match="margin must not be negative, got a cost of -1"):
        hinge_embedding_loss(Z, U, y, margin=-np.eye(5))
    with pytest.raises(ValueError, match="gradient must be True or False, got 'no'"):
        hinge_embedding_loss(Z, U, y, gradient="no")  # type: ignore[arg-type]
    for name in ("similarity", "reduction", "negatives", "loss"):
        with pytest.raises(ValueError, match=f"{name} must be one of .*, got 'x'"):
            hinge_embedding_loss(Z, U, y, **{name: "x"})  # type: ignore[arg-type]
    for seed in (-1, 2**64, 0.5):
        with pytest.raises(ValueError, match="seed must be"):
            hinge_embedding_loss(Z, U, y, seed=seed)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="table has 6 nodes, but U has 5 rows"):
        hinge_embedding_loss(Z, U, y, table=ConstraintTable.from_lists([[(0, [5])]] * 5))
    with pytest.raises(TypeError, match="table must be a ConstraintTable"):
        hinge_embedding_loss(Z, U, y, table=[[(0, [1])]])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        hinge_embedding_loss(Z, U, y, sample_weight=-np.ones(20))
    with pytest.raises(ValueError, match="not zero"):
        hinge_embedding_loss(Z, U, y, sample_weight=np.zeros(20))
    U[3, 1] = np.nan
    with pytest.raises(ValueError, match="U contains NaN: the first is at row 3, column 1"):
        hinge_embedding_loss(Z, U, y)
    Z[7, 2] = np.inf
    with pytest.raises(ValueError, match="Z contains infinity: the first is at row 7, column 2"):
        hinge_embedding_loss(Z, U, y)


def test_numbers_beyond_the_type_of_the_others_are_named(rng: np.random.Generator) -> None:
    Z, U = rng.standard_normal((6, 2)).astype(np.float32), rng.standard_normal((3, 2)).astype(np.float32)
    y = np.zeros(6, dtype=int)
    with pytest.raises(ValueError, match=r"margin holds 1e\+100, which is out of the range of float32"):
        hinge_embedding_loss(Z, U, y, margin=np.full((3, 3), 1e100))
    with pytest.raises(ValueError, match=r"X holds .* out of the range of float32"):
        warp_epoch(Z.astype(float) * 1e100, y, np.ones((2, 2), np.float32), U, learning_rate=0.1)


def test_gradients_that_overflow_their_dtype_are_refused(rng):
    Z, U = (rng.normal(size=(n, 3)).astype(np.float32) for n in (6, 3))
    y = np.arange(6) % 3
    weights = np.full(6, 1e300)
    with pytest.raises(NumericalError, match="the gradient of Z overflows float32: scale the weights down"):
        hinge_embedding_loss(Z, U, y, reduction="sum", sample_weight=weights)
    value, grad_Z, _, _ = hinge_embedding_loss(
        Z.astype(float), U.astype(float), y, reduction="sum", sample_weight=weights
    )
    assert np.isfinite(value)
    assert np.isfinite(grad_Z).all()
