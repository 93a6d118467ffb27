"""Losses with closed-form gradients: the correlation loss of Deep CCA.

:func:`correlation_loss` works in three steps, of which the second needs no data: moments, coefficients,
gradients. Workers that hold parts of one batch add their :class:`~fastcca.Moments` between the first and
the second.
"""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastcca import _core
from fastcca._arguments.arrays import (
    as_matrix,
    check_reg,
    check_same_rows,
    common_float,
    contiguous,
    thread_count,
)
from fastcca._arguments.warn import warn
from fastcca.errors import NumericalError
from fastcca.functional.moments import Moments

__all__ = ["correlation_coefficients", "correlation_gradients", "correlation_loss"]

Array = npt.NDArray[Any]
Objective = Literal["trace", "squares"]


def correlation_loss(
    H1: npt.ArrayLike,
    H2: npt.ArrayLike,
    k: int | None = None,
    reg: float | tuple[float, float] = 1e-4,
    objective: Objective = "trace",
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> tuple[float, Array | None, Array | None]:
    """Negative total correlation of two views, with its gradients.

    With the centred views' regularised covariances S11, S22 and the cross-covariance S12,
    T = S11^(-1/2) S12 S22^(-1/2) and its singular values D, the loss is -(D_1 + ... + D_k), or
    -(D_1² + ... + D_k²) for ``objective="squares"``.

    Parameters
    ----------
    H1 : array-like of shape (m, d1)
    H2 : array-like of shape (m, d2)
        The two views of m >= 2 samples. float32 and float64 arrays are read in place.
    k : int, optional
        Number of correlations to sum, 1 to min(d1, d2); by default all.
    reg : float or (float, float)
        Added to the diagonal of S11 and S22, in the units of the views' variances; not negative. With 0 the
        covariances must be of full rank (constant columns are set aside).
    objective : {"trace", "squares"}
        The sum of the correlations (Andrew et al.), or of their squares.
    gradient : bool
        Whether to compute the gradients.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. The result does not depend on it.

    Returns
    -------
    value : float
        The loss: minus the total correlation, in [-k, 0].
    grad1 : ndarray of shape (m, d1), or None
    grad2 : ndarray of shape (m, d2), or None
        Its gradients with respect to H1 and H2, float32 if both views are. None if ``gradient`` is False.

    Raises
    ------
    ValueError
        For NaN or infinity (with the first position), different numbers of rows, fewer than 2 rows, no
        columns, a k out of range, a negative reg.
    fastcca.errors.NumericalError
        If a covariance is not positive definite; the message names the view and a reg that helps. If a
        gradient overflows: a view varies by too little for its precision.

    Notes
    -----
    For all k the gradient is W1 (W2'H2 - D W1'H1) / (m - 1) with W1 = S11^(-1/2) U, W2 = S22^(-1/2) V.
    Where all correlations are summed it takes the polar factor of T in place of its singular vectors, so
    that repeated singular values do no harm. Where the loss has no gradient (a singular value of 0 under
    "trace") the subgradient of least norm is returned: directions that the outputs lack take no part.
    float32 data are multiplied in float32 and summed in float64; views so ill-conditioned that this would
    show are multiplied in float64. Where outputs span fewer directions than they have columns (copied
    outputs, fewer rows than columns), or where moments in float64 are not accurate enough, the loss is that
    of ``CCA(solver="qr")``, from orthogonal factors of the data.

    References
    ----------
    Andrew, Arora, Bilmes & Livescu, "Deep canonical correlation analysis", ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import correlation_loss
    >>> H1 = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> value, grad1, grad2 = correlation_loss(H1, 2 * H1 + 1, reg=0)
    >>> round(value, 12)
    -2.0
    >>> float(abs(grad1).max()) < 1e-12
    True
    """
    a, b = _views(H1, H2)
    options = _options(a.shape[1], b.shape[1], k, reg, objective)
    value, grad1, grad2 = _core.correlation_loss(a, b, *options, gradient, thread_count(n_threads))
    if grad1 is not None and grad2 is not None:
        _refuse_overflow(H1=grad1, H2=grad2)
    return value, grad1, grad2


def correlation_coefficients(
    moments: Moments,
    k: int | None = None,
    reg: float | tuple[float, float] = 1e-4,
    objective: Objective = "trace",
    *,
    n_threads: int | None = None,
) -> tuple[float, npt.NDArray[np.float64]]:
    """The correlation loss from the moments of two views, and the matrix its gradients are linear in.

    Parameters
    ----------
    moments : Moments
        Of two views and at least 2 rows.
    k, reg, objective, n_threads
        As in :func:`correlation_loss`.

    Returns
    -------
    value : float
        The loss.
    A : ndarray of shape (d1 + d2, d1 + d2), float64
        Symmetric; the gradients at the views (less their means) are [H1, H2] A.

    Raises
    ------
    ValueError, fastcca.errors.NumericalError
        As :func:`correlation_loss`.

    Warns
    -----
    UserWarning
        Where the covariances are so ill-conditioned that the precision of the moments leaves the loss fewer
        than half of its digits. From the rows themselves :func:`correlation_loss` computes it accurately.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import Moments
    >>> from fastcca.functional import correlation_coefficients
    >>> H = np.array([[1.0], [0.0], [-1.0]])
    >>> value, A = correlation_coefficients(Moments().update(H, -H), reg=0)
    >>> round(value, 12), A.shape
    (-1.0, (2, 2))
    """
    if len(moments.dims) != 2:
        raise ValueError(f"moments must be of two views, got {len(moments.dims)}")
    if 0 in moments.dims:
        raise ValueError(f"moments must be of views that have columns, got {moments.dims}")
    _check_rows(moments.n)
    options = _options(*moments.dims, k, reg, objective)
    rounding = float(moments.rounding.max())
    value, A, precision = _core.correlation_coefficients(
        moments.n,
        moments.mean,
        moments.scatter,
        moments.dims[0],
        *options,
        float(moments.eps.max()),
        rounding,
        thread_count(n_threads),
    )
    _refuse_overflow(**{"the views": A})
    if precision > math.sqrt(rounding):
        single = rounding > 2 * np.finfo(np.float64).eps
        warn(
            f"the moments are known to {rounding:.0e} of the variances, so that with covariances this "
            f"ill-conditioned (reg={reg!r}) the loss may be off by {min(precision, 1.0):.0e} of its value: "
            + ("update them with dtype=numpy.float64, " if single else "")
            + "take a larger reg, or compute it from the rows by correlation_loss"
        )
    return value, A


def correlation_gradients(
    H1: npt.ArrayLike,
    H2: npt.ArrayLike,
    mean: npt.ArrayLike,
    A: npt.ArrayLike,
    *,
    n_threads: int | None = None,
) -> tuple[Array, Array]:
    """The gradients [H1 - mean1, H2 - mean2] A of the correlation loss at rows of the views.

    Parameters
    ----------
    H1 : array-like of shape (m, d1)
    H2 : array-like of shape (m, d2)
        Some or all of the rows that the coefficients were computed from.
    mean : array-like of shape (d1 + d2,)
        The means of the whole.
    A : array-like of shape (d1 + d2, d1 + d2)
        From :func:`correlation_coefficients`.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`.

    Returns
    -------
    grad1 : ndarray of shape (m, d1)
    grad2 : ndarray of shape (m, d2)
        float32 if both views are; products are taken in float64.

    Raises
    ------
    ValueError
        For shapes that do not fit.
    fastcca.errors.NumericalError
        If a gradient overflows.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import Moments
    >>> from fastcca.functional import correlation_coefficients, correlation_gradients, correlation_loss
    >>> rng = np.random.default_rng(0)
    >>> H1, H2 = rng.normal(size=(9, 2)), rng.normal(size=(9, 3))
    >>> moments = Moments().update(H1[:4], H2[:4]) + Moments().update(H1[4:], H2[4:])
    >>> value, A = correlation_coefficients(moments)
    >>> part, _ = correlation_gradients(H1[4:], H2[4:], moments.mean, A)
    >>> np.allclose(part, correlation_loss(H1, H2)[1][4:])
    True
    """
    a, b = _views(H1, H2, least=0)
    mean, A = contiguous(mean, np.float64), contiguous(A, np.float64)
    d = a.shape[1] + b.shape[1]
    if mean.shape != (d,) or A.shape != (d, d):
        raise ValueError(f"mean and A must have shapes {(d,)} and {(d, d)}, got {mean.shape} and {A.shape}")
    if not (np.isfinite(mean).all() and np.isfinite(A).all()):
        raise ValueError("mean and A must not hold NaN or infinity")
    grad1, grad2 = _core.correlation_gradients(a, b, mean, A, thread_count(n_threads))
    _refuse_overflow(H1=grad1, H2=grad2)
    return grad1, grad2


def _views(H1: npt.ArrayLike, H2: npt.ArrayLike, least: int = 2) -> list[Array]:
    check_same_rows(H1=H1, H2=H2)
    views = [as_matrix(H1, "H1"), as_matrix(H2, "H2")]
    for name, view in zip(("H1", "H2"), views, strict=True):
        if view.shape[1] == 0:
            raise ValueError(f"{name} has no columns: its shape is {view.shape}")
    if len(views[0]) != len(views[1]):
        raise ValueError(f"H1 has {len(views[0])} rows and H2 has {len(views[1])}: they must be paired")
    if least:
        _check_rows(len(views[0]))
    return common_float(views)


def _refuse_overflow(**gradients: Array) -> None:
    for name, gradient in gradients.items():
        with np.errstate(all="ignore"):  # a sum takes less than a test of every entry
            if np.isfinite(gradient.sum()) or np.isfinite(gradient).all():
                continue
        raise NumericalError(
            f"the gradient with respect to {name} overflows {gradient.dtype}: {name} varies by too little; "
            "multiply it by a large number, or take a larger reg"
        )


def _check_rows(n: float) -> None:
    if n < 2:
        raise ValueError(f"a correlation takes at least 2 samples, got {n:g}")


def _options(
    d1: int, d2: int, k: int | None, reg: float | tuple[float, float], objective: str
) -> tuple[int, float, float, bool]:
    most = min(d1, d2)
    if k is not None and (not isinstance(k, Integral) or isinstance(k, bool) or not 1 <= k <= most):
        raise ValueError(f"k must be None or an integer from 1 to min(d1, d2) = {most}, got {k!r}")
    r1, r2 = check_reg(reg)
    if objective not in ("trace", "squares"):
        raise ValueError(f"objective must be 'trace' or 'squares', got {objective!r}")
    return (most if k is None else int(k)), r1, r2, objective == "squares"
