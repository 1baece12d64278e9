"""Metrics, plain: of classification, retrieval and temporal localisation, and how far figures can be trusted."""

from .classification import (
    classification_figures,
    confusion_matrix,
    harmonic_mean,
    mean_class_accuracy,
    ranked_accuracy,
    ranked_class_accuracy,
    top_k_accuracy,
    within_pairs_accuracy,
)
from .localisation import (
    ACTIVITYNET_THRESHOLDS,
    THUMOS_THRESHOLDS,
    average_precisions,
    proposals_from_scores,
    soft_nms,
    temporal_iou,
    temporal_map,
)
from .retrieval import retrieval_both_ways, retrieval_figures, retrieval_ranks
from .significance import (
    McNemar,
    PairedDifference,
    bootstrap_interval,
    mcnemar,
    paired_bootstrap,
    paired_t_interval,
)

__all__ = [
    "ACTIVITYNET_THRESHOLDS",
    "THUMOS_THRESHOLDS",
    "McNemar",
    "PairedDifference",
    "average_precisions",
    "bootstrap_interval",
    "classification_figures",
    "confusion_matrix",
    "harmonic_mean",
    "mcnemar",
    "mean_class_accuracy",
    "paired_bootstrap",
    "paired_t_interval",
    "proposals_from_scores",
    "ranked_accuracy",
    "ranked_class_accuracy",
    "retrieval_both_ways",
    "retrieval_figures",
    "retrieval_ranks",
    "soft_nms",
    "temporal_iou",
    "temporal_map",
    "top_k_accuracy",
    "within_pairs_accuracy",
]
