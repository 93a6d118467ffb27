"""The bootstrap of correlations, loadings, cross-loadings, redundancies and weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm
from sklearn.base import clone
from sklearn.utils import check_random_state

from fastcca._arguments.arrays import check_same_rows
from fastcca._arguments.warn import unsaid, warn
from fastcca.cca.linear import CCA, LinearTwoView
from fastcca.errors import NumericalError
from fastcca.functional.moments import Moments
from fastcca.functional.multiview import whiten
from fastcca.inference._model import (
    WhitenedView,
    centred_product,
    check_resamples,
    prepared,
    ridge_of,
    whitened_views,
)
from fastcca.inference._parallel import in_threads
from fastcca.inference._resampled import Corrected, Pairs, corrected, pairs, shrinkage

__all__ = ["BootstrapResult", "bootstrap"]

Floats = NDArray[np.float64]

METHODS = ("corrected", "basic", "percentile")
QUANTITIES = ("loadings", "cross_loadings", "weights")
NAMES = (
    "canonical_correlations",
    *(f"{side}_{quantity}" for quantity in (*QUANTITIES, "redundancy") for side in "xy"),
)

_NOTHING = 256 * float(np.finfo(np.float64).eps)  # of a column's squares: what rounding leaves of zero
_BLOCK = 2**21  # numbers of the resamples' moments held at a time
_HELD = 2**25  # and for the correction, which reads them again and again
# A resample holds 1 - 1/e of the rows: with fewer rows than this times the ranks its correlations say little
# of what they would be in larger samples.
_ROWS_PER_RANK = 2.5


@dataclass(frozen=True)
class _Columns:
    """One view's resampled coefficients, and what turns them into weights and loadings of its columns."""

    weights: Floats  # (p, r): weights of columns = weights @ coefficients
    columns: Floats  # (r, p): centred data = scores @ columns
    coefficients: Floats  # (b, r, k)
    with_scores: Floats  # (b, r, k): covariances of the scores Z with the resample's variates of variance 1
    with_other: Floats  # (b, r, k): and with those of the other view
    deviations: Floats  # (b, p): standard deviations of the columns, NaN where constant
    scaled: Floats  # (b, r, k), or empty: what weights follow from where each resample has its own scale

    def resampled(self, name: str, part: slice = slice(None)) -> Floats:
        if name == "weights":
            if self.scaled.size:  # the least |D w| with these scores: D^-2 N' (N D^-2 N')^-1 c
                spread = self.deviations[:, part, None]  # divided by twice: its square may underflow
                with np.errstate(over="ignore"):
                    weights = np.asarray((self.columns[:, part].T @ self.scaled) / spread / spread)
                if np.isinf(weights).any():
                    raise NumericalError("the weights of a resample overflow: scale the columns up")
                return weights
            return np.asarray(self.weights[part] @ self.coefficients)
        with_scores = self.with_scores if name == "loadings" else self.with_other
        loadings = (self.columns[:, part].T @ with_scores) / self.deviations[:, part, None]
        return np.asarray(loadings.clip(-1.0, 1.0))

    def redundancy(self) -> Floats:
        """(b, k): mean squared cross-loading of the columns that vary in the resample."""
        b, _, k = self.coefficients.shape
        total, count = np.zeros((b, k)), np.zeros((b, 1))
        step = max(1, _BLOCK // (b * k))
        for start in range(0, self.columns.shape[1], step):
            part = slice(start, start + step)
            varies = np.isfinite(self.deviations[:, part])
            square = self.resampled("cross_loadings", part) ** 2
            total += np.where(varies[:, :, None], square, 0.0).sum(axis=1)
            count += varies.sum(axis=1, keepdims=True)
        return total / count


class BootstrapResult:
    """What :func:`bootstrap` found: for each quantity its standard error and its confidence interval.

    What there is of the columns is computed when asked for.

    Attributes
    ----------
    canonical_correlations : ndarray of shape (n_bootstrap, k)
        Of each resample, its components matched with those of the data. NaN where a resample lacks the
        component: rows that alone make a column vary were not drawn.
    x_loadings, y_loadings, x_cross_loadings, y_cross_loadings : ndarray of shape (n_bootstrap, columns, k)
        Likewise; NaN also for a column that is constant in the resample.
    x_redundancy, y_redundancy : ndarray of shape (n_bootstrap, k)
        Mean squared cross-loadings of each resample.
    x_weights, y_weights : ndarray of shape (n_bootstrap, p, k), (n_bootstrap, q, k)
        Likewise.
    confidence : float
        Coverage of :meth:`interval`.
    """

    canonical_correlations: Floats
    confidence: float

    def __init__(
        self,
        canonical_correlations: Floats,
        confidence: float,
        views: dict[str, _Columns],
        shrunk: dict[str, _Columns],
        whole: dict[str, Floats],
        correction: Corrected | None,
        too_few: str | None,
    ) -> None:
        self.canonical_correlations, self.confidence = canonical_correlations, confidence
        self._views, self._shrunk, self._whole = views, shrunk, whole
        self._correction, self._too_few = correction, too_few

    x_loadings = property(lambda self: self._resampled("x_loadings"))
    y_loadings = property(lambda self: self._resampled("y_loadings"))
    x_cross_loadings = property(lambda self: self._resampled("x_cross_loadings"))
    y_cross_loadings = property(lambda self: self._resampled("y_cross_loadings"))
    x_redundancy = property(lambda self: self._resampled("x_redundancy"))
    y_redundancy = property(lambda self: self._resampled("y_redundancy"))
    x_weights = property(lambda self: self._resampled("x_weights"))
    y_weights = property(lambda self: self._resampled("y_weights"))

    def _resampled(self, name: str) -> Floats:
        if name == "canonical_correlations":
            return self.canonical_correlations
        side, _, quantity = name.partition("_")
        view = self._views[side]
        return view.redundancy() if quantity == "redundancy" else view.resampled(quantity)

    def interval(
        self, name: str = "canonical_correlations", method: str = "corrected"
    ) -> tuple[Floats, Floats]:
        """Lower and upper ends of the confidence interval of the attribute ``name``.

        Parameters
        ----------
        name : str
            "canonical_correlations", "x_loadings", "x_cross_loadings", "x_redundancy", "x_weights", or those
            of y.
        method : {"corrected", "basic", "percentile"}
            "corrected": of correlations, the basic interval after Fisher's transform about a population
            whose resamples look like the data, which allows for the upward bias of training correlations;
            of loadings (after Fisher's transform) and weights the symmetric interval, as far on either side
            of the estimate as the resamples mostly are. Both take the resamples' moments nearer to those of
            the data where rows are so few that resamples, which repeat rows, vary more than samples.
            "basic": reflects the quantiles of the resamples about the estimate, after Fisher's transform for
            correlations and loadings. "percentile": the quantiles themselves, which lie too high for
            correlations.
            Of redundancies "corrected" is "basic", which takes out as much bias as resamples have.

        Returns
        -------
        low, high : ndarray
            In the shape of ``name`` for one resample. Quantiles are over the resamples that have the
            component.

        Raises
        ------
        ValueError
            For another name or method.

        Warns
        -----
        UserWarning
            If the rows are too few for the ranks of the views for the correction of correlations: the
            interval is then the basic one, and covers less often than it says.
        """
        if name not in NAMES:
            raise ValueError(f"name must be one of {', '.join(map(repr, NAMES))}, got {name!r}")
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}")
        tail = (1 - self.confidence) / 2
        hat = self._whole[name]
        if name.endswith("redundancy"):
            low, high = _quantiles(self._resampled(name), tail)
            if method != "percentile":
                low, high = 2 * hat - high, 2 * hat - low
            return low.clip(0.0, 1.0), high.clip(0.0, 1.0)
        if name != "canonical_correlations":
            return self._of_columns(name, method, tail)
        resampled = self.canonical_correlations
        if method == "percentile":
            return _quantiles(resampled, tail)
        if method == "basic" or self._correction is None:
            if method == "corrected" and self._too_few is not None:
                warn(self._too_few)
            low, high = _basic(hat, resampled, tail)
        else:
            c = self._correction
            low, high = _quantiles(c.resampled, tail)
            z = _fisher(hat)
            low, high = (np.tanh(c.population + (z - end) / c.slope) for end in (high, low))
        return np.maximum(low, 0.0), np.maximum(high, 0.0)

    def estimate(self, name: str = "canonical_correlations") -> Floats:
        """The attribute ``name`` of the data themselves, which the interval is about."""
        if name not in NAMES:
            raise ValueError(f"name must be one of {', '.join(map(repr, NAMES))}, got {name!r}")
        return self._whole[name]

    def standard_error(self, name: str = "canonical_correlations") -> Floats:
        """Standard deviation of the attribute ``name`` over the resamples that have the component."""
        if name not in NAMES:
            raise ValueError(f"name must be one of {', '.join(map(repr, NAMES))}, got {name!r}")
        return _deviation(self._resampled(name))

    def p_value(self, name: str, *, adjusted: bool = True) -> Floats:
        """Of the hypotheses that loadings, cross-loadings or weights are zero, two-sided.

        Parameters
        ----------
        name : str
            "x_loadings", "x_cross_loadings" or "x_weights", or those of y.
        adjusted : bool, default=True
            For all columns of a component together, so that those with a value of at most a are a selection
            with a false discovery rate of at most a (Benjamini and Hochberg); else of each for itself.

        Returns
        -------
        ndarray of shape (p, k) or (q, k)
            From the ratio of the estimate to its standard error over the resamples, as of a Gaussian (of
            loadings after Fisher's transform). 1 for a column that is constant.

        Raises
        ------
        ValueError
            For another name.

        References
        ----------
        Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical
        Society B 57, 1995.
        """
        of_columns = [f"{side}_{quantity}" for quantity in QUANTITIES for side in "xy"]
        if name not in of_columns:
            raise ValueError(f"name must be one of {', '.join(map(repr, of_columns))}, got {name!r}")
        side, _, quantity = name.partition("_")
        view, hat = self._views[side], self._whole[name]
        ratio = np.zeros_like(hat)
        b, _, k = view.coefficients.shape
        step = max(1, _BLOCK // (b * k))
        for start in range(0, len(hat), step):
            part = slice(start, start + step)
            resampled, estimate = view.resampled(quantity, part), hat[part]
            if quantity != "weights":
                resampled, estimate = _fisher(resampled), _fisher(estimate)
            error = _deviation(resampled)
            ratio[part] = np.divide(estimate, error, out=np.zeros_like(estimate), where=error > 0)
            ratio[part][(error == 0) & (estimate != 0)] = np.inf
        values = np.asarray(2 * norm.sf(np.abs(ratio)))
        return benjamini_hochberg(values) if adjusted else values

    def _of_columns(self, name: str, method: str, tail: float) -> tuple[Floats, Floats]:
        side, _, quantity = name.partition("_")
        view, whole = (self._shrunk if method == "corrected" else self._views)[side], self._whole[name]
        low, high = np.empty_like(whole), np.empty_like(whole)
        b, _, k = view.coefficients.shape
        step = max(1, _BLOCK // (b * k))
        for start in range(0, len(whole), step):
            part = slice(start, start + step)
            resampled = view.resampled(quantity, part)
            if method == "percentile":
                low[part], high[part] = _quantiles(resampled, tail)
            elif method == "corrected":
                low[part], high[part] = _symmetric(whole[part], resampled, tail, quantity != "weights")
            elif quantity != "weights":
                low[part], high[part] = _basic(whole[part], resampled, tail)
            else:
                first, last = _quantiles(resampled, tail)
                low[part], high[part] = 2 * whole[part] - last, 2 * whole[part] - first
        return low, high

    def __repr__(self) -> str:
        b, k = self.canonical_correlations.shape
        return f"BootstrapResult(n_bootstrap={b}, n_components={k}, confidence={self.confidence:g})"


def bootstrap(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    n_bootstrap: int = 200,
    confidence: float = 0.95,
    sample_weight: ArrayLike | None = None,
    confounds: ArrayLike | None = None,
    random_state: Any = None,
    verbose: bool = False,
) -> BootstrapResult:
    """Bootstrap of the correlations, loadings, cross-loadings, redundancies and weights of a linear CCA.

    Rows are drawn with replacement, of both views, confounds and weights together; a row drawn m times gets
    weight m, so that nothing is copied.
    Both views are reduced to whitened scores once, by the method that ``fit`` takes; each resample is
    solved from the moments of these. The components of a resample come in another order and with other signs:
    each is matched with the component of the data that its variates correlate with the most.

    Training correlations are biased upwards, those of resamples, which repeat rows, twice:
    :meth:`BootstrapResult.interval` corrects for it. The correlations of the resamples are as they are.

    Parameters
    ----------
    estimator : CCA or CCACV, or TwoViewPipeline of such a model
        Its parameters are those of every fit; the ridge that a CCACV chooses for these rows is held, and so
        are the steps of a pipeline, whose columns are those that its steps make. Resamples run in its
        ``n_threads`` threads, on which the result does not depend.
    X : array_like of shape (n, p)
    y : array_like of shape (n, q) or (n,)
        The two views.
    n_bootstrap : int
        Resamples, at least 2; a thousand or more for intervals to be published.
    confidence : float
        Coverage of the intervals, between 0 and 1.
    sample_weight : array_like of shape (n,), optional
        Weights as in ``fit``. All rows are as likely to be drawn; what is drawn brings its weight.
    confounds : array_like of shape (n, c) or (n,), optional
        Columns whose linear effect is taken out of both views, in each resample anew, as ``fit`` does with
        ``confounds``: loadings are those of the residuals. Give the views as they are.
    random_state : int, RandomState or None
        Of the draws.
    verbose : bool, default=False
        Show a progress bar.

    Returns
    -------
    BootstrapResult

    Raises
    ------
    TypeError
        For an estimator that is no CCA.
    ValueError
        For fewer than two resamples or more than 10 million, a confidence outside (0, 1), and what ``fit``
        refuses.
    NumericalError
        If fewer than two resamples have a component: in the others a view is constant.

    Warns
    -----
    UserWarning
        If some resamples lack a component, with their number.

    Notes
    -----
    How often 95 % intervals hold the population's values stands in "What is promised, and what is not" in
    the documentation, as ``python -m bench.inference_levels`` measured it. The target with a ridge is what
    the same ridge makes of the population.

    References
    ----------
    A. C. Davison and D. V. Hinkley, "Bootstrap Methods and their Application", Cambridge University Press
    1997, chapter 5.

    P. Hall, "On symmetric bootstrap confidence intervals", Journal of the Royal Statistical Society B 50,
    1988.

    Efron & Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall 1993.

    Examples
    --------
    >>> from fastcca import CCA
    >>> from fastcca.datasets import make_two_views
    >>> from fastcca.inference import bootstrap
    >>> views = make_two_views(500, (4, 3), correlations=[0.8], random_state=0)
    >>> found = bootstrap(CCA(n_components=1), views.X, views.y, random_state=0)
    >>> low, high = found.interval()
    >>> bool(low[0] < 0.8 < high[0])
    True
    """
    check_same_rows(X=X, y=y, sample_weight=sample_weight, confounds=confounds)
    estimator, X, y = prepared(estimator, X, y, sample_weight)
    if not isinstance(estimator, LinearTwoView):
        raise TypeError(f"estimator must be a CCA or CCACV, got {type(estimator).__name__}")
    check_resamples("n_bootstrap", n_bootstrap, low=2)
    if not isinstance(confidence, Real) or not 0 < confidence < 1:
        raise ValueError(f"confidence must be a number between 0 and 1, got {confidence!r}")
    model = clone(estimator)
    a, b, weights = model._check_pair(X, y, sample_weight, reset=True)
    Z = model._check_confounds(confounds, len(a), reset=True)
    model.fit(X, y, sample_weight=weights, **({} if Z is None else {"confounds": Z}))
    data = _Rows(a, b, weights, None)
    if Z is not None:
        model, data = _without_confounds(model, data, Z)
    draws = _Draws(model, data, n_bootstrap, check_random_state(random_state), verbose)
    return draws.result(confidence)


class _Rows(NamedTuple):
    """What is drawn from."""

    X: NDArray[Any]
    y: NDArray[Any]
    weights: Floats | None
    aside: Floats | None  # (n, c): uncorrelated columns of variance 1 that span the confounds


def _without_confounds(model: LinearTwoView, rows: _Rows, Z: NDArray[Any]) -> tuple[LinearTwoView, _Rows]:
    """A CCA of the residuals with the ridge of the model, which was fitted to the rows, and the residuals.

    What is left of a view in a resample is left of its residuals too: their difference is a combination of
    the confounds.
    """
    n_threads, w = model.n_threads, rows.weights
    moments = Moments().update(Z, sample_weight=w, dtype=np.float64, n_threads=n_threads)
    aside = centred_product(Z, whiten(moments, 0, 0.0, "confounds", n_threads).weights, moments.mean, w)
    half = (aside if w is None else aside * w[:, None]).T / (moments.n - 1)
    views = []
    for data in (rows.X, rows.y):
        a = data.astype(np.float64)
        a -= np.average(a, axis=0, weights=w)
        before = (a**2).sum(axis=0)
        for _ in range(2):  # the second time of what rounding left
            a -= aside @ (half @ a)
        a[:, (a**2).sum(axis=0) <= _NOTHING * before] = 0.0
        views.append(a)
    solver: Any = getattr(model, "solver", "auto")
    of_rest = CCA(model.n_components_, ridge_of(model), model.scale, solver, n_threads)
    with unsaid():  # of what the fit with confounds has said
        of_rest.fit(views[0], views[1], sample_weight=w)
    for name in ("x_weights_", "y_weights_"):  # whose signs are those of the resamples
        setattr(of_rest, name, getattr(model, name))
    return of_rest, _Rows(views[0], views[1], w, aside)


class _Draws:
    """The resamples of one data set."""

    def __init__(
        self,
        model: LinearTwoView,
        rows: _Rows,
        n_bootstrap: int,
        rng: Any,
        verbose: bool,
    ) -> None:
        self.model, self.data, self.n_bootstrap, self.rng = model, (rows.X, rows.y), n_bootstrap, rng
        self.verbose = verbose
        self.weights, self.aside = rows.weights, rows.aside
        self.views = whitened_views(model, rows.X, rows.y, self.weights)
        self.n, self.k = len(rows.X), model.n_components_
        self.ridge = ridge_of(model)
        self.r = len(self.views[0].variances)
        self.means = [np.asarray(m, dtype=np.float64) for m in (model.x_mean_, model.y_mean_)]
        self.columns = [
            _regression(*of, self.weights) for of in zip(self.data, self.means, self.views, strict=True)
        ]
        self.every = np.ones(self.n) if self.weights is None else self.weights
        # 0 where a column does not vary by more than its entries are rounded at
        self.spread = [
            np.where(s[0] > 4 * np.finfo(data.dtype).eps * np.abs(mean), s[0], 0.0)
            for s, data, mean in zip(self.deviations(self.every[None]), self.data, self.means, strict=True)
        ]

    def deviations(self, counts: Floats) -> list[Floats]:
        return [
            _deviations(data, mean, counts, self.aside)
            for data, mean in zip(self.data, self.means, strict=True)
        ]

    def blocks(self) -> Iterator[tuple[int, Floats]]:
        """How often each row is drawn, times its weight."""
        d = self.r + len(self.views[1].variances)
        size = max(1, min(_BLOCK // d**2, _BLOCK // (self.n * d)))
        for start in range(0, self.n_bootstrap, size):
            counts = np.empty((min(size, self.n_bootstrap - start), self.n))
            for row in counts:
                row[:] = self.rng.multinomial(self.n, np.full(self.n, 1 / self.n))
            if self.weights is not None:
                counts *= self.weights
            yield len(counts), counts

    def covariance(self, counts: Floats | None) -> Floats:
        n_threads = self.model.n_threads if counts is None else 1
        scores = [view.scores for view in self.views]
        if self.aside is not None:
            scores.append(self.aside)
        drawn = self.weights if counts is None else counts
        moments = Moments().update(*scores, sample_weight=drawn, n_threads=n_threads)
        S = moments.scatter / (moments.n - 1)
        if self.aside is None:
            return S
        d = len(S) - self.aside.shape[1]
        root = _inverse_root(S[d:, d:])
        explained = S[:d, d:] @ root
        return np.asarray(S[:d, :d] - explained @ explained.T)

    def result(self, confidence: float) -> BootstrapResult:
        S = self.covariance(None)
        whole = pairs(S[None], self.r, self.penalties(None), self.k)
        k = whole.values.shape[1]
        turns = self.signs(whole.x[0])
        estimate = Pairs(whole.values, whole.x * turns, whole.y * turns, whole.correlations)
        correlations: list[Floats] = []
        parts: list[list[tuple[Floats, ...]]] = [[], [], [], []]  # of both views, and of both shrunk
        held: list[Floats] = []
        variances = self.views[0].variances, self.views[1].variances
        blocks = self.blocks()
        first = next(blocks)
        c = shrinkage(np.stack([self.covariance(row) for row in first[1]]), S, variances)

        def work(counts: Floats) -> tuple[Floats, Floats, list[tuple[Floats, ...]]]:
            block = np.stack([self.covariance(row) for row in counts])
            spread = [
                np.where(s > 1e-6 * one, s, np.nan)
                for s, one in zip(self.deviations(counts), self.spread, strict=True)
            ]
            penalties = self.penalties(spread)
            found = self.matched(pairs(block, self.r, penalties, k), estimate)
            of_views = self.coefficients(found, block, spread, penalties)
            block = S + c * (block - S)
            if c == 1:
                return block, found.correlations, of_views * 2
            spread = [_between(one, s, c) for one, s in zip(self.spread, spread, strict=True)]
            penalties = self.penalties(spread)
            shrunk = self.matched(pairs(block, self.r, penalties, k), estimate)
            shrunk = shrunk.where(np.isfinite(found.values))
            return block, found.correlations, of_views + self.coefficients(shrunk, block, spread, penalties)

        for block, found, of_views in in_threads(
            work,
            chain([first], blocks),
            self.model.n_threads,
            total=self.n_bootstrap,
            label="resamples",
            verbose=self.verbose,
        ):
            correlations.append(found)
            for part, of in zip(parts, of_views, strict=True):
                part.append(of)
            if sum(map(np.size, held)) < _HELD:
                held.append(block)
        resampled = np.concatenate(correlations)
        self.report(resampled)
        views: dict[str, _Columns] = {}
        shrunk: dict[str, _Columns] = {}
        values = {"canonical_correlations": estimate.correlations[0]}
        spread = [np.where(of > 0, of, np.nan)[None] for of in self.spread]
        alone = self.coefficients(estimate, S[None], spread, self.penalties(spread))
        for i, side in enumerate("xy"):
            fixed = self.views[i].weights, self.columns[i]
            for by_side, found_parts in ((views, parts[i]), (shrunk, parts[2 + i])):
                by_side[side] = _Columns(*fixed, *map(np.concatenate, zip(*found_parts, strict=True)))
            of_data = _Columns(*fixed, *alone[i])
            for name in QUANTITIES:
                values[f"{side}_{name}"] = np.nan_to_num(of_data.resampled(name)[0])
            values[f"{side}_redundancy"] = of_data.redundancy()[0]
        # directions that a ridge shrinks to nothing take no rows
        ranks = sum(int((view.variances > 1e-4 * view.variances.max()).sum()) for view in self.views)
        too_few = correction = None
        rows = self.n - (0 if self.aside is None else self.aside.shape[1])
        if rows < _ROWS_PER_RANK * ranks:
            given = "" if self.aside is None else " less the rank of the confounds"
            too_few = (
                f"{rows} rows{given} are too few for the ranks of the views, {ranks} in all, to correct the "
                f"bias of training correlations, which takes {_ROWS_PER_RANK:g} rows each: their intervals "
                "are basic ones, which may lie too high. Reduce the views, or score new data"
            )
        else:
            correction = corrected(np.concatenate(held), S, variances, k, ridge=max(self.ridge) > 0)
        return BootstrapResult(resampled, confidence, views, shrunk, values, correction, too_few)

    def penalties(self, spread: list[Floats] | None) -> tuple[Floats, Floats]:
        """The ridge as a quadratic form of the scores' coefficients; with ``scale`` each resample's own."""
        out = []
        for i, (view, r) in enumerate(zip(self.views, self.ridge, strict=True)):
            fixed = np.diag(1 - view.variances) if r > 0 else np.zeros((len(view.variances),) * 2)
            if r > 0 and self.model.scale and spread is not None:
                # r |D W c|², D the resample's deviations; in fewer dimensions than columns the least of it
                # among the weights of the same scores
                own = self.spread[i]
                ratio = np.nan_to_num(spread[i] / np.where(own > 0, own, 1.0), nan=1.0)
                fixed = np.stack(
                    [_scaled_penalty(view, self.columns[i], self.spread[i], s, r) for s in ratio]
                )
            out.append(fixed)
        return out[0], out[1]

    def signs(self, x: Floats) -> Floats:
        fitted = np.asarray(self.model.x_weights_, dtype=np.float64)[:, : x.shape[1]]
        return np.where(np.einsum("pk,pk->k", self.views[0].weights @ x, fitted) < 0, -1.0, 1.0)

    def matched(self, found: Pairs, estimate: Pairs) -> Pairs:
        """The components of each resample in the order and with the signs of those of the data."""
        # correlations of the data's variates with the resample's, over all rows, the sum of both views
        between = 0.0
        for view, mine, theirs in zip(
            self.views, (estimate.x[0], estimate.y[0]), (found.x, found.y), strict=True
        ):
            weighted = mine * view.variances[:, None]
            own = np.sqrt(np.einsum("ik,ik->k", mine, weighted))
            length = np.sqrt(np.einsum("bik,i,bik->bk", theirs, view.variances, theirs))
            weighted /= np.where(own > 0, own, 1)
            between = between + weighted.T @ theirs / np.where(length > 0, length, 1)[:, None, :]
        shape = len(found.values), estimate.values.shape[1]
        order, sign = np.zeros(shape, dtype=np.intp), np.full(shape, np.nan)  # NaN: missing
        for i, table in enumerate(np.asarray(between)):
            has = np.flatnonzero(np.isfinite(found.values[i]))
            row, column = linear_sum_assignment(-np.abs(table[:, has]))
            order[i, row] = has[column]
            sign[i, row] = np.where(table[row, has[column]] < 0, -1.0, 1.0)

        def ordered(a: Floats) -> Floats:
            return np.take_along_axis(a, order if a.ndim == 2 else order[:, None, :], axis=-1)

        x, y = (ordered(a) * sign[:, None, :] for a in (found.x, found.y))
        size = np.abs(sign)
        return Pairs(ordered(found.values) * size, x, y, ordered(found.correlations) * size)

    def coefficients(
        self, found: Pairs, S: Floats, spread: list[Floats], penalties: tuple[Floats, Floats]
    ) -> list[tuple[Floats, ...]]:
        """What :class:`_Columns` holds of each view's resamples."""
        slices = slice(self.r), slice(self.r, None)
        own, units = [], []
        for c, of in zip((found.x, found.y), slices, strict=True):
            covariance = S[:, of, of] @ c
            variance = np.einsum("bik,bik->bk", c, covariance)
            unit = 1 / np.sqrt(np.where(variance > 0, variance, np.nan))[:, None, :]
            own.append(covariance * unit)
            units.append(c * unit)
        out: list[tuple[Floats, ...]] = []
        for i, c in enumerate((found.x, found.y)):
            with_other = S[:, slices[i], slices[1 - i]] @ units[1 - i]
            view, r = self.views[i], self.ridge[i]
            own_scale = self.model.scale and r > 0 and len(view.variances) < len(view.weights)
            scaled = penalties[i] @ c / r if own_scale else np.empty(0)
            out.append((c, own[i], with_other, spread[i], scaled))
        return out

    def report(self, resampled: Floats) -> None:
        """Say how many resamples lack a component."""
        lacking = np.isnan(resampled)
        if not lacking.any():
            return
        least = int(self.n_bootstrap - lacking.sum(axis=0).max())
        first = int(lacking.any(axis=1).argmax())
        why = f"in resample {first}, the first of these, rows that alone make a column vary were not drawn"
        if least < 2:
            raise NumericalError(
                f"only {least} of {self.n_bootstrap} resamples have every component: {why}. "
                "Leave out columns that few rows make vary, or fit fewer components"
            )
        warn(
            f"{least} of {self.n_bootstrap} resamples have every component: {why}. Intervals and standard "
            "errors are over the resamples that have the component"
        )


def _between(own: Floats, resampled: Floats, c: float) -> Floats:
    """Deviations of variances own² + c (resampled² - own²)."""
    ratio = np.divide(resampled, own, out=np.ones_like(resampled), where=own > 0)
    return np.where(own > 0, own * np.sqrt(1 + c * (ratio**2 - 1)), resampled)


def _deviation(values: Floats) -> Floats:
    """Standard deviations along axis 0, of what is no NaN."""
    found = np.isfinite(values)
    count = found.sum(axis=0)
    mean = np.where(found, values, 0).sum(axis=0) / np.maximum(count, 1)
    deviation = np.where(found, values - mean, 0)
    largest = np.abs(deviation).max(axis=0, initial=0.0)  # their squares may overflow
    unit = np.where(largest > 0, largest, 1.0)
    square = (deviation / unit) ** 2
    error: Floats = unit * np.sqrt(square.sum(axis=0) / np.where(count > 1, count - 1, np.nan))
    return error


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Adjusted along axis 0: the least false discovery rate at which each would be selected."""
    n = len(p_values)
    order = np.argsort(p_values, axis=0)
    ranked = np.take_along_axis(p_values, order, axis=0) * (n / np.arange(1, n + 1))[:, None]
    least = np.minimum.accumulate(ranked[::-1], axis=0)[::-1]
    out = np.empty_like(p_values)
    np.put_along_axis(out, order, np.minimum(least, 1.0), axis=0)
    return out


def _inverse_root(S: Floats) -> Floats:
    """R with R R' the inverse of S, in the directions that vary as much as rounding can tell."""
    values, vectors = np.linalg.eigh(S)
    found = values > 1e-10 * max(values[-1], np.finfo(float).tiny)
    return np.asarray(vectors[:, found] / np.sqrt(values[found]))


def _regression(data: NDArray[Any], mean: Floats, view: WhitenedView, weights: Floats | None) -> Floats:
    """(r, p): the centred columns from the scores, which are uncorrelated."""
    n = len(data) if weights is None else weights.sum()
    scores = view.scores if weights is None else view.scores * weights[:, None]
    out = np.empty((len(view.variances), data.shape[1]))
    step = max(1, 2**20 // len(data))
    for start in range(0, data.shape[1], step):
        part = slice(start, start + step)
        out[:, part] = scores.T @ (data[:, part] - mean[part])
    variances = view.variances * (n - 1)
    out /= np.where(variances > 0, variances, np.inf)[:, None]
    return out


def _deviations(data: NDArray[Any], mean: Floats, counts: Floats, aside: Floats | None) -> Floats:
    """(b, p): standard deviations of the columns where row i is drawn counts[:, i] times.

    Of what the columns ``aside`` leave of them, which explain (X'CQ)(Q'CQ)⁻¹(Q'CX) of their squares.
    """
    out = np.empty((len(counts), data.shape[1]))
    n = counts.sum(axis=1, keepdims=True)
    step = max(1, 2**20 // len(data))
    drawn = []  # (n, c) each: roots of the inverses, with the counts
    if aside is not None:
        for row, total in zip(counts, n[:, 0], strict=True):
            centred = aside - row @ aside / total
            weighted = row[:, None] * centred
            drawn.append(weighted @ _inverse_root(centred.T @ weighted))
    for start in range(0, data.shape[1], step):
        part = slice(start, start + step)
        columns = data[:, part] - mean[part]
        peak = np.abs(columns).max(axis=0)  # squares of the columns themselves may overflow or underflow
        columns /= np.where(peak > 0, peak, 1.0)
        first = counts @ columns / n
        squares = counts @ columns**2 - n * first**2
        for of_row, explaining in zip(squares, drawn, strict=False):  # their means are 0
            of_row -= ((explaining.T @ columns) ** 2).sum(axis=0)
        out[:, part] = peak * np.sqrt(np.maximum(squares, 0) / (n - 1))
    return out


def _scaled_penalty(view: WhitenedView, columns: Floats, spread: Floats, ratio: Floats, r: float) -> Floats:
    """r |D w|² of weights w for columns in the data's units, D the ratios of the deviations."""
    spread = np.where(spread > 0, spread, 1.0)
    ratio = np.where(ratio > 0, ratio, 1.0)
    if len(view.weights) == len(view.variances):
        W = view.weights * (spread * ratio)[:, None]
        return np.asarray(r * (W.T @ W))
    N = columns / (spread * ratio)
    return np.asarray(r * np.linalg.inv(N @ N.T))


def _basic(whole: Floats, resampled: Floats, tail: float) -> tuple[Floats, Floats]:
    """Quantiles reflected about the estimate, after Fisher's transform; exact where all are 1."""
    low, high = _quantiles(_fisher(resampled), tail)
    z = _fisher(whole)
    return _unfisher(2 * z - high), _unfisher(2 * z - low)


def _symmetric(whole: Floats, resampled: Floats, tail: float, fisher: bool) -> tuple[Floats, Floats]:
    """The estimate ± what its distance from the resamples exceeds in 2 tail of them."""
    if not fisher:
        distance = _quantiles(np.abs(resampled - whole), 2 * tail)[1]
        return whole - distance, whole + distance
    z = _fisher(whole)
    distance = _quantiles(np.abs(_fisher(resampled) - z), 2 * tail)[1]
    return _unfisher(z - distance), _unfisher(z + distance)


_ENDLESS = float(np.arctanh(1 - 1e-15))


def _fisher(r: Floats) -> Floats:
    clipped: Floats = np.arctanh(np.clip(r, -(1 - 1e-15), 1 - 1e-15))
    return clipped


def _unfisher(z: Floats) -> Floats:
    r: Floats = np.where(np.abs(z) >= _ENDLESS, np.sign(z), np.tanh(z))
    return r


def _quantiles(values: Floats, tail: float) -> tuple[Floats, Floats]:
    """The quantiles at tail and 1 - tail along axis 0, of those that are no NaN.

    The i-th smallest of m values stands at i / (m + 1), where one more is as likely to lie below.
    """
    ordered = np.sort(values, axis=0)  # NaN last
    m = np.isfinite(ordered).sum(axis=0)
    ends = []
    for p in (tail, 1 - tail):
        place = np.clip((m + 1) * p - 1, 0, np.maximum(m - 1, 0))
        below = np.floor(place).astype(np.intp)
        above = np.minimum(below + 1, np.maximum(m - 1, 0))
        first, last = (np.take_along_axis(ordered, i[None], axis=0)[0] for i in (below, above))
        ends.append(first + (place - below) * (last - first))
    return ends[0], ends[1]
