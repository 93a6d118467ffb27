"""WSABIE's descent written down slowly: one step, one draw and one column after the other."""

from collections.abc import Sequence

import numpy as np

from reference.hinge import Array, draws, harmonic


def warp_epoch(
    X: Array,
    y: Sequence[int],
    W: Array,
    V: Array,
    learning_rate: float,
    margin: float,
    max_norm: float | None,
    order: Sequence[int],
    seed: int,
    positives: Array | None = None,
) -> tuple[float, int, int, Array, Array]:
    """WSABIE's steps one after the other; W and V as they are in the end, in float64."""
    W, V = W.astype(np.float64), V.astype(np.float64)
    loss, updates, n_draws = 0.0, 0, 0

    def shrunk(column: Array) -> Array:
        length = float(np.linalg.norm(column))
        return column if max_norm is None or length <= max_norm else column * (max_norm / length)

    for t, i in enumerate(order):
        z, own, draw = W @ X[i], y[i], draws(seed, t, 0)
        others = [c for c in range(len(V)) if not (c == own if positives is None else positives[i, c])]
        m = len(others)
        for k in range(1, m + 1):
            n_draws += 1
            c = others[min(m - 1, int(draw(k - 1) * m))]
            violation = margin - V[own] @ z + V[c] @ z
            if violation > 0:
                weight = harmonic(m // k)
                loss += weight * violation
                updates += 1
                g = V[own] - V[c]
                V[own] = shrunk(V[own] + learning_rate * weight * z)
                V[c] = shrunk(V[c] - learning_rate * weight * z)
                for j in np.flatnonzero(X[i]):
                    W[:, j] = shrunk(W[:, j] + learning_rate * weight * X[i, j] * g)
                break
    return loss, updates, n_draws, W, V
