"""
The motions of Motion Shapes, and the random description of a clip of each.

Most motions come in pairs that are each other's time reversal. A clip of a pair's second motion *is* the reversal of
a clip of the first (`ClipSpec.reversed`), so single frames, and unordered sets of frames, have exactly the same
distribution for both: only the order of the frames tells them apart.

Lengths are fractions of the picture's side, x to the right and y downwards; time runs from 0 to 1 over a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from vita_clip_hf.demo.shapes import COLORS, SHAPES, Background, draw_background

REVERSED_PAIRS: tuple[tuple[str, str], ...] = (
    ("moving left", "moving right"),
    ("moving up", "moving down"),
    ("growing", "shrinking"),
    ("circling clockwise", "circling counter-clockwise"),
    ("appearing", "disappearing"),
    ("speeding up", "slowing down"),
)
MOTIONS: tuple[str, ...] = (
    *(motion for pair in REVERSED_PAIRS for motion in pair),
    "standing still",
    "bouncing up and down",
)
UNSEEN_REVERSED_PAIRS: tuple[tuple[str, str], ...] = (
    ("moving diagonally up and to the left", "moving diagonally down and to the right"),
    ("moving diagonally up and to the right", "moving diagonally down and to the left"),
    ("spiralling inwards", "spiralling outwards"),
)
UNSEEN_MOTIONS: tuple[str, ...] = (
    *(motion for pair in UNSEEN_REVERSED_PAIRS for motion in pair),
    "swinging from side to side",
    "blinking",
)

HELD_OUT_SHAPES: tuple[str, ...] = ("diamond", "heart", "crescent")
TRAIN_SHAPES: tuple[str, ...] = tuple(shape for shape in SHAPES if shape not in HELD_OUT_SHAPES)
HELD_OUT_COLORS: tuple[str, ...] = ("pink", "cyan", "black")
TRAIN_COLORS: tuple[str, ...] = tuple(color for color in COLORS if color not in HELD_OUT_COLORS)
# Each of these shapes and each of these colours is trained on, but not the two together.
HELD_OUT_COMBINATIONS: tuple[tuple[str, str], ...] = tuple(zip(TRAIN_SHAPES, TRAIN_COLORS, strict=False))
TRAIN_COMBINATIONS: tuple[tuple[str, str], ...] = tuple(
    look for look in product(TRAIN_SHAPES, TRAIN_COLORS) if look not in HELD_OUT_COMBINATIONS
)

# Sizes by name, each up to this radius; the first is what a growing shape starts from.
SIZES: dict[str, float] = {"tiny": 0.085, "small": 0.115, "medium-sized": 0.15, "large": 0.19, "huge": np.inf}


def size_word(radius: float) -> str:
    """The English word for a radius (a fraction of the picture's side)."""
    return next(word for word, limit in SIZES.items() if radius < limit)


def with_article(words: str) -> str:
    """ "orange circle" -> "an orange circle"."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


@dataclass(frozen=True)
class Swing:
    """A sine that is added to a quantity: `amplitude * sin(2 pi (cycles * time + phase))`; the phase is in turns."""

    amplitude: float = 0.0
    cycles: float = 0.0
    phase: float = 0.0

    def at(self, time: np.ndarray) -> np.ndarray:
        return self.amplitude * np.sin(2 * np.pi * (self.cycles * time + self.phase))

    def reversed(self) -> Swing:
        # sin(a) = sin(pi - a), so running backwards is again a sine that runs forwards.
        return replace(self, phase=(0.5 - self.cycles - self.phase) % 1.0)


@dataclass(frozen=True)
class Path:
    """
    How a shape changes over a clip. A pair is a quantity's value at the start and at the end.

    Attributes:
        x, y: the centre, before orbit and swings.
        radius: the shape's radius.
        opacity: from 0 (invisible) to 1.
        orbit: distance from (x, y), at the angle below.
        angle: of the orbit, in turns; growing is clockwise on the screen.
        ease: the power of time that changes follow: 1 is constant speed, above 1 they start slowly, and a negative
            power is the same backwards: they end slowly.
        bounce, sway, blink: sines on y, x and opacity.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    radius: tuple[float, float]
    opacity: tuple[float, float] = (1.0, 1.0)
    orbit: tuple[float, float] = (0.0, 0.0)
    angle: tuple[float, float] = (0.0, 0.0)
    ease: float = 1.0
    bounce: Swing = Swing()
    sway: Swing = Swing()
    blink: Swing = Swing()

    def reversed(self) -> Path:
        """The same path run backwards."""
        swapped = {name: getattr(self, name)[::-1] for name in ("x", "y", "radius", "opacity", "orbit", "angle")}
        swings = {name: getattr(self, name).reversed() for name in ("bounce", "sway", "blink")}
        return Path(**swapped, **swings, ease=self.ease if self.ease == 1.0 else -self.ease)

    def at(self, time: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """x, y, radius and opacity (each (T,)) at the given times (T,), from 0 to 1."""
        progress = time**self.ease if self.ease > 0 else 1 - (1 - time) ** -self.ease

        def between(ends: tuple[float, float]) -> np.ndarray:
            return ends[0] + (ends[1] - ends[0]) * progress

        orbit, angle = between(self.orbit), 2 * np.pi * between(self.angle)
        x = between(self.x) + orbit * np.cos(angle) + self.sway.at(time)
        y = between(self.y) + orbit * np.sin(angle) + self.bounce.at(time)
        return x, y, between(self.radius), np.clip(between(self.opacity) + self.blink.at(time), 0, 1)


@dataclass(frozen=True)
class Distractor:
    """A shape that stands still: smaller than any moving shape, and half transparent."""

    shape: str
    rgb: tuple[float, ...]
    x: float
    y: float
    radius: float
    tilt: float
    opacity: float


@dataclass(frozen=True)
class ClipSpec:
    """
    The whole description of a clip: `render` makes the same pixels of it every time.

    Attributes:
        motion, shape, color: by name.
        rgb: the exact colour, near the named one.
        tilt: rotation of the shape in radians.
        path: the shape's place, radius and opacity over time.
        distractors: shapes that stand still.
        background: behind all shapes.
        shake: largest shift of the camera between two frames' positions, per axis, as a fraction of the side.
        grain: standard deviation of the noise on each pixel, 1 being white.
        noise_seed: of shake and grain, which differ from frame to frame.
    """

    motion: str
    shape: str
    color: str
    rgb: tuple[float, ...]
    tilt: float
    path: Path
    distractors: tuple[Distractor, ...]
    background: Background
    shake: float
    grain: float
    noise_seed: int

    @property
    def caption(self) -> str:
        """In English: "a small red circle moving left"; without the size if it changes."""
        start, end = self.path.radius
        size = f"{size_word(start)} " if start == end else ""
        return f"{with_article(f'{size}{self.color} {self.shape}')} {self.motion}"

    def reversed(self) -> ClipSpec:
        """The clip run backwards, with the name of the motion that it shows then."""
        return replace(self, motion=_REVERSAL.get(self.motion, self.motion), path=self.path.reversed())


def _draw_place(rng: np.random.Generator, radius: float, travel: float = 0.0) -> tuple[float, float]:
    """A centre from which a shape can go as far as `travel` with at least four fifths of its radius in the picture."""
    margin = 0.8 * radius + travel
    return float(rng.uniform(margin, 1 - margin)), float(rng.uniform(margin, 1 - margin))


def _draw_line(rng: np.random.Generator, direction: float, shortest: float = 0.3, ease: float = 1.0) -> Path:
    """A straight line in a direction (in turns: 0 is to the right, a quarter is down)."""
    radius = float(rng.uniform(0.085, 0.19))
    direction = 2 * np.pi * direction
    step_x, step_y = np.cos(direction), np.sin(direction)
    room = 1 - 1.6 * radius
    length = rng.uniform(shortest, min(0.7, room / max(abs(step_x), abs(step_y))))

    def ends(step: float) -> tuple[float, float]:
        middle = 0.5 + rng.uniform(-0.5, 0.5) * (room - abs(step) * length)
        return float(middle - step * length / 2), float(middle + step * length / 2)

    return Path(ends(step_x), ends(step_y), (radius, radius), ease=ease)


def _draw_compass(direction: float) -> Callable[[np.random.Generator], Path]:
    return lambda rng: _draw_line(rng, direction + rng.uniform(-0.022, 0.022))


def _draw_growing(rng: np.random.Generator) -> Path:
    start = rng.uniform(0.07, 0.11)
    end = start + rng.uniform(0.08, 0.15)
    x, y = _draw_place(rng, end)
    return Path((x, x), (y, y), (float(start), float(end)))


def _draw_circling(rng: np.random.Generator) -> Path:
    radius, orbit = float(rng.uniform(0.075, 0.15)), float(rng.uniform(0.15, 0.28))
    x, y = _draw_place(rng, radius, orbit)
    start = rng.uniform()
    return Path((x, x), (y, y), (radius, radius), orbit=(orbit, orbit), angle=(start, start + rng.uniform(0.8, 1.4)))


def _draw_still(rng: np.random.Generator) -> Path:
    radius = float(rng.uniform(0.085, 0.19))
    x, y = _draw_place(rng, radius)
    return Path((x, x), (y, y), (radius, radius))


def _draw_appearing(rng: np.random.Generator) -> Path:
    return replace(_draw_still(rng), opacity=(float(rng.uniform(0, 0.1)), float(rng.uniform(0.8, 1))))


def _draw_speeding_up(rng: np.random.Generator) -> Path:
    return _draw_line(rng, rng.uniform(), shortest=0.4, ease=float(rng.uniform(2.2, 3.2)))


def _draw_swing(rng: np.random.Generator) -> tuple[Path, Swing]:
    path = _draw_still(rng)
    swing = Swing(float(rng.uniform(0.12, 0.22)), float(rng.uniform(1.2, 2.2)), float(rng.uniform()))
    return path, swing


def _draw_bouncing(rng: np.random.Generator) -> Path:
    path, bounce = _draw_swing(rng)
    _, y = _draw_place(rng, path.radius[0], bounce.amplitude)
    return replace(path, y=(y, y), bounce=bounce)


def _draw_swaying(rng: np.random.Generator) -> Path:
    path, sway = _draw_swing(rng)
    x, _ = _draw_place(rng, path.radius[0], sway.amplitude)
    return replace(path, x=(x, x), sway=sway)


def _draw_blinking(rng: np.random.Generator) -> Path:
    blink = Swing(0.7, float(rng.uniform(1.5, 2.5)), float(rng.uniform()))
    return replace(_draw_still(rng), opacity=(0.5, 0.5), blink=blink)


def _draw_spiral(rng: np.random.Generator) -> Path:
    path = _draw_circling(rng)
    turns = path.angle if rng.uniform() < 0.5 else path.angle[::-1]
    wide = float(rng.uniform(0.24, 0.32))
    x, y = _draw_place(rng, path.radius[0], wide)
    return replace(path, x=(x, x), y=(y, y), angle=turns, orbit=(wide, float(rng.uniform(0.0, 0.05))))


# The second motion of a pair has no entry: it is the first one reversed.
_DRAW_PATH: dict[str, Callable[[np.random.Generator], Path]] = {
    "moving left": _draw_compass(0.5),
    "moving up": _draw_compass(0.75),
    "growing": _draw_growing,
    "circling clockwise": _draw_circling,
    "appearing": _draw_appearing,
    "speeding up": _draw_speeding_up,
    "standing still": _draw_still,
    "bouncing up and down": _draw_bouncing,
    "moving diagonally up and to the left": _draw_compass(0.625),
    "moving diagonally up and to the right": _draw_compass(0.875),
    "spiralling inwards": _draw_spiral,
    "swinging from side to side": _draw_swaying,
    "blinking": _draw_blinking,
}
_FIRST_OF_PAIR = {second: first for first, second in (*REVERSED_PAIRS, *UNSEEN_REVERSED_PAIRS)}
_REVERSAL = _FIRST_OF_PAIR | {first: second for second, first in _FIRST_OF_PAIR.items()}


def _check_known(what: str, names: Collection[str], known: Collection[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        found = f"unknown {what} {unknown}" if unknown else f"no {what} given"
        raise ValueError(f"{found}; Motion Shapes has {', '.join(known)}")


def possible_looks(
    shapes: Sequence[str], colors: Sequence[str], combinations: Collection[tuple[str, str]] | None = None
) -> list[tuple[str, str]]:
    """
    Every (shape, colour) of the two lists that is among `combinations`, if these are given.

    Raises:
        ValueError: a name is unknown, or no look is left.
    """
    _check_known("shapes", shapes, SHAPES)
    _check_known("colors", colors, COLORS)
    looks = [look for look in product(shapes, colors) if combinations is None or look in combinations]
    if not looks:
        raise ValueError(f"no combination of shapes {list(shapes)} and colors {list(colors)} is in `combinations`")
    return looks


def draw_rgb(rng: np.random.Generator, color: str) -> tuple[float, ...]:
    """A colour near the named one, as red, green, blue from 0 to 1."""
    red, green, blue = map(float, np.clip(COLORS[color] + rng.uniform(-0.04, 0.04, 3), 0, 1))
    return red, green, blue


def draw_distractors(rng: np.random.Generator, looks: Sequence[tuple[str, str]]) -> tuple[Distractor, ...]:
    """None, one or two distractors, each with one of the (shape, colour) looks."""
    distractors = []
    for _ in range(rng.integers(3)):
        shape, color = looks[int(rng.integers(len(looks)))]
        x, y, tilt = rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.95), rng.uniform(-0.4, 0.4)
        radius, opacity = rng.uniform(0.045, 0.06), rng.uniform(0.4, 0.6)
        numbers = (float(number) for number in (x, y, radius, tilt, opacity))
        distractors.append(Distractor(shape, draw_rgb(rng, color), *numbers))
    return tuple(distractors)


def draw_spec(
    rng: np.random.Generator,
    motion: str,
    shapes: Sequence[str],
    colors: Sequence[str],
    combinations: Collection[tuple[str, str]] | None = None,
) -> ClipSpec:
    """
    Draws a clip of a motion at random.

    Args:
        rng: the only source of randomness.
        motion: one of `MOTIONS` or `UNSEEN_MOTIONS`.
        shapes, colors: of the moving shape and the distractors.
        combinations: the (shape, colour) pairs that are allowed; all if `None`.

    Raises:
        ValueError: a name is unknown, or no combination is left.
    """
    _check_known("motions", [motion], (*MOTIONS, *UNSEEN_MOTIONS))
    looks = possible_looks(shapes, colors, combinations)
    shape, color = looks[int(rng.integers(len(looks)))]
    first = _FIRST_OF_PAIR.get(motion, motion)
    spec = ClipSpec(
        motion=first,
        shape=shape,
        color=color,
        rgb=draw_rgb(rng, color),
        tilt=float(rng.uniform(-0.2, 0.2)),
        path=_DRAW_PATH[first](rng),
        distractors=draw_distractors(rng, looks),
        background=draw_background(rng),
        shake=float(rng.uniform(0, 2 / 64)),
        grain=float(rng.uniform(0, 0.03)),
        noise_seed=int(rng.integers(2**31)),
    )
    return spec if first == motion else spec.reversed()
