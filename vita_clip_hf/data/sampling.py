"""Which frames of a video make a clip in training; the words are those of the video processor, plus the draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from ..modeling.video_processing_vita_clip import FrameSampling
from .randomness import draw_below

# Training's words; for each, the video processor's word for the same kind of sampling, and whether training draws at
# random. "dense", the field's word, is an alias of "strided"; "tsn" is "uniform" with a random frame of each segment.
_SAMPLINGS = {
    "strided": ("strided", True),
    "dense": ("strided", True),
    "tsn": ("uniform", True),
    "uniform": ("uniform", False),
}


def resolve_sampling(name: str) -> tuple[str, bool]:
    """
    The video processor's word, "uniform" or "strided", for training's, and whether training draws frames at random.

    Args:
        name: "strided" or its alias "dense", "tsn" or "uniform"; see `TrainingSampling`.

    Raises:
        ValueError: there is no such sampling.
    """
    if name not in _SAMPLINGS:
        raise ValueError(f"sampling must be one of {', '.join(_SAMPLINGS)}; found {name!r}")
    return _SAMPLINGS[name]


def fitting_stride(num_frames_of_videos: Sequence[int], num_frames: int) -> int:
    """
    The largest stride at which clips lie within at least 95 % of the videos, and repeat no last frame there.

    Args:
        num_frames_of_videos: lengths in frames.
        num_frames: T, frames of a clip.

    Returns:
        At least 1, also if the videos have fewer than T frames.

    Raises:
        ValueError: there are no videos, a length is not a positive number, or T is less than 1.
    """
    lengths = sorted(num_frames_of_videos)
    if not lengths or lengths[0] < 1:
        raise ValueError(f"Expected the number of frames of each video, found {lengths[:1] or 'none'}.")
    if num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}; expected at least 1.")
    shorter = len(lengths) // 20  # of so many the last frame may repeat: 5 %
    return max((lengths[shorter] - 1) // max(num_frames - 1, 1), 1)


@dataclass(frozen=True)
class TrainingSampling:
    """
    T frame numbers of a video. A video that is too short is read from its start and its last frame repeats.

    Args:
        sampling: "strided", alias "dense", takes T frames that are `frame_stride` apart, from a random start, as
            Vita-CLIP was trained; "tsn" one frame at random from each of T equal segments; "uniform" the middle of
            each segment, nothing random.
        num_frames: T.
        frame_stride: distance between the frames of a strided clip, in frames of the file.

    Raises:
        ValueError: a value makes no sense.
    """

    sampling: str = "strided"
    num_frames: int = 8
    frame_stride: int = 16

    def __post_init__(self) -> None:
        self.at_test_time()  # checks the values

    def at_test_time(self) -> FrameSampling:
        """The video processor's sampling of the same kind: nothing random."""
        word, _ = resolve_sampling(self.sampling)
        return FrameSampling(num_frames=self.num_frames, sampling=word, frame_stride=self.frame_stride)

    @property
    def extent(self) -> int:
        """The number of frames that a video needs for clips without a repeated last frame."""
        word, _ = resolve_sampling(self.sampling)
        return (self.num_frames - 1) * self.frame_stride + 1 if word == "strided" else self.num_frames

    def indices(self, total_num_frames: int, generator: torch.Generator) -> list[int]:
        """Frame numbers for a video of that many frames."""
        word, is_random = resolve_sampling(self.sampling)
        if word == "strided":
            num_starts = max(total_num_frames - (self.num_frames - 1) * self.frame_stride, 1)
            start = draw_below(num_starts, generator)
            last = total_num_frames - 1
            return [min(start + step * self.frame_stride, last) for step in range(self.num_frames)]
        if is_random and total_num_frames >= self.num_frames:
            bounds = [total_num_frames * step // self.num_frames for step in range(self.num_frames + 1)]
            return [start + draw_below(stop - start, generator) for start, stop in pairwise(bounds)]
        return self.at_test_time().indices(total_num_frames)[0].tolist()
