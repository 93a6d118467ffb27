"""Metrics of labels against their definitions, sample by sample."""

import itertools

import numpy as np
import pytest
import scipy.sparse
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from fastcca import metrics
from fastcca.metrics import multilabel_precision_at_k, multilabel_recall_at_k
from fastcca.taxonomy import Taxonomy

# deer and dolphin are classes and inner nodes at once
ANIMALS = Taxonomy.from_dict(
    {
        "animal": {
            "ungulate": {"deer": ["moose"], "pig": None},
            "whale": {"dolphin": ["orca"], "blue whale": None},
            "mole": None,
        }
    }
)
CLASSES = ["blue whale", "deer", "dolphin", "mole", "moose", "orca", "pig"]


def slow_neighbourhood(label, k):
    """The definition, radius by radius."""
    found, radius = {label}, 0
    while len(found) < k:
        radius += 1
        found |= {c for c in CLASSES if ANIMALS.distance(label, c) == radius}
    return found


@pytest.fixture
def sample(rng):
    return rng.choice(CLASSES, size=60), rng.normal(size=(60, len(CLASSES)))


@pytest.mark.parametrize("k", range(1, 8))
def test_hits_and_hierarchical_precision(sample, k):
    y, scores = sample
    hits, precisions = [], []
    for label, row in zip(y, scores, strict=True):
        best = [CLASSES[i] for i in sorted(range(7), key=lambda i, row=row: -row[i])[:k]]
        hits.append(label in best)
        precisions.append(len(set(best) & slow_neighbourhood(label, k)) / k)
    assert metrics.hit_at_k(y, scores, k) == pytest.approx(np.mean(hits))
    assert metrics.hit_at_k(y, scores, k) == pytest.approx(
        top_k_accuracy_score(y, scores, k=k) if k < 7 else 1
    )
    precision = metrics.hierarchical_precision_at_k(y, scores, k, ANIMALS)
    assert precision == pytest.approx(np.mean(precisions))
    if k == 1:
        assert precision == metrics.hit_at_k(y, scores)
    # weights count as repetitions; the order of the columns does not matter
    w = np.arange(60) % 3
    order = np.arange(7)[::-1]
    turned = {"classes": np.array(CLASSES)[order], "sample_weight": w}
    assert metrics.hit_at_k(y, scores[:, order], k, **turned) == pytest.approx(np.average(hits, weights=w))
    assert metrics.hierarchical_precision_at_k(y, scores[:, order], k, ANIMALS, **turned) == pytest.approx(
        np.average(precisions, weights=w)
    )


def test_neighbourhoods_may_be_larger_than_k():
    # dolphin: itself, orca at 1, blue whale at 2, the rest from 3 on; blue whale: itself, dolphin at 2
    scores = np.zeros((1, 7))
    scores[0, [CLASSES.index("dolphin"), CLASSES.index("orca")]] = [2, 1]

    def precision(label, k):
        return metrics.hierarchical_precision_at_k([label], scores, k, ANIMALS, classes=CLASSES)

    assert precision("dolphin", 2) == 1.0
    assert precision("orca", 2) == 1.0
    assert precision("blue whale", 2) == 0.5
    # mole: itself, then pig, deer, dolphin, blue whale all at 3 hops: S has five members for k = 2
    assert slow_neighbourhood("mole", 2) == {"mole", "pig", "deer", "dolphin", "blue whale"}
    assert precision("mole", 2) == 0.5
    # nodes that are no class do not count: among whale's neighbours only the columns
    assert (
        metrics.hierarchical_precision_at_k(["orca"], [[0, 1]], 2, ANIMALS, classes=["mole", "orca"]) == 1.0
    )


def orders_of_ties(row):
    """All orders of the columns from the best, equal scores permuted in every way."""
    levels = sorted(set(row), reverse=True)
    groups = [itertools.permutations([i for i, s in enumerate(row) if s == level]) for level in levels]
    return [sum(parts, ()) for parts in itertools.product(*map(list, groups))]


