"""
Does to training runs what machines do to them, and resumes them:

    python tests/checkpoint_drill.py FOLDER [--form short] [--seed 0] [--ways kill disk] [--json results.jsonl]

* kill: SIGKILL at random points of a run, and before its first and after its last step;
* write: SIGKILL at each write of a checkpoint, with half of the file on the disk where it is written at once;
* disk: a disk of each of some sizes, full at some point of the run (a tmpfs where that can be mounted, else a limit on
  the length of every file, beyond which the write call fails);
* flip: one byte of each file of the newest checkpoint is another.

Whatever happened, the run must go on from a whole checkpoint and store the bits of a run that was left alone: weights,
average, optimizer, schedule, random states and log in every checkpoint of the same step, the content of every batch of
every step, and the final adapter. A line of JSON tells of each case, a table of all. Each run is a process of its own,
forked after the imports, which take longer than a run.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from hostile.page import put_table, rows
from safetensors import safe_open
from toy_training import ChangingClips, toy_arguments, toy_data, toy_trainer
from toy_vita_clip import save_toy_clip
from transformers import TrainerCallback
from vita_clip_hf.modeling import adapter_file_vita_clip

from vita_clip_hf.training import checkpoints
from vita_clip_hf.training.callbacks import prompt_average

STEPS, SAVE_STEPS, KILLED_WRITE = 11, 3, 6
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
ADAPTER = "adapter_model.safetensors"
WAYS = {
    "kill": "killed at a random point",
    "write": "killed in a write of a checkpoint",
    "disk": "disk full, at several sizes",
    "flip": "one byte of a file of the checkpoint flipped",
}
FORMS = {  # kills, every so many-th write, sizes of a disk, every so many-th file
    "short": (1, 25, 3, 20),
    "long": (50, 1, 20, 1),
}


@dataclass
class Case:
    """
    Args:
        way: kill, write, disk or flip.
        point: where it happened.
        ended: exit code of the run, negative for a signal.
        left: checkpoints that it left.
        resumed: exit code of the run that went on.
        fault: what is wrong; `None` if all bits are the same.
    """

    way: str
    point: str
    ended: int
    left: list[str]
    resumed: int
    fault: str | None


# ---- one run ----


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Batches(TrainerCallback):
    """Writes down what was in the batches of each step, beside the run's folder."""

    def __init__(self, trainer: Any, path: Path):
        self._path, self._digest, self._step = path, hashlib.sha256(), trainer.training_step
        trainer.training_step = self._note

    def _note(self, model: Any, inputs: dict[str, torch.Tensor], *args: Any) -> torch.Tensor:
        for name in ("pixel_values", "labels"):
            self._digest.update(inputs[name].numpy().tobytes())
        return self._step(model, inputs, *args)

    def on_step_end(self, args, state, control, **kwargs):
        with self._path.open("a") as file:
            file.write(f"{state.global_step} {self._digest.hexdigest()}\n")
        self._digest = hashlib.sha256()


class DieAtStep(TrainerCallback):
    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            die()


class DieInStep(TrainerCallback):
    """Dies some seconds after the beginning of a step: in the step, in the checkpoint after it, or in a later step."""

    def __init__(self, step: int, seconds: float):
        self.step, self.timer = step, threading.Timer(seconds, die)

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step - 1 and not self.timer.is_alive():
            self.timer.start()

    def on_train_end(self, args, state, control, **kwargs):
        self.timer.join()


def run(clip: Path, folder: Path, prepare: Callable[[Any], None] = lambda trainer: None, **settings: Any) -> None:
    """A run of a second, from the last whole checkpoint if there is one."""
    data = toy_data()
    changing = ChangingClips(data.pixel_values, data.labels)
    trainer = toy_trainer(clip, toy_arguments(folder, **{**SETTINGS, **settings}), train_dataset=changing)
    trainer.add_callback(Batches(trainer, beside(folder, ".batches")))
    prepare(trainer)
    trainer.train(resume_from_checkpoint=checkpoints.find_last_checkpoint(folder) is not None)
    trainer.save_model()


def beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(folder.name + suffix)


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
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


# ---- what is stored ----


