"""Folders: `root/class name/video.mp4`, or `root/split/class name/video.mp4`; videos of a class at any depth."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...names import readable_class_names, words_of
from ...text_files import clean_name, is_encodable
from .files import (
    VIDEO_EXTENSIONS,
    check_encodable,
    files_below,
    has_line_break,
    has_video_extension,
    is_folder,
    is_hidden,
    is_listed,
)
from .listing import LeftOut, ListedVideo, VideoListing, ids_by_name

logger = logging.getLogger(__name__)
_LAYOUT = "ROOT/class name/video.mp4, or with split ROOT/split/class name/video.mp4"
# Folders of such names, one beside the other, are splits and no classes.
_SPLIT_NAMES = frozenset(
    ("train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval", "evaluation")
)


@dataclass
class _Folder:
    """A folder on the level of classes: paths of its videos, from that folder, and the files that are none."""

    videos: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def has_subfolders_only(self) -> bool:
        return bool(self.videos) and all(os.path.dirname(path) for path in self.videos)


def read_folders(
    folder: Path, split: str | None = None, class_names: str | os.PathLike | Sequence[str] | None = None
) -> VideoListing:
    """
    A folder for each class, its videos anywhere below it. Class names are by default those of the folders, sorted, as
    words if they are identifiers (`brush_hair`); with `split` also those of the other splits, so that all have the
    same ids. Files that are no videos are named in the listing's `left_out`.

    Raises:
        OSError: there is no folder of that split.
        ValueError: folders are not laid out so, or a folder on the level of classes has no video and is no class.
    """
    check_encodable(folder)
    base = folder if split is None else _folder_of_split(folder, split)
    surveyed = _survey(base)
    stray = _stray_files(base)
    _check_layout(base, surveyed, stray, split)
    _warn_if_deep(base, surveyed)
    found = [name for name, content in surveyed.items() if content.videos]
    if class_names is None:
        written = sorted({*found, *(_classes_of_other_splits(folder, split) if split else ())})
        cleaned = [clean_name(name) for name in written]
        ids_by_name(cleaned, base)  # names that differ in blanks or in the form of an accent alone
        names = readable_class_names(cleaned)
    else:
        names = readable_class_names(class_names)
    ids, words = ids_by_name(names, base), ids_by_name([words_of(name) for name in names], base)
    labels = {name: ids.get(clean_name(name), words.get(words_of(clean_name(name)))) for name in surveyed}
    if class_names is None:
        _check_no_class_is_empty(base, surveyed, labels)
    videos = [
        ListedVideo(str(base / name / path), labels[name], name, str(base / name))
        for name, content in surveyed.items()
        for path in content.videos
    ]
    left_out = stray + _hidden_videos(base) + [entry for content in surveyed.values() for entry in content.left_out]
    return VideoListing(base, names, videos, f"a folder called like one of the {len(names)} classes", tuple(left_out))


def _folder_of_split(folder: Path, split: str) -> Path:
    base = folder / split
    if not base.is_dir():
        there = ", ".join(_folder_names(folder)) or "no folder"
        raise FileNotFoundError(
            f"{base}: no such folder; split {split!r} must be one of a folder of videos, which has {there}."
        )
    return base


def _folder_names(folder: Path) -> list[str]:
    """Names of the folders in a folder that are not hidden, sorted."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if is_folder(entry) and not is_hidden(entry.name))


def _survey(base: Path) -> dict[str, _Folder]:
    """The folders on the level of classes, by name."""
    surveyed = {}
    for name in _folder_names(base):
        check_encodable(base / name)
        content = surveyed[name] = _Folder()
        for path in sorted(files_below(base / name)):
            if is_listed(path):
                content.videos.append(path)
            elif has_video_extension(path) or not is_hidden(path):
                content.left_out.append(LeftOut(str(base / name / path), _reason(path)))
    return surveyed


def _stray_files(base: Path) -> list[LeftOut]:
    """Files beside the class folders."""
    with os.scandir(base) as entries:
        names = sorted(entry.name for entry in entries if not is_folder(entry))
    names = [name for name in names if has_video_extension(name) or not is_hidden(name)]
    return [LeftOut(str(base / name), "stands in no class folder") for name in names]


