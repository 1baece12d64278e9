"""transformers' Trainer for Vita-CLIP."""

from typing import Any

import torch
from torch import nn
from transformers import Trainer

from ..data import collate_clips
from .normalization import PixelNormalization


class VitaClipTrainer(Trainer):
    """
    transformers' [`Trainer`] with three differences: clips arrive as bytes and are normalised on the device, weight
    decay applies to everything that is learned, as in the released recipe, and checkpoints hold the adapter.

    Args:
        processing_class: the [`VitaClipProcessor`] or [`VitaClipVideoProcessor`] of the model; it says how pixels are
            normalised and is saved beside the model.
        args, kwargs: as for [`Trainer`].
    """

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs.setdefault("data_collator", collate_clips)
        super().__init__(*args, **kwargs)
        self._normalize = PixelNormalization.of(self.processing_class) if self.processing_class is not None else None

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = super()._prepare_inputs(inputs)
        pixel_values = inputs["pixel_values"]
        if pixel_values.dtype == torch.uint8:
            if self._normalize is None:
                raise ValueError(
                    "The data set gives clips as uint8. Give the trainer the model's processor as processing_class, "
                    "which says how they are normalised."
                )
            inputs["pixel_values"] = self._normalize(pixel_values)
        return inputs

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """All that is learned decays: the released recipe has one parameter group."""
        return [name for name, parameter in model.named_parameters() if parameter.requires_grad]
