"""A fit that fails leaves the model as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["restored_on_failure"]


@contextmanager
def restored_on_failure(model: Any) -> Iterator[Callable[[], None]]:
    """The model's attributes as before, should a fit fail before it calls the function that this gives."""
    before, settled = dict(vars(model)), False

    def settle() -> None:
        nonlocal settled
        settled = True

    try:
        yield settle
    except BaseException:
        if not settled:
            vars(model).clear()
            vars(model).update(before)
        raise
