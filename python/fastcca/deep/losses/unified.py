"""The objective of unified semantic embedding as a loss of PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from fastcca._arguments.arrays import as_matrix, as_weights, refuse_non_finite
from fastcca._arguments.parameters import (
    N_COMPONENTS,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_INTEGER,
    RANDOM_STATE,
    choice,
)
from fastcca.deep.losses._operator import common_precision
from fastcca.deep.losses._workers import of_worker, shared, total_of
from fastcca.deep.losses.hinge import (
    HingeEmbeddingLoss,
    at_hand,
    checked_weights,
    weights_in_group,
    weights_of_mean,
)
from fastcca.embedding._data import TrainingData
from fastcca.embedding._semantics import LabelGraph, label_graph, label_vectors
from fastcca.embedding._training import LOSSES, LabelLoss, seed_of
from fastcca.embedding.unified import (
    MU1,
    SCALE,
    AttributeLoss,
    KnownAttributes,
    Objective,
    labels_of_classes,
    labels_of_structure,
)
from fastcca.errors import NumericalError
from fastcca.taxonomy import Taxonomy

__all__ = ["UnifiedSemanticLoss"]


class UnifiedSemanticLoss(nn.Module):
    r"""Unified semantic embedding (USE) of a batch: the embeddings of the labels, and the loss against them.

    .. math:: \tfrac1N \sum_i \left[ L_C + \mu_1 (L_S + L_A) \right] + \mu_2 R(U, B)
              + \lambda_2 \lVert U \rVert^2

    for outputs Z of a network, the terms being those of
    :class:`fastcca.embedding.UnifiedSemanticEmbedding`. The module holds the embeddings U of classes and
    superclasses and A of attributes, which an optimiser trains together with the network, and the
    coefficients B. After each step of the optimiser call :meth:`project`, from time to time, after an epoch
    say, :meth:`step_beta`.

    Parameters
    ----------
    taxonomy : Taxonomy, optional
        The tree of the labels. None: flat, every class below the root and no :math:`L_S`.
    attributes : mapping, DataFrame or array_like, optional
        A vector for each class, as of the estimator. None: ``forward`` is given attributes of each sample, or
        they are latent (no :math:`L_A`, and R alone finds them).
    classes : sequence of labels, optional
        The labels that the integers ``y`` of ``forward`` count. By default the leaves of ``taxonomy``,
        sorted, or without one the labels of ``attributes``, sorted.
    mu1, mu2, loss, attribute_loss, lambda2, norms, gamma1, gamma2, beta, beta_max, n_attributes
        As of :class:`fastcca.embedding.UnifiedSemanticEmbedding`, with the same defaults. ``lambda1``, the
        factor of the squared weights, is a matter of the optimiser of the network.
    n_components : int, optional
        Columns of Z; by default the number of classes. Without effect for ``init="structure"``, which takes
        as many as there are nodes and given attributes.
    init : {"classes", "structure"}, default="classes"
        First embeddings, as of the estimator.
    class_prior : array_like of shape (n_classes,), optional
        Relative frequencies of the classes in the data, for the mean of the attributes; by default equal.
    random_state : int, RandomState or None, default=None
        Seed of the first latent attributes.
    dtype : torch.dtype, optional
        Of the parameters; by default PyTorch's default.
    process_group : torch.distributed.ProcessGroup, optional
        Workers that hold parts of one batch. The loss and the gradients are those of the whole batch; the
        gradient of Z is multiplied by the number of workers, so that the mean over workers that
        ``DistributedDataParallel`` takes is the whole batch's gradient; that of the embeddings is the
        whole batch's on every worker.

    Attributes
    ----------
    U : Parameter of shape (n_nodes, d)
        Embeddings of the classes, then of the superclasses.
    A : Parameter of shape (n_attributes, d)
        Embeddings of the attributes, of norm at most one.
    B : Tensor of shape (n_nodes, n_attributes)
        The coefficients, >= 0: a buffer, which :meth:`step_beta` changes.
    classes, nodes : list
        The labels; the labels, then the superclasses.
    graph : LabelGraph
        Parents, ancestors and siblings of the nodes.

    Raises
    ------
    ValueError
        For parameters out of range, a class without a node or a vector, fewer than two classes.

    See Also
    --------
    DeepLabelEmbedding : The estimator that trains with it.

    References
    ----------
    S. J. Hwang and L. Sigal, "A unified semantic embedding: relating taxonomies and attributes", NIPS 2014.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import UnifiedSemanticLoss
    >>> from fastcca.taxonomy import Taxonomy
    >>> animals = Taxonomy.from_dict({"animal": {"mammal": ["cat", "dog"], "fish": ["eel"]}})
    >>> use = UnifiedSemanticLoss(animals, {"cat": [0, 1, 0], "dog": [0, 1, 1], "eel": [1, 0, 0]})
    >>> use.nodes
    ['cat', 'dog', 'eel', 'mammal', 'fish']
    >>> Z = torch.zeros(4, 3, requires_grad=True)  # what a network returns
    >>> loss = use(Z, torch.tensor([0, 1, 2, 2]))
    >>> loss.backward()
    >>> use.U.grad.shape, use.A.grad.shape
    (torch.Size([5, 3]), torch.Size([3, 3]))
    >>> use.project()
    >>> use.step_beta()
    """

    B: Tensor
    pattern: Tensor
    attribute_targets: Tensor
    attribute_mean: Tensor
    attribute_unit: Tensor
    frozen: Tensor
    exclusive: Tensor
    parent: Tensor

    def __init__(
        self,
        taxonomy: Taxonomy | None = None,
        attributes: Any = None,
        classes: Sequence[Any] | NDArray[Any] | None = None,
        *,
        mu1: float | tuple[float, float] = 0.1,
        mu2: float = 0.004,
        loss: LabelLoss = "softmax",
        attribute_loss: AttributeLoss = "squared",
        lambda2: float = 0.002,
        norms: Literal["penalty", "constraint"] = "penalty",
        gamma1: float = 0.0,
        gamma2: float = 1.0,
        beta: Literal["learned", "attributes"] = "learned",
        beta_max: float | None = None,
        n_attributes: int | None = None,
        n_components: int | None = None,
        init: Literal["classes", "structure"] = "classes",
        class_prior: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        dtype: torch.dtype | None = None,
        process_group: Any = None,
    ) -> None:
        super().__init__()
        self.process_group = process_group
        self.mu_s, self.mu_a = MU1("mu1", mu1)
        self.mu2 = NOT_NEGATIVE("mu2", mu2)
        self.loss = choice(*LOSSES)("loss", loss)
        self.attribute_loss = choice("squared", "hinge", "linear")("attribute_loss", attribute_loss)
        self.norms = choice("penalty", "constraint")("norms", norms)
        self.lambda2 = (POSITIVE if norms == "constraint" else NOT_NEGATIVE)("lambda2", lambda2)
        self.gamma1, self.gamma2 = NOT_NEGATIVE("gamma1", gamma1), NOT_NEGATIVE("gamma2", gamma2)
        self.beta = choice("learned", "attributes")("beta", beta)
        self.beta_max = NOT_NEGATIVE.or_none("beta_max", beta_max)
        choice("classes", "structure")("init", init)
        RANDOM_STATE("random_state", random_state)
        labels = _classes(taxonomy, attributes, classes)
        self.classes = labels.tolist()
        self.graph: LabelGraph = label_graph(taxonomy, labels)
        self.nodes = list(self.graph.nodes)
        self.attribute_names: list[str] | None = None
        known = None
        prior = _prior(class_prior, len(labels))
        if attributes is not None:
            vectors = label_vectors(attributes, labels)
            names = None if vectors.names is None else list(vectors.names)
            # each class as one row that counts as often as the class does
            known = KnownAttributes.of(
                _rows(np.arange(len(labels)), prior, len(labels)), vectors.of(labels), names
            )
            self.attribute_names = names
        elif self.beta == "attributes" and n_attributes is None:
            raise ValueError(
                "beta='attributes' needs attributes: of the classes, or, with n_attributes, of the samples "
                "by set_sample_attributes"
            )
        n_components = N_COMPONENTS("n_components", n_components) or len(labels)
        n_attributes = POSITIVE_INTEGER.or_none("n_attributes", n_attributes) or len(labels)
        rng = np.random.default_rng(seed_of(random_state))
        if init == "structure":
            first = labels_of_structure(self.graph, known)
        else:
            first = labels_of_classes(self.graph, known, n_components, n_attributes, rng)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise ValueError(f"dtype must be a floating-point dtype of torch or None, got {dtype!r}")
        self.U = nn.Parameter(torch.as_tensor(SCALE * first["U"], dtype=dtype))
        self.A = nn.Parameter(torch.as_tensor(first["A"], dtype=dtype))
        n, k = first["B"].shape
        values = {
            "B": first["B"],
            "pattern": np.zeros((n, k)),
            "attribute_targets": np.zeros((len(labels), k)),
            "attribute_mean": np.zeros(k),
            "attribute_unit": np.ones(()),
            "exclusive": self.graph.exclusive(),
        }
        for name, value in values.items():
            self.register_buffer(name, torch.as_tensor(value, dtype=dtype))
        self.register_buffer("frozen", torch.zeros(n, dtype=torch.bool))
        self.register_buffer("parent", torch.from_numpy(self.graph.parent.copy()), persistent=False)
        self.known = known
        self.of_classes = known is not None  # the attributes are those of classes, not of samples
        if known is not None:
            self._set_known(known)
        form: dict[str, Any] = dict(LOSSES[loss])
        table = self.graph.constraints()
        form["process_group"] = process_group
        self.class_loss = HingeEmbeddingLoss(**form)
        self.superclass_loss = HingeEmbeddingLoss(table=table, **form) if table.n_pairs else None
        self.project()

    def extra_repr(self) -> str:
        return (
            f"{len(self.classes)} classes, {len(self.nodes) - len(self.classes)} superclasses, {len(self.A)} "
            f"attributes, loss={self.loss!r}, attribute_loss={self.attribute_loss!r}, "
            f"mu1={(self.mu_s, self.mu_a)}, mu2={self.mu2}, norms={self.norms!r}, lambda2={self.lambda2}"
        )

    def set_sample_attributes(
        self, y: ArrayLike, sample_attributes: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """What is to be known of attributes that the samples have, before training.

        The "squared" and "hinge" forms of :math:`L_A` take attributes centred and in units of their standard
        deviation, and ``beta="attributes"`` the classes' means. Without this call attributes of samples are
        taken as they are given.

        Parameters
        ----------
        y : array_like of int, shape (n,)
            The classes of the training samples.
        sample_attributes : array_like of shape (n, n_attributes)
            Their attributes.
        sample_weight : array_like of shape (n,), optional
            Their weights.

        Raises
        ------
        ValueError
            If the module has attributes of classes, for another number of attributes, NaN or infinity, a
            class without samples.
        """
        if self.of_classes:
            raise ValueError("the attributes are those of the classes: samples cannot have their own")
        rows = as_matrix("sample_attributes", sample_attributes).astype(np.float64)
        refuse_non_finite("sample_attributes", rows)
        self._check_attributes(rows.shape, len(rows))
        codes = np.asarray(y)
        n = len(self.classes)
        if codes.shape != (len(rows),) or codes.dtype.kind not in "iu":
            raise ValueError(f"y must hold one integer for each of the {len(rows)} rows, got {codes.shape}")
        if len(codes) and not 0 <= codes.min() <= codes.max() < n:
            raise ValueError(f"y must hold classes from 0 to {n - 1}, got {codes.min()} to {codes.max()}")
        weight = as_weights(sample_weight, len(rows), more_than=0.0)
        weight = np.ones(len(rows)) if weight is None else weight
        empty = np.bincount(codes, weight, n) == 0
        if empty.any():
            raise ValueError(f"there is no sample of the class {self.classes[int(empty.argmax())]!r}")
        self.known = KnownAttributes.of(_rows(codes.astype(np.int64), weight, n, rows), None, None)
        self._set_known(self.known)

    def _set_known(self, known: KnownAttributes) -> None:
        unit = 1.0 if self.attribute_loss == "linear" else known.unit
        self._put("pattern", known.pattern(self.graph))
        self._put("attribute_unit", np.asarray(unit))
        if self.of_classes:
            self._put("attribute_targets", known.rows if self.attribute_loss == "linear" else known.signed)
        elif self.attribute_loss != "linear":
            # signed = rows / unit - mean
            self._put("attribute_mean", known.rows[0] / unit - known.signed[0])

    def _put(self, name: str, value: NDArray[np.float64]) -> None:
        """Into a buffer, which keeps its device and dtype."""
        buffer = getattr(self, name)
        buffer.copy_(torch.as_tensor(value, dtype=buffer.dtype))

    def freeze(self, nodes: Iterable[Any], attributes: bool = True) -> None:
        """Keep the embeddings of nodes, and of the attributes, as they are: few-shot learning.

        Parameters
        ----------
        nodes : iterable of labels
            Out of ``nodes``.
        attributes : bool, default=True
            Whether the attributes' embeddings stay too.
        """
        for node in nodes:
            if node not in self.nodes:
                raise ValueError(f"nodes must hold labels out of the module's nodes, got {node!r}")
            self.frozen[self.nodes.index(node)] = True
        self.A.requires_grad_(not attributes)

    # ---- the loss

    def forward(
        self,
        Z: Tensor,
        y: Tensor,
        sample_attributes: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """The loss of rows ``Z`` (B, d) of classes ``y`` (B,), a scalar.

        ``sample_attributes`` (B, n_attributes) are those of each sample, where the classes have none given;
        ``sample_weight`` (B,) weights of a weighted mean.

        Raises
        ------
        TypeError, ValueError
            For tensors of another kind or shape, classes out of range, NaN or infinity.
        NumericalError
            On the CPU, if the loss overflows; other devices are not waited for.
        """
        terms = self.terms(Z, y, sample_attributes, sample_weight)
        factors = {"L_C": 1.0, "L_S": self.mu_s, "L_A": self.mu_a, "R": self.mu2, "norm": self.lambda2}
        value = terms["L_C"]
        for name, term in terms.items():
            if name != "L_C":
                value = value + factors[name] * term
        if at_hand(value) and not bool(torch.isfinite(value)):
            found = {name: float(term.detach()) for name, term in terms.items()}
            bad = " and ".join(f"{name} is {x}" for name, x in found.items() if not np.isfinite(x))
            raise NumericalError(
                f"the loss overflows, {bad or 'in the sum of its terms'}: a smaller learning rate may help, "
                "or data scaled down"
            )
        return value

    def terms(
        self,
        Z: Tensor,
        y: Tensor,
        sample_attributes: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The terms by their names, without their factors: L_C, L_S, L_A, R, norm, those that count.

        Parameters and errors as of :meth:`forward`.
        """
        if not isinstance(Z, Tensor) or not Z.is_floating_point():
            raise TypeError(f"Z must be a floating-point tensor, got {getattr(Z, 'dtype', type(Z).__name__)}")
        if Z.ndim != 2 or Z.shape[1] != self.U.shape[1]:
            raise ValueError(
                f"Z must have shape (rows, {self.U.shape[1]}), the columns of the labels' embeddings, got "
                f"{tuple(Z.shape)}"
            )
        if sample_attributes is not None and self.of_classes:
            raise ValueError("sample_attributes and attributes are both given: leave one of them out")
        # frozen rows have a gradient of 0
        Z, U = common_precision(Z, torch.where(self.frozen[:, None], self.U.detach(), self.U))
        terms = {"L_C": self.class_loss(Z, U[: len(self.classes)], y, sample_weight)}
        if self.mu_s > 0 and self.superclass_loss is not None:
            terms["L_S"] = self.superclass_loss(Z, U, y, sample_weight)
        with torch.autocast(Z.device.type, enabled=False):
            if self.mu_a > 0 and len(self.A) and (self.of_classes or sample_attributes is not None):
                given = self._given(y, sample_attributes).to(Z.dtype)
                terms["L_A"] = _attribute_loss(
                    Z, self.A.to(Z.dtype), given, self.attribute_loss, sample_weight, self.process_group
                )
            if self.mu2 > 0:
                terms["R"] = self._regularizer(U)
            if self.norms == "penalty" and self.lambda2 > 0:
                terms["norm"] = U.square().sum()
        return terms

    def _given(self, y: Tensor, sample_attributes: Tensor | None) -> Tensor:
        if sample_attributes is None:
            return self.attribute_targets[y.long()]
        if not isinstance(sample_attributes, Tensor):
            raise TypeError(f"sample_attributes must be a tensor, got {type(sample_attributes).__name__}")
        self._check_attributes(tuple(sample_attributes.shape), len(y))
        if at_hand(sample_attributes) and not bool(torch.isfinite(sample_attributes).all()):
            raise ValueError("sample_attributes contains NaN or infinity")
        return sample_attributes.to(self.U.dtype) / self.attribute_unit - self.attribute_mean

    def _check_attributes(self, shape: tuple[int, ...], n_rows: int) -> None:
        if shape != (n_rows, len(self.A)):
            raise ValueError(f"sample_attributes must have shape {(n_rows, len(self.A))}, got {shape}")

    def _regularizer(self, U: Tensor) -> Tensor:
        r"""R(U, B), with :math:`\gamma_2 tr(B^T Q B) + \gamma_1 \sum B`, what it has of B alone."""
        B, Q = self.B.to(U.dtype), self.exclusive.to(U.dtype)
        above = torch.cat([U, U.new_zeros(1, U.shape[1])])[self.parent]  # -1: the root's 0
        e = U - above - B @ self.A.to(U.dtype)
        total: Tensor = e.square().sum() + self.gamma2 * (B * (Q @ B)).sum() + self.gamma1 * B.sum()
        return total

    # ---- between the steps of an optimiser

    @torch.no_grad()
    def project(self) -> None:
        """Back to where the parameters may be, after each step of the optimiser.

        Rows of A have a norm of at most one; with ``norms="constraint"`` rows of U a square of at most
        ``lambda2``.
        """
        if self.A.requires_grad:  # frozen ones stay as they are, to the last digit
            _project_rows(self.A, 1.0)
        if self.norms == "constraint":
            _project_rows(self.U, self.lambda2**0.5)

    @torch.no_grad()
    def step_beta(self) -> None:
        r"""The B that minimises R for fixed U and A, over :math:`0 \le B \le` ``beta_max``.

        R is convex in B; the minimum is found by accelerated projected gradient from the present B, in
        float64 on the CPU, and is never worse than that. With ``beta="attributes"`` B is a multiple of
        the given pattern, and the factor has a closed form.
        """
        now = {name: getattr(self, name).detach().cpu().double().numpy() for name in ("U", "A", "B")}
        pattern = self.pattern.cpu().double().numpy() if self.beta == "attributes" else None
        objective = Objective(
            np.zeros((0, 0)),
            np.zeros(0, dtype=np.int64),
            np.zeros(0),
            self.graph,
            mu2=self.mu2,
            gamma1=self.gamma1,
            gamma2=self.gamma2,
            beta_max=np.inf if self.beta_max is None else self.beta_max,
            beta_pattern=pattern,
        )
        self._put("B", objective.best_beta(now))


