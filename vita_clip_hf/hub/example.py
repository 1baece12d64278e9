"""An example clip in a repository: checked, classified by the model, and shown as a strip of frames."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..modeling.video_reading_vita_clip import VideoReader

LARGEST = 10 * 10**6  # bytes
SUFFIXES = (".mp4", ".webm", ".mov", ".mkv", ".avi")
STRIP_HEIGHT = 128  # pixels
PREVIEW_FILE = "preview.png"


@dataclass(frozen=True)
class Example:
    """
    Args:
        path: of the clip in the repository.
        output: what the model says of it: `[{"label", "score"}, ...]`, best first.
    """

    path: str
    output: list[dict[str, Any]]


def stage_example(video: str | os.PathLike, checkpoint: Path, target: Path, top_k: int = 5) -> Example:
    """
    Puts a clip as `example.mp4` (or what its name ends with) and `preview.png` into a folder that is about to be
    published.

    Args:
        video: a file of up to 10 MB.
        checkpoint: folder of the model that names what is in it: its own classes.

    Raises:
        VideoReadError: it cannot be read.
        ValueError: it is too large, its name ends with none of the known endings, or the model has no classes.
    """
    from transformers import pipeline

    path = Path(video)
    reader = _open(path)
    classify = pipeline("zero-shot-video-classification", model=str(checkpoint), device=-1)
    if classify.model.config.label_token_ids is None:
        raise ValueError("An example needs a model with classes of its own, which say what is in it.")
    output = [{**entry, "score": round(entry["score"], 4)} for entry in classify(str(path), top_k=top_k)]
    indices = classify.processor.video_processor.sample_frames(reader.metadata, num_temporal_views=1)
    _draw_strip(reader.read_frames(indices), target / PREVIEW_FILE)
    name = f"example{path.suffix.lower()}"
    shutil.copyfile(path, target / name)
    return Example(name, output)


def _open(path: Path) -> VideoReader:
    reader = VideoReader(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: an example's name ends with one of {', '.join(SUFFIXES)}")
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{path}: has {size / 1e6:.1f} MB, an example may have {LARGEST / 1e6:.0f}: cut it")
    return reader


def _draw_strip(frames: Any, path: Path) -> None:
    """Frames `(T, 3, H, W)` beside each other."""
    pictures = [Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy()) for frame in frames]
    width = max(round(STRIP_HEIGHT * pictures[0].width / pictures[0].height), 1)
    strip = Image.new("RGB", (width * len(pictures), STRIP_HEIGHT))
    for number, picture in enumerate(pictures):
        strip.paste(picture.resize((width, STRIP_HEIGHT)), (number * width, 0))
    strip.save(path)


__all__ = ["Example", "stage_example"]
