"""Normalises bytes on the model's device: clips travel as uint8, a quarter of float32's size."""

from dataclasses import dataclass

import torch
from transformers import BaseVideoProcessor


@dataclass(frozen=True)
class PixelNormalization:
    """
    (pixel * scale - mean) / std for each channel.

    Args:
        scale: usually 1 / 255; 1 without `do_rescale`.
        mean, std: of the three channels.
    """

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, processor: BaseVideoProcessor) -> "PixelNormalization":
        """The normalisation of a video processor, or of a processor that has one; what it leaves out is left out."""
        processor = getattr(processor, "video_processor", processor)
        scale = processor.rescale_factor if processor.do_rescale else 1.0
        if not processor.do_normalize:
            return cls(scale, (0.0,) * 3, (1.0,) * 3)
        return cls(scale, tuple(processor.image_mean), tuple(processor.image_std))

    def __call__(self, pixel_values: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """uint8 `(..., 3, H, W)` to normalised `dtype` of the same shape; other pixels are normalised already."""
        if pixel_values.dtype != torch.uint8:
            return pixel_values
        std = torch.tensor(self.std, device=pixel_values.device).view(-1, 1, 1)
        mean = torch.tensor(self.mean, device=pixel_values.device).view(-1, 1, 1)
        # One multiplication and one addition per pixel.
        return torch.addcmul(-mean / std, pixel_values.float(), self.scale / std).to(dtype)
