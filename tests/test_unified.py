"""Unified semantic embedding: each term by hand, against its reference, by finite differences; the fit."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

import fastcca
from fastcca.embedding import UnifiedSemanticEmbedding
from fastcca.embedding._semantics import label_graph
from fastcca.embedding.unified import (
    Objective,
    attribute_loss,
    beta_penalty,
    beta_step,
    project_rows,
    tie,
)
from fastcca.taxonomy import Taxonomy
from reference import semantics as reference

# "deer" is a class and the parent of "elk"; "owl" is below the root; "ray" is no class of the fits.
PARENTS = {
    "root": None,
    "hoof": "root",
    "deer": "hoof",
    "elk": "deer",
    "cow": "hoof",
    "fish": "root",
    "cod": "fish",
    "ray": "fish",
    "owl": "root",
}
TREE = Taxonomy(PARENTS)
CLASSES = np.array(["cod", "cow", "deer", "elk", "owl"])


# ---- three classes by hand


@pytest.fixture
def by_hand():
    """a and b below m, c beside m; one sample of class a at (0.5, 0.25)."""
    graph = label_graph(Taxonomy.from_dict({"root": {"m": ["a", "b"], "c": None}}), np.array(["a", "b", "c"]))
    assert graph.nodes == ("a", "b", "c", "m")
    parameters = {
        "W": np.eye(2),
        "b": np.zeros(2),
        "U": np.array([[1.0, 0.0], [0.0, 1.0], [-0.25, 0.0], [0.5, 0.5]]),
        "A": np.array([[0.6, 0.8], [1.0, 0.0]]),
        "B": np.array([[0.5, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]),
    }
    sample = {
        "features": np.array([[0.5, 0.25]]),
        "y": np.array([0]),
        "weight": np.ones(1),
        "graph": graph,
        "loss": "hinge",
    }
    return sample, parameters


def test_class_term_by_hand(by_hand):
    # squared distances 0.3125 to a, 0.8125 to b, 0.625 to c: 1 + 0.3125 - 0.8125 and 1 + 0.3125 - 0.625
    sample, parameters = by_hand
    assert Objective(**sample)(parameters)[0] == pytest.approx(0.5 + 0.6875)


def test_superclass_term_by_hand(by_hand):
    # m is a's only ancestor and c the only sibling of m: 1 + 0.0625 - 0.625
    sample, parameters = by_hand
    assert Objective(**sample, mu_s=1.0)(parameters)[0] - 1.1875 == pytest.approx(0.4375)


def test_attribute_term_by_hand(by_hand):
    # 1 - z.(0.6, 0.8) = 1 - 0.3 - 0.2: the second attribute is absent
    sample, parameters = by_hand
    objective = Objective(**sample, mu_a=1.0, given=np.array([[1.0, 0.0]]), attribute_loss="linear")
    assert objective(parameters)[0] - 1.1875 == pytest.approx(0.5)
    # z.A = (0.5, 0.5): squared gaps to (1, -2) of 0.25 and 6.25; hinges 1 (1 - 0.5) and 2 (1 + 0.5)
    for kind, value in (("squared", (0.25 + 6.25) / 2), ("hinge", (0.5 + 3.0) / 2)):
        objective = Objective(**sample, mu_a=1.0, given=np.array([[1.0, -2.0]]), attribute_loss=kind)
        assert objective(parameters)[0] - 1.1875 == pytest.approx(value)


def test_regularizer_by_hand(by_hand):
    # what is left: a (0.2, -0.9), b (-0.5, 0.5), c (-1.25, 0), m (-0.1, -0.3): 0.85 + 0.5 + 1.5625 + 0.1
    # exclusive: a with m 2.25 and b 0.25, b with m 1 and a 0.25, c with m 2 and m with c 2
    sample, parameters = by_hand
    objective = Objective(**sample, mu2=2.0, gamma1=0.01, gamma2=0.1)
    expected = 3.0125 + 0.1 * 7.75 + 0.01 * 2.5
    assert objective(parameters)[0] - 1.1875 == pytest.approx(2.0 * expected)


# ---- against the reference, and by finite differences


def make_case(rng, loss, kind, **more):
    graph = label_graph(TREE, CLASSES)
    n, d, p, k = 17, 3, 4, 6
    parameters = {
        "W": rng.normal(size=(p, d)),
        "b": rng.normal(size=d),
        "U": rng.normal(size=(len(graph.nodes), d)),
        "A": rng.normal(size=(k, d)),
        "B": rng.uniform(0, 1, size=(len(graph.nodes), k)),
    }
    share = rng.uniform(0.5, 2, size=n)
    objective = Objective(
        rng.normal(size=(n, p)),
        rng.integers(0, 5, size=n),
        share / share.sum(),
        graph,
        loss=loss,
        mu_s=0.7,
        mu_a=0.3,
        mu2=0.2,
        gamma1=0.05,
        gamma2=0.1,
        lambda1=0.02,
        lambda2=0.03,
        given=rng.normal(size=(n, k)),
        attribute_loss=kind,
        **more,
    )
    return objective, parameters


@pytest.mark.parametrize("loss", ["hinge", "softmax"])
@pytest.mark.parametrize("kind", ["linear", "squared", "hinge"])
def test_objective_equals_its_reference(rng, loss, kind):
    objective, now = make_case(rng, loss, kind)
    graph, U = objective.graph, now["U"]
    rows = {node: i for i, node in enumerate(graph.nodes)}
    expected = 0.0
    for f, y, share, given in zip(
        objective.features, objective.y, objective.weight, objective.given, strict=True
    ):
        z, label = f @ now["W"] + now["b"], CLASSES[y]
        terms = reference.class_term(PARENTS, rows, CLASSES, z, label, U, loss)
        terms += 0.7 * reference.superclass_term(PARENTS, rows, z, label, U, loss)
        terms += 0.3 * reference.attribute_term(z, given, now["A"], kind)
        expected += share * terms
    expected += 0.2 * reference.regularizer(PARENTS, rows, U, now["A"], now["B"], 0.05, 0.1)
    expected += 0.02 * (now["W"] ** 2).sum() + 0.03 * (U**2).sum()
    assert objective(now)[0] == pytest.approx(expected, rel=1e-12)
    assert objective(now, gradient=False)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", ["hinge", "softmax"])
@pytest.mark.parametrize("kind", ["linear", "squared", "hinge"])
@pytest.mark.parametrize("source", [False, True])
def test_gradients_by_finite_differences(rng, loss, kind, source):
    more = {"source_weights": rng.normal(size=(4, 3))} if source else {}
    objective, now = make_case(rng, loss, kind, **more)
    gradients = objective(now)[1]
    for name, gradient in gradients.items():
        direction = rng.normal(size=gradient.shape)
        h = 1e-6
        up, down = (objective({**now, name: now[name] + s * h * direction})[0] for s in (1, -1))
        assert (gradient * direction).sum() == pytest.approx((up - down) / (2 * h), rel=2e-5, abs=1e-7)


def test_a_class_above_another_stays_a_negative(rng):
    objective, now = make_case(rng, "hinge", "squared")
    deer, elk = CLASSES.tolist().index("deer"), CLASSES.tolist().index("elk")
    one = Objective(objective.features[:1], np.array([elk]), np.ones(1), objective.graph, loss="hinge")
    now["b"] = now["U"][elk] - one.features[0] @ now["W"]  # the sample at elk, deer a little off, others far
    now["U"] = now["U"] + 50.0
    now["U"][elk] -= 50.0
    now["U"][deer] = now["U"][elk] + [0.5, 0.0, 0.0]
    assert one(now)[0] == pytest.approx(1.0 - 0.25)
    assert [objective.graph.nodes[s] for s in objective.graph.ancestors[elk]] == ["deer", "hoof"]


def test_a_share_of_the_rows(rng):
    objective, now = make_case(rng, "softmax", "squared")
    rows = np.array([3, 5, 11])
    part = make_case(np.random.default_rng(0), "softmax", "squared")[0]
    share = objective.weight[rows] / objective.weight[rows].sum()
    alone = Objective(
        **{
            **{
                name: getattr(part, name)
                for name in ("graph", "loss", "mu_s", "mu_a", "mu2", "gamma1", "gamma2")
            },
            "lambda1": 0.02,
            "lambda2": 0.03,
            "features": objective.features[rows],
            "y": objective.y[rows],
            "weight": share,
            "given": objective.given[rows],
        }
    )
    assert objective(now, rows)[0] == pytest.approx(alone(now)[0], rel=1e-12)


# ---- the step of the coefficients


@pytest.mark.parametrize(
    ("gamma1", "gamma2", "highest"), [(0.0, 0.1, np.inf), (0.3, 0.02, np.inf), (0.1, 0.05, 0.2)]
)
def test_beta_step_solves_its_program(rng, gamma1, gamma2, highest):
    graph = label_graph(TREE, CLASSES)
    n, k = len(graph.nodes), 5
    U, A, Q = rng.normal(size=(n, 4)), rng.normal(size=(k, 4)), graph.exclusive()

    def value(b):
        b = b.reshape(n, k)
        return tie(graph, U, A, b)[0] + beta_penalty(b, Q, gamma1, gamma2)

    found = beta_step(U - graph.above(U), A, np.zeros((n, k)), Q, gamma1, gamma2, highest, n_steps=3000)
    best = minimize(
        value,
        np.full(n * k, 0.1),
        method="L-BFGS-B",
        bounds=[(0, None if highest == np.inf else highest)] * (n * k),
        options={"maxiter": 3000, "maxfun": 10**6, "ftol": 1e-15, "gtol": 1e-9},
    )
    assert value(found) == pytest.approx(best.fun, rel=1e-6)
    assert found.min() >= 0.0
    assert found.max() <= highest
    # ten steps from anywhere never end higher
    start = rng.uniform(0, min(highest, 1.0), size=(n, k))
    few = beta_step(U - graph.above(U), A, start, Q, gamma1, gamma2, highest, n_steps=10)
    assert value(few) <= value(start)


def test_exclusive_is_the_quadratic_form(rng):
    graph = label_graph(TREE, CLASSES)
    rows = {node: i for i, node in enumerate(graph.nodes)}
    B = rng.normal(size=(len(graph.nodes), 3))
    zero_u, zero_a = np.zeros((len(graph.nodes), 2)), np.zeros((3, 2))
    expected = reference.regularizer(PARENTS, rows, zero_u, zero_a, B, 0.0, 1.0)
    assert beta_penalty(B, graph.exclusive(), 0.0, 1.0) == pytest.approx(expected)


def test_graph_has_the_classes_and_what_is_above_them():
    graph = label_graph(TREE, CLASSES)
    assert graph.nodes == ("cod", "cow", "deer", "elk", "owl", "hoof", "fish")
    assert graph.parent.tolist() == [6, 5, 5, 2, -1, -1, -1]
    assert [graph.nodes[i] for i in graph.siblings[5]] == ["fish", "owl"]
    np.testing.assert_allclose(graph.means_below(np.arange(5.0)[:, None])[:, 0], [0, 1, 2, 3, 4, 2, 0])
    with pytest.raises(ValueError, match="taxonomy has no node 'bee'"):
        label_graph(TREE, np.array(["bee", "cow"]))
    with pytest.raises(ValueError, match="'root' is the root"):
        label_graph(TREE, np.array(["cow", "root"]))
    with pytest.raises(TypeError, match=r"must be a fastcca\.taxonomy\.Taxonomy"):
        label_graph({"cow": "hoof"}, np.array(["cow"]))


def test_rows_are_projected_to_the_ball():
    a = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    project_rows(a, 1.0)
    np.testing.assert_allclose(a, [[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]])


# ---- the estimator


@pytest.fixture(scope="module")
def animals():
    """Rows whose class means are sums of what the class's attributes look like."""
    rng = np.random.default_rng(7)
    labels = ["cod", "cow", "deer", "elk", "owl", "ray"]
    vectors = np.array(
        [
            [1, 0, 0, 0, 1, 0, 0],
            [0, 1, 1, 0, 0, 0, 1],
            [0, 1, 0, 1, 0, 0, 1],
            [0, 1, 0, 1, 1, 0, 1],
            [0, 0, 0, 0, 0, 1, 1],
            [1, 0, 1, 0, 0, 0, 0],
        ],
        dtype=float,
    )
    looks = rng.normal(size=(7, 12))
    y = np.repeat(np.arange(6), 40)
    X = vectors[y] @ looks + 0.8 * rng.normal(size=(240, 12))
    frame = pd.DataFrame(
        vectors, index=labels, columns=["fins", "hooves", "spots", "antlers", "large", "wings", "fur"]
    )
    return X, np.array(labels)[y], frame


