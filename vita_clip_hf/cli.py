"""`vita-clip ...`, also `python -m vita_clip_hf.cli`: parses, calls one function, prints what it returns."""

import argparse
import sys
from collections.abc import Sequence

from . import predict
from .benchmark import arguments as benchmark
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
    """The parser of all commands; each room adds its own, and loads what the command needs when it runs."""
    parser = argparse.ArgumentParser(
        prog="vita-clip", description="A frozen CLIP that reads videos, by prompts alone."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo.add_parser(commands)
    commands.add_parser("train", help="train prompts on your videos, on one device or many", add_help=False)
    predict.add_parser(commands)
    _add_convert_parser(commands)
    data.add_parser(commands)
    benchmark.add_parser(commands)
    return parser


def _add_convert_parser(commands: argparse._SubParsersAction) -> None:
    from pathlib import Path

    parser = commands.add_parser(
        "convert",
        help="the authors' checkpoints to this package's format, and back",
        description="Reads a released checkpoint (.pth; tensors only, nothing in it is executed) and writes an "
        "adapter where its backbone is the base's, a full checkpoint where it is not. With --to-original the other "
        "way.",
        epilog="examples: vita-clip convert k400.pth --base openai/clip-vit-base-patch16 --labels k400 --out k400    "
        "vita-clip convert --to-original k400 --out back.pth",
    )
    parser.add_argument("original", help="the .pth file; with --to-original a folder or Hub id")
    parser.add_argument("--to-original", action="store_true", help="write a .pth in the authors' layout instead")
    parser.add_argument("--base", default="openai/clip-vit-base-patch16", help="CLIP (default: %(default)s)")
    parser.add_argument("--labels", default="k400", help="k400, or a file of class names (default: %(default)s)")
    parser.add_argument(
        "--text-prompt-position",
        choices=("end", "front", "middle"),
        default="end",
        help="where the class name stands; the file does not say (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder, or file with --to-original")
    parser.set_defaults(run=_run_convert)


def _run_convert(options: argparse.Namespace) -> None:
    from .convert import convert_checkpoint, write_original
    from .modeling.modeling_vita_clip import VitaClipModel

    if options.to_original:
        print(f"written to {write_original(VitaClipModel.from_pretrained(options.original), options.out)}")
        return
    position = options.text_prompt_position
    print(convert_checkpoint(options.original, options.base, options.labels, options.out, position))


if __name__ == "__main__":
    sys.exit(main())
