"""Where a video comes from: a path, a URL, bytes or a file object becomes one file that a decoder may open."""

import ipaddress
import os
import re
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.request import url2pathname

from huggingface_hub.utils import httpx

from .video_container_vita_clip import is_transport_stream

VideoSource = str | os.PathLike | bytes | bytearray | memoryview | BinaryIO

_HEAD_SIZE = 4096
_CHUNK_SIZE = 1 << 20
# A longer text is no file's name, whoever passed it as one.
_LONGEST_NAME = 4096
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+")
_USER_AND_PASSWORD = re.compile(r"(://)[^/?#\s]*@")
# Every container whose demuxer reads the one file that it is given. Playlists, SDP, concat scripts, subtitles that
# name a film, and image patterns open further files and sockets: none of them is here.
_VIDEO = re.compile(
    rb"""....(?:ftyp|moov|mdat|wide|free|skip|pnot|styp|moof|sidx|uuid|junk|udta|emsg|prft)  # MP4, MOV
    | \x1a\x45\xdf\xa3 | RIFF....(?:AVI[ X]|AMV[ ]|CDXA) | FLV | OggS  # Matroska and WebM, AVI, Flash video, Ogg
    | \x30\x26\xb2\x75\x8e\x66\xcf\x11 | \x06\x0e\x2b\x34  # Windows media, MXF
    | DKIF | YUV4MPEG2[ ] | GIF8  # IVF, Y4M, GIF
    | \x00{2,}\x01  # MPEG program streams; MPEG-1, 2 and 4, H.264 and H.265 without a container""",
    re.VERBOSE | re.DOTALL,
)
_READABLE = "MP4/MOV, Matroska/WebM, AVI, FLV, Ogg, MPEG, Windows media, MXF, IVF, Y4M, GIF, raw H.264/H.265"
_SOUND = re.compile(rb"ID3|fLaC|\xff[\xf1-\xfb]|#!AMR|FORM|RIFF....WAVE", re.DOTALL)
# What ffmpeg looks for at the beginning or line by line.
_NAMES_FURTHER_FILES = re.compile(
    rb"\A\W*(?:EXTM3U|ffconcat|FFMETADATA|playlist|reference|VobSub|asx|smil|MPD|SmoothStreamingMedia|AssetMap)(?![a-z])"
    rb"|^c=IN IP|^v=0\r?$|<MPD[\s>]|xspf\.org",
    re.IGNORECASE | re.MULTILINE,
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


class VideoReadError(OSError, ValueError):
    """A video cannot be opened or decoded. The message starts with the file's name and gives the cause."""


@dataclass(frozen=True)
class DownloadLimits:
    """
    What a download may cost at most.

    Args:
        num_bytes: of the file, or of what a file object gives. 2 GiB.
        seconds: from the first connection to the last byte, redirects included.
        connect_seconds: for one connection, and between two parts of an answer.
        redirects: answers that name another URL.
    """

    num_bytes: int = 2 * 1024**3
    seconds: float = 600
    connect_seconds: float = 30.0
    redirects: int = 10

    @classmethod
    def from_environment(cls) -> "DownloadLimits":
        """
        The defaults, or `VITA_CLIP_DOWNLOAD_BYTES` and `VITA_CLIP_DOWNLOAD_SECONDS` if the environment has them.

        Raises:
            ValueError: one of them is no whole number above zero.
        """
        return cls(
            num_bytes=number_of_environment("VITA_CLIP_DOWNLOAD_BYTES", cls.num_bytes),
            seconds=number_of_environment("VITA_CLIP_DOWNLOAD_SECONDS", round(cls.seconds)),
        )


class VideoFile:
    """
    A video as a file on this machine, held until `close()`, the end of a `with` block or of the process.

    Attributes:
        name (`str`): for messages: the path, the URL without user and password, "<1024 bytes>", a file object's name.
        head (`bytes`): the first 4096 bytes.
    """

    def __init__(self, name: str, head: bytes = b"", *, path: str | None = None, file: Any = None):
        self.name, self.head = name, head
        self._path, self._file = path, file
        self._discard = weakref.finalize(self, _discard, path, file) if file is not None else None

    @property
    def path(self) -> str:
        """Absolute path that this process and others of the same user open, as long as this object is not closed."""
        return self._path or _path_of_descriptor(self._file)

    def copy_with_one_frame(self, place: int) -> "VideoFile":
        """
        A copy of an AVI file that promises one frame, at this place, instead of more than it can hold: decord would
        reserve memory for them, and finds out by itself how many there are.
        """
        with open(self.path, "rb") as file:
            copy = _store(self.name, _read(self.name, file), os.path.getsize(self.path))
        with open(copy.path, "r+b") as written:
            written.seek(place)
            written.write((1).to_bytes(4, "little"))
        return copy

    def close(self) -> None:
        """Remove the file if it is a temporary one."""
        if self._discard is not None:
            self._discard()

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def is_video_source(value: Any) -> bool:
    """Whether `value` is something `VideoReader` opens: a path, a URL, bytes or a binary file object."""
    return isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview)) or hasattr(value, "read")


