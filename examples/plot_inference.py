"""
Which correlations are real?
============================

CCA of unrelated data finds correlations too: the more columns and the fewer rows, the larger. Two tests say
how many of them are more than that, and the bootstrap how well they are known.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastcca import CCA
from fastcca.datasets import make_two_views
from fastcca.inference import bootstrap, permutation_test, wilks_test

# %%
# 200 rows of two views, with two correlations in the population: 0.8 and 0.5.

views = make_two_views(200, (10, 8), [0.8, 0.5], random_state=1)
cca = CCA(8).fit(views.X, views.y)
print(cca.canonical_correlations_.round(2))

# %%
# Six of the eight are zero in the population. A permutation test compares each with those of shuffled rows,
# the pairs before it set aside; Wilks's test assumes normal data. Both reject two hypotheses.

shuffled = permutation_test(cca, views.X, views.y, n_permutations=499, random_state=0)
wilks = wilks_test(cca)
print("p, permutation:", shuffled.p_value.round(3))
print("p, Wilks:      ", wilks.p_value.round(3))

figure, ax = plt.subplots()
places = np.arange(1, 9)
ax.violinplot(shuffled.permuted, places, showextrema=False, widths=0.8)
ax.plot(places, cca.canonical_correlations_, "o", color="C2", label="data")
ax.plot(places, np.r_[views.correlations, np.zeros(6)], "k_", markersize=14, label="population")
ax.set(xlabel="component", ylabel="correlation", title="Correlations, and those of shuffled rows")
ax.legend()

# %%
# Confidence intervals that allow for the upward bias of training correlations.

resampled = bootstrap(CCA(2), views.X, views.y, n_bootstrap=500, random_state=0)
low, high = resampled.interval()
estimate = CCA(2).fit(views.X, views.y).canonical_correlations_

figure, ax = plt.subplots(figsize=(6.4, 2.6))
ax.hlines([1, 2], low, high, color="C0", linewidth=6, label=f"{resampled.confidence:.0%} interval")
ax.plot(estimate, [1, 2], "o", color="C2", label="training rows")
ax.plot(views.correlations, [1, 2], "k|", markersize=18, label="population")
ax.set(yticks=[1, 2], ylim=(2.6, 0.4), ylabel="component", xlabel="correlation", xlim=(0, 1))
ax.legend(loc="lower left")
plt.show()