def content_of(path: Path) -> str:
    """A checksum of every bit of the tensors, and of what else the file says; safetensors writes that in any order."""
    with safe_open(path, framework="pt") as file:
        digest = hashlib.sha256(json.dumps(sorted((file.metadata() or {}).items())).encode())
        for name in sorted(file.keys()):
            digest.update(name.encode() + file.get_tensor(name).numpy().tobytes())
    return digest.hexdigest()


def digest_of(value: Any) -> str:
    """A checksum of nested containers of tensors, arrays and plain values."""
    if isinstance(value, dict):
        parts = [f"{key}: {digest_of(value[key])}" for key in sorted(value, key=str)]
    elif isinstance(value, (list, tuple)):
        parts = [digest_of(item) for item in value]
    elif hasattr(value, "numpy"):
        parts = [str(value.dtype), hashlib.sha256(value.numpy().tobytes()).hexdigest()]
    elif hasattr(value, "tobytes"):
        parts = [str(value.dtype), hashlib.sha256(value.tobytes()).hexdigest()]
    else:
        parts = [repr(value)]
    return hashlib.sha256("\n".join([type(value).__name__, *parts]).encode()).hexdigest()


def state_of(folder: Path) -> dict[str, str]:
    """Checksums of all that a checkpoint stores of a run; of its log what does not depend on the clock."""
    stored = {path.name: content_of(path) for path in folder.glob("*.safetensors")}
    stored |= {path.name: digest_of(torch.load(path, weights_only=False)) for path in folder.glob("*.pt*")}
    state = json.loads((folder / "trainer_state.json").read_text())
    log = [{name: entry.get(name) for name in ("step", "loss", "grad_norm")} for entry in state["log_history"]]
    stored["trainer_state.json"] = digest_of([state["global_step"], state["epoch"], log])
    return stored


def batches_of(folder: Path) -> set[str]:
    return set(beside(folder, ".batches").read_text().splitlines())


@dataclass
class Whole:
    """A run that was left alone: its folder, duration, and what it stored."""

    seconds: float
    adapter: str
    states: dict[str, dict[str, str]]
    batches: set[str]


def run_whole(clip: Path, folder: Path) -> Whole:
    begin = time.monotonic()
    log = beside(folder, ".log")
    if in_process(lambda: run(clip, folder, save_total_limit=None), log) != 0:
        raise RuntimeError(log.read_text())
    seconds = time.monotonic() - begin
    states = {path.name: state_of(path) for path in checkpoints.list_checkpoints(folder)}
    return Whole(seconds, content_of(folder / ADAPTER), states, batches_of(folder))


def go_on(way: str, point: str, ended: int, clip: Path, folder: Path, whole: Whole) -> Case:
    """Resumes what is left of a run, and compares all that is stored then."""
    log, left = beside(folder, ".log"), checkpoints.list_checkpoints(folder)
    fault = next((f"{path.name} differs" for path in left if is_whole_and_other(path, whole)), None)
    resumed = in_process(lambda: run(clip, folder), log)
    if resumed != 0:
        fault = fault or log.read_text()[-2000:]
    elif content_of(folder / ADAPTER) != whole.adapter:
        fault = fault or "the final adapter differs"
    for path in checkpoints.list_checkpoints(folder) if fault is None else ():
        if damage := checkpoints.find_damage(path):
            fault = f"{path.name}: {damage}"
        elif state_of(path) != whole.states[path.name]:
            fault = f"{path.name} differs after the resumed run"
    if fault is None and not batches_of(folder) <= whole.batches:
        fault = "batches differ"
    return Case(way, point, ended, [path.name for path in left], resumed, fault)


def is_whole_and_other(folder: Path, whole: Whole) -> bool:
    return checkpoints.find_damage(folder) is None and state_of(folder) != whole.states[folder.name]


# ---- the ways ----


def kill_at_random(clip: Path, folder: Path, whole: Whole, number: int, draw: random.Random) -> Iterator[Case]:
    ends: list[tuple[str, Callable[[Any], None]]] = [
        ("after the first step", lambda trainer: trainer.add_callback(DieAtStep(1))),
        ("after the last step", die_after_training),
    ]
    for name, prepare in ends:
        place = folder / name.replace(" ", "-")
        ended = in_process(lambda place=place, prepare=prepare: run(clip, place, prepare), beside(place, ".log"))
        yield go_on("kill", name, ended, clip, place, whole)
    for index in range(number):
        place, step = folder / f"kill-{index}", draw.randint(1, STEPS)
        seconds = draw.uniform(0.0, 2 * whole.seconds / STEPS)
        die_in_step = DieInStep(step, seconds)
        ended = in_process(
            lambda place=place, dies=die_in_step: run(clip, place, lambda trainer: trainer.add_callback(dies)),
            beside(place, ".log"),
        )
        beside(place, ".batches").touch()
        yield go_on("kill", f"{seconds:.3f} s after step {step} began", ended, clip, place, whole)
        shutil.rmtree(place)


