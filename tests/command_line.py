"""The command line in this process."""

from click.testing import CliRunner

from fastcca import cli


def run(*arguments):
    """The program in this process: exit code, stdout, stderr."""
    result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def run_well(*arguments):
    """Its stdout, of a run without an error."""
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    return out
