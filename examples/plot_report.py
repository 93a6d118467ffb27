"""
A report, and how far to trust it
=================================

Twenty men of a fitness club: three measures of their bodies, three exercises. A report has every table that
statistics packages print; halves of the data and simulated studies say how much of it twenty rows can carry.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_linnerud

import fastcca
from fastcca import CCA
from fastcca.inference import power, stability
from fastcca.plotting import LoadingDisplay

data = load_linnerud(as_frame=True)
body, exercises = data.target, data.data
report = fastcca.report(CCA(), body, exercises, names=("Body", "Exercises"))
print(report["correlations"])
print()
print(report["sequential"])

# %%
# The first pair correlates .80, with p = .06: suggestive, at this size. What it is made of: waist, and
# the lack of chin-ups and sit-ups.

cca = CCA().fit(body, exercises)
LoadingDisplay.from_estimator(cca).plot()
plt.show()

# %%
# A notebook shows a report as HTML, and a table becomes a data frame.

report.to_frame("x_redundancy").round(4)

# %%
# Would other men have given the same pair? The variates of two halves of the data, correlated over all rows:
# one for a pair that every half finds.

halves = stability(CCA(1), body, exercises, n_resamples=200, random_state=0)
figure, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
bins = np.linspace(0, 1, 21)
ax.hist([halves.x_similarity[:, 0], halves.y_similarity[:, 0]], bins, label=["body", "exercises"])
ax.set(xlabel="correlation of the variates of two halves", ylabel="splits", title="Split-half stability")
ax.legend()
plt.show()

# %%
# What studies of this population would find, were the correlation .6: twenty rows show .7 and find the pair
# in every third study. The gap between training rows and new ones closes with size.

rows = [20, 30, 50, 100, 200]
studies = [power([0.6], n, 3, 3, n_simulations=500, random_state=0) for n in rows]
figure, ax = plt.subplots()
ax.plot(
    rows, [study.correlations.mean() for study in studies], "o-", label="correlation of the training rows"
)
ax.plot(rows, [study.held_out.mean() for study in studies], "s-", label="of new rows, same variates")
ax.plot(rows, [study.power[0] for study in studies], "^--", color="C3", label="power of Wilks's test")
ax.axhline(0.6, color="0.5", linewidth=0.8)
ax.set(xscale="log", xlabel="rows", ylim=(0, 1.02), title="A correlation of .6 among 3 + 3 columns")
ax.set_xticks(rows, rows, minor=False)
ax.minorticks_off()
ax.legend()
plt.show()
