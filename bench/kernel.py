"""Kernel CCA against cca-zoo and NumPy's matrix product: ``python -m bench.kernel``.

Each case first compares the answers, then times. A fit of rank m on n rows counts n(2m)² flops for the
moments of the features and 2nm² for the two factorisations.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bench.harness import (
    Report,
    agree,
    fastest,
    gemms,
    limit_threads,
    peak_rss_anon,
    time_once,
    time_together,
)
from bench.linear import abs_correlations
from fastcca import KernelCCA
from fastcca.datasets import load_mnist_halves
from fastcca.functional import incomplete_cholesky
from fastcca.metrics import total_correlation

Views = tuple[NDArray[Any], NDArray[Any]]
GAMMA = 1 / 500


def views(n: int, dtype: DTypeLike = np.float64, seed: int = 0) -> Views:
    """Two views of 50 columns with ten common, bent directions."""
    rng = np.random.default_rng(seed)
    t = rng.standard_normal((n, 10))
    X = np.hstack([t, rng.standard_normal((n, 40))])
    Y = np.hstack([t + 0.3 * t**2 + 0.5 * rng.standard_normal((n, 10)), rng.standard_normal((n, 40))])
    return X.astype(dtype), Y.astype(dtype)


def full_rank(report: Report, repeats: int, small: bool) -> None:
    """a, b: every row a landmark, against cca-zoo under the matching shrinkage c = r / (1 + r)."""
    from cca_zoo.nonparametric import KCCA

    reg = 1e-3
    for n, target in [(500, 1.0)] if small else [(2000, 30.0), (4000, 50.0)]:
        X, Y = views(n)
        ours = KernelCCA(10, gamma=GAMMA, reg=reg, rank=n, tol=1e-10)
        zoo = KCCA(10, kernel="rbf", gamma=GAMMA, shrinkage=reg / (1 + reg))
        _, slow = time_once(partial(zoo.fit, [X, Y]))
        ours.fit(X, Y)
        same = 1 - abs_correlations(ours.transform(X), np.asarray(zoo.transform([X, Y])[0])).min()
        agree(f"cca-zoo at n={n}", bool(same < 1e-6), f"(1 - |correlation| of the scores {same})")
        quick = time_together({"ours": partial(ours.fit, X, Y)}, repeats)["ours"]
        values = {"ratio": slow / quick, "ours": quick, "zoo": slow, "difference": same, "rank": ours.x_rank_}
        report.add("b", f"full rank, n={n}, against cca-zoo", target, **values)


def out_of_reach(report: Report, small: bool) -> None:
    """b: a size whose kernel matrices no peer can hold."""
    n, rank = (2000, 100) if small else (20000, 1000)
    setup = "\n".join(
        [
            "import numpy as np, fastcca",
            "from bench.kernel import views, GAMMA",
            f"fastcca.set_num_threads({report.threads})",
            f"X, Y = views({n})",
        ]
    )
    work = f"fastcca.KernelCCA(10, gamma=GAMMA, rank={rank}, tol=1e-10).fit(X, Y)"
    grown, seconds = peak_rss_anon(setup, work)
    report.add("b", f"n={n}, rank {rank}: seconds", 3.0, seconds=seconds, megabytes=grown / 1e6)


def million(report: Report, small: bool) -> None:
    """c: memory-mapped files of a million rows, scored on rows that were not fitted."""
    n, rank, held_out = (20000, 50, 2000) if small else (1000000, 500, 20000)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, name)) for name in ("X.npy", "Y.npy")]
        out = [np.lib.format.open_memmap(path, "w+", np.float32, (n + held_out, 50)) for path in paths]
        for seed, start in enumerate(range(0, n + held_out, 20000)):
            rows = slice(start, min(start + 20000, n + held_out))
            for file, part in zip(out, views(rows.stop - start, np.float32, seed), strict=True):
                file[rows] = part
        for file in out:
            file.flush()
        del out
        setup = "\n".join(
            [
                "import numpy as np, fastcca",
                f"fastcca.set_num_threads({report.threads})",
                f"X, Y = (np.load(path, mmap_mode='r') for path in {paths!r})",
            ]
        )
        work = f"""
