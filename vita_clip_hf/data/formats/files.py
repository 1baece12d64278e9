"""Finds the files that annotations name: beside the list, in class folders, or below a split's folder."""

import os
from functools import cached_property
from pathlib import Path

VIDEO_EXTENSIONS = frozenset(
    f".{name}"
    for name in ("mp4", "m4v", "mov", "avi", "mkv", "webm", "flv", "wmv", "mpg", "mpeg", "ts", "m2ts", "3gp", "ogv")
)
# root/train/class name/file: deeper files are not the data set's.
_DEPTH = 3


class VideoFiles:
    """
    The video files below a folder. It is walked once, and only if a file is not at its path.

    Args:
        root: the folder that paths start from.
    """

    def __init__(self, root: str | os.PathLike):
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
            return frozenset(entry.name for entry in entries if not entry.is_dir())

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        files: dict[str, list[str]] = {}
        for path in self._walk():
            files.setdefault(os.path.basename(path), []).append(path)
        return files

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        files: dict[str, list[str]] = {}
        for name, paths in self._by_name.items():
            files.setdefault(os.path.splitext(name)[0], []).extend(paths)
        return files

    def _walk(self) -> list[str]:
        """Paths from the root of all video files, sorted."""
        found = []
        for folder, subfolders, names in os.walk(self.root, followlinks=True):
            below = os.path.relpath(folder, self.root)
            if below != "." and len(Path(below).parts) >= _DEPTH - 1:
                subfolders.clear()
            found += [os.path.normpath(os.path.join(below, name)) for name in names if is_video_name(name)]
        return sorted(found)


def is_video_name(name: str) -> bool:
    """Whether the extension is a video's, and the file is not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_EXTENSIONS
