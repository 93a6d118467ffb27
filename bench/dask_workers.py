"""Two workers against one: a fit to chunks that lie in the memory of a local cluster's processes.

``python -m bench.dask_workers``, on a quiet machine with two cores or more.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, wait

import fastcca.distributed
from bench.harness import agree, machine
from fastcca import CCA


def fitted(workers: int, rows: int, columns: int, repeats: int) -> tuple[Any, float]:
    """The fit and the fewest seconds of some, with so many processes of one thread each."""
    options = {"n_workers": workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        chunk = max(1, rows // 32)
        generator = da.random.default_rng(0)
        X = generator.standard_normal((rows, columns), chunks=(chunk, columns)).astype(np.float32)
        X, Y = client.persist([X, X[:, ::-1] + generator.standard_normal(X.shape, chunks=X.chunks)])
        wait([X, Y])  # type: ignore[no-untyped-call]
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            cca = fastcca.distributed.fit(CCA(10, reg=1e-3), X, Y)
            taken.append(time.perf_counter() - start)
        return cca, min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--columns", type=int, default=256, help="of each view")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(machine(1))
    one, alone = fitted(1, given.rows, given.columns, given.repeats)
    two, together = fitted(2, given.rows, given.columns, given.repeats)
    agree("weights, bitwise", np.array_equal(one.x_weights_, two.x_weights_))
    print(f"one worker {alone:.2f} s, two {together:.2f} s: {alone / together:.2f} times")


if __name__ == "__main__":
    main()
