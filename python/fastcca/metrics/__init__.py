"""How good it is: agreement of two views, retrieval across them, labels and their places in a taxonomy."""

from fastcca.metrics._correlation import column_correlations, total_correlation
from fastcca.metrics._label_sets import multilabel_precision_at_k, multilabel_recall_at_k
from fastcca.metrics._labels import (
    GeneralisedZeroShot,
    HierarchicalScores,
    SeenUnseenCurve,
    generalised_zero_shot,
    hierarchical_precision_at_k,
    hierarchical_scores,
    hit_at_k,
    lca_height,
    seen_unseen_curve,
    superclass_confusion,
)
from fastcca.metrics._retrieval import mean_average_precision, median_rank, partner_ranks, recall_at_k

__all__ = [
    "GeneralisedZeroShot",
    "HierarchicalScores",
    "SeenUnseenCurve",
    "column_correlations",
    "generalised_zero_shot",
    "hierarchical_precision_at_k",
    "hierarchical_scores",
    "hit_at_k",
    "lca_height",
    "mean_average_precision",
    "median_rank",
    "multilabel_precision_at_k",
    "multilabel_recall_at_k",
    "partner_ranks",
    "recall_at_k",
    "seen_unseen_curve",
    "superclass_confusion",
    "total_correlation",
]
