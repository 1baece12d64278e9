"""The common form of all annotation formats: videos with their labels, and the place where each was written."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Value

from .files import check_encodable

logger = logging.getLogger(__name__)
_MOST_NAMED = 5


@dataclass(frozen=True)
class ListedVideo:
    """
    A video that an annotation names.

    Args:
        path: of the file, the root before it.
        label: id of the class; `None` if the written label is no class.
        written: the label as it stands in the annotation.
        where: file and line, for messages.
        span: start and end in seconds, if the label is about a part of the file.
    """

    path: str
    label: int | None
    written: str
    where: str
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class LeftOut:
    """
    A file of a data set's folder that is none of its videos.

    Args:
        path: of the file.
        reason: in words, of which the file is the subject.
    """

    path: str
    reason: str

    @property
    def printable_path(self) -> str:
        """The path on one line, also if it is not UTF-8."""
        return self.path.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n").replace("\r", "\\r")


@dataclass(frozen=True)
class VideoListing:
    """
    The videos of an annotation, wrong labels among them.

    Args:
        source: file or folder that was read.
        class_names: in the order of their ids.
        videos: in the order of the annotation.
        expected: the form of a label, for messages.
        left_out: files of a data set's folder that are none of its videos.
    """

    source: Path
    class_names: Sequence[str]
    videos: Sequence[ListedVideo]
    expected: str
    left_out: tuple[LeftOut, ...] = ()

    def to_dataset(self) -> Dataset:
        """
        Columns `video` (path) and `label` (ClassLabel); also `start` and `end` (seconds, or none) if any video has
        a span. Files that were left out are counted and named in a warning.

        Raises:
            ValueError: there is no video, or a label is no class.
        """
        if not self.videos:
            raise ValueError(f"{self.source} lists no video.")
        if self.left_out:
            logger.warning(self.left_out_summary)
        for video in self.videos:
            if video.label is None:
                raise ValueError(f"{video.where}: expected {self.expected}, found {video.written!r:.120}.")
            check_encodable(video.path)
        columns: dict[str, list] = {
            "video": [video.path for video in self.videos],
            "label": [video.label for video in self.videos],
        }
        features = {"video": Value("string"), "label": ClassLabel(names=list(self.class_names))}
        if any(video.span for video in self.videos):
            columns["start"] = [video.span[0] if video.span else None for video in self.videos]
            columns["end"] = [video.span[1] if video.span else None for video in self.videos]
            features |= {"start": Value("float64"), "end": Value("float64")}
        return Dataset.from_dict(columns, features=Features(features))

    @property
    def left_out_summary(self) -> str:
        """How many files were left out, and the first of them."""
        shown = "; ".join(f"{entry.printable_path} ({entry.reason})" for entry in self.left_out[:_MOST_NAMED])
        more = f"; and {len(self.left_out) - _MOST_NAMED} more" if len(self.left_out) > _MOST_NAMED else ""
        files = "1 file is" if len(self.left_out) == 1 else f"{len(self.left_out)} files are"
        return f"{self.source}: {files} left out: {shown}{more}."


def ids_by_name(class_names: Sequence[str], source: Path) -> dict[str, int]:
    """
    The id of each class name of the annotation `source`.

    Raises:
        ValueError: two classes have one name, for example if identifiers became the same words.
    """
    ids: dict[str, int] = {}
    for index, name in enumerate(class_names):
        if ids.setdefault(name, index) != index:
            raise ValueError(f"{source}: the classes {ids[name]} and {index} have the same name as words, {name!r}.")
    return ids
