"""Add a file for each class, and each new version of its schema, that has none: see ``__init__.py``.

A new class gets a line in RECIPES: the estimator, what it is fitted to, and calls whose answers are kept.
"""

import copy
import json
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import fastcca
from fastcca import embedding
from fastcca.deep import DeepCCA, DeepGCCA, DeepLabelEmbedding, MultimodalAutoencoder
from fastcca.fusion import EarlyFusion
from fastcca.retrieval import CrossViewSearch, LabelSearch, SearchIndex
from fastcca.synchrony import SynchronyDetector
from fastcca.taxonomy import Taxonomy
from models import FOLDER, answer, to_json

rng = np.random.default_rng(0)
CLASSES = ["cat", "dog", "ray"]
X = rng.normal(size=(60, 4)) + 3 * np.repeat(np.eye(4)[:3], 20, axis=0)
Y = X[:, :3] @ rng.normal(size=(3, 3)) + 0.5 * rng.normal(size=(60, 3))
LABELS = np.repeat(CLASSES, 20)
x, y = X[::12].round(3), Y[::12].round(3)
VIEWS, views = {"a": X, "b": Y}, {"a": x, "b": y}
THREE, three = {**VIEWS, "c": X[:, 2:] + Y[:, :2]}, {**views, "c": x[:, 2:] + y[:, :2]}
TREE = Taxonomy(
    {"root": None, "pet": "root", "cat": "pet", "dog": "pet", "fish": "root", "ray": "fish", "eel": "fish"}
)
ATTRIBUTES = {
    name: row.tolist() for name, row in zip([*CLASSES, "eel"], rng.normal(size=(4, 3)), strict=True)
}

TWO_VIEWS = (
    [("transform", [x])],
    [("transform_y", [y])],
    [("predict", [x])],
    [("predict_x", [y])],
    [("inverse_transform", [x[:, :2]])],
    [("inverse_transform_y", [x[:, :2]])],
    [("score", [x, y])],
)
GROWS = ([("partial_fit", [X[:30], Y[:30]]), ("transform", [x])],)
MANY_VIEWS = ([("transform", [three])], [("transform_view", ["b", y])], [("score", [three])])
MANY_GROW = ([("partial_fit", [{name: a[:30] for name, a in THREE.items()}]), ("transform", [three])],)
ONE_SPACE = (
    [("transform", [x])],
    [("predict", [x])],
    [("decision_function", [x])],
    [("predict_proba", [x])],
)
ZERO_SHOT = ([("with_classes", [["eel"]]), ("decision_function", [x])],)
SHORT = {"n_epochs": 5, "random_state": 0}
DEEP = {"hidden": (3,), "n_epochs": 2, "dtype": "float64", "random_state": 0}

MANY_VIEWS = (
    [("transform", [views])],
    [("common_variate", [{"b": y}])],
    [("predict_views", [{"a": x}])],
    [("score", [views])],
)
ADDED = ([("partial_fit", [VIEWS]), ("common_variate", [views])],)

