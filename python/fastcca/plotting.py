"""Pictures of fitted models, as scikit-learn's displays: the data first, then ``plot``.

Needs matplotlib: ``pip install 'fastcca[plot]'``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca.metrics import column_correlations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "CorrelationDisplay",
    "ExplanationDisplay",
    "LoadingDisplay",
    "SimilarityDisplay",
    "VariateDisplay",
]


class CorrelationDisplay:
    """The correlations of the pairs of variates, component by component.

    Parameters
    ----------
    correlations : mapping of str to (k,) array
        One curve for each entry; its key is the label. The k may differ.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Set by :meth:`plot`.
    lines_ : list of matplotlib.lines.Line2D
        One for each curve, set by :meth:`plot`.

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

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None
            Where to draw; ``None``: a new figure.
        **line
            Passed on to :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        CorrelationDisplay
            This display, with ``ax_`` and ``lines_`` set.
        """
        self.ax_ = _axes(ax)
        self.lines_ = []
        for label, values in self.correlations.items():
            style = {"marker": "o", "markersize": 3, "label": label, **line}
            self.lines_ += self.ax_.plot(np.arange(1, len(values) + 1), values, **style)
        self.ax_.set(xlabel="component", ylabel="correlation", ylim=(min(0.0, self._lowest()), 1.02))
        self.ax_.locator_params(axis="x", integer=True)
        self.ax_.legend()
        return self

    def _lowest(self) -> float:
        return min(float(values.min()) for values in self.correlations.values())


class VariateDisplay:
    """One pair of variates against each other, a point for each row.

    Parameters
    ----------
    x_variate, y_variate : (n,) array
        The scores of the two views.
    labels : (n,) array or None
        Classes to colour the points by.
    component : int, default=0
        Which component they are, from 0: for the axis labels.

    Attributes
    ----------
    correlation : float
        The Pearson correlation of the two variates.
    ax_ : matplotlib.axes.Axes
        Set by :meth:`plot`.
    points_ : list of matplotlib.collections.PathCollection
        One for each class, set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import VariateDisplay
    >>> VariateDisplay([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).correlation
    1.0
    """

    def __init__(
        self, x_variate: ArrayLike, y_variate: ArrayLike, labels: ArrayLike | None = None, component: int = 0
    ) -> None:
        self.x_variate, self.y_variate = np.asarray(x_variate), np.asarray(y_variate)
        self.labels = None if labels is None else np.asarray(labels)
        self.component = component
        self.correlation = float(np.corrcoef(self.x_variate, self.y_variate)[0, 1])

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, labels: ArrayLike | None = None, component: int = 0
    ) -> VariateDisplay:
        """One pair of variates of a fitted model (anything with ``transform_views``) on the rows given."""
        if not hasattr(estimator, "transform_views"):
            raise TypeError(f"estimator must be a model of two views with transform_views, got {estimator!r}")
        x_scores, y_scores = (np.asarray(scores) for scores in estimator.transform_views(X, y))
        return cls(x_scores[:, component], y_scores[:, component], labels, component)

    def plot(self, ax: Axes | None = None, **scatter: Any) -> VariateDisplay:
        """Draw the points; further arguments go to :meth:`matplotlib.axes.Axes.scatter`."""
        self.ax_ = _axes(ax)
        if self.labels is None:
            groups: list[tuple[Any, NDArray[Any]]] = [(None, np.ones(len(self.x_variate), dtype=bool))]
        else:
            groups = [(label, self.labels == label) for label in np.unique(self.labels)]
        self.points_ = [
            self.ax_.scatter(
                self.x_variate[rows],
                self.y_variate[rows],
                **{"s": 6, "alpha": 0.6, "linewidths": 0, "color": f"C{i % 10}", "label": label, **scatter},
            )
            for i, (label, rows) in enumerate(groups)
        ]
        number = self.component + 1
        self.ax_.set(
            xlabel=f"X variate {number}",
            ylabel=f"Y variate {number}",
            title=f"pair {number}, correlation {self.correlation:.3f}",
        )
        if self.labels is not None:
            self.ax_.legend(markerscale=3, ncols=2, fontsize="small")
        return self


class ExplanationDisplay:
    """A label as its parent and a few attributes, a bar for each coefficient.

    Parameters
    ----------
    label, parent : label
        What is explained, and the node above it or ``None``.
    attributes : sequence of (str, float)
        Names and coefficients.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Set by :meth:`plot`.
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
        self.ax_ = _axes(ax)
        places = np.arange(len(self.names))
        self.bars_ = self.ax_.barh(places, self.weights, **{"color": "C0", **bar})
        self.ax_.set_yticks(places, self.names)
        self.ax_.invert_yaxis()
        above = "" if self.parent is None else f"{self.parent} + "
        self.ax_.set(xlabel="coefficient", title=f"{self.label} = {above}…")
        return self


class LoadingDisplay:
    """The loadings of one component: correlations of every column of both views with its own variate.

    Parameters
    ----------
    x_loadings, y_loadings : (p,) and (q,) array
        The loadings of the two views.
    x_names, y_names : sequence of str or None
        Names of the columns; ``None``: x0, x1, … and y0, y1, …
    component : int, default=0
        Which component they are, from 0: for the title.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Set by :meth:`plot`.
    bars_ : matplotlib.container.BarContainer
        The bars, X's first, set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import LoadingDisplay
    >>> LoadingDisplay([0.9, -0.2], [0.8]).names
    ['x0', 'x1', 'y0']
    """

    def __init__(
        self,
        x_loadings: ArrayLike,
        y_loadings: ArrayLike,
        x_names: Sequence[str] | None = None,
        y_names: Sequence[str] | None = None,
        component: int = 0,
    ) -> None:
        self.x_loadings, self.y_loadings = np.asarray(x_loadings), np.asarray(y_loadings)
        self.component = component
        self.names: list[str] = []
        for view, loadings, names in (("x", self.x_loadings, x_names), ("y", self.y_loadings, y_names)):
            if names is None:
                names = [f"{view}{i}" for i in range(len(loadings))]
            if len(names) != len(loadings):
                raise ValueError(f"{view}_names must be {len(loadings)} names, got {len(names)}")
            self.names += map(str, names)

    @classmethod
    def from_estimator(cls, estimator: Any, *, component: int = 0) -> LoadingDisplay:
        """The loadings that a fitted :class:`fastcca.CCA` holds, with the feature names it saw."""
        return cls(
            estimator.x_loadings_[:, component],
            estimator.y_loadings_[:, component],
            getattr(estimator, "feature_names_in_", None),
            getattr(estimator, "y_feature_names_in_", None),
            component,
        )

    def plot(
        self, ax: Axes | None = None, *, kind: Literal["bar", "helio"] = "bar", **bar: Any
    ) -> LoadingDisplay:
        """Draw the loadings.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None
            Where to draw; ``None``: a new figure. A heliograph needs a polar one.
        kind : {"bar", "helio"}, default="bar"
            ``"bar"``: horizontal bars, from the first column of X at the top to the last of y.
            ``"helio"``: a heliograph, X around the right half of a circle and y around the left, from the
            top down; positive bars point outwards from the circle and negative ones inwards.
        **bar
            Passed on to :meth:`matplotlib.axes.Axes.barh` or :meth:`matplotlib.axes.Axes.bar`.

        Returns
        -------
        LoadingDisplay
            This display, with ``ax_`` and ``bars_`` set.
        """
        if kind not in ("bar", "helio"):
            raise ValueError(f"kind must be 'bar' or 'helio', got {kind!r}")
        loadings = np.concatenate([self.x_loadings, self.y_loadings])
        p, q = len(self.x_loadings), len(self.y_loadings)
        style = {"color": ["C0"] * p + ["C1"] * q, **bar}
        self.ax_ = _axes(ax, projection="polar" if kind == "helio" else None)
        title = f"loadings of pair {self.component + 1}"
        if kind == "bar":
            places = np.arange(p + q)
            self.bars_ = self.ax_.barh(places, loadings, **style)
            self.ax_.set_yticks(places, self.names)
            self.ax_.invert_yaxis()
            self.ax_.axvline(0, color="0.5", linewidth=0.8)
            self.ax_.set(xlim=(-1, 1), xlabel="correlation with the variate", title=title)
            return self
        if self.ax_.name != "polar":
            raise ValueError(f"ax must be polar for a heliograph, got {self.ax_.name}")
        # Clockwise from the top: X over the first half turn; y runs back along the other.
        right, left = (np.arange(p) + 0.5) * np.pi / p, 2 * np.pi - (np.arange(q) + 0.5) * np.pi / q
        width = np.concatenate([np.full(p, 0.8 * np.pi / p), np.full(q, 0.8 * np.pi / q)])
        polar: Any = self.ax_
        polar.set_theta_zero_location("N")
        polar.set_theta_direction(-1)
        # A bar of length |loading| outwards or inwards from the circle of radius 2.
        self.bars_ = self.ax_.bar(np.concatenate([right, left]), loadings, width=width, bottom=2, **style)
        self.ax_.plot(np.linspace(0, 2 * np.pi, 200), np.full(200, 2.0), color="0.5", linewidth=0.8)
        self.ax_.set_xticks(np.concatenate([right, left]), self.names)
        self.ax_.set_yticks([1, 2, 3], ["−1", "0", "1"])
        self.ax_.set(ylim=(0, 3), title=title)
        return self


def _axes(ax: Axes | None, projection: str | None = None) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("fastcca.plotting needs matplotlib: pip install 'fastcca[plot]'") from error
    _, ax = pyplot.subplots(subplot_kw={"projection": projection})
    return ax


class SimilarityDisplay:
    """A heat map of similarities: layers against layers.

    Parameters
    ----------
    values : array_like of shape (rows, columns)
        The similarities.
    rows, columns : sequence of str
        Names of the layers; ``columns`` by default the same as ``rows``.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Set by :meth:`plot`.
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

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None
            Where to draw; ``None``: a new figure.
        annotate : bool, optional
            Whether to write the values into the cells; by default where there are at most 12 columns.
        **image
            Passed on to :meth:`matplotlib.axes.Axes.imshow`.

        Returns
        -------
        SimilarityDisplay
            Itself, with ``ax_`` and ``image_``.
        """
        ax = self.ax_ = _axes(ax)
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
