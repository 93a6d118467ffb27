"""
Filling in a missing view
=========================

An autoencoder of two modalities reconstructs both from one of them. Here the modalities are the left and the
right half of a digit, and the right half is what is missing.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastcca import CCA
from fastcca.datasets import load_digit_halves
from fastcca.deep import MultimodalAutoencoder

digits = load_digit_halves()
train = np.arange(len(digits.target)) % 3 != 0
left, right = digits.left[~train], digits.right[~train]

# %%
# While it learns the network is shown both halves, the left or the right one, and reconstructs both.

model = MultimodalAutoencoder(32, (64,), n_epochs=60, learning_rate=3e-3, random_state=0)
model.fit({"left": digits.left[train], "right": digits.right[train]})
filled = model.reconstruct({"left": left})["right"]
linear = CCA(10, reg=0.1).fit(digits.left[train], digits.right[train]).predict(left)

figure, ax = plt.subplots(figsize=(6.4, 3.2))
ax.plot([h["epoch"] for h in model.history_], [h["loss"] for h in model.history_], label="training")
ax.plot(
    [h["epoch"] for h in model.history_], [h["validation_loss"] for h in model.history_], label="held out"
)
ax.set(xlabel="epoch", ylabel="relative squared error", yscale="log")
ax.legend()

# %%
# Ten new digits; below each what the left half alone leads to.

mean = digits.right[train].mean(axis=0)
rows = [int(np.flatnonzero(digits.target[~train] == digit)[3]) for digit in range(10)]
figure, axes = plt.subplots(3, 10, figsize=(9, 3.4))
for column, row in enumerate(rows):
    for ax, half in zip(axes[:, column], (right[row], linear[row], filled[row]), strict=True):
        image = np.hstack([left[row].reshape(8, 4), half.reshape(8, 4)])
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        ax.axvline(3.5, color="C0", linewidth=1)
        ax.set(xticks=[], yticks=[])
for ax, name in zip(axes[:, 0], ("image", "CCA", "autoencoder"), strict=True):
    ax.set_ylabel(name)

for name, guess in (("CCA", linear), ("autoencoder", filled)):
    print(f"{name:12} R squared {1 - ((guess - right) ** 2).sum() / ((right - mean) ** 2).sum():.2f}")
plt.show()
