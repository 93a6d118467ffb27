"""CorrelationLoss of many views, and large_batch_step for every loss."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny networks

from fastcca.deep import (  # noqa: E402
    ContrastiveLoss,
    CorrelationLoss,
    HingeEmbeddingLoss,
    PairEmbeddingLoss,
    SigmoidContrastiveLoss,
    large_batch_step,
)
from fastcca.errors import NumericalError  # noqa: E402
from reference import correlation as ref  # noqa: E402

# PyTorch's own, at the first forward-mode derivative.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")


def views(n=40, widths=(4, 3, 5), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    Z = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    out = []
    for width in widths:
        noise = torch.randn(n, width, generator=generator, dtype=torch.float64)
        turn = torch.randn(2, width, generator=generator, dtype=torch.float64)
        out.append((Z @ turn + noise + 3).to(dtype).requires_grad_())
    return out


# ---- many views


@pytest.mark.parametrize("objective", ["trace_norm", "frobenius"])
def test_the_loss_of_many_views_is_the_sum_over_pairs(objective):
    H = views()
    regs = [1e-3, 1e-2, 0.1]
    CorrelationLoss(2, regs, objective)(*H).backward()
    found = [h.grad.clone() for h in H]
    for h in H:
        h.grad = None
    total = sum(
        CorrelationLoss(2, (regs[k], regs[m]), objective)(H[k], H[m]) for k, m in ((0, 1), (0, 2), (1, 2))
    )
    total.backward()
    assert CorrelationLoss(2, regs, objective)(*H).item() == pytest.approx(total.item(), rel=1e-13)
    for a, h in zip(found, H, strict=True):
        torch.testing.assert_close(a, h.grad)
    assert torch.autograd.gradcheck(CorrelationLoss(reg=0.1, objective=objective), tuple(H))


@pytest.mark.parametrize("widths", [(4, 3), (4, 3, 5), (2, 6, 3, 4)])
def test_maxvar_against_projections(widths):
    H = views(widths=widths)
    for n_components in (1, min(widths)):
        regs = [10.0 ** -(k + 1) for k in range(len(widths))]
        loss = CorrelationLoss(n_components, regs, "maxvar")
        value = loss(*H)
        for h in H:
            h.grad = None
        (2 * value).backward()
        exact, grads = ref.maxvar([h.detach().numpy() for h in H], n_components, regs)
        assert value.item() == pytest.approx(exact, rel=1e-11)
        for h, expected in zip(H, grads, strict=True):
            np.testing.assert_allclose(h.grad, 2 * expected, atol=1e-12)
        assert torch.autograd.gradcheck(loss, tuple(H))
        single = loss(*(h.float() for h in H))
        assert single.dtype == torch.float32
        assert single.item() == pytest.approx(exact, rel=1e-5)


def test_maxvar_of_two_views_is_their_correlation():
    a, b = views(widths=(3, 4))
    correlation = CorrelationLoss(reg=1e-12)(a, b).item()
    assert CorrelationLoss(reg=1e-12, objective="maxvar")(a, b).item() == pytest.approx(
        3 + correlation, rel=1e-8
    )


def test_maxvar_of_low_rank_and_constant_outputs():
    H = [h.detach().numpy() for h in views()]
    H[0][:, 3] = H[0][:, 0] + H[0][:, 1]
    H[1][:, 2] = 0
    H[2] *= 1e-5
    regs = [1e-9, 1e-9, 1e-16]
    tensors = [torch.from_numpy(h).requires_grad_() for h in H]
    loss = CorrelationLoss(2, regs, "maxvar")
    value = loss(*tensors)
    value.backward()
    exact, grads = ref.maxvar(H, 2, regs)
    assert value.item() == pytest.approx(exact, abs=1e-6)
    for h, expected in zip(tensors, grads, strict=True):
        assert torch.isfinite(h.grad).all()
        assert np.linalg.norm(h.grad.numpy() - expected) < 1e-3 * np.linalg.norm(expected)
    with pytest.raises(NumericalError, match=r"covariance of H1 is not positive definite.*rank 3"):
        CorrelationLoss(2, 0.0, "maxvar")(*tensors)


@pytest.mark.parametrize("scale", [1e-100, 1e100])
@pytest.mark.parametrize("objective", ["trace_norm", "frobenius", "maxvar"])
def test_many_views_far_from_one_in_scale(objective, scale):
    H = views()
    CorrelationLoss(2, 0.1, objective)(*H).backward()
    scaled = [(scale * h.detach()).requires_grad_() for h in H]
    value = CorrelationLoss(2, 0.1 * scale**2, objective)(*scaled)
    assert value.item() == pytest.approx(CorrelationLoss(2, 0.1, objective)(*H).item(), rel=1e-12)
    value.backward()
    for h, s in zip(H, scaled, strict=True):
        torch.testing.assert_close(s.grad * scale, h.grad, rtol=1e-9, atol=1e-12)


def test_maxvar_compiles_and_knows_torch_func():
    loss = CorrelationLoss(2, 0.1, "maxvar")
    H = views()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*H), loss(*H))
    detached = [h.detach() for h in H]
    loss(*H).backward()
    found = torch.func.grad(loss, argnums=(0, 1, 2))(*detached)
    for a, h in zip(found, H, strict=True):
        torch.testing.assert_close(a, h.grad)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.func.hessian(loss)(*detached)


def test_bad_views_are_named():
    H = views()
    with pytest.raises(ValueError, match="at least two views, got 1"):
        CorrelationLoss()(H[0])
    with pytest.raises(ValueError, match="reg is of 2 views, but there are 3"):
        CorrelationLoss(reg=(1e-3, 1e-3))(*H)
    with pytest.raises(ValueError, match="H1 has 40 rows and H3 has 39"):
        CorrelationLoss()(H[0], H[1], H[2][1:])
    with pytest.raises(ValueError, match="objective must be one of 'trace_norm', 'frobenius', 'maxvar'"):
        CorrelationLoss(objective="sumcor")
    with pytest.raises(ValueError, match="n_components=4 is more than"):
        CorrelationLoss(4)(*H)
    for objective in ("trace_norm", "maxvar"):
        with pytest.raises(
            ValueError, match=r"H3 contains NaN|H2 contains NaN: the first is at row 0, column 0"
        ):
            CorrelationLoss(objective=objective)(H[0], H[1], torch.nan * H[2])
        with pytest.raises(ValueError, match="at least 2 samples, got 1"):
            CorrelationLoss(objective=objective)(*(h[:1] for h in H))


# ---- large batches

EMBEDDINGS = torch.nn.Parameter(
    torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
)
HINGE = HingeEmbeddingLoss()
LARGE = {
    "correlation": lambda: CorrelationLoss(reg=0.1),
    "maxvar": lambda: CorrelationLoss(2, 0.1, "maxvar"),
    "pairs": lambda: PairEmbeddingLoss(),
    "contrastive": lambda: ContrastiveLoss().double(),
    "sigmoid": lambda: SigmoidContrastiveLoss().double(),
}


def networks():
    torch.manual_seed(1)
    f = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    return f, torch.nn.Linear(5, 3).double()


@pytest.mark.parametrize("name", list(LARGE))
def test_a_large_step_is_that_of_the_whole_batch(name):
    X, Y = torch.randn(50, 6, dtype=torch.float64), torch.randn(50, 5, dtype=torch.float64)
    (f, g), loss = networks(), LARGE[name]()
    modules = torch.nn.ModuleList([f, g, loss])
    value = large_batch_step(loss, [f, g], list(zip(X.split(8), Y.split(8), strict=True)))
    assert not value.requires_grad
    found = [p.grad.clone() for p in modules.parameters()]
    modules.zero_grad()
    whole = loss(f(X), g(Y))
    whole.backward()
    torch.testing.assert_close(value, whole.detach(), rtol=1e-12, atol=1e-14)
    for a, p in zip(found, modules.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-9, atol=1e-13)


def test_one_network_labels_and_a_generator_of_batches():
    X, y = torch.randn(30, 6, dtype=torch.float64), torch.arange(30) % 5
    f, _ = networks()
    EMBEDDINGS.grad = None
    value = large_batch_step(
        lambda z, of: HINGE(z, EMBEDDINGS, of),
        f,
        ((x, c) for x, c in zip(X.split(7), y.split(7), strict=True)),
    )
    found = [p.grad.clone() for p in (*f.parameters(), EMBEDDINGS)]
    f.zero_grad()
    EMBEDDINGS.grad = None
    whole = HINGE(f(X), EMBEDDINGS, y)
    whole.backward()
    assert value.item() == pytest.approx(whole.item(), rel=1e-12)
    for a, p in zip(found, (*f.parameters(), EMBEDDINGS), strict=True):
        torch.testing.assert_close(a, p.grad)


def test_dropout_and_batch_normalisation_are_those_of_one_pass():
    torch.manual_seed(0)
    f = torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3)
    )
    f = f.double()
    twin = copy.deepcopy(f)
    X, Y = torch.randn(48, 6, dtype=torch.float64), torch.randn(48, 3, dtype=torch.float64)
    loss = CorrelationLoss(reg=0.1)
    torch.manual_seed(5)
    value = large_batch_step(loss, [f, torch.nn.Identity()], list(zip(X.split(12), Y.split(12), strict=True)))
    torch.manual_seed(5)
    whole = loss(torch.cat([twin(x) for x in X.split(12)]), Y)
    whole.backward()
    assert value.item() == pytest.approx(whole.item(), rel=1e-12)
    for a, b in zip(f.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    for a, b in zip(f.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_the_graph_of_one_part_alone_is_held():
    """Saved tensors at any time are those of one part, whatever the number of parts."""
    held = {"now": 0, "most": 0}

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            if torch.is_grad_enabled() or x.requires_grad:
                held["now"] += len(x)
                held["most"] = max(held["most"], held["now"])
            ctx.n = len(x)
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            held["now"] -= ctx.n
            return g

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.f = torch.nn.Linear(6, 3)

        def forward(self, x):
            return Counted.apply(self.f(x)) if torch.is_grad_enabled() else self.f(x)

    net = Net()
    X = torch.randn(80, 6)
    large_batch_step(ContrastiveLoss(), [net, net], [(x, x + 1) for x in X.split(8)])
    assert held["now"] == 0
    assert held["most"] == 16


def test_bad_batches_are_named():
    f, g = networks()
    X, Y = torch.randn(8, 6, dtype=torch.float64), torch.randn(8, 5, dtype=torch.float64)
    loss = CorrelationLoss()
    with pytest.raises(ValueError, match="at least one batch"):
        large_batch_step(loss, [f, g], [])
    with pytest.raises(ValueError, match="must hold tuples"):
        large_batch_step(loss, [f, g], [X, Y])
    with pytest.raises(ValueError, match="an input for each of the 2 encoders"):
        large_batch_step(loss, [f, g], [(X,)])
    with pytest.raises(ValueError, match="encoders must be one or more networks"):
        large_batch_step(loss, [], [(X, Y)])
    with pytest.raises(ValueError, match=r"return \[7, 8\] rows for one batch"):
        large_batch_step(loss, [f, g], [(X, Y[1:])])
    with pytest.raises(ValueError, match="must return a tensor"):
        large_batch_step(loss, [f, lambda y: y.numpy()], [(X, Y)])
    with pytest.raises(NumericalError, match="encoder 1 returned NaN or infinity"):
        large_batch_step(loss, [f, g], [(X * torch.nan, Y)])
