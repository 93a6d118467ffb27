"""What every label embedding offers: the scikit-learn contract, written once.

An estimator derives from :class:`LabelEmbedding` and implements :meth:`~LabelEmbedding._learn`: from scaled
inputs to a linear map and one point for each class. Everything else (checks, scaling, transform, predict,
calibrated probabilities, names, dtypes, save) follows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.sparse import csr_array
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from fastcca._arguments.arrays import as_matrix, as_weights, check_same_rows, refuse_non_finite
from fastcca._arguments.parameters import N_COMPONENTS, POSITIVE, Constraint, at_most, integer
from fastcca._models.files import SavedModel, Schema
from fastcca.embedding._data import (
    SCALING,
    InputScaling,
    TrainingData,
    content_folds,
    content_key,
    is_multilabel,
    row_folds,
)
from fastcca.embedding._docs import documented
from fastcca.embedding._label_sets import LabelSets, best_threshold, membership
from fastcca.errors import NumericalError
from fastcca.functional.linalg import unit_rows

__all__ = [
    "CLASS_WEIGHT",
    "LabelEmbedding",
    "Learned",
    "dimensions",
    "project",
    "some_rows",
    "temperature_of",
]

CLASS_WEIGHT = Constraint(
    "'balanced', a dict from label to weight, or None",
    lambda value: (
        value is None or isinstance(value, dict) or (isinstance(value, str) and value == "balanced")
    ),
)
N_FOLDS = 3
MOST_DECISIONS = 2**22  # from which the temperature is found


@dataclass(frozen=True)
class Learned:
    """What :meth:`LabelEmbedding._learn` returns: Psi(f) = f @ weights + intercept, and a point a class."""

    weights: NDArray[Any] | None  # (p, d), or None for the identity
    intercept: NDArray[Any]  # (d,)
    labels: NDArray[Any]  # (n_classes, d)
    attributes: dict[str, Any] = field(default_factory=dict)  # further fitted attributes by name


@documented
class LabelEmbedding(
    SavedModel,
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    ClassifierMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Base of the classifiers that put samples and labels into one space.

    Subclasses have the parameters ``whitening_exponent``, ``normalize`` and ``temperature`` at least;
    ``class_weight`` and ``similarity`` count where there are such parameters.
    """

    _schema = Schema(
        fields="n_features_in_ classes_ scaling_ weights_ intercept_ label_embedding_ temperature_",
        optional="feature_names_in_ decision_offset_ threshold_",
    )
    # of the parameters that all have; subclasses add theirs
    _constraints = {**SCALING, "temperature": POSITIVE.or_none}  # noqa: RUF012

    whitening_exponent: float
    normalize: bool
    temperature: float | None

    classes_: NDArray[Any]
    label_embedding_: NDArray[Any]
    weights_: NDArray[Any] | None
    intercept_: NDArray[Any]
    scaling_: InputScaling
    temperature_: float
    n_features_in_: int
    decision_offset_: NDArray[np.float64]  # only where with_classes made the model
    threshold_: float  # only after a fit to several labels a row

    _n_calibration_fits = N_FOLDS  # to parts of the data; fits that take long make do with 1
    _takes_label_sets = False  # several labels a row

    # ---- what a subclass gives

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        """Keyword arguments of ``_learn``, chosen once on all of the data."""
        return {}

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        """Learn from the data without setting anything on self: it is called for parts of the data too."""
        raise NotImplementedError

    def _scaled(
        self, x: NDArray[Any], weight: NDArray[np.float64]
    ) -> tuple[InputScaling, NDArray[np.float64]]:
        """The scaling of the inputs and the scaled inputs, float64."""
        scaling = InputScaling(self.whitening_exponent, self.normalize)
        return scaling, scaling.fit_checked(x, weight)

    # ---- fit

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> "LabelEmbedding":
        """Fit to rows and their labels.

        {samples}
        y : array_like of shape (n,)
            The label of each row: numbers or text. Large-margin, WARP, attribute and hierarchy label
            embeddings also take several labels a row: an indicator matrix of shape (n, n_classes) of 0 and 1,
            dense or sparse, or a list of n sets of labels.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row; a weight of 0 leaves it out.

        Returns
        -------
        LabelEmbedding
            The fitted estimator.

        Raises
        ------
        ValueError
            For parameters out of range, X that is not numbers, NaN or infinity (with its position), labels
            that do not fit X or are of one class alone (named).
        NumericalError
            If every column of X is constant. (It is a ValueError as well.)
        """
        self._fit(X, y, sample_weight)
        return self

    def _fit(
        self, X: Any, y: Any, sample_weight: Any = None, extra: dict[str, NDArray[Any]] | None = None
    ) -> None:
        data = self._training_data(X, y, sample_weight, extra or {})
        chosen = self._choose(data)
        learned = self._learn(data, **chosen)
        for name in ("decision_offset_", "threshold_"):  # of what this was before
            if hasattr(self, name):
                delattr(self, name)
        # C order, in which a file gives them back: products are then rounded in the same way
        dtype = data.features.dtype
        self.weights_ = None if learned.weights is None else np.ascontiguousarray(learned.weights, dtype)
        self.intercept_ = np.ascontiguousarray(learned.intercept, dtype)
        self.label_embedding_ = np.ascontiguousarray(learned.labels, dtype)
        for name, value in learned.attributes.items():
            setattr(self, name, value)
        if self.temperature is not None and data.sets is None:
            self.temperature_ = float(self.temperature)
            return
        decisions, rows = self._held_out(data, chosen, learned)
        if self.temperature is None:
            self.temperature_ = temperature_of(decisions, data.y[rows], data.weight[rows])
        else:
            self.temperature_ = float(self.temperature)
        if data.sets is not None:
            self.threshold_ = self._threshold(data, decisions, rows)

    def _training_data(
        self, X: Any, y: Any, sample_weight: Any, extra: dict[str, NDArray[Any]]
    ) -> TrainingData:
        """Checked, scaled and weighted rows in folds; sets ``classes_`` and ``scaling_``."""
        if y is not None and is_multilabel(y):
            return self._data_of_sets(X, y, sample_weight)
        x, codes, weight, kept = self._check_fit_input(X, y, sample_weight)
        with np.errstate(over="ignore"):
            weight = weight * self._class_factors(codes, weight)[codes]
            total = weight.sum()
        if not np.isfinite(total):
            raise ValueError("the weights times class_weight overflow: scale them down")
        self.scaling_, features = self._scaled(x, weight)
        return TrainingData(
            features=features.astype(x.dtype, copy=False),
            y=codes,
            weight=weight,
            n_classes=len(self.classes_),
            folds=content_folds(features, codes, N_FOLDS),
            extra={name: values[kept] for name, values in extra.items()},
        )

    def _data_of_sets(self, X: Any, y: Any, sample_weight: Any) -> TrainingData:
        """The same of rows with several labels: a row of the data for each label of each row.

        A row of weight w with k labels counts w / k with each of them.
        """
        if not self._takes_label_sets:
            raise ValueError(
                f"{type(self).__name__} takes one label a row, y of shape (n,); several labels a row are for "
                "LargeMarginEmbedding, WARPEmbedding and the attribute and hierarchy label embeddings"
            )
        check_same_rows(X=X, y=y, sample_weight=sample_weight)
        x = as_matrix("X", X, min_rows=2)
        given = membership(y, len(x))
        weight = as_weights(sample_weight, len(x), more_than=0.0)
        validate_data(self, X, reset=True, skip_check_array=True)
        refuse_non_finite("X", x)
        weight = np.ones(len(x)) if weight is None else weight
        # a row without a label says nothing of labels
        kept = np.flatnonzero((weight > 0.0) & (np.diff(given.member.indptr) > 0))
        x, member, weight = x[kept], csr_array(given.member[kept]), weight[kept]
        self.classes_ = given.classes
        lacking = np.flatnonzero(np.asarray(member.sum(axis=0)).ravel() == 0)
        if len(lacking):
            raise ValueError(f"no row of y has the label {self.classes_.tolist()[lacking[0]]!r}")
        if len(self.classes_) < 2:
            only = self.classes_.tolist()
            raise ValueError(f"{type(self).__name__} needs rows of at least 2 classes, got {only}")
        if len(x) < 2:
            raise ValueError(f"y must give labels to at least 2 rows, got {len(x)}")
        sets, number = LabelSets.of(member)
        rows, pair = sets.pairs(number)
        codes = sets.labels[pair]
        with np.errstate(over="ignore"):
            of_pairs = (weight / np.diff(member.indptr))[rows]
            of_pairs *= self._class_factors(codes, of_pairs)[codes]
            total = of_pairs.sum()
        if not np.isfinite(total):
            raise ValueError("the weights times class_weight overflow: scale them down")
        self.scaling_, features = self._scaled(x, weight)
        return TrainingData(
            features=features.astype(x.dtype, copy=False)[rows],
            y=codes,
            weight=of_pairs,
            n_classes=len(self.classes_),
            folds=row_folds(features, member, N_FOLDS)[rows],
            extra={"row": rows, "pair": pair},
            sets=sets,
        )

    def _threshold(self, data: TrainingData, decisions: NDArray[np.float64], rows: NDArray[np.intp]) -> float:
        """Which probability is best taken for a yes, on rows that were held out."""
        number, first, pair = np.unique(data.extra["row"][rows], return_index=True, return_inverse=True)
        member = np.zeros((len(number), data.n_classes), dtype=bool)
        member[pair.ravel(), data.y[rows]] = True
        weight: NDArray[np.float64] = np.bincount(pair.ravel(), data.weight[rows]).astype(np.float64)
        return best_threshold(softmax(_over(decisions[first], self.temperature_), axis=1), member, weight)

    def _held_out(
        self, data: TrainingData, chosen: dict[str, Any], learned: Learned
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Decisions on held-out rows, and which rows; classes of one row stay in every training part.

        Where the decisions of all rows would take too much memory those of a subset are taken: one number is
        estimated from them.
        """
        held_out: list[NDArray[np.float64]] = []
        rows: list[NDArray[Any]] = []
        count = np.isin(data.folds, range(self._n_calibration_fits)).sum() or len(data.y)
        asked = some_rows(data.features, MOST_DECISIONS / (count * data.n_classes))
        for fold in range(self._n_calibration_fits):
            out = data.folds == fold
            if (out & asked).any():
                part = self._learn(data.subset(~out), **chosen)
                out &= asked
                held_out.append(self._decisions(project(data.features[out], part), part.labels))
                rows.append(np.flatnonzero(out))
        if not rows:  # every class has one row: only the rows learned from are left
            decisions = self._decisions(project(data.features[asked], learned), learned.labels)
            return decisions, np.flatnonzero(asked)
        return np.concatenate(held_out), np.concatenate(rows)

    def _check_fit_input(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        """Rows of positive weight, their classes as numbers, their weights, and which rows these are."""
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )
        check_same_rows(X=X, y=y, sample_weight=sample_weight)
        x = as_matrix("X", X, min_rows=2)
        labels = column_or_1d(y, warn=True)
        if labels.dtype.kind == "f":
            refuse_non_finite("y", labels.reshape(-1, 1))
        check_classification_targets(labels)
        if len(labels) != len(x):
            raise ValueError(f"X and y must have the same number of rows, got {len(x)} and {len(labels)}")
        weight = as_weights(sample_weight, len(x), more_than=0.0)
        validate_data(self, X, y, reset=True, skip_check_array=True)
        refuse_non_finite("X", x)
        weight = np.ones(len(x)) if weight is None else weight
        kept = weight > 0.0
        self.classes_, codes = np.unique(labels[kept], return_inverse=True)
        if len(self.classes_) < 2:
            only = self.classes_.tolist()[0]
            raise ValueError(f"{type(self).__name__} needs rows of at least 2 classes, got 1 class: {only!r}")
        return x if kept.all() else x[kept], codes.astype(np.int64).ravel(), weight[kept], kept

    def _class_factors(self, codes: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the weights of each class are multiplied by."""
        given = getattr(self, "class_weight", None)
        n_classes = len(self.classes_)
        if given is None:
            return np.ones(n_classes)
        totals = np.bincount(codes, weight, n_classes)
        if isinstance(given, str) and given == "balanced":
            return totals.sum() / (n_classes * totals)  # type: ignore[no-any-return]
        known = self.classes_.tolist()
        factors = np.ones(n_classes)
        for label, factor in given.items():
            POSITIVE(f"class_weight[{label!r}]", factor)
            if label in known:
                factors[known.index(label)] = factor
        return factors

    # ---- after the fit

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Rows in the space of the labels, Psi(x).

        {rows}

        Returns
        -------
        ndarray of shape (n, d)
            In the dtype of ``X`` (float32 or float64); a data frame after ``set_output``.

        {raises_for_rows}
        """
        x = self._check_rows(X)
        return _as_dtype("transformed rows", self._psi(x), x.dtype)

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """How near each row is to each label: minus the squared distance, the cosine, or the inner product.

        {rows}

        Returns
        -------
        ndarray of shape (n, n_classes), or (n,) for two classes
            For two classes the second column less the first, as scikit-learn has it, unless rows have several
            labels.

        {raises_as_transform}
        """
        x = self._check_rows(X)
        two = len(self.label_embedding_) == 2 and not self._has_label_sets
        # what the classes have in common cancels in their difference
        decisions = self._near(self._psi(x), relative=two)
        return _as_dtype("decisions", decisions[:, 1] - decisions[:, 0] if two else decisions, x.dtype)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The nearest label of each row, or after a fit to several labels a row its labels.

        {rows}

        Returns
        -------
        ndarray of shape (n,), or of (n, n_classes)
            Labels out of ``classes_``. Of several labels a row an indicator matrix of 0 and 1, columns in the
            order of ``classes_``: the nearest label, and those with a probability of at least ``threshold_``.

        {raises_as_transform}
        """
        x = self._check_rows(X)
        if self._has_label_sets:
            return self._indicator(x)
        nearest = [block.argmax(axis=1) for block in self._nearness(x)]
        return self.classes_[np.concatenate([np.zeros(0, dtype=np.intp), *nearest])]  # type: ignore[no-any-return]

    def _indicator(self, x: NDArray[Any]) -> NDArray[np.int64]:
        out = np.zeros((len(x), len(self.classes_)), dtype=np.int64)
        for rows, block in zip(self._blocks(len(x)), self._nearness(x), strict=True):
            nearest = block.argmax(axis=1)
            out[rows] = softmax(_over(block, self.temperature_), axis=1) >= self.threshold_
            out[np.arange(rows.start, rows.stop), nearest] = 1
        return out

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The fraction of rows whose label, or set of labels, is predicted: hit@1, or subset accuracy.

        {rows}
        y : array_like of shape (n,)
            Their labels.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        float
            Between 0 and 1.
        """
        check_same_rows(X=X, y=y, sample_weight=sample_weight)
        if self._has_label_sets:
            check_is_fitted(self)
            y = membership(y, np.shape(X)[0], self.classes_).member.toarray().astype(np.int64)
        return float(super().score(X, y, sample_weight))

    def predict_top_k(self, X: ArrayLike, k: int = 5) -> NDArray[Any]:
        """The ``k`` nearest labels of each row, nearest first: an annotation with several labels.

        {rows}
        k : int, default=5
            1 to the number of classes.

        Returns
        -------
        ndarray of shape (n, k)
            Labels out of ``classes_``.

        Raises
        ------
        NotFittedError, ValueError
            As :meth:`transform`; for ``k`` out of range.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca.embedding import NearestClassMean
        >>> X = np.array([[0.0], [1.0], [4.0], [5.0], [9.0], [10.0]])
        >>> NearestClassMean().fit(X, list("aabbcc")).predict_top_k([[0.5], [6.0]], k=2)
        array([['a', 'b'],
               ['b', 'c']], dtype='<U1')
        """
        x = self._check_rows(X)
        n_classes = len(self.label_embedding_)
        k = integer(1, n_classes)("k", k)
        order = [np.argsort(-block, axis=1, kind="stable")[:, :k] for block in self._nearness(x)]
        return np.asarray(self.classes_[np.concatenate([np.zeros((0, k), dtype=np.intp), *order])])

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Probabilities of the labels: the softmax of :meth:`decision_function` over ``temperature_``.

        {rows}

        Returns
        -------
        ndarray of shape (n, n_classes)
            Rows that sum to 1, columns in the order of ``classes_``.

        {raises_as_transform}
        """
        x = self._check_rows(X)
        out = np.empty((len(x), len(self.label_embedding_)), dtype=x.dtype)
        for rows, block in zip(self._blocks(len(x)), self._nearness(x), strict=True):
            out[rows] = softmax(_over(block, self.temperature_), axis=1)
        return out

    def predict_log_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Logarithms of :meth:`predict_proba`, finite also where those vanish.

        {rows}

        Returns
        -------
        ndarray of shape (n, n_classes)
            Columns in the order of ``classes_``.

        {raises_as_transform}
        """
        x = self._check_rows(X)
        out = np.empty((len(x), len(self.label_embedding_)), dtype=x.dtype)
        for rows, block in zip(self._blocks(len(x)), self._nearness(x), strict=True):
            out[rows] = np.maximum(
                log_softmax(_over(block, self.temperature_), axis=1), np.finfo(x.dtype).min
            )
        return out

    # ---- inside

    def _check_rows(self, X: ArrayLike) -> NDArray[Any]:
        check_is_fitted(self)
        x = as_matrix("X", X)
        validate_data(self, X, reset=False, skip_check_array=True)
        refuse_non_finite("X", x)
        return x

    def _psi(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Psi of checked rows, in float64 whatever their dtype."""
        return project(
            self.scaling_.transform_checked(x),
            Learned(self.weights_, self.intercept_, self.label_embedding_),
        )

    def _blocks(self, n_rows: int) -> Iterator[slice]:
        """Runs of rows whose decisions take some 32 MB."""
        step = max(1, 2**22 // len(self.label_embedding_))
        return (slice(start, min(n_rows, start + step)) for start in range(0, n_rows, step))

    def _nearness(self, x: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
        """Decisions of checked rows up to what all classes have in common, block by block."""
        return (self._near(self._psi(x[rows]), relative=True) for rows in self._blocks(len(x)))

    def _near(self, z: NDArray[np.float64], *, relative: bool = False) -> NDArray[np.float64]:
        decisions = self._decisions(z, self.label_embedding_, relative=relative)
        # with_classes may lower the decisions for the classes of the fit
        offset = getattr(self, "decision_offset_", None)
        return decisions if offset is None else decisions + offset

    def _decisions(
        self, z: NDArray[np.float64], labels: NDArray[Any], *, relative: bool = False
    ) -> NDArray[np.float64]:
        """(n, n_classes): minus ‖z - u‖², the cosine of z and u, or their product.

        ``relative`` ones lack ‖z‖², next to which decisions for distant rows would differ by rounding alone.
        """
        labels = labels.astype(np.float64, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            if self._similarity == "cosine":
                out = unit_rows(z) @ unit_rows(labels).T
            elif self._similarity == "product":
                out = z @ labels.T
            else:
                # ‖z - u‖² = ‖z‖² - 2 z·u + ‖u‖², about the labels' mean, where less is lost to cancellation
                mean = labels.mean(axis=0)
                z, labels = z - mean, labels - mean
                out = z @ labels.T
                out *= 2
                out -= np.einsum("ij,ij->i", labels, labels)
                if not relative:
                    out -= np.einsum("ij,ij->i", z, z)[:, np.newaxis]
                    np.minimum(out, 0, out=out)
        if not np.isfinite(out).all():
            raise NumericalError("the distances of X to the labels overflow float64: scale the data down")
        return out

    @property
    def _has_label_sets(self) -> bool:
        return hasattr(self, "threshold_")

    @property
    def _similarity(self) -> Literal["euclidean", "cosine", "product"]:
        return getattr(self, "similarity", "euclidean")

    @property
    def _n_features_out(self) -> int:  # read by get_feature_names_out
        return int(self.label_embedding_.shape[1])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.classifier_tags.multi_label = self._takes_label_sets
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _as_dtype(what: str, a: NDArray[np.float64], dtype: Any) -> NDArray[Any]:
    """The values in the dtype of the data, which must hold them."""
    with np.errstate(over="ignore"):
        out = a.astype(dtype, copy=False)
    if out is not a and not np.isfinite(out).all():
        raise NumericalError(f"the {what} overflow {out.dtype}: scale the data down or use float64")
    return out


def _over(decisions: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Decisions over the temperature, less the largest of each row: finite whatever the temperature."""
    decisions -= decisions.max(axis=1, keepdims=True)
    with np.errstate(over="ignore"):
        decisions /= temperature
    return np.maximum(decisions, np.finfo(np.float64).min, out=decisions)


def project(features: NDArray[Any], learned: Learned) -> NDArray[np.float64]:
    """Psi of scaled inputs, in float64."""
    features = features.astype(np.float64, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        z = features if learned.weights is None else features @ learned.weights.astype(np.float64)
        z = z + learned.intercept
    if not np.isfinite(z).all():
        raise NumericalError("the rows of X overflow in the space of the labels: scale the data down")
    return z  # type: ignore[no-any-return]


def dimensions(n_components: Any, n_classes: int, n_features: int) -> int:
    """The parameter ``n_components``, at most one a class; None: that number, or 100 or p + 1 of more.

    Rows lie in an affine space of p dimensions; what labels have outside it shifts their nearness, for which
    one dimension more is enough.
    """
    k = N_COMPONENTS("n_components", n_components)
    if k is None:
        return n_classes if n_classes <= 100 else min(100, n_features + 1)
    return at_most("n_components", k, n_classes, f"the number of classes, {n_classes}")


# ---- calibration


def some_rows(features: NDArray[Any], fraction: float) -> NDArray[np.bool_]:
    """About that fraction of the rows, at least one, by their content: all copies of a row or none."""
    if fraction >= 1.0:
        return np.ones(len(features), dtype=bool)
    place = np.abs(content_key(features)) * 2.0**20 % 1.0
    return place <= max(fraction, float(place.min()))


def temperature_of(
    decisions: NDArray[np.float64], y: NDArray[np.int64], weight: NDArray[np.float64]
) -> float:
    """The T > 0 for which softmax(decisions / T) gives the labels the greatest likelihood.

    One more row that may be of any class is added (as Platt did), so that T stays finite and above 0 for
    rows that are all right or all wrong.
    """
    p = weight / weight.sum()
    centred = decisions - decisions.mean(axis=1, keepdims=True)
    unit = float(np.sqrt(p @ np.mean(centred**2, axis=1)))
    if not unit > 0.0:
        return 1.0
    centred /= unit
    uncertain = 1.0 / (weight.sum() + 2.0)
    target = (1.0 - uncertain) * float(p @ centred[np.arange(len(y)), y])  # the mean over classes is 0
    largest = centred.max(axis=1)
    below = centred - largest[:, np.newaxis]
    odds = np.empty_like(below)

    # d/ds of the mean log loss of softmax(s d): E_p[d] - E_target[d], which grows with s
    def slope(log_s: float) -> float:
        np.exp(np.multiply(below, np.exp(log_s), out=odds), out=odds)
        expected = largest + np.einsum("ij,ij->i", odds, below) / odds.sum(axis=1)
        return float(p @ expected - target)

    low, high = np.log(1e-2), np.log(1e4)
    if slope(low) >= 0.0:
        log_s = low
    elif slope(high) <= 0.0:
        log_s = high
    else:
        log_s = brentq(slope, low, high, xtol=1e-10)
    return unit / float(np.exp(log_s))
