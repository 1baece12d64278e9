"""Annotation lists."""

import pytest

from vita_clip_hf.data import load_annotations


def write(tmp_path, lines: str, classes: str = "left\nright\n"):
    (tmp_path / "list.classes.txt").write_text(classes)
    path = tmp_path / "list.csv"
    path.write_text(lines)
    return path


@pytest.mark.parametrize("lines", ["a.mp4,1\nb c.mp4,0\n", "a.mp4 1\n\nb c.mp4 0\n"])
def test_commas_and_spaces_both_separate_path_and_label(tmp_path, lines):
    dataset = load_annotations(write(tmp_path, lines))
    assert dataset["video"][:] == [str(tmp_path / "a.mp4"), str(tmp_path / "b c.mp4")]
    assert dataset["label"][:] == [1, 0]
    assert dataset.features["label"].names == ["left", "right"]


def test_class_names_and_root_can_be_given(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("a.mp4,0\n")
    dataset = load_annotations(path, class_names=["left"], root="/videos")
    assert dataset[0] == {"video": "/videos/a.mp4", "label": 0}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a.mp4,2\n", r"list.csv, line 1: expected a label from 0 to 1, found '2'"),
        ("a.mp4,0\nb.mp4,left\n", r"line 2: expected a label from 0 to 1, found 'left'"),
        ("a.mp4\n", r"line 1: expected 'path,label'"),
        ("", "lists no video"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        load_annotations(write(tmp_path, lines))


def test_missing_class_names_are_named(tmp_path):
    path = write(tmp_path, "a.mp4,0\n")
    (tmp_path / "list.classes.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"list\.classes\.txt"):
        load_annotations(path)
