"""Bilinear models with given label vectors: what ALE, HLE and AHLE share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from fastcca._arguments.parameters import check_count, check_n_threads
from fastcca._models.files import Schema
from fastcca.embedding._attributes import label_vectors
from fastcca.embedding._checks import check_number
from fastcca.embedding._extension import ExtensibleEmbedding
from fastcca.embedding._graph import label_graph
from fastcca.embedding._label_loss import FORMS, LabelLoss, label_loss
from fastcca.embedding._ridge import ridge_path
from fastcca.embedding._training import minimise
from fastcca.embedding._training_data import Learned, TrainingData
from fastcca.functional.linalg import unit_rows

__all__ = ["PrototypeEmbedding"]

RIDGE = 0.01  # of the first map, as a share of the total variance of the inputs


class PrototypeEmbedding(ExtensibleEmbedding):
    """What ALE, HLE and AHLE share: they differ in the label vectors alone."""

    _schema = Schema(fields="prototypes_ loss_curve_ mean=_mean basis=_basis")

    taxonomy: Any = None
    attributes: Any = None
    loss: LabelLoss
    reg: float
    learn_prototypes: float | None
    n_epochs: int
    learning_rate: float
    batch_size: int | None
    random_state: Any
    class_weight: Any
    n_threads: int | None

    prototypes_: NDArray[Any]
    _basis: list[Any]
    _mean: NDArray[np.float64]

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.loss not in FORMS:
            raise ValueError(f"loss must be one of {', '.join(map(repr, FORMS))}, got {self.loss!r}")
        check_number("reg", self.reg, low=0.0)
        if self.learn_prototypes is not None:
            check_number("learn_prototypes", self.learn_prototypes, low=0.0)
        check_count("n_epochs", self.n_epochs)
        check_number("learning_rate", self.learning_rate, low=0.0, low_included=False)
        if self.batch_size is not None:
            check_count("batch_size", self.batch_size)
        check_n_threads(self.n_threads)

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        attributes, mean = self._fit_attributes()
        basis = list(label_graph(self.taxonomy, self.classes_).nodes) if self._uses_taxonomy else []
        prototypes = self._vectors(self.classes_.tolist(), attributes, mean, basis)
        self._refuse_equal(prototypes)
        dtype = data.features.dtype
        given = prototypes.astype(dtype)
        share = data.share
        weights, intercept = next(ridge_path(data, prototypes, [RIDGE]))
        start = {"W": weights.astype(dtype), "b": intercept.astype(dtype)}
        if self.learn_prototypes is not None:
            start["P"] = given

        def objective(now: dict[str, NDArray[Any]], rows: NDArray[np.int64] | None) -> tuple[float, Any]:
            f, y, w = data.features, data.y, share
            if rows is not None:
                f, y, w = f[rows], y[rows], share[rows]
            labels = now.get("P", given)
            value, grad_z, grad_p = label_loss(
                f @ now["W"] + now["b"], labels, y, self.loss, w, n_threads=self.n_threads
            )
            gradients = {"W": f.T @ grad_z + (2 * self.reg) * now["W"], "b": grad_z.sum(axis=0)}
            value += self.reg * float(np.einsum("ij,ij->", now["W"], now["W"]))
            if self.learn_prototypes is not None:
                # mu |P - P_given|^2, in the mean over classes
                gap = (self.learn_prototypes / len(given)) * (labels - given)
                value += float(np.einsum("ij,ij->", gap, labels - given))
                gradients["P"] = grad_p + 2 * gap
            return value, gradients

        found = minimise(
            objective,
            start,
            n_rows=len(data.y),
            n_epochs=self.n_epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            rng=np.random.default_rng(check_random_state(self.random_state).randint(2**31)),
        )
        labels = found.parameters.get("P", given)
        more = {"prototypes_": given, "loss_curve_": found.loss_curve, "_mean": mean, "_basis": basis}
        return Learned(found.parameters["W"], found.parameters["b"], labels, more)

    def _refuse_equal(self, prototypes: NDArray[np.float64]) -> None:
        """Two classes with one vector could never be told apart."""
        _, first, which = np.unique(prototypes, axis=0, return_index=True, return_inverse=True)
        twins = np.flatnonzero(first[which.ravel()] != np.arange(len(prototypes)))
        if len(twins):
            a, b = (self.classes_.tolist()[i] for i in (first[which.ravel()[twins[0]]], twins[0]))
            raise ValueError(
                f"attributes give the classes {a!r} and {b!r} one direction: nothing tells them apart"
            )

    # ---- label vectors

    _uses_attributes = True
    _uses_taxonomy = True

    def _fit_attributes(self) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
        """Attributes of the classes, or None for one-hot vectors; their mean, which centres them."""
        if not self._uses_attributes:
            return None, np.zeros(0)
        if self.attributes is None:
            return np.eye(len(self.classes_)), np.zeros(len(self.classes_))
        vectors = label_vectors(self.attributes, self.classes_).of(self.classes_)
        return vectors, vectors.mean(axis=0)

    def _vectors(
        self,
        labels: list[Any],
        attributes: NDArray[np.float64] | None,
        mean: NDArray[np.float64],
        basis: list[Any],
    ) -> NDArray[np.float64]:
        """phi of each label: of length one, an equal part of it for attributes and for the taxonomy."""
        parts = []
        if attributes is not None:
            parts.append(unit_rows(attributes - mean))
        if self._uses_taxonomy:
            # phi_z = 1 where z is the label or above it
            place = {node: i for i, node in enumerate(basis)}
            indicator = np.zeros((len(labels), len(basis)))
            for row, label in zip(indicator, labels, strict=True):
                above = () if self.taxonomy is None else self.taxonomy.ancestors(label)
                row[[place[node] for node in (label, *above) if node in place]] = 1.0
            parts.append(unit_rows(indicator))
        return unit_rows(np.hstack(parts))

    def _place(self, labels: list[Any], vectors: NDArray[np.float64] | None) -> NDArray[Any]:
        if self._uses_attributes and self._uses_taxonomy is False and vectors is None:
            raise ValueError(f"there is nothing to place {labels[0]!r} by: attributes are not known")
        if self.taxonomy is None and not (self._uses_attributes and vectors is not None):
            raise ValueError(f"taxonomy is None: there is nothing to place {labels[0]!r} by")
        if self._uses_attributes and self.attributes is None and vectors is not None:
            raise ValueError("attributes are given, but the fit had none: its label vectors are one-hot")
        if self._uses_attributes and vectors is None:
            vectors = np.zeros((len(labels), len(self._mean))) + self._mean
        placed = self._vectors(labels, vectors if self._uses_attributes else None, self._mean, self._basis)
        for label, row in zip(labels, placed, strict=True):
            if not row.any():
                raise ValueError(
                    f"there is nothing to place {label!r} by: no attributes, no known node above it"
                )
        return placed
