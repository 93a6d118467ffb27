"""What commands take: tables from files, pairs of them, a number of threads."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from fastcca._config import set_num_threads
from fastcca.cli._tables import Table, read_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Source",
    "by_chunks",
    "header_option",
    "missing_option",
    "read_pair",
    "read_views",
    "rows_of_chunk",
    "source_argument",
    "source_arguments",
    "threads_option",
]

# One chunk of both views, in bytes.
CHUNK = 2**24
# Seconds before a progress bar appears.
PATIENCE = 0.5


_HEADER = "fastcca.header"
_MISSING = "fastcca.missing"


class Source(NamedTuple):
    """A file on the command line, and which of its arrays."""

    path: Path
    key: str | None

    @property
    def name(self) -> str:
        """What a view of it is called."""
        return self.key or self.path.stem

    def read(self) -> Table:
        context = click.get_current_context(silent=True)
        meta = {} if context is None else context.meta
        return read_table(*self, header=meta.get(_HEADER), missing=meta.get(_MISSING, "error") != "error")


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
    tables: dict[str, Table] = {}
    for source in sources:
        name = source.name
        if name in tables:
            raise click.UsageError(f"two views are called {name!r}: rename a file, or choose FILE.npz:NAME")
        tables[name] = source.read()
    rows = {name: len(table.values) for name, table in tables.items()}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{count} in {name}" for name, count in rows.items())
        raise ValueError(f"the views must have the same rows, got {counts}")
    return tables


def header_option(command: Callable[..., None]) -> Callable[..., None]:
    def set_header(ctx: click.Context, param: click.Parameter, value: bool | None) -> None:
        ctx.meta[_HEADER] = value

    return click.option(
        "--header/--no-header",
        default=None,
        expose_value=False,
        is_eager=True,
        callback=set_header,
        help="Whether the first line of .csv and .tsv files names the columns.  [default: as it looks]",
    )(command)


def missing_option(command: Callable[..., None]) -> Callable[..., None]:
    def set_missing(ctx: click.Context, param: click.Parameter, value: str) -> str:
        ctx.meta[_MISSING] = value
        return value

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
    x_table, y_table = x.read(), y.read()
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
