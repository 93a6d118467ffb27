"""Losses with closed-form gradients: the correlation loss of Deep CCA.

:func:`correlation_loss` works in three steps, of which the second needs no data: moments, coefficients,
gradients. Workers that hold parts of one batch add their :class:`~fastcca.Moments` between the first and
the second.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastcca import _core
from fastcca._arguments.arrays import (
    as_matrix,
    check_same_length,
    check_same_rows,
    common_float,
    contiguous,
    refuse_non_finite,
)
from fastcca._arguments.parameters import N_COMPONENTS, RIDGES, at_most, choice, thread_count
from fastcca._arguments.warn import warn
from fastcca.functional._docs import documented
from fastcca.functional.moments import Moments

__all__ = ["correlation_coefficients", "correlation_factor", "correlation_gradients", "correlation_loss"]

Array = npt.NDArray[Any]
Objective = Literal["trace_norm", "frobenius"]

OBJECTIVE = choice("trace_norm", "frobenius")


@documented
def correlation_loss(
    H1: npt.ArrayLike,
    H2: npt.ArrayLike,
    n_components: int | None = None,
    reg: float | tuple[float, float] = 1e-4,
    objective: Objective = "trace_norm",
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> tuple[float, Array | None, Array | None]:
    """Negative total correlation of two views, with its gradients.

    With the centred views' regularised covariances S11, S22 and the cross-covariance S12,
    T = S11^(-1/2) S12 S22^(-1/2) and its k = ``n_components`` largest singular values D, the loss is
    -(D_1 + ... + D_k), or -(D_1² + ... + D_k²) for ``objective="frobenius"``.

    Parameters
    ----------
    H1 : array-like of shape (m, d1)
    H2 : array-like of shape (m, d2)
        The two views of m >= 2 samples. float32 and float64 arrays are read in place.
    n_components : int, optional
        Number of correlations to sum, 1 to min(d1, d2); by default all.
    reg : float or (float, float)
        Added to the diagonal of S11 and S22, in the units of the views' variances; not negative. With 0 the
        covariances must be of full rank (constant columns are set aside).
    objective : {"trace_norm", "frobenius"}
        The trace norm of T (Andrew et al.), the sum of the correlations, or its squared Frobenius norm, the
        sum of their squares.
    {gradient_and_threads}

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
        columns, n_components out of range, a negative reg.
    fastcca.errors.NumericalError
        If a covariance is not positive definite (the message names the view and a reg that helps), or the
        gradient overflows the dtype.

    Notes
    -----
    For all k the gradient is W1 (W2'H2 - D W1'H1) / (m - 1) with W1 = S11^(-1/2) U, W2 = S22^(-1/2) V.
    Where all correlations are summed it takes the polar factor of T in place of its singular vectors, so
    that repeated singular values do no harm. Where the loss has no gradient (a singular value of 0 under
    "trace_norm") the subgradient of least norm is returned: directions that the outputs lack take no part.
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
    options = checked_options(a.shape[1], b.shape[1], n_components, reg, objective)
    return _core.correlation_loss(a, b, *options, gradient, thread_count(n_threads))


