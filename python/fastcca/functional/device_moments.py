"""Moments of tensors where they lie: centred and multiplied on their device, summed there in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.arrays import as_matrix, as_weights, check_same_columns, check_same_length
from fastcca.errors import NumericalError

__all__ = ["DeviceSums", "device_sums", "on_device"]

Floats = NDArray[np.float64]

# Devices of DLPack whose memory the host reads (CPU, pinned for CUDA and ROCm); Metal, without float64.
HOST = {1, 3, 8, 11}
# Bytes of rows that are centred and multiplied at a time, and how few rows are tried where memory is short.
CHUNK = 1 << 28
FEWEST = 256
# Rows whose products are summed in float32.
RUN = 4096


class DeviceSums(NamedTuple):
    """What :class:`~fastcca.Moments` are made of."""

    dims: tuple[int, ...]
    eps: Floats
    n: float
    shift: Floats
    offset: Floats
    scatter: Floats
    rounding: Floats


def on_device(value: Any) -> bool:
    """Whether this is a tensor, by DLPack, in memory that the host does not read."""
    ask = getattr(value, "__dlpack_device__", None)
    if ask is None or isinstance(value, np.ndarray):
        return False
    try:
        return int(ask()[0]) not in HOST
    except (BufferError, RuntimeError, TypeError, ValueError):  # of a meta tensor, say
        return False


def device_sums(
    names: Sequence[str],
    views: Sequence[Any],
    sample_weight: Any,
    device: Any,
    exact: bool,
    earlier: tuple[int, ...] = (),
) -> DeviceSums:
    """Moments of the stacked views, of which some or none lie on ``device`` already.

    A chunk of rows is centred at its own mean, and joins the sums as :meth:`Moments.__add__` has it.
    ``exact``: products in float64 whatever the data; ``earlier``: columns of the rows before, if any.
    """
    torch = _torch()
    if device is None:
        device = next(_tensor(torch, view).device for view in views if on_device(view))
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except Exception as error:  # what is raised depends on the build of torch
        raise ValueError(f"device must be one that torch can use, got {device!r}: {error}") from None
    rows = [_View(torch, name, view) for name, view in zip(names, views, strict=True)]
    check_same_length(**{view.name: view for view in rows})
    if on_device(sample_weight):
        sample_weight = _tensor(torch, sample_weight).cpu()
    dims = tuple(view.shape[1] for view in rows)
    check_same_columns(dims, earlier)
    weights = as_weights(sample_weight, rows[0].shape[0])
    single = all(view.single for view in rows)
    eps = np.repeat([float(np.finfo(np.float32 if view.single else np.float64).eps) for view in rows], dims)
    dtype = torch.float32 if single and not exact and _float32_products(torch) else torch.float64
    sums = _Sums(torch, rows, weights, device, dtype)
    n, shift, offset, scatter = sums.all_rows()
    if not (np.isfinite(offset).all() and np.isfinite(scatter.diagonal()).all()):
        for view in rows:
            view.refuse_non_finite()
        raise NumericalError("the products of the columns overflow: scale the data down")
    rounding = np.full(len(eps), float(torch.finfo(dtype).eps))
    return DeviceSums(dims, eps, n, shift, offset, scatter, rounding)


class _View:
    """The rows of a tensor, or of what becomes one chunk by chunk."""

    def __init__(self, torch: Any, name: str, value: Any) -> None:
        self.torch, self.name = torch, name
        if isinstance(value, torch.Tensor) or on_device(value):
            rows = _tensor(torch, value)
            if rows.layout != torch.strided:
                raise TypeError(f"{name} is sparse, but dense data is required: use its to_dense()")
            if rows.is_complex():
                as_matrix(name, np.zeros((1, 1), complex))
            self.rows: Any = rows[:, None] if rows.ndim == 1 else rows
            # the sentences about shapes are those of arrays
            as_matrix(name, np.broadcast_to(0.0, tuple(self.rows.shape)), min_columns=0)
            self.single = rows.is_floating_point() and rows.element_size() <= 4
        else:
            self.rows = as_matrix(name, value, vector=True, min_columns=0)
            self.single = self.rows.dtype == np.float32
        self.shape = tuple(int(size) for size in self.rows.shape)

    def take(self, rows: slice) -> Any:
        part = self.rows[rows]
        if isinstance(part, np.ndarray):  # a copy: tensors want memory that can be written to
            part = self.torch.from_numpy(np.array(part, order="C"))
        return part

    def refuse_non_finite(self) -> None:
        step = max(1, CHUNK // 8 // max(1, self.shape[1]))
        for start in range(0, self.shape[0], step):
            part = self.take(slice(start, start + step))
            bad = ~self.torch.isfinite(part)
            if bad.any():
                row, column = (int(i) for i in bad.nonzero()[0])
                kind = "NaN" if bool(part[row, column].isnan()) else "infinity"
                raise ValueError(
                    f"Input {self.name} contains {kind}: the first is at row {start + row}, column {column}"
                )


class _Sums:
    """n, mean and scatter of the chunks so far, the latter two on the device."""

    def __init__(
        self, torch: Any, views: list[_View], weights: Floats | None, device: Any, dtype: Any
    ) -> None:
        self.torch, self.views, self.weights = torch, views, weights
        self.device, self.dtype = device, dtype
        self.columns = sum(view.shape[1] for view in views)
        self.n = 0.0
        self.shift: Any = None
        self.offset: Any = None
        self.scatter: Any = None

    def all_rows(self) -> tuple[float, Floats, Floats, Floats]:
        """n, shift, offset and scatter; where memory is short in smaller chunks."""
        total, d = self.views[0].shape[0], self.columns
        most = max(FEWEST, CHUNK // (4 if self.dtype == self.torch.float32 else 8) // max(1, d))
        step, start = min(most, max(1, total)), 0
        out_of_memory = getattr(self.torch, "OutOfMemoryError", None) or self.torch.cuda.OutOfMemoryError
        while self.scatter is None or start < total:
            try:
                if self.scatter is None:
                    self._begin()
                else:
                    self._add(slice(start, min(total, start + step)))
                    start += step
                continue
            except out_of_memory as error:
                reason = str(error).partition("\n")[0]
            if step <= FEWEST or self.scatter is None:
                raise MemoryError(
                    f"{self.device} has too little memory for the moments of {d} columns: their sums and "
                    f"products take {24 * d * d / 1e6:.0f} MB, {min(step, total)} rows a few times "
                    f"{8 * d * min(step, total) / 1e6:.0f} MB. Pass arrays of the host instead ({reason})"
                )
            step = max(FEWEST, step // 2)
        shift, offset, scatter = (part.cpu().numpy() for part in (self.shift, self.offset, self.scatter))
        return self.n, shift, offset, (scatter + scatter.T) / 2

    def _begin(self) -> None:
        double = {"dtype": self.torch.float64, "device": self.device}
        self.shift, self.offset = (self.torch.zeros(self.columns, **double) for _ in range(2))
        self.scatter = self.torch.zeros((self.columns, self.columns), **double)

    def _add(self, rows: slice) -> None:
        """One chunk; nothing is changed before all that takes memory is done."""
        double = self.torch.float64
        Z = self.torch.cat([view.take(rows).to(self.device, self.dtype) for view in self.views], dim=1)
        n, unit, w = float(len(Z)), 1.0, None
        if self.weights is not None:
            weights = self.weights[rows]
            unit = float(weights.max(initial=0.0)) or 1.0  # so that they are numbers of float32
            n = float(weights.sum())
            w = self.torch.from_numpy(weights / unit).to(self.device, self.dtype)[:, None]
        if n == 0:
            self.offset += 0 * Z.sum(0, dtype=double)  # NaN where one is
            return
        # mean of the chunk = about + delta, about in the precision of the rows
        about = ((Z if w is None else Z * w).sum(0, dtype=double) * (unit / n)).to(self.dtype)
        Z -= about
        delta = (Z if w is None else Z * w).sum(0, dtype=double) * (unit / n)
        if w is not None:
            Z *= w.sqrt()
        # scatter about the mean: Z'WZ - n delta delta'
        scatter = self._products(Z) * unit
        scatter.addr_(delta, delta, alpha=-n)
        about = about.to(double)
        shift = about if self.n == 0 else self.shift
        offset = (about - shift) + delta
        total = self.n + n
        # n_a n_b / (n_a + n_b) (mean_b - mean_a)(mean_b - mean_a)'
        away = offset - self.offset
        scatter.addr_(away, away, alpha=self.n * (n / total))
        offset = (self.n * self.offset + n * offset) / total
        self.scatter += scatter
        self.n, self.shift, self.offset = total, shift, offset

    def _products(self, Z: Any) -> Any:
        """Z'Z in float64: of float32 rows the products of short runs, added up."""
        double = self.torch.float64
        if self.dtype == double:
            return Z.T @ Z
        whole = len(Z) // RUN * RUN
        products = (Z[whole:].T @ Z[whole:]).to(double)
        if whole:
            runs = Z[:whole].reshape(-1, RUN, self.columns)
            products += self.torch.bmm(runs.transpose(1, 2), runs).sum(0, dtype=double)
        return products


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:  # pragma: no cover - where there is no torch
        raise ImportError("moments on a device need PyTorch: pip install 'fastcca[deep]'") from error
    return torch


def _tensor(torch: Any, value: Any) -> Any:
    """Without gradients, where it lies."""
    tensor = value if isinstance(value, torch.Tensor) else torch.from_dlpack(value)
    return tensor.detach()


def _float32_products(torch: Any) -> bool:
    """Whether products of float32 are in float32, and not in the shorter TF32 or bfloat16."""
    try:
        return bool(torch.get_float32_matmul_precision() == "highest")
    except RuntimeError:  # set for one kind of device alone
        return False
