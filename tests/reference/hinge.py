"""Losses of embeddings in extended precision: one sample, one pair and one negative node after the other."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.longdouble]
Pairs = Sequence[tuple[int, Sequence[int]]]

MASK = 2**64 - 1
STEP = 0x9E3779B97F4A7C15

# the options of the losses that make each form
FORMS = {
    "sum": {},
    "hardest": {"negatives": "hardest"},
    "semihard": {"negatives": "semihard"},
    "rank": {"negatives": "rank"},
    "softmax": {"loss": "softmax"},
}


def split_mix(z: int) -> int:
    """SplitMix64's mixing function."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def draws(seed: int, sample: int, pair: int) -> Callable[[int], float]:
    """The t-th uniform number of a sample's pair."""
    key = split_mix((split_mix((seed + STEP * (sample + 1)) & MASK) + pair + STEP) & MASK)
    return lambda t: (split_mix((key + STEP * (t + 1)) & MASK) >> 11) * 2.0**-53


def harmonic(r: int) -> np.longdouble:
    return sum((1 / np.longdouble(j) for j in range(1, r + 1)), np.longdouble(0))


def distance(z: Array, u: Array, similarity: str) -> tuple[np.longdouble, Array, Array]:
    """D(z, u) and its gradients."""
    if similarity == "euclidean":
        return (z - u) @ (z - u), 2 * (z - u), 2 * (u - z)
    a, b = np.linalg.norm(z), np.linalg.norm(u)
    if a == 0 or b == 0:
        return np.longdouble(0), 0 * z, 0 * u
    cosine = z @ u / (a * b)
    return -cosine, -(u / b - cosine * z / a) / a, -(z / a - cosine * u / b) / b


def flat(n_classes: int) -> list[Pairs]:
    return [[(y, [c for c in range(n_classes) if c != y])] for y in range(n_classes)]


def pair_weights(
    v: Array, e: Array, negatives: str, draw: Callable[[int], float]
) -> tuple[np.longdouble, Array, int]:
    """Loss, its derivatives by the v_c (or e_c) and the number of violations."""
    m = len(v)
    positive = np.maximum(v, 0)
    mask = (v > 0).astype(v.dtype)
    r = int(mask.sum())
    if negatives == "softmax":
        top = e.max(initial=0.0)
        total = np.exp(-top) + np.exp(e - top).sum()
        return top + np.log(total), np.exp(e - top) / total, int((e > 0).sum())
    if negatives == "sum":
        return positive.sum(), mask, r
    if negatives == "rank":
        scale = harmonic(r) / max(r, 1)
        return scale * positive.sum(), scale * mask, r
    if negatives == "hardest":
        return positive.max(initial=0.0), mask * (np.arange(m) == np.argmax(v)) if m else mask, r
    if negatives == "semihard":  # the nearest node farther than the positive one, else the farthest of all
        farther = [k for k in range(m) if e[k] < 0]
        k = max(farther, key=lambda k: v[k]) if farther else min(range(m), key=lambda k: v[k], default=None)
        if k is None or v[k] <= 0:
            return np.longdouble(0), 0 * mask, r
        return v[k], 1.0 * (np.arange(m) == k), r
    for t in range(1, m + 1):  # warp
        k = min(m - 1, int(draw(t - 1) * m))
        if v[k] > 0:
            scale = harmonic(m // t)
            return scale * v[k], scale * (np.arange(m) == k), 1
    return np.longdouble(0), 0 * mask, 0


def hinge_embedding_loss(
    Z: Array,
    U: Array,
    y: Sequence[int],
    margin: float | Array = 1.0,
    similarity: str = "euclidean",
    negatives: str = "sum",
    constraints: Sequence[Pairs] | None = None,
    scales: Array | None = None,
    seed: int = 0,
) -> tuple[float, Array, Array, int]:
    """Value, gradients, violations; ``scales`` multiply the samples (by default 1/n)."""
    Z, U = Z.astype(np.longdouble), U.astype(np.longdouble)
    constraints = flat(len(U)) if constraints is None else constraints
    scales = np.full(len(Z), 1 / len(Z)) if scales is None else scales
    value, grad_Z, grad_U, violations = np.longdouble(0), np.zeros_like(Z), np.zeros_like(U), 0
    for i, z in enumerate(Z):
        for j, (p, others) in enumerate(constraints[y[i]]):
            Dp, dz_p, du_p = distance(z, U[p], similarity)
            e, v, slopes = [], [], []
            for c in others:
                Dc, dz_c, du_c = distance(z, U[c], similarity)
                delta = margin if np.isscalar(margin) else margin[y[i], c]  # type: ignore[index]
                e.append(Dp - Dc)
                v.append(delta + Dp - Dc)
                slopes.append((c, dz_c, du_c))
            loss, weights, count = pair_weights(
                np.array(v, Z.dtype), np.array(e, Z.dtype), negatives, draws(seed, i, j)
            )
            value += scales[i] * loss
            violations += count
            for w, (c, dz_c, du_c) in zip(weights, slopes, strict=True):
                grad_Z[i] += scales[i] * w * (dz_p - dz_c)
                grad_U[p] += scales[i] * w * du_p
                grad_U[c] -= scales[i] * w * du_c
    return float(value), grad_Z, grad_U, violations
