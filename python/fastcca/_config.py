"""What this installation is and how many threads it uses."""

import os
import re
import warnings
from importlib.metadata import version
from typing import Any

from fastcca import _core
from fastcca._arguments.parameters import thread_count

__all__ = ["build_info", "get_num_threads", "set_num_threads"]


def _check_environment() -> None:
    """The core ignores what is no number of threads; here it is said, once, at the import."""
    text = os.environ.get("FASTCCA_NUM_THREADS", "")
    if text and not re.fullmatch(r"\s*\+?0*[1-9]\d*\s*(,.*)?", text):
        warnings.warn(
            f"FASTCCA_NUM_THREADS={text!r} is ignored: expected a positive integer", UserWarning, stacklevel=3
        )


_check_environment()


def build_info() -> dict[str, Any]:
    """What this installation was built with and what it runs on.

    Returns
    -------
    dict
        ``version``; ``isa``, the CPU level in use; ``amx``, whether the search uses the matrix unit
        (AMX) that some CPUs of level v4 have; ``levels``, those built; ``compiler``; ``eigen``, the
        version of Eigen; ``threads``, the number of threads used where nothing else is said.

    Examples
    --------
    >>> import fastcca
    >>> info = fastcca.build_info()
    >>> info["isa"] in info["levels"]
    True
    """
    return {
        "version": version("fastcca"),
        "isa": _core.level(),
        "amx": _core.use_amx(),
        "levels": sorted(_core.levels_built),
        "compiler": _core.compiler(),
        "eigen": _core.eigen,
        "threads": _core.num_threads(),
    }


def set_num_threads(n: int | None) -> None:
    """Set the number of threads that every later call uses unless it is given ``n_threads``.

    Parameters
    ----------
    n : int or None
        At least 1; beyond 8 no more are used than there are CPUs. ``None`` returns to the default
        (``FASTCCA_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the CPUs that this process may use).
        The results do not depend on it.

    Raises
    ------
    ValueError
        If ``n`` is below 1.

    Examples
    --------
    >>> import fastcca
    >>> fastcca.set_num_threads(1)
    >>> fastcca.get_num_threads()
    1
    >>> fastcca.set_num_threads(None)
    """
    _core.set_num_threads(thread_count(n, "n"))


def get_num_threads() -> int:
    """The number of threads that calls use unless they are given ``n_threads``."""
    return _core.num_threads()
