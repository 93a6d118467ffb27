"""Named modalities of the same rows, some of which may be missing: what fusion and autoencoders take.

Views come as a mapping from names to arrays, as a sequence of arrays (named "view0", "view1", ...) or as one
matrix (named "X"). A row that lacks a modality is NaN throughout there, or None in a list of rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.arrays import as_matrix, check_same_rows, column_names, place_of
from fastcca._arguments.sparse import as_rows, is_sparse

__all__ = ["Modalities", "Names", "check_modalities", "named", "of_view", "per_view", "pick"]

Names = NDArray[np.object_] | None


class Modalities(NamedTuple):
    """Checked modalities: every row has at least one of them, and is finite where it has it."""

    data: dict[str, NDArray[Any]]  # (n, width) each, those that were given
    present: dict[str, NDArray[np.bool_]]  # (n,) each: which rows have it
    names: dict[str, Names]  # of the columns of data frames
    n_rows: int


def named(views: Any) -> dict[str, Any]:
    """The modalities by name, unchecked."""
    if isinstance(views, Mapping):
        wrong = [name for name in views if not isinstance(name, str) or not name]
        if wrong:
            raise TypeError(f"the names of modalities must be text, got {wrong[0]!r}")
        found = dict(views)
    elif isinstance(views, (list, tuple)) and views and _are_matrices(views):
        found = {f"view{i}": view for i, view in enumerate(views)}
    else:
        return {"X": views}
    if all(view is None for view in found.values()):
        raise ValueError("views must hold at least one modality, got none")
    return found


def _are_matrices(views: Sequence[Any]) -> bool:
    """Whether these are several views, one of which may be wrong, rather than the rows of one."""
    return any(len(getattr(v, "shape", ())) == 2 for v in views) or all(
        v is None or _is_matrix(v) for v in views
    )


def _is_matrix(value: Any) -> bool:
    if hasattr(value, "ndim"):
        return bool(value.ndim == 2)
    if hasattr(value, "shape"):
        return len(value.shape) == 2
    if not isinstance(value, (list, tuple)) or not value:
        return False
    return all(row is None or (isinstance(row, (list, tuple)) or np.ndim(row) == 1) for row in value)


def check_modalities(
    views: Any,
    owner: str,
    widths: Mapping[str, int] | None = None,
    names: Mapping[str, Names] | None = None,
    *,
    sparse: bool = False,
    missing: bool = False,
) -> Modalities:
    """``views`` as float arrays with the rows that are present; where ``sparse``, sparse ones in CSR.

    Without ``widths`` the views are those of a fit: at least two rows, and of every modality at least one.
    With them they must be some of the modalities fitted, of those widths and column names. Nothing is copied
    that is an array of floats already. Where values may be ``missing``, NaN in a row is refused nowhere.
    """
    found = named(views)
    fitting = widths is None
    for name in found:
        if widths is not None and name not in widths:
            raise ValueError(
                f"unknown modality {name!r}: {owner} was fitted to {', '.join(map(repr, widths))}"
            )
        if fitting and found[name] is None:
            raise ValueError(f"every row of modality {name!r} is missing: there is nothing to learn from")
    found = {name: view for name, view in found.items() if view is not None}
    check_same_rows(**found)
    data = {
        name: as_rows(name, view, min_rows=1 + fitting)
        if sparse and is_sparse(view)
        else as_matrix(name, _filled(view), min_rows=1 + fitting, frames_finite=False)
        for name, view in found.items()
    }
    columns = {name: column_names(view) for name, view in found.items()}
    for name, a in data.items():
        if widths is not None and a.shape[1] != widths[name]:
            raise ValueError(
                f"{name} has {a.shape[1]} features, but {owner} is expecting {widths[name]} features as input"
            )
        now, expected = columns[name], names.get(name) if names is not None else None
        if now is not None and expected is not None and list(now) != list(expected):
            raise ValueError(
                f"The feature names of {name} should match those that were passed during fit: "
                f"expected {list(expected)!r}, got {list(now)!r}"
            )
    rows = {name: a.shape[0] for name, a in data.items()}
    if len(set(rows.values())) > 1:
        told = ", ".join(f"{n} in {name!r}" for name, n in rows.items())
        raise ValueError(f"all modalities must have the same number of rows, got {told}")
    n = next(iter(rows.values()))
    present = {name: _present(name, a, found[name], missing) for name, a in data.items()}
    if fitting:
        for name, mask in present.items():
            if not mask.any():
                raise ValueError(f"every row of modality {name!r} is missing: there is nothing to learn from")
    nothing = ~np.logical_or.reduce(list(present.values()))
    if nothing.any() and not missing:
        alone = "" if len(data) > 1 else ": it contains NaN throughout"
        raise ValueError(f"row {int(nothing.argmax())} has no modality at all{alone}")
    return Modalities(data, present, columns, n)


def _filled(view: Any) -> Any:
    """A list of rows with rows of NaN in place of None."""
    if not isinstance(view, (list, tuple)) or not any(row is None for row in view):
        return view
    width = next((len(row) for row in view if row is not None), 1)
    return [[np.nan] * width if row is None else row for row in view]


def _present(name: str, a: NDArray[Any], view: Any, some_missing: bool) -> NDArray[np.bool_]:
    """Rows that are not NaN throughout; refuses infinity in those, and NaN unless some may be missing."""
    if is_sparse(a):  # whose entries were looked at
        return np.ones(a.shape[0], dtype=bool)
    present = np.empty(len(a), dtype=bool)
    for rows in blocks(len(a), a.shape[1]):
        finite = np.isfinite(a[rows])
        missing = np.zeros(len(finite), dtype=bool)
        if not finite.all():
            missing = np.isnan(a[rows]).all(axis=1)
            bad = np.isinf(a[rows]) if some_missing else ~finite & ~missing[:, np.newaxis]
            if bad.any():
                row, column = (int(i) for i in np.argwhere(bad)[0])
                kind = "NaN" if np.isnan(a[rows.start + row, column]) else "infinity"
                where = place_of(view, rows.start + row, column)
                raise ValueError(
                    f"Input {name} contains {kind}: the first is at {where}"
                    + ("; a row that lacks the modality must be NaN throughout" if kind == "NaN" else "")
                )
        present[rows] = ~missing
    return present


def blocks(n: int, width: int) -> Iterator[slice]:
    """Slices of some million values."""
    step = max(1, 2**20 // max(1, width))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def pick(names: Sequence[str], given: Any, what: str, missing: float) -> dict[str, float]:
    """One number for each modality from None, a mapping (others get ``missing``) or a sequence in order."""
    if given is None:
        return dict.fromkeys(names, 1.0)
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise ValueError(f"{what} names an unknown modality {unknown[0]!r}: there are {', '.join(names)}")
        values = {name: given.get(name, missing) for name in names}
    else:
        if np.ndim(given) != 1 or len(given) != len(names):
            raise ValueError(f"{what} must be one number for each of {', '.join(names)}, got {given!r}")
        values = dict(zip(names, given, strict=True))
    for name, value in values.items():
        if not isinstance(value, (int, float, np.number)) or not 0 <= value < np.inf:
            raise ValueError(f"{what} must be finite and not negative, got {value!r} for {name!r}")
    return {name: float(value) for name, value in values.items()}


def per_view(
    names: Sequence[str], given: Any, what: str, missing: float, *, positive: bool = False
) -> tuple[float, ...]:
    """One number for each view, in order: from a number for all, or as :func:`pick` takes them."""
    if isinstance(given, Real) and not isinstance(given, (bool, np.bool_)):
        given = dict.fromkeys(names, given)
    elif isinstance(given, (bool, np.bool_, str)) or (given is not None and not np.iterable(given)):
        raise ValueError(
            f"{what} must be a number, or one number for each of {', '.join(names)}, got {given!r}"
        )
    values = pick(names, given, what, missing)
    for name, value in values.items():
        if positive and value == 0:
            raise ValueError(f"{what} must be positive, got 0 for {name!r}: leave the view out")
    return tuple(values.values())


def of_view(given: Any, name: str, names: Sequence[str], what: str, missing: Any) -> Any:
    """What is given for a view: for all, or by name."""
    if not isinstance(given, Mapping):
        return given
    unknown = [key for key in given if key not in names]
    if unknown:
        raise ValueError(f"{what} names an unknown view {unknown[0]!r}: there are {', '.join(names)}")
    return given.get(name, missing)
