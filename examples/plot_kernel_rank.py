"""
How many landmarks?
===================

Kernel CCA of the two halves of a digit. More landmarks find more correlation; the
regularisation keeps what they find true of new images, and how the landmarks are chosen matters most when
there are few.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastcca import CCA, KernelCCA
from fastcca.datasets import load_digit_halves
from fastcca.metrics import total_correlation

digits = load_digit_halves()
train = np.arange(len(digits.target)) % 3 != 0
left, right = digits.left[train], digits.right[train]
new_left, new_right = digits.left[~train], digits.right[~train]

# %%
# The total correlation of ten components on new images, for each number of landmarks and each way of
# choosing them. Linear CCA is the dashed line.

linear = CCA(10, reg=1e-2).fit(left, right)
reached = total_correlation(*linear.transform_views(new_left, new_right))

ranks = (10, 20, 40, 80, 160, 320, 640)
figure, ax = plt.subplots()
for pivoting in ("greedy", "random", "uniform"):
    totals = []
    for rank in ranks:
        kcca = KernelCCA(10, reg=1e-4, rank=rank, pivoting=pivoting, random_state=0).fit(left, right)
        totals.append(total_correlation(*kcca.transform_views(new_left, new_right)))
    ax.semilogx(ranks, totals, "o-", label=pivoting)
ax.axhline(reached, color="grey", linestyle="--", label="linear CCA")
ax.set(xlabel="landmarks", ylabel="total correlation of new images")
ax.legend()

# %%
# Width and regularisation act together: narrow kernels fit every training image and need more of it. The
# median width is a good start, and a grid around it costs little, since all regularisations of a width are
# computed from one pass over the data (:class:`~fastcca.KernelCCACV`).

figure, ax = plt.subplots()
regs = np.logspace(-7, -1, 7)
for factor in (0.25, 1, 4):
    totals = []
    for reg in regs:
        kcca = KernelCCA(10, reg=reg, rank=200, pivoting="random", random_state=0)
        widths = kcca.fit(left, right).x_gamma_, kcca.y_gamma_
        kcca.set_params(gamma=tuple(factor * width for width in widths)).fit(left, right)
        totals.append(total_correlation(*kcca.transform_views(new_left, new_right)))
    ax.semilogx(regs, totals, "o-", label=f"{factor} × median")
ax.set(xlabel="reg", ylabel="total correlation of new images")
ax.legend(title="gamma")
plt.show()
