"""HingeEmbeddingLoss and PairEmbeddingLoss: gradients, compilation, other devices, bad input."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny networks

from fastcca.deep import HingeEmbeddingLoss, PairEmbeddingLoss  # noqa: E402
from fastcca.deep.losses.hinge import torch_hinge_loss  # noqa: E402
from fastcca.errors import NumericalError  # noqa: E402
from fastcca.functional import hinge_embedding_loss  # noqa: E402
from reference import hinge as ref  # noqa: E402


def problem(n, d, C, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    U = torch.randn(C, d, generator=generator, dtype=torch.float64) / d**0.5
    y = torch.randint(C, (n,), generator=generator)
    Z = U[y] + torch.randn(n, d, generator=generator, dtype=torch.float64) / d**0.5
    return Z.to(dtype).requires_grad_(), U.to(dtype).requires_grad_(), y


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("negatives", ["sum", "hardest"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradcheck(similarity, negatives, reduction):
    Z, U, y = problem(9, 4, 5)
    loss = HingeEmbeddingLoss(0.7, similarity, reduction, negatives)
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, y), (Z, U))


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("negatives", ["sum", "hardest"])
def test_gradcheck_of_pairs(similarity, negatives):
    Z1, Z2, _ = problem(7, 4, 7)
    assert torch.autograd.gradcheck(PairEmbeddingLoss(0.7, similarity, negatives=negatives), (Z1, Z2))


def test_costs_for_a_margin():
    Z, U, y = problem(20, 4, 5)
    costs = torch.rand(5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = HingeEmbeddingLoss(costs)
    value = loss(Z, U, y)
    value.backward()
    expected = ref.hinge_embedding_loss(Z.detach().numpy(), U.detach().numpy(), y.numpy(), costs.numpy())
    assert value.item() == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(Z.grad, expected[1], atol=1e-13)
    np.testing.assert_allclose(U.grad, expected[2], atol=1e-13)
    assert "costs" in loss.state_dict()
    assert "a matrix" in repr(loss)


def test_a_loss_beyond_its_dtype_is_an_error():
    # finite in the double that losses are summed in, for one direction and for the sum of both
    Z, U = torch.full((40, 1), 1e19), torch.tensor([[1e19], [-1e19]])
    with pytest.raises(NumericalError, match="overflows"):
        HingeEmbeddingLoss(reduction="sum")(Z, U, torch.ones(40, dtype=torch.int64))
    Z1 = torch.tensor([[6e18], [-6e18]])
    for reduction, finite in (("mean", True), ("sum", False)):
        loss = PairEmbeddingLoss(reduction=reduction)
        if finite:
            assert loss(Z1, -Z1).isfinite()
        else:
            with pytest.raises(NumericalError, match="overflows"):
                loss(Z1, -Z1)


def test_pairs_are_two_hinge_losses():
    Z1, Z2, _ = problem(30, 5, 30)
    own = range(30)
    a, b = Z1.detach().numpy(), Z2.detach().numpy()
    for similarity in ("euclidean", "cosine"):
        for negatives in ("sum", "hardest"):
            Z1.grad = Z2.grad = None
            value = PairEmbeddingLoss(0.5, similarity, "sum", negatives)(Z1, Z2)
            value.backward()
            options = (0.5, similarity, negatives)
            one = ref.hinge_embedding_loss(a, b, own, *options, scales=np.ones(30))
            two = ref.hinge_embedding_loss(b, a, own, *options, scales=np.ones(30))
            assert value.item() == pytest.approx(one[0] + two[0], rel=1e-12)
            np.testing.assert_allclose(Z1.grad, one[1] + two[2], atol=1e-12)
            np.testing.assert_allclose(Z2.grad, one[2] + two[1], atol=1e-12)


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("negatives", ["sum", "hardest"])
@pytest.mark.parametrize("with_costs", [False, True])
def test_the_formulas_of_other_devices_give_the_same(similarity, negatives, with_costs):
    Z, U, y = (a.detach() for a in problem(30, 4, 7))
    Z[3] = 0
    costs = torch.rand(7, 7, dtype=torch.float64) if with_costs else None
    value, grad_Z, grad_U = torch_hinge_loss(Z, U, True, y, costs, 0.6, similarity, negatives, 1 / 30)
    expected = hinge_embedding_loss(
        Z.numpy(),
        U.numpy(),
        y.numpy(),
        margin=0.6 if costs is None else costs.numpy(),
        similarity=similarity,
        negatives=negatives,
    )
    assert value.item() == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(grad_Z, expected[1], atol=1e-13)
    np.testing.assert_allclose(grad_U, expected[2], atol=1e-13)
    alone = torch_hinge_loss(Z, U, False, y, costs, 0.6, similarity, negatives, 1 / 30)
    assert alone[0] == value
    assert alone[1].shape == (0, 4)


def test_upstream_gradient_no_grad_and_one_side_only():
    Z, U, y = problem(20, 3, 6)
    (5 * HingeEmbeddingLoss()(Z, U, y) - 1).backward()
    expected = ref.hinge_embedding_loss(Z.detach().numpy(), U.detach().numpy(), y.numpy())
    np.testing.assert_allclose(Z.grad, 5 * expected[1], atol=1e-12)
    np.testing.assert_allclose(U.grad, 5 * expected[2], atol=1e-12)
    with torch.no_grad():
        value = HingeEmbeddingLoss()(Z, U, y)
    assert not value.requires_grad
    assert value.item() == pytest.approx(expected[0])
    fixed = U.detach()
    Z.grad = None
    HingeEmbeddingLoss()(Z, fixed, y.to(torch.int32)).backward()
    np.testing.assert_allclose(Z.grad, expected[1], atol=1e-12)


def test_the_operators_pass_torchs_own_checks():
    Z, U, y = problem(12, 3, 4)
    # Not its check of compiled gradients, which differentiates the second and third output too.
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    for costs in (None, torch.ones(4, 4, dtype=torch.float64)):
        torch.library.opcheck(
            torch.ops.fastcca.hinge_embedding_loss.default,
            (Z, U, True, y, costs, 1.0, "euclidean", "sum", 1 / 12),
            test_utils=checks,
        )
    torch.library.opcheck(
        torch.ops.fastcca.pair_embedding_loss.default,
        (Z, Z.detach().flip(0), True, 1.0, "cosine", "hardest", 1.0),
        test_utils=checks,
    )


def test_compiles_whole_and_exports():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.f = torch.nn.Linear(4, 3).double()
            self.classes = torch.nn.Parameter(torch.randn(5, 3, dtype=torch.float64))
            self.loss, self.pairs = HingeEmbeddingLoss(), PairEmbeddingLoss(similarity="cosine")

        def forward(self, x, y):
            z = self.f(x)
            return self.loss(z, self.classes, y) + self.pairs(z, z.tanh())

    torch.manual_seed(0)
    model = Model()
    X, y = torch.randn(30, 4, dtype=torch.float64), torch.randint(5, (30,))
    plain = model(X, y)
    plain.backward()
    expected = model.f.weight.grad.clone()
    model.zero_grad()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    value = compiled(X, y)
    value.backward()
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(model.f.weight.grad, expected)
    with torch.no_grad():
        program = torch.export.export(model, (X, y))
        assert "fastcca.hinge_embedding_loss" in program.graph_module.code
        assert "fastcca.pair_embedding_loss" in program.graph_module.code
        torch.testing.assert_close(program.module()(X, y), plain.detach())


def test_half_precision_is_computed_in_single():
    Z, U, y = problem(40, 3, 5, torch.bfloat16)
    loss = HingeEmbeddingLoss()(Z, U, y)
    loss.backward()
    assert loss.dtype == torch.float32
    assert U.grad.dtype == torch.bfloat16
    assert loss.item() == pytest.approx(HingeEmbeddingLoss()(Z.float(), U.float(), y).item())


def test_backward_twice_gives_the_same():
    Z, U, y = problem(12, 2, 4)
    loss = 3 * HingeEmbeddingLoss()(Z, U, y)
    first = torch.autograd.grad(loss, (Z, U), retain_graph=True)
    kept = [gradient.clone() for gradient in first]
    for gradient in first:
        gradient.zero_()  # what was handed out is the caller's
    for again, once in zip(torch.autograd.grad(loss, (Z, U)), kept, strict=True):
        assert once.abs().max() > 0
        assert torch.equal(again, once)


def test_no_second_derivative():
    Z, U, y = problem(12, 2, 4)
    (gradient,) = torch.autograd.grad(HingeEmbeddingLoss()(Z, U, y), Z, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.sum().backward()


def test_bad_input_is_named():
    Z, U, y = problem(12, 3, 5)
    loss = HingeEmbeddingLoss()
    with pytest.raises(TypeError, match=r"Z must be a floating-point tensor, got torch.int64"):
        loss(y[:, None], U, y)
    with pytest.raises(TypeError, match="U must be a floating-point tensor, got ndarray"):
        loss(Z, np.ones((5, 3)), y)
    with pytest.raises(TypeError, match=r"y must be a tensor of integers, got torch.float64"):
        loss(Z, U, y.double())
    with pytest.raises(ValueError, match="y must hold one class for each of the 12 rows of Z"):
        loss(Z, U, y[1:])
    with pytest.raises(ValueError, match="Z is on cpu and U on meta"):
        loss(Z, torch.ones(5, 3, device="meta"), y)
    with pytest.raises(ValueError, match="Z has 3 columns and U has 2"):
        loss(Z, U[:, 1:], y)
    with pytest.raises(ValueError, match=r"Z must have shape \(rows, columns\)"):
        loss(Z[:0], U, y[:0])
    with pytest.raises(ValueError, match="y must hold classes from 0 to 4, got 9 at row 0"):
        loss(Z, U, 0 * y + 9)
    with pytest.raises(ValueError, match="U contains NaN: the first is at row 0, column 0"):
        loss(Z, U * torch.nan, y)
    with pytest.raises(ValueError, match="U has 5 classes, but margin is of 4"):
        HingeEmbeddingLoss(torch.ones(4, 4))(Z, U, y)
    for margin in (-1.0, float("nan"), "x", torch.ones(3), torch.ones(3, 2), torch.full((2, 2), torch.nan)):
        with pytest.raises(ValueError, match="margin"):
            HingeEmbeddingLoss(margin)
    for name in ("similarity", "reduction", "negatives"):
        with pytest.raises(ValueError, match=f"{name} must be one of .*, got 'x'"):
            HingeEmbeddingLoss(**{name: "x"})
    with pytest.raises(ValueError, match="Z1 has 12 rows and Z2 has 5: they must be paired"):
        PairEmbeddingLoss()(Z, U)
