"""What the estimators ask of their input: two views of numbers, weights, ridges. No copy, no scan."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

from fastcca._arguments import arrays as _arrays
from fastcca._arguments.arrays import check_reg, check_same_rows, refuse_non_finite, text_columns

__all__ = [
    "as_matrix",
    "as_weights",
    "check_count",
    "check_n_components",
    "check_n_threads",
    "check_reg",
    "check_same_rows",
    "column_names",
    "refuse_non_finite",
]


def as_matrix(
    name: str, data: Any, *, vector: bool = False, min_rows: int = 1, complete: bool = False
) -> NDArray[Any]:
    """``data`` as a 2-d array of float32 or float64, without a copy where it is one already.

    Integers and booleans become float64, half precision float32, objects float64 if they are numbers.
    With ``vector`` a 1-d array is taken as one column. Finiteness is not checked here: the pass over the
    data that follows does it. Only of data frames, with ``complete``: here their labels are known.
    """
    a = _as_array(name, data)
    if vector and a.ndim == 1:
        a = a.reshape(-1, 1)
    if a.ndim != 2:
        raise ValueError(
            f"{name}: Expected 2D array, got {a.ndim}D array of shape {a.shape} instead. Reshape your data: "
            "reshape(-1, 1) if it is one feature, reshape(1, -1) if it is one sample"
        )
    rows, columns = a.shape
    if columns == 0:
        raise ValueError(f"{name} has 0 feature(s) (shape={a.shape}) while a minimum of 1 is required.")
    if rows < min_rows:
        samples = "1 sample" if rows == 1 else f"{rows} samples"
        raise ValueError(f"{name} has {samples} (shape={a.shape}) while a minimum of {min_rows} is required.")
    a = _floats(name, a, text_columns(data))
    if complete and hasattr(data, "columns"):
        refuse_non_finite(name, a, data)
    return a


def _as_array(name: str, data: Any) -> NDArray[Any]:
    if type(data) in (np.ndarray, np.memmap) and data.dtype.kind in "fiub":
        return data  # type: ignore[no-any-return]  # the common case, spared some 0.1 ms of looking for frames
    if data is None:
        raise ValueError(f"{name} must be an array, got None")
    if np.ma.is_masked(data):
        raise ValueError(f"{name} has masked values: fill them or leave their rows out")
    data = _arrays.unwrapped(data, name)
    try:
        return check_array(  # type: ignore[no-any-return]
            data,
            dtype=None,
            ensure_2d=False,
            ensure_all_finite=False,
            ensure_min_samples=0,
            ensure_min_features=0,
            input_name=name,
        )
    except (TypeError, ValueError) as error:
        if str(error).startswith("Complex data not supported"):  # what follows there is the data themselves
            raise ValueError(
                f"{name}: Complex data not supported; stack the real and the imaginary parts as columns"
            ) from None
        raise _kind(error)(_named(name, error)) from None


def _kind(error: Exception) -> type[Exception]:
    return TypeError if isinstance(error, TypeError) else ValueError


def _floats(name: str, a: NDArray[Any], odd: str = "") -> NDArray[Any]:
    if a.dtype.kind == "O" and not any(isinstance(value, (str, bytes)) for value in a.flat):
        try:
            a = a.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise _kind(error)(f"{_named(name, error)}{odd}") from None
    if a.dtype.kind not in "biuf":
        text = " with text" if a.dtype.kind == "O" else ""
        raise ValueError(f"{name} must hold numbers, got dtype {a.dtype}{text}{odd}")
    return _arrays.as_matrix(a, name)


def _named(name: str, error: Exception) -> str:
    message = str(error)
    return message if f" {name}" in message else f"{name}: {message}"


def as_weights(sample_weight: Any, n_rows: int, *, more_than: float = 1.0) -> NDArray[np.float64] | None:
    """``sample_weight`` as float64 of shape (n_rows,), or None: every row counts once.

    A variance takes weights that sum to ``more_than`` 1, a correlation or rows added to others only to more
    than 0.
    """
    if sample_weight is None:
        return None
    w = _arrays.as_weights(sample_weight, n_rows)
    total = w.sum()
    if total == 0:
        raise ValueError("sample_weight must contain at least one weight that is not zero")
    if total <= more_than:
        raise ValueError(
            f"sample_weight must sum to more than 1, got {total:g}: weights count as repetitions of a row"
        )
    return w


def check_n_components(n_components: Any, p: int, q: int) -> int:
    """The number of components asked for: at most min(p, q), which is also what None stands for."""
    if n_components is None:
        return min(p, q)
    if not isinstance(n_components, Integral) or isinstance(n_components, bool) or int(n_components) < 1:
        raise ValueError(f"n_components must be a whole number >= 1 or None, got {n_components!r}")
    if int(n_components) > min(p, q):
        raise ValueError(
            f"n_components={n_components} is more than min(p, q) = {min(p, q)}: "
            f"X has {p} and y has {q} features"
        )
    return int(n_components)


def check_count(name: str, value: Any, *, low: int = 1) -> int:
    """``value`` as a whole number of at least ``low``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < low:
        raise ValueError(f"{name} must be a whole number >= {low}, got {value!r}")
    return int(value)


def check_n_threads(n_threads: Any) -> None:
    _arrays.thread_count(n_threads)


def column_names(data: Any) -> NDArray[np.object_] | None:
    """The column names of a data frame (or the name of a series) if all are strings, else None."""
    columns = getattr(data, "columns", None)
    names = list(columns) if columns is not None else [getattr(data, "name", None)]
    if names and all(isinstance(name, str) for name in names):
        return np.asarray(names, dtype=object)
    return None
