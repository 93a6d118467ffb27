"""Early fusion: several views side by side as one, each brought to the same scale first."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.modalities import Modalities, check_modalities, pick
from fastcca._arguments.parameters import anything, choice
from fastcca._models.docs import documented
from fastcca._models.files import SavedModel, Schema
from fastcca._models.multi_view import scaled_statistics
from fastcca.errors import NumericalError

__all__ = ["EarlyFusion"]


@documented
class EarlyFusion(
    SavedModel,
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Concatenation of views, centred, scaled and weighted: the simplest joint representation.

    A view with a thousand columns in large units would drown one with ten in small ones; so each view is
    divided to a total variance of 1 and multiplied by its weight.

    Parameters
    ----------
    scale : {"view", "columns", None}, default="view"
        "view": a view is divided by the root of its total variance, its columns keep their proportions.
        "columns": each column by its standard deviation, then the view likewise. None: only centred.
    weights : mapping of str to float, or sequence of float, optional
        What each view is multiplied by, by name or in the order of the views; 1 for those not named.

    Attributes
    ----------
    modalities_ : tuple of str
        Names of the views in the order of their columns.
    means_, factors_ : dict of str to ndarray
        What is subtracted from the columns of a view, and what they are multiplied by then.
    n_features_in_ : int
        Columns of all views.

    Notes
    -----
    Views are given as a mapping from names to arrays, as a sequence of arrays (named "view0", "view1", ...)
    or as one matrix. A view that is missing, as a whole or in a row (NaN throughout, or None in a list of
    rows), counts as its mean: zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.fusion import EarlyFusion
    >>> rng = np.random.default_rng(0)
    >>> views = {"audio": 1000 * rng.normal(size=(50, 3)), "image": rng.normal(size=(50, 20))}
    >>> fusion = EarlyFusion(weights={"image": 2.0}).fit(views)
    >>> Z = fusion.transform(views)
    >>> [round(float(part.var(axis=0, ddof=1).sum()), 6) for part in (Z[:, :3], Z[:, 3:])]
    [1.0, 4.0]
    >>> bool(np.allclose(fusion.inverse_transform(Z)["audio"], views["audio"]))
    True
    """

    modalities_: tuple[str, ...]
    means_: dict[str, NDArray[np.float64]]
    factors_: dict[str, NDArray[np.float64]]
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    _schema = Schema(
        "EarlyFusion",
        fields="modalities_ means_ factors_ n_features_in_ column_names=_columns",
        optional="feature_names_in_",
    )
    _constraints = {  # noqa: RUF012
        "scale": choice("view", "columns", None),
        "weights": anything("a number for each view"),  # with the views
    }

    def __init__(
        self,
        scale: Literal["view", "columns"] | None = "view",
        weights: Mapping[str, float] | Sequence[float] | None = None,
    ) -> None:
        self.scale = scale
        self.weights = weights

    def fit(self, views: Any, y: Any = None) -> "EarlyFusion":
        """Learn means and scales.

        Parameters
        ----------
        views : mapping of str to array_like of shape (n, p_i), sequence of such, or one array_like
            Rows of all views belong together.
        y : ignored

        Returns
        -------
        EarlyFusion
            Itself.

        Raises
        ------
        ValueError
            For parameters out of range, different numbers of rows, a row without any view, a view
            missing in every row, NaN or infinity inside a row.
        NumericalError
            If the variance of a view overflows, or vanishes though a column varies. (It is a ValueError as
            well.)
        """
        found = check_modalities(views, type(self).__name__)
        weights = pick(tuple(found.data), self.weights, "weights", missing=1.0)
        means: dict[str, NDArray[np.float64]] = {}
        factors: dict[str, NDArray[np.float64]] = {}
        for name, a in found.data.items():
            present = found.present[name]
            rows = a if present.all() else a[present]
            by_column = None if self.scale is None else self.scale == "columns"
            mean, variance = scaled_statistics(name, rows, by_column)
            means[name], factors[name] = mean, weights[name] * self._factors(variance)
        # all at the end: a fit that fails leaves the model as it was
        self.modalities_ = tuple(found.data)
        self.means_, self.factors_ = means, factors
        self._columns = found.names
        self.n_features_in_ = sum(map(len, self.means_.values()))
        self._set_names(found)
        return self

    def _factors(self, variance: NDArray[np.float64]) -> NDArray[np.float64]:
        varies = variance > 0
        if self.scale is None or not varies.any():
            return np.ones_like(variance)
        if self.scale == "view":
            return np.full_like(variance, variance.sum() ** -0.5)
        # each column to variance 1, then the sum of them, which is their number
        factors: NDArray[np.float64] = (np.where(varies, variance, 1.0) * varies.sum()) ** -0.5
        return factors

    def _set_names(self, found: Modalities) -> None:
        """scikit-learn's own attribute, for a single data frame."""
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        if self.modalities_ == ("X",) and found.names["X"] is not None:
            self.feature_names_in_ = found.names["X"]

    def transform(self, views: Any) -> NDArray[Any]:
        """The views side by side.

        Parameters
        ----------
        views : as for ``fit``
            Views may be left out.

        Returns
        -------
        ndarray of shape (n, n_features_in_)
            float32 if every view is, else float64. Zeros where a view is missing.

        {raises_not_fitted}
        ValueError
            For an unknown view, a wrong number of features or of rows, a row without any view, NaN or
            infinity inside a row.
        """
        check_is_fitted(self)
        widths = {name: len(mean) for name, mean in self.means_.items()}
        found = check_modalities(views, type(self).__name__, widths, self._columns)
        out = np.zeros((found.n_rows, self.n_features_in_), np.result_type(*found.data.values()))
        for name, block in self._blocks().items():
            if name in found.data:
                rows = found.present[name]
                with np.errstate(over="ignore"):
                    out[rows, block] = (found.data[name][rows] - self.means_[name]) * self.factors_[name]
                if not np.isfinite(out[rows, block]).all():
                    raise NumericalError(f"the scaled rows of {name} overflow {out.dtype}: scale it down")
        return out

    def inverse_transform(self, Z: ArrayLike) -> dict[str, NDArray[Any]]:
        """The views in their units.

        Parameters
        ----------
        Z : array_like of shape (n, n_features_in_)
            As :meth:`transform` gives it.

        Returns
        -------
        dict of str to ndarray
            Of shapes (n, p_i); the mean for a view of weight 0.
        """
        check_is_fitted(self)
        found = check_modalities(Z, type(self).__name__, {"X": self.n_features_in_}).data["X"]
        views = {}
        for name, block in self._blocks().items():
            factor = self.factors_[name]
            inverse = np.divide(1.0, factor, out=np.zeros_like(factor), where=factor > 0)
            views[name] = (found[:, block] * inverse + self.means_[name]).astype(found.dtype, copy=False)
        return views

    def _blocks(self) -> dict[str, slice]:
        ends = np.cumsum([len(self.means_[name]) for name in self.modalities_]).tolist()
        return {
            name: slice(start, end)
            for name, start, end in zip(self.modalities_, [0, *ends], ends, strict=False)
        }

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns: the view's, two underscores, the column's name or number.

        {returns_names}
        """
        check_is_fitted(self)
        names = []
        for name in self.modalities_:
            columns = self._columns[name]
            names += [f"{name}__{c}" for c in (range(len(self.means_[name])) if columns is None else columns)]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
