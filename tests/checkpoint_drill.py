"""
Kills training runs and resumes them: `python checkpoint_drill.py CLIP FOLDER` prints what came of each way to die.

Each run is a process of its own, forked after the imports, which take longer than a run.
"""

import hashlib
import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from toy_training import ChangingClips, toy_arguments, toy_data, toy_trainer
from transformers import TrainerCallback
from vita_clip_hf.modeling import adapter_file_vita_clip

from vita_clip_hf.training import checkpoints

STEPS, SAVE_STEPS = 11, 3
SETTINGS = {
    "max_steps": STEPS,
    "save_strategy": "steps",
    "save_steps": SAVE_STEPS,
    "save_total_limit": 2,
    # Options that draw random numbers or keep a state of their own.
    "mixup_alpha": 0.4,
    "ema_decay": 0.8,
    "gradient_accumulation_steps": 2,
    "per_device_train_batch_size": 2,
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DieAtStep(TrainerCallback):
    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            die()


def die_in_adapter(at_step: int) -> None:
    """Between the temporary folder and the real one, with some files moved."""
    move, moved = os.replace, []

    def replace(source, target):
        if f"checkpoint-{at_step}" in str(target):
            moved.append(target)
            if len(moved) == 3:
                die()
        move(source, target)

    adapter_file_vita_clip.os.replace = replace


def die_in_torch_save(at_step: int, name: str) -> None:
    """With half of a file on the disk."""
    save = torch.save

    def save_half(value, path, *args, **kwargs):
        save(value, path, *args, **kwargs)
        if f"checkpoint-{at_step}" in str(path) and Path(path).name == name:
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    torch.save = save_half


def die_before_seal(at_step: int) -> None:
    """With every file whole, and no list of them."""

    def flush(path):
        if f"checkpoint-{at_step}" in str(path) and path.name.endswith(checkpoints.FILE_LIST):
            die()

    checkpoints._flush = flush


def run(clip: Path, folder: Path, resume: bool, prepare: Callable[[], list] = list) -> None:
    callbacks = prepare()
    data = toy_data()
    changing = ChangingClips(data.pixel_values, data.labels)
    listening = [callback for callback in callbacks if callback != "last"]
    trainer = toy_trainer(clip, toy_arguments(folder, **SETTINGS), train_dataset=changing, callbacks=listening)
    trainer.train(resume_from_checkpoint=resume)
    if "last" in callbacks:
        die()
    trainer.save_model()


def in_process(function: Callable[[], None], log: Path) -> int:
    """Runs in a fork; returns its exit code, negative for a signal."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    try:
        function()
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def drill(clip: Path, folder: Path, prepare: Callable[[], list]) -> dict:
    """Kills a run, resumes it, and compares: exit codes, checkpoints left behind, the final adapter's bytes."""
    log = folder.with_suffix(".log")
    killed = in_process(lambda: run(clip, folder, False, prepare), log)
    left = [path.name for path in checkpoints.list_checkpoints(folder)]
    has_whole = checkpoints.find_last_checkpoint(folder) is not None
    resumed = in_process(lambda: run(clip, folder, has_whole), log)
    adapter = folder / "adapter_model.safetensors"
    return {
        "killed": killed,
        "left": left,
        "resumed": resumed,
        "adapter": content_of(adapter) if adapter.is_file() else None,
        "log": log.read_text(),
    }


def content_of(adapter: Path) -> str:
    """A checksum of every bit of the tensors, and of what else the file says; safetensors writes that in any order."""
    with safe_open(adapter, framework="pt") as file:
        digest = hashlib.sha256(json.dumps(sorted(file.metadata().items())).encode())
        for name in sorted(file.keys()):
            digest.update(name.encode() + file.get_tensor(name).numpy().tobytes())
    return digest.hexdigest()


def main(clip: Path, folder: Path) -> None:
    random_step = random.Random(0).randint(SAVE_STEPS + 1, STEPS - 1)
    ways: dict[str, Callable[[], list]] = {
        "step": lambda: [DieAtStep(random_step)],
        "first_step": lambda: [DieAtStep(1)],
        "adapter": lambda: die_in_adapter(6) or [],
        "optimizer": lambda: die_in_torch_save(6, "optimizer.pt") or [],
        "rng": lambda: die_in_torch_save(9, "rng_state.pth") or [],
        "last": lambda: ["last"],  # with every step done, and the adapter not saved
        "seal": lambda: die_before_seal(6) or [],
    }
    whole = in_process(lambda: run(clip, folder / "whole", False), folder / "whole.log")
    results = {name: drill(clip, folder / name, prepare) for name, prepare in ways.items()}
    expected = content_of(folder / "whole" / "adapter_model.safetensors") if whole == 0 else None
    print(json.dumps({"whole": expected, "ways": results}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
