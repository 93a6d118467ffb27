"""Indexes: the kernel behind them, faiss's candidates, search across views, by image and by label."""

import io
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fastcca
from fastcca import CCA, KernelCCA
from fastcca.datasets import make_two_views
from fastcca.embedding import JointEmbedding, NearestClassMean, RidgeEmbedding, UnifiedSemanticEmbedding
from fastcca.functional import top_k
from fastcca.metrics import recall_at_k
from fastcca.retrieval import CrossViewSearch, LabelSearch, SearchIndex
from fastcca.taxonomy import Taxonomy
from reference import retrieval as ref

SIMILARITIES = ["inner_product", "cosine", "euclidean"]
faiss_installed = pytest.mark.skipif(find_spec("faiss") is None, reason="faiss is not installed")


def equal(a, b):
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


# ---- one gallery -------------------------------------------------------------------------------------


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_index_is_the_kernel(rng, similarity):
    gallery, queries = rng.normal(size=(300, 7)), rng.normal(size=(20, 7))
    index = SearchIndex(similarity, n_threads=1).fit(gallery)
    assert index.gallery_ is gallery
    found = index.search(queries, 5)
    assert equal(found, top_k(queries, gallery, 5, similarity=similarity))
    np.testing.assert_array_equal(found.indices, ref.top_k(queries, gallery, 5, similarity)[0])
    assert index.search(queries[3], 2).indices.shape == (1, 2)
    assert repr(index) == f"SearchIndex({similarity!r}, backend='core', gallery of (300, 7))"


def test_index_refusals(rng):
    for arguments, message in (
        (("manhattan",), "similarity must be one of"),
        (("cosine", {"backend": "annoy"}), "backend must be one of 'core', 'faiss', got 'annoy'"),
        (("cosine", {"n_threads": 0}), "n_threads"),
    ):
        with pytest.raises(ValueError, match=message):
            SearchIndex(arguments[0], **dict(*arguments[1:]))
    with pytest.raises(ValueError, match="call fit before search"):
        SearchIndex().search(np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"k=10 is more than the 3 rows of the gallery"):
        SearchIndex().fit(np.ones((3, 2))).search(np.ones((1, 2)))
    with pytest.raises(ValueError, match="gallery: Expected 2D array"):
        SearchIndex().fit(np.ones(3))


# ---- faiss -------------------------------------------------------------------------------------------


class SlowIndex:
    """What faiss's flat indexes do, in NumPy; rounded so that ties and near ties are decided badly."""

    def __init__(self, d, sign=1):
        self.d, self.sign = d, sign

    def add(self, vectors):
        assert vectors.dtype == np.float32
        assert vectors.shape[1] == self.d
        self.vectors = vectors.copy()
        self.ntotal = len(vectors)

    def search(self, queries, k):
        similarity = "inner_product" if self.sign == 1 else "euclidean"
        scores = self.sign * ref.scores(queries, self.vectors, similarity).astype(np.float32)
        # the higher row first among equals: not what the answer wants
        order = np.lexsort((-np.broadcast_to(np.arange(self.ntotal), scores.shape), -scores))[:, :k]
        return self.sign * np.take_along_axis(scores, order, axis=1), order.astype(np.int64)


@pytest.fixture
def slow_faiss(monkeypatch):
    threads = [3]
    module = SimpleNamespace(
        IndexFlatIP=SlowIndex,
        IndexFlatL2=lambda d: SlowIndex(d, -1),
        omp_get_max_threads=lambda: threads[-1],
        omp_set_num_threads=threads.append,
        __spec__=SimpleNamespace(name="faiss"),
    )
    monkeypatch.setitem(sys.modules, "faiss", module)
    return threads


