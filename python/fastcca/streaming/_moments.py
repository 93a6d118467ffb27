"""Moments of chunks that come one after the other, with progress and a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from fastcca._arguments.arrays import as_matrix, as_weights, check_same_length, refuse_non_finite
from fastcca._arguments.parameters import FLAG, POSITIVE_INTEGER
from fastcca.errors import NumericalError
from fastcca.functional.moments import Moments
from fastcca.streaming._checkpoint import (
    Progress,
    fingerprint,
    load_checkpoint,
    sampled_rows,
    save_checkpoint,
)
from fastcca.streaming._read import Chunks

__all__ = ["moments"]

Arrays = list[NDArray[Any]]


def moments(
    chunks: Iterable[Any],
    *,
    weighted: bool = False,
    dtype: npt.DTypeLike | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1,
    progress: bool = False,
    n_threads: int | None = None,
) -> Moments:
    """Moments of chunks of rows that come one after the other.

    Parameters
    ----------
    chunks : iterable
        What :func:`read` returns, or any iterable whose items are tuples, lists or dicts with the next rows
        of each view, arrays of shape (rows, dims[i]): a generator, a DataLoader of PyTorch. The rows of a
        chunk need not be as many as those of others.
    weighted : bool, default=False
        Whether the last entry of each item is not a view but the weights of the rows.
    dtype : float64, optional
        Type of the products, as in :meth:`fastcca.Moments.update`.
    checkpoint : path, optional
        A file that the moments so far are kept in, written whole and flushed to the disk before the next
        chunk is taken. Where there is one already, the pass goes on behind its last chunk: a process that
        was killed loses what it did since. The result is bitwise that of a pass without a stop. It stays
        when all is done; delete it then.
    checkpoint_every : int, default=1
        Chunks after which it is written: more than one where the moments take long to write, (p + q)²
        numbers.
    progress : bool, default=False
        Show a bar on standard error, with rows a second and the time that is left.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    Moments
        For ``fit_moments`` of any estimator that has it.

    Raises
    ------
    ValueError
        For NaN and infinity, with chunk and row; for chunks that disagree in their number of views or
        columns, or do not pair; for a checkpoint that is damaged, or of other data or settings; for
        no rows at all.
    TypeError
        For items that are not tuples, lists or dicts.
    OSError
        For a chunk that cannot be read, and a checkpoint that cannot be written. A checkpoint holds all
        chunks before.

    Notes
    -----
    A checkpoint knows its data by the shape and the type of every chunk and the values of eight rows of it:
    data that differ only elsewhere pass for the same. To go on, files and arrays are read at these rows
    and from the next chunk on; other iterables are run again from their start, and must give the same
    chunks in the same order (a DataLoader without ``shuffle``).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import CCA, streaming
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 4))
    >>> Y = X[:, :2] + rng.normal(size=(1000, 2))
    >>> sums = streaming.moments(streaming.read(X, Y, rows=300))
    >>> cca = CCA().fit_moments(sums)
    >>> bool(np.allclose(cca.canonical_correlations_, CCA().fit(X, Y).canonical_correlations_))
    True
    """
    FLAG("weighted", weighted)
    FLAG("progress", progress)
    POSITIVE_INTEGER("checkpoint_every", checkpoint_every)
    if dtype is not None and np.dtype(dtype) != np.float64:
        raise ValueError(f"dtype must be float64 or None, got {dtype!r}")
    settings = {"dtype": None if dtype is None else "float64", "weighted": bool(weighted)}
    parts = _Parts(_iterable(chunks), weighted)
    state = Progress(Moments())
    rest: Any = None
    found = None if checkpoint is None else load_checkpoint(checkpoint, settings)
    if checkpoint is not None and found is not None:
        state, rest = found, _behind(parts, found, os.fspath(checkpoint))
    rest = iter(chunks) if rest is None else rest
    written = state.chunks
    with _bar(chunks, state.rows, progress) as bar:
        try:
            for item in rest:
                names, views, weights = parts.of(item, state)
                try:
                    sums = state.moments.copy().update(
                        *views, sample_weight=weights, names=names, dtype=dtype, n_threads=n_threads
                    )
                except (TypeError, ValueError) as error:
                    _refuse_non_finite(state, names, views)
                    raise _in_chunk(state, error) from error
                n = len(views[0])
                digest = state.digest if checkpoint is None else _digest(state.digest, views, weights)
                del item, views, weights
                state = Progress(sums, state.chunks + 1, state.rows + n, digest)
                if checkpoint is not None and state.chunks % checkpoint_every == 0:
                    save_checkpoint(checkpoint, state, settings)
                    written = state.chunks
                bar.update(n)
        finally:
            if isinstance(chunks, Chunks):
                rest.close()
            if checkpoint is not None and written != state.chunks:
                save_checkpoint(checkpoint, state, settings)
    if not state.rows:
        raise ValueError("there are no chunks with rows: an iterator that was used up gives none")
    return state.moments


def _iterable(chunks: Any) -> Iterable[Any]:
    if isinstance(chunks, (str, bytes, np.ndarray, Mapping)) or not hasattr(chunks, "__iter__"):
        raise TypeError(
            f"chunks must be an iterable of tuples of views, got {type(chunks).__name__}: "
            "streaming.read opens files and arrays"
        )
    return chunks  # type: ignore[no-any-return]


def _bar(chunks: Any, done: int, shown: bool) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=getattr(chunks, "n_rows", None),
        initial=done,
        desc="moments",
        unit=" rows",
        unit_scale=True,
        disable=not shown,
    )


class _Parts:
    """What the items of an iterable hold: names, views and weights of one chunk."""

    def __init__(self, chunks: Iterable[Any], weighted: bool) -> None:
        self.chunks, self.weighted = chunks, weighted
        self.keys: list[Any] | None = None

    def of(self, item: Any, state: Progress) -> tuple[list[str], Arrays, NDArray[np.float64] | None]:
        try:
            return self._of(item, state)
        except (TypeError, ValueError) as error:
            raise _in_chunk(state, error) from error

    def _of(self, item: Any, state: Progress) -> tuple[list[str], Arrays, NDArray[np.float64] | None]:
        if not isinstance(item, (tuple, list, Mapping)):
            raise TypeError(
                f"expected a tuple, a list or a dict of views, got {type(item).__name__}: "
                "streaming.read opens files and arrays"
            )
        values = list(item) if not isinstance(item, Mapping) else self._by_key(item)
        if len(values) < 1 + self.weighted:
            raise ValueError("expected at least one view, got none")
        weights = values.pop() if self.weighted else None
        names = self._names(len(values))
        views = [
            as_matrix(name, value, vector=True, min_columns=0)
            for name, value in zip(names, values, strict=True)
        ]
        check_same_length(**dict(zip(names, views, strict=True)))
        widths, before = tuple(view.shape[1] for view in views), state.moments.dims
        if before and widths != before:
            raise ValueError(f"its views have {widths} columns, those of the chunks before {before}")
        return names, views, as_weights(weights, len(views[0]))

    def _by_key(self, item: Mapping[Any, Any]) -> list[Any]:
        self.keys = list(item) if self.keys is None else self.keys
        if set(item) != set(self.keys):
            raise ValueError(
                f"it holds {', '.join(map(str, item))}, the first {', '.join(map(str, self.keys))}"
            )
        return [item[key] for key in self.keys]

    def _names(self, count: int) -> list[str]:
        if self.keys is not None:
            return [str(key) for key in self.keys[:count]]
        names = ["X", "y"] if count == 2 else [f"views[{i}]" for i in range(count)]
        if isinstance(self.chunks, Chunks):
            files = self.chunks.names
            return [n if f.startswith("views[") else f"{n} ({f})" for n, f in zip(names, files, strict=False)]
        return names


def _in_chunk(state: Progress, error: Exception) -> Exception:
    """The same error, with the chunk that it is about."""
    text = f"chunk {state.chunks} (from row {state.rows}): {error}"
    if isinstance(error, NumericalError):
        return NumericalError(text)
    return TypeError(text) if isinstance(error, TypeError) else ValueError(text)


def _refuse_non_finite(state: Progress, names: list[str], views: Arrays) -> None:
    """What NaN or infinity there is, with its row among all rows and in its chunk."""
    for name, view in zip(names, views, strict=True):
        within = f" (row {{}} of chunk {state.chunks})"
        refuse_non_finite(name, view, first_row=state.rows, within=within)


def _digest(before: str, views: Arrays, weights: NDArray[np.float64] | None) -> str:
    rows = sampled_rows(len(views[0]))
    return fingerprint(before, len(views[0]), [a[rows] for a in (*views, weights) if a is not None])


def _behind(parts: _Parts, found: Progress, path: str) -> Iterator[Any]:
    """What follows the chunks of a checkpoint, which are looked at again."""
    other = ValueError(
        f"{path} is a checkpoint of other data: its {found.chunks} chunks ({found.rows} rows) are not those "
        "that these begin with; delete the file to start anew"
    )
    chunks = parts.chunks
    seekable = isinstance(chunks, Chunks) and chunks.seekable
    rest = chunks.starting_at(found.chunks) if isinstance(chunks, Chunks) and seekable else iter(chunks)
    state = Progress(Moments())
    for number in range(found.chunks):
        if isinstance(chunks, Chunks) and seekable:
            n = min(chunks.rows, chunks.n_rows - number * chunks.rows)
            if n <= 0:
                raise other
            _, views, weights = parts.of(chunks.rows_at(number, sampled_rows(n)), state)
            digest = fingerprint(state.digest, n, [a for a in (*views, weights) if a is not None])
        else:
            item = next(rest, None)
            if item is None:
                raise other
            _, views, weights = parts.of(item, state)
            n, digest = len(views[0]), _digest(state.digest, views, weights)
        state = Progress(state.moments, number + 1, state.rows + n, digest)
    if (state.digest, state.rows) != (found.digest, found.rows):
        raise other
    return rest
