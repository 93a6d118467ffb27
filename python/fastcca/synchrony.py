"""Are two streams synchronised, and if not, by how much are they off?

Audio and video of a film, a stimulus and a recording: canonical variates that were fitted to synchronised
streams correlate most at lag 0; where the streams are not synchronised, the peak lies elsewhere. Unrelated
streams have a largest correlation too: what it is worth is the confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.arrays import as_matrix, check_same_rows, refuse_non_finite
from fastcca._arguments.parameters import POSITIVE_INTEGER, anything, choice, integer
from fastcca._arguments.warn import warn
from fastcca._models.files import SavedModel, Schema
from fastcca.cca.linear import CCA

__all__ = ["SynchronyDetector", "SynchronyLag", "SynchronyWindows", "lagged_correlation", "stack_frames"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Missing = Literal["raise", "omit"]
Lengths = Literal["equal", "any"]

MOST_FRAMES = 1_000_000  # of context: more would be copies of the ends, without end
COUNT = integer(0)
MISSING = choice("raise", "omit")
LENGTHS = choice("equal", "any")
LEAST = 0.95  # confidence below which `lag` says that the streams may be unrelated


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
        If ``before`` or ``after`` is negative, above a million or no integer, or the stream is empty.

    Examples
    --------
    >>> from fastcca.synchrony import stack_frames
    >>> stack_frames([1.0, 2.0, 3.0], before=1)
    array([[1., 1.],
           [1., 2.],
           [2., 3.]])
    """
    a = as_matrix("X", X, vector=True, frames_finite=False)
    for name, value in (("before", before), ("after", after)):
        COUNT(name, value)
        if value > MOST_FRAMES:
            raise ValueError(f"{name} must be at most {MOST_FRAMES} frames, got {value}")
    t = np.arange(len(a))
    shifted = [a[np.clip(t + s, 0, len(a) - 1)] for s in range(-before, after + 1)]
    return np.hstack(shifted)


def lagged_correlation(
    Zx: ArrayLike,
    Zy: ArrayLike,
    max_lag: int,
    *,
    missing: Missing = "raise",
    lengths: Lengths = "equal",
) -> Floats:
    """The sum over the columns of the correlation of Zx at time t with Zy at time t + lag.

    Parameters
    ----------
    Zx, Zy : array_like of shape (n, k)
        Two streams whose columns are paired: variates, for example.
    max_lag : int
        Largest lag in frames, below n - 1.
    missing : {"raise", "omit"}
        What to do with NaN: refuse it, or take a frame with any NaN as missing and leave the pairs of frames
        that it is in out of the correlation at each lag.
    lengths : {"equal", "any"}
        Whether streams of different lengths are refused or taken from their common start on, each lag over
        the frames that both have.

    Returns
    -------
    ndarray of shape (2 max_lag + 1,)
        For the lags -max_lag to max_lag, each over the frames that both streams have at that lag. A column
        that is constant there counts 0, as does a lag at which fewer than two pairs of frames are left.

    Raises
    ------
    ValueError
        For infinity, NaN, different shapes (see ``missing`` and ``lengths``), a stream too short for
        ``max_lag``, or one that is no integer.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.synchrony import lagged_correlation
    >>> z = np.random.default_rng(0).normal(size=(500, 1))
    >>> int(lagged_correlation(z[3:], z[:-3], max_lag=5).argmax()) - 5  # Zy is three frames late
    3
    """
    _check_rules(missing, lengths)
    a, b = (
        as_matrix(name, z, vector=True, frames_finite=False).astype(np.float64)
        for name, z in (("Zx", Zx), ("Zy", Zy))
    )
    for name, z in (("Zx", a), ("Zy", b)):
        _frames_present(name, z, missing)
    if a.shape[1] != b.shape[1] or (lengths == "equal" and len(a) != len(b)):
        raise ValueError(f"Zx and Zy must have the same shape, got {a.shape} and {b.shape}")
    COUNT("max_lag", max_lag)
    return _lagged(a, b, max_lag)[0]


