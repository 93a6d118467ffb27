"""What fitted estimators compute, from data in their units on, as one module of PyTorch each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["FillingModule", "LabelModule", "ScoringModule", "Standardizer"]


class Standardizer(nn.Module):
    """(x - mean) / scale, in float64 up to ``dtype``, and back."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: NDArray[Any], scale: NDArray[Any], dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.register_buffer("mean", _double(mean))
        self.register_buffer("scale", _double(scale))

    def forward(self, x: Tensor) -> Tensor:
        return ((x.double() - self.mean) / self.scale).to(self.dtype)

    def inverse(self, x: Tensor) -> Tensor:
        return (x.double() * self.scale + self.mean).to(self.dtype)


class ScoringModule(nn.Module):
    """The scaling of a view (or none), its network, and the linear CCA of the outputs."""

    weights: Tensor
    offset: Tensor

    def __init__(
        self,
        standardizer: nn.Module,
        encoder: nn.Module,
        output_mean: NDArray[Any],
        weights: NDArray[Any],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.standardizer, self.encoder, self.dtype = standardizer, encoder, dtype
        # z = (h - m) W = h W - m W
        self.register_buffer("weights", _double(weights))
        self.register_buffer("offset", _double(-np.asarray(output_mean, np.float64) @ weights))

    def forward(self, x: Any) -> Tensor:
        scores: Tensor = self.encoder(self.standardizer(x)).double() @ self.weights + self.offset
        return scores.to(self.dtype)


class FillingModule(nn.Module):
    """Modalities by name, some of them missing, to the joint representation or to all modalities."""

    def __init__(
        self,
        network: nn.Module,
        standardizers: Mapping[str, Standardizer],
        decoding: bool,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.network, self.decoding, self.dtype = network, decoding, dtype
        self.names = list(standardizers)
        self.standardizers = nn.ModuleList(standardizers.values())

    def forward(self, views: dict[str, Tensor]) -> Tensor | dict[str, Tensor]:
        unknown = [name for name in views if name not in self.names]
        if unknown or not views:
            found = f"an unknown modality {unknown[0]!r}" if unknown else "none"
            raise ValueError(f"views must name some of {', '.join(self.names)}, got {found}")
        inputs: list[Tensor | None] = []
        given: list[Tensor] = []
        like = next(iter(views.values()))
        for name, standardizer in zip(self.names, self.standardizers, strict=True):
            if name not in views:
                inputs.append(None)
                given.append(torch.zeros_like(like.flatten(1)[:, 0], dtype=self.dtype))
                continue
            x = views[name].flatten(1)
            present = ~x.isnan().all(dim=1)
            inputs.append(torch.where(present[:, None], standardizer(x), 0.0))
            given.append(present.to(self.dtype))
        z: Tensor = self.network.encode(inputs, torch.stack(given, dim=1))  # type: ignore[operator]
        if not self.decoding:
            return z
        outputs = self.network.decode(z)  # type: ignore[operator]
        return {
            name: standardizer.inverse(out)  # type: ignore[operator]
            for name, standardizer, out in zip(self.names, self.standardizers, outputs, strict=True)
        }


class LabelModule(nn.Module):
    """The scaling of rows, their network, and what a label embedding makes of its outputs.

    ``method`` is "transform", "decision_function" or "predict_proba" of the estimator.
    """

    centre: Tensor
    labels: Tensor
    offset: Tensor

    def __init__(
        self,
        standardizer: Standardizer,
        encoder: nn.Module,
        labels: NDArray[Any],
        offset: NDArray[Any] | float,
        temperature: float,
        euclidean: bool,
        method: str,
    ) -> None:
        super().__init__()
        self.standardizer, self.encoder = standardizer, encoder
        self.euclidean, self.method, self.temperature = euclidean, method, temperature
        self.dtype = standardizer.dtype
        U = np.asarray(labels, np.float64)
        # about the labels' mean, where less is lost to cancellation
        centre = U.mean(axis=0) if euclidean else np.zeros(U.shape[1])
        self.register_buffer("centre", _double(centre))
        self.register_buffer("labels", _double(U - centre))
        self.register_buffer("offset", _double(np.broadcast_to(offset, len(U))))

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.encoder(self.standardizer(x)).double()
        if self.method != "transform":
            z = self._decisions(z)
        return z.to(self.dtype)

    def _decisions(self, z: Tensor) -> Tensor:
        z = z - self.centre
        decisions: Tensor = z @ self.labels.T
        # What is the same for all labels changes neither differences nor probabilities.
        relative = self.method == "predict_proba" or len(self.labels) == 2
        if self.euclidean:  # -‖z - u‖² = 2 z·u - ‖u‖² - ‖z‖²
            decisions = 2 * decisions - self.labels.square().sum(1)
            if not relative:
                decisions = (decisions - z.square().sum(1, keepdim=True)).clamp(max=0)
        decisions = decisions + self.offset
        if self.method == "predict_proba":
            return torch.softmax(decisions / self.temperature, dim=1)
        return decisions[:, 1] - decisions[:, 0] if relative else decisions


def _double(a: Any) -> Tensor:
    return torch.from_numpy(np.array(a, np.float64, order="C"))  # a copy
