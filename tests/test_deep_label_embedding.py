"""DeepLabelEmbedding: images through a network to labels, superclasses and attributes."""

import copy
import io
import pickle

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny batches

from scipy.optimize import minimize_scalar  # noqa: E402
from scipy.special import log_softmax  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.frozen import FrozenEstimator  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import fastcca  # noqa: E402
from bad_parameters import BAD_PARAMETERS  # noqa: E402
from fastcca.deep import DeepLabelEmbedding, LabelEmbeddingEpoch  # noqa: E402
from fastcca.embedding import UnifiedSemanticEmbedding  # noqa: E402
from fastcca.errors import NumericalError  # noqa: E402
from fastcca.retrieval import LabelSearch  # noqa: E402
from fastcca.taxonomy import Taxonomy  # noqa: E402

TREE = Taxonomy.from_dict({"animal": {"mammal": ["cat", "dog", "elk"], "fish": ["cod", "eel"]}})
NAMES = ["barks", "fins", "horns", "long", "purrs"]
ATTRIBUTES = pd.DataFrame(
    [[0, 0, 0, 0, 1], [1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 1, 0, 1, 0]],
    index=["cat", "dog", "elk", "cod", "eel"],
    columns=NAMES,
)
PLACES = {"cat": (0, 0), "dog": (0, 2), "elk": (0, 4), "cod": (3, 0), "eel": (3, 2)}


def images(labels, seed=0, noise=0.5):
    """Of 6 by 6 pixels and one channel: a square where the class has it, a stripe of its superclass."""
    rng = np.random.default_rng(seed)
    X = noise * rng.normal(size=(len(labels), 1, 6, 6))
    for row, label in zip(X, labels, strict=True):
        i, j = PLACES[label]
        row[0, i : i + 2, j : j + 2] += 2
        row[0, 5 if TREE.parent(label) == "fish" else 2] += 1
    return X


def some(n=40, classes=("cat", "cod", "dog"), seed=0):
    y = np.repeat(classes, n)
    return images(y, seed), y


def cnn():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 3), torch.nn.BatchNorm2d(6), torch.nn.ReLU(), torch.nn.Flatten()
    )


SHORT = {"n_epochs": 25, "learning_rate": 0.02, "random_state": 0}


@pytest.fixture(scope="module")
def use():
    return DeepLabelEmbedding(TREE, ATTRIBUTES, cnn(), mu2=0.05, **SHORT).fit(*some())


# ---- scikit-learn's contract


@parametrize_with_checks(
    [
        DeepLabelEmbedding(
            hidden=(8,), n_epochs=40, learning_rate=0.03, dtype="float64", random_state=0, temperature=3.0
        )
    ],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": "batches of other rows: stochastic",
    },
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# ---- learning


@pytest.mark.parametrize("loss", ["use", "lme", "softmax"])
@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_it_learns_and_predicts(loss, network):
    options = {"encoder": cnn()} if network == "cnn" else {"hidden": (16,)}
    X, y = some()
    model = DeepLabelEmbedding(TREE, ATTRIBUTES, loss=loss, **options, **SHORT).fit(X, y)
    new, labels = some(30, seed=1)
    assert model.score(new, labels) > 0.9
    z, U = model.transform(new), model.label_embedding_
    assert z.shape == (90, 3)
    nearness = z @ U.T if loss == "softmax" else -((z[:, None] - U) ** 2).sum(2)
    np.testing.assert_allclose(model.decision_function(new), nearness, rtol=1e-4, atol=1e-4)
    assert (model.predict(new) == model.classes_[nearness.argmax(1)]).all()
    assert (model.predict_top_k(new, 2) == model.classes_[np.argsort(-nearness, axis=1)[:, :2]]).all()
    expected = np.exp(log_softmax(nearness / model.temperature_, axis=1))
    np.testing.assert_allclose(model.predict_proba(new), expected, atol=1e-4)
    found = LabelSearch(model).fit(new).search_labels(["cod"], k=5).indices[0]
    assert set(found) == set(np.argsort(-nearness[:, 1])[:5])


