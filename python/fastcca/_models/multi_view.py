"""What estimators of any number of views (modalities) share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcca._models.statistics import column_statistics
from fastcca.errors import NumericalError

__all__ = ["scaled_statistics"]


def scaled_statistics(
    name: str, rows: NDArray[Any], by_column: bool | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and variances of the columns; a single row has no variance.

    Refuses a variance that overflows, and one that vanishes although the column varies, where it is to scale
    by: that of each column, of their sum, or (None) of neither.
    """
    if len(rows) < 2:
        return rows[0].astype(np.float64), np.zeros(rows.shape[1])
    mean, variance = column_statistics(name, rows, None)
    if not np.isfinite(variance).all():
        raise NumericalError(f"the variance of {name} overflows: scale it down")
    if by_column is not None:
        small = (variance if by_column else variance.sum()) <= 16 * np.finfo(float).tiny
        if np.any(small) and (small & (rows != rows[0]).any(axis=0)).any():
            raise NumericalError(f"the variance of {name} underflows: scale it up")
    return mean, variance
