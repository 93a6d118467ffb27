"""``fastcca fit``: from two tables to a model in a file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import numpy as np

from fastcca import streaming
from fastcca.cli._input import (
    Source,
    columns_are_chosen,
    missing_option,
    model_option,
    read_pair,
    read_views,
    reading_of_tables,
    rows_of_chunk,
    source_argument,
    source_arguments,
    table_options,
    threads_option,
)
from fastcca.cli._output import describe
from fastcca.cli._program import main
from fastcca.cli._tables import Reading, Table, check_output

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastcca.cca.linear import CCA

__all__ = ["fit"]

# Above this many bytes of input, fit reads chunk by chunk with a progress bar.
LONG = 2**28
# Seconds to wait for a scheduler.
CONNECT = 10


@main.command()
@click.argument("x", callback=source_argument)
@click.argument("y", callback=source_argument)
@click.argument("more", nargs=-1, callback=source_arguments)
@click.option("-k", "--components", type=click.IntRange(min=1), help="Pairs of variates.  [default: all]")
@click.option("--reg", type=float, help="Ridge added to the covariance of X, and of Y.  [default: 0]")
@click.option("--reg-y", type=float, help="Ridge for Y where it differs.")
@click.option("--scale", is_flag=True, help="Give every column unit variance first.")
@click.option(
    "--solver",
    type=click.Choice(["auto", "covariance", "qr", "gram"]),
    default="auto",
    show_default=True,
    help="How to solve.",
)
@click.option(
    "--cv",
    type=click.IntRange(min=2),
    metavar="FOLDS",
    help="Choose the ridge by cross-validation with this many folds.",
)
@click.option(
    "--method",
    "--model",
    "model",
    type=click.Choice(["cca", "kernel-cca", "deep-cca", "mcca", "gcca", "pls", "sparse"]),
    help="What to fit.  [default: cca; mcca to more than two tables]",
)
@click.option(
    "--kernel",
    type=click.Choice(["rbf", "laplacian", "polynomial", "linear", "cosine", "precomputed"]),
    help="kernel-cca: of both views; precomputed: the tables are kernel matrices.  [default: rbf]",
)
@click.option(
    "--penalty",
    type=float,
    help="sparse: bound of the 1-norm, above 0 to 1 (no sparsity).  [default: 0.3]",
)
@click.option("--gamma", type=float, metavar="WIDTH", help="kernel-cca.  [default: by the median distance]")
@click.option("--rank", type=click.IntRange(min=1), help="kernel-cca: landmarks.  [default: 1000]")
@click.option("--epochs", type=click.IntRange(min=1), help="deep-cca: passes over the data.")
@click.option("--seed", type=int, default=0, show_default=True, help="deep-cca: of all that is drawn.")
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="cca: by dask, tcp://HOST:PORT or threads, processes or synchronous; workers read the files.",
)
@click.option(
    "--checkpoint",
    metavar="FILE",
    help="cca: keep what is read so far here, and go on from there.",
)
@model_option
@missing_option
@table_options
@threads_option
def fit(
    x: Source,
    y: Source,
    more: tuple[Source, ...],
    components: int | None,
    reg: float | None,
    reg_y: float | None,
    scale: bool,
    solver: Literal["auto", "covariance", "qr", "gram"],
    cv: int | None,
    model: str | None,
    kernel: str | None,
    penalty: float | None,
    gamma: float | None,
    rank: int | None,
    epochs: int | None,
    seed: int,
    scheduler: str | None,
    checkpoint: str | None,
    output: str,
    missing: Literal["error", "drop", "em"],
) -> None:
    """Fit a model to two tables with the same rows, X and Y, or to more of them, and save it."""
    model = model or ("mcca" if more else "cca")
    if more and model not in ("mcca", "gcca"):
        raise click.UsageError(f"--method {model} takes two tables, got {2 + len(more)}")
    if penalty is not None and model != "sparse":
        raise click.UsageError("--penalty is for --method sparse")
    if model in ("mcca", "gcca", "pls", "sparse") and (solver != "auto" or reg_y is not None):
        raise click.UsageError("--solver and --reg-y are for --method cca")
    if model in ("pls", "sparse") and (reg is not None or scale):
        raise click.UsageError(f"--reg and --scale are not for --method {model}, which scales its columns")
    if model != "kernel-cca" and (kernel, gamma, rank) != (None, None, None):
        raise click.UsageError("--kernel, --gamma and --rank are for --method kernel-cca")
    if model != "deep-cca" and epochs is not None:
        raise click.UsageError("--epochs is for --method deep-cca")
    if model == "deep-cca" and (cv is not None or solver != "auto" or scale):
        raise click.UsageError("--cv, --solver and --scale are for --method cca")
    if model == "kernel-cca" and (solver != "auto" or scale):
        raise click.UsageError("--solver and --scale are for --method cca")
    if missing != "error" and model not in ("cca", "pls", "mcca", "gcca"):
        raise click.UsageError("--missing is for --method cca, pls, mcca and gcca")
    if checkpoint is not None and (model != "cca" or cv is not None or solver not in ("auto", "covariance")):
        raise click.UsageError("--checkpoint is for --method cca by moments, without --cv")
    if scheduler is not None and (
        model != "cca" or solver not in ("auto", "covariance") or checkpoint is not None
    ):
        raise click.UsageError("--scheduler is for --method cca by moments, without --checkpoint")
    if missing != "error" and (scheduler is not None or checkpoint is not None):
        raise click.UsageError("--missing goes with neither --scheduler nor --checkpoint")
    check_output(output, (".safetensors",), inputs=(x.path, y.path, *(source.path for source in more)))
    search = None
    if model == "deep-cca":
        fitted = _fit_deep(x, y, components, reg, reg_y, epochs, seed)
    elif model == "kernel-cca":
        fitted, search = _fit_kernel(x, y, components, reg, reg_y, cv, kernel, gamma, rank)
    elif model in ("mcca", "gcca"):
        fitted, search = _fit_views((x, y, *more), model, components, reg, scale, cv, missing)
    elif model in ("pls", "sparse"):
        fitted, search = _fit_pair(x, y, model, components, penalty, cv, missing)
    elif scheduler is not None:
        fitted, search = _fit_by_dask(x, y, components, reg, reg_y, scale, cv, scheduler)
    else:
        fitted, search = _fit_linear(x, y, components, reg, reg_y, scale, solver, cv, checkpoint, missing)
    fitted.save(output)
    if checkpoint is not None:  # the model is on the disk
        Path(checkpoint).unlink(missing_ok=True)
    describe(fitted, search)
    click.echo(f"saved to {output}")


def _fit_deep(
    x: Source,
    y: Source,
    components: int | None,
    reg: float | None,
    reg_y: float | None,
    epochs: int | None,
    seed: int,
) -> Any:
    try:
        from fastcca.deep import DeepCCA
    except ImportError as error:
        raise click.UsageError(str(error)) from None
    x_table, y_table = read_pair(x, y)
    x_reg = 1e-3 if reg is None else reg
    fitted = DeepCCA(
        10 if components is None else components,
        reg=x_reg if reg_y is None else (x_reg, reg_y),
        n_epochs=epochs,
        random_state=seed,
        verbose=sys.stderr.isatty(),
    ).fit(x_table.values, y_table.values)
    _set_names(fitted, x_table, y_table)
    click.echo(f"{x.path} and {y.path}, {len(x_table.values)} rows")
    return fitted


def _fit_kernel(
    x: Source,
    y: Source,
    components: int | None,
    reg: float | None,
    reg_y: float | None,
    cv: int | None,
    kernel: str | None,
    gamma: float | None,
    rank: int | None,
) -> tuple[Any, Any]:
    from fastcca.cca.kernel import KernelCCA
    from fastcca.cca.model_selection import KernelCCACV

    if cv is not None and (reg, reg_y, gamma) != (None, None, None):
        raise click.UsageError("--cv chooses itself: it goes with neither --reg, --reg-y nor --gamma")
    search = None
    x_table, y_table = read_pair(x, y)
    views = x_table.values, y_table.values
    options: dict[str, Any] = {
        "n_components": components,
        "kernel": kernel or "rbf",
        "rank": rank or 1000,
        "verbose": sys.stderr.isatty(),
    }
    if cv is not None:
        search = KernelCCACV(cv=cv, **options).fit(*views)
        fitted = search.best_estimator_
    else:
        x_reg = 1e-4 if reg is None else reg
        fitted = KernelCCA(
            gamma="median" if gamma is None else gamma,
            reg=x_reg if reg_y is None else (x_reg, reg_y),
            **options,
        ).fit(*views)
    _set_names(fitted, x_table, y_table)
    click.echo(f"{x.path} and {y.path}, {len(x_table.values)} rows")
    return fitted, search


def _fit_linear(
    x: Source,
    y: Source,
    components: int | None,
    reg: float | None,
    reg_y: float | None,
    scale: bool,
    solver: Literal["auto", "covariance", "qr", "gram"],
    cv: int | None,
    checkpoint: str | None,
    missing: Literal["error", "drop", "em"],
) -> tuple[Any, Any]:
    from fastcca.cca.linear import CCA
    from fastcca.cca.model_selection import CCACV

    if cv is not None and (reg is not None or reg_y is not None or solver != "auto"):
        raise click.UsageError(
            "--cv chooses the ridge itself: it goes with neither --reg, --reg-y nor --solver"
        )
    search = None
    x_table, y_table = read_pair(x, y)
    views = _values(x_table, missing), _values(y_table, missing)
    if cv is not None:
        search = CCACV(components, cv=cv, scale=scale, missing=missing).fit(*views)
        fitted = search.best_estimator_
    else:
        x_reg = 0.0 if reg is None else reg
        ridge = x_reg if reg_y is None else (x_reg, reg_y)
        cca = CCA(n_components=components, reg=ridge, scale=scale, solver=solver, missing=missing)
        fitted = _fit_cca(cca, *views, checkpoint)
    _set_names(fitted, x_table, y_table)
    click.echo(f"{x.path} and {y.path}, {len(x_table.values)} rows")
    return fitted, search


def _fit_by_dask(
    x: Source,
    y: Source,
    components: int | None,
    reg: float | None,
    reg_y: float | None,
    scale: bool,
    cv: int | None,
    scheduler: str,
) -> tuple[Any, Any]:
    try:
        import dask

        from fastcca import distributed
    except ImportError as error:
        raise click.UsageError(str(error)) from None
    from fastcca.cca.linear import CCA
    from fastcca.cca.model_selection import CCACV

    if cv is not None and (reg is not None or reg_y is not None):
        raise click.UsageError("--cv chooses the ridge itself: it goes with neither --reg nor --reg-y")
    if reading_of_tables() != Reading() or columns_are_chosen():
        raise click.UsageError("--scheduler reads files as they are: without --columns, --drop, --index")
    paths = []
    for source in (x, y):
        if source.path.suffix.lower() not in (".npy", ".npz", ".parquet"):
            raise click.UsageError(f"{source.path}: --scheduler takes .npy, .npz and .parquet files")
        paths.append(f"{source.path.absolute()}:{source.key}" if source.key else source.path.absolute())
    chunks = streaming.read(*paths)
    x_reg = 0.0 if reg is None else reg
    model: Any = (
        CCA(components, reg=x_reg if reg_y is None else (x_reg, reg_y), scale=scale)
        if cv is None
        else CCACV(components, scale=scale, cv=cv)
    )
    if "://" in scheduler:
        import distributed as dask_distributed

        connect: Any = dask_distributed.Client
        with connect(scheduler, timeout=CONNECT):
            fitted = distributed.fit(model, chunks)
    else:
        if scheduler not in ("threads", "processes", "synchronous"):
            raise click.UsageError(
                "--scheduler must be an address such as tcp://HOST:PORT, threads, processes or "
                f"synchronous, got {scheduler!r}"
            )
        with dask.config.set(scheduler=scheduler):
            fitted = distributed.fit(model, chunks)
    click.echo(f"{x.path} and {y.path}, {chunks.n_rows} rows")
    return (fitted, None) if cv is None else (fitted.best_estimator_, fitted)


def _fit_views(
    sources: tuple[Source, ...],
    method: str,
    components: int | None,
    reg: float | None,
    scale: bool,
    cv: int | None,
    missing: Literal["error", "drop", "em"],
) -> tuple[Any, Any]:
    from fastcca.cca.multiview import GCCA, MCCA, MCCACV

    if cv is not None and reg is not None:
        raise click.UsageError("--cv chooses the ridge itself: it does not go with --reg")
    tables = read_views(sources)
    views = {name: _values(table, missing) for name, table in tables.items()}
    search = None
    if cv is not None:
        chosen: Literal["mcca", "gcca"] = "mcca" if method == "mcca" else "gcca"
        search = MCCACV(components, method=chosen, cv=cv, scale=scale, missing=missing).fit(views)
        fitted = search.best_estimator_
    else:
        kind = MCCA if method == "mcca" else GCCA
        ridge = 0.0 if reg is None else reg
        fitted = kind(components, reg=ridge, scale=scale, missing=missing).fit(views)
    for name, table in tables.items():
        if table.names is not None:
            fitted._columns[name] = np.array(table.names, dtype=object)
    paths = ", ".join(str(source.path) for source in sources)
    click.echo(f"{paths}, {len(next(iter(views.values())))} rows")
    return fitted, search


def _fit_pair(
    x: Source,
    y: Source,
    method: str,
    components: int | None,
    penalty: float | None,
    cv: int | None,
    missing: Literal["error", "drop", "em"],
) -> tuple[Any, Any]:
    from fastcca.cca.pls import PLSRegression, PLSRegressionCV
    from fastcca.cca.sparse import SparseCCA, SparseCCACV

    x_table, y_table = read_pair(x, y)
    views = _values(x_table, missing), _values(y_table, missing)
    search: Any = None
    fitted: Any
    if cv is not None and penalty is not None:
        raise click.UsageError("--cv chooses the penalty itself: it does not go with --penalty")
    if method == "pls" and cv is not None:
        search = PLSRegressionCV(components or 10, cv=cv, missing=missing).fit(*views)
    elif method == "pls":
        fitted = PLSRegression(components or min(2, views[0].shape[1]), missing=missing).fit(*views)
    elif cv is not None:
        search = SparseCCACV(components or 1, cv=cv).fit(*views)
    else:
        fitted = SparseCCA(components or 1, 0.3 if penalty is None else penalty).fit(*views)
    if search is not None:
        fitted = search.best_estimator_
    _set_names(fitted, x_table, y_table)
    click.echo(f"{x.path} and {y.path}, {len(x_table.values)} rows")
    return fitted, search


class _Columns(np.ndarray):
    """A table whose columns have names, for messages about them."""

    columns: list[str]


def _values(table: Table, missing: str) -> "NDArray[Any]":
    if missing == "error" or table.names is None:
        return table.values
    values = table.values.view(_Columns)
    values.columns = table.names
    return values


def _set_names(fitted: Any, x: Table, y: Table) -> None:
    for name, table in (("feature_names_in_", x), ("y_feature_names_in_", y)):
        if table.names is not None:
            setattr(fitted, name, np.array(table.names, dtype=object))


def _fit_cca(cca: "CCA", x: "NDArray[Any]", y: "NDArray[Any]", checkpoint: str | None) -> "CCA":
    """Fit; where that takes long, from moments gathered with a progress bar. The fit is the same."""
    from_moments = cca.solver in ("auto", "covariance") and len(x) > max(x.shape[1], y.shape[1])
    if checkpoint is not None and not from_moments:
        raise click.UsageError("--checkpoint is for tables with more rows than columns")
    if (x.nbytes + y.nbytes <= LONG and checkpoint is None) or not from_moments or cca.missing != "error":
        return cca.fit(x, y)
    # products in double, as the fit wants them of moments that it is given
    moments = streaming.moments(
        streaming.read(x, y, rows=rows_of_chunk(x, y)),
        dtype=np.float64,
        checkpoint=checkpoint,
        progress=sys.stderr.isatty(),
    )
    cca._fit_arrays(*cca._check_pair(x, y, None, reset=True), moments)  # fit, which knows the moments already
    return cca