def test_the_temperature_has_the_greatest_likelihood_on_the_validation_rows():
    X, y = some(60)
    labels = some(50)[1]
    out = images(labels, seed=3, noise=3.0)  # not all of them will be right
    model = DeepLabelEmbedding(hidden=(8,), **SHORT).fit(X, y, validation=(out, labels))
    decisions = model.decision_function(out)
    codes = np.searchsorted(model.classes_, labels)

    def loss(log_temperature):  # with Platt's one row that may be of any class
        p = log_softmax(decisions / np.exp(log_temperature), axis=1)
        return -p[np.arange(150), codes].sum()

    best = np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded").x)
    assert model.temperature_ == pytest.approx(best, rel=0.1)
    assert DeepLabelEmbedding(temperature=2.0, **SHORT).fit(X, y).temperature_ == 2.0


def test_a_linear_map_ends_at_the_shallow_objective():
    # the same rows, scaled by the shallow one: W without hidden layers, full batches
    X, y = some(30)
    flat = X.reshape(90, -1)
    shallow = UnifiedSemanticEmbedding(TREE, ATTRIBUTES, lambda1=0.005, n_epochs=1500, n_rounds=15).fit(
        flat, y
    )
    deep = DeepLabelEmbedding(
        TREE,
        ATTRIBUTES,
        hidden=(),
        scale=None,
        lambda1=0.005,
        dtype="float64",
        batch_size=90,
        n_epochs=1500,
        learning_rate=0.03,
        validation_fraction=0,
        random_state=0,
    ).fit(shallow.scaling_.transform(flat), y)
    assert deep.history_[-1]["loss"] == pytest.approx(shallow.loss_curve_[-1], rel=0.01)


def test_images_of_any_rank_and_bytes():
    X, y = some()
    byte = np.clip(60 * X + 100, 0, 255).astype(np.uint8)
    options = {"hidden": (8,), "dtype": "float64", **SHORT}
    model = DeepLabelEmbedding(**options).fit(byte, y)
    flat = DeepLabelEmbedding(**options).fit(byte.reshape(120, -1).astype(np.float32), y)
    np.testing.assert_allclose(model.transform(byte), flat.transform(byte.reshape(120, -1)), atol=1e-6)
    assert model.input_shape_ == (1, 6, 6)
    assert model.n_features_in_ == 36
    frame = pd.DataFrame(X.reshape(120, -1), columns=[f"pixel {i}" for i in range(36)])
    named = DeepLabelEmbedding(**options).fit(frame, y)
    assert named.feature_names_in_[1] == "pixel 1"
    np.testing.assert_array_equal(named.predict(frame), named.predict(frame))


def test_same_seed_same_model_other_seed_another():
    X, y = some()
    options = {"encoder": cnn(), "n_epochs": 2}
    one, two, three = (
        DeepLabelEmbedding(**options, random_state=s).fit(X, y).transform(X) for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - three).max() > 1e-3


def test_weights_leave_rows_out_and_balance():
    X, y = some()
    wrong = np.concatenate([y, np.repeat("dog", 40)])
    both = np.concatenate([X, images(np.repeat("cat", 40), seed=5)])
    weight = np.r_[np.ones(120), np.zeros(40)]
    options = {"hidden": (8,), "validation_fraction": 0.0, **SHORT}
    with_zeros = DeepLabelEmbedding(**options).fit(both, wrong, sample_weight=weight)
    np.testing.assert_allclose(with_zeros.transform(X), DeepLabelEmbedding(**options).fit(X, y).transform(X))
    heavy = DeepLabelEmbedding(**options, class_weight={"dog": 50.0}).fit(both, wrong)
    assert (heavy.predict(both[120:]) == "dog").mean() > 0.9
    light = DeepLabelEmbedding(**options, class_weight={"dog": 0.02}).fit(both, wrong)
    assert (light.predict(both[120:]) == "cat").mean() > 0.9


