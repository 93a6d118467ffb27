"""What a fitted label embedding is asked: where rows lie, which labels they are near, how sure that is."""

from collections.abc import Iterator
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from fastcca._arguments.parameters import as_matrix, check_same_rows, refuse_non_finite
from fastcca._models.files import SavedModel, Schema
from fastcca.embedding._preprocessing import InputScaling
from fastcca.embedding._training_data import Learned, project
from fastcca.errors import NumericalError
from fastcca.functional.linalg import unit_rows

__all__ = ["LabelPrediction"]


class LabelPrediction(
    SavedModel,
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    ClassifierMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Questions to a linear map and one point for each class; ``similarity`` counts where there is one."""

    _schema = Schema(
        fields="n_features_in_ classes_ scaling_ weights_ intercept_ label_embedding_ temperature_",
        optional="feature_names_in_",
    )

    classes_: NDArray[Any]
    label_embedding_: NDArray[Any]
    weights_: NDArray[Any] | None
    intercept_: NDArray[Any]
    scaling_: InputScaling
    temperature_: float
    n_features_in_: int

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
        x = self._check_rows(X)
        return _as_dtype("transformed rows", self._psi(x), x.dtype)

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
        x = self._check_rows(X)
        two = len(self.label_embedding_) == 2
        # what the classes have in common cancels in their difference
        decisions = self._near(self._psi(x), relative=two)
        return _as_dtype("decisions", decisions[:, 1] - decisions[:, 0] if two else decisions, x.dtype)

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
        x = self._check_rows(X)
        nearest = [block.argmax(axis=1) for block in self._nearness(x)]
        return self.classes_[np.concatenate(nearest)]  # type: ignore[no-any-return]

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
        check_same_rows(X=X, y=y, sample_weight=sample_weight)
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
        x = self._check_rows(X)
        n_classes = len(self.label_embedding_)
        if not isinstance(k, Integral) or isinstance(k, bool) or not 1 <= int(k) <= n_classes:
            raise ValueError(f"k must be a whole number from 1 to {n_classes}, the classes, got {k!r}")
        order = [np.argsort(-block, axis=1, kind="stable")[:, : int(k)] for block in self._nearness(x)]
        return self.classes_[np.concatenate(order)]

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
        x = self._check_rows(X)
        out = np.empty((len(x), len(self.label_embedding_)), dtype=x.dtype)
        for rows, block in zip(self._blocks(len(x)), self._nearness(x), strict=True):
            out[rows] = softmax(_over(block, self.temperature_), axis=1)
        return out

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
        x = self._check_rows(X)
        out = np.empty((len(x), len(self.label_embedding_)), dtype=x.dtype)
        for rows, block in zip(self._blocks(len(x)), self._nearness(x), strict=True):
            out[rows] = np.maximum(
                log_softmax(_over(block, self.temperature_), axis=1), np.finfo(x.dtype).min
            )
        return out

    # ---- inside

    def _learned(self) -> Learned:
        return Learned(self.weights_, self.intercept_, self.label_embedding_)

    def _check_rows(self, X: ArrayLike) -> NDArray[Any]:
        check_is_fitted(self)
        x = as_matrix("X", X, complete=True)
        validate_data(self, X, reset=False, skip_check_array=True)
        refuse_non_finite("X", x)
        return x

    def _psi(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Psi of checked rows, in float64 whatever their dtype."""
        return project(self.scaling_.transform(x), self._learned())

    def _blocks(self, n_rows: int) -> Iterator[slice]:
        """Runs of rows whose decisions take some 32 MB."""
        step = max(1, 2**22 // len(self.label_embedding_))
        return (slice(start, min(n_rows, start + step)) for start in range(0, n_rows, step))

    def _nearness(self, x: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
        """Decisions of checked rows up to what all classes have in common, block by block."""
        return (self._near(self._psi(x[rows]), relative=True) for rows in self._blocks(len(x)))

    def _near(self, z: NDArray[np.float64], *, relative: bool = False) -> NDArray[np.float64]:
        return self._decisions(z, self.label_embedding_, relative=relative)

    def _decisions(
        self, z: NDArray[np.float64], labels: NDArray[Any], *, relative: bool = False
    ) -> NDArray[np.float64]:
        """(n, n_classes): minus ‖z - u‖², the cosine of z and u, or their product.

        ``relative`` ones lack ‖z‖², beside which the labels of distant rows would differ by rounding alone.
        """
        labels = labels.astype(np.float64, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            if self._similarity == "cosine":
                out = unit_rows(z) @ unit_rows(labels).T
            elif self._similarity == "product":
                out = z @ labels.T
            else:
                # ‖z - u‖² = ‖z‖² - 2 z·u + ‖u‖², about the labels' mean, where less is lost to cancellation
                middle = labels.mean(axis=0)
                z, labels = z - middle, labels - middle
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
