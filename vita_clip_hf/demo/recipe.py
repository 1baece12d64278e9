"""How much of everything the demo takes, and how it trains."""

from dataclasses import dataclass, field

import torch

TINY_CLIP = "package://vita_clip_hf/demo/tiny_clip"
TEMPLATES = ("a shape {}", "a {} shape")


# Two choices fit the prompts to a CLIP this small; both were found by looking at where attention goes at the start.
# 8 global prompts beside 196 patches are 4 %, but beside the tiny CLIP's 36 they take 70 % of the first layer's
# attention until training has undone it: 2 keep the paper's proportion. And local prompts follow the paper's equation,
# which adds the class token itself: through a projection that starts at random, CLIP's own keys cannot match them.
PROMPTS = {"num_global_prompts": 2, "local_prompt_condition": "class_token"}


@dataclass(frozen=True)
class Recipe:
    """
    The settings of one run of the demo.

    Args:
        train_clips, test_clips, unseen_looks_clips, unseen_motions_clips: clips of each split.
        num_frames: frames that are sampled from a clip.
        steps, batch_size, learning_rate, weight_decay: of the training.
        prompts: further fields of `VitaClipConfig` that switch prompts, beside `PROMPTS`.
        seed: of data order and first values.
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


def fast_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32 here: on GPUs that have it, and CPUs with matrix tiles for it."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


STANDARD = Recipe()
QUICK = Recipe(train_clips=700, test_clips=280, unseen_looks_clips=280, unseen_motions_clips=160, steps=150)
LONG = Recipe(train_clips=14_000, test_clips=2_800, unseen_looks_clips=2_800, unseen_motions_clips=1_600, steps=8_000)
# Eighteen trainings: shorter ones, since the question is which prompt brings what, not what all of them reach.
ABLATION = Recipe(steps=600)
# Five trainings, whose loss curves are compared.
PRECISIONS = Recipe(train_clips=3_500, unseen_looks_clips=140, unseen_motions_clips=80, steps=300)
# Two trainings, compared with each other: each half as long as the demo's.
VARIANTS = Recipe(steps=1_100)
# One training, evaluated on a base in each precision.
QUANTIZED = Recipe(unseen_looks_clips=140, unseen_motions_clips=80, steps=1_100)
