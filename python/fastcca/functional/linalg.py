"""Functions of one matrix: inverse square root, polar factor, leading singular triplets."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastcca import _core
from fastcca._arguments.arrays import finite_matrix
from fastcca._arguments.parameters import FRACTION, POSITIVE, K, at_most, thread_count
from fastcca.errors import NumericalError

__all__ = ["inverse_sqrt", "polar", "truncated_svd"]

Array = npt.NDArray[Any]


def inverse_sqrt(S: npt.ArrayLike, floor: float | None = None, n_threads: int | None = None) -> Array:
    """The symmetric inverse square root of a positive semi-definite matrix.

    S^(-1/2) = V diag(lambda)^(-1/2) V' from the eigendecomposition S = V diag(lambda) V'. Of all matrices W
    with W'SW = I it is the one that moves centred data of covariance S the least in mean square (ZCA).

    Parameters
    ----------
    S : array-like of shape (d, d)
        Symmetric, without negative eigenvalues but for rounding.
    floor : float, optional
        In [0, 1). Directions with an eigenvalue at or below ``floor`` times the largest are dropped, so that
        of a singular S this is the root of its pseudo-inverse. By default eps · d, with eps of S's dtype.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. The result does not depend on it.

    Returns
    -------
    ndarray of shape (d, d)
        Symmetric. float32 where S is float32 (computed in float64), else float64.

    Raises
    ------
    ValueError
        If S is empty, not square, not symmetric or not finite, or ``floor`` is outside [0, 1).
    fastcca.NumericalError
        If an eigenvalue lies below -``floor`` times the largest: S is not positive semi-definite.

    References
    ----------
    N. J. Higham, "Functions of Matrices: Theory and Computation", SIAM 2008, chapter 6.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import inverse_sqrt
    >>> S = np.array([[4.0, 0.0], [0.0, 0.25]])
    >>> inverse_sqrt(S)
    array([[0.5, 0. ],
           [0. , 2. ]])
    """
    matrix, dtype = _checked(S, "S")
    d = len(matrix)
    if matrix.shape != (d, d):
        raise ValueError(f"S must be square, got shape {matrix.shape}")
    eps = float(np.finfo(dtype).eps)
    if np.max(np.abs(matrix - matrix.T)) > 100 * eps * np.max(np.abs(matrix)):
        raise ValueError("S must be symmetric, got entries that differ from those of its transpose")
    if floor is None:
        floor = eps * d
    else:
        FRACTION("floor", floor)
    return _core.inverse_sqrt(matrix, floor, thread_count(n_threads)).astype(dtype, copy=False)


def polar(T: npt.ArrayLike, n_threads: int | None = None) -> Array:
    """The orthogonal polar factor: the nearest matrix with orthonormal columns.

    P = U V' from the singular value decomposition T = U D V', where D > 0. It maximises tr(P'T) over the
    matrices with orthonormal columns (rows, where T is wide); the maximum is the sum of T's singular values.

    Parameters
    ----------
    T : array-like of shape (m, n)
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. The result does not depend on it.

    Returns
    -------
    ndarray of shape (m, n)
        float32 where T is float32 (computed in float64), else float64. Of a rank-deficient T it is the
        partial isometry of the same rank: singular values up to eps · max(m, n) times the largest, with eps
        of T's dtype, count as zero, since their vectors are arbitrary. Of zero it is zero.

    Raises
    ------
    ValueError
        If T is empty or not finite.

    References
    ----------
    Y. Nakatsukasa, Z. Bai and F. Gygi, "Optimizing Halley's iteration for computing the matrix polar
    decomposition", SIAM J. Matrix Anal. Appl. 31 (2010), for well-conditioned T; a singular value
    decomposition for the others.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import polar
    >>> P = polar([[0.0, -3.0], [2.0, 0.0]])
    >>> np.round(P, 12) + 0.0
    array([[ 0., -1.],
           [ 1.,  0.]])
    """
    matrix, dtype = _checked(T, "T")
    return _core.polar(matrix, float(np.finfo(dtype).eps), thread_count(n_threads)).astype(dtype, copy=False)


def truncated_svd(
    A: npt.ArrayLike, k: int, tol: float = 1e-12, n_threads: int | None = None
) -> tuple[Array, Array, Array]:
    """The k leading singular triplets, A v = s u and A'u = s v.

    Block Krylov iteration with a fixed start and checked residuals; the full decomposition where A is small,
    k is not small against min(p, q), or the iteration does not converge in time. Repeated singular values
    and rank-deficient matrices are no exception.

    Parameters
    ----------
    A : array-like of shape (p, q)
    k : int
        Number of triplets, from 1 to min(p, q).
    tol : float
        Above 0: the largest residual norm, relative to the largest singular value, that the iteration may
        end with. Singular values are then accurate to about its square, or to rounding.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. The result does not depend on it.

    Returns
    -------
    U : ndarray of shape (p, k)
        Left singular vectors. In each column the entry of largest magnitude is positive.
    s : ndarray of shape (k,)
        Singular values, descending.
    Vt : ndarray of shape (k, q)
        Right singular vectors, transposed, as :func:`numpy.linalg.svd` has them. All three are float32 where
        A is float32 (computed in float64), else float64.

    Raises
    ------
    TypeError
        If k is not an integer.
    ValueError
        If A is empty or not finite, k is outside 1 to min(p, q), or tol is not above 0.

    References
    ----------
    J. A. Tropp and R. J. Webber, "Randomized algorithms for low-rank matrix approximation: design, analysis,
    and applications", arXiv:2306.12418, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import truncated_svd
    >>> A = np.array([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    >>> U, s, Vt = truncated_svd(A, k=1)
    >>> float(np.round(s[0], 12))
    3.0
    """
    matrix, dtype = _checked(A, "A")
    k, most = K("k", k), min(matrix.shape)
    at_most("k", k, most, f"min(p, q) = {most}, the smaller side of A")
    POSITIVE("tol", tol)
    U, s, V = _core.truncated_svd(matrix, k, tol, thread_count(n_threads))
    signs = np.where(U[np.argmax(np.abs(U), axis=0), np.arange(k)] < 0, -1.0, 1.0)
    with np.errstate(over="ignore"):
        s = s.astype(dtype, copy=False)
    if not np.isfinite(s).all():
        raise NumericalError(f"the singular values of A overflow {dtype}: scale A down")
    return (
        (U * signs).astype(dtype, copy=False),
        s,
        (V * signs).T.astype(dtype, copy=False),
    )


def _checked(value: npt.ArrayLike, name: str) -> tuple[npt.NDArray[np.float64], np.dtype[Any]]:
    """The matrix in float64 and the dtype of the answer."""
    a = finite_matrix(name, value, vector=True)
    return a.astype(np.float64, copy=False), a.dtype


def largest_eigenvalues(
    stack: npt.NDArray[np.float64], n_threads: int | None = None
) -> npt.NDArray[np.float64]:
    """(b,): the largest eigenvalue of each symmetric matrix of a stack (b, n, n), of entries of about 1.

    LAPACK finds all of them, of one matrix at a time, which takes several times as long with few columns.
    """
    b, n, _ = stack.shape
    rows = np.ascontiguousarray(stack).reshape(b, n * n)
    return _core.largest_eigenvalues(rows, n, thread_count(n_threads))


def product(A: npt.NDArray[np.float64], B: npt.NDArray[np.float64], n_threads: int | None = None) -> Array:
    """A B of float64 matrices on the package's own threads.

    A call of NumPy's product leaves threads behind that spin for some 25 ms, at the cost of whatever
    runs next: a fit of ten milliseconds makes none.
    """
    return _core.product(A, B, thread_count(n_threads))


def solve_positive(
    A: npt.NDArray[np.float64],
    B: npt.NDArray[np.float64],
    floor: float = 0.0,
    n_threads: int | None = None,
) -> Array | None:
    """A^-1 B of a positive definite A; None if a pivot of its Cholesky factor is not above ``floor``."""
    return _core.solve_positive(A, B, floor, thread_count(n_threads))


def unit_rows(a: Array) -> npt.NDArray[np.float64]:
    """Rows of length 1, whatever their scale; zeros stay."""
    largest = np.abs(a).max(axis=1, keepdims=True, initial=0.0)
    out: npt.NDArray[np.float64] = a / np.where(largest > 0, largest, 1.0)
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1.0)
    return out
