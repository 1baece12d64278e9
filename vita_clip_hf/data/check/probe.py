"""Decodes one file from end to end, and one frame of it once more after a jump."""

import os
import random
from dataclasses import dataclass

import torch

from ...modeling.video_reading_vita_clip import VideoReader, VideoReadError
from ..rows import frames_in_span, reason_of
from .containers import content_unlike_name

_FRAMES_AT_ONCE = 16

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
        wrong_frame: a frame that differs after a jump from the one that is played, else none.
    """

    num_frames: int = 0
    error: str | None = None
    is_sound_only: bool = False
    content: str | None = None
    wrong_frame: int | None = None


def probe_video(file: File, seed: int = 0) -> Probe:
    """
    Decodes every frame of `(path, (start, end) in seconds or none)`, opens the file anew, jumps to one of the frames,
    drawn from `seed` and the file's name, and compares it.

    Raises:
        OSError: no file can be decoded, for example because the decoder cannot be started.
    """
    path, span = file
    content = content_unlike_name(path)
    try:
        num_frames, wrong_frame = _decode(path, span, random.Random(f"{seed} {os.path.basename(path)}"))
    except VideoReadError as error:
        cause = reason_of(error, path)
        return Probe(error=cause, is_sound_only="sound only" in cause, content=content)
    except (OSError, ImportError):  # not of this video
        raise
    except Exception as error:  # a damaged file may raise anything, and the check goes on
        return Probe(error=f"{type(error).__name__}: {error}", content=content)
    return Probe(num_frames=num_frames, content=content, wrong_frame=wrong_frame)


def _decode(path: str, span: tuple[float, float] | None, generator: random.Random) -> tuple[int, int | None]:
    """The number of frames, and the one that a jump gets wrong, if it does."""
    reader = VideoReader(path)
    first, stop = frames_in_span(reader, span)
    chosen, played = generator.randrange(first, stop), torch.empty(0)
    for begin in range(first, stop, _FRAMES_AT_ONCE):
        indices = range(begin, min(begin + _FRAMES_AT_ONCE, stop))
        frames = reader.read_frames(indices)
        if chosen in indices:
            played = frames[chosen - begin].clone()
    after_a_jump = VideoReader(path).read_frames([chosen])[0]
    return stop - first, None if torch.equal(after_a_jump, played) else chosen
