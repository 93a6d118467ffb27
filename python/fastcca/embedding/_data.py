"""What a label embedding learns from: scaled inputs, classes, weights, and folds for held-out choices."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse

from fastcca._arguments.arrays import as_matrix, as_weights, refuse_non_finite
from fastcca._arguments.parameters import FLAG, number
from fastcca._models.files import SavedModel, Schema
from fastcca.embedding._docs import documented
from fastcca.embedding._label_sets import LabelSets
from fastcca.errors import NumericalError
from fastcca.functional.hinge import ConstraintTable

__all__ = [
    "SCALING",
    "InputScaling",
    "TrainingData",
    "content_folds",
    "content_key",
    "is_multilabel",
    "row_folds",
]


# The constraints of the parameters that choose the scaling.
SCALING = {"whitening_exponent": number(0, 1), "normalize": FLAG}


@documented
class InputScaling(SavedModel):
    r"""Centred columns divided by a power of their standard deviation, then rows of similar norm.

    With the mean :math:`m_j` and the standard deviation :math:`s_j` of column j,
    :math:`z_j = (x_j - m_j) / (s_j^a g)`, and g such that the mean of ‖z‖² is 1, the rows become

    .. math:: f = z \sqrt{2 / (1 + \lVert z \rVert^2)} - \text{mean}.

    Long rows are shortened to a norm of at most √2, so that outliers do not dominate a fit; unlike rows
    divided by their norm the map is one to one, so that data of one or two columns keep what separates their
    classes. The exponent a = 1/2 suits principal components, whose small variances are mostly noise, and is
    a compromise between columns as they are (0) and columns of equal variance (1). A common factor of all
    columns cancels.

    Parameters
    ----------
    exponent : float, default=0.5
        a: 0 only centres the columns, 1 gives them equal variance.
    normalize : bool, default=True
        Whether to shrink the norms of the rows; else f = z.
    name : str, default="X"
        The name of the data in error messages.

    Attributes
    ----------
    mean_, factor_ : ndarray of shape (p,)
        The mean of each column and what the centred column is multiplied by; 0 for a constant column.
    center_ : ndarray of shape (p,)
        The mean of the rows after their norms were shrunk, which is subtracted.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.embedding import InputScaling
    >>> scaling = InputScaling(exponent=1.0, normalize=False)
    >>> scaling.fit_transform([[0.0, 10.0], [2.0, 30.0]]) * np.sqrt(2)
    array([[-1., -1.],
           [ 1.,  1.]])
    """

    mean_: NDArray[np.float64]
    factor_: NDArray[np.float64]
    center_: NDArray[np.float64]

    _schema = Schema("InputScaling", fields="mean_ factor_ center_")

    def __init__(self, exponent: float = 0.5, normalize: bool = True, name: str = "X") -> None:
        self.name = name
        self.exponent = exponent
        self.normalize = normalize

    def fit_transform(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> NDArray[np.float64]:
        """Take means and standard deviations from rows, and scale these.

        Parameters
        ----------
        X : array_like of shape (n, p)
            The rows.
        sample_weight : array_like of shape (n,), optional
            Weights, which count as repetitions of a row.

        {returns_scaled_rows}

        Raises
        ------
        ValueError
            For data that are not numbers, NaN or infinity.
        NumericalError
            If every column is constant, or the differences of the rows overflow.
        """
        x = as_matrix(self.name, X)
        refuse_non_finite(self.name, x)
        weight = as_weights(sample_weight, len(x), more_than=0.0)
        return self.fit_checked(x, np.ones(len(x)) if weight is None else weight)

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """Scale rows by the means and standard deviations of the fit.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows in the units of the fit.

        {returns_scaled_rows}

        Raises
        ------
        ValueError
            For data that are not numbers, another number of columns, NaN or infinity.
        NumericalError
            If the scaled rows overflow.
        """
        x = as_matrix(self.name, X)
        if x.shape[1] != len(self.mean_):
            raise ValueError(f"{self.name} has {x.shape[1]} columns, the scaling has {len(self.mean_)}")
        refuse_non_finite(self.name, x)
        return self.transform_checked(x)

    def fit_checked(self, x: NDArray[Any], weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """:meth:`fit_transform` of finite rows."""
        p = weight / weight.sum()
        z = x.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            self.mean_ = p @ z
            z -= self.mean_
        unit = np.abs(z).max(axis=0)
        if not np.isfinite(unit).all():
            raise NumericalError(f"the differences of the rows of {self.name} overflow: scale it down")
        # what rounding leaves of a constant column is none
        varies = unit > 16 * np.finfo(np.float64).eps * np.abs(self.mean_)
        if not varies.any():
            raise NumericalError(f"every column of {self.name} is constant: there is nothing to learn from")
        unit[~varies] = 1.0
        z /= unit  # squares then neither overflow nor vanish
        deviation = np.sqrt(p @ z**2)
        deviation[~varies] = 1.0
        # z = x / s^a with x in units of the column's largest entry
        largest_unit = unit[varies].max()
        scale = (unit / largest_unit) ** (1.0 - self.exponent) / deviation**self.exponent
        scale[~varies] = 0.0
        scale /= np.sqrt((p @ z**2) @ scale**2)
        z *= scale
        with np.errstate(over="ignore"):
            self.factor_ = scale / unit
        if not np.isfinite(self.factor_).all():
            column = int(np.argmin(np.isfinite(self.factor_)))
            raise NumericalError(
                f"column {column} of {self.name} is too small for float arithmetic, within "
                f"{unit[column]:.3g} of its mean: scale it up"
            )
        self.center_ = np.zeros(z.shape[1])
        if self.normalize:
            z *= np.sqrt(2.0 / (1.0 + np.einsum("ij,ij->i", z, z)))[:, np.newaxis]
            self.center_ = p @ z
            z -= self.center_
        return z

    def transform_checked(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """:meth:`transform` of finite rows; in float64, as a square of float32 overflows at 1e20."""
        with np.errstate(over="ignore", invalid="ignore"):
            z: NDArray[np.float64] = x - self.mean_
            z *= self.factor_
            if self.normalize:
                # f = (z / u) √(2 / (u⁻² + ‖z / u‖²)), u = 1 but for rows whose squares would overflow
                largest = np.abs(z).max(axis=1, keepdims=True, initial=0.0)
                unit = np.where(largest > 1e100, largest, 1.0)
                if (unit != 1.0).any():
                    z /= unit
                squares = unit**-2.0 + np.einsum("ij,ij->i", z, z)[:, np.newaxis]
                z *= np.sqrt(2.0 / squares)
                z -= self.center_
        if not np.isfinite(z).all():
            raise NumericalError(f"the scaled rows of {self.name} overflow: scale the data down")
        return z


@dataclass(frozen=True)
class TrainingData:
    """Rows of a fit: their scaled features, classes and weights."""

    features: NDArray[Any]  # (n, p), centred and scaled; float32 if X was
    y: NDArray[np.int64]  # (n,), rows of ``classes_``
    weight: NDArray[np.float64]  # (n,), > 0: sample weights times class weights, counting as repetitions
    n_classes: int
    folds: NDArray[np.int64]  # (n,), for choices that take held-out rows; -1: never held out
    extra: dict[str, NDArray[Any]] = field(default_factory=dict)  # more arrays of n rows
    # Of samples with several labels: a row of these arrays is a sample with one of its labels, and ``extra``
    # has the number of the sample, "row", and of its set and label, "pair".
    sets: LabelSets | None = None

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

    @property
    def targets(self) -> NDArray[np.int64]:
        """(n,): the class of each row, or of several labels its class in ``table``: what the losses take."""
        return self.y if self.sets is None else self.extra["pair"]

    @property
    def table(self) -> ConstraintTable | None:
        """What ``targets`` are classes of where they are no labels: a label against those its row lacks."""
        return None if self.sets is None else self.sets.table

    def batch(
        self, rows: NDArray[np.int64] | None
    ) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
        """Features, targets and weights of some rows, or of all (None)."""
        if rows is None:
            return self.features, self.targets, self.weight
        return self.features[rows], self.targets[rows], self.weight[rows]

    @property
    def normalized_weight(self) -> NDArray[np.float64]:
        """The weights normalised to sum to 1."""
        return self.weight / self.weight.sum()  # type: ignore[no-any-return]

    def class_sums(self, values: NDArray[Any], *, weighted: bool = True) -> NDArray[np.float64]:
        """(n_classes, m): the sum of the rows of ``values`` (n, m) over the rows of each class."""
        n = len(self.y)
        weight = self.weight if weighted else np.ones(n)
        member = csr_array((weight, (self.y, np.arange(n))), shape=(self.n_classes, n))
        return np.asarray(member @ values.astype(np.float64, copy=False))

    def class_means(self, values: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """(n_classes, m): the mean of the features, or of other ``values`` (n, m), of each class."""
        totals = np.bincount(self.y, self.weight, self.n_classes)[:, np.newaxis]
        return self.class_sums(self.features if values is None else values) / totals


def content_folds(features: NDArray[np.float64], y: NDArray[np.int64], n_folds: int) -> NDArray[np.int64]:
    """The fold in which each row is held out, or -1 for a class of one distinct row, which is never.

    Folds depend on the contents of the rows alone: neither their order nor copies of them matter (copies stay
    together), so that a weight of 2 and a row given twice lead to the same fit. Classes are stratified.
    """
    key = content_key(features)
    # distinct rows of each class, counted from 0 in the order of their keys
    order = np.lexsort((key, y))
    of_class = y[order]
    first = np.append(True, of_class[1:] != of_class[:-1])
    distinct = first.copy()
    distinct[1:] |= np.diff(key[order]) != 0
    number = np.cumsum(distinct) - 1
    start = np.maximum.accumulate(np.where(first, number, 0))
    several = np.bincount(of_class[distinct], minlength=int(y.max()) + 1) > 1
    folds = np.empty(len(y), dtype=np.int64)
    folds[order] = np.where(several[of_class], (number - start) % n_folds, -1)
    return folds


def row_folds(features: NDArray[np.float64], member: csr_array, n_folds: int) -> NDArray[np.int64]:
    """The fold in which each row is held out, by its content alone, or -1.

    Rows of a label that all are in one fold are never held out: every part has every label.
    """
    number = np.unique(content_key(features), return_inverse=True)[1].ravel()
    folds = (number % n_folds).astype(np.int64)
    of_fold = np.stack([np.asarray(member[folds == fold].sum(axis=0)).ravel() for fold in range(n_folds)])
    alone = (of_fold > 0).sum(axis=0) == 1
    if alone.any():
        kept = np.asarray(member[:, np.flatnonzero(alone)].sum(axis=1)).ravel() > 0
        folds[np.isin(number, number[kept])] = -1  # copies stay together
    return folds


def content_key(features: NDArray[Any]) -> NDArray[np.float64]:
    """Identical rows have identical keys: one fixed combination, summed in the same order for each row."""
    direction = np.cos(1.0 + np.arange(features.shape[1]))
    rows = np.ascontiguousarray(features)
    step = max(1, 2**20 // rows.shape[1])
    return np.concatenate([(rows[i : i + step] * direction).sum(axis=1) for i in range(0, len(rows), step)])


def is_multilabel(y: Any) -> bool:
    """Whether y gives each row a set of labels: sets, or an indicator matrix of two columns or more."""
    if issparse(y):
        return True
    if isinstance(y, list | tuple) and len(y) and isinstance(y[0], set | frozenset):
        return True
    shape = getattr(y, "shape", None)
    if shape is None and isinstance(y, list | tuple) and len(y) and not isinstance(y[0], str):
        try:
            shape = np.shape(y)
        except ValueError:  # lists of different lengths
            return False
    return shape is not None and len(shape) == 2 and shape[1] > 1
