"""Paragraphs that the docstrings of functions of arrays share."""

from fastcca._docstrings import with_paragraphs

__all__ = ["PARAGRAPHS", "documented"]

PARAGRAPHS = {
    "gradient_and_threads": """
        gradient : bool
            Whether to compute the gradients.
        n_threads : int, optional
            Threads to use; by default :func:`fastcca.get_num_threads`. The result does not depend on it.
        """,
    "as_pls_regression": """
        n_components, rounding, n_threads
            As in :func:`pls_regression`.

        Returns
        -------
        PLSFactors
        """,
}

documented = with_paragraphs(PARAGRAPHS)
