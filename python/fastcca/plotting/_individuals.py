"""Rows on two components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca.plotting._docs import documented
from fastcca.plotting._style import new_axes
from fastcca.plotting._variates import check_kind, draw_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["IndividualDisplay"]


@documented
class IndividualDisplay:
    """Rows where their scores on two components of one view are.

    Parameters
    ----------
    scores : (n, 2) array
        The scores.
    labels : (n,) array or None
        What to colour the points by, as of :class:`VariateDisplay`.
    components : pair of int, default=(0, 1)
        Which components they are, from 0: for the axis labels.
    view : str, default="X"
        Of which view: for the axis labels.

    {ax_}
    points_ : list
        One collection for each class, one in all without classes; set by :meth:`plot`.
    ellipses_ : list of matplotlib.patches.Ellipse
        Set by :meth:`plot`.
    colorbar_ : matplotlib.colorbar.Colorbar or None
        Of labels that are a quantity, or of counts; set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import IndividualDisplay
    >>> IndividualDisplay([[0.0, 1.0], [1.0, 0.0]]).plot().ax_.get_xlabel()
    'X variate 1'
    """

    def __init__(
        self,
        scores: ArrayLike,
        labels: ArrayLike | None = None,
        components: tuple[int, int] = (0, 1),
        view: str = "X",
    ) -> None:
        self.scores = np.asarray(scores, dtype=np.float64)
        if self.scores.ndim != 2 or self.scores.shape[1] != 2:
            raise ValueError(f"scores must have two columns, got shape {self.scores.shape}")
        self.labels = None if labels is None else np.asarray(labels)
        self.components, self.view = components, view

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        data: Any,
        *,
        labels: ArrayLike | None = None,
        components: tuple[int, int] = (0, 1),
        view: Literal["X", "Y"] = "X",
    ) -> IndividualDisplay:
        """Scores of rows of one view of a fitted model."""
        if view not in ("X", "Y"):
            raise ValueError(f"view must be 'X' or 'Y', got {view!r}")
        scores = np.asarray((estimator.transform if view == "X" else estimator.transform_y)(data))
        return cls(scores[:, list(components)], labels, components, view)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["auto", "scatter", "hexbin"] = "auto",
        ellipse: float | None = None,
        **options: Any,
    ) -> IndividualDisplay:
        """Draw the rows.

        {ax}
        {kind}
        ellipse : float or None, default=None
            Also draw, for each class or for all rows, the ellipse that holds this fraction of a normal
            distribution with their mean and covariance: 0.95, for example.
        **options
            Passed on to :meth:`matplotlib.axes.Axes.scatter` or :meth:`matplotlib.axes.Axes.hexbin`.

        Returns
        -------
        IndividualDisplay
            This display, with ``ax_``, ``points_``, ``ellipses_`` and ``colorbar_`` set.
        """
        check_kind(kind)
        if ellipse is not None and not 0 < ellipse < 1:
            raise ValueError(f"ellipse must lie between 0 and 1, got {ellipse!r}")
        self.ax_ = new_axes(ax)
        x, y = self.scores.T
        drawn = draw_points(self.ax_, x, y, self.labels, kind, options)
        self.points_, self.colorbar_ = drawn.points, drawn.colorbar
        self.ellipses_ = []
        if ellipse is not None:
            for rows, colour in drawn.groups:
                if rows.sum() > 2:
                    self.ellipses_.append(self.ax_.add_patch(_ellipse(self.scores[rows], ellipse, colour)))
            self.ax_.autoscale_view()
        first, second = (c + 1 for c in self.components)
        self.ax_.set(xlabel=f"{self.view} variate {first}", ylabel=f"{self.view} variate {second}")
        return self


def _ellipse(rows: NDArray[Any], fraction: float, colour: Any) -> Any:
    """Where (z - m)ᵀ S⁻¹ (z - m) is the quantile of χ² with two degrees of freedom, -2 log(1 - fraction)."""
    from matplotlib.patches import Ellipse

    values, vectors = np.linalg.eigh(np.cov(rows.T))
    width, height = 2 * np.sqrt(-2 * np.log(1 - fraction) * np.maximum(values, 0))
    angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
    return Ellipse(rows.mean(axis=0), width, height, angle=angle, fill=False, edgecolor=colour, linewidth=1.5)
