"""The objective of unified semantic embedding and its alternating minimisation: arrays in, arrays out."""

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcca.embedding._graph import LabelGraph
from fastcca.embedding._label_loss import LabelLoss, label_loss
from fastcca.embedding._semantics import (
    AttributeLoss,
    attribute_loss,
    beta_penalty,
    beta_step,
    project_rows,
    residuals,
    tie,
)
from fastcca.embedding._training import Adam, batch_rows
from fastcca.errors import NumericalError
from fastcca.functional.hinge import ConstraintTable

__all__ = ["Objective", "Schedule", "alternate"]

Array = NDArray[Any]
Parameters = dict[str, Array]


@dataclass(frozen=True)
class Objective:
    """L_C + mu_s L_S + mu_a L_A + mu2 R(U, B) and the norms.

    Parameters are "W" (p, d), "b" (d,), "U" (n_nodes, d), "A" (n_attributes, d) and "B" (n_nodes,
    n_attributes); Psi(f) = f W + b.
    """

    features: Array
    y: NDArray[np.int64]
    share: NDArray[np.float64]
    graph: LabelGraph
    loss: LabelLoss = "softmax"
    mu_s: float = 0.0
    mu_a: float = 0.0
    mu2: float = 0.0
    gamma1: float = 0.0
    gamma2: float = 0.0
    beta_max: float = np.inf
    lambda1: float = 0.0
    lambda2: float = 0.0
    constrained: bool = False  # lambda1 and lambda2 bound squared norms of rows, in the place of penalties
    given: Array | None = None  # (n, n_attributes), for L_A
    attribute_loss: AttributeLoss = "squared"
    beta_pattern: Array | None = None  # (n_nodes, n_attributes): B is a multiple of it
    source_weights: Array | None = None  # (p, d): what lambda1 draws W towards, in the place of 0
    frozen_nodes: NDArray[np.bool_] | None = None  # (n_nodes,): rows of U that stay, and A with them
    n_threads: int | None = None
    table: ConstraintTable = field(init=False)
    exclusive: Array = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", self.graph.constraints())
        object.__setattr__(self, "exclusive", self.graph.exclusive())

    def __call__(
        self, now: Parameters, rows: NDArray[np.int64] | None = None, gradient: bool = True
    ) -> tuple[float, Parameters]:
        """The value and the gradients by all but B, on some rows or all."""
        f, y, share, given = self.features, self.y, self.share, self.given
        if rows is not None:
            f, y = f[rows], y[rows]
            share = share[rows] / share[rows].sum()
            given = None if given is None else given[rows]
        W, U, A, B = now["W"], now["U"], now["A"], now["B"]
        n_classes = self.graph.n_classes
        z = f @ W + now["b"]
        grad_u, grad_a = np.zeros_like(U), np.zeros_like(A)
        value, grad_z, of_classes = label_loss(
            z, U[:n_classes], y, self.loss, share, gradient=gradient, n_threads=self.n_threads
        )
        grad_u[:n_classes] = of_classes
        if self.mu_s > 0.0 and self.table.n_pairs:
            part, of_z, of_u = label_loss(
                z, U, y, self.loss, share, self.table, gradient=gradient, n_threads=self.n_threads
            )
            value += self.mu_s * part
            grad_z = grad_z + self.mu_s * of_z
            grad_u += self.mu_s * of_u
        if self.mu_a > 0.0 and given is not None:
            part, of_z, of_a = attribute_loss(z, A, given, self.attribute_loss, share)
            value += self.mu_a * part
            grad_z = grad_z + self.mu_a * of_z
            grad_a += self.mu_a * of_a
        if self.mu2 > 0.0:
            part, of_u, of_a = tie(self.graph, U, A, B)
            value += self.mu2 * (part + beta_penalty(B, self.exclusive, self.gamma1, self.gamma2))
            grad_u += self.mu2 * of_u
            grad_a += self.mu2 * of_a
        drift = W if self.source_weights is None else W - self.source_weights
        if not self.constrained:
            value += self.lambda1 * _square(drift) + self.lambda2 * _square(U)
        elif self.source_weights is not None:
            value += self.lambda1 * _square(drift)
        if not gradient:
            return value, {}
        grad_w = f.T @ grad_z
        if not self.constrained:
            grad_u += 2 * self.lambda2 * U
        if not self.constrained or self.source_weights is not None:
            grad_w += 2 * self.lambda1 * drift
        if self.frozen_nodes is not None:
            grad_u[self.frozen_nodes] = 0.0
            grad_a[:] = 0.0
        gradients = {"W": grad_w, "b": grad_z.sum(axis=0), "U": grad_u, "A": grad_a}
        return value, {name: gradient for name, gradient in gradients.items() if gradient.size}

    def project(self, now: Parameters) -> None:
        """Back to where the parameters may be: |u_a| <= 1 always, the others' norms where constrained."""
        project_rows(now["A"], 1.0)
        if self.constrained:
            project_rows(now["U"], float(np.sqrt(self.lambda2)))
            if self.source_weights is None:
                project_rows(now["W"].T, float(np.sqrt(self.lambda1)))

    def best_beta(self, now: Parameters) -> Array:
        """B with the other parameters fixed: no worse than the B there is."""
        U, A, B = now["U"], now["A"], now["B"]
        if self.mu2 == 0.0:
            return B
        above = residuals(self.graph, U, A, np.zeros_like(B))
        if self.beta_pattern is None:
            return beta_step(above, A, B, self.exclusive, self.gamma1, self.gamma2, self.beta_max)
        # min_s |E - s P A|^2 + g2 s^2 tr(P'QP) + g1 s sum P over s >= 0
        pattern = self.beta_pattern
        spread = pattern @ A
        curvature = _square(spread) + beta_penalty(pattern, self.exclusive, 0.0, self.gamma2)
        slope = float(np.einsum("ij,ij->", above, spread)) - 0.5 * self.gamma1 * float(pattern.sum())
        highest = self.beta_max / max(float(pattern.max()), np.finfo(float).tiny)
        scale = min(max(slope / curvature, 0.0), highest) if curvature > 0.0 else 0.0
        return (scale * pattern).astype(B.dtype)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast."""

    n_epochs: int
    n_rounds: int
    learning_rate: float
    batch_size: int | None


def alternate(
    objective: Objective, start: Parameters, schedule: Schedule, rng: np.random.Generator
) -> tuple[Parameters, NDArray[np.float64]]:
    """Minimise by turns: (W, b, U, A) by some epochs of Adam, then B exactly; the objective after each round.

    With all rows at once a block that would raise the objective is tried again at half the rate, three times,
    and then left as it was: the objective never rises. With batches it is only logged.
    """
    now = {name: np.array(value) for name, value in start.items()}
    objective.project(now)
    now["B"] = objective.best_beta(now)
    n_rows = len(objective.y)
    moving = {name: value for name, value in now.items() if name != "B" and value.size}
    adam = Adam(moving)
    full = schedule.batch_size is None or n_rows <= schedule.batch_size
    n_steps = schedule.n_epochs * len(batch_rows(n_rows, schedule.batch_size, np.random.default_rng(0)))
    per_round = np.diff(np.linspace(0, schedule.n_epochs, schedule.n_rounds + 1).astype(int))
    value = _finite(objective(now, gradient=False)[0], schedule)
    history = [value]
    shrink = 1.0
    for n_epochs in per_round:
        for _attempt in range(4):
            trial, moments = {name: a.copy() for name, a in now.items()}, copy.deepcopy(adam)
            for _ in range(n_epochs):
                for rows in batch_rows(n_rows, schedule.batch_size, rng):
                    gradients = objective(trial, rows)[1]
                    rate = 0.5 * schedule.learning_rate * (1.0 + np.cos(np.pi * moments.count / n_steps))
                    moments.step(trial, gradients, shrink * rate)
                    objective.project(trial)
            new = objective(trial, gradient=False)[0]
            if not full or new <= value:
                now, adam, value = trial, moments, _finite(new, schedule)
                break
            shrink *= 0.5
        else:
            adam.count += n_epochs * (n_steps // schedule.n_epochs)
        trial = {**now, "B": objective.best_beta(now)}
        new = objective(trial, gradient=False)[0]
        if not full or new <= value:
            now, value = trial, _finite(new, schedule)
        history.append(value)
    return now, np.array(history)


def _square(a: Array) -> float:
    return float(np.einsum("ij,ij->", a, a, dtype=np.float64))


def _finite(value: float, schedule: Schedule) -> float:
    if not np.isfinite(value):
        raise NumericalError(
            f"the objective became {value}: a smaller learning_rate may help, now {schedule.learning_rate:g}"
        )
    return value
