"""
Layers of two networks compared
===============================

Two networks that differ in their first values alone learn the digits. Which layers of one resemble which of
the other? :func:`fastcca.deep.record` collects sums over the batches, :func:`fastcca.similarity.compare`
takes all pairs from them.
"""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

from fastcca.deep import record
from fastcca.plotting import SimilarityDisplay
from fastcca.similarity import compare

digits = load_digits()
X = torch.tensor(digits.data / 16, dtype=torch.float32)
y = torch.tensor(digits.target)


def trained(seed):
    """A network of three hidden layers, trained for a few seconds."""
    torch.manual_seed(seed)
    widths = [64, 64, 32, 16]
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(16, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(40):
        for rows in torch.randperm(1200).split(100):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(X[rows]), y[rows]).backward()
            optimizer.step()
    return network


networks = {"a": trained(0), "b": trained(1)}
names = ["1", "3", "5", "6"]  # after each ReLU, and the logits
activations = record(networks, {"a": names, "b": names}, X[1200:].split(60), groups=10)
found = compare(activations, "debiased_cka")

# %%
# The same depths resemble one another most.
of_a, of_b = [f"a.{name}" for name in names], [f"b.{name}" for name in names]
SimilarityDisplay.from_matrix(found, rows=of_a, columns=of_b).plot()
plt.show()

# %%
# Each layer and its twin, with intervals by leaving out one of ten groups of digits after the other.
twins = [(found.names.index(a), found.names.index(b)) for a, b in zip(of_a, of_b, strict=True)]
values, low, high = (
    np.array([part[pair] for pair in twins]) for part in (found.values, found.low, found.high)
)
figure, axes = plt.subplots()
axes.errorbar(names, values, yerr=[values - low, high - values], fmt="o", capsize=4)
axes.set_xlabel("layer")
axes.set_ylabel("similarity of the two networks (debiased CKA)")
plt.show()
