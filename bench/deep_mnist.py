"""Deep CCA on the halves of MNIST: ``python -m bench.deep_mnist recipe --json recipe.json``.

Total correlation at k = 50 on the test images, of the scores that the fitted model gives: projections, their
order and their number come from the training images. Every setting was chosen on 6,000 training images held
out (``--held-out``); without that, the models here are fitted to all 60,000. Published for this task:
CCA 28.0, kernel CCA 33.0, Deep CCA 39.7 (Andrew et al., 2013); 44.5 by 6,000 Nyström features (Lopez-Paz et
al., 2014).

A run is stored after each seed, and goes on from what ``--json`` holds already.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.digit_moves import moved
from bench.harness import Report, limit_threads, time_once
from fastcca.datasets import load_mnist_halves
from fastcca.deep import DeepCCA
from fastcca.metrics import total_correlation

Array = NDArray[np.float32]
K = 50


class Recipe(NamedTuple):
    """Settings of DeepCCA, and what their test total is held against."""

    settings: dict[str, Any]
    target: float
    from_data: Callable[[Array, Array], dict[str, Any]] = lambda left, right: {}  # more settings


def whole_images_moved(left: Array, right: Array) -> dict[str, Any]:
    """Images moved at random before they are cut in halves."""
    means = [torch.from_numpy(view.mean(axis=0)) for view in (left, right)]
    scales = [float(np.sqrt(view.var(axis=0).mean())) for view in (left, right)]  # as DeepCCA's "view"

    def augment(*halves: Tensor) -> tuple[Tensor, ...]:
        images = [
            (half * scale + mean).view(-1, 28, 14)
            for half, mean, scale in zip(halves, means, scales, strict=True)
        ]
        whole = moved(torch.cat(images, dim=2), degrees=5, pixels=1, stretch=0.05, share=0.7)
        return tuple(
            (half.reshape(len(half), -1) - mean) / scale
            for half, mean, scale in zip((whole[:, :, :14], whole[:, :, 14:]), means, scales, strict=True)
        )

    return {"augment": augment}


RECIPES = {
    # Minibatches. Products in bfloat16, which CPUs with AVX-512 BF16 multiply at twice the rate; the noise
    # leaves no overfitting for a validation split to detect, so that all rows train.
    "recipe": Recipe(
        {
            "hidden": (1024,) * 4,
            "n_epochs": 20,
            "autocast": "bfloat16",
            "validation_fraction": 0.0,
        },
        46.8,
    ),
    # Three times as long, and less noise for the moves that the images make.
    "moved": Recipe(
        {
            "hidden": (1024,) * 4,
            "n_epochs": 60,
            "input_noise": 0.3,
            "autocast": "bfloat16",
            "validation_fraction": 0.0,
        },
        48.0,
        whole_images_moved,
    ),
    # As Andrew et al.: one wide hidden layer of their sigmoid, pretrained, and every row in each step.
    "lbfgs": Recipe(
        {
            "hidden": ((2038,), (1608,)),
            "activation": "nonsaturating",
            "optimizer": "lbfgs",
            "pretrain": "denoising",
            "weight_decay": 1e-5,
            "n_epochs": 120,
        },
        39.7,
    ),
    "defaults": Recipe({}, 45.0),
}


def data(held_out: bool) -> list[Any]:
    """Left and right training halves, left and right halves to score on."""
    mnist = load_mnist_halves()
    left, right = (a.astype(np.float32) for a in (mnist.left_train, mnist.right_train))
    if not held_out:
        return [left, right, mnist.left_test.astype(np.float32), mnist.right_test.astype(np.float32)]
    order = np.random.default_rng(12345).permutation(len(left))
    return [view[rows] for rows in (order[6000:], order[:6000]) for view in (left, right)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", choices=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", help="0 1 2 3 4 for the recipe, 0 for the others")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another setting")
    parser.add_argument("--held-out", action="store_true", help="score on 6,000 training images instead")
    parser.add_argument("--rows", type=int, help="only so many training images (to see that it runs)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json")
    parser.add_argument("--verbose", action="store_true", help="show a progress bar")
    parser.add_argument("--allow-slow-numpy", action="store_true")
    options = parser.parse_args()
    report = Report(options.threads, options.allow_slow_numpy)
    torch.set_num_threads(options.threads)

    settings, target, from_data = RECIPES[options.recipe]
    changes = dict(text.split("=", 1) for text in options.set)
    settings = {**settings, **{name: json.loads(value) for name, value in changes.items()}}
    seeds = options.seeds or list(range(5 if options.recipe == "recipe" else 1))
    where = "held out" if options.held_out else "test"
    run = {"recipe": options.recipe, "on": where, "changes": json.dumps(changes), "rows": options.rows or 0}
    known = json.loads(Path(options.json).read_text())["rows"] if _exists(options.json) else []
    report.rows = [row for row in known if "seed" in row]
    left, right, left_test, right_test = data(options.held_out)
    left, right = left[: options.rows], right[: options.rows]

    totals = []
    with limit_threads(options.threads):
        for seed in seeds:
            one = {**run, "seed": seed}
            found = [row for row in report.rows if one.items() <= row.items()]
            if not found:
                made = from_data(left, right)
                model = DeepCCA(K, random_state=seed, verbose=options.verbose, **made, **settings)
                _, seconds = time_once(partial(model.fit, left, right))
                report.add(
                    "c",
                    f"{options.recipe}, seed {seed}",
                    total=total_correlation(*model.transform_views(left_test, right_test)),
                    train=float(model.canonical_correlations_.sum()),
                    seconds=seconds,
                )
                report.rows[-1].update(one, history=model.history_)
                report.save(options.json)
                found = report.rows[-1:]
            totals.append(found[0]["total"])
    spread = statistics.stdev(totals) if len(totals) > 1 else 0.0
    report.add(
        "c",
        f"{options.recipe}, {len(totals)} seeds, {where}",
        target,
        mean=statistics.mean(totals),
        sd=spread,
    )
    report.save(options.json)


def _exists(path: str | None) -> bool:
    return path is not None and Path(path).exists()


if __name__ == "__main__":
    main()
