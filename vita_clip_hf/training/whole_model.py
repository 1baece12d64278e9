"""The model as the Trainer holds it, for the loop over clips."""

from typing import Any

import torch
from torch import nn
from transformers import EvalPrediction

from ..evaluation import classification_figures
from ..models import VitaClip


class WholeModel(VitaClip):
    """
    A [`VitaClipModel`] that is called as a whole only: FSDP and DeepSpeed join weights, and accelerate casts, in the
    forward pass of the whole.

    Args:
        whole: the module to call.
        model: the [`VitaClipModel`] in it.
    """

    def __init__(self, whole: nn.Module, model: Any):
        super().__init__(model)
        self._whole = whole

    def score(self, pixel_values: torch.Tensor, text_embeds: torch.Tensor | None) -> torch.Tensor:
        """Logits `(B, C)`; without `text_embeds` those of the model's own classes."""
        return logits_of(self._whole(pixel_values, text_embeds=text_embeds))


def logits_of(outputs: Any) -> torch.Tensor:
    """`(B, C)` from the output of either model class."""
    return outputs["logits"] if "logits" in outputs else outputs["logits_per_video"]


def figures_of(prediction: EvalPrediction) -> dict[str, float]:
    """The Trainer's `compute_metrics`: loss, top-1 and top-5."""
    return classification_figures(torch.as_tensor(prediction.predictions), torch.as_tensor(prediction.label_ids))
