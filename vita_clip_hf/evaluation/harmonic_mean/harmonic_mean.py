"""The harmonic mean as a metric module of `evaluate`."""

import datasets
import evaluate

from vita_clip_hf.evaluation.metrics import harmonic_mean

_DESCRIPTION = "The harmonic mean of figures, such as the accuracies on base and novel classes; 0 if one of them is 0."
_INPUTS = """
Args:
    predictions: the figures, each 0 or more.
Returns:
    harmonic_mean.
"""


class HarmonicMean(evaluate.Metric):
    """`evaluate.load(PATH_OF_THIS_FOLDER).compute(predictions=[...])`."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": datasets.Value("float64")})
        return evaluate.MetricInfo(
            description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features
        )

    def _compute(self, predictions) -> dict[str, float]:
        return {"harmonic_mean": harmonic_mean(predictions)}
