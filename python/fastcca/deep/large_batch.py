"""Exact gradients of the loss of a large batch, in the memory of a small one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fastcca.deep._training import generator_states, set_generator_states
from fastcca.errors import NumericalError

__all__ = ["backward_in_chunks", "large_batch_step"]

Chunk = Callable[[int], Sequence[Tensor]]


def large_batch_step(
    loss: Callable[..., Tensor],
    encoders: nn.Module | Sequence[Callable[[Any], Tensor]],
    batches: Iterable[Sequence[Any]],
    *,
    autocast: torch.dtype | None = None,
) -> Tensor:
    r"""The gradient of the loss of a batch that is too large for its graph, by parts of it.

    A loss of all pairs or of covariances is not the mean of the losses of parts. The outputs H of the
    networks are small, their graphs are not: pass 1 runs the networks part by part without a graph,
    :math:`dL/dH` follows from all outputs at once, and pass 2 runs each part again, forwards and with its
    rows of :math:`dL/dH` backwards. The gradient is that of the whole batch, exactly; no more than the graph
    of one part is held.

    Parameters
    ----------
    loss : callable
        Given the outputs of the encoders for all rows, and the concatenated further tensors of ``batches``,
        it returns a scalar: :class:`CorrelationLoss`, :class:`ContrastiveLoss`, :class:`PairEmbeddingLoss`, a
        function. The gradient with respect to parameters of its own (a temperature, embeddings of classes) is
        computed too.
    encoders : sequence of torch.nn.Module, or one
        Networks, one for each view; the same may stand for several views.
    batches : iterable of tuples
        The parts: for each encoder its input, whatever that takes, and further tensors of a row each
        (labels, groups). What is not a sequence is made a list of.
    autocast : torch.dtype, optional
        Run the networks in this precision, ``torch.bfloat16`` say, where their device allows it.

    Returns
    -------
    Tensor
        The loss of the whole batch, a scalar without a graph. The gradient is added to the parameters'
        ``.grad``, as by ``loss.backward()``.

    Raises
    ------
    ValueError
        For no batches, a batch of too few tensors, encoders that return no matrix of rows, or different
        numbers of them.
    NumericalError
        If an encoder returns NaN or infinity.

    Notes
    -----
    The time is that of two passes forwards and one backwards. In both the random numbers (dropout) of a part
    are the same, and running statistics (batch normalisation, which sees the rows of a part) move once.

    References
    ----------
    Gao, Zhang, Han & Callan, "Scaling deep contrastive learning batch size under memory limited setup",
    RepL4NLP 2021.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import ContrastiveLoss, large_batch_step
    >>> _ = torch.manual_seed(0)
    >>> f, g, loss = torch.nn.Linear(6, 4), torch.nn.Linear(5, 4), ContrastiveLoss()
    >>> X, Y = torch.randn(400, 6), torch.randn(400, 5)
    >>> value = large_batch_step(loss, [f, g], list(zip(X.split(50), Y.split(50))))
    >>> found = f.weight.grad.clone()
    >>> f.zero_grad()
    >>> whole = loss(f(X), g(Y))
    >>> whole.backward()
    >>> torch.allclose(value, whole), torch.allclose(found, f.weight.grad, atol=1e-6)
    (True, True)
    """
    networks: list[Any] = [encoders] if isinstance(encoders, nn.Module) else list(encoders)
    if not networks or not all(callable(network) for network in networks):
        raise ValueError(f"encoders must be one or more networks, got {encoders!r}")
    parts = batches if isinstance(batches, Sequence) else list(batches)
    if not len(parts):
        raise ValueError("batches must hold at least one batch, got none")
    if isinstance(parts, Tensor) or not all(isinstance(part, (tuple, list)) for part in parts):
        raise ValueError("batches must hold tuples: an input for each encoder, then further tensors")
    widths = {len(part) for part in parts}
    if len(widths) > 1 or min(widths) < len(networks):
        raise ValueError(
            f"each batch must hold an input for each of the {len(networks)} encoders, and as many further "
            f"tensors as the others, got {sorted(widths)} in all"
        )
    further = [torch.cat([part[k] for part in parts]) for k in range(len(networks), min(widths))]

    def run(i: int) -> list[Tensor]:
        return [_encoded(network, x, autocast) for network, x in zip(networks, parts[i], strict=False)]

    value, *_ = backward_in_chunks(run, len(parts), lambda *H: loss(*H, *further), networks)
    return value


def _encoded(network: Callable[[Any], Tensor], x: Any, autocast: torch.dtype | None) -> Tensor:
    device = x.device.type if isinstance(x, Tensor) else "cpu"
    with nullcontext() if autocast is None else torch.autocast(device, autocast):
        return network(x)


def backward_in_chunks(
    run: Chunk,
    n_chunks: int,
    loss: Callable[..., Tensor],
    networks: Sequence[Any],
    check: Callable[[list[Tensor]], None] | None = None,
    also: Callable[[int, Sequence[Tensor]], Tensor | None] = lambda i, outputs: None,
) -> tuple[Tensor, list[Tensor], Tensor]:
    """The objective of all chunks, their outputs and the loss of these; the gradient is added to ``.grad``.

    ``run(i)`` gives the outputs of chunk i, one tensor for each view; ``also(i, outputs)`` a term of the
    objective that is a sum over chunks. ``check`` refuses outputs of all chunks.
    """
    modules = [network for network in networks if isinstance(network, nn.Module)]
    devices = {p.device for module in modules for p in module.parameters()} | {torch.device("cpu")}
    before = [(buffer, buffer.clone()) for module in modules for buffer in module.buffers()]
    states, chunks = [], []
    with torch.no_grad():
        for i in range(n_chunks):
            states.append(generator_states(devices))
            chunks.append([H.detach() for H in _same_rows(run(i))])
        for buffer, value in before:  # which the second pass moves again
            buffer.copy_(value)
    outputs = [torch.cat(of_view) for of_view in zip(*chunks, strict=True)]
    sizes = [len(chunk[0]) for chunk in chunks]
    del chunks
    (check or _check)(outputs)
    leaves = [H.requires_grad_() for H in outputs]
    value = loss(*leaves)
    value.backward()  # type: ignore[no-untyped-call]
    total = value.detach()
    start = 0
    for i, size in enumerate(sizes):
        set_generator_states(states[i])
        now = run(i)
        parts = [
            (H, leaf.grad[start : start + size])
            for H, leaf in zip(now, leaves, strict=True)
            if H.requires_grad and leaf.grad is not None
        ]
        term = also(i, now)
        if term is not None:
            total = total + term.detach()
            if term.requires_grad:
                parts.append((term, torch.ones_like(term)))
        if parts:  # none of encoders that are frozen
            torch.autograd.backward([H for H, _ in parts], [g for _, g in parts])
        start += size
    return total, [H.detach() for H in outputs], value.detach()


def _same_rows(outputs: Sequence[Any]) -> Sequence[Tensor]:
    for H in outputs:
        if not isinstance(H, Tensor) or H.ndim == 0 or not H.is_floating_point():
            found = tuple(H.shape) if isinstance(H, Tensor) else type(H).__name__
            raise ValueError(f"an encoder must return a tensor of one row of outputs per row, got {found}")
    rows = {len(H) for H in outputs}
    if len(rows) > 1:
        raise ValueError(f"the encoders return {sorted(rows)} rows for one batch: they must be paired")
    return outputs


def _check(outputs: list[Tensor]) -> None:
    for k, H in enumerate(outputs, 1):
        if not bool(torch.isfinite(H).all()):
            raise NumericalError(f"encoder {k} returned NaN or infinity; try a smaller learning rate")
