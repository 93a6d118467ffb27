"""Views in chunks of rows: what :func:`read` opens, and the chunks that it gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from fastcca._arguments.parameters import POSITIVE_INTEGER, integer
from fastcca.streaming._prefetch import prefetch
from fastcca.streaming._views import View, open_view

__all__ = ["Chunks", "read"]

# Bytes of one chunk of all views, the rows that it has at least, and its bytes at most if these are more.
CHUNK = 2**24
FEWEST = 1024
LARGEST = 2**28


class Chunks:
    """Paired views in chunks of rows: what :func:`read` returns.

    Iterating gives tuples with a run of rows of each view, the same in every pass.

    Attributes
    ----------
    n_rows : int
        Rows in all.
    rows : int
        Rows of a chunk; the last may have fewer.
    names : tuple of str
        What messages call the views: their files, or ``views[i]``.
    """

    def __init__(self, views: Sequence[View], rows: int, ahead: int) -> None:
        self._views, self.rows, self._ahead = tuple(views), rows, ahead
        self.n_rows = views[0].n_rows
        self.names = tuple(view.name for view in views)

    def __len__(self) -> int:
        return -(-self.n_rows // self.rows)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], ...]]:
        return self.starting_at(0)

    def starting_at(self, chunk: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """The chunks from this number on.

        Parameters
        ----------
        chunk : int
            Number of the first chunk, counted from 0.

        Yields
        ------
        tuple of ndarray
            A run of rows of each view.
        """
        first = integer(0)("chunk", chunk)
        if not self._ahead:
            return self._chunks(first)
        return prefetch(self._chunks(first), self._ahead)

    def _chunks(self, first: int) -> Iterator[tuple[NDArray[Any], ...]]:
        runs = [view.runs(self.rows, first) for view in self._views]
        for number in range(first, len(self)):
            start, stop = number * self.rows, min(self.n_rows, (number + 1) * self.rows)
            chunk = []
            for view, run in zip(self._views, runs, strict=True):
                try:
                    piece = next(run, None)
                except (OSError, ValueError, EOFError) as error:
                    where = f"chunk {number} (rows {start} to {stop - 1}) of {view.name} cannot be read: "
                    raise OSError(where + str(error)) from error
                if piece is None or len(piece) != stop - start:
                    raise OSError(f"{view.name}: ends before its row {stop - 1}, though it says it has more")
                chunk.append(piece)
            yield tuple(chunk)

    def alone(self, chunk: int) -> tuple[NDArray[Any], ...]:
        """One chunk, read by the caller itself: what a worker of :mod:`fastcca.distributed` asks for.

        Parameters
        ----------
        chunk : int
            Its number.

        Returns
        -------
        tuple of ndarray
        """
        return next(self._chunks(integer(0, len(self) - 1)("chunk", chunk)))

    @property
    def seekable(self) -> bool:
        """Whether single rows can be read without all before them."""
        return all(view.seekable for view in self._views)

    def rows_at(self, chunk: int, within: Sequence[int]) -> tuple[NDArray[Any], ...]:
        """Some rows of one chunk, where the views are ``seekable``.

        Parameters
        ----------
        chunk : int
            Number of the chunk.
        within : sequence of int
            Places of the rows in it.

        Returns
        -------
        tuple of ndarray
            Of each view these rows.
        """
        return tuple(view.rows_at([chunk * self.rows + i for i in within]) for view in self._views)

    def __repr__(self) -> str:
        return f"Chunks({', '.join(self.names)}: {self.n_rows} rows by {self.rows})"


def read(
    *views: Any,
    columns: Sequence[Sequence[str]] | None = None,
    rows: int | None = None,
    ahead: int = 1,
) -> Chunks:
    """Views that are read piece by piece, the next piece while one is worked on.

    Parameters
    ----------
    *views : path, array or pyarrow data set
        Paired by row. Paths of .npy, .npz, HDF5 (.h5, .hdf5) and .zarr files (``FILE:NAME`` where there are
        several arrays), of Parquet, Feather and Arrow files and of folders of Parquet files; data sets and
        tables of pyarrow; anything with ``shape`` whose rows can be sliced: arrays, memory maps, data sets of
        h5py and zarr.
    columns : sequence of sequence of str, optional
        Names of the columns of each view, where Parquet or Arrow data are read: for every view, or for
        one data set that holds all views. By default all columns.
    rows : int, optional
        Rows of a chunk; by default as many as take 16 MB, and at least 1024; of thousands of columns at
        least half as many as there are columns, up to 256 MB. Results are bitwise the same for equal chunks,
        and equal to rounding for others.
    ahead : int, default=1
        Chunks that are kept ready, read in another thread; 0 reads each when it is asked for.

    Returns
    -------
    Chunks
        For :func:`moments`, or to iterate over.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If pyarrow, h5py or zarr is needed and missing.
    TypeError
        For anything that cannot be read by runs of rows.
    ValueError
        For views of different numbers of rows, damaged files, columns that are not there.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.streaming import read
    >>> X = np.arange(10.0).reshape(5, 2)
    >>> [(x.shape, y.shape) for x, y in read(X, X[:, :1], rows=2)]
    [((2, 2), (2, 1)), ((2, 2), (2, 1)), ((1, 2), (1, 1))]
    """
    if not views:
        raise ValueError("read takes at least one view")
    ahead = integer(0)("ahead", ahead)
    chosen: list[Sequence[str] | None] = [None] * len(views)
    if columns is not None:
        if isinstance(columns, str) or any(isinstance(names, str) for names in columns):
            raise ValueError("columns must hold a list of names for each view")
        chosen = list(columns)
        if len(views) == 1:
            views = views * len(chosen)
        if len(chosen) != len(views):
            raise ValueError(f"columns must hold a list of names for each of {len(views)} views")
    opened = [
        open_view(view, f"views[{i}]", names)
        for i, (view, names) in enumerate(zip(views, chosen, strict=True))
    ]
    counts = {view.n_rows for view in opened}
    if len(counts) > 1:
        each = ", ".join(f"{view.n_rows} in {view.name}" for view in opened)
        raise ValueError(f"the views must have the same number of rows, got {each}")
    if rows is None:
        row_bytes = max(1, sum(view.row_bytes for view in opened))
        # To add the moments of a chunk takes time for columns² numbers, that of some hundred rows.
        rows = max(FEWEST, CHUNK // row_bytes, min(row_bytes // 8, LARGEST // row_bytes))
    return Chunks(opened, POSITIVE_INTEGER("rows", rows), ahead)
