"""Ridge CCA, regressions and cross-validation in the plainest NumPy."""

import numpy as np


def cca(X, Y, k, reg=(0.0, 0.0), weights=None):
    """Weights and singular values by roots of the covariances; directions without variance left out."""
    w = np.ones(len(X)) if weights is None else np.asarray(weights, float)
    n = w.sum()
    Xc, Yc = (Z - np.average(Z, axis=0, weights=w) for Z in (np.asarray(X, float), np.asarray(Y, float)))
    roots = []
    for Z, r in ((Xc, reg[0]), (Yc, reg[1])):
        S = Z.T @ (w[:, None] * Z) / (n - 1) + r * np.eye(Z.shape[1])
        values, vectors = np.linalg.eigh(S)
        kept = values > 1e-11 * values.max()
        roots.append(vectors[:, kept] / np.sqrt(values[kept]))
    T = roots[0].T @ (Xc.T @ (w[:, None] * Yc) / (n - 1)) @ roots[1]
    U, d, Vt = np.linalg.svd(T, full_matrices=False)
    A, B = roots[0] @ U[:, :k], roots[1] @ Vt[:k].T
    signs = np.sign(A[np.abs(A).argmax(axis=0), np.arange(A.shape[1])])
    return A * signs, B * signs, d[:k]


def correlations(zx, zy):
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(zx.T, zy.T, strict=True)])


def cross_correlations(A, B):
    """Pearson correlation of every column of A with every column of B."""
    A, B = A - A.mean(axis=0), B - B.mean(axis=0)
    return (A.T @ B) / np.outer(np.linalg.norm(A, axis=0), np.linalg.norm(B, axis=0))


def least_squares(Z, targets, Z_new):
    """Predictions of the regression of ``targets`` on Z with intercept."""
    coefficients = np.linalg.lstsq(np.column_stack([np.ones(len(Z)), Z]), targets, rcond=None)[0]
    return np.column_stack([np.ones(len(Z_new)), Z_new]) @ coefficients
