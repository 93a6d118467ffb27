"""The contrastive losses in PyTorch against eager and compiled PyTorch: ``python -m bench.contrastive_loss``.

Forward and backward in float32 at the same number of threads, the temperature (and the bias) learnt: InfoNCE
in both directions as CLIP's loss is written, and SigLIP's. ``torch.compile`` is given the same code. Flops
are counted as 6 B² d, three products; the softmax of ours takes 8 B² d, since it keeps no scores, so that
6/8 of the rate of the product is its limit.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.harness import (
    Report,
    agree,
    limit_threads,
    options_and_report,
    peak_rss_anon,
    time_once,
    time_together,
)
from fastcca.deep import ContrastiveLoss, SigmoidContrastiveLoss

# (B, d), turns
SIZES = [(256, 64, 9), (1024, 128, 7), (2048, 512, 5), (4096, 512, 3)]

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def clip(Z1: Tensor, Z2: Tensor, log_scale: Tensor, bias: Tensor) -> Tensor:
    """As in CLIP: two cross-entropies of one matrix of scores."""
    scores = log_scale.exp() * F.normalize(Z1, dim=1) @ F.normalize(Z2, dim=1).T
    own = torch.arange(len(Z1))
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def siglip(Z1: Tensor, Z2: Tensor, log_scale: Tensor, bias: Tensor) -> Tensor:
    """As in SigLIP."""
    scores = log_scale.exp() * F.normalize(Z1, dim=1) @ F.normalize(Z2, dim=1).T + bias
    signs = 2 * torch.eye(len(Z1), dtype=Z1.dtype) - 1
    return -F.logsigmoid(signs * scores).sum() / len(Z1)


def problem(B: int, d: int) -> tuple[Tensor, Tensor]:
    """Pairs about as hard to find at every d: of a loss that vanishes float32 has no digit left."""
    torch.manual_seed(0)
    Z1 = torch.randn(B, d)
    return Z1, Z1 + d**0.5 / 4 * torch.randn(B, d)


def step(loss: Loss, Z1: Tensor, Z2: Tensor, temperature: float, bias: float) -> tuple[Tensor, ...]:
    """The value and its gradients by the rows and the logarithm of the scale."""
    a, b = Z1.detach().requires_grad_(), Z2.detach().requires_grad_()
    if isinstance(loss, nn.Module):  # which has the temperature and the bias
        value = loss(a, b)
        return value.detach(), *torch.autograd.grad(value, (a, b, loss.get_parameter("log_scale")))
    log_scale = (-torch.tensor(temperature, dtype=Z1.dtype).log()).requires_grad_()
    value = loss(a, b, log_scale, torch.tensor(bias, dtype=Z1.dtype, requires_grad=True))
    return value.detach(), *torch.autograd.grad(value, (a, b, log_scale))


def close(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> bool:
    return all(bool((a.double() - b).norm() <= 1e-3 * b.norm()) for a, b in zip(found, exact, strict=True))


def measure(report: Report, name: str, B: int, d: int, temperature: float, turns: int, compile: bool) -> None:
    Z1, Z2 = problem(B, d)
    bias = -10.0 if name == "siglip" else 0.0
    eager = siglip if name == "siglip" else clip
    module = SigmoidContrastiveLoss if name == "siglip" else ContrastiveLoss
    losses: dict[str, Loss] = {"ours": module(temperature), "eager": eager}
    if compile:
        torch._dynamo.reset()
        losses["compiled"] = torch.compile(eager, dynamic=False)
    exact = step(eager, Z1.double(), Z2.double(), temperature, bias)
    for who, loss in losses.items():
        agree(f"{who} and float64 at {(name, B, d)}", close(step(loss, Z1, Z2, temperature, bias), exact))
    seconds = time_together(
        {who: partial(step, loss, Z1, Z2, temperature, bias) for who, loss in losses.items()}, turns
    )
    a, b = torch.randn(B, d), torch.randn(d, B)
    product = 2 * B * B * d / min(time_once(lambda: a @ b)[1] for _ in range(5)) / 1e9
    rate = 6 * B * B * d / seconds["ours"] / 1e9
    what = f"{name} ({B}, {d}) t={temperature}"
    report.add("b", f"{what}: eager / ours", ratio=seconds["eager"] / seconds["ours"], target=2.0)
    if compile:
        report.add("b", f"{what}: compiled / ours", ratio=seconds["compiled"] / seconds["ours"], target=1.3)
    report.add("b", f"{what}: seconds", **seconds, GFs=rate, share_of_product=rate / product)


def measure_memory(report: Report, B: int, d: int) -> None:
    """Peak memory of a step above its inputs."""
    setup = f"""
import torch
from bench.contrastive_loss import clip, problem, step
from fastcca.deep import ContrastiveLoss
torch.set_num_threads(2)
small = problem(64, {d})
step(ContrastiveLoss(), *small, 0.07, 0.0), step(clip, *small, 0.07, 0.0)
Z1, Z2 = problem({B}, {d})
"""
    peaks = {
        who: peak_rss_anon(setup, f"step({call}, Z1, Z2, 0.07, 0.0)")[0] / 2**20
        for who, call in (("ours", "ContrastiveLoss()"), ("eager", "clip"))
    }
    report.add("memory", f"clip ({B}, {d}): MiB", **peaks, inputs=2 * B * d * 4 / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=4096, help="leave out larger batches")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    arguments, report = options_and_report(parser)
    torch.set_num_threads(arguments.threads)
    with limit_threads(arguments.threads):
        for B, d, turns in SIZES:
            if arguments.largest < B:
                continue
            for name, temperature in (("clip", 0.07), ("clip", 0.01), ("siglip", 0.1)):
                measure(report, name, B, d, temperature, turns, not arguments.no_compile)
    measure_memory(report, 4096, 64)
    report.save(arguments.json)


if __name__ == "__main__":
    main()
