"""What the losses share on their way around PyTorch's dispatcher."""

from __future__ import annotations

from torch import Tensor

__all__ = ["is_one"]


def is_one(upstream: Tensor) -> bool:
    """Whether the value is at hand and 1, as after a plain ``loss.backward()``: a pass that can be spared."""
    if type(upstream) is not Tensor or upstream.device.type != "cpu":
        return False
    try:
        return bool(upstream.item() == 1)
    except RuntimeError:  # under vmap
        return False
