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
from ..text_files import read_text
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
with --resume_from_checkpoint auto. On several GPUs: `accelerate launch -m vita_clip_hf.cli train ...`.
"""
EPILOG = "These are the settings most runs need; --help-all shows the Trainer's others too."
_MODULE = "vita_clip_hf.cli"  # `python -m` runs it, and so does `accelerate launch -m`
# What transformers' own words leave out, or say of another program.
_MEANINGS = {
    "output_dir": "folder for adapter, checkpoints and figures",
    "num_train_epochs": "passes over the training videos, in place of max_steps (default: max_steps counts)",
    "max_steps": "optimizer steps, unless num_train_epochs is given (default: %(default)s)",
    "report_to": "none, all, or names of trackers: tensorboard, trackio (pip install 'vita-clip-hf[tracking]'), "
    "wandb, ... (default: %(default)s)",
    "eval_strategy": "when --validation is evaluated (default: after each epoch; with eval_steps every so many steps)",
    "metric_for_best_model": "the figure that says which is best: eval_loss, eval_top_1, or eval_NAME_top_1 of the "
    "zero-shot set NAME (default: eval_loss)",
    "load_best_model_at_end": "save the best of the checkpoints in the end, not the last (default: %(default)s)",
    "resume_from_checkpoint": "a checkpoint's folder to go on from; or auto: the newest whole one in output_dir, and "
    "from the start if there is none",
    "push_to_hub": "publish the adapter with card and code when training has ended (default: %(default)s)",
    "hub_model_id": "where to, as USER/NAME (default: the name of output_dir)",
}
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
    is_command = prog.startswith("vita-clip")
    if "WORLD_SIZE" in os.environ:
        start = [*_launcher(), *(("-m", _MODULE, "train") if is_command else (sys.argv[0],))]
    else:
        start = prog.split() if is_command else ["python", sys.argv[0]]
    kept, skip = [], False
    for argument in arguments:
        flag = argument.partition("=")[0].replace("-", "_")
        if skip or flag == "__resume_from_checkpoint":
            skip = not skip and "=" not in argument
            continue
        kept.append(argument)
    return shlex.join([*start, *kept, "--resume_from_checkpoint", "auto"])


def _launcher() -> list[str]:
    """The start of the command before the program, such as `accelerate launch --num_processes 2`."""
    try:  # on Linux, the parent is the launcher
        command = Path(f"/proc/{os.getppid()}/cmdline").read_text(encoding="utf-8").rstrip("\0").split("\0")
        program = command.index(_MODULE) - 1 if _MODULE in command else command.index(sys.argv[0])
        before = command[:program]
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
        actions = {action.dest: action for action in parser._actions if not action.dest.startswith("help")}
        read = read_settings(Path(arguments[0]), list(actions))
        given = {name: _as_typed(value, actions[name]) for name, value in read.items()}
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


_OWN = {option.name for options in (ModelOptions, DataOptions) for option in fields(options)}
# What settings are called by other commands and trainers, which no likeness of letters finds.
_OTHER_NAMES = {
    "--model": "--base",
    "--model_name_or_path": "--base",
    "--data": "--train",
    "--val": "--validation",
    "--output": "--output_dir",
    "--epochs": "--num_train_epochs",
    "--steps": "--max_steps",
    "--lr": "--learning_rate",
    "--batch": "--per_device_train_batch_size",
    "--batch_size": "--per_device_train_batch_size",
    "--frames": "--num_frames",
    "--stride": "--sampling_stride",
    "--views": "--temporal_views",
    "--classes": "--class_names",
    "--labels": "--class_names",
    "--device": "--use_cpu",
    "--precision": "--bf16",
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
    name = "--" + flags[0].lstrip("-").replace("-", "_")
    near = next(iter(difflib.get_close_matches(name, [*known, *_OTHER_NAMES], 1, cutoff=0.7)), None)
    near = near or next((option for option in known if option.startswith(name)), None)
    near = _OTHER_NAMES.get(near or "", near)
    return f"There is no setting {flags[0]}" + (f"; is {near} meant?" if near else ". --help-all shows all.")


def build_parser(prog: str, show_all: bool) -> HfArgumentParser:
    """transformers' parser of all settings. Its help leaves out those that few runs need, unless `show_all`."""
    parser = HfArgumentParser(
        (ModelOptions, DataOptions, VitaClipTrainingArguments),
        prog=prog,
        usage=f"{prog} [SETTINGS.yaml] --train VIDEOS --output_dir FOLDER [...]",
        description=DESCRIPTION,
        epilog=None if show_all else EPILOG,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    parser.add_argument("--help-all", action="store_true", help="show every setting, the Trainer's own too")
    trainers_own = {option.name for option in fields(TrainingArguments)}.difference(COMMON)
    for action in parser._actions:
        if action.dest in trainers_own and not show_all:
            action.help = argparse.SUPPRESS
        elif action.option_strings[0].startswith("--no_"):
            action.help = f"switches --{action.dest} off"
        action.help = _MEANINGS.get(action.dest, action.help)
        if action.dest == "report_to":
            action.nargs = "+"
    return parser


def _as_typed(value: Any, action: argparse.Action) -> Any:
    """
    A value of a file of settings as the command line would give it.

    Raises:
        ValueError: it is a list or an object where one value is expected.
    """
    if value is False and "no" in (action.choices or ()):
        return "no"  # YAML reads the word as false
    if action.type is not str or action.dest not in _OWN or value is None or action.nargs == "+":
        return value  # the parser or the settings themselves check it; some of the Trainer's are objects
    if isinstance(value, list | dict):
        raise ValueError(f"{action.dest} is {value!r}; expected one value.")
    return str(value)


def read_settings(path: Path, known: Sequence[str]) -> dict[str, Any]:
    """
    A YAML or JSON file of settings.

    Raises:
        OSError: it cannot be read.
        ValueError: it does not hold settings, one twice, or one that is not known.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is no file of settings (YAML or JSON), which is what the first argument names. Videos are given "
            "by --train."
        )
    text = read_text(path)
    try:
        if path.suffix == ".json":
            settings = json.loads(text, object_pairs_hook=_distinct)
        else:
            settings = yaml.load(text, _DistinctKeys)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(settings, dict):
        found = "nothing" if settings is None else f"a {type(settings).__name__}"
        raise ValueError(f"{path} holds {found}; expected lines of `name: value`.")
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            raise ValueError(f"{path}: there is no setting {name!r}" + (f"; is {near[0]!r} meant?" if near else "."))
    return settings


def _distinct(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    """Raises `ValueError` for a name that stands twice; readers of JSON and YAML take the last one silently."""
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} stands there twice.")
    return dict(pairs)


class _DistinctKeys(yaml.SafeLoader):
    """Refuses names that stand twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        _distinct([(key.value, None) for key, _ in node.value])
        return super().construct_mapping(node, deep)


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps paragraphs as they are written, and prints a default once, and none that is empty or of a switch."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_all = action.default in (None, "", []) or action.nargs == 0 or "(default: " in (action.help or "")
        return action.help if says_all else super()._get_help_string(action)
