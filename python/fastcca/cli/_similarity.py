"""``fastcca similarity``: how alike several representations of the same rows are."""

import click
import numpy as np

from fastcca._models.atomic_write import replacing, save_arrays
from fastcca.cli._input import Source, read_views, source_arguments, table_options, threads_option
from fastcca.cli._program import main
from fastcca.cli._tables import check_output

__all__ = ["similarity"]


@main.command()
@click.argument("views", nargs=-1, required=True, callback=source_arguments)
@click.option(
    "--method",
    type=click.Choice(["cka", "debiased_cka", "svcca", "pwcca", "mean_cca", "procrustes"]),
    default="cka",
    show_default=True,
    help="Which measure; procrustes is a distance.",
)
@click.option(
    "--groups",
    type=click.IntRange(min=2),
    help="Jackknife intervals of 95 % over this many groups of rows.",
)
@click.option("-o", "--output", metavar="FILE", help="An .npz file for the matrices.")
@table_options
@threads_option
def similarity(views: tuple[Source, ...], method: str, groups: int | None, output: str | None) -> None:
    """Compare tables with the same rows, each with each."""
    if len(views) < 2:
        raise click.UsageError("similarity takes two tables or more, got 1")
    if output is not None:
        check_output(output, (".npz",), inputs=tuple(source.path for source in views))
    from fastcca.similarity import compare

    tables = read_views(views)
    found = compare({name: table.values for name, table in tables.items()}, method, groups=groups or 0)
    width = max(8, *map(len, found.names))
    click.echo(" " * width + "".join(f"  {name:>{width}}" for name in found.names))
    for i, name in enumerate(found.names):
        click.echo(f"{name:{width}}" + "".join(f"  {value:>{width}.4f}" for value in found.values[i]))
    if found.low is not None and found.high is not None:
        for i, name in enumerate(found.names):
            for j in range(i + 1, len(found.names)):
                low, high = found.low[i, j], found.high[i, j]
                click.echo(f"{name} and {found.names[j]}: {found.values[i, j]:.4f} [{low:.4f}, {high:.4f}]")
    if output is not None:
        arrays = {"values": found.values, "names": np.array(found.names)}
        if found.low is not None and found.high is not None:
            arrays |= {"low": found.low, "high": found.high}
        with replacing(output) as temporary:
            save_arrays(temporary, **arrays)
        click.echo(f"saved to {output}")
