r"""The terms of unified semantic embedding that are not a hinge: attributes, and embeddings from embeddings.

With node embeddings U (n_nodes, d), attribute embeddings A (n_attributes, d) and coefficients B >= 0
(n_nodes, n_attributes)

.. math:: R(U, B) = \sum_c \lVert u_c - u_{p(c)} - \beta_c A \rVert^2
          + \gamma_2 \sum_c \sum_{o \in P_c \cup S_c} \lVert \beta_c + \beta_o \rVert^2 + \gamma_1 \sum \beta

says that a category is its parent and a few attributes, and that no attribute serves both a category and its
ancestors or siblings.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastcca.embedding._graph import LabelGraph

__all__ = [
    "AttributeLoss",
    "attribute_loss",
    "beta_penalty",
    "beta_step",
    "project_rows",
    "residuals",
    "tie",
]

Array = NDArray[Any]
AttributeLoss = Literal["squared", "hinge", "linear"]


def attribute_loss(
    Z: Array, A: Array, given: Array, kind: AttributeLoss, share: NDArray[np.float64]
) -> tuple[float, Array, Array]:
    r"""L_A with its gradients by Z and A: samples lie in the direction of their attributes' embeddings.

    ``given`` (n, n_attributes) is y^a of each sample: 0 or 1, or how strongly, for "linear"; signed and about
    0 on average for the other two. ``share`` are the samples' weights as parts of one.
    """
    scores = Z @ A.T
    if kind == "linear":
        # 1 - sum_a y_a z.a
        slope = -given
        value = 1.0 - float(share @ np.einsum("ij,ij->i", scores, given))
    elif kind == "squared":
        # mean_a (z.a - y_a)^2
        gap = scores - given
        slope = (2.0 / given.shape[1]) * gap
        value = float(share @ np.einsum("ij,ij->i", gap, gap)) / given.shape[1]
    else:
        # mean_a |y_a| [1 - sign(y_a) z.a]_+
        gap = np.maximum(1.0 - np.sign(given) * scores, 0.0)
        slope = np.where(gap > 0, -given, 0.0) / given.shape[1]
        value = float(share @ np.einsum("ij,ij->i", gap, np.abs(given))) / given.shape[1]
    slope = (slope * share[:, np.newaxis]).astype(Z.dtype, copy=False)
    return value, slope @ A, slope.T @ Z


def residuals(graph: LabelGraph, U: Array, A: Array, B: Array) -> Array:
    """Row c: u_c - u_parent - beta_c A, the root's embedding being 0."""
    return U - graph.above(U) - B @ A  # type: ignore[no-any-return]


def tie(graph: LabelGraph, U: Array, A: Array, B: Array) -> tuple[float, Array, Array]:
    """The first sum of R with its gradients by U and A."""
    e = residuals(graph, U, A, B)
    # dU = 2 (E - P'E), dA = -2 B'E
    return (
        float(np.einsum("ij,ij->", e, e, dtype=np.float64)),
        2 * (e - graph.add_to_parents(e)),
        -2 * B.T @ e,
    )


def beta_penalty(B: Array, exclusive: Array, gamma1: float, gamma2: float) -> float:
    """What R has of B alone: gamma2 tr(B'QB) + gamma1 sum B."""
    return gamma2 * float(np.einsum("ij,ij->", B, exclusive @ B)) + gamma1 * float(B.sum())


def beta_step(
    U_above: Array,
    A: Array,
    B: Array,
    exclusive: Array,
    gamma1: float,
    gamma2: float,
    beta_max: float = np.inf,
    n_steps: int = 100,
) -> Array:
    """Minimise R by 0 <= B <= beta_max, from B on: a convex program, by accelerated projected gradients.

    ``U_above`` holds u_c - u_parent. Never worse than B.
    """
    if not B.size:
        return B
    gram, target = A @ A.T, U_above @ A.T
    # R = |E|^2 - 2 <B, E A'> + <B, B AA'> + g2 <B, QB> + g1 sum B; its gradient has the Lipschitz constant
    bound = 2.0 * (np.linalg.norm(gram, 2) + gamma2 * np.linalg.norm(exclusive, 2))
    if not bound > 0.0:
        return B

    def value(b: Array) -> float:
        return float(np.einsum("ij,ij->", b, b @ gram - 2 * target)) + beta_penalty(
            b, exclusive, gamma1, gamma2
        )

    now, ahead, t = B, B, 1.0
    for _ in range(n_steps):
        gradient = 2 * (ahead @ gram - target) + (2 * gamma2) * (exclusive @ ahead) + gamma1
        new = np.clip(ahead - gradient / bound, 0.0, beta_max)
        if np.einsum("ij,ij->", gradient, new - now) > 0:  # the momentum leads uphill: start it again
            t = 1.0
        t_new = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t * t))
        ahead = new + ((t - 1.0) / t_new) * (new - now)
        change = np.abs(new - now).max()
        now, t = new, t_new
        if change <= 1e-7 * max(np.abs(now).max(), 1e-30):
            break
    return now if value(now) <= value(B) else B


def project_rows(a: Array, radius: float) -> None:
    """Rows of the array, in place, to the ball of that radius."""
    length = np.sqrt(np.einsum("ij,ij->i", a, a))
    far = length > radius
    a[far] *= (radius / length[far])[:, np.newaxis]
