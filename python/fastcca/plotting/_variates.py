"""A point for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca.plotting._docs import documented
from fastcca.plotting._style import COLOURS, MARKERS, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["VariateDisplay", "check_kind", "draw_points"]


_MAX_LEGEND = 30
_MANY = 20_000  # rows of which points would only cover each other


@documented
class VariateDisplay:
    """One pair of variates against each other, a point for each row.

    Parameters
    ----------
    x_variate, y_variate : (n,) array
        The scores of the two views.
    labels : (n,) array or None
        What to colour the points by. Floats, and integers of more than 20 values, are a quantity and get a
        colour bar; anything else is classes and gets a legend.
    component : int, default=0
        Which component they are, from 0: for the axis labels.

    Attributes
    ----------
    correlation : float
        The Pearson correlation of the two variates.
    ax_ : matplotlib.axes.Axes
        Set by :meth:`plot`.
    points_ : list of matplotlib collections
        One for each class in the order of the classes, one in all without classes; set by :meth:`plot`.
    colorbar_ : matplotlib.colorbar.Colorbar or None
        Of labels that are a quantity, or of the rows of hexagons; set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import VariateDisplay
    >>> VariateDisplay([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).correlation
    1.0
    """

    def __init__(
        self, x_variate: ArrayLike, y_variate: ArrayLike, labels: ArrayLike | None = None, component: int = 0
    ) -> None:
        self.x_variate, self.y_variate = np.asarray(x_variate), np.asarray(y_variate)
        self.labels = None if labels is None else np.asarray(labels)
        self.component = component
        self.correlation = float(np.corrcoef(self.x_variate, self.y_variate)[0, 1])

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, labels: ArrayLike | None = None, component: int = 0
    ) -> VariateDisplay:
        """One pair of variates of a fitted model (anything with ``transform_views``) on the rows given."""
        if not hasattr(estimator, "transform_views"):
            raise TypeError(f"estimator must be a model of two views with transform_views, got {estimator!r}")
        x_scores, y_scores = (np.asarray(scores) for scores in estimator.transform_views(X, y))
        return cls(x_scores[:, component], y_scores[:, component], labels, component)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["auto", "scatter", "hexbin"] = "auto",
        **options: Any,
    ) -> VariateDisplay:
        """Draw the points.

        {ax}
        {kind}
        **options
            Passed on to :meth:`matplotlib.axes.Axes.scatter` or :meth:`matplotlib.axes.Axes.hexbin`. By
            default points are larger where there are few of them.

        Raises
        ------
        ValueError
            For another ``kind``.

        Returns
        -------
        VariateDisplay
            This display, with ``ax_``, ``points_`` and ``colorbar_`` set.
        """
        check_kind(kind)
        self.ax_ = new_axes(ax)
        number = self.component + 1
        self.ax_.set(
            xlabel=f"X variate {number}",
            ylabel=f"Y variate {number}",
            title=f"pair {number}, correlation {self.correlation:.3f}",
        )
        drawn = draw_points(self.ax_, self.x_variate, self.y_variate, self.labels, kind, options)
        self.points_, self.colorbar_ = drawn.points, drawn.colorbar
        return self


def check_kind(kind: Any) -> None:
    if kind not in ("auto", "scatter", "hexbin"):
        raise ValueError(f"kind must be 'auto', 'scatter' or 'hexbin', got {kind!r}")


class Drawn(NamedTuple):
    """Points of a picture: their collections, a colour bar, and the rows and the colour of each group."""

    points: list[Any]
    colorbar: Any
    groups: list[tuple[NDArray[np.bool_], Any]]


def draw_points(
    ax: Axes,
    x: NDArray[Any],
    y: NDArray[Any],
    labels: NDArray[Any] | None,
    kind: str,
    options: dict[str, Any],
) -> Drawn:
    """A point for each row, in the colour of its label, or hexagons of how many rows they hold."""
    n = len(x)
    everything = np.ones(n, dtype=bool)
    style: dict[str, Any]
    if kind == "hexbin" or (kind == "auto" and labels is None and n > _MANY):
        style = {"gridsize": 60, "cmap": "viridis", "mincnt": 1, "bins": "log", "linewidths": 0.2, **options}
        hexagons = ax.hexbin(x, y, **style)
        return Drawn([hexagons], ax.figure.colorbar(hexagons, ax=ax, label="rows"), [(everything, "0.2")])
    style = {
        "s": float(np.clip(6000 / max(n, 1), 12, 36)),
        "alpha": 0.9 if n <= 1000 else 0.7,
        "linewidths": 0,
    }
    if labels is None or _is_quantity(labels):
        colour = {"color": COLOURS[0]} if labels is None else {"c": labels, "cmap": "viridis"}
        points = ax.scatter(x, y, **{**style, **colour, **options})
        bar = None if labels is None else ax.figure.colorbar(points, ax=ax)
        return Drawn([points], bar, [(everything, "0.2")])
    drawn: list[Any] = []
    groups: list[tuple[NDArray[np.bool_], Any]] = []
    classes = np.unique(labels)
    for i, label in enumerate(classes):
        here = labels == label
        groups.append((here, COLOURS[i % len(COLOURS)]))
        own = {"color": groups[-1][1], "marker": MARKERS[i // len(COLOURS) % len(MARKERS)], "label": label}
        drawn.append(ax.scatter(x[here], y[here], **{**style, **own, **options}))
    if len(classes) <= _MAX_LEGEND:
        # Outside of the axes, where it hides no point.
        ax.legend(
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            frameon=False,
            ncols=1 + (len(classes) - 1) // 15,
            fontsize="small",
            markerscale=1.8,
        )
    return Drawn(drawn, None, groups)


def _is_quantity(labels: NDArray[Any]) -> bool:
    return labels.dtype.kind == "f" or (labels.dtype.kind in "iu" and len(np.unique(labels)) > 20)
