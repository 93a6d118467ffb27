"""Docstrings as users see them: shared paragraphs are put in, everywhere."""

import importlib
import inspect
import pkgutil
import re

import pytest

import fastcca
from fastcca._docstrings import with_paragraphs

MODULES = [
    module.name
    for module in pkgutil.walk_packages(fastcca.__path__, "fastcca.")
    if not re.search(r"\._core|__main__", module.name)
]


def docstrings(module):
    """Of the classes and functions that a module defines, and of their methods: names and texts."""
    for name, found in vars(module).items():
        if getattr(found, "__module__", None) != module.__name__:
            continue
        yield name, inspect.getdoc(found)
        for member, value in vars(found).items() if isinstance(found, type) else ():
            if inspect.isroutine(value) or isinstance(value, property):
                yield f"{name}.{member}", inspect.getdoc(value)


@pytest.mark.parametrize("name", MODULES)
def test_no_paragraph_is_left_to_be_put_in(name):
    if name.startswith("fastcca.deep"):
        pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")
    for where, text in docstrings(importlib.import_module(name)):
        assert not re.search(r"^ *\{\w+\}$", text or "", re.MULTILINE), where


def test_paragraphs_are_put_in_with_their_indentation():
    @with_paragraphs({"seed": "\n        random_state : int\n            A seed.\n        "})
    class Fitted:
        r"""Head, with {braces} in a line and $\frac{a}{b}$.

        Parameters
        ----------
        {seed}
        """

    assert inspect.getdoc(Fitted).splitlines()[2:] == [
        "Parameters",
        "----------",
        "random_state : int",
        "    A seed.",
    ]
    assert "{braces}" in Fitted.__doc__
    with pytest.raises(KeyError, match="unknown"):

        @with_paragraphs({})
        def fit():
            """Head.

            {unknown}
            """


def test_methods_take_paragraphs_of_paragraphs():
    @with_paragraphs({"both": "{one}\n{two}", "one": "X : array\n    Rows.", "two": "y : array"})
    class Fitted:
        def fit(self):
            """Fit.

            {both}
            """

        @classmethod
        def made(cls):
            """Make.

            {one}
            """

        @property
        def rows(self):
            """Rows.

            {two}
            """

    assert inspect.getdoc(Fitted.fit) == "Fit.\n\nX : array\n    Rows.\ny : array"
    assert inspect.getdoc(Fitted.made) == "Make.\n\nX : array\n    Rows."
    assert inspect.getdoc(Fitted.rows) == "Rows.\n\ny : array"