def test_frozen_backbone_autocast_augmentation_and_constraints():
    X, y = some()
    backbone = cnn().eval().requires_grad_(False)
    seen = []

    def flip(x):
        seen.append(tuple(x.shape))
        return x + 0.01

    model = DeepLabelEmbedding(
        TREE, ATTRIBUTES, backbone, augment=flip, autocast="bfloat16", norms="constraint", lambda1=4.0,
        lambda2=4.0, batch_size=50, **SHORT,
    ).fit(X, y)  # fmt: skip
    body, projection = model.encoder_
    for name, tensor in body.state_dict().items():
        assert torch.equal(tensor, backbone.state_dict()[name]), name
    assert projection.weight.norm(dim=1).max() <= 2 + 1e-5
    assert np.linalg.norm(model.node_embedding_, axis=1).max() <= 2 + 1e-5
    assert np.linalg.norm(model.attribute_embedding_, axis=1).max() <= 1 + 1e-6
    assert model.beta_.min() >= 0
    assert set(seen) == {(40, 1, 6, 6)}
    assert model.score(X, y) > 0.9


def test_validation_early_stopping_callbacks():
    X, y = some()
    epochs = []

    def stop(epoch):
        epochs.append(epoch)
        assert epoch.model.score(X, y) >= 0
        return epoch.number == 4

    model = DeepLabelEmbedding(hidden=(8,), callbacks=[stop], **SHORT).fit(X, y, validation=some(10, seed=2))
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4]
    assert isinstance(epochs[0], LabelEmbeddingEpoch)
    scores = [row["validation_score"] for row in model.history_]
    assert model.best_epoch_ == 1 + int(np.argmax(scores))
    assert model.score(*some(10, seed=2)) == pytest.approx(max(scores))
    tired = DeepLabelEmbedding(hidden=(8,), patience=2, n_epochs=200, random_state=0).fit(
        X, y, validation=(X, y)
    )
    assert len(tired.history_) < 200
    more = some(80)
    whole = DeepLabelEmbedding(hidden=(8,), validation_fraction=0.45, **SHORT)
    whole.fit(*more, groups=np.arange(240) // 4)
    assert whole.history_[0]["validation_score"] is not None
    # the rows set aside are of every class
    whole.validation_fraction = 0.1
    rows, aside = whole._split_classes(np.repeat([0, 1], [150, 1000]), None, None, np.random.RandomState(0))
    assert len(rows) == 1035
    assert (aside < 150).sum() == 15
    assert not set(rows) & set(aside)


# ---- labels, superclasses, attributes


def test_explanations_of_labels_and_samples(use):
    explained = use.explain("dog")
    assert explained.parent == "mammal"
    assert explained.attributes[0][0] == "barks"
    assert use.explain("mammal").parent is None
    assert use.superclasses_ == ["fish", "mammal"] or set(use.superclasses_) == {"fish", "mammal"}
    X, y = some(10, seed=4)
    samples = use.explain_samples(X)
    assert [e.label for e in samples] == use.predict(X).tolist()
    right = [e for e, label in zip(samples, y, strict=True) if e.label == label == "cod"]
    assert len(right) >= 8
    assert {e.parent for e in right} == {"fish"}
    # what is left is that of the least squares
    e = right[0]
    z = use.transform(X)[samples.index(e)]
    beta = np.zeros(5)
    for name, value in e.attributes:
        beta[NAMES.index(name)] = value
    left = z - use.superclass_embedding_[use.superclasses_.index("fish")] - beta @ use.attribute_embedding_
    assert e.residual == pytest.approx(np.linalg.norm(left) / np.linalg.norm(z), rel=1e-4)
    scores = use.predict_attributes(X)
    np.testing.assert_allclose(scores, use.transform(X) @ use.attribute_embedding_.T, atol=1e-4)
    assert scores[y == "cod", 1].mean() > scores[y == "cat", 1].mean()


def test_beta_is_the_step_of_the_loss(use):
    # what the last epoch left: no other B is better
    from fastcca.deep import UnifiedSemanticLoss

    loss = UnifiedSemanticLoss(TREE, ATTRIBUTES, use.classes_, mu2=0.05, dtype=torch.float64)
    with torch.no_grad():
        loss.U.copy_(torch.from_numpy(use.node_embedding_))
        loss.A.copy_(torch.from_numpy(use.attribute_embedding_))
    for _ in range(5):
        loss.step_beta()
    np.testing.assert_allclose(use.beta_, loss.B, atol=2e-3)


def test_zero_shot(use):
    model = use.with_classes(["eel", "elk"])
    assert model.classes_.tolist() == ["cat", "cod", "dog", "eel", "elk"]
    assert use.classes_.tolist() == ["cat", "cod", "dog"]
    # as the shallow one places them: below the parent, by the attributes, with the usual norm
    row = use.superclasses_.index("fish")
    known = ATTRIBUTES.loc[use.classes_].to_numpy(float)
    unit = use._attribute_unit
    more = np.maximum(
        ATTRIBUTES.loc["eel"].to_numpy() / unit - known[1] / unit, 0
    )  # cod is all the fish there is
    at = use.superclass_embedding_[row] + use._beta_scale * more @ use.attribute_embedding_
    at *= np.linalg.norm(use.label_embedding_, axis=1).mean() / np.linalg.norm(at)
    np.testing.assert_allclose(model.label_embedding_[3], at, rtol=1e-4)
    only = use.with_classes(["eel", "elk"], only=True)
    X = images(np.repeat(["eel", "elk"], 30), seed=6)
    assert (only.predict(X) == np.repeat(["eel", "elk"], 30)).mean() > 0.8  # by the stripe of the superclass
    assert model.predict_proba(X).shape == (60, 5)


def test_few_shot_from_a_source(use):
    y = np.repeat(["eel", "elk"], 3)
    X = images(y, seed=7)
    before = copy.deepcopy(use.encoder_.state_dict())
    new = DeepLabelEmbedding(TREE, ATTRIBUTES, source=use, lambda1=0.1, **SHORT).fit(X, y)
    for name, tensor in use.encoder_.state_dict().items():
        assert torch.equal(tensor, before[name])  # the source is as it was
        assert not name.startswith("body") or torch.equal(new.encoder_.state_dict()[name], tensor)
    assert torch.linalg.norm(new.encoder_[1].weight - use.encoder_[1].weight) < 1
    np.testing.assert_array_equal(new.attribute_embedding_, use.attribute_embedding_)
    np.testing.assert_array_equal(
        new.superclass_embedding_[new.superclasses_.index("fish")],
        use.superclass_embedding_[use.superclasses_.index("fish")],
    )
    out = np.repeat(["eel", "elk"], 40)
    assert new.score(images(out, seed=8), out) > 0.9
    cloned = clone(DeepLabelEmbedding(TREE, ATTRIBUTES, source=FrozenEstimator(use), **SHORT))
    assert cloned.fit(X, y).score(images(out, seed=8), out) > 0.9
    again = saved(new, encoder=cnn())
    np.testing.assert_array_equal(again.transform(X), new.transform(X))
    np.testing.assert_array_equal(again.source.transform(X), use.transform(X))
    with pytest.raises(TypeError, match="source must be a fitted DeepLabelEmbedding or None, got int"):
        DeepLabelEmbedding(source=3).fit(X, y)
    with pytest.raises(NotFittedError, match="source is not fitted"):
        DeepLabelEmbedding(source=DeepLabelEmbedding()).fit(X, y)
    with pytest.raises(
        ValueError, match=r"source was fitted to rows of shape \(1, 6, 6\), X has \(1, 3, 6\)"
    ):
        DeepLabelEmbedding(source=use).fit(X[:, :, :3], y)
    with pytest.raises(ValueError, match="source has an encoder, which is taken over: leave encoder None"):
        DeepLabelEmbedding(source=use, encoder=cnn()).fit(X, y)
    with pytest.raises(ValueError, match="attributes"):
        DeepLabelEmbedding(TREE, ATTRIBUTES[NAMES[:2]], source=use).fit(X, y)


def test_attributes_of_samples_and_latent_ones():
    X, y = some()
    rows = ATTRIBUTES.loc[y].to_numpy() + 0.1 * np.random.default_rng(0).normal(size=(120, 5))
    options = {"hidden": (16,), "mu1": (0.1, 1.0), "mu2": 0.05, "validation_fraction": 0.0, **SHORT}
    model = DeepLabelEmbedding(TREE, **options).fit(X, y, sample_attributes=rows)
    signed = (rows - rows.mean(0)) / np.sqrt(((rows - rows.mean(0)) ** 2).mean())
    scores = model.predict_attributes(X)
    assert np.corrcoef(scores[:, 1], signed[:, 1])[0, 1] > 0.8
    named = DeepLabelEmbedding(TREE, n_epochs=1).fit(
        X, y, sample_attributes=pd.DataFrame(rows, columns=NAMES)
    )
    assert named.attribute_names_ == NAMES
    assert set(dict(named.explain("cat").attributes)) <= set(NAMES)
    latent = DeepLabelEmbedding(TREE, n_attributes=4, **options).fit(X, y)
    assert latent.attribute_embedding_.shape == (4, 3)
    assert latent.attribute_names_[0] == "attribute 0"
    assert latent.beta_.max() > 0


# ---- files, copies, failures


def saved(model, **given):
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    return fastcca.load(file, **given)


def test_files_and_copies(use):
    X, y = some(10, seed=4)
    mlp = DeepLabelEmbedding(TREE, ATTRIBUTES, hidden=(8,), **SHORT).fit(X, y)
    for again in (saved(mlp), pickle.loads(pickle.dumps(mlp)), copy.deepcopy(mlp)):
        np.testing.assert_array_equal(again.predict_proba(X), mlp.predict_proba(X))
        assert again.explain("dog") == mlp.explain("dog")
        np.testing.assert_array_equal(
            again.with_classes(["eel"]).decision_function(X), mlp.with_classes(["eel"]).decision_function(X)
        )
    again = saved(use, encoder=cnn())
    np.testing.assert_array_equal(again.predict_proba(X), use.predict_proba(X))
    with pytest.raises(
        ValueError, match="networks of your own: pass modules of the same architecture as encoder"
    ):
        saved(use)
    with pytest.raises(ValueError, match="encoder do not fit it"):
        saved(use, encoder=torch.nn.Flatten())
    with pytest.raises(ValueError, match="encoder were given, but it holds no weights"):
        saved(mlp, encoder=cnn())
    linear = DeepLabelEmbedding(hidden=(), **SHORT).fit(X, y)
    np.testing.assert_array_equal(saved(linear).transform(X), linear.transform(X))
    twin = clone(use)
    assert not hasattr(twin, "encoder_")
    assert twin.encoder is not use.encoder


def test_a_fit_that_fails_leaves_the_model_as_it_was(use):
    X, y = some()
    model = copy.deepcopy(use)
    before = model.predict_proba(X)
    model.learning_rate, model.callbacks = 1e30, ()
    with pytest.raises(NumericalError, match=r"NaN or infinity in epoch \d|overflows"):
        model.fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)

    def interrupt(epoch):
        if epoch.number == 2:
            raise KeyboardInterrupt

    model.set_params(learning_rate=0.01, callbacks=[interrupt])
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    first = DeepLabelEmbedding(hidden=(8,), callbacks=[interrupt], random_state=0)
    with pytest.raises(KeyboardInterrupt):
        first.fit(X, y)
    assert first.predict(X).shape == (120,)
    assert first.best_epoch_ >= 1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        *BAD_PARAMETERS,
        ({"loss": "hinge"}, "loss must be one of 'use', 'lme', 'softmax', got 'hinge'"),
        ({"class_loss": "use"}, "class_loss must be one of"),
        ({"mu1": (1, 2, 3)}, "mu1 must be a finite number >= 0 or a pair of them"),
        ({"hidden": (0,)}, r"hidden must be widths of layers, got \(0,\)"),
        ({"hidden": 3}, "hidden must be widths of layers, got 3"),
        ({"activation": "step"}, "activation must be one of"),
        ({"encoder": 3}, "encoder must be a torch.nn.Module or None, got 3"),
        ({"projection": False}, "projection=False leaves the outputs of encoder as they are"),
        ({"augment": 3}, "augment must be a callable or None, got 3"),
        ({"norms": "constraint", "lambda2": 0}, "lambda2 must be a finite number > 0"),
        ({"scale": "max"}, "scale must be one of 'view', 'columns', None, got 'max'"),
        ({"n_components": 0}, "n_components must be an integer >= 1 or None, got 0"),
        ({"taxonomy": Taxonomy({"root": None, "cat": "root"})}, "taxonomy has no node 'cod', 'dog'"),
        ({"attributes": {"cat": [1], "dog": [0]}}, "attributes has no vector for 'cod'"),
        ({"attributes": {"cat": [1], "dog": [0], "cod": [1, 2]}}, "vectors of one length"),
        ({"beta": "attributes"}, "beta='attributes' needs attributes"),
        ({"encoder": torch.nn.Linear(35, 3)}, r"the encoder cannot take rows of shape \(1, 6, 6\)"),
        ({"encoder": torch.nn.Conv2d(1, 2, 3)}, r"encoder must return a matrix .* got shape \(2, 2, 4, 4\)"),
        (
            {"encoder": cnn(), "projection": False, "n_components": 3},
            "encoder returns 96 outputs, which do not fit 3 components",
        ),
    ],
)
def test_bad_parameters_are_named_before_training(params, message):
    X, y = some(5)

    def trained(epoch):
        raise AssertionError("it was trained")

    with pytest.raises((ValueError, TypeError), match=message):
        DeepLabelEmbedding(**{"callbacks": (trained,), **params}).fit(X, y)


