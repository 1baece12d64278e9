"""A source becomes one file, or an error that says why not; what a stranger's URL may cost and reach is bounded."""

import gc
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import av
import pytest
from hostile.answers import VIDEO, Server
from toy_checkpoint import write_rising_video
from vita_clip_hf.modeling import video_source_vita_clip as video_source
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReader, read_video
from vita_clip_hf.modeling.video_source_vita_clip import DownloadLimits, VideoReadError, is_video_source, locate_video

SMALL = DownloadLimits(num_bytes=100_000, seconds=1.0, connect_seconds=5.0, redirects=3)


@pytest.fixture(scope="module")
def server():
    server = Server().start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def temporary_folder(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def names_resolve(monkeypatch):
    """A function that sets where names lead; it returns the list of names that were asked for."""
    resolve = socket.getaddrinfo

    def set_names(**addresses):
        asked = []

        def lookup(host, port, *args, **kwargs):
            asked.append(host)
            found = addresses.get(str(host).replace(".", "_"))
            if found is None:
                return resolve(host, port, *args, **kwargs)
            return [entry for address in found for entry in resolve(address, port, *args, **kwargs)]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        return asked

    return set_names


def content_of(source, **options) -> bytes:
    with locate_video(source, **options) as video:
        return Path(video.path).read_bytes()


def refusal_of(source, **options) -> str:
    with pytest.raises(VideoReadError) as caught:
        locate_video(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- files ----


def test_a_path_is_opened_where_it_is(tmp_path, monkeypatch):
    (tmp_path / "a video.mp4").write_bytes(VIDEO)
    monkeypatch.chdir(tmp_path)
    for source in ("a video.mp4", Path("a video.mp4"), str(tmp_path / "a video.mp4")):
        with locate_video(source) as video:
            assert video.path == str(tmp_path / "a video.mp4")
            assert (video.name, video.head) == (str(source), VIDEO[:4096])
        assert (tmp_path / "a video.mp4").exists()


@pytest.mark.parametrize("begin", ["file://", "FILE://", "File://localhost"])
def test_a_file_url_is_a_path(tmp_path, begin):
    path = tmp_path / "my clip#1?.mp4"
    path.write_bytes(VIDEO)
    escaped = path.as_uri().removeprefix("file://")
    for source in (f"{begin}{escaped}", f"{begin}{path}"):
        assert content_of(source) == VIDEO
    assert "no such file" in refusal_of(f"{begin}{escaped}x")


def test_other_schemes_are_named(tmp_path, monkeypatch):
    for scheme in ("rtsp", "FTP", "s3", "udp", "concat", "data"):
        assert f"has the scheme {scheme.lower()}, expected a path" in refusal_of(f"{scheme}://host/video.mp4")
    assert "another machine (nas)" in refusal_of("file://nas/video.mp4")
    # A file of that name is a file.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd:").mkdir()
    (tmp_path / "odd:/video.mp4").write_bytes(VIDEO)
    assert content_of("odd://video.mp4") == VIDEO


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_ffmpeg_would_read_as_a_pattern_are_passed_without_a_name(tmp_path):
    for name in ("film%03d.png", "100%.mp4", os.fsdecode(b"caf\xe9.mp4")):
        path = tmp_path / name
        path.write_bytes(VIDEO)
        with locate_video(path) as video:
            assert "%" not in video.path
            assert video.path.isascii()
            assert video.name.isprintable()
            assert Path(video.path).read_bytes() == VIDEO


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_devices_and_impossible_names_are_errors_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "is a pipe or a device" in refusal_of(tmp_path / "pipe.mp4")
    assert "is a pipe or a device" in refusal_of("/dev/zero")
    for name in ("a\0b.mp4", "line\nbreak.mp4", "x" * 10_000):
        assert "no such file" in refusal_of(name)
    assert len(refusal_of("AAAA" * 100_000)) < 200


def test_bytes_and_objects_become_a_file_that_another_process_opens(tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes(VIDEO)
    program = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
    with open(path, "rb") as opened:
        for source in (VIDEO, bytearray(VIDEO), memoryview(VIDEO), memoryview(VIDEO)[::1], io.BytesIO(VIDEO), opened):
            assert is_video_source(source)
            with locate_video(source) as video:
                read = subprocess.run([sys.executable, "-S", "-c", program, video.path], capture_output=True)
                assert (read.stdout, video.head) == (VIDEO, VIDEO[:4096])
        assert not opened.closed


def test_an_object_that_reads_little_at_a_time_is_read_whole():
    class Slow(io.RawIOBase):
        def __init__(self):
            self.rest = VIDEO

        def read(self, size=-1):
            piece, self.rest = self.rest[:1000], self.rest[1000:]
            return piece

    assert content_of(Slow()) == VIDEO


def test_objects_that_cannot_be_read_are_errors():
    closed = io.BytesIO(VIDEO)
    closed.close()

    class Broken:
        name = "remote.mp4"

        def read(self, size):
            raise ConnectionError("gone")

    class Endless:
        def read(self, size):
            return bytes(size)

    assert refusal_of(closed).startswith("<BytesIO>: cannot be read")
    assert refusal_of(Broken()) == "remote.mp4: cannot be read (gone)"
    assert "opened in text mode" in refusal_of(io.StringIO("text"))
    assert "larger than 100,000 bytes; VITA_CLIP_DOWNLOAD_BYTES" in refusal_of(Endless(), limits=SMALL)
    with pytest.raises(ValueError, match="found int"):
        locate_video(7)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems give a file a name")
def test_nothing_stays_even_if_the_process_is_killed(tmp_path):
    program = (
        "import os, signal, sys\n"
        "from vita_clip_hf.modeling.video_source_vita_clip import locate_video\n"
        "videos = [locate_video(sys.stdin.buffer)]\n"
        "assert os.path.getsize(videos[0].path) > 1000\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = subprocess.run([sys.executable, "-c", program], input=VIDEO, env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_file_with_a_name_is_removed(temporary_folder, monkeypatch):
    monkeypatch.setattr(video_source, "_is_reachable", lambda file: False)  # macOS and Windows
    with locate_video(VIDEO) as video:
        assert Path(video.path).read_bytes() == VIDEO
        assert Path(video.path).parent == temporary_folder
    assert list(temporary_folder.iterdir()) == []
    video = locate_video(io.BytesIO(VIDEO))
    assert len(list(temporary_folder.iterdir())) == 1
    del video
    gc.collect()
    assert list(temporary_folder.iterdir()) == []
    refusal_of(b"#EXTM3U")
    refusal_of(io.BytesIO(VIDEO), limits=DownloadLimits(num_bytes=10))
    assert list(temporary_folder.iterdir()) == []


def test_a_full_or_missing_temporary_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    assert "cannot be stored in a temporary file" in refusal_of(VIDEO)

    class Full(io.BytesIO):
        name = 3

        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(video_source, "_temporary_file", Full)
    assert "(No space left on device); TMPDIR names another" in refusal_of(VIDEO)


# ---- downloads ----


def test_a_download_is_the_file(server):
    for url in (f"{server.url}/video", f"{server.url}/video".replace("http", "HTTP"), f"{server.url}/hops/3"):
        assert content_of(url, limits=SMALL) == VIDEO
    assert server.requests[-1][1]["Accept-Encoding"] == "identity"


def test_user_and_password_are_sent_and_not_shown(server):
    url = server.url.replace("://", "://me:secret@")
    with locate_video(f"{url}/video") as video:
        assert video.name == f"{server.url}/video"
    assert server.requests[-1][1]["Authorization"].startswith("Basic ")
    for path in ("status/403", f"to/{url}/status/403", "to/ftp://me:secret@host/"):
        assert "secret" not in refusal_of(f"{url}/{path}")


@pytest.mark.parametrize(
    ("path", "cause"),
    {
        "status/404": "download failed (404 Not Found)",
        "status/500": "download failed (500",
        "status/204": "is empty",
        "empty": "is empty",
        "page": "is not a video (it looks like text",
        "short": "download failed (peer closed connection",
        "reset": "download failed (",
        "nothing": "download failed (",
        "noise": "download failed (",
        "announces/3000000000": "is larger than 100,000 bytes",
        "announces/-1": "download failed (",
        "announces/many": "download failed (",
        "endless": "is larger than 100,000 bytes; VITA_CLIP_DOWNLOAD_BYTES sets another limit",
        "bomb": "download failed (the answer is packed (gzip)",
        "packed/gzip": "download failed (the answer is packed (gzip)",
        "packed/deflate": "download failed (the answer is packed (deflate)",
        "misnamed/br": "download failed (the answer is packed (br)",
        "slow_body": "download failed (it takes longer than 1 s; VITA_CLIP_DOWNLOAD_SECONDS",
        "slow_header": "download failed (it takes longer than 1 s",
        "slow_chunk": "download failed (it takes longer than 1 s",
        "silence": "download failed (it takes longer than 1 s",
        "loop": "download failed (more than 3 redirects)",
        "hops/4": "download failed (more than 3 redirects)",
        "to/file:///etc/passwd": "expected an http or https address",
        "to/ftp://host/video.mp4": "expected an http or https address",
        "to/data:video/mp4;base64,AAAA": "download failed (",
        "to/http://": "download failed (",
        "to/": "download failed (",
    }.items(),
)
def test_a_download_that_fails_says_why_and_in_time(server, path, cause):
    start = time.monotonic()
    message = refusal_of(f"{server.url}/{path}", limits=SMALL)
    assert time.monotonic() - start < 4
    assert message.startswith(f"{server.url}/{path}: ")
    assert cause in message


def test_the_body_of_a_redirect_is_not_read(server):
    assert content_of(f"{server.url}/endless_redirect", limits=SMALL) == VIDEO


def test_a_large_download_is_never_whole_in_memory(server, monkeypatch):
    written = []
    monkeypatch.setattr(video_source, "_temporary_file", lambda: Noting(written))
    refusal_of(f"{server.url}/endless", limits=DownloadLimits(num_bytes=10_000_000, seconds=30))
    assert max(written) <= 1 << 20
    assert sum(written) > 5_000_000


class Noting(io.BytesIO):
    name = 3

    def __init__(self, written):
        super().__init__()
        self.written = written

    def write(self, chunk):
        self.written.append(len(chunk))
        return super().write(chunk)


def test_limits_are_raised_by_the_environment(server, monkeypatch):
    monkeypatch.setenv("VITA_CLIP_DOWNLOAD_BYTES", "1000")
    assert "is larger than 1,000 bytes" in refusal_of(f"{server.url}/video")
    monkeypatch.setenv("VITA_CLIP_DOWNLOAD_BYTES", "1000000")
    monkeypatch.setenv("VITA_CLIP_DOWNLOAD_SECONDS", " 7 ")
    assert content_of(f"{server.url}/video") == VIDEO
    assert DownloadLimits.from_environment() == DownloadLimits(num_bytes=1_000_000, seconds=7)
    for value in ("0", "-1", "2 GB", "1e999", "nan"):
        monkeypatch.setenv("VITA_CLIP_DOWNLOAD_SECONDS", value)
        with pytest.raises(ValueError, match=r"VITA_CLIP_DOWNLOAD_SECONDS is '.*', expected a whole number above 0"):
            DownloadLimits.from_environment()


@pytest.mark.parametrize(
    "environment", [{"ALL_PROXY": "bogus://host"}, {"ALL_PROXY": "socks5://host"}, {"SSL_CERT_FILE": "/absent.pem"}]
)
def test_an_odd_environment_is_an_error_of_the_download(server, environment, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with suppress(VideoReadError):
        assert content_of(f"{server.url}/video") == VIDEO
    with pytest.raises(VideoReadError, match=r"http://host\.invalid/: download failed \("):
        locate_video("http://host.invalid/", limits=SMALL)


# ---- addresses ----


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "127.1",
            "127.0.1",
        ),
        *("0", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.2.1"),
        *(
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "me:pass@127.0.0.1",
        ),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:a00:1]", "[::127.0.0.1]", "[fe80::1]"),
        *("[fc00::1]", "[fd12::1]", "[ff02::1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a00:1]", "[64:ff9b:1::1]"),
        *("[2002:7f00:1::]", "[2001:0:7f00:1::]", "[fec0::1]", "[2001:db8::1]", "[::ffff:0:127.0.0.1]"),
        "127\u30020\u30020\u30021",
    ],
)
def test_addresses_that_are_not_public_are_never_connected_to(host, monkeypatch):
    def connect(*_, **__):
        raise AssertionError("connected")

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    message = refusal_of(f"http://{host}:8080/video.mp4", allow_private=False)
    assert "is not a public address" in message or "Invalid IPv4" in message or "Name or service" in message


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::1.1.1.1", "::ffff:1.1.1.1"])
def test_public_addresses_are_known_as_such(address):
    assert video_source._is_public(address)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["::1"], ["::ffff:127.0.0.1"]])
