"""Stochastic gradients against one exact pass: what of the correlations is found after how many seconds.

The stochastic method minimises the Eckart–Young loss of J. Chapman, L. Wells and A. Lawry Aguila,
"Unconstrained stochastic CCA: unifying multiview and self-supervised learning", ICLR 2024, with unbiased
gradients of two halves of each batch. Times are CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
from time import process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import fastcca
from bench.harness import agree, machine
from fastcca import CCA, Moments

COMPONENTS = 10
BATCHES = (256, 2048)
RATES = (3e-3, 1e-2)
# when the weights are looked at, as parts of the seconds that are given
STEPS = np.geomspace(0.005, 1.0, 16)


def views(rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Twelve pairs of correlations from 0.95 down, in mixed columns whose deviations span a factor of 10."""
    rng = np.random.default_rng(0)
    rho = np.linspace(0.95, 0.4, 12)
    common = rng.standard_normal((rows, 12))
    out = []
    for _ in range(2):
        x = rng.standard_normal((rows, columns))
        x[:, :12] = np.sqrt(rho) * common + np.sqrt(1 - rho) * x[:, :12]
        turn = np.linalg.qr(rng.standard_normal((columns, columns)))[0]
        scales = rng.permutation(np.geomspace(1, 10, columns))  # what correlates is not what varies least
        out.append(((x * scales) @ turn).astype(np.float32))
    return out[0], out[1]


def captured(moments: Moments, weights: list[NDArray[Any]]) -> float:
    """Sum of the canonical correlations between the scores of these directions."""
    sx, sy = moments.slices
    S = moments.scatter / (moments.n - 1)
    wx, wy = (w.astype(np.float64) for w in weights)
    A, B, C = wx.T @ S[sx, sx] @ wx, wy.T @ S[sy, sy] @ wy, wx.T @ S[sx, sy] @ wy
    L, M = np.linalg.cholesky(A), np.linalg.cholesky(B)
    return float(np.linalg.svd(np.linalg.solve(L, np.linalg.solve(M, C.T).T), compute_uv=False).sum())


def loss_of(x: Any, y: Any, wx: Any, wy: Any) -> Any:
    """-2 tr(C + C') + tr(V V~), V and V~ of the two halves of the batch."""
    half = len(x) // 2
    across, variances = [], []
    for rows in (slice(0, half), slice(half, 2 * half)):
        zx, zy = x[rows] @ wx, y[rows] @ wy
        across.append(2 * (zx * zy).sum() / half)
        variances.append((zx.T @ zx + zy.T @ zy) / half)
    return -sum(across) + (variances[0] * variances[1]).sum()


def descend(
    x: Any, y: Any, batch: int, rate: float, seconds: float
) -> list[tuple[float, float, list[NDArray[Any]]]]:
    """CPU seconds, passes over the data and weights, by Adam with a rate that falls to nothing."""
    torch.manual_seed(0)
    start = process_time()
    # as a practitioner would, on columns of mean 0 and deviation 1
    stats = [(a.mean(0), a.std(0)) for a in (x, y)]
    weights = [torch.nn.Parameter(torch.randn(a.shape[1], COMPONENTS) / a.shape[1] ** 0.5) for a in (x, y)]
    optimiser = torch.optim.Adam(weights, lr=rate)
    found, steps, due = [], 0, list(STEPS * seconds)
    order = torch.randperm(len(x))
    while due:
        place = steps * batch % (len(x) // batch * batch)
        if place == 0:
            order = torch.randperm(len(x))
        rows = order[place : place + batch]
        a, b = ((v[rows] - mean) / std for v, (mean, std) in zip((x, y), stats, strict=True))
        spent = process_time() - start
        optimiser.param_groups[0]["lr"] = rate * 0.5 * (1 + np.cos(np.pi * min(1.0, spent / seconds)))
        optimiser.zero_grad()
        loss_of(a, b, *weights).backward()
        optimiser.step()
        steps += 1
        spent = process_time() - start
        if spent >= due[0]:
            own = [(w / std[:, None]).detach().numpy() for w, (_, std) in zip(weights, stats, strict=True)]
            found.append((spent, steps * batch / len(x), own))
            due = [moment for moment in due if moment > spent]
    return found


def draw(path: str, exact: tuple[float, float], runs: dict[str, list[tuple[float, float]]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, points in runs.items():
        seconds, errors = zip(*points, strict=True)
        axes.loglog(seconds, errors, marker=".", label=name)
    axes.loglog([exact[0]], [exact[1]], "k*", markersize=12, label="one exact pass")
    axes.set_xlabel("CPU seconds")
    axes.set_ylabel("total correlation missed")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=256, help="of each view")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run")
    parser.add_argument("--picture", help="draw accuracy over seconds into this file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    fastcca.set_num_threads(1)
    print(machine(1))
    X, Y = views(given.rows, given.columns)
    start = process_time()
    fast = CCA(COMPONENTS).fit_moments(Moments().update(X, Y))
    spent = process_time() - start
    moments = Moments().update(X, Y, dtype=np.float64)
    best = float(CCA(COMPONENTS).fit_moments(moments).canonical_correlations_.sum())
    missed = abs(best - captured(moments, [fast.x_weights_, fast.y_weights_]))
    agree("the exact pass", missed < 1e-4, f"{missed:.0e}")
    print(f"exact, float32: {spent:.2f} s, misses {missed:.0e} of {best:.4f}")
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    runs = {}
    for batch in BATCHES:
        tried = {}
        for rate in RATES:
            points = []
            for seconds, _, weights in descend(x, y, batch, rate, given.seconds):
                points.append((seconds, best - captured(moments, weights)))
            tried[rate] = points
            print(f"batch {batch}, rate {rate:g}: misses {points[-1][1]:.1e} after {points[-1][0]:.1f} s")
        rate = min(tried, key=lambda r: tried[r][-1][1])
        runs[f"stochastic, batch {batch}, rate {rate:g}"] = tried[rate]
    for name, points in runs.items():
        print(name, " ".join(f"{seconds:.2f}s:{error:.1e}" for seconds, error in points))
    if given.picture:
        draw(given.picture, (spent, max(missed, 1e-9)), runs)


if __name__ == "__main__":
    main()
