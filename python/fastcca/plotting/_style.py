"""Colours, and where to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

__all__ = ["COLOURS", "DARK", "MARKERS", "feature_names", "largest", "name_points", "new_axes"]

# Ten colours that people with any colour vision tell apart, of M. A. Petroff, "Accessible color sequences for
# data visualization", 2021 (matplotlib's "petroff10"; tab10 has pairs that look the same to a tenth of men).
COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
# The first two, dark enough for text on white.
DARK = ("#1f64a8", "#9a6400")
# Beyond ten classes the shape distinguishes those of one colour.
_LONGEST = 32  # characters of a name in a picture
MARKERS = "os^DvP*X<>"


def new_axes(ax: Axes | None, projection: str | None = None, size: tuple[float, float] | None = None) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("fastcca.plotting needs matplotlib: pip install 'fastcca[plot]'") from error
    _, ax = pyplot.subplots(figsize=size, layout="constrained", subplot_kw={"projection": projection})
    return ax


def largest(sizes: NDArray[Any], top: int | None) -> NDArray[np.intp]:
    """The places of the largest in absolute value, in their order; undefined ones come last."""
    size = np.where(np.isnan(sizes), -1.0, np.abs(sizes))
    return np.sort(np.argsort(-size, kind="stable")[:top])


def feature_names(view: str, names: Any, count: int) -> list[str]:
    """The names of the columns of a view, checked; x0, x1, … where there are none."""
    if names is None:
        return [f"{view}{i}" for i in range(count)]
    if len(names) != count:
        raise ValueError(f"{view}_names must be {count} names, got {len(names)}")
    return [str(name) for name in names]


def name_points(
    ax: Axes, points: NDArray[Any], names: Sequence[str], colours: Sequence[str], edge: float
) -> list[Annotation]:
    """Names in two columns left and right of x = ± edge, with a line to each point: none covers another.

    The limits are widened by what the names need, with units of x as long as those of y.
    """
    names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in names]
    ax.figure.draw_without_rendering()  # type: ignore[union-attr]
    sides = [np.flatnonzero(points[:, 0] < 0), np.flatnonzero(points[:, 0] >= 0)]
    sides = [side[np.argsort(points[side, 1], kind="stable")] for side in sides]
    width, line = [0.0, 0.0], 1.0
    for i, side in enumerate(sides):
        for j in side.tolist():
            text = ax.text(0, 0, names[j], fontsize="small")
            box = text.get_window_extent()
            width[i], line = max(width[i], box.width + 6), max(line, 1.1 * box.height)
            text.remove()
    frame = ax.get_position(original=True).transformed(ax.figure.transFigure)
    low, high = ax.get_ylim()
    # pixels a unit, and how high a line of text is in units
    unit = min((frame.width - sum(width)) / (2 * edge), frame.height / (high - low))
    unit = max(unit, 0.2 * frame.width / (2 * edge))
    step = line / unit
    taller = max(0.0, max(map(len, sides)) * step - (high - low)) / 2
    low, high = low - taller, high + taller
    ax.set(xlim=(-edge - width[0] / unit, edge + width[1] / unit), ylim=(low, high))
    made: list[Annotation] = []
    for sign, side in zip((-1, 1), sides, strict=True):
        for j, height in zip(side.tolist(), _apart(points[side, 1], step, low, high), strict=True):
            made.append(
                ax.annotate(
                    names[j],
                    points[j],
                    (sign * edge, height),
                    ha="left" if sign > 0 else "right",
                    va="center",
                    fontsize="small",
                    color=colours[j],
                    arrowprops={
                        "arrowstyle": "-",
                        "color": "0.75",
                        "linewidth": 0.6,
                        "shrinkA": 0,
                        "shrinkB": 0,
                    },
                    annotation_clip=False,
                )
            )
    return made


def _apart(heights: NDArray[Any], step: float, low: float, high: float) -> NDArray[Any]:
    """Ascending heights moved as little as need be, so that they are a step apart and within the limits."""
    if not len(heights):
        return heights
    # The nearest ascending sequence of heights less their steps: pool neighbours that are too near.
    steps = step * np.arange(len(heights))
    pools: list[tuple[float, int]] = []
    for value in heights - steps:
        mean, count = float(value), 1
        while pools and pools[-1][0] > mean:
            before, n = pools.pop()
            mean, count = (before * n + mean * count) / (n + count), n + count
        pools.append((mean, count))
    moved = np.repeat([mean for mean, _ in pools], [n for _, n in pools])
    last = high - step / 2 - steps[-1]
    placed: NDArray[Any] = np.clip(moved, low + step / 2, max(low + step / 2, last)) + steps
    return placed
