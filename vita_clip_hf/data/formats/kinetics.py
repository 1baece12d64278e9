"""Kinetics' CSV files: the columns label, youtube_id, time_start, time_end and, mostly, split."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from ...names import readable_class_names, words_of
from ...text_files import clean_name, fields_of, read_table
from .files import VideoFiles
from .listing import ListedVideo, VideoListing, ids_by_name

COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def is_kinetics_header(line: str) -> bool:
    """Whether a CSV file that starts with this line has Kinetics' columns."""
    try:
        return set(fields_of(line, "")) >= set(COLUMNS) - {"label"}
    except ValueError:
        return False


def read_kinetics(
    path: Path,
    split: str | None = None,
    class_names: str | os.PathLike | Sequence[str] | None = None,
    root: str | os.PathLike | None = None,
) -> VideoListing:
    """
    A Kinetics CSV. The file of a row is `{youtube_id}_{time_start:06d}_{time_end:06d}` with any video extension,
    anywhere up to three folders below `root` (default: the CSV's folder); or `{youtube_id}`, the whole video, of which
    the row is a span. A missing file keeps its expected name: videos vanish from YouTube, and readers of videos
    decide what to do about them.

    Args:
        split: only rows of this split; by default all.
        class_names: by default all labels of the file, sorted, whatever the split.

    Raises:
        ValueError: columns are missing, a line has more or fewer fields, a time is no number, or no row is of the
            split.
    """
    rows = _read_rows(path)
    if class_names is None:
        class_names = sorted({row["label"] for _, row in rows})
    names = readable_class_names(class_names)
    ids = ids_by_name(names, path)
    files = VideoFiles(path.parent if root is None else root)
    videos = [
        _listed(row, ids, files, f"{path}, line {number}")
        for number, row in rows
        if split is None or row["split"] == split
    ]
    if not videos:
        splits = sorted({row["split"] or "(none)" for _, row in rows})
        raise ValueError(f"{path} has no row of the split {split!r}; it has {', '.join(splits) or 'no rows'}.")
    return VideoListing(path, names, videos, f"one of the {len(names)} class names")


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    rows = []
    for number, row in read_table(path, COLUMNS):
        empty = [name for name in COLUMNS if not row[name]]
        if empty:
            raise ValueError(f"{path}, line {number}: expected a value for {', '.join(empty)}, found none.")
        rows.append((number, {"split": "", **row, "label": clean_name(row["label"])}))
    return rows


def _listed(row: dict[str, str], ids: dict[str, int], files: VideoFiles, where: str) -> ListedVideo:
    try:
        start, end = float(row["time_start"]), float(row["time_end"])
    except ValueError as error:
        raise ValueError(f"{where}: expected times in seconds, found {error}.") from error
    if not 0 <= start < end < math.inf:
        raise ValueError(f"{where}: expected seconds with time_start before time_end, found {start:g} and {end:g}.")
    trimmed = f"{row['youtube_id']}_{round(start):06d}_{round(end):06d}"
    found = files.locate_stem(trimmed, row["youtube_id"])
    path, stem = found or (str(files.root / f"{trimmed}.mp4"), trimmed)
    label = row["label"]
    span = None if stem == trimmed else (start, end)
    return ListedVideo(path, ids.get(label, ids.get(words_of(label))), label, where, span)
