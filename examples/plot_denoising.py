"""
Taking out what two views do not share
======================================

Two cameras photograph the same digits, each with noise of its own. What the photographs share is the digit:
CCA finds it, ``denoise`` keeps it, and ``disagreement`` finds pairs that show different things.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastcca import CCACV
from fastcca.datasets import load_digit_attributes

# %%
# Neither camera ever sees a digit without noise, and nobody says what a digit is. Components and their
# correlations are learned from two thirds of the pairs; the pictures are of the others.

digits = load_digit_attributes().X
rng = np.random.default_rng(0)
first, second = (digits + rng.normal(scale=0.3, size=digits.shape) for _ in range(2))
train = np.arange(len(digits)) % 3 != 0
model = CCACV(n_components=25, cv=5).fit(first[train], second[train])
clean = model.denoise(first[~train], second[~train])

truth = digits[~train]
for name, found in (
    ("one photograph", first[~train]),
    ("mean of the two", (first + second)[~train] / 2),
    ("denoised", clean.X),
):
    print(f"{name}: mean squared error {((found - truth) ** 2).mean():.3f}")
print(f"kept: {clean.x_kept:.0%} of the variance of the first photographs")

figure, axes = plt.subplots(3, 10, figsize=(9, 3), layout="constrained")
for row, (name, found) in enumerate((("truth", truth), ("before", first[~train]), ("after", clean.X))):
    for column in range(10):
        axes[row, column].imshow(found[column].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        axes[row, column].set(xticks=[], yticks=[])
    axes[row, 0].set_ylabel(name)

# %%
# Every twentieth photograph is of another digit than its partner. The score of such pairs is larger than that
# of all others but a few.

mixed = second[~train].copy()
wrong = np.arange(0, len(mixed), 20)
mixed[wrong] = mixed[np.roll(wrong, 1)]
odd = model.disagreement(first[~train], mixed)
is_wrong = np.isin(np.arange(len(mixed)), wrong)

figure, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
bins = np.linspace(0, odd.score.max(), 40)
ax.hist(odd.score[~is_wrong], bins, density=True, alpha=0.7, label="of one digit")
ax.hist(odd.score[is_wrong], bins, density=True, alpha=0.7, label="of two digits")
ax.set(xlabel="disagreement", ylabel="density")
ax.legend(frameon=False)
plt.show()
