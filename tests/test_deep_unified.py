"""HingeEmbeddingLoss with a table of constraints, and UnifiedSemanticLoss."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny batches

from fastcca.deep import HingeEmbeddingLoss, UnifiedSemanticLoss  # noqa: E402
from fastcca.deep.losses import hinge as operator  # noqa: E402
from fastcca.embedding import UnifiedSemanticEmbedding  # noqa: E402
from fastcca.embedding._data import TrainingData  # noqa: E402
from fastcca.embedding._semantics import label_graph  # noqa: E402
from fastcca.errors import NumericalError  # noqa: E402
from fastcca.functional import ConstraintTable  # noqa: E402
from fastcca.taxonomy import Taxonomy  # noqa: E402
from reference import hinge as ref  # noqa: E402

# four classes and seven nodes: a class with two pairs, one with one, one with none, one with an empty pair
CONSTRAINTS = [[(4, [5, 6]), (0, [1, 2, 3])], [(5, [4])], [], [(6, []), (4, [0, 5, 6])]]


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# ---- the operator with a table


@pytest.mark.parametrize("form", ref.FORMS)
@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("costs", [False, True])
def test_table_against_the_slow_reference(where, form, similarity, reduction, costs):
    n = 11
    Z, U = drawn(n, 3).requires_grad_(), drawn(7, 3, seed=1).requires_grad_()
    y = torch.tensor([0, 1, 2, 3, 0, 3, 1, 0, 2, 3, 0])
    weight = torch.rand(n, generator=torch.Generator().manual_seed(2)).double()
    weight[4] = 0
    class_weight = torch.tensor([1.0, 2.0, 0.5, 3.0])
    margin = torch.rand(4, 7, generator=torch.Generator().manual_seed(3)).double() if costs else 0.7
    if costs and form == "softmax":
        pytest.skip("the softmax has no margin")
    table = ConstraintTable.from_lists(CONSTRAINTS)
    loss = HingeEmbeddingLoss(
        margin, similarity, reduction, class_weight=class_weight, table=table, **ref.FORMS[form]
    )
    value = loss(Z, U, y, sample_weight=weight)
    scales = (weight * class_weight.double()[y]).numpy()
    if reduction == "mean":
        scales = scales / scales.sum()
    z, u = Z.detach().numpy(), U.detach().numpy()
    cost = margin.numpy() if costs else margin
    values, grads = [], [0, 0]
    for i in range(n):
        alone = np.zeros(n)
        alone[i] = scales[i]
        one, *parts, _ = ref.hinge_embedding_loss(z, u, y.numpy(), cost, similarity, form, CONSTRAINTS, alone)
        values.append(one)
        grads = [a + b for a, b in zip(grads, parts, strict=True)]
    expected = np.array(values) if reduction == "none" else np.sum(values)
    np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-12, atol=1e-13)
    value.sum().backward()
    np.testing.assert_allclose(Z.grad.numpy(), grads[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(U.grad.numpy(), grads[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("form", [form for form in ref.FORMS if form != "rank"])  # its gradient holds weights
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradcheck_with_a_table(where, form, reduction):
    Z, U = drawn(5, 3, seed=4).requires_grad_(), drawn(7, 3, seed=5).requires_grad_()
    y = torch.tensor([3, 0, 1, 2, 0])
    loss = HingeEmbeddingLoss(
        0.7, reduction=reduction, table=ConstraintTable.from_lists(CONSTRAINTS), **ref.FORMS[form]
    )
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, y), (Z, U))


def test_table_of_all_other_classes_is_the_loss_without_one(where):
    Z, U, y = drawn(9, 4), drawn(5, 4, seed=1), torch.arange(9) % 5
    every = [[(c, [o for o in range(5) if o != c])] for c in range(5)]
    for options in ref.FORMS.values():
        with_table = HingeEmbeddingLoss(table=ConstraintTable.from_lists(every), **options)
        torch.testing.assert_close(with_table(Z, U, y), HingeEmbeddingLoss(**options)(Z, U, y))


def test_table_by_hand(where):
    # class 0: node 2 against node 3; z = 0, u_2 = 1, u_3 = 2: 1 + 1 - 4 < 0; with margin 5: 2
    U = torch.tensor([[9.0], [9.0], [1.0], [2.0]])
    table = ConstraintTable.from_lists([[(2, [3])], []])
    y = torch.tensor([0, 1])
    assert HingeEmbeddingLoss(table=table)(torch.zeros(2, 1), U, y).item() == 0
    assert HingeEmbeddingLoss(5.0, table=table)(torch.zeros(2, 1), U, y).item() == 1  # mean of 2 and 0


def test_a_table_without_pairs_is_zero_with_gradients(where):
    Z, U = drawn(3, 2).requires_grad_(), drawn(4, 2).requires_grad_()
    for reduction in ("mean", "none"):
        loss = HingeEmbeddingLoss(reduction=reduction, table=ConstraintTable.from_lists([[], [(1, [])]]))
        loss(Z, U, torch.tensor([0, 1, 1])).sum().backward()
        assert not Z.grad.any()
        assert not U.grad.any()


def test_table_compiles_transforms_and_passes_torchs_own_checks():
    Z, U, y = drawn(6, 3).requires_grad_(), drawn(7, 3, seed=1).requires_grad_(), torch.arange(6) % 4
    loss = HingeEmbeddingLoss(table=ConstraintTable.from_lists(CONSTRAINTS))
    options = (None, 1.0, "euclidean", "sum", 1 / 6, None, None)
    parts = [getattr(loss, name) for name in operator._TABLE]
    torch.library.opcheck(
        torch.ops.fastcca.hinge_embedding_loss.default,
        (Z, U, True, y, *options, *parts, *loss._most),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(Z, U, y), loss(Z, U, y))
    gradient = torch.func.grad(lambda z: loss(z, U.detach(), y))(Z.detach())
    loss(Z, U, y).backward()
    torch.testing.assert_close(gradient, Z.grad)


def test_table_moves_with_the_module_and_is_not_in_its_state():
    loss = HingeEmbeddingLoss(table=ConstraintTable.from_lists(CONSTRAINTS))
    assert not loss.state_dict()
    assert loss.to("meta").negative_nodes.device.type == "meta"
    assert "table of 5 pairs" in repr(loss)


def test_bad_tables_are_named(where):
    table = ConstraintTable.from_lists(CONSTRAINTS)
    Z, U, y = drawn(2, 3), drawn(7, 3), torch.tensor([0, 1])
    with pytest.raises(TypeError, match="table must be a ConstraintTable or None, got list"):
        HingeEmbeddingLoss(table=CONSTRAINTS)
    with pytest.raises(ValueError, match="table has 7 nodes, but U has 6 rows"):
        HingeEmbeddingLoss(table=table)(Z, U[:6], y)
    with pytest.raises(ValueError, match="table has 4 classes, but class_weight is of 7"):
        HingeEmbeddingLoss(table=table, class_weight=torch.ones(7))(Z, U, y)
    with pytest.raises(
        ValueError, match=r"margin must have shape \(classes, nodes\) = \(4, 7\), got \(7, 7\)"
    ):
        HingeEmbeddingLoss(torch.ones(7, 7), table=table)(Z, U, y)
    for reduction in ("mean", "none"):
        if where == "core" or reduction == "none":
            with pytest.raises(ValueError, match="y must hold classes from 0 to 3, got 5"):
                HingeEmbeddingLoss(reduction=reduction, table=table)(Z, U, torch.tensor([0, 5]))


# ---- UnifiedSemanticLoss: three classes by hand, as tests/test_unified.py has them


@pytest.fixture
def by_hand():
    """a and b below m, c beside m; a sample of class a at (0.5, 0.25)."""

    def loss(**options):
        tree = Taxonomy.from_dict({"root": {"m": ["a", "b"], "c": None}})
        off = {"mu1": 0.0, "mu2": 0.0, "lambda2": 0.0, "gamma2": 0.0, "loss": "hinge"}
        given = {"n_components": 2, "n_attributes": 2, "dtype": torch.float64}
        use = UnifiedSemanticLoss(tree, **{**off, **given, **options})
        assert use.nodes == ["a", "b", "c", "m"]
        with torch.no_grad():
            use.U.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.25, 0.0], [0.5, 0.5]]))
            use.A.copy_(torch.tensor([[0.6, 0.8], [1.0, 0.0]]))
            use.B.copy_(torch.tensor([[0.5, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
        return use

    return loss, torch.tensor([[0.5, 0.25]], dtype=torch.float64), torch.tensor([0])


def test_class_and_superclass_terms_by_hand(by_hand, where):
    # squared distances 0.3125 to a, 0.8125 to b, 0.625 to c: 1 + 0.3125 - 0.8125 and 1 + 0.3125 - 0.625;
    # m is a's only ancestor and c the only sibling of m: 1 + 0.0625 - 0.625
    loss, z, y = by_hand
    assert loss()(z, y).item() == pytest.approx(1.1875)
    assert loss(mu1=(2.0, 0.0))(z, y).item() == pytest.approx(1.1875 + 2 * 0.4375)
    assert loss(loss="hardest")(z, y).item() == pytest.approx(0.6875)
    assert loss(loss="rank")(z, y).item() == pytest.approx(1.1875 * 1.5 / 2)
    # distances differ by -0.5 and -0.3125
    softmax = np.log(1 + np.exp(-0.5) + np.exp(-0.3125))
    assert loss(loss="softmax")(z, y).item() == pytest.approx(softmax)
    terms = loss(mu1=0.1, mu2=0.1, lambda2=0.1).terms(z, y)
    assert set(terms) == {"L_C", "L_S", "R", "norm"}
    assert terms["norm"].item() == pytest.approx(1 + 1 + 0.0625 + 0.5)


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        # 1 - z.(0.6, 0.8): the second attribute is absent
        ("linear", [1.0, 0.0], 0.5),
        # z.A = (0.5, 0.5): squared gaps to (1, -2) of 0.25 and 6.25; hinges 1 (1 - 0.5) and 2 (1 + 0.5)
        ("squared", [1.0, -2.0], 3.25),
        ("hinge", [1.0, -2.0], 1.75),
    ],
)
def test_attribute_term_by_hand(by_hand, kind, given, value):
    loss, z, y = by_hand
    use = loss(mu1=(0.0, 3.0), attribute_loss=kind)
    given = torch.tensor([given])
    assert use.terms(z, y, given)["L_A"].item() == pytest.approx(value)
    assert use(z, y, given).item() == pytest.approx(1.1875 + 3 * value)
    assert "L_A" not in use.terms(z, y)  # latent
    # weights: the second sample counts thrice as much, at twice the score
    two, both = torch.cat([z, 2 * z]), torch.cat([given, given])
    weighted = use.terms(two, y.repeat(2), both, torch.tensor([1.0, 3.0]))["L_A"]
    second = use.terms(2 * z, y, given)["L_A"]
    torch.testing.assert_close(weighted, 0.25 * use.terms(z, y, given)["L_A"] + 0.75 * second)


def test_regularizer_by_hand(by_hand):
    # what is left: a (0.2, -0.9), b (-0.5, 0.5), c (-1.25, 0), m (-0.1, -0.3): 0.85 + 0.5 + 1.5625 + 0.1
    loss, z, y = by_hand
    assert loss(mu2=1.0).terms(z, y)["R"].item() == pytest.approx(3.0125)
    # sum of B is 2.5; pairs (a, b) and (b, a), a and b with m, (c, m) and (m, c):
    # 2 * 0.25 + (1.5^2 + 1) + 2 * 2
    assert loss(mu2=1.0, gamma1=1.0).terms(z, y)["R"].item() == pytest.approx(3.0125 + 2.5)
    assert loss(mu2=1.0, gamma2=1.0).terms(z, y)["R"].item() == pytest.approx(3.0125 + 7.75)


def test_projection_by_hand(by_hand):
    loss, *_ = by_hand
    use = loss(norms="constraint", lambda2=0.25)
    with torch.no_grad():
        use.A.copy_(torch.tensor([[3.0, 4.0], [0.5, 0.0]]))
    use.project()
    np.testing.assert_allclose(use.A.detach(), [[0.6, 0.8], [0.5, 0.0]], atol=1e-15)
    np.testing.assert_allclose(use.U.detach()[0], [0.5, 0.0], atol=1e-15)
    np.testing.assert_allclose(use.U.detach()[2], [-0.25, 0.0], atol=1e-15)
    assert "norm" not in use.terms(torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0]))


# ---- gradients, and the estimator's objective

CLASSES = np.array(["cod", "cow", "deer", "elk", "owl"])
TREE = Taxonomy(
    {
        "root": None,
        "hoof": "root",
        "deer": "hoof",  # a class and the parent of a class
        "elk": "deer",
        "cow": "hoof",
        "fish": "root",
        "cod": "fish",
        "ray": "fish",  # no class
        "owl": "root",
    }
)
ATTRIBUTES = np.random.default_rng(3).uniform(size=(5, 4))
SETTINGS = {
    "softmax": {},
    "paper": {"loss": "hinge", "attribute_loss": "linear", "gamma1": 0.1},
    "rank, hinge": {"loss": "rank", "attribute_loss": "hinge", "mu1": (0.3, 0.7), "mu2": 0.05},
    "hardest": {"loss": "hardest", "mu2": 0.5, "gamma2": 0.0},
    "constraint": {"norms": "constraint", "lambda2": 2.0, "mu2": 0.3},
    "attributes": {"beta": "attributes", "mu2": 0.3, "beta_max": 0.2},
    "structure": {"init": "structure", "mu2": 0.1},
}


@pytest.mark.parametrize("name", [name for name in SETTINGS if not name.startswith("rank")])
@pytest.mark.parametrize("term", ["L_C", "L_S", "L_A", "R", "norm"])
def test_gradcheck_of_every_term(where, name, term):
    use = UnifiedSemanticLoss(TREE, ATTRIBUTES, CLASSES, dtype=torch.float64, **SETTINGS[name])
    d = use.U.shape[1]
    y = torch.arange(7) % 5
    Z = (2 * drawn(7, d, seed=6)).requires_grad_()
    with torch.no_grad():
        use.U += 0.3 * drawn(*use.U.shape, seed=7)
        use.A *= 0.5
        use.B.copy_(drawn(*use.B.shape, seed=8).abs())
    if term not in use.terms(Z, y):
        assert (name, term) == ("constraint", "norm")
        return

    def value(z, U, A):
        return torch.func.functional_call(use, {"U": U, "A": A}, (z, y), {"term": term})

    forward = use.forward
    use.forward = lambda z, y, term: use.terms(z, y)[term]
    assert torch.autograd.gradcheck(value, (Z, use.U, use.A))
    use.forward = forward


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("given", ["classes", "samples", "latent"])
def test_a_linear_encoder_is_the_estimators_objective(where, name, given):
    if given == "latent" and name == "attributes":
        pytest.skip("there are none")
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(5), [9, 4, 7, 5, 6])
    X = rng.normal(size=(31, 6)) + 2 * np.eye(5, 6)[y]
    weight = rng.uniform(0.5, 2.0, 31)
    rows = ATTRIBUTES[y] + 0.2 * rng.normal(size=(31, 4))
    options = SETTINGS[name]
    attributes = dict(zip(CLASSES, ATTRIBUTES, strict=True)) if given == "classes" else None
    model = UnifiedSemanticEmbedding(TREE, attributes, lambda1=0.0 + (name == "constraint"), **options)
    model.classes_ = CLASSES
    features = model._scaled(X, weight)[1]
    extra = {"attributes": rows} if given == "samples" else {}
    data = TrainingData(features, y, weight, 5, np.full(31, -1), extra)
    graph = label_graph(TREE, CLASSES)
    known = model._known_attributes(data)
    start = model._first_values(data, graph, known, None, 0.1, np.random.default_rng(1))
    objective = model._objective(data, graph, known, None, start)

    prior = np.bincount(y, weight)
    count = {"n_attributes": 4} if given == "samples" else {}
    if given == "samples" and options.get("init") == "structure":
        pytest.skip("the samples' attributes come after the first values")
    use = UnifiedSemanticLoss(
        TREE, attributes, CLASSES, class_prior=prior, dtype=torch.float64, **count, **options
    )
    objective.project(start)
    if given == "classes":  # deterministic first values are the estimator's
        for key in "UA":
            np.testing.assert_allclose(getattr(use, key).detach(), start[key], atol=1e-12)
    if given == "samples":
        use.set_sample_attributes(y, rows, weight)
    linear = torch.nn.Linear(6, start["W"].shape[1], bias=False, dtype=torch.float64)
    now = {key: value + 0.1 * rng.normal(size=value.shape) for key, value in start.items()}
    now["B"] = np.abs(now["B"])
    now["b"][:] = 0
    objective.project(now)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(now["W"].T))
        for key in "UAB":
            getattr(use, key).copy_(torch.from_numpy(now[key]))
    value, gradients = objective(now)
    Z = linear(torch.from_numpy(features))
    per_row = torch.from_numpy(rows) if given == "samples" else None
    found = use(Z, torch.from_numpy(y), per_row, torch.from_numpy(weight))
    assert found.item() == pytest.approx(value, rel=1e-10)
    found.backward()
    np.testing.assert_allclose(linear.weight.grad.T, gradients["W"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(use.U.grad, gradients["U"], rtol=1e-10, atol=1e-10)
    if len(use.A):  # without given attributes init="structure" has none
        np.testing.assert_allclose(use.A.grad, gradients["A"], rtol=1e-10, atol=1e-10)
    # B's step and the projection
    use.step_beta()
    np.testing.assert_allclose(use.B, objective.best_beta(now), rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        use.U.mul_(3), use.A.mul_(3)
    use.project()
    now["U"] *= 3
    now["A"] *= 3
    objective.project(now)
    for key in "UA":
        np.testing.assert_allclose(getattr(use, key).detach(), now[key], rtol=1e-12, atol=1e-14)


def test_step_beta_is_the_minimum():
    # against a solver that shares nothing with it
    use = UnifiedSemanticLoss(
        TREE, ATTRIBUTES, CLASSES, dtype=torch.float64, mu2=1.0, gamma1=0.05, gamma2=0.2, beta_max=0.4
    )
    with torch.no_grad():
        use.U.copy_(drawn(*use.U.shape, seed=9))
    for _ in range(5):
        use.step_beta()

    def regularizer(flat):
        with torch.no_grad():
            B = torch.from_numpy(flat.reshape(use.B.shape))
            return torch.func.functional_call(
                use, {"B": B}, (torch.zeros(1, 5, dtype=torch.float64), torch.tensor([0]))
            ).item()

    found = minimize(
        regularizer,
        np.full(use.B.numel(), 0.1),
        bounds=[(0, 0.4)] * use.B.numel(),
        method="L-BFGS-B",
        options={"maxfun": 100000, "ftol": 1e-14},
    )
    assert regularizer(use.B.numpy().ravel()) <= found.fun + 1e-9
    assert use.B.min() >= 0
    assert use.B.max() <= 0.4


def test_training_with_it_ends_where_the_estimator_does():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(5), 12)
    X = rng.normal(size=(60, 6)) + 2 * np.eye(5, 6)[y]
    attributes = dict(zip(CLASSES, ATTRIBUTES, strict=True))
    model = UnifiedSemanticEmbedding(TREE, attributes, n_epochs=2500, n_rounds=25).fit(X, CLASSES[y])
    features = torch.from_numpy(model.scaling_.transform(X))
    torch.manual_seed(0)
    use = UnifiedSemanticLoss(TREE, attributes, CLASSES, dtype=torch.float64)
    linear = torch.nn.Linear(6, 5, dtype=torch.float64)  # with the estimator's intercept
    optimizer = torch.optim.LBFGS(
        [*linear.parameters(), use.U, use.A], line_search_fn="strong_wolfe", max_iter=40
    )

    def objective():
        return use(linear(features), torch.from_numpy(y)) + model.lambda1 * linear.weight.square().sum()

    def closure():
        optimizer.zero_grad()
        value = objective()
        value.backward()
        return value

    for _ in range(12):
        optimizer.step(closure)
        use.project()
        use.step_beta()
    assert objective().item() == pytest.approx(model.loss_curve_[-1], rel=0.01)


# ---- a module among modules


def test_frozen_nodes_and_attributes_stay():
    use = UnifiedSemanticLoss(TREE, ATTRIBUTES, CLASSES, mu2=0.5)
    use.freeze(["cod", "hoof"])
    before = {name: tensor.detach().clone() for name, tensor in use.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in use.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        use(drawn(8, 5, dtype=torch.float32), torch.arange(8) % 5).backward()
        optimizer.step()
    same = (before["U"] == use.U).all(1)
    assert [node for node, fixed in zip(use.nodes, same, strict=True) if fixed] == ["cod", "hoof"]
    assert torch.equal(use.A, before["A"])
    with pytest.raises(ValueError, match=r"nodes must hold labels out of the module's nodes, got 'yak'"):
        use.freeze(["yak"])


def test_state_half_precision_and_compilation():
    use = UnifiedSemanticLoss(TREE, ATTRIBUTES, CLASSES, mu2=0.5)
    Z, y = drawn(8, 5, dtype=torch.float32), torch.arange(8) % 5
    other = UnifiedSemanticLoss(TREE, ATTRIBUTES[::-1].copy(), CLASSES, mu2=0.5)
    with torch.no_grad():
        use.U.mul_(0.5)
    use.step_beta()
    other.load_state_dict(use.state_dict())
    assert torch.equal(other(Z, y), use(Z, y))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(use(Z.bfloat16(), y), use(Z.bfloat16().float(), y))
    compiled = torch.compile(use, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(Z, y), use(Z, y))


def test_flat_and_latent():
    flat = UnifiedSemanticLoss(classes=["a", "b", "c"], mu1=1.0)
    assert flat.nodes == ["a", "b", "c"]
    assert set(flat.terms(torch.zeros(2, 3), torch.tensor([0, 2]))) == {"L_C", "R", "norm"}
    frame = pd.DataFrame(ATTRIBUTES, index=CLASSES, columns=list("wxyz"))
    assert UnifiedSemanticLoss(attributes=frame).attribute_names == list("wxyz")
    assert UnifiedSemanticLoss(attributes=frame.T.to_dict("list")).classes == CLASSES.tolist()
    assert UnifiedSemanticLoss(TREE).classes == ["cod", "cow", "elk", "owl", "ray"]


def test_bad_input_of_the_loss_is_named():
    use = UnifiedSemanticLoss(TREE, ATTRIBUTES, CLASSES)
    y = torch.tensor([0, 1])
    for bad, message in [
        ((torch.zeros(2, 4), y), r"Z must have shape \(rows, 5\), the columns of the labels' embeddings"),
        ((torch.zeros(2, 5), torch.tensor([0, 5])), "y must hold classes from 0 to 4, got 5 at row 1"),
        ((torch.full((2, 5), torch.nan), y), "NaN"),
        ((torch.zeros(2, 5), y, torch.zeros(2, 4)), "sample_attributes and attributes are both given"),
    ]:
        with pytest.raises(ValueError, match=message):
            use(*bad)
    with pytest.raises(TypeError, match=r"Z must be a floating-point tensor, got torch\.int64"):
        use(torch.zeros(2, 5, dtype=torch.int64), y)
    own = UnifiedSemanticLoss(TREE, classes=CLASSES, n_attributes=3)
    with pytest.raises(ValueError, match=r"sample_attributes must have shape \(2, 3\), got \(2, 4\)"):
        own(torch.zeros(2, 5), y, torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"sample_attributes must have shape \(2, 3\), got \(2, 4\)"):
        own.set_sample_attributes([0, 1], np.zeros((2, 4)))
    with pytest.raises(ValueError, match="there is no sample of the class 'deer'"):
        own.set_sample_attributes([0, 1], np.zeros((2, 3)))
    with pytest.raises(ValueError, match="the attributes are those of the classes"):
        use.set_sample_attributes([0, 1], np.zeros((2, 4)))
    for options, message in [
        ({"mu1": -1}, "mu1 must be a finite number >= 0 or a pair of them"),
        ({"loss": "sum"}, "loss must be one of 'hinge', 'hardest', 'rank', 'softmax', got 'sum'"),
        ({"norms": "constraint", "lambda2": 0}, "lambda2 must be a finite number > 0"),
        ({"classes": ["cod", "yak"]}, "taxonomy has no node 'yak'"),
        ({"classes": ["cod"]}, "classes must hold at least two labels"),
        ({"classes": ["cod", "cod"]}, "more than once"),
        ({"attributes": {"cod": [1], "ray": [1]}}, "attributes has no vector for 'cow'"),
        ({"attributes": {"cod": [1], "ray": [1, 2]}}, "attributes must hold vectors of one length"),
        ({"attributes": np.zeros((2, 2))}, "attributes as an array must have one row for each"),
        ({"class_prior": [1, 2]}, "class_prior must hold a positive number for each of the 5 classes"),
        ({"beta": "attributes"}, "beta='attributes' needs attributes"),
    ]:
        with pytest.raises(ValueError, match=message):
            UnifiedSemanticLoss(TREE, **{"classes": CLASSES, **options})
    with pytest.raises(ValueError, match="classes must be given"):
        UnifiedSemanticLoss(attributes=ATTRIBUTES)
    with pytest.raises(
        ValueError, match=r"dtype must be a floating-point dtype of torch or None, got torch\.int64"
    ):
        UnifiedSemanticLoss(TREE, dtype=torch.int64)
    with pytest.raises(ValueError, match="sample_attributes contains NaN or infinity"):
        own(torch.zeros(2, 5), y, torch.tensor([[0, 1, 2], [0, torch.nan, 1]]))


def test_a_loss_that_overflows_is_no_number():
    use = UnifiedSemanticLoss(TREE, ATTRIBUTES, CLASSES, mu2=1.0)
    with torch.no_grad():
        use.A[1, 2] = torch.nan
    with pytest.raises(NumericalError, match="the loss overflows, L_A is nan and R is nan"):
        use(torch.zeros(2, 5), torch.tensor([0, 1]))
    large = UnifiedSemanticLoss(TREE, classes=CLASSES, lambda2=1.0)
    with torch.no_grad():
        large.U.mul_(1e19)
    with pytest.raises(NumericalError, match="overflows"):
        large(torch.zeros(2, 5), torch.tensor([0, 1]))
