"""Mixup and CutMix of whole clips: the same share, or the same box, in every frame."""

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2


class ClipMixing:
    """
    Mixes each clip of a batch with another by torchvision's [`v2.MixUp`] or [`v2.CutMix`]. If both are on, each batch
    takes one of them at random.

    The draws depend on the seed of a call alone, and on no state: a resumed run mixes alike.

    Args:
        num_classes: of the labels.
        mixup_alpha, cutmix_alpha: of the Beta distribution; 0 switches a kind off.
    """

    def __init__(self, num_classes: int, mixup_alpha: float = 0.0, cutmix_alpha: float = 0.0):
        kinds = [(v2.MixUp, mixup_alpha), (v2.CutMix, cutmix_alpha)]
        mixings = [kind(alpha=alpha, num_classes=num_classes) for kind, alpha in kinds if alpha > 0]
        self._mix = v2.RandomChoice(mixings) if mixings else None

    def __call__(
        self, pixel_values: torch.Tensor, labels: torch.Tensor, seed: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`(B, T, 3, H, W)` and `(B,)` to mixed clips and the share of each class in them, `(B, C)`."""
        if self._mix is None:
            return pixel_values, labels
        with torch.random.fork_rng(devices=[]):  # torchvision draws from the CPU's global generator
            torch.manual_seed(seed)
            clips, shares = self._mix(tv_tensors.Video(pixel_values), labels)
        return clips.as_subclass(torch.Tensor), shares