def test_the_objective_never_rises_and_attributes_stay_short(animals):
    X, y, frame = animals
    for model in (
        UnifiedSemanticEmbedding(TREE, frame),
        UnifiedSemanticEmbedding(TREE, frame, loss="hinge", mu2=0.1, learning_rate=1.0),
        UnifiedSemanticEmbedding(TREE, frame, attribute_loss="linear", mu1=2.0),
        UnifiedSemanticEmbedding(TREE, mu2=0.05, gamma1=0.01, n_attributes=4, random_state=0),
    ):
        model.set_params(temperature=1.0).fit(X, y)
        assert len(model.loss_curve_) == 11
        assert (np.diff(model.loss_curve_) <= 0).all()
        assert model.loss_curve_[-1] < model.loss_curve_[0]
        assert np.linalg.norm(model.attribute_embedding_, axis=1).max() <= 1 + 1e-12
        assert model.beta_.min() >= 0
        assert model.score(X, y) > 0.9


def test_a_block_that_would_rise_is_left_as_it_was(animals):
    X, y, frame = animals
    model = UnifiedSemanticEmbedding(TREE, frame, learning_rate=1e6, n_epochs=20, temperature=1.0).fit(X, y)
    assert (np.diff(model.loss_curve_) <= 0).all()
    assert np.isfinite(model.loss_curve_).all()


