"""The test videos of a protocol: lists are found and read, class names become words, missing videos are named."""

import csv
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import Dataset

from ..data.draws import Draw, is_folder_of_draws, read_draws
from ..data.formats.files import files_below, is_listed
from ..data.formats.listing import ListedVideo, VideoListing
from ..data.loading import detect_format, read_listing
from ..names import load_labels, readable_class_names
from .protocols import Protocol, TestSplit

# Annotations that are a folder, whose reader takes the split's name.
_FOLDERS_WITH_SPLITS = ("hmdb51", "ucf101")


@dataclass(frozen=True)
class TestSet:
    """
    The videos of a split.

    Args:
        name: of the split.
        rows: `video` (path), `label`, and `start` and `end` if labels are about parts of files: those that are there.
        missing: paths that the list names and that are no files.
        num_other_classes: rows of the list that are of other classes than `class_names`, and are left out.
        sources: files that the list and the class names were read from.
        differences: counts that the protocol knows and that are others here, as text.
        draws: the draws of few-shot episodes, if the list has them.
    """

    __test__ = False  # pytest collects classes called Test...

    name: str
    rows: Dataset
    missing: tuple[str, ...]
    num_other_classes: int
    sources: tuple[Path, ...]
    differences: tuple[str, ...]
    draws: tuple[Draw, ...] = ()

    @property
    def class_names(self) -> list[str]:
        """In the order of their ids."""
        return self.rows.features["label"].names


def load_test_sets(
    protocol: Protocol,
    videos: str | os.PathLike,
    list_path: str | os.PathLike | None = None,
    classes: str | os.PathLike | None = None,
    splits: Sequence[str] | None = None,
) -> list[TestSet]:
    """
    Reads the lists of a protocol.

    Args:
        protocol: says which splits there are.
        videos: the folder that paths start from; with class folders in it, it can be the list too.
        list_path: a list, a folder of lists, or the folder of the data set's own annotations; by default `videos`.
        classes: a file of class names, or a folder that has the file that the protocol names for each split.
        splits: only these of the protocol.

    Raises:
        OSError: a list, or every video of it, is not there.
        ValueError: the protocol has no such split, or a list does not follow its format.
    """
    chosen = choose_splits(protocol, splits)
    source = Path(videos if list_path is None else list_path)
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such list or folder of lists.")
    if source.is_file() and len(chosen) > 1 and classes_per_split(chosen) == 1:
        raise ValueError(
            f"{source} is one list, and the protocol {protocol.name} has the splits "
            f"{', '.join(split.name for split in chosen)}: give the folder of its lists, or --split for one of them."
        )
    if protocol.kind == "episodes" and is_folder_of_draws(source):
        return [_load_draws(chosen[0], source, Path(videos), classes, protocol.num_draws or 0)]
    _check_different(chosen, source, classes)
    test_sets = [_load(split, source, Path(videos), classes) for split in chosen]
    if protocol.kind == "base_to_novel" and len(test_sets) > 1:
        _check_disjoint(*test_sets)
    return test_sets


def choose_splits(protocol: Protocol, names: Sequence[str] | None) -> list[TestSplit]:
    """The splits of these names, in the protocol's order; by default all. Raises `ValueError` for another name."""
    known = [split.name for split in protocol.splits]
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise ValueError(f"The protocol {protocol.name} has the splits {', '.join(known)}; found {unknown[0]!r}.")
    return [split for split in protocol.splits if names is None or split.name in names]


def classes_per_split(splits: Sequence[TestSplit]) -> int:
    """How many files of classes these splits have: several choose different rows of one list."""
    return len({split.classes for split in splits})


