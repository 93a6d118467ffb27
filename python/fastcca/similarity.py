"""How similar representations are: CKA, canonical correlations and Procrustes distances, from moments.

Each measure takes two matrices of the same rows, or :class:`~fastcca.Moments` of them; :func:`compare` takes
any number of layers and gives all pairs from one pass, with jackknife intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from fastcca._arguments.arrays import as_matrix
from fastcca._arguments.modalities import check_modalities
from fastcca._arguments.parameters import integer
from fastcca._docstrings import with_paragraphs
from fastcca.errors import NumericalError
from fastcca.functional.linalg import product
from fastcca.functional.moments import Moments, MomentsStream, from_parts
from fastcca.functional.multiview import whiten

__all__ = [
    "Activations",
    "SimilarityMatrix",
    "compare",
    "linear_cka",
    "mean_cca",
    "procrustes",
    "pwcca",
    "rv_coefficient",
    "svcca",
]

Floats = NDArray[np.float64]

documented = with_paragraphs(
    {
        "as_linear_cka": """
            Parameters
            ----------
            X, y, n_threads
                As in :func:`linear_cka`.
            """,
        "returns_similarity": """
            Returns
            -------
            float
                From 0 to 1.
            """,
    }
)

MOST_SCATTER = 1e148  # whose square times the number of entries is in range


class Activations:
    """Collects what comparisons of layers need, over batches: sums that add up, nothing of the rows.

    Parameters
    ----------
    groups : int, default=0
        Number of groups that batches are dealt to in turn, for jackknife intervals; each keeps moments of its
        own, d² numbers for d columns in all. 0: no intervals.
    debiased : bool, default=True
        Whether to collect what the debiased CKA takes besides the moments.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.

    Attributes
    ----------
    names : tuple of str
        Names of the layers.
    moments : Moments
        Of all rows so far.
    n : float
        Their number.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.similarity import Activations, compare
    >>> rng = np.random.default_rng(0)
    >>> activations = Activations()
    >>> for _ in range(5):
    ...     x = rng.normal(size=(40, 3))
    ...     _ = activations.update({"first": x, "second": x @ [[1.0, 2.0], [0.0, 1.0], [1.0, 0.0]]})
    >>> compare(activations, method="mean_cca").values.round(6)
    array([[1., 1.],
           [1., 1.]])
    """

    def __init__(self, groups: int = 0, debiased: bool = True, n_threads: int | None = None) -> None:
        self.groups = integer(0)("groups", groups)
        if self.groups == 1:
            raise ValueError("groups must be 0 or at least 2, got 1")
        self.debiased = bool(debiased)
        self.n_threads = n_threads
        self.names: tuple[str, ...] = ()
        self._parts: list[_Rows] = []
        self._batches = 0
        self._columns: dict[str, Any] = {}

    def update(self, layers: Any) -> Activations:
        """Add the rows of a batch.

        Parameters
        ----------
        layers : mapping of str to array_like of shape (n, p_i), or sequence of such
            Activations of each layer for the same rows.

        Returns
        -------
        Activations
            Itself.

        Raises
        ------
        ValueError
            For other layers than before, other numbers of rows or columns, NaN or infinity.
        """
        widths = dict(zip(self.names, self._parts[0].dims, strict=True)) if self._parts else None
        found = check_modalities(layers, type(self).__name__, widths, self._columns or None)
        if self.names and set(found.data) != set(self.names):
            missing = next(name for name in self.names if name not in found.data)
            raise ValueError(f"layer {missing!r} is missing from this batch")
        for name, present in found.present.items():
            if not present.all():
                raise ValueError(
                    f"layer {name!r} contains NaN: the first is at row {int(np.argmin(present))}"
                )
        names = self.names or tuple(found.data)
        arrays = [found.data[name] for name in names]
        place = self._batches % self.groups if self.groups else 0
        if place == len(self._parts):
            self._parts.append(_Rows(names, tuple(a.shape[1] for a in arrays), self.debiased))
        self._parts[place].add(arrays, self.n_threads)
        self.names, self._columns = names, self._columns or found.names
        self._batches += 1
        return self

    @property
    def moments(self) -> Moments:
        return self._total().moments if self._parts else Moments()

    @property
    def n(self) -> float:
        return sum(part.n for part in self._parts)

    def _total(self) -> _Sums:
        if not self._parts:
            raise ValueError("there are no activations yet: call update first")
        total = self._parts[0].sums(self.n_threads)
        for part in self._parts[1:]:
            total = total + part.sums(self.n_threads)
        return total

    def __add__(self, other: Activations) -> Activations:
        """The sums of both: of several machines, say. Groups stay groups."""
        if not isinstance(other, Activations):
            return NotImplemented
        if self.names and other.names and self.names != other.names:
            raise ValueError(f"activations of {self.names} and {other.names} do not add up")
        both = Activations(max(self.groups, other.groups), self.debiased and other.debiased, self.n_threads)
        both.names, both._columns = self.names or other.names, self._columns or other._columns
        parts = [_Rows.of(part.sums(self.n_threads), both.names) for part in (*self._parts, *other._parts)]
        if both.groups or len(parts) < 2:
            both._parts = parts
        else:
            whole = parts[0].sums(self.n_threads) + parts[1].sums(self.n_threads)
            both._parts = [_Rows.of(whole, both.names)]
        both._batches = self._batches + other._batches
        return both

    def __repr__(self) -> str:
        return f"Activations(n={self.n:g}, layers={len(self.names)})"


@dataclass(frozen=True)
class _Sums:
    """Moments of the layers, and sums about their shift s.

    With z = x − s and k^a = |z_a|² over the columns of layer a: squares[a, b] = Σ k^a k^b, and
    cubes[a] = Σ k^a z over all columns.
    """

    moments: Moments
    squares: Floats | None  # (m, m)
    cubes: Floats | None  # (m, d)

    def about(self, shift: Floats) -> tuple[Floats, Floats]:
        """squares and cubes about another shift: z + δ in the place of z, k + 2 z·δ + |δ|² in that of k."""
        assert self.squares is not None
        assert self.cubes is not None
        moments = self.moments
        delta = moments.shift - shift
        n, slices = moments.n, moments.slices
        first = n * moments.offset  # Σ z
        m = len(slices)
        # rows of D: δ on the columns of one layer
        D = np.zeros((m, len(delta)))
        for a, s in enumerate(slices):
            D[a, s] = delta[s]
        c = (D**2).sum(axis=1)
        with_z = D @ moments.scatter + np.outer(D @ moments.offset, first)  # Σ (z·δ_a) z
        norms = np.array([moments.scatter[s, s].trace() + n * (moments.offset[s] ** 2).sum() for s in slices])
        linear = D @ first  # Σ z·δ_a
        cross = self.cubes @ D.T  # Σ k^a (z·δ_b)
        squares = (
            self.squares
            + 2 * (cross + cross.T)
            + np.outer(norms, c)
            + np.outer(c, norms)
            + 4 * with_z @ D.T
            + 2 * (np.outer(linear, c) + np.outer(c, linear))
            + n * np.outer(c, c)
        )
        cubes = (
            self.cubes
            + np.outer(norms, delta)
            + 2 * with_z
            + 2 * np.outer(linear, delta)
            + np.outer(c, first)
            + n * np.outer(c, delta)
        )
        return squares, cubes

    def __add__(self, other: _Sums) -> _Sums:
        moments = self.moments + other.moments  # keeps the shift of the first
        if self.squares is None or other.squares is None or self.cubes is None:
            return _Sums(moments, None, None)
        squares, cubes = other.about(moments.shift)
        return _Sums(moments, self.squares + squares, self.cubes + cubes)

    def without(self, other: _Sums) -> _Sums:
        """What is left when the rows of ``other`` are taken out."""
        moments = self.moments - other.moments
        if self.squares is None or other.squares is None or self.cubes is None:
            return _Sums(moments, None, None)
        squares, cubes = other.about(moments.shift)
        return _Sums(moments, self.squares - squares, self.cubes - cubes)


class _Rows:
    """Grows by batches: what :class:`_Sums` hold of them."""

    def __init__(self, names: Sequence[str], dims: tuple[int, ...], debiased: bool) -> None:
        self.names, self.dims, self.debiased = tuple(names), dims, debiased
        self.n = 0.0
        self._known: _Sums | None = None  # of rows before the stream's
        self._stream: MomentsStream | None = None
        # about a centre of their own, a mean of the stream's first rows
        self._centre, self._squares, self._cubes = np.zeros(0), np.zeros(0), np.zeros(0)

    @staticmethod
    def of(sums: _Sums, names: Sequence[str]) -> _Rows:
        rows = _Rows(names, sums.moments.dims, sums.squares is not None)
        rows._known, rows.n = sums, sums.moments.n
        return rows

    def add(self, arrays: Sequence[NDArray[Any]], n_threads: int | None) -> None:
        if self._stream is not None and self._stream.takes(arrays):
            self._stream.update(arrays, n_threads)
        else:
            known = self.sums(n_threads) if self._stream is not None else self._known
            self._stream, self._known = MomentsStream(arrays, self.names, n_threads), known
            if self.debiased:
                self._centre = np.concatenate([a[:64].mean(axis=0, dtype=np.float64) for a in arrays])
                m, d = len(arrays), sum(self.dims)
                self._squares, self._cubes = np.zeros((m, m)), np.zeros((m, d))
        self.n += len(arrays[0])
        if self.debiased:
            self._add_squares(arrays)

    def _add_squares(self, arrays: Sequence[NDArray[Any]]) -> None:
        ends = np.cumsum(self.dims).tolist()
        slices = [slice(end - dim, end) for end, dim in zip(ends, self.dims, strict=True)]
        step = max(1, 2**20 // ends[-1])
        for start in range(0, len(arrays[0]), step):
            z = np.hstack([a[start : start + step] for a in arrays]).astype(np.float64, copy=False)
            z = z - self._centre
            k = np.column_stack([np.einsum("ij,ij->i", z[:, s], z[:, s]) for s in slices])
            self._squares += k.T @ k
            self._cubes += k.T @ z

    def sums(self, n_threads: int | None) -> _Sums:
        if self._stream is None:
            assert self._known is not None
            return self._known
        moments = self._stream.moments(n_threads)
        new = _Sums(moments, None, None)
        if self.debiased:
            # the same about the centre of the other sums
            centred = from_parts(
                moments.dims,
                moments.eps,
                moments.n,
                self._centre,
                (moments.shift - self._centre) + moments.offset,
                moments.scatter,
                rounding=moments.rounding,
            )
            new = _Sums(centred, self._squares.copy(), self._cubes.copy())
        return new if self._known is None else self._known + new

    def __getstate__(self) -> dict[str, Any]:  # the stream's products lie in the core
        sums = self.sums(None) if self.n else None
        return {"names": self.names, "dims": self.dims, "debiased": self.debiased, "n": self.n, "sums": sums}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["names"], state["dims"], state["debiased"])  # type: ignore[misc]
        self._known, self.n = state["sums"], state["n"]


# ---- the measures, of two matrices


def linear_cka(
    X: ArrayLike | Moments,
    y: ArrayLike | None = None,
    *,
    debiased: bool = False,
    n_threads: int | None = None,
) -> float:
    r"""Centred kernel alignment with linear kernels.

    .. math:: \frac{\|S_{12}\|_F^2}{\|S_{11}\|_F \|S_{22}\|_F}

    Invariant to rotations and to one scale for each matrix, not to any other linear map.

    Parameters
    ----------
    X : array_like of shape (n, p), or Moments of two views
        First representation.
    y : array_like of shape (n, q)
        Second representation of the same rows.
    debiased : bool, default=False
        With unbiased estimates of the three terms (Song et al. 2012): independent representations of many
        columns then have similarity 0 on average; can be negative. Takes the rows, at least 4.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    float
        From 0 to 1 unless debiased.

    Raises
    ------
    ValueError
        For matrices that do not pair, NaN or infinity; debiased from moments, or of fewer than 4 rows.
    NumericalError
        If a matrix is constant.

    References
    ----------
    S. Kornblith, M. Norouzi, H. Lee and G. Hinton, "Similarity of neural network representations revisited",
    ICML 2019. L. Song, A. Smola, A. Gretton, J. Bedo and K. Borgwardt, "Feature selection via dependence
    maximization", JMLR 13, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.similarity import linear_cka
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(linear_cka(X, 2 * X[:, ::-1] + 1), 6)
    1.0
    """
    sums = _pair(X, y, debiased, n_threads)
    return float(_cka_matrix(sums, debiased)[0, 1])


@documented
def rv_coefficient(
    X: ArrayLike | Moments, y: ArrayLike | None = None, *, n_threads: int | None = None
) -> float:
    """The RV coefficient: :func:`linear_cka` under its older name.

    {as_linear_cka}

    {returns_similarity}

    References
    ----------
    P. Robert and Y. Escoufier, "A unifying tool for linear multivariate statistical methods: the
    RV-coefficient", Applied Statistics 25, 1976.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.similarity import linear_cka, rv_coefficient
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.normal(size=(50, 3)), rng.normal(size=(50, 4))
    >>> rv_coefficient(X, Y) == linear_cka(X, Y)
    True
    """
    return linear_cka(X, y, n_threads=n_threads)


@documented
def mean_cca(X: ArrayLike | Moments, y: ArrayLike | None = None, *, n_threads: int | None = None) -> float:
    """Mean canonical correlation, over as many as the smaller rank.

    Invariant to every invertible linear map of either matrix; 1 where a matrix has rank n − 1.

    {as_linear_cka}

    {returns_similarity}

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.similarity import mean_cca
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(mean_cca(X, X @ [[1.0, 5.0], [0.0, 1.0], [2.0, 0.0]]), 6)
    1.0
    """
    return float(_cca_matrix(_pair(X, y, False, n_threads).moments, n_threads)[0, 1])


@documented
def svcca(
    X: ArrayLike | Moments,
    y: ArrayLike | None = None,
    *,
    variance: float = 0.99,
    n_threads: int | None = None,
) -> float:
    """Mean canonical correlation of the leading principal components of each matrix.

    {as_linear_cka}
    variance : float, default=0.99
        In (0, 1]: as many components as explain this fraction of a matrix's variance.

    {returns_similarity}

    References
    ----------
    M. Raghu, J. Gilmer, J. Yosinski and J. Sohl-Dickstein, "SVCCA: singular vector canonical correlation
    analysis for deep learning dynamics and interpretability", NeurIPS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.similarity import svcca
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(svcca(X, X @ [[1.0, 5.0], [0.0, 1.0], [2.0, 0.0]]), 6)
    1.0
    """
    return float(_svcca_matrix(_pair(X, y, False, n_threads).moments, n_threads, variance)[0, 1])


@documented
def pwcca(X: ArrayLike | Moments, y: ArrayLike | None = None, *, n_threads: int | None = None) -> float:
    r"""Projection-weighted mean of the canonical correlations.

    .. math:: \frac{\sum_i \alpha_i \rho_i}{\sum_i \alpha_i}, \qquad
       \alpha_i = \sum_j |\langle h_i, x_j \rangle|

    with the canonical variates :math:`h_i` of ``X`` and its columns :math:`x_j`: correlations count by how
    much of X they account for. Not symmetric.

    {as_linear_cka}

    {returns_similarity}

    References
    ----------
    A. S. Morcos, M. Raghu and S. Bengio, "Insights on representational similarity in neural networks with
    canonical correlation", NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.similarity import pwcca
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(pwcca(X, X @ [[1.0, 5.0, 0.0], [0.0, 1.0, 0.0], [2.0, 0.0, 1.0]]), 6)
    1.0
    """
    return float(_pwcca_matrix(_pair(X, y, False, n_threads).moments, n_threads)[0, 1])


@documented
def procrustes(
    X: ArrayLike | Moments,
    y: ArrayLike | None = None,
    *,
    normalize: bool = True,
    n_threads: int | None = None,
) -> float:
    r"""Squared orthogonal Procrustes distance: what is left after the best rotation of one onto the other.

    .. math:: \min_{Q^\top Q = I} \|X Q - Y\|_F^2 = \|X\|_F^2 + \|Y\|_F^2 - 2 \|X^\top Y\|_*

    of centred matrices; the narrower one gets columns of zeros.

    {as_linear_cka}
    normalize : bool, default=True
        Bring both matrices to Frobenius norm 1 first; the distance is then from 0 to 2. Otherwise it is
        divided by n − 1.

    Returns
    -------
    float
        0 for matrices equal up to a rotation (and, normalised, up to scale).

    References
    ----------
    F. Ding, J.-S. Denain and J. Steinhardt, "Grounding representation similarity through statistical
    testing", NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.similarity import procrustes
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> abs(round(procrustes(X, 3 * X @ [[0.0, 1.0], [-1.0, 0.0]]), 6))
    0.0
    """
    return float(_procrustes_matrix(_pair(X, y, False, n_threads).moments, n_threads, normalize)[0, 1])


def _pair(X: Any, y: Any, debiased: bool, n_threads: int | None) -> _Sums:
    if isinstance(X, Moments):
        if y is not None or len(X.dims) != 2:
            raise ValueError(f"moments must be of two views, and alone, got {len(X.dims)} views")
        if debiased:
            raise ValueError("the debiased CKA takes the rows, or Activations, not their moments alone")
        return _Sums(X, None, None)
    if y is None:
        raise ValueError("y must be an array of the same rows as X, got None")
    activations = Activations(debiased=debiased, n_threads=n_threads)
    # in double, for which a single call has the time
    given = {"X": as_matrix("X", X), "y": as_matrix("y", y)}
    double = {name: a.astype(np.float64, copy=False) for name, a in given.items()}
    return activations.update(double)._total()


# ---- of all pairs


def _check_varying(moments: Moments, names: Sequence[str]) -> None:
    if moments.n <= 1:
        raise ValueError(f"similarities take more than 1 row, got n = {moments.n:g}")
    constant = moments.constant
    for name, s in zip(names, moments.slices, strict=True):
        if constant[s].all():
            raise NumericalError(f"every column of {name} is constant: nothing is similar to it")


def _block_norms(moments: Moments) -> Floats:
    """Squared Frobenius norms of the blocks S_ij · (n − 1), shape (m, m)."""
    S = moments.scatter
    largest = float(np.abs(S.diagonal()).max()) or 1.0
    if largest > MOST_SCATTER:
        raise NumericalError("squares of the layers' covariances overflow: scale the layers down")
    scale = float(np.ldexp(1.0, np.frexp(largest)[1]))  # exact; sums of squares of small data stay in range
    starts = [s.start for s in moments.slices]
    out: Floats = np.zeros((len(starts), len(starts)))
    for i, rows in enumerate(moments.slices):
        for at in range(rows.start, rows.stop, 64):  # a few rows, which stay in the cache
            part = S[at : min(at + 64, rows.stop)] / scale
            out[i] += np.add.reduceat(np.einsum("ij,ij->j", part, part), starts)
    out = (out + out.T) / 2
    out *= scale**2
    return out


def _cka_matrix(sums: _Sums, debiased: bool) -> Floats:
    moments = sums.moments
    _check_varying(moments, [f"views[{i}]" for i in range(len(moments.dims))])
    hsic = _block_norms(moments)
    if debiased:
        n = moments.n
        if n < 4:
            raise ValueError(f"the debiased CKA takes at least 4 rows, got {n:g}")
        if sums.squares is None:
            raise ValueError("the debiased CKA takes the rows, or Activations(debiased=True)")
        # of centred kernels with their diagonals set to 0:
        # tr KL − Σ kᵢlᵢ + tr K tr L / ((n − 1)(n − 2)) − 2 / (n − 2) Σ kᵢlᵢ
        squares, _ = sums.about(moments.mean)
        traces = np.array([moments.scatter[s, s].trace() for s in moments.slices])
        hsic = hsic - squares * (1 + 2 / (n - 2)) + np.outer(traces, traces) / ((n - 1) * (n - 2))
    own = hsic.diagonal()
    if not (own > 0).all():
        raise NumericalError("a layer's debiased similarity to itself is not positive: take more rows")
    out = hsic / np.sqrt(own) / np.sqrt(own)[:, np.newaxis]
    np.fill_diagonal(out, 1.0)
    return out


def _whitened_correlations(
    moments: Moments, weights: Sequence[Floats], n_threads: int | None, i: int, j: int
) -> Floats:
    rows, columns = moments.slices[i], moments.slices[j]
    half = product(moments.scatter[rows, columns], weights[j], n_threads)
    return np.asarray(product(weights[i].T, half, n_threads) / (moments.n - 1))


def _cca_matrix(moments: Moments, n_threads: int | None) -> Floats:
    _check_varying(moments, [f"views[{i}]" for i in range(len(moments.dims))])
    weights = [whiten(moments, i, 0.0, f"views[{i}]", n_threads).weights for i in range(len(moments.dims))]
    return _mean_correlations(moments, weights, n_threads)


def _svcca_matrix(moments: Moments, n_threads: int | None, variance: float = 0.99) -> Floats:
    if not isinstance(variance, (int, float)) or isinstance(variance, bool) or not 0 < variance <= 1:
        raise ValueError(f"variance must be in (0, 1], got {variance!r}")
    _check_varying(moments, [f"views[{i}]" for i in range(len(moments.dims))])
    weights = []
    for i, s in enumerate(moments.slices):
        values, vectors = np.linalg.eigh(moments.covariance(i, i))
        values, vectors = values[::-1], vectors[:, ::-1]
        noise = max(float(moments.rounding[s].max()), float(np.finfo(float).eps)) * len(values)
        values = np.where(values > noise * values[0], values, 0.0)
        explained = np.cumsum(values) / values.sum()
        k = min(int(np.searchsorted(explained, variance * (1 - 1e-12))) + 1, int((values > 0).sum()))
        weights.append(vectors[:, :k] / np.sqrt(values[:k]))
    return _mean_correlations(moments, weights, n_threads)


def _mean_correlations(moments: Moments, weights: Sequence[Floats], n_threads: int | None) -> Floats:
    m = len(weights)
    out = np.eye(m)
    for i in range(m):
        for j in range(i + 1, m):
            T = _whitened_correlations(moments, weights, n_threads, i, j)
            out[i, j] = out[j, i] = np.linalg.svd(T, compute_uv=False).clip(0.0, 1.0).mean()
    return out


def _pwcca_matrix(moments: Moments, n_threads: int | None) -> Floats:
    m = len(moments.dims)
    _check_varying(moments, [f"views[{i}]" for i in range(m)])
    weights = [whiten(moments, i, 0.0, f"views[{i}]", n_threads).weights for i in range(m)]
    # covariances of a layer's columns with its whitened scores
    own = [product(moments.covariance(i, i), w, n_threads) for i, w in enumerate(weights)]
    out = np.eye(m)
    for i in range(m):
        for j in range(i + 1, m):
            U, rho, Vt = np.linalg.svd(
                _whitened_correlations(moments, weights, n_threads, i, j), full_matrices=False
            )
            rho = rho.clip(0.0, 1.0)
            for a, b, of, basis in ((i, j, own[i], U), (j, i, own[j], Vt.T)):
                alpha = np.abs(of @ basis).sum(axis=0)
                out[a, b] = alpha @ rho / alpha.sum()
    return out


def _procrustes_matrix(moments: Moments, n_threads: int | None, normalize: bool = True) -> Floats:
    m = len(moments.dims)
    _check_varying(moments, [f"views[{i}]" for i in range(m)])
    traces = np.array([moments.covariance(i, i).trace() for i in range(m)])
    out = np.zeros((m, m))
    for i in range(m):
        for j in range(i + 1, m):
            nuclear = float(np.linalg.svd(moments.covariance(i, j), compute_uv=False).sum())
            if normalize:
                value = 2 - 2 * nuclear / np.sqrt(traces[i] * traces[j])
            else:
                value = traces[i] + traces[j] - 2 * nuclear
            out[i, j] = out[j, i] = max(0.0, float(value))
    return out


_METHODS: dict[str, Callable[[_Sums, int | None], Floats]] = {
    "cka": lambda sums, n: _cka_matrix(sums, False),
    "debiased_cka": lambda sums, n: _cka_matrix(sums, True),
    "svcca": lambda sums, n: _svcca_matrix(sums.moments, n),
    "pwcca": lambda sums, n: _pwcca_matrix(sums.moments, n),
    "mean_cca": lambda sums, n: _cca_matrix(sums.moments, n),
    "procrustes": lambda sums, n: _procrustes_matrix(sums.moments, n),
}


@dataclass(frozen=True)
class SimilarityMatrix:
    """Similarities of all pairs of layers.

    Attributes
    ----------
    values : ndarray of shape (m, m)
        Row i, column j: layer ``names[i]`` against ``names[j]``.
    names : tuple of str
        The layers.
    method : str
        Which measure.
    standard_error, low, high : ndarray of shape (m, m), or None
        By the jackknife over groups of rows, and the ends of the intervals of ``confidence``.
    confidence : float or None
        Of the intervals.
    """

    values: Floats
    names: tuple[str, ...]
    method: str
    standard_error: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None
    confidence: float | None = None

    def between(self, rows: Sequence[str], columns: Sequence[str]) -> Floats:
        """The part of ``values`` of some layers against some others: of two networks, say.

        Parameters
        ----------
        rows, columns : sequence of str
            Names of layers.

        Returns
        -------
        ndarray of shape (len(rows), len(columns))

        Raises
        ------
        ValueError
            For an unknown name.
        """
        for name in (*rows, *columns):
            if name not in self.names:
                raise ValueError(f"there is no layer {name!r}: there are {', '.join(self.names)}")
        places = [[self.names.index(name) for name in part] for part in (rows, columns)]
        return np.asarray(self.values[np.ix_(*places)])


def compare(
    layers: Activations | Moments | Mapping[str, ArrayLike] | Sequence[ArrayLike],
    method: str = "cka",
    *,
    names: Sequence[str] | None = None,
    groups: int = 0,
    confidence: float = 0.95,
    n_threads: int | None = None,
) -> SimilarityMatrix:
    """All layers against all layers, from one pass over the rows.

    Parameters
    ----------
    layers : Activations, Moments, mapping of str to array_like of shape (n, p_i), or sequence of such
        Representations of the same rows.
    method : {"cka", "debiased_cka", "svcca", "pwcca", "mean_cca", "procrustes"}
        Which measure: :func:`linear_cka` and so on, with their defaults. "procrustes" is a distance.
    names : sequence of str, optional
        Names of the layers of ``Moments``.
    groups : int, default=0
        Of arrays: number of groups of successive rows for jackknife intervals. ``Activations`` bring their
        own.
    confidence : float, default=0.95
        Of the intervals: θ ± t · s.e. with groups − 1 degrees of freedom.
    n_threads : int, optional
        Threads to use; the result does not depend on it.

    Returns
    -------
    SimilarityMatrix
        With intervals where there are groups.

    Raises
    ------
    ValueError
        For an unknown method, a single layer, layers that do not pair, NaN or infinity.
    NumericalError
        If a layer is constant.

    Notes
    -----
    Leaving out one group of g in turn gives θ₁ … θ_g, and the standard error √((g − 1)/g Σ (θ_j − mean)²)
    (Tukey's jackknife); groups should be of about equal size.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.similarity import compare
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 4))
    >>> layers = {"one": x, "two": x + 0.5 * rng.normal(size=(200, 4)), "noise": rng.normal(size=(200, 4))}
    >>> found = compare(layers, "debiased_cka", groups=10)
    >>> bool(found.low[0, 1] > 0.3), bool(found.low[0, 2] < 0 < found.high[0, 2])
    (True, True)
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, _METHODS))}, got {method!r}")
    if not isinstance(confidence, (int, float)) or isinstance(confidence, bool) or not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence!r}")
    measure = _METHODS[method]
    if isinstance(layers, Moments):
        if len(layers.dims) < 2:
            raise ValueError(f"compare takes two layers or more, got {len(layers.dims)}")
        given = [f"view{i}" for i in range(len(layers.dims))] if names is None else list(names)
        if len(given) != len(layers.dims) or len(set(given)) < len(given):
            raise ValueError(
                f"names must be one for each of the {len(layers.dims)} views, none twice, got {names!r}"
            )
        _check_varying(layers, given)
        return SimilarityMatrix(measure(_Sums(layers, None, None), n_threads), tuple(given), method)
    if isinstance(layers, Activations):
        collected = layers
    else:
        collected = _collected(layers, integer(0)("groups", groups), method, n_threads)
    total = collected._total()
    if len(collected.names) < 2:
        raise ValueError(f"compare takes two layers or more, got {len(collected.names)}")
    _check_varying(total.moments, collected.names)
    values = measure(total, n_threads)
    g = len(collected._parts)
    if not collected.groups:
        return SimilarityMatrix(values, collected.names, method)
    if g < 2:
        raise ValueError(f"intervals take at least 2 groups of rows, got {g}")
    left_out = np.array(
        [measure(total.without(part.sums(n_threads)), n_threads) for part in collected._parts]
    )
    error = np.sqrt((g - 1) / g * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    reach = student.ppf((1 + confidence) / 2, g - 1) * error
    return SimilarityMatrix(
        values, collected.names, method, error, values - reach, values + reach, float(confidence)
    )


def _collected(layers: Any, groups: int, method: str, n_threads: int | None) -> Activations:
    activations = Activations(groups, method == "debiased_cka", n_threads)
    if not groups:
        return activations.update(layers)
    found = check_modalities(layers, "compare")
    if groups > found.n_rows:
        raise ValueError(f"groups={groups} is more than the {found.n_rows} rows")
    for rows in np.array_split(np.arange(found.n_rows), groups):
        activations.update({name: a[rows[0] : rows[-1] + 1] for name, a in found.data.items()})
    return activations
