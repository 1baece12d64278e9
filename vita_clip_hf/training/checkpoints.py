"""
Checkpoints that a run can be resumed from after anything. Each lists its files once all of them are on the disk. One
that was cut short is passed over for the one before.
"""

import json
import logging
import os
import re
import shutil
import zlib
from pathlib import Path, PurePosixPath

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import sort_checkpoints

from ..modeling.adapter_file_vita_clip import written_whole

FILE_LIST = "checkpoint_files.json"  # written last: a checkpoint without it is not whole
_STATE = TRAINER_STATE_NAME  # every checkpoint has it
_MOST_BYTES_OF_LIST = 1_000_000
_NAME = re.compile(r"checkpoint-(\d+)")

logger = logging.getLogger(__name__)


def seal_checkpoint(folder: str | os.PathLike) -> None:
    """Lists the checkpoint's files with size and checksum once the disk has them. From then on it counts as whole."""
    folder = Path(folder)
    files = {}
    for path in _files_of(folder):
        _flush(path)
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "crc32": _checksum(path)}
    with written_whole(folder / FILE_LIST) as path:
        path.write_text(json.dumps(files, indent=1) + "\n", encoding="utf-8")
        _flush(path)


def find_damage(folder: str | os.PathLike) -> str | None:
    """Why a checkpoint cannot be resumed from, in words; `None` if it is as it was written."""
    folder = Path(folder)
    if not folder.is_dir():
        return "there is no such folder"
    try:
        files = _read_file_list(folder / FILE_LIST)
        return next((damage for name, entry in files.items() if (damage := _damage_of(folder, name, entry))), None)
    except FileNotFoundError:
        return f"it has no {FILE_LIST}, so its writing was cut short, or VitaClipTrainer did not write it"
    except (OSError, ValueError, RecursionError) as error:
        return f"its {FILE_LIST} cannot be read: {error}"


def _read_file_list(path: Path) -> dict[str, dict[str, int]]:
    """
    Sizes and checksums by file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not what `seal_checkpoint` writes.
    """
    if (size := path.stat().st_size) > _MOST_BYTES_OF_LIST:
        raise ValueError(f"it has {size} bytes, and lists of files have {_MOST_BYTES_OF_LIST} at most")
    files = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(files, dict):
        raise ValueError(f"expected an object of files, found a {type(files).__name__}")
    for name, entry in files.items():
        place = PurePosixPath(name)
        if not place.parts or place.is_absolute() or ".." in place.parts or "\0" in name or "\\" in name:
            raise ValueError(f"expected names of files below the folder, found {name!r:.100}")
        if not isinstance(entry, dict) or any(type(entry.get(key)) is not int for key in ("bytes", "crc32")):
            raise ValueError(f"expected bytes and crc32 of {name!r:.100} as whole numbers, found {entry!r:.100}")
    if _STATE not in files:
        raise ValueError(f"it does not list {_STATE}")
    return files


def _damage_of(folder: Path, name: str, expected: dict[str, int]) -> str | None:
    path = folder / name
    try:
        if not path.is_file():
            return f"{name} is missing"
        if (size := path.stat().st_size) != expected["bytes"]:
            return f"{name} has {size} bytes, and {expected['bytes']} were written"
        if _checksum(path) != expected["crc32"]:
            return f"{name} is not what was written: its checksum differs"
    except OSError as error:
        return f"{name} cannot be read: {error}"
    return None


def find_last_checkpoint(output_dir: str | os.PathLike) -> str | None:
    """
    The newest whole checkpoint of a run. A warning names each newer one that is damaged.

    Args:
        output_dir: the run's folder.

    Returns:
        Its path, or `None` if there is no whole one.
    """
    for folder in reversed(list_checkpoints(output_dir)):
        damage = find_damage(folder)
        if damage is None:
            return str(folder)
        logger.warning(f"{folder} is passed over: {damage}.")
    return None


def whole_checkpoint(checkpoint: str | bool, output_dir: str | os.PathLike) -> str:
    """
    The checkpoint to go on from.

    Args:
        checkpoint: its folder; `True` for the newest whole one of `output_dir`.

    Raises:
        OSError: it is damaged.
        ValueError: `output_dir` has no whole one.
    """
    if checkpoint is not True:
        if damage := find_damage(str(checkpoint)):
            raise OSError(f"Training cannot go on from {checkpoint}: {damage}.")
        return str(checkpoint)
    last = find_last_checkpoint(output_dir)
    if last is None:
        found = [folder.name for folder in list_checkpoints(output_dir)]
        raise ValueError(f"There is no whole checkpoint in {output_dir} to resume from; found {found or 'none'}.")
    return last


def list_checkpoints(output_dir: str | os.PathLike) -> list[Path]:
    """All checkpoint folders of a run, whole or not, by step."""
    output_dir = Path(output_dir)
    if not output_dir.is_dir():
        return []
    named = [(match, path) for path in output_dir.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted((int(match[1]), path) for match, path in named if path.is_dir())]


def remove_failed(folder: Path, error: Exception) -> None:
    """Removes a checkpoint that could not be written, and raises an `OSError` that says so."""
    shutil.rmtree(folder, ignore_errors=True)
    last = find_last_checkpoint(folder.parent)
    free = shutil.disk_usage(folder.parent).free if folder.parent.is_dir() else 0
    raise OSError(
        f"{folder} could not be written: {write_failure(error)}. {free / 2**20:.0f} MiB are free there. "
        + (f"The last whole checkpoint is {last}." if last else "No checkpoint was written before it.")
    ) from error


def write_failure(error: Exception) -> str:
    """The error's message; torch's of a full disk is only that a file has another length than it wrote."""
    return f"the disk seems to be full ({error})" if "unexpected pos" in str(error) else str(error)


def remove_old(output_dir: str | os.PathLike, limit: int | None, best: str | None) -> None:
    """
    Deletes the oldest checkpoints of a run, as transformers does. Each loses its name first, so that a kill leaves no
    checkpoint with a part of its files.

    Args:
        output_dir: the run's folder.
        limit: how many to keep; `None` or 0 keeps all.
        best: a checkpoint that stays, like the newest.
    """
    folders = [Path(folder) for folder in sort_checkpoints(str(output_dir), use_mtime=True)]
    protected = {*folders[-1:], *([Path(best)] if best else [])}
    surplus = len(folders) - max(limit, len(protected)) if limit and limit > 0 else 0
    for folder in [folder for folder in folders if folder not in protected][: max(surplus, 0)]:
        nameless = folder.with_name(f".{folder.name}")
        shutil.rmtree(nameless, ignore_errors=True)
        try:
            folder.rename(nameless)
        except OSError as error:
            logger.warning(f"{folder} cannot be deleted ({error}), and stays beside newer checkpoints.")
        shutil.rmtree(nameless, ignore_errors=True)


def remove_leftovers(output_dir: str | os.PathLike) -> None:
    """Deletes what a killed run left: temporary folders, and remains of old checkpoints that it was deleting."""
    for folder in Path(output_dir).glob(".checkpoint-*"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in list_checkpoints(output_dir)[:-1]:
        if not any((folder / name).exists() for name in (FILE_LIST, _STATE)):  # no trainer can go on from it
            shutil.rmtree(folder, ignore_errors=True)


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FILE_LIST)


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
    return value


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
