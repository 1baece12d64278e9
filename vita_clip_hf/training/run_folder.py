"""The folder of a run: it can be written to, and one training at a time writes into it."""

import json
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from ..modeling.adapter_file_vita_clip import written_whole
from .checkpoints import find_last_checkpoint, write_failure

LOCK, OWNER = ".training.lock", ".training.json"
# safetensors' error derives from no OSError, and torch.save gives a RuntimeError for a full disk.
WRITE_ERRORS = (OSError, RuntimeError, SafetensorError)
# Workers of a training that was killed hold its lock until they notice, which takes up to five seconds.
SECONDS_FOR_WORKERS = 10

logger = logging.getLogger(__name__)


def check_writable(folder: str | os.PathLike) -> None:
    """
    Makes the folder and writes a file into it, which is removed again.

    Raises:
        OSError: that is not possible.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(
            f"output_dir: nothing can be written into {folder} ({error.strerror or error}). Give a folder that can be "
            "written to."
        ) from error


@contextmanager
def sole_training(folder: str | os.PathLike) -> Iterator[None]:
    """
    Holds the folder's lock, which ends with the process, however that ends.

    Raises:
        OSError: another training holds it; the message names process and machine.
    """
    folder = Path(folder)
    lock = FileLock(folder / LOCK, is_singleton=True)  # within a process, a training may hold it twice
    try:
        lock.acquire(timeout=0 if _owner_runs(folder) else SECONDS_FOR_WORKERS)
    except Timeout:
        raise OSError(
            f"{folder} is in use by another training, {_describe_owner(folder)}. Wait for it, end it, or give another "
            "output_dir."
        ) from None
    except NotImplementedError:
        logger.warning(f"{folder} is on a file system without locks: take care that only one training writes into it.")
        yield
        return
    try:
        owner = {"pid": os.getpid(), "host": socket.gethostname()}
        with written_whole(folder / OWNER) as path:
            path.write_text(json.dumps(owner) + "\n", encoding="utf-8")
        yield
    finally:
        lock.release()


def _owner(folder: Path) -> tuple[int, str] | None:
    try:
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        return int(owner["pid"]), str(owner["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _owner_runs(folder: Path) -> bool:
    """Whether the process that last took the lock is alive on this machine."""
    owner = _owner(folder)
    if owner is None or owner[1] != socket.gethostname():
        return False
    if hasattr(signal, "CTRL_C_EVENT"):
        return False  # on Windows signal 0 is no question, but that event: the lock alone is asked
    try:
        os.kill(owner[0], 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is another user's
    return True


def _describe_owner(folder: Path) -> str:
    owner = _owner(folder)
    return "which does not say who it is" if owner is None else f"process {owner[0]} on {owner[1]}"


@contextmanager
def writing_results(folder: str | os.PathLike) -> Iterator[None]:
    """Around the files that a finished training writes: an `OSError` names the last checkpoint, which has it all."""
    try:
        yield
    except WRITE_ERRORS as error:
        last = find_last_checkpoint(folder)
        raise OSError(
            f"The results could not be written into {folder}: {write_failure(error)}. {free_space(folder)}"
            + (f" Nothing is lost: {last} has them. Run again with --resume_from_checkpoint auto." if last else "")
        ) from error


def free_space(folder: str | os.PathLike) -> str:
    """In words, for messages; empty if it is not known."""
    try:
        return f"{shutil.disk_usage(folder).free / 2**20:.0f} MiB are free there."
    except OSError:
        return ""
