"""Canonical correlation analysis of any number of views: :class:`MCCA`, :class:`GCCA`, :class:`MCCACV`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._arguments.arrays import column_names
from fastcca._arguments.modalities import Modalities, named, per_view
from fastcca._arguments.parameters import FLAG, MISSING, N_COMPONENTS, N_THREADS, anything, choice
from fastcca._arguments.sparse import is_sparse
from fastcca._arguments.warn import warn
from fastcca._models.docs import documented
from fastcca._models.files import Schema
from fastcca._models.missing import MissingValues
from fastcca._models.multi_view import MultiViewModel, ViewStatistics, mean_of_pairs
from fastcca._models.statistics import Weights, cast_weights, finite_scores
from fastcca.cca.linear import MOST_ERROR, column_variances, fine_error
from fastcca.cca.model_selection import pools, row_splits, search_results, splits_of
from fastcca.cca.partial import Confounding, check_confounds, mapped_residuals, partial_moments
from fastcca.errors import NumericalError
from fastcca.functional.linalg import product
from fastcca.functional.missing import column_labels, completed, conditional_means
from fastcca.functional.moments import Moments
from fastcca.functional.multiview import (
    PairwiseMoments,
    ViewsSolution,
    Whitening,
    fixed_signs,
    select,
    solve_views,
)

__all__ = ["GCCA", "MCCA", "MCCACV", "LinearMultiView"]

ForViews = float | Mapping[str, float] | Sequence[float]
Self = TypeVar("Self", bound="EigenMultiView")


class Solved(NamedTuple):
    """A solution in the units of the data, and what it is of."""

    solution: ViewsSolution
    weights: tuple[NDArray[np.float64], ...]
    scales: tuple[NDArray[np.float64], ...]
    omega: NDArray[np.float64]


@documented
class LinearMultiView(MultiViewModel):
    """A linear map of each view: what :class:`MCCA`, :class:`GCCA` and :class:`MCCACV` share."""

    _schema = Schema(
        fields="weights_ scales_ eigenvalues_ ranks_ n_samples_ pairwise_n_ moments_",
        optional="confounds_rank_ confounds_mean_ confounds_coef_",
        partial_fit="parts=_parts",
    )
    _constraints = {  # noqa: RUF012
        "n_components": N_COMPONENTS,
        "view_weights": anything("a number for each view"),  # checked with the views
        "scale": FLAG,
        "n_threads": N_THREADS,
    }

    n_components: int | None
    reg: ForViews
    view_weights: ForViews | None
    scale: bool
    n_threads: int | None

    weights_: dict[str, NDArray[Any]]
    scales_: dict[str, NDArray[Any]]
    eigenvalues_: NDArray[Any]
    ranks_: dict[str, int]
    n_samples_: float
    pairwise_n_: NDArray[np.float64]
    moments_: Moments
    confounds_rank_: int
    confounds_mean_: NDArray[np.float64]
    confounds_coef_: dict[str, NDArray[np.float64]]
    _parts: dict[tuple[int, ...], Moments] | None
    _criterion: Literal["sumcor", "maxvar"] = "sumcor"

    def _loading_dtypes(self) -> list[np.dtype[Any]]:
        return [self.weights_[name].dtype for name in self.views_]

    def _scores(self, name: str, data: NDArray[Any]) -> NDArray[Any]:
        return finite_scores(name, data, self.weights_[name], self.means_[name])

    # ---- confounds

    @property
    def _confounding(self) -> Confounding | None:
        if not getattr(self, "confounds_rank_", 0):
            return None
        coefficients = tuple(self.confounds_coef_[name] for name in self.views_)
        return Confounding(self.confounds_mean_, coefficients, self.confounds_rank_)

    def _set_confounding(self, confounding: Confounding | None) -> None:
        self.confounds_rank_ = 0 if confounding is None else confounding.rank
        if confounding is not None:
            self.confounds_mean_ = confounding.mean
            self.confounds_coef_ = dict(zip(self.views_, confounding.coefficients, strict=True))
            return
        for name in ("confounds_mean_", "confounds_coef_"):
            self.__dict__.pop(name, None)

    def _check_confounds(
        self, confounds: Any, n_rows: int, *, reset: bool, missing: bool = False
    ) -> NDArray[Any] | None:
        fitted = None if reset else self._confounding
        owner = type(self).__name__
        if fitted is not None and confounds is None:
            raise ValueError(
                f"this {owner} was fitted with confounds: pass those of these rows, confounds=..."
            )
        return check_confounds(owner, confounds, n_rows, fitted, reset=reset, of="the views", missing=missing)

    def _rows_without(self, views: Any, confounds: Any, *, whole: bool = False) -> Modalities:
        """Checked rows less what the confounds explain of them."""
        found = self._check_rows(views, whole=whole)
        Z, confounding = self._check_confounds(confounds, found.n_rows, reset=False), self._confounding
        if Z is None or confounding is None:
            return found
        left = {
            name: confounding.residuals(self.views_.index(name), data, Z) for name, data in found.data.items()
        }
        return found._replace(data=left)

    # ---- what users call

    def transform(self, views: Any, confounds: ArrayLike | None = None) -> dict[str, NDArray[Any]]:
        """Scores of each view.

        Parameters
        ----------
        views : mapping of str to array_like of shape (n, p_i), or sequence of such
            As for ``fit``; views may be left out of a mapping.
        confounds : array_like of shape (n, c), optional
            Confounds of these rows, where the fit was given some: what they explain, by the coefficients of
            the fit, is taken out first.

        {returns_scores_by_view}

        {raises_not_fitted}
        ValueError
            For an unknown view, a wrong number of features or rows, a row that lacks a view, NaN or infinity,
            or confounds that are missing or not expected.
        """
        return self._transformed(self._rows_without(views, confounds, whole=True))

    def transform_view(
        self,
        name: str,
        X: ArrayLike,
        confounds: ArrayLike | None = None,
        *,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Scores of one view.

        {one_view}
        {confounds}
        {out}

        {returns_scores_of_view}

        {raises_not_fitted}
        ValueError
            As in :meth:`transform`.
        """
        return self._scores_of_view(name, self._rows_without({name: X}, confounds, whole=True), out)

    def common_variate(self, views: Any, confounds: ArrayLike | None = None) -> NDArray[Any]:
        """What the views have in common, of variance 1 in the training rows.

        {common_variate}

        {incomplete_views}
        {confounds}

        {returns_common_variate}
        """
        return self._common_of(self._rows_without(views, confounds))

    def predict_views(
        self, views: Any, names: Sequence[str] | None = None, confounds: ArrayLike | None = None
    ) -> dict[str, NDArray[Any]]:
        """Views as their least-squares regression on the scores of the views that each row has.

        {incomplete_views}
        {views_to_predict}
        confounds : array_like of shape (n, c), optional
            As in :meth:`transform`; what they explain of the view to predict is added.

        {returns_predicted_views}
        """
        found = self._rows_without(views, confounds)
        predicted = self._predicted(found, names)
        Z, confounding = self._check_confounds(confounds, found.n_rows, reset=False), self._confounding
        if Z is not None and confounding is not None:
            for name, rows in predicted.items():
                rows += confounding.explained(self.views_.index(name), Z).astype(rows.dtype)
        return predicted

    def score(
        self,
        views: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        confounds: ArrayLike | None = None,
    ) -> float:
        """Mean correlation of the views' scores on these rows.

        {views_to_score}
        {confounds}

        {returns_mean_of_pairs}
        """
        return self._score_of(self._rows_without(views, confounds, whole=True), sample_weight)

    # ---- the fit

    def _parameters(
        self, names: Sequence[str], dims: Sequence[int], reg: Any
    ) -> tuple[int, tuple[float, ...], NDArray[np.float64]]:
        """Components, ridges and weights of these views."""
        regs = per_view(names, reg, "reg", missing=0.0)
        omega = per_view(names, self.view_weights, "view_weights", missing=1.0, positive=True)
        most = sorted(dims)[-2]
        if self.n_components is not None and self.n_components > most:
            told = ", ".join(f"{name} has {dim}" for name, dim in zip(names, dims, strict=True))
            raise ValueError(
                f"n_components={self.n_components} is more than {most}, the second largest number of "
                f"features of a view: {told}"
            )
        return int(self.n_components or most), regs, np.asarray(omega)

    def _collect(
        self,
        found: Modalities,
        weights: Weights,
        rows: Any = None,
        dtype: Any = np.float64,
        confounds: NDArray[Any] | None = None,
    ) -> PairwiseMoments:
        """Moments of the views, and of the confounds as one more that every row has."""
        names = list(self.views_)
        views, present = [found.data[n] for n in names], [found.present[n] for n in names]
        if confounds is not None:
            names.append("confounds")
            views.append(confounds)
            present.append(np.ones(len(confounds), dtype=bool))
        if rows is not None:
            run = len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all()
            part: Any = slice(int(rows[0]), int(rows[-1]) + 1) if run else rows
            views, present = [v[part] for v in views], [p[part] for p in present]
            weights = None if weights is None else weights[part]
        moments = PairwiseMoments([v.shape[1] for v in views])
        return moments.update(views, present, weights, names=names, dtype=dtype, n_threads=self.n_threads)

    def _fit_rows(self, found: Modalities, weights: Weights, Z: NDArray[Any] | None) -> None:
        dtypes = [found.data[name].dtype for name in self.views_]
        if Z is None and all(dtype == np.float32 for dtype in dtypes):
            # products in float32 serve well-conditioned views
            try:
                rows = self._collect(found, weights, dtype=None)
                if self._fit_pairwise(rows, dtypes, cautious=True):
                    return
            except NumericalError:  # overflow, which products in double spare
                pass
        self._fit_pairwise(self._collect(found, weights, confounds=Z), dtypes, confounded=Z is not None)

    def _without_confounds(
        self, rows: PairwiseMoments, confounded: bool
    ) -> tuple[Moments, Moments, Confounding | None]:
        """Moments as they are, of what the confounds, their last view, leave of the others, and how."""
        if not confounded:
            moments = rows.stacked(self.views_)
            return moments, moments, None
        if rows.complete:
            moments = rows.stacked((*self.views_, "confounds"))
            partial, confounding = partial_moments(moments, self.views_, self.n_threads)
        else:
            moments, confounding = self._pairwise_residuals(rows)
            partial = moments
        if partial.n - confounding.rank <= 1:
            raise ValueError(
                f"{confounding.rank} confounds leave nothing of n = {partial.n:g} rows to correlate"
            )
        return moments, partial, confounding

    def _pairwise_residuals(self, rows: PairwiseMoments) -> tuple[Moments, Confounding]:
        """Of rows that lack views: confounds are regressed out of each view by the rows that have it."""
        names, last = self.views_, len(self.views_)
        every = [partial_moments(rows.pair(i, last), (name,), self.n_threads) for i, name in enumerate(names)]
        total = Moments()
        for pattern, moments in rows.parts.items():
            total = total + select(moments, [pattern.index(last)])
        coefficients = tuple(found.coefficients[0] for _, found in every)
        confounding = Confounding(total.mean, coefficients, max(found.rank for _, found in every))
        left = _residual_moments(rows, confounding).stacked(names)
        gone = np.concatenate([partial.scatter.diagonal() == 0 for partial, _ in every])
        left.scatter[gone] = 0
        left.scatter[:, gone] = 0
        return left, confounding

    def _fit_pairwise(
        self,
        rows: PairwiseMoments,
        dtypes: Sequence[np.dtype[Any]],
        *,
        cautious: bool = False,
        confounded: bool = False,
    ) -> bool:
        """Fit to these moments; with ``cautious`` not where they are inaccurate. Returns whether."""
        whole, moments, confounding = self._without_confounds(rows, confounded)
        solved = self._solve(moments, self.reg)
        if cautious:
            whitenings = solved.solution.whitenings
            if any(w.dropped for w in whitenings):
                return False
            if max(_errors(whitenings, moments)) > fine_error(dtypes, moments.n):
                return False
        self._set_confounding(confounding)
        self._adopt(solved, moments, dtypes)
        self.moments_ = whole
        self.n_samples_ = float(rows.n)
        m = len(self.views_)
        self.pairwise_n_ = rows.pairwise_n()[:m, :m]
        self._parts = None if rows.complete else rows.parts
        return True

    def _solve(self, moments: Moments, reg: Any) -> Solved:
        names = self.views_
        if moments.n <= 1:
            raise ValueError(f"{type(self).__name__} takes more than 1 row, got n = {moments.n:g}")
        most, regs, omega = self._parameters(names, moments.dims, reg)
        scales = [np.ones(dim) for dim in moments.dims]
        scaled = moments
        if self.scale:
            variances = column_variances(moments)
            factors = np.sqrt(np.where(variances > 0, variances, 1.0))
            scales = [factors[s] for s in moments.slices]
            scaled = moments.scaled(1 / factors)
        solution = solve_views(
            scaled,
            most,
            regs,
            criterion=self._criterion,
            view_weights=omega.tolist(),
            names=names,
            n_threads=self.n_threads,
        )
        weights = [w / s[:, np.newaxis] for w, s in zip(solution.weights, scales, strict=True)]
        if self.scale:  # the sign rule is for weights of the columns as they came
            signs = fixed_signs(weights[0])
            weights = [w * signs for w in weights]
        return Solved(solution, tuple(weights), tuple(scales), omega)

    def _adopt(self, solved: Solved, moments: Moments, dtypes: Sequence[np.dtype[Any]]) -> None:
        """Set every attribute of the fit but those of the rows."""
        solution, weights, scales, omega = solved
        names, k = self.views_, len(solution.eigenvalues)
        ranks = {name: w.rank for name, w in zip(names, solution.whitenings, strict=True)}
        if self.n_components is not None and k < self.n_components:
            told = ", ".join(f"{name} {rank}" for name, rank in ranks.items())
            warn(
                f"n_components={self.n_components} is reduced to {k}, the second largest rank "
                f"of a view ({told})"
            )
        elif not self._warn_if_undetermined(ranks, moments.n - self.confounds_rank_):
            most = max(MOST_ERROR, fine_error(dtypes, moments.n))
            for name, w, error in zip(
                names, solution.whitenings, _errors(solution.whitenings, moments), strict=True
            ):
                _warn_of_rounding(name, w, error, most)
        self.weights_, self.scales_, self.means_ = {}, {}, {}
        for name, part, s, scale, dtype in zip(names, weights, moments.slices, scales, dtypes, strict=True):
            self.weights_[name] = cast_weights(name, part, dtype)
            self.scales_[name] = scale.astype(dtype)
            self.means_[name] = moments.mean[s]
        self.eigenvalues_ = solution.eigenvalues.astype(np.result_type(*dtypes))
        self.ranks_ = ranks
        self.n_features_in_ = sum(moments.dims)
        if self._criterion == "sumcor":
            common = omega[:, np.newaxis] / np.sqrt(omega.sum() * solution.eigenvalues)
        else:
            common = omega[:, np.newaxis] / solution.eigenvalues
        with_scores = np.hstack(
            [
                product(moments.scatter[:, s], w, self.n_threads) / (moments.n - 1)
                for s, w in zip(moments.slices, weights, strict=True)
            ]
        )
        between = np.vstack(
            [
                product(w.T, with_scores[s], self.n_threads)
                for s, w in zip(moments.slices, weights, strict=True)
            ]
        )
        variances = column_variances(moments)
        self._set_view_statistics(
            ViewStatistics(
                (between + between.T) / 2,
                [with_scores[s] for s in moments.slices],
                [variances[s] for s in moments.slices],
                common,
            ),
            dtypes,
        )

    def _warn_if_undetermined(self, ranks: Mapping[str, int], n: float) -> bool:
        """Where so few rows determine nothing. Returns whether."""
        regs = per_view(self.views_, self.reg, "reg", missing=0.0)
        free = sorted(rank for rank, reg in zip(ranks.values(), regs, strict=True) if reg == 0)
        pair = len(free) > 1 and n - 1 < free[-1] + free[-2]
        if not pair and not (free and n - 1 <= free[-1]):
            return False
        told = ", ".join(f"{name} {rank}" for name, rank in ranks.items())
        warn(
            f"n - 1 = {n - 1:g} is too few for these ranks of the views ({told}): correlations are 1 "
            "whatever the data, and the weights are not determined. Give the views a ridge (reg > 0), fewer "
            "columns or more rows"
        )
        return True

    def _fit_given(self, moments: Moments, names: Sequence[str] | None, confounds: bool) -> None:
        """Fit to moments of views of these names, and of confounds after them."""
        if not isinstance(moments, Moments):
            raise TypeError(f"moments must be fastcca.Moments, got {type(moments).__name__}")
        confounds = FLAG("confounds", confounds)
        m = len(moments.dims) - confounds
        if m < 2:
            besides = " besides the confounds" if confounds else ""
            raise ValueError(
                f"moments must be of two views or more{besides}, got {m}: Moments().update(X, Y, Z, ...)"
            )
        if names is None:
            names = [f"view{i}" for i in range(m)]
        if len(names) != m or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"names must be one text for each of the {m} views, got {names!r}")
        twice = [name for i, name in enumerate(names) if name in names[:i]]
        if twice:
            raise ValueError(f"the name {twice[0]!r} is given twice")
        self.views_ = tuple(names)
        self._columns = dict.fromkeys(names)
        dtypes = [
            np.dtype(np.float32 if moments.eps[s].max() > np.finfo(np.float64).eps else np.float64)
            for s in moments.slices[:m]
        ]
        rows = PairwiseMoments(moments.dims, {tuple(range(len(moments.dims))): moments.copy()})
        self._fit_pairwise(rows, dtypes, confounded=confounds)