# What the kept file was fitted to, and the calls; those of a class without such a method are left out.
RECIPES = [
    (fastcca.CCA(2, reg=(0.1, 0.2), scale=True), (X, Y), TWO_VIEWS + GROWS),
    (fastcca.CCACV(2, regs=[0.1, 1.0], cv=3), (X, Y), TWO_VIEWS),
    (fastcca.KernelCCA(2, rank=10, reg=0.1), (X, Y), TWO_VIEWS + GROWS),
    (fastcca.KernelCCACV(2, rank=10, gammas=[0.1], regs=[0.1, 1.0], cv=3), (X, Y), TWO_VIEWS),
    (fastcca.MCCA(2, reg=0.1), (VIEWS,), MANY_VIEWS + ADDED),
    (fastcca.GCCA(2, reg={"a": 0.1}), (VIEWS,), MANY_VIEWS + ADDED),
    (fastcca.MCCACV(2, regs=[0.1, 1.0], cv=3), (VIEWS,), MANY_VIEWS),
    (fastcca.KernelMCCA(2, rank=10, reg=0.1), (VIEWS,), MANY_VIEWS),
    (fastcca.PLSRegression(2), (X, Y), TWO_VIEWS + GROWS),
    (fastcca.PLSCanonical(2), (X, Y), TWO_VIEWS + GROWS),
    (fastcca.PLSSVD(2), (X, Y), TWO_VIEWS + GROWS),
    (fastcca.PLSRegressionCV(2, cv=3), (X, Y), TWO_VIEWS),
    (fastcca.SparseCCA(2, 0.7), (X, Y), TWO_VIEWS + GROWS),
    (fastcca.SparseCCACV(2, [0.7, 0.9], cv=3), (X, Y), TWO_VIEWS),
    (fastcca.ProbabilisticCCA(2), (X, Y), (*TWO_VIEWS, [("log_likelihood", [x, y])])),
    (fastcca.TwoViewPipeline(model=fastcca.CCACV(2, regs=[0.1, 1.0], cv=3)), (X, Y), TWO_VIEWS),
    (embedding.JointEmbedding(2, **SHORT), (X, Y), TWO_VIEWS),
    (embedding.NearestClassMean(), (X, LABELS), ONE_SPACE),
    (embedding.RidgeEmbedding(), (X, LABELS), ONE_SPACE),
    (embedding.LargeMarginEmbedding(2, **SHORT), (X, LABELS), ONE_SPACE),
    (embedding.LargeMarginTaxonomyEmbedding(TREE), (X, LABELS), ONE_SPACE),
    (embedding.WARPEmbedding(2, **SHORT), (X, LABELS), ONE_SPACE),
    (embedding.AttributeLabelEmbedding(ATTRIBUTES, **SHORT), (X, LABELS), ONE_SPACE + ZERO_SHOT),
    (embedding.HierarchyLabelEmbedding(TREE, **SHORT), (X, LABELS), ONE_SPACE + ZERO_SHOT),
    (
        embedding.AttributeHierarchyLabelEmbedding(TREE, ATTRIBUTES, **SHORT),
        (X, LABELS),
        ONE_SPACE + ZERO_SHOT,
    ),
    (embedding.UnifiedSemanticEmbedding(TREE, ATTRIBUTES, **SHORT), (X, LABELS), ONE_SPACE + ZERO_SHOT),
    (EarlyFusion(), (VIEWS,), ([("transform", [views])], [("inverse_transform", [np.ones((2, 7))])])),
    (SynchronyDetector(max_lag=2), (X, Y), ([("correlation", [X, Y])],)),
    (SearchIndex(), (X, [f"row {i}" for i in range(60)]), ([("search", [x, 3])],)),
    (CrossViewSearch(fastcca.CCA(2).fit(X, Y), correlation_power=1.0), (Y,), ([("search", [x, 3])],)),
    (LabelSearch(embedding.NearestClassMean().fit(X, LABELS)), (X,), ([("search_labels", [["dog"], 3])],)),
    (DeepCCA(2, **DEEP), (X, Y), TWO_VIEWS),
    (DeepGCCA(2, **DEEP), (VIEWS,), MANY_VIEWS),
    (DeepLabelEmbedding(TREE, ATTRIBUTES, **DEEP), (X, LABELS), ONE_SPACE + ZERO_SHOT),
    (
        MultimodalAutoencoder(2, **DEEP),
        (VIEWS,),
        ([("transform", [views])], [("reconstruct", [{"a": x}])], [("score", [views, None, "a"])]),
    ),
]


def main():
    warnings.simplefilter("ignore")
    for model, data, calls in RECIPES:
        name = f"{model._schema.name}-{model._schema.version}"
        path = FOLDER / f"{name}.safetensors"
        if path.exists():
            continue
        model.fit(*data)
        kept = []
        for steps in calls:
            if hasattr(model, steps[0][0]):  # a step may change the model
                answered = answer(copy.deepcopy(model), steps)
                kept.append({"steps": to_json(steps), "answer": to_json(answered)})
        text = ",\n".join(json.dumps(call, allow_nan=False) for call in kept)
        path.with_suffix(".json").write_text(f"[\n{text}\n]\n", encoding="utf-8")
        model.save(path)
        print(path.name, path.stat().st_size, len(text), [call["steps"][0][0] for call in kept])


if __name__ == "__main__":
    main()
