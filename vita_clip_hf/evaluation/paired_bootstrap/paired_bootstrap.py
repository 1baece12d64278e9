"""The paired bootstrap as a comparison module of `evaluate`."""

import datasets
import evaluate
import numpy as np

from vita_clip_hf.evaluation.metrics import paired_bootstrap

_DESCRIPTION = "The difference of two models' accuracies on the same samples, by the paired bootstrap."
_INPUTS = """
Args:
    predictions1: the class ids that the first model predicts, (N,).
    predictions2: those of the second, of the same samples.
    references: the right class ids, (N,).
    confidence: of the interval.
    resamples: draws of N samples with repetition, the same for both models.
    seed: of the draws.
Returns:
    difference (second minus first), low, high and p_value.
"""


class PairedBootstrap(evaluate.Comparison):
    """`evaluate.load(PATH, module_type="comparison").compute(predictions1=..., predictions2=..., references=...)`."""

    def _info(self) -> evaluate.ComparisonInfo:
        label = datasets.Value("int64")
        features = datasets.Features({"predictions1": label, "predictions2": label, "references": label})
        return evaluate.ComparisonInfo(
            module_type="comparison",
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=features,
        )

    def _compute(
        self, predictions1, predictions2, references, confidence=0.95, resamples=2_000, seed=0
    ) -> dict[str, float]:
        right = np.asarray(references)
        found = paired_bootstrap(
            np.asarray(predictions1) == right, np.asarray(predictions2) == right, confidence, resamples, seed
        )
        return {"difference": found.difference, "low": found.low, "high": found.high, "p_value": found.p_value}
