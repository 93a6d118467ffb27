"""Kernel matrices, and their incomplete Cholesky factors, which never form one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastcca import _core
from fastcca._arguments.arrays import as_weights, check_same_rows, common_float, finite_matrix
from fastcca._arguments.parameters import (
    DEGREE,
    FRACTION,
    NUMBER,
    POSITIVE,
    POSITIVE_INTEGER,
    Constraint,
    choice,
    thread_count,
)
from fastcca.errors import NumericalError

__all__ = ["IncompleteCholesky", "incomplete_cholesky", "kernel_matrix", "median_gamma"]

Array = npt.NDArray[Any]
KernelFunction = Callable[[Array, Array], npt.ArrayLike]

KERNELS = ("rbf", "laplacian", "polynomial", "linear", "cosine")
PIVOTINGS = ("greedy", "random", "uniform")

_MEDIAN_ROWS = 1000  # distinct rows whose pairs are all looked at
_CALL_ELEMENTS = 1 << 22  # of the kernel blocks that a callable is asked for


KERNEL = Constraint(
    f"{choice(*KERNELS).expected} or a callable",
    lambda value: callable(value) or (isinstance(value, str) and value in KERNELS),
)
GAMMA = Constraint(
    f"{POSITIVE.expected} or 'median'",
    lambda value: value == "median" if isinstance(value, str) else POSITIVE.accepts(value),
)
PIVOTING = choice(*PIVOTINGS)


@dataclass(frozen=True)
class Kernel:
    """A kernel with its parameters, checked: the form in which they travel from here to the core."""

    kernel: str | KernelFunction
    gamma: float | str = 1.0
    degree: int = 3
    coef0: float = 1.0
    name: str = "kernel"  # what error messages call it

    def __post_init__(self) -> None:
        KERNEL(self.name, self.kernel)
        GAMMA(self.name.replace("kernel", "gamma"), self.gamma)
        DEGREE("degree", self.degree)
        NUMBER("coef0", self.coef0)

    @property
    def spec(self) -> tuple[str, float, int, float]:
        name = "given" if callable(self.kernel) else self.kernel
        return (name, float(self.gamma), int(self.degree), float(self.coef0))

    def fitted(self, X: Array, sample_weight: Array | None = None) -> Kernel:
        """The kernel with a number in the place of "median"."""
        if self.gamma != "median":
            return self
        needs_gamma = self.kernel in ("rbf", "laplacian", "polynomial")
        norm = "l1" if self.kernel == "laplacian" else "l2"
        gamma = median_gamma(X, sample_weight=sample_weight, norm=norm) if needs_gamma else 1.0
        return replace(self, gamma=gamma)

    def matrix(self, X: Array, Y: Array | None = None, n_threads: int | None = None) -> Array:
        """K(X, Y), or K(X, X), for checked arrays of one dtype."""
        if not callable(self.kernel):
            K: Array = _core.kernel_matrix(X, Y, self.spec, thread_count(n_threads))
            return K
        K = np.empty((len(X), len(X if Y is None else Y)), dtype=X.dtype)
        for rows in _blocks(len(X), K.shape[1]):
            K[rows] = self._call(X[rows], X if Y is None else Y)
        return K

    def diagonal(self, X: Array) -> npt.NDArray[np.float64]:
        """k(x, x) of every row, for a callable: from its method ``diag`` where it has one (the kernels of
        scikit-learn's Gaussian processes do), else from small blocks."""
        diag = getattr(self.kernel, "diag", None)
        if callable(diag):
            values = np.asarray(diag(X), dtype=np.float64)
            if values.shape != (len(X),) or not np.all(np.isfinite(values)):
                raise ValueError(f"{self.name}.diag must return {len(X)} finite values, one per row")
            return values
        values = np.empty(len(X))
        for rows in _blocks(len(X), 1 << 16):
            values[rows] = np.diag(self._call(X[rows], X[rows]))
        return values

    def _call(self, X: Array, Y: Array) -> Array:
        function: Any = self.kernel
        K = np.asarray(function(X, Y))
        if K.shape != (len(X), len(Y)):
            raise ValueError(
                f"{self.name}: the callable returned shape {K.shape} for {len(X)} and {len(Y)} rows, "
                f"expected {(len(X), len(Y))}"
            )
        if K.dtype.kind not in "fiub":
            raise ValueError(f"{self.name}: the callable must return real numbers, got dtype {K.dtype}")
        if not np.all(np.isfinite(K)):
            i, j = np.argwhere(~np.isfinite(K))[0]
            raise ValueError(
                f"{self.name}: the callable returned {K[i, j]} at row {i}, column {j} of a block"
            )
        return K


class IncompleteCholesky(NamedTuple):
    """What :func:`fastcca.functional.incomplete_cholesky` returns."""

    features: Array
    pivots: npt.NDArray[np.intp]
    residual_trace: npt.NDArray[np.float64]


def kernel_matrix(
    X: npt.ArrayLike,
    Y: npt.ArrayLike | None = None,
    *,
    kernel: str | KernelFunction = "rbf",
    gamma: float | str = "median",
    degree: int = 3,
    coef0: float = 1.0,
    n_threads: int | None = None,
) -> Array:
    """Kernel values between the rows of X and those of Y.

    ============  =======================================
    rbf           exp(-gamma ||x - y||²)
    laplacian     exp(-gamma ||x - y||_1)
    polynomial    (gamma <x, y> + coef0)^degree
    linear        <x, y>
    cosine        <x, y> / (||x|| ||y||), 0 where a norm is 0
    ============  =======================================

    Parameters
    ----------
    X : array-like of shape (n, d)
        Rows; float32 and float64 are read in place, whatever their strides.
    Y : array-like of shape (m, d), optional
        Rows; by default those of X, and the result is then exactly symmetric with an exact diagonal.
    kernel : str or callable
        One of the table, or a function of two arrays of rows that returns their kernel values.
    gamma : float or "median"
        The width of rbf and laplacian, the scale of polynomial. "median": see :func:`median_gamma`, from X.
    degree : int
        Of the polynomial kernel.
    coef0 : float
        Of the polynomial kernel.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`.

    Returns
    -------
    ndarray of shape (n, m)
        float32 where X and Y are, else float64.

    Raises
    ------
    ValueError
        For NaN and infinity, different numbers of columns, parameters out of range, a callable that returns
        another shape or NaN.

    Examples
    --------
    >>> from fastcca.functional import kernel_matrix
    >>> kernel_matrix([[0.0], [1.0]], [[0.0], [2.0]], kernel="laplacian", gamma=1.0).round(4)
    array([[1.    , 0.1353],
           [0.3679, 0.3679]])
    """
    x = finite_matrix("X", X, vector=True)
    k = Kernel(kernel, gamma, degree, coef0).fitted(x)
    if Y is None:
        return k.matrix(x, None, n_threads)
    x, y = common_float([x, finite_matrix("Y", Y, vector=True)])
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"Y must have X's number of columns, {x.shape[1]}, got {y.shape[1]}")
    return k.matrix(x, y, n_threads)


