"""From a video to the clips that a model sees: the whole video, and windows of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..hub_cards.handler import RequestError
from ..modeling.pipeline_vita_clip import window_bounds
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..modeling.video_reading_vita_clip import VideoReader, end_of_last_frame

# Without a wish a timeline has at most this many windows, and none is shorter than an action takes, in seconds.
WINDOWS_BY_DEFAULT, SHORTEST_WINDOW = 24, 2.0

Span = tuple[float, float]


@dataclass(frozen=True)
class Clip:
    """
    Args:
        frames: as the model sees them, uint8 `(T, 3, H, W)`.
        times: when each is shown, in seconds from the video's start; `None` if the file does not say.
    """

    frames: torch.Tensor
    times: tuple[float, ...] | None


class ClipReader:
    """
    Reads clips of one video: of each the frames that the processor samples, one clip and its centre.

    Args:
        video: path, http(s) URL or bytes; no URL may lead to this machine or to private networks.
        processor: of the model.

    Attributes:
        duration (`float` or `None`): seconds; `None` if the file does not say when its frames are shown.

    Raises:
        VideoReadError: the video cannot be read.
    """

    def __init__(self, video: Any, processor: VitaClipProcessor):
        self._reader = VideoReader(video, allow_private=False)
        self._processor = processor.video_processor
        self._times = self._reader.frame_times
        self.duration = None if self._times is None else end_of_last_frame(self._times, self._reader.fps)

    def windows(self, length: float | None, stride: float | None, most: int) -> list[Span]:
        """
        The windows of the video, as the pipeline makes them.

        Args:
            length: of a window in seconds; `None` for one that fits the video.
            stride: from the start of one window to the next; by default `length`.
            most: windows that are allowed.

        Raises:
            RequestError: a length is no time, there would be too many windows, or the file does not tell times.
        """
        for name, value in (("window_seconds", length), ("stride_seconds", stride)):
            if value is not None and not 0 < value <= 1e6:
                raise RequestError(f"{name} must be a number of seconds above 0, found {value!r:.50}")
        if self.duration is None:
            raise RequestError(f"{self._reader.name}: does not say when its frames are shown, which windows need")
        length = length or max(self.duration / WINDOWS_BY_DEFAULT, SHORTEST_WINDOW)
        shortest = self.duration / self._reader.num_frames  # no more windows than frames
        spans = window_bounds(self.duration, max(length, shortest), max(stride or length, shortest))
        if len(spans) > most:
            raise RequestError(f"the video has {len(spans)} windows of {length:g} s, more than the {most} allowed")
        return spans

    def whole(self) -> Clip:
        """One clip of the whole video."""
        return self._read(0, self._reader.num_frames)

    def window(self, start: float, end: float) -> Clip:
        """
        One clip of a part of the video.

        Raises:
            RequestError: the part is empty.
            VideoReadError: the file does not tell times, or ends before `start`.
        """
        if not 0 <= start < end:
            raise RequestError(f"a part of a video goes from 0 or later to a later second, found {start} to {end}")
        return self._read(*self._reader.frames_between(start, end))

    def _read(self, first: int, stop: int) -> Clip:
        metadata = self._reader.metadata
        metadata.total_num_frames = stop - first
        views: dict[str, Any] = {"num_temporal_views": 1, "num_spatial_views": 1}
        indices = [first + int(index) for index in self._processor.sample_frames(metadata, **views)]
        prepared = self._processor(
            [self._reader.read_frames(indices)],
            **views,
            do_sample_frames=False,
            do_rescale=False,
            do_normalize=False,
            return_tensors="pt",
        )
        times = None if self._times is None else tuple(float(self._times[index]) for index in indices)
        return Clip(prepared["pixel_values"][0].to(torch.uint8), times)


def stack(clips: Sequence[Clip]) -> torch.Tensor:
    """The frames of N clips of one model, uint8 `(N, T, 3, H, W)`."""
    return torch.stack([clip.frames for clip in clips])


__all__ = ["Clip", "ClipReader", "Span", "stack"]