def _hidden_videos(base: Path) -> list[LeftOut]:
    """Videos in hidden folders on the level of classes; not what systems put there."""
    with os.scandir(base) as entries:
        names = sorted(entry.name for entry in entries if is_folder(entry) and entry.name.startswith("."))
    paths = [base / name / path for name in names for path in files_below(base / name) if has_video_extension(path)]
    return [LeftOut(str(path), "is hidden") for path in sorted(paths)]


def _reason(path: str) -> str:
    if not is_encodable(path):
        return "its name is not UTF-8"
    if has_line_break(path):
        return "its name has a line break"
    if is_hidden(path):
        return "is hidden"
    return f"its ending {os.path.splitext(path)[1] or '(none)'} is not one of a video"


def _check_layout(base: Path, surveyed: dict[str, _Folder], stray: list[LeftOut], split: str | None) -> None:
    with_videos = {name: content for name, content in surveyed.items() if content.videos}
    stray_videos = [Path(entry.path).name for entry in stray if has_video_extension(entry.path)]
    num_videos = sum(len(content.videos) for content in with_videos.values())
    if not with_videos:
        raise ValueError(_explain_nothing(base, surveyed, stray, stray_videos))
    splits = [name for name in with_videos if name.lower() in _SPLIT_NAMES]
    if split is None and splits:
        nested = [name for name in splits if any(os.path.dirname(path) for path in with_videos[name].videos)]
        if nested or len(splits) == len(with_videos):
            raise ValueError(
                f"{base}: expected {_LAYOUT}, and found {', '.join(splits)}, which are called like splits: give one "
                "of them as split, or its folder as the source."
            )
    if len(with_videos) == 1 and next(iter(with_videos.values())).has_subfolders_only:
        (name,) = with_videos
        raise ValueError(
            f"{base}: expected {_LAYOUT}, and found videos only in folders below {name}: give {base / name} as the "
            "source if those are the classes."
        )
    if stray_videos and (len(with_videos) == 1 or len(stray_videos) > num_videos):
        raise ValueError(
            f"{base}: expected {_LAYOUT}, and found {len(stray_videos)} videos in no class folder "
            f"({_some(stray_videos)}) beside {num_videos} in {_some(list(with_videos))}."
        )


def _warn_if_deep(base: Path, surveyed: dict[str, _Folder]) -> None:
    with_videos = [name for name, content in surveyed.items() if content.videos]
    if all(surveyed[name].has_subfolders_only for name in with_videos):
        logger.warning(
            f"{base}: all videos are in folders below {_some(with_videos)}, which are taken for the classes. If they "
            "are splits, give one of them as split."
        )


def _explain_nothing(base: Path, surveyed: dict[str, _Folder], stray: list[LeftOut], stray_videos: list[str]) -> str:
    message = f"{base}: expected {_LAYOUT}, and found no video in a folder"
    if stray_videos:
        return f"{message}, but {len(stray_videos)} in {base.name} itself ({_some(stray_videos)})."
    left_out = stray + _hidden_videos(base) + [entry for content in surveyed.values() for entry in content.left_out]
    if left_out:
        message += f", but other files ({_some([os.path.relpath(entry.path, base) for entry in left_out])})"
    return f"{message}. Endings of videos are {', '.join(sorted(VIDEO_EXTENSIONS))}."


def _check_no_class_is_empty(base: Path, surveyed: dict[str, _Folder], labels: dict[str, int | None]) -> None:
    for name, content in surveyed.items():
        if labels[name] is None:
            files = [os.path.basename(entry.path) for entry in content.left_out]
            found = f"other files ({_some(files)})" if files else "no file"
            raise ValueError(
                f"{base / name}: expected a class folder with videos in it, and found {found}. Endings of videos are "
                f"{', '.join(sorted(VIDEO_EXTENSIONS))}. Move the folder away, or give class_names without it."
            )


def _classes_of_other_splits(folder: Path, split: str) -> set[str]:
    """Folders with a video in the folders that are called like splits."""
    others = [name for name in _folder_names(folder) if name != split and name.lower() in _SPLIT_NAMES]
    return {
        name
        for other in others
        for name in _folder_names(folder / other)
        if is_encodable(name) and any(is_listed(path) for path in files_below(folder / other / name))
    }


def _some(names: Sequence[str]) -> str:
    """The first few of some names, and the number of the others."""
    shown = ", ".join(name.encode("utf-8", "backslashreplace").decode() for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
