"""Formulas without a network: one file of MathJax, copied from the installed package."""

import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

SCRIPT = "tex-svg-full.js"
PACKAGE = "django-static-mathjax"  # MathJax as a wheel; it needs no Django


def _copy(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    try:
        found = [path for path in files(PACKAGE) or [] if path.parts[-2:] == ("es5", SCRIPT)]
    except PackageNotFoundError:
        found = []
    if not found:
        logging.getLogger(__name__).warning("%s has no %s: formulas will not be drawn", PACKAGE, SCRIPT)
        return
    target = Path(app.outdir) / "_static" / SCRIPT
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(str(found[0].locate()), target)


def setup(app: Sphinx) -> dict[str, bool]:
    app.config.mathjax_path = SCRIPT
    app.connect("build-finished", _copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
