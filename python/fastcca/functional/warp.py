"""Stochastic gradient descent on the WARP loss, as in WSABIE."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from fastcca import _core
from fastcca._arguments.arrays import as_matrix, check_same_rows, contiguous, narrowed

__all__ = ["warp_epoch"]


def warp_epoch(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    W: npt.NDArray[Any],
    V: npt.NDArray[Any],
    *,
    learning_rate: float,
    margin: float = 1.0,
    max_norm: float | None = 1.0,
    order: npt.ArrayLike | None = None,
    seed: int = 0,
    positives: Any = None,
) -> tuple[float, int, int]:
    """One epoch of WSABIE's stochastic gradient descent over samples: ``W`` and ``V`` are changed in place.

    The score of class c is f_c = V_c · (W x). A step on a sample (x, y) draws other classes until one
    violates the margin, f_c > f_y - margin, at most as many times as there are, m. Found at draw t, its rank
    is about m/t, and the step goes against the gradient of L(floor(m/t)) (margin - f_y + f_c), with
    L(r) = 1 + 1/2 + ... + 1/r. After each step the columns of W and rows of V that it changed are projected
    to the ball of radius ``max_norm``.

    Parameters
    ----------
    X : array-like of shape (n, p)
        Samples; read in place if of the dtype of W.
    y : array-like of int, shape (n,)
        Their classes: rows of V.
    W : ndarray of shape (d, p)
        Maps samples to the space of the embedding. float32 or float64, in C order, writeable.
    V : ndarray of shape (n_classes, d)
        Embeddings of the classes, likewise.
    learning_rate : float
        Learning rate, > 0.
    margin : float
        m >= 0, by which the score of the sample's class is to exceed the others.
    max_norm : float or None
        Upper bound of the norms of the columns of W and of the rows of V; None: no bound.
    order : array-like of int, optional
        The row of each step; rows may be left out or repeated. By default all rows in their order.
    seed : int
        Seed of the sampling, which depends on it and on the number of the step.
    positives : sparse array or array-like of shape (n, n_classes), optional
        Of samples with several classes: nonzero where a sample has a class, ``y`` among them. None of these
        is drawn for the sample, and m is the number of the others; where there are none the step does
        nothing. By default a sample has the class ``y`` alone.

    Returns
    -------
    loss : float
        The sum over the steps of L(floor(m/t)) (margin - f_y + f_c), each before its step.
    n_updates : int
        The number of steps that found a negative within the margin.
    n_draws : int
        The number of draws.

    Raises
    ------
    ValueError
        For shapes that do not fit, classes or rows out of range, ``positives`` that lack the class ``y`` of a
        sample, NaN or infinity in X (with the position).
    TypeError
        If W or V cannot be changed in place.
    fastcca.errors.NumericalError
        If the steps diverge; W and V are then as they were.

    Notes
    -----
    The steps are sequential, on one thread.

    References
    ----------
    Weston, Bengio & Usunier, "WSABIE: scaling up to large vocabulary image annotation", IJCAI 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import warp_epoch
    >>> rng = np.random.default_rng(0)
    >>> X, y = np.eye(3), np.arange(3)
    >>> W, V = rng.normal(size=(2, 3)) / 2, rng.normal(size=(3, 2)) / 2
    >>> losses = [warp_epoch(X, y, W, V, learning_rate=0.1, max_norm=2, seed=s)[0] for s in range(200)]
    >>> losses[-1] < losses[0], (V @ W).argmax(0)
    (True, array([0, 1, 2]))
    """
    for name, array in (("W", W), ("V", V)):
        if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
            raise TypeError(f"{name} must be a float32 or float64 array, got {_kind(array)}")
        if array.ndim != 2 or array.size == 0:
            raise ValueError(f"{name} must be a 2-d array that is not empty, got shape {array.shape}")
        if not (array.flags.c_contiguous and array.flags.writeable and array.flags.aligned):
            raise TypeError(f"{name} must be in C order and writeable, to be changed in place")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} contains NaN or infinity")
    if W.dtype != V.dtype:
        raise TypeError(f"W and V must be of one dtype, got {W.dtype} and {V.dtype}")
    if np.shares_memory(W, V):
        raise ValueError("W and V must not share memory")
    check_same_rows(X=X, y=y)
    x = narrowed(as_matrix("X", X, vector=True), W.dtype, "X")
    if W.shape != (V.shape[1], x.shape[1]):
        raise ValueError(
            f"W must have shape (columns of V, columns of X) = {(V.shape[1], x.shape[1])}, got {W.shape}"
        )
    labels = _integers("y", y)
    if len(labels) != len(x):
        raise ValueError(f"y must hold one class for each of the {len(x)} rows of X, got {len(labels)}")
    steps = np.arange(len(x)) if order is None else _integers("order", order)
    for name, value in (("learning_rate", learning_rate), ("max_norm", max_norm)):
        if value is None and name == "max_norm":
            continue
        if not isinstance(value, Real) or not 0 < float(value) < math.inf:
            raise ValueError(f"{name} must be finite and above 0, got {value!r}")
    if not isinstance(margin, Real) or not 0 <= float(margin) < math.inf:
        raise ValueError(f"margin must be finite and not negative, got {margin!r}")
    if not isinstance(seed, Integral) or not 0 <= seed < 2**64:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, got {seed!r}")
    starts, own = (None, None) if positives is None else _positives(positives, (len(x), len(V)))
    return _core.warp_epoch(
        x,
        labels,
        steps,
        W,
        V,
        float(learning_rate),
        float(margin),
        float(max_norm or 0.0),
        int(seed),
        starts,
        own,
    )


def _kind(value: Any) -> str:
    return str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__


def _positives(positives: Any, shape: tuple[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where the classes of each sample begin, and the classes, ascending."""
    from scipy.sparse import csr_array  # which the command line does not wait for

    member = csr_array(positives)
    if member.shape != shape:
        raise ValueError(f"positives must have shape (rows of X, rows of V) = {shape}, got {member.shape}")
    if member is positives or not member.has_canonical_format or not member.data.all():
        member = member.copy()
        member.sum_duplicates()
        member.eliminate_zeros()
    return contiguous(member.indptr, np.int64), contiguous(member.indices, np.int64)


def _integers(name: str, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"{name} must hold integers, got {array.dtype} of shape {array.shape}")
    return contiguous(array, np.int64)
