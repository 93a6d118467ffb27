"""What is left of views when confounds are regressed out of them, from moments: the Schur complement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.arrays import as_matrix, filled_masked, refuse_non_finite
from fastcca.errors import NumericalError
from fastcca.functional.linalg import product
from fastcca.functional.moments import Moments, from_parts
from fastcca.functional.multiview import Whitening, select, whiten

__all__ = [
    "Confounding",
    "check_confounds",
    "confounding_of_rows",
    "mapped_residuals",
    "moments_with",
    "partial_moments",
]

Floats = NDArray[np.float64]
NOTHING = 256 * float(np.finfo(np.float64).eps)  # of a column's scatter: what rounding leaves of zero


class Confounding(NamedTuple):
    """How confounds enter the columns of the views: centred columns ≈ (Z - mean) @ coefficients."""

    mean: Floats  # (c,)
    coefficients: tuple[Floats, ...]  # (c, p_i) each
    rank: int

    def residuals(self, view: int, data: NDArray[Any], Z: NDArray[Any]) -> NDArray[Any]:
        """The rows less what the confounds explain of them, in the dtype of the rows."""
        return np.asarray(data - self.explained(view, Z), dtype=data.dtype)

    def explained(self, view: int, Z: NDArray[Any]) -> Floats:
        """What the confounds explain of the rows."""
        return np.asarray((Z - self.mean) @ self.coefficients[view])

    def of(self, views: Sequence[int]) -> Confounding:
        """The same of some of the views."""
        return self._replace(coefficients=tuple(self.coefficients[view] for view in views))


def check_confounds(
    owner: str,
    confounds: Any,
    n_rows: int,
    fitted: Confounding | None,
    *,
    reset: bool,
    of: str = "X",
    missing: bool = False,
) -> NDArray[Any] | None:
    """Confounds as a 2-d float array of this number of rows, those of the fit again without ``reset``.

    Values may be ``missing``: they are NaN.
    """
    if confounds is None:
        return None
    if missing:
        confounds = filled_masked(confounds)
    Z = as_matrix("confounds", confounds, vector=True, frames_finite=not missing)
    if len(Z) != n_rows:
        raise ValueError(f"confounds must have the rows of {of}, {n_rows}, got {len(Z)}")
    if reset:
        return Z
    if fitted is None:
        raise ValueError(f"this {owner} was fitted without confounds, and takes none")
    if Z.shape[1] != len(fitted.mean):
        raise ValueError(f"confounds has {Z.shape[1]} columns, but the fit had {len(fitted.mean)}")
    if not missing:
        refuse_non_finite("confounds", Z)
    return Z


def moments_with(
    X: NDArray[Any], y: NDArray[Any], Z: NDArray[Any], weights: Floats | None, n_threads: int | None
) -> Moments:
    """Moments of two views and the confounds, with products in double."""
    names = ("X", "y", "confounds")
    return Moments().update(
        X, y, Z, sample_weight=weights, names=names, dtype=np.float64, n_threads=n_threads
    )


def confounding_of_rows(
    views: tuple[NDArray[Any], ...], Z: NDArray[Any], weights: Floats | None, n_threads: int | None = None
) -> Confounding:
    """The same coefficients from the rows, for views of too many columns for their moments."""
    for name, view in zip(("X", "y"), views, strict=True):
        refuse_non_finite(name, view)
    moments = Moments().update(
        Z, sample_weight=weights, names=("confounds",), dtype=np.float64, n_threads=n_threads
    )
    found = whiten(moments, 0, 0.0, "confounds", n_threads)
    scores = (Z - moments.mean) @ found.weights / (moments.n - 1)
    if weights is not None:
        scores *= weights[:, np.newaxis]
    coefficients = []
    for view in views:
        half = np.zeros((scores.shape[1], view.shape[1]))
        for start in range(0, len(view), 1024):
            rows = slice(start, start + 1024)
            half += scores[rows].T @ view[rows].astype(np.float64, copy=False)
        coefficients.append(found.weights @ half)
    return Confounding(moments.mean, tuple(coefficients), found.rank)


def partial_moments(
    moments: Moments, names: Sequence[str] = ("X", "y"), n_threads: int | None = None
) -> tuple[Moments, Confounding]:
    """Moments of the views' residuals, given the last view, the confounds.

    S_ij − S_iz S_zz⁺ S_zj. The means stay those of the views.

    Raises
    ------
    NumericalError
        If the confounds span a view: nothing is left of it; or if every confound is constant.
    """
    whole = select(moments, range(len(moments.dims) - 1))
    columns, z = slice(0, sum(whole.dims)), moments.slices[-1]
    found = whiten(moments, len(moments.dims) - 1, 0.0, "confounds", n_threads)
    # S_iz W, where W'S_zz W = I
    half = product(moments.scatter[columns, z], found.weights, n_threads) / (moments.n - 1)
    before = whole.scatter.diagonal()
    scatter = whole.scatter - (moments.n - 1) * product(half, half.T.copy(), n_threads)
    scatter = (scatter + scatter.T) / 2
    left = scatter.diagonal().copy()
    gone = left <= NOTHING * _condition(moments, found) ** 2 * before
    gone |= left <= 64 * whole.rounding * before
    scatter[gone, :] = 0
    scatter[:, gone] = 0
    errors = np.divide(whole.rounding * before, left, out=whole.rounding.copy(), where=~gone)
    rounding = np.clip(errors, np.finfo(np.float64).eps, 1.0)
    offset = whole.offset
    for name, s in zip(names, whole.slices, strict=True):
        if gone[s].all() and (before[s] > 0).any():
            raise NumericalError(
                f"the confounds span {name}: nothing of it is left when they are regressed out"
            )
    partial = from_parts(whole.dims, whole.eps, moments.n, whole.shift, offset, scatter, rounding=rounding)
    explained = product(found.weights, half.T.copy(), n_threads)
    coefficients = tuple(explained[:, s] for s in whole.slices)
    return partial, Confounding(moments.mean[z], coefficients, found.rank)


def _condition(moments: Moments, found: Whitening) -> float:
    """Condition number of the confounds, without the directions that the rank rule drops."""
    if not found.dropped:
        return found.condition
    deviations = np.sqrt(moments.scatter.diagonal()[moments.slices[-1]] / (moments.n - 1))
    roots = np.linalg.svd(deviations[:, np.newaxis] * found.weights, compute_uv=False)
    return float(roots[0] / roots[-1])


def mapped_residuals(moments: Moments, confounding: Confounding) -> Moments:
    """Moments of rows of views and confounds, mapped to residuals by coefficients of other rows."""
    whole = select(moments, range(len(moments.dims) - 1))
    d = sum(whole.dims)
    z = moments.slices[-1]
    B = np.hstack(confounding.coefficients)
    # (X - Z B)'(X - Z B)
    half = moments.scatter[:, :d] - moments.scatter[:, z] @ B
    scatter = half[:d] - B.T @ half[z]
    away = moments.mean[z] - confounding.mean
    return from_parts(
        whole.dims,
        whole.eps,
        moments.n,
        whole.shift,
        whole.offset - away @ B,
        (scatter + scatter.T) / 2,
        rounding=whole.rounding,
    )
