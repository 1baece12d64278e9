"""
Motion Shapes with unseen combinations: in training each motion lacks one shape.

"moving left" is never shown by a circle, and "moving right" never by a square. A circle that moves left is then a new
combination of a shape and a motion that are known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from vita_clip_hf.data import DecodedClips
from vita_clip_hf.demo.motion_shapes import render
from vita_clip_hf.demo.motions import (
    MOTIONS,
    SIZES,
    TRAIN_COLORS,
    TRAIN_COMBINATIONS,
    TRAIN_SHAPES,
    ClipSpec,
    draw_spec,
)
from vita_clip_hf.demo.shapes import COLORS, SHAPES

UNSEEN_SHAPE = {motion: TRAIN_SHAPES[number % len(TRAIN_SHAPES)] for number, motion in enumerate(MOTIONS)}
ACROSS = ("at the far left", "on the left", "in the middle", "on the right", "at the far right")
DOWN = ("very high up", "high up", "halfway up", "low down", "very low down")
PICTURE_SIDE = 48  # the tiny CLIP's, so that nothing is resized


@dataclass(frozen=True)
class SpecifiedClips:
    """
    Clips in memory and what each of them shows.

    Args:
        clips: uint8 `(N, T, 3, H, W)` and labels `(N,)`, numbers in `motions`.
        specs: the N descriptions.
        motions: class names.
    """

    clips: DecodedClips
    specs: list[ClipSpec]
    motions: tuple[str, ...]

    def select(self, rows: Sequence[int]) -> "SpecifiedClips":
        """Some of the clips."""
        chosen = torch.as_tensor(rows)
        clips = DecodedClips(self.clips.pixel_values[chosen], self.clips.labels[chosen])
        return SpecifiedClips(clips, [self.specs[row] for row in rows], self.motions)

    def of_motions(self, motions: Sequence[str]) -> "SpecifiedClips":
        """The clips of these motions, whose numbers become 0, 1, ..."""
        rows = [row for row, spec in enumerate(self.specs) if spec.motion in motions]
        kept = self.select(rows)
        labels = torch.tensor([list(motions).index(spec.motion) for spec in kept.specs])
        return SpecifiedClips(DecodedClips(kept.clips.pixel_values, labels), kept.specs, tuple(motions))


def draw_clips(num_clips: int, seed: int, num_frames: int, unseen: bool = False) -> SpecifiedClips:
    """
    Draws and paints clips; the motions take turns.

    Args:
        unseen: of the combinations that training lacks, in place of all the others.
    """
    specs = []
    for index in range(num_clips):
        motion = MOTIONS[index % len(MOTIONS)]
        shapes = [shape for shape in TRAIN_SHAPES if (shape == UNSEEN_SHAPE[motion]) == unseen]
        rng = np.random.default_rng([seed, int(unseen), index])
        specs.append(draw_spec(rng, motion, shapes, TRAIN_COLORS, TRAIN_COMBINATIONS))
    frames = np.stack([render(spec, num_frames, PICTURE_SIDE) for spec in specs])
    labels = torch.tensor([MOTIONS.index(spec.motion) for spec in specs])
    return SpecifiedClips(DecodedClips(torch.from_numpy(frames).permute(0, 1, 4, 2, 3), labels), specs, MOTIONS)


class Combinations:
    """The splits, drawn at their first use: the same for every method and seed of a training."""

    def __init__(self, train_clips: int, test_clips: int, num_frames: int):
        self.train_clips, self.test_clips, self.num_frames = train_clips, test_clips, num_frames

    @cached_property
    def train(self) -> SpecifiedClips:
        return draw_clips(self.train_clips, 1, self.num_frames)

    @cached_property
    def test(self) -> SpecifiedClips:
        return draw_clips(self.test_clips, 2, self.num_frames)

    @cached_property
    def validation(self) -> SpecifiedClips:
        return draw_clips(self.test_clips, 4, self.num_frames)

    @cached_property
    def unseen(self) -> SpecifiedClips:
        return draw_clips(self.test_clips, 3, self.num_frames, unseen=True)


# ---- what a still picture shows ----


@dataclass(frozen=True)
class Attribute:
    """
    Args:
        texts: one for each value.
        value: the number of a clip's value; `None` if it changes within the clip.
    """

    texts: tuple[str, ...]
    value: Callable[[ClipSpec], int | None]


def _size(spec: ClipSpec) -> int | None:
    start, end = spec.path.radius
    return int(np.searchsorted(list(SIZES.values()), start, side="right")) if start == end else None


def _place(axis: str) -> Callable[[ClipSpec], int | None]:
    def cell(spec: ClipSpec) -> int | None:
        start, end = getattr(spec.path, axis)
        swing = spec.path.sway if axis == "x" else spec.path.bounce
        moves = start != end or swing.amplitude or any(spec.path.orbit)
        return None if moves else min(int(5 * start), 4)

    return cell


ATTRIBUTES = {
    "shape": Attribute(tuple(f"a {shape}" for shape in SHAPES), lambda spec: list(SHAPES).index(spec.shape)),
    "color": Attribute(tuple(f"a {color} shape" for color in COLORS), lambda spec: list(COLORS).index(spec.color)),
    "size": Attribute(tuple(f"a {size} shape" for size in SIZES), _size),
    "place across": Attribute(tuple(f"a shape {place}" for place in ACROSS), _place("x")),
    "place down": Attribute(tuple(f"a shape {place}" for place in DOWN), _place("y")),
}
