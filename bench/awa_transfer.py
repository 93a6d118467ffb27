"""Few-shot and zero-shot learning on Animals with Attributes: 40 classes to learn from, 10 to transfer to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.awa_data import Animals, measures, split
from fastcca.embedding import (
    AttributeHierarchyLabelEmbedding,
    AttributeLabelEmbedding,
    HierarchyLabelEmbedding,
    UnifiedSemanticEmbedding,
)
from fastcca.metrics import generalised_zero_shot

__all__ = ["few_shot_split", "zero_shot_split"]

Parameters = dict[str, Any]
SOURCE = {
    "lambda1": 0.01,
    "lambda2": 0.0003,
    "mu1": (0.1, 0.3),
    "mu2": 0.002,
    "gamma2": 0.1,
    "beta": "attributes",
}
LME = {"mu1": 0.0, "mu2": 0.0, "lambda1": 0.01, "lambda2": 0.001}

# For each row its source's and its own parameters; the lists are chosen from on pseudo-targets.
FEW: dict[str, tuple[Parameters | None, Parameters, tuple[str, ...]]] = {
    "LME, no transfer": (None, {**LME}, ()),
    "LME, transfer": (LME, {**LME}, ()),
    "USE-No Reg": ({**SOURCE, "mu2": 0.0}, {**SOURCE, "mu2": 0.0}, ("taxonomy", "attributes")),
    "USE-Reg, parent only": (
        {**SOURCE, "mu1": (0.1, 0.0), "beta": "learned", "gamma2": 1e3},
        {**SOURCE, "mu1": (0.1, 0.0), "beta": "learned", "gamma2": 1e3},
        ("taxonomy",),
    ),
    "USE-Reg, coefficients learned": (
        {**SOURCE, "beta": "learned"},
        {**SOURCE, "beta": "learned"},
        ("taxonomy", "attributes"),
    ),
    "USE-Reg": (SOURCE, SOURCE, ("taxonomy", "attributes")),
}
GRID = {"lambda1": (0.01, 0.03, 0.1, 0.3, 1.0), "mu2": (0.001, 0.003, 0.01, 0.03)}


def _model(animals: Animals, parameters: Parameters, semantics: tuple[str, ...], **more: Any) -> Any:
    known = {name: getattr(animals, name) for name in semantics}
    return UnifiedSemanticEmbedding(**known, **{**parameters, **more}, temperature=1.0, random_state=0)


def _of(animals: Animals, rows: NDArray[np.int64], labels: NDArray[Any]) -> NDArray[np.int64]:
    return rows[np.isin(animals.y[rows], labels)]


def few_shot_split(animals: Animals, seed: int) -> dict[str, Any]:
    """Each row's accuracy among 10 target classes of two training images each.

    Its own parameters are chosen on targets made of 10 of the 40 source classes, the other 30 its source.
    """
    rows = split(animals, seed)
    rng = np.random.default_rng([seed, 2])
    targets, sources = animals.test_classes, animals.train_classes
    pseudo = [rng.choice(sources, size=10, replace=False) for _ in range(2)]

    def two_of_each(labels: NDArray[Any]) -> NDArray[np.int64]:
        return np.concatenate([_of(animals, rows.train, np.array([label]))[:2] for label in labels])

    found: dict[str, Any] = {}
    for row, (source_parameters, _, _) in FEW.items():
        grid = [{"lambda1": value} for value in GRID["lambda1"]]
        if source_parameters is None:
            lambda1, lambda2 = (0.001, 0.003, 0.01, 0.03, 0.1), (1e-5, 1e-4, 1e-3)
            grid = [{"lambda1": v, "lambda2": w} for v in lambda1 for w in lambda2]
        elif row.startswith("USE-Reg"):
            grid = [{**own, "mu2": mu2} for own in grid for mu2 in GRID["mu2"]]
        scores = np.zeros(len(grid))
        for labels in pseudo:
            others = np.setdiff1d(sources, labels)
            few, held_out = two_of_each(labels), _of(animals, rows.validation, labels)
            source = _source(animals, _of(animals, rows.train, others), row)
            for i, own in enumerate(grid):
                model = _target(animals, few, row, source, own)
                scores[i] += model.score(animals.X[held_out], animals.y[held_out])
        chosen = grid[int(scores.argmax())]
        source = _source(animals, _of(animals, rows.train, sources), row)
        model = _target(animals, two_of_each(targets), row, source, chosen)
        found[row] = {"chosen": chosen, "test": measures(animals, model, _of(animals, rows.test, targets))}
    return found


def _source(animals: Animals, rows: NDArray[np.int64], row: str) -> Any:
    parameters, _, semantics = FEW[row]
    if parameters is None:
        return None
    return _model(animals, parameters, semantics).fit(animals.X[rows], animals.y[rows])


def _target(animals: Animals, few: NDArray[np.int64], row: str, source: Any, own: Parameters) -> Any:
    _, parameters, semantics = FEW[row]
    model = _model(animals, parameters, semantics, **own, source=source)
    return model.fit(animals.X[few], animals.y[few])


ZERO: dict[str, tuple[Any, tuple[str, ...], list[Parameters]]] = {
    "ALE": (AttributeLabelEmbedding, ("attributes",), [{"reg": r} for r in (1e-3, 1e-2, 0.1)]),
    "HLE": (HierarchyLabelEmbedding, ("taxonomy",), [{"reg": r} for r in (1e-3, 1e-2, 0.1)]),
    "AHLE": (
        AttributeHierarchyLabelEmbedding,
        ("taxonomy", "attributes"),
        [{"reg": r} for r in (1e-3, 1e-2, 0.1)],
    ),
    "USE-Reg": (
        UnifiedSemanticEmbedding,
        ("taxonomy", "attributes"),
        [
            {**SOURCE, "gamma2": 0.0, "mu2": mu2, "lambda1": lambda1}
            for mu2 in (0.006, 0.02, 0.06, 0.2)
            for lambda1 in (0.0025, 0.005, 0.01)
        ],
    ),
}


def zero_shot_split(animals: Animals, seed: int) -> dict[str, Any]:
    """Each row's accuracy among 10 classes that it has no image of, and among all 50.

    Parameters are chosen on 10 of the 40 classes, and what decisions for seen classes are lowered by.
    """
    rows = split(animals, seed)
    rng = np.random.default_rng([seed, 3])
    targets, sources = animals.test_classes, animals.train_classes
    pseudo = _placeable(animals, sources, rng)
    others = np.setdiff1d(sources, pseudo)
    found: dict[str, Any] = {}
    for row, (kind, semantics, grid) in ZERO.items():
        known = {name: getattr(animals, name) for name in semantics}

        def fit(parameters: Parameters, labels: NDArray[Any], kind: Any = kind, known: Any = known) -> Any:
            mine = _of(animals, rows.train, labels)
            model = kind(**known, **parameters, temperature=1.0, random_state=0)
            return model.fit(animals.X[mine], animals.y[mine])

        models = [fit(parameters, others) for parameters in grid]
        held_out = _of(animals, rows.validation, pseudo)
        scores = [
            model.with_classes(pseudo, only=True).score(animals.X[held_out], animals.y[held_out])
            for model in models
        ]
        best = int(np.argmax(scores))
        penalty = _penalty(animals, models[best], pseudo, _of(animals, rows.validation, sources))
        model = fit(grid[best], sources)
        test = _of(animals, rows.test, targets)
        only = model.with_classes(targets, only=True)
        both = model.with_classes(targets, seen_calibration=penalty)
        everything = generalised_zero_shot(animals.y[rows.test], both.predict(animals.X[rows.test]), targets)
        found[row] = {
            "chosen": {**grid[best], "seen_calibration": penalty},
            "test": measures(animals, only, test),
            "seen": 100 * everything.seen,
            "unseen": 100 * everything.unseen,
            "harmonic": 100 * everything.harmonic_mean,
        }
    return found


def _placeable(animals: Animals, sources: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Ten of the classes, each with a node above it that is above one of the others too."""
    above = animals.taxonomy.ancestors
    below = [label for label in sources if above(label)]
    while True:
        chosen = rng.choice(below, size=10, replace=False)
        known = {node for label in np.setdiff1d(sources, chosen) for node in above(label)}
        if all(known.intersection(above(label)) for label in chosen):
            return chosen


def _penalty(animals: Animals, model: Any, unseen: NDArray[Any], rows: NDArray[np.int64]) -> float:
    """The penalty of seen classes with the greatest harmonic mean on held-out rows."""
    plain = model.with_classes(unseen)
    scores = plain.decision_function(animals.X[rows])
    seen = ~np.isin(plain.classes_, unseen)
    gaps = scores[:, seen].max(axis=1) - scores[:, ~seen].max(axis=1)
    candidates = np.quantile(gaps, np.linspace(0.02, 0.98, 49))
    means = [
        generalised_zero_shot(
            animals.y[rows], plain.classes_[(scores - c * seen).argmax(axis=1)], unseen
        ).harmonic_mean
        for c in candidates
    ]
    return float(candidates[int(np.argmax(means))])
