"""The correlation losses of Deep CCA and of its forms for many views as operators of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fastcca._arguments.warn import warn
from fastcca.deep.losses._operator import (
    ClosedFormLoss,
    apply_eagerly,
    common_precision,
    is_eager,
    transformed,
)
from fastcca.deep.losses._workers import refuse_transforms, workers_in
from fastcca.deep.losses.maxvar import maxvar_loss
from fastcca.errors import NumericalError
from fastcca.functional import Moments, correlation_factor, correlation_gradients, correlation_loss
from fastcca.functional.correlation import checked_options, coefficients
from fastcca.functional.moments import from_parts

__all__ = ["CorrelationLoss"]

Objective = Literal["trace_norm", "frobenius", "maxvar"]

OBJECTIVES = ("trace_norm", "frobenius", "maxvar")


class CorrelationLoss(nn.Module):
    r"""Negative total correlation of two or more batches of paired rows: a scalar to minimise.

    For two views, with the centred batches' regularised covariances :math:`S_{11}`, :math:`S_{22}` and their
    cross-covariance :math:`S_{12}`, the loss is

    .. math:: -\|T\|_{tr} = -\sum_i D_i \quad\text{or}\quad -\|T\|_F^2 = -\sum_i D_i^2, \qquad
        T = S_{11}^{-1/2} S_{12} S_{22}^{-1/2},

    over the ``n_components`` largest singular values :math:`D_i` of T. For more views it is the sum over all
    pairs of them (SUMCOR), or ("maxvar", of any number of views) the error of the common representation G
    that all of them predict best,

    .. math:: \min_{G^T G = I, \, U_k} \sum_k \|G - H_k U_k\|_F^2 + (n - 1) \, r_k \|U_k\|_F^2
        = K r - \sum_{i \le r} \lambda_i(P_1 + \ldots + P_K),

    with r = ``n_components`` columns of G, :math:`r_k` = ``reg`` and the regularised projections
    :math:`P_k = H_k (H_k^T H_k + (n - 1) r_k I)^{-1} H_k^T`. Of two views its eigenvalues are 1 + D, but for
    the ridge.

    Parameters
    ----------
    n_components : int, optional
        Number of correlations to sum, at most the outputs of the narrowest view; by default these.
    reg : float or sequence of float, default=1e-4
        Ridge added to the diagonals of the covariances of the views, or of each, in the units of their
        variances.
    objective : {"trace_norm", "frobenius", "maxvar"}, default="trace_norm"
        The trace norm of T (Andrew et al.), the sum of the correlations, or its squared Frobenius norm, the
        sum of their squares; or the error of the common representation (DGCCA, Benton et al.).
    process_group : torch.distributed.ProcessGroup, optional
        Workers that hold parts of one batch. The loss and the gradient are those of the whole batch; the
        gradient is multiplied by the number of workers, so that the mean over workers that
        ``DistributedDataParallel`` takes is the whole batch's gradient.

    Raises
    ------
    ValueError
        For parameters out of range; on a call for batches that do not pair, NaN or infinity.
    fastcca.errors.NumericalError
        On a call, if a covariance is not positive definite, or the gradient overflows the dtype.

    Warns
    -----
    UserWarning
        Once, for a batch of no more rows than outputs, whose correlations are 1 whatever the outputs.

    Notes
    -----
    On the CPU the tensors are read in place by the compiled core; on other devices the same formulas run in
    PyTorch. The gradient comes with the value, in closed form: repeated correlations, dead units, batches
    smaller than the dimension are handled. ``torch.compile`` and ``torch.export`` see one operator
    (without a process group), ``torch.func`` differentiates it (``grad``, ``vmap``, ``jvp``). Half precision
    is computed in float32, also within autocast. There is no second derivative.

    The workers of a process group exchange their moments, and, where the covariances are too ill-conditioned
    or of too low rank for these, the R factors of their rows.

    "maxvar" is computed in float64 by PyTorch's own operations on every device.

    References
    ----------
    Andrew, Arora, Bilmes & Livescu, "Deep canonical correlation analysis", ICML 2013. Benton, Khayrallah,
    Gujral, Reisinger, Zhang & Arora, "Deep generalized canonical correlation analysis", RepL4NLP 2019.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import CorrelationLoss
    >>> _ = torch.manual_seed(0)
    >>> f, g = torch.nn.Linear(6, 2), torch.nn.Linear(5, 2)
    >>> X, Y = torch.randn(100, 6), torch.randn(100, 5)
    >>> loss = CorrelationLoss()(f(X), g(Y))
    >>> loss.backward()
    >>> bool(-2 <= loss <= 0), f.weight.grad.shape
    (True, torch.Size([2, 6]))

    Three views, of which the third is the first turned: each pair has all of its correlations.

    >>> Z = torch.randn(200, 2)
    >>> round(CorrelationLoss(reg=1e-9)(Z, Z + 1, Z.flip(1)).item(), 4)
    -6.0
    >>> abs(round(CorrelationLoss(reg=1e-9, objective="maxvar")(Z, Z + 1, Z.flip(1)).item(), 4))
    0.0
    """

    def __init__(
        self,
        n_components: int | None = None,
        reg: float | Sequence[float] = 1e-4,
        objective: Objective = "trace_norm",
        process_group: Any = None,
    ) -> None:
        super().__init__()
        if objective not in OBJECTIVES:
            raise ValueError(
                f"objective must be one of {', '.join(map(repr, OBJECTIVES))}, got {objective!r}"
            )
        large = 2**31  # the widths are not known yet
        ridges: Sequence[Any] = reg if isinstance(reg, (tuple, list)) and len(reg) > 1 else [reg]
        for one in ridges:
            checked_options(large, large, n_components, one, "trace_norm")
        self.n_components = None if n_components is None else int(n_components)
        self.reg = reg
        self.objective = objective
        self.process_group = process_group
        self._has_warned = False

    def extra_repr(self) -> str:
        return f"n_components={self.n_components}, reg={self.reg}, objective={self.objective!r}"

    def forward(self, *views: Tensor) -> Tensor:
        """The loss of paired rows, ``H1`` (m, d1), ``H2`` (m, d2) and so on: at least two views."""
        if len(views) < 2:
            raise ValueError(f"a correlation takes at least two views, got {len(views)}")
        regs: list[Any] = list(self.reg) if isinstance(self.reg, (tuple, list)) else [self.reg] * len(views)
        if len(regs) != len(views):
            raise ValueError(f"reg is of {len(regs)} views, but there are {len(views)}")
        views = _checked(views)
        n_components = self._n_components(min(H.shape[1] for H in views))
        if self.objective == "maxvar":
            return maxvar_loss(views, n_components, [float(r) for r in regs], self.process_group)
        pairs = (
            self._pair(views[k], views[m], n_components, float(regs[k]), float(regs[m]))
            for k, m in combinations(range(len(views)), 2)
        )
        total = next(pairs)
        for value in pairs:
            total = total + value
        return total

    def _pair(self, H1: Tensor, H2: Tensor, n_components: int, reg1: float, reg2: float) -> Tensor:
        options = (n_components, reg1, reg2, self.objective == "frobenius")
        if self.process_group is not None:
            if transformed(H1, H2):
                raise refuse_transforms("CorrelationLoss")
            gradient = torch.is_grad_enabled() and (H1.requires_grad or H2.requires_grad)
            return apply_eagerly(
                _compute_in_group,
                _loss.no_second,
                (H1, H2),
                gradient,
                *options,
                self.process_group,
                again=False,
            )
        value = _loss(H1, H2, *options)
        if (
            not self._has_warned
            and len(H1) - 1 <= max(H1.shape[1], H2.shape[1])
            and not torch.compiler.is_compiling()
            and is_eager(H1, H2)
            and value.requires_grad
            and not transformed(H1, H2)
        ):
            self._warn_if_constant(value, len(H1), H1.shape[1], H2.shape[1], options[0])
        return value

    def _n_components(self, most: int) -> int:
        n_components = most if self.n_components is None else self.n_components
        if n_components > most:
            raise ValueError(f"n_components={n_components} is more than min(d1, d2) = {most}, the widths")
        return n_components

    def _warn_if_constant(self, value: Tensor, m: int, d1: int, d2: int, n_components: int) -> None:
        # Outputs of m - 1 directions hold all that m centred rows can: what correlates with anything.
        if -float(value.detach()) < 0.99 * min(n_components, m - 1):
            return
        self._has_warned = True
        warn(
            f"a batch of {m} rows with {d1} and {d2} outputs: the correlations are 1 by counting, whatever "
            f"the outputs, but for reg={self.reg!r}, so that there is next to nothing to learn from; take "
            "batches of several times as many rows as outputs, or a larger reg"
        )


def _checked(views: Sequence[Tensor]) -> tuple[Tensor, ...]:
    named = [(f"H{k}", H) for k, H in enumerate(views, 1)]
    for name, H in named:
        if not isinstance(H, Tensor) or not H.is_floating_point():
            kind = str(H.dtype) if isinstance(H, Tensor) else type(H).__name__
            raise TypeError(f"{name} must be a floating-point tensor, got {kind}")
        if H.ndim != 2 or H.shape[1] == 0:
            raise ValueError(f"{name} must have shape (rows, columns), got {tuple(H.shape)}")
    H1 = views[0]
    for name, H in named[1:]:
        if H1.device != H.device:
            raise ValueError(f"H1 is on {H1.device} and {name} on {H.device}: they must be on one device")
        if H1.shape[0] != H.shape[0]:
            raise ValueError(f"H1 has {H1.shape[0]} rows and {name} has {H.shape[0]}: they must be paired")
    return common_precision(*views)


def _on_cpu(H: Tensor) -> bool:
    return H.device.type == "cpu"


def _name(squares: bool) -> Literal["trace_norm", "frobenius"]:
    return "frobenius" if squares else "trace_norm"


def _compute(
    H1: Tensor, H2: Tensor, gradient: bool, n_components: int, reg1: float, reg2: float, squares: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Value and both gradients (empty where none is asked for)."""
    if not _on_cpu(H1):
        return torch_correlation_loss(H1, H2, gradient, n_components, reg1, reg2, squares)
    value, grad1, grad2 = correlation_loss(
        H1.detach().numpy(),
        H2.detach().numpy(),
        n_components,
        (reg1, reg2),
        _name(squares),
        gradient=gradient,
    )
    return (
        H1.new_tensor(value),
        H1.new_empty(0, H1.shape[1]) if grad1 is None else torch.from_numpy(grad1),
        H1.new_empty(0, H2.shape[1]) if grad2 is None else torch.from_numpy(grad2),
    )


