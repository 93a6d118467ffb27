"""How well two views agree: correlation of paired columns, retrieval of the partner across views."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._validation import as_matrix, as_weights, refuse_non_finite

__all__ = [
    "column_correlations",
    "mean_average_precision",
    "median_rank",
    "partner_ranks",
    "recall_at_k",
    "total_correlation",
]

Similarity = Literal["cosine", "euclidean"]


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
    return float(column_correlations(*_pair(Zx, Zy, k), sample_weight=sample_weight).sum())


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
    zx, zy = _pair(Zx, Zy, min_rows=2)
    w = as_weights(sample_weight, len(zx), more_than=0.0)
    (x, sx), (y, sy) = (_standard(z, w) for z in (zx, zy))
    products = np.einsum("ij,ij->j" if w is None else "ij,ij,i->j", *((x, y) if w is None else (x, y, w)))
    scale = sx * sy
    out: NDArray[np.float64] = np.divide(products, scale, out=np.zeros_like(scale), where=scale > 0)
    out.clip(-1.0, 1.0, out=out)  # rounding may carry a perfect correlation past 1
    return out


def _standard(
    z: NDArray[Any], w: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centred columns and their norms, 0 for a column whose spread is rounding error alone."""
    counted = z if w is None else z[w > 0]
    rounding = 16 * np.finfo(z.dtype).eps * np.abs(counted).max(axis=0).astype(np.float64)
    z = z.astype(np.float64)
    z -= np.average(z, axis=0, weights=w)
    norm = np.sqrt(np.einsum("ij,ij->j", z, z) if w is None else np.einsum("ij,ij,i->j", z, z, w))
    n = len(z) if w is None else w.sum()
    return z, np.where(norm > rounding * np.sqrt(n), norm, 0.0)


