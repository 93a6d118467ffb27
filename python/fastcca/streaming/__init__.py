"""Data that are read piece by piece: from files, data sets and loaders, with progress and checkpoints."""

from fastcca.streaming._moments import moments
from fastcca.streaming._prefetch import prefetch
from fastcca.streaming._read import Chunks, read

__all__ = ["Chunks", "moments", "prefetch", "read"]
