"""Canonical correlation analysis of moments or data: three methods, one solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastcca import _core
from fastcca._arguments.arrays import as_matrix, as_weights, check_same_length, check_same_rows
from fastcca._arguments.parameters import RIDGES, check_n_components, thread_count
from fastcca.functional.moments import Moments

__all__ = ["Solution", "held_out_correlations", "moments_parts", "solve_gram", "solve_moments", "solve_qr"]

Array = npt.NDArray[np.float64]
Reg = float | tuple[float, float]


@dataclass(frozen=True)
class Solution:
    """Weights of the canonical variates, and what the arithmetic met on the way.

    Attributes
    ----------
    x_weights, y_weights : ndarray of shape (p, k), (q, k)
        One column per pair of variates, by decreasing correlation. With the ridge included, each variate has
        variance w'(S + rI)w = 1 and is uncorrelated with the others. Constant columns have weight 0. In each
        column of ``x_weights`` the entry of largest magnitude is positive.
    singular_values : ndarray of shape (k,)
        Correlations of the pairs in the (penalised) metric, in [0, 1]: without a ridge the canonical
        correlations.
    rank : tuple of two int
        Numerical rank of each centred view, see Notes. Of more than 512 columns, whose missing directions a
        ridge carries and which hold the components asked for all the same, the number that vary: no rank is
        counted then.
    condition : tuple of two float
        Condition number of each centred view with its ridge, constant columns set aside and the others
        brought to unit variance: the square root of that of E (S + rI) E with a diagonal of ones. An
        estimate, commonly within a factor of two; inf where a view is singular.
    dropped : tuple of two bool
        Whether directions of a view that are not constant columns were left out because the ridge
        does not lift them above rounding.
    lost : tuple of two float
        The largest standard deviation among them, of columns brought to unit variance; 0 if there are none.

    Notes
    -----
    The rank rule of every method: columns are brought to unit variance, so that no unit of measurement
    decides. A direction v of them is dropped where its standard deviation is what rounding in the arithmetic
    leaves, or at most ``sum |v_j| eps_j rms_j / sd_j``: the entries x of column j are known to
    ``eps_j |x|`` only, with ``eps_j`` the machine epsilon of their dtype.
    """

    x_weights: Array
    y_weights: Array
    singular_values: Array
    rank: tuple[int, int]
    condition: tuple[float, float]
    dropped: tuple[bool, bool]
    lost: tuple[float, float]


def solve_moments(
    moments: Moments, n_components: int | None = None, reg: Reg = 0.0, n_threads: int | None = None
) -> Solution:
    """Regularised CCA from moments: the covariance method.

    Whitens S11 + r1 I and S22 + r2 I by their Cholesky factors, and takes the leading singular triples of
    T = L1^-1 S12 L2^-T. Correlations are off by some ``moments.rounding`` times the square of the larger
    condition number.

    Parameters
    ----------
    moments : Moments
        Of two views with p and q columns.
    n_components : int, optional
        Upper bound of the number of pairs k = min(n_components, rank of X, rank of y); by default min(p, q).
    reg : float or tuple of two float
        Ridge r, or (r1, r2), added to the diagonals of the views' covariances (in their units squared).
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. The result does not depend on it.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        For other than two views, one sample or none, a negative ridge, ``n_components`` below 1.
    NumericalError
        If every column of a view is constant.

    See Also
    --------
    solve_qr : For views whose condition number exceeds 1e4, which covariances square.
    solve_gram : For more features than samples.

    References
    ----------
    H. D. Vinod, "Canonical ridge and econometrics of joint production", J. Econometrics 4, 1976.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import Moments, solve_moments
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 3.0]])
    >>> y = X @ [1.0, 1.0]
    >>> solve_moments(Moments().update(X, y)).singular_values.round(6)
    array([1.])
    """
    p, q = _two_views(moments)
    k = check_n_components(n_components, p, q)
    return Solution(
        *_core.solve_moments(moments_parts(moments), p, k, RIDGES("reg", reg), thread_count(n_threads))
    )


def solve_qr(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    n_components: int | None = None,
    reg: Reg = 0.0,
    sample_weight: npt.ArrayLike | None = None,
    n_threads: int | None = None,
) -> Solution:
    """Regularised CCA by orthogonal factors of the data: accurate where covariances are not.

    T = Q1'Q2 from the QR factors of the centred views; no condition number is squared. A ridge stands as
    rows sqrt(r (N - 1)) I below the data, which are read in blocks and never copied whole where n > p + q.

    Parameters
    ----------
    X, y : array-like of shape (n, p), (n, q)
        The views. float32 and float64 are read in place, whatever their strides; the arithmetic is in
        float64.
    n_components, reg, n_threads
        As in :func:`solve_moments`.
    sample_weight : array-like of shape (n,), optional
        Weights, not negative; they count as repetitions.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        As in :func:`solve_moments`, and for NaN, infinity, or views with different numbers of rows.
    NumericalError
        If every column of a view is constant.

    References
    ----------
    Å. Björck and G. H. Golub, "Numerical methods for computing angles between linear subspaces",
    Math. Comp. 27, 1973.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import solve_qr
    >>> t = np.arange(6.0)
    >>> X = np.column_stack([t, t + 1e-7 * t**2])  # nearly the same column twice
    >>> solution = solve_qr(X, t**2)
    >>> solution.singular_values.round(6), solution.rank
    (array([1.]), (2, 1))
    """
    return _solve_data(X, y, n_components, reg, sample_weight, n_threads, gram=False)


def solve_gram(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    n_components: int | None = None,
    reg: Reg = 0.0,
    sample_weight: npt.ArrayLike | None = None,
    n_threads: int | None = None,
) -> Solution:
    """Regularised CCA through n x n matrices: for views with more features than samples.

    Of a view with more columns than rows the eigenvectors of the centred X X' serve as basis, shrunk by
    sqrt(l / (l + r (N - 1))); one with fewer columns keeps its QR basis, and so does one whose eigenvalues
    reach below 1e-8 of the largest where no ridge lifts them. Without a ridge, as many correlations are 1 as
    the ranks leave no freedom for.

    Parameters, returned value and errors are those of :func:`solve_qr`.

    Parameters
    ----------
    X, y : array-like of shape (n, p), (n, q)
        The views.
    n_components, reg, sample_weight, n_threads
        As in :func:`solve_qr`.

    Returns
    -------
    Solution

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import solve_gram
    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=(20, 1))
    >>> X, y = z + 0.1 * rng.normal(size=(20, 1000)), z + 0.1 * rng.normal(size=(20, 3))
    >>> solution = solve_gram(X, y, n_components=1, reg=1.0)
    >>> solution.x_weights.shape, bool(solution.singular_values[0] > 0.8)
    ((1000, 1), True)
    """
    return _solve_data(X, y, n_components, reg, sample_weight, n_threads, gram=True)


def held_out_correlations(
    total: Moments,
    folds: Sequence[Moments],
    regs: Sequence[Reg],
    n_components: int | None = None,
    n_threads: int | None = None,
) -> Array:
    """Cross-validated canonical correlations of many ridges, from moments alone.

    Per fold the moments of the training rows are ``total - fold``; one eigendecomposition per view serves all
    ridges; the held-out scores' correlations come from the fold's own moments. Equal to fitting and scoring
    each fold and ridge on its own, without another look at the data.

    Parameters
    ----------
    total : Moments
        Of all rows of two views.
    folds : sequence of Moments
        Of the rows held out, each part of ``total``.
    regs : sequence of float or tuple of two float
        The ridges to compare, each r or (r1, r2).
    n_components : int, optional
        Upper bound of the number of pairs of variates; by default min(p, q).
    n_threads : int, optional
        As in :func:`solve_moments`.

    Returns
    -------
    ndarray of shape (len(folds), len(regs), n_components)
        Pearson correlations over the held-out rows, component by component. 0 where a held-out score is
        constant; NaN beyond the components that the ranks of the fold's training rows allow.

    Raises
    ------
    ValueError
        As in :func:`solve_moments`, or if a fold has other columns or leaves one training sample or none.
    NumericalError
        If every column of a view is constant in the training rows of a fold.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import Moments, held_out_correlations
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 3))
    >>> y = X[:, :2] + 0.1 * rng.normal(size=(60, 2))
    >>> folds = [Moments().update(X[i::5], y[i::5]) for i in range(5)]
    >>> total = Moments().update(X, y)
    >>> correlations = held_out_correlations(total, folds, regs=[1e-6, 1e3])
    >>> correlations.shape, bool(correlations[:, 0].mean() > 0.9)
    ((5, 2, 2), True)
    """
    p, q = _two_views(total)
    k = check_n_components(n_components, p, q)
    pairs = []
    for i, fold in enumerate(folds):
        if not isinstance(fold, Moments):
            raise TypeError(f"folds must be Moments, got {type(fold).__name__}")
        if tuple(fold.dims) != tuple(total.dims):
            raise ValueError(
                f"folds[{i}].dims == {tuple(fold.dims)}, expected {tuple(total.dims)} as in total"
            )
        if not fold.n > 0:
            raise ValueError(f"folds[{i}] holds no rows: n = {fold.n:g}")
        train = total - fold
        if train.n <= 1:
            raise ValueError(f"folds[{i}] leaves n = {train.n:g} samples to train on, expected more than 1")
        pairs.append((moments_parts(train), moments_parts(fold)))
    variation = np.diag(total.scatter).copy()
    return _core.held_out_correlations(
        pairs, variation, p, [RIDGES("regs", r) for r in regs], k, thread_count(n_threads)
    )


def _solve_data(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    n_components: int | None,
    reg: Reg,
    sample_weight: npt.ArrayLike | None,
    n_threads: int | None,
    *,
    gram: bool,
) -> Solution:
    check_same_rows(X=X, y=y, sample_weight=sample_weight)
    X, y = as_matrix("X", X, vector=True), as_matrix("y", y, vector=True)
    check_same_length(X=X, y=y)
    weights = as_weights(sample_weight, len(X))
    n = len(X) if weights is None else weights.sum()
    if n <= 1:
        raise ValueError(f"CCA takes more than 1 sample, got n = {n:g}")
    k = check_n_components(n_components, X.shape[1], y.shape[1])
    return Solution(*_core.solve_data(X, y, weights, k, RIDGES("reg", reg), gram, thread_count(n_threads)))


def _two_views(moments: Moments) -> tuple[int, int]:
    if len(moments.dims) != 2 or min(moments.dims) < 1:
        raise ValueError(f"moments must hold two views with columns, got dims = {tuple(moments.dims)}")
    if moments.n <= 1:
        raise ValueError(f"CCA takes more than 1 sample, got n = {moments.n:g}")
    p, q = moments.dims
    return p, q


def moments_parts(moments: Moments) -> tuple[float, Array, Array, Array, Array]:
    """What the core reads of moments, the scatter without gaps (it is symmetric: C or F order)."""
    scatter = moments.scatter
    if not (scatter.flags.c_contiguous or scatter.flags.f_contiguous):
        scatter = np.ascontiguousarray(scatter)
    rounding = moments.rounding if moments.rounding.size else moments.eps
    return moments.n, moments.mean, scatter, moments.eps, rounding
