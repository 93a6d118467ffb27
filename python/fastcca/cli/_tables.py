"""Tables from files: what the command line reads and writes."""

import csv
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcca._models.atomic_write import replacing, save_arrays

__all__ = ["Table", "check_output", "read_table", "table_writer"]


class Table(NamedTuple):
    """A table of numbers, and the names of its columns where the file has them."""

    values: NDArray[Any]
    names: list[str] | None = None


def read_table(
    path: str | os.PathLike[str],
    key: str | None = None,
    *,
    header: bool | None = None,
    missing: bool = False,
) -> Table:
    """The two-dimensional array in a file; its suffix says how to read it.

    ===================  ====================================================================================
    ``.npy``             memory-mapped, read-only: nothing is read before it is used
    ``.npz``, ``.mat``   the array called ``key``, which may be left out where there is only one
    ``.csv``, ``.tsv``   a first line that does not hold numbers names the columns, and so does one of numbers
                         such as 0, 1, 2 or 2019, 2020 over a table in which no entry is an integer; a first
                         column whose name is empty holds row labels and is left out
    ``.parquet``         needs pyarrow; an index that pandas stored is left out
    ===================  ====================================================================================

    A one-dimensional array is one column. A first column that is called id, index, sample_id or the like and
    holds as many different integers or texts as there are rows is left out, with a warning.

    Parameters
    ----------
    path : path
        The file.
    key : str or None
        Which array of the file.
    header : bool or None
        Whether the first line of a text file names the columns; None: as it looks.
    missing : bool
        Whether empty fields, NA and the like of a text file are read, as NaN.

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
    MemoryError
        If it does not fit in memory; the message names it.

    Warns
    -----
    UserWarning
        If a column is left out, or a first line of numbers is read as data that may be a header.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    known = (*_READERS, *_DELIMITERS)
    if suffix not in known:
        raise ValueError(f"{path}: cannot tell its format, expected one of {', '.join(sorted(known))}")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if key is not None and suffix not in (".npz", ".mat"):
        raise ValueError(f"{path}: a {suffix} file holds one table, it has none called {key!r}")
    try:
        table = (
            _read_text(path, _DELIMITERS[suffix], header, missing)
            if suffix in _DELIMITERS
            else _READERS[suffix](path, key)
        )
        values, names = _without_row_labels(path, table)
    except MemoryError as error:
        size = path.stat().st_size
        raise MemoryError(
            f"{path}: out of memory while reading its {size:,} bytes {error}".rstrip()
        ) from error
    except (ValueError, OSError, ImportError):
        raise
    except Exception as error:  # whatever damaged bytes lead a reader to
        raise ValueError(f"{path}: damaged ({type(error).__name__}: {error})") from error
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
    names: list[str] = []
    columns: list[NDArray[Any]] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name.startswith("__index_level_"):
            continue
        if not names and _is_text(pyarrow, column.type) and _names_rows(name):
            labels = column.to_pylist()
            if len(set(labels)) == len(labels):
                _left_out(path, name)
                continue
        if not (pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type)):
            raise ValueError(f"{path}: column {name!r} holds {column.type}, expected numbers")
        names.append(name)
        columns.append(column.to_numpy())
    return Table(np.column_stack(columns) if columns else np.empty((0, 0)), names)


def _is_text(pyarrow: Any, kind: Any) -> bool:
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


# What a column is called that says which row this is, and nothing of it.
_ROW_NAMES = re.compile(
    r"(.*[_ .-])?(id|ids|idx|index|uuid|guid|key|row|rows|rowid|row_?names?)"
    r"|unnamed: 0|(sample|subject|participant|record|case)s?",
    re.IGNORECASE,
)


def _names_rows(name: str) -> bool:
    return _ROW_NAMES.fullmatch(name.strip()) is not None


def _left_out(path: Path, name: str) -> None:
    warnings.warn(
        f"{path}: the first column, {name!r}, names the rows and is left out; if it is data, rename it",
        UserWarning,
        stacklevel=2,
    )


def _without_row_labels(path: Path, table: Table) -> Table:
    """The table without a first column that counts or names the rows."""
    values, names = table
    if not names or values.ndim != 2 or values.shape[1] < 2 or not _names_rows(names[0]):
        return table
    first = values[:, 0]
    if np.any(first != np.rint(first)) or len(np.unique(first)) != len(first):
        return table
    _left_out(path, names[0])
    return Table(values[:, 1:], names[1:])


def _read_text(path: Path, delimiter: str, header: bool | None, missing: bool) -> Table:
    named = labelled = False
    try:
        with path.open(encoding="utf-8-sig", newline="") as file, warnings.catch_warnings():
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            first = next((row for row in reader if row), [])
            second = next((row for row in reader if row), [])
            named = _is_header(first) if header is None else header and bool(first)
            labelled = named and len(first) > 1 and _labels_rows(first, second)
            file.seek(0)
            if named:
                _skip_line(file, delimiter)
            warnings.filterwarnings("ignore", "loadtxt: input contained no data")
            values = np.loadtxt(
                file,
                delimiter=delimiter,
                comments=None,
                quotechar='"',
                ndmin=2,
                usecols=range(1, len(first)) if labelled else None,
                converters=_number if missing else None,
                encoding="utf-8",
            )
        if header is None and not named and _is_numbered_header(path, first, values):
            named, values = True, values[1:]
        if labelled and first[0]:
            _check_labels(path, delimiter, first[0])
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8 ({error})") from error
    except csv.Error as error:
        raise ValueError(f"{path}: {_csv_fault(path, delimiter, error)}") from error
    except ValueError as error:
        fault = _first_fault(path, delimiter, named, labelled, missing)
        raise ValueError(f"{path}: {fault or error}") from error
    names = first[1:] if labelled else first
    if len(values) and values.shape[1] != len(names):
        raise ValueError(f"{path}: the first line has {len(names)} fields, the next {values.shape[1]}")
    return Table(values, [name.strip() for name in names] if named else None)


def _skip_line(file: Any, delimiter: str) -> None:
    """Go on behind the first line that is not empty; names may hold line breaks."""
    lines = iter(file.readline, "")
    next(row for row in csv.reader(lines, delimiter=delimiter) if row)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _number(field: str) -> float:
    return np.nan if _is_missing(field) else float(field)


def _is_missing(field: str) -> bool:
    return field.strip().lower() in _MISSING


def _is_integer(field: str) -> bool:
    return field.strip().lstrip("+-").isdecimal()


def _ascend(numbers: Sequence[int]) -> bool:
    return all(a < b for a, b in pairwise(numbers))


def _is_header(fields: Sequence[str]) -> bool:
    """Whether a first line names columns.

    One of numbers with a few missing values does not, nor does one of numbers among which one cannot be read:
    a name stands beside numbers only if these are names too, integers that ascend behind names.
    """
    numbers = [field for field in fields if _is_number(field) and not _is_missing(field)]
    names = [field for field in fields if not _is_number(field) and not _is_missing(field)]
    if names:
        if not numbers:
            return True
        at = fields.index(numbers[0])
        values = [int(field) for field in numbers] if all(map(_is_integer, numbers)) else []
        behind = all(_is_number(field) for field in fields[at:])
        return behind and bool(values) and _ascend(values)
    # pandas' header over row labels and columns without names.
    return len(fields) > 1 and list(fields) == ["", *map(str, range(len(fields) - 1))]


def _labels_rows(header: Sequence[str], row: Sequence[str]) -> bool:
    """Whether the first column labels the rows: it has no name, or one that says so over text."""
    if header[0] == "":
        return True
    return (
        _names_rows(header[0])
        and len(row) == len(header)
        and not _is_number(row[0])
        and not _is_missing(row[0])
    )


def _check_labels(path: Path, delimiter: str, name: str) -> None:
    """Warn that a column of text that names the rows is left out, or refuse one that does not."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    labels = [row[0] for row in rows[1:]]
    if len(set(labels)) != len(labels):
        raise ValueError(
            f"line 2, column 1 ({name!r}): {labels[0]!r} is not a number, nor are all labels different"
        )
    _left_out(path, name)


