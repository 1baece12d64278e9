"""Which frames decided: the change of a score if a frame is taken away."""

import torch

from ..modeling.modeling_vita_clip import VitaClipModel
from ..models import VitaClip


def frame_importance(
    model: VitaClipModel,
    pixel_values: torch.Tensor,
    label: int,
    text_embeds: torch.Tensor | None = None,
    batch_size: int = 8,
) -> torch.Tensor:
    """
    How much each frame speaks for a label: the label's probability, less its probability in the clip where the frame
    is the mean of its neighbours in time (at the ends of the clip: a copy of its neighbour). So motion goes on, and
    only what this frame alone shows is missing.

    Args:
        model: in evaluation mode.
        pixel_values: a normalised clip of at least two frames, `(T, 3, H, W)`.
        label: the id of the label among the model's classes, or the row of `text_embeds`.
        text_embeds: `(C, D')` of other labels.
        batch_size: clips that pass the model at once.

    Returns:
        `(T,)`, from -1 to 1; below 0 the frame speaks against the label.

    Raises:
        ValueError: `pixel_values` is not one clip of at least two frames, or there is no such label.
    """
    if pixel_values.ndim != 4 or len(pixel_values) < 2:
        raise ValueError(f"Expected a clip (frames, 3, height, width) of 2 frames, found {tuple(pixel_values.shape)}.")
    if text_embeds is None:
        text_embeds = VitaClip(model).encode_classes()
    if not 0 <= label < len(text_embeds):
        raise ValueError(f"label is {label}; there are the labels 0 to {len(text_embeds) - 1}.")
    scores = scores_without_frames(model, pixel_values, text_embeds, batch_size)[:, label]
    return scores[0] - scores[1:]


@torch.no_grad()
def scores_without_frames(
    model: VitaClipModel, pixel_values: torch.Tensor, text_embeds: torch.Tensor, batch_size: int = 8
) -> torch.Tensor:
    """
    The probabilities of C labels for a clip, and for the clip without each of its frames, `(1 + T, C)` on the CPU;
    `(1, C)` for a clip of one frame. The arguments are those of [`frame_importance`].
    """
    without = [_without(pixel_values, frame) for frame in range(len(pixel_values))] if len(pixel_values) > 1 else []
    clips = torch.stack([pixel_values, *without]).split(batch_size)
    scored = VitaClip(model)
    logits = [scored.score(part.to(scored.device, scored.dtype), text_embeds) for part in clips]
    return torch.cat(logits).float().softmax(dim=-1).cpu()


def _without(clip: torch.Tensor, frame: int) -> torch.Tensor:
    before, after = max(frame - 1, 0), min(frame + 1, len(clip) - 1)
    neighbours = [index for index in (before, after) if index != frame]
    changed = clip.clone()
    changed[frame] = clip[neighbours].mean(dim=0)
    return changed
