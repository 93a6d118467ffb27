"""Deep CCA as a scikit-learn estimator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import nn

from fastcca._arguments.arrays import as_weights, refuse_non_finite
from fastcca._arguments.parameters import RIDGES, choice
from fastcca._models.files import Schema
from fastcca._models.two_view import TwoViewTransformer, View, score_statistics
from fastcca.cca.linear import CCA
from fastcca.deep._base import (
    MakesOptimizer,
    MakesScheduler,
    refuse_both,
)
from fastcca.deep._batches import holds_batches
from fastcca.deep._correlation_model import CorrelationEstimator, ScaledView
from fastcca.deep._correlation_training import VIEWS, DeepCCAEpoch
from fastcca.deep._docs import documented
from fastcca.deep._pretraining import LinearMap
from fastcca.deep.losses.correlation import CorrelationLoss
from fastcca.deep.networks import layer_widths
from fastcca.metrics import column_correlations

__all__ = ["DeepCCA", "DeepCCAEpoch"]

Hidden = Sequence[int] | tuple[Sequence[int], Sequence[int]]


@documented
class DeepCCA(CorrelationEstimator, TwoViewTransformer):
    r"""Deep canonical correlation analysis: two networks whose outputs are maximally correlated.

    Networks f and g are trained to maximise the total correlation of their outputs,

    .. math:: \max_{f, g} \; \|T\|_{tr}, \qquad
        T = (S_{11} + r_1 I)^{-1/2} \, S_{12} \, (S_{22} + r_2 I)^{-1/2},

    with :math:`S` the covariances of f(X) and g(y), the ridge r = ``reg``, and the trace norm the sum of the
    singular values of T. A linear CCA of the outputs, which orders the components, is part of ``transform``.
    Views are centred and scaled inside.

    Parameters
    ----------
    n_components : int, default=10
        Number of components: the outputs of the networks.
    hidden : sequence of int or pair of sequences, default=(1024, 1024, 1024)
        Widths of the hidden layers of both networks, or of each.
    activation : str or callable, default="relu"
        As for :class:`MLP`; "nonsaturating" is that of Andrew et al.
    encoders : pair of torch.nn.Module, optional
        Networks of your own, with at least ``n_components`` outputs, in place of ``hidden``, ``activation``,
        ``input_noise`` and ``dropout``. Copies of them are trained; what the two share, the copies share,
        also where both are one and the same module. Parameters with ``requires_grad=False`` are not trained,
        and modules in evaluation mode (normalisation with fixed statistics) stay in it.
    reg : float or (float, float), default=1e-3
        Added to the diagonals of the outputs' covariances in the loss.
    objective : {"trace_norm", "frobenius"}, default="trace_norm"
        Maximise the trace norm of T, the sum of the correlations, or its squared Frobenius norm, the sum of
        their squares.
    optimizer : {"adam", "adamw", "lbfgs"} or callable, default="adam"
        Minibatches, or L-BFGS on all rows with exact gradients in memory that does not grow with them. A
        callable is given the parameters and returns a ``torch.optim.Optimizer`` for minibatches, whose
        learning rates stand in the place of ``learning_rate`` and ``weight_decay``.
    learning_rate : float, default=2e-3
        Initial learning rate of the optimiser on minibatches, after a linear warm-up over the first tenth of
        the training.
    {schedule_or_callable}
    n_epochs : int, optional
        Passes over the data, or iterations of L-BFGS (default 100). By default as many as give some 2000
        batches, between 30 and 300.
    batch_size : int, default=1000
        Rows of a minibatch, at most; no network is ever given more rows at once. The correlation of a batch
        is an estimate: take at least ten times the number of components.
    weight_decay : float, default=0.0
        Of the optimiser; for "lbfgs" the weight of half the squared parameters.
    clip_norm : float, optional
        The norm of the gradient of a minibatch is scaled down to this where it is larger.
    compile : bool, default=False
        Compile the networks by ``torch.compile`` while training: worth its minutes for long trainings.
    input_noise : float, default=0.5
        Standard deviation of Gaussian noise on the (scaled) inputs of the encoders while training on
        minibatches: the regularisation that keeps the networks from overfitting.
    augment : callable, optional
        Random changes of the training batches: called with the scaled inputs (x, y) of a minibatch as
        tensors, it returns both changed, x and y of a row consistently where they are to stay paired.
    dropout : float, default=0.0
        Fraction of hidden units dropped while training on minibatches.
    validation_fraction : float, default=0.05
        Fraction of the rows set aside to choose the best epoch by; 0 for none. Fewer than 100 rows, or than
        five times ``n_components``, are not set aside. See ``validation`` and ``groups`` of :meth:`fit`.
    patience : int, optional
        Stop when the validation correlation has not risen for this number of epochs.
    pretrain : {None, "denoising"}, default=None
        Initialise the hidden layers by :class:`DenoisingAutoencoder` (L-BFGS where ``optimizer="lbfgs"``,
        else Adam) and the outputs by a linear CCA of the last hidden layers.
    reconstruction : float, default=0.0
        Weight of the squared error of reconstructing both views from the outputs (DCCAE).
    scale : {"view", "columns"}, default="view"
        Divide a view by the root mean variance of its columns, or each column by its own standard deviation.
    {device}
    dtype : {"float32", "float64"}, default="float32"
        Of the networks.
    autocast : {None, "bfloat16", "float16"}, default=None
        Run the networks in this precision while training on minibatches, where their device is faster in it;
        the loss is computed in float32. float16 overflows above 65504, and its gradients are scaled
        (``torch.amp.GradScaler``): a batch whose gradients overflow leaves the weights as they are.
    warm_start : bool, default=False
        Continue from the networks of the last fit.
    random_state : int, RandomState or None, default=None
        Seed of the initial weights, batches and noise. The same seed gives the same result on the same
        machine with the same number of threads.
    verbose : bool, default=False
        Show a progress bar with the correlations.
    callbacks : sequence of callables, default=()
        Called after each epoch with a :class:`DeepCCAEpoch`; returning True ends the training.
    n_threads : int, optional
        Threads of PyTorch and of the core during fit; by default theirs.

    Attributes
    ----------
    encoder_x_, encoder_y_ : torch.nn.Module
        The trained networks, in evaluation mode.
    cca_ : CCA
        The linear CCA of their outputs on all training rows.
    history_ : list of dict
        Per epoch: ``epoch``, ``loss``, ``learning_rate``, ``train_correlation``, ``validation_correlation``,
        as of :class:`DeepCCAEpoch`.
    {best_epoch_}
    x_mean_, y_mean_, x_scale_, y_scale_ : ndarray
        What the views are centred by and divided by. After a fit to pairs in batches the outputs of the
        networks stand for the views, here and in all below.
    singular_values_, canonical_correlations_, total_correlation_, x_loadings_, y_loadings_
        As of :class:`fastcca.CCA`, for the training rows.
    n_components_, n_features_in_, n_y_features_in_, feature_names_in_, y_feature_names_in_
        As of :class:`fastcca.CCA`.

    Notes
    -----
    {interrupting}

    References
    ----------
    Andrew, Arora, Bilmes & Livescu, "Deep canonical correlation analysis", ICML 2013. Wang, Arora, Livescu &
    Bilmes, "On deep multi-view representation learning", ICML 2015 (minibatches, DCCAE).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.deep import DeepCCA
    >>> rng = np.random.default_rng(0)
    >>> angle = rng.uniform(0, 2 * np.pi, 600)
    >>> X = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.05 * rng.normal(size=(600, 2))
    >>> Y = np.column_stack([np.cos(2 * angle), np.sin(2 * angle)])  # no linear correlation with X
    >>> model = DeepCCA(2, hidden=(64,), n_epochs=60, input_noise=0.05, random_state=0).fit(X[:500], Y[:500])
    >>> bool(model.score(X[500:], Y[500:]) > 0.9)
    True
    """

    _schema = Schema(
        "DeepCCA",
        fields="singular_values_ total_correlation_ x_loadings_ y_loadings_ x_cross_loadings_ "
        "y_cross_loadings_ x_scale_ y_scale_ history_ best_epoch_ cca_ of_batches=_of_batches",
    )
    _saved_networks = ("encoder_x_", "encoder_y_")
    _constraints: ClassVar = {
        **CorrelationEstimator._constraints,
        "objective": choice("trace_norm", "frobenius"),
        "reg": RIDGES,
    }

    encoder_x_: nn.Module
    encoder_y_: nn.Module

    def __init__(
        self,
        n_components: int = 10,
        hidden: Hidden = (1024, 1024, 1024),
        activation: str | Callable[[], nn.Module] = "relu",
        encoders: tuple[nn.Module, nn.Module] | None = None,
        reg: float | tuple[float, float] = 1e-3,
        objective: Literal["trace_norm", "frobenius"] = "trace_norm",
        optimizer: Literal["adam", "adamw", "lbfgs"] | MakesOptimizer = "adam",
        learning_rate: float = 2e-3,
        schedule: Literal["cosine", "constant"] | MakesScheduler = "cosine",
        n_epochs: int | None = None,
        batch_size: int = 1000,
        weight_decay: float = 0.0,
        input_noise: float = 0.5,
        augment: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None = None,
        dropout: float = 0.0,
        validation_fraction: float = 0.05,
        patience: int | None = None,
        pretrain: Literal["denoising"] | None = None,
        reconstruction: float = 0.0,
        scale: Literal["view", "columns"] = "view",
        device: str = "cpu",
        dtype: Literal["float32", "float64"] = "float32",
        autocast: Literal["bfloat16", "float16"] | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
        callbacks: Sequence[Callable[[DeepCCAEpoch], bool | None]] = (),
        n_threads: int | None = None,
        clip_norm: float | None = None,
        compile: bool = False,
    ) -> None:
        self.n_components = n_components
        self.hidden = hidden
        self.activation = activation
        self.encoders = encoders
        self.reg = reg
        self.objective = objective
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.input_noise = input_noise
        self.augment = augment
        self.dropout = dropout
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.pretrain = pretrain
        self.reconstruction = reconstruction
        self.scale = scale
        self.device = device
        self.dtype = dtype
        self.autocast = autocast
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks
        self.n_threads = n_threads
        self.clip_norm = clip_norm
        self.compile = compile

    def fit(
        self,
        X: ArrayLike | Iterable[Any],
        y: ArrayLike | None = None,
        *,
        validation: tuple[ArrayLike, ArrayLike] | Iterable[Any] | None = None,
        groups: ArrayLike | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> DeepCCA:
        """Train the networks on paired rows.

        Parameters
        ----------
        X : array_like of shape (n, p), or Dataset, DataLoader or iterable of tuples
            First view; float32 and float64 arrays are read in place, a batch at a time. Without ``y``, pairs
            (x, y) for ``encoders`` of your own, whatever these take: a ``Dataset`` of pairs, which is
            shuffled and cut into batches here; a ``DataLoader`` or another iterable, whose batches are taken
            as they come in each epoch. Nothing is centred or scaled then.
        y : array_like of shape (n, q)
            Second view; row i corresponds to row i of ``X``.
        validation : (X, y) or pairs as for ``X``, optional
            Other paired rows to choose the best epoch by, at least two; all rows of the fit are trained on
            then, and ``validation_fraction`` is not used. Nothing is set aside of a loader or an iterable.
        {groups}
        {checkpoint}

        Returns
        -------
        DeepCCA
            Itself.

        Raises
        ------
        ValueError
            For parameters out of range, views that do not pair, NaN or infinity, encoders whose outputs do
            not serve or that have nothing to train, both ``validation`` and ``groups``.
        NumericalError
            If a network returns NaN or infinity (the message names the epoch and the view), a view is
            constant, or its variance overflows or underflows.
        """
        self._check_parameters()
        refuse_both(validation, groups)
        if y is None and holds_batches(X):
            self._fit_batches(X, validation, groups, checkpoint)
            return self
        x_data, y_data, _ = self._check_pair(X, y, reset=True)
        held_out = None if validation is None else self._validation_pair(validation)
        self._fit_views((x_data, y_data), held_out, groups, checkpoint)
        return self

    # ---- what the training asks for

    def _check_encoders(self) -> None:
        if self.encoders is None:
            return
        try:
            encoders = list(self.encoders)
        except TypeError:
            encoders = []
        if len(encoders) != 2 or not all(isinstance(e, nn.Module) for e in encoders):
            raise ValueError(f"encoders must be a pair of torch.nn.Module, got {self.encoders!r}")

    def _validation_pair(self, validation: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """The views of a pair (X, y) of the shape fitted, checked."""
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise ValueError(f"validation must be a pair (X, y), got {type(validation).__name__}")
        x, y, _ = self._check_pair(*validation, reset=False)
        for name, a in (("validation X", x), ("validation y", y)):
            refuse_non_finite(name, a)
        if len(x) < 2:
            raise ValueError("validation must have at least 2 rows for a correlation, got 1")
        return x, y

    def _names(self) -> Sequence[str]:
        return VIEWS

    def _given_encoders(self) -> list[nn.Module | None]:
        return [None, None] if self.encoders is None else list(self.encoders)

    def _fitted_encoders(self) -> list[nn.Module] | None:
        return [self.encoder_x_, self.encoder_y_] if hasattr(self, "encoder_x_") else None

    def _hidden_widths(self) -> list[list[int]]:
        return _hidden_pair(self.hidden)

    def _loss(self) -> CorrelationLoss:
        return CorrelationLoss(self.n_components, self.reg, self.objective)

    def _linear_model(self, outputs: list[NDArray[np.float64]], n_components: int, ridge: float) -> CCA:
        H1, H2 = outputs
        regs = float(ridge * H1.var(axis=0).mean()), float(ridge * H2.var(axis=0).mean())
        return CCA(n_components, reg=regs, n_threads=self.n_threads).fit(H1, H2)

    def _output_maps(self, model: CCA) -> list[LinearMap]:
        return [(model.x_mean_, model.x_weights_), (model.y_mean_, model.y_weights_)]

    def _rebuilt(self) -> list[nn.Module]:
        return self._built_encoders([self.n_features_in_, self.n_y_features_in_])

    def _scaling(self) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        return [(self.x_mean_, self.x_scale_), (self.y_mean_, self.y_scale_)]

    def _set_scaling(self, views: Sequence[ScaledView]) -> None:
        self.x_mean_, self.y_mean_ = (v.mean.astype(v.data.dtype) for v in views)
        self.x_scale_, self.y_scale_ = (v.scale.astype(v.data.dtype) for v in views)

    def _set_encoders(self, encoders: list[nn.Module]) -> None:
        self.encoder_x_, self.encoder_y_ = encoders

    def _set_linear_model(self, outputs: list[NDArray[np.float64]], model: CCA) -> None:
        self.cca_ = model
        self.n_components_ = self.cca_.n_components_
        self.singular_values_ = self.cca_.singular_values_
        self.total_correlation_ = float(self.singular_values_.sum())

    def _set_statistics_of(self, views: Sequence[ScaledView], outputs: list[NDArray[np.float64]]) -> None:
        z = np.hstack(self.cca_.transform_views(*outputs))
        x, y = views
        means, variances = (x.mean, y.mean), (x.variance, y.variance)
        found = score_statistics(x.data, y.data, None, means, variances, lambda rows: z[rows])
        self._set_statistics(found, (x.data.dtype, y.data.dtype))

    def _set_statistics_of_outputs(self, outputs: list[NDArray[np.float64]]) -> None:
        for name in ("n_features_in_", "n_y_features_in_", "canonical_correlations_", *_OF_VIEWS):
            setattr(self, name, getattr(self.cca_, name))
        self.x_scale_, self.y_scale_ = (np.ones(H.shape[1]) for H in outputs)
        self._y_is_vector = False
        for name in ("feature_names_in_", "y_feature_names_in_"):
            self.__dict__.pop(name, None)

    # ---- the fitted model

    def _check_view(self, view: View, data: Any) -> Any:
        check_is_fitted(self)
        return data if self._of_batches else super()._check_view(view, data)

    def _scores(self, view: View, data: Any) -> NDArray[Any]:
        k = VIEWS.index(view)
        H = self._outputs_of_view(k, data) if self._of_batches else self._outputs(k, data)
        scores = (self.cca_.transform, self.cca_.transform_y)[k](H)
        return scores.astype(self.dtype if self._of_batches else data.dtype, copy=False)

    def transform_views(self, X: Any, y: Any = None) -> tuple[NDArray[Any], NDArray[Any]]:
        """Scores of both views, ``(transform(X), transform_y(y))``, as plain arrays.

        Parameters
        ----------
        X : array_like of shape (n, p), or pairs in batches
            Rows of the first view. After a fit to pairs in batches also such pairs, without ``y``.
        y : array_like of shape (m, q)
            Rows of the second view; they need not be paired with those of ``X``.

        {returns_both_scores}
        """
        check_is_fitted(self)
        if not self._of_batches or y is not None:
            return super().transform_views(X, y)
        if not holds_batches(X):
            raise ValueError("without y, X must be pairs in batches: a Dataset, a DataLoader, an iterable")
        zx, zy = self.cca_.transform_views(*self._outputs_of_batches(X))
        return zx.astype(self.dtype, copy=False), zy.astype(self.dtype, copy=False)

    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Mean canonical correlation on these rows, which ``GridSearchCV`` maximises.

        Parameters
        ----------
        X : array_like of shape (n, p), or pairs in batches
            Rows of the first view, at least two. After a fit to pairs in batches also such pairs, without
            ``y``.
        y : array_like of shape (n, q)
            The paired rows of the second view.
        sample_weight : array_like of shape (n,), optional
            Weights count as repetitions of a row.

        {returns_mean_correlation}
        """
        check_is_fitted(self)
        if not self._of_batches:
            return super().score(X, y, sample_weight)
        zx, zy = self.transform_views(X, y)
        if len(zx) != len(zy) or len(zx) < 2:
            raise ValueError(f"score needs at least 2 paired rows, got {len(zx)} and {len(zy)}")
        weights = as_weights(sample_weight, len(zx))
        return float(column_correlations(zx, zy, sample_weight=weights).mean())

    def to_module(self, view: View = "X") -> nn.Module:
        """The map of a view, from rows in its units to scores, as one module of PyTorch.

        Centring, scale, network and linear CCA in one: what :meth:`transform` (or :meth:`transform_y`)
        computes, for ``torch.export``, ONNX, TorchServe, a device.

        Parameters
        ----------
        view : {"X", "y"}

        Returns
        -------
        torch.nn.Module
            In evaluation mode, with copies of all weights, in ``dtype``; its inputs are (rows, features), or
            what the encoder takes after a fit to pairs in batches.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from fastcca.deep import DeepCCA
        >>> X = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
        >>> model = DeepCCA(2, (8,), n_epochs=2, random_state=0).fit(X, X[:, ::-1] ** 3)
        >>> rows, n = torch.from_numpy(X[:5]), torch.export.Dim("n")
        >>> program = torch.export.export(model.to_module(), (rows,), dynamic_shapes=({0: n},))
        >>> scores = program.module()(torch.from_numpy(X[:9]))
        >>> bool(np.allclose(scores.detach(), model.transform(X[:9]), atol=1e-5))
        True
        """
        check_is_fitted(self)
        if view not in ("X", "y"):
            raise ValueError(f"view must be 'X' or 'y', got {view!r}")
        return self._module_of(VIEWS.index(view), self.cca_)


# What a fit to pairs in batches has of the linear CCA of the outputs.
_OF_VIEWS = (
    *("x_mean_", "y_mean_", "x_loadings_", "y_loadings_", "x_cross_loadings_", "y_cross_loadings_"),
    *("_y_on_x", "_x_on_y", "_x_on_x", "_y_on_y", "_score_covariance", "_x_variance", "_y_variance"),
)


def _hidden_pair(hidden: Any) -> list[list[int]]:
    """The widths of the hidden layers of both networks."""
    try:
        nested = len(hidden) == 2 and all(np.ndim(h) == 1 for h in hidden)
    except (TypeError, ValueError):
        nested = False
    pair = [layer_widths(h) for h in (hidden if nested else (hidden, hidden))]
    if pair[0] is None or pair[1] is None:
        raise ValueError(f"hidden must be widths of layers, or a pair of such, got {hidden!r}")
    return [pair[0], pair[1]]
