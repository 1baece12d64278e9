"""From video files to the feature cache: what is not there yet is decoded and encoded, by any number of processes."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from datasets import Dataset
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from tqdm.auto import tqdm
from transformers import BaseVideoProcessor
from transformers.video_utils import VideoMetadata

from ..data.normalization import PixelNormalization
from ..data.rows import name_of, reason_of
from ..modeling.video_processing_vita_clip import FrameSampling
from ..modeling.video_reading_vita_clip import VideoReader
from ..models import VideoFeatures, VideoTextModel
from ..models.fingerprint import model_fingerprint
from .features import FeatureStore, identity_of
from .predict import evaluation_mode

logger = logging.getLogger(__name__)

SHARD_SIZE = 64  # videos of a shard: what a run that is stopped loses at most, in each process
# Settings of a video processor that say nothing about the pixels of a frame: `ClipSampling` has its frames and views.
_NOT_PIXELS = (
    *("auto_map", "processor_class", "video_processor_type", "return_metadata", "device", "return_tensors"),
    *("do_sample_frames", "num_frames", "sampling", "frame_stride", "num_temporal_views", "num_spatial_views", "fps"),
)


@dataclass(frozen=True)
class ClipSampling:
    """
    Which clips are taken from each video.

    Args:
        num_frames, sampling, frame_stride: as in `FrameSampling`; the stride is for "strided" alone.
        temporal_views, spatial_views: clips at different times, and crops of each.

    Raises:
        ValueError: a value makes no sense.
    """

    num_frames: int
    sampling: str
    frame_stride: int | None
    temporal_views: int = 1
    spatial_views: int = 1

    def __post_init__(self) -> None:
        FrameSampling(self.num_frames, self.sampling, 1 if self.frame_stride is None else self.frame_stride)
        if min(self.temporal_views, self.spatial_views) < 1:
            raise ValueError(f"Views must be at least 1x1, found {self.temporal_views}x{self.spatial_views}.")

    def frame_settings(self) -> dict[str, Any]:
        """As `sample_frames` of the video processor takes them."""
        stride = {} if self.frame_stride is None else {"frame_stride": self.frame_stride}
        settings = {"num_frames": self.num_frames, "sampling": self.sampling, **stride}
        return {**settings, "num_temporal_views": self.temporal_views}


class VideosWithTimes(TorchDataset):
    """
    All views of each video, and when their frames are shown: `{"pixel_values": uint8 (V, T, 3, H, W), "times": float64
    (V, T)}`, or `{"reason": text}` for a video that cannot be read. The views are those of `VideoViews`.

    Args:
        rows: `video`, and maybe `start` and `end` in seconds.
        video_processor: samples, resizes and crops.
        sampling: of the clips.
    """

    def __init__(self, rows: Dataset, video_processor: BaseVideoProcessor, sampling: ClipSampling):
        self.rows, self.video_processor, self.sampling = rows, video_processor, sampling

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        try:
            return self._read(row)
        except OSError as error:
            return {"index": index, "reason": reason_of(error, name_of(row))}

    def _read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        video = row["video"]["bytes"] if isinstance(row["video"], Mapping) else row["video"]
        reader = VideoReader(video)
        first, stop = 0, reader.num_frames
        if row.get("start") is not None:
            first, stop = reader.frames_between(row["start"], row["end"])
        metadata = VideoMetadata(total_num_frames=stop - first)
        indices = first + self.video_processor.sample_frames(metadata, **self.sampling.frame_settings())
        pixel_values = self._views(reader.read_frames(indices.tolist()))
        frame_times = reader.frame_times
        times = np.full(len(indices), np.nan) if frame_times is None else np.asarray(frame_times)[indices]
        of_clips = torch.from_numpy(times.astype(np.float64)).unflatten(0, (self.sampling.temporal_views, -1))
        return {"pixel_values": pixel_values, "times": of_clips.repeat_interleave(self.sampling.spatial_views, dim=0)}

    def _views(self, frames: torch.Tensor) -> torch.Tensor:
        """`(K * T, 3, H, W)` of K clips to `(V, T, 3, h, w)`; view `k * S + s` is crop s of clip k."""
        clips = list(frames.unflatten(0, (self.sampling.temporal_views, -1)))
        as_they_are = {"do_sample_frames": False, "do_rescale": False, "do_normalize": False, "num_temporal_views": 1}
        num_crops = self.sampling.spatial_views
        views = self.video_processor(clips, return_tensors="pt", num_spatial_views=num_crops, **as_they_are)
        pixel_values = views["pixel_values"]
        return pixel_values.flatten(0, 1) if num_crops > 1 else pixel_values


def open_store(
    model: VideoTextModel, processor: Any, sampling: ClipSampling, cache: str | os.PathLike, fingerprint: str = ""
) -> FeatureStore:
    """The part of the feature cache for a model, its preprocessing and a sampling."""
    video_processor = getattr(processor, "video_processor", processor)
    settings = video_processor.to_dict()
    about = {
        "model": fingerprint or model_fingerprint(model),
        "preprocessing": {name: value for name, value in settings.items() if name not in _NOT_PIXELS},
        "sampling": asdict(sampling),
    }
    return FeatureStore(cache, about)


def encode_videos(
    model: VideoTextModel,
    processor: Any,
    rows: Dataset,
    sampling: ClipSampling,
    store: FeatureStore,
    *,
    batch_size: int = 16,
    num_workers: int = 0,
    accelerator: Accelerator | None = None,
    description: str = "encoding",
) -> dict[int, str]:
    """
    Encodes the videos that the cache does not have.

    Args:
        rows: `video`, and maybe `start` and `end` in seconds; rows may repeat a video.
        batch_size: clips at once, in each process; a view is a clip.
        num_workers: processes that read videos, beside each process.
        accelerator: shares the videos out to the processes that `accelerate launch` started, which must see the same
            cache folder.

    Returns:
        Why rows could not be read, by their number; in every process that of all.

    Raises:
        OSError: processes do not see each other's shards.
    """
    identities = [identity_of(row) for row in rows]
    rows_by_video: dict[str, list[int]] = {}
    for number, identity in enumerate(identities):
        rows_by_video.setdefault(identity, []).append(number)
    missing = [numbers[0] for identity, numbers in rows_by_video.items() if identity not in store]
    rank, world = 0, 1
    if accelerator is not None:
        rank, world = accelerator.process_index, accelerator.num_processes
        missing = broadcast_object_list([missing])[0]  # another process may have filled the cache in between
    failures: dict[int, str] = {}
    share = missing[rank::world]
    if share:
        videos = VideosWithTimes(rows.select(share), getattr(processor, "video_processor", processor), sampling)
        own = [identities[number] for number in share]
        hidden = rank > 0
        failed = _encode(model, processor, videos, own, store, batch_size, num_workers, description, hidden)
        failures = {share[position]: reason for position, reason in failed.items()}
    if accelerator is not None:
        accelerator.wait_for_everyone()
        parts = gather_object([failures])
        failures = {number: reason for part in parts for number, reason in part.items()}
        store.refresh()
    failures = {other: reason for number, reason in failures.items() for other in rows_by_video[identities[number]]}
    lost = [name_of(rows[number]) for number in missing if number not in failures and identities[number] not in store]
    if lost:
        raise OSError(
            f"{store.folder}: lacks {len(lost)} videos that were just encoded, such as {lost[0]}: every process needs "
            "the same cache folder."
        )
    if failures and rank == 0:
        examples = "; ".join(f"{name_of(rows[number])}: {reason}" for number, reason in list(failures.items())[:5])
        logger.warning(f"{description}: {len(failures)} videos could not be read and are not counted. {examples}")
    return failures


@torch.no_grad()
def _encode(
    model: VideoTextModel,
    processor: Any,
    videos: VideosWithTimes,
    identities: Sequence[str],
    store: FeatureStore,
    batch_size: int,
    num_workers: int,
    description: str,
    hidden: bool,
) -> dict[int, str]:
    """Encodes these videos into the cache; returns why some could not be read, by their position."""
    num_views = videos.sampling.temporal_views * videos.sampling.spatial_views
    loader = DataLoader(
        videos,
        batch_size=max(1, batch_size // num_views),
        num_workers=num_workers,
        collate_fn=list,
        generator=torch.Generator(),  # the seed of its workers: not drawn from the global generator
    )
    normalization = PixelNormalization.of(processor)
    failures: dict[int, str] = {}
    waiting: list[tuple[str, VideoFeatures, torch.Tensor]] = []
    position = 0
    with (
        evaluation_mode(model.model),
        tqdm(total=len(videos), desc=description, unit=" videos", disable=hidden) as bar,
    ):
        for samples in loader:
            numbers = range(position, position + len(samples))
            position += len(samples)
            failures |= {
                number: found["reason"] for number, found in zip(numbers, samples, strict=True) if "reason" in found
            }
            good = [(number, found) for number, found in zip(numbers, samples, strict=True) if "reason" not in found]
            if good:
                clips = torch.cat([found["pixel_values"] for _, found in good])
                features = _encode_clips(model, clips, normalization, batch_size)
                for place, (number, found) in enumerate(good):
                    of_video = features.map(itemgetter(slice(place * num_views, (place + 1) * num_views)))
                    waiting.append((identities[number], of_video, found["times"]))
            if len(waiting) >= SHARD_SIZE:
                _write(store, waiting)
            bar.update(len(samples))
    if waiting:
        _write(store, waiting)
    return failures


def _encode_clips(
    model: VideoTextModel, clips: torch.Tensor, normalization: PixelNormalization, batch_size: int
) -> VideoFeatures:
    """Features, on the CPU, of uint8 clips `(N, T, 3, H, W)`. Raises `ValueError` if they are not finite."""
    parts = []
    for chunk in clips.split(batch_size):
        features = model.encode_videos(normalization(chunk.to(model.device), model.dtype))
        parts.append(features.map(lambda tensor: tensor.float().cpu()))
        if not all(tensor.isfinite().all() for tensor in parts[-1].tensors().values()):
            raise ValueError(
                f"{type(model.model).__name__} gives features that are no finite numbers: its weights are damaged, or "
                f"too large for its precision, {model.dtype}."
            )
    return type(parts[0]).join(parts, torch.cat)


def _write(store: FeatureStore, waiting: list[tuple[str, VideoFeatures, torch.Tensor]]) -> None:
    videos, features, times = zip(*waiting, strict=True)
    store.add(videos, type(features[0]).join(features, torch.stack), torch.stack(times))
    waiting.clear()


__all__ = ["ClipSampling", "VideosWithTimes", "encode_videos", "open_store"]
