"""Rankings of several true labels: precision and recall of the best scored."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._arguments.arrays import as_weights, check_same_rows
from fastcca._arguments.sparse import is_sparse
from fastcca.metrics._docs import documented
from fastcca.metrics._labels import among_best
from fastcca.metrics._pairs import check_k, finite_matrix

__all__ = ["multilabel_precision_at_k", "multilabel_recall_at_k"]


@documented
def multilabel_precision_at_k(
    y_true: Any, scores: ArrayLike, k: int = 1, *, sample_weight: ArrayLike | None = None
) -> float:
    """Fraction of the ``k`` best scored labels of a sample that are its own, averaged over samples.

    Parameters
    ----------
    y_true : array_like or sparse matrix of shape (n, C)
        1 where a sample has a label, else 0. Samples without a label do not count.
    scores : array_like of shape (n, C)
        Score of each label, larger is better, as ``decision_function`` returns it.
    k : int, default=1
        The number of best scored labels, at most C. Of equal scores every order is equally likely, and the
        precision is its expected value.
    {sample_weight}

    {returns_fraction}

    Raises
    ------
    ValueError
        For shapes that do not fit, entries of ``y_true`` other than 0 and 1, no sample with a label, ``k``
        out of range, NaN or infinity.

    See Also
    --------
    sklearn.metrics.label_ranking_average_precision_score : Over all places in place of the first k.

    Examples
    --------
    >>> from fastcca.metrics import multilabel_precision_at_k
    >>> y = [[1, 1, 0, 0], [0, 1, 0, 1]]
    >>> multilabel_precision_at_k(y, [[0.9, 0.5, 0.1, 0.2], [0.7, 0.8, 0.1, 0.2]], k=2)
    0.75
    """
    hits, _, weights = _hits(y_true, scores, k, sample_weight)
    return float(np.average(hits / k, weights=weights))


def multilabel_recall_at_k(
    y_true: Any, scores: ArrayLike, k: int = 1, *, sample_weight: ArrayLike | None = None
) -> float:
    """Fraction of a sample's labels that are among the ``k`` best scored, averaged over samples.

    Parameters
    ----------
    y_true, scores, k, sample_weight
        As in :func:`multilabel_precision_at_k`.

    Returns
    -------
    float
        Between 0 and 1; below 1 where samples have more than ``k`` labels.

    Raises
    ------
    ValueError
        As :func:`multilabel_precision_at_k`.

    Examples
    --------
    >>> from fastcca.metrics import multilabel_recall_at_k
    >>> y = [[1, 1, 0, 0], [0, 1, 0, 1]]
    >>> multilabel_recall_at_k(y, [[0.9, 0.5, 0.1, 0.2], [0.7, 0.8, 0.1, 0.2]], k=1)
    0.5
    """
    hits, count, weights = _hits(y_true, scores, k, sample_weight)
    return float(np.average(hits / count, weights=weights))


def _hits(
    y_true: Any, scores: ArrayLike, k: Any, sample_weight: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Of each sample with a label: its labels among the k best, all its labels; the weights."""
    check_same_rows(y_true=y_true, scores=scores, sample_weight=sample_weight)
    s = finite_matrix("scores", scores)
    member = np.asarray(y_true.toarray() if is_sparse(y_true) else y_true)
    if member.shape != s.shape:
        raise ValueError(f"y_true must have the shape of scores, {s.shape}, got {member.shape}")
    if member.dtype.kind not in "biuf" or not np.isin(member, (0, 1)).all():
        raise ValueError("y_true must be an indicator matrix of 0 and 1")
    check_k(k, s.shape[1], "labels")
    weights = as_weights(sample_weight, len(s), more_than=0.0)
    count = member.sum(axis=1, dtype=np.float64)
    labelled = count > 0
    if weights is not None:
        labelled &= weights > 0
    if not labelled.any():
        raise ValueError("y_true must have a row with a label")
    hits = (among_best(s[labelled], int(k)) * member[labelled]).sum(axis=1)
    return hits, count[labelled], None if weights is None else weights[labelled]
