"""
Data in pieces
==============

Everything linear follows from the moments of the two views: the number of rows, the means and the scatter.
They can be updated with further rows, merged and subtracted, so that a stream, files larger than memory and
parts on several machines give the same model as all rows at once.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastcca import CCA, Moments
from fastcca.datasets import make_two_views

views = make_two_views(20000, (30, 20), [0.9, 0.7, 0.5, 0.3], random_state=0)

# %%
# A stream of 200 chunks of 100 rows. After each chunk the model is that of all rows so far.

stream = CCA(n_components=4)
seen, correlations = [], []
for start in range(0, 20000, 100):
    stream.partial_fit(views.X[start : start + 100], views.y[start : start + 100])
    if start % 500 == 0:
        seen.append(start + 100)
        correlations.append(stream.canonical_correlations_)

figure, ax = plt.subplots()
lines = ax.semilogx(seen, np.array(correlations))
for line, population in zip(lines, views.correlations, strict=True):
    ax.axhline(population, color=line.get_color(), linestyle=":", linewidth=1)
ax.set(xlabel="rows seen", ylabel="canonical correlation", ylim=(0, 1), title="dotted: the population's")

# %%
# Two halves of the data, computed apart and merged, and a part taken away again.

first = Moments().update(views.X[:10000], views.y[:10000])
second = Moments().update(views.X[10000:], views.y[10000:])
whole = CCA(4).fit(views.X, views.y)
merged = CCA(4).fit_moments(first + second)
without = CCA(4).fit_moments((first + second) - first)
half = CCA(4).fit(views.X[10000:], views.y[10000:])
print("merged against whole:  ", f"{np.abs(merged.x_weights_ - whole.x_weights_).max():.1e}")
print("taken away against half:", f"{np.abs(without.x_weights_ - half.x_weights_).max():.1e}")

# %%
# The size of what is kept depends on the columns, not on the rows.

figure, ax = plt.subplots(figsize=(6.4, 2.6))
rows = np.logspace(2, 8, 7)
ax.loglog(rows, rows * 50 * 8 / 1e6, "o-", label="the data")
ax.loglog(rows, np.full(7, first.scatter.nbytes / 1e6), "o-", label="their moments")
ax.set(xlabel="rows of 30 + 20 columns", ylabel="megabytes")
ax.legend()
plt.show()
