"""Two sets of single cells: time against the product of its flops, and memory.

``python -m bench.cells --cells 100000 --genes 2000`` compares a smaller case with the direct
decomposition first.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
from pathlib import Path
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


# What runs in the peer's own environment, on the same cells, in float64 as it has them.
PEER = """
import resource, sys, time
import numpy as np, scipy.sparse as sp
from cca_py import run_cca
folder, k = sys.argv[1], int(sys.argv[2])
x, y = (sp.load_npz(f"{folder}/{name}.npz").astype(float).T.tocsr() for name in "xy")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start, computed = time.perf_counter(), time.process_time()
found = run_cca(x, y, num_cc=k)
seconds, computed = time.perf_counter() - start, time.process_time() - computed
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
np.savez(f"{folder}/found.npz", d=found.d, took=[seconds, computed, grown])
"""


def against_peer(python: str, x: Any, y: Any, k: int, values: Any) -> None:
    """pyccasc on the same cells, in an environment of its own, whose interpreter this is."""
    with tempfile.TemporaryDirectory() as folder:
        for name, cells_ in (("x", x), ("y", y)):
            sp.save_npz(Path(folder) / f"{name}.npz", sp.csr_matrix(cells_))
        done = subprocess.run([python, "-c", PEER, folder, str(k)], check=False)
        if done.returncode:
            print(f"pyccasc ended with {done.returncode}")
            return
        with np.load(Path(folder) / "found.npz") as found:
            off = float(np.abs(values / found["d"] - 1).max())
            seconds, computed, grown = found["took"]
    agree("pyccasc", off < 1e-8, f"{off:.0e}")
    print(f"pyccasc: {seconds:.1f} s ({computed:.1f} s of CPU), {grown:.0f} MB more; values off by {off:.0e}")


def streamed(files: int, given: Any, rng: np.random.Generator, types: Any, threads: int) -> None:
    """Sets of so many files of cells each, read one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        names: dict[str, list[Path]] = {"x": [], "y": []}
        for name, paths in names.items():
            for i in range(files):
                paths.append(Path(folder) / f"{name}{i}.npz")
                some = cells(given.cells, given.genes, given.density, rng, types)
                sp.save_npz(paths[-1], some, compressed=False)
        size = sum(path.stat().st_size for paths in names.values() for path in paths)

        def integrated() -> Any:
            x, y = (cell_moments(sp.load_npz(path) for path in paths) for paths in names.values())
            return integrate(x, y, given.components)

        with limit_threads(threads):
            found, seconds = time_once(integrated)
    n = " + ".join(str(count) for count in found.n_cells)
    print(f"{n} cells from {2 * files} files of {size / 2**30:.1f} GiB: {seconds:.1f} s, {largest():.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cells", type=int, default=100_000, help="of each set")
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--density", type=float, default=0.05)
    parser.add_argument("--components", type=int, default=30)
    parser.add_argument(
        "--processor-time", action="store_true", help="of one thread, for a machine that does other work"
    )
    parser.add_argument("--peer", help="the interpreter of an environment with pyccasc")
    parser.add_argument("--files", type=int, help="sets of so many files of --cells each, nothing else")
    given = parser.parse_args()
    threads = 1 if given.processor_time else os.cpu_count() or 1
    if given.processor_time:
        use_processor_time()
    print(machine(threads))
    rng = np.random.default_rng(0)
    types = rng.gamma(0.5, 1.0, size=(6, given.genes)).astype(np.float32) + 0.05
    if given.files:
        streamed(given.files, given, rng, types, threads)
        return

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
    if given.peer:
        exact = integrate(x.astype(float), y.astype(float), given.components)
        against_peer(given.peer, x, y, given.components, exact.singular_values)


if __name__ == "__main__":
    main()
