"""Augmentation: one draw for all frames, from the generator that is given, and nothing mirrored that has a side."""

import logging

import pytest
import torch
from torchvision.transforms.v2 import functional as F  # noqa: N812

from vita_clip_hf.data import build_clip_augmentation, rand_augment
from vita_clip_hf.data.augmentation import ClipAugmentation
from vita_clip_hf.data.rand_augment import CHANGES, MEAN_COLOR, RandAugment
from vita_clip_hf.data.randomness import global_draws_from
from vita_clip_hf.names import load_labels

OFF = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip_probability": 0.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def frame() -> torch.Tensor:
    """(3, 40, 40) uint8: no symmetry, fine texture, colours in the middle of the range."""
    y, x = torch.meshgrid(torch.linspace(60, 180, 40), torch.linspace(80, 140, 40), indexing="ij")
    texture = torch.arange(1600).reshape(40, 40) * 7 % 11
    return torch.stack([x, y, 0.5 * (x + y)]).add(texture).to(torch.uint8)


@pytest.fixture
def still(frame) -> torch.Tensor:
    """A clip of three equal frames."""
    return frame.expand(3, -1, -1, -1)


# ---- the whole ----


def test_every_frame_gets_the_same_draw(still):
    augment = build_clip_augmentation(32, erasing_probability=0.5)
    for seed in range(30):
        clip = augment(still, generator(seed))
        assert clip.shape == (3, 3, 32, 32)
        assert clip.dtype == torch.uint8
        assert torch.equal(clip[0], clip[1])
        assert torch.equal(clip[0], clip[2])


def test_draws_come_from_the_given_generator_alone(still):
    augment = build_clip_augmentation(32, erasing_probability=0.5)
    state = torch.get_rng_state()
    first = [augment(still, generator(seed)) for seed in range(10)]
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert all(torch.equal(augment(still, generator(seed)), first[seed]) for seed in range(10))
    assert len({clip.numpy().tobytes() for clip in first}) == 10


