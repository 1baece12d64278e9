"""Parts of long videos for localisation: ground truth in ActivityNet's JSON, and proposals."""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Segment = tuple[float, float, str]
Proposal = tuple[float, float, float]


def load_segments(
    path: str | os.PathLike, subsets: Sequence[str] = (), class_names: Sequence[str] | None = None
) -> dict[str, list[Segment]]:
    """
    Reads ground truth: `{"database": {video: {"subset", "annotations": [{"segment": [start, end], "label"}]}}}`, as
    ActivityNet publishes it and THUMOS14 is passed around.

    Args:
        path: the JSON file.
        subsets: names of the subset to read, of which the first that is there counts; all if empty.
        class_names: only segments of these classes, and videos with at least one; by default all.

    Returns:
        By video `(start, end, label)`, seconds.

    Raises:
        OSError: the file is not there.
        ValueError: it is of another form, or nothing is left.
    """
    database = _read(path, "database")
    there = {str(entry.get("subset")) for entry in database.values() if isinstance(entry, dict)}
    subset = next((name for name in subsets if name in there), None)
    if subsets and subset is None:
        raise ValueError(f"{path}: has the subsets {', '.join(sorted(there))}; expected {' or '.join(subsets)}.")
    found: dict[str, list[Segment]] = {}
    for video, entry in database.items():
        where = f"{path}, {video}"
        if not isinstance(entry, dict) or not isinstance(entry.get("annotations", []), list):
            raise ValueError(f"{where}: expected a subset and annotations, found {entry!r:.80}.")
        if subset is not None and entry.get("subset") != subset:
            continue
        segments = [(*_times(one, where), _label(one, where)) for one in entry.get("annotations", [])]
        if class_names is not None:
            segments = [segment for segment in segments if segment[2] in class_names]
        if segments:
            found[video] = segments
    if not found:
        raise ValueError(f"{path}: has no segments" + (f" in the subset {subset}." if subset else "."))
    return found


def load_proposals(path: str | os.PathLike) -> dict[str, list[Proposal]]:
    """
    Reads proposals without classes: `{"results": {video: [{"segment": [start, end], "score"}]}}`, as ActivityNet's
    proposal task has them.

    Returns:
        By video `(start, end, score)`, seconds.

    Raises:
        OSError: the file is not there.
        ValueError: it is of another form.
    """
    found: dict[str, list[Proposal]] = {}
    for video, entries in _read(path, "results").items():
        where = f"{path}, {video}"
        if not isinstance(entries, list):
            raise ValueError(f"{where}: expected a list of segments, found {entries!r:.80}.")
        found[video] = [(*_times(entry, where), _score(entry, where)) for entry in entries]
    return found


def _read(path: str | os.PathLike, key: str) -> dict[str, Any]:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    inside = content.get(key) if isinstance(content, dict) else None
    if not isinstance(inside, dict):
        raise ValueError(f"{path}: expected an object with {key!r}, an object by video; found {content!r:.80}.")
    return inside


def _times(entry: Any, where: str) -> tuple[float, float]:
    times = entry.get("segment") if isinstance(entry, dict) else None
    is_pair = isinstance(times, list) and len(times) == 2 and all(_is_number(time) for time in times)
    if not is_pair or not 0 <= times[0] <= times[1]:  # type: ignore[index]
        raise ValueError(f"{where}: expected a segment [start, end] in seconds, found {entry!r:.80}.")
    return float(times[0]), float(times[1])  # type: ignore[index]


def _label(entry: dict[str, Any], where: str) -> str:
    label = entry.get("label")
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"{where}: expected a label, found {entry!r:.80}.")
    return label.strip()


def _score(entry: dict[str, Any], where: str) -> float:
    if not _is_number(entry.get("score")):
        raise ValueError(f"{where}: expected a score, found {entry!r:.80}.")
    return float(entry["score"])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


__all__ = ["Proposal", "Segment", "load_proposals", "load_segments"]
