"""
Pictures of a fitted model
==========================

Every picture is a display: ``from_estimator`` or ``from_result`` takes what it needs, ``plot`` draws it, on
axes of your own if you like. Names are the largest ten or twenty by default, so that a thousand columns stay
legible.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fastcca import CCA, CCACV
from fastcca.datasets import make_omics
from fastcca.inference import bootstrap, permutation_test
from fastcca.plotting import (
    BootstrapDisplay,
    CorrelationCircleDisplay,
    HeatMapDisplay,
    IndividualDisplay,
    LoadingDisplay,
    PermutationDisplay,
    SelectionDisplay,
    TaxonomyDisplay,
)
from fastcca.taxonomy import Taxonomy

# %%
# Two hundred samples of 24 genes and 12 metabolites, of which some belong together.

omics = make_omics(200, (24, 12), n_factors=2, n_active=(6, 3), n_modules=2, random_state=0)
genes = pd.DataFrame(omics.X, columns=omics.x_names)
metabolites = pd.DataFrame(omics.y, columns=omics.y_names)
cca = CCA(n_components=3, reg=0.1).fit(genes, metabolites)

# %%
# The correlation circle: columns near each other correlate, those near the rim are seen whole.

CorrelationCircleDisplay.from_estimator(cca).plot(top=6)

# %%
# The same with the samples behind it, the biplot.

CorrelationCircleDisplay.from_estimator(cca, genes).plot(kind="biplot", top=4)

# %%
# Which genes go with which metabolites, through these three pairs of variates.

HeatMapDisplay.from_estimator(cca).plot()

# %%
# Samples in two groups, with the ellipses that hold 95 % of each.

groups = np.where(omics.factors[:, 0] > 0.5, "patients", "controls")
IndividualDisplay.from_estimator(cca, genes, labels=groups).plot(ellipse=0.95)

# %%
# Held-out correlations by the ridge, as a curve,

SelectionDisplay.from_estimator(CCACV(3, regs=np.logspace(-3, 2, 11)).fit(genes, metabolites)).plot()

# %%
# and as a surface where each view has a ridge of its own.

warnings.filterwarnings("ignore", "the best ridge")  # is at an end of the grid: the surface shows it
grid = np.logspace(-3, 2, 9), np.logspace(-3, 2, 7)
SelectionDisplay.from_estimator(CCACV(3, regs=grid).fit(genes, metabolites)).plot()

# %%
# The third correlation among those of shuffled samples.

test = permutation_test(CCA(), genes, metabolites, n_permutations=999, random_state=0)
PermutationDisplay.from_result(test, component=2).plot()

# %%
# Loadings with 95 % intervals,

resampled = bootstrap(CCA(2), genes, metabolites, n_bootstrap=300, random_state=0)
LoadingDisplay.from_result(resampled, x_names=list(omics.x_names), y_names=list(omics.y_names)).plot(top=8)

# %%
# or one quantity of one view; what might be 0 is grey.

BootstrapDisplay.from_result(resampled, "y_cross_loadings", names=list(omics.y_names)).plot()

# %%
# A taxonomy, its classes coloured by a number.

animals = Taxonomy.from_dict(
    {
        "animal": {
            "bird": ["owl", "hen"],
            "mammal": {"cat family": ["tiger", "lynx"], "whale": ["orca", "beluga"]},
        }
    }
)
TaxonomyDisplay(animals, dict(zip(animals.leaves, np.linspace(0.5, 1, 6), strict=True))).plot()

# %%
# :class:`~fastcca.plotting.RecallDisplay`, :class:`~fastcca.plotting.LagDisplay`,
# :class:`~fastcca.plotting.TrainingDisplay`, :class:`~fastcca.plotting.LabelMapDisplay` and
# :class:`~fastcca.plotting.SimilarityDisplay` draw searches, streams, trainings, labels and layers.

plt.show()
