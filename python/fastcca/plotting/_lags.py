"""Two streams against each other, lag by lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastcca.plotting._docs import documented
from fastcca.plotting._style import COLOURS, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LagDisplay"]


@documented
class LagDisplay:
    """The correlation of two streams at each lag, and what unrelated streams reach.

    Parameters
    ----------
    lags, correlation : (l,) array
        The lags in frames, and the total correlation of the variates at each.
    critical : (l,) array or None
        What unrelated streams stay below in 19 cases of 20; ``None``: not drawn.
    confidence : float or None
        For the title.
    lag : int or None
        The lag that is marked; ``None``: that of the largest correlation.

    {ax_}
    line_ : matplotlib.lines.Line2D
        The curve, set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import LagDisplay
    >>> LagDisplay([-1, 0, 1], [0.1, 0.2, 0.9], confidence=0.99).plot().ax_.get_title()
    'lag 1, confidence 0.990'
    """

    def __init__(
        self,
        lags: ArrayLike,
        correlation: ArrayLike,
        critical: ArrayLike | None = None,
        confidence: float | None = None,
        lag: int | None = None,
    ) -> None:
        self.lags, self.correlation = np.asarray(lags), np.asarray(correlation, dtype=np.float64)
        if self.lags.shape != self.correlation.shape or self.lags.ndim != 1:
            raise ValueError(
                f"lags and correlation must be as many, got shapes {self.lags.shape} and "
                f"{self.correlation.shape}"
            )
        self.critical = None if critical is None else np.asarray(critical, dtype=np.float64)
        self.confidence = confidence
        self.lag = int(self.lags[self.correlation.argmax()]) if lag is None else int(lag)

    @classmethod
    def from_result(cls, result: Any) -> LagDisplay:
        """Of what :meth:`fastcca.synchrony.SynchronyDetector.detect` found: its correlation of ranks."""
        return cls(result.lags, result.ranked, result.critical, result.confidence, result.lag)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: Any) -> LagDisplay:
        """Of two streams, judged by a fitted :class:`fastcca.synchrony.SynchronyDetector`."""
        return cls.from_result(estimator.detect(X, y))

    def plot(self, ax: Axes | None = None, **line: Any) -> LagDisplay:
        """Draw the curve.

        {ax}
        {line}

        Returns
        -------
        LagDisplay
            This display, with ``ax_`` and ``line_`` set.
        """
        self.ax_ = new_axes(ax)
        (self.line_,) = self.ax_.plot(
            self.lags, self.correlation, **{"color": COLOURS[0], "label": "these streams", **line}
        )
        if self.critical is not None:
            self.ax_.plot(
                self.lags, self.critical, "--", color="0.4", label="unrelated streams stay below (95 %)"
            )
        self.ax_.plot(self.lag, self.correlation[self.lags == self.lag][0], "o", color=self.line_.get_color())
        sure = "" if self.confidence is None else f", confidence {self.confidence:.3f}"
        self.ax_.set(
            xlabel="lag in frames: the second stream is late by",
            ylabel="correlation",
            title=f"lag {self.lag}{sure}",
        )
        # above all curves, where the legend hides none of them
        low, high = self.ax_.get_ylim()
        self.ax_.set_ylim(low, high + 0.25 * (high - low))
        self.ax_.legend(loc="upper left", frameon=False, fontsize="small")
        return self
