"""``fastcca transform`` and ``fastcca score``: a saved model on tables."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fastcca.cli._input import (
    Source,
    by_chunks,
    read_pair,
    read_tables,
    read_views,
    source_argument,
    source_arguments,
    table_options,
    threads_option,
)
from fastcca.cli._output import with_article
from fastcca.cli._program import main
from fastcca.cli._tables import Table, check_output, table_writer
from fastcca.functional.moments import Moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["projection", "score", "transform"]


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("table", callback=source_argument)
@click.option(
    "--view",
    metavar="VIEW",
    help="Which view the table is: x or y, of many its name.  [default: x, of many what TABLE is called]",
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="Where the variates go: .npy, .npz (array Z), .csv or .tsv.",
)
@table_options
@threads_option
def transform(model: Path, table: Source, view: str | None, output: str) -> None:
    """Project the rows of a TABLE of any view onto the variates of a saved MODEL."""
    from fastcca._load import load

    check_output(output, inputs=(model, table.path))
    fitted = load(model)
    (content,) = read_tables([table])
    project = projection(fitted, table, content, view)
    first = project(content.values[:1])
    names = list(fitted.get_feature_names_out())
    with table_writer(output, (len(content.values), first.shape[1]), first.dtype, names) as write:
        for scores in by_chunks("transforming", project, content.values):
            write(scores)
    click.echo(f"{len(content.values)} rows, {first.shape[1]} variates, saved to {output}")


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("x", callback=source_argument)
@click.argument("y", callback=source_argument)
@click.argument("more", nargs=-1, callback=source_arguments)
@table_options
@threads_option
def score(model: Path, x: Source, y: Source, more: tuple[Source, ...]) -> None:
    """Correlations of the variates of a saved MODEL on tables with the same rows: two, or more of many views.

    Tables of many views are known by their names, those of the fit; or they are all in the order of the
    fit.
    """
    from fastcca._load import load

    fitted = load(model)
    if hasattr(fitted, "views_"):
        tables = read_views((x, y, *more))
        names = _views_of(fitted, list(tables))
    elif more:
        raise click.UsageError(f"{with_article(fitted)} has two views, got {2 + len(more)} tables")
    else:
        tables = dict(zip("xy", read_pair(x, y), strict=True))
        names = ["x", "y"]
    projections = [
        projection(fitted, source, table, name)
        for source, table, name in zip((x, y, *more), tables.values(), names, strict=True)
    ]
    moments = Moments()

    def add(*rows: "NDArray[Any]") -> None:
        # In double also for float32, whose moments would be good to six digits.
        moments.update(*(p(part).astype(np.float64) for p, part in zip(projections, rows, strict=True)))

    for _ in by_chunks("scoring", add, *(table.values for table in tables.values())):
        pass
    pairs = list(combinations(range(len(names)), 2))
    of_pairs = np.array([_correlations(moments, i, j) for i, j in pairs])
    correlations = of_pairs.mean(axis=0)
    click.echo("component  correlation")
    for number, correlation in enumerate(correlations, start=1):
        click.echo(f"{number:9d}  {correlation:11.6f}")
    click.echo(f"    total  {correlations.sum():11.6f}")
    click.echo(f"     mean  {correlations.mean():11.6f}")
    if len(names) > 2:
        for (i, j), found in zip(pairs, of_pairs, strict=True):
            click.echo(f"{names[i]} and {names[j]}: mean {found.mean():.6f}")


def _correlations(moments: Moments, i: int, j: int) -> "NDArray[np.float64]":
    """ρ = cov(u, v) / √(var u · var v) of each component; 0 where a variate is constant."""
    scale = np.sqrt(np.diag(moments.covariance(i, i)) * np.diag(moments.covariance(j, j)))
    return np.divide(np.diag(moments.covariance(i, j)), scale, out=np.zeros_like(scale), where=scale > 0)


def _views_of(fitted: Any, given: list[str]) -> list[str]:
    """Which views tables of these names are."""
    known = list(fitted.views_)
    if set(given) <= set(known):
        return given
    if len(given) == len(known):
        return known
    unknown = next(name for name in given if name not in known)
    raise click.UsageError(
        f"{unknown!r} is no view of the model: name tables as its views, {', '.join(known)}, or pass all "
        f"{len(known)} in this order"
    )


def projection(
    fitted: Any, source: Source, table: Table, view: str | None
) -> Callable[["NDArray[Any]"], Any]:
    """transform, transform_y or transform_view, after a look at the columns' names."""
    if not hasattr(fitted, "transform"):
        raise ValueError(f"{with_article(fitted)} does not project rows")
    if hasattr(fitted, "views_"):
        name = source.name if view is None else view
        if name not in fitted.views_:
            told = f"{source.path} is none of them: say --view" if view is None else f"got --view {view}"
            raise click.UsageError(f"the model has the views {', '.join(fitted.views_)}, {told}")
        expected = fitted._columns[name]
        project: Callable[[Any], Any] = partial(fitted.transform_view, name)
    else:
        view = view or "x"
        if view not in ("x", "y"):
            raise click.UsageError(f"{with_article(fitted)} has the views x and y, got --view {view}")
        if view == "y" and not hasattr(fitted, "transform_y"):
            raise ValueError(f"{with_article(fitted)} has no second view")
        expected = getattr(fitted, "feature_names_in_" if view == "x" else "y_feature_names_in_", None)
        project = fitted.transform if view == "x" else fitted.transform_y
    if expected is not None:
        if table.names is not None and table.names != list(expected):
            _refuse_names(source, table.names, expected)
        # The names are in order, or the table has none; scikit-learn sees arrays, and would say so each time.
        warnings.filterwarnings("ignore", message=".*valid feature names")
    return project


def _refuse_names(source: Source, names: Sequence[str], expected: Sequence[str]) -> None:
    if len(names) != len(expected):
        raise ValueError(f"{source.path}: {len(names)} columns, the model was fitted with {len(expected)}")
    place, name, other = next(
        (i, a, b) for i, (a, b) in enumerate(zip(names, expected, strict=True)) if a != b
    )
    raise ValueError(
        f"{source.path}: column {place + 1} is {name!r}, the model was fitted with {other!r} there"
    )
