"""Two sets of single cells: time against the product of its flops, and memory.

``python -m bench.cells --cells 100000 --genes 2000`` compares a smaller case with the direct
decomposition first.
"""

from __future__ import annotations

import argparse
import os
import resource
from typing import Any

import numpy as np
import scipy.sparse as sp

from bench.harness import agree, gemm, limit_threads, machine, time_once, use_processor_time
from fastcca.singlecell import cell_moments, integrate


def cells(n: int, genes: int, density: float, rng: np.random.Generator, types: Any) -> Any:
    """Logarithms of counts: genes of each cell by the frequencies of its type, this fraction of all."""
    each = int(density * genes)
    kind = rng.integers(len(types), size=n)
    columns = np.empty((n, each), np.int32)
    for i, frequencies in enumerate(types):
        chosen = kind == i
        ends = np.cumsum(frequencies / frequencies.sum())
        columns[chosen] = np.searchsorted(ends, rng.random((int(chosen.sum()), each))).clip(0, genes - 1)
    indptr = np.arange(0, n * each + 1, each)
    counts = sp.csr_matrix((np.ones(n * each, np.float32), columns.ravel(), indptr), shape=(n, genes))
    counts.sum_duplicates()
    counts.data = np.log1p(counts.data)
    return counts


def largest() -> float:
    """Megabytes that were resident at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cells", type=int, default=100_000, help="of each set")
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--density", type=float, default=0.05)
    parser.add_argument("--components", type=int, default=30)
    parser.add_argument(
        "--processor-time", action="store_true", help="of one thread, for a machine that does other work"
    )
    given = parser.parse_args()
    threads = 1 if given.processor_time else os.cpu_count() or 1
    if given.processor_time:
        use_processor_time()
    print(machine(threads))
    rng = np.random.default_rng(0)
    types = rng.gamma(0.5, 1.0, size=(6, given.genes)).astype(np.float32) + 0.05

    x, y = (cells(300, given.genes, given.density, rng, types) for _ in range(2))
    small = integrate(x.astype(float), y.astype(float), 5)
    rows = [a.toarray().astype(float) for a in (x, y)]
    rows = [a - a.mean(axis=1, keepdims=True) for a in rows]
    rows = [a / a.std(axis=1, ddof=1, keepdims=True) for a in rows]
    direct = np.linalg.svd(rows[0] @ rows[1].T, compute_uv=False)[:5]
    off = float(np.abs(small.singular_values / direct - 1).max())
    agree("the smaller case", off < 1e-10)
    print(f"300 + 300 cells: off the direct decomposition by {off:.0e}")

    x, y = (cells(given.cells, given.genes, given.density, rng, types) for _ in range(2))
    before = largest()
    with limit_threads(threads):
        (first, second), passed = time_once(lambda: (cell_moments(x), cell_moments(y)))
        found, solved = time_once(lambda: integrate(first, second, given.components))
        z, projected = time_once(lambda: found.transform(x))
        whole = passed + solved
        peak = largest()
        call = gemm(given.genes, given.genes, 20_000, np.float32)
        product = min(time_once(call)[1] for _ in range(3)) / 2 * 2 * given.cells / 20_000
    print(
        f"{given.cells} + {given.cells} cells x {given.genes} genes: moments {passed:.1f} s, integrated "
        f"after {whole:.1f} s, {z.shape} coordinates in {projected:.1f} s"
    )
    print(f"{'processor' if given.processor_time else 'wall'} time, {threads} thread(s)")
    print(f"NumPy's product of 2 n genes^2 flops: {product:.1f} s; ratio {whole / product:.2f}")
    print(f"memory: {peak:.0f} MB in all, {before:.0f} MB of it the cells and libraries")


if __name__ == "__main__":
    main()
