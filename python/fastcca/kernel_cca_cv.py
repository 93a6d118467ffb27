"""Kernel canonical correlation analysis whose widths and regularisation are chosen by cross-validation."""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._folds import PooledScores, Split
from fastcca._kernel import KernelTwoView
from fastcca._kernel_features import FeatureSums, LandmarkView, collect, solve_features
from fastcca._linear import _column_statistics
from fastcca._search import (
    TIE,
    adopt_features,
    default_grid,
    pools,
    ridge_grid,
    row_splits,
    search_results,
    warn_of_end,
)
from fastcca._two_view import Weights
from fastcca._validation import check_reg, check_same_rows, refuse_non_finite
from fastcca.functional.kernels import Kernel
from fastcca.functional.moments import Moments
from fastcca.functional.solver import held_out_correlations
from fastcca.kernel_cca import KernelCCA, Kernels

__all__ = ["KernelCCACV"]

Gamma = float | str | tuple[float | str, float | str]
Array = NDArray[Any]
Reg = tuple[float, float]

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the median widths, where none are given
FACTORS_OF_REG = np.logspace(
    -6, 0, 7
)  # relative to the unit of each view, where no regularisations are given


class KernelCCACV(KernelTwoView):
    r"""Kernel canonical correlation analysis with widths and regularisation chosen by cross-validation.

    For each width the landmarks are chosen once, from all rows (a choice that sees each view alone and no
    pairing), and one pass over the data takes the moments of every fold; all regularisations follow from
    these moments, without another look at the data.

    Parameters
    ----------
    n_components : int, optional
        Number of pairs of functions; by default 10, or the smaller rank if that is less.
    kernel : str, callable or pair of them, default="rbf"
        As in :class:`KernelCCA`.
    gammas : sequence of float, "median" or pairs of them, optional
        Widths to compare, each for both views or as a pair (x, y). By default 1/4, 1/2, 1, 2 and 4 times the
        median widths of the views.
    regs : array_like, or pair of array_like, optional
        Regularisations to compare, each for both views; or a pair of grids ``(regs_x, regs_y)``, every
        combination of which is tried. By default ``numpy.logspace(-6, 0, 7)``; for the linear kernel, whose
        features have the units of the data, times the total variance of each view.
    cv : int, splitter or iterable, default=5
        As in scikit-learn: the number of contiguous folds, a splitter, or pairs of row indices (train, test).
        Where a test part has fewer than five rows the held-out rows of all splits are scored together, as in
        :class:`CCACV`.
    penalty, degree, coef0, rank, tol, pivoting, random_state, n_threads, verbose
        As in :class:`KernelCCA`.

    Attributes
    ----------
    gamma_ : tuple of two float
        The widths with the best mean score.
    reg_ : float or tuple of two float
        The regularisation with the best mean score. Among equals the largest is taken.
    best_score_, best_index_ : float, int
        Its mean held-out canonical correlation, and its place in ``cv_results_``.
    best_estimator_ : KernelCCA
        Fitted to all rows with them.
    cv_results_ : dict
        As ``GridSearchCV`` gives it: ``params``, ``param_gamma``, ``param_reg``, ``split{i}_test_score``,
        ``mean_test_score``, ``std_test_score``, ``rank_test_score``. A score is the mean over components of
        the Pearson correlation of held-out scores; a component that is constant there counts 0.
    n_splits_ : int
        Number of splits.
    x_landmarks_, x_weights_, canonical_correlations_, ... : ndarray
        Every fitted attribute of ``best_estimator_``; the methods use them.

    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, folds too small, views that are not numbers or do not pair, NaN
        or infinity.
    NumericalError
        In ``fit``: a kernel that is not positive semidefinite, rows that are all the same.

    Warns
    -----
    UserWarning
        If the best regularisation is an end of a grid that was given (of three values or more).

    See Also
    --------
    KernelCCA : With given widths and regularisation.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import KernelCCACV
    >>> rng = np.random.default_rng(0)
    >>> t = rng.uniform(-2, 2, size=(200, 1))
    >>> X = np.hstack([t, rng.normal(size=(200, 2))])
    >>> y = t**2 + 0.1 * rng.normal(size=(200, 1))
    >>> search = KernelCCACV(n_components=1, regs=[1e-4, 1e-2]).fit(X, y)
    >>> len(search.cv_results_["params"]), bool(search.best_score_ > 0.9)
    (10, True)
    """

    def __init__(
        self,
        n_components: int | None = None,
        kernel: Kernels = "rbf",
        gammas: Any = None,
        regs: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
        cv: Any = 5,
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
        self.gammas = gammas
        self.regs = regs
        self.cv = cv
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
        groups: ArrayLike | None = None,
    ) -> "KernelCCACV":
        """Choose widths and regularisation, and fit with them to all rows.

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
        KernelCCACV
            The fitted estimator.

        Raises
        ------
        ValueError
            See :class:`KernelCCACV`.
        """
        check_same_rows(X=X, y=y, groups=groups)
        x_checked, y_checked, weights = self._check_pair(X, y, sample_weight, reset=True)
        self._check_parameters()
        refuse_non_finite("X", x_checked)
        refuse_non_finite("y", y_checked)
        if self.regs is not None:
            regs = ridge_grid(self.regs)
        else:
            of_x, of_y = (
                _unit(kernel, name, data, weights)
                for kernel, name, data in zip(self._kernels(1.0), "Xy", (x_checked, y_checked), strict=True)
            )
            regs = default_grid(FACTORS_OF_REG, (of_x, of_y))
        pairs = [check_reg(reg) for reg in regs]
        kernels = self._grid_of_kernels(x_checked, y_checked, weights)
        splits = row_splits(self.cv, x_checked, y, groups, weights)

        pooled = pools(splits)
        scores = np.empty((1 if pooled else len(splits), len(kernels), len(regs)))
        best = (-np.inf, 0.0), 0, 0  # (mean score, largest reg), width, reg
        for i, of_views in enumerate(kernels):
            model = self._model((float(of_views[0].gamma), float(of_views[1].gamma)), regs[0])
            views = model._choose_views(of_views, x_checked, y_checked, weights, None)
            total, scores[:, i] = self._held_out(views, x_checked, y_checked, weights, splits, pairs, pooled)
            mean = scores[:, i].mean(axis=0).round(TIE)
            j = max(range(len(regs)), key=lambda j: (mean[j], sum(pairs[j])))
            if (mean[j], sum(pairs[j])) > best[0]:
                best = (mean[j], sum(pairs[j])), i, j
                kept = model, views, total
        _, i, j = best

        self.n_splits_ = len(splits)
        gammas = [(float(kx.gamma), float(ky.gamma)) for kx, ky in kernels]
        params = [{"gamma": gamma, "reg": reg} for gamma in gammas for reg in regs]
        table = scores.reshape(len(scores), -1)
        self.cv_results_ = search_results(params, table[0] if pooled else table)
        self.best_index_ = i * len(regs) + j
        self.best_score_ = float(self.cv_results_["mean_test_score"][self.best_index_])
        self.gamma_, self.reg_ = gammas[i], regs[j]
        if self.regs is not None:
            warn_of_end(pairs, scores[:, i].mean(axis=0), j, default=False)
        model, views, total = kept
        model.reg = self.reg_
        model._fit_sums(views, total, pairs[j], (x_checked.dtype, y_checked.dtype))
        self.best_estimator_ = model
        parameters = model.get_params()
        self.__dict__.update({name: value for name, value in vars(model).items() if name not in parameters})
        return self

    def _grid_of_kernels(self, X: Array, Y: Array, weights: Weights) -> list[tuple[Kernel, Kernel]]:
        if self.gammas is not None:
            return [self._fitted_kernels(gamma, X, Y, weights) for gamma in _plain(self.gammas)]
        kx, ky = self._fitted_kernels("median", X, Y, weights)
        if {kx.kernel, ky.kernel} <= {"linear", "cosine"} or (callable(kx.kernel) and callable(ky.kernel)):
            return [(kx, ky)]  # no width to choose
        return [self._kernels((f * float(kx.gamma), f * float(ky.gamma))) for f in FACTORS]

    def _model(self, gamma: tuple[float, float], reg: Any) -> KernelCCA:
        names = set(KernelCCA().get_params()) - {"gamma", "reg"}
        model = KernelCCA(gamma=gamma, reg=reg, **{name: getattr(self, name) for name in names})
        adopt_features(model, self)
        return model

    def _held_out(
        self,
        views: tuple[LandmarkView, LandmarkView],
        X: Array,
        Y: Array,
        weights: Weights,
        splits: list[Split],
        pairs: list[Reg],
        pooled: bool,
    ) -> tuple[FeatureSums, NDArray[np.float64]]:
        """The sums over all rows, and scores (splits, regularisations), or (1, regularisations) if pooled."""

        def sums(rows: NDArray[np.intp]) -> FeatureSums:
            run = len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all()
            part: Any = slice(int(rows[0]), int(rows[-1]) + 1) if run else rows
            w = None if weights is None else weights[part]
            return collect(*views, X[part], Y[part], w, self.n_threads, self.verbose)

        k = min(int(self.n_components or 10), views[0].rank, views[1].rank)
        n = len(X)
        each_row_once = (np.bincount(np.concatenate([test for _, test in splits]), minlength=n) == 1).all()
        if each_row_once and all(len(train) + len(test) == n for train, test in splits):
            folds = [sums(test) for _, test in splits]
            total = reduce(add, folds)
            held_out = [fold.moments for fold in folds]
            if pooled:
                return total, self._pooled_scores(((total.moments - f, f) for f in held_out), pairs, k)
            return total, self._scores_of(total.moments, held_out, pairs, k)
        if pooled:
            parts = ((sums(train).moments, sums(test).moments) for train, test in splits)
            return sums(np.arange(n)), self._pooled_scores(parts, pairs, k)
        scores = []
        for train, test in splits:
            fold = sums(test).moments
            scores.append(self._scores_of(sums(train).moments + fold, [fold], pairs, k)[0])
        return sums(np.arange(n)), np.array(scores)

    def _pooled_scores(
        self, parts: Iterable[tuple[Moments, Moments]], pairs: list[Reg], k: int
    ) -> NDArray[np.float64]:
        """Scores (1, regularisations) of the held-out rows of all splits: training and held-out moments."""
        found = PooledScores(len(pairs), k)
        for train, fold in parts:
            sx, sy = fold.slices
            # about the means of the training rows
            away = fold.mean - train.mean
            scatter = fold.scatter + fold.n * np.outer(away, away)
            for j, pair in enumerate(pairs):
                solution = solve_features(train, k, pair, self.penalty, self.n_threads)
                wx, wy = solution.x_weights, solution.y_weights
                found.add(
                    j,
                    np.einsum("ij,ij->j", wx, scatter[sx, sy] @ wy),
                    np.einsum("ij,ij->j", wx, scatter[sx, sx] @ wx),
                    np.einsum("ij,ij->j", wy, scatter[sy, sy] @ wy),
                )
        return found.scores()[np.newaxis]

    def _scores_of(
        self, total: Moments, folds: list[Moments], pairs: list[Reg], k: int
    ) -> NDArray[np.float64]:
        if self.penalty == "ridge":
            # NaN stands beyond the rank of a fold's training rows.
            return np.asarray(
                np.nanmean(held_out_correlations(total, folds, pairs, k, self.n_threads), axis=2)
            )
        scores = np.empty((len(folds), len(pairs)))
        for i, fold in enumerate(folds):
            sx, sy = fold.slices
            for j, pair in enumerate(pairs):
                found = solve_features(total - fold, k, pair, self.penalty, self.n_threads)
                wx, wy = found.x_weights, found.y_weights
                across = np.einsum("ij,ij->j", wx, fold.scatter[sx, sy] @ wy)
                scale = np.sqrt(
                    np.einsum("ij,ij->j", wx, fold.scatter[sx, sx] @ wx)
                    * np.einsum("ij,ij->j", wy, fold.scatter[sy, sy] @ wy)
                )
                scores[i, j] = np.divide(across, scale, out=np.zeros_like(scale), where=scale > 0).mean()
        return scores


def _unit(kernel: Kernel, name: str, data: Array, weights: Weights) -> float:
    """The variance of all features together where they have units of the data, else 1."""
    if kernel.kernel != "linear":
        return 1.0
    return float(_column_statistics(name, data, weights)[1].sum()) or 1.0


def _plain(gammas: Any) -> list[Gamma]:
    """Widths as ``gamma`` takes them: rows of a 2-d array are pairs."""
    if isinstance(gammas, str) or not isinstance(gammas, (Sequence, np.ndarray)) or not len(gammas):
        raise ValueError(f"gammas must be a sequence of widths or of pairs of them, got {gammas!r}")
    return [tuple(g) if isinstance(g, (np.ndarray, list)) else g for g in gammas]
