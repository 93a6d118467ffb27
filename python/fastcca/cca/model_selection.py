"""Ridges and kernel widths chosen by cross-validation: :class:`CCACV` and :class:`KernelCCACV`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import reduce
from itertools import product
from operator import add
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing

from fastcca._arguments.arrays import check_same_rows, column_names, refuse_non_finite
from fastcca._arguments.parameters import MISSING, RIDGES, anything, check_n_components
from fastcca._arguments.sparse import is_sparse
from fastcca._arguments.warn import unsaid, warn
from fastcca._models.docs import documented
from fastcca._models.files import Schema
from fastcca._models.statistics import Weights, column_statistics
from fastcca.cca.kernel import (
    FeatureSums,
    KernelCCA,
    Kernels,
    KernelTwoView,
    LandmarkView,
    collect,
    solve_features,
)
from fastcca.cca.linear import CCA, MOST_SPARSE, LinearTwoView, column_variances, dense_if_small
from fastcca.cca.partial import (
    confounding_of_rows,
    mapped_residuals,
    moments_with,
    partial_moments,
)
from fastcca.cca.precomputed import feature_variance, is_precomputed, row_numbers
from fastcca.functional.kernels import Kernel
from fastcca.functional.missing import column_labels, completed, conditional_means
from fastcca.functional.moments import Moments
from fastcca.functional.solver import held_out_correlations
from fastcca.metrics import column_correlations

__all__ = ["CCACV", "KernelCCACV"]


Floats = NDArray[np.float64]
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
        elif is_sparse(self.X) and is_sparse(self.y):
            parts = [rows]
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
            parts = [column_statistics(n, a, data.weights)[1] for n, a in (("X", data.X), ("y", data.y))]
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
    accurate = np.logical_and.reduce([_accurate(total - fold, pairs) for fold in folds])
    if accurate.any():
        some = [pair for pair, is_accurate in zip(pairs, accurate, strict=True) if is_accurate]
        # NaN stands beyond the rank of a fold's training rows
        scores[:, accurate] = np.nanmean(held_out_correlations(total, folds, some, k, n_threads), axis=2)
    return scores


def _accurate(train: Moments, pairs: list[Reg]) -> NDArray[np.bool_]:
    """For which ridges the covariances of both views are well-conditioned enough to work with."""
    accurate = np.ones(len(pairs), dtype=bool)
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
        accurate &= fine
    return accurate


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


def partial_scores(
    data: Rows, Z: NDArray[Any], splits: list[Split], pairs: list[Reg], model: LinearTwoView
) -> NDArray[np.float64]:
    """Scores of residuals: what confounds explain is learned from the training rows of each split alone."""
    n, width = len(Z), max(data.X.shape[1], data.y.shape[1]) + Z.shape[1]
    k = model.n_components or min(data.X.shape[1], data.y.shape[1])

    def moments(rows: NDArray[np.intp]) -> Moments:
        X, y, weights = data.take(rows)
        return moments_with(X, y, Z[rows], weights, data.n_threads)

    def residuals(i: int) -> Rows:
        train, _ = splits[i]
        X, y, weights = data.take(train)
        found = confounding_of_rows((X, y), Z[train], weights, data.n_threads)
        return data._replace(X=found.residuals(0, data.X, Z), y=found.residuals(1, data.y, Z))

    if pools(splits):
        return pooled_scores(data, splits, None, pairs, model, residuals)
    total = None
    scores = np.full((len(splits), len(pairs)), np.nan)
    for i, (train, test) in enumerate(splits):
        if len(train) >= width:  # where moments will do
            held_out = moments(test)
            if (np.bincount(np.concatenate([train, test]), minlength=n) == 1).all():
                total = moments(np.arange(n)) if total is None else total
                training = total - held_out
            else:
                training = moments(train)
            partial, confounding = partial_moments(training, n_threads=data.n_threads)
            rest = mapped_residuals(held_out, confounding)
            scores[i] = _scores_of(partial + rest, [rest], pairs, k, model.scale, data.n_threads)[0]
        if np.isnan(scores[i]).any():
            slow_scores(scores[i : i + 1], residuals(i), [splits[i]], pairs, model)
    return scores


def completed_scores(
    data: Rows,
    Z: NDArray[Any] | None,
    splits: list[Split],
    pairs: list[Reg],
    model: LinearTwoView,
    labels: list[str],
) -> NDArray[np.float64]:
    """Scores of rows with missing values, by moments of maximum likelihood of the training rows.

    What is missing of a row held out is filled in from its own view (and confounds) alone, by the covariances
    of the training rows: the other view would bring the correlation along.
    """
    if pools(splits):
        raise ValueError(f"cv: with missing='em' each split takes at least {FEWEST} test rows to correlate")
    views = {"X": data.X, "y": data.y, **({} if Z is None else {"confounds": Z})}
    k = model.n_components or min(data.X.shape[1], data.y.shape[1])
    scores = np.empty((len(splits), len(pairs)))
    for i, (train, test) in enumerate(splits):
        w = None if data.weights is None else data.weights[train]
        training = completed({name: a[train] for name, a in views.items()}, w, labels).moments
        # a row that lacks a view has no pair of scores
        test = test[~(np.isnan(data.X[test]).all(axis=1) | np.isnan(data.y[test]).all(axis=1))]
        if len(test) < FEWEST:
            raise ValueError(
                f"cv: split {i} has {len(test)} test rows with values in both views, at least {FEWEST} are "
                "needed to correlate"
            )
        rest, confounding = training, None
        if Z is not None:
            rest, confounding = partial_moments(training, n_threads=data.n_threads)
        parts, place = [], np.arange(len(training.mean))
        for j, a in enumerate((data.X, data.y)):
            known = [a] if Z is None else [a, Z]
            columns = np.concatenate([place[s] for s in (training.slices[j], *training.slices[2:])])
            S = training.scatter[np.ix_(columns, columns)] / (training.n - 1)
            filled = conditional_means(np.hstack([each[test] for each in known]), training.mean[columns], S)
            own, others = filled[:, : a.shape[1]], filled[:, a.shape[1] :]
            parts.append(own if confounding is None else confounding.residuals(j, own, others))
        w = None if data.weights is None else data.weights[test]
        held_out = Moments().update(*parts, sample_weight=w, dtype=np.float64, n_threads=data.n_threads)
        training = rest
        scores[i] = _scores_of(training + held_out, [held_out], pairs, k, model.scale, data.n_threads)[0]
        _fill_from_moments(scores[i], training, held_out, pairs, model)
    return scores


def sparse_scores(
    data: Rows,
    Z: NDArray[Any] | None,
    total: Moments,
    splits: list[Split],
    pairs: list[Reg],
    model: LinearTwoView,
) -> NDArray[np.float64]:
    """Scores of sparse views from moments alone: by split, or pooled over splits of few rows.

    ``total`` are the moments of all rows, with the confounds Z if there are some.
    """
    pooled = PooledScores(len(pairs), model.n_components or min(data.X.shape[1], data.y.shape[1]))
    scores = np.full((len(splits), len(pairs)), np.nan)

    def moments(rows: NDArray[np.intp]) -> Moments:
        if Z is None:
            return data.moments(rows)
        X, y, weights = data.take(rows)
        return moments_with(X, y, Z[rows], weights, data.n_threads)

    for i, (train, test) in enumerate(splits):
        held_out = moments(test)
        whole = (np.bincount(np.concatenate([train, test]), minlength=data.X.shape[0]) == 1).all()
        training = total - held_out if whole else moments(train)
        if Z is not None:
            training, confounding = partial_moments(training, n_threads=data.n_threads)
            held_out = mapped_residuals(held_out, confounding)
        if pools(splits):
            away = held_out.mean - training.mean
            about = held_out.scatter + held_out.n * np.outer(away, away)
            for j, pair in enumerate(pairs):
                pooled.add(j, *score_products(about, training.slices, _weights_of(model, pair, training)))
        else:
            merged = training + held_out
            scores[i] = _scores_of(
                merged, [held_out], pairs, model.n_components or 1, model.scale, data.n_threads
            )[0]
            _fill_from_moments(scores[i], training, held_out, pairs, model)
    return pooled.scores() if pools(splits) else scores


def _fill_from_moments(
    scores: NDArray[np.float64], training: Moments, held_out: Moments, pairs: list[Reg], model: LinearTwoView
) -> None:
    """Fill the scores of a split that are NaN by fits to the moments of its training rows."""
    for j in np.flatnonzero(np.isnan(scores)):
        weights = _weights_of(model, pairs[j], training)
        across, x, y = score_products(held_out.scatter, held_out.slices, weights)
        scale = np.sqrt(x * y)
        scores[j] = np.divide(across, scale, out=np.zeros_like(scale), where=scale > 0).mean()


def _weights_of(model: LinearTwoView, reg: Reg, training: Moments) -> tuple[Floats, Floats]:
    fitted: LinearTwoView = clone(model).set_params(reg=reg)
    with unsaid():  # what concerns the fit to all rows alone
        fitted._fit_moments(training, (np.dtype(np.float64), np.dtype(np.float64)))
    return fitted.x_weights_, fitted.y_weights_


def score_products(
    M: Floats, slices: tuple[slice, ...], weights: tuple[Floats, Floats]
) -> tuple[Floats, Floats, Floats]:
    """Sums of products of the scores, x with y, x with x, y with y, component by component."""
    (sx, sy), (wx, wy) = slices, weights
    return (
        np.einsum("ij,ij->j", wx, M[sx, sy] @ wy),
        np.einsum("ij,ij->j", wx, M[sx, sx] @ wx),
        np.einsum("ij,ij->j", wy, M[sy, sy] @ wy),
    )


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
    data: Rows,
    splits: list[Split],
    shared: FoldMoments | None,
    pairs: list[Reg],
    model: LinearTwoView,
    of_split: Callable[[int], Rows] | None = None,
) -> NDArray[np.float64]:
    """A score for each ridge from the held-out rows of all splits, by fits to each training part.

    ``of_split`` gives the data of each split, where it has its own.
    """
    total = None if shared is None else shared.total
    if of_split is None:
        narrow, model = _quick(data, model)
        if narrow.X is not data.X or narrow.y is not data.y:
            data, total = narrow, None
    pooled = PooledScores(len(pairs), model.n_components or min(data.X.shape[1], data.y.shape[1]))
    for i, (train, test) in enumerate(splits):
        data = data if of_split is None else of_split(i)
        X, y, weights = data.take(train)
        X_test, y_test, w = data.take(test)
        moments = None
        if shared is not None and total is not None and i in shared.whole:
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
    with unsaid():  # that n_components is cut concerns the fit to all rows alone
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


RegParameter = float | tuple[float, float]

TIE = 12  # mean scores that agree to this many decimals are equal
FLAT = 1e-4  # a gain of the mean score that says nothing of what lies beyond a default grid
FEWEST = 5  # test rows that have a correlation of their own; of fewer the scores are pooled


def default_grid(factors: NDArray[np.float64], units: tuple[float, float]) -> list[RegParameter]:
    """Ridges that are the same multiples of the unit of each view."""
    if units[0] == units[1]:
        return [float(f * units[0]) for f in factors]
    return [(float(f * units[0]), float(f * units[1])) for f in factors]


def warn_of_end(
    pairs: list[tuple[float, float]], mean: NDArray[np.float64], best: int, default: bool
) -> None:
    """Say that the best ridge is an end of the grid of a view, beyond which a better one may lie.

    Not where an inner ridge is as good, where there are but two, where the end is 0; nor of a default grid,
    which spans nine powers of ten, where the score hardly changes there.
    """
    found = []
    for i, view in enumerate("Xy"):
        grid = sorted({pair[i] for pair in pairs})
        value = pairs[best][i]
        if len(grid) < 3 or value not in (grid[0], grid[-1]) or value == 0:
            continue
        inner = max(m for m, pair in zip(mean, pairs, strict=True) if grid[0] < pair[i] < grid[-1])
        if mean[best] - inner > (FLAT if default else 0.5 * 10.0**-TIE):
            end = "largest" if value == grid[-1] else "smallest"
            found.append((view, f"{value:.3g}, is the {end} of the grid ({grid[0]:.3g} to {grid[-1]:.3g})"))
    if found:
        both = len(found) == 2 and found[0][1] == found[1][1]
        views = " and ".join(f"of {view}, {what}" for view, what in found)
        said = f", {found[0][1]}" if both else f" {views}"
        warn(
            f"the best ridge{said}: a better one than its held-out correlation of {mean[best]:.3f} may lie "
            "beyond. Give regs that reach further"
        )


def pools(splits: list[Split]) -> bool:
    """Whether test parts are so small, single rows perhaps, that their scores are pooled."""
    return min(len(test) for _, test in splits) < FEWEST


def ridge_grid(regs: Any) -> list[RegParameter]:
    """The ridges to try, as ``reg`` takes them."""
    grids = [np.asarray(grid) for grid in regs] if np.iterable(regs) and not isinstance(regs, str) else []
    if len(grids) == 2 and all(grid.ndim == 1 and grid.size for grid in grids):
        return list(product(grids[0].tolist(), grids[1].tolist()))
    if not grids or any(grid.ndim for grid in grids):
        raise ValueError(
            f"regs must be a sequence of numbers >= 0 or a pair of them (regs_x, regs_y), got {regs!r}"
        )
    return [grid.item() for grid in grids]


def row_splits(cv: Any, X: NDArray[Any], y: Any, groups: Any, weights: Weights) -> list[Split]:
    """Training and test rows of each split, which must leave enough to correlate: alone, or pooled."""
    every = np.arange(X.shape[0])
    splits = []
    for i, split in enumerate(check_cv(cv).split(X, y, groups)):
        try:  # masks and negative indices become plain ones
            train, test = (every[np.asarray(rows)].ravel() for rows in split)
        except IndexError as error:
            raise ValueError(f"cv: split {i} does not index the {X.shape[0]} rows: {error}") from None
        for name, rows, fewest in (("train", train, 2), ("test", test, 1)):
            if len(rows) < fewest:
                raise ValueError(
                    f"cv: split {i} has {len(rows)} {name} row(s), at least {fewest} are needed to correlate"
                )
        splits.append((train, test))
    if not splits:
        raise ValueError("cv gave no split")
    parts = [(f"the train rows of split {i}", train, 1) for i, (train, _) in enumerate(splits)]
    if pools(splits):
        pooled = np.concatenate([test for _, test in splits])
        if len(pooled) < 2:
            raise ValueError("cv: the splits have 1 test row in all, at least 2 are needed to correlate")
        parts.append(("the test rows of all splits", pooled, 0))
    else:
        parts += [(f"the test rows of split {i}", test, 0) for i, (_, test) in enumerate(splits)]
    for what, rows, least in parts:
        if weights is not None and not weights[rows].sum() > least:
            raise ValueError(
                f"cv: sample_weight sums to {weights[rows].sum():g} over {what}, expected more than {least}"
            )
    return splits


def splits_of(
    cv: Any, kept: NDArray[np.intp], X: NDArray[Any], y: Any, groups: Any, weights: Weights
) -> list[Split]:
    """Splits of the rows that are kept, by their places among these; given indices are those of all rows."""
    if np.iterable(cv) and not hasattr(cv, "split"):
        place = np.full(len(X), -1)
        place[kept] = np.arange(len(kept))
        every = np.arange(len(X))
        parts = [tuple(place[every[np.asarray(rows)].ravel()] for rows in split) for split in cv]
        cv = [tuple(part[part >= 0] for part in split) for split in parts]
    target, labels, w = (None if a is None else _safe_indexing(a, kept) for a in (y, groups, weights))
    return row_splits(cv, X[kept], target, labels, w)


def search_results(params: list[dict[str, Any]], scores: NDArray[np.float64]) -> dict[str, Any]:
    """``cv_results_`` of ``scores`` (splits, parameters) in the layout of GridSearchCV.

    Pooled scores (parameters,) have no parts of splits, and no deviation of these.
    """
    columns = {}
    for name in params[0]:
        plain = all(isinstance(each[name], (int, float)) for each in params)
        values = np.empty(len(params), dtype=np.float64 if plain else object)
        for i, each in enumerate(params):
            values[i] = each[name]
        columns[f"param_{name}"] = np.ma.MaskedArray(values)
    by_split = scores.ndim == 2
    mean = scores.mean(axis=0) if by_split else scores
    return {
        "params": params,
        **columns,
        **({f"split{i}_test_score": split for i, split in enumerate(scores)} if by_split else {}),
        "mean_test_score": mean,
        **({"std_test_score": scores.std(axis=0)} if by_split else {}),
        "rank_test_score": rankdata(-mean.round(TIE), method="min").astype(np.int32),
    }


def adopt_features(model: Any, search: Any) -> None:
    """What the search has noted of its views, for the model that it fits to them."""
    names = (
        "n_features_in_",
        "feature_names_in_",
        "n_y_features_in_",
        "y_feature_names_in_",
        "_y_is_vector",
    )
    vars(model).update({name: getattr(search, name) for name in names if hasattr(search, name)})


# The ridges compared where none are given, relative to the mean variance of the columns of each view.
RIDGE_FACTORS = np.logspace(-6, 3, 19)


@documented
class CCACV(LinearTwoView):
    r"""Canonical correlation analysis whose ridge is chosen by cross-validation.

    The choice of ``GridSearchCV(CCA(), {"reg": regs})``, computed from one pass over the data: the moments of
    the training rows are those of all rows minus those held out, one eigendecomposition of each view serves
    every ridge, and the held-out correlations follow from the held-out moments. Ridges so small that the
    covariances stay ill-conditioned, and folds with more features than training rows, are fitted one by one
    as :class:`CCA` does.

    Parameters
    ----------
    n_components : int, optional
        Number of pairs of directions, at most min(p, q), which is the default.
    regs : array_like, or pair of array_like, optional
        Ridges to compare, each the same for both views; or a pair of grids ``(regs_x, regs_y)``, every
        combination of which is tried. They are in the units of a variance, as ``CCA.reg`` is. By default
        ``numpy.logspace(-6, 3, 19)`` times the mean variance of the columns of each view, so that the units
        of measurement make no difference.
    cv : int, splitter or iterable, default=5
        As in scikit-learn: the number of contiguous folds, a splitter, or pairs of row indices (train, test).
        Where a test part has fewer than five rows (one, in leave-one-out) the held-out rows of all splits
        are scored together: their scores about the means of their training rows, correlated over all of
        them.
    scale : bool, default=False
        Divide each column by its standard deviation in the training rows first; the ridge is then relative to
        a variance of 1.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.
    {missing}
        Splits are of the rows that are left, or of all; indices of rows in ``cv`` are those of all. With "em"
        the moments of each split are those of its training rows, and what is missing of a row held out is
        filled in from its own view alone.

    Attributes
    ----------
    reg_ : float or tuple of two float
        The ridge with the best mean score. Among scores equal to 12 decimals the largest, that is the
        one of largest r1 + r2, is taken.
    best_score_ : float
        Its mean held-out canonical correlation.
    best_index_ : int
        Its place in ``cv_results_``.
    best_estimator_ : CCA
        Fitted to all rows with it.
    cv_results_ : dict
        As ``GridSearchCV`` gives it: ``params``, ``param_reg``, ``split{i}_test_score``, ``mean_test_score``,
        ``std_test_score``, ``rank_test_score``. A score is the mean over components of the Pearson
        correlation of held-out scores; a component that is constant there counts 0. Scores over the rows of
        all splits together have no ``split{i}_test_score`` and no ``std_test_score``.
    n_splits_ : int
        Number of splits.
    x_weights_, y_weights_, canonical_correlations_, ... : ndarray
        Every fitted attribute of ``best_estimator_``; the methods use them.

    {raises_in_search}
    NumericalError
        In ``fit``: every column of a view is constant in the training rows of a split.

    Warns
    -----
    UserWarning
        If the best ridge is an end of the grid (of three values or more), beyond which a better one may lie.

    See Also
    --------
    CCA : With a given ridge.

    References
    ----------
    H. D. Vinod, "Canonical ridge and econometrics of joint production", Journal of Econometrics 4, 1976.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import CCACV
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(200, 1))
    >>> X = np.hstack([common + rng.normal(size=(200, 1)), rng.normal(size=(200, 40))])
    >>> Y = np.hstack([common + rng.normal(size=(200, 1)), rng.normal(size=(200, 40))])
    >>> search = CCACV(n_components=1, regs=[1e-3, 1.0, 1e2, 1e4]).fit(X, Y)
    >>> search.reg_
    100.0
    >>> search.cv_results_["rank_test_score"]
    array([4, 3, 1, 2], dtype=int32)
    """

    solver = "auto"  # not a parameter: the refit chooses

    _takes_sparse = True
    _schema = Schema("CCACV", fields="n_splits_ cv_results_ best_index_ best_score_ reg_ best_estimator_")
    _constraints = {  # noqa: RUF012
        **{name: LinearTwoView._constraints[name] for name in ("n_components", "scale", "n_threads")},
        "regs": anything("a sequence of ridges"),  # checked with the data
        "cv": anything("a number of folds or a splitter"),  # by scikit-learn
        "missing": MISSING,
    }

    def __init__(
        self,
        n_components: int | None = None,
        regs: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
        cv: Any = 5,
        scale: bool = False,
        n_threads: int | None = None,
        missing: Literal["error", "drop", "em"] = "error",
    ) -> None:
        self.n_components = n_components
        self.regs = regs
        self.cv = cv
        self.scale = scale
        self.n_threads = n_threads
        self.missing = missing

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        confounds: ArrayLike | None = None,
    ) -> "CCACV":
        """Choose the ridge and fit with it to all rows.

        {paired_views_in_folds}
        confounds : array_like of shape (n, c), optional
            As in :meth:`CCA.fit`. What they explain is learned from the training rows of each split alone.

        {returns_self}

        Raises
        ------
        ValueError
            See :class:`CCACV`.
        """
        check_same_rows(X=X, y=y, groups=groups, confounds=confounds)
        takes = self._takes_missing
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=True, missing=takes)
        Z = self._check_confounds(confounds, x_checked.shape[0], reset=True, missing=takes)
        x_checked, y_checked = dense_if_small(x_checked, y_checked)
        views = {"X": x_checked, "y": y_checked, **({} if Z is None else {"confounds": Z})}
        tables = {"X": X, "y": y, "confounds": confounds}
        incomplete = self._incomplete(views, tables)
        k = check_n_components(self.n_components, x_checked.shape[1], y_checked.shape[1])
        given = None if self.regs is None else ridge_grid(self.regs)
        pairs = [] if given is None else [RIDGES("regs", reg) for reg in given]
        if incomplete is not None and self.missing == "drop":
            kept = self._complete(incomplete, views, tables)
            splits = splits_of(self.cv, kept, x_checked, y, groups, weights)
            x_checked, y_checked = x_checked[kept], y_checked[kept]
            Z, weights = (None if a is None else a[kept] for a in (Z, weights))
            incomplete = None
        else:
            splits = row_splits(self.cv, x_checked, y, groups, weights)
        data = Rows(x_checked, y_checked, weights, self.n_threads)
        if incomplete is not None:
            self.n_splits_ = len(splits)
            return self._fit_em(data, Z, splits, given, k, views, tables)
        if Z is not None:
            refuse_non_finite("confounds", Z)
        if is_sparse(x_checked) or is_sparse(y_checked):
            self.n_splits_ = len(splits)
            return self._fit_sparse(data, Z, splits, given, k)
        shared = FoldMoments(data, splits)
        units = (1.0, 1.0) if self.scale or given is not None else shared.mean_variances(data)
        regs = default_grid(RIDGE_FACTORS, units) if given is None else given
        pairs = [RIDGES("regs", reg) for reg in regs]

        model = CCA(k, scale=self.scale, n_threads=self.n_threads)
        if Z is not None:
            scores = partial_scores(data, Z, splits, pairs, model)
        elif pools(splits):
            scores = pooled_scores(data, splits, shared, pairs, model)
        else:
            scores = fast_scores(data, splits, shared, pairs, k, self.scale)
            if np.isnan(scores).any():
                slow_scores(scores, data, splits, pairs, model)

        self.n_splits_ = len(splits)
        self._choose(regs, pairs, scores)
        best = self._best()
        if Z is None:
            best._fit_arrays(data.X, data.y, data.weights, shared.total)
        else:
            best._fit_partial(data.X, data.y, Z, data.weights)
        self._take_over(best)
        return self

    def _fit_sparse(
        self,
        data: Rows,
        Z: NDArray[Any] | None,
        splits: list[Split],
        given: list[RegParameter] | None,
        k: int,
    ) -> "CCACV":
        """To views of which one is sparse, from moments alone."""
        columns = data.X.shape[1] + data.y.shape[1]
        if columns > MOST_SPARSE:
            raise ValueError(
                f"CCACV takes sparse views of up to {MOST_SPARSE} columns in all, got {columns}: choose the "
                "ridge on fewer columns, or fit CCA(solver='iterative', reg=...)"
            )
        if Z is None:
            moments = data.moments()
        else:
            moments = moments_with(data.X, data.y, Z, data.weights, data.n_threads)
        variances = column_variances(moments)
        units = [
            float(v[v > 0].mean()) if (v > 0).any() else 1.0 for v in (variances[s] for s in moments.slices)
        ]
        unit = (1.0, 1.0) if self.scale or given is not None else (units[0], units[1])
        regs = default_grid(RIDGE_FACTORS, unit) if given is None else given
        pairs = [RIDGES("regs", reg) for reg in regs]
        model = CCA(k, scale=self.scale, n_threads=self.n_threads)
        self._choose(regs, pairs, sparse_scores(data, Z, moments, splits, pairs, model))
        return self._fit_best(moments, data, Z)

    def _fit_best(self, moments: Moments, data: Rows, Z: NDArray[Any] | None) -> "CCACV":
        """With the ridge chosen, to moments."""
        best = self._best()
        dtypes = data.X.dtype, data.y.dtype
        if Z is None:
            best._fit_moments(moments, dtypes)
        else:
            best._fit_partial_moments(moments, dtypes)
        self._take_over(best)
        return self

    def _fit_em(
        self,
        data: Rows,
        Z: NDArray[Any] | None,
        splits: list[Split],
        given: list[RegParameter] | None,
        k: int,
        views: dict[str, NDArray[Any]],
        tables: dict[str, Any],
    ) -> "CCACV":
        """Of rows that have missing values."""
        labels = column_labels({name: column_names(tables[name]) for name in views}, views)
        moments = self._em_moments(views, tables, data.weights)
        variances = column_variances(moments)
        units = [float(v[v > 0].mean()) for v in (variances[s] for s in moments.slices[:2])]
        unit = (1.0, 1.0) if self.scale or given is not None else (units[0], units[1])
        regs = default_grid(RIDGE_FACTORS, unit) if given is None else given
        pairs = [RIDGES("regs", reg) for reg in regs]
        model = CCA(k, scale=self.scale, n_threads=self.n_threads)
        self._choose(regs, pairs, completed_scores(data, Z, splits, pairs, model, labels))
        return self._fit_best(moments, data, Z)

    def fit_moments(self, folds: Sequence[Moments]) -> "CCACV":
        """Choose the ridge and fit with it, from the moments of the folds alone.

        Parameters
        ----------
        folds : sequence of Moments
            Of two views, of the rows that each split holds out: two folds or more. The training rows of a
            split are those of all other folds. ``cv`` is not looked at.

        {returns_self}

        Raises
        ------
        ValueError
            For fewer than two folds, for moments that are not of the same two views, and if every ridge is
            too small for moments.
        TypeError
            For anything that is not :class:`~fastcca.Moments`.

        Warns
        -----
        UserWarning
            If ridges are left out, as the covariances stay ill-conditioned with them: ``fit`` has the rows to
            try these too.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCACV, Moments
        >>> X = np.random.default_rng(0).normal(size=(100, 4))
        >>> Y = X[:, :2] + np.random.default_rng(1).normal(size=(100, 2))
        >>> folds = [Moments().update(X[i : i + 20], Y[i : i + 20]) for i in range(0, 100, 20)]
        >>> bool(np.allclose(CCACV().fit_moments(folds).reg_, CCACV().fit(X, Y).reg_))
        True
        """
        folds = list(folds)
        for fold in folds:
            if not isinstance(fold, Moments):
                raise TypeError(f"folds must be fastcca.Moments, got {type(fold).__name__}")
        if len(folds) < 2:
            raise ValueError(f"fit_moments takes the moments of two folds or more, got {len(folds)}")
        if any(len(fold.dims) != 2 or fold.dims != folds[0].dims for fold in folds):
            raise ValueError("the folds must be of the same two views: Moments().update(X, y)")
        total = sum(folds, Moments())
        k = check_n_components(self.n_components, *total.dims)
        if self.regs is None:
            variances = [column_variances(total)[s] for s in total.slices]
            x, y = (float(v[v > 0].mean()) if (v > 0).any() else 1.0 for v in variances)
            regs = default_grid(RIDGE_FACTORS, (1.0, 1.0) if self.scale else (x, y))
        else:
            regs = ridge_grid(self.regs)
        pairs = [RIDGES("regs", reg) for reg in regs]
        scores = _scores_of(total, folds, pairs, k, self.scale, self.n_threads)
        fine: NDArray[np.bool_] = np.asarray(np.isfinite(scores).all(axis=0))
        if not fine.any():
            raise ValueError(
                "every ridge of regs is too small for moments: give larger ones, or fit the rows"
            )
        if not fine.all():
            warn(
                f"{int((~fine).sum())} of {len(regs)} ridges are left out: the covariances stay "
                "ill-conditioned with them. fit, which has the rows, can try them"
            )
            regs = [reg for reg, is_fine in zip(regs, fine, strict=True) if is_fine]
            pairs = [pair for pair, is_fine in zip(pairs, fine, strict=True) if is_fine]
        for name in ("feature_names_in_", "y_feature_names_in_"):  # of an earlier fit
            if hasattr(self, name):
                delattr(self, name)
        self.n_splits_ = len(folds)
        self._choose(regs, pairs, scores[:, fine])
        best = CCA(self.n_components, self.reg_, self.scale, "auto", self.n_threads).fit_moments(total)
        self._take_over(best)
        return self

    def _choose(self, regs: Sequence[RegParameter], pairs: list[Reg], scores: NDArray[np.float64]) -> None:
        """The ridge with the best mean score; of equal ones the largest."""
        self.cv_results_ = search_results([{"reg": reg} for reg in regs], scores)
        mean = self.cv_results_["mean_test_score"]
        ties = np.flatnonzero(self.cv_results_["rank_test_score"] == 1)
        self.best_index_ = int(max(ties, key=lambda i: sum(pairs[i])))
        self.best_score_ = float(mean[self.best_index_])
        self.reg_ = regs[self.best_index_]
        warn_of_end(pairs, mean, self.best_index_, self.regs is None)

    def _take_over(self, best: CCA) -> None:
        """Every fitted attribute of the best estimator."""
        self.best_estimator_ = best
        parameters = best.get_params()
        self.__dict__.update({name: value for name, value in vars(best).items() if name not in parameters})

    def _best(self) -> CCA:
        options: dict[str, Any] = {"n_threads": self.n_threads, "missing": self.missing}
        best = CCA(self.n_components, self.reg_, self.scale, **options)
        adopt_features(best, self)
        return best


Gamma = float | str | tuple[float | str, float | str]
Array = NDArray[Any]

WIDTH_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the median widths, where none are given
PENALTY_FACTORS = np.logspace(
    -6, 0, 7
)  # relative to the unit of each view, where no regularisations are given


@documented
class KernelCCACV(KernelTwoView):
    r"""Kernel canonical correlation analysis with widths and regularisation chosen by cross-validation.

    For each width the landmarks are chosen once, from all rows (a choice that sees each view alone and no
    pairing), and one pass over the data takes the moments of every fold; all regularisations follow from
    these moments, without another look at the data.

    Parameters
    ----------
    n_components : int, optional
        Number of pairs of functions; by default 10, or the smaller rank if that is less.
    kernel : str, callable or pair of them, default="rbf"
        As in :class:`KernelCCA`. Of "precomputed" kernel matrices (n, n) rows and columns go to the folds.
    gammas : sequence of float, "median" or pairs of them, optional
        Widths to compare, each for both views or as a pair (x, y). By default 1/4, 1/2, 1, 2 and 4 times the
        median widths of the views.
    regs : array_like, or pair of array_like, optional
        Regularisations to compare, each for both views; or a pair of grids ``(regs_x, regs_y)``, every
        combination of which is tried. By default ``numpy.logspace(-6, 0, 7)``; for linear and precomputed
        kernels, whose features have a unit, times the total variance of each view's features.
    cv : int, splitter or iterable, default=5
        As in scikit-learn: the number of contiguous folds, a splitter, or pairs of row indices (train, test).
        Where a test part has fewer than five rows the held-out rows of all splits are scored together, as in
        :class:`CCACV`.
    penalty, degree, coef0, rank, tol, pivoting, random_state, n_threads, verbose
        As in :class:`KernelCCA`.

    Attributes
    ----------
    gamma_ : tuple of two float
        The widths with the best mean score.
    reg_ : float or tuple of two float
        The regularisation with the best mean score. Among equals the largest is taken.
    best_score_, best_index_ : float, int
        Its mean held-out canonical correlation, and its place in ``cv_results_``.
    best_estimator_ : KernelCCA
        Fitted to all rows with them.
    cv_results_ : dict
        As ``GridSearchCV`` gives it: ``params``, ``param_gamma``, ``param_reg``, ``split{i}_test_score``,
        ``mean_test_score``, ``std_test_score``, ``rank_test_score``. A score is the mean over components of
        the Pearson correlation of held-out scores; a component that is constant there counts 0.
    n_splits_ : int
        Number of splits.
    x_landmarks_, x_weights_, canonical_correlations_, ... : ndarray
        Every fitted attribute of ``best_estimator_``; the methods use them.

    {raises_in_search}
    NumericalError
        In ``fit``: a kernel that is not positive semidefinite, rows that are all the same.

    Warns
    -----
    UserWarning
        If the best regularisation is an end of a grid that was given (of three values or more).

    See Also
    --------
    KernelCCA : With given widths and regularisation.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import KernelCCACV
    >>> rng = np.random.default_rng(0)
    >>> t = rng.uniform(-2, 2, size=(200, 1))
    >>> X = np.hstack([t, rng.normal(size=(200, 2))])
    >>> y = t**2 + 0.1 * rng.normal(size=(200, 1))
    >>> search = KernelCCACV(n_components=1, regs=[1e-4, 1e-2]).fit(X, y)
    >>> len(search.cv_results_["params"]), bool(search.best_score_ > 0.9)
    (10, True)
    """

    _schema = Schema(
        "KernelCCACV", fields="n_splits_ cv_results_ best_index_ best_score_ gamma_ reg_ best_estimator_"
    )
    _constraints = {  # noqa: RUF012
        **KernelTwoView._constraints,
        "gammas": anything("a sequence of widths"),
        "regs": anything("a sequence of ridges"),
        "cv": anything("a number of folds or a splitter"),
    }

    def __init__(
        self,
        n_components: int | None = None,
        kernel: Kernels = "rbf",
        gammas: Any = None,
        regs: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
        cv: Any = 5,
        penalty: Literal["ridge", "bach-jordan"] = "ridge",
        degree: int = 3,
        coef0: float = 1,
        rank: int = 1000,
        tol: float = 1e-8,
        pivoting: Literal["greedy", "random", "uniform"] = "greedy",
        random_state: Any = None,
        n_threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.kernel = kernel
        self.gammas = gammas
        self.regs = regs
        self.cv = cv
        self.penalty = penalty
        self.degree = degree
        self.coef0 = coef0
        self.rank = rank
        self.tol = tol
        self.pivoting = pivoting
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> "KernelCCACV":
        """Choose widths and regularisation, and fit with them to all rows.

        {paired_views_in_folds}

        {returns_self}

        Raises
        ------
        ValueError
            See :class:`KernelCCACV`.
        """
        check_same_rows(X=X, y=y, groups=groups)
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=True)
        self._check_kernels(x_checked, y_checked)
        if self.regs is not None:
            regs = ridge_grid(self.regs)
        else:
            of_x, of_y = (
                _unit(kernel, name, data, weights)
                for kernel, name, data in zip(self._kernels(1.0), "Xy", (x_checked, y_checked), strict=True)
            )
            regs = default_grid(PENALTY_FACTORS, (of_x, of_y))
        pairs = [RIDGES("regs", reg) for reg in regs]
        kernels = self._grid_of_kernels(x_checked, y_checked, weights)
        x_checked, y_checked = (
            row_numbers(kernel, data) for kernel, data in zip(kernels[0], (x_checked, y_checked), strict=True)
        )
        splits = row_splits(self.cv, x_checked, y, groups, weights)

        pooled = pools(splits)
        scores = np.empty((1 if pooled else len(splits), len(kernels), len(regs)))
        best = (-np.inf, 0.0), 0, 0  # (mean score, largest reg), width, reg
        for i, of_views in enumerate(kernels):
            model = self._model((float(of_views[0].gamma), float(of_views[1].gamma)), regs[0])
            views, _ = model._choose_views(of_views, x_checked, y_checked, weights, None)
            total, scores[:, i] = self._held_out(views, x_checked, y_checked, weights, splits, pairs, pooled)
            mean = scores[:, i].mean(axis=0).round(TIE)
            j = max(range(len(regs)), key=lambda j: (mean[j], sum(pairs[j])))
            if (mean[j], sum(pairs[j])) > best[0]:
                best = (mean[j], sum(pairs[j])), i, j
                kept = model, views, total
        _, i, j = best

        self.n_splits_ = len(splits)
        gammas = [(float(kx.gamma), float(ky.gamma)) for kx, ky in kernels]
        params = [{"gamma": gamma, "reg": reg} for gamma in gammas for reg in regs]
        table = scores.reshape(len(scores), -1)
        self.cv_results_ = search_results(params, table[0] if pooled else table)
        self.best_index_ = i * len(regs) + j
        self.best_score_ = float(self.cv_results_["mean_test_score"][self.best_index_])
        self.gamma_, self.reg_ = gammas[i], regs[j]
        if self.regs is not None:
            warn_of_end(pairs, scores[:, i].mean(axis=0), j, default=False)
        model, views, total = kept
        model.reg = self.reg_
        model._fit_sums(views, total, pairs[j], (x_checked.dtype, y_checked.dtype))
        self.best_estimator_ = model
        parameters = model.get_params()
        self.__dict__.update({name: value for name, value in vars(model).items() if name not in parameters})
        return self

    def _grid_of_kernels(self, X: Array, Y: Array, weights: Weights) -> list[tuple[Kernel, Kernel]]:
        if self.gammas is not None:
            return [self._fitted_kernels(gamma, X, Y, weights) for gamma in _plain(self.gammas)]
        kx, ky = self._fitted_kernels("median", X, Y, weights)
        without = "linear", "cosine"
        if all(callable(k.kernel) or k.kernel in without for k in (kx, ky)):
            return [(kx, ky)]  # no width to choose
        return [
            (replace(kx, gamma=f * float(kx.gamma)), replace(ky, gamma=f * float(ky.gamma)))
            for f in WIDTH_FACTORS
        ]

    def _model(self, gamma: tuple[float, float], reg: Any) -> KernelCCA:
        names = set(KernelCCA().get_params()) - {"gamma", "reg"}
        model = KernelCCA(gamma=gamma, reg=reg, **{name: getattr(self, name) for name in names})
        adopt_features(model, self)
        return model

    def _held_out(
        self,
        views: tuple[LandmarkView, LandmarkView],
        X: Array,
        Y: Array,
        weights: Weights,
        splits: list[Split],
        pairs: list[Reg],
        pooled: bool,
    ) -> tuple[FeatureSums, NDArray[np.float64]]:
        """The sums over all rows, and scores (splits, regularisations), or (1, regularisations) if pooled."""

        def sums(rows: NDArray[np.intp]) -> FeatureSums:
            run = len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all()
            part: Any = slice(int(rows[0]), int(rows[-1]) + 1) if run else rows
            w = None if weights is None else weights[part]
            return collect(*views, X[part], Y[part], w, self.n_threads, self.verbose)

        k = min(int(self.n_components or 10), views[0].rank, views[1].rank)
        n = len(X)
        each_row_once = (np.bincount(np.concatenate([test for _, test in splits]), minlength=n) == 1).all()
        if each_row_once and all(len(train) + len(test) == n for train, test in splits):
            folds = [sums(test) for _, test in splits]
            total = reduce(add, folds)
            held_out = [fold.moments for fold in folds]
            if pooled:
                return total, self._pooled_scores(((total.moments - f, f) for f in held_out), pairs, k)
            return total, self._scores_of(total.moments, held_out, pairs, k)
        if pooled:
            parts = ((sums(train).moments, sums(test).moments) for train, test in splits)
            return sums(np.arange(n)), self._pooled_scores(parts, pairs, k)
        scores = []
        for train, test in splits:
            fold = sums(test).moments
            scores.append(self._scores_of(sums(train).moments + fold, [fold], pairs, k)[0])
        return sums(np.arange(n)), np.array(scores)

    def _pooled_scores(
        self, parts: Iterable[tuple[Moments, Moments]], pairs: list[Reg], k: int
    ) -> NDArray[np.float64]:
        """Scores (1, regularisations) of the held-out rows of all splits: training and held-out moments."""
        found = PooledScores(len(pairs), k)
        for train, fold in parts:
            sx, sy = fold.slices
            # about the means of the training rows
            away = fold.mean - train.mean
            scatter = fold.scatter + fold.n * np.outer(away, away)
            for j, pair in enumerate(pairs):
                solution = solve_features(train, k, pair, self.penalty, self.n_threads)
                wx, wy = solution.x_weights, solution.y_weights
                found.add(
                    j,
                    np.einsum("ij,ij->j", wx, scatter[sx, sy] @ wy),
                    np.einsum("ij,ij->j", wx, scatter[sx, sx] @ wx),
                    np.einsum("ij,ij->j", wy, scatter[sy, sy] @ wy),
                )
        return found.scores()[np.newaxis]

    def _scores_of(
        self, total: Moments, folds: list[Moments], pairs: list[Reg], k: int
    ) -> NDArray[np.float64]:
        if self.penalty == "ridge":
            # NaN stands beyond the rank of a fold's training rows.
            return np.asarray(
                np.nanmean(held_out_correlations(total, folds, pairs, k, self.n_threads), axis=2)
            )
        scores = np.empty((len(folds), len(pairs)))
        for i, fold in enumerate(folds):
            sx, sy = fold.slices
            for j, pair in enumerate(pairs):
                found = solve_features(total - fold, k, pair, self.penalty, self.n_threads)
                wx, wy = found.x_weights, found.y_weights
                across = np.einsum("ij,ij->j", wx, fold.scatter[sx, sy] @ wy)
                scale = np.sqrt(
                    np.einsum("ij,ij->j", wx, fold.scatter[sx, sx] @ wx)
                    * np.einsum("ij,ij->j", wy, fold.scatter[sy, sy] @ wy)
                )
                scores[i, j] = np.divide(across, scale, out=np.zeros_like(scale), where=scale > 0).mean()
        return scores


def _unit(kernel: Kernel, name: str, data: Array, weights: Weights) -> float:
    """The variance of all features together where they have units of the data, else 1."""
    if is_precomputed(kernel):
        return feature_variance(data, weights) or 1.0
    if kernel.kernel != "linear":
        return 1.0
    return float(column_statistics(name, data, weights)[1].sum()) or 1.0


def _plain(gammas: Any) -> list[Gamma]:
    """Widths as ``gamma`` takes them: rows of a 2-d array are pairs."""
    if isinstance(gammas, str) or not isinstance(gammas, (Sequence, np.ndarray)) or not len(gammas):
        raise ValueError(f"gammas must be a sequence of widths or of pairs of them, got {gammas!r}")
    return [tuple(g) if isinstance(g, (np.ndarray, list)) else g for g in gammas]
