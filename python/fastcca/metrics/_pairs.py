"""What the metrics take: finite matrices, pairs of them with the same shape."""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from fastcca._arguments.arrays import check_same_rows, finite_matrix
from fastcca._arguments.parameters import K, at_most

__all__ = ["check_k", "finite_matrix", "pair"]


def check_k(k: Any, most: int | None = None, what: str = "") -> None:
    """``k`` is an integer >= 1, and no more than there are of ``what``."""
    K("k", k)
    if most is not None:
        at_most("k", int(k), most, f"the {most} {what}")


def pair(
    Zx: ArrayLike, Zy: ArrayLike, k: int | None = None, min_rows: int = 1
) -> tuple[NDArray[Any], NDArray[Any]]:
    check_same_rows(Zx=Zx, Zy=Zy)
    zx, zy = finite_matrix("Zx", Zx, min_rows=min_rows), finite_matrix("Zy", Zy, min_rows=min_rows)
    if zx.shape != zy.shape:
        raise ValueError(f"Zx and Zy must have the same shape, got {zx.shape} and {zy.shape}")
    if k is not None:
        check_k(k, zx.shape[1], "columns")
    return zx[:, :k], zy[:, :k]
