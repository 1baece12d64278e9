"""`vita-clip train` and `examples/train.py`: settings from a file and from the command line, then the run."""

import argparse
import difflib
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from accelerate import PartialState
from transformers import HfArgumentParser, TrainingArguments

from ..exit_codes import exit_code_of
from .arguments import VitaClipTrainingArguments
from .interruption import TrainingInterruptedError
from .options import BaseOptions, DataOptions, ModelOptions
from .process_group import close_process_group
from .run import run_training

DESCRIPTION = """Trains Vita-CLIP's prompts on your videos and saves them as a small adapter.
--method efficient_prompt trains Efficient-Prompt's, --method finetune all of CLIP, which is saved whole.

A folder with one folder of videos for each class is enough:

    vita-clip train --train my_videos/train --validation my_videos/val --output_dir my_adapter --num_train_epochs 10
    vita-clip predict --model my_adapter VIDEO

`vita-clip data check my_videos/train` looks for videos that cannot be read first. Settings can stand in a YAML or JSON
file, and be changed beside it: `vita-clip train k400_b16_8f.yaml --learning_rate 2e-4`. A run that was stopped goes on
with --resume_from_checkpoint auto. On several GPUs: `accelerate launch examples/train.py ...` with the same settings.
"""
EPILOG = "These are the settings most runs need; --help-all shows the Trainer's others too."
# The arguments of transformers that --help shows.
COMMON = (
    "output_dir",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "weight_decay",
    "warmup_steps",
    "lr_scheduler_type",
    "label_smoothing_factor",
    "bf16",
    "fp16",
    "torch_compile",
    "activation_checkpointing",
    "gradient_checkpointing",
    "dataloader_num_workers",
    "eval_strategy",
    "eval_steps",
    "save_strategy",
    "save_steps",
    "save_total_limit",
    "load_best_model_at_end",
    "metric_for_best_model",
    "logging_steps",
    "report_to",
    "resume_from_checkpoint",
    "push_to_hub",
    "hub_model_id",
    "use_cpu",
    "seed",
)


def main(arguments: Sequence[str] | None = None, prog: str = "train.py") -> int:
    """
    Runs a training.

    Returns:
        The exit code: 0; 1 after an error, which is one line on stderr; 130 after Ctrl-C, 143 after SIGTERM.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    return exit_code_of(prog, lambda: _train(given, prog))


def _train(arguments: list[str], prog: str) -> int:
    try:
        model, data, args = parse(arguments, prog)
        figures = run_training(model, data, args)
        if args.process_index == 0:
            print(describe_result(args.output_dir, figures))
        close_process_group()
    except TrainingInterruptedError as error:
        if PartialState().is_main_process:
            print(f"{prog}: {error} Go on with:\n{resume_command(prog, arguments)}", file=sys.stderr)
        close_process_group()
        return 128 + error.signal_number
    return 0


def describe_result(output_dir: str, figures: dict[str, Any]) -> str:
    """The figures, and what to do next."""
    shown = {name: round(value, 4) for name, value in figures.items() if isinstance(value, int | float)}
    folder = shlex.quote(output_dir)
    next_step = f"Saved to {output_dir}. Try: vita-clip predict --model {folder} VIDEO"
    return "\n".join([*(f"{name:>32}  {value}" for name, value in shown.items()), next_step])


def resume_command(prog: str, arguments: Sequence[str]) -> str:
    """The command as it was typed, with `--resume_from_checkpoint auto`; the launcher's too, where it can be found."""
    start = prog.split() if prog.startswith("vita-clip") else [*_launcher(), sys.argv[0]]
    kept, skip = [], False
    for argument in arguments:
        flag = argument.partition("=")[0].replace("-", "_")
        if skip or flag == "__resume_from_checkpoint":
            skip = not skip and "=" not in argument
            continue
        kept.append(argument)
    return shlex.join([*start, *kept, "--resume_from_checkpoint", "auto"])


def _launcher() -> list[str]:
    """The start of the command before the program: `accelerate launch --num_processes 2`, or `python`."""
    if "WORLD_SIZE" not in os.environ:
        return ["python"]
    try:  # on Linux, the parent is the launcher
        command = Path(f"/proc/{os.getppid()}/cmdline").read_text(encoding="utf-8").rstrip("\0").split("\0")
        before = command[: command.index(sys.argv[0])]
    except (OSError, ValueError):
        return ["accelerate", "launch"]
    return [Path(word).name if place < 2 and os.path.isabs(word) else word for place, word in enumerate(before)]


