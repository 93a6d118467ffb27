"""Fits to data that lie on several machines, or are computed chunk by chunk, by dask.

Chunks of rows are reduced to their moments where they lie, these are added in a tree, and one small problem
is solved here: nothing but moments passes through the client. Whatever scheduler dask is set to does the
work: threads, processes, or the cluster of an active ``distributed.Client``.

Needs dask: ``pip install 'fastcca[distributed]'``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, TypeVar

import numpy as np
from sklearn.base import clone

try:
    import dask.array as da
    from dask.base import compute
    from dask.delayed import Delayed, delayed
except ImportError as error:  # pragma: no cover - the message is tested in a process of its own
    raise ImportError("fastcca.distributed needs dask: pip install 'fastcca[distributed]'") from error

from fastcca._arguments.arrays import as_weights, check_same_length, finite_matrix
from fastcca._arguments.parameters import choice, integer
from fastcca.cca.kernel import FeatureSums, KernelCCA, LandmarkView, collect
from fastcca.cca.linear import LinearTwoView
from fastcca.cca.model_selection import CCACV
from fastcca.cca.multiview import EigenMultiView
from fastcca.cca.pls import FittedToMoments
from fastcca.cca.sparse import SparseCCA
from fastcca.functional.moments import Moments
from fastcca.streaming import Chunks

__all__ = ["fit", "moments", "transform"]

FAN_IN = 8  # moments added in one task
# Rows, and for each landmark, among which a kernel's landmarks are chosen.
SAMPLE, SAMPLE_EACH = 10_000, 10
Model = TypeVar("Model")


def moments(*views: Any, sample_weight: Any = None, dtype: Any = None) -> Moments:
    """Moments of views in chunks, each chunk's taken where it lies.

    No worker holds more than a few chunks, and only the sum arrives here, a matrix of (p + q)² numbers.

    Parameters
    ----------
    *views : dask array, dask data frame, list of delayed chunks, or one Chunks
        Paired by row. Arrays of shape (n, p), (n, q), ...: the rows of the others are cut as those of the
        first. Data frames and lists of delayed arrays, whose lengths nobody knows before: as many
        partitions in each view, with the same rows. Or what :func:`fastcca.streaming.read` has opened, whose
        files every worker must see.
    sample_weight : dask.array.Array or array_like of shape (n,), optional
        Weights >= 0, which count as repetitions of a row; in delayed chunks where the views are.
    dtype : float64, optional
        Type of the products, as in :meth:`fastcca.Moments.update`.

    Returns
    -------
    Moments
        For ``fit_moments``; those of ``Moments().update`` on all rows, to rounding, and bitwise the same for
        the same chunks, whichever scheduler and however many workers compute them.

    Raises
    ------
    TypeError
        If a view is none of these.
    ValueError
        For views of other than two dimensions, of different or unknown numbers of rows, and for what
        :meth:`~fastcca.Moments.update` refuses, with the chunk.

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
    parts = _parts(views, sample_weight)
    tasks = [delayed(_chunk)(i, dtype, *part) for i, part in enumerate(parts)]
    result: Moments = compute(_tree(tasks))[0]
    return result


