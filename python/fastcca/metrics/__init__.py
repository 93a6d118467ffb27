"""How good it is: agreement of two views, retrieval across them, labels and their places in a taxonomy."""

from fastcca.metrics._correlation import column_correlations, total_correlation
from fastcca.metrics._labels import (
    GeneralisedZeroShot,
    generalised_zero_shot,
    hierarchical_precision_at_k,
    hit_at_k,
    superclass_confusion,
)
from fastcca.metrics._retrieval import mean_average_precision, median_rank, partner_ranks, recall_at_k

__all__ = [
    "GeneralisedZeroShot",
    "column_correlations",
    "generalised_zero_shot",
    "hierarchical_precision_at_k",
    "hit_at_k",
    "mean_average_precision",
    "median_rank",
    "partner_ranks",
    "recall_at_k",
    "superclass_confusion",
    "total_correlation",
]
