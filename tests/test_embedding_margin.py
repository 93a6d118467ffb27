"""Large-margin embeddings: their objectives, that these are minimised, taxonomies, and real animals."""

import numpy as np
import pytest
from scipy.optimize import minimize

import fastcca
from fastcca import NumericalError
from fastcca.datasets import load_awa
from fastcca.embedding import LargeMarginEmbedding, LargeMarginTaxonomyEmbedding, RidgeEmbedding
from fastcca.embedding._semantics import label_costs
from fastcca.embedding.taxonomy_margin import SMOOTH, _Program
from fastcca.metrics import hierarchical_precision_at_k
from fastcca.taxonomy import Taxonomy
from reference import embedding as reference

TREE = Taxonomy.from_dict({"animal": {"insect": ["ant", "bee"], "mammal": ["cat", "dog"]}})
LOSSES = ["hinge", "hardest", "rank", "softmax"]


@pytest.fixture
def classes(rng):
    centres = rng.normal(size=(4, 5))
    codes = np.repeat(np.arange(4), 12)
    return centres[codes] + 0.7 * rng.normal(size=(48, 5)), np.array(["ant", "bee", "cat", "dog"])[codes]


def codes_of(y):
    return np.unique(y, return_inverse=True)[1]


# ---- LME


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("taxonomy", [None, TREE], ids=["flat", "tree"])
def test_objective_is_what_the_reference_says(classes, loss, similarity, taxonomy):
    X, y = classes
    # a last step of almost no length: the curve's end is the objective at the parameters kept
    model = LargeMarginEmbedding(
        loss=loss,
        similarity=similarity,
        margin=0.7,
        taxonomy=taxonomy,
        reg=0.05,
        reg_labels=0.02,
    ).fit(X, y)
    margin = 0.7 if taxonomy is None else 0.7 * label_costs(TREE, model.classes_)
    value = reference.large_margin_objective(
        model.scaling_.transform(X),
        codes_of(y),
        model.weights_,
        model.intercept_,
        model.label_embedding_,
        margin,
        loss,
        similarity,
        (0.05, 0.02),
    )
    assert model.loss_curve_[-1] == pytest.approx(value, rel=1e-3)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_softmax_reaches_the_minimum(classes):
    X, y = classes
    model = LargeMarginEmbedding(loss="softmax", n_epochs=1500, temperature=1.0).fit(X, y)
    f, codes = model.scaling_.transform(X), codes_of(y)
    penalties = model.reg_, model.reg_labels_
    shapes = [(5, 4), (4,), (4, 4)]
    sizes = np.cumsum([np.prod(shape) for shape in shapes])[:-1]

    def objective(flat):
        w, b, u = (part.reshape(shape) for part, shape in zip(np.split(flat, sizes), shapes, strict=True))
        z = f @ w + b
        gaps = -((z[:, None] - u) ** 2).sum(axis=2)
        loss = np.log(np.exp(gaps - gaps[np.arange(48), codes][:, None]).sum(axis=1)).mean()
        return loss + penalties[0] * (w**2).sum() + penalties[1] * (u**2).sum()

    found = np.concatenate([a.ravel() for a in (model.weights_, model.intercept_, model.label_embedding_)])
    best = minimize(objective, found, method="L-BFGS-B", options={"maxiter": 300, "maxfun": 10**5})
    assert objective(found) <= best.fun * (1 + 2e-3)


def test_taxonomy_draws_relatives_together(classes):
    X, y = classes
    noise = np.random.default_rng(1).normal(size=X.shape)  # classes that the inputs do not tell apart
    ratio = []
    for taxonomy in (None, TREE):
        model = LargeMarginEmbedding(taxonomy=taxonomy, temperature=1.0, n_epochs=1000).fit(
            0.1 * X + noise, y
        )
        apart = ((model.label_embedding_[:, None] - model.label_embedding_) ** 2).sum(axis=2)
        ratio.append((apart[0, 1] + apart[2, 3]) / 2 / apart[:2, 2:].mean())
    assert ratio[1] < 0.9 * ratio[0]


@pytest.mark.parametrize("n_components", [1, 2, 4])
def test_fewer_components(classes, n_components):
    X, y = classes
    model = LargeMarginEmbedding(n_components).fit(X, y)
    assert model.transform(X).shape == (48, n_components)
    assert model.label_embedding_.shape == (4, n_components)
    assert model.score(X, y) > (0.45 if n_components == 1 else 0.8)