def _errors(whitenings: Sequence[Whitening], moments: Moments) -> list[float]:
    """What the rounding of the moments may cost the correlations, by view: ρ cond²."""
    return [
        float(moments.rounding[s].max() * w.condition**2)
        for s, w in zip(moments.slices, whitenings, strict=True)
    ]


def _warn_of_rounding(name: str, whitening: Whitening, error: float, most: float) -> None:
    cure = "Leave dependent columns out, or raise reg"
    if whitening.dropped and whitening.lost > 1e-7:
        warn(
            f"{name} is ill-conditioned: its rank is {whitening.rank}, and what is left out are directions "
            f"of standard deviation up to {whitening.lost:.0e}, where each column has 1. {cure}"
        )
    elif not whitening.dropped and error > most:
        warn(
            f"{name} is ill-conditioned for moments, which square that (estimated condition number "
            f"{whitening.condition:.1e}): correlations may be off by {min(1.0, error):.0e}. {cure}"
        )


class IncompleteViews(MissingValues):
    """Missing values of any number of views, and of their confounds."""

    views_: tuple[str, ...]

    def _incomplete_views(
        self, views: Any, found: Modalities, Z: NDArray[Any] | None, confounds: Any
    ) -> tuple[NDArray[np.bool_] | None, dict[str, NDArray[Any]], dict[str, Any]]:
        """Which rows have missing values (None: none, or they are refused); the arrays, and as given."""
        dense = {name: found.data[name] for name in self.views_ if not is_sparse(found.data[name])}
        if Z is not None:
            dense["confounds"] = Z
        tables = {**named(views), "confounds": confounds}
        incomplete = self._incomplete(dense, tables) if dense else None
        if incomplete is not None and self.missing == "em" and any(map(is_sparse, found.data.values())):
            raise ValueError("missing='em' takes dense views, or sparse ones without missing values")
        return incomplete, dense, tables


