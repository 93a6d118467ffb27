"""Labels: hit@k, scores by a taxonomy, confusion of superclasses, generalised zero-shot accuracy."""

from collections.abc import Iterable, Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._arguments.arrays import as_weights, check_same_rows
from fastcca.metrics._docs import documented
from fastcca.metrics._pairs import check_k, finite_matrix
from fastcca.taxonomy import Taxonomy

__all__ = [
    "GeneralisedZeroShot",
    "HierarchicalScores",
    "SeenUnseenCurve",
    "generalised_zero_shot",
    "hierarchical_precision_at_k",
    "hierarchical_scores",
    "hit_at_k",
    "lca_height",
    "seen_unseen_curve",
    "superclass_confusion",
]


@documented
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
    {sample_weight}

    {returns_fraction}

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


@documented
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
    {sample_weight}

    {returns_fraction}

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


@documented
def lca_height(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    taxonomy: Taxonomy,
    *,
    mistakes_only: bool = False,
    sample_weight: ArrayLike | None = None,
) -> float:
    """How severe mistakes are: the mean height of the lowest common ancestor of true and predicted label.

    {labels_and_taxonomy}
    mistakes_only : bool, default=False
        Whether to leave out the samples whose prediction is right.
    {sample_weight}

    Returns
    -------
    float
        Path length from the ancestor to the farthest leaf below it: 0 where both are the same leaf, at most
        the height of the tree. A label that is an inner node is as high as it stands even where it is right.
        NaN if no mistake is left.

    {raises_for_labels}

    References
    ----------
    L. Bertinetto, R. Mueller, K. Tertikas, S. Samangooei and N. A. Lord, "Making better mistakes: leveraging
    class hierarchies with deep networks", CVPR 2020.

    Examples
    --------
    >>> from fastcca.metrics import lca_height
    >>> from fastcca.taxonomy import Taxonomy
    >>> animals = Taxonomy.from_dict({"animal": {"feline": ["cat", "lion"], "canine": ["dog"]}})
    >>> lca_height(["cat", "lion", "dog"], ["cat", "cat", "cat"], animals)
    1.0
    """
    true, pred, weights = _pairs_of_labels(y_true, y_pred, taxonomy, sample_weight)
    heights = dict.fromkeys(taxonomy.nodes, 0)
    for node, parent in reversed(taxonomy.edges):
        heights[parent] = max(heights[parent], heights[node] + 1)
    pairs, number = _distinct(true, pred)
    height = np.array([heights[taxonomy.lca(a, b)] for a, b in pairs], dtype=np.float64)[number]
    w = np.ones(len(true)) if weights is None else weights
    if mistakes_only:
        w = w * np.array([a != b for a, b in pairs])[number]
    return float(height @ w / w.sum()) if w.any() else float("nan")


class HierarchicalScores(NamedTuple):
    """Precision, recall and F over the ancestors of labels.

    Attributes
    ----------
    precision, recall, f : float
        Between 0 and 1.
    """

    precision: float
    recall: float
    f: float