def median_gamma(X: npt.ArrayLike, *, sample_weight: npt.ArrayLike | None = None, norm: str = "l2") -> float:
    """The median heuristic: 1 / median of the distances that the kernel takes, between the rows.

    These are ||x - y||² for "rbf" and ||x - y||_1 for "laplacian", so that neither depends on the unit of the
    data. Only positive distances count, between distinct rows of positive weight; all pairs of up to 1000
    distinct rows, else of a fixed sample of 1000.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Rows.
    sample_weight : array-like of shape (n,), optional
        Rows of weight 0 are left out; otherwise the weights change nothing.
    norm : {"l2", "l1"}
        Squared Euclidean distances, for kernels exp(-gamma ||x - y||²), or those of exp(-gamma ||x - y||_1).

    Returns
    -------
    float
        The width. 1.0 where there are no two different rows.

    Examples
    --------
    >>> from fastcca.functional import median_gamma
    >>> median_gamma([[0.0], [0.0], [2.0]])
    0.25
    """
    check_same_rows(X=X, sample_weight=sample_weight)
    x = finite_matrix("X", X, vector=True)
    choice("l1", "l2")("norm", norm)
    weights = as_weights(sample_weight, len(x))
    if weights is not None and not np.all(weights > 0):
        x = x[weights > 0]
    rows = _distinct_rows(x)
    if len(rows) < 2:
        return 1.0
    # In float64 and centred, whatever the data's dtype, and in a unit near the largest entry, whose square
    # may be beyond float64.
    largest = np.abs(rows).max()
    unit = float(np.exp2(np.floor(np.log2(largest)))) if largest > 0 else 1.0
    rows = rows / unit
    centred = rows - rows.mean(axis=0)
    if norm == "l1":
        from scipy.spatial.distance import pdist  # not at import time: the command line starts without it

        distances = pdist(centred, "cityblock")
    else:
        products = centred @ centred.T
        norms = np.diag(products)
        distances = (norms[:, None] + norms[None, :] - 2 * products)[np.triu_indices(len(rows), 1)]
    distances = distances[distances > 0]
    if not distances.size:
        return 1.0
    middle = np.median(distances)
    with np.errstate(over="ignore", under="ignore"):
        gamma = float(1 / middle / unit if norm == "l1" else 1 / middle / unit / unit)
    if not 0 < gamma < np.inf:
        exponent = np.log10(middle) / (1 if norm == "l1" else 2) + np.log10(unit)
        raise NumericalError(
            f"the median distance between rows, about 1e{exponent:+.0f}, "
            "is beyond the range of float64, or its square is: rescale the data, or give gamma"
        )
    return gamma


