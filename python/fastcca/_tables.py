"""Tables from files: what the command line reads and writes."""

import csv
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcca._files import replacing

__all__ = ["Table", "check_output", "read_table", "table_writer"]


class Table(NamedTuple):
    """A table of numbers, and the names of its columns where the file has them."""

    values: NDArray[Any]
    names: list[str] | None = None


def read_table(path: str | os.PathLike[str], key: str | None = None) -> Table:
    """The two-dimensional array in a file; its suffix says how to read it.

    ===================  ====================================================================================
    ``.npy``             memory-mapped, read-only: nothing is read before it is used
    ``.npz``, ``.mat``   the array called ``key``, which may be left out where there is only one
    ``.csv``, ``.tsv``   a first line that does not hold numbers names the columns; a first column whose
                         name is empty holds row labels and is left out
    ``.parquet``         needs pyarrow; an index that pandas stored is left out
    ===================  ====================================================================================

    A one-dimensional array is one column.

    Parameters
    ----------
    path : path
        The file.
    key : str or None
        Which array of the file.

    Returns
    -------
    Table
        The values, (n, p), and the names of the columns or ``None``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If a package that the format needs is missing; the message says which.
    ValueError
        If the file is damaged or does not hold a table of numbers; the message names it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise ValueError(f"{path}: cannot tell its format, expected one of {', '.join(_READERS)}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if key is not None and suffix not in (".npz", ".mat"):
        raise ValueError(f"{path}: a {suffix} file holds one table, it has none called {key!r}")
    values, names = _READERS[suffix](path, key)
    if values.ndim == 1:
        values = values[:, np.newaxis]
    if values.ndim != 2:
        raise ValueError(f"{path}: expected a table of 2 dimensions, got an array of shape {values.shape}")
    if values.dtype.kind not in "buif":
        raise ValueError(f"{path}: expected real numbers, got values of type {values.dtype}")
    if 0 in values.shape:
        raise ValueError(f"{path}: the table is empty, its shape is {values.shape}")
    return Table(values, names)


def _read_npy(path: Path, key: str | None) -> Table:
    try:
        return Table(np.lib.format.open_memmap(path, mode="r"))
    except (ValueError, EOFError) as error:
        # Object arrays end here as well: they cannot be mapped, and are never unpickled.
        raise ValueError(f"{path}: damaged, or not an array of numbers ({error})") from error


def _read_npz(path: Path, key: str | None) -> Table:
    # BadZipFile, zlib.error, EOFError, KeyError: whatever the damaged bytes lead to.
    try:
        with path.open("rb") as file, np.load(file) as archive:
            return Table(archive[_choose(path, key, archive.files)])
    except (_Choice, MemoryError):
        raise
    except Exception as error:  # NumPy takes what it does not know for a pickle, and says how to load that
        raise ValueError(f"{path}: damaged, or not arrays of numbers") from error


def _read_mat(path: Path, key: str | None) -> Table:
    from scipy.io import loadmat, whosmat

    try:
        name = _choose(path, key, [entry[0] for entry in whosmat(path)])
        values = loadmat(path, variable_names=[name])[name]
    except (_Choice, MemoryError):
        raise
    except NotImplementedError:
        return _read_mat73(path, key)
    except Exception as error:
        raise ValueError(f"{path}: damaged MATLAB file ({error})") from error
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{path}: expected {name} to be a full matrix, got {type(values).__name__}")
    return Table(values)


def _read_mat73(path: Path, key: str | None) -> Table:
    """MATLAB's newer format is HDF5, with the dimensions in reverse."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"{path}: a MATLAB 7.3 file needs h5py (pip install h5py); or save it in MATLAB with -v7"
        ) from error
    with h5py.File(path, "r") as file:
        name = _choose(path, key, [name for name in file if isinstance(file[name], h5py.Dataset)])
        return Table(np.asarray(file[name][()]).T)


def _read_parquet(path: Path, key: str | None) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"{path}: a .parquet file needs pyarrow (pip install pyarrow)") from error
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: damaged parquet file ({error})") from error
    names, columns = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name.startswith("__index_level_"):
            continue
        if not (pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type)):
            raise ValueError(f"{path}: column {name!r} holds {column.type}, expected numbers")
        names.append(name)
        columns.append(column.to_numpy())
    return Table(np.column_stack(columns) if columns else np.empty((0, 0)), names)