@pytest.mark.parametrize("k", range(1, 8))
def test_ties_count_by_the_mean_over_their_orders(rng, k):
    y = rng.choice(CLASSES, size=25)
    scores = rng.integers(0, 3, size=(25, 7)).astype(float)
    hits, precisions = [], []
    for label, row in zip(y, scores, strict=True):
        best = [{CLASSES[i] for i in order[:k]} for order in orders_of_ties(row.tolist())]
        hits.append(np.mean([label in b for b in best]))
        precisions.append(np.mean([len(b & slow_neighbourhood(label, k)) / k for b in best]))
    order = rng.permutation(7)
    given = {"classes": np.array(CLASSES)[order]}
    for s, more in ((scores, {"classes": CLASSES}), (scores[:, order], given)):
        assert metrics.hit_at_k(y, s, k, **more) == pytest.approx(np.mean(hits), rel=1e-12)
        found = metrics.hierarchical_precision_at_k(y, s, k, ANIMALS, **more)
        assert found == pytest.approx(np.mean(precisions), rel=1e-12)


def test_equal_scores_are_chance():
    flat = np.zeros((2, 3))
    for classes in ([0, 1, 2], [2, 1, 0]):
        assert metrics.hit_at_k([0, 2], flat, classes=classes) == pytest.approx(1 / 3)
        assert metrics.hit_at_k([0, 2], flat, k=2, classes=classes) == pytest.approx(2 / 3)
        assert metrics.hit_at_k([0, 2], flat, k=3, classes=classes) == 1.0
    # one column, on the boundary of two classes
    assert metrics.hit_at_k(["no", "yes"], [0.0, 0.0]) == 0.5


def test_two_classes_with_one_column():
    y, scores = ["no", "yes", "yes"], [-1.0, 2.0, -0.5]
    assert metrics.hit_at_k(y, scores) == pytest.approx(2 / 3)
    assert metrics.hit_at_k(y, scores, k=2) == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [[1, 0]]), "scores must have 2 rows"),
        (([0, 1], [[1, 0, 0]] * 2), r"3 columns of scores need .* got \[0, 1\]; give classes="),
        (([0, 1], [[1, 0]] * 2, 1, [0, 0]), r"2 columns of scores need as many different labels"),
        (([0, 1], [[1, 0]] * 2, 3), "k=3 is more than the 2 classes"),
        (([0, 1], [[1, 0]] * 2, 0), "k must be an integer >= 1, got 0"),
        (([0, 5], [[1, 0]] * 2, 1, [0, 1]), r"no column's: \[5\]"),
        (([0, 1], [[1, np.nan]] * 2), "scores contains NaN"),
        (([[0, 1]], [[1, 0]] * 2), r"y_true must have shape \(n,\)"),
        (([], np.zeros((0, 2))), r"n at least 1"),
    ],
)
def test_bad_scores(arguments, message):
    y, scores, k, classes = (*arguments, *(1, None)[len(arguments) - 2 :])
    with pytest.raises(ValueError, match=message):
        metrics.hit_at_k(y, scores, k, classes=classes)


def test_classes_must_be_nodes():
    with pytest.raises(ValueError, match="'cow' is not a node of the taxonomy"):
        metrics.hierarchical_precision_at_k(["cow", "pig"], np.eye(2), 1, ANIMALS)


# ---- superclasses ------------------------------------------------------------------------------------


def test_superclass_confusion(rng):
    true, pred = rng.choice(CLASSES, size=(2, 80))
    above = {"deer": "ungulate", "moose": "ungulate", "pig": "ungulate", "mole": "mole"}
    names = ["ungulate", "whale", "mole"]
    expected = np.zeros((3, 3), int)
    for a, b in zip(true, pred, strict=True):
        expected[names.index(above.get(a, "whale")), names.index(above.get(b, "whale"))] += 1
    confusion, found = metrics.superclass_confusion(true, pred, ANIMALS)
    assert found.tolist() == names
    np.testing.assert_array_equal(confusion, expected)
    shares, _ = metrics.superclass_confusion(true, pred, ANIMALS, normalise=True)
    np.testing.assert_allclose(shares, expected / expected.sum(axis=1, keepdims=True))


