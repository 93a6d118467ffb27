"""Full-batch L-BFGS one iteration at a time, no point of which is evaluated twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

__all__ = ["minimize"]


def minimize(
    parameters: list[nn.Parameter], evaluate: Callable[[], float], iterations: int, history: int = 20
) -> Iterator[float]:
    """Yields the objective after each iteration; ends early where no step lowers it any more.

    ``evaluate`` returns the objective and leaves its gradient in the parameters' ``.grad``.
    """
    optimizer = torch.optim.LBFGS(
        parameters,
        lr=1.0,
        max_iter=1,
        max_eval=25,
        history_size=history,
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )
    # Each step of the optimiser begins by evaluating the point at which the last one ended.
    known: list[tuple[list[Tensor], float, list[Tensor]]] = []

    def closure() -> float:
        for point, value, gradient in known:
            if all(torch.equal(p, q) for p, q in zip(parameters, point, strict=True)):
                for p, g in zip(parameters, gradient, strict=True):
                    p.grad = g.clone()
                return value
        for p in parameters:
            p.grad = torch.zeros_like(p)
        value = evaluate()
        gradients = [p.grad.clone() for p in parameters if p.grad is not None]
        known.append(([p.detach().clone() for p in parameters], value, gradients))
        return value

    for _ in range(iterations):
        before = [p.detach().clone() for p in parameters]
        optimizer.step(closure)  # type: ignore[no-untyped-call]
        now = next(
            (e for e in known if all(torch.equal(p, q) for p, q in zip(parameters, e[0], strict=True))), None
        )
        known[:] = [now] if now is not None else []
        yield closure()
        if all(torch.equal(p, q) for p, q in zip(parameters, before, strict=True)):
            return
