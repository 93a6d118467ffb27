"""The correlation loss in PyTorch against cca-zoo's and autograd: ``python -m bench.correlation_loss``.

Forward and backward in float32 at the same number of threads. cca-zoo's ``CCALoss`` sums squared
correlations, so it is compared with ``objective="frobenius"``, and with "trace_norm", the objective of
Andrew et al.; autograd goes through two Cholesky factors and the singular values of the whitened matrix.
Flops are counted as 12 m d², the products with the data alone, and their rate is held against the faster
of NumPy's and PyTorch's products of the covariances' shape. cca-zoo needs 14 m d² and two
eigendecompositions.

Case "ill" is of outputs whose condition numbers are 100 and 1000, where products in float32 do not do.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial

import torch
from cca_zoo.deep.objectives import CCALoss
from torch import Tensor

from bench.harness import Report, agree, fastest, gemms, limit_threads, time_together
from fastcca.deep import CorrelationLoss

SIZES = [(50, 1000), (128, 1024), (256, 2048), (512, 4096), (1024, 8192)]
REG = 1e-4

Loss = Callable[[Tensor, Tensor], Tensor]


def autograd_loss(H1: Tensor, H2: Tensor, reg: float) -> Tensor:
    """Minus the sum of the singular values of L1⁻¹ S12 L2⁻ᵀ, for PyTorch to differentiate."""
    m, (A, B) = len(H1), (H1 - H1.mean(0), H2 - H2.mean(0))
    factors = [
        torch.linalg.cholesky(H.T @ H / (m - 1) + reg * torch.eye(H.shape[1], dtype=H.dtype)) for H in (A, B)
    ]
    T = torch.linalg.solve_triangular(factors[0], A.T @ B / (m - 1), upper=False)
    T = torch.linalg.solve_triangular(factors[1], T.T, upper=False)
    values: Tensor = torch.linalg.svd(T, full_matrices=False).S
    return -values.sum()


def by_cca_zoo(reg: float) -> Loss:
    loss = CCALoss(reg)
    return lambda H1, H2: loss([H1, H2])


def step(loss: Loss, H1: Tensor, H2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b = H1.detach().requires_grad_(), H2.detach().requires_grad_()
    value = loss(a, b)
    grad_a, grad_b = torch.autograd.grad(value, (a, b))
    return value.detach(), grad_a, grad_b


def views(d: int, m: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    Z = torch.randn(m, d)
    return Z + torch.randn(m, d), Z @ torch.randn(d, d) / d**0.5 + torch.randn(m, d)


def agree_with(what: str, ours: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> None:
    """The value and both gradients within 1e-4 of those in double precision, in norm."""
    errors = [float((a.double() - b).norm() / b.norm()) for a, b in zip(ours, exact, strict=True)]
    agree(what, max(errors) <= 1e-4, f"(relative errors {', '.join(f'{error:.1e}' for error in errors)})")


def ill_conditioned_views(d: int, m: int, condition: float) -> tuple[Tensor, Tensor]:
    """The same views with columns mixed so that their singular values spread over ``condition``."""
    mixing = [torch.linalg.qr(torch.randn(d, d))[0] for _ in range(2)]
    spread = torch.logspace(0, -math.log10(condition), d)
    H1, H2 = views(d, m)
    return H1 * spread @ mixing[0], H2 * spread @ mixing[1]


def measure(
    report: Report, case: str, name: str, losses: dict[str, Loss], H1: Tensor, H2: Tensor, repeats: int
) -> None:
    m, d = H1.shape
    for ours, other in (("ours frobenius", "cca-zoo"), ("ours trace norm", "autograd")):
        exact = step(losses[other], H1.double(), H2.double())
        agree_with(f"{ours} and {other} at {name}", step(losses[ours], H1, H2), exact)
    calls = {which: partial(step, loss, H1, H2) for which, loss in losses.items()}
    products = gemms(d, d, m, "float32")
    seconds = time_together({**calls, **products}, repeats)
    product = 2 * m * d * d / fastest(seconds, products)
    for objective, other, target in (
        ("frobenius", "cca-zoo", 3.0),
        ("trace norm", "cca-zoo", 3.0),
        ("trace norm", "autograd", 2.5),
    ):
        ratio = seconds[other] / seconds[f"ours {objective}"]
        report.add(case, f"{name} {objective}: {other} / ours", ratio=ratio, target=target)
    for objective in ("trace norm", "frobenius"):
        rate = 12 * m * d * d / seconds[f"ours {objective}"]
        values = {"share": rate / product, "GFs": rate / 1e9, "product_GFs": product / 1e9}
        report.add(case, f"{name} {objective}: share of the product", **values)
    report.add(case, f"{name} seconds", **{which.replace(" ", "_"): seconds[which] for which in calls})


CONTENDERS: dict[str, Callable[[float], Loss]] = {
    "ours trace norm": lambda reg: CorrelationLoss(reg=reg),
    "ours frobenius": lambda reg: CorrelationLoss(reg=reg, objective="frobenius"),
    "cca-zoo": by_cca_zoo,
    "autograd": lambda reg: partial(autograd_loss, reg=reg),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--largest", type=int, default=1024, help="leave out larger dimensions")
    parser.add_argument("--json")
    parser.add_argument("--allow-slow-numpy", action="store_true")
    arguments = parser.parse_args()
    report = Report(arguments.threads, arguments.allow_slow_numpy)
    torch.set_num_threads(arguments.threads)
    losses = {name: of(REG) for name, of in CONTENDERS.items()}
    with limit_threads(arguments.threads):
        for d, m in SIZES:
            if d <= arguments.largest:
                measure(report, "b", f"({d}, {m})", losses, *views(d, m), 11 if d <= 256 else 5)
        for condition in (100, 1000):
            d, m = min(512, arguments.largest), 4096
            H1, H2 = ill_conditioned_views(d, m, condition)
            # a ridge far below the smallest variances, which would take the conditioning away
            ill = {name: of(REG / condition**2) for name, of in CONTENDERS.items()}
            measure(report, "ill", f"({d}, {m}) condition {condition}", ill, H1, H2, 3)
    report.save(arguments.json)


if __name__ == "__main__":
    main()
