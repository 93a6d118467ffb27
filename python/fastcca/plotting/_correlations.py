"""Correlations, component by component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastcca.metrics import column_correlations
from fastcca.plotting._docs import documented
from fastcca.plotting._style import COLOURS, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CorrelationDisplay"]


@documented
class CorrelationDisplay:
    """The correlations of the pairs of variates, component by component.

    Parameters
    ----------
    correlations : mapping of str to (k,) array
        One curve for each entry; its key is the label. The k may differ.

    {ax_}
    {lines_}

    Examples
    --------
    >>> from fastcca.plotting import CorrelationDisplay
    >>> display = CorrelationDisplay({"train": [0.9, 0.7], "test": [0.8, 0.4]})
    >>> display.plot().ax_.get_xlabel()
    'component'
    """

    def __init__(self, correlations: Mapping[str, ArrayLike]) -> None:
        self.correlations = {
            label: np.atleast_1d(np.asarray(values, dtype=np.float64))
            for label, values in correlations.items()
        }

    @classmethod
    def from_estimator(cls, estimator: Any, samples: Mapping[str, tuple[Any, Any]]) -> CorrelationDisplay:
        """Correlations of the variates of a fitted model on one or more pairs of views.

        Parameters
        ----------
        estimator : fitted two-view estimator
            Anything with ``transform_views``.
        samples : mapping of str to (X, y)
            For example ``{"train": (X, y), "test": (X_test, y_test)}``.
        """
        return cls(
            {
                label: column_correlations(*estimator.transform_views(X, y))
                for label, (X, y) in samples.items()
            }
        )

    def plot(self, ax: Axes | None = None, **line: Any) -> CorrelationDisplay:
        """Draw the curves.

        {ax}
        {line}

        Returns
        -------
        CorrelationDisplay
            This display, with ``ax_`` and ``lines_`` set.
        """
        self.ax_ = new_axes(ax)
        self.lines_ = []
        for i, (label, values) in enumerate(self.correlations.items()):
            colour = {} if {"c", "color"} & set(line) else {"color": COLOURS[i % len(COLOURS)]}
            style = {"marker": "o", "markersize": 4, "label": label, **colour, **line}
            self.lines_ += self.ax_.plot(np.arange(1, len(values) + 1), values, **style)
        self.ax_.set(xlabel="component", ylabel="correlation", ylim=(min(0.0, self._lowest()), 1.02))
        self.ax_.locator_params(axis="x", integer=True)
        self.ax_.legend()
        return self

    def _lowest(self) -> float:
        return min(float(values.min()) for values in self.correlations.values())
