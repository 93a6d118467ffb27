"""What a fitted model says of itself: the tables of its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastcca._models.correlation_tests import (
    adjusted_correlations,
    multivariate_tests,
    sequential_wilks,
    standard_errors,
)
from fastcca._models.report import Report, Table, components
from fastcca._models.statistics import Weights, column_statistics, loadings
from fastcca.functional.moments import Moments

__all__ = ["Rows", "summary_of_two_views", "summary_of_views"]

Floats = NDArray[np.float64]

_CORRELATED = 50  # columns of both views up to which the correlations of the columns are in the report
_SINGULAR = 1e-10  # a score with less variance of its own than this is a combination of those before


class Rows(NamedTuple):
    """Checked rows that a model was fitted to, and their scores."""

    X: NDArray[Any]
    y: NDArray[Any]
    scores: tuple[NDArray[Any], NDArray[Any]]
    weights: Weights
    confounded: bool


@dataclass
class _View:
    """One view: its columns, how they vary, and with which scores."""

    label: str
    key: str
    names: list[str]
    loadings: Floats | None = None  # (p, k)
    cross: Floats | None = None  # (p, k)
    scores: Floats | None = None  # (k, k): correlations of the view's own scores
    weights: Floats | None = None  # (p, k)
    mean: Floats | None = None
    deviation: Floats | None = None


def summary_of_two_views(
    model: Any, names: tuple[str, str] | None = None, rows: Rows | None = None
) -> Report:
    """The tables of a fitted model of two views, from its moments or from the rows that it was fitted to."""
    check_is_fitted(model)
    k = int(model.n_components_)
    labels = names or ("X", "Y")
    short = ("X", "Y") if names is None else tuple(f"{name} " for name in names)
    views = (
        _View(labels[0], "x", _names(model, "feature_names_in_", "x", model.n_features_in_)),
        _View(labels[1], "y", _names(model, "y_feature_names_in_", "y", model.n_y_features_in_)),
    )
    moments = model._view_moments()
    correlated = _from_moments(model, views, moments) if moments is not None else None
    if moments is None:
        _from_rows(model, views, rows)
    for view, weights in zip(views, model._maps(), strict=True):
        if weights is not None:
            view.weights = np.asarray(weights, dtype=np.float64)
    tables: dict[str, Table] = {}
    _add_columns(tables, views)
    if correlated is not None and sum(len(view.names) for view in views) <= _CORRELATED:
        _add_correlations(tables, views, correlated)
    notes = _add_tests(tables, model)
    for view, component in zip(views, short, strict=True):
        _add_coefficients(tables, view, component, k)
    for view, own, other in zip(views, short, reversed(short), strict=True):
        _add_loadings(tables, view, own, other, k)
    for view, opposite in zip(views, reversed(views), strict=True):
        _add_redundancy(tables, view, opposite, np.asarray(model.canonical_correlations_, dtype=np.float64))
    return Report(_title(model), _facts(model, views, rows), tables, notes)


def _title(model: Any) -> str:
    return f"{type(model).__name__}: {' and '.join(f'{n} columns' for n in _widths(model))}"


def _widths(model: Any) -> list[int]:
    return [int(model.n_features_in_), int(model.n_y_features_in_)]


def _names(model: Any, attribute: str, prefix: str, n: int) -> list[str]:
    names = getattr(model, attribute, None)
    return [f"{prefix}{i}" for i in range(n)] if names is None else [str(name) for name in names]


def _facts(model: Any, views: Sequence[_View], rows: Rows | None) -> dict[str, str]:
    facts = {}
    n = getattr(model, "n_samples_", None)
    if n is None and rows is not None:
        n = len(rows.X) if rows.weights is None else rows.weights.sum()
    if n is not None:
        facts["rows"] = f"{n:.10g}"
    incomplete = getattr(model, "n_incomplete_", 0)
    dropped = incomplete if getattr(model, "missing", "error") == "drop" else 0
    if rows is not None or dropped:
        weights = None if rows is None else rows.weights
        left_out = dropped + (0 if weights is None else int(np.count_nonzero(weights == 0)))
        facts["rows left out"] = str(left_out)
    if incomplete and not dropped:
        facts["rows with missing values"] = str(incomplete)
    for view in views:
        rank = getattr(model, f"{view.key}_rank_", None)
        facts[f"columns of {view.label}"] = f"{len(view.names)}" + (f", rank {rank}" if rank else "")
    facts["components"] = str(model.n_components_)
    if getattr(model, "confounds_rank_", 0):
        facts["confounds"] = f"rank {model.confounds_rank_}, as many degrees of freedom less"
    if hasattr(model, "_ridges_of_fit"):
        ridges = model._ridges_of_fit()
        if ridges != (0.0, 0.0):
            facts["ridge"] = " and ".join(f"{r:.6g}" for r in ridges)
    parameters = model.get_params(deep=False)
    for name in ("kernel", "penalty", "solver_"):
        value = parameters.get(name, getattr(model, name, None))
        if value is not None and not callable(value):
            facts[name.rstrip("_")] = str(value)
    return facts


# ---- where the numbers come from


def _from_moments(model: Any, views: Sequence[_View], moments: Moments) -> Floats:
    """Fill in how columns and scores vary; returns the correlations of all columns."""
    S = moments.scatter / (moments.n - 1)
    variance = np.where(moments.constant, 0.0, S.diagonal())
    deviation = np.sqrt(variance)
    maps = [np.asarray(weights, dtype=np.float64) for weights in model._maps()]
    with_scores = [S[:, s] @ W for s, W in zip(moments.slices, maps, strict=True)]
    for i, (view, s, W) in enumerate(zip(views, moments.slices, maps, strict=True)):
        view.mean, view.deviation = moments.mean[s], deviation[s]
        of_scores = W.T @ with_scores[i][s]
        own = of_scores.diagonal()
        other = np.einsum("pk,pk->k", maps[1 - i], with_scores[1 - i][moments.slices[1 - i]])
        view.scores = loadings(of_scores, own, own)
        view.loadings = loadings(with_scores[i][s], variance[s], own)
        view.cross = loadings(with_scores[1 - i][s], variance[s], other)
    return loadings(S, variance, variance)


def _from_rows(model: Any, views: Sequence[_View], rows: Rows | None) -> None:
    """Fill in what the fit kept, and what its rows add."""
    for i, view in enumerate(views):
        for name, attribute in (("loadings", "loadings_"), ("cross", "cross_loadings_")):
            kept = getattr(model, f"{view.key}_{attribute}", None)
            if kept is not None:
                setattr(view, name, np.asarray(kept, dtype=np.float64))
        if rows is None:
            continue
        view.scores = _correlations_of_scores(rows.scores[i], rows.weights)
        if not rows.confounded:
            data = rows.X if i == 0 else rows.y
            view.mean, variance = column_statistics("Xy"[i], data, rows.weights)
            view.deviation = np.sqrt(variance)


def _correlations_of_scores(scores: NDArray[Any], weights: Weights) -> Floats:
    moments = Moments().update(scores, sample_weight=weights, dtype=np.float64)
    variance = moments.scatter.diagonal()
    return np.asarray(loadings(moments.scatter, variance, variance))


def explained(of: Floats, scores: Floats) -> Floats:
    """(p, k): squared multiple correlations of columns with the first 1, 2, … scores.

    From the columns' correlations with the scores, (p, k), and those of the scores, (k, k).
    """
    left, rest = of.copy(), scores.copy()
    out = np.zeros_like(of)
    for j in range(of.shape[1]):
        own = rest[j, j]
        if own > _SINGULAR:  # what the score adds to those before
            out[:, j] = left[:, j] ** 2 / own
            step = rest[:, j] / own
            left -= np.outer(left[:, j], step)
            rest -= np.outer(rest[:, j], step)
    return np.asarray(np.minimum(out.cumsum(axis=1), 1.0))


# ---- the tables


def _add_columns(tables: dict[str, Table], views: Sequence[_View]) -> None:
    known = [view for view in views if view.mean is not None and view.deviation is not None]
    if len(known) < len(views):
        return
    index = tuple(name for view in views for name in view.names)
    columns: dict[str, Any] = {
        "View": np.array([view.label for view in views for _ in view.names], dtype=object),
        "Mean": np.concatenate([view.mean for view in known if view.mean is not None]),
        "Std deviation": np.concatenate([view.deviation for view in known if view.deviation is not None]),
    }
    formats = {"Mean": ".6f", "Std deviation": ".6f"}
    tables["columns"] = Table("Means and standard deviations", index, columns, formats)


def _add_correlations(tables: dict[str, Table], views: Sequence[_View], R: Floats) -> None:
    p = len(views[0].names)
    blocks = {
        "x_correlations": (f"Correlations within {views[0].label}", views[0], views[0], R[:p, :p]),
        "y_correlations": (f"Correlations within {views[1].label}", views[1], views[1], R[p:, p:]),
        "xy_correlations": (
            f"Correlations between {views[0].label} and {views[1].label}",
            views[0],
            views[1],
            R[:p, p:],
        ),
    }
    for key, (title, down, across, block) in blocks.items():
        columns = {name: block[:, j] for j, name in enumerate(across.names)}
        tables[key] = Table(title, tuple(down.names), columns)


def _add_tests(tables: dict[str, Table], model: Any) -> list[str]:
    """Correlations and what is inferred of them; returns what cannot be, and why."""
    rho = np.asarray(model.canonical_correlations_, dtype=np.float64)
    index = tuple(str(j + 1) for j in range(len(rho)))
    columns: dict[str, Any] = {"Correlation": rho}
    notes = []
    n = None
    try:
        rho_all, n, p, q = model._all_correlations()
    except ValueError as error:
        notes.append(_sentence(f"Not tested: {error}"))
    else:
        columns["Adjusted"] = adjusted_correlations(rho_all, n, p, q)
        columns["Standard error"] = standard_errors(rho_all, n)
    columns["Squared"] = rho**2
    penalised = getattr(model, "singular_values_", None)
    if penalised is not None and n is None:
        # of T with a ridge or a kernel; of PLS the covariances of the scores
        values = np.asarray(penalised, dtype=np.float64)
        columns["Singular value"] = values
    formats = dict.fromkeys(columns, ".6f")
    tables["correlations"] = Table("Canonical correlations", index, columns, formats, heading="Pair")
    if n is None:
        return notes
    with np.errstate(divide="ignore", invalid="ignore"):
        eigenvalue = rho**2 / (1 - rho**2)
        total = eigenvalue.sum()
        proportion = eigenvalue / total if 0 < total < np.inf else np.full(len(rho), np.nan)
        difference = np.append(eigenvalue[:-1] - eigenvalue[1:], np.nan)
    tables["eigenvalues"] = Table(
        "Eigenvalues ρ² / (1 - ρ²)",
        index,
        {
            "Eigenvalue": eigenvalue,
            "Difference": difference,
            "Proportion": proportion,
            "Cumulative": proportion.cumsum(),
        },
        heading="Pair",
    )
    try:
        sequential, together = sequential_wilks(rho, n, p, q), multivariate_tests(rho, n, p, q)
    except ValueError as error:
        return [*notes, _sentence(f"Not tested: {error}")]
    formats = {"Likelihood ratio": ".8f", "Value": ".8f", "Num df": "df", "Den df": "df", "p": "p"}
    tables["sequential"] = Table(
        "Tests that the correlations from this one on are zero (Wilks, Rao's F)",
        index,
        {
            "Likelihood ratio": sequential.statistic,
            "F": sequential.f,
            "Num df": sequential.df1,
            "Den df": sequential.df2,
            "p": sequential.p_value,
        },
        formats,
        heading="Pair",
    )
    tables["tests"] = Table(
        f"Tests that all correlations are zero (s = {together.s}, m = {together.m:g}, ν = {together.nu:g})",
        together.names,
        {
            "Value": together.statistic,
            "F": together.f,
            "Num df": together.df1,
            "Den df": together.df2,
            "p": together.p_value,
        },
        formats,
        "The F of Roy's largest root is an upper bound, its p a lower one.",
        heading="Statistic",
    )
    return notes


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _add_coefficients(tables: dict[str, Table], view: _View, component: str, k: int) -> None:
    if view.weights is None or len(view.weights) != len(view.names):
        return
    index, formats = tuple(view.names), {f"{component}{j + 1}": ".10g" for j in range(k)}
    title = f"Raw coefficients of {view.label}"
    columns = components(component, k, view.weights)
    tables[f"{view.key}_coefficients"] = Table(title, index, columns, formats)
    if view.deviation is not None:
        title = f"Standardised coefficients of {view.label}"
        columns = components(component, k, view.weights * view.deviation[:, None])
        tables[f"{view.key}_standardised"] = Table(title, index, columns)


def _add_loadings(tables: dict[str, Table], view: _View, own: str, other: str, k: int) -> None:
    for key, values, component, of in (
        ("loadings", view.loadings, own, "its own variates (loadings)"),
        ("cross_loadings", view.cross, other, "the variates of the other view (cross-loadings)"),
    ):
        if values is not None:
            title = f"Correlations of {view.label} with {of}"
            columns = components(component, k, values)
            tables[f"{view.key}_{key}"] = Table(title, tuple(view.names), columns)


def _add_redundancy(tables: dict[str, Table], view: _View, opposite: _View, rho: Floats) -> None:
    """Variance of a view that its own variates and the other's explain, and of each column."""
    if view.loadings is None or view.cross is None:
        return
    varies = np.abs(view.loadings).max(axis=1) > 0 if view.deviation is None else view.deviation > 0
    parts = {"": varies.astype(np.float64)}
    if view.deviation is not None:
        peak = view.deviation.max()
        parts["raw_"] = (view.deviation / (peak if peak > 0 else 1.0)) ** 2
    cumulative = [
        None if scores is None else explained(values, scores)
        for values, scores in ((view.loadings, view.scores), (view.cross, opposite.scores))
    ]
    index = tuple(str(j + 1) for j in range(len(rho)))
    for kind, variance in parts.items():
        weight = variance / variance.sum()
        columns: dict[str, Any] = {}
        for name, values, total in (
            ("Own", view.loadings, cumulative[0]),
            ("Opposite", view.cross, cumulative[1]),
        ):
            columns[name] = weight @ values**2
            if total is not None:
                columns[f"{name}, cumulative"] = weight @ total
            if name == "Own":
                columns["R²"] = rho**2
        what = "Raw" if kind else "Standardised"
        title = f"{what} variance of {view.label} explained by its own and by the opposite variates"
        note = (
            ""
            if kind
            else "Own: variance extracted (adequacy); opposite: redundancy (Stewart and Love, 1968)."
        )
        tables[f"{view.key}_{kind}redundancy"] = Table(title, index, columns, note=note, heading="Pair")
    if cumulative[1] is not None:
        title = f"Squared multiple correlations of {view.label} with the first M variates of {opposite.label}"
        columns = {str(j + 1): cumulative[1][:, j] for j in range(len(rho))}
        tables[f"{view.key}_multiple"] = Table(title, tuple(view.names), columns, heading="M")


