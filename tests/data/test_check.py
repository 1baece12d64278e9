"""`vita-clip data check`: every bad file is found, by its kind, and the cleaned list is what is left."""

import json
import shutil
from pathlib import Path

import pytest
from bad_videos import (
    EMPTY,
    REASONS,
    SOUND_ONLY,
    TRUNCATED,
    WRONG_EXTENSION,
    break_videos,
    write_motion_shapes,
)

from vita_clip_hf.cli import main
from vita_clip_hf.data import load_videos
from vita_clip_hf.data.check import PROBLEMS, check_data
from vita_clip_hf.data.check.containers import content_unlike_name
from vita_clip_hf.data.loading import read_listing


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Path:
    annotations = write_motion_shapes(tmp_path_factory.mktemp("broken"))
    break_videos(annotations)
    return annotations


def check(*arguments) -> int:
    return main(["data", "check", *map(str, arguments), "--num-workers", "2"])


def found(folder: Path) -> dict[str, list[str]]:
    """Names of the files of each kind of finding that there is."""
    findings = json.loads((folder / "report.json").read_text())["findings"]
    return {kind: [Path(entry["video"]).name for entry in entries] for kind, entries in findings.items() if entries}


def test_broken_files_are_reported_by_kind_and_left_out(broken, tmp_path, capsys):
    assert check(broken, "--out", tmp_path) == 0
    assert found(tmp_path) == {
        "unreadable": [f"{TRUNCATED:06d}.mp4", f"{EMPTY:06d}.mp4"],
        "sound_only": [f"{SOUND_ONLY:06d}.mp4"],
        "wrong_extension": [f"{WRONG_EXTENSION:06d}.mp4"],
    }
    assert "76 of 80 videos are usable: 2 unreadable, 1 sound only, 1 wrong extension" in capsys.readouterr().out
    text = (tmp_path / "report.txt").read_text()
    assert all(reason in text for reason in REASONS.values())
    before, after = load_videos(broken), load_videos(tmp_path / "cleaned.csv")
    kept = [index for index in range(80) if index not in REASONS]
    assert after["video"][:] == before.select(kept)["video"][:]
    assert after["label"][:] == before.select(kept)["label"][:]
    assert after.features == before.features
    assert not list(tmp_path.glob(".*"))


def test_short_repeated_and_mislabelled_files(broken, tmp_path):
    videos = broken.parent / "train"
    for name in ("archery/a.mp4", "archery/b.mp4", "tai_chi/c.mp4", "d.mp4", "e.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(videos / "000000.mp4", tmp_path / name)
    lines = ["archery/a.mp4,0", "archery/b.mp4,1", "tai_chi/c.mp4,1", "d.mp4,0", "d.mp4,1", "e.mp4,0", "./e.mp4,0"]
    lines += ["archery/a.mp4,2", "tai_chi/c.mp4,1,0,0.5"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    (tmp_path / "list.classes.txt").write_text("archery\ntai chi\n")
    report = check_data(read_listing(tmp_path / "list.csv"), num_frames=12, num_workers=1)
    reasons = {(Path(f.video).name, f.where.rpartition(" ")[2]): (f.kind, f.reason) for f in report.findings}
    assert reasons == {
        ("a.mp4", "1"): ("mislabelled", "is listed under several labels; here as 'archery'"),
        ("b.mp4", "2"): ("mislabelled", "is in the folder 'archery', and its label is 'tai chi'"),
        ("d.mp4", "4"): ("mislabelled", "is listed under several labels; here as 'archery'"),
        ("d.mp4", "5"): ("mislabelled", "is listed under several labels; here as 'tai chi'"),
        ("e.mp4", "7"): ("repeated", f"the same as in {tmp_path}/list.csv, line 6; kept once"),
        ("a.mp4", "8"): ("mislabelled", "expected a label from 0 to 1, found '2'"),
        ("c.mp4", "9"): ("too_short", "has 4 frames, a clip 12"),
    }
    assert [Path(video.path).name for video in report.usable] == ["c.mp4", "e.mp4"]


def test_real_videos(shared_dir, tmp_path):
    videos = shared_dir / "data" / "videos"
    folder = tmp_path / "videos" / "any class"
    folder.mkdir(parents=True)
    names = ["h265_video.mp4", "av1_video.mkv", "video_90.mov", "corrupted.mp4", "unordered.mov"]
    for name in names:
        (folder / name).symlink_to(videos / name)
    (folder / "mp4_inside.avi").symlink_to(videos / "h265_video.mp4")
    (folder / "sound.mp4").symlink_to(videos / "audio_only.mp3")
    assert check(folder.parent, "--out", tmp_path / "out", "--num-frames", "1") == 0
    kinds = found(tmp_path / "out")
    assert kinds["readable_wrong_extension"] == ["mp4_inside.avi"]
    assert kinds["sound_only"] == ["sound.mp4"]
    assert not any("h265_video.mp4" in kinds.get(kind, []) for kind in PROBLEMS)


def test_nothing_usable_and_nothing_to_read_exit_with_1(broken, tmp_path, capsys):
    (tmp_path / "list.csv").write_text(f"{broken.parent}/train/{EMPTY:06d}.mp4,0\ngone.mp4,0\n")
    (tmp_path / "names.txt").write_text("x\n")
    assert check(tmp_path / "list.csv", "--classes", tmp_path / "names.txt", "--out", tmp_path / "out") == 1
    assert "none of its 2 videos is usable" in capsys.readouterr().err
    assert found(tmp_path / "out") == {"unreadable": [f"{EMPTY:06d}.mp4", "gone.mp4"]}
    assert check(tmp_path / "missing.csv", "--out", tmp_path / "none") == 1
    assert "no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.mp4", b"\0\0\0\x20ftypisom", None),
        ("a.avi", b"\0\0\0\x20ftypisom", "MP4 or MOV"),
        ("a.webm", b"\x1a\x45\xdf\xa3\0", None),
        ("a.mp4", b"\x89PNG\r\n\0", "PNG image"),
        ("a.mp4", b"<html>", "text"),
        ("a.mp4", b"", None),
        ("a.mp4", b"\0unknown", None),
    ],
)
def test_content_is_compared_with_the_name(tmp_path, name, content, found):
    (tmp_path / name).write_bytes(content)
    assert content_unlike_name(str(tmp_path / name)) == found
