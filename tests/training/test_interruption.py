"""Ctrl-C and SIGTERM: the step is finished, a checkpoint saved, and the command printed that goes on from it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from bad_videos import write_motion_shapes
from safetensors.torch import load_file
from toy_training import TINY, ChangingClips, toy_arguments, toy_data, toy_trainer
from toy_vita_clip import save_toy_clip
from transformers import TrainerCallback

from vita_clip_hf.training import command
from vita_clip_hf.training.checkpoints import find_damage, list_checkpoints
from vita_clip_hf.training.command import resume_command
from vita_clip_hf.training.interruption import TrainingInterruptedError

ROOT = Path(__file__).parents[2]
LAUNCH = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
DEADLINE = 120  # seconds, on a busy machine


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return save_toy_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_motion_shapes(tmp_path_factory.mktemp("motion_shapes"), 8)


class Send(TrainerCallback):
    """Sends this process a signal in the midst of a step."""

    def __init__(self, number: int, at_step: int):
        self.number, self.at_step = number, at_step

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step == self.at_step - 1:
            os.kill(os.getpid(), self.number)


def interruptible(clip, folder, callbacks=(), eval_dataset=None, **settings):
    data = toy_data()
    settings = {"max_steps": 6, **settings}
    changing = ChangingClips(data.pixel_values, data.labels)
    data = {"train_dataset": changing, "eval_dataset": eval_dataset}
    trainer = toy_trainer(clip, toy_arguments(folder, **settings), callbacks=list(callbacks), **data)
    trainer.end_on_signals()
    return trainer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_what_goes_on_has_the_bits_of_a_run_that_was_left_alone(clip, tmp_path, number):
    whole = interruptible(clip, tmp_path / "whole", ema_decay=0.8)
    whole.train()
    whole.save_model()
    before = signal.getsignal(number)
    # No checkpoint is due: save_strategy is "no".
    trainer = interruptible(clip, tmp_path / "ended", [Send(number, at_step=3)], ema_decay=0.8)
    trainer.train()
    assert trainer.interruption.is_ending
    assert trainer.interruption.signal_number == number
    assert trainer.state.global_step == 3
    assert [folder.name for folder in list_checkpoints(tmp_path / "ended")] == ["checkpoint-3"]
    assert find_damage(tmp_path / "ended" / "checkpoint-3") is None
    assert signal.getsignal(number) is before
    resumed = interruptible(clip, tmp_path / "ended", ema_decay=0.8)
    resumed.train(resume_from_checkpoint=True)
    assert not resumed.interruption.is_ending
    resumed.save_model()
    expected, found = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "ended"))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_an_epochs_evaluation_is_left_out_after_a_signal(clip, tmp_path):
    settings = {"eval_strategy": "epoch", "save_strategy": "epoch", "max_steps": 6, "per_device_train_batch_size": 5}
    # In the epoch's last step.
    trainer = interruptible(clip, tmp_path, [Send(signal.SIGINT, at_step=2)], toy_data(4), **settings)
    trainer.train()
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["checkpoint-2"]
    assert not [entry for entry in trainer.state.log_history if "eval_loss" in entry]


class SignalsWhenRead(torch.utils.data.Dataset):
    """Clips to evaluate on; reading the second sends a signal."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        assert index < 4, "the evaluation went on after the signal"
        if index == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return toy_data(6)[index]


def test_a_signal_during_an_evaluation_ends_it_and_saves_the_step_before_it(clip, tmp_path):
    settings = {"eval_strategy": "steps", "eval_steps": 2, "per_device_eval_batch_size": 1}
    trainer = interruptible(clip, tmp_path, eval_dataset=SignalsWhenRead(), **settings)
    trainer.train()
    assert trainer.interruption.is_ending
    assert find_damage(tmp_path / "checkpoint-2") is None
    resumed = interruptible(clip, tmp_path)
    assert resumed.train(resume_from_checkpoint=True).global_step == 6


def test_a_trainer_that_is_not_asked_leaves_signals_alone(clip, tmp_path):
    data = toy_data()
    former = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            toy_trainer(clip, toy_arguments(tmp_path), train_dataset=data, callbacks=[Send(signal.SIGINT, 2)]).train()
    finally:
        signal.signal(signal.SIGINT, former)