def test_a_name_that_leads_to_a_private_address_is_refused(names_resolve, addresses):
    names_resolve(video_example=addresses)
    message = refusal_of("http://video.example/a.mp4", allow_private=False)
    assert message.startswith("http://video.example/a.mp4: download failed (video.example is not a public address")
    assert not any(address in message for address in addresses)


def test_the_judged_address_is_the_one_that_is_connected_to(server, names_resolve, monkeypatch):
    monkeypatch.setattr(video_source, "_is_public", lambda address: address == "127.0.0.1")
    asked = names_resolve(video_example=["127.0.0.1"])
    url = f"http://video.example:{server.server_port}/hops/2"
    assert content_of(url, allow_private=False) == VIDEO
    # Once a request, for itself and each redirect; the rest are looked up by number.
    assert [name for name in asked if name != "127.0.0.1"] == ["video.example"] * 3 or asked.count(
        "video.example"
    ) == 3
    assert server.requests[-1][1]["Host"] == f"video.example:{server.server_port}"


def test_the_next_address_of_a_name_is_tried(server, names_resolve, monkeypatch):
    monkeypatch.setattr(video_source, "_is_public", lambda address: True)
    names_resolve(video_example=["127.0.0.9", "127.0.0.1"])  # the server listens at the second only
    assert content_of(f"http://video.example:{server.server_port}/video", allow_private=False) == VIDEO


