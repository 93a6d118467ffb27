"""Exact search against faiss's flat index: ``python -m bench.retrieval``.

All queries in one call, float32, at the same number of threads; gallery and faiss's index are in memory.
By default faiss compares pairs in kernels of its own and goes to its BLAS for very many queries only; it
runs that way and, with larger blocks than its own, by its BLAS, and the faster of the two counts. Flops are
counted as 2 n m d, the products of all pairs, and held against NumPy's matrix product.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from bench.harness import agree, gemm, limit_threads, options_and_report, time_together
from fastcca.functional import top_k

# queries, gallery, columns, k; the first is what is asked for
SIZES = [
    (1000, 1_000_000, 64, 10),
    (1000, 1_000_000, 64, 100),
    (1000, 200_000, 512, 10),
    (10_000, 50_000, 128, 10),
]
SMALL_CALLS = [(1, 1_000_000, 64, 10), (10, 1_000_000, 64, 10), (100, 1_000_000, 64, 10)]

Found = tuple[NDArray[np.int64], NDArray[Any]]


def ours(queries: NDArray[Any], gallery: NDArray[Any], k: int, similarity: Any) -> Found:
    return top_k(queries, gallery, k, similarity=similarity)


def flat(queries: NDArray[Any], index: Any, k: int, blas: bool = False) -> Found:
    settings = (20, 1024, 4096) if blas else (128_000, 4096, 1024)
    names = ("threshold", "query_bs", "database_bs")
    for name, value in zip(names, settings, strict=True):
        setattr(faiss.cvar, f"distance_compute_blas_{name}", value)
    scores, indices = index.search(queries, k)
    return indices, scores


def same(a: Found, b: Found) -> bool:
    """Equal scores, and equal rows but for those whose scores differ by rounding alone."""
    slack = 1e-4 * np.abs(b[1]).max()
    return bool(np.allclose(a[1], b[1], rtol=0, atol=slack) and np.mean(a[0] != b[0]) < 1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--first", action="store_true", help="only the size that is asked for")
    parser.add_argument(
        "--small", action="store_true", help="a hundredth of the gallery: a check that it runs"
    )
    arguments, report = options_and_report(parser)
    faiss.omp_set_num_threads(arguments.threads)
    blas = {
        lib["architecture"]
        for lib in threadpool_info()
        if "faiss" in lib["filepath"] and "architecture" in lib
    }
    print(f"faiss {faiss.__version__}, {faiss.get_compile_options().strip()}, OpenBLAS for {' '.join(blas)}")
    rng = np.random.default_rng(0)
    with limit_threads(arguments.threads):
        for n, m, d, k in SIZES[:1] if arguments.first else SIZES + SMALL_CALLS:
            m = m // 100 if arguments.small else m
            gallery = rng.standard_normal((m, d), dtype=np.float32)
            queries = rng.standard_normal((n, d), dtype=np.float32)
            for similarity, make in (("inner_product", faiss.IndexFlatIP), ("euclidean", faiss.IndexFlatL2)):
                index = make(d)
                index.add(gallery)
                calls: dict[str, Callable[[], object]] = {
                    "ours": partial(ours, queries, gallery, k, similarity),
                    "faiss": partial(flat, queries, index, k),
                    "faiss_blas": partial(flat, queries, index, k, blas=True),
                }
                case = f"{n} of {m} × {d}, k={k}, {similarity}"
                agree(case, same(ours(queries, gallery, k, similarity), flat(queries, index, k)))
                if n >= 1000 and similarity == "inner_product":
                    calls["product"] = gemm(
                        n, max(m // 16, 1), d, np.float32
                    )  # a sixteenth, to fit in memory
                seconds = time_together(calls, arguments.repeats)
                gflops = 2e-9 * n * m * d / seconds["ours"]
                values = {**seconds, "GFs": gflops}
                if "product" in seconds:
                    values["share"] = 16 * seconds["product"] / seconds["ours"]
                fastest = min(seconds["faiss"], seconds["faiss_blas"])
                report.add("e", case, target=1.0, ratio=fastest / seconds["ours"], **values)
    report.save(arguments.json)


if __name__ == "__main__":
    main()
