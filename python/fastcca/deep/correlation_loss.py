"""The correlation loss as one operator of PyTorch: value and gradients from :mod:`fastcca.functional`."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from fastcca.deep._eager import is_one
from fastcca.deep._transforms import transformed, value_under_transforms
from fastcca.functional import correlation_coefficients, correlation_gradients, correlation_loss
from fastcca.functional.losses import _options as checked_options
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
        if gradient and eager and _on_cpu(H1) and not _in_a_mode():
            return cast(Tensor, _EagerLoss.apply(H1, H2, (k, reg1, reg2, squares)))  # type: ignore[no-untyped-call]
        value: Tensor = _operator(H1, H2, k, reg1, reg2, squares, gradient)[0]
        return value


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
    n, mean, scatter = _device_moments(H1, H2)
    value, A = _device_coefficients(n, scatter, H1.shape[1], (k, reg1, reg2, squares))
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


def _device_coefficients(
    n: float, scatter: Tensor, d1: int, options: tuple[int, float, float, bool]
) -> tuple[Tensor, Tensor]:
    """The value and A of [G1 G2] = [H1 H2] A, by the whitened matrix's singular triplets."""
    k, reg1, reg2, squares = options
    S = scatter / (n - 1)
    views = (("H1", slice(0, d1), reg1), ("H2", slice(d1, None), reg2))
    factors = []
    for name, view, reg in views:
        block = S[view, view] + reg * torch.eye(len(S[view]), dtype=S.dtype, device=S.device)
        L, info = torch.linalg.cholesky_ex(block)
        if int(info) or not bool(torch.isfinite(L).all()):
            raise _not_positive_definite(name, len(block), n, reg, S[view, view])
        factors.append(L)
    L1, L2 = factors
    T = torch.linalg.solve_triangular(L1, S[:d1, d1:], upper=False)
    T = torch.linalg.solve_triangular(L2, T.mT, upper=False).mT
    U, D, Vh = torch.linalg.svd(T, full_matrices=False)
    D = D[:k]
    W1 = torch.linalg.solve_triangular(L1.mT, U[:, :k], upper=True)
    W2 = torch.linalg.solve_triangular(L2.mT, Vh[:k].mT, upper=True)
    slope = 2 * D if squares else torch.ones_like(D)
    N11, N12, N22 = (W1 * (slope * D)) @ W1.mT, (W1 * slope) @ W2.mT, (W2 * (slope * D)) @ W2.mT
    A = torch.cat([torch.cat([N11, -N12], 1), torch.cat([-N12.mT, N22], 1)]) / (n - 1)
    return -(D.square().sum() if squares else D.sum()), A


def _not_positive_definite(name: str, d: int, n: float, reg: float, S: Tensor) -> Exception:
    from fastcca.errors import NumericalError

    if not bool(torch.isfinite(S).all()):
        return ValueError(f"{name} contains NaN or infinity")
    variance = float(S.diagonal().mean())
    return NumericalError(
        f"{name}: the covariance of its {d} columns over {n:g} rows with reg={reg:g} is not positive "
        f"definite to working precision; a reg of {1e-4 * (variance or 1.0):.6g} or more makes it well-posed"
    )


def _device_gradients(H1: Tensor, H2: Tensor, mean: Tensor, A: Tensor) -> tuple[Tensor, Tensor]:
    d1 = H1.shape[1]
    G = (torch.cat([H1, H2], 1).to(A.dtype) - mean) @ A
    return G[:, :d1].to(H1.dtype).contiguous(), G[:, d1:].to(H2.dtype).contiguous()


class _GlobalLoss(torch.autograd.Function):
    """The loss of the batch that the workers of a process group hold together."""

    @staticmethod
    def forward(
        ctx: Any, H1: Tensor, H2: Tensor, options: tuple[int, float, float, bool], group: Any
    ) -> Tensor:
        k, reg1, reg2, squares = options
        on_cpu = _on_cpu(H1)
        a, b = H1.detach(), H2.detach()
        d1, wide = H1.shape[1], _wide(H1.device)
        # A worker's own rows may be as few as one: their moments, not their covariance, are needed.
        local = Moments()
        if on_cpu:
            local.update(a.numpy(), b.numpy(), names=("H1", "H2"))
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
        if on_cpu:
            centre = whole_mean.numpy()
            whole = from_parts(local.dims, local.eps, total, centre, 0 * centre, scatter.numpy())
            value, A = correlation_coefficients(whole, k, (reg1, reg2), "squares" if squares else "trace")
            grads = [torch.from_numpy(g) for g in correlation_gradients(a.numpy(), b.numpy(), whole.mean, A)]
            loss = H1.new_tensor(value)
        else:
            device_value, device_A = _device_coefficients(total, scatter, d1, options)
            grads, loss = list(_device_gradients(a, b, whole_mean, device_A)), device_value.to(H1.dtype)
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
