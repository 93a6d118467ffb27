"""The program itself: its errors in one line each, and the group that the commands join."""

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import click

from fastcca._models.atomic_write import FULL
from fastcca.errors import NumericalError

__all__ = ["main"]


class _Program(click.Group):
    """A group that reports errors in one line, without a traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        run: Callable[..., Any] = super().main
        if not options.pop("standalone_mode", True):
            return run(*args, standalone_mode=False, **options)
        with warnings.catch_warnings():
            # Only what is meant for the user.
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _once(_show_warning)
            try:
                # An int is the code of ctx.exit(), which ends --help and --version.
                code = run(*args, standalone_mode=False, **options) or 0
                if sys.stdout is not None:  # closed by the caller: nobody wants to read
                    sys.stdout.flush()
            except click.UsageError as error:
                command = error.ctx.command_path if error.ctx else "fastcca"
                code = _fail(f"{error.format_message()} (see {command} --help)", 2)
            except click.Abort:
                code = _fail("interrupted", 130)
            except BrokenPipeError:
                # The reader of our output has gone: nothing to report.
                _drop_output()
                code = 1
            except click.ClickException as error:
                code = _fail(error.format_message(), 2)
            except OSError as error:
                named = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error
                if not error.filename and error.errno in FULL:
                    _drop_output()
                    named = f"standard output: {error.strerror}"
                code = _fail(str(named), 2)
            except (ValueError, ImportError, MemoryError, NumericalError) as error:
                code = _fail(str(error) or "out of memory", 2)
        sys.exit(code)


def _drop_output() -> None:
    """What could not be written is not tried again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    click.echo(f"fastcca: error: {' '.join(message.split())}", err=True)
    return code


def _once(show: Callable[..., None]) -> Callable[..., None]:
    """Each message the first time alone, wherever it arises."""
    shown: set[str] = set()

    def show_new(message: Warning | str, *args: Any, **options: Any) -> None:
        if str(message) not in shown:
            shown.add(str(message))
            show(message, *args, **options)

    return show_new


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"fastcca: warning: {' '.join(str(message).split())}", err=True)


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
