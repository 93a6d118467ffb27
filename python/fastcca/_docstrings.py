"""Paragraphs that several docstrings share are written once and put in where a class is defined."""

import re
import textwrap
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, TypeVar

__all__ = ["with_paragraphs"]

Documented = TypeVar("Documented")

PLACE = re.compile(r"^([ ]*)\{(\w+)\}$", re.MULTILINE)


def with_paragraphs(paragraphs: Mapping[str, str]) -> Callable[[Documented], Documented]:
    """Decorator of a class or function: a line ``{name}`` of its docstring becomes ``paragraphs[name]``.

    Of a class, those of the methods and properties that it defines are completed too. A paragraph may hold
    such lines itself. ``help``, Sphinx and doctest see the full text. A name that ``paragraphs`` lacks is a
    KeyError where the class is defined.

    Examples
    --------
    >>> from fastcca._docstrings import with_paragraphs
    >>> @with_paragraphs({"seed": "random_state : int or None\\n    Of the shuffled batches."})
    ... def fit():
    ...     '''Fit.
    ...
    ...     {seed}
    ...     '''
    >>> "Of the shuffled batches." in fit.__doc__
    True
    """

    def paragraph(place: re.Match[str]) -> str:
        text = textwrap.dedent(paragraphs[place[2]]).strip("\n")
        return textwrap.indent(PLACE.sub(paragraph, text), place[1])

    def put_in(documented: Documented) -> Documented:
        parts: list[Any] = [documented]
        for member in vars(documented).values() if isinstance(documented, type) else ():
            if isinstance(member, (FunctionType, property)):
                parts.append(member)
            elif isinstance(member, (classmethod, staticmethod)):  # which keep a copy of their function's
                parts += [member, member.__func__]
        for part in parts:
            if part.__doc__ is not None:  # python -OO keeps none
                part.__doc__ = PLACE.sub(paragraph, part.__doc__)
        return documented

    return put_in