@documented
def hierarchical_scores(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    taxonomy: Taxonomy,
    *,
    sample_weight: ArrayLike | None = None,
) -> HierarchicalScores:
    r"""Hierarchical precision, recall and F: labels count with all their ancestors.

    With :math:`T_i` the true label of sample i and its ancestors, :math:`P_i` the predicted one and its
    ancestors, both without the root: precision :math:`\sum_i |P_i \cap T_i| / \sum_i |P_i|`, recall
    :math:`\sum_i |P_i \cap T_i| / \sum_i |T_i|`, and their harmonic mean F.

    {labels_and_taxonomy}
    {sample_weight}

    Returns
    -------
    HierarchicalScores
        ``precision``, ``recall`` and ``f``; 0 where labels are the root alone.

    {raises_for_labels}

    References
    ----------
    S. Kiritchenko, S. Matwin, R. Nock and A. F. Famili, "Learning and evaluation in the presence of class
    hierarchies: application to text categorization", Canadian AI 2006.

    Examples
    --------
    >>> from fastcca.metrics import hierarchical_scores
    >>> from fastcca.taxonomy import Taxonomy
    >>> animals = Taxonomy.from_dict({"animal": {"feline": ["cat", "lion"], "dog": None}})
    >>> hierarchical_scores(["cat", "dog"], ["lion", "dog"], animals)
    HierarchicalScores(precision=0.6666666666666666, recall=0.6666666666666666, f=0.6666666666666666)
    """
    true, pred, weights = _pairs_of_labels(y_true, y_pred, taxonomy, sample_weight)
    pairs, number = _distinct(true, pred)
    w = np.bincount(number, weights, minlength=len(pairs))
    depth = np.array(
        [[taxonomy.depth(node) for node in (taxonomy.lca(a, b), a, b)] for a, b in pairs], dtype=np.float64
    )
    both, of_true, of_pred = (float(sums) for sums in w @ depth)
    precision = both / of_pred if of_pred > 0 else 0.0
    recall = both / of_true if of_true > 0 else 0.0
    f = 2 * precision * recall / (precision + recall) if both > 0 else 0.0
    return HierarchicalScores(precision, recall, f)