# ---- the command ----


def start(videos: Path, folder: Path, launch: list[str]) -> subprocess.Popen:
    settings = ["--num_frames", "2", "--sampling", "uniform", "--per_device_train_batch_size", "2", "--seed", "3"]
    arguments = [*TINY[:2], *TINY[3:], *settings, "--max_steps", "100000", "--logging_steps", "1", "--bf16"]
    command = [sys.executable, *launch, *arguments, "--train", str(videos), "--output_dir", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def read_until_first_loss(process: subprocess.Popen) -> str:
    seen, deadline = "", time.monotonic() + DEADLINE
    while "'loss'" not in seen:
        line = process.stdout.readline()
        assert line, seen
        assert time.monotonic() < deadline, seen
        seen += line
    return seen


def test_the_command_prints_what_goes_on_and_exits_as_a_shell_expects(videos, tmp_path):
    folder = tmp_path / "a folder"
    process = start(videos, folder, ["-m", "vita_clip_hf.cli", "train"])
    seen = read_until_first_loss(process)
    process.send_signal(signal.SIGTERM)
    seen += process.communicate(timeout=DEADLINE)[0]
    assert process.returncode == 143, seen
    assert seen.count("No GPU was found: training runs on the CPU.") == (not torch.accelerator.is_available())
    printed = seen.strip().splitlines()[-1]
    assert printed.startswith("vita-clip train --base package://vita_clip_hf/demo/tiny_clip")
    assert printed.endswith(f"--output_dir '{folder}' --resume_from_checkpoint auto")
    (checkpoint,) = list_checkpoints(folder)
    assert find_damage(checkpoint) is None
    assert str(checkpoint) in seen


def test_two_processes_end_after_the_same_step_and_say_it_once(videos, tmp_path):
    process = start(videos, tmp_path, [*LAUNCH, "examples/train.py"])
    seen = read_until_first_loss(process)
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches the launcher, which sends it to its processes once more
    seen += process.communicate(timeout=DEADLINE)[0]
    assert seen.count("Training was ended by SIGINT") == 1, seen
    assert "accelerate.commands.launch --multi_gpu" in seen
    assert "--resume_from_checkpoint auto" in seen
    (checkpoint,) = list_checkpoints(tmp_path)
    assert find_damage(checkpoint) is None
    assert {path.name for path in checkpoint.glob("rng_state*")} == {"rng_state_0.pth", "rng_state_1.pth"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--train", "a b", "--resume_from_checkpoint", "auto", "--bf16"],
        ["--train", "a b", "--resume-from-checkpoint=old/checkpoint-3", "--bf16"],
        ["--train", "a b", "--bf16"],
    ],
)
def test_the_command_that_goes_on_is_the_one_that_was_typed(arguments):
    expected = "vita-clip train --train 'a b' --bf16 --resume_from_checkpoint auto"
    assert resume_command("vita-clip train", arguments) == expected


def test_a_command_of_several_processes_goes_on_with_as_many(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    expected = "accelerate launch -m vita_clip_hf.cli train --bf16 --resume_from_checkpoint auto"
    assert resume_command("vita-clip train", ["--bf16"]) == expected


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_code_is_the_signals(monkeypatch, tmp_path, capsys, number, code):
    def interrupted(*args):
        raise TrainingInterruptedError(number, "out/checkpoint-3")

    monkeypatch.setattr(command, "run_training", interrupted)
    monkeypatch.setattr(command, "close_process_group", lambda: None)
    arguments = ["--train", "a", "--output_dir", str(tmp_path)]
    assert command.main(arguments, "vita-clip train") == code
    assert f"ended by {signal.Signals(number).name}; out/checkpoint-3 is saved" in capsys.readouterr().err


def test_an_interrupt_before_the_first_step_is_no_traceback(monkeypatch, tmp_path, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_training", interrupted)
    assert command.main(["--train", "a", "--output_dir", str(tmp_path)], "vita-clip train") == 130
    assert capsys.readouterr().err.endswith("vita-clip train: interrupted\n")
