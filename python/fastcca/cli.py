"""The command line: fit, transform and score from files, say what is installed, show a demonstration.

Exit codes: 0 done; 2 the user's error, told in one line on stderr; 130 interrupted; 1 anything else.
What takes long to import is imported by the command that needs it.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click
import numpy as np

from fastcca._build import build_info, set_num_threads
from fastcca._tables import Table, check_output, read_table, table_writer
from fastcca.errors import NumericalError
from fastcca.functional.moments import Moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastcca.cca import CCA

__all__ = ["main"]

# Above this many bytes of input, fit reads chunk by chunk with a progress bar.
_LONG = 2**28
# One chunk of both views.
_CHUNK = 2**25
# Seconds before a progress bar appears.
_PATIENCE = 0.5


class _Program(click.Group):
    """A group that tells errors in one line, without a traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        run: Callable[..., Any] = super().main
        if not options.pop("standalone_mode", True):
            return run(*args, standalone_mode=False, **options)
        with warnings.catch_warnings():
            # Only what is meant for the user.
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _show_warning
            try:
                # An int is the code of ctx.exit(), which ends --help and --version.
                code = run(*args, standalone_mode=False, **options) or 0
                sys.stdout.flush()
            except click.UsageError as error:
                command = error.ctx.command_path if error.ctx else "fastcca"
                code = _fail(f"{error.format_message()} (see {command} --help)", 2)
            except click.Abort:
                code = _fail("interrupted", 130)
            except BrokenPipeError:
                # The reader of our output has gone: nothing to tell, and nothing to flush at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                code = 1
            except click.ClickException as error:
                code = _fail(error.format_message(), 2)
            except OSError as error:
                named = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error
                code = _fail(str(named), 2)
            except (ValueError, ImportError, MemoryError, NumericalError) as error:
                code = _fail(str(error) or "out of memory", 2)
        sys.exit(code)


def _fail(message: str, code: int) -> int:
    click.echo(f"fastcca: error: {' '.join(message.split())}", err=True)
    return code


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"fastcca: warning: {' '.join(str(message).split())}", err=True)


class _Source(NamedTuple):
    """A file on the command line, and which of its arrays."""

    path: Path
    key: str | None

    def read(self) -> Table:
        return read_table(*self)


def _source(ctx: click.Context, param: click.Parameter, value: str) -> _Source:
    """``FILE`` or ``FILE:NAME``; the name only for the formats that hold several arrays."""
    path, colon, key = value.rpartition(":")
    if colon and path.lower().endswith((".npz", ".mat")):
        return _Source(Path(path), key)
    return _Source(Path(value), None)


def _threads(command: Callable[..., None]) -> Callable[..., None]:
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


