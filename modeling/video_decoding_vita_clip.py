"""
Frames of a video by index, decoded with decord in a process of its own, which a damaged file may end.

`video_reading_vita_clip.py` starts this file by its path and talks to it through a pipe, in JSON. Decoded frames lie
in a file in memory that both processes map. On systems where a new program gets no open files of its parent's, the
pipe is a socket of this machine, and frames follow the reply through it. Nothing but numpy, decord and the standard
library is imported here, and decord in that process alone.
"""

import contextlib
import json
import math
import mmap
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

import numpy as np

# What a Python interpreter is started with, and the variable of its environment that has the key to its socket.
PROGRAM, KEY_VARIABLE = os.path.abspath(__file__), "VITA_CLIP_DECODER_KEY"

# decord fills a frame that it cannot decode with a copy of an earlier one. Any number above zero and far below
# 1 / (number of frames) makes the first such substitution an error.
_NO_SUBSTITUTED_FRAMES = 1e-9
# decord reads these when it is loaded. At the end of a file it would go back and hand out an earlier frame if the one
# asked for did not come; and it would call a slow machine a damaged file.
_DECORD_SETTINGS = {"DECORD_REWIND_RETRY_MAX": "-1", "DECORD_EOF_RETRY_MAX": "100000000"}
# A jump stops and refills the decoder, which costs about as much as decoding this many frames of a 340x256 H.264
# file. A shorter way is played.
_SEEK_COST_IN_FRAMES = 10
# decord decodes ahead and reports damage at once, even if good frames still wait in its queue: a race between its
# threads decides whether such a frame can be read. On a busy machine up to half of the attempts on a frame shortly
# before damage fail.
_ATTEMPTS, _SECONDS_OF_ATTEMPTS = 10, 0.5
# decord's time for "none" is far outside, by container below or above; the last tells zero from rounding errors.
_NO_TIMESTAMP, _SMALLEST_FRAME_TIME = 1e9, 1e-3
# Frames of files that can only be played from their start are kept, up to this size. Of files whose frames take more
# than the second size, decord must not decode ahead between two requests.
_KEPT_BYTES, _AHEAD_BYTES = 64 * 1024**2, 256 * 1024**2
# What decoders need at most for each pixel of a frame: 16 reference pictures, RGB frames in the queue.
_BYTES_PER_PIXEL = 64
_STARTS_INSIDE = (
    "starts inside a group of pictures, as a part that was cut out without encoding it anew; "
    "mend it by `ffmpeg -i FILE FILE.mp4`"
)
# The number of files that are held open, and what stands for index and picture if no frame was decoded last.
_OPEN_FILES, _NONE = 2, (-1, np.empty(0, np.uint8))
# Lists that name the one file "video.ts" beside them. ffmpeg takes the length from the list, not from the file, and
# goes back to the start of a segment by opening it anew.
_LISTS = {
    "segments.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9999\n#EXTINF:9999,\nvideo.ts\n#EXT-X-ENDLIST\n",
    "parts.ffconcat": "ffconcat version 1.0\nfile video.ts\nduration 9\n",
}


class DecodingError(Exception):
    """A file that cannot be opened, or a frame that cannot be decoded: the cause, without the file's name."""

    field = "error"  # of the reply


class NotOpenedError(DecodingError):
    """decord's own words on a file that it does not open."""

    field = "not_opened"


