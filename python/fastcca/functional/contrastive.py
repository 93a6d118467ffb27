"""Contrastive losses of two batches of paired rows: each row nearest to its pair among all rows."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastcca import _core
from fastcca._arguments.arrays import as_matrix, as_weights, check_same_rows, common_float
from fastcca._arguments.parameters import thread_count
from fastcca.errors import NumericalError
from fastcca.functional._docs import documented

__all__ = ["contrastive_loss"]

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
Form = Literal["softmax", "sigmoid"]
Similarity = Literal["cosine", "inner_product"]
Reduction = Literal["mean", "sum"]


@documented
def contrastive_loss(
    Z1: npt.ArrayLike,
    Z2: npt.ArrayLike,
    *,
    loss: Form = "softmax",
    temperature: float = 0.07,
    bias: float = 0.0,
    similarity: Similarity = "cosine",
    reduction: Reduction = "mean",
    labels: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    gradient: bool = True,
    n_threads: int | None = None,
) -> tuple[float, Array | None, Array | None, float | None, float | None]:
    r"""Contrastive loss of paired rows, with its gradients.

    With the scores :math:`s_{ij} = \cos(z^1_i, z^2_j) / t + b` of all rows of the first view with all rows of
    the second, the loss of a pair i is, for "softmax" (InfoNCE in both directions, as of CLIP)

    .. math:: \tfrac12 \Big(\log \sum_j e^{s_{ij}} - s_{ii}\Big) + \tfrac12 \Big(\log \sum_j e^{s_{ji}} -
        s_{ii}\Big),

    and for "sigmoid" (SigLIP), with :math:`y_{ij} = 1` for j = i and -1 for all others,

    .. math:: \sum_j \log(1 + e^{-y_{ij} s_{ij}}).

    Parameters
    ----------
    Z1, Z2 : array-like of shape (n, d)
        Paired rows. float32 and float64 arrays are read in place.
    loss : {"softmax", "sigmoid"}
    temperature : float
        t > 0.
    bias : float
        b, of "sigmoid" alone: "softmax" does not depend on it.
    similarity : {"cosine", "inner_product"}
        Of the scores. A row of zeros has cosine 0 with everything, and no gradient.
    reduction : {"mean", "sum"}
        Over pairs, weighted where there are weights.
    labels : array-like of int, shape (n,), optional
        Classes of the pairs (supervised contrast): rows of one label are positives of each other. For
        "softmax" :math:`s_{ii}` is the mean over the positives of i, for "sigmoid" :math:`y_{ij} = 1` for all
        of them.
    groups : array-like of int, shape (n,), optional
        Items that the pairs are of (several captions of an image): rows of one item, but for the pair itself,
        are left out of the sums.
    sample_weight : array-like of shape (n,), optional
        Weights of the pairs, not negative. A term of two rows has half of the weight of each.
    {gradient_and_threads}

    Returns
    -------
    value : float
    grad_Z1, grad_Z2 : ndarray of shape (n, d), or None
        Its gradients, float32 if both Z1 and Z2 are. None if ``gradient`` is False.
    grad_temperature, grad_bias : float or None
        Its derivatives.

    Raises
    ------
    ValueError
        For NaN or infinity (with the first position), shapes that do not fit, both ``labels`` and ``groups``.
    fastcca.errors.NumericalError
        If scores or a gradient overflow.

    Notes
    -----
    The scores are computed in tiles, twice for "softmax" and once for "sigmoid", and never kept: memory grows
    with n d, not with n². The cost is 8 n² d and 6 n² d flops. float32 data are multiplied in float32; sums
    over rows are float64.

    References
    ----------
    van den Oord, Li & Vinyals, "Representation learning with contrastive predictive coding", 2018. Radford et
    al., "Learning transferable visual models from natural language supervision", ICML 2021. Zhai, Mustafa,
    Kolesnikov & Beyer, "Sigmoid loss for language image pre-training", ICCV 2023. Khosla et al., "Supervised
    contrastive learning", NeurIPS 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.functional import contrastive_loss
    >>> pairs = np.eye(3)
    >>> value, *_ = contrastive_loss(pairs, pairs, temperature=1.0)
    >>> round(value, 6), round(float(np.log(np.e + 2) - 1), 6)
    (0.551445, 0.551445)
    """
    check_same_rows(Z1=Z1, Z2=Z2, labels=labels, groups=groups, sample_weight=sample_weight)
    a, b = common_float([as_matrix("Z1", Z1, vector=True), as_matrix("Z2", Z2, vector=True)])
    n = len(a)
    if n != len(b):
        raise ValueError(f"Z1 and Z2 must be paired, got {n} and {len(b)} rows")
    if a.shape[1] != b.shape[1] or a.shape[1] == 0:
        raise ValueError(f"Z1 and Z2 must have the same columns, at least one, got {a.shape} and {b.shape}")
    if n == 0:
        raise ValueError(f"Z1 and Z2 must have rows, got {a.shape} and {b.shape}")
    for name, value, allowed in (
        ("loss", loss, ("softmax", "sigmoid")),
        ("similarity", similarity, ("cosine", "inner_product")),
        ("reduction", reduction, ("mean", "sum")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    if not _is_number(temperature) or not temperature > 0:
        raise ValueError(f"temperature must be positive and finite, got {temperature!r}")
    if not _is_number(bias):
        raise ValueError(f"bias must be a finite number, got {bias!r}")
    if not isinstance(gradient, (bool, np.bool_)):
        raise ValueError(f"gradient must be True or False, got {gradient!r}")
    if labels is not None and groups is not None:
        raise ValueError("labels and groups are two ways to say which rows belong together: give one")
    kind, given = ("labels", labels) if labels is not None else ("groups", groups)
    codes = None if given is None else _codes(kind, given, n)
    weights: float | Array = 1.0 / n if reduction == "mean" else 1.0
    if sample_weight is not None:
        given_weights = np.asarray(as_weights(sample_weight, n))
        weights = given_weights
        if reduction == "mean":
            total = given_weights.sum()
            if total == 0:
                raise ValueError("sample_weight must contain at least one weight that is not zero")
            weights = given_weights / total
    scale = 1.0 / float(temperature)
    half = 0.5 * weights
    answer, grad1, grad2, slope, grad_bias = batch_contrastive_loss(
        a,
        b,
        half,
        half,
        scale,
        float(bias) if loss == "sigmoid" else 0.0,
        loss,
        similarity,
        gradient,
        codes=None if codes is None else (codes, codes),
        kind=kind,
        n_threads=thread_count(n_threads),
    )
    if not gradient:
        return answer, None, None, None, None
    of_temperature = -slope * scale * scale
    if not math.isfinite(of_temperature):
        raise NumericalError("the derivative by the temperature overflows: take a higher temperature")
    return answer, grad1, grad2, of_temperature, grad_bias


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _codes(name: str, given: npt.ArrayLike, n: int) -> Indices:
    """From 0, in place of any integers."""
    codes = np.asarray(given)
    if codes.dtype.kind not in "iu" or codes.shape != (n,):
        raise ValueError(
            f"{name} must hold one integer for each of the {n} pairs, got {codes.dtype} {codes.shape}"
        )
    return np.unique(codes, return_inverse=True)[1].astype(np.int64).reshape(n)


def batch_contrastive_loss(
    A: Array,
    B: Array,
    a_weights: float | Array,
    b_weights: float | Array,
    scale: float,
    bias: float,
    loss: str,
    similarity: str,
    gradient: bool,
    *,
    shift: int = 0,
    codes: tuple[Indices, Indices] | None = None,
    kind: str = "groups",
    n_threads: int = 0,
) -> tuple[float, Array | None, Array | None, float, float]:
    """The kernel on arrays that were checked already.

    Row i of A is paired with row ``shift + i`` of B. The weights are of the rows of A against those of B and
    the other way round, each one for all or one for each row; the last two of the answer are the derivatives
    by ``scale`` and ``bias``.
    """
    one, of_a = (a_weights, None) if isinstance(a_weights, float) else (0.0, a_weights)
    two, of_b = (b_weights, None) if isinstance(b_weights, float) else (0.0, b_weights)
    a_codes, b_codes = codes or (None, None)
    return _core.contrastive_loss(
        A,
        B,
        shift,
        a_codes,
        b_codes,
        kind,
        of_a,
        of_b,
        one,
        two,
        scale,
        bias,
        loss,
        similarity,
        gradient,
        n_threads,
    )