def test_bad_data_is_named(use):
    X, y = some(5)
    bad = X.copy()
    bad[3, 0, 2, 1] = np.nan
    fit = DeepLabelEmbedding(hidden=(4,), n_epochs=1).fit
    for call, message in [
        (lambda: fit(bad, y), "X contains NaN"),
        (lambda: fit(X, y[:-1]), "rows"),
        (lambda: fit(X, np.repeat("cat", 15)), "at least 2 classes"),
        (lambda: fit(np.zeros_like(X), y), "every column of X is constant"),
        (
            lambda: fit(X, y, validation=(X, np.repeat("yak", 15))),
            "validation y holds 'yak', which y does not",
        ),
        (
            lambda: fit(X, y, validation=(X[:, :, 1:], y)),
            r"validation X has rows of shape \(1, 5, 6\), the fit had",
        ),
        (lambda: fit(X, y, validation=(bad, y)), "validation X contains NaN"),
        (lambda: fit(X, y, validation=X), "validation must be a pair"),
        (lambda: fit(X, y, sample_attributes=np.zeros((3, 2))), "sample_attributes"),
        (lambda: use.predict(X[:, :, 1:]), r"X has rows of shape \(1, 5, 6\), the fit had \(1, 6, 6\)"),
        (lambda: use.predict(X.reshape(15, -1)), r"X has rows of shape \(36,\), the fit had \(1, 6, 6\)"),
        (lambda: use.predict(bad), "X contains NaN"),
        (lambda: use.with_classes(["yak"]), "yak"),
        (lambda: use.explain("yak"), "label must be one of nodes_, got 'yak'"),
        (lambda: use.predict_top_k(X, 4), "k must be an integer from 1 to 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(NotFittedError):
        DeepLabelEmbedding().explain_samples(X)


def test_no_rows_have_no_answers(use):
    none = np.zeros((0, 1, 6, 6))
    assert use.predict(none).shape == (0,)
    assert use.predict(none).dtype == use.classes_.dtype
    assert use.predict_top_k(none, 2).shape == (0, 2)
    assert use.predict_proba(none).shape == use.transform(none).shape == (0, 3)
    assert use.predict_attributes(none).shape == (0, 5)
    assert use.explain_samples(none) == []
    with pytest.raises(ValueError, match=r"X has 0 samples .* while a minimum of 2 is required"):
        DeepLabelEmbedding().fit(none, [])
    with pytest.raises(ValueError, match="validation X has no rows"):
        DeepLabelEmbedding().fit(*some(3), validation=(none, []))


def test_rows_that_are_no_array_are_named(use):
    X, y = some(3)
    ragged = [X[0], X[1, :, :3], *X[2:]]
    masked = np.ma.masked_array(X, X > 2)
    for fit_to in (DeepLabelEmbedding(hidden=(4,), n_epochs=1).fit, lambda x, _: use.predict(x)):
        with pytest.raises(ValueError, match=r"X must hold rows of one shape: .*inhomogeneous"):
            fit_to(ragged, y)
        with pytest.raises(ValueError, match="X has masked values"):
            fit_to(masked, y)
    with pytest.raises(ValueError, match=r"one row alone needs an axis before, X\[np.newaxis\]"):
        use.predict(X[0])
    assert use.predict(X[0][np.newaxis]).shape == (1,)


class _Returns(torch.nn.Module):
    """Flattened rows, changed by a function."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(x.flatten(1))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda z: z.half(), ValueError, "encoder must return numbers of dtype float32, got float16"),
        (lambda z: z * torch.nan, NumericalError, "encoder returns NaN or infinity .* before any training"),
        (lambda z: z[:, 40], ValueError, r"the encoder cannot take rows of shape \(1, 6, 6\): index 40"),
        (lambda z: (z, z), ValueError, "an encoder must return one row of outputs per row, got tuple"),
        (lambda z: z[:1], ValueError, r"one row of outputs per row, got \(1, 36\) for 2 rows"),
        (lambda z: z.int(), ValueError, "encoder must return a matrix of a row for each sample"),
    ],
)
def test_what_an_encoder_returns_is_checked_before_training(change, error, message):
    def trained(epoch):
        raise AssertionError("it was trained")

    with pytest.raises(error, match=message):
        DeepLabelEmbedding(encoder=_Returns(change), callbacks=(trained,)).fit(*some(3))


@pytest.mark.parametrize(
    ("augment", "got"),
    [
        (lambda x: None, "NoneType"),
        (lambda x: x[:3], r"\(3, 1, 6, 6\) of float32"),
        (lambda x: x.double(), r"\(9, 1, 6, 6\) of float64"),
    ],
)
def test_what_augment_returns_is_checked(augment, got):
    message = (
        rf"augment must return a tensor of as many rows as it is given, \(9, 1, 6, 6\) of float32, got {got}"
    )
    with pytest.raises(ValueError, match=message):
        DeepLabelEmbedding(hidden=(4,), augment=augment).fit(*some(3))


def test_a_sample_of_a_new_class_is_explained_by_its_parent(use):
    model = use.with_classes(["eel", "elk"], only=True)
    X = images(np.repeat(["eel", "elk"], 10), seed=6)
    for z, explanation in zip(model.transform(X), model.explain_samples(X, None), strict=True):
        parent = TREE.parent(explanation.label)
        assert explanation.parent == parent
        beta = np.zeros(5)
        for name, value in explanation.attributes:
            beta[NAMES.index(name)] = value
        above = use.superclass_embedding_[use.superclasses_.index(parent)]
        left = np.linalg.norm(z - above - beta @ use.attribute_embedding_)
        assert explanation.residual == pytest.approx(left / np.linalg.norm(z), rel=1e-3, abs=1e-5)
    with pytest.raises(ValueError, match="labels must be a list of labels, got the text 'eel'"):
        use.with_classes("eel")


def test_a_source_without_projection():
    def body():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 4))

    options = {"projection": False, **SHORT}
    source = DeepLabelEmbedding(TREE, ATTRIBUTES, body(), **options).fit(*some())
    y = np.repeat(["eel", "elk"], 3)
    model = DeepLabelEmbedding(TREE, ATTRIBUTES, source=source, **options).fit(images(y, seed=7), y)
    out = images(np.repeat(["eel", "elk"], 40), seed=8)
    np.testing.assert_allclose(model.transform(out), source.transform(out))  # only the labels are new
    assert model.score(out, np.repeat(["eel", "elk"], 40)) > 0.8
    again = saved(model, encoder=body())
    np.testing.assert_array_equal(again.predict_proba(out), model.predict_proba(out))
    with pytest.raises(ValueError, match="projection must be that of source"):
        DeepLabelEmbedding(source=source).fit(images(y), y)


def test_networks_that_a_file_cannot_take_are_named(use):
    with pytest.raises(ValueError, match="encoder cannot be built into it: int is not a Module subclass"):
        saved(use, encoder=3)
    X, y = some(5)

    def lazy():
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(5))

    model = DeepLabelEmbedding(encoder=lazy(), n_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"encoder cannot be built into it: .*uninitialized"):
        saved(model, encoder=lazy())
    built = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 5))
    np.testing.assert_array_equal(saved(model, encoder=built).transform(X), model.transform(X))


def test_the_network_is_exported(use):
    X = images(np.repeat(["cat", "eel"], 4), seed=9)
    scaled = torch.from_numpy((X - use.x_mean_) / use.x_scale_).float()
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(use.encoder_, (scaled,), dynamic_shapes=((rows, None, None, None),))
    np.testing.assert_allclose(program.module()(scaled[:3]).detach(), use.transform(X[:3]), atol=1e-5)
