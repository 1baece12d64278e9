"""
RandAugment for clips in timm's arithmetic: some of fifteen changes of colour or geometry in a row, each the same for
every frame. torchvision's own RandAugment has other magnitudes and always applies a change that it drew.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F  # noqa: N812

EXAMPLE = "rand-m7-n4-mstd0.5-inc1"
# CLIP's mean colour, which normalisation turns into zeros: it fills the area that a geometric change uncovers.
MEAN_COLOR = (123, 117, 104)
# Magnitudes are counted from 0 to 10.
_MAX_LEVEL = 10.0
_PART = re.compile(r"(mstd|mmax|inc|m|n|p)(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class RandAugment:
    """
    Args:
        magnitude: mean strength of a change, from 0 to 10 (`m`).
        num_layers: changes in a row (`n`).
        magnitude_std: standard deviation of the strength of each (`mstd`).
        increasing: whether a higher magnitude is a stronger change for all of them (`inc1`); without, solarising and
            posterising grow weaker, and colours run from grey to vivid.
        max_magnitude: no drawn strength is above it (`mmax`).
        probability: of applying a change that was drawn (`p`).

    Raises:
        ValueError: a value makes no sense.
    """

    magnitude: float = 7.0
    num_layers: int = 4
    magnitude_std: float = 0.5
    increasing: bool = True
    max_magnitude: float = _MAX_LEVEL
    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.magnitude <= self.max_magnitude <= _MAX_LEVEL:
            raise ValueError(
                f"RandAugment: expected 0 <= m <= mmax <= {_MAX_LEVEL:g}, found m={self.magnitude:g} and "
                f"mmax={self.max_magnitude:g}"
            )
        if self.num_layers < 1:
            raise ValueError(f"RandAugment: expected n of at least 1, found {self.num_layers}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"RandAugment: expected p from 0 to 1, found {self.probability:g}")

    @classmethod
    def parse(cls, text: str) -> "RandAugment":
        """
        From timm's notation, such as "rand-m7-n4-mstd0.5-inc1"; a part that is left out has timm's default: `m10`,
        `n2`, `mstd0`, `inc0`, `mmax10`, `p0.5`.

        Raises:
            ValueError: a part is not known, or given twice.
        """
        policy, *parts = text.split("-")
        matches = [_PART.fullmatch(part) for part in parts]
        wrong = [policy] if policy != "rand" else [p for p, match in zip(parts, matches, strict=True) if not match]
        values = {match[1]: float(match[2]) for match in matches if match}
        if wrong or len(values) < len(parts) or values.get("inc", 0) not in (0, 1) or values.get("n", 1) % 1:
            found = f"the part {wrong[0]!r} in {text!r}" if wrong else f"{text!r}"
            raise ValueError(
                f"RandAugment: expected a text such as {EXAMPLE!r} (m, mstd, mmax: strength, its deviation and limit, "
                f"up to 10; n: changes in a row; inc: 0 or 1; p: probability of each), found {found}"
            )
        return cls(
            magnitude=values.get("m", _MAX_LEVEL),
            num_layers=int(values.get("n", 2)),
            magnitude_std=values.get("mstd", 0.0),
            increasing=bool(values.get("inc", 0)),
            max_magnitude=values.get("mmax", _MAX_LEVEL),
            probability=values.get("p", 0.5),
        )

    def __call__(self, clip: torch.Tensor) -> torch.Tensor:
        """uint8 `(T, 3, H, W)` in and out; draws from torch's global generator, once for all frames."""
        for _ in range(self.num_layers):
            change = CHANGES[int(torch.randint(len(CHANGES), ()))]
            is_applied = bool(torch.rand(()) < self.probability)
            level = self._draw_level()
            sign = 1 if torch.randint(2, ()) else -1
            if is_applied:
                clip = change(clip, level, sign, self.increasing)
        return clip

    def _draw_level(self) -> float:
        """Strength from 0 to 1."""
        noise = float(torch.randn((), dtype=torch.float64))
        return min(max(self.magnitude + self.magnitude_std * noise, 0.0), self.max_magnitude) / _MAX_LEVEL


