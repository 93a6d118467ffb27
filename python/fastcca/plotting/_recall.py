"""How well partners are found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastcca.metrics import partner_ranks
from fastcca.plotting._docs import documented
from fastcca.plotting._style import COLOURS, MARKERS, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["RecallDisplay"]


@documented
class RecallDisplay:
    """The fraction of queries whose partner is among the first k, for every k.

    Parameters
    ----------
    ranks : mapping of str to (n,) array
        For each curve the rank of every query's partner, from 1, as
        :func:`fastcca.metrics.partner_ranks` gives them. Its key is the label.
    n_gallery : int
        How many rows are searched: for the curve of chance.

    {ax_}
    {lines_}

    Examples
    --------
    >>> from fastcca.plotting import RecallDisplay
    >>> display = RecallDisplay({"model": [1, 1, 2, 4]}, n_gallery=4).plot()
    >>> display.lines_[0].get_ydata().tolist()
    [0.5, 0.75, 0.75, 1.0]
    """

    def __init__(self, ranks: Mapping[str, ArrayLike], n_gallery: int) -> None:
        self.ranks = {label: np.asarray(values, dtype=np.float64) for label, values in ranks.items()}
        self.n_gallery = int(n_gallery)

    @classmethod
    def from_estimator(
        cls, estimators: Mapping[str, Any] | Any, X: Any, y: Any, *, similarity: Any = "cosine"
    ) -> RecallDisplay:
        """Of one fitted two-view model, or several by name: rows of X are queries, those of y the gallery."""
        if not isinstance(estimators, Mapping):
            estimators = {type(estimators).__name__: estimators}
        scores = {label: model.transform_views(X, y) for label, model in estimators.items()}
        ranks = {label: partner_ranks(Zx, Zy, similarity) for label, (Zx, Zy) in scores.items()}
        return cls(ranks, len(next(iter(scores.values()))[1]))

    def plot(self, ax: Axes | None = None, *, max_k: int | None = None, **line: Any) -> RecallDisplay:
        """Draw the curves.

        {ax}
        max_k : int, optional
            The largest k; by default the size of the gallery.
        {line}

        Returns
        -------
        RecallDisplay
            This display, with ``ax_`` and ``lines_`` set.
        """
        self.ax_ = ax = new_axes(ax)
        top = min(max_k or self.n_gallery, self.n_gallery)
        ks = np.unique(np.round(np.geomspace(1, top, 60)).astype(int))
        self.lines_ = []
        for i, (label, ranks) in enumerate(self.ranks.items()):
            style = {
                "color": COLOURS[i % len(COLOURS)],
                "marker": MARKERS[i % len(MARKERS)],
                "markevery": 0.12,
                "markersize": 5,
                "label": label,
            }
            recall = [np.mean(ranks <= k) for k in ks]
            self.lines_ += ax.plot(ks, recall, **{**style, **line})
        ax.plot(ks, ks / self.n_gallery, "--", color="0.5", label="chance")
        ax.set(xscale="log", xlabel="k", ylabel=f"recall@k of {self.n_gallery}", ylim=(0, 1.02))
        ax.legend(frameon=False)
        return self
