"""A video's frames by index. Files are decoded in another process, which they may end; this one goes on."""

import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property
from multiprocessing.connection import Client, Connection, Pipe
from typing import IO, Any

import numpy as np
import torch
from transformers.video_utils import VideoMetadata

from .video_container_vita_clip import look_into, reason_not_opened
from .video_decoding_vita_clip import KEY_VARIABLE, PROGRAM
from .video_source_vita_clip import VideoFile, VideoReadError, VideoSource, locate_video, number_of_environment
from .video_source_vita_clip import is_video_source as is_source_of_file

__all__ = ["VideoReadError", "VideoReader", "VideoSource", "is_video_source", "read_video"]

MAX_FRAME_PIXELS = 4096 * 4096
MAX_CLIP_BYTES = 4 * 1024**3
# A decoder that shows no progress for this long and has worked meanwhile is ended; so is one that waits this long.
_STALLED_SECONDS, _WAITING_SECONDS = 1.5, 15.0
# Opening a file means reading it from end to end, of which no progress is seen.
_SLOWEST_BYTES_PER_SECOND = 50e6
_START_SECONDS = 60.0
# Frames that are handed over at once.
_BYTES_AT_ONCE = 64 * 1024**2
# Written times are rounded: a frame that begins within this much of a given second begins there, or within a quarter
# of the shortest frame.
_SMALLEST_FRAME_TIME = 1e-3


def is_video_source(value: Any) -> bool:
    """
    Whether `value` is something `VideoReader` opens: a path, a URL, bytes, a binary file object, or a `VideoDecoder`
    of torchcodec.
    """
    return _is_torchcodec_decoder(value) or is_source_of_file(value)


def read_video(
    source: Any,
    choose_indices: Callable[[VideoMetadata], Iterable[int]] | None = None,
    *,
    num_threads: int = 1,
    backend: str = "decord",
    allow_private: bool = True,
) -> tuple[torch.Tensor, VideoMetadata]:
    """
    Decode the frames that `choose_indices` picks, and no others.

    The counterpart of transformers' `load_video(video, sample_indices_fn=...)`, which decodes the same way but takes
    no bytes and no file objects, trusts the container's frame count, and returns wrong frames for some files.

    Args:
        source, num_threads, backend, allow_private: as in `VideoReader`.
        choose_indices: gets the file's metadata, returns frame indices in any order, repeats allowed. `None`: all.

    Returns:
        uint8 RGB frames of shape `(T, 3, H, W)`, T the number of indices, and the metadata with `frames_indices` set.

    Raises:
        VideoReadError: see `VideoReader`.
        IndexError: an index outside `[0, number of frames)`.
    """
    reader = VideoReader(source, num_threads=num_threads, backend=backend, allow_private=allow_private)
    metadata = reader.metadata
    indices = range(reader.num_frames) if choose_indices is None else choose_indices(metadata)
    metadata.frames_indices = [int(index) for index in indices]
    return reader.read_frames(metadata.frames_indices), metadata


