"""The page on joint embeddings says what happens: its examples are run."""

import doctest
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "joint_embeddings.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")
def test_examples_of_the_page():
    assert doctest.testfile(str(PAGE), module_relative=False).failed == 0
