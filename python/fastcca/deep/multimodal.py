"""The multimodal deep autoencoder as a scikit-learn estimator."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from fastcca._arguments.modalities import Modalities, check_modalities, pick
from fastcca._arguments.parameters import FLAG, anything, choice
from fastcca._models.files import Schema
from fastcca._models.multi_view import scaled_statistics
from fastcca.deep._base import (
    OWN_TRAINING,
    SHARED,
    DeepEstimator,
    MakesOptimizer,
    MakesScheduler,
    refuse_both,
)
from fastcca.deep._batches import (
    Batches,
    attach_generators,
    batches_of,
    holds_batches,
    merged_statistics,
    named_batch,
    split_batches,
)
from fastcca.deep._docs import documented
from fastcca.deep._fitted_modules import FillingModule, Standardizer
from fastcca.deep._multimodal_network import MultimodalNetwork, SubsetSampling, pretrain, subset_sampling
from fastcca.deep._multimodal_training import (
    AutoencoderEpoch,
    BatchItems,
    Item,
    ModalityRows,
    RowItems,
    epochs_of,
    inputs_of,
)
from fastcca.deep._pretraining import some_rows
from fastcca.deep._training import Schedule, Source, chunks, encode, tried
from fastcca.deep.networks import MLP, GaussianNoise, activation_of, evaluation, layer_widths
from fastcca.errors import NumericalError

__all__ = ["AutoencoderEpoch", "MultimodalAutoencoder"]

Own = dict[str, dict[str, nn.Module]]


@documented
class MultimodalAutoencoder(
    DeepEstimator,
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""A deep autoencoder of several modalities that reconstructs all of them from whichever are given.

    Each modality m has an encoder; their outputs are joined in one representation z, from which each modality
    has a decoder. In training random subsets A of the modalities are given and all of them reconstructed, so
    that z can be computed, and missing modalities filled in, from any subset:

    .. math:: \min \; E_A \sum_m w_m \, \frac{1}{n p_m} \sum_i \|\hat x^m_i(z^A_i) - x^m_i\|^2, \qquad
        z^A = s(W [h_1 \ldots h_M] + b), \quad h_m = 0 \text{ for } m \notin A,

    with :math:`p_m` the features of a modality, centred and scaled, and :math:`w_m` = ``modality_weights``.

    Parameters
    ----------
    n_components : int, default=64
        Width of the joint representation.
    hidden : sequence of int or mapping of str to such, default=(256,)
        Widths of the hidden layers of each encoder, the same for all or by name; the decoders have them in
        reverse order.
    activation : str or callable, default="tanh"
        As for :class:`MLP`, of the hidden layers and the joint representation. Rectified units, of which many
        are always zero in the joint representation, reconstruct worse.
    encoders, decoders : mapping of str to torch.nn.Module, optional
        Networks of your own for some modalities or all. An encoder is given the rows (scaled, flat) and may
        return any number of outputs; a decoder is given ``n_components`` inputs and must return as many as
        the modality has features. Copies of them are trained; what they share, the copies share. Parameters
        with ``requires_grad=False`` are not trained, modules in evaluation mode (normalisation with fixed
        statistics) stay in it.
    modality_dropout : {"subsets", None} or mapping of tuple of str to float, default="subsets"
        Distribution of the subset A of the modalities of a row that the network is given in training.
        "subsets": all but the empty subset with equal probability; of two modalities, both, only the one and
        only the other with probability 1/3 each. None: all modalities. A mapping from tuples of names to
        weights for any other distribution.
    modality_subsets : {"sampled", "exhaustive"}, default="sampled"
        How the expectation over that distribution is taken. "sampled": a subset is sampled for each row, so
        that in an epoch every row is seen once. "exhaustive": each batch in every subset, the errors weighted
        by the probabilities, so that in an epoch, of as many steps, every row is seen in every subset: the
        augmented data set of Ngiam et al. Its steps cost more, of two modalities about twice as much.
    missing_indicator : bool, default=False
        Whether the network is given which modalities are missing: rows that lack a modality have weights of
        their own to the joint representation, and a learned vector for each modality that they lack.
    inverted_dropout : bool, default=False
        Multiply the inputs of the joint representation by the number of modalities over the number given, as
        in inverted dropout, so that their scale does not depend on that number.
    modality_weights : mapping of str to float, or sequence of float, optional
        Weights of the modalities' errors in the loss; 1 for those not named.
    pretrain : {None, "denoising", "rbm"}, default=None
        Initialise layer by layer by :class:`DenoisingAutoencoder` or by sparse :class:`RBM`, each modality by
        itself and then the joint representation; "rbm" needs ``activation="sigmoid"``. The decoders are
        initialised as the transposes.
    optimizer : {"adam", "adamw"} or callable, default="adam"
        On minibatches. A callable is given the parameters and returns a ``torch.optim.Optimizer``, whose
        learning rates stand in the place of ``learning_rate`` and ``weight_decay``.
    learning_rate : float, default=1e-3
        Initial learning rate of the optimiser, after a linear warm-up over the first tenth of the training.
    {schedule_or_callable}
    n_epochs : int, optional
        Passes over the data. By default as many as give some 3000 batches, between 20 and 300.
    batch_size : int, default=100
        Rows of a minibatch, at most; no network is ever given more rows at once.
    weight_decay : float, default=0.0
        Of the optimiser.
    clip_norm : float, optional
        The norm of the gradient of a batch is scaled down to this where it is larger.
    compile : bool, default=False
        Compile the networks by ``torch.compile`` while training: worth its minutes for long trainings.
    input_noise : float, default=0.0
        Standard deviation of Gaussian noise on the (scaled) inputs of the encoders while training.
    dropout : float, default=0.0
        Fraction of hidden units dropped while training.
    validation_fraction : float, default=0.05
        Fraction of the rows set aside to choose the best epoch by; 0 for none. Fewer than 50 rows are not set
        aside. See ``validation`` and ``groups`` of :meth:`fit`.
    patience : int, optional
        Stop when the validation loss has not fallen for this number of epochs.
    scale : {"view", "columns"}, default="view"
        Divide a modality by the root mean variance of its columns, or each column by its own standard
        deviation. All are centred.
    {device}
    {dtype_and_autocast}
    random_state : int, RandomState or None, default=None
        Seed of the initial weights, batches, subsets and noise. The same seed gives the same result on the
        same machine with the same number of threads.
    verbose : bool, default=False
        Show a progress bar with the loss.
    callbacks : sequence of callables, default=()
        Called after each epoch with an :class:`AutoencoderEpoch`; returning True ends the training.
    n_threads : int, optional
        Threads of PyTorch during fit; by default its own.

    Attributes
    ----------
    modalities_ : tuple of str
        Names of the modalities.
    network_ : torch.nn.Module
        The trained network, in evaluation mode.
    means_, scales_ : dict of str to ndarray
        Means and scales by which the columns of a modality are standardised.
    history_ : list of dict
        Per epoch: ``epoch``, ``loss``, ``learning_rate``, ``validation_loss``, as of
        :class:`AutoencoderEpoch`.
    {best_epoch_}
    n_features_in_ : int
        Features of all modalities.

    Notes
    -----
    Views are given as a mapping from names to arrays, as a sequence of arrays (named "view0", "view1", ...)
    or as one matrix (a plain autoencoder). A modality may be missing in a row (NaN throughout, or None in a
    list of rows), in ``fit`` too: its error is then that of the others. After the fit modalities may be left
    out as a whole.

    {interrupting}

    References
    ----------
    Ngiam, Khosla, Kim, Nam, Lee & Ng, "Multimodal deep learning", ICML 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.deep import MultimodalAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> angle = rng.uniform(0, np.pi, 500)
    >>> sound = np.column_stack([np.cos(angle), np.sin(angle)])
    >>> image = np.column_stack([np.cos(2 * angle), np.sin(2 * angle), angle])
    >>> model = MultimodalAutoencoder(16, (64,), n_epochs=80, random_state=0)
    >>> _ = model.fit({"sound": sound, "image": image})
    >>> filled = model.reconstruct({"sound": sound})["image"]  # never shown the images
    >>> bool(np.mean((filled - image) ** 2) < 0.1 * image.var())
    True
    """

    _schema = Schema(
        "MultimodalAutoencoder",
        2,
        fields="modalities_ means_ scales_ column_names=_columns dtypes=_dtypes n_features_in_ "
        "encoder_widths=_encoder_widths history_ best_epoch_",
        optional="feature_names_in_",
    )
    _saved_networks = ("network_",)
    _own_modules = ("encoders", "decoders")
    _constraints: ClassVar = {
        **SHARED,
        **OWN_TRAINING,
        "encoders": anything("networks of your own"),
        "decoders": anything("networks of your own"),
        "modality_weights": anything("a number for each modality"),  # with the views
        "modality_dropout": anything("a probability or a schedule of them"),  # by dropout_schedule
        "modality_subsets": choice("sampled", "exhaustive"),
        "missing_indicator": FLAG,
        "inverted_dropout": FLAG,
        "pretrain": choice(None, "denoising", "rbm"),
    }
    _default_batches = (3000, 20, 300)
    _least_validation_rows = 50

    modalities_: tuple[str, ...]
    network_: MultimodalNetwork
    means_: dict[str, NDArray[np.float64]]
    scales_: dict[str, NDArray[np.float64]]
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    def __init__(
        self,
        n_components: int = 64,
        hidden: Sequence[int] | Mapping[str, Sequence[int]] = (256,),
        activation: str | Callable[[], nn.Module] = "tanh",
        encoders: Mapping[str, nn.Module] | None = None,
        decoders: Mapping[str, nn.Module] | None = None,
        modality_dropout: Literal["subsets"] | Mapping[tuple[str, ...], float] | None = "subsets",
        modality_subsets: Literal["sampled", "exhaustive"] = "sampled",
        missing_indicator: bool = False,
        inverted_dropout: bool = False,
        modality_weights: Mapping[str, float] | Sequence[float] | None = None,
        pretrain: Literal["denoising", "rbm"] | None = None,
        optimizer: Literal["adam", "adamw"] | MakesOptimizer = "adam",
        learning_rate: float = 1e-3,
        schedule: Literal["cosine", "constant"] | MakesScheduler = "cosine",
        n_epochs: int | None = None,
        batch_size: int = 100,
        weight_decay: float = 0.0,
        input_noise: float = 0.0,
        dropout: float = 0.0,
        validation_fraction: float = 0.05,
        patience: int | None = None,
        scale: Literal["view", "columns"] = "view",
        device: str = "cpu",
        dtype: Literal["float32", "float64"] = "float32",
        random_state: Any = None,
        verbose: bool = False,
        callbacks: Sequence[Callable[[AutoencoderEpoch], bool | None]] = (),
        n_threads: int | None = None,
        clip_norm: float | None = None,
        compile: bool = False,
        autocast: Literal["bfloat16", "float16"] | None = None,
    ) -> None:
        self.n_components = n_components
        self.hidden = hidden
        self.activation = activation
        self.encoders = encoders
        self.decoders = decoders
        self.modality_dropout = modality_dropout
        self.modality_subsets = modality_subsets
        self.missing_indicator = missing_indicator
        self.inverted_dropout = inverted_dropout
        self.modality_weights = modality_weights
        self.pretrain = pretrain
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.input_noise = input_noise
        self.dropout = dropout
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.scale = scale
        self.device = device
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks
        self.n_threads = n_threads
        self.clip_norm = clip_norm
        self.compile = compile
        self.autocast = autocast

    def fit(
        self,
        views: Any,
        y: Any = None,
        *,
        validation: Any = None,
        groups: ArrayLike | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> MultimodalAutoencoder:
        """Train the network.

        Parameters
        ----------
        views : mapping of str to array_like of shape (n, p_i), sequence of such, or one array_like
            Rows of all modalities belong together; float32 and float64 arrays are read in place. Or data in
            batches: a ``Dataset`` of rows, which is shuffled and cut into batches here, a ``DataLoader`` or
            another iterable, whose batches are taken as they come in each epoch: mappings from names, tuples
            or single tensors, which are flattened to a row for each sample. The first names all modalities.
            Means and scales are taken from a first pass.
        y : ignored
        validation : as ``views``, optional
            Other rows to choose the best epoch by; all rows of the fit are trained on then, and
            ``validation_fraction`` is not used. Modalities may be left out.
        {groups}
        {checkpoint}

        Returns
        -------
        MultimodalAutoencoder
            Itself.

        Raises
        ------
        ValueError
            For parameters out of range, different numbers of rows, a row without any modality, a modality
            missing in every row, NaN or infinity inside a row, networks whose outputs do not serve or that
            have nothing to train, both ``validation`` and ``groups``.
        NumericalError
            If the network returns NaN or infinity (the message names the epoch and the modality), or the
            variance of a modality overflows or underflows.
        """
        self._check_parameters()
        refuse_both(validation, groups)
        if holds_batches(views):
            return self._fit_batches(views, validation, groups, checkpoint)
        found = check_modalities(views, type(self).__name__)
        self._set_columns(found)
        sampling, weights = self._sampling()
        held_out = None if validation is None else self._checked(validation)
        with self._environment() as random:
            rows, validation_rows = self._split(found.n_rows, validation, groups, random)
            training, checked_on = self._rows(found, rows), None
            if held_out is not None:
                checked_on = self._rows(held_out, np.arange(held_out.n_rows))
            elif validation_rows is not None:
                checked_on = training._replace(rows=validation_rows)
            network = self._network(training)
            schedule = Schedule(**self._schedule(len(rows)))
            scales = [*self.means_.values(), *self.scales_.values()]
            saved = self._open_checkpoint(checkpoint, network, [rows, *scales])
            like, size = network.shared.weight.detach(), self.batch_size
            feed = RowItems(training, size, like)
            checked = None if checked_on is None else RowItems(checked_on, size, like, in_order=True)
            epochs = epochs_of(network, self.modalities_, feed, checked, sampling, weights, schedule, saved)
            self._train(network, schedule, epochs, lambda: self._keep(network), saved)
        return self

    def _fit_batches(self, data: Any, validation: Any, groups: Any, checkpoint: Any) -> MultimodalAutoencoder:
        """The fit to modalities that come in batches: means and scales in a first pass over them."""
        if self.pretrain is not None:
            raise ValueError(f"pretrain={self.pretrain!r} takes arrays, not batches")
        if validation is not None and not holds_batches(validation):
            raise ValueError("validation must be modalities in batches, as views are")
        place = torch.device(self.device), getattr(torch, self.dtype)

        def batches(given: Any, shuffled: bool) -> Batches:
            return batches_of(given, 1, self.batch_size, *place, shuffled=shuffled)

        with self._environment() as random:
            fraction = 0.0 if validation is not None else self.validation_fraction
            training, aside, rows = split_batches(data, fraction, self._least_validation_rows, groups, random)
            first = self._set_streamed_columns(batches(data, shuffled=False))
            sampling, weights = self._sampling()
            network = self._network(self._rows(first, np.arange(first.n_rows)))
            pairs, held_out = batches(training, shuffled=True), aside if validation is None else validation
            n = len(training) if rows is not None else pairs.n_batches * self.batch_size
            schedule = Schedule(**self._schedule(n))
            scales = [*self.means_.values(), *self.scales_.values(), *([] if rows is None else [rows])]
            saved = self._open_checkpoint(checkpoint, network, scales)
            attach_generators(saved, data)
            like = network.shared.weight.detach()

            def item(batch: Any) -> Item:
                sources, present = self._sources(self._checked(named_batch(batch)), *place)
                here = torch.from_numpy(present).to(like)
                return inputs_of(list(sources.values()), slice(None), here), here

            checked = None if held_out is None else BatchItems(batches(held_out, shuffled=False), item)
            feed = BatchItems(pairs, item)
            epochs = epochs_of(network, self.modalities_, feed, checked, sampling, weights, schedule, saved)
            self._train(network, schedule, epochs, lambda: self._keep(network), saved)
        return self

    # ---- the parts of fit

    def _sampling(self) -> tuple[SubsetSampling, dict[str, float]]:
        """The distribution of the subsets given, and the weights of the modalities' errors."""
        sampling = subset_sampling(
            self.modalities_, self.modality_dropout, self.modality_subsets == "exhaustive"
        )
        weights = pick(self.modalities_, self.modality_weights, "modality_weights", missing=1.0)
        if not any(weights.values()):
            raise ValueError("modality_weights must not all be zero")
        return sampling, weights

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("encoders", "decoders"):
            modules = getattr(self, name)
            if modules is not None and not (
                isinstance(modules, Mapping) and all(isinstance(m, nn.Module) for m in modules.values())
            ):
                raise ValueError(f"{name} must map names to torch.nn.Module, got {modules!r}")
        if self.pretrain is not None and (self.encoders or self.decoders):
            raise ValueError(
                "pretrain works on the built-in networks: leave encoders and decoders None or pretrain None"
            )
        if self.pretrain == "rbm" and self.activation != "sigmoid":
            raise ValueError(
                f"pretrain='rbm' gives probabilities of hidden units: it needs activation='sigmoid', "
                f"got {self.activation!r}"
            )

    def _set_columns(self, found: Modalities) -> None:
        self.modalities_ = tuple(found.data)
        self.means_, self.scales_ = {}, {}
        for name, a in found.data.items():
            rows = a if found.present[name].all() else a[found.present[name]]
            self._set_scale(name, *scaled_statistics(name, rows, self.scale == "columns"))
        self._set_names(found)

    def _set_scale(self, name: str, mean: NDArray[np.float64], variance: NDArray[np.float64]) -> None:
        variances = variance if self.scale == "columns" else np.full_like(variance, variance.mean())
        self.means_[name], self.scales_[name] = mean, np.sqrt(np.where(variances > 0, variances, 1.0))

    def _set_streamed_columns(self, batches: Batches) -> Modalities:
        """The same of batches; returns the first of them, which names all modalities."""
        first: Modalities | None = None
        sums: dict[str, Any] = {}
        widths: dict[str, int] | None = None
        for batch in batches.data:
            views = named_batch(batch)
            if first is None:
                widths = {name: a.shape[1] for name, a in views.items() if a is not None}
            found = check_modalities(views, type(self).__name__, widths)
            first = found if first is None else first
            for name, a in found.data.items():
                rows = a[found.present[name]].astype(np.float64, copy=False)
                if len(rows):
                    sums[name] = merged_statistics(sums.get(name), rows)
        assert first is not None
        self.modalities_, self.means_, self.scales_ = tuple(first.data), {}, {}
        for name in self.modalities_:
            if name not in sums:
                raise ValueError(f"every row of modality {name!r} is missing: there is nothing to learn from")
            n, mean, squares = sums[name]
            if not np.isfinite(squares).all():
                raise NumericalError(f"the variance of {name} overflows: scale it down")
            self._set_scale(name, mean, squares / max(n - 1, 1))
        self._set_names(first)
        return first

    def _set_names(self, found: Modalities) -> None:
        self._columns = found.names
        self._dtypes = {name: a.dtype.name for name, a in found.data.items()}
        self.n_features_in_ = sum(map(len, self.means_.values()))
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        if self.modalities_ == ("X",) and found.names["X"] is not None:
            self.feature_names_in_ = found.names["X"]

    def _rows(self, found: Modalities, index: NDArray[np.intp]) -> ModalityRows:
        device, dtype = torch.device(self.device), getattr(torch, self.dtype)
        return ModalityRows(*self._sources(found, device, dtype), index)

    def _network(self, training: ModalityRows) -> MultimodalNetwork:
        """The network before training, tried on two rows, and pretrained."""
        device, dtype = torch.device(self.device), getattr(torch, self.dtype)
        own = self._own()
        n_rows = min(2, self.batch_size)
        sources = [source for source in training.sources.values() if source is not None]  # all
        encoders, widths = [], []
        for m, (name, source) in enumerate(zip(self.modalities_, sources, strict=True)):
            encoder = self._encoder(name, own).to(device, dtype)
            given = f"rows of {source.data.shape[1]} features"
            with tried(f"the encoder of {name}", given), evaluation(encoder):
                H = encode(encoder, source, n_rows, np.flatnonzero(training.present[:, m])[:n_rows])
            if H.ndim != 2 or not H.is_floating_point():
                raise ValueError(
                    f"the encoder of {name} must return a (rows, outputs) float tensor, got {tuple(H.shape)}"
                )
            encoders.append(encoder)
            widths.append(H.shape[1])
        network = self._joined(widths, encoders, own).to(device, dtype)
        z = torch.zeros(n_rows, self.n_components, dtype=dtype, device=device)
        for name, decoder in zip(self.modalities_, network.decoders, strict=True):
            given = f"rows of n_components={self.n_components}"
            with tried(f"the decoder of {name}", given), evaluation(decoder), torch.no_grad():
                shape = tuple(decoder(z).shape)
            if shape != (n_rows, len(self.means_[name])):
                raise ValueError(
                    f"the decoder of {name} must return (rows, {len(self.means_[name])}), got {shape} for "
                    f"{n_rows} rows"
                )
        if self.pretrain is not None:
            rows = some_rows(training.rows)
            pretrain(
                network, sources, training.present, rows, self.pretrain, self.activation, self.batch_size
            )
        self._encoder_widths = widths
        return network

    def _rebuilt(self) -> list[nn.Module]:
        own = self._own()
        return [self._joined(self._encoder_widths, [self._encoder(n, own) for n in self.modalities_], own)]

    def _joined(self, widths: Sequence[int], encoders: Sequence[nn.Module], own: Own) -> MultimodalNetwork:
        decoders = [self._decoder(name, own) for name in self.modalities_]
        return MultimodalNetwork(
            encoders,
            decoders,
            widths,
            self.n_components,
            self.activation,
            self.inverted_dropout,
            self.missing_indicator,
        )

    def _encoder(self, name: str, own: Own) -> nn.Module:
        if name in own["encoders"]:
            return own["encoders"][name]
        width, hidden = len(self.means_[name]), self._hidden(name)
        if not hidden:
            return nn.Sequential(GaussianNoise(self.input_noise))
        body = MLP(width, hidden, self.activation, self.input_noise, self.dropout)
        return nn.Sequential(body, activation_of(self.activation)())

    def _decoder(self, name: str, own: Own) -> nn.Module:
        if name in own["decoders"]:
            return own["decoders"][name]
        layers = [*reversed(self._hidden(name)), len(self.means_[name])]
        return MLP(self.n_components, layers, self.activation, dropout=self.dropout)

    def _own(self) -> Own:
        """Copies of the user's own modules; what these share, the copies share."""
        own = {"encoders": dict(self.encoders or {}), "decoders": dict(self.decoders or {})}
        for which, modules in own.items():
            unknown = [key for key in modules if key not in self.modalities_]
            if unknown:
                known = ", ".join(self.modalities_)
                raise ValueError(f"{which} names an unknown modality {unknown[0]!r}: there are {known}")
        return copy.deepcopy(own)

    def _hidden(self, name: str) -> list[int]:
        """The widths of the hidden layers of a modality's encoder."""
        hidden: Any = self.hidden
        if isinstance(hidden, Mapping):
            unknown = [key for key in hidden if key not in self.modalities_]
            if unknown:
                known = ", ".join(self.modalities_)
                raise ValueError(f"hidden names an unknown modality {unknown[0]!r}: there are {known}")
            hidden = hidden.get(name, (256,))
        widths = layer_widths(hidden)
        if widths is None:
            raise ValueError(f"hidden must be widths of layers, or a mapping of such, got {self.hidden!r}")
        return widths

    def _keep(self, network: MultimodalNetwork) -> None:
        if not all(bool(torch.isfinite(p).all()) for p in network.parameters()):
            raise NumericalError("the trained network has weights that are not finite; lower learning_rate")
        self.network_ = network.eval()

    # ---- the fitted model

    def _check(self, views: Any) -> Modalities:
        check_is_fitted(self)
        return self._checked(views)

    def _checked(self, views: Any) -> Modalities:
        widths = {name: len(mean) for name, mean in self.means_.items()}
        return check_modalities(views, type(self).__name__, widths, self._columns)

    def _sources(
        self, found: Modalities, device: torch.device, dtype: torch.dtype
    ) -> tuple[dict[str, Source | None], NDArray[np.bool_]]:
        """The modalities fitted, None for those left out, and which rows have them."""
        sources = {
            name: Source(found.data[name], self.means_[name], self.scales_[name], device, dtype)
            if name in found.data
            else None
            for name in self.modalities_
        }
        absent = np.zeros(found.n_rows, dtype=bool)
        return sources, np.column_stack([found.present.get(name, absent) for name in self.modalities_])

    @torch.no_grad()
    def _run(self, found: Modalities, decode: bool) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """The joint representation, and the modalities in their units."""
        parameter = self.network_.shared.weight
        named_sources, present = self._sources(found, parameter.device, parameter.dtype)
        sources = list(named_sources.values())
        codes, parts = [], []
        for rows in chunks(found.n_rows, self.batch_size):
            given = torch.from_numpy(present[rows]).to(parameter)
            inputs = inputs_of(sources, rows, given)
            if decode:
                z, outputs = self.network_(inputs, given)
                parts.append([out.double().cpu().numpy() for out in outputs])
            else:
                z = self.network_.encode(inputs, given)
            if not bool(torch.isfinite(z).all()):
                raise NumericalError("the joint representation is NaN or infinite for finite input")
            codes.append(z.cpu().numpy())
        filled = {}
        for m, name in enumerate(self.modalities_ if decode else ()):
            scaled = np.concatenate([part[m] for part in parts])
            filled[name] = (scaled * self.scales_[name] + self.means_[name]).astype(self._dtypes[name])
        dtype = np.result_type(*found.data.values())
        return np.concatenate(codes).astype(dtype, copy=False), filled

    def transform(self, views: Any) -> NDArray[Any]:
        """The joint representation.

        Parameters
        ----------
        views : as for ``fit``
            Modalities may be left out or missing in rows, as long as every row has one.

        Returns
        -------
        ndarray of shape (n, n_components)
            float32 if every view is, else float64.

        {raises_not_fitted}
        ValueError
            For an unknown modality, a wrong number of features or of rows, a row without any modality, NaN
            or infinity inside a row.
        """
        if holds_batches(views):
            return np.concatenate([self.transform(named_batch(batch)) for batch in self._read(views)])
        return self._run(self._check(views), decode=False)[0]

    def reconstruct(self, views: Any) -> dict[str, NDArray[Any]]:
        """All modalities, from whichever are given.

        Parameters
        ----------
        views : as for ``transform``

        Returns
        -------
        dict of str to ndarray
            Every modality of the fit, (n, p_i), in its units and dtype; also those given, as they are
            reconstructed.
        """
        if holds_batches(views):
            parts = [self.reconstruct(named_batch(batch)) for batch in self._read(views)]
            return {name: np.concatenate([part[name] for part in parts]) for name in self.modalities_}
        return self._run(self._check(views), decode=True)[1]

    def score(self, views: Any, y: Any = None, given: str | Sequence[str] | None = None) -> float:
        """R² of the reconstructions: 1 is exact, 0 as good as the means of the training rows.

        Parameters
        ----------
        views : as for ``fit``
            The targets of the reconstructions; modalities may be left out.
        y : ignored
        given : name or sequence of names, optional
            From which of the views to reconstruct; by default from all of them.

        Returns
        -------
        float
            Mean over the modalities in ``views`` of 1 - (squared error) / (squared distance from the mean of
            the training rows).

        Raises
        ------
        ValueError
            As of :meth:`transform`, and for a name in ``given`` that is not in ``views``.
        """
        check_is_fitted(self)
        parts: Iterable[Any] = map(named_batch, self._read(views)) if holds_batches(views) else [views]
        errors: dict[str, float] = {}
        references: dict[str, float] = {}
        for part in parts:
            found = self._check(part)
            shown = found
            if given is not None:
                names = (given,) if isinstance(given, str) else tuple(given)
                unknown = [name for name in names if name not in found.data]
                if unknown or not names:
                    raise ValueError(f"given must name some of {', '.join(found.data)}, got {given!r}")
                shown = self._check({name: found.data[name] for name in names})
            filled = self._run(shown, decode=True)[1]
            for name, a in found.data.items():
                rows = found.present[name]
                target = a[rows].astype(np.float64)
                errors[name] = errors.get(name, 0.0) + np.square(filled[name][rows] - target).sum()
                reference = np.square(target - self.means_[name]).sum()
                references[name] = references.get(name, 0.0) + reference
        scores = [
            1 - errors[name] / reference if reference > 0 else float(errors[name] == 0)
            for name, reference in references.items()
        ]
        return float(np.mean(scores))

    def to_module(self, method: Literal["reconstruct", "transform"] = "reconstruct") -> nn.Module:
        """What a method computes, from modalities in their units on, as one module of PyTorch.

        Centring, scale and network in one, for ``torch.export``, ONNX, TorchServe, a device.

        Parameters
        ----------
        method : {"reconstruct", "transform"}
            All modalities, from whichever are given, or the joint representation.

        Returns
        -------
        torch.nn.Module
            In evaluation mode, with copies of all weights, in ``dtype``. Its input is a dict from names to
            tensors (rows, features), more axes being flattened; a modality may be left out, or missing in
            rows (NaN throughout). "reconstruct" returns such a dict of all modalities. Unlike the estimator
            it does not check that each row has a modality.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from fastcca.deep import MultimodalAutoencoder
        >>> X = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
        >>> model = MultimodalAutoencoder(3, (8,), n_epochs=2, random_state=0).fit({"a": X, "b": -X})
        >>> rows, n = {"a": torch.from_numpy(X[:5])}, torch.export.Dim("n")
        >>> program = torch.export.export(model.to_module(), (rows,), dynamic_shapes=({"a": {0: n}},))
        >>> filled = program.module()({"a": torch.from_numpy(X[:9])})["b"]
        >>> bool(np.allclose(filled.detach(), model.reconstruct({"a": X[:9]})["b"], atol=1e-5))
        True
        """
        check_is_fitted(self)
        choice("reconstruct", "transform")("method", method)
        dtype = getattr(torch, self.dtype)
        scaling = {
            name: Standardizer(self.means_[name], self.scales_[name], dtype) for name in self.modalities_
        }
        return FillingModule(copy.deepcopy(self.network_), scaling, method == "reconstruct", dtype).eval()

    def _read(self, views: Any) -> Iterable[Any]:
        """The batches of what comes in batches."""
        place = torch.device(self.device), getattr(torch, self.dtype)
        return batches_of(views, 1, self.batch_size, *place, shuffled=False).data  # type: ignore[no-any-return]

    @property
    def _n_features_out(self) -> int:  # read by get_feature_names_out
        return self.n_components

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
