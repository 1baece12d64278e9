"""Folders: `root/class name/video.mp4`, or `root/split/class name/video.mp4`."""

import os
from collections.abc import Sequence
from pathlib import Path

from ...names import readable_class_names, words_of
from .files import is_video_name
from .listing import ListedVideo, VideoListing, ids_by_name


def read_folders(
    folder: Path, split: str | None = None, class_names: str | os.PathLike | Sequence[str] | None = None
) -> VideoListing:
    """
    A folder for each class. Class names are by default those of the folders that hold videos, sorted, as words if they
    are identifiers (`brush_hair`).

    Raises:
        OSError: there is no folder of that split.
        ValueError: no folder holds videos.
    """
    if split is not None:
        folder = folder / split
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; split {split!r} must be one of a folder of videos.")
    by_folder = {child.name: names for child in sorted(folder.iterdir()) if (names := _video_names(child))}
    if not by_folder:
        raise ValueError(_explain_empty(folder))
    names = readable_class_names(list(by_folder) if class_names is None else class_names)
    ids = ids_by_name(names)
    words = ids_by_name([words_of(name) for name in names])
    videos = []
    for name, files in by_folder.items():
        label = ids.get(name, words.get(words_of(name)))
        videos += [ListedVideo(str(folder / name / file), label, name, str(folder / name)) for file in files]
    return VideoListing(folder, names, videos, f"a folder called like one of the {len(names)} classes")


def _video_names(folder: Path) -> list[str]:
    if not folder.is_dir() or folder.name.startswith("."):
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if is_video_name(entry.name))


def _explain_empty(folder: Path) -> str:
    message = f"{folder}: expected a folder for each class with its videos in it, and found none with a video."
    splits = [
        child.name
        for child in sorted(folder.iterdir())
        if child.is_dir() and any(_video_names(below) for below in child.iterdir() if below.is_dir())
    ]
    if splits:
        message += f" The folders below {', '.join(splits)} have some: give one of them as split."
    return message
