"""
Genes and metabolites: far more columns than samples
====================================================

A hundred samples, a thousand genes, sixty metabolites. CCA without a ridge would find correlations of 1 in
noise. A ridge chosen by cross-validation says whether there is anything; sparse CCA names columns; stability
selection says which of the names another sample would give, too.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

from fastcca import CCA, CCACV, SparseCCACV
from fastcca.cca import stability_selection
from fastcca.datasets import make_omics
from fastcca.inference import permutation_test

# %%
# Simulated data whose answer is known: two latent variables drive 20 genes and 5 metabolites each; the
# other genes are co-expressed in ten modules that no metabolite follows. ``x_factor`` says which column is
# which.

omics = make_omics(100, (1000, 60), n_factors=1, random_state=1)
X, Y = omics.X, omics.y
noise = np.random.default_rng(0).normal(size=Y.shape)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    print("without a ridge, metabolites:", CCA(3).fit(X, Y).canonical_correlations_.round(3))
    print("without a ridge, noise:      ", CCA(3).fit(X, noise).canonical_correlations_.round(3))
print("CCA warns of it:", said[0].message)

# %%
# **A ridge.** Held-out correlations, ridge by ridge. The columns are brought to one variance first, so that
# one ridge serves them all. With ten times more columns than samples any small ridge does as well as another;
# one as large as the covariances drowns what there is. Noise stays low with every one of them.

warnings.filterwarnings(
    "ignore", "the best ridge"
)  # is the smallest: the curve is flat there, as the picture shows
regs = np.logspace(-2, 3, 11)
figure, ax = plt.subplots(figsize=(6.4, 3.4))
searches = {}
for name, view in (("metabolites", Y), ("noise", noise)):
    searches[name] = CCACV(n_components=1, regs=regs, scale=True).fit(X, view)
    ax.semilogx(regs, searches[name].cv_results_["mean_test_score"], "o-", label=name)
search = searches["metabolites"]
ax.set(xlabel="ridge", ylabel="correlation of held-out samples")
ax.legend()
print("ridge chosen:", search.reg_)

# %%
# **Is there anything?** With a ridge no F distribution holds. Shuffles do; held-out correlation as the
# statistic asks whether the model says something of new samples.

for name, view in (("metabolites", Y), ("noise", noise)):
    test = permutation_test(
        CCA(n_components=1, reg=search.reg_, scale=True),
        X,
        view,
        statistic="held-out",
        n_permutations=99,
        random_state=0,
    )
    print(f"{name}: p = {test.p_value[0]:.2f}")

# %%
# **Names.** Sparse CCA keeps few columns; how few is chosen by cross-validation.

sparse = SparseCCACV(n_components=1).fit(X, Y)
chosen = np.flatnonzero(sparse.x_weights_[:, 0]), np.flatnonzero(sparse.y_weights_[:, 0])
print(
    f"{len(chosen[0])} genes, of which {np.sum(omics.x_factor[chosen[0]] >= 0)} are of the latent variable;",
    f"{len(chosen[1])} metabolites, of which {np.sum(omics.y_factor[chosen[1]] >= 0)} are",
)

# %%
# **Which names to trust.** Fitted to halves of the samples, again and again: a column that is chosen in
# most of them is no accident of these samples. Bars in colour are genes of the latent variable.

selection = stability_selection(sparse, X, Y, n_pairs=25, random_state=0)
frequency = selection.x_frequency.reshape(-1)
order = np.argsort(-frequency, kind="stable")[:40]
figure, ax = plt.subplots(figsize=(6.4, 3.2))
colours = np.where(omics.x_factor[order] >= 0, "C0", "0.75")
ax.bar(np.arange(len(order)), frequency[order], color=list(colours))
ax.axhline(0.6, color="C2", linestyle="--", label="threshold")
ax.set(xlabel="the 40 genes chosen most often", ylabel="fraction of the halves", xticks=[])
ax.legend()
kept = selection.selected(0.6)
print("kept:", [str(omics.x_names[i]) for i in kept[0]][:8], "…", [str(omics.y_names[i]) for i in kept[1]])
print("genes of the latent variable among them:", (omics.x_factor[kept[0]] >= 0).mean().round(2))
plt.show()
