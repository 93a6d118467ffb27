"""The demonstration: two halves of real digits, every method built so far, one table, one figure."""

import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, train_test_split

from fastcca._models.atomic_write import replacing
from fastcca.cca.kernel import KernelCCA
from fastcca.cca.model_selection import CCACV
from fastcca.cli._tables import check_output
from fastcca.datasets import get_data_home, load_digit_halves, load_mnist_halves
from fastcca.metrics import column_correlations, partner_ranks
from fastcca.plotting import CorrelationDisplay, VariateDisplay

__all__ = ["METHODS", "Result", "Split", "evaluate", "load", "run"]


class Split(NamedTuple):
    """Two views of the same digits, training and held-out rows."""

    title: str
    left_train: NDArray[Any]
    right_train: NDArray[Any]
    left_test: NDArray[Any]
    right_test: NDArray[Any]
    target_test: NDArray[Any]
    n_components: int


class Result(NamedTuple):
    """What one method reached."""

    train_correlations: NDArray[np.float64]
    test_correlations: NDArray[np.float64]
    recall_at_1: float
    recall_at_5: float
    median_rank: float
    seconds: float
    first_variates: tuple[NDArray[Any], NDArray[Any]]


def _fit_cca(left: NDArray[Any], right: NDArray[Any], k: int) -> Any:
    folds = KFold(5, shuffle=True, random_state=0)
    return CCACV(n_components=k, cv=folds).fit(left, right)


def _fit_deep(left: NDArray[Any], right: NDArray[Any], k: int) -> Any:
    from fastcca.deep import DeepCCA

    # Seconds, not minutes: small networks, few batches.
    large = len(left) > 10_000
    width, epochs = (512, 3) if large else (128, 60)
    return DeepCCA(k, hidden=(width, width), n_epochs=epochs, batch_size=500, random_state=0).fit(left, right)


def _fit_kernel_cca(left: NDArray[Any], right: NDArray[Any], k: int) -> Any:
    # Single precision is plenty for pixels, and twice as fast.
    views = left.astype(np.float32), right.astype(np.float32)
    return KernelCCA(n_components=k, reg=1e-5, pivoting="uniform", random_state=0).fit(*views)


# A method is one entry: its name in the table, and what fits it to the training rows of two views with k
# components and returns something with transform_views. Keep the slowest for large data below ten seconds.
METHODS: dict[str, Callable[[NDArray[Any], NDArray[Any], int], Any]] = {
    "CCA, ridge by CV": _fit_cca,
    "kernel CCA": _fit_kernel_cca,
}
if find_spec("torch") is not None:
    METHODS["Deep CCA, trained short"] = _fit_deep


def fill_in(split: Split) -> tuple[float, float, float]:
    """The missing half: the fraction of the right halves' variance that the left halves explain.

    By a multimodal autoencoder and by the regression of CCA, on the held-out digits; the seconds of the
    first's fit.
    """
    from fastcca.deep import MultimodalAutoencoder

    rows = slice(10_000)  # seconds, not minutes
    views = {"left": split.left_train[rows], "right": split.right_train[rows]}
    start = time.perf_counter()
    epochs = 8 if len(views["left"]) > 5000 else 30
    model = MultimodalAutoencoder(64, activation="tanh", n_epochs=epochs, random_state=0).fit(views)
    seconds = time.perf_counter() - start
    cca = _fit_cca(views["left"], views["right"], split.n_components)
    mean = views["right"].mean(axis=0)
    variance = float(np.square(split.right_test - mean).sum())
    shares = [
        1 - float(np.square(filled - split.right_test).sum()) / variance
        for filled in (
            model.reconstruct({"left": split.left_test})["right"],
            cca.predict(split.left_test),
        )
    ]
    return shares[0], shares[1], seconds


