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


def losses_of_pairs(group):
    """Name, loss, further arguments by rows."""
    from fastcca.deep import ContrastiveLoss, CorrelationLoss, PairEmbeddingLoss, SigmoidContrastiveLoss

    labels, weights = torch.arange(24) % 7, torch.linspace(0.1, 1, 24, dtype=torch.float64)
    own = {"process_group": group}
    return [
        ("contrastive", ContrastiveLoss(0.2, **own).double(), {}),
        ("labels", ContrastiveLoss(0.2, **own).double(), {"labels": labels}),
        ("groups", ContrastiveLoss(0.2, **own).double(), {"groups": labels, "sample_weight": weights}),
        ("inner products", ContrastiveLoss(similarity="inner_product", reduction="sum", **own).double(), {}),
        ("sigmoid", SigmoidContrastiveLoss(0.2, -1.0, **own).double(), {"sample_weight": weights}),
        ("sigmoid of labels", SigmoidContrastiveLoss(0.2, -1.0, **own).double(), {"labels": labels}),
        ("sigmoid of groups", SigmoidContrastiveLoss(0.2, -1.0, **own).double(), {"groups": labels}),
        ("pairs", PairEmbeddingLoss(0.7, **own), {}),
        ("hardest pairs", PairEmbeddingLoss(0.7, "cosine", "sum", "hardest", **own), {"groups": labels}),
        ("softmax of pairs", PairEmbeddingLoss(loss="softmax", **own), {"sample_weight": weights}),
        ("maxvar", CorrelationLoss(2, 1e-2, "maxvar", **own), {}),
    ]