def test_norms_as_constraints(animals):
    X, y, frame = animals
    model = UnifiedSemanticEmbedding(
        TREE, frame, norms="constraint", lambda1=5.0, lambda2=1.0, temperature=1.0
    )
    model.fit(X, y)
    assert (model.weights_**2).sum(axis=0).max() <= 5.0 + 1e-12
    assert (model.label_embedding_**2).sum(axis=1).max() <= 1.0 + 1e-12
    assert (model.superclass_embedding_**2).sum(axis=1).max() <= 1.0 + 1e-12
    assert (np.diff(model.loss_curve_) <= 0).all()
    assert model.score(X, y) > 0.9
    bounded = UnifiedSemanticEmbedding(TREE, frame, mu2=1.0, gamma2=0.0, beta_max=0.05, temperature=1.0).fit(
        X, y
    )
    assert bounded.beta_.max() == pytest.approx(0.05)


def test_settings_are_the_rows_of_the_table():
    setting = UnifiedSemanticEmbedding.setting
    assert setting("LME") == {"mu1": (0.0, 0.0), "mu2": 0.0}
    assert setting("LME-MTL-S", 0.3) == {"mu1": (0.3, 0.0), "mu2": 0.0}
    assert setting("USE-No Reg", 0.3, 0.5) == {"mu1": (0.3, 0.3), "mu2": 0.0}
    assert setting("USE-Reg", 0.3, 0.5) == {"mu1": (0.3, 0.3), "mu2": 0.5}
    with pytest.raises(ValueError, match="row must be one of 'LME', 'LME-MTL-S'"):
        setting("DeViSE")


