"""Sparse views of very many columns: top 10 pairs by products alone, time and memory.

``python -m bench.sparse`` compares a smaller case with the dense solution first.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from bench.harness import agree, machine
from fastcca import CCA
from fastcca.functional import solve_matrix_free


def texts(
    n: int, widths: tuple[int, int], density: float, topics: int, rng: np.random.Generator
) -> list[sp.csr_array]:
    """Counts of words of two languages, divided by the length of their row: at random, and of topics."""
    belongs = rng.random((n, topics)) < 0.1
    views = []
    for p in widths:
        own = rng.integers(p, size=(topics, max(20, p // 100)))
        rows = [np.repeat(np.arange(n), rng.poisson(density * p * 0.7, n))]
        columns = [rng.integers(p, size=rows[0].size)]
        for topic in range(topics):
            counts = rng.poisson(density * p * 0.3 * (1 - topic / (2 * topics)), n) * belongs[:, topic]
            rows.append(np.repeat(np.arange(n), counts))
            columns.append(own[topic, rng.integers(own.shape[1], size=rows[-1].size)])
        r, c = np.concatenate(rows), np.concatenate(columns)
        X = sp.csr_array(sp.coo_array((np.ones(r.size), (r, c)), shape=(n, p)))
        length = np.sqrt(np.bincount(np.repeat(np.arange(n), np.diff(X.indptr)), X.data**2, n))
        X.data /= np.repeat(np.maximum(length, 1e-300), np.diff(X.indptr))
        views.append(X)
    return views


def mean_variance(X: sp.csr_array) -> float:
    n, p = X.shape
    mean: NDArray[np.float64] = np.asarray(X.sum(axis=0)).ravel() / n
    return float(((X.data**2).sum() / n - (mean**2).sum()) / p)


def largest() -> float:
    """Megabytes that were resident at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=30_000)
    parser.add_argument("--density", type=float, default=1e-3)
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--ridge", type=float, default=1.0, help="relative to the mean variance")
    given = parser.parse_args()
    print(machine(2))
    rng = np.random.default_rng(0)
    X, Y = texts(3000, (600, 500), 0.02, 12, rng)
    reg = given.ridge * mean_variance(X)
    small, dense = solve_matrix_free(X, Y, 10, reg), CCA(10, reg=reg).fit(X.toarray(), Y.toarray())
    off = float(np.abs(small.singular_values - dense.singular_values_).max())
    agree("the smaller case", off < 1e-8)
    print(f"3000 x (600, 500): off the dense solution by {off:.0e}")
    X, Y = texts(given.rows, (given.columns, given.columns), given.density, 12, rng)
    print(f"{X.shape}, {Y.shape}: {X.nnz:,} and {Y.nnz:,} entries")
    reg = given.ridge * mean_variance(X)
    before = largest()
    start, computed = time.perf_counter(), time.process_time()
    found = solve_matrix_free(X, Y, given.components, reg)
    seconds, computed = time.perf_counter() - start, time.process_time() - computed
    worst = found.residuals.max()
    print(f"{seconds:.1f} s ({computed:.1f} s of CPU), {found.n_iter} iterations, residual {worst:.0e}")
    print(f"memory: {largest() - before:.0f} MB above {before:.0f} MB of data and libraries")
    print(found.singular_values.round(6))


if __name__ == "__main__":
    main()
