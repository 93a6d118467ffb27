"""Slow, obvious kernels, incomplete Cholesky and kernel CCA."""

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Array = NDArray[Any]


def kernel(
    X: Array, Y: Array, name: str, gamma: float = 1.0, degree: int = 3, coef0: float = 1.0
) -> NDArray[np.float64]:
    """One entry after the other."""
    X, Y = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    K = np.empty((len(X), len(Y)))
    for i, x in enumerate(X):
        for j, y in enumerate(Y):
            if name == "rbf":
                K[i, j] = np.exp(-gamma * np.sum((x - y) ** 2))
            elif name == "laplacian":
                K[i, j] = np.exp(-gamma * np.sum(np.abs(x - y)))
            elif name == "polynomial":
                K[i, j] = (gamma * (x @ y) + coef0) ** degree
            elif name == "linear":
                K[i, j] = x @ y
            elif name == "cosine":
                norm = np.linalg.norm(x) * np.linalg.norm(y)
                K[i, j] = x @ y / norm if norm > 0 else 0.0
    return K


def median_gamma(X: Array) -> float:
    rows = np.unique(X, axis=0)
    squares = [np.sum((a - b) ** 2) for i, a in enumerate(rows) for b in rows[:i]]
    return float(1 / np.median(squares))


def greedy_cholesky(K: Array, rank: int, tol: float) -> tuple[Array, list[int], list[float]]:
    """The textbook loop of Fine & Scheinberg: one pivot at a time, the largest residual (ties: the first)."""
    n = len(K)
    G = np.zeros((n, rank))
    d = np.diag(K).copy()
    pivots: list[int] = []
    traces: list[float] = []
    for t in range(rank):
        if d.max() <= 0 or (traces and traces[-1] <= tol * np.trace(K)):
            break
        i = int(np.argmax(d))
        G[:, t] = (K[:, i] - G[:, :t] @ G[i, :t]) / np.sqrt(d[i])
        d = np.maximum(d - G[:, t] ** 2, 0)
        d[i] = 0
        pivots.append(i)
        traces.append(float(d.sum()))
    return G[:, : len(pivots)], pivots, traces


def centred(K: Array, weights: Array | None = None) -> NDArray[np.float64]:
    """H K Hᵀ with H = I - 1 wᵀ / Σw."""
    n = len(K)
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
    H = np.eye(n) - np.outer(np.ones(n), w / w.sum())
    return H @ K @ H.T


def dense_kcca(
    Kx: Array, Ky: Array, k: int, reg: tuple[float, float], penalty: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Kernel CCA from full kernel matrices: (singular values, x scores, y scores).

    The generalised eigenproblem max a'KxKy b with a'Mx a = b'My b = N - 1, where M = K² + (N - 1) r K or
    (K + N κ / 2 I)², on the range of the centred matrices (a' K a > 0 there), by dense eigendecompositions.
    """
    n = len(Kx)
    shrunk = []
    for K, r in ((centred(Kx), reg[0]), (centred(Ky), reg[1])):
        values, vectors = scipy.linalg.eigh(K)
        keep = values > 1e-13 * values[-1]
        values, vectors = values[keep], vectors[:, keep]
        if penalty == "ridge":
            shrink = np.sqrt(values / (values + (n - 1) * r))
        else:
            shrink = values / (values + n * r / 2)
        shrunk.append((vectors, shrink))
    (ux, sx), (uy, sy) = shrunk
    # K a = U s z for the coordinates z in which M is the identity
    left, d, right = np.linalg.svd((ux * sx).T @ (uy * sy))
    zx = (ux * sx) @ left[:, :k] * np.sqrt(n - 1)
    zy = (uy * sy) @ right[:k].T * np.sqrt(n - 1)
    return d[:k], zx, zy
