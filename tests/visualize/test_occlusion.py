"""Frames that decided."""

import pytest
import torch
from tolerance import assert_computed_equal
from toy_vita_clip import toy_clips, toy_model

from vita_clip_hf.visualize.occlusion import frame_importance


def test_a_frame_that_is_the_mean_of_its_neighbours_decides_nothing():
    clip = toy_clips()[0]
    clip[2] = (clip[1] + clip[3]) / 2
    importance = frame_importance(toy_model(), clip, label=1)
    assert importance[2].abs() < 1e-5
    assert importance.abs().max() > 1e-3


@torch.no_grad()
def test_importance_is_the_change_of_the_probability():
    model, clip = toy_model(), toy_clips()[0]
    changed = clip.clone()
    changed[0] = clip[1]
    scores = [model(clip_[None]).logits_per_video.softmax(-1)[0, 2] for clip_ in (clip, changed)]
    assert_computed_equal(frame_importance(model, clip, label=2, batch_size=3)[0], scores[0] - scores[1])


def test_unknown_labels_and_single_frames_are_refused():
    with pytest.raises(ValueError, match="label is 3"):
        frame_importance(toy_model(), toy_clips()[0], label=3)
    with pytest.raises(ValueError, match="2 frames"):
        frame_importance(toy_model(), toy_clips()[0][:1], label=0)