def find_list(source: Path, split: TestSplit) -> tuple[Path, str | None]:
    """
    The list of a split, and the split's name for its reader.

    Raises:
        OSError: the folder has none of its lists.
    """
    if source.is_file():
        return source, _split_in_file(source, split)
    for name in split.lists:
        if (source / name).is_file():
            return source / name, _split_in_file(source / name, split)
    try:
        format = detect_format(source)
    except ValueError as error:
        raise FileNotFoundError(f"{source}: has no list of {split.name!r}; expected {_expected(split)}.") from error
    if format in _FOLDERS_WITH_SPLITS:
        return source, split.official[0] if split.official else None
    if format == "folder":
        folder = next((name for name in split.official if (source / name).is_dir()), None)
        if folder is not None or not split.lists:
            return source, folder
    raise FileNotFoundError(f"{source}: has no list of {split.name!r}; expected {_expected(split)}.")


def checksum(path: Path) -> str:
    """
    `sha256:...` of a file, of the lists in a folder of annotations or of draws, or of the names and sizes of the
    videos in class folders.
    """
    digest = hashlib.sha256()
    if path.is_dir() and not is_folder_of_draws(path) and detect_format(path) == "folder":
        for video in sorted(filter(is_listed, files_below(path))):
            size = os.path.getsize(path / video) if os.path.exists(path / video) else None
            digest.update(json.dumps([Path(video).as_posix(), size]).encode())
    else:
        for file in [path] if path.is_file() else sorted([*path.glob("*.txt"), *path.glob("*/split_*.list")]):
            digest.update(file.read_bytes())
    return f"sha256:{digest.hexdigest()}"


def _check_different(splits: Sequence[TestSplit], source: Path, classes: str | os.PathLike | None) -> None:
    """Raises `ValueError` if two splits are the same videos and classes, as without the files of their classes."""
    seen: dict[tuple, str] = {}
    for split in splits:
        key = (*find_list(source, split), _class_file(split, classes))
        if key in seen:
            raise ValueError(
                f"{source}: the splits {seen[key]!r} and {split.name!r} would be the same videos; give the folder of "
                f"the files of their classes ({split.classes or 'a file for each split'}) by --classes."
            )
        seen[key] = split.name


def _check_disjoint(base: TestSet, novel: TestSet) -> None:
    shared = sorted(set(base.class_names) & set(novel.class_names))
    if shared:
        raise ValueError(
            f"Base and novel classes must differ, and both have {shared[0]!r} ({len(shared)} classes); found in "
            f"{', '.join(map(str, (*base.sources, *novel.sources)))}."
        )


def _load(split: TestSplit, source: Path, videos: Path, classes: str | os.PathLike | None) -> TestSet:
    path, name_in_list = find_list(source, split)
    class_file = _class_file(split, classes)
    format = detect_format(path)
    root = None if format == "folder" else videos
    filters = format != "list" and class_file is not None  # the ids of a list are those of its class file
    listing = read_listing(
        path,
        format=format,
        split=name_in_list,
        class_names=None if class_file is None or filters else _names(class_file),
        root=root,
    )
    names = _names(class_file) if filters and class_file is not None else list(listing.class_names)
    _check_labels(listing)  # of missing videos too, which are dropped
    kept, num_other = _of_classes(listing, names, format) if filters else (list(listing.videos), 0)
    there, missing = _split_by_existence(kept)
    if not there:
        where = f"the first of {len(missing)} is expected at {missing[0]}" if missing else "it lists no video"
        raise FileNotFoundError(f"{path}: none of its videos is there; {where}.")
    rows = replace(listing, class_names=names, videos=there).to_dataset()
    sources = (path,) if class_file is None else (path, class_file)
    return TestSet(split.name, rows, tuple(missing), num_other, sources, _differences(split, names, len(kept)))


