"""The process that decodes may die, be killed, stall or be forked around: its parent names the file and goes on."""

import gc
import itertools
import math
import signal
import struct
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_checkpoint import run_without_package, save_toy_checkpoint
from vita_clip_hf.modeling import video_reading_vita_clip as reading
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReader, VideoReadError, read_video

av = pytest.importorskip("av", reason="PyAV writes the videos")

DAMAGED = (
    "00214_bitflip_video_0.mov",
    "00306_headflip_h265_10bits.mp4",
    "00706_truncate_flipping_a_pan.mkv",
    "00739_truncate_ucf_style_xvid.avi",
    "00835_splice_ucf_style_xvid.avi",
    "01489_absurd_video_180.mov",
    "01498_absurd_h265_video.mp4",
    "bomb_8192x8192.mp4",
    "last_frame_mpeg4.avi",
)


def write_bars(
    path: Path, num_frames: int = 60, codec: str = "libx264", size=(64, 48), group: int = 12, **options
) -> Path:
    """Frame i shows eight bars: bit b of i, black or white."""
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = group
        for number in range(num_frames):
            bits = [255 * (number >> bit & 1) for bit in range(8)]
            picture = np.repeat(np.array(bits, np.uint8), width // 8)[None, :, None].repeat(height, 0).repeat(3, 2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))))
        container.mux(stream.encode(None))
    return path


def numbers_of(frames: torch.Tensor) -> list[int]:
    """The numbers that bars show, `(T, 3, H, W)` -> T numbers."""
    width = frames.shape[-1] // 8
    means = frames.float().mean(dim=(1, 2)).reshape(len(frames), 8, width).mean(dim=2)
    return [sum(1 << bit for bit in range(8) if row[bit] > 127) for row in means]


@pytest.fixture
def bars(tmp_path) -> Path:
    return write_bars(tmp_path / "bars.mp4")


def decoder() -> "reading._DecoderProcess":
    return reading._decoder_of_this_thread()


def run(program: str, *arguments: object) -> str:
    """Prints of a program in a new process, which must end well."""
    result = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


# ---- the right frames ----


@pytest.mark.parametrize("name", ["bars_divx_b_frames.avi", "bars_live_no_duration.webm", "bars_variable_rate.mp4"])
def test_bars_show_the_frame_that_was_asked_for(shared_dir, name):
    reader = VideoReader(shared_dir / "data/odd_videos" / name)
    assert reader.num_frames == 150
    uniform = np.linspace(0, 149, 8).astype(int).tolist()
    assert numbers_of(reader.read_frames(uniform)) == uniform
    for index in (149, 0, 148, 77, 10, 9):
        assert numbers_of(reader.read_frames([index])) == [index]


def test_seconds_at_variable_rate_are_found_by_the_times_of_frames(shared_dir):
    reader = VideoReader(shared_dir / "data/odd_videos/bars_variable_rate.mp4")
    assert reader.frames_between(4, 6) == (81, 94)


def test_seconds_are_found_by_times_also_if_two_frames_have_the_same(tmp_path):
    """As a screen recorder writes them: 30 frames at 25/s, two at one time, then 30 at 5/s."""
    times = [40 * number for number in range(30)] + [1200, 1200] + [1400 + 200 * number for number in range(28)]
    with av.open(str(tmp_path / "screen.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        packets = [stream.encode(av.VideoFrame(64, 48, "yuv420p")) for _ in times] + [stream.encode(None)]
        container.start_encoding()
        for packet, time in zip(itertools.chain(*packets), times, strict=True):
            packet.pts = packet.dts = time
            packet.time_base = Fraction(1, 1000)
            container.mux(packet)
    reader = VideoReader(tmp_path / "screen.mkv")
    np.testing.assert_allclose(1000 * reader.frame_times, times, atol=1)
    assert reader.frames_between(2.0, 3.0) == (35, 40)


def test_seconds_of_an_avi_file_with_empty_chunks_are_no_guess(tmp_path):
    """As copying H.264 from MP4 makes it: the rate is that of the chunks, of which every other one is empty."""
    with av.open(str(tmp_path / "empty.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=50, options={"bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * number, np.uint8))
            frame.pts, frame.time_base = 2 * number, Fraction(1, 50)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    reader = VideoReader(tmp_path / "empty.avi")
    assert reader.num_frames == 30
    with pytest.raises(VideoReadError, match=r"empty\.avi: does not say when its frames are shown"):
        reader.frames_between(0.2, 0.8)


@pytest.mark.parametrize("name", ["data/videos/ucf_style_xvid_240p.avi", "data/damaged/last_frame_mpeg4.avi"])
def test_last_frame_after_a_jump_is_the_last(shared_dir, name):
    path = shared_dir / name
    with av.open(str(path)) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for _ in range(10):
        frames = VideoReader(path).read_frames([163, 40]).permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(frames[0], expected[163])
        np.testing.assert_array_equal(frames[1], expected[40])


FOLDER = Path(reading.__file__).parent
JUMPS = """
import sys
from dataclasses import asdict
sys.path.insert(0, sys.argv[1])
import video_decoding_vita_clip as decoding
from video_container_vita_clip import look_into
decoding._load_decord()
path = sys.argv[2]
with open(path, "rb") as file:
    container = look_into(path, file.read(4096))
decoder = decoding.FrameDecoder(path, 1, 10**9, asdict(container))
decoder.open()
jumps, jump = [], decoder._jump_to
decoder._jump_to = lambda key: jumps.append(key) or jump(key)
for index in (5, 60, 61, 110):
    decoder.frame(index)
print(jumps, decoder._can_skip)
"""


def test_frames_far_apart_are_reached_by_jumps(tmp_path):
    assert run(JUMPS, FOLDER, write_bars(tmp_path / "video.mp4", 120, sc_threshold="0")) == "[60, 108] True\n"


def test_files_without_times_are_played_and_never_jumped_in(tmp_path):
    path = write_bars(tmp_path / "video.avi", 120, codec="mpeg4", bf="2")
    assert run(JUMPS, FOLDER, path) == "[] False\n"
    assert numbers_of(VideoReader(path).read_frames([119, 3, 60])) == [119, 3, 60]


def test_hidden_frames_of_vp8_are_not_counted(tmp_path):
    path = write_bars(
        tmp_path / "video.webm",
        100,
        codec="libvpx",
        **{"auto-alt-ref": "1", "lag-in-frames": "16", "arnr-strength": "5"},
    )
    reader = VideoReader(path)
    assert reader.num_frames == 100
    assert numbers_of(reader.read_frames([99, 50, 13])) == [99, 50, 13]


def test_what_decord_cannot_open_is_refused_with_the_command_that_mends_it(tmp_path):
    path = write_bars(tmp_path / "raw.h264", 30)
    with pytest.raises(
        VideoReadError, match=r"raw\.h264: decord finds .*`ffmpeg -i FILE -c copy -use_editlist 0 FILE\.mp4`"
    ):
        VideoReader(path)


def with_matrix(path: Path, degrees: float) -> Path:
    """The file with the display matrix of a turn clockwise."""
    content = bytearray(path.read_bytes())
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = [round(65536 * value) for value in (cosine, sine, 0, -sine, cosine, 0, 0, 0, 16384)]
    place = content.index(b"tkhd") + 44
    content[place : place + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("degrees", [0, -0.01, -1, -30, -44, -45, 1, 45, -60, -90, 60, 90, 180, 181])
def test_frames_are_turned_by_the_nearest_quarter(tmp_path, degrees):
    """Of a turn to the left by up to 45 degrees, and be it a rounding error, decord makes 90."""
    path = with_matrix(write_bars(tmp_path / "turned.mp4", 30), degrees)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    expected = np.rot90(frames[27], -round(degrees / 90) % 4)
    np.testing.assert_array_equal(VideoReader(path).read_frames([27])[0].permute(1, 2, 0).numpy(), expected)


def copy_part(
    source: Path, target: Path, first_packet: int = 0, first_time: int | None = None, **options: str
) -> Path:
    """What copying without encoding anew makes of the packets from one on; their times begin with the one given."""
    with av.open(str(source)) as whole, av.open(str(target), "w", options=options) as part:
        stream = whole.streams.video[0]
        copy = part.add_stream_from_template(stream)
        packets = [packet for packet in whole.demux(stream) if packet.size][first_packet:]
        shift = (
            0 if first_time is None else first_time - min(packet.dts for packet in packets if packet.dts is not None)
        )
        packets[0].pts = None if first_time is None else packets[0].pts
        for packet in packets:
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
            packet.stream = copy
            part.mux(packet)
    return target


def test_file_whose_first_group_of_pictures_decord_leaves_out_is_refused(tmp_path):
    """PyAV shows it. A stream that was cut, times before second 0, and a file that `cat` put behind another."""
    mpeg = write_bars(tmp_path / "whole.mpg", 60, codec="mpeg2video", bf="2")
    with av.open(str(mpeg)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        second_group = [number for number, packet in enumerate(packets) if packet.is_keyframe][1]
    copy_part(mpeg, tmp_path / "cut.mpg", second_group)
    matroska = write_bars(tmp_path / "whole.mkv", 60)
    copy_part(matroska, tmp_path / "early.mkv", first_time=-300, avoid_negative_ts="disabled")
    (tmp_path / "joined.mkv").write_bytes(2 * matroska.read_bytes())
    for name in ("cut.mpg", "early.mkv", "joined.mkv"):
        with pytest.raises(VideoReadError, match=f"{name}: starts inside a group of pictures"):
            VideoReader(tmp_path / name)
    assert VideoReader(mpeg).num_frames == VideoReader(matroska).num_frames == 60


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg1video"])
def test_transport_streams_that_decord_begins_too_late_are_refused(tmp_path, codec):
    """Their list of segments does not open; through another list the first pictures would be broken or missing."""
    path = write_bars(tmp_path / "bars.ts", 60, codec=codec, size=(64, 48))
    with pytest.raises(VideoReadError, match=r"bars\.ts: decord finds .*`ffmpeg -i FILE -c copy FILE\.mkv`"):
        VideoReader(path)


def test_sound_with_cover_art_is_sound_only(tmp_path):
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        sound, cover = container.add_stream("aac", rate=44100), container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value  # PyAV 17 takes no enumeration
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        for _ in range(50):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 44100
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with pytest.raises(VideoReadError, match=r"song\.mp4: has no video stream \(sound only; .*cover art\)"):
        VideoReader(tmp_path / "song.mp4")


def test_times_in_the_order_of_packets_mislead_nobody(tmp_path):
    """MPEG-2 with B-frames whose packets were given times as they came, as ffmpeg does with a raw stream."""
    with av.open(str(write_bars(tmp_path / "right.mkv", 60, codec="mpeg2video", bf="2"))) as right:
        stream = right.streams.video[0]
        with av.open(str(tmp_path / "wrong.mp4"), "w") as wrong:
            copy = wrong.add_stream_from_template(stream)
            packets = [packet for packet in right.demux(stream) if packet.dts is not None]
            for number, packet in enumerate(packets):
                packet.pts = packet.dts = 40 * number
                packet.stream = copy
                wrong.mux(packet)
    for indices in ([59, 3, 30], [40], [13, 14]):
        assert numbers_of(VideoReader(tmp_path / "wrong.mp4").read_frames(indices)) == indices


def test_mpeg4_that_starts_inside_a_group_of_pictures_is_refused(tmp_path):
    """PyAV shows its first frames, broken; decord cannot get back to them."""
    with av.open(str(write_bars(tmp_path / "whole.mkv", 60, codec="mpeg4"))) as whole:
        stream = whole.streams.video[0]
        with av.open(str(tmp_path / "cut.mkv"), "w") as part:
            copy = part.add_stream_from_template(stream)
            for packet in [packet for packet in whole.demux(stream) if packet.dts is not None][5:]:
                packet.stream = copy
                part.mux(packet)
    with pytest.raises(VideoReadError, match=r"cut\.mkv: (starts inside a group of|decord finds neither)"):
        VideoReader(tmp_path / "cut.mkv")


def test_file_written_to_a_pipe_is_counted_by_decoding(tmp_path):
    """Its header promises 2**30 frames, for which decord would reserve memory."""
    for number_of_b_frames in ("0", "2"):
        path = write_bars(tmp_path / "piped.avi", 60, codec="mpeg4", bf=number_of_b_frames)
        content = bytearray(path.read_bytes())
        place = content.index(b"strh") + 40
        content[place : place + 4] = (2**30).to_bytes(4, "little")
        reader = VideoReader(content)
        assert reader.num_frames == 60
        assert numbers_of(reader.read_frames([59, 3])) == [59, 3]


# ---- the process ----


def test_readers_of_a_thread_share_one_process(bars):
    before = decoder()
    for _ in range(3):
        VideoReader(bars).read_frames([3])
    assert decoder() is before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_process_that_was_ended_between_two_requests_is_replaced(bars, number):
    reader = VideoReader(bars)
    decoder()._process.send_signal(number)
    decoder()._process.wait()
    assert numbers_of(reader.read_frames([33])) == [33]


def test_process_that_dies_on_a_file_costs_that_file_only(bars, monkeypatch):
    reader = VideoReader(bars)
    process = decoder()
    receive = process._receive

    def receive_after_death(seconds):
        process._process.kill()
        process._process.wait()
        return receive(seconds)

    process._process.send_signal(signal.SIGSTOP)  # so that no reply is faster
    monkeypatch.setattr(process, "_receive", receive_after_death)
    with pytest.raises(
        VideoReadError, match=r"bars\.mp4: the decoder was ended by SIGKILL while decoding frames 3 to 7"
    ):
        reader.read_frames([3, 7])
    assert numbers_of(reader.read_frames([3, 7])) == [3, 7]


def test_process_without_progress_is_ended(bars, monkeypatch):
    monkeypatch.setattr(reading, "_WAITING_SECONDS", 0.2)
    monkeypatch.setattr(reading, "_STALLED_SECONDS", 0.1)
    reader = VideoReader(bars)
    decoder()._process.send_signal(signal.SIGSTOP)
    with pytest.raises(VideoReadError, match=r"made no progress for .* while decoding frames 3 to 3"):
        reader.read_frames([3])
    assert numbers_of(reader.read_frames([3])) == [3]


def test_interrupted_request_leaves_no_reply_behind(bars, monkeypatch):
    reader = VideoReader(bars)
    process = decoder()

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "_receive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        reader.read_frames([3])
    assert numbers_of(reader.read_frames([7])) == [7]


def test_process_that_cannot_be_started_is_an_error_and_nothing_is_decoded_here(bars, monkeypatch):
    monkeypatch.setattr(reading, "_THIS_THREAD", reading._ThisThread())
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(OSError, match=r"process that decodes videos cannot be started .*/nonexistent/python"):
        VideoReader(bars)


def test_missing_codec_library_is_named(bars, monkeypatch, tmp_path):
    (tmp_path / "decord").mkdir()
    (tmp_path / "decord/__init__.py").write_text("raise ImportError('no such library')")
    monkeypatch.setattr(reading, "_THIS_THREAD", reading._ThisThread())
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="pip install decord2"):
        VideoReader(bars)


def test_threads_read_at_once_and_take_their_processes_with_them(bars):
    found, processes = {}, []

    def read(number):
        reader = VideoReader(bars)
        found[number] = [numbers_of(reader.read_frames([index, 59])) for index in range(number, 59, 7)]
        processes.append(decoder()._process)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [[index, 59] for index in range(number, 59, 7)] for number in range(4)}
    del threads, thread
    gc.collect()
    assert len({process.pid for process in processes}) == 4
    assert all(process.poll() is not None for process in processes)


def test_one_reader_serves_several_threads(bars):
    reader, found = VideoReader(bars), {}

    def read(number):
        found[number] = numbers_of(reader.read_frames([number, 50]))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [number, 50] for number in range(3)}


def test_fork_has_a_process_of_its_own(bars):
    program = """
import os, sys
from vita_clip_hf.modeling import video_reading_vita_clip as reading
reader = reading.VideoReader(sys.argv[1])
mine = reading._decoder_of_this_thread()._process.pid
child = os.fork()
if child == 0:
    shape = tuple(reader.read_frames([7]).shape)
    other = reading._decoder_of_this_thread()._process.pid
    reading._THIS_THREAD.decoder.end()
    os._exit(0 if other != mine and shape == (1, 3, 48, 64) else 1)
_, status = os.waitpid(child, 0)
frames = reader.read_frames([9])
print(os.waitstatus_to_exitcode(status), reading._decoder_of_this_thread()._process.pid == mine, len(frames))
"""
    assert run(program, bars) == "0 True 1\n"


def test_process_ends_with_a_parent_that_is_killed(bars):
    program = """
import os, sys, time
from vita_clip_hf.modeling import video_reading_vita_clip as reading
reading.VideoReader(sys.argv[1])
if os.fork() == 0:
    time.sleep(60)  # it has the pipe's end too
print(reading._decoder_of_this_thread()._process.pid, os.getpid(), flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program, str(bars)], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline().split()[0])
        parent.kill()
        end = time.monotonic() + 20
        while is_running(pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_script_without_a_main_guard_reads_videos_and_does_not_load_the_codec_library(bars, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from vita_clip_hf.modeling.video_reading_vita_clip import read_video\n"
        "print(len(read_video(sys.argv[1])[0]), 'decord' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, script, bars], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "60 False\n"


# ---- damage ----


def frames_or_error(source) -> str:
    try:
        return f"{len(read_video(source)[0])} frames"
    except VideoReadError as error:
        return str(error)


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_file_gives_frames_or_an_error_that_names_it(shared_dir, name):
    path = shared_dir / "data/damaged" / name
    content = path.read_bytes()
    for source, start in ((path, str(path)), (content, f"<{len(content)} bytes>")):
        found = frames_or_error(source)
        assert found.endswith(" frames") or found.startswith(f"{start}: ")


def test_every_damaged_file_is_covered_here(shared_dir):
    assert {path.name for path in (shared_dir / "data/damaged").iterdir()} == set(DAMAGED)


class Damaged(torch.utils.data.Dataset):
    """The bytes of damaged files, one after the other."""

    def __init__(self, paths):
        self.contents = [Path(path).read_bytes() for path in paths]

    def __len__(self):
        return len(self.contents)

    def __getitem__(self, index):
        return frames_or_error(self.contents[index])


def test_workers_of_a_data_loader_survive_damaged_bytes(shared_dir, bars):
    VideoReader(bars).read_frames([0])  # this process has a decoder that the workers inherit
    data = Damaged([shared_dir / "data/damaged" / name for name in DAMAGED])
    found = list(torch.utils.data.DataLoader(data, batch_size=None, num_workers=2))
    assert found == [frames_or_error(content) for content in data.contents]
    assert any("frames" in text for text in found)


def test_code_beside_a_checkpoint_decodes_in_a_process_too(shared_dir, bars, tmp_path):
    program = """
import sys
from pathlib import Path
from transformers import AutoVideoProcessor
checkpoint, good, *damaged = sys.argv[1:]
processor = AutoVideoProcessor.from_pretrained(checkpoint, trust_remote_code=True)
for video in (good, *map(Path, damaged), *damaged):
    try:
        content = video.read_bytes() if isinstance(video, Path) else video
        print(tuple(processor(content, return_tensors="pt").pixel_values.shape))
    except OSError as error:
        print(type(error).__name__, error)
print(tuple(processor(good, return_tensors="pt").pixel_values.shape), "decord" in sys.modules)
"""
    checkpoint = save_toy_checkpoint(tmp_path / "checkpoint")
    damaged = [shared_dir / "data/damaged" / name for name in DAMAGED[:2]]
    lines = run_without_package(program, checkpoint, bars, *damaged, home=tmp_path / "home").splitlines()
    assert lines[0].startswith("(1, ")
    assert [line.partition(":")[0] for line in lines[1:3]] == [
        f"VideoReadError <{path.stat().st_size} bytes>" for path in damaged
    ]
    assert [line.partition(":")[0] for line in lines[3:5]] == [f"VideoReadError {path}" for path in damaged]
    assert lines[5] == f"{lines[0]} False"


# ---- limits ----


def test_frames_larger_than_allowed_are_refused_before_anything_is_decoded(shared_dir):
    path = shared_dir / "data/damaged/bomb_8192x8192.mp4"
    process = decoder()
    before = peak_memory(process)
    with pytest.raises(
        VideoReadError, match=r"8192 x 8192 = 67108864 pixels, more than the 16777216 .*VITA_CLIP_MAX_FRA"
    ):
        VideoReader(path)
    assert peak_memory(process) - before < 50e6


def test_header_that_lies_about_the_size_of_frames_does_not_help(shared_dir, tmp_path):
    content = (shared_dir / "data/damaged/bomb_8192x8192.mp4").read_bytes()
    size = b"\x20\x00\x20\x00"
    place = content.index(size, content.index(b"stsd"))
    (tmp_path / "small.mp4").write_bytes(content[:place] + b"\0\x40\0\x40" + content[place + 4 :])
    process = decoder()
    before = peak_memory(process)
    with pytest.raises(VideoReadError, match=r"small\.mp4: .*(8192 x 8192|want of memory|memory)"):
        VideoReader(tmp_path / "small.mp4")
    if process.is_usable:
        assert peak_memory(process) - before < 1.1e9


def peak_memory(process) -> int:
    with open(f"/proc/{process._process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def test_limits_are_set_by_the_environment(bars, monkeypatch):
    monkeypatch.setenv("VITA_CLIP_MAX_CLIP_BYTES", str(4 * 64 * 48 * 3))
    assert len(VideoReader(bars).read_frames(range(4))) == 4
    with pytest.raises(VideoReadError, match=r"5 frames of 64 x 48 take 46080 bytes, more than the 36864 that"):
        VideoReader(bars).read_frames(range(5))
    monkeypatch.setenv("VITA_CLIP_MAX_FRAME_PIXELS", "3000")
    with pytest.raises(VideoReadError, match=r"64 x 48 = 3072 pixels, more than the 3000 that are allowed"):
        VideoReader(bars)


def test_clip_larger_than_what_is_handed_over_at_once_comes_whole(bars, monkeypatch):
    monkeypatch.setattr(reading, "_BYTES_AT_ONCE", 7 * 64 * 48 * 3 + 5)
    assert numbers_of(VideoReader(bars).read_frames(range(60))) == list(range(60))


def test_decoder_does_not_decode_ahead_between_two_requests(tmp_path):
    """Else it would keep, as RGB frames, all that it has read: of this file 690 MB."""
    path = write_bars(tmp_path / "large.mp4", 250, size=(1280, 720), preset="ultrafast")
    reader = VideoReader(path)
    reader.read_frames([0])
    before = peak_memory(decoder())
    time.sleep(1)
    assert peak_memory(decoder()) - before < 100e6
    assert numbers_of(reader.read_frames([1, 200, 3])) == [1, 200, 3]


# ---- torchcodec ----


class VideoDecoder:
    """Stands for torchcodec's class of this name: frames whose every value is their index."""

    def __init__(self, num_frames: int = 20):
        self.num_frames = num_frames
        self.metadata = type("Metadata", (), {"average_fps": 10.0})()

    def __len__(self) -> int:
        return self.num_frames

    def get_frames_at(self, indices):
        data = torch.tensor(indices, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 6, 8)
        return type("FrameBatch", (), {"data": data, "pts_seconds": torch.tensor(indices) ** 2 / 10.0 + 1})()


VideoDecoder.__module__ = "torchcodec.decoders._video_decoder"


class DecoderOfDatasets(VideoDecoder):
    pass


DecoderOfDatasets.__module__ = "datasets.features.video"


@pytest.mark.parametrize("kind", [VideoDecoder, DecoderOfDatasets])
def test_decoder_of_torchcodec_is_a_video(kind):
    source = kind()
    assert reading.is_video_source(source)
    frames, metadata = read_video(source, lambda metadata: [metadata.total_num_frames - 1, 3, 3])
    assert frames.shape == (3, 3, 6, 8)
    assert frames[:, 0, 0, 0].tolist() == [19, 3, 3]
    assert (metadata.fps, metadata.height, metadata.width, metadata.video_backend) == (10.0, 6, 8, "torchcodec")
    assert VideoReader(source).frames_between(1.7, 2.6) == (4, 6)  # shown at 0, 0.1, 0.4, 0.9, 1.6, 2.5 seconds


class HighSpeedDecoder(VideoDecoder):
    """4,000 frames a second."""

    def get_frames_at(self, indices):
        frames = super().get_frames_at(indices)
        frames.pts_seconds = torch.tensor(indices) / 4000
        return frames


HighSpeedDecoder.__module__ = "torchcodec.decoders._video_decoder"


def test_parts_of_high_speed_video_are_found_to_the_frame():
    reader = VideoReader(HighSpeedDecoder())
    found = [reader.frames_between(number / 4000, (number + 2) / 4000) for number in range(18)]
    assert found == [(number, number + 2) for number in range(18)]


@pytest.mark.parametrize("name", ["arm_wrestling_h264.mp4", "nasa_13013.mp4", "video_90.mov"])
def test_frames_of_torchcodec_are_those_of_decord(shared_dir, name):
    pytest.importorskip(
        "torchcodec.decoders", reason="torchcodec is an optional backend", exc_type=(ImportError, RuntimeError)
    )
    path = shared_dir / "data/videos" / name
    mine, theirs = VideoReader(path), VideoReader(path, backend="torchcodec")
    assert theirs.num_frames == mine.num_frames
    indices = [mine.num_frames - 1, 0, mine.num_frames // 2]
    difference = (theirs.read_frames(indices).int() - mine.read_frames(indices).int()).abs()
    assert difference.float().mean() < 2


def test_absent_backend_is_named(bars, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(ImportError, match=r'backend="torchcodec" needs torchcodec'):
        VideoReader(bars, backend="torchcodec")
    with pytest.raises(ValueError, match=r'backend must be "decord" or "torchcodec", found .opencv.'):
        VideoReader(bars, backend="opencv")
