"""Moments and solution from 10⁴ to 10⁷ rows and 100 to 8000 columns: time and memory against the model.

``python -m bench.scaling --processor-time`` for a machine that does other work: CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from bench.harness import gemm, limit_threads, machine, peak_rss_anon, time_once, use_processor_time

ROWS = (10**4, 10**5, 10**6, 10**7)
COLUMNS = (100, 1000, 8000)
# n (p + q)² of the largest case: some minutes of one core.
MOST_FLOPS = 2e12
CHUNK = 2**24
COMPONENTS = 10

# The same rows come again and again: neither a disk nor a generator is measured.
CASE = """
half = {columns} // 2
part = np.random.default_rng(0).standard_normal(({chunk}, {columns}), dtype=np.float32)
part[:, half:half + 10] += part[:, :10]
left, moments, start = {rows}, Moments(), clock()
while left:
    rows = min(left, {chunk})
    moments.update(part[:rows, :half], part[:rows, half:])
    left -= rows
passed = clock() - start
found = CCA({components}, reg=1e-3).fit_moments(moments)
np.savez({path!r}, passed=passed, whole=clock() - start, first=found.canonical_correlations_[0])
"""


def measured(rows: int, columns: int, threads: int, clock: str) -> tuple[float, float, float]:
    """Seconds of the moments and of the solution, megabytes that were added at most."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "found.npz")
        chunk = min(rows, max(1024, CHUNK // (4 * columns), columns // 2))  # as streaming.read has them
        setup = (
            f"import numpy as np, fastcca\nfrom time import {clock} as clock\n"
            f"from fastcca import CCA, Moments\nfastcca.set_num_threads({threads})\n"
            "CCA(1).fit(np.eye(3), np.eye(3)[:, :2])"
        )
        work = CASE.format(rows=rows, columns=columns, chunk=chunk, components=COMPONENTS, path=path)
        grown, _ = peak_rss_anon(setup, work)
        with np.load(path) as found:
            passed, whole = float(found["passed"]), float(found["whole"])
    return passed, whole - passed, grown / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--processor-time", action="store_true", help="CPU seconds of one thread")
    parser.add_argument("--most-flops", type=float, default=MOST_FLOPS)
    given = parser.parse_args()
    threads = 1 if given.processor_time else os.cpu_count() or 1
    if given.processor_time:
        use_processor_time()
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of the processes to come
    print(machine(threads))
    print(f"{'CPU' if given.processor_time else 'wall'} seconds, {threads} thread(s), float32")
    print("rows columns: moments, n (p+q)^2 flops at NumPy's rate, share; solution; MB, of the model")
    for columns in COLUMNS:
        with limit_threads(threads):
            call = gemm(columns, columns, 2**24 // columns, np.float32)
            rate = 2 * columns**2 * (2**24 // columns) / min(time_once(call)[1] for _ in range(3))
        for rows in ROWS:
            flops = rows * columns**2
            if flops > given.most_flops:
                continue
            clock = "process_time" if given.processor_time else "perf_counter"
            passed, solved, megabytes = measured(rows, columns, threads, clock)
            chunk = min(max(CHUNK, 2 * columns**2), 4 * rows * columns)
            model = (8 * columns**2 + chunk) / 1e6
            print(
                f"{rows:>9} {columns:>5}: {passed:8.3f} s, {flops / rate:8.3f} s, "
                f"{flops / rate / passed:4.0%}; {solved:7.3f} s; {megabytes:6.0f} MB, {model:6.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
