"""`path,label` (the released CSV format) or `path label` on each line, label ids from 0."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...names import readable_class_names
from ...text_files import fields_of, read_lines
from .files import VIDEO_EXTENSIONS, VideoFiles, is_video_name
from .listing import ListedVideo, VideoListing

_PATH_SPACE_LABEL = re.compile(r"(?P<path>.*\S)\s+(?P<label>\S+)\s*")
_VIDEO_AND_MORE = re.compile(rf"(?:{'|'.join(map(re.escape, sorted(VIDEO_EXTENSIONS)))})[\s,;]", re.IGNORECASE)
_FIELDS = (2, 4)


def read_path_label(
    path: Path, class_names: str | os.PathLike | Sequence[str] | None = None, root: str | os.PathLike | None = None
) -> VideoListing:
    """
    A list of `path,label`, `path,label,start,end` (seconds) or `path label`. Class names are by default the lines of
    `NAME.classes.txt` beside `NAME.csv`. A name without folder is looked for below `root`, by default the list's own
    folder.

    Raises:
        OSError: the list or its class names are not there.
        ValueError: a line has another form.
    """
    names = readable_class_names(_names_beside(path) if class_names is None else class_names)
    files = VideoFiles(path.parent if root is None else root)
    videos = []
    for number, (video, written, *seconds) in _read_lines(path):
        is_id = written.isdecimal() and int(written) < len(names)
        videos.append(
            ListedVideo(
                path=files.locate(video),
                label=int(written) if is_id else None,
                written=written,
                where=f"{path}, line {number}",
                span=_read_span(path, number, seconds),
            )
        )
    return VideoListing(path, names, videos, f"a label from 0 to {len(names) - 1}")


def _names_beside(path: Path) -> Path:
    names_path = path.with_suffix(".classes.txt")
    if not names_path.is_file():
        raise FileNotFoundError(
            f"{names_path}, the class names of {path.name}, one on a line, is not there, and no class names are given."
        )
    return names_path


def _read_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line that is not blank."""
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        fields = _split(line, where)
        if len(fields) not in _FIELDS or not all(fields[:2]):
            raise ValueError(
                f"{where}: expected 'path,label' or 'path label', found {line!r:.120}. A path with a comma stands in "
                "quotes."
            )
        has_more = _VIDEO_AND_MORE.search(fields[0]) and not is_video_name(os.path.basename(fields[0]))
        if has_more or fields[0].endswith((",", ";")):
            raise ValueError(f"{where}: expected a path and one label, found {line!r:.120}.")
        yield number, fields


def _split(line: str, where: str) -> list[str]:
    if line.count("\t") + 1 in _FIELDS and "," not in line.rpartition("\t")[2]:
        return [field.strip() for field in line.split("\t")]
    # The text after a comma or quote tells whether it is a separator or belongs to a name.
    match = _PATH_SPACE_LABEL.fullmatch(line)
    try:
        fields = fields_of(line, where)
    except ValueError:
        if match is None or not match["label"].isdecimal():
            raise
        return [match["path"], match["label"]]
    if match and (len(fields) == 1 or not fields[1].replace("-", "").isalnum()):
        return [match["path"], match["label"]]
    return fields


def _read_span(path: Path, number: int, seconds: list[str]) -> tuple[float, float] | None:
    if not any(seconds):
        return None
    try:
        start, end = float(seconds[0]), float(seconds[1])
    except ValueError:
        start, end = 1.0, 0.0
    if not 0 <= start < end < math.inf:
        raise ValueError(f"{path}, line {number}: expected start and end in seconds, found {','.join(seconds)!r}.")
    return start, end
