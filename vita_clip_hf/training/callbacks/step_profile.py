"""The time of a training step, operation by operation, by torch's profiler."""

from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ...modeling.adapter_file_vita_clip import written_whole

WARMUP_STEPS = 10
TRACE, TABLE = "profile.json", "profile.txt"


class StepProfile(TrainerCallback):
    """
    Profiles `num_steps` steps after the first ten, on the first process, and writes a trace for Perfetto or Chrome
    (`profile.json`) and a table of the operations that took longest (`profile.txt`) into the output folder.
    """

    def __init__(self, num_steps: int):
        self._num_steps = num_steps
        self._profile: profile | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        on_gpu = args.device.type == "cuda"
        self._profile = profile(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])],
            schedule=schedule(wait=WARMUP_STEPS - 2, warmup=2, active=self._num_steps, repeat=1),
            on_trace_ready=lambda done: _write(done, Path(args.output_dir), "cuda" if on_gpu else "cpu"),
        )
        self._profile.start()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._profile is not None:
            self._profile.step()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._profile is not None:
            self._profile.stop()
            self._profile = None


def _write(done: torch.profiler.profile, folder: Path, device: str) -> None:
    with written_whole(folder / TRACE) as path:
        done.export_chrome_trace(str(path))
    table = done.key_averages().table(sort_by=f"self_{device}_time_total", row_limit=25, max_name_column_width=50)
    with written_whole(folder / TABLE) as path:
        path.write_text(table + "\n", encoding="utf-8")