@pytest.fixture(params=["in NumPy", pytest.param("itself", marks=faiss_installed)])
def faiss(request):
    return request.getfixturevalue("slow_faiss") if request.param == "in NumPy" else None


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_faiss_gives_the_same_answer(faiss, rng, similarity):
    gallery = rng.normal(size=(2000, 16)).astype(np.float32)
    queries = rng.normal(size=(50, 16)).astype(np.float32)
    index = SearchIndex(similarity, backend="faiss").fit(gallery)
    assert index.backend_ == "faiss"
    for k in (1, 10, 1990, 2000):
        assert equal(index.search(queries, k), top_k(queries, gallery, k, similarity=similarity))
    assert equal(index.search(queries[:0], 3), top_k(queries[:0], gallery, 3, similarity=similarity))
    # queries of float64 are taken as they are
    doubles = queries.astype(np.float64)
    assert equal(index.search(doubles, 3), top_k(doubles, gallery, 3, similarity=similarity))


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_ties_beyond_faisss_candidates_are_decided_by_the_core(faiss, rng, similarity):
    gallery = rng.normal(size=(400, 4)).astype(np.float32)
    gallery[100:200] = gallery[7]  # a hundred equals
    queries = np.vstack([gallery[7], rng.normal(size=(30, 4))]).astype(np.float32)
    index = SearchIndex(similarity, backend="faiss").fit(gallery)
    found = index.search(queries, 5)
    assert equal(found, top_k(queries, gallery, 5, similarity=similarity))
    if similarity != "inner_product":
        np.testing.assert_array_equal(found.indices[0], [7, 100, 101, 102, 103])


def test_faiss_keeps_its_threads(slow_faiss, rng):
    gallery = rng.normal(size=(50, 4)).astype(np.float32)
    SearchIndex(backend="faiss", n_threads=2).fit(gallery).search(gallery, 3)
    assert slow_faiss == [3, 2, 3]


def test_what_faiss_cannot_do_the_core_does(faiss, rng):
    gallery = rng.normal(size=(50, 4))
    index = SearchIndex(backend="faiss").fit(gallery)
    assert index.backend_ == "core"
    assert equal(index.search(gallery, 3), top_k(gallery, gallery, 3))
    for similarity in SIMILARITIES:
        bad = gallery.astype(np.float32)
        index = SearchIndex(similarity, backend="faiss").fit(bad.copy())
        bad[5, 2] = np.inf
        with pytest.raises(ValueError, match="queries contains infinity: the first is at row 5, column 2"):
            index.search(bad, 1)
        index = SearchIndex(similarity, backend="faiss").fit(bad)
        with pytest.raises(ValueError, match="gallery contains infinity: the first is at row 5, column 2"):
            index.search(gallery.astype(np.float32), 1)


def test_faiss_must_be_there(monkeypatch):
    monkeypatch.setattr("fastcca.retrieval._index.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'fastcca\[faiss\]'"):
        SearchIndex(backend="faiss")


# ---- across views ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def views():
    return make_two_views(1200, (8, 6), (0.99, 0.95, 0.9, 0.6, 0.2), random_state=0)


@pytest.mark.parametrize(
    "model",
    [CCA(reg=1e-3), KernelCCA(5, rank=60, random_state=0), JointEmbedding(5, n_epochs=2, random_state=0)],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("gallery_view", ["x", "y"])
def test_search_across_views(views, model, gallery_view):
    model.fit(views.X[:1000], views.y[:1000])
    held_out = {"x": views.X[1000:], "y": views.y[1000:]}
    query_view = "x" if gallery_view == "y" else "y"
    search = CrossViewSearch(model, gallery_view=gallery_view).fit(held_out[gallery_view])
    found = search.search(held_out[query_view], 5)
    projected = {"x": model.transform(held_out["x"]), "y": model.transform_y(held_out["y"])}
    similarity = getattr(model, "similarity", "cosine")
    indices, scores = ref.top_k(projected[query_view], projected[gallery_view], 5, similarity)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.scores, scores, atol=1e-12)
    # the partner among the five best, as the metric counts it
    hits = (found.indices == np.arange(200)[:, None]).any(axis=1).mean()
    assert hits == recall_at_k(projected[query_view], projected[gallery_view], 5, similarity=similarity)
    # a row of the gallery's own view finds itself
    own = search.search(held_out[gallery_view][:9], 1, view=gallery_view)
    np.testing.assert_array_equal(own.indices[:, 0], np.arange(9))


def test_variates_weighted_by_their_correlations(views):
    model = CCA().fit(views.X[:1000], views.y[:1000])
    x, y = views.X[1000:], views.y[1000:]
    for power in (1.0, 4.0):
        search = CrossViewSearch(model, correlation_power=power).fit(y)
        weights = model.canonical_correlations_**power
        expected, _ = ref.top_k(model.transform(x) * weights, model.transform_y(y) * weights, 3, "cosine")
        np.testing.assert_array_equal(search.search(x, 3).indices, expected)
    assert search.index_.gallery_.dtype == np.float64
    # pairs that hardly agree are noise in a search: weighting finds more partners
    plain, weighted = (
        (
            CrossViewSearch(model, correlation_power=p).fit(y).search(x, 1).indices[:, 0] == np.arange(200)
        ).mean()
        for p in (0.0, 1.0)
    )
    assert weighted > plain + 0.05