def _rows_of(found: Modalities, rows: NDArray[np.intp]) -> Modalities:
    return Modalities(
        {name: a[rows] for name, a in found.data.items()},
        {name: present[rows] for name, present in found.present.items()},
        found.names,
        len(rows),
    )


@documented
class EigenMultiView(IncompleteViews, LinearMultiView):
    """What :class:`MCCA` and :class:`GCCA` share: parameters, and fits to rows and to moments."""

    _constraints = {  # noqa: RUF012
        **LinearMultiView._constraints,
        "reg": anything("a ridge for each view"),
        "missing": MISSING,
    }

    _takes_sparse = True

    def __init__(
        self,
        n_components: int | None = None,
        reg: ForViews = 0.0,
        view_weights: ForViews | None = None,
        scale: bool = False,
        n_threads: int | None = None,
        missing: Literal["error", "drop", "em"] = "error",
    ) -> None:
        self.n_components = n_components
        self.reg = reg
        self.view_weights = view_weights
        self.scale = scale
        self.n_threads = n_threads
        self.missing = missing

    def _take_missing(
        self,
        views: Any,
        found: Modalities,
        weights: Weights,
        Z: NDArray[Any] | None,
        confounds: Any,
        least: int = 2,
    ) -> tuple[Modalities, Weights, NDArray[Any] | None, Moments | None]:
        """The rows to fit to, or their moments by maximum likelihood, where some have missing values."""
        incomplete, dense, tables = self._incomplete_views(views, found, Z, confounds)
        if incomplete is None:
            return found, weights, Z, None
        if self.missing == "em":
            return found, weights, Z, self._em_moments(dense, tables, weights)
        kept = self._complete(incomplete, dense, tables, least=least)
        weights = None if weights is None else weights[kept]
        return _rows_of(found, kept), weights, None if Z is None else Z[kept], None

    def fit(
        self: Self,
        views: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        confounds: ArrayLike | None = None,
    ) -> Self:
        """Fit to rows of all views.

        Parameters
        ----------
        views : mapping of str to array_like of shape (n, p_i), or sequence of such
            Rows of all views belong together. A row that lacks a view is NaN throughout there.
        y : ignored
        {fit_weights}
        confounds : array_like of shape (n, c), optional
            Columns whose linear effect is taken out of every view first. Later rows bring theirs,
            ``transform(views, confounds=Z)``.

        {returns_self}

        Raises
        ------
        ValueError
            See the class; for confounds of other rows, or that span a view.
        """
        takes = self._takes_missing
        found, weights = self._check_fit(views, sample_weight, missing=takes)
        Z = self._check_confounds(confounds, found.n_rows, reset=True, missing=takes)
        found, weights, Z, moments = self._take_missing(views, found, weights, Z, confounds)
        if moments is None:
            self._fit_rows(found, weights, Z)
        else:
            dtypes = [found.data[name].dtype for name in self.views_]
            self._fit_pairwise(_complete_rows(moments), dtypes, confounded=Z is not None)
        return self

    def partial_fit(
        self: Self,
        views: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        confounds: ArrayLike | None = None,
    ) -> Self:
        """Add rows to those fitted so far and solve again, from the moments alone.

        The result is that of one ``fit`` to all rows, to rounding.

        Parameters
        ----------
        views : mapping of str to array_like of shape (n, p_i), or sequence of such
            New rows, of every view; the first call takes at least two.
        y : ignored
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row.
        confounds : array_like of shape (n, c), optional
            Confounds of these rows, in every call or in none.

        {returns_self}

        Raises
        ------
        ValueError
            As in ``fit``; for a model saved without moments; for confounds that are missing or not expected.
        """
        first = not hasattr(self, "moments_")
        if not first and self.moments_ is None:
            raise ValueError("partial_fit cannot go on from a model that was saved without moments")
        self._refuse_em("partial_fit")
        takes = self._takes_missing
        before = 0 if first else getattr(self, "n_incomplete_", 0)
        found, weights = self._check_fit(views, sample_weight, reset=first, missing=takes)
        Z = self._check_confounds(confounds, found.n_rows, reset=first, missing=takes)
        found, weights, Z, _ = self._take_missing(views, found, weights, Z, confounds, 2 if first else 0)
        if takes:
            self.n_incomplete_ += before
        rows = self._collect(found, weights, confounds=Z)
        if first:
            dtypes = [found.data[name].dtype for name in self.views_]
        else:
            every = tuple(range(len(rows.dims)))
            known = {every: self.moments_} if self._parts is None else self._parts
            rows = PairwiseMoments(rows.dims, known) + rows
            dtypes = [self.weights_[name].dtype for name in self.views_]
        self._fit_pairwise(rows, dtypes, confounded=Z is not None)
        return self

    def fit_moments(
        self: Self, moments: Moments, names: Sequence[str] | None = None, confounds: bool = False
    ) -> Self:
        """Fit to the moments of all views: of files read in chunks, or merged from several machines.

        Parameters
        ----------
        moments : Moments
            Of two views or more, ``Moments().update(X, Y, Z, ...)``.
        names : sequence of str, optional
            Names of the views in the order of the moments; by default "view0", "view1", ...
        confounds : bool, default=False
            Whether the last view of the moments are confounds, which has no name.

        Returns
        -------
        self
            The fitted estimator; a view is float32 if the moments saw float32 data.

        Raises
        ------
        ValueError
            For moments of a single view or of fewer than two rows, for other than one name for each view, and
            for a name that is given twice.
        TypeError
            For anything that is not :class:`~fastcca.Moments`.
        """
        self._fit_given(moments, names, confounds)
        return self


