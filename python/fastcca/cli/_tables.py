"""Tables from files: what the command line reads and writes."""

import csv
import json
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcca._models.atomic_write import replacing, save_arrays

__all__ = ["Reading", "Table", "check_output", "delimiter_of", "read_table", "table_writer"]

# What a text file has in the place of a number that is missing.
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")


class Table(NamedTuple):
    """A table of numbers, the names of its columns and of its rows where the file has them."""

    values: NDArray[Any]
    names: list[str] | None = None
    labels: list[str] | None = None  # of the rows, from the column that was asked for as the index
    dropped: frozenset[str] = frozenset()  # columns that were left out as asked


class Reading(NamedTuple):
    """How tables are read, and which of their columns; the parameters are those of :func:`read_table`."""

    header: bool | None = None
    missing: bool = False
    na: tuple[str, ...] = ()
    separator: str | None = None
    index_column: str | int | None = None
    columns: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    decimal: str = "."


def read_table(
    path: str | os.PathLike[str],
    key: str | None = None,
    *,
    header: bool | None = None,
    missing: bool = False,
    na: Sequence[str] = (),
    separator: str | None = None,
    index_column: str | int | None = None,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    decimal: str = ".",
) -> Table:
    """The two-dimensional array in a file; its suffix says how to read it.

    ===================  ====================================================================================
    ``.npy``             memory-mapped, read-only: nothing is read before it is used
    ``.npz``, ``.mat``   the array called ``key``, which may be left out where there is only one
    ``.csv``, ``.tsv``   a first line that does not hold numbers names the columns, and so does one of numbers
                         such as 0, 1, 2 or 2019, 2020 over a table in which no entry is an integer; a first
                         column whose name is empty holds row labels and is left out
    ``.parquet``         needs pyarrow or polars; an index that pandas stored is left out
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
    na : sequence of str
        Further values that are read as NaN: numbers wherever they stand, texts in text files.
    separator : str or None
        What separates the fields of a text file, one character; None: a comma in .csv (a semicolon where
        decimals are written with commas), a tab in .tsv.
    index_column : str, int or None
        The column that names the rows, or its place.
    columns : sequence of str or None
        The columns to take, in this order; None: all.
    drop : sequence of str
        Columns to leave out; those that the table lacks are ignored.
    decimal : {".", ","}
        What a text file writes before the decimals of a number. Where it is a comma a field with a point is
        no number: the point may separate thousands.

    Returns
    -------
    Table
        The values, (n, p), the names of the columns or ``None``, those of the rows or ``None``.

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
    reading = Reading(
        header,
        missing,
        tuple(na),
        separator,
        index_column,
        None if columns is None else tuple(columns),
        tuple(drop),
        decimal,
    )
    if decimal not in (".", ","):
        raise ValueError(f"decimal must be '.' or ',', got {decimal!r}")
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
        table = _read_text(path, reading) if suffix in _DELIMITERS else _READERS[suffix](path, key, reading)
        values, names, labels, dropped = _without_row_labels(path, table, reading)
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
    if names is None and (index_column is not None or columns is not None):
        raise ValueError(f"{path}: its columns have no names, so that none can be chosen")
    if 0 in values.shape:
        raise ValueError(f"{path}: the table is empty, its shape is {values.shape}")
    if labels is not None and len(set(labels)) != len(labels):
        twice = next(label for i, label in enumerate(labels) if label in labels[:i])
        raise ValueError(f"{path}: {index_column!r} names two rows {twice!r}")
    return Table(_with_nan(values, reading), names, labels, dropped)


def _with_nan(values: NDArray[Any], reading: Reading) -> NDArray[Any]:
    """NaN in the place of the numbers that say that one is missing."""
    numbers = [_float(value, reading.decimal) for value in reading.na if _is_number(value, reading.decimal)]
    found = np.isin(values, numbers) if numbers else np.zeros((), dtype=bool)
    if not found.any():
        return values
    return np.where(found, np.nan, values).astype(np.result_type(values, np.float32))


class _Selection(NamedTuple):
    """Which columns are data, in what order, and which one names the rows."""

    data: list[int]
    label: int | None
    dropped: frozenset[str]


def _selected(path: Path, names: Sequence[str], reading: Reading, left_out: Sequence[int] = ()) -> _Selection:
    """The columns that were asked for by name; ``left_out`` are those that are none."""
    where = {name: i for i, name in reversed(list(enumerate(names)))}
    asked_index = [reading.index_column] if isinstance(reading.index_column, str) else []
    for asked in (*asked_index, *(reading.columns or ())):
        if asked not in where:
            raise _Located(f"{path}: there is no column {asked!r}, only {_some(names)}")
        if names.count(asked) > 1:
            raise _Located(f"{path}: several columns are called {asked!r}")
    index = where[reading.index_column] if isinstance(reading.index_column, str) else reading.index_column
    dropped = frozenset(reading.drop).intersection(names)
    if reading.columns is None:
        kept = [i for i in range(len(names)) if i not in left_out]
    else:
        kept = [where[name] for name in reading.columns]
    return _Selection([i for i in kept if i != index and names[i] not in dropped], index, dropped)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f", … ({len(names)})" if len(names) > 10 else "")


def _read_npy(path: Path, key: str | None, _: Reading) -> Table:
    try:
        return Table(np.lib.format.open_memmap(path, mode="r"))
    except (ValueError, EOFError) as error:
        # Object arrays end here as well: they cannot be mapped, and are never unpickled.
        raise ValueError(f"{path}: damaged, or not an array of numbers ({error})") from error


def _read_npz(path: Path, key: str | None, _: Reading) -> Table:
    # BadZipFile, zlib.error, EOFError, KeyError: whatever the damaged bytes lead to.
    try:
        with path.open("rb") as file, np.load(file) as archive:
            return Table(archive[_choose(path, key, archive.files)])
    except (_Choice, MemoryError):
        raise
    except Exception as error:  # NumPy takes what it does not know for a pickle, and says how to load that
        raise ValueError(f"{path}: damaged, or not arrays of numbers") from error


def _read_mat(path: Path, key: str | None, _: Reading) -> Table:
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


def _read_parquet(path: Path, key: str | None, reading: Reading) -> Table:
    names, column, stored = _parquet(path)
    left_out = [i for i, name in enumerate(names) if name in stored or name.startswith("__index_level_")]
    data, index, dropped = _selected(path, names, reading, left_out)
    labels = None if index is None else [str(label) for label in column(index, text=True)]
    if index is None and reading.columns is None and data and _names_rows(names[data[0]]):
        try:
            column(data[0])
        except _NotNumbers:
            first = column(data[0], text=True)
            if len(set(first)) == len(first):
                _left_out(path, names[data[0]])
                del data[0]
    try:
        columns = [column(i) for i in data]
    except _NotNumbers as error:
        raise ValueError(f"{path}: {error}") from None
    return Table(
        np.column_stack(columns) if columns else np.empty((0, 0)), [names[i] for i in data], labels, dropped
    )


class _NotNumbers(ValueError):
    """A column holds something else than numbers."""


_Column = Callable[..., Any]  # of a place: its numbers, or with text=True what stands there


def _parquet(path: Path) -> tuple[list[str], _Column, set[str]]:
    """The names of the columns, a function that gives one, and the names of those that are pandas' index."""
    try:
        import pyarrow.parquet
    except ImportError:
        return _parquet_by_polars(path)
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: damaged parquet file ({error})") from error
    is_number = (pyarrow.types.is_integer, pyarrow.types.is_floating)

    def column(place: int, *, text: bool = False) -> Any:
        found = table.column(place)
        if text:
            return found.to_pylist()
        if not any(test(found.type) for test in is_number):
            raise _NotNumbers(f"column {table.column_names[place]!r} holds {found.type}, expected numbers")
        return found.to_numpy()

    return list(table.column_names), column, _stored_index(table.schema.metadata or {})