model = fastcca.KernelCCA(10, rank={rank}).fit(X[:{n}], Y[:{n}])
model.save({str(Path(folder, "model.npz"))!r})
"""
        grown, seconds = peak_rss_anon(setup, work)
        import fastcca

        model = fastcca.load(Path(folder, "model.npz"))
        test = [np.load(path, mmap_mode="r")[n:] for path in paths]
        total = total_correlation(*model.transform_views(*test))
    values = {"seconds": seconds, "megabytes": grown / 1e6, "held_out_total_of_10": total}
    report.add("c", f"memory-mapped, n={n}, rank {rank}, float32: seconds", 30.0, **values)


def share_of_gemm(report: Report, small: bool) -> None:
    """d: a whole fit, from the data to the scores' weights, as a share of the faster product's rate."""
    n, rank = (4000, 300) if small else (60000, 3000)
    for dtype in (np.float64, np.float32):
        X, Y = views(n, dtype)
        products = gemms(3000, 3000, 3000, dtype)
        before = fastest(time_together(products, 3), products)
        model, seconds = time_once(partial(KernelCCA(10, rank=rank).fit, X, Y))
        after = fastest(time_together(products, 3), products)
        product = 2 * 3000**3 / min(before, after)
        ours = (n * (2 * rank) ** 2 + 2 * n * rank**2) / seconds
        values = {
            "share": ours / product,
            "seconds": seconds,
            "gflops": ours / 1e9,
            "product_gflops": product / 1e9,
        }
        target = 0.55 if dtype == np.float64 else None
        report.add("d", f"n={n}, rank {model.x_rank_}, {np.dtype(dtype)}", target, **values)


def mnist(report: Report, small: bool) -> None:
    """e: MNIST halves, k = 50; parameters found on held-out training images (MNIST, below)."""
    if not os.environ.get("FASTCCA_DATA"):
        print("e  skipped: FASTCCA_DATA is not set")
        return
    data = load_mnist_halves(download_if_missing=False)
    rows = slice(0, 2000 if small else None)
    X, Y, X_test, Y_test = (
        np.asarray(view, dtype=np.float32)
        for view in (data.left_train[rows], data.right_train[rows], data.left_test, data.right_test)
    )
    for rank, target in [(300, 30.0)] if small else [(3000, 44.2), (6000, 44.8)]:
        model, seconds = time_once(partial(KernelCCA(50, rank=rank, **MNIST).fit, X, Y))
        total = total_correlation(*model.transform_views(X_test, Y_test))
        values = {"total": total, "seconds": seconds, "residual": model.x_residual_}
        report.add("e", f"MNIST halves, k=50, rank {rank}: test total", target, **values)
        if rank == 3000:  # the road of float32 against that of float64
            wide = KernelCCA(50, rank=rank, **MNIST).fit(X.astype(np.float64), Y.astype(np.float64))
            reference = total_correlation(*wide.transform_views(X_test, Y_test))
            agree("float32 and float64", abs(total - reference) < 0.05, f"({total} and {reference})")


# 1.5 times the median widths: chosen, as kernel, pivots and regularisation were, by the total correlation on
# 6000 training images held out, after fits of rank 1000 to 20000 others and of rank 2000 to all others.
MNIST: dict[str, Any] = {"gamma": (0.0312, 0.0273), "reg": 2e-6, "pivoting": "uniform", "random_state": 0}


def pivots(report: Report, small: bool, picture: str | None) -> None:
    """f: greedy, random and uniform pivots at equal rank, on MNIST and on data with outliers."""
    n, ranks = (3000, (50, 100)) if small else (20000, (125, 250, 500, 1000, 2000))
    rng = np.random.default_rng(0)
    X, Y = views(n + 4000)
    far = rng.choice(n, n // 20, replace=False)
    for view in (X, Y):
        view[far] *= rng.standard_t(1.5, size=(len(far), 1)) * 5
    cases: dict[str, tuple[Any, ...]] = {"outliers": (X[:n], Y[:n], X[n:], Y[n:], 10, 1 / 100)}
    if os.environ.get("FASTCCA_DATA"):
        data = load_mnist_halves(download_if_missing=False)
        halves = data.left_train[:n], data.right_train[:n], data.left_test, data.right_test
        cases["MNIST"] = (*halves, 50, "median")
    curves: dict[tuple[str, str], list[tuple[int, float, float]]] = {}
    for case, (X, Y, X_test, Y_test, k, gamma) in cases.items():
        for pivoting in ("greedy", "random", "uniform"):
            trace = incomplete_cholesky(
                X, gamma=gamma, rank=ranks[-1], pivoting=pivoting, random_state=0
            ).residual_trace
            for rank in ranks:
                model = KernelCCA(k, gamma=gamma, rank=rank, pivoting=pivoting, random_state=0).fit(X, Y)
                total = total_correlation(*model.transform_views(X_test, Y_test))
                left = float(trace[min(rank, len(trace)) - 1]) / n
                curves.setdefault((case, pivoting), []).append((rank, left, total))
                report.add("f", f"{case}, {pivoting}, rank {rank}", residual=left, test_total=total)
    if picture:
        _draw(curves, picture)


def _draw(curves: dict[tuple[str, str], list[tuple[int, float, float]]], picture: str) -> None:
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    cases = sorted({case for case, _ in curves})
    figure, axes = plt.subplots(2, len(cases), figsize=(4.5 * len(cases), 6), sharex=True, squeeze=False)
    for (case, pivoting), points in curves.items():
        rank, left, total = zip(*points, strict=True)
        column = cases.index(case)
        axes[0, column].loglog(rank, left, "o-", label=pivoting)
        axes[1, column].semilogx(rank, total, "o-", label=pivoting)
        axes[0, column].set_title(case)
        axes[1, column].set_xlabel("rank")
        axes[1, column].set_xticks(rank, labels=[str(r) for r in rank])
        axes[1, column].xaxis.set_minor_formatter(NullFormatter())
    axes[0, 0].set_ylabel("share of the trace left out")
    axes[1, 0].set_ylabel("test total correlation")
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(picture, dpi=120)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--case", action="append", choices=list("bcdef"), help="only this case; may be repeated"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--allow-slow-numpy", action="store_true")
    parser.add_argument("--json", metavar="PATH", help="store machine, versions and rows")
    parser.add_argument("--picture", metavar="PATH", help="of case f")
    options = parser.parse_args(arguments)

    with limit_threads(options.threads):
        report = Report(options.threads, allow_slow_numpy=options.allow_slow_numpy)

        def against_peers() -> None:
            full_rank(report, options.repeats, options.small)
            out_of_reach(report, options.small)

        cases: dict[str, Callable[[], None]] = {
            "b": against_peers,
            "c": partial(million, report, options.small),
            "d": partial(share_of_gemm, report, options.small),
            "e": partial(mnist, report, options.small),
            "f": partial(pivots, report, options.small, options.picture),
        }
        for name in options.case or cases:
            cases[name]()
        report.save(options.json)


if __name__ == "__main__":
    main()