def _complete_rows(moments: Moments) -> PairwiseMoments:
    return PairwiseMoments(moments.dims, {tuple(range(len(moments.dims))): moments})


@documented
class MCCA(EigenMultiView):
    r"""Canonical correlation analysis of two views or more, with a ridge.

    Finds a direction of each view such that the views' scores correlate most in all pairs together, one set
    after the other: the relaxed sum of correlations

    .. math:: \max \sum_{i,j} w_i^\top S_{ij} w_j
       \quad\text{subject to}\quad \sum_i w_i^\top (S_{ii} + r_i I) w_i = m,

    which the generalised eigenproblem of the stacked covariances solves. Of two views it is :class:`CCA`,
    with eigenvalues 1 + ρ.

    Parameters
    ----------
    n_components : int, optional
        Number of components, at most the second largest number of columns of a view, which is the default.
        The second largest rank may leave fewer; see ``n_components_``.
    reg : float, mapping of str to float or sequence of float, default=0.0
        Ridge r >= 0 added to the variances, in their units (or, with ``scale=True``, relative to them): for
        all views, by name (0 for those not named), or in the order of the views.
    view_weights : mapping of str to float or sequence of float, optional
        Positive weights of the views, which count as repetitions: a view of weight 2 is one given twice.
    scale : bool, default=False
        Divide each column by its standard deviation first. Weights are given for the columns as they came.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.
    {missing}
        A row that lacks a view whole is NaN throughout there: "drop" leaves it out, "em" takes what it has,
        and with "error" it counts in the covariances of the views that it has, see the notes.

    Attributes
    ----------
    views_ : tuple of str
        Names of the views, in the order of the fit.
    weights_ : dict of str to ndarray of shape (p_i, n_components_)
        ``transform_view(name, X) = (X - means_[name]) @ weights_[name]``. In each column of the first view's
        the entry of largest magnitude is positive. Constant columns have weight 0.
    eigenvalues_ : ndarray of shape (n_components_,)
        λ, descending: of m views between 1 (nothing in common) and m.
    canonical_correlations_ : ndarray of shape (n_components_,)
        Mean over the pairs of views of the Pearson correlations of the training scores.
    pairwise_correlations_ : ndarray of shape (m, m, n_components_)
        Those of each pair.
    loadings_ : dict of str to ndarray of shape (p_i, n_components_)
        Pearson correlation of each column with the scores of its own view.
    means_, scales_ : dict of str to ndarray of shape (p_i,)
        Column means, and what the columns were divided by (ones without ``scale``).
    ranks_ : dict of str to int
        Numerical ranks of the centred views.
    n_samples_ : float
        Number of rows N; with sample weights their sum.
    n_incomplete_, n_iter_ : int
        Rows with missing values, with ``missing`` "drop" or "em", and iterations of the latter.
    pairwise_n_ : ndarray of shape (m, m)
        Rows that have both views of a pair.
    moments_ : Moments
        What the solution was computed from; with confounds, where no row lacks a view, of the views and them.
    confounds_rank_ : int
        Rank of the confounds, 0 without.
    confounds_mean_ : ndarray of shape (c,)
    confounds_coef_ : dict of str to ndarray of shape (c, p_i)
        What the confounds explain of a view is ``(Z - confounds_mean_) @ confounds_coef_[name]``; only with
        confounds.
    n_components_, n_features_in_ : int
        Number of components found; columns of all views.

    Raises
    ------
    ValueError
        In ``fit``: a single view, views with different numbers of rows, parameters out of range, NaN or
        infinity within a row, fewer than two rows that have both views of a pair.
    {raises_if_constant}

    Warns
    -----
    UserWarning
        If there are too few rows for views without a ridge; if a view is too ill-conditioned; if
        ``n_components`` is reduced.

    Notes
    -----
    Views are given as a mapping from names to arrays or as a sequence of arrays (named "view0", "view1",
    ...). A row that lacks a view is NaN throughout there. Then covariances between two views are those of
    the rows that have both, and where these do not make a positive semidefinite matrix its nearest one is
    taken: negative eigenvalues of the matrix of correlations are set to 0, and its diagonal is brought back
    to 1. Confounds, which every row has, are regressed out of a view by the rows that have it.

    Everything is computed from the moments, which square condition numbers, and take memory for d² numbers,
    where the views have d columns in all.

    See Also
    --------
    GCCA : With a ridge, the same question with a common variate in its place.
    MCCACV : Chooses the ridge by cross-validation.

    {kettenring}

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import MCCA
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(500, 1))
    >>> views = {name: common + rng.normal(size=(500, 3)) for name in ("sound", "image", "text")}
    >>> mcca = MCCA(n_components=1, reg=0.1).fit(views)
    >>> mcca.canonical_correlations_.round(2)
    array([0.76])
    >>> mcca.common_variate({"sound": views["sound"], "text": views["text"]}).shape
    (500, 1)
    >>> sorted(mcca.predict_views({"sound": views["sound"]}))
    ['image', 'text']
    """

    _schema = Schema("MCCA", 2)