class VideoReader:
    """
    A video file's frames by index, in display order, rotated as the file's display matrix asks.

    Frame i is the i-th frame that a decoder outputs when it plays the file from the start. decord alone does not keep
    to that: it also counts packets that an edit list hides (clips cut without re-encoding), it lands on a neighbour of
    the frame asked for in streams with open groups of pictures (x265's default) and in files without presentation
    times (AVI), it starts MPEG streams too late, it repeats an earlier frame if it cannot decode one, and for some
    widths it returns padded rows. Each of these is checked for, and corrected or refused.

    Frames have the size that is stored. Pixels that are not square (a sample aspect ratio other than 1:1, as on DVDs)
    are not stretched: PyAV, torchcodec and OpenCV give such frames in the same way.

    Damage that the codec conceals (smeared blocks after a bit error) is not detected: such a frame looks like any
    other to decord, and to PyAV and torchcodec with their defaults. If the codec gives up, the frames before the
    damage can be read, but some of the last few before it may be refused too.

    decord works in a process of its own, one for each thread that reads, which starts with the first file and ends
    with the thread. If a damaged file ends it, or it makes no progress, the file is refused and the next one is read.

    The environment sets other limits than the defaults: `VITA_CLIP_MAX_FRAME_PIXELS` (height x width, 4096 x 4096) and
    `VITA_CLIP_MAX_CLIP_BYTES` (of all frames of one call of `read_frames`, 4 GiB).

    Args:
        source: path, http(s) URL (downloaded), the file's bytes, a binary file object, which is read whole and left
            open, or a `VideoDecoder` of torchcodec, which is asked for its frames as it is.
        num_threads: decoder threads; 0 lets the codec choose. One is the right number for short clips read by several
            workers: starting threads costs more than they save.
        backend: "decord", or "torchcodec" if that is installed; it decodes in this process.
        allow_private: whether a URL may lead to this machine or a private network, see `locate_video`.

    Attributes:
        name (`str`): the path or URL, or a description such as "<1024 bytes>"; every error starts with it.
        num_frames (`int`): number of frames that are shown.
        fps (`float` or `None`): average frames per second, `None` if the file does not say.
        height, width (`int`): size in pixels of the frames as returned, after rotation.

    Raises:
        VideoReadError: no such file, a directory, an empty file, a failed download, not a video, sound only, no
            frames, larger frames than allowed; from `read_frames`, a frame that cannot be decoded.
    """

    def __init__(self, source: Any, *, num_threads: int = 1, backend: str = "decord", allow_private: bool = True):
        if num_threads < 0:
            raise ValueError(f"num_threads must be 0 (the codec chooses) or more, found {num_threads}")
        if backend not in ("decord", "torchcodec"):
            raise ValueError(f'backend must be "decord" or "torchcodec", found {backend!r}')
        self._decoded: _DecordFrames | _TorchcodecFrames
        if _is_torchcodec_decoder(source):
            self.name = f"<{type(source).__name__}>"
            self._decoded = _TorchcodecFrames(source, self.name)
        else:
            self._file = locate_video(source, allow_private=allow_private)
            self.name = self._file.name
            if backend == "torchcodec":
                self._decoded = _TorchcodecFrames(_open_with_torchcodec(self._file, num_threads), self.name)
            else:
                self._decoded = _DecordFrames(self._file, num_threads)
        self.num_frames, self.fps = self._decoded.num_frames, self._decoded.fps
        self.height, self.width = self._decoded.height, self._decoded.width

    @property
    def frame_times(self) -> np.ndarray | None:
        """
        Seconds from the start of the video at which each frame is shown, float64 `(num_frames,)`, the first at 0.
        From the rate if frames have no timestamps; `None` if the file has neither.
        """
        if self._decoded.times is not None:
            return self._decoded.times
        return np.arange(self.num_frames) / self.fps if self.fps else None

    def frames_between(self, start: float, end: float) -> tuple[int, int]:
        """
        The frames that are on the screen in a part of the video: the first of them, and the one after the last.

        Args:
            start, end: seconds; of a part shorter than a frame, the frame that is shown at `start`.

        Raises:
            VideoReadError: the file says nothing about time, or ends before `start`.
        """
        times = self.frame_times
        if times is None:
            raise VideoReadError(
                f"{self.name}: does not say when its frames are shown, which a part of it needs; "
                "`ffmpeg -i FILE FILE.mp4` gives them times"
            )
        last = end_of_last_frame(times, self.fps)
        if start >= last:
            raise VideoReadError(f"{self.name}: ends after {last:.1f} s, before second {start:g}")
        return frames_shown(times, start, end)

    @property
    def duration(self) -> float | None:
        """Length in seconds, number of frames over average rate; `None` if the rate is unknown."""
        return self.num_frames / self.fps if self.fps else None

    @property
    def metadata(self) -> VideoMetadata:
        """The file's metadata for transformers' sampling functions: a new object each time, `frames_indices` unset."""
        return VideoMetadata(
            total_num_frames=self.num_frames,
            fps=self.fps,
            width=self.width,
            height=self.height,
            duration=self.duration,
            video_backend=self._decoded.backend,
        )

    def read_frames(self, indices: Iterable[int]) -> torch.Tensor:
        """
        Decode the frames with these indices; a repeated index is decoded once.

        Args:
            indices: frame numbers in any order, each in `[0, num_frames)`.

        Returns:
            uint8 RGB of shape `(T, 3, H, W)` in the order asked for. The memory is laid out as decoded, `(T, H, W, 3)`
            (torch's channels-last), which saves a copy and is the faster layout for resizing.

        Raises:
            IndexError: an index outside the file.
            VideoReadError: a frame cannot be decoded; it says which, and how many frames were read before it. Or the
                frames would take more memory than allowed.
        """
        indices = [int(index) for index in indices]
        for index in indices:
            if not 0 <= index < self.num_frames:
                raise IndexError(f"{self.name}: frame {index} asked for, the file has frames 0..{self.num_frames - 1}")
        num_bytes = len(indices) * self.height * self.width * 3
        limit = number_of_environment("VITA_CLIP_MAX_CLIP_BYTES", MAX_CLIP_BYTES)
        if num_bytes > limit:
            raise VideoReadError(
                f"{self.name}: {len(indices)} frames of {self.width} x {self.height} take {num_bytes} bytes, more "
                f"than the {limit} that are allowed (VITA_CLIP_MAX_CLIP_BYTES); read fewer at once"
            )
        wanted = sorted(set(indices))
        video = torch.from_numpy(self._decoded.read(wanted))
        if wanted != indices:
            row_of = {index: row for row, index in enumerate(wanted)}
            video = video[[row_of[index] for index in indices]]
        return video.permute(0, 3, 1, 2)


