"""Moments the obvious way: in extended precision, row by row repeated as the weights say."""

from typing import Any

import numpy as np
import numpy.typing as npt


def moments(
    views: list[npt.NDArray[Any]], weights: npt.NDArray[Any] | None = None
) -> tuple[float, npt.NDArray[Any], npt.NDArray[Any]]:
    """(n, mean, scatter) of the stacked views, in long double."""
    rows = np.hstack([v.astype(np.longdouble) for v in views])
    w = np.ones(len(rows), np.longdouble) if weights is None else weights.astype(np.longdouble)
    n = w.sum()
    mean = (w[:, None] * rows).sum(0) / n
    centred = rows - mean
    return float(n), mean, (w[:, None] * centred).T @ centred