def _attribute_loss(
    Z: Tensor, A: Tensor, given: Tensor, kind: str, sample_weight: Tensor | None, group: Any
) -> Tensor:
    """As of :func:`fastcca.embedding.unified.attribute_loss`, by PyTorch."""
    if group is not None:
        Z, A = of_worker(Z, group), shared(A, group)
    scores = Z @ A.T
    if kind == "linear":
        # 1 - sum_a y_a z.a
        losses = 1.0 - (scores * given).sum(1)
    elif kind == "squared":
        # mean_a (z.a - y_a)^2
        losses = (scores - given).square().mean(1)
    else:
        # mean_a |y_a| [1 - sign(y_a) z.a]_+
        losses = ((1.0 - given.sign() * scores).clamp(min=0) * given.abs()).mean(1)
    if group is not None:
        own = None if sample_weight is None else checked_weights("sample_weight", sample_weight, Z)
        return total_of((weights_in_group(own, Z, "mean", group) * losses).sum(), group)
    weights = weights_of_mean(sample_weight, Z)
    return losses.mean() if weights is None else (weights * losses).sum()


def _project_rows(a: Tensor, radius: float) -> None:
    """Rows of the tensor, in place, to the ball of that radius."""
    length = torch.linalg.vector_norm(a, dim=1, keepdim=True)
    a.mul_(torch.where(length > radius, radius / length, 1.0))


