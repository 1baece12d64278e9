"""Captions for retrieval: MSR-VTT, DiDeMo and LSMDC as their test sets are published, and a CSV of one's own."""

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .formats.files import VideoFiles

# The columns that hold the video's name and its caption, by the header of the file.
_COLUMNS = (("video_id", "sentence"), ("video", "caption"), ("video", "sentence"), ("video_id", "caption"))
_LSMDC_FIELDS = 6


@dataclass(frozen=True)
class CaptionSet:
    """
    Args:
        videos: paths; one that is missing keeps its expected place.
        captions: texts.
        video_of_caption: for each caption the number of its video.
    """

    videos: list[str]
    captions: list[str]
    video_of_caption: list[int]


def load_captions(path: str | os.PathLike, root: str | os.PathLike | None = None) -> CaptionSet:
    """
    Reads captions: a CSV with the columns `video` and `caption` (MSR-VTT's 1k-A list has `video_id` and `sentence`), a
    tab-separated list of LSMDC, MSR-VTT's JSON of `videos` and `sentences` (its test videos, if others are there too),
    or DiDeMo's JSON, whose sentences of a video are joined into one.

    Args:
        path: the file.
        root: the folder of the videos; by default the file's own. A video is found by its path or by its name without
            ending.

    Raises:
        OSError: the file is not there.
        ValueError: it is in none of these forms, or has no captions.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".json":
        pairs = _read_json(path, text)
    elif "\t" in text.partition("\n")[0]:
        pairs = _read_lsmdc(path, text)
    else:
        pairs = _read_csv(path, text)
    if not pairs:
        raise ValueError(f"{path}: has no captions.")
    files = VideoFiles(path.parent if root is None else root)
    names = list(dict.fromkeys(video for video, _ in pairs))
    numbers = {name: number for number, name in enumerate(names)}
    return CaptionSet(
        [_locate(files, name) for name in names],
        [caption for _, caption in pairs],
        [numbers[video] for video, _ in pairs],
    )


def _locate(files: VideoFiles, name: str) -> str:
    found = files.locate_stem(name, os.path.splitext(name)[0])
    return found[0] if found else files.locate(name)


def _read_csv(path: Path, text: str) -> list[tuple[str, str]]:
    rows = list(csv.DictReader(text.splitlines(), skipinitialspace=True))
    header = list(rows[0]) if rows else []
    columns = next((pair for pair in _COLUMNS if set(pair) <= set(header)), None)
    if columns is None:
        raise ValueError(
            f"{path}: expected the columns video and caption, found {', '.join(map(str, header)) or 'none'}."
        )
    pairs = []
    for number, row in enumerate(rows, start=2):
        video, caption = ((row[name] or "").strip() for name in columns)
        if not video or not caption:
            raise ValueError(f"{path}, row {number}: expected a video and a caption, found {video!r} and {caption!r}.")
        pairs.append((video, caption))
    return pairs


def _read_lsmdc(path: Path, text: str) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split("\t")
        if not line.strip():
            continue
        if len(fields) != _LSMDC_FIELDS or not fields[0].strip() or not fields[-1].strip():
            raise ValueError(
                f"{path}, line {number}: expected a clip, four times and a sentence between tabs, found {line!r:.80}."
            )
        pairs.append((fields[0].strip(), fields[-1].strip()))
    return pairs


def _read_json(path: Path, text: str) -> list[tuple[str, str]]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    try:
        if isinstance(content, dict):
            return _msr_vtt(content)
        by_video: dict[str, list[str]] = {}
        for entry in content:
            by_video.setdefault(str(entry["video"]), []).append(str(entry["description"]).strip())
        return [(video, " ".join(sentences)) for video, sentences in by_video.items()]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected MSR-VTT's {{videos, sentences}} or DiDeMo's list of {{video, description}}; "
            f"{error} is missing or of another form."
        ) from error


def _msr_vtt(content: dict[str, Any]) -> list[tuple[str, str]]:
    splits = {entry["video_id"]: entry.get("split") for entry in content["videos"]}
    has_test = "test" in splits.values()
    return [
        (entry["video_id"], entry["caption"].strip())
        for entry in content["sentences"]
        if not has_test or splits.get(entry["video_id"]) == "test"
    ]


__all__ = ["CaptionSet", "load_captions"]
