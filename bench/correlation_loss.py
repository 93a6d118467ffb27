"""The correlation loss in PyTorch against cca-zoo's and autograd: ``python -m bench.correlation_loss``.

Forward and backward in float32 at the same number of threads. cca-zoo's ``CCALoss`` sums squared
correlations, so it is compared with ``objective="frobenius"``, and with "trace_norm", the objective of
Andrew et al.; autograd goes through two Cholesky factors and the singular values of the whitened matrix.
Flops are counted as 12 m d², the products with the data alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from cca_zoo.deep.objectives import CCALoss
from torch import Tensor

from bench.harness import Report, agree, limit_threads, time_together
from fastcca.deep import CorrelationLoss

SIZES = [(50, 1000), (128, 1024), (256, 2048), (512, 4096), (1024, 8192)]
REG = 1e-4

Loss = Callable[[Tensor, Tensor], Tensor]


def autograd_loss(H1: Tensor, H2: Tensor) -> Tensor:
    """Minus the sum of the singular values of L1⁻¹ S12 L2⁻ᵀ, for PyTorch to differentiate."""
    m, (A, B) = len(H1), (H1 - H1.mean(0), H2 - H2.mean(0))
    factors = [
        torch.linalg.cholesky(H.T @ H / (m - 1) + REG * torch.eye(H.shape[1], dtype=H.dtype)) for H in (A, B)
    ]
    T = torch.linalg.solve_triangular(factors[0], A.T @ B / (m - 1), upper=False)
    T = torch.linalg.solve_triangular(factors[1], T.T, upper=False)
    values: Tensor = torch.linalg.svd(T, full_matrices=False).S
    return -values.sum()


def step(loss: Loss, H1: Tensor, H2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b = H1.detach().requires_grad_(), H2.detach().requires_grad_()
    value = loss(a, b)
    grad_a, grad_b = torch.autograd.grad(value, (a, b))
    return value.detach(), grad_a, grad_b


def views(d: int, m: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    Z = torch.randn(m, d)
    return Z + torch.randn(m, d), Z @ torch.randn(d, d) / d**0.5 + torch.randn(m, d)


def close(ours: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> bool:
    return all(bool((a.double() - b).norm() <= 1e-4 * b.norm()) for a, b in zip(ours, exact, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--largest", type=int, default=1024, help="leave out larger dimensions")
    parser.add_argument("--json")
    parser.add_argument("--allow-slow-numpy", action="store_true")
    arguments = parser.parse_args()
    report = Report(arguments.threads, arguments.allow_slow_numpy)
    torch.set_num_threads(arguments.threads)
    zoo = CCALoss(REG)
    losses: dict[str, Loss] = {
        "ours trace norm": CorrelationLoss(reg=REG),
        "ours frobenius": CorrelationLoss(reg=REG, objective="frobenius"),
        "cca-zoo": lambda a, b: zoo([a, b]),
        "autograd": autograd_loss,
    }
    with limit_threads(arguments.threads):
        for d, m in SIZES:
            if d > arguments.largest:
                continue
            H1, H2 = views(d, m)
            for ours, other in (("ours frobenius", "cca-zoo"), ("ours trace norm", "autograd")):
                exact = step(losses[other], H1.double(), H2.double())
                agree(f"{ours} and {other} at d={d}", close(step(losses[ours], H1, H2), exact))
            calls = {name: partial(step, loss, H1, H2) for name, loss in losses.items()}
            seconds = time_together(calls, 11 if d <= 256 else 5)
            rate = 12 * m * d * d / seconds["ours trace norm"] / 1e9
            for what, ratio, target in (
                ("frobenius: cca-zoo / ours", seconds["cca-zoo"] / seconds["ours frobenius"], 3.0),
                ("trace norm: cca-zoo / ours", seconds["cca-zoo"] / seconds["ours trace norm"], 3.0),
                ("trace norm: autograd / ours", seconds["autograd"] / seconds["ours trace norm"], 2.5),
            ):
                report.add("b", f"({d}, {m}) {what}", ratio=ratio, target=target)
            report.add(
                "b", f"({d}, {m}) seconds", **{k.replace(" ", "_"): v for k, v in seconds.items()}, GFs=rate
            )
    report.save(arguments.json)


if __name__ == "__main__":
    main()
