"""Columns of both views on two components at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fastcca._arguments.parameters import POSITIVE_INTEGER
from fastcca.plotting._docs import documented
from fastcca.plotting._style import COLOURS, DARK, MARKERS, feature_names, largest, name_points, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CorrelationCircleDisplay"]


@documented
class CorrelationCircleDisplay:
    """The correlation circle: each column of both views where its loadings on two components are.

    Columns near the rim are seen whole in these two components; those near each other correlate, those
    opposite to each other correlate negatively.

    Parameters
    ----------
    x_loadings, y_loadings : (p, 2) and (q, 2) array
        Correlations of the columns with the two variates.
    x_names, y_names : sequence of str or None
        Names of the columns; ``None``: x0, x1, … and y0, y1, …
    components : pair of int, default=(0, 1)
        Which components they are, from 0: for the axis labels.
    scores : (n, 2) array or None
        Rows on the two components, for the biplot.

    {ax_}
    points_ : list of matplotlib.collections.PathCollection
        The columns of X and those of Y, set by :meth:`plot`.
    names_ : list of matplotlib.text.Annotation
        The names that are shown, set by :meth:`plot`.

    References
    ----------
    I. González, K.-A. Lê Cao, M. J. Davis and S. Déjean, "Visualising associations between paired 'omics'
    data sets", BioData Mining 5, 2012.

    Examples
    --------
    >>> from fastcca.plotting import CorrelationCircleDisplay
    >>> display = CorrelationCircleDisplay([[0.9, 0.1], [0.2, -0.8]], [[0.7, 0.3]]).plot()
    >>> sorted(name.get_text() for name in display.names_)
    ['x0', 'x1', 'y0']
    """

    def __init__(
        self,
        x_loadings: ArrayLike,
        y_loadings: ArrayLike,
        x_names: Sequence[str] | None = None,
        y_names: Sequence[str] | None = None,
        components: tuple[int, int] = (0, 1),
        scores: ArrayLike | None = None,
    ) -> None:
        self.x_loadings, self.y_loadings = (
            np.asarray(loadings, dtype=np.float64) for loadings in (x_loadings, y_loadings)
        )
        for view, loadings in (("x", self.x_loadings), ("y", self.y_loadings)):
            if loadings.ndim != 2 or loadings.shape[1] != 2:
                raise ValueError(f"{view}_loadings must have two columns, got shape {loadings.shape}")
        self.x_names = feature_names("x", x_names, len(self.x_loadings))
        self.y_names = feature_names("y", y_names, len(self.y_loadings))
        self.components = components
        self.scores = None if scores is None else np.asarray(scores, dtype=np.float64)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any = None, *, components: tuple[int, int] = (0, 1)
    ) -> CorrelationCircleDisplay:
        """The loadings that a fitted two-view model holds, with the feature names it saw.

        Parameters
        ----------
        estimator : fitted two-view estimator
            With ``x_loadings_`` and ``y_loadings_`` of two components or more.
        X : array_like of shape (n, p), optional
            Rows for the biplot.
        components : pair of int, default=(0, 1)
            Which two.
        """
        chosen = list(components)
        n_components = estimator.x_loadings_.shape[1]
        if len(chosen) != 2 or not all(0 <= c < n_components for c in chosen):
            raise ValueError(f"components must be two of the {n_components} of the model, got {components}")
        return cls(
            estimator.x_loadings_[:, chosen],
            estimator.y_loadings_[:, chosen],
            getattr(estimator, "feature_names_in_", None),
            getattr(estimator, "y_feature_names_in_", None),
            (chosen[0], chosen[1]),
            None if X is None else np.asarray(estimator.transform(X))[:, chosen],
        )

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["circle", "biplot"] = "circle",
        top: int | None = 10,
        **scatter: Any,
    ) -> CorrelationCircleDisplay:
        """Draw the columns.

        {ax}
        kind : {"circle", "biplot"}, default="circle"
            ``"biplot"`` has the rows behind the columns, in units in which the farthest lies on the circle,
            and arrows to the columns that are named.
        top : int or None, default=10
            How many columns of each view to name: those farthest from the centre. ``None``: all. The
            others are points without a name.
        **scatter
            Passed on to :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        CorrelationCircleDisplay
            This display, with ``ax_``, ``points_`` and ``names_`` set.

        Raises
        ------
        ValueError
            For another ``kind``, a ``top`` below 1, or a biplot without rows.
        """
        if kind not in ("circle", "biplot"):
            raise ValueError(f"kind must be 'circle' or 'biplot', got {kind!r}")
        if kind == "biplot" and self.scores is None:
            raise ValueError("a biplot needs rows: give X to from_estimator, or scores")
        if top is not None:
            POSITIVE_INTEGER("top", top)
        self.ax_ = ax = new_axes(ax, size=(6.4, 4.4))
        turn = np.linspace(0, 2 * np.pi, 200)
        for radius, dashes in ((1.0, "-"), (0.5, ":")):
            ax.plot(radius * np.cos(turn), radius * np.sin(turn), dashes, color="0.6", linewidth=0.8)
        for axis in (([-1, 1], [0, 0]), ([0, 0], [-1, 1])):
            ax.plot(*axis, color="0.85", linewidth=0.8, zorder=0)
        if kind == "biplot" and self.scores is not None:
            rows = self.scores / np.linalg.norm(self.scores, axis=1).max()
            ax.scatter(rows[:, 0], rows[:, 1], s=8, color="0.8", linewidths=0, label="rows", zorder=1)
        self.points_, shown = [], []
        views = (("X", self.x_loadings, self.x_names), ("Y", self.y_loadings, self.y_names))
        for i, (label, loadings, names) in enumerate(views):
            many = len(loadings) > 100
            style = {"s": 10 if many else 26, "alpha": 0.5 if many else 0.95, "linewidths": 0}
            self.points_.append(
                ax.scatter(
                    loadings[:, 0],
                    loadings[:, 1],
                    **{**style, "color": COLOURS[i], "marker": MARKERS[i], "label": label, **scatter},
                )
            )
            for j in largest(np.linalg.norm(loadings, axis=1), top):
                shown.append((loadings[j], names[j], DARK[i]))
        ax.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
        places = np.array([place for place, _, _ in shown])
        if kind == "biplot":
            for place, _, colour in shown:
                arrow = {"arrowstyle": "->", "color": colour, "linewidth": 1.0}
                ax.annotate("", place, (0, 0), arrowprops=arrow)
        for side in ax.spines.values():
            side.set_visible(False)
        ax.set(xticks=[], yticks=[])
        first, second = (c + 1 for c in self.components)
        ax.set(xlabel=f"correlation with variate {first}", ylabel=f"with variate {second}")
        self.names_ = name_points(
            ax, places, [name for _, name, _ in shown], [colour for _, _, colour in shown], 1.12
        )
        return self
