"""Unified semantic embedding: samples, labels, superclasses and attributes in one space.

The estimator comes first, then its objective with every term, the minimisation, and the first values.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.arrays import as_matrix, check_same_rows, refuse_non_finite
from fastcca._arguments.parameters import (
    N_COMPONENTS,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_INTEGER,
    anything,
    choice,
    real_pair,
)
from fastcca._models.files import Schema
from fastcca.embedding._base import CLASS_WEIGHT, LabelEmbedding, Learned
from fastcca.embedding._data import InputScaling, TrainingData
from fastcca.embedding._docs import documented
from fastcca.embedding._semantics import (
    ATTRIBUTES,
    TAXONOMY,
    LabelGraph,
    ZeroShotMixin,
    label_graph,
    label_vectors,
)
from fastcca.embedding._training import (
    LOSSES,
    TRAINING,
    Adam,
    LabelLoss,
    Parameters,
    Schedule,
    batch_rows,
    label_loss,
    seed_of,
)
from fastcca.embedding.ridge import best_reg, ridge_path
from fastcca.errors import NumericalError
from fastcca.functional.hinge import ConstraintTable
from fastcca.taxonomy import Taxonomy

__all__ = ["Explanation", "UnifiedSemanticEmbedding"]

Array = NDArray[Any]
AttributeLoss = Literal["squared", "hinge", "linear"]

MU1 = real_pair(NOT_NEGATIVE, "(of L_S, of L_A)")
SCALE = 3.0  # of the first values: labels are some margins apart, as in LargeMarginEmbedding
OWN_SUPERCLASS, OWN_ATTRIBUTES = 0.5, 1.0  # norms relative to a class's own axis

# The rows of the published table as parameters: which terms count besides L_C.
_SETTINGS: Mapping[str, Mapping[str, bool]] = {
    "LME": {"taxonomy": False, "attributes": False, "regularizer": False},
    "LME-MTL-S": {"taxonomy": True, "attributes": False, "regularizer": False},
    "LME-MTL-A": {"taxonomy": False, "attributes": True, "regularizer": False},
    "USE-No Reg": {"taxonomy": True, "attributes": True, "regularizer": False},
    "USE-Reg": {"taxonomy": True, "attributes": True, "regularizer": True},
}


@documented
class SemanticLabels(ZeroShotMixin):
    """What a fitted model of labels, superclasses and attributes knows of them: shallow and deep ones."""

    _schema: ClassVar[Schema] = Schema(
        fields="superclasses_ attribute_embedding_ attribute_names_ nodes_ node_embedding_ parents_ beta_ "
        "node_attributes=_node_attributes root_attributes=_root_attributes "
        "attribute_unit=_attribute_unit beta_scale=_beta_scale mean_scale=_mean_scale",
    )

    taxonomy: Taxonomy | None
    nodes_: list[Any]
    superclasses_: list[Any]
    parents_: list[Any]
    node_embedding_: Array
    attribute_embedding_: Array
    attribute_names_: list[str]
    beta_: Array
    _node_attributes: NDArray[np.float64] | None
    _root_attributes: Any
    _attribute_unit: float
    _beta_scale: float
    _mean_scale: float

    @property
    def superclass_embedding_(self) -> Array:
        """The points of the superclasses, in the order of ``superclasses_``."""
        return self.node_embedding_[len(self.nodes_) - len(self.superclasses_) :]

    def explain(self, label: Any, n_attributes: int | None = 10) -> Explanation:
        """A class or superclass as its parent and a few attributes.

        Parameters
        ----------
        label : label
            A class or a node above one.
        n_attributes : int or None, default=10
            The maximal number of attributes, those of the largest coefficients; None: all that are not 0.

        Returns
        -------
        Explanation
            ``str`` of it is a sentence; :class:`fastcca.plotting.ExplanationDisplay` draws it.

        {raises_not_fitted}
        ValueError
            For a label that the model does not know.
        """
        check_is_fitted(self)
        label = label.item() if isinstance(label, np.generic) else label
        if label not in self.nodes_:
            raise ValueError(f"label must be one of nodes_, got {label!r}")
        n_attributes = POSITIVE_INTEGER.or_none("n_attributes", n_attributes)
        row = self.nodes_.index(label)
        U = self.node_embedding_
        coefficients = self.beta_[row].astype(np.float64)
        parent = self.parents_[row]
        left = U[row] - coefficients @ self.attribute_embedding_
        if parent is not None:
            left = left - U[self.nodes_.index(parent)]
        order = [i for i in np.argsort(-coefficients, kind="stable")[:n_attributes] if coefficients[i] > 0]
        return Explanation(
            label,
            parent,
            tuple((self.attribute_names_[i], float(coefficients[i])) for i in order),
            float(np.linalg.norm(left) / max(np.linalg.norm(U[row]), np.finfo(float).tiny)),
        )

    def _place(self, labels: list[Any], vectors: NDArray[np.float64] | None) -> NDArray[Any]:
        """In the direction of u_parent + s max(a - a_parent, 0) A, below the nearest known node."""
        if self.taxonomy is None and vectors is None:
            raise ValueError(f"there is nothing to place {labels[0]!r} by: taxonomy and attributes are None")
        if vectors is not None and self._node_attributes is None:
            raise ValueError("attributes are given, but the fit had none: they are latent")
        U = self.node_embedding_
        placed = np.zeros((len(labels), U.shape[1]))
        for i, label in enumerate(labels):
            above = self._known_above(label)
            row = None if above is None else self.nodes_.index(above)
            if row is not None:
                placed[i] = U[row]
            elif vectors is None:
                raise ValueError(f"there is nothing to place {label!r} by: no known node is above it")
            if vectors is not None and self._node_attributes is not None:
                parent = self._root_attributes if row is None else self._node_attributes[row]
                more = np.maximum(vectors[i] / self._attribute_unit - parent, 0.0)
                placed[i] += self._beta_scale * more @ self.attribute_embedding_
        # with the mean norm of the labels of the fit: one nearer to 0 would be nearest to rows of every class
        length = np.linalg.norm(placed, axis=1, keepdims=True)
        usual = np.linalg.norm(U[: len(U) - len(self.superclasses_)], axis=1).mean()
        placed *= np.divide(usual, length, out=np.zeros_like(length), where=length > 0)
        return placed

    def _known_above(self, label: Any) -> Any:
        """The nearest node above a label that the fit knew; None where there is none."""
        above = () if self.taxonomy is None else self.taxonomy.ancestors(label)
        return next((node for node in above if node in self.nodes_), None)

    def _name_attributes(self, sample_attributes: Any) -> None:
        if hasattr(sample_attributes, "columns"):
            self.attribute_names_ = [str(name) for name in sample_attributes.columns]

    def _check_row_attributes(self, X: Any, sample_attributes: Any) -> NDArray[np.float64]:
        if self.attributes is not None:
            raise ValueError("sample_attributes and attributes are both given: leave one of them out")
        check_same_rows(X=X, sample_attributes=sample_attributes)
        given = as_matrix("sample_attributes", sample_attributes).astype(np.float64)
        refuse_non_finite("sample_attributes", given)
        n_rows = len(as_matrix("X", X))
        if len(given) != n_rows:
            raise ValueError(f"sample_attributes has {len(given)} rows and X has {n_rows}")
        return given


@documented
class UnifiedSemanticEmbedding(SemanticLabels, LabelEmbedding):
    r"""Unified semantic embedding (USE): a label is its parent and a few attributes, near its samples.

    .. math:: \min_{W, U, A, B} \tfrac1N \sum_i \left[ L_C + \mu_1 (L_S + L_A) \right] + \mu_2 R(U, B)
              + \lambda_1 \lVert W \rVert^2 + \lambda_2 \lVert U \rVert^2

    with :math:`z = W^\top f + b` for the centred, scaled inputs f, embeddings u of classes and superclasses,
    attributes' embeddings :math:`u_a` of norm at most one (the rows of A) and sparse coefficients
    :math:`B \ge 0`, all sums over classes, nodes and attributes:

    .. math::
        L_C &= \sum_{c \ne y} [1 + \lVert z - u_y \rVert^2 - \lVert z - u_c \rVert^2]_+ \\
        L_S &= \sum_{s \in P_y} \sum_{c \in S_s} [1 + \lVert z - u_s \rVert^2 - \lVert z - u_c \rVert^2]_+ \\
        L_A &= 1 - \sum_a y^a z^\top u_a \\
        R &= \sum_c \lVert u_c - u_{p(c)} - \beta_c A \rVert^2
             + \gamma_2 \sum_c \sum_{o \in P_c \cup S_c} \lVert \beta_c + \beta_o \rVert^2
             + \gamma_1 \sum \beta.

    :math:`P_y` are the superclasses of a class, the root excepted (its embedding is 0), :math:`S_s` the
    siblings of a node. An ancestor that is a class itself stays a negative in :math:`L_C`.

    By default :math:`L_C` and :math:`L_S` are the log-loss of negative distances instead of hinges, which
    classifies better on Animals with Attributes, and :math:`L_A` is squared: the formulas above are
    ``loss="hinge"`` and ``attribute_loss="linear"``.

    Parameters
    ----------
    taxonomy : Taxonomy, optional
        The tree of the labels; it may hold nodes beyond those of the fit. None: flat, every class below the
        root and no :math:`L_S`.
    attributes : mapping, DataFrame or array_like, optional
        A vector for each label: a mapping from label to vector or a data frame with labels as index, which
        may hold labels beyond those of the fit; or an array of one row a class in the order of ``classes_``.
        None: ``fit`` is given attributes of each row, or they are latent (no :math:`L_A`, and R alone finds
        them).
    mu1 : float or (float, float), default=0.1
        Weight of :math:`L_S` and :math:`L_A`, or of each.
    mu2 : float, default=0.004
        Weight of R.
    loss : {"hinge", "hardest", "rank", "softmax"}, default="softmax"
        Form of :math:`L_C` and :math:`L_S`. "hinge" is the formula above, the paper's. "rank" multiplies it
        by L(r)/r, where r is the number of violated margins and L(r) = 1 + 1/2 + ... + 1/r; "hardest" takes
        the hardest negative alone; "softmax" is the log-loss of negative distances, without a margin.
    attribute_loss : {"squared", "hinge", "linear"}, default="squared"
        Form of :math:`L_A`. "linear" is the formula above, the paper's, with y as given. The other two take y
        centred and in units of its standard deviation: the mean over attributes of
        :math:`(z^\top u_a - y^a)^2` or of :math:`|y^a| [1 - sign(y^a) z^\top u_a]_+`.
    lambda1, lambda2 : float, default=0.005, 0.002
        Factors of the squared norms of W and U.
    norms : {"penalty", "constraint"}, default="penalty"
        "penalty" adds them as above. "constraint" bounds the squared norm of each column of W (p, d) by
        ``lambda1`` and of each u by ``lambda2``.
    gamma1, gamma2 : float, default=0, 1
        Sparsity and exclusivity of the coefficients in R.
    beta : {"learned", "attributes"}, default="learned"
        "attributes": :math:`\beta_c` is what c's attributes exceed its parent's by, times a learned scale.
    beta_max : float, optional
        Bound of each coefficient: the paper's :math:`0 \le \beta \le \gamma_1`.
    n_attributes : int, optional
        The number of latent attributes; by default that of the classes. Without effect where attributes are
        given.
    n_components : int, optional
        Dimensions of the space; by default the number of classes. Without effect for ``init="structure"``.
    init : {"classes", "structure"}, default="classes"
        First embeddings. "classes": each class on an axis of its own, superclasses at the means of theirs.
        "structure": each node at its parent's, a step along an axis of its own, and a step for what its
        attributes exceed its parent's by, along an axis of each attribute, which takes as many dimensions as
        there are nodes and attributes; what is learned about attributes then carries over to new classes.
    source : fitted label embedding, optional
        A model of other classes on the same features: few-shot learning. W is shrunk towards the source's
        instead of 0; its scaling, its superclasses and its attributes' embeddings are taken over, and new
        classes start where the source would place them. :func:`sklearn.base.clone` takes the fit from a
        parameter that is an estimator: wrap it in :class:`sklearn.frozen.FrozenEstimator` for that.
    n_epochs : int, default=200
        Passes over the rows.
    n_rounds : int, default=10
        Alternations between the blocks (W, b, U, A) and B.
    {cosine_annealing}
    batch_size : int, optional
        Rows of a batch; by default all of them, and then the objective never increases from round to round:
        a block that would increase it is tried at lower rates, then left as it was.
    random_state : int, RandomState or None, default=None
        Seed of the first latent attributes and of the shuffled batches.
    {class_weight}
    {scaling}
    {temperature}
    {n_threads}

    {classes_and_points}
    superclasses_ : list
        The nodes above a class that are not classes themselves.
    superclass_embedding_ : ndarray of shape (n_superclasses, d)
        Their points.
    attribute_embedding_ : ndarray of shape (n_attributes, d)
        The attributes' points, of norm at most one.
    attribute_names_ : list of str
        Their names.
    nodes_ : list
        ``classes_``, then ``superclasses_``: the rows of ``beta_``.
    node_embedding_ : ndarray of shape (n_nodes, d)
        The points of the nodes.
    parents_ : list
        The parent of each node; None below the root.
    beta_ : ndarray of shape (n_nodes, n_attributes)
        The coefficients, >= 0.
    loss_curve_ : ndarray
        The objective before the first round and after each.
    {map}
    {scaling_}
    {fitted}

    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, NaN or infinity, fewer than two classes, a class without a vector
        or a node.
    NumericalError
        In ``fit``: the objective overflows.

    See Also
    --------
    setting : The parameters of the rows of the published table.

    {hwang_sigal}

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.embedding import UnifiedSemanticEmbedding
    >>> from fastcca.taxonomy import Taxonomy
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["cat", "dog", "eel"], 30)
    >>> X = rng.normal(size=(90, 5)) + 3 * np.eye(3, 5)[np.repeat([0, 1, 2], 30)]
    >>> animals = Taxonomy.from_dict({"animal": {"mammal": ["cat", "dog"], "fish": ["eel"]}})
    >>> attributes = {"cat": [0, 1, 0], "dog": [0, 1, 1], "eel": [1, 0, 0]}
    >>> use = UnifiedSemanticEmbedding(animals, attributes).fit(X, y)
    >>> use.predict(3 * np.eye(3, 5)).tolist()
    ['cat', 'dog', 'eel']
    >>> use.explain("dog").parent
    'mammal'
    """

    _schema = Schema("UnifiedSemanticEmbedding", fields="loss_curve_")
    _constraints = {  # noqa: RUF012
        **LabelEmbedding._constraints,
        **TRAINING,
        "taxonomy": TAXONOMY,
        "attributes": ATTRIBUTES,
        "mu1": MU1,
        "mu2": NOT_NEGATIVE,
        "loss": choice(*LOSSES),
        "attribute_loss": choice("squared", "hinge", "linear"),
        "lambda1": NOT_NEGATIVE,
        "lambda2": NOT_NEGATIVE,
        "norms": choice("penalty", "constraint"),
        "gamma1": NOT_NEGATIVE,
        "gamma2": NOT_NEGATIVE,
        "beta": choice("learned", "attributes"),
        "beta_max": NOT_NEGATIVE.or_none,
        "n_attributes": POSITIVE_INTEGER.or_none,
        "n_components": N_COMPONENTS,
        "init": choice("classes", "structure"),
        "source": anything("a fitted label embedding or None"),
        "n_rounds": POSITIVE_INTEGER,
        "class_weight": CLASS_WEIGHT,
    }

    loss_curve_: NDArray[np.float64]

    def __init__(
        self,
        taxonomy: Taxonomy | None = None,
        attributes: Any = None,
        mu1: float | tuple[float, float] = 0.1,
        mu2: float = 0.004,
        loss: LabelLoss = "softmax",
        attribute_loss: AttributeLoss = "squared",
        lambda1: float = 0.005,
        lambda2: float = 0.002,
        norms: Literal["penalty", "constraint"] = "penalty",
        gamma1: float = 0.0,
        gamma2: float = 1.0,
        beta: Literal["learned", "attributes"] = "learned",
        beta_max: float | None = None,
        n_attributes: int | None = None,
        n_components: int | None = None,
        init: Literal["classes", "structure"] = "classes",
        source: Any = None,
        n_epochs: int = 200,
        n_rounds: int = 10,
        learning_rate: float = 0.03,
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
        self.mu1 = mu1
        self.mu2 = mu2
        self.loss = loss
        self.attribute_loss = attribute_loss
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.norms = norms
        self.gamma1 = gamma1
        self.gamma2 = gamma2
        self.beta = beta
        self.beta_max = beta_max
        self.n_attributes = n_attributes
        self.n_components = n_components
        self.init = init
        self.source = source
        self.n_epochs = n_epochs
        self.n_rounds = n_rounds
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.random_state = random_state
        self.class_weight = class_weight
        self.whitening_exponent = whitening_exponent
        self.normalize = normalize
        self.temperature = temperature
        self.n_threads = n_threads

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        sample_attributes: ArrayLike | None = None,
    ) -> UnifiedSemanticEmbedding:
        """Fit to rows and their labels.

        {samples}
        y : array_like of shape (n,)
            The label of each row: numbers or text.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row; a weight of 0 leaves it out.
        sample_attributes : array_like of shape (n, n_attributes), optional
            The attributes of each row, for :math:`L_A`; those of a class are then the mean of its rows. The
            columns of a data frame name them.

        Returns
        -------
        UnifiedSemanticEmbedding
            The fitted estimator.

        Raises
        ------
        ValueError, NumericalError
            See :class:`UnifiedSemanticEmbedding`.
        """
        if self.norms == "constraint":
            for name in ("lambda1", "lambda2"):
                POSITIVE(name, getattr(self, name))
        extra = {}
        if sample_attributes is not None:
            extra["attributes"] = self._check_row_attributes(X, sample_attributes)
        self._fit(X, y, sample_weight, extra)
        self._name_attributes(sample_attributes)
        return self

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        return {"reg": best_reg(data), "seed": seed_of(self.random_state)}

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        graph = label_graph(self.taxonomy, self.classes_)
        known = self._known_attributes(data)
        source = None if self.source is None else Source.of(self.source, data.features.shape[1])
        rng = np.random.default_rng(chosen["seed"])
        start = self._first_values(data, graph, known, source, chosen["reg"], rng)
        objective = self._objective(data, graph, known, source, start)
        found, history = alternate(objective, start, Schedule.of(self), int(self.n_rounds), rng)
        means = data.class_means() @ found["W"] + found["b"]
        fitted = {"loss_curve_": history, **fitted_nodes(means, graph, known, found)}
        return Learned(found["W"], found["b"], found["U"][: graph.n_classes], fitted)

    def _objective(
        self,
        data: TrainingData,
        graph: LabelGraph,
        known: KnownAttributes | None,
        source: Source | None,
        start: Parameters,
    ) -> Objective:
        dtype = data.features.dtype
        mu_s, mu_a = MU1("mu1", self.mu1)
        given = pattern = None
        if known is not None and len(start["A"]):
            given = (known.rows if self.attribute_loss == "linear" else known.signed).astype(dtype)
        if known is not None and self.beta == "attributes":
            pattern = known.pattern(graph).astype(dtype)
        return Objective(
            data.features,
            data.y,
            data.normalized_weight,
            graph,
            loss=self.loss,
            mu_s=mu_s,
            mu_a=mu_a,
            mu2=float(self.mu2),
            gamma1=float(self.gamma1),
            gamma2=float(self.gamma2),
            beta_max=np.inf if self.beta_max is None else float(self.beta_max),
            lambda1=float(self.lambda1),
            lambda2=float(self.lambda2),
            constrained=self.norms == "constraint",
            given=given,
            attribute_loss=self.attribute_loss,
            beta_pattern=pattern,
            source_weights=None if source is None else start["W"],
            frozen_nodes=None if source is None else np.array([node in source.nodes for node in graph.nodes]),
            n_threads=self.n_threads,
        )

    def _first_values(
        self,
        data: TrainingData,
        graph: LabelGraph,
        known: KnownAttributes | None,
        source: Source | None,
        reg: float,
        rng: np.random.Generator,
    ) -> Parameters:
        dtype = data.features.dtype
        if source is not None:
            values = values_of_source(data, graph, known, source)
            return {name: np.array(value, dtype=dtype) for name, value in values.items()}
        if self.init == "structure":
            values = values_of_structure(data, graph, known, reg)
        else:
            n_components, n_attributes = (
                graph.n_classes if count is None else int(count)
                for count in (self.n_components, self.n_attributes)
            )
            values = values_of_classes(data, graph, known, n_components, n_attributes, reg, rng)
        values = {name: value.astype(dtype) for name, value in values.items()}
        return {name: value if name in "AB" else SCALE * value for name, value in values.items()}

    def _known_attributes(self, data: TrainingData) -> KnownAttributes | None:
        if self.attributes is not None:
            vectors = label_vectors(self.attributes, self.classes_)
            names = None if vectors.names is None else list(vectors.names)
            return KnownAttributes.of(data, vectors.of(self.classes_), names)
        if "attributes" in data.extra:
            return KnownAttributes.of(data, None, None)
        if self.beta == "attributes":
            raise ValueError("beta='attributes' needs attributes, and none are given")
        return None

    def _scaled(self, x: Array, weight: NDArray[np.float64]) -> tuple[InputScaling, NDArray[np.float64]]:
        if self.source is None:
            return super()._scaled(x, weight)
        scaling = Source.of(self.source, x.shape[1]).scaling
        return scaling, scaling.transform_checked(x)

    @staticmethod
    def setting(row: str, mu1: float = 0.1, mu2: float = 0.004) -> dict[str, Any]:
        """The weights that make this estimator a row of the published table.

        ============  ===========  ==========  =====
        row           L_S          L_A         R
        ============  ===========  ==========  =====
        LME           0            0           0
        LME-MTL-S     ``mu1``      0           0
        LME-MTL-A     0            ``mu1``     0
        USE-No Reg    ``mu1``      ``mu1``     0
        USE-Reg       ``mu1``      ``mu1``     ``mu2``
        ============  ===========  ==========  =====

        Parameters
        ----------
        row : str
            One of the five names.
        mu1, mu2 : float
            The weights where a term counts.

        Returns
        -------
        dict
            ``mu1`` and ``mu2`` for the constructor.

        Examples
        --------
        >>> from fastcca.embedding import UnifiedSemanticEmbedding
        >>> UnifiedSemanticEmbedding.setting("LME-MTL-A", mu1=0.2)
        {'mu1': (0.0, 0.2), 'mu2': 0.0}
        """
        if row not in _SETTINGS:
            raise ValueError(f"row must be one of {', '.join(map(repr, _SETTINGS))}, got {row!r}")
        on = _SETTINGS[row]
        return {
            "mu1": (mu1 if on["taxonomy"] else 0.0, mu1 if on["attributes"] else 0.0),
            "mu2": mu2 if on["regularizer"] else 0.0,
        }


def fitted_nodes(
    means: Array, graph: LabelGraph, known: KnownAttributes | None, found: Parameters
) -> dict[str, Any]:
    """Fitted attributes: what is known of nodes and attributes, and what places nodes that are not.

    ``means`` (n_classes, d) are those of the classes' samples in the space of the labels.
    """
    n, U, A = graph.n_classes, found["U"], found["A"]
    names = None if known is None else known.names
    return {
        "superclasses_": list(graph.superclasses),
        "attribute_embedding_": A,
        "attribute_names_": [f"attribute {i}" for i in range(len(A))] if names is None else names,
        "nodes_": list(graph.nodes),
        "node_embedding_": U,
        "parents_": [None if p < 0 else graph.nodes[p] for p in graph.parent],
        "beta_": found["B"],
        "_node_attributes": None if known is None else graph.means_below(known.classes),
        "_root_attributes": None if known is None else known.mean,
        "_attribute_unit": 1.0 if known is None else known.unit,
        "_beta_scale": 0.0 if known is None else beta_scale(graph, U, A, known.pattern(graph)),
        "_mean_scale": float((means * U[:n]).sum() / max((means * means).sum(), np.finfo(float).tiny)),
    }


@dataclass(frozen=True)
class Explanation:
    """What :meth:`fastcca.embedding.UnifiedSemanticEmbedding.explain` returns.

    Parameters
    ----------
    label : label
        What is explained.
    parent : label or None
        The node above it; ``None`` for the root, whose embedding is 0.
    attributes : tuple of (str, float)
        Names and coefficients of the attributes, the largest first, those of 0 left out.
    residual : float
        The relative residual of u as its parent and these attributes: the norm of the difference relative to
        that of u.

    Examples
    --------
    >>> from fastcca.embedding import Explanation
    >>> print(Explanation("tiger", "big_cat", (("stripes", 0.41), ("orange", 0.2)), 0.35))
    tiger = big_cat + 0.41 stripes + 0.2 orange (relative residual 35%)
    """

    label: Any
    parent: Any
    attributes: tuple[tuple[str, float], ...]
    residual: float

    def __str__(self) -> str:
        start = [] if self.parent is None else [str(self.parent)]
        parts = start + [f"{weight:.2g} {name}" for name, weight in self.attributes]
        return f"{self.label} = {' + '.join(parts) or '0'} (relative residual {self.residual:.0%})"


# ---- the objective


@dataclass(frozen=True)
class Objective:
    """L_C + mu_s L_S + mu_a L_A + mu2 R(U, B) + lambda1 |W|^2 + lambda2 |U|^2, by term.

    Parameters are "W" (p, d), "b" (d,), "U" (n_nodes, d), "A" (n_attributes, d) and "B" (n_nodes,
    n_attributes); Psi(f) = f W + b.
    """

    features: Array
    y: NDArray[np.int64]
    weight: NDArray[np.float64]  # normalised to sum to 1
    graph: LabelGraph
    loss: LabelLoss = "softmax"
    mu_s: float = 0.0
    mu_a: float = 0.0
    mu2: float = 0.0
    gamma1: float = 0.0
    gamma2: float = 0.0
    beta_max: float = np.inf
    lambda1: float = 0.0
    lambda2: float = 0.0
    constrained: bool = False  # lambda1 and lambda2 bound squared norms of rows, in the place of penalties
    given: Array | None = None  # (n, n_attributes), for L_A
    attribute_loss: AttributeLoss = "squared"
    beta_pattern: Array | None = None  # (n_nodes, n_attributes): B is a multiple of it
    source_weights: Array | None = None  # (p, d): what lambda1 shrinks W towards, in the place of 0
    frozen_nodes: NDArray[np.bool_] | None = None  # (n_nodes,): rows of U that stay, and A with them
    n_threads: int | None = None
    table: ConstraintTable = field(init=False)
    exclusive: Array = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", self.graph.constraints())
        object.__setattr__(self, "exclusive", self.graph.exclusive())

    def __call__(
        self, now: Parameters, rows: NDArray[np.int64] | None = None, gradient: bool = True
    ) -> tuple[float, Parameters]:
        """The value and the gradients by all but B, on some rows or all."""
        f, y, weight, given = self.features, self.y, self.weight, self.given
        if rows is not None:
            f, y = f[rows], y[rows]
            weight = weight[rows] / weight[rows].sum()
            given = None if given is None else given[rows]
        W, U, A, B = now["W"], now["U"], now["A"], now["B"]
        n_classes = self.graph.n_classes
        z = f @ W + now["b"]
        grad_u, grad_a = np.zeros_like(U), np.zeros_like(A)
        value, grad_z, of_classes = label_loss(
            z, U[:n_classes], y, self.loss, weight, gradient=gradient, n_threads=self.n_threads
        )
        grad_u[:n_classes] = of_classes
        if self.mu_s > 0.0 and self.table.n_pairs:
            part, of_z, of_u = label_loss(
                z, U, y, self.loss, weight, self.table, gradient=gradient, n_threads=self.n_threads
            )
            value += self.mu_s * part
            grad_z = grad_z + self.mu_s * of_z
            grad_u += self.mu_s * of_u
        if self.mu_a > 0.0 and given is not None:
            part, of_z, of_a = attribute_loss(z, A, given, self.attribute_loss, weight)
            value += self.mu_a * part
            grad_z = grad_z + self.mu_a * of_z
            grad_a += self.mu_a * of_a
        if self.mu2 > 0.0:
            part, of_u, of_a = tie(self.graph, U, A, B)
            value += self.mu2 * (part + beta_penalty(B, self.exclusive, self.gamma1, self.gamma2))
            grad_u += self.mu2 * of_u
            grad_a += self.mu2 * of_a
        drift = W if self.source_weights is None else W - self.source_weights
        if not self.constrained:
            value += self.lambda1 * _square(drift) + self.lambda2 * _square(U)
        elif self.source_weights is not None:
            value += self.lambda1 * _square(drift)
        if not gradient:
            return value, {}
        grad_w = f.T @ grad_z
        if not self.constrained:
            grad_u += 2 * self.lambda2 * U
        if not self.constrained or self.source_weights is not None:
            grad_w += 2 * self.lambda1 * drift
        if self.frozen_nodes is not None:
            grad_u[self.frozen_nodes] = 0.0
            grad_a[:] = 0.0
        gradients = {"W": grad_w, "b": grad_z.sum(axis=0), "U": grad_u, "A": grad_a}
        return value, {name: gradient for name, gradient in gradients.items() if gradient.size}

    def project(self, now: Parameters) -> None:
        """Back to where the parameters may be: |u_a| <= 1 always, the others' norms where constrained."""
        project_rows(now["A"], 1.0)
        if self.constrained:
            project_rows(now["U"], float(np.sqrt(self.lambda2)))
            if self.source_weights is None:
                project_rows(now["W"].T, float(np.sqrt(self.lambda1)))

    def best_beta(self, now: Parameters) -> Array:
        """B with the other parameters fixed: no worse than the B there is."""
        U, A, B = now["U"], now["A"], now["B"]
        if self.mu2 == 0.0:
            return B
        above = residuals(self.graph, U, A, np.zeros_like(B))
        if self.beta_pattern is None:
            return beta_step(above, A, B, self.exclusive, self.gamma1, self.gamma2, self.beta_max)
        # min_s |E - s P A|^2 + g2 s^2 tr(P'QP) + g1 s sum P over s >= 0
        pattern = self.beta_pattern
        reach = pattern @ A
        curvature = _square(reach) + beta_penalty(pattern, self.exclusive, 0.0, self.gamma2)
        slope = float(np.einsum("ij,ij->", above, reach)) - 0.5 * self.gamma1 * float(pattern.sum())
        highest = self.beta_max / max(float(pattern.max()), np.finfo(float).tiny)
        scale = min(max(slope / curvature, 0.0), highest) if curvature > 0.0 else 0.0
        return (scale * pattern).astype(B.dtype)