def test_batches_depend_on_the_seed_alone(classes):
    X, y = classes
    fits = [LargeMarginEmbedding(batch_size=16, random_state=seed).fit(X, y) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(fits[0].label_embedding_, fits[1].label_embedding_)
    assert not np.array_equal(fits[0].label_embedding_, fits[2].label_embedding_)
    whole = LargeMarginEmbedding(batch_size=None).fit(X, y)
    assert fits[0].score(X, y) == pytest.approx(whole.score(X, y), abs=0.05)


@pytest.mark.parametrize("n_threads", [1, 2, 7])
def test_threads_change_nothing(classes, n_threads):
    X, y = classes
    np.testing.assert_array_equal(
        LargeMarginEmbedding(n_threads=n_threads, n_epochs=20).fit(X, y).label_embedding_,
        LargeMarginEmbedding(n_epochs=20).fit(X, y).label_embedding_,
    )


def test_class_weights_act_as_sample_weights(classes):
    X, y = classes
    by_class = LargeMarginEmbedding(class_weight={"bee": 3.0}, n_epochs=50).fit(X, y)
    by_row = LargeMarginEmbedding(n_epochs=50).fit(X, y, sample_weight=np.where(y == "bee", 3.0, 1.0))
    np.testing.assert_allclose(by_class.predict_proba(X), by_row.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"loss": "log"}, "loss must be one of 'hinge', 'hardest', 'rank', 'softmax', got 'log'"),
        ({"similarity": "dot"}, "similarity must be one of 'euclidean', 'cosine', got 'dot'"),
        ({"margin": 0.0}, "margin must be a finite number > 0 or None, got 0.0"),
        ({"reg": -1.0}, "reg must be a finite number >= 0 or None, got -1.0"),
        ({"n_components": 5}, "n_components=5 is more than the number of classes, 4"),
        ({"n_components": 0}, "n_components must be an integer >= 1 or None, got 0"),
        ({"n_epochs": 0}, "n_epochs must be an integer >= 1, got 0"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1 or None, got 0"),
        (
            {"taxonomy": Taxonomy.from_dict({"animal": ["ant", "bee", "cat"]})},
            "taxonomy has no node 'dog'",
        ),
        ({"n_threads": 0}, "n_threads must be an integer >= 1"),
    ],
)
def test_parameters_out_of_range(classes, parameters, message):
    with pytest.raises(ValueError, match=message):
        LargeMarginEmbedding(**parameters).fit(*classes)


def test_a_taxonomy_must_be_one(classes):
    for model in (LargeMarginEmbedding(taxonomy={"a": "b"}), LargeMarginTaxonomyEmbedding({"a": "b"})):
        with pytest.raises(
            TypeError, match=r"taxonomy must be a fastcca\.taxonomy\.Taxonomy or None, got dict"
        ):
            model.fit(*classes)


def test_costs_by_hand():
    # hops: 2 between siblings, 4 across; the mean of 4 · 2 and 8 · 4 over 12 is 10/3
    np.testing.assert_allclose(
        label_costs(TREE, np.array(["ant", "bee", "cat", "dog"])),
        0.3 * np.array([[0, 2, 4, 4], [2, 0, 4, 4], [4, 4, 0, 2], [4, 4, 2, 0]]),
    )


# ---- LMTE


@pytest.fixture
def program(rng):
    y = np.repeat(np.arange(4), 10)
    mapped = 0.6 * np.eye(4)[y] + 0.1 + 0.25 * rng.normal(size=(40, 4))
    costs = label_costs(TREE, np.array(["ant", "bee", "cat", "dog"]))
    return _Program(mapped, y, np.full(40, 1 / 40), costs, 0.2)


def test_value_and_gradient_of_the_program(program, rng):
    root = rng.normal(size=(4, 4))
    q = root @ root.T
    value, gradient = program.value_and_gradient(q)

    def objective(m):
        return reference.taxonomy_objective(program.mapped, program.y, m, program.costs, 0.2, SMOOTH)

    assert value == pytest.approx(objective(q), rel=1e-12)
    for _ in range(5):
        direction = rng.normal(size=(4, 4))
        direction += direction.T
        slope = (objective(q + 1e-6 * direction) - objective(q - 1e-6 * direction)) / 2e-6
        assert np.vdot(gradient, direction) == pytest.approx(slope, rel=1e-5)


