"""Hub data sets and WebDataset shards, by `datasets`' own readers: videos come as undecoded bytes."""

import os
import re
from collections.abc import Sequence
from typing import Any

from datasets import ClassLabel, Dataset, Features, IterableDataset, Value, Video, load_dataset

from ...names import readable_class_names, words_of
from ...text_files import clean_name
from .files import VIDEO_EXTENSIONS

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_LABEL_COLUMNS = ("label", "labels", "cls", "class", "class_name", "txt", "json")


def is_hub_id(source: str) -> bool:
    """Whether `source` has the form `user/name`."""
    return _HUB_ID.fullmatch(source) is not None


def read_shards(
    source: str,
    split: str | None = None,
    class_names: str | os.PathLike | Sequence[str] | None = None,
    streaming: bool = True,
) -> Dataset | IterableDataset:
    """
    WebDataset shards: tar files, or a glob of them, with a video and a label for each key: `0001.mp4` and `0001.cls`,
    or `.txt`, or `.json` with the field `label`. Labels are ids or class names.

    Raises:
        OSError: no file is there.
        ValueError: there is no video or no label, or class names are not given.
    """
    files = {split or "train": source}
    dataset = load_dataset("webdataset", data_files=files, split=split or "train", streaming=streaming)
    return as_videos(dataset, source, class_names)


def read_hub(
    repo_id: str,
    split: str | None = None,
    class_names: str | os.PathLike | Sequence[str] | None = None,
    streaming: bool = True,
) -> Dataset | IterableDataset:
    """
    A data set on the Hub, `user/name`.

    Raises:
        OSError: there is no such repository or split, or the Hub cannot be reached.
        ValueError: it has no video or no label.
    """
    dataset = load_dataset(repo_id, split=split or "train", streaming=streaming)
    return as_videos(dataset, repo_id, class_names)


def as_videos(
    dataset: Dataset | IterableDataset, source: str, class_names: str | os.PathLike | Sequence[str] | None = None
) -> Dataset | IterableDataset:
    """
    Any data set with one column of videos and one of labels, as `video`, undecoded `{"bytes", "path"}`, and `label`
    (ClassLabel).

    Raises:
        ValueError: a column is missing, or labels have no class names.
    """
    features = dataset.features
    if features is None:
        dataset = dataset._resolve_features()
        features = dataset.features
    video, label = _video_column(features, source), _label_column(features, source)
    names = _class_names(features[label], source, class_names)
    dataset = dataset.cast_column(video, Video(decode=False))
    to_row = _ToRow(video, label, tuple(names))
    columns = Features({"video": Video(decode=False), "label": ClassLabel(names=names)})
    return dataset.map(to_row, remove_columns=list(features), features=columns)


class _ToRow:
    """A row of any data set to one of ours; a class, because workers must pickle it."""

    def __init__(self, video: str, label: str, names: tuple[str, ...]):
        self.video, self.label = video, label
        self.ids = {name: index for index, name in enumerate(names)}

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"video": self._named(row), "label": self._id_of(row)}

    def _named(self, row: dict[str, Any]) -> dict[str, Any]:
        """The video with a path for messages: some versions of `datasets` give a shard's videos as bytes alone."""
        video = row[self.video]
        if isinstance(video, dict) and not video.get("path") and "__key__" in row:
            return {**video, "path": f"{row['__key__']}.{self.video}"}
        return video

    def _id_of(self, row: dict[str, Any]) -> int:
        written = row[self.label]
        if isinstance(written, dict):
            written = written.get("label")
        if isinstance(written, bytes):
            written = written.decode("utf-8", "backslashreplace")  # other bytes are no class and shown as they are
        if isinstance(written, str):
            name = clean_name(written)
            number = int(name) if name.isdecimal() else name
            written = self.ids.get(name, self.ids.get(words_of(name), number))
        if not isinstance(written, int) or not 0 <= written < len(self.ids):
            path = (self._named(row) or {}).get("path")
            raise ValueError(
                f"{path}: expected a label from 0 to {len(self.ids) - 1} or a class name, found {written!r:.120}."
            )
        return written


def _video_column(features: Features, source: str) -> str:
    found = [name for name, feature in features.items() if isinstance(feature, Video)]
    found += [name for name in features if name not in found and f".{name.lower()}" in VIDEO_EXTENSIONS]
    if "video" in features:
        return "video"
    if len(found) != 1:
        raise ValueError(f"{source}: expected one column of videos, found the columns {', '.join(features)}.")
    return found[0]


def _label_column(features: Features, source: str) -> str:
    found = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
    found = found or [name for name in _LABEL_COLUMNS if name in features]
    if not found:
        raise ValueError(
            f"{source}: expected a column of labels, a ClassLabel or one called {', '.join(_LABEL_COLUMNS)}; found "
            f"the columns {', '.join(features)}."
        )
    return "label" if "label" in found else found[0]


def _class_names(feature: Any, source: str, class_names: str | os.PathLike | Sequence[str] | None) -> list[str]:
    if class_names is not None:
        return readable_class_names(class_names)
    if isinstance(feature, ClassLabel) and feature.names:
        return readable_class_names(feature.names)
    kind = feature.dtype if isinstance(feature, Value) else type(feature).__name__
    raise ValueError(f"{source}: its labels are of the type {kind}, which has no class names: give class_names.")
