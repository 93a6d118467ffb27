"""Large-margin losses against PyTorch: ``python -m bench.hinge_loss``.

The hinge loss in PyTorch against its eager expression with autograd: forward and backward in float32 at the
same number of threads, at random embeddings, where many margins are violated, and near the end of a training,
where few are. Two eager expressions are timed, and the faster one counts. Flops are counted as 6 B d C.

WSABIE's epoch against the same steps in a loop of PyTorch, in float32. The two draw different classes, so
that their answers are compared where there is one other class to draw.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.harness import Report, agree, limit_threads, time_together
from fastcca.deep import HingeEmbeddingLoss, PairEmbeddingLoss
from fastcca.functional import warp_epoch

# (B, d, C), what the issue of the loss asks for, calls
SIZES = [(256, 100, 50, 2.0, 25), (1024, 256, 1000, 2.0, 15), (1024, 300, 20000, 4.0, 3)]

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def expanded(Z: Tensor, U: Tensor, y: Tensor) -> Tensor:
    """Distances from one product; the own class leaves the sum."""
    D = Z.square().sum(1, keepdim=True) - 2 * Z @ U.T + U.square().sum(1)
    v = 1 + D.gather(1, y[:, None]) - D
    return v.scatter(1, y[:, None], 0).clamp(min=0).sum(1).mean()


def by_cdist(Z: Tensor, U: Tensor, y: Tensor) -> Tensor:
    """PyTorch's own distances; the own class adds the margin, which is taken off."""
    D = torch.cdist(Z, U).square()
    return (1 + D.gather(1, y[:, None]) - D).clamp(min=0).sum(1).mean() - 1


