"""Moments of sparse views: products of the entries that are there, centred without filling the others in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcca import _core
from fastcca._arguments.parameters import thread_count
from fastcca._config import get_num_threads
from fastcca.errors import NumericalError

__all__ = [
    "SparseSums",
    "add_products",
    "both_triangles",
    "column_moments",
    "sparse_pays",
    "sparse_sums",
    "worker_count",
]

Floats = NDArray[np.float64]

# A row of m entries takes as long as a dense one of m times the root of this.
DENSE_RATE = 80
# Columns are taken from the entries alone where n mean² is at most so much of their scatter: 3 digits.
MOST_MEAN = 1000.0
BLOCK_BYTES = 1 << 25


class SparseSums(NamedTuple):
    """What :class:`~fastcca.Moments` are made of."""

    n: float
    mean: Floats
    scatter: Floats
    rounding: Floats


def worker_count(n_threads: int | None) -> int:
    return n_threads or get_num_threads()


def sparse_pays(views: list[Any]) -> bool:
    """Whether products of entries take less time than those of dense rows: decided by their numbers alone."""
    entries = sum(np.diff(view.indptr).astype(np.float64) for view in views)
    columns = sum(view.shape[1] for view in views)
    return bool((entries**2).sum() * DENSE_RATE < float(len(entries)) * columns**2)


def column_moments(Z: Any, weights: Floats | None) -> tuple[float, Floats, Floats]:
    """Sum of the weights, means and scatter of the columns of a ``csr_array``, without cancellation.

    The scatter of column j is sum over its entries of w (x - m)² plus (N - the weight of its entries) m².
    """
    rows, columns = Z.shape
    w = np.ones(rows) if weights is None else weights
    of_entries = np.repeat(w, np.diff(Z.indptr))
    data = Z.data.astype(np.float64)
    n = float(w.sum())
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.bincount(Z.indices, of_entries * data, columns) / n
        held = np.bincount(Z.indices, of_entries, columns)
        about = data - mean[Z.indices]
        scatter = np.bincount(Z.indices, of_entries * about**2, columns) + np.maximum(n - held, 0.0) * mean**2
    return n, mean, scatter


def sparse_sums(views: list[Any], weights: Floats | None, n_threads: int | None) -> SparseSums:
    """Moments of the stacked views, S = Z'WZ - n m m' with the products of sparse columns.

    Columns whose mean is large next to their standard deviation, where that would cancel, are taken out as
    dense columns and centred: an intercept, a count that is nearly constant.
    """
    from scipy.sparse import csr_array, hstack

    Z = csr_array(hstack(views, format="csr", dtype=np.float64))
    n, mean, squares = column_moments(Z, weights)
    if n <= 0:
        zero = np.zeros(len(mean))
        return SparseSums(0.0, zero, np.zeros((len(mean), len(mean))), zero)
    ratio = np.divide(n * mean**2, squares, out=np.full(len(mean), np.inf), where=squares > 0)
    ratio[mean == 0] = 0.0
    heavy = np.flatnonzero(ratio > MOST_MEAN)
    light = np.flatnonzero(ratio <= MOST_MEAN)
    d = len(mean)
    scatter = np.zeros((d, d))
    whole = scatter
    if len(heavy):
        _with_dense(scatter, Z.tocsc(), mean, heavy, light, weights)
        whole, Z = np.zeros((len(light), len(light))), Z[:, light]
    with np.errstate(over="ignore", invalid="ignore"):
        add_products(whole, Z, weights, n_threads)
        for i, row in enumerate(whole):
            row -= n * mean[light[i]] * mean[light]
    both_triangles(whole)
    if len(heavy):
        scatter[np.ix_(light, light)] = whole
    diagonal = np.arange(d)
    scatter[diagonal, diagonal] = squares
    if not np.isfinite(scatter).all():
        raise NumericalError("the products of the columns overflow: scale the data down")
    eps = float(np.finfo(np.float64).eps)
    return SparseSums(n, mean, scatter, eps * (1 + np.where(ratio <= MOST_MEAN, ratio, 0.0)))


def add_products(out: Floats, Z: Any, weights: Floats | None, n_threads: int | None) -> None:
    """Add Z'WZ of a ``csr_array`` in canonical form to the upper triangle of ``out``, which is in C order."""
    _core.add_sparse_products(
        Z.indptr.astype(np.int64, copy=False),
        Z.indices.astype(np.int32, copy=False),
        Z.data.astype(np.float64, copy=False),
        weights,
        out,
        thread_count(n_threads),
    )


def both_triangles(S: Floats) -> None:
    """The lower triangle becomes the upper one's mirror, in place."""
    for start in range(0, len(S), 256):  # blocks of rows: the transposed side stays in the cache
        block = slice(start, start + 256)
        S[block, :start] = S[:start, block].T
        below = np.tril_indices(len(S[block]), -1)
        S[block, block][below] = S[block, block].T[below]


def _with_dense(
    out: Floats,
    columns: Any,
    mean: Floats,
    heavy: NDArray[np.intp],
    light: NDArray[np.intp],
    weights: Floats | None,
) -> None:
    """The rows and columns of the scatter that dense columns have a part in."""
    others = columns[:, light]
    step = max(1, BLOCK_BYTES // (8 * columns.shape[0]))
    for start in range(0, len(heavy), step):
        part = heavy[start : start + step]
        dense = columns[:, part].toarray() - mean[part]
        weighted = dense if weights is None else dense * weights[:, np.newaxis]
        across = others.T @ weighted - np.outer(mean[light], weighted.sum(axis=0))
        out[np.ix_(light, part)], out[np.ix_(part, light)] = across, across.T
        for other in range(0, start + 1, step):
            second = heavy[other : other + step]
            within = (columns[:, second].toarray() - mean[second]).T @ weighted
            out[np.ix_(second, part)], out[np.ix_(part, second)] = within, within.T