def locate_video(
    source: VideoSource, *, allow_private: bool = True, limits: DownloadLimits | None = None
) -> VideoFile:
    """
    Make a file of a source, and refuse what is no video by its first bytes.

    Bytes, file objects and downloads are stored in the folder for temporary files (`TMPDIR` chooses another); on Linux
    without a name, so that nothing of them stays, however the process ends.

    Args:
        source: a path, a URL (`http`, `https`, `file`), the file's bytes, or a binary file object, which is read whole
            from its start and left open.
        allow_private: whether URLs may lead to this machine (`file://` too) and to networks that are not public, and
            proxies of the environment are used. Whoever serves others says no, and takes no paths from them.
        limits: `None`: `DownloadLimits.from_environment()`.

    Raises:
        VideoReadError: no such file, no regular file, a download that failed or went over a limit, an address that is
            not public, content that is no video, or a playlist or script that names further files.
        ValueError: the source is none of these kinds.
    """
    limits = limits or DownloadLimits.from_environment()
    if isinstance(source, (bytes, bytearray, memoryview)):
        content = bytes(source)
        video = _store(f"<{len(content)} bytes>", [content], len(content))
    elif isinstance(source, (str, os.PathLike)):
        video = _locate_name(os.fsdecode(source), allow_private, limits)
    elif hasattr(source, "read"):
        name = getattr(source, "name", None)
        name = _printable(name) if isinstance(name, str) else f"<{type(source).__name__}>"
        video = _store(name, _read(name, source), limits.num_bytes)
    else:
        raise ValueError(
            "a video is given as a path, an http(s) URL, bytes or a binary file object, "
            f"found {type(source).__name__}: {source!r:.80}"
        )
    refusal = _reason_to_refuse(video.head)
    if refusal:
        video.close()
        raise VideoReadError(f"{video.name}: {refusal}")
    return video


def _locate_name(source: str, allow_private: bool, limits: DownloadLimits) -> VideoFile:
    scheme, separator, rest = source.partition("://")
    scheme = scheme.lower()
    if not separator or not _SCHEME.fullmatch(scheme):
        return _open(_printable(source), source)
    name = _printable(_USER_AND_PASSWORD.sub(r"\1", source))
    if scheme in ("http", "https"):
        with closing(_download(name, source, allow_private, limits)) as chunks:
            return _store(name, chunks, limits.num_bytes)
    if scheme == "file":
        host, slash, path = rest.partition("/")
        if host.lower() not in ("", "localhost"):
            raise VideoReadError(f"{name}: names a file of another machine ({host}), expected file:///path")
        if not allow_private:
            raise VideoReadError(f"{name}: is a file of this machine, which is not opened for others")
        return _open(name, url2pathname(slash + path))
    if os.path.exists(source):
        return _open(name, source)
    raise VideoReadError(f"{name}: has the scheme {scheme}, expected a path or a URL of http, https or file")


# ---- files ----


