"""
A convolutional network and an embedding of its classes
=======================================================

``HingeEmbeddingLoss`` trains a network and the embeddings of the classes together: an image is to be nearer
to its own class than to any other, by a margin. Three layers, the ten digits of MNIST in a space of 32
dimensions, four epochs; about a minute on two cores, and over 98.5% of the test digits right.
"""

import torch
from torch import nn

from fastcca.datasets import load_mnist_halves
from fastcca.deep import HingeEmbeddingLoss


def images(mnist, split):
    halves = [torch.from_numpy(mnist[f"{side}_{split}"]).reshape(-1, 28, 14) for side in ("left", "right")]
    return torch.cat(halves, dim=2).unsqueeze(1), torch.from_numpy(mnist[f"target_{split}"])


torch.manual_seed(0)
mnist = load_mnist_halves()
X, y = images(mnist, "train")
X_test, y_test = images(mnist, "test")

network = nn.Sequential(
    nn.Conv2d(1, 16, 5, padding=2),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 5, padding=2),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(32 * 7 * 7, 32),
)
classes = nn.Parameter(torch.randn(10, 32) / 32**0.5)
loss = HingeEmbeddingLoss()

# The rate of the steps falls to zero along a cosine.
parameters = [*network.parameters(), classes]
batch, epochs = 128, 4
optimizer = torch.optim.Adam(parameters, lr=2e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(X) // batch))

for epoch in range(epochs):
    total = 0.0
    for rows in torch.randperm(len(X)).split(batch):
        value = loss(network(X[rows]), classes, y[rows])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        total += value.item() * len(rows)
    print(f"epoch {epoch + 1}: loss {total / len(X):.4f}")

# A digit is of the nearest class.
network.eval()
with torch.no_grad():
    nearest = torch.cat([torch.cdist(network(part), classes).argmin(1) for part in X_test.split(1000)])
print(f"test accuracy: {(nearest == y_test).float().mean():.4f}")
