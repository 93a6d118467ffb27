"""One label a row, from files: of blocks, of classes."""

import csv
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from fastcca.cli._input import Source, reading_of_tables
from fastcca.cli._tables import delimiter_of

__all__ = ["labels_argument", "read_labels"]

_TEXT = (".csv", ".tsv")


def labels_argument(ctx: click.Context, param: click.Parameter, value: str | None) -> Source | None:
    """``FILE`` or ``FILE:NAME``, the name of an array or of a column."""
    if value is None:
        return None
    path, colon, key = value.rpartition(":")
    if colon and path.lower().endswith((".npz", ".mat", *_TEXT)):
        return Source(Path(path), key)
    return Source(Path(value), None)


def read_labels(source: Source, beside: Source, n_rows: int, names: list[str] | None) -> NDArray[Any]:
    """The label of each of the ``n_rows`` rows of another table, whose rows may have ``names``.

    Labels that all are integers are numbers, others text.
    """
    if source.path.suffix.lower() in _TEXT:
        return _numbers(np.array(_of_text(source, beside, n_rows, names)))
    if source.path.suffix.lower() == ".npy" and source.path.is_file():
        with source.path.open("rb") as file:
            labels = np.load(file)
    elif source.path.suffix.lower() == ".npz" and source.path.is_file():
        with np.load(source.path) as archive:
            if source.key is None and len(archive.files) != 1:
                raise ValueError(f"{source.path}: say which of its arrays, {', '.join(archive.files)}")
            if source.key is not None and source.key not in archive.files:
                raise ValueError(f"{source.path}: it holds no array called {source.key!r}")
            labels = archive[source.key or archive.files[0]]
    else:
        labels = source.read(columns=None, drop=(), index_column=None).values
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1 or labels.dtype.kind not in "biufU":
        raise ValueError(
            f"{source.path}: expected one label a row, got an array of shape {labels.shape} and type "
            f"{labels.dtype}"
        )
    if len(labels) != n_rows:
        raise ValueError(f"{source.path} has {len(labels)} labels, {beside.path} has {n_rows} rows")
    found: NDArray[Any] = labels
    return found


def _of_text(source: Source, beside: Source, n_rows: int, names: list[str] | None) -> list[str]:
    path, reading = source.path, reading_of_tables()
    index = reading.index_column if isinstance(reading.index_column, str) else None
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter_of(path, reading), strict=True)
            rows = [[field.strip() for field in row] for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: damaged text file ({error})") from error
    width = len(rows[0]) if rows else 0
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise ValueError(f"{path}: row {number} has {len(row)} fields, the first {width}")
    by_name = source.key is not None or (names is not None and index is not None)
    header = reading.header
    if header is None:
        header = by_name or width > 1 or len(rows) == n_rows + 1
    columns = rows.pop(0) if header and rows else [str(i) for i in range(width)]
    at = _column(path, columns, source.key, index)
    labels = [row[at] for row in rows]
    if "" in labels:
        raise ValueError(f"{path}: row {labels.index('') + 1} has no label")
    if names is not None and index is not None and index in columns:
        place = dict(zip((row[columns.index(index)] for row in rows), labels, strict=True))
        unknown = next((name for name in names if name not in place), None)
        if unknown is not None or len(place) != len(rows) or len(rows) != n_rows:
            told = f"the row {unknown!r} of {beside.path} is not in it" if unknown else "its rows differ"
            raise ValueError(f"{path}: {told}")
        return [place[name] for name in names]
    if len(labels) != n_rows:
        raise ValueError(f"{path} has {len(labels)} labels, {beside.path} has {n_rows} rows")
    return labels


def _column(path: Path, columns: list[str], key: str | None, index: str | None) -> int:
    if key is not None:
        if key not in columns:
            raise ValueError(f"{path}: there is no column {key!r}, only {', '.join(columns)}")
        return columns.index(key)
    other = [i for i, name in enumerate(columns) if name not in (index, "")]
    if len(other) != 1:
        raise ValueError(
            f"{path}: expected one column of labels, got {', '.join(columns)}: say which, {path.name}:NAME"
        )
    return other[0]


def _numbers(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels that read as integers, each as it would be written, as integers."""
    try:
        numbers = labels.astype(np.int64)
    except (ValueError, OverflowError):
        return labels
    return numbers if (numbers.astype(str) == labels).all() else labels
