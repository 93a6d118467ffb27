"""The hinge loss in PyTorch against its eager expression with autograd: ``python -m bench.hinge_loss``.

Forward and backward in float32 at the same number of threads, at random embeddings, where about half of all
margins are violated, and near the end of a training, where few are. Two eager expressions are timed, and the
faster one counts. Flops are counted as 6 B d C.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from bench.harness import Report, agree, limit_threads, time_together
from fastcca.deep import HingeEmbeddingLoss, PairEmbeddingLoss

# (B, d, C), what the issue of the loss asks for, calls
SIZES = [(256, 100, 50, 2.0, 500), (1024, 256, 1000, 2.0, 60), (1024, 300, 20000, 4.0, 7)]

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
        measure_pairs(report, 256, 64, 200)
        measure_pairs(report, 1024, 128, 30)
    report.save(arguments.json)


if __name__ == "__main__":
    main()
