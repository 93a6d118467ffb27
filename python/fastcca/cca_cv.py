"""Linear canonical correlation analysis whose ridge is chosen by cross-validation."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastcca._folds import FoldMoments, Rows, fast_scores, pooled_scores, slow_scores
from fastcca._linear import LinearTwoView
from fastcca._search import (
    adopt_features,
    default_grid,
    pools,
    ridge_grid,
    row_splits,
    search_results,
    warn_of_end,
)
from fastcca._validation import check_n_components, check_n_threads, check_reg, check_same_rows
from fastcca.cca import CCA
from fastcca.functional.moments import Moments

__all__ = ["CCACV"]

# The ridges compared where none are given, relative to the mean variance of the columns of each view.
FACTORS = np.logspace(-6, 3, 19)


class CCACV(LinearTwoView):
    r"""Canonical correlation analysis whose ridge is chosen by cross-validation.

    The choice of ``GridSearchCV(CCA(), {"reg": regs})``, computed from one pass over the data: the moments of
    the training rows are those of all rows minus those held out, one eigendecomposition of each view serves
    every ridge, and the held-out correlations follow from the held-out moments. Ridges so small that the
    covariances stay ill-conditioned, and folds with more features than training rows, are fitted one by one
    as :class:`CCA` does.

    Parameters
    ----------
    n_components : int, optional
        Number of pairs of directions, at most min(p, q), which is the default.
    regs : array_like, or pair of array_like, optional
        Ridges to compare, each the same for both views; or a pair of grids ``(regs_x, regs_y)``, every
        combination of which is tried. They are in the units of a variance, as ``CCA.reg`` is. By default
        ``numpy.logspace(-6, 3, 19)`` times the mean variance of the columns of each view, so that the units
        of measurement make no difference.
    cv : int, splitter or iterable, default=5
        As in scikit-learn: the number of contiguous folds, a splitter, or pairs of row indices (train, test).
        Where a test part has fewer than five rows (one, in leave-one-out) the held-out rows of all splits
        are scored together: their scores about the means of their training rows, correlated over all of
        them.
    scale : bool, default=False
        Divide each column by its standard deviation in the training rows first; the ridge is then a share
        of a variance.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.

    Attributes
    ----------
    reg_ : float or tuple of two float
        The ridge with the best mean score. Among scores equal to 12 decimals the largest, that is the
        one of largest r1 + r2, is taken.
    best_score_ : float
        Its mean held-out canonical correlation.
    best_index_ : int
        Its place in ``cv_results_``.
    best_estimator_ : CCA
        Fitted to all rows with it.
    cv_results_ : dict
        As ``GridSearchCV`` gives it: ``params``, ``param_reg``, ``split{i}_test_score``, ``mean_test_score``,
        ``std_test_score``, ``rank_test_score``. A score is the mean over components of the Pearson
        correlation of held-out scores; a component that is constant there counts 0. Scores over the rows of
        all splits together have no ``split{i}_test_score`` and no ``std_test_score``.
    n_splits_ : int
        Number of splits.
    x_weights_, y_weights_, canonical_correlations_, ... : ndarray
        Every fitted attribute of ``best_estimator_``; the methods use them.

    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, folds too small, views that are not numbers or do not pair, NaN
        or infinity.
    NumericalError
        In ``fit``: every column of a view is constant in the training rows of a split.

    Warns
    -----
    UserWarning
        If the best ridge is an end of the grid (of three values or more), beyond which a better one may lie.

    See Also
    --------
    CCA : With a given ridge.

    References
    ----------
    H. D. Vinod, "Canonical ridge and econometrics of joint production", Journal of Econometrics 4, 1976.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import CCACV
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(200, 1))
    >>> X = np.hstack([common + rng.normal(size=(200, 1)), rng.normal(size=(200, 40))])
    >>> Y = np.hstack([common + rng.normal(size=(200, 1)), rng.normal(size=(200, 40))])
    >>> search = CCACV(n_components=1, regs=[1e-3, 1.0, 1e2, 1e4]).fit(X, Y)
    >>> search.reg_
    100.0
    >>> search.cv_results_["rank_test_score"]
    array([4, 3, 1, 2], dtype=int32)
    """

    solver = "auto"  # not a parameter: the refit chooses

    def __init__(
        self,
        n_components: int | None = None,
        regs: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
        cv: Any = 5,
        scale: bool = False,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.regs = regs
        self.cv = cv
        self.scale = scale
        self.n_threads = n_threads

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> "CCACV":
        """Choose the ridge and fit with it to all rows.

        Parameters
        ----------
        X : array_like of shape (n, p)
            First view.
        y : array_like of shape (n, q) or (n,)
            Second view, row by row the partners of ``X``.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row, in fits and in scores.
        groups : array_like of shape (n,), optional
            Handed to the splitter ``cv``.

        Returns
        -------
        CCACV
            The fitted estimator.

        Raises
        ------
        ValueError
            See :class:`CCACV`.
        """
        check_same_rows(X=X, y=y, groups=groups)
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=True)
        check_n_threads(self.n_threads)
        k = check_n_components(self.n_components, x_checked.shape[1], y_checked.shape[1])
        given = None if self.regs is None else ridge_grid(self.regs)
        pairs = [] if given is None else [check_reg(reg) for reg in given]
        splits = row_splits(self.cv, x_checked, y, groups, weights)
        data = Rows(x_checked, y_checked, weights, self.n_threads)
        shared = FoldMoments(data, splits)
        units = (1.0, 1.0) if self.scale or given is not None else shared.mean_variances(data)
        regs = default_grid(FACTORS, units) if given is None else given
        pairs = [check_reg(reg) for reg in regs]

        model = CCA(k, scale=self.scale, n_threads=self.n_threads)
        if pools(splits):
            scores = pooled_scores(data, splits, shared, pairs, model)
        else:
            scores = fast_scores(data, splits, shared, pairs, k, self.scale)
            if np.isnan(scores).any():
                slow_scores(scores, data, splits, pairs, model)

        self.n_splits_ = len(splits)
        self.cv_results_ = search_results([{"reg": reg} for reg in regs], scores)
        mean = self.cv_results_["mean_test_score"]
        ties = np.flatnonzero(self.cv_results_["rank_test_score"] == 1)
        self.best_index_ = int(max(ties, key=lambda i: sum(pairs[i])))
        self.best_score_ = float(mean[self.best_index_])
        self.reg_ = regs[self.best_index_]
        warn_of_end(pairs, mean, self.best_index_, self.regs is None)
        self._refit(data, shared.total)
        return self

    def _refit(self, data: Rows, moments: Moments | None) -> None:
        best = CCA(self.n_components, self.reg_, self.scale, "auto", self.n_threads)
        adopt_features(best, self)
        best._fit_arrays(data.X, data.y, data.weights, moments)
        self.best_estimator_ = best
        parameters = best.get_params()
        self.__dict__.update({name: value for name, value in vars(best).items() if name not in parameters})
