"""Noisy MNIST by the protocol of Wang et al. (2015): ``python -m bench.noisy_mnist --json noisy.json``.

Two views of digits that share their class alone, see ``fastcca.datasets.make_noisy_mnist``. Models are
fitted to 50,000 pairs without labels (``--pairs 450000``: with nine angles and partners of each image, as
Michaeli et al. 2016), and the first view of the 10,000 test images is projected. Three figures in percent:
``error`` of a linear one-against-one support vector machine trained on the training projections,
``accuracy`` of spectral clustering of the test projections against the classes, and ``nmi``, the mutual
information of the two divided by the larger entropy. Whatever is chosen (ridge, width, number of
projections, the machine's C, neighbours of the clustering) is chosen on the 10,000 validation images; test
images are looked at once.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import SpectralClustering
from sklearn.metrics import confusion_matrix, normalized_mutual_info_score
from sklearn.multiclass import OneVsOneClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils import Bunch
from torch import nn

from bench.digit_moves import moved
from bench.harness import limit_threads, options_and_report, time_once
from fastcca import CCA, KernelCCA, Moments
from fastcca.datasets import make_noisy_mnist
from fastcca.deep import MLP, DeepCCA, GaussianNoise, MultimodalAutoencoder
from fastcca.functional import median_gamma

Array = NDArray[Any]
Chosen = dict[str, float]

N_PAIRS = 50_000
SOME = slice(10_000)  # the pairs that choices are made with
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # C of the support vector machines
NEIGHBOURS = (10, 20, 30, 50)  # of the clustering
N_DEEP = 10  # outputs of the networks


class Fitted(NamedTuple):
    """What projects the first view, and what was chosen for it on the validation images."""

    project: Callable[[Array], Array]
    chosen: Chosen
    ordered: bool = False  # whether the first columns say most, so that fewer may be clustered


# ---- the three figures


def machine(train: Array, target: Array, strength: float) -> Any:
    scaled = StandardScaler()
    classifier = OneVsOneClassifier(LinearSVC(C=strength, dual=False))
    classifier.fit(scaled.fit_transform(train), target)
    return lambda rows: classifier.predict(scaled.transform(rows))


def percent_wrong(predict: Any, rows: Array, target: Array) -> float:
    return 100 * float((predict(rows) != target).mean())


def best_strength(train: Array, validation: Array, digits: Bunch) -> tuple[float, float]:
    """The C with the least error on validation images, and that error; of projections of ``SOME`` pairs."""
    errors = {
        strength: percent_wrong(
            machine(train, digits.target_train[SOME], strength), validation, digits.target_validation
        )
        for strength in STRENGTHS
    }
    best = min(errors, key=lambda strength: errors[strength])
    return best, errors[best]


def clusters(rows: Array, neighbours: int) -> Array:
    model = SpectralClustering(
        10, affinity="nearest_neighbors", n_neighbors=neighbours, n_init=20, random_state=0
    )
    return np.asarray(model.fit_predict(rows))


def accuracy(found: Array, target: Array) -> float:
    """Percent in the right cluster, clusters and classes matched one to one for the most agreement."""
    table = confusion_matrix(target, found)
    return 100 * float(table[linear_sum_assignment(-table)].sum()) / len(target)


def evaluate(fitted: Fitted, digits: Bunch) -> dict[str, float]:
    train, validation, test = (
        fitted.project(digits[f"rotated_{split}"]) for split in ("train", "validation", "test")
    )
    strength, _ = best_strength(train[SOME], validation, digits)
    predict = machine(train[:N_PAIRS], digits.target_train[:N_PAIRS], strength)

    def agreement(k: int, neighbours: int) -> float:
        return accuracy(clusters(validation[:, :k], neighbours), digits.target_validation)

    n_columns = test.shape[1]
    widths = sorted({min(k, n_columns) for k in (9, 10, n_columns)}) if fitted.ordered else [n_columns]
    k, neighbours = max(product(widths, NEIGHBOURS), key=lambda choice: agreement(*choice))
    found = clusters(test[:, :k], neighbours)
    return {
        "error": percent_wrong(predict, test, digits.target_test),
        "accuracy": accuracy(found, digits.target_test),
        "nmi": 100 * normalized_mutual_info_score(digits.target_test, found, average_method="max"),
        "validation_error": percent_wrong(predict, validation, digits.target_validation),
    }


# ---- the methods


def least_error(fits: Iterable[Fitted], digits: Bunch) -> Fitted:
    """The one with the least error on the validation images."""

    def validation_error(fitted: Fitted) -> float:
        train = fitted.project(digits.rotated_train[SOME])
        return best_strength(train, fitted.project(digits.rotated_validation), digits)[1]

    return min(fits, key=validation_error)


def leading(model: Any, k: int, chosen: Chosen) -> Fitted:
    """The first k projections."""
    return Fitted(lambda rows: np.asarray(model.transform(rows)[:, :k]), {**chosen, "k": k}, ordered=True)


def fit_cca(digits: Bunch, seed: int) -> Fitted:
    moments = Moments().update(digits.rotated_train, digits.noisy_train, dtype=np.float64)
    models = {reg: CCA(50, reg=reg).fit_moments(moments) for reg in (1e-2, 1e-1, 1.0, 10.0)}
    return least_error(
        (leading(model, k, {"reg": reg}) for reg, model in models.items() for k in (10, 20, 30, 50)),
        digits,
    )


def fit_kernel_cca(digits: Bunch, seed: int, rank: int = 6000) -> Fitted:
    """Kernel CCA on landmarks; widths, ridge and projections chosen with 1500 landmarks of 50,000 pairs."""
    x, y = digits.rotated_train, digits.noisy_train
    medians = median_gamma(x), median_gamma(y)

    def fit(rows: slice, rank: int, choice: Chosen) -> KernelCCA:
        gamma = choice["width_x"] * medians[0], choice["width_y"] * medians[1]
        model = KernelCCA(
            20, gamma=gamma, reg=choice["reg"], rank=rank, pivoting="uniform", random_state=seed
        )
        return model.fit(x[rows], y[rows])

    def candidates() -> Iterator[Fitted]:
        for width_x, width_y, reg in product((2.0, 3.0, 4.0), (0.5, 1.0), (1e-5, 3e-5, 1e-4)):
            choice = {"width_x": width_x, "width_y": width_y, "reg": reg}
            model = fit(slice(N_PAIRS), 1500, choice)
            for k in (10, 20):
                yield leading(model, k, choice)

    best = least_error(candidates(), digits).chosen
    return leading(fit(slice(None), rank, best), int(best["k"]), best)


HIDDEN = (1024,) * 3, (512,) * 3
INPUT_NOISE = 0.5
DEEP = {
    "hidden": HIDDEN,
    "input_noise": INPUT_NOISE,
    "autocast": "bfloat16",
    "validation_fraction": 0.0,
}
N_EPOCHS = {N_PAIRS: 48, 450_000: 10}  # by the number of pairs; DeepCCA's own for others


def first_moved(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """First views turned by up to 15 degrees more, shifted by up to two pixels and stretched by a tenth."""
    return moved(x.view(-1, 28, 28), degrees=15, pixels=2, stretch=0.1).view(-1, 784), y


def fit_deep_cca(digits: Bunch, seed: int, n_epochs: dict[int, int] = N_EPOCHS, **changes: Any) -> Fitted:
    epochs = n_epochs.get(len(digits.rotated_train))
    model = DeepCCA(N_DEEP, augment=first_moved, n_epochs=epochs, random_state=seed, **{**DEEP, **changes})
    model.fit(digits.rotated_train, digits.noisy_train)
    return Fitted(model.transform, {}, ordered=True)


def fit_convolutional(digits: Bunch, seed: int) -> Fitted:
    """A small convolutional network for the first views, whose digits are clean."""
    torch.manual_seed(seed)
    layers = nn.Sequential(
        GaussianNoise(INPUT_NOISE),
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 32, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128 * 7 * 7, 512),
        nn.ReLU(),
        nn.Linear(512, N_DEEP),
    )
    network = nn.utils.convert_conv2d_weight_memory_format(layers, torch.channels_last)
    encoders = network, MLP(784, [*HIDDEN[1], N_DEEP], input_noise=INPUT_NOISE)
    return fit_deep_cca(digits, seed, {N_PAIRS: 24, 450_000: 8}, encoders=encoders)


def fit_autoencoder(digits: Bunch, seed: int) -> Fitted:
    """Both views from either: what is held of the first view alone."""
    model = MultimodalAutoencoder(50, (1024,), random_state=seed)
    model.fit({"rotated": digits.rotated_train, "noisy": digits.noisy_train})
    return Fitted(lambda rows: np.asarray(model.transform({"rotated": rows})), {})


class Method(NamedTuple):
    """What fits it, whether its seeds matter, and its published error with 50,000 and 450,000 pairs."""

    fit: Callable[[Bunch, int], Fitted]
    seeds: bool
    published: dict[int, float]


METHODS = {
    "cca": Method(fit_cca, False, {N_PAIRS: 19.6, 450_000: 18.9}),
    "kernel-cca": Method(fit_kernel_cca, False, {N_PAIRS: 4.5, 450_000: 3.1}),
    "deep-cca": Method(fit_deep_cca, True, {N_PAIRS: 2.9, 450_000: 0.9}),
    "deep-cca-convolutional": Method(fit_convolutional, True, {N_PAIRS: 2.9, 450_000: 0.9}),
    "dccae": Method(partial(fit_deep_cca, reconstruction=1e-3), True, {N_PAIRS: 2.2}),
    "autoencoder": Method(fit_autoencoder, True, {N_PAIRS: 11.9}),
}

FIGURES = ("error", "accuracy", "nmi")


def measure(report: Any, name: str, n_pairs: int, seeds: list[int], threads: int, path: str | None) -> None:
    """A row for each seed of the pairs and the model, and one of their means."""
    method = METHODS[name]
    rows = []
    for seed in seeds if method.seeds else seeds[:1]:
        digits = make_noisy_mnist(n_pairs, random_state=seed)
        torch.set_num_threads(threads)
        fitted, seconds = time_once(partial(method.fit, digits, seed))
        rows.append({**evaluate(fitted, digits), **fitted.chosen, "seconds": seconds})
        report.add(name, f"{n_pairs} pairs, seed {seed}", **rows[-1])
        report.save(path)
    if len(rows) > 1:
        summary = {}
        for figure in FIGURES:
            values = [row[figure] for row in rows]
            summary[figure], summary[f"{figure}_sd"] = statistics.mean(values), statistics.stdev(values)
        seconds = statistics.mean(row["seconds"] for row in rows)
        what = f"{n_pairs} pairs, {len(rows)} seeds"
        report.add(name, what, method.published.get(n_pairs), **summary, seconds=seconds)
        report.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", action="append", choices=list(METHODS), help="may be repeated")
    parser.add_argument("--pairs", type=int, default=N_PAIRS)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    options, report = options_and_report(parser)
    with limit_threads(options.threads):
        for name in options.method or METHODS:
            measure(report, name, options.pairs, options.seeds, options.threads, options.json)
    report.save(options.json)


if __name__ == "__main__":
    main()
