"""WSABIE: scores, training by sampled negatives, seeds, bad input."""

import numpy as np
import pytest

import fastcca
from fastcca.embedding import RidgeEmbedding, WARPEmbedding


@pytest.fixture
def classes(rng):
    centres = rng.normal(size=(5, 6))
    codes = np.repeat(np.arange(5), 20)
    return centres[codes] + 0.6 * rng.normal(size=(100, 6)), np.array(["ant", "bee", "cat", "dog", "elk"])[
        codes
    ]


def test_scores_are_products(classes):
    X, y = classes
    model = WARPEmbedding(random_state=0).fit(X, y)
    f = model.scaling_.transform(X)
    np.testing.assert_allclose(model.transform(X), f @ model.weights_ + model.intercept_, atol=1e-12)
    scores = model.transform(X) @ model.label_embedding_.T
    np.testing.assert_allclose(model.decision_function(X), scores, atol=1e-12)
    np.testing.assert_array_equal(model.predict(X), model.classes_[scores.argmax(axis=1)])
    odds = np.exp((scores - scores.max(axis=1, keepdims=True)) / model.temperature_)
    np.testing.assert_allclose(model.predict_proba(X), odds / odds.sum(axis=1, keepdims=True), atol=1e-12)


def test_training_ranks_the_own_label_first(classes):
    X, y = classes
    model = WARPEmbedding(random_state=0).fit(X, y)
    assert model.loss_curve_.shape == (20,)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    # from the ridge regression on, which it starts at
    assert model.score(X, y) >= RidgeEmbedding().fit(X, y).score(X, y) - 0.02


def test_lengths_stay_in_the_ball(classes):
    model = WARPEmbedding(max_norm=0.7, random_state=0).fit(*classes)
    assert np.linalg.norm(model.label_embedding_, axis=1).max() <= 0.7 + 1e-9
    assert np.linalg.norm(model.weights_, axis=1).max() <= 0.7 + 1e-9


def test_seeds(classes):
    X, y = classes
    fits = [WARPEmbedding(random_state=seed, n_epochs=3).fit(X, y).label_embedding_ for seed in (0, 0, 1)]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[0], fits[2])


def test_weights_draw_rows_more_often(rng):
    # two labels on the same rows: the one with the weight wins
    X = np.repeat(rng.normal(size=(10, 3)), 2, axis=0)
    y = np.tile([0, 1], 10)
    weight = np.where(y == 1, 5.0, 1.0)
    assert (WARPEmbedding(random_state=0).fit(X, y, sample_weight=weight).predict(X) == 1).mean() > 0.8
    assert (WARPEmbedding(random_state=0, class_weight={0: 5.0}).fit(X, y).predict(X) == 0).mean() > 0.8


@pytest.mark.parametrize("n_components", [1, 3, 5])
def test_fewer_components(classes, n_components):
    X, y = classes
    model = WARPEmbedding(n_components, random_state=0).fit(X, y)
    assert model.transform(X).shape == (100, n_components)
    assert model.score(X, y) > (0.35 if n_components == 1 else 0.75)


def test_float32_save_and_load(classes, tmp_path):
    X, y = classes[0].astype(np.float32), classes[1]
    model = WARPEmbedding(random_state=0).fit(X, y)
    assert model.transform(X).dtype == np.float32
    model.save(tmp_path / "warp.npz")
    np.testing.assert_array_equal(
        fastcca.load(tmp_path / "warp.npz").predict_proba(X), model.predict_proba(X)
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"margin": 0.0}, "margin must be a finite number > 0, got 0.0"),
        ({"max_norm": -1.0}, "max_norm must be a finite number > 0, got -1.0"),
        ({"learning_rate": "fast"}, "learning_rate must be a finite number > 0, got 'fast'"),
        ({"n_epochs": 0}, "n_epochs must be an integer >= 1, got 0"),
        ({"n_components": 6}, "n_components=6 is more than the number of classes, 5"),
    ],
)
def test_parameters_out_of_range(classes, parameters, message):
    with pytest.raises(ValueError, match=message):
        WARPEmbedding(**parameters).fit(*classes)
