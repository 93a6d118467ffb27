"""The correlation loss as one operator of PyTorch: value and gradients from :mod:`fastcca.functional`."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from fastcca._arguments.warn import warn
from fastcca.deep._eager import is_one
from fastcca.deep._transforms import transformed, value_under_transforms
from fastcca.functional import correlation_coefficients, correlation_gradients, correlation_loss
from fastcca.functional.correlation import _options as checked_options
from fastcca.functional.moments import Moments, from_parts

__all__ = ["CorrelationLoss"]

NO_SECOND = "CorrelationLoss has no second derivative: it cannot be differentiated twice"
NO_TRANSFORMS = "CorrelationLoss with a process_group takes part in no transform of torch.func"


class CorrelationLoss(nn.Module):
    """Negative total correlation of two batches of paired rows: a scalar to minimise.

    Parameters
    ----------
    k : int, optional
        Number of correlations to sum, at most min(d1, d2); by default all.
    reg : float or (float, float), default=1e-4
        Added to the diagonals of the views' covariances, in the units of their variances.
    objective : {"trace", "squares"}
        The sum of the correlations (Andrew et al.), or of their squares.
    process_group : torch.distributed.ProcessGroup, optional
        Workers that hold parts of one batch. The loss and the gradient are those of the whole batch; the
        gradient is multiplied by the number of workers, so that the mean over workers that
        ``DistributedDataParallel`` takes is the whole batch's gradient.

    Notes
    -----
    On the CPU the tensors are read in place by the compiled core; on other devices the same formulas run in
    PyTorch. The gradient comes with the value, in closed form: repeated correlations, dead units, batches
    smaller than the dimension are no trouble. ``torch.compile`` and ``torch.export`` see one operator
    (without a process group), ``torch.func`` differentiates it (``grad``, ``vmap``, ``jvp``). Half precision
    is computed in float32, also within autocast. There is no second derivative.

    References
    ----------
    Andrew, Arora, Bilmes & Livescu, "Deep canonical correlation analysis", ICML 2013.

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
    """

    def __init__(
        self,
        k: int | None = None,
        reg: float | tuple[float, float] = 1e-4,
        objective: Literal["trace", "squares"] = "trace",
        process_group: Any = None,
    ) -> None:
        super().__init__()
        if k is not None and (isinstance(k, bool) or not isinstance(k, Integral) or k < 1):
            raise ValueError(f"k must be None or a positive integer, got {k!r}")
        large = 2**31  # the widths are not known yet: everything but k against them is checked here
        checked_options(large, large, k, reg, objective)
        self.k = k
        self.reg = reg
        self.objective = objective
        self.process_group = process_group
        self._has_warned = False

    def extra_repr(self) -> str:
        return f"k={self.k}, reg={self.reg}, objective={self.objective!r}"

    def forward(self, H1: Tensor, H2: Tensor) -> Tensor:
        """The loss of rows ``H1`` (m, d1) paired with rows ``H2`` (m, d2)."""
        H1, H2 = _checked(H1, H2)
        k, reg1, reg2, squares = checked_options(H1.shape[1], H2.shape[1], self.k, self.reg, self.objective)
        eager = not torch.compiler.is_compiling() and type(H1) in _PLAIN and type(H2) in _PLAIN
        if eager and transformed(H1, H2):
            if self.process_group is not None:
                raise RuntimeError(NO_TRANSFORMS)
            return value_under_transforms(_compute, (k, reg1, reg2, squares, True), H1, H2, NO_SECOND)
        if self.process_group is not None:
            options = (k, reg1, reg2, squares)
            return cast(Tensor, _GlobalLoss.apply(H1, H2, options, self.process_group))  # type: ignore[no-untyped-call]
        gradient = torch.is_grad_enabled() and (H1.requires_grad or H2.requires_grad)
        value: Tensor
        if gradient and eager and _on_cpu(H1) and not _in_a_mode():
            value = _EagerLoss.apply(H1, H2, (k, reg1, reg2, squares))  # type: ignore[no-untyped-call]
        else:
            value = _operator(H1, H2, k, reg1, reg2, squares, gradient)[0]
        if gradient and eager and len(H1) - 1 <= max(H1.shape[1], H2.shape[1]) and not self._has_warned:
            self._warn_if_constant(value, len(H1), H1.shape[1], H2.shape[1], k)
        return value

    def _warn_if_constant(self, value: Tensor, m: int, d1: int, d2: int, k: int) -> None:
        # Outputs of m - 1 directions hold all that m centred rows can: what correlates with anything.
        if -float(value.detach()) < 0.99 * min(k, m - 1):
            return
        self._has_warned = True
        warn(
            f"a batch of {m} rows with {d1} and {d2} outputs: the correlations are 1 by counting, whatever "
            f"the outputs, but for reg={self.reg!r}, so that there is next to nothing to learn from; take "
            "batches of several times as many rows as outputs, or a larger reg"
        )


def _checked(H1: Tensor, H2: Tensor) -> tuple[Tensor, Tensor]:
    for name, H in (("H1", H1), ("H2", H2)):
        if not isinstance(H, Tensor) or not H.is_floating_point():
            kind = str(H.dtype) if isinstance(H, Tensor) else type(H).__name__
            raise TypeError(f"{name} must be a floating-point tensor, got {kind}")
        if H.ndim != 2 or H.shape[1] == 0:
            raise ValueError(f"{name} must have shape (rows, columns), got {tuple(H.shape)}")
    if H1.device != H2.device:
        raise ValueError(f"H1 is on {H1.device} and H2 on {H2.device}: they must be on one device")
    if H1.shape[0] != H2.shape[0]:
        raise ValueError(f"H1 has {H1.shape[0]} rows and H2 has {H2.shape[0]}: they must be paired")
    dtype = torch.promote_types(torch.promote_types(H1.dtype, H2.dtype), torch.float32)
    return H1.to(dtype), H2.to(dtype)


def _on_cpu(H: Tensor) -> bool:
    return H.device.type == "cpu"


_PLAIN = (Tensor, nn.Parameter)


def _in_a_mode() -> bool:
    """Whether a dispatch mode wants to see the operator."""
    return bool(getattr(torch._C, "_len_torch_dispatch_stack", lambda: 1)())


class _EagerLoss(torch.autograd.Function):
    """The operator without the dispatcher, which takes as long as the loss of a small batch."""

    @staticmethod
    def forward(ctx: Any, H1: Tensor, H2: Tensor, options: tuple[int, float, float, bool]) -> Tensor:
        k, reg1, reg2, squares = options
        objective: Literal["trace", "squares"] = "squares" if squares else "trace"
        value, *grads = correlation_loss(H1.detach().numpy(), H2.detach().numpy(), k, (reg1, reg2), objective)
        ctx.save_for_backward(H1, H2, *(torch.from_numpy(g) for g in grads if g is not None))
        return H1.new_tensor(value)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        H1, H2, grad1, grad2 = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: what follows may be differentiated
            return *_Once.apply(upstream, grad1, grad2, H1, H2), None  # type: ignore[no-untyped-call]
        if not is_one(upstream):
            grad1, grad2 = upstream * grad1, upstream * grad2
        return grad1, grad2, None


class _Once(torch.autograd.Function):
    """The gradients, which depend on the views in a way that is not to be had."""

    @staticmethod
    def forward(
        ctx: Any, upstream: Tensor, grad1: Tensor, grad2: Tensor, H1: Tensor, H2: Tensor
    ) -> tuple[Tensor, Tensor]:
        return upstream * grad1, upstream * grad2

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(NO_SECOND)


@torch.library.custom_op("fastcca::correlation_loss", mutates_args=())
def _operator(
    H1: Tensor, H2: Tensor, k: int, reg1: float, reg2: float, squares: bool, gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Value and both gradients (empty where none is asked for)."""
    return _compute(H1, H2, k, reg1, reg2, squares, gradient)


