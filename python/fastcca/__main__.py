"""``python -m fastcca`` is the command ``fastcca``."""

import os
import sys

__all__ = ["main"]

INTERRUPTED = 130


def main() -> None:
    """Run the program; an interrupt while it is still being imported ends it as any other does."""
    try:
        from fastcca.cli import main as program

        program(prog_name="fastcca")
    except KeyboardInterrupt:
        sys.stderr.write("fastcca: error: interrupted\n")
    except SystemExit as ended:
        if ended.code != INTERRUPTED:
            raise
    # At once: Python would end by the signal itself where it arrived in the midst of certain imports.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
