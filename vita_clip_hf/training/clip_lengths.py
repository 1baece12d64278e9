"""Whether clips fit into the videos of a set: a few videos are opened before the first step."""

import logging
import random
from itertools import islice
from typing import Any

from datasets import Dataset

from ..data.rows import read_row
from ..data.sampling import TrainingSampling, fitting_stride

logger = logging.getLogger(__name__)

# So many videos tell a share to within a few percent, in a second or two.
VIDEOS_TO_WARN, VIDEOS_TO_FIT = 64, 256


def count_frames(rows: Any, most: int, seed: int) -> list[int]:
    """
    The numbers of frames of some videos: drawn by the seed, or the first ones of a stream. Videos that cannot be read
    are left out.

    Args:
        rows: a set of `load_videos`.
        most: number of videos to open.
    """
    if isinstance(rows, Dataset):
        chosen: Any = (
            rows[index] for index in sorted(random.Random(seed).sample(range(len(rows)), min(most, len(rows))))
        )
    else:
        chosen = islice(rows, most)
    counts = []
    for row in chosen:
        found: list[int] = []
        try:
            read_row(row, lambda total, found=found: found.append(total) or [0])  # type: ignore[misc]
        except OSError:
            continue
        counts += found[:1]
    return counts


def fit_stride(rows: Any, num_frames: int, seed: int) -> int:
    """
    The stride of `--sampling_stride auto`, from up to 256 videos.

    Raises:
        ValueError: none of them can be read.
    """
    counts = count_frames(rows, VIDEOS_TO_FIT, seed)
    if not counts:
        raise ValueError(
            "sampling_stride is 'auto', and none of the videos that were opened can be read. `vita-clip data check` "
            "tells why."
        )
    return fitting_stride(counts, num_frames)


def warn_of_short_videos(rows: Any, sampling: TrainingSampling, seed: int) -> None:
    """Says once how many of up to 64 videos are too short for a clip, so that their last frame repeats."""
    counts = count_frames(rows, VIDEOS_TO_WARN, seed)
    short = sum(count < sampling.extent for count in counts)
    if not short:
        return
    if sampling.at_test_time().sampling == "strided":
        frames = f"{sampling.num_frames} frames, {sampling.frame_stride} apart"
        fitting = fitting_stride(counts, sampling.num_frames)
        remedy = (
            f"--sampling_stride {fitting} fits at least 95 % of them ('--sampling_stride auto' finds it), and "
            "'--sampling tsn' fits videos of any length from"
        )
        remedy += f" {sampling.num_frames} frames."
    else:
        frames, remedy = f"{sampling.num_frames} frames", "Fewer --num_frames would fit."
    logger.warning(
        f"{short} of {len(counts)} videos that were opened ({short / len(counts):.0%}) have fewer than the "
        f"{sampling.extent} frames that a clip takes ({frames}): the last frame repeats there. {remedy}"
    )