def parse(arguments: list[str], prog: str) -> tuple[BaseOptions, DataOptions, VitaClipTrainingArguments]:
    """
    Reads settings from the command line, and before them from the file that its first argument may name.

    Raises:
        OSError: the file cannot be read.
        ValueError: a setting is not known, is missing, or makes no sense.
    """
    parser = build_parser(prog, show_all="--help-all" in arguments)
    given: dict[str, Any] = {}
    if arguments and not arguments[0].startswith("-"):
        given = read_settings(Path(arguments[0]), [action.dest for action in parser._actions])
        arguments = arguments[1:]
    if "--help-all" in arguments:
        arguments = ["--help"]
    parser.set_defaults(**given)
    for action in parser._actions:
        action.required = action.required and action.dest not in given
    settings, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise ValueError(_describe_unknown(unknown, parser))
    if not settings.output_dir:
        raise ValueError("There is no place for the results: give --output_dir a folder.")
    flags = (argument.split("=")[0] for argument in arguments if argument.startswith("--"))
    typed = {flag.lstrip("-").replace("-", "_") for flag in flags}
    parser.set_defaults(**_choose_steps(typed, given), **_choose_evaluation(typed | given.keys(), settings))
    model, data, args, *_ = parser.parse_args_into_dataclasses(args=arguments, look_for_args_file=False)
    return model, data, args


def _choose_steps(typed: Set[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Epochs that are asked for are not overruled by the recipe's steps. The command line comes before the file."""
    for named in (typed, given.keys()):
        if "max_steps" in named:
            return {}
        if "num_train_epochs" in named:
            return {"max_steps": -1}
    return {}


def _choose_evaluation(chosen: Set[str], settings: argparse.Namespace) -> dict[str, Any]:
    """With a validation set each epoch is evaluated, unless something else is chosen; with every save, if the best of
    them is to be kept."""
    if "eval_strategy" in chosen or not settings.validation:
        return {}
    if "eval_steps" in chosen:
        return {"eval_strategy": "steps"}
    if settings.load_best_model_at_end and str(settings.save_strategy) == "steps":
        return {"eval_strategy": "steps", "eval_steps": settings.save_steps}
    return {"eval_strategy": "epoch"}


# What settings are called by other commands and trainers, which no likeness of letters finds.
_OTHER_NAMES = {
    "--model": "--base",
    "--model_name_or_path": "--base",
    "--data": "--train",
    "--output": "--output_dir",
    "--epochs": "--num_train_epochs",
    "--steps": "--max_steps",
    "--lr": "--learning_rate",
    "--batch_size": "--per_device_train_batch_size",
    "--workers": "--dataloader_num_workers",
    "--num_workers": "--dataloader_num_workers",
    "--resume": "--resume_from_checkpoint",
}


def _describe_unknown(unknown: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """An error for arguments that the parser does not know."""
    known = [option for action in parser._actions for option in action.option_strings]
    flags = [argument.partition("=")[0] for argument in unknown if argument.startswith("-")]
    if not flags:
        return f"{unknown[0]!r} belongs to no setting. A file of settings comes first; names with blanks need quotes."
    name = flags[0].replace("-", "_").replace("__", "--", 1)
    near = [_OTHER_NAMES[name]] if name in _OTHER_NAMES else difflib.get_close_matches(name, known, 1)
    near = near or [option for option in known if option.startswith(flags[0])][:1]
    return f"There is no setting {flags[0]}" + (f"; is {near[0]} meant?" if near else ". --help-all shows all.")


def build_parser(prog: str, show_all: bool) -> HfArgumentParser:
    """transformers' parser of all settings. Its help leaves out those that few runs need, unless `show_all`."""
    parser = HfArgumentParser(
        (ModelOptions, DataOptions, VitaClipTrainingArguments),
        prog=prog,
        usage=f"{prog} [SETTINGS.yaml] --train VIDEOS --output_dir FOLDER [...]",
        description=DESCRIPTION,
        epilog=None if show_all else EPILOG,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter if show_all else _ShortHelp,
        allow_abbrev=False,
    )
    parser.add_argument("--help-all", action="store_true", help="show every setting, the Trainer's own too")
    trainers_own = {option.name for option in fields(TrainingArguments)}.difference(COMMON)
    if not show_all:
        for action in parser._actions:
            if action.dest in trainers_own:
                action.help = argparse.SUPPRESS
    return parser


def read_settings(path: Path, known: Sequence[str]) -> dict[str, Any]:
    """
    A YAML or JSON file of settings.

    Raises:
        OSError: it cannot be read.
        ValueError: it does not hold settings, or one that is not known.
    """
    text = path.read_text(encoding="utf-8")
    try:
        settings = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} holds a {type(settings).__name__}; expected lines of `name: value`.")
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise ValueError(f"{path}: there is no setting {name!r}" + (f"; is {near[0]!r} meant?" if near else "."))
    return settings


class _ShortHelp(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps paragraphs as they are written, and prints no empty default."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, "", []) else super()._get_help_string(action)
