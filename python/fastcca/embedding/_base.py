"""What every label embedding offers: the scikit-learn contract, written once.

An estimator derives from :class:`LabelEmbedding` and implements :meth:`~LabelEmbedding._learn`: from scaled
inputs to a linear map and one point for each class. Everything else (checks, scaling, transform, predict,
calibrated probabilities, names, dtypes, save) follows.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from fastcca._arguments.arrays import as_matrix, as_weights, check_same_rows, refuse_non_finite
from fastcca.embedding._calibration import content_folds, some_rows, temperature_of
from fastcca.embedding._checks import check_number
from fastcca.embedding._prediction import LabelPrediction
from fastcca.embedding._preprocessing import InputScaling
from fastcca.embedding._training_data import Learned, TrainingData, project

__all__ = ["LabelEmbedding"]

N_FOLDS = 3
MOST_DECISIONS = 2**22  # from which the temperature is found


class LabelEmbedding(LabelPrediction):
    """Base of the classifiers that put samples and labels into one space.

    Subclasses have the parameters ``scale_power``, ``normalize`` and ``temperature`` at least;
    ``class_weight`` counts where there is such a parameter.
    """

    scale_power: float
    normalize: bool
    temperature: float | None

    _n_calibration_fits = N_FOLDS  # to parts of the data; fits that take long make do with 1

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
        with np.errstate(over="ignore"):
            weight = weight * self._class_factors(codes, weight)[codes]
            total = weight.sum()
        if not np.isfinite(total):
            raise ValueError("the weights times class_weight overflow: scale them down")
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
        """The temperature that suits decisions on held-out rows; classes of one row stay in every part.

        Of so many decisions that they would fill the memory some rows' are taken: they are for one number.
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
        if not rows:  # every class has one row: all that is left are the rows learned from
            decisions = self._decisions(project(data.features[asked], learned), learned.labels)
            return temperature_of(decisions, data.y[asked], data.weight[asked])
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
