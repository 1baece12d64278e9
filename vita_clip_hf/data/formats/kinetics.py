"""Kinetics' CSV files: the columns label, youtube_id, time_start, time_end and, mostly, split."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from ...names import readable_class_names
from .files import VideoFiles
from .listing import ListedVideo, VideoListing, ids_by_name

COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def is_kinetics_header(line: str) -> bool:
    """Whether a CSV file that starts with this line has Kinetics' columns."""
    return {name.strip() for name in line.split(",")} >= set(COLUMNS) - {"label"}


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
        ValueError: columns are missing, a time is no number, or no row is of the split.
    """
    rows = _read_rows(path)
    if class_names is None:
        class_names = sorted({row["label"] for _, row in rows})
    names = readable_class_names(class_names)
    ids = ids_by_name(names)
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
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        columns = [name.strip() for name in reader.fieldnames or []]
        missing = [name for name in COLUMNS if name not in columns]
        if missing:
            raise ValueError(
                f"{path}: expected the columns {', '.join(COLUMNS)}; {', '.join(missing)} not among "
                f"{', '.join(columns)}."
            )
        rows = []
        for row in reader:
            values = {name.strip(): (value or "").strip() for name, value in row.items() if name is not None}
            rows.append((reader.line_num, {"split": "", **values}))
        return rows


def _listed(row: dict[str, str], ids: dict[str, int], files: VideoFiles, where: str) -> ListedVideo:
    try:
        start, end = float(row["time_start"]), float(row["time_end"])
    except ValueError as error:
        raise ValueError(f"{where}: expected times in seconds, found {error}.") from error
    trimmed = f"{row['youtube_id']}_{round(start):06d}_{round(end):06d}"
    found = files.locate_stem(trimmed, row["youtube_id"])
    path, stem = found or (str(files.root / f"{trimmed}.mp4"), trimmed)
    label = row["label"]
    span = None if stem == trimmed else (start, end)
    return ListedVideo(path, ids.get(label), label, where, span)