# ---- any number of views


def summary_of_views(model: Any) -> Report:
    """The tables of a fitted model of any number of views."""
    check_is_fitted(model)
    views, k = model.views_, int(model.n_components_)
    facts = {}
    if hasattr(model, "n_samples_"):
        facts["rows"] = f"{model.n_samples_:.10g}"
    ranks = getattr(model, "ranks_", {})
    for name in views:
        rank = f", rank {ranks[name]}" if name in ranks else ""
        facts[f"columns of {name}"] = f"{len(model.means_[name])}{rank}"
    facts["components"] = str(k)
    if getattr(model, "confounds_rank_", 0):
        facts["confounds"] = f"rank {model.confounds_rank_}"
    ridge = getattr(model, "reg_", getattr(model, "reg", 0.0))
    if ridge not in (0, 0.0):
        facts["ridge"] = str(ridge)
    index = tuple(str(j + 1) for j in range(k))
    columns: dict[str, Any] = {"Mean of pairs": np.asarray(model.canonical_correlations_, dtype=np.float64)}
    for i, j in zip(*np.triu_indices(len(views), 1), strict=True):
        pair = np.asarray(model.pairwise_correlations_[i, j], dtype=np.float64)
        columns[f"{views[i]}, {views[j]}"] = pair
    columns["Eigenvalue"] = np.asarray(model.eigenvalues_, dtype=np.float64)
    tables = {
        "correlations": Table(
            "Correlations of the views' variates",
            index,
            columns,
            dict.fromkeys(columns, ".6f"),
            heading="Component",
        )
    }
    tables |= dict(_tables_of_each_view(model, views, k))
    title = f"{type(model).__name__}: {len(views)} views"
    return Report(title, facts, tables)


