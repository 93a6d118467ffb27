"""Arrays in, arrays out: the kernels of the core with validation, defaults and readable errors."""

from fastcca.functional.moments import Moments

__all__ = ["Moments"]
