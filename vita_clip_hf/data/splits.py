"""
Draws from a seed: K videos of each class, base and novel halves of the classes, classes for episodes.

A draw orders names by the SHA-256 of `seed/name`. It depends on the seed and the names alone: not on the order of the
list, the folder of the videos, the machine, or the version of any library. Draws of K and K' > K videos are nested.
"""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256

from datasets import ClassLabel, Dataset, Features

from ..modeling.adapter_file_vita_clip import written_whole
from .rows import name_of


def draw_shots(dataset: Dataset, shots: int, seed: int) -> Dataset:
    """
    `shots` videos of each class.

    Args:
        dataset: columns `video` and `label` (ClassLabel), as `load_videos` gives it.
        shots: K.
        seed: of the draw.

    Returns:
        The rows drawn, class by class, with the features of `dataset`.

    Raises:
        ValueError: a class has fewer videos, or `shots` is below 1.
    """
    return dataset.select(_drawn_rows(dataset, shots, seed))


def base_and_novel_classes(dataset: Dataset) -> tuple[list[int], list[int]]:
    """
    The class ids of the base and the novel half: base classes are the more frequent ones, as in ViFi-CLIP's protocol;
    of an odd number of classes the base half has one more. Classes of equal size are taken in the order of their
    names. Both lists are in the order of their ids.
    """
    names, counts = dataset.features["label"].names, Counter(dataset["label"])
    by_size = sorted(range(len(names)), key=lambda label: (-counts[label], names[label]))
    num_base = (len(names) + 1) // 2
    return sorted(by_size[:num_base]), sorted(by_size[num_base:])


def draw_classes(class_names: Sequence[str], number: int, seed: int) -> list[int]:
    """
    The ids of `number` classes, in the order of their ids.

    Raises:
        ValueError: there are fewer classes.
    """
    if not 0 < number <= len(class_names):
        raise ValueError(f"There are {len(class_names)} classes to draw {number} from.")
    order = sorted(range(len(class_names)), key=lambda label: (_place(seed, class_names[label]), label))
    return sorted(order[:number])


def draw_episode(dataset: Dataset, ways: int, shots: int, seed: int) -> tuple[Dataset, Dataset]:
    """
    A draw of few-shot episodes: `ways` of the classes that have more than `shots` videos, `shots` videos of each to
    train on, and the others of the same classes to test on. Class ids become 0 to `ways - 1`.

    Raises:
        ValueError: there are fewer such classes.
    """
    counts = Counter(dataset["label"])
    names = dataset.features["label"].names
    large = [label for label in range(len(names)) if counts[label] > shots]
    if len(large) < ways:
        raise ValueError(
            f"{len(large)} of {len(names)} classes have more than {shots} videos; expected at least {ways}."
        )
    chosen = draw_classes([names[label] for label in large], ways, seed)
    of_classes = select_classes(dataset, [large[number] for number in chosen])
    drawn = _drawn_rows(of_classes, shots, seed)
    return of_classes.select(drawn), of_classes.select(sorted(set(range(len(of_classes))) - set(drawn)))


def select_classes(dataset: Dataset, classes: Sequence[int]) -> Dataset:
    """The rows of these classes, whose ids become 0, 1, ... in the order given."""
    new_ids = {label: number for number, label in enumerate(classes)}
    names = [dataset.features["label"].names[label] for label in classes]
    rows = [row for row, label in enumerate(dataset["label"]) if label in new_ids]
    columns = dataset.select(rows).to_dict()
    columns["label"] = [new_ids[label] for label in columns["label"]]
    return Dataset.from_dict(columns, features=Features({**dataset.features, "label": ClassLabel(names=names)}))


def write_list(dataset: Dataset, path: str | os.PathLike) -> None:
    """
    Writes `path,label` lines, with absolute paths, and, beside them, the class names in `NAME.classes.txt`: what
    `load_annotations` reads.

    Raises:
        ValueError: a name ends with another ending than `.csv`, or rows are about parts of files or bytes.
    """
    if not str(path).endswith(".csv"):
        raise ValueError(f"{path}: expected a name that ends with .csv.")
    if "start" in dataset.column_names or not all(isinstance(video, str) for video in dataset["video"]):
        raise ValueError("Only rows of whole files can be written as a list.")
    with written_whole(path) as file, file.open("w", encoding="utf-8", newline="") as text:
        csv.writer(text, lineterminator="\n").writerows(
            (os.path.abspath(video), label) for video, label in zip(dataset["video"], dataset["label"], strict=True)
        )
    with written_whole(f"{str(path).removesuffix('.csv')}.classes.txt") as file:
        file.write_text("".join(f"{name}\n" for name in dataset.features["label"].names), encoding="utf-8")


def _drawn_rows(dataset: Dataset, shots: int, seed: int) -> list[int]:
    if shots < 1:
        raise ValueError(f"shots must be at least 1, found {shots}.")
    names = dataset.features["label"].names
    rows: list[list[int]] = [[] for _ in names]
    for row, label in enumerate(dataset["label"]):
        rows[label].append(row)
    for name, of_class in zip(names, rows, strict=True):
        if len(of_class) < shots:
            raise ValueError(f"The class {name!r} has {len(of_class)} videos; expected at least {shots} to draw from.")
    keys = _row_keys(dataset)
    drawn = [sorted(of_class, key=lambda row: (_place(seed, keys[row]), row))[:shots] for of_class in rows]
    return [row for of_class in drawn for row in of_class]


def _row_keys(dataset: Dataset) -> list[str]:
    """For each row the name of its class and file, without folders, and its part of the file if it has one."""
    names = dataset.features["label"].names
    keys = []
    for row in dataset:
        video = os.path.basename(name_of(row))
        span = "" if row.get("start") is None else f"/{row['start']:g}-{row['end']:g}"
        keys.append(f"{names[row['label']]}/{video}{span}")
    return keys


def _place(seed: int, name: str) -> str:
    return sha256(f"{seed}/{name}".encode()).hexdigest()


__all__ = ["base_and_novel_classes", "draw_classes", "draw_episode", "draw_shots", "select_classes", "write_list"]
