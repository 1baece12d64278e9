"""Windows of a video as a timeline: segments that do not overlap, a colour for each label, times in words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Window:
    """
    Args:
        start, end: in seconds.
        labels: `[{"label", "score"}, ...]`, best first.
    """

    start: float
    end: float
    labels: list[dict[str, Any]]

    @property
    def label(self) -> str:
        """The best label."""
        return self.labels[0]["label"]

    @property
    def score(self) -> float:
        """The probability of the best label."""
        return self.labels[0]["score"]

    def to_dict(self) -> dict[str, Any]:
        """In the form of the pipeline, times in milliseconds' precision."""
        return {"start": round(self.start, 3), "end": round(self.end, 3), "labels": self.labels}


@dataclass(frozen=True)
class Segment:
    """
    A piece of a timeline.

    Args:
        window: that is shown in it.
        end: where the next window starts, or the video ends.
        color: the number of the best label's colour; labels that lead in more windows come first.
    """

    window: Window
    end: float
    color: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.window.start


def segments(windows: Sequence[Window]) -> list[Segment]:
    """The windows of a video in their order, each up to the next one, so that windows that overlap stand in a row."""
    ends = [following.start for following in windows[1:]] + [window.end for window in windows[-1:]]
    ranked = Counter(window.label for window in windows).most_common()
    colors = {label: number for number, (label, _) in enumerate(ranked)}
    return [Segment(window, end, colors[window.label]) for window, end in zip(windows, ends, strict=True)]


def clock(seconds: float) -> str:
    """Seconds as people read them: `0:07.5`, `1:02:03.0`."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{tenths / 10:04.1f}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


__all__ = ["Segment", "Window", "clock", "segments"]
