"""Many views, PLS, sparse CCA and similarities against their peers: ``python -m bench.views``.

Each case first compares the answers, then times: cca-zoo (MCCA, GCCA), scikit-learn (PLSRegression,
GridSearchCV), the loop of separate fits (SparseCCACV), and for similarities the product of the stacked layers
and the loop over pairs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness import (
    Report,
    agree,
    limit_threads,
    peak_rss_anon,
    time_once,
    time_together,
    use_processor_time,
)
from fastcca import GCCA, MCCA, PLSRegression, PLSRegressionCV, SparseCCA, SparseCCACV
from fastcca.similarity import Activations, compare, linear_cka


def many_views(n: int, p: int, m: int) -> list[NDArray[np.float64]]:
    """m views with ten common directions of different strength."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(n, 10)) * np.linspace(3, 1, 10)
    return [common @ rng.normal(size=(10, p)) / np.sqrt(10) + rng.normal(size=(n, p)) for _ in range(m)]


def eigenproblems(report: Report, repeats: int, small: bool) -> None:
    """MCCA and GCCA of five views against cca-zoo."""
    from cca_zoo import linear as zoo

    views: list[Any] = many_views(*((1000, 20, 3) if small else (20000, 200, 5)))
    for ours, theirs, target in ((MCCA, zoo.MCCA, 5.0), (GCCA, zoo.GCCA, 10.0)):
        z = ours(10).fit(views).transform(views)
        other = theirs(n_components=10).fit(views).transform(views)
        for a, b in zip(z.values(), other, strict=True):
            same = min(abs(np.corrcoef(a[:, j], b[:, j])[0, 1]) for j in range(5))
            agree(ours.__name__, bool(same > 1 - 1e-6), f"(|correlation| of the scores {same})")
        contenders = {
            "ours": partial(ours(10).fit, views),
            "zoo": partial(theirs(n_components=10).fit, views),
        }
        seconds = time_together(contenders, repeats)
        what = f"{ours.__name__} of {len(views)} views, {views[0].shape}"
        report.add("views", what, target, ratio=seconds["zoo"] / seconds["ours"], **seconds)


