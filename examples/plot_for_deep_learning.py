"""
Correlation and contrastive losses in your own loop
===================================================

Two networks, one for each half of a digit, trained by a loop of your own: a ``DataLoader``,
``CorrelationLoss`` or ``ContrastiveLoss`` as the loss, batches larger than their graph, a checkpoint from
which a killed training goes on.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fastcca import CCA
from fastcca.datasets import load_digit_halves
from fastcca.deep import ContrastiveLoss, CorrelationLoss, DeepCCA, large_batch_step
from fastcca.metrics import recall_at_k, total_correlation

torch.manual_seed(0)
torch.set_num_threads(1)
digits = load_digit_halves()
left, right = (torch.tensor(view, dtype=torch.float32) / 16 for view in (digits.left, digits.right))
train, test = TensorDataset(left[:1200], right[:1200]), (left[1200:], right[1200:])


def encoder():
    return nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 10))


def judge(networks, epochs):
    """What pairs of halves that were not trained on have in common."""
    with torch.no_grad():
        trained = [net(x).numpy() for net, x in zip(networks, train.tensors, strict=True)]
        unseen = [net(x).numpy() for net, x in zip(networks, test, strict=True)]
    cca = CCA(reg=1e-3).fit(*trained)  # orders what the networks found, and makes it uncorrelated
    scores = cca.transform_views(*unseen)
    print(f"{epochs}: total correlation {total_correlation(*scores):.2f} of 10, ", end="")
    print(f"recall@10 of 597 {recall_at_k(*scores, 10):.2f}")


# %%
# **A loop of your own.** The loss is a module that takes two batches of outputs; everything else is PyTorch
# as you know it. ``ContrastiveLoss`` has a temperature to learn, so that its parameters go to the optimiser
# too.

curves = {}
for loss in (CorrelationLoss(), ContrastiveLoss()):
    networks = nn.ModuleList([encoder(), encoder()])
    optimizer = torch.optim.AdamW([*networks.parameters(), *loss.parameters()], lr=3e-3)
    loader = DataLoader(train, batch_size=400, shuffle=True)
    curve = curves[type(loss).__name__] = []
    for _ in range(30):
        for x, y in loader:
            value = loss(networks[0](x), networks[1](y))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        curve.append(value.item())
    judge(networks, type(loss).__name__)

figure, axes = plt.subplots(1, 2, figsize=(7, 3))
for ax, (name, curve) in zip(axes, curves.items(), strict=True):
    ax.plot(range(1, 31), curve)
    ax.set(title=name, xlabel="epoch", ylabel="loss of the last batch")

# %%
# **Batches larger than their graph.** A correlation of ten dimensions wants many rows a batch.
# ``large_batch_step`` runs the networks part by part and leaves the exact gradient of the whole batch: the
# same as in one piece.

loss = CorrelationLoss()
parts = list(zip(left[:1200].split(200), right[:1200].split(200), strict=True))
networks.zero_grad()
large_batch_step(loss, list(networks), parts)
in_parts = [p.grad.clone() for p in networks.parameters()]
networks.zero_grad()
loss(networks[0](left[:1200]), networks[1](right[:1200])).backward()
differences = [(a - p.grad).abs().max() for a, p in zip(in_parts, networks.parameters(), strict=True)]
largest = max(p.grad.abs().max() for p in networks.parameters())
print(f"largest difference of the gradients {max(differences) / largest:.0e} of the largest entry")

# %%
# **A checkpoint.** The estimator has the loop, the schedule and the checkpoint inside. Here the training is
# stopped after its third epoch, as a kill would stop it, and called again: it goes on after that epoch and
# ends where an uninterrupted one does.

folder = Path(tempfile.mkdtemp())
settings = {"n_components": 10, "hidden": (128,), "n_epochs": 10, "batch_size": 400, "random_state": 0}
halves = left[:1200].numpy(), right[:1200].numpy()


def stop_after_three(epoch):
    if epoch.number == 3:
        raise RuntimeError("killed")


try:
    DeepCCA(**settings, callbacks=[stop_after_three]).fit(*halves, checkpoint=folder / "run.ckpt")
except RuntimeError as stopped:
    print(stopped)
resumed = DeepCCA(**settings).fit(*halves, checkpoint=folder / "run.ckpt")
straight = DeepCCA(**settings).fit(*halves)
print(
    "the same bits:", bool((resumed.transform(test[0].numpy()) == straight.transform(test[0].numpy())).all())
)

figure, ax = plt.subplots(figsize=(6.4, 3))
for name, model, style in (("uninterrupted", straight, "-"), ("resumed", resumed, "o")):
    history = model.history_
    ax.plot([epoch["epoch"] for epoch in history], [epoch["loss"] for epoch in history], style, label=name)
ax.set(xlabel="epoch", ylabel="loss")
ax.legend()
plt.show()
