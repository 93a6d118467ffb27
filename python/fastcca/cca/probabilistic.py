"""Probabilistic canonical correlation analysis: :class:`ProbabilisticCCA`."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.arrays import refuse_non_finite
from fastcca._arguments.parameters import N_COMPONENTS, N_THREADS, POSITIVE_INTEGER, RIDGES, anything
from fastcca._models.docs import documented
from fastcca._models.files import Schema
from fastcca._models.statistics import Weights
from fastcca.cca.linear import LinearTwoView
from fastcca.errors import NumericalError
from fastcca.functional.moments import Moments
from fastcca.functional.multiview import whiten

__all__ = ["ProbabilisticCCA"]

Floats = NDArray[np.float64]


@documented
class ProbabilisticCCA(LinearTwoView):
    r"""Canonical correlation analysis as a Gaussian model of two views, fitted by maximum likelihood.

    .. math:: z \sim \mathcal N(0, I_k), \qquad x_i \mid z \sim \mathcal N(W_i z + \mu_i, \Psi_i)

    with full noise covariances :math:`\Psi_i`. In closed form, from the weights :math:`A_i` and correlations
    P of :class:`CCA`: :math:`W_i = S_{ii} A_i P^{1/2}`, :math:`\Psi_i = S_{ii} - W_i W_i^\top`; the
    covariance of both views is S with :math:`S_{12}` replaced by :math:`W_1 W_2^\top`, its best rank k
    approximation.

    Parameters
    ----------
    n_components : int, optional
        Dimension k of the latent variable, at most min(p, q), which is the default.
    reg : float or tuple of two float, default=0.0
        Ridge added to the variances of both views or (x, y), which makes the model proper where a view has
        more columns than the rows determine: S + rI in the place of S.
    max_components : int, optional
        In the place of ``n_components``: choose it from 1 to this by the log-likelihood of held-out rows.
    cv : int, splitter or iterable, default=5
        For that choice: the folds, as in scikit-learn.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.

    Attributes
    ----------
    x_factors_, y_factors_ : ndarray of shape (p, n_components_), (q, n_components_)
        W of both views.
    x_noise_, y_noise_ : ndarray of shape (p, p), (q, q)
        Ψ of both views.
    x_weights_, y_weights_, canonical_correlations_, singular_values_, x_mean_, y_mean_, n_components_, ...
        As in :class:`CCA`; ``transform`` gives its scores. Latent means are :meth:`posterior`'s.
    held_out_ : ndarray of shape (max_components,)
        Mean log-likelihood of a held-out row by number of components; only with ``max_components``.

    {raises_in_fit}
    NumericalError
        In ``fit``: a view's covariance is singular: it has no density. (It is a ValueError as well.)

    References
    ----------
    F. R. Bach and M. I. Jordan, "A probabilistic interpretation of canonical correlation analysis", technical
    report 688, University of California, Berkeley, 2005.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import ProbabilisticCCA
    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=(500, 1))
    >>> X, y = z + rng.normal(size=(500, 3)), z + rng.normal(size=(500, 2))
    >>> model = ProbabilisticCCA(n_components=1).fit(X, y)
    >>> mean, covariance = model.posterior(X, y)
    >>> mean.shape, covariance.shape
    ((500, 1), (1, 1))
    >>> bool(covariance < model.posterior(X)[1])
    True
    >>> model.sample(3, random_state=0)[0].shape
    (3, 3)
    """

    solver = "covariance"  # not parameters
    scale = False
    _schema = Schema(
        "ProbabilisticCCA", fields="x_factors_ y_factors_ x_noise_ y_noise_", optional="held_out_"
    )
    _constraints = {  # noqa: RUF012
        "n_components": N_COMPONENTS,
        "reg": RIDGES,
        "max_components": POSITIVE_INTEGER.or_none,
        "cv": anything("a number of folds or a splitter"),  # by scikit-learn
        "n_threads": N_THREADS,
    }

    x_factors_: Floats
    y_factors_: Floats
    x_noise_: Floats
    y_noise_: Floats
    held_out_: Floats

    def __init__(
        self,
        n_components: int | None = None,
        reg: float | tuple[float, float] = 0.0,
        max_components: int | None = None,
        cv: Any = 5,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.reg = reg
        self.max_components = max_components
        self.cv = cv
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> "ProbabilisticCCA":
        """Fit to paired rows.

        {paired_views}
        {fit_weights}

        {returns_self}

        Raises
        ------
        ValueError
            See :class:`ProbabilisticCCA`.
        """
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=True)
        moments = self._moments(x_checked, y_checked, weights)
        chosen = self._choose(x_checked, y_checked, weights, moments)
        self._fit_model(moments, (x_checked.dtype, y_checked.dtype), chosen)
        return self

    def fit_moments(self, moments: Moments) -> "ProbabilisticCCA":
        """Fit to the moments of both views.

        {moments_of_two_views}

        {returns_self}

        Raises
        ------
        ValueError
            For moments of other than two views or of fewer than two rows; with ``max_components``, which
            takes the rows.
        TypeError
            For anything that is not :class:`~fastcca.Moments`.
        """
        dtypes = self._check_moments(moments)
        if self.max_components is not None:
            raise ValueError("max_components takes the rows, which moments do not hold: give n_components")
        self._fit_model(moments.copy(), dtypes, None)
        return self

    def _fit_model(
        self, moments: Moments, dtypes: tuple[np.dtype[Any], np.dtype[Any]], chosen: int | None
    ) -> None:
        for view, (name, ridge) in enumerate(zip("Xy", self._ridges(), strict=True)):
            if ridge == 0 and whiten(moments, view, 0.0, name, self.n_threads).rank < moments.dims[view]:
                raise NumericalError(f"the covariance of {name} is singular: it has no density. Raise reg")
        given = self.n_components
        try:
            self.n_components = given if chosen is None else chosen
            self._fit_moments(moments, dtypes)
        finally:
            self.n_components = given
        p, q = moments.dims
        S = moments.scatter / (moments.n - 1)
        rx, ry = self._ridges()
        S[np.arange(p), np.arange(p)] += rx
        S[p + np.arange(q), p + np.arange(q)] += ry
        P = np.sqrt(self.singular_values_.astype(np.float64))
        sx, sy = moments.slices
        self.x_factors_ = S[sx, sx] @ self.x_weights_.astype(np.float64) * P
        self.y_factors_ = S[sy, sy] @ self.y_weights_.astype(np.float64) * P
        self.x_noise_ = S[sx, sx] - self.x_factors_ @ self.x_factors_.T
        self.y_noise_ = S[sy, sy] - self.y_factors_ @ self.y_factors_.T

    def _choose(self, X: NDArray[Any], y: NDArray[Any], weights: Weights, total: Moments) -> int | None:
        """The number of components with the best log-likelihood of held-out rows, if one is wanted."""
        if hasattr(self, "held_out_"):
            del self.held_out_
        if self.max_components is None:
            return None
        if self.n_components is not None:
            raise ValueError("give n_components or max_components, not both")
        most = min(int(self.max_components), *total.dims)
        every = np.arange(len(X))
        sums, count = np.zeros(most), 0.0
        for train, test in check_cv(self.cv).split(X, y):
            train, test = every[train], every[test]
            w = None if weights is None else weights[train]
            moments = self._moments(X[train], y[train], w)
            held = None if weights is None else weights[test]
            for k in range(1, most + 1):
                model = clone(self).set_params(n_components=k, max_components=None)
                model.n_features_in_, model.n_y_features_in_ = total.dims
                model._y_is_vector = False
                model._fit_model(moments, (np.dtype(np.float64), np.dtype(np.float64)), None)
                if model.n_components_ < k:
                    sums[k - 1] = -np.inf
                    continue
                values = model._log_density(X[test], y[test])
                sums[k - 1] += float(values.sum() if held is None else values @ held)
            count += float(len(test) if held is None else held.sum())
        self.held_out_ = sums / count
        return int(np.argmax(self.held_out_)) + 1

    # ---- the model

    def _joint(self) -> tuple[Floats, Floats]:
        """Mean and covariance of both views together."""
        across = self.x_factors_ @ self.y_factors_.T
        Sx = self.x_noise_ + self.x_factors_ @ self.x_factors_.T
        Sy = self.y_noise_ + self.y_factors_ @ self.y_factors_.T
        return np.concatenate([self.x_mean_, self.y_mean_]), np.block([[Sx, across], [across.T, Sy]])

    def _log_density(self, X: NDArray[Any], y: NDArray[Any]) -> Floats:
        mean, S = self._joint()
        try:
            L = cholesky(S, lower=True)
        except np.linalg.LinAlgError:
            raise NumericalError("the covariance of both views is singular: raise reg") from None
        z = solve_triangular(L, (np.hstack([X, y]) - mean).T, lower=True)
        constant = len(S) * np.log(2 * np.pi) + 2 * np.log(L.diagonal()).sum()
        return np.asarray(-0.5 * (constant + (z**2).sum(axis=0)))

    def log_density(self, X: ArrayLike, y: ArrayLike) -> Floats:
        """Log-likelihood of each row.

        {rows_of_both_views}

        Returns
        -------
        ndarray of shape (n,)
            Logarithm of the density of (x, y), in nats.

        {raises_not_fitted}
        ValueError
            For rows that do not pair, NaN or infinity.
        """
        check_is_fitted(self)
        x_checked, y_checked, _ = self._check_pair(X, y, reset=False)
        refuse_non_finite("X", x_checked)
        refuse_non_finite("y", y_checked)
        return self._log_density(x_checked, y_checked)

    def log_likelihood(self, X: ArrayLike, y: ArrayLike) -> float:
        """Mean log-likelihood of the rows.

        Parameters
        ----------
        X, y
            As in :meth:`log_density`.

        Returns
        -------
        float
        """
        return float(self.log_density(X, y).mean())

    def posterior(self, X: ArrayLike | None = None, y: ArrayLike | None = None) -> tuple[Floats, Floats]:
        """Mean and covariance of the latent variable given either view, or both.

        Parameters
        ----------
        X : array_like of shape (n, p), optional
            Rows of the first view.
        y : array_like of shape (n, q), optional
            The paired rows of the second view.

        Returns
        -------
        mean : ndarray of shape (n, n_components_)
            E[z | x], E[z | y] or E[z | x, y].
        covariance : ndarray of shape (n_components_, n_components_)
            The same for every row.

        {raises_not_fitted}
        ValueError
            Without any view; for rows that do not pair, NaN or infinity.
        """
        check_is_fitted(self)
        if X is None and y is None:
            raise ValueError("posterior takes rows of X, of y or of both, got neither")
        mean, S = self._joint()
        W = np.vstack([self.x_factors_, self.y_factors_])
        p = len(self.x_factors_)
        if X is not None and y is not None:
            x_checked, y_checked, _ = self._check_pair(X, y, reset=False)
            rows, part = np.hstack([x_checked, y_checked]), slice(None)
        elif X is not None:
            rows, part = self._check_view("X", X), slice(0, p)
        else:
            rows, part = self._check_view("y", y), slice(p, None)
        refuse_non_finite("X" if X is not None else "y", rows)
        try:
            factor = cho_factor(S[part, part], lower=True)
        except np.linalg.LinAlgError:
            raise NumericalError("the covariance of the views is singular: raise reg") from None
        gain = cho_solve(factor, W[part])
        covariance = np.eye(W.shape[1]) - W[part].T @ gain
        return (rows - mean[part]) @ gain, (covariance + covariance.T) / 2

    def sample(self, n_samples: int = 1, random_state: Any = None) -> tuple[Floats, Floats]:
        """Draw rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState or None
            Source of the draws.

        Returns
        -------
        X, y : ndarray of shape (n_samples, p), (n_samples, q)

        {raises_not_fitted}
        """
        check_is_fitted(self)
        n = POSITIVE_INTEGER("n_samples", n_samples)
        rng = check_random_state(random_state)
        z = rng.standard_normal((n, self.x_factors_.shape[1]))
        out = []
        for W, noise, mean in (
            (self.x_factors_, self.x_noise_, self.x_mean_),
            (self.y_factors_, self.y_noise_, self.y_mean_),
        ):
            values, vectors = np.linalg.eigh(noise)
            root = vectors * np.sqrt(values.clip(min=0.0))
            out.append(z @ W.T + rng.standard_normal((n, len(noise))) @ root.T + mean)
        return out[0], out[1]
