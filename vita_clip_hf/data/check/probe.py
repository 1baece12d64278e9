"""Decodes one file from end to end."""

from dataclasses import dataclass

from transformers.video_utils import VideoMetadata

from ...modeling.video_reading_vita_clip import VideoReader
from ..rows import reason_of, span_in_frames
from .containers import content_unlike_name

_FRAMES_AT_ONCE = 32
_SOUND_ONLY = "has no video stream"

File = tuple[str, tuple[float, float] | None]


@dataclass(frozen=True)
class Probe:
    """
    The result of decoding a file.

    Args:
        num_frames: of the file, or of the part of it that the label is about.
        error: the cause if a frame cannot be decoded, else none.
        is_sound_only: whether there is sound and no picture.
        content: the kind of the file's content if its extension names another.
    """

    num_frames: int = 0
    error: str | None = None
    is_sound_only: bool = False
    content: str | None = None


def probe_video(file: File) -> Probe:
    """Decodes every frame of `(path, (start, end) in seconds or none)`."""
    path, span = file
    content = content_unlike_name(path)
    try:
        num_frames = _decode(path, span)
    except Exception as error:  # a damaged file may raise anything, and the check goes on
        cause = reason_of(error, path) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        return Probe(error=cause, is_sound_only=cause.startswith(_SOUND_ONLY), content=content)
    return Probe(num_frames=num_frames, content=content)


def _decode(path: str, span: tuple[float, float] | None) -> int:
    reader = VideoReader(path)
    metadata = VideoMetadata(total_num_frames=reader.num_frames, fps=reader.fps)
    start, end = span or (None, None)
    first, stop = span_in_frames({"start": start, "end": end}, metadata, path)
    for begin in range(first, stop, _FRAMES_AT_ONCE):
        reader.read_frames(range(begin, min(begin + _FRAMES_AT_ONCE, stop)))
    return stop - first
