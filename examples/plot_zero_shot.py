"""
Classes without a sample
========================

A class that no training image shows can be predicted where its attributes and its parent are known: zero-shot
classification. Where known classes are possible as well (generalised zero-shot), they are preferred, since
the model was trained for them; a penalty found on held-out classes evens that out.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fastcca.datasets import load_digit_attributes
from fastcca.embedding import AttributeLabelEmbedding
from fastcca.metrics import generalised_zero_shot

digits = load_digit_attributes()
labels = digits.class_names[digits.y]
attributes = pd.DataFrame(digits.attributes, digits.class_names, digits.attribute_names)

# %%
# Two of the ten digits are left out of the training, each pair in turn: is an image of the one or of the
# other? By chance half of the answers are right.

pairs = [(a, b) for i, a in enumerate(digits.class_names) for b in digits.class_names[i + 1 :]]
accuracy = np.full((10, 10), np.nan)
names = list(digits.class_names)
for a, b in pairs:
    unseen = np.isin(labels, [a, b])
    model = AttributeLabelEmbedding(attributes=attributes, temperature=1.0)
    model.fit(digits.X[~unseen], labels[~unseen])
    extended = model.with_classes([a, b], only=True)
    i, j = names.index(a), names.index(b)
    accuracy[i, j] = accuracy[j, i] = extended.score(digits.X[unseen], labels[unseen])

figure, ax = plt.subplots(figsize=(6.4, 5))
image = ax.imshow(accuracy, cmap="RdYlBu", vmin=0, vmax=1)
ax.set_xticks(range(10), names, rotation=40, ha="right")
ax.set_yticks(range(10), names)
figure.colorbar(image, label="accuracy of two classes without a sample")
print(f"mean over the {len(pairs)} pairs: {np.nanmean(accuracy):.2f}")

# %%
# Among all ten classes: accuracy of the known and of the new ones, and their harmonic mean, against the
# penalty of the known ones.

unseen = np.isin(labels, ["zero", "seven"])
held_out = np.arange(len(labels)) % 3 == 0
model = AttributeLabelEmbedding(attributes=attributes, temperature=1.0)
model.fit(digits.X[~unseen & ~held_out], labels[~unseen & ~held_out])
extended = model.with_classes(["zero", "seven"])
decisions = extended.decision_function(digits.X[held_out])
known = np.isin(extended.classes_, model.classes_)
gap = np.ptp(decisions)
penalties = np.linspace(0, 0.5, 26) * gap
results = [
    generalised_zero_shot(
        labels[held_out], extended.classes_[(decisions - penalty * known).argmax(axis=1)], ["zero", "seven"]
    )
    for penalty in penalties
]
figure, ax = plt.subplots()
for name in ("seen", "unseen", "harmonic_mean"):
    ax.plot(penalties, [getattr(result, name) for result in results], label=name.replace("_", " "))
ax.set(xlabel="penalty of the known classes", ylabel="mean accuracy of the classes", ylim=(0, 1))
ax.legend()
plt.show()
