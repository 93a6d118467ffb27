"""Scores of many ridges on many splits: from moments where they will do, else by fitting each."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from fastcca._linear import LinearTwoView, _column_statistics, column_variances
from fastcca._statistics import Weights
from fastcca._validation import refuse_non_finite
from fastcca.functional.moments import Moments
from fastcca.functional.solver import held_out_correlations
from fastcca.metrics import column_correlations

__all__ = ["FoldMoments", "PooledScores", "Rows", "Split", "fast_scores", "pooled_scores", "slow_scores"]

Reg = tuple[float, float]
Split = tuple[NDArray[np.intp], NDArray[np.intp]]  # rows to train on, rows to test on

# Above this condition number of a view its covariance, which squares it, loses more than half of the digits.
MAX_CONDITION = 1e4
FOLDS_BYTES = 2**29  # moments of this many bytes are held at once


class Rows(NamedTuple):
    """Checked data of which splits are taken."""

    X: NDArray[Any]
    y: NDArray[Any]
    weights: Weights
    n_threads: int | None

    def take(self, rows: Any) -> tuple[NDArray[Any], NDArray[Any], Weights]:
        return self.X[rows], self.y[rows], None if self.weights is None else self.weights[rows]

    def moments(self, rows: NDArray[np.intp] | None = None) -> Moments:
        """Moments of some rows, of all by default; a run of rows is read in place, others in small copies."""
        if rows is None or (rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all()):
            parts: list[Any] = [slice(None) if rows is None else slice(int(rows[0]), int(rows[-1]) + 1)]
        else:
            step = max(256, 2**21 // (self.X.shape[1] + self.y.shape[1]))
            parts = [rows[start : start + step] for start in range(0, len(rows), step)]
        moments = Moments()
        for part in parts:
            X, y, weights = self.take(part)
            moments.update(X, y, sample_weight=weights, dtype=np.float64, n_threads=self.n_threads)
        return moments


class FoldMoments:
    """The moments that the splits share: of all rows, and of the folds where each row is in one of them."""

    def __init__(self, data: Rows, splits: list[Split]) -> None:
        n = len(data.X)
        width = max(data.X.shape[1], data.y.shape[1])
        # where moments will do
        self.usable = [i for i, (train, _) in enumerate(splits) if len(train) >= width]
        # splits whose training rows are all that are not held out
        self.whole = [
            i for i in self.usable if (np.bincount(np.concatenate(splits[i]), minlength=n) == 1).all()
        ]
        d = data.X.shape[1] + data.y.shape[1]
        self.batch = max(1, FOLDS_BYTES // (8 * d * d))
        self.held_out: dict[int, Moments] = {}
        self.total: Moments | None = None
        if self.whole:
            tested = np.bincount(np.concatenate([splits[i][1] for i in self.whole]), minlength=n)
            if (tested == 1).all() and len(self.whole) <= self.batch:
                # one pass over the data serves all folds and their sum
                self.held_out = {i: data.moments(splits[i][1]) for i in self.whole}
                self.total = sum(self.held_out.values(), Moments())
            else:
                self.total = data.moments()

    def mean_variances(self, data: Rows) -> tuple[float, float]:
        """Of the columns of each view that vary; 1 where none does."""
        if self.total is not None:
            variances = column_variances(self.total)
            parts = [variances[s] for s in self.total.slices]
        else:
            parts = [_column_statistics(n, a, data.weights)[1] for n, a in (("X", data.X), ("y", data.y))]
        x, y = (float(part[part > 0].mean()) if (part > 0).any() else 1.0 for part in parts)
        return x, y


def fast_scores(
    data: Rows, splits: list[Split], shared: FoldMoments, pairs: list[Reg], k: int, scale: bool
) -> NDArray[np.float64]:
    """Scores (splits, ridges) from moments, NaN where they are not accurate enough."""
    scores = np.full((len(splits), len(pairs)), np.nan)
    if shared.total is not None:
        for start in range(0, len(shared.whole), shared.batch):
            some = shared.whole[start : start + shared.batch]
            folds = [shared.held_out.get(i) or data.moments(splits[i][1]) for i in some]
            scores[some] = _scores_of(shared.total, folds, pairs, k, scale, data.n_threads)
    for i in sorted(set(shared.usable) - set(shared.whole)):
        train, test = (data.moments(rows) for rows in splits[i])
        scores[i] = _scores_of(train + test, [test], pairs, k, scale, data.n_threads)
    return scores


def _scores_of(
    total: Moments, folds: list[Moments], pairs: list[Reg], k: int, scale: bool, n_threads: int | None
) -> NDArray[np.float64]:
    """Mean held-out correlation (folds, ridges) with training moments total - fold."""
    if scale:  # by the training rows of each fold
        rows = []
        for fold in folds:
            variances = column_variances(total - fold)
            factors = 1 / np.sqrt(np.where(variances > 0, variances, 1.0))
            units = total.scaled(factors), [fold.scaled(factors)]
            rows.append(_scores_of(*units, pairs, k, False, n_threads))
        return np.vstack(rows)
    scores = np.full((len(folds), len(pairs)), np.nan)
    cured = np.logical_and.reduce([_cured(total - fold, pairs) for fold in folds])
    if cured.any():
        some = [pair for pair, is_cured in zip(pairs, cured, strict=True) if is_cured]
        # NaN stands beyond the rank of a fold's training rows
        scores[:, cured] = np.nanmean(held_out_correlations(total, folds, some, k, n_threads), axis=2)
    return scores


def _cured(train: Moments, pairs: list[Reg]) -> NDArray[np.bool_]:
    """For which ridges the covariances of both views are well-conditioned enough to work with."""
    cured = np.ones(len(pairs), dtype=bool)
    for view in (0, 1):
        r = np.array([pair[view] for pair in pairs])
        covariance = train.covariance(view, view)
        # cond² = (λmax + r) / (λmin + r), and λmax is at most the trace: that settles all but the smallest
        # ridges
        fine = covariance.trace() <= r * (MAX_CONDITION**2 - 1)
        if not fine.all():
            varying = np.flatnonzero(~train.constant[train.slices[view]])
            values = np.linalg.eigvalsh(covariance[np.ix_(varying, varying)])
            fine = values[-1] + r <= MAX_CONDITION**2 * (values[0] + r) if len(values) else ~fine
        cured &= fine
    return cured


def slow_scores(
    scores: NDArray[np.float64], data: Rows, splits: list[Split], pairs: list[Reg], model: LinearTwoView
) -> None:
    """Fill the scores that are NaN by fitting ``model`` with each ridge to each training part."""
    data, model = _quick(data, model)
    for i, (train, test) in enumerate(splits):
        missing = np.flatnonzero(np.isnan(scores[i]))
        if not len(missing):
            continue
        X, y, weights = data.take(train)
        X_test, y_test, test_weights = data.take(test)
        for j in missing:
            fitted = _fitted(model, pairs[j], X, y, weights)
            zx, zy = fitted._scores("X", X_test), fitted._scores("y", y_test)
            scores[i, j] = column_correlations(zx, zy, sample_weight=test_weights).mean()


class PooledScores:
    """Correlations over the held-out rows of all splits, each row's scores taken about its training means.

    r = sum z₁ z₂ / √(sum z₁² sum z₂²) for each component: the sign of a pair of variates, which every fit is
    free to choose, drops out of it, so that a split may hold out a single row.
    """

    def __init__(self, n_candidates: int, k: int) -> None:
        self.sums = np.zeros((3, n_candidates, k))

    def add(self, candidate: int, *parts: NDArray[Any]) -> None:
        """Sums of z₁z₂, z₁² and z₂² over some rows, for as many components as the fit has."""
        for total, part in zip(self.sums, parts, strict=True):
            total[candidate, : len(part)] += part

    def scores(self) -> NDArray[np.float64]:
        """The mean over the components; one that is constant counts 0."""
        across, x, y = self.sums
        scale = np.sqrt(x) * np.sqrt(y)
        r = np.divide(across, scale, out=np.zeros_like(scale), where=scale > 0)
        return r.clip(-1.0, 1.0).mean(axis=1)  # type: ignore[no-any-return]


def pooled_scores(
    data: Rows, splits: list[Split], shared: FoldMoments, pairs: list[Reg], model: LinearTwoView
) -> NDArray[np.float64]:
    """A score for each ridge from the held-out rows of all splits, by fits to each training part."""
    total = shared.total
    narrow, model = _quick(data, model)
    if narrow.X is not data.X or narrow.y is not data.y:
        data, total = narrow, None
    pooled = PooledScores(len(pairs), model.n_components or min(data.X.shape[1], data.y.shape[1]))
    for i, (train, test) in enumerate(splits):
        X, y, weights = data.take(train)
        X_test, y_test, w = data.take(test)
        moments = None
        if total is not None and i in shared.whole:
            moments = total - (shared.held_out.get(i) or data.moments(test))
        for j, pair in enumerate(pairs):
            fitted = _fitted(model, pair, X, y, weights, moments)
            zx = fitted._scores("X", X_test).astype(np.float64)
            zy = fitted._scores("y", y_test).astype(np.float64)
            wx, wy = (zx, zy) if w is None else (zx * w[:, np.newaxis], zy * w[:, np.newaxis])
            pooled.add(j, (wx * zy).sum(axis=0), (wx * zx).sum(axis=0), (wy * zy).sum(axis=0))
    return pooled.scores()


def _quick(data: Rows, model: LinearTwoView) -> tuple[Rows, LinearTwoView]:
    """The same search on views that are not wider than they have rows.

    A rotation of a view changes no correlation, and its narrow copy is quick to fit again and again; scaled
    columns are not to be rotated.
    """
    if model.scale:
        return data, model
    data = data._replace(X=_narrow("X", data.X), y=_narrow("y", data.y))
    k = min(model.n_components or 1, data.X.shape[1], data.y.shape[1])
    return data, clone(model).set_params(n_components=k)


def _fitted(
    model: LinearTwoView,
    reg: Reg,
    X: NDArray[Any],
    y: NDArray[Any],
    weights: Weights,
    moments: Moments | None = None,
) -> LinearTwoView:
    fitted: LinearTwoView = clone(model).set_params(reg=reg)
    with warnings.catch_warnings():  # that n_components is cut concerns the fit to all rows alone
        warnings.simplefilter("ignore", UserWarning)
        fitted._fit_arrays(X, y, weights, moments)
    return fitted


def _narrow(name: str, a: NDArray[Any]) -> NDArray[Any]:
    """A view with more columns than rows in coordinates of its row space, else the view as it is.

    X' - mean = Q R, so that R' = (X - mean) Q holds the coordinates.
    """
    if a.shape[1] <= a.shape[0]:
        return a
    refuse_non_finite(name, a)
    r: Any = np.linalg.qr((a - a.mean(axis=0, dtype=np.float64)).T, mode="r")
    return np.asarray(r).T