def _read_text(path: Path, delimiter: str) -> Table:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file, warnings.catch_warnings():
            first = next((row for row in csv.reader(file, delimiter=delimiter) if row), [])
            header = _is_header(first)
            labelled = header and first[0] == ""
            if not header:
                file.seek(0)
            warnings.filterwarnings("ignore", "loadtxt: input contained no data")
            values = np.loadtxt(
                file,
                delimiter=delimiter,
                comments=None,
                quotechar='"',
                ndmin=2,
                usecols=range(1, len(first)) if labelled else None,
            )
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8 ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {_first_fault(path, delimiter, labelled) or error}") from error
    names = first[1:] if labelled else first
    if len(values) and values.shape[1] != len(names):
        raise ValueError(f"{path}: the first line has {len(names)} fields, the next {values.shape[1]}")
    return Table(values, [name.strip() for name in names] if header else None)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _is_header(fields: Sequence[str]) -> bool:
    """Whether a first line names columns. One of numbers with a few missing values does not."""
    if any(not _is_number(field) and field.strip().lower() not in _MISSING for field in fields):
        return True
    # pandas' header over row labels and columns without names.
    return len(fields) > 1 and list(fields) == ["", *map(str, range(len(fields) - 1))]


def _first_fault(path: Path, delimiter: str, labelled: bool) -> str | None:
    """The first field of a text file that is not a number: called when numpy has refused the file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        first = next(row for row in reader if row)
        header = _is_header(first)
        if not header:
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter)
        for row in filter(None, reader):
            if len(row) != len(first):
                return f"line {reader.line_num} has {len(row)} fields, the first line {len(first)}"
            for column in range(int(labelled), len(row)):
                if not _is_number(row[column]):
                    name = f" ({first[column]!r})" if header else ""
                    return (
                        f"line {reader.line_num}, column {column + 1}{name}: {row[column]!r} is not a number"
                    )
    return None


class _Choice(ValueError):
    """An archive holds several arrays, or not the one asked for."""


def _choose(path: Path, key: str | None, names: Sequence[str]) -> str:
    if key is None and len(names) == 1:
        return names[0]
    if key in names:
        return str(key)
    held = ", ".join(names) or "none"
    if key is None:
        raise _Choice(f"{path}: it holds {len(names)} arrays ({held}), say which: {path.name}:NAME")
    raise _Choice(f"{path}: it holds no array called {key!r}, only {held}")


_MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")

_READERS: dict[str, Callable[[Path, str | None], Table]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".csv": lambda path, key: _read_text(path, ","),
    ".tsv": lambda path, key: _read_text(path, "\t"),
    ".mat": _read_mat,
    ".parquet": _read_parquet,
}

_WRITTEN = (".npy", ".npz", ".csv", ".tsv")


def check_output(path: str | os.PathLike[str], suffixes: Sequence[str] = _WRITTEN) -> Path:
    """The path as it is, or an error before any work is done for a result that could not be written."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: cannot write this format, expected one of {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder")
    try:
        # to try is the one test that holds for permissions, read-only disks and full ones
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(
            error.errno, f"cannot write in its folder ({error.strerror})", os.fspath(path)
        ) from error
    return path


@contextmanager
def table_writer(
    path: str | os.PathLike[str], shape: tuple[int, int], dtype: Any, names: Sequence[str]
) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Write a table piece by piece, rows from the top; the suffix says how: .npy, .npz (array Z), .csv, .tsv.

    The pieces go to a temporary file beside ``path``, which takes its name when all went well. Text has
    the column names on its first line, and digits enough to read the same numbers back.
    """
    path = check_output(path)
    suffix = path.suffix.lower()
    with replacing(path) as temporary:
        if suffix in (".csv", ".tsv"):
            delimiter = "," if suffix == ".csv" else "\t"
            precision = "%.9g" if np.dtype(dtype) == np.float32 else "%.17g"
            with temporary.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, delimiter=delimiter, lineterminator="\n").writerow(names)
                yield lambda chunk: np.savetxt(file, chunk, fmt=precision, delimiter=delimiter)
        elif suffix == ".npy":
            mapped = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
            yield _from_the_top(mapped)
            mapped.flush()
            del mapped
        else:
            table = np.empty(shape, dtype=dtype)
            yield _from_the_top(table)
            with temporary.open("wb") as file:
                np.savez(file, Z=table)


def _from_the_top(table: NDArray[Any]) -> Callable[[NDArray[Any]], None]:
    row = 0

    def write(chunk: NDArray[Any]) -> None:
        nonlocal row
        table[row : row + len(chunk)] = chunk
        row += len(chunk)

    return write
