"""Mean class accuracy as a metric module of `evaluate`, of ranked class ids."""

import datasets
import evaluate
import torch

from vita_clip_hf.evaluation.metrics import ranked_class_accuracy

_DESCRIPTION = "The mean over the classes of the share of their samples whose class is among the k best predicted."
_INPUTS = """
Args:
    predictions: class ids, best first, (N, K), as `logits.topk(K).indices` gives them.
    references: the right class ids, (N,). Classes without a sample do not count.
    k: how many of the best count, from 1.
Returns:
    mean_class_accuracy, from 0 to 1.
"""


class MeanClassAccuracy(evaluate.Metric):
    """`evaluate.load(PATH_OF_THIS_FOLDER).compute(predictions=..., references=..., k=1)`."""

    def _info(self) -> evaluate.MetricInfo:
        ranks, label = datasets.Sequence(datasets.Value("int64")), datasets.Value("int64")
        features = datasets.Features({"predictions": ranks, "references": label})
        return evaluate.MetricInfo(
            description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features
        )

    def _compute(self, predictions, references, k=1) -> dict[str, float]:
        ranks, labels = torch.as_tensor(predictions), torch.as_tensor(references)
        return {"mean_class_accuracy": ranked_class_accuracy(ranks, labels, k)}
