"""`vita-clip benchmark` on a toy checkpoint; no time that was measured decides anything here."""

import json

import pytest
from toy_checkpoint import save_toy_checkpoint, write_rising_video

from vita_clip_hf.cli import main


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return save_toy_checkpoint(tmp_path_factory.mktemp("benchmark"))


def test_clips_in_memory_and_files_are_timed(adapter, tmp_path, capsys):
    video = write_rising_video(tmp_path / "rising.mp4")
    options = ["--model", str(adapter), "--videos", str(video), "--batch-size", "2", "--seconds", "0.01"]
    assert main(["benchmark", *options, "--device", "cpu", "--dtype", "bfloat16", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["what"] for row in rows] == [
        "one clip in memory",
        "2 clips in memory",
        "2 files, read and resized",
        "2 files, from file to class",
    ]
    assert all(row["seconds"] > 0 and row["clips_per_second"] > 0 for row in rows)
    assert all(row["peak_bytes"] > 1e7 for row in rows)


def test_the_switch_for_cpus_can_be_thrown(adapter, capsys):
    assert main(["benchmark", "--model", str(adapter), "--batch-size", "1", "--seconds", "0.01", "--cpu-kernels"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert "clips/s" in table[0]
    assert [line[:20].strip() for line in table[1:]] == ["one clip in memory"]


def test_errors_are_one_line(adapter, capsys):
    for options, message in (
        (["--model", "no-such-folder/model"], "no-such-folder"),
        (["--model", str(adapter.parent / "base")], "has no classes of its own"),
        (["--model", str(adapter), "--videos", "missing.mp4"], "missing.mp4"),
        (["--model", str(adapter), "--device", "abacus"], "abacus"),
        (["--model", str(adapter), "--batch-size", "0"], "batch_size must be at least 1"),
    ):
        assert main(["benchmark", *options]) == 1
        error = capsys.readouterr().err
        assert message in error
