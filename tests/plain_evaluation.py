"""Evaluation in plain steps, without the package's sampling, views, cache, averaging and metrics."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from toy_vita_clip import IMAGE_SIZE


def all_frames(path: str | Path) -> tuple[np.ndarray, list[float]]:
    """Every frame `(N, H, W, 3)` as PyAV plays the file, and when it is shown."""
    with av.open(str(path)) as container:
        shown = [(frame.to_ndarray(format="rgb24"), frame.time) for frame in container.decode(video=0)]
    return np.stack([picture for picture, _ in shown]), [time for _, time in shown]


def indices(number: int, frames: int, stride: int | None, views: int) -> list[list[int]]:
    """Frame numbers of each clip in time."""
    clips = []
    for view in range(views):
        if stride is None:  # the middles of the view's part of each of `frames` segments
            places = [(step + (view + 0.5) / views) / frames * number for step in range(frames)]
            places = list(range(frames)) if number < frames else places
        else:
            free = max(number - 1 - (frames - 1) * stride, 0)
            start = free // 2 if views == 1 else free * view // (views - 1)
            places = [start + stride * step for step in range(frames)]
        clips.append([min(int(place), number - 1) for place in places])
    return clips


def clips_of(
    path: str, processor: Any, facts: dict[str, Any], span: tuple[float, float] | None = None
) -> torch.Tensor:
    """All views `(V, T, 3, H, W)` of a video, or of a part of it, normalised."""
    frames, times = all_frames(path)
    if span is not None:
        step = times[1] - times[0]
        inside = [k for k, time in enumerate(times) if time + step > span[0] + 1e-3 and time < span[1] - 1e-3]
        frames = frames[inside]
    views = []
    for places in indices(len(frames), facts["num_frames"], facts["frame_stride"], facts["temporal_views"]):
        resized = processor(
            videos=[torch.from_numpy(frames[places])],
            do_sample_frames=False,
            do_center_crop=False,
            return_tensors="pt",
        )["pixel_values"][0]
        free = resized.shape[-1] - IMAGE_SIZE
        lefts = [free // 2] if facts["spatial_views"] == 1 else [0, free // 2, free]
        views += [resized[..., left : left + IMAGE_SIZE] for left in lefts]
    return torch.stack(views)


@torch.no_grad()
def probabilities_of(clips: torch.Tensor, model: Any, texts: torch.Tensor) -> torch.Tensor:
    """`(C,)`: cosines of the frames' mean with the texts, a softmax for each view, their mean."""
    if hasattr(model, "get_video_features"):
        videos = model.get_video_features(clips).pooler_output
    else:
        frames = model.get_image_features(clips.flatten(0, 1)).pooler_output
        videos = frames.unflatten(0, clips.shape[:2]).mean(1)
    videos, texts = (x / x.norm(dim=-1, keepdim=True) for x in (videos, texts))
    return (model.logit_scale.exp() * videos @ texts.T).softmax(-1).mean(0)


@torch.no_grad()
def texts_of(names: Sequence[str], model: Any, tokenizer: Any, templates: Sequence[str]) -> torch.Tensor:
    """The mean over the templates of the names' text features of length 1, `(C, D')`."""
    features = []
    for template in templates:
        tokens = tokenizer([template.replace("{}", name) for name in names], padding=True, return_tensors="pt")
        found = model.get_text_features(**tokens).pooler_output
        features.append(found / found.norm(dim=-1, keepdim=True))
    return torch.stack(features).mean(0)


def top_1(probabilities: Sequence[torch.Tensor], labels: Sequence[int]) -> float:
    """The share of videos whose best class is the right one."""
    return sum(int(row.argmax()) == label for row, label in zip(probabilities, labels, strict=True)) / len(labels)


def top_5(probabilities: Sequence[torch.Tensor], labels: Sequence[int]) -> float:
    """The share of videos whose class is among the best five."""
    best = [row.argsort(descending=True)[:5].tolist() for row in probabilities]
    return sum(label in row for row, label in zip(best, labels, strict=True)) / len(labels)
