"""What labels are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcca.plotting._docs import documented
from fastcca.plotting._style import COLOURS, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ExplanationDisplay"]


@documented
class ExplanationDisplay:
    """A label as its parent and a few attributes, a bar for each coefficient.

    Parameters
    ----------
    label, parent : label
        What is explained, and the node above it or ``None``.
    attributes : sequence of (str, float)
        Names and coefficients.

    {ax_}
    bars_ : matplotlib.container.BarContainer
        Set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import ExplanationDisplay
    >>> display = ExplanationDisplay("tiger", "big_cat", [("stripes", 0.4), ("orange", 0.2)])
    >>> display.plot().ax_.get_title()
    'tiger = big_cat + …'
    """

    def __init__(self, label: Any, parent: Any, attributes: Sequence[tuple[str, float]]) -> None:
        self.label, self.parent = label, parent
        self.names = [name for name, _ in attributes]
        self.weights = np.array([weight for _, weight in attributes], dtype=np.float64)

    @classmethod
    def from_estimator(
        cls, estimator: Any, label: Any, *, n_attributes: int | None = 10
    ) -> ExplanationDisplay:
        """What ``explain`` of a fitted :class:`fastcca.embedding.UnifiedSemanticEmbedding` says."""
        why = estimator.explain(label, n_attributes)
        return cls(why.label, why.parent, why.attributes)

    def plot(self, ax: Axes | None = None, **bar: Any) -> ExplanationDisplay:
        """Draw the bars, the first at the top; further arguments go to :meth:`matplotlib.axes.Axes.barh`."""
        self.ax_ = new_axes(ax)
        places = np.arange(len(self.names))
        self.bars_ = self.ax_.barh(places, self.weights, **{"color": COLOURS[0], **bar})
        self.ax_.set_yticks(places, self.names)
        self.ax_.invert_yaxis()
        above = "" if self.parent is None else f"{self.parent} + "
        self.ax_.set(xlabel="coefficient", title=f"{self.label} = {above}…")
        return self
