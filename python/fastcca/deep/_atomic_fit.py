"""The contract of every fit for modules that train themselves: one that does not return changes no weight."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from itertools import chain
from typing import Any

import torch
from torch import nn

__all__ = ["AtomicModule"]


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
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            with torch.no_grad():
                for tensor, value in before:
                    tensor.copy_(value)
            raise

    return atomic