def incomplete_cholesky(
    X: npt.ArrayLike,
    *,
    kernel: str | KernelFunction = "rbf",
    gamma: float | str = "median",
    degree: int = 3,
    coef0: float = 1.0,
    rank: int = 1000,
    tol: float = 1e-8,
    pivoting: str = "greedy",
    block: int | None = None,
    random_state: int | np.random.RandomState | None = None,
    n_threads: int | None = None,
    verbose: bool = False,
) -> IncompleteCholesky:
    """Features G of low rank with G Gᵀ ≈ K(X, X), from the diagonal and m columns of K.

    Pivots are taken in blocks, so that the work, O(n m²), is products of matrices.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Rows.
    kernel, gamma, degree, coef0
        As in :func:`kernel_matrix`. A callable is called for blocks, with rows of X and the pivots' rows.
    rank : int
        The largest number of pivots m; above n it means n.
    tol : float
        In [0, 1): stop where the trace of K - G Gᵀ is at most tol times the trace of K. Where rounding leaves
        nothing of the residual (duplicate rows, a kernel of low rank) it stops too.
    pivoting : {"greedy", "random", "uniform"}
        "greedy": the row of the largest residual [1]_ [2]_. Candidates are the ``block`` largest residuals;
        inside the block the choice is exactly greedy, and a candidate whose residual falls below half of the
        current maximum is put back. "random": rows are drawn with probability proportional to their residuals
        (RPCholesky [3]_, by rejection [4]_), which does not chase outliers. "uniform": a uniformly random
        subset (Nyström [5]_).
    block : int, optional
        Candidates taken at a time; 1 is the textbook loop. By default rank / 8, at most 256.
    random_state : int, RandomState or None
        Seeds "random" and "uniform". The generator is the library's own: a seed draws the same on every
        platform and for every number of threads.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`.
    verbose : bool
        Show a progress bar on stderr.

    Returns
    -------
    features : ndarray of shape (n, m)
        G. ``features[pivots]`` is lower triangular, the Cholesky factor of K at the pivots.
    pivots : ndarray of shape (m,)
        Row indices, in the order taken.
    residual_trace : ndarray of shape (m,)
        The trace of K - G Gᵀ after each pivot.

    Raises
    ------
    NumericalError
        If the kernel is not positive semidefinite; names the pivot at which that showed.
    ValueError
        For bad data and parameters.

    References
    ----------
    .. [1] Fine & Scheinberg, "Efficient SVM training using low-rank kernel representations", JMLR 2, 2001.
    .. [2] Bach & Jordan, "Kernel independent component analysis", JMLR 3, 2002.
    .. [3] Chen, Epperly, Tropp & Webber, "Randomly pivoted Cholesky: practical approximation of a kernel
       matrix with few entry evaluations", Communications on Pure and Applied Mathematics 78, 2025.
    .. [4] Epperly, Tropp & Webber, "Embrace rejection: kernel matrix approximation by accelerated randomly
       pivoted Cholesky", arXiv:2410.03969, 2024.
    .. [5] Williams & Seeger, "Using the Nyström method to speed up kernel machines", NIPS 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import incomplete_cholesky, kernel_matrix
    >>> X = np.linspace(0, 1, 50)[:, None]
    >>> G, pivots, residual = incomplete_cholesky(X, gamma=1.0, tol=1e-10)
    >>> G.shape[1] < 10, bool(np.allclose(G @ G.T, kernel_matrix(X, gamma=1.0)))
    (True, True)
    """
    x = finite_matrix("X", X, vector=True)
    k = Kernel(kernel, gamma, degree, coef0).fitted(x)
    check_rank(rank, tol, pivoting)
    POSITIVE_INTEGER.or_none("block", block)
    factor = factorise(
        k,
        x,
        rank,
        tol,
        pivoting,
        block=block,
        random_state=random_state,
        n_threads=n_threads,
        verbose=verbose,
    )
    pivots = np.array(factor.pivots, dtype=np.intp)
    trace = factor.residual_trace
    # A row of memory per row of X holds as many features as were allowed for.
    features = factor.take_features()[: len(pivots)].T
    return IncompleteCholesky(np.ascontiguousarray(features), pivots, trace)


# For the estimators


def check_rank(rank: Any, tol: Any, pivoting: Any) -> None:
    POSITIVE_INTEGER("rank", rank)
    FRACTION("tol", tol)
    PIVOTING("pivoting", pivoting)