def losses_of_labels(group):
    """Name, loss, whether it is given the embeddings, further arguments by rows: of rows of four classes."""
    from fastcca.deep import HingeEmbeddingLoss, UnifiedSemanticLoss
    from fastcca.functional import ConstraintTable
    from fastcca.taxonomy import Taxonomy

    weights = torch.linspace(0.1, 1, 24, dtype=torch.float64)
    table = ConstraintTable.from_lists([[(4, [5]), (0, [1, 2, 3])], [(5, [4])], [], [(4, [0, 5])]])
    animals = Taxonomy.from_dict({"animal": {"mammal": ["cat", "dog"], "fish": ["eel", "ray"]}})
    attributes = {"cat": [0, 1, 0], "dog": [0, 1, 1], "eel": [1, 0, 0], "ray": [1, 0, 1]}
    sampled = torch.randn(24, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    own = {"process_group": group}
    use = {"dtype": torch.float64, "n_components": 3, "random_state": 0, **own}
    found = [
        ("hinge", HingeEmbeddingLoss(0.7, **own), True, {}),
        (
            "weighted hinge",
            HingeEmbeddingLoss(**own, class_weight=weights[:6]),
            True,
            {"sample_weight": weights},
        ),
        (
            "hardest",
            HingeEmbeddingLoss(0.7, "cosine", "sum", "hardest", **own),
            True,
            {"sample_weight": weights},
        ),
        ("softmax of a table", HingeEmbeddingLoss(loss="softmax", table=table, **own), True, {}),
    ]
    for kind in ("squared", "hinge", "linear"):
        loss = UnifiedSemanticLoss(animals, attributes, attribute_loss=kind, mu2=0.1, **use)
        found.append((f"unified {kind}", loss, False, {"sample_weight": weights}))
    latent = UnifiedSemanticLoss(
        animals, classes=["cat", "dog", "eel", "ray"], n_attributes=3, loss="hinge", **use
    )
    found.append(("unified of samples", latent, False, {"sample_attributes": sampled}))
    return found


def results_of_labels(group, rows):
    found = {}
    y = torch.arange(24) % 4
    for name, loss, with_labels, arguments in losses_of_labels(group):
        Z, U = (H.clone() for H in views_of_pairs()[:2])
        Z, U = Z[rows].requires_grad_(), U[:6].requires_grad_()
        given = {key: value[rows] for key, value in arguments.items()}
        inputs = (Z, U, y[rows]) if with_labels else (Z, y[rows])
        value = loss(*inputs, **given)
        (2 * value).backward()
        with torch.no_grad():
            again = loss(*inputs, **given)
        own = [U.grad] if with_labels else [loss.U.grad, loss.A.grad]
        found[name] = (value.item(), again.item(), Z.grad, own)
    return found


def views_of_pairs(dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    Z = torch.randn(24, 3, generator=generator, dtype=torch.float64)
    return [(Z + torch.randn(24, 3, generator=generator, dtype=torch.float64)).to(dtype) for _ in range(3)]


def results_of_pairs(group, rows):
    found = results_of_labels(group, rows)
    for name, loss, arguments in losses_of_pairs(group):
        a, b = (H[rows].clone().requires_grad_() for H in views_of_pairs()[:2])
        value = loss(a, b, **{key: given[rows] for key, given in arguments.items()})
        (2 * value).backward()
        with torch.no_grad():
            again = loss(a, b, **{key: given[rows] for key, given in arguments.items()})
        own = [p.grad for p in loss.parameters()]
        found[name] = (value.item(), again.item(), torch.cat([a.grad, b.grad], 1), own)
    for objective in ("trace_norm", "maxvar"):  # three views, of which one lacks rank
        from fastcca.deep import CorrelationLoss

        for exponent in (0, 6):
            H = views_of_pairs()
            H[1][:, 2] = H[1][:, 0] + 10.0**-exponent * H[1][:, 2]
            H = [h[rows].clone().requires_grad_() for h in H]
            value = CorrelationLoss(2, 1e-9, objective, process_group=group)(*H)
            value.backward()
            found[objective, exponent] = (value.item(), value.item(), torch.cat([h.grad for h in H], 1), [])
    return found


def worker_of_pairs(rank, path):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{path}/rendezvous", rank=rank, world_size=2
    )
    rows = slice(0, 9) if rank == 0 else slice(9, 24)  # parts of different sizes
    torch.save(results_of_pairs(torch.distributed.group.WORLD, rows), f"{path}/{rank}.pt")
    torch.distributed.destroy_process_group()
    os._exit(0)


def test_losses_of_pairs_and_of_many_views_of_two_workers(tmp_path):
    import subprocess

    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_deep_distributed as t; "
    )
    code += "t.worker_of_pairs(int(sys.argv[1]), sys.argv[2])"
    workers = [subprocess.Popen([sys.executable, "-c", code, str(rank), str(tmp_path)]) for rank in (0, 1)]
    expected = results_of_pairs(None, slice(None))
    assert [w.wait(timeout=120) for w in workers] == [0, 0]
    top, rest = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, (value, _, gradient, own) in expected.items():
        tolerance = 1e-5 if name[1] == 6 else 1e-8
        for found in (top[name], rest[name]):
            assert found[0] == pytest.approx(value, rel=tolerance, abs=1e-10), name
            assert found[1] == pytest.approx(value, rel=tolerance, abs=1e-10), name
            for p, q in zip(found[3], own, strict=True):
                torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-10)
        found = torch.cat([top[name][2], rest[name][2]]) / 2  # the workers' number is a factor
        assert (found - gradient).norm() <= tolerance * gradient.norm(), name


def test_one_worker_of_pairs_on_other_devices(tmp_path, monkeypatch):
    from fastcca.deep.losses import contrastive, hinge

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/one", rank=0, world_size=1)
    try:
        expected = results_of_pairs(None, slice(None))
        for module in (contrastive, hinge):
            monkeypatch.setattr(module, "_runs_in_core", lambda Z: False)
        found = results_of_pairs(torch.distributed.group.WORLD, slice(None))
        for name, (value, _, gradient, own) in expected.items():
            assert found[name][0] == pytest.approx(value, rel=1e-6), name
            assert (found[name][2] - gradient).norm() <= 1e-5 * gradient.norm(), name
            for p, q in zip(found[name][3], own, strict=True):
                torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-10)
    finally:
        torch.distributed.destroy_process_group()


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
