"""What the metrics take: finite matrices, pairs of them with the same shape."""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from fastcca._validation import as_matrix, refuse_non_finite

__all__ = ["finite_matrix", "pair"]


def finite_matrix(name: str, z: ArrayLike, min_rows: int = 1, *, vector: bool = False) -> NDArray[Any]:
    a = as_matrix(name, z, vector=vector, min_rows=min_rows)
    refuse_non_finite(name, a)
    return a


def pair(
    Zx: ArrayLike, Zy: ArrayLike, k: int | None = None, min_rows: int = 1
) -> tuple[NDArray[Any], NDArray[Any]]:
    zx, zy = finite_matrix("Zx", Zx, min_rows), finite_matrix("Zy", Zy, min_rows)
    if zx.shape != zy.shape:
        raise ValueError(f"Zx and Zy must have the same shape, got {zx.shape} and {zy.shape}")
    if k is not None and not 1 <= k <= zx.shape[1]:
        raise ValueError(f"k must be between 1 and {zx.shape[1]}, the number of columns, got {k}")
    return zx[:, :k], zy[:, :k]