def test_off_means_a_resize_and_nothing_else(still):
    augment = ClipAugmentation(20, **OFF)
    expected = F.resize(still, [20, 20], interpolation=F.InterpolationMode.BICUBIC, antialias=True)
    assert torch.equal(augment(still, generator()), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": (0.0, 1.0)}, r"scale must be .* found \(0.0, 1.0\)"),
        ({"ratio": (2.0, 1.0)}, "ratio must be"),
        ({"erasing_probability": 2.0}, "erasing_probability must be from 0 to 1, found 2.0"),
        ({"size": 0}, "size must be at least 1 pixel"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        build_clip_augmentation(**{"size": 32, **settings})


def test_a_clip_of_floats_is_refused(still):
    with pytest.raises(ValueError, match=r"expected a uint8 clip \(T, 3, H, W\), found torch.float32"):
        build_clip_augmentation(32)(still.float(), generator())


# ---- crop, flip, erase ----


def test_crops_keep_to_scale_and_ratio():
    # Red counts columns and green counts rows: the corners of a crop say where it was.
    rows, columns = torch.meshgrid(torch.arange(60), torch.arange(90), indexing="ij")
    clip = torch.stack([columns, rows, 0 * rows]).to(torch.uint8)[None]
    augment = ClipAugmentation(30, scale=(0.25, 0.5), ratio=(0.8, 1.25), flip_probability=0)
    for seed in range(40):
        crop = augment(clip, generator(seed))[0].float()
        width = (crop[0].max() - crop[0].min()) * 30 / 29
        height = (crop[1].max() - crop[1].min()) * 30 / 29
        assert 0.8 * 0.85 < width / height < 1.25 * 1.15
        assert 0.25 * 0.85 < width * height / (60 * 90) < 0.5 * 1.15


def test_frames_too_narrow_for_any_crop_are_cropped_at_the_centre():
    clip = torch.arange(64, dtype=torch.uint8).expand(1, 3, 2, 64)
    crop = ClipAugmentation(2, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip_probability=0)(clip, generator())
    assert crop[0, 0].tolist() == [[31, 32], [31, 32]]


def test_half_of_the_clips_are_flipped(still):
    augment = ClipAugmentation(40, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip_probability=0.5)
    flipped = [torch.equal(augment(still, generator(seed)), still.flip(-1)) for seed in range(100)]
    assert 35 < sum(flipped) < 65


def test_the_erased_box_is_one_and_the_same_in_all_frames(still):
    augment = ClipAugmentation(40, **OFF, erasing_probability=1.0)
    clip = augment(still, generator(3))
    erased = (clip != still).any(dim=1)
    assert torch.equal(erased[0], erased[2])
    rows, columns = erased[0].any(1).nonzero().flatten(), erased[0].any(0).nonzero().flatten()
    box = clip[1, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert 0.01 < box[0].numel() / 1600 < 0.4
    assert torch.equal(box, torch.tensor(MEAN_COLOR, dtype=torch.uint8)[:, None, None].expand_as(box))


# ---- what may be mirrored ----


@pytest.mark.parametrize(
    "name", ["moving left", "Turning right", "turning_clockwise", "circling counter-clockwise", "moving rightwards"]
)
def test_classes_with_a_side_are_not_flipped_and_the_reason_is_logged(name, caplog):
    with caplog.at_level(logging.WARNING):
        augment = build_clip_augmentation(32, ["archery", name], rand_augment="")
    assert augment.flip_probability == 0
    assert f"1 of the classes mean, such as {name!r}" in caplog.text
    assert build_clip_augmentation(32, ["archery", name], horizontal_flip=True).flip_probability == 0.5


def test_kinetics_is_flipped():
    assert build_clip_augmentation(224, load_labels("k400")).flip_probability == 0.5
    assert build_clip_augmentation(224, load_labels("k400"), horizontal_flip=False).flip_probability == 0


def test_something_something_is_never_flipped(shared_dir, caplog):
    for name in ("ssv2_labels", "ssv2_174_base_labels", "ssv2_174_novel_labels"):
        labels = load_labels(shared_dir / "data" / "labels" / f"{name}.csv")
        assert build_clip_augmentation(224, labels, horizontal_flip=True).flip_probability == 0


# ---- RandAugment ----


def test_timms_notation_is_read():
    assert RandAugment.parse("rand-m7-n4-mstd0.5-inc1") == RandAugment(7, 4, 0.5, True, 10, 0.5)
    assert RandAugment.parse("rand-m9-mmax9.5-p1") == RandAugment(9, 2, 0, False, 9.5, 1)
    assert RandAugment.parse("rand") == RandAugment(10, 2, 0, False, 10, 0.5)


@pytest.mark.parametrize(
    "text", ["auto-m7", "rand-x7", "rand-m7-m8", "rand-m", "rand-inc2", "rand-n1.5", "", "rand-", "RandAugment"]
)
def test_an_unknown_part_is_an_error_that_shows_a_valid_text(text):
    with pytest.raises(ValueError, match=r"expected a text such as 'rand-m7-n4-mstd0\.5-inc1'"):
        RandAugment.parse(text)


@pytest.mark.parametrize(("text", "message"), [("rand-m11", "m=11"), ("rand-n0", "n of at least 1"), ("rand-p2", "p")])
def test_values_out_of_range_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        RandAugment.parse(text)


def test_there_are_fifteen_changes_and_each_is_drawn(still, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        rand_augment,
        "CHANGES",
        tuple(lambda clip, *_, number=number: drawn.append(number) or clip for number in range(len(CHANGES))),
    )
    for seed in range(100):
        with global_draws_from(generator(seed)):
            RandAugment.parse("rand-n4-p1")(still)
    assert sorted(set(drawn)) == list(range(15))
    assert len(drawn) == 400


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_increasing_changes_grow_with_the_level(frame, number):
    change = CHANGES[number]

    def strength(level: float, sign: int) -> float:
        changed = change(frame[None], level, sign, True)
        assert changed.dtype == torch.uint8
        assert changed.shape == (1, *frame.shape)
        return (changed[0].float() - frame.float()).abs().mean().item()

    for sign in (-1, 1):
        weak, strong = strength(0.1, sign), strength(1.0, sign)
        assert strong >= weak
        assert strong > 0


@pytest.mark.parametrize("sign", [-1, 1])
def test_geometric_changes_move_the_picture_as_far_as_the_level_says(sign):
    clip = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    clip[..., 19:21, 19:21] = 255
    translate_x = CHANGES[13](clip, 0.5, sign, True)[0, 0, 20]
    place = (translate_x == 255).nonzero().flatten()
    assert place.tolist() == [19 + sign * 9, 20 + sign * 9]


def test_magnitudes_scatter_around_the_mean_within_their_limits():
    with global_draws_from(generator()):
        levels = [RandAugment(7, magnitude_std=0.5)._draw_level() for _ in range(300)]
        assert sum(levels) / 300 == pytest.approx(0.7, abs=0.01)
        assert 0.03 < torch.tensor(levels).std() < 0.07
        assert max(RandAugment(9, magnitude_std=3)._draw_level() for _ in range(100)) == 1


def test_a_generator_goes_on_after_the_draws_made_from_it():
    alone, shared = generator(), generator()
    with global_draws_from(shared):
        first = torch.rand(3)
    assert torch.equal(first, torch.rand(3, generator=alone))
    assert torch.equal(torch.rand(3, generator=shared), torch.rand(3, generator=alone))
