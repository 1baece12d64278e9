"""Opens the video of a row of a data set: a path, bytes, or a part of a file."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from datasets import Dataset, IterableDataset, Video
from datasets.utils.file_utils import xopen

from ..modeling.video_reading_vita_clip import VideoReader, VideoReadError

ON_BAD_VIDEO = ("raise", "skip")


def without_decoding(dataset: Any) -> Any:
    """The data set with `datasets`' own video decoding off: frames are chosen first, and only those decoded."""
    if not isinstance(dataset, (Dataset, IterableDataset)):
        return dataset
    feature = (dataset.features or {}).get("video")
    if isinstance(feature, Video) and feature.decode:
        return dataset.cast_column("video", Video(decode=False))
    return dataset


def name_of(row: Mapping[str, Any]) -> str:
    """The video's name for messages: its path, or the number of its bytes."""
    video = row["video"]
    if isinstance(video, Mapping):
        return str(video.get("path") or f"<{len(video.get('bytes') or b'')} bytes>")
    return f"<{len(video)} bytes>" if isinstance(video, bytes) else str(os.fspath(video))


def read_row(row: Mapping[str, Any], choose: Callable[[int], Iterable[int]]) -> torch.Tensor:
    """
    Opens the video of a row once and decodes the chosen frames.

    Args:
        row: `video` as a path, bytes or `{"bytes", "path"}`; `start` and `end` in seconds if the row is about a part
            of it. Its frames are those that are on the screen between these times.
        choose: number of frames to frame numbers.

    Returns:
        uint8 `(T, 3, H, W)`.

    Raises:
        VideoReadError: the video cannot be read; the message starts with its name.
    """
    name = name_of(row)

    span = span_of(row)
    try:
        source = source_of(row["video"])
    except OSError as error:
        raise VideoReadError(f"{name}: {error}") from error
    try:
        reader = VideoReader(source)
        first, stop = frames_in_span(reader, span)
        return reader.read_frames([first + index for index in choose(stop - first)])
    except VideoReadError as error:
        # The reader names bytes by their number; the row may have their path.
        reader_name = f"<{len(source)} bytes>" if isinstance(source, bytes) else str(source)
        raise VideoReadError(f"{name}: {reason_of(error, reader_name)}") from error


def reason_of(error: OSError, name: str) -> str:
    """The cause without the name before it: a `VideoReadError` reads "name: cause"."""
    return str(error).removeprefix(f"{name}: ")


def check_on_bad_video(value: str) -> None:
    """Raises `ValueError` for a value that is neither "raise" nor "skip"."""
    if value not in ON_BAD_VIDEO:
        raise ValueError(f"on_bad_video must be 'raise' or 'skip', found {value!r}")


def source_of(video: Any) -> Any:
    """
    What a `VideoReader` opens of a row's `video`: of `datasets`' `{"bytes", "path"}` the bytes, or the path; anything
    else as it is.
    """
    if not isinstance(video, Mapping):
        return video
    if video.get("bytes") is not None:
        return video["bytes"]
    path = video["path"]
    if "://" not in path or path.lower().startswith(("http://", "https://", "file://")):
        return path
    with xopen(path, "rb") as file:  # hf://..., a file of a streamed repository
        return file.read()


def span_of(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Start and end in seconds of the row's part of the video; `None` if the row is about all of it."""
    start, end = (None if value is None or math.isnan(value) else value for value in map(row.get, ("start", "end")))
    if start is None and end is None:
        return None
    span = (start or 0.0, math.inf if end is None else end)
    if not 0 <= span[0] < span[1]:
        raise ValueError(f"{name_of(row)}: expected seconds with start before end, found {span[0]:g} and {span[1]:g}.")
    return span


def frames_in_span(reader: VideoReader, span: tuple[float, float] | None) -> tuple[int, int]:
    """First frame of a part of the video, and the one after its last; at least one frame."""
    return (0, reader.num_frames) if span is None else reader.frames_between(*span)