# ---- time ----


def frames_shown(times: np.ndarray, start: float, end: float) -> tuple[int, int]:
    """Of frames shown from `times` on, in seconds: the first on the screen from `start` to `end`, and the next one."""
    slack = _lengths(times).min(initial=4 * _SMALLEST_FRAME_TIME) / 4
    first = max(int(np.searchsorted(times, start + slack, side="right")) - 1, 0)
    stop = int(np.searchsorted(times, end - slack, side="left"))
    return first, max(stop, first + 1)


def end_of_last_frame(times: np.ndarray, fps: float | None) -> float:
    """Seconds: the last frame takes as long as the one before it, a single one the time that `fps` gives it."""
    lengths = _lengths(times)
    return float(times[-1] + (lengths[-1] if len(lengths) else 1 / (fps or 1)))


def _lengths(times: np.ndarray) -> np.ndarray:
    """How long frames are shown; two that have the same time are one here."""
    gaps = np.diff(times)
    return gaps[gaps > 0]


# ---- decord, in another process ----


class _DecordFrames:
    """Attributes as in `VideoReader`, and `times` in seconds or none."""

    backend = "decord"

    def __init__(self, file: VideoFile, num_threads: int):
        self._file = file
        max_pixels = number_of_environment("VITA_CLIP_MAX_FRAME_PIXELS", MAX_FRAME_PIXELS)
        try:
            self._reader, self._container = uuid.uuid4().hex, look_into(file.path, file.head)
        except OSError as error:
            raise self._failed(error.strerror or error) from error
        if self._container.promise:
            self._file = file.copy_with_one_frame(self._container.promise)
        self._options = {"num_threads": num_threads, "max_pixels": max_pixels, "container": asdict(self._container)}
        reply, process = self._ask("opening it")
        self.num_frames, self.height, self.width = reply["num_frames"], reply["height"], reply["width"]
        self.fps: float | None = reply["fps"]
        self.times = process.memory(8 * self.num_frames).view(np.float64).copy() if reply["has_times"] else None
        if self.times is None and self._container.num_chunks > 1.1 * self.num_frames + 2:
            self.fps = None  # it is that of chunks, of which some are empty

    def read(self, indices: list[int]) -> np.ndarray:
        """uint8 `(T, H, W, 3)` of indices that rise."""
        frames = np.empty((len(indices), self.height, self.width, 3), dtype=np.uint8)
        size = self.height * self.width * 3
        at_once = max(_BYTES_AT_ONCE // size, 1)
        for first in range(0, len(indices), at_once):
            part = indices[first : first + at_once]
            goes_on = first + at_once < len(indices)
            _, process = self._ask(f"decoding frames {part[0]} to {part[-1]}", indices=part, goes_on=goes_on)
            frames[first : first + len(part)].reshape(-1)[:] = process.memory(size * len(part))
        return frames

    def _ask(self, activity: str, **request: Any) -> "tuple[dict[str, Any], _DecoderProcess]":
        process = _decoder_of_this_thread()
        try:
            path = self._file.path
            seconds = _STALLED_SECONDS + os.path.getsize(path) / _SLOWEST_BYTES_PER_SECOND
            file = {"path": path, **self._options}
            reply = process.ask({"reader": self._reader, "file": file, **request}, seconds)
        except OSError as error:
            raise self._failed(error.strerror or error) from error
        except _DecoderEndedError as error:
            raise self._failed(f"the decoder {error} while {activity}") from error
        if "not_opened" in reply:
            raise self._failed(reason_not_opened(reply["not_opened"], self._container))
        if "error" in reply:
            raise self._failed(reply["error"])
        return reply, process

    def _failed(self, cause: object) -> VideoReadError:
        # What decord says of a file that was deleted meanwhile reads like that of a damaged one.
        is_there = os.path.exists(self._file.path)
        return VideoReadError(f"{self._file.name}: {cause if is_there else 'no such file (it was deleted meanwhile)'}")


class _DecoderEndedError(Exception):
    """The process that decodes is there no more; the message says by what it was ended."""


class _DecoderProcess:
    """
    A running `video_decoding_vita_clip.py`: one request at a time, answered in JSON, and frames in memory that both
    processes map, or after the answer.

    Raises:
        ImportError: decord is not installed.
        OSError: the process cannot be started.
    """

    def __init__(self) -> None:
        # A new program may get open files of this one's: not on Windows, which has no `fork` either.
        shared: list[Any] = [_file_in_memory(), *Pipe()] if hasattr(os, "fork") else [None] * 3
        memory, ours, theirs = shared
        passed, key = [file.fileno() for file in (memory, theirs) if file], uuid.uuid4().hex
        # The same packages as here, however they got onto the path; the folder of the program itself is none of them.
        environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [sys.executable, PROGRAM, *map(str, passed or (-1, -1))],
                stdin=subprocess.DEVNULL,
                stdout=self._messages if passed else subprocess.PIPE,
                stderr=self._messages,
                pass_fds=passed,
                env={**environment, KEY_VARIABLE: key},
            )
            self._pipe: Connection = ours or self._call(key)
        except OSError as error:
            raise OSError(f"the process that decodes videos cannot be started ({sys.executable}: {error})") from error
        finally:
            if theirs:
                theirs.close()
        self._owner = os.getpid()
        self._memory_file, self._memory = memory, np.empty(0, dtype=np.uint8)
        self.end = weakref.finalize(self, _end, self._process, self._owner, self._pipe, memory)
        try:
            ready = self._receive(_START_SECONDS)
        except _DecoderEndedError as error:
            raise OSError(f"the process that decodes videos {error} at its start: {self._last_message()}") from error
        if "import_error" in ready:
            raise ImportError(ready["import_error"])

    def _call(self, key: str) -> Connection:
        """To the socket whose number the process prints."""
        with self._process.stdout as lines:  # type: ignore[union-attr]
            port = lines.readline()
        if not port:
            raise OSError(f"it {self._cause_of_end()}: {self._last_message()}")
        return Client(("127.0.0.1", int(port)), authkey=key.encode())

    @property
    def is_usable(self) -> bool:
        """Whether it runs, and is this process's own: a fork has that of its parent."""
        return self._owner == os.getpid() and self.end.alive and self._process.poll() is None

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """
        Args:
            request: see `video_decoding_vita_clip.py`.
            seconds: that it may work without progress.

        Raises:
            _DecoderEndedError: it died, or was ended because it made no progress.
        """
        try:
            with suppress(BrokenPipeError):  # its end is seen below
                self._pipe.send_bytes(json.dumps(request).encode())
            return self._receive(seconds)
        except BaseException:  # Ctrl-C too: a late reply would be taken for that to the next request
            self.end()
            raise

    def memory(self, size: int) -> np.ndarray:
        """The first bytes of what both processes map, or of what came, to be copied before the next request."""
        if self._memory_file and len(self._memory) < size:
            mapped = mmap.mmap(self._memory_file.fileno(), 0, access=mmap.ACCESS_READ)
            self._memory = np.frombuffer(mapped, dtype=np.uint8)
        return self._memory[:size]

    def _receive(self, seconds: float) -> dict[str, Any]:
        since, worked = time.monotonic(), self._seconds_worked()
        while True:
            if self._pipe.poll(0.1):
                try:
                    reply = self._pipe.recv_bytes()
                    if reply and self._memory_file is None:
                        self._memory = np.frombuffer(self._pipe.recv_bytes(), dtype=np.uint8)
                except (EOFError, OSError):
                    raise _DecoderEndedError(self._cause_of_end()) from None
                if reply:
                    return json.loads(reply)
                since, worked = time.monotonic(), self._seconds_worked()  # an empty reply: progress
            else:
                waited = time.monotonic() - since
                is_stalled = waited > seconds and self._seconds_worked() - worked > seconds
                if is_stalled or waited > max(_WAITING_SECONDS, 2 * seconds):
                    raise _DecoderEndedError(f"was ended because it made no progress for {waited:.1f} s")

    def _seconds_worked(self) -> float:
        """Processor time that the process has used; 0 where that cannot be known, so that only long waits count."""
        try:
            with open(f"/proc/{self._process.pid}/stat", encoding="utf-8") as file:
                fields = file.read().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError):
            return 0.0

    def _cause_of_end(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        if code >= 0:
            return f"ended with exit code {code}"
        wants_memory = " for want of memory" if "bad_alloc" in self._last_message() else ""
        return f"was ended by {signal.Signals(-code).name}{wants_memory}"

    def _last_message(self) -> str:
        self._messages.seek(0)
        lines = self._messages.read()[-2000:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _end(process: "subprocess.Popen[bytes]", owner: int, pipe: Connection, memory: IO[bytes] | None) -> None:
    """A fork that has the process of its parent closes its end of the pipe, and leaves the process alone."""
    pipe.close()
    if memory:
        memory.close()
    if owner == os.getpid():
        process.kill()
        process.wait()


def _file_in_memory() -> IO[bytes]:
    """Where there is no such thing, a temporary file."""
    memory = os.memfd_create("vita-clip-frames") if hasattr(os, "memfd_create") else None
    return tempfile.TemporaryFile() if memory is None else open(memory, "r+b")


class _ThisThread(threading.local):
    decoder: _DecoderProcess | None = None


# A thread's attributes go when the thread ends, and its decoder with them.
_THIS_THREAD = _ThisThread()


def _decoder_of_this_thread() -> _DecoderProcess:
    if _THIS_THREAD.decoder is None or not _THIS_THREAD.decoder.is_usable:
        _THIS_THREAD.decoder = _DecoderProcess()
    return _THIS_THREAD.decoder


# ---- torchcodec, in this process ----


def _is_torchcodec_decoder(value: Any) -> bool:
    """Told by its class's name, without importing torchcodec; `datasets` yields a class derived from it."""
    return any(
        kind.__name__ == "VideoDecoder" and kind.__module__.partition(".")[0] == "torchcodec"
        for kind in type(value).__mro__
    )


class _TorchcodecFrames:
    backend = "torchcodec"

    def __init__(self, decoder: Any, name: str):
        self._decoder, self._name, self.num_frames = decoder, name, len(decoder)
        if self.num_frames == 0:
            raise VideoReadError(f"{name}: its video stream has no frames")
        self.fps: float | None = decoder.metadata.average_fps or None
        self.height, self.width = self.read([0]).shape[1:3]

    @cached_property
    def times(self) -> np.ndarray:
        """Known of decoded frames only: all are decoded, a few at a time."""
        batches = torch.arange(self.num_frames).split(32)
        seconds = torch.cat([self._batch(batch.tolist()).pts_seconds for batch in batches])
        times = seconds.double().cpu().numpy()
        return times - times[0]

    def read(self, indices: list[int]) -> np.ndarray:
        if not indices:
            return np.empty((0, self.height, self.width, 3), dtype=np.uint8)
        frames = self._batch(indices).data
        # The decoder was made with dimension_order "NCHW", the default, or "NHWC".
        frames = frames if frames.shape[-1] == 3 and frames.shape[1] != 3 else frames.permute(0, 2, 3, 1)
        return np.ascontiguousarray(frames.cpu().numpy())

    def _batch(self, indices: list[int]) -> Any:
        with _torchcodec_errors(f"{self._name}: frames {indices[0]} to {indices[-1]}"):
            return self._decoder.get_frames_at(indices=indices)


def _open_with_torchcodec(file: VideoFile, num_threads: int) -> Any:
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError) as error:  # it raises either if ffmpeg's libraries are missing
        reason = str(error).partition("\n")[0]
        raise ImportError(
            f'backend="torchcodec" needs torchcodec and ffmpeg ({reason}); `pip install torchcodec`'
        ) from error
    with _torchcodec_errors(file.name):
        return VideoDecoder(file.path, num_ffmpeg_threads=num_threads)


@contextmanager
def _torchcodec_errors(place: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise VideoReadError(f"{place}: {reason}") from error
