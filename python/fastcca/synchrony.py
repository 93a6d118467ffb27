"""Are two streams in step, and if not, by how much are they off?

Sound and picture of a film, a stimulus and a recording: canonical variates that were fitted while the streams
were in step correlate most at lag 0; where the streams are not in step, the peak lies elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from fastcca._persistence import SavedModel
from fastcca._validation import as_matrix, check_count
from fastcca.cca import CCA
from fastcca.functional._arrays import refuse_non_finite

__all__ = ["SynchronyDetector", "SynchronyWindows", "lagged_correlation", "stack_frames"]

Floats = NDArray[np.float64]


def stack_frames(X: ArrayLike, before: int = 0, after: int = 0) -> NDArray[Any]:
    """Each frame with its neighbours: rows t - before to t + after of a stream, side by side.

    Parameters
    ----------
    X : array_like of shape (n, p) or (n,)
        A stream, one row a frame.
    before, after : int
        Frames of context, at least 0. The first and the last frame stand in for those beyond the ends.

    Returns
    -------
    ndarray of shape (n, (before + 1 + after) p)
        The earliest frame's columns first.

    Raises
    ------
    ValueError
        If ``before`` or ``after`` is negative or no whole number, or the stream is empty.

    Examples
    --------
    >>> from fastcca.synchrony import stack_frames
    >>> stack_frames([1.0, 2.0, 3.0], before=1)
    array([[1., 1.],
           [1., 2.],
           [2., 3.]])
    """
    a = as_matrix("X", X, vector=True)
    for name, value in (("before", before), ("after", after)):
        check_count(name, value, low=0)
    t = np.arange(len(a))
    shifted = [a[np.clip(t + s, 0, len(a) - 1)] for s in range(-before, after + 1)]
    return np.hstack(shifted)


def lagged_correlation(Zx: ArrayLike, Zy: ArrayLike, max_lag: int) -> Floats:
    """The sum over the columns of the correlation of Zx at time t with Zy at time t + lag.

    Parameters
    ----------
    Zx, Zy : array_like of shape (n, k)
        Two streams whose columns are partners: variates, for example.
    max_lag : int
        Largest lag in frames, below n - 1.

    Returns
    -------
    ndarray of shape (2 max_lag + 1,)
        For the lags -max_lag to max_lag, each over the frames that both streams have at that lag. A column
        that is constant there counts 0.

    Raises
    ------
    ValueError
        For NaN or infinity, different shapes, a stream too short for ``max_lag``, or one that is no whole
        number.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.synchrony import lagged_correlation
    >>> z = np.random.default_rng(0).normal(size=(500, 1))
    >>> int(lagged_correlation(z[3:], z[:-3], max_lag=5).argmax()) - 5  # Zy is three frames late
    3
    """
    a, b = (as_matrix(name, z, vector=True).astype(np.float64) for name, z in (("Zx", Zx), ("Zy", Zy)))
    for name, z in (("Zx", a), ("Zy", b)):
        refuse_non_finite(name, z)
    if a.shape != b.shape:
        raise ValueError(f"Zx and Zy must have the same shape, got {a.shape} and {b.shape}")
    n = len(a)
    check_count("max_lag", max_lag, low=0)
    if max_lag > n - 2:
        raise ValueError(f"max_lag must lie between 0 and n - 2 = {n - 2}, got {max_lag}")
    out = np.empty(2 * max_lag + 1)
    for i, lag in enumerate(range(-max_lag, max_lag + 1)):
        u, v = (a[: n - lag], b[lag:]) if lag >= 0 else (a[-lag:], b[: n + lag])
        u, v = _standardised(u), _standardised(v)
        out[i] = np.einsum("ij,ij->", u, v)
    return out


def _standardised(z: Floats) -> Floats:
    """Columns of mean 0 and length 1; zeros for constant ones, whatever their mean is rounded to."""
    varies = (z != z[0]).any(axis=0)
    # first to values about 1, whose squares neither overflow nor vanish
    largest = np.abs(z).max(axis=0)
    z = z / np.where(varies, largest, 1.0)
    z = z - z.mean(axis=0)
    spread = np.abs(z).max(axis=0)
    z = z / np.where(varies & (spread > 0), spread, 1.0)
    length = np.sqrt(np.einsum("ij,ij->j", z, z))
    unit: Floats = np.divide(z, length, out=np.zeros_like(z), where=varies & (length > 0))
    return unit


@dataclass(frozen=True)
class SynchronyWindows:
    """What :meth:`SynchronyDetector.windows` found, window by window.

    Attributes
    ----------
    start : ndarray of shape (w,)
        First frame of each window.
    lag : ndarray of shape (w,)
        Where its correlation is largest: by so many frames the second stream is late.
    score : ndarray of shape (w,)
        Its correlation at lag 0 less the largest at any other lag: positive where the streams are in step.
    correlation : ndarray of shape (w, 2 max_lag + 1)
        Over all lags.
    """

    start: NDArray[np.intp]
    lag: NDArray[np.intp]
    score: Floats
    correlation: Floats


class SynchronyDetector(SavedModel, BaseEstimator):  # type: ignore[misc]
    """Tells whether two streams are in step, from variates fitted to streams that are.

    Parameters
    ----------
    estimator : CCA or KernelCCA, optional
        Cloned and fitted; by default ``CCA(n_components=1, reg=1e-3, scale=True)``, the one pair of FaceSync.
    context : int
        Frames before and after that each frame is seen with.
    max_lag : int
        Largest offset looked for, in frames.

    Attributes
    ----------
    estimator_ : fitted estimator

    Raises
    ------
    ValueError
        From every method: for NaN or infinity, streams of different lengths or too short for ``max_lag``,
        numbers of frames that are not whole.

    References
    ----------
    Slaney & Covell, "FaceSync: a linear operator for measuring synchronization of video facial images and
    audio tracks", NIPS 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.synchrony import SynchronyDetector
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(1000, 2))
    >>> sound = np.hstack([common, rng.normal(size=(1000, 3))])
    >>> picture = common @ rng.normal(size=(2, 4)) + 0.5 * rng.normal(size=(1000, 4))
    >>> detector = SynchronyDetector(max_lag=10).fit(sound[:600], picture[:600])
    >>> detector.lag(sound[600:900], picture[597:897])  # the picture shows what was heard 3 frames ago
    3
    """

    def __init__(self, estimator: Any = None, *, context: int = 0, max_lag: int = 25) -> None:
        self.estimator = estimator
        self.context = context
        self.max_lag = max_lag

    def fit(self, X: ArrayLike, y: ArrayLike) -> SynchronyDetector:
        """Fit to two streams in step.

        Parameters
        ----------
        X : array_like of shape (n, p)
        y : array_like of shape (n, q)
            One row a frame, both at the same frame rate.

        Returns
        -------
        SynchronyDetector
            The fitted detector.
        """
        check_count("context", self.context, low=0)
        check_count("max_lag", self.max_lag, low=0)
        chosen = (
            CCA(n_components=1, reg=1e-3, scale=True) if self.estimator is None else clone(self.estimator)
        )
        self.estimator_ = chosen.fit(*(stack_frames(z, self.context, self.context) for z in (X, y)))
        return self

    def correlation(self, X: ArrayLike, y: ArrayLike) -> Floats:
        """The variates' total correlation at each lag: :func:`lagged_correlation`, shape (2 max_lag + 1,)."""
        return lagged_correlation(*self._variates(X, y), self.max_lag)

    def lag(self, X: ArrayLike, y: ArrayLike) -> int:
        """By how many frames the second stream is late; negative where it is early.

        Raises
        ------
        ValueError
            If a stream is constant: it correlates at no lag.
        """
        correlation = self.correlation(X, y)
        for name, stream in (("X", X), ("y", y)):
            # the stream itself: its variates are constant but for rounding
            a = as_matrix(name, stream, vector=True)
            if (a == a[0]).all():
                raise ValueError(f"the stream {name} is constant: there is no correlation at any lag")
        return int(correlation.argmax()) - self.max_lag

    def windows(self, X: ArrayLike, y: ArrayLike, length: int, hop: int | None = None) -> SynchronyWindows:
        """Lag and detection score in each of a run of windows.

        Parameters
        ----------
        X : array_like of shape (n, p)
        y : array_like of shape (n, q)
            Two streams.
        length : int
            Frames of a window, more than ``max_lag`` + 1 and at most n.
        hop : int, optional
            Frames from one window's start to the next; by default ``length``.

        Returns
        -------
        SynchronyWindows
        """
        zx, zy = self._variates(X, y)
        hop = length if hop is None else hop
        check_count("length", length)
        check_count("hop", hop)
        if not self.max_lag + 2 <= length <= len(zx):
            raise ValueError(
                f"length must lie between max_lag + 2 = {self.max_lag + 2} and n = {len(zx)}, got {length}"
            )
        start = np.arange(0, len(zx) - length + 1, hop)
        correlation = np.stack(
            [lagged_correlation(zx[s : s + length], zy[s : s + length], self.max_lag) for s in start]
        )
        others = np.delete(correlation, self.max_lag, axis=1)
        best = others.max(axis=1) if others.shape[1] else np.zeros(len(start))
        return SynchronyWindows(
            start, correlation.argmax(axis=1) - self.max_lag, correlation[:, self.max_lag] - best, correlation
        )

    def _variates(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        check_is_fitted(self)
        zx, zy = self.estimator_.transform_views(
            *(stack_frames(z, self.context, self.context) for z in (X, y))
        )
        if len(zx) != len(zy):
            raise ValueError(f"the streams must have the same length, got {len(zx)} and {len(zy)} frames")
        return zx, zy
