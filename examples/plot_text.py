"""
Two languages, very many words
==============================

Counts of words are sparse: of tens of thousands of columns a text has some dozens. Moments of such views
would not fit into memory, so :class:`~fastcca.CCA` finds the leading pairs by products with the
sparse matrices alone. Here the same short texts in two made-up languages, each with a vocabulary of its own.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from fastcca import CCA

rng = np.random.default_rng(0)
TOPICS = ["weather", "football", "cooking", "music", "travel", "health"]
WORDS, OWN = 12000, 150


def texts(language, topics):
    """Texts of 40 words: two fifths are of their topic, the others whatever their frequency gives."""
    frequency = 1 / np.arange(1, WORDS + 1)
    common = rng.choice(WORDS, (len(topics), 40), p=frequency / frequency.sum())
    of_topic = OWN * topics[:, np.newaxis] + rng.integers(OWN, size=common.shape)
    words = np.where(rng.random(common.shape) < 0.4, WORDS + of_topic, common)
    return [" ".join(f"{language}{word}" for word in row) for row in words]


topics = rng.integers(len(TOPICS), size=3000)
vectorizers = TfidfVectorizer(), TfidfVectorizer()
X, Y = (v.fit_transform(texts(name, topics)) for v, name in zip(vectorizers, ("a", "b"), strict=True))
print(f"{X.shape} and {Y.shape}, {X.nnz / X.shape[0] / X.shape[1]:.2%} of the entries are not zero")

# %%
# The ridge is in units of a variance, which is small for a column that is nearly always zero.

train, test = slice(0, 2000), slice(2000, None)
cca = CCA(n_components=5, reg=2e-3).fit(X[train], Y[train])
print(f"solver: {cca.solver_}")

figure, ax = plt.subplots()
zx, zy = cca.transform_views(X[test], Y[test])
held_out = [np.corrcoef(a, b)[0, 1] for a, b in zip(zx.T, zy.T, strict=True)]
places = np.arange(1, 6)
ax.bar(places - 0.2, cca.canonical_correlations_, 0.4, label="training texts")
ax.bar(places + 0.2, held_out, 0.4, label="held out")
ax.set(xlabel="pair", ylabel="correlation", title="five pairs separate six topics")
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))

# %%
# Held-out texts of both languages in the space of the first pairs.

figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharex=True, sharey=True)
for ax, z, name in zip(axes, (zx, zy), ("language a", "language b"), strict=True):
    for number, topic in enumerate(TOPICS):
        chosen = topics[test] == number
        ax.scatter(z[chosen, 0], z[chosen, 1], s=6, label=topic)
    ax.set(title=name, xlabel="first variate", ylabel="second variate")
axes[1].legend(markerscale=2)
plt.show()

# %%
# Of a text in one language, how often the nearest text of the other is of its topic.

same = [topics[test][np.argmax(zy @ z)] == topic for z, topic in zip(zx, topics[test], strict=True)]
print(f"nearest text of the same topic: {np.mean(same):.0%}, by chance {1 / len(TOPICS):.0%}")
