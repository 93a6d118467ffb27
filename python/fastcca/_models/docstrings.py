"""Paragraphs that several docstrings share are written once and put in where a class is defined."""

import re
import textwrap
from collections.abc import Callable, Mapping
from typing import TypeVar

__all__ = ["with_paragraphs"]

Documented = TypeVar("Documented")

PLACE = re.compile(r"^([ ]*)\{(\w+)\}$", re.MULTILINE)


def with_paragraphs(paragraphs: Mapping[str, str]) -> Callable[[Documented], Documented]:
    """Decorator of a class or function: a line ``{name}`` of its docstring becomes ``paragraphs[name]``.

    ``help``, Sphinx and doctest see the full text. A name that ``paragraphs`` lacks is a KeyError where the
    class is defined.

    Examples
    --------
    >>> from fastcca._models.docstrings import with_paragraphs
    >>> @with_paragraphs({"seed": "random_state : int or None\\n    Of the shuffled batches."})
    ... def fit():
    ...     '''Fit.
    ...
    ...     {seed}
    ...     '''
    >>> "Of the shuffled batches." in fit.__doc__
    True
    """

    def put_in(documented: Documented) -> Documented:
        text = documented.__doc__
        if text is not None:  # python -OO keeps none

            def paragraph(place: re.Match[str]) -> str:
                return textwrap.indent(textwrap.dedent(paragraphs[place[2]]).strip("\n"), place[1])

            documented.__doc__ = PLACE.sub(paragraph, text)
        return documented

    return put_in
