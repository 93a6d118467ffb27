"""Ridge regression to label vectors along a path of ridges; the start of what is trained further."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from fastcca.embedding._training_data import TrainingData

__all__ = ["best_reg", "ridge_path", "ridge_start"]

# shares of the total variance of the inputs, which the scaling makes 1
REGS = np.logspace(-5, 1, 13)


def ridge_path(
    data: TrainingData, targets: NDArray[np.float64], regs: Iterable[float]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """For each ridge the weights and intercept of the regression of ``targets[y]`` on the features."""
    share = data.share
    root = np.sqrt(share)[:, np.newaxis]
    f_mean = share @ data.features
    t_mean = share @ targets[data.y]
    a = root * (data.features - f_mean)
    b = root * (targets[data.y] - t_mean)
    # W = (A'A + r)^-1 A'B = A' (AA' + r)^-1 B: whichever matrix is smaller
    wide = len(a) < a.shape[1]
    values, vectors = np.linalg.eigh(a @ a.T if wide else a.T @ a)
    projected = vectors.T @ (b if wide else a.T @ b)
    # directions that rounding alone fills carry no weight, without a ridge either
    keep = values > max(a.shape) * np.finfo(np.float64).eps * values[-1]
    for reg in regs:
        gain = np.divide(1.0, values + reg, out=np.zeros_like(values), where=keep)[:, np.newaxis]
        weights = vectors @ (gain * projected)
        weights = a.T @ weights if wide else weights
        yield weights, t_mean - f_mean @ weights


def best_reg(data: TrainingData, targets: NDArray[np.float64]) -> float:
    """The one of ``REGS`` with the least squared error on the rows that each fold holds out."""
    errors = np.zeros(len(REGS))
    for fold in range(int(data.folds.max()) + 1):
        out = data.folds == fold
        held_out = data.subset(out)
        for i, (weights, intercept) in enumerate(ridge_path(data.subset(~out), targets, REGS)):
            residual = held_out.features @ weights + intercept - targets[held_out.y]
            errors[i] += held_out.weight @ np.einsum("ij,ij->i", residual, residual)
    return float(REGS[errors.argmin()]) if errors.any() else float(np.sqrt(REGS[0] * REGS[-1]))


def ridge_start(
    data: TrainingData, reg: float, n_components: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Map, intercept and labels of the one-hot regression, in the directions that tell the classes apart.

    With as many components as classes these are the regression's own; fewer are the leading principal
    directions of the classes' mean predictions.
    """
    targets = np.eye(data.n_classes)
    weights, intercept = next(ridge_path(data, targets, [reg]))
    if n_components == data.n_classes:
        return weights, intercept, targets
    means = data.class_means() @ weights
    axes = np.linalg.svd(means - means.mean(axis=0))[2][:n_components].T
    return weights @ axes, intercept @ axes, targets @ axes
