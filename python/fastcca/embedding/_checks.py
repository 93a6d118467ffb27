"""Parameters that are numbers, checked in one manner."""

from numbers import Real
from typing import Any

import numpy as np

from fastcca._arguments.parameters import check_count

__all__ = ["check_n_components", "check_number"]


def check_number(
    name: str,
    value: Any,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    low_included: bool = True,
) -> float:
    """``value`` as a finite number from ``low`` to ``high``."""
    valid = isinstance(value, Real) and not isinstance(value, (bool, np.bool_)) and np.isfinite(float(value))
    if not valid or not (low < value <= high or (low_included and value == low)):
        least = f"{'>=' if low_included else '>'} {low:g}" if low > -np.inf else ""
        most = f"<= {high:g}" if high < np.inf else ""
        rule = " and ".join(part for part in (least, most) if part)
        raise ValueError(f"{name} must be a number {rule}, got {value!r}".replace("  ", " "))
    return float(value)


def check_n_components(value: Any, n_classes: int, n_features: int) -> int:
    """The dimensions asked for, at most one a class; None: that number, or 100 or p + 1 of more than 100.

    Rows lie in an affine space of p dimensions; what labels have outside it shifts their nearness, for which
    one dimension more is enough.
    """
    if value is None:
        return n_classes if n_classes <= 100 else min(100, n_features + 1)
    if check_count("n_components", value) > n_classes:
        raise ValueError(f"n_components={value} is more than the number of classes, {n_classes}")
    return int(value)
