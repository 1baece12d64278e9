"""What the app answers, without a browser: ranked labels, a timeline, prompts on and off, where the model looks."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..hub_cards.handler import DEFAULT_TOP_K, Limits, RequestError
from ..modeling.pipeline_vita_clip import rank_labels
from ..visualize.explanation import heat_overlay
from .adapters import Adapters, Choice
from .clips import Clip, ClipReader, Span, stack
from .timeline import Window

Ranking = list[dict[str, Any]]
# People upload what their phone has recorded.
MAX_VIDEO_BYTES = 256 * 1024**2


@dataclass(frozen=True)
class Question:
    """
    What somebody asks of a video, as it comes from a page or a client.

    Args:
        adapter: name of the adapter.
        labels: names to choose from, one a line; empty for the adapter's own classes.
        template: the text around a label, with one `{}`; empty for those of zero-shot evaluation.
        top_k: labels in a ranking.
        window_seconds: of the timeline; 0 chooses by the video's length.
        stride_seconds: from one window to the next; 0 for a window's length.
    """

    adapter: str
    labels: str = ""
    template: str = ""
    top_k: int = DEFAULT_TOP_K
    window_seconds: float = 0
    stride_seconds: float = 0


@dataclass(frozen=True)
class Look:
    """
    Args:
        times: of the frames in seconds, or `None`.
        pictures: uint8 `(T, H, W, 3)` by name: the frames, then the attention of each kind laid over them.
    """

    times: tuple[float, ...] | None
    pictures: dict[str, np.ndarray]


@dataclass(frozen=True)
class Analysis:
    """
    Args:
        ranking, without_prompts: of the whole video by the adapter, and by the frozen CLIP.
        windows: of the timeline; `None` if the file does not tell times.
        look: at the whole video.
    """

    ranking: Ranking
    without_prompts: Ranking
    windows: list[Window] | None
    look: Look


class Session:
    """
    Answers questions about videos, from any thread. It keeps nothing of a video.

    Args:
        adapters: loaded models.
        limits: of a request; by default those of the environment, and 256 MiB for a video. Downloads and frames are
            limited in the whole process.
    """

    def __init__(self, adapters: Adapters, limits: Limits | None = None):
        self.adapters = adapters
        self.limits = limits or Limits.from_environment(max_video_bytes=MAX_VIDEO_BYTES)
        self.limits.apply()

    def analyse(self, video: str | os.PathLike, question: Question) -> Analysis:
        """
        All that the page shows of a video: it is read once.

        Raises:
            RequestError: the question makes no sense or asks for too much, or the video cannot be read. The message
                is one line, without folders of this machine. The other methods raise the same.
        """
        with _one_line(video):
            choice = self._choice(question)
            reader = self._open(video, choice)
            whole = reader.whole()
            windows = None if reader.duration is None else self._timeline(reader, choice, question)
            return Analysis(*self._on_and_off(whole, choice, question), windows, self._look(whole, choice.adapter))

    def classify(self, video: str | os.PathLike, question: Question, prompts: bool = True) -> Ranking:
        """Ranked labels of the whole video, best first; with the prompts off by the frozen CLIP."""
        with _one_line(video):
            choice = self._choice(question, prompts)
            return self._rank([self._open(video, choice).whole()], choice, question)[0]

    def compare(self, video: str | os.PathLike, question: Question) -> tuple[Ranking, Ranking]:
        """As [`classify`], with the prompts on and with them off; the video is read once."""
        with _one_line(video):
            choice = self._choice(question)
            return self._on_and_off(self._open(video, choice).whole(), choice, question)

    def timeline(self, video: str | os.PathLike, question: Question) -> list[Window]:
        """Ranked labels of each window."""
        with _one_line(video):
            choice = self._choice(question)
            return self._timeline(self._open(video, choice), choice, question)

    def window(self, video: str | os.PathLike, question: Question, start: float, end: float) -> Analysis:
        """As [`analyse`], of the part from second `start` to `end` alone, without a timeline."""
        with _one_line(video):
            choice = self._choice(question)
            clip = self._open(video, choice).window(start, end)
            return Analysis(*self._on_and_off(clip, choice, question), None, self._look(clip, choice.adapter))

    def _choice(self, question: Question, prompts: bool = True) -> Choice:
        names = parse_labels(question.labels)
        template = question.template.strip() or None
        if names:
            self.limits.check_labels(names, template)
        if type(question.top_k) is not int or question.top_k < 1:
            raise RequestError(f"top_k must be a whole number of at least 1, found {question.top_k!r:.50}")
        return Choice(question.adapter, tuple(names) or None, template if names else None, prompts)

    def _open(self, video: str | os.PathLike, choice: Choice) -> ClipReader:
        if os.path.isfile(video) and os.path.getsize(video) > self.limits.max_video_bytes:
            raise RequestError(f"the video is larger than {self.limits.max_video_bytes:,} bytes")
        return ClipReader(os.fspath(video), self.adapters.processor(choice.adapter))

    def _timeline(self, reader: ClipReader, choice: Choice, question: Question) -> list[Window]:
        length, stride = question.window_seconds or None, question.stride_seconds or None
        spans: list[Span] = reader.windows(length, stride, self.limits.max_windows)
        rankings = self._rank([reader.window(*span) for span in spans], choice, question)
        return [Window(*span, ranking) for span, ranking in zip(spans, rankings, strict=True)]

    def _rank(self, clips: Sequence[Clip], choice: Choice, question: Question) -> list[Ranking]:
        labels = self.adapters.labels(choice.adapter) if choice.labels is None else choice.labels
        scores = self.adapters.scores(stack(clips), choice)
        return [rank_labels(row, labels, question.top_k) for row in scores]

    def _on_and_off(self, clip: Clip, choice: Choice, question: Question) -> tuple[Ranking, Ranking]:
        on, off = (self._rank([clip], replace(choice, prompts=prompts), question)[0] for prompts in (True, False))
        return on, off

    def _look(self, clip: Clip, adapter: str) -> Look:
        maps = self.adapters.attention(clip.frames, adapter)
        pictures = {"Frames": clip.frames.permute(0, 2, 3, 1).numpy()}
        heat = {"Class token": maps.of_patches(maps.class_token)[-1]}
        if maps.summary_token is not None:
            heat["Summary token"] = maps.of_patches(maps.summary_token)[-1]
        heat["All layers"] = maps.rollout
        return Look(clip.times, pictures | {name: heat_overlay(clip.frames, map_) for name, map_ in heat.items()})


def parse_labels(text: str) -> list[str]:
    """The names in a text, one a line, which may have commas in them. Lines without a name are left out."""
    return [line.strip() for line in text.splitlines() if line.strip()]


@contextmanager
def _one_line(video: str | os.PathLike) -> Iterator[None]:
    """Errors that a person can mend become [`RequestError`]s that do not show where files lie here."""
    try:
        yield
    except (OSError, ValueError) as error:
        path = os.fspath(video)
        message = str(error).replace(os.path.abspath(path), os.path.basename(path))
        message = message.replace(path, os.path.basename(path)) if os.path.isabs(path) else message
        raise RequestError(" ".join(message.split())) from error


__all__ = ["Analysis", "Look", "Question", "Session", "parse_labels"]
