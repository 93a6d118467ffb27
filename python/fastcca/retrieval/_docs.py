"""Paragraphs that the docstrings of searches share."""

from fastcca._docstrings import with_paragraphs

__all__ = ["PARAGRAPHS", "documented"]

PARAGRAPHS = {
    "ids": """
        Parameters
        ----------
        ids : array_like, or one id
            Of rows that are there.
        """,
    "ids_of_gallery": """
        ids : array_like of shape (m,), optional
            Numbers or text that name the rows, all different; by default 0 to m - 1.
        """,
    "ids_of_new_rows": """
        ids : array_like of shape (r,), optional
            Their ids; by default the numbers after the largest so far.
        """,
    "returns_index": """
        Returns
        -------
        SearchIndex
            The index itself.
        """,
    "returns_cross_view_search": """
        Returns
        -------
        CrossViewSearch
            The search itself.
        """,
    "returns_label_search": """
        Returns
        -------
        LabelSearch
            The search itself.
        """,
    "k": """
        k : int, default=10
            From 1 to m.
        """,
    "returns_found": """
        Returns
        -------
        Found
            ``indices`` and ``scores``, both (n, k).
        """,
}

documented = with_paragraphs(PARAGRAPHS)