def fit(
    estimator: Model,
    *views: Any,
    sample_weight: Any = None,
    confounds: Any = None,
    names: Sequence[str] | None = None,
) -> Model:
    """Fit an estimator to views in chunks.

    Parameters
    ----------
    estimator : CCA, CCACV, MCCA, GCCA, SparseCCA, PLSRegression, PLSCanonical, PLSSVD or KernelCCA
        Of this package. It is fitted, and is then what it always is: its methods take arrays, its files open
        where there is no dask.
    *views : as :func:`moments` takes them
        Two, or for ``MCCA`` and ``GCCA`` any number; or a dict of them by name.
    sample_weight : dask.array.Array or array_like of shape (n,), optional
        Weights >= 0, which count as repetitions of a row.
    confounds : as one more view, optional
        What is regressed out of both views; for ``CCA``.
    names : sequence of str, optional
        Names of the views for ``MCCA`` and ``GCCA``.

    Returns
    -------
    estimator
        The one given.

    Raises
    ------
    TypeError
        For other estimators, and as :func:`moments`.
    ValueError
        As :func:`moments` and the estimator's ``fit_moments``; for a ``CCACV`` whose ``cv`` is not a number.

    Notes
    -----
    ``KernelCCA`` chooses widths and landmarks from up to 10,000 rows, or 10 times ``rank``, drawn from all
    chunks and gathered here; the landmarks go to the workers, and sums of features come back. Of no more rows
    the fit is that to all of them.

    ``CCACV`` takes contiguous folds of rows, as it does of arrays; chunks are divided where a fold ends. Of
    chunks of unknown length the lengths are computed first.

    Examples
    --------
    >>> import dask.array as da, numpy as np
    >>> from fastcca import CCACV, distributed
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 4))
    >>> Y = X[:, :2] + rng.normal(size=(1000, 2))
    >>> search = distributed.fit(CCACV(), da.from_array(X, chunks=300), da.from_array(Y, chunks=300))
    >>> bool(np.allclose(search.reg_, CCACV().fit(X, Y).reg_))
    True
    """
    if len(views) == 1 and isinstance(views[0], Mapping):
        names = list(views[0]) if names is None else names
        views = tuple(views[0].values())
    if confounds is not None:
        if not hasattr(estimator, "fit_moments") or not isinstance(estimator, LinearTwoView):
            raise TypeError(f"confounds are for CCA, got {type(estimator).__name__}")
        if isinstance(estimator, CCACV):
            raise ValueError("CCACV takes no confounds of distributed data")
        views = (*views, confounds)
    if isinstance(estimator, CCACV):
        _fit_folds(estimator, views, sample_weight)
        return estimator
    if isinstance(estimator, KernelCCA):
        _fit_kernels(estimator, views, sample_weight)
        return estimator
    if not isinstance(estimator, (LinearTwoView, EigenMultiView, FittedToMoments, SparseCCA)):
        raise TypeError(
            "estimator must be a CCA, CCACV, MCCA, GCCA, SparseCCA, PLS or KernelCCA of fastcca, got "
            f"{type(estimator).__name__}"
        )
    if names is not None and not isinstance(estimator, EigenMultiView):
        raise TypeError(f"names are for MCCA and GCCA, got {type(estimator).__name__}")
    sums = moments(*views, sample_weight=sample_weight, dtype=np.float64)
    if isinstance(estimator, EigenMultiView):
        estimator.fit_moments(sums, names)
    elif confounds is not None:
        estimator.fit_moments(sums, confounds=True)  # type: ignore[call-arg]
    else:
        estimator.fit_moments(sums)
    return estimator


def transform(model: Any, view: Any, which: str = "X") -> Any:
    """Scores of the rows of a dask array or data frame, chunk by chunk, when they are asked for.

    Parameters
    ----------
    model : estimator
        Fitted, of two views.
    view : dask array or data frame of shape (n, p)
        Its columns are brought together in each chunk of rows.
    which : {"X", "y"}, default="X"
        Which of the two views it is.

    Returns
    -------
    dask.array.Array of shape (n, n_components_)
        Not computed yet.

    Raises
    ------
    TypeError
        If the view is neither.
    ValueError
        For another number of columns; the rest when it is computed.

    Examples
    --------
    >>> import dask.array as da, numpy as np
    >>> from fastcca import CCA, distributed
    >>> X = np.random.default_rng(0).normal(size=(100, 4))
    >>> cca = CCA(2).fit(X, X[:, :2])
    >>> scores = distributed.transform(cca, da.from_array(X, chunks=(30, 2)))
    >>> scores.shape, bool(np.allclose(scores, cca.transform(X)))
    ((100, 2), True)
    """
    choice("X", "y")("which", which)
    if hasattr(view, "to_dask_array"):
        view = view.to_dask_array()
    if not isinstance(view, da.Array) or view.ndim != 2:
        raise TypeError(f"view must be a two-dimensional dask array, got {type(view).__name__}")
    expected = model.n_features_in_ if which == "X" else model.n_y_features_in_
    if view.shape[1] != expected:
        raise ValueError(f"the view has {view.shape[1]} columns, but the model takes {expected}")
    view = view.rechunk({1: -1})
    k = model.n_components_
    dtype = np.float32 if view.dtype in (np.float16, np.float32) else np.float64
    return view.map_blocks(_scores, model, which, chunks=(view.chunks[0], (k,)), dtype=dtype)


