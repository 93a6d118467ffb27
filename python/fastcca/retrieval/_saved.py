"""What the searches share: files, and rows projected block by block."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._models.files import Place, SavedModel

__all__ = ["SavedSearch", "projected"]

BLOCK = 2**24  # numbers of the rows that are projected at a time


class SavedSearch(SavedModel):
    """A search that can be saved with its model and its gallery."""

    def _check_saved(self) -> None:
        self._check_gallery("save")

    def _check_gallery(self, method: str) -> None:
        if not hasattr(self, "index_") and not hasattr(self, "gallery_"):
            raise ValueError(f"there is no gallery yet: call fit before {method}")

    def save(self, path: Place, *, moments: bool = False) -> None:
        """Write the search, its gallery as it is compared and its model to one file for :func:`fastcca.load`.

        Parameters
        ----------
        path : path or binary file
            Where to; an existing file is replaced, ``~`` is your home.
        moments : bool, default=False
            Whether to store what ``partial_fit`` of the model goes on from.

        Raises
        ------
        ValueError
            Before ``fit``.
        TypeError
            If a parameter of the model cannot be stored without pickle.
        OSError
            If the disk is full; an existing file stays as it was.
        """
        super().save(path, moments=moments)


def projected(transform: Callable[[Any], Any], rows: ArrayLike) -> NDArray[Any]:
    """What ``transform`` makes of rows; large arrays, also memory maps, are read block by block."""
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.size <= BLOCK:
        return np.asarray(transform(rows))
    step = max(1, BLOCK // rows.shape[1])
    first = np.asarray(transform(rows[:step]))
    out = np.empty((len(rows), first.shape[1]), dtype=first.dtype)
    out[:step] = first
    for start in range(step, len(rows), step):
        try:
            out[start : start + step] = np.asarray(transform(rows[start : start + step]))
        except ValueError as error:
            raise type(error)(f"{error} (counted from row {start})") from None
    return out
