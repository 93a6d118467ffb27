"""Constraints of the deep estimators' parameters: one line a parameter, shared by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch

__all__ = [
    "BOOLEAN",
    "CONSTRAINTS",
    "NOT_NEGATIVE",
    "Constraint",
    "check_positive",
    "is_number",
    "one_of",
]


def is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 1)


def _is_device(value: Any) -> bool:
    try:
        if value is None:  # which torch.device takes for its default
            return False
        torch.empty(0, device=torch.device(value))
    # PyTorch asserts that it was built for CUDA, and raises RuntimeError for most else
    except (TypeError, ValueError, RuntimeError, AssertionError):
        return False
    return True


class Constraint:
    """What a parameter must be, in words, and the test of it."""

    def __init__(self, expected: str, holds: Callable[[Any], bool]) -> None:
        self.expected, self.holds = expected, holds

    def check(self, name: str, value: Any) -> None:
        if not self.holds(value):
            raise ValueError(f"{name} must be {self.expected}, got {value!r}")


def one_of(*allowed: Any) -> Constraint:
    def holds(value: Any) -> bool:
        return any(value is a or (isinstance(value, str) and value == a) for a in allowed)

    return Constraint("one of " + ", ".join(map(repr, allowed)), holds)


BOOLEAN = one_of(False, True)
COUNT = Constraint("a positive integer", _is_count)
OPTIONAL_COUNT = Constraint("a positive integer", lambda value: value is None or _is_count(value))
NOT_NEGATIVE = Constraint("finite and not negative", lambda value: is_number(value) and 0 <= value < np.inf)
POSITIVE = Constraint("positive", lambda value: is_number(value) and 0 < value < np.inf)
FRACTION = Constraint("in [0, 1)", lambda value: is_number(value) and 0 <= value < 1)
CALLABLES = Constraint(
    "a sequence of callables", lambda value: isinstance(value, Sequence) and all(map(callable, value))
)
DEVICE = Constraint("one that PyTorch has here", _is_device)

# By name: the same parameter means the same in every deep estimator.
CONSTRAINTS: Mapping[str, Constraint] = {
    "schedule": one_of("cosine", "constant"),
    "scale": one_of("view", "columns"),
    "dtype": one_of("float32", "float64"),
    "verbose": BOOLEAN,
    "n_components": COUNT,
    "batch_size": COUNT,
    "n_epochs": OPTIONAL_COUNT,
    "patience": OPTIONAL_COUNT,
    "weight_decay": NOT_NEGATIVE,
    "input_noise": NOT_NEGATIVE,
    "learning_rate": POSITIVE,
    "dropout": FRACTION,
    "validation_fraction": FRACTION,
    "callbacks": CALLABLES,
    "device": DEVICE,
}


def check_positive(name: str, value: Any) -> None:
    POSITIVE.check(name, value)
