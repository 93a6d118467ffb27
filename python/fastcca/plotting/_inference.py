"""What permutations and resamples found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastcca._arguments.parameters import POSITIVE_INTEGER
from fastcca.plotting._docs import documented
from fastcca.plotting._style import COLOURS, feature_names, largest, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BootstrapDisplay", "PermutationDisplay"]


@documented
class PermutationDisplay:
    """The statistic of one pair of variates among those of shuffled rows.

    Parameters
    ----------
    statistic : float
        Of the data.
    permuted : (m,) array
        Of each permutation.
    p_value : float
        For the title.
    component : int, default=0
        Which pair, from 0: for the title.

    {ax_}
    bars_ : matplotlib.container.BarContainer
        The histogram, set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import PermutationDisplay
    >>> PermutationDisplay(0.9, [0.1, 0.2, 0.3], 0.25).plot().ax_.get_title()
    'pair 1, p = 0.25'
    """

    def __init__(self, statistic: float, permuted: ArrayLike, p_value: float, component: int = 0) -> None:
        self.statistic, self.p_value, self.component = float(statistic), float(p_value), component
        self.permuted = np.asarray(permuted, dtype=np.float64)

    @classmethod
    def from_result(cls, result: Any, *, component: int = 0) -> PermutationDisplay:
        """Of a :class:`fastcca.inference.PermutationTest`."""
        return cls(
            result.statistic[component], result.permuted[:, component], result.p_value[component], component
        )

    def plot(self, ax: Axes | None = None, **histogram: Any) -> PermutationDisplay:
        """Draw the histogram and where the data are; options go to :meth:`matplotlib.axes.Axes.hist`."""
        self.ax_ = ax = new_axes(ax)
        bins = min(60, max(10, int(np.sqrt(len(self.permuted)))))
        _, _, self.bars_ = ax.hist(
            self.permuted, **{"bins": bins, "color": "0.72", "label": "shuffled rows", **histogram}
        )
        ax.axvline(self.statistic, color=COLOURS[2], linewidth=2, label="the data")
        ax.set(
            xlabel="statistic",
            ylabel="permutations",
            title=f"pair {self.component + 1}, p = {self.p_value:.3g}",
        )
        # above the bars
        ax.set_ylim(0, 1.3 * ax.get_ylim()[1])
        ax.legend(loc="upper center", ncols=2, frameon=False)
        return self


@documented
class BootstrapDisplay:
    """Estimates with their bootstrap intervals, a bar each.

    Parameters
    ----------
    estimate, low, high : (k,) array
        Estimates, and the ends of their intervals.
    names : sequence of str or None
        Of the bars; ``None``: 1, 2, …
    quantity : str, default="correlation"
        What they are: for the axis label.

    {ax_}
    bars_ : matplotlib.container.BarContainer
        Set by :meth:`plot`.
    shown_ : ndarray of int
        Which are drawn, set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import BootstrapDisplay
    >>> display = BootstrapDisplay([0.8, 0.3], [0.7, 0.0], [0.9, 0.5]).plot()
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['1', '2']
    """

    def __init__(
        self,
        estimate: ArrayLike,
        low: ArrayLike,
        high: ArrayLike,
        names: Sequence[str] | None = None,
        quantity: str = "correlation",
    ) -> None:
        self.estimate, self.low, self.high = (
            np.asarray(values, dtype=np.float64) for values in (estimate, low, high)
        )
        if not self.estimate.shape == self.low.shape == self.high.shape or self.estimate.ndim != 1:
            raise ValueError(
                f"estimate, low and high must be as many, got shapes {self.estimate.shape}, {self.low.shape} "
                f"and {self.high.shape}"
            )
        self.names = [str(i + 1) for i in range(len(self.estimate))]
        if names is not None:
            self.names = feature_names("", names, len(self.estimate))
        self.quantity = quantity

    @classmethod
    def from_result(
        cls,
        result: Any,
        name: str = "canonical_correlations",
        *,
        component: int = 0,
        names: Sequence[str] | None = None,
    ) -> BootstrapDisplay:
        """Of a :class:`fastcca.inference.BootstrapResult`.

        Parameters
        ----------
        result : BootstrapResult
            What :func:`fastcca.inference.bootstrap` found.
        name : str, default="canonical_correlations"
            Which quantity, as of its ``interval``. Of loadings, cross-loadings and weights those of one
            component.
        component : int, default=0
            Which component, from 0.
        names : sequence of str, optional
            Names of the columns.
        """
        found = [result.estimate(name), *result.interval(name)]
        label = name.replace("canonical_", "").replace("_", " ").replace("x ", "X ").replace("y ", "Y ")
        if found[0].ndim == 2:
            found = [values[:, component] for values in found]
            label += f", component {component + 1}"
            if names is None:
                names = feature_names(name[0], None, len(found[0]))
        estimate, low, high = found
        return cls(estimate, low, high, names, label)

    def plot(self, ax: Axes | None = None, *, top: int | None = 20, **bar: Any) -> BootstrapDisplay:
        """Draw the bars, the first at the top.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None
            Where to draw; ``None``: a new figure, as high as the names need.
        top : int or None, default=20
            How many to draw: the largest in absolute value, in their order. ``None``: all.
        **bar
            Passed on to :meth:`matplotlib.axes.Axes.barh`.

        Returns
        -------
        BootstrapDisplay
            This display, with ``ax_``, ``bars_`` and ``shown_`` set.
        """
        if top is not None:
            POSITIVE_INTEGER("top", top)
        self.shown_ = shown = largest(self.estimate, top)
        self.ax_ = ax = new_axes(ax, size=(6.4, max(2.4, 1.0 + 0.26 * len(shown))))
        places, estimate = np.arange(len(shown)), self.estimate[shown]
        # intervals that leave 0 out are filled
        sure = (self.low[shown] > 0) | (self.high[shown] < 0)
        colours = [COLOURS[0] if s else "0.8" for s in sure]
        self.bars_ = ax.barh(places, estimate, **{"color": colours, **bar})
        ends = np.abs(np.stack([self.low[shown], self.high[shown]]) - estimate)
        ax.errorbar(estimate, places, xerr=ends, fmt="none", ecolor="0.2", elinewidth=1.2, capsize=3)
        ax.set_yticks(places, [self.names[i] for i in shown], fontsize="small")
        ax.invert_yaxis()
        ax.axvline(0, color="0.5", linewidth=0.8)
        title = "grey: the interval contains 0" if not sure.all() else ""
        if len(shown) < len(self.estimate):
            title = f"largest {len(shown)} of {len(self.estimate)}" + ("; " if title else "") + title
        ax.set(xlabel=self.quantity)
        ax.set_title(title, fontsize="medium")
        return self
