"""Named tensors and a text in one file, in the layout of safetensors.

Eight bytes (little-endian) give the length of a JSON header, which gives dtype, shape and place of each
tensor and may hold texts; the tensors' bytes follow without gaps. Any reader of safetensors opens such files.
"""

import json
import math
import os
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIZES", "Tensor", "read_tensors", "write_tensors"]

METADATA = "__metadata__"
# Bytes of one element by the format's names of dtypes.
SIZES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E5M2": 1,
    "F8_E4M3": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
}
MOST_OF_HEADER = 100_000_000  # bytes; the format's own limit
PIECE = 1 << 24


class Tensor(NamedTuple):
    """What a file holds under one name."""

    dtype: str  # a key of SIZES
    shape: tuple[int, ...]
    data: NDArray[np.uint8]  # its bytes, one after the other, in C order


def write_tensors(file: IO[bytes], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write from the file's position on."""
    # wide elements first: each then begins at a multiple of its size, as those who map the file need it
    order = sorted(tensors, key=lambda name: (-SIZES[tensors[name].dtype], name))
    header: dict[str, Any] = {METADATA: dict(metadata)}
    end = 0
    for name in order:
        dtype, shape, data = tensors[name]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + data.nbytes]}
        end += data.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MOST_OF_HEADER:
        raise ValueError(f"the header takes {len(text):,} bytes, the format allows {MOST_OF_HEADER:,}")
    _write(file, len(text).to_bytes(8, "little") + text)
    for name in order:
        _write(file, tensors[name].data.data)


def _write(file: IO[bytes], content: Any) -> None:
    left = memoryview(content)
    while left:
        count = file.write(left)  # a file without a buffer may take less than all
        left = left[count if count is not None else len(left) :]


def read_tensors(file: IO[bytes], *, alone: bool) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The texts and the tensors that begin at the file's position.

    Memory is taken for what the file is known to hold, not for what it claims.

    Parameters
    ----------
    file : binary file
        Afterwards its position is behind the tensors.
    alone : bool
        Whether the file must end there.

    Raises
    ------
    ValueError
        If it holds nothing of the kind, or ends early.
    """
    left = _left(file)
    length = int.from_bytes(_read(file, 8, left), "little")
    left = None if left is None else left - 8
    if length > MOST_OF_HEADER:
        raise ValueError("the header is longer than the format allows")
    text = bytes(_read(file, length, left))
    try:
        header = json.loads(text)
        metadata = header.pop(METADATA, {})
        entries = sorted((_entry(name, entry) for name, entry in header.items()), key=lambda e: e[3:])
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise ValueError("the header cannot be read") from error
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("the header cannot be read")
    end = 0
    for name, dtype, shape, start, stop in entries:
        if start != end or stop - start != SIZES[dtype] * math.prod(shape):
            raise ValueError(f"tensor {name!r} is not as large as its shape, or not in its place")
        end = stop
    if left is not None and (end > left - length or (alone and end < left - length)):
        raise ValueError(f"{left - length:,} bytes follow the header, which claims {end:,}")
    tensors = {
        name: Tensor(dtype, shape, _read(file, stop - start, left))
        for name, dtype, shape, start, stop in entries
    }
    return metadata, tensors


def _entry(name: str, entry: Any) -> tuple[str, str, tuple[int, ...], int, int]:
    start, stop = entry["data_offsets"]
    numbers = [*entry["shape"], start, stop]
    if entry["dtype"] not in SIZES or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f"tensor {name!r} is described by what is not a dtype, a shape and two offsets")
    return name, entry["dtype"], tuple(entry["shape"]), start, stop


def _left(file: IO[bytes]) -> int | None:
    """The bytes from the file's position to its end; None of a stream."""
    try:
        if not file.seekable():
            return None
        position = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(position)
    except (AttributeError, OSError):
        return None
    return max(end - position, 0)


def _read(file: IO[bytes], size: int, left: int | None) -> NDArray[np.uint8]:
    """So many bytes; of a stream, in pieces, as its end is not known before."""
    if left is not None:
        if size > left:
            raise ValueError("the file ends early")
        content = np.empty(size, dtype=np.uint8)
        view = content.data
        while view:
            count = _read_into(file, view[:PIECE])
            if not count:
                raise ValueError("the file ends early")
            view = view[count:]
        return content
    pieces = bytearray()
    while len(pieces) < size:
        piece = file.read(min(size - len(pieces), PIECE))
        if not piece:
            raise ValueError("the file ends early")
        pieces += piece
    return np.frombuffer(pieces, dtype=np.uint8)


def _read_into(file: IO[bytes], view: memoryview) -> int:
    if hasattr(file, "readinto"):
        return file.readinto(view) or 0
    piece = file.read(len(view))
    view[: len(piece)] = piece
    return len(piece)
