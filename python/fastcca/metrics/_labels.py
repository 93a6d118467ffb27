"""Labels: hit@k, hierarchical precision@k, confusion of superclasses, generalised zero-shot accuracy."""

from collections.abc import Iterable, Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._arguments.arrays import as_weights, check_same_rows
from fastcca.metrics._pairs import check_k, finite_matrix
from fastcca.taxonomy import Taxonomy

__all__ = [
    "GeneralisedZeroShot",
    "generalised_zero_shot",
    "hierarchical_precision_at_k",
    "hit_at_k",
    "superclass_confusion",
]


def hit_at_k(
    y_true: ArrayLike,
    scores: ArrayLike,
    k: int = 1,
    *,
    classes: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Fraction of the samples whose label is among the ``k`` best scored.

    Parameters
    ----------
    y_true : array_like of shape (n,)
        True labels.
    scores : array_like of shape (n, C) or (n,)
        Score of each class, larger is better, as ``decision_function`` and ``predict_proba`` return it. One
        column stands for the second of two classes against the first, 0 between them.
    k : int, default=1
        The number of best scored classes, at most C. Of equal scores every order is equally likely: a sample
        counts with the probability that its label is among the best.
    classes : array_like of shape (C,), optional
        The label of each column, such as ``classes_`` of the estimator. By default the sorted labels of
        ``y_true``.
    sample_weight : array_like of shape (n,), optional
        Weights count as repetitions of a sample.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        For shapes that do not fit, labels that are no column's, ``k`` out of range, NaN or infinity.

    Examples
    --------
    >>> from fastcca.metrics import hit_at_k
    >>> scores = [[0.7, 0.2, 0.1], [0.5, 0.1, 0.4]]
    >>> hit_at_k(["cat", "lion"], scores, classes=["cat", "dog", "lion"])
    0.5
    >>> hit_at_k(["cat", "lion"], scores, k=2, classes=["cat", "dog", "lion"])
    1.0
    """
    check_same_rows(y_true=y_true, scores=scores, sample_weight=sample_weight)
    true, best, _ = _best(y_true, scores, k, classes)
    return float(np.average(best[np.arange(len(true)), true], weights=_weights(sample_weight, true)))


def hierarchical_precision_at_k(
    y_true: ArrayLike,
    scores: ArrayLike,
    k: int,
    taxonomy: Taxonomy,
    *,
    classes: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""How many of the ``k`` best scored labels are near the true one in a taxonomy.

    For a sample with label y, let S be the classes at a path length of at most r from y, with the smallest r
    for which S has k members or more (equal path lengths may make it larger). The precision is
    :math:`|\text{best}_k \cap S| / k`, averaged over the samples. For k = 1 it is :func:`hit_at_k`.

    Parameters
    ----------
    y_true : array_like of shape (n,)
        True labels.
    scores : array_like of shape (n, C) or (n,)
        Score of each class, larger is better, as for :func:`hit_at_k`.
    k : int
        The number of best scored classes, at most C. Of equal scores every order is equally likely, and the
        precision is the expected one.
    taxonomy : Taxonomy
        Has every class as a node, which may be an inner one. Nodes that are no class are in no S.
    classes : array_like of shape (C,), optional
        The label of each column. By default the sorted labels of ``y_true``.
    sample_weight : array_like of shape (n,), optional
        Weights count as repetitions of a sample.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        For shapes that do not fit, labels that are no column's, classes that are not in the taxonomy, ``k``
        out of range, NaN or infinity.

    Notes
    -----
    It measures how near mistakes are, not how many there are: a model that always lists a label's
    neighbourhood scores high and may never hit. Report :func:`hit_at_k` as well.

    References
    ----------
    A. Frome et al., "DeViSE: a deep visual-semantic embedding model", NIPS 2013.

    Examples
    --------
    >>> from fastcca.metrics import hierarchical_precision_at_k
    >>> from fastcca.taxonomy import Taxonomy
    >>> animals = Taxonomy.from_dict({"animal": {"feline": ["cat", "lion"], "dog": None}})
    >>> scores = [[0.7, 0.2, 0.1], [0.5, 0.1, 0.4]]  # the best two: cat and dog; cat and lion
    >>> hierarchical_precision_at_k(["cat", "lion"], scores, 2, animals, classes=["cat", "dog", "lion"])
    0.75
    """
    _check_taxonomy(taxonomy)
    check_same_rows(y_true=y_true, scores=scores, sample_weight=sample_weight)
    true, best, labels = _best(y_true, scores, k, classes)
    paths = taxonomy.distances(labels)
    # S of class y: every class as near as the k-th nearest, y itself being the first.
    near = paths <= np.sort(paths, axis=1)[:, k - 1 : k]
    precisions = np.einsum("ij,ij->i", best, near[true].astype(np.float64)) / k
    return float(np.average(precisions, weights=_weights(sample_weight, true)))


def superclass_confusion(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    taxonomy: Taxonomy,
    *,
    superclasses: Iterable[Any] | None = None,
    normalise: bool = False,
) -> tuple[NDArray[Any], NDArray[np.object_]]:
    """Confusion matrix of the superclasses of the true and the predicted labels.

    Parameters
    ----------
    y_true, y_pred : array_like of shape (n,)
        True and predicted labels, nodes of the taxonomy.
    taxonomy : Taxonomy
        The tree.
    superclasses : iterable of nodes, optional
        A label counts as the nearest of these at or above it. By default the children of the root.
    normalise : bool, default=False
        Divide each row by its sum, so that it sums to 1; rows of superclasses that do not occur stay 0.

    Returns
    -------
    confusion : ndarray of shape (S, S)
        Samples of superclass i (row) predicted as superclass j (column); int64, float64 if normalised.
        ``sklearn.metrics.ConfusionMatrixDisplay`` draws it.
    names : ndarray of shape (S,)
        The superclasses.

    Raises
    ------
    ValueError
        For different shapes, labels that are no nodes or have no superclass, a superclass given twice.

    Examples
    --------
    >>> from fastcca.metrics import superclass_confusion
    >>> from fastcca.taxonomy import Taxonomy
    >>> animals = Taxonomy.from_dict({"animal": {"feline": ["cat", "lion"], "canine": ["dog"]}})
    >>> superclass_confusion(["cat", "lion", "dog"], ["lion", "dog", "dog"], animals)
    (array([[1, 1],
           [0, 1]]), array(['feline', 'canine'], dtype=object))
    """
    _check_taxonomy(taxonomy)
    check_same_rows(y_true=y_true, y_pred=y_pred)
    true, pred = _labels("y_true", y_true), _labels("y_pred", y_pred)
    if true.shape != pred.shape:
        raise ValueError(f"y_true and y_pred must have the same shape, got {true.shape} and {pred.shape}")
    names = list(taxonomy.children(taxonomy.root) if superclasses is None else superclasses)
    place = {name: i for i, name in enumerate(names)}
    if not names or len(place) < len(names):
        raise ValueError(f"superclasses must be different nodes, at least one, got {names}")
    for name in names:
        taxonomy.parent(name)  # refuses what is not a node
    confusion = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(confusion, (_superclass(true, taxonomy, place), _superclass(pred, taxonomy, place)), 1)
    named = np.empty(len(names), dtype=object)
    named[:] = names
    if not normalise:
        return confusion, named
    rows = confusion.sum(axis=1, keepdims=True)
    return confusion / np.maximum(rows, 1), named


class GeneralisedZeroShot(NamedTuple):
    """Accuracies of a classifier that chooses among seen and unseen classes.

    Attributes
    ----------
    harmonic_mean : float
        Of the other two; 0 if one of them is.
    seen, unseen : float
        Accuracy on the samples of seen and of unseen classes: the mean over the classes of each one's
        accuracy.
    """

    harmonic_mean: float
    seen: float
    unseen: float


def generalised_zero_shot(
    y_true: ArrayLike, y_pred: ArrayLike, unseen: ArrayLike | Set[Any]
) -> GeneralisedZeroShot:
    r"""Accuracy on seen and on unseen classes, predicted among all of them, and their harmonic mean.

    Both are means over the classes of the accuracy on each: :math:`H = 2 a_s a_u / (a_s + a_u)` is high only
    if the classifier does not prefer the classes that it was trained on.

    Parameters
    ----------
    y_true, y_pred : array_like of shape (n,)
        True and predicted labels.
    unseen : array_like or set
        The labels of which training had no sample; all other labels of ``y_true`` are seen.

    Returns
    -------
    GeneralisedZeroShot
        ``harmonic_mean``, ``seen`` and ``unseen``.

    Raises
    ------
    ValueError
        For different shapes, or if ``y_true`` has no seen or no unseen label.

    References
    ----------
    Y. Xian, C. H. Lampert, B. Schiele, Z. Akata, "Zero-shot learning: a comprehensive evaluation of the
    good, the bad and the ugly", IEEE TPAMI, 2019.

    Examples
    --------
    >>> from fastcca.metrics import generalised_zero_shot
    >>> generalised_zero_shot(["cat", "cat", "dog"], ["cat", "dog", "dog"], unseen=["cat"])
    GeneralisedZeroShot(harmonic_mean=0.6666666666666666, seen=1.0, unseen=0.5)
    """
    check_same_rows(y_true=y_true, y_pred=y_pred)
    true, pred = _labels("y_true", y_true), _labels("y_pred", y_pred)
    if true.shape != pred.shape:
        raise ValueError(f"y_true and y_pred must have the same shape, got {true.shape} and {pred.shape}")
    classes, number = np.unique(true, return_inverse=True)
    number = number.reshape(-1)
    accuracy = np.bincount(number, weights=np.asarray(true == pred, dtype=float)) / np.bincount(number)
    # a set as well, which NumPy takes for one object
    is_unseen = np.isin(classes, np.asarray(list(unseen) if isinstance(unseen, Set) else unseen))
    if is_unseen.all() or not is_unseen.any():
        raise ValueError(
            "y_true must have samples of seen and of unseen classes, it has only "
            f"{'unseen' if is_unseen.all() else 'seen'} ones"
        )
    s, u = float(accuracy[~is_unseen].mean()), float(accuracy[is_unseen].mean())
    return GeneralisedZeroShot(2 * s * u / (s + u) if s + u > 0 else 0.0, s, u)


def _check_taxonomy(taxonomy: Any) -> None:
    if not isinstance(taxonomy, Taxonomy):
        raise TypeError(f"taxonomy must be a Taxonomy, got {type(taxonomy).__name__}")


def _labels(name: str, y: ArrayLike) -> NDArray[Any]:
    labels = np.asarray(y)
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"{name} must have shape (n,) with n at least 1, got {labels.shape}")
    return labels