def test_without_r_the_superclasses_do_not_matter_to_lme(animals):
    X, y, _ = animals
    flat = UnifiedSemanticEmbedding(
        **UnifiedSemanticEmbedding.setting("LME"), random_state=0, temperature=1.0
    ).fit(X, y)
    tree = clone(flat).set_params(taxonomy=TREE, lambda2=flat.lambda2).fit(X, y)
    # superclasses have no part in L_C: other steps lead to the same minimum
    np.testing.assert_allclose(tree.predict_proba(X), flat.predict_proba(X), atol=0.05)
    assert (tree.predict(X) == flat.predict(X)).mean() > 0.98


def test_attributes_by_row_by_class_and_latent(animals):
    X, y, frame = animals
    by_class = UnifiedSemanticEmbedding(TREE, frame, temperature=1.0).fit(X, y)
    rows = frame.loc[y].to_numpy()
    by_row = UnifiedSemanticEmbedding(TREE, temperature=1.0).fit(X, y, sample_attributes=rows)
    np.testing.assert_allclose(by_row.attribute_embedding_, by_class.attribute_embedding_, atol=1e-8)
    np.testing.assert_allclose(by_row.predict_proba(X), by_class.predict_proba(X), atol=1e-8)
    latent = UnifiedSemanticEmbedding(TREE, n_attributes=3, random_state=0, temperature=1.0).fit(X, y)
    assert latent.attribute_embedding_.shape == (3, 6)
    assert latent.attribute_names_ == ["attribute 0", "attribute 1", "attribute 2"]
    with pytest.raises(ValueError, match="both given"):
        by_class.fit(X, y, sample_attributes=rows)
    frame = pd.DataFrame(rows, columns=[f"a{i}" for i in range(rows.shape[1])])
    named = UnifiedSemanticEmbedding(TREE, n_epochs=10, n_rounds=1, temperature=1.0)
    assert named.fit(X, y, sample_attributes=frame).attribute_names_ == frame.columns.tolist()
    with pytest.raises(ValueError, match="sample_attributes has 3 rows and X has 240"):
        by_row.fit(X, y, sample_attributes=rows[:3])
    with pytest.raises(ValueError, match="beta='attributes' needs attributes"):
        UnifiedSemanticEmbedding(TREE, beta="attributes").fit(X, y)


