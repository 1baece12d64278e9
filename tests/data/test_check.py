"""`vita-clip data check`: every bad file is found, by its kind, and the cleaned list is what is left."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
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
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReader

from vita_clip_hf.cli import main
from vita_clip_hf.data import load_videos
from vita_clip_hf.data.check import PROBLEMS, check_data
from vita_clip_hf.data.check.containers import content_unlike_name
from vita_clip_hf.data.check.probe import Probe, probe_video
from vita_clip_hf.data.formats.files import VIDEO_EXTENSIONS
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
    report = check_data(read_listing(tmp_path / "list.csv"), num_frames=12, num_workers=1, sampling="uniform")
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


# ---- the frames after a jump ----


def write_bars(path: Path, codec: str = "mpeg4", num_frames: int = 60, container: str | None = None) -> Path:
    """Frame i shows i in eight bars, black or white, bit b in bar b."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        for index in range(num_frames):
            bars = np.repeat([(index >> bit & 1) * 255 for bit in range(8)], 16).astype(np.uint8)
            image = np.broadcast_to(bars[None, :, None], (64, 128, 3)).copy()
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())
    return path


class WrongAfterJumps(VideoReader):
    """Plays in order from its start, and gives the frame before for any other."""

    _reached = 0

    def read_frames(self, indices):
        indices = list(indices)
        frames = super().read_frames(indices if indices[0] == self._reached else [index - 1 for index in indices])
        self._reached = indices[-1] + 1
        return frames


def test_a_frame_that_differs_after_a_jump_is_a_problem(tmp_path, monkeypatch):
    path = write_bars(tmp_path / "a.mp4")
    assert probe_video((str(path), None)) == Probe(num_frames=60)
    monkeypatch.setattr("vita_clip_hf.data.check.probe.VideoReader", WrongAfterJumps)
    jumps = {probe_video((str(path), None), seed).wrong_frame for seed in range(4)}
    assert len(jumps) > 1
    assert None not in jumps
    (tmp_path / "list.csv").write_text("a.mp4,0\n")
    report = check_data(read_listing(tmp_path / "list.csv", class_names=["x"]), num_workers=1)
    assert [finding.kind for finding in report.findings] == ["wrong_frame"]
    assert "gives another picture than playing the file does" in report.findings[0].reason
    assert report.usable == []


def test_a_jump_stays_in_the_part_of_the_label(tmp_path):
    path = write_bars(tmp_path / "a.mp4")
    assert probe_video((str(path), (0.4, 0.8))) == Probe(num_frames=10)


def test_parts_are_cut_at_the_times_of_the_frames(shared_dir):
    path = str(shared_dir / "data" / "odd_videos" / "bars_variable_rate.mp4")
    assert probe_video((path, (4.0, 6.0))).num_frames == 13  # frames 81 to 93; at the mean rate it would be 20


# ---- short videos ----


def test_videos_too_short_for_the_stride_are_counted_with_the_remedy(tmp_path, capsys):
    for number in range(4):
        write_bars(tmp_path / f"{number}.mp4", num_frames=60 if number else 30)
    (tmp_path / "list.csv").write_text("".join(f"{number}.mp4,0\n" for number in range(4)))
    (tmp_path / "list.classes.txt").write_text("x\n")
    settings = ("--num-frames", "4", "--sampling-stride", "16", "--out", tmp_path / "out")
    assert check(tmp_path / "list.csv", *settings) == 0
    said = "1 of 4 videos (25.0%) have fewer than 49 frames"
    assert said in capsys.readouterr().out
    assert said in (tmp_path / "out" / "report.txt").read_text()
    assert json.loads((tmp_path / "out" / "report.json").read_text())["stride_fit"] == {
        "num_frames": 4,
        "sampling_stride": 16,
        "num_videos": 4,
        "num_shorter": 1,
        "fitting_stride": 9,
    }
    assert check(tmp_path / "list.csv", "--sampling", "uniform", *settings) == 0
    assert "fewer than" not in capsys.readouterr().out
    assert check(tmp_path / "list.csv", "--num-frames", "4", "--sampling_stride", "9", "--out", tmp_path / "out") == 0
    assert "fewer than" not in capsys.readouterr().out


