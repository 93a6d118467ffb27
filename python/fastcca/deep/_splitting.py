"""Which rows are trained on, and which are set aside to choose the best epoch by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["split_rows"]

Rows = NDArray[np.intp]


def split_rows(n: int, fraction: float, least: int, groups: Any, random: Any) -> tuple[Rows, Rows | None]:
    """The rows to train on and those set aside, in ascending order; None for fewer than ``least`` of these.

    ``groups``, one label a row or None, are not divided: groups are set aside in random order until they hold
    the fraction of the rows, but not more than half of all rows; the smallest where none is as small as that.
    """
    wanted = int(n * fraction)
    if groups is None:
        order = random.permutation(n)
        if wanted < least:
            return np.sort(order), None
        return np.sort(order[wanted:]), np.sort(order[:wanted])
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise ValueError(f"groups must have shape ({n},), one label a row, got {labels.shape}")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError(f"groups contains NaN: the first is at row {int(np.isnan(labels).argmax())}")
    _, member, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise ValueError("groups must hold at least two labels: the rows of one cannot be on both sides")
    taken = np.zeros(len(sizes), dtype=bool)
    for group in random.permutation(len(sizes)):
        total = sizes[taken].sum()
        taken[group] = total < wanted and 2 * (total + sizes[group]) <= n
    if wanted and not taken.any():
        taken[sizes.argmin()] = True
    aside = taken[member.reshape(-1)]
    if min(wanted, aside.sum()) < least:
        return np.arange(n), None
    return np.flatnonzero(~aside), np.flatnonzero(aside)
