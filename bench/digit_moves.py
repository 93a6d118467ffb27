"""Random moves of images of digits, for ``augment`` of the deep models."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def moved(images: Tensor, degrees: float, pixels: float, stretch: float, share: float = 1.0) -> Tensor:
    """Images (n, 28, 28), each turned, shifted and stretched at random; what comes in is as the border.

    By up to ``degrees`` either way, up to ``pixels`` in each direction, and up to ``stretch``, a fraction, in
    height and width each; only a ``share`` of them at random, where that is below 1.
    """
    n = len(images)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(n, *shape) * 2 - 1

    on = 1.0 if share == 1 else (torch.rand(n, 1, 1) < share).float()
    angle = uniform(1, 1) * np.deg2rad(degrees) * on
    scale = 1 + uniform(2, 1) * stretch * on
    shift = uniform(2, 1) * pixels / 14 * on  # the image reaches from -1 to 1
    cos, sin = angle.cos(), angle.sin()
    turn = torch.cat([torch.cat([cos, -sin], dim=2), torch.cat([sin, cos], dim=2)], dim=1)
    affine = torch.cat([turn @ (scale * torch.eye(2)), shift], dim=2)
    grid = torch.nn.functional.affine_grid(affine, [n, 1, 28, 28], align_corners=False)
    out = torch.nn.functional.grid_sample(
        images.view(n, 1, 28, 28), grid, padding_mode="border", align_corners=False
    )
    return out.view(n, 28, 28)
