"""What a fitted label embedding is asked: where rows lie, which labels they are near, how sure that is."""

from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from fastcca._persistence import SavedModel
from fastcca._validation import as_matrix, refuse_non_finite
from fastcca.embedding._preprocessing import InputScaling
from fastcca.embedding._training_data import Learned, project

__all__ = ["LabelPrediction"]


class LabelPrediction(
    SavedModel,
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    ClassifierMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Questions to a linear map and one point for each class; ``similarity`` counts where there is one."""

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
        return project(self.scaling_.transform(x), self._learned())

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


def _unit_rows(a: NDArray[Any]) -> NDArray[Any]:
    length = np.sqrt(np.einsum("ij,ij->i", a, a))[:, np.newaxis]
    return np.divide(a, length, out=np.zeros_like(a), where=length > 0)  # type: ignore[no-any-return]
