"""``fastcca info`` and ``fastcca demo``."""

from pathlib import Path

import click

from fastcca._config import build_info
from fastcca.cli._input import threads_option
from fastcca.cli._output import describe, print_lines
from fastcca.cli._program import main

__all__ = ["demo", "info"]


@main.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
def info(model: Path | None) -> None:
    """Say what is installed, or what a saved MODEL is."""
    if model is not None:
        from fastcca._load import load

        describe(load(model))
        return
    about = {name: ", ".join(v) if isinstance(v, list) else v for name, v in build_info().items()}
    print_lines(about)


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
    help="Where the figure goes, if matplotlib is installed.",
)
@threads_option
def demo(data: str, components: int | None, output: str) -> None:
    """Learn what the left half of a digit says about its right half, and find one by the other."""
    from fastcca.cli import _demo

    _demo.run(data, components, Path(output))
