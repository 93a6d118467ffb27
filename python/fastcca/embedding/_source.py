"""A fitted model of other classes, as few-shot learning takes it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError

from fastcca.embedding._base import LabelEmbedding
from fastcca.embedding._preprocessing import InputScaling

__all__ = ["Source"]


@dataclass(frozen=True)
class Source:
    """What a new model takes over."""

    scaling: InputScaling
    weights: NDArray[Any]
    intercept: NDArray[Any]
    nodes: dict[Any, NDArray[Any]]  # embeddings of classes and superclasses by name
    attributes: NDArray[Any] | None
    beta_scale: float
    mean_scale: float

    @classmethod
    def of(cls, model: Any, n_features: int) -> "Source":
        """From a fitted label embedding, or a FrozenEstimator around one."""
        if type(model).__name__ == "FrozenEstimator":
            model = model.estimator
        if not isinstance(model, LabelEmbedding):
            raise TypeError(f"source must be a fitted label embedding or None, got {type(model).__name__}")
        if not hasattr(model, "label_embedding_"):
            raise NotFittedError(
                "source is not fitted: fit it first. What sklearn's clone made of it is not fitted either, "
                "unless it is wrapped in a FrozenEstimator"
            )
        if model.weights_ is None:
            raise ValueError(f"source must have a map (weights_), which {type(model).__name__} has not")
        if model.n_features_in_ != n_features:
            raise ValueError(f"source was fitted to {model.n_features_in_} features, X has {n_features}")
        names = getattr(model, "nodes_", model.classes_.tolist())
        rows = np.vstack([model.label_embedding_, *_optional(model, "superclass_embedding_")])
        return cls(
            model.scaling_,
            model.weights_,
            model.intercept_,
            dict(zip(names, rows, strict=True)),
            getattr(model, "attribute_embedding_", None),
            getattr(model, "_beta_scale", 0.0),
            getattr(model, "_mean_scale", 1.0),
        )


def _optional(model: Any, name: str) -> list[NDArray[Any]]:
    return [getattr(model, name)] if hasattr(model, name) else []
