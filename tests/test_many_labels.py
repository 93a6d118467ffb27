"""Label embeddings start in time linear in the number of labels, with the values of one-hot matrices."""

import tracemalloc

import numpy as np
import pytest

from fastcca.embedding import LargeMarginEmbedding, NearestClassMean, WARPEmbedding
from fastcca.embedding import _base as base
from fastcca.embedding._base import some_rows
from fastcca.embedding._data import TrainingData, content_folds
from fastcca.embedding.ridge import REGS, best_reg, ridge_path, ridge_start


def make(rng, n, p, n_classes, weighted=True):
    y = np.append(np.arange(n_classes), rng.integers(n_classes, size=n - n_classes))
    f = rng.normal(size=(n_classes, p))[y] + rng.normal(size=(n, p))
    f -= f.mean(axis=0)
    weight = rng.uniform(0.5, 2.0, size=n) if weighted else np.ones(n)
    return TrainingData(f, y, weight, n_classes, content_folds(f, y, 3))


def dense(data, targets, reg):
    """The regression by its normal equations, from one row of targets a sample."""
    s = data.weight / data.weight.sum()
    t = targets[data.y]
    f = data.features - s @ data.features
    w = np.linalg.solve(f.T @ (s[:, None] * f) + reg * np.eye(f.shape[1]), f.T @ (s[:, None] * (t - s @ t)))
    return w, s @ t - (s @ data.features) @ w


shapes = pytest.mark.parametrize(
    "shape", [(60, 5, 4), (60, 4, 30), (40, 70, 9), (60, 80, 25)], ids=["few", "many", "wide", "wide-many"]
)


@shapes
@pytest.mark.parametrize("one_hot", [True, False])
def test_regression_and_its_held_out_errors(rng, shape, one_hot):
    data = make(rng, *shape)
    targets = np.eye(data.n_classes) if one_hot else rng.normal(size=(data.n_classes, 3))
    given = None if one_hot else targets
    for reg, found in zip((1e-3, 1.0), ridge_path(data, given, (1e-3, 1.0)), strict=True):
        for ours, theirs in zip(found, dense(data, targets, reg), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)
    errors = np.zeros(len(REGS))
    for fold in range(3):
        out = data.folds == fold
        train, test = data.subset(~out), data.subset(out)
        for i, reg in enumerate(REGS):
            w, b = dense(train, targets, reg)
            errors[i] += test.weight @ ((test.features @ w + b - targets[test.y]) ** 2).sum(axis=1)
    assert best_reg(data, given) == REGS[errors.argmin()]


@shapes
def test_start_lies_along_the_principal_axes_of_the_mean_predictions(rng, shape):
    data = make(rng, *shape)
    k = 3
    w, b = dense(data, np.eye(data.n_classes), 0.1)
    means = np.array([np.average((data.features @ w)[data.y == c], axis=0, weights=data.weight[data.y == c])
                      for c in range(data.n_classes)])  # fmt: skip
    axes = np.linalg.svd(means - means.mean(axis=0))[2][:k].T
    weights, intercept, labels = ridge_start(data, 0.1, k)
    np.testing.assert_allclose(labels @ labels.T, axes @ axes.T, atol=1e-8)
    np.testing.assert_allclose(weights @ labels.T, w @ axes @ axes.T, atol=1e-8)
    np.testing.assert_allclose(intercept @ labels.T, b @ axes @ axes.T, atol=1e-8)
    np.testing.assert_allclose(labels.T @ labels, np.eye(k), atol=1e-10)


def test_more_components_than_features_are_orthonormal_as_well(rng):
    data = make(rng, 80, 4, 40)
    weights, _, labels = ridge_start(data, 0.1, 12)
    np.testing.assert_allclose(labels.T @ labels, np.eye(12), atol=1e-10)
    w, _ = dense(data, np.eye(40), 0.1)
    np.testing.assert_allclose(weights @ labels.T, w @ labels @ labels.T, atol=1e-8)


def test_features_that_repeat_one_another_start_as_well(rng):
    data = make(rng, 200, 3, 50)
    f = np.hstack([data.features, data.features[:, :2], np.zeros((200, 2))])
    twice = TrainingData(f, data.y, data.weight, 50, data.folds)
    weights, _, labels = ridge_start(twice, 0.1, 3)
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(labels.T @ labels, np.eye(3), atol=1e-10)
    w, _ = dense(twice, np.eye(50), 0.1)
    np.testing.assert_allclose(weights @ labels.T, w @ labels @ labels.T, atol=1e-8)


def test_folds_are_those_of_each_class_by_itself(rng):
    y = rng.integers(12, size=90)
    f = rng.integers(2, size=(90, 3)).astype(float)  # many equal rows
    folds = content_folds(f, y, 3)
    key = f @ np.cos(1.0 + np.arange(3))
    for label in range(12):
        members = y == label
        distinct = np.unique(key[members].round(12))
        expected = np.searchsorted(distinct, key[members].round(12)) % 3 if len(distinct) > 1 else -1
        np.testing.assert_array_equal(folds[members], expected)


def test_some_rows_are_chosen_by_what_they_hold(rng):
    f = rng.normal(size=(5000, 3))
    chosen = some_rows(f, 0.1)
    assert 400 < chosen.sum() < 600
    order = rng.permutation(5000)
    np.testing.assert_array_equal(some_rows(f[order], 0.1), chosen[order])
    np.testing.assert_array_equal(some_rows(np.repeat(f, 2, axis=0), 0.1), np.repeat(chosen, 2))
    assert some_rows(f, 1e-9).sum() == 1
    assert some_rows(f, 1.0).all()


def test_a_part_of_the_decisions_gives_nearly_the_same_temperature(rng, monkeypatch):
    y = rng.integers(20, size=4000)
    X = rng.normal(size=(20, 6))[y] + rng.normal(size=(4000, 6))
    whole = NearestClassMean().fit(X, y).temperature_
    monkeypatch.setattr(base, "MOST_DECISIONS", 20 * 1000)
    part = NearestClassMean().fit(X, y).temperature_
    assert part != whole
    assert part == pytest.approx(whole, rel=0.1)


@pytest.mark.parametrize(
    "model",
    [
        WARPEmbedding(n_epochs=1, random_state=0),
        LargeMarginEmbedding(n_epochs=1, random_state=0),
        NearestClassMean(),
    ],
    ids=["warp", "margin", "means"],
)
def test_memory_grows_as_the_labels_do(rng, model, monkeypatch):
    """One matrix of classes × classes or of rows × classes would take 128 MB or 256 MB here."""
    monkeypatch.setattr(base, "MOST_DECISIONS", 2**18)
    n_classes = 4000
    y = np.repeat(np.arange(n_classes), 2)
    X = (rng.normal(size=(n_classes, 16))[y] + 0.1 * rng.normal(size=(len(y), 16))).astype(np.float32)
    tracemalloc.start()
    try:
        model.fit(X, y)
        predicted = model.predict(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 115e6
    assert model.label_embedding_.shape[1] <= 17
    assert (predicted == y).mean() > (0.01 if isinstance(model, WARPEmbedding) else 0.9)
