"""Sparse matrices that users give, in the one form that everything computes with."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcca._arguments.arrays import as_matrix

__all__ = ["as_rows", "dense", "is_sparse"]


def is_sparse(value: Any) -> bool:
    """Whether this is a matrix or an array of SciPy's sparse kind, without an import of SciPy."""
    return type(value).__module__.startswith("scipy.sparse")


def dense(value: Any) -> Any:
    """Rows as an array, sparse ones too."""
    return value.toarray() if is_sparse(value) else np.asarray(value)


def as_rows(name: str, value: Any, *, vector: bool = False, min_rows: int = 0, min_columns: int = 1) -> Any:
    """A dense matrix as :func:`as_matrix` has it; a sparse one as a ``csr_array`` of float32 or float64.

    Entries that stand twice are summed, explicit zeros stay, and what the user gave is never changed. NaN
    and infinity are refused with their position: there are few entries to look at.
    """
    if not is_sparse(value):
        return as_matrix(name, value, vector=vector, min_rows=min_rows, min_columns=min_columns)
    from scipy.sparse import csr_array

    if value.ndim != 2:
        raise ValueError(f"{name}: Expected 2D array, got {value.ndim}D sparse array of shape {value.shape}")
    # the sentences about shapes are those of dense data
    as_matrix(name, np.broadcast_to(0.0, value.shape), min_rows=min_rows, min_columns=min_columns)
    rows = value.tocsr()
    data = as_matrix(name, rows.data[np.newaxis])[0] if rows.nnz else np.zeros(0, _dtype_of(rows.dtype))
    out = csr_array((data, rows.indices, rows.indptr), shape=rows.shape)
    if not out.has_canonical_format:
        out = out.copy()
        out.sum_duplicates()
    bad = ~np.isfinite(out.data)
    if bad.any():
        entry = int(bad.argmax())
        row = int(np.searchsorted(out.indptr, entry, side="right")) - 1
        kind = "NaN" if np.isnan(out.data[entry]) else "infinity"
        raise ValueError(
            f"Input {name} contains {kind}: the first is at row {row}, column {int(out.indices[entry])}"
        )
    return out


def _dtype_of(dtype: Any) -> Any:
    return np.float32 if dtype in (np.float16, np.float32) else np.float64
