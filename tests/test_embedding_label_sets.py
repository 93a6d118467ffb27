"""Label embeddings of samples with several labels: the losses, the pairs, predictions, what is refused."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import make_multilabel_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, label_ranking_average_precision_score
from sklearn.multiclass import OneVsRestClassifier

import fastcca
from fastcca.embedding import (
    AttributeHierarchyLabelEmbedding,
    AttributeLabelEmbedding,
    HierarchyLabelEmbedding,
    LargeMarginEmbedding,
    NearestClassMean,
    WARPEmbedding,
)
from fastcca.embedding._data import row_folds
from fastcca.embedding._label_sets import LabelSets, best_threshold, membership
from fastcca.embedding._training import LOSSES, label_loss
from fastcca.taxonomy import Taxonomy

TREE = Taxonomy.from_dict({"root": {"a": [0, 1], "b": [2, 3], "c": [4]}})
ESTIMATORS = [
    LargeMarginEmbedding(n_epochs=30, random_state=0),
    LargeMarginEmbedding(loss="softmax", n_epochs=30, n_components=3, random_state=0),
    LargeMarginEmbedding(taxonomy=TREE, n_epochs=30, random_state=0),
    AttributeLabelEmbedding(n_epochs=30, random_state=0),
    HierarchyLabelEmbedding(TREE, n_epochs=30, random_state=0),
    AttributeHierarchyLabelEmbedding(TREE, n_epochs=30, random_state=0),
    WARPEmbedding(random_state=0),
]
NAMES = [f"{type(e).__name__}{i}" for i, e in enumerate(ESTIMATORS)]


@pytest.fixture(scope="module")
def data():
    return make_multilabel_classification(300, 12, n_classes=5, n_labels=2, random_state=0)


def loss_of_sets(Z, U, member, weight, loss, margin=1.0):
    """The mean over rows of the mean over their labels of the loss against the labels that they lack."""
    total = 0.0
    for z, own, w in zip(Z, member, weight, strict=True):
        d = ((z - U) ** 2).sum(axis=1)
        of_row = 0.0
        for p in np.flatnonzero(own):
            v = margin + d[p] - d[~own]
            if loss == "softmax":
                of_row += np.log1p(np.exp(d[p] - d[~own]).sum())
                continue
            positive = v[v > 0]
            r = len(positive)
            if r and loss == "hinge":
                of_row += positive.sum()
            elif r and loss == "hardest":
                of_row += positive.max()
            elif r:
                of_row += positive.sum() * (1 / np.arange(1, r + 1)).sum() / r
        total += w * of_row / own.sum()
    return total / weight.sum()


@pytest.mark.parametrize("loss", list(LOSSES))
def test_the_loss_and_its_gradients(rng, loss):
    n, C, d = 20, 6, 3
    member = rng.random((n, C)) < 0.4
    member[np.arange(n), rng.integers(C, size=n)] = True
    member[0] = True  # no label is left to be nearer than
    weight = rng.uniform(0.5, 2, size=n)
    Z, U = rng.normal(size=(n, d)), rng.normal(size=(C, d))
    sets, number = LabelSets.of(membership(member.astype(int), n).member)
    rows, pair = sets.pairs(number)
    of_pairs = (weight / member.sum(axis=1))[rows]

    def value(Z, U):
        return label_loss(Z[rows], U, pair, loss, of_pairs, sets.table)

    found, on_pairs, on_u = value(Z, U)
    assert found == pytest.approx(loss_of_sets(Z, U, member, weight, loss), rel=1e-12)
    on_z = np.zeros_like(Z)
    np.add.at(on_z, rows, on_pairs)
    step = 1e-6
    for array, gradient in ((Z, on_z), (U, on_u)):
        for place in [(0, 0), (3, 1), (5, 2)]:
            moved = []
            for sign in (1, -1):
                changed = array.copy()
                changed[place] += sign * step
                moved.append(
                    loss_of_sets(*((changed, U) if array is Z else (Z, changed)), member, weight, loss)
                )
            assert gradient[place] == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=1e-6)


def test_pairs_of_sets(rng):
    member = scipy.sparse.csr_array(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1], [1, 1, 1]], dtype=bool))
    sets, number = LabelSets.of(member)
    assert number.tolist() == [0, 1, 0, 2]
    rows, pair = sets.pairs(number)
    assert rows.tolist() == [0, 0, 1, 2, 2, 3, 3, 3]
    assert sets.labels[pair].tolist() == [0, 2, 1, 0, 2, 0, 1, 2]
    table = sets.table
    negatives = [table.negatives[a:b].tolist() for a, b in pairwise(table.negative_start)]
    assert negatives == [[1], [1], [0, 2], [], [], []]


def test_the_threshold_has_the_largest_f1(rng):
    member = rng.random((40, 4)) < 0.3
    p = np.round(rng.random((40, 4)) * 0.5 + 0.4 * member, 2)
    weight = rng.integers(1, 4, size=40).astype(float)
    t = best_threshold(p, member, weight)
    w = np.repeat(weight, 4)

    def f1(at):
        return f1_score(member.ravel(), (p >= at).ravel(), sample_weight=w)

    assert f1(t) == pytest.approx(max(f1(at) for at in np.unique(p)), abs=1e-12)
    assert t not in p


def test_folds_leave_every_label_in_every_part(rng):
    member = rng.random((60, 8)) < np.linspace(0.02, 0.5, 8)
    member[0, 0] = True
    member = scipy.sparse.csr_array(member)
    X = np.vstack([rng.normal(size=(59, 3)), np.zeros((1, 3))])
    X[5] = X[6]
    folds = row_folds(X, member, 3)
    assert folds[5] == folds[6]
    assert set(folds) <= {-1, 0, 1, 2}
    labels = np.asarray(member.sum(axis=0)).ravel() > 0
    for fold in range(3):
        assert (folds == fold).any()
        rest = np.asarray(member[folds != fold].sum(axis=0)).ravel() > 0
        np.testing.assert_array_equal(rest, labels)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=NAMES)
def test_the_same_labels_in_every_form(data, estimator):
    X, y = data
    model = estimator.fit(X, y)
    assert model.classes_.tolist() == [0, 1, 2, 3, 4]
    found = model.predict(X)
    probability = model.predict_proba(X)
    expected = probability >= model.threshold_
    expected[np.arange(len(X)), probability.argmax(axis=1)] = True
    np.testing.assert_array_equal(found, expected)
    decisions = model.decision_function(X)
    assert model.score(X, y) == np.mean((found == y).all(axis=1))
    names = np.array(list("vwxyz"))
    forms = [scipy.sparse.csr_matrix(y), scipy.sparse.coo_array(y), y.tolist(), y.astype(bool)]
    for form in forms:
        again = estimator.fit(X, form)
        np.testing.assert_array_equal(again.decision_function(X), decisions)
        assert again.score(X, form) == np.mean((found == y).all(axis=1))
    if getattr(estimator, "taxonomy", None) is None:
        again = estimator.fit(X, [set(names[row > 0].tolist()) for row in y])
        assert again.classes_.tolist() == names.tolist()
        np.testing.assert_array_equal(again.decision_function(X), decisions)
        np.testing.assert_array_equal(again.predict(X), found)
        assert set(again.predict_top_k(X, 2).ravel()) <= set(names)


def test_one_label_a_row_is_one_label(data):
    """Sets of one label each give the objective, and so the fit, of the labels themselves."""
    X, _ = data
    # in classes of different sizes: where gradients cancel, Adam makes steps of their rounding
    y = np.digitize(X[:, 0], np.quantile(X[:, 0], [0.3, 0.5, 0.65, 0.9]))
    for estimator in (
        AttributeLabelEmbedding(n_epochs=30, random_state=0),
        HierarchyLabelEmbedding(TREE, loss="softmax", n_epochs=30, random_state=0),
    ):
        one = estimator.fit(X, y).decision_function(X)
        of_sets = estimator.fit(X, np.eye(5, dtype=int)[y]).decision_function(X)
        np.testing.assert_allclose(of_sets, one, atol=1e-6)


def test_rankings_are_as_good_as_of_classifiers_for_each_label(data):
    X, y = make_multilabel_classification(1200, 20, n_classes=8, n_labels=3, random_state=1)
    train, test = slice(0, 800), slice(800, None)
    one_by_one = OneVsRestClassifier(LogisticRegression()).fit(X[train], y[train])
    labelled = y[test].any(axis=1)
    peer = label_ranking_average_precision_score(
        y[test][labelled], one_by_one.predict_proba(X[test])[labelled]
    )
    for estimator in (
        LargeMarginEmbedding(loss="softmax", random_state=0),
        LargeMarginEmbedding(loss="rank", random_state=0),
        WARPEmbedding(random_state=0),
    ):
        model = estimator.fit(X[train], y[train])
        found = label_ranking_average_precision_score(
            y[test][labelled], model.decision_function(X[test])[labelled]
        )
        assert found > peer - 0.03
        # more of the labels than the nearest alone
        indicator = model.predict(X[test])
        first = np.eye(8, dtype=int)[model.decision_function(X[test]).argmax(axis=1)]
        assert f1_score(y[test], indicator, average="micro") > f1_score(y[test], first, average="micro")


def test_weights_are_repetitions_and_rows_without_labels_say_nothing(data):
    X, y = data
    weight = np.arange(len(X)) % 3
    estimator = LargeMarginEmbedding(n_epochs=20, batch_size=None, random_state=0)
    weighted = estimator.fit(X, y, sample_weight=weight).decision_function(X)
    repeated = estimator.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight, axis=0)).decision_function(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-8)
    labelled = y.any(axis=1)
    assert not labelled.all()
    np.testing.assert_array_equal(
        estimator.fit(X, y).decision_function(X),
        estimator.fit(X[labelled], y[labelled]).decision_function(X),
    )


def test_a_file_and_a_fit_after_it(data, tmp_path):
    X, y = data
    model = LargeMarginEmbedding(n_epochs=5, random_state=0).fit(X, y)
    model.save(tmp_path / "m.safetensors")
    again = fastcca.load(tmp_path / "m.safetensors")
    assert again.threshold_ == model.threshold_
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    model.fit(X, y[:, 0])
    assert not hasattr(model, "threshold_")
    assert model.predict(X).shape == (300,)


def test_what_is_refused(data):
    X, y = data
    model = LargeMarginEmbedding(n_epochs=2)
    for labels, message in (
        (y * 2, "indicator matrix, 1 where .* got 2"),
        (y[:10], "same number of rows, got 300 and 10"),
        (np.hstack([y, np.zeros((300, 1), dtype=int)]), "no row of y has the label 5"),
        ([{"a"}] * 299 + [["a", "b"]], r"a set of labels for each row, got \['a', 'b'\] at row 299"),
        ([{"a"}] * 299 + [{1}], "one kind"),
        ([{"a"}] * 300, "at least 2 classes"),
        ([set()] * 299 + [{"a", "b"}], "at least 2 rows, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(X, labels)
    with pytest.raises(ValueError, match="NearestClassMean takes one label a row"):
        NearestClassMean().fit(X, y)
    model.fit(X, y)
    with pytest.raises(ValueError, match="y has 4 columns, one for each label, classes_ has 5"):
        model.score(X, y[:, :4])
    with pytest.raises(ValueError, match="label 'q', which is none of classes_"):
        model.score(X, [{"q"}] * 300)
