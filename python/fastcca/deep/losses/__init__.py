"""Losses: correlation (Deep CCA), contrastive, large-margin, unified semantic embedding."""

from fastcca.deep.losses.contrastive import ContrastiveLoss, SigmoidContrastiveLoss
from fastcca.deep.losses.correlation import CorrelationLoss
from fastcca.deep.losses.hinge import HingeEmbeddingLoss, PairEmbeddingLoss
from fastcca.deep.losses.unified import UnifiedSemanticLoss

__all__ = [
    "ContrastiveLoss",
    "CorrelationLoss",
    "HingeEmbeddingLoss",
    "PairEmbeddingLoss",
    "SigmoidContrastiveLoss",
    "UnifiedSemanticLoss",
]
