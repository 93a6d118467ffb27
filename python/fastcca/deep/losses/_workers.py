"""Batches that the workers of a process group hold together: rows gathered, sums over all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = [
    "gathered",
    "of_worker",
    "own_rows",
    "refuse_transforms",
    "shared",
    "summed",
    "total_of",
    "workers_in",
]


def workers_in(group: Any) -> int:
    """The number of workers."""
    return int(torch.distributed.get_world_size(group))


def gathered(rows: Tensor, group: Any) -> tuple[Tensor, int]:
    """The rows of all workers in the order of their ranks, and where those of this one begin.

    Workers may hold different numbers of rows.
    """
    workers, rank = workers_in(group), torch.distributed.get_rank(group)
    own = torch.tensor([len(rows)], device=rows.device)
    sizes = [torch.empty_like(own) for _ in range(workers)]
    torch.distributed.all_gather(sizes, own, group=group)
    counts = [int(size) for size in sizes]
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in range(workers)]
    torch.distributed.all_gather(parts, padded, group=group)
    whole = torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)])
    return whole, sum(counts[:rank])


def summed(tensor: Tensor, group: Any) -> Tensor:
    """The sum over the workers, in place."""
    torch.distributed.all_reduce(tensor, group=group)
    return tensor


def own_rows(own: Tensor, others: Tensor, start: int, group: Any) -> Tensor:
    """The gradient of this worker's rows, times the number that ``DistributedDataParallel`` divides by.

    ``own`` is what this worker found for its rows as such, ``others`` what it found for the rows of all.
    """
    whole = summed(others.contiguous(), group)[start : start + len(own)]
    return (own + whole).mul_(workers_in(group))


# ---- what PyTorch differentiates itself


class _OfWorker(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: Any) -> Tensor:
        ctx.workers = workers_in(group)
        return rows.view_as(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.workers, None


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parameter: Tensor, group: Any) -> Tensor:
        ctx.group = group
        return parameter.view_as(parameter)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return summed(gradient.clone().contiguous(), ctx.group), None


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, group: Any) -> Tensor:
        return summed(value.clone(), group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def of_worker(rows: Tensor, group: Any) -> Tensor:
    """The rows; their gradient is times the number that ``DistributedDataParallel`` divides by."""
    return _OfWorker.apply(rows, group)  # type: ignore[no-any-return, no-untyped-call]


def shared(parameter: Tensor, group: Any) -> Tensor:
    """A parameter that all workers have; its gradient is the sum over the workers, on each of them."""
    return _Shared.apply(parameter, group)  # type: ignore[no-any-return, no-untyped-call]


def total_of(value: Tensor, group: Any) -> Tensor:
    """The sum of the workers' values, each differentiated by its own worker."""
    return _Total.apply(value, group)  # type: ignore[no-any-return, no-untyped-call]


def refuse_transforms(title: str) -> RuntimeError:
    return RuntimeError(f"{title} with a process_group takes part in no transform of torch.func")