def test_the_program_is_solved(program):
    q, value, n_iter = program.solve(5000, 1e-9)
    gradient = program.value_and_gradient(q)[1]
    # over the cone of positive semidefinite matrices: ∇ is one too, and orthogonal to Q
    assert np.linalg.eigvalsh(q)[0] >= -1e-12
    assert np.linalg.eigvalsh(gradient)[0] >= -1e-4
    assert abs(np.vdot(gradient, q)) < 1e-4 * value
    assert n_iter < 5000

    # and by a search of another kind, over the roots of Q
    def objective(flat):
        root = flat.reshape(4, 4)
        value, gradient = program.value_and_gradient(root @ root.T)
        return value, (2 * gradient @ root).ravel()

    best = minimize(objective, np.eye(4).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    assert value == pytest.approx(best.fun, rel=1e-4)


def test_rows_in_chunks_add_up(program, monkeypatch):
    whole = program.value_and_gradient(np.eye(4))
    monkeypatch.setattr("fastcca.embedding.taxonomy_margin.ROWS", 28)
    parts = program.value_and_gradient(np.eye(4))
    assert parts[0] == pytest.approx(whole[0], rel=1e-12)
    np.testing.assert_allclose(parts[1], whole[1], atol=1e-12)


def test_taxonomy_embedding_is_the_program_on_ridge_predictions(classes):
    X, y = classes
    model = LargeMarginTaxonomyEmbedding(TREE, mu=0.2, reg=0.01).fit(X, y)
    ridge = RidgeEmbedding(reg=0.01).fit(X, y)
    program = _Program(
        ridge.transform(X), codes_of(y), np.full(48, 1 / 48), label_costs(TREE, model.classes_), 0.2
    )
    q, value, _ = program.solve(500, 1e-4)
    np.testing.assert_allclose(model.metric_, q, atol=1e-9)
    assert model.objective_ == pytest.approx(value)
    u = model.label_embedding_
    np.testing.assert_allclose(u @ u.T, q, atol=1e-7 * q.max())
    np.testing.assert_allclose(model.transform(X), ridge.transform(X) @ u, atol=1e-9)
    assert model.score(X, y) > 0.8


def test_mu_that_leaves_nothing(classes):
    with pytest.raises(NumericalError, match=r"with mu=0\.999 the best metric is 0"):
        LargeMarginTaxonomyEmbedding(mu=0.999, reg=10.0).fit(*classes)
    for mu in (1.0, -0.1):
        with pytest.raises(ValueError, match="mu must be a finite number >= 0"):
            LargeMarginTaxonomyEmbedding(mu=mu).fit(*classes)


# ---- both


@pytest.mark.parametrize(
    "model", [LargeMarginEmbedding(n_epochs=30, taxonomy=TREE), LargeMarginTaxonomyEmbedding(TREE)]
)
def test_save_and_load(model, classes, tmp_path):
    X, y = classes
    model.fit(X, y).save(tmp_path / "model.npz")
    loaded = fastcca.load(tmp_path / "model.npz")
    assert loaded.taxonomy == TREE
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("model", [LargeMarginEmbedding(), LargeMarginTaxonomyEmbedding()])
def test_units_and_names_change_nothing(model, classes):
    X, y = classes
    plain = model.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(model.fit(1e3 * (X + 2.0), y).predict_proba(1e3 * (X + 2.0)), plain, atol=2e-3)
    renamed = np.array([3, 1, 2, 0])[codes_of(y)]
    np.testing.assert_allclose(model.fit(X, renamed).predict_proba(X)[:, [3, 1, 2, 0]], plain, atol=2e-3)


def test_defaults_on_animals(data_home):
    try:
        awa = load_awa()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    rows = np.array([rng.permutation(np.flatnonzero(awa.y == c))[:60] for c in range(50)])
    train, test = rows[:, :30].ravel(), rows[:, 30:].ravel()
    names = awa.class_names[awa.y]
    for model in (RidgeEmbedding(temperature=1.0), LargeMarginEmbedding(temperature=1.0)):
        assert model.fit(awa.X[train], names[train]).score(awa.X[test], names[test]) >= 0.20
    plain, tree = (
        hierarchical_precision_at_k(
            names[test],
            LargeMarginTaxonomyEmbedding(taxonomy, temperature=1.0)
            .fit(awa.X[train], names[train])
            .decision_function(awa.X[test]),
            5,
            awa.taxonomy,
            classes=np.unique(names),
        )
        for taxonomy in (None, awa.taxonomy)
    )
    assert tree > plain  # the taxonomy is what makes confusions cheap
