"""The contract of every fit, kept here: one that fails or is interrupted leaves the model as it was."""

from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from typing import Any

__all__ = ["AtomicFit", "keep_after"]

METHODS = ("fit", "partial_fit", "fit_moments")


class AtomicFit:
    """Makes every method that fits atomic: one that does not return leaves the attributes as they were.

    It wraps ``METHODS`` wherever a class defines one, so that a subclass has nothing to do and cannot forget
    it. A fit must only replace attributes, never change their values in place.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        for name in METHODS:
            method = vars(cls).get(name)
            if isfunction(method):
                setattr(cls, name, _atomic(method))
        super().__init_subclass__(**kwargs)


def keep_after(error: BaseException, model: Any) -> None:
    """What ``model`` has learned so far is to stay, although its fit ends by ``error``."""
    error._fastcca_kept = model  # type: ignore[attr-defined]


def _atomic(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def atomic(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = vars(self)
        try:
            # The fit works on attributes of its own. Those of before come back whole, in one assignment.
            object.__setattr__(self, "__dict__", before.copy())
            return method(self, *args, **kwargs)
        except BaseException as error:
            if getattr(error, "_fastcca_kept", None) is not self:
                object.__setattr__(self, "__dict__", before)
            raise

    return atomic
