"""`vita-clip ...`, also `python -m vita_clip_hf.cli`: parses, calls one function, prints what it returns."""

import argparse
import sys
from collections.abc import Sequence

from . import benchmark, evaluate, predict
from .convert import command as convert
from .data import command as data
from .demo import command as demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code: 0, or 1 after an error that the user can mend."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["train"]:  # it has transformers' parser of its own
        from .training.command import main as train

        return train(arguments[1:], prog="vita-clip train")
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError, ImportError) as error:
        print(f"vita-clip {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"vita-clip {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands. Each room adds its own, and imports what the command needs when it runs."""
    parser = argparse.ArgumentParser(
        prog="vita-clip", description="A frozen CLIP that reads videos, by prompts alone."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo.add_parser(commands)
    commands.add_parser("train", help="train prompts on your videos, on one device or many", add_help=False)
    predict.add_parser(commands)
    convert.add_parser(commands)
    data.add_parser(commands)
    evaluate.add_parsers(commands)
    benchmark.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
