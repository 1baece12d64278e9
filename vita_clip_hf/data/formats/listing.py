"""The common form of all annotation formats: videos with their labels, and the place where each was written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Value


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
class VideoListing:
    """
    The videos of an annotation, wrong labels among them.

    Args:
        source: file or folder that was read.
        class_names: in the order of their ids.
        videos: in the order of the annotation.
        expected: the form of a label, for messages.
    """

    source: Path
    class_names: Sequence[str]
    videos: Sequence[ListedVideo]
    expected: str

    def to_dataset(self) -> Dataset:
        """
        Columns `video` (path) and `label` (ClassLabel); also `start` and `end` (seconds, or none) if any video has
        a span.

        Raises:
            ValueError: there is no video, or a label is no class.
        """
        if not self.videos:
            raise ValueError(f"{self.source} lists no video.")
        for video in self.videos:
            if video.label is None:
                raise ValueError(f"{video.where}: expected {self.expected}, found {video.written!r}.")
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


def ids_by_name(class_names: Sequence[str]) -> dict[str, int]:
    """The id of each class name."""
    return {name: index for index, name in enumerate(class_names)}
