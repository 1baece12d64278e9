"""Evaluating models: protocols, the loop over clips, the feature cache, metrics, reports and their comparison."""

from ..modeling.labels_vita_clip import VIDEO_TEMPLATES, embed_labels
from .evaluate import TestData, evaluate
from .metrics import classification_figures, confusion_matrix, top_k_accuracy, within_pairs_accuracy
from .predict import Predictions, predict, predict_logits
from .protocols import Protocol, load_protocol, protocol_names
from .report import Report, load_report
from .run import Resources

__all__ = [
    "VIDEO_TEMPLATES",
    "Predictions",
    "Protocol",
    "Report",
    "Resources",
    "TestData",
    "classification_figures",
    "confusion_matrix",
    "embed_labels",
    "evaluate",
    "load_protocol",
    "load_report",
    "predict",
    "predict_logits",
    "protocol_names",
    "top_k_accuracy",
    "within_pairs_accuracy",
]