def _classes(taxonomy: Any, attributes: Any, classes: Any) -> NDArray[Any]:
    if classes is None:
        if isinstance(taxonomy, Taxonomy):
            classes = np.unique(np.asarray(taxonomy.leaves))
        elif isinstance(attributes, Mapping):
            classes = np.unique(np.asarray(list(attributes)))
        elif hasattr(attributes, "index") and hasattr(attributes, "columns"):
            classes = np.unique(np.asarray(attributes.index.tolist()))
        else:
            raise ValueError("classes must be given where neither taxonomy nor attributes has labels")
    labels = np.asarray(classes)
    if labels.ndim != 1 or len(labels) < 2:
        raise ValueError(f"classes must hold at least two labels, got {labels.tolist()!r}")
    if len(set(labels.tolist())) < len(labels):
        raise ValueError("classes holds a label more than once")
    return labels


def _prior(class_prior: Any, n_classes: int) -> NDArray[np.float64]:
    if class_prior is None:
        return np.ones(n_classes)
    prior = np.asarray(class_prior, dtype=np.float64)
    if prior.shape != (n_classes,) or not (np.isfinite(prior).all() and (prior > 0).all()):
        raise ValueError(f"class_prior must hold a positive number for each of the {n_classes} classes")
    return prior


def _rows(
    y: NDArray[np.int64], weight: NDArray[np.float64], n_classes: int, attributes: Any = None
) -> TrainingData:
    """Samples of which no more is known than their classes, weights and attributes."""
    extra = {} if attributes is None else {"attributes": attributes}
    return TrainingData(np.zeros((len(y), 0)), y, weight, n_classes, np.full(len(y), -1), extra)
