"""The folder of a run: it is tried before the first step, and one training at a time has it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from safetensors import SafetensorError

from vita_clip_hf.training import run_folder
from vita_clip_hf.training.run_folder import OWNER, check_writable, sole_training, writing_results

HOLD = """
import os, sys, time
from vita_clip_hf.training.run_folder import sole_training
with sole_training(sys.argv[1]):
    if os.fork() == 0:
        time.sleep(3)  # a worker that outlives its parent for a while
        os._exit(0)
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_is_made_and_left_empty(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_in_the_place_of_the_folder_or_of_its_parent_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=f"nothing can be written into {folder} .*(File exists|Not a directory)"):
            check_writable(folder)


def test_a_read_only_place_is_named(tmp_path, monkeypatch):
    """As a mount that is read-only: permissions do not hold root back."""

    def refuse(*args, **kwargs):
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(run_folder.tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(OSError, match=r"output_dir: nothing can be written into .*Read-only file system"):
        check_writable(tmp_path)


def test_a_second_training_is_refused_by_name_and_a_killed_one_leaves_no_lock(tmp_path):
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline() == "held\n"
        begin = time.monotonic()
        with (
            pytest.raises(OSError, match=f"in use by another training, process {first.pid} on"),
            sole_training(tmp_path),
        ):
            pass
        assert time.monotonic() - begin < 5  # its process is alive: nothing to wait for
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    with sole_training(tmp_path):  # its worker is waited for
        assert json.loads((tmp_path / OWNER).read_text())["pid"] == os.getpid()


def test_no_signal_is_sent_where_signal_0_is_an_event(tmp_path, monkeypatch):
    """As on Windows, where it would interrupt the other training instead of asking whether it is alive."""
    (tmp_path / OWNER).write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}), encoding="utf-8")
    assert run_folder._owner_runs(tmp_path)
    monkeypatch.setattr(signal, "CTRL_C_EVENT", 0, raising=False)
    monkeypatch.setattr(os, "kill", lambda *arguments: pytest.fail("a signal was sent"))
    assert not run_folder._owner_runs(tmp_path)
    with sole_training(tmp_path):
        pass


def test_a_training_may_ask_twice(tmp_path):
    with sole_training(tmp_path), sole_training(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "x", "host": 1}', "\\x00"])
def test_an_odd_note_of_the_owner_is_no_error(tmp_path, content):
    (tmp_path / OWNER).write_text(content)
    with sole_training(tmp_path):
        pass


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), SafetensorError("I/O error"), RuntimeError("x")]
)
def test_results_that_cannot_be_written_are_an_error_that_says_so(tmp_path, error):
    with pytest.raises(OSError, match=r"results could not be written into .*MiB are free"), writing_results(tmp_path):
        raise error
