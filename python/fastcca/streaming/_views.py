"""Views that are read by runs of rows: arrays, .npy, .npz, HDF5 and Zarr files, Parquet and Arrow data."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ArrowView", "NpyView", "NpzView", "SlicedView", "StoredView", "View", "open_view"]

Array = NDArray[Any]

HDF5 = (".h5", ".hdf5")
# Files that hold several arrays, of which a name after a colon says which.
NAMED = (".npz", ".zarr", *HDF5)


class View:
    """Rows that can be read in runs of a given length."""

    name: str
    n_rows: int
    row_bytes: int
    seekable = True  # whether single rows can be had without all before them

    def runs(self, rows: int, first: int) -> Iterator[Array]:
        """Runs of ``rows`` rows, the last may be shorter, from run number ``first`` on."""
        raise NotImplementedError

    def rows_at(self, numbers: Sequence[int]) -> Array:
        """These rows alone, of a view that is seekable."""
        raise NotImplementedError


class SlicedView(View):
    """Anything with a shape whose rows can be sliced: arrays, memory maps, data sets of h5py and zarr."""

    def __init__(self, name: str, data: Any) -> None:
        self.name, self.data = name, data
        self.n_rows = int(data.shape[0])
        itemsize = getattr(getattr(data, "dtype", None), "itemsize", None) or 8
        self.row_bytes = math.prod(int(size) for size in data.shape[1:]) * int(itemsize)
        # What is in memory is handed on as it lies; a map is read here, ahead of its use.
        self.copied = isinstance(data, np.memmap) or _is_map(data)

    def runs(self, rows: int, first: int) -> Iterator[Array]:
        for start in range(first * rows, self.n_rows, rows):
            run = self.data[start : start + rows]
            yield np.array(run, order="C", subok=False) if self.copied else run

    def rows_at(self, numbers: Sequence[int]) -> Array:
        return np.concatenate([np.asarray(self.data[i : i + 1]) for i in numbers])


def _is_map(data: Any) -> bool:
    """Whether an array is a view of a memory map."""
    while isinstance(data, np.ndarray):
        if isinstance(data, np.memmap):
            return True
        data = data.base
    return False


class NpyView(View):
    """A .npy file in C order: read, not mapped, so that a file that is cut short is an error."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int) -> None:
        self.name, self.path, self.shape, self.dtype, self.offset = str(path), path, shape, dtype, offset
        self.n_rows = shape[0]
        self.row_bytes = math.prod(shape[1:]) * dtype.itemsize

    def runs(self, rows: int, first: int) -> Iterator[Array]:
        with self.path.open("rb", buffering=0) as file:
            for start in range(first * rows, self.n_rows, rows):
                yield self._read(file, start, min(self.n_rows, start + rows))

    def rows_at(self, numbers: Sequence[int]) -> Array:
        with self.path.open("rb", buffering=0) as file:
            return np.concatenate([self._read(file, i, i + 1) for i in numbers])

    def _read(self, file: IO[bytes], start: int, stop: int) -> Array:
        file.seek(self.offset + start * self.row_bytes)
        return _filled(file, (stop - start, *self.shape[1:]), self.dtype, self.name, start)


class NpzView(View):
    """An array of an .npz archive, compressed or not, that is read from its start."""

    seekable = False

    def __init__(self, path: Path, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.name, self.path, self.key, self.shape, self.dtype = f"{path}:{key}", path, key, shape, dtype
        self.n_rows = shape[0]
        self.row_bytes = math.prod(shape[1:]) * dtype.itemsize

    def runs(self, rows: int, first: int) -> Iterator[Array]:
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.key}.npy") as file:
            _header(file)
            _skip(file, first * rows * self.row_bytes)
            for start in range(first * rows, self.n_rows, rows):
                shape = min(rows, self.n_rows - start), *self.shape[1:]
                yield _filled(file, shape, self.dtype, self.name, start)


