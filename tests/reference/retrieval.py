"""Exact search written down slowly: every score in float64, a stable sort of each row."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def scores(queries: npt.ArrayLike, gallery: npt.ArrayLike, similarity: str) -> Array:
    q, g = np.asarray(queries, np.float64), np.asarray(gallery, np.float64)
    if similarity == "euclidean":
        return np.array([((g - row) ** 2).sum(axis=1) for row in q]).reshape(len(q), len(g))
    out = q @ g.T
    if similarity == "cosine":
        norms = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(g, axis=1)
        out = np.divide(out, norms, out=np.zeros_like(out), where=norms > 0)
    return out


def top_k(
    queries: npt.ArrayLike, gallery: npt.ArrayLike, k: int, similarity: str
) -> tuple[npt.NDArray[np.intp], Array]:
    s = scores(queries, gallery, similarity)
    order = np.argsort(s if similarity == "euclidean" else -s, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(s, order, axis=1)
