"""What the tests read of an estimator, and whitened scores of each view by the method of its fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.parameters import integer
from fastcca.cca.linear import LinearTwoView
from fastcca.cca.pipeline import TwoViewPipeline
from fastcca.functional.moments import Moments
from fastcca.functional.solver import solve_gram, solve_moments, solve_qr

__all__ = ["WhitenedView", "centred_product", "check_resamples", "prepared", "ridge_of", "whitened_views"]

Floats = NDArray[np.float64]

_BLOCK = 2**22  # numbers of centred rows held at a time
_MOST_RESAMPLES = 10**7  # beyond any use; each takes memory, and some 10 microseconds at least


def check_resamples(name: str, value: Any, *, low: int = 1) -> int:
    """A number of resamples that a computer can draw."""
    return int(integer(low, _MOST_RESAMPLES)(name, value))


def prepared(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> tuple[Any, Any, Any]:
    """The model and the views that a test is of: of a pipeline, what its steps make of each view alone."""
    if isinstance(estimator, TwoViewPipeline):
        return estimator._prepared(X, y, sample_weight)
    return estimator, X, y


@dataclass(frozen=True)
class WhitenedView:
    """Scores Z = (A - mean) W of one view with W'(S + rI)W = I, of as many columns as the view has rank.

    They hold all that CCA reads of the view: weights of any fit to these rows are W times those of a fit to
    Z with the penalty r W'W = I - Z'Z / (n - 1). The columns of Z are uncorrelated.
    """

    scores: Floats  # (n, r)
    weights: Floats  # (p, r), for columns in their own units
    variances: Floats  # (r,), of the scores: 1 without a ridge


def ridge_of(model: LinearTwoView) -> tuple[float, float]:
    """The ridge of each view: given, or chosen by cross-validation."""
    return model._ridges_of_fit()


def whitened_views(
    model: LinearTwoView, X: NDArray[Any], y: NDArray[Any], weights: Floats | None = None
) -> tuple[WhitenedView, WhitenedView]:
    """Both views of a model that was fitted to them, by its solver, with its ridge and units."""
    if getattr(model, "confounds_rank_", 0):
        raise ValueError(
            f"this {type(model).__name__} was fitted with confounds: pass an estimator fitted without, and "
            "the confounds to permutation_test"
        )
    rx, ry = ridge_of(model)
    return (
        _whitened(X, model.x_mean_, model.x_scale_, rx, model, weights),
        _whitened(y, model.y_mean_, model.y_scale_, ry, model, weights),
    )


def _whitened(
    data: NDArray[Any],
    mean: NDArray[Any],
    scale: NDArray[Any],
    r: float,
    model: LinearTwoView,
    w: Floats | None,
) -> WhitenedView:
    """The canonical variates of a view with itself are whitened scores of it, all that its rank allows."""
    mean, scale = mean.astype(np.float64), scale.astype(np.float64)
    units = data if np.all(scale == 1) else data / scale.astype(data.dtype)
    if model.solver_ == "covariance":
        moments = Moments().update(units, units, sample_weight=w, n_threads=model.n_threads, dtype=np.float64)
        solution = solve_moments(moments, None, r, model.n_threads)
    else:
        solve = solve_gram if model.solver_ == "gram" else solve_qr
        solution = solve(units, units, None, r, w, n_threads=model.n_threads)
    weights = solution.x_weights / scale[:, None]
    scores = centred_product(data, weights, mean, w)
    n = len(data) if w is None else w.sum()
    if r > 0:
        squares = scores if w is None else scores * w[:, None]
        return WhitenedView(scores, weights, np.einsum("ij,ij->j", squares, scores) / (n - 1))
    # weights of ill-conditioned columns leave the scores not quite orthogonal: once more, on columns that
    # are nearly so
    root = np.sqrt(n - 1)
    if w is None:
        q, triangle = np.linalg.qr(scores)
        scores = q * root
    else:
        _, triangle = np.linalg.qr(np.sqrt(w)[:, None] * scores)
        scores = np.linalg.solve(triangle.T, scores.T).T * root
    return WhitenedView(scores, np.linalg.solve(triangle.T, weights.T).T * root, np.ones(scores.shape[1]))


def centred_product(
    data: NDArray[Any], weights: Floats, mean: Floats, sample_weight: Floats | None = None
) -> Floats:
    """(data - mean) weights in float64, by blocks of rows; its columns have mean 0 to rounding."""
    out = np.empty((len(data), weights.shape[1]))
    step = max(1, _BLOCK // data.shape[1])
    for start in range(0, len(data), step):
        rows = slice(start, start + step)
        np.matmul(data[rows] - mean, weights, out=out[rows])
    out -= np.average(out, axis=0, weights=sample_weight)
    return out