class StoredView(View):
    """An array in a file of HDF5 or Zarr, opened by whoever reads it: other processes get its name."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        with _stored(path, key) as data:
            self.name = f"{path}:{key}" if key else str(path)
            shape, dtype = tuple(map(int, data.shape)), np.dtype(data.dtype)
        _check(path, shape, dtype)
        self.n_rows = shape[0]
        self.row_bytes = math.prod(shape[1:]) * dtype.itemsize

    def runs(self, rows: int, first: int) -> Iterator[Array]:
        with _stored(self.path, self.key) as data:
            for start in range(first * rows, self.n_rows, rows):
                yield np.asarray(data[start : start + rows])

    def rows_at(self, numbers: Sequence[int]) -> Array:
        with _stored(self.path, self.key) as data:
            return np.concatenate([np.asarray(data[i : i + 1]) for i in numbers])


class ArrowView(View):
    """Columns of a data set of pyarrow: Parquet, Arrow and Feather files or folders of them, tables."""

    seekable = False

    def __init__(self, name: str, dataset: Any, columns: Sequence[str] | None) -> None:
        import pyarrow

        self.name, self.dataset = name, dataset
        known = dataset.schema.names
        if columns is None:  # an index that pandas stored is no column
            columns = [column for column in known if not column.startswith("__index_level_")]
        self.columns = list(columns)
        missing = [column for column in self.columns if column not in known]
        if missing:
            raise ValueError(f"{name}: there is no column {missing[0]!r}, only {', '.join(known)}")
        if not self.columns:
            raise ValueError(f"{name}: there are no columns to read")
        for column in self.columns:
            kind = dataset.schema.field(column).type
            if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)):
                raise ValueError(f"{name}: column {column!r} holds {kind}, expected numbers")
        self.n_rows = int(dataset.count_rows())
        self.row_bytes = 8 * len(self.columns)

    def runs(self, rows: int, first: int) -> Iterator[Array]:
        skipped, held = first * rows, 0
        pieces: list[Array] = []
        batches = self.dataset.to_batches(
            columns=self.columns, batch_size=rows, batch_readahead=1, fragment_readahead=1
        )
        for batch in batches:
            if skipped >= batch.num_rows:
                skipped -= batch.num_rows
                continue
            piece = np.column_stack([c.to_numpy(zero_copy_only=False) for c in batch.slice(skipped).columns])
            skipped = 0
            while held + len(piece) >= rows:
                yield np.concatenate([*pieces, piece[: rows - held]])
                piece, pieces, held = piece[rows - held :], [], 0
            if len(piece):
                pieces.append(piece)
                held += len(piece)
        if held:
            yield np.concatenate(pieces)


def open_view(value: Any, place: str, columns: Sequence[str] | None = None) -> View:
    """A view of what a user gives; ``place`` is what an argument without a name of its own is called."""
    if isinstance(value, (str, os.PathLike)):
        return _open_path(os.fspath(value), columns)
    if type(value).__module__.partition(".")[0] == "pyarrow":
        return ArrowView(place, _dataset(value, place), columns)
    if columns is not None:
        raise ValueError(f"{place}: columns are for Parquet and Arrow, got {type(value).__name__}")
    if not hasattr(value, "shape") or not hasattr(value, "__getitem__") or hasattr(value, "iloc"):
        raise TypeError(
            f"{place} must be a path, a data set of pyarrow or an array whose rows can be sliced, got "
            f"{type(value).__name__}"
        )
    if len(value.shape) not in (1, 2):
        raise ValueError(f"{place} must have one or two dimensions, got shape {tuple(value.shape)}")
    return SlicedView(place, value)


def _open_path(text: str, columns: Sequence[str] | None) -> View:
    stem, colon, key = text.rpartition(":")
    if colon and stem.lower().endswith(NAMED):
        text = stem
    else:
        key = ""
    path = Path(text)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix not in (".npy", *NAMED):
        if not path.is_dir() and suffix not in (".parquet", ".feather", ".arrow", ".ipc"):
            raise ValueError(
                f"{path}: cannot tell its format, expected .npy, .npz, .h5, .hdf5, .zarr, .parquet, .feather "
                "or .arrow, or a folder of Parquet files"
            )
        return ArrowView(str(path), _dataset(path, str(path)), columns)
    if columns is not None:
        raise ValueError(f"{path}: columns are for Parquet and Arrow")
    if suffix in (".zarr", *HDF5):
        return StoredView(path, key)
    return _open_npy(path) if suffix == ".npy" else _open_npz(path, key)


def _open_npy(path: Path) -> View:
    try:
        with path.open("rb") as file:
            shape, fortran, dtype = _header(file)
            offset = file.tell()
            end = file.seek(0, os.SEEK_END)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: damaged, or not an array of numbers ({error})") from error
    _check(path, shape, dtype)
    claimed = math.prod(shape) * dtype.itemsize
    if end - offset < claimed:
        raise ValueError(f"{path}: holds {end - offset:,} bytes of data, its header says {claimed:,}")
    if fortran and len(shape) == 2:
        return SlicedView(str(path), np.load(path, mmap_mode="r"))
    return NpyView(path, shape, dtype, offset)


def _open_npz(path: Path, key: str) -> View:
    with _undamaged(path), zipfile.ZipFile(path) as archive:
        held = [name.removesuffix(".npy") for name in archive.namelist()]
    key = _chosen(path, key, held)
    with _undamaged(path), zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
        shape, fortran, dtype = _header(file)
    _check(path, shape, dtype)
    if fortran and len(shape) == 2:  # rows of it are not to be had one after the other
        with np.load(path) as arrays:
            return SlicedView(f"{path}:{key}", arrays[key])
    return NpzView(path, key, shape, dtype)


@contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: damaged, or not arrays of numbers ({error})") from error


@contextmanager
def _stored(path: Path, key: str) -> Iterator[Any]:
    """An array of a file of HDF5 or Zarr while it is open."""
    kind = "zarr" if path.suffix.lower() == ".zarr" else "h5py"
    try:
        library: Any = import_module(kind)
    except ImportError as error:
        raise ImportError(f"{path}: {path.suffix} files need {kind} (pip install {kind})") from error
    try:
        store = library.open(str(path), mode="r") if kind == "zarr" else library.File(path, "r")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path}: damaged, or not a file of {kind} ({error})") from error
    try:
        if hasattr(store, "shape"):  # an array of Zarr by itself
            _chosen(path, key, [""])
            yield store
        elif key in store and hasattr(store[key], "shape"):  # in a group too
            yield store[key]
        else:
            yield store[_chosen(path, key, [name for name in store if hasattr(store[name], "shape")])]
    finally:
        if kind == "h5py":
            store.close()


def _chosen(path: Path, key: str, held: Sequence[str]) -> str:
    """The name of one of the arrays that a file holds: the only one, unless said which."""
    if not key and len(held) == 1:
        return held[0]
    if key not in held:
        which = f"there is none called {key!r}" if key else f"say which: {path.name}:NAME"
        raise ValueError(f"{path}: it holds the arrays {', '.join(held) or 'none'}; {which}")
    return key


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _check(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if len(shape) not in (1, 2):
        raise ValueError(f"{path} must have one or two dimensions, got shape {shape}")
    if dtype.kind not in "biuf":
        raise ValueError(f"{path} must hold numbers, got dtype {dtype}")


def _filled(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], name: str, start: int) -> Array:
    """An array of what the file holds next."""
    out = np.empty(shape, dtype)
    left = out.reshape(-1).view(np.uint8).data
    while left:
        count = file.readinto(left) or 0  # type: ignore[attr-defined]
        if not count:
            whole = (out.nbytes - len(left)) // max(1, out.nbytes // max(1, shape[0]))
            raise ValueError(f"{name}: ends within row {start + whole}, though its header promises more")
        left = left[count:]
    return out


def _skip(file: IO[bytes], size: int) -> None:
    while size > 0:
        piece = len(file.read(min(size, 1 << 24)))
        if not piece:
            return
        size -= piece


def _dataset(value: Any, name: str) -> Any:
    try:
        import pyarrow
        import pyarrow.dataset
    except ImportError as error:
        raise ImportError(f"{name}: Parquet and Arrow need pyarrow (pip install pyarrow)") from error
    try:
        if isinstance(value, Path):
            kind = value.suffix.lower()
            format_ = "parquet" if kind == ".parquet" or value.is_dir() else "feather"
            return pyarrow.dataset.dataset(value, format=format_)
        return (
            value
            if hasattr(value, "to_batches") and hasattr(value, "count_rows")
            else (pyarrow.dataset.dataset(value))
        )
    except (pyarrow.ArrowException, OSError, TypeError) as error:
        raise ValueError(f"{name}: not a data set of pyarrow, or damaged ({error})") from error
