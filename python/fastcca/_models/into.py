"""Scores written into an array that the caller gives, block by block: results larger than memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.arrays import refuse_non_finite
from fastcca._arguments.sparse import is_sparse

__all__ = ["check_out", "scores_into"]


def check_out(out: Any, data: Any, k: int, name: str) -> None:
    """Refuse an ``out`` that cannot take the scores of these rows."""
    shape, dtype = (data.shape[0], k), data.dtype
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array or memory map, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        state = "" if out.flags.writeable else ", read-only"
        raise ValueError(
            f"out must be a writeable array of shape {shape} and dtype {dtype}, got {out.shape}, {out.dtype}"
            f"{state}"
        )
    if not is_sparse(data) and np.may_share_memory(out, data):
        raise ValueError(f"out must not share memory with {name}")


def scores_into(
    scores: Callable[..., NDArray[Any]],
    name: str,
    data: Any,
    out: NDArray[Any],
    rows_at_once: int,
    next_to: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """``out``, filled with the scores of runs of rows (and of the same rows of ``next_to``)."""
    for start in range(0, data.shape[0], rows_at_once):
        rows = slice(start, start + rows_at_once)
        try:
            out[rows] = scores(data[rows]) if next_to is None else scores(data[rows], next_to[rows])
        except ValueError:
            if not is_sparse(data):
                refuse_non_finite(name, data)  # says where in all of the data
            raise
    return out