class FrameDecoder:
    """
    One file's frames by index. Frame i is the i-th that a decoder outputs when it plays the file from the start.

    There are two kinds of files. If every packet is one frame by the rules of its codec, and has a time of its own,
    decord may jump to key frames (each jump is confirmed by the time of the frame that comes out) and skip frames
    without converting them to RGB. All others are played from the start, frame by frame, and counted that way.

    Args:
        path: of the file.
        num_threads: of the codec; 0 lets it choose.
        max_pixels: of a frame.
        container: the fields of a `Container` of `video_container_vita_clip.py`.

    Attributes:
        num_frames, height, width (`int`): of the frames that are shown.
        fps (`float` or `None`): average rate.
        times (`np.ndarray` or `None`): seconds at which each frame is shown, from the first.

    Raises:
        DecodingError: from `open`, it is no video, has no frames, or has larger ones; from `frame`, it cannot be
            decoded.
    """

    def __init__(self, path: str, num_threads: int, max_pixels: int, container: dict[str, Any]):
        self._path, self._num_threads, self._max_pixels = path, num_threads, max_pixels
        self._container, self._uri = container, ""
        self._decoder: Any = None
        self._kept: list[np.ndarray] = []

    def open(self) -> None:
        """Fill the attributes; `position` may be asked for meanwhile."""
        self._check_size(self._container["height"], self._container["width"])
        self._restart()
        self._num_packets = len(self._decoder)
        if self._num_packets == 1 and self._container["has_video"] is False:
            raise DecodingError("has no video stream (sound only; its one picture is cover art)")
        self._key_frames: list[int] = self._decoder.get_key_indices()
        # H.264 and its like show nothing before the first key frame. Others do, and decord cannot get back to there.
        is_certain = self._container["packets_are_frames"] or self._container["kind"] not in ("matroska", "avi")
        if not is_certain and self._key_frames[:1] != [0]:
            raise DecodingError(_STARTS_INSIDE)
        fps = self._decoder.get_avg_fps()
        self.fps = fps if math.isfinite(fps) and fps > 0 else None
        self._num_hidden, self.times = self._read_times()
        self.num_frames = self._num_packets - self._num_hidden
        # Times alone prove nothing: those of MPEG-4 and its like may be in the order of packets, not of frames.
        are_frames = self._container["packets_are_frames"] and self._container["kind"] in ("mp4", "matroska")
        have_times = self.times is not None and (np.diff(self.times) > 0).all()
        self._can_skip = self._can_seek = are_frames and have_times and self._starts_with_first_packet()
        if not self._can_skip:
            self._count_by_decoding()
        self.height, self.width = self.frame(0).shape[:2]
        self._check_size(self.height, self.width)

    @property
    def position(self) -> int:
        """The packet, in display order, that decord stands before. Another thread may ask, to see progress."""
        decoder = self._decoder  # held, if another thread restarts meanwhile
        position_of = _decord().get_global_func("video_reader._CAPI_VideoReaderGetCurrentPosition")
        return 0 if decoder is None else position_of(decoder._handle)

    def frame(self, index: int) -> np.ndarray:
        """uint8 RGB of shape `(height, width, 3)`; `index` lies in `[0, num_frames)`."""
        if index < len(self._kept):
            return self._kept[index]
        try:
            return self._attempt(lambda: self._decode(index))
        except _errors() as error:
            raise DecodingError(
                f"frame {index} cannot be decoded: {_cause(error)} after {min(self._reached, index)} of "
                f"{self.num_frames} frames. The file is damaged or was cut off."
            ) from error

    def _attempt(self, action: Callable[[], Any]) -> Any:
        attempts, end, self._reached = 1, math.inf, 0
        while True:
            try:
                return action()
            except _errors():  # noqa: PERF203
                self._reached = max(self._reached, self.position - self._offset)
                end = min(end, time.monotonic() + _SECONDS_OF_ATTEMPTS)
                self._restart()
                if attempts == _ATTEMPTS or time.monotonic() > end:
                    raise
                attempts += 1

    def rest(self) -> None:
        """Between two requests: decord would go on to decode, and keep, all that it has read from a large file."""
        if self._can_skip and self.num_frames * self.height * self.width * 3 > _AHEAD_BYTES and self.position:
            self._decoder.seek(0)
            self._offset, self._decoded = 0, _NONE

    # decord's position is a packet number in display order. It is `_offset` ahead of the index of the frame shown: the
    # number of hidden frames after a jump, 0 while the file plays from its start.

    def _restart(self) -> None:
        """Open the file (again), with the decoder before its first frame."""
        self._decoder = self._open()
        self._offset, self._decoded = 0, _NONE

    def _open(self) -> Any:
        """Opened by its path or through one of the lists; what works the first time is kept."""
        failure: Exception | None = None
        for uri in [self._uri] if self._uri else self._ways_to_open():
            self._uri = uri
            try:
                return _decord().VideoReader(uri, num_threads=self._num_threads, fault_tol=_NO_SUBSTITUTED_FRAMES)
            except _errors() as error:
                failure = error
                if "measure duration" not in str(error):
                    break
        raise NotOpenedError(_text_of(str(failure))) from failure

    def _ways_to_open(self) -> Iterator[str]:
        # ffmpeg's own way to the first frame of a transport stream leads to a later one.
        is_stream = self._container["kind"] == "ts"
        if not is_stream:
            yield self._path
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # Windows keeps files that are open
        folder = Path(self._folder.name)
        try:
            (folder / "video.ts").symlink_to(self._path)
        except OSError:  # a link needs rights on Windows
            shutil.copyfile(self._path, folder / "video.ts")
        name = "segments.m3u8" if is_stream else "parts.ffconcat"
        (folder / name).write_text(_LISTS[name], encoding="utf-8")
        yield str(folder / name)

    def _check_size(self, height: int, width: int) -> None:
        if height * width > self._max_pixels:
            raise DecodingError(
                f"has frames of {width} x {height} = {width * height} pixels, more than the {self._max_pixels} "
                "that are allowed (VITA_CLIP_MAX_FRAME_PIXELS)"
            )

    def _next_frame(self) -> np.ndarray:
        """The next frame, `(H, W, 3)`. It is kept with its index: it may be asked for next."""
        frame = np.rot90(_without_padding(self._decoder.next()), -self._container["turns_too_many"])
        self._decoded = (self.position - 1 - self._offset, frame)
        return frame

    def _decode(self, index: int) -> np.ndarray:
        if self._decoded[0] != index:
            self._go_to(index)
        # A jump to a key frame decodes it.
        return self._decoded[1] if self._decoded[0] == index else self._next_frame()

    def _go_to(self, index: int) -> None:
        """Bring the decoder to frame `index` by playing on or by a jump, whichever decodes less."""
        current = self.position - self._offset
        after = bisect_right(self._key_frames, index + self._num_hidden)
        key_packet = self._key_frames[after - 1] if after else 0
        key_frame = key_packet - self._num_hidden
        saves = index < current or key_frame - current > _SEEK_COST_IN_FRAMES
        if self._can_seek and key_frame >= bool(self._num_hidden) and saves and self._jump_to(key_packet):
            if index == key_frame:
                return
        elif index < self.position - self._offset:
            self._restart()
        self._play_to(index + self._offset)

    def _jump_to(self, key_packet: int) -> bool:
        """
        Jump to this key frame and decode it. If its timestamp does not confirm it, return False, with the file back at
        its start.
        """
        if self._confirms(key_packet):
            self._offset = self._num_hidden
            self._next_frame()
            return True
        # An open group (pictures that follow the key frame in the file are shown before it), or no seeking.
        self._can_seek = False
        self._restart()
        return False

    def _confirms(self, key_packet: int) -> bool:
        """
        Whether decord, sent to this key frame, finds its timestamp on the frame that comes out. Damage on the way
        raises an error.
        """
        try:
            if self.position == key_packet:
                # decord checks nothing if it is there already: go elsewhere first.
                self._decoder.seek(self._num_packets - 1 if key_packet == 0 else 0)
            self._decoder.seek_accurate(key_packet)
        except RuntimeError:  # no way to go there
            return False
        # decord counts the frame as passed (and holds it for the next call) only if the timestamps agree.
        return self.position == key_packet + 1

    def _play_to(self, position: int) -> None:
        """Decode up to `position`, one group of pictures at a time: across groups decord would jump, unconfirmed."""
        first = bisect_right(self._key_frames, self.position)
        last = bisect_right(self._key_frames, position)
        for key_packet in self._key_frames[first:last]:
            self._skip_to(key_packet - 1)
            self._next_frame()
        self._skip_to(position)

    def _skip_to(self, position: int) -> None:
        # Skipping finds frames by their times.
        if self._can_skip and self.position < position:
            self._decoder.seek_accurate(position)
        while self.position < position:
            self._next_frame()

    def _read_times(self) -> tuple[int, np.ndarray | None]:
        """
        The number of packets that an edit list hides (the decoder needs them, decord counts them, players skip them),
        and when each frame after them is shown; `None` if packets have no times.
        """
        try:
            times = self._decoder.get_frame_timestamp(np.arange(self._num_packets))[:, 0].astype(np.float64)
        except IndexError as error:  # the container promises frames that are not there
            raise DecodingError(f"none of its {self._num_packets} frames is in the file") from error
        # Of files that were joined by `cat` each begins at 0. The start of an AVI file is found by its index.
        is_one = times[0] < min([*times[1:2], _NO_TIMESTAMP])
        self._starts_at_zero = (is_one and times[0] >= 0) or self._container["kind"] not in ("matroska", "")
        if not is_one or not (np.abs(times) < _NO_TIMESTAMP).all() or (np.diff(times) < 0).any():
            return 0, None
        hidden = int((times < -_SMALLEST_FRAME_TIME).sum())
        if hidden == len(times) or (hidden and self._shows_first_packet()):
            hidden = 0
        return hidden, times[hidden:] - times[hidden]

    def _starts_with_first_packet(self) -> bool:
        """
        Whether the first frame that decord gives is the one that the first packet holds. It is not if, for example,
        the file was cut inside a group of pictures: packets before the first key frame show nothing.
        """
        is_known = self._num_hidden > 0 or self._num_packets == 1  # known already, or there is no way to try
        return self._key_frames[:1] == [0] and (is_known or self._shows_first_packet())

    def _shows_first_packet(self) -> bool:
        with contextlib.suppress(*_errors()):
            if self._attempt(lambda: self._confirms(0)):
                self._next_frame()
                return True
        self._restart()
        return False

    def _count_by_decoding(self) -> None:
        """Play the file once."""
        self._restart()
        try:
            count, is_damaged = self._attempt(self._play_to_end)
        except _errors() as error:
            if self._uri.endswith(".ffconcat"):
                raise NotOpenedError("cannot measure duration or get back to the start") from error
            raise DecodingError(f"no frame can be decoded ({_cause(error)}); try `ffmpeg -i FILE FILE.mp4`") from error
        self._restart()
        if not is_damaged and count != self.num_frames:  # of a damaged file, what lies before the damage can be read
            # decord goes back to second 0. A group of pictures before it, or without times, is left out.
            if self._num_packets - count >= (*self._key_frames[1:], self._num_packets)[0] and not self._starts_at_zero:
                raise DecodingError(_STARTS_INSIDE)
            self.num_frames, self.times, self._num_hidden = count, None, 0

    def _play_to_end(self) -> tuple[int, bool]:
        """The number of frames, and whether they end because of damage. Frames are kept as long as there is room."""
        count, kept_bytes, self._kept = 1, 0, [self._next_frame()]
        try:
            while True:
                frame = self._next_frame()
                count += 1
                kept_bytes += frame.nbytes
                if kept_bytes <= _KEPT_BYTES:
                    self._kept.append(frame)
        except _errors() as error:
            return count, not _is_end(error)


