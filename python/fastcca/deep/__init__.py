"""Deep CCA of two views and of many, multimodal autoencoders: losses, encoders, pretraining, estimators.

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

from fastcca.deep.deep_cca import DeepCCA, DeepCCAEpoch
from fastcca.deep.deep_gcca import DeepGCCA
from fastcca.deep.denoising import DenoisingAutoencoder
from fastcca.deep.label_embedding import DeepLabelEmbedding, LabelEmbeddingEpoch
from fastcca.deep.large_batch import large_batch_step
from fastcca.deep.losses import (
    ContrastiveLoss,
    CorrelationLoss,
    HingeEmbeddingLoss,
    PairEmbeddingLoss,
    SigmoidContrastiveLoss,
    UnifiedSemanticLoss,
)
from fastcca.deep.multimodal import AutoencoderEpoch, MultimodalAutoencoder
from fastcca.deep.networks import MLP, GaussianNoise, NonSaturatingSigmoid
from fastcca.deep.rbm import RBM
from fastcca.deep.record import record

__all__ = [
    "MLP",
    "RBM",
    "AutoencoderEpoch",
    "ContrastiveLoss",
    "CorrelationLoss",
    "DeepCCA",
    "DeepCCAEpoch",
    "DeepGCCA",
    "DeepLabelEmbedding",
    "DenoisingAutoencoder",
    "GaussianNoise",
    "HingeEmbeddingLoss",
    "LabelEmbeddingEpoch",
    "MultimodalAutoencoder",
    "NonSaturatingSigmoid",
    "PairEmbeddingLoss",
    "SigmoidContrastiveLoss",
    "UnifiedSemanticLoss",
    "large_batch_step",
    "load",
    "record",
]


def __getattr__(name: str) -> Any:
    if name == "load":  # the front door's, which reads the files of every class
        return getattr(sys.modules["fastcca"], name)
    raise AttributeError(f"module 'fastcca.deep' has no attribute {name!r}")
