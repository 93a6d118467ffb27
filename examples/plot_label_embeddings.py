"""
Labels as points
================

A label embedding maps samples into a space in which each class is a point; the nearest one is the prediction.
Where a class lies is learned, or follows from what is known of it.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from fastcca.datasets import load_digit_attributes
from fastcca.embedding import LargeMarginEmbedding, NearestClassMean, RidgeEmbedding, WARPEmbedding
from fastcca.metrics import hierarchical_precision_at_k, hit_at_k

digits = load_digit_attributes()
labels = digits.class_names[digits.y]
train = np.arange(len(labels)) % 3 != 0
models = {
    "ridge": RidgeEmbedding(),
    "nearest class mean": NearestClassMean(),
    "large margin": LargeMarginEmbedding(),
    "large margin, taxonomy": LargeMarginEmbedding(taxonomy=digits.taxonomy),
    "WARP": WARPEmbedding(random_state=0),
}

# %%
# How often the first label is right, and how near, in the taxonomy, the first three are to it.

scores = {}
for name, model in models.items():
    model.set_params(temperature=1.0).fit(digits.X[train], labels[train])
    decisions = model.decision_function(digits.X[~train])
    scores[name] = (
        hit_at_k(labels[~train], decisions, k=1, classes=model.classes_),
        hierarchical_precision_at_k(labels[~train], decisions, 3, digits.taxonomy, classes=model.classes_),
    )

figure, ax = plt.subplots(figsize=(6.4, 3))
places = np.arange(len(scores))
for i, what in enumerate(("hit@1", "hierarchical precision@3")):
    ax.barh(places + 0.4 * i - 0.2, [score[i] for score in scores.values()], 0.36, label=what)
ax.set_yticks(places, list(scores))
ax.set(xlim=(0, 1))
ax.invert_yaxis()
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

# %%
# Test samples and labels of the embedding that knows the taxonomy, in the plane of its first two principal
# components. Labels lie farther out than samples; they are drawn nearer, in their direction.

model = models["large margin, taxonomy"]
plane = PCA(2).fit(model.label_embedding_)
samples, points = plane.transform(model.transform(digits.X[~train])), plane.transform(model.label_embedding_)
points *= np.abs(samples).max() / np.abs(points).max()
figure, ax = plt.subplots(figsize=(6.4, 5))
ax.scatter(*points.T, s=0)  # so that the axes hold them
ax.margins(0.12)
for i, name in enumerate(model.classes_):
    own = labels[~train] == name
    ax.scatter(*samples[own].T, s=12, linewidths=0, color=f"C{i}", alpha=0.7)
    ax.annotate(
        name,
        points[i],
        ha="center",
        va="center",
        fontsize="small",
        bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": f"C{i}"},
    )
ax.set(xlabel="first principal component", ylabel="second principal component")
plt.show()
