"""Where and with what a table was measured."""

import contextlib
import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "torchvision", "decord2", "torchao", "vita-clip-hf")


def describe_run(command: str, device: str) -> dict[str, Any]:
    """Machine, versions, command and day of a run."""
    run: dict[str, Any] = {
        "command": command,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": _versions(),
    }
    if torch.device(device).type == "cuda":
        run["gpu"] = torch.cuda.get_device_name(device)
        run["cuda"] = torch.version.cuda
    return run


def _versions() -> dict[str, str]:
    """Of `PACKAGES`, those that are installed."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def cpu_name() -> str:
    """The processor's name and the matrix instructions that decide its speed."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    fields = [line.partition(":") for line in info.read_text(encoding="utf-8").splitlines()]
    name = next((value.strip() for key, _, value in fields if key.strip() == "model name"), platform.machine())
    flags = next((value.split() for key, _, value in fields if key.strip() == "flags"), [])
    instructions = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{name} ({', '.join(instructions)})" if instructions else name
