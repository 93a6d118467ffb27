"""CCA of resamples from the moments of whitened scores, and of populations made from the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Corrected", "Pairs", "corrected", "pairs", "shrinkage"]

Floats = NDArray[np.float64]

_LOST = 1e-10  # directions of a resample with less variance than this of the data's are not in it
_KEPT = 1e-4  # directions that a ridge shrinks to less than this are left out of the corrected population
_LEAST_SLOPE = 0.2
_NEAR_ONE = 1 - 1e-12


@dataclass(frozen=True)
class Pairs:
    """Canonical pairs of a stack of resamples, in descending order; NaN where the ranks leave fewer."""

    values: Floats  # (b, k) singular values
    x: Floats  # (b, r, k) coefficients, A'(S₁₁ + P₁)A = I
    y: Floats  # (b, s, k)
    correlations: Floats  # (b, k), Pearson

    def where(self, known: NDArray[np.bool_]) -> Pairs:
        """These, NaN where not known."""
        one = np.where(known, 1.0, np.nan)
        x, y = self.x * one[:, None, :], self.y * one[:, None, :]
        return Pairs(self.values * one, x, y, self.correlations * one)


@dataclass(frozen=True)
class Corrected:
    """Fisher-transformed correlations of a population whose resamples look like the data."""

    population: Floats  # (k,)
    slope: Floats  # (k,) how much resamples' correlations move with those of the population, without a ridge
    resampled: Floats  # (b, k)


def pairs(S: Floats, r: int, penalties: tuple[Floats, ...], k: int) -> Pairs:
    """CCA of each (r + s, r + s) covariance S of stacked scores, with a quadratic penalty for each view."""
    k = min(k, r, S.shape[-1] - r)
    blocks = S[:, :r, :r], S[:, r:, r:]
    (Wx, rank_x), (Wy, rank_y) = (_whitening(block + P) for block, P in zip(blocks, penalties, strict=True))
    U, values, Vt = np.linalg.svd(_t(Wx) @ S[:, :r, r:] @ Wy, full_matrices=False)
    values = np.minimum(values[:, :k], 1.0)
    x, y = Wx @ U[:, :, :k], Wy @ _t(Vt)[:, :, :k]
    variance = [np.einsum("bik,bik->bk", a, block @ a) for a, block in zip((x, y), blocks, strict=True)]
    scale = np.sqrt(np.maximum(variance[0], 0) * np.maximum(variance[1], 0))
    correlations = np.divide(values, scale, out=np.zeros_like(values), where=scale > _LOST).clip(max=1.0)
    missing = np.arange(k) >= np.minimum(rank_x, rank_y)[:, None]
    values[missing] = correlations[missing] = np.nan
    return Pairs(values, x, y, correlations)


def _whitening(S: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """R with R'SR = I for each of a stack, and the ranks; directions that are lost have columns of 0."""
    ranks = np.full(len(S), S.shape[-1])
    try:
        L = np.linalg.cholesky(S)
        doubtful = np.flatnonzero(np.einsum("bii->bi", L).min(axis=1) ** 2 < 100 * _LOST)
        R = _t(np.linalg.inv(L))
    except np.linalg.LinAlgError:
        doubtful, R = np.arange(len(S)), np.empty_like(S)
    for b in doubtful:
        eigenvalues, vectors = np.linalg.eigh(S[b])
        found = eigenvalues > _LOST
        R[b] = vectors * np.where(found, 1 / np.sqrt(np.where(found, eigenvalues, 1.0)), 0.0)
        ranks[b] = found.sum()
    return R, ranks


def _kept(variances: tuple[Floats, Floats]) -> list[NDArray[np.intp]]:
    return [np.flatnonzero(v > _KEPT * v.max()) for v in variances]


def corrected(
    S: Floats, whole: Floats, variances: tuple[Floats, Floats], k: int, *, ridge: bool
) -> Corrected | None:
    """The resamples S of the data, shrunk, as resamples of a population with smaller correlations.

    With canonical variates u_i, v_i of the data, correlated r_i, and e_i = (v_i - r_i u_i) / √(1 - r_i²), the
    rows (u_i, ρ_i u_i + √(1 - ρ_i²) e_i) have correlations ρ_i. These are chosen so that
    resamples of these rows have, on average and after Fisher's transform, the correlations r_i of the data.
    None where the views' ranks leave no residuals e.
    """
    r = len(variances[0])
    of = _kept(variances)
    if min(map(len, of)) < k:
        return None
    inverse_root = [1 / np.sqrt(v[kept]) for v, kept in zip(variances, of, strict=True)]
    # canonical variates without a ridge: scores of unit variance, turned
    T = whole[np.ix_(of[0], r + of[1])] * np.outer(*inverse_root)
    U, values, Vt = np.linalg.svd(T, full_matrices=True)
    if values[0] >= _NEAR_ONE:
        return None
    turns = inverse_root[0][:, None] * U, inverse_root[1][:, None] * Vt.T
    J = np.zeros((len(whole), U.shape[1] + Vt.shape[1]))
    J[of[0], : len(U)] = turns[0]
    J[r + of[1], len(U) :] = turns[1]
    p = len(U)
    # the ridge in these coordinates: I - Z'Z / (n - 1) = diag(1 - variances)
    penalties = tuple(
        (_t(turn) * (1 - v[kept])) @ turn if ridge else np.zeros((len(kept), len(kept)))
        for turn, v, kept in zip(turns, variances, of, strict=True)
    )
    none = tuple(np.zeros_like(P) for P in penalties)
    population = _Population(_t(J) @ S @ J, p, values)
    target = np.arctanh(values)
    rho = target.copy()
    for _ in range(30):
        found = pairs(population.moments(np.tanh(rho)), p, none, len(values)).correlations
        moved = np.clip(rho + target - np.nanmean(_fisher(found), axis=0), 0, target)
        moved = np.minimum.accumulate(moved)
        change, rho = np.abs(moved - rho).max(), moved
        if change < 1e-3:
            break
    at = np.tanh(rho)
    moments = population.moments(at)
    free = pairs(moments, p, none, k)
    slope = np.nanmean(population.slopes(free, at), axis=0).clip(_LEAST_SLOPE, 1.0)
    of_resamples = pairs(moments, p, penalties, k) if ridge else free
    alone = np.eye(len(J.T))[None] + _off_diagonal(at, J.shape[1], p)
    of_population = pairs(alone, p, penalties, k)
    return Corrected(_fisher(of_population.correlations)[0], slope, _fisher(of_resamples.correlations))