def least_squares(report: Report, repeats: int, small: bool) -> None:
    """PLSRegression against scikit-learn's, and its cross-validation against GridSearchCV."""
    from sklearn.cross_decomposition import PLSRegression as Peer
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV

    n, p, q = (1000, 30, 3) if small else (20000, 500, 10)
    X = many_views(n, p, 1)[0]
    rng = np.random.default_rng(1)
    y = X @ rng.normal(size=(p, q)) / np.sqrt(p) + rng.normal(size=(n, q))
    tight = Peer(10, tol=1e-20, max_iter=10**5).fit(X, y)
    off = np.abs(tight.predict(X) - PLSRegression(10).fit(X, y).predict(X)).max()
    agree("PLSRegression", bool(off < 1e-7), f"(predictions differ by {off})")
    contenders = {"ours": partial(PLSRegression(10).fit, X, y), "sklearn": partial(Peer(10).fit, X, y)}
    seconds = time_together(contenders, repeats)
    ratio = seconds["sklearn"] / seconds["ours"]
    report.add("pls", f"PLSRegression(10), {n}x({p},{q})", 20.0, ratio=ratio, **seconds)

    most, folds = (4, 3) if small else (30, 10)
    rows = slice(0, min(n, 2000))
    search = PLSRegressionCV(most, cv=folds)
    ours, quick = time_once(partial(search.fit, X[rows], y[rows]))
    first = min(most, 3)  # its iteration converges slowly: compared where it has, timed as it comes
    few = GridSearchCV(
        Peer(tol=1e-20, max_iter=10**5), {"n_components": list(range(1, first + 1))}, cv=folds, refit=False
    ).fit(X[rows], y[rows])
    scores = ours.cv_results_["mean_test_score"][:first]
    off = np.abs(few.cv_results_["mean_test_score"] - scores).max()
    agree("PLSRegressionCV", bool(off < 1e-8), f"(scores differ by {off})")
    grid = GridSearchCV(Peer(), {"n_components": list(range(1, most + 1))}, cv=folds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        slow = time_once(partial(grid.fit, X[rows], y[rows]))[1]
    what = f"PLSRegressionCV, {most} components x {folds} folds, {{}}x({p},{q})"
    report.add(
        "pls", f"{what.format(rows.stop)}: GridSearchCV", 20.0, ratio=slow / quick, ours=quick, sklearn=slow
    )
    against_ikpls(report, repeats, X, y, search, what.format(n))


def against_ikpls(
    report: Report, repeats: int, X: NDArray[Any], y: NDArray[Any], search: PLSRegressionCV, what: str
) -> None:
    """The fast cross-validation of ikpls, where it is installed: one process, its BLAS with all threads."""
    from sklearn.model_selection import KFold

    try:
        from ikpls.fast_cross_validation.numpy import PLS
    except ImportError:
        print("ikpls is not installed: pip install ikpls")
        return
    splits = np.empty(len(X), dtype=np.intp)
    for i, (_, test) in enumerate(KFold(search.cv).split(X)):
        splits[test] = i

    def r2(true: NDArray[Any], predicted: NDArray[Any]) -> NDArray[Any]:
        errors = ((true - predicted) ** 2).sum(axis=1)
        return np.asarray((1 - errors / ((true - true.mean(axis=0)) ** 2).sum(axis=0)).mean(axis=1))

    def theirs(algorithm: int) -> NDArray[Any]:
        most = search.max_components
        with contextlib.redirect_stdout(io.StringIO()):  # which it fills whatever verbose is
            found = PLS(algorithm, ddof=1).cross_validate(X, y, most, splits, r2, n_jobs=1, verbose=0)
        return np.asarray(np.mean(list(found.values()), axis=0))

    ours = search.fit(X, y).cv_results_["mean_test_score"]
    for algorithm in (1, 2):
        off = np.abs(theirs(algorithm) - ours).max()
        agree(f"ikpls, algorithm {algorithm}", bool(off < 1e-8), f"(scores differ by {off})")
    contenders: dict[str, Callable[[], object]] = {
        "ours": partial(search.fit, X, y),
        "ikpls1": partial(theirs, 1),
        "ikpls2": partial(theirs, 2),
    }
    seconds = time_together(contenders, repeats)
    best = min(seconds["ikpls1"], seconds["ikpls2"])
    report.add("pls", f"{what}: the better of ikpls' two", 1.0, ratio=best / seconds["ours"], **seconds)


def sparse(report: Report, repeats: int, small: bool) -> None:
    """SparseCCACV against a loop over cca-zoo's penalised matrix decomposition, and over fits of our own."""
    from cca_zoo.sparse import PMDCCA

    n, p = (300, 20) if small else (5000, 300)
    X, Y = many_views(n, p, 2)
    penalties = np.linspace(0.3 if small else 0.1, 1, 4 if small else 20).tolist()
    search, quick = time_once(partial(SparseCCACV(1, penalties, cv=5).fit, X, Y))
    covered = []  # covariances that cca-zoo and we reach, of the training rows

    def loop(fit: Callable[[NDArray[Any], NDArray[Any], float], Any]) -> NDArray[np.float64]:
        scores = np.empty((5, len(penalties)))
        for i, test in enumerate(np.array_split(np.arange(n), 5)):
            train = np.setdiff1d(np.arange(n), test)
            sx, sy = X[train].std(axis=0, ddof=1), Y[train].std(axis=0, ddof=1)
            for j, penalty in enumerate(penalties):
                u, v = fit(X[train] / sx, Y[train] / sy, penalty)
                scores[i, j] = np.corrcoef(X[test] / sx @ u, Y[test] / sy @ v)[0, 1]
        return scores

    def own(X: NDArray[Any], Y: NDArray[Any], penalty: float) -> Any:
        model = SparseCCA(1, penalty).fit(X, Y)
        return model.x_weights_[:, 0], model.y_weights_[:, 0]

    def zoo(X: NDArray[Any], Y: NDArray[Any], penalty: float) -> Any:
        model = PMDCCA(1, l1_bound=penalty, tol=1e-9, random_state=0).fit([X, Y])
        return [w[:, 0] for w in model.weights_]

    for penalty in penalties[:: len(penalties) // 3]:
        reached = []
        A, B = (V / V.std(axis=0, ddof=1) for V in (X, Y))
        for fit in (own, zoo):
            u, v = (w / np.linalg.norm(w) for w in fit(A, B, penalty))
            reached.append(float(np.cov(A @ u, B @ v)[0, 1]))
        covered.append(reached)
    agree("PMDCCA", all(ours >= (1 - 1e-6) * theirs for ours, theirs in covered), f"(covariances {covered})")
    scores, slow = time_once(partial(loop, own))
    off = np.abs(scores.mean(axis=0) - search.cv_results_["mean_test_score"]).max()
    agree("SparseCCACV", bool(off < 1e-6), f"(scores differ by {off})")
    theirs, slowest = time_once(partial(loop, zoo))
    same = int((np.abs(theirs - scores) < 1e-6).sum())
    print(f"cca-zoo finds the same pair in {same} of {scores.size} fits")
    what = f"SparseCCACV, {len(penalties)} x 5, {n}x({p},{p})"
    report.add("sparse", f"{what}: a loop of cca-zoo's", 20.0, ratio=slowest / quick, ours=quick, zoo=slowest)
    report.add("sparse", f"{what}: a loop of our own fits", 1.0, ratio=slow / quick, ours=quick, loop=slow)


def pairwise_cka(layers: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Pair by pair from the features: three products each."""
    m, names = len(layers), list(layers)
    out = np.eye(m)
    for i in range(m):
        for j in range(i + 1, m):
            A, B = (layers[name] - layers[name].mean(axis=0) for name in (names[i], names[j]))
            cross, own, other = A.T @ B, A.T @ A, B.T @ B
            out[i, j] = out[j, i] = (cross**2).sum() / np.linalg.norm(own) / np.linalg.norm(other)
    return out


def similarities(report: Report, repeats: int, small: bool) -> None:
    """All pairs of layers from one pass against the loop over pairs, and against the product of the triangle.

    NumPy multiplies a matrix with its own transpose by syrk, which computes one triangle alone.
    """
    n, width, m = (2000, 32, 4) if small else (20000, 128, 12)
    layers: dict[str, Any] = {
        f"layer{i}": view.astype(np.float32) for i, view in enumerate(many_views(n, width, m))
    }

    def stream(rows: int) -> NDArray[np.float64]:
        activations = Activations(debiased=False)
        for start in range(0, n, rows):
            activations.update({name: a[start : start + rows] for name, a in layers.items()})
        return compare(activations).values

    whole = compare(layers).values
    off = np.abs(whole - pairwise_cka(layers)).max()
    agree("similarities", bool(off < 1e-4), f"(they differ by {off})")
    off = np.abs(whole - stream(500)).max()
    agree("batches", bool(off < 1e-6), f"(they differ by {off})")
    first, second = list(layers.values())[:2]
    agree("a pair", bool(abs(linear_cka(first, second) - whole[0, 1]) < 1e-5))
    stacked = np.hstack(list(layers.values()))
    contenders: dict[str, Callable[[], object]] = {
        "ours": partial(compare, layers),
        "batches": partial(stream, 500),
        "loop": partial(pairwise_cka, layers),
        "product": lambda: stacked.T @ stacked,
    }
    seconds = time_together(contenders, repeats)
    what = f"CKA of {m} layers x {width}, {n} rows, float32"
    ratio = seconds["loop"] / seconds["ours"]
    report.add("similarity", f"{what}: loop over pairs", 2.0, ratio=ratio, **seconds)
    ratio = seconds["product"] / seconds["ours"]
    report.add("similarity", f"{what}: the triangle's product", 1 / 1.3, ratio=ratio, **seconds)
    ratio = seconds["product"] / seconds["batches"]
    report.add("similarity", f"{what}: the same by 500 rows", 1 / 1.3, ratio=ratio, **seconds)


SETUP = """
import numpy as np
import fastcca
from fastcca.similarity import Activations, compare
fastcca.set_num_threads({threads})
rng = np.random.default_rng(0)
some = rng.standard_normal((2, {batch}, {width} * {m}), dtype=np.float32)
activations = Activations(debiased=False)
warm = Activations(debiased=False).update([some[0][:, :8], some[0][:, 8:16]]).moments
"""
WORK = """
for i in range({n} // {batch}):
    rows = some[i % 2]
    batch = {{f"layer{{j}}": rows[:, j * {width} : (j + 1) * {width}] for j in range({m})}}
    activations.update(batch)
compare(activations)
"""


def many_layers(report: Report, repeats: int, small: bool) -> None:
    """24 layers of 512 units from batches, against the triangle's product by OpenBLAS (ssyrk).

    Batches are used again, so that nothing but sums is held. The product, and the loop over pairs, are timed
    at a tenth of the rows.
    """
    from scipy.linalg.blas import ssyrk

    n, width, m, batch = (2000, 16, 6, 200) if small else (50000, 512, 24, 5000)
    part = np.random.default_rng(0).standard_normal((n // 10, m * width), dtype=np.float32)
    out = np.zeros((m * width, m * width), np.float32, order="F")
    product: Any = partial(ssyrk, 1.0, part.T, c=out, overwrite_c=1, lower=1)
    product()
    triangle = 10 * time_once(product)[1]
    del out
    layers = {f"layer{i}": part[:, i * width : (i + 1) * width] for i in range(m)}
    pairs = 10 * time_once(partial(pairwise_cka, layers))[1]
    del layers, part
    sizes = {"threads": report.threads, "n": n, "width": width, "m": m, "batch": batch}
    grown, seconds = peak_rss_anon(SETUP.format(**sizes), WORK.format(**sizes))
    what = f"CKA of {m} layers x {width}, {n} rows by {batch}, float32"
    found: dict[str, Any] = {"ours": seconds, "product": triangle, "gib": grown / 2**30}
    report.add("layers", f"{what}: the triangle's product", 1 / 1.3, ratio=triangle / seconds, **found)
    report.add("layers", f"{what}: loop over pairs", 2.0, ratio=pairs / seconds, ours=seconds, loop=pairs)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", choices=["views", "pls", "sparse", "similarity", "layers"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processor", action="store_true", help="processor seconds of one thread")
    parser.add_argument("--small", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--allow-slow-numpy", action="store_true")
    parser.add_argument("--json", metavar="PATH", help="store machine, versions and rows")
    options = parser.parse_args(arguments)
    if options.processor:
        use_processor_time()
        options.threads = 1
    with limit_threads(options.threads):
        report = Report(options.threads, allow_slow_numpy=options.allow_slow_numpy)
        cases = {
            "views": eigenproblems,
            "pls": least_squares,
            "sparse": sparse,
            "similarity": similarities,
            "layers": many_layers,
        }
        for name in options.case or cases:
            cases[name](report, options.repeats, options.small)
        report.save(options.json)


if __name__ == "__main__":
    main()