def attribute_loss(
    Z: Array, A: Array, given: Array, kind: AttributeLoss, weight: NDArray[np.float64]
) -> tuple[float, Array, Array]:
    r"""L_A with its gradients by Z and A: samples lie in the direction of their attributes' embeddings.

    ``given`` (n, n_attributes) is y^a of each sample: 0 or 1, or how strongly, for "linear"; signed and about
    0 on average for the other two. ``weight`` is normalised to sum to 1.
    """
    scores = Z @ A.T
    if kind == "linear":
        # 1 - sum_a y_a z.a
        slope = -given
        value = 1.0 - float(weight @ np.einsum("ij,ij->i", scores, given))
    elif kind == "squared":
        # mean_a (z.a - y_a)^2
        gap = scores - given
        slope = (2.0 / given.shape[1]) * gap
        value = float(weight @ np.einsum("ij,ij->i", gap, gap)) / given.shape[1]
    else:
        # mean_a |y_a| [1 - sign(y_a) z.a]_+
        gap = np.maximum(1.0 - np.sign(given) * scores, 0.0)
        slope = np.where(gap > 0, -given, 0.0) / given.shape[1]
        value = float(weight @ np.einsum("ij,ij->i", gap, np.abs(given))) / given.shape[1]
    slope = (slope * weight[:, np.newaxis]).astype(Z.dtype, copy=False)
    return value, slope @ A, slope.T @ Z