@click.group("fastcca", cls=_Program, invoke_without_command=True)
@click.version_option(package_name="fastcca", message="fastcca %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Correlated representations of two views at the speed of matrix multiplication.

    Tables are .npy (read in place: files larger than memory work), .npz, .csv, .tsv, .mat or .parquet
    files, one row a sample. FILE.npz:NAME and FILE.mat:NAME choose one of several arrays.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


# ---- fit ---------------------------------------------------------------------------------------------


@main.command()
@click.argument("x", callback=_source)
@click.argument("y", callback=_source)
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
    help="Choose the ridge by cross-validation with so many folds.",
)
@click.option(
    "--model",
    type=click.Choice(["cca", "kernel-cca", "deep-cca"]),
    default="cca",
    show_default=True,
    help="What to fit.",
)
@click.option(
    "--kernel",
    type=click.Choice(["rbf", "laplacian", "polynomial", "linear", "cosine"]),
    help="kernel-cca: of both views.  [default: rbf]",
)
@click.option("--gamma", type=float, metavar="WIDTH", help="kernel-cca.  [default: by the median distance]")
@click.option("--rank", type=click.IntRange(min=1), help="kernel-cca: landmarks.  [default: 1000]")
@click.option("--epochs", type=click.IntRange(min=1), help="deep-cca: passes over the data.")
@click.option("--seed", type=int, default=0, show_default=True, help="deep-cca: of all that is drawn.")
@click.option(
    "-o", "--output", default="model.npz", show_default=True, metavar="FILE", help="Where the model goes."
)
@_threads
def fit(
    x: _Source,
    y: _Source,
    components: int | None,
    reg: float | None,
    reg_y: float | None,
    scale: bool,
    solver: Literal["auto", "covariance", "qr", "gram"],
    cv: int | None,
    model: str,
    kernel: str | None,
    gamma: float | None,
    rank: int | None,
    epochs: int | None,
    seed: int,
    output: str,
) -> None:
    """Fit a model to two tables with the same rows, X and Y, and save it."""
    if model != "kernel-cca" and (kernel, gamma, rank) != (None, None, None):
        raise click.UsageError("--kernel, --gamma and --rank are for --model kernel-cca")
    if model != "deep-cca" and epochs is not None:
        raise click.UsageError("--epochs is for --model deep-cca")
    if model == "deep-cca" and (cv is not None or solver != "auto" or scale):
        raise click.UsageError("--cv, --solver and --scale are for --model cca")
    if model == "kernel-cca" and (solver != "auto" or scale):
        raise click.UsageError("--solver and --scale are for --model cca")
    check_output(output, (".safetensors", ".npz") if model == "deep-cca" else (".npz",))
    if model == "deep-cca":
        fitted = _fit_deep(x, y, components, reg, reg_y, epochs, seed)
    elif model == "kernel-cca":
        fitted = _fit_kernel(x, y, components, reg, reg_y, cv, kernel, gamma, rank)
    else:
        fitted = _fit_linear(x, y, components, reg, reg_y, scale, solver, cv)
    fitted.save(output)
    _describe(fitted)
    click.echo(f"saved to {output}")


