"""
CCA in four steps
=================

Two columns a view, so that every step can be seen: the covariances, whitening, a rotation by singular
vectors, and the pairs of variates that come out.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastcca import CCA

# %%
# Two views of 400 objects. One hidden variable is in both, in a direction of small variance: principal
# components, which look for large variance in one view alone, do not see it.

rng = np.random.default_rng(1)
n = 400
hidden = rng.normal(size=n)
X = np.column_stack([hidden + 0.4 * rng.normal(size=n), 3 * rng.normal(size=n)]) @ [[0.8, 0.6], [-0.6, 0.8]]
Y = np.column_stack([hidden + 0.4 * rng.normal(size=n), 2 * rng.normal(size=n)]) @ [[0.5, -0.87], [0.87, 0.5]]


def draw(ax, view, title, arrow=None):
    """The points, in the colours of the hidden variable."""
    ax.scatter(*view.T, c=hidden, cmap="viridis", s=8)
    if arrow is not None:
        ax.annotate("", arrow, (0, 0), arrowprops={"arrowstyle": "->", "linewidth": 2.5, "color": "C2"})
    ax.set(title=title, aspect="equal")


figure, axes = plt.subplots(1, 2, figsize=(7, 3.4))
for ax, view, name in zip(axes, (X, Y), "XY", strict=True):
    first = np.linalg.svd(view - view.mean(axis=0), full_matrices=False)[2][0]
    draw(ax, view, f"{name}, its first principal component", 5 * first)

# %%
# **1.** The covariances of the centred views, with denominator n - 1; in practice a ridge is added to the
# diagonal.

a, b = X - X.mean(axis=0), Y - Y.mean(axis=0)
S11, S22, S12 = a.T @ a / (n - 1), b.T @ b / (n - 1), a.T @ b / (n - 1)


def inverse_root(S):
    values, vectors = np.linalg.eigh(S)
    return vectors / np.sqrt(values) @ vectors.T


# %%
# **2.** Whitening makes both clouds round: no direction has more variance than another. What is left
# between the views is the matrix T of correlations of the whitened columns; its singular vectors point to
# the directions that correlate most.

white_x, white_y = a @ inverse_root(S11), b @ inverse_root(S22)
T = inverse_root(S11) @ S12 @ inverse_root(S22)
U, D, Vt = np.linalg.svd(T)
figure, axes = plt.subplots(1, 2, figsize=(7, 3.4))
draw(axes[0], white_x, "X, whitened, and U's first column", 2.5 * U[:, 0])
draw(axes[1], white_y, "Y, whitened, and V's first column", 2.5 * Vt[0])

# %%
# **3.** The singular values are the canonical correlations; their sum is the total correlation.
#
# **4.** The weights are the singular vectors, brought back to the columns as they were.
# :class:`~fastcca.CCA` does these four steps (with Cholesky factors in the place of roots, which gives the
# same).

W1, W2 = inverse_root(S11) @ U, inverse_root(S22) @ Vt.T
cca = CCA().fit(X, Y)
print("by hand:", D.round(6), " total", D.sum().round(6))
print("CCA:    ", cca.canonical_correlations_.round(6), " total", cca.canonical_correlations_.sum().round(6))
signs = np.sign((W1 * cca.x_weights_).sum(axis=0))
print("largest difference of the weights:", f"{np.abs(W1 * signs - cca.x_weights_).max():.0e}")

# %%
# The variates: pairs correlate by D, and with nothing else.

Zx, Zy = cca.transform_views(X, Y)
figure, axes = plt.subplots(2, 2, figsize=(6, 5.6), sharex=True, sharey=True)
for i in range(2):
    for j in range(2):
        correlation = np.corrcoef(Zx[:, i], Zy[:, j])[0, 1]
        draw(axes[j, i], np.column_stack([Zx[:, i], Zy[:, j]]), f"{correlation:.2f}")
        axes[j, i].set(xlabel=f"X variate {i + 1}" if j else "", ylabel="" if i else f"Y variate {j + 1}")
plt.show()
