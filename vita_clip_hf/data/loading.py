"""One way in for every data set: lists, folders, Hub data sets and shards."""

import os
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, IterableDataset

from ..text_files import read_lines
from .formats.files import is_video_name
from .formats.folders import read_folders
from .formats.hmdb51 import is_hmdb51_folder, read_hmdb51
from .formats.kinetics import is_kinetics_header, read_kinetics
from .formats.listing import VideoListing
from .formats.path_label import read_path_label
from .formats.something_something import read_something_something
from .formats.streams import is_hub_id, read_hub, read_shards
from .formats.ucf101 import CLASS_FILE, is_ucf101_list, read_ucf101

FORMATS = {
    "list": "path,label or path label on each line, ids from 0",
    "kinetics": "CSV with label, youtube_id, time_start, time_end, split",
    "ssv2": "JSON list of id, template (Something-Something v2)",
    "ucf101": "trainlist01.txt, or the folder of these lists",
    "hmdb51": "the folder of *_test_split1.txt",
    "folder": "root/class name/video.mp4",
    "webdataset": "tar files",
    "hub": "user/name on the Hub",
}
_LIST_ENDINGS = (".csv", ".tsv", ".txt", ".list", ".json")
_STREAMS = ("webdataset", "hub")
# More shards than there are workers, so that each has its own; a shard is a range of rows.
_STREAM_SHARDS = 64


def load_videos(
    source: str | os.PathLike,
    *,
    format: str = "auto",
    split: str | None = None,
    class_names: str | os.PathLike | Sequence[str] | None = None,
    root: str | os.PathLike | None = None,
    streaming: bool = False,
) -> Dataset | IterableDataset:
    """
    Reads any data set of labelled videos.

    Args:
        source: a list, a folder, tar files (a path or a glob), or a data set on the Hub.
        format: one of `FORMATS`; "auto" detects it.
        split: of a source that has several: "train", "test2", ...; see the format.
        class_names: names in the order of their ids, or a file of them (text, `id,name` CSV, JSON), or the name of a
            list that ships ("k400"). Identifiers (`ApplyEyeMakeup`, `brush_hair`) become words.
        root: the folder that video paths start from; by default that of the list.
        streaming: whether to read row by row; tar files and the Hub then download nothing in advance.

    Returns:
        Columns `video` (a path, or undecoded `{"bytes", "path"}`) and `label` (ClassLabel); also `start` and `end` in
        seconds if labels are about parts of files.

    Raises:
        OSError: a file is not there.
        ValueError: the format is not known, or the source does not follow it; the message has file and line.
    """
    format = detect_format(source) if format == "auto" else format
    if format in _STREAMS:
        _refuse_root(root, format)
        read = read_shards if format == "webdataset" else read_hub
        return read(_tar_pattern(str(source)), split, class_names, streaming)
    dataset = read_listing(source, format=format, split=split, class_names=class_names, root=root).to_dataset()
    return dataset.to_iterable_dataset(num_shards=min(len(dataset), _STREAM_SHARDS)) if streaming else dataset


def load_annotations(
    path: str | os.PathLike,
    class_names: str | os.PathLike | Sequence[str] | None = None,
    root: str | os.PathLike | None = None,
) -> Dataset:
    """
    Reads a list of `path,label` (the released CSV format) or `path label`: `load_videos` with the format "list".

    Args:
        path: the list.
        class_names: in the order of their ids; by default the lines of `NAME.classes.txt` beside `NAME.csv`.
        root: the folder that video paths start from; by default the list's own.

    Returns:
        A dataset with `video`, paths that are absolute if `root` is, and `label`.

    Raises:
        OSError: the list or its class names are not there.
        ValueError: a line has no label, or one that is not an id of a class; the message has file and line.
    """
    return read_path_label(Path(path), class_names, root).to_dataset()


def read_listing(
    source: str | os.PathLike,
    *,
    format: str = "auto",
    split: str | None = None,
    class_names: str | os.PathLike | Sequence[str] | None = None,
    root: str | os.PathLike | None = None,
) -> VideoListing:
    """As `load_videos`, for videos that are files: with the place of each in the annotation, and with wrong labels."""
    format = detect_format(source) if format == "auto" else format
    path = Path(source)
    if format in ("list", "ssv2") and split is not None:
        raise ValueError(f"{path}: a source of the format {format!r} is one split; split must not be given.")
    if format == "list":
        return read_path_label(path, class_names, root)
    if format == "kinetics":
        return read_kinetics(path, split, class_names, root)
    if format == "ssv2":
        return read_something_something(path, class_names, root)
    if format == "ucf101":
        return read_ucf101(path, split, class_names, root)
    if format == "hmdb51":
        return read_hmdb51(path, split, class_names, root)
    if format == "folder":
        _refuse_root(root, format)
        return read_folders(path, split, class_names)
    if format in _STREAMS:
        raise ValueError(f"{source}: the format {format!r} is no list of files.")
    raise ValueError(f"format must be 'auto' or one of {_described()}; found {format!r}.")


def detect_format(source: str | os.PathLike) -> str:
    """
    The format of a source, by its name and first line.

    Raises:
        OSError: it is no file, folder, glob of tar files or Hub id.
        ValueError: it is of no known format; the message says what was found.
    """
    path = Path(source)
    if path.is_dir():
        return _format_of_folder(path)
    if path.is_file():
        return _format_of_file(path)
    if path.suffix == ".tar":
        return "webdataset"
    if is_hub_id(str(source)) and path.suffix.lower() not in _LIST_ENDINGS:
        return "hub"
    raise FileNotFoundError(
        f"{source}: no such file or folder, and neither tar files nor user/name on the Hub. Formats: {_described()}."
    )


def _format_of_folder(folder: Path) -> str:
    if is_hmdb51_folder(folder):
        return "hmdb51"
    if (folder / CLASS_FILE).is_file():
        return "ucf101"
    if any(child.is_dir() for child in folder.iterdir()):
        return "folder"
    if any(folder.glob("*.tar")):
        return "webdataset"
    files = sorted(child.name for child in folder.iterdir())
    found = f"files such as {', '.join(files[:3])}" if files else "nothing"
    raise ValueError(f"{folder}: expected one of the formats {_described()}; found a folder with {found}.")


def _format_of_file(path: Path) -> str:
    if path.suffix.lower() == ".tar":
        return "webdataset"
    if path.suffix.lower() == ".json":
        return "ssv2"
    if is_ucf101_list(path):
        return "ucf101"
    line = _first_line(path)
    if is_kinetics_header(line):
        return "kinetics"
    if not line:
        raise ValueError(f"{path} is empty; expected one of the formats {_described()}.")
    before, *label = line.rsplit(maxsplit=1)
    if "," in line or (label and label[0].isdecimal() and is_video_name(os.path.basename(before))):
        return "list"
    raise ValueError(
        f"{path}: expected one of the formats {_described()}; found {line!r:.120} as the first line. "
        "(A list of class names alone is what class_names takes.)"
    )


def _first_line(path: Path) -> str:
    try:
        return next((line for _, line in read_lines(path)), "")
    except ValueError as error:
        raise ValueError(f"{path}: expected one of the formats {_described()}. {error}") from error


def _tar_pattern(source: str) -> str:
    return str(Path(source) / "*.tar") if Path(source).is_dir() else source


def _refuse_root(root: str | os.PathLike | None, format: str) -> None:
    if root is not None:
        raise ValueError(f"root is for lists of paths; the format {format!r} has none.")


def _described() -> str:
    return "; ".join(f"{name} ({what})" for name, what in FORMATS.items())
