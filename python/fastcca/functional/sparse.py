"""Sparse canonical directions from covariances: penalised matrix decomposition, elastic net."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastcca import _core
from fastcca._arguments.parameters import thread_count
from fastcca.errors import NumericalError

__all__ = ["SparsePairs", "elastic_net", "first_directions", "penalised_decomposition", "unit_with_bound"]

Array = npt.NDArray[np.float64]


class SparsePairs(NamedTuple):
    """Directions of two views, their covariances u'S_12 v, and the iterations that each pair took."""

    x: Array  # (p, k)
    y: Array  # (q, k)
    covariances: Array  # (k,)
    n_iter: tuple[int, ...]
    converged: bool


def unit_with_bound(a: Array, bound: float) -> Array:
    """The u of Euclidean norm 1 and 1-norm at most ``bound`` that maximises a'u.

    u = soft(a, t) / |soft(a, t)| with the smallest t >= 0 for which |u|₁ <= bound. Between two neighbouring
    values of |a| the k largest stay, and |u|₁² = bound² is a quadratic equation in t.
    """
    sizes = np.abs(a)
    largest = sizes.max()
    if not largest > 0:
        return np.zeros_like(a)
    if bound <= 1:  # a single entry, of several that tie for the largest the first
        return np.where(np.arange(len(a)) == sizes.argmax(), np.sign(a), 0.0)
    sizes /= largest
    total, square = sizes.sum(), sizes @ sizes
    limit = bound * bound
    if total * total <= limit * square:
        return np.asarray(np.copysign(sizes / math.sqrt(square), a))
    ordered = np.sort(sizes)[::-1]
    counts, sums, squares = _counts(len(a)), ordered.cumsum(), (ordered * ordered).cumsum()
    # |soft(a, t)|₁² / |soft(a, t)|² at t = the next value, with k entries left: grows with k
    t = np.zeros_like(ordered)
    t[:-1] = ordered[1:]
    ones = sums - counts * t
    twos = np.maximum(squares - t * (sums + ones), 1e-15 * squares)
    k = int(((ones * ones > limit * twos) & (counts > limit)).argmax())
    n, s, q = float(counts[k]), float(sums[k]), float(squares[k])
    # (s − n t)² = bound² (q − 2 s t + n t²); the smaller root, below ordered[k]
    A, B, C = n * (n - limit), -2 * s * (n - limit), s * s - limit * q
    threshold = (-B - math.sqrt(max(B * B - 4 * A * C, 0.0))) / (2 * A)
    u = np.maximum(sizes - max(threshold, 0.0), 0.0)
    norm = math.sqrt(u @ u)
    if not norm > 0:  # more entries tie for the largest than the bound allows: the first of them alone
        return unit_with_bound(a, 1.0)
    return np.asarray(np.copysign(u / norm, a))


@lru_cache(maxsize=8)
def _counts(n: int) -> Array:
    return np.arange(1.0, n + 1)


def first_directions(S12: Array, n_threads: int | None = None) -> tuple[Array, Array]:
    """The first singular vectors of S_12, from which both methods start."""
    if not S12.any():
        raise NumericalError("X and y have no covariance at all: there is nothing to find")
    U, _, V = _core.truncated_svd(S12, 1, 1e-12, thread_count(n_threads))
    return U[:, 0], V[:, 0]


class Alternated(NamedTuple):
    """One pair."""

    u: Array
    v: Array
    n_iter: int
    converged: bool


def penalised_decomposition(
    S12: Array,
    n_components: int,
    bounds: tuple[float, float],
    max_iter: int = 500,
    tol: float = 1e-10,
    start: Array | None = None,
    n_threads: int | None = None,
) -> SparsePairs:
    """max u'S_12 v with Euclidean norms at most 1 and 1-norms at most the bounds; then S_12 −= d u v'.

    Parameters
    ----------
    S12 : ndarray of shape (p, q)
        Covariances, commonly of standardised columns.
    n_components : int
        Number of pairs; fewer where nothing is left of S_12.
    bounds : tuple of two float
        Of the 1-norm, from 1 (a single entry) to √p and √q (no bound).
    max_iter, tol : int, float
        The alternation ends where no entry of v changes by more than ``tol``.
    start : ndarray of shape (q,), optional
        The first v; by default the first singular vector.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    SparsePairs

    References
    ----------
    D. M. Witten, R. Tibshirani and T. Hastie, "A penalized matrix decomposition, with applications to sparse
    principal components and canonical correlation analysis", Biostatistics 10, 2009.
    """

    def alternate(rest: Array, v: Array) -> Alternated:
        settled, count = False, 0
        for taken in range(1, max_iter + 1):
            count = taken
            u = unit_with_bound(rest @ v, bounds[0])
            before, v = v, unit_with_bound(rest.T @ u, bounds[1])
            if np.abs(v - before).max() <= tol:
                settled = True
                break
        return Alternated(unit_with_bound(rest @ v, bounds[0]), v, count, settled)

    return _one_by_one(S12, n_components, start, n_threads, alternate, np.outer)