# Each change takes (clip, level from 0 to 1, sign of 1 or -1, increasing) and gives a clip; the strongest forms are
# those that timm and the original RandAugment give to magnitude 10.

Change = Callable[[torch.Tensor, float, int, bool], torch.Tensor]


def _auto_contrast(clip: torch.Tensor, level: float, sign: int, increasing: bool) -> torch.Tensor:
    return F.autocontrast(clip)


def _equalize(clip: torch.Tensor, level: float, sign: int, increasing: bool) -> torch.Tensor:
    return F.equalize(clip)


def _invert(clip: torch.Tensor, level: float, sign: int, increasing: bool) -> torch.Tensor:
    return F.invert(clip)


def _posterize(clip: torch.Tensor, level: float, sign: int, increasing: bool) -> torch.Tensor:
    bits = 4 - int(4 * level) if increasing else int(4 * level)
    return F.posterize(clip, max(bits, 1))  # with 0 bits a clip is black


def _solarize(clip: torch.Tensor, level: float, sign: int, increasing: bool) -> torch.Tensor:
    threshold = 256 * (1 - level) if increasing else 256 * level
    return F.solarize(clip, min(threshold, 255.0))


def _solarize_add(clip: torch.Tensor, level: float, sign: int, increasing: bool) -> torch.Tensor:
    added = (clip.to(torch.int16) + int(110 * level)).clamp(max=255).to(torch.uint8)
    return torch.where(clip < 128, added, clip)


def _adjust(
    clip: torch.Tensor, level: float, sign: int, increasing: bool, *, by: Callable[..., torch.Tensor]
) -> torch.Tensor:
    factor = max(1 + sign * 0.9 * level, 0.1) if increasing else 0.1 + 1.8 * level
    return by(clip, factor)


def _rotate(clip: torch.Tensor, level: float, sign: int, increasing: bool) -> torch.Tensor:
    fill = list(map(float, MEAN_COLOR))
    return F.rotate(clip, sign * 30 * level, interpolation=InterpolationMode.BILINEAR, fill=fill)


def _shear(clip: torch.Tensor, level: float, sign: int, increasing: bool, *, axis: int) -> torch.Tensor:
    degrees = float(torch.rad2deg(torch.atan(torch.tensor(sign * 0.3 * level))))
    return _affine(clip, shear=[degrees, 0.0] if axis == 0 else [0.0, degrees])


def _translate(clip: torch.Tensor, level: float, sign: int, increasing: bool, *, axis: int) -> torch.Tensor:
    pixels = round(sign * 0.45 * level * clip.shape[-1 - axis])
    return _affine(clip, translate=[pixels, 0] if axis == 0 else [0, pixels])


def _affine(clip: torch.Tensor, translate: tuple | list = (0, 0), shear: tuple | list = (0.0, 0.0)) -> torch.Tensor:
    return F.affine(
        clip,
        angle=0.0,
        translate=list(translate),
        scale=1.0,
        shear=list(shear),
        interpolation=InterpolationMode.BILINEAR,
        fill=list(map(float, MEAN_COLOR)),
    )


CHANGES: tuple[Change, ...] = (
    _auto_contrast,
    _equalize,
    _invert,
    _rotate,
    _posterize,
    _solarize,
    _solarize_add,
    partial(_adjust, by=F.adjust_saturation),
    partial(_adjust, by=F.adjust_contrast),
    partial(_adjust, by=F.adjust_brightness),
    partial(_adjust, by=F.adjust_sharpness),
    partial(_shear, axis=0),
    partial(_shear, axis=1),
    partial(_translate, axis=0),
    partial(_translate, axis=1),
)