def _parquet_by_polars(path: Path) -> tuple[list[str], _Column, set[str]]:
    try:
        import polars
    except ImportError as error:
        raise ImportError(f"{path}: a .parquet file needs pyarrow or polars (pip install pyarrow)") from error
    try:
        table = polars.read_parquet(path, hive_partitioning=False, glob=False)
        metadata = polars.read_parquet_metadata(path)
    except (polars.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{path}: damaged parquet file ({error})") from error

    def column(place: int, *, text: bool = False) -> Any:
        found = table.to_series(place)
        if text:
            return found.to_list()
        if not (found.dtype.is_integer() or found.dtype.is_float()):
            raise _NotNumbers(f"column {found.name!r} holds {found.dtype}, expected numbers")
        return found.to_numpy()

    return table.columns, column, _stored_index({key.encode(): text for key, text in metadata.items()})


def _stored_index(metadata: Mapping[bytes, Any]) -> set[str]:
    """The columns that were the index of the frame that pandas stored."""
    try:
        stored = json.loads(metadata[b"pandas"])["index_columns"]
    except (KeyError, TypeError, ValueError):
        return set()
    return {name for name in stored if isinstance(name, str)}


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


def _without_row_labels(path: Path, table: Table, reading: Reading) -> Table:
    """The table without a first column that counts or names the rows."""
    values, names, labels, dropped = table
    if reading.index_column is not None or reading.columns is not None:  # which say what is data
        return table
    if not names or values.ndim != 2 or values.shape[1] < 2 or not _names_rows(names[0]):
        return table
    first = values[:, 0]
    if np.any(first != np.rint(first)) or len(np.unique(first)) != len(first):
        return table
    _left_out(path, names[0])
    return Table(values[:, 1:], names[1:], labels, dropped)


def _read_text(path: Path, reading: Reading) -> Table:
    delimiter = delimiter_of(path, reading)
    named = labelled = False
    names: list[str] | None = None
    data: list[int] = []
    missing = (*MISSING, *(value.strip().lower() for value in reading.na)) if reading.missing else ()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file, warnings.catch_warnings():
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            first = next((row for row in reader if row), [])
            second = next((row for row in reader if row), [])
            # what chooses columns by name needs their names
            chosen = reading.index_column is not None or reading.columns is not None
            header = True if chosen else reading.header
            named = _is_header(first, reading.decimal) if header is None else header and bool(first)
            names = [name.strip() for name in first] if named else None
            labelled = bool(names) and len(first) > 1 and _labels_rows(first, second, reading)
            data, index, dropped = list(range(len(first))), None, frozenset[str]()
            if names is not None:
                data, index, dropped = _selected(path, names, reading, [0] if labelled else [])
                labelled = labelled and 0 not in data and index != 0
            labels: list[str] = []

            def label(field: str) -> float:
                labels.append(field.strip())
                return 0.0

            others = set(range(len(first))) - set(data)
            aside: dict[int, Callable[[str], float]] = dict.fromkeys(others, _nothing)
            if index is not None or labelled:
                aside[0 if index is None else index] = label
            if missing or reading.decimal != ".":
                number = partial(_number, missing=missing, decimal=reading.decimal)
                aside = {**dict.fromkeys(range(len(first)), number), **aside}
            converters: Any = aside or None
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
                converters=converters,
                encoding="utf-8",
            )
        if header is None and not named and _is_numbered_header(path, first, values):
            # one that looked like data
            named, names, values = True, [name.strip() for name in first], values[1:]
            data, index, dropped = _selected(path, names, reading)
        if labelled and first[0] and index is None:
            _check_labels(path, first[0], labels)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8 ({error})") from error
    except csv.Error as error:
        raise ValueError(f"{path}: {_csv_fault(path, delimiter, error)}") from error
    except _Located:
        raise
    except ValueError as error:
        fault = _first_fault(path, delimiter, named, data, missing, reading.decimal)
        raise ValueError(f"{path}: {fault or error}") from error
    if len(values) and values.shape[1] != len(first):
        raise ValueError(f"{path}: the first line has {len(first)} fields, the next {values.shape[1]}")
    if data != list(range(len(first))):
        values = values[:, data]
    of_data = None if names is None else [names[i] for i in data]
    return Table(values, of_data, None if index is None else labels, dropped)


