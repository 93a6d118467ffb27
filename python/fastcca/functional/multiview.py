"""Any number of views, from their moments: whitening, the multiview eigenproblem, rows that lack a view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastcca import _core
from fastcca._arguments.parameters import thread_count
from fastcca.errors import NumericalError
from fastcca.functional.linalg import product
from fastcca.functional.moments import Moments, from_parts
from fastcca.functional.solver import moments_parts

__all__ = [
    "PairwiseMoments",
    "ViewsSolution",
    "Whitening",
    "fixed_signs",
    "patterns",
    "select",
    "solve_views",
    "whiten",
]

Array = npt.NDArray[np.float64]
Pattern = tuple[int, ...]


@dataclass(frozen=True)
class Whitening:
    """One view's weights W with W'(S + rI)W = I, and what the rank rule found.

    Attributes
    ----------
    weights : ndarray of shape (p, directions)
        Rows of zero for constant columns.
    rank : int
        Numerical rank of the centred view, whatever the ridge.
    condition : float
        Estimated condition number of the regularised view, its columns brought to unit variance.
    dropped : bool
        Whether directions that are not constant columns were left out.
    lost : float
        The largest standard deviation among them.
    """

    weights: Array
    rank: int
    condition: float
    dropped: bool
    lost: float


def whiten(
    moments: Moments, view: int, reg: float = 0.0, name: str | None = None, n_threads: int | None = None
) -> Whitening:
    """Whiten one view of ``moments`` by the rank rule of :func:`solve_moments`.

    Parameters
    ----------
    moments : Moments
        Of any number of views.
    view : int
        Which of them.
    reg : float
        Ridge added to the variances.
    name : str, optional
        What errors call the view.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    Whitening

    Raises
    ------
    ValueError
        For one sample or none.
    NumericalError
        If every column of the view is constant, or variances overflow or underflow.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import Moments
    >>> from fastcca.functional.multiview import whiten
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> W = whiten(Moments().update(X), 0).weights
    >>> bool(np.allclose(W.T @ np.cov(X.T) @ W, np.eye(3)))
    True
    """
    if moments.n <= 1:
        raise ValueError(f"a covariance takes more than 1 sample, got n = {moments.n:g}")
    columns = moments.slices[view]
    found = _core.whiten_moments(
        moments_parts(moments),
        columns.start,
        moments.dims[view],
        float(reg),
        f"views[{view}]" if name is None else name,
        thread_count(n_threads),
    )
    return Whitening(*found)


@dataclass(frozen=True)
class ViewsSolution:
    """Weights of the views' variates.

    Attributes
    ----------
    weights : tuple of ndarray of shape (p_i, k)
        One matrix per view.
    common : ndarray of shape (d, k)
        Weights of the stacked columns whose variate is common to the views.
    eigenvalues : ndarray of shape (k,)
        λ, descending.
    whitenings : tuple of Whitening
        One per view.
    """

    weights: tuple[Array, ...]
    common: Array
    eigenvalues: Array
    whitenings: tuple[Whitening, ...]


def solve_views(
    moments: Moments,
    n_components: int,
    regs: Sequence[float],
    *,
    criterion: Literal["sumcor", "maxvar"] = "sumcor",
    view_weights: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    n_threads: int | None = None,
) -> ViewsSolution:
    r"""The leading solutions of the multiview eigenproblem, from moments.

    With :math:`W_i^\top (S_{ii} + r_i I) W_i = I` and :math:`C_{ij} = W_i^\top S_{ij} W_j`, eigenvectors v of

    .. math:: R_{ij} = \sqrt{\omega_i \omega_j}\, C_{ij}\ (i \ne j), \qquad
       R_{ii} = I + (\omega_i - 1) C_{ii}\ \text{("sumcor")},\quad \omega_i C_{ii}\ \text{("maxvar")}.

    Both are the same without a ridge. A view of weight ω = 2 counts as the same view given twice.

    Parameters
    ----------
    moments : Moments
        Of two views or more.
    n_components : int
        Upper bound of the number of components; the second largest rank of the views is another.
    regs : sequence of float
        Ridge of each view.
    criterion : {"sumcor", "maxvar"}
        "sumcor": weights with :math:`\sum_i \omega_i w_i^\top (S_{ii} + r_i I) w_i = \sum_i \omega_i`; of two
        views those of CCA. "maxvar": each view's ridge regression on a common variate of unit variance.
    view_weights : sequence of float, optional
        ω, positive; ones by default.
    names : sequence of str, optional
        What errors call the views.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    ViewsSolution
        In each column of the first view's weights the entry of largest magnitude is positive.

    Raises
    ------
    NumericalError
        If every column of a view is constant.

    References
    ----------
    J. R. Kettenring, "Canonical analysis of several sets of variables", Biometrika 58, 1971.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import Moments, solve_moments
    >>> from fastcca.functional.multiview import solve_views
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(50, 3))
    >>> moments = Moments().update(X, X[:, :2] + rng.normal(size=(50, 2)))
    >>> solution = solve_views(moments, 2, (0.0, 0.0))
    >>> bool(np.allclose(solution.eigenvalues - 1, solve_moments(moments).singular_values))
    True
    """
    m = len(moments.dims)
    omega = np.ones(m) if view_weights is None else np.asarray(view_weights, dtype=np.float64)
    names = [f"views[{i}]" for i in range(m)] if names is None else names
    found = [
        whiten(moments, i, r, name, n_threads) for i, (r, name) in enumerate(zip(regs, names, strict=True))
    ]
    R = _whitened(moments, found, omega, n_threads)
    ends = np.cumsum([w.weights.shape[1] for w in found]).tolist()
    blocks = [slice(end - w.weights.shape[1], end) for end, w in zip(ends, found, strict=True)]
    if criterion == "sumcor":
        for block, weight in zip(blocks, omega, strict=True):
            R[block, block] *= (weight - 1) / weight
            R[block, block] += np.eye(block.stop - block.start)
    k = min(n_components, sorted(min(w.rank, w.weights.shape[1]) for w in found)[-2])
    # R is positive semidefinite: its singular vectors are its eigenvectors
    v, eigenvalues, _ = _core.truncated_svd(R, k, 1e-12, thread_count(n_threads))
    eigenvalues = np.maximum(eigenvalues, np.finfo(np.float64).tiny)
    common = np.vstack(
        [
            product(w.weights, np.sqrt(weight) * v[block], n_threads)
            for w, weight, block in zip(found, omega, blocks, strict=True)
        ]
    ) / np.sqrt(eigenvalues)
    if criterion == "sumcor":
        scale = np.sqrt(omega.sum()) * np.sqrt(eigenvalues)
        parts = [common[s] * scale / weight for s, weight in zip(moments.slices, omega, strict=True)]
    else:
        with_common = product(moments.scatter, common, n_threads) / (moments.n - 1)
        parts = [
            product(w.weights, product(w.weights.T, with_common[s], n_threads), n_threads)
            for w, s in zip(found, moments.slices, strict=True)
        ]
    signs = fixed_signs(parts[0])
    weights = tuple(part * signs for part in parts)
    for name, part in zip(names, weights, strict=True):
        if not np.isfinite(part).all():
            raise NumericalError(f"the weights of {name} overflow: scale its columns up")
    return ViewsSolution(weights, common * signs, eigenvalues, tuple(found))


def _whitened(moments: Moments, found: Sequence[Whitening], omega: Array, n_threads: int | None) -> Array:
    """√(ωᵢ ωⱼ) Wᵢ' S_ij Wⱼ, all blocks."""
    slices = moments.slices
    with np.errstate(over="ignore", invalid="ignore"):
        half = np.hstack(
            [
                product(moments.scatter[:, s], w.weights * np.sqrt(weight / (moments.n - 1)), n_threads)
                for s, w, weight in zip(slices, found, omega, strict=True)
            ]
        )
        R = np.vstack(
            [
                product(np.sqrt(weight / (moments.n - 1)) * w.weights.T, half[s], n_threads)
                for s, w, weight in zip(slices, found, omega, strict=True)
            ]
        )
    if not np.isfinite(R).all():
        raise NumericalError("the covariances between the views overflow: rescale their columns")
    symmetric: Array = (R + R.T) / 2
    return symmetric


