"""
Draws of few-shot episodes as Efficient-Prompt's authors publish them: `train/split_0.list` and `test/split_0.list` for
each draw, with lines such as `HorseRace/v_HorseRace_g25_c04`, class and video without ending.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..names import readable_class_names
from ..text_files import read_lines
from .formats.files import VideoFiles
from .formats.listing import ListedVideo, VideoListing

_LIST = re.compile(r"split_(\d+)\.list")


@dataclass(frozen=True)
class Draw:
    """
    Classes, and videos of them to train on and to test on, by their numbers in a listing or a data set.

    Args:
        number: of the draw, from 0.
        classes: ids, in the order in which they are told apart.
        train, test: videos.
    """

    number: int
    classes: list[int]
    train: list[int]
    test: list[int]


def is_folder_of_draws(folder: str | os.PathLike) -> bool:
    """Whether it has lists of draws."""
    return all((Path(folder) / half / "split_0.list").is_file() for half in ("train", "test"))


def read_draws(folder: str | os.PathLike, root: str | os.PathLike) -> tuple[VideoListing, list[Draw]]:
    """
    Reads all draws of a folder.

    Args:
        folder: has `train/` and `test/` with a list for each draw.
        root: the folder of the videos, which are found by their names without ending, at any depth.

    Returns:
        All videos of all draws, each once, and the draws, whose numbers are places in that listing. A video that is
        missing keeps its expected place.

    Raises:
        OSError: a folder has no lists.
        ValueError: the two folders differ in their draws, a line is no class and video, or a video stands on both
            lists of a draw or twice on one.
    """
    folder = Path(folder)
    lists = {half: _lists_in(folder / half) for half in ("train", "test")}
    only = sorted(lists["train"].keys() ^ lists["test"].keys())
    if only:
        raise ValueError(f"{folder}: split_{only[0]}.list is not in both train/ and test/ ({len(only)} such draws).")
    lines = {half: [_read_list(path) for _, path in sorted(paths.items())] for half, paths in lists.items()}
    wheres = {line: where for of_half in lines.values() for of_draw in of_half for line, where in of_draw.items()}
    folders = sorted({line.partition("/")[0] for line in wheres})
    ids, files = {name: number for number, name in enumerate(folders)}, VideoFiles(root)
    videos = [
        ListedVideo(_locate(files, line), ids[line.partition("/")[0]], line.partition("/")[0], where)
        for line, where in wheres.items()
    ]
    places = {line: place for place, line in enumerate(wheres)}
    draws = []
    for number, (train, test) in enumerate(zip(lines["train"], lines["test"], strict=True)):
        shared = sorted(train.keys() & test.keys())
        if shared:
            raise ValueError(f"{train[shared[0]]}: {shared[0]!r} is also on the list to test on, {test[shared[0]]}.")
        classes = sorted({ids[line.partition("/")[0]] for line in (*train, *test)})
        draws.append(Draw(number, classes, [places[line] for line in train], [places[line] for line in test]))
    return VideoListing(folder, readable_class_names(folders), videos, "class/video"), draws


def _lists_in(folder: Path) -> dict[int, Path]:
    found = {int(match[1]): path for path in folder.glob("*.list") if (match := _LIST.fullmatch(path.name))}
    if sorted(found) != list(range(len(found))) or not found:
        raise FileNotFoundError(f"{folder}: expected split_0.list, split_1.list and so on; found {len(found)} lists.")
    return found


def _read_list(path: Path) -> dict[str, str]:
    """`class/video` of each line, and where it stands."""
    found: dict[str, str] = {}
    for number, line in read_lines(path):
        name, _, video = line.partition("/")
        if not name or not video or "/" in video:
            raise ValueError(f"{path}, line {number}: expected class/video, found {line!r:.120}.")
        if line in found:
            raise ValueError(f"{path}, line {number}: {line!r:.120} is there already, in {found[line]}.")
        found[line] = f"{path}, line {number}"
    if not found:
        raise ValueError(f"{path} is empty; expected a class/video on each line.")
    return found


def _locate(files: VideoFiles, line: str) -> str:
    video = line.partition("/")[2]
    found = files.locate_stem(video, os.path.splitext(video)[0])
    return found[0] if found else files.locate(line)


__all__ = ["Draw", "is_folder_of_draws", "read_draws"]
