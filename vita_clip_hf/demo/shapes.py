"""Drawing for Motion Shapes: anti-aliased shapes, their colours, and textured backgrounds, in numpy.

Everything is resolution-free: places, radii and shifts are fractions of the picture's side, x to the right and y
downwards, and only `coverage` and `paint_background` know how many pixels a picture has. Both draw many pictures
in one call, because a clip is sixteen pictures and a pretraining batch a thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# A signed distance: the boundary of the shape of radius 1 is where it is 0, inside is negative, and near the boundary
# it grows by 1 per radius. That last property is what makes `coverage` anti-alias every shape alike.
SignedDistance = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.hypot(u, v) - 0.95


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v)) - 0.84


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # Equilateral, pointing up: the farthest of three half-planes; |u| makes the two slanted ones one.
    return np.maximum(v, np.float32(np.sqrt(0.75)) * np.abs(u) - 0.5 * v) - 0.58


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = np.abs(u), np.abs(v)
    longer, shorter = np.maximum(u, v), np.minimum(u, v)
    return np.maximum(longer - 1.0, shorter - 0.33)


def _ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(u, v) - 0.76) - 0.24


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # Five points: fold the plane into half of one point's sector, where the outline is a single straight edge
    # from the tip (outer, 0) to the notch between two points.
    outer, notch, sector = 1.18, 0.55, np.pi / 5
    edge = np.array([notch * np.cos(sector) - outer, notch * np.sin(sector)])
    normal_x, normal_y = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    from_tip = np.arctan2(u, -v)
    folded = np.abs(np.mod(from_tip + np.float32(sector), np.float32(2 * sector)) - np.float32(sector))
    distance = np.hypot(u, v)
    along, across = distance * np.cos(folded), distance * np.sin(folded)
    return np.float32(normal_x) * (along - np.float32(outer)) + np.float32(normal_y) * across


def _diamond(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # Narrower than tall, so that no tilt makes it a square.
    return (np.float32(1.7) * np.abs(u) + np.abs(v) - 1.2) / np.float32(np.hypot(1.7, 1.0))


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # A square standing on its corner, and a half disc on each of its two upper sides.
    half, u, v = 0.86, np.abs(u), v - 0.12
    body = (u + np.abs(v) - half) * np.float32(np.sqrt(0.5))
    lobe = np.hypot(u - half / 2, v + half / 2) - np.float32(half * np.sqrt(0.5))
    return np.minimum(body, lobe)


def _crescent(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u = u - 0.2
    return np.maximum(np.hypot(u, v) - 1.05, 0.85 - np.hypot(u - 0.55, v))


SHAPES: dict[str, SignedDistance] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
    "ring": _ring,
    "star": _star,
    "diamond": _diamond,
    "heart": _heart,
    "crescent": _crescent,
}

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.13, 0.13),
    "orange": (0.97, 0.54, 0.08),
    "yellow": (0.96, 0.90, 0.15),
    "green": (0.13, 0.66, 0.22),
    "blue": (0.13, 0.28, 0.87),
    "purple": (0.52, 0.18, 0.75),
    "white": (0.97, 0.97, 0.97),
    "pink": (0.99, 0.52, 0.75),
    "cyan": (0.25, 0.88, 0.93),
    "black": (0.05, 0.05, 0.05),
}


def coverage(
    shape: str, x: np.ndarray, y: np.ndarray, radius: np.ndarray, tilt: np.ndarray | float, size: int
) -> np.ndarray:
    """How much of each pixel the shape covers, in N pictures.

    Args:
        shape: a key of `SHAPES`.
        x, y: centres (N,), in fractions of the side.
        radius: radii (N,), in fractions of the side, above 0.
        tilt: rotation, one or (N,), in radians.
        size: side of the pictures in pixels.

    Returns:
        (N, size, size) float32 from 0 (outside) to 1 (inside).
    """
    centres = ((np.arange(size) + 0.5) / size).astype(np.float32)
    x, y, radius, tilt = (np.asarray(value, np.float32).reshape(-1, 1, 1) for value in (x, y, radius, tilt))
    across, down = (centres[None, None, :] - x) / radius, (centres[None, :, None] - y) / radius
    cos, sin = np.cos(tilt), np.sin(tilt)
    distance = SHAPES[shape](cos * across + sin * down, cos * down - sin * across)
    return np.clip(0.5 - distance * (radius * np.float32(size)), 0.0, 1.0)


@dataclass(frozen=True)
class Background:
    """A plain colour with soft plane waves over it.

    Attributes:
        color: (3,) red, green, blue from 0 to 1.
        waves: one tuple a wave: cycles across, cycles down, phase in turns, and the amplitude in red, green, blue.
    """

    color: tuple[float, float, float]
    waves: tuple[tuple[float, float, float, float, float, float], ...]


def draw_background(rng: np.random.Generator) -> Background:
    """Draws a muted background: mid-grey with a hint of colour, so that every named colour stands out from it."""
    color = rng.uniform(0.32, 0.60) + rng.uniform(-0.06, 0.06, 3)
    waves = []
    for _ in range(3):
        direction, cycles = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 6.0)
        amplitude = rng.uniform(0.0, 0.04) + rng.uniform(-0.01, 0.01, 3)
        waves.append((cycles * np.cos(direction), cycles * np.sin(direction), rng.uniform(), *amplitude))
    return Background(tuple(map(float, color)), tuple(tuple(map(float, wave)) for wave in waves))


def paint_background(background: Background, shift_x: np.ndarray, shift_y: np.ndarray, size: int) -> np.ndarray:
    """Paints the background as seen by a camera that moved, once per shift.

    Args:
        background: what to paint.
        shift_x, shift_y: (N,) how far the picture's content moved, in fractions of the side.
        size: side of the pictures in pixels.

    Returns:
        (N, size, size, 3) float32, about 0 to 1.
    """
    centres = (np.arange(size) + 0.5) / size
    waves = np.asarray(background.waves, np.float32).reshape(-1, 6)
    phase = waves[:, 0, None, None] * centres[:, None].T + waves[:, 1, None, None] * centres[:, None]
    phase = 2 * np.pi * (phase + waves[:, 2, None, None])
    # A shift adds to a wave's phase, and sin(a - b) = sin(a) cos(b) - cos(a) sin(b): so the maps are computed once for
    # all pictures and mixed by one small matrix product.
    colored = waves[:, 3:, None] * np.stack([np.sin(phase), -np.cos(phase)]).reshape(2, len(waves), 1, -1)
    maps = colored.transpose(0, 1, 3, 2).reshape(2 * len(waves), -1).astype(np.float32)
    moved = 2 * np.pi * (np.outer(shift_x, waves[:, 0]) + np.outer(shift_y, waves[:, 1]))
    mix = np.concatenate([np.cos(moved), np.sin(moved)], axis=1).astype(np.float32)
    pictures = (mix @ maps).reshape(-1, size, size, 3)
    pictures += np.asarray(background.color, np.float32)
    return pictures


def blend(pictures: np.ndarray, mask: np.ndarray, color: np.ndarray | tuple[float, float, float]) -> None:
    """Lays a colour over the pictures, in place.

    Args:
        pictures: (N, H, W, 3) float32.
        mask: (N, H, W) float32, coverage times opacity.
        color: (3,) or (N, 3), red, green, blue from 0 to 1.
    """
    color = np.asarray(color, np.float32).reshape(-1, 1, 1, 3)
    pictures += mask[..., None] * (color - pictures)


def to_bytes(pictures: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
    """Rounds (N, H, W, 3) pictures from 0..1 to uint8, after adding grain (N, H, W) of the same unit, if given."""
    if noise is not None:
        pictures = pictures + noise[..., None]
    return np.clip(pictures * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
