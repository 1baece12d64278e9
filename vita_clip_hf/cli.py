"""`vita-clip ...`, also `python -m vita_clip_hf.cli`: parses, calls one function, prints what it returns."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from . import benchmark, evaluate
from .app import command as app
from .convert import command as convert
from .data import command as data
from .demo import command as demo
from .exit_codes import exit_code_of
from .hub import command as publish
from .predict import command as predict
from .visualize import command as visualize

EPILOG = """from videos to an adapter, and from an adapter to names:
  vita-clip data check my_videos/train
  vita-clip train --train my_videos/train --validation my_videos/val --output_dir my_adapter --num_train_epochs 10
  vita-clip predict --model my_adapter video.mp4

`vita-clip COMMAND --help` says more; `vita-clip demo --quick` shows all of it in a minute, without any data."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code: 0; 1 after an error, which is one line on stderr; 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["train"]:  # it has transformers' parser of its own
        return exit_code_of("vita-clip train", lambda: _train(arguments[1:]))
    options = build_parser().parse_args(arguments)
    return exit_code_of(f"vita-clip {options.command}", lambda: options.run(options))


def _train(arguments: Sequence[str]) -> int:
    from .training.command import main as train

    return train(arguments, prog="vita-clip train")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands. Each room adds its own, and imports what the command needs when it runs."""
    parser = _Parser(
        prog="vita-clip",
        description="A frozen CLIP that reads videos, by prompts alone.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vita-clip-hf {version('vita-clip-hf')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    demo.add_parser(commands)
    commands.add_parser("train", help="train prompts on your videos, on one device or many", add_help=False)
    predict.add_parser(commands)
    publish.add_parser(commands)
    convert.add_parser(commands)
    data.add_parser(commands)
    evaluate.add_parsers(commands)
    visualize.add_parser(commands)
    app.add_parser(commands)
    benchmark.add_parser(commands)
    return parser


class _Help(argparse.HelpFormatter):
    """Keeps the lines of texts that have several: of two examples each has its own."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class _Parser(argparse.ArgumentParser):
    """Takes no abbreviations, and says which option or command a misspelt one may be."""

    def __init__(self, **settings: Any):
        super().__init__(**{"allow_abbrev": False, "formatter_class": _Help, **settings})

    def parse_known_args(self, args=None, namespace=None):
        arguments = sys.argv[1:] if args is None else list(args)
        options = [option for action in self._actions for option in action.option_strings]
        commands = self._commands()
        for argument in arguments:
            if argument == "--":
                break
            if commands and not argument.startswith("-"):
                self._suggest(argument, commands, "command")
                break  # what follows is for the command's own parser
            if argument.startswith("--"):
                self._suggest(argument.partition("=")[0], options, "option")
        return super().parse_known_args(args, namespace)

    def _commands(self) -> list[str]:
        found = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        return [name for action in found for name in action.choices]

    def _suggest(self, found: str, known: Sequence[str], kind: str) -> None:
        near = difflib.get_close_matches(found, known, 1)
        if near and found not in known:
            self.error(f"there is no {kind} {found}; is {near[0]} meant?")


if __name__ == "__main__":
    sys.exit(main())
