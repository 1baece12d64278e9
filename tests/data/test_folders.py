"""Folders of videos as people lay them out: every file is read, or counted and named, or the layout is refused."""

import logging
import os
from pathlib import Path

import pytest

from vita_clip_hf.data import load_videos
from vita_clip_hf.data.loading import read_listing


def make(folder: Path, *files: str) -> Path:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def read(folder: Path, **settings) -> dict[str, str]:
    """The class of each file, by its path from the folder."""
    dataset = load_videos(folder, **settings)
    names = dataset.features["label"].names
    return {os.path.relpath(row["video"], folder): names[row["label"]] for row in dataset}


def left_out(folder: Path, **settings) -> dict[str, str]:
    listing = read_listing(folder, **settings)
    return {os.path.relpath(entry.printable_path, folder): entry.reason for entry in listing.left_out}


def test_videos_at_any_depth_below_a_class_are_its_videos(tmp_path):
    make(tmp_path, "archery/1.mp4", "archery/day 1/2.mp4", "archery/day 1/camera/3.MOV", "tai_chi/a/b/c/4.mkv")
    assert read(tmp_path) == {
        "archery/1.mp4": "archery",
        "archery/day 1/2.mp4": "archery",
        "archery/day 1/camera/3.MOV": "archery",
        "tai_chi/a/b/c/4.mkv": "tai chi",
    }
    assert left_out(tmp_path) == {}


def test_a_level_of_subjects_below_every_class_is_read_with_a_warning(tmp_path, caplog):
    make(tmp_path, "archery/anna/1.mp4", "archery/ben/2.mp4", "bowling/anna/3.mp4")
    assert set(read(tmp_path).values()) == {"archery", "bowling"}
    assert "archery, bowling, which are taken for the classes. If they are splits" in caplog.text


def test_a_level_of_subjects_below_a_split_is_read(tmp_path):
    make(tmp_path, "train/archery/anna/1.mp4", "train/bowling/2.mp4", "val/archery/3.mp4")
    assert read(tmp_path, split="train") == {"train/archery/anna/1.mp4": "archery", "train/bowling/2.mp4": "bowling"}


@pytest.mark.parametrize("splits", [("train", "val"), ("Training", "Validation"), ("train", "test"), ("train",)])
@pytest.mark.parametrize("stray", [(), ("{0}/stray.mp4",), ("{0}/stray.mp4", "stray.mp4", "backup/old.mp4")])
def test_splits_are_not_taken_for_classes(tmp_path, splits, stray):
    make(tmp_path, *(f"{split}/{name}/1.mp4" for split in splits for name in ("archery", "bowling")))
    make(tmp_path, *(name.format(splits[0]) for name in stray))
    with pytest.raises(ValueError, match=rf"found .*{splits[0]}.*called like splits: give one of them as split"):
        load_videos(tmp_path)


def test_splits_without_class_folders_are_refused(tmp_path):
    make(tmp_path, "train/1.mp4", "val/2.mp4")
    with pytest.raises(ValueError, match="found train, val, which are called like splits"):
        load_videos(tmp_path)
    with pytest.raises(ValueError, match=r"found a folder with files such as 1\.mp4|no video in a folder, but 1 in"):
        load_videos(tmp_path, split="train")
    with pytest.raises(ValueError, match=r"no video in a folder, but 1 in train itself \(1\.mp4\)"):
        load_videos(tmp_path, split="train", format="folder")


def test_one_folder_around_the_class_folders_is_no_class(tmp_path):
    make(tmp_path, "videos/archery/1.mp4", "videos/bowling/2.mp4", "readme.txt")
    with pytest.raises(ValueError, match=r"only in folders below videos: give .*videos as the source"):
        load_videos(tmp_path)


def test_a_stray_video_beside_class_folders_is_named(tmp_path, caplog):
    make(tmp_path, "archery/1.mp4", "bowling/2.mp4", "stray.mp4")
    assert set(read(tmp_path)) == {"archery/1.mp4", "bowling/2.mp4"}
    assert "1 file is left out" in caplog.text
    assert "stray.mp4 (stands in no class folder)" in caplog.text


