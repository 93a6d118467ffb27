"""``fastcca search``: the nearest rows of a gallery, across views or by label."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import numpy as np

from fastcca._models.atomic_write import replacing, save_arrays
from fastcca.cli._input import Source, read_tables, source_argument, table_options, threads_option
from fastcca.cli._output import with_article
from fastcca.cli._program import main
from fastcca.cli._tables import check_output
from fastcca.cli._use import projection

if TYPE_CHECKING:
    from fastcca.retrieval import Found

__all__ = ["search"]

_COLUMNS = ("query", "rank", "row", "score")


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("gallery", callback=source_argument)
@click.argument("queries", callback=source_argument, required=False)
@click.option("-k", type=click.IntRange(min=1), help="Rows to find for each query.  [default: 10]")
@click.option(
    "--label",
    "labels",
    multiple=True,
    help="Label embeddings: search by label in place of QUERIES; repeatable.",
)
@click.option(
    "--gallery-view",
    type=click.Choice(["x", "y"]),
    default="y",
    show_default=True,
    help="Which view the gallery is; QUERIES are the other.",
)
@click.option(
    "--correlation-power",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Multiply variates by their correlations to this power.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where the result goes: .csv, .tsv, or .npz (arrays indices and scores).  [default: printed]",
)
@table_options
@threads_option
def search(
    model: Path,
    gallery: Source,
    queries: Source | None,
    k: int | None,
    labels: tuple[str, ...],
    gallery_view: Literal["x", "y"],
    correlation_power: float,
    output: str | None,
) -> None:
    """Find the rows of a GALLERY that are nearest to QUERIES in the space of a saved MODEL.

    With a model of two views, QUERIES are the other view than the GALLERY; with a label embedding they are
    more samples, or labels. Rows count from 0.
    """
    from fastcca._load import load

    if (queries is None) == (not labels):
        raise click.UsageError("give either QUERIES or --label")
    if output is not None:
        inputs = [model, gallery.path] + ([] if queries is None else [queries.path])
        check_output(output, (".csv", ".tsv", ".npz"), inputs=inputs)
    fitted = load(model)
    if hasattr(fitted, "label_embedding_"):
        if gallery_view != "y" or correlation_power:
            raise click.UsageError("--gallery-view and --correlation-power are for models of two views")
        names, found = _by_labels(fitted, gallery, queries, k, labels)
    elif labels:
        raise click.UsageError(f"--label is for label embeddings, {model} holds {with_article(fitted)}")
    elif not hasattr(fitted, "transform_y"):
        raise click.UsageError(
            f"{model} holds {with_article(fitted)}, which has neither a second view nor labels"
        )
    else:
        assert queries is not None
        names, found = _across_views(fitted, gallery, queries, k, gallery_view, correlation_power)
    if output is None:
        width = max(5, *(len(name) for name in names))
        click.echo(f"{'query':{width}}  rank  {'row':>8}  {'score':>12}")
        for query, rank, row, score in _rows(names, found):
            click.echo(f"{query:{width}}  {rank:4d}  {row:8d}  {score:12.6g}")
        return
    _write(Path(output), names, found)
    n, found_k = found.indices.shape
    click.echo(f"{found_k} rows for each of {n} queries, saved to {output}")


def _across_views(
    fitted: Any,
    gallery: Source,
    queries: Source,
    k: int | None,
    gallery_view: Literal["x", "y"],
    correlation_power: float,
) -> tuple[list[str], "Found"]:
    from fastcca.retrieval import CrossViewSearch

    query_view = "x" if gallery_view == "y" else "y"
    rows, wanted = read_tables([gallery, queries], paired=False)
    projection(fitted, gallery, rows, gallery_view)  # looks at the columns' names
    projection(fitted, queries, wanted, query_view)
    index = CrossViewSearch(fitted, gallery_view=gallery_view, correlation_power=correlation_power)
    found = index.fit(rows.values).search(wanted.values, _k(k, len(rows.values)))
    return [str(i) for i in range(len(wanted.values))], found


def _by_labels(
    fitted: Any, gallery: Source, queries: Source | None, k: int | None, labels: tuple[str, ...]
) -> tuple[list[str], "Found"]:
    from fastcca.retrieval import LabelSearch

    rows, *more = read_tables([gallery] if queries is None else [gallery, queries], paired=False)
    projection(fitted, gallery, rows, "x")
    index = LabelSearch(fitted).fit(rows.values)
    if queries is None:
        # Labels may be numbers, which the command line gives as text.
        known = {str(label): label for label in fitted.classes_.tolist()}
        return list(labels), index.search_labels(
            [known.get(name, name) for name in labels], _k(k, len(rows.values))
        )
    wanted = more[0]
    projection(fitted, queries, wanted, "x")
    return [str(i) for i in range(len(wanted.values))], index.search(wanted.values, _k(k, len(rows.values)))


def _k(k: int | None, n_rows: int) -> int:
    return min(10, n_rows) if k is None else k


def _rows(names: list[str], found: "Found") -> Iterator[tuple[str, int, int, float]]:
    for name, indices, scores in zip(names, found.indices.tolist(), found.scores.tolist(), strict=True):
        for rank, (row, score) in enumerate(zip(indices, scores, strict=True), start=1):
            yield name, rank, row, score


def _write(path: Path, names: list[str], found: "Found") -> None:
    with replacing(path) as temporary:
        if path.suffix.lower() == ".npz":
            save_arrays(temporary, indices=found.indices, scores=found.scores)
            return
        precision = ".9g" if found.scores.dtype == np.float32 else ".17g"
        with temporary.open("w", encoding="utf-8", newline="") as file:
            delimiter = "," if path.suffix.lower() == ".csv" else "\t"
            writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows((*row, format(score, precision)) for *row, score in _rows(names, found))