def delimiter_of(path: Path, reading: Reading) -> str:
    if reading.separator is not None:
        return reading.separator
    usual = _DELIMITERS[path.suffix.lower()]
    return ";" if usual == reading.decimal else usual


def _nothing(field: str) -> float:
    return 0.0


def _skip_line(file: Any, delimiter: str) -> None:
    """Go on behind the first line that is not empty; names may hold line breaks."""
    lines = iter(file.readline, "")
    next(row for row in csv.reader(lines, delimiter=delimiter) if row)


def _float(field: str, decimal: str) -> float:
    if decimal == ".":
        return float(field)
    if "." in field:
        raise ValueError(f"{field!r} has a point")
    return float(field.replace(decimal, "."))


def _is_number(field: str, decimal: str = ".") -> bool:
    try:
        _float(field, decimal)
    except ValueError:
        return False
    return True


def _number(field: str, missing: Sequence[str], decimal: str) -> float:
    return np.nan if _is_missing(field, missing) else _float(field, decimal)


def _is_missing(field: str, missing: Sequence[str] = MISSING) -> bool:
    return field.strip().lower() in missing


def _is_integer(field: str) -> bool:
    return field.strip().lstrip("+-").isdecimal()


def _ascend(numbers: Sequence[int]) -> bool:
    return all(a < b for a, b in pairwise(numbers))


