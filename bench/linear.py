"""Linear CCA against cca-zoo, scikit-learn and NumPy's matrix product: ``python -m bench.linear``.

Each case first compares the answers, then times. Flops are counted as n(p+q)² for the moments and 2mnk
for a product.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.linear_model import LinearRegression

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
from fastcca import CCA, CCACV, Moments
from fastcca.datasets import load_mnist_halves, make_two_views

Contenders = dict[str, Callable[[], object]]
Views = tuple[NDArray[Any], NDArray[Any]]


def views(n: int, p: int, q: int, dtype: DTypeLike = np.float64) -> Views:
    """Two views with ten canonical correlations, well apart."""
    k = min(10, p, q)
    data = make_two_views(n, (p, q), np.linspace(0.95, 0.5, k), random_state=0, dtype=dtype)
    return data.X, data.y


def abs_correlations(A: NDArray[Any], B: NDArray[Any]) -> NDArray[np.float64]:
    """|Pearson correlation| of the columns of the same number: 1 where they are the same variates."""
    A, B = A - A.mean(axis=0), B - B.mean(axis=0)
    return np.asarray(np.abs((A * B).sum(axis=0)) / np.sqrt((A * A).sum(axis=0) * (B * B).sum(axis=0)))


def fit(X: NDArray[Any], Y: NDArray[Any], reg: float = 0.0) -> CCA:
    return CCA(n_components=10, reg=reg).fit(X, Y)


def fit_speed(report: Report, repeats: int, small: bool) -> None:
    """b: a fit of ten components against cca-zoo and scikit-learn."""
    from cca_zoo.linear import CCA as ZooCCA
    from sklearn.cross_decomposition import CCA as SklearnCCA

    sizes = [(20000, 200, 8.0), (100000, 200, 5.0), (20000, 1000, 2.5)]
    for n, p, target in [(2000, 20, 8.0)] if small else sizes:
        X, Y = views(n, p, p)
        zoo = ZooCCA(n_components=10).fit([X, Y])
        same = abs_correlations(fit(X, Y).transform(X), np.asarray(zoo.transform([X, Y])[0])).min()
        agree(f"cca-zoo at n={n}, p={p}", bool(same > 1 - 1e-8), f"(|correlation| of the scores {same})")
        contenders = {"ours": partial(fit, X, Y), "zoo": partial(ZooCCA(n_components=10).fit, [X, Y])}
        seconds = time_together(contenders, repeats)
        ratio = seconds["zoo"] / seconds["ours"]
        report.add("b", f"fit {n}x({p},{p}) against cca-zoo", target, ratio=ratio, **seconds)

    n, p = (500, 20) if small else (20000, 200)
    X, Y = views(n, p, p)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, slow = time_once(partial(SklearnCCA(n_components=10, scale=False).fit, X, Y))
    # NIPALS stops early and does not sort: its total comes close, component by component it need not.
    total = abs_correlations(*theirs.transform(X, Y)).sum()
    exact = fit(X, Y).canonical_correlations_.sum()
    agree("scikit-learn", bool(abs(total - exact) < 0.02 * exact), f"(totals {total} and {exact})")
    quick = time_together({"ours": partial(fit, X, Y)}, repeats)["ours"]
    what = f"fit {n}x({p},{p}) against scikit-learn"
    report.add("b", what, 300.0, ratio=slow / quick, ours=quick, sklearn=slow)


def moments(X: NDArray[Any], Y: NDArray[Any]) -> Moments:
    return Moments().update(X, Y)


def moments_speed(report: Report, repeats: int, small: bool) -> None:
    """c: the moments as a share of the rate of the faster product of the same shape, NumPy's or PyTorch's."""
    for n, p in [(2000, 20)] if small else [(20000, 200), (20000, 1000)]:
        for dtype, target in ((np.float64, 0.8), (np.float32, 0.7)):
            X, Y = views(n, p, p, dtype)
            Z = np.hstack([X, Y]).astype(np.float64)
            scatter = np.cov(Z, rowvar=False) * (n - 1)
            error = np.abs(moments(X, Y).scatter - scatter).max() / np.abs(scatter).max()
            agree(
                f"moments {np.dtype(dtype)}",
                bool(error < (1e-12 if dtype == np.float64 else 1e-5)),
                f"({error})",
            )
            products = gemms(2 * p, 2 * p, n, dtype)
            seconds = time_together({"ours": partial(moments, X, Y), **products}, 3 * repeats)
            # n d² flops against 2 n d² of the full product.
            ours = n * (2 * p) ** 2 / seconds["ours"]
            product = 2.0 * n * (2 * p) ** 2 / fastest(seconds, products)
            report.add(
                "c",
                f"moments {n}x({p},{p}) {np.dtype(dtype)}",
                target,
                share=ours / product,
                gflops=ours / 1e9,
                product_gflops=product / 1e9,
            )


def ill_conditioned(report: Report, small: bool) -> None:
    """d: cond(X) ≈ 6e8 and a first correlation of 0.998, where the covariance road would lose everything."""
    from cca_zoo.linear import CCA as ZooCCA

    n, p = (500, 20) if small else (5000, 50)
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((n, p))
    left = np.linalg.qr(rng.standard_normal((p, p)))[0]
    Y = rng.standard_normal((n, p))
    # The shared signal lies in the weakest direction of X.
    Y[:, 0] = 0.998 * latent[:, -1] + np.sqrt(1 - 0.998**2) * Y[:, 0]
    X = latent * np.geomspace(1, 1 / 6e8, p) @ left.T
    # The answer does not depend on the scaling of the latent columns: without it, cond is 1.
    exact = np.linalg.svd(_basis(latent).T @ _basis(Y), compute_uv=False)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = CCA(n_components=1).fit(X, Y)
        zoo = ZooCCA(n_components=1).fit([X, Y])
        theirs = abs_correlations(*map(np.asarray, zoo.transform([X, Y])))[0]
    error = abs(float(ours.canonical_correlations_[0]) - exact)
    values = {"error": error, "exact": exact, "cca_zoo": theirs, "solver": ours.solver_}
    report.add("d", f"cond 6e8, {n}x({p},{p}): error of rho_1", 1e-6, **values)


def _basis(A: NDArray[Any]) -> NDArray[Any]:
    return np.linalg.qr(A - A.mean(axis=0))[0]


def memory(report: Report, small: bool) -> None:
    """f: a memory-mapped pair far larger than what the fit may hold."""
    n, p = (2000, 64) if small else (200000, 512)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, name)) for name in ("X.npy", "Y.npy")]
        rng = np.random.default_rng(0)
        for path in paths:
            out = np.lib.format.open_memmap(path, "w+", np.float32, (n, p))
            for start in range(0, n, 10000):
                stop = min(start + 10000, n)
                out[start:stop] = rng.standard_normal((stop - start, p), np.float32)
            out.flush()
            del out
        setup = "\n".join(
            [
                "import numpy as np, fastcca",
                f"fastcca.set_num_threads({report.threads})",
                f"X, Y = (np.load(path, mmap_mode='r') for path in {paths!r})",
            ]
        )
        grown, seconds = peak_rss_anon(setup, "fastcca.CCA(n_components=10, reg=1e-3).fit(X, Y)")
    what = f"memory-mapped {n}x({p},{p}) float32: peak MB"
    report.add("f", what, 300.0, megabytes=grown / 1e6, seconds=seconds)


def cross_validation(report: Report, repeats: int, small: bool) -> None:
    """g: CCACV against the separate fits that it saves, with the same scores."""
    from sklearn.model_selection import KFold

    n, p = (1000, 20) if small else (20000, 200)
    X, Y = views(n, p, p)
    regs = np.logspace(-6, 1, 20)
    folds = list(KFold(5).split(X))

    def together() -> CCACV:
        return CCACV(regs=regs, cv=KFold(5), n_components=10).fit(X, Y)

    def separately() -> NDArray[np.float64]:
        scores = np.empty((len(regs), len(folds)))
        for j, (train, test) in enumerate(folds):
            X_train, Y_train, X_test, Y_test = X[train], Y[train], X[test], Y[test]
            for i, reg in enumerate(regs):
                scores[i, j] = fit(X_train, Y_train, reg).score(X_test, Y_test)
        return scores

    results = together().cv_results_
    scores = np.column_stack([results[f"split{j}_test_score"] for j in range(len(folds))])
    separate_scores, slow = time_once(separately)
    difference = np.abs(scores - separate_scores).max()
    agree("CCACV", bool(difference < 1e-8), f"(scores differ by {difference})")
    quick = time_together({"ours": together}, repeats)["ours"]
    values = {"share": quick / slow, "ours": quick, "separate": slow, "difference": difference}
    report.add("g", f"20 regs x 5 folds, {n}x({p},{p})", 0.2, **values)


def mnist(report: Report, small: bool) -> None:
    """h: MNIST halves, the ridge chosen by cross-validation on the training images alone."""
    if not os.environ.get("FASTCCA_DATA"):
        print("h  skipped: FASTCCA_DATA is not set")
        return
    data = load_mnist_halves(download_if_missing=False)
    rows = slice(0, 2000 if small else None)
    X, Y = data.left_train[rows], data.right_train[rows]
    search = CCACV(n_components=50).fit(X, Y)
    Zx, Zy = search.best_estimator_.transform_views(data.left_test, data.right_test)
    total = float(abs_correlations(Zx, Zy).sum())
    report.add(
        "h",
        "MNIST halves, k=50: test total correlation",
        28.4,
        total=total,
        reg=float(np.ravel(search.reg_)[0]),
    )


def small_problem(report: Report, repeats: int) -> None:
    """i: a fit of 100 rows against NumPy's few lines for the same correlations: what the checks cost.

    An ordinary least squares of scikit-learn, whose checks are the same kind, stands next to it.
    """
    X, Y = views(100, 5, 5)
    model = CCA(n_components=5, reg=0.0)
    calls: Contenders = {
        "ours": partial(model.fit, X, Y),
        "numpy": lambda: _correlations(X, Y),
        "least_squares": partial(LinearRegression().fit, X, Y),
    }
    exact = _correlations(X, Y)
    error = np.abs(model.fit(X, Y).canonical_correlations_ - exact).max()
    agree("100 rows", bool(error < 1e-12), f"({error})")
    seconds = time_together(calls, repeats)
    ratio = seconds["ours"] / seconds["numpy"]
    report.add("i", "fit 100x(5,5): ours / NumPy", 3.0, ratio=ratio, **seconds)


def _correlations(X: NDArray[Any], Y: NDArray[Any]) -> NDArray[Any]:
    return np.linalg.svd(_basis(X).T @ _basis(Y), compute_uv=False)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--case", action="append", choices=list("bcdfghi"), help="only this case; may be repeated"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--allow-slow-numpy", action="store_true")
    parser.add_argument("--json", metavar="PATH", help="store machine, versions and rows")
    options = parser.parse_args(arguments)

    with limit_threads(options.threads):
        report = Report(options.threads, allow_slow_numpy=options.allow_slow_numpy)
        cases = {
            "b": partial(fit_speed, report, options.repeats, options.small),
            "c": partial(moments_speed, report, options.repeats, options.small),
            "d": partial(ill_conditioned, report, options.small),
            "f": partial(memory, report, options.small),
            "g": partial(cross_validation, report, options.repeats, options.small),
            "h": partial(mnist, report, options.small),
            "i": partial(small_problem, report, options.repeats),
        }
        for name in options.case or cases:
            cases[name]()
        report.save(options.json)


if __name__ == "__main__":
    main()
