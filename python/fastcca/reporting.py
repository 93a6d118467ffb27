"""Reports of fitted models: what statistics packages print after a canonical correlation analysis."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from fastcca._arguments.parameters import integer
from fastcca._models.multi_view import MultiViewModel
from fastcca._models.report import Report, Table
from fastcca._models.summaries import Rows, summary_of_two_views
from fastcca._models.two_view import TwoViewTransformer
from fastcca.cca.pipeline import TwoViewPipeline
from fastcca.inference import BootstrapResult, bootstrap, permutation_test
from fastcca.metrics import column_correlations
from fastcca.synchrony import SynchronyDetector

__all__ = ["Report", "Table", "report"]

_SHOWN = 3  # pairs with pictures of their own
_POINTS = 20_000  # rows of a picture


def report(
    model: Any,
    X: Any = None,
    Y: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    confounds: ArrayLike | None = None,
    names: tuple[str, str] | None = None,
    permutations: int = 0,
    bootstraps: int = 0,
    random_state: Any = None,
    pictures: bool = False,
) -> Report:
    r"""Everything that a fit says of its data, as named tables.

    Of a linear CCA without a ridge that is what statistics packages print: correlations :math:`\rho`, those
    adjusted for bias, :math:`\rho^2`, standard errors, the eigenvalues :math:`\rho^2 / (1 - \rho^2)`, Wilks's
    test of each correlation and those after it, the four multivariate tests, raw and standardised
    coefficients, loadings, cross-loadings, variance extracted and redundancy. Where a ridge, a kernel, or
    components that were not computed leave no valid test, the report says so, and has the rest.

    Parameters
    ----------
    model : estimator
        Of two views (:class:`~fastcca.CCA`, kernel, partial, sparse CCA, PLS, Deep CCA) or of any number
        (:class:`~fastcca.MCCA`, :class:`~fastcca.GCCA`), or a :class:`~fastcca.TwoViewPipeline`, whose
        columns are those that its steps make. One that is not fitted is cloned, and the clone is
        fitted to these rows; a fitted one was fitted to the rows given, or to others, whose correlations are
        then compared (table "rows_given"). Or a fitted :class:`~fastcca.synchrony.SynchronyDetector`, with
        the two streams that it is to judge.
    X : array_like of shape (n, p), optional
        The first view; of any number of views their mapping or list, as in ``fit``. Not needed for a fitted
        model, which kept what most tables take.
    Y : array_like of shape (n, q) or (n,), optional
        The second view.
    sample_weight : array_like of shape (n,), optional
        Weights that count as repetitions of a row; rows of weight 0 are left out.
    confounds : array_like of shape (n, c), optional
        As in ``fit`` of :class:`~fastcca.CCA`: all tables are of what is left when these are regressed out,
        with as many degrees of freedom less as they have rank.
    names : tuple of two str, optional
        What the views are called, "X" and "Y" by default.
    permutations : int, default=0
        Shuffles of :func:`fastcca.inference.permutation_test`, for the table "permutation".
    bootstraps : int, default=0
        Resamples of :func:`fastcca.inference.bootstrap`, for tables of 95 % intervals ("intervals").
    random_state : int, RandomState or None
        Of both.
    pictures : bool, default=False
        Whether to draw correlations, variates and loadings, for ``to_html`` and ``save`` (needs matplotlib).

    Returns
    -------
    Report
        ``print`` shows it as text, a notebook as HTML; ``report["loadings"]`` is a table, whose columns are
        arrays; ``to_frame``, ``to_latex``, ``to_html``, ``save``.

    Raises
    ------
    TypeError
        For anything but a model of views, or arguments that it has no use for.
    ValueError
        For rows that do not fit the model, or what its ``fit`` refuses.
    NotFittedError
        For a model that is not fitted, without rows, and for a detector that is not fitted.
    ImportError
        For pictures without matplotlib.

    Notes
    -----
    With ranks p and q, N rows (less the rank of confounds), the tests are those of
    :func:`fastcca.inference.wilks_test` and, with :math:`s = \min(p, q)`, :math:`m = (|p - q| - 1) / 2` and
    :math:`\nu = (N - p - q - 2) / 2`: Pillai's trace with its usual F, the Hotelling–Lawley trace with
    McKeon's (1974; R's ``summary.manova`` has Pillai's), Roy's root with the F that bounds it from above.
    The standard error of :math:`\rho` is :math:`(1 - \rho^2) / \sqrt{N - 1}`. Adjusted correlations are less
    biased by an order of N (Lawley, 1959); one that cannot be computed or exceeds the one before is NaN.
    The redundancy of a view is the mean of its squared cross-loadings.

    References
    ----------
    D. N. Lawley, "Tests of significance in canonical analysis", Biometrika 46, 1959.

    D. K. Stewart and W. A. Love, "A general canonical correlation index", Psychological Bulletin 70, 1968.

    J. J. McKeon, "F approximations to the distribution of Hotelling's T₀²", Biometrika 61, 1974.

    Examples
    --------
    >>> import fastcca
    >>> from sklearn.datasets import load_linnerud
    >>> data = load_linnerud(as_frame=True)
    >>> found = fastcca.report(fastcca.CCA(), data.target, data.data)
    >>> print(found["sequential"])
    Tests that the correlations from this one on are zero (Wilks, Rao's F)
    <BLANKLINE>
    Pair  Likelihood ratio       F  Num df  Den df       p
    1           0.35039053  2.0482       9  34.223  0.0635
    2           0.95472266  0.1758       4      30  0.9491
    3           0.99473355  0.0847       1      16  0.7748
    >>> found["x_redundancy"]["Opposite"].round(4)
    array([0.2854, 0.0099, 0.0016])
    """
    if isinstance(model, TwoViewPipeline):
        model, X, Y = _of_pipeline(model, X, Y, sample_weight, confounds)
    if isinstance(model, SynchronyDetector):
        unused = (sample_weight, confounds, permutations, bootstraps)
        return _of_streams(model, X, Y, unused, names or ("X", "Y"), pictures)
    if isinstance(model, MultiViewModel):
        return _of_views(model, X, Y, sample_weight, (confounds, names, permutations, bootstraps), pictures)
    if not isinstance(model, TwoViewTransformer):
        raise TypeError(f"report takes a model of two views or more, got {type(model).__name__}")
    for name, count in (("permutations", permutations), ("bootstraps", bootstraps)):
        integer(0)(name, count)
    if X is None or Y is None:
        if X is not None or Y is not None or permutations or bootstraps:
            raise ValueError("report takes both X and Y, or neither of them")
        made = summary_of_two_views(model, names)
        if pictures:
            made.pictures |= _pictures(model, made, None)
        return made
    given: dict[str, Any] = {} if confounds is None else {"confounds": confounds}
    fitted = _is_fitted(model)
    if not fitted:
        model = clone(model)
        weighted = {} if sample_weight is None else {"sample_weight": sample_weight}
        model.fit(X, Y, **weighted, **given)
    x, y, weights = model._check_pair(X, Y, sample_weight, reset=False)
    scores = model.transform_views(X, Y, **given)
    rows = Rows(x, y, scores, weights, bool(given))
    of_fit = not fitted or _same_rows(model, rows)
    made = summary_of_two_views(model, names, rows if of_fit else None)
    if not of_fit:
        made.tables["rows_given"] = _of_rows_given(rows, model)
    if permutations:
        if sample_weight is not None:
            raise ValueError("the permutation test takes no sample weights: give permutations=0")
        found = permutation_test(
            clone(model), X, Y, n_permutations=permutations, random_state=random_state, **given
        )
        index = tuple(str(j + 1) for j in range(len(found.p_value)))
        made.tables["permutation"] = Table(
            f"Permutation test, {permutations} shuffles",
            index,
            {"Statistic": found.statistic, "p": found.p_value},
            {"Statistic": ".6f", "p": "p"},
            heading="Pair",
        )
    if bootstraps:
        resampled = bootstrap(
            clone(model),
            X,
            Y,
            n_bootstrap=bootstraps,
            sample_weight=sample_weight,
            random_state=random_state,
            **given,
        )
        made.tables |= _intervals(resampled, model, made)
    if pictures:
        made.pictures |= _pictures(model, made, scores)
    return made


def _of_pipeline(
    model: TwoViewPipeline, X: Any, Y: Any, sample_weight: Any, confounds: Any
) -> tuple[Any, Any, Any]:
    """Its model, fitted, and the views as its steps make them."""
    if X is None or Y is None:
        check_is_fitted(model)
        return model.model_, X, Y
    if not _is_fitted(model):
        given = {"sample_weight": sample_weight, "confounds": confounds}
        model = clone(model)
        model.fit(X, Y, **{name: value for name, value in given.items() if value is not None})
    return model.model_, model._view("x", X), model._view("y", Y)


def _is_fitted(model: Any) -> bool:
    try:
        check_is_fitted(model)
    except NotFittedError:
        return False
    return True


def _same_rows(model: Any, rows: Rows) -> bool:
    """Whether these are the rows of the fit: as many, and with its means and correlations."""
    n = len(rows.X) if rows.weights is None else rows.weights.sum()
    if not np.isclose(getattr(model, "n_samples_", n), n):
        return False
    found = column_correlations(*rows.scores, sample_weight=rows.weights)
    eps = np.finfo(model.canonical_correlations_.dtype).eps
    return bool(np.allclose(found, model.canonical_correlations_, rtol=0, atol=1e3 * eps**0.75))


def _of_rows_given(rows: Rows, model: Any) -> Table:
    n = len(rows.X) if rows.weights is None else rows.weights.sum()
    found = column_correlations(*rows.scores, sample_weight=rows.weights)
    of_fit = np.asarray(model.canonical_correlations_, dtype=np.float64)
    columns = {"Of the fit": of_fit, "Of these rows": np.asarray(found, dtype=np.float64)}
    return Table(
        f"Correlations of the variates in {n:.10g} other rows than those of the fit",
        tuple(str(j + 1) for j in range(len(found))),
        columns,
        dict.fromkeys(columns, ".6f"),
        heading="Pair",
    )


def _of_views(
    model: MultiViewModel, views: Any, y: Any, sample_weight: Any, unused: tuple[Any, ...], pictures: bool
) -> Report:
    confounds, names, permutations, bootstraps = unused
    if y is not None or names is not None or permutations or bootstraps:
        raise TypeError(
            f"a report of {type(model).__name__} takes the views as X alone, no Y, names, permutations or "
            "bootstraps"
        )
    if not _is_fitted(model):
        if views is None:
            check_is_fitted(model)
        given = {"sample_weight": sample_weight, "confounds": confounds}
        model = clone(model)
        model.fit(views, **{name: value for name, value in given.items() if value is not None})
    made = model.summary()
    if pictures:
        made.pictures |= _pictures_of_views(model)
    return made


def _of_streams(
    model: SynchronyDetector,
    X: Any,
    Y: Any,
    unused: tuple[Any, ...],
    names: tuple[str, str],
    pictures: bool,
) -> Report:
    sample_weight, confounds, permutations, bootstraps = unused
    if sample_weight is not None or confounds is not None or permutations or bootstraps:
        raise TypeError(
            "a report of SynchronyDetector takes two streams and their names, no weights, confounds, "
            "permutations or bootstraps"
        )
    check_is_fitted(model)
    if X is None or Y is None:
        raise ValueError("report of a SynchronyDetector takes the two streams that it is to judge, X and Y")
    found, remarks = model._judged(X, Y)
    best = int(found.correlation.argmax())
    shown = {
        "Lag": found.lags,
        "Correlation": found.correlation,
        "Of ranks": found.ranked,
        "Critical value (5 %)": found.critical,
        "Frames": found.n_frames,
    }
    formats = {"Lag": ".0f", "Frames": ".0f", "Confidence": ".4f"}
    judged = {name: values[best : best + 1] for name, values in shown.items()}
    judged["Confidence"] = np.array([found.confidence])
    tables = {
        "synchrony": Table(
            "Where the streams correlate most",
            (f"{names[1]} after {names[0]}",),
            judged,
            formats,
            note="Confidence: a lower bound of the probability that unrelated streams with these "
            "autocorrelations correlate less by ranks, at every lag.",
        ),
        "lags": Table(
            "Correlation at each lag",
            tuple(str(lag) for lag in found.lags),
            {name: values for name, values in shown.items() if name != "Lag"},
            formats,
            heading="Lag",
        ),
    }
    facts = {
        "Frames": ", ".join(f"{name} {len(stream)}" for name, stream in zip(names, (X, Y), strict=True)),
        "Lags": f"-{model.max_lag} to {model.max_lag} frames; by the lag, {names[1]} is late",
        "Variates": f"{int(model.estimator_.n_components_)} of {type(model.estimator_).__name__}",
    }
    notes = [f"{remark[:1].upper()}{remark[1:]}." for remark in remarks]
    made = Report("Synchrony of two streams", facts, tables, notes)
    if pictures:
        from fastcca.plotting import LagDisplay

        made.pictures["Correlation at each lag"] = _drawn(LagDisplay.from_result(found).plot)
    return made


def _intervals(found: BootstrapResult, model: Any, made: Report) -> dict[str, Table]:
    low, high = found.interval()
    index = tuple(str(j + 1) for j in range(len(low)))
    title = (
        f"{found.confidence:.0%} intervals of the correlations, {len(found.canonical_correlations)} resamples"
    )
    estimate = np.asarray(model.canonical_correlations_, dtype=np.float64)[: len(low)]
    columns = {"Correlation": estimate, "Low": low, "High": high, "Standard error": found.standard_error()}
    tables = {"intervals": Table(title, index, columns, heading="Pair")}
    for side in "xy":
        table = made[f"{side}_loadings"]
        ends = found.interval(f"{side}_loadings")
        columns = {}
        for j, name in enumerate(list(table)[: min(_SHOWN, len(low))]):
            columns |= {name: table[name], f"{name} low": ends[0][:, j], f"{name} high": ends[1][:, j]}
        title = f"{found.confidence:.0%} intervals of the loadings ({side.upper()})"
        tables[f"{side}_loading_intervals"] = Table(title, table.index, columns)
    return tables


# ---- pictures


def _pictures(model: Any, made: Report, scores: tuple[NDArray[Any], NDArray[Any]] | None) -> dict[str, bytes]:
    from fastcca.plotting import CorrelationDisplay, LoadingDisplay, VariateDisplay

    rho = np.asarray(model.canonical_correlations_, dtype=np.float64)
    curves: dict[str, Any] = {"correlation": rho}
    if "rows_given" in made:
        curves = {"of the fit": rho, "of these rows": made["rows_given"]["Of these rows"]}
    out = {"Correlations of the pairs": _drawn(lambda ax: CorrelationDisplay(curves).plot(ax))}
    shown = min(_SHOWN, len(rho))
    if scores is not None:
        few = np.linspace(0, len(scores[0]) - 1, min(_POINTS, len(scores[0]))).astype(np.intp)
        for j in range(shown):
            display = VariateDisplay(scores[0][few, j], scores[1][few, j], component=j)
            out[f"Variates of pair {j + 1}"] = _drawn(display.plot)
    if "x_loadings" in made and "y_loadings" in made:
        tables = made["x_loadings"], made["y_loadings"]
        for j in range(shown):
            x, y = (table[list(table)[j]] for table in tables)
            loaded = LoadingDisplay(x, y, tables[0].index, tables[1].index, j)
            height = 1.2 + 0.21 * sum(min(10, len(table.index)) for table in tables)
            out[f"Loadings of pair {j + 1}"] = _drawn(loaded.plot, height)
    return out


def _pictures_of_views(model: MultiViewModel) -> dict[str, bytes]:
    from fastcca.plotting import CorrelationDisplay, SimilarityDisplay

    names = model.views_
    pairs: Mapping[str, Any] = {
        f"{names[i]}, {names[j]}": model.pairwise_correlations_[i, j]
        for i, j in zip(*np.triu_indices(len(names), 1), strict=True)
    }
    out = {"Correlations of the views' variates": _drawn(lambda ax: CorrelationDisplay(pairs).plot(ax))}
    first = np.asarray(model.pairwise_correlations_[:, :, 0], dtype=np.float64)
    display = SimilarityDisplay(first, names)
    out["Correlations of the views' first variates"] = _drawn(display.plot)
    return out


def _drawn(plot: Any, height: float = 4.4) -> bytes:
    """A PNG file, drawn without touching the user's figures."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'fastcca[plot]'") from error
    figure = Figure(figsize=(6.4, max(2.4, height)), layout="constrained", dpi=150)
    plot(figure.add_subplot())
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
