"""Which frames of a video make a clip in training; what is taken at test time is the video processor's."""

from dataclasses import dataclass
from itertools import pairwise

import torch

from ..modeling.video_processing_vita_clip import FrameSampling
from .randomness import draw_below

TRAINING_SAMPLINGS = ("dense", "tsn", "uniform")


@dataclass(frozen=True)
class TrainingSampling:
    """
    T frame numbers of a video. A video that is too short is read from its start and its last frame repeats.

    Args:
        sampling: "dense" takes T frames that are `stride` apart, from a random start, as Vita-CLIP was trained; "tsn"
            one frame at random from each of T equal segments; "uniform" the middle of each segment, nothing random.
        num_frames: T.
        stride: distance between the frames of a dense clip, in frames of the file.

    Raises:
        ValueError: a value makes no sense.
    """

    sampling: str = "dense"
    num_frames: int = 8
    stride: int = 16

    def __post_init__(self) -> None:
        if self.sampling not in TRAINING_SAMPLINGS:
            raise ValueError(
                f"sampling must be one of {', '.join(map(repr, TRAINING_SAMPLINGS))}, found {self.sampling!r}"
            )
        FrameSampling(num_frames=self.num_frames, frame_stride=self.stride)  # checks the numbers

    def indices(self, total_num_frames: int, generator: torch.Generator) -> list[int]:
        """Frame numbers for a video of that many frames."""
        last = total_num_frames - 1
        if self.sampling == "dense":
            num_starts = max(total_num_frames - (self.num_frames - 1) * self.stride, 1)
            start = draw_below(num_starts, generator)
            return [min(start + step * self.stride, last) for step in range(self.num_frames)]
        if self.sampling == "tsn" and total_num_frames >= self.num_frames:
            bounds = [total_num_frames * step // self.num_frames for step in range(self.num_frames + 1)]
            return [start + draw_below(stop - start, generator) for start, stop in pairwise(bounds)]
        return FrameSampling(num_frames=self.num_frames).indices(total_num_frames)[0].tolist()
