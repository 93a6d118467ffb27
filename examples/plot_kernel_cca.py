"""
Kernel CCA: relations that bend
===============================

A circle and a line: every angle has its point on both, and yet no linear function of one correlates with the
other. Kernel CCA looks for functions of each view instead.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastcca import CCA, KernelCCA, KernelCCACV

# %%
# X is a point of a circle, Y goes twice up and down while X goes round once.

rng = np.random.default_rng(0)
angle = rng.uniform(0, 2 * np.pi, 1200)
X = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.1 * rng.normal(size=(1200, 2))
Y = np.column_stack([np.cos(2 * angle), rng.normal(size=1200)]) + 0.1 * rng.normal(size=(1200, 2))
train, test = slice(0, 600), slice(600, None)

linear = CCA(n_components=1).fit(X[train], Y[train])
kernel = KernelCCACV(n_components=1).fit(X[train], Y[train])
print(f"linear CCA, new points: {linear.score(X[test], Y[test]):.2f}")
print(f"kernel CCA, new points: {kernel.score(X[test], Y[test]):.2f}")

# %%
# What the two have learned: the value of the first variate of X at every point of the plane. The linear one
# is an even slope; the kernel's follows the angle.

grid = np.stack(np.meshgrid(np.linspace(-1.5, 1.5, 80), np.linspace(-1.5, 1.5, 80)), axis=-1)
figure, axes = plt.subplots(1, 2, figsize=(7, 3.4), sharey=True)
for ax, model, name in zip(axes, (linear, kernel), ("linear CCA", "kernel CCA"), strict=True):
    values = model.transform(grid.reshape(-1, 2))[:, 0].reshape(80, 80)
    reach = np.abs(values).max()
    ax.contourf(grid[..., 0], grid[..., 1], values, 21, cmap="RdBu_r", vmin=-reach, vmax=reach)
    ax.plot(*X[train].T, ".", color="0.2", markersize=1.5)
    ax.set(title=f"{name}: first variate of X", aspect="equal")

# %%
# **Why a penalty.** A kernel narrow enough finds functions that correlate fully in any training data. What
# the regularisation is for shows on new points: too little, and they are noise; too much, and nothing
# bends.

regs = np.logspace(-7, 0, 8)
scores = []
for reg in regs:
    model = KernelCCA(n_components=1, gamma=10.0, reg=reg).fit(X[train], Y[train])
    scores.append([model.score(X[part], Y[part]) for part in (train, test)])
figure, ax = plt.subplots(figsize=(6.4, 3.2))
ax.semilogx(regs, scores, "o-", label=["training points", "new points"])
ax.set(xlabel="regularisation", ylabel="first correlation")
ax.legend()

# %%
# Its price: the training set (or landmarks of it) has to be kept to transform new points, and no weight
# says which column matters. :doc:`plot_kernel_rank` is about the landmarks, :doc:`plot_deep_cca` about
# networks in the place of kernels.

plt.show()
