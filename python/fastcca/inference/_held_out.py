"""Held-out correlations of the data and of shuffles, from whitened scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from fastcca.inference._resampled import pairs

__all__ = ["HeldOut"]

Floats = NDArray[np.float64]


class HeldOut:
    """Mean over the folds of the correlations of the held-out rows' scores.

    Scores with Z'Z / (n - 1) + P = I hold all that a fit to some of the rows reads of a view: its ridge is
    P in their coordinates.
    """

    def __init__(self, views: tuple[Floats, Floats], k: int, cv: Any, ridge: bool) -> None:
        self.views, self.k = views, k
        self.folds = [
            (np.asarray(train), np.asarray(test)) for train, test in check_cv(cv).split(views[0], views[1])
        ]
        if min(len(test) for _, test in self.folds) < 2:
            raise ValueError("cv must leave at least two rows in each fold, to correlate their scores")
        n = len(views[0])
        self.penalties = tuple(
            np.eye(z.shape[1]) - z.T @ z / (n - 1) if ridge else np.zeros((z.shape[1],) * 2) for z in views
        )

    def of(self, order: NDArray[np.intp] | None = None, kept: int = 0) -> Floats:
        """(k,): where row i of the first view is paired with row order[i] of the second.

        The first ``kept`` columns of the second view stay: the pairs before the one that is tested.
        """
        x, y = self.views
        Z = np.hstack([x, y if order is None else np.hstack([y[:, :kept], y[order, kept:]])])
        r = x.shape[1]
        found = pairs(np.stack([_covariance(Z[train]) for train, _ in self.folds]), r, self.penalties, self.k)
        held_out = np.zeros((len(self.folds), self.k))
        for f, (_, test) in enumerate(self.folds):
            S = _covariance(Z[test])
            a, b = found.x[f], found.y[f]
            across = np.einsum("ik,ij,jk->k", a, S[:r, r:], b, optimize=True)
            of_x, of_y = (
                np.einsum("ik,ij,jk->k", c, block, c, optimize=True)
                for c, block in ((a, S[:r, :r]), (b, S[r:, r:]))
            )
            scale = np.sqrt(np.maximum(of_x, 0) * np.maximum(of_y, 0))
            held_out[f, : len(across)] = np.divide(
                across, scale, out=np.zeros_like(across), where=scale > 1e-12
            )
        return np.asarray(held_out.mean(axis=0))


def _covariance(Z: Floats) -> Floats:
    centred = Z - Z.mean(axis=0)
    return np.asarray(centred.T @ centred / (len(Z) - 1))
