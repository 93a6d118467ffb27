"""Data that come in batches: data sets, loaders and lists of tuples, beside arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from fastcca.deep._training import RowFeed, Rows, split_rows

__all__ = [
    "Batches",
    "attach_generators",
    "batches_of",
    "holds_batches",
    "merged_statistics",
    "named_batch",
    "split_batches",
]


class Batches:
    """Batches of n inputs each, as often as they are iterated over, on the device.

    Floating-point tensors become of ``dtype``; what an input is (a tensor, a tuple or mapping of such, text)
    is a matter of its network. With ``names`` of the inputs a batch may be a mapping from them.
    """

    def __init__(
        self,
        data: Any,
        n_inputs: int,
        device: torch.device,
        dtype: torch.dtype,
        names: Sequence[str] | None = None,
    ) -> None:
        self.data, self.n_inputs, self.device, self.dtype = data, n_inputs, device, dtype
        self.names = names
        try:
            self.n_batches = len(data)
        except TypeError:
            self.n_batches = sum(1 for _ in data)
        if self.n_batches < 1:
            raise ValueError("there are no batches")

    def __iter__(self) -> Iterator[list[Any]]:
        for batch in self.data:
            if self.names is not None and isinstance(batch, Mapping):
                absent = [name for name in self.names if name not in batch]
                if absent:
                    raise ValueError(
                        f"view {absent[0]!r} is missing in a batch of {', '.join(map(repr, batch))}"
                    )
                batch = [batch[name] for name in self.names]
            if not isinstance(batch, (tuple, list)) or len(batch) < self.n_inputs:
                found = f"{len(batch)} of" if isinstance(batch, (tuple, list)) else ""
                raise ValueError(
                    f"each batch must be a tuple of {self.n_inputs} inputs, got {found} "
                    f"{type(batch).__name__}"
                )
            yield [self.moved(x) for x in batch[: self.n_inputs]]

    def moved(self, x: Any) -> Any:
        if isinstance(x, np.ndarray) and x.dtype.kind in "fiub":
            x = torch.from_numpy(np.ascontiguousarray(x))
        if isinstance(x, Tensor):
            return x.to(self.device, self.dtype) if x.is_floating_point() else x.to(self.device)
        if isinstance(x, Mapping):
            return {key: self.moved(value) for key, value in x.items()}
        if isinstance(x, (tuple, list)):
            return type(x)(self.moved(value) for value in x) if type(x) in (tuple, list) else x
        return x


def holds_batches(data: Any) -> bool:
    """Whether this is a data set, a loader or an iterable of tuples of tensors, not an array."""
    if isinstance(data, (Dataset, DataLoader)):
        return True
    if isinstance(data, (np.ndarray, Tensor, Mapping, str, bytes)) or data is None:
        return False
    if any(hasattr(data, name) for name in ("__array__", "__array_interface__", "__dataframe__", "shape")):
        return False
    if isinstance(data, Sequence):
        first = data[0] if len(data) else None
        inputs = list(first.values()) if isinstance(first, Mapping) else first
        if not isinstance(inputs, (tuple, list)):
            return False
        return any(
            isinstance(x, Tensor) or (isinstance(first, tuple) and isinstance(x, np.ndarray) and x.ndim > 1)
            for x in inputs
        )
    return isinstance(data, Iterable)


class _Rows(torch.utils.data.Sampler[list[int]]):
    """Batches of nearly equal size, in an order of torch's generator, or in that of the rows."""

    def __init__(self, n: int, batch_size: int, shuffled: bool) -> None:
        self.n, self.shuffled = n, shuffled
        self.feed = RowFeed(np.arange(n), batch_size)

    def __len__(self) -> int:
        return self.feed.n_batches

    def __iter__(self) -> Iterator[list[int]]:
        parts = self.feed if self.shuffled else np.array_split(np.arange(self.n), self.feed.n_batches)
        for rows in parts:
            yield rows.tolist()


def batches_of(
    data: Any,
    n_inputs: int,
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype,
    shuffled: bool,
    names: Sequence[str] | None = None,
) -> Batches:
    """The batches of a data set, those that a loader makes, or those of an iterable."""
    if isinstance(data, IterableDataset):
        data = DataLoader(data, batch_size=batch_size)
    elif isinstance(data, Dataset):
        data = DataLoader(data, batch_sampler=_Rows(len(data), batch_size, shuffled))  # type: ignore[arg-type]
    elif iter(data) is data:
        raise ValueError(
            "an iterator can be read once, and training reads the batches many times: give a list, a "
            "DataLoader or a Dataset"
        )
    return Batches(data, n_inputs, device, dtype, names)


def split_batches(
    data: Any, fraction: float, least: int, groups: Any, random: Any
) -> tuple[Any, Any | None, Rows | None]:
    """What to train on, what is set aside of a data set that has rows, and the rows for training."""
    if not isinstance(data, Dataset) or isinstance(data, IterableDataset):
        if groups is not None:
            raise ValueError("groups are of the rows of a Dataset: a loader has its own batches")
        return data, None, None
    rows, aside = split_rows(len(data), fraction, least, groups, random)  # type: ignore[arg-type]
    held_out = None if aside is None else Subset(data, aside.tolist())
    return Subset(data, rows.tolist()), held_out, rows


def attach_generators(checkpoint: Any, data: Any) -> None:
    """Generators of a loader's own are part of its checkpoint."""
    for name, owner in (("loader", data), ("sampler", getattr(data, "sampler", None))):
        own = getattr(owner, "generator", None)
        if checkpoint is not None and isinstance(own, torch.Generator):
            checkpoint.attach(f"generator of the {name}", own)


def named_batch(batch: Any) -> dict[str, NDArray[Any] | None]:
    """The modalities of a batch as matrices by name: "view0", "view1", ... of a tuple, "X" of one tensor."""
    if isinstance(batch, Mapping):
        views = dict(batch)
    elif isinstance(batch, (tuple, list)):
        views = {f"view{i}": view for i, view in enumerate(batch)}
    else:
        views = {"X": batch}
    return {name: None if view is None else _matrix(name, view) for name, view in views.items()}


def _matrix(name: str, view: Any) -> NDArray[Any]:
    if isinstance(view, Tensor):
        view = view.detach().cpu()
        view = (view.float() if view.dtype.itemsize < 4 and view.is_floating_point() else view).numpy()
    a = np.asarray(view)
    if a.ndim == 0:
        raise ValueError(f"{name} must be a tensor of a row for each sample, got {view!r}")
    return a.reshape(len(a), -1)


Statistics = tuple[int, NDArray[np.float64], NDArray[np.float64]]


def merged_statistics(before: Statistics | None, rows: NDArray[np.float64]) -> Statistics:
    """Number, mean and sum of squared deviations of the columns with some rows more.

    Σ = Σ₁ + Σ₂ + n₁ n₂ / (n₁ + n₂) (mean₂ - mean₁)²
    """
    mean = rows.mean(axis=0)
    squares = np.square(rows - mean).sum(axis=0)
    if before is None:
        return len(rows), mean, squares
    n, old, kept = before
    total, delta = n + len(rows), mean - old
    return total, old + delta * (len(rows) / total), kept + squares + delta**2 * (n * len(rows) / total)
