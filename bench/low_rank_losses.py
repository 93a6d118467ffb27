"""The correlation loss of outputs of low rank against NumPy's SVD: ``python -m bench.low_rank_losses``.

Random problems of 3 to 600 rows and 2 to 128 outputs, of which one view or both lack rank (copied outputs,
bottlenecks, constant outputs, fewer rows than outputs), ridges from 1e-1 to 1e-6, both dtypes, every way that
computes the loss. A value is to be within 1e-9 (float64) or 1e-4 (float32) of the reference in float64, a
gradient within 1e-7 or 1e-3 of its norm.

Where all correlations are 1 but for the ridge a gradient is what is left of terms that cancel, and may be
smaller than the rounding of the outputs makes it. A gradient outside the limit is therefore compared with
how far the reference moves when the centred rows are scaled by 1 ± half a unit in the last place each, which
keeps their rank, and with the rounding of the terms that cancel. What neither explains is a fault: exit
status 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bench.harness import agree
from fastcca import Moments
from fastcca.deep import CorrelationLoss
from fastcca.deep.losses.correlation import torch_correlation_loss
from fastcca.errors import NumericalError
from fastcca.functional import (
    correlation_coefficients,
    correlation_factor,
    correlation_gradients,
    correlation_loss,
)
from fastcca.functional.correlation import coefficients

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from reference import correlation as reference  # type: ignore[import-not-found]

Array = NDArray[Any]
Found = tuple[float, Array, Array]
Way = Callable[[Array, Array, float], Found]

LIMITS = {"float64": (1e-9, 1e-7), "float32": (1e-4, 1e-3)}
MOVES = 4  # perturbations of the reference


def core(H1: Array, H2: Array, reg: float) -> Found:
    value, grad1, grad2 = correlation_loss(H1, H2, reg=reg)
    assert grad1 is not None
    assert grad2 is not None
    return value, grad1, grad2


def _moments(H1: Array, H2: Array) -> tuple[Moments, list[slice]]:
    parts = [slice(0, 1), slice(1, len(H1) // 3 + 1), slice(len(H1) // 3 + 1, None)]
    moments = Moments()
    for part in parts:
        if len(H1[part]):
            moments = moments + Moments().update(H1[part], H2[part], dtype=np.float64)
    return moments, parts


def parts(H1: Array, H2: Array, reg: float) -> Found:
    """Three parts' moments, or their R factors where moments are not accurate: what workers do."""
    moments, _ = _moments(H1, H2)
    try:
        value, A, _, accurate = coefficients(moments, None, reg, "trace_norm", None)
    except NumericalError:
        accurate = False
    if not accurate:
        return factors(H1, H2, reg)
    return value, *correlation_gradients(H1, H2, moments.mean, A)


def factors(H1: Array, H2: Array, reg: float) -> Found:
    """Three parts' R factors."""
    moments, slices = _moments(H1, H2)
    R = [correlation_factor(H1[s], H2[s], moments.mean) for s in slices if len(H1[s])]
    value, A = correlation_coefficients(moments, None, reg, factor=np.vstack(R))
    return value, *correlation_gradients(H1, H2, moments.mean, A)


def other_devices(H1: Array, H2: Array, reg: float) -> Found:
    """The formulas in PyTorch's operations, on the CPU."""
    a, b = torch.from_numpy(H1), torch.from_numpy(H2)
    value, grad1, grad2 = torch_correlation_loss(a, b, True, min(a.shape[1], b.shape[1]), reg, reg, False)
    return float(value), grad1.numpy(), grad2.numpy()


def three_views(H1: Array, H2: Array, reg: float) -> Found:
    """The loss of many views, of which the third is constant and correlates with nothing."""
    views = [torch.from_numpy(H).requires_grad_() for H in (H1, H2, np.zeros_like(H1))]
    loss = CorrelationLoss(min(H1.shape[1], H2.shape[1]), reg=reg)(*views)
    loss.backward()
    grad1, grad2, grad3 = (np.asarray(H.grad) for H in views)
    assert not grad3.any()
    return float(loss.detach()), grad1, grad2


WAYS: dict[str, Way] = {
    "whole batch": core,
    "parts": parts,
    "R factors": factors,
    "other devices": other_devices,
    "three views": three_views,
}


class Outside(NamedTuple):
    """A gradient further off than its limit."""

    seed: int
    way: str
    dtype: str
    norm: float  # of the reference
    error: float  # of what was found
    moved: float  # of the reference, when the rows are rounded
    rounding: float  # of the terms that cancel


