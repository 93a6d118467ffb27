"""
Searching across views
======================

Which right half belongs to this left half? Both are mapped into the common space, where the nearest of a
gallery of right halves are looked up.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastcca import CCA, KernelCCA
from fastcca.datasets import load_digit_halves
from fastcca.plotting import RecallDisplay
from fastcca.retrieval import CrossViewSearch

digits = load_digit_halves()
train = np.arange(len(digits.target)) % 3 != 0
left, right = digits.left[~train], digits.right[~train]
models = {
    "CCA": CCA(10, reg=0.1).fit(digits.left[train], digits.right[train]),
    "kernel CCA": KernelCCA(10, reg=1e-2).fit(digits.left[train], digits.right[train]),
}

# %%
# Six queries, and the five right halves of 599 that kernel CCA finds nearest. The one that belongs to the
# query has a frame.

search = CrossViewSearch(models["kernel CCA"]).fit(right)
queries = np.array([0, 11, 22, 33, 44, 55])
found = search.search(left[queries], k=5)

figure, axes = plt.subplots(len(queries), 6, figsize=(5, 7))
for row, query in enumerate(queries):
    halves = [left[query], *right[found.indices[row]]]
    for ax, half, place in zip(axes[row], halves, [-1, *found.indices[row]], strict=True):
        ax.imshow(half.reshape(8, 4), cmap="gray_r")
        ax.set(xticks=[], yticks=[])
        for side in ax.spines.values():
            side.set(visible=place == query, color="C2", linewidth=3)
axes[0, 0].set_title("query", fontsize="small")
axes[0, 1].set_title("nearest", fontsize="small")

# %%
# The fraction of queries whose own half is among the k nearest.

RecallDisplay.from_estimator(models, left, right).plot()
plt.show()
