"""Evaluating models: metrics, and predictions over data sets."""

from .metrics import confusion_matrix, top_k_accuracy, within_pairs_accuracy
from .prediction import predict_logits


__all__ = ["confusion_matrix", "predict_logits", "top_k_accuracy", "within_pairs_accuracy"]