def test_float32_stays_float32(views):
    x, y = views.X.astype(np.float32), views.y.astype(np.float32)
    search = CrossViewSearch(CCA().fit(x, y), correlation_power=1.0).fit(y)
    assert search.index_.gallery_.dtype == np.float32
    assert search.search(x[:3], 2).scores.dtype == np.float32


def test_cross_view_refusals(views):
    model = CCA().fit(views.X, views.y)
    with pytest.raises(TypeError, match="RidgeEmbedding has no transform_y"):
        CrossViewSearch(RidgeEmbedding())
    with pytest.raises(ValueError, match="gallery_view must be one of 'x', 'y', got 'z'"):
        CrossViewSearch(model, gallery_view="z")
    with pytest.raises(ValueError, match="correlation_power must be a finite number >= 0, got -1"):
        CrossViewSearch(model, correlation_power=-1)
    with pytest.raises(ValueError, match="correlation_power must be a finite number >= 0, got 'a'"):
        CrossViewSearch(model, correlation_power="a")
    with pytest.raises(TypeError, match="canonical_correlations_, which a CCA does not have"):
        CrossViewSearch(CCA(), correlation_power=1)
    with pytest.raises(ValueError, match="call fit before search"):
        CrossViewSearch(model).search(views.X)
    search = CrossViewSearch(model).fit(views.y)
    with pytest.raises(ValueError, match="view must be one of 'x', 'y', got 'X'"):
        search.search(views.X, view="X")
    with pytest.raises(ValueError, match="6 features, but CCA is expecting 8"):
        search.search(views.y)


# ---- by image and by label ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clusters():
    rng = np.random.default_rng(3)
    y = np.repeat(["cat", "dog", "whale"], 40)
    X = rng.normal(size=(120, 5)) + np.repeat(rng.normal(scale=4, size=(3, 5)), 40, axis=0)
    return X, y


@pytest.mark.parametrize("kind", [NearestClassMean, RidgeEmbedding])
def test_search_by_image_and_by_label(clusters, kind):
    X, y = clusters
    model = kind().fit(X[::2], y[::2])
    gallery, labels = X[1::2], y[1::2]
    search = LabelSearch(model).fit(gallery)
    z = model.transform(gallery)
    by_label = search.search_labels(["whale", "cat"], 7)
    expected = ref.top_k(model.label_embedding_[[2, 0]], z, 7, "euclidean")
    np.testing.assert_array_equal(by_label.indices, expected[0])
    np.testing.assert_allclose(by_label.scores, expected[1], atol=1e-12)
    # the decision function has the same distances
    np.testing.assert_allclose(
        -model.decision_function(gallery)[by_label.indices[0], 2], by_label.scores[0], atol=1e-9
    )
    assert (labels[by_label.indices] == [["whale"], ["cat"]]).all()
    assert equal(search.search_labels("whale", 7), [a[:1] for a in by_label])
    by_image = search.search(X[:4:2], 5)
    np.testing.assert_array_equal(by_image.indices, ref.top_k(model.transform(X[:4:2]), z, 5, "euclidean")[0])
    assert equal(search.search_points(model.label_embedding_[2], 7), [a[:1] for a in by_label])


def test_the_models_similarity_counts(rng):
    model = SimpleNamespace(
        transform=lambda X: np.asarray(X),
        classes_=np.array([10, 20]),
        label_embedding_=np.array([[1.0, 0.0], [0.0, 1.0]]),
        similarity="cosine",
    )
    gallery = rng.normal(size=(30, 2))
    found = LabelSearch(model).fit(gallery).search_labels([20], 4)
    np.testing.assert_array_equal(found.indices, ref.top_k([[0.0, 1.0]], gallery, 4, "cosine")[0])


