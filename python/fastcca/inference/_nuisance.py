"""Views of which confounds are taken out, so that what is left is exchangeable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import get_lapack_funcs, qr

from fastcca._arguments.arrays import as_matrix, refuse_non_finite

__all__ = ["RESIDUALS", "confound_basis", "huh_jhun", "residual", "theil", "without"]

Floats = NDArray[np.float64]
Reduction = Callable[[Floats], Floats]

RESIDUALS = ("auto", "huh-jhun", "theil", "freedman-lane")


def huh_jhun(basis: Floats) -> Reduction:
    """Q'F for scores F, where Q (n, n - 1 - c) is orthogonal to the confounds and to a constant.

    The rows of Q'F have no mean to take out, and independent rows of F make uncorrelated ones of it.
    """
    factored, tau = _householder(_with_constant(basis))
    multiply: Any = get_lapack_funcs("ormqr", (factored,))

    def reduced(scores: Floats) -> Floats:
        work = max(1, int(multiply("L", "T", factored, tau, scores, -1)[1][0]))
        whole = multiply("L", "T", factored, tau, scores, work)[0]
        return np.ascontiguousarray(whole[factored.shape[1] :])

    return reduced


def theil(basis: Floats) -> tuple[Reduction, NDArray[np.intp]]:
    """As :func:`huh_jhun`, with rows as near as can be to those of F that are kept; and which these are.

    With the residual former R and the selection S, Q' = (S R S')^(-1/2) S R: best linear unbiased residuals
    with a scalar covariance matrix.
    """
    D = _with_constant(basis)
    # of the rows left out those of the confounds must determine the coefficients
    out = qr(D.T, mode="r", pivoting=True)[1][: D.shape[1]]
    kept = np.setdiff1d(np.arange(len(D)), out)
    V, s, _ = np.linalg.svd(D[kept], full_matrices=False)
    # S R S' = I - D₁D₁', of which the singular values s of D₁ give the root
    stretch = 1 / np.sqrt(np.maximum(1 - s**2, np.finfo(float).eps)) - 1

    def reduced(scores: Floats) -> Floats:
        rows = (scores - D @ (D.T @ scores))[kept]
        return np.asarray(rows + V @ (stretch[:, None] * (V.T @ rows)))

    return reduced, kept.astype(np.intp)


def _with_constant(basis: Floats) -> Floats:
    """An orthonormal basis of the confounds and a constant, which they are orthogonal to."""
    n = len(basis)
    return np.asfortranarray(np.column_stack([np.full(n, n**-0.5), basis]))


def _householder(D: Floats) -> tuple[Floats, Floats]:
    factor: Any = get_lapack_funcs("geqrf", (D,))
    factored, tau, _, _ = factor(D)
    return factored, tau


def confound_basis(confounds: ArrayLike, n: int, blocks: ArrayLike | None = None) -> Floats:
    """An orthonormal basis of the centred confounds, and of what is constant within blocks."""
    c = as_matrix("confounds", confounds, vector=True)
    if len(c) != n:
        raise ValueError(f"confounds must have {n} rows, as X has, got {len(c)}")
    refuse_non_finite("confounds", c)
    if blocks is not None:
        _, codes = np.unique(np.asarray(blocks), return_inverse=True)
        c = np.column_stack([c, codes[:, None] == np.arange(codes.max())])
    eps = float(np.finfo(c.dtype).eps)
    c, _, mean = _centred(c)
    norm = np.linalg.norm(c, axis=0)
    varies = norm > 4 * eps * np.sqrt(n) * np.abs(mean)
    if not varies.any():
        return np.empty((n, 0))
    U, s, _ = np.linalg.svd(c[:, varies] / norm[varies], full_matrices=False)
    # entries are rounded at eps of their mean, which may be large beside what varies
    rounding = eps * (max(c.shape) + 4 * np.sqrt(n) * np.max(np.abs(mean[varies]) / norm[varies]))
    return U[:, s > s[0] * rounding]


def residual(name: str, view: NDArray[Any], basis: Floats) -> Floats:
    """The view without its mean and the confounds; a column that they explain to rounding is 0."""
    refuse_non_finite(name, view)
    eps = float(np.finfo(view.dtype).eps)
    centred, units, _ = _centred(view)
    left: Floats = centred - basis @ (basis.T @ centred)
    left -= basis @ (basis.T @ left)
    gone = np.linalg.norm(left, axis=0) <= 1e3 * eps * np.linalg.norm(centred, axis=0)
    if gone.all():
        raise ValueError(f"confounds leave nothing of {name}: they explain every column")
    left[:, gone] = 0.0
    with np.errstate(over="ignore"):  # the fit refuses what is as large
        return np.asarray(np.nan_to_num(left * units))


def without(scores: Floats, basis: Floats) -> Floats:
    """Scores F with F'F + R = I, less what a basis Q explains of them, whitened again: with A = Q'F,
    (F - Q A)(I - A'A)^(-1/2).

    Of residuals of linear models A is 0; kernels of residuals depend on the confounds again.
    """
    if not basis.shape[1]:
        return scores
    explained = basis.T @ scores
    _, s, Vt = np.linalg.svd(explained, full_matrices=False)
    left = np.maximum(1 - s**2, 0)
    # a direction that lies wholly within the basis is no direction any more
    stretch = np.divide(1, np.sqrt(left), out=np.zeros_like(left), where=left > 1e-12) - 1
    rest = scores - basis @ explained
    return np.asarray(rest + (rest @ Vt.T) * stretch @ Vt)


def _centred(view: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """The columns without their means, in units of their largest entries; these units; the means in them."""
    peak = np.abs(view).max(axis=0).astype(np.float64)
    units = np.where(peak > 0, peak, 1.0)
    columns = view / units
    mean = columns.mean(axis=0)
    return columns - mean, units, mean
