"""Clips in memory, and batches: decoded, resized and cropped, but still bytes, which are small and cheap to move."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from tqdm.auto import tqdm
from transformers import BaseVideoProcessor

from .video_views import VideoViews


class DecodedClips(TorchDataset):
    """
    Clips in memory, for data sets that are small enough to be decoded once, and not once an epoch.

    Args:
        pixel_values: uint8 `(N, T, 3, H, W)`.
        labels: `(N,)`.
    """

    def __init__(self, pixel_values: torch.Tensor, labels: torch.Tensor):
        if len(pixel_values) != len(labels):
            raise ValueError(f"There are {len(pixel_values)} clips but {len(labels)} labels.")
        self.pixel_values, self.labels = pixel_values, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.pixel_values[index], "labels": self.labels[index]}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """A whole batch at once, `(B, T, 3, H, W)` and `(B,)`: torch's DataLoader calls this if it exists."""
        chosen = torch.as_tensor(indices)
        return {"pixel_values": self.pixel_values[chosen], "labels": self.labels[chosen]}


def collate_clips(samples: Sequence[Mapping[str, Any]] | Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """
    Samples with `pixel_values` and `labels` to a batch; a batch stays as it is. If bad videos were replaced, `skipped`
    has all of them: a list of (video, reason).
    """
    if isinstance(samples, Mapping):
        return dict(samples)
    batch: dict[str, Any] = {
        "pixel_values": torch.stack([torch.as_tensor(sample["pixel_values"]) for sample in samples]),
        "labels": torch.tensor([int(sample["labels"]) for sample in samples]),
    }
    skipped = [entry for sample in samples for entry in sample.get("skipped", ())]
    return {**batch, "skipped": skipped} if skipped else batch


def decode_clips(
    dataset: Dataset, processor: BaseVideoProcessor, num_workers: int = 2, description: str = "decoding"
) -> DecodedClips:
    """
    Decodes every video of a data set (columns `video` and `label`) into memory, with a progress bar.

    Args:
        dataset: as `load_annotations` gives it.
        processor: samples, resizes and crops; it does not rescale or normalise here.
        num_workers: processes that decode.
        description: of the progress bar.

    Raises:
        OSError: a video cannot be read.
    """
    clips = VideoViews(dataset, getattr(processor, "video_processor", processor))
    batches = DataLoader(clips, batch_size=32, num_workers=num_workers, collate_fn=collate_clips)
    pixel_values, labels, filled = torch.empty(0), torch.empty(len(clips), dtype=torch.long), 0
    with tqdm(total=len(clips), desc=description, unit=" clips") as bar:
        for batch in batches:
            decoded = batch["pixel_values"][:, 0]  # (B, 1, T, 3, H, W): one view
            if filled == 0:
                pixel_values = torch.empty(len(clips), *decoded.shape[1:], dtype=torch.uint8)
            end = filled + len(decoded)
            pixel_values[filled:end], labels[filled:end] = decoded, batch["labels"]
            bar.update(end - filled)
            filled = end
    return DecodedClips(pixel_values, labels)