def _compute(
    H1: Tensor, H2: Tensor, k: int, reg1: float, reg2: float, squares: bool, gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    if not _on_cpu(H1):
        return torch_correlation_loss(H1, H2, k, reg1, reg2, squares, gradient)
    value, grad1, grad2 = correlation_loss(
        H1.detach().numpy(),
        H2.detach().numpy(),
        k,
        (reg1, reg2),
        "squares" if squares else "trace",
        gradient=gradient,
    )
    none = H1.new_empty(0, H1.shape[1])
    return (
        H1.new_tensor(value),
        none if grad1 is None else torch.from_numpy(grad1),
        none.new_empty(0, H2.shape[1]) if grad2 is None else torch.from_numpy(grad2),
    )


@_operator.register_fake
def _(
    H1: Tensor, H2: Tensor, k: int, reg1: float, reg2: float, squares: bool, gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    rows = H1.shape[0] if gradient else 0
    return H1.new_empty(()), H1.new_empty(rows, H1.shape[1]), H2.new_empty(rows, H2.shape[1])


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1], output[2])


def _backward(ctx: Any, upstream: Tensor | None, *second: Tensor | None) -> tuple[Tensor | None, ...]:
    if any(s is not None for s in second):
        raise RuntimeError(NO_SECOND)
    grad1, grad2 = ctx.saved_tensors
    if upstream is None:
        return (None,) * 7
    if not is_one(upstream):
        grad1, grad2 = upstream * grad1, upstream * grad2
    return grad1, grad2, None, None, None, None, None