def _weights(sample_weight: ArrayLike | None, y: NDArray[Any]) -> NDArray[np.float64] | None:
    return as_weights(sample_weight, len(y), more_than=0.0)


def _best(
    y_true: ArrayLike, scores: ArrayLike, k: int, classes: ArrayLike | None
) -> tuple[NDArray[np.intp], NDArray[np.float64], list[Any]]:
    """Columns of the true labels (n,), :func:`_among_best` (n, C), and the labels of all columns."""
    true = _labels("y_true", y_true)
    s = finite_matrix("scores", scores, vector=True)
    if len(s) != len(true):
        raise ValueError(f"scores must have {len(true)} rows, one for each of y_true, got shape {s.shape}")
    if s.shape[1] == 1:
        s = np.hstack([-s, s])
    labels = (np.unique(true) if classes is None else np.asarray(classes)).tolist()
    if len(labels) != s.shape[1] or len(set(labels)) < len(labels):
        hint = "; give classes=, the label of each column" if classes is None else ""
        raise ValueError(f"{s.shape[1]} columns of scores need as many different labels, got {labels}{hint}")
    check_k(k, len(labels), "classes")
    column = {label: i for i, label in enumerate(labels)}
    present, number = np.unique(true, return_inverse=True)
    if unknown := [label for label in present.tolist() if label not in column]:
        raise ValueError(f"y_true has labels that are no column's: {unknown[:5]}, the columns are {labels}")
    columns = np.array([column[label] for label in present.tolist()])[number.reshape(-1)]
    return columns, _among_best(s, int(k)), labels


def _among_best(scores: NDArray[Any], k: int) -> NDArray[np.float64]:
    """(n, C): the probability that each column is among the k best, equal scores being in random order.

    It is 1 above the k-th largest score t of a row, 0 below, and (k - #{s > t}) / #{s = t} at t.
    """
    place = scores.shape[1] - k
    t = np.partition(scores, place, axis=1)[:, place : place + 1]
    above, tied = scores > t, scores == t
    fraction = (k - above.sum(axis=1, keepdims=True)) / tied.sum(axis=1, keepdims=True)
    return np.where(tied, fraction, above)


def _superclass(labels: NDArray[Any], taxonomy: Taxonomy, place: dict[Any, int]) -> NDArray[np.intp]:
    """For each label the number of the nearest superclass at or above it."""
    present, number = np.unique(labels, return_inverse=True)
    places = []
    for label in present.tolist():
        path = (label, *taxonomy.ancestors(label, root=True))
        found = next((place[node] for node in path if node in place), None)
        if found is None:
            raise ValueError(f"{label!r} is not below any of the superclasses {list(place)}")
        places.append(found)
    return np.array(places)[number.reshape(-1)]
