"""Correlated representations and joint embeddings at the speed of matrix multiplication."""

from fastcca._build import build_info, get_num_threads, set_num_threads
from fastcca.errors import NumericalError
from fastcca.functional.moments import Moments

__all__ = [
    "Moments",
    "NumericalError",
    "build_info",
    "get_num_threads",
    "set_num_threads",
]
