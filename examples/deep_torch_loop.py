"""
Deep CCA in a plain PyTorch loop
================================

``CorrelationLoss`` is a loss like any other: two batches of paired rows in, a scalar to minimise out. A final
linear CCA of the outputs orders the components.
"""

import torch

from fastcca import CCA
from fastcca.datasets import load_digit_halves
from fastcca.deep import MLP, CorrelationLoss

torch.manual_seed(0)
digits = load_digit_halves()
X, Y = (torch.as_tensor((v - v.mean(0)) / v.std(), dtype=torch.float32) for v in (digits.left, digits.right))
X_train, X_test, Y_train, Y_test = X[:1200], X[1200:], Y[:1200], Y[1200:]

f, g = (MLP(32, [128, 128, 10], activation="relu", input_noise=0.3) for _ in range(2))
loss = CorrelationLoss(reg=1e-3)
optimizer = torch.optim.Adam([*f.parameters(), *g.parameters()], lr=1e-3)

for _ in range(30):
    for rows in torch.randperm(len(X_train)).split(300):
        value = loss(f(X_train[rows]), g(Y_train[rows]))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

f.eval()
g.eval()
with torch.no_grad():
    cca = CCA(10).fit(f(X_train).numpy(), g(Y_train).numpy())
    score = cca.score(f(X_test).numpy(), g(Y_test).numpy())
print(f"mean correlation of ten components on new digits: {score:.2f}")
