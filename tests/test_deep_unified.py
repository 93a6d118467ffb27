"""HingeEmbeddingLoss with a table of constraints, and UnifiedSemanticLoss."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny batches

from fastcca.deep import HingeEmbeddingLoss  # noqa: E402
from fastcca.deep.losses import hinge as operator  # noqa: E402
from fastcca.functional import ConstraintTable  # noqa: E402
from reference import hinge as ref  # noqa: E402

FORMS = {
    "sum": {},
    "hardest": {"negatives": "hardest"},
    "semihard": {"negatives": "semihard"},
    "rank": {"negatives": "rank"},
    "softmax": {"loss": "softmax"},
}
# four classes and seven nodes: a class with two pairs, one with one, one with none, one with an empty pair
CONSTRAINTS = [[(4, [5, 6]), (0, [1, 2, 3])], [(5, [4])], [], [(6, []), (4, [0, 5, 6])]]


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=["core", "other devices"])
def where(request, monkeypatch):
    """The compiled core, or the formulas that other devices run, on the CPU."""
    if request.param == "other devices":

        def elsewhere(*args):
            raise AssertionError("the core is not to be asked")

        monkeypatch.setattr(operator, "batch_hinge_loss", elsewhere)
        monkeypatch.setattr(operator, "_runs_in_core", lambda tensor: False)
    return request.param


# ---- the operator with a table


@pytest.mark.parametrize("form", FORMS)
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
        margin, similarity, reduction, class_weight=class_weight, table=table, **FORMS[form]
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


@pytest.mark.parametrize("form", [form for form in FORMS if form != "rank"])  # its gradient holds weights
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradcheck_with_a_table(where, form, reduction):
    Z, U = drawn(5, 3, seed=4).requires_grad_(), drawn(7, 3, seed=5).requires_grad_()
    y = torch.tensor([3, 0, 1, 2, 0])
    loss = HingeEmbeddingLoss(
        0.7, reduction=reduction, table=ConstraintTable.from_lists(CONSTRAINTS), **FORMS[form]
    )
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, y), (Z, U))


def test_table_of_all_other_classes_is_the_loss_without_one(where):
    Z, U, y = drawn(9, 4), drawn(5, 4, seed=1), torch.arange(9) % 5
    every = [[(c, [o for o in range(5) if o != c])] for c in range(5)]
    for options in FORMS.values():
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
