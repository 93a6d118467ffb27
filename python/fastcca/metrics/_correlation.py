"""Correlation of paired columns: how well the scores of two views agree."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._arguments.arrays import as_weights, check_same_rows
from fastcca.metrics._pairs import pair

__all__ = ["column_correlations", "total_correlation"]


def total_correlation(
    Zx: ArrayLike, Zy: ArrayLike, k: int | None = None, *, sample_weight: ArrayLike | None = None
) -> float:
    r"""Sum of the Pearson correlations of the first ``k`` column pairs.

    On held-out data this is the measure by which CCA, kernel CCA and Deep CCA are compared: the
    projections and their order come from the training data, the correlations from the held-out rows.

    Parameters
    ----------
    Zx, Zy : array_like of shape (n, K)
        Scores of the two views, one row a sample; column i of one is paired with column i of the other.
    k : int, optional
        How many of the leading columns count; all by default.
    sample_weight : array_like of shape (n,), optional
        Weights count as repetitions of a row.

    Returns
    -------
    float
        Between -k and k. A column that is constant (to rounding) counts 0.

    Raises
    ------
    ValueError
        For different shapes, fewer than two rows, ``k`` outside 1 … K, NaN or infinity.

    References
    ----------
    Andrew, Arora, Bilmes, Livescu, "Deep canonical correlation analysis", ICML 2013, section 5.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.metrics import total_correlation
    >>> Z = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]])
    >>> round(total_correlation(Z, Z * [2.0, 1.0]), 12)
    2.0
    >>> round(total_correlation(Z, Z * [2.0, -1.0], k=1), 12)
    1.0
    """
    check_same_rows(Zx=Zx, Zy=Zy, sample_weight=sample_weight)
    return float(column_correlations(*pair(Zx, Zy, k), sample_weight=sample_weight).sum())


def column_correlations(
    Zx: ArrayLike, Zy: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Pearson correlation of each column of ``Zx`` with the same column of ``Zy``.

    Parameters
    ----------
    Zx, Zy : array_like of shape (n, k)
        Scores of the two views, one row a sample.
    sample_weight : array_like of shape (n,), optional
        Weights count as repetitions of a row.

    Returns
    -------
    ndarray of shape (k,)
        Between -1 and 1; 0 where a column is constant (to rounding).

    Raises
    ------
    ValueError
        For different shapes, fewer than two rows, NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.metrics import column_correlations
    >>> Z = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]])
    >>> column_correlations(Z, Z * [2.0, -1.0])
    array([ 1., -1.])
    """
    check_same_rows(Zx=Zx, Zy=Zy, sample_weight=sample_weight)
    zx, zy = pair(Zx, Zy, min_rows=2)
    w = as_weights(sample_weight, len(zx), more_than=0.0)
    if w is not None:
        counted = w > 0
        zx, zy, w = zx[counted], zy[counted], w[counted]
    (x, sx), (y, sy) = (_standard(z, w) for z in (zx, zy))
    products = np.einsum("ij,ij->j" if w is None else "ij,ij,i->j", *((x, y) if w is None else (x, y, w)))
    scale = sx * sy
    out: NDArray[np.float64] = np.divide(products, scale, out=np.zeros_like(scale), where=scale > 0)
    out.clip(-1.0, 1.0, out=out)  # rounding may carry a perfect correlation past 1
    return out


def _standard(
    z: NDArray[Any], w: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centred columns in units of their own and their norms, 0 where the spread is rounding error alone."""
    largest = np.abs(z).max(axis=0).astype(np.float64)
    # first to values below 1, whose sums and squares neither overflow nor vanish; a power of 2 rounds nothing
    scaled, exponent = np.frexp(largest)
    rounding = 16 * np.finfo(z.dtype).eps * scaled
    z = np.ldexp(z.astype(np.float64), -exponent)
    z -= np.average(z, axis=0, weights=w)
    norm = np.sqrt(np.einsum("ij,ij->j", z, z) if w is None else np.einsum("ij,ij,i->j", z, z, w))
    n = len(z) if w is None else w.sum()
    return z, np.where(norm > rounding * np.sqrt(n), norm, 0.0)
