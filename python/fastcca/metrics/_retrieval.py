"""Retrieval across views: is the partner found, or what shares the label?"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._statistics import unit_rows
from fastcca.metrics._pairs import check_k, finite_matrix, pair

__all__ = ["mean_average_precision", "median_rank", "partner_ranks", "recall_at_k"]

Similarity = Literal["cosine", "euclidean"]


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
    zx, zy = pair(Zx, Zy)
    ranks = np.empty(len(zx))
    for rows, near, size in _similarities(zx, zy, similarity):
        own = near[np.arange(len(rows)), rows][:, None]
        # equal rows must tie even where the product rounds them differently
        slack = 8 * np.finfo(float).eps * (np.abs(own) + size)
        nearer = (near > own + slack).sum(axis=1)
        as_near = (np.abs(near - own) <= slack).sum(axis=1) - 1
        ranks[rows] = 1 + nearer + as_near / 2
    return ranks


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
    check_k(k)
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
    zx, zy = finite_matrix("Zx", Zx), finite_matrix("Zy", Zy)
    if zx.shape[1] != zy.shape[1]:
        raise ValueError(
            f"Zx and Zy must have the same number of columns, got {zx.shape[1]} and {zy.shape[1]}"
        )
    lx, ly = np.asarray(labels_x), np.asarray(labels_y)
    for name, labels, z in (("labels_x", lx, zx), ("labels_y", ly, zy)):
        if labels.shape != (len(z),):
            raise ValueError(f"{name} must have shape ({len(z)},), got {labels.shape}")
    total, queries = 0.0, 0
    for rows, near, _ in _similarities(zx, zy, similarity):
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


def _similarities(
    zx: NDArray[Any], zy: NDArray[Any], similarity: Similarity
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]]:
    """Rows of queries, their similarity to every row of ``zy`` and the size of what it is rounded at.

    In blocks of some 16 MB.
    """
    zx, zy = zx.astype(np.float64), zy.astype(np.float64)
    if similarity == "cosine":
        zx, zy = unit_rows(zx), unit_rows(zy)
        penalty, length = np.zeros(len(zy)), np.ones(len(zy))
    elif similarity == "euclidean":
        # values of at most 1, by a power of 2: their squares neither overflow nor, all of them, vanish
        exponent = -int(np.frexp(max(np.abs(zx).max(), np.abs(zy).max()))[1])
        zx, zy = np.ldexp(zx, exponent), np.ldexp(zy, exponent)
        # -|x - y|²/2 = x·y - |y|²/2 up to |x|²/2, the same for every row of zy; centred for accuracy, at
        # the median, which no distant row moves
        centre = np.median(zy, axis=0)
        zx, zy = zx - centre, zy - centre
        penalty = np.einsum("ij,ij->i", zy, zy) / 2
        length = np.sqrt(2 * penalty)
    else:
        raise ValueError(f"similarity must be 'cosine' or 'euclidean', got {similarity!r}")
    step = max(1, 2**21 // len(zy))
    for start in range(0, len(zx), step):
        rows = np.arange(start, min(start + step, len(zx)))
        own = length[rows % len(zy)]
        size = own * (np.linalg.norm(zx[rows], axis=1) + own)
        yield rows, zx[rows] @ zy.T - penalty, size[:, None]
