"""Whitened features of a fitted kernel CCA."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from fastcca._arguments.parameters import RIDGES
from fastcca.cca.kernel import KernelTwoView, LandmarkView, choose_landmarks, solve_features
from fastcca.cca.precomputed import row_numbers
from fastcca.functional.kernels import Kernel
from fastcca.functional.moments import Moments
from fastcca.inference._model import centred_product

__all__ = ["whitened_kernel_views"]

Floats = NDArray[np.float64]


def whitened_kernel_views(model: KernelTwoView, X: NDArray[Any], y: NDArray[Any]) -> tuple[Floats, Floats]:
    """Scores of both views with unit variance in the penalised metric, as many as there are features."""
    reg = RIDGES("reg", model.reg_ if hasattr(model, "reg_") else model.reg)
    kernels = model._fitted_kernels((model.x_gamma_, model.y_gamma_), X, y, None)
    X, y = (row_numbers(kernel, data) for kernel, data in zip(kernels, (X, y), strict=True))
    landmarks = (
        data[indices] if points is None else points
        for data, indices, points in zip(
            (X, y),
            (model.x_landmark_indices_, model.y_landmark_indices_),
            (model.x_landmarks_, model.y_landmarks_),
            strict=True,
        )
    )
    of_x, of_y = (
        _whitened(_features(kernel, points, rows, name, model), r, reg, model)
        for name, kernel, points, rows, r in zip("Xy", kernels, landmarks, (X, y), reg, strict=True)
    )
    return of_x, of_y


def _features(
    kernel: Kernel, points: NDArray[Any], rows: NDArray[Any], name: str, model: KernelTwoView
) -> Floats:
    """G with G G' ≈ K: k(rows, landmarks) L^-T."""
    if len(points) == len(rows):  # the fit took every row, in no order
        order = choose_landmarks(
            kernel,
            points,
            None,
            name,
            rank=len(points),
            tol=model.tol,
            pivoting="greedy",
            random_state=None,
            n_threads=model.n_threads,
            verbose=False,
        )
        points = points[order]
    view = LandmarkView.of(kernel, points, model.n_threads)
    K = kernel.matrix(rows.astype(np.float64, copy=False), view.points.astype(np.float64, copy=False))
    features: Floats = solve_triangular(view.factor, K.T, lower=True).T
    return features


def _whitened(features: Floats, r: float, reg: tuple[float, float], model: KernelTwoView) -> Floats:
    moments = Moments().update(features, features, n_threads=model.n_threads)
    penalty = model.penalty if reg != (0.0, 0.0) else "ridge"
    solution = solve_features(moments, features.shape[1], (r, r), penalty, model.n_threads)
    scores = centred_product(features, solution.x_weights, features.mean(axis=0))
    return scores if r > 0 else np.linalg.qr(scores)[0] * np.sqrt(len(scores) - 1)