class GCCA(EigenMultiView):
    r"""Generalised canonical correlation analysis (MAXVAR): a common variate that every view predicts best.

    Finds a common variate g after the other, uncorrelated and of unit variance, that the views' ridge
    regressions explain most of, summed over the views:

    .. math:: \max_g \sum_i \omega_i\, g^\top X_i (X_i^\top X_i + (N - 1) r_i I)^{-1} X_i^\top g.

    A view's scores are its regression on g. Without a ridge the directions are those of :class:`MCCA`.

    Parameters
    ----------
    n_components, reg, view_weights, scale, n_threads, missing
        As in :class:`MCCA`.

    Attributes
    ----------
    weights_ : dict of str to ndarray of shape (p_i, n_components_)
        Coefficients of the ridge regression of the common variate on each view.
    eigenvalues_ : ndarray of shape (n_components_,)
        The weighted sum over the views of the fractions of the common variate's variance that they explain.
    views_, canonical_correlations_, pairwise_correlations_, loadings_, means_, scales_, ranks_
        As in :class:`MCCA`.
    n_samples_, pairwise_n_, moments_, n_components_, n_features_in_
        As in :class:`MCCA`.

    Raises
    ------
    ValueError, NumericalError
        As in :class:`MCCA`.

    Warns
    -----
    UserWarning
        As in :class:`MCCA`.

    References
    ----------
    J. D. Carroll, "Generalization of canonical correlation analysis to three or more sets of variables",
    Proceedings of the American Psychological Association, 1968.

    J. R. Kettenring, "Canonical analysis of several sets of variables", Biometrika 58, 1971.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import GCCA
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(500, 1))
    >>> views = [common + rng.normal(size=(500, 3)) for _ in range(3)]
    >>> gcca = GCCA(n_components=1).fit(views)
    >>> g = gcca.common_variate(views)
    >>> bool(np.isclose(g.var(ddof=1), 1)), bool(abs(np.corrcoef(g[:, 0], common[:, 0])[0, 1]) > 0.9)
    (True, True)
    """

    _schema = Schema("GCCA", 2)
    _criterion = "maxvar"


