"""
Two halves of a digit
=====================

The left and the right half of a handwritten digit are two views of one thing. CCA finds what they agree
on, and the halves of an image that it has never seen lie close together in the common space.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastcca import CCA
from fastcca.datasets import load_digit_halves

# %%
# Two thirds of the images are for training.

digits = load_digit_halves()
train = np.arange(len(digits.target)) % 3 != 0
test = ~train

# %%
# Fit at several ridges. Without one the training correlations are the highest, and those of new images
# are not: the ridge trades one for the other.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for reg in (0.0, 1e-2, 1e-1):
    cca = CCA(n_components=20, reg=reg).fit(digits.left[train], digits.right[train])
    Zx, Zy = cca.transform_views(digits.left[test], digits.right[test])
    held_out = [np.corrcoef(Zx[:, i], Zy[:, i])[0, 1] for i in range(Zx.shape[1])]
    (line,) = axes[0].plot(cca.canonical_correlations_, label=f"training, reg = {reg}")
    axes[0].plot(held_out, "--", color=line.get_color(), label=f"new images, reg = {reg}")
axes[0].set(xlabel="component", ylabel="correlation", title="Canonical correlations")
axes[0].legend(fontsize="small")

# %%
# The first two variates of the left halves of the test images, coloured by digit. CCA never saw the
# digits' names: what the halves share is, mostly, which digit they are halves of.

cca = CCA(n_components=2, reg=1e-2).fit(digits.left[train], digits.right[train])
scores = cca.transform(digits.left[test])
points = axes[1].scatter(scores[:, 0], scores[:, 1], c=digits.target[test], cmap="tab10", s=8)
axes[1].set(xlabel="first variate", ylabel="second variate", title="Left halves, by digit")
figure.colorbar(points, ax=axes[1], ticks=range(10), label="digit")
plt.show()
