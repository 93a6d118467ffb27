"""``fastcca embed``: label embeddings from files: fit, predict, score."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fastcca._models.atomic_write import replacing
from fastcca.cli._input import (
    Source,
    model_option,
    read_tables,
    source_argument,
    table_options,
    threads_option,
)
from fastcca.cli._labels import labels_argument, read_labels
from fastcca.cli._output import describe, print_lines, with_article
from fastcca.cli._program import main
from fastcca.cli._tables import Table, check_output
from fastcca.cli._use import projection

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["embed"]

# The class of each method, and which of taxonomy and attributes it takes.
_METHODS = {
    "ridge": ("RidgeEmbedding", ()),
    "ncm": ("NearestClassMean", ()),
    "lme": ("LargeMarginEmbedding", ("taxonomy",)),
    "lmte": ("LargeMarginTaxonomyEmbedding", ("taxonomy",)),
    "ale": ("AttributeLabelEmbedding", ("attributes",)),
    "hle": ("HierarchyLabelEmbedding", ("taxonomy",)),
    "ahle": ("AttributeHierarchyLabelEmbedding", ("taxonomy", "attributes")),
    "use": ("UnifiedSemanticEmbedding", ("taxonomy", "attributes")),
    "warp": ("WARPEmbedding", ()),
}


@main.group()
def embed() -> None:
    """Label embeddings: classifiers that put samples and labels into one space."""


@embed.command()
@click.argument("table", metavar="X", callback=source_argument)
@click.argument("labels", metavar="LABELS", callback=labels_argument)
@click.option(
    "--method",
    type=click.Choice(list(_METHODS)),
    default="lme",
    show_default=True,
    help="What to fit: large margin, nearest class mean, attribute and hierarchy label embedding, "
    "unified semantic embedding, WSABIE.",
)
@click.option("-k", "--components", type=click.IntRange(min=1), help="Dimensions of the space.")
@click.option("--taxonomy", metavar="FILE", help="A .tsv file, one line a node: the node, a tab, its parent.")
@click.option(
    "--attributes",
    metavar="FILE",
    callback=source_argument,
    help="A table with a row a class: its name in the first column, or in that of --index.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the data.")
@click.option("--random-state", type=int, default=0, show_default=True, help="Of all that is drawn.")
@model_option
@table_options
@threads_option
def fit(
    table: Source,
    labels: Source,
    method: str,
    components: int | None,
    taxonomy: str | None,
    attributes: Source | None,
    epochs: int | None,
    random_state: int,
    output: str,
) -> None:
    """Fit a label embedding to the rows of X and their LABELS, and save it.

    LABELS is a file of one label a row; FILE.csv:NAME chooses a column of several.
    """
    from fastcca import embedding
    from fastcca.taxonomy import Taxonomy

    name, takes = _METHODS[method]
    kind = getattr(embedding, name)
    options: dict[str, Any] = {}
    for option, given in (("taxonomy", taxonomy), ("attributes", attributes)):
        if given is not None and option not in takes:
            raise click.UsageError(f"--method {method} takes no --{option}")
    parameters = kind().get_params()
    for option, parameter, value in (("-k", "n_components", components), ("--epochs", "n_epochs", epochs)):
        if value is not None and parameter not in parameters:
            raise click.UsageError(f"--method {method} takes no {option}")
        if value is not None:
            options[parameter] = value
    if "random_state" in parameters:
        options["random_state"] = random_state
    paths = [table.path, labels.path, *([] if taxonomy is None else [Path(taxonomy)])]
    check_output(output, (".safetensors",), inputs=paths + ([] if attributes is None else [attributes.path]))
    if taxonomy is not None:
        options["taxonomy"] = Taxonomy.from_tsv(taxonomy)
    (x,) = read_tables([table])
    y = read_labels(labels, table, len(x.values), x.labels)
    if taxonomy is not None:  # whose nodes are text
        y = y.astype(str)
    if attributes is not None:
        options["attributes"] = _attributes(attributes, y)
    fitted = kind(**options).fit(x.values, y)
    if x.names is not None:
        fitted.feature_names_in_ = np.array(x.names, dtype=object)
    fitted.save(output)
    click.echo(f"{table.path}, {len(x.values)} rows")
    describe(fitted)
    click.echo(f"saved to {output}")


@embed.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("table", metavar="X", callback=source_argument)
@click.option("-k", type=click.IntRange(min=1), default=1, show_default=True, help="Labels for each row.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where the labels and their probabilities go: .csv or .tsv.  [default: printed]",
)
@table_options
@threads_option
def predict(model: Path, table: Source, k: int, output: str | None) -> None:
    """The K nearest labels of each row of X, with their probabilities."""
    if output is not None:
        check_output(output, (".csv", ".tsv"), inputs=(model, table.path))
    fitted, x = _loaded(model, table)
    k = min(k, len(fitted.classes_))
    found = fitted.predict_top_k(x.values, k)
    place = np.searchsorted(fitted.classes_, found)
    probability = np.take_along_axis(fitted.predict_proba(x.values), place, axis=1)
    rows = x.labels or [str(i) for i in range(len(found))]
    if output is None:
        width = max(5, *(len(row) for row in rows))
        wide = max(5, *(len(str(label)) for label in fitted.classes_))
        click.echo(f"{'row':{width}}  rank  {'label':{wide}}  probability")
        for row, labels, values in zip(rows, found, probability, strict=True):
            for rank, (label, value) in enumerate(zip(labels, values, strict=True), start=1):
                click.echo(f"{row:{width}}  {rank:4d}  {label!s:{wide}}  {value:11.4f}")
        return
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        delimiter = "," if Path(output).suffix.lower() == ".csv" else "\t"
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(["row", "rank", "label", "probability"])
        for row, labels, values in zip(rows, found.tolist(), probability.tolist(), strict=True):
            for rank, (label, value) in enumerate(zip(labels, values, strict=True), start=1):
                writer.writerow([row, rank, label, format(value, ".9g")])
    click.echo(f"{k} labels for each of {len(rows)} rows, saved to {output}")


@embed.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("table", metavar="X", callback=source_argument)
@click.argument("labels", metavar="LABELS", callback=labels_argument)
@table_options
@threads_option
def score(model: Path, table: Source, labels: Source) -> None:
    """How often the label of a row of X is among the 1, 2, 5 nearest."""
    from fastcca.metrics import hit_at_k

    fitted, x = _loaded(model, table)
    y = read_labels(labels, table, len(x.values), x.labels)
    classes = fitted.classes_
    if classes.dtype.kind in "UO":
        y = y.astype(str)
    near = fitted.decision_function(x.values)
    of = [k for k in (1, 2, 5) if k < len(classes)]
    print_lines({f"hit@{k}": f"{hit_at_k(y, near, k, classes=classes):.4f}" for k in of})


def _loaded(model: Path, table: Source) -> tuple[Any, Table]:
    from fastcca._load import load

    fitted = load(model)
    if not hasattr(fitted, "predict_top_k"):
        raise click.UsageError(f"{model} holds {with_article(fitted)}, not a label embedding")
    (x,) = read_tables([table])
    projection(fitted, table, x, "x")
    return fitted, x


def _attributes(source: Source, labels: "NDArray[Any]") -> Any:
    """The vector of each class, with the names of the attributes where pandas is there to hold them."""
    table = source.read(index_column=0)
    known = {str(label): label for label in labels.tolist()}
    classes = [known.get(name, name) for name in table.labels or []]
    try:
        import pandas
    except ImportError:
        return dict(zip(classes, table.values, strict=True))
    return pandas.DataFrame(table.values, index=classes, columns=table.names)
