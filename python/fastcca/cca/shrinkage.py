"""Covariances shrunk towards a multiple of the identity: between CCA and partial least squares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.parameters import Constraint, number, real_pair
from fastcca.functional.moments import Moments, from_parts

__all__ = ["ESTIMATED", "SHRINKAGE", "ledoit_wolf", "oracle_approximating", "shrunk_moments"]

Floats = NDArray[np.float64]
ESTIMATED = ("ledoit-wolf", "oas")


_UNIT = number(0, 1)
SHRINKAGE = real_pair(
    Constraint(
        "a number in [0, 1], 'ledoit-wolf', 'oas'",
        lambda value: _UNIT.accepts(value) or (isinstance(value, str) and value in ESTIMATED),
        lambda value: value if isinstance(value, str) else float(value),
    )
).or_none


def oracle_approximating(trace: float, squares: float, n: float, p: int) -> float:
    """The oracle approximating shrinkage of a covariance S (over n): from tr S, tr S² and the number of rows.

    Y. Chen, A. Wiesel, Y. C. Eldar and A. O. Hero, "Shrinkage algorithms for MMSE covariance estimation",
    IEEE Transactions on Signal Processing 58, 2010; without the terms 2/p, as scikit-learn has it.
    """
    above = squares + trace**2
    below = (n + 1) * (squares - trace**2 / p)
    return 1.0 if below <= 0 else float(min(above / below, 1.0))


def ledoit_wolf(trace: float, squares: float, fourth: float, n: float, p: int) -> float:
    """The shrinkage of Ledoit and Wolf of a covariance S (over n).

    From tr S, tr S², the mean fourth power of the norms of the centred rows, and the number of rows.

    O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal
    of Multivariate Analysis 88, 2004.
    """
    variation = squares - trace**2 / p
    noise = min((fourth - squares) / n, variation)
    return float(noise / variation) if noise > 0 else 0.0


def shrunk_moments(moments: Moments, shrinkage: tuple[float, float]) -> tuple[Moments, float]:
    """Moments whose covariances are (1 − τ) S_ii + τ μ_i I, and the factor by which S_12 is reduced.

    μ is the mean variance of the columns of a view that vary. Since the shrunk covariance is at least
    max(1 − τ, τ / p) S_ii, singular values beyond 1 are kept below it by that factor.
    """
    scatter = moments.scatter.copy()
    varying = ~moments.constant
    factor = 1.0
    for s, tau in zip(moments.slices, shrinkage, strict=True):
        kept = np.flatnonzero(varying[s]) + s.start
        mean = scatter[kept, kept].mean() if len(kept) else 0.0
        scatter[s, s] *= 1 - tau
        scatter[kept, kept] += tau * mean
        factor *= np.sqrt(max(1 - tau, tau / max(1, len(kept))))
    sx, sy = moments.slices
    scatter[sx, sy] *= factor
    scatter[sy, sx] *= factor
    shrunk = from_parts(
        moments.dims,
        moments.eps,
        moments.n,
        moments.shift,
        moments.offset,
        scatter,
        rounding=moments.rounding,
    )
    return shrunk, factor
