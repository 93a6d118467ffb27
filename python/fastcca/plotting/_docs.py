"""Paragraphs that the docstrings of displays share."""

from fastcca._docstrings import with_paragraphs

__all__ = ["PARAGRAPHS", "documented"]

PARAGRAPHS = {
    "ax_": """
        Attributes
        ----------
        ax_ : matplotlib.axes.Axes
            Set by :meth:`plot`.
        """,
    "lines_": """
        lines_ : list of matplotlib.lines.Line2D
            One for each curve, set by :meth:`plot`.
        """,
    "ax": """
        Parameters
        ----------
        ax : matplotlib.axes.Axes or None
            Where to draw; ``None``: a new figure.
        """,
    "kind": """
        kind : {"auto", "scatter", "hexbin"}, default="auto"
            Points, or hexagons coloured by how many rows they hold; "auto" takes hexagons for more than 20000
            rows without labels.
        """,
    "line": """
        **line
            Passed on to :meth:`matplotlib.axes.Axes.plot`.
        """,
}

documented = with_paragraphs(PARAGRAPHS)
