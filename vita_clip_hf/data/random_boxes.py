"""Random boxes in a frame: what to crop, what to erase."""

import math

import torch

from .randomness import draw_below, draw_uniform

Box = tuple[int, int, int, int]
_ATTEMPTS = 10


def draw_box(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> Box | None:
    """
    A box `(top, left, height, width)` whose share of the frame is uniform in `scale`, whose width over height is
    log-uniform in `ratio`, and whose place is uniform; `None` where ten of them did not fit.
    """
    for _ in range(_ATTEMPTS):
        area = height * width * draw_uniform(*scale, generator)
        shape = math.exp(draw_uniform(math.log(ratio[0]), math.log(ratio[1]), generator))
        box_height, box_width = round(math.sqrt(area / shape)), round(math.sqrt(area * shape))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = draw_below(height - box_height + 1, generator), draw_below(width - box_width + 1, generator)
            return top, left, box_height, box_width
    return None


def centre_box(height: int, width: int, ratio: tuple[float, float]) -> Box:
    """The largest box in the middle whose width over height is within `ratio`."""
    shape = min(max(width / height, ratio[0]), ratio[1])
    box_height, box_width = min(height, round(width / shape)), min(width, round(height * shape))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width
