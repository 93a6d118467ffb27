"""Model files read and written by the safetensors library, and their digest by hand."""

import hashlib
import json

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

NAMES = {"b": "BOOL", "u": "U", "i": "I", "f": "F"}


def read(path):
    """The header and the arrays by name."""
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["fastcca"]), arrays


def digest(text, arrays):
    """SHA-256 of the header's text, then of name, dtype, shape and bytes of each array, by name."""
    content = text.encode()
    for name, array in sorted(arrays.items()):
        kind = NAMES[array.dtype.kind] + ("" if array.dtype == bool else str(8 * array.dtype.itemsize))
        content += json.dumps([name, kind, list(array.shape)]).encode() + array.tobytes()
    return hashlib.sha256(content).hexdigest()


def write(path, header, arrays, **metadata):
    """A file of these contents with the digest that they have, or other ``metadata``."""
    text = json.dumps(header)
    arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    save_file(arrays, path, {"fastcca": text, "sha256": digest(text, arrays)} | metadata)


def rewrite(path, change, **metadata):
    header, arrays = read(path)
    change(header, arrays)
    write(path, header, arrays, **metadata)
