"""
Class names of data sets, in the order of their ids: lists that ship (`labels/k400.txt` is Kinetics-400's), files, and
identifiers as words. CLIP reads "apply eye makeup"; data sets also write ApplyEyeMakeup and brush_hair.
"""

import json
import os
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from .modeling.configuration_vita_clip import check_label_names
from .text_files import clean_name, is_encodable, read_lines, read_table, read_text

_LISTS = files(__package__) / "labels"
_WORD = r"[A-Z][a-z]+|[A-Z]+(?![a-z])"
_ID_BEFORE_NAME = re.compile(r"(?P<id>\d{1,6})[\s,;:|.)]+\S.*")
_ID_AFTER_NAME = re.compile(r".*\S[\s,;:|]+(?P<id>\d{1,6})")
# What a table of names, a list of a program or a spreadsheet has besides names; and the name of such a column.
_NO_NAME = re.compile(r"#.*|.*\t.*|.*[,;]|([\"'`]).*\1,?")
_COLUMN_NAMES = frozenset(("name", "names", "label", "labels", "class", "classes", "class_name", "class_names"))
_CAMEL_CASE = re.compile(rf"(?=.*[a-z])(?:{_WORD})+")


def known_label_lists() -> list[str]:
    """The names of the lists that ship with the package."""
    return sorted(entry.name.removesuffix(".txt") for entry in _LISTS.iterdir() if entry.name.endswith(".txt"))


def load_labels(source: str | os.PathLike | Sequence[str]) -> list[str]:
    """
    Class names in the order of their ids.

    Args:
        source: the name of a list that ships with the package (`"k400"`); a file with a name on each line, a `.csv`
            with the columns `id` and `name`, or a `.json` list; or the names themselves. Blanks around a name, also
            non-breaking and zero-width ones, are no part of it.

    Raises:
        OSError: no such list or file.
        ValueError: the file is not in such a form or no UTF-8 or UTF-16 text, or names are empty or repeated; the
            message has file and line.
    """
    if not isinstance(source, (str, os.PathLike)):
        labels = [clean_name(name) if isinstance(name, str) else name for name in source]
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
    if path.suffix.lower() == ".json":
        return _read_json(path)
    _, first = next(read_lines(path), (1, ""))
    if path.suffix.lower() == ".csv" or {"id", "name"} <= {field.strip() for field in first.split(",")}:
        return _read_csv(path)
    return _read_names(path)


def _read_json(path: Path) -> list[str]:
    try:
        labels = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(labels, list):
        raise ValueError(f"{path} holds a {type(labels).__name__}; expected a list of names.")
    for index, label in enumerate(labels):
        if not isinstance(label, str):
            raise ValueError(f"{path}, entry {index}: expected a name, found {label!r:.80}.")
    return _distinct([(f"{path}, entry {index}", label) for index, label in enumerate(labels)])


def _read_csv(path: Path) -> list[str]:
    rows = read_table(path, ("id", "name"))
    if not rows:
        raise ValueError(f"{path}: expected the columns id and name, found no row under them.")
    by_id: dict[int, tuple[str, str]] = {}
    for line, row in rows:
        where, written = f"{path}, line {line}", row["id"]
        index = int(written) if written.isdecimal() else -1
        if not 0 <= index < len(rows):
            raise ValueError(f"{where}: expected the ids 0 to {len(rows) - 1}, each once, found {written!r}.")
        if index in by_id:
            raise ValueError(f"{where}: the id {index} is there already, in {by_id[index][0].rpartition(', ')[2]}.")
        by_id[index] = (where, row["name"])
    return _distinct([by_id[index] for index in range(len(rows))])


def _read_names(path: Path) -> list[str]:
    """A name on each line. Lines with ids are refused, and those of tables: they would become part of the names."""
    lines = list(read_lines(path))
    for form in (_ID_BEFORE_NAME, _ID_AFTER_NAME):
        ids = [int(match["id"]) for _, line in lines if (match := form.fullmatch(line))]
        if len(lines) > 1 and sorted(ids) in (list(range(len(lines))), list(range(1, len(lines) + 1))):
            raise ValueError(
                f"{path}, line {lines[0][0]}: expected a name alone on each line, found {lines[0][1]!r:.120}. Names "
                "with ids stand in a .csv file under the columns id,name."
            )
    for number, line in lines:
        if _NO_NAME.fullmatch(line) or (number == lines[0][0] and line.lower() in _COLUMN_NAMES):
            raise ValueError(
                f"{path}, line {number}: expected a name without quotes, tabs, comments or separators, and no "
                f"heading; found {line!r:.120}."
            )
    return _distinct([(f"{path}, line {number}", line) for number, line in lines])


def _distinct(written: Sequence[tuple[str, str]]) -> list[str]:
    """Names, given with their places, without the blanks around them; an empty or repeated one is an error."""
    first: dict[str, str] = {}
    for where, name in written:
        cleaned = clean_name(name)
        if not cleaned:
            raise ValueError(f"{where}: expected a name, found {name!r}.")
        if not is_encodable(cleaned):
            raise ValueError(f"{where}: expected a name, found {name!a}, which is no text.")
        if cleaned in first:
            raise ValueError(
                f"{where}: labels must be distinct; found {cleaned!r} more than once, first in {first[cleaned]}."
            )
        first[cleaned] = where
    return list(first)


__all__ = ["known_label_lists", "load_labels", "readable_class_names", "words_of"]