def test_coefficients_from_attributes_are_what_the_parent_lacks(animals):
    X, y, frame = animals
    model = UnifiedSemanticEmbedding(TREE, frame, beta="attributes", mu2=0.05, temperature=1.0).fit(X, y)
    elk, deer = model.nodes_.index("elk"), model.nodes_.index("deer")
    used = model.beta_[elk] > 0  # the attributes in which an elk exceeds a deer, and its node's mean
    more = frame.loc["elk"] - (frame.loc["deer"])
    assert model.parents_[elk] == "deer"
    assert np.array(model.attribute_names_)[used].tolist() == more[more > 0].index.tolist() == ["large"]
    assert model.beta_[deer].sum() > 0


def test_batches_and_seeds(animals):
    X, y, frame = animals
    model = UnifiedSemanticEmbedding(TREE, frame, batch_size=50, n_epochs=40, random_state=0, temperature=1.0)
    first, second = (clone(model).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(first.label_embedding_, second.label_embedding_)
    assert first.score(X, y) > 0.9
    other = clone(model).set_params(random_state=1).fit(X, y)
    assert not np.array_equal(other.label_embedding_, first.label_embedding_)


def test_explain(animals):
    X, y, frame = animals
    model = UnifiedSemanticEmbedding(TREE, frame, mu2=0.5, gamma2=0.01, temperature=1.0).fit(X, y)
    why = model.explain("elk", n_attributes=None)
    assert (why.label, why.parent) == ("elk", "deer")
    elk, deer = (model.label_embedding_[model.classes_.tolist().index(name)] for name in ("elk", "deer"))
    names = list(frame.columns)
    rebuilt = deer + sum(w * model.attribute_embedding_[names.index(name)] for name, w in why.attributes)
    assert why.residual == pytest.approx(np.linalg.norm(elk - rebuilt) / np.linalg.norm(elk), rel=1e-6)
    weights = [w for _, w in why.attributes]
    assert weights == sorted(weights, reverse=True)
    assert len(model.explain("elk", n_attributes=1).attributes) <= 1
    assert str(model.explain("owl")).startswith("owl = ")
    assert str(why).startswith("elk = deer")
    assert model.explain("hoof").parent is None
    with pytest.raises(ValueError, match="label must be one of nodes_, got 'emu'"):
        model.explain("emu")


def test_structure_as_a_start_spells_labels_out(animals):
    X, y, frame = animals
    model = UnifiedSemanticEmbedding(
        TREE, frame, init="structure", beta="attributes", mu2=0.02, temperature=1.0
    )
    fitted = clone(model).fit(X, y)
    assert fitted.label_embedding_.shape == (6, 8 + 7)  # six classes, two superclasses, seven attributes
    assert fitted.score(X, y) > 0.9
    assert (np.diff(fitted.loss_curve_) <= 0).all()
    # hardly moved: deer and elk share what deer has, elk adds its own axis and size
    first = clone(model).set_params(n_epochs=1, learning_rate=1e-9, mu2=0.0).fit(X, y)
    deer, elk = (first.label_embedding_[first.classes_.tolist().index(name)] for name in ("deer", "elk"))
    own = np.zeros(15)
    own[first.nodes_.index("elk")] = 1.0
    step = (elk - deer) / (elk - deer)[first.nodes_.index("elk")]
    np.testing.assert_array_equal(
        np.flatnonzero(np.abs(step - own) > 1e-6), [8 + frame.columns.tolist().index("large")]
    )
    plain = UnifiedSemanticEmbedding(init="structure", mu2=0.1, temperature=1.0).fit(X, y)
    assert plain.attribute_embedding_.shape == (0, 6)
    assert plain.score(X, y) > 0.9


# ---- transfer


def test_zero_shot(animals):
    X, y, frame = animals
    seen = ~np.isin(y, ["elk", "ray"])
    model = UnifiedSemanticEmbedding(TREE, frame, mu2=0.02, beta="attributes", temperature=1.0).fit(
        X[seen], y[seen]
    )
    only = model.with_classes(["ray", "elk"], only=True)
    assert only.classes_.tolist() == ["elk", "ray"]
    assert only.score(X[~seen], y[~seen]) > 0.9
    assert model.classes_.tolist() == ["cod", "cow", "deer", "owl"]  # the model itself is as it was
    # u_ray is along u_fish + s max(a_ray - a_fish, 0) A, where fish is known by cod alone
    fish = model.superclass_embedding_[model.superclasses_.index("fish")]
    more = np.maximum(frame.loc["ray"] - frame.loc["cod"], 0).to_numpy() @ model.attribute_embedding_
    ray = only.label_embedding_[1]
    parts, left = np.linalg.lstsq(np.column_stack([fish, more]), ray, rcond=None)[:2]
    assert left.sum() < 1e-20
    assert parts[1] / parts[0] == pytest.approx(model._beta_scale / model._attribute_unit)
    lengths = np.linalg.norm(model.label_embedding_, axis=1)
    assert np.linalg.norm(ray) == pytest.approx(lengths.mean())
    both = model.with_classes(["ray", "elk"], seen_calibration=0.5)
    assert both.classes_.tolist() == ["cod", "cow", "deer", "elk", "owl", "ray"]
    plain = model.with_classes(["ray", "elk"])
    lowered = both.decision_function(X) - plain.decision_function(X)
    np.testing.assert_allclose(lowered, np.tile([-0.5, -0.5, -0.5, 0, -0.5, 0], (len(X), 1)), atol=1e-12)
    with pytest.raises(ValueError, match="'cod', which was a class of the fit"):
        model.with_classes(["cod"])
    with pytest.raises(ValueError, match="nothing to place"):
        UnifiedSemanticEmbedding(temperature=1.0).fit(X, y).with_classes(["emu"])


def test_few_shot_keeps_to_the_source(animals):
    X, y, frame = animals
    old, new = np.isin(y, ["cod", "cow", "deer", "owl"]), np.isin(y, ["elk", "ray"])
    source = UnifiedSemanticEmbedding(TREE, frame, mu2=0.02, temperature=1.0).fit(X[old], y[old])
    few = np.flatnonzero(new)[[0, 1, 40, 41]]
    rest = np.setdiff1d(np.flatnonzero(new), few)
    model = UnifiedSemanticEmbedding(
        TREE, frame, source=source, lambda1=1.0, mu2=0.1, beta="attributes", temperature=1.0
    )
    model.fit(X[few], y[few])
    assert model.score(X[rest], y[rest]) > 0.85
    np.testing.assert_allclose(model.attribute_embedding_, source.attribute_embedding_, rtol=0, atol=1e-12)
    fish = model.superclasses_.index("fish")
    np.testing.assert_array_equal(
        model.superclass_embedding_[fish], source.superclass_embedding_[source.superclasses_.index("fish")]
    )
    np.testing.assert_array_equal(model.scaling_.mean_, source.scaling_.mean_)
    # the heavier lambda1, the nearer the map stays to the source's
    tight = clone(model).set_params(source=FrozenEstimator(source), lambda1=1e3).fit(X[few], y[few])
    assert np.linalg.norm(tight.weights_ - source.weights_) < 0.1 * np.linalg.norm(
        model.weights_ - source.weights_
    )
    with pytest.raises(NotFittedError, match="FrozenEstimator"):
        clone(model).fit(X[few], y[few])
    with pytest.raises(ValueError, match="source was fitted to 12 features, X has 5"):
        model.fit(X[few, :5], y[few])


def test_few_shot_without_semantics_starts_at_the_means(animals):
    X, y, _ = animals
    old, new = np.isin(y, ["cod", "cow", "deer", "owl"]), np.isin(y, ["elk", "ray"])
    lme = UnifiedSemanticEmbedding(**UnifiedSemanticEmbedding.setting("LME"), random_state=0, temperature=1.0)
    source = clone(lme).fit(X[old], y[old])
    model = lme.set_params(source=source, lambda1=1.0).fit(X[new], y[new])
    assert model.score(X[new], y[new]) > 0.9


# ---- files, units, refusals


def test_save_and_load(animals, tmp_path):
    X, y, frame = animals
    attributes = {label: row.to_numpy() for label, row in frame.iterrows()}
    model = UnifiedSemanticEmbedding(TREE, attributes, n_epochs=20).fit(X, y)
    model.save(tmp_path / "use.npz")
    again = fastcca.load(tmp_path / "use.npz")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert str(again.explain("elk")) == str(model.explain("elk"))
    known = y != "ray"
    zero = UnifiedSemanticEmbedding(TREE, attributes, n_epochs=20).fit(X[known], y[known])
    zero.save(tmp_path / "zero.npz")
    placed = fastcca.load(tmp_path / "zero.npz").with_classes(["ray"])
    np.testing.assert_array_equal(placed.label_embedding_, zero.with_classes(["ray"]).label_embedding_)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_units_of_the_inputs_do_not_matter(animals, factor):
    X, y, frame = animals
    model = UnifiedSemanticEmbedding(TREE, frame, temperature=1.0)
    plain, scaled = clone(model).fit(X, y), clone(model).fit(factor * X, y)
    np.testing.assert_allclose(scaled.predict_proba(factor * X), plain.predict_proba(X), atol=1e-6)


def test_float32_gives_nearly_the_same(animals):
    X, y, frame = animals
    model = UnifiedSemanticEmbedding(TREE, frame, temperature=1.0)
    wide, narrow = clone(model).fit(X, y), clone(model).fit(X.astype(np.float32), y)
    assert narrow.label_embedding_.dtype == np.float32
    np.testing.assert_allclose(narrow.predict_proba(X), wide.predict_proba(X), atol=2e-2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mu1": -1.0}, "mu1 must be a finite number >= 0"),
        ({"mu1": (1.0, 2.0, 3.0)}, r"mu1 must be a finite number >= 0 or a pair of them \(of L_S, of L_A\)"),
        ({"mu2": "much"}, "mu2 must be a finite number"),
        ({"loss": "sum"}, "loss must be one of 'hinge', 'hardest'"),
        ({"norms": "none"}, "norms must be one of"),
        ({"norms": "constraint", "lambda2": 0.0}, "lambda2 must be a finite number > 0"),
        ({"n_rounds": 0}, "n_rounds must be an integer >= 1"),
        ({"source": 3}, "source must be a fitted label embedding"),
    ],
)
def test_parameters_are_checked(animals, parameters, message):
    X, y, _ = animals
    with pytest.raises((ValueError, TypeError), match=message):
        UnifiedSemanticEmbedding(**parameters).fit(X, y)