def test_a_redirect_to_a_private_address_is_refused(server, names_resolve, monkeypatch):
    is_public = video_source._is_public
    monkeypatch.setattr(video_source, "_is_public", lambda address: address == "127.0.0.1" or is_public(address))
    names_resolve(video_example=["127.0.0.1"], inside_example=["10.0.0.1"])
    url = f"http://video.example:{server.server_port}/to"
    for target in ("http://inside.example/", "http://[::1]/", "http://127.2/", "//169.254.169.254/latest"):
        assert "is not a public address" in refusal_of(f"{url}/{target}", allow_private=False)


def test_a_reader_asks_no_private_address_either(server):
    url = f"{server.url}/video"
    for read in (VideoReader, read_video):
        with pytest.raises(VideoReadError, match="is not a public address"):
            read(url, allow_private=False)


def test_files_of_the_machine_are_not_opened_for_others(tmp_path):
    (tmp_path / "video.mp4").write_bytes(VIDEO)
    assert "not opened for others" in refusal_of((tmp_path / "video.mp4").as_uri(), allow_private=False)


# ---- content ----

FURTHER_FILES = [
    b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/a.ts\n",
    b"\xef\xbb\xbf#EXTM3U\nfile:///etc/passwd",
    b"  \n#EXTM3U\n",
    b"ffconcat version 1.0\nfile /etc/passwd\n",
    b";FFMETADATA1\ntitle=x\n",
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nc=IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
    b"s=x\nc=IN IP4 127.0.0.1\n",
    b"[playlist]\nFile1=http://127.0.0.1/a\n",
    b"[Reference]\nRef1=http://127.0.0.1/a\n",
    b'<asx version="3.0"><entry><ref href="http://127.0.0.1/"/></entry></asx>',
    b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    b'<?xml version="1.0"?><playlist xmlns="http://xspf.org/ns/0/"></playlist>',
    b"# VobSub index file, v7\n",
    # Text before the first zero, behind what could be the head of a video.
    b"\n   free\nc=IN IP4 127.0.0.1\n" + bytes(100),
    b"#EXTM3U\n" + bytes(100),
]