def _scores(rows: Any, model: Any, which: str) -> Any:
    if not len(rows):
        return np.zeros((0, model.n_components_), rows.dtype)
    return np.asarray(model.transform(rows) if which == "X" else model.transform_y(rows))


# ---- chunks


def _parts(views: tuple[Any, ...], sample_weight: Any) -> list[tuple[Any, ...]]:
    """For every chunk of rows: the views' parts and their weights, or None, as delayed values."""
    if not views:
        raise ValueError("moments takes at least one view")
    if len(views) == 1 and isinstance(views[0], Chunks):
        if sample_weight is not None:
            raise ValueError(
                "chunks of files take no sample_weight: read it as one of the views of dask arrays"
            )
        source = delayed(views[0])
        return [(delayed(_of_file)(source, i),) for i in range(len(views[0]))]
    if all(isinstance(view, da.Array) for view in views):
        return _of_arrays(views, sample_weight)
    mixed = any(isinstance(view, da.Array) for view in views)
    parts = [_partitions(f"views[{i}]", view, mixed) for i, view in enumerate(views)]
    if sample_weight is not None:
        parts.append(_partitions("sample_weight", sample_weight))
    counts = [len(part) for part in parts]
    if len(set(counts)) > 1:
        raise ValueError(f"the views differ in their number of chunks: {', '.join(map(str, counts))}")
    if sample_weight is None:
        parts.append([None] * counts[0])
    return list(zip(*parts, strict=True))


def _of_arrays(views: tuple[Any, ...], sample_weight: Any) -> list[tuple[Any, ...]]:
    for i, view in enumerate(views):
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
    return list(zip(*parts, weights, strict=True))


def _partitions(name: str, view: Any, mixed: bool = False) -> list[Any]:
    """The parts of a data frame, or a list of delayed chunks as it is; ``mixed``: some views are arrays."""
    if mixed and isinstance(view, da.Array):
        return []  # another view is at fault
    if not mixed and isinstance(view, (list, tuple)) and view and all(isinstance(p, Delayed) for p in view):
        return list(view)
    if not mixed and hasattr(view, "to_delayed") and hasattr(view, "npartitions"):
        return list(view.to_delayed())
    kind = type(view).__name__ + (" next to dask arrays" if mixed else "")
    raise TypeError(f"{name} must be a dask array, a dask data frame or a list of delayed chunks, got {kind}")


def _of_file(chunks: Chunks, number: int) -> tuple[Any, ...]:
    return chunks.alone(number)


# ---- tasks


def _chunk(number: int, dtype: Any, *views_and_weight: Any) -> Moments:
    *views, weight = _unpacked(views_and_weight)
    try:
        # One thread: dask runs several chunks at once.
        return Moments().update(*views, sample_weight=weight, dtype=dtype, n_threads=1)
    except ValueError as error:
        raise ValueError(f"chunk {number}: {error}") from None


def _unpacked(views_and_weight: tuple[Any, ...]) -> tuple[Any, ...]:
    """Views and weight of a chunk; of files it is one value without a weight."""
    return views_and_weight if len(views_and_weight) > 1 else (*views_and_weight[0], None)


def _tree(sums: list[Any]) -> Any:
    while len(sums) > 1:
        sums = [delayed(_sum)(sums[start : start + FAN_IN]) for start in range(0, len(sums), FAN_IN)]
    return sums[0]


def _sum(parts: list[Any]) -> Any:
    return reduce(add, parts)


# ---- folds


