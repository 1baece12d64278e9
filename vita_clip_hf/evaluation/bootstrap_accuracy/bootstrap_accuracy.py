"""Accuracy with its bootstrap interval as a metric module of `evaluate`."""

import datasets
import evaluate
import numpy as np

from vita_clip_hf.evaluation.metrics import bootstrap_interval

_DESCRIPTION = "The share of samples that are right, and its percentile bootstrap interval."
_INPUTS = """
Args:
    predictions: the predicted class ids, (N,).
    references: the right class ids, (N,).
    confidence: of the interval.
    resamples: draws of N samples with repetition.
    seed: of the draws.
Returns:
    accuracy, low and high, from 0 to 1.
"""


class BootstrapAccuracy(evaluate.Metric):
    """`evaluate.load(PATH_OF_THIS_FOLDER).compute(predictions=..., references=..., confidence=0.95)`."""

    def _info(self) -> evaluate.MetricInfo:
        label = datasets.Value("int64")
        features = datasets.Features({"predictions": label, "references": label})
        return evaluate.MetricInfo(
            description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features
        )

    def _compute(self, predictions, references, confidence=0.95, resamples=2_000, seed=0) -> dict[str, float]:
        is_right = np.asarray(predictions) == np.asarray(references)
        low, high = bootstrap_interval(is_right, confidence, resamples, seed)
        return {"accuracy": float(is_right.mean()), "low": low, "high": high}
