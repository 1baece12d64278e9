"""The videos and labels that arguments of a command stand for: files, folders, patterns, URLs, lists of names."""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LABEL_FILES = (".txt", ".csv", ".json")


@dataclass
class Inputs:
    """
    Args:
        videos: paths and URLs in the order of the arguments, each once.
        notes: a line for each thing that was left out.
    """

    videos: list[str]
    notes: list[str]


def find_videos(arguments: Sequence[str]) -> Inputs:
    """
    Args:
        arguments: each a file of any name, a folder, which is searched to any depth for files with a video's ending,
            a pattern (`clips/*.mp4`, `**` for folders of any depth), or a URL. A file that is not there is kept: it
            fails when it is read.

    Raises:
        OSError: a folder cannot be read, or there is no video at all.
        ValueError: an argument is empty.
    """
    found: dict[str, str] = {}  # by what is the same file under another spelling
    notes: list[str] = []
    num_named = 0
    for argument in arguments:
        if not argument:
            raise ValueError("An argument is empty; expected a video file, a folder, a pattern or a URL.")
        for place in _matches(argument):
            videos, left_out = _walk(place) if os.path.isdir(place) else ([place], [])
            num_named += len(videos)
            for video in videos:
                found.setdefault(video if _URL.match(video) else os.path.realpath(video), video)
            if left_out:
                examples = ", ".join(left_out[:3]) + (", ..." if len(left_out) > 3 else "")
                notes.append(f"{place}: left out {len(left_out)} without a video's ending: {examples}")
            if not videos:
                notes.append(f"{place}: no video in this folder")
    if num_named > len(found):
        notes.append(f"{num_named - len(found)} of {num_named} videos were named before and are read once")
    if not found:
        raise OSError("; ".join(notes))
    return Inputs(list(found.values()), notes)


def find_labels(values: Sequence[str]) -> list[str]:
    """
    Class names, or those of the file or the list that ships here (`k400`) which a single value names.

    Args:
        values: names; or one file of names, as [`vita_clip_hf.names.load_labels`] reads it. Names that are identifiers
            (`brush_hair`, `ApplyEyeMakeup`) are taken from a file as words, as evaluation takes them.

    Raises:
        OSError: there is no such file.
        ValueError: names are empty or repeated, or a file stands among names.
    """
    from ..data.formats.files import VIDEO_EXTENSIONS
    from ..names import known_label_lists, load_labels, readable_class_names

    if len(values) == 1:
        is_file = values[0].lower().endswith(_LABEL_FILES) or os.path.isfile(values[0])
        if is_file or values[0] in known_label_lists():
            return readable_class_names(values[0])
    for value in values:
        ending = os.path.splitext(value)[1].lower()
        if ending in VIDEO_EXTENSIONS or ending in _LABEL_FILES or os.path.isfile(value):
            raise ValueError(
                f"{value!r} among the labels is the name of a file. A file of labels stands alone; videos stand "
                "before --labels, or after --."
            )
    return load_labels(list(values))


def _matches(argument: str) -> list[str]:
    """The paths that a pattern stands for; an argument that is none, or matches nothing, as it is."""
    if _URL.match(argument) or os.path.lexists(argument):
        return [argument]
    return sorted(glob.glob(argument, recursive=True)) or [argument]


def _walk(folder: str) -> tuple[list[str], list[str]]:
    """Files below a folder that end as videos do, and what else is there, sorted. Links are followed, circles left."""
    from ..data.formats.files import files_below, is_video_name

    videos: list[str] = []
    left_out: list[str] = []
    for path in files_below(Path(folder)):
        (videos if is_video_name(os.path.basename(path)) else left_out).append(os.path.join(folder, path))
    return sorted(videos), sorted(left_out)


__all__ = ["Inputs", "find_labels", "find_videos"]