def residuals(graph: LabelGraph, U: Array, A: Array, B: Array) -> Array:
    """Row c: u_c - u_parent - beta_c A, the root's embedding being 0."""
    return U - graph.above(U) - B @ A  # type: ignore[no-any-return]


def tie(graph: LabelGraph, U: Array, A: Array, B: Array) -> tuple[float, Array, Array]:
    """The first sum of R with its gradients by U and A."""
    e = residuals(graph, U, A, B)
    # dU = 2 (E - P'E), dA = -2 B'E
    return (
        float(np.einsum("ij,ij->", e, e, dtype=np.float64)),
        2 * (e - graph.add_to_parents(e)),
        -2 * B.T @ e,
    )


def beta_penalty(B: Array, exclusive: Array, gamma1: float, gamma2: float) -> float:
    """What R has of B alone: gamma2 tr(B'QB) + gamma1 sum B."""
    return gamma2 * float(np.einsum("ij,ij->", B, exclusive @ B)) + gamma1 * float(B.sum())


def beta_step(
    U_above: Array,
    A: Array,
    B: Array,
    exclusive: Array,
    gamma1: float,
    gamma2: float,
    beta_max: float = np.inf,
    n_steps: int = 100,
) -> Array:
    """Minimise R over 0 <= B <= beta_max, from B: a convex program, by accelerated projected gradient.

    ``U_above`` holds u_c - u_parent. Never worse than B.
    """
    if not B.size:
        return B
    gram, target = A @ A.T, U_above @ A.T
    # R = |E|^2 - 2 <B, E A'> + <B, B AA'> + g2 <B, QB> + g1 sum B; its gradient has the Lipschitz constant
    bound = 2.0 * (np.linalg.norm(gram, 2) + gamma2 * np.linalg.norm(exclusive, 2))
    if not bound > 0.0:
        return B

    def value(b: Array) -> float:
        return float(np.einsum("ij,ij->", b, b @ gram - 2 * target)) + beta_penalty(
            b, exclusive, gamma1, gamma2
        )

    now, ahead, t = B, B, 1.0
    for _ in range(n_steps):
        gradient = 2 * (ahead @ gram - target) + (2 * gamma2) * (exclusive @ ahead) + gamma1
        new = np.clip(ahead - gradient / bound, 0.0, beta_max)
        if np.einsum("ij,ij->", gradient, new - now) > 0:  # the momentum leads uphill: start it again
            t = 1.0
        t_new = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t * t))
        ahead = new + ((t - 1.0) / t_new) * (new - now)
        change = np.abs(new - now).max()
        now, t = new, t_new
        if change <= 1e-7 * max(np.abs(now).max(), 1e-30):
            break
    return now if value(now) <= value(B) else B


