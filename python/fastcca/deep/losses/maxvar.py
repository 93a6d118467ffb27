"""The error of the common representation of many views (MAXVAR) as an operator of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastcca.deep.losses._operator import ClosedFormLoss, apply_eagerly, transformed
from fastcca.deep.losses._workers import gathered, refuse_transforms, summed, workers_in
from fastcca.errors import NumericalError

__all__ = ["maxvar_loss"]


def maxvar_loss(views: Sequence[Tensor], n_components: int, regs: list[float], group: Any = None) -> Tensor:
    r"""K r minus the r largest eigenvalues of the sum of the views' regularised projections.

    ``views`` (n, d_k) were checked; ``group``: the workers that hold parts of one batch.
    """
    H = torch.cat(list(views), 1)
    widths = [view.shape[1] for view in views]
    if group is None:
        return _loss(H, n_components, widths, regs)
    if transformed(H):
        raise refuse_transforms("CorrelationLoss")
    gradient = torch.is_grad_enabled() and H.requires_grad
    return apply_eagerly(
        _compute_in_group, _loss.no_second, (H,), gradient, n_components, widths, regs, group, again=False
    )


def _compute(
    H: Tensor, gradient: bool, n_components: int, widths: list[int], regs: list[float]
) -> tuple[Tensor, Tensor]:
    return _compute_in_group(H, gradient, n_components, widths, regs, None)


def _compute_in_group(
    H: Tensor, gradient: bool, n_components: int, widths: list[int], regs: list[float], group: Any
) -> tuple[Tensor, Tensor]:
    """Value and gradient, times the number of workers.

    With W_k such that F_k = C_k W_k whitens the centred view C_k, F_k F_k' = P_k, let V and λ be the r
    leading eigenvectors and eigenvalues of F'F, F = [F_1 … F_K]. Then G = F V λ^(-1/2),
    U_k = W_k V_k λ^(1/2), and
        dLoss/dH_k = -2 (G - C_k U_k) U_k'.
    """
    with torch.autocast(H.device.type, enabled=False):
        C = H.detach().to(torch.float32 if H.device.type == "mps" else torch.float64)
        first = torch.cat([C.new_tensor([float(len(C))]), C.sum(0)])
        first = first if group is None else summed(first, group)
        n = float(first[0])
        if n < 2:
            raise ValueError(f"a correlation takes at least 2 samples, got {n:g}")
        if not bool(torch.isfinite(first).all()):
            _refuse(C, widths)
        C = C - first[1:] / n
        scatter = C.mT @ C
        scatter = scatter if group is None else summed(scatter, group)
        rows = None  # whose own singular values take the place of ill-conditioned moments
        parts, start = [], 0
        for k, (width, reg) in enumerate(zip(widths, regs, strict=True)):
            here = slice(start, start + width)
            start += width
            W = _by_moments(scatter[here, here] / (n - 1), reg)
            doubt = C.new_tensor([float(W is None)])
            if (
                group is not None
            ):  # all workers take the same way, though their processors may round differently
                torch.distributed.all_reduce(doubt, op=torch.distributed.ReduceOp.MAX, group=group)
            if doubt.item() or W is None:
                if rows is None:
                    rows = C if group is None else gathered(torch.linalg.qr(C, mode="r").R, group)[0]
                W = _by_rows(rows[:, here], reg, n, f"H{k + 1}")
            W = W / (n - 1) ** 0.5
            parts.append((C[:, here] @ W, W))
        F = torch.cat([part for part, _ in parts], 1)
        R = F.mT @ F
        R = R if group is None else summed(R, group)
        values, vectors = torch.linalg.eigh(R)
        values, vectors = values[-n_components:], vectors[:, -n_components:]
        loss = (len(widths) * n_components - values.clamp(min=0).sum()).to(H.dtype)
        if not gradient:
            return loss, H.new_empty(0, H.shape[1])
        # directions that no view has take no part
        kept = values > 16 * len(R) * torch.finfo(R.dtype).eps * len(widths)
        V, root = vectors[:, kept], values[kept].sqrt()
        G = F @ (V / root)
        out, start = [], 0
        for F_k, W in parts:
            V_k = V[start : start + F_k.shape[1]] * root
            start += F_k.shape[1]
            out.append(-2 * (G - F_k @ V_k) @ (W @ V_k).mT)
        grad = torch.cat(out, 1).to(H.dtype)
        if not bool(torch.isfinite(grad).all()):
            raise NumericalError(
                "the gradient of the correlation loss overflows: the columns of a view vary too little; "
                "scale them up or take a larger reg"
            )
        return loss, grad if group is None else grad.mul_(workers_in(group))


_loss = ClosedFormLoss("maxvar_loss", "CorrelationLoss", _compute, n_tensors=1)


def _by_moments(S: Tensor, reg: float) -> Tensor | None:
    """W with W W' = (S + reg I)^-1 by its Cholesky factor; None where that is not accurate."""
    S = S + reg * torch.eye(len(S), dtype=S.dtype, device=S.device)
    L, info = torch.linalg.cholesky_ex(S)
    # What the columns before it leave of a column's variance.
    pivot = (L.diagonal().square() / S.diagonal()).min()
    if not bool((info == 0) & (pivot > (1e-5 if S.dtype == torch.float64 else 1e-2))):
        return None
    eye = torch.eye(len(S), dtype=S.dtype, device=S.device)
    inverse: Tensor = torch.linalg.solve_triangular(L, eye, upper=False)
    return inverse.mT


def _by_rows(rows: Tensor, reg: float, n: float, name: str) -> Tensor:
    """The same from singular values of the rows, without the directions that they lack."""
    _, s, Vh = torch.linalg.svd(rows, full_matrices=False)
    rank = int((s > s[0] * max(n, len(Vh)) * torch.finfo(s.dtype).eps).sum())
    if reg == 0 and rank < rows.shape[1]:
        raise NumericalError(
            f"the covariance of {name} is not positive definite: its {rows.shape[1]} columns have rank "
            f"{rank}; take reg > 0"
        )
    root: Tensor = Vh[:rank].mT / (s[:rank].square() / (n - 1) + reg).sqrt()
    return root


def _refuse(C: Tensor, widths: list[int]) -> None:
    start = 0
    for k, width in enumerate(widths):
        bad = ~torch.isfinite(C[:, start : start + width])
        if bool(bad.any()):
            row, column = (int(i) for i in bad.nonzero()[0])
            what = "NaN" if bool(torch.isnan(C[row, start + column])) else "infinity"
            raise ValueError(f"Input H{k + 1} contains {what}: the first is at row {row}, column {column}")
        start += width
    raise NumericalError("the rows overflow: scale them down")
