"""Moments of rows with missing values, by maximum likelihood: expectation and maximisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastcca._arguments.arrays import (
    as_matrix,
    as_weights,
    check_same_length,
    check_same_rows,
    column_names,
    filled_masked,
    refuse_infinite,
)
from fastcca._arguments.parameters import POSITIVE, POSITIVE_INTEGER
from fastcca._arguments.warn import warn
from fastcca.errors import NumericalError
from fastcca.functional.linalg import product
from fastcca.functional.moments import Moments, from_parts

__all__ = ["CompletedMoments", "column_labels", "completed", "conditional_means", "em_moments"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_HELD = 2**22  # numbers of the patterns' matrices held at a time
_DEPENDENT = 1e10  # a column that others explain up to this part of its variance depends on them
_LONGEST = 1e3  # steps that are tried at once
_ROWS_FOR_ITSELF = 4  # rows of a pattern from which on it gets a product of its own


class CompletedMoments(NamedTuple):
    """What :func:`em_moments` found.

    Attributes
    ----------
    moments : Moments
        Maximum-likelihood mean and covariance, as the moments of ``n`` complete rows.
    log_likelihood : ndarray of shape (n_iter + 1,)
        Of the values that are there, before each iteration and after the last; it never falls.
    n_iter : int
        Iterations; 0 where nothing is missing.
    converged : bool
        Whether the last step was within ``tol``.
    n_incomplete : int
        Rows with a missing value, among those that count.
    n_left_out : int
        Rows without any value.
    """

    moments: Moments
    log_likelihood: Floats
    n_iter: int
    converged: bool
    n_incomplete: int
    n_left_out: int


def em_moments(
    *views: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
    max_iter: int = 1000,
    tol: float = 1e-5,
    n_threads: int | None = None,
) -> CompletedMoments:
    r"""Moments of views with missing values (NaN), under a normal distribution of all columns.

    Each iteration takes the expected sums and products of the missing values given those of their row that
    are there, and from these the next mean and covariance (the EM algorithm). What is estimated is unbiased
    where values are missing at random: whether one is missing may depend on values that are there, not on
    itself.

    Parameters
    ----------
    *views : array_like of shape (n, dims[i])
        Rows of all views belong together; missing values are NaN, None or masked.
    sample_weight : array_like of shape (n,), optional
        Weights >= 0, which count as repetitions of a row.
    names : sequence of str, optional
        What error messages call the views; "X", "y" where there are two.
    max_iter : int, default=1000
        Most iterations.
    tol : float, default=1e-5
        The change of mean and covariance at which the iterations end, relative to the covariance before:
        the norm of :math:`S^{-1/2} \Delta S S^{-1/2}`, which no choice of units or axes makes small.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`.

    Returns
    -------
    CompletedMoments

    Raises
    ------
    ValueError
        For a column without any value, views of different numbers of rows, infinity, and no more rows
        than columns.
    NumericalError
        If a column becomes a linear combination of others: its missing values are not determined by a
        covariance that has an inverse. (It is a ValueError as well.)

    Warns
    -----
    UserWarning
        If the iterations end at ``max_iter``.

    Notes
    -----
    With the precision P of all columns, a row with missing columns M and the others centred has the
    conditional mean :math:`-P_{MM}^{-1} P_{MO} x_O` and covariance :math:`P_{MM}^{-1}`: a row costs a
    product with P, and a matrix as large as its values missing is inverted once for each pattern of them.

    References
    ----------
    A. P. Dempster, N. M. Laird and D. B. Rubin, "Maximum likelihood from incomplete data via the EM
    algorithm", Journal of the Royal Statistical Society B 39, 1977.

    R. Varadhan and C. Roland, "Simple and globally convergent methods for accelerating the convergence of any
    EM algorithm", Scandinavian Journal of Statistics 35, 2008 (the steps between iterations).

    R. J. A. Little and D. B. Rubin, "Statistical Analysis with Missing Data", Wiley 2002, chapter 11.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import CCA
    >>> from fastcca.functional import em_moments
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3))
    >>> y = X[:, :2] + 0.5 * rng.normal(size=(500, 2))
    >>> X[rng.random(X.shape) < 0.1] = np.nan
    >>> found = em_moments(X, y)
    >>> found.converged, bool(CCA().fit_moments(found.moments).canonical_correlations_[0] > 0.85)
    (True, True)
    """
    POSITIVE_INTEGER("max_iter", max_iter)
    POSITIVE("tol", tol)
    if not views:
        raise ValueError("em_moments takes at least one view")
    if names is None:
        names = ("X", "y") if len(views) == 2 else [f"views[{i}]" for i in range(len(views))]
    check_same_rows(**dict(zip(names, views, strict=True)), sample_weight=sample_weight)
    arrays = {}
    for name, view in zip(names, views, strict=True):
        arrays[name] = as_matrix(name, filled_masked(view), vector=True, frames_finite=False)
        refuse_infinite(name, arrays[name], view)
    check_same_length(**arrays)
    weights = as_weights(sample_weight, len(arrays[names[0]]), more_than=1.0)
    known = {name: column_names(view) for name, view in zip(names, views, strict=True)}
    labels = column_labels(known, arrays)
    return completed(arrays, weights, labels, int(max_iter), float(tol), n_threads)


def column_labels(names: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    """What messages call the stacked columns, by the names of those of each view, where there are some."""
    return [
        f"column {i}{'' if names[view] is None else f' ({names[view][i]!r})'} of {view}"
        for view, a in arrays.items()
        for i in range(a.shape[1])
    ]


def completed(
    views: Mapping[str, npt.NDArray[Any]],
    w: Floats | None,
    labels: list[str],
    max_iter: int = 1000,
    tol: float = 1e-5,
    n_threads: int | None = None,
) -> CompletedMoments:
    """:func:`em_moments` of checked arrays and weights."""
    names, arrays = list(views), list(views.values())
    missing = np.hstack([np.isnan(a) for a in arrays])
    counted: Mask = np.asarray(~missing.all(axis=1))
    if w is not None:
        counted &= w > 0
    if not missing[counted].any():
        rows: Any = slice(None) if counted.all() else counted
        moments = Moments().update(
            *(a[rows] for a in arrays),
            sample_weight=None if w is None else w[rows],
            names=names,
            dtype=np.float64,
            n_threads=n_threads,
        )
        return CompletedMoments(moments, np.zeros(0), 0, True, 0, int((~counted).sum()))
    weights = np.ones(len(counted)) if w is None else w
    data = np.hstack([a[counted].astype(np.float64) for a in arrays])
    em = _Expectations(data, missing[counted], weights[counted], labels, n_threads)
    at, history, n_iter, moved = _maximised(em, max_iter, tol)
    converged = moved <= tol
    if not converged:
        warn(
            f"the moments of rows with missing values have not converged after {n_iter} iterations: the last "
            f"changed them by {moved:.1e}. Too little is known of some columns; leave them "
            "out, or raise max_iter"
        )
    moments = em.moments(*at, arrays)
    incomplete = int(missing[counted].any(axis=1).sum())
    return CompletedMoments(
        moments, np.asarray(history), n_iter, converged, incomplete, int((~counted).sum())
    )


class _Parameters(NamedTuple):
    mean: Floats
    S: Floats

    def moved(self, r: _Parameters, v: _Parameters, alpha: float) -> _Parameters:
        """θ - 2 α r + α² v"""
        return _Parameters(*(t - 2 * alpha * a + alpha**2 * b for t, a, b in zip(self, r, v, strict=True)))

    def minus(self, other: _Parameters) -> _Parameters:
        return _Parameters(self.mean - other.mean, self.S - other.S)

    def size(self) -> float:
        return float(np.sqrt((self.mean**2).sum() + (self.S**2).sum()))


def _maximised(em: _Expectations, max_iter: int, tol: float) -> tuple[_Parameters, list[float], int, float]:
    """Parameters, log-likelihoods, the number of iterations, and how far the last one went.

    After each two steps θ0, θ1, θ2 along r and r + v, one as long as these promise is tried, by
    α = -|r| / |v| (Varadhan and Roland's squared extrapolation), and kept if the likelihood does not fall.
    """
    at = _Parameters(np.zeros(em.d), np.eye(em.d))
    value, following, moved = em.step(at)
    history, first = [value], None
    for n_iter in range(1, max_iter + 1):
        step = following.minus(at)
        before, at = at, following
        if moved <= tol or n_iter == max_iter:
            history.append(em.step(at)[0])
            break
        tried = None
        if first is None:
            first = before, step
        else:
            start, r = first
            v = step.minus(r)
            alpha = max(-_LONGEST, -r.size() / max(v.size(), np.finfo(float).tiny))
            first = None
            if alpha < -1:
                tried = start.moved(r, v, alpha)
        if tried is not None:
            usual = em.inflation
            try:
                value, following, moved = em.step(tried)
            except ValueError:  # no covariance
                value = -np.inf
            # near a singular covariance rounding decides
            if value >= history[-1] and em.inflation <= 100 * usual:
                at = tried
                history.append(value)
                continue
        value, following, moved = em.step(at)
        history.append(value)
    return at, history, len(history) - 1, moved


class _Pattern(NamedTuple):
    """Rows that miss the same number of columns, sorted by which."""

    columns: npt.NDArray[np.intp]  # (g, m): those missing of each of g patterns
    rows: npt.NDArray[np.intp]  # (r,)
    of_row: npt.NDArray[np.intp]  # (r,): the pattern of each row
    starts: npt.NDArray[np.intp]  # (g + 1,): where the rows of each pattern begin
    weights: Floats  # (g,): sums over the rows


def _patterns(missing: Mask, weights: Floats) -> list[_Pattern]:
    """The patterns of missing values by the number of them."""
    packed, of_row = np.unique(np.packbits(missing, axis=1), axis=0, return_inverse=True)
    of_row = of_row.ravel()
    masks = np.unpackbits(packed, axis=1, count=missing.shape[1]).astype(bool)
    counts = masks.sum(axis=1)
    found = []
    for m in np.unique(counts[counts > 0]):
        chosen = np.flatnonzero(counts == m)
        step = max(1, int(_HELD // m**2))
        for start in range(0, len(chosen), step):
            some = chosen[start : start + step]
            place = np.full(len(masks), -1)
            place[some] = np.arange(len(some))
            rows = np.flatnonzero(place[of_row] >= 0)
            order = np.argsort(place[of_row[rows]], kind="stable")
            rows = rows[order]
            own = place[of_row[rows]]
            starts = np.searchsorted(own, np.arange(len(some) + 1))
            sums: Floats = np.bincount(own, weights[rows], minlength=len(some)).astype(np.float64)
            columns = np.array([np.flatnonzero(masks[g]) for g in some])
            found.append(_Pattern(columns, rows, own, starts, sums))
    return found


class _Expectations:
    """The data as the iterations take them: complete rows as their moments, columns in standard units."""

    def __init__(
        self, data: Floats, missing: Mask, weights: Floats, labels: list[str], n_threads: int | None
    ) -> None:
        self.n_threads, self.labels = n_threads, labels
        self.inflation = 1.0  # the largest variance inflation factor of the last step
        w = weights[:, np.newaxis] * ~missing
        known = w.sum(axis=0)
        if not known.all():
            raise ValueError(f"{labels[int(known.argmin())]} has no value at all: leave it out")
        data = np.where(missing, 0.0, data)
        first = data[(~missing & (weights > 0)[:, np.newaxis]).argmax(axis=0), np.arange(data.shape[1])]
        centred = np.where(missing, 0.0, data - first)  # a constant column becomes exactly 0
        offset = (w * centred).sum(axis=0) / known
        self.centre = first + offset
        centred = np.where(missing, 0.0, centred - offset)
        variance = (w * centred**2).sum(axis=0) / known
        self.varies = variance > (4 * np.finfo(float).eps * np.abs(self.centre)) ** 2
        self.scale = np.sqrt(np.where(self.varies, variance, 1.0))
        # rows that have a value in a column that varies
        missing = missing[:, self.varies]
        informed = ~missing.all(axis=1)
        missing, weights = missing[informed], weights[informed]
        z = (centred[informed][:, self.varies]) / self.scale[self.varies]
        self.labels = [label for label, varies in zip(labels, self.varies, strict=True) if varies]
        self.d, self.n = z.shape[1], float(weights.sum())
        if self.n <= self.d:
            raise ValueError(
                f"missing values can be estimated from more rows than columns, got {self.n:g} rows and "
                f"{self.d} columns of all views: leave columns out, or fill the values in first"
            )
        complete = ~missing.any(axis=1)
        self.whole = None
        if complete.any():
            self.whole = Moments().update(
                z[complete], sample_weight=weights[complete], n_threads=n_threads, dtype=np.float64
            )
        self.z, self.missing, self.weights = z[~complete], missing[~complete], weights[~complete]
        self.patterns = _patterns(self.missing, self.weights)
        there = self.weights[:, np.newaxis] * ~self.missing
        n_whole = 0.0 if self.whole is None else self.whole.n
        # of the normal density in the units of the data
        log_scale = np.log(self.scale[self.varies])
        self.constant = -0.5 * np.log(2 * np.pi) * (n_whole * self.d + there.sum())
        self.constant -= float((n_whole + there.sum(axis=0)) @ log_scale)

    def step(self, at: _Parameters) -> tuple[float, _Parameters, float]:
        """Log-likelihood of these parameters, those that maximise the expected one, and how far these are.

        The distance is that of the covariances and means of columns which the first parameters make white.
        """
        mean, S = at
        P, log_det = self._precision(S)
        R = np.where(self.missing, 0.0, self.z - mean)
        A = product(R, P, self.n_threads) if len(R) else R
        value = log_det * self.n + float(self.weights @ np.einsum("ij,ij->i", R, A))
        total = np.zeros(self.d * self.d)
        for columns, rows, of_row, starts, weights in self.patterns:
            inverse, log_dets = _inverse(P[columns[:, :, np.newaxis], columns[:, np.newaxis, :]])
            value += float(weights @ log_dets)
            for part, expected in _expected(A, columns, rows, of_row, starts, inverse):
                own = np.take_along_axis(A[rows[part]], columns[of_row[part]], axis=1)
                value += float(self.weights[rows[part]] @ np.einsum("ij,ij->i", own, expected))
                R[rows[part, np.newaxis], columns[of_row[part]]] = expected
            place = columns[:, :, np.newaxis] * self.d + columns[:, np.newaxis, :]
            part_of = (weights[:, np.newaxis, np.newaxis] * inverse).ravel()
            total += np.bincount(place.ravel(), part_of, minlength=len(total))
        weighted = R * self.weights[:, np.newaxis]
        sums = weighted.sum(axis=0)
        squares = total.reshape(self.d, self.d)
        if len(R):
            squares = squares + product(R.T, weighted, self.n_threads)
        if self.whole is not None:
            away = self.whole.mean - mean
            own_squares = self.whole.scatter + self.whole.n * np.outer(away, away)
            value += float((P * own_squares).sum())
            sums = sums + self.whole.n * away
            squares = squares + own_squares
        shift = sums / self.n
        covariance = squares / self.n - np.outer(shift, shift)
        covariance = (covariance + covariance.T) / 2
        turn = product(P, covariance - S, self.n_threads)
        moved = np.sqrt(max(0.0, float((turn * turn.T).sum()) + float(shift @ P @ shift)))
        return self.constant - 0.5 * value, _Parameters(mean + shift, covariance), float(moved)

    def _precision(self, S: Floats) -> tuple[Floats, float]:
        try:
            L = np.linalg.cholesky(S)
            root = np.linalg.inv(L)
            P = root.T @ root
        except np.linalg.LinAlgError:
            P = np.full_like(S, np.inf)
        inflation = P.diagonal() * S.diagonal()
        self.inflation = float(inflation.max())
        if not inflation.max() < _DEPENDENT:
            ordered = np.argsort(-inflation)[:5]
            named = ", ".join(self.labels[i] for i in ordered if not inflation[i] < _DEPENDENT**0.5)
            raise NumericalError(
                "missing values cannot be estimated where columns depend on one another, or so few rows "
                f"have a value in them together: {named}. Leave one of them out, or the rows (missing='drop')"
            )
        return P, 2 * float(np.log(L.diagonal()).sum())

    def moments(self, mean: Floats, S: Floats, arrays: Sequence[npt.NDArray[Any]]) -> Moments:
        """In the units of the data, with the columns that are constant."""
        d = len(self.scale)
        scatter, offset = np.zeros((d, d)), np.zeros(d)
        scale = self.scale[self.varies]
        scatter[np.ix_(self.varies, self.varies)] = self.n * S * np.outer(scale, scale)
        offset[self.varies] = mean * scale
        dims = tuple(a.shape[1] for a in arrays)
        eps = np.repeat([float(np.finfo(a.dtype).eps) for a in arrays], dims)
        rounding = np.full(d, float(np.finfo(np.float64).eps))
        return from_parts(dims, eps, self.n, self.centre, offset, scatter, rounding=rounding)


def _inverse(P: Floats) -> tuple[Floats, Floats]:
    """Inverses and logarithms of the determinants of a stack of positive definite matrices."""
    L = np.linalg.cholesky(P)
    log_dets = 2 * np.log(np.einsum("gii->gi", L)).sum(axis=1)
    inverse = np.linalg.inv(L)
    return inverse.transpose(0, 2, 1) @ inverse, log_dets


def _expected(
    A: Floats,
    columns: npt.NDArray[np.intp],
    rows: npt.NDArray[np.intp],
    of_row: npt.NDArray[np.intp],
    starts: npt.NDArray[np.intp],
    inverse: Floats,
) -> Iterator[tuple[npt.NDArray[np.intp], Floats]]:
    """Conditional means -A_M P_MM⁻¹ of the missing values of some rows after the other."""
    m = columns.shape[1]
    if len(rows) >= _ROWS_FOR_ITSELF * len(columns):
        for g, own in enumerate(columns):
            part = np.arange(starts[g], starts[g + 1])
            yield part, -A[np.ix_(rows[part], own)] @ inverse[g]
        return
    step = max(1, _HELD // m**2)
    for start in range(0, len(rows), step):
        part = np.arange(start, min(start + step, len(rows)))
        own = np.take_along_axis(A[rows[part]], columns[of_row[part]], axis=1)
        yield part, -(own[:, np.newaxis, :] @ inverse[of_row[part]])[:, 0]


def conditional_means(data: npt.NDArray[Any], mean: Floats, S: Floats) -> npt.NDArray[Any]:
    """Rows with what is missing in its conditional mean given the rest of the row; the means of empty rows.

    ``S`` is a covariance of the columns; those of variance 0 get their mean.
    """
    missing = np.isnan(data)
    if not missing.any():
        return data
    out = np.array(data)
    scale = np.sqrt(np.where(S.diagonal() > 0, S.diagonal(), 1.0))
    R = np.where(missing, 0.0, (data - mean) / scale)
    correlations = S / np.outer(scale, scale)
    weights = np.ones(len(data))
    for columns, rows, _, starts, _ in _patterns(missing, weights):
        for g, own in enumerate(columns):
            part = rows[starts[g] : starts[g + 1]]
            there = np.setdiff1d(np.arange(len(mean)), own)
            inverse = np.linalg.pinv(correlations[np.ix_(there, there)], rcond=1e-10, hermitian=True)
            expected = R[np.ix_(part, there)] @ (inverse @ correlations[np.ix_(there, own)])
            out[np.ix_(part, own)] = mean[own] + expected * scale[own]
    return out