def _fit_deep(
    x: _Source,
    y: _Source,
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
    x_table, y_table = _read_pair(x, y)
    x_reg = 1e-3 if reg is None else reg
    fitted = DeepCCA(
        10 if components is None else components,
        reg=x_reg if reg_y is None else (x_reg, reg_y),
        epochs=epochs,
        random_state=seed,
        verbose=sys.stderr.isatty(),
    ).fit(x_table.values, y_table.values)
    _set_names(fitted, x_table, y_table)
    click.echo(f"{x.path} and {y.path}, {len(x_table.values)} rows")
    return fitted


def _fit_kernel(
    x: _Source,
    y: _Source,
    components: int | None,
    reg: float | None,
    reg_y: float | None,
    cv: int | None,
    kernel: str | None,
    gamma: float | None,
    rank: int | None,
) -> Any:
    from fastcca.kernel_cca import KernelCCA
    from fastcca.kernel_cca_cv import KernelCCACV

    if cv is not None and (reg, reg_y, gamma) != (None, None, None):
        raise click.UsageError("--cv chooses itself: it goes with neither --reg, --reg-y nor --gamma")
    x_table, y_table = _read_pair(x, y)
    views = x_table.values, y_table.values
    options: dict[str, Any] = {
        "n_components": components,
        "kernel": kernel or "rbf",
        "rank": rank or 1000,
        "verbose": sys.stderr.isatty(),
    }
    if cv is not None:
        fitted = KernelCCACV(cv=cv, **options).fit(*views).best_estimator_
    else:
        x_reg = 1e-4 if reg is None else reg
        fitted = KernelCCA(
            gamma="median" if gamma is None else gamma,
            reg=x_reg if reg_y is None else (x_reg, reg_y),
            **options,
        ).fit(*views)
    _set_names(fitted, x_table, y_table)
    click.echo(f"{x.path} and {y.path}, {len(x_table.values)} rows")
    return fitted


def _fit_linear(
    x: _Source,
    y: _Source,
    components: int | None,
    reg: float | None,
    reg_y: float | None,
    scale: bool,
    solver: Literal["auto", "covariance", "qr", "gram"],
    cv: int | None,
) -> Any:
    from fastcca.cca import CCA
    from fastcca.cca_cv import CCACV

    if cv is not None and (reg is not None or reg_y is not None or solver != "auto"):
        raise click.UsageError(
            "--cv chooses the ridge itself: it goes with neither --reg, --reg-y nor --solver"
        )
    x_table, y_table = _read_pair(x, y)
    if cv is not None:
        search = CCACV(n_components=components, scale=scale, cv=cv)
        fitted = search.fit(x_table.values, y_table.values).best_estimator_
    else:
        x_reg = 0.0 if reg is None else reg
        ridge = x_reg if reg_y is None else (x_reg, reg_y)
        cca = CCA(n_components=components, reg=ridge, scale=scale, solver=solver)
        fitted = _fit_cca(cca, x_table.values, y_table.values)
    _set_names(fitted, x_table, y_table)
    click.echo(f"{x.path} and {y.path}, {len(x_table.values)} rows")
    return fitted


def _set_names(fitted: Any, x: Table, y: Table) -> None:
    for name, table in (("feature_names_in_", x), ("y_feature_names_in_", y)):
        if table.names is not None:
            setattr(fitted, name, np.array(table.names, dtype=object))


def _fit_cca(cca: "CCA", x: "NDArray[Any]", y: "NDArray[Any]") -> "CCA":
    """Fit at once, or from moments gathered with a progress bar where that takes long and gives the same."""
    solved_from_moments = cca.solver in ("auto", "covariance") and len(x) > max(x.shape[1], y.shape[1])
    if x.nbytes + y.nbytes <= _LONG or not solved_from_moments:
        return cca.fit(x, y)
    moments = Moments()
    for _ in _by_chunks("reading", moments.update, x, y):
        pass
    return cca.fit_moments(moments)


def _by_chunks(label: str, work: Callable[..., Any], *tables: "NDArray[Any]") -> Iterator[Any]:
    """What ``work`` makes of some megabytes of rows after the other, with a progress bar on a terminal."""
    from tqdm import tqdm

    n_rows = len(tables[0])
    size = max(1, _CHUNK * n_rows // sum(table.nbytes for table in tables))
    # disable=None: no bar where stderr is no terminal.
    with tqdm(
        total=n_rows, desc=label, unit=" rows", unit_scale=True, leave=False, delay=_PATIENCE, disable=None
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


def _read_pair(x: _Source, y: _Source) -> tuple[Table, Table]:
    x_table, y_table = x.read(), y.read()
    if len(x_table.values) != len(y_table.values):
        raise ValueError(
            f"X and Y must have the same rows, got {len(x_table.values)} in {x.path} "
            f"and {len(y_table.values)} in {y.path}"
        )
    return x_table, y_table


# ---- transform and score -----------------------------------------------------------------------------


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("table", callback=_source)
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
@_threads
def transform(model: Path, table: _Source, view: str, output: str) -> None:
    """Project the rows of a TABLE of either view onto the variates of a saved MODEL."""
    from fastcca._persistence import load

    check_output(output)
    fitted = load(model)
    content = table.read()
    project = _projection(fitted, table, content, view)
    first = project(content.values[:1])
    names = list(fitted.get_feature_names_out())
    with table_writer(output, (len(content.values), first.shape[1]), first.dtype, names) as write:
        for scores in _by_chunks("transforming", project, content.values):
            write(scores)
    click.echo(f"{len(content.values)} rows, {first.shape[1]} variates, saved to {output}")


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("x", callback=_source)
@click.argument("y", callback=_source)
@_threads
def score(model: Path, x: _Source, y: _Source) -> None:
    """Correlations of the variates of a saved MODEL on two tables with the same rows."""
    from fastcca._persistence import load

    fitted = load(model)
    x_table, y_table = _read_pair(x, y)
    project_x = _projection(fitted, x, x_table, "x")
    project_y = _projection(fitted, y, y_table, "y")
    moments = Moments()

    def add(x_rows: "NDArray[Any]", y_rows: "NDArray[Any]") -> None:
        # In double also for float32, whose moments would be good to six digits.
        moments.update(project_x(x_rows).astype(np.float64), project_y(y_rows).astype(np.float64))

    for _ in _by_chunks("scoring", add, x_table.values, y_table.values):
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


def _projection(fitted: Any, source: _Source, table: Table, view: str) -> Callable[["NDArray[Any]"], Any]:
    """transform or transform_y, after a look at the columns' names."""
    expected = getattr(fitted, "feature_names_in_" if view == "x" else "y_feature_names_in_", None)
    if expected is not None:
        if table.names is not None and table.names != list(expected):
            _refuse_names(source, table.names, expected)
        # The names are in order, or the table has none; scikit-learn sees arrays, and would say so each time.
        warnings.filterwarnings("ignore", message=".*valid feature names")
    project: Callable[[Any], Any] = fitted.transform if view == "x" else fitted.transform_y
    return project


def _refuse_names(source: _Source, names: Sequence[str], expected: Sequence[str]) -> None:
    if len(names) != len(expected):
        raise ValueError(f"{source.path}: {len(names)} columns, the model was fitted with {len(expected)}")
    place, name, other = next(
        (i, a, b) for i, (a, b) in enumerate(zip(names, expected, strict=True)) if a != b
    )
    raise ValueError(
        f"{source.path}: column {place + 1} is {name!r}, the model was fitted with {other!r} there"
    )


# ---- info and demo -----------------------------------------------------------------------------------


@main.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
def info(model: Path | None) -> None:
    """Say what is installed, or what a saved MODEL is."""
    if model is not None:
        from fastcca._persistence import load

        _describe(load(model))
        return
    about = {name: ", ".join(v) if isinstance(v, list) else v for name, v in build_info().items()}
    _lines(about)


def _describe(fitted: Any) -> None:
    parameters = ", ".join(f"{name}={value!r}" for name, value in sorted(fitted.get_params().items()))
    lines = {
        "model": f"{type(fitted).__name__}({parameters})",
        "columns": f"{fitted.n_features_in_} in X, {fitted.n_y_features_in_} in Y",
        "components": fitted.n_components_,
        **({"solver": fitted.solver_} if hasattr(fitted, "solver_") else {}),
        **({"landmarks": _landmarks(fitted)} if hasattr(fitted, "x_landmarks_") else {}),
        "correlations": " ".join(f"{value:.4f}" for value in fitted.canonical_correlations_[:10])
        + (" …" if fitted.n_components_ > 10 else ""),
        "total": f"{fitted.canonical_correlations_.sum():.4f}",
    }
    _lines(lines)


def _landmarks(fitted: Any) -> str:
    left_out = f"{fitted.x_residual_:.2g} and {fitted.y_residual_:.2g} of the kernels left out"
    return f"{fitted.x_rank_} in X, {fitted.y_rank_} in Y; {left_out}"


def _lines(pairs: dict[str, Any]) -> None:
    width = max(map(len, pairs))
    for name, value in pairs.items():
        click.echo(f"{name:{width}}  {value}")


@main.command()
@click.option(
    "--data",
    type=click.Choice(["auto", "digits", "mnist"]),
    default="auto",
    show_default=True,
    help="Halves of handwritten digits: scikit-learn's, or MNIST where the data home has it.",
)
@click.option(
    "-k", "--components", type=click.IntRange(min=1), help="Pairs of variates.  [default: 10 or 50]"
)
@click.option(
    "-o",
    "--output",
    default="fastcca-demo.png",
    show_default=True,
    metavar="FILE",
    help="Where the picture goes, where matplotlib is installed.",
)
@_threads
def demo(data: str, components: int | None, output: str) -> None:
    """Learn what the left half of a digit says about its right half, and find one by the other."""
    from fastcca import _demo

    _demo.run(data, components, Path(output))
