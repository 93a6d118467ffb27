"""The multimodal deep autoencoder as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn
from tqdm import tqdm

from fastcca._arguments.modalities import Modalities, check_modalities, pick
from fastcca._models.atomic_fit import keep_after
from fastcca._models.files import Schema
from fastcca._models.multi_view import scaled_statistics
from fastcca.deep._files import SavedDeepModel
from fastcca.deep._multimodal_network import MultimodalNetwork, dropout_schedule, pretrain
from fastcca.deep._multimodal_settings import build, check_settings, plan_of, rebuilt
from fastcca.deep._multimodal_training import AutoencoderEpoch, Rows, best_epoch, inputs_of, train
from fastcca.deep._parameters import torch_environment
from fastcca.deep._pretraining import some_rows
from fastcca.deep._splitting import split_rows
from fastcca.deep._training import Source, call_back, chunks
from fastcca.errors import NumericalError

__all__ = ["MultimodalAutoencoder"]


class MultimodalAutoencoder(
    SavedDeepModel,
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""A deep autoencoder of several modalities that reconstructs all of them from whichever are given.

    Each modality has an encoder; their outputs meet in one shared layer, from which each modality has a
    decoder. While it learns, the network is shown now all modalities, now some of them, and must always
    reconstruct all: so the shared layer can be had, and missing modalities filled in, from any of them. The
    loss is the squared error, relative to that of the mean, summed over the modalities.

    Parameters
    ----------
    n_components : int, default=64
        Width of the shared layer.
    hidden : sequence of int or mapping of str to such, default=(256,)
        Widths of the hidden layers of each encoder, the same for all or by name; the decoders have them in
        reverse order.
    activation : str or callable, default="tanh"
        As for :class:`MLP`, of the hidden and the shared layers. Rectified units, of which many fall silent
        in the shared layer, reconstruct worse.
    encoders, decoders : mapping of str to torch.nn.Module, optional
        Networks of your own for some modalities or all. An encoder is given the rows (scaled, flat) and may
        return any number of outputs; a decoder is given ``n_components`` inputs and must return what the
        modality has features. Copies of them are trained; what they share, the copies share. Parameters with
        ``requires_grad=False`` are not trained, modules in evaluation mode (normalisation with fixed
        statistics) stay in it.
    modality_dropout : {"subsets", None} or mapping of tuple of str to float, default="subsets"
        What the network is shown of a row while it learns. "subsets": any of the modalities with equal
        probability, but not none; of two, both, only the one and only the other a third each. None: all.
        A mapping from tuples of names to shares for any other schedule.
    modality_forms : {"drawn", "all"}, default="drawn"
        How a batch is shown by that schedule. "drawn": each row in one form, drawn by the shares, so that in
        an epoch every row is seen once. "all": the whole batch in every form, the errors weighted by the
        shares, so that in an epoch, of as many steps, every row is seen in every form: the augmented data
        set of Ngiam et al. Its steps cost more, of two modalities about twice as much.
    presence : bool, default=False
        Tell the network what is missing: rows that lack a modality reach the shared layer through weights
        of their own and with a learned vector for each modality that they lack.
    rescale : bool, default=False
        Multiply what reaches the shared layer by the number of modalities over the number given, so that it
        is as large from one as from all.
    modality_weights : mapping of str to float, or sequence of float, optional
        Weights of the modalities' errors in the loss; 1 for those not named.
    pretrain : {None, "denoising", "rbm"}, default=None
        Initialise layer by layer by :class:`DenoisingAutoencoder` or by sparse :class:`RBM`, each modality by
        itself and then the shared layer; "rbm" needs ``activation="sigmoid"``. The decoders start as the
        transposes.
    optimizer : {"adam", "adamw"}, default="adam"
        On minibatches.
    learning_rate : float, default=1e-3
        It rises over the first tenth of the training.
    schedule : {"cosine", "constant"}, default="cosine"
        How the learning rate goes on.
    epochs : int, optional
        Passes over the data. By default so many that some 3000 batches are seen, between 20 and 300.
    batch_size : int, default=100
        Rows of a minibatch, at most; no network is ever given more rows at once.
    weight_decay : float, default=0.0
        Of the optimiser.
    input_noise : float, default=0.0
        Standard deviation of the noise on the (scaled) inputs of the encoders while training.
    dropout : float, default=0.0
        Share of the units of hidden layers dropped while training.
    validation_fraction : float, default=0.05
        Fraction of the rows set aside to choose the best epoch by; 0 for none. Fewer than 50 rows are not set
        aside. See ``validation`` and ``groups`` of :meth:`fit`.
    patience : int, optional
        Stop when the validation loss has not fallen for so many epochs.
    scale : {"view", "columns"}, default="view"
        Divide a modality by the root mean variance of its columns, or each column by its own standard
        deviation. All are centred.
    device : str, default="cpu"
        Any device of PyTorch.
    dtype : {"float32", "float64"}, default="float32"
        Of the network.
    random_state : int, RandomState or None, default=None
        The same seed gives the same result on the same machine with the same number of threads.
    verbose : bool, default=False
        Show a progress bar with the loss.
    callbacks : sequence of callables, default=()
        Called after each epoch with an object that has ``number``, ``loss``, ``validation_loss``,
        ``learning_rate`` and ``model``; returning True ends the training. ``model`` is this estimator, fitted
        with the parameters of this epoch: it can be scored and saved, and goes on training afterwards.
    n_threads : int, optional
        Threads of PyTorch during fit; by default its own.

    Attributes
    ----------
    modalities_ : tuple of str
        Names of the modalities.
    network_ : torch.nn.Module
        The trained network, in evaluation mode.
    means_, scales_ : dict of str to ndarray
        What the columns of a modality are centred by and divided by.
    history_ : list of dict
        Per epoch: ``epoch``, ``loss``, ``validation_loss``, ``learning_rate``.
    best_epoch_ : int
        The epoch whose parameters are kept; 0 if training ended before the first was complete.
    n_features_in_ : int
        Features of all modalities.

    Notes
    -----
    Views are given as a mapping from names to arrays, as a sequence of arrays (named "view0", "view1", ...)
    or as one matrix (a plain autoencoder). A modality may be missing in a row (NaN throughout, or None in a
    list of rows), in ``fit`` too: the row then teaches what it has. After the fit modalities may be left out
    as a whole.

    Interrupting the first fit (KeyboardInterrupt) leaves an estimator that is fitted with the best epoch so
    far; the interrupt is raised again. A later fit that is interrupted, or fails, leaves it as it was.

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
    >>> model = MultimodalAutoencoder(16, (64,), epochs=80, random_state=0)
    >>> _ = model.fit({"sound": sound, "image": image})
    >>> filled = model.reconstruct({"sound": sound})["image"]  # never shown the images
    >>> bool(np.mean((filled - image) ** 2) < 0.1 * image.var())
    True
    """

    _saved_networks = ("network_",)
    _own_modules = ("encoders", "decoders")

    modalities_: tuple[str, ...]
    network_: MultimodalNetwork
    means_: dict[str, NDArray[np.float64]]
    scales_: dict[str, NDArray[np.float64]]
    history_: list[dict[str, Any]]
    best_epoch_: int
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    _schema = Schema(
        "MultimodalAutoencoder",
        fields="modalities_ means_ scales_ column_names=_columns dtypes=_dtypes n_features_in_ "
        "encoder_widths=_encoder_widths history_ best_epoch_",
        optional="feature_names_in_",
    )

    def __init__(
        self,
        n_components: int = 64,
        hidden: Sequence[int] | Mapping[str, Sequence[int]] = (256,),
        activation: str | Callable[[], nn.Module] = "tanh",
        encoders: Mapping[str, nn.Module] | None = None,
        decoders: Mapping[str, nn.Module] | None = None,
        modality_dropout: Literal["subsets"] | Mapping[tuple[str, ...], float] | None = "subsets",
        modality_forms: Literal["drawn", "all"] = "drawn",
        presence: bool = False,
        rescale: bool = False,
        modality_weights: Mapping[str, float] | Sequence[float] | None = None,
        pretrain: Literal["denoising", "rbm"] | None = None,
        optimizer: Literal["adam", "adamw"] = "adam",
        learning_rate: float = 1e-3,
        schedule: Literal["cosine", "constant"] = "cosine",
        epochs: int | None = None,
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
    ) -> None:
        self.n_components = n_components
        self.hidden = hidden
        self.activation = activation
        self.encoders = encoders
        self.decoders = decoders
        self.modality_dropout = modality_dropout
        self.modality_forms = modality_forms
        self.presence = presence
        self.rescale = rescale
        self.modality_weights = modality_weights
        self.pretrain = pretrain
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.epochs = epochs
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

    def fit(
        self, views: Any, y: Any = None, *, validation: Any = None, groups: ArrayLike | None = None
    ) -> MultimodalAutoencoder:
        """Train the network.

        Parameters
        ----------
        views : mapping of str to array_like of shape (n, p_i), sequence of such, or one array_like
            Rows of all modalities belong together; float32 and float64 arrays are read in place.
        y : ignored
        validation : as ``views``, optional
            Other rows to choose the best epoch by; all rows of the fit are trained on then, and
            ``validation_fraction`` is not used. Modalities may be left out.
        groups : array_like of shape (n,), optional
            Labels of what rows belong to: a speaker, a patient. The rows set aside are those of whole groups,
            so that no group is on both sides: some ``validation_fraction`` of the rows, the smallest group at
            least.

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
        check_settings(self)
        if validation is not None and groups is not None:
            raise ValueError("validation and groups are two ways to choose the rows to validate on: give one")
        found = check_modalities(views, type(self).__name__)
        self._fit(found, validation, groups)
        return self

    # ---- the parts of fit

    def _fit(self, found: Modalities, validation: Any, groups: Any) -> None:
        first = not hasattr(self, "network_")
        self._set_columns(found)
        weights = pick(self.modalities_, self.modality_weights, "modality_weights", missing=1.0)
        if not any(weights.values()):
            raise ValueError("modality_weights must not all be zero")
        dropout = dropout_schedule(self.modalities_, self.modality_dropout, self.modality_forms == "all")
        device, dtype = torch.device(self.device), getattr(torch, self.dtype)
        held_out = None if validation is None else self._checked(validation)

        def rows_of(modalities: Modalities, index: NDArray[np.intp]) -> Rows:
            return Rows(*self._sources(modalities, device, dtype), index)

        random = check_random_state(self.random_state)
        with torch_environment(int(random.randint(2**31)), self.n_threads, device):
            fraction = 0.0 if held_out else self.validation_fraction
            train_rows, validation_rows = split_rows(found.n_rows, fraction, 50, groups, random)
            training, checked_on = rows_of(found, train_rows), None
            if held_out is not None:
                checked_on = rows_of(held_out, np.arange(held_out.n_rows))
            elif validation_rows is not None:
                checked_on = training._replace(rows=validation_rows)
            sources = [source for source in training.sources.values() if source is not None]  # all
            present = training.present
            network, self._encoder_widths = build(self, sources, present)
            if self.pretrain is not None:
                rows = some_rows(train_rows)
                pretrain(network, sources, present, rows, self.pretrain, self.activation, self.batch_size)
            plan = plan_of(self, len(train_rows))
            self.history_ = []
            with tqdm(total=plan.epochs, disable=not self.verbose, unit="epoch") as bar:
                try:
                    train(
                        network,
                        training,
                        checked_on,
                        dropout,
                        weights,
                        plan,
                        lambda e: self._after_epoch(e, bar, network),
                    )
                except KeyboardInterrupt as interrupt:
                    if first:
                        self._keep(network)
                        keep_after(interrupt, self)
                    raise
        self._keep(network)

    def _set_columns(self, found: Modalities) -> None:
        self.modalities_ = tuple(found.data)
        self.means_, self.scales_ = {}, {}
        for name, a in found.data.items():
            rows = a if found.present[name].all() else a[found.present[name]]
            mean, variance = scaled_statistics(name, rows, self.scale == "columns")
            spread = variance if self.scale == "columns" else np.full_like(variance, variance.mean())
            self.means_[name], self.scales_[name] = mean, np.sqrt(np.where(spread > 0, spread, 1.0))
        self._columns = found.names
        self._dtypes = {name: a.dtype.name for name, a in found.data.items()}
        self.n_features_in_ = sum(map(len, self.means_.values()))
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        if self.modalities_ == ("X",) and found.names["X"] is not None:
            self.feature_names_in_ = found.names["X"]

    def _rebuilt(self) -> list[nn.Module]:
        return [rebuilt(self, self._encoder_widths)]

    def _keep(self, network: MultimodalNetwork, epoch: int | None = None) -> None:
        self.network_ = network.eval()
        self.best_epoch_ = best_epoch(self.history_) if epoch is None else epoch

    def _after_epoch(self, epoch: AutoencoderEpoch, bar: Any, network: MultimodalNetwork) -> bool:
        self.history_.append(
            {
                "epoch": epoch.number,
                "loss": epoch.loss,
                "validation_loss": epoch.validation_loss,
                "learning_rate": epoch.learning_rate,
            }
        )
        bar.update()
        shown = {"loss": f"{epoch.loss:.3f}"}
        if epoch.validation_loss is not None:
            shown["validation"] = f"{epoch.validation_loss:.3f}"
        bar.set_postfix(shown)
        return call_back(epoch, self.callbacks, self, lambda: self._keep(network, epoch.number))

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
        """The shared layer, and the modalities in their units."""
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
                raise NumericalError("the shared layer is NaN or infinite for finite input")
            codes.append(z.cpu().numpy())
        filled = {}
        for m, name in enumerate(self.modalities_ if decode else ()):
            scaled = np.concatenate([part[m] for part in parts])
            filled[name] = (scaled * self.scales_[name] + self.means_[name]).astype(self._dtypes[name])
        dtype = np.result_type(*found.data.values())
        return np.concatenate(codes).astype(dtype, copy=False), filled

    def transform(self, views: Any) -> NDArray[Any]:
        """The shared representation.

        Parameters
        ----------
        views : as for ``fit``
            Modalities may be left out or missing in rows, as long as every row has one.

        Returns
        -------
        ndarray of shape (n, n_components)
            float32 if every view is, else float64.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            For an unknown modality, a wrong number of features or of rows, a row without any modality, NaN
            or infinity inside a row.
        """
        return self._run(self._check(views), decode=False)[0]

    def reconstruct(self, views: Any) -> dict[str, NDArray[Any]]:
        """All modalities, from whichever are given.

        Parameters
        ----------
        views : as for ``transform``

        Returns
        -------
        dict of str to ndarray
            Every modality of the fit, (n, p_i), in its units and dtype; also those given, as the network sees
            them.
        """
        return self._run(self._check(views), decode=True)[1]

    def score(self, views: Any, y: Any = None, given: str | Sequence[str] | None = None) -> float:
        """How much of the modalities is reconstructed: 1 is all, 0 what their training means would do.

        Parameters
        ----------
        views : as for ``fit``
            What the reconstructions are held against; modalities may be left out.
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
        found = self._check(views)
        shown = found
        if given is not None:
            names = (given,) if isinstance(given, str) else tuple(given)
            unknown = [name for name in names if name not in found.data]
            if unknown or not names:
                raise ValueError(f"given must name some of {', '.join(found.data)}, got {given!r}")
            shown = self._check({name: found.data[name] for name in names})
        filled = self._run(shown, decode=True)[1]
        shares = []
        for name, a in found.data.items():
            rows = found.present[name]
            target = a[rows].astype(np.float64)
            error = np.square(filled[name][rows] - target).sum()
            reference = np.square(target - self.means_[name]).sum()
            shares.append(1 - error / reference if reference > 0 else float(error == 0))
        return float(np.mean(shares))

    @property
    def _n_features_out(self) -> int:  # read by get_feature_names_out
        return self.n_components

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