def _fit_folds(search: CCACV, views: tuple[Any, ...], sample_weight: Any) -> None:
    """CCACV from the moments of contiguous folds."""
    try:
        folds = integer(2)("cv", search.cv)
    except ValueError:
        raise ValueError(f"cv of distributed data must be a number of folds, got {search.cv!r}") from None
    parts, lengths = _parts_and_lengths(views, sample_weight)
    n = sum(lengths)
    if n < folds:
        raise ValueError(f"cv={folds} is more than the {n} rows")
    # scikit-learn's contiguous folds: the first n mod folds have one row more
    ends = np.cumsum([n // folds + (i < n % folds) for i in range(folds)])
    tasks: list[list[Any]] = [[] for _ in range(folds)]
    start = 0
    for number, (part, length) in enumerate(zip(parts, lengths, strict=True)):
        for fold in range(folds):
            low = max(start, int(ends[fold - 1]) if fold else 0) - start
            high = min(start + length, int(ends[fold])) - start
            if low < high:
                tasks[fold].append(delayed(_run)(number, low, high, *part))
        start += length
    sums = compute(*[_tree(found) for found in tasks])
    search.fit_moments(list(sums))


def _parts_and_lengths(views: tuple[Any, ...], sample_weight: Any) -> tuple[list[Any], list[int]]:
    parts = _parts(views, sample_weight)
    return parts, list(compute(*[delayed(_length)(*part) for part in parts]))


def _length(*views_and_weight: Any) -> int:
    first = views_and_weight[0]
    return len(first[0] if isinstance(first, tuple) else first)


def _run(number: int, low: int, high: int, *views_and_weight: Any) -> Moments:
    """Moments of a run of rows of a chunk."""
    *views, weight = _unpacked(views_and_weight)
    cut = [view.iloc[low:high] if hasattr(view, "iloc") else view[low:high] for view in views]
    return _chunk(number, np.float64, *cut, None if weight is None else weight[low:high])


# ---- kernels


def _fit_kernels(model: KernelCCA, views: tuple[Any, ...], sample_weight: Any) -> None:
    """KernelCCA with landmarks of a sample that is gathered, and the sums of chunks."""
    parts, lengths = _parts_and_lengths(views, sample_weight)
    n, most = sum(lengths), max(SAMPLE, SAMPLE_EACH * int(model.rank))
    rows = np.arange(n) if n <= most else np.sort(np.random.RandomState(0).choice(n, most, replace=False))
    starts = np.cumsum([0, *lengths])
    tasks = []
    for number, part in enumerate(parts):
        low, high = np.searchsorted(rows, starts[number : number + 2])
        if low < high:
            tasks.append(delayed(_some)(number, rows[low:high] - starts[number], *part))
    if not tasks:
        raise ValueError("the views have no rows")
    X, y, weights = zip(*compute(*tasks), strict=True)
    weight = None if sample_weight is None else np.concatenate(weights)

    def sums_of(x: LandmarkView, y: LandmarkView) -> FeatureSums:
        landmarks = delayed((x, y))
        found = compute(_tree([delayed(_features)(i, landmarks, *part) for i, part in enumerate(parts)]))
        sums: FeatureSums = found[0]
        return sums

    fitted = clone(model)
    checked = fitted._check_pair(np.concatenate(X), np.concatenate(y), weight, reset=True)
    fitted._fit_parts(*checked, sums_of)
    model.__dict__.update(fitted.__dict__)


def _pair(number: int, views_and_weight: tuple[Any, ...]) -> tuple[Any, ...]:
    """Checked rows of a chunk and their weights."""
    *views, weight = _unpacked(views_and_weight)
    try:
        if len(views) != 2:
            raise ValueError(f"KernelCCA takes two views, got {len(views)}")
        x, y = finite_matrix("X", views[0], min_rows=0), finite_matrix("y", views[1], vector=True, min_rows=0)
        check_same_length(X=x, y=y)
        return x, y, as_weights(weight, len(x))
    except ValueError as error:
        raise ValueError(f"chunk {number}: {error}") from None


def _some(number: int, rows: Any, *views_and_weight: Any) -> tuple[Any, ...]:
    """Some rows of a chunk."""
    return tuple(None if a is None else a[rows] for a in _pair(number, views_and_weight))


def _features(
    number: int, landmarks: tuple[LandmarkView, LandmarkView], *views_and_weight: Any
) -> FeatureSums:
    x, y, weight = _pair(number, views_and_weight)
    # in the types that all chunks have
    x, y = (a.astype(view.points.dtype, copy=False) for a, view in zip((x, y), landmarks, strict=True))
    return collect(*landmarks, x, y, weight, 1, False)
