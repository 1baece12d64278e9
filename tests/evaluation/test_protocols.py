"""Protocols: every one that ships is whole, and a file that is not says what is wrong."""

from dataclasses import FrozenInstanceError

import pytest
import yaml

from vita_clip_hf.evaluation.protocols import load_protocol, protocol_names

EXPECTED = {
    "supervised-k400-4x3",
    "supervised-k400-3x1",
    "supervised-ssv2-1x3",
    *(f"zero-shot-{name}{variant}" for name in ("hmdb51", "ucf101") for variant in ("", "-32f", "-half")),
    "zero-shot-k600",
    "zero-shot-k600-32f",
    *(f"few-shot-{name}" for name in ("hmdb51", "ucf101", "ssv2")),
    *(f"base-to-novel-{name}" for name in ("k400", "hmdb51", "ucf101", "ssv2")),
    "five-way-five-shot",
    "open-set-k700",
    *(f"retrieval-{name}" for name in ("msrvtt-1ka", "msrvtt-full", "lsmdc", "didemo", "smit")),
    *(
        f"localisation-{name}{share}"
        for name in ("thumos14", "activitynet")
        for share in ("", "-open-75-25", "-open-50-50")
    ),
}


def test_the_presets_of_the_papers_ship():
    assert set(protocol_names()) >= EXPECTED


@pytest.mark.parametrize("name", protocol_names())
def test_a_protocol_explains_itself_in_two_lines_and_names_traps(name):
    protocol = load_protocol(name)
    lines = protocol.summary.strip().splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) < 119
    assert protocol.traps
    assert protocol.name == name
    assert protocol.describe().startswith(f"protocol: {name}\n")


@pytest.mark.parametrize("name", protocol_names())
def test_a_protocol_is_the_same_after_json_and_yaml(name, tmp_path):
    protocol = load_protocol(name)
    (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(protocol.to_dict()))
    assert load_protocol(tmp_path / f"{name}.yaml") == protocol


def test_facts_of_the_papers():
    k400 = load_protocol("supervised-k400-4x3")
    assert (k400.num_frames, k400.sampling, k400.frame_stride, k400.num_views) == (8, "strided", 16, 12)
    ucf = load_protocol("zero-shot-ucf101")
    assert [split.num_videos for split in ucf.splits] == [3783, 3734, 3696]
    assert [split.num_videos for split in load_protocol("zero-shot-k600").splits] == [14084, 13978, 14136]
    b2n = load_protocol("base-to-novel-hmdb51")
    assert (b2n.shots, b2n.seeds) == ((16,), (1, 2, 3))
    assert [split.num_classes for split in b2n.splits] == [26, 25]
    assert load_protocol("few-shot-hmdb51").shots == (2, 4, 8, 16)
    episodes = load_protocol("five-way-five-shot")
    assert (episodes.num_draws, episodes.num_ways, episodes.shots) == (200, 5, (5,))
    assert load_protocol("localisation-thumos14").tiou_thresholds == (0.3, 0.4, 0.5, 0.6, 0.7)
    assert len(load_protocol("localisation-activitynet").tiou_thresholds) == 10


def test_a_protocol_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        load_protocol("zero-shot").num_frames = 16


def test_changes_are_seen_in_the_name():
    protocol = load_protocol("zero-shot-ucf101").with_changes({"num_frames": 16, "templates": ["{}"]})
    assert (protocol.num_frames, protocol.templates) == (16, ("{}",))
    assert protocol.name == "zero-shot-ucf101 (changed)"
    assert load_protocol("zero-shot").with_changes({}) == load_protocol("zero-shot")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("five-way-five-shot", {"num_draws": 0}, "num_draws, num_ways and classes_per_proposal must be at least 1"),
        ("five-way-five-shot", {"num_ways": 0}, "num_draws, num_ways and classes_per_proposal must be at least 1"),
        ("five-way-five-shot", {"shots": [0]}, "shots, num_draws, num_ways and classes_per_proposal must be at least"),
        ("localisation", {"tiou_thresholds": [0.5, 2]}, "tiou_thresholds must be above 0 and at most 1"),
        ("localisation", {"window_seconds": -1.0}, "window_seconds must be above 0"),
        ("localisation", {"window_seconds": float("nan")}, "window_seconds must be above 0"),
        ("localisation", {"soft_nms_sigma": 0.0}, "soft_nms_sigma must be above 0"),
    ],
)
def test_a_number_out_of_bounds_is_named(name, changes, message):
    with pytest.raises(ValueError, match=message):
        load_protocol(name).with_changes(changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frame": 8}, "unknown num_frame"),
        ({"num_frames": 0}, "num_frames must be at least 1"),
        ({"num_frames": "8"}, "num_frames: expected int, found '8'"),
        ({"num_frames": True}, "num_frames: expected int, found True"),
        ({"templates": "a video of {}"}, "templates: expected a list"),
        ({"templates": ["a video"]}, "one {} for the label"),
        ({"sampling": "dense"}, "frame_stride is for strided sampling"),
        ({"sampling": "uniform"}, "frame_stride is for strided sampling"),
        ({"frame_stride": None}, "frame_stride is for strided sampling"),
        ({"view_average": "mean"}, "view_average must be one of"),
        ({"metrics": ["recall_at_1"]}, "metrics of classification must be among"),
        ({"splits": []}, "splits is empty"),
        ({"splits": [{"name": "test"}]}, "missing lists"),
        ({"shots": [4]}, "shots is for what trains"),
        ({"class_subset": "half"}, "num_draws is for what draws"),
        ({"kind": "other"}, "kind must be one of"),
        ({"name": "mine"}, "name of a protocol cannot be changed"),
    ],
)
def test_a_fact_that_makes_no_sense_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        load_protocol("zero-shot").with_changes(changes)


def test_a_file_may_start_from_another(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: zero-shot-ucf101\nnum_frames: 16\n")
    protocol = load_protocol(path)
    assert (protocol.name, protocol.num_frames, protocol.dataset) == ("mine", 16, "ucf101")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("kind: [", ValueError, "is not YAML"),
        ("- a\n", ValueError, "expected lines of"),
        ("kind: classification\n", ValueError, "missing summary"),
        ("base: zero-shott\n", OSError, "There is no protocol 'zero-shott'"),
        ("base: {here}\n", ValueError, "starts from itself"),
    ],
)
def test_a_file_that_is_no_protocol_is_named(tmp_path, text, error, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text.format(here=path) if "{here}" in text else text)
    with pytest.raises(error, match=message) as raised:
        load_protocol(path)
    assert "mine.yaml" in str(raised.value) or "zero-shott" in str(raised.value)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(OSError, match=r"There is no protocol 'k400'; there are .*supervised-k400-4x3"):
        load_protocol("k400")
