"""``fastcca report``: what a saved model found, as text or as one page."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from fastcca.cli._input import Source, read_beside, read_pair, source_argument, table_options, threads_option
from fastcca.cli._output import with_article
from fastcca.cli._program import main
from fastcca.cli._tables import check_output
from fastcca.cli._use import projection

__all__ = ["report"]


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("x", required=False, callback=source_argument)
@click.argument("y", required=False, callback=source_argument)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where the report goes: .html (one page with pictures), .tex or .txt.  [default: standard output]",
)
@click.option("--confounds", metavar="FILE", callback=source_argument, help="Confounds of the rows.")
@click.option(
    "--permutations",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Test the correlations by this many shuffles.",
)
@click.option(
    "--bootstraps",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Intervals of correlations and loadings from this many resamples.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of both.")
@click.option("--names", nargs=2, metavar="NAME NAME", help="What the views are called.  [default: X Y]")
@table_options
@threads_option
def report(
    model: Path,
    x: Source | None,
    y: Source | None,
    output: str | None,
    confounds: Source | None,
    permutations: int,
    bootstraps: int,
    seed: int,
    names: tuple[str, str] | None,
) -> None:
    """Every table of a saved MODEL: correlations, tests, coefficients, loadings, redundancies.

    X and Y are the tables that it was fitted to, or others, whose correlations are compared. Without them the
    report has what the model kept.
    """
    from fastcca._load import load
    from fastcca.reporting import report as make

    if (x is None) != (y is None):
        raise click.UsageError("report takes both tables, or neither of them")
    if x is None and (permutations or bootstraps or confounds is not None):
        raise click.UsageError("--permutations, --bootstraps and --confounds take the tables X and Y")
    sources = [source for source in (x, y, confounds) if source is not None]
    if output is not None:
        check_output(output, (".html", ".tex", ".txt"), inputs=(model, *(source.path for source in sources)))
    fitted = load(model)
    if not hasattr(fitted, "summary"):
        raise ValueError(f"{with_article(fitted)} has no report: it is for models of two views or more")
    options: dict[str, Any] = {
        "names": names or None,
        "pictures": _page(output) and find_spec("matplotlib") is not None,
    }
    if x is None or y is None:
        if hasattr(fitted, "views_"):
            del options["names"]
        found = make(fitted, **options)
    else:
        if hasattr(fitted, "views_"):
            raise click.UsageError("a report of more than two views takes no tables")
        tables = read_pair(x, y)
        for source, table, view in zip((x, y), tables, ("x", "y"), strict=True):
            projection(fitted, source, table, view)  # refuses tables with other columns
        found = make(
            fitted,
            tables[0].values,
            tables[1].values,
            confounds=None if confounds is None else read_beside(confounds, x, tables[0]).values,
            permutations=permutations,
            bootstraps=bootstraps,
            random_state=seed,
            **options,
        )
    if output is None:
        click.echo(str(found))
        return
    found.save(output)
    click.echo(f"saved to {output}")


def _page(output: str | None) -> bool:
    return output is not None and Path(output).suffix.lower() == ".html"
