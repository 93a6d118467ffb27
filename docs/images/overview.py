"""Draws the picture of README and the first page: ``python docs/images/overview.py``."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

from fastcca import CCA, KernelCCA
from fastcca.datasets import load_digit_halves
from fastcca.plotting import CorrelationDisplay, VariateDisplay


def main() -> None:
    digits = load_digit_halves()
    train = np.arange(len(digits.target)) % 3 != 0
    views = digits.left[train], digits.right[train]
    new = digits.left[~train], digits.right[~train]
    models = {"CCA": CCA(10, reg=0.1).fit(*views), "kernel CCA": KernelCCA(10, reg=1e-2).fit(*views)}

    figure = pyplot.figure(figsize=(10.5, 3.2), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1, 1.6, 1.5))
    axes = left.subplots(4, 5)
    for digit, place in zip((0, 3, 5, 8), range(4), strict=True):
        rows = np.flatnonzero(digits.target[~train] == digit)[:2]
        for column, row in ((0, rows[0]), (3, rows[1])):
            for ax, half in zip(axes[place, column : column + 2], (new[0][row], new[1][row]), strict=True):
                ax.imshow(half.reshape(8, 4), cmap="gray_r", vmin=0, vmax=1)
    for ax in axes.flat:
        ax.set_axis_off()
    left.suptitle("two views: halves of digits", fontsize="medium")
    VariateDisplay.from_estimator(models["kernel CCA"], *new, labels=digits.target[~train]).plot(
        middle.subplots()
    ).ax_.set_title("new digits, first pair of variates (kernel CCA)", fontsize="medium")
    ax = right.subplots()
    CorrelationDisplay(
        {
            name: CorrelationDisplay.from_estimator(model, {"": new}).correlations[""]
            for name, model in models.items()
        }
    ).plot(ax)
    ax.set_title("canonical correlations on new digits", fontsize="medium")
    for ax in (middle.axes[0], right.axes[0]):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
