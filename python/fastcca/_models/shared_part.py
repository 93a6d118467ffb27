"""What two views share: rows without the rest, one view as the other tells it, rows whose views disagree."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2
from scipy.stats import f as f_distribution
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.arrays import check_same_length, check_same_rows
from fastcca._arguments.sparse import dense
from fastcca._models.docs import documented

__all__ = ["Denoised", "Disagreement", "SharedPart"]

Floats = NDArray[np.float64]

_SAME = 1e-12  # a difference of scores varies at least so much, relative to the scores


class Denoised(NamedTuple):
    """What ``denoise`` of a model of two views gives.

    Attributes
    ----------
    X, y : ndarray of shape (n, p), (n, q)
        Both views without what they do not share, in their units.
    x_error, y_error : ndarray of shape (n,)
        Length of what was taken from each row.
    x_kept, y_kept : float
        Fraction of the sum of squares about the training mean that is kept.
    """

    X: NDArray[Any]
    y: NDArray[Any]
    x_error: Floats
    y_error: Floats
    x_kept: float
    y_kept: float


class Disagreement(NamedTuple):
    """What ``disagreement`` of a model of two views gives.

    Attributes
    ----------
    score : ndarray of shape (n,)
        Squared distance between the variates of the two views of each row, in units of its training
        covariance: about ``n_components_`` on average.
    p_value : ndarray of shape (n,)
        Probability of one as large for a new row, were all columns normally distributed.
    """

    score: Floats
    p_value: Floats


@documented
class SharedPart:
    """Denoising and disagreement, of linear models of two views."""

    n_components_: int
    n_samples_: float
    x_mean_: NDArray[Any]
    y_mean_: NDArray[Any]
    canonical_correlations_: NDArray[Any]
    _score_covariance: Floats
    _x_on_x: NDArray[Any]
    _y_on_y: NDArray[Any]
    _y_is_vector: bool

    def _variates(
        self, X: ArrayLike, y: ArrayLike, confounds: ArrayLike | None
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Scores of paired rows in units of their training deviations; these; the scores' correlations."""
        check_is_fitted(self)
        if not hasattr(self, "_score_covariance"):
            raise ValueError(
                "this model was saved by a version that did not store the covariances of its scores: fit it "
                "again"
            )
        check_same_rows(X=X, y=y, confounds=confounds)
        extra = {} if confounds is None else {"confounds": confounds}
        zx, zy = self.transform_views(X, y, **extra)  # type: ignore[attr-defined]
        check_same_length(X=zx, y=zy)
        variances = self._score_covariance.diagonal()
        scale = np.sqrt(np.where(variances > 0, variances, 1.0))
        z = np.hstack([zx, zy]).astype(np.float64) / scale
        return (
            z[:, : zx.shape[1]],
            z[:, zx.shape[1] :],
            scale,
            self._score_covariance / np.outer(scale, scale),
        )

    def denoise(self, X: ArrayLike, y: ArrayLike, confounds: ArrayLike | None = None) -> Denoised:
        r"""Both views without what they do not share.

        Each pair of variates u, v of correlation :math:`\rho` is taken for two measurements of one latent
        variable, :math:`u = \sqrt\rho\, z + e`, :math:`v = \sqrt\rho\, z + e'`, as the probabilistic model of
        CCA has it; what is kept of u, and of v, is :math:`\sqrt\rho\, E[z \mid u, v] = \rho (u + v) / (1 +
        \rho)`, and each view is regressed on that. Noise of one view alone is averaged out where the views
        correlate, and left out where they do not.

        {paired_rows}
        confounds : array_like of shape (n, c), optional
            Confounds of these rows, where the fit had some. What they explain stays.

        Returns
        -------
        Denoised
            Both views, the length of what was taken from each row, and the fraction that was kept.

        {raises_not_fitted}
        ValueError
            For rows that do not pair, NaN or infinity.

        Notes
        -----
        Training correlations of many columns and few rows are too large, and keep too much: choose
        ``n_components``, or a ridge, by cross-validation.

        References
        ----------
        F. R. Bach and M. I. Jordan, "A probabilistic interpretation of canonical correlation analysis",
        technical report 688, University of California, Berkeley, 2005.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCA
        >>> rng = np.random.default_rng(0)
        >>> signal = rng.normal(size=(1000, 1))
        >>> X, Y = (signal @ np.ones((1, 10)) + rng.normal(size=(1000, 10)) for _ in range(2))
        >>> found = CCA(n_components=1).fit(X, Y).denoise(X, Y)
        >>> before, after = (float(((a - signal) ** 2).mean()) for a in (X, found.X))
        >>> round(before, 1), round(after, 1)
        (1.0, 0.0)
        """
        u, v, scale, _ = self._variates(X, y, confounds)
        k = u.shape[1]
        rho = np.clip(self.canonical_correlations_.astype(np.float64), 0.0, 1.0)
        kept = rho * (u + v) / (1 + rho)
        rows = dense(X), dense(y)
        out: list[NDArray[Any]] = []
        for view, on, mean, data in (
            (0, self._x_on_x, self.x_mean_, rows[0]),
            (1, self._y_on_y, self.y_mean_, rows[1]),
        ):
            shared = (kept * scale[view * k : (view + 1) * k]) @ on.astype(np.float64) + mean
            if confounds is not None:
                Z = self._check_confounds(confounds, len(shared), reset=False)  # type: ignore[attr-defined]
                shared = self._with_explained(shared, view, Z)  # type: ignore[attr-defined]
            dtype = data.dtype if data.dtype.kind == "f" else np.dtype(np.float64)
            out.append(shared.astype(dtype))
        errors, shares = [], []
        for shared, data, mean in zip(out, rows, (self.x_mean_, self.y_mean_), strict=True):
            given = data.reshape(len(shared), -1).astype(np.float64)
            taken = ((given - shared) ** 2).sum(axis=1)
            errors.append(np.sqrt(taken))
            shares.append(
                1.0 - float(taken.sum()) / max(float(((given - mean) ** 2).sum()), np.finfo(float).tiny)
            )
        y_shared = out[1].ravel() if self._y_is_vector else out[1]
        return Denoised(out[0], y_shared, errors[0], errors[1], shares[0], shares[1])

    def disagreement(self, X: ArrayLike, y: ArrayLike, confounds: ArrayLike | None = None) -> Disagreement:
        r"""How far the two views of each row are from belonging together: anomalies, rows paired wrongly.

        The differences :math:`\delta = u - v` of the variates have a covariance D in training; the score of a
        row is :math:`\delta^\top D^{-1} \delta`.

        {paired_rows}
        {confounds_of_rows}

        Returns
        -------
        Disagreement
            A score and a p value for each row.

        {raises_not_fitted}
        ValueError
            For rows that do not pair, NaN or infinity.

        Notes
        -----
        The p value is Hotelling's for one more row of the ``n_samples_`` that the model was fitted to. It
        knows nothing of what the fit owes to chance: with many columns for the rows, variates of new rows
        agree less than those of training, and p values are too small. Fit to rows that are sound, with
        components that cross-validation confirms. Where many rows are tested expect as many small p values;
        :func:`scipy.stats.false_discovery_control` counts with that.

        References
        ----------
        H. Hotelling, "The generalization of Student's ratio", Annals of Mathematical Statistics 2, 1931.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCA
        >>> from fastcca.datasets import make_two_views
        >>> views = make_two_views(500, (4, 3), (0.95, 0.9), random_state=0)
        >>> model = CCA(n_components=2).fit(views.X[:400], views.y[:400])
        >>> Y = views.y[400:].copy()
        >>> Y[[7, 8]] = Y[[8, 7]]  # paired wrongly
        >>> found = model.disagreement(views.X[400:], Y)
        >>> sorted(found.p_value.argsort()[:2].tolist())
        [7, 8]
        """
        u, v, _, R = self._variates(X, y, confounds)
        k = u.shape[1]
        across = R[:k, k:]
        D = R[:k, :k] + R[k:, k:] - across - across.T
        values, vectors = np.linalg.eigh((D + D.T) / 2)
        score = (((u - v) @ vectors) ** 2 / np.maximum(values, _SAME)).sum(axis=1)
        n = float(self.n_samples_)
        if n <= k + 1:
            return Disagreement(score, np.asarray(chi2.sf(score, k)))
        # T² n / (n + 1) (n - k) / (k (n - 1)) ~ F
        p = f_distribution.sf(score * n * (n - k) / ((n + 1) * (n - 1) * k), k, n - k)
        return Disagreement(score, np.asarray(p))
