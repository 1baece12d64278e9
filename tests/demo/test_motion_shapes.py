"""Motion Shapes: what the clips show, that order alone tells a reversed pair apart, and what lies on disk."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from vita_clip_hf.demo.motion_shapes import (
    HELD_OUT_COLORS,
    HELD_OUT_COMBINATIONS,
    HELD_OUT_SHAPES,
    MOTIONS,
    REVERSED_PAIRS,
    TRAIN_COLORS,
    TRAIN_COMBINATIONS,
    TRAIN_SHAPES,
    UNSEEN_MOTIONS,
    UNSEEN_REVERSED_PAIRS,
    draw_spec,
    encode,
    render,
    shape_masks,
    write_split,
)
from vita_clip_hf.demo.shapes import SHAPES, paint_shape

ALL_MOTIONS = (*MOTIONS, *UNSEEN_MOTIONS)
ALL_PAIRS = (*REVERSED_PAIRS, *UNSEEN_REVERSED_PAIRS)
ALL_SHAPES, ALL_COLORS = (*TRAIN_SHAPES, *HELD_OUT_SHAPES), (*TRAIN_COLORS, *HELD_OUT_COLORS)


def draw(motion, seed=0):
    return draw_spec(np.random.default_rng(seed), motion, ALL_SHAPES, ALL_COLORS)


def still_world(spec):
    """The clip without what is drawn anew for each frame."""
    return replace(spec, shake=0.0, grain=0.0)


def centres(spec, num_frames=9):
    x, y, _, _ = spec.path.at(np.linspace(0, 1, num_frames))
    return x, y


def test_there_are_at_least_twelve_motions_most_of_them_in_reversed_pairs():
    paired = [motion for pair in REVERSED_PAIRS for motion in pair]
    assert len(MOTIONS) >= 12
    assert len(set(MOTIONS)) == len(MOTIONS)
    assert set(paired) <= set(MOTIONS)
    assert len(paired) > len(MOTIONS) / 2
    assert not set(MOTIONS) & set(UNSEEN_MOTIONS)
    assert len(UNSEEN_MOTIONS) >= 4


@pytest.mark.parametrize(("first", "second"), ALL_PAIRS)
def test_a_clip_of_a_pair_s_second_motion_is_a_clip_of_its_first_reversed(first, second):
    for seed in range(20):
        spec, partner = draw(first, seed), draw(second, seed)
        assert partner == spec.reversed()
        assert partner.motion == second
        frames, backwards = render(still_world(spec), 6, 32), render(still_world(partner), 6, 32)
        # Sums in another order round differently: a grey level at most.
        assert np.abs(frames[::-1].astype(int) - backwards).max() <= 1


@pytest.mark.parametrize("motion", ALL_MOTIONS)
def test_reversing_twice_changes_nothing(motion):
    spec = draw(motion, 3)
    twice = spec.reversed().reversed()
    assert twice.motion == motion
    for value, same in zip(spec.path.at(np.linspace(0, 1, 7)), twice.path.at(np.linspace(0, 1, 7)), strict=True):
        np.testing.assert_allclose(value, same, atol=1e-9)


@pytest.mark.parametrize(("first", "second"), REVERSED_PAIRS)
def test_the_bag_of_frames_says_nothing_about_the_direction(first, second):
    """Independent draws of the two motions agree in the mean of what their frames show, whatever the order."""

    def bag(motion, seed):
        rng = np.random.default_rng(seed)
        paths = (draw_spec(rng, motion, TRAIN_SHAPES, TRAIN_COLORS).path for _ in range(600))
        values = [np.stack(path.at(np.linspace(0, 1, 8))) for path in paths]
        return np.array([np.concatenate([value.mean(1), value.std(1)]) for value in values])

    one, other = bag(first, 1), bag(second, 2)
    error = np.sqrt((one.var(0) + other.var(0)) / len(one)) + 1e-9
    assert (np.abs(one.mean(0) - other.mean(0)) / error).max() < 4


def test_each_motion_moves_as_its_name_says():
    for seed in range(20):
        x, y = centres(draw("moving left", seed))
        assert (np.diff(x) < 0).all()
        assert np.ptp(y) < 0.2 * np.ptp(x)
        x, y = centres(draw("moving up", seed))
        assert (np.diff(y) < 0).all()
        x, y = centres(draw("moving diagonally up and to the right", seed))
        assert (np.diff(x) > 0).all()
        assert (np.diff(y) < 0).all()
        spec = draw("circling clockwise", seed)
        x, y = centres(spec)
        dx, dy = x - spec.path.x[0], y - spec.path.y[0]
        assert (dx[:-1] * dy[1:] - dy[:-1] * dx[1:] > 0).all()  # clockwise, as y points down
        assert np.ptp(draw("standing still", seed).path.at(np.linspace(0, 1, 9)), axis=1).max() == 0
        _, _, radius, _ = draw("growing", seed).path.at(np.linspace(0, 1, 9))
        assert (np.diff(radius) > 0).all()
        _, _, _, opacity = draw("disappearing", seed).path.at(np.linspace(0, 1, 9))
        assert (np.diff(opacity) < 0).all()
        steps = np.hypot(*np.diff(centres(draw("speeding up", seed)), axis=1))
        assert (np.diff(steps) > 0).all()
        assert steps[-1] > 5 * steps[0]


@pytest.mark.parametrize("motion", ALL_MOTIONS)
def test_shapes_stay_in_the_picture(motion):
    for seed in range(50):
        x, y, radius, opacity = draw(motion, seed).path.at(np.linspace(0, 1, 17))
        inside = 1e-6 + 0.25 * radius
        assert ((x > radius - inside) & (x < 1 - radius + inside)).all()
        assert ((y > radius - inside) & (y < 1 - radius + inside)).all()
        assert ((opacity >= 0) & (opacity <= 1)).all()
        assert radius.min() > 0.06


def test_distractors_are_smaller_and_duller_than_any_mover():
    for motion, seed in product(ALL_MOTIONS, range(20)):
        spec = draw(motion, seed)
        assert all(still.radius < min(spec.path.radius) and still.opacity <= 0.6 for still in spec.distractors)


def test_held_out_looks_are_not_among_the_trained_ones():
    assert not set(TRAIN_SHAPES) & set(HELD_OUT_SHAPES)
    assert not set(TRAIN_COLORS) & set(HELD_OUT_COLORS)
    assert not set(TRAIN_COMBINATIONS) & set(HELD_OUT_COMBINATIONS)
    rng = np.random.default_rng(0)
    for _ in range(300):
        spec = draw_spec(rng, "growing", TRAIN_SHAPES, TRAIN_COLORS, TRAIN_COMBINATIONS)
        assert (spec.shape, spec.color) in TRAIN_COMBINATIONS
    # Held-out combinations are new only as combinations: each part of them is trained on.
    assert {shape for shape, _ in HELD_OUT_COMBINATIONS} <= {shape for shape, _ in TRAIN_COMBINATIONS}
    assert {color for _, color in HELD_OUT_COMBINATIONS} <= {color for _, color in TRAIN_COMBINATIONS}


def test_captions_are_plain_english():
    spec = replace(draw("moving left"), shape="star", color="orange")
    spec = replace(spec, path=replace(spec.path, radius=(0.1, 0.1)))
    assert spec.caption == "a small orange star moving left"
    growing = replace(draw("growing"), shape="star", color="orange")
    assert growing.caption == "an orange star growing"


def test_rendering_is_deterministic_and_of_the_asked_size():
    spec = draw("circling clockwise")
    frames = render(spec, num_frames=5, size=32)
    assert frames.shape == (5, 32, 32, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, render(spec, num_frames=5, size=32))


@pytest.mark.parametrize("motion", ["circling clockwise", "appearing", "growing"])
def test_masks_are_where_the_colour_of_the_moving_shape_is_seen(motion):
    spec = replace(draw(motion, 4), grain=0.0)
    black, white = (render(replace(spec, rgb=(grey,) * 3), 6, 32) for grey in (0.0, 1.0))
    seen = (white.astype(np.float32) - black)[..., 0] / 255
    masks = shape_masks(spec, 6, 32)
    assert masks.shape == (6, 32, 32)
    assert masks.max() > 0.8
    np.testing.assert_allclose(masks, seen, atol=1 / 255)


def test_one_frame_is_a_clip():
    assert render(draw("moving left"), num_frames=1, size=16).shape == (1, 16, 16, 3)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_solid_inside_its_rim_smooth_and_within_its_window(shape):
    picture = np.zeros((1, 64, 64, 3), np.float32)
    paint_shape(picture, shape, (1.0, 1.0, 1.0), 0.5, 0.5, 0.25)
    mask = picture[0, ..., 0]
    assert mask.max() == 1
    assert 0.15 * 32**2 < mask.sum() < 0.9 * 32**2
    assert 20 < ((mask > 0) & (mask < 1)).sum() < 400
    # Painted through a window that could cut it off, a shape is the same as far from any border.
    shifted = np.zeros((2, 64, 64, 3), np.float32)
    paint_shape(shifted, shape, (1.0, 1.0, 1.0), np.array([0.5, 0.5 + 8 / 64]), 0.5, 0.25)
    np.testing.assert_allclose(shifted[0], picture[0], atol=1e-5)
    np.testing.assert_allclose(shifted[1, :, 8:], picture[0, :, :-8], atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"motion": "dancing"},
        {"shapes": ["sphere"]},
        {"colors": []},
        {"combinations": [("circle", "no such colour")]},
    ],
)
def test_unknown_names_are_refused(arguments):
    usual = {"motion": "growing", "shapes": TRAIN_SHAPES, "colors": TRAIN_COLORS}
    with pytest.raises(ValueError, match=r"Motion Shapes has|is in `combinations`"):
        draw_spec(np.random.default_rng(0), **(usual | arguments))


def test_an_encoded_clip_reads_back_as_it_was(tmp_path):
    av = pytest.importorskip("av")
    frames = render(draw("moving left"))
    encode(frames, tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 4
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_split_is_balanced_and_lists_its_clips_as_path_and_label(tmp_path):
    pytest.importorskip("av")
    annotations = write_split(tmp_path, "train", 10, 0, MOTIONS[:4], num_workers=1, size=32, progress=False)
    rows = [line.rsplit(",", 1) for line in annotations.read_text().splitlines()]
    assert annotations == tmp_path / "train.csv"
    assert all((tmp_path / path).is_file() for path, _ in rows)
    assert sorted(np.bincount([int(label) for _, label in rows])) == [2, 2, 3, 3]
    assert (tmp_path / "train.classes.txt").read_text().splitlines() == list(MOTIONS[:4])


def test_several_workers_write_the_same_files_as_one(tmp_path):
    pytest.importorskip("av")
    for workers in (1, 2):
        write_split(
            tmp_path / str(workers), "train", 40, 0, num_workers=workers, num_frames=2, size=16, progress=False
        )
    files = sorted((tmp_path / "1" / "train").iterdir())
    assert len(files) == 41
    assert all(file.read_bytes() == (tmp_path / "2" / "train" / file.name).read_bytes() for file in files)


def test_splits_of_one_seed_differ_by_name(tmp_path):
    pytest.importorskip("av")
    for name in ("train", "test"):
        write_split(tmp_path, name, 1, 0, num_workers=1, num_frames=2, size=16, progress=False)
    assert (tmp_path / "train" / "000000.mp4").read_bytes() != (tmp_path / "test" / "000000.mp4").read_bytes()


def test_a_whole_split_is_kept_an_interrupted_one_continued_and_another_replaced(tmp_path):
    pytest.importorskip("av")
    settings = {"num_workers": 1, "num_frames": 2, "size": 16, "progress": False}
    annotations = write_split(tmp_path, "train", 3, 0, **settings)
    clip = tmp_path / "train" / "000001.mp4"
    clip.write_bytes(b"mark")
    assert write_split(tmp_path, "train", 3, 0, **settings) == annotations
    assert clip.read_bytes() == b"mark"
    # As an interruption leaves it: clips, and no list yet.
    (tmp_path / "train").rename(tmp_path / ".train.unfinished")
    annotations.unlink()
    (tmp_path / ".train.unfinished" / "000002.mp4").unlink()
    write_split(tmp_path, "train", 3, 0, **settings)
    assert clip.read_bytes() == b"mark"
    assert (tmp_path / "train" / "000002.mp4").is_file()
    write_split(tmp_path, "train", 3, 1, **settings)
    assert clip.read_bytes() != b"mark"


def test_a_folder_that_is_no_split_is_never_deleted(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="no Motion Shapes split"):
        write_split(tmp_path, "train", 1, 0, num_workers=1, progress=False)
    assert (tmp_path / "train" / "thesis.txt").exists()


@pytest.mark.parametrize("arguments", [{"num_clips": 0}, {"motions": ["growing", "growing"]}, {"motions": []}])
def test_impossible_splits_are_refused(tmp_path, arguments):
    with pytest.raises(ValueError, match=r"num_clips|all different"):
        write_split(tmp_path, "train", **({"num_clips": 4, "seed": 0} | arguments))


def test_impossible_frames_are_refused():
    with pytest.raises(ValueError, match="num_frames=0"):
        render(draw("growing"), num_frames=0)
