"""Which frames decided: the change of a score if a frame is taken away."""

import torch

from ..modeling.modeling_vita_clip import VitaClipModel


@torch.no_grad()
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
    clips = torch.stack([pixel_values, *(_without(pixel_values, frame) for frame in range(len(pixel_values)))])
    logits = [
        model(pixel_values=part.to(model.device, model.dtype), text_embeds=text_embeds)
        for part in clips.split(batch_size)
    ]
    key = "logits" if "logits" in logits[0] else "logits_per_video"
    scores = torch.cat([output[key] for output in logits]).float().softmax(dim=-1)
    if not 0 <= label < scores.shape[-1]:
        raise ValueError(f"label is {label}; there are the labels 0 to {scores.shape[-1] - 1}.")
    return (scores[0, label] - scores[1:, label]).cpu()


def _without(clip: torch.Tensor, frame: int) -> torch.Tensor:
    before, after = max(frame - 1, 0), min(frame + 1, len(clip) - 1)
    neighbours = [index for index in (before, after) if index != frame]
    changed = clip.clone()
    changed[frame] = clip[neighbours].mean(dim=0)
    return changed
