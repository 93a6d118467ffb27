"""Arrays in, arrays out: the kernels of the core with validation, defaults and readable errors."""

from fastcca.functional.contrastive import contrastive_loss
from fastcca.functional.correlation import (
    correlation_coefficients,
    correlation_factor,
    correlation_gradients,
    correlation_loss,
)
from fastcca.functional.hinge import ConstraintTable, hinge_embedding_loss
from fastcca.functional.kernels import incomplete_cholesky, kernel_matrix, median_gamma
from fastcca.functional.linalg import inverse_sqrt, polar, truncated_svd
from fastcca.functional.matrix_free import MatrixFreeSolution, solve_matrix_free
from fastcca.functional.missing import CompletedMoments, em_moments
from fastcca.functional.moments import GroupMoments, Moments, group_moments, rolling_moments
from fastcca.functional.retrieval import top_k
from fastcca.functional.solver import (
    Solution,
    held_out_correlations,
    solve_gram,
    solve_moments,
    solve_qr,
)
from fastcca.functional.warp import warp_epoch

__all__ = [
    "CompletedMoments",
    "ConstraintTable",
    "GroupMoments",
    "MatrixFreeSolution",
    "Moments",
    "Solution",
    "contrastive_loss",
    "correlation_coefficients",
    "correlation_factor",
    "correlation_gradients",
    "correlation_loss",
    "em_moments",
    "group_moments",
    "held_out_correlations",
    "hinge_embedding_loss",
    "incomplete_cholesky",
    "inverse_sqrt",
    "kernel_matrix",
    "median_gamma",
    "polar",
    "rolling_moments",
    "solve_gram",
    "solve_matrix_free",
    "solve_moments",
    "solve_qr",
    "top_k",
    "truncated_svd",
    "warp_epoch",
]
