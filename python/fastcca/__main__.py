"""``python -m fastcca`` is the command ``fastcca``."""

from fastcca.cli import main

if __name__ == "__main__":
    main(prog_name="fastcca")
