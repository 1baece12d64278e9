"""Clip augmentation: torchvision's transforms, the same draw for every frame of a clip, from a given generator."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torchvision.transforms import InterpolationMode, v2
from transformers.utils import logging

from .directions import is_something_something, reason_not_to_flip
from .rand_augment import EXAMPLE, MEAN_COLOR, RandAugment
from .randomness import global_draws_from

logger = logging.get_logger(__name__)

# Share of the frame, and width over height, of what is erased.
_ERASED_SCALE, _ERASED_RATIO = (0.02, 1 / 3), (0.3, 10 / 3)


@dataclass(frozen=True)
class ClipAugmentation:
    """
    Crop, flip, RandAugment and erase, in this order. The crop comes first and is resized once, so that the rest works
    on small frames. All draws come from the generator that is given.

    Args:
        size: side of the clip in pixels.
        scale, ratio: share of the frame, and width over height, of the crop.
        flip_probability: of mirroring the whole clip.
        rand_augment: or none.
        erasing_probability: of covering one box, the same in all frames, with CLIP's mean colour.

    Raises:
        ValueError: a value makes no sense.
    """

    size: int = 224
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_probability: float = 0.5
    rand_augment: RandAugment | None = None
    erasing_probability: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1 pixel, found {self.size}")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be two numbers with 0 < low <= high <= 1, found {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be two numbers with 0 < low <= high, found {self.ratio}")
        for name in ("flip_probability", "erasing_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {getattr(self, name)}")

    def __call__(self, clip: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """
        Args:
            clip: uint8 `(T, 3, H, W)`.
            generator: on the CPU.

        Returns:
            uint8 `(T, 3, size, size)`.
        """
        if clip.dtype != torch.uint8 or clip.ndim != 4 or clip.shape[1] != 3:
            raise ValueError(f"expected a uint8 clip (T, 3, H, W), found {clip.dtype} of shape {tuple(clip.shape)}")
        with global_draws_from(generator):
            return self._transform(clip)

    @cached_property
    def _transform(self) -> v2.Transform:
        bicubic = InterpolationMode.BICUBIC
        colour = list(map(float, MEAN_COLOR))
        return v2.Compose(
            [
                v2.RandomResizedCrop(self.size, self.scale, self.ratio, interpolation=bicubic, antialias=True),
                v2.RandomHorizontalFlip(self.flip_probability),
                self.rand_augment or v2.Identity(),
                v2.RandomErasing(self.erasing_probability, _ERASED_SCALE, _ERASED_RATIO, value=colour),
            ]
        )


def build_clip_augmentation(
    size: int = 224,
    class_names: Sequence[str] = (),
    *,
    rand_augment: str | None = EXAMPLE,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    horizontal_flip: bool | None = None,
    erasing_probability: float = 0.0,
) -> ClipAugmentation:
    """
    The augmentation of the released recipe.

    Args:
        size: side of the clip in pixels.
        class_names: of the data set; they decide whether clips may be mirrored.
        rand_augment: in timm's notation; `None` or "" for none.
        scale, ratio: share of the frame, and width over height, of the random crop.
        horizontal_flip: mirror every other clip; by default unless class names tell left from right, which is
            logged. Clips of Something-Something never are, not even those of a part of its classes.
        erasing_probability: of covering a box.

    Returns:
        A callable: uint8 `(T, 3, H, W)` and a `torch.Generator` to uint8 `(T, 3, size, size)`.

    Raises:
        ValueError: a value makes no sense.
    """
    return ClipAugmentation(
        size=size,
        scale=(scale[0], scale[1]),
        ratio=(ratio[0], ratio[1]),
        flip_probability=0.5 if _may_flip(class_names, horizontal_flip) else 0.0,
        rand_augment=RandAugment.parse(rand_augment) if rand_augment else None,
        erasing_probability=erasing_probability,
    )


def _may_flip(class_names: Sequence[str], wanted: bool | None) -> bool:
    if wanted is False:
        return False
    if is_something_something(class_names):
        logger.warning_once(
            "Clips are not flipped: the classes are Something-Something's, some of which tell left from right."
        )
        return False
    reason = reason_not_to_flip(class_names) if wanted is None else None
    if reason is not None:
        logger.warning_once(f"Clips are not flipped: {reason}. horizontal_flip=True flips them all the same.")
    return reason is None
