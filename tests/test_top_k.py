"""The exact search against a sort of all scores: sizes, ties, layouts, threads, what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastcca.functional import top_k
from reference import retrieval as ref

pytestmark = pytest.mark.core

SIMILARITIES = ["inner_product", "cosine", "euclidean"]


def check(queries, gallery, k, similarity, **options):
    """Equal to the reference: the same scores to rounding, and the same rows but where those are as good."""
    indices, scores = top_k(queries, gallery, k, similarity=similarity, **options)
    expected, best = ref.top_k(queries, gallery, k, similarity)
    assert indices.dtype == np.int64
    assert scores.dtype == np.result_type(queries, gallery)
    eps = np.finfo(scores.dtype).eps
    np.testing.assert_allclose(
        scores, best, rtol=4 * eps, atol=8 * eps * max(1.0, np.abs(best).max(initial=0))
    )
    np.testing.assert_array_equal(indices, expected)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "m", "d", "k"),
    [
        (1, 1, 1, 1),
        (2, 3, 1, 2),
        (3, 5, 2, 5),
        (5, 7, 3, 1),
        (7, 16, 5, 16),
        (8, 48, 16, 3),
        (9, 49, 15, 10),
        (15, 47, 17, 2),
        (17, 95, 31, 33),
        (33, 97, 33, 97),
        (1, 1000, 7, 5),
        (129, 257, 64, 10),
    ],
)
def test_sizes(rng, n, m, d, k, similarity, dtype):
    check(rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(m, d)).astype(dtype), k, similarity)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 20, 700])
def test_many_chunks_of_the_gallery(rng, similarity, dtype, k):
    """Chunks in several rounds, with thresholds from one to the next."""
    check(rng.normal(size=(11, 3)).astype(dtype), rng.normal(size=(40_000, 3)).astype(dtype), k, similarity)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_all_of_many_rows(rng, similarity):
    check(rng.normal(size=(3, 2)), rng.normal(size=(9000, 2)), 9000, similarity)


@pytest.mark.parametrize("k", [1, 3, 50])
def test_equal_scores_go_to_the_lower_row(rng, k):
    # Whole numbers: products, distances and their ties are exact, in hundreds of rows and across chunks.
    for dtype in (np.float32, np.float64):
        gallery = rng.integers(-2, 3, size=(20_000, 3)).astype(dtype)
        queries = rng.integers(-2, 3, size=(9, 3)).astype(dtype)
        for similarity in ("inner_product", "euclidean"):
            indices, scores = top_k(queries, gallery, k, similarity=similarity)
            expected, best = ref.top_k(queries, gallery, k, similarity)
            np.testing.assert_array_equal(indices, expected)
            np.testing.assert_array_equal(scores, best)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_rows_are_equal_wherever_they_lie(rng, similarity, dtype):
    few = rng.normal(size=(7, 13)).astype(dtype)
    gallery = few[rng.integers(0, 7, size=5000)]
    check(rng.normal(size=(10, 13)).astype(dtype), gallery, 900, similarity)
    same = np.ones((4000, 5), dtype)
    indices, _ = top_k(rng.normal(size=(2, 5)).astype(dtype), same, 30, similarity=similarity)
    np.testing.assert_array_equal(indices, [np.arange(30)] * 2)


def test_scores_that_rise_or_fall_along_the_gallery(rng):
    rising = np.linspace(0, 1, 30_000, dtype=np.float32)[:, None]
    for gallery in (rising, rising[::-1]):
        for similarity in ("inner_product", "euclidean"):
            check(np.array([[1.0], [-1.0], [0.5]], np.float32), gallery, 25, similarity)


def test_layouts_are_read_in_place(rng):
    base_g, base_q = rng.normal(size=(300, 40)), rng.normal(size=(30, 40))
    frozen = base_g.copy()
    frozen.flags.writeable = False
    expected = top_k(base_q[:, ::2].copy(), base_g[::-1, ::2].copy(), 7, similarity="euclidean")
    for gallery in (base_g[::-1, ::2], np.asfortranarray(base_g[::-1, ::2]), frozen[::-1, ::2]):
        for queries in (base_q[:, ::2], np.asfortranarray(base_q[:, ::2])):
            found = top_k(queries, gallery, 7, similarity="euclidean")
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a, b)


def test_dtypes_and_shapes_of_the_input(rng):
    gallery, queries = rng.normal(size=(50, 3)), rng.normal(size=(4, 3))
    assert top_k(queries.astype(np.float32), gallery, 2)[1].dtype == np.float64
    np.testing.assert_array_equal(top_k(queries[0], gallery, 2)[0], top_k(queries[:1], gallery, 2)[0])
    np.testing.assert_array_equal(top_k([[1, 0]], [[0, 1], [2, 0]], 1)[0], [[1]])
    for found in top_k(queries[:0], gallery, 2):
        assert found.shape == (0, 2)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bitwise_equal_for_every_number_of_threads(rng, similarity, dtype):
    gallery = rng.normal(size=(60_000, 9)).astype(dtype)
    queries = rng.normal(size=(150, 9)).astype(dtype)
    one = top_k(queries, gallery, 12, similarity=similarity, n_threads=1)
    for n_threads in (2, 7):
        for a, b in zip(
            one, top_k(queries, gallery, 12, similarity=similarity, n_threads=n_threads), strict=True
        ):
            assert a.tobytes() == b.tobytes()
    # and a query alone finds what it finds among others
    for a, b in zip(one, top_k(queries[77], gallery, 12, similarity=similarity), strict=True):
        assert a[77].tobytes() == b[0].tobytes()


def test_distances_far_from_the_origin(rng):
    """Squared lengths of 1e10 beside distances of 1: from float32 products nothing would be left of these."""
    gallery = (rng.normal(size=(4000, 20)) + 2e4).astype(np.float32)
    queries = gallery[:40] + rng.normal(scale=0.5, size=(40, 20)).astype(np.float32)
    check(queries, gallery, 10, "euclidean")
    indices, scores = top_k(gallery[:50], gallery, 1, similarity="euclidean")
    np.testing.assert_array_equal(indices[:, 0], np.arange(50))
    np.testing.assert_array_equal(scores, 0.0)  # from the difference itself


def test_rows_without_direction(rng):
    gallery = np.vstack([np.zeros(3), -np.ones(3), np.ones(3), np.zeros(3)])
    indices, scores = top_k([np.ones(3), np.zeros(3)], gallery, 4)
    np.testing.assert_array_equal(indices, [[2, 0, 3, 1], [0, 1, 2, 3]])
    np.testing.assert_allclose(scores, [[1, 0, 0, -1], [0, 0, 0, 0]], atol=1e-15)


@pytest.mark.parametrize("scale", [1e-15, 1e15])
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_small_and_large_numbers(rng, scale, similarity):
    gallery, queries = rng.normal(size=(200, 6)) * scale, rng.normal(size=(5, 6)) * scale
    for dtype in (np.float32, np.float64):
        indices, _ = top_k(queries.astype(dtype), gallery.astype(dtype), 9, similarity=similarity)
        expected, _ = ref.top_k(queries.astype(dtype), gallery.astype(dtype), 9, similarity)
        np.testing.assert_array_equal(indices, expected)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(SIMILARITIES), st.sampled_from([np.float32, np.float64]))
def test_any_small_whole_numbers(data, similarity, dtype):
    m, n, d = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 10)), data.draw(st.integers(1, 5))
    numbers = st.integers(-3, 3)
    gallery = data.draw(hnp.arrays(np.int8, (m, d), elements=numbers)).astype(dtype)
    queries = data.draw(hnp.arrays(np.int8, (n, d), elements=numbers)).astype(dtype)
    k = data.draw(st.integers(1, m))
    indices, scores = top_k(queries, gallery, k, similarity=similarity)
    expected, best = ref.top_k(queries, gallery, k, similarity)
    np.testing.assert_allclose(scores, best, atol=1e-6)
    if similarity != "cosine":  # whose ties rounding may break
        np.testing.assert_array_equal(indices, expected)
    assert all(len(set(row)) == k for row in indices.tolist())


@pytest.mark.parametrize(
    ("queries", "gallery", "options", "message"),
    [
        (np.ones((2, 3)), np.ones((4, 2)), {}, r"same columns, at least one, got \(4, 2\) and \(2, 3\)"),
        (np.ones((2, 0)), np.ones((4, 0)), {}, "0 feature"),
        (np.ones((2, 2)), np.ones((4, 2)), {"k": 5}, "k=5 is more than the 4 rows of the gallery"),
        (np.ones((2, 2)), np.ones((4, 2)), {"k": 0}, "k must be an integer >= 1, got 0"),
        (np.ones((2, 2)), np.ones((4, 2)), {"k": 2.0}, "got 2.0"),
        (np.ones((2, 2)), np.ones((0, 2)), {"k": 1}, "k=1 is more than the 0 rows"),
        (
            np.ones((2, 2)),
            np.ones((4, 2)),
            {"k": 1, "similarity": "manhattan"},
            "one of 'inner_product', .* got 'm",
        ),
        (np.ones((2, 2)), np.ones((4, 2)), {"k": 1, "n_threads": 0}, "n_threads must be"),
        (np.ones((2, 2)) * 1j, np.ones((4, 2)), {"k": 1}, "Complex data"),
        (np.full((2, 2), 1e200), np.ones((4, 2)), {"k": 1}, "squared length of a row overflows"),
        (np.ones((2, 2), np.float32), np.full((4, 2), 1e25, np.float32), {"k": 1}, "overflows"),
    ],
)
def test_bad_input(queries, gallery, options, message):
    with pytest.raises(ValueError, match=message):
        top_k(queries, gallery, **options)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize(("bad", "kind"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_non_finite_numbers_are_told(rng, similarity, bad, kind):
    clean = rng.normal(size=(9000, 4)).astype(np.float32)
    for row in (5, 8999):
        damaged = clean.copy()
        damaged[row, 2] = bad
        with pytest.raises(ValueError, match=f"gallery contains {kind}: the first is at row {row}, column 2"):
            top_k(clean[:3], damaged, 1, similarity=similarity)
        with pytest.raises(ValueError, match=f"queries contains {kind}: the first is at row {row}, column 2"):
            top_k(damaged, clean[:30], 1, similarity=similarity)


def test_distances_are_not_minus_zero():
    _, scores = top_k(np.eye(3), np.eye(3), 1, similarity="euclidean")
    assert not np.signbit(scores).any()


# ---- lengths at the end of the range ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "length"),
    [
        (np.float32, 1e-40),
        (np.float32, 1e-44),
        (np.float32, 1e-39),
        (np.float32, 1e-30),
        (np.float64, 1e-162),
        (np.float64, 1e-200),
        (np.float64, 1e-310),
        (np.float64, 5e-322),
    ],
)
@pytest.mark.parametrize("what", ["queries", "gallery", "both"])
def test_cosines_of_the_shortest_vectors(dtype, length, what):
    """A vector of few digits has a direction all the same: that of the numbers which it holds."""
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(20, 8)).astype(dtype), rng.normal(size=(300, 8)).astype(dtype)
    if what != "gallery":
        queries = (queries.astype(np.longdouble) * length).astype(dtype)
        queries[3] = 0
        queries[4] = [length, *[0] * 7]
    if what != "queries":
        gallery[::2] = (gallery[::2].astype(np.longdouble) * length).astype(dtype)
        gallery[6] = 0

    def unit(a):
        a = a.astype(np.longdouble)
        largest = np.abs(a).max(axis=1, keepdims=True)
        a = a / np.where(largest > 0, largest, 1)
        norm = np.sqrt((a * a).sum(axis=1, keepdims=True))
        return a / np.where(norm > 0, norm, 1)

    cosines = (unit(queries) @ unit(gallery).T).astype(np.float64)
    indices, scores = top_k(queries, gallery, 5)
    best = -np.sort(-cosines, axis=1)[:, :5]
    tolerance = 1e-6 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(scores, best, rtol=0, atol=tolerance)
    np.testing.assert_allclose(np.take_along_axis(cosines, indices, 1), best, rtol=0, atol=tolerance)
    for threads in (1, 2, 7):
        again = top_k(queries, gallery, 5, n_threads=threads)
        np.testing.assert_array_equal(indices, again[0])
        np.testing.assert_array_equal(scores, again[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_decaying_signal_finds_its_direction(dtype):
    """Powers of 10 down to the smallest number: every row of a direction finds that direction."""
    rng = np.random.default_rng(1)
    directions = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    info = np.finfo(dtype)
    exponents = np.arange(int(np.log10(info.smallest_subnormal)) + 4, 10)
    for exponent in exponents:
        rows = (directions.astype(np.longdouble) * np.longdouble(10) ** int(exponent)).astype(dtype)
        indices, scores = top_k(rows, directions.astype(dtype), 1)
        assert indices[:, 0].tolist() == list(range(6))
        assert np.all(scores > 0.99)
