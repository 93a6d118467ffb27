"""Exact search of a gallery by inner product, cosine or Euclidean distance."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastcca import _core
from fastcca._arguments.arrays import as_matrix, common_float, unwrapped
from fastcca._arguments.parameters import K, at_most, choice, thread_count

__all__ = ["top_k"]

Similarity = Literal["inner_product", "cosine", "euclidean"]

SIMILARITIES = ("inner_product", "cosine", "euclidean")


def top_k(
    queries: npt.ArrayLike,
    gallery: npt.ArrayLike,
    k: int = 10,
    *,
    similarity: Similarity = "cosine",
    n_threads: int | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    r"""The ``k`` best rows of a gallery for each query, by comparison with all of them.

    Parameters
    ----------
    queries : array_like of shape (n, d)
        float32 or float64; read in place, whatever its strides. If both are float32, so is the work.
    gallery : array_like of shape (m, d)
        The rows to search, read in place as well.
    k : int, default=10
        How many, from 1 to m.
    similarity : {"cosine", "inner_product", "euclidean"}, default="cosine"
        What makes a row good: a large :math:`x \cdot q / (|x| |q|)` (0 where a row is zero), a large
        :math:`x \cdot q`, or a small :math:`|x - q|^2`.
    n_threads : int, optional
        By default the number that :func:`fastcca.set_num_threads` set. The results do not depend on it.

    Returns
    -------
    indices : ndarray of shape (n, k)
        int64, the rows of ``gallery``, the best first; of equal scores the lower row first.
    scores : ndarray of shape (n, k)
        Their similarities, or squared distances for ``"euclidean"``.

    Raises
    ------
    ValueError
        For shapes that do not fit, ``k`` out of range, an unknown similarity, NaN or infinity, or values so
        large that their squares overflow.

    Notes
    -----
    The scores of all n·m pairs are products in the precision of the input, at the speed of matrix
    multiplication; none is stored. The best, some more than ``k``, are scored once more in double precision,
    which decides their order. So a row is missed only if rounding puts it behind all of these.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import top_k
    >>> gallery = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    >>> indices, scores = top_k([[0.0, 1.0]], gallery, k=2)
    >>> indices, scores.round(3)
    (array([[1, 2]]), array([[1.   , 0.707]]))
    >>> top_k([[0.0, 1.0]], gallery, k=2, similarity="euclidean")
    (array([[1, 0]]), array([[1., 2.]]))
    """
    g, q = gallery_and_queries(gallery, queries)
    check_k(k, len(g))
    check_similarity(similarity)
    indices, scores = _core.top_k(g, q, similarity, int(k), thread_count(n_threads))
    scores += 0.0  # a distance of -0 becomes 0
    return indices, scores


def gallery_and_queries(gallery: Any, queries: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Both as matrices of one dtype with the same columns; a query of one dimension is one row."""
    g = as_matrix("gallery", gallery, vector=True)
    q = np.asarray(unwrapped(queries, "queries"))
    q = as_matrix("queries", q[np.newaxis] if q.ndim == 1 else q)
    if g.shape[1] != q.shape[1] or g.shape[1] == 0:
        raise ValueError(
            f"gallery and queries must have the same columns, at least one, got {g.shape} and {q.shape}"
        )
    g, q = common_float([g, q])
    return g, q


def check_k(k: Any, n_rows: int) -> None:
    at_most("k", K("k", k), n_rows, f"the {n_rows} rows of the gallery")


def check_similarity(similarity: Any) -> None:
    choice(*SIMILARITIES)("similarity", similarity)
