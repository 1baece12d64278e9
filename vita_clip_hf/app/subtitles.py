"""Predictions as subtitles, in the form that Gradio's player turns into WebVTT."""

from collections.abc import Sequence
from typing import Any

from .timeline import Window, segments

# Seconds between cues: browsers show both of two that touch, at the moment where they do.
GAP = 0.001
# What WebVTT gives a meaning, https://www.w3.org/TR/webvtt1/#webvtt-cue-text.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def subtitles(windows: Sequence[Window]) -> list[dict[str, Any]]:
    """
    The best label of each window while it is the last one that has started.

    Returns:
        `[{"text": str, "timestamp": [start, end]}, ...]`; the text is on one line and safe in a WebVTT file.
    """
    return [
        {
            "text": f"{escape_cue(piece.window.label)} ({piece.window.score:.0%})",
            "timestamp": [piece.window.start, round(piece.end - GAP, 3)],
        }
        for piece in segments(windows)
    ]


def escape_cue(text: str) -> str:
    """A label as the text of a cue."""
    return " ".join(text.split()).translate(_ESCAPES)


__all__ = ["escape_cue", "subtitles"]
