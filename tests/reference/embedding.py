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


def large_margin_objective(F, y, W, b, U, margin, loss, similarity, penalties):
    """The objective of the large-margin embedding, one sample and one label at a time."""

    def distance(z, u):
        if similarity == "cosine":
            return -(z @ u) / (np.linalg.norm(z) * np.linalg.norm(u))
        return ((z - u) ** 2).sum()

    total = 0.0
    for f, own in zip(F, y, strict=True):
        z = f @ W + b
        rest = [c for c in range(len(U)) if c != own]
        gaps = np.array([distance(z, U[own]) - distance(z, U[c]) for c in rest])
        if loss == "softmax":
            total += np.log1p(np.exp(gaps).sum())
            continue
        cost = np.full(len(rest), margin) if np.isscalar(margin) else margin[own, rest]
        positive = (cost + gaps).clip(0)
        r = int((positive > 0).sum())
        if loss == "hardest":
            total += positive.max()
        elif loss == "rank" and r:
            total += positive.sum() * sum(1 / j for j in range(1, r + 1)) / r
        elif loss == "hinge":
            total += positive.sum()
    return total / len(F) + penalties[0] * (W**2).sum() + penalties[1] * (U**2).sum()


def taxonomy_objective(X, y, Q, costs, mu, smooth):
    """The objective of the taxonomy embedding over the metric Q, its hinges rounded off over ``smooth``."""
    eye = np.eye(len(Q))
    total = 0.0
    for x, own in zip(X, y, strict=True):
        near = (eye[own] - x) @ Q @ (eye[own] - x)
        total += mu * near
        for c in range(len(Q)):
            if c != own:
                v = costs[own, c] + near - (eye[c] - x) @ Q @ (eye[c] - x)
                total += (1 - mu) * (0 if v <= 0 else v**2 / (2 * smooth) if v < smooth else v - smooth / 2)
    return total / len(X)


def class_mean_objective(F, y, W, penalty):
    """Mean negative log-likelihood of the classes at exp(-½ ‖W'(f - mean)‖²), and the penalty."""
    means = [F[y == c].mean(axis=0) for c in range(y.max() + 1)]
    total = 0.0
    for f, own in zip(F, y, strict=True):
        p = np.array([np.exp(-0.5 * ((W.T @ (f - mean)) ** 2).sum()) for mean in means])
        total -= np.log(p[own] / p.sum())
    return total / len(F) + penalty * (W**2).sum()


def pair_objective(Z, T, margin, loss, similarity):
    """Two-way large-margin loss of paired rows, one pair at a time."""

    def distance(z, t):
        if similarity == "cosine":
            return -(z @ t) / (np.linalg.norm(z) * np.linalg.norm(t))
        return ((z - t) ** 2).sum()

    n, total = len(Z), 0.0
    for i in range(n):
        own = distance(Z[i], T[i])
        for gaps in (
            np.array([own - distance(Z[i], T[j]) for j in range(n) if j != i]),
            np.array([own - distance(Z[j], T[i]) for j in range(n) if j != i]),
        ):
            if loss == "softmax":
                total += np.log1p(np.exp(gaps).sum())
            else:
                positive = (margin + gaps).clip(0)
                total += positive.sum() if loss == "hinge" else positive.max()
    return total / n
