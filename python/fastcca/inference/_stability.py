"""Whether both halves of the data find the same components."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn import config_context, get_config
from sklearn.base import clone
from sklearn.utils import _safe_indexing, check_random_state

from fastcca._arguments.arrays import as_matrix, check_same_rows
from fastcca._arguments.parameters import N_THREADS
from fastcca._arguments.warn import warn
from fastcca._config import get_num_threads
from fastcca.inference._model import check_resamples
from fastcca.inference._parallel import in_threads
from fastcca.metrics import column_correlations

__all__ = ["Stability", "stability"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Stability:
    """What :func:`stability` found of k components.

    Attributes
    ----------
    x_similarity, y_similarity : ndarray of shape (n_resamples, k)
        Absolute correlation over all rows of the variates that one half found with those of the other. NaN
        where a half has fewer components.
    held_out : ndarray of shape (n_resamples, k)
        Correlations of the variates of each half in the rows of the other, the mean of both.
    same_place : ndarray of shape (k,)
        How often a half has the component in the place in which all rows have it.
    """

    x_similarity: Floats
    y_similarity: Floats
    held_out: Floats
    same_place: Floats


def stability(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    n_resamples: int = 100,
    blocks: ArrayLike | None = None,
    random_state: Any = None,
    verbose: bool = False,
    n_threads: int | None = None,
) -> Stability:
    """Split-half stability of the components of a model of two views.

    The rows are split in halves at random, again and again, and a clone is fitted to each half. Its
    components are matched with those of a fit to all rows, by how their variates correlate over all rows.
    Correlations may be significant while the variates behind them are another mixture in every sample:
    where the similarity is low, loadings are not to be interpreted.

    Parameters
    ----------
    estimator : estimator of two views
        Anything with ``fit(X, y)`` and ``transform_views``: linear, kernel, sparse CCA, PLS.
    X : array_like of shape (n, p)
    y : array_like of shape (n, q) or (n,)
        The two views.
    n_resamples : int, default=100
        Number of splits; each takes two fits.
    blocks : array_like of shape (n,), optional
        Rows with the same label stay together: repeated measurements of a subject.
    random_state : int, RandomState or None
        Of the splits.
    verbose : bool, default=False
        Show a progress bar.
    n_threads : int, optional
        Splits that are worked on at once. By default as many as ``n_threads`` of the estimator says, and one
        by one where it has no such parameter. The result does not depend on it, unless fits draw from a
        generator of the whole process, as dropout in networks does.

    Returns
    -------
    Stability

    Raises
    ------
    TypeError
        For an estimator without ``transform_views``.
    ValueError
        For fewer than four rows or two blocks, ``n_threads`` below 1, and what ``fit`` refuses.

    See Also
    --------
    bootstrap : Intervals of loadings and weights.

    References
    ----------
    N. W. Churchill et al., "Optimizing preprocessing and analysis pipelines for single-subject fMRI",
    Human Brain Mapping 33, 2012 (split-half reproducibility).

    Examples
    --------
    >>> from fastcca import CCA
    >>> from fastcca.datasets import make_two_views
    >>> from fastcca.inference import stability
    >>> views = make_two_views(400, (5, 4), correlations=[0.8], random_state=0)
    >>> found = stability(CCA(2), views.X, views.y, n_resamples=20, random_state=0)
    >>> (found.x_similarity.mean(axis=0) > 0.9).tolist()
    [True, False]
    """
    if not hasattr(estimator, "transform_views") or not hasattr(estimator, "fit"):
        raise TypeError(f"estimator must be a model of two views, got {type(estimator).__name__}")
    check_resamples("n_resamples", n_resamples)
    check_same_rows(X=X, y=y, blocks=blocks)
    n = len(as_matrix("X", X, min_rows=4))
    labels = np.arange(n) if blocks is None else np.asarray(blocks)
    if labels.shape != (n,):
        raise ValueError(f"blocks must have shape ({n},), one label a row, got {labels.shape}")
    _, codes = np.unique(labels, return_inverse=True)
    units = int(codes.max()) + 1
    if units < 2:
        raise ValueError("blocks must have at least two labels: one for each half")
    threads = _threads(estimator, n_threads)
    rng = check_random_state(random_state)
    whole = clone(estimator).fit(X, y).transform_views(X, y)
    if threads > 1:  # one for each fit
        own = [name for name in estimator.get_params() if _is_n_threads(name)]
        estimator = clone(estimator).set_params(**dict.fromkeys(own, 1))
    config = get_config()  # of this thread alone

    def draws() -> Iterator[tuple[int, Mask]]:
        for _ in range(n_resamples):
            yield 1, np.isin(codes, rng.permutation(units)[: units // 2])

    def work(first: Mask) -> _Halves:
        with config_context(**config):
            return _halves(estimator, X, y, whole, first)

    # filters are those of all threads, and a warning in one of these has no line of the caller's
    with warnings.catch_warnings(record=True) as caught:
        found = list(in_threads(work, draws(), threads, total=n_resamples, label="halves", verbose=verbose))
    for message, category in dict.fromkeys((str(one.message), one.category) for one in caught):
        warn(message, category)
    x_similarity, y_similarity, held_out, in_place = (np.array(part) for part in zip(*found, strict=True))
    return Stability(x_similarity, y_similarity, held_out, in_place.sum(axis=0) / (2 * n_resamples))


class _Halves(NamedTuple):
    """Of one split, (k,) each."""

    x_similarity: Floats
    y_similarity: Floats
    held_out: Floats
    in_place: NDArray[np.intp]


def _halves(estimator: Any, X: Any, y: Any, whole: tuple[Any, Any], first: Mask) -> _Halves:
    k = whole[0].shape[1]
    in_place = np.zeros(k, dtype=np.intp)
    scores, correlations = [], []
    for mine in (first, ~first):
        rows = np.flatnonzero(mine)
        half = clone(estimator).fit(_safe_indexing(X, rows), _safe_indexing(y, rows))
        x, z = half.transform_views(X, y)
        order = _matched(whole, (x, z))
        in_place += order == np.arange(k)
        x, z = _ordered(x, order), _ordered(z, order)
        scores.append((x, z))
        correlations.append(column_correlations(x[~mine], z[~mine]))
    lacking = np.isnan(scores[0][0][0]) | np.isnan(scores[1][0][0])
    x_similarity, y_similarity, held_out = (
        np.where(lacking, np.nan, values)
        for values in (
            np.abs(column_correlations(scores[0][0], scores[1][0])),
            np.abs(column_correlations(scores[0][1], scores[1][1])),
            np.mean(correlations, axis=0),
        )
    )
    return _Halves(x_similarity, y_similarity, held_out, in_place)


def _is_n_threads(name: str) -> bool:
    return name == "n_threads" or name.endswith("__n_threads")


def _threads(estimator: Any, n_threads: Any) -> int:
    """How many splits at once: as given, or as the estimator has it."""
    given = N_THREADS("n_threads", n_threads)
    if given is None:
        own = [value for name, value in estimator.get_params().items() if _is_n_threads(name)]
        given = own[0] or get_num_threads() if own else 1
    return int(given)


def _matched(whole: tuple[Any, Any], half: tuple[Any, Any]) -> NDArray[np.intp]:
    """For each component of the whole the one of the half whose variates correlate with its most; or -1."""
    k = whole[0].shape[1]
    likeness = 0.0
    for mine, theirs in zip(whole, half, strict=True):
        centred = [a.astype(np.float64) - a.mean(axis=0, dtype=np.float64) for a in (mine, theirs)]
        length = [np.linalg.norm(a, axis=0) for a in centred]
        scale = np.outer(*(np.where(of > 0, of, 1.0) for of in length))
        likeness = likeness + np.abs(centred[0].T @ centred[1]) / scale
    row, column = linear_sum_assignment(-np.asarray(likeness))
    order = np.full(k, -1)
    order[row] = column
    return order


def _ordered(scores: NDArray[Any], order: NDArray[np.intp]) -> Floats:
    out = scores.astype(np.float64)[:, order]
    out[:, order < 0] = np.nan
    return np.asarray(out)
