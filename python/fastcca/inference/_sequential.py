"""The statistic of every pair, given the pairs before it, from products of whitened scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastcca.functional.linalg import largest_eigenvalues, truncated_svd

__all__ = ["STATISTICS", "observed", "rest_statistics"]

Floats = NDArray[np.float64]

STATISTICS = ("correlation", "roy", "wilks", "held-out")

_ITERATED = 512  # from so many columns on the iteration is cheaper than a tridiagonal form
_ONE = 1e-6  # of 1 - ρ² no less, for its inverse to be accurate


def observed(values: Floats, k: int, statistic: str) -> Floats:
    """Of the first k of all singular values; 0 (Wilks's lambda: 1) where there are fewer."""
    values = np.minimum(values, 1.0)
    if statistic == "wilks":
        with np.errstate(divide="ignore"):
            of = np.exp(np.cumsum(np.log1p(-(values**2))[::-1])[::-1])
        out = np.ones(k)
    else:
        of, out = values if statistic == "correlation" else _ratio(values), np.zeros(k)
    out[: len(values)] = of[:k]
    return out


def rest_statistics(M: Floats, aside: int, k: int, statistic: str) -> Floats:
    """(b, k): for each matrix of a stack, and each j < k, the statistic of the rest after j pairs.

    The first ``aside`` + j rows of M are set aside, the columns from j on are the rest: the squared singular
    values of M₂₂(I - M₁₂'M₁₂)^(-1/2) are those for which 1 / (1 - σ²) is an eigenvalue of
    (I - M₂'M₂)⁻¹ (I - M₁₂'M₁₂), where M₂ are these columns in all rows. With I - M'M = U U', U upper
    triangular, trailing blocks of U⁻¹ = R are inverses of trailing blocks of U, so that one factor serves
    every j: the eigenvalues are those of a trailing block of R R' less that of (R M₁')(R M₁')'.
    """
    out = np.empty((len(M), k))
    U, sound = _reversed_cholesky(np.eye(M.shape[2]) - _t(M) @ M)
    if not sound.all():
        for b in np.flatnonzero(~sound):
            out[b] = [_statistic_of_rest(M[b], aside + j, j, statistic) for j in range(k)]
        if not sound.any():
            return out
        M, U = M[sound], U[sound]
    R: Floats = np.linalg.inv(U).astype(np.float64, copy=False)
    H = R @ _t(M[:, : aside + k])
    K = R @ _t(R)
    if aside:
        K -= H[:, :, :aside] @ _t(H[:, :, :aside])
    for j in range(k):
        if statistic == "wilks":
            # the determinant of K is that of 1 - σ², inverted
            out[sound, j] = np.exp(-np.linalg.slogdet(K)[1])
        else:
            left = 1 / np.maximum(_largest(K), 1.0)  # 1 - σ²
            out[sound, j] = np.sqrt(1 - left) if statistic == "correlation" else 1 / left - 1
        h = H[:, j + 1 :, aside + j]
        K = K[:, 1:, 1:] - h[:, :, None] * h[:, None, :]
    return out


def _reversed_cholesky(W: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """U upper triangular with U U' = W, and of which matrices it is accurate."""
    turned = W[:, ::-1, ::-1]
    sound: NDArray[np.bool_]
    try:
        L = np.asarray(np.linalg.cholesky(turned), dtype=np.float64)
        sound = np.einsum("bii->bi", L).min(axis=1) ** 2 > _ONE
    except np.linalg.LinAlgError:
        sound = np.linalg.eigvalsh(turned)[:, 0] > _ONE
        L = np.broadcast_to(np.eye(W.shape[1]), W.shape).copy()
        L[sound] = np.linalg.cholesky(turned[sound])
    return L[:, ::-1, ::-1], sound


def _largest(K: Floats) -> Floats:
    """The largest eigenvalue of each positive definite matrix."""
    if K.shape[1] >= _ITERATED:  # residuals are checked; singular values are off by their square
        return np.array([truncated_svd(np.ascontiguousarray(one), 1, 1e-8, 1)[1][0] for one in K])
    return largest_eigenvalues(K, 1)


def _statistic_of_rest(M: Floats, rows: int, columns: int, statistic: str) -> float:
    """From M₂₂(I - M₁₂'M₁₂)^(-1/2) itself, where a singular value is near 1."""
    top, rest = M[:rows, columns:], M[rows:, columns:]
    if rows:
        # with M₁₂ = U s V': (I - M₁₂'M₁₂)^(-1/2) = I + V ((1 - s²)^(-1/2) - 1) V'
        _, s, Vt = np.linalg.svd(top, full_matrices=False)
        left = np.maximum(1 - s**2, 0)
        # a direction that lies wholly within what is set aside has nothing left to correlate
        stretch = np.divide(1, np.sqrt(left), out=np.zeros_like(left), where=left > 1e-12) - 1
        rest = rest + (rest @ Vt.T) * stretch @ Vt
    values = np.minimum(np.linalg.svd(rest, compute_uv=False), 1.0)
    return float(observed(values, 1, statistic)[0])


def _ratio(values: Floats) -> Floats:
    """Roy's root θ / (1 - θ) of θ = ρ²; no correlation is nearer to 1 than rounding can tell."""
    return np.asarray(values**2 / np.maximum(1 - values**2, np.finfo(np.float64).eps))


def _t(a: Floats) -> Floats:
    return np.swapaxes(a, -1, -2)