def _open(name: str, path: str) -> VideoFile:
    if not os.path.exists(path):
        raise VideoReadError(f"{name}: no such file")
    if os.path.isdir(path):
        raise VideoReadError(f"{name}: is a directory, expected a video file")
    if not os.path.isfile(path):
        raise VideoReadError(f"{name}: is a pipe or a device, expected a file; a pipe is read from a file object")
    try:
        file = open(path, "rb")  # noqa: SIM115 -- held by the result if the name is one that ffmpeg does not take
        head = file.read(_HEAD_SIZE)
    except OSError as error:
        raise VideoReadError(f"{name}: cannot be read ({error.strerror})") from error
    # Of "%03d.png" ffmpeg makes 001.png, and decord encodes names as UTF-8.
    if "%" not in path and path.encode(errors="replace") == os.fsencode(path):
        file.close()
        return VideoFile(name, head, path=os.path.abspath(path))
    if _is_reachable(file):
        return VideoFile(name, head, file=file)
    with file:
        return _store(name, _read(name, file), os.path.getsize(path))


def _store(name: str, chunks: Iterable[bytes | bytearray], max_bytes: int) -> VideoFile:
    """Write all chunks to a temporary file, each as it comes."""
    try:
        with ExitStack() as undo:
            file = _temporary_file()
            path = file.name if isinstance(file.name, str) else None
            video = undo.enter_context(VideoFile(name, path=path, file=file))
            for chunk in chunks:
                if file.tell() + len(chunk) > max_bytes:
                    raise VideoReadError(f"{name}: {_too_large(max_bytes)}")
                file.write(chunk)
            file.seek(0)
            video.head = file.read(_HEAD_SIZE)
            undo.pop_all()
        return video
    except VideoReadError:
        raise
    except OSError as error:
        raise VideoReadError(
            f"{name}: cannot be stored in a temporary file ({error.strerror or error}); TMPDIR names another folder"
        ) from error


def _too_large(max_bytes: int) -> str:
    return f"is larger than {max_bytes:,} bytes; VITA_CLIP_DOWNLOAD_BYTES sets another limit"


def _temporary_file() -> Any:
    """Without a name if others can open it all the same: it is gone as soon as its last user is."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    if _is_reachable(file):
        return file
    file.close()
    return tempfile.NamedTemporaryFile(delete=False)


def _path_of_descriptor(file: Any) -> str:
    return f"/proc/{os.getpid()}/fd/{file.fileno()}"


def _is_reachable(file: Any) -> bool:
    try:
        with open(_path_of_descriptor(file), "rb"):
            return True
    except OSError:
        return False


def _discard(path: str | None, file: Any) -> None:
    file.close()
    if path is not None:
        with suppress(OSError):
            os.unlink(path)


def _read(name: str, file: Any) -> Iterator[bytes]:
    """The content of a file object, from its start."""
    try:
        if getattr(file, "seekable", lambda: False)():
            file.seek(0)
        while chunk := file.read(_CHUNK_SIZE):
            if not isinstance(chunk, bytes):
                raise TypeError
            yield chunk
    except TypeError as error:
        raise VideoReadError(
            f"{name}: opened in text mode; a video is read from a binary file object (mode 'rb')"
        ) from error
    except (OSError, ValueError) as error:
        raise VideoReadError(f"{name}: cannot be read ({error})") from error


# ---- downloads ----


class _Watch:
    """Ends a download when its time is up, also inside a call that waits: its connections are shut down."""

    def __init__(self, seconds: float):
        self._end = time.monotonic() + seconds
        self._connections: list[Any] = []
        self._timer = threading.Timer(seconds, self._shut_down)
        self._timer.daemon = True

    def __enter__(self) -> "_Watch":
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()

    @property
    def seconds_left(self) -> float:
        return max(self._end - time.monotonic(), 0.0)

    def note(self, event: str, info: dict[str, Any]) -> None:
        """httpx's `trace`: keeps each connection, before and after its encryption starts."""
        connection = info.get("return_value")
        if hasattr(connection, "get_extra_info"):
            self._connections.append(connection)
            if not self.seconds_left:
                self._shut_down()

    def _shut_down(self) -> None:
        for connection in self._connections:
            with suppress(OSError):
                connection.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


