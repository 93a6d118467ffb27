"""Moments of tensors on a GPU: values against the CPU's, time against PyTorch's products, data of the host.

``python -m bench.gpu`` takes a few minutes of a GPU; ``--device cpu --small`` tries the script without one.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.harness import agree, machine
from fastcca import CCA, Moments

WIDTHS = ((64, 64), (512, 512), (2000, 2000))
REPEATS = 5


def views(rows: int, p: int, q: int, dtype: torch.dtype, device: str) -> tuple[Any, Any]:
    """Two views that share four directions, with means and scales of their columns."""
    generator = torch.Generator(device).manual_seed(0)
    options: dict[str, Any] = {"generator": generator, "device": device, "dtype": dtype}
    common = torch.randn(rows, 4, **options)
    x, y = (common @ torch.randn(4, d, **options) + torch.randn(rows, d, **options) for d in (p, q))
    return x * torch.linspace(0.5, 2, p, device=device, dtype=dtype) + 3, y - 1


def seconds(call: Callable[[], object], device: str) -> float:
    """Median of some calls, after one that warms up."""
    taken = []
    for _ in range(REPEATS + 1):
        wait(device)
        start = time.perf_counter()
        call()
        wait(device)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[1:]))


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def off(found: Moments, expected: Moments) -> float:
    """Largest error of a scatter relative to deviations of its columns, or of a mean."""
    spread = np.sqrt(np.diag(expected.scatter))
    of_scatter = np.abs((found.scatter - expected.scatter) / np.outer(spread, spread)).max()
    of_mean = np.abs((found.mean - expected.mean) * np.sqrt(expected.n) / spread).max()
    return float(max(of_scatter, of_mean))


def values(rows: int, device: str) -> None:
    """The same numbers as the core's on the CPU, and the same correlations."""
    x, y = views(rows, 300, 200, torch.float64, device)
    weights = np.linspace(0.5, 2, rows)
    here, there = (x.cpu().numpy(), y.cpu().numpy()), (x, y)
    for w in (None, weights):
        expected = Moments().update(*here, sample_weight=w)
        found = Moments().update(*there, sample_weight=w, device=device)
        error = off(found, expected)
        agree("float64", error < 1e-10, f"{error:.0e}")
        first, second = (CCA(10).fit_moments(m).canonical_correlations_ for m in (found, expected))
        far = float(np.abs(first - second).max())
        agree("correlations", far < 1e-10, f"{far:.0e}")
        print(f"float64, weights {w is not None}: moments off by {error:.0e}, correlations by {far:.0e}")
    single = x.float(), y.float()
    expected = Moments().update(*(a.cpu().numpy() for a in single), dtype=np.float64)
    error = off(Moments().update(*single, device=device), expected)
    agree("float32", error < 1e-5, f"{error:.0e}")
    exact = off(Moments().update(*single, device=device, dtype=np.float64), expected)
    agree("float32 in float64", exact < 1e-10, f"{exact:.0e}")
    print(f"float32: off by {error:.0e}; with products in float64 by {exact:.0e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of each timed pair of views")
    parser.add_argument("--small", action="store_true", help="tiny sizes: a check that it runs")
    given = parser.parse_args()
    device, small = given.device, given.small
    card = "CPU" if device == "cpu" else torch.cuda.get_device_name(device)
    print(card, machine(os.cpu_count() or 1))
    values(2000 if small else 200_000, device)
    size = 4e6 if small else given.gigabytes * 1e9
    for p, q in WIDTHS[: 1 if small else None]:
        for dtype in (torch.float32, torch.float64):
            rows = int(size / (p + q) / dtype.itemsize)
            x, y = views(rows, p, q, dtype, device)
            stacked = torch.cat([x, y], dim=1)
            product = seconds(lambda z=stacked: z.T @ z, device)  # type: ignore[misc]
            del stacked
            ours = seconds(lambda a=x, b=y: Moments().update(a, b, device=device), device)  # type: ignore[misc]
            rate = 2 * rows * (p + q) ** 2 / product / 1e12
            print(
                f"{rows} x ({p}, {q}) {str(dtype)[6:]}: moments {ours:.4f} s; PyTorch's product of the "
                f"stacked views {product:.4f} s ({rate:.1f} Tflop/s): ratio {ours / product:.2f}"
            )
            del x, y
    rows = 20_000 if small else 1_000_000
    rng = np.random.default_rng(0)
    host = rng.standard_normal((rows, 512), dtype=np.float32)
    moved = seconds(lambda: Moments().update(host, device=device), device)
    core = seconds(lambda: Moments().update(host), "cpu")
    print(
        f"{rows} x 512 float32 of the host: by the device {moved:.2f} s "
        f"({host.nbytes / moved / 1e9:.1f} GB/s), by the CPU {core:.2f} s"
    )


if __name__ == "__main__":
    main()
