"""Two views whose population canonical correlations and weights are known exactly."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.utils import Bunch, check_random_state

__all__ = ["make_two_views"]


def make_two_views(
    n_samples: int = 1000,
    n_features: tuple[int, int] = (10, 8),
    correlations: Sequence[float] | NDArray[np.floating[Any]] = (0.9, 0.7, 0.5),
    *,
    condition: float | tuple[float, float] = 10.0,
    mean: float | tuple[float, float] = 0.0,
    random_state: int | np.random.RandomState | None = None,
    dtype: DTypeLike = np.float64,
) -> Bunch:
    r"""Draw two Gaussian views with given population canonical correlations.

    Latent pairs :math:`(u_i, v_i)`, standard Gaussian with correlation :math:`\rho_i`, are followed by
    independent standard Gaussian noise up to :math:`p` and :math:`q` variables, and mixed:
    :math:`x = A_x^\top u + m_x`, :math:`y = A_y^\top v + m_y`, where
    :math:`A = Q_1 \operatorname{diag}(s) Q_2^\top` with random orthogonal :math:`Q_1, Q_2` and :math:`s`
    spaced evenly in the logarithm from 1 down to 1/``condition``. CCA is invariant to invertible maps of
    each view, so that the canonical correlations of :math:`(x, y)` are exactly :math:`\rho_i` (then zeros),
    and the weights are the columns of :math:`A_x^{-1}` and :math:`A_y^{-1}`.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows, at least 1.
    n_features : (int, int), default=(10, 8)
        Number of columns of the two views.
    correlations : sequence of float, default=(0.9, 0.7, 0.5)
        The canonical correlations, each in [0, 1], in descending order, at most min(p, q) of them.
    condition : float or (float, float), default=10.0
        Condition number of the mixing of each view, at least 1: the square root of that of its covariance.
    mean : float or (float, float), default=0.0
        Population mean of the columns of each view.
    random_state : int, numpy.random.RandomState or None
        Seed or generator, as in scikit-learn.
    dtype : dtype, default=float64
        float64 or float32 (drawn in float64, then rounded).

    Returns
    -------
    sklearn.utils.Bunch
        ``X``: (n_samples, p) and ``y``: (n_samples, q), the two views; ``correlations``: (k,) float64;
        ``x_weights``: (p, k) and ``y_weights``: (q, k) float64, the population weights, which give
        variates of unit variance; in each column of ``x_weights`` the entry of largest magnitude is
        positive; ``x_covariance``: (p, p) and ``y_covariance``: (q, q) float64, the population
        covariances.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.datasets import make_two_views
    >>> views = make_two_views(100000, (6, 4), (0.8, 0.3), random_state=0)
    >>> u, v = views.X @ views.x_weights, views.y @ views.y_weights
    >>> [round(float(np.corrcoef(u[:, i], v[:, i])[0, 1]), 2) for i in range(2)]
    [0.8, 0.3]
    """
    p, q = n_features
    if n_samples < 1 or p < 1 or q < 1:
        raise ValueError(f"n_samples and n_features must be at least 1, got {n_samples} and {n_features}")
    rho = np.array(correlations, dtype=np.float64)
    if rho.ndim != 1 or not 1 <= len(rho) <= min(p, q):
        raise ValueError(
            f"correlations must be 1 to {min(p, q)} numbers (the smaller of n_features), got {correlations}"
        )
    # Written so that NaN is refused as well.
    if not (np.all(rho >= 0) and np.all(rho <= 1) and np.all(np.diff(rho) <= 0)):
        raise ValueError(f"correlations must lie in [0, 1] in descending order, got {correlations}")
    dtype = np.dtype(dtype)
    if dtype not in (np.float64, np.float32):
        raise ValueError(f"dtype must be float64 or float32, got {dtype}")
    x_condition, y_condition = _pair(condition)
    if not (1 <= x_condition < np.inf and 1 <= y_condition < np.inf):
        raise ValueError(f"condition must be finite and at least 1, got {condition}")
    x_mean, y_mean = _pair(mean)

    rng = check_random_state(random_state)
    x_mixing, x_inverse = _mixing(p, x_condition, rng)
    y_mixing, y_inverse = _mixing(q, y_condition, rng)
    k = len(rho)
    u = rng.standard_normal((n_samples, p))
    v = rng.standard_normal((n_samples, q))
    # v_i = ρ_i u_i + √(1 − ρ_i²) ε_i has unit variance and correlation ρ_i with u_i.
    v[:, :k] = rho * u[:, :k] + np.sqrt(1 - rho**2) * v[:, :k]

    x_weights, y_weights = x_inverse[:, :k], y_inverse[:, :k]
    sign = np.sign(x_weights[np.abs(x_weights).argmax(axis=0), np.arange(k)])
    return Bunch(
        X=_mix(u, x_mixing, x_mean, dtype),
        y=_mix(v, y_mixing, y_mean, dtype),
        correlations=rho,
        x_weights=x_weights * sign,
        y_weights=y_weights * sign,
        x_covariance=x_mixing.T @ x_mixing,
        y_covariance=y_mixing.T @ y_mixing,
    )


def _pair(value: float | tuple[float, float]) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (value, value)


def _mixing(
    size: int, condition: float, rng: np.random.RandomState
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A = Q₁ diag(s) Q₂ᵀ and its inverse Q₂ diag(1/s) Q₁ᵀ."""
    left, right = (np.linalg.qr(rng.standard_normal((size, size)))[0] for _ in range(2))
    scale = np.geomspace(1, 1 / condition, size)
    return (left * scale) @ right.T, (right / scale) @ left.T


def _mix(latent: NDArray[Any], mixing: NDArray[Any], mean: float, dtype: Any) -> NDArray[Any]:
    views: NDArray[Any] = latent @ mixing + mean
    return views.astype(dtype, copy=False)
