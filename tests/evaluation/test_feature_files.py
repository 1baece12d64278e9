"""The videos that `vita-clip features` finds."""

import pytest

from vita_clip_hf.evaluation.feature_files import find_videos


def test_videos_at_any_depth_are_found_once_though_a_link_leads_back(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("one.mp4", "a/b/TWO.MKV", "a/notes.txt", ".hidden.mp4"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a/b/back").symlink_to(tmp_path, target_is_directory=True)
    assert find_videos(tmp_path) == [str(tmp_path / "a/b/TWO.MKV"), str(tmp_path / "one.mp4")]


def test_a_file_is_itself_and_a_folder_without_videos_is_an_error(tmp_path):
    (tmp_path / "clip.bin").write_bytes(b"")
    assert find_videos(tmp_path / "clip.bin") == [str(tmp_path / "clip.bin")]
    with pytest.raises(FileNotFoundError, match="has no video below it"):
        find_videos(tmp_path)
