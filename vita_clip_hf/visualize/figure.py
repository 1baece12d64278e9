"""A matplotlib figure and its file. matplotlib is imported here alone, and only when a picture is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..modeling.adapter_file_vita_clip import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, GREY, BEFORE, AFTER, GOOD = "#222222", "#999999", "#b07d2b", "#1f6f8b", "#2f7d4f"


def new_figure(width: float, height: float) -> Figure:
    """
    An empty figure of `width` x `height` inches. It is not bound to a window, so no display is needed.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Pictures need matplotlib: pip install 'vita-clip-hf[demo]'.") from error
    return Figure(figsize=(width, height), layout="constrained")


def open_frame(axis: Any) -> None:
    """Draws the axes on the left and below, without a frame around the picture."""
    axis.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG file whole or not at all."""
    with written_whole(path) as file:
        figure.savefig(file, dpi=130, format="png", facecolor="white")
