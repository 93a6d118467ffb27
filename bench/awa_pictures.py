"""Pictures of the benchmark on Animals with Attributes: accuracy against sensible mistakes, explanations."""

from __future__ import annotations

import sys
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
    """A line for each row, with standard errors."""
    rows = {}
    for row in splits[0]:
        found = []
        for measure in ("hit@1", "hp@5"):
            v = values(splits, row, measure)
            found.append((float(v.mean()), float(v.std(ddof=1) / np.sqrt(len(v))) if len(v) > 1 else 0.0))
        rows[row] = found
    draw_rows(rows, path)


def draw_rows(rows: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """Of each row hit@1 and hierarchical precision@5, each as (mean, standard error)."""
    from matplotlib import pyplot

    names = sorted(rows, key=lambda name: rows[name][1][0])
    figure, axes = pyplot.subplots(
        1, 2, figsize=(9, 0.5 + 0.27 * len(names)), sharey=True, layout="constrained"
    )
    for ax, i, label in zip(axes, (0, 1), ("hit@1", "hierarchical precision@5"), strict=True):
        for place, name in enumerate(names):
            colour = next((c for known, c in COLOURS.items() if f"({known})" in name), "0.35")
            mean, error = rows[name][i]
            ax.errorbar(mean, place, xerr=error, fmt="o", color=colour, markersize=5, elinewidth=1.2)
        ax.set_yticks(range(len(names)), names, fontsize="small")
        ax.grid(axis="y", color="0.9")
        ax.set_axisbelow(True)
        ax.set_xlabel(f"{label}, per cent")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def rows_of_page(page: Path) -> dict[str, list[tuple[float, float]]]:
    """The rows of the first table of figures on the page of results."""
    rows = {}
    table = page.read_text(encoding="utf-8").split("## Results\n\n", 1)[1].split("\n\n", 1)[0]
    for line in table.splitlines()[2:]:
        name, hit, _, _, _, precision = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name] = [
            (float(mean), float(error)) for mean, error in (c.split(" ± ") for c in (hit, precision))
        ]
    return rows


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


if __name__ == "__main__":  # python -m bench.awa_pictures PAGE PICTURE
    draw_rows(rows_of_page(Path(sys.argv[1])), Path(sys.argv[2]))
