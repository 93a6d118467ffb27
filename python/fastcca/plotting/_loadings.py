"""What a component is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fastcca._arguments.parameters import POSITIVE_INTEGER
from fastcca.plotting._docs import documented
from fastcca.plotting._style import COLOURS, feature_names, largest, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LoadingDisplay"]


@documented
class LoadingDisplay:
    """The loadings of one component: correlations of every column of both views with its own variate.

    Parameters
    ----------
    x_loadings, y_loadings : (p,) and (q,) array
        The loadings of the two views.
    x_names, y_names : sequence of str or None
        Names of the columns; ``None``: x0, x1, … and y0, y1, …
    component : int, default=0
        Which component they are, from 0: for the title.
    x_interval, y_interval : pair of (p,) and of (q,) array, or None
        Lower and upper ends of intervals of the loadings, drawn on the bars.

    {ax_}
    bars_ : matplotlib.container.BarContainer
        The bars, X's first, set by :meth:`plot`.
    shown_ : ndarray of shape (n_shown,)
        Which of ``names`` are drawn, X's first; set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import LoadingDisplay
    >>> LoadingDisplay([0.9, -0.2], [0.8]).names
    ['x0', 'x1', 'y0']
    """

    def __init__(
        self,
        x_loadings: ArrayLike,
        y_loadings: ArrayLike,
        x_names: Sequence[str] | None = None,
        y_names: Sequence[str] | None = None,
        component: int = 0,
        x_interval: tuple[ArrayLike, ArrayLike] | None = None,
        y_interval: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> None:
        self.x_loadings, self.y_loadings = np.asarray(x_loadings), np.asarray(y_loadings)
        self.component = component
        self.names: list[str] = []
        for view, loadings, names in (("x", self.x_loadings, x_names), ("y", self.y_loadings, y_names)):
            self.names += feature_names(view, names, len(loadings))
        self.intervals = None
        if x_interval is not None and y_interval is not None:
            low, high = (
                np.concatenate([np.asarray(x_interval[end]), np.asarray(y_interval[end])]) for end in (0, 1)
            )
            if len(low) != len(self.names) or len(high) != len(self.names):
                raise ValueError(
                    f"x_interval and y_interval must be of {len(self.x_loadings)} and "
                    f"{len(self.y_loadings)} loadings, got {len(low)} in all"
                )
            self.intervals = np.stack([low, high])
        elif x_interval is not None or y_interval is not None:
            raise ValueError("give both x_interval and y_interval, or neither")

    @classmethod
    def from_estimator(cls, estimator: Any, *, component: int = 0) -> LoadingDisplay:
        """The loadings that a fitted :class:`fastcca.CCA` holds, with the feature names it saw."""
        return cls(
            estimator.x_loadings_[:, component],
            estimator.y_loadings_[:, component],
            getattr(estimator, "feature_names_in_", None),
            getattr(estimator, "y_feature_names_in_", None),
            component,
        )

    @classmethod
    def from_result(
        cls,
        result: Any,
        *,
        component: int = 0,
        x_names: Sequence[str] | None = None,
        y_names: Sequence[str] | None = None,
    ) -> LoadingDisplay:
        """The loadings of a :class:`fastcca.inference.BootstrapResult`, with their intervals."""
        x, y = (result.estimate(f"{side}_loadings")[:, component] for side in "xy")
        ends = []
        for side in "xy":
            low, high = result.interval(f"{side}_loadings")
            ends.append((low[:, component], high[:, component]))
        return cls(x, y, x_names, y_names, component, ends[0], ends[1])

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["bar", "helio"] = "bar",
        top: int | None = 10,
        **bar: Any,
    ) -> LoadingDisplay:
        """Draw the loadings.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None
            Where to draw; ``None``: a new figure. A heliograph needs a polar one.
        kind : {"bar", "helio"}, default="bar"
            ``"bar"``: horizontal bars, from the first column of X at the top to the last of y. A new figure
            is as high as the names need.
            ``"helio"``: a heliograph, X around the right half of a circle and y around the left, from the
            top down; positive bars point outwards from the circle and negative ones inwards.
        top : int or None, default=10
            How many columns of each view to draw: those of largest absolute loading, in the order of the
            columns. ``None``: all.
        **bar
            Passed on to :meth:`matplotlib.axes.Axes.barh` or :meth:`matplotlib.axes.Axes.bar`.

        Returns
        -------
        LoadingDisplay
            This display, with ``ax_``, ``bars_`` and ``shown_`` set.

        Raises
        ------
        ValueError
            For another ``kind``, a ``top`` below 1, or axes that are not polar for a heliograph.
        """
        if kind not in ("bar", "helio"):
            raise ValueError(f"kind must be 'bar' or 'helio', got {kind!r}")
        if top is not None:
            POSITIVE_INTEGER("top", top)
        x_shown, y_shown = (largest(loadings, top) for loadings in (self.x_loadings, self.y_loadings))
        self.shown_ = np.concatenate([x_shown, y_shown + len(self.x_loadings)])
        loadings = np.concatenate([self.x_loadings, self.y_loadings])[self.shown_]
        names = [self.names[i] for i in self.shown_]
        p, q = len(x_shown), len(y_shown)
        style = {"color": [COLOURS[0]] * p + [COLOURS[1]] * q, **bar}
        size = (6.4, max(2.4, 1.0 + 0.21 * (p + q))) if kind == "bar" else (6.4, 6.4)
        self.ax_ = new_axes(ax, projection="polar" if kind == "helio" else None, size=size)
        title = f"loadings of pair {self.component + 1}"
        if (p, q) != (len(self.x_loadings), len(self.y_loadings)):
            title += f"\nlargest {p} of {len(self.x_loadings)} (X) and {q} of {len(self.y_loadings)} (Y)"
        if kind == "bar":
            places = np.arange(p + q)
            self.bars_ = self.ax_.barh(places, loadings, **style)
            self.ax_.set_yticks(places, names, fontsize="small")
            self.ax_.invert_yaxis()
            self.ax_.margins(y=0.02)
            self.ax_.axvline(0, color="0.5", linewidth=0.8)
            if self.intervals is not None:
                ends = self.intervals[:, self.shown_]
                self.ax_.errorbar(
                    loadings,
                    places,
                    xerr=np.abs(ends - loadings),
                    fmt="none",
                    ecolor="0.2",
                    elinewidth=1.2,
                    capsize=2,
                )
            # in the margin, where it hides no bar
            self.ax_.legend(
                [self.bars_[0], self.bars_[p]],
                ["X", "Y"],
                loc="upper left",
                bbox_to_anchor=(1.0, 1.0),
                frameon=False,
            )
            self.ax_.set(xlim=(-1, 1), xlabel="correlation with the variate", title=title)
            return self
        if self.ax_.name != "polar":
            raise ValueError(f"ax must be polar for a heliograph, got {self.ax_.name}")
        # Clockwise from the top: X over the first half turn; y runs back along the other.
        right, left = (np.arange(p) + 0.5) * np.pi / p, 2 * np.pi - (np.arange(q) + 0.5) * np.pi / q
        width = np.concatenate([np.full(p, 0.8 * np.pi / p), np.full(q, 0.8 * np.pi / q)])
        polar: Any = self.ax_
        polar.set_theta_zero_location("N")
        polar.set_theta_direction(-1)
        # A bar of length |loading| outwards or inwards from the circle of radius 2.
        self.bars_ = self.ax_.bar(np.concatenate([right, left]), loadings, width=width, bottom=2, **style)
        self.ax_.plot(np.linspace(0, 2 * np.pi, 200), np.full(200, 2.0), color="0.5", linewidth=0.8)
        self.ax_.set_xticks(np.concatenate([right, left]), names, fontsize="small")
        for label, angle in zip(self.ax_.get_xticklabels(), [*right, *left], strict=True):
            label.set_horizontalalignment("left" if angle < np.pi else "right")
        self.ax_.set_yticks([1, 2, 3], ["−1", "0", "1"], fontsize="small")
        polar.set_rlabel_position(0)
        self.ax_.set(ylim=(0, 3))
        self.ax_.set_title(title, pad=16)
        return self
