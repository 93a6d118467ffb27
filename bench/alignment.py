"""Aligning the outputs of frozen encoders, by correlation and by contrast: ``python -m bench.alignment``.

Two encoders that never saw a pair are given, and some pairs; heads on their outputs bring the views into
one space. Each loss trains the same heads (linear, or with a hidden layer) by the same optimiser, next to
linear CCA in closed form. Two data sets, with few pairs and with many:

``digits``: halves of MNIST. The encoder of the left halves is an autoencoder of those of 20,000 images, that
of the right halves one of 20,000 others; pairs are of the last 20,000. The score is recall@1: each test half
finds the other among 2000, both directions averaged.

``wikipedia``: articles of ten categories; the histograms of SIFT words and the weights of LDA topics are the
encoders. The score is the mean average precision by category, both directions averaged.

For every loss, head and number of pairs the settings (noise on the inputs, steps; the ridge of CCA; the
power of the correlations that components are weighted by) are chosen on a fifth of the pairs that is held
out, with the first seed; then all pairs are trained on. Five seeds draw the pairs, the initial weights and
the batches.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.harness import limit_threads, options_and_report, time_once
from fastcca import CCA
from fastcca.datasets import load_mnist_halves, load_wikipedia
from fastcca.deep import (
    ContrastiveLoss,
    CorrelationLoss,
    MultimodalAutoencoder,
    PairEmbeddingLoss,
    SigmoidContrastiveLoss,
)
from fastcca.metrics import mean_average_precision, recall_at_k

Array = NDArray[Any]
Pair = tuple[Array, Array]
Choice = dict[str, float]

STEPS = (100, 200, 400, 800)
NOISES = (0.3, 1.0, 2.0)  # in standard deviations of a view
POWERS = (0.0, 1.0, 2.0)
REGS = (1e-2, 1e-1, 1.0, 10.0, 100.0)  # of a variance of 1
BATCH = 500
HIDDEN = 256
LEARNING_RATE = 2e-3


# ---- the data


class Task(NamedTuple):
    """Outputs of two encoders: pairs to align by, pairs to score by ``score``, and what is tried."""

    train: Pair
    target: Array  # of the training rows
    test: Pair
    test_target: Array
    score: Callable[[Pair, Array], float]
    numbers: tuple[int, ...]
    width: int

    def some(self, rows: Array) -> Pair:
        return self.train[0][rows], self.train[1][rows]


def recall(pair: Pair, target: Array) -> float:
    return float(np.mean([recall_at_k(a, b, k=1) for a, b in (pair, pair[::-1])]))


def precision(pair: Pair, target: Array) -> float:
    return float(np.mean([mean_average_precision(a, b, target, target) for a, b in (pair, pair[::-1])]))


def digits() -> Task:
    mnist = load_mnist_halves()
    train, test = [], []
    for side, rows in (("left", slice(20_000)), ("right", slice(20_000, 40_000))):
        encoder = MultimodalAutoencoder(128, (512,), input_noise=0.3, n_epochs=15, random_state=0)
        encoder.fit(mnist[f"{side}_train"][rows])
        outputs = encoder.transform(mnist[f"{side}_train"])
        mean, scale = outputs[rows].mean(axis=0), outputs[rows].std(axis=0).mean()
        train.append((outputs[40_000:] - mean) / scale)
        test.append((encoder.transform(mnist[f"{side}_test"][:2000]) - mean) / scale)
    return Task(
        (train[0], train[1]),
        mnist.target_train[40_000:],
        (test[0], test[1]),
        mnist.target_test[:2000],
        recall,
        (100, 300, 1000, 10_000),
        32,
    )


def wikipedia() -> Task:
    data = load_wikipedia()
    train, test = [], []
    for view in ("image", "text"):
        rows, held_out = (np.sqrt(data[f"{view}_{split}"]) for split in ("train", "test"))
        mean, scale = rows.mean(axis=0), rows.std(axis=0).mean()
        train.append(((rows - mean) / scale).astype(np.float32))
        test.append(((held_out - mean) / scale).astype(np.float32))
    return Task(
        (train[0], train[1]),
        data.target_train,
        (test[0], test[1]),
        data.target_test,
        precision,
        (100, 300, 1000, 2173),
        10,
    )


TASKS = {"digits": digits, "wikipedia": wikipedia}


# ---- what aligns


Found = Iterator[tuple[Choice, Callable[[Pair], Pair]]]


def weighted(model: CCA, power: float, pair: Pair) -> Pair:
    """Canonical variates, each by a power of its correlation."""
    weights = np.maximum(model.canonical_correlations_, 0) ** power
    x, y = model.transform_views(*pair)
    return x * weights, y * weights


def canonical(task: Task, pair: Pair, seed: int, only: Choice | None) -> Found:
    """Linear CCA in closed form."""
    for reg in REGS if only is None else (only["reg"],):
        model = CCA(task.width, reg=reg).fit(*pair)
        for power in POWERS if only is None else (only["power"],):
            yield {"reg": reg, "power": power}, partial(weighted, model, power)


def head(inputs: int, outputs: int, hidden: bool) -> nn.Module:
    if not hidden:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))


LOSSES: dict[str, Callable[[], nn.Module]] = {
    "correlation": partial(CorrelationLoss, reg=1e-3),
    "contrastive": ContrastiveLoss,
    "sigmoid": SigmoidContrastiveLoss,
    "pair hinge": PairEmbeddingLoss,
}


def trained(loss: str, hidden: bool, task: Task, pair: Pair, seed: int, only: Choice | None) -> Found:
    """Heads trained by a loss on minibatches; for correlations a CCA of their outputs orders and weights."""
    stops = STEPS if only is None else (int(only["steps"]),)
    inputs = [torch.from_numpy(np.ascontiguousarray(view, dtype=np.float32)) for view in pair]
    n = len(inputs[0])
    for noise in NOISES if only is None else (only["noise"],):
        torch.manual_seed(seed)
        heads = [head(view.shape[1], task.width, hidden) for view in inputs]
        criterion = LOSSES[loss]()
        parameters = [parameter for module in (*heads, criterion) for parameter in module.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
        for step in range(1, max(stops) + 1):
            rows = torch.randperm(n)[:BATCH]
            outputs = [
                module(view[rows] + noise * torch.randn(len(rows), view.shape[1]))
                for module, view in zip(heads, inputs, strict=True)
            ]
            optimizer.zero_grad()
            criterion(*outputs).backward()
            optimizer.step()
            if step not in stops:
                continue
            choice = {"noise": noise, "steps": step}
            if loss != "correlation":
                yield choice, partial(outputs_of, heads)
                continue
            model = CCA(task.width, reg=1e-3).fit(*outputs_of(heads, pair))
            for power in POWERS if only is None else (only["power"],):
                yield {**choice, "power": power}, partial(weighted_outputs, model, power, heads)


def outputs_of(heads: list[nn.Module], pair: Pair) -> Pair:
    with torch.no_grad():
        x, y = (
            module(torch.from_numpy(np.ascontiguousarray(view, dtype=np.float32))).double().numpy()
            for module, view in zip(heads, pair, strict=True)
        )
    return x, y


def weighted_outputs(model: CCA, power: float, heads: list[nn.Module], pair: Pair) -> Pair:
    return weighted(model, power, outputs_of(heads, pair))


METHODS: dict[str, Callable[..., Found]] = {
    "CCA, closed form": canonical,
    **{
        f"{loss}, {'one hidden layer' if hidden else 'linear'}": partial(trained, loss, hidden)
        for hidden in (False, True)
        for loss in LOSSES
    },
}


# ---- the protocol


def choose(method: Callable[..., Found], task: Task, rows: Array) -> Choice:
    """The settings that score best on a fifth of the pairs."""
    held_out, fitted = rows[: len(rows) // 5], rows[len(rows) // 5 :]
    pair, target = task.some(held_out), task.target[held_out]
    best, best_score = {}, -1.0
    for choice, project in method(task, task.some(fitted), 0, None):
        score = task.score(project(pair), target)
        if score > best_score:
            best, best_score = choice, score
    return best


def measure(report: Any, name: str, task: Task, method: str, n: int, seeds: int) -> None:
    def drawn(seed: int) -> Array:
        return np.random.default_rng(seed).permutation(len(task.target))[:n]

    fit = METHODS[method]
    choice, seconds = time_once(lambda: choose(fit, task, drawn(0)))
    scores = []
    for seed in range(seeds):
        ((_, project),) = fit(task, task.some(drawn(seed)), seed, choice)
        scores.append(task.score(project(task.test), task.test_target))
    spread = statistics.stdev(scores) if seeds > 1 else 0.0
    report.add(
        name, f"{method}, {n} pairs", score=statistics.mean(scores), sd=spread, **choice, seconds=seconds
    )
    report.rows[-1].update(method=method, pairs=n)


def table(rows: list[dict[str, Any]], name: str) -> str:
    """Methods by numbers of pairs; the best of each number is bold, and what is within a deviation of it."""
    found = {(row["method"], row["pairs"]): row for row in rows if row["case"] == name}
    numbers = sorted({n for _, n in found})
    best = {
        n: max((row for (_, m), row in found.items() if m == n), key=lambda row: row["score"])
        for n in numbers
    }
    lines = [
        "| method | " + " | ".join(f"{n} pairs" for n in numbers) + " |",
        "| --- |" + " ---: |" * len(numbers),
    ]
    for method in METHODS:
        cells = []
        for n in numbers:
            row = found.get((method, n))
            if row is None:
                cells.append("")
                continue
            text = f"{row['score']:.3f} ± {row['sd']:.3f}"
            near = row["score"] >= best[n]["score"] - best[n]["sd"]
            cells.append(f"**{text}**" if near else text)
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", action="append", choices=list(TASKS), help="may be repeated")
    parser.add_argument("--method", action="append", choices=list(METHODS), help="may be repeated")
    parser.add_argument("--most", type=int, default=10_000, help="no more pairs than that")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--from-json", metavar="PATH", help="print the tables of a stored run, run nothing")
    options, report = options_and_report(parser)
    if options.from_json:
        rows = json.loads(Path(options.from_json).read_text())["rows"]
        for name in dict.fromkeys(row["case"] for row in rows):
            print(table(rows, name))
        return
    torch.set_num_threads(options.threads)
    with limit_threads(options.threads):
        for name in options.task or TASKS:
            task = TASKS[name]()
            for n, method in product(task.numbers, options.method or METHODS):
                if n <= options.most:
                    measure(report, name, task, method, n, options.seeds)
                    report.save(options.json)


if __name__ == "__main__":
    main()
