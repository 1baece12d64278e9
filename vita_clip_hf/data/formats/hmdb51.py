"""HMDB51's official splits: a folder of `brush_hair_test_split1.txt` with `name.avi 1` (1 train, 2 test)."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ...names import readable_class_names, words_of
from ...text_files import read_lines
from .files import VideoFiles
from .listing import ListedVideo, VideoListing, ids_by_name

_FILE = re.compile(r"(?P<name>.+)_test_split(?P<number>[123])\.txt")
_SPLIT = re.compile(r"(train|test)([123])?")
_MARKS = {"train": "1", "test": "2"}


def is_hmdb51_folder(folder: Path) -> bool:
    """Whether the official files are in this folder."""
    return any(_FILE.fullmatch(path.name) for path in folder.glob("*_test_split?.txt"))


def read_hmdb51(
    folder: Path,
    split: str | None = None,
    class_names: str | os.PathLike | Sequence[str] | None = None,
    root: str | os.PathLike | None = None,
) -> VideoListing:
    """
    The folder of the official files, and `split` "train1", "test3", ... ("train" is "train1"). Classes are by default
    those that have a file, sorted. Videos are below `root`, by default the folder, with or without class folders.

    Raises:
        ValueError: there is no such split, or a line has another form.
    """
    match = _SPLIT.fullmatch(split or "")
    if match is None:
        raise ValueError(
            f"{folder} holds HMDB51's splits: split must be train1, train2, train3, test1, test2 or test3, "
            f"found {split!r}."
        )
    mark, number = _MARKS[match[1]], match[2] or "1"
    lists = _lists_of(folder, number)
    names = [words_of(name) for name in readable_class_names(sorted(lists) if class_names is None else class_names)]
    ids = ids_by_name(names, folder)
    files = VideoFiles(folder if root is None else root)
    videos = [
        ListedVideo(_locate(files, path, video), ids.get(name), name, where)
        for name, path in lists.items()
        for video, found_mark, where in _read_lines(path)
        if found_mark == mark
    ]
    return VideoListing(folder, names, videos, f"one of the {len(names)} class names")


def _lists_of(folder: Path, number: str) -> dict[str, Path]:
    """The file of each class, by name."""
    lists: dict[str, Path] = {}
    for path in sorted(folder.glob("*.txt")):
        found = _FILE.fullmatch(path.name)
        if found is None or found["number"] != number:
            continue
        other = lists.setdefault(words_of(found["name"]), path)
        if other != path:
            raise ValueError(f"{folder}: {other.name} and {path.name} are of one class, {words_of(found['name'])!r}.")
    if not lists:
        raise ValueError(f"{folder} has no file *_test_split{number}.txt.")
    return lists


def _locate(files: VideoFiles, path: Path, video: str) -> str:
    match = _FILE.fullmatch(path.name)
    in_class_folder = f"{match['name'] if match else ''}/{video}"
    return files.locate(in_class_folder if (files.root / in_class_folder).is_file() else video)


def _read_lines(path: Path) -> list[tuple[str, str, str]]:
    """Name, mark and place of each line."""
    rows = []
    for number, line in read_lines(path):
        name, _, mark = line.rpartition(" ")
        if not name or mark not in ("0", "1", "2"):
            raise ValueError(f"{path}, line {number}: expected 'video.avi 0|1|2', found {line!r:.120}.")
        rows.append((name.strip(), mark, f"{path}, line {number}"))
    return rows
