"""Finds the files that annotations name: beside the list, in class folders, or anywhere below a folder."""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from ...text_files import is_encodable

VIDEO_EXTENSIONS = frozenset(
    f".{name}"
    for name in (
        *("mp4", "m4v", "mov", "3gp", "3g2", "avi", "divx", "mkv", "webm", "flv", "f4v", "wmv", "asf"),
        *("mpg", "mpeg", "vob", "ts", "mts", "m2ts"),
    )
)
# What systems leave in folders.
_SYSTEM_NAMES = frozenset(
    ("__macosx", "@eadir", "thumbs.db", "desktop.ini", "lost+found", "$recycle.bin", "system volume information")
)


class VideoFiles:
    """
    The video files below a folder, at any depth. It is walked once, and only if a file is not at its path.

    Args:
        root: the folder that paths start from.

    Raises:
        ValueError: the folder's name is not UTF-8, which paths in a data set must be.
    """

    def __init__(self, root: str | os.PathLike):
        check_encodable(root)
        self.root = Path(root)

    def locate(self, path: str) -> str:
        """
        `root/path`; for a name without folder that is not in `root` itself, the file of that name in a folder below.
        A missing file keeps its expected place, and fails when it is read.

        Raises:
            ValueError: files of that name are in several folders.
        """
        if os.path.dirname(path) or path in self._beside:
            return str(self.root / path)
        return self._only(self._by_name.get(path, []), path) or str(self.root / path)

    def locate_stem(self, *stems: str) -> tuple[str, str] | None:
        """Path and stem of the first of these names, without extension, that is a file; `None` if none is."""
        for stem in stems:
            found = self._only(self._by_stem.get(stem, []), stem)
            if found is not None:
                return found, stem
        return None

    def _only(self, paths: list[str], name: str) -> str | None:
        if len(paths) > 1:
            raise ValueError(
                f"{self.root} has {len(paths)} files called {name}: {paths[0]}, {paths[1]}. Give the folder that the "
                "list means as root, or write paths with folders."
            )
        return str(self.root / paths[0]) if paths else None

    @cached_property
    def _beside(self) -> frozenset[str]:
        """Names of the files in the root itself."""
        if not self.root.is_dir():
            return frozenset()
        with os.scandir(self.root) as entries:
            return frozenset(entry.name for entry in entries if not is_folder(entry))

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        files: dict[str, list[str]] = {}
        for path in sorted(files_below(self.root)) if self.root.is_dir() else ():
            if is_listed(path):
                files.setdefault(os.path.basename(path), []).append(path)
        return files

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        files: dict[str, list[str]] = {}
        for name, paths in self._by_name.items():
            files.setdefault(os.path.splitext(name)[0], []).extend(paths)
        return files


def files_below(folder: Path) -> Iterator[str]:
    """
    Paths from `folder` of all files below it, hidden ones too. Links to folders are followed, but not to a folder that
    the link itself lies in, be it above `folder`.

    Raises:
        OSError: a folder cannot be read.
    """
    above = [parent.stat() for parent in folder.absolute().parents]
    yield from _walk(folder, "", tuple((status.st_dev, status.st_ino) for status in above))


def is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry of a folder is a folder, or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _walk(folder: Path, below: str, ancestors: tuple[tuple[int, int], ...]) -> Iterator[str]:
    status = (folder / below).stat()
    identity = (status.st_dev, status.st_ino)
    if identity in ancestors:
        return
    with os.scandir(folder / below) as entries:
        children = [(entry.name, is_folder(entry)) for entry in entries]
    for name, has_children in children:
        path = os.path.join(below, name)
        if not has_children:
            yield path
        elif name.lower() not in _SYSTEM_NAMES:
            yield from _walk(folder, path, (*ancestors, identity))


def is_video_name(name: str) -> bool:
    """Whether the extension is a video's, and the file is not hidden."""
    return not name.startswith(".") and has_video_extension(name)


def has_video_extension(name: str) -> bool:
    """Whether the extension is a video's, in capitals or not."""
    return os.path.splitext(name)[1].lower() in VIDEO_EXTENSIONS


def is_listed(path: str) -> bool:
    """Whether a file of a data set's folder is one of its videos: its extension says so, and nothing is hidden."""
    return has_video_extension(path) and not is_hidden(path) and is_encodable(path) and not has_line_break(path)


def has_line_break(path: str) -> bool:
    """Whether a list of paths, one on a line, cannot hold this one."""
    return "\n" in path or "\r" in path


def is_hidden(path: str) -> bool:
    """Whether a part of the path begins with a dot, or is what systems leave in folders."""
    return any(part.startswith(".") or part.lower() in _SYSTEM_NAMES for part in Path(path).parts)


def check_encodable(path: str | os.PathLike) -> None:
    """Raises `ValueError` if a path is not UTF-8."""
    if not is_encodable(str(path)):
        raise ValueError(f"{str(path)!a}: the name is not UTF-8, which paths in a data set must be; rename it.")