class _Split(NamedTuple):
    """What a split trains on, of that what the confounds leave, and the same of the rows held out."""

    training: Moments
    held_out: PairwiseMoments


@documented
class MCCACV(IncompleteViews, LinearMultiView):
    """:class:`MCCA` (or :class:`GCCA`) with ridges chosen by cross-validation, from one pass over the data.

    The moments of every fold are taken once; what a fold trains on is the total minus the fold. All ridges
    follow without another look at the data.

    Parameters
    ----------
    n_components : int, optional
        As in :class:`MCCA`.
    regs : sequence, optional
        Ridges to compare, each as ``reg`` of :class:`MCCA`: a number for all views, a mapping or a sequence.
        By default 10 numbers from 1e-6 to 1e3 times the mean variance of the columns.
    method : {"mcca", "gcca"}, default="mcca"
        Which estimator.
    cv : int, splitter or iterable, default=5
        As in scikit-learn: the number of contiguous folds, a splitter, or pairs of row indices (train, test).
        Where a test part has fewer than five rows the held-out rows of all splits are scored together.
    view_weights, scale, n_threads
        As in :class:`MCCA`.
    {missing}
        With "em" the moments of each split are those of its training rows, and what is missing of a row held
        out is filled in by its conditional mean given the rest of its view (and the confounds) alone: other
        views would bring their correlation along. A row held out that lacks a view has no score there.

    Attributes
    ----------
    reg_ : float, mapping or sequence
        The ridge with the best mean score. Among equals the largest is taken.
    best_score_, best_index_ : float, int
        Its mean held-out correlation, and its place in ``cv_results_``.
    best_estimator_ : MCCA or GCCA
        Fitted to all rows with it.
    cv_results_ : dict
        As ``GridSearchCV`` gives it. A score is the mean over components and pairs of views of the Pearson
        correlation of held-out scores; one that is constant counts 0.
    n_splits_ : int
        Number of splits.
    n_incomplete_, n_iter_ : int
        As in :class:`MCCA`, of all rows.
    views_, weights_, eigenvalues_, ... : ndarray
        Every fitted attribute of ``best_estimator_``; the methods use them.

    Raises
    ------
    ValueError
        In ``fit``: as :class:`MCCA`; an empty grid, folds too small.
    NumericalError
        In ``fit``: every column of a view is constant in the training rows of a fold.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca import MCCACV
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(60, 1))
    >>> views = [common + rng.normal(size=(60, 20)) for _ in range(3)]
    >>> search = MCCACV(n_components=1, regs=[1e-3, 10.0]).fit(views)
    >>> search.reg_
    10.0
    """

    _takes_sparse = True
    _schema = Schema("MCCACV", 2, fields="n_splits_ cv_results_ best_index_ best_score_ reg_ best_estimator_")
    _constraints = {  # noqa: RUF012
        **LinearMultiView._constraints,
        "regs": anything("a sequence of ridges"),  # checked with the views
        "method": choice("mcca", "gcca"),
        "cv": anything("a number of folds or a splitter"),  # by scikit-learn
        "missing": MISSING,
    }

    def __init__(
        self,
        n_components: int | None = None,
        regs: Sequence[ForViews] | None = None,
        method: Literal["mcca", "gcca"] = "mcca",
        cv: Any = 5,
        view_weights: ForViews | None = None,
        scale: bool = False,
        n_threads: int | None = None,
        missing: Literal["error", "drop", "em"] = "error",
    ) -> None:
        self.n_components = n_components
        self.regs = regs
        self.method = method
        self.cv = cv
        self.view_weights = view_weights
        self.scale = scale
        self.n_threads = n_threads
        self.missing = missing

    def fit(
        self,
        views: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        confounds: ArrayLike | None = None,
    ) -> "MCCACV":
        """Choose the ridge, and fit with it to all rows.

        Parameters
        ----------
        views : mapping of str to array_like of shape (n, p_i), or sequence of such
            As in :meth:`MCCA.fit`; rows may lack views.
        y : array_like of shape (n,), optional
            Handed to the splitter ``cv``.
        {cv_weights_and_groups}
        confounds : array_like of shape (n, c), optional
            As in :meth:`MCCA.fit`. What they explain is learned from the training rows of each split alone.

        {returns_self}

        Raises
        ------
        ValueError
            See :class:`MCCACV`.
        """
        takes = self._takes_missing
        found, weights = self._check_fit(views, sample_weight, missing=takes)
        names = self.views_
        first = found.data[names[0]]
        Z = self._check_confounds(confounds, found.n_rows, reset=True, missing=takes)
        incomplete, dense, tables = self._incomplete_views(views, found, Z, confounds)
        if incomplete is not None and self.missing == "drop":
            kept = self._complete(incomplete, dense, tables)
            splits = splits_of(self.cv, kept, first, y, groups, weights)
            found, weights = _rows_of(found, kept), None if weights is None else weights[kept]
            Z, incomplete = None if Z is None else Z[kept], None
        else:
            splits = row_splits(self.cv, first, y, groups, weights)
        if incomplete is None:
            total, parts = self._parts_of(found, weights, splits, Z)
        else:
            total = _complete_rows(self._em_moments(dense, tables, weights))
            labels = column_labels({name: column_names(tables[name]) for name in dense}, dense)
            parts = self._completed_parts(found, weights, splits, Z, labels)
        _, left, _ = self._without_confounds(total, Z is not None)
        regs = self._grid(left, names)
        model = self._model(regs[0])
        model.views_ = names
        k, _, _ = model._parameters(names, left.dims, regs[0])

        pooled = pools(splits)
        m = len(names)
        scores = np.empty((len(splits), len(regs)))
        sums = np.zeros((len(regs), m, m, k))
        for i, (training, held_out) in enumerate(parts):
            for j, reg in enumerate(regs):
                solved = model._solve(training, reg)
                if pooled:
                    found_k = len(solved.solution.eigenvalues)
                    sums[j, :, :, :found_k] += _pooled_products(held_out, training, solved.weights)
                else:
                    scores[i, j] = _held_out_correlation(held_out, solved.weights, names)
        if pooled:
            scores_of = [_mean_correlation(np.moveaxis(part, -1, 0)) for part in sums]
        results = search_results([{"reg": reg} for reg in regs], np.array(scores_of) if pooled else scores)
        self.n_splits_, self.cv_results_ = len(splits), results
        ties = np.flatnonzero(results["rank_test_score"] == 1)
        sizes = [sum(per_view(names, reg, "reg", missing=0.0)) for reg in regs]
        self.best_index_ = int(max(ties, key=lambda i: sizes[i]))
        self.best_score_ = float(results["mean_test_score"][self.best_index_])
        self.reg_ = regs[self.best_index_]

        best = self._model(self.reg_)
        best.views_, best._columns, best.n_features_in_ = names, self._columns, self.n_features_in_
        for name in ("n_incomplete_", "n_iter_"):
            if hasattr(self, name):
                setattr(best, name, getattr(self, name))
        dtypes = [found.data[name].dtype for name in names]
        best._fit_pairwise(total, dtypes, confounded=Z is not None)
        self.best_estimator_ = best
        self._set_confounding(None)
        parameters = best.get_params()
        self.__dict__.update({name: value for name, value in vars(best).items() if name not in parameters})
        return self

    def _model(self, reg: Any) -> EigenMultiView:
        kind: type[EigenMultiView] = MCCA if self.method == "mcca" else GCCA
        missing: Any = self.missing
        return kind(self.n_components, reg, self.view_weights, self.scale, self.n_threads, missing)

    def _grid(self, total: Moments, names: Sequence[str]) -> list[Any]:
        if self.regs is None:
            variances = column_variances(total)
            varying = variances[variances > 0]
            unit = 1.0 if self.scale or not varying.size else float(varying.mean())
            return [float(f * unit) for f in np.logspace(-6, 3, 10)]
        if isinstance(self.regs, (str, Mapping)) or not np.iterable(self.regs) or not len(self.regs):
            raise ValueError(f"regs must be a sequence of ridges, got {self.regs!r}")
        grid = [reg.item() if isinstance(reg, np.generic) else reg for reg in self.regs]
        for reg in grid:
            per_view(names, reg, "regs", missing=0.0)
        return grid

    def _parts_of(
        self, found: Modalities, weights: Weights, splits: list[Any], Z: NDArray[Any] | None
    ) -> tuple[PairwiseMoments, Iterator[_Split]]:
        """Moments of all rows, and those of each split."""
        n = found.n_rows
        tests = [self._collect(found, weights, test, confounds=Z) for _, test in splits]
        each_once = (np.bincount(np.concatenate([test for _, test in splits]), minlength=n) == 1).all()
        if each_once and all(len(train) + len(test) == n for train, test in splits):
            total = PairwiseMoments(tests[0].dims)
            for part in tests:
                total = total + part
        else:
            total = self._collect(found, weights, confounds=Z)

        def parts() -> Iterator[_Split]:
            for (train, test), held_out in zip(splits, tests, strict=True):
                whole = (np.bincount(np.concatenate([train, test]), minlength=n) == 1).all()
                rest = total - held_out if whole else self._collect(found, weights, train, confounds=Z)
                _, training, confounding = self._without_confounds(rest, Z is not None)
                yield _Split(
                    training, held_out if confounding is None else _residual_moments(held_out, confounding)
                )

        return total, parts()

    def _completed_parts(
        self,
        found: Modalities,
        weights: Weights,
        splits: list[Any],
        Z: NDArray[Any] | None,
        labels: list[str],
    ) -> Iterator[_Split]:
        """Those of each split, of rows that have missing values."""
        views = {name: found.data[name] for name in self.views_}
        with_confounds = views if Z is None else {**views, "confounds": Z}
        for train, test in splits:
            w = None if weights is None else weights[train]
            rows = {name: a[train] for name, a in with_confounds.items()}
            moments = completed(rows, w, labels, n_threads=self.n_threads).moments
            _, training, confounding = self._without_confounds(_complete_rows(moments), Z is not None)
            place, filled = np.arange(len(moments.mean)), []
            for i, a in enumerate(views.values()):
                columns = np.concatenate(
                    [place[s] for s in (moments.slices[i], *moments.slices[len(views) :])]
                )
                S = moments.scatter[np.ix_(columns, columns)] / (moments.n - 1)
                known = a[test] if Z is None else np.hstack([a[test], Z[test]])
                whole = conditional_means(known.astype(np.float64), moments.mean[columns], S)
                own, others = whole[:, : a.shape[1]], whole[:, a.shape[1] :]
                filled.append(own if confounding is None else confounding.residuals(i, own, others))
            w = None if weights is None else weights[test]
            present = [found.present[name][test] for name in self.views_]
            some = np.logical_or.reduce(present)
            held_out = PairwiseMoments([a.shape[1] for a in filled]).update(
                [a[some] for a in filled],
                [mask[some] for mask in present],
                None if w is None else w[some],
                names=list(self.views_),
                dtype=np.float64,
                n_threads=self.n_threads,
            )
            yield _Split(training, held_out)


