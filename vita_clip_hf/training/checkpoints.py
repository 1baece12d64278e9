"""
Checkpoints that a run can be resumed from after anything: each lists its files when all of them are on the disk, and
one that was cut short is passed over for the one before.
"""

import json
import logging
import os
import re
import shutil
import zlib
from pathlib import Path

FILE_LIST = "checkpoint_files.json"  # written last: a checkpoint without it is not whole
_NAME = re.compile(r"checkpoint-(\d+)")

logger = logging.getLogger(__name__)


def seal_checkpoint(folder: str | os.PathLike) -> None:
    """Lists the checkpoint's files with size and checksum, after the disk has them: from now on it counts as whole."""
    folder = Path(folder)
    files = {}
    for path in _files_of(folder):
        _flush(path)
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "crc32": _checksum(path)}
    temporary = folder / f".{FILE_LIST}"
    temporary.write_text(json.dumps(files, indent=1) + "\n", encoding="utf-8")
    _flush(temporary)
    temporary.replace(folder / FILE_LIST)


def find_damage(folder: str | os.PathLike) -> str | None:
    """What keeps a checkpoint from being resumed from, in words; `None` where it is as it was written."""
    folder = Path(folder)
    if not folder.is_dir():
        return "there is no such folder"
    try:
        files = json.loads((folder / FILE_LIST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"it has no {FILE_LIST}, so its writing was cut short, or VitaClipTrainer did not write it"
    except ValueError as error:
        return f"its {FILE_LIST} cannot be read: {error}"
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if (size := path.stat().st_size) != expected["bytes"]:
            return f"{name} has {size} bytes, and {expected['bytes']} were written"
        if _checksum(path) != expected["crc32"]:
            return f"{name} is not what was written: its checksum differs"
    return None


def find_last_checkpoint(output_dir: str | os.PathLike) -> str | None:
    """
    The newest whole checkpoint of a run; each newer one that is damaged is named in a warning.

    Args:
        output_dir: the run's folder.

    Returns:
        Its path, or `None` where there is no whole one.
    """
    for folder in reversed(list_checkpoints(output_dir)):
        damage = find_damage(folder)
        if damage is None:
            return str(folder)
        logger.warning(f"{folder} is passed over: {damage}.")
    return None


def list_checkpoints(output_dir: str | os.PathLike) -> list[Path]:
    """All checkpoint folders of a run, whole or not, by step."""
    output_dir = Path(output_dir)
    if not output_dir.is_dir():
        return []
    named = [(match, path) for path in output_dir.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted((int(match[1]), path) for match, path in named if path.is_dir())]


def remove_leftovers(output_dir: str | os.PathLike) -> None:
    """Deletes the temporary folders that a run left which was killed while it wrote."""
    for folder in Path(output_dir).glob(".checkpoint-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _files_of(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name not in (FILE_LIST, f".{FILE_LIST}")
    )


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
    return value


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
