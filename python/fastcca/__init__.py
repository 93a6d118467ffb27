"""Correlated representations and joint embeddings at the speed of matrix multiplication."""

from fastcca._build import build_info, get_num_threads, set_num_threads
from fastcca.errors import NumericalError

__all__ = [
    "NumericalError",
    "build_info",
    "get_num_threads",
    "set_num_threads",
]