def die_after_training(trainer: Any) -> None:
    """With every step done, and the adapter not saved."""
    train = trainer.train

    def train_and_die(**kwargs: Any) -> None:
        train(**kwargs)
        die()

    trainer.train = train_and_die


class WritesOfCheckpoint:
    """
    Counts the writes of one checkpoint and dies at one of them: files and folders that are made, moved or removed, and
    tensors, of which half is on the disk.
    """

    def __init__(self, die_at: int | None, names: Path):
        self._die_at, self._names, self._count = die_at, names, 0
        sys.addaudithook(self._audit)
        torch.save = self._halved(torch.save)
        for module in (adapter_file_vita_clip, prompt_average):
            module.save_file = self._halved(module.save_file)

    def _audit(self, event: str, arguments: tuple) -> None:
        if event == "open" and not (isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
            return
        if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"):
            paths = [os.fsdecode(path) for path in arguments[:2] if isinstance(path, (str, bytes, os.PathLike))]
            if any(f"checkpoint-{KILLED_WRITE}" in path for path in paths):
                self._pass(f"{event} {Path(paths[-1] if event == 'os.rename' else paths[0]).name}")

    def _halved(self, save: Callable[..., None]) -> Callable[..., None]:
        def save_half(value: Any, path: Any, *args: Any, **kwargs: Any) -> None:
            save(value, path, *args, **kwargs)
            if f"checkpoint-{KILLED_WRITE}" in str(path):
                size = os.path.getsize(path)
                if self._count + 1 == self._die_at:
                    os.truncate(path, size // 2)
                self._pass(f"half of {Path(path).name}")

        return save_half

    def _pass(self, name: str) -> None:
        self._count += 1
        if self._die_at is None:
            with open(self._names, "a") as file:
                file.write(name + "\n")
        elif self._count == self._die_at:
            die()


def kill_in_writes(clip: Path, folder: Path, whole: Whole, every: int) -> Iterator[Case]:
    names = folder / "writes.txt"
    place = folder / "writes"
    in_process(lambda: run(clip, place, lambda _: note_writes(None, names)), beside(place, ".log"))
    points = names.read_text().splitlines()
    for number in range(1, len(points) + 1, every):
        place = folder / f"write-{number}"
        ended = in_process(
            lambda place=place, number=number: run(clip, place, lambda _: note_writes(number, names)),
            beside(place, ".log"),
        )
        point = f"{number} of {len(points)}: {points[number - 1]}"
        case = go_on("write", point, ended, clip, place, whole)
        if ended != -signal.SIGKILL and case.fault is None:
            case.fault = f"the run was not killed there; it ended with {ended}"
        yield case
        shutil.rmtree(place)


def note_writes(die_at: int | None, names: Path) -> None:
    WritesOfCheckpoint(die_at, names)


@contextmanager
def small_disk(folder: Path, num_bytes: int) -> Iterator[Callable[[], None] | None]:
    """A disk of that size mounted at a folder; gives a function that makes it larger, `None` without the right to."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={num_bytes}", "tmpfs", str(folder)]
    try:
        is_mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        is_mounted = False
    if not is_mounted:
        yield None
        return
    try:
        enlarge = ["mount", "-o", "remount,size=1g", str(folder)]
        yield lambda: subprocess.run(enlarge, check=True) and None
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_disk(clip: Path, folder: Path, whole: Whole, number: int, checkpoint: Path) -> Iterator[Case]:
    one = sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
    longest = max(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
    for index in range(number):
        share = (index + 1) / number
        mounted = folder / f"disk-{index}"
        with small_disk(mounted, int(3.5 * one * share)) as enlarge:
            place = mounted / "run"
            log = folder / f"disk-{index}.log"
            if enlarge is None:
                point, limit = f"files of {longest * share:.0f} bytes", int(longest * share)
                ended = in_process(lambda place=place, limit=limit: run_with_short_files(clip, place, limit), log)
            else:
                point = f"disk of {3.5 * one * share / 1024:.0f} KiB"
                ended = in_process(lambda place=place: run(clip, place), log)
            fault = find_fault_of_full_disk(ended, place, log.read_text())
            if enlarge is not None:
                enlarge()
            beside(place, ".batches").touch()
            case = go_on("disk", point, ended, clip, place, whole)
            case.fault = fault or case.fault
            yield case


def run_with_short_files(clip: Path, folder: Path, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    run(clip, folder)


def find_fault_of_full_disk(ended: int, folder: Path, log: str) -> str | None:
    """One clear error, no unfinished checkpoint, nothing temporary."""
    unfinished = [path.name for path in checkpoints.list_checkpoints(folder) if checkpoints.find_damage(path)]
    temporary = [path.name for path in folder.glob(".*-*") if path.is_dir()] if folder.is_dir() else []
    if unfinished or temporary:
        return f"{', '.join([*unfinished, *temporary])} is left"
    last = next((line for line in reversed(log.splitlines()) if line.strip()), "")
    if ended != 0 and not (ended == 1 and last.startswith("OSError: ")):
        return f"ended with {ended} and {last!r}"
    return None


def flip_bytes(clip: Path, folder: Path, whole: Whole, every: int, draw: random.Random) -> Iterator[Case]:
    source = folder / "flips"
    ended = in_process(lambda: run(clip, source), beside(source, ".log"))
    newest = checkpoints.list_checkpoints(source)[-1].name
    files = sorted(path.relative_to(source) for path in (source / newest).rglob("*") if path.is_file())
    for index, name in enumerate(files[::every]):
        place = folder / f"flip-{index}"
        shutil.copytree(source, place)
        shutil.copy(beside(source, ".batches"), beside(place, ".batches"))
        (place / ADAPTER).unlink()
        content = bytearray((place / name).read_bytes())
        at = draw.randrange(len(content))
        content[at] ^= draw.randrange(1, 256)
        (place / name).write_bytes(content)
        is_found = checkpoints.find_damage(place / newest) is not None
        # Between the entries of the list a blank may be another blank.
        is_harmless = name.name == checkpoints.FILE_LIST and json_of(place / name) == json_of(source / name)
        case = go_on("flip", f"{name.name}, byte {at}", ended, clip, place, whole)
        if not (is_found or is_harmless):
            case.fault = f"the flipped byte of {name.name} was not found"
        yield case
        shutil.rmtree(place)


def json_of(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


# ---- all ----


def drill(folder: Path, form: str, seed: int, ways: Sequence[str]) -> Iterator[Case]:
    """All cases of some ways, one after another."""
    kills, every_write, sizes, every_file = FORMS[form]
    clip = save_toy_clip(folder / "clip")
    whole = run_whole(clip, folder / "whole")
    if "kill" in ways:
        yield from kill_at_random(clip, folder, whole, kills, random.Random(seed))
    if "write" in ways:
        yield from kill_in_writes(clip, folder, whole, every_write)
    if "disk" in ways:
        yield from fill_disk(clip, folder, whole, sizes, folder / "whole" / f"checkpoint-{STEPS}")
    if "flip" in ways:
        yield from flip_bytes(clip, folder, whole, every_file, random.Random(seed))


def table(cases: list[Case]) -> str:
    """Markdown, a line for each way."""
    lines = []
    for way, words in WAYS.items():
        those = [case for case in cases if case.way == way]
        faults = [case for case in those if case.fault]
        lines.append([words, str(len(those)), str(len(those) - len(faults)), str(len(faults))])
    return rows(["training run", "tried", "went on with the same bits", "faults"], *lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="for the runs; a temporary one by default")
    parser.add_argument("--form", choices=FORMS, default="long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--json", type=Path, help="a line for each case")
    parser.add_argument("--render", type=Path, help="page to put the table into")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a fork and OpenMP do not go together
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for case in drill(folder, options.form, options.seed, options.ways):
        cases.append(case)
        line = json.dumps(asdict(case))
        if options.json is not None:
            with options.json.open("a") as file:
                file.write(line + "\n")
        print(line, file=sys.stderr)
    print(table(cases))
    if options.render is not None:
        put_table(options.render, "training", table(cases))
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if any(case.fault for case in cases) else 0


if __name__ == "__main__":
    sys.exit(main())
