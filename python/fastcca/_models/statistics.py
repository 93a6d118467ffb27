"""How training scores vary with one another and with the columns; loadings and regressions from that."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.arrays import refuse_non_finite
from fastcca._arguments.sparse import is_sparse
from fastcca.errors import NumericalError
from fastcca.functional.linalg import solve_positive

__all__ = [
    "ScoreStatistics",
    "Weights",
    "cast_weights",
    "column_statistics",
    "finite_scores",
    "least_squares",
    "loadings",
    "project",
    "score_statistics",
]

Weights = NDArray[np.float64] | None


@dataclass(frozen=True)
class ScoreStatistics:
    """Covariances of the k + k training scores with one another and with the columns of both views."""

    scores: NDArray[np.float64]  # (2k, 2k): of [Zx, Zy]
    x: NDArray[np.float64]  # (p, 2k): of X with [Zx, Zy]
    y: NDArray[np.float64]  # (q, 2k): of y with [Zx, Zy]
    x_variance: NDArray[np.float64]  # (p,)
    y_variance: NDArray[np.float64]  # (q,)


def score_statistics(
    X: NDArray[Any],
    y: NDArray[Any],
    sample_weight: Weights,
    means: tuple[NDArray[Any], NDArray[Any]],
    variances: tuple[NDArray[np.float64], NDArray[np.float64]],
    scores: Callable[[slice], NDArray[np.float64]],
) -> ScoreStatistics:
    """The statistics from the data, in one pass by blocks of rows.

    ``scores(rows)`` gives the centred scores [Zx, Zy] of those rows, shape (rows, 2k), in float64.
    """
    step = 2**20 // max(1, X.shape[1] + y.shape[1]) or 1
    total: list[Any] = [0.0, 0.0, 0.0]
    for start in range(0, len(X), step):
        rows = slice(start, start + step)
        z = scores(rows)
        weighted = z if sample_weight is None else z * sample_weight[rows, None]
        for i, centred in enumerate((z, X[rows] - means[0], y[rows] - means[1])):
            total[i] = total[i] + centred.astype(np.float64, copy=False).T @ weighted
    n = len(X) if sample_weight is None else sample_weight.sum()
    zz, xz, yz = (t / (n - 1) for t in total)
    return ScoreStatistics(zz, xz, yz, *variances)


def loadings(covariance: NDArray[Any], variance: NDArray[Any], score_variance: NDArray[Any]) -> NDArray[Any]:
    """Pearson correlation of every column with every score; 0 where either is constant.

    A variance below 0 is that of a constant, rounded.
    """
    scale = np.outer(*(np.sqrt(np.maximum(v, 0.0)) for v in (variance, score_variance)))
    out: NDArray[Any] = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
    out.clip(-1.0, 1.0, out=out)
    return out


def least_squares(zz: NDArray[Any], zc: NDArray[Any]) -> NDArray[Any]:
    """Coefficients of centred columns c on scores z, cov(z, z)⁺ cov(z, c)."""
    spread = np.sqrt(np.maximum(zz.diagonal(), 0.0))
    # The scores are uncorrelated, or nearly so with a ridge: the matrix of their correlations is
    # well-conditioned unless some score has no variance of its own.
    coefficients: NDArray[Any]
    if spread.all():
        solved = solve_positive(zz / np.outer(spread, spread), zc / spread[:, None], floor=1e-10)
        if solved is not None:
            coefficients = solved / spread[:, None]
            return coefficients
    coefficients = np.linalg.pinv(zz, hermitian=True, rcond=1e-13) @ zc
    return coefficients


def column_statistics(
    name: str, a: NDArray[Any], weights: Weights
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of each column, in blocks of columns; refuses NaN and infinity."""
    refuse_non_finite(name, a)
    w = np.ones(len(a)) if weights is None else weights
    mean, variance = np.empty(a.shape[1]), np.empty(a.shape[1])
    step = max(1, 2**20 // len(a))
    for start in range(0, a.shape[1], step):
        block = slice(start, start + step)
        centred = a[:, block].astype(np.float64)
        shift = centred[w.argmax()].copy()  # a row that counts: one without weight may hold anything
        centred -= shift  # a constant column becomes exactly 0
        offset = w @ centred / w.sum()
        centred -= offset
        mean[block] = shift + offset
        variance[block] = np.einsum("ij,ij,i->j", centred, centred, w) / (w.sum() - 1)
    return mean, variance


def cast_weights(name: str, weights: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Weights in the dtype of the data; refuses those that overflow it."""
    with np.errstate(over="ignore"):
        out = weights.astype(dtype)
    if not np.isfinite(out).all():
        raise NumericalError(f"the weights of {name} overflow {dtype}: scale its columns up or use float64")
    return out


def _rows_of_block(columns: int) -> int:
    return max(1, 2**19 // columns)


def rows_at_once(data: NDArray[Any]) -> int:
    """Some 32 MB of rows, whole blocks of :func:`project`: which of them are in one call does not matter."""
    block = _rows_of_block(data.shape[1])
    return block * max(1, 2**22 // (block * int(data.shape[1])))


def project(data: NDArray[Any], weights: NDArray[Any], mean: NDArray[Any]) -> NDArray[Any]:
    """(data - mean) weights by blocks of rows; centred first, so that a large mean costs no digits.

    Sparse rows are centred by what the mean is mapped to.
    """
    if is_sparse(data):
        with np.errstate(invalid="ignore", over="ignore"):
            shifted = data @ weights - mean @ weights
        return np.asarray(shifted, dtype=data.dtype)
    out = np.empty((len(data), weights.shape[1]), dtype=data.dtype)
    step = _rows_of_block(data.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):  # the caller looks at the result
        near = mean.astype(data.dtype)
        # what the mean loses in float32: as much of a standard deviation as the mean is large
        rest = ((mean - near) @ weights).astype(data.dtype) if data.dtype != mean.dtype else None
        for start in range(0, len(data), step):
            rows = slice(start, start + step)
            np.matmul(data[rows] - near, weights, out=out[rows])
            if rest is not None:
                out[rows] -= rest
    return out


def finite_scores(name: str, data: NDArray[Any], weights: NDArray[Any], mean: NDArray[Any]) -> NDArray[Any]:
    """:func:`project` in the dtype of the rows; refuses NaN and infinity, in them or in their scores."""
    with np.errstate(over="ignore"):  # weights beyond float32 make scores that are found below
        weights = weights.astype(data.dtype, copy=False)
    scores = project(data, weights, mean)
    # NaN and infinity in the data reach their row's scores: a look at those spares a pass over the data
    if not np.isfinite(scores).all():
        refuse_non_finite(name, data)
        raise NumericalError(f"the scores of {name} overflow {data.dtype}: rescale the data or use float64")
    return scores
