"""The demo's sizes: how many clips, how long a training, which prompts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

TINY_CLIP = "package://vita_clip_hf/demo/tiny_clip"
TEMPLATES = ("a shape {}", "a {} shape")

# Two choices fit the prompts to a CLIP this small; docs/motion_shapes/README.md has the measurements. Eight global
# prompts beside the paper's 196 patches are 4 % of the keys, but beside the tiny CLIP's 36 patches they take 70 % of
# the first layer's attention at the start: two keep the paper's proportion. Local prompts follow the paper's equation,
# which adds the class token itself: CLIP's frozen keys cannot match a projection of it that starts at random.
PROMPTS = {"num_global_prompts": 2, "local_prompt_condition": "class_token"}


@dataclass(frozen=True)
class Recipe:
    """
    The settings of one run of the demo.

    Args:
        train_clips, test_clips, unseen_looks_clips, unseen_motions_clips: clips of each split.
        num_frames: frames that are sampled from a clip.
        steps, batch_size, learning_rate, weight_decay: of the training.
        prompts: fields of `VitaClipConfig` that choose prompts; they take precedence over `PROMPTS`.
        seed: of the clips' order and the prompts' first values.
    """

    train_clips: int = 7_000
    test_clips: int = 1_400
    unseen_looks_clips: int = 1_400
    unseen_motions_clips: int = 800
    num_frames: int = 8
    steps: int = 2_000
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    prompts: dict = field(default_factory=dict)
    seed: int = 0


STANDARD = Recipe()
QUICK = Recipe(train_clips=700, test_clips=280, unseen_looks_clips=280, unseen_motions_clips=160, steps=150)
LONG = Recipe(train_clips=14_000, test_clips=2_800, unseen_looks_clips=2_800, unseen_motions_clips=1_600, steps=8_000)


def fast_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32 here: on GPUs that have it, and on CPUs with products in bfloat16."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    # Older torch does not report what a CPU can do; float32 is right everywhere.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))
