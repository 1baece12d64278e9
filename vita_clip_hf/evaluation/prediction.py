"""Running a model over many clips."""

import torch
from tqdm.auto import tqdm
from transformers import BaseVideoProcessor

from ..data import DecodedClips
from ..data.normalization import PixelNormalization
from ..modeling.modeling_vita_clip import VitaClipModel


@torch.inference_mode()
def predict_logits(
    model: VitaClipModel,
    clips: DecodedClips,
    processor: BaseVideoProcessor,
    texts: torch.Tensor | None = None,
    batch_size: int = 64,
    description: str = "evaluating",
) -> torch.Tensor:
    """
    The logits of every clip, `(N, C)`, float32 on the CPU, in evaluation mode.

    Args:
        model: on any device.
        clips: uint8.
        processor: says how the model's pixels are normalised.
        texts: `(C, D')` text embeddings to compare with; by default the model's own classes.
        batch_size: clips at once.
        description: of the progress bar.
    """
    was_training = model.training
    model.eval()
    device = model.logit_scale.device
    normalize = PixelNormalization.of(processor)
    logits = []
    for start in tqdm(range(0, len(clips), batch_size), desc=description, unit=" batches", leave=False):
        pixel_values = clips.pixel_values[start : start + batch_size].to(device)
        pixel_values = normalize(pixel_values, model.dtype)
        logits.append(VitaClipModel.forward(model, pixel_values, text_embeds=texts).logits_per_video.float().cpu())
    model.train(was_training)
    return torch.cat(logits)
