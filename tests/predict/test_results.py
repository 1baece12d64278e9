"""Files of results: whole, readable by others, with errors beside what was found."""

import csv
import json

import pytest

from vita_clip_hf.predict.results import Prediction, check_results_file, write_results

FOUND = [
    Prediction('a, "b".mp4', [{"label": "骑车, fast", "score": 0.75}, {"label": "swim", "score": 0.25}]),
    Prediction("not utf-8 \udcff\n.mp4", [], "is no video"),
]
OBJECTS = [
    {"video": FOUND[0].video, "predictions": FOUND[0].predictions, "error": None},
    {"video": FOUND[1].video, "predictions": [], "error": "is no video"},
]


def test_csv_has_a_row_for_each_label_and_each_error(tmp_path):
    write_results(tmp_path / "new" / "found.csv", FOUND)
    with open(tmp_path / "new" / "found.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["video", "rank", "label", "score", "error"],
        ['a, "b".mp4', "1", "骑车, fast", "0.75", ""],
        ['a, "b".mp4', "2", "swim", "0.25", ""],
        ["not utf-8 \\udcff\n.mp4", "", "", "", "is no video"],
    ]


def test_json_and_json_lines_come_back_as_they_were(tmp_path):
    write_results(tmp_path / "found.json", FOUND)
    assert json.loads((tmp_path / "found.json").read_text(encoding="utf-8")) == OBJECTS
    write_results(tmp_path / "found.JSONL", FOUND)
    lines = (tmp_path / "found.JSONL").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == OBJECTS


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    (tmp_path / "found.json").write_text("old")
    with pytest.raises(TypeError):
        write_results(tmp_path / "found.json", [Prediction("a", [{"label": "b", "score": object()}])])
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]
    assert (tmp_path / "found.json").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("found.txt", ValueError, r"ends with '.txt'; expected one of .csv, .json, .jsonl"),
        ("found", ValueError, "ends with ''"),
        ("folder.csv", OSError, "is a folder"),
        ("file/found.csv", OSError, r"found\.csv cannot be written"),
    ],
)
def test_a_place_that_will_not_do_is_refused_before_any_work(tmp_path, name, error, message):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(error, match=message):
        check_results_file(tmp_path / name)


def test_a_place_that_will_do_is_left_as_it_was(tmp_path):
    (tmp_path / "found.csv").write_text("old")
    check_results_file(tmp_path / "found.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["found.csv"]
    assert (tmp_path / "found.csv").read_text() == "old"
