"""Retrieval as a metric module of `evaluate`: recalls and ranks, from similarities."""

import datasets
import evaluate
import numpy as np
import torch

from vita_clip_hf.evaluation.metrics import retrieval_figures

_DESCRIPTION = "Recall at k, median and mean rank. A wrong candidate as similar as the right one counts as before it."
_INPUTS = """
Args:
    predictions: similarities of each query to all candidates, (Q, N).
    references: the number of the right candidate of each query, (Q,).
    k: of the recalls: one number or several.
Returns:
    recall_at_K for each k from 0 to 1, median_rank and mean_rank from 1.
"""


class Retrieval(evaluate.Metric):
    """`evaluate.load(PATH_OF_THIS_FOLDER).compute(predictions=..., references=..., k=(1, 5, 10))`."""

    def _info(self) -> evaluate.MetricInfo:
        similarities, candidate = datasets.Sequence(datasets.Value("float64")), datasets.Value("int64")
        features = datasets.Features({"predictions": similarities, "references": candidate})
        return evaluate.MetricInfo(
            description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features
        )

    def _compute(self, predictions, references, k=(1, 5, 10)) -> dict[str, float]:
        similarity = torch.as_tensor(predictions, dtype=torch.float64)
        return retrieval_figures(similarity, torch.as_tensor(references), [int(n) for n in np.atleast_1d(k)])
