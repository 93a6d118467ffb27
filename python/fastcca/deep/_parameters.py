"""What the deep estimators check of their parameters, and the PyTorch that they run in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastcca._arguments.parameters import check_n_threads

__all__ = [
    "check_parameters",
    "check_positive",
    "is_number",
    "rows_like",
    "torch_environment",
]


def check_parameters(
    model: Any,
    choices: Mapping[str, tuple[Any, ...]],
    *,
    positive_integers: Sequence[str],
    optional: Sequence[str],
    not_negative: Sequence[str],
    shares: Sequence[str],
) -> None:
    """Raises a ValueError that names the first parameter out of its range.

    ``choices`` are the allowed values by name, ``optional`` the positive integers that may be None,
    ``shares`` lie in [0, 1). ``learning_rate`` must be positive. What every deep estimator has besides,
    ``callbacks``, ``device`` and ``n_threads``, is checked too.
    """

    def refuse(name: str, expected: str) -> ValueError:
        return ValueError(f"{name} must be {expected}, got {getattr(model, name)!r}")

    for name, allowed in choices.items():
        value = getattr(model, name)
        if not any(value is a or (isinstance(value, str) and value == a) for a in allowed):
            raise refuse(name, "one of " + ", ".join(map(repr, allowed)))
    for name in (*positive_integers, *optional):
        value = getattr(model, name)
        if value is None and name in optional:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise refuse(name, "a positive integer")
    for name in not_negative:
        if not is_number(getattr(model, name)) or not 0 <= getattr(model, name) < np.inf:
            raise refuse(name, "finite and not negative")
    check_positive("learning_rate", model.learning_rate)
    for name in shares:
        if not is_number(getattr(model, name)) or not 0 <= getattr(model, name) < 1:
            raise refuse(name, "in [0, 1)")
    if not isinstance(model.callbacks, Sequence) or not all(map(callable, model.callbacks)):
        raise refuse("callbacks", "a sequence of callables")
    check_n_threads(model.n_threads)
    try:
        if model.device is None:  # which torch.device takes for its default
            raise TypeError("it is None")
        torch.empty(0, device=torch.device(model.device))
    # PyTorch asserts that it was built for CUDA, and raises RuntimeError for most else
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise refuse("device", "one that PyTorch has here") from error


def is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def check_positive(name: str, value: Any) -> None:
    if not is_number(value) or not 0 < value < np.inf:
        raise ValueError(f"{name} must be positive, got {value!r}")


def rows_like(weight: Tensor, X: Any) -> Tensor:
    """``X`` as finite rows for a layer of these weights, of their width, dtype and device."""
    x = torch.as_tensor(X if isinstance(X, Tensor) else np.asarray(X)).detach()
    x = x.to(weight.device, weight.dtype)
    if x.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"X must have shape (n, {weight.shape[1]}), got {tuple(x.shape)}")
    if not len(x):
        raise ValueError("X has no rows")
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"X contains NaN, infinity or numbers beyond {str(x.dtype).removeprefix('torch.')}")
    return x


@contextmanager
def torch_environment(seed: int, n_threads: int | None, device: torch.device) -> Iterator[None]:
    """The generators of the CPU and of ``device`` started from ``seed``, PyTorch's threads set.

    Both are as before afterwards. The generators of other devices are not touched.
    """
    before = torch.get_num_threads()
    # Layers such as dropout draw from the devices' own generators: those take the states of local ones.
    kept = [(d, _generator_state(d)) for d in {torch.device("cpu"), device} if _has_generator(d)]
    try:
        for d, _ in kept:
            _set_generator_state(d, torch.Generator(device=d).manual_seed(seed).get_state())
        if n_threads is not None:
            torch.set_num_threads(n_threads)
        yield
    finally:
        torch.set_num_threads(before)
        for d, state in kept:
            _set_generator_state(d, state)


def _has_generator(device: torch.device) -> bool:
    return device.type == "cpu" or hasattr(getattr(torch, device.type, None), "set_rng_state")


def _generator_state(device: torch.device) -> Tensor:
    state: Tensor
    if device.type == "cpu":
        state = torch.random.get_rng_state()
    elif device.type == "mps":  # there is one only
        state = torch.mps.get_rng_state()
    else:
        state = getattr(torch, device.type).get_rng_state(device)
    return state


def _set_generator_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cpu":
        torch.random.set_rng_state(state)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        getattr(torch, device.type).set_rng_state(state, device)
