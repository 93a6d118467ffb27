"""Arrays from IDX files, the format of MNIST, and from MATLAB files."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from fastcca.datasets._home import require

__all__ = ["read_idx", "read_mat"]

# IDX is big-endian: a magic number, the dimensions, the values. Its third byte says how these are stored.
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array in an IDX file, raw or gzipped (recognised by its content, not by its name).

    Raises
    ------
    ValueError
        If the file is damaged: the message names the path and what is wrong with it.
    """
    with open(path, "rb") as file:
        content = file.read()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: damaged gzip file ({error})") from error

    # Magic number: two zero bytes, the type of the values, the number of dimensions.
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        raise ValueError(
            f"{path}: not an IDX file, its first bytes are {content[:4].hex(' ') or 'missing'} "
            "(expected 00 00, a type code and the number of dimensions)"
        )
    dtype, n_dims = np.dtype(_DTYPES[content[2]]), content[3]
    start = 4 + 4 * n_dims
    if len(content) < start:
        raise ValueError(f"{path}: damaged IDX file, it ends inside its header of {start} bytes")
    shape = struct.unpack(f">{n_dims}I", content[4:start])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise ValueError(
            f"{path}: damaged IDX file, {len(content)} bytes where the dimensions {shape} need {expected}"
        )
    values = np.frombuffer(content, dtype=dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


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
