"""
Drawing for Motion Shapes: anti-aliased shapes, their colours, and textured backgrounds, in numpy.

Places, radii and shifts are fractions of the picture's side, x to the right and y downwards, so nothing but the array
that is painted into depends on the resolution. Painting works on many pictures at once: all frames of a clip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# A signed distance from the boundary of the shape of radius 1: 0 on it, negative inside. Near the boundary it grows by
# 1 per radius, so that `coverage` anti-aliases every shape alike.
SignedDistance = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.hypot(u, v) - 0.95


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v)) - 0.84


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # Equilateral, pointing up: the intersection of three half-planes; |u| makes the two slanted ones one.
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


def coverage(shape: str, across: np.ndarray, down: np.ndarray, pixels_per_radius: np.ndarray) -> np.ndarray:
    """
    How much of each pixel a shape covers; the anti-aliased rim is one pixel wide.

    Args:
        shape: a key of `SHAPES`.
        across, down: the pixels' centres in the shape's own frame, in radii from its centre; arrays of any shape.
        pixels_per_radius: broadcasts with the two.

    Returns:
        An array of the shape of `across`, from 0 (outside) to 1 (inside).
    """
    return np.clip(0.5 - SHAPES[shape](across, down) * pixels_per_radius, 0.0, 1.0)


def paint_shape(
    pictures: np.ndarray,
    shape: str,
    rgb: tuple[float, ...],
    x: np.ndarray | float,
    y: np.ndarray | float,
    radius: np.ndarray | float,
    tilt: float = 0.0,
    opacity: np.ndarray | float = 1.0,
) -> None:
    """
    Paints one shape into every picture, in place.

    Args:
        pictures: (N, size, size, 3) float32, 0 to 1.
        shape: a key of `SHAPES`.
        rgb: its colour, from 0 to 1.
        x, y: its centres, one or (N,), in fractions of the side.
        radius: its radii, one or (N,), in fractions of the side, above 0.
        tilt: its rotation in radians.
        opacity: one or (N,), 0 to 1.
    """
    size = pictures.shape[1]
    x, y, radius, opacity = (np.asarray(value, np.float32).reshape(-1, 1, 1) for value in (x, y, radius, opacity))
    rows, columns = _window(y, radius, size), _window(x, radius, size)
    centres = (np.arange(size, dtype=np.float32) + 0.5) / np.float32(size)
    across, down = (centres[None, None, columns] - x) / radius, (centres[None, rows, None] - y) / radius
    if tilt:
        cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        across, down = cos * across + sin * down, cos * down - sin * across
    mask = coverage(shape, across, down, radius * np.float32(size)) * opacity
    window = pictures[:, rows, columns]
    window += mask[..., None] * (np.asarray(rgb, np.float32) - window)


def _window(centre: np.ndarray, radius: np.ndarray, size: int) -> slice:
    """The pixels of one axis that the shape reaches in any picture: painting these alone is much faster."""
    reach = 1.3 * radius + 1 / size  # the farthest tip of any shape, and the anti-aliased rim
    first, last = float((centre - reach).min()), float((centre + reach).max())
    return slice(int(np.clip(first * size, 0, size)), int(np.clip(np.ceil(last * size), 0, size)))


@dataclass(frozen=True)
class Background:
    """
    A plain colour with soft plane waves over it.

    Attributes:
        color: (3,) red, green, blue from 0 to 1.
        waves: one tuple a wave: cycles across, cycles down, phase in turns, and the amplitude in red, green, blue.
    """

    color: tuple[float, ...]
    waves: tuple[tuple[float, ...], ...]


def draw_background(rng: np.random.Generator) -> Background:
    """Draws a background near mid-grey, from which every named colour differs clearly."""
    color = rng.uniform(0.32, 0.60) + rng.uniform(-0.06, 0.06, 3)
    waves = []
    for _ in range(3):
        direction, cycles = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 6.0)
        amplitude = rng.uniform(0.0, 0.04) + rng.uniform(-0.01, 0.01, 3)
        waves.append((cycles * np.cos(direction), cycles * np.sin(direction), rng.uniform(), *amplitude))
    red, green, blue = map(float, color)
    return Background((red, green, blue), tuple(tuple(map(float, wave)) for wave in waves))


def paint_background(background: Background, shift_x: np.ndarray, shift_y: np.ndarray, size: int) -> np.ndarray:
    """
    Paints the background N times, each shifted as by a moving camera.

    Args:
        background: its colour and waves.
        shift_x, shift_y: `(N,)`, the shift of the content, in fractions of the side.
        size: side of the pictures in pixels.

    Returns:
        (N, size, size, 3) float32, about 0 to 1.
    """
    centres = (np.arange(size) + 0.5) / size
    cycles_x, cycles_y, phase = np.asarray(background.waves, np.float32).T[:3, :, None]
    amplitude = np.asarray(background.waves, np.float32)[:, 3:]
    across = 2 * np.pi * cycles_x * (centres - np.reshape(shift_x, (-1, 1, 1)))
    down = 2 * np.pi * (cycles_y * (centres - np.reshape(shift_y, (-1, 1, 1))) + phase)
    # sin(down + across) = sin(down) cos(across) + cos(down) sin(across): sines of lines, not of pictures, and one
    # small matrix product per picture that also sums over the waves.
    rows = np.concatenate([np.sin(down), np.cos(down)], axis=1).astype(np.float32)
    columns = np.concatenate([np.cos(across), np.sin(across)], axis=1).astype(np.float32)
    colored = columns[..., None] * np.concatenate([amplitude, amplitude])[:, None]
    pictures = rows.transpose(0, 2, 1) @ colored.reshape(*columns.shape[:2], size * 3)
    pictures = pictures.reshape(-1, size, size, 3)
    pictures += np.asarray(background.color, np.float32)
    return pictures


def to_bytes(pictures: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
    """Rounds (N, H, W, 3) pictures from 0..1 to uint8, after adding grain (N, H, W) of the same unit, if given."""
    if noise is not None:
        pictures = pictures + noise[..., None]
    return np.clip(pictures * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
