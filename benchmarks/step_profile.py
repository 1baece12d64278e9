"""The operations that a training step's time goes to, by torch's profiler."""

from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from .cases import prepare
from .contenders import title_of
from .sizes import Settings

SHOWN = 12


def profile_steps(contender: str, settings: Settings, steps: int) -> list[dict[str, Any]]:
    """A row for each of the longest operations, with its own seconds, its share and its calls in one step."""
    step = prepare("train", contender, settings)
    step()
    on_gpu = torch.device(settings.device).type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as recorded:
        for _ in range(steps):
            step()
        if on_gpu:
            torch.cuda.synchronize()
    own = {
        event.key: (event.self_device_time_total if on_gpu else event.self_cpu_time_total, event.count)
        for event in recorded.key_averages()
    }
    total = sum(time for time, _ in own.values())
    rows = []
    for name, (time, count) in sorted(own.items(), key=lambda item: -item[1][0])[:SHOWN]:
        row = {"label": title_of(contender), "contender": contender, "units": f"`{name}`"}
        rows.append(row | {"seconds": [time / 1e6 / steps], "share": time / total, "calls": count // steps})
    return rows