def _check_rules(missing: Any, lengths: Any) -> None:
    MISSING("missing", missing)
    LENGTHS("lengths", lengths)


def _frames_present(name: str, z: NDArray[Any], missing: Missing) -> Mask:
    """The frames without NaN; refuses infinity, and NaN unless it is to be left out."""
    present = _without_nan(z)
    if missing == "raise" and not present.all():
        try:
            refuse_non_finite(name, z)
        except ValueError as error:
            raise ValueError(f"{error}; missing='omit' leaves such frames out") from None
    refuse_non_finite(name, np.where(np.isnan(z), 0, z))
    return present


def _without_nan(z: NDArray[Any]) -> Mask:
    present: Mask = np.isnan(z).sum(axis=1) == 0
    return present


def _lagged(a: Floats, b: Floats, max_lag: int) -> tuple[Floats, NDArray[np.intp]]:
    """The correlation at each lag, over frames that neither stream has NaN in, and the number of those."""
    n = min(len(a), len(b))
    if max_lag > n - 2:
        raise ValueError(f"max_lag must lie between 0 and n - 2 = {n - 2}, got {max_lag}")
    has_a, has_b = _without_nan(a), _without_nan(b)
    whole = bool(has_a.all() and has_b.all())
    out, count = np.zeros(2 * max_lag + 1), np.zeros(2 * max_lag + 1, dtype=np.intp)
    for i, lag in enumerate(range(-max_lag, max_lag + 1)):
        in_a = slice(max(-lag, 0), min(len(a), len(b) - lag))
        in_b = slice(max(lag, 0), min(len(b), len(a) + lag))
        u, v = a[in_a], b[in_b]
        if not whole:
            both = has_a[in_a] & has_b[in_b]
            u, v = u[both], v[both]
        count[i] = len(u)
        if len(u) > 1:
            out[i] = np.einsum("ij,ij->", _standardised(u), _standardised(v))
    return out, count


