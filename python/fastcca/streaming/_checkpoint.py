"""What is known of a pass that was stopped: its moments, and of which chunks they are."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.arrays import contiguous
from fastcca._models.atomic_write import replacing
from fastcca._models.files import DIGEST, digest_of
from fastcca._models.tensor_file import Tensor, read_tensors, write_tensors
from fastcca.functional.moments import Moments

__all__ = ["Progress", "fingerprint", "load_checkpoint", "sampled_rows", "save_checkpoint"]

HEADER = "fastcca.checkpoint"
VERSION = 1
PARTS = ("shift", "offset", "scatter", "eps", "rounding")
# Rows of a chunk that its fingerprint is taken of, the first and the last among them.
SAMPLED = 8


class Progress(NamedTuple):
    """How far a pass has come."""

    moments: Moments
    chunks: int = 0
    rows: int = 0
    digest: str = ""  # of the chunks so far


def sampled_rows(n: int) -> list[int]:
    """The rows of a chunk of n that its fingerprint is taken of."""
    return sorted({round(i * (n - 1) / (SAMPLED - 1)) for i in range(SAMPLED)}) if n else []


def fingerprint(before: str, n: int, sampled: Sequence[NDArray[Any]]) -> str:
    """A digest of the chunks so far: of those before, of the rows' number, and of some rows of each view."""
    found = hashlib.sha256(before.encode())
    for rows in sampled:
        found.update(json.dumps([n, rows.shape[1:], rows.dtype.str]).encode())
        found.update(contiguous(rows).data)
    return found.hexdigest()


def save_checkpoint(path: str | os.PathLike[str], progress: Progress, settings: dict[str, Any]) -> None:
    """Replace the file by one of this progress: whole, and on the disk."""
    moments = progress.moments
    tensors = {name: _tensor(getattr(moments, name)) for name in PARTS}
    tensors["n"] = _tensor(np.array([moments.n]))
    known = {
        "version": VERSION,
        "dims": moments.dims,
        "chunks": progress.chunks,
        "rows": progress.rows,
        "digest": progress.digest,
        "settings": settings,
    }
    text = json.dumps(known)
    with replacing(path) as temporary, temporary.open("wb") as file:
        write_tensors(file, tensors, {HEADER: text, DIGEST: digest_of(text, tensors)})


def load_checkpoint(path: str | os.PathLike[str], settings: dict[str, Any]) -> Progress | None:
    """The progress in the file, None without one; a ValueError if it is damaged, or of other settings."""
    place = Path(path)
    try:
        with place.open("rb") as file:
            metadata, tensors = read_tensors(file, alone=True)
        text = metadata[HEADER]
        if metadata.get(DIGEST) != digest_of(text, tensors):
            raise ValueError("its digest is another")
        known = json.loads(text)
        if known["version"] != VERSION:
            raise ValueError(f"it has version {known['version']}, of another version of fastcca")
        state = {name: tensors[name].data.view(np.float64).reshape(tensors[name].shape) for name in PARTS}
        n = float(tensors["n"].data.view(np.float64)[0])
        moments = Moments()
        moments.__setstate__({**state, "n": n, "dims": tuple(known["dims"])})
        progress = Progress(moments, int(known["chunks"]), int(known["rows"]), str(known["digest"]))
        written = dict(known["settings"])
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{place}: damaged, or not a checkpoint ({error}); delete it to start anew"
        ) from error
    for name, value in settings.items():
        if written.get(name) != value:
            raise ValueError(
                f"{place} is a checkpoint of other settings: {name} was {written.get(name)!r}, now it is "
                f"{value!r}; delete the file to start anew"
            )
    return progress


def _tensor(values: NDArray[np.float64]) -> Tensor:
    flat = np.ascontiguousarray(values).reshape(-1)
    return Tensor("F64", values.shape, flat.view(np.uint8) if flat.size else np.zeros(0, np.uint8))
