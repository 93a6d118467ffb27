"""Partial least squares from covariances: regression, canonical and by one singular value decomposition."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import pinv

from fastcca import _core
from fastcca._arguments.parameters import thread_count
from fastcca.functional._docs import documented
from fastcca.functional.linalg import product
from fastcca.functional.multiview import fixed_signs

__all__ = ["PLSFactors", "pls_canonical", "pls_regression", "pls_svd"]

Array = npt.NDArray[np.float64]
SMALL = 64  # covariances this many roundings of the first ones count as nothing


class PLSFactors(NamedTuple):
    """What PLS finds; rotations map the centred columns of a view to its scores.

    Attributes
    ----------
    x_weights, y_weights : ndarray of shape (p, k), (q, k)
        Directions in the deflated views.
    x_loadings, y_loadings : ndarray of shape (p, k), (q, k)
        Regressions of the columns on the scores by which the view is deflated.
    x_rotations, y_rotations : ndarray of shape (p, k), (q, k)
        Directions in the views as they are.
    covariances : ndarray of shape (k,)
        Covariance of each pair of scores.
    """

    x_weights: Array
    y_weights: Array
    x_loadings: Array
    y_loadings: Array
    x_rotations: Array
    y_rotations: Array
    covariances: Array


def pls_regression(
    Sxx: Array, Sxy: Array, n_components: int, rounding: float, n_threads: int | None = None
) -> PLSFactors:
    """PLS regression (PLS1 and PLS2) by the improved kernel algorithm, number 2.

    w the first left singular vector of S_xy; r = w − Σ (p_j'w) r_j; t't = r'S_xx r; p = S_xx r / t't;
    q = S_xy' r / t't; S_xy −= p q' t't.

    Parameters
    ----------
    Sxx, Sxy : ndarray of shape (p, p), (p, q)
        Covariances, in whatever units the columns are to have.
    n_components : int
        Upper bound; fewer where nothing of S_xy is left.
    rounding : float
        Relative rounding error of the covariances.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    PLSFactors

    References
    ----------
    B. S. Dayal and J. F. MacGregor, "Improved PLS algorithms", Journal of Chemometrics 11, 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional.pls import pls_regression
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> S = np.cov(X.T)
    >>> factors = pls_regression(S, S @ [[1.0], [2.0], [3.0]], 3, 1e-16)
    >>> (factors.x_rotations @ factors.y_loadings.T).round(6).ravel()
    array([1., 2., 3.])
    """
    rest = Sxy.copy()
    W: list[Array] = []
    P: list[Array] = []
    Q: list[Array] = []
    R: list[Array] = []
    covariances = []
    first = 0.0
    for _ in range(n_components):
        w, _, size = _first_pair(rest, n_threads)
        first = first or size
        if not size > SMALL * rounding * first:
            break
        r = w.copy()
        for p_j, r_j in zip(P, R, strict=True):
            r -= (p_j @ w) * r_j
        with_r = product(Sxx, r[:, np.newaxis], n_threads)[:, 0]
        tt = r @ with_r
        if not tt > 0:
            break
        p_k, q_k = with_r / tt, Sxy.T @ r / tt
        rest -= np.outer(p_k, tt * q_k)
        W.append(w)
        P.append(p_k)
        Q.append(q_k)
        R.append(r)
        covariances.append(size)
    p, q = Sxy.shape
    y_loadings = _columns(Q, q)
    return PLSFactors(
        _columns(W, p),
        y_loadings,
        _columns(P, p),
        y_loadings,
        _columns(R, p),
        y_loadings @ pinv(y_loadings.T @ y_loadings),
        np.array(covariances),
    )


@documented
def pls_canonical(
    Sxx: Array, Sxy: Array, Syy: Array, n_components: int, rounding: float, n_threads: int | None = None
) -> PLSFactors:
    """PLS canonical (mode A, both views deflated by their own scores), from covariances alone.

    With t = X w, u = y v: p = S_xx w / t't, c = S_yy v / u'u, S_xx −= t't p p', S_yy −= u'u c c',
    S_xy −= p (w'S_xy) + (S_xy v) c' − (w'S_xy v) p c'.

    Parameters
    ----------
    Sxx, Sxy, Syy : ndarray of shape (p, p), (p, q), (q, q)
        Covariances, in whatever units the columns are to have.
    {as_pls_regression}

    References
    ----------
    J. A. Wegelin, "A survey of partial least squares (PLS) methods, with emphasis on the two-block case",
    University of Washington, technical report 371, 2000.
    """
    xx, xy, yy = Sxx.copy(), Sxy.copy(), Syy.copy()
    W, V, P, C, covariances = [], [], [], [], []
    first = 0.0
    for _ in range(n_components):
        w, v, size = _first_pair(xy, n_threads)
        first = first or size
        if not size > SMALL * rounding * first:
            break
        xw, yv, wxy, xyv = xx @ w, yy @ v, w @ xy, xy @ v
        tt, uu = w @ xw, v @ yv
        if not (tt > 0 and uu > 0):
            break
        p, c = xw / tt, yv / uu
        xx -= np.outer(tt * p, p)
        yy -= np.outer(uu * c, c)
        xy -= np.outer(p, wxy) + np.outer(xyv - (wxy @ v) * p, c)
        W.append(w)
        V.append(v)
        P.append(p)
        C.append(c)
        covariances.append(size)
    x_weights, y_weights = _columns(W, len(Sxx)), _columns(V, len(Syy))
    x_loadings, y_loadings = _columns(P, len(Sxx)), _columns(C, len(Syy))
    return PLSFactors(
        x_weights,
        y_weights,
        x_loadings,
        y_loadings,
        x_weights @ pinv(x_loadings.T @ x_weights),
        y_weights @ pinv(y_loadings.T @ y_weights),
        np.array(covariances),
    )


@documented
def pls_svd(Sxy: Array, n_components: int, rounding: float, n_threads: int | None = None) -> PLSFactors:
    """The singular vectors of S_xy; weights are rotations, and loadings as well, for want of deflation.

    Parameters
    ----------
    Sxy : ndarray of shape (p, q)
        Covariances, in whatever units the columns are to have.
    {as_pls_regression}
    """
    U, s, V = _core.truncated_svd(Sxy, n_components, 1e-12, thread_count(n_threads))
    k = int((s > SMALL * rounding * s[0]).sum())
    U, V = U[:, :k], V[:, :k]
    signs = fixed_signs(U)
    U, V = U * signs, V * signs
    return PLSFactors(U, V, U, V, U, V, s[:k])


def _first_pair(S: Array, n_threads: int | None) -> tuple[Array, Array, float]:
    """The first singular vectors of S and its largest singular value; the left one by the sign rule."""
    if min(S.shape) > 64:
        U, s, V = _core.truncated_svd(S, 1, 1e-14, thread_count(n_threads))
        w, v, size = U[:, 0], V[:, 0], float(s[0])
    else:  # from the eigenvectors of the smaller of S'S and SS'
        wide = S.shape[0] < S.shape[1]
        A = S.T if wide else S
        scale = float(np.abs(A).max(initial=0.0))
        if scale == 0:
            return np.zeros(S.shape[0]), np.zeros(S.shape[1]), 0.0
        v = np.linalg.eigh((A / scale).T @ (A / scale))[1][:, -1]
        w = A @ v
        size = float(np.linalg.norm(w))
        w = w / size
        if wide:
            w, v = v, w
    sign = float(fixed_signs(w[:, np.newaxis])[0])
    return sign * w, sign * v, size


def _columns(vectors: list[Array], length: int) -> Array:
    return np.column_stack(vectors) if vectors else np.zeros((length, 0))
