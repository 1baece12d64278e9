"""Clips for evaluation: several views of each video, decoded once."""

from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset
from transformers import BaseVideoProcessor
from transformers.video_utils import VideoMetadata

from .rows import check_on_bad_video, name_of, read_row, reason_of, without_decoding

# torch's cross-entropy leaves out samples with this label.
NO_LABEL = -100


class VideoViews(TorchDataset):
    """
    All views of each video: `{"pixel_values": uint8 (V, T, 3, H, W), "labels": int}`, V = temporal x spatial; view
    `t * spatial_views + s` is crop s of clip t. Nothing is random.

    With `on_bad_video="skip"` a video that cannot be read keeps its place: black views, the label -100, which no class
    has, and `"skipped"`: [(video, reason)]. Metrics must leave such labels out.

    Args:
        dataset: columns `video` and `label`, see `load_videos`.
        video_processor: a `VitaClipVideoProcessor`, which samples, resizes and crops.
        temporal_views, spatial_views: clips of a video at different times, and crops of each; by default the
            processor's own numbers.
        on_bad_video: "raise" or "skip".
        sampling: `num_frames`, `sampling` ("uniform" or "strided") and `frame_stride` if they are not the processor's
            own.

    Raises:
        ValueError: a setting makes no sense.
        OSError: from `[i]`: the video cannot be read, with its name and the cause.
    """

    def __init__(
        self,
        dataset: Dataset,
        video_processor: BaseVideoProcessor,
        *,
        temporal_views: int | None = None,
        spatial_views: int | None = None,
        on_bad_video: str = "raise",
        **sampling: Any,
    ):
        check_on_bad_video(on_bad_video)
        self.class_names: list[str] = dataset.features["label"].names
        self.dataset, self.on_bad_video = without_decoding(dataset), on_bad_video
        self.video_processor = video_processor
        self.sampling = sampling
        self.temporal_views: int = video_processor.num_temporal_views if temporal_views is None else temporal_views
        self.spatial_views: int = video_processor.num_spatial_views if spatial_views is None else spatial_views
        self._indices(1)  # bad settings fail here, and not in a worker

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.dataset[index]
        try:
            frames = read_row(row, self._indices)
        except OSError as error:
            if self.on_bad_video == "raise":
                raise
            frames = torch.zeros(len(self._indices(1)), 3, 32, 32, dtype=torch.uint8)
            skipped = [(name_of(row), reason_of(error, name_of(row)))]
            return {"pixel_values": self._views(frames), "labels": NO_LABEL, "skipped": skipped}
        return {"pixel_values": self._views(frames), "labels": int(row["label"])}

    def _indices(self, total_num_frames: int) -> list[int]:
        metadata = VideoMetadata(total_num_frames=total_num_frames)
        settings = {**self.sampling, "num_temporal_views": self.temporal_views}
        return self.video_processor.sample_frames(metadata, **settings).tolist()

    def _views(self, frames: torch.Tensor) -> torch.Tensor:
        """`(K * T, 3, H, W)` of K clips to `(V, T, 3, h, w)`."""
        clips = list(frames.unflatten(0, (self.temporal_views, -1)))
        settings = {"do_sample_frames": False, "do_rescale": False, "do_normalize": False, "num_temporal_views": 1}
        views = self.video_processor(clips, return_tensors="pt", num_spatial_views=self.spatial_views, **settings)[
            "pixel_values"
        ]
        return (views.flatten(0, 1) if self.spatial_views > 1 else views).contiguous()