def problems(count: int, first: int) -> Iterator[tuple[int, Array, Array, float, str]]:
    for seed in range(first, first + count):
        H1, H2, reg = reference.low_rank_problem(seed)
        for dtype in LIMITS:
            yield seed, H1.astype(dtype), H2.astype(dtype), reg, dtype


def moved(H1: Array, H2: Array, reg: float, exact: Array, dtype: str) -> float:
    """How far the reference's gradient moves when rows are scaled by 1 ± half a unit in the last place."""
    rng, half = np.random.default_rng(0), np.finfo(dtype).eps / 2
    centred = [H.astype(np.float64) - H.astype(np.float64).mean(0) for H in (H1, H2)]
    distances = []
    for _ in range(MOVES):
        rows = [A * (1 + half * rng.choice([-1.0, 1.0], (len(A), 1))) for A in centred]
        found = reference.by_singular_values(rows[0], rows[1], (reg, reg))
        distances.append(np.linalg.norm(np.hstack(found[1:]) - exact))
    return float(max(distances))


def rounding(H1: Array, H2: Array, reg: float, exact: Array, dtype: str) -> float:
    """Of the sums of products that a gradient is what is left of: eps times the norms of what cancels."""
    m, total = len(H1), 0.0
    scores, weights = [], []
    for H in (H1, H2):
        A = H.astype(np.float64) - H.astype(np.float64).mean(0)
        U, s, Vt = np.linalg.svd(A, full_matrices=False)
        scores.append(U * (s / np.sqrt(s**2 + reg * (m - 1))))
        weights.append(Vt.T / np.sqrt(s**2 / (m - 1) + reg))
    P, _, Qt = np.linalg.svd(scores[0].T @ scores[1], full_matrices=False)
    variates = [scores[0] @ P * np.sqrt(m - 1), scores[1] @ Qt.T * np.sqrt(m - 1)]
    for Z, W in ((variates[1], weights[0] @ P), (variates[0], weights[1] @ Qt.T)):
        total += float(np.linalg.norm(Z @ W.T)) ** 2
    return float(np.finfo(dtype).eps * total**0.5 / (m - 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="problems (default 200)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--way", choices=WAYS, action="append", help="only this way")
    parser.add_argument("--json", help="file for what is outside the limits")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="a batch of .* rows")  # which are meant
    faults = []
    outside: list[Outside] = []
    worst: dict[tuple[str, str], tuple[float, float]] = {}
    for seed, H1, H2, reg, dtype in problems(arguments.count, arguments.first):
        value, *gradients = reference.by_singular_values(H1, H2, (reg, reg))
        exact = np.hstack(gradients)
        norm = float(np.linalg.norm(exact))
        for name in arguments.way or WAYS:
            found = WAYS[name](H1, H2, reg)
            most = LIMITS[dtype]
            off = abs(found[0] - value) / max(1.0, abs(value))
            error = float(np.linalg.norm(np.hstack(found[1:]) - exact))
            relative = error / norm if norm else np.inf * error if error else 0.0
            a, b = worst.get((name, dtype), (0.0, 0.0))
            worst[name, dtype] = max(a, off), b
            if not (np.isfinite(off) and np.isfinite(error) and off <= most[0]):
                faults.append(f"seed {seed}, {name}, {dtype}: value off by {off:.1e}")
            if not relative <= most[1]:
                floor = moved(H1, H2, reg, exact, dtype), rounding(H1, H2, reg, exact, dtype)
                case = Outside(seed, name, dtype, norm, error, *floor)
                outside.append(case)
                kind = "explained" if error <= max(floor) else "FAULT"
                print(f"{kind}: {case}", flush=True)
                if kind == "FAULT":
                    faults.append(str(case))
            else:
                worst[name, dtype] = worst[name, dtype][0], max(b, relative)
    counts = Counter((case.way, case.dtype) for case in outside)
    for (name, dtype), (off, steep) in worst.items():
        print(
            f"{name:14} {dtype}: {arguments.count} problems, values off by at most {off:.1e}, gradients "
            f"within the limit by at most {steep:.1e}, outside it {counts[name, dtype]}"
        )
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump([case._asdict() for case in outside], file, indent=1)
    agree("the losses and NumPy's SVD", not faults, "\n" + "\n".join(faults))


if __name__ == "__main__":
    main()
