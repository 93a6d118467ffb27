"""Contrastive losses of pairs as operators of PyTorch: InfoNCE (CLIP), sigmoid (SigLIP), with labels."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fastcca.deep.losses._operator import ClosedFormLoss, apply_eagerly, scalar, transformed
from fastcca.deep.losses._workers import gathered, own_rows, refuse_transforms, summed
from fastcca.deep.losses.hinge import checked_codes, checked_pair, checked_weights, normalised_weights, one_of
from fastcca.errors import NumericalError
from fastcca.functional.contrastive import batch_contrastive_loss

__all__ = ["ContrastiveLoss", "SigmoidContrastiveLoss"]

OVERFLOW = "the scores of the contrastive loss overflow: scale the rows down"

Similarity = Literal["cosine", "inner_product"]
Reduction = Literal["mean", "sum"]

CHUNK = 2**22  # scores that are held at once on other devices


class _Contrastive(nn.Module):
    """What the two losses share: temperature, weights, codes, the operator."""

    _form: str
    log_scale: Tensor

    def __init__(
        self,
        temperature: float,
        learnable: bool,
        min_temperature: float,
        similarity: str,
        reduction: str,
        process_group: Any,
    ) -> None:
        super().__init__()
        for name, value in (("temperature", temperature), ("min_temperature", min_temperature)):
            if not _is_number(value) or value < 0 or (name == "temperature" and value == 0):
                sign = "positive" if name == "temperature" else "not negative"
                raise ValueError(f"{name} must be finite and {sign}, got {value!r}")
        if temperature < min_temperature:
            raise ValueError(f"temperature={temperature!r} is below min_temperature={min_temperature!r}")
        if not isinstance(learnable, (bool, np.bool_)):
            raise ValueError(f"learnable must be True or False, got {learnable!r}")
        self.learnable = bool(learnable)
        self.min_temperature = float(min_temperature)
        self.similarity = one_of("similarity", similarity, ("cosine", "inner_product"))
        self.reduction = one_of("reduction", reduction, ("mean", "sum"))
        self.process_group = process_group
        self._learn("log_scale", -math.log(temperature))

    def _learn(self, name: str, value: float) -> None:
        tensor = torch.tensor(float(value))
        if self.learnable:
            self.register_parameter(name, nn.Parameter(tensor))
        else:
            self.register_buffer(name, tensor)

    @property
    def temperature(self) -> float:
        """The present temperature."""
        return 1 / float(self._scale().detach())

    def _scale(self) -> Tensor:
        """1 / t, which a step of the optimiser cannot have taken beyond its bound."""
        log_scale = self.log_scale
        log_scale = log_scale.to(torch.promote_types(log_scale.dtype, torch.float32))
        if self.min_temperature > 0:
            bounded = log_scale.clamp(max=-math.log(self.min_temperature))
            log_scale = log_scale + (bounded - log_scale).detach()
        return log_scale.exp()

    def _bound(self) -> None:
        """The parameter itself too, or it would go on beyond the bound."""
        if not self.training or self.min_temperature == 0 or not self.log_scale.requires_grad:
            return
        if torch.compiler.is_compiling() or transformed(self.log_scale):
            return
        with torch.no_grad():
            self.log_scale.clamp_(max=-math.log(self.min_temperature))

    def _bias(self) -> Tensor:
        return torch.zeros((), dtype=self.log_scale.dtype, device=self.log_scale.device)

    def extra_repr(self) -> str:
        return (
            f"temperature={1 / math.exp(float(self.log_scale.detach())):.4g}, learnable={self.learnable}, "
            f"similarity={self.similarity!r}, reduction={self.reduction!r}"
        )

    def forward(
        self,
        Z1: Tensor,
        Z2: Tensor,
        labels: Tensor | None = None,
        groups: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """The loss of rows ``Z1`` (B, d) paired with rows ``Z2`` (B, d).

        ``labels`` (B,) are integers: rows of one label are positives of each other. ``groups`` (B,) are
        integers that say which item a pair is of: rows of one item are not each other's negatives.
        ``sample_weight`` (B,) are factors of the pairs' losses, not negative.
        """
        Z1, Z2 = checked_pair(Z1, Z2, "Z1", "Z2")
        if Z1.shape[0] != Z2.shape[0]:
            raise ValueError(f"Z1 has {Z1.shape[0]} rows and Z2 has {Z2.shape[0]}: they must be paired")
        if labels is not None and groups is not None:
            raise ValueError("labels and groups are two ways to say which rows belong together: give one")
        for name, given in (("labels", labels), ("groups", groups)):
            if given is not None:
                checked_codes(name, given, Z1)
        weights = None if sample_weight is None else checked_weights("sample_weight", sample_weight, Z1)
        self._bound()
        with torch.autocast(Z1.device.type, enabled=False):
            scale, bias = (t.reshape(1).to(Z1.device) for t in (self._scale(), self._bias()))
        of_labels = labels is not None
        codes = labels if of_labels else groups
        form, similarity, mean = self._form, self.similarity, self.reduction == "mean"
        if self.process_group is not None:
            if transformed(Z1, Z2, scale, bias):
                raise refuse_transforms(type(self).__name__)
            tensors = (Z1, Z2, scale, bias)
            gradient = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
            options = (form, similarity, mean, weights, codes, of_labels, self.process_group)
            return apply_eagerly(_compute_in_group, _loss.no_second, tensors, gradient, *options, again=False)
        weight = 1 / len(Z1) if mean else 1.0
        weights = normalised_weights(weights, self.reduction)
        return _loss(Z1, Z2, scale, bias, form, similarity, weight, weights, codes, of_labels)


class ContrastiveLoss(_Contrastive):
    r"""Contrastive loss of a batch of pairs (InfoNCE in both directions, as of CLIP): a scalar to minimise.

    With the scores :math:`s_{ij} = \cos(z^1_i, z^2_j) / t` of all rows of the first view with all of the
    second, each row is to find its pair among the rows of the other view:

    .. math:: \frac1{2B} \sum_i \Big(\log \sum_j e^{s_{ij}} - s_{ii}\Big) +
        \Big(\log \sum_j e^{s_{ji}} - s_{ii}\Big).

    The logarithm of the scale 1/t is a parameter of the module, ``log_scale``, for the optimiser to learn
    together with the networks.

    Parameters
    ----------
    temperature : float, default=0.07
        The first t, or, where it is not learnt, the one.
    learnable : bool, default=True
        Whether the temperature is a parameter.
    min_temperature : float, default=0.01
        The temperature does not fall below this (CLIP's bound of the scale, 100); 0 for no bound.
    similarity : {"cosine", "inner_product"}, default="cosine"
        Of the scores. A row of zeros has cosine 0 with everything, and no gradient.
    reduction : {"mean", "sum"}, default="mean"
        Over the pairs of the batch; the mean is weighted where there are weights.
    process_group : torch.distributed.ProcessGroup, optional
        Workers that hold parts of one batch: each row meets the rows of all workers. The loss and the
        gradients are those of the whole batch; those of the rows are multiplied by the number of workers, so
        that the mean over workers that ``DistributedDataParallel`` takes is the whole batch's gradient, that
        of the temperature is not.

    Attributes
    ----------
    log_scale : Parameter or buffer of shape ()
        log(1 / t).
    temperature : float
        The present t.

    Raises
    ------
    ValueError
        For parameters out of range; on a call for batches that do not pair, NaN or infinity.
    fastcca.errors.NumericalError
        On a call, if scores or a gradient overflow.

    Notes
    -----
    ``labels`` make it the supervised contrastive loss of Khosla et al., between the views: :math:`s_{ii}` is
    then the mean over the rows of the label. ``groups`` keep other pairs of the same item (another caption of
    the image) out of the sums.

    On the CPU the compiled core computes the scores tile by tile, see
    :func:`fastcca.functional.contrastive_loss`; on other devices the same formulas run in PyTorch, on as many
    rows at once as make some four million scores. In neither are all scores of a batch held: memory grows
    with B d. The gradient comes with the value, in closed form, and keeps its digits where the loss is next
    to zero. ``torch.compile`` and ``torch.export`` see one operator (without a process group), ``torch.func``
    differentiates it (``grad``, ``vmap``, ``jvp``). Half precision is computed in float32, also within
    autocast. There is no second derivative.

    References
    ----------
    van den Oord, Li & Vinyals, "Representation learning with contrastive predictive coding", 2018. Radford et
    al., "Learning transferable visual models from natural language supervision", ICML 2021. Khosla et al.,
    "Supervised contrastive learning", NeurIPS 2020.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import ContrastiveLoss
    >>> _ = torch.manual_seed(0)
    >>> f, g, loss = torch.nn.Linear(6, 4), torch.nn.Linear(5, 4), ContrastiveLoss()
    >>> parameters = [*f.parameters(), *g.parameters(), *loss.parameters()]
    >>> optimizer = torch.optim.Adam(parameters, lr=0.01)
    >>> Z = torch.randn(64, 3)
    >>> X, Y = torch.cat([Z, torch.randn(64, 3)], 1), torch.cat([Z.flip(1), torch.randn(64, 2)], 1)
    >>> for _ in range(200):
    ...     optimizer.zero_grad()
    ...     value = loss(f(X), g(Y))
    ...     value.backward()
    ...     optimizer.step()
    >>> bool(value < 1.5), bool(torch.log(torch.tensor(64.0)) > 4)  # chance: log 64
    (True, True)
    """

    _form = "softmax"

    def __init__(
        self,
        temperature: float = 0.07,
        learnable: bool = True,
        min_temperature: float = 0.01,
        similarity: Similarity = "cosine",
        reduction: Reduction = "mean",
        process_group: Any = None,
    ) -> None:
        super().__init__(temperature, learnable, min_temperature, similarity, reduction, process_group)


class SigmoidContrastiveLoss(_Contrastive):
    r"""Sigmoid contrastive loss of a batch of pairs (SigLIP): a scalar to minimise.

    Every row of the first view with every row of the second is a question of its own, whether the two are a
    pair (:math:`y_{ij} = 1`) or not (-1):

    .. math:: \frac1B \sum_{ij} \log(1 + e^{-y_{ij} s_{ij}}), \qquad s_{ij} = \cos(z^1_i, z^2_j) / t + b.

    The logarithm of the scale 1/t and the bias b are parameters of the module for the optimiser to learn.

    Parameters
    ----------
    temperature : float, default=0.1
        The first t, or, where it is not learnt, the one.
    bias : float, default=-10.0
        The first b, likewise: at first nearly all rows are no pairs.
    learnable : bool, default=True
        Whether temperature and bias are parameters.
    min_temperature : float, default=0.0
        The temperature does not fall below this.
    similarity : {"cosine", "inner_product"}, default="cosine"
        Of the scores. A row of zeros has cosine 0 with everything, and no gradient.
    reduction : {"mean", "sum"}, default="mean"
        Over the rows of the batch: divided by B, or not. With weights the term of two rows has the mean of
        theirs.
    process_group : torch.distributed.ProcessGroup, optional
        As of :class:`ContrastiveLoss`.

    Attributes
    ----------
    log_scale, bias : Parameter or buffer of shape ()
        log(1 / t) and b.
    temperature : float
        The present t.

    Raises
    ------
    ValueError, fastcca.errors.NumericalError
        As of :class:`ContrastiveLoss`.

    Notes
    -----
    With ``labels``, :math:`y_{ij} = 1` for all rows of one label; with ``groups`` other pairs of the same
    item are left out. See :class:`ContrastiveLoss` for devices, memory, precision and compilation.

    References
    ----------
    Zhai, Mustafa, Kolesnikov & Beyer, "Sigmoid loss for language image pre-training", ICCV 2023.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import SigmoidContrastiveLoss
    >>> pairs = torch.eye(3)
    >>> loss = SigmoidContrastiveLoss(temperature=0.05, bias=-10.0)
    >>> round(loss(pairs, pairs).item(), 3), round(loss(pairs, pairs.roll(1, 0)).item(), 3)
    (0.0, 20.0)
    """

    _form = "sigmoid"
    bias: Tensor

    def __init__(
        self,
        temperature: float = 0.1,
        bias: float = -10.0,
        learnable: bool = True,
        min_temperature: float = 0.0,
        similarity: Similarity = "cosine",
        reduction: Reduction = "mean",
        process_group: Any = None,
    ) -> None:
        super().__init__(temperature, learnable, min_temperature, similarity, reduction, process_group)
        if not _is_number(bias):
            raise ValueError(f"bias must be a finite number, got {bias!r}")
        self._learn("bias", bias)

    def _bias(self) -> Tensor:
        return self.bias.to(torch.promote_types(self.bias.dtype, torch.float32))

    def extra_repr(self) -> str:
        return f"bias={float(self.bias.detach()):.4g}, {super().extra_repr()}"


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


# ---- the operator


def _compute(
    Z1: Tensor,
    Z2: Tensor,
    scale: Tensor,
    bias: Tensor,
    gradient: bool,
    form: str,
    similarity: str,
    weight: float,
    weights: Tensor | None,
    codes: Tensor | None,
    of_labels: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Value and gradients (empty without ``gradient``), the pairs' losses times ``weight`` or ``weights``."""
    half = Z1.new_full((len(Z1),), 0.5 * weight) if weights is None else 0.5 * weights
    if codes is not None:
        codes = torch.unique(codes, return_inverse=True)[1]
    both = None if codes is None else (codes, codes)
    value, *gradients = _one_way(
        Z1,
        Z2,
        half,
        half,
        float(scale.detach()),
        float(bias.detach()),
        form,
        similarity,
        gradient,
        0,
        both,
        of_labels,
    )
    return _answer(value, gradients, Z1, Z2, scale, bias, gradient)


def _answer(
    value: float | Tensor,
    gradients: list[Any],
    Z1: Tensor,
    Z2: Tensor,
    scale: Tensor,
    bias: Tensor,
    gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    loss = value.to(Z1.dtype) if isinstance(value, Tensor) else scalar(value, Z1.dtype, OVERFLOW)
    if not gradient:
        return (
            loss,
            Z1.new_empty(0, Z1.shape[1]),
            Z2.new_empty(0, Z2.shape[1]),
            scale.new_empty(0),
            bias.new_empty(0),
        )
    of_scale, of_bias = (
        like.new_empty(1).fill_(slope) for slope, like in zip(gradients[2:], (scale, bias), strict=True)
    )
    return loss, gradients[0], gradients[1], of_scale, of_bias


def _runs_in_core(Z: Tensor) -> bool:
    return Z.device.type == "cpu"


def _one_way(
    A: Tensor,
    B: Tensor,
    a_weights: Tensor,
    b_weights: Tensor | None,
    scale: float,
    bias: float,
    form: str,
    similarity: str,
    gradient: bool,
    shift: int,
    codes: tuple[Tensor, Tensor] | None,
    of_labels: bool,
) -> tuple[Any, Any, Any, Any, Any]:
    """As ``batch_contrastive_loss``, by the core or by PyTorch; without ``b_weights`` from A to B alone."""
    kind = "labels" if of_labels else "groups"
    if not _runs_in_core(A):
        return torch_contrastive_loss(
            A, B, a_weights, b_weights, scale, bias, form, similarity, gradient, shift, codes, kind
        )
    value, grad_A, grad_B, of_scale, of_bias = batch_contrastive_loss(
        A.detach().numpy(),
        B.detach().numpy(),
        a_weights.double().contiguous().numpy(),
        0.0 if b_weights is None else b_weights.double().contiguous().numpy(),
        scale,
        bias,
        form,
        similarity,
        gradient,
        shift=shift,
        codes=None if codes is None else (codes[0].contiguous().numpy(), codes[1].contiguous().numpy()),
        kind=kind,
    )
    if grad_A is None or grad_B is None:
        return value, None, None, 0.0, 0.0
    return value, torch.from_numpy(grad_A), torch.from_numpy(grad_B), of_scale, of_bias


_loss = ClosedFormLoss("contrastive_loss", "the contrastive loss", _compute, n_tensors=4)


# ---- process groups


def _compute_in_group(
    Z1: Tensor,
    Z2: Tensor,
    scale: Tensor,
    bias: Tensor,
    gradient: bool,
    form: str,
    similarity: str,
    mean: bool,
    weights: Tensor | None,
    codes: Tensor | None,
    of_labels: bool,
    group: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The same of the batch that the workers hold together.

    A worker takes the scores of its own rows with all others: its share of the loss, with a share of the
    gradients of all rows, which are summed over the workers.
    """
    whole1, start = gathered(Z1, group)
    whole2, _ = gathered(Z2, group)
    own = slice(start, start + len(Z1))
    weights = Z1.new_ones(len(Z1)) if weights is None else weights
    every = gathered(weights, group)[0].to(_sum_dtype(Z1))
    if mean:
        total = every.sum()
        if not bool(total > 0):
            raise ValueError("the weights of a mean must not all be zero")
        every = every / total
    half = 0.5 * every
    pairs = None
    if codes is not None:
        codes = torch.unique(gathered(codes, group)[0], return_inverse=True)[1]
        pairs = codes[own], codes
    options = (
        float(scale.detach()),
        float(bias.detach()),
        form,
        similarity,
        gradient,
        start,
        pairs,
        of_labels,
    )
    local1, local2 = Z1.detach(), Z2.detach()
    if form == "sigmoid":  # each score counts once
        parts = [_one_way(local1, whole2, half[own], half, *options)]
    else:
        parts = [
            _one_way(local1, whole2, half[own], None, *options),
            _one_way(local2, whole1, half[own], None, *options),
        ]
    numbers = [sum(part[k] for part in parts) for k in (0, 3, 4)]
    sums = summed(torch.tensor([float(x) for x in numbers], dtype=_sum_dtype(Z1), device=Z1.device), group)
    value, of_scale, of_bias = (float(x) for x in sums)
    gradients: list[Any] = []
    if gradient:
        (_, one, others2, *_), rest = parts[0], parts[1:]
        two, others1 = (rest[0][1], rest[0][2]) if rest else (torch.zeros_like(Z2), torch.zeros_like(whole1))
        gradients = [own_rows(one, others1, start, group), own_rows(two, others2, start, group)]
        gradients += [of_scale, of_bias]
    return _answer(Z1.new_tensor(value), gradients, Z1, Z2, scale, bias, gradient)


def _sum_dtype(Z: Tensor) -> torch.dtype:
    return torch.float32 if Z.device.type == "mps" else torch.float64


# ---- other devices: the same formulas in PyTorch's own operations


def torch_contrastive_loss(
    A: Tensor,
    B: Tensor,
    a_weights: Tensor,
    b_weights: Tensor | None,
    scale: float,
    bias: float,
    form: str,
    similarity: str,
    gradient: bool,
    shift: int,
    codes: tuple[Tensor, Tensor] | None,
    kind: str,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor, Tensor]:
    """The operator on any device, in the precision of its arguments, a chunk of rows of A at a time."""
    with torch.autocast(A.device.type, enabled=False):
        A, B = A.detach(), B.detach()
        (x, a_lengths), (y, b_lengths) = (_unit(H, similarity) for H in (A, B))
        own = torch.arange(shift, shift + len(x), device=x.device)
        every = torch.arange(len(y), device=y.device)
        by_label = codes is not None and kind == "labels"
        # by default each row is its own item, and its pair's
        of_a, of_b = codes if codes is not None else (own, every)
        wa = a_weights.to(x.dtype)
        wb = None if b_weights is None else b_weights.to(x.dtype)
        s_own = scale * (x * y[own]).sum(1) + bias
        rows = max(1, CHUNK // len(y))
        parts = [slice(i, min(i + rows, len(x))) for i in range(0, len(x), rows)]
        problem = (x, y, wa, wb, scale, bias, of_a, of_b, own, s_own, by_label, parts, gradient)
        found = (_torch_sigmoid if form == "sigmoid" else _torch_softmax)(*problem)
        value, G_a, G_b, of_bias = found
        if G_a is None or G_b is None:
            return value, None, None, value.new_zeros(()), value.new_zeros(())
        of_scale = (x * G_a).sum()
        grad_A, grad_B = (
            _through(scale * G, u, lengths) for G, u, lengths in ((G_a, x, a_lengths), (G_b, y, b_lengths))
        )
        if not bool(torch.isfinite(value)):
            for name, H in (("Z1", A), ("Z2", B)):
                if not bool(torch.isfinite(H).all()):
                    what = "NaN" if bool(torch.isnan(H).any()) else "infinity"
                    raise ValueError(f"Input {name} contains {what}")
            raise NumericalError(OVERFLOW)
        if not all(bool(torch.isfinite(g).all()) for g in (grad_A, grad_B)):
            raise NumericalError(
                "the gradient of the contrastive loss overflows: the rows are too short or the temperature "
                "is too low"
            )
        return value, grad_A, grad_B, of_scale, of_bias


def _unit(H: Tensor, similarity: str) -> tuple[Tensor, Tensor | None]:
    """Rows of length 1 and their lengths; rows of zeros stay."""
    if similarity == "inner_product":
        return H, None
    largest = H.abs().amax(1, keepdim=True)
    H = torch.where(
        largest > 0, H / torch.where(largest > 0, largest, 1), 0
    )  # whose squares do not underflow
    norms = torch.linalg.vector_norm(H, dim=1, keepdim=True)
    return torch.where(norms > 0, H / torch.where(norms > 0, norms, 1), 0), norms * largest


def _through(G: Tensor, x: Tensor, lengths: Tensor | None) -> Tensor:
    """dL/dX = (G - x xᵀG) / ‖X‖ of rows x = X/‖X‖."""
    if lengths is None:
        return G
    return torch.where(lengths > 0, (G - x * (x * G).sum(1, keepdim=True)) / lengths, 0)


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp x), also of large x."""
    return torch.logaddexp(x, torch.zeros_like(x))


def _torch_softmax(
    x: Tensor,
    y: Tensor,
    wa: Tensor,
    wb: Tensor | None,
    scale: float,
    bias: float,
    of_a: Tensor,
    of_b: Tensor,
    own: Tensor,
    s_own: Tensor,
    by_label: bool,
    parts: list[slice],
    gradient: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    """Value, Σ_j W_ij y_j and Σ_i W_ij x_i with W_ij = dLoss/ds_ij, Σ W."""

    def scores(part: slice) -> Tensor:
        s = scale * x[part] @ y.T
        return s if by_label else s.masked_fill(of_a[part, None] == of_b, -math.inf)

    s_own = s_own - bias  # which changes nothing
    to_b = torch.cat([torch.logsumexp(scores(part), 1) for part in parts])
    to_a = None
    if wb is not None:
        to_a = y.new_full((len(y),), -math.inf)
        for part in parts:
            to_a = torch.logaddexp(to_a, torch.logsumexp(scores(part), 0))
    value = x.new_zeros(())
    ways: list[tuple[Tensor, Any, Any]] = []
    of_own = torch.zeros_like(s_own)
    for total, weights in ((to_b, wa), (to_a, wb)):
        if total is None or weights is None:
            continue
        if by_label:
            first = not ways
            here, there, u, v = (of_a, of_b, x, y) if first else (of_b, of_a, y, x)
            n = 1 + int(torch.maximum(of_a.max(), of_b.max()))
            counts = torch.bincount(there, minlength=n).to(x.dtype).clamp(min=1)[:, None]
            means = x.new_zeros(n, x.shape[1]).index_add_(0, there, v) / counts
            share = x.new_zeros(n, x.shape[1]).index_add_(0, here, weights[:, None] * u) / counts
            value = value + (weights * (total - scale * (u * means[here]).sum(1))).sum()
            ways.append((total, -weights[:, None] * means[here], -share[there]))
        else:
            # log(e^s + Σ e) = s + log(1 + e^u), exact where the loss is next to nothing
            u = total - s_own
            value = value + (weights * _softplus(u)).sum()
            of_own = of_own - weights * torch.sigmoid(u)
            ways.append((torch.logaddexp(total, s_own), None, None))
    if not gradient:
        return value, None, None, value
    G_a, G_b = torch.zeros_like(x), torch.zeros_like(y)
    for part in parts:
        s = scores(part)
        W = wa[part, None] * torch.exp(s - ways[0][0][part, None])
        if wb is not None:
            W = W + wb * torch.exp(s - ways[1][0])
        G_a[part] = W @ y
        G_b += W.T @ x[part]
    if by_label:
        G_a += ways[0][1]
        G_b += ways[0][2]
        if wb is not None:
            G_b += ways[1][1]
            G_a += ways[1][2]
    else:
        G_a += of_own[:, None] * y[own]
        G_b.index_add_(0, own, of_own[:, None] * x)
    return value, G_a, G_b, value.new_zeros(())


def _torch_sigmoid(
    x: Tensor,
    y: Tensor,
    wa: Tensor,
    wb: Tensor | None,
    scale: float,
    bias: float,
    of_a: Tensor,
    of_b: Tensor,
    own: Tensor,
    s_own: Tensor,
    by_label: bool,
    parts: list[slice],
    gradient: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    """As for the softmax."""
    wb = y.new_zeros(len(y)) if wb is None else wb
    value, of_bias = x.new_zeros(()), x.new_zeros(())
    G_a, G_b = torch.zeros_like(x), torch.zeros_like(y)
    for part in parts:
        s, equal = scale * x[part] @ y.T + bias, of_a[part, None] == of_b
        weights = wa[part, None] + wb
        if by_label:
            sign = 1 - 2 * equal.to(x.dtype)
        else:
            sign, weights = torch.ones_like(s), weights.masked_fill(equal, 0)
        value = value + (weights * _softplus(sign * s)).sum()
        if gradient:
            W = sign * weights * torch.sigmoid(sign * s)
            G_a[part] = W @ y
            G_b += W.T @ x[part]
            of_bias = of_bias + W.sum()
    if not by_label:
        weights = wa + wb[own]
        value = value + (weights * _softplus(-s_own)).sum()
        of_own = -weights * torch.sigmoid(-s_own)
        G_a += of_own[:, None] * y[own]
        G_b.index_add_(0, own, of_own[:, None] * x)
        of_bias = of_bias + of_own.sum()
    if not gradient:
        return value, None, None, value
    return value, G_a, G_b, of_bias
