"""What the Trainer reports after an evaluation."""

from pathlib import Path

import evaluate
import torch
from transformers import EvalPrediction

TOP_K_ACCURACY = Path(__file__).parent / "top_k_accuracy"


class VideoMetrics:
    """
    The Trainer's `compute_metrics`: loss, top-1 and top-5, over all clips at once and so exact however they were
    spread over batches and processes. Clips without a label (-100: the video could not be read) are left out.
    """

    def __init__(self) -> None:
        # In memory: several processes of a machine would share a file.
        self._top_k = evaluate.load(str(TOP_K_ACCURACY), keep_in_memory=True)

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """Logits `(N, C)` and labels `(N,)` to figures from 0 to 1, and the mean cross-entropy."""
        logits, labels = torch.as_tensor(prediction.predictions), torch.as_tensor(prediction.label_ids)
        logits, labels = logits[labels >= 0], labels[labels >= 0]
        if not len(labels):
            raise ValueError("None of the videos to evaluate on could be read.")
        ranked = logits.topk(min(5, logits.shape[-1])).indices
        accuracies = self._top_k.compute(predictions=ranked, references=labels, k=(1, 5))
        loss = torch.nn.functional.cross_entropy(logits.double(), labels).item()
        return {"loss": loss, "top_1": accuracies["top_1_accuracy"], "top_5": accuracies["top_5_accuracy"]}
