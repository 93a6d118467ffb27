"""What the parameters of :class:`~fastcca.deep.DeepCCA` mean: which are allowed, and the plan they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from fastcca._arguments.parameters import check_reg
from fastcca._arguments.warn import warn
from fastcca.deep._parameters import check_parameters
from fastcca.deep._training import Plan, batches
from fastcca.deep.correlation_loss import CorrelationLoss

if TYPE_CHECKING:
    from fastcca.deep.deep_cca import DeepCCA

__all__ = ["check_settings", "hidden_pair", "plan_of", "warn_of_small_batches"]


def check_settings(model: DeepCCA) -> None:
    """Refuses parameters out of range, whatever the data; the message names the first."""
    check_parameters(
        model,
        {
            "optimizer": ("adam", "adamw", "lbfgs"),
            "schedule": ("cosine", "constant"),
            "pretrain": (None, "denoising"),
            "scale": ("view", "columns"),
            "dtype": ("float32", "float64"),
            "autocast": (None, "bfloat16"),
            "objective": ("trace", "squares"),
            "warm_start": (False, True),
            "verbose": (False, True),
        },
        positive_integers=("n_components", "batch_size"),
        optional=("epochs", "patience"),
        not_negative=("weight_decay", "input_noise", "reconstruction"),
        shares=("dropout", "validation_fraction"),
    )
    check_reg(model.reg)
    if model.batch_size < 2 and model.optimizer != "lbfgs":
        raise ValueError(
            f"batch_size must be at least 2 for a correlation within each batch, got {model.batch_size!r}"
        )
    if model.augment is not None and not callable(model.augment):
        raise ValueError(f"augment must be a callable or None, got {model.augment!r}")
    if model.encoders is not None:
        try:
            encoders = list(model.encoders)
        except TypeError:
            encoders = []
        if len(encoders) != 2 or not all(isinstance(e, nn.Module) for e in encoders):
            raise ValueError(f"encoders must be a pair of torch.nn.Module, got {model.encoders!r}")
    if model.pretrain is not None and model.encoders is not None:
        raise ValueError("pretrain works on the built-in networks: leave encoders None or pretrain None")


def plan_of(model: DeepCCA, n: int) -> Plan:
    """The training of ``n`` rows that the parameters ask for."""
    epochs = model.epochs
    if epochs is None:
        n_batches = batches(n, model.batch_size)[1]
        epochs = 100 if model.optimizer == "lbfgs" else int(np.clip(np.ceil(2000 / n_batches), 30, 300))
    return Plan(
        loss=CorrelationLoss(model.n_components, model.reg, model.objective),
        optimizer=model.optimizer,
        learning_rate=model.learning_rate,
        schedule=model.schedule,
        weight_decay=model.weight_decay,
        epochs=epochs,
        batch_size=model.batch_size,
        chunk=model.batch_size,
        patience=model.patience,
        reconstruction=model.reconstruction,
        autocast=torch.bfloat16 if model.autocast else None,
        augment=model.augment,
    )


def warn_of_small_batches(plan: Plan, n: int, n_outputs: int) -> None:
    """Where batches of n rows have no more rows than outputs, so that the loss cannot vary."""
    rows = n
    if plan.optimizer != "lbfgs":
        used, n_batches = batches(n, plan.batch_size)
        rows = -(-used // n_batches)
    if rows - 1 > n_outputs:
        return
    plan.loss._has_warned = True  # once is enough
    what = f"{n} training" if rows == n else f"batch_size={plan.batch_size} makes batches of {rows}"
    warn(
        f"{what} rows for networks with {n_outputs} outputs: their correlations are 1 by counting, whatever "
        f"the networks, but for reg={plan.loss.reg!r}; take at least ten times as many rows as components"
    )


def hidden_pair(hidden: Any) -> list[list[int]]:
    """The widths of the hidden layers of both networks."""
    try:
        nested = len(hidden) == 2 and all(np.ndim(h) == 1 for h in hidden)
        pair = [[int(w) for w in h] for h in (hidden if nested else (hidden, hidden))]
    except (TypeError, ValueError):
        pair = [[0]]
    if any(w < 1 for layers in pair for w in layers):
        raise ValueError(f"hidden must be widths of layers, or a pair of such, got {hidden!r}")
    return pair
