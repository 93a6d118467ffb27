"""Label embeddings whose samples go through a network: LME and USE end to end."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from fastcca._arguments.arrays import as_matrix, refuse_non_finite, unwrapped
from fastcca._arguments.parameters import (
    FLAG,
    N_COMPONENTS,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_INTEGER,
    anything,
    choice,
)
from fastcca._models.files import Schema
from fastcca._models.multi_view import scaled_statistics
from fastcca.deep._base import SHARED, DeepEstimator, refuse_both
from fastcca.deep._docs import documented
from fastcca.deep._fitted_modules import LabelModule, Standardizer
from fastcca.deep._training import (
    Epoch,
    Rows,
    Schedule,
    Source,
    chunks,
    encode,
    minibatches,
    split_rows,
    tried,
)
from fastcca.deep.losses.hinge import weights_of_mean
from fastcca.deep.losses.unified import UnifiedSemanticLoss
from fastcca.deep.networks import MLP, TrainedModule, activation_of, evaluation
from fastcca.embedding._base import CLASS_WEIGHT, MOST_DECISIONS, LabelEmbedding, temperature_of
from fastcca.embedding._data import TrainingData
from fastcca.embedding._semantics import ATTRIBUTES, TAXONOMY
from fastcca.embedding._training import LOSSES, LabelLoss
from fastcca.embedding.unified import (
    MU1,
    AttributeLoss,
    Explanation,
    KnownAttributes,
    SemanticLabels,
    fitted_nodes,
    values_of_source,
)
from fastcca.embedding.unified import Source as LabelSource
from fastcca.errors import NumericalError
from fastcca.taxonomy import Taxonomy

__all__ = ["DeepLabelEmbedding", "LabelEmbeddingEpoch"]

Array = NDArray[Any]


@dataclass(kw_only=True)
class LabelEmbeddingEpoch(Epoch):
    """What a callback of :class:`DeepLabelEmbedding` is given after each epoch; returning True ends it.

    Attributes
    ----------
    number : int
        The epoch, from 1.
    loss : float
        The objective: the mean over the batches.
    learning_rate : float
        Of the last batch.
    validation_score : float or None
        The fraction of the validation rows whose label is predicted.
    model : DeepLabelEmbedding
        The estimator, fitted with the parameters of this epoch (a pass over the data): it can be scored and
        saved. It is fitted when it is asked for, and goes on training afterwards.
    """

    validation_score: float | None = None

    @property
    def score(self) -> float:
        return float(self.number) if self.validation_score is None else self.validation_score


@documented
class DeepLabelEmbedding(SemanticLabels, DeepEstimator, LabelEmbedding):
    r"""Label embedding of a network's outputs: large margin (LME) or unified semantic embedding (USE).

    .. math:: \Psi(x) = W \, f(x; \Theta), \qquad
        \min_{\Theta, W, U, A, B} \tfrac1N \sum_i [L_C + \mu_1 (L_S + L_A)] + \mu_2 R(U, B)
        + \lambda_1 \lVert W \rVert^2 + \lambda_2 \lVert U \rVert^2

    with the terms of :class:`fastcca.embedding.UnifiedSemanticEmbedding`, whose default forms hold here too.
    The network f may be any module: a CNN for images, whose rows of ``X`` then have several axes. A sample
    has the label that is nearest.

    Parameters
    ----------
    taxonomy : Taxonomy, optional
        The tree of the labels; it may hold nodes beyond those of the fit. None: flat.
    attributes : mapping, DataFrame or array_like, optional
        A vector for each label, as of the shallow estimator. None: ``fit`` is given attributes of each row,
        or they are latent.
    encoder : torch.nn.Module, optional
        f: a network of your own, from a batch of rows to a matrix of a row for each, in place of ``hidden``,
        ``activation``, ``input_noise`` and ``dropout``. A copy of it is trained. Parameters with
        ``requires_grad=False`` are not trained, and modules in evaluation mode stay in it: a frozen backbone.
    hidden : sequence of int, default=(256,)
        Widths of the layers of the default network on flattened rows; () leaves W alone: a linear map.
    activation : str or callable, default="relu"
        As for :class:`MLP`.
    projection : bool, default=True
        Whether a linear layer W, with an intercept, follows the encoder. False: the outputs of ``encoder``,
        ``n_components`` of them, are the embedding.
    n_components : int, optional
        Dimensions of the space; by default the number of classes, or the outputs of an encoder without
        ``projection``. Without effect for ``init="structure"``.
    loss : {"use", "lme", "softmax"}, default="use"
        "use": all terms; "lme": without :math:`L_S`, :math:`L_A` and R; "softmax": the log-loss of the inner
        products with the labels, which is a network for classification in the usual form.
    class_loss : {"hinge", "hardest", "rank", "softmax"}, default="softmax"
        Form of :math:`L_C` and :math:`L_S`, ``loss`` of the shallow estimator. Without effect for
        ``loss="softmax"``.
    attribute_loss : {"squared", "hinge", "linear"}, default="squared"
        Form of :math:`L_A`.
    mu1 : float or (float, float), default=0.1
        Weight of :math:`L_S` and :math:`L_A`, or of each.
    mu2 : float, default=0.004
        Weight of R.
    lambda1, lambda2 : float, default=1e-4, 0.002
        Factors of the squared norms of W and U.
    norms : {"penalty", "constraint"}, default="penalty"
        "penalty" adds them as above. "constraint" bounds the squared norm of the weights of each component of
        W by ``lambda1`` and of each u by ``lambda2``.
    gamma1, gamma2 : float, default=0, 1
        Sparsity and exclusivity of the coefficients in R.
    beta : {"learned", "attributes"}, default="learned"
        As of the shallow estimator. Coefficients that are learned are minimised exactly after each epoch.
    beta_max : float, optional
        Bound of each coefficient.
    n_attributes : int, optional
        The number of latent attributes; by default that of the classes.
    init : {"classes", "structure"}, default="classes"
        First embeddings, as of the shallow estimator.
    source : fitted DeepLabelEmbedding, optional
        A model of other classes on rows of the same shape: few-shot learning. Its encoder is taken over as it
        is and not trained; W is shrunk towards the source's instead of 0; its superclasses and its
        attributes' embeddings stay; new classes start where the source would place them.
    optimizer : {"adam", "adamw"}, default="adam"
        Of all parameters but B.
    learning_rate : float, default=3e-3
        Initial learning rate, after a linear warm-up over the first tenth of the training.
    schedule : {"cosine", "constant"}, default="cosine"
        The learning rate after the warm-up: cosine annealing to 0, or constant.
    n_epochs : int, optional
        Passes over the data. By default as many as give some 2000 batches, between 10 and 300.
    batch_size : int, default=128
        Rows of a batch, at most.
    weight_decay : float, default=0.0
        Of the optimizer.
    input_noise : float, default=0.0
        Standard deviation of Gaussian noise on the (scaled) inputs of the default network while training.
    dropout : float, default=0.0
        Fraction of hidden units of the default network dropped while training.
    augment : callable, optional
        Random changes of the training batches: called with the scaled inputs of a batch as a tensor, it
        returns them changed.
    validation_fraction : float, default=0.1
        Fraction of the rows of each class set aside to choose the best epoch and the temperature by; 0 for
        none. Fewer than 100 rows are not set aside. See ``validation`` and ``groups`` of :meth:`fit`.
    patience : int, optional
        Stop when the validation score has not risen for this number of epochs.
    scale : {"view", "columns", None}, default="view"
        Centre each feature, and divide all by the root of their mean variance, or each by its own standard
        deviation. None: rows are given to the network as they are, as a pretrained one expects them.
    class_weight : "balanced", dict or None, default=None
        Factors of the weights of the rows of each class.
    temperature : float, optional
        Softmax temperature of :meth:`predict_proba`; by default that of the greatest likelihood on the
        validation rows, or, without such, on the training rows, of which a network is often too sure.
    {device}
    {dtype_and_autocast}
    random_state : int, RandomState or None, default=None
        Seed of the initial weights, batches and noise.
    verbose : bool, default=False
        Show a progress bar.
    callbacks : sequence of callables, default=()
        Called after each epoch with a :class:`LabelEmbeddingEpoch`; returning True ends the training.
    n_threads : int, optional
        Threads of PyTorch during fit; by default theirs.

    {classes_}
    encoder_ : torch.nn.Module
        The trained network with W, in evaluation mode: from ``(x - x_mean_) / x_scale_`` to the space of the
        labels.
    label_embedding_ : ndarray of shape (n_classes, d)
        The point of each label.
    superclasses_, superclass_embedding_, nodes_, node_embedding_, parents_, beta_
        As of :class:`fastcca.embedding.UnifiedSemanticEmbedding`.
    attribute_embedding_, attribute_names_
        Likewise.
    temperature_ : float
        Of the probabilities.
    history_ : list of dict
        Per epoch: ``epoch``, ``loss``, ``learning_rate``, ``validation_score``.
    best_epoch_ : int
        The epoch whose parameters are kept: that of the highest validation score, or the last.
    x_mean_, x_scale_ : ndarray
        What rows are centred by and divided by.
    input_shape_ : tuple of int
        The shape of a row.
    n_encoder_outputs_ : int
        The columns of f(x).
    n_features_in_, feature_names_in_
        As of scikit-learn, of the flattened rows.

    Raises
    ------
    ValueError
        In ``fit``, before training: parameters out of range, NaN or infinity, fewer than two classes, a class
        without a vector or a node, an encoder that cannot take the rows or whose outputs do not fit.
    NumericalError
        In ``fit``: the network returns NaN or infinity.

    Notes
    -----
    {interrupting}

    {hwang_sigal}

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.deep import DeepLabelEmbedding
    >>> from fastcca.taxonomy import Taxonomy
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["cat", "dog", "eel"], 30)
    >>> images = rng.normal(size=(90, 4, 4))  # of 4 by 4 pixels
    >>> images[np.arange(90), 0, np.repeat([0, 1, 2], 30)] += 4
    >>> animals = Taxonomy.from_dict({"animal": {"mammal": ["cat", "dog"], "fish": ["eel"]}})
    >>> attributes = {"cat": [0, 1, 0], "dog": [0, 1, 1], "eel": [1, 0, 0]}
    >>> model = DeepLabelEmbedding(animals, attributes, hidden=(16,), n_epochs=100, random_state=0)
    >>> bool(model.fit(images, y).score(images, y) > 0.9)
    True
    >>> model.explain("dog").parent
    'mammal'
    """

    _schema = Schema(
        "DeepLabelEmbedding",
        fields="x_mean_ x_scale_ input_shape_ n_encoder_outputs_ history_ best_epoch_",
        # of the shallow ones: a network has no such map
        optional="scaling_ weights_ intercept_",
    )
    _saved_networks = ("encoder_",)
    _own_modules = ("encoder",)
    _constraints: ClassVar = {
        **SHARED,
        "taxonomy": TAXONOMY,
        "attributes": ATTRIBUTES,
        "encoder": anything("a torch.nn.Module or None"),
        "projection": FLAG,
        "n_components": N_COMPONENTS,
        "loss": choice("use", "lme", "softmax"),
        "class_loss": choice(*LOSSES),
        "attribute_loss": choice("squared", "hinge", "linear"),
        "mu1": MU1,
        "mu2": NOT_NEGATIVE,
        "lambda1": NOT_NEGATIVE,
        "lambda2": NOT_NEGATIVE,
        "norms": choice("penalty", "constraint"),
        "gamma1": NOT_NEGATIVE,
        "gamma2": NOT_NEGATIVE,
        "beta": choice("learned", "attributes"),
        "beta_max": NOT_NEGATIVE.or_none,
        "n_attributes": POSITIVE_INTEGER.or_none,
        "init": choice("classes", "structure"),
        "source": anything("a fitted DeepLabelEmbedding or None"),
        "optimizer": choice("adam", "adamw"),
        "augment": anything("a callable or None"),
        "scale": choice("view", "columns", None),
        "class_weight": CLASS_WEIGHT,
        "temperature": POSITIVE.or_none,
    }
    _least_validation_rows = 100
    _default_batches = (2000, 10, 300)

    encoder_: nn.Module
    x_mean_: Array
    x_scale_: Array
    input_shape_: tuple[int, ...]
    n_encoder_outputs_: int

    def __init__(
        self,
        taxonomy: Taxonomy | None = None,
        attributes: Any = None,
        encoder: nn.Module | None = None,
        hidden: Sequence[int] = (256,),
        activation: str | Callable[[], nn.Module] = "relu",
        projection: bool = True,
        n_components: int | None = None,
        loss: Literal["use", "lme", "softmax"] = "use",
        class_loss: LabelLoss = "softmax",
        attribute_loss: AttributeLoss = "squared",
        mu1: float | tuple[float, float] = 0.1,
        mu2: float = 0.004,
        lambda1: float = 1e-4,
        lambda2: float = 0.002,
        norms: Literal["penalty", "constraint"] = "penalty",
        gamma1: float = 0.0,
        gamma2: float = 1.0,
        beta: Literal["learned", "attributes"] = "learned",
        beta_max: float | None = None,
        n_attributes: int | None = None,
        init: Literal["classes", "structure"] = "classes",
        source: Any = None,
        optimizer: Literal["adam", "adamw"] = "adam",
        learning_rate: float = 3e-3,
        schedule: Literal["cosine", "constant"] = "cosine",
        n_epochs: int | None = None,
        batch_size: int = 128,
        weight_decay: float = 0.0,
        input_noise: float = 0.0,
        dropout: float = 0.0,
        augment: Callable[[Tensor], Tensor] | None = None,
        validation_fraction: float = 0.1,
        patience: int | None = None,
        scale: Literal["view", "columns"] | None = "view",
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        temperature: float | None = None,
        device: str = "cpu",
        dtype: Literal["float32", "float64"] = "float32",
        autocast: Literal["bfloat16", "float16"] | None = None,
        random_state: Any = None,
        verbose: bool = False,
        callbacks: Sequence[Callable[[LabelEmbeddingEpoch], bool | None]] = (),
        n_threads: int | None = None,
    ) -> None:
        self.taxonomy = taxonomy
        self.attributes = attributes
        self.encoder = encoder
        self.hidden = hidden
        self.activation = activation
        self.projection = projection
        self.n_components = n_components
        self.loss = loss
        self.class_loss = class_loss
        self.attribute_loss = attribute_loss
        self.mu1 = mu1
        self.mu2 = mu2
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.norms = norms
        self.gamma1 = gamma1
        self.gamma2 = gamma2
        self.beta = beta
        self.beta_max = beta_max
        self.n_attributes = n_attributes
        self.init = init
        self.source = source
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.input_noise = input_noise
        self.dropout = dropout
        self.augment = augment
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.scale = scale
        self.class_weight = class_weight
        self.temperature = temperature
        self.device = device
        self.dtype = dtype
        self.autocast = autocast
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks
        self.n_threads = n_threads

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        sample_attributes: ArrayLike | None = None,
        *,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
        groups: ArrayLike | None = None,
    ) -> DeepLabelEmbedding:
        """Train the network and the embeddings of the labels.

        Parameters
        ----------
        X : array_like of shape (n, p) or (n, ...)
            One row a sample, of any shape that the encoder takes: (n, height, width) or (n, channels, height,
            width), say. float32 and float64 arrays are read in place, a batch at a time.
        y : array_like of shape (n,)
            The label of each row: numbers or text.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0 of the rows in the means over batches; a weight of 0 leaves a row out.
        sample_attributes : array_like of shape (n, n_attributes), optional
            The attributes of each row, for :math:`L_A`; those of a class are then the mean of its rows. The
            columns of a data frame name them.
        validation : (X, y), optional
            Other rows to choose the best epoch and the temperature by; all rows of the fit are trained on
            then, and ``validation_fraction`` is not used.
        groups : array_like of shape (n,), optional
            Labels of what rows belong to: the rows set aside are those of whole groups.

        Returns
        -------
        DeepLabelEmbedding
            Itself.

        Raises
        ------
        ValueError, NumericalError
            See :class:`DeepLabelEmbedding`.
        """
        self._check_parameters()
        refuse_both(validation, groups)
        flat, shape = _flattened("X", X)
        attributes = None
        if sample_attributes is not None:
            attributes = self._check_row_attributes(flat, sample_attributes)
        x, codes, weight, kept = self._check_fit_input(flat, y, sample_weight)
        self.input_shape_ = shape
        weight = weight * self._class_factors(codes, weight)[codes]
        if not np.isfinite(weight.sum()):
            raise ValueError("the weights times class_weight overflow: scale them down")
        if attributes is not None:
            attributes = attributes[kept]
        if groups is not None:
            groups = np.asarray(groups)
            if len(groups) == len(kept):
                groups = groups[kept]
        held_out = None if validation is None else self._validation_rows(validation)
        start = None if self.source is None else self._start_of(self.source, shape)
        self._set_scaling(x, start)
        with self._environment() as random:
            rows, aside = self._split_classes(codes, validation, groups, random)
            data = _Data(self._rows_of(x), codes, weight, attributes)
            checked_on = None if aside is None else (data, aside)
            if held_out is not None:
                x_out, codes_out = held_out
                held = _Data(self._rows_of(x_out), codes_out, np.ones(len(codes_out)), None)
                checked_on = held, np.arange(len(codes_out))
            networks = self._networks(data, rows, start, random)
            schedule = Schedule(**self._schedule(len(rows)))
            epochs = self._epochs(networks, data, rows, checked_on, schedule)

            def keep() -> None:
                self._keep(networks, data, rows, checked_on)

            self._train(networks, schedule, epochs, keep)
        self._name_attributes(sample_attributes)
        if hasattr(self, "decision_offset_"):  # a copy that with_classes made is fitted again
            del self.decision_offset_
        return self

    # ---- the parts of fit

    def _check_parameters(self) -> None:
        if self.encoder is not None and not isinstance(self.encoder, nn.Module):
            raise ValueError(f"encoder must be a torch.nn.Module or None, got {self.encoder!r}")
        if self.encoder is None and self.source is None and not self.projection:
            raise ValueError(
                "projection=False leaves the outputs of encoder as they are, and encoder is None"
            )
        if self.encoder is None and self.source is None:
            try:
                widths = [int(width) for width in self.hidden]
            except (TypeError, ValueError):
                widths = [0]
            if any(width < 1 for width in widths):
                raise ValueError(f"hidden must be widths of layers, got {self.hidden!r}")
            activation_of(self.activation)
        if self.source is not None and self.encoder is not None:
            raise ValueError("source has an encoder, which is taken over: leave encoder None")
        if self.augment is not None and not callable(self.augment):
            raise ValueError(f"augment must be a callable or None, got {self.augment!r}")
        if self.norms == "constraint":
            for name in ("lambda1", "lambda2"):
                POSITIVE(name, getattr(self, name))

    def _validation_rows(self, validation: Any) -> tuple[Array, NDArray[np.int64]]:
        """Checked rows and their classes as numbers."""
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise ValueError(f"validation must be a pair (X, y), got {type(validation).__name__}")
        x = self._flat_rows("validation X", validation[0])
        if not len(x):
            raise ValueError("validation X has no rows")
        labels = np.asarray(validation[1])
        if labels.shape != (len(x),):
            raise ValueError(f"validation has {len(x)} rows in X and y of shape {labels.shape}")
        known = {label: code for code, label in enumerate(self.classes_.tolist())}
        unknown = [label for label in labels.tolist() if label not in known]
        if unknown:
            raise ValueError(f"validation y holds {unknown[0]!r}, which y does not")
        return x, np.array([known[label] for label in labels.tolist()], dtype=np.int64)

    def _start_of(self, source: Any, shape: tuple[int, ...]) -> DeepLabelEmbedding:
        """The fitted model that ``source`` is, or that a FrozenEstimator holds."""
        if type(source).__name__ == "FrozenEstimator":
            source = source.estimator
        if not isinstance(source, DeepLabelEmbedding):
            raise TypeError(
                f"source must be a fitted DeepLabelEmbedding or None, got {type(source).__name__}"
            )
        if not hasattr(source, "encoder_"):
            raise NotFittedError(
                "source is not fitted: fit it first. What sklearn's clone made of it is not fitted either, "
                "unless it is wrapped in a FrozenEstimator"
            )
        if source.input_shape_ != shape:
            raise ValueError(f"source was fitted to rows of shape {source.input_shape_}, X has {shape}")
        if source.projection != self.projection:
            raise ValueError("projection must be that of source")
        return source

    def _set_scaling(self, x: Array, start: DeepLabelEmbedding | None) -> None:
        """Means and scales of the features, of the shape of a row."""
        if start is not None:
            self.x_mean_, self.x_scale_ = start.x_mean_, start.x_scale_
            return
        mean, factor = np.zeros(x.shape[1]), np.ones(x.shape[1])
        by_column = None if self.scale is None else self.scale == "columns"
        found, variance = scaled_statistics("X", x, by_column)
        if not variance.any():
            raise NumericalError("every column of X is constant: there is nothing to learn from")
        if self.scale is not None:
            mean = found
            factor = np.sqrt(np.where(variance > 0, variance, 1.0) if by_column else variance.mean())
        factor = np.broadcast_to(factor, mean.shape)
        self.x_mean_ = mean.reshape(self.input_shape_).astype(x.dtype)
        self.x_scale_ = factor.reshape(self.input_shape_).astype(x.dtype)

    def _rows_of(self, x: Array) -> Source:
        """Flattened rows on their way into the network, in their own shape."""
        rows = x.reshape(len(x), *self.input_shape_)
        device, dtype = torch.device(self.device), getattr(torch, self.dtype)
        return Source(rows, self.x_mean_, self.x_scale_, device, dtype)

    def _split_classes(
        self, codes: NDArray[np.int64], validation: Any, groups: Any, random: Any
    ) -> tuple[Rows, Rows | None]:
        """The rows to train on, some of every class, and those set aside."""
        n, least = len(codes), self._least_validation_rows
        fraction = 0.0 if validation is not None else self.validation_fraction
        if groups is not None:
            rows, aside = split_rows(n, fraction, least, groups, random)
            left = np.bincount(codes[rows], minlength=len(self.classes_)) == 0
            if left.any():
                label = self.classes_.tolist()[int(left.argmax())]
                raise ValueError(f"groups leaves no row of the class {label!r} to train on")
            return rows, aside
        order = random.permutation(n)
        # of each class the first that many in this order
        order = order[np.argsort(codes[order], kind="stable")]
        counts = np.bincount(codes, minlength=len(self.classes_))
        place = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
        taken = place < np.floor(counts * fraction)[codes[order]]
        if taken.sum() < least:
            return np.arange(n), None
        return np.sort(order[~taken]), np.sort(order[taken])

    def _networks(
        self, data: _Data, rows: Rows, start: DeepLabelEmbedding | None, random: Any
    ) -> _LabelNetwork:
        """The encoder with W, tried on two rows, and the loss that holds the labels' embeddings."""
        n_classes = len(self.classes_)
        device, dtype = torch.device(self.device), getattr(torch, self.dtype)
        body = self._body()
        if start is not None:
            body = copy.deepcopy(start.encoder_[0])  # type: ignore[index]
            body.requires_grad_(False).eval()
        body = body.to(device, dtype)
        with tried("the encoder", f"rows of shape {self.input_shape_}"), evaluation(body):
            outputs = encode(body, data.source, self.batch_size, rows[:2])
        if outputs.ndim != 2 or not outputs.is_floating_point() or not outputs.shape[1]:
            raise ValueError(
                f"encoder must return a matrix of a row for each sample, got shape {tuple(outputs.shape)} "
                "for 2 samples"
            )
        if outputs.dtype != dtype:
            raise ValueError(
                f"encoder must return numbers of dtype {self.dtype}, got {str(outputs.dtype)[6:]}: it can "
                "convert them, or be used with another dtype"
            )
        if not bool(torch.isfinite(outputs).all()):
            raise NumericalError("encoder returns NaN or infinity for finite rows, before any training")
        self.n_encoder_outputs_ = int(outputs.shape[1])
        n_components = self.n_components
        if not self.projection:
            n_components = self.n_encoder_outputs_ if n_components is None else n_components
        prior = np.bincount(data.codes[rows], data.weight[rows], n_classes)
        use = self.loss == "use"
        n_attributes = self.n_attributes
        if start is not None:
            n_components = start.label_embedding_.shape[1]
            n_attributes = len(start.attribute_embedding_) or n_attributes
        elif data.attributes is not None:
            n_attributes = data.attributes.shape[1]
            if self.init == "structure":
                raise ValueError(
                    "init='structure' needs attributes of classes: sample_attributes are of rows"
                )
        criterion = UnifiedSemanticLoss(
            self.taxonomy,
            self.attributes,
            self.classes_,
            mu1=self.mu1 if use else 0.0,
            mu2=self.mu2 if use else 0.0,
            loss=self.class_loss,
            attribute_loss=self.attribute_loss,
            lambda2=self.lambda2,
            norms=self.norms,
            gamma1=self.gamma1,
            gamma2=self.gamma2,
            beta=self.beta,
            beta_max=self.beta_max,
            n_attributes=n_attributes,
            n_components=n_components,
            init=self.init if start is None else "classes",
            class_prior=prior,
            random_state=random.randint(2**31 - 1),
            dtype=dtype,
        )
        if self.beta == "attributes" and self.attributes is None and data.attributes is None:
            raise ValueError("beta='attributes' needs attributes, and none are given")
        if data.attributes is not None:
            criterion.set_sample_attributes(data.codes[rows], data.attributes[rows], data.weight[rows])
        d = criterion.U.shape[1]
        if not self.projection and d != self.n_encoder_outputs_:
            raise ValueError(
                f"encoder returns {self.n_encoder_outputs_} outputs, which do not fit {d} components: with "
                "projection=True a linear layer follows"
            )
        encoder = self._with_projection(body, self.n_encoder_outputs_, d)
        shrunk_to = None
        if start is not None:
            encoder[1].load_state_dict(start.encoder_[1].state_dict())  # type: ignore[index]
            if self.projection:
                shrunk_to = cast(nn.Linear, encoder[1]).weight.detach().clone()
            self._take_over(criterion, start, encoder, data, rows)
        return _LabelNetwork(encoder, criterion, shrunk_to).to(device, dtype)

    def _take_over(
        self,
        criterion: UnifiedSemanticLoss,
        start: DeepLabelEmbedding,
        encoder: nn.Module,
        data: _Data,
        rows: Rows,
    ) -> None:
        """The embeddings of the source's nodes and attributes, and first ones of the new classes by these."""
        encoder = encoder.to(data.source.device, data.source.dtype)
        with evaluation(encoder):
            Z = encode(encoder, data.source, self.batch_size, rows).double().cpu().numpy()
        d = Z.shape[1]
        embedded = TrainingData(
            Z, data.codes[rows], data.weight[rows], len(self.classes_), np.full(len(rows), -1)
        )
        nodes = dict(zip(start.classes_.tolist(), start.label_embedding_, strict=True))
        nodes |= dict(zip(start.nodes_, start.node_embedding_, strict=True))
        source = LabelSource(
            cast(Any, None),  # its scaling is in the rows
            np.eye(d),
            np.zeros(d),
            nodes,
            start.attribute_embedding_,
            start._beta_scale,
            start._mean_scale,
        )
        values = values_of_source(embedded, criterion.graph, criterion.known, source)
        for name in ("U", "A", "B"):
            tensor = getattr(criterion, name)
            if tuple(tensor.shape) != values[name].shape:
                raise ValueError(
                    f"source has {len(values['A'])} attributes, this model has {len(criterion.A)}"
                )
            with torch.no_grad():
                tensor.copy_(torch.as_tensor(values[name]))
        criterion.freeze([node for node in criterion.nodes if node in nodes])

    def _body(self) -> nn.Module:
        """f, untrained, or as the user's is."""
        if self.encoder is not None:
            return copy.deepcopy(self.encoder)
        if self.source is not None:
            source = self.source.estimator if hasattr(self.source, "estimator") else self.source
            return cast(nn.Module, source._body())
        widths = [int(width) for width in self.hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        if widths:
            mlp = MLP(self.n_features_in_, widths, self.activation, self.input_noise, self.dropout)
            layers += [mlp, activation_of(self.activation)()]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
        return nn.Sequential(*layers)

    def _with_projection(self, body: nn.Module, n_outputs: int, d: int) -> nn.Sequential:
        last = nn.Linear(n_outputs, d) if self.projection else nn.Identity()
        return nn.Sequential(OrderedDict(body=body, projection=last))

    def _rebuilt(self) -> list[nn.Module]:
        d = self.label_embedding_.shape[1]
        return [self._with_projection(self._body(), self.n_encoder_outputs_, d)]

    def _epochs(
        self,
        networks: _LabelNetwork,
        data: _Data,
        rows: Rows,
        checked_on: tuple[_Data, Rows] | None,
        schedule: Schedule,
    ) -> Iterator[LabelEmbeddingEpoch]:
        """Trains in place: an epoch of minibatches, then B."""
        criterion, device = networks.criterion, data.source.device
        weight = torch.as_tensor(data.weight)
        codes = torch.as_tensor(data.codes)

        def project() -> None:
            criterion.project()
            if self.norms == "constraint" and self.projection and networks.shrunk_to is None:
                with torch.no_grad():
                    W = cast(nn.Linear, networks.encoder[1]).weight
                    length = torch.linalg.vector_norm(W, dim=1, keepdim=True)
                    W.mul_((self.lambda1**0.5 / length.clamp(min=torch.finfo(W.dtype).tiny)).clamp(max=1.0))

        def batch_loss(index: Rows, where: str) -> Tensor:
            project()  # after the step of the batch before
            x = data.source.rows(index)
            if self.augment is not None:
                x = self._augmented(x)
            with schedule.autocasting(device):
                Z = networks.encoder(x)
            if not bool(torch.isfinite(Z).all()):
                raise NumericalError(
                    f"the network returned NaN or infinity in {where}; try a smaller learning_rate"
                )
            Z = Z.to(data.source.dtype)
            y, w = codes[index].to(device), weight[index].to(device, data.source.dtype)
            given = None
            if data.attributes is not None:
                given = torch.as_tensor(data.attributes[index], dtype=Z.dtype, device=device)
            return self._objective(networks, Z, y, given, w)

        for number, total, rate in minibatches(networks, schedule, rows, batch_loss):
            project()
            criterion.step_beta()
            epoch = LabelEmbeddingEpoch(number=number, loss=total, learning_rate=rate)
            if checked_on is not None:
                decisions = self._decisions_of(networks, *checked_on)
                right = decisions.argmax(axis=1) == checked_on[0].codes[checked_on[1]]
                epoch.validation_score = float(np.average(right, weights=checked_on[0].weight[checked_on[1]]))
            yield epoch

    def _augmented(self, x: Tensor) -> Tensor:
        changed = cast(Callable[[Tensor], Tensor], self.augment)(x)
        if not isinstance(changed, Tensor) or changed.dtype != x.dtype or len(changed) != len(x):
            found = type(changed).__name__
            if isinstance(changed, Tensor):
                found = f"{tuple(changed.shape)} of {str(changed.dtype)[6:]}"
            raise ValueError(
                f"augment must return a tensor of as many rows as it is given, {tuple(x.shape)} of "
                f"{str(x.dtype)[6:]}, got {found}"
            )
        return changed

    def _objective(
        self, networks: _LabelNetwork, Z: Tensor, y: Tensor, given: Tensor | None, weight: Tensor
    ) -> Tensor:
        """What is minimised, on a batch."""
        criterion = networks.criterion
        if self.loss == "softmax":
            U = criterion.U[: len(self.classes_)]
            losses = nn.functional.cross_entropy(Z @ U.T, y, reduction="none")
            weights = cast(Tensor, weights_of_mean(weight, Z))
            value = (weights * losses).sum()
            if self.norms == "penalty":
                value = value + self.lambda2 * U.square().sum()
        else:
            value = criterion(Z, y, given, weight)
        if self.projection and (self.norms == "penalty" or networks.shrunk_to is not None):
            W = cast(nn.Linear, networks.encoder[1]).weight
            drift = W if networks.shrunk_to is None else W - networks.shrunk_to
            value = value + self.lambda1 * drift.square().sum()
        return value

    def _decisions_of(self, networks: _LabelNetwork, data: _Data, rows: Rows) -> NDArray[np.float64]:
        """Decisions for rows as the fitted model makes them."""
        with evaluation(networks.encoder):
            Z = encode(networks.encoder, data.source, self.batch_size, rows)
        U = networks.criterion.U[: len(self.classes_)].detach()
        return self._decisions(Z.double().cpu().numpy(), U.double().cpu().numpy())

    def _keep(
        self, networks: _LabelNetwork, data: _Data, rows: Rows, checked_on: tuple[_Data, Rows] | None
    ) -> None:
        """Set what a fit sets, with the networks as they are."""
        self.encoder_ = networks.encoder.eval()
        criterion = networks.criterion
        dtype = self.x_mean_.dtype
        found = {name: getattr(criterion, name).detach().cpu().numpy().astype(dtype) for name in "UAB"}
        found = {name: np.ascontiguousarray(value) for name, value in found.items()}
        n = len(self.classes_)
        self.label_embedding_ = found["U"][:n].copy()
        known: KnownAttributes | None = criterion.known
        Z = encode(self.encoder_, data.source, self.batch_size, rows).double().cpu().numpy()
        if not np.isfinite(Z).all():
            raise NumericalError("the trained network returns NaN or infinity; try a smaller learning_rate")
        embedded = TrainingData(Z, data.codes[rows], data.weight[rows], n, np.full(len(rows), -1))
        for name, value in fitted_nodes(embedded.class_means(), criterion.graph, known, found).items():
            setattr(self, name, value)
        if self.temperature is not None:
            self.temperature_ = float(self.temperature)
            return
        held, chosen = (data, rows) if checked_on is None else checked_on
        most = max(1, MOST_DECISIONS // n)
        if len(chosen) > most:  # one number is estimated: a subset will do
            chosen = chosen[np.linspace(0, len(chosen) - 1, most).astype(int)]
        decisions = self._decisions_of(networks, held, chosen)
        self.temperature_ = temperature_of(decisions, held.codes[chosen], held.weight[chosen])

    # ---- the fitted model

    @property
    def similarity(self) -> Literal["euclidean", "inner_product"]:
        """By what rows are compared in the space of the labels."""
        return "inner_product" if self.loss == "softmax" else "euclidean"

    @property
    def _similarity(self) -> Literal["euclidean", "cosine", "product"]:
        return "product" if self.loss == "softmax" else "euclidean"

    def predict_attributes(self, X: ArrayLike) -> Array:
        """How strongly each row has each attribute: its inner products with the attributes' embeddings.

        Parameters
        ----------
        X : array_like of shape (n, p) or (n, ...)
            Rows in the units of the training data.

        Returns
        -------
        ndarray of shape (n, n_attributes)
            In the order of ``attribute_names_``; with ``attribute_loss="squared"`` estimates of the
            attributes, centred and in units of their standard deviation.
        """
        x = self._check_rows(X)
        scores = self._psi(x) @ self.attribute_embedding_.T.astype(np.float64)
        return scores.astype(x.dtype)

    def explain_samples(self, X: ArrayLike, n_attributes: int | None = 10) -> list[Explanation]:
        """Each sample as the parent of its predicted label and a few attributes.

        The coefficients are those of the least squares :math:`\\lVert z - u_p - \\beta A \\rVert^2` with
        :math:`\\beta \\ge 0`.

        Parameters
        ----------
        X : array_like of shape (n, p) or (n, ...)
            Rows in the units of the training data.
        n_attributes : int or None, default=10
            The maximal number of attributes, those of the largest coefficients; None: all that are not 0.

        Returns
        -------
        list of fastcca.embedding.Explanation
            One a row; ``label`` is the predicted one.

        {raises_as_transform}
        """
        x = self._check_rows(X)
        n_attributes = POSITIVE_INTEGER.or_none("n_attributes", n_attributes)
        A = self.attribute_embedding_.astype(np.float64)
        found = []
        for z, label in zip(self._psi(x), self.predict(X).tolist(), strict=True):
            parent = self._known_above(label)
            above = 0.0 if parent is None else self.node_embedding_[self.nodes_.index(parent)]
            beta, left = nnls(A.T, z - above) if len(A) else (np.zeros(0), np.linalg.norm(z - above))
            order = [i for i in np.argsort(-beta, kind="stable")[:n_attributes] if beta[i] > 0]
            named = tuple((self.attribute_names_[i], float(beta[i])) for i in order)
            relative = float(left / max(np.linalg.norm(z), np.finfo(float).tiny))
            found.append(Explanation(label, parent, named, relative))
        return found

    def to_module(
        self, method: Literal["predict_proba", "decision_function", "transform"] = "predict_proba"
    ) -> nn.Module:
        """What a method computes, from rows in their units on, as one module of PyTorch.

        Centring, scale, network and the embeddings of the labels in one, for ``torch.export``, ONNX,
        TorchServe, a device.

        Parameters
        ----------
        method : {"predict_proba", "decision_function", "transform"}

        Returns
        -------
        torch.nn.Module
            In evaluation mode, with copies of all weights, in ``dtype``, from (rows, ...) to what the method
            returns; columns of labels are in the order of ``classes_``.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from fastcca.deep import DeepLabelEmbedding
        >>> X = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
        >>> model = DeepLabelEmbedding(n_epochs=2, random_state=0).fit(X, X[:, :3].argmax(axis=1))
        >>> rows, n = torch.from_numpy(X[:5]), torch.export.Dim("n")
        >>> program = torch.export.export(model.to_module(), (rows,), dynamic_shapes=({0: n},))
        >>> probabilities = program.module()(torch.from_numpy(X[:9]))
        >>> bool(np.allclose(probabilities.detach(), model.predict_proba(X[:9]), atol=1e-5))
        True
        """
        check_is_fitted(self)
        choice("predict_proba", "decision_function", "transform")("method", method)
        return LabelModule(
            Standardizer(self.x_mean_, self.x_scale_, getattr(torch, self.dtype)),
            copy.deepcopy(self.encoder_),
            self.label_embedding_,
            getattr(self, "decision_offset_", 0.0),
            self.temperature_,
            self._similarity == "euclidean",
            method,
        ).eval()

    def _check_rows(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        return self._flat_rows("X", X)

    def _flat_rows(self, name: str, X: Any) -> Array:
        """Finite rows of the shape of the fit, flattened."""
        flat, shape = _flattened(name, X)
        if not shape:
            as_matrix(name, flat)  # which refuses it
        if shape != self.input_shape_ and not len(shape) == len(self.input_shape_) == 1:
            alone = np.shape(X) == self.input_shape_
            hint = f": one row alone needs an axis before, {name}[np.newaxis]" if alone else ""
            raise ValueError(f"{name} has rows of shape {shape}, the fit had {self.input_shape_}{hint}")
        x = as_matrix(name, flat)
        validate_data(self, flat, reset=False, skip_check_array=True)
        refuse_non_finite(name, x)
        return x

    def _psi(self, x: Array) -> NDArray[np.float64]:
        parameter = next(self.encoder_.parameters(), torch.empty(0, dtype=getattr(torch, self.dtype)))
        rows = x.reshape(len(x), *self.input_shape_)
        source = Source(rows, self.x_mean_, self.x_scale_, parameter.device, parameter.dtype)
        with evaluation(self.encoder_):
            parts = [
                self.encoder_(source.rows(part)).detach().double().cpu().numpy()
                for part in chunks(len(x), self.batch_size)
            ]
        z = np.concatenate([np.zeros((0, self.label_embedding_.shape[1])), *parts])
        if not np.isfinite(z).all():
            raise NumericalError("the network returned NaN or infinity for finite rows")
        return cast("NDArray[np.float64]", z)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = self.random_state is None
        return tags


@dataclass(frozen=True)
class _Data:
    """Rows of a fit: what the network is given, and what is known of them."""

    source: Source
    codes: NDArray[np.int64]
    weight: NDArray[np.float64]
    attributes: NDArray[np.float64] | None


class _LabelNetwork(TrainedModule):
    """The encoder with its projection, and the labels."""

    shrunk_to: Tensor | None

    def __init__(
        self, encoder: nn.Sequential, criterion: UnifiedSemanticLoss, shrunk_to: Tensor | None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.criterion = criterion
        self.register_buffer("shrunk_to", shrunk_to, persistent=False)
        self.keep_modes()


def _flattened(name: str, X: Any) -> tuple[Any, tuple[int, ...]]:
    """Rows of more than one axis as a matrix, and the shape of a row; others as they are.

    Small integers, as images have them, become float32.
    """
    if hasattr(X, "columns"):
        return X, (len(X.columns),)
    if np.ma.is_masked(X):
        as_matrix(name, X)  # which refuses it
    array = unwrapped(X, name)
    if not hasattr(array, "__array__") and not isinstance(array, (list, tuple)):
        return X, (0,)
    try:
        array = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"{name} must hold rows of one shape: {error}") from None
    if array.dtype.kind in "ui" and array.dtype.itemsize <= 2:
        array = array.astype(np.float32)
    if array.ndim < 3:
        return (X if array.dtype.kind not in "fiub" else array), array.shape[1:]
    return array.reshape(len(array), math.prod(array.shape[1:])), array.shape[1:]