def _is_header(fields: Sequence[str], decimal: str) -> bool:
    """Whether a first line names columns.

    One of numbers with a few missing values does not, nor does one of numbers among which one cannot be read:
    a name stands beside numbers only if these are names too, integers that ascend behind names.
    """
    numbers = [field for field in fields if _is_number(field, decimal) and not _is_missing(field)]
    names = [field for field in fields if not _is_number(field, decimal) and not _is_missing(field)]
    if names:
        if not numbers:
            return True
        at = fields.index(numbers[0])
        values = [int(field) for field in numbers] if all(map(_is_integer, numbers)) else []
        behind = all(_is_number(field, decimal) for field in fields[at:])
        return behind and bool(values) and _ascend(values)
    # pandas' header over row labels and columns without names.
    return len(fields) > 1 and list(fields) == ["", *map(str, range(len(fields) - 1))]


def _labels_rows(header: Sequence[str], row: Sequence[str], reading: Reading) -> bool:
    """Whether the first column labels the rows: it has no name, or one that says so over text."""
    if header[0] == "":
        return True
    return (
        reading.index_column is None
        and reading.columns is None
        and header[0].strip() not in reading.drop
        and _names_rows(header[0])
        and len(row) == len(header)
        and not _is_number(row[0], reading.decimal)
        and not _is_missing(row[0])
    )


def _check_labels(path: Path, name: str, labels: Sequence[str]) -> None:
    """Warn that a column of text that names the rows is left out, or refuse one that does not."""
    if len(set(labels)) != len(labels):
        raise _Located(
            f"{path}: line 2, column 1 ({name!r}): {labels[0]!r} is not a number, nor are all labels "
            "different"
        )
    _left_out(path, name)


class _Located(ValueError):
    """A fault of a text file that has been found."""


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


def _first_fault(
    path: Path, delimiter: str, named: bool, data: Sequence[int], missing: Sequence[str], decimal: str
) -> str | None:
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
                    fault = f"line {reader.line_num} has {len(row)} fields, the first line {len(first)}"
                    return fault + _other_format(row, "", delimiter, decimal)
                for column in sorted(data):
                    if not _is_number(row[column], decimal) and not _is_missing(row[column], missing):
                        name = f" ({first[column]!r})" if named else ""
                        field = row[column] if len(row[column]) <= 60 else row[column][:60] + "…"
                        fault = (
                            f"line {reader.line_num}, column {column + 1}{name}: {field!r} is not a number"
                        )
                        return fault + _other_format(row, row[column], delimiter, decimal)
        except csv.Error as error:
            return _csv_fault(path, delimiter, error)
    return None


def _other_format(row: Sequence[str], field: str, delimiter: str, decimal: str) -> str:
    """A hint where the line of a field looks like numbers of another separator or other decimals."""
    line = delimiter.join(row)
    if decimal == ".":
        commas = "its decimals written with commas? (--decimal ,)"
        if delimiter != ";" and ";" in line and any(map(_has_comma, line.split(";"))):
            return f"; are its fields separated by ';' and {commas}"
        if _has_comma(field):
            return f"; are {commas}"
    elif _is_number(field):
        return "; decimals are read with commas (--decimal ,), and a point may separate thousands"
    other = next((mark for mark in ";\t, " if mark != delimiter and mark in row[0].strip()), None)
    return f"; are its fields separated by {other!r}? (--separator)" if len(row) == 1 and other else ""


def _has_comma(field: str) -> bool:
    return "," in field and _is_number(field, ",")


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


_DELIMITERS = {".csv": ",", ".tsv": "\t"}

_READERS: dict[str, Callable[[Path, str | None, Reading], Table]] = {
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