def fixed_signs(weights: Array) -> Array:
    """Signs that make the entry of largest magnitude in each column positive, the first of equal ones."""
    size = np.abs(weights)
    first = (size >= size.max(axis=0) * (1 - 1e-12)).argmax(axis=0)
    return np.where(np.take_along_axis(weights, first[None], axis=0)[0] < 0, -1.0, 1.0)


class PairwiseMoments:
    """Moments of rows some of which lack a view: one :class:`Moments` for each set of views that rows have.

    They add up and subtract as :class:`Moments` do. :meth:`stacked` gives moments of all views.

    Attributes
    ----------
    dims : tuple of int
        Columns of each view.
    parts : dict
        From the indices of the views that some rows have to the moments of these rows.
    """

    def __init__(self, dims: Sequence[int], parts: Mapping[Pattern, Moments] | None = None) -> None:
        self.dims = tuple(int(d) for d in dims)
        self.parts: dict[Pattern, Moments] = dict(parts or {})

    @property
    def n(self) -> float:
        """Sum of the weights of all rows."""
        return sum(part.n for part in self.parts.values())

    @property
    def complete(self) -> bool:
        """Whether every row has every view."""
        return set(self.parts) <= {tuple(range(len(self.dims)))}

    def update(
        self,
        views: Sequence[npt.NDArray[Any]],
        present: Sequence[npt.NDArray[np.bool_]],
        sample_weight: Array | None = None,
        *,
        names: Sequence[str],
        dtype: Any = None,
        n_threads: int | None = None,
    ) -> PairwiseMoments:
        """Add rows, of each view those where ``present`` is true."""
        for pattern, rows in patterns(present):
            parts = [views[i] if rows is None else views[i][rows] for i in pattern]
            weights = sample_weight if sample_weight is None or rows is None else sample_weight[rows]
            options: dict[str, Any] = {"dtype": dtype, "n_threads": n_threads}
            moments = self.parts[pattern].copy() if pattern in self.parts else Moments()
            self.parts[pattern] = moments.update(
                *parts, sample_weight=weights, names=[names[i] for i in pattern], **options
            )
        return self

    def __add__(self, other: PairwiseMoments) -> PairwiseMoments:
        parts = dict(self.parts)
        for pattern, moments in other.parts.items():
            parts[pattern] = parts[pattern] + moments if pattern in parts else moments
        return PairwiseMoments(self.dims, parts)

    def __sub__(self, other: PairwiseMoments) -> PairwiseMoments:
        parts = dict(self.parts)
        for pattern, moments in other.parts.items():
            parts[pattern] = parts[pattern] - moments
            if parts[pattern].n <= 0:
                del parts[pattern]
        return PairwiseMoments(self.dims, parts)

    def pairwise_n(self) -> Array:
        """Sum of the weights of the rows that have views i and j, shape (views, views)."""
        counts = np.zeros((len(self.dims), len(self.dims)))
        for pattern, moments in self.parts.items():
            counts[np.ix_(pattern, pattern)] += moments.n
        return counts

    def stacked(self, names: Sequence[str]) -> Moments:
        """Moments of all views.

        Of complete rows they are exact. Else covariances between two views are those of the rows that have
        both, about the means of these rows; n is the smallest number of rows that a pair has. Where such
        covariances are not positive semidefinite, the matrix of correlations is replaced by the nearest one
        in the Frobenius norm that is (negative eigenvalues set to 0), brought back to a diagonal of ones.

        Raises
        ------
        ValueError
            If a pair of views has fewer than two rows in common.
        """
        m = len(self.dims)
        if self.complete:
            return self.parts[tuple(range(m))]
        counts = self.pairwise_n()
        for i in range(m):
            for j in range(i, m):
                if counts[i, j] <= 1:
                    both = f"views {names[i]!r} and {names[j]!r} have" if i != j else f"view {names[i]!r} has"
                    raise ValueError(
                        f"{both} {counts[i, j]:g} rows{' in common' if i != j else ''}, at least 2 are needed"
                    )
        ends = np.cumsum(self.dims).tolist()
        slices = [slice(end - dim, end) for end, dim in zip(ends, self.dims, strict=True)]
        d, n = sum(self.dims), float(counts.min())
        S, shift, offset, eps, rounding = np.empty((d, d)), np.empty(d), np.empty(d), np.empty(d), np.empty(d)
        for i in range(m):
            for j in range(i, m):
                pair = self.pair(i, j)
                block = pair.covariance(0, len(pair.dims) - 1)
                S[slices[i], slices[j]], S[slices[j], slices[i]] = block, block.T
                if i == j:
                    s = slices[i]
                    shift[s], offset[s] = pair.shift, pair.offset
                    eps[s], rounding[s] = pair.eps, pair.rounding
        S = _nearest_covariance(S)
        return from_parts(self.dims, eps, n, shift, offset, S * (n - 1), rounding=rounding)

    def pair(self, i: int, j: int) -> Moments:
        """Moments of views i and j over the rows that have both."""
        total = Moments()
        for pattern, moments in self.parts.items():
            if i in pattern and j in pattern:
                total = total + select(moments, sorted({pattern.index(i), pattern.index(j)}))
        return total


