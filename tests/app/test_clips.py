"""Clips as the model sees them: the frames that the processor samples, with their times."""

import pytest
import torch
from tolerance import assert_computed_equal
from toy_checkpoint import toy_processor, write_rising_video
from vita_clip_hf.hub_cards.handler import RequestError

from vita_clip_hf.app.clips import ClipReader
from vita_clip_hf.data.normalization import PixelNormalization


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return str(write_rising_video(tmp_path_factory.mktemp("videos") / "rising.mp4"))


def test_the_whole_video_is_the_processors_clip(video):
    processor = toy_processor()
    clip = ClipReader(video, processor).whole()
    wanted = processor.video_processor(video, return_tensors="pt")["pixel_values"][0]
    assert clip.frames.dtype == torch.uint8
    assert_computed_equal(PixelNormalization.of(processor)(clip.frames), wanted)
    assert clip.times == pytest.approx((0.24, 0.72, 1.24, 1.72))


def test_one_clip_and_its_centre_are_seen_whatever_views_the_processor_asks_for(video):
    processor = toy_processor()
    plain = ClipReader(video, processor).whole()
    processor.video_processor.num_temporal_views = processor.video_processor.num_spatial_views = 3
    assert torch.equal(ClipReader(video, processor).whole().frames, plain.frames)


def test_windows_are_as_long_as_wished_or_fit_the_video(video):
    reader = ClipReader(video, toy_processor())
    assert reader.duration == pytest.approx(2)
    assert reader.windows(None, None, 10) == [pytest.approx((0, 2))]
    assert len(reader.windows(0.5, None, 10)) == 4
    assert len(reader.windows(0.5, 0.25, 10)) == 7


def test_there_are_no_more_windows_than_frames(video):
    assert len(ClipReader(video, toy_processor()).windows(1e-9, 1e-9, 1000)) == 50


@pytest.mark.parametrize(("start", "end"), [(1, 1), (1, 0.5), (-1, 1), (float("nan"), 1)])
def test_a_part_that_is_empty_is_refused(video, start, end):
    with pytest.raises(RequestError, match="a part of a video"):
        ClipReader(video, toy_processor()).window(start, end)
