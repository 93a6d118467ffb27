"""
A confound taken out
====================

Body measures and blood values of 442 patients (scikit-learn's diabetes data) both change with age and sex.
How much do they have in common beyond that?
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

from fastcca import CCA
from fastcca.inference import wilks_test
from fastcca.plotting import CorrelationDisplay, LoadingDisplay

data = load_diabetes(as_frame=True).data
body, blood = data[["bmi", "bp"]], data[["s1", "s2", "s3", "s4", "s5", "s6"]]
confounds = data[["age", "sex"]]

plain = CCA().fit(body, blood)
partial = CCA().fit(body, blood, confounds=confounds)
print("correlations", plain.canonical_correlations_.round(3))
print("given age and sex", partial.canonical_correlations_.round(3))

# %%
# The test takes the two degrees of freedom off that the confounds have.
print("p of each correlation and those after it:", wilks_test(partial).p_value)

# %%
CorrelationDisplay(
    {"plain": plain.canonical_correlations_, "given age and sex": partial.canonical_correlations_}
).plot(marker="o")
plt.show()

# %%
# What is left: the measures that go together among patients of the same age and sex.
LoadingDisplay.from_estimator(partial).plot()
plt.show()

# %%
# New patients bring their age and sex.
scores = partial.transform(body[:5], confounds=confounds[:5])
print(np.round(scores, 2))