_loss = ClosedFormLoss("correlation_loss", "CorrelationLoss", _compute)


# ---- other devices: the same formulas in PyTorch's own operations


def torch_correlation_loss(
    H1: Tensor, H2: Tensor, gradient: bool, n_components: int, reg1: float, reg2: float, squares: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator on any device."""
    options = (n_components, reg1, reg2, squares)
    with torch.autocast(H1.device.type, enabled=False):
        n, mean, scatter = _device_moments(H1, H2)
        found = None
        try:
            dims, eps = (H1.shape[1], H2.shape[1]), torch.finfo(H1.dtype).eps
            found = _by_moments(n, mean, scatter, dims, options, eps)
            if found is None and mean.dtype == torch.float64:
                found = _by_rows(H1, H2, mean, options)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined] # a decomposition that did not converge
            found = None
        if found is None:
            on_cpu = _compute(H1.cpu(), H2.cpu(), gradient, *options)
            return tuple(t.to(H1.device) for t in on_cpu)  # type: ignore[return-value]
        value, A = found
        value = value.to(H1.dtype)
        if not gradient:
            return value, H1.new_empty(0, H1.shape[1]), H2.new_empty(0, H2.shape[1])
        return value, *_device_gradients(H1, H2, mean, A)


def _wide(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def _device_moments(H1: Tensor, H2: Tensor) -> tuple[float, Tensor, Tensor]:
    """Number of rows, mean and scatter of [H1, H2], summed in double where the device has it."""
    if H1.shape[0] < 2:
        raise ValueError(f"a correlation takes at least 2 samples, got {H1.shape[0]}")
    H = torch.cat([H1, H2], dim=1).to(_wide(H1.device))
    mean = H.mean(0)
    H = H - mean
    return float(len(H)), mean, H.T @ H


def _by_moments(
    n: float,
    mean: Tensor,
    scatter: Tensor,
    dims: tuple[int, int],
    options: tuple[int, float, float, bool],
    eps: float,
) -> tuple[Tensor, Tensor] | None:
    """The value and A of [G1 G2] = [H1 H2] A, by Cholesky factors and the singular triplets of T.

    None where these are not accurate: ill-conditioned covariances, outputs that lack rank.
    """
    n_components, reg1, reg2, squares = options
    if not squares and n - 1 < n_components:
        return None
    S = scatter / (n - 1)
    wide = S.dtype == torch.float64
    factors, set_aside, accurate = [], [], S.new_ones((), dtype=torch.bool)
    d1 = dims[0]
    for view, reg in ((slice(0, d1), reg1), (slice(d1, None), reg2)):
        block = S[view, view] + reg * torch.eye(len(S[view]), dtype=S.dtype, device=S.device)
        constant = torch.zeros_like(mean[view], dtype=torch.bool)
        if reg == 0:  # a constant column is set aside: variance 1, covariances 0, weights 0
            constant = block.diagonal() <= (8 * eps * mean[view]).square()
            block = torch.where(constant[:, None] | constant, 0, block) + torch.diag(constant.to(S.dtype))
        L, info = torch.linalg.cholesky_ex(block)
        # What the columns before it leave of a column's variance.
        pivot = (L.diagonal().square() / block.diagonal()).min()
        accurate = accurate & (info == 0) & (pivot > (1e-5 if wide else 1e-2))
        factors.append(L)
        set_aside.append(constant[:, None])
    if not bool(accurate):
        return None
    L1, L2 = factors
    T = torch.linalg.solve_triangular(L1, S[:d1, d1:], upper=False)
    T = torch.linalg.solve_triangular(L2, T.mT, upper=False).mT
    U, D, Vh = torch.linalg.svd(T, full_matrices=False)
    U, D, V = U[:, :n_components], D[:n_components], Vh[:n_components].mT
    if not squares and not bool(D[-1] > (1e-7 if wide else 1e-4)):
        return None
    W1 = torch.linalg.solve_triangular(L1.mT, U, upper=True).masked_fill(set_aside[0], 0)
    W2 = torch.linalg.solve_triangular(L2.mT, V, upper=True).masked_fill(set_aside[1], 0)
    return _by_triplets(W1, D, W2, squares, n)


def _by_rows(
    H1: Tensor, H2: Tensor, mean: Tensor, options: tuple[int, float, float, bool]
) -> tuple[Tensor, Tensor] | None:
    """The same from the views' own singular values, for outputs of any rank: H = U s V'.

    T = F1' F2 with F = U s / sqrt(s² + r (n - 1)), and W = V (s² / (n - 1) + r)^(-1/2) times T's singular
    vectors. Values that are zero but for rounding take no part. None where a ridge of 0 leaves a covariance
    singular, or for numbers that are not finite.
    """
    n_components, *regs, squares = options
    n, d1 = len(H1), H1.shape[1]
    scores, weights = [], []
    for H, centre, r in zip((H1, H2), (mean[:d1], mean[d1:]), regs, strict=True):
        A = H.to(mean.dtype) - centre
        if not bool(torch.isfinite(A).all()):
            return None
        U, s, Vh = torch.linalg.svd(A, full_matrices=False)
        rank = int((s > s[0] * max(A.shape) * torch.finfo(s.dtype).eps).sum())
        if r == 0 and rank < A.shape[1]:
            return None
        U, s, Vh = U[:, :rank], s[:rank], Vh[:rank]
        scores.append(U * (s / (s.square() + r * (n - 1)).sqrt()))
        weights.append(Vh.mT / (s.square() / (n - 1) + r).sqrt())
    U, D, Vh = torch.linalg.svd(scores[0].mT @ scores[1], full_matrices=False)
    zero = 16 * torch.finfo(D.dtype).eps * max(H1.shape[1], H2.shape[1])
    kept = int((D[:n_components] > zero).sum())
    return _by_triplets(weights[0] @ U[:, :kept], D[:kept], weights[1] @ Vh[:kept].mT, squares, n)


def _by_triplets(W1: Tensor, D: Tensor, W2: Tensor, squares: bool, n: float) -> tuple[Tensor, Tensor]:
    slope = 2 * D if squares else torch.ones_like(D)
    N11, N12, N22 = (W1 * (slope * D)) @ W1.mT, (W1 * slope) @ W2.mT, (W2 * (slope * D)) @ W2.mT
    A = torch.cat([torch.cat([N11, -N12], 1), torch.cat([-N12.mT, N22], 1)]) / (n - 1)
    return -(D.square().sum() if squares else D.sum()), A


def _device_gradients(H1: Tensor, H2: Tensor, mean: Tensor, A: Tensor) -> tuple[Tensor, Tensor]:
    d1 = H1.shape[1]
    G = (torch.cat([H1, H2], 1).to(A.dtype) - mean) @ A
    grads = G[:, :d1].to(H1.dtype).contiguous(), G[:, d1:].to(H2.dtype).contiguous()
    if not all(bool(torch.isfinite(g).all()) for g in grads):
        raise NumericalError(
            f"the gradient of the correlation loss overflows {str(H1.dtype).removeprefix('torch.')}: the "
            "columns of H1 or H2 vary too little; scale them up or take a larger reg"
        )
    return grads


# ---- process groups


def _compute_in_group(
    H1: Tensor,
    H2: Tensor,
    gradient: bool,
    n_components: int,
    reg1: float,
    reg2: float,
    squares: bool,
    group: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Value and gradients, times the number of workers, of the batch that the workers hold together.

    From the moments of the whole batch, summed in double: a worker's own rows may be as few as one. Where
    these do not do (ill-conditioned covariances, outputs of low rank), the R factors of the workers' centred
    rows, stacked, take their place: they hold the directions whose squares are lost in moments.
    """
    options = (n_components, reg1, reg2, squares)
    a, b, dims = H1.detach(), H2.detach(), (H1.shape[1], H2.shape[1])
    n, mean, scatter = _whole_moments(*_local_moments(a, b), group)
    value, A, accurate = _coefficients(n, mean, scatter, dims, options, H1)
    # All workers take the same way, though their processors may round differently.
    doubt = torch.tensor([float(not accurate)], device=mean.device)
    torch.distributed.all_reduce(doubt, op=torch.distributed.ReduceOp.MAX, group=group)
    if doubt.item():
        factor = _whole_factor(a, b, mean, group)
        value, A, _ = _coefficients(n, mean, scatter, dims, options, H1, factor)
    assert value is not None
    assert A is not None
    loss = value.to(H1.dtype)
    if not gradient:
        return loss, H1.new_empty(0, dims[0]), H2.new_empty(0, dims[1])
    if _on_cpu(H1):
        grads = [torch.from_numpy(g) for g in correlation_gradients(a.numpy(), b.numpy(), mean, A)]
    else:
        grads = list(_device_gradients(a, b, mean, A))
    # DistributedDataParallel divides the sum over workers by their number.
    workers = workers_in(group)
    return loss, grads[0].mul_(workers), grads[1].mul_(workers)


def _local_moments(a: Tensor, b: Tensor) -> tuple[float, Tensor, Tensor]:
    """Of a worker's rows, in double: number, mean and scatter."""
    if _on_cpu(a):
        local = Moments().update(a.double().numpy(), b.double().numpy(), names=("H1", "H2"))
        return local.n, torch.from_numpy(local.mean), torch.from_numpy(local.scatter)
    H = torch.cat([a, b], 1).to(_wide(a.device))
    mean = H.mean(0)
    return float(len(H)), mean, (H - mean).mT @ (H - mean)


def _whole_moments(n: float, mean: Tensor, scatter: Tensor, group: Any) -> tuple[float, Tensor, Tensor]:
    """Of the workers' rows together.

    mean = Σ nᵢ meanᵢ / Σ nᵢ;  scatter = Σ scatterᵢ + nᵢ (meanᵢ - mean)(meanᵢ - mean)ᵀ
    """
    first = torch.cat([mean.new_tensor([n]), n * mean])
    torch.distributed.all_reduce(first, group=group)
    total, whole_mean = float(first[0]), first[1:] / first[0]
    if total < 2:
        raise ValueError(f"a correlation takes at least 2 samples, got {total:g}")
    delta = mean - whole_mean
    scatter = scatter + n * torch.outer(delta, delta)
    torch.distributed.all_reduce(scatter, group=group)
    return total, whole_mean, scatter


def _whole_factor(a: Tensor, b: Tensor, mean: Tensor, group: Any) -> Tensor:
    """R with RᵀR = scatter of the workers' rows: their own factors, one below the other."""
    if _on_cpu(a):
        R = torch.from_numpy(correlation_factor(a.numpy(), b.numpy(), mean.numpy()))
    else:
        R = torch.linalg.qr(torch.cat([a, b], 1).to(mean.dtype) - mean, mode="r").R
    d = R.shape[1]
    square = torch.cat([R, R.new_zeros(d - len(R), d)])  # all of one shape
    parts = [torch.empty_like(square) for _ in range(torch.distributed.get_world_size(group))]
    torch.distributed.all_gather(parts, square.contiguous(), group=group)
    return torch.cat(parts)


def _coefficients(
    n: float,
    mean: Tensor,
    scatter: Tensor,
    dims: tuple[int, int],
    options: tuple[int, float, float, bool],
    H: Tensor,
    factor: Tensor | None = None,
) -> tuple[Tensor | None, Tensor | None, bool]:
    """The value and A from moments, and whether these are accurate; with a factor they are.

    On other devices by their own formulas, and by the core where these do not serve.
    """
    if not _on_cpu(H) and factor is None:
        try:
            with torch.autocast(H.device.type, enabled=False):
                found = _by_moments(n, mean, scatter, dims, options, torch.finfo(H.dtype).eps)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            found = None
        return (None, None, False) if found is None else (*found, True)
    n_components, reg1, reg2, squares = options
    centre = mean.cpu().double().numpy()
    eps = 0 * centre + torch.finfo(mean.dtype).eps
    whole = from_parts(dims, eps, n, centre, 0 * centre, scatter.cpu().double().numpy())
    rows = None if factor is None else factor.cpu().double().numpy()
    try:
        value, A, _, accurate = coefficients(whole, n_components, (reg1, reg2), _name(squares), rows)
    except NumericalError:
        if factor is not None:
            raise
        return None, None, False
    return mean.new_tensor(value), torch.from_numpy(A).to(mean.device, mean.dtype), accurate
