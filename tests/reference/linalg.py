"""Slow and obvious: functions of one matrix."""

import mpmath
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def inverse_sqrt(S: Array, floor: float) -> Array:
    """Sum of lambda^(-1/2) v v' over the eigenvalues above floor · lambda_max."""
    values, vectors = np.linalg.eigh(S)
    result = np.zeros_like(S)
    for value, v in zip(values, vectors.T, strict=True):
        if value > floor * values[-1] and value > 0:
            result += np.outer(v, v) / np.sqrt(value)
    return result


def polar(T: Array) -> Array:
    """Sum of u v' over the singular triplets that are not rounding."""
    U, s, Vt = np.linalg.svd(T, full_matrices=False)
    result = np.zeros_like(T)
    for u, value, v in zip(U.T, s, Vt, strict=True):
        if value > np.finfo(float).eps * max(T.shape) * s[0]:
            result += np.outer(u, v)
    return result


def singular_values(A: Array) -> Array:
    """In fifty digits, for small matrices."""
    with mpmath.workdps(50):
        values = mpmath.svd_r(mpmath.matrix(A.tolist()), compute_uv=False)
        return np.array([float(value) for value in values])


def precise_inverse_sqrt(S: Array) -> Array:
    """In fifty digits, for small non-singular matrices."""
    with mpmath.workdps(50):
        values, V = mpmath.eigsy(mpmath.matrix(S.tolist()))
        root = V * mpmath.diag([1 / mpmath.sqrt(value) for value in values]) * V.T
        return np.array(root.tolist(), dtype=float)


def precise_polar(T: Array) -> Array:
    """T (T'T)^(-1/2) in fifty digits, for small matrices of full column rank."""
    with mpmath.workdps(50):
        M = mpmath.matrix(T.tolist())
        values, V = mpmath.eigsy(M.T * M)
        P = M * V * mpmath.diag([1 / mpmath.sqrt(value) for value in values]) * V.T
        return np.array(P.tolist(), dtype=float)