def select(moments: Moments, views: Sequence[int]) -> Moments:
    """The moments of some of the views, in the order given."""
    if list(views) == list(range(len(moments.dims))):
        return moments
    columns = np.concatenate([np.arange(moments.slices[i].start, moments.slices[i].stop) for i in views])
    return from_parts(
        tuple(moments.dims[i] for i in views),
        moments.eps[columns],
        moments.n,
        moments.shift[columns],
        moments.offset[columns],
        moments.scatter[np.ix_(columns, columns)],
        rounding=moments.rounding[columns],
    )


def patterns(
    present: Sequence[npt.NDArray[np.bool_]],
) -> Iterator[tuple[Pattern, npt.NDArray[np.intp] | None]]:
    """Each set of views that rows have, with these rows: None where it is all of them."""
    if all(mask.all() for mask in present):
        yield tuple(range(len(present))), None
        return
    sets, which = np.unique(np.column_stack(present), axis=0, return_inverse=True)
    for number, mask in enumerate(sets):
        yield tuple(np.flatnonzero(mask).tolist()), np.flatnonzero(which.ravel() == number)


def _nearest_covariance(S: Array) -> Array:
    """S, or where it has negative eigenvalues that of the nearest matrix of correlations without."""
    scale = np.sqrt(S.diagonal())
    safe = np.where(scale > 0, scale, 1.0)
    correlations = S / np.outer(safe, safe)
    values, vectors = np.linalg.eigh(correlations)
    if values[0] >= -len(S) * np.finfo(np.float64).eps * values[-1]:
        return S
    repaired = (vectors * np.maximum(values, 0.0)) @ vectors.T
    units = np.where(scale > 0, safe / np.sqrt(np.where(scale > 0, repaired.diagonal(), 1.0)), 0.0)
    out: Array = repaired * np.outer(units, units)
    return (out + out.T) / 2
