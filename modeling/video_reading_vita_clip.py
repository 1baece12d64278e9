"""Open a video file, say how many frames it has, decode chosen frames. The one module that knows the codec library."""

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers.video_utils import VideoMetadata

from .video_source_vita_clip import VideoFile, VideoReadError, VideoSource, is_video_source, locate_video

__all__ = ["VideoReadError", "VideoReader", "VideoSource", "is_video_source", "read_video"]

# decord fills a frame that it cannot decode with a copy of an earlier one. Any number above zero and far below
# 1 / (number of frames) makes the first such substitution an error.
_NO_SUBSTITUTED_FRAMES = 1e-9
# A jump stops and refills the decoder, which costs about as much as decoding this many frames of a 340x256 H.264
# file. A shorter way is played.
_SEEK_COST_IN_FRAMES = 10
# MP4 and MOV files begin with the length of a box and one of these names.
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
# decord decodes ahead and reports damage at once, even if good frames still wait in its queue: a race between its
# threads decides whether such a frame can be read. On a busy machine up to half of the attempts on a frame shortly
# before damage fail.
_ATTEMPTS = 10
# Timestamps in seconds: decord's for "none" lie below the first; the second tells zero from rounding errors.
_NO_TIMESTAMP = -1e9
_SMALLEST_FRAME_TIME = 1e-3


def read_video(
    source: VideoSource,
    choose_indices: Callable[[VideoMetadata], Iterable[int]] | None = None,
    *,
    num_threads: int = 1,
) -> tuple[torch.Tensor, VideoMetadata]:
    """
    Decode the frames that `choose_indices` picks, and no others.

    The counterpart of transformers' `load_video(video, sample_indices_fn=...)`, which decodes the same way but takes
    no bytes and no file objects, trusts the container's frame count, and returns wrong frames for some files.

    Args:
        source: path, http(s) URL, the file's bytes, or a binary file object (read from its start).
        choose_indices: gets the file's metadata, returns frame indices in any order, repeats allowed. `None`: all.
        num_threads: decoder threads, as in `VideoReader`.

    Returns:
        uint8 RGB frames of shape `(T, 3, H, W)`, T the number of indices, and the metadata with `frames_indices` set.

    Raises:
        VideoReadError: see `VideoReader`.
        IndexError: an index outside `[0, number of frames)`.
    """
    reader = VideoReader(source, num_threads=num_threads)
    metadata = reader.metadata
    indices = range(reader.num_frames) if choose_indices is None else choose_indices(metadata)
    metadata.frames_indices = [int(index) for index in indices]
    return reader.read_frames(metadata.frames_indices), metadata


