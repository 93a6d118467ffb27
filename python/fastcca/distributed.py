"""Moments of dask arrays: data that lie on several machines, or are computed chunk by chunk.

Needs dask: ``pip install 'fastcca[distributed]'``.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import numpy as np

try:
    import dask.array as da
    from dask.base import compute
    from dask.delayed import delayed
except ImportError as error:  # pragma: no cover - the message is tested in a process of its own
    raise ImportError("fastcca.distributed needs dask: pip install 'fastcca[distributed]'") from error

from fastcca.functional.moments import Moments

__all__ = ["moments"]

FAN_IN = 8  # moments added in one task


def moments(*views: Any, sample_weight: Any = None) -> Moments:
    """Moments of views that are dask arrays, each chunk's taken where it lies.

    Chunks of rows are reduced to their moments, a matrix of (p + q)² numbers each, and these are added in a
    tree: no worker holds more than a few chunks, and only the sum arrives here. Whatever scheduler dask is
    set to does the work: threads, processes, or the cluster of an active ``distributed.Client``.

    Parameters
    ----------
    *views : dask.array.Array of shape (n, p), (n, q), ...
        Paired by row, of one number of rows. The rows of the other views are cut as those of the first.
    sample_weight : dask.array.Array or array_like of shape (n,), optional
        Weights >= 0, which count as repetitions of a row.

    Returns
    -------
    Moments
        For :meth:`fastcca.CCA.fit_moments`; those of ``Moments().update`` on all rows, to rounding.

    Raises
    ------
    TypeError
        If a view is not a dask array.
    ValueError
        For views of other than two dimensions, of different or unknown numbers of rows, and for what
        :meth:`~fastcca.Moments.update` refuses (positions count from the start of a chunk).

    Examples
    --------
    >>> import dask.array as da, numpy as np
    >>> from fastcca import CCA
    >>> from fastcca.distributed import moments
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 4))
    >>> Y = X[:, :2] + rng.normal(size=(1000, 2))
    >>> sums = moments(da.from_array(X, chunks=(300, 2)), da.from_array(Y, chunks=(500, 2)))
    >>> cca = CCA().fit_moments(sums)
    >>> bool(np.allclose(cca.canonical_correlations_, CCA().fit(X, Y).canonical_correlations_))
    True
    """
    if not views:
        raise ValueError("moments takes at least one view")
    for i, view in enumerate(views):
        if not isinstance(view, da.Array):
            raise TypeError(f"views[{i}] must be a dask array, got {type(view).__name__}")
        if view.ndim != 2:
            raise ValueError(f"views[{i}] must have two dimensions, got {view.ndim}")
    lengths = [view.shape[0] for view in views]
    if any(np.isnan(length) for length in lengths):
        raise ValueError("the views' numbers of rows are unknown: call compute_chunk_sizes() on them first")
    if len(set(lengths)) > 1:
        raise ValueError(f"the views differ in their number of rows: {', '.join(map(str, lengths))}")
    rows = views[0].chunks[0]
    parts = [view.rechunk((rows, view.shape[1])).to_delayed()[:, 0] for view in views]
    weights: list[Any] = [None] * len(rows)
    if sample_weight is not None:
        weight = da.asarray(sample_weight)
        if weight.shape != (lengths[0],):
            raise ValueError(f"sample_weight must have shape ({lengths[0]},), got {weight.shape}")
        weights = list(weight.rechunk((rows,)).to_delayed())
    sums = [delayed(_chunk)(*chunk, w) for *chunk, w in zip(*parts, weights, strict=True)]
    while len(sums) > 1:
        sums = [delayed(_sum)(sums[start : start + FAN_IN]) for start in range(0, len(sums), FAN_IN)]
    result: Moments = compute(*sums)[0]
    return result


def _chunk(*views_and_weight: Any) -> Moments:
    *views, weight = views_and_weight
    # One thread: dask runs several chunks at once.
    return Moments().update(*views, sample_weight=weight, n_threads=1)


def _sum(parts: list[Moments]) -> Moments:
    return reduce(add, parts)
