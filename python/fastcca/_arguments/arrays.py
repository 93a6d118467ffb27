"""Arrays that users give: what the core takes as it is, what is converted, and what is refused.

Every public function and estimator takes its data through here, so that the same mistake gets the same
sentence everywhere.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "as_matrix",
    "as_weights",
    "check_same_columns",
    "check_same_length",
    "check_same_rows",
    "column_names",
    "common_float",
    "contiguous",
    "filled_masked",
    "finite_matrix",
    "index_of",
    "narrowed",
    "place_of",
    "refuse_infinite",
    "refuse_non_finite",
    "unwrapped",
]

Array = npt.NDArray[Any]


# ---- matrices


def as_matrix(
    name: str,
    value: Any,
    *,
    vector: bool = False,
    min_rows: int = 0,
    min_columns: int = 1,
    frames_finite: bool = True,
) -> Array:
    """``value`` as a 2-d array of float32 or float64 that the core reads in place.

    Such arrays pass through untouched, whatever their strides (C, F, sliced, read-only, memory-mapped); half
    precision becomes float32, every other real dtype float64, objects if they are numbers. With ``vector`` a
    1-d array is taken as one column.

    Values are not looked at: the pass over the data that follows refuses NaN and infinity. Only of data
    frames are they refused here, where the labels of the place are known, unless ``frames_finite`` is False.
    """
    a = _as_array(name, value)
    if vector and a.ndim == 1:
        a = a[:, np.newaxis]
    if a.ndim != 2:
        raise ValueError(
            f"{name}: Expected 2D array, got {a.ndim}D array of shape {a.shape} instead. Reshape your data: "
            "reshape(-1, 1) if it is one feature, reshape(1, -1) if it is one sample"
        )
    rows, columns = a.shape
    if columns < min_columns:
        raise ValueError(
            f"{name} has {columns} feature(s) (shape={a.shape}) while a minimum of {min_columns} is required."
        )
    if rows < min_rows:
        samples = "1 sample" if rows == 1 else f"{rows} samples"
        raise ValueError(f"{name} has {samples} (shape={a.shape}) while a minimum of {min_rows} is required.")
    a = _as_float(name, a, value)
    if frames_finite and hasattr(value, "columns"):
        refuse_non_finite(name, a, value)
    return a


def finite_matrix(name: str, value: Any, *, vector: bool = False, min_rows: int = 1) -> Array:
    """The same, with NaN and infinity refused at the price of a pass over the data."""
    a = as_matrix(name, value, vector=vector, min_rows=min_rows)
    refuse_non_finite(name, a)
    return a


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


def common_float(arrays: Sequence[Array]) -> list[Array]:
    """The matrices in one dtype: float32 only if all of them are."""
    dtype = np.result_type(*arrays)
    return [a if a.dtype == dtype else a.astype(dtype) for a in arrays]


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


def _as_array(name: str, value: Any) -> Array:
    if type(value) in (np.ndarray, np.memmap):
        return value  # type: ignore[no-any-return]
    if value is None:
        raise ValueError(f"{name} must be an array, got None")
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked values: fill them or leave their rows out")
    if type(value).__module__.startswith("scipy.sparse"):
        raise TypeError(f"{name} is sparse, but dense data is required: use its toarray()")
    value = unwrapped(value, name)
    try:
        return np.asarray(_without_extension_types(value))
    except (TypeError, ValueError) as error:
        raise type(error)(_named(name, error)) from None


def _without_extension_types(value: Any) -> Any:
    """A frame of pandas whose columns have its own types, which know missing values, as floats with NaN."""
    if type(value).__module__.partition(".")[0] != "pandas":
        return value
    dtypes = [dtype for _, dtype in _column_types(value)]
    own = [dtype for dtype in dtypes if not isinstance(dtype, np.dtype)]
    if not own or not all(getattr(dtype, "kind", "O") in "biuf" for dtype in dtypes):
        return value
    single = all(np.dtype(getattr(d, "numpy_dtype", d)) in (np.float16, np.float32) for d in dtypes)
    return value.to_numpy(dtype=np.float32 if single else np.float64, na_value=np.nan)


def _as_float(name: str, a: Array, value: Any) -> Array:
    if a.dtype.kind == "c":
        raise ValueError(
            f"{name}: Complex data not supported; stack the real and the imaginary parts as columns"
        )
    if a.dtype.kind == "O" and not any(isinstance(entry, (str, bytes)) for entry in a.flat):
        try:
            a = a.astype(np.float64)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{_named(name, error)}{_text_columns(value)}") from None
    if a.dtype.kind not in "biuf":
        text = " with text" if a.dtype.kind == "O" else ""
        raise ValueError(f"{name} must hold numbers, got dtype {a.dtype}{text}{_text_columns(value)}")
    if a.dtype.kind != "f" or a.dtype.itemsize not in (4, 8):
        a = a.astype(np.float32 if a.dtype == np.float16 else np.float64)
    if not a.dtype.isnative:
        a = a.astype(a.dtype.newbyteorder("="))
    # Fields of records and the like: addresses that are no multiple of the item's size.
    if any(stride % a.itemsize for stride in a.strides):
        a = contiguous(a)
    elif not a.flags.aligned:
        a = a.copy()
    return a


def _named(name: str, error: Exception) -> str:
    message = " ".join(str(error).split())
    return message if f" {name}" in message else f"{name}: {message}"


# ---- weights


def as_weights(
    sample_weight: Any, n_rows: int, *, more_than: float | None = None, name: str = "sample_weight"
) -> npt.NDArray[np.float64] | None:
    """Weights, one a row, finite and >= 0, as float64; None: every row counts once.

    They count as repetitions of a row. A variance takes a sum of ``more_than`` 1, a correlation or rows added
    to others of more than 0.
    """
    if sample_weight is None:
        return None
    if np.ma.is_masked(sample_weight):
        raise ValueError(f"{name} has masked values: fill them or leave their rows out")
    w: Array = np.asarray(unwrapped(sample_weight, name))
    try:
        if w.dtype.kind == "c":
            raise TypeError("complex")
        w = w.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, got dtype {w.dtype}") from None
    if w.ndim == 0:
        w = np.full(n_rows, w)
    if w.shape != (n_rows,):
        raise ValueError(f"{name}.shape == {w.shape}, expected {(n_rows,)}!")
    if not np.all(np.isfinite(w)):
        row = int(np.flatnonzero(~np.isfinite(w))[0])
        raise ValueError(
            f"Input {name} contains {'NaN' if np.isnan(w[row]) else 'infinity'}: the first is at row {row}"
        )
    if np.any(w < 0):
        raise ValueError(f"{name} must not be negative, got a smallest value of {w.min()}")
    with np.errstate(over="ignore"):
        total = w.sum()
    if not np.isfinite(total):
        raise ValueError(f"{name} must have a finite sum, got weights up to {w.max():g}: scale them down")
    if more_than is not None and total == 0:
        raise ValueError(f"{name} must contain at least one weight that is not zero")
    if more_than is not None and total <= more_than:
        raise ValueError(
            f"{name} must sum to more than {more_than:g}, got {total:g}: "
            "weights count as repetitions of a row"
        )
    return contiguous(w)


# ---- NaN and infinity


def refuse_non_finite(
    name: str, a: Array, table: Any = None, *, first_row: int = 0, within: str = ""
) -> None:
    """Raise a ValueError with the first position of a NaN or an infinity in ``a``, row by row.

    ``table`` is the data frame that ``a`` came from: its labels are named as well. ``first_row`` is what the
    first row of a part is counted as; ``within`` then says what part that is, with {} for the row there.
    Of sparse data ``as_rows`` has looked at all that there is.
    """
    if not isinstance(a, np.ndarray):
        return
    step = max(1, 2**20 // max(1, a.shape[1]))
    for start in range(0, len(a), step):
        bad = ~np.isfinite(a[start : start + step])
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            kind = "NaN" if np.isnan(a[start + row, column]) else "infinity"
            where = place_of(table, first_row + start + row, column) + within.format(start + row)
            raise ValueError(f"Input {name} contains {kind}: the first is at {where}")


def refuse_infinite(name: str, a: Array, table: Any = None) -> None:
    """Raise a ValueError with the first position of an infinity in ``a``; NaN are values that are missing."""
    step = max(1, 2**20 // max(1, a.shape[1]))
    for start in range(0, len(a), step):
        bad = np.isinf(a[start : start + step])
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"Input {name} contains infinity: the first is at {place_of(table, start + row, column)}"
            )


def filled_masked(value: Any) -> Any:
    """A masked array with NaN where it is masked; anything else as it is."""
    if not np.ma.is_masked(value):
        return value
    dtype = value.dtype if value.dtype.kind == "f" else np.float64
    return value.astype(dtype).filled(np.nan)


def place_of(table: Any, row: int, column: int) -> str:
    """A place in a table, by its labels too where the table is a data frame."""
    of_row, of_column = _label(index_of(table), row), _label(getattr(table, "columns", None), column)
    return f"row {row}{of_row}, column {column}{of_column}"


def _label(labels: Any, place: int) -> str:
    """The label of a row or a column, where it has one besides its number."""
    return "" if labels is None or labels[place] == place else f" ({_text(labels[place])})"


def _text(label: Any) -> str:
    return repr(label) if isinstance(label, (str, tuple)) else str(label)


# ---- data frames


def column_names(data: Any) -> npt.NDArray[np.object_] | None:
    """The column names of a data frame (or the name of a series) if all are strings, else None."""
    columns = getattr(data, "columns", None)
    names = list(columns) if columns is not None else [getattr(data, "name", None)]
    if names and all(isinstance(name, str) for name in names):
        return np.asarray(names, dtype=object)
    return None


def _column_types(frame: Any) -> list[tuple[str, Any]]:
    if hasattr(frame, "columns") and hasattr(frame, "dtypes"):
        return [(f" in column {c!r}", dtype) for c, dtype in zip(frame.columns, frame.dtypes, strict=True)]
    return [("", frame.dtype)] if hasattr(frame, "dtype") else []


def _text_columns(table: Any) -> str:
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


def check_same_length(**arrays: Any) -> None:
    """Refuse arrays of different numbers of rows that are taken together."""
    counts = {name: a.shape[0] if hasattr(a, "shape") else len(a) for name, a in arrays.items()}
    (first, a), *others = counts.items()
    for name, b in others:
        if a != b:
            raise ValueError(f"{first} and {name} must have the same number of rows, got {a} and {b}")


def check_same_columns(dims: tuple[int, ...], earlier: tuple[int, ...]) -> None:
    """Refuse rows of other columns than those that they are added to."""
    if earlier and dims != earlier:
        raise ValueError(f"the views have {dims} columns, but earlier rows had {earlier}")


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
