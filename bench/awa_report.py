"""The tables of the benchmark on Animals with Attributes, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.awa_data import MEASURES

__all__ = ["PUBLISHED", "markdown", "values"]

# Hwang and Sigal's table: DeCAF features of 4096 dimensions.
PUBLISHED: dict[str, tuple[float, ...]] = {
    "Ridge": (38.39, 48.61, 62.12, 38.51, 41.73),
    "NCM": (43.49, 57.45, 75.48, 45.25, 50.32),
    "LME": (44.76, 58.08, 75.11, 44.84, 49.87),
    "LMTE": (38.92, 49.97, 63.35, 38.67, 41.72),
    "ALE": (36.40, 50.43, 70.25, 42.52, 52.46),
    "HLE": (33.56, 45.93, 64.66, 46.11, 56.79),
    "AHLE": (38.01, 52.07, 71.53, 44.43, 54.39),
    "LME-MTL-S": (45.03, 57.73, 74.43, 46.05, 51.08),
    "LME-MTL-A": (45.55, 58.60, 74.97, 44.23, 48.52),
    "USE-No Reg": (45.93, 59.37, 74.97, 47.13, 51.04),
    "USE-Reg": (46.42, 59.54, 76.62, 47.39, 53.35),
}

Splits = Sequence[dict[str, Any]]
BASELINES = ("LME (hinge)", "LME (softmax)")


def values(splits: Splits, row: str, measure: str) -> NDArray[np.float64]:
    """One figure of a row, split by split."""
    return np.array([found[row]["test"][measure] for found in splits])


def _mean(figures: NDArray[np.float64]) -> str:
    error = figures.std(ddof=1) / np.sqrt(len(figures)) if len(figures) > 1 else np.nan
    return f"{figures.mean():.2f} ± {error:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _per_row(splits: Splits, cell: Callable[[str, str], str]) -> list[list[str]]:
    return [[row, *(cell(row, measure) for measure in MEASURES)] for row in splits[0]]


def _means(splits: Splits) -> str:
    return _table(["", *MEASURES], _per_row(splits, lambda row, m: _mean(values(splits, row, m))))


def _differences(splits: Splits, base: str) -> str:
    def cell(row: str, measure: str) -> str:
        return _mean(values(splits, row, measure) - values(splits, base, measure))

    return _table(["", *MEASURES], _per_row(splits, cell))


def _zero_shot(splits: Splits) -> str:
    more = ("seen", "unseen", "harmonic")
    rows = [
        [*cells, *(_mean(np.array([found[cells[0]][name] for found in splits])) for name in more)]
        for cells in _per_row(splits, lambda row, m: _mean(values(splits, row, m)))
    ]
    return _table(["", *MEASURES, *more], rows)


def markdown(results: dict[str, list[dict[str, Any]]]) -> str:
    """All tables that there are results for."""
    parts: list[str] = []
    table, few, zero = (results.get(part, []) for part in ("table", "few-shot", "zero-shot"))
    if table:
        parts += ["## Test images, mean ± standard error over the splits", _means(table)]
        published = [[row, *(f"{value:.2f}" for value in of)] for row, of in PUBLISHED.items()]
        parts += ["## Published, DeCAF features", _table(["", *MEASURES], published)]
        for base in BASELINES:
            parts += [f"## Difference to {base}, split by split", _differences(table, base)]
    if few:
        parts += ["## Two images of each of 10 classes, after training on 40 others", _means(few)]
        for base in ("LME, no transfer", "LME, transfer"):
            parts += [f"## Difference to {base}, draw by draw", _differences(few, base)]
    if zero:
        parts += ["## No image of 10 classes: among these, and among all 50 (by class, harmonic mean)"]
        parts += [_zero_shot(zero)]
    return "\n\n".join(parts)