def test_defaults_on_awa(data_home):
    from fastcca.datasets import load_awa

    awa = load_awa(data_home)
    rng = np.random.default_rng(0)
    rows = np.array([rng.permutation(np.flatnonzero(awa.y == c))[:60] for c in range(50)])
    train, test = rows[:, :30].ravel(), rows[:, 30:].ravel()
    labels = awa.class_names[awa.y]
    attributes = dict(zip(awa.class_names, awa.attributes, strict=True))
    for model in (
        UnifiedSemanticEmbedding(random_state=0),
        UnifiedSemanticEmbedding(awa.taxonomy, attributes),
    ):
        model.set_params(temperature=1.0).fit(awa.X[train], labels[train])
        assert model.score(awa.X[test], labels[test]) >= 0.20


def test_attribute_loss_refuses_nothing_and_weighs_rows(rng):
    Z, A, given = rng.normal(size=(7, 3)), rng.normal(size=(5, 3)), rng.normal(size=(7, 5))
    share = np.array([0.5, 0.5, 0, 0, 0, 0, 0])
    for kind in ("linear", "squared", "hinge"):
        value, of_z, _ = attribute_loss(Z, A, given, kind, share)
        expected = np.mean([reference.attribute_term(Z[i], given[i], A, kind) for i in range(2)])
        assert value == pytest.approx(expected)
        assert (of_z[2:] == 0).all()