# ---- decord ----


def _decord() -> Any:
    """decord, imported when the first file is opened."""
    try:
        import decord
    except ImportError as error:
        raise ImportError("Decoding videos needs the decord library: `pip install decord2`.") from error
    return decord


def _load_decord() -> None:
    os.environ.update(_DECORD_SETTINGS)
    # decord would load all libraries of CUDA that lie in the package "nvidia", 400 MB, also if it was built without.
    sys.modules["nvidia"] = None  # type: ignore[assignment]
    try:
        decord = _decord()
    except OSError:  # built with CUDA
        del sys.modules["nvidia"]
        decord = _decord()
    # Errors are raised as exceptions; ffmpeg's own lines on stderr would repeat them.
    decord.logging.set_level(decord.logging.QUIET)


def _errors() -> tuple[type[Exception], ...]:
    return (_decord().DECORDError, _decord().DECORDLimitReachedError, RuntimeError, StopIteration, AssertionError)


def _is_end(error: BaseException) -> bool:
    return isinstance(error, (StopIteration, _decord().DECORDLimitReachedError)) or "handle EOF" in str(error)


def _cause(error: BaseException) -> str:
    return "the stream ends" if _is_end(error) else _text_of(str(error))


def _text_of(message: str) -> str:
    """decord's message without the time, source lines and return codes around it."""
    first_line = (message.strip().splitlines() or [""])[0]
    words = re.split(r"\(-?\d+ vs\. -?\d+\)\s*", re.sub(r".*\.cc:\d+:\s*", "", first_line))[-1]
    return words.removeprefix("Thread worker: ").rstrip(". ") or "unknown error"


