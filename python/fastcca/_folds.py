"""Scores of many ridges on many splits: from moments where they will do, else by fitting each."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from fastcca._linear import LinearTwoView, column_variances
from fastcca._statistics import Weights
from fastcca._validation import refuse_non_finite
from fastcca.functional.moments import Moments
from fastcca.functional.solver import held_out_correlations
from fastcca.metrics import column_correlations

__all__ = ["Rows", "Split", "fast_scores", "slow_scores"]

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


def fast_scores(
    data: Rows, splits: list[Split], pairs: list[Reg], k: int, scale: bool
) -> tuple[NDArray[np.float64], Moments | None]:
    """Scores (splits, ridges) from moments, NaN where they will not do; the moments of all rows if known."""
    scores = np.full((len(splits), len(pairs)), np.nan)
    width = max(data.X.shape[1], data.y.shape[1])
    usable = [i for i, (train, _) in enumerate(splits) if len(train) >= width]
    if not usable:
        return scores, None

    n = len(data.X)
    # splits whose training rows are all that are not held out
    whole = [i for i in usable if (np.bincount(np.concatenate(splits[i]), minlength=n) == 1).all()]
    d = data.X.shape[1] + data.y.shape[1]
    batch = max(1, FOLDS_BYTES // (8 * d * d))
    held_out: dict[int, Moments] = {}
    total: Moments | None = None
    if whole:
        tested = np.bincount(np.concatenate([splits[i][1] for i in whole]), minlength=n)
        if (tested == 1).all() and len(
            whole
        ) <= batch:  # one pass over the data serves all folds and their sum
            held_out = {i: data.moments(splits[i][1]) for i in whole}
            total = sum(held_out.values(), Moments())
        else:
            total = data.moments()
        for start in range(0, len(whole), batch):
            some = whole[start : start + batch]
            folds = [held_out.get(i) or data.moments(splits[i][1]) for i in some]
            scores[some] = _scores_of(total, folds, pairs, k, scale, data.n_threads)
    for i in sorted(set(usable) - set(whole)):
        train, test = (data.moments(rows) for rows in splits[i])
        scores[i] = _scores_of(train + test, [test], pairs, k, scale, data.n_threads)
    return scores, total


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
    if not model.scale:
        # A rotation of a view changes no correlation, and its narrow copy is quick to fit again and again;
        # scaled columns are not to be rotated.
        data = data._replace(X=_narrow("X", data.X), y=_narrow("y", data.y))
        model.n_components = min(model.n_components or 1, data.X.shape[1], data.y.shape[1])
    for i, (train, test) in enumerate(splits):
        missing = np.flatnonzero(np.isnan(scores[i]))
        if not len(missing):
            continue
        X, y, weights = data.take(train)
        X_test, y_test, test_weights = data.take(test)
        for j in missing:
            fitted = clone(model).set_params(reg=pairs[j])
            with warnings.catch_warnings():  # that n_components is cut concerns the fit to all rows alone
                warnings.simplefilter("ignore", UserWarning)
                fitted._fit_arrays(X, y, weights)
            zx, zy = fitted._scores("X", X_test), fitted._scores("y", y_test)
            scores[i, j] = column_correlations(zx, zy, sample_weight=test_weights).mean()


def _narrow(name: str, a: NDArray[Any]) -> NDArray[Any]:
    """A view with more columns than rows in coordinates of its row space, else the view as it is.

    X' - mean = Q R, so that R' = (X - mean) Q holds the coordinates.
    """
    if a.shape[1] <= a.shape[0]:
        return a
    refuse_non_finite(name, a)
    r: Any = np.linalg.qr((a - a.mean(axis=0, dtype=np.float64)).T, mode="r")
    return np.asarray(r).T
