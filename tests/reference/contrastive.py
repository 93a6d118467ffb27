"""Contrastive losses written down slowly: all scores at once, in extended precision."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.longdouble]


def log_sum_exp(s: Array) -> np.longdouble:
    top = s.max()
    return top + np.log(np.exp(s - top).sum())


def contrastive_loss(
    Z1: npt.ArrayLike,
    Z2: npt.ArrayLike,
    temperature: float,
    bias: float = 0.0,
    loss: str = "softmax",
    similarity: str = "cosine",
    labels: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
) -> tuple[float, npt.NDArray, npt.NDArray, float, float]:
    """Value and derivatives by Z1, Z2, the temperature and the bias; ``weights`` of the pairs (1/n)."""
    a, b = np.asarray(Z1).astype(np.longdouble), np.asarray(Z2).astype(np.longdouble)
    n = len(a)
    t = np.longdouble(temperature)
    lengths = [np.sqrt(np.square(h).sum(1)) for h in (a, b)]
    if similarity == "inner_product":
        lengths = [np.ones(n, np.longdouble)] * 2
    x, y = (
        np.array([row / length if length > 0 else 0 * row for row, length in zip(h, of, strict=True)])
        for h, of in zip((a, b), lengths, strict=True)
    )
    w = np.full(n, np.longdouble(1) / n) if weights is None else np.asarray(weights).astype(np.longdouble)
    codes = np.asarray(labels if labels is not None else groups if groups is not None else np.arange(n))
    same = codes[:, None] == codes
    positive = same if labels is not None else np.eye(n, dtype=bool)
    left_out = same & ~positive
    s = x @ y.T / t + (np.longdouble(bias) if loss == "sigmoid" else 0)
    value, W = np.longdouble(0), np.zeros((n, n), np.longdouble)
    for i in range(n):
        if loss == "sigmoid":
            for j in range(n):
                if left_out[i, j]:
                    continue
                z, weight = (1 if positive[i, j] else -1), (w[i] + w[j]) / 2
                value += weight * (max(-z * s[i, j], 0) + np.log1p(np.exp(-abs(s[i, j]))))
                W[i, j] = -z * weight * np.exp(-np.logaddexp(0, z * s[i, j]))
            continue
        for scores, row in ((s[i], W[i]), (s[:, i], W[:, i])):
            counted = ~left_out[i]
            total = log_sum_exp(scores[counted])
            mean = positive[i] / positive[i].sum()
            if positive[i].sum() == 1 < counted.sum():  # log(1 + Σ_j exp(s_ij - s_ii)) over the others
                u = log_sum_exp(scores[counted & ~positive[i]]) - scores[i]
                value += w[i] / 2 * (max(u, 0) + np.log1p(np.exp(-abs(u))))
            else:
                value += w[i] / 2 * (total - (mean * scores).sum())
            p = np.zeros(n, np.longdouble)
            p[counted] = np.exp(scores[counted] - scores[counted].max())
            p /= p.sum()
            # 1 - p of the pair itself by the others, which keeps its digits
            row += w[i] / 2 * (p - mean)
            if positive[i].sum() == 1:
                others = counted.copy()
                others[i] = False
                row[i] += w[i] / 2 * (1 - p[i]) - w[i] / 2 * p[others].sum()
    grads = []
    for h, other, G, length in ((x, y, W, lengths[0]), (y, x, W.T, lengths[1])):
        g = G @ other / t
        if similarity == "cosine":
            g -= h * (h * g).sum(1, keepdims=True)
            g = np.array([row / long if long > 0 else 0 * row for row, long in zip(g, length, strict=True)])
        grads.append(g.astype(np.float64))
    of_temperature = -(W * (x @ y.T)).sum() / t**2
    return float(value), grads[0], grads[1], float(of_temperature), float(W.sum())
