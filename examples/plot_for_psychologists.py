"""
From a questionnaire to a results section
=========================================

Ten scales of a questionnaire, six test scores and 240 people: which sides of personality go with which
abilities, beyond age and sex? From the table with its missing answers to the figures of a paper: a report as
SPSS or SAS print it, permutation tests given the confounds, loadings with intervals, and how many people the
next study needs.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import fastcca
from fastcca.inference import bootstrap, permutation_test, sample_size, stability

# %%
# Simulated answers. Two traits lie behind both tables; age and sex shift several columns of both, and four
# in a hundred answers are missing. With data of your own: ``pd.read_csv("study.csv")``.

rng = np.random.default_rng(7)
n = 240
age, sex = rng.uniform(18, 65, n), rng.integers(0, 2, n)
traits = rng.normal(size=(n, 2))
confounds = pd.DataFrame({"age": age, "sex": sex})
scales = [f"scale {letter}" for letter in "ABCDEFGHIJ"]
tests = ["vocabulary", "matrices", "digit span", "symbols", "fluency", "reaction time"]
shifts = np.column_stack([(age - age.mean()) / age.std(), sex - sex.mean()])
questionnaire = pd.DataFrame(
    traits @ (0.6 * rng.normal(size=(2, 10)))
    + 0.3 * shifts @ rng.normal(size=(2, 10))
    + rng.normal(size=(n, 10)),
    columns=scales,
)
abilities = pd.DataFrame(
    traits @ (0.6 * rng.normal(size=(2, 6)))
    + 0.5 * shifts @ rng.normal(size=(2, 6))
    + rng.normal(size=(n, 6)),
    columns=tests,
)
answers = questionnaire.mask(rng.random(questionnaire.shape) < 0.04)
print(f"{int(answers.isna().any(axis=1).sum())} of {n} people left an answer out")

# %%
# **Missing answers.** Leaving out everybody who left one out would cost a third of the people.
# ``missing="em"`` estimates means and covariances from all answers that there are.

whole = answers.notna().all(axis=1)
complete = fastcca.CCA().fit(answers[whole], abilities[whole])
cca = fastcca.CCA(missing="em").fit(answers, abilities)
print(f"of {complete.n_samples_:.0f} complete rows", complete.canonical_correlations_[:3].round(3))
print(f"of all {cca.n_samples_:.0f} people    ", cca.canonical_correlations_[:3].round(3))

# %%
# **The report.** Everything that statistics packages print, with the confounds regressed out of both tables
# and their degrees of freedom taken off. Of complete rows here, as the F tests want them.

X, Y, Z = answers[whole], abilities[whole], confounds[whole]
report = fastcca.report(fastcca.CCA(), X, Y, confounds=Z, names=("Questionnaire", "Abilities"))
print(report["correlations"])
print()
print(report["sequential"])

# %%
# **How many pairs are real?** Permutations need no normal distribution; residuals of confounds are turned
# into rows that may be exchanged before they are.

test = permutation_test(fastcca.CCA(), X, Y, confounds=Z, n_permutations=1999, random_state=0)
for pair, (rho, p) in enumerate(zip(test.statistic[:4], test.p_value, strict=False), start=1):
    print(f"pair {pair}: correlation {rho:.2f}, p = {p:.4f}")

figure, ax = plt.subplots(figsize=(6.4, 3.2))
ax.hist(test.permuted[:, 0], bins=40, color="0.7", label="shuffled")
ax.axvline(test.statistic[0], color="C2", label="observed")
ax.set(xlabel="first correlation, given the confounds", ylabel="permutations")
ax.legend()

# %%
# **What is the first pair about?** Loadings with 95 % intervals. Weights are not shown: columns that go
# together share them in ways that change from sample to sample.

few = fastcca.CCA(n_components=2)
found = bootstrap(few, X, Y, n_bootstrap=500, random_state=0)
few.fit(X, Y)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.8), sharex=True)
for ax, side, names, loadings in zip(
    axes, "xy", (scales, tests), (few.x_loadings_, few.y_loadings_), strict=True
):
    low, high = found.interval(f"{side}_loadings")
    places = np.arange(len(names))
    ax.hlines(places, low[:, 0], high[:, 0], color="0.6", linewidth=3)
    ax.plot(loadings[:, 0], places, "o")
    ax.axvline(0, color="0.5", linewidth=0.8)
    ax.set(yticks=places, yticklabels=names, xlabel="loading")
    ax.invert_yaxis()

# %%
# **Would another sample say the same?** The similarity of the variates that halves of the sample find (1:
# the same), and how many people it takes to find a first correlation of .5 nine times out of ten, with
# these columns and two confounds.

halves = stability(few, X, Y, n_resamples=100, random_state=0)
print("similarity of the first variates of two halves:", np.median(halves.x_similarity[:, 0]).round(2))
print("people needed:", sample_size([0.5], 10, 6, n_confounds=2, n_simulations=500, random_state=0))

# %%
# ``report.save("report.html")`` writes all tables as one page, ``report.to_latex("x_loadings")`` one of
# them for a paper. :doc:`/report` explains every table, :doc:`/inference` every test.

plt.show()
