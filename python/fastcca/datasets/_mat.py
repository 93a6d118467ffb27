"""Arrays from MATLAB files."""

from pathlib import Path
from typing import Any

from scipy.io import loadmat

from fastcca.datasets._home import require

__all__ = ["read_mat"]


def read_mat(path: Path, what: str, *names: str) -> dict[str, Any]:
    """Those of the named arrays that the file holds; ``what`` is the data set that it belongs to."""
    require(path, what)
    try:
        arrays = loadmat(path, variable_names=names)
    except MemoryError:
        raise
    except Exception as error:  # scipy raises whatever the damaged bytes lead it to
        raise ValueError(f"{path}: damaged MATLAB file ({error})") from error
    return {name: arrays[name] for name in names if name in arrays}
