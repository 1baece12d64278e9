"""Videos on systems that lack what Linux has: the same frames and the same errors, by other ways."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_checkpoint import TIMEOUT, write_rising_video
from vita_clip_hf.modeling import video_decoding_vita_clip as decoding
from vita_clip_hf.modeling import video_reading_vita_clip as reading
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReader, VideoReadError

av = pytest.importorskip("av", reason="PyAV writes the videos")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return write_rising_video(tmp_path_factory.mktemp("videos") / "rising.mp4")


@pytest.fixture
def new_decoder(monkeypatch):
    """The next file starts a process of its own, which ends with the test."""
    threads = reading._ThisThread()
    monkeypatch.setattr(reading, "_THIS_THREAD", threads)
    yield
    if threads.decoder is not None:
        threads.decoder.end()


@pytest.fixture
def no_descriptors(monkeypatch, new_decoder):
    """As on Windows: a new program gets no open files of its parent's."""
    monkeypatch.delattr(os, "fork")
    popen = subprocess.Popen

    def refuse(*arguments, pass_fds=(), **settings):
        assert not pass_fds, "pass_fds not supported on Windows."
        return popen(*arguments, **settings)

    monkeypatch.setattr(subprocess, "Popen", refuse)


def frames_and_times(path) -> tuple[np.ndarray, np.ndarray]:
    reader = VideoReader(path)
    return reader.read_frames([40, 0, 7]).numpy(), reader.frame_times


@pytest.fixture(scope="module")
def expected(video) -> tuple[np.ndarray, np.ndarray]:
    return frames_and_times(video)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_frames_follow_the_reply_where_no_descriptor_is_passed(video, expected, no_descriptors):
    assert_same(frames_and_times(video), expected)
    assert_same(frames_and_times(video.read_bytes()), expected)
    assert reading._decoder_of_this_thread()._memory_file is None


def test_without_descriptors_many_frames_come_in_parts(video, no_descriptors, monkeypatch):
    whole = VideoReader(video).read_frames(range(50)).numpy()
    monkeypatch.setattr(reading, "_BYTES_AT_ONCE", 3 * 64 * 48 * 3)
    np.testing.assert_array_equal(VideoReader(video).read_frames(range(50)).numpy(), whole)


def test_without_descriptors_a_process_that_dies_costs_its_file_only(video, expected, no_descriptors, tmp_path):
    reader = VideoReader(video)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video.read_bytes()[:-900])
    with pytest.raises(VideoReadError, match=r"cut\.mp4: "):
        VideoReader(cut)
    process = reading._decoder_of_this_thread()
    receive = process._receive

    def receive_after_death(seconds):
        process._process.kill()
        process._process.wait()
        return receive(seconds)

    process._process.send_signal(signal.SIGSTOP)  # so that no reply is faster
    process._receive = receive_after_death
    with pytest.raises(VideoReadError, match=r"rising\.mp4: the decoder was ended by SIGKILL"):
        reader.read_frames([3])
    assert_same(frames_and_times(video), expected)


def test_without_descriptors_a_process_that_cannot_start_says_why(video, no_descriptors, monkeypatch, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit('no numpy here')", encoding="utf-8")
    monkeypatch.setattr(reading, "PROGRAM", str(program))
    with pytest.raises(OSError, match=r"cannot be started .*ended with exit code 1: no numpy here"):
        VideoReader(video)


def test_a_stranger_without_the_key_gets_no_connection(monkeypatch):
    from multiprocessing import AuthenticationError
    from multiprocessing.connection import Client

    code = "from vita_clip_hf.modeling import video_decoding_vita_clip as program; program._wait_for_call()"
    environment = {**os.environ, decoding.KEY_VARIABLE: "right"}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    ) as process:
        with pytest.raises((AuthenticationError, EOFError, OSError)):
            Client(("127.0.0.1", int(process.stdout.readline())), authkey=b"wrong")
        process.wait(timeout=TIMEOUT)
    assert process.returncode != 0


def test_a_temporary_file_stands_for_memory_without_memfd_create(video, expected, new_decoder, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    assert_same(frames_and_times(video), expected)


def test_without_proc_only_a_long_wait_ends_a_decoder(video, expected, new_decoder, monkeypatch):
    def refuse(path, *arguments, **settings):
        if str(path).startswith("/proc"):
            raise FileNotFoundError(2, os.strerror(2), str(path))
        return open(path, *arguments, **settings)

    monkeypatch.setattr(reading, "open", refuse, raising=False)
    assert_same(frames_and_times(video), expected)
    reader, process = VideoReader(video), reading._decoder_of_this_thread()
    assert process._seconds_worked() == 0.0
    monkeypatch.setattr(reading, "_STALLED_SECONDS", 0.1)
    monkeypatch.setattr(reading, "_WAITING_SECONDS", 0.5)
    process._process.send_signal(signal.SIGSTOP)
    with pytest.raises(VideoReadError, match=r"made no progress for (0\.[5-9]|[1-9])"):
        reader.read_frames([3])


# Run apart: decord is never loaded into this process.
DECODE = """
import sys
from pathlib import Path
from vita_clip_hf.modeling import video_decoding_vita_clip as program

def refuse(self, target):
    raise OSError(1314, "A required privilege is not held by the client")

if sys.argv[2] == "no links":
    Path.symlink_to = refuse
program._load_decord()
container = {"kind": "ts", "packets_are_frames": False, "has_video": None, "height": 0, "width": 0}
container["turns_too_many"] = 0
decoder = program.FrameDecoder(sys.argv[1], 1, 10**7, container)
decoder.open()
link = Path(decoder._folder.name) / "video.ts"
print(decoder.num_frames, decoder.frame(7).mean(), link.is_symlink(), link.is_file())
"""


def test_a_copy_stands_for_a_link_where_links_need_rights(tmp_path):
    stream = write_rising_video(tmp_path / "rising.ts")
    found = {}
    for links in ("links", "no links"):
        command = [sys.executable, "-c", DECODE, str(stream), links]
        result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=TIMEOUT, check=False)
        assert result.returncode == 0, result.stderr
        found[links] = result.stdout.split()
    assert found["links"][:2] == found["no links"][:2]
    assert found["links"][2:] == ["True", "True"]
    assert found["no links"][2:] == ["False", "True"]
