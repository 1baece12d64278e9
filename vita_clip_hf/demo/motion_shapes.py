"""
Motion Shapes: generated, labelled video clips, written as H.264 files.

    rng = np.random.default_rng(0)
    spec = draw_spec(rng, "moving left", TRAIN_SHAPES, TRAIN_COLORS)
    spec.caption                      # "a small red circle moving left"
    frames = render(spec)             # (16, 64, 64, 3) uint8
    write_split("data", "train", 6400, seed=0, motions=MOTIONS, shapes=TRAIN_SHAPES, colors=TRAIN_COLORS)

`motions` draws the description of a clip, `shapes` paints; this module renders clips and writes splits of them.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from vita_clip_hf.demo.motions import (
    HELD_OUT_COLORS,
    HELD_OUT_COMBINATIONS,
    HELD_OUT_SHAPES,
    MOTIONS,
    REVERSED_PAIRS,
    TRAIN_COLORS,
    TRAIN_COMBINATIONS,
    TRAIN_SHAPES,
    UNSEEN_MOTIONS,
    UNSEEN_REVERSED_PAIRS,
    ClipSpec,
    draw_spec,
)
from vita_clip_hf.demo.shapes import paint_background, paint_shape, to_bytes
from vita_clip_hf.modeling.adapter_file_vita_clip import written_whole

__all__ = [
    "HELD_OUT_COLORS",
    "HELD_OUT_COMBINATIONS",
    "HELD_OUT_SHAPES",
    "MOTIONS",
    "REVERSED_PAIRS",
    "TRAIN_COLORS",
    "TRAIN_COMBINATIONS",
    "TRAIN_SHAPES",
    "UNSEEN_MOTIONS",
    "UNSEEN_REVERSED_PAIRS",
    "ClipSpec",
    "draw_spec",
    "encode",
    "render",
    "shape_masks",
    "write_split",
]

# Goes up with every change that gives the same settings other files, so that an older split is written anew.
VERSION = 1
FRAMES_PER_SECOND = 8


def render(spec: ClipSpec, num_frames: int = 16, size: int = 64) -> np.ndarray:
    """
    Paints a clip.

    Args:
        spec: the clip.
        num_frames: frames, evenly spaced from the motion's start to its end.
        size: side of a frame in pixels.

    Returns:
        `(num_frames, size, size, 3)` uint8.
    """
    if num_frames < 1 or size < 1:
        raise ValueError(
            f"a clip needs at least 1 frame of at least 1 pixel, not num_frames={num_frames}, size={size}"
        )
    rng, (shake_x, shake_y) = _start_noise(spec, num_frames)
    frames = paint_background(spec.background, shake_x, shake_y, size)
    for still in spec.distractors:
        paint_shape(
            frames,
            still.shape,
            still.rgb,
            still.x + shake_x,
            still.y + shake_y,
            still.radius,
            still.tilt,
            still.opacity,
        )
    _paint_mover(frames, spec, spec.rgb, shake_x, shake_y)
    grain = spec.grain * rng.standard_normal(frames.shape[:3], np.float32)
    return to_bytes(frames, grain)


def shape_masks(spec: ClipSpec, num_frames: int = 16, size: int = 64) -> np.ndarray:
    """
    Where the moving shape is in the frames of [`render`] with the same arguments.

    Returns:
        `(num_frames, size, size)` float32, from 0 to the shape's opacity.
    """
    _, (shake_x, shake_y) = _start_noise(spec, num_frames)
    pictures = np.zeros((num_frames, size, size, 3), np.float32)
    _paint_mover(pictures, spec, (1.0, 1.0, 1.0), shake_x, shake_y)
    return pictures[..., 0]


def _start_noise(spec: ClipSpec, num_frames: int) -> tuple[np.random.Generator, np.ndarray]:
    """The clip's generator, and what it gives first: the camera's place in each frame, `(2, num_frames)`."""
    rng = np.random.default_rng(spec.noise_seed)
    return rng, rng.uniform(-spec.shake, spec.shake, (2, num_frames))


def _paint_mover(
    frames: np.ndarray, spec: ClipSpec, rgb: tuple[float, ...], shake_x: np.ndarray, shake_y: np.ndarray
) -> None:
    x, y, radius, opacity = spec.path.at(np.linspace(0, 1, len(frames)))
    paint_shape(frames, spec.shape, rgb, x + shake_x, y + shake_y, radius, spec.tilt, opacity)


def encode(frames: np.ndarray, path: str | os.PathLike, crf: int = 18) -> None:
    """
    Writes frames as an H.264 file (yuv420p), whole or not at all.

    Args:
        frames: `(T, H, W, 3)` uint8, of even height and width.
        path: an .mp4 file.
        crf: x264's quality, lower is better; 18 keeps the colours of a small frame.
    """
    import av  # from the extra `demo`: without it this module must import

    height, width = frames.shape[1:3]
    with written_whole(path) as file, av.open(str(file), "w", format="mp4") as container:
        # Frames are too small for a second thread, or for a preset that searches longer.
        options = {"preset": "ultrafast", "crf": str(crf), "threads": "1"}
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


@dataclass(frozen=True)
class _Split:
    """The settings of a split, from which the clip of each index follows."""

    name: str
    num_clips: int
    seed: int
    motions: tuple[str, ...]
    shapes: tuple[str, ...]
    colors: tuple[str, ...]
    combinations: tuple[tuple[str, str], ...] | None
    num_frames: int
    size: int
    version: int = VERSION

    def label(self, index: int) -> int:
        return index % len(self.motions)

    def spec(self, index: int) -> ClipSpec:
        # The name is part of the seed: a training and a test split of one seed hold different clips.
        rng = np.random.default_rng([self.seed, zlib.crc32(self.name.encode()), index])
        return draw_spec(rng, self.motions[self.label(index)], self.shapes, self.colors, self.combinations)

    def file_name(self, index: int) -> str:
        return f"{index:06d}.mp4"


def _write_clip(split: _Split, folder: Path, index: int) -> None:
    """Writes a clip of the split, if an earlier run has not."""
    path = folder / split.file_name(index)
    if not path.exists():
        encode(render(split.spec(index), split.num_frames, split.size), path)


def _write_text(path: Path, text: str) -> None:
    with written_whole(path) as file:
        file.write_text(text, encoding="utf-8")


def write_split(
    folder: str | os.PathLike,
    name: str,
    num_clips: int,
    seed: int,
    motions: Sequence[str] = MOTIONS,
    shapes: Sequence[str] = TRAIN_SHAPES,
    colors: Sequence[str] = TRAIN_COLORS,
    num_workers: int = 2,
    *,
    combinations: Collection[tuple[str, str]] | None = None,
    num_frames: int = 16,
    size: int = 64,
    progress: bool = True,
) -> Path:
    """
    Writes a balanced split: `folder/name/*.mp4`, `folder/name.csv` and `folder/name.classes.txt`.

    Each line of the CSV file is `path,label`: the path from `folder`, and the line (from 0) of the classes file. The
    same arguments give the same files. A complete split of the same settings is kept; an interrupted one is continued;
    one of other settings is replaced.

    Args:
        folder: of all splits.
        name: the split's name.
        num_clips: clips in all; the motions take turns.
        seed: of everything random.
        motions: class names, in label order.
        shapes, colors, combinations: of the moving shape, see `draw_spec`.
        num_workers: threads that write.
        num_frames, size: of each clip.
        progress: whether to show a progress bar.

    Returns:
        The path of the CSV file.

    Raises:
        ValueError: an argument is out of range, or a name is unknown.
        FileExistsError: `folder/name` exists and is no split.
    """
    if num_clips < 1:
        raise ValueError(f"num_clips must be at least 1, not {num_clips}")
    if not motions or len(set(motions)) != len(motions):
        raise ValueError(f"motions are class names: at least one, and all different, not {list(motions)}")
    looks = None if combinations is None else tuple(sorted(combinations))
    split = _Split(name, num_clips, seed, tuple(motions), tuple(shapes), tuple(colors), looks, num_frames, size)
    split.spec(0)  # names that do not exist fail here, and not in a worker
    folder = Path(folder)
    annotations, settings = folder / f"{name}.csv", json.dumps(asdict(split), indent=1)
    unfinished, finished = folder / f".{name}.unfinished", folder / name
    if annotations.exists() and _settings_of(finished) == settings:
        return annotations
    _prepare(unfinished, finished, settings)
    # Threads are enough: numpy and the encoder release the interpreter's lock, and processes would import torch.
    with ThreadPoolExecutor(num_workers) as pool:
        clips = pool.map(lambda index: _write_clip(split, unfinished, index), range(num_clips))
        for _ in tqdm(clips, total=num_clips, desc=f"writing {name}", unit=" clips", disable=not progress):
            pass
    unfinished.replace(finished)
    _write_text(folder / f"{name}.classes.txt", "".join(f"{motion}\n" for motion in motions))
    lines = (f"{name}/{split.file_name(index)},{split.label(index)}\n" for index in range(num_clips))
    _write_text(annotations, "".join(lines))
    return annotations


def _settings_of(clips: Path) -> str | None:
    file = clips / "settings.json"
    return file.read_text(encoding="utf-8") if file.exists() else None


def _prepare(unfinished: Path, finished: Path, settings: str) -> None:
    """Removes a split of other settings, and makes the folder `unfinished` or keeps it with its clips."""
    if finished.exists():
        if _settings_of(finished) is None:
            raise FileExistsError(f"{finished} exists and is no Motion Shapes split (it has no settings.json)")
        shutil.rmtree(finished)
    if unfinished.exists() and _settings_of(unfinished) != settings:
        shutil.rmtree(unfinished)
    unfinished.mkdir(parents=True, exist_ok=True)
    _write_text(unfinished / "settings.json", settings)
