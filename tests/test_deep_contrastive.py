"""The contrastive losses: gradients, learnable parameters, compilation, other devices, bad input."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny networks

from torch.func import functional_call, grad, jacrev, jvp, vmap  # noqa: E402

from fastcca.deep import ContrastiveLoss, SigmoidContrastiveLoss  # noqa: E402
from fastcca.deep.losses import contrastive as module  # noqa: E402
from fastcca.errors import NumericalError  # noqa: E402
from reference import contrastive as ref  # noqa: E402

# PyTorch's own, at the first forward-mode derivative.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

LOSSES = {
    "softmax": lambda **k: ContrastiveLoss(0.3, **k).double(),
    "sigmoid": lambda **k: SigmoidContrastiveLoss(0.4, -1.0, **k).double(),
}
CODES = ("none", "labels", "groups")


def problem(n, d, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    Z1 = torch.randn(n, d, generator=generator, dtype=torch.float64)
    Z2 = Z1 + torch.randn(n, d, generator=generator, dtype=torch.float64)
    return Z1.to(dtype).requires_grad_(), Z2.to(dtype).requires_grad_()


def codes_of(kind, n):
    return {} if kind == "none" else {kind: torch.arange(n) % max(1, n // 2)}


def expected_of(loss, form, Z1, Z2, weights=None, **codes):
    return ref.contrastive_loss(
        Z1.detach().numpy(),
        Z2.detach().numpy(),
        loss.temperature,
        float(loss.bias.detach()) if form == "sigmoid" else 0.0,
        form,
        loss.similarity,
        weights=weights,
        **{name: value.numpy() for name, value in codes.items()},
    )


@pytest.fixture(params=list(LOSSES))
def form(request):
    return request.param


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("similarity", ["cosine", "inner_product"])
def test_gradcheck_of_rows_temperature_and_bias(form, kind, similarity):
    loss = LOSSES[form](similarity=similarity)
    Z1, Z2 = problem(7, 4)
    names = list(dict(loss.named_parameters()))
    codes = codes_of(kind, 7)

    def value(a, b, *parameters):
        return functional_call(loss, dict(zip(names, parameters, strict=True)), (a, b), codes)

    assert torch.autograd.gradcheck(value, (Z1, Z2, *loss.parameters()))


@pytest.mark.parametrize("kind", CODES)
def test_values_and_gradients(form, kind):
    codes = codes_of(kind, 50)
    for reduction in ("mean", "sum"):
        loss = LOSSES[form](reduction=reduction)
        weights = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        Z1, Z2 = problem(50, 9)
        (3 * loss(Z1, Z2, **codes, sample_weight=weights)).backward()
        w = (weights / weights.sum() if reduction == "mean" else weights).numpy()
        value, grad1, grad2, of_temperature, of_bias = expected_of(loss, form, Z1, Z2, w, **codes)
        assert loss(Z1, Z2, **codes, sample_weight=weights).item() == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(Z1.grad, 3 * grad1, atol=1e-12)
        np.testing.assert_allclose(Z2.grad, 3 * grad2, atol=1e-12)
        # d/d log(1/t) = -t d/dt
        assert loss.log_scale.grad.item() == pytest.approx(-3 * loss.temperature * of_temperature, rel=1e-9)
        if form == "sigmoid":
            assert loss.bias.grad.item() == pytest.approx(3 * of_bias, rel=1e-9)


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("chunk", [2**22, 60])
def test_the_formulas_of_other_devices_give_the_same(form, kind, chunk, monkeypatch):
    for similarity in ("cosine", "inner_product"):
        loss = LOSSES[form](similarity=similarity)
        codes = codes_of(kind, 40)
        Z1, Z2 = problem(40, 6)
        with torch.no_grad():
            Z1[3] = Z2[5] = 0
            Z1[7] *= 1e-200 if similarity == "cosine" else 1
        loss(Z1, Z2, **codes).backward()
        grads = [p.grad for p in (Z1, Z2, *loss.parameters())]
        value = loss(Z1, Z2, **codes)
        Z1.grad = Z2.grad = None
        loss.zero_grad()
        with monkeypatch.context() as other:
            other.setattr(module, "_runs_in_core", lambda Z: False)
            other.setattr(module, "CHUNK", chunk)
            there = loss(Z1, Z2, **codes)
            there.backward()
            with torch.no_grad():
                assert loss(Z1, Z2, **codes) == there
        torch.testing.assert_close(there, value, rtol=1e-12, atol=0.0)
        for found, expected in zip((Z1, Z2, *loss.parameters()), grads, strict=True):
            torch.testing.assert_close(found.grad, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("temperature", [1e-6, 1e-2, 1e6])
def test_extreme_temperatures_on_other_devices(form, temperature, monkeypatch):
    Z1, Z2 = (torch.randint(-3, 4, (30, 5), dtype=torch.float64).requires_grad_() for _ in range(2))
    make = ContrastiveLoss if form == "softmax" else SigmoidContrastiveLoss
    loss = make(temperature, similarity="inner_product", learnable=False, min_temperature=0.0).double()
    monkeypatch.setattr(module, "_runs_in_core", lambda Z: False)
    value = loss(Z1, Z2)
    value.backward()
    exact, one, two, *_ = expected_of(loss, form, Z1, Z2)
    assert value.item() == pytest.approx(exact, rel=1e-9)
    np.testing.assert_allclose(Z1.grad, one, atol=1e-9 * abs(one).max())
    np.testing.assert_allclose(Z2.grad, two, atol=1e-9 * abs(two).max())


def test_the_operator_passes_torchs_own_checks(form):
    Z1, Z2 = problem(8, 3)
    scale, bias = torch.tensor([2.0]).requires_grad_(), torch.tensor([-1.0]).requires_grad_()
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    for codes, of_labels in ((None, False), (torch.arange(8) % 3, True)):
        torch.library.opcheck(
            torch.ops.fastcca.contrastive_loss.default,
            (Z1, Z2, scale, bias, True, form, "cosine", 1 / 8, None, codes, of_labels),
            test_utils=checks,
        )


def test_compiles_whole_and_exports(form):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.f = torch.nn.Linear(4, 3).double()
            self.loss = LOSSES[form]()

        def forward(self, x, y, labels):
            return self.loss(self.f(x), self.f(y), labels)

    torch.manual_seed(0)
    model = Model()
    X, Y, labels = torch.randn(20, 4).double(), torch.randn(20, 4).double(), torch.arange(20) % 7
    plain = model(X, Y, labels)
    plain.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    value = compiled(X, Y, labels)
    value.backward()
    torch.testing.assert_close(value, plain)
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, expected[name])
    with torch.no_grad():
        program = torch.export.export(model, (X, Y, labels))
        assert "fastcca.contrastive_loss" in program.graph_module.code
        torch.testing.assert_close(program.module()(X, Y, labels), plain.detach())


def test_transforms_of_torch_func(form):
    loss = LOSSES[form]()
    Z1, Z2 = (Z.detach() for Z in problem(9, 4))
    T = torch.randn(9, 4, dtype=torch.float64)
    a, b = Z1.clone().requires_grad_(), Z2.clone().requires_grad_()
    one, two = torch.autograd.grad(loss(a, b), (a, b))
    close = torch.testing.assert_close
    close(grad(loss, argnums=(0, 1))(Z1, Z2), (one, two))
    close(jacrev(loss)(Z1, Z2), one)
    close(jvp(loss, (Z1, Z2), (T, -T))[1], (one * T).sum() - (two * T).sum())
    first = torch.stack([Z1, T])
    found = vmap(grad(loss), in_dims=(0, None))(first, Z2)
    close(found[0], one)
    parameters = {name: p.detach() for name, p in loss.named_parameters()}
    found = grad(lambda p: functional_call(loss, p, (Z1, Z2)))(parameters)
    loss(Z1, Z2).backward()
    for name, p in loss.named_parameters():
        close(found[name], p.grad)
    with pytest.raises(RuntimeError, match="no second derivative"):
        jacrev(jacrev(loss))(Z1, Z2)
    with pytest.raises(RuntimeError, match="process_group takes part in no transform"):
        grad(type(loss)(process_group=object()))(Z1, Z2)


def test_precision(form):
    loss = ContrastiveLoss() if form == "softmax" else SigmoidContrastiveLoss()
    for dtype in (torch.bfloat16, torch.float16):
        Z1, Z2 = problem(40, 3, dtype)
        value = loss(Z1, Z2)
        value.backward()
        assert value.dtype == torch.float32
        assert Z1.grad.dtype == dtype
        assert value.item() == pytest.approx(loss(Z1.float(), Z2.float()).item(), rel=1e-6)
        single = [Z.detach().float() for Z in problem(40, 3)]
        with torch.autocast("cpu", torch.bfloat16):
            assert loss(*single).dtype == torch.float32
            assert loss(*single).item() == pytest.approx(loss.double()(*single).item(), rel=1e-6)
        loss = loss.float()


def test_backward_twice_and_second_derivatives(form):
    Z1, Z2 = problem(12, 2)
    value = 3 * LOSSES[form]()(Z1, Z2)
    first = torch.autograd.grad(value, (Z1, Z2), retain_graph=True)
    kept = [gradient.clone() for gradient in first]
    for gradient in first:
        gradient.zero_()  # what was handed out is the caller's
    for again, once in zip(torch.autograd.grad(value, (Z1, Z2)), kept, strict=True):
        assert torch.equal(again, once)
    (gradient,) = torch.autograd.grad(LOSSES[form]()(Z1, Z2), Z1, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.sum().backward()


def test_the_temperature_is_learnt_and_bounded():
    torch.manual_seed(0)
    pairs = torch.eye(16)
    loss = ContrastiveLoss(temperature=1.0, min_temperature=0.05)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.5)
    for _ in range(40):
        optimizer.zero_grad()
        loss(pairs, pairs).backward()
        optimizer.step()
    assert loss.temperature == pytest.approx(0.05)
    loss(pairs, pairs)
    assert float(loss.log_scale.detach()) == pytest.approx(np.log(20), rel=1e-6)
    # back from the bound
    for _ in range(20):
        optimizer.zero_grad()
        loss(pairs, pairs.roll(1, 0)).backward()
        optimizer.step()
    assert loss.temperature > 0.1
    fixed = SigmoidContrastiveLoss(learnable=False)
    assert not list(fixed.parameters())
    assert set(fixed.state_dict()) == {"log_scale", "bias"}
    assert "bias=-10" in repr(fixed)
    Z1, Z2 = problem(8, 3)
    fixed(Z1, Z2).backward()
    assert Z1.grad.abs().max() > 0


def test_one_side_and_no_gradient(form):
    loss = LOSSES[form]()
    Z1, Z2 = problem(20, 3)
    with torch.no_grad():
        value = loss(Z1, Z2)
    assert not value.requires_grad
    loss(Z1, Z2.detach()).backward()
    _, one, *_ = expected_of(loss, form, Z1, Z2)
    np.testing.assert_allclose(Z1.grad, one, atol=1e-12)


def test_bad_input_is_named(form):
    loss = LOSSES[form]()
    Z1, Z2 = problem(6, 3)
    with pytest.raises(TypeError, match=r"Z1 must be a floating-point tensor, got torch.int64"):
        loss(torch.arange(6)[:, None], Z2)
    with pytest.raises(ValueError, match="Z1 has 6 rows and Z2 has 5: they must be paired"):
        loss(Z1, Z2[:5])
    with pytest.raises(ValueError, match="Z1 has 3 columns and Z2 has 2"):
        loss(Z1, Z2[:, 1:])
    with pytest.raises(ValueError, match="Z1 is on cpu and Z2 on meta"):
        loss(Z1, torch.ones(6, 3, device="meta"))
    with pytest.raises(ValueError, match="labels and groups are two ways"):
        loss(Z1, Z2, torch.arange(6), torch.arange(6))
    with pytest.raises(TypeError, match=r"labels must be a tensor of integers, got torch.float32"):
        loss(Z1, Z2, torch.ones(6))
    with pytest.raises(ValueError, match="groups must hold one item for each of the 6 pairs"):
        loss(Z1, Z2, groups=torch.arange(5))
    with pytest.raises(ValueError, match="Z2 contains NaN: the first is at row 0, column 0"):
        loss(Z1, Z2 * torch.nan)
    with pytest.raises(NumericalError, match="overflow"):
        loss(Z1 * 1e-320, Z2)
    make = type(loss)
    for name, value in (
        ("temperature", 0.0),
        ("temperature", np.nan),
        ("min_temperature", -1.0),
        ("min_temperature", 1.0),
        ("learnable", 1),
        ("similarity", "x"),
        ("reduction", "none"),
    ):
        with pytest.raises(ValueError, match=name):
            make(**{name: value})
    if form == "sigmoid":
        with pytest.raises(ValueError, match="bias must be a finite number"):
            make(bias=np.inf)
