"""Warnings that name the line of the user's own code, however deep in the package they arise."""

import os
import sys
import warnings

__all__ = ["warn"]

OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# the wrappers of methods that base classes of scikit-learn and PyTorch add
WRAPPERS = tuple(
    os.sep + os.path.join(*path)
    for path in (
        ("sklearn", "base.py"),
        ("sklearn", "utils", "_set_output.py"),
        ("torch", "nn", "modules", "module.py"),
    )
)


def warn(message: str) -> None:
    """A UserWarning at the nearest line of code outside this package."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_inside(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)


def _is_inside(filename: str) -> bool:
    return filename.startswith(OURS) or filename.endswith(WRAPPERS)
