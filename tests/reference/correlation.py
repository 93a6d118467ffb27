"""The correlation loss written down slowly: symmetric roots, a full SVD, one formula after the other."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def inverse_root(S: Array) -> Array:
    values, vectors = np.linalg.eigh(S)
    return (vectors / np.sqrt(values)) @ vectors.T


def correlation_loss(
    H1: Array,
    H2: Array,
    k: int | None = None,
    reg: tuple[float, float] = (0.0, 0.0),
    objective: str = "trace_norm",
) -> tuple[float, Array, Array]:
    """Value and gradients, with W = S^(-1/2) times the singular vectors of T, in float64."""
    H1, H2 = H1.astype(np.float64), H2.astype(np.float64)
    m = len(H1)
    A, B = H1 - H1.mean(0), H2 - H2.mean(0)
    R1 = inverse_root(A.T @ A / (m - 1) + reg[0] * np.eye(A.shape[1]))
    R2 = inverse_root(B.T @ B / (m - 1) + reg[1] * np.eye(B.shape[1]))
    U, D, Vt = np.linalg.svd(R1 @ (A.T @ B / (m - 1)) @ R2, full_matrices=False)
    k = len(D) if k is None else k
    W1, D, W2 = R1 @ U[:, :k], D[:k], R2 @ Vt[:k].T
    slope = np.ones(k) if objective == "trace_norm" else 2 * D
    value = D.sum() if objective == "trace_norm" else (D**2).sum()
    Z1, Z2 = A @ W1, B @ W2
    grad1 = (Z2 - Z1 * D) * slope @ W1.T / (m - 1)
    grad2 = (Z1 - Z2 * D) * slope @ W2.T / (m - 1)
    return -float(value), -grad1, -grad2


def by_singular_values(
    H1: Array,
    H2: Array,
    reg: tuple[float, float] = (0.0, 0.0),
    k: int | None = None,
    objective: str = "trace_norm",
) -> tuple[float, Array, Array]:
    """The same from the views' own singular values, no covariance formed, for outputs of any rank.

    Directions that a view lacks are left out, and singular values of T that are zero: the subgradient of
    least norm.
    """
    m = len(H1)
    centred, scores, weights = [], [], []
    for H, r in zip((H1, H2), reg, strict=True):
        A = H.astype(np.float64)
        A = A - A.mean(0)
        U, s, Vt = np.linalg.svd(A, full_matrices=False)
        rank = int((s > s[0] * max(A.shape) * np.finfo(np.float64).eps).sum())
        U, s, Vt = U[:, :rank], s[:rank], Vt[:rank]
        centred.append(A)
        scores.append(U * (s / np.sqrt(s**2 + r * (m - 1))))
        weights.append(Vt.T / np.sqrt(s**2 / (m - 1) + r))
    P, D, Qt = np.linalg.svd(scores[0].T @ scores[1], full_matrices=False)
    kept = int((D[:k] > 1e-12).sum())
    D, W1, W2 = D[:kept], weights[0] @ P[:, :kept], weights[1] @ Qt[:kept].T
    slope = np.ones(kept) if objective == "trace_norm" else 2 * D
    value = D.sum() if objective == "trace_norm" else (D**2).sum()
    Z1, Z2 = centred[0] @ W1, centred[1] @ W2
    grad1 = (Z2 - Z1 * D) * slope @ W1.T / (m - 1)
    grad2 = (Z1 - Z2 * D) * slope @ W2.T / (m - 1)
    return -float(value), -grad1, -grad2


def low_rank_problem(seed: int, most_rows: int = 600, most_columns: int = 128) -> tuple[Array, Array, float]:
    """Two correlated views of which one or both lack rank, and a ridge.

    By copied outputs, a bottleneck, constant outputs, or fewer rows than columns.
    """
    rng = np.random.default_rng(seed)

    def between(low: int, high: int) -> int:
        return int(np.exp(rng.uniform(np.log(low), np.log(high))))

    m, d1 = between(3, most_rows), between(2, most_columns)
    d2 = d1 if rng.random() < 0.6 else between(2, most_columns)
    kind = rng.choice(["copies", "bottleneck", "constant", "few rows"])
    if kind == "few rows":
        m = int(rng.integers(3, max(4, min(d1, d2) + 1)))
    signal = rng.standard_normal((m, max(d1, d2)))
    H = [signal[:, :d] + rng.uniform(0.3, 2) * rng.standard_normal((m, d)) for d in (d1, d2)]
    H[1] = np.tanh(H[1])
    which = int(rng.integers(1, 4))
    for view in range(2):
        d = H[view].shape[1]
        rank = int(rng.integers(1, d + 1))
        if not which >> view & 1:
            continue
        if kind == "copies":
            H[view] = H[view][:, np.r_[np.arange(rank), rng.integers(0, rank, d - rank)]]
        elif kind == "bottleneck":
            H[view] = H[view][:, :rank] @ rng.standard_normal((rank, d)) / np.sqrt(rank)
        elif kind == "constant":
            H[view][:, rng.permutation(d)[: d - rank]] = rng.choice([0.0, 0.7])
    return H[0], H[1], float(10.0 ** -rng.integers(1, 7))


def maxvar(views, n_components, regs):
    """K r minus the r largest eigenvalues of the sum of the regularised projections, and its gradients.

    From n x n projections: with G the eigenvectors, P = H C^-1 H' and C = H'H + (n - 1) reg I, the sum of the
    eigenvalues changes by tr(G'dP G), dP = 2 (I - P) dH C^-1 H' (symmetrised).
    """
    centred = [view.astype(np.longdouble).astype(float) - view.astype(float).mean(0) for view in views]
    n = len(centred[0])
    inverses = [
        np.linalg.inv(H.T @ H + (n - 1) * reg * np.eye(H.shape[1]))
        for H, reg in zip(centred, regs, strict=True)
    ]
    projections = [H @ C @ H.T for H, C in zip(centred, inverses, strict=True)]
    values, vectors = np.linalg.eigh(sum(projections))
    G = vectors[:, -n_components:]
    grads = [
        -2 * (np.eye(n) - P) @ G @ G.T @ H @ C for H, C, P in zip(centred, inverses, projections, strict=True)
    ]
    return len(views) * n_components - values[-n_components:].sum(), [g - g.mean(0) for g in grads]
