"""
Two halves of a digit
=====================

The left and the right half of a handwritten digit are two views of one object. CCA finds what they have in
common, and the halves of an image that it has never seen lie close together in the common space.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastcca import CCA
from fastcca.datasets import load_digit_halves
from fastcca.plotting import CorrelationDisplay, VariateDisplay

# %%
# Two thirds of the images are for training.

digits = load_digit_halves()
train = np.arange(len(digits.target)) % 3 != 0
test = ~train

# %%
# Fit with several ridges. Without one the training correlations are the highest, and those of new images are
# not: the ridge trades one for the other.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
models = {reg: CCA(n_components=20, reg=reg) for reg in (0.0, 1e-2, 1e-1)}
for cca in models.values():
    cca.fit(digits.left[train], digits.right[train])
for ax, rows, title in ((axes[0], train, "training images"), (axes[1], test, "new images")):
    correlations = {
        f"reg = {reg}": CorrelationDisplay.from_estimator(
            cca, {"": (digits.left[rows], digits.right[rows])}
        ).correlations[""]
        for reg, cca in models.items()
    }
    CorrelationDisplay(correlations).plot(ax).ax_.set_title(title)

# %%
# The first pair of variates of the test images, coloured by digit. CCA never saw the digits' names: what the
# halves have in common is, mostly, which digit they belong to.

VariateDisplay.from_estimator(
    models[1e-1], digits.left[test], digits.right[test], labels=digits.target[test]
).plot()
plt.show()
