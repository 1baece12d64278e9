"""
The tiny CLIP's training data: single pictures of shapes, and captions that are true of them.

A caption names some or all of shape, colour, size, opacity and place; the place on grids of several sizes ("at the top
left", "well above the centre"). Its claims are also kept as numbers, from which `caption_is_true` finds the other
pictures that it is true of: contrastive training must not push a picture away from a true caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vita_clip_hf.demo.motions import SIZES, Distractor, draw_distractors, draw_rgb, possible_looks, with_article
from vita_clip_hf.demo.shapes import (
    COLORS,
    SHAPES,
    Background,
    draw_background,
    paint_background,
    paint_shape,
    to_bytes,
)

SHAPE_NAMES, COLOR_NAMES = tuple(SHAPES), tuple(COLORS)
_LOOKS = possible_looks(SHAPE_NAMES, COLOR_NAMES)

# In order of size and of opacity, the usual word for each first; a caption takes one of them.
_SIZE_SYNONYMS = (
    ("tiny", "very small"),
    ("small", "little"),
    ("medium-sized",),
    ("large", "big"),
    ("huge", "very large"),
)
_OPACITY_SYNONYMS = (("barely visible",), ("faint",), ("see-through",), ("solid", "bright"))
SIZE_WORDS, OPACITY_WORDS = tuple(SIZES), tuple(words[0] for words in _OPACITY_SYNONYMS)
_OPACITY_LIMITS = (0.3, 0.55, 0.8, np.inf)
_INVISIBLE_BELOW = 0.08

# Cells of an axis. The borders of the three grids differ, so that together they locate a shape to a few pixels.
GRIDS = (3, 5, 7)
PLACES_ACROSS = ("at the far left", "on the left", "in the middle", "on the right", "at the far right")
PLACES_DOWN = ("very high up", "high up", "halfway up", "low down", "very low down")
_ACROSS_7 = (
    "close to the left edge",
    "well left of the centre",
    "slightly left of the centre",
    "centred",
    "slightly right of the centre",
    "well right of the centre",
    "close to the right edge",
)
_DOWN_7 = (
    "close to the top edge",
    "well above the centre",
    "slightly above the centre",
    "at half height",
    "slightly below the centre",
    "well below the centre",
    "close to the bottom edge",
)
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_OPENINGS = ("", "", "", "a photo of ", "a picture of ", "an image of ", "there is ", "a frame showing ")

# The columns of a picture's attributes and of a caption's claims.
ATTRIBUTES = ("visible", "shape", "color", "size", "opacity", *(f"{axis}{n}" for n in GRIDS for axis in ("x", "y")))
_UNCLAIMED, _UNKNOWABLE = -1, -2
_FULL = ("visible", "shape", "color", "size", "opacity", "x5", "y5")


@dataclass(frozen=True)
class Still:
    """One picture. Lengths are fractions of its side, `opacity` is 0 to 1; the rest is as in `ClipSpec`."""

    shape: str
    color: str
    rgb: tuple[float, ...]
    x: float
    y: float
    radius: float
    tilt: float
    opacity: float
    distractors: tuple[Distractor, ...]
    background: Background
    grain: float
    noise_seed: int

    @property
    def attributes(self) -> np.ndarray:
        """`(len(ATTRIBUTES),)` ints; of an invisible shape only the first, `visible`, is known."""
        if self.opacity < _INVISIBLE_BELOW:
            return np.array([0] + [_UNKNOWABLE] * (len(ATTRIBUTES) - 1))
        size = int(np.searchsorted(list(SIZES.values()), self.radius, side="right"))
        opacity = int(np.searchsorted(_OPACITY_LIMITS, self.opacity, side="right"))
        cells = [int(place * n) for n in GRIDS for place in (self.x, self.y)]
        return np.array([1, SHAPE_NAMES.index(self.shape), COLOR_NAMES.index(self.color), size, opacity, *cells])


def _draw_opacity(rng: np.random.Generator) -> float:
    kind = rng.uniform()
    if kind < 0.03:
        return 0.0
    return float(rng.uniform(0.0, 0.8) if kind < 0.35 else rng.uniform(0.8, 1.0))


def draw_still(rng: np.random.Generator) -> Still:
    """Draws a picture at random: any shape, colour, size, opacity and place that a frame of a clip may have."""
    shape, color = _LOOKS[int(rng.integers(len(_LOOKS)))]
    return Still(
        shape=shape,
        color=color,
        rgb=draw_rgb(rng, color),
        x=float(rng.uniform(0.03, 0.97)),
        y=float(rng.uniform(0.03, 0.97)),
        radius=float(rng.uniform(0.065, 0.26) if rng.uniform() < 0.5 else rng.uniform(0.075, 0.19)),
        tilt=float(rng.uniform(-0.2, 0.2)),
        opacity=_draw_opacity(rng),
        distractors=draw_distractors(rng, _LOOKS),
        background=draw_background(rng),
        grain=float(rng.uniform(0, 0.03)),
        noise_seed=int(rng.integers(2**31)),
    )


def render_still(still: Still, size: int = 64) -> np.ndarray:
    """Paints a picture, `(size, size, 3)` uint8; the same every time."""
    picture = paint_background(still.background, np.zeros(1), np.zeros(1), size)
    things: list[Distractor | Still] = [*still.distractors, still]
    for thing in things:
        paint_shape(picture, thing.shape, thing.rgb, thing.x, thing.y, thing.radius, thing.tilt, thing.opacity)
    grain = still.grain * np.random.default_rng(still.noise_seed).standard_normal((1, size, size), np.float32)
    return to_bytes(picture, grain)[0]


@dataclass(frozen=True)
class Caption:
    """A sentence and its claims, which are laid out as `Still.attributes`; -1 where the sentence claims nothing."""

    text: str
    claims: np.ndarray


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _describe_thirds(rng: np.random.Generator, across: int, down: int) -> str:
    if across == down == 1:
        return _pick(rng, ("in the centre", "in the middle of the picture"))
    side = ("left", "", "right")[across]
    edge = (("at the top", "up"), ("", ""), ("at the bottom", "down"))[down]
    if not side:
        return edge[0]
    if down == 1:
        return f"at the {side}"
    corner = f"in the {('upper', '', 'lower')[down]} {side} corner"
    return _pick(rng, (f"{edge[0]} {side}", corner, f"{edge[1]} on the {side}"))


def _describe_place(rng: np.random.Generator, cells: np.ndarray, grid: int, say_x: bool, say_y: bool) -> str:
    across, down = cells
    if grid == 3:
        if say_x and say_y:
            return _describe_thirds(rng, across, down)
        if say_x:
            return ("on the left side", "between left and right", "on the right side")[across]
        return ("in the upper part", "between top and bottom", "in the lower part")[down]
    if grid == 5:
        x_words, y_words = PLACES_ACROSS[across], PLACES_DOWN[down]
        return " ".join([y_words] * say_y + [x_words] * say_x)
    if grid == 7:
        x_words, y_words = _ACROSS_7[across], _DOWN_7[down]
    else:
        x_words, y_words = f"in column {_NUMBERS[across]}", f"in row {_NUMBERS[down]}"
    return " and ".join([x_words] * say_x + [y_words] * say_y) + (" of ten" if grid == 10 else "")


def draw_caption(rng: np.random.Generator, still: Still) -> Caption:
    """Writes a caption that is true of a picture; it names or leaves out each attribute at random."""
    attributes = still.attributes
    claims = np.full(len(ATTRIBUTES), _UNCLAIMED)
    claims[0] = attributes[0]
    if not attributes[0]:
        return Caption(_pick(rng, _OPENINGS) + _pick(rng, ("an empty background", "nothing", "no shape")), claims)
    _, shape, color, size, opacity = attributes[:5]
    say_shape, say_color, say_size = (bool(rng.uniform() < often) for often in (0.85, 0.85, 0.75))
    say_opacity = bool(rng.uniform() < (0.15 if opacity == len(_OPACITY_LIMITS) - 1 else 0.8))
    place = rng.uniform()
    claims[1:5] = np.where([say_shape, say_color, say_size, say_opacity], attributes[1:5], _UNCLAIMED)
    words = [_pick(rng, _SIZE_SYNONYMS[size])] * say_size + [_pick(rng, _OPACITY_SYNONYMS[opacity])] * say_opacity
    words += [COLOR_NAMES[color]] * say_color + [SHAPE_NAMES[shape] if say_shape else "shape"]
    text = _pick(rng, _OPENINGS) + with_article(" ".join(words))
    if place < 0.9:
        say_x, say_y = bool(place < 0.8), bool(place > 0.1)
        which = rng.integers(len(GRIDS))
        columns = slice(5 + 2 * which, 7 + 2 * which)
        claims[columns] = np.where([say_x, say_y], attributes[columns], _UNCLAIMED)
        text += " " + _describe_place(rng, attributes[columns], GRIDS[which], say_x, say_y)
    return Caption(text, claims)


def full_caption(still: Still) -> Caption:
    """The caption, for retrieval, of every attribute of a visible still; its place is that on the grid of five."""
    attributes = still.attributes
    if not attributes[0]:
        raise ValueError("an invisible shape cannot be described")
    _, shape, color, size, opacity = attributes[:5]
    claims = np.where([name in _FULL for name in ATTRIBUTES], attributes, _UNCLAIMED)
    looks = f"{SIZE_WORDS[size]} {OPACITY_WORDS[opacity]} {COLOR_NAMES[color]} {SHAPE_NAMES[shape]}"
    x, y = attributes[[ATTRIBUTES.index("x5"), ATTRIBUTES.index("y5")]]
    return Caption(f"{with_article(looks)} {PLACES_DOWN[y]} {PLACES_ACROSS[x]}", claims)


def caption_is_true(attributes: np.ndarray, claims: np.ndarray) -> np.ndarray:
    """
    Which caption is true of which picture.

    Args:
        attributes: `(N, len(ATTRIBUTES))` of N pictures.
        claims: `(M, len(ATTRIBUTES))` of M captions.

    Returns:
        `(N, M)` bool.
    """
    claims = claims[None]
    return ((claims == _UNCLAIMED) | (attributes[:, None] == claims)).all(axis=-1)