def step(loss: Loss, Z: Tensor, U: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b = Z.detach().requires_grad_(), U.detach().requires_grad_()
    value = loss(a, b, y)
    grad_a, grad_b = torch.autograd.grad(value, (a, b))
    return value.detach(), grad_a, grad_b


def problem(B: int, d: int, C: int, trained: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Classes on a sphere whose radius leaves few violations, or samples anywhere."""
    torch.manual_seed(0)
    U = torch.randn(C, d) / d**0.5
    y = torch.randint(C, (B,))
    if not trained:
        return torch.randn(B, d) / d**0.5, U, y
    return 1.2 * (U[y] + 0.5 * torch.randn(B, d) / d**0.5), 1.2 * U, y


def close(ours: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> bool:
    return all(bool((a.double() - b).norm() <= 1e-4 * b.norm()) for a, b in zip(ours, exact, strict=True))


def measure(report: Report, B: int, d: int, C: int, target: float, repeats: int, trained: bool) -> None:
    Z, U, y = problem(B, d, C, trained)
    losses: dict[str, Loss] = {"ours": HingeEmbeddingLoss(), "expanded": expanded, "cdist": by_cdist}
    exact = step(expanded, Z.double(), U.double(), y)
    agree(f"ours and PyTorch at {(B, d, C)}", close(step(losses["ours"], Z, U, y), exact))
    seconds = time_together({name: partial(step, loss, Z, U, y) for name, loss in losses.items()}, repeats)
    D = Z.square().sum(1, keepdim=True) - 2 * Z @ U.T + U.square().sum(1)
    violated = (1 + D.gather(1, y[:, None]) - D > 0).float().mean().item()
    eager = min(seconds["expanded"], seconds["cdist"])
    what = f"({B}, {d}, {C}) {violated:.0%} violated"
    report.add("b", f"{what}: eager / ours", ratio=eager / seconds["ours"], target=target)
    report.add("b", f"{what}: seconds", **seconds, GFs=6 * B * d * C / seconds["ours"] / 1e9)


def eager_pairs(Z1: Tensor, Z2: Tensor) -> Tensor:
    y = torch.arange(len(Z1))
    return expanded(Z1, Z2, y) + expanded(Z2, Z1, y)


def measure_pairs(report: Report, B: int, d: int, repeats: int) -> None:
    torch.manual_seed(0)
    Z1 = torch.randn(B, d) / d**0.5
    Z2 = Z1 + 0.5 * torch.randn(B, d) / d**0.5
    ours = PairEmbeddingLoss()
    losses: dict[str, Loss] = {
        "ours": lambda a, b, _: ours(a, b),
        "eager": lambda a, b, _: eager_pairs(a, b),
    }
    none = torch.empty(0)
    exact = step(losses["eager"], Z1.double(), Z2.double(), none)
    agree(f"pairs at {(B, d)}", close(step(losses["ours"], Z1, Z2, none), exact))
    seconds = time_together(
        {name: partial(step, loss, Z1, Z2, none) for name, loss in losses.items()}, repeats
    )
    report.add("pairs", f"({B}, {d}): eager / ours", ratio=seconds["eager"] / seconds["ours"])
    report.add("pairs", f"({B}, {d}): seconds", **seconds)


def torch_warp_epoch(X: Tensor, y: Tensor, W: Tensor, V: Tensor, draws: Tensor, rate: float) -> int:
    """The steps of ``warp_epoch`` with a max_norm of 1, as one would write them in PyTorch; the updates."""
    n_others, updates = len(V) - 1, 0
    weights = (1 / torch.arange(1, n_others + 1)).cumsum(0)
    for t, (x, own) in enumerate(zip(X, y.tolist(), strict=True)):
        z = W @ x
        f = V @ z
        others = draws[t] + (draws[t] >= own)
        violated = (1 - f[own] + f[others] > 0).nonzero()
        if not len(violated):
            continue
        first = int(violated[0])
        c, updates = int(others[first]), updates + 1
        step = rate * weights[n_others // (first + 1) - 1]
        g = V[own] - V[c]
        V[own] += step * z
        V[c] -= step * z
        for row in (own, c):
            V[row] /= V[row].norm().clamp(min=1)
        W += step * torch.outer(g, x)
        W /= W.norm(dim=0).clamp(min=1)
    return updates


def measure_warp(report: Report, n: int, p: int, d: int, C: int, repeats: int) -> None:
    rng = np.random.default_rng(0)

    def contenders(n_classes: int) -> dict[str, Callable[[], tuple[Any, Any, int]]]:
        y = rng.integers(n_classes, size=n)
        X = rng.standard_normal((n_classes, p))[y] + rng.standard_normal((n, p))
        X, W, V = (
            a.astype(np.float32)
            for a in (
                X / p**0.5,
                rng.standard_normal((d, p)) / d**0.5,
                rng.standard_normal((n_classes, d)) / d**0.5,
            )
        )
        draws = torch.from_numpy(rng.integers(n_classes - 1, size=(n, n_classes - 1)))

        def ours() -> tuple[Any, Any, int]:
            w, v = W.copy(), V.copy()
            return w, v, warp_epoch(X, y, w, v, learning_rate=0.01)[1]

        def loop() -> tuple[Any, Any, int]:
            w, v = torch.tensor(W), torch.tensor(V)
            updates = torch_warp_epoch(torch.from_numpy(X), torch.from_numpy(y), w, v, draws, 0.01)
            return w.numpy(), v.numpy(), updates

        return {"ours": ours, "loop": loop}

    two = contenders(2)
    (w, v, updates), (w2, v2, updates2) = two["ours"](), two["loop"]()
    same = updates == updates2 and np.allclose(w, w2, atol=1e-4) and np.allclose(v, v2, atol=1e-4)
    agree(f"WARP at {(n, p, d, 2)}", same, f"({updates} and {updates2} updates)")
    seconds = time_together(contenders(C), repeats)
    ratio = seconds["loop"] / seconds["ours"]
    report.add("warp", f"({n}, {p}, {d}, {C}): loop / ours", ratio=ratio, target=5.0)
    report.add("warp", f"({n}, {p}, {d}, {C}): seconds", **seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--largest", type=int, default=20000, help="leave out more classes")
    parser.add_argument("--json")
    parser.add_argument("--allow-slow-numpy", action="store_true")
    arguments = parser.parse_args()
    report = Report(arguments.threads, arguments.allow_slow_numpy)
    torch.set_num_threads(arguments.threads)
    with limit_threads(arguments.threads):
        for B, d, C, target, repeats in SIZES:
            if arguments.largest >= C:
                for trained in (False, True):
                    measure(report, B, d, C, target, repeats, trained)
        measure_warp(report, 1500, 300, 100, 50, 3)
        measure_pairs(report, 256, 64, 15)
        measure_pairs(report, 1024, 128, 9)
    report.save(arguments.json)


if __name__ == "__main__":
    main()
