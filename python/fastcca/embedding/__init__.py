"""Label embeddings: features and labels in one space, where a sample lies nearest to its own label."""

from fastcca.embedding._explanation import Explanation
from fastcca.embedding.label_prototypes import (
    AttributeHierarchyLabelEmbedding,
    AttributeLabelEmbedding,
    HierarchyLabelEmbedding,
)
from fastcca.embedding.nearest_class_mean import NearestClassMean
from fastcca.embedding.ridge import RidgeEmbedding
from fastcca.embedding.unified import UnifiedSemanticEmbedding

__all__ = [
    "AttributeHierarchyLabelEmbedding",
    "AttributeLabelEmbedding",
    "Explanation",
    "HierarchyLabelEmbedding",
    "NearestClassMean",
    "RidgeEmbedding",
    "UnifiedSemanticEmbedding",
]
