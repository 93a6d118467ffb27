"""
Taking out what two views do not share
======================================

The two halves of a digit are drawn by one hand; the noise of a camera is each half's own. CCA finds what the
halves share, ``denoise`` keeps it, and ``disagreement`` finds images whose halves do not belong together.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastcca import CCACV
from fastcca.datasets import load_digit_halves

# %%
# Halves of 8 × 8 digits, with noise of each half. The ridge and the correlations are those of two thirds of
# the images; pictures are of the others.

halves = load_digit_halves()
rng = np.random.default_rng(0)
left, right = halves.left, halves.right
noisy = [view + rng.normal(scale=0.3, size=view.shape) for view in (left, right)]
train = np.arange(len(left)) % 3 != 0
model = CCACV(n_components=12, cv=5).fit(noisy[0][train], noisy[1][train])
clean = model.denoise(noisy[0][~train], noisy[1][~train])


def images(a, b):
    """Both halves side by side again."""
    return np.concatenate([half.reshape(len(half), 8, 4) for half in (a, b)], axis=2)


before = images(noisy[0][~train], noisy[1][~train])
after, truth = images(clean.X, clean.y), images(left[~train], right[~train])
for name, found in (("noisy", before), ("denoised", after)):
    print(f"{name}: mean squared error {((found - truth) ** 2).mean():.3f}")
print(f"kept: {clean.x_kept:.0%} of the variance of the left half, {clean.y_kept:.0%} of the right")

figure, axes = plt.subplots(3, 10, figsize=(9, 3), layout="constrained")
for row, (name, found) in enumerate((("truth", truth), ("noisy", before), ("denoised", after))):
    for column in range(10):
        axes[row, column].imshow(found[column], cmap="gray_r", vmin=0, vmax=1)
        axes[row, column].set(xticks=[], yticks=[])
    axes[row, 0].set_ylabel(name)

# %%
# Every twentieth image gets the right half of another. The score of such rows is larger. Digits are not
# normally distributed: their p values are a guide, and the order of the rows tells more.

mixed = noisy[1][~train].copy()
wrong = np.arange(0, len(mixed), 20)
mixed[wrong] = mixed[np.roll(wrong, 1)]
odd = model.disagreement(noisy[0][~train], mixed)
is_wrong = np.isin(np.arange(len(mixed)), wrong)

figure, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
bins = np.linspace(0, odd.score.max(), 40)
ax.hist(odd.score[~is_wrong], bins, density=True, alpha=0.7, label="halves of one image")
ax.hist(odd.score[is_wrong], bins, density=True, alpha=0.7, label="halves of two images")
ax.set(xlabel="disagreement", ylabel="density")
ax.legend(frameon=False)
plt.show()
