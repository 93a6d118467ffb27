"""What cross-validation found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastcca.plotting._docs import documented
from fastcca.plotting._style import COLOURS, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SelectionDisplay"]


@documented
class SelectionDisplay:
    """Held-out scores over the grid of a cross-validated search: a curve of one parameter, a surface of two.

    Parameters
    ----------
    results : dict
        ``cv_results_`` of a search of fastcca or of scikit-learn's ``GridSearchCV``, whose parameters are
        numbers or pairs of numbers.
    best_index : int
        The place of the choice.

    Attributes
    ----------
    parameters : dict of str to (n,) array
        The parameters that differ, one entry for each axis; of pairs that differ between the views two
        entries.
    score, deviation : (n,) array
        Means over the folds, and standard deviations over them (NaN where the folds are pooled).
    ax_ : matplotlib.axes.Axes
        Set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import SelectionDisplay
    >>> results = {"params": [{"reg": 0.1}, {"reg": 1.0}], "mean_test_score": [0.4, 0.5]}
    >>> SelectionDisplay(results, best_index=1).plot().ax_.get_xlabel()
    'reg'
    """

    def __init__(self, results: Any, best_index: int) -> None:
        self.parameters = {}
        for name in results["params"][0]:
            values = [each[name] for each in results["params"]]
            columns = _columns(name, values)
            self.parameters.update({key: c for key, c in columns.items() if len(np.unique(c)) > 1})
        if not 1 <= len(self.parameters) <= 2:
            raise ValueError(
                f"a picture has one parameter or two, this grid has {len(self.parameters)} that differ: "
                f"{', '.join(self.parameters) or 'none'}"
            )
        self.score = np.asarray(results["mean_test_score"], dtype=np.float64)
        self.deviation = np.asarray(results.get("std_test_score", np.full(len(self.score), np.nan)))
        self.best_index = int(best_index)

    @classmethod
    def from_estimator(cls, estimator: Any) -> SelectionDisplay:
        """Of a fitted search: :class:`fastcca.CCACV`, :class:`fastcca.KernelCCACV`, ``GridSearchCV`` …"""
        if not hasattr(estimator, "cv_results_"):
            raise TypeError(f"estimator must be a fitted search with cv_results_, got {estimator!r}")
        return cls(estimator.cv_results_, estimator.best_index_)

    def plot(self, ax: Axes | None = None, **options: Any) -> SelectionDisplay:
        """Draw the curve with a band of one standard deviation, or the surface; the choice is marked.

        {ax}
        **options
            Passed on to :meth:`matplotlib.axes.Axes.plot` or :meth:`matplotlib.axes.Axes.pcolormesh`.

        Returns
        -------
        SelectionDisplay
            This display, with ``ax_`` set.
        """
        self.ax_ = ax = new_axes(ax)
        names, axes = list(self.parameters), list(self.parameters.values())
        best = self.best_index
        if len(names) == 1:
            order = np.argsort(axes[0], kind="stable")
            x, score, deviation = axes[0][order], self.score[order], self.deviation[order]
            ax.plot(x, score, **{"marker": "o", "markersize": 4, "color": COLOURS[0], **options})
            if np.isfinite(deviation).any():
                ax.fill_between(
                    x, score - deviation, score + deviation, color=COLOURS[0], alpha=0.2, linewidth=0
                )
            ax.plot(axes[0][best], self.score[best], "D", color=COLOURS[2], markersize=8, label="chosen")
            ax.set(xlabel=names[0], ylabel="held-out score")
            ax.legend(frameon=False)
        else:
            grid = [np.unique(values) for values in axes]
            surface = np.full([len(values) for values in grid], np.nan)
            places = tuple(np.searchsorted(g, values) for g, values in zip(grid, axes, strict=True))
            surface[places] = self.score
            mesh = ax.pcolormesh(*grid, surface.T, **{"cmap": "viridis", "shading": "nearest", **options})
            ax.plot(
                axes[0][best],
                axes[1][best],
                "D",
                color="white",
                markeredgecolor="black",
                markersize=9,
                label="chosen",
            )
            ax.figure.colorbar(mesh, ax=ax, label="held-out score")
            ax.set(xlabel=names[0], ylabel=names[1])
            ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), frameon=False)
        for scale, values in zip((ax.set_xscale, ax.set_yscale), axes, strict=False):
            if (values > 0).all() and values.max() >= 30 * values.min():
                scale("log")
        return self


def _columns(name: str, values: list[Any]) -> dict[str, Any]:
    """One column of numbers, or two where pairs differ between the views."""
    table = np.array([np.broadcast_to(np.asarray(value, dtype=np.float64), 2) for value in values])
    if (table[:, 0] == table[:, 1]).all():
        return {name: table[:, 0]}
    ratio = table[:, 0] / np.where(table[:, 1] == 0, np.nan, table[:, 1])
    if np.isfinite(ratio).all() and np.allclose(ratio, ratio[0]):
        return {f"{name} (X)": table[:, 0]}  # the views move together
    return {f"{name} (X)": table[:, 0], f"{name} (Y)": table[:, 1]}
