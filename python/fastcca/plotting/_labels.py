"""Trees of labels, and labels as points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastcca.plotting._docs import documented
from fastcca.plotting._style import COLOURS, DARK, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LabelMapDisplay", "TaxonomyDisplay"]


@documented
class TaxonomyDisplay:
    """A tree of labels, from the root at the left to the leaves at the right.

    Parameters
    ----------
    taxonomy : fastcca.taxonomy.Taxonomy
        The tree.
    values : mapping of label to float, optional
        What to colour the nodes by, an accuracy for example.

    {ax_}
    places : dict of label to (depth, height)
        Where the nodes are; leaves one below the other.
    colorbar_ : matplotlib.colorbar.Colorbar or None
        Set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import TaxonomyDisplay
    >>> from fastcca.taxonomy import Taxonomy
    >>> display = TaxonomyDisplay(Taxonomy({"cat": "animal", "dog": "animal", "animal": None}))
    >>> display.places["cat"], display.places["animal"]
    ((1, 0.0), (0, 0.5))
    """

    def __init__(self, taxonomy: Any, values: Mapping[Any, float] | None = None) -> None:
        self.taxonomy = taxonomy
        self.values = None if values is None else dict(values)
        unknown = [node for node in self.values or {} if node not in taxonomy]
        if unknown:
            raise ValueError(f"values has {unknown[0]!r}, which is not in the taxonomy")
        self.places: dict[Any, tuple[int, float]] = {}
        leaves = 0
        # children before their parent, without recursion: a chain may be long
        stack: list[tuple[Any, int, bool]] = [(taxonomy.root, 0, False)]
        while stack:
            node, depth, done = stack.pop()
            children = list(taxonomy.children(node))
            if not children:
                self.places[node] = depth, float(leaves)
                leaves += 1
            elif done:
                heights = [self.places[child][1] for child in children]
                self.places[node] = depth, (heights[0] + heights[-1]) / 2
            else:
                stack.append((node, depth, True))
                stack += [(child, depth + 1, False) for child in reversed(children)]
        self.n_leaves = leaves

    @classmethod
    def from_taxonomy(cls, taxonomy: Any, values: Mapping[Any, float] | None = None) -> TaxonomyDisplay:
        """Of a :class:`fastcca.taxonomy.Taxonomy`."""
        return cls(taxonomy, values)

    @classmethod
    def from_estimator(cls, estimator: Any) -> TaxonomyDisplay:
        """Of the taxonomy of a fitted label embedding."""
        taxonomy = getattr(estimator, "taxonomy_", None) or getattr(estimator, "taxonomy", None)
        if taxonomy is None:
            raise TypeError(f"estimator must have a taxonomy, got {estimator!r}")
        return cls(taxonomy)

    def plot(self, ax: Axes | None = None, *, max_leaves: int = 150) -> TaxonomyDisplay:
        """Draw the tree.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None
            Where to draw; ``None``: a new figure, as high as the leaves need.
        max_leaves : int, default=150
            With more leaves than this they are drawn without names, inner nodes with the names for which
            there is space.

        Returns
        -------
        TaxonomyDisplay
            This display, with ``ax_`` and ``colorbar_`` set.
        """
        named = self.n_leaves <= max_leaves
        height = max(2.4, 0.8 + 0.2 * self.n_leaves) if named else 9.0
        depth = max(d for d, _ in self.places.values())
        self.ax_ = ax = new_axes(ax, size=(max(6.4, 1.7 * (depth + 1.5)), height))
        for node, (x, y) in self.places.items():
            parent = self.taxonomy.parent(node)
            if parent is not None and node != self.taxonomy.root:
                px, py = self.places[parent]
                ax.plot([px, px + 0.5, px + 0.5, x], [py, py, y, y], color="0.75", linewidth=0.9, zorder=1)
        # where leaves are many their points would be one stripe
        drawn = [node for node in self.places if named or self.taxonomy.children(node)]
        points = np.array([self.places[node] for node in drawn], dtype=float).reshape(-1, 2)
        colour = "0.75" if self.values else COLOURS[0]
        ax.scatter(points[:, 0], points[:, 1], s=14 if named else 4, color=colour, zorder=2)
        self.colorbar_ = None
        if self.values:
            known = [node for node in self.places if node in self.values]
            x, y = np.array([self.places[node] for node in known], dtype=float).T
            numbers = [self.values[node] for node in known]
            coloured = ax.scatter(x, y, c=numbers, cmap="viridis", s=30 if named else 8, zorder=3)
            self.colorbar_ = ax.figure.colorbar(coloured, ax=ax)
        taken: dict[int, float] = {}
        gap = 0.9 if named else self.n_leaves / 48
        for node in sorted(self.places, key=lambda node: self.places[node][1]):
            x, y = self.places[node]
            leaf = not self.taxonomy.children(node)
            if (leaf and not named) or (not leaf and y - taken.get(x, -np.inf) < gap):
                continue
            if not leaf:
                taken[x] = y
            ax.annotate(
                str(node),
                (x, y),
                (5, 0) if leaf else (0, 4) if named else (-4, 0),
                textcoords="offset points",
                va="bottom" if named and not leaf else "center",
                ha="left" if leaf or not x else "center" if named else "right",
                fontsize="small" if leaf else "x-small",
                color="black" if leaf else DARK[0],
                bbox=None if named else {"boxstyle": "square,pad=0.1", "color": "white", "linewidth": 0},
            )
        # space at the right for the names of the leaves
        longest = max((len(str(node)) for node in self.taxonomy.leaves), default=1) if named else 1
        ax.set(xlim=(-0.2, depth + 0.3 + 0.055 * longest), ylim=(self.n_leaves - 0.3, -0.9))
        ax.set_axis_off()
        return self


@documented
class LabelMapDisplay:
    """Points of labels in the plane: the two principal components of their embeddings.

    Parameters
    ----------
    points : (c, d) array
        The points; of more than two columns the principal components.
    labels : sequence
        Their names.
    parents : mapping of label to label, optional
        Lines are drawn to the parents that are among the labels.
    groups : sequence or None
        What to colour the labels by.

    Attributes
    ----------
    plane : (c, 2) array
        Where they are drawn.
    ax_ : matplotlib.axes.Axes
        Set by :meth:`plot`.
    names_ : list of matplotlib.text.Annotation
        The names that are shown, set by :meth:`plot`.

    Examples
    --------
    >>> from fastcca.plotting import LabelMapDisplay
    >>> display = LabelMapDisplay([[0.0, 1.0], [2.0, 0.0]], ["cat", "whale"]).plot()
    >>> [name.get_text() for name in display.names_]
    ['cat', 'whale']
    """

    def __init__(
        self,
        points: ArrayLike,
        labels: Sequence[Any],
        parents: Mapping[Any, Any] | None = None,
        groups: Sequence[Any] | None = None,
    ) -> None:
        given = np.asarray(points, dtype=np.float64)
        if given.ndim != 2 or len(given) != len(labels):
            raise ValueError(f"points must be ({len(labels)}, d) for as many labels, got shape {given.shape}")
        self.labels = list(labels)
        self.parents = dict(parents or {})
        self.groups = None if groups is None else list(groups)
        centred = given - given.mean(axis=0)
        if centred.shape[1] > 2:
            _, _, Vt = np.linalg.svd(centred, full_matrices=False)
            centred = centred @ Vt[:2].T
        self.plane = np.column_stack([centred, np.zeros((len(given), 2 - centred.shape[1]))])

    @classmethod
    def from_estimator(cls, estimator: Any) -> LabelMapDisplay:
        """Of a fitted label embedding, with its superclasses and lines to their children."""
        if not hasattr(estimator, "label_embedding_"):
            raise TypeError(f"estimator must be a fitted label embedding, got {estimator!r}")
        points, labels = [np.asarray(estimator.label_embedding_)], list(estimator.classes_)
        above = list(getattr(estimator, "superclasses_", []))
        parents = {}
        if above:
            points.append(np.asarray(estimator.superclass_embedding_))
            labels += above
            taxonomy = getattr(estimator, "taxonomy_", None) or estimator.taxonomy
            for node in labels:
                if node in taxonomy and taxonomy.parent(node) in labels:
                    parents[node] = taxonomy.parent(node)
        n_classes = len(estimator.classes_)
        groups = ["class"] * n_classes + ["superclass"] * len(above) if above else None
        return cls(np.vstack(points), labels, parents, groups)

    def plot(self, ax: Axes | None = None, *, max_names: int | None = 60, **scatter: Any) -> LabelMapDisplay:
        """Draw the labels.

        {ax}
        max_names : int or None, default=60
            At most this many names, fewer where one would be printed over another; those farthest from the
            middle first. ``None``: as many as there is space for.
        **scatter
            Passed on to :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        LabelMapDisplay
            This display, with ``ax_`` and ``names_`` set.
        """
        self.ax_ = ax = new_axes(ax, size=(7.2, 5.4))
        where = dict(zip(self.labels, self.plane, strict=True))
        for child, parent in self.parents.items():
            ax.plot(*np.array([where[child], where[parent]]).T, color="0.85", linewidth=0.8, zorder=0)
        kinds = list(dict.fromkeys(self.groups)) if self.groups else [None]
        for i, kind in enumerate(kinds):
            here = np.array([kind is None or group == kind for group in self.groups or self.labels])
            style = {"s": 22, "color": COLOURS[i % len(COLOURS)], "marker": "os^D"[i % 4], "linewidths": 0}
            ax.scatter(*self.plane[here].T, **{**style, "label": kind, **scatter})
        ax.margins(0.12)
        ax.set(xlabel="first principal component", ylabel="second")
        if self.groups:
            ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        self.names_ = self._named(max_names)
        return self

    def _named(self, max_names: int | None) -> list[Any]:
        """Names next to their points, those left out that would cover a name or a point drawn before."""
        ax, figure = self.ax_, self.ax_.figure
        figure.canvas.draw()
        drawn: list[Any] = []
        boxes: list[Any] = []
        inside = ax.get_window_extent()
        pixels = ax.transData.transform(self.plane)
        farthest = np.argsort(-np.linalg.norm(self.plane, axis=1), kind="stable")
        for i in farthest if max_names is None else farthest[: 4 * max_names]:
            if max_names is not None and len(drawn) >= max_names:
                break
            for offset, ha, va in (
                ((5, 0), "left", "center"),
                ((-5, 0), "right", "center"),
                ((0, 6), "center", "bottom"),
                ((0, -6), "center", "top"),
            ):
                name = ax.annotate(
                    str(self.labels[i]),
                    self.plane[i],
                    offset,
                    textcoords="offset points",
                    ha=ha,
                    va=va,
                    fontsize="small",
                )
                box = name.get_window_extent()
                covered = ((pixels > (box.x0, box.y0)) & (pixels < (box.x1, box.y1))).all(axis=1)
                fits = (
                    box.x0 >= inside.x0
                    and box.x1 <= inside.x1
                    and box.y0 >= inside.y0
                    and box.y1 <= inside.y1
                )
                if fits and not covered.any() and not any(box.overlaps(other) for other in boxes):
                    drawn.append(name)
                    boxes.append(box)
                    break
                name.remove()
        return drawn
