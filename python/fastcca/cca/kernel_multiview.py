"""Kernel canonical correlation analysis of any number of views: :class:`KernelMCCA`."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular

from fastcca._arguments.modalities import of_view, per_view
from fastcca._arguments.parameters import (
    DEGREE,
    FRACTION,
    N_COMPONENTS,
    N_THREADS,
    NUMBER,
    POSITIVE_INTEGER,
    RANDOM_STATE,
    anything,
    choice,
)
from fastcca._arguments.warn import warn
from fastcca._models.docs import documented
from fastcca._models.files import Schema
from fastcca._models.multi_view import MultiViewModel, ViewStatistics, statistics_of_views
from fastcca._models.statistics import Weights, column_statistics
from fastcca.cca.kernel import LandmarkView, choose_landmarks
from fastcca.cca.multiview import ForViews
from fastcca.cca.precomputed import (
    KERNEL_OR_PRECOMPUTED,
    PrecomputedKernel,
    bound,
    check_precomputed,
    is_precomputed,
    row_numbers,
)
from fastcca.errors import NumericalError
from fastcca.functional.kernels import GAMMA, PIVOTING, Kernel, kernel_scores, landmark_coefficients
from fastcca.functional.moments import Moments
from fastcca.functional.multiview import fixed_signs, solve_views

__all__ = ["KernelMCCA"]

Array = NDArray[Any]
SLAB = 4096  # rows whose kernel values are held at a time


@documented
class KernelMCCA(MultiViewModel):
    r"""Kernel canonical correlation analysis of two views or more.

    :class:`MCCA` (or :class:`GCCA`) of kernel features: each view's kernel matrix is approximated by an
    incomplete Cholesky factor, K ≈ G Gᵀ, whose pivots are the view's landmarks, and the centred features G
    stand in the place of the data, of which one pass takes the moments. Of two views it is :class:`KernelCCA`
    with its ridge.

    Parameters
    ----------
    n_components : int, optional
        Number of components; by default 10, or the second largest rank of a view if that is less.
    kernel : str, callable or mapping of str to such, default="rbf"
        "rbf", "laplacian", "polynomial", "linear", "cosine", a function of two arrays of rows, or
        "precomputed": of all views, or by name ("rbf" for those not named). A precomputed view is its kernel
        matrix (n, n) in ``fit``, and kernel values between new rows and all rows of the fit, (m, n),
        afterwards.
    gamma : float, "median" or mapping of str to such, default="median"
        As in :class:`KernelCCA`, for all views or by name.
    reg : float, mapping of str to float or sequence of float, default=1e-4
        Regularisation of each view, as in :class:`KernelCCA`.
    method : {"mcca", "gcca"}, default="mcca"
        Which problem of the features.
    view_weights : mapping of str to float or sequence of float, optional
        As in :class:`MCCA`.
    degree, coef0, rank, tol, pivoting, random_state, n_threads
        As in :class:`KernelCCA`.

    Attributes
    ----------
    views_ : tuple of str
        Names of the views, in the order of the fit.
    landmarks_ : dict of str to ndarray of shape (m_i, p_i)
        Rows that the kernels are taken at; not of precomputed views.
    landmark_indices_ : dict of str to ndarray of shape (m_i,)
        Which rows of the fit these were.
    weights_ : dict of str to ndarray of shape (m_i, n_components_)
        ``transform_view(name, X) = k(X, landmarks_[name]) @ weights_[name]`` less a constant. In each column
        of the first view's the entry of largest magnitude is positive.
    gammas_ : dict of str to float
        Widths of the kernels.
    eigenvalues_, canonical_correlations_, pairwise_correlations_, n_components_
        As in :class:`MCCA`.
    n_samples_ : float
        Number of rows N; with sample weights their sum.
    loadings_ : dict of str to ndarray of shape (p_i, n_components_)
        Pearson correlation of each column with the scores of its own view; no rows of a precomputed one.

    Raises
    ------
    ValueError
        In ``fit``: a single view, rows that lack a view, parameters out of range, a precomputed kernel that
        is not square or not symmetric, NaN or infinity. In ``predict_views``: a precomputed view to predict.
    NumericalError
        In ``fit``: a kernel that is not positive semidefinite, rows that are all the same. (It is a
        ValueError as well.)

    References
    ----------
    F. R. Bach and M. I. Jordan, "Kernel independent component analysis", JMLR 3, 2002.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import KernelMCCA
    >>> rng = np.random.default_rng(0)
    >>> t = rng.uniform(-2, 2, size=(300, 1))
    >>> views = {
    ...     "a": np.hstack([t, rng.normal(size=(300, 1))]),
    ...     "b": t**2 + 0.1 * rng.normal(size=(300, 1)),
    ...     "c": np.abs(t) + 0.1 * rng.normal(size=(300, 1)),
    ... }
    >>> model = KernelMCCA(n_components=1, reg=1e-3).fit(views)
    >>> bool(model.canonical_correlations_[0] > 0.9)
    True
    """

    _schema = Schema(
        "KernelMCCA",
        fields="landmarks_ landmark_indices_ weights_ gammas_ eigenvalues_ offsets=_offsets "
        "view_widths=_view_widths n_samples_",
    )
    _constraints = {  # noqa: RUF012
        "n_components": N_COMPONENTS,
        "kernel": anything("a kernel for each view"),  # these three are checked with the views
        "gamma": anything("a width for each view"),
        "reg": anything("a ridge for each view"),
        "method": choice("mcca", "gcca"),
        "view_weights": anything("a number for each view"),
        "degree": DEGREE,
        "coef0": NUMBER,
        "rank": POSITIVE_INTEGER,
        "tol": FRACTION,
        "pivoting": PIVOTING,
        "random_state": RANDOM_STATE,
        "n_threads": N_THREADS,
    }

    landmarks_: dict[str, Array]
    landmark_indices_: dict[str, NDArray[np.intp]]
    weights_: dict[str, NDArray[np.float64]]
    gammas_: dict[str, float]
    eigenvalues_: NDArray[np.float64]
    n_samples_: float
    _offsets: dict[str, NDArray[np.float64]]
    _view_widths: dict[str, int]

    def __init__(
        self,
        n_components: int | None = None,
        kernel: Any = "rbf",
        gamma: Any = "median",
        reg: ForViews = 1e-4,
        method: Literal["mcca", "gcca"] = "mcca",
        view_weights: ForViews | None = None,
        degree: int = 3,
        coef0: float = 1,
        rank: int = 1000,
        tol: float = 1e-8,
        pivoting: Literal["greedy", "random", "uniform"] = "greedy",
        random_state: Any = None,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.reg = reg
        self.method = method
        self.view_weights = view_weights
        self.degree = degree
        self.coef0 = coef0
        self.rank = rank
        self.tol = tol
        self.pivoting = pivoting
        self.random_state = random_state
        self.n_threads = n_threads

    @property
    def _widths(self) -> dict[str, int]:
        return self._view_widths

    def _kernel_of(self, name: str, names: Sequence[str]) -> Kernel:
        kernel = KERNEL_OR_PRECOMPUTED("kernel", of_view(self.kernel, name, names, "kernel", "rbf"))
        gamma = GAMMA("gamma", of_view(self.gamma, name, names, "gamma", "median"))
        if is_precomputed(kernel):
            kernel = PrecomputedKernel()
        return Kernel(kernel, gamma, self.degree, self.coef0, "kernel")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = is_precomputed(self.kernel)
        return tags

    def fit(self, views: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> "KernelMCCA":
        """Choose landmarks, take the moments of the features and solve.

        Parameters
        ----------
        views : mapping of str to array_like of shape (n, p_i), or sequence of such
            Rows of all views belong together; every row has every view.
        y : ignored
        {fit_weights}

        {returns_self}

        Raises
        ------
        ValueError
            See :class:`KernelMCCA`.
        """
        found, weights = self._check_fit(views, sample_weight)
        for name, present in found.present.items():
            if not present.all():
                raise ValueError(
                    f"row {int(np.argmin(present))} lacks view {name!r}: KernelMCCA takes whole rows"
                )
        names = self.views_
        regs = per_view(names, self.reg, "reg", missing=0.0)
        omega = per_view(names, self.view_weights, "view_weights", missing=1.0, positive=True)
        maps = [self._map_of(name, found.data[name], weights) for name in names]
        moments = Moments()
        for start in range(0, found.n_rows, SLAB):
            rows = slice(start, start + SLAB)
            w = None if weights is None else weights[rows]
            features = [m.features(rows, self.n_threads) for m in maps]
            if w is None or w.any():
                moments.update(*features, sample_weight=w, names=names, n_threads=self.n_threads)
        for name, s in zip(names, moments.slices, strict=True):
            if moments.scatter[s, s].trace() <= 1e-12 * moments.n * (moments.mean[s] ** 2).sum():
                raise NumericalError(
                    f"every row of {name} is the same to its kernel: there is nothing to correlate"
                )
        wanted = int(self.n_components or 10)
        solution = solve_views(
            moments,
            wanted,
            regs,
            criterion="sumcor" if self.method == "mcca" else "maxvar",
            view_weights=omega,
            names=names,
            n_threads=self.n_threads,
        )
        k = len(solution.eigenvalues)
        if self.n_components is not None and k < wanted:
            warn(
                f"n_components={wanted} is reduced to {k}, the second largest rank of the features of a view"
            )
        coefficients = [
            landmark_coefficients(m.view.factor, w, self.n_threads)
            for m, w in zip(maps, solution.weights, strict=True)
        ]
        signs = fixed_signs(coefficients[0])
        self.weights_, self._offsets, self.landmarks_, self.landmark_indices_, self.gammas_ = (
            {},
            {},
            {},
            {},
            {},
        )
        self._view_widths, self.means_ = {}, {}
        for name, m, c, w, s in zip(names, maps, coefficients, solution.weights, moments.slices, strict=True):
            self.weights_[name] = c * signs
            self._offsets[name] = moments.mean[s] @ (w * signs)
            self.landmark_indices_[name] = m.indices[: m.view.rank]
            self._view_widths[name] = found.data[name].shape[1]
            if not is_precomputed(m.view.kernel):
                self.landmarks_[name], self.gammas_[name] = m.view.points, float(m.view.kernel.gamma)
        self.eigenvalues_, self.n_samples_ = solution.eigenvalues, float(moments.n)
        weight = np.asarray(omega)[:, np.newaxis]
        common = weight / (
            np.sqrt(sum(omega) * solution.eigenvalues) if self.method == "mcca" else solution.eigenvalues
        )
        self._set_view_statistics(*self._statistics(found.data, weights, common))
        return self

    def _map_of(self, name: str, data: Array, weights: Weights) -> "_Map":
        kernel = self._kernel_of(name, self.views_)
        options: dict[str, Any] = {
            "rank": int(self.rank),
            "tol": self.tol,
            "pivoting": self.pivoting,
            "random_state": self.random_state,
            "n_threads": self.n_threads,
        }
        if is_precomputed(kernel):
            check_precomputed(name, data, self.n_threads)
        kernel = bound(kernel, data).fitted(data, weights)
        data = row_numbers(kernel, data)
        indices = choose_landmarks(kernel, data, weights, name, verbose=False, **options)
        return _Map(LandmarkView.of(kernel, data[indices], self.n_threads), indices, data)

    def _loading_dtypes(self) -> list[np.dtype[Any]] | None:
        known = [self.landmarks_[name].dtype for name in self.views_ if name in self.landmarks_]
        return known if len(known) == len(self.views_) else None

    def _rows_at_once(self, name: str, data: Array) -> int:
        # of a kernel given as values they are one product
        return max(1, len(data)) if is_precomputed(self._kernel_of(name, self.views_)) else 4 * SLAB

    def _scores(self, name: str, data: Array) -> Array:
        kernel = self._kernel_of(name, self.views_)
        coefficients, offset = self.weights_[name], self._offsets[name]
        if is_precomputed(kernel):
            scores = data[:, self.landmark_indices_[name]].astype(np.float64) @ coefficients - offset
            return np.asarray(scores, dtype=data.dtype)
        fitted = Kernel(kernel.kernel, self.gammas_[name], self.degree, self.coef0, "kernel")
        landmarks = self.landmarks_[name].astype(data.dtype, copy=False)

        def scores_of(rows: Array) -> Array:
            return kernel_scores(rows, landmarks, fitted, coefficients, offset, name, self.n_threads)

        if not callable(fitted.kernel):
            return scores_of(data)
        slabs = [slice(i, i + SLAB) for i in range(0, len(data), SLAB)]
        return np.concatenate([scores_of(fitted.matrix(data[rows], landmarks)) for rows in slabs])

    def predict_views(self, views: Any, names: Sequence[str] | None = None) -> dict[str, Array]:
        """Views as their least-squares regression on the scores of the views that each row has.

        Parameters
        ----------
        views, names
            As in :meth:`MCCA.predict_views`.

        Returns
        -------
        dict of str to ndarray of shape (n, p_i)

        Raises
        ------
        ValueError
            As in :meth:`MCCA.predict_views`; for a precomputed view, whose columns are not known.
        """
        found = self._check_rows(views)
        wanted = names
        if wanted is None:
            wanted = [n for n in self.views_ if n not in found.data or not found.present[n].all()]
        for name in wanted:
            if name in self.views_ and name not in self.landmarks_:
                raise ValueError(
                    f"the kernel of {name!r} is precomputed: its columns are not known to predict"
                )
        return super().predict_views(views, wanted)

    def _statistics(
        self, data: Mapping[str, Array], weights: Weights, common: NDArray[np.float64]
    ) -> tuple[ViewStatistics, list[np.dtype[Any]]]:
        """By a second pass: covariances of the scores with one another and with the columns of the data."""
        names = self.views_
        variances = []
        for name in names:
            if name in self.landmarks_:
                mean, variance = column_statistics(name, data[name], weights)
            else:
                mean, variance = np.zeros(0), np.zeros(0)
            self.means_[name] = mean
            variances.append(variance)

        def scores(rows: slice) -> NDArray[np.float64]:
            return np.hstack([self._scores(name, data[name][rows]).astype(np.float64) for name in names])

        views, means = [data[name] for name in names], [self.means_[name] for name in names]
        statistics = statistics_of_views(views, means, variances, weights, scores, common)
        return statistics, [view.dtype for view in views]


class _Map(NamedTuple):
    """From rows of a view to its features."""

    view: LandmarkView
    indices: NDArray[np.intp]
    data: Array

    def features(self, rows: slice, n_threads: int | None) -> NDArray[np.float64]:
        given, points = (a.astype(np.float64, copy=False) for a in (self.data[rows], self.view.points))
        K = np.asarray(self.view.kernel.matrix(given, points, n_threads))
        # g = L⁻¹ k(landmarks, x)
        return np.asarray(solve_triangular(self.view.factor, K.T, lower=True).T)