def test_search_by_superclass_and_by_a_class_without_samples(clusters):
    X, y = clusters
    tree = Taxonomy.from_dict({"animal": {"carnivore": ["cat", "dog", "fox"], "whale": None}})
    model = UnifiedSemanticEmbedding(tree, n_epochs=20).fit(X, y).with_classes(["fox"])
    search = LabelSearch(model).fit(X)
    points = np.vstack([model.superclass_embedding_, model.label_embedding_])
    labels = [*model.superclasses_, *model.classes_]
    assert {"carnivore", "fox", "cat"} <= set(labels)
    z = model.transform(X)
    for label, point in zip(labels, points, strict=True):
        found = search.search_labels(label, 5)
        np.testing.assert_array_equal(found.indices, ref.top_k(point[None], z, 5, "euclidean")[0])
    assert set(y[search.search_labels("carnivore", 5).indices[0]]) <= {"cat", "dog"}


def test_label_search_refusals(clusters):
    X, y = clusters
    with pytest.raises(TypeError, match="a CCA has no classes_ and no label_embedding_"):
        LabelSearch(CCA())
    model = RidgeEmbedding().fit(X, y)
    with pytest.raises(ValueError, match="call fit before search"):
        LabelSearch(model).search(X)
    with pytest.raises(
        ValueError, match=r"does not know the labels \['cow'\]; its classes are 'cat', 'dog', 'whale'"
    ):
        LabelSearch(model).fit(X).search_labels(["cat", "cow"])


# ---- files, rows that come and go, large galleries ---------------------------------------------------


def saved(search):
    memory = io.BytesIO()
    search.save(memory)
    memory.seek(0)
    return fastcca.load(memory)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_index_in_a_file(faiss, rng, dtype):
    gallery = rng.normal(size=(60, 5)).astype(dtype)
    for options in ({}, {"backend": "faiss"}):
        index = SearchIndex("euclidean", **options).fit(gallery, ids=[f"row {i}" for i in range(60)])
        index.search(gallery[:2], 1)
        loaded = saved(index)
        assert repr(loaded) == repr(index)
        assert equal(loaded.search(gallery[:7], 4), index.search(gallery[:7], 4))
        assert loaded.ids_.tolist() == index.ids_.tolist()
    with pytest.raises(ValueError, match="no gallery yet: call fit before save"):
        SearchIndex().save(io.BytesIO())


def test_searches_in_files(views, clusters):
    model = CCA(reg=1e-3).fit(views.X[:1000], views.y[:1000])
    search = CrossViewSearch(model, correlation_power=1.0, n_threads=1).fit(views.y[1000:])
    loaded = saved(search)
    assert (loaded.correlation_power, loaded.gallery_view, loaded.n_threads) == (1.0, "y", 1)
    assert equal(loaded.search(views.X[1000:1020], 3), search.search(views.X[1000:1020], 3))
    assert loaded.model.moments_ is None  # of no use to a search
    X, y = clusters
    labels = LabelSearch(NearestClassMean().fit(X, y)).fit(X, ids=np.arange(120) + 1000)
    loaded = saved(labels)
    assert equal(loaded.search_labels("whale", 5), labels.search_labels("whale", 5))
    np.testing.assert_array_equal(loaded.ids_, labels.ids_)


def test_a_search_of_networks_in_a_file(views):
    pytest.importorskip("torch")
    from fastcca.deep import DeepCCA

    model = DeepCCA(3, hidden=(8,), n_epochs=1, random_state=0).fit(views.X[:300], views.y[:300])
    search = CrossViewSearch(model).fit(views.y[:50])
    assert equal(saved(search).search(views.X[:5], 2), search.search(views.X[:5], 2))


def test_rows_that_come_and_go(faiss, rng):
    rows = rng.normal(size=(40, 6)).astype(np.float32)
    for options in ({}, {"backend": "faiss"}):
        index = SearchIndex(**options).fit(rows[:20])
        before = index.gallery_
        index.search(rows[:3], 2)
        index.add(rows[20:30]).remove([3, 25]).add(rows[30:])
        assert before is not index.gallery_
        kept = np.delete(np.arange(40), [3, 25])
        np.testing.assert_array_equal(index.ids_, kept)
        found = index.search(rows[5:6], 4)
        expected = top_k(rows[5:6], rows[kept], 4)
        assert equal(found, expected)
        np.testing.assert_array_equal(index.ids_[found.indices], kept[expected[0]])
        assert index.remove(5).search(rows[5:6], 1).indices[0, 0] != 5


