"""Class names of data sets, one a line in the order of their ids: `k400.txt` is Kinetics-400's."""

import csv
import json
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from ..modeling.configuration_vita_clip import check_label_names


def known_label_lists() -> list[str]:
    """The names of the lists that ship with the package."""
    return sorted(
        entry.name.removesuffix(".txt") for entry in files(__package__).iterdir() if entry.name.endswith(".txt")
    )


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
        labels = files(__package__).joinpath(f"{source}.txt").read_text(encoding="utf-8").splitlines()
    else:
        labels = _read(Path(source))
    check_label_names(labels)
    return labels


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


__all__ = ["known_label_lists", "load_labels"]
