"""Draws follow from the seed and the names alone."""

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from vita_clip_hf.data import load_annotations
from vita_clip_hf.data.splits import (
    base_and_novel_classes,
    draw_classes,
    draw_episode,
    draw_shots,
    select_classes,
    write_list,
)

NAMES = ["swim", "run", "jump"]
FEATURES = Features({"video": Value("string"), "label": ClassLabel(names=NAMES)})


def videos_of(counts: dict[str, int], root: str = "/a") -> Dataset:
    rows = [(f"{root}/{name}/{number}.mp4", NAMES.index(name)) for name, n in counts.items() for number in range(n)]
    return Dataset.from_dict({"video": [video for video, _ in rows], "label": [y for _, y in rows]}, features=FEATURES)


def drawn(dataset: Dataset) -> set[str]:
    return {video.split("/", 2)[2] for video in dataset["video"]}


def test_a_draw_has_as_many_videos_of_each_class():
    found = draw_shots(videos_of({"swim": 9, "run": 7, "jump": 30}), 4, 0)
    assert found["label"] == [0] * 4 + [1] * 4 + [2] * 4
    assert found.features == FEATURES


def test_a_draw_does_not_depend_on_the_order_or_the_folder():
    first = videos_of({"swim": 9, "run": 7, "jump": 30})
    other = videos_of({"jump": 30, "run": 7, "swim": 9}, root="/b").shuffle(seed=3)
    assert drawn(draw_shots(first, 4, 5)) == drawn(draw_shots(other, 4, 5))


def test_another_seed_is_another_draw_and_fewer_shots_are_part_of_more():
    dataset = videos_of({"swim": 20, "run": 20, "jump": 20})
    assert drawn(draw_shots(dataset, 4, 0)) != drawn(draw_shots(dataset, 4, 1))
    assert drawn(draw_shots(dataset, 2, 0)) < drawn(draw_shots(dataset, 8, 0))


def test_a_known_draw_stays():
    found = draw_shots(videos_of({"swim": 6, "run": 6, "jump": 6}), 2, 1)
    assert sorted(drawn(found)) == ["jump/4.mp4", "jump/5.mp4", "run/3.mp4", "run/4.mp4", "swim/3.mp4", "swim/5.mp4"]


def test_too_few_videos_are_named():
    with pytest.raises(ValueError, match="class 'run' has 3 videos; expected at least 4"):
        draw_shots(videos_of({"swim": 9, "run": 3, "jump": 30}), 4, 0)
    with pytest.raises(ValueError, match="at least 1"):
        draw_shots(videos_of({"swim": 9}), 0, 0)


def test_base_classes_are_the_more_frequent_half():
    assert base_and_novel_classes(videos_of({"swim": 3, "run": 9, "jump": 4})) == ([1, 2], [0])
    assert base_and_novel_classes(videos_of({"swim": 3, "run": 3, "jump": 3})) == ([1, 2], [0])  # by name


def test_base_and_novel_halves_of_the_real_lists(shared_dir):
    """The published halves are of the same sizes; which classes are frequent differs where counts are equal."""
    data = shared_dir / "data"
    rows = load_annotations(
        data / "splits" / "ssv2" / "validation.txt", class_names=data / "labels" / "ssv2_labels.csv"
    )
    base, novel = base_and_novel_classes(rows)
    assert (len(base), len(novel)) == (87, 87)
    published = (data / "labels" / "ssv2_174_base_labels.csv").read_text()
    names = rows.features["label"].names
    assert sum(names[label] in published for label in base) > 60


def test_episodes_test_on_what_they_do_not_train_on():
    dataset = videos_of({"swim": 9, "run": 2, "jump": 8})
    train, test = draw_episode(dataset, ways=2, shots=3, seed=0)
    assert train.features["label"].names == test.features["label"].names == ["swim", "jump"]  # "run" is too small
    assert (len(train), len(test)) == (6, 11)
    assert not drawn(train) & drawn(test)
    with pytest.raises(ValueError, match="2 of 3 classes have more than 3 videos; expected at least 3"):
        draw_episode(dataset, ways=3, shots=3, seed=0)


def test_classes_are_drawn_without_repetition():
    draws = [draw_classes(NAMES, 2, seed) for seed in range(30)]
    assert all(len(set(draw)) == 2 and draw == sorted(draw) for draw in draws)
    assert len({tuple(draw) for draw in draws}) == 3


def test_selected_classes_are_numbered_anew():
    found = select_classes(videos_of({"swim": 1, "run": 2, "jump": 3}), [2, 0])
    assert found.features["label"].names == ["jump", "swim"]
    assert found["label"] == [1, 0, 0, 0]


def test_a_written_list_is_read_again(tmp_path):
    dataset = videos_of({"swim": 1, "run": 2, "jump": 1}, root="/with, comma")
    write_list(dataset, tmp_path / "draw.csv")
    found = load_annotations(tmp_path / "draw.csv")
    assert found.to_list() == dataset.to_list()
    assert found.features["label"].names == NAMES
    with pytest.raises(ValueError, match=r"ends with \.csv"):
        write_list(dataset, tmp_path / "draw.txt")
