"""Sphinx settings: everything is built from this folder and the installed package, nothing is fetched."""

import re
from importlib.metadata import version as installed_version

from sphinx.application import Sphinx

project = "fastcca"
author = "The fastcca developers"
copyright = author
version = release = installed_version("fastcca")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/**/*.zip", "gallery/GALLERY_HEADER.rst"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = "fastcca"
html_show_sourcelink = False
html_theme_options = {"show_prev_next": False, "navbar_end": ["theme-switcher"]}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "show_memory": False,
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "show_signature": False,
}


def escape_fitted_names(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """In a shape such as (n, n_components_) the last underscore would make a link of the name."""
    lines[:] = [re.sub(r"(\w)_(?=[,)])", r"\1\\_", line) if "shape" in line else line for line in lines]


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", escape_fitted_names, priority=900)
