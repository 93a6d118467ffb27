"""A permutation test of every correlation, for any data and any ridge."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state

from fastcca._arguments.arrays import as_matrix, check_same_rows, refuse_non_finite
from fastcca.cca.kernel import KernelCCA
from fastcca.cca.linear import CCA, LinearTwoView
from fastcca.cca.model_selection import CCACV, KernelCCACV
from fastcca.functional.linalg import product, truncated_svd
from fastcca.inference._kernel_views import whitened_kernel_views
from fastcca.inference._model import check_resamples, prepared, whitened_views

__all__ = ["PermutationTest", "permutation_test"]

Floats = NDArray[np.float64]

_ROUNDED = 1 - 1e-10  # as large up to rounding counts: a shuffle may be the identity
_BLOCK = 2**21  # numbers of the permuted matrices held at a time
_ITERATED = 64  # from so many rows and columns on one singular value alone is cheaper than all


@dataclass(frozen=True)
class PermutationTest:
    """What :func:`permutation_test` found.

    Attributes
    ----------
    statistic : ndarray of shape (k,)
        The singular values of T, as fitted: without a ridge the canonical correlations.
    p_value : ndarray of shape (k,)
        For each the probability of one as large where the views are unrelated beyond the pairs before it;
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
    groups: ArrayLike | None = None,
    confounds: ArrayLike | None = None,
    random_state: Any = None,
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
        are tested. Widths and landmarks, which see each view alone, are those of this fit. The ridge of a
        CCACV is chosen anew for every shuffle, which takes one search each: a ridge that these pairs chose
        makes their correlation larger than a shuffle's.
    X : array_like of shape (n, p)
    y : array_like of shape (n, q) or (n,)
        The two views. Their rows must be exchangeable; repeated measurements are within ``groups``, the
        samples of a time series are not.
    n_permutations : int
        Shuffles; the smallest possible p-value is 1 / (n_permutations + 1).
    groups : array_like of shape (n,), optional
        Rows are shuffled within groups of equal labels only.
    confounds : array_like of shape (n, c) or (n,), optional
        Columns whose linear effect is taken out of both views, and out of every shuffle. Without them
        a test of residuals rejects far too often: residuals of c confounds have n - 1 - c dimensions, their
        shuffles n - 1. Give the views as they are, not their residuals.
    random_state : int, RandomState or None
        Of the shuffles.

    Returns
    -------
    PermutationTest

    Raises
    ------
    TypeError
        For another kind of estimator.
    ValueError
        For NaN or infinity, different numbers of rows, fewer than one permutation or more than 10 million,
        groups of the wrong length or with a single row each, confounds that leave nothing of a view.

    Notes
    -----
    With singular vectors U, V of T and scores Z₁ = F₁U, Z₂ = F₂V (F'F + R = I, where R is the part of the
    ridge), a shuffle P has M = Z₁'PZ₂. The statistic of correlation j + 1 is the largest singular value of
    M₂₂(I - M₁₂'M₁₂)^(-1/2), where M₁₂ holds the first j rows of the columns after the j-th: CCA of the
    shuffled rest given the variates set aside. Confounds are j more such rows. Each shuffle costs n p q
    multiply-adds with ranks p and q, and k decompositions of min(p, q) columns.

    References
    ----------
    Winkler, Renaud, Smith & Nichols, "Permutation inference for canonical correlation analysis",
    NeuroImage 220, 2020.

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
    check_same_rows(X=X, y=y, groups=groups, confounds=confounds)
    estimator, X, y = prepared(estimator, X, y)
    if isinstance(estimator, KernelCCACV):
        raise TypeError(
            "KernelCCACV chooses widths and regularisation by these very pairs, which makes correlations "
            "larger than a shuffle's: choose them on other rows, and test a KernelCCA that has them"
        )
    if not isinstance(estimator, (LinearTwoView, KernelCCA)):
        raise TypeError(f"estimator must be a CCA, CCACV or KernelCCA, got {type(estimator).__name__}")
    check_resamples("n_permutations", n_permutations)
    model = clone(estimator)
    a, b, _ = model._check_pair(X, y, reset=True)
    shuffle = _shuffler(len(a), groups)
    aside = np.empty((len(a), 0))
    if confounds is None:
        model.fit(X, y)
    else:
        aside = _confound_basis(confounds, len(a))
        a, b = _residual("X", a, aside), _residual("y", b, aside)
        model.fit(a, b)
    rng = check_random_state(random_state)
    state = rng.get_state()

    def shuffled(views: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        """Observed and permuted statistics; the same shuffles each time."""
        rng.set_state(state)
        orders = (shuffle(rng) for _ in range(n_permutations))
        return _statistics(views, aside, model.n_components_, orders, n_permutations, model.n_threads)

    if isinstance(model, CCACV):
        rng.set_state(state)
        orders = (shuffle(rng) for _ in range(n_permutations))
        own = model.best_index_
        chosen = [own, *(_chosen_ridge(model, a, b[order], aside) for order in orders)]
        found = {i: shuffled(_views_with_ridge(model, i, a, b)) for i in dict.fromkeys(chosen)}
        statistic, permuted = found[own]
        extreme = _extremeness_at_chosen_ridges(chosen, found)
        reached = (extreme[1:] <= extreme[0]).sum(axis=0)
    else:
        linear = isinstance(model, LinearTwoView)
        statistic, permuted = shuffled(_scores(model, a, b) if linear else whitened_kernel_views(model, a, b))
        reached = (permuted >= statistic * _ROUNDED).sum(axis=0)
    p_value = np.maximum.accumulate((reached + 1) / (n_permutations + 1))
    return PermutationTest(statistic, p_value, permuted)


def _statistics(
    views: tuple[Floats, Floats],
    aside: Floats,
    k: int,
    orders: Iterator[NDArray[np.intp]],
    n_permutations: int,
    n_threads: int | None,
) -> tuple[Floats, Floats]:
    """The first k singular values of T, (k,), and what the shuffles make of them, (n_permutations, k)."""
    fx, fy = (view / np.sqrt(len(view) - 1) for view in views)
    U, values, Vt = np.linalg.svd(product(fx.T, fy, n_threads), full_matrices=True)
    statistic = np.zeros(k)  # another ridge may leave fewer
    statistic[: len(values)] = values[:k]
    zx, zy = product(fx, U, n_threads), product(fy, Vt.T, n_threads)
    permuted = np.zeros((n_permutations, k))
    # the view of lower rank is whitened again, which is cheaper; to shuffle the other is to shuffle this one
    backwards = zx.shape[1] < zy.shape[1]
    still, moved = (np.hstack([aside, zy]), zx) if backwards else (np.hstack([aside, zx]), zy)
    block = max(1, _BLOCK // (still.shape[1] * moved.shape[1]))
    for start in range(0, n_permutations, block):
        M = np.empty((min(block, n_permutations - start), still.shape[1], moved.shape[1]))
        for i in range(len(M)):
            order = next(orders)
            M[i] = product(still.T, moved[np.argsort(order) if backwards else order], n_threads)
        for j in range(min(k, len(values))):
            permuted[start : start + len(M), j] = _rest(M, aside.shape[1] + j, j, n_threads)
    return statistic, permuted


def _chosen_ridge(model: CCACV, X: NDArray[Any], y: NDArray[Any], aside: Floats) -> int:
    """The place in the grid of the ridge that cross-validation chooses for shuffled rows."""
    if aside.shape[1]:
        y = y - aside @ (aside.T @ y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return int(clone(model).fit(X, y).best_index_)


def _views_with_ridge(model: CCACV, place: int, X: NDArray[Any], y: NDArray[Any]) -> tuple[Floats, Floats]:
    reg = model.cv_results_["params"][place]["reg"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        other = CCA(model.n_components, reg, model.scale, n_threads=model.n_threads).fit(X, y)
    return _scores(other, X, y)


def _scores(model: LinearTwoView, X: NDArray[Any], y: NDArray[Any]) -> tuple[Floats, Floats]:
    of_x, of_y = whitened_views(model, X, y)
    return of_x.scores, of_y.scores


def _extremeness_at_chosen_ridges(chosen: list[int], found: dict[int, tuple[Floats, Floats]]) -> Floats:
    """For the data (row 0) and each shuffle: how many statistics with the ridge that it chose are as large.

    Statistics with different ridges do not compare; their ranks among all shuffles with the same ridge do.
    """
    ranks = {}
    for place, (statistic, permuted) in found.items():
        every = np.vstack([statistic, permuted])
        ranks[place] = np.column_stack(
            [len(every) - np.searchsorted(np.sort(column), column * _ROUNDED) for column in every.T]
        )
    return np.array([ranks[place][i] for i, place in enumerate(chosen)])


def _rest(M: Floats, rows: int, columns: int, n_threads: int | None) -> Floats:
    """Largest singular value of M₂₂(I - M₁₂'M₁₂)^(-1/2) for each matrix of a stack."""
    top, rest = M[:, :rows, columns:], M[:, rows:, columns:]
    if rows:
        # with M₁₂ = U s V': (I - M₁₂'M₁₂)^(-1/2) = I + V ((1 - s²)^(-1/2) - 1) V'
        _, s, Vt = np.linalg.svd(top, full_matrices=False)
        left = np.maximum(1 - s**2, 0)
        # a direction that lies wholly within what is set aside has nothing left to correlate
        stretch = np.divide(1, np.sqrt(left), out=np.zeros_like(left), where=left > 1e-12) - 1
        rest = rest + (rest @ Vt.transpose(0, 2, 1)) * stretch[:, None, :] @ Vt
    clipped: Floats = np.minimum(_largest(rest, n_threads), 1.0)
    return clipped


def _largest(stack: Floats, n_threads: int | None) -> Floats:
    """The largest singular value of each matrix."""
    if min(stack.shape[1:]) >= _ITERATED:  # residuals are checked; singular values are off by their square
        return np.array([truncated_svd(one, 1, 1e-8, n_threads)[1][0] for one in stack])
    turned = stack.transpose(0, 2, 1)
    gram = stack @ turned if stack.shape[1] < stack.shape[2] else turned @ stack
    largest: Floats = np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[:, -1], 0))
    return largest


def _confound_basis(confounds: ArrayLike, n: int) -> Floats:
    """An orthonormal basis of the centred confounds."""
    c = as_matrix("confounds", confounds, vector=True)
    if len(c) != n:
        raise ValueError(f"confounds must have {n} rows, as X has, got {len(c)}")
    refuse_non_finite("confounds", c)
    eps = float(np.finfo(c.dtype).eps)
    c, _, mean = _centred(c)
    norm = np.linalg.norm(c, axis=0)
    varies = norm > 4 * eps * np.sqrt(n) * np.abs(mean)
    if not varies.any():
        return np.empty((n, 0))
    U, s, _ = np.linalg.svd(c[:, varies] / norm[varies], full_matrices=False)
    # entries are rounded at eps of their mean, which may be large beside what varies
    rounding = eps * (max(c.shape) + 4 * np.sqrt(n) * np.max(np.abs(mean[varies]) / norm[varies]))
    return U[:, s > s[0] * rounding]


def _residual(name: str, view: NDArray[Any], basis: Floats) -> Floats:
    """The view without its mean and the confounds; a column that they explain to rounding is 0."""
    refuse_non_finite(name, view)
    eps = float(np.finfo(view.dtype).eps)
    centred, units, _ = _centred(view)
    residual: Floats = centred - basis @ (basis.T @ centred)
    residual -= basis @ (basis.T @ residual)
    gone = np.linalg.norm(residual, axis=0) <= 1e3 * eps * np.linalg.norm(centred, axis=0)
    if gone.all():
        raise ValueError(f"confounds leave nothing of {name}: they explain every column")
    residual[:, gone] = 0.0
    with np.errstate(over="ignore"):  # the fit refuses what is as large
        return np.asarray(np.nan_to_num(residual * units))


def _centred(view: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """The columns without their means, in units of their largest entries; these units; the means in them."""
    peak = np.abs(view).max(axis=0).astype(np.float64)
    units = np.where(peak > 0, peak, 1.0)
    columns = view / units
    mean = columns.mean(axis=0)
    return columns - mean, units, mean


def _shuffler(n: int, groups: ArrayLike | None) -> Callable[[np.random.RandomState], NDArray[np.intp]]:
    """Draws permutations of n rows, within the groups."""
    if groups is None:
        return lambda rng: rng.permutation(n)
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise ValueError(f"groups must have shape ({n},), one label a row, got {labels.shape}")
    _, codes = np.unique(labels, return_inverse=True)
    members = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    if max(map(len, members)) < 2:
        raise ValueError("groups leaves nothing to shuffle: every row has a label of its own")

    def shuffle(rng: np.random.RandomState) -> NDArray[np.intp]:
        order = np.arange(n)
        for rows in members:
            order[rows] = rng.permutation(rows)
        return order

    return shuffle
