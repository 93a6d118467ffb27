"""CCA of very wide or sparse views: products with the data alone, no covariance matrix and no copy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from fastcca._arguments.arrays import as_weights, check_same_length, refuse_non_finite
from fastcca._arguments.parameters import (
    FLAG,
    N_COMPONENTS,
    POSITIVE,
    POSITIVE_INTEGER,
    RIDGES,
    at_most,
    thread_count,
)
from fastcca._arguments.sparse import as_rows, is_sparse
from fastcca.errors import NumericalError
from fastcca.functional.linalg import product, truncated_svd
from fastcca.functional.sparse_moments import column_moments, worker_count

__all__ = ["MatrixFreeSolution", "solve_matrix_free"]

Floats = NDArray[np.float64]

# Directions beyond those asked for, with which they converge sooner.
MORE = 6
# The search spaces grow to so many blocks, and are then reduced to so many.
MOST_BLOCKS, KEPT_BLOCKS = 8, 3
# Squared lengths, relative to those before, that are not worth a new direction.
ROUNDING = 1e-20
# Runs of rows that are multiplied at a time.
RUNS = 8
DENSE_BYTES = 1 << 25


class MatrixFreeSolution(NamedTuple):
    """Pairs of directions with what the pass over the data gave besides.

    Attributes
    ----------
    singular_values : ndarray of shape (k,)
        Those of T, descending.
    x_weights, y_weights : ndarray of shape (p, k), (q, k)
        Of the columns as they came; constant columns have weight 0.
    residuals : ndarray of shape (k,)
        Norms of the residuals of both equations of each pair, in the metric of the variances: an error of
        a singular value is of the order of their square.
    n_iter : int
        Iterations that were made.
    means, variances, scales : tuple of ndarray
        Of the columns of X and y; scales are standard deviations with ``scale=True``, else ones.
    score_covariance : ndarray of shape (2k, 2k)
        Of the scores [Zx, Zy].
    x_covariance, y_covariance : ndarray of shape (p, 2k), (q, 2k)
        Of the columns with these scores.
    """

    singular_values: Floats
    x_weights: Floats
    y_weights: Floats
    residuals: Floats
    n_iter: int
    means: tuple[Floats, Floats]
    variances: tuple[Floats, Floats]
    scales: tuple[Floats, Floats]
    score_covariance: Floats
    x_covariance: Floats
    y_covariance: Floats


def solve_matrix_free(
    X: Any,
    y: Any,
    n_components: int,
    reg: float | tuple[float, float] = 0.0,
    sample_weight: npt.ArrayLike | None = None,
    *,
    scale: bool = False,
    tol: float = 1e-8,
    max_iter: int = 500,
    n_threads: int | None = None,
) -> MatrixFreeSolution:
    r"""The leading pairs of regularised CCA, by products with X and y and their transposes alone.

    Two search spaces, one in each view, are orthonormal in :math:`S_{ii} + r_i I`; the singular triplets of
    :math:`T` between them are the best that they hold. The spaces grow by the residuals
    :math:`S_{12} w_2 - \sigma (S_{11} + r_1 I) w_1` (and the other way round) divided by the regularised
    variances, and shrink to the best directions where they have become large. Centring is a correction of
    rank one to each product, so that sparse data stay sparse: memory is that of the data and of some
    hundred vectors of n, p and q numbers.

    Parameters
    ----------
    X, y : array-like or sparse matrix of shape (n, p), (n, q)
        Views, paired by row.
    n_components : int
        Number of pairs, at most min(p, q).
    reg : float or tuple of two float, default=0.0
        Ridge of both views or (r1, r2). A view with as many columns as rows needs one.
    sample_weight : array-like of shape (n,), optional
        Weights >= 0, which count as repetitions of a row.
    scale : bool, default=False
        Divide each column by its standard deviation first.
    tol : float, default=1e-8
        Largest residual.
    max_iter : int, default=500
        Iterations at most.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    MatrixFreeSolution
        With residuals above ``tol`` where ``max_iter`` was not enough.

    Raises
    ------
    ValueError
        For views that do not pair, NaN or infinity, a view without a ridge that has as many columns that
        vary as there are rows.
    NumericalError
        If every column of a view is constant, or products overflow.

    References
    ----------
    E. R. Davidson, "The iterative calculation of a few of the lowest eigenvalues and corresponding
    eigenvectors of large real-symmetric matrices", Journal of Computational Physics 17, 1975.

    Examples
    --------
    >>> import numpy as np, scipy.sparse
    >>> from fastcca import CCA
    >>> from fastcca.functional import solve_matrix_free
    >>> X = scipy.sparse.random_array((500, 40), density=0.1, rng=np.random.default_rng(0), format="csr")
    >>> Y = X[:, :20] + X[:, 20:]
    >>> found = solve_matrix_free(X, Y, 3, reg=1e-3)
    >>> dense = CCA(3, reg=1e-3).fit(X.toarray(), Y.toarray())
    >>> bool(np.allclose(found.singular_values, dense.singular_values_, atol=1e-10))
    True
    """
    rows = as_rows("X", X, min_rows=2), as_rows("y", y, vector=True, min_rows=2)
    check_same_length(X=rows[0], y=rows[1])
    weights = as_weights(sample_weight, rows[0].shape[0], more_than=1.0)
    p, q = rows[0].shape[1], rows[1].shape[1]
    if N_COMPONENTS("n_components", n_components) is None:
        raise ValueError("n_components must be an integer >= 1, got None: the leading pairs alone are found")
    at_most("n_components", n_components, min(p, q), f"min(p, q) = {min(p, q)}")
    ridges = RIDGES("reg", reg)
    FLAG("scale", scale)
    POSITIVE("tol", tol)
    POSITIVE_INTEGER("max_iter", max_iter)
    thread_count(n_threads)
    workers = worker_count(n_threads)
    with ThreadPoolExecutor(workers) as pool:
        run = pool.map if workers > 1 else map
        with np.errstate(over="ignore", invalid="ignore"):
            views = [
                _Centred(name, data, weights, ridge, scale, run, n_threads)
                for name, data, ridge in zip("Xy", rows, ridges, strict=True)
            ]
            return _solve(views[0], views[1], int(n_components), tol, max_iter)


class _Centred:
    """Products with a centred view, its columns divided by their units, its rows by the weights' roots."""

    def __init__(
        self,
        name: str,
        data: Any,
        weights: Floats | None,
        ridge: float,
        scale: bool,
        run: Callable[..., Any],
        n_threads: int | None,
    ) -> None:
        self.ridge, self.run, self.n_threads = ridge, run, n_threads
        self.rows, self.columns = data.shape
        self.roots = np.ones(self.rows) if weights is None else np.sqrt(weights)
        if is_sparse(data):
            self.n, self.mean, scatter = column_moments(data, weights)
        else:
            refuse_non_finite(name, data)
            self.n, self.mean, scatter = _dense_moments(data, weights)
        if not np.isfinite(scatter).all():
            raise NumericalError(f"the variances of {name} overflow: scale the data down")
        eps = float(np.finfo(data.dtype).eps)
        varies = np.sqrt(scatter / self.n) > 4 * eps * np.abs(self.mean)
        self.variance = np.where(varies, scatter, 0.0) / (self.n - 1)
        self.rank = min(int(varies.sum()), int(np.count_nonzero(self.roots)) - 1)
        if not varies.any():
            raise NumericalError(f"every column of {name} is constant")
        if ridge == 0 and varies.sum() > self.rank:
            raise ValueError(
                f"{name} has {int(varies.sum())} columns that vary and {self.rank + 1} rows: every "
                "correlation would be 1. Give it a ridge (reg > 0)"
            )
        self.units = np.sqrt(np.where(varies, self.variance, 1.0)) if scale else np.ones(self.columns)
        self.inverse = np.where(varies, 1 / self.units, 0.0)
        # what residuals are divided by: the regularised variances
        self.diagonal = np.where(varies, self.variance * self.inverse**2 + ridge, 1.0)
        step = -(-self.rows // RUNS)
        if not is_sparse(data):
            step = max(1, min(step, DENSE_BYTES // (8 * self.columns)))
        self.runs = [slice(start, min(self.rows, start + step)) for start in range(0, self.rows, step)]
        self.parts = [self._part(data, rows, weights) for rows in self.runs]

    def _part(self, data: Any, rows: slice, weights: Floats | None) -> Any:
        part = data[rows]
        if is_sparse(data):
            part = part.astype(np.float64)
            if weights is not None:
                part.data *= np.repeat(self.roots[rows], np.diff(part.indptr))
        return part

    def _dense(self, part: Any, rows: slice) -> Any:
        """A run of rows, centred if it is dense."""
        return part if is_sparse(part) else (part - self.mean) * self.roots[rows, np.newaxis]

    def times(self, V: Floats) -> Floats:
        """Z V of the centred, weighted, scaled view Z, shape (rows, b)."""
        V = np.ascontiguousarray(V * self.inverse[:, np.newaxis])
        shift = self.mean @ V
        out = np.empty((self.rows, V.shape[1]))

        def fill(i: int) -> None:
            rows, part = self.runs[i], self._dense(self.parts[i], self.runs[i])
            if is_sparse(part):
                out[rows] = part @ V - np.outer(self.roots[rows], shift)
            else:
                out[rows] = product(part, V, 1)

        list(self.run(fill, range(len(self.runs))))
        return out

    def transposed(self, U: Floats) -> Floats:
        """Z'U, shape (columns, b)."""

        def part_of(i: int) -> Floats:
            rows, part = self.runs[i], self._dense(self.parts[i], self.runs[i])
            if is_sparse(part):
                across: Floats = part.T @ U[rows] - np.outer(self.mean, self.roots[rows] @ U[rows])
                return across
            return product(part.T, U[rows], 1)

        out = np.zeros((self.columns, U.shape[1]))
        for part in self.run(part_of, range(len(self.runs))):  # in their order
            out += part
        out *= self.inverse[:, np.newaxis]
        return out


class _Space:
    """Directions of a view, orthonormal in S + rI, and their scores Z V."""

    def __init__(self, view: _Centred) -> None:
        self.view = view
        self.V, self.F = np.zeros((view.columns, 0)), np.zeros((view.rows, 0))

    @property
    def size(self) -> int:
        return int(self.V.shape[1])

    def inner(self, V: Floats, F: Floats, W: Floats, G: Floats) -> Floats:
        """V'(S + rI)W with F = Z V and G = Z W."""
        threads = self.view.n_threads
        out = product(F.T, G, threads) / (self.view.n - 1)
        return out + self.view.ridge * product(V.T, W, threads) if self.view.ridge else out

    def grow(self, W: Floats) -> int:
        """Add these directions but for what is in the space already; how many were new."""
        G = self.view.times(W)
        threads = self.view.n_threads
        for _ in range(2):
            before = self.inner(W, G, W, G).diagonal()
            if self.size:
                C = self.inner(self.V, self.F, W, G)
                W, G = W - product(self.V, C, threads), G - product(self.F, C, threads)
            gram = self.inner(W, G, W, G)
            # what is left of a direction within the space is rounding
            there = gram.diagonal() > ROUNDING * np.maximum(before, 0.0)
            if not there.any():
                return 0
            size = np.sqrt(gram.diagonal()[there])
            values, vectors = np.linalg.eigh(gram[np.ix_(there, there)] / np.outer(size, size))
            kept = values > 1e-10 * values[-1]
            R = np.zeros((len(there), int(kept.sum())))
            R[there] = vectors[:, kept] / np.sqrt(values[kept]) / size[:, np.newaxis]
            W, G = product(W, R, threads), product(G, R, threads)
        self.V, self.F = np.hstack([self.V, W]), np.hstack([self.F, G])
        return int(W.shape[1])

    def turned(self, R: Floats) -> tuple[Floats, Floats]:
        return product(self.V, R, self.view.n_threads), product(self.F, R, self.view.n_threads)


def _solve(x: _Centred, y: _Centred, k: int, tol: float, max_iter: int) -> MatrixFreeSolution:
    n, threads = x.n, x.n_threads
    k = min(k, x.rank, y.rank)
    block = min(k + MORE, x.rank, y.rank)
    spaces = _Space(x), _Space(y)
    rng = np.random.default_rng(0)
    start = rng.standard_normal((x.columns, block)) * (x.inverse > 0)[:, np.newaxis]
    spaces[0].grow(start / np.sqrt(x.diagonal)[:, np.newaxis])
    spaces[1].grow(y.transposed(spaces[0].F) / y.diagonal[:, np.newaxis])
    iteration = 0
    while True:
        sx, sy = spaces
        if not sy.size:
            raise NumericalError("X and y have no covariance at all: there is nothing to find")
        T = product(sx.F.T, sy.F, threads) / (n - 1)
        if not np.isfinite(T).all():
            raise NumericalError("the products of X and y overflow: scale the data down")
        kept = min(KEPT_BLOCKS * block, *T.shape)
        U, values, Vt = truncated_svd(T, kept, tol=1e-14, n_threads=threads)
        wanted = min(block, kept)
        sigma = values[:wanted]
        (vx, fx), (vy, fy) = sx.turned(U[:, :wanted]), sy.turned(Vt[:wanted].T)
        rx = x.transposed(fy - fx * sigma) / (n - 1) - x.ridge * vx * sigma
        ry = y.transposed(fx - fy * sigma) / (n - 1) - y.ridge * vy * sigma
        squares = (rx**2 / x.diagonal[:, np.newaxis]).sum(axis=0)
        squares += (ry**2 / y.diagonal[:, np.newaxis]).sum(axis=0)
        residuals = np.sqrt(squares)
        found = min(k, wanted)
        if residuals[:found].max() <= tol or iteration >= max_iter:
            break
        iteration += 1
        if max(sx.size, sy.size) + wanted > MOST_BLOCKS * block:
            for space, R in ((sx, U), (sy, Vt.T)):
                space.V, space.F = space.turned(np.ascontiguousarray(R))
        open_ = residuals > 0.1 * tol
        new = sx.grow(rx[:, open_] / x.diagonal[:, np.newaxis])
        new += sy.grow(ry[:, open_] / y.diagonal[:, np.newaxis])
        if not new:  # the spaces are all that there is
            break
    wx, wy = (w[:, :found] * view.inverse[:, np.newaxis] for w, view in ((vx, x), (vy, y)))
    F = np.hstack([fx[:, :found], fy[:, :found]])
    of_x, of_y = (view.transposed(F) * view.units[:, np.newaxis] / (n - 1) for view in (x, y))
    return MatrixFreeSolution(
        sigma[:found],
        wx,
        wy,
        residuals[:found],
        iteration,
        (x.mean, y.mean),
        (x.variance, y.variance),
        (x.units, y.units),
        product(F.T, F, threads) / (n - 1),
        of_x,
        of_y,
    )


def _dense_moments(data: NDArray[Any], weights: Floats | None) -> tuple[float, Floats, Floats]:
    """Sum of the weights, means and scatter of dense columns, in blocks of columns."""
    w = np.ones(len(data)) if weights is None else weights
    n = float(w.sum())
    mean, scatter = np.empty(data.shape[1]), np.empty(data.shape[1])
    step = max(1, DENSE_BYTES // (8 * len(data)))
    for start in range(0, data.shape[1], step):
        block = slice(start, start + step)
        part = data[:, block].astype(np.float64)
        shift = part[int(w.argmax())].copy()
        part -= shift  # a constant column becomes exactly 0
        offset = w @ part / n
        mean[block] = shift + offset
        scatter[block] = w @ (part - offset) ** 2
    return n, mean, scatter
