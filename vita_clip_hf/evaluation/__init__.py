"""Evaluating models: metrics, and predictions over data sets."""

from .metrics import confusion_matrix, top_k_accuracy, within_pairs_accuracy
from .prediction import predict_logits
from .zero_shot import VIDEO_TEMPLATES, embed_labels

__all__ = [
    "VIDEO_TEMPLATES",
    "confusion_matrix",
    "embed_labels",
    "predict_logits",
    "top_k_accuracy",
    "within_pairs_accuracy",
]