def _load_draws(
    split: TestSplit, folder: Path, videos: Path, classes: str | os.PathLike | None, number: int
) -> TestSet:
    """The published draws, the first so many, and the videos of all that are there; the draws lack the others."""
    if classes is not None:
        raise ValueError(f"{folder} has lists of draws, whose folders are the class names: leave --classes out.")
    listing, draws = read_draws(folder, videos)
    if len(draws) < number:
        raise ValueError(f"{folder} has {len(draws)} draws; expected {number}.")
    rows = {place: row for row, place in enumerate(_places_there(listing))}
    if not rows:
        raise FileNotFoundError(f"{folder}: none of its videos is there; the first: {listing.videos[0].path}.")
    there = replace(listing, videos=[listing.videos[place] for place in rows])
    found = tuple(
        replace(draw, train=[rows[p] for p in draw.train if p in rows], test=[rows[p] for p in draw.test if p in rows])
        for draw in draws[:number]
    )
    missing = tuple(video.path for place, video in enumerate(listing.videos) if place not in rows)
    return TestSet(split.name, there.to_dataset(), missing, 0, (folder,), (), found)


def _places_there(listing: VideoListing) -> list[int]:
    return [place for place, video in enumerate(listing.videos) if os.path.exists(video.path)]


def _check_labels(listing: VideoListing) -> None:
    for video in listing.videos:
        if video.label is None:
            raise ValueError(f"{video.where}: expected {listing.expected}, found {video.written!r:.120}.")


def _of_classes(listing: VideoListing, names: list[str], format: str) -> tuple[list[ListedVideo], int]:
    """The videos of some of the listing's classes, with their ids among `names`, and how many are of others."""
    ids = {name.lower(): number for number, name in enumerate(names)}
    words = [name.lower() for name in listing.class_names]
    lacking = sorted(set(ids) - set(words))
    if lacking and format != "folder":  # a class without a folder is a candidate without videos
        raise ValueError(f"{listing.source} has no class {lacking[0]!r} ({len(lacking)} of {len(ids)} are missing).")
    kept = []
    for video in listing.videos:
        label = None if video.label is None else ids.get(words[video.label])
        if label is not None:
            kept.append(ListedVideo(video.path, label, video.written, video.where, video.span))
    return kept, len(listing.videos) - len(kept)


def _split_by_existence(videos: Sequence[ListedVideo]) -> tuple[list[ListedVideo], list[str]]:
    there, missing = [], []
    for video in videos:
        if os.path.exists(video.path):
            there.append(video)
        else:
            missing.append(video.path)
    return there, missing


def _class_file(split: TestSplit, classes: str | os.PathLike | None) -> Path | None:
    if classes is None or not Path(classes).is_dir():
        return None if classes is None else Path(classes)
    if split.classes is None:
        raise ValueError(f"{classes} is a folder, and the split {split.name!r} names no file of classes in it.")
    path = Path(classes) / split.classes
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; the split {split.name!r} takes its class names from it.")
    return path


def _names(class_file: Path) -> list[str]:
    """Names as words; a list of some classes is read as words too if none of its names has several."""
    return readable_class_names(load_labels(class_file) if class_file.is_file() else str(class_file))


def _split_in_file(path: Path, split: TestSplit) -> str | None:
    """The name of the split inside a file that has several: Kinetics' CSV with a column `split`."""
    if path.suffix.lower() != ".csv":
        return None
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        if "split" not in [name.strip() for name in reader.fieldnames or ()]:
            return None
        found = {value.strip() for row in reader for name, value in row.items() if name == "split" and value}
    if len(found) < 2:
        return None
    for name in split.official:
        if name in found:
            return name
    raise ValueError(f"{path}: has the splits {', '.join(sorted(found))}; expected {' or '.join(split.official)}.")


def _differences(split: TestSplit, names: Sequence[str], num_videos: int) -> tuple[str, ...]:
    facts = [("classes", split.num_classes, len(names)), ("videos", split.num_videos, num_videos)]
    return tuple(
        f"{split.name} has {found} {what}, the protocol's {expected}"
        for what, expected, found in facts
        if expected is not None and expected != found
    )


def _expected(split: TestSplit) -> str:
    lists = " or ".join(split.lists) or "a list"
    return f"{lists}, the data set's own annotations, or a folder for each class"


__all__ = ["TestSet", "checksum", "choose_splits", "find_list", "load_test_sets"]
