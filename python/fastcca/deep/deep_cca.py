"""Deep CCA as a scikit-learn estimator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from torch import nn
from tqdm import tqdm

from fastcca._arguments.arrays import refuse_non_finite
from fastcca._models.atomic_fit import keep_after
from fastcca._models.multi_view import scaled_statistics
from fastcca._models.two_view import TwoViewTransformer, View, score_statistics
from fastcca.cca.linear import CCA
from fastcca.deep._files import SavedDeepModel
from fastcca.deep._parameters import torch_environment
from fastcca.deep._pretraining import denoise
from fastcca.deep._settings import check_settings, hidden_pair, plan_of, warn_of_small_batches
from fastcca.deep._splitting import split_rows
from fastcca.deep._training import (
    Epoch,
    Networks,
    Plan,
    Source,
    call_back,
    check_outputs,
    encode,
    evaluation,
    train,
    tried,
)
from fastcca.deep.encoders import MLP
from fastcca.errors import NumericalError

__all__ = ["DeepCCA"]

Hidden = Sequence[int] | tuple[Sequence[int], Sequence[int]]


class DeepCCA(SavedDeepModel, TwoViewTransformer):
    r"""Deep canonical correlation analysis: two networks whose outputs correlate as much as they can.

    Networks f and g are trained to maximise the total correlation of f(X) and g(y); a linear CCA of their
    outputs, which orders the components, is folded into ``transform``. Views are centred and scaled inside.

    Parameters
    ----------
    n_components : int, default=10
        Number of correlated components: the outputs of the networks.
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
    objective : {"trace", "squares"}, default="trace"
        Whether the loss sums the correlations or their squares.
    optimizer : {"adam", "adamw", "lbfgs"}, default="adam"
        Minibatches, or L-BFGS on all rows with exact gradients in memory that does not grow with them.
    learning_rate : float, default=2e-3
        For minibatches; it rises over the first tenth of the training.
    schedule : {"cosine", "constant"}, default="cosine"
        How the learning rate goes on.
    epochs : int, optional
        Passes over the data, or iterations of L-BFGS (default 100). By default so many that some 2000
        batches are seen, between 30 and 300.
    batch_size : int, default=1000
        Rows of a minibatch, at most; no encoder is ever given more at once. The correlation of a batch is an
        estimate: take at least ten times the number of components.
    weight_decay : float, default=0.0
        Of the optimiser; for "lbfgs" the weight of half the squared parameters.
    input_noise : float, default=0.5
        Standard deviation of the noise on the (scaled) inputs while training on minibatches. It is what
        keeps the networks from fitting the training rows alone.
    augment : callable, optional
        Random changes of the training batches: called with the scaled inputs (x, y) of a minibatch as
        tensors, it returns both changed, x and y of a row alike where they are to stay partners.
    dropout : float, default=0.0
        Share of hidden units dropped while training on minibatches.
    validation_fraction : float, default=0.05
        Fraction of the rows set aside to choose the best epoch by; 0 for none. Fewer than 100 rows, or than
        five times ``n_components``, are not set aside. See ``validation`` and ``groups`` of :meth:`fit`.
    patience : int, optional
        Stop when the validation correlation has not risen for so many epochs.
    pretrain : {None, "denoising"}, default=None
        Initialise the hidden layers by :class:`DenoisingAutoencoder` (L-BFGS where ``optimizer="lbfgs"``,
        else Adam) and the outputs by a linear CCA of the last hidden layers.
    reconstruction : float, default=0.0
        Weight of the squared error of reconstructing both views from the outputs (DCCAE).
    scale : {"view", "columns"}, default="view"
        Divide a view by the root mean variance of its columns, or each column by its own standard deviation.
    device : str, default="cpu"
        Any device of PyTorch.
    dtype : {"float32", "float64"}, default="float32"
        Of the networks.
    autocast : {None, "bfloat16"}, default=None
        Run the networks' products in bfloat16 while training on minibatches: faster on CPUs that have it.
    warm_start : bool, default=False
        Go on from the networks of the last fit.
    random_state : int, RandomState or None, default=None
        The same seed gives the same result on the same machine with the same number of threads.
    verbose : bool, default=False
        Show a progress bar with the correlations.
    callbacks : sequence of callables, default=()
        Called after each epoch with an object that has ``number``, ``loss``, ``train_correlation``,
        ``validation_correlation``, ``learning_rate`` and ``model``; returning True ends the training.
        ``model`` is this estimator, fitted with the parameters of this epoch: it can be scored and saved. It
        is fitted when it is asked for (a pass over the data), and goes on training afterwards.
    n_threads : int, optional
        Threads of PyTorch and of the core during fit; by default theirs.

    Attributes
    ----------
    encoder_x_, encoder_y_ : torch.nn.Module
        The trained networks, in evaluation mode.
    cca_ : CCA
        The linear CCA of their outputs on all training rows.
    history_ : list of dict
        Per epoch: ``epoch``, ``loss``, ``train_correlation``, ``validation_correlation``, ``learning_rate``.
        The correlations are total correlations of the outputs, of training batches their mean.
    best_epoch_ : int
        The epoch whose parameters are kept; 0 if training ended before the first was complete.
    x_mean_, y_mean_, x_scale_, y_scale_ : ndarray
        What the views are centred by and divided by.
    singular_values_, canonical_correlations_, total_correlation_, x_loadings_, y_loadings_
        As of :class:`fastcca.CCA`, for the training rows.
    n_components_, n_features_in_, n_y_features_in_, feature_names_in_, y_feature_names_in_
        As of :class:`fastcca.CCA`.

    Notes
    -----
    Interrupting the first fit (KeyboardInterrupt) leaves an estimator that is fitted with the best epoch so
    far; the interrupt is raised again. A later fit that is interrupted, or fails, leaves it as it was.

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
    >>> model = DeepCCA(2, hidden=(64,), epochs=60, input_noise=0.05, random_state=0).fit(X[:500], Y[:500])
    >>> bool(model.score(X[500:], Y[500:]) > 0.9)
    True
    """

    _saved_networks = ("encoder_x_", "encoder_y_")
    _own_modules = ("encoders",)
    encoder_x_: nn.Module
    encoder_y_: nn.Module

    def __init__(
        self,
        n_components: int = 10,
        hidden: Hidden = (1024, 1024, 1024),
        activation: str | Callable[[], nn.Module] = "relu",
        encoders: tuple[nn.Module, nn.Module] | None = None,
        reg: float | tuple[float, float] = 1e-3,
        objective: Literal["trace", "squares"] = "trace",
        optimizer: Literal["adam", "adamw", "lbfgs"] = "adam",
        learning_rate: float = 2e-3,
        schedule: Literal["cosine", "constant"] = "cosine",
        epochs: int | None = None,
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
        autocast: Literal["bfloat16"] | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
        callbacks: Sequence[Callable[[Epoch], bool | None]] = (),
        n_threads: int | None = None,
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
        self.epochs = epochs
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

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
        groups: ArrayLike | None = None,
    ) -> DeepCCA:
        """Train the networks on paired rows.

        Parameters
        ----------
        X : array_like of shape (n, p)
            First view; float32 and float64 arrays are read in place, a batch at a time.
        y : array_like of shape (n, q)
            Second view; row i corresponds to row i of ``X``.
        validation : (X, y), optional
            Other paired rows to choose the best epoch by, at least two; all rows of the fit are trained on
            then, and ``validation_fraction`` is not used.
        groups : array_like of shape (n,), optional
            Labels of what rows belong to: a speaker, a patient. The rows set aside are those of whole groups,
            so that no group is on both sides: some ``validation_fraction`` of the rows, the smallest group at
            least.

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
        check_settings(self)
        if validation is not None and groups is not None:
            raise ValueError("validation and groups are two ways to choose the rows to validate on: give one")
        self._fit(X, y, validation, groups)
        return self

    # ---- the parts of fit

    def _fit(self, X: Any, y: Any, validation: Any, groups: Any) -> None:
        first = not hasattr(self, "cca_")
        x_data, y_data, _ = self._check_pair(X, y, reset=True)
        data = [x_data, y_data]
        held_out = None if validation is None else self._validation_pair(validation)
        statistics = [
            scaled_statistics(name, a, self.scale == "columns") for name, a in zip("Xy", data, strict=True)
        ]
        scales = [
            _scale(name, variance, self.scale) for name, (_, variance) in zip("Xy", statistics, strict=True)
        ]
        device, dtype = torch.device(self.device), getattr(torch, self.dtype)

        def scaled(views: Sequence[NDArray[Any]]) -> list[Source]:
            parts = zip(views, statistics, scales, strict=True)
            return [Source(a, mean, scale, device, dtype) for a, (mean, _), scale in parts]

        sources = scaled(data)
        random = check_random_state(self.random_state)
        with torch_environment(int(random.randint(2**31)), self.n_threads, device):
            networks = self._networks([a.shape[1] for a in data], device, dtype)
            train_rows, validation_rows = split_rows(
                len(x_data),
                0.0 if held_out else self.validation_fraction,
                max(100, 5 * self.n_components),
                groups,
                random,
            )
            checked_on = None if validation_rows is None else (sources, validation_rows)
            if held_out is not None:
                checked_on = scaled(held_out), np.arange(len(held_out[0]))
            plan = plan_of(self, len(train_rows))
            outputs = []
            for name, encoder, source in zip("Xy", networks.encoders, sources, strict=True):
                given = f"rows of {source.data.shape[1]} features"
                with tried(f"the encoder of {name}", given), evaluation(encoder):
                    outputs.append(encode(encoder, source, plan.chunk, train_rows[:2]))
            widths = [H.shape[-1] if H.ndim == 2 else -1 for H in outputs]
            self._check_widths(widths)
            warn_of_small_batches(plan, len(train_rows), max(widths))
            if self.reconstruction:
                networks.decoders.extend(self._build_decoders(widths, [a.shape[1] for a in data]))
                networks.to(device, dtype)
            if self.pretrain == "denoising" and not (self.warm_start and hasattr(self, "encoder_x_")):
                denoise(networks, sources, train_rows, plan)
            self.x_mean_, self.y_mean_ = (
                m.astype(a.dtype) for a, (m, _) in zip(data, statistics, strict=True)
            )
            self.x_scale_, self.y_scale_ = (s.astype(a.dtype) for a, s in zip(data, scales, strict=True))
            self.history_: list[dict[str, Any]] = []
            self.best_epoch_ = 0

            def finish() -> None:
                self._finish(networks, sources, data, statistics, plan)

            with tqdm(total=plan.epochs, disable=not self.verbose, unit="epoch") as bar:
                try:
                    self.best_epoch_ = train(
                        networks,
                        sources,
                        plan,
                        train_rows,
                        checked_on,
                        lambda e: self._after_epoch(e, bar, finish),
                    ).epoch
                except KeyboardInterrupt as interrupt:
                    if first:
                        if self.history_:
                            self.best_epoch_ = _best_epoch(self.history_)
                        finish()
                        keep_after(interrupt, self)
                    raise
            finish()

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

    def _networks(self, widths: list[int], device: torch.device, dtype: torch.dtype) -> Networks:
        if self.warm_start and hasattr(self, "encoder_x_"):
            # at once: what the two share stays shared
            encoders = copy.deepcopy([self.encoder_x_, self.encoder_y_])
            for i, encoder in enumerate(encoders):  # fitted, they are in evaluation mode throughout
                given = {} if self.encoders is None else dict(self.encoders[i].named_modules())
                for name, part in encoder.named_modules():
                    part.training = given[name].training if name in given else True
        elif self.encoders is not None:
            encoders = copy.deepcopy(list(self.encoders))
        else:
            encoders = self._build_encoders(widths)
        return Networks(encoders, []).to(device, dtype)

    def _build_decoders(self, n_outputs: list[int], widths: list[int]) -> list[nn.Module]:
        hidden = hidden_pair(self.hidden) if self.encoders is None else [[256], [256]]
        return [
            MLP(n, [*reversed(layers), width], self.activation)
            for n, layers, width in zip(n_outputs, hidden, widths, strict=True)
        ]

    def _build_encoders(self, widths: list[int]) -> list[nn.Module]:
        return [
            MLP(width, [*layers, self.n_components], self.activation, self.input_noise, self.dropout)
            for width, layers in zip(widths, hidden_pair(self.hidden), strict=True)
        ]

    def _rebuilt(self) -> list[nn.Module]:
        if self.encoders is not None:
            return copy.deepcopy(list(self.encoders))
        return self._build_encoders([self.n_features_in_, self.n_y_features_in_])

    def _check_widths(self, widths: list[int]) -> None:
        for name, width in zip("Xy", widths, strict=True):
            if width < self.n_components:
                found = "no (rows, outputs) matrix" if width < 0 else f"{width} outputs"
                raise ValueError(
                    f"the encoder of {name} returns {found}, fewer than n_components={self.n_components}"
                )

    def _after_epoch(self, epoch: Epoch, bar: Any, finish: Callable[[], None]) -> bool:
        self.history_.append(
            {
                "epoch": epoch.number,
                "loss": epoch.loss,
                "train_correlation": epoch.train_correlation,
                "validation_correlation": epoch.validation_correlation,
                "learning_rate": epoch.learning_rate,
            }
        )
        bar.update()
        shown = {"train": f"{epoch.train_correlation:.2f}"}
        if epoch.validation_correlation is not None:
            shown["validation"] = f"{epoch.validation_correlation:.2f}"
        bar.set_postfix(shown)

        def fit() -> None:
            self.best_epoch_ = epoch.number
            finish()

        return call_back(epoch, self.callbacks, self, fit)

    def _finish(
        self,
        networks: Networks,
        sources: list[Source],
        data: list[NDArray[Any]],
        statistics: list[tuple[NDArray[Any], NDArray[Any]]],
        plan: Plan,
    ) -> None:
        """The linear CCA of the outputs on all rows, and what every two-view estimator says of its fit."""
        self.encoder_x_, self.encoder_y_ = (e.eval() for e in networks.encoders)
        tensors = [encode(e, s, plan.chunk) for e, s in zip(networks.encoders, sources, strict=True)]
        check_outputs(tensors, "the trained model")
        H1, H2 = (H.cpu().numpy().astype(np.float64) for H in tensors)
        # A trace of ridge: outputs that training made collinear are no reason to fail.
        ridge = float(1e-8 * H1.var(axis=0).mean()), float(1e-8 * H2.var(axis=0).mean())
        self.cca_ = CCA(self.n_components, reg=ridge, n_threads=self.n_threads).fit(H1, H2)
        zx, zy = self.cca_.transform_views(H1, H2)
        z = np.hstack([zx, zy])
        self.n_components_ = self.cca_.n_components_
        self.singular_values_ = self.cca_.singular_values_
        means, variances = zip(*statistics, strict=True)
        found = score_statistics(data[0], data[1], None, means, variances, lambda rows: z[rows])
        self._set_statistics(found, (data[0].dtype, data[1].dtype))

    # ---- the fitted model

    def _scores(self, view: View, data: NDArray[Any]) -> NDArray[Any]:
        refuse_non_finite(view, data)
        first = view == "X"
        encoder = self.encoder_x_ if first else self.encoder_y_
        mean, scale = (self.x_mean_, self.x_scale_) if first else (self.y_mean_, self.y_scale_)
        parameter = next(encoder.parameters(), torch.empty(0, dtype=getattr(torch, self.dtype)))
        source = Source(data, mean, scale, parameter.device, parameter.dtype)
        outputs = encode(encoder, source, self.batch_size)
        if not bool(torch.isfinite(outputs).all()):
            raise NumericalError(f"the encoder of {view} returned NaN or infinity for finite input")
        H = outputs.cpu().numpy().astype(np.float64)
        scores = self.cca_.transform(H) if first else self.cca_.transform_y(H)
        return scores.astype(data.dtype, copy=False)


def _scale(name: str, variance: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    if not variance.any():
        raise NumericalError(f"every column of {name} is constant: there is nothing to correlate")
    if scale == "columns":
        return np.sqrt(np.where(variance > 0, variance, 1.0))
    return np.full_like(variance, np.sqrt(variance.mean()))


def _best_epoch(history: list[dict[str, Any]]) -> int:
    scores = [
        h["epoch"] if h["validation_correlation"] is None else h["validation_correlation"] for h in history
    ]
    return int(history[int(np.argmax(scores))]["epoch"])
