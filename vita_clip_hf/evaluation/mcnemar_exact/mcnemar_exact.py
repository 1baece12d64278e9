"""McNemar's exact test as a comparison module of `evaluate`."""

import datasets
import evaluate
import numpy as np

from vita_clip_hf.evaluation.metrics import mcnemar

_DESCRIPTION = "McNemar's exact test of two models on the same samples."
_INPUTS = """
Args:
    predictions1: the class ids that the first model predicts, (N,).
    predictions2: those of the second, of the same samples.
    references: the right class ids, (N,).
Returns:
    only_first and only_second, the samples that one model alone has right, and p_value, two-sided.
"""


class McNemarExact(evaluate.Comparison):
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

    def _compute(self, predictions1, predictions2, references) -> dict[str, float]:
        right = np.asarray(references)
        found = mcnemar(np.asarray(predictions1) == right, np.asarray(predictions2) == right)
        return {"only_first": found.only_first, "only_second": found.only_second, "p_value": found.p_value}
