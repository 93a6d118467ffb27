"""Animals with Attributes by the protocol of Hwang and Sigal (2014): ``python -m bench.awa``.

30 images a class for training, 30 for validation, 30 for the test, ten random splits; every parameter is
chosen on validation images by one criterion for all methods, and the test images are looked at once. Flat
hit@1, 2, 5 and hierarchical precision@2, 5, means and standard errors over the splits, differences to LME
split by split. Then few-shot learning (two images of each of 10 classes after training on the 40 others) and
zero-shot learning. Splits run in processes of one thread each; those in ``--cache`` are not run again.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from bench.awa_data import Animals, Split, load, measures, split
from bench.awa_pictures import draw
from bench.awa_report import markdown
from bench.awa_transfer import few_shot_split, zero_shot_split
from bench.harness import machine
from fastcca import set_num_threads
from fastcca.embedding import (
    AttributeHierarchyLabelEmbedding,
    AttributeLabelEmbedding,
    HierarchyLabelEmbedding,
    LargeMarginEmbedding,
    LargeMarginTaxonomyEmbedding,
    NearestClassMean,
    RidgeEmbedding,
    UnifiedSemanticEmbedding,
)

Parameters = dict[str, Any]
FIRST_SPLIT = 10  # the results of 0 to 9 were seen before methods and criterion had their present form


@dataclass(frozen=True)
class Method:
    """A row: how it is made from its parameters, and what may be chosen for each of them, the start first."""

    make: Callable[[Animals, Parameters], Any]
    grid: Mapping[str, Sequence[Any]]
    loss: str  # the form of L_C
    starts_from: str | None = None  # a row whose choices of the same parameters are the start


def _use(row: str, loss: Any, animals: Animals, p: Parameters) -> Any:
    semantic = row != "LME"
    mu1 = p.get("mu_s", 0.0), p.get("mu_a", 0.0)
    given = {name: p[name] for name in ("mu2", "gamma2", "lambda1", "lambda2") if name in p}
    return UnifiedSemanticEmbedding(
        animals.taxonomy if semantic else None,
        animals.attributes if semantic else None,
        **{"mu2": 0.0, **given},
        mu1=mu1,
        loss=loss,
        beta=p.get("beta", "learned"),
        temperature=1.0,
        random_state=0,
    )


def _rows(loss: str, name: str) -> dict[str, Method]:
    """LME and the settings of USE with one form of L_C."""
    soft = loss == "softmax"
    norms: dict[str, tuple[float, ...]] = {
        "lambda1": (0.003, 0.005, 0.002) if soft else (0.2, 0.1, 0.4),
        "lambda2": (0.006, 0.004, 0.01, 0.02) if soft else (0.1, 0.03, 0.3),
    }
    s: dict[str, tuple[float, ...]] = {"mu_s": (0.1, 0.03, 0.3) if soft else (0.3, 0.1, 1.0)}
    a: dict[str, tuple[float, ...]] = {"mu_a": (0.3, 0.1, 1.0) if soft else (3.0, 1.0, 10.0)}
    lme = f"LME ({name})"

    def plain(animals: Animals, p: Parameters) -> Any:
        return LargeMarginEmbedding(
            loss="softmax" if soft else "hinge",
            reg=p["lambda1"],
            reg_labels=p["lambda2"],
            temperature=1.0,
            random_state=0,
        )

    # R does a part of the norms' work
    reg: dict[str, tuple[Any, ...]] = {
        "mu2": (0.005, 0.0035, 0.007) if soft else (0.1, 0.05, 0.2),
        "lambda2": (0.003, 0.002, 0.004) if soft else (0.03, 0.1),
        "mu_s": (0.0, 0.1) if soft else (0.0, 0.3),
        "mu_a": (0.3, 1.0) if soft else (3.0, 10.0),
        "gamma2": (1.0,),
        "lambda1": (0.005,) if soft else (0.2,),
    }
    use = partial(_use, "USE-Reg", loss)
    return {
        lme: Method(plain, norms, name),
        f"LME-MTL-S ({name})": Method(partial(_use, "LME-MTL-S", loss), s | norms, name, lme),
        f"LME-MTL-A ({name})": Method(partial(_use, "LME-MTL-A", loss), a | norms, name, lme),
        f"USE-No Reg ({name})": Method(partial(_use, "USE-No Reg", loss), s | a | norms, name, lme),
        f"USE-Reg ({name})": Method(use, reg | {"beta": ("attributes",)}, name),
        **({f"USE-Reg ({name}), coefficients learned": Method(use, reg, name)} if soft else {}),
    }


def _prototypes(kind: Any, *semantics: str) -> Method:
    def make(animals: Animals, p: Parameters) -> Any:
        known = {name: getattr(animals, name) for name in semantics}
        return kind(**known, loss="rank", temperature=1.0, random_state=0, **p)

    grid = {"reg": (0.003, 0.001, 0.0003, 0.01, 0.03, 0.1), "learning_rate": (0.1, 0.03, 0.3)}
    return Method(make, grid, "rank")


METHODS: dict[str, Method] = {
    "Ridge": Method(
        lambda _, p: RidgeEmbedding(temperature=1.0, **p), {"reg": (0.03, 0.003, 0.01, 0.1, 0.3)}, "squares"
    ),
    "NCM": Method(
        lambda _, p: NearestClassMean("learned", temperature=1.0, random_state=0, **p),
        {"reg": (3e-4, 3e-5, 1e-4, 1e-3, 3e-3)},
        "softmax",
    ),
    "NCM, plain": Method(lambda _, p: NearestClassMean(temperature=1.0), {}, "none"),
    **_rows("hinge", "hinge"),
    **_rows("softmax", "softmax"),
    "LMTE": Method(
        lambda animals, p: LargeMarginTaxonomyEmbedding(animals.taxonomy, temperature=1.0, **p),
        {"mu": (0.1, 0.03, 0.3), "reg": (0.1, 0.03, 0.3, 1.0)},
        "hinge with costs",
    ),
    "ALE": _prototypes(AttributeLabelEmbedding, "attributes"),
    "HLE": _prototypes(HierarchyLabelEmbedding, "taxonomy"),
    "AHLE": _prototypes(AttributeHierarchyLabelEmbedding, "taxonomy", "attributes"),
}


def criterion(found: Mapping[str, float]) -> float:
    """What parameters are chosen by, on validation images, for every method: hits count four times."""
    return 4 * found["hit@1"] + found["hp@5"]


def tune(animals: Animals, method: Method, rows: Split, start: Parameters) -> tuple[Parameters, Any, int]:
    """The choice on validation images, one parameter after the other, twice round; its model; the fits."""
    tried: dict[str, tuple[float, Any]] = {}

    def value(p: Parameters) -> float:
        key = json.dumps(p, sort_keys=True)
        if key not in tried:
            model = method.make(animals, p).fit(animals.X[rows.train], animals.y[rows.train])
            tried[key] = criterion(measures(animals, model, rows.validation)), model
        return tried[key][0]

    best = {name: start.get(name, values[0]) for name, values in method.grid.items()}
    for _ in range(2):
        before = dict(best)
        for name, values in method.grid.items():
            candidates = dict.fromkeys([best[name], *values])
            best[name] = max(candidates, key=lambda choice: value({**best, name: choice}))
        if best == before:
            break
    value(best)
    return best, tried[json.dumps(best, sort_keys=True)][1], len(tried)


def table_split(animals: Animals, seed: int, found: dict[str, Any]) -> dict[str, Any]:
    """Every method on one split, but for the rows that are found already."""
    rows = split(animals, seed)
    for name, method in METHODS.items():
        if name in found:
            continue
        begun = time.perf_counter()
        start = found[method.starts_from]["chosen"] if method.starts_from else {}
        chosen, model, fits = tune(animals, method, rows, start)
        found[name] = {
            "chosen": chosen,
            "validation": measures(animals, model, rows.validation),
            "test": measures(animals, model, rows.test),
            "fits": fits,
            "seconds": time.perf_counter() - begun,
        }
    return {name: found[name] for name in METHODS}


PARTS: dict[str, Callable[[Animals, int, dict[str, Any]], dict[str, Any]]] = {
    "table": table_split,
    "few-shot": lambda animals, seed, found: found or few_shot_split(animals, seed),
    "zero-shot": lambda animals, seed, found: found or zero_shot_split(animals, seed),
}


def _run(part: str, seed: int, cache: str) -> tuple[str, int, dict[str, Any]]:
    path = Path(cache) / f"{part}-{seed}.json"
    begun = time.perf_counter()
    known = json.loads(path.read_text()) if path.exists() else {}
    found = PARTS[part](_animals(), seed, known)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1))
    print(f"{part}, split {seed}: {time.perf_counter() - begun:.0f} s", flush=True)
    return part, seed, found


_animals = functools.cache(load)


def _one_thread() -> None:
    set_num_threads(1)
    threadpool_limits(1)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--cache", default="awa-splits", help="folder of the splits' results")
    parser.add_argument("--json", metavar="PATH")
    parser.add_argument("--markdown", metavar="PATH")
    parser.add_argument("--pictures", metavar="FOLDER")
    options = parser.parse_args(arguments)

    begun = time.perf_counter()
    results: dict[str, list[dict[str, Any]]] = {part: [] for part in options.part or PARTS}
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), _one_thread) as pool:
        jobs = [
            pool.submit(_run, part, FIRST_SPLIT + i, options.cache)
            for part in results
            for i in range(options.splits)
        ]
        for job in jobs:
            part, _, found = job.result()
            results[part].append(found)
    seconds = time.perf_counter() - begun
    text = markdown(results)
    print(text)
    print(f"{seconds:.0f} s in all, {options.jobs} processes of one thread")
    if options.markdown:
        Path(options.markdown).write_text(text + "\n")
    if options.pictures:
        draw(results, _animals(), options.pictures)
    if options.json:
        about = {"machine": machine(options.jobs), "seconds": seconds, "splits": results}
        Path(options.json).write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