def _without_padding(frame: Any) -> np.ndarray:
    """
    A decoded frame as `(H, W, 3)`.

    decord reads the length of a padded row as W x channels: a 48 pixels wide frame comes as (H, 48, 4), of which only
    the first 3 * 48 bytes of each row are pixels.
    """
    pixels = frame.asnumpy()
    height, width = pixels.shape[:2]
    return pixels.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


# ---- the process ----


class _Server:
    """Answers requests until the pipe they come through is closed or its other process is gone. Memory -1: none."""

    def __init__(self, pipe: Connection, memory: int):
        self._pipe, self._memory_file = pipe, memory
        self._memory: mmap.mmap | None = None
        self._files: dict[str, FrameDecoder] = {}
        self._current: FrameDecoder | None = None
        self._lock = threading.Lock()
        self._parent = os.getppid()

    def serve(self) -> None:
        while True:
            request = json.loads(self._pipe.recv_bytes())
            try:
                reply = self.answer(request)
            except DecodingError as error:
                reply = {error.field: str(error)}
            except Exception as error:  # the process goes on, whatever a damaged file leads to
                reply = {"error": f"cannot be decoded ({type(error).__name__}: {error})"}
            self.send(reply)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        file = self._file(request)
        if "indices" not in request:
            if file.times is not None:
                self._mapped(file.times.nbytes)[: file.times.nbytes] = file.times.tobytes()
            reply = {"num_frames": file.num_frames, "height": file.height, "width": file.width, "fps": file.fps}
            return {**reply, "has_times": file.times is not None}
        size = file.height * file.width * 3
        memory = np.frombuffer(self._mapped(size * len(request["indices"])), np.uint8)
        for row, index in enumerate(request["indices"]):
            memory[row * size : (row + 1) * size] = file.frame(index).reshape(-1)
        if not request["goes_on"]:
            file.rest()
        return {}

    def send(self, reply: dict[str, Any] | None) -> None:
        """A reply, and what it tells of if no memory is shared; `None` is a sign of life."""
        with self._lock:
            self._pipe.send_bytes(b"" if reply is None else json.dumps(reply).encode())
            if self._memory_file < 0 and reply is not None:
                self._pipe.send_bytes(self._memory or b"")
                self._memory = None

    def watch(self) -> None:
        """Tell of progress while a request takes long; end with the process that asks, however it ends."""
        last: tuple[FrameDecoder | None, int] = (None, 0)
        while os.getppid() == self._parent:
            time.sleep(0.2)
            file = self._current
            now = (file, 0 if file is None else file.position)
            if now != last:
                self.send(None)
            last = now
        os._exit(0)

    def _file(self, request: dict[str, Any]) -> FrameDecoder:
        key = request["reader"]
        if key not in self._files:
            while len(self._files) >= _OPEN_FILES:
                del self._files[next(iter(self._files))]
            _limit_memory(request["file"]["path"], request["file"]["max_pixels"])
            file = self._current = FrameDecoder(**request["file"])
            file.open()
            self._files[key] = file
        self._current = self._files[key] = self._files.pop(key)  # the last one used
        return self._current

    def _mapped(self, size: int) -> mmap.mmap:
        if self._memory_file < 0:
            self._memory = mmap.mmap(-1, size)
        elif os.fstat(self._memory_file).st_size < size:
            os.ftruncate(self._memory_file, size)
        if self._memory is None or len(self._memory) < size:
            self._memory = mmap.mmap(self._memory_file, 0)
        return self._memory


def _limit(name: str, most: int) -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard < 0 else min(most, hard), hard))


def _limit_memory(path: str, max_pixels: int) -> None:
    """Bound what the next file may add: its own size (decord reads ahead) and what frames of that size need."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="utf-8") as status:
        used = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
        _limit("RLIMIT_DATA", used + os.path.getsize(path) + _BYTES_PER_PIXEL * max_pixels)


def _wait_for_call() -> Connection:
    with Listener(("127.0.0.1", 0), authkey=os.environ[KEY_VARIABLE].encode()) as listener:
        print(listener.address[1], flush=True)
        return listener.accept()


def main(memory: int, pipe: int) -> None:
    """Serve what comes through the pipe; both are descriptors, or -1 if none were given."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks, which may want more frames
    _limit("RLIMIT_CORE", 0)
    server = _Server(Connection(pipe) if pipe >= 0 else _wait_for_call(), memory)
    try:
        _load_decord()
    except (ImportError, OSError) as error:
        server.send({"import_error": str(error)})
        return
    server.send({})
    threading.Thread(target=server.watch, daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):  # the other process is gone
        server.serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
