"""Pictures of fitted models, as scikit-learn's displays: the data first, then ``plot``.

Needs matplotlib: ``pip install 'fastcca[plot]'``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._arguments.parameters import check_count
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

# Ten colours that people with any colour vision tell apart, of M. A. Petroff, "Accessible color sequences for
# data visualization", 2021 (matplotlib's "petroff10"; tab10 has pairs that look the same to a tenth of men).
COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
# Beyond ten classes the shape distinguishes those of one colour.
_MARKERS = "os^DvP*X<>"
_MAX_LEGEND = 30


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


class VariateDisplay:
    """One pair of variates against each other, a point for each row.

    Parameters
    ----------
    x_variate, y_variate : (n,) array
        The scores of the two views.
    labels : (n,) array or None
        What to colour the points by. Floats, and integers of more than 20 values, are a quantity and get a
        colour bar; anything else is classes and gets a legend.
    component : int, default=0
        Which component they are, from 0: for the axis labels.

    Attributes
    ----------
    correlation : float
        The Pearson correlation of the two variates.
    ax_ : matplotlib.axes.Axes
        Set by :meth:`plot`.
    points_ : list of matplotlib.collections.PathCollection
        One for each class in the order of the classes, one in all without classes; set by :meth:`plot`.
    colorbar_ : matplotlib.colorbar.Colorbar or None
        Of labels that are a quantity, set by :meth:`plot`.

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
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None
            Where to draw; ``None``: a new figure.
        **scatter
            Passed on to :meth:`matplotlib.axes.Axes.scatter`. By default points are larger where there are
            few of them.

        Returns
        -------
        VariateDisplay
            This display, with ``ax_``, ``points_`` and ``colorbar_`` set.
        """
        self.ax_ = _axes(ax)
        self.colorbar_ = None
        n = len(self.x_variate)
        style: dict[str, Any] = {
            "s": float(np.clip(6000 / max(n, 1), 12, 36)),
            "alpha": 0.9 if n <= 1000 else 0.7,
            "linewidths": 0,
        }
        number = self.component + 1
        self.ax_.set(
            xlabel=f"X variate {number}",
            ylabel=f"Y variate {number}",
            title=f"pair {number}, correlation {self.correlation:.3f}",
        )
        if self.labels is None or _is_quantity(self.labels):
            colour = {"color": COLOURS[0]} if self.labels is None else {"c": self.labels, "cmap": "viridis"}
            self.points_ = [
                self.ax_.scatter(self.x_variate, self.y_variate, **{**style, **colour, **scatter})
            ]
            if self.labels is not None:
                self.colorbar_ = self.ax_.figure.colorbar(self.points_[0], ax=self.ax_)
            return self
        classes = np.unique(self.labels)
        self.points_ = [
            self.ax_.scatter(
                self.x_variate[self.labels == label],
                self.y_variate[self.labels == label],
                **{
                    **style,
                    "color": COLOURS[i % len(COLOURS)],
                    "marker": _MARKERS[i // len(COLOURS) % len(_MARKERS)],
                    "label": label,
                    **scatter,
                },
            )
            for i, label in enumerate(classes)
        ]
        if len(classes) <= _MAX_LEGEND:
            # Outside of the axes, where it hides no point.
            self.ax_.legend(
                loc="center left",
                bbox_to_anchor=(1.0, 0.5),
                frameon=False,
                ncols=1 + (len(classes) - 1) // 15,
                fontsize="small",
                markerscale=1.8,
            )
        return self


def _is_quantity(labels: NDArray[Any]) -> bool:
    return labels.dtype.kind == "f" or (labels.dtype.kind in "iu" and len(np.unique(labels)) > 20)


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
        self.bars_ = self.ax_.barh(places, self.weights, **{"color": COLOURS[0], **bar})
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
    shown_ : ndarray of shape (n_shown,)
        Which of ``names`` are drawn, X's first; set by :meth:`plot`.

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
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["bar", "helio"] = "bar",
        top: int | None = 10,
        **bar: Any,
    ) -> LoadingDisplay:
        """Draw the loadings.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None
            Where to draw; ``None``: a new figure. A heliograph needs a polar one.
        kind : {"bar", "helio"}, default="bar"
            ``"bar"``: horizontal bars, from the first column of X at the top to the last of y. A new figure
            is as high as the names need.
            ``"helio"``: a heliograph, X around the right half of a circle and y around the left, from the
            top down; positive bars point outwards from the circle and negative ones inwards.
        top : int or None, default=10
            How many columns of each view to draw: those of largest absolute loading, in the order of the
            columns. ``None``: all.
        **bar
            Passed on to :meth:`matplotlib.axes.Axes.barh` or :meth:`matplotlib.axes.Axes.bar`.

        Returns
        -------
        LoadingDisplay
            This display, with ``ax_``, ``bars_`` and ``shown_`` set.

        Raises
        ------
        ValueError
            For another ``kind``, a ``top`` below 1, or axes that are not polar for a heliograph.
        """
        if kind not in ("bar", "helio"):
            raise ValueError(f"kind must be 'bar' or 'helio', got {kind!r}")
        if top is not None:
            check_count("top", top, low=1)
        x_shown, y_shown = (_largest(loadings, top) for loadings in (self.x_loadings, self.y_loadings))
        self.shown_ = np.concatenate([x_shown, y_shown + len(self.x_loadings)])
        loadings = np.concatenate([self.x_loadings, self.y_loadings])[self.shown_]
        names = [self.names[i] for i in self.shown_]
        p, q = len(x_shown), len(y_shown)
        style = {"color": [COLOURS[0]] * p + [COLOURS[1]] * q, **bar}
        size = (6.4, max(2.4, 1.0 + 0.21 * (p + q))) if kind == "bar" else (6.4, 6.4)
        self.ax_ = _axes(ax, projection="polar" if kind == "helio" else None, size=size)
        title = f"loadings of pair {self.component + 1}"
        if (p, q) != (len(self.x_loadings), len(self.y_loadings)):
            title += f"\nlargest {p} of {len(self.x_loadings)} (X) and {q} of {len(self.y_loadings)} (Y)"
        if kind == "bar":
            places = np.arange(p + q)
            self.bars_ = self.ax_.barh(places, loadings, **style)
            self.ax_.set_yticks(places, names, fontsize="small")
            self.ax_.invert_yaxis()
            self.ax_.margins(y=0.02)
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
        self.ax_.set_xticks(np.concatenate([right, left]), names, fontsize="small")
        for label, angle in zip(self.ax_.get_xticklabels(), [*right, *left], strict=True):
            label.set_horizontalalignment("left" if angle < np.pi else "right")
        self.ax_.set_yticks([1, 2, 3], ["−1", "0", "1"], fontsize="small")
        polar.set_rlabel_position(0)
        self.ax_.set(ylim=(0, 3))
        self.ax_.set_title(title, pad=16)
        return self


def _largest(loadings: NDArray[Any], top: int | None) -> NDArray[np.intp]:
    """The places of the largest, in the order of the columns; undefined ones come last."""
    size = np.where(np.isnan(loadings), -1.0, np.abs(loadings))
    return np.sort(np.argsort(-size, kind="stable")[:top])


def _axes(ax: Axes | None, projection: str | None = None, size: tuple[float, float] | None = None) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("fastcca.plotting needs matplotlib: pip install 'fastcca[plot]'") from error
    _, ax = pyplot.subplots(figsize=size, layout="constrained", subplot_kw={"projection": projection})
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
