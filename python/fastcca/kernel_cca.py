"""Kernel canonical correlation analysis without an n × n matrix."""

from typing import Any, Literal

from numpy.typing import ArrayLike

from fastcca._kernel import KernelTwoView
from fastcca._kernel_features import FeatureSums, LandmarkView, collect
from fastcca._validation import check_reg, refuse_non_finite
from fastcca.functional.kernels import KernelFunction

__all__ = ["KernelCCA"]

Kernels = str | KernelFunction | tuple[str | KernelFunction, str | KernelFunction]
Gammas = float | str | tuple[float | str, float | str]

KEPT_BYTES = 2**23  # moments up to this size are kept after fit, for partial_fit to go on from


class KernelCCA(KernelTwoView):
    r"""Kernel canonical correlation analysis of two paired views.

    Finds functions of each view, in the space of its kernel, whose values are maximally correlated. Each
    view's kernel matrix K is approximated by an incomplete Cholesky factor, K ≈ G Gᵀ, whose m pivots are the
    view's landmarks; kernel CCA is then linear CCA of the centred features G, which are never held all at
    once: one pass over the data takes their moments. Nothing of size n × n is formed, and only the landmarks
    are kept.

    Parameters
    ----------
    n_components : int, optional
        Number of pairs of functions; by default 10, or the smaller rank if that is less.
    kernel : str, callable or pair of them, default="rbf"
        "rbf", "laplacian", "polynomial", "linear", "cosine" (:func:`fastcca.functional.kernel_matrix`), or a
        function of two arrays of rows that returns their kernel values. A pair gives each view its own.
    gamma : float, "median" or pair of them, default="median"
        Width of rbf and laplacian kernels, scale of the polynomial. "median": 1 / the median of the squared
        distances in that view, for laplacian of those in the 1-norm
        (:func:`fastcca.functional.median_gamma`).
    reg : float or pair of float, default=1e-4
        Regularisation of each view, r or κ below.
    penalty : {"ridge", "bach-jordan"}, default="ridge"
        What the kernel functions are normalised by, with N the number of rows and K centred: "ridge"
        K²/(N - 1) + r K, or "bach-jordan" (K + N κ/2 I)². They shrink direction by direction, differently.
    degree, coef0 : int, float
        Of the polynomial kernel (gamma <x, z> + coef0)^degree.
    rank : int, default=1000
        The largest number of landmarks of a view; above n it means n.
    tol : float, default=1e-8
        In [0, 1). Landmarks are added until they leave out at most this part of the kernel's trace; of linear
        and polynomial kernels, whose values may be large beside what varies in them, of the centred kernel's.
    pivoting : {"greedy", "random", "uniform"}, default="greedy"
        How landmarks are chosen: see :func:`fastcca.functional.incomplete_cholesky`; among all rows as long
        as n · rank numbers take at most a gibibyte, else among a fixed sample of so many rows.
    random_state : int, RandomState or None
        Seeds the choice of landmarks, unless it is greedy.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.
    verbose : bool, default=False
        Show progress bars on stderr: pivots with their residual, then rows.

    Attributes
    ----------
    x_landmarks_, y_landmarks_ : ndarray of shape (m, p), (m, q)
        The rows that the functions are expanded in.
    x_landmark_indices_, y_landmark_indices_ : ndarray of shape (m,) or None
        Where they stood in the training data (in the first chunk after ``partial_fit``); None where given.
    x_weights_, y_weights_ : ndarray of shape (m, n_components_)
        Coefficients of the functions, always in float64: scores are k(x, landmarks) @ weights less a
        constant. In each column of ``x_weights_`` the entry of largest magnitude is positive.
    x_rank_, y_rank_ : int
        Number of landmarks.
    x_residual_, y_residual_ : float
        The share of the trace of the kernel matrix over the training rows that the landmarks leave out.
    x_gamma_, y_gamma_ : float
        The widths used.
    singular_values_ : ndarray of shape (n_components_,)
        Correlations in the penalised metric; ``total_correlation_`` is their sum.
    canonical_correlations_ : ndarray of shape (n_components_,)
        Pearson correlations of the training scores.
    x_loadings_, y_loadings_, x_cross_loadings_, y_cross_loadings_ : ndarray
        Pearson correlations of the views' columns with the scores of their own and of the other view.
    x_mean_, y_mean_ : ndarray
        Column means.
    n_components_, n_features_in_, n_y_features_in_ : int
        Number of pairs of functions, p and q.

    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, views that are not numbers or do not pair, NaN or infinity, a
        callable kernel that returns another shape or NaN.
    NumericalError
        In ``fit``: a kernel that is not positive semidefinite, rows that are all the same.

    See Also
    --------
    KernelCCACV : Chooses widths and regularisation by cross-validation.
    fastcca.functional.incomplete_cholesky : The features on their own.

    Notes
    -----
    Where every row may be a landmark (rank >= n, some hundreds of rows or more) the same solution comes from
    two n × n Cholesky factors, which are then cheaper than moments of 2n features.

    References
    ----------
    F. R. Bach and M. I. Jordan, "Kernel independent component analysis", JMLR 3, 2002.

    D. R. Hardoon, S. Szedmak and J. Shawe-Taylor, "Canonical correlation analysis: an overview with
    application to learning methods", Neural Computation 16, 2004.

    D. Lopez-Paz, S. Sra, A. Smola, Z. Ghahramani and B. Schölkopf, "Randomized nonlinear component analysis",
    ICML 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import KernelCCA
    >>> rng = np.random.default_rng(0)
    >>> angle = rng.uniform(0, 2 * np.pi, size=(600, 1))
    >>> X = np.hstack([np.cos(angle), np.sin(angle)]) + 0.1 * rng.normal(size=(600, 2))
    >>> y = np.cos(2 * angle) + 0.1 * rng.normal(size=(600, 1))
    >>> kcca = KernelCCA(n_components=1, reg=1e-3).fit(X[:300], y[:300])
    >>> bool(kcca.score(X[300:], y[300:]) > 0.95)
    True
    """

    def __init__(
        self,
        n_components: int | None = None,
        kernel: Kernels = "rbf",
        gamma: Gammas = "median",
        reg: float | tuple[float, float] = 1e-4,
        penalty: Literal["ridge", "bach-jordan"] = "ridge",
        degree: int = 3,
        coef0: float = 1,
        rank: int = 1000,
        tol: float = 1e-8,
        pivoting: Literal["greedy", "random", "uniform"] = "greedy",
        random_state: Any = None,
        n_threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.reg = reg
        self.penalty = penalty
        self.degree = degree
        self.coef0 = coef0
        self.rank = rank
        self.tol = tol
        self.pivoting = pivoting
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        landmarks: tuple[ArrayLike | None, ArrayLike | None] | None = None,
    ) -> "KernelCCA":
        """Fit to paired rows.

        Parameters
        ----------
        X : array_like of shape (n, p)
            First view. float32 and float64 arrays are read in place: C or F order, strided, read-only,
            memory-mapped. float32 gives float32 results.
        y : array_like of shape (n, q) or (n,)
            Second view, row by row the partners of ``X``.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row; their sum must exceed 1.
        landmarks : pair of array_like, optional
            Rows to use as landmarks of either view in the place of a choice (None: choose). Those that others
            determine are left out.

        Returns
        -------
        KernelCCA
            The fitted estimator.

        Raises
        ------
        ValueError
            See :class:`KernelCCA`.
        """
        X, y, weights = self._check_pair(X, y, sample_weight, reset=True)
        sums = self._fit_kernels(X, y, weights, self.gamma, self.reg, _check_landmarks(landmarks))
        self.__dict__.pop("_sums", None)
        if sums is not None and sums.moments.scatter.nbytes <= KEPT_BYTES:
            self._sums = tuple(vars(sums).values())
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        landmarks: tuple[ArrayLike | None, ArrayLike | None] | None = None,
    ) -> "KernelCCA":
        """Add rows to those fitted so far and solve again.

        The first call fixes widths and landmarks: from its rows, or as given. Further calls add their rows'
        moments; the result is that of one ``fit`` to all rows with these landmarks. After ``fit`` it goes on
        only if there are no more than some 500 landmarks of each view: beyond that ``fit`` keeps no moments.

        Parameters
        ----------
        X : array_like of shape (n, p)
            New rows of the first view.
        y : array_like of shape (n, q) or (n,)
            Their partners.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row.
        landmarks : pair of array_like, optional
            As in ``fit``; in the first call only.

        Returns
        -------
        KernelCCA
            The fitted estimator.

        Raises
        ------
        ValueError
            As in ``fit``; after a ``fit`` that kept no moments; for landmarks in a later call.
        """
        first = not hasattr(self, "x_landmarks_")
        if not first and not hasattr(self, "_sums"):
            raise ValueError(
                "partial_fit cannot go on from a fit with so many landmarks, or one saved without moments: "
                "start with partial_fit on a new estimator"
            )
        if not first and landmarks is not None:
            raise ValueError(
                "landmarks are fixed by the first call of partial_fit: they cannot be given again"
            )
        X, y, weights = self._check_pair(X, y, sample_weight, reset=first)
        self._check_parameters()
        reg = check_reg(self.reg)
        dtypes = (X.dtype, y.dtype) if first else (self.x_landmarks_.dtype, self.y_landmarks_.dtype)
        if first:
            refuse_non_finite("X", X)
            refuse_non_finite("y", y)
            kernels = self._fitted_kernels(self.gamma, X, y, weights)
            views = self._choose_views(kernels, X, y, weights, _check_landmarks(landmarks))
        else:
            kernels = self._kernels((self.x_gamma_, self.y_gamma_))
            points = self.x_landmarks_, self.y_landmarks_
            of_x, of_y = (
                LandmarkView.of(kernel, rows, self.n_threads)
                for kernel, rows in zip(kernels, points, strict=True)
            )
            views = of_x, of_y
        sums = collect(*views, X, y, weights, self.n_threads, self.verbose)
        if not first:
            sums = FeatureSums(*self._sums) + sums
        self._fit_sums(views, sums, reg, dtypes)
        self._sums = tuple(vars(sums).values())
        return self


def _check_landmarks(landmarks: Any) -> tuple[Any, Any] | None:
    if landmarks is None:
        return None
    if not isinstance(landmarks, (tuple, list)) or len(landmarks) != 2:
        raise ValueError(f"landmarks must be a pair (rows of X, rows of y), got {type(landmarks).__name__}")
    return landmarks[0], landmarks[1]
