"""Paragraphs that the docstrings of metrics share."""

from fastcca._docstrings import with_paragraphs

__all__ = ["PARAGRAPHS", "documented"]

PARAGRAPHS = {
    "labels_and_taxonomy": """
        Parameters
        ----------
        y_true, y_pred : array_like of shape (n,)
            True and predicted labels, nodes of the taxonomy.
        taxonomy : Taxonomy
            The tree.
        """,
    "sample_weight": """
        sample_weight : array_like of shape (n,), optional
            Weights count as repetitions of a sample.
        """,
    "returns_fraction": """
        Returns
        -------
        float
            Between 0 and 1.
        """,
    "raises_for_labels": """
        Raises
        ------
        ValueError
            For different shapes or labels that are no nodes.
        """,
    "queries_and_gallery": """
        Parameters
        ----------
        Zx : array_like of shape (n, d)
            Queries.
        Zy : array_like of shape (m, d)
            Gallery, in the same space. Without ids the partner of query i is row i, and m is n.
        """,
    "similarity": """
        similarity : {"cosine", "euclidean"}, default="cosine"
            What the ranking is by.
        """,
}

documented = with_paragraphs(PARAGRAPHS)