def test_the_nearest_superclass_counts():
    confusion, names = metrics.superclass_confusion(
        ["orca", "blue whale", "dolphin"],
        ["dolphin", "pig", "dolphin"],
        ANIMALS,
        superclasses=["animal", "whale", "dolphin"],
    )
    assert names.tolist() == ["animal", "whale", "dolphin"]
    np.testing.assert_array_equal(confusion, [[0, 0, 0], [1, 0, 0], [0, 0, 2]])
    # a superclass that does not occur stays 0
    shares, _ = metrics.superclass_confusion(["pig"], ["pig"], ANIMALS, normalise=True)
    np.testing.assert_array_equal(shares, [[1, 0, 0], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("true", "superclasses", "message"),
    [
        (["animal"], None, "'animal' is not below any of the superclasses"),
        (["pig"], ["whale"], "'pig' is not below any"),
        (["cow"], None, "'cow' is not a node"),
        (["pig"], ["fish"], "'fish' is not a node"),
        (["pig"], [], "at least one"),
        (["pig"], ["whale", "whale"], "different nodes"),
        (["pig", "pig"], None, "same shape"),
    ],
)
def test_bad_superclasses(true, superclasses, message):
    with pytest.raises(ValueError, match=message):
        metrics.superclass_confusion(true, ["pig"], ANIMALS, superclasses=superclasses)


# ---- zero-shot ---------------------------------------------------------------------------------------


def test_generalised_zero_shot(rng):
    true = rng.choice(CLASSES, size=200, p=np.arange(1, 8) / 28)
    pred = np.where(rng.random(200) < 0.6, true, rng.choice(CLASSES, size=200))
    unseen = ["mole", "pig"]
    rows = np.isin(true, unseen)
    seen, new = ([np.mean(pred[true == c] == c) for c in np.unique(true[r])] for r in (~rows, rows))
    result = metrics.generalised_zero_shot(true, pred, unseen)
    assert result.seen == pytest.approx(np.mean(seen))
    assert result.unseen == pytest.approx(np.mean(new))
    assert result.harmonic_mean == pytest.approx(2 / (1 / np.mean(seen) + 1 / np.mean(new)))
    assert balanced_accuracy_score(true, pred) == pytest.approx((5 * result.seen + 2 * result.unseen) / 7)


def test_preferring_the_seen_classes_scores_nothing():
    assert metrics.generalised_zero_shot([0, 1, 2], [0, 1, 1], [2]) == (0.0, 1.0, 0.0)
    assert metrics.generalised_zero_shot([0, 2], [2, 0], [2]).harmonic_mean == 0.0


def test_generalised_zero_shot_needs_both_kinds():
    with pytest.raises(ValueError, match="only seen ones"):
        metrics.generalised_zero_shot([0, 1], [0, 1], [2])
    with pytest.raises(ValueError, match="only unseen ones"):
        metrics.generalised_zero_shot([0, 1], [0, 1], [0, 1])
    with pytest.raises(ValueError, match="same shape"):
        metrics.generalised_zero_shot([0, 1], [0], [1])


def test_unseen_labels_may_be_a_set():
    labels = ["cat", "cat", "dog"], ["cat", "dog", "dog"]
    for unseen in ({"cat"}, frozenset(["cat"]), {"cat": 1}.keys()):
        assert metrics.generalised_zero_shot(*labels, unseen) == metrics.generalised_zero_shot(
            *labels, ["cat"]
        )


def test_what_is_no_taxonomy_is_refused():
    with pytest.raises(TypeError, match="taxonomy must be a Taxonomy, got dict"):
        metrics.hierarchical_precision_at_k([0, 1], np.eye(2), 1, {0: None, 1: 0})
    with pytest.raises(TypeError, match="taxonomy must be a Taxonomy, got NoneType"):
        metrics.superclass_confusion([0, 1], [0, 1], None)


# ---- mistakes by the taxonomy


def test_height_of_the_lowest_common_ancestor(rng):
    nodes = list(ANIMALS.nodes)
    true, pred = rng.choice(nodes, 80), rng.choice(nodes, 80)
    w = rng.uniform(0, 2, 80)

    def height(node):
        return max([0, *(1 + height(child) for child in ANIMALS.children(node))])

    heights = np.array([height(ANIMALS.lca(a, b)) for a, b in zip(true, pred, strict=True)])
    assert metrics.lca_height(true, pred, ANIMALS) == pytest.approx(heights.mean())
    assert metrics.lca_height(true, pred, ANIMALS, sample_weight=w) == pytest.approx(
        (heights * w).sum() / w.sum()
    )
    wrong = true != pred
    found = metrics.lca_height(true, pred, ANIMALS, mistakes_only=True)
    assert found == pytest.approx(heights[wrong].mean())
    assert metrics.lca_height(["pig"], ["pig"], ANIMALS) == 0.0
    assert np.isnan(metrics.lca_height(["pig"], ["pig"], ANIMALS, mistakes_only=True))
    assert [ANIMALS.height(node) for node in nodes] == [height(node) for node in nodes]


def test_hierarchical_precision_recall_and_f(rng):
    nodes = list(ANIMALS.nodes)
    true, pred = rng.choice(nodes, 80), rng.choice(nodes, 80)
    w = rng.integers(0, 3, 80)
    sets = [[{n, *ANIMALS.ancestors(n, root=True)} - {"animal"} for n in of] for of in (true, pred)]
    for weights in (None, w):
        factor = np.ones(80) if weights is None else weights
        both = sum(f * len(a & b) for f, a, b in zip(factor, *sets, strict=True))
        precision = both / sum(f * len(b) for f, b in zip(factor, sets[1], strict=True))
        recall = both / sum(f * len(a) for f, a in zip(factor, sets[0], strict=True))
        found = metrics.hierarchical_scores(true, pred, ANIMALS, sample_weight=weights)
        np.testing.assert_allclose(found, [precision, recall, 2 * precision * recall / (precision + recall)])
    assert metrics.hierarchical_scores(["animal"], ["animal"], ANIMALS) == (0.0, 0.0, 0.0)
    assert metrics.hierarchical_scores(["pig"], ["deer"], ANIMALS).f == 0.5


@pytest.mark.parametrize("measure", [metrics.lca_height, metrics.hierarchical_scores])
def test_what_these_refuse(measure):
    with pytest.raises(ValueError, match="'cow' is not a node"):
        measure(["pig"], ["cow"], ANIMALS)
    with pytest.raises(ValueError, match="same shape"):
        measure(["pig"], ["pig", "deer"], ANIMALS)
    with pytest.raises(TypeError, match="taxonomy must be a Taxonomy"):
        measure(["pig"], ["pig"], {})


# ---- seen and unseen classes


def accuracies(true, scores, classes, unseen, calibration):
    """The definition: lower the seen scores, predict, and average the accuracies of each kind."""
    lowered = scores - calibration * ~np.isin(classes, unseen)
    pred = classes[lowered.argmax(axis=1)]
    of = {c: np.mean(pred[true == c] == c) for c in np.unique(true)}
    return (
        np.mean([a for c, a in of.items() if c not in unseen]),
        np.mean([a for c, a in of.items() if c in unseen]),
    )


@pytest.mark.parametrize("ties", [True, False])
def test_the_curve_is_that_of_every_calibration(ties, rng):
    classes, unseen = np.array(CLASSES), ["moose", "pig"]
    true = rng.choice(classes, 90, p=[0.3, 0.1, 0.1, 0.1, 0.2, 0.1, 0.1])
    scores = rng.normal(size=(90, 7))
    scores[np.arange(90), np.searchsorted(classes, true)] += 1.5
    if ties:
        scores = (2 * scores).round()
    curve = metrics.seen_unseen_curve(true, scores, set(unseen), classes=classes)
    for gamma, seen, found in zip(curve.calibration, curve.seen, curve.unseen, strict=True):
        np.testing.assert_allclose(
            (seen, found), accuracies(true, scores, classes, unseen, gamma), atol=1e-12
        )
    assert (np.diff(curve.seen) <= 1e-12).all()
    assert (np.diff(curve.unseen) >= -1e-12).all()
    assert curve.unseen[0] == curve.seen[-1] == 0
    # the area by many calibrations
    grid = np.linspace(curve.calibration[0], curve.calibration[-1], 20001)
    s, u = np.array([accuracies(true, scores, classes, unseen, g) for g in np.unique(grid.round(3))]).T
    assert curve.area == pytest.approx(((s[1:] + s[:-1]) / 2 * np.diff(u)).sum(), abs=0.01)
    lowered = scores - curve.best_calibration * ~np.isin(classes, unseen)
    expected = metrics.generalised_zero_shot(true, classes[lowered.argmax(axis=1)], unseen)
    np.testing.assert_allclose(curve.best, expected, atol=1e-12)
    assert (
        curve.best.harmonic_mean >= max(2 * curve.seen * curve.unseen / (curve.seen + curve.unseen)) - 1e-12
    )


def test_chosen_calibration_of_a_model(rng):
    from fastcca.embedding import AttributeLabelEmbedding

    vectors = {name: rng.normal(size=4) for name in "abcdef"}
    code = rng.choice(list("abcdef"), 400)
    X = np.array([vectors[c] for c in code]) + 0.7 * rng.normal(size=(400, 4))
    train = np.isin(code, list("abcd")) & (np.arange(400) < 200)
    model = AttributeLabelEmbedding(vectors, n_epochs=20, random_state=0).fit(X[train], code[train])
    both = model.with_classes(["e", "f"])
    rest = np.arange(400) >= 200
    curve = metrics.seen_unseen_curve(
        code[rest], both.decision_function(X[rest]), ["e", "f"], classes=both.classes_
    )
    chosen = model.with_classes(["e", "f"], seen_calibration=curve.best_calibration)
    found = metrics.generalised_zero_shot(code[rest], chosen.predict(X[rest]), ["e", "f"])
    assert found.harmonic_mean == pytest.approx(curve.best.harmonic_mean)
    assert (
        found.harmonic_mean
        >= metrics.generalised_zero_shot(code[rest], both.predict(X[rest]), ["e", "f"]).harmonic_mean
    )


def test_what_the_curve_refuses():
    scores = np.ones((2, 2))
    with pytest.raises(ValueError, match="y_true must hold seen and unseen labels, it has only seen"):
        metrics.seen_unseen_curve(["a", "a"], scores, ["b"], classes=["a", "b"])
    with pytest.raises(ValueError, match="it has only unseen ones"):
        metrics.seen_unseen_curve(["a", "b"], scores, ["a", "b"])
    with pytest.raises(ValueError, match="scores must have a column for each of 2 classes, got 1"):
        metrics.seen_unseen_curve(["a", "b"], [[1.0], [2.0]], ["b"])
    with pytest.raises(ValueError, match="NaN"):
        metrics.seen_unseen_curve(["a", "b"], [[1.0, np.nan], [2.0, 1.0]], ["b"])


# ---- several labels a sample ---------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 5])
def test_precision_and_recall_of_label_sets(rng, k):
    y = (rng.random((40, 5)) < 0.4).astype(int)
    y[3] = 0  # does not count
    scores = rng.normal(size=(40, 5))
    weight = rng.integers(0, 3, size=40)
    precision, recall = [], []
    for own, row, w in zip(y, scores, weight, strict=True):
        best = set(np.argsort(-row)[:k].tolist())
        labels = set(np.flatnonzero(own).tolist())
        if labels:
            precision += [len(best & labels) / k] * w
            recall += [len(best & labels) / len(labels)] * w
    for form in (y, scipy.sparse.csr_array(y), y.astype(bool), y.tolist()):
        found = multilabel_precision_at_k(form, scores, k, sample_weight=weight)
        assert found == pytest.approx(np.mean(precision), abs=1e-12)
        found = multilabel_recall_at_k(form, scores, k, sample_weight=weight)
        assert found == pytest.approx(np.mean(recall), abs=1e-12)


def test_equal_scores_of_label_sets():
    y, scores = [[1, 0, 1, 0]], [[1.0, 1.0, 1.0, 0.0]]  # two of three equal ones
    assert multilabel_precision_at_k(y, scores, 1) == pytest.approx(2 / 3)
    assert multilabel_recall_at_k(y, scores, 2) == pytest.approx(2 / 3)


def test_what_metrics_of_label_sets_refuse():
    scores = np.zeros((2, 3))
    for y, k, message in (
        (np.zeros((2, 2)), 1, r"the shape of scores, \(2, 3\), got \(2, 2\)"),
        (np.full((2, 3), 2), 1, "indicator matrix of 0 and 1"),
        (np.zeros((2, 3)), 1, "a row with a label"),
        (np.ones((2, 3)), 4, "k"),
    ):
        for metric in (multilabel_precision_at_k, multilabel_recall_at_k):
            with pytest.raises(ValueError, match=message):
                metric(y, scores, k)
