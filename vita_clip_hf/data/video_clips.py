"""Training clips from video files, read when they are asked for."""

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import torch
from datasets.distributed import split_dataset_by_node
from torch.utils.data import Dataset, IterableDataset
from transformers import BaseVideoProcessor

from .randomness import SharedEpoch, draw_below, generator_for
from .rows import check_on_bad_video, name_of, read_row, reason_of, without_decoding
from .sampling import TrainingSampling

ClipAugmentation = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
Skipped = list[tuple[str, str]]

# If so many videos in a row, drawn from all over the data set, cannot be read, the fault is not in single files.
_ATTEMPTS = 10


class _ClipReader:
    """The settings of `VideoClips`, and the step from a row to a sample."""

    def __init__(
        self,
        dataset: Any,
        video_processor: BaseVideoProcessor,
        *,
        sampling: str = "strided",
        num_frames: int = 8,
        sampling_stride: int = 16,
        augmentation: ClipAugmentation | None = None,
        on_bad_video: str = "raise",
        seed: int = 0,
    ):
        check_on_bad_video(on_bad_video)
        self.dataset = without_decoding(dataset)
        self.on_bad_video, self.seed = on_bad_video, seed
        self.sampling = TrainingSampling(sampling, num_frames, sampling_stride)
        self._video_processor, self._augmentation = video_processor, augmentation
        self._epoch = SharedEpoch()

    def set_epoch(self, epoch: int) -> None:
        """Also reaches workers that run already."""
        self._epoch.set(epoch)

    def _read(self, row: Mapping[str, Any], generator: torch.Generator, skipped: Skipped) -> dict[str, Any] | None:
        """The sample of a row; `None`, with an entry in `skipped`, for a bad video that is to be skipped."""
        try:
            frames = read_row(row, lambda total: self.sampling.indices(total, generator))
        except OSError as error:
            if self.on_bad_video == "raise":
                raise
            skipped.append((name_of(row), reason_of(error, name_of(row))))
            return None
        return {"pixel_values": self._prepare(frames, generator), "labels": int(row["label"])}

    def _prepare(self, frames: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if self._augmentation is not None:
            return self._augmentation(frames, generator).contiguous()
        settings = {"do_sample_frames": False, "do_rescale": False, "do_normalize": False, "num_spatial_views": 1}
        return self._video_processor([frames], return_tensors="pt", **settings)["pixel_values"][0].contiguous()


class VideoClips(_ClipReader, Dataset):
    """
    A clip of each video of a data set, other frames and another augmentation in each epoch.

    All that is random in sample i depends on `(seed, epoch, i)` alone: on no worker, rank or global generator. A run
    that is resumed, or spread over other processes, sees the same samples.

    A sample is `{"pixel_values": uint8 (T, 3, H, W), "labels": int}`. With `on_bad_video="skip"` another video of the
    data set replaces one that cannot be read, and the sample also has `"skipped"`: a list of (video, reason).

    Args:
        dataset: columns `video` and `label`, see `load_videos`; only the part from `start` to `end` (seconds) is read,
            if there are such columns.
        video_processor: resizes and crops if there is no augmentation.
        sampling, num_frames, sampling_stride: see `TrainingSampling`.
        augmentation: see `build_clip_augmentation`; without one, clips are resized and cropped at the centre.
        on_bad_video: "raise", or "skip".
        seed: of everything random.

    Raises:
        ValueError: a setting makes no sense.
        OSError: from `[i]`: the video cannot be read, with its name and the cause; with "skip" only if ten others
            that are drawn in its place cannot be read either.
    """

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} asked for, there are {len(self)}")
        skipped: Skipped = []
        for attempt in range(_ATTEMPTS + 1):
            generator = generator_for(self.seed, self._epoch.get(), index, attempt)
            row = self.dataset[index if attempt == 0 else draw_below(len(self), generator)]
            sample = self._read(row, generator, skipped)
            if sample is not None:
                return {**sample, "skipped": skipped} if skipped else sample
        raise OSError(
            f"{skipped[0][0]}: {skipped[0][1]}; and none of {_ATTEMPTS} videos drawn in its place can be read, the "
            f"last of them {skipped[-1][0]}: {skipped[-1][1]}"
        )


class StreamedVideoClips(_ClipReader, IterableDataset):
    """
    As `VideoClips`, for data sets that are read from start to end: shards, and data sets on the Hub.

    Ranks and the DataLoader's workers share the stream, each sample once. The random draws of a sample depend on seed,
    epoch and the video's name (its content if it has none). With `on_bad_video="skip"` a bad video is left out and
    named in the `"skipped"` of the sample before or after it.

    Args:
        dataset: see `load_videos`; shuffle it by its own `shuffle(seed, buffer_size)`, which follows `set_epoch` too.
        video_processor, settings: as for `VideoClips`.
        rank, world_size: the share of the stream to read. A caller that gives them must not share it out again.
        endless: begin again at the end of the data set, in another epoch. Shares need not be of one size then.

    Raises:
        OSError: a video cannot be read, or, with "skip", none at all can.
    """

    def __init__(
        self,
        dataset: Any,
        video_processor: BaseVideoProcessor,
        *,
        rank: int = 0,
        world_size: int = 1,
        endless: bool = False,
        **settings: Any,
    ):
        super().__init__(dataset, video_processor, **settings)
        if world_size > 1:
            self.dataset = split_dataset_by_node(self.dataset, rank, world_size)
        self.endless = endless

    def set_epoch(self, epoch: int) -> None:
        """Also reaches workers that run already, and the order of a shuffled data set."""
        super().set_epoch(epoch)
        self.dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        epoch = self._epoch.get()
        while True:
            is_empty = True
            for sample in self._one_pass(epoch):
                is_empty = False
                yield sample
            if is_empty or not self.endless:  # a worker may have no share at all
                return
            epoch += 1
            self.dataset.set_epoch(epoch)

    def _one_pass(self, epoch: int) -> Iterator[dict[str, Any]]:
        # One sample is held back, because the last one names the bad videos at the stream's end.
        held: dict[str, Any] | None = None
        skipped: Skipped = []
        for row in self.dataset:
            sample = self._read(row, generator_for(self.seed, epoch, _identity(row["video"])), skipped)
            if sample is None:
                continue
            if held is not None:
                yield held
            held = {**sample, "skipped": list(skipped)} if skipped else sample
            skipped.clear()
        if held is None:
            if skipped:
                raise OSError(f"none of {len(skipped)} videos can be read, the first {skipped[0][0]}: {skipped[0][1]}")
            return
        yield {**held, "skipped": [*held.get("skipped", []), *skipped]} if skipped else held


def _identity(video: Any) -> int:
    """A number for a video, the same in every process."""
    if isinstance(video, Mapping):
        video = video.get("path") or video["bytes"]
    content = video if isinstance(video, bytes) else str(video).encode()
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big")