@documented
def superclass_confusion(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    taxonomy: Taxonomy,
    *,
    superclasses: Iterable[Any] | None = None,
    normalise: bool = False,
) -> tuple[NDArray[Any], NDArray[np.object_]]:
    """Confusion matrix of the superclasses of the true and the predicted labels.

    {labels_and_taxonomy}
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


class SeenUnseenCurve(NamedTuple):
    """Accuracies on seen and unseen classes for every calibration of the decisions between them.

    Attributes
    ----------
    area : float
        AUSUC, the area under accuracy on seen classes as a function of that on unseen classes.
    seen, unseen : ndarray of shape (m,)
        The accuracies, from all predictions seen to all predictions unseen.
    calibration : ndarray of shape (m,)
        The ``seen_calibration`` that gives each of them.
    best_calibration : float
        The one with the largest harmonic mean, the smallest in magnitude of several.
    best : GeneralisedZeroShot
        The accuracies there.
    """

    area: float
    seen: NDArray[np.float64]
    unseen: NDArray[np.float64]
    calibration: NDArray[np.float64]
    best_calibration: float
    best: GeneralisedZeroShot


def seen_unseen_curve(
    y_true: ArrayLike,
    scores: ArrayLike,
    unseen: ArrayLike | Set[Any],
    *,
    classes: ArrayLike | None = None,
) -> SeenUnseenCurve:
    r"""Generalised zero-shot accuracy for every calibration, and the area under the curve (AUSUC).

    Calibrated stacking predicts an unseen class where its score exceeds that of every seen class less
    :math:`\gamma`. All that :math:`\gamma` can do follows from the best seen and the best unseen score of
    each sample.

    Parameters
    ----------
    y_true : array_like of shape (n,)
        True labels, of seen and of unseen classes.
    scores : array_like of shape (n, C)
        Score of each class, seen or not, as ``decision_function`` of a model by ``with_classes`` gives it.
    unseen : array_like or set
        The classes of which training had no sample.
    classes : array_like of shape (C,), optional
        The label of each column, such as ``classes_``. By default the sorted labels of ``y_true``.

    Returns
    -------
    SeenUnseenCurve
        The area, the curve, and the calibration with the largest harmonic mean: on held-out rows it is the
        ``seen_calibration`` for ``with_classes``.

    Raises
    ------
    ValueError
        For shapes that do not fit, NaN or infinity, or if ``y_true`` or ``classes`` have no seen or no unseen
        label.

    References
    ----------
    W.-L. Chao, S. Changpinyo, B. Gong and F. Sha, "An empirical study and analysis of generalized zero-shot
    learning for object recognition in the wild", ECCV 2016.

    Examples
    --------
    >>> from fastcca.metrics import seen_unseen_curve
    >>> scores = [[2.0, 1.0, 0.5], [0.5, 2.0, 1.0], [1.5, 0.2, 1.4]]  # of cat, dog and okapi
    >>> curve = seen_unseen_curve(["cat", "dog", "okapi"], scores, {"okapi"}, classes=["cat", "dog", "okapi"])
    >>> curve.area, curve.best.harmonic_mean, round(curve.best_calibration, 2)
    (1.0, 1.0, 0.55)
    """
    check_same_rows(y_true=y_true, scores=scores)
    true, _, labels = _best(y_true, scores, 1, classes)
    s = finite_matrix("scores", scores).astype(np.float64)
    if s.shape[1] != len(labels):
        raise ValueError(f"scores must have a column for each of {len(labels)} classes, got {s.shape[1]}")
    column = np.asarray(labels)
    is_unseen = np.isin(column, np.asarray(list(unseen) if isinstance(unseen, Set) else unseen))
    for what, part in (("y_true", is_unseen[true]), ("classes", is_unseen)):
        if part.all() or not part.any():
            only = "unseen" if part.all() else "seen"
            raise ValueError(f"{what} must hold seen and unseen labels, it has only {only} ones")
    best = [np.flatnonzero(group)[s[:, group].argmax(axis=1)] for group in (~is_unseen, is_unseen)]
    rows = np.arange(len(s))
    limit = s[rows, best[0]] - s[rows, best[1]]  # an unseen class is predicted for calibrations above
    counts = np.bincount(true, minlength=len(labels))
    # each class counts as much as any other of its kind
    weight = 1.0 / counts[true]
    of_unseen = is_unseen[true]
    kinds = [len(np.unique(true[part])) for part in (~of_unseen, of_unseen)]
    steps = np.unique(limit)
    place = np.searchsorted(steps, limit)
    right = [(chosen == true) * weight for chosen in best]
    lost = np.bincount(place[~of_unseen], (right[0] / kinds[0])[~of_unseen], minlength=len(steps))
    won = np.bincount(place[of_unseen], (right[1] / kinds[1])[of_unseen], minlength=len(steps))
    seen = np.append(lost[::-1].cumsum()[::-1], 0.0)
    found = np.append(0.0, won.cumsum())
    # between two limits nothing changes
    between = (steps[:-1] + steps[1:]) / 2
    margin = max(1.0, float(np.abs(steps).max())) * 1e-3
    calibration = np.concatenate([[steps[0] - margin], between, [steps[-1] + margin]])
    mean = np.divide(2 * seen * found, seen + found, out=np.zeros_like(seen), where=seen + found > 0)
    top = np.flatnonzero(mean >= mean.max() - 1e-12)
    at = int(top[np.abs(calibration[top]).argmin()])
    area = float((np.diff(found) * (seen[1:] + seen[:-1]) / 2).sum())
    return SeenUnseenCurve(
        area,
        seen,
        found,
        calibration,
        float(calibration[at]),
        GeneralisedZeroShot(float(mean[at]), float(seen[at]), float(found[at])),
    )


def _pairs_of_labels(
    y_true: ArrayLike, y_pred: ArrayLike, taxonomy: Taxonomy, sample_weight: ArrayLike | None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64] | None]:
    _check_taxonomy(taxonomy)
    check_same_rows(y_true=y_true, y_pred=y_pred, sample_weight=sample_weight)
    true, pred = _labels("y_true", y_true), _labels("y_pred", y_pred)
    if true.shape != pred.shape:
        raise ValueError(f"y_true and y_pred must have the same shape, got {true.shape} and {pred.shape}")
    return true, pred, _weights(sample_weight, true)


def _distinct(true: NDArray[Any], pred: NDArray[Any]) -> tuple[list[tuple[Any, Any]], NDArray[np.intp]]:
    """The pairs of labels that occur, and the number of each sample's."""
    place: dict[tuple[Any, Any], int] = {}
    pairs = zip(true.tolist(), pred.tolist(), strict=True)
    number = np.array([place.setdefault(pair, len(place)) for pair in pairs])
    return list(place), number


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
    """Columns of the true labels (n,), :func:`among_best` (n, C), and the labels of all columns."""
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
    return columns, among_best(s, int(k)), labels


def among_best(scores: NDArray[Any], k: int) -> NDArray[np.float64]:
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