def test_an_extended_model_is_a_model(animals):
    X, y, frame = animals
    known = np.isin(y, ["cod", "cow", "deer", "owl"])
    model = UnifiedSemanticEmbedding(TREE, frame, n_epochs=20, n_rounds=2, temperature=1.0)
    model.fit(X[known], y[known])
    # extended twice, it has the classes and offsets of both
    first = model.with_classes(["ray"], seen_calibration=0.5)
    twice = first.with_classes(["elk"])
    assert twice.classes_.tolist() == ["cod", "cow", "deer", "elk", "owl", "ray"]
    assert twice.decision_offset_.tolist() == [-0.5, -0.5, -0.5, 0.0, -0.5, 0.0]
    at_once = model.with_classes(["elk", "ray"], seen_calibration=0.5)
    np.testing.assert_array_equal(twice.decision_function(X), at_once.decision_function(X))
    # fitted again, it forgets them
    again = clone(model).fit(X, y).decision_function(X)
    np.testing.assert_array_equal(twice.fit(X, y).decision_function(X), again)
    # as a source it knows the class without rows too
    few = UnifiedSemanticEmbedding(TREE, frame, source=first, n_epochs=1, learning_rate=1e-9, temperature=1.0)
    few.fit(X[~known], y[~known])
    ray = few.label_embedding_[few.classes_.tolist().index("ray")]
    np.testing.assert_allclose(ray, first.label_embedding_[first.classes_.tolist().index("ray")], rtol=1e-6)


def test_parents_and_points_of_the_nodes(animals):
    X, y, frame = animals
    model = UnifiedSemanticEmbedding(TREE, frame, n_epochs=10, n_rounds=1, temperature=1.0).fit(X, y)
    assert dict(zip(model.nodes_, model.parents_, strict=True)) == {
        "cod": "fish",
        "cow": "hoof",
        "deer": "hoof",
        "elk": "deer",
        "owl": None,
        "ray": "fish",
        "hoof": None,
        "fish": None,
    }
    np.testing.assert_array_equal(model.node_embedding_[:6], model.label_embedding_)
    np.testing.assert_array_equal(model.node_embedding_[6:], model.superclass_embedding_)