def _is_numbered_header(path: Path, first: Sequence[str], values: NDArray[Any]) -> bool:
    """Whether the first line, all numbers, names the columns nevertheless: 0, 1, 2, … or years.

    So it does where its fields are written as integers that count or ascend, and nothing below is an integer.
    Over integers nobody can say; a table that may well have such a header is read with a warning.
    """
    if len(values) < 2 or not all(map(_is_integer, first)):
        return False
    numbers = [int(field) for field in first]
    p = len(numbers)
    counted = numbers in (list(range(p)), list(range(1, p + 1))) and (p > 1 or numbers == [0])
    years = len(set(numbers)) == p > 1 and all(1000 <= number <= 2999 for number in numbers)
    ascending = p > 2 and _ascend(numbers)
    if not (counted or years or ascending):
        return False
    below = values[1:]
    integers = below == np.rint(below)
    if not integers.any():
        return True
    if integers.all():
        if years and not np.any((below >= 1000) & (below <= 2999)):
            return True
        goes_on = p > 1 and len(np.unique(np.diff(values.ravel()))) == 1  # 0, 1, 2 / 3, 4, 5 / …
        if p > 2 and (years or counted) and not goes_on:
            warnings.warn(
                f"{path}: the first line, {', '.join(first[:3])}, …, is read as data; "
                "if it names the columns, say so (--header on the command line)",
                UserWarning,
                stacklevel=4,
            )
    return False