_operator.register_autograd(_backward, setup_context=_setup)


def torch_correlation_loss(
    H1: Tensor, H2: Tensor, k: int, reg1: float, reg2: float, squares: bool, gradient: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator in PyTorch's own operations, on any device."""
    with torch.autocast(H1.device.type, enabled=False):
        return _torch_correlation_loss(H1, H2, k, reg1, reg2, squares, gradient)


def _torch_correlation_loss(
    H1: Tensor, H2: Tensor, k: int, reg1: float, reg2: float, squares: bool, gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    options = (k, reg1, reg2, squares)
    n, mean, scatter = _device_moments(H1, H2)
    found = None
    try:
        found = _by_moments(n, mean, scatter, (H1.shape[1], H2.shape[1]), options, torch.finfo(H1.dtype).eps)
        if found is None and mean.dtype == torch.float64:
            found = _by_rows(H1, H2, mean, options)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined] # a decomposition that did not converge
        found = None
    if found is None:
        on_cpu = _compute(H1.cpu(), H2.cpu(), *options, gradient)
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
    k, reg1, reg2, squares = options
    if not squares and n - 1 < k:
        return None
    S = scatter / (n - 1)
    wide = S.dtype == torch.float64
    factors, accurate = [], S.new_ones((), dtype=torch.bool)
    d1 = dims[0]
    for view, reg in ((slice(0, d1), reg1), (slice(d1, None), reg2)):
        block = S[view, view] + reg * torch.eye(len(S[view]), dtype=S.dtype, device=S.device)
        if reg == 0:  # a constant column is set aside: variance 1, covariances 0
            constant = block.diagonal() <= (8 * eps * mean[view]).square()
            block = torch.where(constant[:, None] | constant, 0, block) + torch.diag(constant.to(S.dtype))
        L, info = torch.linalg.cholesky_ex(block)
        # What the columns before it leave of a column's variance.
        pivot = (L.diagonal().square() / block.diagonal()).min()
        accurate = accurate & (info == 0) & (pivot > (1e-5 if wide else 1e-2))
        factors.append(L)
    if not bool(accurate):
        return None
    L1, L2 = factors
    T = torch.linalg.solve_triangular(L1, S[:d1, d1:], upper=False)
    T = torch.linalg.solve_triangular(L2, T.mT, upper=False).mT
    U, D, Vh = torch.linalg.svd(T, full_matrices=False)
    U, D, V = U[:, :k], D[:k], Vh[:k].mT
    if not squares and not bool(D[-1] > (1e-7 if wide else 1e-4)):
        return None
    W1 = torch.linalg.solve_triangular(L1.mT, U, upper=True)
    W2 = torch.linalg.solve_triangular(L2.mT, V, upper=True)
    return _by_triplets(W1, D, W2, squares, n)


def _by_rows(
    H1: Tensor, H2: Tensor, mean: Tensor, options: tuple[int, float, float, bool]
) -> tuple[Tensor, Tensor] | None:
    """The same from the views' own singular values, for outputs of any rank: H = U s V'.

    T = F1' F2 with F = U s / sqrt(s² + r (n - 1)), and W = V (s² / (n - 1) + r)^(-1/2) times T's singular
    vectors. Values that are zero but for rounding take no part. None where a ridge of 0 leaves a covariance
    singular, or for numbers that are not finite.
    """
    k, *regs, squares = options
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
    kept = int((D[:k] > zero).sum())
    return _by_triplets(weights[0] @ U[:, :kept], D[:kept], weights[1] @ Vh[:kept].mT, squares, n)


def _by_triplets(W1: Tensor, D: Tensor, W2: Tensor, squares: bool, n: float) -> tuple[Tensor, Tensor]:
    slope = 2 * D if squares else torch.ones_like(D)
    N11, N12, N22 = (W1 * (slope * D)) @ W1.mT, (W1 * slope) @ W2.mT, (W2 * (slope * D)) @ W2.mT
    A = torch.cat([torch.cat([N11, -N12], 1), torch.cat([-N12.mT, N22], 1)]) / (n - 1)
    return -(D.square().sum() if squares else D.sum()), A


def _device_gradients(H1: Tensor, H2: Tensor, mean: Tensor, A: Tensor) -> tuple[Tensor, Tensor]:
    d1 = H1.shape[1]
    G = (torch.cat([H1, H2], 1).to(A.dtype) - mean) @ A
    return G[:, :d1].to(H1.dtype).contiguous(), G[:, d1:].to(H2.dtype).contiguous()


def _whole_coefficients(
    n: float,
    mean: Tensor,
    scatter: Tensor,
    dims: tuple[int, int],
    options: tuple[int, float, float, bool],
    H: Tensor,
) -> tuple[Tensor, Tensor]:
    """The value and A from moments on any device; where its own formulas do not serve, by the core."""
    if not _on_cpu(H):
        try:
            with torch.autocast(H.device.type, enabled=False):
                found = _by_moments(n, mean, scatter, dims, options, torch.finfo(H.dtype).eps)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            found = None
        if found is not None:
            return found
    k, reg1, reg2, squares = options
    centre = mean.cpu().double().numpy()
    eps = 0 * centre + torch.finfo(mean.dtype).eps
    whole = from_parts(dims, eps, n, centre, 0 * centre, scatter.cpu().double().numpy())
    value, A = correlation_coefficients(whole, k, (reg1, reg2), "squares" if squares else "trace")
    return mean.new_tensor(value), torch.from_numpy(A).to(mean.device, mean.dtype)


class _GlobalLoss(torch.autograd.Function):
    """The loss of the batch that the workers of a process group hold together."""

    @staticmethod
    def forward(
        ctx: Any, H1: Tensor, H2: Tensor, options: tuple[int, float, float, bool], group: Any
    ) -> Tensor:
        a, b = H1.detach(), H2.detach()
        dims, wide = (H1.shape[1], H2.shape[1]), _wide(H1.device)
        # A worker's own rows may be as few as one: their moments, not their covariance, are needed. In double
        # throughout, which ill-conditioned views need: the workers' moments are all that is shared.
        if _on_cpu(H1):
            local = Moments().update(a.double().numpy(), b.double().numpy(), names=("H1", "H2"))
            n, mean, scatter = local.n, torch.from_numpy(local.mean), torch.from_numpy(local.scatter)
        else:
            H = torch.cat([a, b], 1).to(wide)
            n, mean = float(len(H)), H.mean(0)
            scatter = (H - mean).mT @ (H - mean)
        # mean = Σ nᵢ meanᵢ / Σ nᵢ;  scatter = Σ scatterᵢ + nᵢ (meanᵢ − mean)(meanᵢ − mean)ᵀ
        first = torch.cat([mean.new_tensor([n]), n * mean])
        torch.distributed.all_reduce(first, group=group)
        total, whole_mean = float(first[0]), first[1:] / first[0]
        if total < 2:
            raise ValueError(f"a correlation takes at least 2 samples, got {total:g}")
        delta = mean - whole_mean
        scatter = scatter + n * torch.outer(delta, delta)
        torch.distributed.all_reduce(scatter, group=group)
        value, A = _whole_coefficients(total, whole_mean, scatter, dims, options, H1)
        grads = (
            [torch.from_numpy(g) for g in correlation_gradients(a.numpy(), b.numpy(), whole_mean, A)]
            if _on_cpu(H1)
            else _device_gradients(a, b, whole_mean, A)
        )
        loss = value.to(H1.dtype)
        ctx.workers = torch.distributed.get_world_size(group)
        ctx.save_for_backward(*grads)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        grad1, grad2 = ctx.saved_tensors
        # DistributedDataParallel divides the sum over workers by their number.
        scale = upstream * ctx.workers
        return scale * grad1, scale * grad2, None, None
