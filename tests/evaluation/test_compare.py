"""Comparisons against counting by hand."""

from dataclasses import replace

import pytest
from reports import report_of

from vita_clip_hf.evaluation.compare import compare_reports, most_confused


def rows(rights: str, labels: str, part: str = "test") -> list[dict]:
    """A prediction for each letter: "1" is right; a wrong one is taken for the class "z"."""
    return [
        {
            "part": part,
            "video": f"/any/{number}.mp4",
            "start": None,
            "end": None,
            "label": label,
            "predicted": label if right == "1" else "z",
            "correct": right == "1",
        }
        for number, (right, label) in enumerate(zip(rights, labels, strict=True))
    ]


def test_differences_are_of_the_same_videos():
    first = report_of("first", rows("1100110011", "aabbaabbaa"))
    other = report_of("other", rows("1111110000", "aabbaabbaa")[:8])
    pair = compare_reports([first, other]).pairs[0]
    assert pair.num_videos == 8
    assert pair.difference == pytest.approx(6 / 8 - 4 / 8)
    assert pair.interval[0] <= pair.difference <= pair.interval[1]
    assert pair.by_class == {"a": (1.0, 1.0, 4), "b": (0.0, 0.5, 4)}
    assert pair.p_value == 0.5  # two videos that only the other has right: 2 * 0.5 ** 2


def test_the_same_predictions_differ_by_nothing():
    first = report_of("first", rows("1100", "abab"))
    pair = compare_reports([first, replace(first)]).pairs[0]
    assert (pair.difference, pair.interval, pair.p_value) == (0, (0, 0), 1)


def test_predictions_of_one_video_do_not_stand_alone():
    """Of 8 predictions of 4 videos, in two draws, the interval is over the videos, and McNemar's test is not made."""
    draws = [[*rows(first, "abab", "draw0"), *rows(second, "abab", "draw1")] for first, second in DRAWS]
    pair = compare_reports([report_of(name, of_draws) for name, of_draws in zip("ab", draws, strict=True)]).pairs[0]
    assert (pair.num_videos, pair.p_value) == (4, None)
    assert pair.difference == pytest.approx((6 - 2) / 8)
    assert pair.interval == (0.5, 0.5)  # each video differs by a half: there is nothing to draw


DRAWS = (("1100", "0000"), ("1111", "1100"))


def test_videos_of_one_name_in_several_folders_are_several():
    """Class folders often have 0.mp4 each, and a class may have folders of its own; roots differ between machines."""
    both = []
    for name, root in (("first", "/mine"), ("other", "C:\\theirs")):
        predictions = rows("110100", "aabbaa")
        for row, video in zip(predictions, ("a/x/0", "a/x/1", "b/x/0", "b/x/1", "a/y/0", "a/y/1"), strict=True):
            row["video"] = f"{root}/{video}.mp4" if root == "/mine" else f"{root}/{video}.mp4".replace("/", "\\")
        both.append(report_of(name, predictions))
    pair = compare_reports(both).pairs[0]
    assert (pair.num_videos, pair.p_value) == (6, 1)
    assert pair.by_class == {"a": (0.5, 0.5, 4), "b": (0.5, 0.5, 2)}


def test_the_most_confused_pairs_are_counted():
    predictions = [*rows("0001", "aaba"), *rows("0", "b")]
    assert most_confused(predictions, 2) == [("a", "z", 2), ("b", "z", 2)]
    assert most_confused(predictions, 1) == [("a", "z", 2)]


def test_differences_of_the_protocols_are_named():
    first = report_of("first", rows("11", "ab"))
    other = report_of("other", rows("10", "ab"))
    other.protocol["num_frames"] = 32
    other.data["partial"] = True
    notes = compare_reports([first, other]).notes
    assert any("num_frames is 32, not 8 as in first" in note for note in notes)
    assert "other is partial." in notes


def test_differences_of_the_data_are_named():
    first = report_of("first", rows("1100", "abab"))
    assert not compare_reports([first, report_of("other", rows("1100", "abab"))]).notes
    other = report_of("other", rows("110011", "ababab"))
    other.data |= {"dataset": "yours", "lists": [{"path": "list", "checksum": "sha256:1"}]}
    other.parts[0] = replace(other.parts[0], num_classes=5)
    assert compare_reports([first, other]).notes == [
        "other was measured on other lists than first.",
        "other was measured on yours, first on mine.",
        "other tells 5 classes apart in test, first 4.",
        "other has 6 videos and first 4; differences are over the 4 that both have.",
    ]


def test_reports_without_a_video_in_common_are_refused():
    first = report_of("first", rows("11", "ab"))
    with pytest.raises(ValueError, match="no video in common"):
        compare_reports([first, report_of("other", rows("11", "ab", part="another"))])
    with pytest.raises(ValueError, match="at least two"):
        compare_reports([first])


def test_reports_without_predictions_are_compared_by_their_figures():
    first, other = (report_of(name, rows("10", "ab")) for name in ("first", "other"))
    other.predictions = None
    page = compare_reports([first, other]).as_markdown()
    assert "| first | zero-shot | 8f 3x1 | 50.00 |" in page
    assert "McNemar" not in page


def test_models_of_one_name_are_told_apart():
    reports = [report_of("a/model", rows("10", "ab")), report_of("b/model", rows("11", "ab"))]
    assert compare_reports(reports).names == ["1. model", "2. model"]
    reports[1].models["b/model"]["num_frames"] = 32
    assert compare_reports(reports).names == ["model (8f 3x1)", "model (32f 3x1)"]


def test_pictures_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    first, other = report_of("first", rows("1010", "abcd")), report_of("other", rows("1110", "abcd"))
    other.models["other"]["num_frames"] = 16
    page = compare_reports([first, other]).save(tmp_path)
    text = page.read_text()
    for picture in ("classes_other.png", "frames_and_views.png"):
        assert f"({picture})" in text
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_other_figures_are_not_drawn_as_the_same(tmp_path):
    pytest.importorskip("matplotlib")
    first, other = report_of("first", rows("1010", "abcd")), report_of("other", rows("1110", "abcd"))
    other.models["other"]["num_frames"] = 16
    other.figures = {"text_to_video_recall_at_1": 0.5}
    assert "frames_and_views.png" not in compare_reports([first, other]).save(tmp_path).read_text()
