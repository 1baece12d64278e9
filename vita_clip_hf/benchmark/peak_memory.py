"""
Peak memory of one work, in a process of its own: nothing that ran before is in the number.

As a program (`python -m vita_clip_hf.benchmark.peak_memory`) it is that process: a question as JSON on its input, the
answer as JSON on the last line of its output.
"""

import contextlib
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from .settings import BenchmarkSettings
from .timing import out_of_memory_message

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CALLS = 2  # the first makes the optimizer's state, the second has it beside the gradients
SPARE = 0.95  # of the free memory may be taken: the rest of the machine lives on


@dataclass(frozen=True)
class MemoryUse:
    """
    Args:
        peak_bytes: CPU: growth of the resident set from before the model was built to its peak during the call. GPU:
            peak of what torch allocated. `None` where it ran out.
        note: why there is no number.
    """

    peak_bytes: int | None
    note: str = ""


def measure_peak_memory(case: str, contender: str, settings: BenchmarkSettings, dtype: str) -> MemoryUse:
    """
    Runs one contender of one of `MODEL_CASES` twice, in a new process.

    Raises:
        RuntimeError: the process failed for another reason than memory.
    """
    question = {"case": case, "contender": contender, "dtype": dtype, "settings": asdict(settings)}
    finished = subprocess.run(
        [sys.executable, "-m", "vita_clip_hf.benchmark.peak_memory"],
        input=json.dumps(question, default=str),
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode == -9:  # what Linux does to a process when memory ends
        return MemoryUse(None, "out of memory")
    if finished.returncode:
        raise RuntimeError(f"Measuring the memory of {contender} ({case}) failed:\n{finished.stderr[-2000:]}")
    return MemoryUse(**json.loads(finished.stdout.splitlines()[-1]))


def measure_here(case: str, contender: str, settings: BenchmarkSettings, dtype: str) -> MemoryUse:
    """The measurement itself, in this process."""
    from .works import prepare_work

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    before = resident_bytes()["VmRSS"] if STATUS.exists() else 0
    is_cuda = torch.device(settings.device).type == "cuda"
    try:
        with bounded_memory(settings.device):
            work = prepare_work(case, contender, settings, getattr(torch, dtype))
            gc.collect()
            _reset_peak(is_cuda)
            for _ in range(CALLS):
                if work.before is not None:
                    work.before()
                work.call()
    except Exception as error:
        return MemoryUse(None, out_of_memory_message(error))
    if is_cuda:
        return MemoryUse(torch.cuda.max_memory_allocated(settings.device))
    if not STATUS.exists():
        return MemoryUse(None, "peak memory on the CPU is read from /proc, which this system lacks")
    return MemoryUse(resident_bytes()["VmHWM"] - before)


def resident_bytes() -> dict[str, int]:
    """`VmRSS`, `VmHWM` (its peak) and `VmData` of this process in bytes; Linux only."""
    fields = dict(line.split(":", 1) for line in STATUS.read_text(encoding="utf-8").splitlines() if line[:2] == "Vm")
    return {name: int(value.split()[0]) * 1024 for name, value in fields.items()}


def _reset_peak(is_cuda: bool) -> None:
    """Forgets the peak of building the model, which holds some weights twice."""
    if is_cuda:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    elif RESET.exists():
        RESET.write_text("5", encoding="utf-8")  # proc(5): resets VmHWM


@contextlib.contextmanager
def bounded_memory(device: str) -> Iterator[None]:
    """
    On Linux CPUs: an allocation beyond the memory that is free now fails with an error that a table can report,
    where without a bound the kernel would end this process, or another one.
    """
    meminfo = Path("/proc/meminfo")
    if torch.device(device).type != "cpu" or not meminfo.exists():
        yield
        return
    import resource  # not on every system

    lines = (line.split() for line in meminfo.read_text(encoding="utf-8").splitlines())
    available = next(int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:")
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = resident_bytes()["VmData"] + int(SPARE * available)
    wanted = min([wanted, *(bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def settings_from_json(values: dict[str, Any]) -> BenchmarkSettings:
    """`asdict` of settings after a way through JSON, which knows lists and texts only."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        fields[name] = tuple(value) if isinstance(value, list) else value
    return BenchmarkSettings(**{**fields, "videos": tuple(Path(video) for video in fields["videos"])})


def main() -> None:
    """Answers the question on standard input."""
    question = json.load(sys.stdin)
    settings = settings_from_json(question["settings"])
    use = measure_here(question["case"], question["contender"], settings, question["dtype"])
    print(json.dumps(asdict(use)))


if __name__ == "__main__":
    main()
