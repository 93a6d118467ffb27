"""The contract of every fit, kept here: one that fails or is interrupted leaves the model as it was."""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import isfunction
from typing import Any, ClassVar

import numpy as np

from fastcca._arguments.parameters import Constraint, check_parameters
from fastcca.errors import NumericalError

__all__ = ["NOTED", "AtomicFit", "keep_after"]

METHODS = ("fit", "partial_fit", "fit_moments")

# Functions that note what a fit may change outside of its model (the state of a library), and return what
# puts it back: an interrupt may come between the end of a block and the exit of its context.
NOTED: list[Callable[[], Callable[[], None]]] = []


class AtomicFit:
    """Makes every method that fits atomic: one that does not return leaves the attributes as they were.

    It wraps ``METHODS`` wherever a class defines one, so that a subclass has nothing to do and cannot forget
    it. A fit must only replace attributes, never change their values in place. The parameters are checked
    first, by the constraints that the class declares.
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {}  # of each parameter of the constructor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        for name in METHODS:
            method = vars(cls).get(name)
            if isfunction(method):
                setattr(cls, name, _atomic(method))
        super().__init_subclass__(**kwargs)


def keep_after(error: BaseException, model: Any) -> None:
    """What ``model`` has learned so far is to stay, although its fit ends by ``error``."""
    error._fastcca_kept = model  # type: ignore[attr-defined]


# What every later answer is computed from.
_CHECKED = ("x_weights_", "y_weights_", "x_mean_", "y_mean_", "singular_values_", "canonical_correlations_")


def _check_finite(model: Any) -> None:
    for name in _CHECKED:
        value = vars(model).get(name)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
            raise NumericalError(f"{name} would hold NaN or infinity: the data overflow, scale them down")


def _atomic(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def atomic(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = vars(self)
        restores = [note() for note in NOTED]
        try:
            # The fit works on attributes of its own. Those of before come back whole, in one assignment.
            object.__setattr__(self, "__dict__", before.copy())
            check_parameters(self, type(self)._constraints)
            # Overflows are found where they matter, by their results: NumPy's warnings name lines of no use.
            with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
                fitted = method(self, *args, **kwargs)
            _check_finite(self)
            return fitted
        except BaseException as error:
            for restore in restores:
                restore()
            if getattr(error, "_fastcca_kept", None) is not self:
                object.__setattr__(self, "__dict__", before)
            raise

    return atomic