def factorise(
    kernel: Kernel,
    X: Array,
    rank: int,
    tol: float,
    pivoting: str,
    *,
    block: int | None = None,
    random_state: Any = None,
    sample_weight: npt.NDArray[np.float64] | None = None,
    name: str = "X",
    n_threads: int | None = None,
    verbose: bool = False,
) -> Any:
    """The core's factorisation of K(X, X), run to its end."""
    seed = 0 if pivoting == "greedy" else _seed(random_state)
    options = (
        min(int(rank), len(X)),
        float(tol),
        pivoting,
        min(int(block or 0), len(X)),
        seed,
        sample_weight,
        name,
    )
    core = _core.PivotedCholesky32 if X.dtype == np.float32 else _core.PivotedCholesky64
    if callable(kernel.kernel):
        k = kernel

        def columns(pivots: list[int]) -> Array:
            return np.ascontiguousarray(k.matrix(X, X[pivots]).T)

        def square(rows: list[int]) -> Array:
            K = np.asarray(k.matrix(X[rows]), dtype=np.float64)
            if not np.allclose(K, K.T, rtol=1e-5, atol=1e-5 * np.abs(K).max()):
                raise ValueError(f"{k.name}: the callable's values are not symmetric")
            return K

        factor = core(k.diagonal(X), columns, square, *options)
    else:
        factor = core(X, kernel.spec, *options)
    from tqdm.auto import tqdm  # not at import time: the command line starts without it

    with tqdm(total=options[0], desc=f"{name}: pivots", disable=not verbose) as bar:
        while factor.step(thread_count(n_threads)):
            bar.set_postfix(residual=f"{factor.residual_trace[-1] / factor.trace:.1e}", refresh=False)
            bar.update(factor.rank - bar.n)
    return factor


def _seed(random_state: Any) -> int:
    from sklearn.utils import check_random_state  # slow to import, and seldom needed here

    return int(check_random_state(random_state).randint(2**31 - 1))


def _distinct_rows(x: Array) -> npt.NDArray[np.float64]:
    """Up to _MEDIAN_ROWS distinct rows; a fixed sample where there are more."""
    some = 4 * _MEDIAN_ROWS
    if len(x) > some:
        order = np.random.RandomState(0).choice(len(x), some, replace=False)
        rows = np.unique(np.asarray(x[np.sort(order)], dtype=np.float64), axis=0)
        if len(rows) < _MEDIAN_ROWS:  # many duplicates
            rows = np.unique(np.asarray(x, dtype=np.float64), axis=0)
    else:
        rows = np.unique(np.asarray(x, dtype=np.float64), axis=0)
    if len(rows) > _MEDIAN_ROWS:
        rows = rows[np.sort(np.random.RandomState(1).choice(len(rows), _MEDIAN_ROWS, replace=False))]
    return rows


def _blocks(n_rows: int, columns: int) -> list[slice]:
    """Slices of rows of some _CALL_ELEMENTS values each."""
    size = max(64, _CALL_ELEMENTS // max(columns, 1))
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def landmark_factor(K: Array, n_threads: int | None) -> tuple[npt.NDArray[np.float64], int]:
    """The Cholesky factor of the kernel between landmarks, and the first pivot lost to rounding, or -1."""
    return _core.landmark_factor(K, thread_count(n_threads))


def landmark_coefficients(
    factor: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], n_threads: int | None
) -> npt.NDArray[np.float64]:
    """Coefficients of functions in the landmarks' kernel columns, from weights of their features."""
    return _core.landmark_coefficients(factor, weights, thread_count(n_threads))


def kernel_scores(
    rows: Array,
    landmarks: Array,
    kernel: Kernel,
    coefficients: npt.NDArray[np.float64],
    offset: npt.NDArray[np.float64],
    name: str,
    n_threads: int | None,
) -> Array:
    """k(rows, landmarks) @ coefficients - offset; of a callable kernel ``rows`` are its values."""
    count = thread_count(n_threads)
    return _core.kernel_scores(rows, landmarks, kernel.spec, coefficients, offset, name, count).T


def feature_moments(single: bool, x: Any, y: Any, with_cross: bool) -> Any:
    """What gathers the moments of the features of two views, given as their maps, in one pass."""
    return (_core.FeatureMoments32 if single else _core.FeatureMoments64)(x, y, with_cross, ["X", "y"])


def solve_dual(
    Kx: npt.NDArray[np.float64],
    Ky: npt.NDArray[np.float64],
    bach_jordan: bool,
    shift: tuple[float, float],
    k: int,
    tol: float,
    n_threads: int | None,
) -> Any:
    """Singular values, coefficients and scores with every row a landmark; None where that is not accurate."""
    return _core.solve_dual(Kx, Ky, bach_jordan, shift, k, tol, thread_count(n_threads))
