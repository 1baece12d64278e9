"""`vita-clip app`."""

import argparse

EPILOG = """examples:
  vita-clip app --model demo_output/adapter
  vita-clip app --model my_adapter user/other-adapter --examples my_videos
  vita-clip app --model openai/clip-vit-base-patch16 --port 8000

The base is loaded once; several adapters of it are switched between on the page. The page is for this machine alone
unless --host or --share says otherwise. Visitors' videos are decoded in a process of their own, a URL never leads to a
private address, and requests are bounded: VITA_CLIP_MAX_VIDEO_BYTES, VITA_CLIP_MAX_WINDOWS, VITA_CLIP_MAX_LABELS and
others set other limits. The same address has an API and, with the package mcp, MCP tools at /gradio_api/mcp/."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to those of `vita-clip`."""
    parser = commands.add_parser(
        "app",
        help="try a model in the browser, on files and the camera",
        description="Serves a page that names what happens in videos: ranked labels with the prompts on and off, a "
        "timeline that seeks, predictions as subtitles, the frames that the model sees and where it looks in them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        required=True,
        nargs="+",
        metavar="MODEL",
        help="adapters of one base, folders or Hub ids; or one full checkpoint or plain CLIP",
    )
    parser.add_argument(
        "--examples", nargs="+", default=(), metavar="VIDEO", help="files, folders or patterns to pick a clip from"
    )
    parser.add_argument("--title", default="Vita-CLIP", help="of the page (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for the whole network (default: %(default)s)")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    parser.add_argument("--share", action="store_true", help="a public address through Gradio, for three days")
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: the first GPU, else the CPU)")
    parser.add_argument("--no-mcp", action="store_true", help="no MCP server, even if the package mcp is there")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """
    Runs the command with the options of `add_parser` until it is stopped.

    Raises:
        ImportError: Gradio is missing.
        OSError: a model or an example is not there, or the port is taken.
        ValueError: models do not go together.
    """
    from .launch import launch

    launch(
        options.model,
        examples=options.examples,
        title=options.title,
        host=options.host,
        port=options.port,
        share=options.share,
        device=options.device,
        mcp=False if options.no_mcp else None,
    )


__all__ = ["add_parser", "run"]
