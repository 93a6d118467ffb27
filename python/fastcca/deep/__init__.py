"""Deep CCA and multimodal autoencoders in PyTorch: losses, encoders, pretraining, estimators.

Needs the extra ``deep``.
"""

import sys
from typing import Any

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "fastcca.deep needs PyTorch, which is not installed: pip install 'fastcca[deep]'"
    ) from error

from fastcca.deep.activations import NonSaturatingSigmoid
from fastcca.deep.correlation_loss import CorrelationLoss
from fastcca.deep.deep_cca import DeepCCA
from fastcca.deep.denoising import DenoisingAutoencoder
from fastcca.deep.encoders import MLP, GaussianNoise
from fastcca.deep.hinge_loss import HingeEmbeddingLoss, PairEmbeddingLoss
from fastcca.deep.multimodal import MultimodalAutoencoder
from fastcca.deep.rbm import RBM

__all__ = [
    "MLP",
    "RBM",
    "CorrelationLoss",
    "DeepCCA",
    "DenoisingAutoencoder",
    "GaussianNoise",
    "HingeEmbeddingLoss",
    "MultimodalAutoencoder",
    "NonSaturatingSigmoid",
    "PairEmbeddingLoss",
    "load",
]


def __getattr__(name: str) -> Any:
    if name == "load":  # the front door's, which reads the files of every class
        return getattr(sys.modules["fastcca"], name)
    raise AttributeError(f"module 'fastcca.deep' has no attribute {name!r}")
