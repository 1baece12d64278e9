"""Peak memory of a call. It needs torch alone, so that `against.py` can run it in another environment."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CALLS = 2  # a second training step has the optimizer's state beside the gradients


def peak_bytes(prepare: Callable[[], Callable[[], Any]], device: str = "cpu") -> int | None:
    """
    Prepares a call and runs it twice. Meaningful in a process that did nothing else before.

    Returns:
        CPU: growth of the resident set from before `prepare` to its peak in the calls, so weights are included.
        GPU: peak of the memory that torch allocated. `None` on a CPU without Linux's `/proc`.
    """
    is_cuda = torch.device(device).type == "cuda"
    before = _resident("VmRSS")
    call = prepare()
    gc.collect()
    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
    elif RESET.exists():
        RESET.write_text("5", encoding="utf-8")  # proc(5): resets VmHWM, the peak, which building the model raised
    for _ in range(CALLS):
        call()
    if is_cuda:
        return torch.cuda.max_memory_allocated(device)
    after = _resident("VmHWM")
    return None if before is None or after is None else after - before


def _resident(field: str) -> int | None:
    """`VmRSS` or `VmHWM`, its peak, of this process in bytes."""
    if not STATUS.exists():
        return None
    line = next(line for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
