"""What a label embedding learns from, and what it learns."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from fastcca.errors import NumericalError

__all__ = ["Learned", "TrainingData", "project"]


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


@dataclass(frozen=True)
class Learned:
    """What :meth:`LabelEmbedding._learn` returns: Psi(f) = f @ weights + intercept."""

    weights: NDArray[Any] | None  # (p, d), or None for the identity
    intercept: NDArray[Any]  # (d,)
    labels: NDArray[Any]  # (n_classes, d)
    attributes: dict[str, Any] = field(default_factory=dict)  # further fitted attributes by name


def project(features: NDArray[Any], learned: Learned) -> NDArray[np.float64]:
    """Psi of scaled inputs, in float64."""
    features = features.astype(np.float64, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        z = features if learned.weights is None else features @ learned.weights.astype(np.float64)
        z = z + learned.intercept
    if not np.isfinite(z).all():
        raise NumericalError("the rows of X overflow in the space of the labels: scale the data down")
    return z  # type: ignore[no-any-return]
