"""What a training step's time goes to, by the kind of operation: torch's profiler, summed up."""

from collections import defaultdict
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from .comparison import contenders_of
from .progress import Progress
from .settings import BenchmarkSettings
from .tables import Table
from .works import prepare_work

COLUMNS = ["contender", "step", "seconds", "share", "calls"]
PROFILED = ("vita", "vita-bf16")
# What an operation's name begins with, after "aten::"; the first that fits counts.
KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "mkldnn_convolution", "convolution", "cudnn_convolution"),
    "fused attention, forwards": ("_scaled_dot_product", "_flash_attention_forward", "_efficient_attention_forward"),
    "layer norms": ("native_layer_norm",),
    "softmax": ("_softmax", "_log_softmax"),
    "activations": ("silu", "sigmoid", "gelu"),
    "copies: biases put in place, casts, layouts, gradients": ("copy_", "_to_copy", "cat", "fill_", "zero_", "clone"),
    "sums and products by element": ("add", "sub", "mul", "div", "sum", "mean"),
    "optimizer": ("_fused_adam",),
}
BACKWARDS = "fused attention, backwards"
REST = "the rest, hundreds of small calls"


def tabulate_profile(dtype_name: str, settings: BenchmarkSettings, progress: Progress) -> Table:
    """Training steps of ours, with a base in float32 and, in bfloat16, in bfloat16 too: a row for each kind."""
    rows: list[dict[str, Any]] = []
    for name in contenders_of("train", dtype_name, settings):
        if name in PROFILED:
            progress.say(f"profile {dtype_name}: {name}")
            rows += _profile_steps(name, dtype_name, settings)
    title = (
        f"Where a training step's time goes: {settings.model}, {settings.batch} clips of {settings.frames} frames, "
        f"{settings.classes} classes, {dtype_name}"
    )
    note = (
        f"The operations' own time, mean of {settings.rounds} steps; profiled steps are somewhat slower than others."
    )
    key = f"profile-{settings.model}-b{settings.batch}-t{settings.frames}-c{settings.classes}-{dtype_name}"
    return Table(key, title, note, COLUMNS, rows)


def _profile_steps(name: str, dtype_name: str, settings: BenchmarkSettings) -> list[dict[str, Any]]:
    work = prepare_work("train", name, settings, getattr(torch, dtype_name))
    for _ in range(settings.warmup + 1):
        work.call()
    on_gpu = torch.device(settings.device).type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as recorded:
        for _ in range(settings.rounds):
            work.call()
        if on_gpu:
            torch.cuda.synchronize()
    seconds: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for event in recorded.key_averages():
        microseconds = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        kind = kind_of(event.key)
        seconds[kind] += microseconds / 1e6 / settings.rounds
        calls[kind] += event.count // settings.rounds
    total = sum(seconds.values())
    kinds = sorted((kind for kind in seconds if seconds[kind] > 0), key=lambda kind: -seconds[kind])
    return [
        {
            "contender": name,
            "step": kind,
            "seconds": seconds[kind],
            "share": seconds[kind] / total,
            "calls": calls[kind],
        }
        for kind in kinds
    ]


def kind_of(operation: str) -> str:
    """The kind of an operation by its name in the profiler, such as `aten::addmm`."""
    short = operation.removeprefix("aten::")
    if "attention" in short and "backward" in short:
        return BACKWARDS
    for kind, beginnings in KINDS.items():
        if operation.startswith("aten::") and short.startswith(beginnings):
            return kind
    return REST
