"""``fastcca plot``: the pictures of :mod:`fastcca.plotting` of a saved model, as files."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from fastcca._models.atomic_write import replacing
from fastcca.cli._input import Source, read_pair, source_arguments, table_options, threads_option
from fastcca.cli._labels import labels_argument, read_labels
from fastcca.cli._output import with_article
from fastcca.cli._program import main
from fastcca.cli._tables import check_output
from fastcca.cli._use import projection

__all__ = ["plot"]

# A display of fastcca.plotting, and what is handed on to its plot.
Drawn = tuple[Any, dict[str, Any]]


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("tables", nargs=-1, metavar="[X Y]", callback=source_arguments)
@click.option(
    "--which",
    type=click.Choice(["correlations", "variates", "loadings", "heliograph", "similarity", "explanation"]),
    default="correlations",
    show_default=True,
    help="What to draw; variates need X and Y, similarity a model of many views, explanation a label.",
)
@click.option(
    "--component", type=click.IntRange(min=1), default=1, show_default=True, help="Which pair, from 1."
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="loadings: how many columns of each view; explanation: how many attributes.",
)
@click.option(
    "--labels",
    metavar="FILE[:NAME]",
    callback=labels_argument,
    help="variates: what to colour the rows by.",
)
@click.option("--label", help="explanation: of which label.")
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="Where the picture goes: .png, .svg or .pdf."
)
@click.option("--size", nargs=2, type=float, metavar="INCHES INCHES", help="Width and height.")
@click.option("--dpi", type=click.IntRange(min=10, max=2000), default=150, show_default=True, help="Of .png.")
@table_options
@threads_option
def plot(
    model: Path,
    tables: tuple[Source, ...],
    which: str,
    component: int,
    top: int,
    labels: Source | None,
    label: str | None,
    output: str,
    size: tuple[float, float] | None,
    dpi: int,
) -> None:
    """Draw a picture of a saved MODEL; with tables X and Y also of their rows."""
    from fastcca._load import load

    if len(tables) not in (0, 2):
        raise click.UsageError(f"plot takes both tables, or neither of them; got {len(tables)}")
    if len(tables) == 0 and (which == "variates" or labels is not None):
        raise click.UsageError("the variates of rows are drawn of the tables X and Y")
    if labels is not None and which != "variates":
        raise click.UsageError("--labels is for --which variates")
    if (label is not None) != (which == "explanation"):
        raise click.UsageError("--label goes with --which explanation")
    if size is not None and not all(0 < inches <= 100 for inches in size):
        raise click.UsageError(f"--size must be two lengths above 0 and at most 100 inches, got {size}")
    more = [source.path for source in (*tables, labels) if source is not None]
    check_output(output, (".png", ".svg", ".pdf"), inputs=(model, *more))
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install 'fastcca[plot]'") from error
    fitted = load(model)
    display, options = _PICTURES[which](
        fitted, _views(fitted, tables), component - 1, top, _known(fitted, label), labels, tables
    )
    # the figure is ours, not pyplot's: no window, none of the user's figures is touched
    figure = Figure(figsize=size or _size(which, display, top), layout="constrained", dpi=dpi)
    ax = figure.add_subplot(projection="polar" if which == "heliograph" else None)
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": "fastcca"}):  # the same picture is the same file
        display.plot(ax, **options)
        suffix = Path(output).suffix.lower()
        metadata: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})
        figure.savefig(file, format=suffix[1:], metadata=metadata)
    with replacing(output) as temporary:
        temporary.write_bytes(file.getvalue())
    click.echo(f"{which} of {with_article(fitted)}, saved to {output}")


def _views(fitted: Any, tables: tuple[Source, ...]) -> tuple[Any, Any] | None:
    """The tables, whose columns must be those of the fit, with the names of their rows."""
    if not tables:
        return None
    if not hasattr(fitted, "transform_views"):
        raise click.UsageError(f"{with_article(fitted)} has no two views: it is drawn without tables")
    read = read_pair(*tables)
    for source, table, view in zip(tables, read, ("x", "y"), strict=True):
        projection(fitted, source, table, view)
    return read


def _correlations(fitted: Any, views: Any, *_: Any) -> Drawn:
    from fastcca.plotting import CorrelationDisplay

    if hasattr(fitted, "views_"):
        names = fitted.views_
        curves = {
            f"{names[i]}, {names[j]}": fitted.pairwise_correlations_[i, j]
            for i, j in zip(*np.triu_indices(len(names), 1), strict=True)
        }
        return CorrelationDisplay(curves), {}
    curves = {"of the fit": _of(fitted, "canonical_correlations_")}
    if views is not None:
        rows = {"of these rows": (views[0].values, views[1].values)}
        curves |= CorrelationDisplay.from_estimator(fitted, rows).correlations
    return CorrelationDisplay(curves), {}


def _variates(
    fitted: Any, views: Any, component: int, top: int, label: Any, labels: Source | None, tables: Any
) -> Drawn:
    from fastcca.plotting import VariateDisplay

    _check_component(fitted, component)
    x, y = views
    of_rows = None if labels is None else read_labels(labels, tables[0], len(x.values), x.labels)
    return VariateDisplay.from_estimator(fitted, x.values, y.values, labels=of_rows, component=component), {}


def _loadings(fitted: Any, views: Any, component: int, top: int, *_: Any) -> Drawn:
    from fastcca.plotting import LoadingDisplay

    for name in ("x_loadings_", "y_loadings_"):
        _of(fitted, name)
    _check_component(fitted, component)
    return LoadingDisplay.from_estimator(fitted, component=component), {"top": top}


def _heliograph(*given: Any) -> Drawn:
    display, options = _loadings(*given)
    return display, {**options, "kind": "helio"}


def _similarity(fitted: Any, views: Any, component: int, *_: Any) -> Drawn:
    from fastcca.plotting import SimilarityDisplay

    pairwise = _of(fitted, "pairwise_correlations_")
    _check_component(fitted, component)
    return SimilarityDisplay(pairwise[:, :, component], fitted.views_), {}


def _explanation(fitted: Any, views: Any, component: int, top: int, label: Any, *_: Any) -> Drawn:
    from fastcca.plotting import ExplanationDisplay

    if not hasattr(fitted, "explain"):
        raise ValueError(f"{with_article(fitted)} explains no labels")
    return ExplanationDisplay.from_estimator(fitted, label, n_attributes=top), {}


_PICTURES: dict[str, Callable[..., Drawn]] = {
    "correlations": _correlations,
    "variates": _variates,
    "loadings": _loadings,
    "heliograph": _heliograph,
    "similarity": _similarity,
    "explanation": _explanation,
}


def _of(fitted: Any, name: str) -> Any:
    if not hasattr(fitted, name):
        raise ValueError(f"{with_article(fitted)} has no {name.rstrip('_').replace('_', ' ')} to draw")
    return getattr(fitted, name)


def _check_component(fitted: Any, component: int) -> None:
    if component >= fitted.n_components_:
        raise ValueError(f"--component must be at most {fitted.n_components_}, got {component + 1}")


def _known(fitted: Any, label: str | None) -> Any:
    """Labels may be numbers, which the command line gives as text."""
    known = {str(name): name for name in getattr(fitted, "classes_", np.array([])).tolist()}
    return known.get(label or "", label)


def _size(which: str, display: Any, top: int) -> tuple[float, float]:
    if which == "loadings":
        bars = sum(min(top, len(side)) for side in (display.x_loadings, display.y_loadings))
        return 6.4, max(2.4, 1.2 + 0.21 * bars)
    if which == "explanation":
        return 6.4, max(2.4, 1.2 + 0.25 * len(display.names))
    return (6.4, 6.4) if which == "heliograph" else (6.4, 4.8)
