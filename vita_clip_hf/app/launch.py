"""Starts the app: the base and the adapters are loaded once, then the page is served."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..predict.inputs import find_videos

# Requests that wait for those at work; more are told to come again. Visitors whose state is kept.
MOST_WAITING, SESSIONS = 32, 1000


def launch(
    models: Sequence[str | os.PathLike],
    *,
    examples: Sequence[str] = (),
    title: str = "Vita-CLIP",
    host: str = "127.0.0.1",
    port: int | None = None,
    share: bool = False,
    device: str | None = None,
    mcp: bool | None = None,
    wait: bool = True,
) -> Any:
    """
    Serves the app until it is stopped.

    Args:
        models: adapters of one base, folders or Hub ids; the first is shown first.
        examples: videos to pick from: files, folders or patterns. The `example.mp4` of an adapter's folder is one.
        title: of the page.
        host: address to listen at; "0.0.0.0" for all of this machine.
        port: by default the first free one from 7860 on.
        share: whether Gradio makes a public address for 72 hours.
        device: by default the first accelerator, else the CPU.
        mcp: whether the endpoints are tools of an MCP server too; by default if the package `mcp` is there.
        wait: whether to return only when the app is stopped.

    Returns:
        The running `gradio.Blocks`.

    Raises:
        ImportError: Gradio is missing.
        OSError: a model or an example is not there, or the port is taken.
        ValueError: models do not go together, or the environment has a limit that is no number.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ImportError("The app needs Gradio: pip install 'vita-clip-hf[app]'.")
    clips = find_examples(models, examples)
    from ..models import available_device
    from .adapters import Adapters
    from .layout import build_app, page_settings
    from .session import Session

    session = Session(Adapters(models, str(available_device(device))))
    app = build_app(session, clips, title)
    app.queue(max_size=MOST_WAITING)
    app.launch(
        server_name=host,
        server_port=port,
        share=share,
        mcp_server=importlib.util.find_spec("mcp") is not None if mcp is None else mcp,
        max_file_size=session.limits.max_video_bytes,
        allowed_paths=[str(path) for path in clips],
        state_session_capacity=SESSIONS,
        prevent_thread_lock=True,
        ssr_mode=False,
        quiet=True,
        footer_links=["api"],
        **page_settings(),
    )
    print(f"vita-clip app: {', '.join(session.adapters.names)} at {app.local_url}", flush=True)
    if app.share_url:
        print(f"vita-clip app: for three days at {app.share_url}", flush=True)
    if wait:
        app.block_thread()
    return app


def find_examples(models: Sequence[str | os.PathLike], examples: Sequence[str]) -> list[Path]:
    """
    The `example.mp4` of each model's folder that has one, and the videos that are named.

    Raises:
        OSError: a video that is named is not a file of this machine.
    """
    of_models = [Path(model) / "example.mp4" for model in models]
    found = [path.resolve() for path in of_models if path.is_file()]
    if examples:
        inputs = find_videos(examples)
        for note in inputs.notes:
            print(f"vita-clip app: {note}", file=sys.stderr)
        found += [Path(video).resolve() for video in inputs.videos]
    missing = [str(path) for path in found if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{missing[0]}: no such file; an example is a file of this machine.")
    return found


__all__ = ["find_examples", "launch"]
