"""One commit to the Hub: whole or not at all, tried again if the connection breaks, else one clear error."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session, httpx

logger = logging.getLogger(__name__)

# Seconds before each further attempt.
PAUSES = (1.0, 5.0)
# Seconds without a byte after which a connection counts as broken; by itself the client waits for ever.
LONGEST_WAIT = 300.0
_MEANINGS = {
    401: "the token is missing or not valid: log in by `hf auth login`, or set HF_TOKEN",
    403: "the token may not write there, or a quota is used up",
    404: "there is no such repository or branch, or the token may not see it",
    409: "it conflicts with what is there",
    412: "somebody else has committed meanwhile: run it again",
    413: "it is too large, or a quota is used up",
    429: "too many requests: wait a while",
}
T = TypeVar("T")


def commit_folder(
    folder: Path,
    repo_id: str,
    api: HfApi,
    *,
    skip: Sequence[str] = (),
    delete: Sequence[str] = (),
    **commit: Any,
) -> CommitInfo:
    """
    All files of a folder in one commit. `HfApi.upload_folder` makes several of a large folder.

    Args:
        folder: what the repository is going to hold.
        skip: files of it that stay as they are in the repository.
        delete: patterns of files that are deleted from the repository's top folder unless `folder` has them.
        commit: `commit_message`, `commit_description`, `revision`, `create_pr`.

    Raises:
        OSError: the Hub refuses it, or cannot be reached. What was uploaded stays stored there, without a commit, and
            the next attempt goes on from it.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in paths}

    def attempt() -> CommitInfo:
        present = api.list_repo_files(repo_id, revision=commit.get("revision"))
        gone = [
            name
            for name in present
            if name not in named and "/" not in name and any(fnmatch(name, pattern) for pattern in delete)
        ]
        operations: list[Any] = [
            *(CommitOperationDelete(name) for name in gone),
            *(CommitOperationAdd(name, path) for name, path in named.items() if name not in skip),
        ]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
            return api.create_commit(repo_id, operations, **commit)

    return with_attempts(repo_id, attempt)


def with_attempts(repo_id: str, attempt: Callable[[], T]) -> T:
    """
    The result of `attempt`, which may be made up to three times: the Hub has faults that pass.

    Raises:
        OSError: the last attempt's cause in one line.
    """
    for pause in PAUSES:
        try:
            with clear_errors(repo_id):
                return attempt()
        except OSError as error:
            if not _may_pass(error.__cause__):
                raise
            logger.warning(f"{repo_id}: {_cause(error.__cause__)}; tried again in {pause:g} s.")
        time.sleep(pause)
    with clear_errors(repo_id):
        return attempt()


@contextmanager
def clear_errors(repo_id: str) -> Iterator[None]:
    """Errors of the Hub or of the connection become an `OSError` of one line, which says what to do."""
    try:
        with _bounded_waits():
            yield
    except (HfHubHTTPError, httpx.HTTPError, RuntimeError) as error:
        # Of an upload to the storage the client tells in a RuntimeError, after attempts of its own.
        if isinstance(error, RuntimeError) and not isinstance(error.__cause__, (HfHubHTTPError, httpx.HTTPError)):
            raise
        raise _clear_error(repo_id, error) from error


@contextmanager
def _bounded_waits() -> Iterator[None]:
    session = get_session()  # all calls of the client share it
    before, session.timeout = session.timeout, httpx.Timeout(LONGEST_WAIT)
    try:
        yield
    finally:
        session.timeout = before


def _clear_error(repo_id: str, error: Exception) -> OSError:
    status = _status(error)
    advice = _MEANINGS.get(status or 0, "run it again: what is uploaded already is not sent twice")
    return OSError(
        f"{repo_id} on the Hub: {_cause(error)} ({advice}). A commit is made as a whole or not at all: the repository "
        "has no part of one."
    )


def _cause(error: BaseException | None) -> str:
    messages = [getattr(each, "server_message", None) or str(each) for each in _chain(error)]
    status, message = _status(error), " ".join(" ".join(messages).split())[:300] or type(error).__name__
    return message if status is None else f"status {status}, {message}"


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error of the client, and the one of the Hub that is its cause, if it is not that one itself."""
    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        return [error, error.__cause__]
    return [] if error is None else [error]


def _status(error: BaseException | None) -> int | None:
    found = (getattr(getattr(each, "response", None), "status_code", None) for each in _chain(error))
    return next((status for status in found if status is not None), None)


def _may_pass(error: BaseException | None) -> bool:
    """Whether another attempt makes sense; an `OSError` of this machine has no cause."""
    if not isinstance(error, (HfHubHTTPError, httpx.HTTPError)):
        return False
    status = _status(error)
    return status is None or status >= 500 or status in (408, 412, 429)


__all__ = ["clear_errors", "commit_folder", "with_attempts"]
