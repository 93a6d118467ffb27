"""The forms that a loss of samples against labels may take, by one set of names for every estimator."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastcca.functional.hinge import ConstraintTable, hinge_embedding_loss

__all__ = ["FORMS", "LabelLoss", "label_loss"]

Array = NDArray[Any]
LabelLoss = Literal["hinge", "worst", "rank", "softmax"]

# As arguments of the kernel.
FORMS: dict[LabelLoss, dict[str, Any]] = {
    "hinge": {"violators": "sum"},
    "worst": {"violators": "worst"},
    "rank": {"violators": "rank"},
    "softmax": {"loss": "softmax"},
}


def label_loss(
    Z: Array,
    U: Array,
    y: NDArray[np.int64],
    form: LabelLoss,
    share: NDArray[np.float64],
    table: ConstraintTable | None = None,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> tuple[float, Array, Array]:
    """L_C, or by a table L_S, with its gradients by Z and U; zeros without ``gradient``."""
    value, of_z, of_u, _ = hinge_embedding_loss(
        Z, U, y, table=table, sample_weight=share, gradient=gradient, n_threads=n_threads, **FORMS[form]
    )
    return value, np.zeros_like(Z) if of_z is None else of_z, np.zeros_like(U) if of_u is None else of_u
