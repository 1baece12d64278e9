"""`vita-clip explain`."""

import argparse
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to those of `vita-clip`."""
    parser = commands.add_parser(
        "explain",
        help="show where a model looks in a video, and which frames decided",
        description="Draws one page about a prediction: the frames that the model sees, the attention of its class "
        "and summary tokens over them, the frames that decided, and the share of attention that each kind of prompt "
        "gets in each layer. A .gif or .mp4 shows the frames with the attention rolled over all layers.",
        epilog="example: vita-clip explain clip.mp4 --model demo_output/adapter --out explanation.png",
    )
    parser.add_argument("video", metavar="VIDEO", help="file or URL")
    parser.add_argument("--model", required=True, help="adapter, full checkpoint or plain CLIP: a folder or a Hub id")
    parser.add_argument("--labels", nargs="+", metavar="LABEL", help="classes to choose from (default: its own)")
    parser.add_argument(
        "--out",
        type=Path,
        nargs="+",
        default=[Path("explanation.png")],
        metavar="FILE",
        help=".png, .gif or .mp4; several may be given (default: explanation.png)",
    )
    parser.add_argument("--device", help="such as cuda or cpu (default: the first accelerator, else the CPU)")
    parser.set_defaults(run=run_explain)


def run_explain(options: argparse.Namespace) -> None:
    """
    Explains what parsed options name.

    Raises:
        OSError: model or video cannot be read, or a file cannot be written.
        ValueError: a file has another ending, or labels make no sense.
    """
    from .animation import FORMATS, write_animation

    for path in options.out:  # before anything is loaded
        if path.suffix.lower() not in (".png", *FORMATS):
            raise ValueError(f"{path}: expected a name that ends in .png, {' or '.join(FORMATS)}.")
    from .explain import explain, load_explained
    from .explanation import draw_explanation, heat_overlay

    model, processor = load_explained(options.model, options.device)
    explanation = explain(model, processor, options.video, options.labels)
    for path in options.out:
        if path.suffix.lower() == ".png":
            draw_explanation(explanation, path, title=Path(options.video).name)
        else:
            write_animation(heat_overlay(explanation.frames, explanation.attention.rollout), path)
        print(f"Wrote {path}")
