"""Evaluating models: protocols, the loop over clips, the feature cache, metrics, reports and their comparison."""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from ..modeling.labels_vita_clip import VIDEO_TEMPLATES as VIDEO_TEMPLATES
    from ..modeling.labels_vita_clip import embed_labels as embed_labels
    from .evaluate import TestData as TestData
    from .evaluate import evaluate as evaluate
    from .metrics import classification_figures as classification_figures
    from .metrics import confusion_matrix as confusion_matrix
    from .metrics import top_k_accuracy as top_k_accuracy
    from .metrics import within_pairs_accuracy as within_pairs_accuracy
    from .predict import Predictions as Predictions
    from .predict import predict as predict
    from .predict import predict_logits as predict_logits
    from .protocols import Protocol as Protocol
    from .protocols import load_protocol as load_protocol
    from .protocols import protocol_names as protocol_names
    from .report import Report as Report
    from .report import load_report as load_report
    from .run import Resources as Resources

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
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "evaluate": ("TestData", "evaluate"),
        "metrics": ("classification_figures", "confusion_matrix", "top_k_accuracy", "within_pairs_accuracy"),
        "predict": ("Predictions", "predict", "predict_logits"),
        "protocols": ("Protocol", "load_protocol", "protocol_names"),
        "report": ("Report", "load_report"),
        "run": ("Resources",),
        ".modeling.labels_vita_clip": ("VIDEO_TEMPLATES", "embed_labels"),
    },
)
