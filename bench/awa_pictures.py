"""Pictures of the benchmark on Animals with Attributes: accuracy against sensible mistakes, explanations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.awa_data import Animals, split
from bench.awa_report import values
from fastcca.embedding import UnifiedSemanticEmbedding

__all__ = ["draw"]

COLOURS = {"hinge": "C0", "softmax": "C1"}
EXPLAINED = ("zebra", "polar+bear", "dolphin", "feline")


def draw(results: dict[str, list[dict[str, Any]]], animals: Animals, folder: str) -> None:
    """``awa_table.png`` and ``awa_explain.png`` in a folder."""
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    if results.get("table"):
        _table(results["table"], path / "awa_table.png")
    _explanations(animals, path / "awa_explain.png")


def _table(splits: list[dict[str, Any]], path: Path) -> None:
    """A point for each row, with standard errors."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(8, 5.5))
    written: list[tuple[float, float]] = []
    for row in sorted(splits[0], key=lambda name: float(values(splits, name, "hp@5").mean())):
        x, y = (values(splits, row, measure) for measure in ("hit@1", "hp@5"))
        colour = next((c for name, c in COLOURS.items() if f"({name})" in row), "0.35")
        errors = [v.std(ddof=1) / np.sqrt(len(v)) if len(v) > 1 else 0.0 for v in (x, y)]
        ax.errorbar(x.mean(), y.mean(), errors[1], errors[0], "o", color=colour, markersize=4, elinewidth=0.8)
        # names of neighbours one above the other
        place = max([y.mean(), *(height + 0.24 for at, height in written if abs(at - x.mean()) < 0.9)])
        written.append((float(x.mean()), float(place)))
        ax.annotate(row, (x.mean(), place), (4, 3), textcoords="offset points", fontsize=7.5, color=colour)
    ax.set(xlabel="hit@1, per cent", ylabel="hierarchical precision@5, per cent")
    ax.margins(0.12)
    ax.set_xlim(right=ax.get_xlim()[1] + 1.0)  # names stand on the right of their points
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _explanations(animals: Animals, path: Path) -> None:
    """What a few labels are made of, from the images of one split."""
    from matplotlib import pyplot

    from fastcca.plotting import ExplanationDisplay

    rows = split(animals, 0).train
    model = UnifiedSemanticEmbedding(
        animals.taxonomy, animals.attribute_frame(), mu1=(0.1, 1.0), mu2=0.005, gamma1=0.01, temperature=1.0
    ).fit(animals.X[rows], animals.y[rows])
    figure, axes = pyplot.subplots(1, len(EXPLAINED), figsize=(11, 2.8))
    for ax, label in zip(axes, EXPLAINED, strict=True):
        print(model.explain(label, n_attributes=6))
        ExplanationDisplay.from_estimator(model, label, n_attributes=6).plot(ax)
        ax.title.set_fontsize(9)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
