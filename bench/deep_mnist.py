"""Deep CCA on the halves of MNIST: ``python -m bench.deep_mnist``.

Total correlation at k = 50 on the test images, of the scores that the fitted model gives (projections and
their order from the training images). Hyperparameters were chosen on 6,000 training images held out; the
models here are fitted to all 60,000, a twentieth of which chooses the epoch. Published for this task:
CCA 28.0, kernel CCA 33.0, Deep CCA 39.7 (Andrew et al., 2013); 44.5 by 6,000 Nyström features (Lopez-Paz et
al., 2014).
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from typing import Any

import numpy as np
import torch

from bench.harness import Report, limit_threads, time_once
from fastcca.datasets import load_mnist_halves
from fastcca.deep import DeepCCA
from fastcca.metrics import total_correlation

K = 50

# The defaults but for products in bfloat16, which CPUs with AVX-512 BF16 multiply at twice the rate.
MINIBATCH: dict[str, Any] = {"autocast": "bfloat16"}

# As Andrew et al.: one wide hidden layer of their sigmoid, pretrained, and every row in each step.
LBFGS: dict[str, Any] = {
    "hidden": ((2038,), (1608,)),
    "activation": "nonsaturating",
    "optimizer": "lbfgs",
    "pretrain": "denoising",
    "weight_decay": 1e-5,
    "epochs": 60,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--recipes", nargs="*", choices=["minibatch", "lbfgs"], default=["minibatch", "lbfgs"]
    )
    parser.add_argument("--held-out", action="store_true", help="score on 6,000 training images instead")
    parser.add_argument("--json")
    parser.add_argument("--allow-slow-numpy", action="store_true")
    arguments = parser.parse_args()
    report = Report(arguments.threads, arguments.allow_slow_numpy)
    torch.set_num_threads(arguments.threads)
    mnist = load_mnist_halves()
    left, right = (a.astype(np.float32) for a in (mnist.left_train, mnist.right_train))
    left_test, right_test = mnist.left_test, mnist.right_test
    if arguments.held_out:
        order = np.random.default_rng(12345).permutation(len(left))
        left_test, right_test = left[order[:6000]], right[order[:6000]]
        left, right = left[order[6000:]], right[order[6000:]]

    def run(recipe: dict[str, Any], seed: int) -> tuple[float, float, float]:
        model, seconds = time_once(partial(DeepCCA(K, random_state=seed, **recipe).fit, left, right))
        train = float(model.canonical_correlations_.sum())
        return total_correlation(*model.transform_views(left_test, right_test)), train, seconds

    with limit_threads(arguments.threads):
        if "minibatch" in arguments.recipes:
            totals = []
            for seed in range(arguments.seeds):
                total, train, seconds = run(MINIBATCH, seed)
                totals.append(total)
                report.add("c", f"minibatches, seed {seed}", total=total, train=train, seconds=seconds)
            spread = statistics.stdev(totals) if len(totals) > 1 else 0.0
            report.add("c", "minibatches", mean=statistics.mean(totals), sd=spread, target=46.8)
        if "lbfgs" in arguments.recipes:
            total, train, seconds = run(LBFGS, 0)
            report.add(
                "c", "L-BFGS, denoising pretraining", total=total, train=train, seconds=seconds, target=39.7
            )
    report.save(arguments.json)


if __name__ == "__main__":
    main()
