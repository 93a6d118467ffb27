"""Deep CCA and multimodal autoencoders in PyTorch: losses, encoders, pretraining, estimators.

Needs the extra ``deep``.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "fastcca.deep needs PyTorch, which is not installed: pip install 'fastcca[deep]'"
    ) from error

from fastcca.deep._files import load
from fastcca.deep.deep_cca import DeepCCA, DeepCCAEpoch
from fastcca.deep.denoising import DenoisingAutoencoder
from fastcca.deep.losses import CorrelationLoss, HingeEmbeddingLoss, PairEmbeddingLoss
from fastcca.deep.multimodal import AutoencoderEpoch, MultimodalAutoencoder
from fastcca.deep.networks import MLP, GaussianNoise, NonSaturatingSigmoid
from fastcca.deep.rbm import RBM

__all__ = [
    "MLP",
    "RBM",
    "AutoencoderEpoch",
    "CorrelationLoss",
    "DeepCCA",
    "DeepCCAEpoch",
    "DenoisingAutoencoder",
    "GaussianNoise",
    "HingeEmbeddingLoss",
    "MultimodalAutoencoder",
    "NonSaturatingSigmoid",
    "PairEmbeddingLoss",
    "load",
]
