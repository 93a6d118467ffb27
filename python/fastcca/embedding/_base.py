"""What every label embedding offers: the scikit-learn contract, written once.

An estimator derives from :class:`LabelEmbedding` and implements :meth:`~LabelEmbedding._learn`: from scaled
inputs to a linear map and one point for each class. Everything else (checks, scaling, transform, predict,
calibrated probabilities, names, dtypes, save) follows.
"""

from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from fastcca._persistence import SavedModel
from fastcca._validation import as_matrix, as_weights, refuse_non_finite
from fastcca.embedding._calibration import content_folds, temperature_of
from fastcca.embedding._preprocessing import InputScaling

__all__ = ["LabelEmbedding", "Learned", "TrainingData"]

N_FOLDS = 3


@dataclass(frozen=True)
class TrainingData:
    """What :meth:`LabelEmbedding._learn` learns from."""

    features: NDArray[Any]  # (n, p), centred and scaled; float32 if X was
    y: NDArray[np.int64]  # (n,), rows of ``classes_``
    weight: NDArray[np.float64]  # (n,), > 0: sample weights times class weights, counting as repetitions
    n_classes: int
    folds: NDArray[np.int64]  # (n,), for choices that take held-out rows; -1: never held out
    extra: dict[str, NDArray[Any]] = field(default_factory=dict)  # more arrays of n rows

    def subset(self, rows: NDArray[Any]) -> "TrainingData":
        """The rows of a mask or of indices."""
        return replace(
            self,
            features=self.features[rows],
            y=self.y[rows],
            weight=self.weight[rows],
            folds=self.folds[rows],
            extra={name: values[rows] for name, values in self.extra.items()},
        )

    def batch(
        self, rows: NDArray[np.int64] | None
    ) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
        """Features, classes and weights of some rows, or of all (None)."""
        if rows is None:
            return self.features, self.y, self.weight
        return self.features[rows], self.y[rows], self.weight[rows]

    @property
    def share(self) -> NDArray[np.float64]:
        """The weights as parts of one."""
        return self.weight / self.weight.sum()  # type: ignore[no-any-return]

    def class_means(self) -> NDArray[np.float64]:
        """(n_classes, p), float64."""
        member = np.zeros((self.n_classes, len(self.y)))
        member[self.y, np.arange(len(self.y))] = self.weight
        member /= member.sum(axis=1, keepdims=True)
        return member @ self.features.astype(np.float64, copy=False)


@dataclass(frozen=True)
class Learned:
    """What :meth:`LabelEmbedding._learn` returns: Psi(f) = f @ weights + intercept."""

    weights: NDArray[Any] | None  # (p, d), or None for the identity
    intercept: NDArray[Any]  # (d,)
    labels: NDArray[Any]  # (n_classes, d)
    attributes: dict[str, Any] = field(default_factory=dict)  # further fitted attributes by name


