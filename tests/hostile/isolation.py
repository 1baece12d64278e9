"""One attempt in a process of its own: what came of it, how long it took, how much memory it grew by."""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MB = 1 << 20
# Said by the issue that asked for the drill: an attempt that takes longer hangs, one that grows more is a fault.
SECONDS, GROWTH_MB = 20.0, 1024
_KILL_AT_MB = 4096  # for the sake of the machine
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Outcome:
    """
    What came of one input.

    Args:
        result: "read", "refused", or a fault: "accepted" (where only a refusal is right), "unclear" (an error of
            several lines, or without the input's name), "traceback", "crash", "hang", "growth", "execution".
        message: what was read, the error, or the end of what the process printed.
        seconds: until its end.
        growth_mb: peak memory of the process beyond what it had before, and of the processes it started, beyond what
            its honest twin needs.
    """

    result: str
    message: str
    seconds: float
    growth_mb: int


def attempt(
    function: Callable[[], str],
    name: str,
    folder: Path,
    must_refuse: bool = False,
    twin_mb: int = 0,
    seconds: float = SECONDS,
) -> Outcome:
    """
    Call `function` in a fork of this process, with `folder` as its working directory.

    Args:
        function: returns what it read, in a few words. A `ValueError` or `OSError` of one line with `name` in it is a
            refusal.
        must_refuse: whether reading it is a fault.
        twin_mb: growth of an honest input.
        seconds: an attempt that takes longer hangs.
    """
    report, printed = folder / "report.json", folder / "printed.txt"
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _run(function, name, folder, report, printed)
    end, own_mb, others_mb, cause = start + seconds, 0.0, 0.0, None
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        started = list(_descendants(child))
        own_mb = max(own_mb, _memory(child, "VmHWM"))
        others_mb = max(others_mb, sum(_memory(pid, "VmHWM") for pid in started))
        now = sum(_memory(pid, "VmRSS") for pid in (child, *started))
        if time.monotonic() > end or now > _KILL_AT_MB:
            cause = "hang" if now <= _KILL_AT_MB else "growth"
            with suppress(ProcessLookupError):  # of a child that has only begun, and has no group yet
                os.killpg(child, signal.SIGKILL)
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(_POLL_SECONDS)
    took = time.monotonic() - start
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # whatever it started
    said = printed.read_text(errors="replace")[-300:] if printed.exists() else ""
    own = json.loads(report.read_text()) if report.exists() else None
    if own is not None:
        own_mb, others_mb = own["own_mb"], max(others_mb, own["others_mb"])
    growth = max(0, int(own_mb + others_mb - twin_mb))
    if cause is not None:
        return Outcome(cause, said, took, growth)
    if own is None:
        return Outcome("crash", f"{_cause_of_death(status)}; {said}", took, growth)
    result = own["result"]
    if growth > GROWTH_MB:
        result = "growth"
    elif result == "read" and must_refuse:
        result = "accepted"
    return Outcome(result, own["message"], took, growth)


def _run(function: Callable[[], str], name: str, folder: Path, report: Path, printed: Path) -> None:
    """The child's life."""
    try:
        os.setsid()
        os.chdir(folder)
        output = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        before = _memory(os.getpid(), "VmRSS")
        result, message = _judge(function, name)
        others = sum(_memory(pid, "VmHWM") for pid in _descendants(os.getpid()))
        memory = {"own_mb": _memory(os.getpid(), "VmHWM") - before, "others_mb": others}
        report.write_text(json.dumps({"result": result, "message": message[-1000:], **memory}))
    finally:
        sys.stdout.flush()
        os._exit(0)


def _judge(function: Callable[[], str], name: str) -> tuple[str, str]:
    try:
        return "read", function()
    except (OSError, ValueError) as error:
        message = str(error).strip()
        kind = type(error).__name__
        # Of the library itself: what a decoder of text or JSON raises says nothing about the file.
        if kind in ("UnicodeDecodeError", "UnicodeEncodeError", "JSONDecodeError"):
            return "traceback", f"{kind}: {message}"
        return "refused" if "\n" not in message and name in message else "unclear", f"{kind}: {message}"
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return "traceback", f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"


def _memory(pid: int, field: str) -> float:
    """MB; `VmHWM` is the peak. 0 if the process is gone."""
    try:
        with open(f"/proc/{pid}/status") as lines:
            return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)
    except OSError:
        return 0.0


def _descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            yield child
            yield from _descendants(child)


def _cause_of_death(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended with exit code {os.WEXITSTATUS(status)} and no word"
