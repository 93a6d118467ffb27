r"""Integration of single-cell data sets by CCA: exact, in memory that the number of cells does not change.

Two data sets measure the same genes in different cells. Each cell is standardised over its genes; the
directions along which cells of both sets agree most are the singular vectors of :math:`X Y^\top`, cells by
cells. That matrix is never needed: with the eigendecompositions of the two matrices of genes by genes,
:math:`X^\top X = E_x \Lambda_x E_x^\top` and likewise for Y,

.. math:: \Lambda_x^{1/2} E_x^\top E_y \Lambda_y^{1/2} = U D V^\top

has its singular values D, and the cells' coordinates are :math:`X E_x \Lambda_x^{-1/2} U`: exact, in one pass
over the cells, in genes² numbers, and with weights of genes that map new cells to the same space.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from fastcca._arguments.arrays import as_matrix, check_same_columns, column_names, refuse_non_finite
from fastcca._arguments.parameters import POSITIVE_INTEGER, K, at_most
from fastcca._arguments.sparse import as_rows, is_sparse
from fastcca._docstrings import with_paragraphs
from fastcca.errors import NumericalError
from fastcca.functional.linalg import product, truncated_svd
from fastcca.functional.moments import Moments, MomentsStream, from_parts
from fastcca.functional.retrieval import top_k
from fastcca.functional.sparse_moments import add_products, both_triangles, sparse_pays
from fastcca.streaming import read

__all__ = [
    "Anchors",
    "CellIntegration",
    "LabelTransfer",
    "cell_moments",
    "find_anchors",
    "integrate",
    "transfer_labels",
]

Floats = NDArray[np.float64]

# Bytes of the dense rows that are made of cells at a time.
CHUNK = 2**24
# Singular values at most so much of the largest that there could be are rounding.
NOTHING = 1e-13


@with_paragraphs(
    {
        "cells_and_coordinates": """
            Parameters
            ----------
            cells : as :func:`cell_moments` takes them
                With the genes of the fit.

            Returns
            -------
            ndarray of shape (cells, k)
            """
    }
)
@dataclass(frozen=True)
class CellIntegration:
    """The common space of two sets of cells.

    Attributes
    ----------
    singular_values : ndarray of shape (k,)
        Those of the product of the standardised cells, X Y', descending.
    x_weights, y_weights : ndarray of shape (genes, k)
        Weights of the genes: coordinates are standardised cells times these. Those of the cells of the fit
        are orthonormal.
    genes : ndarray of str of shape (genes,), or None
        Names of the genes, where the data had some.
    n_cells : tuple of two int
        Cells of both sets.
    """

    singular_values: Floats
    x_weights: Floats
    y_weights: Floats
    genes: NDArray[np.object_] | None
    n_cells: tuple[int, int]

    def transform(self, cells: Any) -> Floats:
        """Coordinates of cells of the first kind, those of the fit or new ones.

        {cells_and_coordinates}

        Raises
        ------
        ValueError
            For other genes, NaN or infinity, cells without counts.
        """
        return self._coordinates(cells, self.x_weights)

    def transform_y(self, cells: Any) -> Floats:
        """Coordinates of cells of the second kind, as :meth:`transform` of the first.

        {cells_and_coordinates}
        """
        return self._coordinates(cells, self.y_weights)

    def _coordinates(self, cells: Any, weights: Floats) -> Floats:
        source = _Cells("cells", cells)
        _check_genes(self.genes, source.genes)
        parts = []
        for part in source.standardised():
            if part.shape[1] != len(weights):
                raise ValueError(f"the cells have {part.shape[1]} genes, but the fit had {len(weights)}")
            parts.append(product(part.astype(np.float64, copy=False), weights))
        return np.vstack(parts) if parts else np.zeros((0, weights.shape[1]))


def cell_moments(cells: Any, *, n_threads: int | None = None) -> Moments:
    """Moments of the genes of standardised cells, in one pass: all that :func:`integrate` needs of a set.

    Each cell is centred and divided by its standard deviation over the genes while it is packed. Moments of
    parts add up, ``+``, to those of the set: of files, of machines, of what arrives later.

    Parameters
    ----------
    cells : array-like, sparse matrix, data frame, AnnData, path, or iterable of chunks
        Cells by genes, normalised as you like (logarithms of counts per 10,000, say). AnnData may be backed:
        its ``X`` is read piece by piece. A path is a file that :func:`fastcca.streaming.read` opens. Of an
        iterator each item is an array or a sparse matrix of the next cells. float32 data are multiplied in
        float32.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    Moments
        Of one view, the genes.

    Raises
    ------
    ValueError
        For NaN and infinity and for cells without counts (all genes equal), by their row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.singlecell import cell_moments
    >>> counts = np.random.default_rng(0).poisson(1.0, size=(100, 20))
    >>> cell_moments(counts)
    Moments(n=100, dims=(20,))
    """
    return _moments_of("cells", cells, n_threads)


def integrate(x: Any, y: Any, n_components: int = 30, *, n_threads: int | None = None) -> Any:
    """The common space of two sets of cells, or of a set and each of several others.

    Parameters
    ----------
    x : cells as :func:`cell_moments` takes them, or their Moments
        The first set, of shape (cells, genes); the reference where there are several others.
    y : cells, or their Moments, or a dict of such by name
        The second set, with the same genes in the same order.
    n_components : int, default=30
        Number of directions k.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    CellIntegration
        Or a dict of them by the names of ``y``.

    Raises
    ------
    ValueError
        As :func:`cell_moments`; for different genes, and more components than directions.
    NumericalError
        If the sets have nothing in common.

    References
    ----------
    A. Butler, P. Hoffman, P. Smibert, E. Papalexi and R. Satija, "Integrating single-cell transcriptomic data
    across different conditions, technologies, and species", Nature Biotechnology 36, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import singlecell
    >>> rng = np.random.default_rng(0)
    >>> types = rng.gamma(1.0, size=(3, 50))
    >>> X, Y = (np.log1p(rng.poisson(5 * types[rng.integers(3, size=n)])) for n in (200, 150))
    >>> found = singlecell.integrate(X, Y, n_components=3)
    >>> zx, zy = found.transform(X), found.transform_y(Y)
    >>> zx.shape, zy.shape, bool(np.allclose(zx.T @ zx, np.eye(3)))
    ((200, 3), (150, 3), True)
    """
    k = POSITIVE_INTEGER("n_components", n_components)
    first = _gram("x", x, n_threads)
    if isinstance(y, Mapping):
        return {
            name: _pair(first, _gram(str(name), cells, n_threads), k, n_threads) for name, cells in y.items()
        }
    return _pair(first, _gram("y", y, n_threads), k, n_threads)


@dataclass(frozen=True)
class Anchors:
    """Pairs of cells of two sets that are among each other's nearest.

    Attributes
    ----------
    x_cells, y_cells : ndarray of int of shape (pairs,)
        Their rows, ordered by ``x_cells``, then ``y_cells``.
    similarities : ndarray of shape (pairs,)
        Cosine of the angle between their coordinates.
    """

    x_cells: NDArray[np.int64]
    y_cells: NDArray[np.int64]
    similarities: Floats

    def __len__(self) -> int:
        return len(self.x_cells)


def find_anchors(
    zx: npt.ArrayLike, zy: npt.ArrayLike, k: int = 5, *, n_threads: int | None = None
) -> Anchors:
    """Mutual nearest neighbours: pairs of which each cell is among the k nearest of the other.

    Parameters
    ----------
    zx, zy : array_like of shape (n, d), (m, d)
        Coordinates of both sets, of :meth:`CellIntegration.transform` and ``transform_y``; compared by the
        angle between them, exactly.
    k : int, default=5
        Neighbours.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    Anchors

    Raises
    ------
    ValueError
        For NaN or infinity, different numbers of columns, k above the number of cells of a set.

    References
    ----------
    L. Haghverdi, A. T. L. Lun, M. D. Morgan and J. C. Marioni, "Batch effects in single-cell RNA-sequencing
    data are corrected by matching mutual nearest neighbors", Nature Biotechnology 36, 2018.

    Examples
    --------
    >>> from fastcca.singlecell import find_anchors
    >>> found = find_anchors([[1.0, 0.1], [0.0, 1.0]], [[0.1, 1.0], [1.0, 0.0]], k=1)
    >>> list(zip(found.x_cells.tolist(), found.y_cells.tolist()))
    [(0, 1), (1, 0)]
    """
    x, y = as_matrix("zx", zx), as_matrix("zy", zy)
    K("k", k)
    at_most("k", k, min(len(x), len(y)), f"the {min(len(x), len(y))} cells of the smaller set")
    there, similarities = top_k(x, y, k, n_threads=n_threads)
    back, _ = top_k(y, x, k, n_threads=n_threads)
    rows = np.repeat(np.arange(len(x), dtype=np.int64), k)
    pairs = rows * len(y) + there.ravel()
    others = back.ravel() * len(y) + np.repeat(np.arange(len(y), dtype=np.int64), k)
    mutual = np.isin(pairs, others)
    order = np.argsort(pairs[mutual], kind="stable")
    chosen = np.flatnonzero(mutual)[order]
    return Anchors(rows[chosen], there.ravel()[chosen], similarities.ravel()[chosen].astype(np.float64))


@dataclass(frozen=True)
class LabelTransfer:
    """Labels of cells, from those of their neighbours.

    Attributes
    ----------
    labels : ndarray of shape (n,)
        The label with the largest weight; of equal ones the first of ``classes``.
    confidences : ndarray of shape (n,)
        Its part of the weight of all neighbours, up to 1.
    classes : ndarray of shape (c,)
        The labels, sorted.
    probabilities : ndarray of shape (n, c)
        The weight of each label; rows add up to 1.
    """

    labels: NDArray[Any]
    confidences: Floats
    classes: NDArray[Any]
    probabilities: Floats


def transfer_labels(
    z: npt.ArrayLike,
    z_reference: npt.ArrayLike,
    labels: npt.ArrayLike,
    k: int = 30,
    *,
    n_threads: int | None = None,
) -> LabelTransfer:
    """Labels of cells from their k nearest cells of another set, found exactly.

    A neighbour weighs one minus the ratio of its distance to that of the farthest of the k, in a space in
    which the angle between coordinates counts; the farthest of all equal neighbours weighs as the others.

    Parameters
    ----------
    z : array_like of shape (n, d)
        Coordinates of the cells without labels.
    z_reference : array_like of shape (m, d)
        Of those with labels.
    labels : array_like of shape (m,)
        Their labels, texts or numbers.
    k : int, default=30
        Neighbours, at most m.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    LabelTransfer

    Raises
    ------
    ValueError
        For other than one label for each reference cell, k above their number, NaN or infinity.

    Examples
    --------
    >>> from fastcca.singlecell import transfer_labels
    >>> reference = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]
    >>> found = transfer_labels([[0.1, 1.0], [1.0, 0.05]], reference, ["T cell", "T cell", "B cell"], k=2)
    >>> found.labels.tolist()
    ['B cell', 'T cell']
    """
    queries, gallery = as_matrix("z", z), as_matrix("z_reference", z_reference)
    given = np.asarray(labels)
    if given.shape != (len(gallery),):
        raise ValueError(
            f"labels must have one entry for each of {len(gallery)} cells, got shape {given.shape}"
        )
    K("k", k)
    at_most("k", k, len(gallery), f"the {len(gallery)} cells with labels")
    nearest, similarities = top_k(queries, gallery, k, n_threads=n_threads)
    distances = np.sqrt(np.maximum(2 - 2 * similarities.astype(np.float64), 0.0))
    farthest = distances[:, -1:]
    weights = 1 - np.divide(distances, farthest, out=np.zeros_like(distances), where=farthest > 0)
    weights[weights.sum(axis=1) <= 0] = 1.0  # all as far
    classes, codes = np.unique(given, return_inverse=True)
    probabilities = np.zeros((len(queries), len(classes)))
    rows = np.repeat(np.arange(len(queries)), k)
    np.add.at(probabilities, (rows, codes.ravel()[nearest.ravel()]), weights.ravel())
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    best = probabilities.argmax(axis=1)
    return LabelTransfer(classes[best], probabilities.max(axis=1), classes, probabilities)


# ---- cells


class _Cells:
    """A set of cells, whatever holds it, by chunks of dense standardised rows."""

    def __init__(self, name: str, cells: Any) -> None:
        self.name = name
        self.genes = _genes_of(cells)
        if hasattr(cells, "var_names") and hasattr(cells, "X"):  # AnnData
            cells = cells.X
        self.chunks = _chunks_of(name, cells)

    def rows(self) -> Iterator[tuple[Any, int]]:
        """Checked rows of each chunk, sparse ones in canonical form, and the number of their first cell."""
        start = 0
        for number, chunk in enumerate(self.chunks()):
            try:
                rows: Any = as_rows(self.name, chunk)
            except ValueError as error:
                raise ValueError(f"chunk {number} (from cell {start}): {error}") from None
            yield rows, start
            start += rows.shape[0]

    def standardised(self) -> Iterator[NDArray[Any]]:
        """Runs of cells with mean 0 and standard deviation 1 over their genes."""
        for rows, first in self.rows():
            yield from self.dense(rows, first)

    def dense(self, rows: Any, first: int) -> Iterator[NDArray[Any]]:
        """These rows, standardised, by runs that are not large."""
        step = max(1, CHUNK // (rows.itemsize if not is_sparse(rows) else 8) // rows.shape[1])
        for low in range(0, rows.shape[0], step):
            part = rows[low : low + step]
            if not is_sparse(part):
                yield self._standardise(part, first + low)
                continue
            scaled, shift = self.entries(part, first + low)
            dense: NDArray[Any] = scaled.astype(rows.dtype).toarray()
            dense -= shift.astype(rows.dtype)[:, np.newaxis]
            yield dense

    def entries(self, rows: Any, first: int) -> tuple[Any, Floats]:
        """Sparse cells by their deviations, and what is to be subtracted from every gene of each."""
        n, genes = rows.shape
        held = np.diff(rows.indptr)
        cell = np.repeat(np.arange(n), held)
        data = rows.data.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.bincount(cell, data, n) / genes
            squares = np.bincount(cell, (data - mean[cell]) ** 2, n) + (genes - held) * mean**2
            deviation = np.sqrt(squares / (genes - 1))
        self._check_cells(mean, deviation, rows.dtype, genes, first)
        scaled = type(rows)((data / deviation[cell], rows.indices, rows.indptr), shape=rows.shape)
        return scaled, mean / deviation

    def _standardise(self, rows: NDArray[Any], first: int) -> NDArray[Any]:
        refuse_non_finite(self.name, rows, first_row=first)
        dense = np.array(rows)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = dense.mean(axis=1, dtype=np.float64)
            dense -= mean[:, np.newaxis].astype(dense.dtype)
            deviation = np.sqrt(np.einsum("ij,ij->i", dense, dense, dtype=np.float64) / (dense.shape[1] - 1))
        self._check_cells(mean, deviation, dense.dtype, dense.shape[1], first)
        dense /= deviation[:, np.newaxis].astype(dense.dtype)
        return dense

    def _check_cells(self, mean: Floats, deviation: Floats, dtype: Any, genes: int, first: int) -> None:
        same = deviation <= 8 * np.finfo(dtype).eps * np.abs(mean)
        if same.any():
            cell = int(same.argmax())
            raise ValueError(
                f"cell {first + cell} of {self.name} has no counts: all of its {genes} genes are "
                f"{mean[cell]:g}. Leave such cells out first"
            )
        if not np.isfinite(deviation).all():
            raise NumericalError(f"cells of {self.name} overflow {dtype}: scale them down")


def _genes_of(cells: Any) -> NDArray[np.object_] | None:
    names = getattr(cells, "var_names", None)
    return column_names(cells) if names is None else np.asarray(list(names), dtype=object)


def _chunks_of(name: str, cells: Any) -> Callable[[], Iterator[Any]]:
    """What gives the chunks of a set of cells."""
    if isinstance(cells, (str, os.PathLike)):
        chunks = read(cells)
        return lambda: (views[0] for views in chunks)
    if is_sparse(cells) or isinstance(cells, np.ndarray) or hasattr(cells, "columns"):
        whole = as_rows(name, cells, min_columns=2)
        return lambda: iter([whole])
    if hasattr(cells, "shape") and hasattr(cells, "__getitem__"):  # of a file: read by rows
        n, genes = (int(size) for size in cells.shape)
        step = max(1, CHUNK // 8 // max(1, genes))
        return lambda: (cells[start : start + step] for start in range(0, n, step))
    if isinstance(cells, (list, tuple)) and not any(hasattr(part, "shape") for part in cells):
        whole = as_rows(name, cells, min_columns=2)
        return lambda: iter([whole])
    if not hasattr(cells, "__iter__"):
        raise TypeError(
            f"{name} must be cells by genes: an array, a sparse matrix, AnnData, a path or an iterable of "
            f"chunks, got {type(cells).__name__}"
        )
    return lambda: iter(cells)


def _check_genes(expected: NDArray[np.object_] | None, got: NDArray[np.object_] | None) -> None:
    if expected is None or got is None or list(expected) == list(got):
        return
    if set(expected) == set(got):
        raise ValueError("both sets have the same genes in another order: bring them into one")
    missing = [gene for gene in expected if gene not in set(got)]
    which = f"{missing[0]!r} is missing" if missing else f"there are {len(got)}, expected {len(expected)}"
    raise ValueError(f"both sets must have the same genes: {which}. Keep those that all sets have")


# ---- the solution


@dataclass(frozen=True)
class _Gram:
    """X'X of standardised cells as E Λ E', and how many there are."""

    values: Floats
    vectors: Floats
    genes: NDArray[np.object_] | None
    n: int


class _EntrySums:
    """Moments of sparse standardised cells, from the products of the entries that are there.

    Of cells z = y - a 1, y their scaled entries: Z'Z = Y'Y - b 1' - 1 b' + c 1 1' with b = Y'a, c = a'a.
    """

    def __init__(self, genes: int) -> None:
        self.products = np.zeros((genes, genes))
        self.across, self.total = np.zeros(genes), np.zeros(genes)
        self.shift = self.squares = 0.0
        self.n = 0
        self.eps = 0.0

    def add(self, scaled: Any, shift: Floats, eps: float, n_threads: int | None) -> None:
        genes = len(self.total)
        add_products(self.products, scaled, None, n_threads)
        of_entries = np.repeat(shift, np.diff(scaled.indptr))
        self.across += np.bincount(scaled.indices, of_entries * scaled.data, genes)
        self.total += np.bincount(scaled.indices, scaled.data, genes)
        self.shift += float(shift.sum())
        self.squares += float(shift @ shift)
        self.n += len(shift)
        self.eps = max(self.eps, eps)

    def moments(self) -> Moments:
        """Of all that was added; the sums are used up."""
        mean = (self.total - self.shift) / self.n
        for i, row in enumerate(self.products):
            row -= self.across[i] - self.squares + self.across + self.n * mean[i] * mean
        both_triangles(self.products)
        variation = self.products.diagonal()
        lost = np.divide(self.n * mean**2, variation, out=np.zeros_like(mean), where=variation > 0)
        return from_parts(
            (len(mean),),
            np.full(len(mean), self.eps),
            float(self.n),
            mean,
            np.zeros_like(mean),
            self.products,
            rounding=float(np.finfo(np.float64).eps) * (1 + lost),
        )


def _moments_of(name: str, cells: Any, n_threads: int | None) -> Moments:
    total, stream, entries = Moments(), None, None
    source, genes = _Cells(name, cells), None
    for rows, first in source.rows():
        genes = genes or rows.shape[1]
        check_same_columns((rows.shape[1],), (genes,))
        if is_sparse(rows) and sparse_pays([rows]):
            entries = entries or _EntrySums(genes)
            step = max(1, CHUNK // 16 * rows.shape[0] // max(1, rows.nnz))  # of some CHUNK bytes of entries
            for low in range(0, rows.shape[0], step):
                scaled, shift = source.entries(rows[low : low + step], first + low)
                entries.add(scaled, shift, float(np.finfo(rows.dtype).eps), n_threads)
            continue
        for part in source.dense(rows, first):
            if stream is not None and not stream.takes([part]):
                total, stream = total + stream.moments(n_threads), None
            if stream is None:
                stream = MomentsStream([part], [name], n_threads)
            else:
                stream.update([part], n_threads)
    if stream is not None:
        total = total + stream.moments(n_threads)
    if entries is not None:
        total = total + entries.moments()
    if not total.n:
        raise ValueError(f"there are no cells in {name}")
    return total


def _gram(name: str, cells: Any, n_threads: int | None) -> _Gram:
    genes = None if isinstance(cells, Moments) else _genes_of(cells)
    moments = cells if isinstance(cells, Moments) else _moments_of(name, cells, n_threads)
    if len(moments.dims) != 1:
        raise ValueError(
            f"{name}: moments must be those of cell_moments, of one view, got {len(moments.dims)}"
        )
    if moments.n < 2:
        raise ValueError(f"{name} must have at least two cells, got {moments.n:g}")
    gram = moments.scatter + moments.n * np.outer(moments.mean, moments.mean)
    values, vectors = np.linalg.eigh(gram)
    # directions below are rounding, and would be weights of nothing
    kept = values > values[-1] * max(4 * len(gram) * np.finfo(float).eps, float(moments.rounding.max()))
    return _Gram(values[kept][::-1], vectors[:, kept][:, ::-1], genes, int(moments.n))


def _pair(x: _Gram, y: _Gram, k: int, n_threads: int | None) -> CellIntegration:
    if len(x.vectors) != len(y.vectors):
        raise ValueError(
            f"both sets must have the same genes, got {len(x.vectors)} and {len(y.vectors)}: "
            "keep those that all sets have"
        )
    _check_genes(x.genes, y.genes)
    most = min(len(x.values), len(y.values))
    at_most("n_components", k, most, f"the {most} directions that the cells have")
    rx, ry = np.sqrt(x.values), np.sqrt(y.values)
    across = product(np.ascontiguousarray(x.vectors.T), np.ascontiguousarray(y.vectors), n_threads)
    U, d, Vt = truncated_svd(rx[:, np.newaxis] * across * ry, k, tol=1e-14, n_threads=n_threads)
    if d[0] <= NOTHING * rx[0] * ry[0]:
        raise NumericalError("the cells of both sets have nothing in common: no gene varies in both")
    wx = product(np.ascontiguousarray(x.vectors), U / rx[:, np.newaxis], n_threads)
    wy = product(np.ascontiguousarray(y.vectors), Vt.T / ry[:, np.newaxis], n_threads)
    sign = np.sign(wx[np.abs(wx).argmax(axis=0), np.arange(k)])
    genes = y.genes if x.genes is None else x.genes
    return CellIntegration(d, wx * sign, wy * sign, genes, (x.n, y.n))