class LabelEmbedding(
    SavedModel,
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    ClassifierMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Base of the classifiers that put samples and labels into one space.

    Subclasses have the parameters ``scale_power``, ``normalize`` and ``temperature`` at least;
    ``class_weight`` and ``similarity`` count where there are such parameters.
    """

    scale_power: float
    normalize: bool
    temperature: float | None

    _n_calibration_fits = N_FOLDS  # to parts of the data; fits that take long make do with 1

    classes_: NDArray[Any]
    label_embedding_: NDArray[Any]
    weights_: NDArray[Any] | None
    intercept_: NDArray[Any]
    scaling_: InputScaling
    temperature_: float
    n_features_in_: int

    # ---- what a subclass gives

    def _check_parameters(self) -> None:
        """Refuse parameters out of range; called first, before any work."""
        check_number("scale_power", self.scale_power, low=0.0, high=1.0)
        if not isinstance(self.normalize, (bool, np.bool_)):
            raise ValueError(f"normalize must be True or False, got {self.normalize!r}")
        if self.temperature is not None:
            check_number("temperature", self.temperature, low=0.0, low_included=False)

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        """Keyword arguments of ``_learn``, chosen once on the whole of the data."""
        return {}

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        """Learn from the data without setting anything on self: it is called for parts of the data too."""
        raise NotImplementedError

    def _scaled(
        self, x: NDArray[Any], weight: NDArray[np.float64]
    ) -> tuple[InputScaling, NDArray[np.float64]]:
        """The scaling of the inputs and the scaled inputs, float64."""
        scaling = InputScaling(self.scale_power, self.normalize)
        return scaling, scaling.fit_transform(x, weight)

    # ---- fit

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> "LabelEmbedding":
        """Fit to rows and their labels.

        Parameters
        ----------
        X : array_like of shape (n, p)
            One row a sample; float32 or float64.
        y : array_like of shape (n,)
            The label of each row: numbers or text.
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
        self._check_parameters()
        x, codes, weight, kept = self._check_fit_input(X, y, sample_weight)
        weight = weight * self._class_factors(codes, weight)[codes]
        scaling, features = self._scaled(x, weight)
        data = TrainingData(
            features=features.astype(x.dtype, copy=False),
            y=codes,
            weight=weight,
            n_classes=len(self.classes_),
            folds=content_folds(features, codes, N_FOLDS),
            extra={name: values[kept] for name, values in (extra or {}).items()},
        )
        chosen = self._choose(data)
        learned = self._learn(data, **chosen)
        self.scaling_ = scaling
        # in one order, in which a file gives them back: products then round alike
        self.weights_ = None if learned.weights is None else np.ascontiguousarray(learned.weights, x.dtype)
        self.intercept_ = np.ascontiguousarray(learned.intercept, x.dtype)
        self.label_embedding_ = np.ascontiguousarray(learned.labels, x.dtype)
        for name, value in learned.attributes.items():
            setattr(self, name, value)
        self.temperature_ = (
            self._calibrated(data, chosen, learned) if self.temperature is None else float(self.temperature)
        )

    def _calibrated(self, data: TrainingData, chosen: dict[str, Any], learned: Learned) -> float:
        """The temperature that suits decisions on held-out rows; classes of one row stay in every part."""
        held_out: list[NDArray[np.float64]] = []
        rows: list[NDArray[Any]] = []
        for fold in range(self._n_calibration_fits):
            out = data.folds == fold
            if out.any():
                part = self._learn(data.subset(~out), **chosen)
                held_out.append(self._decisions(_project(data.features[out], part), part.labels))
                rows.append(np.flatnonzero(out))
        if not rows:  # every class has one row: all that is left are the rows learned from
            decisions = self._decisions(_project(data.features, learned), learned.labels)
            return temperature_of(decisions, data.y, data.weight)
        index = np.concatenate(rows)
        return temperature_of(np.concatenate(held_out), data.y[index], data.weight[index])

    def _check_fit_input(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        """Rows of positive weight, their classes as numbers, their weights, and which rows these are."""
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )
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
        return x[kept], codes.astype(np.int64).ravel(), weight[kept], kept

    def _class_factors(self, codes: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the weights of each class are multiplied by."""
        given = getattr(self, "class_weight", None)
        n_classes = len(self.classes_)
        if given is None:
            return np.ones(n_classes)
        totals = np.bincount(codes, weight, n_classes)
        if isinstance(given, str) and given == "balanced":
            return totals.sum() / (n_classes * totals)  # type: ignore[no-any-return]
        if not isinstance(given, dict):
            raise ValueError(
                f"class_weight must be 'balanced', a dict from label to weight, or None, got {given!r}"
            )
        known = self.classes_.tolist()
        factors = np.ones(n_classes)
        for label, factor in given.items():
            check_number(f"class_weight[{label!r}]", factor, low=0.0, low_included=False)
            if label in known:
                factors[known.index(label)] = factor
        return factors

    # ---- use

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Rows in the space of the labels, Psi(x).

        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows in the units of the training data.

        Returns
        -------
        ndarray of shape (n, d)
            In the dtype of ``X`` (float32 or float64); a data frame after ``set_output``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            For a wrong number of features, NaN or infinity.
        """
        return self._psi(X)

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """How near each row is to each label: minus the squared distance, or what the class says.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows in the units of the training data.

        Returns
        -------
        ndarray of shape (n, n_classes), or (n,) for two classes
            For two classes the second column less the first, as scikit-learn has it.

        Raises
        ------
        NotFittedError, ValueError
            As :meth:`transform`.
        """
        decisions = self._near(X)
        return decisions[:, 1] - decisions[:, 0] if decisions.shape[1] == 2 else decisions

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The nearest label of each row.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows in the units of the training data.

        Returns
        -------
        ndarray of shape (n,)
            Labels out of ``classes_``.

        Raises
        ------
        NotFittedError, ValueError
            As :meth:`transform`.
        """
        nearest = self._near(X).argmax(axis=1)
        return self.classes_[nearest]  # type: ignore[no-any-return]

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The share of rows whose label is predicted: hit@1.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows in the units of the training data.
        y : array_like of shape (n,)
            Their labels.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        float
            Between 0 and 1.
        """
        return float(super().score(X, y, sample_weight))

    def predict_top_k(self, X: ArrayLike, k: int = 5) -> NDArray[Any]:
        """The ``k`` nearest labels of each row, nearest first: an annotation with several labels.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows in the units of the training data.
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
        decisions = self._near(X)
        n_classes = decisions.shape[1]
        if not isinstance(k, Integral) or isinstance(k, bool) or not 1 <= int(k) <= n_classes:
            raise ValueError(f"k must be a whole number from 1 to {n_classes}, the classes, got {k!r}")
        order = np.argsort(-decisions, axis=1, kind="stable")[:, : int(k)]
        return self.classes_[order]

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Distances read as probabilities: the softmax of the nearness to each label over ``temperature_``.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows in the units of the training data.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Rows that sum to 1, columns in the order of ``classes_``.

        Raises
        ------
        NotFittedError, ValueError
            As :meth:`transform`.
        """
        decisions = self._near(X)
        return softmax(decisions / decisions.dtype.type(self.temperature_), axis=1)  # type: ignore[no-any-return]

    def predict_log_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Logarithms of :meth:`predict_proba`, finite also where those vanish.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows in the units of the training data.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Columns in the order of ``classes_``.

        Raises
        ------
        NotFittedError, ValueError
            As :meth:`transform`.
        """
        decisions = self._near(X)
        return log_softmax(decisions / decisions.dtype.type(self.temperature_), axis=1)  # type: ignore[no-any-return]

    # ---- inside

    def _learned(self) -> Learned:
        return Learned(self.weights_, self.intercept_, self.label_embedding_)

    def _near(self, X: ArrayLike) -> NDArray[Any]:
        z = self._psi(X)
        return self._decisions(z, self.label_embedding_.astype(z.dtype, copy=False))

    def _psi(self, X: ArrayLike) -> NDArray[Any]:
        check_is_fitted(self)
        x = as_matrix("X", X)
        validate_data(self, X, reset=False, skip_check_array=True)
        refuse_non_finite("X", x)
        return _project(self.scaling_.transform(x), self._learned())

    def _decisions(self, z: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
        """(n, n_classes): minus ‖z - u‖², the cosine of z and u, or their product."""
        if self._similarity == "product":
            products: NDArray[Any] = z @ labels.T
            return products
        if self._similarity == "cosine":
            cosines: NDArray[Any] = _unit_rows(z) @ _unit_rows(labels).T
            return cosines
        # ‖z - u‖² = ‖z‖² - 2 z·u + ‖u‖², about the labels' mean, where less is lost to cancellation
        middle = labels.mean(axis=0)
        z, labels = z - middle, labels - middle
        out: NDArray[Any] = z @ labels.T
        out *= 2
        out -= np.einsum("ij,ij->i", z, z)[:, np.newaxis]
        out -= np.einsum("ij,ij->i", labels, labels)
        return np.minimum(out, 0, out=out)  # type: ignore[no-any-return]

    @property
    def _similarity(self) -> Literal["euclidean", "cosine", "product"]:
        return getattr(self, "similarity", "euclidean")

    @property
    def _n_features_out(self) -> int:  # read by get_feature_names_out
        return int(self.label_embedding_.shape[1])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _project(features: NDArray[Any], learned: Learned) -> NDArray[Any]:
    dtype = features.dtype
    weights = learned.weights
    z = features if weights is None else features @ np.asarray(weights, dtype=dtype)
    return z + np.asarray(learned.intercept, dtype=dtype)  # type: ignore[no-any-return]


def _unit_rows(a: NDArray[Any]) -> NDArray[Any]:
    length = np.sqrt(np.einsum("ij,ij->i", a, a))[:, np.newaxis]
    return np.divide(a, length, out=np.zeros_like(a), where=length > 0)  # type: ignore[no-any-return]


def check_number(
    name: str,
    value: Any,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    low_included: bool = True,
) -> float:
    """``value`` as a finite number from ``low`` to ``high``."""
    valid = isinstance(value, Real) and not isinstance(value, (bool, np.bool_)) and np.isfinite(float(value))
    if not valid or not (low < value <= high or (low_included and value == low)):
        least = f"{'>=' if low_included else '>'} {low:g}" if low > -np.inf else ""
        most = f"<= {high:g}" if high < np.inf else ""
        rule = " and ".join(part for part in (least, most) if part)
        raise ValueError(f"{name} must be a number {rule}, got {value!r}".replace("  ", " "))
    return float(value)


def check_count(name: str, value: Any, *, low: int = 1) -> int:
    """``value`` as a whole number of at least ``low``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < low:
        raise ValueError(f"{name} must be a whole number >= {low}, got {value!r}")
    return int(value)


def check_n_components(value: Any, n_classes: int) -> int:
    """The dimensions asked for, at most one a class; None: that number, 100 at most."""
    if value is None:
        return min(n_classes, 100)
    if check_count("n_components", value) > n_classes:
        raise ValueError(f"n_components={value} is more than the number of classes, {n_classes}")
    return int(value)
