"""
Images, a taxonomy and attributes through a network
====================================================

A CNN is trained together with the points of labels, superclasses and attributes: unified semantic embedding.
What the network has learned can be read from these points, and searched by them.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from fastcca.datasets import load_digit_attributes
from fastcca.deep import DeepLabelEmbedding
from fastcca.retrieval import LabelSearch

# %%
# Digits of 8 by 8 pixels, with a tree of the ten classes and attributes such as "closed". The nine is left
# out, and of the others every third image.

digits = load_digit_attributes()
images, labels = digits.X.reshape(-1, 8, 8), digits.class_names[digits.y]
attributes = pd.DataFrame(digits.attributes, digits.class_names, digits.attribute_names)
new = labels == "nine"
held_out = np.arange(len(labels)) % 3 == 0
train = ~new & ~held_out

torch.manual_seed(0)
encoder = torch.nn.Sequential(
    torch.nn.Unflatten(1, (1, 8)),
    torch.nn.Conv2d(1, 16, 3, padding=1),
    torch.nn.ReLU(),
    torch.nn.MaxPool2d(2),
    torch.nn.Flatten(),
)
model = DeepLabelEmbedding(
    digits.taxonomy, attributes, encoder, mu2=0.1, n_epochs=25, random_state=0, n_threads=1
)
model.fit(images[train], labels[train])
print(f"right: {model.score(images[~new & held_out], labels[~new & held_out]):.3f} of the images held out")
for label in ("six", "seven"):
    print(model.explain(label, 3))

# %%
# Labels (blue) and superclasses (orange) in the plane in which the labels differ most. The regularisation
# draws each towards its parent and what its attributes add.

centre = model.label_embedding_.mean(axis=0)
plane = np.linalg.svd(model.label_embedding_ - centre, full_matrices=False)[2][:2].T
places = dict(zip(model.nodes_, (model.node_embedding_ - centre) @ plane, strict=True))
places[None] = -centre @ plane  # the root

figure, ax = plt.subplots()
for node, parent in zip(model.nodes_, model.parents_, strict=True):
    ax.plot(*np.transpose([places[node], places[parent]]), color="0.8", zorder=0)
    colour = "C1" if node in model.superclasses_ else "C0"
    ax.plot(*places[node], "o", color=colour)
    ax.annotate(node, places[node], (4, 4), textcoords="offset points", color=colour)
ax.plot(*places[None], "k+")
ax.set(xticks=[], yticks=[], title="labels, superclasses and the root (+)")

# %%
# How strongly images have each attribute, in standard deviations: the five highest. The nine at the right was
# not among the classes.

shown = np.append(np.flatnonzero(~new & held_out)[[0, 6]], np.flatnonzero(new)[0])
scores = model.predict_attributes(images[shown])
figure, axes = plt.subplots(2, 3, figsize=(9, 4.5))
for image, values, (top, bottom) in zip(images[shown], scores, axes.T, strict=True):
    top.imshow(image, cmap="gray_r")
    top.set_axis_off()
    best = np.argsort(values)[-5:]
    bottom.barh(range(5), values[best], color="C2")
    bottom.set_yticks(range(5), [model.attribute_names_[i] for i in best])
figure.tight_layout()

# %%
# Search among the images held out, by label, by superclass, and by an image of a digit that the network never
# met: its neighbours look like it.

gallery = images[held_out]
search = LabelSearch(model).fit(gallery)
strange = images[np.flatnonzero(labels == "nine")[0]]
queries = ["six", "seven", "closed", strange]
figure, axes = plt.subplots(4, 8, figsize=(7, 3.8))
for row, query in zip(axes, queries, strict=True):
    if isinstance(query, str):
        found = search.search_labels([query], k=7).indices[0]
        row[0].text(0, 0.5, query, transform=row[0].transAxes)
    else:
        found = search.search(query[np.newaxis], k=7).indices[0]
        row[0].imshow(query, cmap="Oranges")
    for ax, place in zip(row[1:], found, strict=True):
        ax.imshow(gallery[place], cmap="gray_r")
    for ax in row:
        ax.set_axis_off()
figure.tight_layout()
plt.show()