@pytest.mark.parametrize(
    "files",
    [("1.mp4", "2.mp4", "stray/3.mp4"), ("1.mp4", "a/2.mp4"), ("1.mp4", "2.mp4", "3.mp4", "a/1.mp4", "b/2.mp4")],
)
def test_a_flat_folder_with_stray_folders_is_refused(tmp_path, files):
    make(tmp_path, *files)
    with pytest.raises(ValueError, match=r"expected ROOT/class name.*\d videos in no class folder \(1\.mp4"):
        load_videos(tmp_path)


def test_files_with_other_endings_are_counted_and_named(tmp_path, caplog):
    make(tmp_path, "archery/1.mp4", *(f"archery/{number}.rmvb" for number in range(7)), "archery/noending", "b/2.mp4")
    assert set(read(tmp_path)) == {"archery/1.mp4", "b/2.mp4"}
    assert "8 files are left out" in caplog.text
    assert "0.rmvb (its ending .rmvb is not one of a video)" in caplog.text
    assert "and 3 more" in caplog.text
    assert left_out(tmp_path)["archery/noending"] == "its ending (none) is not one of a video"


def test_a_class_whose_files_all_have_other_endings_is_an_error(tmp_path):
    make(tmp_path, "archery/1.mp4", "bowling/2.rmvb", "bowling/3.rmvb", "surfing/4.mp4")
    with pytest.raises(ValueError, match=r"bowling: expected a class folder.*other files \(2\.rmvb, 3\.rmvb\).*\.mkv"):
        load_videos(tmp_path)
    make(tmp_path, "empty.d/x")
    (tmp_path / "empty.d" / "x").unlink()
    with pytest.raises(ValueError, match=r"(bowling|empty\.d): expected a class folder"):
        load_videos(tmp_path)
    assert left_out(tmp_path, class_names=["archery", "surfing"]).keys() == {"bowling/2.rmvb", "bowling/3.rmvb"}


def test_hidden_files_are_passed_over_and_hidden_videos_are_named(tmp_path):
    make(
        tmp_path, "a/1.mp4", "a/.DS_Store", "a/Thumbs.db", "a/._1.mp4", "a/.cache/x.json", "a/.cache/2.mp4", "b/3.mp4"
    )
    make(tmp_path, "__MACOSX/a/._1.mp4", ".git/config", ".DS_Store", "desktop.ini")
    assert set(read(tmp_path)) == {"a/1.mp4", "b/3.mp4"}
    assert left_out(tmp_path) == {"a/._1.mp4": "is hidden", "a/.cache/2.mp4": "is hidden"}


def test_videos_of_a_hidden_folder_on_the_level_of_classes_are_named(tmp_path):
    make(tmp_path, "a/1.mp4", "b/2.mp4", ".trash/3.mp4", ".trash/deep/4.mp4")
    assert set(read(tmp_path)) == {"a/1.mp4", "b/2.mp4"}
    assert left_out(tmp_path) == {".trash/3.mp4": "is hidden", ".trash/deep/4.mp4": "is hidden"}


def test_nothing_is_said_if_nothing_is_left_out(tmp_path, caplog):
    make(tmp_path, "archery/1.mp4", "bowling/2.AVI", "bowling/.DS_Store")
    with caplog.at_level(logging.WARNING):
        assert len(load_videos(tmp_path)) == 2
    assert caplog.records == []


