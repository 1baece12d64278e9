"""Whether the files of all lists are there, before the first step."""

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from datasets import Dataset, Value

logger = logging.getLogger(__name__)

# Fewer files of a folder are asked for one by one; for more the folder is listed.
_ASK_EACH = 16


def find_missing(paths: Iterable[str]) -> list[str]:
    """Those paths that are no files, in the order given. Folders are listed once: 240,000 files take a second."""
    paths = list(paths)
    wanted: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        folder, name = os.path.split(path)
        wanted[folder].add(name)
    missing = {folder: _missing_in(folder, names) for folder, names in wanted.items()}
    return [path for path in paths if os.path.basename(path) in missing[os.path.dirname(path)]]


def _missing_in(folder: str, names: set[str]) -> set[str]:
    if len(names) <= _ASK_EACH:
        return {name for name in names if not os.path.isfile(os.path.join(folder, name))}
    try:
        with os.scandir(folder or ".") as entries:
            return names - {entry.name for entry in entries if entry.name in names and entry.is_file()}
    except OSError:
        return names


def check_files(sets: Mapping[str, Any], on_bad_video: str, max_bad_videos: float) -> None:
    """
    Args:
        sets: rows of `load_videos` by the name of the source. Streams and videos that are not local files are not
            looked for.
        on_bad_video: with "skip" missing files are a warning, up to the share `max_bad_videos` of a set.

    Raises:
        FileNotFoundError: files are missing.
    """
    for source, rows in sets.items():
        if not isinstance(rows, Dataset) or not isinstance(rows.features["video"], Value):
            continue
        paths = [path for path in rows["video"] if "://" not in path]
        missing = find_missing(paths)
        if not missing:
            continue
        examples = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        found = f"{source}: {len(missing)} of {len(paths)} videos are not there: {examples}"
        if on_bad_video == "skip" and len(missing) <= max_bad_videos * len(paths):
            logger.warning(f"{found}. They are skipped.")
            continue
        if on_bad_video == "skip":
            remedy = f"That is more than the share of {max_bad_videos:.1%} that --max_bad_videos allows."
        else:
            remedy = "'--on_bad_video skip' goes on without a few of them."
        raise FileNotFoundError(
            f"{found}. {remedy} If all are missing, give the folder that paths start from (--root, or root=... of a "
            "zero-shot set); `vita-clip data check` writes a list without bad videos."
        )
