"""Retrieval across views: is a partner found, or what shares the label?

One rule on ties everywhere: rows equally near a query stand in random order, a metric is its expected value.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._arguments.arrays import check_same_rows
from fastcca._arguments.parameters import choice
from fastcca.functional.linalg import unit_rows
from fastcca.metrics._docs import documented
from fastcca.metrics._pairs import check_k, finite_matrix

__all__ = ["mean_average_precision", "median_rank", "partner_ranks", "recall_at_k"]

Similarity = Literal["cosine", "euclidean"]
ExcludeSelf = bool | ArrayLike


@documented
def partner_ranks(
    Zx: ArrayLike,
    Zy: ArrayLike,
    similarity: Similarity = "cosine",
    *,
    ids_x: ArrayLike | None = None,
    ids_y: ArrayLike | None = None,
    exclude_self: ExcludeSelf = False,
) -> NDArray[np.float64]:
    """Rank of the first partner of every row of ``Zx`` among the rows of ``Zy``; 1 is best.

    :func:`recall_at_k` and :func:`median_rank` summarise it.

    {queries_and_gallery}
    {similarity}
    ids_x, ids_y : array_like of shape (n,) and (m,), optional
        Relevant to a query are the rows of ``Zy`` with its id: of a gallery of another size, several
        captions of one image, all rows of one label.
    exclude_self : bool or array_like of int of shape (n,), default=False
        True where a set is searched with its own rows: row i of ``Zy``, which is query i itself, is left out
        of its gallery. Queries that are some of the gallery's rows give the number of their row, -1 for none.

    Returns
    -------
    ndarray of shape (n,)
        Rows equally near stand in random order: with a rows nearer than the nearest partner and t as near as
        it, m of them partners, the expected rank a + (t + 1) / (m + 1). Infinity for a query without a
        partner.

    Raises
    ------
    ValueError
        For shapes that do not fit, an unknown similarity, NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.metrics import partner_ranks
    >>> partner_ranks(np.eye(3), np.eye(3)[[0, 2, 1]])
    array([1. , 2.5, 2.5])
    >>> partner_ranks(np.eye(3)[[2, 0]], np.eye(3), ids_x=["owl", "cat"], ids_y=["cat", "dog", "owl"])
    array([1., 1.])
    """
    counts = _counts(_Search.of(Zx, Zy, similarity, ids_x, ids_y, exclude_self))
    expected = counts.nearer + (counts.tied + 1) / (counts.tied_partners + 1)
    return np.where(counts.tied_partners > 0, expected, np.inf)


@documented
def recall_at_k(
    Zx: ArrayLike,
    Zy: ArrayLike,
    k: int = 1,
    *,
    similarity: Similarity = "cosine",
    ids_x: ArrayLike | None = None,
    ids_y: ArrayLike | None = None,
    exclude_self: ExcludeSelf = False,
) -> float:
    """Fraction of the rows of ``Zx`` that have a partner among their ``k`` nearest rows of ``Zy``.

    {queries_and_gallery}
    k : int, default=1
        How many of the nearest rows count.
    similarity : {"cosine", "euclidean"}, default="cosine"
        What "nearest" means.
    ids_x, ids_y : array_like of shape (n,) and (m,), optional
        Relevant to a query are the rows of ``Zy`` with its id: of a gallery of another size, several
        captions of one image, all rows of one label. One among the k is enough. Queries without a partner do
        not count.
    exclude_self : bool or array_like of int of shape (n,), default=False
        True where a set is searched with its own rows: row i of ``Zy``, which is query i itself, is left out
        of its gallery. Queries that are some of the gallery's rows give the number of their row, -1 for none.

    Returns
    -------
    float
        Between 0 and 1. Rows equally near stand in random order, and the recall is its expected value: where
        all rows are equal, k / n.

    Raises
    ------
    ValueError
        For shapes that do not fit, ``k`` below 1, no query with a partner, an unknown similarity, NaN or
        infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.metrics import recall_at_k
    >>> Z = np.eye(3)
    >>> recall_at_k(Z, Z), round(recall_at_k(Z, Z[[0, 2, 1]]), 3)
    (1.0, 0.333)

    Five captions of each of two images find their image, a sixth does not:

    >>> images = np.eye(2)
    >>> captions = np.repeat(images, [5, 6], axis=0)
    >>> captions[5] = [1.0, 0.5]
    >>> image = np.repeat([0, 1], [5, 6])
    >>> round(recall_at_k(captions, images, ids_x=image, ids_y=[0, 1]), 3)
    0.909
    """
    check_k(k)
    counts = _with_partners(_counts(_Search.of(Zx, Zy, similarity, ids_x, ids_y, exclude_self)))
    # Of the t tied rows s are among the k: without a partner with probability C(t - m, s) / C(t, s)
    t, m = counts.tied, counts.tied_partners
    s = np.clip(min(int(k), 2**62) - counts.nearer, 0, t)  # which numpy's integers hold
    missed = np.ones(len(t))
    for i in range(int(m.max())):
        missed *= np.where(i < m, np.maximum(t - s - i, 0) / np.maximum(t - i, 1), 1.0)
    return float(np.mean(1.0 - missed))


@documented
def median_rank(
    Zx: ArrayLike,
    Zy: ArrayLike,
    *,
    similarity: Similarity = "cosine",
    ids_x: ArrayLike | None = None,
    ids_y: ArrayLike | None = None,
    exclude_self: ExcludeSelf = False,
) -> float:
    """Median over the rows of ``Zx`` of the rank of their first partner among the rows of ``Zy``; 1 is best.

    {queries_and_gallery}
    {similarity}
    ids_x, ids_y : array_like of shape (n,) and (m,), optional
        Relevant to a query are the rows of ``Zy`` with its id; the first one found counts. Queries
        without a partner do not count.
    exclude_self : bool or array_like of int of shape (n,), default=False
        True where a set is searched with its own rows, as for :func:`recall_at_k`.

    Returns
    -------
    float
        Between 1 and m. Rows equally near stand in random order; a rank is its expected value.

    Raises
    ------
    ValueError
        For shapes that do not fit, no query with a partner, an unknown similarity, NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.metrics import median_rank
    >>> median_rank(np.eye(3), np.eye(3))
    1.0
    """
    counts = _with_partners(_counts(_Search.of(Zx, Zy, similarity, ids_x, ids_y, exclude_self)))
    return float(np.median(counts.nearer + (counts.tied + 1) / (counts.tied_partners + 1)))


@documented
def mean_average_precision(
    Zx: ArrayLike,
    Zy: ArrayLike,
    labels_x: ArrayLike,
    labels_y: ArrayLike,
    *,
    similarity: Similarity = "cosine",
    exclude_self: ExcludeSelf = False,
) -> float:
    """Mean over the rows of ``Zx`` of the average precision of the rows of ``Zy`` that share their label.

    Parameters
    ----------
    Zx : array_like of shape (n, d)
        Queries.
    Zy : array_like of shape (m, d)
        Gallery, ranked by similarity to each query.
    labels_x, labels_y : array_like of shape (n,) and (m,)
        A row of ``Zy`` is relevant to a query with the same label. Queries without a relevant row do not
        count.
    {similarity}
    exclude_self : bool or array_like of int of shape (n,), default=False
        True where a set is searched with its own rows: row i of ``Zy``, which is query i itself and always
        the nearest, is left out of its gallery. Queries that are some of the gallery's rows give the number
        of their row, -1 for none.

    Returns
    -------
    float
        Between 0 and 1. Rows equally near stand in random order, and the precision is its expected value.

    Raises
    ------
    ValueError
        For shapes that do not fit, no query with a relevant row, an unknown similarity, NaN or infinity.

    References
    ----------
    Rasiwasia et al., "A new approach to cross-modal multimedia retrieval", ACM Multimedia 2010.

    F. McSherry and M. Najork, "Computing information retrieval performance measures efficiently in the
    presence of tied scores", ECIR 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.metrics import mean_average_precision
    >>> mean_average_precision(np.eye(2), np.eye(2), ["cat", "dog"], ["cat", "dog"])
    1.0

    A set searched with its own rows, all of them equal: two others, one of them relevant, in random order.

    >>> Z = np.ones((4, 2))
    >>> mean_average_precision(Z[:3], Z[:3], [0, 0, 1], [0, 0, 1], exclude_self=True)
    0.75
    """
    search = _Search.of(Zx, Zy, similarity, labels_x, labels_y, exclude_self, names=("labels_x", "labels_y"))
    total, queries = 0.0, 0
    for block in search:
        order = np.argsort(-block.near, axis=1, kind="stable")
        near = np.take_along_axis(block.near, order, axis=1)
        slack = _slack(near, search.lengths[order], block.norms[:, np.newaxis])
        relevant = np.take_along_axis(block.partner, order, axis=1).cumsum(axis=1)
        # the first and the last place, from 0, of the group of rows as near as the one at each place
        m = near.shape[1]
        places = np.arange(m)
        with np.errstate(invalid="ignore"):  # rows left out are infinitely far, and last
            first = np.ones(near.shape, dtype=bool)
            first[:, 1:] = near[:, :-1] - near[:, 1:] > slack[:, :-1]
        start = np.maximum.accumulate(np.where(first, places, 0), axis=1)
        last = np.append(first[:, 1:], np.ones((len(near), 1), dtype=bool), axis=1)
        end = np.minimum.accumulate(np.where(last, places, m)[:, ::-1], axis=1)[:, ::-1]
        # R relevant rows before a group of t with r: at its place j (from 0), with the probability r / t of a
        # relevant row, the precision is expected to be (R + 1 + j (r - 1) / (t - 1)) / (place + 1)
        before = np.where(start > 0, np.take_along_axis(relevant, np.maximum(start - 1, 0), axis=1), 0)
        r = np.take_along_axis(relevant, end, axis=1) - before
        t = end - start + 1
        expected = before + 1 + (places - start) * (r - 1) / np.maximum(t - 1, 1)
        precision = (r / t * expected / (places + 1)).sum(axis=1)
        found = relevant[:, -1]
        total += float((precision[found > 0] / found[found > 0]).sum())
        queries += int((found > 0).sum())
    if queries == 0:
        raise ValueError("no query has a relevant row: labels_x and labels_y have no label in common")
    return total / queries


class _Counts(NamedTuple):
    """For each query: rows nearer than its nearest partner, rows as near, partners among those."""

    nearer: NDArray[np.intp]
    tied: NDArray[np.intp]
    tied_partners: NDArray[np.intp]  # 0: the query has no partner


def _counts(search: "_Search") -> _Counts:
    parts = []
    for block in search:
        row = np.arange(len(block.near))
        best = np.where(block.partner, block.near, -np.inf).argmax(axis=1)
        own = block.near[row, best]
        # equal rows must tie even where the product rounds them differently
        slack = _slack(own, search.lengths[best], block.norms)
        with np.errstate(invalid="ignore"):
            nearer = block.near > (own + slack)[:, np.newaxis]
            tied = np.abs(block.near - own[:, np.newaxis]) <= slack[:, np.newaxis]
        parts.append((nearer.sum(axis=1), tied.sum(axis=1), (tied & block.partner).sum(axis=1)))
    return _Counts(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _with_partners(counts: _Counts) -> _Counts:
    has = counts.tied_partners > 0
    if not has.any():
        raise ValueError("no query has a partner: ids_x and ids_y have no id in common")
    return _Counts(*(part[has] for part in counts))


def _slack(near: NDArray[Any], length: NDArray[Any], norm: NDArray[Any]) -> NDArray[np.float64]:
    """What rounding may have done to similarities of rows of these lengths."""
    size = np.where(np.isfinite(near), np.abs(near), 0.0) + length * (norm + length)
    return 8 * np.finfo(float).eps * size  # type: ignore[no-any-return]


class _Block(NamedTuple):
    """Some queries: their similarity to every row of the gallery, which rows are partners, their lengths."""

    near: NDArray[np.float64]  # -infinity where a row is left out
    partner: NDArray[np.bool_]
    norms: NDArray[np.float64]


class _Search(NamedTuple):
    """Checked queries and gallery, in blocks of queries of some 8 MB."""

    zx: NDArray[np.float64]
    zy: NDArray[np.float64]
    penalty: NDArray[np.float64]  # similarity = x·y - penalty
    lengths: NDArray[np.float64]  # of the rows of the gallery
    codes: tuple[NDArray[np.intp], NDArray[np.intp]] | None  # None: partners have the same place
    own: NDArray[np.intp] | None  # the row of the gallery that a query is, or -1

    @classmethod
    def of(
        cls,
        Zx: ArrayLike,
        Zy: ArrayLike,
        similarity: Similarity,
        ids_x: ArrayLike | None,
        ids_y: ArrayLike | None,
        exclude_self: ExcludeSelf,
        names: tuple[str, str] = ("ids_x", "ids_y"),
    ) -> "_Search":
        zx, zy = finite_matrix("Zx", Zx), finite_matrix("Zy", Zy)
        if zx.shape[1] != zy.shape[1]:
            raise ValueError(
                f"Zx and Zy must have the same number of columns, got {zx.shape[1]} and {zy.shape[1]}"
            )
        codes = None
        check_same_rows(**{"Zx": Zx, names[0]: ids_x})
        check_same_rows(**{"Zy": Zy, names[1]: ids_y})
        if ids_x is None and ids_y is None:
            check_same_rows(Zx=Zx, Zy=Zy)
            if len(zx) != len(zy):
                raise ValueError(
                    f"Zx and Zy must have the same shape, got {zx.shape} and {zy.shape}; where they are not "
                    f"paired row by row, {names[0]} and {names[1]} say what belongs together"
                )
            if exclude_self is True:
                raise ValueError("exclude_self leaves no partner where row i of Zy is the partner of query i")
        elif ids_x is None or ids_y is None:
            raise ValueError(f"{names[0]} and {names[1]} must be given together")
        else:
            codes = _codes(np.asarray(ids_x), np.asarray(ids_y), len(zx), len(zy), names)
        own = _own_rows(exclude_self, len(zx), len(zy))
        return cls(*_embedded(zx, zy, similarity), codes, own)

    def __iter__(self) -> Iterator[_Block]:  # type: ignore[override]
        m = len(self.zy)
        step = max(1, 2**20 // m)
        for start in range(0, len(self.zx), step):
            rows = np.arange(start, min(start + step, len(self.zx)))
            near = self.zx[rows] @ self.zy.T - self.penalty
            if self.codes is None:
                partner = np.zeros(near.shape, dtype=bool)
                partner[np.arange(len(rows)), rows] = True
            else:
                partner = self.codes[0][rows][:, np.newaxis] == self.codes[1]
            if self.own is not None:
                left_out = np.flatnonzero(self.own[rows] >= 0)
                near[left_out, self.own[rows[left_out]]] = -np.inf
                partner[left_out, self.own[rows[left_out]]] = False
            yield _Block(near, partner, np.linalg.norm(self.zx[rows], axis=1))


def _codes(
    ids_x: NDArray[Any], ids_y: NDArray[Any], n: int, m: int, names: tuple[str, str]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Numbers that are equal where the ids are."""
    for name, ids, rows in ((names[0], ids_x, n), (names[1], ids_y, m)):
        if ids.shape != (rows,):
            raise ValueError(f"{name} must have shape ({rows},), got {ids.shape}")
    number: dict[Any, int] = {}
    x, y = (
        np.array([number.setdefault(value, len(number)) for value in ids.tolist()], dtype=np.intp)
        for ids in (ids_x, ids_y)
    )
    return x, y


