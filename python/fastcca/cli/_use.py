"""``fastcca transform`` and ``fastcca score``: a saved model on tables."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fastcca.cli._input import Source, by_chunks, header_option, read_pair, source_argument, threads_option
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
    "--view", type=click.Choice(["x", "y"]), default="x", show_default=True, help="Which view the table is."
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="Where the variates go: .npy, .npz (array Z), .csv or .tsv.",
)
@header_option
@threads_option
def transform(model: Path, table: Source, view: str, output: str) -> None:
    """Project the rows of a TABLE of either view onto the variates of a saved MODEL."""
    from fastcca._load import load

    check_output(output, inputs=(model, table.path))
    fitted = load(model)
    content = table.read()
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
@header_option
@threads_option
def score(model: Path, x: Source, y: Source) -> None:
    """Correlations of the variates of a saved MODEL on two tables with the same rows."""
    from fastcca._load import load

    fitted = load(model)
    x_table, y_table = read_pair(x, y)
    project_x = projection(fitted, x, x_table, "x")
    project_y = projection(fitted, y, y_table, "y")
    moments = Moments()

    def add(x_rows: "NDArray[Any]", y_rows: "NDArray[Any]") -> None:
        # In double also for float32, whose moments would be good to six digits.
        moments.update(project_x(x_rows).astype(np.float64), project_y(y_rows).astype(np.float64))

    for _ in by_chunks("scoring", add, x_table.values, y_table.values):
        pass
    # ρᵢ = cov(uᵢ, vᵢ) / √(var uᵢ · var vᵢ); 0 where a variate is constant.
    scale = np.sqrt(np.diag(moments.covariance(0, 0)) * np.diag(moments.covariance(1, 1)))
    correlations = np.zeros_like(scale)
    np.divide(np.diag(moments.covariance(0, 1)), scale, out=correlations, where=scale > 0)
    click.echo("component  correlation")
    for number, correlation in enumerate(correlations, start=1):
        click.echo(f"{number:9d}  {correlation:11.6f}")
    click.echo(f"    total  {correlations.sum():11.6f}")
    click.echo(f"     mean  {correlations.mean():11.6f}")


def projection(fitted: Any, source: Source, table: Table, view: str) -> Callable[["NDArray[Any]"], Any]:
    """transform or transform_y, after a look at the columns' names."""
    if not hasattr(fitted, "transform"):
        raise ValueError(f"{with_article(fitted)} does not project rows")
    if view == "y" and not hasattr(fitted, "transform_y"):
        raise ValueError(f"{with_article(fitted)} has no second view")
    expected = getattr(fitted, "feature_names_in_" if view == "x" else "y_feature_names_in_", None)
    if expected is not None:
        if table.names is not None and table.names != list(expected):
            _refuse_names(source, table.names, expected)
        # The names are in order, or the table has none; scikit-learn sees arrays, and would say so each time.
        warnings.filterwarnings("ignore", message=".*valid feature names")
    project: Callable[[Any], Any] = fitted.transform if view == "x" else fitted.transform_y
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