def test_ids_of_a_gallery(rng):
    rows = rng.normal(size=(4, 3))
    index = SearchIndex().fit(rows, ids=["a", "b", "c", "d"])
    index.add(rows[:1] + 1, ids=["e"]).remove("b")
    assert index.ids_.tolist() == ["a", "c", "d", "e"]
    for call, match in (
        (lambda: index.add(rows), "ids must be given"),
        (lambda: index.add(rows[:1], ["a"]), "ids must be different, a is given twice"),
        (lambda: index.add(rows[:1], ["x", "y"]), r"ids must have shape \(1,\)"),
        (lambda: index.add(rows[:, :2]), "rows must have 3 columns, got 2"),
        (lambda: index.remove("z"), "there is no row with the id z"),
        (lambda: index.remove(["a", "c", "d", "e"]), "remove would leave no row"),
        (lambda: SearchIndex().fit(rows, ids=[0.5, 1, 2, 3]), "ids must be integers or text"),
        (lambda: SearchIndex().fit(rows, ids=[1, 1, 2, 3]), "1 is given twice"),
        (lambda: SearchIndex().add(rows), "call fit before add"),
        (lambda: SearchIndex().remove(1), "call fit before remove"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    assert index.ids_.tolist() == ["a", "c", "d", "e"]
    single = SearchIndex().fit(rows.astype(np.float32)).add(rows)
    assert single.gallery_.dtype == np.float32


def test_searches_grow(views, clusters):
    model = CCA(reg=1e-3).fit(views.X[:1000], views.y[:1000])
    whole = CrossViewSearch(model, correlation_power=2.0).fit(views.y[1000:])
    grown = CrossViewSearch(model, correlation_power=2.0).fit(views.y[1000:1100]).add(views.y[1100:])
    assert equal(grown.search(views.X[1000:1050], 3), whole.search(views.X[1000:1050], 3))
    assert grown.remove(np.arange(100)).ids_.tolist() == list(range(100, 200))
    X, y = clusters
    labels = LabelSearch(NearestClassMean().fit(X, y)).fit(X[:50]).add(X[50:]).remove([0])
    expected = LabelSearch(labels.model).fit(X[1:])
    assert equal(labels.search_labels("cat", 5), expected.search_labels("cat", 5))


def test_large_galleries_are_read_block_by_block(views, tmp_path, monkeypatch):
    from fastcca.retrieval import _saved

    model = CCA(reg=1e-3).fit(views.X[:1000], views.y[:1000])
    np.save(tmp_path / "y.npy", views.y)
    gallery = np.load(tmp_path / "y.npy", mmap_mode="r")
    whole = CrossViewSearch(model).fit(gallery)
    seen = []
    transform = model.transform_y
    monkeypatch.setattr(model, "transform_y", lambda rows: (seen.append(len(rows)), transform(rows))[1])
    monkeypatch.setattr(_saved, "BLOCK", 6 * 500)
    parts = CrossViewSearch(model).fit(gallery)
    assert seen == [500, 500, 200]
    np.testing.assert_allclose(parts.index_.gallery_, whole.index_.gallery_, atol=1e-12)
    np.testing.assert_array_equal(parts.search(views.X, 1).indices, whole.search(views.X, 1).indices)
    bad = views.y.copy()
    bad[600, 2] = np.nan
    with pytest.raises(ValueError, match=r"row 100, column 2 \(counted from row 500\)"):
        CrossViewSearch(model).fit(bad)


# ---- the documentation's page ------------------------------------------------------------------------

PAGE = Path(__file__).parents[1] / "docs" / "retrieval.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")
def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)
    hits = [(names[way] == names["partners"]).mean() for way in ("plain", "better")]
    np.testing.assert_allclose(hits, [0.62, 0.91], atol=0.015)  # as the page says
    assert set(names["names"][1::2][names["whales"].indices[0]]) == {"whale"}
    assert set(names["names"][1::2][names["similar"].indices[0]]) == {"cat"}
    np.testing.assert_array_equal(names["found"].indices[:, 0], [0, 1, 2])
    np.testing.assert_array_equal(names["found"].scores[:, 0], 0.0)


# ---- faiss's other indexes -----------------------------------------------------------------------------


