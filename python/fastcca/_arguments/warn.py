"""Warnings that name the line of the user's own code, however deep in the package they arise."""

import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["unsaid", "warn"]

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


_of_thread = threading.local()


@contextmanager
def unsaid(beginning: str = "") -> Iterator[None]:
    """Within its scope, on this thread alone, :func:`warn` says nothing that begins so (a pattern).

    The filters of :mod:`warnings` are those of all threads.
    """
    before = getattr(_of_thread, "unsaid", ())
    _of_thread.unsaid = (*before, beginning)
    try:
        yield
    finally:
        _of_thread.unsaid = before


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """A warning at the nearest line of code outside this package."""
    if any(re.match(beginning, message) for beginning in getattr(_of_thread, "unsaid", ())):
        return
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_inside(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_inside(filename: str) -> bool:
    return filename.startswith(OURS) or filename.endswith(WRAPPERS)
