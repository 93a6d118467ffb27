"""Bilinear models with given label vectors: attributes, places in a taxonomy, or both (ALE, HLE, AHLE)."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.parameters import NOT_NEGATIVE, choice
from fastcca._models.files import Schema
from fastcca.embedding._base import CLASS_WEIGHT, LabelEmbedding, Learned
from fastcca.embedding._data import TrainingData
from fastcca.embedding._docs import documented
from fastcca.embedding._semantics import ATTRIBUTES, TAXONOMY, ZeroShotMixin, label_graph, label_vectors
from fastcca.embedding._training import (
    LOSSES,
    TRAINING,
    LabelLoss,
    Parameters,
    Schedule,
    label_loss,
    minimise,
    seed_of,
)
from fastcca.embedding.ridge import ridge_path
from fastcca.functional.linalg import unit_rows
from fastcca.taxonomy import Taxonomy

__all__ = ["AttributeHierarchyLabelEmbedding", "AttributeLabelEmbedding", "HierarchyLabelEmbedding"]

RIDGE = 0.01  # of the first map, relative to the total variance of the inputs


class PrototypeEmbedding(ZeroShotMixin, LabelEmbedding):
    r"""What ALE, HLE and AHLE share; they differ in the label vectors :math:`\varphi` alone.

    .. math:: \min_{W, b} \tfrac1N \sum_i \ell\bigl(y_i;\ \lVert \Psi_i - \varphi(c) \rVert^2,\
       c = 1, \dots, C\bigr) + \lambda \lVert W \rVert^2
       \quad\text{with}\quad \Psi(x) = W^\top f + b
    """

    _schema = Schema(fields="prototypes_ loss_curve_ mean=_mean basis=_basis")
    _constraints = {  # noqa: RUF012
        **LabelEmbedding._constraints,
        **TRAINING,
        "loss": choice(*LOSSES),
        "reg": NOT_NEGATIVE,
        "learn_prototypes": NOT_NEGATIVE.or_none,
        "class_weight": CLASS_WEIGHT,
    }

    taxonomy: Taxonomy | None = None
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

    _takes_label_sets = True

    # which parts the label vectors have
    _uses_attributes = True
    _uses_taxonomy = True

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        return {"seed": seed_of(self.random_state)}

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        attributes, mean = self._fit_attributes()
        basis = list(label_graph(self.taxonomy, self.classes_).nodes) if self._uses_taxonomy else []
        prototypes = self._vectors(self.classes_.tolist(), attributes, mean, basis)
        self._refuse_equal(prototypes)
        dtype = data.features.dtype
        given = prototypes.astype(dtype)
        weight = data.normalized_weight

        def objective(now: Parameters, rows: NDArray[np.int64] | None) -> tuple[float, Parameters]:
            f, y, w = data.features, data.targets, weight
            if rows is not None:
                f, y, w = f[rows], y[rows], weight[rows]
            W, labels = now["W"], now.get("P", given)
            value, grad_z, grad_p = label_loss(
                f @ W + now["b"], labels, y, self.loss, w, data.table, n_threads=self.n_threads
            )
            gradients = {"W": f.T @ grad_z + (2 * self.reg) * W, "b": grad_z.sum(axis=0)}
            value += self.reg * float(np.einsum("ij,ij->", W, W))
            if self.learn_prototypes is not None:
                # mu |P - P_given|^2, in the mean over classes
                gap = (self.learn_prototypes / len(given)) * (labels - given)
                value += float(np.einsum("ij,ij->", gap, labels - given))
                gradients["P"] = grad_p + 2 * gap
            return value, gradients

        W, b = next(ridge_path(data, prototypes, [RIDGE]))
        start = {"W": W.astype(dtype), "b": b.astype(dtype)}
        if self.learn_prototypes is not None:
            start["P"] = given
        rng = np.random.default_rng(chosen["seed"])
        found, curve = minimise(objective, start, len(data.y), Schedule.of(self), rng)
        more = {"prototypes_": given, "loss_curve_": curve, "_mean": mean, "_basis": basis}
        return Learned(found["W"], found["b"], found.get("P", given), more)

    def _refuse_equal(self, prototypes: NDArray[np.float64]) -> None:
        """Two classes with one vector could never be distinguished."""
        _, first, which = np.unique(prototypes, axis=0, return_index=True, return_inverse=True)
        twins = np.flatnonzero(first[which.ravel()] != np.arange(len(prototypes)))
        if len(twins):
            a, b = (self.classes_.tolist()[i] for i in (first[which.ravel()[twins[0]]], twins[0]))
            raise ValueError(
                f"attributes give the classes {a!r} and {b!r} one direction: nothing distinguishes them"
            )

    # ---- label vectors

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
        """phi of each label: of norm one, with parts of equal norm for attributes and for the taxonomy."""
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


@documented
class AttributeLabelEmbedding(PrototypeEmbedding):
    r"""Attribute label embedding (ALE): each label at the vector of its attributes.

    The vectors are centred over the classes of the fit and of norm one.
    {bilinear}

    Parameters
    ----------
    {attributes}
    {common_to_ale_hle_and_ahle}

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.embedding import AttributeLabelEmbedding
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["cat", "dog", "eel"], 30)
    >>> X = rng.normal(size=(90, 5)) + 3 * np.eye(3, 5)[np.repeat([0, 1, 2], 30)]
    >>> swims_barks = {"cat": [0, 0], "dog": [0.3, 1], "eel": [1, 0]}
    >>> model = AttributeLabelEmbedding(swims_barks).fit(X, y)
    >>> model.predict(3 * np.eye(3, 5)).tolist()
    ['cat', 'dog', 'eel']
    """

    _schema = Schema("AttributeLabelEmbedding")
    _constraints = {**PrototypeEmbedding._constraints, "attributes": ATTRIBUTES}  # noqa: RUF012
    _uses_taxonomy = False

    def __init__(
        self,
        attributes: Any = None,
        loss: LabelLoss = "rank",
        reg: float = 0.001,
        learn_prototypes: float | None = None,
        n_epochs: int = 200,
        learning_rate: float = 0.1,
        batch_size: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        whitening_exponent: float = 0.5,
        normalize: bool = True,
        temperature: float | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.attributes = attributes
        self.loss = loss
        self.reg = reg
        self.learn_prototypes = learn_prototypes
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.random_state = random_state
        self.class_weight = class_weight
        self.whitening_exponent = whitening_exponent
        self.normalize = normalize
        self.temperature = temperature
        self.n_threads = n_threads


@documented
class HierarchyLabelEmbedding(PrototypeEmbedding):
    r"""Hierarchy label embedding (HLE): each label at the indicator of its place in a taxonomy.

    An entry of the vector is 1 where it stands for the label itself or a node above it, the root excepted;
    the vectors are of norm one.
    {bilinear}

    Parameters
    ----------
    {taxonomy}
    {common_to_ale_hle_and_ahle}

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.embedding import HierarchyLabelEmbedding
    >>> from fastcca.taxonomy import Taxonomy
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["cat", "dog", "eel"], 30)
    >>> X = rng.normal(size=(90, 5)) + 3 * np.eye(3, 5)[np.repeat([0, 1, 2], 30)]
    >>> animals = Taxonomy.from_dict({"animal": {"mammal": ["cat", "dog"], "fish": ["eel"]}})
    >>> model = HierarchyLabelEmbedding(animals).fit(X, y)
    >>> model.predict(3 * np.eye(3, 5)).tolist()
    ['cat', 'dog', 'eel']
    """

    _schema = Schema("HierarchyLabelEmbedding")
    _constraints = {**PrototypeEmbedding._constraints, "taxonomy": TAXONOMY}  # noqa: RUF012
    _uses_attributes = False

    def __init__(
        self,
        taxonomy: Taxonomy | None = None,
        loss: LabelLoss = "rank",
        reg: float = 0.001,
        learn_prototypes: float | None = None,
        n_epochs: int = 200,
        learning_rate: float = 0.1,
        batch_size: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        whitening_exponent: float = 0.5,
        normalize: bool = True,
        temperature: float | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.taxonomy = taxonomy
        self.loss = loss
        self.reg = reg
        self.learn_prototypes = learn_prototypes
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.random_state = random_state
        self.class_weight = class_weight
        self.whitening_exponent = whitening_exponent
        self.normalize = normalize
        self.temperature = temperature
        self.n_threads = n_threads


@documented
class AttributeHierarchyLabelEmbedding(PrototypeEmbedding):
    r"""Attribute and hierarchy label embedding (AHLE): the vectors of ALE and HLE, concatenated.

    Both parts have the same norm.
    {bilinear}

    Parameters
    ----------
    {taxonomy}
    {attributes}
    {common_to_ale_hle_and_ahle}

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.embedding import AttributeHierarchyLabelEmbedding
    >>> from fastcca.taxonomy import Taxonomy
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["cat", "dog", "eel"], 30)
    >>> X = rng.normal(size=(90, 5)) + 3 * np.eye(3, 5)[np.repeat([0, 1, 2], 30)]
    >>> animals = Taxonomy.from_dict({"animal": {"mammal": ["cat", "dog", "otter"], "fish": ["eel"]}})
    >>> swims_barks = {"cat": [0, 0], "dog": [0.3, 1], "eel": [1, 0], "otter": [1, 0]}
    >>> model = AttributeHierarchyLabelEmbedding(animals, swims_barks).fit(X, y)
    >>> model.with_classes(["otter"]).classes_.tolist()
    ['cat', 'dog', 'eel', 'otter']
    """

    _schema = Schema("AttributeHierarchyLabelEmbedding")
    _constraints = {  # noqa: RUF012
        **PrototypeEmbedding._constraints,
        "taxonomy": TAXONOMY,
        "attributes": ATTRIBUTES,
    }

    def __init__(
        self,
        taxonomy: Taxonomy | None = None,
        attributes: Any = None,
        loss: LabelLoss = "rank",
        reg: float = 0.001,
        learn_prototypes: float | None = None,
        n_epochs: int = 200,
        learning_rate: float = 0.1,
        batch_size: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        whitening_exponent: float = 0.5,
        normalize: bool = True,
        temperature: float | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.taxonomy = taxonomy
        self.attributes = attributes
        self.loss = loss
        self.reg = reg
        self.learn_prototypes = learn_prototypes
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.random_state = random_state
        self.class_weight = class_weight
        self.whitening_exponent = whitening_exponent
        self.normalize = normalize
        self.temperature = temperature
        self.n_threads = n_threads
