"""The losses under torch.func and forward-mode differentiation: right derivatives, or one clear error."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny batches

from torch.autograd import forward_ad  # noqa: E402
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap  # noqa: E402

from fastcca.deep import CorrelationLoss, HingeEmbeddingLoss, PairEmbeddingLoss  # noqa: E402

# PyTorch's own, at the first forward-mode derivative.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

ROWS, CLASSES, WIDTH = 14, 5, 3


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


Y = torch.arange(ROWS) % CLASSES
COSTS = drawn(CLASSES, CLASSES).abs()
hinge, hardest = HingeEmbeddingLoss(), HingeEmbeddingLoss(COSTS, "cosine", negatives="hardest")
LOSSES = {
    "trace_norm": CorrelationLoss(),
    "truncated": CorrelationLoss(2, reg=0.1),
    "frobenius": CorrelationLoss(objective="frobenius"),
    "pairs": PairEmbeddingLoss(),
    "hardest cosine pairs": PairEmbeddingLoss(similarity="cosine", negatives="hardest"),
    "hinge": lambda a, b: hinge(a, b[:CLASSES], Y),
    "hardest cosine hinge with costs": lambda a, b: hardest(a, b[:CLASSES], Y),
}
A, B, T = (drawn(ROWS, WIDTH, seed=seed) for seed in (1, 2, 3))


def backward(loss, a=A, b=B):
    """The gradients of a plain backward pass, which test_deep_loss.py and test_deep_hinge.py check."""
    a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
    return torch.autograd.grad(loss(a, b), (a, b))


@pytest.fixture(params=list(LOSSES))
def loss(request):
    return LOSSES[request.param]


def test_gradients_and_directional_derivatives(loss):
    one, two = backward(loss)
    close = torch.testing.assert_close
    close(grad(loss, argnums=(0, 1))(A, B), (one, two))
    close(jacrev(loss)(A, B), one)
    close(jacfwd(loss, argnums=1)(A, B), two)
    value, slope = jvp(loss, (A, B), (T, -2 * T))
    close(value, loss(A, B))
    close(slope, (one * T).sum() - 2 * (two * T).sum())
    # and by difference quotients, which share nothing with the above
    h = 1e-6
    quotient = (loss(A + h * T, B) - loss(A - h * T, B)) / (2 * h)
    close(jvp(lambda a: loss(a, B), (A,), (T,))[1], quotient, rtol=1e-5, atol=1e-7)


def test_batches_of_problems(loss):
    first, second = torch.stack([A, T, A + T]), torch.stack([B, B - T, T])
    expected = [backward(loss, a, b) for a, b in zip(first, second, strict=True)]
    values = vmap(loss)(first, second)
    torch.testing.assert_close(values, torch.stack([loss(a, b) for a, b in zip(first, second, strict=True)]))
    gradients = vmap(grad(loss, argnums=(0, 1)))(first, second)
    for found, of_view in zip(gradients, zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(of_view))
    along_the_last = vmap(grad(loss), in_dims=(2, None), out_dims=2)(first.movedim(0, 2), B)
    torch.testing.assert_close(along_the_last[:, :, 1], backward(loss, T, B)[0])


def test_batches_of_labels():
    labels = torch.stack([Y, Y.flip(0)])
    found = vmap(grad(lambda a, y: hinge(a, B[:CLASSES], y)), in_dims=(None, 0))(A, labels)
    for gradient, y in zip(found, labels, strict=True):
        torch.testing.assert_close(gradient, backward(lambda a, b, y=y: hinge(a, b[:CLASSES], y))[0])


def test_forward_mode_without_torch_func(loss):
    one, _ = backward(loss)
    expected = (one * T).sum()
    for context in (torch.enable_grad, torch.no_grad):
        with forward_ad.dual_level(), context():
            tangent = forward_ad.unpack_dual(loss(forward_ad.make_dual(A, T), B)).tangent
            torch.testing.assert_close(tangent, expected)


def test_parameters_of_a_network(loss):
    net = torch.nn.Linear(WIDTH, WIDTH, dtype=torch.float64)
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    found = grad(lambda p: loss(functional_call(net, p, (A,)), B))(parameters)
    loss(net(A), B).backward()
    torch.testing.assert_close(found["weight"], net.weight.grad)
    torch.testing.assert_close(found["bias"], net.bias.grad)


def test_second_derivatives_are_refused(loss):
    for second in (
        lambda: hessian(loss)(A, B),
        lambda: jacrev(jacrev(loss))(A, B),
        lambda: jacfwd(jacfwd(loss))(A, B),
        lambda: grad(lambda a: grad(loss)(a, B).square().sum())(A),
        lambda: jvp(grad(lambda a: loss(a, B)), (A,), (T,)),
    ):
        with pytest.raises(RuntimeError, match="no second derivative"):
            second()


def test_a_process_group_is_refused():
    with pytest.raises(RuntimeError, match="process_group takes part in no transform"):
        grad(CorrelationLoss(process_group=object()))(A, B)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_formulas_of_other_devices_are_computed_in_float32_within_autocast(dtype):
    from fastcca.deep.losses.correlation import torch_correlation_loss
    from fastcca.deep.losses.hinge import torch_hinge_loss

    Z, U, y = (3 * drawn(64, 40)).float(), (3 * drawn(50, 40, seed=1)).float(), torch.arange(64) % 50
    options = (None, 1.0, "euclidean", "sum", 1 / 64)
    exact = torch_hinge_loss(Z.double(), U.double(), True, y, *options)
    with torch.autocast("cpu", dtype):
        found = torch_hinge_loss(Z, U, True, y, *options)
        correlation = torch_correlation_loss(Z[:50], U, True, 40, 1e-3, 1e-3, False)
    for a, b in zip(found, exact, strict=True):
        assert a.dtype == torch.float32
        assert (a.double() - b).norm() < 1e-5 * b.norm()
    for a, b in zip(correlation, torch_correlation_loss(Z[:50], U, True, 40, 1e-3, 1e-3, False), strict=True):
        assert torch.equal(a, b)
