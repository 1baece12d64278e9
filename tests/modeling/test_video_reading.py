"""Frames by index: equal to what PyAV decodes from start to end, or an error that says what is wrong with the file."""

import io
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from vita_clip_hf.modeling import video_reading_vita_clip
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReader, VideoReadError, is_video_source, read_video

av = pytest.importorskip("av", reason="PyAV is the second decoder that frames are compared with")

READABLE = [
    "arm_wrestling_h264.mp4",
    "av1_video.mkv",
    "bt709_full_range.mp4",
    "flipping_a_pancake.mkv",
    "h265_10bits.mp4",
    "h265_video.mp4",
    "nasa_13013.mp4",
    "short_part_0.mp4",
    "ucf_style_xvid_240p.avi",
    "unordered.mov",
    "video_0.mov",
    "video_90.mov",
    "video_180.mov",
    "video_270.mov",
]
UNREADABLE = ["audio_only.mp3", "corrupted.mp4"]


def decode_with_pyav(path, max_frames: int | None = None) -> np.ndarray:
    """All frames, `(N, H, W, 3)`, of the stream that ffmpeg holds for the best, turned upright."""
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.best("video")):
            frames.append(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4))
            if len(frames) == max_frames:
                break
    return np.stack(frames)


def decode_with_scale_filter(path) -> np.ndarray:
    """As above, but converted to RGB by ffmpeg's `scale` filter, as the ffmpeg command does it."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        graph = av.filter.Graph()
        graph.link_nodes(graph.add_buffer(template=stream), graph.add("format", "rgb24"), graph.add("buffersink"))
        graph.configure()
        frames = []
        for frame in container.decode(stream):
            graph.push(frame)
            frames.append(graph.pull().to_ndarray())
    return np.stack(frames)


def frames_of(reader: VideoReader, indices=None) -> np.ndarray:
    indices = range(reader.num_frames) if indices is None else indices
    return reader.read_frames(indices).permute(0, 2, 3, 1).numpy()


def write_video(path: Path, size=(64, 48), num_frames=60, group=12, codec="libx264", **options: str) -> Path:
    """A video whose every frame is unlike any other: brightness rises and a bar moves."""
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = group
        for number in range(num_frames):
            picture = np.full((height, width, 3), 4 * number % 256, dtype=np.uint8)
            picture[:, number % width :][:, :4] = 255 - picture[0, 0]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    return path


def copy_packets(source: Path, target: Path, first_packet: int, first_shown: int | None = None) -> Path:
    """
    What `ffmpeg -c copy` makes: the packets from one on, without encoding anew.

    With `first_shown`, times count from that frame, and an edit list hides those before it, as after `-ss`.
    """
    with av.open(str(source)) as whole, av.open(str(target), "w") as part:
        stream = whole.streams.video[0]
        copy = part.add_stream_from_template(stream)
        packets = [packet for packet in whole.demux(stream) if packet.dts is not None]
        start = 0 if first_shown is None else sorted(packet.pts for packet in packets)[first_shown]
        for packet in packets[first_packet:]:
            packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, copy
            part.mux(packet)
    return target


def test_every_shared_video_is_covered_here(shared_dir):
    found = {path.name for path in (shared_dir / "data/videos").iterdir()}
    assert found == {*READABLE, *UNREADABLE}


@pytest.mark.parametrize("name", READABLE)
def test_frames_equal_pyav(shared_dir, name):
    path = shared_dir / "data/videos" / name
    reader = VideoReader(path)
    frames = frames_of(reader)
    expected = decode_with_pyav(path)
    assert frames.shape == expected.shape == (reader.num_frames, reader.height, reader.width, 3)
    if name == "h265_10bits.mp4":
        # decord converts with ffmpeg's scale filter, which interpolates the half-size colour planes of 10-bit video
        # by a bicubic filter; PyAV's reformatter takes a bilinear one. They differ along edges between saturated
        # colours, of which this test pattern is made. Same filter, same frames:
        np.testing.assert_array_equal(frames, decode_with_scale_filter(path))
        difference = np.abs(frames.astype(int) - expected)
        assert np.median(difference) == 0
        assert difference.mean() < 3
    else:
        np.testing.assert_array_equal(frames, expected)


@pytest.mark.parametrize("name", READABLE)
def test_frames_in_any_order_equal_frames_in_file_order(shared_dir, name):
    path = shared_dir / "data/videos" / name
    reader = VideoReader(path)
    frames = frames_of(reader)
    generator = np.random.default_rng(0)
    for _ in range(2):
        indices = generator.integers(0, len(frames), 6)
        np.testing.assert_array_equal(frames_of(reader, indices), frames[indices])
        np.testing.assert_array_equal(frames_of(VideoReader(path), np.sort(indices)), frames[np.sort(indices)])


def test_full_range_bt709_is_converted_as_such(shared_dir):
    path = shared_dir / "data/videos/bt709_full_range.mp4"
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    y, u, v = (np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes)
    u, v = ((plane.repeat(2, 0).repeat(2, 1).astype(float) - 128) for plane in (u, v))
    # ITU-R BT.709, full range: Y in 0..255, no offset.
    expected = np.stack([y + 1.5748 * v, y - 0.1873 * u - 0.4681 * v, y + 1.8556 * u], axis=-1).clip(0, 255)
    # Half a level of rounding, plus what interpolating the colour planes changes. BT.601 or limited range: 9 to 17.
    assert np.abs(frames_of(VideoReader(path), [0])[0] - expected).mean() < 1


def test_path_string_bytes_and_file_object_give_the_same_frames(shared_dir):
    path = shared_dir / "data/videos/video_90.mov"
    content = path.read_bytes()
    expected = frames_of(VideoReader(path))
    consumed = io.BytesIO(content)
    consumed.read()
    with open(path, "rb") as file:
        for source in (
            str(path),
            content,
            bytearray(content),
            memoryview(content),
            io.BytesIO(content),
            consumed,
            file,
        ):
            assert is_video_source(source)
            np.testing.assert_array_equal(frames_of(VideoReader(source)), expected)


def test_url_gives_the_same_frames_and_a_missing_one_an_error(shared_dir):
    folder = shared_dir / "data/videos"

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        np.testing.assert_array_equal(
            frames_of(VideoReader(f"{url}/video_0.mov")), frames_of(VideoReader(folder / "video_0.mov"))
        )
        with pytest.raises(VideoReadError, match=r"absent\.mp4: download failed .*404"):
            VideoReader(f"{url}/absent.mp4")
        with pytest.raises(VideoReadError, match="is not a video"):
            VideoReader(f"{url}/")
    finally:
        server.shutdown()
        server.server_close()


def test_name_with_a_colon_is_a_file_and_not_a_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "plain.mp4", num_frames=3).rename("film:é 映画.mp4")
    assert VideoReader("film:é 映画.mp4").num_frames == 3


@pytest.mark.parametrize("width", [16, 32, 48, 50, 96, 144])
def test_narrow_frames_come_without_row_padding(tmp_path, width):
    path = write_video(tmp_path / "narrow.mp4", size=(width, 34), num_frames=6)
    np.testing.assert_array_equal(frames_of(VideoReader(path)), decode_with_pyav(path))


@pytest.mark.parametrize("group", [1, 12, 60])
@pytest.mark.parametrize("num_threads", [0, 1])
def test_any_length_of_groups_of_pictures_is_read_right(tmp_path, group, num_threads):
    path = write_video(tmp_path / "video.mp4", group=group)
    expected = decode_with_pyav(path)
    reader = VideoReader(path, num_threads=num_threads)
    for indices in ([59], [0, 11, 12, 13, 24, 47], [58, 3, 30, 3], [1, 2], range(60)):
        np.testing.assert_array_equal(frames_of(reader, indices), expected[list(indices)])


def test_frames_hidden_by_an_edit_list_are_not_counted(tmp_path):
    whole = write_video(tmp_path / "whole.mp4")
    path = copy_packets(whole, tmp_path / "cut.mp4", first_packet=12, first_shown=17)
    expected = decode_with_pyav(path)
    reader = VideoReader(path)
    assert reader.num_frames == len(expected) == 43
    np.testing.assert_array_equal(frames_of(reader), expected)
    np.testing.assert_array_equal(frames_of(VideoReader(path), [5, 40, 20]), expected[[5, 40, 20]])


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "flv"])
def test_stream_cut_inside_a_group_of_pictures_starts_at_its_first_frame_shown(tmp_path, suffix):
    path = copy_packets(write_video(tmp_path / "whole.mp4"), tmp_path / f"cut.{suffix}", first_packet=5)
    expected = decode_with_pyav(path)
    reader = VideoReader(path)
    assert reader.num_frames == len(expected) < 55
    np.testing.assert_array_equal(frames_of(reader), expected)
    for index in (0, 7, 8, 30, len(expected) - 1):
        np.testing.assert_array_equal(frames_of(VideoReader(path), [index])[0], expected[index])


@pytest.mark.parametrize("suffix", ["ts", "m2ts"])
def test_mpeg_stream_is_played_from_its_start(tmp_path, suffix):
    # decord, asked for the start of a transport stream, goes to its second key frame if there is one.
    path = copy_packets(write_video(tmp_path / "many.mp4", group=12), tmp_path / f"many.{suffix}", first_packet=0)
    expected = decode_with_pyav(path)
    np.testing.assert_array_equal(frames_of(VideoReader(path)), expected)
    np.testing.assert_array_equal(frames_of(VideoReader(path), [59, 3, 30]), expected[[59, 3, 30]])


@pytest.mark.parametrize(("codec", "suffix"), [("libvpx", "webm"), ("libvpx-vp9", "webm"), ("mpeg4", "avi")])
def test_other_codecs_equal_pyav(tmp_path, codec, suffix):
    path = write_video(tmp_path / f"video.{suffix}", num_frames=30, codec=codec)
    expected = decode_with_pyav(path)
    np.testing.assert_array_equal(frames_of(VideoReader(path)), expected)
    np.testing.assert_array_equal(frames_of(VideoReader(path), [29, 14]), expected[[29, 14]])


def test_repeated_indices_are_decoded_once_and_order_is_kept(tmp_path, monkeypatch):
    path = write_video(tmp_path / "video.mp4", num_frames=10)
    expected = decode_with_pyav(path)
    reader = VideoReader(path)
    decoded = []
    read = reader._decoded.read
    monkeypatch.setattr(reader._decoded, "read", lambda indices: decoded.extend(indices) or read(indices))
    frames = frames_of(reader, [7, 2, 7, 7, 2])
    assert decoded == [2, 7]
    np.testing.assert_array_equal(frames, expected[[7, 2, 7, 7, 2]])


def test_frames_are_uint8_channels_first_over_decoded_memory(tmp_path):
    frames = VideoReader(write_video(tmp_path / "video.mp4", num_frames=4)).read_frames([0, 1])
    assert frames.dtype == torch.uint8
    assert frames.shape == (2, 3, 48, 64)
    assert frames.is_contiguous(memory_format=torch.channels_last)


def test_metadata_says_what_the_file_is(tmp_path):
    metadata = VideoReader(write_video(tmp_path / "video.mp4")).metadata
    assert (metadata.total_num_frames, metadata.fps, metadata.duration) == (60, 25.0, 2.4)
    assert (metadata.height, metadata.width) == (48, 64)


def test_read_video_decodes_what_the_function_chooses(tmp_path):
    path = write_video(tmp_path / "video.mp4")
    frames, metadata = read_video(path, lambda metadata: [0, metadata.total_num_frames - 1])
    np.testing.assert_array_equal(frames.permute(0, 2, 3, 1), decode_with_pyav(path)[[0, 59]])
    assert metadata.frames_indices == [0, 59]
    assert len(read_video(path)[0]) == 60


def test_index_outside_the_file_is_an_index_error(tmp_path):
    reader = VideoReader(write_video(tmp_path / "video.mp4", num_frames=5))
    for index in (5, -1):
        with pytest.raises(IndexError, match=rf"video\.mp4: frame {index} asked for, the file has frames 0\.\.4"):
            reader.read_frames([0, index])


def test_errors_name_file_and_cause(tmp_path, shared_dir):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video at all\n" * 50)
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 20)
    whole = write_video(tmp_path / "whole.mp4")
    (tmp_path / "half.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for path, cause in {
        tmp_path / "absent.mp4": "no such file",
        tmp_path: "is a directory",
        tmp_path / "empty.mp4": "is empty",
        tmp_path / "text.mp4": "is not a video",
        tmp_path / "noise.mp4": "is not a video",
        tmp_path / "half.mp4": "incomplete MP4/MOV file",
        shared_dir / "data/videos/audio_only.mp3": "has no video stream",
    }.items():
        with pytest.raises(VideoReadError) as caught:
            VideoReader(path)
        assert str(caught.value).startswith(f"{path}: {cause}")
        assert isinstance(caught.value, OSError)
        assert isinstance(caught.value, ValueError)


def test_bytes_and_objects_that_are_no_video_are_errors():
    for source, message in {b"": "<0 bytes>: is empty", b"plain text": "<10 bytes>: is not a video"}.items():
        with pytest.raises(VideoReadError, match=message):
            VideoReader(source)
    with pytest.raises(VideoReadError, match="text mode"):
        VideoReader(io.StringIO("text"))
    with pytest.raises(ValueError, match="found int"):
        VideoReader(7)
    with pytest.raises(ValueError, match="num_threads"):
        VideoReader(b"", num_threads=-1)


def test_container_without_frames_is_an_error(tmp_path, shared_dir):
    for source, mark in {
        write_video(tmp_path / "video.mkv"): b"\x1f\x43\xb6\x75",  # Matroska's first cluster of frames
        write_video(tmp_path / "video.avi", codec="mpeg4"): b"movi",
        shared_dir / "data/videos/av1_video.mkv": b"\x1f\x43\xb6\x75",
    }.items():
        content = source.read_bytes()
        path = tmp_path / f"headers_of_{source.name}"
        path.write_bytes(content[: content.index(mark) + 4])
        with pytest.raises(VideoReadError, match=rf"{path.name}: (its video stream has no frames|none of its 125 fr)"):
            VideoReader(path)


def test_damaged_file_gives_its_good_frames_and_says_where_damage_starts(shared_dir):
    path = shared_dir / "data/videos/corrupted.mp4"
    good = decode_with_pyav(path, max_frames=28)  # and the 29th is an error there as well
    np.testing.assert_array_equal(frames_of(VideoReader(path), range(16)), good[:16])
    np.testing.assert_array_equal(frames_of(VideoReader(path), [20, 3]), good[[20, 3]])
    with pytest.raises(VideoReadError, match=r"corrupted\.mp4: frame 40 cannot be decoded: .* after [12]\d of 50"):
        VideoReader(path).read_frames([0, 40])


@pytest.mark.parametrize("moment", ["its header is read", "it is decoded"])
def test_a_file_deleted_while_it_is_opened_is_said_to_be_gone(tmp_path, monkeypatch, moment):
    path = write_video(tmp_path / "video.mp4")
    look_into = video_reading_vita_clip.look_into

    def unlink_and_look(*args):
        if moment == "its header is read":
            path.unlink()
        container = look_into(*args)
        path.unlink()
        return container

    monkeypatch.setattr(video_reading_vita_clip, "look_into", unlink_and_look)
    with pytest.raises(VideoReadError, match=r"video\.mp4: no such file"):
        VideoReader(path)


def test_damage_in_the_middle_is_passed_by_a_jump(tmp_path):
    path = write_video(tmp_path / "video.mp4", size=(256, 192), num_frames=120, group=12, **{"sc_threshold": "0"})
    expected = decode_with_pyav(path)
    with av.open(str(path)) as container:
        packet = next(p for p in container.demux(video=0) if p.pts is not None and p.pts * p.time_base >= 30 / 25)
        position, size = packet.pos, packet.size
    content = bytearray(path.read_bytes())
    content[position : position + size] = b"\xff" * size
    with pytest.raises(VideoReadError, match="frame 35 cannot be decoded"):
        VideoReader(content).read_frames([35])
    np.testing.assert_array_equal(frames_of(VideoReader(content), [3, 60, 119]), expected[[3, 60, 119]])


def test_broken_files_never_crash_or_hang_the_process(shared_dir, tmp_path):
    generator = np.random.default_rng(0)
    paths = [shared_dir / "data/videos" / name for name in UNREADABLE]
    for name in ("h265_video.mp4", "av1_video.mkv", "video_90.mov", "corrupted.mp4", "audio_only.mp3"):
        content = (shared_dir / "data/videos" / name).read_bytes()
        for number in range(3):
            broken = bytearray(content)
            for place in generator.integers(0, len(broken), 20):
                broken[place] ^= 0xFF
            paths += [tmp_path / f"{number}_bits_{name}", tmp_path / f"{number}_cut_{name}"]
            paths[-2].write_bytes(broken)
            paths[-1].write_bytes(content[: generator.integers(1, len(content))])
    program = """
import sys
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReadError, read_video
for path in sys.argv[1:]:
    try:
        print(len(read_video(path)[0]), "frames:", path)
    except VideoReadError as error:
        print("error:", error)
"""
    result = subprocess.run(
        [sys.executable, "-c", program, *map(str, paths)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(result.stdout.splitlines()) == len(paths)


def test_only_the_decoding_module_knows_the_codec_library():
    folder = Path(sys.modules[VideoReader.__module__].__file__).parent
    knowing = [path.name for path in folder.glob("*.py") if "import decord" in path.read_text(encoding="utf-8")]
    assert knowing == ["video_decoding_vita_clip.py"]
