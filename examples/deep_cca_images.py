"""
Convolutional networks, a DataLoader, a checkpoint and one module
=================================================================

Deep CCA of images from beginning to end: the left and the right halves of scikit-learn's digits come from a
``DataLoader``, with random shifts of the training images, a convolutional network of its own for each half.
The training is saved after each epoch, so that one that was killed goes on where it ended; the result leaves
as one module, by ``torch.export``. Half a minute on two cores.
"""

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from fastcca.datasets import load_digit_halves
from fastcca.deep import DeepCCA


class Halves(Dataset):
    """Both halves of an image, (1, 8, 4) each; shifted by a pixel now and then for training."""

    def __init__(self, left, right, shifted):
        self.views = [torch.from_numpy(half).float().reshape(-1, 1, 8, 4) for half in (left, right)]
        self.shifted = shifted

    def __len__(self):
        return len(self.views[0])

    def __getitem__(self, i):
        left, right = (view[i] for view in self.views)
        if not self.shifted:
            return left, right
        by = int(torch.randint(-1, 2, ()))
        return left.roll(by, 1), right.roll(by, 1)


def network():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(32 * 8 * 4, 10),
    )


halves = load_digit_halves()
order = torch.randperm(len(halves.left), generator=torch.Generator().manual_seed(0)).numpy()
left, right = halves.left[order], halves.right[order]  # the writers come one after another
training = DataLoader(
    Halves(left[:1200], right[:1200], shifted=True),
    batch_size=400,
    shuffle=True,
    generator=torch.Generator().manual_seed(0),
)
held_out = DataLoader(Halves(left[1200:1500], right[1200:1500], shifted=False), batch_size=300)
test = DataLoader(Halves(left[1500:], right[1500:], shifted=False), batch_size=297)

torch.manual_seed(0)
model = DeepCCA(
    n_components=10,
    encoders=(network(), network()),
    optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=3e-3, weight_decay=1e-2),
    n_epochs=40,
    clip_norm=10.0,
    random_state=0,
)
with tempfile.TemporaryDirectory() as folder:
    # Called again after it was killed, the same line goes on where the file ends.
    model.fit(training, validation=held_out, checkpoint=Path(folder) / "digits.ckpt")

# Images in, scores out, for any number of images.
module = model.to_module("X")
images = next(iter(test))[0]
program = torch.export.export(module, (images,), dynamic_shapes=({0: torch.export.Dim("n")},))
difference = program.module()(images[:7]).detach() - torch.from_numpy(model.transform(images[:7]))
print(f"the exported module is {difference.abs().max():.1e} off")
print(f"mean correlation of the test images: {model.score(test):.3f}")
