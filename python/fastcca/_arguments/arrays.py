"""Arrays at the border: what the core takes as it is, what is converted, and what is refused."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "as_matrix",
    "as_weights",
    "check_reg",
    "check_same_rows",
    "common_float",
    "contiguous",
    "narrowed",
    "place_of",
    "refuse_non_finite",
    "text_columns",
    "thread_count",
    "unwrapped",
]

MOST_THREADS = 4096


def as_matrix(value: Any, name: str) -> npt.NDArray[Any]:
    """A 2-d array of float32 or float64 that the core reads in place.

    Such arrays pass through untouched, whatever their strides (C, F, sliced, read-only, memory-mapped);
    other real dtypes become float64, float16 float32. One dimension means one column. Values are not
    looked at: the pass over the data refuses NaN and infinity.
    """
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked values: fill them or leave their rows out")
    a: npt.NDArray[Any] = np.asarray(unwrapped(value, name))
    if a.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {a.dtype}")
    if a.dtype.kind in "USMm":
        raise ValueError(f"{name} must hold real numbers, got dtype {a.dtype}{text_columns(value)}")
    if a.dtype.kind not in "fiub":
        from scipy.sparse import issparse  # not at import time: the command line starts without it

        if issparse(value):
            raise ValueError(f"{name} is sparse, but dense data is required: use its toarray()")
        if a.dtype.kind == "O" and any(isinstance(entry, (str, bytes)) for entry in a.flat):
            raise ValueError(
                f"{name} must hold real numbers, got dtype {a.dtype} with text{text_columns(value)}"
            )
        try:
            a = a.astype(np.float64)
        except (TypeError, ValueError) as error:
            odd = text_columns(value) or f": {error}"
            raise ValueError(f"{name} must hold real numbers, got dtype {a.dtype}{odd}") from error
    if a.ndim == 1:
        a = a[:, np.newaxis]
    if a.ndim != 2:
        raise ValueError(f"{name} must be a 2-d array, got {a.ndim} dimensions")
    if a.dtype.kind != "f" or a.dtype.itemsize not in (4, 8):
        a = a.astype(np.float32 if a.dtype == np.float16 else np.float64)
    if not a.dtype.isnative:
        a = a.astype(a.dtype.newbyteorder("="))
    # Fields of records and the like: addresses that are no multiple of the item's size.
    if any(stride % a.itemsize for stride in a.strides):
        a = contiguous(a)
    elif not a.flags.aligned:
        a = a.copy()
    if hasattr(value, "columns"):  # here the names are known, at a pass over data that were converted anyway
        refuse_non_finite(name, a, value)
    return a


def unwrapped(value: Any, name: str) -> Any:
    """Tensors without their gradients; frames as they are, unless a column holds dates or times.

    Those would become numbers, days or nanoseconds as the library has it.
    """
    library = type(value).__module__.partition(".")[0]
    if library == "torch" and hasattr(value, "detach"):
        value = value.detach().cpu()
        return value.float() if "bfloat16" in str(value.dtype) else value
    if library in ("polars", "pandas"):
        for column, dtype in _column_types(value):
            if any(word in str(dtype).lower() for word in ("date", "time", "duration")):
                raise ValueError(f"{name} must hold numbers, got dates or times ({dtype}){column}")
    return value


def _column_types(frame: Any) -> list[tuple[str, Any]]:
    if hasattr(frame, "columns") and hasattr(frame, "dtypes"):
        return [(f" in column {c!r}", dtype) for c, dtype in zip(frame.columns, frame.dtypes, strict=True)]
    return [("", frame.dtype)] if hasattr(frame, "dtype") else []


def contiguous(a: npt.ArrayLike, dtype: Any = None) -> npt.NDArray[Any]:
    """An array in C order at an address for its type, where ``ascontiguousarray`` leaves it at any."""
    return np.require(a, dtype, ["C_CONTIGUOUS", "ALIGNED"])


def narrowed(a: npt.NDArray[Any], dtype: Any, name: str) -> npt.NDArray[Any]:
    """``a`` in ``dtype``, that of other arrays, which must hold its numbers."""
    with np.errstate(over="ignore"):
        out: npt.NDArray[Any] = a.astype(dtype, copy=False)
    if out.itemsize < a.itemsize:
        beyond = np.isinf(out) & np.isfinite(a)
        if beyond.any():
            raise ValueError(
                f"{name} holds {a[beyond][0]:g}, which is out of the range of {np.dtype(dtype)}, the type of "
                "the arrays that it goes with: scale it down, or pass those in float64"
            )
    return out


def common_float(arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """The matrices in one dtype: float32 only if all of them are."""
    dtype = np.result_type(*arrays)
    return [a if a.dtype == dtype else a.astype(dtype) for a in arrays]


def as_weights(weights: Any, n_rows: int, name: str = "sample_weight") -> npt.NDArray[np.float64]:
    """Weights, one per row, finite and not negative."""
    if np.ma.is_masked(weights):
        raise ValueError(f"{name} has masked values: fill them or leave their rows out")
    w: npt.NDArray[Any] = np.asarray(weights)
    try:
        if w.dtype.kind == "c":
            raise TypeError("complex")
        w = w.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold real numbers, got dtype {w.dtype}") from None
    if w.ndim == 0:
        w = np.full(n_rows, w)
    if w.shape != (n_rows,):
        raise ValueError(f"{name}.shape == {w.shape}, expected {(n_rows,)}!")
    if not np.all(np.isfinite(w)):
        raise ValueError(f"{name} contains NaN or infinity")
    if np.any(w < 0):
        raise ValueError(f"{name} must not be negative, got a smallest value of {w.min()}")
    with np.errstate(over="ignore"):
        if not np.isfinite(w.sum()):
            raise ValueError(f"{name} must have a finite sum, got weights up to {w.max():g}: scale them down")
    return contiguous(w)


def refuse_non_finite(name: str, a: npt.NDArray[Any], table: Any = None) -> None:
    """Raise a ValueError with the first position of a NaN or an infinity in ``a``, row by row.

    ``table`` is the data frame that ``a`` came from: its labels are told as well.
    """
    step = max(1, 2**20 // max(1, a.shape[1]))
    for start in range(0, len(a), step):
        bad = ~np.isfinite(a[start : start + step])
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            kind = "NaN" if np.isnan(a[start + row, column]) else "infinity"
            where = place_of(table, start + row, column)
            raise ValueError(f"Input {name} contains {kind}: the first is at {where}")


def place_of(table: Any, row: int, column: int) -> str:
    """A place in a table, by its labels too where the table is a data frame."""
    of_row, of_column = _label(index_of(table), row), _label(getattr(table, "columns", None), column)
    return f"row {row}{of_row}, column {column}{of_column}"


def _label(labels: Any, place: int) -> str:
    """The label of a row or a column, where it has one besides its number."""
    return "" if labels is None or labels[place] == place else f" ({_text(labels[place])})"


def _text(label: Any) -> str:
    return repr(label) if isinstance(label, (str, tuple)) else str(label)


def text_columns(table: Any) -> str:
    """What of a data frame holds no numbers, as the end of a message."""
    columns, dtypes = getattr(table, "columns", None), getattr(table, "dtypes", None)
    if columns is None or dtypes is None or not len(columns):
        return ""
    for place, (column, dtype) in enumerate(zip(columns, dtypes, strict=True)):
        numeric = dtype.is_numeric() or str(dtype) == "Boolean" if hasattr(dtype, "is_numeric") else False
        if not numeric and getattr(dtype, "kind", "O") not in "biufc":
            return f": column {place} ({column!r}) holds {dtype}"
    return ""


def index_of(table: Any) -> Any:
    """The row labels of a table of pandas, or None."""
    index = getattr(table, "index", None)
    return index if hasattr(index, "equals") else None


def check_same_rows(**tables: Any) -> None:
    """Refuse tables of pandas that are taken together and whose indexes say that their rows do not match."""
    first: tuple[str, Any] | None = None
    for name, table in tables.items():
        index = index_of(table)
        if index is None:
            continue
        if first is None:
            first = name, index
        elif len(index) == len(first[1]) and not index.equals(first[1]):
            pairs = enumerate(zip(first[1], index, strict=True))
            place = next((i for i, (a, b) in pairs if a is not b and a != b), None)
            if place is None:
                continue
            same = set(index) == set(first[1])
            what = "the same row labels in another order" if same else "different row labels"
            raise ValueError(
                f"{first[0]} and {name} have {what}: row {place} is {_text(first[1][place])} in {first[0]} "
                f"and {_text(index[place])} in {name}. Match the rows by their labels, "
                f"fastcca.align({first[0]}, {name}), or pass {name}.to_numpy() to take them as they stand"
            )


def thread_count(n_threads: Any, name: str = "n_threads") -> int:
    """What the core takes for ``n_threads``: 0 for None, its default."""
    if n_threads is None:
        return 0
    if not isinstance(n_threads, Integral) or isinstance(n_threads, bool) or int(n_threads) < 1:
        raise ValueError(f"{name} must be a whole number >= 1 or None, got {n_threads!r}")
    return min(int(n_threads), MOST_THREADS)


def check_reg(reg: Any) -> tuple[float, float]:
    """The ridge of each view from ``reg``: a number or a pair of them."""
    if isinstance(reg, np.ndarray):
        reg = reg.tolist()
    pair = tuple(reg) if isinstance(reg, Sequence) and not isinstance(reg, (str, bytes)) else (reg, reg)
    if len(pair) != 2 or not all(isinstance(r, Real) and not isinstance(r, (bool, np.bool_)) for r in pair):
        raise ValueError(f"reg must be a number >= 0 or a pair of them (x, y), got {reg!r}")
    rx, ry = float(pair[0]), float(pair[1])
    if not (0 <= rx < np.inf and 0 <= ry < np.inf):
        raise ValueError(f"reg must be finite and >= 0, got {reg!r}")
    return rx, ry
