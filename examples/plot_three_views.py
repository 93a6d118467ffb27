"""
Three views of handwritten digits
=================================

Pixels, row and column sums, and Fourier magnitudes of the same digits, as three views: :class:`fastcca.MCCA`
finds what they have in common, :class:`fastcca.MCCACV` how much ridge it takes, and a view that is missing is
predicted.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from fastcca import MCCA, MCCACV

digits = load_digits()
images = digits.images
views = {
    "pixels": images.reshape(len(images), -1),
    "profiles": np.hstack([images.sum(axis=1), images.sum(axis=2)]),
    "spectrum": np.abs(np.fft.rfft2(images)).reshape(len(images), -1),
}
rng = np.random.default_rng(0)
order = rng.permutation(len(images))
train, test = order[:1200], order[1200:]
split = {
    part: {name: view[rows] for name, view in views.items()}
    for part, rows in (("train", train), ("test", test))
}

# %%
# The ridge by cross-validation, all folds from one pass.
search = MCCACV(n_components=5, regs=np.logspace(-4, 2, 13), scale=True).fit(split["train"])
print(f"ridge {search.reg_:.3g}, held-out correlation {search.best_score_:.3f}")
figure, axes = plt.subplots()
axes.semilogx(search.cv_results_["param_reg"], search.cv_results_["mean_test_score"], marker="o")
axes.axvline(search.reg_, color="black", linestyle=":")
axes.set_xlabel("ridge")
axes.set_ylabel("mean held-out correlation")

# %%
# The common variate of digits that the fit has not seen, drawn as what they are.
common = search.common_variate(split["test"])
figure, axes = plt.subplots()
for digit in range(10):
    rows = digits.target[test] == digit
    axes.scatter(common[rows, 0], common[rows, 1], marker=f"${digit}$", color=f"C{digit}")
axes.set_xlabel("common variate 1")
axes.set_ylabel("common variate 2")

# %%
# The pixels of a digit, predicted from its two other views.
without = {name: split["test"][name] for name in ("profiles", "spectrum")}
predicted = search.predict_views(without)["pixels"]
error = ((predicted - split["test"]["pixels"]) ** 2).sum()
whole = ((split["test"]["pixels"] - split["train"]["pixels"].mean(axis=0)) ** 2).sum()
print(f"explained variance of the pixels from the other views: {1 - error / whole:.2f}")
figure, axes = plt.subplots(2, 8, figsize=(8, 2.4))
for column in range(8):
    axes[0, column].imshow(split["test"]["pixels"][column].reshape(8, 8), cmap="gray_r")
    axes[1, column].imshow(predicted[column].reshape(8, 8), cmap="gray_r")
for panel in axes.flat:
    panel.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("given")
axes[1, 0].set_ylabel("predicted")

# %%
# Rows that lack a view take part in the fit with those that they have.
holes = {name: view.astype(float) for name, view in split["train"].items()}
holes["spectrum"][rng.random(1200) < 0.3] = np.nan
incomplete = MCCA(5, reg=search.reg_, scale=True).fit(holes)
print(incomplete.pairwise_n_)
plt.show()
