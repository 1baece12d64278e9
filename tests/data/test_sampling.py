"""Which frames of a video make a clip; the draws themselves are tested with the clips, in `test_video_clips.py`."""

from itertools import pairwise

import pytest
import torch

from vita_clip_hf.data.sampling import TrainingSampling, fitting_stride


@pytest.mark.parametrize(
    ("lengths", "num_frames", "stride"),
    [
        ([113], 8, 16),
        ([112], 8, 15),
        ([16], 8, 2),
        ([3], 8, 1),
        ([1], 1, 1),
        ([10] * 1 + [113] * 19, 8, 16),  # 5 % may be shorter
        ([10] * 2 + [113] * 19, 8, 1),  # 2 of 21 are more than that
        ([10] * 2 + [113] * 38, 8, 16),
    ],
)
def test_a_stride_fits_if_95_percent_of_the_videos_are_long_enough(lengths, num_frames, stride):
    assert fitting_stride(lengths, num_frames) == stride
    assert fitting_stride(lengths[::-1], num_frames) == stride


def test_the_fitting_stride_is_the_largest():
    lengths = torch.randint(1, 300, (77,), generator=torch.Generator().manual_seed(0)).tolist()
    for num_frames in (2, 5, 16):
        fits = [
            stride
            for stride in range(1, 300)
            if sum(length >= (num_frames - 1) * stride + 1 for length in lengths) >= 0.95 * len(lengths)
        ]
        assert fitting_stride(lengths, num_frames) == max(fits, default=1)


@pytest.mark.parametrize(("lengths", "num_frames"), [([], 8), ([0, 5], 8), ([5], 0)])
def test_a_stride_without_lengths_is_an_error(lengths, num_frames):
    with pytest.raises(ValueError, match=r"expected at least 1|Expected the number of frames"):
        fitting_stride(lengths, num_frames)


@pytest.mark.parametrize(("sampling", "extent", "gap"), [("dense", 22, 3), ("strided", 22, 3), ("uniform", 8, 1)])
def test_a_clips_extent_is_the_shortest_video_in_which_frames_keep_their_distance(sampling, extent, gap):
    clips = TrainingSampling(sampling, 8, 3)
    assert clips.extent == extent
    for total, is_kept in ((extent, True), (extent - 1, False)):
        indices = clips.indices(total, torch.Generator().manual_seed(0))
        assert all(second - first == gap for first, second in pairwise(indices)) == is_kept