def _own_rows(exclude_self: Any, n: int, m: int) -> NDArray[np.intp] | None:
    if isinstance(exclude_self, (bool, np.bool_)):
        if not exclude_self:
            return None
        if n != m:
            raise ValueError(
                f"exclude_self=True is for a set searched with its own rows, got {n} queries and a gallery "
                f"of {m}: give the row of the gallery that each query is, -1 for none"
            )
        return np.arange(n)
    own = np.asarray(exclude_self)
    if own.shape != (n,) or own.dtype.kind not in "iu" or (own < -1).any() or (own >= m).any():
        raise ValueError(
            f"exclude_self must be True, False or {n} row numbers of the gallery from -1 (none) to {m - 1}, "
            f"got {np.array2string(own, threshold=8)}"
        )
    return own.astype(np.intp)


def _embedded(
    zx: NDArray[Any], zy: NDArray[Any], similarity: Similarity
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Queries, gallery and penalty, with which x·y - penalty is the similarity; the gallery's lengths."""
    choice("cosine", "euclidean")("similarity", similarity)
    zx, zy = zx.astype(np.float64), zy.astype(np.float64)
    if similarity == "cosine":
        return unit_rows(zx), unit_rows(zy), np.zeros(len(zy)), np.ones(len(zy))
    # values of at most 1, by a power of 2: their squares neither overflow nor, all of them, vanish
    exponent = -int(np.frexp(max(np.abs(zx).max(), np.abs(zy).max()))[1])
    zx, zy = np.ldexp(zx, exponent), np.ldexp(zy, exponent)
    # -|x - y|²/2 = x·y - |y|²/2 up to |x|²/2, the same for every row of zy; centred for accuracy, at the
    # median, which no distant row moves
    centre = np.median(zy, axis=0)
    zx, zy = zx - centre, zy - centre
    penalty = np.einsum("ij,ij->i", zy, zy) / 2
    return zx, zy, penalty, np.sqrt(2 * penalty)
