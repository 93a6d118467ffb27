"""Randomised sketches against one exact pass, at equal accuracy: ``python -m bench.sketch``.

CountSketch (each row, with a random sign, added to one of s rows) stands for the data, or preconditions an
iteration on them: with R the triangular factor of the sketched view, X R⁻¹ is nearly orthonormal, and
LOBPCG finds the leading pairs of X R⁻¹ and Y R⁻¹ in a few passes. Both are plain NumPy. Times are seconds of
the processor, by default of one thread.

K. L. Clarkson & D. P. Woodruff, "Low rank approximation and regression in input sparsity time", STOC 2013;
A. V. Knyazev, "Toward the optimal preconditioned eigensolver", SIAM J. Sci. Comput. 23, 2001.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from bench.harness import Report, agree, limit_threads, time_once, use_processor_time
from fastcca import CCA, Moments

Floats = NDArray[np.float64]

SLAB = 4096


def views(rows: int, columns: int) -> tuple[Floats, Floats]:
    """Twelve pairs of correlations from 0.95 to 0.4, in mixed columns of deviations from 1 to 10."""
    rng = np.random.default_rng(0)
    rho = np.linspace(0.95, 0.4, 12)
    turns = [
        rng.permutation(np.geomspace(1, 10, columns))[:, None]
        * np.linalg.qr(rng.standard_normal((columns, columns)))[0]
        for _ in range(2)
    ]
    out = [np.empty((rows, columns)) for _ in range(2)]
    for start in range(0, rows, SLAB):
        part = slice(start, min(start + SLAB, rows))
        common = rng.standard_normal((part.stop - part.start, 12))
        for x, turn in zip(out, turns, strict=True):
            own = rng.standard_normal((len(common), columns))
            own[:, :12] = np.sqrt(rho) * common + np.sqrt(1 - rho) * own[:, :12]
            x[part] = own @ turn
    return out[0], out[1]


def count_sketch(data: Sequence[Floats], size: int, seed: int = 0) -> list[Floats]:
    """The centred rows, summed with random signs into ``size`` rows, the same for all views."""
    rng = np.random.default_rng(seed)
    n = len(data[0])
    place, sign = rng.integers(0, size, n), rng.choice([-1.0, 1.0], n)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(size))
    filled = np.diff(np.append(starts, n)) > 0
    sketched = []
    for x in data:
        out, mean = np.zeros((size, x.shape[1])), x.mean(axis=0)
        step = max(1, SLAB * size // n)  # of the sketch, from some SLAB rows of the data
        for first in range(0, size, step):
            here = np.arange(first, min(first + step, size))[filled[first : first + step]]
            if not len(here):
                continue
            last = starts[here[-1] + 1] if here[-1] + 1 < size else n
            these = order[starts[here[0]] : last]
            rows = (x[these] - mean) * sign[these, None]
            out[here] = np.add.reduceat(rows, starts[here] - starts[here[0]], axis=0)
        sketched.append(out)
    return sketched


def of_sketch(data: Sequence[Floats], k: int, size: int) -> Floats:
    """The correlations of the sketched rows."""
    A, B = count_sketch(data, size)
    T = solve_triangular(factor(A), A.T @ B, trans="T")
    T = solve_triangular(factor(B), T.T, trans="T")
    return np.asarray(np.linalg.svd(T, compute_uv=False)[:k], np.float64)


def factor(rows: Floats) -> Floats:
    """R, upper triangular, with R'R = A'A."""
    return np.asarray(np.linalg.cholesky(rows.T @ rows).T, np.float64)


def preconditioned(
    data: Sequence[Floats], k: int, size: int, tolerance: float, most: int = 200
) -> tuple[Floats, int]:
    """The correlations by LOBPCG on both views, and the number of its iterations.

    It ends where the residuals of A'B v = σ A'A u and B'A u = σ B'B v, with A = X R⁻¹ and B = Y R⁻¹, are so
    small that, squared over the gap to the next correlation, the correlations are right to ``tolerance``.
    """
    factors = [factor(rows) for rows in count_sketch(data, size)]
    means = [x.mean(axis=0) for x in data]
    width = k + 5

    def image(v: int, w: Floats) -> Floats:
        w = solve_triangular(factors[v], w)
        return np.asarray(data[v] @ w - means[v] @ w)

    def transposed(v: int, z: Floats) -> Floats:
        right = data[v].T @ z - np.outer(means[v], z.sum(axis=0))
        return np.asarray(solve_triangular(factors[v], right, trans="T"))

    rng = np.random.default_rng(1)
    bases = [rng.standard_normal((x.shape[1], width)) for x in data]
    images = [image(v, bases[v]) for v in (0, 1)]
    found = np.zeros(k)
    for number in range(1, most + 1):
        # Rayleigh and Ritz: orthonormal images, then the singular pairs between them
        roots = []
        for z in images:
            values, vectors = np.linalg.eigh(z.T @ z)
            kept = values > 1e-13 * values[-1]
            roots.append(vectors[:, kept] / np.sqrt(values[kept]))
        U, sigma, Vt = np.linalg.svd((images[0] @ roots[0]).T @ (images[1] @ roots[1]), full_matrices=False)
        turns = [roots[0] @ U[:, :width], roots[1] @ Vt[:width].T]
        sigma, found = sigma[:width], sigma[:k]
        new = [(bases[v] @ turns[v], images[v] @ turns[v]) for v in (0, 1)]
        left = [transposed(v, new[1 - v][1] - sigma * new[v][1]) for v in (0, 1)]
        off = np.sqrt(sum((r[:, :k] ** 2).sum(axis=0) for r in left))
        if (off**2).max() <= tolerance * max(sigma[k - 1] - sigma[-1], 1e-3):
            return found, number
        for v in (0, 1):
            # what the step added to the directions of before
            steps = bases[v][:, width:] @ turns[v][width:], images[v][:, width:] @ turns[v][width:]
            length = np.sqrt((steps[1] ** 2).sum(axis=0)).clip(min=1e-300)
            scale = np.sqrt((left[v] ** 2).sum(axis=0)).clip(min=1e-300)
            residual = left[v] / scale
            parts = [new[v][0], residual], [new[v][1], image(v, residual)]
            if number > 1:
                for part, step in zip(parts, steps, strict=True):
                    part.append(step / length)
            bases[v], images[v] = np.hstack(parts[0]), np.hstack(parts[1])
    return found, most


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--columns", type=int, default=500, help="of each view")
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--tolerance", type=float, default=1e-6, help="largest error of a correlation")
    parser.add_argument(
        "--large", action="store_true", help="200,000 rows of 2000 columns a view: 6.4 GB of data"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json")
    parser.add_argument("--allow-slow-numpy", action="store_true")
    given = parser.parse_args()
    n, p = (200_000, 2000) if given.large else (given.rows, given.columns)
    k, tolerance = given.components, given.tolerance
    use_processor_time()
    report = Report(given.threads, given.allow_slow_numpy)
    with limit_threads(given.threads):
        data = views(n, p)
        what = f"n={n} p=q={p} k={k}"
        exact, seconds = time_once(lambda: CCA(k).fit_moments(Moments().update(*data)))
        rho = exact.canonical_correlations_
        report.add("exact", what, seconds=seconds)
        for size in (4 * p, n // 6, n // 2):
            found, spent = time_once(partial(of_sketch, data, k, size))
            error = float(np.abs(found - rho).max())
            report.add("sketch", f"{what} s={size}", seconds=spent, of_exact=spent / seconds, error=error)
        (found, passes), spent = time_once(lambda: preconditioned(data, k, 4 * p, tolerance))
        error = float(np.abs(found - rho).max())
        agree("the preconditioned iteration", error <= tolerance, f"(error {error:.1e})")
        report.add(
            "preconditioned",
            f"{what} s={4 * p}",
            seconds=spent,
            of_exact=spent / seconds,
            error=error,
            iterations=passes,
        )
    report.save(given.json)


if __name__ == "__main__":
    main()