# ---- the run itself ----


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_workers": -1}, "num_workers must be 1 or more, found -1"),
        ({"num_workers": 0}, "num_workers must be 1 or more, found 0"),
        ({"num_frames": 0}, "num_frames"),
        ({"sampling_stride": -2}, "frame_stride"),
        ({"sampling": "dence"}, "sampling must be one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_the_first_file(broken, settings, message):
    with pytest.raises(ValueError, match=message):
        check_data(read_listing(broken), probe=pytest.fail, **settings)


def test_the_command_refuses_a_number_of_workers_in_one_line(broken, tmp_path, capsys):
    assert main(["data", "check", str(broken), "--num-workers", "-1", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "vita-clip data: num_workers must be 1 or more, found -1.\n"


def test_a_script_without_a_main_guard_checks_a_data_set(broken, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from vita_clip_hf.data.check import check_data\n"
        "from vita_clip_hf.data.loading import read_listing\n"
        f"print(check_data(read_listing({str(broken)!r}), num_workers=2, sampling='uniform').summary)\n"
    )
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert "76 of 80 videos are usable" in run.stdout


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), ImportError("needs the decord library")])
def test_a_decoder_that_cannot_be_started_is_an_error_of_the_run(broken, error, monkeypatch):
    def fail(path):
        raise error

    monkeypatch.setattr("vita_clip_hf.data.check.probe.VideoReader", fail)
    with pytest.raises(type(error), match=str(error.args[-1])):
        check_data(read_listing(broken), num_workers=2)


def test_a_video_that_vanishes_while_it_is_checked_is_unreadable(tmp_path, monkeypatch):
    path = write_bars(tmp_path / "a.mp4")

    class Vanishing(VideoReader):
        def read_frames(self, indices):
            path.unlink(missing_ok=True)
            return super().read_frames(indices)

    monkeypatch.setattr("vita_clip_hf.data.check.probe.VideoReader", Vanishing)
    assert "no such file" in (probe_video((str(path), None)).error or "").lower()


@pytest.mark.parametrize("name", ["nul\0.mp4", "caf\udce9.mp4", "gone.mp4"])
def test_names_that_no_file_has_are_findings(tmp_path, name):
    assert probe_video((str(tmp_path / name), None)).error is not None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_with_the_name_of_a_video_is_a_finding_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "is a pipe" in str(probe_video((str(tmp_path / "pipe.mp4"), None)).error)


def test_files_that_were_left_out_are_in_the_report(tmp_path, capsys):
    for name in ("archery", "bowling"):
        (tmp_path / "set" / name).mkdir(parents=True)
        write_bars(tmp_path / "set" / name / "1.mp4")
    (tmp_path / "set" / "bowling" / "2.rmvb").touch()
    assert check(tmp_path / "set", "--out", tmp_path / "out", "--sampling", "uniform") == 0
    output = capsys.readouterr().out
    assert "2 of 2 videos are usable; other files in the folder: 1" in output
    assert "2.rmvb (its ending .rmvb is not one of a video)" in output
    assert "2.rmvb: its ending .rmvb is not one of a video" in (tmp_path / "out" / "report.txt").read_text()
    (entry,) = json.loads((tmp_path / "out" / "report.json").read_text())["left_out"]
    assert entry["path"].endswith("bowling/2.rmvb")


# ---- endings ----

# Container and codec, if they are not those that the ending stands for.
WRITTEN = {
    ".3g2": ("3g2", "mpeg4"),
    ".3gp": ("3gp", "mpeg4"),
    ".asf": ("asf", "wmv2"),
    ".avi": ("avi", "mpeg4"),
    ".divx": ("avi", "mpeg4"),
    ".flv": ("flv", "flv1"),
    ".webm": ("webm", "libvpx"),
    ".wmv": ("asf", "wmv2"),
    ".m2ts": ("mpegts", "libx264"),
    ".mpeg": ("mpeg", "mpeg2video"),
    ".mpg": ("mpeg", "mpeg2video"),
    ".mts": ("mpegts", "libx264"),
    ".ts": ("mpegts", "libx264"),
    ".vob": ("vob", "mpeg2video"),
}


@pytest.mark.parametrize("ending", sorted(VIDEO_EXTENSIONS))
def test_every_ending_that_is_listed_can_be_read(tmp_path, ending):
    container, codec = WRITTEN.get(ending, (None, "libx264"))
    found = probe_video((str(write_bars(tmp_path / f"a{ending}", codec, container=container)), None))
    assert found == Probe(num_frames=60)


def test_ogg_is_not_listed_and_refused_with_what_mends_it(tmp_path):
    found = probe_video((str(write_bars(tmp_path / "a.ogv", "libvpx", container="ogg")), None))
    assert ".ogv" not in VIDEO_EXTENSIONS
    assert "`ffmpeg -i FILE -c copy FILE.mkv`" in found.error
