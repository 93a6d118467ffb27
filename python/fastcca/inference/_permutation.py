"""A permutation test of every correlation, for any data and any ridge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state
from tqdm import tqdm

from fastcca._arguments.arrays import check_same_rows
from fastcca._arguments.parameters import RIDGES, choice
from fastcca._arguments.warn import unsaid
from fastcca.cca.kernel import KernelCCA
from fastcca.cca.linear import CCA, LinearTwoView
from fastcca.cca.model_selection import CCACV, KernelCCACV
from fastcca.functional.linalg import product
from fastcca.inference._exchange import Orders
from fastcca.inference._held_out import HeldOut
from fastcca.inference._kernel_views import whitened_kernel_views
from fastcca.inference._model import check_resamples, prepared, whitened_views
from fastcca.inference._nuisance import RESIDUALS, confound_basis, huh_jhun, residual, theil, without
from fastcca.inference._parallel import in_threads
from fastcca.inference._sequential import STATISTICS, observed, rest_statistics

__all__ = ["PermutationTest", "permutation_test"]

Floats = NDArray[np.float64]

_ROUNDED = 1 - 1e-10  # as large up to rounding counts: a shuffle may be the identity
_BLOCK = 2**19  # numbers of the permuted matrices held at a time by each thread
_TOGETHER = 8  # whose eigenvalues are found side by side
_ROWS = 2**16  # and rows shuffled between two looks at the keyboard


@dataclass(frozen=True)
class PermutationTest:
    """What :func:`permutation_test` found.

    Attributes
    ----------
    statistic : ndarray of shape (k,)
        "correlation": the singular values of T, as fitted, without a ridge the canonical correlations; "roy":
        their ratios ρ² / (1 - ρ²); "wilks": the products of 1 - ρ² over each and those after it; "held-out":
        mean correlations of held-out rows.
    p_value : ndarray of shape (k,)
        For each the probability of one as extreme where the views are unrelated beyond the pairs before it;
        corrected for testing them in turn, so that they never decrease.
    permuted : ndarray of shape (n_permutations, k)
        The statistic of each permutation; after cross-validation with the ridge chosen for the data.
    """

    statistic: Floats
    p_value: Floats
    permuted: Floats


def permutation_test(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    n_permutations: int = 999,
    statistic: Literal["correlation", "roy", "wilks", "held-out"] = "correlation",
    blocks: ArrayLike | None = None,
    exchange: Literal["within", "whole", "shift"] = "within",
    permutations: Any = None,
    confounds: ArrayLike | None = None,
    residuals: Literal["auto", "huh-jhun", "theil", "freedman-lane"] = "auto",
    cv: Any = 5,
    random_state: Any = None,
    verbose: bool = False,
) -> PermutationTest:
    """Permutation test of every correlation of a CCA, linear or kernel, one after the other.

    Both views are reduced to whitened scores once, by the method that ``fit`` takes; a shuffle of the rows of
    one view is then a product of these. For the k-th correlation the pairs before it are set aside:
    their variates of one view are partialled out of each shuffle, which leaves the dimensions that the
    observed rest lies in. That is exact for the first correlation, and close for the others in
    small samples too.

    Parameters
    ----------
    estimator : CCA, CCACV or KernelCCA, or TwoViewPipeline of such a model
        Fitted or not; it is fitted to these rows. The steps of a pipeline are fitted once, each to its view
        alone, which leaves the rows as exchangeable as they were. ``n_components`` says how many correlations
        are tested, ``n_threads`` the number of threads, on which the result does not depend. Widths and
        landmarks, which see each view alone, are those of this fit. The ridge of a CCACV is chosen anew for
        every shuffle, which takes one search each: a ridge that these pairs chose makes their correlation
        larger than a shuffle's.
    X : array_like of shape (n, p)
    y : array_like of shape (n, q) or (n,)
        The two views. Their rows must be exchangeable, or their ``blocks``.
    n_permutations : int
        Shuffles; the smallest possible p-value is 1 / (n_permutations + 1).
    statistic : {"correlation", "roy", "wilks", "held-out"}, default="correlation"
        What is compared for the k-th pair: the largest correlation of the rest; Roy's root, the same test in
        other units; Wilks's lambda of the rest, which has more power where several small correlations are
        or the k-th correlation of held-out rows, averaged over the folds of ``cv``, which tests
        whether the fit generalises (in the shuffles the pairs before it stay paired).
    blocks : array_like of shape (n,), optional
        Labels of blocks of rows: subjects with repeated measurements, families, sites.
    exchange : {"within", "whole", "shift"}, default="within"
        Rows are shuffled within their blocks; blocks of equal size change places as wholes, their rows in the
        order in which they come; or a series is shifted circularly (that of each block for itself), which
        keeps its autocorrelation. Of shifts of all rows there are n - 1, of which none is drawn twice.
    permutations : array_like of shape (m, n) or iterable of such rows, optional
        Permutations of one's own in the place of those drawn: row i of X is paired with row ``order[i]`` of
        y.
    confounds : array_like of shape (n, c) or (n,), optional
        Columns whose linear effect is taken out of both views. A test of their residuals as if they were data
        rejects far too often. Give the views as they are, not their residuals. With blocks exchanged within,
        the means of the blocks are confounds too: what they have in common enters the estimated effects of
        the others, and with these every row.
    residuals : {"auto", "huh-jhun", "theil", "freedman-lane"}, default="auto"
        How what the confounds leave is made exchangeable. "huh-jhun" turns the n dependent residuals into
        n - 1 - rank(confounds) rows that are not, and exchanges these, also of several blocks; "theil" does
        so with rows that stay as near as can be to those of the data, and exchanges them within their blocks
        (as many rows are left out as there are confounds and one); "freedman-lane" shuffles the residuals and
        takes the confounds out again, approximately right for any exchange. "auto" is the first of these that
        applies: "theil" with blocks exchanged within, "freedman-lane" with whole blocks, shifts and
        ``permutations``. Kernels are those of the rows that are exchanged; "freedman-lane", with kernels of
        the residuals, rejects far too seldom.
    cv : int, splitter or iterable, default=5
        Folds of "held-out", as in scikit-learn.
    random_state : int, RandomState or None
        Of the shuffles.
    verbose : bool, default=False
        Show a progress bar.

    Returns
    -------
    PermutationTest

    Raises
    ------
    TypeError
        For another kind of estimator.
    ValueError
        For NaN or infinity, different numbers of rows, fewer than one permutation or more than 10 million,
        blocks of the wrong length or that leave nothing to exchange, confounds that leave nothing of a view,
        a method for residuals that does not go with the exchange.

    Notes
    -----
    With singular vectors U, V of T and scores Z₁ = F₁U, Z₂ = F₂V (F'F + R = I, where R is the part of the
    ridge), a shuffle P has M = Z₁'PZ₂. The statistic of correlation j + 1 is the largest singular value of
    M₂₂(I - M₁₂'M₁₂)^(-1/2), where M₁₂ holds the first j rows of the columns after the j-th: CCA of the
    shuffled rest given the variates set aside. For Wilks's lambda it is the product of 1 - σ² over all of
    them. Each shuffle costs n p q multiply-adds with ranks p and q, and k eigenvalues of a
    matrix of min(p, q) columns. Huh and Jhun's rows are Q'F, where Q is orthonormal with QQ' the residual
    former of the confounds and a constant; they have no mean to take out.

    References
    ----------
    Winkler, Renaud, Smith & Nichols, "Permutation inference for canonical correlation analysis",
    NeuroImage 220, 2020.

    M.-H. Huh and M. Jhun, "Random permutation testing in multiple linear regression", Communications in
    Statistics 30, 2001.

    H. Theil, "The analysis of disturbances in regression analysis", Journal of the American Statistical
    Association 60, 1965.

    D. Freedman and D. Lane, "A nonstochastic interpretation of reported significance levels", Journal of
    Business & Economic Statistics 1, 1983.

    Examples
    --------
    >>> from fastcca import CCA
    >>> from fastcca.datasets import make_two_views
    >>> from fastcca.inference import permutation_test
    >>> views = make_two_views(200, (4, 3), correlations=[0.8], random_state=0)
    >>> test = permutation_test(CCA(reg=0.1), views.X, views.y, n_permutations=199, random_state=0)
    >>> (test.p_value < 0.05).tolist()
    [True, False, False]
    """
    check_same_rows(X=X, y=y, blocks=blocks, confounds=confounds)
    estimator, X, y = prepared(estimator, X, y)
    if isinstance(estimator, KernelCCACV):
        raise TypeError(
            "KernelCCACV chooses widths and regularisation by these very pairs, which makes correlations "
            "larger than a shuffle's: choose them on other rows, and test a KernelCCA that has them"
        )
    if not isinstance(estimator, (LinearTwoView, KernelCCA)):
        raise TypeError(f"estimator must be a CCA, CCACV or KernelCCA, got {type(estimator).__name__}")
    check_resamples("n_permutations", n_permutations)
    for name, value, choices in (("statistic", statistic, STATISTICS), ("residuals", residuals, RESIDUALS)):
        choice(*choices)(name, value)
    model = clone(estimator)
    a, b, _ = model._check_pair(X, y, reset=True)
    n, rng = len(a), check_random_state(random_state)
    exchanged: dict[str, Any] = {"blocks": blocks, "exchange": exchange, "own": permutations}
    orders = Orders(n, n_permutations, rng, **exchanged)
    aside = np.empty((n, 0))
    reduced: Callable[[Floats], Floats] = _as_they_are
    if confounds is None:
        model.fit(X, y)
    else:
        if isinstance(model, KernelCCA) and any(model._precomputed):
            raise ValueError(
                "confounds are regressed out of the columns of the views, and a precomputed kernel has none: "
                "regress them out before the kernel is taken"
            )
        aside = confound_basis(confounds, n, blocks if exchange == "within" else None)
        a, b = residual("X", a, aside), residual("y", b, aside)
        method = _method(residuals, blocks, exchange, permutations)
        if method == "huh-jhun":  # with what the blocks have in common taken out, all of it is exchanged
            reduced = huh_jhun(aside)
            orders = Orders(n - 1 - aside.shape[1], n_permutations, rng)
        elif method == "theil":
            reduced, kept = theil(aside)
            orders = Orders(len(kept), n_permutations, rng, blocks=_kept(blocks, kept), exchange=exchange)
        if method != "freedman-lane":
            aside = np.empty((orders.n, 0))
        if method != "freedman-lane" and isinstance(model, KernelCCA):
            # functions of residuals depend on one another, those of these rows do not
            a, b, reduced = reduced(a.astype(np.float64)), reduced(b.astype(np.float64)), _as_they_are
        model.fit(a, b)
    if statistic == "held-out":
        found = _held_out(model, a, b, reduced, aside, orders, cv, verbose)
    elif isinstance(model, CCACV):
        return _with_chosen_ridges(model, a, b, reduced, aside, orders, statistic, verbose)
    else:
        found = _statistics(model, _scores(model, a, b, reduced), aside, orders, statistic, verbose)
    observation, permuted = found
    if statistic == "wilks":
        reached = permuted <= observation / _ROUNDED
    else:
        reached = permuted >= observation - np.abs(observation) * (1 - _ROUNDED)
    p_value = np.maximum.accumulate((reached.sum(axis=0) + 1) / (len(permuted) + 1))
    return PermutationTest(observation, p_value, permuted)


def _as_they_are(scores: Floats) -> Floats:
    return scores


def _method(residuals: str, blocks: Any, exchange: str, permutations: Any) -> str:
    """How residuals are made exchangeable."""
    of_rows = exchange == "shift" or permutations is not None  # which only the rows as they are have
    if residuals == "auto":
        if of_rows or exchange == "whole":
            return "freedman-lane"
        return "huh-jhun" if blocks is None else "theil"
    if residuals != "freedman-lane" and of_rows:
        raise ValueError(
            f"residuals={residuals!r} is not for circular shifts and permutations of your own: use "
            "residuals='freedman-lane'"
        )
    if residuals != "freedman-lane" and exchange == "whole":
        raise ValueError(
            f"residuals={residuals!r} leaves no whole blocks to exchange: use residuals='freedman-lane'"
        )
    return residuals


def _kept(blocks: ArrayLike | None, kept: NDArray[np.intp]) -> NDArray[Any] | None:
    return None if blocks is None else np.asarray(blocks)[kept]


def _scores(
    model: Any, X: NDArray[Any], y: NDArray[Any], reduced: Callable[[Floats], Floats]
) -> tuple[Floats, Floats]:
    """Scores of both views with F'F + R = I, where R is the part of the ridge."""
    if isinstance(model, LinearTwoView):
        of_x, of_y = whitened_views(model, X, y)
        views = of_x.scores, of_y.scores
    else:
        views = whitened_kernel_views(model, X, y)
    root = np.sqrt(len(X) - 1)
    return reduced(views[0] / root), reduced(views[1] / root)


def _statistics(
    model: Any, views: tuple[Floats, Floats], aside: Floats, orders: Orders, statistic: str, verbose: bool
) -> tuple[Floats, Floats]:
    """Of the first k pairs of the data, (k,), and of the shuffles, (n_permutations, k)."""
    fx, fy = (without(scores, aside) for scores in views)
    k, n_threads = model.n_components_, model.n_threads
    U, values, Vt = np.linalg.svd(product(fx.T, fy, n_threads), full_matrices=True)
    zx, zy = product(fx, U, n_threads), product(fy, Vt.T, n_threads)
    # the view of lower rank is whitened again, which is cheaper; to shuffle the other is to shuffle this one
    backwards = zx.shape[1] < zy.shape[1]
    still, moved = (np.hstack([aside, zy]), zx) if backwards else (np.hstack([aside, zx]), zy)
    still, tested = np.ascontiguousarray(still.T), min(k, len(values))

    def work(block: list[NDArray[np.intp]]) -> Floats:
        M, shuffled = np.empty((len(block), len(still), moved.shape[1])), np.empty_like(moved)
        for m, order in zip(M, block, strict=True):
            rows = np.argsort(order) if backwards else order
            np.matmul(still, np.take(moved, rows, axis=0, out=shuffled, mode="clip"), out=m)
        return rest_statistics(M, aside.shape[1], tested, statistic)

    size = max(1, min(_BLOCK // (len(still) * moved.shape[1]), _ROWS // len(fx) + 1))
    size -= size % _TOGETHER if size > _TOGETHER else 0
    blocks = in_threads(
        work, orders.blocks(size), n_threads, total=orders.count, label="permutations", verbose=verbose
    )
    permuted = np.full((orders.count, k), 1.0 if statistic == "wilks" else 0.0)
    permuted[:, :tested] = np.concatenate(list(blocks))
    return observed(values, k, statistic), permuted


def _held_out(
    model: Any,
    X: NDArray[Any],
    y: NDArray[Any],
    reduced: Callable[[Floats], Floats],
    aside: Floats,
    orders: Orders,
    cv: Any,
    verbose: bool,
) -> tuple[Floats, Floats]:
    if isinstance(model, CCACV):
        raise ValueError(
            "statistic='held-out' takes a CCA with a given ridge: that of a CCACV was chosen by the rows "
            "that are held out. Choose it on other rows"
        )
    if aside.shape[1]:
        raise ValueError(
            "statistic='held-out' takes residuals='huh-jhun' or 'theil' with confounds: those of the rows "
            "themselves are not independent of the rows held out"
        )
    views = _scores(model, X, y, reduced)
    n = len(views[0])
    root = np.sqrt(n - 1)
    reg = RIDGES("reg", model.reg_ if hasattr(model, "reg_") else model.reg)
    U, _, Vt = np.linalg.svd(product(views[0].T, views[1], model.n_threads), full_matrices=True)
    pairs = views[0] @ U * root, views[1] @ Vt.T * root
    k = model.n_components_
    held_out = HeldOut(pairs, k, cv, max(reg) > 0)

    def work(block: list[NDArray[np.intp]]) -> Floats:
        return np.array([[held_out.of(order, j)[j] for j in range(k)] for order in block])

    size = max(1, _ROWS // (n * k * len(held_out.folds)))
    blocks = in_threads(
        work, orders.blocks(size), model.n_threads, total=orders.count, label="permutations", verbose=verbose
    )
    permuted = np.concatenate(list(blocks))
    return held_out.of(), permuted


def _with_chosen_ridges(
    model: CCACV,
    X: NDArray[Any],
    y: NDArray[Any],
    reduced: Callable[[Floats], Floats],
    aside: Floats,
    orders: Orders,
    statistic: str,
    verbose: bool,
) -> PermutationTest:
    """The ridge is chosen anew for every shuffle."""
    a, b, own = X, y, model.best_index_
    if reduced is not _as_they_are:  # the rows that are exchanged, of the data too
        a, b = reduced(X.astype(np.float64)), reduced(y.astype(np.float64))
        own = _chosen_ridge(model, a, b, aside)
    bar = tqdm(orders, total=orders.count, desc="ridges", disable=not verbose)
    chosen = [own, *(_chosen_ridge(model, a, b[order], aside) for order in bar)]
    found = {}
    for place in dict.fromkeys(chosen):
        with_ridge = _with_ridge(model, place, X, y)
        views = _scores(with_ridge, X, y, reduced)
        found[place] = _statistics(model, views, aside, orders, statistic, verbose)
    observation, permuted = found[own]
    extreme = _extremeness_at_chosen_ridges(chosen, found, smaller=statistic == "wilks")
    reached = (extreme[1:] <= extreme[0]).sum(axis=0)
    p_value = np.maximum.accumulate((reached + 1) / (orders.count + 1))
    return PermutationTest(observation, p_value, permuted)


def _chosen_ridge(model: CCACV, X: NDArray[Any], y: NDArray[Any], aside: Floats) -> int:
    """The place in the grid of the ridge that cross-validation chooses for shuffled rows."""
    if aside.shape[1]:
        y = y - aside @ (aside.T @ y)
    with unsaid():
        return int(clone(model).fit(X, y).best_index_)


def _with_ridge(model: CCACV, place: int, X: NDArray[Any], y: NDArray[Any]) -> CCA:
    """A CCA with this ridge of the grid."""
    reg = model.cv_results_["params"][place]["reg"]
    with unsaid():
        return CCA(model.n_components, reg, model.scale, n_threads=model.n_threads).fit(X, y)


def _extremeness_at_chosen_ridges(
    chosen: list[int], found: dict[int, tuple[Floats, Floats]], smaller: bool = False
) -> Floats:
    """For the data (row 0) and each shuffle: how many statistics with the ridge that it chose are as large.

    Statistics with different ridges do not compare; their ranks among all shuffles with the same ridge do.
    """
    ranks = {}
    for place, (statistic, permuted) in found.items():
        every = np.vstack([statistic, permuted])
        if smaller:  # is more extreme
            every = -np.log(np.maximum(every, np.finfo(float).tiny))
        ranks[place] = np.column_stack(
            [len(every) - np.searchsorted(np.sort(column), column * _ROUNDED) for column in every.T]
        )
    return np.array([ranks[place][i] for i, place in enumerate(chosen)])
