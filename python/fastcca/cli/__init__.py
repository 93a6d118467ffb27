"""The command line: fit, transform, score, test, report, plot, search and embed from files.

Exit codes: 0 done; 2 the user's error, reported in one line on stderr; 130 interrupted; 1 anything else.
What takes long to import is imported by the command that needs it.
"""

from fastcca.cli import _about, _embed, _fit, _inference, _plot, _report, _search, _similarity, _use
from fastcca.cli._program import main

__all__ = ["main"]

# Importing them has made them commands.
COMMANDS = (
    _fit.fit,
    _use.transform,
    _use.score,
    _report.report,
    _inference.test,
    _plot.plot,
    _embed.embed,
    _search.search,
    _similarity.similarity,
    _about.info,
    _about.demo,
)
