"""Linear canonical correlation analysis with a ridge."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from fastcca._linear import LinearTwoView
from fastcca.functional.moments import Moments

__all__ = ["CCA"]


class CCA(LinearTwoView):
    r"""Canonical correlation analysis with a ridge.

    Finds for two paired views the directions :math:`w_1, w_2` along which they correlate most, one pair after
    the other, each uncorrelated with those before:

    .. math:: \max_{W_1, W_2} \operatorname{tr}(W_1^\top S_{12} W_2)
       \quad\text{subject to}\quad W_i^\top (S_{ii} + r_i I) W_i = I.

    Covariances are divided by N - 1; sample weights count as repetitions, N is their sum. The solution is
    computed from the moments of the data, by the singular values of
    :math:`T = (S_{11} + r_1 I)^{-1/2} S_{12} (S_{22} + r_2 I)^{-1/2}`, or from the data where moments will
    not do.

    Parameters
    ----------
    n_components : int, optional
        Number of pairs of directions, at most min(p, q), which is the default. The rank of the data may
        leave fewer; ``n_components_`` tells, and a warning does where a number was given.
    reg : float or tuple of two float, default=0.0
        Ridge r >= 0 of both views or (r1, r2), added to the variances: in the units of a variance, or, with
        ``scale=True``, a share of it.
    scale : bool, default=False
        Divide each column by its standard deviation first, so that the ridge weighs all columns alike.
        Weights are given for the columns as they came. Without a ridge it changes nothing but rounding.
    solver : {"auto", "covariance", "qr", "gram"}, default="auto"
        "covariance" works on the moments, the fastest; of views that are not well-conditioned it goes through
        the data once more, to multiply float32 data in double or to refine the correlations. "qr" works on
        orthogonal factors of the data (Björck and Golub), accurate up to condition numbers of 1e13; "gram"
        on n × n matrices, for more features than samples. "auto" takes "gram" where a view has more features
        than there are rows, "qr" where the estimated condition number of a regularised view, its columns
        brought to unit variance, exceeds 5e4 or directions that are not constant columns would be dropped,
        and "covariance" otherwise; see ``solver_``.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.

    Attributes
    ----------
    x_weights_, y_weights_ : ndarray of shape (p, n_components_), (q, n_components_)
        ``transform(X) = (X - x_mean_) @ x_weights_``. In each column of ``x_weights_`` the entry of largest
        magnitude is positive. Constant columns have weight 0.
    singular_values_ : ndarray of shape (n_components_,)
        Those of T, falling: the correlations counted with the ridge.
    canonical_correlations_ : ndarray of shape (n_components_,)
        Pearson correlations of the training scores; equal to ``singular_values_`` where ``reg`` is 0.
    total_correlation_ : float
        Sum of ``singular_values_``.
    x_loadings_, y_loadings_ : ndarray of shape (p, n_components_), (q, n_components_)
        Pearson correlation of each column with the scores of its own view.
    x_cross_loadings_, y_cross_loadings_ : ndarray of shape (p, n_components_), (q, n_components_)
        Pearson correlation of each column with the scores of the other view.
    x_mean_, y_mean_ : ndarray of shape (p,), (q,)
        Column means, always in float64.
    x_scale_, y_scale_ : ndarray of shape (p,), (q,)
        What the columns were divided by: their standard deviation with ``scale=True`` (1 for a constant
        column), else 1.
    moments_ : Moments or None
        What the solution was computed from, and what ``partial_fit`` adds to; None where there are more
        features than samples.
    solver_ : str
        The solver that was used.
    n_components_ : int
        Number of pairs of directions found: ``min(n_components, x_rank_, y_rank_)``.
    x_rank_, y_rank_ : int
        Numerical ranks of the centred views, see Notes. A view of more than 512 columns whose missing
        directions the ridge carries counts the columns that vary.
    n_samples_ : float
        Number of rows N; with sample weights their sum.
    n_features_in_, n_y_features_in_ : int
        p and q.
    feature_names_in_, y_feature_names_in_ : ndarray of str
        Column names of the views, where they were data frames with text as column names.

    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, views that are not numbers or do not pair, NaN or infinity.
    NumericalError
        In ``fit``: every column of a view is constant. (It is a ValueError as well.)

    Warns
    -----
    UserWarning
        If n - 1 is less than the sum of the ranks without a ridge, so that correlations are 1 whatever the
        data; if a direction is left out because it may be the rounding of the data; if a view is so
        ill-conditioned that correlations may be wrong, with an estimate of the error; if ``n_components`` is
        reduced.

    Notes
    -----
    Ranks are judged on columns brought to unit variance. A direction v of them is left out where its standard
    deviation is what rounding in the arithmetic leaves, or at most sum :math:`|v_j| \epsilon_j
    \mathrm{rms}_j / \mathrm{sd}_j`: the entries of column j are known to :math:`\epsilon_j` times their size,
    with the machine epsilon of their dtype. A float32 column that is the sum of two others counts as that
    sum, however large its mean.

    See Also
    --------
    CCACV : Chooses the ridge by cross-validation.

    References
    ----------
    H. Hotelling, "Relations between two sets of variates", Biometrika 28, 1936.

    H. D. Vinod, "Canonical ridge and econometrics of joint production", Journal of Econometrics 4, 1976.

    Å. Björck and G. H. Golub, "Numerical methods for computing angles between linear subspaces",
    Mathematics of Computation 27, 1973.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import CCA
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(500, 2))
    >>> X = np.hstack([common, rng.normal(size=(500, 3))])
    >>> Y = np.hstack([rng.normal(size=(500, 2)), common + 0.5 * rng.normal(size=(500, 2))])
    >>> cca = CCA(n_components=2).fit(X, Y)
    >>> cca.canonical_correlations_.round(2)
    array([0.9 , 0.89])
    >>> zx, zy = cca.transform_views(X, Y)
    >>> bool(np.isclose(np.corrcoef(zx[:, 0], zy[:, 0])[0, 1], cca.canonical_correlations_[0]))
    True
    """

    def __init__(
        self,
        n_components: int | None = None,
        reg: float | tuple[float, float] = 0.0,
        scale: bool = False,
        solver: Literal["auto", "covariance", "qr", "gram"] = "auto",
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.reg = reg
        self.scale = scale
        self.solver = solver
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> "CCA":
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

        Returns
        -------
        CCA
            The fitted estimator.

        Raises
        ------
        ValueError
            See :class:`CCA`.
        """
        self._fit_arrays(*self._check_pair(X, y, sample_weight, reset=True))
        return self

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> "CCA":
        """Add rows to those fitted so far and solve again, from the moments alone.

        The result is that of one ``fit`` to all rows, to rounding. Each call solves; for very many small
        chunks collect :class:`~fastcca.Moments` instead and call :meth:`fit_moments` once.

        Parameters
        ----------
        X : array_like of shape (n, p)
            New rows of the first view. The first call takes at least two rows.
        y : array_like of shape (n, q) or (n,)
            Their partners.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row.

        Returns
        -------
        CCA
            The fitted estimator.

        Raises
        ------
        ValueError
            As in ``fit``; for ``solver="qr"`` or ``"gram"``, which need all rows at once; after a ``fit`` to
            more features than samples, which keeps no moments, and for a model saved without them.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCA
        >>> X = np.random.default_rng(0).normal(size=(50, 3))
        >>> Y = X[:, :2] + np.random.default_rng(1).normal(size=(50, 2))
        >>> grown = CCA().partial_fit(X[:30], Y[:30]).partial_fit(X[30:], Y[30:])
        >>> bool(np.allclose(grown.singular_values_, CCA().fit(X, Y).singular_values_))
        True
        """
        self._refuse_data_solvers("partial_fit")
        first = not hasattr(self, "moments_")
        if not first and self.moments_ is None:
            raise ValueError(
                "partial_fit cannot go on from this fit, of which no moments were kept: it had more features "
                "than samples, or was saved without moments. Start with partial_fit on a new estimator"
            )
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=first)
        moments = self._moments(x_checked, y_checked, weights)
        dtypes = x_checked.dtype, y_checked.dtype
        if not first and self.moments_ is not None:
            moments = self.moments_ + moments
            dtypes = self.x_weights_.dtype, self.y_weights_.dtype
        self._fit_moments(moments, dtypes)
        return self

    def fit_moments(self, moments: Moments) -> "CCA":
        """Fit to the moments of both views: of files read in chunks, or merged from several machines.

        Parameters
        ----------
        moments : Moments
            Of two views of p and q columns, ``Moments().update(X, y)``.

        Returns
        -------
        CCA
            The fitted estimator; float32 if the moments saw float32 data.

        Raises
        ------
        ValueError
            For moments of other than two views or of fewer than two rows; for ``solver="qr"`` or ``"gram"``,
            which need the data.
        TypeError
            For anything that is not :class:`~fastcca.Moments`.

        Warns
        -----
        UserWarning
            If a view is too ill-conditioned for moments alone.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCA, Moments
        >>> rng = np.random.default_rng(0)
        >>> moments = Moments()
        >>> for _ in range(10):
        ...     X = rng.normal(size=(100, 3))
        ...     _ = moments.update(X, X[:, :2] + rng.normal(size=(100, 2)))
        >>> CCA().fit_moments(moments).n_components_
        2
        """
        self._refuse_data_solvers("fit_moments")
        if not isinstance(moments, Moments):
            raise TypeError(f"moments must be fastcca.Moments, got {type(moments).__name__}")
        if len(moments.dims) != 2:
            raise ValueError(f"moments must be of two views, got {len(moments.dims)}: Moments().update(X, y)")
        self.n_features_in_, self.n_y_features_in_ = moments.dims
        self._y_is_vector = False
        self._set_y_names(None)
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        dtypes = [
            np.dtype(np.float32 if moments.eps[s].max() > np.finfo(np.float64).eps else np.float64)
            for s in moments.slices
        ]
        self._fit_moments(moments.copy(), (dtypes[0], dtypes[1]))
        return self

    def _refuse_data_solvers(self, method: str) -> None:
        if self.solver in ("qr", "gram"):
            raise ValueError(
                f"solver={self.solver!r} needs the data, but {method} has their moments alone: "
                "use solver='auto' or 'covariance', or fit"
            )
