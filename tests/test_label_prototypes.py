"""ALE, HLE and AHLE: their label vectors, their objective, classes without rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import fastcca
from fastcca.embedding import (
    AttributeHierarchyLabelEmbedding,
    AttributeLabelEmbedding,
    HierarchyLabelEmbedding,
)
from fastcca.functional import hinge_embedding_loss
from fastcca.taxonomy import Taxonomy

TREE = Taxonomy.from_dict(
    {"root": {"hoof": {"deer": ["elk"], "cow": None}, "fish": ["cod", "ray"], "owl": None}}
)
LABELS = ["cod", "cow", "deer", "elk", "owl", "ray"]
VECTORS = np.array(
    [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [0, 1, 0, 1, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 0, 1, 0, 0]],
    float,
)
FRAME = pd.DataFrame(VECTORS, index=LABELS)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(11)
    y = np.repeat(np.arange(6), 40)
    X = VECTORS[y] @ rng.normal(size=(5, 9)) + 0.5 * rng.normal(size=(240, 9))
    return X, np.array(LABELS)[y]


MODELS = [
    AttributeLabelEmbedding(FRAME),
    HierarchyLabelEmbedding(TREE),
    AttributeHierarchyLabelEmbedding(TREE, FRAME),
]
each = pytest.mark.parametrize("model", MODELS, ids=["ALE", "HLE", "AHLE"])


def test_vectors_of_attributes_are_centred_and_of_length_one(rows):
    model = clone(MODELS[0]).set_params(temperature=1.0).fit(*rows)
    centred = VECTORS - VECTORS.mean(axis=0)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(model.prototypes_, expected, atol=1e-12)
    np.testing.assert_array_equal(model.label_embedding_, model.prototypes_)


def test_vectors_of_a_taxonomy_mark_the_label_and_what_is_above_it(rows):
    model = clone(MODELS[1]).set_params(temperature=1.0).fit(*rows)
    columns = dict(zip(model._basis, model.prototypes_.T, strict=True))
    assert set(columns) == {*LABELS, "hoof", "fish"}  # neither the root nor what is above no class
    marked = {
        label: {node for node, column in columns.items() if column[i] > 0} for i, label in enumerate(LABELS)
    }
    assert marked["elk"] == {"elk", "deer", "hoof"}
    assert marked["owl"] == {"owl"}
    np.testing.assert_allclose(np.linalg.norm(model.prototypes_, axis=1), 1.0)


def test_both_parts_have_the_same_length(rows):
    model = clone(MODELS[2]).set_params(temperature=1.0).fit(*rows)
    parts = [clone(m).set_params(temperature=1.0).fit(*rows).prototypes_ for m in MODELS[:2]]
    np.testing.assert_allclose(model.prototypes_, np.hstack(parts) / np.sqrt(2), atol=1e-12)


def test_one_hot_without_semantics(rows):
    for model in (AttributeLabelEmbedding(), HierarchyLabelEmbedding(), AttributeHierarchyLabelEmbedding()):
        prototypes = model.set_params(temperature=1.0).fit(*rows).prototypes_
        np.testing.assert_allclose(prototypes @ prototypes.T, np.eye(6), atol=1e-12)


@each
@pytest.mark.parametrize("loss", ["rank", "hinge", "hardest", "softmax"])
def test_fits_and_lowers_its_objective(model, loss, rows):
    X, y = rows
    fitted = clone(model).set_params(loss=loss, temperature=1.0).fit(X, y)
    assert fitted.score(X, y) > 0.9
    codes = np.searchsorted(fitted.classes_, y)
    kind = (
        {"loss": "softmax"}
        if loss == "softmax"
        else {"negatives": {"rank": "rank", "hinge": "sum", "hardest": "hardest"}[loss]}
    )
    value = hinge_embedding_loss(fitted.transform(X), fitted.label_embedding_, codes, **kind)[0]
    value += 0.001 * (fitted.weights_**2).sum()
    assert value <= fitted.loss_curve_[-1] * 1.001
    assert value < 0.7 * fitted.loss_curve_[0]


@each
def test_the_order_is_that_of_the_inner_products(model, rows):
    X, y = rows
    fitted = clone(model).set_params(temperature=1.0).fit(X, y)
    products = fitted.transform(X) @ fitted.label_embedding_.T
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[products.argmax(axis=1)])


@each
def test_learned_prototypes_stay_the_nearer_the_heavier_their_weight(model, rows):
    X, y = rows
    away = []
    for weight in (0.1, 10.0, 1e5):
        fitted = clone(model).set_params(learn_prototypes=weight, temperature=1.0).fit(X, y)
        away.append(np.linalg.norm(fitted.label_embedding_ - fitted.prototypes_))
        assert fitted.score(X, y) > 0.9
    assert away[0] > away[1] > away[2]
    assert away[2] < 0.01 * away[0]


@pytest.mark.parametrize("model", [MODELS[0], MODELS[2]], ids=["ALE", "AHLE"])
def test_zero_shot(model, rows, tmp_path):
    X, y = rows
    seen = ~np.isin(y, ["elk", "ray"])
    attributes = dict(zip(LABELS, VECTORS, strict=True))
    fitted = clone(model).set_params(attributes=attributes, temperature=1.0).fit(X[seen], y[seen])
    new = fitted.with_classes(["elk", "ray"], only=True)
    assert new.score(X[~seen], y[~seen]) > 0.9
    centred = VECTORS[3] - VECTORS[[0, 1, 2, 4]].mean(axis=0)
    part = new.label_embedding_[0, :5] * (1 if model is MODELS[0] else np.sqrt(2))
    np.testing.assert_allclose(part, centred / np.linalg.norm(centred), atol=1e-12)
    assert fitted.with_classes(["ray"]).classes_.tolist() == ["cod", "cow", "deer", "owl", "ray"]
    fitted.save(tmp_path / "model.npz")
    again = fastcca.load(tmp_path / "model.npz").with_classes(["elk", "ray"], only=True)
    np.testing.assert_array_equal(again.decision_function(X), new.decision_function(X))


def test_zero_shot_by_the_taxonomy_alone(rows):
    X, y = rows
    seen = ~np.isin(y, ["elk", "ray"])
    fitted = HierarchyLabelEmbedding(TREE, temperature=1.0).fit(X[seen], y[seen])
    new = fitted.with_classes(["elk", "ray"], only=True)
    assert new.score(X[~seen], y[~seen]) > 0.8
    known = y != "owl"
    with pytest.raises(ValueError, match="nothing to place 'owl' by"):
        HierarchyLabelEmbedding(TREE, temperature=1.0).fit(X[known], y[known]).with_classes(["owl"])


def test_refusals(rows):
    X, y = rows
    with pytest.raises(ValueError, match="loss must be one of 'hinge'"):
        AttributeLabelEmbedding(loss="warp").fit(X, y)
    with pytest.raises(ValueError, match="reg must be a finite number >= 0"):
        HierarchyLabelEmbedding(reg=-1).fit(X, y)
    with pytest.raises(ValueError, match="attributes has no vector for 'ray'"):
        AttributeLabelEmbedding(FRAME.drop("ray")).fit(X, y)
    fitted = AttributeLabelEmbedding(temperature=1.0).fit(X, y)
    with pytest.raises(ValueError, match="nothing to place 'emu' by"):
        fitted.with_classes(["emu"])
    with pytest.raises(ValueError, match="one-hot"):
        fitted.with_classes(["emu"], {"emu": [1.0, 0.0]})


def test_batches_are_deterministic(rows):
    X, y = rows
    model = AttributeHierarchyLabelEmbedding(
        TREE, FRAME, batch_size=64, n_epochs=40, random_state=0, temperature=1.0
    )
    first, second = (clone(model).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(first.weights_, second.weights_)
    assert first.score(X, y) > 0.9


def test_classes_that_nothing_tells_apart_are_refused(rows):
    twins = FRAME.copy()
    twins.loc["ray"] = twins.loc["cow"]
    with pytest.raises(ValueError, match="'cow' and 'ray' one direction"):
        AttributeLabelEmbedding(twins).fit(*rows)
    AttributeHierarchyLabelEmbedding(TREE, twins, n_epochs=2).fit(*rows)  # the tree tells them apart
