"""Annotation lists become a `datasets.Dataset` with the columns `video` (a path) and `label` (a ClassLabel)."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Value


def load_annotations(
    path: str | os.PathLike, class_names: Sequence[str] | None = None, root: str | os.PathLike | None = None
) -> Dataset:
    """
    Reads a list of videos: `path,label` (the released CSV format) or `path label` on each line, label ids from 0.

    Args:
        path: the list.
        class_names: in the order of their ids; by default the lines of `NAME.classes.txt` beside `NAME.csv`.
        root: the folder that video paths start from; by default the list's own.

    Returns:
        A dataset with `video`, paths that are absolute where `root` is, and `label`.

    Raises:
        OSError: the list or its class names are not there.
        ValueError: a line has no label, or one that is not an id of a class; the message has file and line.
    """
    path = Path(path)
    names = list(class_names) if class_names is not None else _read_class_names(path)
    root = path.parent if root is None else Path(root)
    videos, labels = [], []
    for line_number, video, label in _read_lines(path):
        if not label.isdecimal() or int(label) >= len(names):
            raise ValueError(
                f"{path}, line {line_number}: expected a label from 0 to {len(names) - 1}, found {label!r}."
            )
        videos.append(str(root / video))
        labels.append(int(label))
    if not videos:
        raise ValueError(f"{path} lists no video.")
    features = Features({"video": Value("string"), "label": ClassLabel(names=names)})
    return Dataset.from_dict({"video": videos, "label": labels}, features=features)


def _read_class_names(path: Path) -> list[str]:
    names_path = path.with_suffix(".classes.txt")
    if not names_path.is_file():
        raise FileNotFoundError(f"{names_path}, the class names of {path.name}, one on a line, is not there.")
    return [name for line in names_path.read_text(encoding="utf-8").splitlines() if (name := line.strip())]


def _read_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number, video and label of each line that is not blank."""
    with path.open(encoding="utf-8", newline="") as file:
        for number, fields in enumerate(csv.reader(file), start=1):
            if not fields or fields == [""]:
                continue
            if len(fields) == 1:
                fields = fields[0].rsplit(maxsplit=1)
            if len(fields) != 2:
                raise ValueError(f"{path}, line {number}: expected 'path,label' or 'path label', found {fields}.")
            yield number, fields[0].strip(), fields[1].strip()
