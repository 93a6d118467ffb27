"""The solver by its formulas, dense and slow."""

import mpmath
import numpy as np


def centred(X, weights=None):
    """Rows as repeated: sqrt(w) (x - mean), and N."""
    w = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=float)
    X = np.asarray(X, dtype=float).reshape(len(X), -1)
    X = X - (w @ X) / w.sum()
    return np.sqrt(w)[:, None] * (X - (w @ X) / w.sum()), w.sum()


def fix_signs(W1, W2):
    signs = np.sign(W1[np.abs(W1).argmax(0), np.arange(W1.shape[1])])
    return W1 * signs, W2 * signs


def whitener(Xc, N, r, rank):
    """The W of W'(S + rI)W = I on the `rank` leading principal directions: V (s^2/(N-1) + r)^-1/2.

    Without a ridge those of columns brought to unit variance, which a deficient view's weights depend on.
    """
    size = np.linalg.norm(Xc, axis=0) if r == 0 else np.ones(Xc.shape[1])
    size[size <= 1e-9 * size.max()] = size.max()  # constant columns
    _, s, Vt = np.linalg.svd(Xc / size, full_matrices=False)
    return Vt[:rank].T / np.sqrt(s[:rank] ** 2 / (N - 1) + r) / size[:, None]


def cca(X, Y, k, reg=(0.0, 0.0), weights=None, ranks=None):
    """Weights and correlations: T = W1' S12 W2 = U D V', A1 = W1 U, A2 = W2 V."""
    (Xc, N), (Yc, _) = centred(X, weights), centred(Y, weights)
    ranks = ranks or (min(Xc.shape), min(Yc.shape))
    W1, W2 = whitener(Xc, N, reg[0], ranks[0]), whitener(Yc, N, reg[1], ranks[1])
    U, D, Vt = np.linalg.svd(W1.T @ (Xc.T @ Yc / (N - 1)) @ W2, full_matrices=False)
    return *fix_signs((W1 @ U)[:, :k], (W2 @ Vt.T)[:, :k]), D[:k]


def exact_correlations(X, Y, digits=50):
    """Canonical correlations in arithmetic of so many digits: square roots of eig(S11^-1 S12 S22^-1 S21).

    X must not have more columns than Y, or else some of those eigenvalues are zero.
    """
    with mpmath.workdps(digits):
        n = len(X)

        def centre(A):
            M = mpmath.matrix(A.tolist())
            for j in range(M.cols):
                mean = mpmath.fsum(M[i, j] for i in range(n)) / n
                for i in range(n):
                    M[i, j] -= mean
            return M

        A, B = centre(X), centre(Y)
        # The symmetric form: L1^-1 S12 S22^-1 S21 L1^-T
        Li = mpmath.inverse(mpmath.cholesky(A.T * A))
        M = Li * (A.T * B)
        M = M * mpmath.inverse(B.T * B) * M.T
        values = mpmath.eigsy((M + M.T) / 2, eigvals_only=True)
        return np.array([float(mpmath.sqrt(v)) for v in sorted(values, reverse=True)])


def pearson(a, b):
    """Column by column; 0 where one of the columns is constant."""
    a, b = a - a.mean(0), b - b.mean(0)
    scale = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    return np.divide((a * b).sum(0), scale, out=np.zeros(a.shape[1]), where=scale > 0)