def shrinkage(S: Floats, whole: Floats, variances: tuple[Floats, Floats]) -> float:
    """What takes the moments S of resamples nearer to those of the data, as near as those of samples are.

    Where rows are few for the columns, resamples, which repeat rows, vary more than samples of the population
    do. With eigenvalues e of their covariances relative to the data's, divided by their mean, and t the mean
    of (e - 1)², samples have a mean 1 / e of about 1 / (1 - t), as Gaussian ones do: (n - 1) / (n - d - 2),
    where t is (d + 1) / (n - 1). The deviations of S from the data are to be multiplied by the c that gives
    them this mean, at most 1. Correlations do not depend on the mean of e, which chance moves more than t
    where rows are many.
    """
    first, second = _kept(variances)
    both = np.concatenate([first, len(variances[0]) + second])
    R = _whitening(whole[np.ix_(both, both)][None])[0][0]
    R = R[:, R.any(axis=0)]  # without directions that the data lack
    e = np.linalg.eigvalsh(R.T @ S[:, both[:, None], both] @ R)
    if not e.any():  # nothing varies
        return 1.0
    e = e / e.mean() - 1
    t = float(np.mean(e**2))
    target = 1 / (1 - t) if t < 1 else np.inf
    low, high = 0.0, 1.0
    for _ in range(30):  # each halves the interval; the mean rises with c
        c = (low + high) / 2
        with np.errstate(divide="ignore"):
            low, high = (c, high) if np.mean(1 / np.maximum(1 + c * e, 0)) < target else (low, c)
    return high


class _Population:
    """Moments S of resamples of canonical variates (u, v) as those of (u, α u + β v), by algebra alone."""

    def __init__(self, S: Floats, p: int, values: Floats) -> None:
        self.S, self.p, self.values = S, p, values
        self.root = np.sqrt(1 - values**2)

    def map(self, rho: Floats) -> Floats:
        """(u, v) times this is (u, α u + β v)."""
        J = np.eye(self.S.shape[-1])
        beta = np.sqrt(1 - rho**2) / self.root
        i = np.arange(len(rho))
        J[self.p + i, self.p + i] = beta
        J[i, self.p + i] = rho - beta * self.values
        return J

    def moments(self, rho: Floats) -> Floats:
        J = self.map(rho)
        moments: Floats = J.T @ self.S @ J
        return moments

    def slopes(self, found: Pairs, rho: Floats) -> Floats:
        """d z(D_i) / d z(ρ_i) for the pairs found, by the derivative of a singular value.

        dD = a'(dS₁₂)c - D/2 c'(dS₂₂)c, where column i of the second view moves along
        d(α u_i + β v_i) / dρ_i and c_i is its coefficient.
        """
        k = found.values.shape[1]
        i = np.arange(k)
        d_beta = -rho / (np.sqrt(1 - rho**2) * self.root)
        d_alpha = 1 - self.values * d_beta
        # how u_i and v_i, which the column moves along, vary with the scores
        J = np.zeros((self.S.shape[-1], k))
        J[i, i], J[self.p + i, i] = d_alpha[:k], d_beta[:k]
        along = _t(J) @ self.S @ self.map(rho)  # (b, k, p + q): with both views of the population
        with_x = np.einsum("bij,bji->bi", along[:, :, : self.p], found.x)
        with_y = np.einsum("bij,bji->bi", along[:, :, self.p :], found.y)
        c = found.y[:, i, i]
        dD = c * (with_x - found.values * with_y)
        slopes: Floats = dD * (1 - rho[:k] ** 2) / (1 - np.minimum(found.values, _NEAR_ONE) ** 2)
        return slopes


def _off_diagonal(values: Floats, d: int, p: int) -> Floats:
    out = np.zeros((1, d, d))
    i = np.arange(len(values))
    out[0, i, p + i] = out[0, p + i, i] = values
    return out


def _fisher(r: Floats) -> Floats:
    return np.arctanh(np.clip(r, -_NEAR_ONE, _NEAR_ONE))


def _t(a: Floats) -> Floats:
    return np.swapaxes(a, -1, -2)
