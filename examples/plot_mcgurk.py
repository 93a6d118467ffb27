"""
When two views disagree
=======================

In the experiment of McGurk and MacDonald people hear one syllable, see another, and perceive a third. Here
the left half of an image is of one digit and the right half of another: which digit does a classifier of both
perceive?
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

from fastcca.datasets import load_digit_halves, make_incongruent_pairs
from fastcca.fusion import EarlyFusion

digits = load_digit_halves()
train = np.arange(len(digits.target)) % 3 != 0
views = {"left": digits.left, "right": digits.right}
fusion = EarlyFusion().fit({name: view[train] for name, view in views.items()})
codes = fusion.transform({name: view[train] for name, view in views.items()})
classifier = LogisticRegression(C=0.1, max_iter=1000).fit(codes, digits.target[train])

# %%
# Pairs of halves of different digits, from the images that are not for training.

target = digits.target[~train]
left, right = digits.left[~train], digits.right[~train]
pairs = make_incongruent_pairs(target, target, n_pairs=40, random_state=0)
mixed = fusion.transform({"left": left[pairs.audio], "right": right[pairs.image]})
perceived = classifier.predict(mixed)

as_left, as_right = perceived == pairs.audio_target, perceived == pairs.image_target
fractions = {
    "the left half's digit": as_left.mean(),
    "the right half's digit": as_right.mean(),
    "a third digit": (~as_left & ~as_right).mean(),
}
figure, ax = plt.subplots(figsize=(6.4, 2.2))
ax.barh(list(fractions), list(fractions.values()))
ax.set(xlabel="fraction of the conflicting pairs", xlim=(0, 1))
ax.invert_yaxis()

# %%
# For each combination the fraction of third digits, and some of the images.

third = np.zeros((10, 10))
np.add.at(third, (pairs.audio_target, pairs.image_target), ~as_left & ~as_right)
figure, ax = plt.subplots(figsize=(5.6, 4.6))
image = ax.imshow(third / 40, cmap="viridis", vmin=0, vmax=1)
ax.set(xlabel="right half", ylabel="left half", xticks=range(10), yticks=range(10))
figure.colorbar(image, label="a third digit is perceived")

# %%

chosen = np.flatnonzero(~as_left & ~as_right)[:: max(1, int((~as_left & ~as_right).sum() // 10))][:10]
figure, axes = plt.subplots(1, len(chosen), figsize=(9, 1.6))
for ax, row in zip(axes, chosen, strict=True):
    halves = left[pairs.audio[row]].reshape(8, 4), right[pairs.image[row]].reshape(8, 4)
    ax.imshow(np.hstack(halves), cmap="gray_r")
    ax.set(xticks=[], yticks=[])
    ax.set_title(
        f"{pairs.audio_target[row]} | {pairs.image_target[row]}\n→ {perceived[row]}", fontsize="small"
    )
plt.show()
