"""Where data files are looked for."""

import os
import sys
from pathlib import Path

from fastcca.datasets._sources import hint

__all__ = ["HOME_HINT", "get_data_home", "require"]

HOME_HINT = "the data home is the argument data_home, else the environment variable FASTCCA_DATA"


def get_data_home(data_home: str | os.PathLike[str] | None = None) -> Path:
    """The folder in which the loaders look for data; it need not exist.

    Parameters
    ----------
    data_home : path or None
        The folder itself. ``None``: the environment variable ``FASTCCA_DATA``, else the folder
        ``fastcca`` in the user's cache folder (``%LOCALAPPDATA%`` on Windows, ``~/Library/Caches`` on
        macOS, ``$XDG_CACHE_HOME`` or ``~/.cache`` elsewhere).

    Returns
    -------
    pathlib.Path

    Examples
    --------
    >>> from fastcca.datasets import get_data_home
    >>> get_data_home("my/data").parts
    ('my', 'data')
    """
    chosen = data_home or os.environ.get("FASTCCA_DATA")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        cache = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        cache = "~/Library/Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "fastcca"


def require(path: Path, what: str) -> Path:
    """``path``, or a ``FileNotFoundError`` that says which data set it belongs to and where homes are."""
    if not path.is_file():
        raise FileNotFoundError(f"{what}: there is no file {path} ({HOME_HINT}){hint(what)}")
    return path