def correlation_coefficients(
    moments: Moments,
    n_components: int | None = None,
    reg: float | tuple[float, float] = 1e-4,
    objective: Objective = "trace_norm",
    *,
    factor: npt.ArrayLike | None = None,
    n_threads: int | None = None,
) -> tuple[float, npt.NDArray[np.float64]]:
    """The correlation loss from the moments of two views, and the matrix its gradients are linear in.

    Parameters
    ----------
    moments : Moments
        Of two views and at least 2 rows.
    n_components, reg, objective, n_threads
        As in :func:`correlation_loss`.
    factor : array-like of shape (r, d1 + d2), optional
        R factors of the parts (:func:`correlation_factor`), stacked. They are used where the moments are not
        accurate enough: the result is then as accurate as that of :func:`correlation_loss`. The moments of
        float32 data must have been updated with ``dtype=numpy.float64``.

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
        than half of its digits, and there is no ``factor``.

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
    if factor is not None:
        factor = as_matrix("factor", factor).astype(np.float64, copy=False)
        if factor.shape[1] != sum(moments.dims):
            raise ValueError(f"factor must have {sum(moments.dims)} columns, got shape {factor.shape}")
        refuse_non_finite("factor", factor)
        if moments.rounding.size and moments.rounding.max() > np.finfo(np.float32).eps / 2:
            raise ValueError(
                "a factor needs moments of products in float64: update(..., dtype=numpy.float64)"
            )
    value, A, precision, _ = coefficients(moments, n_components, reg, objective, factor, n_threads)
    rounding = float(moments.rounding.max())
    if precision > math.sqrt(rounding):
        single = rounding > 2 * np.finfo(np.float64).eps
        warn(
            f"the moments are known to {rounding:.0e} of the variances, so that with covariances this "
            f"ill-conditioned (reg={reg!r}) the loss may be off by {min(precision, 1.0):.0e} of its value: "
            + ("update them with dtype=numpy.float64, " if single else "")
            + "take a larger reg, or pass a factor"
        )
    return value, A


def coefficients(
    moments: Moments,
    n_components: int | None,
    reg: float | tuple[float, float],
    objective: str,
    factor: npt.NDArray[np.float64] | None = None,
    n_threads: int | None = None,
) -> tuple[float, npt.NDArray[np.float64], float, bool]:
    """The value and A, their relative error from moments, and whether Cholesky factors served."""
    if len(moments.dims) != 2:
        raise ValueError(f"moments must be of two views, got {len(moments.dims)}")
    if 0 in moments.dims:
        raise ValueError(f"moments must be of views that have columns, got {moments.dims}")
    _check_rows(moments.n)
    return _core.correlation_coefficients(
        moments.n,
        moments.mean,
        moments.scatter,
        moments.dims[0],
        *checked_options(*moments.dims, n_components, reg, objective),
        float(moments.eps.max()),
        float(moments.rounding.max()),
        factor,
        thread_count(n_threads),
    )


def correlation_factor(
    H1: npt.ArrayLike, H2: npt.ArrayLike, mean: npt.ArrayLike, *, n_threads: int | None = None
) -> npt.NDArray[np.float64]:
    """R of a QR factorisation of rows of two views, less the mean: for :func:`correlation_coefficients`.

    R'R is the part of these rows in the scatter about ``mean``. R holds directions of a variance so small
    that their squares are lost in moments.

    Parameters
    ----------
    H1 : array-like of shape (m, d1)
    H2 : array-like of shape (m, d2)
        Some or all of the rows.
    mean : array-like of shape (d1 + d2,)
        The means of the whole.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. The result does not depend on it.

    Returns
    -------
    ndarray of shape (min(m, d1 + d2), d1 + d2)
        In float64.

    Raises
    ------
    ValueError
        For NaN or infinity (with the first position), shapes that do not fit.

    Examples
    --------
    Two views with a shared direction whose variance is lost next to 1:

    >>> import numpy as np
    >>> from fastcca import Moments
    >>> from fastcca.functional import correlation_coefficients, correlation_factor
    >>> rng = np.random.default_rng(0)
    >>> a, b, tiny = rng.normal(size=(3, 100, 1))
    >>> H1, H2 = np.hstack([a, a + 1e-9 * tiny]), np.hstack([b, b + 1e-9 * tiny])
    >>> moments = Moments().update(H1[:60], H2[:60]) + Moments().update(H1[60:], H2[60:])
    >>> R = [correlation_factor(H1[part], H2[part], moments.mean) for part in (slice(60), slice(60, 100))]
    >>> value, A = correlation_coefficients(moments, 1, reg=0, factor=np.vstack(R))
    >>> round(value, 4)
    -1.0
    """
    a, b = _views(H1, H2, least=0)
    mu = np.asarray(mean, dtype=np.float64)
    d = a.shape[1] + b.shape[1]
    if mu.shape != (d,):
        raise ValueError(f"mean must have shape {(d,)}, got {mu.shape}")
    for name, view in (("H1", a), ("H2", b), ("mean", mu[np.newaxis])):
        refuse_non_finite(name, view)
    return _core.correlation_factor(a, b, mu, thread_count(n_threads))


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
        If a gradient overflows the dtype.

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
    return _core.correlation_gradients(a, b, mean, A, thread_count(n_threads))


def _views(H1: npt.ArrayLike, H2: npt.ArrayLike, least: int = 2) -> list[Array]:
    check_same_rows(H1=H1, H2=H2)
    views = [as_matrix("H1", H1, vector=True), as_matrix("H2", H2, vector=True)]
    check_same_length(H1=views[0], H2=views[1])
    if least:
        _check_rows(len(views[0]))
    return common_float(views)


def _check_rows(n: float) -> None:
    if n < 2:
        raise ValueError(f"a correlation takes at least 2 samples, got {n:g}")


def checked_options(
    d1: int, d2: int, n_components: int | None, reg: float | tuple[float, float], objective: str
) -> tuple[int, float, float, bool]:
    """What the core takes: the number of components, both ridges, whether the correlations are squared."""
    most = min(d1, d2)
    k = N_COMPONENTS("n_components", n_components)
    if k is not None:
        at_most("n_components", k, most, f"min(d1, d2) = {most}, the widths of H1 and H2")
    r1, r2 = RIDGES("reg", reg)
    OBJECTIVE("objective", objective)
    return (most if k is None else k), r1, r2, objective == "frobenius"
