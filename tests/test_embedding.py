"""Label embeddings: scaling, calibration, the contract that all share, and the estimators in closed form."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.base import clone

import fastcca
from fastcca import CCA, NumericalError, embedding
from fastcca.embedding._base import temperature_of
from fastcca.embedding._data import content_folds
from fastcca.embedding._semantics import label_vectors
from fastcca.taxonomy import Taxonomy
from reference import embedding as reference

MODELS = [
    embedding.RidgeEmbedding(),
    embedding.NearestClassMean(),
    embedding.NearestClassMean("learned", n_epochs=50),
]
each = pytest.mark.parametrize("model", MODELS, ids=["ridge", "means", "metric"])


def make_classes(rng, n_classes=4, per_class=12, n_features=6, spread=1.0):
    centres = 2.0 * rng.normal(size=(n_classes, n_features))
    y = np.repeat(np.arange(n_classes), per_class)
    X = centres[y] + spread * rng.normal(size=(len(y), n_features))
    return X, np.array(["ant", "bee", "cat", "dog", "elk", "fox", "gnu"])[y]


# ---- scaling of the inputs


@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("normalize", [True, False])
def test_scaling_equals_its_formula(rng, power, normalize):
    X = rng.normal(size=(33, 5)) * [1e-3, 1.0, 7.0, 100.0, 1.0] + 3.0
    X[:, 4] = 0.1  # constant, and not exactly representable
    weight = rng.uniform(0.2, 3.0, size=33)
    scaling = embedding.InputScaling(power, normalize)
    f = scaling.fit_transform(X, weight)
    np.testing.assert_allclose(f, reference.scale_inputs(X, weight, power, normalize), atol=1e-12)
    np.testing.assert_allclose(scaling.transform(X), f, atol=1e-12)
    assert (f[:, 4] == 0.0).all()


@given(exponent=st.integers(-140, 140), shift=st.floats(-100, 100), power=st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=25, deadline=None)
def test_scaling_knows_no_unit_and_no_origin(exponent, shift, power):
    X = np.random.default_rng(5).normal(size=(17, 3)) * [1.0, 2.0, 5.0]
    f = embedding.InputScaling(power).fit_transform(X, np.ones(17))
    moved = embedding.InputScaling(power).fit_transform((X + shift) * 10.0**exponent, np.ones(17))
    np.testing.assert_allclose(moved, f, atol=1e-10)


def test_constant_inputs_are_refused(rng):
    with pytest.raises(fastcca.NumericalError, match="every column of X is constant"):
        embedding.RidgeEmbedding().fit(np.full((6, 3), 0.1), [0, 1] * 3)


# ---- temperature


def test_temperature_is_the_likeliest(rng):
    decisions = -rng.chisquare(3, size=(200, 5))
    y = rng.integers(5, size=200)
    decisions[np.arange(200), y] += 1.0
    weight = rng.uniform(0.5, 2.0, size=200)
    unsure = 1 / (weight.sum() + 2)
    target = np.full((200, 5), unsure / 5)
    target[np.arange(200), y] += 1 - unsure

    def loss(log_t):
        return -weight @ (target * log_softmax(decisions / np.exp(log_t), axis=1)).sum(axis=1)

    best = minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9})
    assert temperature_of(decisions, y, weight) == pytest.approx(np.exp(best.x), rel=1e-5)
    assert temperature_of(1e6 * decisions + 7.0, y, weight) == pytest.approx(1e6 * np.exp(best.x), rel=1e-5)


def test_temperature_of_decisions_all_right_all_wrong_and_all_equal():
    eye = np.eye(3)
    right = temperature_of(eye, np.arange(3), np.ones(3))
    wrong = temperature_of(-eye, np.arange(3), np.ones(3))
    assert 0 < right < wrong < np.inf
    assert temperature_of(np.ones((3, 2)), np.array([0, 1, 1]), np.ones(3)) == 1.0


def test_folds_depend_on_content_alone(rng):
    f, y = rng.normal(size=(40, 3)), np.repeat([0, 1, 2, 3], [1, 2, 17, 20])
    folds = content_folds(f, y, 3)
    assert folds[0] == -1  # a class of one row is never held out
    assert sorted(folds[1:3]) == [0, 1]
    assert np.bincount(folds[20:]).tolist() == [7, 7, 6]
    order = rng.permutation(40)
    np.testing.assert_array_equal(content_folds(f[order], y[order], 3), folds[order])
    twice = np.r_[np.arange(40), np.arange(40)]
    np.testing.assert_array_equal(content_folds(f[twice], y[twice], 3), folds[twice])
    assert content_folds(f[[0, 0]], y[[0, 0]], 3).tolist() == [-1, -1]  # one distinct row


# ---- the closed forms


@pytest.mark.parametrize("reg", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("shape", [(40, 6), (12, 31)])
def test_ridge_equals_the_normal_equations(rng, reg, shape):
    X = rng.normal(size=shape)
    y = np.arange(shape[0]) % 3
    weight = rng.uniform(0.5, 2.0, size=shape[0])
    model = embedding.RidgeEmbedding(reg=reg, temperature=1.0).fit(X, y, sample_weight=weight)
    weights, intercept = reference.ridge(model.scaling_.transform(X), np.eye(3)[y], weight, reg)
    f = model.scaling_.transform(X)
    np.testing.assert_allclose(model.transform(X), f @ weights + intercept, atol=1e-9)
    np.testing.assert_array_equal(model.label_embedding_, np.eye(3))


def test_ridge_chooses_the_best_held_out_ridge(rng):
    X, y = make_classes(rng, per_class=20, n_features=25, spread=3.0)
    model = embedding.RidgeEmbedding().fit(X, y)
    f = model.scaling_.transform(X)
    codes = np.unique(y, return_inverse=True)[1]
    folds = content_folds(f, codes, 3)

    def error(reg):
        total = 0.0
        for k in range(3):
            w, b = reference.ridge(
                f[folds != k], np.eye(4)[codes[folds != k]], np.ones((folds != k).sum()), reg
            )
            total += ((f[folds == k] @ w + b - np.eye(4)[codes[folds == k]]) ** 2).sum()
        return total

    grid = np.logspace(-5, 1, 13)
    assert model.reg_ == grid[np.argmin([error(reg) for reg in grid])]
    assert grid[0] < model.reg_ < grid[-1]


def test_nearest_class_mean_by_hand():
    X = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
    model = embedding.NearestClassMean(whitening_exponent=0.0, normalize=False).fit(X, [7, 7, 3, 3])
    # means (1, 0) and (1, 4), centre (1, 2), mean square 1 + 4
    unit = np.sqrt(5.0)
    np.testing.assert_allclose(model.label_embedding_ * unit, [[0.0, 2.0], [0.0, -2.0]], atol=1e-12)
    np.testing.assert_allclose(model.transform(X) * unit, X - [1.0, 2.0], atol=1e-12)
    # squared distances of (1, 1): 9 to class 3, 1 to class 7
    np.testing.assert_allclose(model.decision_function([[1.0, 1.0]]), [(9.0 - 1.0) / 5.0])
    assert model.predict([[1.0, 1.0], [1.0, 3.0]]).tolist() == [7, 3]


# ---- what all label embeddings share


@each
def test_decisions_probabilities_and_labels_agree(model, rng):
    X, y = make_classes(rng)
    model.fit(X, y)
    z = model.transform(X)
    distances = ((z[:, None, :] - model.label_embedding_[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(model.decision_function(X), -distances, atol=1e-12)
    np.testing.assert_allclose(
        model.predict_log_proba(X), log_softmax(-distances / model.temperature_, axis=1), atol=1e-9
    )
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X), atol=1e-12)
    top = model.predict_top_k(X, k=4)
    np.testing.assert_array_equal(top, model.classes_[distances.argsort(axis=1)])
    np.testing.assert_array_equal(model.predict(X), top[:, 0])
    assert model.score(X, y) > 0.8


@each
def test_probabilities_are_calibrated(model, rng):
    centres = rng.normal(size=(5, 8))
    y = np.arange(1500) % 5
    X = centres[y] + 1.5 * rng.normal(size=(1500, 8))
    model.fit(X[:300], y[:300])
    p = model.predict_proba(X[300:])
    # the mean confidence is the share that is right, to what 100 held-out rows can tell
    assert abs(p.max(axis=1).mean() - model.score(X[300:], y[300:])) < 0.08


@each
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_units_and_origin_of_the_inputs_change_nothing(model, rng, factor):
    X, y = make_classes(rng)
    plain = model.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(
        model.fit(factor * (X + 5.0), y).predict_proba(factor * (X + 5.0)), plain, atol=1e-6
    )


@each
def test_names_of_labels_change_nothing(model, rng):
    X, y = make_classes(rng)
    plain = model.fit(X, y).predict_proba(X)
    renamed = {"ant": 3, "bee": 1, "cat": 4, "dog": 0}
    again = model.fit(X, [renamed[label] for label in y])
    column = {label: i for i, label in enumerate(again.classes_.tolist())}
    order = [column[renamed[label]] for label in ["ant", "bee", "cat", "dog"]]
    np.testing.assert_allclose(again.predict_proba(X)[:, order], plain, atol=1e-9)


@each
def test_weights_are_repetitions_and_order_does_not_matter(model, rng):
    X, y = make_classes(rng)
    weight = rng.integers(0, 4, size=len(y))
    expected = model.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)).predict_proba(X)
    order = rng.permutation(len(y))
    weighted = model.fit(X[order], y[order], sample_weight=weight[order]).predict_proba(X)
    np.testing.assert_allclose(weighted, expected, atol=1e-8)


@each
def test_float32_gives_float32(model, rng):
    X, y = make_classes(rng)
    double = model.fit(X, y).predict_proba(X)
    single = model.fit(X.astype(np.float32), y)
    assert single.label_embedding_.dtype == single.transform(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(single.predict_proba(X.astype(np.float32)), double, atol=1e-4)


@each
def test_any_memory_layout(model, rng):
    X, y = make_classes(rng)
    expected = model.fit(X, y).transform(X)
    strided = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    strided.flags.writeable = False
    np.testing.assert_allclose(model.fit(strided, y).transform(strided), expected, atol=1e-12)
    np.testing.assert_allclose(
        model.fit(np.asfortranarray(X), y).transform(np.asfortranarray(X)), expected, atol=1e-12
    )


@each
def test_save_and_load(model, rng, tmp_path):
    X, y = make_classes(rng)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model.fit(frame, y)
    model.save(tmp_path / "model.npz")
    loaded = fastcca.load(tmp_path / "model.npz")
    assert loaded.get_params() == model.get_params()
    assert loaded.feature_names_in_.tolist() == list("abcdef")
    np.testing.assert_array_equal(loaded.predict_proba(frame), model.predict_proba(frame))
    np.testing.assert_array_equal(loaded.predict_top_k(frame, 2), model.predict_top_k(frame, 2))


@each
def test_frames_out(model, rng):
    X, y = make_classes(rng)
    plain = model.fit(X, y).transform(X)
    out = clone(model).set_output(transform="pandas").fit(X, y)
    assert isinstance(out.transform(X), pd.DataFrame)
    np.testing.assert_array_equal(out.transform(X).to_numpy(), plain)
    np.testing.assert_array_equal(out.predict(X), model.predict(X))


@each
def test_a_class_of_one_row(model, rng):
    X, y = make_classes(rng)
    X, y = X[:25], y[:25]  # one "cat"
    model.fit(X, y)
    assert model.classes_.tolist() == ["ant", "bee", "cat"]
    assert np.isfinite(model.predict_proba(X)).all()
    model.fit(X[[0, 13, 24]], y[[0, 13, 24]])  # one row each: nothing can be held out
    assert model.predict(X[[0, 13, 24]]).tolist() == ["ant", "bee", "cat"]
    assert 0 < model.temperature_ < np.inf


@each
def test_a_single_class_is_refused_by_name(model, rng):
    with pytest.raises(ValueError, match="needs rows of at least 2 classes, got 1 class"):
        model.fit(rng.normal(size=(5, 2)), ["ant"] * 5)
    with pytest.raises(ValueError, match="needs rows of at least 2 classes, got 1 class"):
        model.fit(rng.normal(size=(5, 2)), ["ant"] * 4 + ["bee"], sample_weight=[1, 1, 1, 1, 0])


@each
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_with_their_position(model, rng, value):
    X, y = make_classes(rng)
    bad = X.copy()
    bad[5, 2] = value
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity): the first is at row 5, column 2"):
        model.fit(bad, y)
    model.fit(X, y)
    for method in (model.transform, model.predict, model.predict_proba, model.predict_top_k):
        with pytest.raises(
            ValueError, match=r"Input X contains (NaN|infinity): the first is at row 5, column 2"
        ):
            method(bad)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"whitening_exponent": 1.5}, "whitening_exponent must be a finite number >= 0 and <= 1, got 1.5"),
        (
            {"whitening_exponent": "half"},
            "whitening_exponent must be a finite number >= 0 and <= 1, got 'half'",
        ),
        ({"normalize": "yes"}, "normalize must be True or False, got 'yes'"),
        ({"temperature": 0.0}, "temperature must be a finite number > 0 or None, got 0.0"),
        ({"reg": -1.0}, "reg must be a finite number >= 0 or None, got -1.0"),
        ({"reg": True}, "reg must be a finite number >= 0 or None, got True"),
        ({"class_weight": "heavy"}, "class_weight must be 'balanced', a dict .*, got 'heavy'"),
        ({"class_weight": {"ant": -1}}, r"class_weight\['ant'\] must be a finite number > 0, got -1"),
    ],
)
def test_parameters_out_of_range(rng, parameters, message):
    with pytest.raises(ValueError, match=message):
        embedding.RidgeEmbedding(**parameters).fit(*make_classes(rng))


def test_top_k_out_of_range(rng):
    model = embedding.NearestClassMean().fit(*make_classes(rng))
    for k in (0, 5, 2.0, True):
        with pytest.raises(ValueError, match="k must be an integer from 1 to 4, got"):
            model.predict_top_k(np.zeros((1, 6)), k)


def test_class_weights_act_as_sample_weights(rng):
    X, y = make_classes(rng, n_classes=2)
    X, y = X[:-6], y[:-6]  # 12 and 6 rows
    by_class = embedding.RidgeEmbedding(class_weight={"bee": 3.0}).fit(X, y)
    by_row = embedding.RidgeEmbedding().fit(X, y, sample_weight=np.where(y == "bee", 3.0, 1.0))
    np.testing.assert_allclose(by_class.predict_proba(X), by_row.predict_proba(X), atol=1e-12)
    balanced = embedding.RidgeEmbedding(class_weight="balanced").fit(X, y)
    by_row = embedding.RidgeEmbedding().fit(X, y, sample_weight=np.where(y == "bee", 1.5, 0.75))
    np.testing.assert_allclose(balanced.predict_proba(X), by_row.predict_proba(X), atol=1e-12)


# ---- attributes


def test_attributes_in_every_form():
    classes = np.array(["ant", "bee"])
    mapping = label_vectors({"cat": [5, 6], "bee": [3.0, 4.0], "ant": (1, 2)}, classes)
    frame = pd.DataFrame([[3, 4], [1, 2], [5, 6]], index=["bee", "ant", "cat"], columns=["legs", "wings"])
    framed = label_vectors(frame, classes)
    for table in (mapping, framed):
        assert table.labels.tolist() == ["ant", "bee", "cat"]
        np.testing.assert_array_equal(table.vectors, [[1, 2], [3, 4], [5, 6]])
        np.testing.assert_array_equal(table.of(["cat", "ant"]), [[5, 6], [1, 2]])
    assert framed.names == ("legs", "wings")
    assert mapping.names is None
    array = label_vectors([[1, 2], [3, 4]], classes)
    np.testing.assert_array_equal(array.vectors, [[1, 2], [3, 4]])
    assert array.labels.tolist() == ["ant", "bee"]
    with pytest.raises(ValueError, match="attributes has no vector for 'dog'"):
        mapping.of(["dog"])


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"ant": [1]}, "attributes has no vector for 'bee', which y holds"),
        (
            {"ant": [1], "bee": [1, 2]},
            r"vectors of one length: 'ant' has shape \(1,\), 'bee' has shape \(2,\)",
        ),
        ({"ant": [1], "bee": [np.nan]}, "attributes of 'bee' contain NaN or infinity"),
        ({"ant": ["x"], "bee": ["y"]}, "attributes must hold numbers"),
        ([[1, 2]], r"one row for each of the 2 classes in sorted order, got shape \(1, 2\)"),
        (pd.DataFrame([[1], [2], [3]], index=["ant", "bee", "ant"]), "attributes holds 'ant' more than once"),
        (np.empty((2, 0)), r"at least one number, got shape \(2, 0\)"),
    ],
)
def test_attributes_that_do_not_fit(attributes, message):
    with pytest.raises(ValueError, match=message):
        label_vectors(attributes, np.array(["ant", "bee"]))


# ---- the learned metric of the nearest class mean


def test_learned_metric_equals_its_formula(rng):
    X, y = make_classes(rng, spread=2.0)
    model = embedding.NearestClassMean("learned", reg=0.01, n_components=4).fit(X, y)
    f, codes = model.scaling_.transform(X), np.unique(y, return_inverse=True)[1]
    value = reference.class_mean_objective(f, codes, model.weights_, 0.01)
    assert model.loss_curve_[-1] == pytest.approx(value, rel=1e-4)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    means = np.array([model.transform(X)[codes == c].mean(axis=0) for c in range(4)])
    np.testing.assert_allclose(model.label_embedding_, means, atol=1e-9)


def test_learned_metric_finds_the_axis_that_counts(rng):
    y = np.repeat([0, 1], 40)
    X = rng.normal(size=(80, 6))
    X[:, 3] += np.where(y == 0, -1.5, 1.5)
    model = embedding.NearestClassMean("learned", whitening_exponent=1.0, temperature=1.0).fit(X, y)
    assert np.abs(model.weights_ @ model.weights_.T).sum(axis=0).argmax() == 3
    assert model.score(X, y) > embedding.NearestClassMean(whitening_exponent=1.0).fit(X, y).score(X, y) - 0.01


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"metric": "cosine"}, "metric must be one of 'plain', 'learned', got 'cosine'"),
        ({"metric": "learned", "n_components": 7}, "n_components=7 is more than the number of features, 6"),
        ({"reg": -1}, "reg must be a finite number >= 0, got -1"),
    ],
)
def test_parameters_of_the_metric_out_of_range(rng, parameters, message):
    with pytest.raises(ValueError, match=message):
        embedding.NearestClassMean(**parameters).fit(*make_classes(rng))


def test_attributes_in_a_frame_are_saved_with_the_model(rng, tmp_path):
    X, y = make_classes(rng)
    frame = pd.DataFrame(rng.normal(size=(4, 3)), index=["dog", "ant", "bee", "cat"], columns=["a", "b", "c"])
    model = embedding.AttributeLabelEmbedding(attributes=frame).fit(X, y)
    model.save(tmp_path / "model.npz")
    loaded = fastcca.load(tmp_path / "model.npz")
    pd.testing.assert_frame_equal(loaded.attributes, frame)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(loaded.fit(X, y).predict(X), model.predict(X))


# ---- what never matters


@st.composite
def labelled_rows(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_classes = draw(st.integers(2, 5))
    per_class = draw(st.integers(2, 7))
    n_features = draw(st.sampled_from([1, 2, 3, 7, 17, 33]))
    codes = np.repeat(np.arange(n_classes), per_class)
    X = rng.normal(size=(n_classes, n_features))[codes] + rng.normal(size=(len(codes), n_features))
    return X, codes, rng


@pytest.mark.parametrize(
    "model", [embedding.RidgeEmbedding(), embedding.NearestClassMean()], ids=["ridge", "means"]
)
@given(rows=labelled_rows(), exponent=st.integers(-3, 3), shift=st.floats(-10, 10))
@settings(max_examples=20, deadline=None)
def test_invariances(model, rows, exponent, shift):
    X, codes, rng = rows
    plain = clone(model).fit(X, codes).predict_proba(X)
    # units and origin of the inputs
    moved = 10.0**exponent * (X + shift)
    np.testing.assert_allclose(clone(model).fit(moved, codes).predict_proba(moved), plain, atol=1e-6)
    # names of the labels
    renaming = rng.permutation(plain.shape[1])
    renamed = clone(model).fit(X, renaming[codes]).predict_proba(X)
    np.testing.assert_allclose(renamed[:, renaming], plain, atol=1e-6)
    # order of the rows, and rows given twice
    order = np.tile(rng.permutation(len(X)), 2)
    doubled = clone(model).fit(X[order], codes[order]).predict_proba(X)
    weighted = clone(model).fit(X, codes, sample_weight=np.full(len(X), 2.0)).predict_proba(X)
    np.testing.assert_allclose(doubled, weighted, atol=1e-6)
    np.testing.assert_allclose(plain.sum(axis=1), 1.0, atol=1e-12)


FILLS = (1e20, 9.97e36, -3.4e38)  # what files of float32 hold where nothing was measured
TREE = Taxonomy.from_dict({"earth": {"wet": ["ice", "sea"], "dry": ["land"]}})
VECTORS = dict(zip(("sea", "land", "ice"), np.eye(3, 4), strict=True))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(
    "model",
    [
        embedding.RidgeEmbedding(),
        embedding.NearestClassMean(),
        embedding.NearestClassMean("learned", n_epochs=3),
        embedding.LargeMarginEmbedding(n_epochs=3),
        embedding.LargeMarginEmbedding(similarity="cosine", n_epochs=3),
        embedding.WARPEmbedding(n_epochs=2, random_state=0),
        embedding.LargeMarginTaxonomyEmbedding(TREE),
        embedding.AttributeHierarchyLabelEmbedding(TREE, VECTORS, n_epochs=3),
        embedding.UnifiedSemanticEmbedding(TREE, VECTORS, n_epochs=3, n_rounds=1),
    ],
    ids=lambda model: type(model).__name__,
)
def test_fill_values_in_float32_are_read_as_float64_reads_them(rng, model, normalize):
    code = np.repeat([0, 1, 2], 40)
    y = np.repeat(["sea", "land", "ice"], 40)
    X = (rng.normal(size=(120, 4)) + 3 * np.eye(3, 4)[code]).astype(np.float32)
    model = clone(model).set_params(normalize=normalize).fit(X, y)
    q = np.repeat(X[:1], 4 * len(FILLS), axis=0)
    q[np.arange(len(q)), np.arange(len(q)) % 4] = np.repeat(FILLS, 4)
    wide = q.astype(np.float64)
    assert model.predict(q).tolist() == model.predict(wide).tolist()
    np.testing.assert_allclose(model.predict_proba(q), model.predict_proba(wide), atol=1e-6)
    assert np.isfinite(model.predict_log_proba(q)).all()
    # against the definition in the most digits at hand: f = z √(2 / (1 + ‖z‖²)) - mean, then nearness to u
    z = (wide.astype(np.longdouble) - model.scaling_.mean_) * model.scaling_.factor_
    if normalize:
        z = z * np.sqrt(2 / (1 + (z**2).sum(axis=1, keepdims=True))) - model.scaling_.center_
    z = z if model.weights_ is None else z @ model.weights_.astype(np.longdouble)
    z = z + model.intercept_
    u = model.label_embedding_.astype(np.longdouble)
    if getattr(model, "similarity", None) == "cosine":
        near = z / np.linalg.norm(z, axis=1)[:, None] @ (u / np.linalg.norm(u, axis=1)[:, None]).T
    else:
        near = z @ u.T if model._similarity == "product" else 2 * z @ u.T - (u**2).sum(axis=1)
    best = near.argmax(axis=1)
    second = np.sort(near, axis=1)[:, -2]
    clear = near.max(axis=1) - second > 1e-9 * np.abs(near).max(axis=1)
    assert clear.sum() > 6
    assert model.predict(q)[clear].tolist() == model.classes_[best][clear].tolist()


def test_rows_that_overflow_are_refused_or_right(rng):
    y = np.arange(30) % 2
    X = rng.normal(size=(30, 3)) + 4 * y[:, None]
    q = np.array([[1e300, 0, 0], [-1.7e308, 0, 0]])
    model = embedding.NearestClassMean().fit(X, y)
    assert np.array_equal(model.predict(q), model.predict(q / 1e200))
    assert np.allclose(model.predict_proba(q).sum(axis=1), 1)
    plain = embedding.NearestClassMean(normalize=False).fit(1e-10 * X, y)
    for ask in (plain.predict, plain.predict_proba, plain.transform, plain.decision_function):
        with pytest.raises(NumericalError, match="overflow"):
            ask(q)
    small = embedding.NearestClassMean(normalize=False).fit((1e-5 * X).astype(np.float32), y)
    with pytest.raises(NumericalError, match="overflow float32"):
        small.transform(np.float32([[3e38, 0, 0]]))


def test_weights_whose_sum_overflows_are_refused(rng):
    y = np.arange(30) % 2
    X = rng.normal(size=(30, 3))
    for model in (embedding.NearestClassMean(), CCA()):
        with pytest.raises(ValueError, match="sample_weight must have a finite sum"):
            model.fit(X, y, sample_weight=np.full(30, 1e308))
    with pytest.raises(ValueError, match="weights times class_weight overflow"):
        embedding.LargeMarginEmbedding(class_weight={0: 1e308}).fit(X, y)


@pytest.mark.filterwarnings("error")
def test_columns_too_small_to_scale_are_named(rng):
    X = rng.normal(size=(20, 3))
    y = np.arange(20) % 2
    small = X * [1.0, 1.0, 1e-310]
    for model in (
        embedding.NearestClassMean(whitening_exponent=1.0),
        embedding.RidgeEmbedding(whitening_exponent=1.0),
    ):
        with pytest.raises(NumericalError, match="column 2 of X is too small for float arithmetic"):
            model.fit(small, y)
