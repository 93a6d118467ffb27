"""Large-margin losses of embeddings as operators of PyTorch."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from fastcca._arguments.warn import warn
from fastcca.deep.losses._operator import (
    ClosedFormLoss,
    apply_eagerly,
    common_precision,
    scalar,
    transformed,
)
from fastcca.deep.losses._workers import gathered, own_rows, refuse_transforms, summed, workers_in
from fastcca.errors import NumericalError
from fastcca.functional.hinge import ConstraintTable, batch_hinge_loss

__all__ = [
    "HingeEmbeddingLoss",
    "PairEmbeddingLoss",
    "at_hand",
    "checked_codes",
    "checked_pair",
    "checked_weights",
    "normalised_weights",
    "one_of",
    "weights_in_group",
    "weights_of_mean",
]

Similarity = Literal["euclidean", "cosine"]
Reduction = Literal["mean", "sum", "none"]
Negatives = Literal["sum", "hardest", "semihard", "rank"]
Loss = Literal["hinge", "softmax"]

REDUCTIONS = ("mean", "sum", "none")
NEGATIVES = ("sum", "hardest", "semihard", "rank")
OVERFLOW = "the hinge loss overflows: scale the rows or the margin down"
COLLAPSED = 50  # batches in a row whose loss is that of a collapsed embedding

# The parts of a constraint table, as buffers of the module.
_TABLE = ("class_start", "positive_nodes", "negative_start", "negative_nodes")
_INTEGERS = frozenset((torch.int64, torch.int32, torch.int16, torch.uint8))


class HingeEmbeddingLoss(nn.Module):
    """Large-margin loss of a batch against the embeddings of its classes: a scalar to minimise.

    With D(z, u) = ||z - u||² or minus the cosine, the loss of a sample z of class y is

        sum_c max(0, margin + D(z, u_y) - D(z, u_c))   over all other classes c.

    Both the network that gives z and the embeddings u may be learnt. A ``table`` replaces (y, all others) by
    other pairs of positive and negative nodes: the superclasses of y against their siblings, say.

    Parameters
    ----------
    margin : float or Tensor of shape (C, C), default=1.0
        One for all, or the cost of taking class y (row) for class c (column); with ``table`` of shape
        (classes, nodes).
    similarity : {"euclidean", "cosine"}
        D: the squared Euclidean distance, or minus the cosine.
    reduction : {"mean", "sum", "none"}
        Over the batch: the mean (weighted where there are weights), the sum, or the losses one by one, (B,).
    negatives : {"sum", "hardest", "semihard", "rank"}, default="sum"
        The reduction over the classes that violate the margin: "sum", all of them; "hardest", the hardest
        negative alone; "semihard", the hardest of the negatives that are farther than the own class, or,
        where none is, the farthest of all; "rank", the sum times L(r)/r, where r counts the violations and
        L(r) = 1 + 1/2 + ... + 1/r (WARP's weights).
    loss : {"hinge", "softmax"}
        "softmax" is log(1 + sum_c exp(D(z, u_y) - D(z, u_c))), the log-loss of classes at negative distances
        as logits. It uses neither ``margin`` nor ``negatives``.
    class_weight : Tensor of shape (C,), optional
        Factors of the losses of the samples of each class, not negative.
    table : fastcca.functional.ConstraintTable, optional
        Pairs of positive and negative nodes of each class. By default a class against all others. ``loss``
        and ``negatives`` hold for each pair, whose losses are summed.
    process_group : torch.distributed.ProcessGroup, optional
        Workers that hold parts of one batch. The loss and the gradients are those of the whole batch; the
        gradient of Z is multiplied by the number of workers, so that the mean over workers that
        ``DistributedDataParallel`` takes is the whole batch's gradient; that of U is the whole batch's on
        every worker.

    Notes
    -----
    "hardest" can collapse all embeddings into one point, above all at the start of the training of a network:
    there the loss of a sample is the margin, and every step towards the hardest negative is as good as one
    away from it. "semihard" and "sum" do not.

    On the CPU the tensors are read in place by the compiled core, see
    :func:`fastcca.functional.hinge_embedding_loss`; on other devices the same formulas run in PyTorch.
    ``torch.compile`` and ``torch.export`` see one operator. Half precision is computed in float32, also
    within autocast. ``torch.func`` differentiates it (``grad``, ``vmap``, ``jvp``); there is no second
    derivative. With ``reduction="none"`` it runs in PyTorch's own operations throughout.

    References
    ----------
    Weinberger & Chapelle, "Large margin taxonomy embedding for document categorization", NIPS 2008. Schroff,
    Kalenichenko & Philbin, "FaceNet: a unified embedding for face recognition and clustering", CVPR 2015
    ("semihard"). Weston, Bengio & Usunier, "WSABIE: scaling up to large vocabulary image annotation", IJCAI
    2011 ("rank").

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import HingeEmbeddingLoss
    >>> _ = torch.manual_seed(0)
    >>> net, classes = torch.nn.Linear(6, 2), torch.nn.Embedding(3, 2)
    >>> loss = HingeEmbeddingLoss()(net(torch.randn(10, 6)), classes.weight, torch.randint(3, (10,)))
    >>> loss.backward()
    >>> bool(loss > 0), classes.weight.grad.shape
    (True, torch.Size([3, 2]))
    """

    costs: Tensor | None
    class_weight: Tensor | None
    class_start: Tensor | None
    positive_nodes: Tensor | None
    negative_start: Tensor | None
    negative_nodes: Tensor | None

    def __init__(
        self,
        margin: float | Tensor = 1.0,
        similarity: Similarity = "euclidean",
        reduction: Reduction = "mean",
        negatives: Negatives = "sum",
        loss: Loss = "hinge",
        class_weight: Tensor | None = None,
        table: ConstraintTable | None = None,
        process_group: Any = None,
    ) -> None:
        super().__init__()
        self.process_group = process_group
        self._set_table(table)
        if isinstance(margin, Tensor):
            square = margin.ndim == 2 and (table is not None or margin.shape[0] == margin.shape[1])
            if not square or not margin.is_floating_point():
                what = "a square matrix of costs" if table is None else "a matrix of costs"
                raise ValueError(
                    f"margin must be a number or {what}, got {margin.dtype} {tuple(margin.shape)}"
                )
            if not bool(torch.isfinite(margin).all()):
                raise ValueError("margin contains NaN or infinity")
            if loss == "softmax":
                raise ValueError("loss='softmax' has no margin: a matrix of costs would not be used")
        self.margin = 0.0 if isinstance(margin, Tensor) else _number(margin)
        self.register_buffer("costs", margin if isinstance(margin, Tensor) else None)
        self.similarity = one_of("similarity", similarity, ("euclidean", "cosine"))
        self.reduction = one_of("reduction", reduction, REDUCTIONS)
        self.negatives = one_of("negatives", negatives, NEGATIVES)
        self.loss = one_of("loss", loss, ("hinge", "softmax"))
        if class_weight is not None:
            checked_weights("class_weight", class_weight, None)
        self.register_buffer("class_weight", class_weight)

    def _set_table(self, table: ConstraintTable | None) -> None:
        """The table as tensors, which move to the module's device, and the sizes that it pads to."""
        if table is not None and not isinstance(table, ConstraintTable):
            raise TypeError(f"table must be a ConstraintTable or None, got {type(table).__name__}")
        self.table = table
        arrays: tuple[Any, ...] = (None,) * 4
        self._most = (0, 0)  # pairs of a class, negative nodes of a pair
        self._n_classes = self._n_nodes = 0
        if table is not None:
            self._n_classes, self._n_nodes = table.n_classes, table.n_nodes
            arrays = table.class_start, table.positives, table.negative_start, table.negatives
            counts = (np.diff(table.class_start), np.diff(table.negative_start))
            self._most = int(counts[0].max(initial=0)), int(counts[1].max(initial=0))
        for name, array in zip(_TABLE, arrays, strict=True):
            tensor = None if array is None else torch.from_numpy(array.copy())
            self.register_buffer(name, tensor, persistent=False)  # the constructor gives it

    def extra_repr(self) -> str:
        margin = "a matrix" if self.costs is not None else f"{self.margin}"
        pairs = "" if self.table is None else f", table of {self.table.n_pairs} pairs"
        return (
            f"margin={margin}, similarity={self.similarity!r}, reduction={self.reduction!r}, "
            f"negatives={self.negatives!r}, loss={self.loss!r}{pairs}"
        )

    def forward(self, Z: Tensor, U: Tensor, y: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss of rows ``Z`` (B, d) of classes ``y`` (B,) against the class embeddings ``U`` (C, d).

        With ``table``, ``U`` (n_nodes, d) are those of its nodes. ``sample_weight`` (B,) are factors of the
        rows' losses, not negative.
        """
        Z, U = checked_pair(Z, U, "Z", "U")
        if not isinstance(y, Tensor) or y.dtype not in _INTEGERS:
            raise TypeError(f"y must be a tensor of integers, got {_kind(y)}")
        if y.ndim != 1 or len(y) != len(Z) or y.device != Z.device:
            raise ValueError(
                f"y must hold one class for each of the {len(Z)} rows of Z on {Z.device}, got shape "
                f"{tuple(y.shape)} on {y.device}"
            )
        table = self.table
        if self._n_nodes > len(U):
            raise ValueError(f"table has {self._n_nodes} nodes, but U has {len(U)} rows")
        n_classes = len(U) if table is None else self._n_classes
        costs = self.costs
        if costs is not None:
            if costs.shape != (n_classes, len(U)):
                raise ValueError(
                    f"U has {U.shape[0]} classes, but margin is of {costs.shape[0]}"
                    if table is None
                    else f"margin must have shape (classes, nodes) = {(n_classes, len(U))}, got "
                    f"{tuple(costs.shape)}"
                )
            costs = costs.to(Z.dtype)
        y = y if y.dtype == torch.int64 else y.long()
        weights = None if sample_weight is None else checked_weights("sample_weight", sample_weight, Z)
        if self.class_weight is not None:
            if len(self.class_weight) != n_classes:
                raise ValueError(
                    f"{'U' if table is None else 'table'} has {n_classes} classes, but class_weight is of "
                    f"{len(self.class_weight)}"
                )
            _check_classes(y, n_classes)
            of_class = self.class_weight.to(Z)[y]
            weights = of_class if weights is None else weights * of_class
        form = "softmax" if self.loss == "softmax" else self.negatives
        parts = (self.class_start, self.positive_nodes, self.negative_start, self.negative_nodes)
        if self.process_group is not None:
            _refuse_in_group(self, Z, U)
            gradient = torch.is_grad_enabled() and (Z.requires_grad or U.requires_grad)
            own = weights_in_group(weights, Z, self.reduction, self.process_group)
            place = (
                gradient,
                self.process_group,
                y,
                costs,
                self.margin,
                self.similarity,
                form,
                1.0,
                own,
                None,
            )
            return apply_eagerly(
                _hinge_in_group, _hinge_loss.no_second, (Z, U), *place, *parts, *self._most, again=False
            )
        if self.reduction == "none":
            _check_classes(y, n_classes)
            pairs = None if table is None else _padded(y, *parts, *self._most)
            losses = sample_losses(Z, U, y, costs, self.margin, self.similarity, form, None, pairs)
            return _in_range(losses if weights is None else weights * losses)
        weight = 1 / len(Z) if self.reduction == "mean" else 1.0
        weights = normalised_weights(weights, self.reduction)
        options = (costs, self.margin, self.similarity, form, weight, weights, None)
        if table is None:
            return _hinge_loss(Z, U, y, *options)
        return _hinge_loss(Z, U, y, *options, *parts, *self._most)


class PairEmbeddingLoss(nn.Module):
    """Two-way large-margin loss of a batch of pairs: each row nearer to its pair than to any other row.

        sum_{j != i} max(0, margin + D(x_i, y_i) - D(x_i, y_j)) + max(0, margin + D(x_i, y_i) - D(x_j, y_i))

    for each pair i of the batch: the sum of two :class:`HingeEmbeddingLoss`, of the rows of the first view
    against those of the second and vice versa, where the paired row takes the place of the class and the
    other rows of the batch are the negatives.

    Parameters
    ----------
    margin : float, default=1.0
        In the units of D.
    similarity : {"euclidean", "cosine"}
        D: the squared Euclidean distance, or minus the cosine.
    reduction : {"mean", "sum", "none"}
        Over the pairs of the batch: the mean, weighted where there are weights, the sum, or the losses of the
        pairs, (B,).
    negatives : {"sum", "hardest", "semihard", "rank"}, default="sum"
        The reduction over the rows that violate the margin, as of :class:`HingeEmbeddingLoss`. **"hardest"
        can collapse**, see below.
    loss : {"hinge", "softmax"}
        "softmax" is the log-loss of the paired row among all rows, at negative distances as logits (InfoNCE).
        It uses neither ``margin`` nor ``negatives``.
    process_group : torch.distributed.ProcessGroup, optional
        Workers that hold parts of one batch: each row meets the rows of all workers. The loss and the
        gradient are those of the whole batch; the gradient is multiplied by the number of workers, so that
        the mean over workers that ``DistributedDataParallel`` takes is the whole batch's gradient.

    Warns
    -----
    UserWarning
        Once, when the loss of the hardest negatives was that of a collapsed embedding in 50 batches in a row.
        On the CPU alone: elsewhere every look at the loss would wait for the device.

    Notes
    -----
    Without negatives, minimising D(f(x), g(y)) over pairs alone, every row may go to one and the same point.
    The hardest negatives alone often lead there too when a network starts to learn: once all rows are nearly
    one point, each loss is twice the margin and its gradient next to nothing. Recall is then at chance. Train
    with all negatives or with "semihard" ones, at least at first.

    See :class:`HingeEmbeddingLoss` for devices, precision, compilation and sources.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import PairEmbeddingLoss
    >>> pairs = torch.eye(3)
    >>> PairEmbeddingLoss()(pairs, pairs), PairEmbeddingLoss()(pairs, pairs.roll(1, 0)).item()
    (tensor(0.), 8.0)
    """

    def __init__(
        self,
        margin: float = 1.0,
        similarity: Similarity = "euclidean",
        reduction: Reduction = "mean",
        negatives: Negatives = "sum",
        loss: Loss = "hinge",
        process_group: Any = None,
    ) -> None:
        super().__init__()
        self.margin = _number(margin)
        self.process_group = process_group
        self.similarity = one_of("similarity", similarity, ("euclidean", "cosine"))
        self.reduction = one_of("reduction", reduction, REDUCTIONS)
        self.negatives = one_of("negatives", negatives, NEGATIVES)
        self.loss = one_of("loss", loss, ("hinge", "softmax"))
        self._collapsed = 0

    def extra_repr(self) -> str:
        return (
            f"margin={self.margin}, similarity={self.similarity!r}, reduction={self.reduction!r}, "
            f"negatives={self.negatives!r}, loss={self.loss!r}"
        )

    def forward(
        self, Z1: Tensor, Z2: Tensor, groups: Tensor | None = None, sample_weight: Tensor | None = None
    ) -> Tensor:
        """The loss of rows ``Z1`` (B, d) paired with rows ``Z2`` (B, d).

        ``groups`` (B,) are integers that say which item a pair is of (several captions of a picture): rows of
        one item are not each other's negatives. ``sample_weight`` (B,) are factors of the pairs' losses, not
        negative.
        """
        Z1, Z2 = checked_pair(Z1, Z2, "Z1", "Z2")
        if Z1.shape[0] != Z2.shape[0]:
            raise ValueError(f"Z1 has {Z1.shape[0]} rows and Z2 has {Z2.shape[0]}: they must be paired")
        if groups is not None:
            checked_codes("groups", groups, Z1)
        weights = None if sample_weight is None else checked_weights("sample_weight", sample_weight, Z1)
        form = "softmax" if self.loss == "softmax" else self.negatives
        if self.process_group is not None:
            _refuse_in_group(self, Z1, Z2)
            gradient = torch.is_grad_enabled() and (Z1.requires_grad or Z2.requires_grad)
            mean = self.reduction == "mean"
            options = (self.margin, self.similarity, form, mean, weights, groups, self.process_group)
            return apply_eagerly(
                _pairs_in_group, _pair_loss.no_second, (Z1, Z2), gradient, *options, again=False
            )
        if self.reduction == "none":
            y, others = torch.arange(len(Z1), device=Z1.device), _other_groups(groups)
            losses = sample_losses(Z1, Z2, y, None, self.margin, self.similarity, form, others)
            losses = losses + sample_losses(Z2, Z1, y, None, self.margin, self.similarity, form, others)
            return _in_range(losses if weights is None else weights * losses)
        weight = 1 / len(Z1) if self.reduction == "mean" else 1.0
        normalised = normalised_weights(weights, self.reduction)
        value = _in_range(_pair_loss(Z1, Z2, self.margin, self.similarity, form, weight, normalised, groups))
        if form == "hardest" and weights is None and at_hand(value) and value.requires_grad:
            self._watch(value.item() if self.reduction == "mean" else value.item() / len(Z1))
        return value

    def _watch(self, mean_loss: float) -> None:
        """Counts the batches whose loss is that of one point, and says so once."""
        if self._collapsed > COLLAPSED:
            return
        # of one point it is 2 margin; nearing it, embeddings come from above, and those that learn pass below
        one_point = 1.9 * self.margin <= mean_loss <= 2.5 * self.margin and self.margin > 0
        self._collapsed = self._collapsed + 1 if one_point else 0
        if self._collapsed == COLLAPSED:
            self._collapsed += 1  # once
            warn(
                f"the loss of the hardest negatives was about twice the margin in {COLLAPSED} batches in a "
                f"row ({mean_loss:.3g} in the last), as of embeddings that have collapsed into one point; "
                "use negatives='semihard' or 'sum'"
            )


def at_hand(value: Tensor) -> bool:
    """Whether the number can be read without waiting for a device, outside of compilers and transforms."""
    return value.device.type == "cpu" and not torch.compiler.is_compiling() and not transformed(value)


def _in_range(value: Tensor) -> Tensor:
    """The value, refused on the CPU where it is infinite: the core refuses each sum alone."""
    if at_hand(value) and not bool(torch.isfinite(value).all()):
        raise NumericalError(OVERFLOW)
    return value


def _check_classes(y: Tensor, n_classes: int) -> None:
    """As the core checks them, for PyTorch's operations."""
    if torch.compiler.is_compiling() or transformed(y) or y.device.type != "cpu":
        return
    bad = (y < 0) | (y >= n_classes)
    if bool(bad.any()):
        row = int(bad.int().argmax())
        raise ValueError(f"y must hold classes from 0 to {n_classes - 1}, got {int(y[row])} at row {row}")


def checked_codes(name: str, codes: Any, like: Tensor) -> None:
    """Refuses what is not one integer for each row of ``like``: groups, labels."""
    if not isinstance(codes, Tensor) or codes.dtype not in _INTEGERS:
        raise TypeError(f"{name} must be a tensor of integers, got {_kind(codes)}")
    if codes.shape != (len(like),) or codes.device != like.device:
        raise ValueError(
            f"{name} must hold one item for each of the {len(like)} pairs on {like.device}, got shape "
            f"{tuple(codes.shape)} on {codes.device}"
        )


def checked_weights(name: str, weights: Any, like: Tensor | None) -> Tensor:
    """Weights as constants of the dtype of ``like``, one for each of its rows."""
    if not isinstance(weights, Tensor) or weights.is_complex() or weights.dtype == torch.bool:
        raise TypeError(f"{name} must be a tensor of numbers, got {_kind(weights)}")
    shape = tuple(weights.shape)
    if weights.ndim != 1 or (
        like is not None and (len(weights) != len(like) or weights.device != like.device)
    ):
        expected = (
            "be 1-d" if like is None else f"hold one weight for each of the {len(like)} rows on {like.device}"
        )
        raise ValueError(f"{name} must {expected}, got shape {shape} on {weights.device}")
    if weights.requires_grad:
        raise ValueError(f"{name} is a constant of the loss: it must not require a gradient")
    readable = not (torch.compiler.is_compiling() or transformed(weights))
    if readable and not bool((torch.isfinite(weights) & (weights >= 0)).all()):
        raise ValueError(f"{name} must hold finite numbers that are not negative")
    return weights if like is None else weights.to(like.dtype)


def normalised_weights(weights: Tensor | None, reduction: str) -> Tensor | None:
    """With sum 1 for a weighted mean."""
    if weights is None or reduction != "mean":
        return weights
    if not (torch.compiler.is_compiling() or transformed(weights)) and not bool(weights.any()):
        raise ValueError("the weights of a mean must not all be zero")
    return weights / weights.sum()


def weights_in_group(weights: Tensor | None, like: Tensor, reduction: str, group: Any) -> Tensor:
    """Those of a worker's own rows in the sum or the mean over the rows of all workers."""
    own = like.new_ones(len(like)) if weights is None else weights
    if reduction != "mean":
        return own
    total = summed(own.detach().sum(), group)
    if not bool(total):
        raise ValueError("the weights of a mean must not all be zero")
    return own / total


def _refuse_in_group(loss: HingeEmbeddingLoss | PairEmbeddingLoss, *tensors: Tensor) -> None:
    if loss.reduction == "none":
        raise ValueError("reduction='none' with a process_group: take 'mean' or 'sum'")
    if transformed(*tensors):
        raise refuse_transforms(type(loss).__name__)


def weights_of_mean(sample_weight: Tensor | None, like: Tensor) -> Tensor | None:
    """Checked weights of the rows of ``like``, with sum 1."""
    if sample_weight is None:
        return None
    return normalised_weights(checked_weights("sample_weight", sample_weight, like), "mean")


def _number(margin: Any) -> float:
    if not isinstance(margin, Real) or isinstance(margin, bool) or not 0 <= float(margin) < math.inf:
        raise ValueError(f"margin must be finite and not negative, got {margin!r}")
    return float(margin)


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return str(value)


def _kind(value: Any) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__


def checked_pair(A: Tensor, B: Tensor, a: str, b: str) -> tuple[Tensor, Tensor]:
    for name, H in ((a, A), (b, B)):
        if not isinstance(H, Tensor) or not H.is_floating_point():
            raise TypeError(f"{name} must be a floating-point tensor, got {_kind(H)}")
        if H.ndim != 2 or H.shape[0] == 0 or H.shape[1] == 0:
            raise ValueError(f"{name} must have shape (rows, columns), got {tuple(H.shape)}")
    if A.device != B.device:
        raise ValueError(f"{a} is on {A.device} and {b} on {B.device}: they must be on one device")
    if A.shape[1] != B.shape[1]:
        raise ValueError(f"{a} has {A.shape[1]} columns and {b} has {B.shape[1]}: they must be of one space")
    first, second = common_precision(A, B)
    return first, second


# ---- the operators


def _compute(
    Z: Tensor,
    U: Tensor,
    gradient: bool,
    y: Tensor,
    costs: Tensor | None,
    margin: float,
    similarity: str,
    negatives: str,
    weight: float,
    weights: Tensor | None = None,
    is_negative: Tensor | None = None,
    class_start: Tensor | None = None,
    positive_nodes: Tensor | None = None,
    negative_start: Tensor | None = None,
    negative_nodes: Tensor | None = None,
    most_pairs: int = 0,
    most_negatives: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Value and both gradients (empty where none is asked for), the samples' losses times ``weight``.

    ``weights`` (B,) take the place of ``weight``; ``is_negative`` (classes, C) says which nodes are negative
    for samples of a class, all but its own by default; the next four are the parts of a constraint table, the
    last two its largest numbers of pairs of a class and of negative nodes of a pair. ``negatives`` may be
    "softmax" too.
    """
    parts = (class_start, positive_nodes, negative_start, negative_nodes)
    if not _runs_in_core(Z):
        pairs = None if class_start is None else _padded(y, *parts, most_pairs, most_negatives)
        return torch_hinge_loss(
            Z, U, gradient, y, costs, margin, similarity, negatives, weight, weights, is_negative, pairs
        )
    table = None if class_start is None else tuple(part.numpy() for part in parts if part is not None)
    if is_negative is not None:
        if negatives in ("sum", "hardest", "rank"):  # what costs -inf violates no margin
            costs = (Z.new_tensor(margin) if costs is None else costs).where(is_negative, -math.inf)
        else:
            table = _table(is_negative)
    value, grad_Z, grad_U = batch_hinge_loss(
        Z.detach().numpy(),
        U.detach().numpy(),
        y.numpy(),
        weight if weights is None else weights.double().contiguous().numpy(),
        margin if costs is None else costs.numpy(),
        cast(Any, table),
        similarity,
        negatives,
        gradient,
    )
    loss = scalar(value, Z.dtype, OVERFLOW)
    if grad_Z is None or grad_U is None:
        return loss, Z.new_empty(0, Z.shape[1]), Z.new_empty(0, Z.shape[1])
    return loss, torch.from_numpy(grad_Z), torch.from_numpy(grad_U)


def _hinge_in_group(
    Z: Tensor, U: Tensor, gradient: bool, group: Any, *options: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """The same of the rows that the workers hold together, against classes that all of them have."""
    value, grad_Z, grad_U = _compute(Z, U, gradient, *options)
    total = summed(value, group)
    if not gradient:
        return total, grad_Z, grad_U
    return total, grad_Z.mul_(workers_in(group)), summed(grad_U.contiguous(), group)


def _runs_in_core(Z: Tensor) -> bool:
    return Z.device.type == "cpu"


def _table(is_negative: Tensor) -> tuple[Any, Any, Any, Any]:
    """One pair a class, its own node and its negative ones: a constraint table of the core."""
    n_classes = len(is_negative)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), is_negative.sum(1).cumsum(0)])
    own = torch.arange(n_classes + 1)
    return own.numpy(), own[:-1].numpy(), starts.numpy(), is_negative.nonzero()[:, 1].contiguous().numpy()


def _compute_pairs(
    Z1: Tensor,
    Z2: Tensor,
    gradient: bool,
    margin: float,
    similarity: str,
    negatives: str,
    weight: float,
    weights: Tensor | None = None,
    groups: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Both directions; the gradients of the one are added to those of the other."""
    options = (None, margin, similarity, negatives, weight, weights, _other_groups(groups))
    y = torch.arange(len(Z1), device=Z1.device)
    value, grad1, grad2 = _compute(Z1, Z2, gradient, y, *options)
    back, back2, back1 = _compute(Z2, Z1, gradient, y, *options)
    total = value + back
    if _runs_in_core(Z1) and bool(total.isinf()):
        raise NumericalError(OVERFLOW)
    return total, grad1.add_(back1), grad2.add_(back2)


def _pairs_in_group(
    Z1: Tensor,
    Z2: Tensor,
    gradient: bool,
    margin: float,
    similarity: str,
    negatives: str,
    mean: bool,
    weights: Tensor | None,
    groups: Tensor | None,
    group: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same of the batch that the workers hold together: of its own rows with all of the other view."""
    whole1, start = gathered(Z1, group)
    whole2, _ = gathered(Z2, group)
    together = gathered(Z1.new_ones(len(Z1)) if weights is None else weights, group)[0]
    every = normalised_weights(together, "mean") if mean else together
    own = None if every is None else every[start : start + len(Z1)]
    others = None if groups is None else _other_groups(gathered(groups, group)[0])
    y = torch.arange(start, start + len(Z1), device=Z1.device)
    options = (None, margin, similarity, negatives, 1.0, own, others)
    value, one, others2 = _compute(Z1.detach(), whole2, gradient, y, *options)
    back, two, others1 = _compute(Z2.detach(), whole1, gradient, y, *options)
    total = summed(value + back, group)
    if not gradient:
        return total, one, two
    return total, own_rows(one, others1, start, group), own_rows(two, others2, start, group)


def _other_groups(groups: Tensor | None) -> Tensor | None:
    """Which rows are of another group, (B, B)."""
    return None if groups is None else groups[:, None] != groups


_hinge_loss = ClosedFormLoss("hinge_embedding_loss", "the hinge loss", _compute)
_pair_loss = ClosedFormLoss("pair_embedding_loss", "the hinge loss", _compute_pairs)


# ---- other devices: the same formulas in PyTorch's own operations


def torch_hinge_loss(
    Z: Tensor,
    U: Tensor,
    gradient: bool,
    y: Tensor,
    costs: Tensor | None,
    margin: float,
    similarity: str,
    negatives: str,
    weight: float,
    weights: Tensor | None = None,
    is_negative: Tensor | None = None,
    pairs: Pairs | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator in PyTorch's own operations, on any device, in the precision of its arguments."""
    with torch.autocast(Z.device.type, enabled=False):
        Z, U = Z.detach(), U.detach()
        z, u, lengths, D = _distances(Z, U, similarity)
        values, W = _losses(D, y, margin if costs is None else costs[y], negatives, is_negative, pairs)
        scale = Z.new_full((len(Z),), weight) if weights is None else weights.to(Z.dtype)
        value = (scale * values).sum()
        if not gradient:
            return value, Z.new_empty(0, Z.shape[1]), Z.new_empty(0, Z.shape[1])
        W = W * scale[:, None]
        P, Q = W @ u, W.T @ z
        if lengths is None:
            return value, 2 * P, 2 * (Q - W.sum(0)[:, None] * u)
        grads = [
            torch.where(a > 0, (G - x * (x * G).sum(1, keepdim=True)) / a, 0)
            for G, x, a in zip((P, Q), (z, u), lengths, strict=True)
        ]
        return value, grads[0], grads[1]


def sample_losses(
    Z: Tensor,
    U: Tensor,
    y: Tensor,
    costs: Tensor | None,
    margin: float,
    similarity: str,
    negatives: str,
    is_negative: Tensor | None = None,
    pairs: Pairs | None = None,
) -> Tensor:
    """The loss of each sample (B,), differentiated by PyTorch itself."""
    with torch.autocast(Z.device.type, enabled=False):
        D = _distances(Z, U, similarity)[3]
        delta: Any = margin if costs is None else costs[y]
        return _losses(D, y, delta, negatives, is_negative, pairs)[0]


def _distances(Z: Tensor, U: Tensor, similarity: str) -> tuple[Tensor, Tensor, list[Tensor] | None, Tensor]:
    """z and u as D is made of them, their norms for the cosine, and D up to a term of the row."""
    if similarity == "cosine":
        lengths = [torch.linalg.vector_norm(H, dim=1, keepdim=True) for H in (Z, U)]
        z, u = (
            torch.where(a > 0, H / torch.where(a > 0, a, 1), 0) for H, a in zip((Z, U), lengths, strict=True)
        )
        return z, u, lengths, -z @ u.T
    # less the mean of U, and less ‖z‖², neither of which changes a difference of distances
    shift = U.detach().mean(0)
    z, u = Z - shift, U - shift
    return z, u, None, u.square().sum(1) - 2 * z @ u.T


class Pairs(NamedTuple):
    """The pairs of a batch's samples, padded to the same number of them and of negative nodes."""

    positive: Tensor  # (B, P)
    negative: Tensor  # (B, P, M)
    is_negative: Tensor  # (B, P, M): no padding


def _padded(
    y: Tensor,
    class_start: Tensor | None,
    positive_nodes: Tensor | None,
    negative_start: Tensor | None,
    negative_nodes: Tensor | None,
    most_pairs: int,
    most_negatives: int,
) -> Pairs | None:
    """The pairs of samples of classes ``y``; no size depends on the values of a tensor."""
    if class_start is None or positive_nodes is None or negative_start is None or negative_nodes is None:
        return None
    if not len(positive_nodes) or not len(negative_nodes):
        nothing = y.new_zeros((len(y), 0, 0))
        return Pairs(y.new_zeros((len(y), 0)), nothing, nothing > 0)
    pair = class_start[y][:, None] + torch.arange(most_pairs, device=y.device)
    is_pair = pair < class_start[y + 1][:, None]
    pair = pair.clamp(max=len(positive_nodes) - 1)
    node = negative_start[pair][..., None] + torch.arange(most_negatives, device=y.device)
    is_negative = is_pair[..., None] & (node < negative_start[pair + 1][..., None])
    node = node.clamp(max=len(negative_nodes) - 1)
    return Pairs(positive_nodes[pair], negative_nodes[node], is_negative)


def _losses(
    D: Tensor, y: Tensor, delta: Any, negatives: str, is_negative: Tensor | None, pairs: Pairs | None
) -> tuple[Tensor, Tensor]:
    """From D (B, C) the samples' losses (B,) and W (B, C), their derivatives by -D, whose rows sum to 0."""
    if pairs is not None:
        return _table_losses(D, delta, negatives, pairs)
    own = y[:, None]
    e = D.gather(1, own) - D
    if is_negative is None:
        negative = torch.ones_like(e, dtype=torch.bool).scatter(1, own, False)
    else:
        negative = is_negative[y].scatter(1, own, False)
    values, W = _reduced(e, delta, negatives, negative)
    return values, W.scatter(1, own, -W.scatter(1, own, 0).sum(1, keepdim=True))


def _table_losses(D: Tensor, delta: Any, negatives: str, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """The same for the pairs of a table; a sample's loss is the sum of its pairs'."""
    B, P, M = pairs.negative.shape
    W = torch.zeros_like(D)
    if P == 0 or M == 0:
        return D.new_zeros(B) + 0 * D.sum(1), W
    nodes = pairs.negative.reshape(B, P * M)
    e = D.gather(1, pairs.positive)[..., None] - D.gather(1, nodes).reshape(B, P, M)
    if isinstance(delta, Tensor):
        delta = delta.gather(1, nodes).reshape(B, P, M)
    values, w = _reduced(e, delta, negatives, pairs.is_negative)
    W = W.scatter_add(1, nodes, w.reshape(B, P * M)).scatter_add(1, pairs.positive, -w.sum(2))
    return values.sum(1), W


def _reduced(e: Tensor, delta: Any, negatives: str, negative: Tensor) -> tuple[Tensor, Tensor]:
    """From e (..., C), D of the positive node less that of others, the losses (...,) and their derivatives.

    Those are by e, for the nodes that are ``negative``, 0 for the others.
    """
    if negatives == "softmax":
        # log(1 + Σ_c exp(e_c))
        one = torch.zeros_like(e[..., :1])
        e = torch.cat([one, e.where(negative, -math.inf)], -1)
        return torch.logsumexp(e, -1), torch.softmax(e, -1)[..., 1:]
    v = delta + e
    positive = v.clamp(min=0).where(negative, 0)
    if negatives == "sum":
        W = (positive > 0).to(e.dtype)
    elif negatives == "rank":
        # L(r)/r, L(r) = 1 + 1/2 + … + 1/r
        steps = 1 / torch.arange(1, e.shape[-1] + 1, dtype=e.dtype, device=e.device)
        weight_of = torch.cat([steps.new_zeros(1), steps.cumsum(0) * steps])
        mask = positive > 0
        W = mask * weight_of[mask.sum(-1, keepdim=True)]
    else:
        if negatives == "semihard":
            farther = negative & (e < 0)
            hard = v.where(farther, -math.inf)
            easy = v.where(negative, math.inf)
            at = torch.where(farther.any(-1, keepdim=True), hard.argmax(-1, True), easy.argmin(-1, True))
        else:
            at = positive.argmax(-1, True)
        W = torch.zeros_like(e).scatter(-1, at, (positive.gather(-1, at) > 0).to(e.dtype))
    return (W * positive).sum(-1), W
