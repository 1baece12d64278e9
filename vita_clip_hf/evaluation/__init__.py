"""Evaluating models: the loop over clips, and metrics."""

from ..modeling.labels_vita_clip import VIDEO_TEMPLATES, embed_labels
from .metrics import classification_figures, confusion_matrix, top_k_accuracy, within_pairs_accuracy
from .predict import Predictions, predict, predict_logits

__all__ = [
    "VIDEO_TEMPLATES",
    "Predictions",
    "classification_figures",
    "confusion_matrix",
    "embed_labels",
    "predict",
    "predict_logits",
    "top_k_accuracy",
    "within_pairs_accuracy",
]