def _tables_of_each_view(model: Any, views: Sequence[str], k: int) -> Iterator[tuple[str, Table]]:
    scores = model._score_covariances
    variance = scores.diagonal()
    R = loadings(scores, variance, variance)
    moments = getattr(model, "moments_", None)
    if moments is not None and len(moments.dims) > len(views):  # with confounds
        moments = None
    linear = hasattr(model, "weights_") and not hasattr(model, "landmarks_")
    index = tuple(str(j + 1) for j in range(k))
    for i, name in enumerate(views):
        own = np.asarray(model.loadings_[name], dtype=np.float64)
        known = model._columns.get(name)
        columns = tuple(f"{name}{j}" for j in range(len(own))) if known is None else tuple(map(str, known))
        blocks = [slice(j * k, (j + 1) * k) for j in range(len(views))]
        covariance, scale = model._column_covariances[name], np.sqrt(variance)
        if moments is None:
            deviation = _deviations(covariance[:, blocks[i]], own, scale[blocks[i]])
        else:
            deviation = np.sqrt(moments.scatter.diagonal()[moments.slices[i]] / (moments.n - 1))
        if linear:
            weights = np.asarray(model.weights_[name], dtype=np.float64)
            formats = {f"{j + 1}": ".10g" for j in range(k)}
            title = f"Raw coefficients of {name}"
            yield f"{name}_coefficients", Table(title, columns, components("", k, weights), formats)
            title = f"Standardised coefficients of {name}"
            standardised = components("", k, weights * deviation[:, None])
            yield f"{name}_standardised", Table(title, columns, standardised)
        title = f"Correlations of {name} with its own variates (loadings)"
        yield f"{name}_loadings", Table(title, columns, components("", k, own))
        varies = np.abs(own).max(axis=1) > 0
        total = max(int(varies.sum()), 1)
        found = {"Own": (own**2).sum(axis=0) / total}
        found["Own, cumulative"] = explained(own, R[blocks[i], blocks[i]]).sum(axis=0) / total
        for j, other in enumerate(views):
            if j != i:
                cross = loadings(covariance[:, blocks[j]], deviation**2, variance[blocks[j]])
                found[f"By {other}"] = (cross**2).sum(axis=0) / total
        yield (
            f"{name}_redundancy",
            Table(
                f"Standardised variance of {name} explained by its own and by the other views' variates",
                index,
                found,
                heading="Component",
            ),
        )


def _deviations(covariance: Floats, correlation: Floats, scale: Floats) -> Floats:
    """Standard deviations of columns, from their largest correlation with a score; 0 where they have none."""
    best = np.abs(correlation).argmax(axis=1)[:, None]
    c, r = (np.take_along_axis(a, best, axis=1)[:, 0] for a in (covariance, correlation))
    return np.asarray(np.divide(c, r * scale[best[:, 0]], out=np.zeros_like(c), where=r != 0))
