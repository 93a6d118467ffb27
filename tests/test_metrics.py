"""Metrics against one-by-one computations."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from fastcca import metrics
from reference import estimators as ref


def test_total_correlation_is_the_sum_of_pearson_correlations(rng):
    Zx, Zy = rng.normal(size=(50, 4)) + 100.0, rng.normal(size=(50, 4))
    Zy[:, 0] += Zx[:, 0]
    expected = ref.correlations(Zx, Zy)
    np.testing.assert_allclose(metrics.column_correlations(Zx, Zy), expected, atol=1e-12)
    assert metrics.total_correlation(Zx, Zy) == pytest.approx(expected.sum(), abs=1e-12)
    assert metrics.total_correlation(Zx, Zy, k=2) == pytest.approx(expected[:2].sum(), abs=1e-12)
    w = rng.integers(0, 3, size=50)
    repeated = ref.correlations(np.repeat(Zx, w, axis=0), np.repeat(Zy, w, axis=0))
    np.testing.assert_allclose(metrics.column_correlations(Zx, Zy, sample_weight=w), repeated, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_columns_count_zero(rng, dtype):
    Zx, Zy = rng.normal(size=(2, 50, 2)).astype(dtype)
    Zx[:, 0] = 0.1
    Zx[::2, 0] = np.nextafter(dtype(0.1), dtype(1.0))  # rounding error alone
    assert metrics.column_correlations(Zx, Zy)[0] == 0.0
    assert metrics.column_correlations(Zx, Zy)[1] != 0.0
    assert metrics.column_correlations(np.zeros((3, 1)), Zy[:3, :1]).tolist() == [0.0]


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e200, 1e300])
def test_correlations_do_not_depend_on_the_scale(rng, scale):
    Zx = rng.standard_normal((50, 3)) + 5.0
    Zy = rng.standard_normal((50, 3)) + Zx
    w = rng.integers(0, 3, size=50)
    for weights in (None, w):
        expected = metrics.total_correlation(Zx, Zy, sample_weight=weights)
        assert expected > 1
        for x, y in ((scale * Zx, Zy), (Zx, scale * Zy), (scale * Zx, scale * Zy)):
            found = metrics.total_correlation(x, y, sample_weight=weights)
            assert found == pytest.approx(expected, abs=1e-12)
    assert metrics.column_correlations(np.full((50, 3), scale), Zy).tolist() == [0.0] * 3
    # rows that do not count set no scale
    Zx[w == 0] = 1e307
    expected = ref.correlations(np.repeat(Zx, w, axis=0), np.repeat(Zy, w, axis=0))
    np.testing.assert_allclose(metrics.column_correlations(Zx, Zy, sample_weight=w), expected, atol=1e-12)


def test_the_mean_of_the_largest_numbers_does_not_overflow():
    z = np.array([[1.7e308], [1.6e308], [1.5e308]])
    assert metrics.column_correlations(z, z)[0] == pytest.approx(1.0, abs=1e-12)


def slow_ranks(Zx, Zy, similarity):
    ranks = []
    for i, x in enumerate(Zx):
        if similarity == "cosine":
            near = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in Zy]
        else:
            near = [-np.linalg.norm(x - y) for y in Zy]
        ranks.append(1 + sum(value > near[i] + 1e-12 for value in near))
    return np.array(ranks, float)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_retrieval_matches_a_sort_of_each_query(rng, similarity):
    Zx = rng.normal(size=(61, 3)) + 0.5
    Zy = Zx + rng.normal(size=(61, 3))
    ranks = slow_ranks(Zx, Zy, similarity)
    np.testing.assert_array_equal(metrics.partner_ranks(Zx, Zy, similarity), ranks)
    assert metrics.median_rank(Zx, Zy, similarity=similarity) == np.median(ranks)
    for k in (1, 5, 61):
        assert metrics.recall_at_k(Zx, Zy, k, similarity=similarity) == np.mean(ranks <= k)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_equal_rows_share_their_ranks(similarity):
    Z = np.ones((5, 2))
    np.testing.assert_array_equal(metrics.partner_ranks(Z, Z, similarity), 3.0)
    assert metrics.recall_at_k(Z, Z, 2, similarity=similarity) == pytest.approx(0.4)  # by chance
    zeros = np.zeros((4, 2))
    assert metrics.recall_at_k(zeros, zeros, 1, similarity=similarity) == pytest.approx(0.25)


def test_many_queries_are_ranked_in_blocks(rng):
    Z = rng.normal(size=(3000, 2))
    order = rng.permutation(3000)
    ranks = metrics.partner_ranks(Z[order], Z[order], "euclidean")
    np.testing.assert_array_equal(ranks, 1.0)


def test_mean_average_precision(rng):
    Zx, Zy = rng.normal(size=(7, 3)), rng.normal(size=(20, 3))
    lx, ly = rng.integers(0, 3, size=7), rng.integers(0, 3, size=20)
    lx[0] = 9  # has no relevant row: does not count
    expected = []
    for x, label in zip(Zx[1:], lx[1:], strict=True):
        order = np.argsort([-(x @ y) / np.linalg.norm(y) for y in Zy])
        found, precisions = 0, []
        for place, row in enumerate(order, start=1):
            if ly[row] == label:
                found += 1
                precisions.append(found / place)
        expected.append(np.mean(precisions))
    assert metrics.mean_average_precision(Zx, Zy, lx, ly) == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, Z: m.total_correlation(Z, Z[:, :1]), r"same shape, got \(4, 2\) and \(4, 1\)"),
        (lambda m, Z: m.total_correlation(Z, Z, k=3), "k=3 is more than the 2 columns"),
        (lambda m, Z: m.total_correlation(Z[:1], Z[:1]), "Zx has 1 sample .* minimum of 2"),
        (
            lambda m, Z: m.total_correlation(Z, Z * np.nan),
            "Input Zy contains NaN: the first is at row 0, column 0",
        ),
        (lambda m, Z: m.recall_at_k(Z, Z, 0), "k must be an integer >= 1, got 0"),
        (
            lambda m, Z: m.median_rank(Z, Z, similarity="manhattan"),
            "one of 'cosine', 'euclidean', got 'manhattan'",
        ),
        (
            lambda m, Z: m.mean_average_precision(Z, Z, [1, 2], [1] * 4),
            r"labels_x must have shape \(4,\), got \(2,\)",
        ),
        (lambda m, Z: m.mean_average_precision(Z, Z, [1] * 4, [2] * 4), "no label in common"),
        (
            lambda m, Z: m.mean_average_precision(Z, Z[:, :1], [1] * 4, [2] * 4),
            "number of columns, got 2 and 1",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(metrics, np.arange(8.0).reshape(4, 2))


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-9, 1e160, 1e307])
def test_ranks_do_not_depend_on_the_scale(rng, similarity, scale):
    Zx = rng.standard_normal((20, 4))
    Zy = Zx + 0.5 * rng.standard_normal((20, 4))
    ranks = slow_ranks(Zx, Zy, similarity)
    np.testing.assert_array_equal(metrics.partner_ranks(scale * Zx, scale * Zy, similarity), ranks)
    labels = np.arange(20) % 4
    assert metrics.mean_average_precision(
        scale * Zx, scale * Zy, labels, labels, similarity=similarity
    ) == metrics.mean_average_precision(Zx, Zy, labels, labels, similarity=similarity)


def test_one_distant_row_does_not_blur_the_others(rng):
    Zx = rng.standard_normal((20, 4))
    Zy = Zx + 0.5 * rng.standard_normal((20, 4))
    ranks = slow_ranks(Zx, Zy, "euclidean")
    far = np.full((1, 4), 1e9)
    ranks_with_far = metrics.partner_ranks(np.vstack([Zx, far]), np.vstack([Zy, far]), "euclidean")
    np.testing.assert_array_equal(ranks_with_far, [*ranks, 1.0])


@pytest.mark.parametrize("k", [0, -1, 1.0, 1.5, np.nan, True, "1", None])
def test_k_is_a_whole_number(k):
    with pytest.raises(ValueError, match="k must be an integer >= 1, got"):
        metrics.recall_at_k(np.eye(3), np.eye(3), k)
    with pytest.raises(ValueError, match="k must be an integer >= 1, got"):
        metrics.hit_at_k([0, 1, 2], np.eye(3), k)


def every_order(near, relevant):
    """Flags of the relevant rows in every order of a gallery by similarity, tied rows in any."""
    groups = [np.flatnonzero(near == value) for value in sorted(set(near), reverse=True)]
    for orders in itertools.product(*(itertools.permutations(group) for group in groups)):
        yield relevant[np.concatenate(orders).astype(int)]


@pytest.mark.parametrize("exclude_self", [False, True])
def test_ties_count_as_the_mean_over_all_orders(rng, exclude_self):
    near_of = {0: [1.0, 0.0], 1: [0.0, 1.0], 2: [1.0, 1.0]}
    for _ in range(6):
        Z = np.array([near_of[i] for i in rng.integers(3, size=6)])
        labels = rng.integers(3, size=6)
        precisions, ranks, hits = [], [], {1: [], 2: [], 4: []}
        for i in range(6):
            rows = np.delete(np.arange(6), i) if exclude_self else np.arange(6)
            near = np.round(-((Z[rows] - Z[i]) ** 2).sum(axis=1), 9)
            relevant = labels[rows] == labels[i]
            if not relevant.any():
                ranks.append(np.inf)
                continue
            orders = list(every_order(near, relevant))
            places = [np.flatnonzero(order) + 1 for order in orders]
            precisions.append(np.mean([np.mean(np.arange(1, len(p) + 1) / p) for p in places]))
            ranks.append(np.mean([p[0] for p in places]))
            for k in hits:
                hits[k].append(np.mean([p[0] <= k for p in places]))
        how = {"similarity": "euclidean", "exclude_self": exclude_self}
        ids = {"ids_x": labels, "ids_y": labels}
        found = metrics.mean_average_precision(Z, Z, labels, labels, **how)
        assert found == pytest.approx(np.mean(precisions), abs=1e-12)
        np.testing.assert_allclose(metrics.partner_ranks(Z, Z, **ids, **how), ranks, rtol=1e-12)
        median = np.median([rank for rank in ranks if np.isfinite(rank)])
        assert metrics.median_rank(Z, Z, **ids, **how) == pytest.approx(median)
        for k, hit in hits.items():
            assert metrics.recall_at_k(Z, Z, k, **ids, **how) == pytest.approx(np.mean(hit), abs=1e-12)


def test_average_precision_of_a_collapsed_model_does_not_depend_on_the_order_of_the_rows(rng):
    C, y = np.ones((200, 8)), np.repeat(np.arange(10), 20)
    whole = metrics.mean_average_precision(C, C, y, y)
    assert metrics.mean_average_precision(C[:20], C, y[:20], y) == pytest.approx(whole)
    order = rng.permutation(200)
    assert metrics.mean_average_precision(C[order], C, y[order], y) == pytest.approx(whole)
    simulated = []
    for _ in range(3000):
        places = np.sort(rng.permutation(200)[:20]) + 1
        simulated.append(np.mean(np.arange(1, 21) / places))
    assert whole == pytest.approx(np.mean(simulated), abs=5 * np.std(simulated) / np.sqrt(3000))


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_average_precision_equals_scikit_learns_where_nothing_ties(rng, similarity):
    Z, y = rng.normal(size=(40, 5)), np.repeat(np.arange(8), 5)
    expected = []
    for i in range(40):
        others = np.arange(40) != i
        if similarity == "cosine":
            near = cosine_similarity(Z[[i]], Z[others])[0]
        else:
            near = -((Z[others] - Z[i]) ** 2).sum(axis=1)
        expected.append(average_precision_score(y[others] == y[i], near))
    found = metrics.mean_average_precision(Z, Z, y, y, similarity=similarity, exclude_self=True)
    assert found == pytest.approx(np.mean(expected), abs=1e-12)
    rows = rng.permutation(40)[:15]
    found = metrics.mean_average_precision(Z[rows], Z, y[rows], y, similarity=similarity, exclude_self=rows)
    assert found == pytest.approx(np.mean(np.array(expected)[rows]), abs=1e-12)


def test_several_captions_an_image(rng):
    images = rng.normal(size=(60, 8))
    captions = np.repeat(images, 5, axis=0) + 2 * rng.normal(size=(300, 8))
    image, caption = np.array([f"image{i}" for i in range(60)]), np.repeat(np.arange(60), 5)
    of_caption = image[caption]
    near = cosine_similarity(captions, images)
    order = np.argsort(-near, axis=1)
    for k in (1, 5):
        found = metrics.recall_at_k(captions, images, k, ids_x=of_caption, ids_y=image)
        assert found == np.mean((order[:, :k] == caption[:, None]).any(axis=1))
        back = np.argsort(-near.T, axis=1)[:, :k]
        found = metrics.recall_at_k(images, captions, k, ids_x=image, ids_y=of_caption)
        assert found == np.mean((caption[back] == np.arange(60)[:, None]).any(axis=1))
    first = (caption[np.argsort(-near.T, axis=1)] == np.arange(60)[:, None]).argmax(axis=1) + 1
    assert metrics.median_rank(images, captions, ids_x=image, ids_y=of_caption) == np.median(first)
    with_stranger = metrics.partner_ranks(images[:2], captions, ids_x=["image0", "new"], ids_y=of_caption)
    np.testing.assert_array_equal(with_stranger, [first[0], np.inf])
    one = metrics.recall_at_k(images[:2], captions, ids_x=["image0", "new"], ids_y=of_caption)
    assert one == float(first[0] == 1)  # the stranger does not count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"same shape, got \(4, 2\) and \(3, 2\); where they are not paired row by row, ids_x and ids_y"),
        ({"ids_x": [1, 2, 3, 4]}, "ids_x and ids_y must be given together"),
        ({"ids_x": [1, 2], "ids_y": [1, 2, 3]}, r"ids_x must have shape \(4,\), got \(2,\)"),
        ({"ids_x": [1, 2, 3, 4], "ids_y": [5, 6, 7]}, "no id in common"),
        ({"ids_x": [1, 2, 3, 4], "ids_y": ["1", "2", "3"]}, "no id in common"),
        ({"ids_x": [1, 2, 3, 4], "ids_y": [1, 2, 3], "exclude_self": True}, "4 queries and a gallery of 3"),
        ({"ids_x": [1, 2, 3, 4], "ids_y": [1, 2, 3], "exclude_self": [0, 1, 2, 3]}, r"from -1 \(none\) to 2"),
    ],
)
def test_galleries_that_do_not_fit(options, message):
    Z = np.arange(8.0).reshape(4, 2)
    for metric in (metrics.recall_at_k, metrics.median_rank):
        with pytest.raises(ValueError, match=message):
            metric(Z, Z[:3], **options)
    with pytest.raises(ValueError, match="leaves no partner"):
        metrics.median_rank(Z, Z, exclude_self=True)