class VideoReader:
    """
    A video file's frames by index, in display order, rotated as the file's display matrix asks.

    Frame i is the i-th frame that a decoder outputs when it plays the file from the start. decord alone does not keep
    to that: it also counts packets that an edit list hides (clips cut without re-encoding), it lands on a neighbour of
    the frame asked for in streams with open groups of pictures (x265's default), it starts MPEG streams too late, it
    repeats an earlier frame if it cannot decode one, and for some widths it returns padded rows. This class checks for
    each of these, and corrects or refuses it.

    Damage that the codec conceals (smeared blocks after a bit error) is not detected: such a frame looks like any
    other to decord, and to PyAV and torchcodec with their defaults. If the codec gives up, the frames before the
    damage can be read, but some of the last few before it may be refused too.

    Args:
        source: path, http(s) URL (downloaded into memory), the file's bytes, or a binary file object, which is read
            whole and left open.
        num_threads: decoder threads; 0 lets the codec choose. One is the right number for short clips read by several
            workers: starting threads costs more than they save.

    Attributes:
        name (`str`): the path or URL, or a description such as "<1024 bytes>"; every error starts with it.
        num_frames (`int`): number of frames that are shown.
        fps (`float` or `None`): average frames per second, `None` if the file does not say.
        height, width (`int`): size in pixels of the frames as returned, after rotation.

    Raises:
        VideoReadError: no such file, a directory, an empty file, a failed download, not a video, sound only, no
            frames; from `read_frames`, a frame that cannot be decoded.
    """

    def __init__(self, source: VideoSource, *, num_threads: int = 1):
        if num_threads < 0:
            raise ValueError(f"num_threads must be 0 (the codec chooses) or more, found {num_threads}")
        self._file = locate_video(source)
        self.name, self._head = self._file.name, self._file.head
        self._num_threads = num_threads
        self._restart()
        self._key_frames: list[int] = self._decoder.get_key_indices()
        self.fps = _average_fps(self._decoder)
        self._num_hidden = self._count_hidden_frames()
        self.num_frames = len(self._decoder) - self._num_hidden
        self._times = self._read_times()
        self._can_skip = self._can_seek = self._starts_with_first_packet()
        if not self._can_skip:
            # For example the file was cut inside a group of pictures, and packets before the first key frame show
            # nothing. Only decoding tells the number of frames, and decord's jumps and skips use wrong numbers.
            self.num_frames = self._count_by_decoding()
            self._times = None
        self.height, self.width = self._read_frame(0).shape[:2]

    @property
    def frame_times(self) -> np.ndarray | None:
        """
        Seconds from the start of the video at which each frame is shown, float64 `(num_frames,)`, the first at 0.
        From the rate if frames have no timestamps; `None` if the file has neither.
        """
        if self._times is not None:
            return self._times
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
            raise VideoReadError(f"{self.name}: does not say when its frames are shown, which a part of it needs")
        last_frame = times[-1] - times[-2] if len(times) > 1 else 1 / (self.fps or 1)
        if start >= times[-1] + last_frame:
            raise VideoReadError(f"{self.name}: ends after {times[-1] + last_frame:.1f} s, before second {start:g}")
        # Written times are rounded: a frame that begins within this much of `start` or `end` begins there.
        first = max(int(np.searchsorted(times, start + _SMALLEST_FRAME_TIME, side="right")) - 1, 0)
        stop = int(np.searchsorted(times, end - _SMALLEST_FRAME_TIME, side="left"))
        return first, max(stop, first + 1)

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
            video_backend="decord",
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
            VideoReadError: a frame cannot be decoded; it says which, and how many frames were read before it.
        """
        indices = [int(index) for index in indices]
        for index in indices:
            if not 0 <= index < self.num_frames:
                raise IndexError(f"{self.name}: frame {index} asked for, the file has frames 0..{self.num_frames - 1}")
        wanted = sorted(set(indices))
        frames = np.empty((len(wanted), self.height, self.width, 3), dtype=np.uint8)
        for row, index in enumerate(wanted):
            frames[row] = self._read_frame(index)
        video = torch.from_numpy(frames)
        if wanted != indices:
            row_of = {index: row for row, index in enumerate(wanted)}
            video = video[[row_of[index] for index in indices]]
        return video.permute(0, 3, 1, 2)

    # decord's position is a packet number in display order. It is `_offset` ahead of the index of the frame shown: the
    # number of hidden frames after a jump, 0 while the file plays from its start.

    def _restart(self) -> None:
        """Open the file (again), with the decoder before its first frame."""
        self._decoder = _open_with_decord(self._file, self._num_threads)
        self._offset = 0
        self._decoded: tuple[int, np.ndarray] | None = None

    def _position(self) -> int:
        return _codec().position_of(self._decoder._handle)

    def _next_frame(self) -> np.ndarray:
        """The next frame, `(H, W, 3)`. It is kept with its index: it may be asked for next."""
        frame = _without_padding(self._decoder.next())
        self._decoded = (self._position() - 1 - self._offset, frame)
        return frame

    def _read_frame(self, index: int) -> np.ndarray:
        reached = 0
        for _ in range(_ATTEMPTS):
            try:
                return self._decode(index)
            except _codec().errors as error:  # noqa: PERF203
                cause = error
                reached = min(max(reached, self._position() - self._offset), index)
                self._restart()
        raise VideoReadError(
            f"{self.name}: frame {index} cannot be decoded: {_cause(cause)} after {reached} of {self.num_frames} "
            "frames. The file is damaged or was cut off."
        ) from cause

    def _decode(self, index: int) -> np.ndarray:
        if self._decoded is not None and self._decoded[0] == index:
            return self._decoded[1]
        self._go_to(index)
        # A jump to a key frame decodes it.
        if self._decoded is not None and self._decoded[0] == index:
            return self._decoded[1]
        return self._next_frame()

    def _go_to(self, index: int) -> None:
        """Bring the decoder to frame `index` by playing on or by a jump, whichever decodes less."""
        current = self._position() - self._offset
        key_packet = self._key_packet_before(index + self._num_hidden)
        key_frame = key_packet - self._num_hidden
        saves = index < current or key_frame - current > _SEEK_COST_IN_FRAMES
        if self._can_seek and key_frame > 0 and saves:
            if self._jump_to(key_packet) and index == key_frame:
                return
        elif index < current:
            self._restart()
        self._play_to(index + self._offset)

    def _key_packet_before(self, packet: int) -> int:
        after = bisect_right(self._key_frames, packet)
        return self._key_frames[after - 1] if after else 0

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
        """Whether decord, sent to this key frame, finds its timestamp on the frame that comes out."""
        try:
            if self._position() == key_packet:
                # decord checks nothing if it is there already: go elsewhere first.
                self._decoder.seek(len(self._decoder) - 1 if key_packet == 0 else 0)
            self._decoder.seek_accurate(key_packet)
        except _codec().errors:
            return False
        # decord counts the frame as passed (and holds it for the next call) only if the timestamps agree.
        return self._position() == key_packet + 1

    def _play_to(self, position: int) -> None:
        """Decode up to `position`, one group of pictures at a time: across groups decord would jump, unconfirmed."""
        first = bisect_right(self._key_frames, self._position())
        last = bisect_right(self._key_frames, position)
        for key_packet in self._key_frames[first:last]:
            self._skip_to(key_packet - 1)
            self._next_frame()
        self._skip_to(position)

    def _skip_to(self, position: int) -> None:
        if self._can_skip and self._position() < position:
            self._decoder.seek_accurate(position)
        # decord's skip ends early near the end of some files, without an error: play the rest.
        while self._position() < position:
            self._next_frame()

    def _count_hidden_frames(self) -> int:
        """Number of packets that an edit list hides: the decoder needs them, decord counts them, players skip them."""
        try:
            starts = self._decoder.get_frame_timestamp(np.arange(len(self._decoder)))[:, 0]
        except IndexError as error:  # the container promises frames that are not there
            raise VideoReadError(f"{self.name}: none of its {len(self._decoder)} frames is in the file") from error
        before_start = int(((starts > _NO_TIMESTAMP) & (starts < -_SMALLEST_FRAME_TIME)).sum())
        if before_start == 0 or before_start == len(self._decoder):
            return 0
        shown = self._confirms(0)
        self._restart()
        return 0 if shown else before_start

    def _read_times(self) -> np.ndarray | None:
        """When each frame is shown; `None` if the packets have no presentation times (AVI, raw streams)."""
        packets = np.arange(self._num_hidden, len(self._decoder))
        times = self._decoder.get_frame_timestamp(packets)[:, 0].astype(np.float64)
        has_times = len(times) > 0 and times[0] > _NO_TIMESTAMP and bool((np.diff(times) > 0).all())
        return times - times[0] if has_times else None

    def _starts_with_first_packet(self) -> bool:
        """Whether the first frame that decord gives is the one that the first packet holds."""
        if self._key_frames[:1] != [0]:
            starts = False
        elif self._num_hidden or len(self._decoder) == 1 or self._head[4:8] in _MP4_BOXES:
            return True  # known already, or the file has an index and need not be tried
        else:
            starts = self._confirms(0)
            self._restart()
        if not starts and _is_mpeg_stream(self._head):
            raise VideoReadError(
                f"{self.name}: an MPEG transport or program stream whose first frame decord cannot get back to; "
                "put it into another container: `ffmpeg -i FILE -c copy FILE.mp4`"
            )
        return starts

    def _count_by_decoding(self) -> int:
        count = 0
        try:
            while True:
                self._next_frame()
                count += 1
        except _codec().end_of_stream:
            self._restart()
        except _codec().errors as error:
            raise VideoReadError(f"{self.name}: frame {count} cannot be decoded ({_cause(error)})") from error
        if count == 0:
            raise VideoReadError(f"{self.name}: no frame of its video stream can be decoded")
        return count


@cache
def _codec() -> SimpleNamespace:
    """
    decord and its names that are used here, imported when the first file is opened: decoded frames need no codec
    library, and the import is slow. `position_of` gives the packet number that a reader's handle stands before.
    """
    try:
        import decord
    except ImportError as error:
        raise ImportError("Decoding videos needs the decord library: `pip install decord2`.") from error
    position_of = decord.get_global_func("video_reader._CAPI_VideoReaderGetCurrentPosition")
    end_of_stream = (StopIteration, decord.DECORDLimitReachedError)
    errors = (decord.DECORDError, RuntimeError, *end_of_stream)
    return SimpleNamespace(library=decord, position_of=position_of, end_of_stream=end_of_stream, errors=errors)


def _is_mpeg_stream(head: bytes) -> bool:
    # Transport streams have the sync byte "G" every 188 bytes, those from discs 4 bytes later every 192.
    transport = head[:377:188] == b"GGG" or head[4:389:192] == b"GGG"
    return transport or head.startswith(b"\0\0\1\xba")


def _open_with_decord(file: VideoFile, num_threads: int) -> Any:
    decord = _codec().library
    # Errors are raised as exceptions; ffmpeg's own lines on stderr would repeat them.
    decord.logging.set_level(decord.logging.QUIET)
    try:
        return decord.VideoReader(file.path, num_threads=num_threads, fault_tol=_NO_SUBSTITUTED_FRAMES)
    except (decord.DECORDError, RuntimeError, AssertionError) as error:
        raise VideoReadError(f"{file.name}: {_reason_not_opened(str(error), file.head)}") from error


def _reason_not_opened(message: str, head: bytes) -> str:
    if "cannot find video stream" in message:
        return "has no video stream (sound only?)"
    # The second message: ffmpeg found no picture that tells the pixel format.
    if re.search("frame.count", message, re.IGNORECASE) or "Cannot create buffer source" in message:
        return "its video stream has no frames"
    if head[4:8] in _MP4_BOXES:
        return "incomplete MP4/MOV file: its index is missing or damaged, as when a recording or download was cut off"
    if message.startswith("Error reading"):
        return "is not a video, or is damaged from its first bytes on"
    return f"cannot be opened ({_text_of(message)})"


def _cause(error: BaseException) -> str:
    if isinstance(error, _codec().end_of_stream) or "Unable to handle EOF" in str(error):
        return "the stream ends"
    return _text_of(str(error))


def _text_of(message: str) -> str:
    """decord's message without the time, source lines and return codes around it."""
    words = re.sub(r".*\.cc:\d+:\s*", "", message.strip().splitlines()[0] if message.strip() else "unknown error")
    return (
        re.split(r"\(-?\d+ vs\. -?\d+\)\s*", words)[-1].removeprefix("Thread worker: ").rstrip(". ") or "unknown error"
    )


def _average_fps(decoder: Any) -> float | None:
    fps = decoder.get_avg_fps()
    return fps if math.isfinite(fps) and fps > 0 else None


def _without_padding(frame: Any) -> np.ndarray:
    """
    A decoded frame as `(H, W, 3)`.

    decord reads the length of a padded row as W x channels: a 48 pixels wide frame comes as (H, 48, 4), of which only
    the first 3 * 48 bytes of each row are pixels.
    """
    # Other code in the process may have set another bridge than decord's own (torch, ...).
    pixels = frame.asnumpy() if hasattr(frame, "asnumpy") else np.asarray(frame)
    height, width, channels = pixels.shape
    if channels == 3:
        return pixels
    return pixels.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)
