"""Networks of paired views trained for the correlation of their outputs: what DeepCCA and DeepGCCA share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fastcca._arguments.arrays import refuse_non_finite
from fastcca._arguments.parameters import FLAG, NOT_NEGATIVE, Constraint, anything, choice
from fastcca._models.multi_view import scaled_statistics
from fastcca.deep._base import OWN_TRAINING, SHARED, DeepEstimator, or_callable
from fastcca.deep._batches import Batches, attach_generators, batches_of, holds_batches, split_batches
from fastcca.deep._correlation_training import (
    Encoders,
    Plan,
    check_outputs,
    epochs_of,
    epochs_of_batches,
    outputs_of,
    warn_of_small_batches,
)
from fastcca.deep._fitted_modules import ScoringModule, Standardizer
from fastcca.deep._pretraining import LinearMap, pretrain_encoders
from fastcca.deep._training import Source, encode, tried
from fastcca.deep.losses.correlation import CorrelationLoss
from fastcca.deep.networks import MLP, evaluation
from fastcca.errors import NumericalError

__all__ = ["CorrelationEstimator", "ScaledView"]


class ScaledView(NamedTuple):
    """A view, with what it is centred and divided by."""

    data: NDArray[Any]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    scale: NDArray[np.float64]


class CorrelationEstimator(DeepEstimator):
    """An estimator with a network before each view.

    A subclass checks its data and calls :meth:`_fit_views` or :meth:`_fit_batches`. It says what its views
    are called and which networks, loss and linear model they have, and sets the attributes of its fit.
    """

    _own_modules = ("encoders",)
    _constraints: ClassVar = {
        **SHARED,
        **OWN_TRAINING,
        "encoders": anything("networks of your own"),
        "optimizer": or_callable(choice("adam", "adamw", "lbfgs")),
        "pretrain": choice(None, "denoising"),
        "warm_start": FLAG,
        "reconstruction": NOT_NEGATIVE,
        "augment": Constraint("a callable", callable).or_none,
    }
    _default_batches = (2000, 30, 300)

    n_components: int
    hidden: Any
    activation: str | Callable[[], nn.Module]
    encoders: Any
    optimizer: Any
    batch_size: int
    input_noise: float
    augment: Callable[..., Sequence[torch.Tensor]] | None
    dropout: float
    pretrain: str | None
    reconstruction: float
    scale: str
    dtype: str
    warm_start: bool

    _of_batches: bool = False

    # ---- what a subclass gives

    def _names(self) -> Sequence[str]:
        """Of the views."""
        raise NotImplementedError

    def _given_encoders(self) -> list[nn.Module | None]:
        """The user's own network of each view, None where it is built here."""
        raise NotImplementedError

    def _fitted_encoders(self) -> list[nn.Module] | None:
        """Of each view; None before the first fit."""
        raise NotImplementedError

    def _hidden_widths(self) -> list[list[int]]:
        """Of the hidden layers before each view."""
        raise NotImplementedError

    def _loss(self) -> CorrelationLoss:
        raise NotImplementedError

    def _linear_model(self, outputs: list[NDArray[np.float64]], n_components: int, ridge: float) -> Any:
        """The linear model of outputs; the ridge is relative to their variances."""
        raise NotImplementedError

    def _output_maps(self, model: Any) -> list[LinearMap]:
        """What that maps the outputs of each view by."""
        raise NotImplementedError

    def _scaling(self) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """What each view is centred by and divided by."""
        raise NotImplementedError

    def _set_scaling(self, views: Sequence[ScaledView]) -> None:
        raise NotImplementedError

    def _set_encoders(self, encoders: list[nn.Module]) -> None:
        raise NotImplementedError

    def _set_linear_model(self, outputs: list[NDArray[np.float64]], model: Any) -> None:
        """The attributes that follow from the linear model of the outputs on all training rows."""
        raise NotImplementedError

    def _set_statistics_of(self, views: Sequence[ScaledView], outputs: list[NDArray[np.float64]]) -> None:
        """Those that follow from the views' columns."""
        raise NotImplementedError

    def _set_statistics_of_outputs(self, outputs: list[NDArray[np.float64]]) -> None:
        """The same after a fit to batches, where the outputs of the networks stand for the views."""
        raise NotImplementedError

    # ---- fits

    def _fit_views(
        self,
        data: Sequence[NDArray[Any]],
        held_out: Sequence[NDArray[Any]] | None,
        groups: Any,
        checkpoint: Any,
    ) -> None:
        """The fit to checked rows, and others to choose the best epoch by."""
        self._of_batches = False
        views = [self._scaled_view(name, rows) for name, rows in zip(self._names(), data, strict=True)]
        with self._environment() as random:
            networks = self._networks([rows.shape[1] for rows in data])
            rows, validation_rows = self._split(len(data[0]), held_out, groups, random)
            checked_on = None if validation_rows is None else (self._sources(views), validation_rows)
            if held_out is not None:
                checked_on = self._sources(views, held_out), np.arange(len(held_out[0]))
            sources, plan = self._sources(views), self._plan(len(rows))
            self._prepare(networks, sources, plan, rows)
            self._set_scaling(views)
            means, scales = zip(*self._scaling(), strict=True)
            saved = self._open_checkpoint(checkpoint, networks, [rows, *means, *scales])
            epochs = epochs_of(networks, sources, plan, rows, checked_on, saved)
            self._train(networks, plan, epochs, lambda: self._finish(networks, sources, views, plan), saved)

    def _fit_batches(self, data: Any, validation: Any, groups: Any, checkpoint: Any) -> None:
        """The fit to paired inputs that come in batches."""
        if self.encoders is None or any(encoder is None for encoder in self._given_encoders()):
            raise ValueError(
                "data in batches are for encoders of your own: give encoders, a network for each view"
            )
        for name, other in (("optimizer", "lbfgs"), ("pretrain", "denoising")):
            if getattr(self, name) == other:
                raise ValueError(f"{name}={other!r} takes arrays, not batches")
        if self.reconstruction:
            raise ValueError("reconstruction takes arrays, not batches")
        if validation is not None and not holds_batches(validation):
            raise ValueError("validation must be views in batches, as those to train on are")
        self._of_batches = True
        with self._environment() as random:
            fraction = 0.0 if validation is not None else self.validation_fraction
            training, aside, rows = split_batches(data, fraction, self._least_validation_rows, groups, random)
            paired = self._batches(training, shuffled=True)
            everything = self._batches(data)
            held_out = aside if validation is None else validation
            checked_on = None if held_out is None else self._batches(held_out)
            networks = self._networks([0] * len(self._names()))
            self._try_batch(networks, paired)
            plan = self._plan(len(training) if rows is not None else paired.n_batches * self.batch_size)
            saved = self._open_checkpoint(checkpoint, networks, [] if rows is None else [rows])
            attach_generators(saved, data)
            epochs = epochs_of_batches(networks, paired, plan, checked_on, saved)
            self._train(networks, plan, epochs, lambda: self._finish_batches(networks, everything), saved)

    def _batches(self, data: Any, *, shuffled: bool = False, n_views: int | None = None) -> Batches:
        """Batches of all views, or of the first ``n_views``."""
        names, place = self._names(), (torch.device(self.device), getattr(torch, self.dtype))
        n_views = n_views or len(names)
        return batches_of(data, n_views, self.batch_size, *place, shuffled=shuffled, names=names[:n_views])

    # ---- the parts of a fit

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.batch_size < 2 and self.optimizer != "lbfgs":
            raise ValueError(
                f"batch_size must be at least 2 for a correlation within each batch, got {self.batch_size!r}"
            )
        self._check_encoders()
        if self.pretrain is not None and self.encoders is not None:
            raise ValueError("pretrain works on the built-in networks: leave encoders None or pretrain None")

    def _check_encoders(self) -> None:
        """Refuses ``encoders`` that are not networks of the views."""
        raise NotImplementedError

    @property
    def _least_validation_rows(self) -> int:  # type: ignore[override]
        return max(100, 5 * self.n_components)

    def _scaled_view(self, name: str, data: NDArray[Any]) -> ScaledView:
        mean, variance = scaled_statistics(name, data, self.scale == "columns")
        if not variance.any():
            raise NumericalError(f"every column of {name} is constant: there is nothing to correlate")
        if self.scale == "columns":
            scale = np.sqrt(np.where(variance > 0, variance, 1.0))
        else:
            scale = np.full_like(variance, np.sqrt(variance.mean()))
        return ScaledView(data, mean, variance, scale)

    def _sources(
        self, views: Sequence[ScaledView], data: Sequence[NDArray[Any]] | None = None
    ) -> list[Source]:
        """The views' rows, or those of other data, centred and scaled as the views are."""
        device, dtype = torch.device(self.device), getattr(torch, self.dtype)
        rows = [view.data for view in views] if data is None else data
        return [Source(a, v.mean, v.scale, device, dtype) for a, v in zip(rows, views, strict=True)]

    def _plan(self, n: int) -> Plan:
        schedule = self._schedule(n)
        if self.n_epochs is None and self.optimizer == "lbfgs":
            schedule["n_epochs"] = 100
        return Plan(
            **schedule,
            loss=self._loss(),
            views=self._names(),
            chunk=self.batch_size,
            reconstruction=self.reconstruction,
            augment=self.augment,
        )

    def _networks(self, widths: Sequence[int]) -> Encoders:
        """Of views of these widths, before the training."""
        fitted = self._fitted_encoders() if self.warm_start else None
        if fitted is None:
            encoders = self._built_encoders(widths)
        else:
            # at once: what several share stays shared
            encoders = copy.deepcopy(fitted)
            for encoder, own in zip(encoders, self._given_encoders(), strict=True):
                # fitted, they are in evaluation mode throughout
                given = {} if own is None else dict(own.named_modules())
                for name, part in encoder.named_modules():
                    part.training = given[name].training if name in given else True
        return Encoders(encoders, []).to(torch.device(self.device), getattr(torch, self.dtype))

    def _built_encoders(self, widths: Sequence[int]) -> list[nn.Module]:
        own = copy.deepcopy(self._given_encoders())
        return [
            MLP(width, [*layers, self.n_components], self.activation, self.input_noise, self.dropout)
            if encoder is None
            else encoder
            for encoder, width, layers in zip(own, widths, self._hidden_widths(), strict=True)
        ]

    def _prepare(self, networks: Encoders, sources: list[Source], plan: Plan, rows: NDArray[np.intp]) -> None:
        """Tries the encoders on two rows, adds the decoders of their outputs, and pretrains."""
        widths = []
        for name, encoder, source in zip(plan.views, networks.encoders, sources, strict=True):
            given = f"rows of {source.data.shape[1]} features"
            with tried(f"the encoder of {name}", given), evaluation(encoder):
                outputs = encode(encoder, source, plan.chunk, rows[:2])
            widths.append(self._output_width(name, outputs))
        warn_of_small_batches(plan, len(rows), max(widths))
        if self.reconstruction:
            hidden = [
                layers if own is None else [256]
                for own, layers in zip(self._given_encoders(), self._hidden_widths(), strict=True)
            ]
            networks.decoders.extend(
                MLP(n, [*reversed(layers), source.data.shape[1]], self.activation)
                for n, layers, source in zip(widths, hidden, sources, strict=True)
            )
            networks.to(sources[0].device, sources[0].dtype)
        if self.pretrain == "denoising" and not (self.warm_start and self._fitted_encoders() is not None):
            pretrain_encoders(
                networks.encoders,
                sources,
                rows,
                plan.optimizer,
                plan.chunk,
                lambda outputs, k, ridge: self._output_maps(self._linear_model(outputs, k, ridge)),
            )

    def _try_batch(self, networks: Encoders, paired: Batches) -> None:
        """Tries the encoders on the first batch."""
        first = next(iter(paired))
        for name, encoder, x in zip(self._names(), networks.encoders, first, strict=True):
            with tried(f"the encoder of {name}", "the first batch"), evaluation(encoder), torch.no_grad():
                outputs = encoder(x)
            self._output_width(name, outputs)

    def _output_width(self, name: str, outputs: Any) -> int:
        width = outputs.shape[1] if isinstance(outputs, torch.Tensor) and outputs.ndim == 2 else -1
        if width < self.n_components:
            found = "no (rows, outputs) matrix" if width < 0 else f"{width} outputs"
            raise ValueError(
                f"the encoder of {name} returns {found}, fewer than n_components={self.n_components}"
            )
        return width

    def _finish(
        self, networks: Encoders, sources: list[Source], views: Sequence[ScaledView], plan: Plan
    ) -> None:
        """The linear model of the outputs on all rows, and the statistics of every estimator of its kind."""
        tensors = [encode(e.eval(), s, plan.chunk) for e, s in zip(networks.encoders, sources, strict=True)]
        check_outputs(tensors, "the trained model", plan.views)
        outputs = [H.cpu().numpy().astype(np.float64) for H in tensors]
        self._keep(networks, outputs)
        self._set_statistics_of(views, outputs)

    def _finish_batches(self, networks: Encoders, everything: Batches) -> None:
        """The same of batches."""
        tensors = outputs_of([e.eval() for e in networks.encoders], everything, self._names())
        outputs = [H.numpy() for H in tensors]
        self._keep(networks, outputs)
        self._set_statistics_of_outputs(outputs)

    def _keep(self, networks: Encoders, outputs: list[NDArray[np.float64]]) -> None:
        self._set_encoders(list(networks.encoders))
        # A trace of ridge: outputs that training made collinear are no reason to fail.
        self._set_linear_model(outputs, self._linear_model(outputs, self.n_components, 1e-8))

    # ---- the fitted model

    def _outputs(self, k: int, data: NDArray[Any]) -> NDArray[np.float64]:
        """Outputs of the network of view k for checked rows."""
        name, encoders = self._names()[k], self._fitted_encoders()
        assert encoders is not None
        refuse_non_finite(name, data)
        parameter = next(encoders[k].parameters(), torch.empty(0, dtype=getattr(torch, self.dtype)))
        source = Source(data, *self._scaling()[k], parameter.device, parameter.dtype)
        outputs = encode(encoders[k], source, self.batch_size)
        if not bool(torch.isfinite(outputs).all()):
            raise NumericalError(f"the encoder of {name} returned NaN or infinity for finite input")
        return outputs.cpu().numpy().astype(np.float64)

    def _outputs_of_batches(self, data: Any) -> list[NDArray[np.float64]]:
        """Outputs of all networks for views in batches."""
        encoders = self._fitted_encoders()
        assert encoders is not None
        return [H.numpy() for H in outputs_of(encoders, self._batches(data), self._names())]

    def _outputs_of_view(self, k: int, data: Any) -> NDArray[np.float64]:
        """Outputs for one view's rows after a fit to batches, or for its part of views in batches."""
        encoders = self._fitted_encoders()
        assert encoders is not None
        if holds_batches(data):
            inputs: Iterable[Any] = (batch[k : k + 1] for batch in self._batches(data, n_views=k + 1))
        else:
            whole = Batches([[data]], 1, torch.device(self.device), getattr(torch, self.dtype)).moved(data)
            parts = torch.split(whole, self.batch_size) if isinstance(whole, torch.Tensor) else [whole]
            inputs = ([part] for part in parts)
        (outputs,) = outputs_of([encoders[k]], inputs, [self._names()[k]])
        return outputs.numpy()

    def _module_of(self, k: int, model: Any) -> nn.Module:
        """The map of view k, from rows in its units to scores."""
        encoders, dtype = self._fitted_encoders(), getattr(torch, self.dtype)
        assert encoders is not None
        standardizer: nn.Module = nn.Identity()
        if not self._of_batches:
            standardizer = Standardizer(*self._scaling()[k], dtype)
        return ScoringModule(
            standardizer, copy.deepcopy(encoders[k]), *self._output_maps(model)[k], dtype
        ).eval()