@pytest.mark.parametrize("content", FURTHER_FILES)
def test_playlists_and_scripts_are_refused(content, tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    for source in (path, content, io.BytesIO(content)):
        assert "is a playlist or script that names further files" in refusal_of(source)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is damaged from its first bytes b'\\x89PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "is damaged from its first bytes"),
        (b"ID3\x04" + bytes(50), "has no video stream"),
        (b"RIFF\x24\0\0\0WAVEfmt " + bytes(50), "has no video stream"),
        (b"fLaC" + bytes(50), "has no video stream"),
        (b"PK\3\4" + bytes(50), "is damaged from its first bytes"),
        ("#EXTM3U\n".encode("utf-16"), "is damaged from its first bytes"),
        (b"hello there", "looks like text"),
        (b"/film%03d.png\n", "looks like text"),
        (bytes(5000), "is damaged from its first bytes"),
        (bytes(range(256)) * 20, "is damaged from its first bytes"),
        (b"", "is empty (0 bytes)"),
    ],
)
def test_what_is_no_video_is_refused_by_its_first_bytes(content, cause):
    assert cause in refusal_of(content)


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x18ftypmp42",
        b"\0\0\0\x08wide\0\0\0\0mdat",
        b"\0\0\0\0mdat",
        b"\x1a\x45\xdf\xa3\x93\x42",
        b"RIFF\xff\xff\xff\x7fAVI LIST",
        b"FLV\1\5",
        b"OggS\0\2",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9",
        b"\0\0\1\xba\x44",
        b"\0\0\1\xb3\x14",
        b"\0\0\0\1\x67\x42",
        b"\0\0\1\x40\1",
        b"DKIF\0\0",
        b"YUV4MPEG2 W64 H48 F25:1\nFRAME\n",
        b"GIF89a",
        *((b"G" + bytes(length - 1)) * 8 for length in (188, 192, 204)),
        b"x" * 77 + (b"G" + bytes(187)) * 8,
        bytes(4) + (b"G" + bytes(191)) * 8,
    ],
)
def test_containers_of_videos_pass(head):
    content = head + b"\x80" * 3000
    assert content_of(content) == content


