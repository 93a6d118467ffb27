"""What the metrics take: finite matrices, pairs of them with the same shape."""

from numbers import Integral
from typing import Any

from numpy.typing import ArrayLike, NDArray

from fastcca._arguments.parameters import as_matrix, check_same_rows, refuse_non_finite

__all__ = ["check_k", "finite_matrix", "pair"]


def check_k(k: Any, largest: int | None = None, what: str = "") -> None:
    if isinstance(k, Integral) and not isinstance(k, bool) and 1 <= int(k) <= (largest or int(k)):
        return
    span = "of at least 1" if largest is None else f"between 1 and {largest}, the number of {what}"
    raise ValueError(f"k must be a whole number {span}, got {k!r}")


def finite_matrix(name: str, z: ArrayLike, min_rows: int = 1, *, vector: bool = False) -> NDArray[Any]:
    a = as_matrix(name, z, vector=vector, min_rows=min_rows, complete=True)
    refuse_non_finite(name, a)
    return a


def pair(
    Zx: ArrayLike, Zy: ArrayLike, k: int | None = None, min_rows: int = 1
) -> tuple[NDArray[Any], NDArray[Any]]:
    check_same_rows(Zx=Zx, Zy=Zy)
    zx, zy = finite_matrix("Zx", Zx, min_rows), finite_matrix("Zy", Zy, min_rows)
    if zx.shape != zy.shape:
        raise ValueError(f"Zx and Zy must have the same shape, got {zx.shape} and {zy.shape}")
    if k is not None:
        check_k(k, zx.shape[1], "columns")
    return zx[:, :k], zy[:, :k]
