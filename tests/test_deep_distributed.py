"""Workers that share a batch: two gloo processes give the loss, the gradient and the weights of one."""

import os
import sys

import numpy as np
import pytest

from reference import correlation as reference

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")
if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("this PyTorch has no gloo", allow_module_level=True)

STEPS = 20


def make():
    torch.manual_seed(3)
    f = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    g = torch.nn.Linear(5, 3).double()
    Z = torch.randn(STEPS, 24, 3, dtype=torch.float64)
    X = torch.cat([Z, torch.randn(STEPS, 24, 3, dtype=torch.float64)], 2)
    Y = torch.cat([Z**3, torch.randn(STEPS, 24, 2, dtype=torch.float64)], 2) + 2
    return torch.nn.ModuleList([f, g]), X, Y


class Both(torch.nn.Module):
    def __init__(self, networks):
        super().__init__()
        self.networks = networks

    def forward(self, x, y):
        return self.networks[0](x), self.networks[1](y)


LOW_RANK = range(12)


def low_rank(seed):
    H1, H2, reg = reference.low_rank_problem(seed, 200, 40)
    return torch.from_numpy(H1).float(), torch.from_numpy(H2).float(), reg


def parts_of_low_rank(seed, rank):
    """A worker's loss and gradients of outputs of low rank in float32, a few rows or the others its own."""
    from fastcca.deep import CorrelationLoss

    H1, H2, reg = low_rank(seed)
    rows = slice(0, 2) if rank == 0 else slice(2, None)
    a, b = H1[rows].requires_grad_(), H2[rows].requires_grad_()
    value = CorrelationLoss(reg=reg, process_group=torch.distributed.group.WORLD)(a, b)
    value.backward()
    return value.item(), torch.cat([a.grad, b.grad], 1)


def worker(rank, path):
    from fastcca.deep import CorrelationLoss

    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{path}/rendezvous", rank=rank, world_size=2
    )
    networks, X, Y = make()
    model = torch.nn.parallel.DistributedDataParallel(Both(networks))
    optimizer = torch.optim.SGD(networks.parameters(), lr=0.1, momentum=0.9)
    loss = CorrelationLoss(reg=1e-2, process_group=torch.distributed.group.WORLD)
    rows = slice(0, 9) if rank == 0 else slice(9, 24)  # parts of different sizes
    values, first = [], None
    for x, y in zip(X, Y, strict=True):
        optimizer.zero_grad()
        value = loss(*model(x[rows], y[rows]))
        value.backward()
        first = first or [p.grad.clone() for p in networks.parameters()]
        optimizer.step()
        values.append(value.item())
    hard = [parts_of_low_rank(seed, rank) for seed in LOW_RANK]
    torch.save((values, first, [p.detach() for p in networks.parameters()], hard), f"{path}/{rank}.pt")
    torch.distributed.destroy_process_group()
    # Threads of PyTorch that want the interpreter's lock after its end abort the process now and then.
    os._exit(0)


