"""
A label is its parent and a few attributes
==========================================

Unified semantic embedding learns a point for each class, superclass and attribute, such that a class is its
parent in the taxonomy plus a sparse combination of attributes. That makes labels explainable.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fastcca.datasets import load_digit_attributes
from fastcca.embedding import UnifiedSemanticEmbedding
from fastcca.plotting import ExplanationDisplay

# %%
# The attributes say which strokes a digit has, the tree which digits are of one kind.

digits = load_digit_attributes()
labels = digits.class_names[digits.y]
train = np.arange(len(labels)) % 3 != 0
attributes = pd.DataFrame(digits.attributes, digits.class_names, digits.attribute_names)

figure, ax = plt.subplots(figsize=(6.4, 3.6))
ax.imshow(digits.attributes, cmap="Blues", vmax=1.4, aspect="auto")
ax.set_xticks(range(len(digits.attribute_names)), digits.attribute_names, rotation=40, ha="right")
ax.set_yticks(range(10), digits.class_names)

# %%
# ``beta="attributes"``: the coefficients are what a class has beyond its parent, scaled by a learned factor.

model = UnifiedSemanticEmbedding(digits.taxonomy, attributes, beta="attributes", temperature=1.0)
model.fit(digits.X[train], labels[train])
print(f"accuracy on new images: {model.score(digits.X[~train], labels[~train]):.3f}")
print(model.explain("nine"))
print(model.explain("seven"))

# %%
# The coefficients of four labels.

figure, axes = plt.subplots(2, 2, figsize=(9, 5))
for ax, name in zip(axes.flat, ("nine", "six", "seven", "four"), strict=True):
    ExplanationDisplay.from_estimator(model, name, n_attributes=5).plot(ax)
plt.show()
