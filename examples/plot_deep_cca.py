"""
Deep CCA on the halves of digits
================================

Deep CCA puts a network before each view and trains both until their outputs correlate. Here it learns from
the halves of handwritten digits, with what it reaches on digits never seen next to that of linear and kernel
CCA.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastcca import CCA, KernelCCA
from fastcca.datasets import load_digit_halves
from fastcca.deep import DeepCCA
from fastcca.metrics import total_correlation

# %%
# Two thirds of the 1797 digits are for training.

digits = load_digit_halves()
train = np.arange(len(digits.target)) % 3 != 0
left, right = digits.left[train], digits.right[train]
left_test, right_test = digits.left[~train], digits.right[~train]

# %%
# Small networks will do for 32 pixels. A tenth of the training digits is held out to stop early.

deep = DeepCCA(
    10, hidden=(128, 128), batch_size=300, n_epochs=60, validation_fraction=0.1, random_state=0
).fit(left, right)
models = {
    "CCA": CCA(10, reg=0.1).fit(left, right),
    "kernel CCA": KernelCCA(10, reg=1e-2).fit(left, right),
    "deep CCA": deep,
}
totals = {
    name: (
        total_correlation(*model.transform_views(left, right)),
        total_correlation(*model.transform_views(left_test, right_test)),
    )
    for name, model in models.items()
}
for name, (on_train, on_test) in totals.items():
    print(f"{name:12} training {on_train:.2f}   new digits {on_test:.2f}")

# %%
# The training curve: correlation of the batches, with noise on the inputs, and of the held-out tenth. What
# the batches say is an overestimate, since a batch has few rows for its ten components.

figure, ax = plt.subplots()
epochs = [h["epoch"] for h in deep.history_]
ax.plot(epochs, [h["train_correlation"] for h in deep.history_], label="training batches")
ax.plot(epochs, [h["validation_correlation"] for h in deep.history_], label="validation")
ax.axvline(deep.best_epoch_, color="grey", linewidth=1, label="kept")
ax.set(xlabel="epoch", ylabel="total correlation of 10")
ax.legend(loc="lower right")

# %%
# Three methods.

figure, ax = plt.subplots()
places = np.arange(len(totals))
ax.bar(places - 0.2, [t[0] for t in totals.values()], 0.4, label="training digits")
ax.bar(places + 0.2, [t[1] for t in totals.values()], 0.4, label="new digits")
ax.set_xticks(places, list(totals))
ax.set(ylabel="total correlation of 10")
ax.legend()
plt.show()
