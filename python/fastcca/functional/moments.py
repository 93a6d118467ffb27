"""First and second moments of stacked views: the small value that every linear fit is computed from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from fastcca import _core
from fastcca._arguments.arrays import (
    as_matrix,
    as_weights,
    check_same_columns,
    check_same_length,
    check_same_rows,
    common_float,
    finite_matrix,
)
from fastcca._arguments.parameters import integer, thread_count
from fastcca._arguments.sparse import as_rows, is_sparse
from fastcca.errors import NumericalError
from fastcca.functional.device_moments import device_sums, on_device
from fastcca.functional.sparse_moments import sparse_pays, sparse_sums

__all__ = ["GroupMoments", "Moments", "group_moments", "rolling_moments"]

Array = npt.NDArray[np.float64]

# Views of different dtypes are converted at once up to this size, beyond it chunk by chunk.
_CONVERTED_BYTES = 1 << 25


class Moments:
    """Number of rows, means and scatter of one or more views, in one pass over the data.

    Moments of parts combine to the moments of the whole: ``update`` adds rows, ``a + b`` merges, ``a - b``
    takes rows out again. They pickle, and their size does not depend on the number of rows.

    Attributes
    ----------
    n : float
        Sum of the sample weights; without weights the number of rows. 0 when empty.
    dims : tuple of int
        Number of columns of each view; empty before the first update.
    mean : ndarray of shape (d,)
        Mean of the stacked columns, d = sum(dims).
    scatter : ndarray of shape (d, d)
        Sum over the rows of w (x - mean)(x - mean)'.
    shift, offset : ndarray of shape (d,)
        mean = shift + offset, kept apart because their sum would round the offset away where the mean is
        large compared with the standard deviation.
    eps : ndarray of shape (d,)
        Machine epsilon of the least precise data seen of each column (float32 or float64).
    rounding : ndarray of shape (d,)
        Relative rounding error of each diagonal entry of ``scatter``: the machine epsilon of the products,
        and more where rows were taken out that varied more than those that stay.

    Notes
    -----
    Data are centred as they are read, by a first estimate of the mean, so that a mean of 1e8 next to a
    variance of 1 costs no digit. Products of float32 data are taken in float32 over short runs of rows and
    summed in float64, unless ``update(..., dtype=np.float64)`` asks for exact products. Results are bitwise
    the same for every number of threads. The pairwise update and its inverse are those of Chan, Golub &
    LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", COMPSTAT 1982.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import Moments
    >>> X = np.array([[0.0], [2.0], [4.0]])
    >>> Y = np.array([[1.0], [0.0], [-1.0]])
    >>> m = Moments().update(X, Y)
    >>> m.n, m.mean, m.covariance(0, 1)
    (3.0, array([2., 0.]), array([[-2.]]))
    >>> parts = Moments().update(X[:1], Y[:1]) + Moments().update(X[1:], Y[1:])
    >>> np.allclose(parts.scatter, m.scatter)
    True
    """

    __slots__ = ("dims", "eps", "n", "offset", "rounding", "scatter", "shift")

    n: float
    dims: tuple[int, ...]
    shift: Array
    offset: Array
    scatter: Array
    eps: Array
    rounding: Array

    def __init__(self) -> None:
        none = np.zeros(0)
        self._set(n=0.0, dims=(), shift=none, offset=none, scatter=np.zeros((0, 0)), eps=none, rounding=none)

    def _set(self, **parts: Any) -> None:
        """Take parts that are known to fit."""
        for name, value in parts.items():
            object.__setattr__(self, name, value)

    def _fill(self, **parts: Any) -> None:
        """Take the parts given and keep the others; a ValueError, and no change, where they do not fit."""
        new = {slot: parts[slot] if slot in parts else getattr(self, slot) for slot in self.__slots__}
        new["n"], new["dims"] = _count(new["n"]), _widths(new["dims"])
        d = sum(new["dims"])
        for name, shape in (
            ("shift", (d,)),
            ("offset", (d,)),
            ("scatter", (d, d)),
            ("eps", (d,)),
            ("rounding", (d,)),
        ):
            new[name] = _part(name, new[name], shape)
        self._set(**new)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__slots__:
            raise AttributeError(f"Moments have no attribute {name!r} that can be set")
        self._fill(**{name: value})

    def __getstate__(self) -> dict[str, Any]:  # by hand: pickle's protocols 0 and 1 know no slots
        return {slot: getattr(self, slot) for slot in self.__slots__}

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple):  # how Python pickles slots by itself, and earlier versions did
            state = state[1]
        if isinstance(state, dict) and "eps" in state:  # of a version that did not keep their rounding
            state = {"rounding": state["eps"], **state}
        if not isinstance(state, dict) or set(state) != set(self.__slots__):
            raise ValueError(f"moments must consist of {', '.join(self.__slots__)}")
        self._fill(**state)
        _check_values(self)

    @classmethod
    def from_covariance(
        cls,
        S: npt.ArrayLike,
        n: float,
        dims: Sequence[int],
        mean: npt.ArrayLike | None = None,
    ) -> Moments:
        """The moments of n rows with this covariance: of a published matrix of correlations, say.

        Parameters
        ----------
        S : array-like of shape (d, d)
            Covariance (divided by n - 1) or correlations of the stacked columns.
        n : float
            Number of rows, above 1.
        dims : sequence of int
            Columns of each view, d in all.
        mean : array-like of shape (d,), optional
            Means of the columns; zeros by default.

        Returns
        -------
        Moments

        Raises
        ------
        ValueError
            If S is not square, symmetric, finite and positive semidefinite, or the sizes do not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCA, Moments
        >>> R = np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.3], [0.6, 0.3, 1.0]])
        >>> moments = Moments.from_covariance(R, n=100, dims=(2, 1))
        >>> CCA().fit_moments(moments).canonical_correlations_.round(4)
        array([0.6708])
        """
        covariance = finite_matrix("S", S).astype(np.float64)
        widths = _widths(tuple(int(dim) if isinstance(dim, Integral) else dim for dim in dims))
        d = sum(widths)
        if covariance.shape != (d, d):
            raise ValueError(f"S must have shape {(d, d)} to fit dims {widths}, got {covariance.shape}")
        scale = float(np.abs(covariance).max(initial=0.0))
        if np.abs(covariance - covariance.T).max(initial=0.0) > 1e-10 * scale:
            raise ValueError("S must be symmetric, got entries that differ from those of its transpose")
        if isinstance(n, bool) or not isinstance(n, Real) or not 1 < float(n) < math.inf:
            raise ValueError(f"n must be a finite number > 1, got {n!r}")
        covariance = (covariance + covariance.T) / 2
        if d and float(np.linalg.eigvalsh(covariance)[0]) < -1e-8 * scale:
            raise ValueError("S must be positive semidefinite, got a negative eigenvalue")
        center = np.zeros(d) if mean is None else np.asarray(mean, dtype=np.float64)
        if center.shape != (d,) or not np.isfinite(center).all():
            raise ValueError(f"mean must hold {d} finite numbers, got shape {center.shape}")
        eps = np.full(d, float(np.finfo(np.float64).eps))
        return from_parts(widths, eps, float(n), center, np.zeros(d), covariance * (float(n) - 1))

    @property
    def mean(self) -> Array:
        return self.shift + self.offset

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where each view's columns stand among the stacked ones."""
        ends = np.cumsum(self.dims).tolist()
        return tuple(slice(end - dim, end) for end, dim in zip(ends, self.dims, strict=True))

    def covariance(self, i: int, j: int) -> Array:
        """Covariance between the columns of views ``i`` and ``j``: scatter / (n - 1).

        Raises
        ------
        ValueError
            If n is 1 or less, or there is no such view.
        """
        if self.n <= 1:
            raise ValueError(f"a covariance takes more than 1 sample, got n = {self.n:g}")
        for view in (i, j):
            if not isinstance(view, Integral) or not -len(self.dims) <= int(view) < len(self.dims):
                raise ValueError(f"there are {len(self.dims)} views, counted from 0, got view {view!r}")
        rows, columns = self.slices[i], self.slices[j]
        covariance: Array = self.scatter[rows, columns] / (self.n - 1)
        return covariance

    def update(
        self,
        *views: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        names: Sequence[str] | None = None,
        dtype: npt.DTypeLike | None = None,
        device: Any = None,
        n_threads: int | None = None,
    ) -> Moments:
        """Add rows.

        Parameters
        ----------
        *views : array-like of shape (n_rows, dims[i])
            The views' new rows, in the same order each time. float32 and float64 arrays are read in place
            (any strides, read-only, memory-mapped); other dtypes are converted. 1-d means one column.
            Sparse matrices and arrays of SciPy too: products of their entries alone where these are few
            enough for that to be quicker, else a run of dense rows after the other. Tensors on a GPU
            (of PyTorch, and others by DLPack, such as CuPy's arrays) are centred and multiplied there.
        sample_weight : array-like of shape (n_rows,), optional
            Weights, not negative; they count as repetitions.
        names : sequence of str, optional
            What error messages call the views; "X", "y" where there are two.
        dtype : float64, optional
            Type of the products; by default that of the data. ``np.float64`` multiplies float32 data without
            rounding, at half the speed: for ill-conditioned views, and where rows are to be taken out again.
        device : torch.device or str, optional
            Where PyTorch computes, in chunks of 256 MB: ``"cuda"`` for arrays of any size, memory-mapped ones
            too. By default where the first tensor on a GPU lies; without one the CPU's own core.
        n_threads : int, optional
            Threads to use; by default :func:`fastcca.get_num_threads`.

        Returns
        -------
        Moments
            Itself.

        Raises
        ------
        ValueError
            For NaN and infinity (with the first position), complex or non-numeric data, views with
            different numbers of rows, a number of columns that changed, negative weights, a device that
            PyTorch cannot use.
        MemoryError
            If a device has too little memory, for however few rows.
        """
        if names is None:
            names = ("X", "y") if len(views) == 2 else [f"views[{i}]" for i in range(len(views))]
        if not views:
            raise ValueError("update takes at least one view")
        check_same_rows(**dict(zip(names, views, strict=True)), sample_weight=sample_weight)
        if dtype is not None and np.dtype(dtype) != np.float64:
            raise ValueError(f"dtype must be float64 or None, got {dtype!r}")
        if device is not None or any(map(on_device, views)):
            thread_count(n_threads)
            found = device_sums(names, views, sample_weight, device, dtype is not None, self.dims)
            self._absorb(from_parts(**found._asdict()), reuse=True)
            return self
        arrays = [
            as_rows(name, view, vector=True, min_columns=0) for view, name in zip(views, names, strict=True)
        ]
        check_same_length(**dict(zip(names, arrays, strict=True)))
        dims = tuple(a.shape[1] for a in arrays)
        check_same_columns(dims, self.dims)
        weights = as_weights(sample_weight, arrays[0].shape[0])
        eps = np.repeat([float(np.finfo(a.dtype).eps) for a in arrays], dims)
        if all(map(is_sparse, arrays)) and sparse_pays(arrays):
            thread_count(n_threads)
            n, mean, scatter, rounding = sparse_sums(arrays, weights, n_threads)
            self._absorb(
                from_parts(dims, eps, n, mean, np.zeros_like(mean), scatter, rounding=rounding), reuse=True
            )
            return self
        added = Moments()
        for rows_ in _row_chunks(arrays):
            w = None if weights is None else weights[rows_]
            parts = common_float([a[rows_].toarray() if is_sparse(a) else a[rows_] for a in arrays])
            options = dtype is not None, thread_count(n_threads)
            try:
                sums = _core.moments(parts, list(names), w, *options)
            except ValueError:
                if rows_.start and not any(
                    map(is_sparse, arrays)
                ):  # a position within the chunk means nothing to the caller
                    _core.moments(common_float(arrays), list(names), weights, *options)
                raise
            products = np.finfo(np.float64 if dtype is not None else parts[0].dtype).eps
            part = from_parts(dims, eps, *sums, rounding=np.full(eps.shape, float(products)))
            added._absorb(part, reuse=True)
        self._absorb(added, reuse=True)
        return self

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        """Which of the d columns are constant, to the precision of their data.

        A column counts as constant when its standard deviation is within a few rounding errors of its mean.
        """
        with np.errstate(over="ignore"):  # beyond 1e170, where squares of the column overflow as well
            tiny = self.n * (4 * self.eps * np.abs(self.mean)) ** 2
        constant: npt.NDArray[np.bool_] = np.diag(self.scatter) <= tiny
        return constant

    def scaled(self, factors: npt.ArrayLike) -> Moments:
        """The moments of the same rows with each column multiplied by its factor, shape (d,)."""
        f = np.asarray(factors, dtype=np.float64)
        if f.shape != self.shift.shape:
            raise ValueError(f"factors must have shape {self.shift.shape}, got {f.shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            scatter, shift, offset = self.scatter * f, self.shift * f, self.offset * f
            scatter *= f[:, np.newaxis]
        if not all(np.isfinite(part).all() for part in (scatter, shift, offset)):
            raise NumericalError("the moments of the scaled columns overflow: take smaller factors")
        return from_parts(self.dims, self.eps, self.n, shift, offset, scatter, rounding=self.rounding)

    def _absorb(self, other: Moments, *, reuse: bool = False) -> None:
        """Merge ``other`` into self; with ``reuse`` into the memory of its scatter, which nobody else has.

        With m = n_a + n_b and delta = mean_b - mean_a:
        offset = (n_a offset_a + n_b offset_b) / m
        scatter = scatter_a + scatter_b + n_a (n_b / m) delta delta'
        """
        if other.dims and self.dims and other.dims != self.dims:
            raise ValueError(f"moments of views with {self.dims} and {other.dims} columns do not add up")
        eps = np.maximum(self.eps, other.eps) if self.eps.size and other.eps.size else self.eps
        if not eps.size:
            eps = other.eps
        if other.n <= 0 and self.dims:
            self._fill(eps=eps)
            return
        if self.n <= 0:
            self._set(**(other.__getstate__() | {"eps": eps}))
            return
        n = self.n + other.n
        # Two shifts near each other differ by an exact number; the offsets are small beside the spread.
        with np.errstate(over="ignore", invalid="ignore"):
            offset = (other.shift - self.shift) + other.offset
            delta = offset - self.offset
            kept = other.scatter.diagonal().copy()
            scatter = other.scatter if reuse else np.empty_like(other.scatter)
            apart = np.sqrt(self.n * (other.n / n)) * delta
            _add_scatters(self.scatter, other.scatter, apart, scatter)
        if not np.isfinite(scatter.diagonal()).all():  # which bounds the other entries
            raise NumericalError("the merged moments overflow: scale the columns down")
        errors = self.rounding * self.scatter.diagonal() + other.rounding * kept
        rounding = _relative(errors, scatter.diagonal(), np.maximum(self.rounding, other.rounding))
        offset = (self.n * self.offset + other.n * offset) / n
        self._set(n=n, offset=offset, scatter=scatter, eps=eps, rounding=rounding)

    def __add__(self, other: Moments) -> Moments:
        if not isinstance(other, Moments):
            return NotImplemented
        total = self.copy()
        total._absorb(other)
        return total

    def __sub__(self, other: Moments) -> Moments:
        """Take out rows that were added before: the moments of those that stay.

        A column whose scatter cancels down to rounding error is constant in what stays: its scatter is 0.

        Raises
        ------
        ValueError
            If ``other`` holds more rows than self, or other columns, or rows that self cannot hold: more
            variation than there is.
        NumericalError
            If products were taken in float32, and what stays of a column varies too little beside what is
            taken out for two digits to be left.
        """
        if not isinstance(other, Moments):
            return NotImplemented
        if other.dims and other.dims != self.dims:
            raise ValueError(f"moments of views with {self.dims} and {other.dims} columns do not subtract")
        n = self.n - other.n
        if n < 0:
            raise ValueError(f"cannot take n = {other.n:g} out of n = {self.n:g}")
        rest = self.copy()
        if other.n <= 0:
            return rest
        if n == 0:
            rest._fill(n=n, offset=np.zeros_like(self.offset), scatter=np.zeros_like(self.scatter))
            return rest
        other_offset = (other.shift - self.shift) + other.offset
        offset = (self.n * self.offset - other.n * other_offset) / n
        delta = other_offset - offset
        scatter = self.scatter - other.scatter
        scatter -= np.outer((n * (other.n / self.n)) * delta, delta)
        left, whole = np.diag(scatter), np.diag(self.scatter)
        negative = left < -64 * self.rounding * whole
        if negative.any():
            column = int(negative.argmax())
            raise ValueError(
                f"these rows are not among those to be reduced: column {column} varies more in them"
            )
        errors = self.rounding * whole + other.rounding * other.scatter.diagonal()
        gone = left <= 64 * np.finfo(np.float64).eps * whole
        lost = (errors > left / 64) & (self.rounding > np.finfo(np.float32).eps / 2) & (whole > 0)
        if lost.any():
            column = int(lost.argmax())
            with np.errstate(over="ignore"):
                digits = max(0.0, -np.log10(errors[column] / max(left[column], np.finfo(float).tiny)))
            raise NumericalError(
                f"too little is left of column {column}: the rows taken out varied so much more than those "
                f"that stay that {digits:.1f} digits remain of products in float32. "
                "Take the moments with update(..., dtype=np.float64)"
            )
        rounding = _relative(errors, left, self.rounding)
        scatter[gone, :] = 0
        scatter[:, gone] = 0
        rest._fill(n=n, offset=offset, scatter=scatter, rounding=rounding)
        return rest

    def copy(self) -> Moments:
        """A copy that shares its arrays, which no method changes in place."""
        return from_parts(
            self.dims, self.eps, self.n, self.shift, self.offset, self.scatter, rounding=self.rounding
        )

    def __repr__(self) -> str:
        return f"Moments(n={self.n:g}, dims={self.dims})"


def _row_chunks(arrays: list[npt.NDArray[Any]]) -> list[slice]:
    """All rows at once; of sparse views, and where dtypes differ and many are converted, runs of them."""
    n = arrays[0].shape[0]
    if any(map(is_sparse, arrays)):
        step = max(1024, _CONVERTED_BYTES // (8 * max(1, sum(a.shape[1] for a in arrays))))
        return [slice(start, min(n, start + step)) for start in range(0, n, step)] or [slice(0, 0)]
    if len({a.dtype for a in arrays}) == 1 or sum(a.nbytes for a in arrays) < _CONVERTED_BYTES:
        return [slice(0, n)]
    step = max(1024, 8 * sum(a.shape[1] for a in arrays))
    return [slice(start, min(n, start + step)) for start in range(0, n, step)]


def _add_scatters(first: Array, second: Array, apart: Array, out: Array) -> None:
    """out = first + second + apart apart', which may be ``second`` itself.

    Some rows at a time, which stay in the cache; all are symmetric, so rows are columns where these lie
    together.
    """
    a, b, to = (m if m.flags.c_contiguous else m.T for m in (first, second, out))
    step = max(1, 2**16 // max(1, apart.size))
    for start in range(0, apart.size, step):
        rows = slice(start, start + step)
        between = np.multiply.outer(apart[rows], apart)
        between += a[rows]
        np.add(between, b[rows], out=to[rows])


def _relative(errors: Array, values: Array, otherwise: Array) -> Array:
    """errors / values, between the rounding of a double and all; ``otherwise`` where the value is 0."""
    with np.errstate(over="ignore"):
        relative = np.divide(errors, values, out=otherwise.copy(), where=values > 0)
    return np.clip(relative, np.finfo(np.float64).eps, 1.0)


class MomentsStream:
    """Moments of rows that come in many small batches, whose products are brought together once.

    To add up :class:`Moments` takes time for d² numbers a batch, more than the products of a few hundred
    rows of some thousand columns.

    Parameters
    ----------
    views : sequence of ndarray
        The first batch, in float32 or float64.
    names : sequence of str
        What error messages call the views.
    n_threads : int, optional
        Threads to use; the result does not depend on it.
    """

    def __init__(
        self, views: Sequence[npt.NDArray[Any]], names: Sequence[str], n_threads: int | None = None
    ) -> None:
        self.dims, self.names = tuple(view.shape[1] for view in views), tuple(names)
        self.dtype = np.result_type(*views)
        self.eps = np.zeros(sum(self.dims))
        core = _core.MomentsStream32 if self.dtype == np.float32 else _core.MomentsStream64
        self._sums: Any = core(sum(self.dims))
        self.update(views, n_threads)

    def takes(self, views: Sequence[npt.NDArray[Any]]) -> bool:
        """Whether a batch has the type of those before."""
        return bool(np.result_type(*views) == self.dtype)

    def update(self, views: Sequence[npt.NDArray[Any]], n_threads: int | None = None) -> None:
        """Add a batch, of finite numbers and of the same views."""
        self._sums.add(common_float(views), self.names, thread_count(n_threads))
        eps = np.repeat([float(np.finfo(view.dtype).eps) for view in views], self.dims)
        self.eps = np.maximum(self.eps, eps)

    def moments(self, n_threads: int | None = None) -> Moments:
        """Of all rows so far."""
        sums = self._sums.finish(thread_count(n_threads))
        rounding = np.full(self.eps.shape, float(np.finfo(self.dtype).eps))
        return from_parts(self.dims, self.eps, *sums, rounding=rounding)


def from_parts(
    dims: tuple[int, ...],
    eps: Array,
    n: float,
    shift: Array,
    offset: Array,
    scatter: Array,
    *,
    rounding: Array | None = None,
) -> Moments:
    """Moments of these parts; their rounding is that of the data unless given."""
    moments = Moments.__new__(Moments)
    rounding = eps if rounding is None else rounding
    moments._fill(n=n, dims=dims, shift=shift, offset=offset, scatter=scatter, eps=eps, rounding=rounding)
    return moments


def _count(n: Any) -> float:
    if isinstance(n, bool) or not isinstance(n, Real) or not 0 <= float(n) < math.inf:
        raise ValueError(f"n of moments must be a finite number >= 0, got {n!r}")
    return float(n)


def _widths(dims: Any) -> tuple[int, ...]:
    widths = tuple(dims) if isinstance(dims, (tuple, list)) else (None,)
    if not all(isinstance(d, Integral) and not isinstance(d, bool) and int(d) >= 0 for d in widths):
        raise ValueError(f"dims of moments must be a tuple of numbers of columns, got {dims!r}")
    return tuple(int(d) for d in widths)


def _part(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    array: npt.NDArray[Any] = np.asarray(value)
    if array.dtype.kind not in "fiu" or array.shape != shape:
        raise ValueError(
            f"{name} of moments must have shape {shape} to fit their dims, got {array.dtype} {array.shape}"
        )
    # What the core takes: float64, without gaps.
    fits = array.dtype == np.float64 and array.flags.forc and array.flags.aligned
    return array if fits else np.array(array, dtype=np.float64, order="C")


def _check_values(m: Moments) -> None:
    """What no data can have as moments is refused: whoever made this did not make it here."""
    for name in ("shift", "offset", "scatter", "eps", "rounding"):
        if not np.all(np.isfinite(getattr(m, name))):
            raise ValueError(f"{name} of moments contains NaN or infinity")
    if np.any(np.diag(m.scatter) < 0) or np.any(m.eps < 0) or np.any(m.rounding < 0):
        raise ValueError("moments cannot have negative sums of squares or a negative eps or rounding")


def rolling_moments(
    *views: npt.ArrayLike, window: int, step: int = 1, n_threads: int | None = None
) -> Iterator[tuple[int, Moments]]:
    """Moments of sliding windows of rows: each is the one before plus the new rows minus the old ones.

    After every 64 windows one is taken afresh, so that rounding does not build up.

    Parameters
    ----------
    *views : array-like of shape (n_rows, dims[i])
        Time series, row by row.
    window : int
        Rows of a window, at least 2.
    step : int, default=1
        Rows from one window to the next.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Yields
    ------
    start : int
        First row of the window.
    moments : Moments
        Of rows start to start + window - 1.

    Raises
    ------
    ValueError
        For a window that is longer than the data, views that do not pair, NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import rolling_moments
    >>> x = np.arange(6.0)[:, np.newaxis]
    >>> [(start, moments.mean.tolist()) for start, moments in rolling_moments(x, window=4)]
    [(0, [1.5]), (1, [2.5]), (2, [3.5])]
    """
    window, step = integer(2)("window", window), integer(1)("step", step)
    arrays = [as_matrix(f"views[{i}]", view) for i, view in enumerate(views)]
    if not arrays:
        raise ValueError("rolling_moments takes at least one view")
    rows = {len(a) for a in arrays}
    if len(rows) > 1:
        raise ValueError(f"the views must have the same number of rows, got {[len(a) for a in arrays]}")
    n = rows.pop()
    if window > n:
        raise ValueError(f"window={window} is more than the {n} rows")
    return _windows(arrays, n, window, step, n_threads)


def _windows(
    arrays: list[npt.NDArray[Any]], n: int, window: int, step: int, n_threads: int | None
) -> Iterator[tuple[int, Moments]]:
    def take(start: int, stop: int) -> Moments:
        return Moments().update(*(a[start:stop] for a in arrays), dtype=np.float64, n_threads=n_threads)

    moments = take(0, window)
    for count, start in enumerate(range(0, n - window + 1, step)):
        if count:
            if step >= window or count % 64 == 0:
                moments = take(start, start + window)
            else:
                gone, new = take(start - step, start), take(start - step + window, start + window)
                moments = (moments + new) - gone
        yield start, moments


@dataclass(frozen=True)
class GroupMoments:
    """Moments of groups of rows, and what of the variation lies within and between them.

    Attributes
    ----------
    groups : dict
        From each label to the moments of its rows.
    total : Moments
        Of all rows.
    within : Moments
        Of the rows about the means of their groups: scatter is the sum of those of the groups.
    between : Moments
        Of the groups' means, each counted as often as it has rows: total scatter minus that within.
    """

    groups: dict[Any, Moments]
    total: Moments
    within: Moments
    between: Moments


def group_moments(
    *views: npt.ArrayLike,
    labels: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    n_threads: int | None = None,
) -> GroupMoments:
    """Moments of each group of rows, within the groups and between them.

    Canonical correlations of the moments ``within`` are those that are left when group means (of sites,
    sessions, subjects) are taken out; tests of them take n − the number of groups + 1 for n.

    Parameters
    ----------
    *views : array-like of shape (n_rows, dims[i])
        The views.
    labels : array-like of shape (n_rows,)
        Group of each row.
    sample_weight : array-like of shape (n_rows,), optional
        Weights, not negative; they count as repetitions.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    GroupMoments

    Raises
    ------
    ValueError
        For labels of another length, views that do not pair, NaN or infinity.

    Examples
    --------
    >>> from fastcca.functional import group_moments
    >>> found = group_moments([[0.0], [2.0], [10.0], [12.0]], labels=["a", "a", "b", "b"])
    >>> [round(part.scatter.item(), 9) for part in (found.within, found.between, found.total)]
    [4.0, 100.0, 104.0]
    """
    arrays = [as_matrix(f"views[{i}]", view) for i, view in enumerate(views)]
    if not arrays:
        raise ValueError("group_moments takes at least one view")
    values, codes = np.unique(np.asarray(labels), return_inverse=True)
    codes = codes.ravel()
    for a in arrays:
        if len(a) != len(codes):
            raise ValueError(f"labels must have one entry for each of the {len(a)} rows, got {len(codes)}")
    weights = None if sample_weight is None else as_weights(sample_weight, len(codes))
    groups = {}
    for number, label in enumerate(values.tolist()):
        rows = np.flatnonzero(codes == number)
        w = None if weights is None else weights[rows]
        groups[label] = Moments().update(
            *(a[rows] for a in arrays), sample_weight=w, dtype=np.float64, n_threads=n_threads
        )
    total = Moments()
    for part in groups.values():
        total = total + part
    scatter = np.sum([part.scatter for part in groups.values()], axis=0)
    within = from_parts(
        total.dims, total.eps, total.n, total.shift, total.offset, scatter, rounding=total.rounding
    )
    away = [np.sqrt(part.n) * (part.mean - total.mean) for part in groups.values()]
    parts = [np.outer(a, a) for a in away]
    between = from_parts(
        total.dims,
        total.eps,
        total.n,
        total.shift,
        total.offset,
        np.sum(parts, axis=0),
        rounding=total.rounding,
    )
    return GroupMoments(groups, total, within, between)