def test_links_are_followed_and_circles_end(tmp_path):
    make(tmp_path / "store", "1.mp4", "sub/2.mp4")
    make(tmp_path / "set", "archery/0.mp4")
    (tmp_path / "set" / "bowling").symlink_to(tmp_path / "store")
    (tmp_path / "set" / "bowling too").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "sub" / "up").symlink_to(tmp_path / "store")
    (tmp_path / "set" / "archery" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert set(read(tmp_path / "set")) == {
        *("archery/0.mp4", "archery/gone.mp4", "bowling/1.mp4", "bowling/sub/2.mp4"),
        *("bowling too/1.mp4", "bowling too/sub/2.mp4"),
    }


def test_a_link_that_leads_above_its_class_or_to_itself_is_not_followed(tmp_path):
    """Else every video of the set would have this class too."""
    folder = make(tmp_path, "archery/1.mp4", "bowling/2.mp4")
    (tmp_path / "bowling" / "up").symlink_to("..")
    (tmp_path / "bowling" / "self").symlink_to("self")
    (tmp_path / "loop").symlink_to("loop")
    assert read(folder) == {"archery/1.mp4": "archery", "bowling/2.mp4": "bowling"}
    assert set(left_out(folder)) == {"bowling/self", "loop"}


def test_folders_whose_names_differ_in_the_form_of_an_accent_are_named_with_their_place(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}: the classes 0 and 1 have the same name"):
        read(make(tmp_path, "caf\u00e9/1.mp4", "cafe\u0301/2.mp4"))


def test_all_splits_have_the_same_ids(tmp_path):
    make(tmp_path, "train/archery/1.mp4", "train/bowling/2.mp4", "train/surfing/3.mp4", "val/surfing/4.mp4")
    (tmp_path / "val" / "archery").mkdir()
    for split in ("train", "val"):
        dataset = load_videos(tmp_path, split=split)
        assert dataset.features["label"].names == ["archery", "bowling", "surfing"]
    assert dataset["label"][:] == [2]


def test_a_missing_split_is_said_with_those_that_are_there(tmp_path):
    make(tmp_path, "train/archery/1.mp4", "val/archery/2.mp4")
    with pytest.raises(
        FileNotFoundError, match=r"split 'test' must be one of a folder of videos, which has train, val"
    ):
        load_videos(tmp_path, split="test")


def test_a_tar_file_beside_class_folders_makes_no_shards_of_them(tmp_path):
    make(tmp_path, "archery/1.mp4", "bowling/2.mp4", "backup.tar")
    assert len(load_videos(tmp_path)) == 2
    assert left_out(tmp_path) == {"backup.tar": "stands in no class folder"}


def test_names_that_are_not_utf8_are_named_and_never_stop_a_report(tmp_path):
    make(tmp_path, "archery/1.mp4", "bowling/2.mp4")
    odd = os.path.join(os.fsencode(tmp_path), b"archery", b"caf\xe9.mp4")
    try:
        open(odd, "wb").close()
    except OSError:
        pytest.skip("the file system takes only UTF-8 names")
    assert set(read(tmp_path)) == {"archery/1.mp4", "bowling/2.mp4"}
    assert left_out(tmp_path) == {"archery/caf\\udce9.mp4": "its name is not UTF-8"}
    os.rename(os.path.join(os.fsencode(tmp_path), b"bowling"), os.path.join(os.fsencode(tmp_path), b"b\xe9"))
    with pytest.raises(ValueError, match=r"b\\udce9': the name is not UTF-8"):
        load_videos(tmp_path)


def test_a_name_with_a_line_break_is_left_out_because_no_list_can_hold_it(tmp_path):
    make(tmp_path, "archery/1.mp4", "bowling/2.mp4", "bowling/a\nb.mp4")
    assert set(read(tmp_path)) == {"archery/1.mp4", "bowling/2.mp4"}
    assert left_out(tmp_path) == {"bowling/a\\nb.mp4": "its name has a line break"}


def test_classes_that_are_the_same_words_are_an_error(tmp_path):
    make(tmp_path, "brush_hair/1.mp4", "brush hair/2.mp4")
    with pytest.raises(ValueError, match=r"same name as words, 'brush hair'"):
        load_videos(tmp_path)


def test_files_of_a_list_are_found_at_any_depth(tmp_path):
    make(tmp_path, "videos/part 1/train/archery/anna/v_1.avi", "videos/.trash/v_2.avi")
    (tmp_path / "list.txt").write_text("v_1.avi 0\nv_2.avi 0\n")
    dataset = load_videos(tmp_path / "list.txt", class_names=["archery"], root=tmp_path / "videos")
    assert dataset["video"][:] == [
        str(tmp_path / "videos/part 1/train/archery/anna/v_1.avi"),
        str(tmp_path / "videos/v_2.avi"),
    ]