def load(data: str) -> Split:
    """The halves of scikit-learn's digits or of MNIST; ``"auto"``: MNIST where the data home has it."""
    if data == "mnist" or (data == "auto" and (get_data_home() / "mnist").is_dir()):
        mnist = load_mnist_halves(download_if_missing=False)
        return Split(
            "MNIST, 28×28 pixels",
            mnist.left_train,
            mnist.right_train,
            mnist.left_test,
            mnist.right_test,
            mnist.target_test,
            n_components=50,
        )
    digits = load_digit_halves()
    views = train_test_split(
        digits.left, digits.right, digits.target, test_size=0.3, random_state=0, stratify=digits.target
    )
    left_train, left_test, right_train, right_test, _, target_test = views
    return Split(
        "scikit-learn's digits, 8×8 pixels",
        left_train,
        right_train,
        left_test,
        right_test,
        target_test,
        n_components=10,
    )


def evaluate(split: Split, fit: Callable[[NDArray[Any], NDArray[Any], int], Any], k: int) -> Result:
    """Fit on the training rows; correlations, and retrieval of the right half by the left, held out."""
    start = time.perf_counter()
    model = fit(split.left_train, split.right_train, k)
    seconds = time.perf_counter() - start
    left, right = model.transform_views(split.left_test, split.right_test)
    ranks = partner_ranks(left, right)
    return Result(
        train_correlations=column_correlations(*model.transform_views(split.left_train, split.right_train)),
        test_correlations=column_correlations(left, right),
        recall_at_1=float(np.mean(ranks <= 1)),
        recall_at_5=float(np.mean(ranks <= 5)),
        median_rank=float(np.median(ranks)),
        seconds=seconds,
        first_variates=(left[:, 0], right[:, 0]),
    )


_HEADER = """\
                           total correlation     finding the right half        seconds
method                     train    held out     1st   first 5   median rank   to fit"""
_ROW = "{:<23}  {:7.2f}  {:10.2f}  {:6.1%}  {:8.1%}  {:12g}  {:8.2f}"


def run(data: str, n_components: int | None, output: Path) -> None:
    """Print the table, and write the figure where matplotlib is installed."""
    check_output(output, (".png", ".pdf", ".svg"))
    split = load(data)
    k = n_components or split.n_components
    n_train, n_test = len(split.left_train), len(split.left_test)
    click.echo(f"Two views: the left and the right half of handwritten digits ({split.title}).")
    click.echo(
        f"{n_train} digits to learn from, {n_test} held out, {k} pairs of variates. Given a left half, its"
    )
    click.echo(f"right half is looked for among all {n_test}; by chance it has rank {(n_test + 1) / 2:g}.\n")
    click.echo(_HEADER)
    results = {}
    for name, fit in METHODS.items():
        results[name] = found = evaluate(split, fit, k)
        totals = found.train_correlations.sum(), found.test_correlations.sum()
        retrieval = found.recall_at_1, found.recall_at_5, found.median_rank
        click.echo(_ROW.format(name, *totals, *retrieval, found.seconds))
    if find_spec("torch") is not None:
        autoencoder, regression, seconds = fill_in(split)
        click.echo(f"\n{'missing modality: the right half filled in':<49}  R²             seconds to fit")
        click.echo(
            f"{'multimodal autoencoder, from the left half alone':<49}  {autoencoder:13.1%}  {seconds:14.2f}"
        )
        click.echo(f"{'regression of CCA, from the left half alone':<49}  {regression:13.1%}")
    click.echo()
    try:
        draw(split, results, output)
    except ImportError:
        click.echo("For a figure as well: pip install 'fastcca[plot]'")
    else:
        click.echo(f"The correlations and the first pair of variates are drawn in {output}")


def draw(split: Split, results: dict[str, Result], output: Path) -> None:
    """Correlations of every method on the left, the first variates of the last one on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    curves = {}
    for name, result in results.items():
        curves[f"{name}: train"] = result.train_correlations
        curves[f"{name}: held out"] = result.test_correlations
    CorrelationDisplay(curves).plot(left)
    name, best = list(results.items())[-1]
    # A sample: more points would only hide each other.
    u, v, digits = (values[:1000] for values in (*best.first_variates, split.target_test))
    VariateDisplay(u, v, digits).plot(right)
    right.set(xlabel="left half", ylabel="right half", title=f"{name}: {right.get_title()}")
    figure.suptitle(f"Halves of handwritten digits ({split.title})")
    with replacing(output) as temporary:
        figure.savefig(temporary, dpi=150, format=output.suffix[1:])
