"""Kernels that are given as matrices, ``kernel="precomputed"``: kernels of the numbers of their rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.parameters import Constraint, choice
from fastcca._models.statistics import Weights
from fastcca.errors import NumericalError
from fastcca.functional.kernels import KERNEL, KERNELS, Kernel, landmark_factor

__all__ = [
    "KERNEL_OR_PRECOMPUTED",
    "PRECOMPUTED",
    "PrecomputedKernel",
    "bound",
    "check_precomputed",
    "feature_variance",
    "is_precomputed",
    "row_numbers",
]

Array = NDArray[Any]

PRECOMPUTED = "precomputed"
KERNEL_OR_PRECOMPUTED = Constraint(
    f"{choice(*KERNELS, PRECOMPUTED).expected} or a callable",
    lambda value: KERNEL.accepts(value) or (isinstance(value, str) and value == PRECOMPUTED),
)

# What a matrix may differ from its transpose by, relative to its largest entry, and what its eigenvalues may
# be below zero, relative to its trace; more in float32.
SLACK = 1e-8
MOST_ROWS = 2000  # whose eigenvalues are looked at: of more, so many that are evenly spaced
_BLOCK = 2**20


class PrecomputedKernel:
    """k(i, j) = K[i, j] of row numbers, which stand in the place of the rows.

    Before the fit it has no matrix yet.
    """

    def __init__(self, K: Array | None = None) -> None:
        # symmetric: the transpose of one in F order has its rows in one piece
        self.K: Any = K if K is None or K.flags.c_contiguous else K.T

    def __call__(self, A: Array, B: Array) -> Array:
        rows, columns = (part[:, 0].astype(np.intp) for part in (A, B))
        if len(rows) > len(columns):  # few whole rows in the place of parts of many
            return np.asarray(self.K[np.ix_(columns, rows)].T)
        return np.asarray(self.K[np.ix_(rows, columns)])

    def diag(self, A: Array) -> Array:
        return np.asarray(self.K.diagonal()[A[:, 0].astype(np.intp)])

    def __repr__(self) -> str:
        return repr(PRECOMPUTED)


def is_precomputed(kernel: Any) -> bool:
    """Of a parameter or of a :class:`Kernel`."""
    kind = kernel.kernel if isinstance(kernel, Kernel) else kernel
    return isinstance(kind, PrecomputedKernel) or (isinstance(kind, str) and kind == PRECOMPUTED)


def bound(kernel: Kernel, data: Array) -> Kernel:
    """The kernel with its matrix, where it is precomputed."""
    return replace(kernel, kernel=PrecomputedKernel(data)) if is_precomputed(kernel) else kernel


def row_numbers(kernel: Kernel, data: Array) -> Array:
    """Row numbers in the place of the rows of a precomputed kernel, in its dtype; else the rows."""
    return np.arange(len(data), dtype=data.dtype)[:, np.newaxis] if is_precomputed(kernel) else data


def check_precomputed(name: str, K: Array, n_threads: int | None) -> None:
    """Refuse a finite matrix that is no kernel.

    Raises
    ------
    ValueError
        If it is not square or not symmetric.
    NumericalError
        If it is not positive semidefinite, as far as up to 2000 of its rows tell.
    """
    n = len(K)
    if K.shape[1] != n:
        raise ValueError(
            f"the precomputed kernel of {name} must be square, its values between all rows, got shape "
            f"{K.shape}"
        )
    slack = max(SLACK, 100 * float(np.finfo(K.dtype).eps))
    largest = apart = 0.0
    step = max(1, _BLOCK // n)
    for start in range(0, n, step):
        rows = K[start : start + step, start:]
        largest = max(largest, float(np.abs(rows).max()))
        apart = max(apart, float(np.abs(rows - K[start:, start : start + step].T).max()))
    if apart > slack * largest:
        raise ValueError(
            f"the precomputed kernel of {name} must be symmetric: entries differ from those across the "
            f"diagonal by up to {apart:.3g}. Take (K + K.T) / 2 if they should not"
        )
    some = np.linspace(0, n - 1, min(n, MOST_ROWS)).astype(np.intp)
    part = K[np.ix_(some, some)].astype(np.float64)
    shifted = part.copy()
    shifted[np.diag_indices_from(part)] += slack * max(float(part.trace()), np.finfo(np.float64).tiny)
    if landmark_factor(shifted, n_threads)[1] < 0:
        return
    values = np.linalg.eigvalsh(part)
    of = "its eigenvalues" if len(some) == n else f"the eigenvalues of {len(some)} of its rows"
    raise NumericalError(
        f"the precomputed kernel of {name} is not positive semidefinite: {of} go from {values[0]:.3g} to "
        f"{values[-1]:.3g}. Add what is missing to its diagonal, or take another kernel"
    )


def feature_variance(K: Array, weights: Weights) -> float:
    """The variance of all features of a kernel together: the trace of the centred matrix over n - 1."""
    w = np.ones(len(K)) if weights is None else weights
    n = float(w.sum())
    whole = float(w @ K.diagonal().astype(np.float64))
    return (whole - float(w @ (K @ w.astype(K.dtype)).astype(np.float64)) / n) / (n - 1)
