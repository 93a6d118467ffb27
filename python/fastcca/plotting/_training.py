"""How a training went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcca.plotting._docs import documented
from fastcca.plotting._style import COLOURS, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TrainingDisplay"]


@documented
class TrainingDisplay:
    """What was noted after each epoch.

    Parameters
    ----------
    history : sequence of mapping
        One for each epoch, as ``history_`` of the estimators of :mod:`fastcca.deep`: "epoch" and numbers by
        name; None and NaN are left out.
    best_epoch : int or None
        The epoch whose parameters are kept, marked where it is given.

    {ax_}
    lines_ : dict of str to matplotlib.lines.Line2D
        By what they are of, set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import TrainingDisplay
    >>> history = [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}]
    >>> TrainingDisplay(history).plot().lines_["loss"].get_ydata().tolist()
    [3.0, 2.0]
    """

    def __init__(self, history: Sequence[Any], best_epoch: int | None = None) -> None:
        if not history:
            raise ValueError("history must hold at least one epoch")
        self.epochs = np.array([record.get("epoch", i + 1) for i, record in enumerate(history)])
        self.curves = {}
        for name in history[0]:
            values = [record.get(name) for record in history]
            numbers = np.array(
                [v if isinstance(v, (int, float, np.number)) else np.nan for v in values], dtype=np.float64
            )
            if name != "epoch" and np.isfinite(numbers).any():
                self.curves[name] = numbers
        self.best_epoch = best_epoch

    @classmethod
    def from_estimator(cls, estimator: Any) -> TrainingDisplay:
        """Of a fitted estimator with ``history_``."""
        if not hasattr(estimator, "history_"):
            raise TypeError(f"estimator must be fitted and have a history_, got {estimator!r}")
        return cls(estimator.history_, getattr(estimator, "best_epoch_", None))

    def plot(
        self, ax: Axes | None = None, *, names: Sequence[str] | None = None, **line: Any
    ) -> TrainingDisplay:
        """Draw the curves.

        {ax}
        names : sequence of str, optional
            Which curves; by default the correlations or other scores of training and validation where there
            are any, else the loss.
        {line}

        Returns
        -------
        TrainingDisplay
            This display, with ``ax_`` and ``lines_`` set.
        """
        if names is None:
            names = [n for n in self.curves if n.startswith(("train_", "validation_"))] or ["loss"]
        unknown = [name for name in names if name not in self.curves]
        if unknown:
            raise ValueError(f"names must be of {', '.join(map(repr, self.curves))}, got {unknown[0]!r}")
        self.ax_ = ax = new_axes(ax)
        self.lines_ = {}
        for i, name in enumerate(names):
            (self.lines_[name],) = ax.plot(
                self.epochs,
                self.curves[name],
                **{"color": COLOURS[i % len(COLOURS)], "label": name.replace("_", " "), **line},
            )
        if self.best_epoch:
            ax.axvline(self.best_epoch, color="0.5", linestyle=":", label=f"kept: epoch {self.best_epoch}")
        ax.set(xlabel="epoch", ylabel=names[0].replace("_", " ") if len(names) == 1 else "")
        ax.locator_params(axis="x", integer=True)
        ax.legend(frameon=False)
        return self