def _csv_fault(path: Path, delimiter: str, error: csv.Error) -> str:
    """Where a text file stops being a table: a quote that is not closed, a field without an end."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        line = 1
        try:
            for _ in reader:
                line = reader.line_num + 1
        except csv.Error:
            pass
    return f"line {line}: {error} (is a quote not closed?)"


def _first_fault(path: Path, delimiter: str, named: bool, labelled: bool, missing: bool) -> str | None:
    """The first field of a text file that is not a number: called when numpy has refused the file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            first = next((row for row in reader if row), [])
            if not named:
                file.seek(0)
                reader = csv.reader(file, delimiter=delimiter, strict=True)
            for row in filter(None, reader):
                if len(row) != len(first):
                    return f"line {reader.line_num} has {len(row)} fields, the first line {len(first)}"
                for column in range(int(labelled), len(row)):
                    if not _is_number(row[column]) and not (missing and _is_missing(row[column])):
                        name = f" ({first[column]!r})" if named else ""
                        field = row[column] if len(row[column]) <= 60 else row[column][:60] + "…"
                        return f"line {reader.line_num}, column {column + 1}{name}: {field!r} is not a number"
        except csv.Error as error:
            return _csv_fault(path, delimiter, error)
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

_DELIMITERS = {".csv": ",", ".tsv": "\t"}

_READERS: dict[str, Callable[[Path, str | None], Table]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".mat": _read_mat,
    ".parquet": _read_parquet,
}

_WRITTEN = (".npy", ".npz", ".csv", ".tsv")


def check_output(
    path: str | os.PathLike[str],
    suffixes: Sequence[str] = _WRITTEN,
    *,
    inputs: Sequence[str | os.PathLike[str]] = (),
) -> Path:
    """The path as it is, or an error before any work is done for a result that could not be written.

    A path that is one of the ``inputs``, by whatever name, is refused.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: cannot write this format, expected one of {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder")
    for given in inputs:
        if os.path.exists(given) and os.path.exists(path) and os.path.samefile(given, path):
            raise ValueError(f"{path}: is an input as well, choose another name for the result")
    folder = Path(os.path.realpath(path)).parent  # of a link: where its file is
    try:
        # to try is the one test that holds for permissions, read-only disks and full ones
        with tempfile.TemporaryFile(dir=folder):
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

    The pieces go to a temporary file next to ``path``, which takes its name when all went well. Text has
    the column names on its first line, and digits enough to read the same numbers back.
    """
    path = check_output(path)
    suffix = path.suffix.lower()
    with replacing(path) as temporary:
        if suffix in (".csv", ".tsv"):
            delimiter = _DELIMITERS[suffix]
            precision = "%.9g" if np.dtype(dtype) == np.float32 else "%.17g"
            with temporary.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, delimiter=delimiter, lineterminator="\n").writerow(names)
                yield lambda chunk: np.savetxt(file, chunk, fmt=precision, delimiter=delimiter)
        elif suffix == ".npy":
            # Written, not mapped: a disk that fills up is an error then, not the end of the process.
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
            with temporary.open("wb") as binary:
                np.lib.format.write_array_header_1_0(binary, header)

                def write(chunk: NDArray[Any]) -> None:
                    binary.write(np.ascontiguousarray(chunk, dtype=dtype).data)

                yield write
        else:
            table = np.empty(shape, dtype=dtype)
            yield _from_the_top(table)
            save_arrays(temporary, Z=table)


def _from_the_top(table: NDArray[Any]) -> Callable[[NDArray[Any]], None]:
    row = 0

    def write(chunk: NDArray[Any]) -> None:
        nonlocal row
        table[row : row + len(chunk)] = chunk
        row += len(chunk)

    return write
