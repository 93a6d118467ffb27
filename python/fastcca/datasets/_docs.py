"""Paragraphs that the docstrings of data sets share."""

from fastcca._docstrings import with_paragraphs

__all__ = ["PARAGRAPHS", "documented"]

PARAGRAPHS = {
    "data_home": """
        Parameters
        ----------
        data_home : path or None
            The data home.
        """,
    "raises_for_files": """
        Raises
        ------
        FileNotFoundError
            If one of the files is missing.
        ValueError
            If one of them is damaged or does not belong to the others.
        """,
    "alpaydin_kaynak": """
        References
        ----------
        E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning
        Repository, 1998.
        """,
}

documented = with_paragraphs(PARAGRAPHS)
