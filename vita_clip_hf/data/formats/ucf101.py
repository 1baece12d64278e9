"""UCF101's official splits: trainlist01.txt with `Class/v_Class_g08_c01.avi 1`, testlist01.txt, classInd.txt."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ...names import readable_class_names, words_of
from ...text_files import read_lines
from .files import VideoFiles
from .listing import ListedVideo, VideoListing, ids_by_name

CLASS_FILE = "classInd.txt"
_LIST_FILE = re.compile(r"(train|test)list0?([123])\.txt")
_SPLIT = re.compile(r"(train|test)0?([123])?")


def is_ucf101_list(path: Path) -> bool:
    """Whether this is one of the official lists, its class file beside it."""
    return _LIST_FILE.fullmatch(path.name) is not None and (path.parent / CLASS_FILE).is_file()


def read_ucf101(
    path: Path,
    split: str | None = None,
    class_names: str | os.PathLike | Sequence[str] | None = None,
    root: str | os.PathLike | None = None,
) -> VideoListing:
    """
    An official list, or the folder of all of them with `split` "train1", "test2", ... ("train" is "train1"). The class
    is that of the folder in the path, which lists of the test set have too; if a number stands after it, it must
    agree. Videos are below `root`, by default the list's folder, with or without the class folder.

    Raises:
        OSError: the list or `classInd.txt` is not there.
        ValueError: a line has no class folder, or there is no such split.
    """
    if path.is_dir():
        path = path / _file_name(path, split)
    if class_names is None:
        class_names = _read_class_file(path.parent / CLASS_FILE)
    names = [words_of(name) for name in readable_class_names(class_names)]
    ids = ids_by_name(names, path)
    files = VideoFiles(path.parent if root is None else root)
    videos = []
    for number, line in read_lines(path):
        video, *written = line.split()
        folder, _, name = video.rpartition("/")
        where = f"{path}, line {number}"
        if not folder or len(written) > 1:
            raise ValueError(f"{where}: expected 'Class/video.avi' and perhaps an id from 1, found {line!r:.120}.")
        label = ids.get(words_of(folder))
        agrees = not written or label is None or written[0] == str(label + 1)
        place = video if (files.root / folder).is_dir() else name
        videos.append(ListedVideo(files.locate(place), label if agrees else None, " ".join([folder, *written]), where))
    return VideoListing(path, names, videos, f"the folder of one of {len(names)} classes and its id, from 1")


def _file_name(folder: Path, split: str | None) -> str:
    match = _SPLIT.fullmatch(split or "")
    if match is None:
        raise ValueError(
            f"{folder} holds UCF101's splits: split must be train1, train2, train3, test1, test2 or test3, "
            f"found {split!r}."
        )
    return f"{match[1]}list0{match[2] or 1}.txt"


def _read_class_file(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}, the classes of UCF101, is not there, and no class names are given.")
    names: list[str] = []
    for number, line in read_lines(path):
        written, *name = line.split(maxsplit=1)
        if written != str(len(names) + 1) or not name:
            raise ValueError(
                f"{path}, line {number}: expected '{len(names) + 1} ClassName', ids from 1 in order, found "
                f"{line!r:.120}."
            )
        names += name
    return names
