"""Label embeddings: features and labels in one space, where a sample lies nearest to its own label."""

from fastcca.embedding.nearest_class_mean import NearestClassMean
from fastcca.embedding.ridge import RidgeEmbedding

__all__ = ["NearestClassMean", "RidgeEmbedding"]
