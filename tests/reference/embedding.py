"""Slow, obvious counterparts of the label embeddings."""

import numpy as np


def scale_inputs(X, weight, power, normalize):
    """Centred columns over deviation^power, mean square length 1, rows drawn towards one length, centred."""
    mean = np.average(X, axis=0, weights=weight)
    deviation = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight))
    z = np.zeros_like(X)
    for j in range(X.shape[1]):
        if deviation[j] > 1e-12 * abs(mean[j]):
            z[:, j] = (X[:, j] - mean[j]) / deviation[j] ** power
    z /= np.sqrt(np.average((z**2).sum(axis=1), weights=weight))
    if not normalize:
        return z
    f = np.array([row * np.sqrt(2 / (1 + row @ row)) for row in z])
    return f - np.average(f, axis=0, weights=weight)


def ridge(F, T, weight, reg):
    """Weights and intercept of the ridge regression of T on F, from the normal equations."""
    share = weight / weight.sum()
    f, t = F - share @ F, T - share @ T
    S = sum(s * np.outer(row, row) for s, row in zip(share, f, strict=True))
    cross = sum(s * np.outer(row, target) for s, row, target in zip(share, f, t, strict=True))
    weights = np.linalg.pinv(S + reg * np.eye(F.shape[1]), rcond=1e-10) @ cross
    return weights, share @ T - share @ F @ weights
