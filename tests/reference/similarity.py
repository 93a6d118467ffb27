"""Similarities of representations by their definitions: n x n kernels, orthogonal factors of the rows."""

import numpy as np


def centred(X):
    return X - X.mean(axis=0)


def cka(X, Y):
    n = len(X)
    H = np.eye(n) - 1 / n
    K, L = H @ X @ X.T @ H, H @ Y @ Y.T @ H
    return (K * L).sum() / np.linalg.norm(K) / np.linalg.norm(L)


def unbiased_hsic(K, L):
    """Song et al. 2012, equation 5: kernels with zero diagonals."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    one = np.ones(n)
    terms = np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return (terms - 2 / (n - 2) * one @ K @ L @ one) / (n * (n - 3))


def debiased_cka(X, Y):
    K, L = X @ X.T, Y @ Y.T
    return unbiased_hsic(K, L) / np.sqrt(unbiased_hsic(K, K) * unbiased_hsic(L, L))


def correlations(X, Y):
    """Canonical correlations and variates of X, by orthogonal factors of the rows."""
    Q1, Q2 = np.linalg.qr(centred(X))[0], np.linalg.qr(centred(Y))[0]
    U, rho, _ = np.linalg.svd(Q1.T @ Q2, full_matrices=False)
    return rho, Q1 @ U


def leading(X, variance):
    U, s, _ = np.linalg.svd(centred(X), full_matrices=False)
    k = int(np.searchsorted(np.cumsum(s**2) / (s**2).sum(), variance)) + 1
    return U[:, :k] * s[:k]


def pwcca(X, Y):
    rho, h = correlations(X, Y)
    alpha = np.abs(h.T @ centred(X)).sum(axis=1)
    return alpha @ rho / alpha.sum()
