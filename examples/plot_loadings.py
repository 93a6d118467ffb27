"""
What is a component made of?
============================

A thousand genes and sixty metabolites of a hundred samples. Loadings, the correlations of the columns with
the variates, say which of them a component is about.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fastcca import CCA
from fastcca.datasets import make_omics
from fastcca.plotting import LoadingDisplay

# %%
# Three latent variables drive 20 genes and 5 metabolites each. There are more columns than samples, so that a
# ridge is needed.

omics = make_omics(100, (1000, 60), random_state=0)
genes = pd.DataFrame(omics.X, columns=omics.x_names)
metabolites = pd.DataFrame(omics.y, columns=omics.y_names)
cca = CCA(n_components=3, reg=1.0).fit(genes, metabolites)

# %%
# The ten largest loadings of each view on the first component. Those of one latent variable lead in both.

display = LoadingDisplay.from_estimator(cca).plot()
x_best = np.abs(cca.x_loadings_[:, 0]).argsort()[::-1][:10]
y_best = np.abs(cca.y_loadings_[:, 0]).argsort()[::-1][:5]
print("latent variables of the first ten genes:     ", omics.x_factor[x_best])
print("latent variables of the first five metabolites:", omics.y_factor[y_best])

# %%
# The same of the second component as a heliograph: genes on the right, metabolites on the left.

LoadingDisplay.from_estimator(cca, component=1).plot(kind="helio", top=8)
plt.show()
