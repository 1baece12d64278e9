"""Whether the files of all lists are there, before the first step."""

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from vita_clip_hf.training.file_check import check_files, find_missing

FEATURES = Features({"video": Value("string"), "label": ClassLabel(names=["a"])})


def rows(paths) -> Dataset:
    return Dataset.from_dict({"video": [str(path) for path in paths], "label": [0] * len(paths)}, features=FEATURES)


@pytest.fixture
def files(tmp_path):
    """Forty files in one folder, three in another."""
    paths = [tmp_path / "many" / f"{number}.mp4" for number in range(40)]
    paths += [tmp_path / "few" / f"{number}.mp4" for number in range(3)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return paths


def test_files_that_are_missing_are_found_in_folders_of_any_size(files, tmp_path):
    assert find_missing(map(str, files)) == []
    files[7].unlink()
    files[41].unlink()
    files[8].unlink()
    files[8].mkdir()  # a folder is no video
    files[9].unlink()
    files[9].symlink_to("nowhere")
    gone = [tmp_path / "no such folder" / f"{number}.mp4" for number in range(20)]
    expected = [str(path) for path in (files[7], files[8], files[9], files[41], *gone)]
    assert find_missing([*map(str, files), *map(str, gone)]) == expected


def test_a_link_to_a_file_is_a_file(files, tmp_path):
    links = [tmp_path / "many" / f"link{number}.mp4" for number in range(20)]
    for link in links:
        link.symlink_to(files[0])
    assert find_missing(map(str, links)) == []


def test_missing_files_are_an_error_with_the_remedy(files):
    files[7].unlink()
    sets = {"train.csv": rows(files[:3]), "val.csv": rows(files), "none": None}
    with pytest.raises(FileNotFoundError, match=r"val.csv: 1 of 43 videos are not there: .*7.mp4.*on_bad_video skip"):
        check_files(sets, "raise", 0.01)


def test_with_skip_a_few_missing_files_are_a_warning_and_many_an_error(files, caplog):
    files[7].unlink()
    check_files({"val.csv": rows(files)}, "skip", 0.1)
    assert "val.csv: 1 of 43 videos are not there" in caplog.text
    with pytest.raises(FileNotFoundError, match=r"more than the share of 1.0% that --max_bad_videos allows"):
        check_files({"val.csv": rows(files)}, "skip", 0.01)


def test_addresses_and_videos_in_memory_are_not_looked_for():
    check_files({"urls": rows(["https://example.org/a.mp4", "hf://datasets/x/a.mp4"])}, "raise", 0.0)
    in_memory = Dataset.from_dict({"video": [{"path": "gone.mp4", "bytes": b"x"}], "label": [0]})
    check_files({"bytes": in_memory, "stream": rows(["gone.mp4"]).to_iterable_dataset()}, "raise", 0.0)
