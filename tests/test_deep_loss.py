"""CorrelationLoss: the operator's gradient, what compiles and exports it, other devices, bad input."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny networks

from fastcca.deep import CorrelationLoss, PairEmbeddingLoss  # noqa: E402
from fastcca.deep.losses.correlation import torch_correlation_loss  # noqa: E402
from fastcca.errors import NumericalError  # noqa: E402
from fastcca.functional import correlation_loss  # noqa: E402
from reference import correlation as ref  # noqa: E402


def views(m, d1, d2, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    Z = torch.randn(m, max(d1, d2), generator=generator, dtype=torch.float64)
    H = [Z[:, :d] + torch.randn(m, d, generator=generator, dtype=torch.float64) + 1 for d in (d1, d2)]
    return [h.to(dtype).requires_grad_() for h in H]


def with_singular_values(m, D, seed=0):
    rng = np.random.default_rng(seed)
    d = len(D)
    Q = np.linalg.qr(np.column_stack([np.ones(m), rng.standard_normal((m, 2 * d))]))[0][:, 1:] * np.sqrt(
        m - 1
    )
    H1, H2 = Q[:, :d], Q[:, :d] * D + Q[:, d:] * np.sqrt(1 - np.square(D))
    R = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return [torch.from_numpy(h.copy()).requires_grad_() for h in (H1, H2 @ R)]


@pytest.mark.parametrize("objective", ["trace_norm", "frobenius"])
@pytest.mark.parametrize("reg", [0.0, 0.1])
@pytest.mark.parametrize(("d1", "d2", "k"), [(4, 4, None), (4, 4, 2), (3, 5, None), (5, 3, 2)])
def test_gradcheck(d1, d2, k, reg, objective):
    assert torch.autograd.gradcheck(CorrelationLoss(k, reg, objective), views(16, d1, d2))


@pytest.mark.parametrize("objective", ["trace_norm", "frobenius"])
@pytest.mark.parametrize(
    ("D", "k"), [([0.5, 0.5, 0.5], None), ([0.8, 0.8, 0.3, 0.3], 2), ([0.9, 0.6, 0.6], 1)]
)
def test_gradcheck_at_repeated_singular_values(D, k, objective):
    assert torch.autograd.gradcheck(CorrelationLoss(k, 0.0, objective), with_singular_values(18, D))


@pytest.mark.parametrize("name", ["dead units", "constant outputs", "identical", "white", "batch < d"])
def test_finite_where_others_are_not(name):
    H1, H2 = (h.detach().clone() for h in views(40, 6, 6, torch.float32))
    if name == "dead units":
        H1[:, 2] = 0
    elif name == "constant outputs":
        H1[:] = 3
    elif name == "identical":
        H2 = H1.clone()
    elif name == "white":
        H1, H2 = (torch.linalg.qr(h - h.mean(0))[0] * 39**0.5 for h in (H1, H2))
    else:
        H1, H2 = H1[:4], H2[:4]
    H1.requires_grad_()
    H2.requires_grad_()
    if name == "batch < d":
        with pytest.warns(
            UserWarning, match="4 rows with 6 and 6 outputs: the correlations are 1 by counting"
        ):
            loss = CorrelationLoss()(H1, H2)
    else:
        loss = CorrelationLoss()(H1, H2)
    loss.backward()
    assert -6.001 <= loss.item() <= 0
    assert torch.isfinite(H1.grad).all()
    assert torch.isfinite(H2.grad).all()


@pytest.mark.parametrize("objective", ["trace_norm", "frobenius"])
@pytest.mark.parametrize("k", [None, 2])
def test_the_formulas_of_other_devices_give_the_same(k, objective):
    H1, H2 = (h.detach() for h in views(30, 4, 5))
    value, grad1, grad2 = torch_correlation_loss(H1, H2, True, k or 4, 0.01, 0.1, objective == "frobenius")
    expected = correlation_loss(H1.numpy(), H2.numpy(), k, (0.01, 0.1), objective)
    assert value.item() == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(grad1, expected[1], atol=1e-13)
    np.testing.assert_allclose(grad2, expected[2], atol=1e-13)
    with pytest.raises(NumericalError, match=r"H2: .*10 columns over 30 rows with reg=0 is not positive def"):
        torch_correlation_loss(H1, torch.cat([H2, H2], 1), True, 4, 0.0, 0.0, False)
    with pytest.raises(ValueError, match="H1 contains NaN"):
        torch_correlation_loss(H1 * torch.nan, H2, True, 4, 0.1, 0.1, False)


def test_a_loss_that_cannot_vary_says_so_once():
    H1, H2 = views(8, 7, 7)
    loss = CorrelationLoss(reg=1e-6)
    match = "a batch of 8 rows with 7 and 7 outputs: .* but for reg=1e-06"
    with pytest.warns(UserWarning, match=match) as seen:
        loss(H1, H2)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    loss(H1, H2).backward()  # not again: warnings are errors here
    # A ridge that leaves something to learn, rows enough, values alone: not a word
    CorrelationLoss(reg=1.0)(H1, H2)
    CorrelationLoss(reg=1e-6)(*views(9, 7, 7))
    CorrelationLoss(reg=1e-6)(H1.detach(), H2.detach())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_outputs_of_low_rank_on_other_devices(dtype):
    for seed in range(40):
        H1, H2, reg = ref.low_rank_problem(seed, 200, 48)
        a, b = (torch.from_numpy(H).to(dtype) for H in (H1, H2))
        value, *gradients = torch_correlation_loss(a, b, True, min(a.shape[1], b.shape[1]), reg, reg, False)
        exact, *expected = ref.by_singular_values(a.numpy(), b.numpy(), (reg, reg))
        tolerance, steeper = (1e-9, 1e-7) if dtype == torch.float64 else (1e-5, 1e-3)
        assert value.item() == pytest.approx(exact, rel=tolerance, abs=tolerance)
        found = np.hstack(gradients)
        assert np.linalg.norm(found - np.hstack(expected)) < steeper * np.linalg.norm(np.hstack(expected))


@pytest.mark.parametrize("objective", ["trace_norm", "frobenius"])
def test_dead_units_without_a_ridge_are_set_aside_on_other_devices(objective):
    H1, H2 = (h.detach() for h in views(30, 4, 5))
    H1[:, 2], H2[:, 0] = 0.7, 0
    value, grad1, grad2 = torch_correlation_loss(H1, H2, True, 4, 0.0, 0.0, objective == "frobenius")
    expected = correlation_loss(H1.numpy(), H2.numpy(), None, 0.0, objective)
    assert value.item() == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(grad1, expected[1], atol=1e-12)
    np.testing.assert_allclose(grad2, expected[2], atol=1e-12)
    assert not grad1[:, 2].any()
    assert not grad2[:, 0].any()


def test_a_decomposition_that_does_not_converge_on_a_device(monkeypatch):
    H1, H2 = (h.detach() for h in views(30, 4, 5))
    expected = torch_correlation_loss(H1, H2, True, 4, 0.01, 0.1, False)

    def fails(*args, **kwargs):
        raise torch.linalg.LinAlgError("linalg.svd: The algorithm failed to converge")

    monkeypatch.setattr(torch.linalg, "svd", fails)
    for found, exact in zip(torch_correlation_loss(H1, H2, True, 4, 0.01, 0.1, False), expected, strict=True):
        torch.testing.assert_close(found, exact)
    value, *gradients = torch_correlation_loss(H1, H2, False, 4, 0.01, 0.1, False)
    torch.testing.assert_close(value, expected[0])
    assert [g.shape for g in gradients] == [(0, 4), (0, 5)]


@pytest.mark.parametrize(("loss", "scale"), [(CorrelationLoss(reg=0.0), 1e-41), (PairEmbeddingLoss(), 1e50)])
def test_gradients_that_overflow_the_narrower_dtype_are_refused(loss, scale):
    H1, H2 = (h.detach() for h in views(20, 3, 3))
    a, b = H1.float().requires_grad_(), H2.clone().requires_grad_()
    loss(a, b).backward()
    assert torch.isfinite(a.grad).all()
    if isinstance(loss, CorrelationLoss):
        a = (scale * H1).float().requires_grad_()
    else:
        b = (scale * H2).requires_grad_()
    with pytest.raises(
        NumericalError, match="the gradient overflows float32: give both batches in one dtype"
    ):
        loss(a, b).backward()


@pytest.mark.parametrize("scale", [1e-30, 1e-41])
def test_gradients_that_overflow_on_other_devices_are_refused(scale):
    H1, H2 = (h.detach().float() for h in views(20, 3, 3))
    options = (True, 3, 0.0, 0.0, True)
    if scale == 1e-30:
        assert all(torch.isfinite(g).all() for g in torch_correlation_loss(scale * H1, H2, *options))
        return
    with pytest.raises(NumericalError, match="loss overflows float32"):
        torch_correlation_loss(scale * H1, H2, *options)


def test_upstream_gradient_and_no_grad():
    H1, H2 = views(20, 3, 3)
    (5 * CorrelationLoss()(H1, H2) - 1).backward()
    expected = ref.correlation_loss(H1.detach().numpy(), H2.detach().numpy(), reg=(1e-4, 1e-4))
    np.testing.assert_allclose(H1.grad, 5 * expected[1], atol=1e-12)
    with torch.no_grad():
        value = CorrelationLoss()(H1, H2)
    assert not value.requires_grad
    assert value.item() == pytest.approx(expected[0])


def test_tensors_are_read_in_place_also_when_strided():
    H1, H2 = (h.detach() for h in views(20, 3, 3, torch.float32))
    wide = torch.zeros(40, 6)
    wide[::2, ::2] = H1
    strided = wide[::2, ::2].requires_grad_()
    CorrelationLoss()(strided, H2).backward()
    plain = H1.clone().requires_grad_()
    CorrelationLoss()(plain, H2).backward()
    torch.testing.assert_close(strided.grad, plain.grad)


def test_the_operator_passes_torchs_own_checks():
    H1, H2 = views(12, 3, 2)
    # Not its check of compiled gradients, which differentiates the operator's second and third output too:
    # test_compiles_whole_and_exports has that.
    torch.library.opcheck(
        torch.ops.fastcca.correlation_loss.default,
        (H1, H2, True, 2, 1e-3, 1e-3, False),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_compiles_whole_and_exports():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.f, self.g = torch.nn.Linear(4, 3).double(), torch.nn.Linear(5, 3).double()
            self.loss = CorrelationLoss()

        def forward(self, x, y):
            return self.loss(self.f(x), self.g(y))

    torch.manual_seed(0)
    model = Model()
    X, Y = (h.detach() for h in views(30, 4, 5))
    plain = model(X, Y)
    plain.backward()
    expected = model.f.weight.grad.clone()
    model.zero_grad()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    value = compiled(X, Y)
    value.backward()
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(model.f.weight.grad, expected)
    with torch.no_grad():
        program = torch.export.export(model, (X, Y))
        assert "fastcca.correlation_loss" in program.graph_module.code
        torch.testing.assert_close(program.module()(X, Y), plain.detach())


def test_half_precision_is_computed_in_single():
    H1, H2 = (h.detach().to(torch.bfloat16).requires_grad_() for h in views(40, 3, 3))
    loss = CorrelationLoss()(H1, H2)
    loss.backward()
    assert loss.dtype == torch.float32
    assert H1.grad.dtype == torch.bfloat16
    assert loss.item() == pytest.approx(CorrelationLoss()(H1.float(), H2.float()).item())


def test_no_second_derivative():
    H1, H2 = views(12, 2, 2)
    (gradient,) = torch.autograd.grad(CorrelationLoss()(H1, H2), H1, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.sum().backward()


def test_bad_input_is_named():
    H1, H2 = views(12, 3, 3)
    with pytest.raises(TypeError, match=r"H1 must be a floating-point tensor, got torch.int64"):
        CorrelationLoss()(torch.ones(12, 3, dtype=torch.int64), H2)
    with pytest.raises(TypeError, match="H2 must be a floating-point tensor, got ndarray"):
        CorrelationLoss()(H1, np.ones((12, 3)))
    with pytest.raises(ValueError, match="H1 is on cpu and H2 on meta"):
        CorrelationLoss()(H1, torch.ones(12, 3, device="meta"))
    with pytest.raises(ValueError, match="H1 has 12 rows and H2 has 11"):
        CorrelationLoss()(H1, H2[1:])
    with pytest.raises(ValueError, match="at least 2 samples, got 1"):
        CorrelationLoss()(H1[:1], H2[:1])
    with pytest.raises(ValueError, match=r"H1 must have shape \(rows, columns\)"):
        CorrelationLoss()(H1[0], H2)
    with pytest.raises(ValueError, match=r"n_components=4 is more than min\(d1, d2\) = 3"):
        CorrelationLoss(4)(H1, H2)
    for k in (0, -1, 1.5, True, "2"):
        with pytest.raises(ValueError, match=f"n_components must be an integer >= 1 or None, got {k!r}"):
            CorrelationLoss(k)
    with pytest.raises(ValueError, match="reg must be"):
        CorrelationLoss(reg=-1.0)
    with pytest.raises(ValueError, match="objective must be"):
        CorrelationLoss(objective="sum")
    with pytest.raises(NumericalError, match="reg of"):
        CorrelationLoss(reg=0.0)(H1[:3], H2[:3])
    with pytest.raises(ValueError, match="H2 contains NaN: the first is at row 1, column 0"):
        CorrelationLoss()(H1, torch.where(torch.arange(36).reshape(12, 3) == 3, torch.nan, H2.detach()))
