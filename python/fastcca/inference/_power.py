"""How many rows it takes: power and the errors of a CCA, from Wishart matrices in the place of data."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from fastcca._arguments.parameters import POSITIVE_INTEGER, choice, integer
from fastcca._models.correlation_tests import sequential_wilks
from fastcca.inference._model import check_resamples

__all__ = ["PowerAnalysis", "power", "sample_size"]

Floats = NDArray[np.float64]

_NUMBERS = 2**21  # of the simulated matrices held at a time
_NULL = 10_000  # simulations behind a critical value
_MOST_ROWS = 10**9


@dataclass(frozen=True)
class PowerAnalysis:
    """What :func:`power` found, for the k pairs whose correlations were given.

    Attributes
    ----------
    power : ndarray of shape (k,)
        Probability that a test of level ``alpha`` finds the pair and those before it.
    correlations : ndarray of shape (n_simulations, k)
        Training correlations of the samples: too high, where rows are few.
    held_out : ndarray of shape (n_simulations, k)
        Correlation in the population of the variates that the sample found: what new rows will show.
    x_similarity, y_similarity : ndarray of shape (n_simulations, k)
        Absolute correlation in the population of the sample's variates with the true ones.
    """

    power: Floats
    correlations: Floats
    held_out: Floats
    x_similarity: Floats
    y_similarity: Floats


def power(
    correlations: ArrayLike,
    n_samples: int,
    n_features_x: int,
    n_features_y: int,
    *,
    test: Literal["wilks", "roy"] = "wilks",
    alpha: float = 0.05,
    n_confounds: int = 0,
    n_simulations: int = 1000,
    random_state: Any = None,
) -> PowerAnalysis:
    r"""Power of the tests of a CCA of Gaussian data, and how far its results are from the population's.

    Sample covariances are drawn as such (Wishart matrices by Bartlett's decomposition), not from rows, so
    that the number of rows costs nothing. Without a ridge nothing depends on how the columns of a view
    correlate with one another.

    Parameters
    ----------
    correlations : array_like of shape (k,)
        The population's correlations in descending order, those that are not zero; k at most min(p, q).
    n_samples : int
        Rows, at least p + q + 1, and one more for each confound.
    n_features_x, n_features_y : int
        Columns p and q.
    test : {"wilks", "roy"}, default="wilks"
        :func:`wilks_test`, or the largest correlation of what is left, as in :func:`permutation_test`: with
        the distribution that it has where nothing is left.
    alpha : float, default=0.05
        Level of the test.
    n_confounds : int, default=0
        Confounds that are taken out of both views.
    n_simulations : int, default=1000
        Samples. The standard error of the power is at most :math:`0.5 / \sqrt{n}`.
    random_state : int, RandomState or None
        Of the samples.

    Returns
    -------
    PowerAnalysis

    Raises
    ------
    ValueError
        For correlations that are not between 0 and 1, in descending order or too many, and too few rows.

    See Also
    --------
    sample_size : The other way round.

    References
    ----------
    M. S. Bartlett, "On the theory of statistical regression", Proceedings of the Royal Society of Edinburgh
    53, 1933.

    M. Helmer et al., "On the stability of canonical correlation analysis and partial least squares with
    application to brain-behavior associations", Communications Biology 7, 2024.

    Examples
    --------
    >>> from fastcca.inference import power
    >>> found = power([0.3], 200, 20, 10, random_state=0)
    >>> bool(found.power[0] < 0.5 and found.correlations.mean() > 0.4 and found.held_out.mean() < 0.2)
    True
    """
    rho = _population(correlations, n_features_x, n_features_y)
    p, q = int(n_features_x), int(n_features_y)
    n_confounds, n_simulations = _check_test(test, alpha, n_confounds, n_simulations)
    least = p + q + 1 + n_confounds
    n = int(integer(least, _MOST_ROWS)("n_samples", n_samples)) - n_confounds
    return _analysis(rho, n, p, q, test, alpha, n_simulations, check_random_state(random_state))


def _analysis(
    rho: Floats, n: int, p: int, q: int, test: str, alpha: float, count: int, rng: np.random.RandomState
) -> PowerAnalysis:
    k = len(rho)
    found = _samples(rho, n, p, q, count, rng)
    if test == "wilks":
        significant = sequential_wilks(found.every, n, p, q).p_value[:, :k] <= alpha
    else:
        critical = [
            np.quantile(_samples(rho[:0], n - j, p - j, q - j, _NULL, rng).every[:, 0], 1 - alpha)
            for j in range(k)
        ]
        significant = found.every[:, :k] > critical
    probability = np.logical_and.accumulate(significant, axis=1).mean(axis=0)
    return PowerAnalysis(
        probability, found.every[:, :k], found.held_out, found.x_similarity, found.y_similarity
    )


def sample_size(
    correlations: ArrayLike,
    n_features_x: int,
    n_features_y: int,
    *,
    power: float | None = 0.9,
    similarity: float | None = None,
    correlation_error: float | None = None,
    component: int = 0,
    test: Literal["wilks", "roy"] = "wilks",
    alpha: float = 0.05,
    n_confounds: int = 0,
    n_simulations: int = 1000,
    random_state: Any = None,
) -> int:
    """The least number of rows with which a CCA of Gaussian data finds a pair, and finds it well enough.

    Parameters
    ----------
    correlations, n_features_x, n_features_y, test, alpha, n_confounds, n_simulations
        As for :func:`power`.
    power : float or None, default=0.9
        At least this probability of finding the pair and those before it.
    similarity : float or None, default=None
        At least this mean absolute correlation of the variates found with the true ones, in both views.
    correlation_error : float or None, default=None
        At most this mean relative error of the training correlation.
    component : int, default=0
        Which of the pairs, from 0.
    random_state : int or None
        Of the samples; the same for every number of rows that is tried.

    Returns
    -------
    int
        Up to the error of the simulation.

    Raises
    ------
    ValueError
        As :func:`power`; if nothing is asked for, or no number of rows up to a billion is enough.

    Examples
    --------
    >>> from fastcca.inference import sample_size
    >>> few = sample_size([0.5], 10, 10, test="roy", random_state=0)
    >>> many = sample_size([0.5], 10, 10, similarity=0.95, random_state=0)
    >>> 100 < few < 180 < many
    True
    """
    rho = _population(correlations, n_features_x, n_features_y)
    n_confounds, n_simulations = _check_test(test, alpha, n_confounds, n_simulations)
    wanted = {"power": power, "similarity": similarity, "correlation_error": correlation_error}
    if all(value is None for value in wanted.values()):
        raise ValueError("give power, similarity or correlation_error: what the rows are to be enough for")
    for name, value in wanted.items():
        if value is not None:
            _between(name, value)
    integer(0)("component", component)
    if component >= len(rho):
        raise ValueError(f"component must be below {len(rho)}, the number of correlations, got {component}")
    if random_state is not None and not isinstance(random_state, (int, np.integer)):
        raise ValueError(f"random_state must be an integer or None, got {random_state!r}")
    seed = np.random.RandomState().randint(2**31) if random_state is None else int(random_state)

    p, q = int(n_features_x), int(n_features_y)

    def enough(n: int) -> bool:
        rng = check_random_state(seed)
        found = _analysis(rho, n - n_confounds, p, q, test, alpha, n_simulations, rng)
        likeness = min(found.x_similarity[:, component].mean(), found.y_similarity[:, component].mean())
        error = np.abs(found.correlations[:, component] / rho[component] - 1).mean()
        return bool(
            (power is None or found.power[component] >= power)
            and (similarity is None or likeness >= similarity)
            and (correlation_error is None or error <= correlation_error)
        )

    low = p + q + 1 + n_confounds
    if low > _MOST_ROWS:
        raise ValueError(
            f"that many columns and confounds ask for {low} rows at least, more than {_MOST_ROWS}"
        )
    if enough(low):
        return low
    high = 2 * low
    while not enough(high):
        low, high = high, 2 * high
        if high > _MOST_ROWS:
            raise ValueError(f"not even {low} rows are enough")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class _Samples:
    every: Floats  # (b, min(p, q))
    held_out: Floats  # (b, k)
    x_similarity: Floats
    y_similarity: Floats


def _samples(rho: Floats, n: int, p: int, q: int, count: int, rng: np.random.RandomState) -> _Samples:
    """CCA of Gaussian samples of canonical variates u, and y = ρ u + √(1 - ρ²) e.

    With A of Bartlett, A A' the scatter of (u, e), rows of A' are such variables in n - 1 orthogonal
    coordinates, of which u has the first p. There y is G = (G₁, G₂), and the tangents of the angles between
    both views are the singular values of G₁G₂⁻¹.
    """
    k, d = len(rho), p + q
    parts = []
    size = max(1, _NUMBERS // d**2)
    cosine = np.zeros((p, q))
    cosine[range(k), range(k)] = rho
    sine = np.ones(q)
    sine[:k] = np.sqrt(1 - rho**2)
    for start in range(0, count, size):
        b = min(size, count - start)
        A = np.tril(rng.standard_normal((b, d, d)), -1)
        A[:, range(d), range(d)] = np.sqrt(rng.chisquare(n - 1 - np.arange(d), size=(b, d)))
        C = np.swapaxes(A, 1, 2)
        G1 = C[:, :p, :p] @ cosine + C[:, :p, p:] * sine
        G2 = C[:, p:, p:] * sine
        K = np.swapaxes(np.linalg.solve(np.swapaxes(G2, 1, 2), np.swapaxes(G1, 1, 2)), 1, 2)
        if not k:
            tangent = np.linalg.svd(K, compute_uv=False)
            empty = np.empty((b, 0))
            parts.append((tangent / np.sqrt(1 + tangent**2), empty, empty, empty))
            continue
        L, tangent, Rt = np.linalg.svd(K, full_matrices=False)
        x = np.linalg.solve(C[:, :p, :p], L[:, :, :k])
        y = np.linalg.solve(G2, np.swapaxes(Rt, 1, 2)[:, :, :k])
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        y /= np.linalg.norm(y, axis=1, keepdims=True)
        held_out = np.einsum("bik,i,bik->bk", x[:, :k], rho, y[:, :k])
        j = np.arange(k)
        parts.append((tangent / np.sqrt(1 + tangent**2), held_out, np.abs(x[:, j, j]), np.abs(y[:, j, j])))
    return _Samples(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _population(correlations: ArrayLike, p: Any, q: Any) -> Floats:
    most = min(POSITIVE_INTEGER("n_features_x", p), POSITIVE_INTEGER("n_features_y", q))
    rho = np.atleast_1d(np.asarray(correlations, dtype=np.float64))
    if rho.ndim != 1 or not 1 <= len(rho) <= most:
        raise ValueError(f"correlations must be 1 to min(p, q) = {most} numbers, got shape {rho.shape}")
    if not np.all((rho > 0) & (rho < 1)):
        raise ValueError(f"correlations must lie between 0 and 1, got {rho.tolist()}")
    if np.any(np.diff(rho) > 0):
        raise ValueError(f"correlations must be in descending order, got {rho.tolist()}")
    return rho


def _check_test(test: Any, alpha: Any, n_confounds: Any, n_simulations: Any) -> tuple[int, int]:
    """Both numbers as Python's, which cannot overflow."""
    choice("wilks", "roy")("test", test)
    _between("alpha", alpha)
    return integer(0)("n_confounds", n_confounds), check_resamples("n_simulations", n_simulations)


def _between(name: str, value: Any) -> None:
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < 1:
        raise ValueError(f"{name} must be a number between 0 and 1, got {value!r}")
