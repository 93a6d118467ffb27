"""
Serving a search across views
=============================

A catalogue to serve: queries of one kind, items of another, one saved file that answers. A model is fitted,
the search is tuned by what it finds, saved with ids, loaded by a server, grown and thinned while it runs, and
fed from a file on the disk that memory does not hold.
"""

import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastcca
from fastcca import CCA
from fastcca.datasets import make_two_views
from fastcca.metrics import median_rank, recall_at_k
from fastcca.retrieval import CrossViewSearch

# %%
# Pairs of descriptions and pictures, as their encoders give them: 64 and 96 columns. Sixteen directions are
# shared well, the others hardly.

views = make_two_views(12_000, (64, 96), [0.9] * 16 + [0.3] * 40, random_state=0, dtype=np.float32)
train, items, queries = slice(0, 6000), slice(6000, 11_000), slice(10_000, 11_000)
model = CCA(reg=1e-3).fit(views.X[train], views.y[train])

# %%
# **Tuning.** Later pairs of variates correlate less and disturb the comparison; ``correlation_power``
# weighs each by its correlation. It is chosen on pairs that the catalogue does not hold.

spare = slice(11_000, 12_000)
powers = [0.0, 0.5, 1.0, 2.0, 4.0]
recall = []
for power in powers:
    search = CrossViewSearch(model, correlation_power=power).fit(views.y[spare])
    first = search.search(views.X[spare], k=1).indices[:, 0]
    recall.append(np.mean(first == np.arange(1000)))
best = powers[int(np.argmax(recall))]
figure, ax = plt.subplots(figsize=(6.4, 3))
ax.plot(powers, recall, "o-")
ax.set(xlabel="correlation_power", ylabel="recall@1 of 1000 pairs", ylim=(0, 1))
print("chosen:", best)

# %%
# **The catalogue.** Items have ids of your own, and the file holds the model and the projected items:
# nothing else goes to the server.

folder = Path(tempfile.mkdtemp())
catalogue = CrossViewSearch(model, correlation_power=best).fit(
    views.y[items], ids=[f"item {i}" for i in range(5000)]
)
catalogue.save(folder / "catalogue.safetensors")
print(f"{(folder / 'catalogue.safetensors').stat().st_size / 2**20:.1f} MiB")

# %%
# **The server** loads it once and answers batches; every answer compares the query with all items, so that
# nothing is missed.

served = fastcca.load(folder / "catalogue.safetensors")
start = time.perf_counter()
found = served.search(views.X[queries], k=10)
seconds = time.perf_counter() - start
names = served.ids_[found.indices]
own = np.array([f"item {i}" for i in range(4000, 5000)])
print("first query:", names[0, :3].tolist(), found.scores[0, :3].round(3))
print(
    "own item first:",
    np.mean(names[:, 0] == own),
    " among ten:",
    np.mean((names == own[:, None]).any(axis=1)),
)
print("1000 queries in", "less than a second" if seconds < 1 else f"{seconds:.1f} s")

# %%
# **Items come and go.** Ids stay with their rows.

served.add(views.y[spare][:2], ids=["new 0", "new 1"]).remove(["item 4000"])
again = served.search(views.X[np.r_[10_000, 11_000]], k=1)
print("the query of item 4000 finds", served.ids_[again.indices[0, 0]], "now;", end=" ")
print("that of the new item", served.ids_[again.indices[1, 0]])

# %%
# **Larger than memory.** A gallery on the disk is a memory map, read and projected block by block; only its
# projection stays.

np.save(folder / "gallery.npy", views.y[items])
mapped = np.load(folder / "gallery.npy", mmap_mode="r")
from_disk = CrossViewSearch(model, correlation_power=best).fit(mapped).search(views.X[queries], k=10)
print("the same answers:", np.array_equal(from_disk.indices, found.indices))

# %%
# **How good is it?** The fraction of queries whose item is among the first k of 5000.

Zx, Zy = model.transform_views(views.X[items], views.y[items])
weights = model.canonical_correlations_**best
ks = [1, 2, 5, 10, 20, 50, 100]
figure, ax = plt.subplots(figsize=(6.4, 3.4))
for name, w in (("plain cosine", np.ones_like(weights)), (f"correlation_power={best:g}", weights)):
    ax.semilogx(ks, [recall_at_k(Zx * w, Zy * w, k) for k in ks], "o-", label=name)
    print(f"{name}: median rank {median_rank(Zx * w, Zy * w):.0f}")
ax.set(xlabel="k", ylabel="recall@k of 5000 items", ylim=(0, 1))
ax.legend()
plt.show()
