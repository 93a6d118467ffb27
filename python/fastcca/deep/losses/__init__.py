"""Losses: the correlation loss of Deep CCA, large-margin losses of embeddings, unified semantic embedding."""

from fastcca.deep.losses.correlation import CorrelationLoss
from fastcca.deep.losses.hinge import HingeEmbeddingLoss, PairEmbeddingLoss
from fastcca.deep.losses.unified import UnifiedSemanticLoss

__all__ = ["CorrelationLoss", "HingeEmbeddingLoss", "PairEmbeddingLoss", "UnifiedSemanticLoss"]
