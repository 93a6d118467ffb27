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


def moments_of_integers(views: list[npt.NDArray[Any]]) -> tuple[float, npt.NDArray[Any], npt.NDArray[Any]]:
    """The same for integers so small that float64 holds all sums of their products exactly: fast."""
    rows = np.hstack([v.astype(np.float64) for v in views])
    n = len(rows)
    assert np.array_equal(rows, np.rint(rows))
    assert n * np.abs(rows).max() ** 2 < 2.0**53
    sums, products = rows.sum(0).astype(np.longdouble), (rows.T @ rows).astype(np.longdouble)
    return float(n), sums / n, products - np.outer(sums, sums) / n
