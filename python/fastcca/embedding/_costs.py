"""What it costs to take one class for another."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcca.taxonomy import Taxonomy

__all__ = ["label_costs"]


def label_costs(taxonomy: Taxonomy, classes: NDArray[Any]) -> NDArray[np.float64]:
    """(C, C): hops between the classes in the taxonomy, over the mean of those between different classes."""
    if not isinstance(taxonomy, Taxonomy):
        raise TypeError(
            f"taxonomy must be a fastcca.taxonomy.Taxonomy or None, got {type(taxonomy).__name__}"
        )
    hops = taxonomy.distances(classes.tolist()).astype(np.float64)
    return hops / hops[~np.eye(len(classes), dtype=bool)].mean()  # type: ignore[no-any-return]
