"""How unified semantic embedding is learned and how it places new labels: what is behind its parameters."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from fastcca._arguments.parameters import check_count, check_n_threads
from fastcca.embedding._attributes import label_vectors
from fastcca.embedding._checks import check_number
from fastcca.embedding._extension import ExtensibleEmbedding
from fastcca.embedding._graph import label_graph
from fastcca.embedding._label_loss import FORMS, LabelLoss
from fastcca.embedding._objective import Objective, Schedule, alternate
from fastcca.embedding._preprocessing import InputScaling
from fastcca.embedding._ridge import best_reg
from fastcca.embedding._semantic_start import KnownAttributes, beta_scale, first_values
from fastcca.embedding._semantics import AttributeLoss
from fastcca.embedding._source import Source
from fastcca.embedding._training_data import Learned, TrainingData
from fastcca.taxonomy import Taxonomy

__all__ = ["UnifiedLearning"]

SCALE = 3.0  # of the start: labels are some margins apart, as in LargeMarginEmbedding


class UnifiedLearning(ExtensibleEmbedding):
    """What :class:`UnifiedSemanticEmbedding` does with its parameters, which are documented there."""

    taxonomy: Taxonomy | None
    attributes: Any
    mu1: float | tuple[float, float]
    mu2: float
    loss: LabelLoss
    attribute_loss: AttributeLoss
    lambda1: float
    lambda2: float
    norms: Literal["penalty", "constraint"]
    gamma1: float
    gamma2: float
    beta: Literal["learned", "attributes"]
    beta_max: float | None
    n_attributes: int | None
    n_components: int | None
    start: Literal["classes", "structure"]
    source: Any
    n_epochs: int
    n_rounds: int
    learning_rate: float
    batch_size: int | None
    random_state: Any
    class_weight: Mapping[Any, float] | Literal["balanced"] | None
    n_threads: int | None

    attribute_embedding_: NDArray[Any]
    superclass_embedding_: NDArray[Any]
    beta_: NDArray[Any]
    superclasses_: list[Any]
    nodes_: list[Any]
    attribute_names_: list[str]
    loss_curve_: NDArray[np.float64]
    _fitted_labels: NDArray[Any]
    _parents: list[Any]
    _node_attributes: NDArray[np.float64] | None
    _root_attributes: NDArray[np.float64] | None
    _attribute_unit: float
    _beta_scale: float
    _mean_scale: float

    def _check_parameters(self) -> None:
        super()._check_parameters()
        pair = self.mu1 if isinstance(self.mu1, (tuple, list)) else (self.mu1, self.mu1)
        if len(pair) != 2:
            raise ValueError(f"mu1 must be a number >= 0 or a pair of them, got {self.mu1!r}")
        for value in pair:
            check_number("mu1", value, low=0.0)
        for name in ("mu2", "lambda1", "lambda2", "gamma1", "gamma2"):
            check_number(name, getattr(self, name), low=0.0)
        check_number("learning_rate", self.learning_rate, low=0.0, low_included=False)
        if self.beta_max is not None:
            check_number("beta_max", self.beta_max, low=0.0)
        for name in ("n_epochs", "n_rounds"):
            check_count(name, getattr(self, name))
        for name in ("n_attributes", "n_components", "batch_size"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        check_n_threads(self.n_threads)
        for name, allowed in (
            ("loss", tuple(FORMS)),
            ("attribute_loss", ("squared", "hinge", "linear")),
            ("norms", ("penalty", "constraint")),
            ("start", ("classes", "structure")),
            ("beta", ("learned", "attributes")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(repr, allowed))}, got {getattr(self, name)!r}"
                )
        if self.norms == "constraint":
            for name in ("lambda1", "lambda2"):
                check_number(name, getattr(self, name), low=0.0, low_included=False)

    def _scaled(
        self, x: NDArray[Any], weight: NDArray[np.float64]
    ) -> tuple[InputScaling, NDArray[np.float64]]:
        if self.source is None:
            return super()._scaled(x, weight)
        scaling = Source.of(self.source, x.shape[1]).scaling
        return scaling, scaling.transform(x.astype(np.float64))

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        return {"reg": best_reg(data)}

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        graph = label_graph(self.taxonomy, self.classes_)
        known, names = self._known_attributes(data)
        source = None if self.source is None else Source.of(self.source, data.features.shape[1])
        pattern = None if known is None else known.pattern(graph)
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        n_components, n_attributes = (
            graph.n_classes if count is None else int(count)
            for count in (self.n_components, self.n_attributes)
        )
        structured = self.start == "structure"
        start = first_values(
            data, graph, known, source, n_components, n_attributes, rng, structured, chosen["reg"]
        )
        dtype = data.features.dtype
        mu_s, mu_a = self.mu1 if isinstance(self.mu1, (tuple, list)) else (self.mu1, self.mu1)
        given = None
        if known is not None and len(start["A"]):
            given = (known.rows if self.attribute_loss == "linear" else known.signed).astype(dtype)
        if self.beta == "attributes" and pattern is None:
            raise ValueError("beta='attributes' needs attributes, and none are given")
        objective = Objective(
            data.features,
            data.y,
            data.share,
            graph,
            loss=self.loss,
            mu_s=float(mu_s),
            mu_a=float(mu_a),
            mu2=float(self.mu2),
            gamma1=float(self.gamma1),
            gamma2=float(self.gamma2),
            beta_max=np.inf if self.beta_max is None else float(self.beta_max),
            lambda1=float(self.lambda1),
            lambda2=float(self.lambda2),
            constrained=self.norms == "constraint",
            given=given,
            attribute_loss=self.attribute_loss,
            beta_pattern=pattern.astype(dtype) if self.beta == "attributes" and pattern is not None else None,
            source_weights=None if source is None else start["W"],
            n_threads=self.n_threads,
            frozen_nodes=None if source is None else np.array([node in source.nodes for node in graph.nodes]),
        )
        if source is None:
            start = {name: value if name in "AB" else SCALE * value for name, value in start.items()}
        schedule = Schedule(
            int(self.n_epochs), int(self.n_rounds), float(self.learning_rate), self.batch_size
        )
        found, history = alternate(objective, start, schedule, rng)
        n, U, A = graph.n_classes, found["U"], found["A"]
        means = data.class_means() @ found["W"] + found["b"]
        more = {
            "superclasses_": list(graph.superclasses),
            "superclass_embedding_": U[n:],
            "attribute_embedding_": A,
            "attribute_names_": names if names is not None else [f"attribute {i}" for i in range(len(A))],
            "nodes_": list(graph.nodes),
            "beta_": found["B"],
            "loss_curve_": history,
            "_fitted_labels": U[:n],
            "_parents": [None if p < 0 else graph.nodes[p] for p in graph.parent],
            "_node_attributes": None if known is None else graph.means_below(known.classes),
            "_root_attributes": None if known is None else known.mean,
            "_attribute_unit": 1.0 if known is None else known.unit,
            "_beta_scale": beta_scale(graph, U, A, pattern),
            "_mean_scale": float((means * U[:n]).sum() / max((means * means).sum(), np.finfo(float).tiny)),
        }
        return Learned(found["W"], found["b"], U[:n], more)

    def _known_attributes(self, data: TrainingData) -> tuple[KnownAttributes | None, list[str] | None]:
        if self.attributes is None and "attributes" not in data.extra:
            return None, None
        if self.attributes is None:
            return KnownAttributes.of(data, None), None
        vectors = label_vectors(self.attributes, self.classes_)
        names = None if vectors.names is None else list(vectors.names)
        return KnownAttributes.of(data, vectors.of(self.classes_)), names

    @property
    def _node_embedding(self) -> NDArray[Any]:
        return np.vstack([self._fitted_labels, self.superclass_embedding_])

    def _place(self, labels: list[Any], vectors: NDArray[np.float64] | None) -> NDArray[Any]:
        """In the direction of u_parent + s max(a - a_parent, 0) A, below the nearest known node."""
        if self.taxonomy is None and vectors is None:
            raise ValueError(f"there is nothing to place {labels[0]!r} by: taxonomy and attributes are None")
        if vectors is not None and self._node_attributes is None:
            raise ValueError("attributes are given, but the fit had none: they are latent")
        U = self._node_embedding
        placed = np.zeros((len(labels), U.shape[1]))
        for i, label in enumerate(labels):
            above = () if self.taxonomy is None else self.taxonomy.ancestors(label)
            row = next((self.nodes_.index(node) for node in above if node in self.nodes_), None)
            if row is not None:
                placed[i] = U[row]
            elif vectors is None:
                raise ValueError(f"there is nothing to place {label!r} by: no known node is above it")
            if (
                vectors is not None
                and self._node_attributes is not None
                and self._root_attributes is not None
            ):
                parent = self._root_attributes if row is None else self._node_attributes[row]
                more = np.maximum(vectors[i] / self._attribute_unit - parent, 0.0)
                placed[i] += self._beta_scale * more @ self.attribute_embedding_
        # as long as labels of the fit are on average: one nearer to 0 would attract rows of every class
        length = np.linalg.norm(placed, axis=1, keepdims=True)
        usual = np.linalg.norm(self._fitted_labels, axis=1).mean()
        placed *= np.divide(usual, length, out=np.zeros_like(length), where=length > 0)
        return placed
