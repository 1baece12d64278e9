"""What was found in videos, and the files that keep it."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

COLUMNS = ("video", "rank", "label", "score", "error")


@dataclass
class Prediction:
    """
    Args:
        video: its path or URL.
        predictions: `[{"label", "score"}, ...]`, best first; empty after an error.
        error: why the video could not be read; `None` if it could.
    """

    video: str
    predictions: list[dict[str, Any]]
    error: str | None = None


def check_results_file(path: Path) -> None:
    """
    Raises before any work is done.

    Raises:
        ValueError: the ending is none of .csv, .json and .jsonl.
        OSError: the file cannot be written there.
    """
    if path.suffix.lower()[1:] not in FORMS:
        raise ValueError(f"{path} ends with {path.suffix!r}; expected one of .{', .'.join(FORMS)}.")
    if path.is_dir():
        raise OSError(f"{path} is a folder; expected a file to write.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}.") from error


def write_results(path: str | os.PathLike, predictions: Sequence[Prediction]) -> None:
    """
    Writes the file whole or not at all, in the format of its ending.

    Args:
        path: `.csv` has a row for each label, with `COLUMNS`, and one for each video that could not be read. `.json`
            has a list of [`Prediction`]s as objects, `.jsonl` one on each line.
        predictions: to write. What UTF-8 cannot hold in a file's name is written as an escape, such as `\\udcff`.

    Raises:
        OSError: the file cannot be written.
    """
    from ..modeling.adapter_file_vita_clip import written_whole

    text = format_results(Path(path).suffix.lower()[1:], predictions)
    with written_whole(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="backslashreplace"))


def format_results(form: str, predictions: Sequence[Prediction]) -> str:
    """The text of a file of results; `form` is one of `FORMS`."""
    return FORMS[form](predictions)


def _as_csv(predictions: Sequence[Prediction]) -> str:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([COLUMNS, *(row for prediction in predictions for row in _rows(prediction))])
    return file.getvalue()


def _as_json(predictions: Sequence[Prediction]) -> str:
    return json.dumps([asdict(prediction) for prediction in predictions], ensure_ascii=False, indent=1) + "\n"


def _as_json_lines(predictions: Sequence[Prediction]) -> str:
    return "".join(f"{json.dumps(asdict(prediction), ensure_ascii=False)}\n" for prediction in predictions)


def _rows(prediction: Prediction) -> list[tuple[Any, ...]]:
    if prediction.error is not None:
        return [(prediction.video, None, None, None, prediction.error)]
    return [
        (prediction.video, rank, entry["label"], entry["score"], None)
        for rank, entry in enumerate(prediction.predictions, 1)
    ]


FORMS = {"csv": _as_csv, "json": _as_json, "jsonl": _as_json_lines}

__all__ = ["COLUMNS", "FORMS", "Prediction", "check_results_file", "format_results", "write_results"]