def with_track_elsewhere(movie: bytes, target: Path) -> bytes:
    """A MOV whose track says, by an alias record, that its frames lie in another file."""
    alias = bytearray(150)
    alias[50 : 51 + len(target.name)] = bytes([len(target.name)]) + target.name.encode()
    alias[130:134] = b"\0\1\0\1"  # levels up from the movie, and down to the target
    path = str(target).encode() + b"\0" * (len(str(target)) % 2)
    record = bytes(alias) + b"\0\2" + len(str(target)).to_bytes(2, "big") + path + b"\xff\xff\0\0"
    entry = (12 + len(record)).to_bytes(4, "big") + b"alis" + bytes(4) + record
    place = movie.index(b"url ") - 4
    size = int.from_bytes(movie[place : place + 4], "big")
    changed = bytearray(movie[:place] + entry + movie[place + size :])
    for box in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        start = changed.rindex(box, 0, place) - 4
        length = int.from_bytes(changed[start : start + 4], "big") + len(entry) - size
        changed[start : start + 4] = length.to_bytes(4, "big")
    return bytes(changed)


def test_a_track_that_lies_in_another_file_is_not_followed(tmp_path):
    target = write_rising_video(tmp_path / "target.mp4")
    movie = tmp_path / "movie.mov"
    movie.write_bytes(with_track_elsewhere(target.read_bytes(), target))
    follow = {"enable_drefs": "1", "use_absolute_path": "1"}
    with av.open(str(movie), options=follow) as container:
        assert len(list(container.decode(video=0))) == 50  # who asks ffmpeg to follow it gets the other file's
    with pytest.raises(VideoReadError, match=r"movie\.mov: "):
        VideoReader(movie)