class _PublicTransport(httpx.HTTPTransport):
    """Resolves each name once, refuses addresses that are not public, and connects to what it has judged."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.raw_host.decode("ascii")
        cause: httpx.HTTPError = httpx.ConnectError(f"{host} has no address")
        for address in _public_addresses(host):
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # with the Host of the URL
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return super().handle_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                cause = error
        raise cause


def _public_addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpx.ConnectError(f"{host}: {error.strerror or error}") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not all(map(_is_public, addresses)):
        raise httpx.ConnectError(f"{host} is not a public address, and others are not connected to it from here")
    return addresses


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else ip.ipv4_mapped
        if inner is None:
            return ip in _GLOBAL_UNICAST and ip.is_global and ip.sixtofour is None and ip.teredo is None
        ip = inner
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _download(name: str, url: str, allow_private: bool, limits: DownloadLimits) -> Generator[bytes, None, None]:
    with _Watch(limits.seconds) as watch:
        try:
            client = httpx.Client(
                transport=None if allow_private else _PublicTransport(),
                trust_env=allow_private,  # a proxy would connect for us, without judging
                headers={"Accept-Encoding": "identity"},
            )
            with client, closing(_respond(client, url, watch, limits)) as response:
                if int(response.headers.get("content-length", 0)) > limits.num_bytes:
                    raise VideoReadError(f"{name}: {_too_large(limits.num_bytes)}")
                for chunk in response.iter_raw():
                    if not watch.seconds_left:
                        raise httpx.ReadTimeout("time is up")
                    yield chunk
        except VideoReadError:
            raise
        # The last three: an odd proxy or file of certificates in the environment.
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError, ImportError) as error:
            cause = str(error).partition("\n")[0] or type(error).__name__
            if not watch.seconds_left:
                cause = f"it takes longer than {limits.seconds:g} s; VITA_CLIP_DOWNLOAD_SECONDS sets another limit"
            cause = _printable(_USER_AND_PASSWORD.sub(r"\1", cause))
            raise VideoReadError(f"{name}: download failed ({cause})") from error


def _respond(client: httpx.Client, url: str, watch: _Watch, limits: DownloadLimits) -> httpx.Response:
    """The answer after all redirects, its body not read yet."""
    request = client.build_request("GET", url)
    for _ in range(limits.redirects + 1):
        if request.url.scheme not in ("http", "https") or not request.url.host:
            raise httpx.UnsupportedProtocol(f"leads to {request.url}, expected an http or https address with a host")
        timeout = httpx.Timeout(max(min(limits.connect_seconds, watch.seconds_left), 1e-3))
        request.extensions = {**request.extensions, "timeout": timeout.as_dict(), "trace": watch.note}
        response = client.send(request, stream=True)
        if response.is_success:
            coding = response.headers.get("content-encoding", "identity").lower()
            if coding != "identity":  # a little of it may unpack to anything
                raise httpx.DecodingError(f"the answer is packed ({coding}), though the file as it is was asked for")
            return response
        response.close()
        if response.next_request is None:
            raise httpx.NetworkError(f"{response.status_code} {response.reason_phrase}")
        request = response.next_request
    raise httpx.TooManyRedirects(f"more than {limits.redirects} redirects")


# ---- content ----


def _reason_to_refuse(head: bytes) -> str | None:
    """The cause if the first bytes are of no container that may be opened."""
    if not head:
        return "is empty (0 bytes)"
    if _NAMES_FURTHER_FILES.search(head.partition(b"\0")[0]):
        return f"is a playlist or script that names further files, expected a video (it starts with {head[:20]!r})"
    if _VIDEO.match(head) or is_transport_stream(head):
        return None
    if _SOUND.match(head):
        return "has no video stream (sound only)"
    if b"\0" not in head:
        return f"is not a video (it looks like text; it starts with {head[:20]!r})"
    return f"is not a video, or is damaged from its first bytes {head[:8]!r} on; what is read: {_READABLE}"


def _printable(text: str) -> str:
    """In one line, with escapes for what a terminal cannot show, and cut if it is no name but content."""
    text = text if len(text) <= _LONGEST_NAME else f"{text[:80]}... ({len(text)} characters)"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def number_of_environment(name: str, default: int) -> int:
    """A limit of the environment, `default` if it is not there; `ValueError` unless it is a whole number above 0."""
    text = os.environ.get(name, "").strip()
    if text and not re.fullmatch("0*[1-9][0-9]{,17}", text):
        raise ValueError(f"the environment variable {name} is {text!r}, expected a whole number above 0")
    return int(text) if text else default
