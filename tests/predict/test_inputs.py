"""What arguments stand for: every video once, nothing left out without a word."""

import os

import pytest

from vita_clip_hf.predict.inputs import find_labels, find_videos


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder `clips` with videos at several depths and other files; the working directory is above it."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.mp4", "a.MOV", "deep/er/c.webm", "deep/notes.txt", "README.md", "._b.mp4"):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "clips"


def test_a_folder_stands_for_all_videos_below_it_and_counts_the_rest(folder):
    found = find_videos(["clips"])
    assert found.videos == ["clips/a.MOV", "clips/b.mp4", "clips/deep/er/c.webm"]
    assert found.notes == [
        "clips: left out 3 without a video's ending: clips/._b.mp4, clips/README.md, clips/deep/notes.txt"
    ]


def test_links_are_followed_and_circles_left(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "d.mp4").touch()
    os.symlink(tmp_path / "elsewhere", folder / "link")
    os.symlink(folder, folder / "deep" / "circle")
    assert find_videos(["clips"]).videos[-1] == "clips/link/d.mp4"
    assert len(find_videos(["clips"]).videos) == 4
    os.symlink(folder / "deep", folder / "again")
    found = find_videos(["clips"])
    assert found.videos == ["clips/a.MOV", "clips/again/er/c.webm", "clips/b.mp4", "clips/link/d.mp4"]
    assert "1 of 5 videos were named before and are read once" in found.notes


def test_patterns_are_what_a_shell_makes_of_them(folder):
    assert find_videos(["clips/*.m[op][v4]", "clips/*.MOV"]).videos == ["clips/b.mp4", "clips/a.MOV"]
    assert find_videos(["clips/**/*.webm"]).videos == ["clips/deep/er/c.webm"]
    assert find_videos(["clips/d*"]).videos == ["clips/deep/er/c.webm"]


def test_a_file_that_is_there_is_no_pattern_and_needs_no_ending(folder):
    for name in ("take [1].mp4", "film*", "film"):
        (folder / name).touch()
        assert find_videos([f"clips/{name}"]).videos == [f"clips/{name}"]


def test_what_is_not_there_is_kept_and_fails_when_it_is_read(folder):
    assert find_videos(["no.mp4", "no*.mp4"]).videos == ["no.mp4", "no*.mp4"]


@pytest.mark.parametrize("url", ["https://host/a?b=[1]*", "HTTP://HOST/clip.mp4", "file:///clips/b.mp4"])
def test_urls_are_no_patterns(folder, url):
    assert find_videos([url]).videos == [url]


def test_each_video_is_read_once_and_repeats_are_counted(folder):
    found = find_videos(["clips/b.mp4", "./clips/../clips/b.mp4", str(folder / "b.mp4"), "clips/b.mp4"])
    assert found.videos == ["clips/b.mp4"]
    assert found.notes == ["3 of 4 videos were named before and are read once"]


def test_a_folder_without_videos_is_named(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    found = find_videos(["empty", "clips/b.mp4"])
    assert found.videos == ["clips/b.mp4"]
    assert found.notes == ["empty: no video in this folder"]
    with pytest.raises(OSError, match="empty: no video in this folder"):
        find_videos(["empty"])


def test_an_empty_argument_is_refused(folder):
    with pytest.raises(ValueError, match="An argument is empty"):
        find_videos([""])


class TestLabels:
    def test_names_are_labels(self, folder):
        assert find_labels(["ApplyMakeup", "b c"]) == ["ApplyMakeup", "b c"]
        assert find_labels(["archery"]) == ["archery"]

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("names.txt", "a cat\n\n a dog \n"),
            ("NAMES.TXT", "a cat\na dog"),
            ("names.csv", "id,name\n1,a dog\n0,a cat\n"),
            ("names.json", '["a cat", "a dog"]'),
            ("names", "a_cat\na_dog\n"),
        ],
    )
    def test_a_file_alone_holds_the_names(self, folder, name, text):
        (folder / name).write_text(text)
        assert find_labels([f"clips/{name}"]) == ["a cat", "a dog"]

    def test_a_list_that_ships_is_known_by_its_name(self, folder):
        assert len(find_labels(["k400"])) == 400

    @pytest.mark.parametrize("value", ["names.txt", "README", "no.mp4", "no.csv"])
    def test_a_file_among_names_is_refused(self, folder, value, tmp_path):
        (tmp_path / "README").touch()
        with pytest.raises(ValueError, match=f"'{value}' among the labels is the name of a file"):
            find_labels(["a cat", value])

    def test_files_that_are_not_there_and_bad_names_are_refused(self, folder):
        with pytest.raises(OSError, match=r"no\.txt: no such list"):
            find_labels(["no.txt"])
        with pytest.raises(ValueError, match="distinct"):
            find_labels(["a", "a"])
        (folder / "empty.txt").touch()
        with pytest.raises(ValueError, match="empty"):
            find_labels(["clips/empty.txt"])
