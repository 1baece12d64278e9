"""
Class names of data sets, in the order of their ids: lists that ship (`labels/k400.txt` is Kinetics-400's), files, and
identifiers as words. CLIP reads "apply eye makeup"; data sets also write ApplyEyeMakeup and brush_hair.
"""

import csv
import json
import os
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from .modeling.configuration_vita_clip import check_label_names

_LISTS = files(__package__) / "labels"
_WORD = r"[A-Z][a-z]+|[A-Z]+(?![a-z])"
_CAMEL_CASE = re.compile(rf"(?=.*[a-z])(?:{_WORD})+")


def known_label_lists() -> list[str]:
    """The names of the lists that ship with the package."""
    return sorted(entry.name.removesuffix(".txt") for entry in _LISTS.iterdir() if entry.name.endswith(".txt"))


def load_labels(source: str | os.PathLike | Sequence[str]) -> list[str]:
    """
    Class names in the order of their ids.

    Args:
        source: the name of a list that ships with the package (`"k400"`); a file with a name on each line, a `.csv`
            with the columns `id` and `name`, or a `.json` list; or the names themselves.

    Raises:
        OSError: no such list or file.
        ValueError: the file is not in such a form, or names are empty or repeated.
    """
    if not isinstance(source, (str, os.PathLike)):
        labels = list(source)
    elif str(source) in known_label_lists():
        labels = _LISTS.joinpath(f"{source}.txt").read_text(encoding="utf-8").splitlines()
    else:
        labels = _read(Path(source))
    check_label_names(labels)
    return labels


def words_of(name: str) -> str:
    """`ApplyEyeMakeup` and `apply_eye_makeup` as "apply eye makeup"; other names without the blanks around them."""
    name = name.strip()
    if _CAMEL_CASE.fullmatch(name):
        return " ".join(re.findall(_WORD, name)).lower()
    return " ".join(name.replace("_", " ").split()) if "_" in name else name


def readable_class_names(source: str | os.PathLike | Sequence[str]) -> list[str]:
    """
    Class names in the order of their ids, as words if they are identifiers: if no name of the list has a space and at
    least one is of several words (`ApplyEyeMakeup`, `brush_hair`). Names with spaces stay as they are.

    Args:
        source: what [`load_labels`] takes: names, a file of names, or a list that ships.

    Raises:
        OSError: no such file.
        ValueError: names are empty or repeated.
    """
    names = load_labels(source)
    words = [words_of(name) for name in names]
    are_identifiers = not any(" " in name for name in names) and any(" " in name for name in words)
    return load_labels(words) if are_identifiers else names


def _read(path: Path) -> list[str]:
    if not path.is_file():
        known = ", ".join(known_label_lists())
        raise OSError(f"{path}: no such list of labels; expected a file, or one of those that ship here: {known}.")
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".json":
        return _read_json(path, text)
    if path.suffix == ".csv":
        return _read_csv(path, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _read_json(path: Path, text: str) -> list[str]:
    try:
        labels = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(labels, list):
        raise ValueError(f"{path} holds a {type(labels).__name__}; expected a list of names.")
    return labels


def _read_csv(path: Path, text: str) -> list[str]:
    rows = list(csv.DictReader(text.splitlines()))
    if not rows or not {"id", "name"} <= rows[0].keys():
        raise ValueError(
            f"{path}: expected the columns id and name, found {', '.join(rows[0]) if rows else 'no row'}."
        )
    by_id = {row["id"]: row["name"] for row in rows}
    ids = [str(index) for index in range(len(rows))]
    if set(by_id) != set(ids):
        raise ValueError(f"{path}: expected the ids 0 to {len(rows) - 1}, each once.")
    return [by_id[index] for index in ids]


__all__ = ["known_label_lists", "load_labels", "readable_class_names", "words_of"]
