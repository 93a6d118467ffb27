"""Label embeddings: features and labels in one space, where a sample lies nearest to its own label."""

from fastcca.embedding._data import InputScaling
from fastcca.embedding.joint import JointEmbedding
from fastcca.embedding.label_prototypes import (
    AttributeHierarchyLabelEmbedding,
    AttributeLabelEmbedding,
    HierarchyLabelEmbedding,
)
from fastcca.embedding.large_margin import LargeMarginEmbedding
from fastcca.embedding.nearest_class_mean import NearestClassMean
from fastcca.embedding.ridge import RidgeEmbedding
from fastcca.embedding.taxonomy_margin import LargeMarginTaxonomyEmbedding
from fastcca.embedding.unified import Explanation, UnifiedSemanticEmbedding
from fastcca.embedding.warp import WARPEmbedding

__all__ = [
    "AttributeHierarchyLabelEmbedding",
    "AttributeLabelEmbedding",
    "Explanation",
    "HierarchyLabelEmbedding",
    "InputScaling",
    "JointEmbedding",
    "LargeMarginEmbedding",
    "LargeMarginTaxonomyEmbedding",
    "NearestClassMean",
    "RidgeEmbedding",
    "UnifiedSemanticEmbedding",
    "WARPEmbedding",
]
