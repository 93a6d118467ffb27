"""
Deep CCA as a Lightning module
==============================

The same with Lightning, which takes over the loop. Under its DDP strategy, pass the process group to
``CorrelationLoss``: loss and gradient are then those of the batch that all workers hold together.
"""

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from fastcca.datasets import load_digit_halves
from fastcca.deep import MLP, CorrelationLoss


class DeepCCAModule(lightning.LightningModule):
    def __init__(self, n_components=10):
        super().__init__()
        self.f, self.g = (MLP(32, [128, 128, n_components], input_noise=0.3) for _ in range(2))
        self.loss = CorrelationLoss(reg=1e-3)

    def training_step(self, batch):
        x, y = batch
        return self.loss(self.f(x), self.g(y))

    def validation_step(self, batch):
        x, y = batch
        self.log("correlation", -self.loss(self.f(x), self.g(y)))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


lightning.seed_everything(0, verbose=False)
digits = load_digit_halves()
views = [torch.as_tensor((v - v.mean(0)) / v.std(), dtype=torch.float32) for v in (digits.left, digits.right)]
train = DataLoader(TensorDataset(*(v[:1200] for v in views)), batch_size=300, shuffle=True)
test = DataLoader(TensorDataset(*(v[1200:] for v in views)), batch_size=597)

module = DeepCCAModule()
trainer = lightning.Trainer(
    max_epochs=40,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(module, train)
(found,) = trainer.validate(module, test, verbose=False)
print(f"total correlation of ten components on new digits: {found['correlation']:.2f}")
