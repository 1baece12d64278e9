"""Top-k accuracy as a metric module of `evaluate`, of ranked class ids: scores of all classes are slow to pass."""

import datasets
import evaluate
import numpy as np
import torch

from vita_clip_hf.evaluation.metrics import ranked_accuracy

_DESCRIPTION = "The share of samples whose class is among the k best that were predicted."
_INPUTS = """
Args:
    predictions: class ids, best first, (N, K), as `logits.topk(K).indices` gives them.
    references: the right class ids, (N,).
    k: how many of the best count: one number or several, each from 1.
Returns:
    top_K_accuracy for each k, from 0 to 1. A k above K, the number of ranks given, counts as K.
"""


class TopKAccuracy(evaluate.Metric):
    """`evaluate.load(PATH_OF_THIS_FOLDER).compute(predictions=..., references=..., k=(1, 5))`."""

    def _info(self) -> evaluate.MetricInfo:
        ranks, label = datasets.Sequence(datasets.Value("int64")), datasets.Value("int64")
        features = datasets.Features({"predictions": ranks, "references": label})
        return evaluate.MetricInfo(
            description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features
        )

    def _compute(self, predictions, references, k=(1,)) -> dict[str, float]:
        ranks, labels = torch.as_tensor(predictions), torch.as_tensor(references)
        return {f"top_{n}_accuracy": ranked_accuracy(ranks, labels, n) for n in np.atleast_1d(k)}
