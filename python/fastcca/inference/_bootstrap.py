"""The bootstrap of correlations and loadings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone
from sklearn.utils import check_random_state

from fastcca._linear import LinearTwoView
from fastcca._validation import as_matrix, check_count, check_same_rows
from fastcca.functional.moments import Moments

__all__ = ["BootstrapResult", "bootstrap"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BootstrapResult:
    """What :func:`bootstrap` found: for each quantity its standard error and its confidence interval.

    Attributes
    ----------
    canonical_correlations : ndarray of shape (n_bootstrap, k)
    x_loadings, y_loadings : ndarray of shape (n_bootstrap, p, k), (n_bootstrap, q, k)
        Of each resample, its components matched with those of the data.
    confidence : float
        Coverage of :meth:`interval`.
    """

    canonical_correlations: Floats
    x_loadings: Floats
    y_loadings: Floats
    confidence: float

    def interval(self, name: str = "canonical_correlations") -> tuple[Floats, Floats]:
        """Lower and upper ends of the percentile interval of the attribute ``name``."""
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(getattr(self, name), [tail, 1 - tail], axis=0)
        return low, high

    def standard_error(self, name: str = "canonical_correlations") -> Floats:
        """Standard deviation of the attribute ``name`` over the resamples."""
        error: Floats = getattr(self, name).std(axis=0, ddof=1)
        return error


def bootstrap(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    n_bootstrap: int = 200,
    confidence: float = 0.95,
    random_state: Any = None,
) -> BootstrapResult:
    """Bootstrap of the correlations and loadings of a linear CCA.

    Rows are drawn with replacement, as pairs; a row drawn m times gets weight m, so that nothing is copied.
    The components of a resample come in another order and with other signs: each is matched with the
    component of the data whose x variates it correlates with the most.

    Training correlations are biased upwards, the more so in resamples, which repeat rows: the
    intervals show how stable they are, not what they would be on new data.

    Parameters
    ----------
    estimator : CCA
        Its parameters are those of every fit.
    X : array_like of shape (n, p)
    y : array_like of shape (n, q) or (n,)
        The two views.
    n_bootstrap : int
        Resamples, at least 2.
    confidence : float
        Coverage of the intervals, between 0 and 1.
    random_state : int, RandomState or None
        Of the draws.

    Returns
    -------
    BootstrapResult

    Raises
    ------
    TypeError
        For an estimator that is no CCA.
    ValueError
        For fewer than two resamples, a confidence outside (0, 1), and what ``fit`` refuses.

    References
    ----------
    Efron & Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall 1993.

    Examples
    --------
    >>> from fastcca import CCA
    >>> from fastcca.datasets import make_two_views
    >>> from fastcca.inference import bootstrap
    >>> views = make_two_views(500, (4, 3), correlations=[0.8], random_state=0)
    >>> found = bootstrap(CCA(n_components=1), views.X, views.y, random_state=0)
    >>> low, high = found.interval()
    >>> bool(low[0] < 0.8 < high[0])
    True
    """
    if not isinstance(estimator, LinearTwoView):
        raise TypeError(f"estimator must be a CCA or CCACV, got {type(estimator).__name__}")
    check_count("n_bootstrap", n_bootstrap, low=2)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    check_same_rows(X=X, y=y)
    a, b = (as_matrix(n, v, vector=n == "y", min_rows=2, complete=True) for n, v in (("X", X), ("y", y)))
    whole = clone(estimator).fit(a, b)
    k = whole.n_components_
    moments = Moments().update(a, b)
    covariance = moments.covariance(0, 0)
    rng = check_random_state(random_state)
    parts: dict[str, list[Floats]] = {
        name: [] for name in ("canonical_correlations", "x_loadings", "y_loadings")
    }
    for _ in range(n_bootstrap):
        counts = rng.multinomial(len(a), np.full(len(a), 1 / len(a))).astype(np.float64)
        again = clone(estimator).fit(a, b, sample_weight=counts)
        # correlations of the x variates of both fits, over all rows
        between = whole.x_weights_.T @ covariance @ again.x_weights_
        spread = np.sqrt(np.einsum("ij,ik,kj->j", again.x_weights_, covariance, again.x_weights_))
        between = between / np.where(spread > 0, spread, 1)
        mine, theirs = linear_sum_assignment(-np.abs(between))
        sign = np.where(between[mine, theirs] < 0, -1.0, 1.0)
        for name in parts:
            values = np.asarray(getattr(again, f"{name}_"), dtype=np.float64)[..., theirs]
            kept = np.full((*values.shape[:-1], k), np.nan)
            kept[..., mine] = values if values.ndim == 1 else values * sign
            parts[name].append(kept)
    stacked = {name: np.stack(values) for name, values in parts.items()}
    return BootstrapResult(confidence=confidence, **stacked)
