"""Hearing and seeing digits: ``python -m bench.audiovisual --json results.json --pictures docs/images``.

Spoken digits paired with handwritten ones by class; the test voices and images are of people whom no model
has met. Every choice is made with the voice of one more speaker, who joins the training afterwards. Four
experiments, after Ngiam et al. (2011): classification from sound, from images and from both, also with
noise; a classifier taught on one modality and tested on the other; filling in the missing modality; and what
is perceived where sound and image disagree, as McGurk and MacDonald asked.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from bench.audiovisual_data import Array, Digits, Spread, load, told
from bench.audiovisual_filling import fill_in
from bench.audiovisual_models import METHODS, Encode, Method, accuracies, choose, classifiers
from bench.audiovisual_tuning import tune
from bench.harness import Report, limit_threads, time_once
from fastcca.datasets import make_incongruent_pairs


def perceived(encode: Encode, digits: Digits, pairs: Sequence[tuple[int, int]], seed: int) -> Array:
    """Shares of the ten answers, (pairs, 10), a classifier of both modalities being shown those pairs."""
    y = digits.held_out_target
    rows = make_incongruent_pairs(y, y, pairs, n_pairs=100, random_state=seed)
    codes = encode(
        {"audio": digits.held_out["audio"][rows.audio], "image": digits.held_out["image"][rows.image]}
    )
    answers = classifiers(encode, digits)["both"].predict(codes).reshape(len(pairs), -1)
    table: Array = (answers[:, :, np.newaxis] == np.arange(10)).mean(axis=1)
    return table


DISAGREE = [(a, b) for a in range(10) for b in range(10) if a != b]
AGREE = [(a, a) for a in range(10)]


def summary(table: Array) -> dict[str, float]:
    """Of the pairs that disagree: what was heard, what was seen, the third that most pairs were taken for."""
    heard = np.array([table[i, a] for i, (a, _) in enumerate(DISAGREE)])
    seen = np.array([table[i, b] for i, (_, b) in enumerate(DISAGREE)])
    return {
        "heard": 100 * float(heard.mean()),
        "seen": 100 * float(seen.mean()),
        "a third": 100 * float((1 - heard - seen).mean()),
    }


def strongest(table: Array) -> tuple[int, int, int]:
    """The pair, and the third digit, that is most often perceived where sound and image disagree."""
    thirds = [
        (table[i, c], (a, b, c)) for i, (a, b) in enumerate(DISAGREE) for c in range(10) if c not in (a, b)
    ]
    return max(thirds)[1]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--n-train", type=int, default=2400)
    parser.add_argument("--n-test", type=int, default=2000)
    parser.add_argument("--method", action="append", choices=list(METHODS), help="only this one; repeatable")
    parser.add_argument("--experiments", type=int, nargs="+", choices=range(1, 5), default=[1, 2, 3, 4])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--allow-slow-numpy", action="store_true")
    parser.add_argument("--pictures", metavar="FOLDER", help="draw filled-in images there")
    parser.add_argument("--tune", action="store_true", help="only choose what all runs share, see --help")
    parser.add_argument("--json", metavar="PATH", help="store machine, versions and rows")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with limit_threads(options.threads):
        report = Report(options.threads, allow_slow_numpy=options.allow_slow_numpy)
        _, seconds = time_once(lambda: (tune_shared if options.tune else run)(report, options))
        report.add("all", "seconds", seconds=seconds)
        report.save(options.json)


def held_out_voice(options: Any) -> Digits:
    """The pairs that choices are made with."""
    return load(options.n_train, options.n_test // 2, 0, validation=True)


def tune_shared(report: Report, options: Any) -> None:
    tune(report, held_out_voice(options))


def run(report: Report, options: Any) -> None:
    tuning = held_out_voice(options)
    seeds = [load(options.n_train, options.n_test, seed, validation=False) for seed in range(options.seeds)]
    if 3 in options.experiments:
        fill_in(report, tuning, seeds, options.pictures)
    if set(options.experiments) != {3}:
        classify(report, options, tuning, seeds)


def classify(report: Report, options: Any, tuning: Digits, seeds: Sequence[Digits]) -> None:
    """Experiments 1, 2 and 4, for which each method is chosen once."""
    chosen: dict[str, Mapping[str, Any]] = {}
    for name in options.method or METHODS:
        if name == "autoencoders, then CCA" and "single-modality autoencoders" in chosen:
            # the autoencoders as they were chosen by themselves; here the ridge alone is
            learnt = chosen["single-modality autoencoders"]
            method = METHODS[name]
            METHODS[name] = Method(method.fit, [{**learnt, **grid} for grid in method.grid])
        chosen[name], seconds = time_once(partial(choose, METHODS[name], tuning))
        report.add("chosen", name, **told(chosen[name]), seconds=seconds)
    for name, grid in chosen.items():
        found = Spread()
        models: list[Encode] = []

        def fit(name: str = name, grid: Any = grid, found: Spread = found, models: Any = models) -> None:
            for seed, digits in enumerate(seeds):
                models.append(METHODS[name].fit(digits.train, seed, **grid))
                found.add(accuracies(models[-1], digits))

        _, seconds = time_once(fit)
        report.add("1, 2", name, **found.texts(), seconds=seconds)
        if name in ("bimodal autoencoder", "early fusion"):
            mcgurk(report, name, models, seeds)


def mcgurk(report: Report, name: str, models: Sequence[Encode], seeds: Sequence[Digits]) -> None:
    tables = [
        perceived(model, digits, DISAGREE + AGREE, seed)
        for seed, (model, digits) in enumerate(zip(models, seeds, strict=True))
    ]
    spread = Spread()
    for table in tables:
        congruent = table[len(DISAGREE) :].diagonal().mean()
        spread.add({**summary(table[: len(DISAGREE)]), "right where they agree": 100 * float(congruent)})
    report.add("4", name, **spread.texts())
    mean = np.mean(tables, axis=0)
    heard, seen, third = strongest(mean[: len(DISAGREE)])
    for a, b in ((heard, heard), (seen, seen), (heard, seen)):
        row = mean[(DISAGREE + AGREE).index((a, b))]
        answers: dict[str, Any] = {f"answer {c}": f"{100 * row[c]:.1f}" for c in (heard, seen, third)}
        report.add("4", f"{name}: hears {a}, sees {b}", **answers)


if __name__ == "__main__":
    main()
