"""Activations, encoders, denoising autoencoders, exact full-batch gradients, schedules."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny networks

from fastcca.deep import MLP, CorrelationLoss, DenoisingAutoencoder, GaussianNoise, NonSaturatingSigmoid  # noqa: E402
from fastcca.deep._correlation_training import Encoders, Plan, full_batch_gradient  # noqa: E402
from fastcca.deep._training import Source, learning_rate, minimize  # noqa: E402
from fastcca.errors import NumericalError  # noqa: E402


def newton_inverse(x):
    """y with y³/3 + y = x by Newton's iteration, as in the paper."""
    y = np.sign(x) * np.minimum(np.abs(x), np.cbrt(3 * np.abs(x)))
    for _ in range(60):
        y = (2 * y**3 / 3 + x) / (y**2 + 1)
    return y


def test_the_non_saturating_sigmoid_inverts_its_cubic():
    x = np.concatenate([np.linspace(-5, 5, 101), [-1e6, -1e-9, 0, 1e-9, 1e6]])
    y = NonSaturatingSigmoid()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(y, newton_inverse(x), rtol=1e-13)
    t = torch.linspace(-4, 4, 21, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(NonSaturatingSigmoid(), t)
    s = NonSaturatingSigmoid()(t)
    s.sum().backward()
    np.testing.assert_allclose(t.grad, 1 / (s.detach().numpy() ** 2 + 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_non_saturating_sigmoid_of_the_largest_numbers(dtype):
    info = torch.finfo(dtype)
    x = torch.tensor([info.max, -info.max, info.max / 3, torch.inf, -torch.inf], dtype=dtype)
    y = NonSaturatingSigmoid()(x.requires_grad_())
    y.sum().backward()
    root = np.cbrt(3) * np.cbrt(x.detach()[:3].double().numpy())
    exact = root - 1 / root
    rtol = np.log(info.max) * info.eps  # an exponential of a logarithm
    np.testing.assert_allclose(y.detach()[:3].double(), exact, rtol=rtol)
    assert y[3:].tolist() == [np.inf, -np.inf]
    np.testing.assert_allclose(x.grad[:3].double(), 1 / (exact**2 + 1), rtol=3 * rtol, atol=info.tiny)
    assert x.grad[3:].tolist() == [0, 0]


def test_the_non_saturating_sigmoid_twice_over():
    t = torch.linspace(-4, 4, 20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(NonSaturatingSigmoid(), t)


def test_mlp_layers_and_initial_variance():
    torch.manual_seed(0)
    net = MLP(50, [400, 300, 7], activation="relu", input_noise=0.1, dropout=0.2)
    assert [(layer.in_features, layer.out_features) for layer in net.linear_layers()] == [
        (50, 400),
        (400, 300),
        (300, 7),
    ]
    assert sum(isinstance(m, torch.nn.Dropout) for m in net) == 2
    assert sum(isinstance(m, torch.nn.ReLU) for m in net) == 2
    variance = net.eval()(torch.randn(2000, 50)).var().item()
    assert 0.7 < variance / 2 < 1.4  # He's scale: 2 before an activation that halves the second moment
    for bad in ((0, [3]), (3, []), (3, [4, 0])):
        with pytest.raises(ValueError, match="must be positive"):
            MLP(*bad)
    with pytest.raises(ValueError, match="activation must be one of"):
        MLP(3, [2], activation="sigmoidal")


def test_noise_only_while_training():
    torch.manual_seed(0)
    noise, x = GaussianNoise(2.0), torch.zeros(10000)
    assert noise.train()(x).std().item() == pytest.approx(2, rel=0.05)
    assert torch.equal(noise.eval()(x), x)
    with pytest.raises(ValueError, match="std must not be negative"):
        GaussianNoise(-1)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_denoising_autoencoder_learns_the_subspace(optimizer):
    torch.manual_seed(0)
    X = torch.randn(300, 3) @ torch.randn(3, 12)
    losses = []
    model = DenoisingAutoencoder(12, [16, 8], noise=0.2)
    before = (model(X) - X).square().mean()
    model.fit(X, optimizer, max_iter=40, n_epochs=40, batch_size=50, learning_rate=3e-3,
              callback=lambda *record: losses.append(record))  # fmt: skip
    assert (model(X) - X).square().mean() < 0.2 * min(before, X.var())
    assert {layer for layer, _, _ in losses} == {0, 1}
    for layer in (0, 1):
        of_layer = [loss for number, _, loss in losses if number == layer]
        assert of_layer[-1] < of_layer[0]
        if optimizer == "lbfgs":
            assert all(b <= a + 1e-5 for a, b in itertools.pairwise(of_layer))
    assert model.encode(X).shape == (300, 8)


def test_denoising_loss_is_the_papers():
    torch.manual_seed(1)
    model = DenoisingAutoencoder(3, [4], activation="nonsaturating")
    layer = model.layers[0]
    x, noise = torch.randn(5, 3), torch.randn(5, 3)
    W, b = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    hidden = newton_inverse((x + noise).double().numpy() @ W.T + b)
    expected = np.square(hidden @ W - x.double().numpy()).sum()
    assert model.loss(layer, x, noise).item() == pytest.approx(expected, rel=1e-5)


def test_denoising_refuses():
    model = DenoisingAutoencoder(3, [4])
    with pytest.raises(ValueError, match="optimizer must be"):
        model.fit(torch.zeros(5, 3), "sgd")
    with pytest.raises(ValueError, match=r"X must have shape \(n, 3\)"):
        model.fit(torch.zeros(5, 2))
    with pytest.raises(NumericalError, match="loss of layer 0 is not finite"):
        model.fit(torch.full((5, 3), 1e30))
    with pytest.raises(ValueError, match="noise must be a finite number >= 0, got -1"):
        DenoisingAutoencoder(3, [4], noise=-1)
    for arguments, message in (
        ((0, [4]), "n_inputs must be an integer >= 1, got 0"),
        ((3, [4, 0]), "each of widths must be an integer >= 1, got 0"),
        ((3, [4.5]), "each of widths must be an integer >= 1, got 4.5"),
        ((3, []), r"widths must be those of at least one layer, got \[\]"),
        ((3, 4), "widths must be those of at least one layer, got 4"),
    ):
        with pytest.raises(ValueError, match=message):
            DenoisingAutoencoder(*arguments)
    for name in ("max_iter", "n_epochs", "batch_size", "chunk"):
        for value in (0, 1.5, None):
            with pytest.raises(ValueError, match=f"{name} must be an integer >= 1, got {value}"):
                model.fit(torch.zeros(5, 3), **{name: value})
    with pytest.raises(ValueError, match="learning_rate must be a finite number > 0, got -1"):
        model.fit(torch.zeros(5, 3), learning_rate=-1)
    for bad in (np.zeros((0, 3)), np.full((5, 3), np.nan), np.full((5, 3), np.inf), np.full((5, 3), 1e300)):
        with pytest.raises(
            ValueError, match=r"X has no rows|X contains NaN, infinity or numbers beyond float32"
        ):
            model.fit(bad)


def setting(dtype, reconstruction=0.0, chunk=37):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((200, 3))
    data = [
        np.hstack([Z, rng.standard_normal((200, 4))]),
        np.hstack([rng.standard_normal((200, 2)), Z**2 + Z]),
    ]
    decoders = [MLP(4, [7]), MLP(4, [5])] if reconstruction else []
    networks = Encoders([MLP(7, [9, 4], "tanh"), MLP(5, [8, 4], "tanh")], decoders).to(dtype)
    sources = [Source(a, a.mean(0), a.std(0), torch.device("cpu"), dtype) for a in data]
    return networks, sources, Plan(loss=CorrelationLoss(reg=1e-3), reconstruction=reconstruction, chunk=chunk)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("reconstruction", [0.0, 0.1])
def test_chunked_full_batch_gradient_is_exact(dtype, tolerance, reconstruction):
    networks, sources, plan = setting(dtype, reconstruction)
    value, correlation = full_batch_gradient(networks, sources, plan)
    chunked = [p.grad.clone() for p in networks.parameters()]
    networks.zero_grad()
    inputs = [s.rows(slice(None)) for s in sources]
    outputs = [e(x) for e, x in zip(networks.encoders, inputs, strict=False)]
    loss = plan.loss(*outputs)
    assert -loss.item() == pytest.approx(correlation, rel=1e-5)
    for decoder, H, x in zip(networks.decoders, outputs, inputs, strict=False):
        loss = loss + reconstruction * (decoder(H) - x).square().sum(1).mean()
    loss.backward()
    assert value == pytest.approx(loss.item(), rel=1e-5)
    whole = torch.cat([p.grad.flatten() for p in networks.parameters()])
    assert (torch.cat([g.flatten() for g in chunked]) - whole).norm() <= tolerance * whole.norm()


def test_lbfgs_minimises_and_evaluates_no_point_twice():
    p = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    seen = []

    def rosenbrock():
        seen.append(tuple(p.detach().tolist()))
        value = 100 * (p[1] - p[0] ** 2) ** 2 + (1 - p[0]) ** 2
        value.backward()
        return value.item()

    values = list(minimize([p], rosenbrock, 200))
    assert values[-1] < 1e-12
    assert all(b <= a for a, b in itertools.pairwise(values))
    assert len(set(seen)) == len(seen)
    assert len(values) < 200  # ends by itself
    assert p.tolist() == pytest.approx([1, 1], abs=1e-5)


def test_learning_rate_rises_then_falls_as_a_cosine():
    plan = Plan(loss=CorrelationLoss(), learning_rate=2.0, warmup=0.2)
    assert learning_rate(plan, 0.1) == pytest.approx(1.0)
    assert learning_rate(plan, 0.2) == pytest.approx(2.0)
    assert learning_rate(plan, 0.6) == pytest.approx(1.0)
    assert learning_rate(plan, 1.0) == pytest.approx(0.0, abs=1e-12)
    assert learning_rate(Plan(loss=CorrelationLoss(), learning_rate=2.0, schedule="constant"), 0.9) == 2.0