def test_two_workers_equal_one(tmp_path):
    import subprocess

    from fastcca.deep import CorrelationLoss

    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_deep_distributed as t; "
    )
    code += "t.worker(int(sys.argv[1]), sys.argv[2])"
    workers = [subprocess.Popen([sys.executable, "-c", code, str(rank), str(tmp_path)]) for rank in (0, 1)]
    networks, X, Y = make()
    optimizer = torch.optim.SGD(networks.parameters(), lr=0.1, momentum=0.9)
    loss, values, gradient = CorrelationLoss(reg=1e-2), [], None
    for x, y in zip(X, Y, strict=True):
        optimizer.zero_grad()
        value = loss(networks[0](x), networks[1](y))
        value.backward()
        gradient = gradient or [p.grad.clone() for p in networks.parameters()]
        optimizer.step()
        values.append(value.item())
    assert [w.wait(timeout=120) for w in workers] == [0, 0]
    (*_, top), (their_values, their_gradient, their_weights, rest) = (
        torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)
    )
    assert their_values == pytest.approx(values, abs=1e-8)
    for ours, theirs in zip(gradient, their_gradient, strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-8, rtol=1e-8)
    for ours, theirs in zip(networks.parameters(), their_weights, strict=True):
        torch.testing.assert_close(theirs, ours.detach(), atol=1e-8, rtol=1e-8)
    # Rounding to float32 fills the directions that outputs lack: moments in float64 cannot see them.
    for seed, (value, above), (same, below) in zip(LOW_RANK, top, rest, strict=True):
        H1, H2, reg = low_rank(seed)
        exact, *expected = reference.by_singular_values(H1.numpy(), H2.numpy(), (reg, reg))
        assert value == same == pytest.approx(exact, rel=1e-6)
        found = torch.cat([above, below]).double().numpy() / 2  # the workers' number is a factor
        assert np.linalg.norm(found - np.hstack(expected)) < 1e-4 * np.linalg.norm(np.hstack(expected))


def hard_views(dtype, exponent):
    """Copied outputs in one view, in the other a condition number of 10 to this power."""
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((60, 5))
    tilted = Z @ (np.linalg.qr(rng.standard_normal((5, 5)))[0] * np.logspace(0, -exponent, 5))
    copied = (0.7 * Z + rng.standard_normal((60, 5)))[:, [0, 1, 2, 2, 3, 0]]
    return torch.from_numpy(tilted).to(dtype), torch.from_numpy(copied).to(dtype)


def test_one_worker_on_its_own_and_on_other_devices(tmp_path, monkeypatch):
    from fastcca.deep import CorrelationLoss
    from fastcca.deep.losses import correlation

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/one", rank=0, world_size=1)
    try:
        X, Y = torch.randn(20, 4).double().requires_grad_(), torch.randn(20, 3).double().requires_grad_()
        expected = CorrelationLoss(2)(X, Y)
        expected.backward()
        grads = X.grad.clone(), Y.grad.clone()
        for on_cpu in (True, False):
            X.grad = Y.grad = None
            if not on_cpu:  # what a GPU's tensors go through
                monkeypatch.setattr(correlation, "_on_cpu", lambda H: False)
            value = CorrelationLoss(2, process_group=torch.distributed.group.WORLD)(X, Y)
            value.backward()
            torch.testing.assert_close(value, expected)
            torch.testing.assert_close(X.grad, grads[0])
            torch.testing.assert_close(Y.grad, grads[1])
        # Outputs of low rank, and ill-conditioned float32: as right as one process
        for dtype, tolerance in ((torch.float64, 1e-7), (torch.float32, 1e-4)):
            for on_cpu in (True, False):
                monkeypatch.setattr(correlation, "_on_cpu", lambda H, on_cpu=on_cpu: on_cpu)
                for H1, H2 in (hard_views(dtype, 1.0), hard_views(dtype, 3.0), (X[:4], Y[:4])):
                    a, b = (H.detach().to(dtype).requires_grad_() for H in (H1, H2))
                    value = CorrelationLoss(reg=1e-6, process_group=torch.distributed.group.WORLD)(a, b)
                    value.backward()
                    exact, one, two = reference.by_singular_values(
                        a.detach().numpy(), b.detach().numpy(), (1e-6, 1e-6)
                    )
                    assert value.item() == pytest.approx(exact, rel=tolerance)
                    expected = np.hstack([one, two])
                    found = torch.cat([a.grad, b.grad], 1).double().numpy()
                    assert np.linalg.norm(found - expected) < 10 * tolerance * np.linalg.norm(expected)
        with pytest.raises(ValueError, match="at least 2 samples, got 1"):
            CorrelationLoss(process_group=torch.distributed.group.WORLD)(X[:1], Y[:1])
    finally:
        torch.distributed.destroy_process_group()
