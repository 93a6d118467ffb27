"""Animals with Attributes as the benchmark takes it: labels, attributes, splits and measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcca.datasets import load_awa
from fastcca.metrics import hierarchical_precision_at_k, hit_at_k
from fastcca.taxonomy import Taxonomy

__all__ = ["MEASURES", "Animals", "Split", "load", "measures", "split"]

MEASURES = ("hit@1", "hit@2", "hit@5", "hp@2", "hp@5")


@dataclass(frozen=True)
class Animals:
    """Images, labels, and what is known of the labels."""

    X: NDArray[Any]
    y: NDArray[Any]
    taxonomy: Taxonomy
    attributes: dict[str, NDArray[np.float64]]  # continuous, missing ones at the attribute's mean
    attribute_names: NDArray[Any]
    train_classes: NDArray[Any]
    test_classes: NDArray[Any]

    def attribute_frame(self) -> Any:
        """The attributes as a data frame, which has their names."""
        from pandas import DataFrame

        return DataFrame.from_dict(self.attributes, orient="index", columns=self.attribute_names)


@dataclass(frozen=True)
class Split:
    """Rows, as many of each class."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def load() -> Animals:
    """AwA from the data home, its attributes as parts of one."""
    awa = load_awa()
    values = np.where(awa.attributes < 0, np.nan, awa.attributes) / 100
    values = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
    names = awa.class_names.astype(str)
    return Animals(
        awa.X,
        names[awa.y],
        awa.taxonomy,
        dict(zip(names.tolist(), values, strict=True)),
        awa.attribute_names.astype(str),
        awa.train_classes.astype(str),
        awa.test_classes.astype(str),
    )


def split(animals: Animals, seed: int, per_class: int = 30) -> Split:
    """Rows of each class at random."""
    rng = np.random.default_rng(seed)
    parts: list[list[NDArray[np.int64]]] = [[], [], []]
    for label in np.unique(animals.y):
        rows = rng.permutation(np.flatnonzero(animals.y == label))
        for i, part in enumerate(parts):
            part.append(rows[i * per_class : (i + 1) * per_class])
    return Split(*(np.concatenate(part) for part in parts))


def measures(animals: Animals, model: Any, rows: NDArray[np.int64]) -> dict[str, float]:
    """The five measures of a fitted model on some rows, in per cent."""
    scores, y = model.decision_function(animals.X[rows]), animals.y[rows]
    known = {"classes": model.classes_}
    values = [hit_at_k(y, scores, k, **known) for k in (1, 2, 5)]
    values += [hierarchical_precision_at_k(y, scores, k, animals.taxonomy, **known) for k in (2, 5)]
    return dict(zip(MEASURES, (100 * value for value in values), strict=True))
