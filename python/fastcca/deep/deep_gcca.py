"""Deep generalised CCA of any number of views as a scikit-learn estimator."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import nn

from fastcca._arguments.modalities import Modalities, check_modalities, of_view, per_view
from fastcca._arguments.parameters import anything, choice
from fastcca._models.files import Schema
from fastcca._models.multi_view import MultiViewModel, statistics_of_views
from fastcca.cca.multiview import GCCA
from fastcca.deep._base import (
    MakesOptimizer,
    MakesScheduler,
    refuse_both,
)
from fastcca.deep._batches import holds_batches
from fastcca.deep._correlation_model import CorrelationEstimator, ScaledView
from fastcca.deep._correlation_training import DeepCCAEpoch
from fastcca.deep._docs import documented
from fastcca.deep._pretraining import LinearMap
from fastcca.deep.losses.correlation import CorrelationLoss
from fastcca.deep.networks import layer_widths

__all__ = ["DeepGCCA"]

HIDDEN = (1024, 1024, 1024)


@documented
class DeepGCCA(CorrelationEstimator, MultiViewModel):
    r"""Deep generalised CCA: networks before any number of views, and what all their outputs have in common.

    Networks :math:`f_k` of K views are trained such that a common representation G of r = ``n_components``
    orthonormal columns is predicted best by linear maps of all outputs together (MAXVAR),

    .. math:: \min_{f_k, U_k, G^T G = I} \; \sum_k \|G - f_k(X_k) U_k\|_F^2 + (n - 1) \, r_k \|U_k\|_F^2,

    with the ridges :math:`r_k` = ``reg``. For given networks the minimum is K r minus the r largest
    eigenvalues of the sum of the regularised projections onto the outputs, whose gradient has a closed form.
    A linear :class:`fastcca.GCCA` of the outputs, which orders the components, is part of ``transform``.
    Views are centred and scaled inside. Of two views it is :class:`DeepCCA`, with eigenvalues 1 + ρ.

    Parameters
    ----------
    n_components : int, default=10
        Number of components: the outputs of the networks.
    hidden : sequence of int or mapping of str to such, default=(1024, 1024, 1024)
        Widths of the hidden layers of the networks, the same for all or by name.
    activation : str or callable, default="relu"
        As for :class:`MLP`.
    encoders : mapping of str to torch.nn.Module, or sequence of such, optional
        Networks of your own for some views, by name, or for all of them in their order, with at least
        ``n_components`` outputs, as for :class:`DeepCCA`.
    reg : float, mapping of str to float or sequence of float, default=1e-3
        Added to the diagonals of the outputs' covariances in the loss: for all views, by name (1e-3 for those
        not named), or in the order of the views.
    objective : {"maxvar", "trace_norm", "frobenius"}, default="maxvar"
        The error of the common representation, or minus the sum over all pairs of views of their correlations
        or of the squares of these (:class:`CorrelationLoss`).
    augment : callable, optional
        Random changes of the training batches: called with the scaled inputs of a minibatch, a tensor for
        each view, it returns all of them changed.
    reconstruction : float, default=0.0
        Weight of the squared error of reconstructing the views from the outputs.
    pretrain : {None, "denoising"}, default=None
        As for :class:`DeepCCA`, the outputs by a linear GCCA of the last hidden layers.
    optimizer, learning_rate, schedule, n_epochs, batch_size, weight_decay, clip_norm, compile
        As for :class:`DeepCCA`.
    input_noise, dropout, validation_fraction, patience, scale, device, dtype, autocast, warm_start
        As for :class:`DeepCCA`.
    random_state, verbose, callbacks, n_threads
        As for :class:`DeepCCA`.

    Attributes
    ----------
    views_ : tuple of str
        Names of the views, in the order of the fit.
    encoders_ : torch.nn.ModuleList
        The trained networks in the order of ``views_``, in evaluation mode.
    gcca_ : GCCA
        The linear GCCA of their outputs on all training rows.
    eigenvalues_ : ndarray of shape (n_components_,)
        Its eigenvalues: in how many of the outputs a component of the common representation is found.
    history_ : list of dict
        Per epoch: ``epoch``, ``loss``, ``learning_rate``, ``train_correlation``, ``validation_correlation``,
        as of :class:`DeepCCAEpoch`.
    {best_epoch_}
    means_, scales_ : dict of str to ndarray
        What the columns of a view are centred by and divided by. After a fit to views in batches the outputs
        of the networks stand for the views, here and in all below.
    canonical_correlations_, pairwise_correlations_, loadings_, n_components_, n_features_in_
        As of :class:`fastcca.GCCA`, for the training rows.

    Notes
    -----
    Views are given as a mapping from names to arrays or as a sequence of arrays (named "view0", "view1",
    ...). The networks are trained on rows that have every view; ``common_variate`` and ``predict_views`` take
    rows that lack some.

    {interrupting}

    See Also
    --------
    fastcca.GCCA : The same of linear maps.
    DeepCCA : Of two views, by their names X and y.

    References
    ----------
    Benton, Khayrallah, Gujral, Reisinger, Zhang & Arora, "Deep generalized canonical correlation analysis",
    RepL4NLP 2019 (first arXiv:1702.02519, 2017). Horst, "Generalized canonical correlations and their
    applications to experimental data", Journal of Clinical Psychology 17, 1961, and Kettenring, "Canonical
    analysis of several sets of variables", Biometrika 58, 1971 (MAXVAR).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.deep import DeepGCCA
    >>> rng = np.random.default_rng(0)
    >>> angle = rng.uniform(0, 2 * np.pi, 600)
    >>> turns = {"once": 1, "twice": 2, "four times": 4}  # no linear correlation between any two
    >>> views = {
    ...     name: np.column_stack([np.cos(m * angle), np.sin(m * angle)]) + 0.05 * rng.normal(size=(600, 2))
    ...     for name, m in turns.items()
    ... }
    >>> train, test = ({name: v[part] for name, v in views.items()} for part in (np.s_[:500], np.s_[500:]))
    >>> model = DeepGCCA(2, hidden=(64, 64), n_epochs=60, input_noise=0.05, random_state=0).fit(train)
    >>> bool(model.score(test) > 0.75)
    True
    """

    _schema = Schema(
        "DeepGCCA", fields="eigenvalues_ scales_ history_ best_epoch_ gcca_ of_batches=_of_batches"
    )
    _saved_networks = ("encoders_",)
    _constraints: ClassVar = {
        **CorrelationEstimator._constraints,
        "objective": choice("maxvar", "trace_norm", "frobenius"),
        "reg": anything("a ridge for each view"),
    }

    encoders_: nn.ModuleList
    gcca_: GCCA
    scales_: dict[str, NDArray[np.float64]]
    eigenvalues_: NDArray[np.float64]

    def __init__(
        self,
        n_components: int = 10,
        hidden: Sequence[int] | Mapping[str, Sequence[int]] = HIDDEN,
        activation: str | Callable[[], nn.Module] = "relu",
        encoders: Mapping[str, nn.Module] | Sequence[nn.Module] | None = None,
        reg: float | Mapping[str, float] | Sequence[float] = 1e-3,
        objective: Literal["maxvar", "trace_norm", "frobenius"] = "maxvar",
        optimizer: Literal["adam", "adamw", "lbfgs"] | MakesOptimizer = "adam",
        learning_rate: float = 2e-3,
        schedule: Literal["cosine", "constant"] | MakesScheduler = "cosine",
        n_epochs: int | None = None,
        batch_size: int = 1000,
        weight_decay: float = 0.0,
        input_noise: float = 0.5,
        augment: Callable[..., Sequence[torch.Tensor]] | None = None,
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
        views: Any,
        y: Any = None,
        *,
        validation: Any = None,
        groups: ArrayLike | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> DeepGCCA:
        """Train the networks on rows of all views.

        Parameters
        ----------
        views : mapping of str to array_like of shape (n, p_i), sequence of such, or views in batches
            Rows of all views belong together; float32 and float64 arrays are read in place, a batch at a
            time. Views in batches are for ``encoders`` of your own, whatever these take: a ``Dataset`` of
            tuples in the order of the encoders, or of mappings from their names, which is shuffled and cut
            into batches here; a ``DataLoader`` or another iterable, whose batches are taken as they come in
            each epoch. Nothing is centred or scaled then.
        y : ignored
        validation : as ``views``, optional
            Other rows to choose the best epoch by, at least two; all rows of the fit are trained on then, and
            ``validation_fraction`` is not used. Nothing is set aside of a loader or an iterable.
        {groups}
        {checkpoint}

        Returns
        -------
        DeepGCCA
            Itself.

        Raises
        ------
        ValueError
            For parameters out of range, a single view, different numbers of rows, a row that lacks a view,
            NaN or infinity, encoders whose outputs do not serve or that have nothing to train, both
            ``validation`` and ``groups``.
        NumericalError
            If a network returns NaN or infinity (the message names the epoch and the view), a view is
            constant, or its variance overflows or underflows.
        """
        self._check_parameters()
        refuse_both(validation, groups)
        before = getattr(self, "views_", None)
        if holds_batches(views):
            own = self.encoders if self.encoders is not None else ()
            names = own if isinstance(own, Mapping) else [f"view{i}" for i in range(len(own))]
            self.views_ = tuple(names)
            if self.encoders is not None and len(own) < 2:
                raise ValueError(f"DeepGCCA takes two views or more, got encoders of {len(own)}")
            self._refuse_other_views(before)
            self._fit_batches(views, validation, groups, checkpoint)
            return self
        found, _ = self._check_fit(views, None)
        self._refuse_other_views(before)
        data, held_out = self._whole(found), None
        if validation is not None:
            widths = {name: a.shape[1] for name, a in found.data.items()}
            checked = check_modalities(validation, type(self).__name__, widths, self._columns)
            absent = [name for name in self.views_ if name not in checked.data]
            if absent:
                raise ValueError(f"validation must hold every view, it lacks {absent[0]!r}")
            held_out = self._whole(checked)
            if checked.n_rows < 2:
                raise ValueError("validation must have at least 2 rows for a correlation, got 1")
        self._fit_views(data, held_out, groups, checkpoint)
        return self

    def _refuse_other_views(self, before: tuple[str, ...] | None) -> None:
        if self.warm_start and before not in (None, self.views_):
            raise ValueError(
                f"warm_start goes on with the networks of {', '.join(before or ())}, but the views are "
                f"{', '.join(self.views_)}"
            )

    def _whole(self, found: Modalities) -> list[NDArray[Any]]:
        """The rows of all views in the order of the fit, none of which may lack one."""
        for name, present in found.present.items():
            if not present.all():
                raise ValueError(
                    f"row {int(np.argmin(present))} lacks view {name!r}: the networks are trained on rows "
                    "that have every view"
                )
        return [found.data[name] for name in self.views_]

    # ---- what the training asks for

    def _check_encoders(self) -> None:
        own = self.encoders
        modules = list(own.values()) if isinstance(own, Mapping) else own
        if own is not None and not (
            isinstance(modules, (list, tuple)) and all(isinstance(m, nn.Module) for m in modules)
        ):
            raise ValueError(f"encoders must map names to torch.nn.Module, or be a list of such, got {own!r}")

    def _names(self) -> Sequence[str]:
        return self.views_

    def _given_encoders(self) -> list[nn.Module | None]:
        own = self.encoders if self.encoders is not None else {}
        if not isinstance(own, Mapping):
            if len(own) != len(self.views_):
                raise ValueError(
                    f"encoders must be a network for each of {len(self.views_)} views, got {len(own)}"
                )
            own = dict(zip(self.views_, own, strict=True))
        return [of_view(own, name, self.views_, "encoders", None) for name in self.views_]

    def _fitted_encoders(self) -> list[nn.Module] | None:
        return list(self.encoders_) if hasattr(self, "encoders_") else None

    def _hidden_widths(self) -> list[list[int]]:
        given = (of_view(self.hidden, name, self.views_, "hidden", HIDDEN) for name in self.views_)
        widths = [layers for hidden in given if (layers := layer_widths(hidden)) is not None]
        if len(widths) < len(self.views_):
            raise ValueError(f"hidden must be widths of layers, or a mapping of such, got {self.hidden!r}")
        return widths

    def _loss(self) -> CorrelationLoss:
        regs = per_view(self.views_, self.reg, "reg", missing=1e-3)
        return CorrelationLoss(self.n_components, regs, self.objective)

    def _linear_model(self, outputs: list[NDArray[np.float64]], n_components: int, ridge: float) -> GCCA:
        regs = [float(ridge * H.var(axis=0).mean()) for H in outputs]
        named_outputs = dict(zip(self.views_, outputs, strict=True))
        return GCCA(n_components, reg=regs, n_threads=self.n_threads).fit(named_outputs)

    def _output_maps(self, model: GCCA) -> list[LinearMap]:
        return [(model.means_[name], model.weights_[name]) for name in self.views_]

    def _rebuilt(self) -> list[nn.Module]:
        return [nn.ModuleList(self._built_encoders(list(self._widths.values())))]

    def _scaling(self) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        return [(self.means_[name], self.scales_[name]) for name in self.views_]

    def _set_scaling(self, views: Sequence[ScaledView]) -> None:
        self.means_ = {name: view.mean for name, view in zip(self.views_, views, strict=True)}
        self.scales_ = {name: view.scale for name, view in zip(self.views_, views, strict=True)}

    def _set_encoders(self, encoders: list[nn.Module]) -> None:
        self.encoders_ = nn.ModuleList(encoders).eval()

    def _set_linear_model(self, outputs: list[NDArray[np.float64]], model: GCCA) -> None:
        self.gcca_, self.eigenvalues_ = model, model.eigenvalues_

    def _set_statistics_of(self, views: Sequence[ScaledView], outputs: list[NDArray[np.float64]]) -> None:
        scores = self.gcca_.transform(dict(zip(self.views_, outputs, strict=True)))
        z = np.hstack([scores[name] for name in self.views_])
        statistics = statistics_of_views(
            [view.data for view in views],
            [view.mean for view in views],
            [view.variance for view in views],
            None,
            lambda rows: z[rows],
            self.gcca_._common_factors,
        )
        self._set_view_statistics(statistics, [view.data.dtype for view in views])

    def _set_statistics_of_outputs(self, outputs: list[NDArray[np.float64]]) -> None:
        for name in _OF_VIEWS:
            setattr(self, name, getattr(self.gcca_, name))
        self.scales_ = {name: np.ones(H.shape[1]) for name, H in zip(self.views_, outputs, strict=True)}

    # ---- the fitted model

    def _check_rows(self, views: Any, *, whole: bool = False) -> Modalities:
        """Rows of some views; after a fit to batches the outputs of their networks."""
        check_is_fitted(self)
        if not self._of_batches:
            return super()._check_rows(views, whole=whole)
        if holds_batches(views):
            outputs = dict(zip(self.views_, self._outputs_of_batches(views), strict=True))
        else:
            given = (
                dict(views) if isinstance(views, Mapping) else {f"view{i}": v for i, v in enumerate(views)}
            )
            unknown = [name for name in given if name not in self.views_]
            if unknown or not given:
                found = f"an unknown view {unknown[0]!r}" if unknown else "none"
                raise ValueError(f"views must name some of {', '.join(map(repr, self.views_))}, got {found}")
            outputs = {
                name: self._outputs_of_view(self.views_.index(name), view) for name, view in given.items()
            }
        rows = {name: len(H) for name, H in outputs.items()}
        if len(set(rows.values())) > 1:
            told = ", ".join(f"{n} in {name!r}" for name, n in rows.items())
            raise ValueError(f"all views must have the same number of rows, got {told}")
        n = next(iter(rows.values()))
        data = {name: H.astype(self.dtype, copy=False) for name, H in outputs.items()}
        return Modalities(data, {name: np.ones(n, dtype=bool) for name in data}, dict.fromkeys(data), n)

    def _scores(self, name: str, data: NDArray[Any]) -> NDArray[Any]:
        H = data if self._of_batches else self._outputs(self.views_.index(name), data)
        scores = self.gcca_.transform_view(name, H.astype(np.float64, copy=False))
        return scores.astype(data.dtype, copy=False)

    def _rows_at_once(self, name: str, data: NDArray[Any]) -> int:
        return max(1, len(data))  # the networks are given batches

    def to_module(self, view: str) -> nn.Module:
        """The map of a view, from rows in its units to scores, as one module of PyTorch.

        Centring, scale, network and linear GCCA in one: what :meth:`transform_view` computes, for
        ``torch.export``, ONNX, TorchServe, a device.

        Parameters
        ----------
        view : str
            Which view.

        Returns
        -------
        torch.nn.Module
            In evaluation mode, with copies of all weights, in ``dtype``; its inputs are (rows, features), or
            what the encoder takes after a fit to views in batches.

        Raises
        ------
        ValueError
            For an unknown view.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from fastcca.deep import DeepGCCA
        >>> X = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
        >>> model = DeepGCCA(2, (8,), n_epochs=2, random_state=0).fit({"a": X, "b": X**3, "c": X[:, :3]})
        >>> rows, n = torch.from_numpy(X[:5]), torch.export.Dim("n")
        >>> program = torch.export.export(model.to_module("b"), (rows,), dynamic_shapes=({0: n},))
        >>> scores = program.module()(torch.from_numpy(X[:9]))
        >>> bool(np.allclose(scores.detach(), model.transform_view("b", X[:9]), atol=1e-5))
        True
        """
        check_is_fitted(self)
        if view not in self.views_:
            raise ValueError(f"view must be one of {', '.join(map(repr, self.views_))}, got {view!r}")
        return self._module_of(self.views_.index(view), self.gcca_)


# What a fit to views in batches has of the linear GCCA of the outputs.
_OF_VIEWS = (
    *("n_components_", "n_features_in_", "means_", "loadings_", "canonical_correlations_", "_columns"),
    *("pairwise_correlations_", "_score_covariances", "_column_covariances", "_column_variances"),
    "_common_factors",
)
