"""The contract of every fit, for PyTorch: one that does not return changes no weight and no setting."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from itertools import chain
from typing import Any

import torch
from torch import nn

from fastcca._models.atomic_fit import NOTED

__all__ = ["AtomicModule"]

DEVICES = ("cpu", "cuda")


def settings() -> Callable[[], None]:
    """Note PyTorch's settings that a training changes for a time; the function returned puts them back."""
    gradients, threads, depth = torch.is_grad_enabled(), torch.get_num_threads(), _autocasts()
    autocast = [(d, torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in DEVICES]

    def restore() -> None:
        torch.set_grad_enabled(gradients)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        for device, enabled, dtype in autocast:
            torch.set_autocast_enabled(device, enabled)
            torch.set_autocast_dtype(device, dtype)
        # Within an autocast that nobody leaves, later ones would go on with copies of weights of today.
        for _ in range(_autocasts() - depth):
            torch.autocast_decrement_nesting()
        if depth == 0:
            torch.clear_autocast_cache()

    return restore


def _autocasts() -> int:
    """How many contexts of autocast this thread is in."""
    # in one line, so that no interrupt comes between the two
    return (torch.autocast_increment_nesting(), torch.autocast_decrement_nesting())[1]


NOTED.append(settings)


class AtomicModule(nn.Module):
    """A module whose ``fit`` leaves parameters and buffers as they were if it fails or is interrupted."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        method = vars(cls).get("fit")
        if isfunction(method):
            cls.fit = _atomic(method)  # type: ignore[attr-defined]
        super().__init_subclass__(**kwargs)


def _atomic(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def atomic(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        before = [(tensor, tensor.detach().clone()) for tensor in chain(self.parameters(), self.buffers())]
        restore = settings()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            restore()
            with torch.no_grad():
                for tensor, value in before:
                    tensor.copy_(value)
            raise

    return atomic