def _null_variance(a: Floats, b: Floats) -> float:
    """n times the variance of the total correlation of unrelated streams with autocorrelations like these.

    Bartlett's formula: with ρ_ij(s) the correlation of column i at t with column j of the same stream at
    t + s,

        n var Σ_i r_i = Σ_s Σ_ij ρᵃ_ij(s) ρᵇ_ij(s),

    here with Parzen's weights and s up to half the frames.
    """
    n = min(len(a), len(b))
    reach = max(1, n // 2)
    s = np.arange(reach + 1) / reach
    weight = np.where(s <= 0.5, 1 - 6 * s**2 + 6 * s**3, 2 * (1 - s) ** 3)
    spectra, squares = [], []
    for z in (a, b):
        present = _without_nan(z)
        filled = np.zeros_like(z)
        filled[present] = _standardised(z[present])
        spectra.append(np.fft.rfft(filled, 2 * len(z), axis=0))
        squares.append(2 * len(z))
    total, k = 0.0, a.shape[1]
    for i in range(k):
        for j in range(k):
            ra, rb = (
                np.fft.irfft(f[:, i].conj() * f[:, j], size) for f, size in zip(spectra, squares, strict=True)
            )
            later = ra[: reach + 1] * rb[: reach + 1]
            # ρ_ij(-s) stands at the end
            earlier = np.r_[0.0, (ra[-reach:] * rb[-reach:])[::-1]]
            total += float(weight @ (later + earlier))
    return max(total, 0.5 * float(k))


def _normal_scores(z: Floats) -> Floats:
    """Columns by their ranks, as quantiles of the normal distribution; NaN where a frame is missing.

    A few loud frames then count no more than others: correlations of these have the distribution that
    Bartlett's formula and Student's t suppose, where two streams with a peak each would correlate by chance.
    """
    scores = np.full_like(z, np.nan)
    present = _without_nan(z)
    scores[present] = ndtri((rankdata(z[present], axis=0) - 0.5) / max(int(present.sum()), 1))
    return scores


class _Ranked(NamedTuple):
    """The total correlation of normal scores at each lag, and what unrelated streams reach."""

    correlation: Floats
    confidence: Floats
    critical: Floats


def _ranked(a: Floats, b: Floats, max_lag: int) -> _Ranked:
    u, v = _normal_scores(a), _normal_scores(b)
    correlation, count = _lagged(u, v, max_lag)
    k = u.shape[1]
    freedom = _freedom(count, _null_variance(u, v), k)
    return _Ranked(correlation, _confidence(correlation, freedom, k), _critical(freedom, k))


def _confidence(correlation: Floats, freedom: Floats, k: int) -> Floats:
    """A lower bound of the probability that unrelated streams stay below each of these at all lags."""
    mean = correlation / k
    t = mean * np.sqrt(freedom / np.maximum(1 - mean**2, np.finfo(float).eps))
    confidence: Floats = 1 - np.minimum(1.0, len(correlation) * stdtr(freedom, -t))
    return confidence


def _critical(freedom: Floats, k: int) -> Floats:
    """At each lag the correlation whose confidence is LEAST."""
    t = -stdtrit(freedom, (1 - LEAST) / len(freedom))
    critical: Floats = k * t / np.sqrt(freedom + t**2)
    return critical


def _freedom(count: NDArray[np.intp], null_variance: float, k: int) -> Floats:
    """Bartlett's variance as that of one correlation of so many independent pairs: Student's t."""
    return np.maximum(count * k**2 / null_variance - 2, 0.5)


def _standardised(z: Floats) -> Floats:
    """Columns of mean 0 and length 1; zeros for constant ones, whatever their mean is rounded to."""
    varies = (z != z[0]).any(axis=0)
    # first to values about 1, whose sums and squares neither overflow nor vanish
    z = np.where(varies, z, 0.0)
    largest = np.abs(z).max(axis=0)
    z = z / np.where(varies, largest, 1.0)
    z = z - z.mean(axis=0)
    spread = np.abs(z).max(axis=0)
    z = z / np.where(varies & (spread > 0), spread, 1.0)
    length = np.sqrt(np.einsum("ij,ij->j", z, z))
    unit: Floats = np.divide(z, length, out=np.zeros_like(z), where=varies & (length > 0))
    return unit


@dataclass(frozen=True)
class SynchronyLag:
    """What :meth:`SynchronyDetector.detect` found.

    Attributes
    ----------
    lag : int
        Where the correlation is largest: by this many frames the second stream is late.
    confidence : float
        Between 0 and 1: a lower bound of the probability that unrelated streams with the autocorrelations of
        these correlate less, by ranks, at every lag looked at than these do at ``lag``. Above 0.95, unrelated
        streams are found together in one case of 20 or fewer.
    at_edge : bool
        Whether the lag is -max_lag or max_lag: the correlation may be larger beyond.
    correlation : ndarray of shape (2 max_lag + 1,)
        The variates' total correlation at each lag.
    lags : ndarray of shape (2 max_lag + 1,)
        The lags, -max_lag to max_lag.
    n_frames : ndarray of shape (2 max_lag + 1,)
        How many pairs of frames the correlation at each lag is over.
    ranked : ndarray of shape (2 max_lag + 1,)
        The same of the ranks of the frames, column by column, as quantiles of the normal distribution: what
        the confidence is of. A few loud frames do not make it large.
    critical : ndarray of shape (2 max_lag + 1,)
        The value of ``ranked`` at each lag from which on the confidence is 0.95: unrelated streams reach it,
        at whichever lag, in one case of 20 or fewer.
    """

    lag: int
    confidence: float
    at_edge: bool
    correlation: Floats
    lags: NDArray[np.intp]
    n_frames: NDArray[np.intp]
    ranked: Floats
    critical: Floats


@dataclass(frozen=True)
class SynchronyWindows:
    """What :meth:`SynchronyDetector.windows` found, window by window.

    Attributes
    ----------
    start : ndarray of shape (w,)
        First frame of each window.
    lag : ndarray of shape (w,)
        Where its correlation is largest: by this many frames the second stream is late. 0 where ``constant``.
    score : ndarray of shape (w,)
        Its correlation at lag 0 less the largest at any other lag: positive where the streams are
        synchronised.
    correlation : ndarray of shape (w, 2 max_lag + 1)
        Over all lags.
    confidence : ndarray of shape (w,)
        That of each lag, as of :class:`SynchronyLag`; 0 where ``constant``.
    at_edge : ndarray of bool, shape (w,)
        Whether the lag is -max_lag or max_lag: the correlation may be larger beyond.
    constant : ndarray of bool, shape (w,)
        Whether a stream does not change in the window, or has fewer than two frames there: then it correlates
        at no lag, and ``lag`` and ``score`` mean nothing.
    """

    start: NDArray[np.intp]
    lag: NDArray[np.intp]
    score: Floats
    correlation: Floats
    confidence: Floats
    at_edge: Mask
    constant: Mask


class SynchronyDetector(SavedModel, BaseEstimator):  # type: ignore[misc]
    """Finds whether two streams are synchronised, from variates fitted to streams that are.

    Parameters
    ----------
    estimator : CCA or KernelCCA, optional
        Cloned and fitted; by default ``CCA(n_components=1, reg=1e-3, scale=True)``, the one pair of FaceSync.
    context : int
        Frames before and after that each frame is seen with.
    max_lag : int
        Largest offset looked for, in frames.
    missing : {"raise", "omit"}, default="raise"
        What to do with NaN: refuse it, or take a frame that has any as missing. Pairs of frames one of which
        is missing, or has a missing frame in its ``context``, are then left out, at each lag, in ``fit`` too.
    lengths : {"equal", "any"}, default="equal"
        Whether streams of different lengths are refused, or taken as beginning together: then each lag is
        over the frames that both have there, and ``fit`` and ``windows`` over the first frames of both.

    Attributes
    ----------
    estimator_ : fitted estimator

    Raises
    ------
    ValueError
        From every method: for infinity, NaN, streams of different lengths (see ``missing`` and ``lengths``)
        or too short for ``max_lag``, numbers of frames that are no integers.

    Warns
    -----
    UserWarning
        From ``detect``, ``lag`` and ``windows`` if the largest correlation is at the end of the lags looked
        at, and from ``lag`` if it is one that unrelated streams reach too.

    References
    ----------
    Bartlett, "Some aspects of the time-correlation problem in regard to tests of significance", Journal of
    the Royal Statistical Society, 1935 (the confidence).

    Slaney & Covell, "FaceSync: a linear operator for measuring synchronization of video facial images and
    audio tracks", NIPS 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.synchrony import SynchronyDetector
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(1000, 2))
    >>> audio = np.hstack([common, rng.normal(size=(1000, 3))])
    >>> video = common @ rng.normal(size=(2, 4)) + 0.5 * rng.normal(size=(1000, 4))
    >>> detector = SynchronyDetector(max_lag=10).fit(audio[:600], video[:600])
    >>> found = detector.detect(audio[600:900], video[597:897])  # the video of 3 frames ago
    >>> found.lag, found.confidence > 0.999
    (3, True)
    >>> detector.detect(audio[600:700], video[800:900]).confidence < 0.95  # unrelated
    True
    """

    _schema = Schema("SynchronyDetector", fields="estimator_")
    _constraints = {  # noqa: RUF012
        "estimator": anything("a two-view estimator"),
        "context": COUNT,
        "max_lag": COUNT,
        "missing": MISSING,
        "lengths": LENGTHS,
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        context: int = 0,
        max_lag: int = 25,
        missing: Missing = "raise",
        lengths: Lengths = "equal",
    ) -> None:
        self.estimator = estimator
        self.context = context
        self.max_lag = max_lag
        self.missing = missing
        self.lengths = lengths

    def fit(self, X: ArrayLike, y: ArrayLike) -> SynchronyDetector:
        """Fit to two synchronised streams.

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
        chosen = (
            CCA(n_components=1, reg=1e-3, scale=True) if self.estimator is None else clone(self.estimator)
        )
        check_same_rows(X=X, y=y)
        (a, in_a), (b, in_b) = self._stacked(X, y)
        n = min(len(a), len(b))
        both = in_a[:n] & in_b[:n]
        if both.sum() < 2:
            raise ValueError(f"the streams have {both.sum()} frames in common that neither misses, of {n}")
        self.estimator_ = chosen.fit(a[:n][both], b[:n][both]) if not both.all() else chosen.fit(a[:n], b[:n])
        return self

    def correlation(self, X: ArrayLike, y: ArrayLike) -> Floats:
        """The variates' total correlation at each lag: :func:`lagged_correlation`, shape (2 max_lag + 1,)."""
        return _lagged(*self._variates(X, y), self.max_lag)[0]

    def detect(self, X: ArrayLike, y: ArrayLike) -> SynchronyLag:
        """The lag of the second stream, and how far it is to be trusted.

        Parameters
        ----------
        X : array_like of shape (n, p)
        y : array_like of shape (n, q)
            Two streams.

        Returns
        -------
        SynchronyLag
            With a low confidence the streams may be unrelated, or their lag may be beyond ``max_lag``.

        Raises
        ------
        ValueError
            If a stream is constant: it correlates at no lag.
        """
        found = self._detect(X, y)
        if found.at_edge:
            warn(self._edge(found))
        return found

    def _judged(self, X: ArrayLike, y: ArrayLike) -> tuple[SynchronyLag, list[str]]:
        """What `detect` finds, and what is to be said of it."""
        found = self._detect(X, y)
        if found.confidence < LEAST:
            return found, [
                f"the largest correlation, {found.correlation.max():.2f} at lag {found.lag}, is one that "
                f"unrelated streams reach too (confidence {found.confidence:.2f}): the streams may be "
                f"unrelated, their lag beyond max_lag={self.max_lag}, or the frames too few"
            ]
        return found, [self._edge(found)] if found.at_edge else []

    def _detect(self, X: ArrayLike, y: ArrayLike) -> SynchronyLag:
        zx, zy = self._variates(X, y)
        for name, stream in (("X", X), ("y", y)):
            # the stream itself: its variates vary where the context changes at the ends
            if _is_constant(as_matrix(name, stream, vector=True, frames_finite=False)):
                raise ValueError(f"the stream {name} is constant: there is no correlation at any lag")
        correlation, count = _lagged(zx, zy, self.max_lag)
        if not correlation.any():
            raise ValueError("the streams have no frames in common at any lag over which both vary")
        lag = int(correlation.argmax()) - self.max_lag
        ranked = _ranked(zx, zy, self.max_lag)
        return SynchronyLag(
            lag=lag,
            confidence=float(ranked.confidence[lag + self.max_lag]),
            at_edge=abs(lag) == self.max_lag > 0,
            correlation=correlation,
            lags=np.arange(-self.max_lag, self.max_lag + 1),
            n_frames=count,
            ranked=ranked.correlation,
            critical=ranked.critical,
        )

    def _edge(self, found: SynchronyLag) -> str:
        return (
            f"the correlation is largest at lag {found.lag}, the end of the lags looked at (max_lag="
            f"{self.max_lag}): it may be larger beyond; increase max_lag"
        )

    def lag(self, X: ArrayLike, y: ArrayLike) -> int:
        """By how many frames the second stream is late; negative where it is early.

        :meth:`detect` gives its confidence too.

        Raises
        ------
        ValueError
            If a stream is constant: it correlates at no lag.
        """
        found, remarks = self._judged(X, y)
        for remark in remarks:
            warn(remark)
        return found.lag

    def windows(self, X: ArrayLike, y: ArrayLike, length: int, hop: int | None = None) -> SynchronyWindows:
        """Lag and detection score in each of a run of windows.

        Parameters
        ----------
        X : array_like of shape (n, p)
        y : array_like of shape (n, q)
            Two streams.
        length : int
            Frames of a window, more than ``max_lag`` + 1 and at most n. Windows lie within the frames that
            both streams have.
        hop : int, optional
            Frames from one window's start to the next; by default ``length``.

        Returns
        -------
        SynchronyWindows
        """
        zx, zy = self._variates(X, y)
        n = min(len(zx), len(zy))
        zx, zy = zx[:n], zy[:n]
        hop = length if hop is None else hop
        POSITIVE_INTEGER("length", length)
        POSITIVE_INTEGER("hop", hop)
        if not self.max_lag + 2 <= length <= n:
            raise ValueError(
                f"length must lie between max_lag + 2 = {self.max_lag + 2} and n = {n}, got {length}"
            )
        start = np.arange(0, n - length + 1, hop)
        streams = [as_matrix(name, z, vector=True, frames_finite=False) for name, z in (("X", X), ("y", y))]
        correlation = np.zeros((len(start), 2 * self.max_lag + 1))
        confidence, constant = np.zeros(len(start)), np.zeros(len(start), dtype=bool)
        for i, s in enumerate(start):
            window = slice(s, s + length)
            u, v = zx[window], zy[window]
            constant[i] = any(_is_constant(z[window]) for z in (*streams, zx, zy))
            if constant[i]:
                continue
            correlation[i] = _lagged(u, v, self.max_lag)[0]
            confidence[i] = _ranked(u, v, self.max_lag).confidence[correlation[i].argmax()]
        others = np.delete(correlation, self.max_lag, axis=1)
        best = others.max(axis=1) if others.shape[1] else np.zeros(len(start))
        lag = np.where(constant, 0, correlation.argmax(axis=1) - self.max_lag)
        at_edge = (np.abs(lag) == self.max_lag) & (self.max_lag > 0) & ~constant
        sure = confidence >= LEAST
        if 2 * np.sum(at_edge & sure) > np.sum(sure):
            warn(
                f"in {np.sum(at_edge & sure)} of {np.sum(sure)} windows of high confidence the correlation "
                f"is largest at the end of the lags looked at (max_lag={self.max_lag}): it may be larger "
                "beyond; increase max_lag"
            )
        score = correlation[:, self.max_lag] - best
        return SynchronyWindows(start, lag, score, correlation, confidence, at_edge, constant)

    def _stacked(self, X: ArrayLike, y: ArrayLike) -> list[tuple[NDArray[Any], Mask]]:
        """Both streams' frames with their context, and which of these are complete."""
        found = []
        for name, z in (("X", X), ("y", y)):
            a = as_matrix(name, z, vector=True, frames_finite=False)
            _frames_present(name, a, self.missing)
            stacked = stack_frames(a, self.context, self.context)
            found.append((stacked, _without_nan(stacked)))
        lengths = [len(a) for a, _ in found]
        if self.lengths == "equal" and lengths[0] != lengths[1]:
            raise ValueError(
                f"the streams must have the same length, got {lengths[0]} and {lengths[1]} frames; "
                "lengths='any' takes them as beginning together"
            )
        return found

    def _variates(self, X: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Both streams' variates, NaN where a frame is missing."""
        check_is_fitted(self)
        out = []
        transforms = self.estimator_.transform, self.estimator_.transform_y
        for (a, present), transform, name in zip(self._stacked(X, y), transforms, "Xy", strict=True):
            if not present.any():
                raise ValueError(f"every frame of the stream {name} is missing")
            scores = transform(a if present.all() else a[present])
            z = np.full((len(a), scores.shape[1]), np.nan)
            z[present] = scores
            # Equal frames have equal variates: no correlation comes from their rounding.
            changes = np.r_[True, (a[1:] != a[:-1]).any(axis=1)]
            out.append(z[np.maximum.accumulate(np.where(changes, np.arange(len(a)), 0))])
        return out[0], out[1]


def _is_constant(a: NDArray[Any]) -> bool:
    """Whether all frames that are not missing are the same, or there is but one."""
    a = a[_without_nan(a)]
    return len(a) < 2 or bool((a == a[0]).all())
