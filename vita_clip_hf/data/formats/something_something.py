"""Something-Something v2's JSON files: a list of {id, label, template, placeholders}."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...names import readable_class_names
from ...text_files import clean_name, read_text
from .files import VideoFiles
from .listing import ListedVideo, VideoListing, ids_by_name

_LABEL_FILES = ("labels.json", "something-something-v2-labels.json")


def class_of(template: str) -> str:
    """ "Putting [something] on [something]" as "Putting something on something"."""
    return template.replace("[", "").replace("]", "")


def read_something_something(
    path: Path, class_names: str | os.PathLike | Sequence[str] | None = None, root: str | os.PathLike | None = None
) -> VideoListing:
    """
    A JSON file of Something-Something v2. The file of an entry is `{id}` with any video extension below `root`
    (default: the JSON's folder), `{id}.webm` if it is missing. The `label`, which names the objects, is not
    used: classes are templates.

    Args:
        class_names: names, or a file of them, also the data set's own JSON of template to id; by default `labels.json`
            or `something-something-v2-labels.json` beside the file.

    Raises:
        OSError: no class names are given and none are beside the file.
        ValueError: an entry has no id or template, as in the test set, which has no labels.
    """
    names = _read_class_names(path, class_names)
    ids = ids_by_name(names, path)
    files = VideoFiles(path.parent if root is None else root)
    videos = []
    for number, entry in enumerate(_read_json(path, list, "a list of entries")):
        where = f"{path}, entry {number}"
        if not isinstance(entry, dict) or not _is_entry(entry):
            raise ValueError(
                f"{where}: expected the fields id and template, found {entry!r:.120}. (The test set has no labels.)"
            )
        name = clean_name(class_of(entry["template"]))
        found = files.locate_stem(str(entry["id"]))
        video = found[0] if found else str(files.root / f"{entry['id']}.webm")
        videos.append(ListedVideo(video, ids.get(name), name, where))
    return VideoListing(path, names, videos, f"one of the {len(names)} templates")


def _read_class_names(path: Path, class_names: str | os.PathLike | Sequence[str] | None) -> list[str]:
    if class_names is None:
        beside = [path.parent / name for name in _LABEL_FILES if (path.parent / name).is_file()]
        if not beside:
            raise FileNotFoundError(
                f"{path.parent} has none of {', '.join(_LABEL_FILES)}, the classes of {path.name}, and no class names "
                "are given."
            )
        class_names = beside[0]
    if isinstance(class_names, (str, os.PathLike)) and str(class_names).endswith(".json"):
        content = _read_json(Path(class_names), (dict, list), "an object of template to id, or a list")
        class_names = _by_id(Path(class_names), content) if isinstance(content, dict) else content
    return readable_class_names([class_of(name) for name in readable_class_names(class_names)])


def _is_entry(entry: dict[str, Any]) -> bool:
    return isinstance(entry.get("id"), (str, int)) and isinstance(entry.get("template"), str)


def _by_id(path: Path, ids: dict[str, Any]) -> list[str]:
    """The names of an object of name to id, in the order of their ids: 0 to N - 1, each once."""
    names: dict[int, str] = {}
    for name, written in ids.items():
        index = int(written) if str(written).isdecimal() else -1
        if not 0 <= index < len(ids) or index in names:
            raise ValueError(
                f"{path}: expected the ids 0 to {len(ids) - 1}, each once; found {written!r} for {name!r:.80}."
            )
        names[index] = name
    return [names[index] for index in range(len(ids))]


def _read_json(path: Path, kind: type | tuple[type, ...], expected: str) -> Any:
    try:
        content = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path}: expected {expected}, found {type(content).__name__}.")
    return content
