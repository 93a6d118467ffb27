"""Tables of numbers as colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastcca._arguments.parameters import POSITIVE_INTEGER
from fastcca.plotting._docs import documented
from fastcca.plotting._style import feature_names, largest, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["HeatMapDisplay", "SimilarityDisplay"]


@documented
class SimilarityDisplay:
    """A heat map of similarities: layers against layers.

    Parameters
    ----------
    values : array_like of shape (rows, columns)
        The similarities.
    rows, columns : sequence of str
        Names of the layers; ``columns`` by default the same as ``rows``.

    {ax_}
    image_ : matplotlib.image.AxesImage
        Set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import SimilarityDisplay
    >>> display = SimilarityDisplay([[1.0, 0.3], [0.3, 1.0]], ["first", "second"]).plot()
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['first', 'second']
    """

    def __init__(self, values: ArrayLike, rows: Sequence[str], columns: Sequence[str] | None = None) -> None:
        self.values = np.asarray(values, dtype=np.float64)
        self.rows = list(rows)
        self.columns = list(rows if columns is None else columns)
        if self.values.shape != (len(self.rows), len(self.columns)):
            raise ValueError(
                f"values must have shape {(len(self.rows), len(self.columns))} to fit the names, got "
                f"{self.values.shape}"
            )

    @classmethod
    def from_matrix(
        cls, matrix: Any, rows: Sequence[str] | None = None, columns: Sequence[str] | None = None
    ) -> SimilarityDisplay:
        """Of what :func:`fastcca.similarity.compare` returns.

        Parameters
        ----------
        matrix : fastcca.similarity.SimilarityMatrix
            The similarities.
        rows, columns : sequence of str, optional
            Names of the layers to show; by default all of them.
        """
        of_rows = list(matrix.names if rows is None else rows)
        of_columns = list(matrix.names if columns is None else columns)
        return cls(matrix.between(of_rows, of_columns), of_rows, of_columns)

    def plot(
        self, ax: Axes | None = None, *, annotate: bool | None = None, **image: Any
    ) -> SimilarityDisplay:
        """Draw the heat map.

        {ax}
        annotate : bool, optional
            Whether to write the values into the cells; by default where there are at most 12 columns.
        **image
            Passed on to :meth:`matplotlib.axes.Axes.imshow`.

        Returns
        -------
        SimilarityDisplay
            Itself, with ``ax_`` and ``image_``.
        """
        ax = self.ax_ = new_axes(ax)
        options: dict[str, Any] = {"cmap": "viridis", "vmin": min(0.0, float(self.values.min())), **image}
        self.image_ = ax.imshow(self.values, **options)
        ax.set_xticks(range(len(self.columns)), self.columns, rotation=90)
        ax.set_yticks(range(len(self.rows)), self.rows)
        if annotate if annotate is not None else max(self.values.shape) <= 12:
            middle = (float(self.values.max()) + float(self.values.min())) / 2
            for (i, j), value in np.ndenumerate(self.values):
                color = "black" if value > middle else "white"
                ax.text(j, i, f"{value:.2f}", ha="center", va="center", color=color, fontsize="small")
        ax.figure.colorbar(self.image_, ax=ax)
        return self


@documented
class HeatMapDisplay:
    """A heat map of signed numbers: columns of X against columns of y.

    Parameters
    ----------
    values : array_like of shape (p, q)
        Correlations, or other numbers about 0.
    rows, columns : sequence of str or None
        Names of the columns of X and of y; ``None``: x0, x1, … and y0, y1, …

    {ax_}
    image_ : matplotlib.image.AxesImage
        Set by :meth:`plot`.
    shown_ : tuple of two ndarray of int
        Which rows and columns are drawn, set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import HeatMapDisplay
    >>> display = HeatMapDisplay([[0.8, -0.1], [0.1, 0.3]]).plot(top=1)
    >>> [part.tolist() for part in display.shown_]
    [[0], [0]]
    """

    def __init__(
        self, values: ArrayLike, rows: Sequence[str] | None = None, columns: Sequence[str] | None = None
    ) -> None:
        self.values = np.asarray(values, dtype=np.float64)
        if self.values.ndim != 2:
            raise ValueError(f"values must be a table, got shape {self.values.shape}")
        self.rows = feature_names("x", rows, self.values.shape[0])
        self.columns = feature_names("y", columns, self.values.shape[1])

    @classmethod
    def from_estimator(cls, estimator: Any, *, n_components: int | None = None) -> HeatMapDisplay:
        """The correlations of columns of X with columns of y that pass through the leading components.

        With the loadings L and the canonical correlations ρ these are Lx diag(ρ) Lyᵀ; all components of a CCA
        without a ridge together give the correlations of the columns themselves.

        Parameters
        ----------
        estimator : fitted two-view estimator
            With ``x_loadings_``, ``y_loadings_`` and ``canonical_correlations_``.
        n_components : int, optional
            How many components; by default all.
        """
        first = slice(None if n_components is None else POSITIVE_INTEGER("n_components", n_components))
        x, y = (np.asarray(loadings)[:, first] for loadings in (estimator.x_loadings_, estimator.y_loadings_))
        return cls(
            (x * np.asarray(estimator.canonical_correlations_)[first]) @ y.T,
            getattr(estimator, "feature_names_in_", None),
            getattr(estimator, "y_feature_names_in_", None),
        )

    def plot(self, ax: Axes | None = None, *, top: int | None = 20, **image: Any) -> HeatMapDisplay:
        """Draw the heat map.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None
            Where to draw; ``None``: a new figure, as large as the names need.
        top : int or None, default=20
            How many rows and columns to draw: those with the largest absolute numbers, in their order.
            ``None``: all.
        **image
            Passed on to :meth:`matplotlib.axes.Axes.imshow`.

        Returns
        -------
        HeatMapDisplay
            Itself, with ``ax_``, ``image_`` and ``shown_``.
        """
        if top is not None:
            POSITIVE_INTEGER("top", top)
        size = np.abs(np.nan_to_num(self.values))
        rows, columns = largest(size.max(axis=1), top), largest(size.max(axis=0), top)
        self.shown_ = rows, columns
        values = self.values[np.ix_(rows, columns)]
        inches = (min(max(4.8, 2.6 + 0.24 * len(columns)), 16.0), min(max(3.2, 1.8 + 0.22 * len(rows)), 16.0))
        self.ax_ = ax = new_axes(ax, size=inches)
        reach = float(np.nanmax(np.abs(values))) or 1.0
        # Blue and red with white between: no colour vision takes one for the other.
        self.image_ = ax.imshow(
            values, **{"cmap": "RdBu_r", "vmin": -reach, "vmax": reach, "aspect": "auto", **image}
        )
        ax.set_xticks(range(len(columns)), [self.columns[j] for j in columns], rotation=90, fontsize="small")
        ax.set_yticks(range(len(rows)), [self.rows[i] for i in rows], fontsize="small")
        if (len(rows), len(columns)) != self.values.shape:
            ax.set_title(
                f"{len(rows)} of {len(self.rows)} rows, {len(columns)} of {len(self.columns)} columns",
                fontsize="medium",
            )
        ax.figure.colorbar(self.image_, ax=ax, label="correlation")
        return self
