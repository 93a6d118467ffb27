"""Levels of the tests where nothing is there to find, and coverage of the bootstrap's intervals.

Run from the root of the clone as ``python -m bench.inference_levels``. Nothing is timed; ``--count`` data
sets stand behind every row, and the binomial standard error of a proportion beside it. The tables go into
docs/explanation/limits.md with ``--page``. Exit status 1 if a test rejects more than 5 % by more than three
standard errors, or if the coverage of a default interval is further than 3 points from 95 % by more than two.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.harness import agree
from fastcca import CCA, CCACV, KernelCCA, set_num_threads
from fastcca.inference import bootstrap, permutation_test, wilks_test

Array = NDArray[Any]
Rng = np.random.Generator

LEVEL = 0.05
COVERAGE, POINTS = 0.95, 0.03
PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "limits.md"
BEGIN = "<!-- written by `python -m bench.inference_levels --page` -->"
END = "<!-- end of what it writes -->"


class Null(NamedTuple):
    """Views whose correlation ``which`` is zero, and the estimator to test it."""

    X: Array
    y: Array
    estimator: Any
    which: int = 0
    options: dict[str, Any] = {}  # noqa: RUF012


def paired(
    rng: Rng, n: int, p: int, q: int, true: tuple[float, ...], tails: float = np.inf
) -> tuple[Array, Array]:
    """Columns independent but for pairs correlated ``true``; of a t distribution where tails are given."""
    X, y = rng.standard_normal((n, p)), rng.standard_normal((n, q))
    for i, c in enumerate(true):
        y[:, i] = c * X[:, i] + np.sqrt(1 - c * c) * y[:, i]
    stretch = np.sqrt(tails / rng.chisquare(tails, size=(n, 1))) if np.isfinite(tails) else 1.0
    return X * stretch, y * stretch


def _dummies(rng: Rng) -> Null:
    return Null(np.eye(3)[np.repeat([0, 1, 2], 10)], rng.standard_normal((30, 3)), CCA())


def _rank_deficient(rng: Rng) -> Null:
    X = rng.standard_normal((30, 3)) @ rng.standard_normal((3, 6))
    return Null(X, rng.standard_normal((30, 2)) @ rng.standard_normal((2, 4)), CCA())


def _wide(rng: Rng) -> Null:
    return Null(rng.standard_normal((30, 300)), rng.standard_normal((30, 3)), CCA(1, reg=(50.0, 0.1)))


def _heavy_tails(rng: Rng) -> Null:
    return Null(rng.standard_t(2, (30, 4)), rng.standard_t(2, (30, 3)), CCA(1))


def _kernel(rng: Rng) -> Null:
    return Null(rng.standard_normal((40, 3)), rng.standard_normal((40, 3)), KernelCCA(1))


def _chosen_ridge(rng: Rng) -> Null:
    search = CCACV(1, regs=np.logspace(-3, 1, 5))
    return Null(rng.standard_normal((30, 12)), rng.standard_normal((30, 10)), search)


def _later(n: int, p: int, q: int, *true: float, reg: float = 0.0) -> Callable[[Rng], Null]:
    return lambda rng: Null(*paired(rng, n, p, q, true), CCA(len(true) + 1, reg=reg), len(true))


def _confounded(c: int, **options: Any) -> Callable[[Rng], Null]:
    def make(rng: Rng) -> Null:
        Z = rng.standard_normal((40, c))
        X, y = (rng.standard_normal((40, d)) + Z @ rng.standard_normal((c, d)) for d in (4, 3))
        return Null(X, y, CCA(1), options={"confounds": Z if c else None, **options})

    return make


def _confounded_kernel(rng: Rng) -> Null:
    null = _confounded(5)(rng)
    return null._replace(estimator=KernelCCA(1))


def _within(rng: Rng) -> Null:
    """Blocks whose means correlate, and confounds."""
    blocks, Z = np.repeat(np.arange(8), 6), rng.standard_normal((48, 4))
    shared = np.repeat(2 * rng.standard_normal((8, 1)), 6, axis=0)
    X, y = (shared + rng.standard_normal((48, d)) + Z @ rng.standard_normal((4, d)) for d in (3, 2))
    return Null(X, y, CCA(1), options={"blocks": blocks, "confounds": Z})


def _whole(rng: Rng) -> Null:
    """Rows that hardly vary within blocks."""
    X, y = (
        np.repeat(rng.standard_normal((16, d)), 4, axis=0) + 0.3 * rng.standard_normal((64, d))
        for d in (3, 2)
    )
    return Null(X, y, CCA(1), options={"blocks": np.repeat(np.arange(16), 4), "exchange": "whole"})


def _series(rng: Rng) -> Null:
    series = rng.standard_normal((300, 4))
    for t in range(1, 300):
        series[t] += 0.9 * series[t - 1]
    return Null(series[100:, :2], series[100:, 2:], CCA(1), options={"exchange": "shift"})


def _held_out(rng: Rng) -> Null:
    null = _confounded(3)(rng)
    return null._replace(options={**null.options, "statistic": "held-out"})


PERMUTED: dict[str, Callable[[Rng], Null]] = {
    "dummies of three groups": _dummies,
    "rank 3 of 6, 2 of 4 columns": _rank_deficient,
    "300 columns, 30 rows, ridge": _wide,
    "heavy tails (t, 2 degrees)": _heavy_tails,
    "rbf kernels": _kernel,
    "ridge chosen by CCACV": _chosen_ridge,
    "4th after .99 .98 .97, n = 30, 10 + 8": _later(30, 10, 8, 0.99, 0.98, 0.97),
    "the same, 8 + 10": _later(30, 8, 10, 0.99, 0.98, 0.97),
    "the same, ridge .1": _later(30, 10, 8, 0.99, 0.98, 0.97, reg=0.1),
    "2nd after .9, n = 20, 4 + 3": _later(20, 4, 3, 0.9),
    **{f"{c} confounds, n = 40, 4 + 3": _confounded(c) for c in (0, 3, 8, 15)},
    **{f"{c} confounds, Wilks's lambda": _confounded(c, statistic="wilks") for c in (0, 3, 8, 15)},
    "8 confounds, Theil": _confounded(8, residuals="theil"),
    "8 confounds, Freedman-Lane": _confounded(8, residuals="freedman-lane"),
    "5 confounds, rbf kernels": _confounded_kernel,
    "3 confounds, held-out correlation": _held_out,
    "8 blocks of 6, within, 4 confounds": _within,
    "16 blocks of 4, as wholes": _whole,
    "series (autocorrelation .9), shifts": _series,
}


def permutation_levels(count: int, only: str = "") -> Iterator[dict[str, Any]]:
    for name, make in PERMUTED.items():
        if only not in name:
            continue
        n = count // 4 if name == "ridge chosen by CCACV" else count
        hits = 0
        for seed in range(n):
            null = make(np.random.default_rng(seed))
            options = {"n_permutations": 39, "random_state": seed, **null.options}
            test = permutation_test(null.estimator, null.X, null.y, **options)
            hits += test.p_value[null.which] <= LEVEL
        yield {
            "test": "permutation",
            "data": name,
            "sets": n,
            "rejected": hits / n,
            "error": _error(LEVEL, n),
        }


def wilks_levels(count: int) -> Iterator[dict[str, Any]]:
    cases: dict[str, Callable[[Rng], Null]] = {
        "dummies of three groups": _dummies,
        "rank 3 of 6, 2 of 4 columns": _rank_deficient,
        "n = rank X + rank y + 1 = 9": lambda rng: Null(*paired(rng, 9, 6, 2, ()), CCA()),
        "n = 20, 5 + 4": lambda rng: Null(*paired(rng, 20, 5, 4, ()), CCA()),
        "2nd after .95, n = 30, 4 + 3": lambda rng: Null(*paired(rng, 30, 4, 3, (0.95,)), CCA(), 1),
    }
    for name, make in cases.items():
        hits = 0
        for seed in range(count):
            null = make(np.random.default_rng(seed))
            hits += wilks_test(null.estimator.fit(null.X, null.y)).p_value[null.which] <= LEVEL
        yield {
            "test": "Wilks",
            "data": name,
            "sets": count,
            "rejected": hits / count,
            "error": _error(LEVEL, count),
        }


class Population(NamedTuple):
    n: int
    p: int
    q: int
    true: tuple[float, ...]
    reg: float = 0.0
    tails: float = np.inf


POPULATIONS = [
    Population(200, 10, 10, (0.8, 0.5)),
    Population(100, 5, 4, (0.9, 0.6, 0.3)),
    Population(60, 3, 3, (0.7,)),
    Population(80, 10, 10, (0.8,)),
    Population(60, 10, 10, (0.8,)),
    Population(50, 10, 10, (0.9,)),
    Population(30, 5, 5, (0.7,)),
    Population(500, 20, 20, (0.7, 0.4)),
    Population(200, 10, 10, (0.8, 0.5), reg=0.1),
    Population(200, 10, 10, (0.8, 0.5), reg=1.0),
    Population(200, 10, 10, (0.8, 0.5), tails=5.0),
]


def coverage(count: int, populations: list[Population] = POPULATIONS) -> Iterator[dict[str, Any]]:
    """Of 95 % intervals, for views whose columns are mixed so that loadings lie between -1 and 1."""
    for of in populations:
        k = len(of.true)
        mix = _mixing(of.p)
        truth = {
            "canonical_correlations": np.array(of.true),
            "x_loadings": mix[:, :k] / np.linalg.norm(mix, axis=1)[:, None],
        }
        if of.reg:
            mix = np.eye(of.p)  # the ridge is in the columns' units
        if np.isinf(of.tails) and not of.reg:
            truth["x_weights"] = np.linalg.inv(mix).T[:, :k]
        hits: dict[tuple[str, str], Any] = {}
        for seed in range(count):
            X, y = paired(np.random.default_rng(seed), of.n, of.p, of.q, of.true, of.tails)
            X = X @ mix.T
            found = bootstrap(CCA(k, reg=of.reg), X, y, random_state=seed)
            centre = found.interval("x_weights", "basic")
            sign = np.sign((sum(centre) * (mix @ mix.T @ np.linalg.inv(mix).T[:, :k])).sum(axis=0))
            for name, right in truth.items():
                if of.reg and name != "canonical_correlations":
                    continue
                right = right if name == "canonical_correlations" else right * sign
                methods = ("corrected", "percentile") if name == "canonical_correlations" else ("corrected",)
                for method in methods:
                    low, high = found.interval(name, method)
                    inside = (low <= right) & (right <= high)
                    if inside.ndim == 2:
                        inside = inside.mean(axis=0)
                    hits[name, method] = hits.get((name, method), 0) + inside
        for (name, method), inside in hits.items():
            yield {
                "population": of._asdict(),
                "interval": f"{name}, {method}",
                "sets": count,
                "covered": (inside / count).tolist(),
                "error": _error(0.95, count),
            }


def _mixing(p: int) -> Array:
    rotation = np.linalg.qr(np.random.default_rng(99).standard_normal((p, p)))[0]
    return np.asarray(rotation * np.linspace(1, 2, p))


def _error(proportion: float, count: int) -> float:
    return float(np.sqrt(proportion * (1 - proportion) / count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="data sets of each row (default 200)")
    parser.add_argument("--part", choices=("permutation", "wilks", "coverage"), action="append")
    parser.add_argument("--only", help="rows of the permutation tests whose name contains this")
    parser.add_argument("--json", help="file for the rows")
    parser.add_argument("--page", action="store_true", help=f"write the tables into {PAGE.name}")
    arguments = parser.parse_args()
    if arguments.page and (arguments.only or len({"permutation", "wilks"} & set(arguments.part or ())) == 1):
        parser.error("--page takes all tests, or coverage alone: permutation and wilks are one table")
    set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # of n - 1 < rank X + rank y, which is meant
    parts: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
        "permutation": permutation_levels,
        "wilks": wilks_levels,
        "coverage": coverage,
    }
    rows = []
    for part in arguments.part or parts:
        only = (arguments.only,) if arguments.only and part == "permutation" else ()
        for row in parts[part](arguments.count, *only):
            rows.append(row)
            print(_line(row), flush=True)
            if arguments.json:
                with open(arguments.json, "w", encoding="utf-8") as file:
                    json.dump(rows, file, indent=1)
    if arguments.page:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        known, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n\n{_renewed(known, tables(rows))}\n{END}{after}", encoding="utf-8")
    wrong = [_line(row) for row in rows if not _right(row)]
    agree("levels and coverage", not wrong, "\n" + "\n".join(wrong))


def _renewed(known: str, found: str) -> str:
    """The tables that were found, and of those that are known the ones with another heading."""
    by_heading: dict[str, str] = {}
    for table in (known + "\n\n" + found).split("\n\n"):
        if table.strip():
            by_heading[table.strip().partition("\n")[0]] = table.strip()
    return "\n\n".join(by_heading.values()) + "\n"


def _right(row: dict[str, Any]) -> bool:
    if "rejected" in row:
        return bool(row["rejected"] <= LEVEL + 3 * row["error"])
    distance = np.abs(np.array(row["covered"]) - COVERAGE)
    return "percentile" in row["interval"] or bool(np.all(distance <= POINTS + 2 * row["error"]))


def tables(rows: list[dict[str, Any]]) -> str:
    """Markdown of what was found."""
    levels = [row for row in rows if "rejected" in row]
    lines = []
    if levels:
        lines += ["| test | data without a relation | data sets | rejected at .05 | standard error |"]
        lines += ["|---|---|---:|---:|---:|"]
        lines += [
            f"| {row['test']} | {row['data']} | {row['sets']} | {row['rejected']:.3f} | {row['error']:.3f} |"
            for row in levels
        ]
        lines += [""]
    covered = [row for row in rows if "covered" in row]
    if covered:
        lines += [
            "| population | data sets | interval | holds the true values of the pairs |",
            "|---|---:|---|---|",
        ]
    for row in covered:
        of = Population(**row["population"])
        shown = ", ".join(f"{c:.1%}" for c in row["covered"])
        name, _, method = row["interval"].replace("_", " ").partition(", ")
        method = "" if method == "corrected" else f" ({method})"
        lines.append(f"| {_described(of)} | {row['sets']} | {name}{method} | {shown} |")
    return "\n".join(lines) + "\n"


def _described(of: Population) -> str:
    true = ", ".join(f"{c:g}" for c in of.true)
    text = f"{of.n} rows, {of.p} + {of.q} columns, correlations {true}"
    text += f", ridge {of.reg:g}" if of.reg else ""
    return text + (f", t of {of.tails:g} degrees" if np.isfinite(of.tails) else "")


def _line(row: dict[str, Any]) -> str:
    if "rejected" in row:
        of = f"{row['test']:12} {row['data']:40}"
        return f"{of} rejected {row['rejected']:.3f} of {row['sets']} (± {row['error']:.3f})"
    covered = " ".join(f"{c:.3f}" for c in row["covered"])
    of = _described(Population(**row["population"]))
    return f"{of:70} {row['interval']:36} covers {covered} (± {row['error']:.3f})"


if __name__ == "__main__":
    main()
