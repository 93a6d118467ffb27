"""What commands take: tables from files, pairs of them, a number of threads."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from fastcca._config import set_num_threads
from fastcca.cli._tables import Reading, Table, read_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Source",
    "by_chunks",
    "columns_are_chosen",
    "missing_option",
    "model_option",
    "read_beside",
    "read_pair",
    "read_tables",
    "read_views",
    "reading_of_tables",
    "rows_of_chunk",
    "source_argument",
    "source_arguments",
    "table_options",
    "threads_option",
]

# One chunk of both views, in bytes.
CHUNK = 2**24
# Seconds before a progress bar appears.
PATIENCE = 0.5


_READING = "fastcca.reading"
_COLUMNS = "fastcca.columns"


def reading_of_tables() -> Reading:
    """What the options of the command say of its tables."""
    context = click.get_current_context(silent=True)
    found: Reading = Reading() if context is None else context.meta.get(_READING, Reading())
    return found


def columns_are_chosen() -> bool:
    """Whether the command has ``--columns``."""
    return bool(click.get_current_context().meta.get(_COLUMNS))


def _set(ctx: click.Context, **values: Any) -> None:
    ctx.meta[_READING] = ctx.meta.get(_READING, Reading())._replace(**values)


class Source(NamedTuple):
    """A file on the command line, and which of its arrays."""

    path: Path
    key: str | None

    @property
    def name(self) -> str:
        """What a view of it is called."""
        return self.key or self.path.stem

    def read(self, **options: Any) -> Table:
        """The table, by the options of the command and these."""
        return read_table(*self, **{**reading_of_tables()._asdict(), **options})


def read_tables(sources: Sequence[Source], *, paired: bool = True) -> list[Table]:
    """The tables of a command, with the columns that its options choose.

    Where they are ``paired`` and their rows have names (``--index``) these are brought into the order of the
    first table.
    """
    columns = click.get_current_context().meta.get(_COLUMNS, ())
    if len(columns) not in (0, 1, len(sources)):
        given = f"once, or once for each of the {len(sources)} tables, got it {len(columns)} times"
        raise click.UsageError(f"--columns is given {given}")
    chosen = columns if len(columns) == len(sources) else [*columns] * len(sources) or [None] * len(sources)
    tables = [source.read(columns=names) for source, names in zip(sources, chosen, strict=True)]
    unknown = set(reading_of_tables().drop).difference(*(table.dropped for table in tables))
    if unknown:
        paths = ", ".join(str(source.path) for source in sources)
        raise ValueError(f"--drop: there is no column {min(unknown)!r} in {paths}")
    return _matched(sources, tables) if paired else tables


def read_beside(source: Source, first: Source, table: Table) -> Table:
    """A further table of the rows of ``table``, whole but for the names of its rows."""
    found = source.read(
        drop=(), index_column=None if table.labels is None else reading_of_tables().index_column
    )
    return _matched([first, source], [table, found])[1]


def _matched(sources: Sequence[Source], tables: Sequence[Table]) -> list[Table]:
    """The tables with their rows in the order of the first, by the names of the rows where they have any."""
    first = next((i for i, table in enumerate(tables) if table.labels is not None), None)
    if first is None:
        return list(tables)
    order = tables[first].labels or []
    out = []
    for source, table in zip(sources, tables, strict=True):
        if table.labels is None:
            raise ValueError(f"{source.path} has no names of rows, {sources[first].path} has")
        if table.labels == order:
            out.append(table)
            continue
        place = {label: i for i, label in enumerate(table.labels)}
        for missing, there, here in (
            (set(order) - set(place), sources[first].path, source.path),
            (set(place) - set(order), source.path, sources[first].path),
        ):
            if missing:
                name = min(missing)
                raise ValueError(f"the row {name!r} of {there} is not in {here}")
        out.append(table._replace(values=table.values[[place[label] for label in order]], labels=order))
    return out


def source_argument(ctx: click.Context, param: click.Parameter, value: str | None) -> Source | None:
    """``FILE`` or ``FILE:NAME``; the name only for the formats that hold several arrays."""
    if value is None:
        return None
    path, colon, key = value.rpartition(":")
    if colon and path.lower().endswith((".npz", ".mat")):
        return Source(Path(path), key)
    return Source(Path(value), None)


def source_arguments(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[Source, ...]:
    """Any number of files, as :func:`source_argument` takes each."""
    sources = (source_argument(ctx, param, value) for value in values)
    return tuple(source for source in sources if source is not None)


def read_views(sources: Sequence[Source]) -> dict[str, Table]:
    """Tables with the same rows, by the names of their files (and arrays)."""
    names: list[str] = []
    for source in sources:
        if source.name in names:
            raise click.UsageError(
                f"two views are called {source.name!r}: rename a file, or choose FILE.npz:NAME"
            )
        names.append(source.name)
    tables = dict(zip(names, read_tables(sources), strict=True))
    rows = {name: len(table.values) for name, table in tables.items()}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{count} in {name}" for name, count in rows.items())
        raise ValueError(f"the views must have the same rows, got {counts}")
    return tables


def table_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say how the tables of a command are read."""

    def set_one(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
        return lambda ctx, param, value: _set(ctx, **{name: value})

    def set_columns(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> None:
        ctx.meta[_COLUMNS] = [_names(value) for value in values]

    def set_drop(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> None:
        _set(ctx, drop=tuple(name for value in values for name in _names(value)))

    def set_separator(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        value = {"\\t": "\t", "tab": "\t"}.get(value or "", value)
        if value is not None and (len(value) != 1 or value in '"\n\r' or value.isalnum()):
            raise click.BadParameter(f"expected one character such as ';', got {value!r}")
        _set(ctx, separator=value)

    options: Sequence[tuple[tuple[str, ...], dict[str, Any]]] = (
        (
            ("--header/--no-header",),
            {
                "default": None,
                "callback": set_one("header"),
                "help": "Whether the first line of .csv and .tsv files names the columns.  "
                "[default: as it looks]",
            },
        ),
        (
            ("--separator",),
            {
                "metavar": "CHARACTER",
                "callback": set_separator,
                "help": "What separates the fields of .csv and .tsv files, such as ';'.",
            },
        ),
        (
            ("--decimal",),
            {
                "type": click.Choice([".", ","]),
                "default": ".",
                "callback": set_one("decimal"),
                "help": "What .csv and .tsv files write before decimals; with ',' the fields of .csv files "
                "are separated by ';' unless --separator says otherwise.",
            },
        ),
        (
            ("--index",),
            {
                "metavar": "NAME",
                "callback": set_one("index_column"),
                "help": "The column that names the rows: no data, rows of several tables are matched by it.",
            },
        ),
        (
            ("--columns",),
            {
                "metavar": "NAMES",
                "multiple": True,
                "callback": set_columns,
                "help": "The columns to take, with commas between; once for all tables or once for each.",
            },
        ),
        (
            ("--drop",),
            {
                "metavar": "NAMES",
                "multiple": True,
                "callback": set_drop,
                "help": "Columns to leave out of the tables that have them.",
            },
        ),
    )
    for names, settings in reversed(options):
        command = click.option(*names, expose_value=False, is_eager=True, **settings)(command)
    return command


def _names(value: str) -> tuple[str, ...]:
    """Names with commas between them; one that holds a comma stands in quotes."""
    return tuple(name.strip() for row in csv.reader([value], skipinitialspace=True) for name in row)


def missing_option(command: Callable[..., None]) -> Callable[..., None]:
    def set_missing(ctx: click.Context, param: click.Parameter, value: str) -> str:
        _set(ctx, missing=value != "error")
        return value

    def set_na(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> None:
        _set(ctx, na=values)

    command = click.option(
        "--na",
        metavar="VALUE",
        multiple=True,
        expose_value=False,
        is_eager=True,
        callback=set_na,
        help="A number or a text that says that a value is missing, such as -999; repeatable.",
    )(command)
    return click.option(
        "--missing",
        type=click.Choice(["error", "drop", "em"]),
        default="error",
        show_default=True,
        is_eager=True,
        callback=set_missing,
        help="Of missing values (empty fields, NA, NaN): refuse them, leave their rows out, or estimate the "
        "moments by maximum likelihood.",
    )(command)


model_option = click.option(
    "-o",
    "--output",
    default="model.safetensors",
    show_default=True,
    metavar="FILE",
    help="Where the model goes.",
)


def threads_option(command: Callable[..., None]) -> Callable[..., None]:
    def set_threads(ctx: click.Context, param: click.Parameter, value: int | None) -> None:
        if value is not None:
            set_num_threads(value)
            ctx.call_on_close(lambda: set_num_threads(None))

    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        expose_value=False,
        callback=set_threads,
        help="Threads to use; the results do not depend on it.  [default: all CPUs]",
    )(command)


def rows_of_chunk(*tables: "NDArray[Any]") -> int:
    return max(1, CHUNK * len(tables[0]) // sum(table.nbytes for table in tables))


def by_chunks(label: str, work: Callable[..., Any], *tables: "NDArray[Any]") -> Iterator[Any]:
    """What ``work`` makes of some megabytes of rows after the other, with a progress bar on a terminal."""
    from tqdm import tqdm

    n_rows, size = len(tables[0]), rows_of_chunk(*tables)
    # disable=None: no bar where stderr is no terminal.
    with tqdm(
        total=n_rows, desc=label, unit=" rows", unit_scale=True, leave=False, delay=PATIENCE, disable=None
    ) as bar:
        for start in range(0, n_rows, size):
            chunk = [table[start : start + size] for table in tables]
            try:
                made = work(*chunk)
            except ValueError as error:
                if start == 0:
                    raise
                raise ValueError(f"{error} (counted from row {start} of the file)") from error
            yield made
            bar.update(len(chunk[0]))


def read_pair(x: Source, y: Source) -> tuple[Table, Table]:
    x_table, y_table = read_tables([x, y])
    if len(x_table.values) != len(y_table.values):
        raise ValueError(
            f"X and Y must have the same rows, got {len(x_table.values)} in {x.path} "
            f"and {len(y_table.values)} in {y.path}{_of_headers(x_table, y_table)}"
        )
    return x_table, y_table


def _of_headers(x: Table, y: Table) -> str:
    """A hint where one line read as a header, or as none, would explain the difference."""
    differ = abs(len(x.values) - len(y.values)) == 1 and (x.names is None) != (y.names is None)
    return " (one has a header, the other none: --header or --no-header says what is so)" if differ else ""