def _residual_moments(rows: PairwiseMoments, confounding: Confounding) -> PairwiseMoments:
    """Moments of the views' residuals, by coefficients of other rows. Confounds are the last of ``rows``."""
    parts = {
        pattern[:-1]: mapped_residuals(moments, confounding.of(pattern[:-1]))
        for pattern, moments in rows.parts.items()
    }
    return PairwiseMoments(rows.dims[:-1], parts)


def _across(
    scatter: NDArray[np.float64], slices: Sequence[slice], weights: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Sums of products of the scores of each pair of views, component by component: (k, m, m)."""
    m, k = len(weights), weights[0].shape[1]
    out = np.empty((k, m, m))
    for j, w in enumerate(weights):
        with_scores = scatter[:, slices[j]] @ w
        for i in range(m):
            out[:, i, j] = np.einsum("ab,ab->b", weights[i], with_scores[slices[i]])
    return out


def _pooled_products(
    test: PairwiseMoments, training: Moments, weights: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """The same about the means of the training rows, of rows that may lack views: (m, m, k)."""
    m, k = len(weights), weights[0].shape[1]
    out = np.zeros((m, m, k))
    for pattern, moments in test.parts.items():
        mean = np.concatenate([training.mean[training.slices[i]] for i in pattern])
        away = moments.mean - mean
        scatter = moments.scatter + moments.n * np.outer(away, away)
        products = _across(scatter, moments.slices, [weights[i] for i in pattern])
        out[np.ix_(pattern, pattern)] += np.moveaxis(products, 0, -1)
    return out


def _held_out_correlation(
    test: PairwiseMoments, weights: Sequence[NDArray[np.float64]], names: Sequence[str]
) -> float:
    """Mean over components and pairs of views of r, over the rows that have both views of a pair."""
    m = len(weights)
    if test.complete:
        moments = test.stacked(names)
        return _mean_correlation(_across(moments.scatter, moments.slices, weights))
    found = []
    for i in range(m):
        for j in range(i + 1, m):
            pair = test.pair(i, j)
            if pair.n <= 1:
                raise ValueError(
                    f"cv: the test rows of a split have {pair.n:g} rows with both {names[i]!r} and "
                    f"{names[j]!r}, at least 2 are needed to correlate"
                )
            products = _across(pair.scatter, pair.slices, [weights[i], weights[j]])
            found.append(_mean_correlation(products))
    return float(np.mean(found))


def _mean_correlation(products: NDArray[np.float64]) -> float:
    """Mean over components and pairs of views of r from sums of products (k, m, m)."""
    scale = np.sqrt(np.einsum("kii->ki", products).clip(min=0.0))
    outer = scale[:, :, np.newaxis] * scale[:, np.newaxis, :]
    r = np.divide(products, outer, out=np.zeros_like(outer), where=outer > 0).clip(-1.0, 1.0)
    return float(mean_of_pairs(r).mean())
