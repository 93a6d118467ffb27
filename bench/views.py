"""Many views, PLS, sparse CCA and similarities against their peers: ``python -m bench.views``.

Each case first compares the answers, then times: cca-zoo (MCCA, GCCA), scikit-learn (PLSRegression,
GridSearchCV), the loop of separate fits (SparseCCACV), and for similarities the product of the stacked layers
and the loop over pairs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness import Report, agree, limit_threads, time_once, time_together
from fastcca import GCCA, MCCA, PLSRegression, PLSRegressionCV, SparseCCA, SparseCCACV
from fastcca.similarity import compare, linear_cka


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
    grid = GridSearchCV(Peer(tol=1e-10), {"n_components": list(range(1, most + 1))}, cv=folds)
    found, slow = time_once(partial(grid.fit, X[rows], y[rows]))
    ours, quick = time_once(partial(PLSRegressionCV(most, cv=folds).fit, X[rows], y[rows]))
    off = np.abs(found.cv_results_["mean_test_score"] - ours.cv_results_["mean_test_score"]).max()
    agree("PLSRegressionCV", bool(off < 1e-5), f"(scores differ by {off})")
    what = f"PLSRegressionCV, {most} components x {folds} folds, {rows.stop} rows"
    report.add("pls", what, 20.0, ratio=slow / quick, ours=quick, sklearn=slow)


def sparse(report: Report, repeats: int, small: bool) -> None:
    """SparseCCACV against the loop of separate fits."""
    n, p = (300, 20) if small else (5000, 300)
    X, Y = many_views(n, p, 2)
    penalties = np.linspace(0.1, 1, 4 if small else 20).tolist()
    search, quick = time_once(partial(SparseCCACV(1, penalties, cv=5).fit, X, Y))

    def loop() -> NDArray[np.float64]:
        scores = np.empty((5, len(penalties)))
        for i, test in enumerate(np.array_split(np.arange(n), 5)):
            train = np.setdiff1d(np.arange(n), test)
            for j, penalty in enumerate(penalties):
                model = SparseCCA(1, penalty).fit(X[train], Y[train])
                scores[i, j] = model.score(X[test], Y[test])
        return scores

    scores, slow = time_once(loop)
    off = np.abs(scores.mean(axis=0) - search.cv_results_["mean_test_score"]).max()
    agree("SparseCCACV", bool(off < 1e-6), f"(scores differ by {off})")
    what = f"SparseCCACV, {len(penalties)} x 5, {n}x({p},{p}) against a loop of fits of our own"
    report.add("sparse", what, 1.0, ratio=slow / quick, ours=quick, loop=slow)


def similarities(report: Report, repeats: int, small: bool) -> None:
    """All pairs of layers from one pass against the loop over pairs, and against half the whole product."""
    n, width, m = (2000, 32, 4) if small else (20000, 128, 12)
    layers: dict[str, Any] = {
        f"layer{i}": view.astype(np.float32) for i, view in enumerate(many_views(n, width, m))
    }

    def loop() -> NDArray[np.float64]:
        names = list(layers)
        out = np.eye(m)
        for i in range(m):
            for j in range(i + 1, m):
                A, B = (layers[name] - layers[name].mean(axis=0) for name in (names[i], names[j]))
                cross, own, other = A.T @ B, A.T @ A, B.T @ B
                out[i, j] = out[j, i] = (cross**2).sum() / np.linalg.norm(own) / np.linalg.norm(other)
        return out

    whole = compare(layers).values
    off = np.abs(whole - loop()).max()
    agree("similarities", bool(off < 1e-4), f"(they differ by {off})")
    first, second = list(layers.values())[:2]
    agree("a pair", bool(abs(linear_cka(first, second) - whole[0, 1]) < 1e-5))
    stacked = np.hstack(list(layers.values()))
    contenders: dict[str, Callable[[], object]] = {
        "ours": partial(compare, layers),
        "loop": loop,
        "product": lambda: stacked.T @ stacked,
    }
    seconds = time_together(contenders, repeats)
    what = f"CKA of {m} layers x {width}, {n} rows, float32"
    report.add(
        "similarity", f"{what}: loop over pairs", 2.0, ratio=seconds["loop"] / seconds["ours"], **seconds
    )
    triangle = seconds["product"] / 2
    report.add(
        "similarity", f"{what}: half the product", 1 / 1.3, ratio=triangle / seconds["ours"], **seconds
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", choices=["views", "pls", "sparse", "similarity"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--allow-slow-numpy", action="store_true")
    parser.add_argument("--json", metavar="PATH", help="store machine, versions and rows")
    options = parser.parse_args(arguments)
    with limit_threads(options.threads):
        report = Report(options.threads, allow_slow_numpy=options.allow_slow_numpy)
        cases = {
            "views": eigenproblems,
            "pls": least_squares,
            "sparse": sparse,
            "similarity": similarities,
        }
        for name in options.case or cases:
            cases[name](report, options.repeats, options.small)
        report.save(options.json)


if __name__ == "__main__":
    main()
