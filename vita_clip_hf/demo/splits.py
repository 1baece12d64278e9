"""The demo's splits: written as video files, read back by the normal path, kept in memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import BaseVideoProcessor

from ..data import DecodedClips, decode_clips, load_annotations
from .motion_shapes import write_split
from .motions import (
    HELD_OUT_COLORS,
    HELD_OUT_SHAPES,
    MOTIONS,
    REVERSED_PAIRS,
    TRAIN_COLORS,
    TRAIN_COMBINATIONS,
    TRAIN_SHAPES,
    UNSEEN_MOTIONS,
    UNSEEN_REVERSED_PAIRS,
)
from .recipe import Recipe

TRAIN, TEST = "train", "test"
UNSEEN_LOOKS, UNSEEN_MOTION_NAMES = "unseen_looks", "unseen_motions"
# They do not follow the recipe's seed: trainings of several seeds see the same clips.
SEEDS = {TRAIN: 1, TEST: 2, UNSEEN_LOOKS: 3, UNSEEN_MOTION_NAMES: 4}


@dataclass(frozen=True)
class Split:
    """
    Clips in memory, with their classes.

    Args:
        clips: uint8 `(N, T, 3, H, W)` and labels `(N,)`.
        videos: the files of the clips.
        labels: class names.
        pairs: class ids of motions that are each other's reversal.
    """

    clips: DecodedClips
    videos: list[str]
    labels: list[str]
    pairs: list[tuple[int, int]]


def make_splits(folder: Path, recipe: Recipe, processor: BaseVideoProcessor, num_workers: int = 2) -> dict[str, Split]:
    """Writes the splits that `folder` does not hold yet, and decodes all."""
    train_looks: dict[str, Any] = {"shapes": TRAIN_SHAPES, "colors": TRAIN_COLORS, "combinations": TRAIN_COMBINATIONS}
    settings: dict[str, tuple[int, tuple[str, ...], dict[str, Any]]] = {
        TRAIN: (recipe.train_clips, MOTIONS, train_looks),
        TEST: (recipe.test_clips, MOTIONS, train_looks),
        UNSEEN_LOOKS: (recipe.unseen_looks_clips, MOTIONS, {"shapes": HELD_OUT_SHAPES, "colors": HELD_OUT_COLORS}),
        UNSEEN_MOTION_NAMES: (recipe.unseen_motions_clips, UNSEEN_MOTIONS, train_looks),
    }
    splits = {}
    for name, (num_clips, motions, looks) in settings.items():
        path = write_split(folder, name, num_clips, SEEDS[name], motions, num_workers=num_workers, **looks)
        dataset = load_annotations(path)
        clips = decode_clips(dataset, processor, num_workers, f"reading {name}")
        pairs = UNSEEN_REVERSED_PAIRS if name == UNSEEN_MOTION_NAMES else REVERSED_PAIRS
        ids = [(motions.index(first), motions.index(second)) for first, second in pairs]
        splits[name] = Split(clips, list(dataset["video"]), list(motions), ids)
    return splits
