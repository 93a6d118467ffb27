# One stub for the extension modules of every CPU level: they offer the same names.

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

level: str
compiler: str
eigen: str
levels_built: list[str]

def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...

# moments
def moments(
    views: Sequence[NDArray[np.float32]] | Sequence[NDArray[np.float64]],
    names: Sequence[str],
    weights: NDArray[np.float64] | None,
    n_threads: int,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
