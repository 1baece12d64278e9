"""`vita-clip convert`."""

import argparse
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to those of `vita-clip`."""
    parser = commands.add_parser(
        "convert",
        help="the authors' checkpoints to this package's format, and back",
        description="Reads a released checkpoint (.pth; tensors only, nothing in it is executed) and writes an "
        "adapter if its backbone is the base's, else a full checkpoint. With --to-original the other way.",
        epilog="examples:\n"
        "  vita-clip convert k400.pth --base openai/clip-vit-base-patch16 --labels k400 --out k400\n"
        "  vita-clip convert --to-original k400 --out back.pth",
    )
    parser.add_argument("original", help="the .pth file; with --to-original a folder or Hub id")
    parser.add_argument("--to-original", action="store_true", help="write a .pth in the authors' layout instead")
    parser.add_argument("--base", default="openai/clip-vit-base-patch16", help="CLIP (default: %(default)s)")
    parser.add_argument("--labels", default="k400", help="k400, or a file of class names (default: %(default)s)")
    parser.add_argument(
        "--text-prompt-position",
        choices=("end", "front", "middle"),
        default="end",
        help="position of the class name, which the file does not say (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder, or file with --to-original")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Runs the command with the options of `add_parser`."""
    from ..modeling.modeling_vita_clip import VitaClipModel
    from .files import convert_checkpoint, write_original

    if options.to_original:
        print(f"written to {write_original(VitaClipModel.from_pretrained(options.original), options.out)}")
        return
    position = options.text_prompt_position
    print(convert_checkpoint(options.original, options.base, options.labels, options.out, position))
