"""`vita-clip train` and `examples/train.py`: settings from a file and from the command line, then the run."""

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser, TrainingArguments

from ..exit_codes import exit_code_of
from .arguments import VitaClipTrainingArguments
from .options import BaseOptions, DataOptions, ModelOptions
from .process_group import close_process_group
from .run import run_training

DESCRIPTION = """Trains the prompts on your videos and saves them as a small adapter.

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
    """Runs a training. Returns the exit code: 0, or 1 after an error, which is one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return exit_code_of(prog, lambda: _train(given, prog))


def _train(arguments: list[str], prog: str) -> None:
    figures = run_training(*parse(arguments, prog))
    close_process_group()
    shown = {name: round(value, 4) for name, value in figures.items() if isinstance(value, int | float)}
    print("\n".join(f"{name:>32}  {value}" for name, value in shown.items()))


def parse(arguments: list[str], prog: str) -> tuple[BaseOptions, DataOptions, VitaClipTrainingArguments]:
    """
    Reads settings from the command line, and before them from the file that its first argument may name.

    Raises:
        OSError: the file cannot be read.
        ValueError: a setting is not known, or makes no sense.
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
    flags = (argument.split("=")[0] for argument in arguments if argument.startswith("--"))
    typed = {flag.lstrip("-").replace("-", "_") for flag in flags}
    for named in (typed, given.keys()):  # the command line comes before the file
        if "max_steps" in named:
            break
        if "num_train_epochs" in named:
            parser.set_defaults(max_steps=-1)  # else the recipe's steps would overrule the epochs that were asked for
            break
    model, data, args, *_ = parser.parse_args_into_dataclasses(args=arguments)
    return model, data, args


def build_parser(prog: str, show_all: bool) -> HfArgumentParser:
    """transformers' parser of all settings. Its help leaves out those that few runs need, unless `show_all`."""
    parser = HfArgumentParser(
        (ModelOptions, DataOptions, VitaClipTrainingArguments),
        prog=prog,
        usage=f"{prog} [SETTINGS.yaml] --train VIDEOS --output_dir FOLDER [...]",
        description=DESCRIPTION,
        epilog=None if show_all else EPILOG,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter if show_all else _ShortHelp,
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