def elastic_net(
    S11: Array,
    S12: Array,
    S22: Array,
    n_components: int,
    penalties: tuple[float, float],
    l1_ratio: float = 1.0,
    max_iter: int = 500,
    tol: float = 1e-10,
    start: Array | None = None,
    n_threads: int | None = None,
) -> SparsePairs:
    """Canonical directions by alternating elastic nets with covariance updates.

    u ← argmin ½ u'S_11 u − u'S_12 v + λ (α |u|₁ + (1 − α)/2 |u|²), brought to u'S_11 u = 1; v likewise; then
    S_12 −= d S_11 u v'S_22.

    Parameters
    ----------
    S11, S12, S22 : ndarray of shape (p, p), (p, q), (q, q)
        Covariances, commonly of standardised columns.
    penalties : tuple of two float
        λ of both views.
    l1_ratio : float
        α, from 0 (a ridge) to 1 (the lasso).
    n_components, max_iter, tol, start, n_threads
        As in :func:`penalised_decomposition`.

    Returns
    -------
    SparsePairs

    Raises
    ------
    NumericalError
        If a penalty leaves no column of a view.

    References
    ----------
    Q. Mai and X. Zhang, "An iterative penalized least squares approach to sparse canonical correlation
    analysis", Biometrics 75, 2019.
    """
    quadratic = [
        S + lam * (1 - l1_ratio) * np.eye(len(S)) for S, lam in zip((S11, S22), penalties, strict=True)
    ]
    lx, ly = (lam * l1_ratio for lam in penalties)

    def alternate(rest: Array, v: Array) -> Alternated:
        v = _unit_variance(v, S22, "y")
        u, raw_u, raw_v = np.zeros(len(S11)), np.zeros(len(S11)), np.zeros(len(S22))
        settled, count = False, 0
        for taken in range(1, max_iter + 1):
            count = taken
            raw_u = _lasso(quadratic[0], rest @ v, lx, raw_u)
            u = _unit_variance(raw_u, S11, "X")
            raw_v = _lasso(quadratic[1], rest.T @ u, ly, raw_v)
            before, v = v, _unit_variance(raw_v, S22, "y")
            if np.abs(v - before).max() <= tol * max(1.0, float(np.abs(v).max())):
                settled = True
                break
        return Alternated(u, v, count, settled)

    def explained(u: Array, v: Array) -> npt.NDArray[Any]:
        return np.outer(S11 @ u, S22 @ v)

    return _one_by_one(S12, n_components, start, n_threads, alternate, explained)


def _one_by_one(
    S12: Array,
    n_components: int,
    start: Array | None,
    n_threads: int | None,
    alternate: Callable[[Array, Array], Alternated],
    explained: Callable[[Array, Array], npt.NDArray[Any]],
) -> SparsePairs:
    """Pairs one after the other, each in what is left of S_12, which loses d ``explained(u, v)``."""
    if not S12.any():
        raise NumericalError("X and y have no covariance at all: there is nothing to find")
    rest = S12.copy()
    largest = float(np.abs(S12).max())
    us, vs, ds, counts, converged = [], [], [], [], True
    for j in range(n_components):
        if not np.abs(rest).max() > 64 * np.finfo(float).eps * largest:
            break
        v = first_directions(rest, n_threads)[1] if j or start is None else start
        u, v, count, settled = alternate(rest, v)
        d = float(u @ rest @ v)
        rest -= d * explained(u, v)
        converged &= settled
        us.append(u)
        vs.append(v)
        ds.append(d)
        counts.append(count)
    return SparsePairs(np.column_stack(us), np.column_stack(vs), np.array(ds), tuple(counts), converged)


def _unit_variance(w: Array, S: Array, name: str) -> Array:
    variance = float(w @ S @ w)
    if not variance > 0:
        raise NumericalError(f"the penalty leaves no column of {name}: lower it")
    return np.asarray(w / np.sqrt(variance))


def _lasso(Q: Array, b: Array, penalty: float, start: Array) -> Array:
    """argmin ½ u'Qu − b'u + penalty |u|₁ by feature-sign search: exact, from a start near the solution.

    H. Lee, A. Battle, R. Raina and A. Y. Ng, "Efficient sparse coding algorithms", NIPS 2006.
    """
    u = start.copy()
    signs = np.sign(u)
    slack = 1e-13 * max(1.0, float(np.abs(b).max()))
    for _ in range(20 * len(b) + 100):
        gradient = Q @ u - b
        active = signs != 0
        if not active.any() or np.abs(gradient[active] + penalty * signs[active]).max() <= slack:
            free = np.where(active, 0.0, np.abs(gradient))
            i = int(free.argmax())
            if free[i] <= penalty + slack:
                return u
            signs[i] = -np.sign(gradient[i])
            active[i] = True
        A = np.flatnonzero(active)
        target = b[A] - penalty * signs[A]
        try:
            new = np.linalg.solve(Q[np.ix_(A, A)], target)
        except np.linalg.LinAlgError:
            new = np.linalg.lstsq(Q[np.ix_(A, A)], target, rcond=None)[0]
        old = u[A]
        # the best of the new point and of those on the way to it where a sign changes
        change = new - old
        crossing = (old * new < 0) & (change != 0)
        steps = np.append(-old[crossing] / change[crossing], 1.0)
        QA = Q[np.ix_(A, A)]
        values = []
        for step in steps:
            w = old + step * change
            values.append(0.5 * w @ QA @ w - b[A] @ w + penalty * np.abs(w).sum())
        step = float(steps[int(np.argmin(values))])
        w = old + step * change
        w[np.abs(w) <= 1e-15 * max(float(np.abs(w).max()), 1e-300)] = 0.0
        if step < 1:
            w[crossing & (np.abs(old + step * change) <= 1e-12 * np.abs(change))] = 0.0
        u[A] = w
        signs = np.sign(u)
    raise NumericalError("the elastic net does not converge: raise the penalty or lower l1_ratio")
