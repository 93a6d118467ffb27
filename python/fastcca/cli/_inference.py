"""``fastcca test``: are the correlations of two tables more than chance?"""

import csv
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from fastcca._models.atomic_write import replacing
from fastcca.cli._input import (
    Source,
    read_beside,
    read_pair,
    source_argument,
    source_arguments,
    table_options,
    threads_option,
)
from fastcca.cli._labels import labels_argument, read_labels
from fastcca.cli._output import with_article
from fastcca.cli._program import main
from fastcca.cli._tables import check_output
from fastcca.cli._use import projection

__all__ = ["test"]


@main.command()
@click.argument("sources", nargs=-1, required=True, metavar="[MODEL] X Y", callback=source_arguments)
@click.option(
    "--wilks", is_flag=True, help="Wilks's test of Gaussian data, without a ridge, in the place of shuffles."
)
@click.option(
    "--statistic",
    type=click.Choice(["correlation", "roy", "wilks", "held-out"]),
    default="correlation",
    show_default=True,
    help="What is compared with its values in the shuffles.",
)
@click.option("-k", "--components", type=click.IntRange(min=1), help="Pairs to test.  [default: all]")
@click.option("--reg", type=float, help="Ridge added to the covariance of X, and of Y.  [default: 0]")
@click.option("--reg-y", type=float, help="Ridge for Y where it differs.")
@click.option("--confounds", metavar="FILE", callback=source_argument, help="Confounds of the rows.")
@click.option(
    "--blocks",
    metavar="FILE[:NAME]",
    callback=labels_argument,
    help="A label for each row: rows are exchanged within their blocks; of .csv and .tsv a column.",
)
@click.option(
    "--exchange",
    type=click.Choice(["within", "whole", "shift"]),
    default="within",
    show_default=True,
    help="Rows within blocks, blocks as wholes, or circular shifts of a series.",
)
@click.option(
    "--residuals",
    type=click.Choice(["auto", "huh-jhun", "theil", "freedman-lane"]),
    default="auto",
    show_default=True,
    help="How residuals of the confounds are made exchangeable.",
)
@click.option(
    "--n-permutations", type=click.IntRange(min=1), default=999, show_default=True, help="Shuffles."
)
@click.option("--random-state", type=int, default=0, show_default=True, help="Of the shuffles.")
@click.option(
    "-o", "--output", metavar="FILE", help="Where the table goes: .csv or .tsv.  [default: standard output]"
)
@table_options
@threads_option
def test(
    sources: tuple[Source, ...],
    wilks: bool,
    statistic: Any,
    components: int | None,
    reg: float | None,
    reg_y: float | None,
    confounds: Source | None,
    blocks: Source | None,
    exchange: Any,
    residuals: Any,
    n_permutations: int,
    random_state: int,
    output: str | None,
) -> None:
    """Test the correlations of two tables, one after the other, by permutation or by Wilks's F.

    With a saved MODEL its settings count, fitted to these rows; without one they are those of a CCA.
    """
    from fastcca._load import load

    model_at, pair = sources[:-2], sources[-2:]
    if len(sources) not in (2, 3):
        raise click.UsageError(f"test takes X and Y, or MODEL X Y; got {len(sources)} files")
    if model_at and (components, reg, reg_y) != (None, None, None):
        raise click.UsageError("-k, --reg and --reg-y are those of the model: leave them out")
    if wilks and (blocks is not None or statistic != "correlation" or exchange != "within"):
        raise click.UsageError("--blocks, --exchange and --statistic are for permutations, not for --wilks")
    if output is not None:
        beside = [source.path for source in (confounds, blocks) if source is not None]
        check_output(output, (".csv", ".tsv"), inputs=(*(source.path for source in sources), *beside))
    model = load(model_at[0].path) if model_at else _cca(components, reg, reg_y)
    x, y = read_pair(*pair)
    if model_at:
        if not hasattr(model, "transform_y"):
            raise ValueError(f"{with_article(model)} has no two views to test")
        for source, table, view in zip(pair, (x, y), ("x", "y"), strict=True):
            projection(model, source, table, view)  # refuses tables with other columns
    given = {} if confounds is None else {"confounds": read_beside(confounds, pair[0], x).values}
    if wilks:
        columns = _wilks(model, x.values, y.values, given)
    else:
        from fastcca.inference import permutation_test

        if blocks is not None:
            given["blocks"] = read_labels(blocks, pair[0], len(x.values), x.labels)
        found = permutation_test(
            model,
            x.values,
            y.values,
            n_permutations=n_permutations,
            statistic=statistic,
            exchange=exchange,
            residuals=residuals,
            random_state=random_state,
            verbose=sys.stderr.isatty(),
            **given,
        )
        columns = {statistic: found.statistic, "p": found.p_value}
    _show(columns, output)


def _cca(components: int | None, reg: float | None, reg_y: float | None) -> Any:
    from fastcca.cca.linear import CCA

    x_reg = 0.0 if reg is None else reg
    return CCA(components, x_reg if reg_y is None else (x_reg, reg_y))


def _wilks(model: Any, X: Any, y: Any, given: dict[str, Any]) -> dict[str, Any]:
    from sklearn.base import clone

    from fastcca.inference import wilks_test

    fitted = clone(model).fit(X, y, **given)
    found = wilks_test(fitted)
    return {
        "correlation": fitted.canonical_correlations_,
        "wilks": found.statistic,
        "F": found.f,
        "df1": found.df1,
        "df2": found.df2,
        "p": found.p_value,
    }


def _show(columns: dict[str, Any], output: str | None) -> None:
    rows = list(
        zip(*(np.asarray(values, dtype=np.float64).tolist() for values in columns.values()), strict=True)
    )
    if output is None:
        click.echo("pair" + "".join(f"  {name:>12}" for name in columns))
        for number, row in enumerate(rows, start=1):
            click.echo(f"{number:4d}" + "".join(f"  {value:12.6g}" for value in row))
        return
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        delimiter = "," if Path(output).suffix.lower() == ".csv" else "\t"
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(["pair", *columns])
        writer.writerows([number, *row] for number, row in enumerate(rows, start=1))
    click.echo(f"{len(rows)} pairs, saved to {output}")