@faiss_installed
@pytest.mark.parametrize("similarity", ["cosine", "inner_product", "euclidean"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_index_of_faisss_factory(rng, similarity, dtype):
    gallery, queries = (rng.normal(size=(n, 8)).astype(dtype) for n in (400, 30))
    exact = SearchIndex(similarity).fit(gallery).search(queries, 5)
    # all cells are visited, so that nothing is missed
    every = {"index_factory": "IVF8,Flat", "index_parameters": "nprobe=8"}
    index = SearchIndex(similarity, backend="faiss", **every).fit(gallery, ids=np.arange(400) + 1000)
    found = index.search(queries, 5)
    assert index.backend_ == "faiss"
    np.testing.assert_array_equal(found.indices, exact.indices)
    np.testing.assert_allclose(found.scores, exact.scores, rtol=1e-5, atol=1e-6)
    assert found.scores.dtype == dtype
    np.testing.assert_array_equal(index.ids_[found.indices], exact.indices + 1000)
    # one cell: rows of it, in the order of their scores, and nothing where it has no more
    few = SearchIndex(similarity, backend="faiss", index_factory="IVF64,Flat").fit(gallery)
    found = few.search(queries, 40)
    assert (found.indices < 0).any()
    worst = np.inf if similarity == "euclidean" else -np.inf
    every = SearchIndex(similarity).fit(gallery).search(queries, 400)
    for rows, scores, all_rows, all_scores in zip(*found, *every, strict=True):
        there = rows >= 0
        assert there[: there.sum()].all()
        assert (scores[~there] == worst).all()
        known = dict(zip(all_rows.tolist(), all_scores.tolist(), strict=True))
        np.testing.assert_allclose(scores[there], [known[row] for row in rows[there]], rtol=1e-5, atol=1e-6)
        places = [all_rows.tolist().index(row) for row in rows[there]]
        assert places == sorted(places)


@faiss_installed
def test_an_index_of_the_factory_comes_and_goes(rng, tmp_path):
    gallery = rng.normal(size=(300, 6)).astype(np.float32)
    options = {"index_factory": "IVF4,Flat", "index_parameters": "nprobe=4"}
    index = SearchIndex(backend="faiss", **options).fit(gallery[:200])
    index.search(gallery[:3], 2)
    index.add(gallery[200:]).remove([0, 1])
    found = index.search(gallery[[5, 250]], 1)
    np.testing.assert_array_equal(index.ids_[found.indices], [[5], [250]])
    index.save(tmp_path / "index.safetensors")
    again = fastcca.load(tmp_path / "index.safetensors")
    assert again.index_factory == "IVF4,Flat"
    assert equal(again.search(gallery[:20], 5), index.search(gallery[:20], 5))
    views = make_two_views(300, (6, 5), (0.99, 0.98, 0.97), random_state=0)
    model = CCA(3).fit(views.X, views.y)
    search = CrossViewSearch(model, backend="faiss", **options).fit(views.y)
    assert search.index_.index_factory == "IVF4,Flat"
    exact = CrossViewSearch(model).fit(views.y).search(views.X, 3)
    np.testing.assert_array_equal(search.search(views.X, 3).indices, exact.indices)


@faiss_installed
def test_what_faiss_refuses(rng):
    gallery = rng.normal(size=(50, 6)).astype(np.float32)
    for options, message in (
        (
            {"index_factory": "Sieve9"},
            r"index_factory='Sieve9' for a gallery of shape \(50, 6\)",
        ),
        ({"index_factory": "IVF400,Flat"}, "faiss refuses index_factory='IVF400,Flat'"),
        ({"index_factory": "Flat", "index_parameters": "speed=9"}, "index_parameters='speed=9'"),
    ):
        index = SearchIndex(backend="faiss", **options).fit(gallery)
        with pytest.raises(ValueError, match=message):
            index.search(gallery, 1)
    gallery[3, 4] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        SearchIndex(backend="faiss", index_factory="Flat").fit(gallery).search(gallery[:1], 1)


def test_factories_are_for_faiss(slow_faiss):
    for options, message in (
        ({"index_factory": "Flat"}, "is for backend='faiss', got backend='core'"),
        (
            {"backend": "faiss", "index_parameters": "nprobe=1"},
            "index_parameters are those of an",
        ),
        ({"backend": "faiss", "index_factory": 3}, "index_factory must be text"),
    ):
        with pytest.raises(ValueError, match=message):
            SearchIndex(**options)
