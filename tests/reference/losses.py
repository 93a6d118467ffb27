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
    objective: str = "trace",
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
    slope = np.ones(k) if objective == "trace" else 2 * D
    value = D.sum() if objective == "trace" else (D**2).sum()
    Z1, Z2 = A @ W1, B @ W2
    grad1 = (Z2 - Z1 * D) * slope @ W1.T / (m - 1)
    grad2 = (Z1 - Z2 * D) * slope @ W2.T / (m - 1)
    return -float(value), -grad1, -grad2