def recall_at_k(Zx: ArrayLike, Zy: ArrayLike, k: int = 1, *, similarity: Similarity = "cosine") -> float:
    """Share of the rows of ``Zx`` whose partner is among their ``k`` nearest rows of ``Zy``.

    Parameters
    ----------
    Zx, Zy : array_like of shape (n, d)
        Queries and database in a common space; the partner of query i is row i of ``Zy``.
    k : int, default=1
        How many of the nearest rows count.
    similarity : {"cosine", "euclidean"}, default="cosine"
        What "nearest" means. Rows as near as the partner share the ranks that they take: equal rows do not
        count as found.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        For different shapes, ``k`` below 1, an unknown similarity, NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.metrics import recall_at_k
    >>> Z = np.eye(3)
    >>> recall_at_k(Z, Z), round(recall_at_k(Z, Z[[0, 2, 1]]), 3)
    (1.0, 0.333)
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return float(np.mean(partner_ranks(Zx, Zy, similarity) <= k))


def median_rank(Zx: ArrayLike, Zy: ArrayLike, *, similarity: Similarity = "cosine") -> float:
    """Median over the rows of ``Zx`` of the rank of their partner among the rows of ``Zy``; 1 is best.

    Parameters
    ----------
    Zx, Zy : array_like of shape (n, d)
        Queries and database in a common space; the partner of query i is row i of ``Zy``.
    similarity : {"cosine", "euclidean"}, default="cosine"
        What the ranking is by. Rows as near as the partner share the mean of the ranks that they take.

    Returns
    -------
    float
        Between 1 and n.

    Raises
    ------
    ValueError
        For different shapes, an unknown similarity, NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.metrics import median_rank
    >>> median_rank(np.eye(3), np.eye(3))
    1.0
    """
    return float(np.median(partner_ranks(Zx, Zy, similarity)))


def mean_average_precision(
    Zx: ArrayLike,
    Zy: ArrayLike,
    labels_x: ArrayLike,
    labels_y: ArrayLike,
    *,
    similarity: Similarity = "cosine",
) -> float:
    """Mean over the rows of ``Zx`` of the average precision of the rows of ``Zy`` that share their label.

    Parameters
    ----------
    Zx : array_like of shape (n, d)
        Queries.
    Zy : array_like of shape (m, d)
        Database, ranked by similarity to each query; equally near rows keep their order.
    labels_x, labels_y : array_like of shape (n,) and (m,)
        A row of ``Zy`` is relevant to a query with the same label. Queries without a relevant row do not
        count.
    similarity : {"cosine", "euclidean"}, default="cosine"
        What the ranking is by.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        For shapes that do not fit, no query with a relevant row, an unknown similarity, NaN or infinity.

    References
    ----------
    Rasiwasia et al., "A new approach to cross-modal multimedia retrieval", ACM Multimedia 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.metrics import mean_average_precision
    >>> mean_average_precision(np.eye(2), np.eye(2), ["cat", "dog"], ["cat", "dog"])
    1.0
    """
    zx, zy = _matrix("Zx", Zx), _matrix("Zy", Zy)
    if zx.shape[1] != zy.shape[1]:
        raise ValueError(
            f"Zx and Zy must have the same number of columns, got {zx.shape[1]} and {zy.shape[1]}"
        )
    lx, ly = np.asarray(labels_x), np.asarray(labels_y)
    for name, labels, z in (("labels_x", lx, zx), ("labels_y", ly, zy)):
        if labels.shape != (len(z),):
            raise ValueError(f"{name} must have shape ({len(z)},), got {labels.shape}")
    total, queries = 0.0, 0
    for rows, near in _similarities(zx, zy, similarity):
        order = np.argsort(-near, axis=1, kind="stable")
        relevant = ly[order] == lx[rows, None]
        found = relevant.sum(axis=1)
        # precision at each relevant place, averaged over them
        precision = np.cumsum(relevant, axis=1) / np.arange(1, len(zy) + 1)
        total += float(((precision * relevant).sum(axis=1)[found > 0] / found[found > 0]).sum())
        queries += int((found > 0).sum())
    if queries == 0:
        raise ValueError("no query has a relevant row: labels_x and labels_y have no label in common")
    return total / queries


def _matrix(name: str, z: ArrayLike, min_rows: int = 1) -> NDArray[Any]:
    a = as_matrix(name, z, min_rows=min_rows)
    refuse_non_finite(name, a)
    return a


def _pair(
    Zx: ArrayLike, Zy: ArrayLike, k: int | None = None, min_rows: int = 1
) -> tuple[NDArray[Any], NDArray[Any]]:
    zx, zy = _matrix("Zx", Zx, min_rows), _matrix("Zy", Zy, min_rows)
    if zx.shape != zy.shape:
        raise ValueError(f"Zx and Zy must have the same shape, got {zx.shape} and {zy.shape}")
    if k is not None and not 1 <= k <= zx.shape[1]:
        raise ValueError(f"k must be between 1 and {zx.shape[1]}, the number of columns, got {k}")
    return zx[:, :k], zy[:, :k]


def _similarities(
    zx: NDArray[Any], zy: NDArray[Any], similarity: Similarity
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Rows of queries and their similarity to every row of ``zy``, in blocks of some 16 MB."""
    zx, zy = zx.astype(np.float64), zy.astype(np.float64)
    if similarity == "cosine":
        zx, zy = (
            z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), np.finfo(float).tiny) for z in (zx, zy)
        )
        penalty = np.zeros(len(zy))
    elif similarity == "euclidean":
        # -|x - y|²/2 = x·y - |y|²/2 up to |x|²/2, the same for every row of zy; centred for accuracy
        centre = zy.mean(axis=0)
        zx, zy = zx - centre, zy - centre
        penalty = np.einsum("ij,ij->i", zy, zy) / 2
    else:
        raise ValueError(f"similarity must be 'cosine' or 'euclidean', got {similarity!r}")
    step = max(1, 2**21 // len(zy))
    for start in range(0, len(zx), step):
        rows = np.arange(start, min(start + step, len(zx)))
        yield rows, zx[rows] @ zy.T - penalty


def partner_ranks(Zx: ArrayLike, Zy: ArrayLike, similarity: Similarity = "cosine") -> NDArray[np.float64]:
    """Rank of the partner of every row of ``Zx`` among the rows of ``Zy``; 1 is best.

    :func:`recall_at_k` and :func:`median_rank` summarise it; take it where both are wanted.

    Parameters
    ----------
    Zx, Zy : array_like of shape (n, d)
        Queries and database in a common space; the partner of query i is row i of ``Zy``.
    similarity : {"cosine", "euclidean"}, default="cosine"
        What the ranking is by.

    Returns
    -------
    ndarray of shape (n,)
        1 + the number of rows nearer than the partner + half the number of those as near.

    Raises
    ------
    ValueError
        For different shapes, an unknown similarity, NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.metrics import partner_ranks
    >>> partner_ranks(np.eye(3), np.eye(3)[[0, 2, 1]])
    array([1. , 2.5, 2.5])
    """
    zx, zy = _pair(Zx, Zy)
    ranks = np.empty(len(zx))
    for rows, near in _similarities(zx, zy, similarity):
        own = near[np.arange(len(rows)), rows][:, None]
        # equal rows must tie even where the product rounds them differently
        slack = 8 * np.finfo(float).eps * (np.abs(own) + 1)
        nearer = (near > own + slack).sum(axis=1)
        as_near = (np.abs(near - own) <= slack).sum(axis=1) - 1
        ranks[rows] = 1 + nearer + as_near / 2
    return ranks