def project_rows(a: Array, radius: float) -> None:
    """Rows of the array, in place, to the ball of that radius."""
    length = np.sqrt(np.einsum("ij,ij->i", a, a))
    far = length > radius
    a[far] *= (radius / length[far])[:, np.newaxis]


# ---- its minimisation


def alternate(
    objective: Objective, start: Parameters, schedule: Schedule, n_rounds: int, rng: np.random.Generator
) -> tuple[Parameters, NDArray[np.float64]]:
    """Block coordinate descent: (W, b, U, A) by epochs of Adam, B exactly; the objective after each round.

    With all rows in a batch a block that would increase the objective is tried again at half the rate, three
    times, and then left as it was: the objective never increases. With smaller batches it is only logged.
    """
    now = {name: np.array(value) for name, value in start.items()}
    objective.project(now)
    now["B"] = objective.best_beta(now)
    n_rows = len(objective.y)
    monotone = schedule.batch_size is None or n_rows <= schedule.batch_size
    n_steps = schedule.n_steps(n_rows)
    adam = Adam({name: value for name, value in now.items() if name != "B" and value.size})
    value = _finite(objective(now, gradient=False)[0], schedule)
    history = [value]
    shrink = 1.0
    for n_epochs in np.diff(np.linspace(0, schedule.n_epochs, n_rounds + 1).astype(int)):
        for _attempt in range(4):
            trial, state = {name: a.copy() for name, a in now.items()}, copy.deepcopy(adam)
            for _ in range(n_epochs):
                for rows in batch_rows(n_rows, schedule.batch_size, rng):
                    gradients = objective(trial, rows)[1]
                    state.step(trial, gradients, shrink * schedule.rate(state.count, n_steps))
                    objective.project(trial)
            new = objective(trial, gradient=False)[0]
            if not monotone or new <= value:
                now, adam, value = trial, state, _finite(new, schedule)
                break
            shrink *= 0.5
        else:
            adam.count += n_epochs * (n_steps // schedule.n_epochs)
        trial = {**now, "B": objective.best_beta(now)}
        new = objective(trial, gradient=False)[0]
        if not monotone or new <= value:
            now, value = trial, _finite(new, schedule)
        history.append(value)
    return now, np.array(history)


def _square(a: Array) -> float:
    return float(np.einsum("ij,ij->", a, a, dtype=np.float64))


def _finite(value: float, schedule: Schedule) -> float:
    if not np.isfinite(value):
        raise NumericalError(
            f"the objective became {value}: a smaller learning_rate may help, now {schedule.learning_rate:g}"
        )
    return value


# ---- its first values


@dataclass(frozen=True)
class KnownAttributes:
    """Attributes of rows and classes, as they were given and in units of their standard deviation."""

    rows: NDArray[np.float64]  # (n, n_attributes), as given
    signed: NDArray[np.float64]  # (n, n_attributes), centred, in units
    classes: NDArray[np.float64]  # (n_classes, n_attributes), in units
    mean: NDArray[np.float64]  # (n_attributes,), of the classes, in units: the root's
    unit: float
    names: list[str] | None

    @classmethod
    def of(
        cls, data: TrainingData, classes: NDArray[np.float64] | None, names: list[str] | None
    ) -> KnownAttributes:
        """From vectors of the classes, or of the rows in ``data.extra["attributes"]``."""
        p = data.normalized_weight
        if classes is None:
            rows = data.extra["attributes"]
            classes = data.class_means(rows)
        else:
            rows = classes[data.y]
        centred = rows - p @ rows
        unit = float(np.sqrt(np.mean(p @ centred**2))) or 1.0
        return cls(rows, centred / unit, classes / unit, classes.mean(axis=0) / unit, unit, names)

    def pattern(self, graph: LabelGraph) -> NDArray[np.float64]:
        """(n_nodes, n_attributes): what each node has more of than its parent."""
        nodes = graph.means_below(self.classes)
        return np.maximum(nodes - graph.above(nodes, self.mean), 0.0)  # type: ignore[no-any-return]


def values_of_classes(
    data: TrainingData,
    graph: LabelGraph,
    known: KnownAttributes | None,
    n_components: int,
    n_attributes: int,
    reg: float,
    rng: np.random.Generator,
) -> Parameters:
    """Classes on the axes, superclasses at the means of theirs, the map by ridge regression."""
    labels = labels_of_classes(graph, known, n_components, n_attributes, rng)
    W, b = next(ridge_path(data, labels["U"][: graph.n_classes], [reg]))
    return {"W": W, "b": b, **labels}


def labels_of_classes(
    graph: LabelGraph,
    known: KnownAttributes | None,
    n_components: int,
    n_attributes: int,
    rng: np.random.Generator,
) -> Parameters:
    """U, A and B of :func:`values_of_classes`."""
    n_classes = graph.n_classes
    # as many axes as there are, the other classes in random directions
    axes = np.eye(n_classes, n_components)
    more = rng.standard_normal((max(n_classes - n_components, 0), n_components))
    axes[n_components:] = more / np.linalg.norm(more, axis=1, keepdims=True)
    if known is None:
        A = rng.standard_normal((n_attributes, n_components))
    else:
        A = (known.classes - known.mean).T @ axes
    norm = np.linalg.norm(A, axis=1, keepdims=True)
    A = np.divide(A, norm, out=np.zeros_like(A), where=norm > 0)
    return {"U": graph.means_below(axes), "A": A, "B": np.zeros((len(graph.nodes), len(A)))}


def values_of_structure(
    data: TrainingData, graph: LabelGraph, known: KnownAttributes | None, reg: float
) -> Parameters:
    """Each node at its parent's point, a step on an axis of its own and steps on axes of its attributes."""
    labels = labels_of_structure(graph, known)
    W, b = next(ridge_path(data, labels["U"][: graph.n_classes], [reg]))
    return {"W": W, "b": b, **labels}


def labels_of_structure(graph: LabelGraph, known: KnownAttributes | None) -> Parameters:
    """U, A and B of :func:`values_of_structure`."""
    n, n_attributes = len(graph.nodes), 0 if known is None else known.classes.shape[1]
    pattern = np.zeros((n, n_attributes)) if known is None else known.pattern(graph)
    scale = np.sqrt((pattern[: graph.n_classes] ** 2).sum(axis=1).mean())
    B = pattern * (OWN_ATTRIBUTES / scale if scale > 0 else 0.0)
    U = np.hstack([np.diag(np.where(np.arange(n) < graph.n_classes, 1.0, OWN_SUPERCLASS)), B])
    for i in graph.from_the_root():
        if graph.parent[i] >= 0:
            U[i] += U[graph.parent[i]]
    norm = np.sqrt((U[: graph.n_classes] ** 2).sum(axis=1).mean())
    U, B = U / norm, B / norm
    A = np.hstack([np.zeros((n_attributes, n)), np.eye(n_attributes)])
    return {"U": U, "A": A, "B": B}


def values_of_source(
    data: TrainingData, graph: LabelGraph, known: KnownAttributes | None, source: Source
) -> Parameters:
    """Everything from the source; new nodes by parents and attributes, or, without these, at their means."""
    A = np.zeros((0, source.weights.shape[1])) if source.attributes is None else source.attributes
    if known is not None and source.attributes is not None and len(A) != known.classes.shape[1]:
        raise ValueError(f"source has {len(A)} attributes, attributes has {known.classes.shape[1]}")
    pattern = np.zeros((len(graph.nodes), len(A)))
    if known is not None and source.attributes is not None:
        pattern = known.pattern(graph)
    B = source.beta_scale * pattern
    if (graph.parent >= 0).any() or pattern.any():
        U = np.zeros((len(graph.nodes), A.shape[1]))
        for i in graph.from_the_root():
            above = U[graph.parent[i]] if graph.parent[i] >= 0 else 0.0
            U[i] = source.nodes.get(graph.nodes[i], above + source.beta_scale * pattern[i] @ A)
    else:
        means = data.class_means() @ source.weights + source.intercept
        U = graph.means_below(source.mean_scale * means)
    return {"W": source.weights, "b": source.intercept, "U": U, "A": A, "B": B}


def beta_scale(graph: LabelGraph, U: Array, A: Array, pattern: Array) -> float:
    """The s >= 0 for which s times the step that the attributes give comes nearest to u_c - u_parent."""
    step = pattern @ A
    square = float((step * step).sum())
    return max(float(((U - graph.above(U)) * step).sum()) / square, 0.0) if square > 0 else 0.0


@dataclass(frozen=True)
class Source:
    """What few-shot learning takes over from a fitted model of other classes."""

    scaling: InputScaling
    weights: NDArray[Any]
    intercept: NDArray[Any]
    nodes: dict[Any, NDArray[Any]]  # embeddings of classes and superclasses by name
    attributes: NDArray[Any] | None
    beta_scale: float
    mean_scale: float

    @classmethod
    def of(cls, model: Any, n_features: int) -> Source:
        """From a fitted label embedding, or a FrozenEstimator around one."""
        if type(model).__name__ == "FrozenEstimator":
            model = model.estimator
        if not isinstance(model, LabelEmbedding):
            raise TypeError(f"source must be a fitted label embedding or None, got {type(model).__name__}")
        if not hasattr(model, "label_embedding_"):
            raise NotFittedError(
                "source is not fitted: fit it first. What sklearn's clone made of it is not fitted either, "
                "unless it is wrapped in a FrozenEstimator"
            )
        weights = getattr(model, "weights_", None)
        if weights is None:
            raise ValueError(f"source must have a map (weights_), which {type(model).__name__} has not")
        if model.n_features_in_ != n_features:
            raise ValueError(f"source was fitted to {model.n_features_in_} features, X has {n_features}")
        nodes = dict(zip(model.classes_.tolist(), model.label_embedding_, strict=True))
        if isinstance(model, SemanticLabels):
            nodes |= dict(zip(model.nodes_, model.node_embedding_, strict=True))
        return cls(
            model.scaling_,
            weights,
            model.intercept_,
            nodes,
            getattr(model, "attribute_embedding_", None),
            getattr(model, "_beta_scale", 0.0),
            getattr(model, "_mean_scale", 1.0),
        )
