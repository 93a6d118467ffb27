"""Losses with closed-form gradients: the correlation loss of Deep CCA, large-margin losses of embeddings."""

from fastcca.deep.losses.correlation import CorrelationLoss
from fastcca.deep.losses.hinge import HingeEmbeddingLoss, PairEmbeddingLoss

__all__ = ["CorrelationLoss", "HingeEmbeddingLoss", "PairEmbeddingLoss"]
