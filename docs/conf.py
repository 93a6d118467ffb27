"""Sphinx settings: everything is built from this folder and the installed package, nothing is fetched."""

import inspect
import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import public_methods  # noqa: E402

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
    "offline_math",
]
exclude_patterns = ["_build", "_ext", "_templates", "gallery/**/*.zip", "gallery/GALLERY_HEADER.rst"]
templates_path = ["_templates"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_context = {
    "public_methods": public_methods.of_page(HERE / "api.rst"),
    "public_properties": public_methods.of_page(HERE / "api.rst", public_methods.properties),
    "pictured": public_methods.named_in(HERE.parent / "examples"),
}
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
# Names on the API page are absolute, each section has its module for the references within the summaries.
suppress_warnings = ["autosummary.import_cycle"]
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False

# Every cross-reference has to resolve, but for those into the documentation of other packages, which is not
# to be fetched.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(sklearn|numpy|scipy|matplotlib|torch|pandas|networkx|dask|distributed|pathlib)\..*"),
    (
        "py:class",
        r"(D\[k\] if k in D|a set-like object providing|an object providing).*",
    ),  # of Python's Mapping
]

html_theme = "pydata_sphinx_theme"
html_title = "fastcca"
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["fastcca.css"]
html_theme_options = {
    "header_links_before_dropdown": 9,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "show_nav_level": 2,
    "show_prev_next": False,
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("fastcca",),
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "capture_repr": (),
    "default_thumb_file": str(HERE / "images" / "deep_mnist.png"),
    "reset_modules": ("matplotlib", "gallery_style.reset"),
    "show_memory": False,
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "show_signature": False,
}

_ROLE = re.compile(
    r":(?:py:)?(?:ref|term|class|meth|func|mod|attr|doc|user_guide):`~?([^`<]*?)(?: *<[^`]*>)?`"
)


def plain_if_inherited(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Docstrings that come from scikit-learn refer to its pages, which are not here."""
    module = getattr(inspect.unwrap(obj) if callable(obj) else obj, "__module__", None) or ""
    if module.startswith(("sklearn.", "torch.")) or not getattr(obj, "__doc__", None):
        lines[:] = [_ROLE.sub(r"``\1``", line) for line in lines]


def escape_fitted_names(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """In a shape such as (n, n_components_) the last underscore would make a link of the name."""
    lines[:] = [re.sub(r"(?<![`\w])(n_\w*[a-z])_(?=[,)])", r"\1\\_", line) for line in lines]


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", plain_if_inherited, priority=100)
    app.connect("autodoc-process-docstring", escape_fitted_names, priority=900)
