"""Bilinear models with given label vectors: attributes, places in a taxonomy, or both (ALE, HLE, AHLE)."""

from collections.abc import Mapping
from typing import Any, Literal

from fastcca._models.files import Schema
from fastcca.embedding._label_loss import LabelLoss
from fastcca.embedding._prototypes import PrototypeEmbedding
from fastcca.taxonomy import Taxonomy

__all__ = ["AttributeHierarchyLabelEmbedding", "AttributeLabelEmbedding", "HierarchyLabelEmbedding"]


class AttributeLabelEmbedding(PrototypeEmbedding):
    r"""Attribute label embedding (ALE): each label at the vector of its attributes.

    The vectors are centred over the classes of the fit and of length one.
    A bilinear model: the label of greatest :math:`\Psi(x)^\top \varphi(y)`, found by a ranking loss of the
    distances :math:`\lVert \Psi(x) - \varphi(y) \rVert^2`, which order vectors of length one alike.


    Parameters
    ----------
    attributes : mapping, DataFrame or array_like, optional
        A vector for each label: a mapping from label to vector or a data frame with labels as index, which
        may hold labels beyond those of the fit; or an array of one row a class in the order of ``classes_``.
        None: one-hot vectors.
    loss : {"hinge", "worst", "rank", "softmax"}, default="rank"
        How the classes that violate the margin count: "rank", their sum times L(r)/r, where r is their number
        and L(r) = 1 + 1/2 + ... + 1/r, which is what the paper's sampling estimates; "hinge", all alike;
        "worst", the worst alone; "softmax", no margin but the log-loss of negative distances.
    reg : float, default=0.001
        Weight of the squared norm of the map.
    learn_prototypes : float, optional
        By default the label vectors stay as they are given. A number lets them be learned as well, with that
        weight of the mean squared distance from the given ones.
    n_epochs : int, default=200
        Passes over the rows.
    learning_rate : float, default=0.1
        First step of Adam, as a share of the size of what it moves; it falls to 0 along a cosine.
    batch_size : int, optional
        Rows of a step; by default all of them.
    random_state : int, RandomState or None, default=0
        Of the order of the batches.
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
    prototypes_ : ndarray of shape (n_classes, d)
        The given label vectors: the same unless they are learned.
    weights_ : ndarray of shape (p, d)
        Of the map ``Psi(x) = f @ weights_ + intercept_``, f the scaled inputs, ``scaling_.transform(X)``.
    intercept_ : ndarray of shape (d,)
        Its constant.
    scaling_ : InputScaling
        Means and factors of the inputs.
    loss_curve_ : ndarray of shape (n_epochs,)
        The objective, epoch by epoch.
    temperature_ : float
        Of :meth:`predict_proba`.
    n_features_in_ : int
        p.
    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, NaN or infinity, fewer than two classes, a class without a vector
        or a node.

    References
    ----------
    Z. Akata, F. Perronnin, Z. Harchaoui and C. Schmid, "Label-embedding for attribute-based classification",
    CVPR 2013.

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

    _uses_taxonomy = False

    _schema = Schema("AttributeLabelEmbedding")

    def __init__(
        self,
        attributes: Any = None,
        loss: LabelLoss = "rank",
        reg: float = 0.001,
        learn_prototypes: float | None = None,
        n_epochs: int = 200,
        learning_rate: float = 0.1,
        batch_size: int | None = None,
        random_state: Any = 0,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        scale_power: float = 0.5,
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
        self.scale_power = scale_power
        self.normalize = normalize
        self.temperature = temperature
        self.n_threads = n_threads


class HierarchyLabelEmbedding(PrototypeEmbedding):
    r"""Hierarchy label embedding (HLE): each label at the indicator of its place in a taxonomy.

    An entry of the vector is 1 where it stands for the label itself or a node above it, the root excepted;
    vectors have length one.
    A bilinear model: the label of greatest :math:`\Psi(x)^\top \varphi(y)`, found by a ranking loss of the
    distances :math:`\lVert \Psi(x) - \varphi(y) \rVert^2`, which order vectors of length one alike.


    Parameters
    ----------
    taxonomy : Taxonomy, optional
        The tree of the labels; it may hold nodes beyond those of the fit. None: flat, no node above a label.
    loss : {"hinge", "worst", "rank", "softmax"}, default="rank"
        How the classes that violate the margin count: "rank", their sum times L(r)/r, where r is their number
        and L(r) = 1 + 1/2 + ... + 1/r, which is what the paper's sampling estimates; "hinge", all alike;
        "worst", the worst alone; "softmax", no margin but the log-loss of negative distances.
    reg : float, default=0.001
        Weight of the squared norm of the map.
    learn_prototypes : float, optional
        By default the label vectors stay as they are given. A number lets them be learned as well, with that
        weight of the mean squared distance from the given ones.
    n_epochs : int, default=200
        Passes over the rows.
    learning_rate : float, default=0.1
        First step of Adam, as a share of the size of what it moves; it falls to 0 along a cosine.
    batch_size : int, optional
        Rows of a step; by default all of them.
    random_state : int, RandomState or None, default=0
        Of the order of the batches.
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
    prototypes_ : ndarray of shape (n_classes, d)
        The given label vectors: the same unless they are learned.
    weights_ : ndarray of shape (p, d)
        Of the map ``Psi(x) = f @ weights_ + intercept_``, f the scaled inputs, ``scaling_.transform(X)``.
    intercept_ : ndarray of shape (d,)
        Its constant.
    scaling_ : InputScaling
        Means and factors of the inputs.
    loss_curve_ : ndarray of shape (n_epochs,)
        The objective, epoch by epoch.
    temperature_ : float
        Of :meth:`predict_proba`.
    n_features_in_ : int
        p.
    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, NaN or infinity, fewer than two classes, a class without a vector
        or a node.

    References
    ----------
    Z. Akata, F. Perronnin, Z. Harchaoui and C. Schmid, "Label-embedding for attribute-based classification",
    CVPR 2013.

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

    _uses_attributes = False

    _schema = Schema("HierarchyLabelEmbedding")

    def __init__(
        self,
        taxonomy: Taxonomy | None = None,
        loss: LabelLoss = "rank",
        reg: float = 0.001,
        learn_prototypes: float | None = None,
        n_epochs: int = 200,
        learning_rate: float = 0.1,
        batch_size: int | None = None,
        random_state: Any = 0,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        scale_power: float = 0.5,
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
        self.scale_power = scale_power
        self.normalize = normalize
        self.temperature = temperature
        self.n_threads = n_threads


class AttributeHierarchyLabelEmbedding(PrototypeEmbedding):
    r"""Attribute and hierarchy label embedding (AHLE): the vectors of ALE and HLE side by side.

    Both parts have the same length.
    A bilinear model: the label of greatest :math:`\Psi(x)^\top \varphi(y)`, found by a ranking loss of the
    distances :math:`\lVert \Psi(x) - \varphi(y) \rVert^2`, which order vectors of length one alike.


    Parameters
    ----------
    taxonomy : Taxonomy, optional
        The tree of the labels; it may hold nodes beyond those of the fit. None: flat, no node above a label.
    attributes : mapping, DataFrame or array_like, optional
        A vector for each label: a mapping from label to vector or a data frame with labels as index, which
        may hold labels beyond those of the fit; or an array of one row a class in the order of ``classes_``.
        None: one-hot vectors.
    loss : {"hinge", "worst", "rank", "softmax"}, default="rank"
        How the classes that violate the margin count: "rank", their sum times L(r)/r, where r is their number
        and L(r) = 1 + 1/2 + ... + 1/r, which is what the paper's sampling estimates; "hinge", all alike;
        "worst", the worst alone; "softmax", no margin but the log-loss of negative distances.
    reg : float, default=0.001
        Weight of the squared norm of the map.
    learn_prototypes : float, optional
        By default the label vectors stay as they are given. A number lets them be learned as well, with that
        weight of the mean squared distance from the given ones.
    n_epochs : int, default=200
        Passes over the rows.
    learning_rate : float, default=0.1
        First step of Adam, as a share of the size of what it moves; it falls to 0 along a cosine.
    batch_size : int, optional
        Rows of a step; by default all of them.
    random_state : int, RandomState or None, default=0
        Of the order of the batches.
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
    prototypes_ : ndarray of shape (n_classes, d)
        The given label vectors: the same unless they are learned.
    weights_ : ndarray of shape (p, d)
        Of the map ``Psi(x) = f @ weights_ + intercept_``, f the scaled inputs, ``scaling_.transform(X)``.
    intercept_ : ndarray of shape (d,)
        Its constant.
    scaling_ : InputScaling
        Means and factors of the inputs.
    loss_curve_ : ndarray of shape (n_epochs,)
        The objective, epoch by epoch.
    temperature_ : float
        Of :meth:`predict_proba`.
    n_features_in_ : int
        p.
    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, NaN or infinity, fewer than two classes, a class without a vector
        or a node.

    References
    ----------
    Z. Akata, F. Perronnin, Z. Harchaoui and C. Schmid, "Label-embedding for attribute-based classification",
    CVPR 2013.

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
        random_state: Any = 0,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        scale_power: float = 0.5,
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
        self.scale_power = scale_power
        self.normalize = normalize
        self.temperature = temperature
        self.n_threads = n_threads
