"""Distances read as probabilities: held-out rows, and the temperature that fits them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

__all__ = ["content_folds", "some_rows", "temperature_of"]


def content_folds(features: NDArray[np.float64], y: NDArray[np.int64], n_folds: int) -> NDArray[np.int64]:
    """The fold in which each row is held out, or -1 for a class of one distinct row, which is never.

    Folds depend on what the rows hold alone: neither their order nor copies of them matter (copies stay
    together), so that a weight of 2 and a row given twice lead to the same fit. Classes are spread evenly.
    """
    key = _content_key(features)
    # distinct rows of each class, counted from 0 in the order of their keys
    order = np.lexsort((key, y))
    of_class = y[order]
    first = np.append(True, of_class[1:] != of_class[:-1])
    distinct = first.copy()
    distinct[1:] |= np.diff(key[order]) != 0
    number = np.cumsum(distinct) - 1
    start = np.maximum.accumulate(np.where(first, number, 0))
    several = np.bincount(of_class[distinct], minlength=int(y.max()) + 1) > 1
    folds = np.empty(len(y), dtype=np.int64)
    folds[order] = np.where(several[of_class], (number - start) % n_folds, -1)
    return folds


def some_rows(features: NDArray[Any], fraction: float) -> NDArray[np.bool_]:
    """About that fraction of the rows, at least one, by their content: all copies of a row or none."""
    if fraction >= 1.0:
        return np.ones(len(features), dtype=bool)
    place = np.abs(_content_key(features)) * 2.0**20 % 1.0
    return place <= max(fraction, float(place.min()))


def _content_key(features: NDArray[Any]) -> NDArray[np.float64]:
    """Identical rows have identical keys: one fixed combination, summed in the same order for each row."""
    direction = np.cos(1.0 + np.arange(features.shape[1]))
    rows = np.ascontiguousarray(features)
    step = max(1, 2**20 // rows.shape[1])
    return np.concatenate([(rows[i : i + step] * direction).sum(axis=1) for i in range(0, len(rows), step)])


def temperature_of(
    decisions: NDArray[np.float64], y: NDArray[np.int64], weight: NDArray[np.float64]
) -> float:
    """The T > 0 for which softmax(decisions / T) gives the labels the greatest likelihood.

    One more row that may be of any class is added (as Platt did), so that T stays finite and above 0 for
    rows that are all right or all wrong.
    """
    share = weight / weight.sum()
    centred = decisions - decisions.mean(axis=1, keepdims=True)
    unit = float(np.sqrt(share @ np.mean(centred**2, axis=1)))
    if not unit > 0.0:
        return 1.0
    centred /= unit
    uncertain = 1.0 / (weight.sum() + 2.0)
    target = (1.0 - uncertain) * float(share @ centred[np.arange(len(y)), y])  # the mean over classes is 0
    largest = centred.max(axis=1)
    below = centred - largest[:, np.newaxis]
    p = np.empty_like(below)

    # d/ds of the mean log loss of softmax(s d): E_p[d] - E_target[d], which grows with s
    def slope(log_s: float) -> float:
        np.exp(np.multiply(below, np.exp(log_s), out=p), out=p)
        expected = largest + np.einsum("ij,ij->i", p, below) / p.sum(axis=1)
        return float(share @ expected - target)

    low, high = np.log(1e-2), np.log(1e4)
    if slope(low) >= 0.0:
        log_s = low
    elif slope(high) <= 0.0:
        log_s = high
    else:
        log_s = brentq(slope, low, high, xtol=1e-10)
    return unit / float(np.exp(log_s))
