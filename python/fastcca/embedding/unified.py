"""Unified semantic embedding: images, labels, superclasses and attributes in one space."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.parameters import as_matrix, check_count, check_same_rows, refuse_non_finite
from fastcca._models.files import Schema
from fastcca.embedding._explanation import Explanation
from fastcca.embedding._label_loss import LabelLoss
from fastcca.embedding._semantics import AttributeLoss
from fastcca.embedding._unified_learning import UnifiedLearning
from fastcca.taxonomy import Taxonomy

__all__ = ["UnifiedSemanticEmbedding"]

# The rows of the published table as parameters: which terms count beside L_C.
_SETTINGS: Mapping[str, Mapping[str, bool]] = {
    "LME": {"taxonomy": False, "attributes": False, "regularizer": False},
    "LME-MTL-S": {"taxonomy": True, "attributes": False, "regularizer": False},
    "LME-MTL-A": {"taxonomy": False, "attributes": True, "regularizer": False},
    "USE-No Reg": {"taxonomy": True, "attributes": True, "regularizer": False},
    "USE-Reg": {"taxonomy": True, "attributes": True, "regularizer": True},
}


class UnifiedSemanticEmbedding(UnifiedLearning):
    r"""Unified semantic embedding (USE): a label is its parent and a few attributes, and samples lie near it.

    .. math:: \min_{W, U, A, B} \tfrac1N \sum_i \left[ L_C + \mu_1 (L_S + L_A) \right] + \mu_2 R(U, B)
              + \lambda_1 \lVert W \rVert^2 + \lambda_2 \lVert U \rVert^2

    with :math:`z = W^\top f + b` for the centred, scaled inputs f, embeddings u of classes and superclasses,
    attributes' embeddings :math:`u_a` of length at most one (the rows of A) and sparse coefficients
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
    loss : {"hinge", "worst", "rank", "softmax"}, default="softmax"
        Form of :math:`L_C` and :math:`L_S`. "hinge" is the formula above, the paper's. "rank" weighs it by
        L(r)/r, where r is the number of violators and L(r) = 1 + 1/2 + ... + 1/r; "worst" takes the worst
        violator alone; "softmax" is the log-loss of negative distances, without a margin.
    attribute_loss : {"squared", "hinge", "linear"}, default="squared"
        Form of :math:`L_A`. "linear" is the formula above, the paper's, with y as given. The other two take y
        centred and in units of its standard deviation: the mean over attributes of
        :math:`(z^\top u_a - y^a)^2` or of :math:`|y^a| [1 - sign(y^a) z^\top u_a]_+`.
    lambda1, lambda2 : float, default=0.005, 0.002
        Of the squared norms of W and U.
    norms : {"penalty", "constraint"}, default="penalty"
        "penalty" adds them as above. "constraint" bounds them row by row: each column of W (p, d) and each u
        have a squared length of at most ``lambda1`` and ``lambda2``.
    gamma1, gamma2 : float, default=0, 1
        Sparsity and exclusivity of the coefficients in R.
    beta : {"learned", "attributes"}, default="learned"
        "attributes": :math:`\beta_c` is what c's attributes exceed its parent's by, times a learned scale.
    beta_max : float, optional
        Bound of each coefficient: the paper's :math:`0 \le \beta \le \gamma_1`.
    n_attributes : int, optional
        How many latent attributes; by default as many as classes. Counts only where none are given.
    n_components : int, optional
        Dimensions of the space; by default the number of classes. Counts only for ``start="classes"``.
    start : {"classes", "structure"}, default="classes"
        First embeddings. "classes": each class on an axis of its own, superclasses at the means of theirs.
        "structure": each node at its parent's, a step along an axis of its own, and a step for what its
        attributes exceed its parent's by, along an axis of each attribute, which takes as many dimensions as
        there are nodes and attributes; what is learned about attributes then carries over to new classes.
    source : fitted label embedding, optional
        A model of other classes on the same features: few-shot learning. W is drawn towards the source's
        instead of 0, its scaling, its superclasses and its attributes' embeddings are taken over, and new
        classes start where the source would place them. :func:`sklearn.base.clone` takes the fit from a
        parameter that is an estimator: wrap it in :class:`sklearn.frozen.FrozenEstimator` for that.
    n_epochs : int, default=200
        Passes over the rows.
    n_rounds : int, default=10
        Turns of the two blocks (W, U, A) and B.
    learning_rate : float, default=0.03
        First step of Adam, as a share of the size of what it moves; it falls to 0 along a cosine.
    batch_size : int, optional
        Rows of a step; by default all of them, and then the objective never rises from round to round: a
        block that would raise it is tried at lower rates, then left as it was.
    random_state : int, RandomState or None, default=0
        Of the first latent attributes and the order of the batches.
    class_weight : dict, "balanced" or None, default=None
        Factors of the weights of each class.
    scale_power : float, default=0.5
        The centred columns of X are divided by their standard deviation to this power: 0 leaves them as they
        come, 1 gives them equal variance. A common factor of all columns changes nothing.
    normalize : bool, default=True
        Draw the rows towards one length, so that outliers do not lead the fit.
    temperature : float, optional
        What distances are divided by to be read as probabilities. By default the one that suits rows held out
        from three further fits; a number spares those.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. The result does not depend on it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    label_embedding_ : ndarray of shape (n_classes, d)
        The point of each label.
    superclasses_ : list
        The nodes above a class that are none themselves.
    superclass_embedding_ : ndarray of shape (n_superclasses, d)
        Their points.
    attribute_embedding_ : ndarray of shape (n_attributes, d)
        The attributes' points, of length at most one.
    attribute_names_ : list of str
        Their names.
    nodes_ : list
        ``classes_``, then ``superclasses_``: the rows of ``beta_``.
    beta_ : ndarray of shape (n_nodes, n_attributes)
        The coefficients, >= 0.
    loss_curve_ : ndarray
        The objective before the first round and after each.
    weights_ : ndarray of shape (p, d)
        Of the map ``Psi(x) = f @ weights_ + intercept_``, f the scaled inputs, ``scaling_.transform(X)``.
    intercept_ : ndarray of shape (d,)
        Its constant.
    scaling_ : InputScaling
        Means and factors of the inputs.
    temperature_ : float
        Of :meth:`predict_proba`.
    n_features_in_ : int
        p.

    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, NaN or infinity, fewer than two classes, a class without a vector
        or a node.
    NumericalError
        In ``fit``: an objective that overflows.

    See Also
    --------
    setting : The parameters of the rows of the published table.

    References
    ----------
    S. J. Hwang and L. Sigal, "A unified semantic embedding: relating taxonomies and attributes", NIPS 2014.

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

    _schema = Schema(
        "UnifiedSemanticEmbedding",
        fields="superclasses_ superclass_embedding_ attribute_embedding_ attribute_names_ nodes_ beta_ "
        "loss_curve_ fitted_labels=_fitted_labels parents=_parents node_attributes=_node_attributes "
        "root_attributes=_root_attributes attribute_unit=_attribute_unit beta_scale=_beta_scale "
        "mean_scale=_mean_scale",
    )

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
        start: Literal["classes", "structure"] = "classes",
        source: Any = None,
        n_epochs: int = 200,
        n_rounds: int = 10,
        learning_rate: float = 0.03,
        batch_size: int | None = None,
        random_state: Any = 0,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        scale_power: float = 0.5,
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
        self.start = start
        self.source = source
        self.n_epochs = n_epochs
        self.n_rounds = n_rounds
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.random_state = random_state
        self.class_weight = class_weight
        self.scale_power = scale_power
        self.normalize = normalize
        self.temperature = temperature
        self.n_threads = n_threads

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

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        sample_attributes: ArrayLike | None = None,
    ) -> "UnifiedSemanticEmbedding":
        """Fit to rows and their labels.

        Parameters
        ----------
        X : array_like of shape (n, p)
            One row a sample; float32 or float64.
        y : array_like of shape (n,)
            The label of each row: numbers or text.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row; a weight of 0 leaves it out.
        sample_attributes : array_like of shape (n, n_attributes), optional
            The attributes of each row, for :math:`L_A`; those of a class are then the mean of its rows.

        Returns
        -------
        UnifiedSemanticEmbedding
            The fitted estimator.

        Raises
        ------
        ValueError, NumericalError
            See :class:`UnifiedSemanticEmbedding`.
        """
        extra = {}
        if sample_attributes is not None:
            if self.attributes is not None:
                raise ValueError("sample_attributes and attributes are both given: leave one of them out")
            check_same_rows(X=X, sample_attributes=sample_attributes)
            given = as_matrix("sample_attributes", sample_attributes, complete=True)
            extra["attributes"] = given.astype(np.float64)
            refuse_non_finite("sample_attributes", extra["attributes"])
            n_rows = len(as_matrix("X", X))
            if len(extra["attributes"]) != n_rows:
                raise ValueError(f"sample_attributes has {len(extra['attributes'])} rows and X has {n_rows}")
        self._fit(X, y, sample_weight, extra)
        return self

    def explain(self, label: Any, n_attributes: int | None = 10) -> Explanation:
        """A class or superclass as its parent and a few attributes.

        Parameters
        ----------
        label : label
            A class or a node above one.
        n_attributes : int or None, default=10
            At most as many attributes, those of the largest coefficients; None: all that are not 0.

        Returns
        -------
        Explanation
            ``str`` of it is a sentence; :class:`fastcca.plotting.ExplanationDisplay` draws it.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            For a label that the model does not know.
        """
        check_is_fitted(self)
        label = label.item() if isinstance(label, np.generic) else label
        if label not in self.nodes_:
            raise ValueError(f"label must be one of nodes_, got {label!r}")
        if n_attributes is not None:
            check_count("n_attributes", n_attributes)
        row = self.nodes_.index(label)
        U = self._node_embedding
        coefficients = self.beta_[row].astype(np.float64)
        parent = self._parents[row]
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
