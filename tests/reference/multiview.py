"""Methods of many views by their formulas, from the rows, dense and slow."""

import numpy as np
import scipy.linalg


def centred(X, weights=None):
    """Rows as repeated: sqrt(w) (x - mean), and N."""
    w = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=float)
    X = np.asarray(X, dtype=float)
    return np.sqrt(w)[:, None] * (X - w @ X / w.sum()), w.sum()


def fix_signs(parts):
    first = parts[0]
    signs = np.sign(first[np.abs(first).argmax(0), np.arange(first.shape[1])])
    return [part * signs for part in parts]


def mcca(views, k, regs, weights=None):
    """A w = lambda B w with A the stacked covariance and B its diagonal blocks, the ridge in both."""
    parts = [centred(X, weights) for X in views]
    n = parts[0][1]
    stacked = np.hstack([part for part, _ in parts])
    A = stacked.T @ stacked / (n - 1)
    B = scipy.linalg.block_diag(
        *(p.T @ p / (n - 1) + r * np.eye(p.shape[1]) for (p, _), r in zip(parts, regs, strict=True))
    )
    A += np.diag(np.concatenate([np.full(p.shape[1], r) for (p, _), r in zip(parts, regs, strict=True)]))
    values, vectors = scipy.linalg.eigh(A, B)
    values, vectors = values[::-1][:k], vectors[:, ::-1][:, :k] * np.sqrt(len(views))
    ends = np.cumsum([X.shape[1] for X in views])[:-1]
    return fix_signs(np.split(vectors, ends)), values


def gcca(views, k, regs, view_weights=None, weights=None):
    """Eigenvectors g of the weighted sum of the n x n ridge projectors, and each view's regression on g."""
    omega = np.ones(len(views)) if view_weights is None else view_weights
    parts = [centred(X, weights) for X in views]
    n = parts[0][1]
    solved = [
        np.linalg.solve(p.T @ p + (n - 1) * r * np.eye(p.shape[1]), p.T)
        for (p, _), r in zip(parts, regs, strict=True)
    ]
    M = sum(o * p @ s for o, (p, _), s in zip(omega, parts, solved, strict=True))
    values, vectors = np.linalg.eigh((M + M.T) / 2)
    values, g = values[::-1][:k], vectors[:, ::-1][:, :k] * np.sqrt(n - 1)
    betas = [s @ g for s in solved]
    signs = np.sign(betas[0][np.abs(betas[0]).argmax(0), np.arange(k)])
    return [beta * signs for beta in betas], values, g * signs


def nearest_covariance(S):
    """Negative eigenvalues of the matrix of correlations set to 0, its diagonal back to ones."""
    sd = np.sqrt(np.diag(S))
    values, vectors = np.linalg.eigh(S / np.outer(sd, sd))
    C = vectors @ np.diag(values.clip(0)) @ vectors.T
    c = np.sqrt(np.diag(C))
    return C / np.outer(c, c) * np.outer(sd, sd)


def mcca_of_covariance(S, dims, k):
    ends = np.cumsum(dims)[:-1]
    blocks = [S[i : i + d, i : i + d] for i, d in zip([0, *ends.tolist()], dims, strict=True)]
    values, vectors = scipy.linalg.eigh(S, scipy.linalg.block_diag(*blocks))
    vectors = vectors[:, ::-1][:, :k] * np.sqrt(len(dims))
    return fix_signs(np.split(vectors, ends)), values[::-1][:k]


def pairwise_correlations(scores):
    """(views, views, k) Pearson correlations of the columns."""
    return np.array(
        [[[np.corrcoef(a[:, j], b[:, j])[0, 1] for j in range(a.shape[1])] for b in scores] for a in scores]
    )
